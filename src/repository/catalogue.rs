//! What backups there are, in the order of their sequence numbers.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use super::chain::chain_among;
use super::manifest::{self, BackupId, Link, Manifest};
use super::store::ItemKind;
use super::{Repository, read_small, sha256_hex};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::session::event::{Kind, Outcome};

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
        self.id.folder()
    }

    /// This backup as another one's manifest refers to it.
    pub fn link(&self) -> Link {
        Link { id: self.id.text.clone(), manifest_sha256: self.manifest_sha256.clone() }
    }

    /// By what the newest of several backups is told: first of all by the content it has, which of one that was put
    /// together from a chain is that of an older backup.
    pub fn state(&self) -> (u64, u64) {
        let consolidates = self.manifest.as_ref().ok().and_then(|manifest| manifest.consolidates.as_ref());
        let state = consolidates.and_then(|link| BackupId::parse(&link.id));
        // Nothing holds what was not yet when it was made, whatever it says.
        let of = state.map_or(self.id.sequence, |state| state.sequence.min(self.id.sequence));
        (of, self.id.sequence)
    }

    /// Whether a new backup of this kind may build on it, as far as it says itself.
    fn may_carry(&self, kind: Kind) -> bool {
        let Ok(manifest) = &self.manifest else { return false };
        let is_of_kind = match kind {
            Kind::Incremental => manifest.kind.is_parent(),
            Kind::Differential => manifest.kind == Kind::Full,
            Kind::Full | Kind::Copy => false,
        };
        is_of_kind && manifest.outcome == Outcome::Completed
    }

    /// Whether nothing is missing in it.
    pub fn is_complete(&self) -> bool {
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
        let mut backups: Vec<Backup> = self.ids()?.into_iter().map(|id| self.backup(id)).collect();
        if backups.iter().any(|backup| backup.manifest.is_err()) {
            // A prune may have taken it away after it was listed.
            let standing = self.ids()?;
            let stands = |backup: &Backup| standing.iter().any(|id| id.text == backup.id.text);
            backups.retain(|backup| backup.manifest.is_ok() || stands(backup));
        }
        Ok(backups)
    }

    /// The newest backup whose manifest can be read, for the next one's manifest to refer to.
    ///
    /// One that cannot be read is passed over: a link without a hash would call the chain broken once it can be.
    pub fn newest_link(&self) -> Result<Option<Link>> {
        let links = self.ids()?.into_iter().rev().map(|id| self.backup(id).link());
        Ok(links.into_iter().find(|link| !link.manifest_sha256.is_empty()))
    }

    /// The backup that a new one of this kind builds on: the newest whose whole chain is there, and in none of which a
    /// verification found damage. Also the ids of newer ones that were passed over.
    pub fn newest_parent(&self, kind: Kind) -> Result<(Option<Backup>, Vec<String>)> {
        let backups = self.backups()?;
        let mut order: Vec<usize> = (0..backups.len()).filter(|at| backups[*at].may_carry(kind)).collect();
        // Where two have one number (copies of a repository that were brought together) the last one is the newest.
        order.sort_by_key(|at| Reverse((backups[*at].state(), *at)));
        let is_damaged = |id: &str| {
            let known = backups.iter().find(|backup| backup.id.text == id);
            known.and_then(|backup| self.verified(backup)).is_some_and(|verified| verified.damages > 0)
        };
        let is_whole = |at: &usize| {
            chain_among(&backups[*at], &backups)
                .is_ok_and(|chain| !chain.parts().iter().any(|part| is_damaged(&part.id)))
        };
        let whole = order.iter().position(is_whole);
        let newest = whole.map_or(0, |at| backups[order[at]].id.sequence);
        let mut passed_over: Vec<String> =
            order[..whole.unwrap_or(order.len())].iter().map(|at| backups[*at].id.text.clone()).collect();
        // What has no manifest that can be read may be one as well.
        let is_unreadable = |backup: &&Backup| backup.manifest.is_err() && backup.id.sequence > newest;
        passed_over.extend(backups.iter().filter(is_unreadable).map(|backup| backup.id.text.clone()));
        let parent = whole.map(|at| order[at]);
        Ok((parent.and_then(|at| backups.into_iter().nth(at)), passed_over))
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
            let latest = backups.into_iter().filter(Backup::is_complete).max_by_key(Backup::state);
            return latest.ok_or_else(|| {
                Error::jet(Jet::InvalidParameter, format!("{} holds no complete backup", printable(self.root())))
            });
        }
        let by_number = |backup: &Backup| name.parse() == Ok(backup.id.sequence);
        let mut named: Vec<_> = backups.into_iter().filter(|b| by_number(b) || b.id.text.starts_with(name)).collect();
        if let Some(exact) = named.iter().position(|backup| backup.id.text == name) {
            return Ok(named.swap_remove(exact));
        }
        let numbered: Vec<usize> = (0..named.len()).filter(|at| by_number(&named[*at])).collect();
        match *numbered {
            [] => {}
            [only] => return Ok(named.swap_remove(only)),
            _ => {
                let ids: Vec<_> = numbered.iter().map(|at| &*named[*at].id.text).collect();
                let message = format!(
                    "{} backups have the number {}: {}",
                    ids.len(),
                    named[numbered[0]].id.sequence,
                    ids.join(", ")
                );
                return Err(Error::jet(Jet::InvalidParameter, message).hint("Name one of them by its id."));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::manifest::tests::manifest;

    fn backup(sequence: u64, kind: Kind, consolidates: Option<u64>) -> Backup {
        let id = |sequence| BackupId::new(sequence, manifest().began, kind);
        let link = |sequence| Link { id: id(sequence).text, manifest_sha256: String::new() };
        let manifest = Manifest { kind, consolidates: consolidates.map(link), ..manifest() };
        Backup { id: id(sequence), manifest: Ok(manifest), manifest_sha256: "hash".to_owned() }
    }

    #[test]
    fn an_older_state_that_was_put_together_late_is_not_the_newest() {
        let put_together = backup(9, Kind::Full, Some(2));
        assert!(put_together.state() < backup(3, Kind::Incremental, None).state());
        assert!(put_together.state() > backup(2, Kind::Incremental, None).state(), "it stands for that one");
        assert_eq!(backup(9, Kind::Full, Some(12)).state(), (9, 9), "nobody knows the future");
    }

    #[test]
    fn a_backup_builds_on_what_may_carry_it() {
        let carries = |of: Kind, kind| backup(1, of, None).may_carry(kind);
        for (of, incremental, differential) in [
            (Kind::Full, true, true),
            (Kind::Incremental, true, false),
            (Kind::Differential, false, false),
            (Kind::Copy, false, false),
        ] {
            assert_eq!(carries(of, Kind::Incremental), incremental, "{}", of.name());
            assert_eq!(carries(of, Kind::Differential), differential, "{}", of.name());
            assert!(!carries(of, Kind::Full));
        }
    }
}
