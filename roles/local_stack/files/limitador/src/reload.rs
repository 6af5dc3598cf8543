// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Keeps the limits in force equal to the limits file.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;
use tracing::{error, info};

use crate::engine::now;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::store::Store;

pub struct Reloader {
    file: PathBuf,
    limits: watch::Sender<Arc<Limits>>,
    store: Arc<Store>,
    metrics: Metrics,
    /// The text last read, good or bad; none if the file was gone. Events without a change of content are ignored.
    seen: Mutex<Option<String>>,
}

impl Reloader {
    /// Reads the file for the first time; here a bad one is an error.
    pub fn new(file: &Path, store: Arc<Store>, metrics: Metrics) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let limits = Limits::parse(&text).with_context(|| format!("{} is refused", file.display()))?;
        Ok(Self {
            file: file.to_owned(),
            limits: watch::Sender::new(Arc::new(limits)),
            store,
            metrics,
            seen: Mutex::new(Some(text)),
        })
    }

    pub fn limits(&self) -> watch::Receiver<Arc<Limits>> {
        self.limits.subscribe()
    }

    /// Reloads on every change until the returned watcher is dropped. The directory is watched, for a file that is
    /// replaced by a rename is a new file, and in a mounted ConfigMap it is the link `..data` that is replaced.
    pub fn watch(self: Arc<Self>) -> Result<RecommendedWatcher> {
        let directory = match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let reloader = self.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) if reloader.concerns(&event) => reloader.reload(),
            Ok(_) => {}
            Err(error) => error!("watching the limits file: {error}"),
        })?;
        watcher
            .watch(&directory, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch {}", directory.display()))?;
        self.reload(); // what changed since it was first read
        Ok(watcher)
    }

    fn concerns(&self, event: &Event) -> bool {
        // Reading the file is an event, too.
        let changes = match event.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        let ours = |path: &PathBuf| {
            path.file_name() == self.file.file_name() || path.file_name() == Some(OsStr::new("..data"))
        };
        changes && (event.need_rescan() || event.paths.iter().any(ours))
    }

    fn reload(&self) {
        let mut seen = self.seen.lock().expect("no code panics while it holds this lock");
        let text = match fs::read_to_string(&self.file) {
            Ok(text) if seen.as_ref() == Some(&text) => return,
            // Emptied to be written in place: as no limits, it would lift them all and forget what they have counted.
            Ok(text) if text.is_empty() => {
                *seen = None;
                return self.refuse(&anyhow!("it is empty; no limits are written as []"));
            }
            Ok(text) => text,
            // Between removal and replacement; a removal for good shows in the metric.
            Err(error) => {
                *seen = None;
                return self.refuse(&error.into());
            }
        };
        match Limits::parse(&text) {
            Ok(limits) => self.replace(limits),
            Err(error) => self.refuse(&error),
        }
        *seen = Some(text);
    }

    fn replace(&self, limits: Limits) {
        let count = limits.len();
        let kept = limits.identities();
        let old = self.limits.send_replace(Arc::new(limits));
        let gone = old.identities().difference(&kept).cloned().collect::<Vec<_>>();
        if !gone.is_empty() {
            self.store.forget(gone, now());
        }
        self.metrics.reload_successful.set(1);
        info!("{}: {count} limits in force", self.file.display());
    }

    fn refuse(&self, error: &anyhow::Error) {
        self.metrics.reload_successful.set(0);
        error!("{} is refused, the limits before it stay in force: {error:#}", self.file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn text(max: u64) -> String {
        format!("[{{namespace: a, max_value: {max}, seconds: 60}}]")
    }

    fn replace(file: &Path, text: &str) {
        let new = file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn max(limits: &Limits) -> Option<u64> {
        limits.namespace("a").first().map(|rule| rule.limit.max_value())
    }

    fn reloader(file: &Path) -> Arc<Reloader> {
        fs::write(file, text(1)).unwrap();
        let metrics = Metrics::default();
        let store = Arc::new(Store::in_memory(metrics.datastore.clone(), 0));
        Arc::new(Reloader::new(file, store, metrics).unwrap())
    }

    async fn until(limits: &mut watch::Receiver<Arc<Limits>>, wanted: Option<u64>) {
        tokio::time::timeout(Duration::from_secs(20), limits.wait_for(|limits| max(limits) == wanted))
            .await
            .expect("the change must be noticed")
            .unwrap();
    }

    #[tokio::test]
    async fn a_file_replaced_by_rename_or_written_in_place_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("limits.yaml");
        let reloader = reloader(&file);
        let mut limits = reloader.limits();
        let _watcher = reloader.watch().unwrap();
        replace(&file, &text(2));
        until(&mut limits, Some(2)).await;
        replace(&file, &text(3));
        until(&mut limits, Some(3)).await;
        fs::write(&file, text(4)).unwrap();
        until(&mut limits, Some(4)).await;
    }

    #[tokio::test]
    async fn a_mounted_config_map_is_noticed() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, max) in [("..1", 1), ("..2", 2)] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("limits.yaml"), text(max)).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/limits.yaml", at("limits.yaml")).unwrap();
        let metrics = Metrics::default();
        let store = Arc::new(Store::in_memory(metrics.datastore.clone(), 0));
        let reloader = Arc::new(Reloader::new(&at("limits.yaml"), store, metrics).unwrap());
        let mut limits = reloader.limits();
        let _watcher = reloader.watch().unwrap();
        symlink("..2", at("..tmp")).unwrap();
        fs::rename(at("..tmp"), at("..data")).unwrap();
        until(&mut limits, Some(2)).await;
    }

    #[test]
    fn a_bad_file_is_refused_and_the_old_limits_stay() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("limits.yaml");
        let reloader = reloader(&file);
        let limits = reloader.limits();
        let successful = || reloader.metrics.reload_successful.get();

        replace(&file, "[{namespace: a}]");
        reloader.reload();
        assert_eq!((max(&limits.borrow()), successful()), (Some(1), 0));
        fs::write(&file, "").unwrap();
        reloader.reload();
        assert_eq!((max(&limits.borrow()), successful()), (Some(1), 0));
        fs::remove_file(&file).unwrap();
        reloader.reload();
        assert_eq!((max(&limits.borrow()), successful()), (Some(1), 0));
        replace(&file, &text(1));
        reloader.reload();
        assert_eq!((max(&limits.borrow()), successful()), (Some(1), 1));
        replace(&file, "[]");
        reloader.reload();
        assert_eq!((max(&limits.borrow()), successful()), (None, 1));
    }
}
