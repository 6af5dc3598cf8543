// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! What is remembered: limit counters with their windows, and the totals that Prometheus reads and bills are made of.
//!
//! Both change together, under one lock: so a limit admits exactly its maximum however many requests come at once.
//! The journal is written before memory changes and before the answer leaves. Whatever was answered is therefore
//! counted after a crash; a request that was still in flight may be counted without an answer, at most once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tracing::{error, info};

use crate::journal::{Journal, Record};
use crate::labels::Labels;
use crate::metrics::Datastore;

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
    UnmeteredCalls,
}

/// The time for which the totals have counted without a loss. Whoever sees the same life twice knows that nothing was
/// lost in between; no sample of a counter says that, because one that started anew may be past its old value by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Random: no other counters have it, those of another replica included.
    pub id: String,
    /// 0 where it is not known: the journal is older than this record.
    pub since: Time,
}

/// What a request asks of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hits {
    /// Add n if there is room for n, else deny.
    Take(u64),
    /// Deny if there is no room for one; add nothing.
    Check,
    /// Add n: it has happened already.
    Report(u64),
}

pub struct Demand {
    pub key: WindowKey,
    pub max: u64,
    pub seconds: u64,
    pub hits: Hits,
}

pub struct Settlement {
    /// The first demand for which there was no room.
    pub limited: Option<usize>,
    /// The windows as they are now, one for each demand.
    pub windows: Vec<Window>,
}

pub struct Store {
    state: Mutex<State>,
    datastore: Datastore,
}

struct State {
    life: Life,
    windows: HashMap<WindowKey, Window>,
    totals: BTreeMap<Series, u64>,
    journal: Option<Journal>,
    /// Number of windows at which expired ones are swept out.
    sweep_at: usize,
}

impl Series {
    pub fn new(total: Total, labels: Labels) -> Self {
        Self { total, labels }
    }
}

impl Life {
    fn new(since: Time) -> Self {
        // The keys of the standard library's hash maps are random.
        let random = RandomState::new();
        Self { id: format!("{:016x}{:016x}", random.hash_one(since), random.hash_one(!since)), since }
    }
}

impl Hits {
    /// What a report with these hits adds.
    pub fn of_report(self) -> u64 {
        match self {
            Self::Take(n) | Self::Report(n) => n,
            Self::Check => 0,
        }
    }

    fn exceed(self, value: u64, max: u64) -> bool {
        let needed = match self {
            Self::Take(n) | Self::Report(n) => n,
            Self::Check => 1,
        };
        value.saturating_add(needed) > max
    }

    fn added(self, limited: bool) -> u64 {
        match self {
            Self::Take(n) if !limited => n,
            Self::Report(n) => n,
            _ => 0,
        }
    }
}

impl Store {
    pub fn in_memory(datastore: Datastore, now: Time) -> Self {
        Self { state: Mutex::new(State::new(now)), datastore }
    }

    pub fn open(directory: &Path, datastore: Datastore, now: Time) -> Result<Self> {
        let mut state = State::new(now);
        let mut recorded = false;
        let journal = Journal::open(directory, |record| {
            recorded |= record.life.is_some();
            state.apply(record);
        })?;
        if !recorded && !state.totals.is_empty() {
            state.life.since = 0;
        }
        state.journal = Some(journal);
        state.sweep(now);
        state.rewrite()?;
        info!(
            "{}: {} series and {} open windows restored",
            directory.display(),
            state.totals.len(),
            state.windows.len()
        );
        Ok(Self { state: Mutex::new(state), datastore })
    }

    /// Admits all demands or none. `totals` says what to count, given the demand that was denied, if any.
    /// On an error nothing has been counted.
    pub fn settle(
        &self,
        demands: &[Demand],
        now: Time,
        totals: impl FnOnce(Option<usize>) -> Vec<(Series, u64)>,
    ) -> io::Result<Settlement> {
        let _timer = self.datastore.latency.start_timer();
        let mut state = self.lock();
        let mut windows: Vec<Window> = demands.iter().map(|demand| state.window(demand, now)).collect();
        let limited =
            demands.iter().zip(&windows).position(|(demand, window)| demand.hits.exceed(window.value, demand.max));

        let mut record = Record::default();
        for (demand, window) in demands.iter().zip(&mut windows) {
            let added = demand.hits.added(limited.is_some());
            if added > 0 {
                window.value = window.value.saturating_add(added);
                record.windows.push((demand.key.clone(), *window));
            }
        }
        for (series, n) in totals(limited) {
            let total = state.totals.get(&series).copied().unwrap_or(0).saturating_add(n);
            record.totals.push((series, total));
        }
        self.commit(&mut state, record, now)?;
        Ok(Settlement { limited, windows })
    }

    /// Forgets the counters of limits that are gone, so that one of the same shape starts anew.
    pub fn forget(&self, identities: Vec<Arc<str>>, now: Time) -> io::Result<()> {
        self.commit(&mut self.lock(), Record { dropped: identities, ..Record::default() }, now)
    }

    /// The open windows of a limit.
    pub fn windows(&self, identity: &str, now: Time) -> Vec<(BTreeMap<String, String>, Window)> {
        let state = self.lock();
        let open = state.windows.iter().filter(|(key, window)| &*key.limit == identity && window.expires > now);
        open.map(|(key, window)| (key.variables.clone(), *window)).collect()
    }

    /// The totals, and the life that they are of.
    pub fn totals(&self) -> (BTreeMap<Series, u64>, Life) {
        let state = self.lock();
        (state.totals.clone(), state.life.clone())
    }

    fn commit(&self, state: &mut State, record: Record, now: Time) -> io::Result<()> {
        if let Some(journal) = &mut state.journal {
            let written = journal.append(&record);
            self.datastore.partitioned.set(written.is_err().into());
            written?;
        }
        state.apply(record);
        state.tidy(now);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}

impl State {
    fn new(now: Time) -> Self {
        let life = Life::new(now);
        Self { life, windows: HashMap::new(), totals: BTreeMap::new(), journal: None, sweep_at: 0 }
    }

    fn window(&self, demand: &Demand, now: Time) -> Window {
        let period = demand.seconds.saturating_mul(1000);
        match self.windows.get(&demand.key) {
            // Two periods and more to go: the clock was set back since. Less is also what a request sees whose
            // time was taken before, but whose turn came after, that of the one that opened the window.
            Some(window) if window.expires > now && (window.expires - now) / 2 < period => *window,
            _ => Window { value: 0, expires: now.saturating_add(period) },
        }
    }

    fn apply(&mut self, record: Record) {
        self.windows.extend(record.windows);
        self.totals.extend(record.totals);
        if let Some(life) = record.life {
            self.life = life;
        }
        if !record.dropped.is_empty() {
            let dropped: HashSet<_> = record.dropped.into_iter().collect();
            self.windows.retain(|key, _| !dropped.contains(&key.limit));
        }
    }

    fn tidy(&mut self, now: Time) {
        if self.windows.len() >= self.sweep_at {
            self.sweep(now);
        }
        if self.journal.as_ref().is_some_and(Journal::is_large) {
            self.sweep(now);
            if let Err(error) = self.rewrite() {
                error!("cannot shorten the journal, it goes on growing: {error}");
            }
        }
    }

    fn sweep(&mut self, now: Time) {
        self.windows.retain(|_, window| window.expires > now);
        self.sweep_at = 2 * self.windows.len() + 1024;
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let life = Record { life: Some(self.life.clone()), ..Record::default() };
        let windows = self
            .windows
            .iter()
            .map(|(key, window)| Record { windows: vec![(key.clone(), *window)], ..Record::default() });
        let totals = self
            .totals
            .iter()
            .map(|(series, total)| Record { totals: vec![(series.clone(), *total)], ..Record::default() });
        journal.rewrite(std::iter::once(life).chain(windows).chain(totals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    fn demand(max: u64, hits: Hits) -> Demand {
        let key = WindowKey { limit: "free".into(), variables: [("user".into(), "alice".into())].into() };
        Demand { key, max, seconds: 120, hits }
    }

    fn count(_: Option<usize>) -> Vec<(Series, u64)> {
        vec![(Series::new(Total::AuthorizedCalls, Labels::new()), 1)]
    }

    fn admitted(store: &Store, demand: Demand, now: Time) -> bool {
        store.settle(&[demand], now, count).unwrap().limited.is_none()
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
        let settlement = store.settle(&[demand(5, Hits::Take(1)), full], 0, count).unwrap();
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
        let anew = life(first.path(), 3_000);
        assert_eq!(anew.since, 3_000);
        assert_ne!(anew.id, born.id);
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
    fn what_cannot_be_written_is_not_counted() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), 0);
        let take = || store.settle(&[demand(9, Hits::Take(1))], 0, count).map(|_| value(&store, 0));
        let partitioned = || store.datastore.partitioned.get();
        assert_eq!((take().unwrap(), partitioned()), (1, 0));
        let disk = store.lock().journal.as_mut().unwrap().fill_disk();
        assert!(take().is_err());
        assert_eq!((value(&store, 0), partitioned()), (1, 1));
        store.lock().journal.as_mut().unwrap().free_disk(disk);
        assert_eq!((take().unwrap(), partitioned()), (2, 0));
        let totals = store.totals();
        drop(store);
        assert_eq!(open(directory.path(), 0).totals(), totals);
    }

    #[test]
    fn a_removed_limit_is_forgotten_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), 0);
        assert!(admitted(&store, demand(2, Hits::Take(1)), 0));
        store.forget(vec!["free".into()], 0).unwrap();
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
}
