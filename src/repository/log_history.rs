//! What the backups of a repository say about the logs of an instance of the Extensible Storage Engine.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::Repository;
use super::catalogue::Backup;
use super::chain::{Chain, chain_among};
use super::content::Contents;
use super::file_list::FileLine;
use super::list_reader::read_proven;
use super::manifest::{BackupId, Changes, Manifest};
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
        let backups = self.backups()?;
        let mut proven: HashMap<&str, bool> = HashMap::new();
        for backup in &backups {
            proven.insert(&backup.id.text, self.is_proven(backup));
        }
        // A number that two backups have, in copies of a repository that were brought together, names none of them.
        let is_alone = |id: &str| {
            let of_number = |other: &&Backup| BackupId::parse(id).is_some_and(|id| id.sequence == other.id.sequence);
            backups.iter().filter(of_number).count() == 1
        };
        let is_proven = |backup: &Backup| {
            let parts = chain_among(backup, &backups).map(|chain| chain.parts().to_vec()).unwrap_or_default();
            !parts.is_empty() && parts.iter().all(|part| proven.get(&*part.id) == Some(&true) && is_alone(&part.id))
        };
        let of_stream = |backup: &Backup| {
            let manifest = backup.manifest.as_ref().ok()?;
            let facts = manifest.instance.as_ref()?;
            let counts = manifest.outcome == Outcome::Completed && manifest.kind.truncates();
            let is_ours = facts.log_signature.as_deref() == Some(signature);
            (counts && is_ours).then(|| log_holder(manifest, facts, is_proven(backup)))
        };
        Ok(backups.iter().filter_map(of_stream).collect())
    }

    /// Whether a backup was read back and found good, as was everything that it builds on.
    pub fn is_chain_proven(&self, chain: &Chain) -> bool {
        let parts = chain.parts().iter().map(|part| self.resolve(&part.id));
        parts.into_iter().all(|backup| backup.is_ok_and(|backup| self.is_proven(&backup)))
    }

    /// The same of a backup alone. What was found last counts: one that was good once may have rotted.
    fn is_proven(&self, backup: &Backup) -> bool {
        let proven = backup.manifest.as_ref().is_ok_and(|manifest| manifest.proven);
        self.verified(backup).map_or(proven, |verified| verified.damages == 0)
    }

    /// Why a backup cannot be relied on any more, if it cannot, where these logs are there: its databases and logs, or
    /// those that it builds on, are not all there, or its logs are of another time than those of the same number.
    pub fn log_doubt(&self, sequence: u64, present: &Present) -> Result<Option<String>> {
        let backup = match self.resolve(&sequence.to_string()) {
            // Removed meanwhile, or one of two that have its number.
            Err(error) if error.jet_code() == Some(Jet::InvalidParameter) => {
                return Ok(Some(error.message().to_owned()));
            }
            found => found?,
        };
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
        match (listed, chain.parts().get(1)) {
            (Err(error), _) if doubt.is_none() => Ok(Some(error.message().to_owned())),
            // Blocks of its databases may lie in any of those that it builds on.
            (Ok(()), Some(parent)) if doubt.is_none() => {
                let sequence = BackupId::parse(&parent.id).map_or(0, |id| id.sequence);
                let doubt = self.log_doubt(sequence, present)?;
                Ok(doubt.map(|why| format!("it builds on backup {sequence}, and {why}")))
            }
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

/// A backup as the decision about logs knows it.
fn log_holder(manifest: &Manifest, facts: &Facts, is_proven: bool) -> truncation::Backup {
    let range = manifest.logs.first_generation.zip(manifest.logs.last_generation);
    // A range with holes in it holds nobody's logs for certain.
    let is_whole =
        |(low, high): &(u32, u32)| high.checked_sub(*low).map(|more| u64::from(more) + 1) == Some(manifest.logs.count);
    truncation::Backup {
        sequence: manifest.sequence,
        is_full: manifest.kind == Kind::Full || manifest.changes == Some(Changes::Blocks),
        parent: manifest.parent.as_ref().and_then(|parent| Some(BackupId::parse(&parent.id)?.sequence)),
        is_proven,
        logs: range.filter(is_whole).map(|(low, high)| (Generation(low), Generation(high))),
        databases: databases_of(facts),
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
