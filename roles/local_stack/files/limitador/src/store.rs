// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! What is remembered: limit counters with their windows, and the totals that Prometheus reads and bills are made of.
//!
//! Both change together, under one lock: so a limit admits exactly its maximum however many requests come at once.
//! The journal is written before memory changes and before the answer leaves. Whatever was answered is therefore
//! counted after a crash; a request that was still in flight may be counted without an answer, at most once.
//!
//! A journal that cannot be written, mostly for want of space, stops nothing: memory decides and counts on, and the journal is
//! marked as behind. A server that is started from such a journal goes on with its windows, and its totals begin a new life.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use tracing::{error, info, warn};

use crate::counters::{Life, Series, Time, Window, WindowKey};
use crate::journal::{Found, Journal, Record};
use crate::metrics::Datastore;
use crate::usage::{Month, Usage, Usages};

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
    /// How long a window is at most.
    pub seconds: u64,
    /// When a window ends that opens now, if not after so many seconds.
    pub ends: Option<Time>,
    pub hits: Hits,
    /// No reason to deny anything.
    pub shadow: bool,
}

pub struct Settlement {
    /// The first demand for which there was no room.
    pub limited: Option<usize>,
    /// The windows as they are now, one for each demand.
    pub windows: Vec<Window>,
}

/// Time between two tries to write the journal again.
const RETRY: Time = 5_000;

pub struct Store {
    state: Mutex<State>,
    datastore: Datastore,
}

struct State {
    life: Life,
    windows: HashMap<WindowKey, Window>,
    totals: BTreeMap<Series, u64>,
    month: Month,
    usages: Usages,
    journal: Option<Journal>,
    behind: Option<Behind>,
    /// Number of windows at which expired ones are swept out.
    sweep_at: usize,
}

/// The journal does not have what memory has.
struct Behind {
    /// Requests that were answered since.
    requests: u64,
    tried: Time,
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
        let (mut recorded, mut months) = (false, false);
        let (journal, found) = Journal::open(directory, |record| {
            recorded |= record.life.is_some();
            months |= record.month.is_some();
            state.apply(record);
        })?;
        if found == Found::Behind {
            warn!(
                "{}: the server before could not write its last counters; the totals start again",
                directory.display()
            );
            state.totals.clear();
            state.life = Life::new(now);
        } else if !recorded && !state.totals.is_empty() {
            state.life.since = 0;
        }
        if !months || found == Found::Behind {
            state.month = Month::at(now); // an older journal does not say when it was, and one that is behind not how much
            state.usages.clear();
        }
        state.journal = Some(journal);
        state.sweep(now);
        // To one that says all, more is appended, so that the server answers before it is shortened.
        let whole = found == Found::Whole && recorded && months;
        if !whole && let Err(error) = state.rewrite() {
            state.fall_behind(&error, now);
        }
        info!(
            "{}: {} series and {} open windows restored",
            directory.display(),
            state.totals.len(),
            state.windows.len()
        );
        let store = Self { state: Mutex::new(state), datastore };
        store.tell(&store.lock());
        Ok(store)
    }

    /// Writes the journal in its shortest form, for a server that answers already.
    pub fn shorten(&self, now: Time) {
        let mut state = self.lock();
        if state.behind.is_none()
            && let Err(error) = state.rewrite()
        {
            state.fall_behind(&error, now);
        }
        self.tell(&state);
    }

    /// Admits all demands or none. `totals` says what to count, given the demand that was denied, if any, and those in shadow that would
    /// have been.
    pub fn settle(
        &self,
        demands: &[Demand],
        now: Time,
        totals: impl FnOnce(Option<usize>, &[usize]) -> Vec<(Series, u64)>,
    ) -> Settlement {
        let _timer = self.datastore.latency.start_timer();
        let mut state = self.lock();
        let mut windows: Vec<Window> = demands.iter().map(|demand| state.window(demand, now)).collect();
        let full = |(demand, window): (&Demand, &Window)| demand.hits.exceed(window.value, demand.max);
        let limited =
            demands.iter().zip(&windows).position(|(demand, window)| !demand.shadow && full((demand, window)));
        // What is denied anyway meets no other limit.
        let shadows: Vec<usize> = (0..demands.len())
            .filter(|&n| limited.is_none() && demands[n].shadow && full((&demands[n], &windows[n])))
            .collect();

        let mut record = Record { month: state.month.next(now), ..Record::default() };
        for (n, (demand, window)) in demands.iter().zip(&mut windows).enumerate() {
            let added = demand.hits.added(limited.is_some() || shadows.contains(&n));
            if added > 0 {
                window.value = window.value.saturating_add(added);
                record.windows.push((demand.key.clone(), *window));
            }
        }
        for (series, n) in totals(limited, &shadows) {
            let total = state.totals.get(&series).copied().unwrap_or(0).saturating_add(n);
            record.totals.push((series, total));
        }
        self.commit(&mut state, record, now);
        Settlement { limited, windows }
    }

    /// Forgets the counters of limits that are gone, so that one of the same shape starts again from zero.
    pub fn forget(&self, identities: Vec<Arc<str>>, now: Time) {
        self.commit(&mut self.lock(), Record { dropped: identities, ..Record::default() }, now);
    }

    /// The open windows of a limit.
    pub fn windows(&self, identity: &str, now: Time) -> Vec<(BTreeMap<String, String>, Window)> {
        let state = self.lock();
        let open = state.windows.iter().filter(|(key, window)| &*key.limit == identity && window.expires > now);
        open.map(|(key, window)| (key.variables.clone(), *window)).collect()
    }

    pub fn window(&self, key: &WindowKey, now: Time) -> Option<Window> {
        self.lock().windows.get(key).copied().filter(|window| window.expires > now)
    }

    /// What a user has used of the month.
    pub fn usage(&self, namespace: &str, user: &str, now: Time) -> (Month, Usage) {
        let state = self.lock();
        match state.month.next(now) {
            Some(new) => (new, Usage::default()),
            None => (state.month, state.usages.get(namespace, user)),
        }
    }

    /// The totals, and the life that they are of.
    pub fn totals(&self) -> (BTreeMap<Series, u64>, Life) {
        let state = self.lock();
        (state.totals.clone(), state.life.clone())
    }

    /// Writes what could not be written before, if it is time for a try: for whoever looks at a server that nobody asks.
    pub fn catch_up(&self, now: Time) {
        let mut state = self.lock();
        state.catch_up(now);
        self.tell(&state);
    }

    fn commit(&self, state: &mut State, record: Record, now: Time) {
        if state.behind.is_none()
            && let Some(journal) = &mut state.journal
            && let Err(error) = journal.append(&record)
        {
            state.fall_behind(&error, now);
        }
        if let (Some(behind), Some(journal)) = (&mut state.behind, &mut state.journal) {
            if behind.requests == 0
                && let Err(error) = journal.fall_behind()
            {
                error!("the journal cannot be marked; should this server be killed now, its counters go back: {error}");
            }
            behind.requests += 1;
        }
        state.apply(record);
        state.catch_up(now);
        state.tidy(now);
        self.tell(state);
    }

    fn tell(&self, state: &State) {
        self.datastore.partitioned.set(state.behind.is_some().into());
        let unwritten = state.behind.as_ref().map_or(0, |behind| behind.requests);
        self.datastore.unwritten.set(i64::try_from(unwritten).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}

impl State {
    fn new(now: Time) -> Self {
        let life = Life::new(now);
        Self {
            life,
            windows: HashMap::new(),
            totals: BTreeMap::new(),
            month: Month::at(now),
            usages: Usages::default(),
            journal: None,
            behind: None,
            sweep_at: 0,
        }
    }

    fn window(&self, demand: &Demand, now: Time) -> Window {
        let period = demand.seconds.saturating_mul(1000);
        match self.windows.get(&demand.key) {
            // Two periods and more to go: the clock was set back since. Less is also what a request sees whose
            // time was taken before, but whose turn came after, that of the one that opened the window.
            Some(window) if window.expires > now && (window.expires - now) / 2 < period => *window,
            _ => Window { value: 0, expires: demand.ends.unwrap_or(now.saturating_add(period)) },
        }
    }

    fn apply(&mut self, record: Record) {
        self.windows.extend(record.windows);
        if let Some(month) = record.month {
            self.month = month;
            self.usages.clear();
        }
        for (series, total) in record.totals {
            match self.totals.entry(series) {
                Entry::Vacant(new) => {
                    self.usages.add(new.key(), total);
                    new.insert(total);
                }
                Entry::Occupied(mut old) => {
                    self.usages.add(old.key(), total.saturating_sub(*old.get()));
                    old.insert(total);
                }
            }
        }
        for (namespace, user, usage) in record.usage {
            self.usages.set(&namespace, &user, usage);
        }
        if let Some(life) = record.life {
            self.life = life;
        }
        if !record.dropped.is_empty() {
            let dropped: HashSet<_> = record.dropped.into_iter().collect();
            self.windows.retain(|key, _| !dropped.contains(&key.limit));
        }
    }

    fn fall_behind(&mut self, error: &io::Error, now: Time) {
        error!("the state directory cannot be written, counters are in memory until it can: {error}");
        self.behind = Some(Behind { requests: 0, tried: now });
    }

    fn catch_up(&mut self, now: Time) {
        let Some(behind) = &mut self.behind else { return };
        if now.abs_diff(behind.tried) < RETRY {
            return;
        }
        behind.tried = now;
        let requests = behind.requests;
        if self.rewrite().is_ok() {
            self.behind = None;
            info!("the state directory can be written again: {requests} requests were counted in memory, none is lost");
        }
    }

    fn tidy(&mut self, now: Time) {
        if self.windows.len() >= self.sweep_at {
            self.sweep(now);
        }
        if self.behind.is_none() && self.journal.as_ref().is_some_and(Journal::is_large) {
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
        // After the totals, which would be taken for usage of the month.
        let month = Record { month: Some(self.month), ..Record::default() };
        let usage = self.usages.iter().map(|(namespace, user, usage)| Record {
            usage: vec![(namespace.into(), user.into(), usage)],
            ..Record::default()
        });
        journal.rewrite([life].into_iter().chain(windows).chain(totals).chain([month]).chain(usage))
    }
}

#[cfg(test)]
mod tests;
