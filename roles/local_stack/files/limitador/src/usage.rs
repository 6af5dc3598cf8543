// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! What users have used of a month, kept beside the totals and made of the same changes. Prometheus could tell as much, later and from
//! farther away: `GET /v1/usage` (`caller.rs`) answers at once, and a restart must not make it forget.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use crate::counters::{Series, Time, Total};

/// A month of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    pub begin: Time,
    /// What was used before is not in the figures.
    pub since: Time,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub requests: u64,
    pub refused_requests: u64,
    pub prompt_tokens: u64,
    /// Some of the prompt's.
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    pub unsplit_tokens: u64,
}

/// The usage of a month, by namespace and user.
#[derive(Default)]
pub struct Usages(HashMap<String, HashMap<String, Usage>>);

impl Month {
    pub fn at(now: Time) -> Self {
        let first = date(now).date_naive().with_day(1).and_then(|day| day.and_hms_opt(0, 0, 0));
        let begin = first.and_then(|first| first.and_utc().timestamp_millis().try_into().ok()).unwrap_or(0);
        Self { begin, since: now }
    }

    /// The month that `now` is in, if it is a later one.
    pub fn next(self, now: Time) -> Option<Self> {
        let begin = Self::at(now).begin;
        (begin > self.begin).then_some(Self { begin, since: begin })
    }
}

impl Usage {
    fn add(&mut self, series: &Series, n: u64) {
        let kind = || series.labels.get("type").map(String::as_str);
        let counted = match series.total {
            Total::AuthorizedCalls => &mut self.requests,
            Total::LimitedCalls => &mut self.refused_requests,
            Total::CachedTokens => &mut self.cached_tokens,
            Total::ReportedTokens if kind() == Some("prompt") => &mut self.prompt_tokens,
            Total::ReportedTokens if kind() == Some("completion") => &mut self.completion_tokens,
            Total::ReportedTokens => &mut self.unsplit_tokens,
            _ => return,
        };
        *counted = counted.saturating_add(n);
    }

    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens).saturating_add(self.unsplit_tokens)
    }
}

impl Usages {
    pub fn add(&mut self, series: &Series, n: u64) {
        let label = |name: &str| series.labels.get(name).map(String::as_str);
        if let (Some(namespace), Some(user)) = (label("limitador_namespace"), label("user")) {
            self.entry(namespace, user).add(series, n);
        }
    }

    pub fn set(&mut self, namespace: &str, user: &str, usage: Usage) {
        *self.entry(namespace, user) = usage;
    }

    pub fn get(&self, namespace: &str, user: &str) -> Usage {
        self.0.get(namespace).and_then(|users| users.get(user)).copied().unwrap_or_default()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Usage)> {
        self.0
            .iter()
            .flat_map(|(namespace, users)| users.iter().map(move |(user, usage)| (&**namespace, &**user, *usage)))
    }

    /// Without a copy of the names of those who are known: this is on the way of every request.
    fn entry(&mut self, namespace: &str, user: &str) -> &mut Usage {
        if !self.0.contains_key(namespace) {
            self.0.insert(namespace.into(), HashMap::new());
        }
        let users = self.0.get_mut(namespace).expect("just inserted");
        if !users.contains_key(user) {
            users.insert(user.into(), Usage::default());
        }
        users.get_mut(user).expect("just inserted")
    }
}

pub fn date(time: Time) -> DateTime<Utc> {
    i64::try_from(time).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default()
}

#[cfg(test)]
mod tests;
