// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! `/metrics`, under upstream's names (no `_total`).

use std::collections::BTreeMap;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, IntGauge, Registry, TextEncoder, exponential_buckets};

use crate::counters::{Life, Series, Total};

#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub datastore: Datastore,
    pub reload_successful: IntGauge,
}

/// How the journal is doing.
#[derive(Clone)]
pub struct Datastore {
    pub latency: Histogram,
    pub partitioned: IntGauge,
    pub unwritten: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("constant names are valid");
            registry.register(Box::new(gauge.clone())).expect("names are distinct");
            gauge
        };
        gauge("limitador_up", "The server is running").set(1);
        let reload_successful =
            gauge("limitador_limits_last_reload_successful", "1 unless the limits file in place was refused");
        reload_successful.set(1);
        let partitioned = gauge("datastore_partitioned", "1 while counters cannot be written to the state directory");
        let unwritten = gauge(
            "datastore_unwritten_requests",
            "Requests that were counted in memory since the state directory could last be written",
        );
        let buckets = exponential_buckets(1e-6, 4.0, 10).expect("constant buckets are valid");
        let latency = HistogramOpts::new("datastore_latency", "Seconds taken to update the counters of a request");
        let latency = Histogram::with_opts(latency.buckets(buckets)).expect("constant names are valid");
        registry.register(Box::new(latency.clone())).expect("names are distinct");
        Self { registry, datastore: Datastore { latency, partitioned, unwritten }, reload_successful }
    }
}

impl Metrics {
    pub fn render(&self, totals: BTreeMap<Series, u64>, life: Life) -> prometheus::Result<String> {
        let mut families = counters(totals);
        families.push(since(life));
        families.extend(self.registry.gather());
        TextEncoder::new().encode_to_string(&families)
    }
}

impl Total {
    fn name_and_help(self) -> (&'static str, &'static str) {
        match self {
            Self::AuthorizedCalls => ("authorized_calls", "Requests admitted"),
            Self::AuthorizedCallsWithUserAndGroup => {
                ("authorized_calls_with_user_and_group", "Requests admitted, of known users")
            }
            Self::AuthorizedHits => ("authorized_hits", "Hits admitted or reported: requests, or tokens"),
            Self::CachedTokens => {
                ("cached_tokens", "Those of the reported prompt tokens that model servers had in their cache")
            }
            Self::LimitedCalls => ("limited_calls", "Requests denied"),
            Self::LimitedCallsWithUserAndGroup => {
                ("limited_calls_with_user_and_group", "Requests denied, of known users")
            }
            Self::MeteredCalls => ("metered_calls", "Finished requests whose answer reported tokens"),
            Self::ReportedTokens => ("reported_tokens", "Tokens that answers reported, by type"),
            Self::ShadowLimitedCalls => {
                ("shadow_limited_calls", "Requests that limits in shadow would have denied, by limit")
            }
            Self::UnmeteredCalls => ("unmetered_calls", "Finished requests whose answer reported no tokens, by reason"),
        }
    }
}

/// Built by hand, because the series of one name have different sets of labels.
fn counters(totals: BTreeMap<Series, u64>) -> Vec<MetricFamily> {
    let mut families: Vec<MetricFamily> = vec![];
    for (Series { total, labels }, value) in totals {
        let (name, help) = total.name_and_help();
        if families.last().is_none_or(|family| family.name() != name) {
            let mut family = MetricFamily::default();
            family.set_name(name.into());
            family.set_help(help.into());
            family.set_field_type(MetricType::COUNTER);
            families.push(family);
        }
        let pairs = labels.into_iter().map(|(name, value)| pair(name, value));
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = Metric::from_label(pairs.collect());
        metric.set_counter(counter);
        families.last_mut().expect("just pushed").mut_metric().push(metric);
    }
    families
}

/// Built by hand to be of the same moment as the totals.
fn since(life: Life) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name("limitador_counting_since_seconds".into());
    family.set_help("Unix time since when the counters have counted without a loss, by their life".into());
    family.set_field_type(MetricType::GAUGE);
    let mut gauge = Gauge::default();
    gauge.set_value(life.since as f64 / 1000.0);
    let mut metric = Metric::from_label(vec![pair("life".into(), life.id)]);
    metric.set_gauge(gauge);
    family.mut_metric().push(metric);
    family
}

fn pair(name: String, value: String) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name);
    pair.set_value(value);
    pair
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;

    #[test]
    fn series_of_one_name_may_differ_in_labels() {
        let metrics = Metrics::default();
        let series = |labels: &[(&str, &str)]| {
            let labels: Labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            (Series::new(Total::AuthorizedCalls, labels), 2)
        };
        let all =
            [series(&[("limitador_namespace", "a")]), series(&[("limitador_namespace", "a"), ("user", "\"x\"\n")])];
        let life = Life { id: "1f".into(), since: 1_793_491_200_123 };
        let text = metrics.render(all.into(), life).unwrap();
        for line in [
            "# TYPE authorized_calls counter",
            r#"authorized_calls{limitador_namespace="a"} 2"#,
            r#"authorized_calls{limitador_namespace="a",user="\"x\"\n"} 2"#,
            "limitador_up 1",
            "datastore_partitioned 0",
            "datastore_unwritten_requests 0",
            "limitador_limits_last_reload_successful 1",
            "datastore_latency_count 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("# TYPE authorized_calls ").count(), 1);
        let since = r#"limitador_counting_since_seconds{life="1f"} 1793491200.123"#;
        assert!(text.lines().any(|line| line == since), "{since} is not in\n{text}");
    }
}
