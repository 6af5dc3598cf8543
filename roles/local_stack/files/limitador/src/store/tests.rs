// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use crate::counters::Total;
use crate::labels::Labels;
use crate::metrics::Metrics;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

fn demand(max: u64, hits: Hits) -> Demand {
    let key = WindowKey { limit: "free".into(), variables: [("user".into(), "alice".into())].into() };
    Demand { key, max, seconds: 120, ends: None, hits, shadow: false }
}

fn count(_: Option<usize>, _: &[usize]) -> Vec<(Series, u64)> {
    vec![(Series::new(Total::AuthorizedCalls, Labels::new()), 1)]
}

fn admitted(store: &Store, demand: Demand, now: Time) -> bool {
    store.settle(&[demand], now, count).limited.is_none()
}

fn value(store: &Store, now: Time) -> u64 {
    store.windows("free", now).first().map_or(0, |(_, window)| window.value)
}

fn open(directory: &Path, now: Time) -> Store {
    Store::open(directory, Metrics::default().datastore, now).unwrap()
}

fn memory() -> Store {
    Store::in_memory(Metrics::default().datastore, 0)
}

#[test]
fn a_window_opens_with_the_first_hit_and_is_fixed() {
    let store = memory();
    let take = || demand(2, Hits::Take(1));
    assert!(admitted(&store, take(), 1_000));
    assert!(admitted(&store, take(), 100_000));
    assert!(!admitted(&store, take(), 120_999));
    assert!(admitted(&store, take(), 121_000));
}

#[test]
fn a_window_that_ends_with_the_month_holds_until_then() {
    let (store, end) = (memory(), 2_000_000_000);
    let ends = |now: Time| Some(if now < end { end } else { 2 * end });
    let spend = |now: Time, hits| {
        let demand = Demand { seconds: 768 * 3600, ends: ends(now), ..demand(2, hits) };
        store.settle(&[demand], now, count).limited.is_none()
    };
    spend(1_000, Hits::Report(9));
    assert_eq!([1_000, end - 1].map(|now| spend(now, Hits::Check)), [false, false], "9 of 2");
    assert!(spend(end, Hits::Check), "a new month");
    spend(end, Hits::Report(1));
    spend(end - 1, Hits::Report(1));
    assert_eq!(value(&store, end), 2, "who came before the new month, but whose turn is in it, opens no old window");
}

#[test]
fn hits() {
    let store = memory();
    assert!(admitted(&store, demand(10, Hits::Take(7)), 0));
    assert!(!admitted(&store, demand(10, Hits::Take(4)), 0), "no room for all four");
    assert_eq!(value(&store, 0), 7);
    assert!(admitted(&store, demand(10, Hits::Check), 0));
    assert_eq!(value(&store, 0), 7);
    assert!(!admitted(&store, demand(10, Hits::Report(57)), 0));
    assert_eq!(value(&store, 0), 64, "a report counts all the same");
    assert!(!admitted(&store, demand(10, Hits::Check), 0));
}

#[test]
fn all_or_none() {
    let store = memory();
    let mut full = demand(0, Hits::Take(1));
    full.key.limit = "full".into();
    let settlement = store.settle(&[demand(5, Hits::Take(1)), full], 0, count);
    assert_eq!(settlement.limited, Some(1));
    assert_eq!(value(&store, 0), 0);
}

#[test]
fn requests_out_of_turn_share_a_window() {
    let store = memory();
    assert!(admitted(&store, demand(1, Hits::Take(1)), 1_000));
    assert!(!admitted(&store, demand(1, Hits::Take(1)), 999));
}

#[test]
fn a_clock_set_back_does_not_freeze_a_window() {
    let store = memory();
    assert!(admitted(&store, demand(1, Hits::Take(1)), 9_000_000));
    assert!(admitted(&store, demand(1, Hits::Take(1)), 1_000));
}

#[test]
fn windows_and_totals_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 0);
    assert!(admitted(&store, demand(2, Hits::Take(1)), 1_000));
    let totals = store.totals();
    drop(store);

    let store = open(directory.path(), 2_000);
    assert_eq!(store.totals(), totals);
    assert_eq!(store.windows("free", 2_000)[0].1, Window { value: 1, expires: 121_000 });
    assert!(admitted(&store, demand(2, Hits::Take(1)), 2_000));
    assert!(!admitted(&store, demand(2, Hits::Take(1)), 2_000));
}

#[test]
fn a_life_ends_when_the_counters_are_lost() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let life = |directory: &Path, now| open(directory, now).totals().1;
    let born = life(first.path(), 1_000);
    assert_eq!(born.since, 1_000);
    assert_eq!(life(first.path(), 2_000), born, "a restart");
    assert_ne!(life(second.path(), 1_000).id, born.id, "another replica");
    std::fs::remove_file(first.path().join("journal")).unwrap();
    let again = life(first.path(), 3_000);
    assert_eq!(again.since, 3_000);
    assert_ne!(again.id, born.id);
    assert_ne!(memory().totals().1.id, memory().totals().1.id);
}

#[test]
fn counters_older_than_the_record_of_their_life_do_not_say_since_when() {
    let directory = tempfile::tempdir().unwrap();
    let header = r#"{"format":"kuadrant.llm limitador 1"}"#;
    let old = r#"{"totals":[[{"total":"authorized_calls","labels":{}},7]]}"#;
    std::fs::write(directory.path().join("journal"), format!("{header}\n{old}\n")).unwrap();
    let (totals, life) = open(directory.path(), 5_000).totals();
    assert_eq!((totals.into_values().next(), life.since), (Some(7), 0));
    assert_eq!(open(directory.path(), 6_000).totals().1, life);
}

#[test]
fn what_cannot_be_written_is_decided_and_counted_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 0);
    let take = |now| admitted(&store, demand(3, Hits::Take(1)), now);
    let told = || (store.datastore.partitioned.get(), store.datastore.unwritten.get());
    assert!(take(0));
    assert_eq!(told(), (0, 0));
    store.lock().journal.as_mut().unwrap().fill_disk();
    assert_eq!([take(1), take(1), take(1), take(RETRY + 1)], [true, true, false, false], "the limit holds");
    assert_eq!(told(), (1, 4));
    store.lock().journal.as_ref().unwrap().free_disk();
    store.catch_up(RETRY + 2);
    assert_eq!(told(), (1, 4), "not yet time for a try");
    store.catch_up(2 * RETRY + 1);
    assert_eq!(told(), (0, 0));
    let totals = store.totals();
    drop(store);
    assert_eq!(open(directory.path(), 0).totals(), totals, "nothing is lost, and the life goes on");
}

#[test]
fn a_request_writes_again_what_could_not_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 0);
    store.lock().journal.as_mut().unwrap().fill_disk();
    assert!(admitted(&store, demand(9, Hits::Take(1)), 0));
    store.lock().journal.as_ref().unwrap().free_disk();
    assert!(admitted(&store, demand(9, Hits::Take(1)), RETRY));
    assert_eq!(store.datastore.partitioned.get(), 0);
    drop(store);
    assert_eq!(value(&open(directory.path(), 0), 0), 2);
}

#[test]
fn a_start_appends_to_what_there_is_and_shortens_it_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 0);
    (0..9).for_each(|_call| assert!(admitted(&store, demand(20, Hits::Take(1)), 0)));
    drop(store);
    let size = || std::fs::metadata(directory.path().join("journal")).unwrap().len();
    let before = size();
    let store = open(directory.path(), 1);
    assert_eq!(size(), before);
    assert!(admitted(&store, demand(20, Hits::Take(1)), 1));
    assert!(size() > before);
    let totals = store.totals();
    store.shorten(1);
    assert!(size() < before);
    drop(store);
    let store = open(directory.path(), 2);
    assert_eq!((store.totals(), value(&store, 2)), (totals, 10));
}

#[test]
fn a_start_without_space_is_no_loss() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 0);
    assert!(admitted(&store, demand(2, Hits::Take(1)), 0));
    let totals = store.totals();
    store.lock().journal.as_mut().unwrap().fill_disk();
    drop(store);
    for now in [1, 2] {
        let store = open(directory.path(), now);
        store.shorten(now);
        assert_eq!((store.totals(), store.datastore.partitioned.get()), (totals.clone(), 1));
    }
}

#[test]
fn killed_without_space_it_starts_again_with_its_windows_and_another_life() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 0);
    assert!(admitted(&store, demand(2, Hits::Take(1)), 0));
    let (_, life) = store.totals();
    store.lock().journal.as_mut().unwrap().fill_disk();
    assert!(admitted(&store, demand(2, Hits::Take(1)), 1));
    drop(store);

    let store = open(directory.path(), 2);
    assert_eq!(store.datastore.partitioned.get(), 1, "there is no space yet");
    let (totals, next) = store.totals();
    assert!(totals.is_empty());
    assert!(next.id != life.id && next.since == 2);
    assert!(admitted(&store, demand(2, Hits::Take(1)), 2), "what only memory knew is lost");
    assert!(!admitted(&store, demand(2, Hits::Take(1)), 2), "what was written is not");
    store.lock().journal.as_ref().unwrap().free_disk();
    store.catch_up(2 + RETRY);
    assert_eq!(store.datastore.partitioned.get(), 0);
    let totals = store.totals();
    drop(store);
    assert_eq!(open(directory.path(), 3).totals(), totals);
}

#[test]
fn a_removed_limit_is_forgotten_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 0);
    assert!(admitted(&store, demand(2, Hits::Take(1)), 0));
    store.forget(vec!["free".into()], 0);
    assert_eq!(value(&store, 0), 0);
    drop(store);
    assert_eq!(value(&open(directory.path(), 0), 0), 0);
}

#[test]
fn expired_windows_are_swept() {
    let store = memory();
    for user in 0..2_000_u64 {
        let mut demand = demand(1, Hits::Take(1));
        demand.key.variables = [("user".into(), user.to_string())].into();
        assert!(admitted(&store, demand, user * 1_000));
    }
    assert!(store.lock().windows.len() < 1_100);
}

#[test]
fn parallel_requests_are_admitted_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 0);
    let ok = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (store, ok) = (&store, &ok);
            scope.spawn(move || {
                for n in 0..500 {
                    ok.fetch_add(admitted(store, demand(3_000, Hits::Take(1)), thread + n % 7).into(), Relaxed);
                }
            });
        }
    });
    assert_eq!(ok.load(Relaxed), 3_000);
    let (totals, _) = store.totals();
    assert_eq!(totals.values().sum::<u64>(), 16 * 500);
    drop(store);
    assert_eq!(open(directory.path(), 0).totals().0, totals);
}

#[test]
fn a_shadow_denies_nothing_and_tells_what_it_would_have_denied() {
    let store = memory();
    let ask = |max, hits, shadow: bool| {
        let mut told = vec![];
        let demand = Demand { shadow, ..demand(max, hits) };
        let done = store.settle(&[demand], 0, |limited, shadows| {
            told.extend_from_slice(shadows);
            count(limited, shadows)
        });
        (done.limited, told)
    };
    assert_eq!(ask(2, Hits::Take(1), true), (None, vec![]));
    assert_eq!(ask(2, Hits::Take(1), true), (None, vec![]));
    assert_eq!(ask(2, Hits::Take(1), true), (None, vec![0]));
    assert_eq!(value(&store, 0), 2, "as if it had been denied");
    assert_eq!(ask(2, Hits::Check, true), (None, vec![0]));
    assert_eq!(ask(2, Hits::Report(5), true).0, None);
    assert_eq!(value(&store, 0), 7, "a report counts all the same");
    assert_eq!(ask(2, Hits::Take(1), false), (Some(0), vec![]), "not in shadow");
}

/// Requests of alice at these moments.
fn ask(store: &Store, moments: &[Time]) {
    let labels: Labels =
        [("limitador_namespace", "llm/route"), ("user", "alice")].map(|(k, v)| (k.into(), v.into())).into();
    let calls = |_: Option<usize>, _: &[usize]| vec![(Series::new(Total::AuthorizedCalls, labels.clone()), 1)];
    for now in moments {
        store.settle(&[], *now, calls);
    }
}

fn used(store: &Store, now: Time) -> (Time, u64) {
    let (month, usage) = store.usage("llm/route", "alice", now);
    (month.since, usage.requests)
}

#[test]
fn usage_begins_anew_with_each_month_and_survives_restarts() {
    const DAY: Time = 86_400_000;
    const FEBRUARY: Time = 31 * DAY;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), DAY);
    ask(&store, &[DAY, DAY, FEBRUARY - 1]);
    assert_eq!(used(&store, FEBRUARY - 1), (DAY, 3));
    assert_eq!(used(&store, FEBRUARY), (FEBRUARY, 0), "nobody has asked yet");
    drop(store);
    let store = open(directory.path(), FEBRUARY - 1);
    assert_eq!(used(&store, FEBRUARY - 1), (DAY, 3), "after a restart");
    ask(&store, &[FEBRUARY, FEBRUARY + DAY]);
    assert_eq!(used(&store, FEBRUARY + DAY), (FEBRUARY, 2));
    drop(store);
    for _ in 0..2 {
        let store = open(directory.path(), FEBRUARY + DAY);
        assert_eq!(used(&store, FEBRUARY + DAY), (FEBRUARY, 2), "read as it was appended, and as it was rewritten");
        assert_eq!(store.totals().0.into_values().sum::<u64>(), 5, "the totals know no months");
    }
}

#[test]
fn usage_of_a_journal_without_months_begins_when_it_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let header = r#"{"format":"kuadrant.llm limitador 1"}"#;
    let old =
        r#"{"totals":[[{"total":"authorized_calls","labels":{"limitador_namespace":"llm/route","user":"alice"}},7]]}"#;
    std::fs::write(directory.path().join("journal"), format!("{header}\n{old}\n")).unwrap();
    let store = open(directory.path(), 5_000);
    assert_eq!(used(&store, 5_000), (5_000, 0));
    ask(&store, &[6_000]);
    assert_eq!(used(&store, 6_000), (5_000, 1));
}
