// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! A thousand random plans of tiers: what is admitted is what the limits say, exactly, whoever asks in whatever order. Requests and
//! tokens, per user and per group, of one model, several windows of one limit, weighed and in shadow, as module tier writes them and Envoy
//! asks about them. That users come with keys, with JWTs or with both is seen at a real gateway only (tests/integration/test_tier_plans.py):
//! the limiter sees the user.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use limitador_server::engine::{Descriptor, Engine};
use limitador_server::labels::Labeler;
use limitador_server::limits::Limits;
use limitador_server::metrics::Metrics;
use limitador_server::store::{Hits, Store};
use tokio::sync::watch;

const PLANS: u64 = 1_000;
const REQUESTS: usize = 40;
const NAMESPACE: &str = "llm/vllm-httproute";
const MODELS: [&str; 2] = ["small", "large"];
const USERS: [(&str, &str); 3] = [("ann", "red"), ("ben", "red"), ("eve", "blue")];

/// Steele and Vigna's SplitMix64: the same plans in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// One limit of a tier. `tenths`: what a token of prompt, completion and cache counts; none for a limit on requests.
#[derive(Debug)]
struct Rate {
    limit: u64,
    seconds: u64,
    per_group: bool,
    model: Option<&'static str>,
    shadow: bool,
    tenths: Option<[u64; 3]>,
}

impl Rate {
    fn random(random: &mut Random, number: u64) -> Self {
        let tokens = random.below(2) == 1;
        let weights = match random.below(3) {
            0 => [10, 10, 10],
            1 => [10 * random.below(2), 10, 0],
            _ => [1 + random.below(20), random.below(50), random.below(10)],
        };
        Self {
            limit: if tokens { 20 + random.below(400) } else { 1 + random.below(8) },
            // No two limits of a plan are the same one, and none ends while the test runs.
            seconds: 3600 + number,
            per_group: random.below(3) == 0,
            model: (random.below(3) == 0).then(|| MODELS[random.below(2) as usize]),
            shadow: random.below(6) == 0,
            tenths: tokens.then_some(weights),
        }
    }

    fn name(&self) -> String {
        let mut name = String::from("free");
        if self.shadow {
            name += "/shadow";
        }
        if let Some([prompt, completion, cached]) = self.tenths.filter(|tenths| *tenths != [10, 10, 10]) {
            let part = |tenths: u64| format!("{}.{}", tenths / 10, tenths % 10);
            write!(name, "/cost:prompt={},completion={},cached={}", part(prompt), part(completion), part(cached))
                .unwrap();
        }
        name
    }

    /// Rates that differ in number and window only are windows of one limit, and so have one entry: that of the first of them.
    fn entry(&self, rates: &[Rate]) -> String {
        let scope = |rate: &Rate| (rate.per_group, rate.model, rate.shadow, rate.tenths);
        let first = rates.iter().position(|rate| scope(rate) == scope(self)).unwrap();
        format!("{}.free{first}__1", if self.tenths.is_some() { "tokenlimit" } else { "limit" })
    }

    fn counters(&self) -> &'static [&'static str] {
        if self.per_group { &["groups", "tier"] } else { &["userid", "groups", "tier"] }
    }

    /// As kuadrant-operator writes it.
    fn yaml(&self, rates: &[Rate]) -> String {
        let variables: Vec<_> =
            self.counters().iter().map(|name| format!(r#"'descriptors[0]["auth.identity.{name}"]'"#)).collect();
        format!(
            "- {{namespace: {NAMESPACE}, max_value: {}, seconds: {}, name: '{}', conditions: ['descriptors[0][\"{}\"] == \"1\"'], \
             variables: [{}]}}\n",
            self.limit,
            self.seconds,
            self.name(),
            self.entry(rates),
            variables.join(", ")
        )
    }

    fn holds(&self, model: &str) -> bool {
        self.model.is_none_or(|only| only == model)
    }
}

/// What the limits say, told apart from how the limiter counts it.
struct Oracle<'a> {
    rates: &'a [Rate],
    used: HashMap<(usize, &'a str), u64>,
}

impl<'a> Oracle<'a> {
    fn bucket(&mut self, number: usize, user: &(&'a str, &'a str)) -> &mut u64 {
        self.used.entry((number, if self.rates[number].per_group { user.1 } else { user.0 })).or_default()
    }

    /// Whether the request passes; if so, it is one more wherever requests count.
    fn ask(&mut self, user: &(&'a str, &'a str), model: &str) -> bool {
        let rates = self.rates;
        let held: Vec<_> = rates.iter().enumerate().filter(|(_, rate)| rate.holds(model)).collect();
        let full = |oracle: &mut Self, number: usize| *oracle.bucket(number, user) >= rates[number].limit;
        if held.iter().any(|(number, rate)| !rate.shadow && full(self, *number)) {
            return false;
        }
        for (number, rate) in held {
            if rate.tenths.is_none() && !full(self, number) {
                *self.bucket(number, user) += 1;
            }
        }
        true
    }

    fn report(&mut self, user: &(&'a str, &'a str), model: &str, [prompt, completion, cached]: [u64; 3]) {
        for (number, rate) in self.rates.iter().enumerate().filter(|(_, rate)| rate.holds(model)) {
            if let Some([of_prompt, of_completion, of_cached]) = rate.tenths {
                let tenths = (prompt - cached) * of_prompt + cached * of_cached + completion * of_completion;
                *self.bucket(number, user) += tenths.div_ceil(10);
            }
        }
    }
}

fn entries(rates: &[Rate], user: &(&str, &str), model: &str) -> HashMap<String, String> {
    let held = rates.iter().filter(|rate| rate.holds(model));
    let mut entries: HashMap<_, _> = held.map(|rate| (rate.entry(rates), "1".to_string())).collect();
    for (name, value) in [("userid", user.0), ("groups", user.1), ("tier", "free")] {
        entries.insert(format!("auth.identity.{name}"), value.into());
    }
    entries
}

fn engine(limits: &str) -> Engine {
    let metrics = Metrics::default();
    let (_, limits) = watch::channel(Arc::new(Limits::parse(limits).unwrap()));
    Engine {
        limits,
        store: Arc::new(Store::in_memory(metrics.datastore.clone(), 0)),
        labeler: Labeler::new(vec![], None),
        limit_name_in_labels: false,
        programs: Default::default(),
    }
}

fn decide(engine: &Engine, entries: HashMap<String, String>, hits: Hits) -> bool {
    !engine.decide(NAMESPACE, vec![Descriptor { entries, hits }]).unwrap().limited
}

#[test]
fn random_plans_admit_exactly_what_they_say() {
    let (mut admitted, mut denied) = (0, 0);
    for plan in 0..PLANS {
        let mut random = Random(plan);
        let rates: Vec<_> = (0..1 + random.below(5)).map(|number| Rate::random(&mut random, number)).collect();
        let engine = engine(&rates.iter().map(|rate| rate.yaml(&rates)).collect::<String>());
        let mut oracle = Oracle { rates: &rates, used: HashMap::new() };
        for number in 0..REQUESTS {
            let user = &USERS[random.below(3) as usize];
            let model = MODELS[random.below(2) as usize];
            let entries = entries(&rates, user, model);
            let expected = oracle.ask(user, model);
            let passed = decide(&engine, entries.clone(), Hits::Take(1));
            assert_eq!(passed, expected, "plan {plan}, request {number} of {user:?} for {model}: {rates:#?}");
            if !passed {
                denied += 1;
                continue;
            }
            admitted += 1;
            let prompt = random.below(60);
            let usage = [prompt, random.below(30), random.below(prompt + 1)];
            oracle.report(user, model, usage);
            let said = [
                ("kuadrant.llm/usage", "no_usage".to_string()),
                ("kuadrant.llm/usage/prompt_tokens", usage[0].to_string()),
                ("kuadrant.llm/usage/completion_tokens", usage[1].to_string()),
                ("kuadrant.llm/usage/total_tokens", (usage[0] + usage[1]).to_string()),
                ("kuadrant.llm/usage/prompt_tokens_details/cached_tokens", usage[2].to_string()),
            ];
            let asked = entries.into_iter().filter(|(key, _)| !key.starts_with("limit.")); // as Envoy reports
            let reported = asked.chain(said.map(|(key, value)| (key.to_string(), value)));
            decide(&engine, reported.collect(), Hits::Report(0));
        }
    }
    assert!(
        admitted > 10_000 && denied > 10_000,
        "{admitted} admitted, {denied} denied: too one-sided to show anything"
    );
}
