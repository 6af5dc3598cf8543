// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! The services over real connections, in this process.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use common::{NAMESPACE, descriptor, get, limits, request, series};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient as EnvoyClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use limitador::limit::Expression;
use limitador_server::args::RateLimitHeaders;
use limitador_server::engine::Engine;
use limitador_server::grpc::Service;
use limitador_server::grpc::kuadrant::rate_limit_service_client::RateLimitServiceClient as KuadrantClient;
use limitador_server::http::Api;
use limitador_server::labels::Labeler;
use limitador_server::metrics::Metrics;
use limitador_server::reload::Reloader;
use limitador_server::store::Store;
use tokio::net::TcpListener;
use tonic::transport::Channel;

struct Server {
    envoy: EnvoyClient<Channel>,
    kuadrant: KuadrantClient<Channel>,
    http: SocketAddr,
}

async fn server(limits_file: &str) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("limits.yaml");
    std::fs::write(&file, limits_file).unwrap();
    let metrics = Metrics::default();
    let store = Arc::new(Store::in_memory(metrics.datastore.clone(), 0));
    let reloader = Reloader::new(&file, store.clone(), metrics.clone()).unwrap();
    let mappings = ["user=auth.identity.userid", "group=auth.identity.groups"];
    let engine = Arc::new(Engine {
        limits: reloader.limits(),
        store,
        labeler: Labeler::new(
            mappings.iter().map(|mapping| mapping.parse().unwrap()).collect(),
            Some(Expression::parse("descriptors[1]").unwrap()),
        ),
        limit_name_in_labels: true,
        programs: Default::default(),
    });
    let rls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (rls_address, http_address) = (rls.local_addr().unwrap(), http.local_addr().unwrap());
    let service = Service { engine: engine.clone(), headers: RateLimitHeaders::DraftVersion03 };
    tokio::spawn(service.serve(rls, std::future::pending()));
    tokio::spawn(Api { engine, metrics }.serve(http, std::future::pending()));
    let channel = Channel::from_shared(format!("http://{rls_address}")).unwrap().connect().await.unwrap();
    Server { envoy: EnvoyClient::new(channel.clone()), kuadrant: KuadrantClient::new(channel), http: http_address }
}

impl Server {
    async fn should_rate_limit(&mut self, user: &str, hits: Option<u64>) -> Code {
        self.envoy.should_rate_limit(request(user, hits)).await.unwrap().into_inner().overall_code()
    }
}

fn header<'a>(response: &'a RateLimitResponse, key: &str) -> Option<&'a str> {
    let found = response.response_headers_to_add.iter().find(|header| header.key == key);
    found.map(|header| header.value.as_str())
}

const NAMESPACE_LABEL: &str = r#"limitador_namespace="llm/vllm-httproute""#;

async fn labelled(server: &Server, name: &str, before: &str, after: &str) -> u64 {
    series(server.http, &format!("{name}{{{before}{NAMESPACE_LABEL}{after}}}")).await
}

const ALICE: (&str, &str) = (r#"group="free","#, r#",user="alice""#);

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

/// A route with both policies, as the local stack's Envoy asks about it.
mod tokens {
    use super::*;

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
            let said: Vec<_> =
                usage.iter().map(|(name, value)| (format!("kuadrant.llm/usage/{name}"), *value)).collect();
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
