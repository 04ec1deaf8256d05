//! What the backups of a repository say about the logs of an instance of the Extensible Storage Engine.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::Repository;
use super::catalogue::Backup;
use super::list_reader::read_proven;
use super::manifest::Manifest;
use crate::engine::Role;
use crate::engine::ese::facts::{DatabaseFacts, Facts};
use crate::engine::ese::fields::Generation;
use crate::engine::ese::truncation::{self, DatabaseKey};
use crate::error::Result;
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
        let was_verified = || self.verified(backup).is_some_and(|verified| verified.damages == 0);
        let range = manifest.logs.first_generation.zip(manifest.logs.last_generation);
        // A range with holes in it holds nobody's logs for certain.
        let is_whole = |(low, high): &(u32, u32)| {
            high.checked_sub(*low).map(|more| u64::from(more) + 1) == Some(manifest.logs.count)
        };
        truncation::Backup {
            sequence: manifest.sequence,
            is_full: manifest.kind == Kind::Full,
            is_proven: manifest.proven || was_verified(),
            logs: range.filter(is_whole).map(|(low, high)| (Generation(low), Generation(high))),
            databases: databases_of(facts),
        }
    }

    /// The hash (SHA-256, hexadecimal) of each log in a backup, by generation.
    pub fn log_hashes(&self, sequence: u64) -> Result<HashMap<u32, String>> {
        let backup = self.resolve(&sequence.to_string())?;
        let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
        let mut hashes = HashMap::new();
        read_proven(&**self.store(), &backup, manifest, &mut |line| {
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

/// The databases of an instance, as far as they were in its backup: one that was left out as asked is none of them.
pub fn databases_of(facts: &Facts) -> BTreeSet<DatabaseKey> {
    let key =
        |database: &DatabaseFacts| DatabaseKey { path: database.file.path(), signature: database.signature.clone() };
    facts.databases.iter().map(key).collect()
}
