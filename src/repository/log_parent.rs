//! What a session that takes the logs after a backup has to know of it: which databases its chain holds, and its last log.

use std::ops::ControlFlow;

use super::Repository;
use super::catalogue::Backup;
use super::chain::Chain;
use super::content::Contents;
use super::list_reader::read_proven;
use super::manifest::{Changes, Manifest};
use crate::engine::Role;
use crate::engine::ese::facts::DatabaseFacts;
use crate::engine::ese::increment::{Held, LastLog, Parent, Settled};
use crate::engine::ese::log::SEGMENT_BYTES;
use crate::engine::ese::recognise::{Content, recognise};
use crate::error::{Error, ExitCode, Result, printable};
use crate::session::event::Kind;

/// What to do where a backup that should be built on is damaged.
const UNUSABLE_HINT: &str = "`jetbak verify` tells more. Make a full backup: it builds on nothing.";

impl Repository {
    /// What there is to know of a backup, with its chain, for a session of this kind that takes the logs after it. A last
    /// log that is not there, or is none, is exit 3.
    pub fn log_parent(&self, backup: &Backup, chain: &Chain, kind: Kind) -> Result<Parent> {
        let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
        let base = self.databases_in(chain)?;
        let facts = manifest.instance.as_ref();
        Ok(Parent {
            backup: backup.id.text.clone(),
            is_since_full: kind == Kind::Differential,
            log_signature: facts.and_then(|facts| facts.log_signature.clone()),
            last: self.last_log(backup, chain, manifest)?,
            databases: base.instance.iter().flat_map(|facts| &facts.databases).map(held).collect(),
        })
    }

    /// The manifest of the backup in a chain that holds the databases: the first one that has more than logs.
    pub fn databases_in(&self, chain: &Chain) -> Result<Manifest> {
        for part in chain.parts() {
            let manifest = self.resolve(&part.id)?.manifest?;
            if manifest.changes != Some(Changes::Logs) {
                return Ok(manifest);
            }
        }
        Err(Error::new(ExitCode::Verification, format!("{} builds on no full backup", chain.id())).hint(UNUSABLE_HINT))
    }

    /// The same, where a backup takes the logs after that one; none where it holds its databases itself.
    pub fn base_of(&self, manifest: &Manifest, chain: &Chain) -> Result<Option<Manifest>> {
        (manifest.changes == Some(Changes::Logs)).then(|| self.databases_in(chain)).transpose()
    }

    /// The last log of a backup, by its header, and what of it nobody writes any more.
    fn last_log(&self, backup: &Backup, chain: &Chain, manifest: &Manifest) -> Result<Option<LastLog>> {
        let Some(generation) = manifest.logs.last_generation else { return Ok(None) };
        let contents = Contents::new(self, &backup.folder());
        let mut last = None;
        read_proven(self.store(), chain, &mut |resolved| {
            let line = resolved.line;
            if line.role != Role::Log || line.generation != Some(generation) {
                return Ok(ControlFlow::Continue(()));
            }
            let head = contents.head(&line, 2 * SEGMENT_BYTES)?;
            if let Content::Log(header, _) = recognise(&head, line.size) {
                let created = header.created.0;
                if header.generation.0 == generation {
                    let mut pieces = contents.pieces(&line);
                    let settled = Settled::of(&header, line.size, &mut |at, length| pieces.read(at, length))?;
                    last = Some(LastLog { generation, created, settled });
                }
            }
            Ok(ControlFlow::Break(()))
        })?;
        let damaged = || {
            let message = format!("the last log of {} (generation {generation}) is none", printable(&backup.id.text));
            Error::new(ExitCode::Verification, message).file(backup.folder()).hint(UNUSABLE_HINT)
        };
        last.map(Some).ok_or_else(damaged)
    }
}

fn held(database: &DatabaseFacts) -> Held {
    Held { file: database.file.clone(), signature: database.signature.clone() }
}
