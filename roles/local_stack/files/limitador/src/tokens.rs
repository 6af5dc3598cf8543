// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! How a stock Envoy says what Kuadrant's filter says by `CheckRateLimit` and `Report`: entries of the first descriptor,
//! put there by the local stack's controller (`local_controller/tokens.py`).

use std::collections::HashMap;

/// In a request: its tokens will be reported. The admitted request's entries go back to Envoy, which reports with them,
/// so that a report names the limits and values that were asked for, whatever became of the request on its way.
pub const REPORT_FOLLOWS: &str = "kuadrant.llm/report";
/// In a report: `METERED`, or why the answer carried no usage.
pub const USAGE: &str = "kuadrant.llm/usage";
const METERED: &str = "metered";
const PROMPT: &str = "kuadrant.llm/prompt_tokens";
const COMPLETION: &str = "kuadrant.llm/completion_tokens";
const CACHED: &str = "kuadrant.llm/cached_tokens";
const MODEL: &str = "kuadrant.llm/model";

/// What one answer of a model server cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub model: Option<String>,
    pub prompt: u64,
    pub completion: u64,
    /// Those of the prompt that the model server had in its cache: a part of them, not beside them.
    pub cached: u64,
    /// Tokens of which it is not known what they were: with prompt and completion, they are all that was reported.
    pub unsplit: u64,
    /// Why the answer carried no usage.
    pub unmetered: Option<String>,
}

impl Report {
    /// `total` is the descriptor's hits.
    pub fn of(entries: &HashMap<String, String>, total: u64) -> Self {
        let number = |key| entries.get(key).and_then(|value: &String| value.parse::<u64>().ok());
        let model = entries.get(MODEL).cloned();
        if let Some(reason) = entries.get(USAGE).filter(|usage| *usage != METERED) {
            return Self { model, unmetered: Some(reason.clone()), ..Self::default() };
        }
        let (prompt, completion) = (number(PROMPT).unwrap_or(0), number(COMPLETION).unwrap_or(0));
        match prompt.checked_add(completion).and_then(|known| total.checked_sub(known)) {
            Some(unsplit) => {
                let cached = number(CACHED).unwrap_or(0).min(prompt);
                Self { model, prompt, completion, cached, unsplit, unmetered: None }
            }
            None => Self { model, unsplit: total, ..Self::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(entries: &[(&str, &str)], total: u64) -> (u64, u64, u64, Option<String>) {
        let entries = entries.iter().map(|(k, v)| (format!("kuadrant.llm/{k}"), v.to_string())).collect();
        let report = Report::of(&entries, total);
        (report.prompt, report.completion, report.unsplit, report.unmetered)
    }

    #[test]
    fn parts_add_up_to_the_total() {
        let known = |prompt, completion, total| {
            report(&[("usage", "metered"), ("prompt_tokens", prompt), ("completion_tokens", completion)], total)
        };
        assert_eq!(known("7", "5", 12), (7, 5, 0, None));
        assert_eq!(known("7", "5", 20), (7, 5, 8, None));
        assert_eq!(known("7", "x", 12), (7, 0, 5, None));
        assert_eq!(known("7", "9", 12), (0, 0, 12, None), "a contradiction");
        assert_eq!(known("18446744073709551615", "1", 12), (0, 0, 12, None));
        assert_eq!(report(&[], 12), (0, 0, 12, None), "as Kuadrant's filter reports");
    }

    #[test]
    fn cached_tokens_are_some_of_the_prompt() {
        let cached = |prompt: &str, cached: &str| {
            let entries = [("usage", "metered"), ("prompt_tokens", prompt), ("cached_tokens", cached)];
            let entries = entries.iter().map(|(k, v)| (format!("kuadrant.llm/{k}"), v.to_string())).collect();
            Report::of(&entries, 12).cached
        };
        assert_eq!(cached("7", "3"), 3);
        assert_eq!(cached("7", "9"), 7, "a contradiction");
        assert_eq!(cached("7", ""), 0);
        assert_eq!(cached("13", "3"), 0, "of no known prompt");
    }

    #[test]
    fn no_usage_has_a_reason() {
        assert_eq!(report(&[("usage", "aborted"), ("prompt_tokens", "7")], 0), (0, 0, 0, Some("aborted".into())));
    }
}
