// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use crate::metrics::Metrics;
use crate::store::{Demand, Hits};
use serde_json::Value;

const NAMESPACE: &str = "llm/route";

fn limit(name: &str, max: u64, seconds: u64, variables: &[&str]) -> String {
    let variables: Vec<_> = variables.iter().map(|name| format!(r#"'descriptors[0]["{name}"]'"#)).collect();
    let kind = if name.contains("cost") { "tokenlimit" } else { "limit" };
    format!(
        "- {{namespace: {NAMESPACE}, max_value: {max}, seconds: {seconds}, name: '{name}', \
         conditions: ['descriptors[0][\"{kind}.x__{seconds}\"] == \"1\"'], variables: [{}]}}\n",
        variables.join(", ")
    )
}

fn caller(text: &str) -> Option<Caller> {
    Caller::of(Some(text.as_bytes()))
}

fn ask(limits: &str, store: &Store, user: &str) -> Value {
    let caller = caller(&format!(r#"{{"userid": "{user}", "groups": "red", "tier": "free"}}"#)).unwrap();
    serde_json::to_value(caller.view(NAMESPACE, &Limits::parse(limits).unwrap(), store, 1_000)).unwrap()
}

/// As many requests of a user of the group red, of the limit that the file begins with.
fn spend(limits: &str, store: &Store, user: &str, n: u64) {
    let rule = &Limits::parse(limits).unwrap().namespace(NAMESPACE)[0].clone();
    let caller = caller(&format!(r#"{{"userid": "{user}", "groups": "red", "tier": "free"}}"#)).unwrap();
    let variables =
        rule.limit.variables().into_iter().map(|name| (name.clone(), caller.value(&name).unwrap())).collect();
    let key = WindowKey { limit: rule.identity.clone(), variables };
    let demand =
        Demand { key, max: 1_000, seconds: rule.limit.seconds(), ends: None, hits: Hits::Take(n), shadow: false };
    store.settle(&[demand], 0, |_, _| vec![]);
}

#[test]
fn nobody_is_a_caller_without_a_name() {
    assert!(Caller::of(None).is_none());
    for bad in ["", "alice", "{}", r#"{"userid": ""}"#, r#"{"userid": null, "tier": "free"}"#, r#"["alice"]"#] {
        assert!(caller(bad).is_none(), "{bad}");
    }
    assert!(caller(r#"{"userid": "alice", "groups": null, "tier": null}"#).is_some());
}

#[test]
fn limits_are_those_of_the_tier_and_what_is_left_is_the_callers() {
    let own = ["auth.identity.userid", "auth.identity.groups", "auth.identity.tier"];
    let limits = limit("free", 5, 120, &own);
    let store = Store::in_memory(Metrics::default().datastore, 0);
    spend(&limits, &store, "alice", 3);
    let all = [
        limits,
        limit("free/group", 40, 3600, &own[1..]),
        limit("free/shadow/cost:prompt=1,completion=4,cached=0", 100, 60, &own),
        limit("premium", 50, 121, &own),
        limit("free/unlimited", 1_000_000_000, 86_400, &own),
        limit("free/everybody", 9, 10, &[]),
        limit("free/other", 9, 11, &["auth.identity.userid", "request.headers"]),
    ]
    .concat();
    let shown = |user: &str| {
        let view = ask(&all, &store, user);
        let limits = view["limits"].as_array().unwrap().iter().map(|limit| {
            let text = |name: &str| limit[name].to_string().replace('"', "");
            ["name", "counts", "per", "shadow", "limit", "remaining", "window_seconds", "resets_in_seconds"]
                .map(text)
                .join(" ")
        });
        limits.collect::<Vec<_>>()
    };
    let others = [
        "free/group requests groups false 40 40 3600 null",
        "free/shadow/cost:prompt=1,completion=4,cached=0 tokens user true 100 100 60 null",
    ];
    assert_eq!(shown("alice"), [&["free requests user false 5 2 120 119"][..], &others[..]].concat());
    assert_eq!(shown("bob"), [&["free requests user false 5 5 120 null"][..], &others[..]].concat());
}

#[test]
fn money_is_told_in_millionths_without_prices_until_the_month_ends() {
    let prices = "prompt=0.5,completion=1.5,cached=0.5,unsplit=1.5,request=0,unmetered=0";
    let limits = limit(&format!("free/spend:Etc/UTC;{prices}"), 2_000, 2_764_800, &["auth.identity.userid"]);
    let store = Store::in_memory(Metrics::default().datastore, 0);
    spend(&limits, &store, "alice", 600);
    let shown = |user: &str| {
        let limit = &ask(&limits, &store, user)["limits"][0];
        ["name", "counts", "limit", "remaining", "resets_in_seconds"].map(|name| limit[name].to_string()).join(" ")
    };
    let january = 31 * 86_400 - 1;
    assert_eq!(shown("bob"), format!(r#""free/spend" "millionths" 2000 2000 {january}"#));
    assert_eq!(shown("alice"), r#""free/spend" "millionths" 2000 1400 2764799"#);
}

#[test]
fn a_limit_of_another_name_is_shown_once_it_has_counted_the_caller() {
    let limits = limit("hourly", 5, 3600, &["auth.identity.userid"]);
    let store = Store::in_memory(Metrics::default().datastore, 0);
    assert_eq!(ask(&limits, &store, "alice")["limits"], serde_json::json!([]));
    spend(&limits, &store, "alice", 5);
    assert_eq!(ask(&limits, &store, "alice")["limits"][0]["remaining"], 0);
    assert_eq!(ask(&limits, &store, "bob")["limits"], serde_json::json!([]));
}

#[test]
fn the_month_is_told_with_its_beginning() {
    let view = ask("[]", &Store::in_memory(Metrics::default().datastore, 500), "alice");
    assert_eq!((&view["user"], &view["tier"], &view["object"]), (&"alice".into(), &"free".into(), &"usage".into()));
    assert_eq!(view["month"]["begin"], "1970-01-01T00:00:00Z");
    assert_eq!((&view["month"]["requests"], &view["month"]["total_tokens"]), (&0.into(), &0.into()));
}
