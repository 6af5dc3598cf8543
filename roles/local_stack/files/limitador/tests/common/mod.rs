// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

#![allow(dead_code)] // each test program uses its part

use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient as EnvoyClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;

pub const NAMESPACE: &str = "llm/vllm-httproute";

/// A limits file with one limit, as limitador-operator writes it.
pub fn limits(max: u64) -> String {
    format!(
        r#"
- namespace: {NAMESPACE}
  max_value: {max}
  seconds: 3600
  name: free
  conditions: ['descriptors[0]["limit.free__1"] == "1"']
  variables: ['descriptors[0]["auth.identity.userid"]', 'descriptors[0]["auth.identity.groups"]']
"#
    )
}

pub fn descriptor(entries: &[(&str, &str)], hits: Option<u64>) -> RateLimitDescriptor {
    let entries = entries.iter().map(|(key, value)| Entry { key: key.to_string(), value: value.to_string() });
    RateLimitDescriptor {
        entries: entries.collect(),
        hits_addend: hits.map(|value| UInt64Value { value }),
        ..Default::default()
    }
}

pub fn request(user: &str, hits: Option<u64>) -> RateLimitRequest {
    let entries = [("limit.free__1", "1"), ("auth.identity.userid", user), ("auth.identity.groups", "free")];
    RateLimitRequest { domain: NAMESPACE.into(), descriptors: vec![descriptor(&entries, hits)], hits_addend: 0 }
}

/// The body of a GET that must succeed.
pub async fn get(server: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{path}: {response}");
    response.split_once("\r\n\r\n").unwrap().1.into()
}

/// The value of a series, given as in the exposition; 0 if there is none.
pub async fn series(server: SocketAddr, name: &str) -> u64 {
    let text = get(server, "/metrics").await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// A limiter in this process, and its clients.
pub struct Server {
    pub envoy: EnvoyClient<Channel>,
    pub kuadrant: KuadrantClient<Channel>,
    pub http: SocketAddr,
}

pub async fn server(limits_file: &str) -> Server {
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
    pub async fn should_rate_limit(&mut self, user: &str, hits: Option<u64>) -> Code {
        self.envoy.should_rate_limit(request(user, hits)).await.unwrap().into_inner().overall_code()
    }
}

pub fn header<'a>(response: &'a RateLimitResponse, key: &str) -> Option<&'a str> {
    let found = response.response_headers_to_add.iter().find(|header| header.key == key);
    found.map(|header| header.value.as_str())
}

pub const NAMESPACE_LABEL: &str = r#"limitador_namespace="llm/vllm-httproute""#;

pub async fn labelled(server: &Server, name: &str, before: &str, after: &str) -> u64 {
    series(server.http, &format!("{name}{{{before}{NAMESPACE_LABEL}{after}}}")).await
}

pub const ALICE: (&str, &str) = (r#"group="free","#, r#",user="alice""#);
