// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Limits on money in a calendar month. Their name says prices and time zone, after that of the tier, as module tier writes
//! it (`_tier/spend.py`): `free/spend:Europe/Berlin;prompt=0.5,completion=1.5,…;model=llama,prompt=2,completion=6,…`.
//!
//! The limit is in millionths of the currency, and so are prices, of one token or one answer. An answer costs what a bill says
//! (`_price/rate.py`), rounded up.

use chrono::{Datelike, Days, MappedLocalTime, NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::counters::Time;
use crate::tokens::Report;
use crate::weights::{ONE, millionths};

const SPEND: &str = "spend:";
const MODEL: &str = "model=";
/// In millionths of millionths: a million of the currency.
const MOST: u64 = 1_000_000 * 1_000_000 * ONE;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    pub tier: String,
    zone: Tz,
    usual: Prices,
    models: Vec<(String, Prices)>,
}

/// Of one token, and of one answer: any, and one without usage in addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prices {
    prompt: u64,
    completion: u64,
    cached: u64,
    unsplit: u64,
    request: u64,
    unmetered: u64,
}

impl Spend {
    /// What a limit's name says. None: it is no limit on money. A limit on money that cannot be read is an error, for it
    /// would count tokens as money.
    pub fn of(name: &str) -> Option<Result<Self, String>> {
        let (tier, spend) = name.split_once('/')?;
        let text = spend.strip_prefix(SPEND)?;
        Some(Self::read(tier, text).ok_or_else(|| format!("`{name}` says no prices that can be read")))
    }

    fn read(tier: &str, text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let zone = parts.next()?.parse().ok()?;
        let usual = Prices::read(parts.next()?)?;
        let model = |part: &str| {
            let (name, prices) = part.strip_prefix(MODEL)?.split_once(',')?;
            Some((name.to_owned(), Prices::read(prices)?))
        };
        Some(Self { tier: tier.into(), zone, usual, models: parts.map(model).collect::<Option<_>>()? })
    }

    /// Its name without what answers cost.
    pub fn title(&self) -> String {
        format!("{}/{}", self.tier, SPEND.trim_end_matches(':'))
    }

    /// What an answer costs, in millionths of the currency.
    pub fn cost(&self, report: &Report) -> u64 {
        let of_model = self.models.iter().find(|(name, _)| Some(name) == report.model.as_ref());
        of_model.map_or(&self.usual, |(_, prices)| prices).cost(report)
    }

    /// When the month ends in its time zone; None where calendars end.
    pub fn month_end(&self, now: Time) -> Option<Time> {
        month_end(self.zone, now)
    }
}

impl Prices {
    fn read(text: &str) -> Option<Self> {
        let mut amounts = text.split(',');
        let mut amount = |name: &str| millionths(amounts.next()?.strip_prefix(name)?.strip_prefix('=')?, MOST);
        let prices = Self {
            prompt: amount("prompt")?,
            completion: amount("completion")?,
            cached: amount("cached")?,
            unsplit: amount("unsplit")?,
            request: amount("request")?,
            unmetered: amount("unmetered")?,
        };
        amounts.next().is_none().then_some(prices)
    }

    fn cost(&self, report: &Report) -> u64 {
        let parts = [
            (report.prompt.saturating_sub(report.cached), self.prompt),
            (report.completion, self.completion),
            (report.cached, self.cached),
            (report.unsplit, self.unsplit),
            (1, self.request),
            (report.unmetered.is_some().into(), self.unmetered),
        ];
        let sum = parts
            .into_iter()
            .fold(0_u128, |sum, (count, price)| sum.saturating_add(u128::from(count) * u128::from(price)));
        u64::try_from(sum.div_ceil(ONE.into())).unwrap_or(u64::MAX)
    }
}

fn month_end(zone: Tz, now: Time) -> Option<Time> {
    let here = zone.timestamp_millis_opt(now.try_into().ok()?).single()?;
    let first = NaiveDate::from_ymd_opt(here.year(), here.month(), 1)?;
    let mut midnight = first.checked_add_months(chrono::Months::new(1))?.and_hms_opt(0, 0, 0)?;
    let latest = midnight.checked_add_days(Days::new(1))?;
    while midnight < latest {
        match zone.from_local_datetime(&midnight) {
            MappedLocalTime::Single(end) | MappedLocalTime::Ambiguous(end, _) => {
                return end.timestamp_millis().try_into().ok();
            }
            // Clocks are put forward over midnight.
            MappedLocalTime::None => midnight += TimeDelta::minutes(15),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    const USUAL: &str = "prompt=0.5,completion=1.5,cached=0.1,unsplit=1.5,request=10000,unmetered=7";

    fn spend(zone: &str, more: &str) -> Spend {
        Spend::of(&format!("free/spend:{zone};{USUAL}{more}")).expect("is on money").expect("can be read")
    }

    fn ms(text: &str) -> Time {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis().try_into().unwrap()
    }

    #[test]
    fn an_answer_costs_what_a_bill_says() {
        let spend = spend("Etc/UTC", "");
        let cost = |report: Report| spend.cost(&report);
        assert_eq!(cost(Report::default()), 10_000);
        assert_eq!(cost(Report { prompt: 100, ..Report::default() }), 10_050);
        assert_eq!(cost(Report { prompt: 100, cached: 50, ..Report::default() }), 10_030);
        assert_eq!(cost(Report { completion: 3, ..Report::default() }), 10_005, "rounded up");
        assert_eq!(cost(Report { unsplit: 10, ..Report::default() }), 10_015);
        assert_eq!(cost(Report { unmetered: Some("aborted".into()), ..Report::default() }), 10_007);
    }

    #[test]
    fn models_have_prices_of_their_own() {
        let dear = ";model=org/dear-7b,prompt=2,completion=6,cached=2,unsplit=6,request=0,unmetered=0";
        let spend = spend("Etc/UTC", dear);
        let cost = |model: &str| spend.cost(&Report { model: Some(model.into()), prompt: 10, ..Report::default() });
        assert_eq!((cost("org/dear-7b"), cost("org/dear")), (20, 10_005));
    }

    #[test]
    fn nothing_overflows() {
        let most = "prompt=1000000000000,completion=1000000000000,cached=0,unsplit=1000000000000,request=0,unmetered=0";
        let spend = Spend::of(&format!("a/spend:Etc/UTC;{most}")).unwrap().unwrap();
        let report = Report { prompt: u64::MAX, completion: u64::MAX, unsplit: u64::MAX, ..Report::default() };
        assert_eq!(spend.cost(&report), u64::MAX);
    }

    #[test]
    fn a_month_ends_at_midnight_of_its_zone() {
        for (zone, now, end) in [
            ("Etc/UTC", "2026-11-27T19:00:00Z", "2026-12-01T00:00:00Z"),
            ("Etc/UTC", "2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00Z"),
            ("Etc/UTC", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
            ("Europe/Berlin", "2026-11-30T22:59:59Z", "2026-11-30T23:00:00Z"),
            ("Europe/Berlin", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"),
            ("Europe/Berlin", "2026-03-15T00:00:00Z", "2026-03-31T22:00:00Z"),
            ("Asia/Kolkata", "2026-02-10T00:00:00Z", "2026-02-28T18:30:00Z"),
            ("America/Asuncion", "2023-09-15T00:00:00Z", "2023-10-01T04:00:00Z"), // 00:00 to 01:00 was left out
        ] {
            assert_eq!(spend(zone, "").month_end(ms(now)), Some(ms(end)), "{zone} {now}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_a_limit_on_tokens() {
        for text in
            ["", "Etc/UTC", "Mars/Base;PRICES", "Etc/UTC;prompt=1", "Etc/UTC;PRICES,more=1", "Etc/UTC;PRICES;llama"]
        {
            let name = format!("free/spend:{}", text.replace("PRICES", USUAL));
            assert!(Spend::of(&name).expect("is on money").is_err(), "{name}");
        }
        for name in ["free", "free/group", "spend:Etc/UTC", "free/model/spend:Etc/UTC"] {
            assert!(Spend::of(name).is_none(), "{name}");
        }
    }
}
