// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Decides a request: which limits apply, whether there is room, what is counted under which labels.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use limitador::CheckResult;
use limitador::errors::LimitadorError;
use limitador::limit::Context;
use tokio::sync::watch;

use crate::labels::{Labeler, Labels};
use crate::limits::Limits;
use crate::store::{Demand, Hits, Series, Store, Time, Total, WindowKey};

pub struct Engine {
    pub limits: watch::Receiver<Arc<Limits>>,
    pub store: Arc<Store>,
    pub labeler: Labeler,
    pub limit_name_in_labels: bool,
}

/// One descriptor of a request, and what it asks for.
pub struct Descriptor {
    pub entries: HashMap<String, String>,
    pub hits: Hits,
}

#[derive(Debug)]
pub enum Error {
    Evaluation(LimitadorError),
    Journal(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evaluation(error) => write!(f, "a limit cannot be evaluated: {error}"),
            Self::Journal(error) => write!(f, "the state directory cannot be written: {error}"),
        }
    }
}

impl std::error::Error for Error {}

pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as Time
}

impl Engine {
    /// A limit counts the hits of the descriptor that it reads. What kind of call it is, and so which totals
    /// change, is up to the first descriptor; further ones only carry labels or serve limits that name them.
    pub fn decide(&self, namespace: &str, descriptors: Vec<Descriptor>) -> Result<CheckResult, Error> {
        let (entries, hits): (Vec<_>, Vec<_>) = descriptors.into_iter().map(|d| (d.entries, d.hits)).unzip();
        let call = hits.first().copied().unwrap_or(Hits::Take(1));
        let mut context = Context::default();
        context.list_binding("descriptors".into(), entries.clone());

        let limits = self.limits.borrow().clone();
        let mut counters = vec![];
        let mut demands = vec![];
        for rule in limits.namespace(namespace) {
            let counter = rule.counter(entries.len(), &context).map_err(Error::Evaluation)?;
            if let Some(counter) = counter {
                demands.push(Demand {
                    key: WindowKey { limit: rule.identity.clone(), variables: counter.set_variables().clone() },
                    max: rule.limit.max_value(),
                    seconds: rule.limit.seconds(),
                    hits: hits.get(rule.descriptor).copied().unwrap_or(call),
                });
                counters.push(counter);
            }
        }

        let mut labels = self.labeler.labels(&entries, &context);
        labels.insert("limitador_namespace".into(), namespace.into());
        let now = now();
        let name = |limited: usize| counters[limited].limit().name().map(str::to_owned);
        let settlement = self
            .store
            .settle(&demands, now, |limited| match limited {
                Some(limited) => denied(call, labels, name(limited).filter(|_| self.limit_name_in_labels)),
                None => admitted(call, labels),
            })
            .map_err(Error::Journal)?;

        let limit_name = settlement.limited.and_then(name);
        for (counter, window) in counters.iter_mut().zip(&settlement.windows) {
            counter.set_remaining(counter.max_value().saturating_sub(window.value));
            counter.set_expires_in(Duration::from_millis(window.expires.saturating_sub(now)));
        }
        Ok(CheckResult { limited: settlement.limited.is_some(), counters, limit_name })
    }
}

fn admitted(call: Hits, labels: Labels) -> Vec<(Series, u64)> {
    let hits = |n, labels| (Series::new(Total::AuthorizedHits, labels), n);
    let mut totals = match call {
        // The call was counted when it was checked.
        Hits::Report(n) => return vec![hits(n, labels)],
        Hits::Check => vec![],
        Hits::Take(n) => vec![hits(n, labels.clone())],
    };
    totals.extend(with_user_and_group(Total::AuthorizedCallsWithUserAndGroup, &labels));
    totals.push((Series::new(Total::AuthorizedCalls, labels), 1));
    totals
}

fn denied(call: Hits, mut labels: Labels, limit_name: Option<String>) -> Vec<(Series, u64)> {
    if let Hits::Report(_) = call {
        return admitted(call, labels);
    }
    let mut totals: Vec<_> = with_user_and_group(Total::LimitedCallsWithUserAndGroup, &labels).into_iter().collect();
    if let Some(name) = limit_name {
        labels.insert("limit_name".into(), name);
    }
    totals.push((Series::new(Total::LimitedCalls, labels), 1));
    totals
}

fn with_user_and_group(total: Total, labels: &Labels) -> Option<(Series, u64)> {
    labels.get("user")?;
    let kept = ["limitador_namespace", "user", "group"].iter().filter_map(|name| labels.get_key_value(*name));
    Some((Series::new(total, kept.map(|(k, v)| (k.clone(), v.clone())).collect()), 1))
}
