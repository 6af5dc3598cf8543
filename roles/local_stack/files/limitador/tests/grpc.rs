// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! The services over real connections, in this process.

mod common;

use common::{ALICE, NAMESPACE, Server, descriptor, get, header, labelled, limits, request, server};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

#[tokio::test]
async fn requests_are_limited_and_counted_by_user() {
    let mut server = server(&limits(2)).await;
    for expected in [Code::Ok, Code::Ok, Code::OverLimit, Code::OverLimit] {
        assert_eq!(server.should_rate_limit("alice", None).await, expected);
    }
    assert_eq!(server.should_rate_limit("bob", None).await, Code::Ok);

    let (group, user) = ALICE;
    assert_eq!(labelled(&server, "authorized_calls", group, user).await, 2);
    assert_eq!(labelled(&server, "authorized_hits", group, user).await, 2);
    assert_eq!(labelled(&server, "authorized_calls_with_user_and_group", group, user).await, 2);
    assert_eq!(labelled(&server, "limited_calls_with_user_and_group", group, user).await, 2);
    let named = r#"group="free",limit_name="free","#;
    assert_eq!(labelled(&server, "limited_calls", named, user).await, 2);
    assert_eq!(labelled(&server, "authorized_calls", group, r#",user="bob""#).await, 1);
}

#[tokio::test]
async fn a_metric_descriptor_gives_labels_and_takes_nothing() {
    let mut server = server(&limits(2)).await;
    let mut request = request("alice", None);
    request.descriptors.push(descriptor(&[("user", "alice@example"), ("limit.free__1", "1")], None));
    for expected in [Code::Ok, Code::Ok, Code::OverLimit] {
        let response = server.envoy.should_rate_limit(request.clone()).await.unwrap();
        assert_eq!(response.into_inner().overall_code(), expected);
    }
    let after = r#",user="alice@example""#;
    assert_eq!(labelled(&server, "authorized_calls", r#"group="free",limit_free__1="1","#, after).await, 2);
    assert_eq!(labelled(&server, "authorized_calls_with_user_and_group", r#"group="free","#, after).await, 2);
}

#[tokio::test]
async fn tokens_are_checked_first_and_reported_at_the_end() {
    let mut server = server(&limits(100)).await;
    let (group, user) = ALICE;
    // As a stock Envoy does it.
    assert_eq!(server.should_rate_limit("alice", Some(0)).await, Code::Ok);
    assert_eq!(server.should_rate_limit("alice", Some(60)).await, Code::Ok);
    // As Kuadrant's filter does it.
    let checked = server.kuadrant.check_rate_limit(request("alice", None)).await.unwrap();
    assert_eq!(checked.into_inner().overall_code(), Code::Ok);
    let report = RateLimitRequest { hits_addend: 57, ..request("alice", None) };
    assert_eq!(server.kuadrant.report(report).await.unwrap().into_inner().overall_code(), Code::Ok);

    assert_eq!(labelled(&server, "authorized_hits", group, user).await, 117);
    assert_eq!(labelled(&server, "authorized_calls", group, user).await, 2);
    let denied = server.kuadrant.check_rate_limit(request("alice", None)).await.unwrap();
    let denied = denied.into_inner();
    assert_eq!(denied.overall_code(), Code::OverLimit);
    assert_eq!(denied.raw_body, b"Too Many Requests\n");
    assert_eq!(server.should_rate_limit("alice", Some(0)).await, Code::OverLimit);
    // Tokens of a response that was on its way still count.
    server.should_rate_limit("alice", Some(5)).await;
    assert_eq!(labelled(&server, "authorized_hits", group, user).await, 122);
    assert_eq!(labelled(&server, "authorized_calls", group, user).await, 2);
}

/// Clients wait as long as this header says, and ask again at once if it is 0.
#[tokio::test]
async fn whoever_is_refused_is_told_a_time_after_which_there_is_room() {
    let mut server = server(&limits(1).replace("seconds: 3600", "seconds: 1")).await;
    for _window in 0..5 {
        let refused = loop {
            let response = server.envoy.should_rate_limit(request("alice", None)).await.unwrap().into_inner();
            if response.overall_code() == Code::OverLimit {
                break response;
            }
        };
        // Less than a second is left of any window.
        assert_eq!(header(&refused, "X-RateLimit-Reset"), Some("1"));
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(server.should_rate_limit("alice", None).await, Code::Ok);
    }
}

#[tokio::test]
async fn a_request_that_no_limit_matches_is_admitted_and_counted() {
    let mut server = server(&limits(0)).await;
    let mut request = request("alice", None);
    request.descriptors = vec![descriptor(&[("other", "1")], None)];
    assert_eq!(server.envoy.should_rate_limit(request.clone()).await.unwrap().into_inner().overall_code(), Code::Ok);
    assert_eq!(labelled(&server, "authorized_calls", "", "").await, 1);
    request.domain = String::new();
    assert_eq!(server.envoy.should_rate_limit(request).await.unwrap().into_inner().overall_code(), Code::Unknown);
    assert_eq!(labelled(&server, "authorized_calls", "", "").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_requests_are_admitted_exactly() {
    let server = server(&limits(50)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let mut envoy = server.envoy.clone();
        tasks.spawn(async move {
            envoy.should_rate_limit(request("alice", None)).await.unwrap().into_inner().overall_code()
        });
    }
    let codes = tasks.join_all().await;
    assert_eq!(codes.iter().filter(|code| **code == Code::Ok).count(), 50);
    let (group, user) = ALICE;
    assert_eq!(labelled(&server, "authorized_calls", group, user).await, 50);
    assert_eq!(labelled(&server, "limited_calls_with_user_and_group", group, user).await, 150);
}

#[tokio::test]
async fn limits_and_counters_are_shown() {
    let mut server = server(&limits(7)).await;
    let response = server.envoy.should_rate_limit(request("alice", None)).await.unwrap().into_inner();
    assert_eq!(header(&response, "X-RateLimit-Limit"), Some("7, 7;w=3600;name=\"free\""));
    assert_eq!(header(&response, "X-RateLimit-Remaining"), Some("6"));

    let encoded = NAMESPACE.replace('/', "%2F");
    let json = async |path: &str| -> serde_json::Value {
        serde_json::from_str(&get(server.http, &format!("{path}{encoded}")).await).unwrap()
    };
    let limit = &json("/limits/").await[0];
    assert_eq!((limit["namespace"].as_str(), limit["max_value"].as_u64()), (Some(NAMESPACE), Some(7)));
    assert_eq!(limit["conditions"][0], r#"descriptors[0]["limit.free__1"] == "1""#);
    let counter = &json("/counters/").await[0];
    assert_eq!(counter["remaining"], 6);
    assert_eq!(counter["limit"]["name"], "free");
    assert_eq!(counter["set_variables"][r#"descriptors[0]["auth.identity.userid"]"#], "alice");
    assert!(counter["expires_in_seconds"].as_u64().unwrap() <= 3600);
    assert_eq!(get(server.http, "/limits/unknown").await, "[]");
    get(server.http, "/status").await;
}

/// Limits that the limiter evaluates, as the local stack's Envoy sends them.
mod programs {
    use super::*;

    const BOTH: &str = r#"
- {namespace: llm/vllm-httproute, max_value: 2, seconds: 3600, name: free,
   conditions: ['descriptors[0]["limit.free__1"] == "1"'], variables: ['descriptors[0]["auth.identity.userid"]']}
- {namespace: llm/vllm-httproute, max_value: 100, seconds: 3600, name: beta,
   conditions: ['descriptors[0]["tokenlimit.beta__1"] == "1"'], variables: ['descriptors[0]["auth.identity.userid"]']}
"#;
    const PROGRAM: &str = r#"{"actions":[
{"when":[],"deny":false,"items":[{"when":["auth.identity.groups.split(',').exists(g, g == 'free')"],
 "data":[["limit.free__1","1"],["auth.identity.userid","auth.identity.userid"]]}]},
{"when":[],"deny":true,"items":[{"when":["auth.identity.groups.split(',').exists(g, g == 'beta')"],
 "data":[["tokenlimit.beta__1","1"],["auth.identity.userid","auth.identity.userid"]]}]}],"attributes":[]}"#;

    async fn ask(server: &mut Server, program: &str, identity: &str) -> Result<RateLimitResponse, tonic::Status> {
        let auth = format!(r#"{{"identity":{identity}}}"#);
        let entries = [("kuadrant.llm/program", program), ("kuadrant.llm/in/auth", auth.as_str())];
        let descriptors = vec![descriptor(&entries, None)];
        let request = RateLimitRequest { domain: NAMESPACE.into(), descriptors, hits_addend: 0 };
        server.envoy.should_rate_limit(request).await.map(tonic::Response::into_inner)
    }

    #[tokio::test]
    async fn hold_for_whom_they_name_and_count_nobody_else() {
        let mut server = server(BOTH).await;
        let alice = r#"{"userid":"alice","groups":"free,beta"}"#;
        for expected in [Code::Ok, Code::Ok, Code::OverLimit] {
            assert_eq!(ask(&mut server, PROGRAM, alice).await.unwrap().overall_code(), expected);
        }
        let echo = ask(&mut server, PROGRAM, r#"{"userid":"eve","groups":"beta"}"#)
            .await
            .unwrap()
            .dynamic_metadata
            .unwrap()
            .fields;
        let mut names: Vec<_> = echo.keys().map(String::as_str).collect();
        names.sort();
        assert_eq!(names, ["auth.identity.userid", "kuadrant.llm/report", "tokenlimit.beta__1"]);
        assert_eq!(
            ask(&mut server, PROGRAM, r#"{"userid":"bob","groups":"none"}"#).await.unwrap().overall_code(),
            Code::Ok
        );
        let text = get(server.http, "/metrics").await;
        assert!(text.contains("user=\"eve\"") && !text.contains("bob"), "{text}");
    }

    #[tokio::test]
    async fn what_cannot_be_evaluated_is_for_the_failure_mode_and_what_cannot_be_read_is_refused() {
        let mut server = server(BOTH).await;
        let error = ask(&mut server, PROGRAM, r#"{"userid":"alice"}"#).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::Unavailable, "the second policy is to refuse then");
        let allowing = PROGRAM.replace("true", "false");
        assert_eq!(ask(&mut server, &allowing, r#"{"userid":"alice"}"#).await.unwrap().overall_code(), Code::Ok);
        let refused = ask(&mut server, &PROGRAM.replace("exists(g, ", "exists(("), "{}").await.unwrap();
        assert_eq!(refused.overall_code(), Code::OverLimit);
        assert!(String::from_utf8(refused.raw_body).unwrap().contains("cannot be read"));
    }
}

#[tokio::test]
async fn a_limit_in_shadow_refuses_nothing_and_counts_what_it_would_have_refused() {
    let mut server = server(&limits(2).replace("name: free", "name: free/shadow")).await;
    for _call in 0..5 {
        assert_eq!(server.should_rate_limit("alice", None).await, Code::Ok);
    }
    let (group, user) = ALICE;
    assert_eq!(labelled(&server, "authorized_calls", group, user).await, 5);
    let named = r#"group="free",limit_name="free/shadow","#;
    assert_eq!(labelled(&server, "shadow_limited_calls", named, user).await, 3);
    assert_eq!(labelled(&server, "limited_calls", named, user).await, 0);
}

#[tokio::test]
async fn a_limit_of_nothing_refuses_everything() {
    let mut server = server(&limits(0)).await;
    assert_eq!(server.should_rate_limit("alice", None).await, Code::OverLimit);
}
