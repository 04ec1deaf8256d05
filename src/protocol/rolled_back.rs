//! Whether a storage is an older state of itself than its newest backup has seen, after a snapshot or a copy was put back.

use std::ops::ControlFlow;

use super::begin::Options;
use crate::engine::milestones::{KnownDatabase, Measure, Milestone, Sign, signs};
use crate::engine::{Engine, EngineName, Role};
use crate::error::Result;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::list_reader::read_proven;
use crate::repository::manifest::Manifest;
use crate::roots::DATA;
use crate::stream::stop::StopToken;

/// How many numbers are told.
const TOLD_MAX: usize = 3;

/// A storage that is older than a backup of it.
pub struct RolledBack {
    /// The id of that backup.
    backup: String,
    /// What is lower than it was; at least one.
    signs: Vec<Sign>,
}

impl RolledBack {
    /// In words; `is_full_now` says that the backup was to build on an earlier one, and does not.
    pub fn words(&self, is_full_now: bool) -> String {
        let told: Vec<_> = self.signs.iter().take(TOLD_MAX).map(Sign::words).collect();
        let more = match self.signs.len().saturating_sub(TOLD_MAX) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let then = if is_full_now { ". This backup is a full one: it builds on nothing" } else { "" };
        format!("the storage was rolled back since {}: {}{more}{then}", self.backup, told.join("; "))
    }
}

/// Compares a storage with what the newest backup of it has kept. What cannot be looked at says nothing here: whoever needs it
/// tells of it. What was not kept, by older versions, is not compared.
pub fn look(options: &Options, engine: &dyn Engine, stop: &StopToken) -> Result<Option<RolledBack>> {
    let repository = options.repository.as_ref().and_then(|path| Repository::open(path).ok());
    let Some(repository) = repository.filter(|repository| repository.engine() == engine.name()) else {
        return Ok(None);
    };
    if engine.name() == EngineName::Files {
        return Ok(None);
    }
    let newest = repository.choose_held(stop, &mut || Ok(newest(repository.backups()?)));
    let Some((backup, _in_use)) = newest? else { return Ok(None) };
    let Ok(manifest) = &backup.manifest else { return Ok(None) };
    let known = match engine.name() {
        EngineName::Sqlite => known_databases(&repository, &backup, stop).unwrap_or_default(),
        _ => Vec::new(),
    };
    let then = milestones(manifest, &known);
    let now =
        if then.is_empty() { Vec::new() } else { engine.milestones(&known, manifest.began, stop).unwrap_or_default() };
    stop.check()?;
    let signs = signs(&then, &now);
    Ok((!signs.is_empty()).then(|| RolledBack { backup: backup.id.text.clone(), signs }))
}

/// The backup that has seen the storage last: one that was put together from others has not.
fn newest(backups: Vec<Backup>) -> Option<Backup> {
    let has_seen = |backup: &Backup| backup.manifest.as_ref().is_ok_and(|manifest| manifest.consolidates.is_none());
    backups.into_iter().rfind(has_seen)
}

/// How far the storage was when a backup was made.
fn milestones(manifest: &Manifest, known: &[KnownDatabase]) -> Vec<Milestone> {
    let of_instance = manifest.instance.iter().flat_map(|facts| facts.milestones(manifest.logs.last_generation));
    let of_database = |known: &KnownDatabase| Milestone {
        measure: Measure::ChangeCounter(known.path.clone()),
        signature: String::new(),
        value: known.change_counter.into(),
    };
    of_instance.chain(known.iter().map(of_database)).collect()
}

/// The databases of SQLite in a backup.
fn known_databases(repository: &Repository, backup: &Backup, stop: &StopToken) -> Result<Vec<KnownDatabase>> {
    let chain = repository.chain(backup)?;
    let mut known = Vec::new();
    read_proven(repository.store(), &chain, &mut |resolved| {
        stop.check()?;
        let line = &resolved.line;
        let change_counter = line.sqlite.as_ref().and_then(|facts| facts.change_counter);
        if line.role == Role::Database
            && line.root == DATA
            && let Some((path, change_counter)) = line.path().zip(change_counter)
        {
            known.push(KnownDatabase { path, inode: line.inode, change_counter });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(known)
}
