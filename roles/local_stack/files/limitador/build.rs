// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Generates Kuadrant's rate limit service. Its messages are Envoy's own (`envoy-types`), so no protoc is needed.
//! Names: `limitador-server/proto/kuadrantrls.proto` of Kuadrant/limitador.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type("envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest")
            .output_type("envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse")
            .codec_path("tonic_prost::ProstCodec")
            .build()
    };
    let service = Service::builder()
        .name("RateLimitService")
        .package("kuadrant.service.ratelimit.v1")
        .method(method("check_rate_limit", "CheckRateLimit"))
        .method(method("report", "Report"))
        .build();
    Builder::new().compile(&[service]);
}
