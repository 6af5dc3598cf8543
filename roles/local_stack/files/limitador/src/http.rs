// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! The read-only HTTP endpoints, with upstream's paths and JSON.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use limitador::limit::Limit;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::caller::{CALLER, Caller};
use crate::engine::{Engine, now};
use crate::metrics::Metrics;

#[derive(Clone)]
pub struct Api {
    pub engine: Arc<Engine>,
    pub metrics: Metrics,
}

#[derive(Serialize)]
struct LimitView {
    id: Option<String>,
    namespace: String,
    max_value: u64,
    seconds: u64,
    name: Option<String>,
    conditions: Vec<String>,
    variables: Vec<String>,
}

#[derive(Serialize)]
struct CounterView {
    limit: LimitView,
    set_variables: BTreeMap<String, String>,
    remaining: u64,
    expires_in_seconds: u64,
}

impl Api {
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(stop).await?;
        Ok(())
    }

    fn router(self) -> Router {
        Router::new()
            .route("/status", get(|| async { Json(()) }))
            .route("/metrics", get(metrics))
            .route("/limits/{namespace}", get(limits))
            .route("/counters/{namespace}", get(counters))
            .route("/usage/{namespace}", get(usage))
            .with_state(self)
    }
}

async fn metrics(State(api): State<Api>) -> Response {
    match render(&api) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn render(api: &Api) -> prometheus::Result<String> {
    api.engine.store.catch_up(now());
    let (totals, life) = api.engine.store.totals();
    api.metrics.render(totals, life)
}

async fn limits(State(api): State<Api>, Path(namespace): Path<String>) -> Json<Vec<LimitView>> {
    let limits = api.engine.limits.borrow().clone();
    Json(limits.namespace(&namespace).iter().map(|rule| view(&rule.limit)).collect())
}

async fn counters(State(api): State<Api>, Path(namespace): Path<String>) -> Json<Vec<CounterView>> {
    let limits = api.engine.limits.borrow().clone();
    let now = now();
    let counters = limits.namespace(&namespace).iter().flat_map(|rule| {
        let windows = api.engine.store.windows(&rule.identity, now);
        windows.into_iter().map(|(set_variables, window)| CounterView {
            limit: view(&rule.limit),
            set_variables,
            remaining: rule.limit.max_value().saturating_sub(window.value),
            expires_in_seconds: (window.expires - now) / 1000,
        })
    });
    Json(counters.collect())
}

async fn usage(State(api): State<Api>, Path(namespace): Path<String>, headers: HeaderMap) -> Response {
    let Some(caller) = Caller::of(headers.get(CALLER).map(|value| value.as_bytes())) else {
        let message =
            "The gateway does not say whose usage this is. Its AuthPolicy has to, as that of role authorization does.";
        let error =
            json!({"error": {"message": message, "type": "permission_error", "param": null, "code": "no_identity"}});
        return (StatusCode::FORBIDDEN, Json(error)).into_response();
    };
    let limits = api.engine.limits.borrow().clone();
    let view = caller.view(&namespace, &limits, &api.engine.store, now());
    ([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}

fn view(limit: &Limit) -> LimitView {
    let sorted = |set: std::collections::HashSet<String>| {
        let mut list: Vec<_> = set.into_iter().collect();
        list.sort();
        list
    };
    LimitView {
        id: limit.id().map(Into::into),
        namespace: limit.namespace().as_ref().into(),
        max_value: limit.max_value(),
        seconds: limit.seconds(),
        name: limit.name().map(Into::into),
        conditions: sorted(limit.conditions()),
        variables: sorted(limit.variables()),
    }
}
