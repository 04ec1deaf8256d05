//! The chain of a backup: itself, its parent, the parent of that one, down to one that stands alone; each link proven.

use std::path::{Path, PathBuf};

use super::Repository;
use super::catalogue::Backup;
use super::manifest::{BackupId, Changes, Link, Manifest};
use crate::engine::EngineName;
use crate::error::{Error, ExitCode, Result, printable};
use crate::roots::Roots;
use crate::session::event::{Kind, Outcome};

/// The longest chain that is believed.
pub const LINKS_MAX: usize = 10_000;

/// One backup of a chain, or a partial that is to become the last of one.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its id; a partial has the session's.
    pub id: String,
    /// Its folder, relative to the repository.
    pub folder: PathBuf,
    /// SHA-256 of its `files.jsonl`, hexadecimal.
    pub files_sha256: String,
    /// Files with content in its resolved list, every name counted.
    pub files: u64,
    /// Bytes of content there, those of a file with several names once.
    pub bytes: u64,
    /// When its session began (UTC).
    pub began: jiff::Timestamp,
}

impl Part {
    /// What the manifest of a backup says.
    pub(super) fn of(backup: &Backup, manifest: &Manifest) -> Self {
        Self {
            id: backup.id.text.clone(),
            folder: backup.folder(),
            files_sha256: manifest.files_sha256.clone(),
            files: manifest.files,
            bytes: manifest.bytes,
            began: manifest.began,
        }
    }
}

/// A backup and its ancestors, whose content together is that of the backup.
#[derive(Clone, Debug)]
pub struct Chain {
    parts: Vec<Part>,
    roots: Roots,
    generations: Option<(u32, u32)>,
}

impl Chain {
    /// The backup itself, its parent, and so on; the last one stands alone.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The id of the backup itself.
    pub fn id(&self) -> &str {
        &self.parts[0].id
    }

    /// The further roots of the backup itself.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The lowest and the highest generation of the logs that it promises: those of the backup itself and, where it carries
    /// on the logs of its parent, of that one too.
    pub fn generations(&self) -> Option<(u32, u32)> {
        self.generations
    }

    /// The folder of one of its backups.
    pub fn folder_of(&self, id: &str) -> Option<&Path> {
        self.parts.iter().find(|part| part.id == id).map(|part| &*part.folder)
    }
}

/// What a chain wants to know of a backup.
struct Told {
    part: Part,
    engine: EngineName,
    kind: Kind,
    outcome: Outcome,
    parent: Option<Link>,
    carries_logs: bool,
    generations: Option<(u32, u32)>,
}

impl Told {
    fn of(backup: &Backup) -> Result<Self> {
        let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
        Ok(Self {
            part: Part::of(backup, manifest),
            engine: manifest.engine,
            kind: manifest.kind,
            outcome: manifest.outcome,
            parent: manifest.parent.clone(),
            carries_logs: manifest.changes == Some(Changes::Logs),
            generations: manifest.logs.first_generation.zip(manifest.logs.last_generation),
        })
    }
}

/// A backup that was looked for: the hash of its manifest, empty where that cannot be read, and what it says.
type Sought = (String, Result<Told>);

fn sought(backup: &Backup) -> Sought {
    (backup.manifest_sha256.clone(), Told::of(backup))
}

impl Repository {
    /// The chain of a backup. A link that leads to nothing, or to what was not meant, is an error with exit code 3.
    pub fn chain(&self, backup: &Backup) -> Result<Chain> {
        trace(backup, &mut |id| sought(&self.backup(id.clone())))
    }

    /// The chain of the backup that a link leads to.
    pub fn chain_of(&self, link: &Link) -> Result<Chain> {
        let (id, _) = prove(None, link, &mut |id| sought(&self.backup(id.clone())))?;
        self.chain(&self.backup(id))
    }
}

/// The chain of a backup, where all that there are were looked at; oldest first.
pub fn chain_among(backup: &Backup, backups: &[Backup]) -> Result<Chain> {
    trace(backup, &mut |id| {
        let missing = || (String::new(), Err(Error::new(ExitCode::Verification, "it is missing")));
        let from = backups.partition_point(|other| other.id.sequence < id.sequence);
        let mut same = backups[from..].iter().take_while(|other| other.id.sequence == id.sequence);
        same.find(|other| other.id == *id).map_or_else(missing, sought)
    })
}

/// Follows the links of a backup to one that stands alone.
fn trace(backup: &Backup, find: &mut dyn FnMut(&BackupId) -> Sought) -> Result<Chain> {
    let mut child = Told::of(backup)?;
    let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
    let (parts, roots) = (vec![child.part.clone()], manifest.roots.clone());
    let mut chain = Chain { parts, roots, generations: child.generations };
    let mut are_logs_carried = true;
    let mut child_id = backup.id.clone();
    while let Some(link) = &child.parent {
        let (id, parent) = prove(Some((&child_id, &child)), link, find)?;
        if chain.parts.len() == LINKS_MAX {
            let message = format!("{} builds on more than {LINKS_MAX} backups", backup.id.text);
            return Err(Error::new(ExitCode::Verification, message).file(backup.folder()).hint(BROKEN_HINT));
        }
        are_logs_carried &= child.carries_logs;
        if are_logs_carried && let Some((low, high)) = parent.generations {
            let (own_low, own_high) = chain.generations.unwrap_or((low, high));
            chain.generations = Some((low.min(own_low), high.max(own_high)));
        }
        chain.parts.push(parent.part.clone());
        (child_id, child) = (id, parent);
    }
    Ok(chain)
}

/// The backup that a link leads to, if it is the one that was meant, and what it is needed for can build on it.
fn prove(
    child: Option<(&BackupId, &Told)>,
    link: &Link,
    find: &mut dyn FnMut(&BackupId) -> Sought,
) -> Result<(BackupId, Told)> {
    let broken = |what: &str| {
        let parent = printable(&link.id);
        let message = match child {
            Some((child, _)) => format!("{} builds on {parent}, which {what}", child.text),
            None => format!("{parent} {what}"),
        };
        Error::new(ExitCode::Verification, message).file(Path::new("backups").join(&link.id)).hint(BROKEN_HINT)
    };
    let id = BackupId::parse(&link.id).ok_or_else(|| broken("is no id of a backup"))?;
    let (manifest_sha256, told) = find(&id);
    if manifest_sha256.is_empty() {
        return Err(match told {
            // It may well be good, and cannot be looked at now.
            Err(error) if error.exit_code() != ExitCode::Verification => error,
            _ => broken("is missing"),
        });
    }
    if manifest_sha256 != link.manifest_sha256 {
        return Err(broken("is not the one that was meant: its manifest was changed"));
    }
    let told = told.map_err(|error| broken(&format!("cannot be believed: {}", error.message())))?;
    match refusal(child, &id, &told) {
        None => Ok((id, told)),
        Some(what) => Err(broken(&what)),
    }
}

/// Why nothing can build on a backup, or not this one.
fn refusal(child: Option<(&BackupId, &Told)>, id: &BackupId, parent: &Told) -> Option<String> {
    if !parent.kind.is_parent() || parent.outcome != Outcome::Completed {
        return Some(format!("is {}, {}: nothing builds on such a one", parent.kind.name(), parent.outcome.name()));
    }
    let (child_id, child) = child?;
    if id.sequence >= child_id.sequence {
        return Some("is not older".to_owned()); // so that no chain goes round in a circle
    }
    (parent.engine != child.engine).then(|| format!("was made by another engine, {}", parent.engine))
}

/// What to do about a chain that is broken.
pub const BROKEN_HINT: &str = "What builds on it cannot be restored as a whole. Bring it back from a copy of the \
                               repository, or restore an older backup, and make a full one now.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::manifest::tests::manifest;

    fn backup(sequence: u64, kind: Kind, parent: Option<&Backup>) -> Backup {
        let id = BackupId::new(sequence, "2026-11-22T09:30:15Z".parse().expect("a time"), kind);
        let manifest = Manifest { parent: parent.map(Backup::link), kind, sequence, id: id.text.clone(), ..manifest() };
        Backup { manifest_sha256: format!("hash {sequence}"), id, manifest: Ok(manifest) }
    }

    fn with(backup: Backup, change: impl FnOnce(&mut Manifest)) -> Backup {
        let mut manifest = backup.manifest.expect("a manifest");
        change(&mut manifest);
        Backup { manifest: Ok(manifest), ..backup }
    }

    /// A full, an incremental on it, an incremental on that.
    fn three() -> [Backup; 3] {
        let full = backup(1, Kind::Full, None);
        let second = backup(2, Kind::Incremental, Some(&full));
        let third = backup(5, Kind::Incremental, Some(&second));
        [full, second, third]
    }

    fn refused(backups: &[Backup]) -> String {
        let error = chain_among(&backups[2], backups).expect_err("broken");
        assert_eq!(error.exit_code(), ExitCode::Verification, "{error}");
        assert!(error.advice().is_some());
        error.message().to_owned()
    }

    #[test]
    fn a_chain_leads_down_to_what_stands_alone() {
        let backups = three();
        let chain = chain_among(&backups[2], &backups).expect("a chain");
        let ids: Vec<_> = chain.parts().iter().map(|part| &*part.id).collect();
        assert_eq!(ids, [&*backups[2].id.text, &*backups[1].id.text, &*backups[0].id.text]);
        assert_eq!(chain.id(), ids[0]);
        assert_eq!(chain.folder_of(ids[2]), Some(&*backups[0].folder()));
        assert_eq!(chain_among(&backups[0], &backups).expect("a chain").parts().len(), 1);
    }

    #[test]
    fn a_link_that_does_not_hold_names_both_its_ends() {
        let [full, second, third] = three();
        let (full_id, second_id, third_id) = (full.id.text.clone(), second.id.text.clone(), third.id.text.clone());
        let lacking = [backup(1, Kind::Copy, None), second, third];
        assert_eq!(refused(&lacking), format!("{second_id} builds on {full_id}, which is missing"));
        let [_, second, third] = lacking;
        let changed = [Backup { manifest_sha256: "another".to_owned(), ..backup(1, Kind::Full, None) }, second, third];
        assert!(refused(&changed).starts_with(&format!("{second_id} builds on {full_id}, which is not the one")));

        let [full, second, third] = three();
        let damaged = Err(Error::new(ExitCode::Verification, "its manifest is damaged"));
        let unreadable = [full, Backup { manifest: damaged, ..second }, third];
        assert!(
            refused(&unreadable).starts_with(&format!("{third_id} builds on {second_id}, which cannot be believed"))
        );
    }

    #[test]
    fn what_is_no_parent_carries_nothing() {
        let why_not = |change: fn(&mut Manifest)| {
            let [full, second, third] = three();
            refused(&[full, with(second, change), third])
        };
        assert!(why_not(|manifest| manifest.kind = Kind::Copy).contains("nothing builds"));
        assert!(why_not(|manifest| manifest.kind = Kind::Differential).contains("nothing builds"));
        assert!(why_not(|manifest| manifest.outcome = Outcome::Incomplete).contains("nothing builds"));
        assert!(why_not(|manifest| manifest.engine = EngineName::Sqlite).contains("another engine"));
    }

    #[test]
    fn no_chain_goes_round_in_a_circle() {
        let [full, second, third] = three();
        let to_third = third.link();
        let circle = [full, with(second, |manifest| manifest.parent = Some(to_third)), third];
        assert!(refused(&circle).contains("is not older"));
        let [full, second, third] = three();
        let nonsense = Link { id: "../../etc".to_owned(), manifest_sha256: String::new() };
        let elsewhere = [full, with(second, |manifest| manifest.parent = Some(nonsense)), third];
        assert!(refused(&elsewhere).contains("is no id of a backup"));
    }

    #[test]
    fn a_chain_has_an_end() {
        let mut backups = vec![backup(1, Kind::Full, None)];
        for sequence in 2..=LINKS_MAX as u64 + 1 {
            let next = backup(sequence, Kind::Incremental, backups.last());
            backups.push(next);
        }
        // By number: looking for each of them in all would take a while.
        let find = |id: &BackupId| sought(&backups[usize::try_from(id.sequence).expect("small") - 1]);
        assert_eq!(trace(&backups[LINKS_MAX - 1], &mut { find }).expect("long").parts().len(), LINKS_MAX);
        let error = trace(&backups[LINKS_MAX], &mut { find }).expect_err("too long");
        assert!(error.message().contains("more than 10000"), "{error}");
    }
}
