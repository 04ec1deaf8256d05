//! Tags and pins of backups: those that the manifest has, and in place of them what `tags/<id>.json` says, beside the
//! backups and never in them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalogue::Backup;
use super::{Repository, SMALL_FILE_BYTES_MAX, read_small};
use crate::durable::Put;
use crate::error::{Error, Jet, Result, printable};
use crate::session::record::Who;
use crate::stream::stop::StopToken;
use crate::times;

/// The version of a record that this program writes, and the newest it reads.
const FORMAT: u32 = 1;
/// Where the records lie.
const FOLDER: &str = "tags";
/// The longest tag, in bytes.
const TAG_BYTES_MAX: usize = 64;
/// How many tags a backup can have.
const TAGS_MAX: usize = 100;
/// The longest reason for a pin, in bytes.
const REASON_BYTES_MAX: usize = 1000;
/// What is said of a backup whose record cannot be believed.
const DAMAGED: &str = "its record in tags/ is damaged";

/// Which tags a backup has, and whether it is pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Its tags, in order.
    pub tags: Vec<String>,
    /// Whether no prune may remove it.
    pub pinned: bool,
    /// Why it is pinned, where that was said.
    pub reason: Option<String>,
    /// Whether what was recorded cannot be believed: then it counts as pinned.
    pub damaged: bool,
}

impl Labels {
    /// Adds tags; those it has already stay as they are.
    pub fn add(&mut self, tags: &[String]) {
        self.tags.extend_from_slice(tags);
        tidy(&mut self.tags);
    }

    /// The tags and the pin, for a column of a table.
    pub fn words(&self) -> String {
        let pinned = self.pinned.then_some("pinned").into_iter().map(str::to_owned);
        pinned.chain(self.tags.iter().map(printable)).collect::<Vec<_>>().join(", ")
    }
}

/// Tags in order, each once.
pub fn tidy(tags: &mut Vec<String>) {
    tags.sort();
    tags.dedup();
}

/// Whether a text can be a tag: 1 to 64 letters, digits and `. _ - : /` (ASCII), not beginning with `-`.
pub fn parse_tag(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/".contains(&byte);
    if text.is_empty() || text.len() > TAG_BYTES_MAX || text.starts_with('-') || !text.bytes().all(is_plain) {
        return Err("a tag is 1 to 64 letters (a-z, A-Z), digits and . _ - : /, and does not begin with -".to_owned());
    }
    Ok(text.to_owned())
}

/// `tags/<id>.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(rename = "type")]
    type_name: String,
    format: u32,
    id: String,
    manifest_sha256: String,
    tags: Vec<String>,
    pinned: bool,
    reason: Option<String>,
    at: jiff::Timestamp,
    host: String,
    tool: String,
}

impl Record {
    fn is_of(&self, backup: &Backup) -> bool {
        self.type_name == "tags"
            && self.format <= FORMAT
            && self.id == backup.id.text
            && self.manifest_sha256 == backup.manifest_sha256
    }
}

impl Repository {
    /// The tags of a backup and whether it is pinned. A record that cannot be read, or is that of another manifest, pins it:
    /// nobody knows what it said.
    pub fn labels(&self, backup: &Backup) -> Labels {
        let of_manifest = || backup.manifest.as_ref().map(|manifest| manifest.tags.clone()).unwrap_or_default();
        let text = match read_small(&**self.store(), &place(backup), SMALL_FILE_BYTES_MAX) {
            Err(error) if error.is_not_found() => return Labels { tags: of_manifest(), ..Labels::default() },
            read => read.ok(),
        };
        let record = text.and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        let Some(record) = record.filter(|record| record.is_of(backup)) else {
            return Labels { tags: of_manifest(), pinned: true, reason: Some(DAMAGED.to_owned()), damaged: true };
        };
        Labels { tags: record.tags, pinned: record.pinned, reason: record.reason, damaged: false }
    }

    /// Changes the tags or the pin of the backup that a person names; durable when this returns. No prune is between the
    /// look and the change. Returns the backup and what it has now.
    pub fn relabel(&self, name: &str, stop: &StopToken, change: impl FnOnce(&mut Labels)) -> Result<(Backup, Labels)> {
        let held = self.lock(stop).map_err(|error| self.explain(error))?;
        let backup = self.resolve(name)?;
        if let Err(error) = &backup.manifest {
            let message = format!("{}: {}", backup.id.text, error.message());
            return Err(Error::new(error.exit_code(), message).hint(
                "What cannot be read is never pruned; it needs neither tag nor pin. `jetbak verify` tells more.",
            ));
        }
        let before = self.labels(&backup);
        let mut labels = before.clone();
        change(&mut labels);
        labels.damaged = false;
        refuse_excess(&labels)?;
        if labels != before {
            self.record_labels(&backup, &labels).map_err(|error| self.explain(error))?;
        }
        drop(held);
        Ok((backup, labels))
    }

    fn record_labels(&self, backup: &Backup, labels: &Labels) -> Result<()> {
        let record = Record {
            type_name: "tags".to_owned(),
            format: FORMAT,
            id: backup.id.text.clone(),
            manifest_sha256: backup.manifest_sha256.clone(),
            tags: labels.tags.clone(),
            pinned: labels.pinned,
            reason: labels.reason.clone(),
            at: times::now(),
            host: Who::current().host,
            tool: concat!("jetbak ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let mut text = serde_json::to_vec_pretty(&record).expect("a record has only fields that JSON can hold");
        text.push(b'\n');
        self.store().make_directory(Path::new(FOLDER))?;
        self.store().put(&place(backup), &text, Put::Replace)
    }

    /// Removes what those left that died while they recorded; returns how many files.
    pub fn sweep_labels(&self) -> Result<u64> {
        self.store().sweep(Path::new(FOLDER))
    }

    /// The same error with what to do about a repository that cannot be written.
    pub fn explain(&self, error: Error) -> Error {
        let cannot_write = [Jet::FileAccessDenied, Jet::PermissionDenied];
        if error.jet_code().is_some_and(|jet| cannot_write.contains(&jet)) {
            return error.hint(format!("{} cannot be written by this user, or at all.", printable(self.root())));
        }
        error
    }
}

fn refuse_excess(labels: &Labels) -> Result<()> {
    if labels.tags.len() > TAGS_MAX {
        return Err(Error::jet(Jet::InvalidParameter, format!("a backup can have {TAGS_MAX} tags, not more")));
    }
    if labels.reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(Error::jet(Jet::InvalidParameter, format!("a reason has {REASON_BYTES_MAX} bytes at most")));
    }
    Ok(())
}

fn place(backup: &Backup) -> PathBuf {
    Path::new(FOLDER).join(format!("{}.json", backup.id.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_short_plain_words() {
        for good in ["release", "v1.2.3", "2026-11", "app:db/main", "a_b", &"x".repeat(64)] {
            assert_eq!(parse_tag(good).as_deref(), Ok(good));
        }
        for bad in ["", "-x", "two words", "a,b", "é", "tab\t", &"x".repeat(65)] {
            assert!(parse_tag(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_tag_is_there_once() {
        let mut labels = Labels { pinned: true, ..Labels::default() };
        labels.add(&["b".to_owned(), "a".to_owned()]);
        labels.add(&["b".to_owned()]);
        assert_eq!(labels.words(), "pinned, a, b");
    }
}
