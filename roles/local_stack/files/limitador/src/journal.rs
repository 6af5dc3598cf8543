// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! The file that lets counters survive a restart, kill -9 included (not a power loss: nothing waits for the disk).
//!
//! One JSON record a line, appended with one write per request. Records carry absolute values, so the last one wins
//! and reading one twice does no harm. A rewrite replaces the file by the shortest one that says the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::counters::{Life, Series, Window, WindowKey};
use crate::usage::{Month, Usage};

const HEADER: &str = r#"{"format":"kuadrant.llm limitador 1"}"#;
/// A rewrite is due when the file is this much larger than after the last one.
const GROWTH: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };

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
    file: File,
    length: u64,
    /// The file may be longer than `length`.
    torn: bool,
    rewrite_at: u64,
    /// Held as long as the journal is open: two servers must not share a directory.
    _lock: File,
}

impl Journal {
    /// Opens the directory and replays what is in it. The caller rewrites the journal before it appends.
    pub fn open(directory: &Path, replay: impl FnMut(Record)) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let lock =
            File::create(directory.join("lock")).with_context(|| format!("cannot write in {}", directory.display()))?;
        lock.try_lock().with_context(|| format!("{} is in use by another server", directory.display()))?;

        let path = directory.join("journal");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        read(&file, replay)
            .with_context(|| format!("{} is damaged; move it away to start from zero", path.display()))?;
        Ok(Self { path, file, length: 0, torn: false, rewrite_at: 0, _lock: lock })
    }

    /// What a failed write may have left behind is cut off before the next one.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let line = line(record)?;
        if self.torn {
            self.file.set_len(self.length)?;
        }
        self.torn = true;
        self.file.write_all(&line)?;
        self.torn = false;
        self.length += line.len() as u64;
        Ok(())
    }

    pub fn is_large(&self) -> bool {
        self.length >= self.rewrite_at
    }

    /// Replaces the content. If that fails the old journal stays in use, and the next try waits for as much growth again.
    pub fn rewrite(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        self.rewrite_at = self.length + GROWTH;
        let path = self.path.with_extension("new");
        let mut new = BufWriter::new(File::create(&path)?);
        writeln!(new, "{HEADER}")?;
        for record in records {
            new.write_all(&line(&record)?)?;
        }
        new.into_inner()?.sync_all()?;
        let file = OpenOptions::new().append(true).open(&path)?;
        let length = file.metadata()?.len();
        fs::rename(&path, &self.path)?;
        (self.file, self.length, self.torn) = (file, length, false);
        self.rewrite_at = self.length + GROWTH;
        Ok(())
    }
}

#[cfg(test)]
impl Journal {
    /// From here on there is no space left.
    pub fn fill_disk(&mut self) -> File {
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        std::mem::replace(&mut self.file, full)
    }

    /// There is space again, after half a record was written.
    pub fn free_disk(&mut self, mut file: File) {
        file.write_all(b"{\"totals\":[").unwrap();
        self.file = file;
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// A torn last line is what a kill in the middle of a write leaves: its request was never answered. Anything else
/// that cannot be read is damage, and guessing would bill wrongly.
fn read(file: &File, mut replay: impl FnMut(Record)) -> Result<()> {
    let mut torn = None;
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
    }
    Ok(())
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
        let journal = Journal::open(directory, |record| records.push(record))?;
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
