// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Limits that do not count all tokens alike. Their name says so, after that of the tier, as module tier writes it
//! (`_tier/policy.py`): `free/cost:prompt=1,completion=4,cached=0.1`.

use crate::tokens::Report;

const COST: &str = "cost:";
const SHADOW: &str = "shadow";
/// Weights are kept in millionths.
pub const ONE: u64 = 1_000_000;
const DECIMALS: usize = 6;
const MOST: u64 = 1_000_000 * ONE;

/// What one token counts, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    prompt: u64,
    completion: u64,
    cached: u64,
}

impl Weights {
    /// Those that a limit's name says.
    pub fn of(name: &str) -> Option<Self> {
        let mut parts = name.split('/').skip(1).peekable();
        parts.next_if_eq(&SHADOW);
        let mut amounts = parts.next()?.strip_prefix(COST)?.split(',');
        let mut amount = |name: &str| millionths(amounts.next()?.strip_prefix(name)?.strip_prefix('=')?, MOST);
        let weights = Self { prompt: amount("prompt")?, completion: amount("completion")?, cached: amount("cached")? };
        amounts.next().is_none().then_some(weights)
    }

    /// What an answer counts, rounded up. Tokens of which only the sum is known count as the dearer of the two kinds.
    pub fn cost(&self, report: &Report) -> u64 {
        let part = |tokens: u64, weight: u64| u128::from(tokens) * u128::from(weight);
        let millionths = part(report.prompt.saturating_sub(report.cached), self.prompt)
            + part(report.cached, self.cached)
            + part(report.completion, self.completion)
            + part(report.unsplit, self.prompt.max(self.completion));
        u64::try_from(millionths.div_ceil(ONE.into())).unwrap_or(u64::MAX)
    }
}

/// Of a decimal number such as `0.1`, of at most `most`.
pub fn millionths(text: &str, most: u64) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > DECIMALS {
        return None;
    }
    let millionths =
        whole.parse::<u64>().ok()?.checked_mul(ONE)? + format!("{decimals:0<DECIMALS$}").parse::<u64>().ok()?;
    (millionths <= most).then_some(millionths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(name: &str, prompt: u64, cached: u64, completion: u64, unsplit: u64) -> u64 {
        let report = Report { prompt, completion, cached, unsplit, ..Report::default() };
        Weights::of(name).expect("has weights").cost(&report)
    }

    #[test]
    fn each_kind_counts_its_own() {
        let name = "free/cost:prompt=1,completion=4,cached=0.1";
        assert_eq!(cost(name, 100, 0, 0, 0), 100);
        assert_eq!(cost(name, 0, 0, 25, 0), 100);
        assert_eq!(cost(name, 100, 100, 0, 0), 10);
        assert_eq!(cost(name, 100, 40, 25, 0), 60 + 4 + 100);
        assert_eq!(cost(name, 0, 0, 0, 10), 40, "the dearer of the two");
        assert_eq!(cost(name, 0, 0, 0, 0), 0);
    }

    #[test]
    fn part_of_a_token_is_a_whole_one() {
        let name = "free/cost:prompt=0.000001,completion=0,cached=0";
        assert_eq!(cost(name, 1, 0, 1000, 0), 1);
        assert_eq!(cost(name, 1_000_000, 0, 0, 0), 1);
        assert_eq!(cost(name, 1_000_001, 0, 0, 0), 2);
    }

    #[test]
    fn nothing_overflows() {
        let name = "free/cost:prompt=1000000,completion=1000000,cached=1000000";
        assert_eq!(cost(name, u64::MAX, 0, u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn a_name_without_weights_has_none() {
        for name in [
            "free",
            "cost:prompt=1,completion=1,cached=1",
            "free/group",
            "free/shadow",
            "free/model/cost:prompt=1,completion=4,cached=0.1",
            "free/cost:prompt=1,completion=4",
            "free/cost:prompt=1,completion=4,cached=0.1,more=1",
            "free/cost:completion=1,prompt=4,cached=0.1",
            "free/cost:prompt=-1,completion=4,cached=0.1",
            "free/cost:prompt=0.0000001,completion=4,cached=0.1",
            "free/cost:prompt=1000001,completion=4,cached=0.1",
            "free/cost:prompt=.,completion=4,cached=0.1",
        ] {
            assert_eq!(Weights::of(name), None, "{name}");
        }
    }

    #[test]
    fn shadow_comes_before_and_scopes_after() {
        let weights = Weights { prompt: ONE, completion: 4 * ONE, cached: ONE / 10 };
        for name in [
            "a/shadow/cost:prompt=1,completion=4,cached=0.1",
            "a/cost:prompt=1,completion=4,cached=0.1/group/model/m/1",
        ] {
            assert_eq!(Weights::of(name), Some(weights), "{name}");
        }
    }
}
