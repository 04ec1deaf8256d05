//! What the backups of a repository say about the logs of an instance of the Extensible Storage Engine.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::Repository;
use super::catalogue::Backup;
use super::content::Contents;
use super::file_list::FileLine;
use super::list_reader::read_proven;
use super::manifest::Manifest;
use crate::engine::Role;
use crate::engine::ese::facts::{DatabaseFacts, Facts};
use crate::engine::ese::fields::Generation;
use crate::engine::ese::log::SEGMENT_BYTES;
use crate::engine::ese::log_story::Present;
use crate::engine::ese::recognise::{Content, recognise};
use crate::engine::ese::truncation::{self, DatabaseKey};
use crate::error::{ExitCode, Jet, Result, printable};
use crate::session::event::{Kind, Outcome};

impl Repository {
    /// The backups that may make logs of this stream (its signature, hexadecimal) needless, oldest first. What has no
    /// readable manifest makes nothing needless.
    pub fn log_history(&self, signature: &str) -> Result<Vec<truncation::Backup>> {
        let of_stream = |backup: &Backup| {
            let manifest = backup.manifest.as_ref().ok()?;
            let facts = manifest.instance.as_ref()?;
            let counts = manifest.outcome == Outcome::Completed && manifest.kind.truncates();
            let is_ours = facts.log_signature.as_deref() == Some(signature);
            (counts && is_ours).then(|| self.log_holder(backup, manifest, facts))
        };
        Ok(self.backups()?.iter().filter_map(of_stream).collect())
    }

    fn log_holder(&self, backup: &Backup, manifest: &Manifest, facts: &Facts) -> truncation::Backup {
        // What was found last counts: a backup that was good once may have rotted.
        let last_verified = self.verified(backup).map(|verified| verified.damages == 0);
        let range = manifest.logs.first_generation.zip(manifest.logs.last_generation);
        // A range with holes in it holds nobody's logs for certain.
        let is_whole = |(low, high): &(u32, u32)| {
            high.checked_sub(*low).map(|more| u64::from(more) + 1) == Some(manifest.logs.count)
        };
        truncation::Backup {
            sequence: manifest.sequence,
            is_full: manifest.kind == Kind::Full,
            is_proven: last_verified.unwrap_or(manifest.proven),
            logs: range.filter(is_whole).map(|(low, high)| (Generation(low), Generation(high))),
            databases: databases_of(facts),
        }
    }

    /// Why a backup cannot be relied on any more, if it cannot, where these logs are there: its databases and logs are not
    /// all there, or its logs are of another time than those of the same number.
    pub fn log_doubt(&self, sequence: u64, present: &Present) -> Result<Option<String>> {
        let backup = self.resolve(&sequence.to_string())?;
        let chain = match self.chain(&backup) {
            Err(error) if backup.manifest.is_ok() && error.exit_code() == ExitCode::Verification => {
                return Ok(Some(error.message().to_owned()));
            }
            chain => chain?,
        };
        let contents = Contents::new(self, &backup.folder());
        let mut doubt = None;
        let listed = read_proven(self.store(), &chain, &mut |resolved| {
            if matches!(resolved.line.role, Role::Database | Role::Log) {
                doubt = doubt_of(&contents, &resolved.line, present);
            }
            Ok(if doubt.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        match listed {
            Err(error) if doubt.is_none() => Ok(Some(error.message().to_owned())),
            _ => Ok(doubt),
        }
    }

    /// The hash (SHA-256, hexadecimal) of each log in a backup, by generation.
    pub fn log_hashes(&self, sequence: u64) -> Result<HashMap<u32, String>> {
        let backup = self.resolve(&sequence.to_string())?;
        let chain = self.chain(&backup)?;
        let mut hashes = HashMap::new();
        read_proven(self.store(), &chain, &mut |resolved| {
            let line = resolved.line;
            if line.role == Role::Log
                && let Some((generation, sha256)) = line.generation.zip(line.sha256)
            {
                hashes.insert(generation, sha256);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(hashes)
    }
}

/// Why a database or log of a backup cannot be relied on, if it cannot.
fn doubt_of(contents: &Contents, line: &FileLine, present: &Present) -> Option<String> {
    let path = line.path()?;
    let lacks = |what: &str| Some(format!("its {} {what}", printable(&path)));
    let head = match contents.read(line, 0, 2 * SEGMENT_BYTES) {
        Ok(head) => head,
        Err(error) if error.jet_code() == Some(Jet::DiskIO) => return lacks("cannot be read"),
        Err(_) => return lacks("is not there"),
    };
    if (head.len() as u64) < line.size.min(2 * SEGMENT_BYTES as u64) {
        return lacks("cannot be read");
    }
    let Content::Log(header, _) = recognise(&head, line.size) else { return None };
    match present.get(&header.generation.0) {
        Some(created) if *created != header.created => {
            lacks("was begun at another time than the log of that number that is there now")
        }
        _ => None,
    }
}

/// The databases of an instance, as far as they were in its backup: one that was left out as asked is none of them.
pub fn databases_of(facts: &Facts) -> BTreeSet<DatabaseKey> {
    let key =
        |database: &DatabaseFacts| DatabaseKey { path: database.file.path(), signature: database.signature.clone() };
    facts.databases.iter().map(key).collect()
}
