// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! How a stock Envoy says what Kuadrant's filter says by `CheckRateLimit` and `Report`: entries of the first descriptor,
//! put there by the local stack's controller (`local_controller/tokens.py`).

use std::collections::HashMap;

/// In a request: its tokens will be reported. The admitted request's entries go back to Envoy, which reports with them,
/// so that a report names the limits and values that were asked for, whatever became of the request on its way.
pub const REPORT_FOLLOWS: &str = "kuadrant.llm/report";
/// In a report: why the answer carries no usage, if it carries none.
pub const USAGE: &str = "kuadrant.llm/usage";
/// In a report: what the answer said, `SAID` and a JSON pointer.
const SAID: &str = "kuadrant.llm";
/// The reason of an answer whose usage says nothing that can be counted: no number, a negative one, or one beyond `MOST`.
const INVALID: &str = "invalid_usage";
/// The reasons of a stream that was broken off, and of one that had told in each event what it cost until then: `RUNNING` is
/// counted as `ABORTED`, although it told all parts of a usage, for the model server may have worked on.
const ABORTED: &str = "aborted";
const RUNNING: &str = "aborted_running";
/// The most tokens that one answer can have cost: beyond that its number is none of tokens.
const MOST: u64 = 1_000_000_000_000;

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
    /// Why the answer told no usage, or only its beginning: what it told until then is counted all the same.
    pub unmetered: Option<String>,
}

impl Report {
    /// A report of a stock Envoy, which passes on what the answer said.
    pub fn said(entries: &HashMap<String, String>) -> Self {
        let said = |pointer: &str| entries.get(&format!("{SAID}{pointer}")).map(String::as_str);
        let usage = |name: &str| said(&format!("/usage/{name}")).and_then(tokens);
        let (read, created) = (usage("cache_read_input_tokens"), usage("cache_creation_input_tokens"));
        // The input of messages leaves out what the cache gave and took, and only messages tell that.
        let input = usage("input_tokens").map(|input| input + read.unwrap_or(0) + created.unwrap_or(0));
        let prompt = usage("prompt_tokens").or(input);
        let completion = usage("completion_tokens").or(usage("output_tokens"));
        let cached =
            usage("prompt_tokens_details/cached_tokens").or(usage("input_tokens_details/cached_tokens")).or(read);
        let total = usage("total_tokens");

        let model = said("/model").map(str::to_owned);
        let known = prompt.unwrap_or(0) + completion.unwrap_or(0);
        let mut report =
            Self::split(total.unwrap_or(known), prompt.unwrap_or(0), completion.unwrap_or(0), cached.unwrap_or(0));
        report.model = model;
        let missing = total.is_none() && (prompt.is_none() || completion.is_none());
        report.unmetered = match entries.get(USAGE).map_or("", String::as_str) {
            RUNNING => Some(ABORTED.into()),
            _ if !missing => None,
            explained @ (ABORTED | "error") => Some(explained.into()),
            reason => {
                let invalid = |(key, value): (&String, &String)| {
                    key.starts_with("kuadrant.llm/usage/") && tokens(value).is_none()
                };
                Some(if entries.iter().any(invalid) { INVALID } else { reason }.into())
            }
        };
        report
    }

    /// A report of Kuadrant's filter, which knows the total only.
    pub fn total(total: u64) -> Self {
        Self::split(total, 0, 0, 0)
    }

    /// All tokens, which is what limits count.
    pub fn tokens(&self) -> u64 {
        self.prompt.saturating_add(self.completion).saturating_add(self.unsplit)
    }

    fn split(total: u64, prompt: u64, completion: u64, cached: u64) -> Self {
        match total.checked_sub(prompt + completion) {
            Some(unsplit) => Self { prompt, completion, cached: cached.min(prompt), unsplit, ..Self::default() },
            None => Self { unsplit: total, ..Self::default() }, // a contradiction
        }
    }
}

/// A number as Envoy prints it. Part of a token is one that was worked for.
fn tokens(text: &str) -> Option<u64> {
    let number = match text.parse::<u64>() {
        Ok(number) => number,
        Err(_) => match text.parse::<f64>().ok()?.ceil() {
            number if (0.0..=MOST as f64).contains(&number) => number as u64,
            _ => return None,
        },
    };
    (number <= MOST).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reason: &str, usage: &[(&str, &str)]) -> Report {
        let entries = usage.iter().map(|(name, value)| (format!("kuadrant.llm/usage/{name}"), value.to_string()));
        Report::said(&entries.chain([(USAGE.into(), reason.into())]).collect())
    }

    fn split(usage: &[(&str, &str)]) -> (u64, u64, u64, u64) {
        let report = said("no_usage", usage);
        assert_eq!(report.unmetered, None, "{usage:?}");
        (report.prompt, report.completion, report.cached, report.unsplit)
    }

    fn unmetered(reason: &str, usage: &[(&str, &str)]) -> (u64, String) {
        let report = said(reason, usage);
        (report.tokens(), report.unmetered.expect("must not be metered"))
    }

    #[test]
    fn every_format_is_split() {
        let chat = [("prompt_tokens", "7"), ("completion_tokens", "5"), ("total_tokens", "12")];
        assert_eq!(split(&chat), (7, 5, 0, 0));
        let cached = [&chat[..], &[("prompt_tokens_details/cached_tokens", "3")]].concat();
        assert_eq!(split(&cached), (7, 5, 3, 0));
        assert_eq!(split(&[("prompt_tokens", "5"), ("total_tokens", "5")]), (5, 0, 0, 0), "embeddings");
        let responses = [
            ("input_tokens", "7"),
            ("output_tokens", "5"),
            ("total_tokens", "12"),
            ("input_tokens_details/cached_tokens", "2"),
        ];
        assert_eq!(split(&responses), (7, 5, 2, 0), "responses and rerank");
        assert_eq!(split(&[("total_tokens", "9")]), (0, 0, 0, 9), "rerank with a total only");
        assert_eq!(split(&[("input_tokens", "7"), ("output_tokens", "5")]), (7, 5, 0, 0), "messages");
        let cache = [
            ("input_tokens", "7"),
            ("output_tokens", "5"),
            ("cache_read_input_tokens", "20"),
            ("cache_creation_input_tokens", "3"),
        ];
        assert_eq!(split(&cache), (30, 5, 20, 0), "messages tell apart what the cache gave");
    }

    #[test]
    fn parts_add_up_to_the_total() {
        let of = |prompt, completion, total| {
            split(&[("prompt_tokens", prompt), ("completion_tokens", completion), ("total_tokens", total)])
        };
        assert_eq!(of("7", "5", "20"), (7, 5, 0, 8));
        assert_eq!(of("7", "x", "12"), (7, 0, 0, 5));
        assert_eq!(of("7", "9", "12"), (0, 0, 0, 12), "a contradiction");
        assert_eq!(of("18446744073709551615", "1", "12"), (0, 1, 0, 11));
        assert_eq!((Report::total(12).unsplit, Report::total(12).tokens()), (12, 12), "as Kuadrant's filter reports");
    }

    #[test]
    fn cached_tokens_are_some_of_the_prompt() {
        let cached = |prompt, cached| {
            let details = ("prompt_tokens_details/cached_tokens", cached);
            split(&[("prompt_tokens", prompt), ("total_tokens", "12"), details]).2
        };
        assert_eq!(cached("7", "3"), 3);
        assert_eq!(cached("7", "9"), 7, "a contradiction");
        assert_eq!(cached("7", ""), 0);
        assert_eq!(cached("13", "3"), 0, "of no known prompt");
    }

    #[test]
    fn odd_numbers_are_counted_as_what_they_are() {
        let total = |text| split(&[("total_tokens", text)]).3;
        assert_eq!(total("10000000000"), 10_000_000_000);
        assert_eq!(total("1e+10"), 10_000_000_000);
        assert_eq!(total("12.0"), 12);
        assert_eq!(total("12.5"), 13);
        assert_eq!(total("0"), 0);
        for none in ["-5", "1e+20", "NaN", "inf", "many", "", "1000000000001", "18446744073709551616"] {
            assert_eq!(unmetered("no_usage", &[("total_tokens", none)]), (0, INVALID.into()), "{none}");
        }
        let rest = [("total_tokens", "-5"), ("prompt_tokens", "7"), ("completion_tokens", "5")];
        assert_eq!(split(&rest), (7, 5, 0, 0), "what is left says enough");
        assert_eq!(unmetered("no_usage", &rest[..2]), (7, INVALID.into()), "what is left is counted");
    }

    #[test]
    fn no_usage_has_a_reason() {
        assert_eq!(unmetered("no_usage", &[]), (0, "no_usage".into()));
        assert_eq!(unmetered("aborted", &[("total_tokens", "-1")]), (0, "aborted".into()));
    }

    #[test]
    fn the_beginning_of_a_stream_is_counted_and_the_rest_is_missed() {
        assert_eq!(unmetered("aborted", &[("input_tokens", "7")]), (7, "aborted".into()));
        assert_eq!(unmetered("stream_without_usage", &[("input_tokens", "7")]), (7, "stream_without_usage".into()));
    }

    #[test]
    fn a_running_usage_is_counted_as_far_as_it_went_and_the_rest_is_missed() {
        let until_then = [("prompt_tokens", "7"), ("completion_tokens", "2"), ("total_tokens", "9")];
        assert_eq!(unmetered(RUNNING, &until_then), (9, "aborted".into()));
        assert_eq!(unmetered(RUNNING, &[]), (0, "aborted".into()), "before the first event");
        assert_eq!(unmetered(RUNNING, &[("total_tokens", "many")]), (0, "aborted".into()));
        assert_eq!(said(ABORTED, &until_then).unmetered, None, "one that tells it once, at its end, has told all");
    }
}
