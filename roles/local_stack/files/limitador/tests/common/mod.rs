// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

#![allow(dead_code)] // each test program uses its part

use std::net::SocketAddr;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::google::protobuf::UInt64Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
