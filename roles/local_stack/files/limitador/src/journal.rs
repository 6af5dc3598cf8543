// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! The file that lets counters survive a restart, kill -9 included (not a power loss: nothing waits for the disk).
//!
//! One JSON record a line, appended with one write per request. Records carry absolute values, so the last one wins
//! and reading one twice does no harm. A rewrite replaces the file by the shortest one that says the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::counters::{Life, Series, Window, WindowKey};
use crate::usage::{Month, Usage};

const HEADER: &str = r#"{"format":"kuadrant.llm limitador 1"}"#;
/// A rewrite is due when the file is this much larger than after the last one.
///
/// A start reads all of it. So little more than what there is to remember is to be read before a server answers again.
const GROWTH: u64 = if cfg!(test) { 64 << 10 } else { 8 << 20 };

#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<(WindowKey, Window)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub totals: Vec<(Series, u64)>,
    /// Limits that were removed, with all their windows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<Life>,
    /// A month began: what users have used of it, of namespace and user, begins at nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<Month>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<(String, String, Usage)>,
}

pub struct Journal {
    path: PathBuf,
    /// None as long as there is no whole file of these counters: then nothing is appended before a rewrite.
    file: Option<File>,
    length: u64,
    /// The file may be longer than `length`.
    torn: bool,
    rewrite_at: u64,
    /// Held as long as the journal is open: two servers must not share a directory. None where there is no space for it.
    lock: Option<File>,
}

/// What the directory held.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// All that was answered, or nothing at all.
    Whole,
    /// Requests were answered after its last record, which are not in it.
    Behind,
}

impl Journal {
    /// Opens the directory and replays what is in it. Where there is no whole journal, the caller writes one before it appends.
    /// A directory that has no space left is no error.
    pub fn open(directory: &Path, replay: impl FnMut(Record)) -> Result<(Self, Found)> {
        let lock = lock(directory)?;
        let path = directory.join("journal");
        let (from, found) = match path.try_exists() {
            Ok(false) => (behind(&path), Found::Behind),
            _ => (path.clone(), Found::Whole),
        };
        let mut journal = Self { path, file: None, length: 0, torn: false, rewrite_at: 0, lock };
        let file = match OpenOptions::new().append(true).read(true).open(&from) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((journal, Found::Whole)),
            Err(error) if is_out_of_space(&error) => File::open(&from),
            opened => opened,
        };
        let file = file.with_context(|| format!("cannot open {}", from.display()))?;
        journal.length = read(&file, replay)
            .with_context(|| format!("{} is damaged; move it away to start from zero", from.display()))?;
        if found == Found::Whole && journal.length > 0 {
            journal.torn = true;
            journal.file = Some(file);
            journal.rewrite_at = journal.length + GROWTH;
        }
        Ok((journal, found))
    }

    /// What a failed write may have left behind is cut off before the next one.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let line = line(record)?;
        let file = self.file.as_mut().ok_or(ErrorKind::StorageFull)?;
        if self.torn {
            file.set_len(self.length)?;
        }
        self.torn = true;
        file.write_all(&line)?;
        self.torn = false;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Says so for whoever reads this directory next: from here on requests are answered that are not in it. A name takes no space.
    pub fn fall_behind(&mut self) -> io::Result<()> {
        self.file = None;
        match fs::rename(&self.path, behind(&self.path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    pub fn is_large(&self) -> bool {
        self.length >= self.rewrite_at
    }

    /// Replaces the content. If that fails the old journal stays in use, and the next try waits for as much growth again.
    pub fn rewrite(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        self.rewrite_at = self.length + GROWTH;
        let path = self.path.with_extension("new");
        self.replace(&path, records).inspect_err(|_| {
            let _ = fs::remove_file(&path); // it takes the space that others may need
        })
    }

    fn replace(&mut self, path: &Path, records: impl Iterator<Item = Record>) -> io::Result<()> {
        if self.lock.is_none() {
            let directory = self.path.parent().unwrap_or(Path::new("."));
            self.lock = lock(directory).map_err(io::Error::other)?;
            self.lock.as_ref().ok_or(ErrorKind::StorageFull)?;
        }
        let mut new = BufWriter::new(File::create(path)?);
        writeln!(new, "{HEADER}")?;
        for record in records {
            new.write_all(&line(&record)?)?;
        }
        new.into_inner()?.sync_all()?;
        let file = OpenOptions::new().append(true).open(path)?;
        let length = file.metadata()?.len();
        fs::rename(path, &self.path)?;
        let _ = fs::remove_file(behind(&self.path)); // where both are, it is not read
        (self.file, self.length, self.torn) = (Some(file), length, false);
        self.rewrite_at = self.length + GROWTH;
        Ok(())
    }
}

/// No space, no quota, no writable file system: what ends without a change of ours.
fn is_out_of_space(error: &io::Error) -> bool {
    use ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | ReadOnlyFilesystem)
}

fn behind(journal: &Path) -> PathBuf {
    journal.with_extension("behind")
}

/// None where there is no space for the lock.
fn lock(directory: &Path) -> Result<Option<File>> {
    let path = directory.join("lock");
    let opened = fs::create_dir_all(directory).and_then(|()| File::create(&path));
    let lock = match opened {
        Err(error) if is_out_of_space(&error) => File::open(&path).ok(),
        opened => Some(opened.with_context(|| format!("cannot write in {}", directory.display()))?),
    };
    if let Some(lock) = &lock {
        lock.try_lock().with_context(|| format!("{} is in use by another server", directory.display()))?;
    }
    Ok(lock)
}

#[cfg(test)]
impl Journal {
    /// From here on there is no space left.
    pub fn fill_disk(&mut self) {
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        // What a write left of half a record.
        self.file.replace(full).unwrap().write_all(b"{\"totals\":[").unwrap();
        fs::create_dir(self.path.with_extension("new")).unwrap();
    }

    /// There is space again.
    pub fn free_disk(&self) {
        fs::remove_dir(self.path.with_extension("new")).unwrap();
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// Returns the length of what could be read. A torn last line is what a kill in the middle of a write leaves: its request was
/// never answered. Anything else that cannot be read is damage, and guessing would bill wrongly.
fn read(file: &File, mut replay: impl FnMut(Record)) -> Result<u64> {
    let mut torn = None;
    let mut length = 0;
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        if let Some(damage) = torn {
            bail!("line {index}: {damage}");
        }
        let line = line?;
        if index > 0 {
            match serde_json::from_slice(&line) {
                Ok(record) => replay(record),
                Err(error) => torn = Some(error.to_string()),
            }
        } else if line != HEADER.as_bytes() {
            torn = Some(format!("not {HEADER}"));
            if !HEADER.as_bytes().starts_with(&line) {
                bail!("line 1: not {HEADER}");
            }
        }
        if torn.is_none() {
            length += line.len() as u64 + 1;
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Total;

    fn record(value: u64) -> Record {
        Record {
            windows: vec![(
                WindowKey { limit: "free".into(), variables: [("v".into(), "alice".into())].into() },
                Window { value, expires: 99 },
            )],
            totals: vec![(Series::new(Total::AuthorizedCalls, Default::default()), value)],
            ..Record::default()
        }
    }

    fn open(directory: &Path) -> Result<(Journal, Vec<Record>)> {
        let mut records = vec![];
        let (journal, _) = Journal::open(directory, |record| records.push(record))?;
        Ok((journal, records))
    }

    fn content(directory: &Path) -> Vec<u8> {
        fs::read(directory.join("journal")).unwrap()
    }

    fn written(directory: &Path) -> Vec<u8> {
        let (mut journal, _) = open(directory).unwrap();
        journal.rewrite([record(1)].into_iter()).unwrap();
        journal.append(&record(2)).unwrap();
        journal.append(&record(3)).unwrap();
        content(directory)
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        let (_, records) = open(directory.path()).unwrap();
        assert_eq!(records, [record(1), record(2), record(3)]);
    }

    #[test]
    fn a_tail_torn_anywhere_loses_that_record_only() {
        let directory = tempfile::tempdir().unwrap();
        let whole = written(directory.path());
        let last = whole.len() - line(&record(3)).unwrap().len();
        for cut in last..whole.len() - 1 {
            fs::write(directory.path().join("journal"), &whole[..cut]).unwrap();
            let (_, records) = open(directory.path()).unwrap();
            assert_eq!(records, [record(1), record(2)], "cut at {cut}");
        }
    }

    #[test]
    fn a_torn_first_rewrite_is_an_empty_journal() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("journal"), &HEADER[..9]).unwrap();
        assert_eq!(open(directory.path()).unwrap().1, []);
    }

    #[test]
    fn without_a_rewrite_at_the_start_a_torn_tail_is_cut_off_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let mut torn = written(directory.path());
        torn.extend(b"{\"totals\":[");
        fs::write(directory.path().join("journal"), torn).unwrap();
        let (mut journal, _) = open(directory.path()).unwrap();
        journal.append(&record(4)).unwrap();
        drop(journal);
        assert_eq!(open(directory.path()).unwrap().1, [record(1), record(2), record(3), record(4)]);
    }

    #[test]
    fn an_empty_directory_takes_no_record_before_a_header() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(directory.path()).unwrap();
        assert!(journal.append(&record(1)).is_err());
        journal.rewrite(std::iter::empty()).unwrap();
        journal.append(&record(1)).unwrap();
    }

    #[test]
    fn a_journal_that_fell_behind_says_so_until_it_is_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let found = |directory: &Path| Journal::open(directory, |_| ()).unwrap();
        written(directory.path());
        let (mut journal, whole) = found(directory.path());
        assert_eq!(whole, Found::Whole);
        journal.fall_behind().unwrap();
        assert!(journal.append(&record(4)).is_err());
        drop(journal);
        let (mut journal, behind) = found(directory.path());
        assert_eq!(behind, Found::Behind);
        assert!(journal.append(&record(4)).is_err(), "its records would be taken for whole");
        journal.rewrite(std::iter::once(record(5))).unwrap();
        journal.append(&record(6)).unwrap();
        drop(journal);
        assert_eq!(open(directory.path()).unwrap().1, [record(5), record(6)]);
        assert!(!directory.path().join("journal.behind").exists());
    }

    #[test]
    fn damage_elsewhere_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let whole = String::from_utf8(written(directory.path())).unwrap();
        for damaged in [whole.replacen("alice", "ali\u{0}\"ce", 1), whole.replacen("kuadrant", "other", 1)] {
            fs::write(directory.path().join("journal"), damaged).unwrap();
            let error = format!("{:#}", open(directory.path()).err().expect("must be refused"));
            assert!(error.contains("is damaged") && error.contains("line"), "{error}");
        }
    }

    #[test]
    fn a_directory_serves_one_server() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path()).unwrap();
        let error = open(directory.path()).err().expect("must be refused").to_string();
        assert!(error.contains("in use"), "{error}");
    }
}
