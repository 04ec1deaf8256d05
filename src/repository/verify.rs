//! Proving a backup from its folder alone: every hash, every size, nothing missing, nothing extra, the chain.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use super::Repository;
use super::catalogue::Backup;
use super::chain::{Chain, chain_among};
use super::content::Contents;
use super::damage::{Damage, DamageKind};
use super::held_lines::{Doubt, HeldLines};
use super::list_reader::{Difference, Expected, Line, ListReader, Resolved};
use super::manifest::Manifest;
use super::store::Store;
pub use super::verify_file::check_content;
use super::verify_file::{check_blocks, check_elsewhere};
pub use super::verify_frame::check_sums;
use super::verify_frame::find_extra;
use crate::engine::Role;
use crate::engine::sqlite::check::Depth;
use crate::error::{Error, ExitCode, Jet, Result};
use crate::stream::earlier::Within;
use crate::stream::pipeline::CHUNK_BYTES;
use crate::stream::stop::StopToken;

/// How much was proven; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Tally {
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Tally {
    /// Files whose content was hashed.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Bytes that were hashed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// What becomes of content that another backup holds.
#[derive(Clone, Copy, Debug)]
pub enum Elsewhere<'a> {
    /// It is not looked at.
    Unread,
    /// Where these backups, which are verified too, hold it, it is looked for; where others do, it is read.
    But(&'a HashSet<String>),
}

/// How to verify, and who hears of it.
#[derive(Clone, Copy)]
pub struct Verification<'a> {
    /// Asked before every chunk.
    pub stop: &'a StopToken,
    /// Read from the medium, past the cache, as far as the file system allows it.
    pub fresh: bool,
    /// Ask SQLite about its databases.
    pub databases: Option<Depth>,
    /// What becomes of content that the backup builds on.
    pub elsewhere: Elsewhere<'a>,
    /// Counts as it goes.
    pub tally: &'a Tally,
    /// Hears of each damage, from several threads.
    pub report: &'a (dyn Fn(Damage) + Sync),
}

impl Repository {
    /// Proves one backup; `backups` are all there are, for the chain.
    ///
    /// Damage is reported, also what the medium cannot give. An error is something that says nothing of the backup, such as
    /// a right that is missing: then nobody knows how it is.
    pub fn verify(&self, backup: &Backup, backups: &[Backup], how: &Verification) -> Result<()> {
        let manifest = match &backup.manifest {
            Ok(manifest) => manifest,
            Err(error) if error.is_of_the_reader() => return Err(error.clone()),
            Err(error) if error.exit_code().number() == 1 && !error.is_not_found() => {
                let unreadable = Damage::new(Path::new("manifest.json"), DamageKind::Unreadable, "", error.message());
                (how.report)(unreadable);
                return Ok(());
            }
            Err(error) => {
                (how.report)(Damage::new(Path::new("manifest.json"), DamageKind::Manifest, "", error.message()));
                return Ok(());
            }
        };
        check_chain(backup, manifest, backups, how);
        let chain = match chain_among(backup, backups) {
            Ok(chain) => Some(chain),
            Err(error) if error.is_of_the_reader() => return Err(error),
            Err(error) => {
                (how.report)(of_chain(&error));
                None
            }
        };
        let elsewhere = if chain.is_some() { how.elsewhere } else { Elsewhere::Unread };
        let how = &Verification { elsewhere, ..*how };
        let store = &**self.store();
        let folder = backup.folder();
        let expected =
            chain.as_ref().map_or_else(|| Expected::of_own_lines(backup), |chain| Ok(Expected::of(chain)))?;
        let proven = verify_data(self, &folder, &expected, how);
        let proven = proven.and_then(|list| {
            check_sums(store, &folder, list.as_ref(), how)?;
            match (list.filter(|list| !list.is_damaged()), &chain) {
                (Some(_), Some(chain)) => super::set::verify(self, backup, chain, how),
                _ => Ok(()), // there is nothing to go by, and that was reported
            }
        });
        match proven {
            Err(error) if how.stop.cause().is_none() && !error.is_of_the_reader() => {
                // What describes this backup cannot be read; that says nothing about the next one.
                let place = error.path().and_then(|path| path.strip_prefix(store.describe(&folder)).ok());
                let place = place.unwrap_or(Path::new("")).to_owned();
                (how.report)(not_as_listed(&place, &error)?);
                Ok(())
            }
            proven => proven,
        }
    }
}

/// What it means for a backup that something it builds on cannot be had.
fn of_chain(error: &Error) -> Damage {
    let is_damage = error.exit_code() == ExitCode::Verification;
    let kind = if is_damage { DamageKind::Chain } else { DamageKind::Unreadable };
    let message = format!("it cannot be restored as a whole: {}", error.message());
    Damage { message: Some(message), ..Damage::new(Path::new("manifest.json"), kind, "", "") }
}

/// What it means for a backup that these, on which it builds, are damaged; none where none of them is.
pub fn of_damaged(chain: &Chain, is_damaged: &dyn Fn(&str) -> bool) -> Option<Damage> {
    let part = chain.parts()[1..].iter().find(|part| is_damaged(&part.id))?;
    let message = format!("it cannot be restored as a whole: it builds on {}, which is damaged", part.id);
    Some(Damage { message: Some(message), ..Damage::new(Path::new("manifest.json"), DamageKind::Chain, "", "") })
}

/// What a manifest says must hold together. Every link must lead to the manifest that was meant; one that was pruned since
/// is no damage.
fn check_chain(backup: &Backup, manifest: &Manifest, backups: &[Backup], how: &Verification) {
    let report = |kind: DamageKind, stored: &str, computed: &str| {
        (how.report)(Damage::new(Path::new("manifest.json"), kind, stored, computed));
    };
    if let Some(what) = manifest.contradiction() {
        report(DamageKind::Manifest, "", &what);
    }
    for link in [&manifest.previous, &manifest.consolidates].into_iter().flatten() {
        if let Some(other) = backups.iter().find(|other| other.id.text == link.id)
            && other.manifest_sha256 != link.manifest_sha256
            && !other.manifest.as_ref().is_err_and(Error::is_of_the_reader)
        {
            report(DamageKind::Chain, &format!("{} {}", link.id, link.manifest_sha256), &other.manifest_sha256);
        }
    }
    let twins = backups.iter().filter(|other| other.id.sequence == backup.id.sequence).count();
    if twins > 1 {
        report(DamageKind::Number, &backup.id.text, &format!("{twins} backups with the number {}", backup.id.sequence));
    }
}

/// Proves the data of a folder, published or not, against its list of files; the list goes back for the sums, none
/// where it is missing.
pub fn verify_data(
    repository: &Repository,
    folder: &Path,
    expected: &Expected,
    how: &Verification,
) -> Result<Option<ListReader>> {
    let store_of = repository.store();
    let store = &**store_of;
    let list_path = Path::new("files.jsonl");
    let own = &expected.parts()[0];
    let mut how = *how;
    let list = match ListReader::open(repository.store(), expected.clone(), how.fresh) {
        Err(error) if error.is_not_found() => {
            (how.report)(Damage::new(list_path, DamageKind::Missing, &own.files_sha256, ""));
            find_extra(store, folder, None, expected.roots(), &how)?;
            return Ok(None);
        }
        // One that it builds on; what it holds itself can be proven all the same.
        Err(error) if error.exit_code() == ExitCode::Verification && expected.parts().len() > 1 => {
            (how.report)(of_chain(&error));
            how.elsewhere = Elsewhere::Unread;
            ListReader::open(repository.store(), expected.clone().cut(), how.fresh)
        }
        list => list,
    };
    let how = &how;
    let list = Mutex::new(list?);
    let contents = Contents::new(repository, folder).fresh(how.fresh);
    let failure = Mutex::new(None);
    let bad_lines = BadLines::default();
    let held = Mutex::new(HeldLines::new(expected));
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(1, 8);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                if let Err(error) = work(&contents, &list, &held, &bad_lines, how) {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let list = list.into_inner().unwrap_or_else(PoisonError::into_inner);
    let held = held.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut buffer = vec![0; CHUNK_BYTES];
    held.compare(store_of, how.fresh, how.stop, &mut |doubt| match doubt {
        Doubt::Wrong(what) => {
            bad_lines.add(what, how);
            Ok(())
        }
        Doubt::Unproven(line) => check_content(&contents, &line, &mut buffer, how),
    })?;
    bad_lines.finish(how);
    match list.difference() {
        None => {}
        Some(Difference::Hash { backup, stored, computed }) => {
            (how.report)(Damage { held_by: backup, ..Damage::new(list_path, DamageKind::Hash, stored, computed) });
        }
        Some(Difference::Totals(computed, stored)) => {
            (how.report)(Damage::new(Path::new("manifest.json"), DamageKind::Manifest, stored, computed));
        }
    }
    find_extra(store, folder, Some(&list), expected.roots(), how)?;
    Ok(Some(list))
}

/// Lines of a list that are named where they cannot be believed; a list may hold nothing else, and memory has a bound.
const BAD_LINES_NAMED_MAX: u64 = 1000;

/// Counts lines that cannot be believed.
#[derive(Default)]
struct BadLines(AtomicU64);

impl BadLines {
    fn add(&self, what: String, how: &Verification) {
        if self.0.fetch_add(1, Ordering::Relaxed) < BAD_LINES_NAMED_MAX {
            (how.report)(Damage::new(Path::new("files.jsonl"), DamageKind::FileList, "", what));
        }
    }

    fn finish(self, how: &Verification) {
        if let Some(more) = self.0.into_inner().checked_sub(BAD_LINES_NAMED_MAX).filter(|more| *more > 0) {
            let what = format!("{more} more lines");
            (how.report)(Damage::new(Path::new("files.jsonl"), DamageKind::FileList, "", what));
        }
    }
}

/// Notes a line whose content another backup holds, unless it is compared where its own backup is verified.
fn note_held(held: &Mutex<HeldLines>, resolved: &Resolved, how: &Verification) -> Option<String> {
    resolved.line.held.as_ref()?;
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    match how.elsewhere {
        Elsewhere::Unread => None,
        Elsewhere::But(proven) if !resolved.is_own() && proven.contains(held.owner(resolved)) => None,
        Elsewhere::But(_) => held.add(resolved),
    }
}

/// One of the threads that take lines and hash files.
fn work(
    contents: &Contents,
    list: &Mutex<ListReader>,
    held: &Mutex<HeldLines>,
    bad_lines: &BadLines,
    how: &Verification,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        how.stop.check()?;
        let next = list.lock().unwrap_or_else(PoisonError::into_inner).next_line()?;
        match next {
            None => return Ok(()),
            Some(Line::Bad(what)) => bad_lines.add(what, how),
            Some(Line::Sound(resolved)) => {
                if let Some(what) = note_held(held, &resolved, how) {
                    bad_lines.add(what, how);
                }
                check_line(contents, &resolved, &mut buffer, how)?;
            }
        }
    }
}

/// Proves what one line is about: what the backup holds itself, and of the rest as much as is asked for.
fn check_line(contents: &Contents, resolved: &Resolved, buffer: &mut [u8], how: &Verification) -> Result<()> {
    let (line, store, folder) = (&resolved.line, contents.store(), contents.folder());
    let Some(path) = line.stored_path() else { return Ok(()) };
    match line.role {
        Role::Directory | Role::Link if !resolved.is_own() => {} // all that it is stands in the line
        Role::Directory => {
            if let Err(error) = store.list(&folder.join(&path)) {
                (how.report)(not_as_listed(&path, &error)?);
            }
        }
        Role::Link => {
            let stored = line.target().unwrap_or_default();
            match store.link_target(&folder.join(&path)) {
                Ok(target) if target == stored => {}
                Ok(target) => (how.report)(Damage::new(
                    &path,
                    DamageKind::FileType,
                    format!("-> {}", stored.display()),
                    format!("-> {}", target.display()),
                )),
                Err(error) => (how.report)(not_as_listed(&path, &error)?),
            }
        }
        Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
            let first = line.hard_link().and_then(|first| line.stored(&first));
            match (&line.held, first) {
                (Some(_), Some(_)) => {} // as what is held under its first name
                (Some(_), None) => check_elsewhere(contents, line, buffer, how)?,
                (None, Some(_)) if line.within == Within::Blocks => {}
                (None, Some(first)) if is_one_file(&**store, folder, &first, &path) => {
                    how.tally.files.fetch_add(1, Ordering::Relaxed); // read and proven, or reported, under its first name
                }
                (None, _) if line.within == Within::Blocks => check_blocks(contents, line, buffer, how)?,
                (None, _) => {
                    check_content(contents, line, buffer, how)?;
                    if line.own_blocks().is_some() {
                        check_blocks(contents, line, buffer, how)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn is_one_file(store: &dyn Store, folder: &Path, first: &Path, path: &Path) -> bool {
    store.is_same_file(&folder.join(first), &folder.join(path)).unwrap_or(false)
}

/// What it means for a backup that something of it cannot be had; where the error does not tell, it stays one.
pub(super) fn not_as_listed(path: &Path, error: &Error) -> Result<Damage> {
    if error.is_of_the_reader() {
        return Err(error.clone());
    }
    let kind = match error.jet_code() {
        Some(Jet::FileNotFound) => DamageKind::Missing,
        Some(Jet::FileInvalidType) => DamageKind::FileType,
        _ => DamageKind::Unreadable,
    };
    Ok(Damage::new(path, kind, "", if error.is_not_found() { "" } else { error.message() }))
}

/// Runs a verification on a thread of its own and hands damage to the caller's thread as it is found, with a tick every
/// 50 ms so that progress can be shown.
pub fn with_progress(
    stop: &StopToken,
    fresh: bool,
    databases: Option<Depth>,
    tally: &Tally,
    work: impl FnOnce(&Verification) -> Result<()> + Send,
    damage: &mut dyn FnMut(Damage),
    tick: &mut dyn FnMut(&Tally),
) -> Result<()> {
    let (send, found) = mpsc::channel();
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let report = move |one| {
                let _ = send.send(one); // the caller listens until this thread ends
            };
            let elsewhere = Elsewhere::Unread;
            work(&Verification { stop, fresh, databases, elsewhere, tally, report: &report })
        });
        loop {
            match found.recv_timeout(crate::stream::stop::WATCH_INTERVAL) {
                Ok(one) => damage(one),
                Err(mpsc::RecvTimeoutError::Timeout) => tick(tally),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
