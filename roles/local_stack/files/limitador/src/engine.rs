// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Decides a request: which limits apply, whether there is room, what is counted under which labels.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use limitador::CheckResult;
use limitador::errors::LimitadorError;
use limitador::limit::Context;
use tokio::sync::watch;

use crate::counters::{Series, Time, Total, WindowKey};
use crate::labels::{Labeler, Labels};
use crate::limits::Limits;
use crate::program::Programs;
use crate::store::{Demand, Hits, Store};
use crate::tokens::{Report, USAGE};

pub struct Engine {
    pub limits: watch::Receiver<Arc<Limits>>,
    pub store: Arc<Store>,
    pub labeler: Labeler,
    pub limit_name_in_labels: bool,
    pub programs: Programs,
}

/// One descriptor of a request, and what it asks for.
pub struct Descriptor {
    pub entries: HashMap<String, String>,
    pub hits: Hits,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a limit cannot be evaluated: {0}")]
    Evaluation(#[from] LimitadorError),
    #[error(transparent)]
    Program(#[from] crate::program::Error),
}

pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as Time
}

impl Engine {
    /// The descriptors with what the first one's program says; none if no limit of the route holds, and nothing is to be counted.
    pub fn evaluate(&self, mut descriptors: Vec<Descriptor>) -> Result<Option<Vec<Descriptor>>, Error> {
        if let Some(first) = descriptors.first_mut() {
            match self.programs.evaluate(std::mem::take(&mut first.entries))? {
                Some(entries) => first.entries = entries,
                None => return Ok(None),
            }
        }
        Ok(Some(descriptors))
    }

    /// A limit counts the hits of the descriptor that it reads. What kind of call it is, and so which totals
    /// change, is up to the first descriptor; further ones only carry labels or serve limits that name them.
    pub fn decide(&self, namespace: &str, descriptors: Vec<Descriptor>) -> Result<CheckResult, Error> {
        let (entries, hits): (Vec<_>, Vec<_>) = descriptors.into_iter().map(|d| (d.entries, d.hits)).unzip();
        let said = entries.first().filter(|first| first.contains_key(USAGE)).map(Report::said);
        let mut call = match &said {
            Some(report) => Hits::Report(report.tokens()),
            None => hits.first().copied().unwrap_or(Hits::Take(1)),
        };
        let mut context = Context::default();
        context.list_binding("descriptors".into(), entries.clone());

        let report = said.unwrap_or_else(|| Report::total(call.of_report()));
        let limits = self.limits.borrow().clone();
        let mut counters = vec![];
        let mut demands = vec![];
        let now = now();
        for rule in limits.namespace(namespace) {
            let counter = rule.counter(entries.len(), &context)?;
            if let Some(counter) = counter {
                demands.push(Demand {
                    key: WindowKey { limit: rule.identity.clone(), variables: counter.set_variables().clone() },
                    max: rule.limit.max_value(),
                    seconds: rule.limit.seconds(),
                    ends: rule.spend.as_ref().and_then(|spend| spend.month_end(now)),
                    hits: match (rule.descriptor, call) {
                        (0, Hits::Report(tokens)) => Hits::Report(rule.cost(&report).unwrap_or(tokens)),
                        (0, Hits::Take(_)) if rule.tokens => Hits::Check,
                        (0, call) => call,
                        (other, call) => hits.get(other).copied().unwrap_or(call),
                    },
                    shadow: rule.shadow,
                });
                counters.push(counter);
            }
        }
        if !demands.is_empty() && demands.iter().all(|demand| demand.hits == Hits::Check) {
            call = Hits::Check; // so that `authorized_hits` of a route with token limits are tokens
        }

        let mut labels = self.labeler.labels(&entries, &context);
        labels.insert("limitador_namespace".into(), namespace.into());
        let name = |limited: usize| counters[limited].limit().name().map(str::to_owned);
        let settlement = self.store.settle(&demands, now, |limited, shadows| match limited {
            _ if matches!(call, Hits::Report(_)) => reported(report, labels),
            Some(limited) => denied(labels, name(limited).filter(|_| self.limit_name_in_labels)),
            None => {
                let mut totals: Vec<_> = shadows.iter().map(|&n| shadowed(labels.clone(), name(n))).collect();
                totals.extend(admitted(call, labels));
                totals
            }
        });

        let limit_name = settlement.limited.and_then(name);
        for (counter, window) in counters.iter_mut().zip(&settlement.windows) {
            counter.set_remaining(counter.max_value().saturating_sub(window.value));
            // In whole seconds, as headers tell it, and rounded up: whoever asks again after so many finds a new window.
            counter.set_expires_in(Duration::from_secs(window.expires.saturating_sub(now).div_ceil(1000).max(1)));
        }
        Ok(CheckResult { limited: settlement.limited.is_some(), counters, limit_name })
    }
}

fn admitted(call: Hits, labels: Labels) -> Vec<(Series, u64)> {
    let mut totals: Vec<_> = with_user_and_group(Total::AuthorizedCallsWithUserAndGroup, &labels).into_iter().collect();
    if let Hits::Take(n) = call {
        totals.push((Series::new(Total::AuthorizedHits, labels.clone()), n));
    }
    totals.push((Series::new(Total::AuthorizedCalls, labels), 1));
    totals
}

fn denied(mut labels: Labels, limit_name: Option<String>) -> Vec<(Series, u64)> {
    let mut totals: Vec<_> = with_user_and_group(Total::LimitedCallsWithUserAndGroup, &labels).into_iter().collect();
    if let Some(name) = limit_name {
        labels.insert("limit_name".into(), name);
    }
    totals.push((Series::new(Total::LimitedCalls, labels), 1));
    totals
}

/// Of a limit in shadow, which is told by its name.
fn shadowed(mut labels: Labels, limit_name: Option<String>) -> (Series, u64) {
    labels.insert("limit_name".into(), limit_name.unwrap_or_default());
    (Series::new(Total::ShadowLimitedCalls, labels), 1)
}

/// The call itself was counted when it was admitted.
fn reported(report: Report, mut labels: Labels) -> Vec<(Series, u64)> {
    let with = |labels: &Labels, name: &str, value: &str| {
        let mut labels = labels.clone();
        labels.insert(name.into(), value.into());
        labels
    };
    let (tokens, metered) = (report.tokens(), report.unmetered.is_none());
    if let Some(model) = report.model.filter(|model| !model.is_empty()) {
        labels.entry("model".into()).or_insert(model);
    }
    let parts = [("prompt", report.prompt), ("completion", report.completion), ("unsplit", report.unsplit)];
    let mut totals: Vec<_> = parts
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(part, n)| (Series::new(Total::ReportedTokens, with(&labels, "type", part)), n))
        .collect();
    if report.cached > 0 {
        totals.push((Series::new(Total::CachedTokens, labels.clone()), report.cached));
    }
    match report.unmetered {
        Some(reason) => totals.push((Series::new(Total::UnmeteredCalls, with(&labels, "reason", &reason)), 1)),
        None => totals.push((Series::new(Total::MeteredCalls, labels.clone()), 1)),
    }
    if tokens > 0 || metered {
        totals.push((Series::new(Total::AuthorizedHits, labels), tokens));
    }
    totals
}

fn with_user_and_group(total: Total, labels: &Labels) -> Option<(Series, u64)> {
    labels.get("user")?;
    let kept = ["limitador_namespace", "user", "group"].iter().filter_map(|name| labels.get_key_value(*name));
    Some((Series::new(total, kept.map(|(k, v)| (k.clone(), v.clone())).collect()), 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// 1.00 a month; an answer costs 0.001, a token of the prompt 0.0005 and one of the completion 0.0015.
    const SPEND: &str = r#"
- {namespace: llm/route, max_value: 1000000, seconds: 2764800,
   name: 'free/spend:Etc/UTC;prompt=500,completion=1500,cached=500,unsplit=1500,request=1000,unmetered=0',
   conditions: ['descriptors[0]["tokenlimit.free__1"] == "1"'], variables: ['descriptors[0]["auth.identity.userid"]']}
"#;

    fn engine() -> Engine {
        Engine {
            limits: watch::channel(Arc::new(Limits::parse(SPEND).unwrap())).1,
            store: Arc::new(Store::in_memory(Metrics::default().datastore, 0)),
            labeler: Labeler::new(vec![], None),
            limit_name_in_labels: false,
            programs: Programs::default(),
        }
    }

    fn decide(engine: &Engine, user: &str, more: &[(&str, &str)], hits: Hits) -> CheckResult {
        let own = [("tokenlimit.free__1", "1"), ("auth.identity.userid", user)];
        let entries = own.iter().chain(more).map(|(key, value)| ((*key).into(), (*value).into())).collect();
        engine.decide("llm/route", vec![Descriptor { entries, hits }]).unwrap()
    }

    #[test]
    fn money_is_refused_from_the_answer_on_that_reaches_the_amount() {
        let engine = engine();
        let admitted = |user: &str| !decide(&engine, user, &[], Hits::Take(1)).limited;
        let answered = |prompt: &str, completion: &str| {
            let usage =
                [("kuadrant.llm/usage/prompt_tokens", prompt), ("kuadrant.llm/usage/completion_tokens", completion)];
            decide(&engine, "alice", &[&usage[..], &[(USAGE, "")]].concat(), Hits::Report(0)).counters[0].remaining()
        };
        assert!((0..20).all(|_call| admitted("alice")), "what is under way has cost nothing yet");
        assert_eq!(answered("1500", "100"), Some(99_000));
        assert!(admitted("alice"));
        assert_eq!(answered("195", "0"), Some(500));
        assert!(admitted("alice"), "0.0005 are left");
        assert_eq!(answered("1", "1"), Some(0));
        assert!(!admitted("alice"));
        assert!(admitted("bob"));
    }

    #[test]
    fn of_tokens_whose_kind_is_not_known_each_costs_what_the_dearer_does() {
        let engine = engine();
        let result = decide(&engine, "alice", &[], Hits::Report(600));
        assert_eq!(result.counters[0].remaining(), Some(1_000_000 - 901_000));
        let left = result.counters[0].expires_in().unwrap();
        assert!(left <= Duration::from_secs(31 * 86_400), "until the month ends: {left:?}");
    }
}
