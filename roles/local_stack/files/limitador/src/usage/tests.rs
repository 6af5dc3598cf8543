// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use crate::labels::Labels;

const NOVEMBER: Time = 1_793_491_200_000; // 2026-11-01T00:00:00Z
const DECEMBER: Time = 1_796_083_200_000;

fn series(total: Total, labels: &[(&str, &str)]) -> Series {
    let labels: Labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Series::new(total, labels)
}

#[test]
fn a_month_is_that_of_the_calendar() {
    let month = Month::at(DECEMBER - 1);
    assert_eq!(month, Month { begin: NOVEMBER, since: DECEMBER - 1 });
    assert_eq!(month.next(DECEMBER - 1), None);
    assert_eq!(month.next(DECEMBER), Some(Month { begin: DECEMBER, since: DECEMBER }));
    assert_eq!(month.next(DECEMBER + 40 * 86_400_000).unwrap().begin, DECEMBER + 31 * 86_400_000);
    assert_eq!(month.next(NOVEMBER - 1), None, "a clock that is set back");
}

#[test]
fn each_total_has_its_figure() {
    let mut usages = Usages::default();
    let who = [("limitador_namespace", "llm/route"), ("user", "alice")];
    let tokens = |kind: &'static str| series(Total::ReportedTokens, &[who[0], who[1], ("model", "m"), ("type", kind)]);
    usages.add(&series(Total::AuthorizedCalls, &who), 3);
    usages.add(&series(Total::AuthorizedHits, &who), 12);
    usages.add(&series(Total::LimitedCalls, &[who[0], who[1], ("limit_name", "free")]), 1);
    usages.add(&series(Total::CachedTokens, &who), 2);
    for (kind, n) in [("prompt", 7), ("completion", 5), ("unsplit", 4)] {
        usages.add(&tokens(kind), n);
    }
    let expected = Usage {
        requests: 3,
        refused_requests: 1,
        prompt_tokens: 7,
        cached_tokens: 2,
        completion_tokens: 5,
        unsplit_tokens: 4,
    };
    assert_eq!(usages.get("llm/route", "alice"), expected);
    assert_eq!(expected.tokens(), 16, "those from the cache are some of the prompt's");
    assert_eq!(usages.get("llm/other", "alice"), Usage::default());
    assert_eq!(usages.get("llm/route", "bob"), Usage::default());
}
