// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! What one user has used, and has left: `GET /usage/{namespace}`, which the gateway asks for a client's `GET /v1/usage`.
//!
//! It is here, and not in a service of its own, because limits and counters are here and nowhere else as they are now: a service would
//! ask this server for everything, and be one more program to run, to scale and to secure. It answers from two look-ups and never from
//! a walk over all users, because the gateway does not limit these requests: who has no request left asks when there will be one.
//!
//! Whose usage it is, only the gateway says (`CALLER`): role gateway removes that header from whatever a client sends, and role
//! authorization has Authorino write it. Like all of this port it has no authentication of its own.
//!
//! Money is here where a limit counts it (`spend.rs`), and no bill: what that says depends on dates, discounts and steps of price.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};

use crate::counters::{Time, WindowKey};
use crate::limits::{Limits, Rule};
use crate::spend::Spend;
use crate::store::Store;
use crate::usage::{Usage, date};

/// Who asks, as JSON: the identity that limits count by.
pub const CALLER: &str = "x-kuadrant-llm-caller";
/// The limits that module tier gives to tiers without any, to have their users counted (`_tier/policy.py`).
const UNLIMITED: [u64; 2] = [1_000_000_000, 1_000_000_000_000_000];
const UNLIMITED_SECONDS: u64 = 86_400;

#[derive(Deserialize)]
pub struct Caller {
    userid: String,
    groups: Option<String>,
    tier: Option<String>,
}

#[derive(Serialize)]
pub struct View {
    object: &'static str,
    user: String,
    groups: Option<String>,
    tier: Option<String>,
    limits: Vec<LimitView>,
    month: MonthView,
}

#[derive(Serialize)]
struct LimitView {
    name: String,
    counts: &'static str,
    /// Who uses it up.
    per: &'static str,
    /// It refuses nothing.
    shadow: bool,
    limit: u64,
    remaining: u64,
    window_seconds: u64,
    /// Until all of it is there again; none: the window begins with the next request.
    resets_in_seconds: Option<u64>,
}

#[derive(Serialize)]
struct MonthView {
    begin: String,
    since: String,
    #[serde(flatten)]
    usage: Usage,
    total_tokens: u64,
}

impl Caller {
    /// As the gateway tells it; none if it does not, or has no name for the caller.
    pub fn of(header: Option<&[u8]>) -> Option<Self> {
        serde_json::from_slice::<Self>(header?).ok().filter(|caller| !caller.userid.is_empty())
    }

    pub fn view(self, namespace: &str, limits: &Limits, store: &Store, now: Time) -> View {
        let left = limits.namespace(namespace).iter().filter_map(|rule| self.left(rule, store, now)).collect();
        let (month, usage) = store.usage(namespace, &self.userid, now);
        let text = |time: Time| date(time).to_rfc3339_opts(SecondsFormat::Secs, true);
        let month =
            MonthView { begin: text(month.begin), since: text(month.since), total_tokens: usage.tokens(), usage };
        let Self { userid: user, groups, tier } = self;
        View { object: "usage", user, groups, tier, limits: left, month }
    }

    /// What a limit has left for this caller; none if it is not one of theirs.
    fn left(&self, rule: &Arc<Rule>, store: &Store, now: Time) -> Option<LimitView> {
        let (limit, name) = (&rule.limit, rule.limit.name().unwrap_or_default());
        let variables: BTreeMap<_, _> = limit
            .variables()
            .into_iter()
            .map(|variable| self.value(&variable).map(|value| (variable, value)))
            .collect::<Option<_>>()?;
        let counts = |what: &str| variables.keys().any(|variable| property(variable) == Some(what));
        // A counter that says nothing of the caller is everybody's.
        let per = if counts("userid") {
            "user"
        } else if counts("groups") {
            "groups"
        } else {
            return None;
        };
        let spend = rule.spend.as_ref();
        let window = store.window(&WindowKey { limit: rule.identity.clone(), variables }, now);
        let of_tier = self.tier.as_deref().is_some_and(|tier| name.split('/').next() == Some(tier));
        let unlimited = limit.seconds() == UNLIMITED_SECONDS && UNLIMITED.contains(&limit.max_value());
        if unlimited || !of_tier && window.is_none() {
            return None;
        }
        Some(LimitView {
            name: spend.map_or_else(|| name.into(), Spend::title),
            counts: match () {
                _ if spend.is_some() => "millionths",
                _ if rule.tokens => "tokens",
                _ => "requests",
            },
            per,
            shadow: rule.shadow,
            limit: limit.max_value(),
            remaining: limit.max_value().saturating_sub(window.map_or(0, |window| window.value)),
            window_seconds: limit.seconds(),
            resets_in_seconds: window
                .map(|window| window.expires)
                .or_else(|| spend?.month_end(now))
                .map(|ends| (ends - now).div_ceil(1000)),
        })
    }

    fn value(&self, variable: &str) -> Option<String> {
        match property(variable)? {
            "userid" => Some(self.userid.clone()),
            "groups" => self.groups.clone(),
            "tier" => self.tier.clone(),
            _ => None,
        }
    }
}

/// That of the identity which a counter reads, if it reads one.
fn property(variable: &str) -> Option<&str> {
    variable.strip_prefix("descriptors[0][\"auth.identity.")?.strip_suffix("\"]")
}

#[cfg(test)]
mod tests;
