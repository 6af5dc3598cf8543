// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! What is counted: windows of limits, totals, and the life that they belong to. The store changes them, the journal keeps
//! them, `/metrics` shows them; none of the three needs another one for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::labels::Labels;

/// Milliseconds since 1970.
pub type Time = u64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowKey {
    /// `Rule::identity`.
    pub limit: Arc<str>,
    pub variables: BTreeMap<String, String>,
}

/// A fixed window: it opens with the first hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub value: u64,
    pub expires: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Series {
    pub total: Total,
    pub labels: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Total {
    AuthorizedCalls,
    AuthorizedCallsWithUserAndGroup,
    AuthorizedHits,
    CachedTokens,
    LimitedCalls,
    LimitedCallsWithUserAndGroup,
    MeteredCalls,
    ReportedTokens,
    ShadowLimitedCalls,
    UnmeteredCalls,
}

/// The time for which the totals have counted without a loss. Whoever sees the same life twice knows that nothing was
/// lost in between; no sample of a counter says that, because one that started again may be past its old value by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Random: no other counters have it, those of another replica included.
    pub id: String,
    /// 0 where it is not known: the journal is older than this record.
    pub since: Time,
}

impl Series {
    pub fn new(total: Total, labels: Labels) -> Self {
        Self { total, labels }
    }
}

impl Life {
    pub fn new(since: Time) -> Self {
        Self { id: Uuid::new_v4().simple().to_string(), since }
    }
}
