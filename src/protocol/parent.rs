//! The backup that a session builds on: chosen at begin, before anything is made, and looked at again before publishing.

use std::path::Path;

use super::begin::Options;
use super::{Observer, Warning};
use crate::engine::EngineName;
use crate::engine::ese::increment;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::chain::Chain;
use crate::repository::in_use::InUse;
use crate::repository::manifest::{BackupId, Changes, Link};
use crate::session::event::{Kind, Outcome};
use crate::session::record;
use crate::stream::stop::StopToken;
use crate::times;

/// What to do where there is nothing to build on.
const MAKE_A_FULL: &str = "Make a full backup first: `jetbak backup STORAGE --to REPO --kind full`.";

/// The backup that a session builds on.
pub struct Parent {
    /// The repository it is in.
    pub repository: Repository,
    /// The backup.
    pub backup: Backup,
    /// Nobody removes it while the session begins; then the session's partial says that it needs it.
    _in_use: InUse,
    /// It and all that it builds on itself, every link proven.
    pub chain: Chain,
    /// In which form the new backup holds what changed since.
    pub changes: Changes,
    /// What its logs have to join onto, where it is in logs.
    pub logs: Option<increment::Parent>,
    /// Newer backups on which nothing can build: damaged, or their chains broken.
    pub passed_over: Vec<String>,
}

impl Parent {
    /// Tells of newer backups that are no parents.
    pub fn warn(&self, observer: &mut dyn Observer) {
        for id in &self.passed_over {
            let message =
                format!("{id} is damaged or lacks what it builds on: this backup builds on {}", self.backup.id.text);
            observer.warning(&Warning { jet: None, message, file: None });
        }
        let now = times::now();
        if let Some(part) = self.chain.parts().iter().find(|part| part.began > now) {
            let message = format!(
                "the clock was set back since {} began: it is {} now, so that no file is taken for unchanged because of \
                 that backup",
                part.id,
                times::for_people(now)
            );
            observer.warning(&Warning { jet: None, message, file: None });
        }
    }

    /// As the session's record has it, with what is taken over.
    pub fn to_record(&self, unchanged: record::Counts) -> record::Parent {
        let Link { id, manifest_sha256 } = self.backup.link();
        record::Parent { id, manifest_sha256, by_logs: self.changes == Changes::Logs, unchanged }
    }
}

/// In which form a backup that builds on another one holds what changed.
pub fn changes(engine: EngineName, blocks: bool) -> Changes {
    if engine == EngineName::Ese && !blocks { Changes::Logs } else { Changes::Blocks }
}

/// The backup that a new one of this kind builds on; none for a kind that stands alone. Nothing is made or changed.
pub fn choose(options: &Options, engine: EngineName, stop: &StopToken) -> Result<Option<Parent>> {
    let kind = options.kind;
    if !kind.has_parent() {
        return Ok(None);
    }
    let Some(path) = &options.repository else {
        let message = format!("a backup that is {} builds on one in a repository", kind.name());
        return Err(Error::jet(Jet::InvalidParameter, message).hint("Name the repository with --to."));
    };
    let repository = match Repository::open(path) {
        Err(error) if error.jet_code() == Some(Jet::InvalidPath) && Repository::may_be_made(path) => {
            return Err(missing(kind, path));
        }
        opened => opened?,
    };
    let mut passed_over = Vec::new();
    let found = repository.choose_held(stop, &mut || {
        let (newest, others) = repository.newest_parent(kind)?;
        passed_over = others;
        Ok(newest)
    })?;
    let Some((backup, in_use)) = found else { return Err(nothing_whole(&repository, kind, path)?) };
    let chain = repository.chain(&backup)?;
    let changes = changes(engine, options.blocks);
    let logs = match changes {
        Changes::Logs => Some(repository.log_parent(&backup, &chain, kind)?),
        Changes::Blocks => None,
    };
    Ok(Some(Parent { repository, backup, _in_use: in_use, chain, changes, logs, passed_over }))
}

/// Why a repository holds nothing to build on: the newest backup that would do is broken, or there is none.
fn nothing_whole(repository: &Repository, kind: Kind, path: &Path) -> Result<Error> {
    let would_do = |backup: &Backup| {
        let manifest = backup.manifest.as_ref();
        manifest.is_ok_and(|manifest| {
            let is_of_kind =
                if kind == Kind::Differential { manifest.kind == Kind::Full } else { manifest.kind.is_parent() };
            is_of_kind && manifest.outcome == Outcome::Completed
        })
    };
    let broken = repository.backups()?.into_iter().rev().find(would_do);
    let Some(broken) = broken else { return Ok(missing(kind, path)) };
    let why = repository.chain(&broken).err().unwrap_or_else(|| {
        let message = format!("{}, or what it builds on, was found damaged when it was verified", broken.id.text);
        Error::new(ExitCode::Verification, message).file(broken.folder())
    });
    Ok(why.hint(MAKE_A_FULL))
}

fn missing(kind: Kind, repository: &Path) -> Error {
    let what = if kind == Kind::Incremental { "full or incremental" } else { "full" };
    let message = format!("{} holds no complete {what} backup to build on", printable(repository));
    Error::jet(Jet::MissingFullBackup, message).file(repository).hint(MAKE_A_FULL)
}

/// The parent of a session as a manifest refers to it.
pub fn link(parent: &record::Parent) -> Link {
    Link { id: parent.id.clone(), manifest_sha256: parent.manifest_sha256.clone() }
}

/// Holds the backup that a session builds on, so that nobody removes it; none where there is none, or not any more.
pub fn hold(repository: &Repository, parent: Option<&record::Parent>, stop: &StopToken) -> Result<Option<InUse>> {
    let id = parent.and_then(|parent| BackupId::parse(&parent.id));
    Ok(id.map(|id| repository.hold(&id, stop)).transpose()?.flatten())
}

/// The chain that a session builds on, if all of it still stands; call it under the lock before publishing.
pub fn require_standing(repository: &Repository, parent: &record::Parent) -> Result<Chain> {
    repository.chain_of(&link(parent)).map_err(|error| {
        error.hint("Nothing was published: without that backup this one is worth nothing. Make a full backup.")
    })
}
