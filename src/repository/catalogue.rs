//! What backups there are, in the order of their sequence numbers.

use std::path::{Path, PathBuf};

use super::manifest::{self, BackupId, Link, Manifest};
use super::store::ItemKind;
use super::{Repository, read_small, sha256_hex};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::session::event::Outcome;

/// A folder under `backups/` that has a backup's name.
#[derive(Debug)]
pub struct Backup {
    /// The folder's name.
    pub id: BackupId,
    /// What it says about itself, or why it cannot be read.
    pub manifest: Result<Manifest>,
    /// SHA-256 of the manifest as stored, hexadecimal; empty where it cannot be read.
    pub manifest_sha256: String,
}

impl Backup {
    /// Its folder, relative to the repository.
    pub fn folder(&self) -> PathBuf {
        Path::new("backups").join(&self.id.text)
    }

    /// This backup as another one's manifest refers to it.
    pub fn link(&self) -> Link {
        Link { id: self.id.text.clone(), manifest_sha256: self.manifest_sha256.clone() }
    }

    fn is_complete(&self) -> bool {
        self.manifest.as_ref().is_ok_and(|manifest| manifest.outcome == Outcome::Completed)
    }
}

/// How a backup stands to which another one's manifest refers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there, and its manifest is the one that was meant.
    Unchanged,
    /// It is there, with another manifest or one that cannot be read.
    Changed,
    /// It is not there any more.
    Missing,
}

impl Standing {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

impl Repository {
    /// The ids of all backups, oldest first, without looking into them.
    pub fn ids(&self) -> Result<Vec<BackupId>> {
        let items = self.store().list(Path::new("backups"))?;
        let mut ids: Vec<_> = items
            .into_iter()
            .filter(|item| item.kind == ItemKind::Directory)
            .filter_map(|item| BackupId::parse(item.name.to_str()?))
            .collect();
        ids.sort_by(|a, b| a.sequence.cmp(&b.sequence).then_with(|| a.text.cmp(&b.text)));
        Ok(ids)
    }

    /// All backups, oldest first.
    pub fn backups(&self) -> Result<Vec<Backup>> {
        Ok(self.ids()?.into_iter().map(|id| self.backup(id)).collect())
    }

    /// The newest backup whose manifest can be read, for the next one's manifest to refer to.
    ///
    /// One that cannot be read is passed over: a link without a hash would call the chain broken once it can be.
    pub fn newest_link(&self) -> Result<Option<Link>> {
        let links = self.ids()?.into_iter().rev().map(|id| self.backup(id).link());
        Ok(links.into_iter().find(|link| !link.manifest_sha256.is_empty()))
    }

    /// Whether the backup that a manifest refers to is still the one that was meant.
    pub fn standing(&self, link: &Link) -> Result<Standing> {
        let Some(id) = self.ids()?.into_iter().find(|id| id.text == link.id) else { return Ok(Standing::Missing) };
        let unchanged = self.backup(id).manifest_sha256 == link.manifest_sha256;
        Ok(if unchanged { Standing::Unchanged } else { Standing::Changed })
    }

    /// Looks into one backup.
    pub fn backup(&self, id: BackupId) -> Backup {
        let path = Path::new("backups").join(&id.text).join("manifest.json");
        match read_small(&**self.store(), &path, manifest::BYTES_MAX) {
            Ok(text) => {
                let manifest = Manifest::parse(&text).and_then(|manifest| {
                    if manifest.id == id.text && manifest.sequence == id.sequence {
                        return Ok(manifest);
                    }
                    let message = format!("its manifest is that of {}", printable(&manifest.id));
                    Err(Error::new(ExitCode::Verification, message))
                });
                Backup { id, manifest, manifest_sha256: sha256_hex(&text) }
            }
            Err(error) if error.is_not_found() => {
                let missing = Error::new(ExitCode::Verification, "its manifest is missing");
                Backup { id, manifest: Err(missing), manifest_sha256: String::new() }
            }
            Err(error) => Backup { id, manifest: Err(error), manifest_sha256: String::new() },
        }
    }

    /// The backup that a person names: a sequence number, a unique beginning of an id, or `latest`.
    pub fn resolve(&self, name: &str) -> Result<Backup> {
        let backups = self.backups()?;
        if name == "latest" {
            let latest = backups.into_iter().rev().find(Backup::is_complete);
            return latest.ok_or_else(|| {
                Error::jet(Jet::InvalidParameter, format!("{} holds no complete backup", printable(self.root())))
            });
        }
        let by_number = |backup: &Backup| name.parse() == Ok(backup.id.sequence);
        let mut named: Vec<_> = backups.into_iter().filter(|b| by_number(b) || b.id.text.starts_with(name)).collect();
        if let Some(exact) = named.iter().position(|backup| by_number(backup) || backup.id.text == name) {
            return Ok(named.swap_remove(exact));
        }
        match (named.pop(), named.len()) {
            (Some(backup), 0) => Ok(backup),
            (None, _) => Err(Error::jet(
                Jet::InvalidParameter,
                format!("{} holds no backup {}", printable(self.root()), printable(name)),
            )
            .hint("`jetbak list` shows the backups; name one by its number or by the beginning of its id.")),
            (Some(_), more) => Err(Error::jet(
                Jet::InvalidParameter,
                format!("{} is the beginning of {} ids", printable(name), more + 1),
            )
            .hint("Give more of it, or the number.")),
        }
    }
}
