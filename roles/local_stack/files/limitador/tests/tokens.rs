// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! A route with both policies, as the local stack's Envoy asks about it.

mod common;

use common::{ALICE, NAMESPACE, Server, descriptor, get, labelled, series, server};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

const LIMITS: &str = r#"
- {namespace: llm/vllm-httproute, max_value: 3, seconds: 3600, name: requests,
   conditions: ['descriptors[0]["limit.requests__1"] == "1"'], variables: ['descriptors[0]["auth.identity.userid"]']}
- {namespace: llm/vllm-httproute, max_value: 100, seconds: 3600, name: tokens,
   conditions: ['descriptors[0]["tokenlimit.tokens__1"] == "1"'], variables: ['descriptors[0]["auth.identity.userid"]']}
"#;

fn message(entries: &[(&str, &str)], hits: Option<u64>) -> RateLimitRequest {
    let own = [("tokenlimit.tokens__1", "1"), ("auth.identity.userid", "alice"), ("auth.identity.groups", "free")];
    let all: Vec<_> = own.iter().chain(entries).copied().collect();
    RateLimitRequest { domain: NAMESPACE.into(), descriptors: vec![descriptor(&all, hits)], hits_addend: 0 }
}

impl Server {
    async fn ask(&mut self, requests: bool) -> RateLimitResponse {
        let limited = [("limit.requests__1", "1"), ("kuadrant.llm/report", "1")];
        let entries = if requests { &limited[..] } else { &limited[1..] };
        self.envoy.should_rate_limit(message(entries, None)).await.unwrap().into_inner()
    }

    /// What the answer said: members of its usage, or why it said nothing.
    async fn report(&mut self, usage: &[(&str, &str)], reason: &str) {
        let said: Vec<_> = usage.iter().map(|(name, value)| (format!("kuadrant.llm/usage/{name}"), *value)).collect();
        let said = said.iter().map(|(key, value)| (key.as_str(), *value));
        let entries: Vec<_> =
            [("kuadrant.llm/usage", reason), ("kuadrant.llm/model", "m")].into_iter().chain(said).collect();
        self.envoy.should_rate_limit(message(&entries, Some(0))).await.unwrap();
    }

    async fn completion(&mut self, prompt: &str, completion: &str, total: &str) {
        let cached = ("prompt_tokens_details/cached_tokens", "40");
        let usage = [("prompt_tokens", prompt), ("completion_tokens", completion), ("total_tokens", total), cached];
        self.report(&usage, "no_usage").await;
    }

    async fn remaining(&self, name: &str) -> u64 {
        let text = get(self.http, "/counters/llm%2Fvllm-httproute").await;
        let counters: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let counter = counters.iter().find(|counter| counter["limit"]["name"] == name);
        counter.map_or(u64::MAX, |counter| counter["remaining"].as_u64().unwrap())
    }
}

const MODEL: &str = r#"group="free",limitador_namespace="llm/vllm-httproute",model="m""#;

#[tokio::test]
async fn one_call_asks_for_both_and_only_answers_count_as_tokens() {
    let mut server = server(LIMITS).await;
    let answer = server.ask(true).await;
    assert_eq!(answer.overall_code(), Code::Ok);
    let echo = answer.dynamic_metadata.unwrap().fields;
    assert!(echo.contains_key("tokenlimit.tokens__1") && echo.contains_key("auth.identity.userid"), "{echo:?}");
    assert_eq!((server.remaining("requests").await, server.remaining("tokens").await), (2, u64::MAX));
    server.completion("70", "35", "105").await;
    assert_eq!((server.remaining("requests").await, server.remaining("tokens").await), (2, 0));

    let denied = server.ask(true).await;
    assert_eq!((denied.overall_code(), denied.dynamic_metadata), (Code::OverLimit, None));
    assert_eq!(server.remaining("requests").await, 2, "denied for its tokens, so it is not a request either");
    server.completion("1", "1", "2").await;

    let (group, user) = ALICE;
    assert_eq!(labelled(&server, "authorized_calls", group, user).await, 1);
    assert_eq!(labelled(&server, "authorized_hits", group, user).await, 1);
    assert_eq!(labelled(&server, "limited_calls_with_user_and_group", group, user).await, 1);
    assert_eq!(series(server.http, &format!("authorized_hits{{{MODEL}{user}}}")).await, 107);
    assert_eq!(series(server.http, &format!("metered_calls{{{MODEL}{user}}}")).await, 2);
    assert_eq!(series(server.http, &format!("cached_tokens{{{MODEL}{user}}}")).await, 41);
    for (part, tokens) in [("prompt", 71), ("completion", 36), ("unsplit", 0)] {
        let name = format!("reported_tokens{{{MODEL},type=\"{part}\"{user}}}");
        assert_eq!(series(server.http, &name).await, tokens, "{name}");
    }
}

#[tokio::test]
async fn a_limit_weighs_what_the_bill_counts_one_by_one() {
    let name = "free/cost:prompt=1,completion=4,cached=0.1";
    let mut server = server(&LIMITS.replace("name: tokens", &format!("name: '{name}'"))).await;
    server.completion("50", "20", "70").await; // 10 + 40 of the cache + 80
    assert_eq!(server.remaining(name).await, 6);
    server.report(&[("total_tokens", "1")], "no_usage").await;
    assert_eq!(server.remaining(name).await, 2);
    assert_eq!(series(server.http, &format!("authorized_hits{{{MODEL}{}}}", ALICE.1)).await, 71);
    // Kuadrant's filter says no more than the sum.
    server.kuadrant.report(message(&[], Some(1))).await.unwrap();
    assert_eq!(server.remaining(name).await, 0);
    assert_eq!(server.ask(false).await.overall_code(), Code::OverLimit);
}

#[tokio::test]
async fn with_token_limits_alone_hits_are_tokens() {
    let mut server = server(LIMITS).await;
    let (group, user) = ALICE;
    server.ask(false).await;
    assert_eq!(labelled(&server, "authorized_calls", group, user).await, 1);
    assert_eq!(labelled(&server, "authorized_hits", group, user).await, 0);
}

#[tokio::test]
async fn an_answer_without_usage_is_counted_as_such_and_a_usage_of_0_is_one() {
    let mut server = server(LIMITS).await;
    let (group, user) = ALICE;
    server.ask(true).await;
    server.report(&[], "aborted").await;
    server.completion("0", "0", "0").await;
    let name = format!("unmetered_calls{{{MODEL},reason=\"aborted\"{user}}}");
    assert_eq!(series(server.http, &name).await, 1);
    assert_eq!(labelled(&server, "authorized_calls", group, user).await, 1);
    assert_eq!(series(server.http, &format!("metered_calls{{{MODEL}{user}}}")).await, 1);
    assert_eq!(server.remaining("tokens").await, u64::MAX);
}

#[tokio::test]
async fn the_beginning_of_a_stream_counts_though_its_end_is_missed() {
    let mut server = server(LIMITS).await;
    let (_, user) = ALICE;
    server.ask(true).await;
    server.report(&[("input_tokens", "30")], "aborted").await;
    assert_eq!(series(server.http, &format!("unmetered_calls{{{MODEL},reason=\"aborted\"{user}}}")).await, 1);
    assert_eq!(series(server.http, &format!("reported_tokens{{{MODEL},type=\"prompt\"{user}}}")).await, 30);
    assert_eq!(series(server.http, &format!("metered_calls{{{MODEL}{user}}}")).await, 0);
    assert_eq!(server.remaining("tokens").await, 70);
}

#[tokio::test]
async fn who_hangs_up_on_a_running_usage_is_limited_by_what_was_had() {
    let mut server = server(LIMITS).await;
    let (_, user) = ALICE;
    for (total, left) in [("60", 40), ("45", 0)] {
        assert_eq!(server.ask(true).await.overall_code(), Code::Ok);
        let until_then = [("prompt_tokens", "30"), ("total_tokens", total)];
        server.report(&until_then, "aborted_running").await;
        assert_eq!(server.remaining("tokens").await, left);
    }
    assert_eq!(server.ask(true).await.overall_code(), Code::OverLimit);
    assert_eq!(series(server.http, &format!("unmetered_calls{{{MODEL},reason=\"aborted\"{user}}}")).await, 2);
    assert_eq!(series(server.http, &format!("metered_calls{{{MODEL}{user}}}")).await, 0);
    assert_eq!(series(server.http, &format!("authorized_hits{{{MODEL}{user}}}")).await, 105);
}
