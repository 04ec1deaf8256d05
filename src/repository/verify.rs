//! Proving a backup from its folder alone: every hash, every size, nothing missing, nothing extra, the chain.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use sha2::{Digest, Sha256};

use super::catalogue::Backup;
use super::damage::{Damage, DamageKind};
use super::file_list::{FileLine, sums_line};
use super::list_reader::{Difference, Expected, Line, ListReader};
use super::manifest::Manifest;
use super::store::{Item, ItemKind, Store};
use super::{Repository, read_small};
use crate::engine::Role;
use crate::engine::ese::page::PageSize;
use crate::engine::ese::prove::{Flaw, FlawKind, Prover, What};
use crate::engine::sqlite::check::{self, Depth, Verdict};
use crate::error::{Error, Jet, Result};
use crate::hex::hex;
use crate::roots::{DATA, Roots, folder_of};
use crate::stream::pipeline::{CHUNK_BYTES, HOLE_BYTES, hash_zeros};
use crate::stream::source::Got;
use crate::stream::stop::StopToken;

/// How much was proven; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Tally {
    files: AtomicU64,
    bytes: AtomicU64,
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

/// How to verify, and who hears of it.
pub struct Verification<'a> {
    /// Asked before every chunk.
    pub stop: &'a StopToken,
    /// Read from the medium, past the cache, as far as the file system allows it.
    pub fresh: bool,
    /// Ask SQLite about its databases.
    pub databases: Option<Depth>,
    /// Counts as it goes.
    pub tally: &'a Tally,
    /// Hears of each damage, from several threads.
    pub report: &'a (dyn Fn(Damage) + Sync),
}

impl Repository {
    /// Proves one backup; `backups` are all there are, for the chain.
    pub fn verify(&self, backup: &Backup, backups: &[Backup], how: &Verification) -> Result<()> {
        let manifest = match &backup.manifest {
            Ok(manifest) => manifest,
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
        let store = &**self.store();
        let expected = Expected::of(manifest);
        let folder = backup.folder();
        let proven = verify_data(store, &folder, &expected, how);
        let proven = proven.and_then(|list| {
            check_sums(store, &folder, list.as_ref(), how)?;
            match list.filter(|list| !list.is_damaged()) {
                Some(_) => super::set::verify(store, backup, how),
                None => Ok(()), // there is nothing to go by, and that was reported
            }
        });
        match proven {
            Err(error) if how.stop.cause().is_none() => {
                // What describes this backup cannot be read; that says nothing about the next one.
                let place = error.path().and_then(|path| path.strip_prefix(store.describe(&folder)).ok());
                let place = place.unwrap_or(Path::new("")).to_owned();
                (how.report)(not_as_listed(&place, &error));
                Ok(())
            }
            proven => proven,
        }
    }
}

/// Every link of a manifest must lead to the manifest that was meant; one that was pruned since is no damage.
fn check_chain(backup: &Backup, manifest: &Manifest, backups: &[Backup], how: &Verification) {
    let report = |stored: &str, computed: &str| {
        (how.report)(Damage::new(Path::new("manifest.json"), DamageKind::Chain, stored, computed));
    };
    for link in manifest.previous.iter().chain(&manifest.parent) {
        if let Some(other) = backups.iter().find(|other| other.id.text == link.id)
            && other.manifest_sha256 != link.manifest_sha256
        {
            report(&format!("{} {}", link.id, link.manifest_sha256), &other.manifest_sha256);
        }
    }
    if let Some(parent) = manifest.parent.as_ref().filter(|link| !backups.iter().any(|b| b.id.text == link.id)) {
        report(&parent.id, "missing");
    }
    let twins = backups.iter().filter(|other| other.id.sequence == backup.id.sequence).count();
    if twins > 1 {
        report(&backup.id.text, &format!("{twins} backups with the number {}", backup.id.sequence));
    }
}

/// Proves the data of a folder, published or not, against its list of files; the list goes back for the sums, none
/// where it is missing.
pub fn verify_data(
    store: &dyn Store,
    folder: &Path,
    expected: &Expected,
    how: &Verification,
) -> Result<Option<ListReader>> {
    let list_path = Path::new("files.jsonl");
    let list = match ListReader::open(store, folder, expected.clone(), how.fresh) {
        Err(error) if error.is_not_found() => {
            (how.report)(Damage::new(list_path, DamageKind::Missing, &expected.files_sha256, ""));
            find_extra(store, folder, None, &expected.roots, how)?;
            return Ok(None);
        }
        list => Mutex::new(list?),
    };
    let failure = Mutex::new(None);
    let bad_lines = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(1, 8);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                if let Err(error) = work(store, folder, &list, &bad_lines, how) {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let list = list.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(more) = bad_lines.into_inner().checked_sub(BAD_LINES_NAMED_MAX).filter(|more| *more > 0) {
        (how.report)(Damage::new(list_path, DamageKind::FileList, "", format!("{more} more lines")));
    }
    match list.difference() {
        None => {}
        Some(Difference::Hash(computed)) => {
            (how.report)(Damage::new(list_path, DamageKind::Hash, &expected.files_sha256, computed));
        }
        Some(Difference::Totals(computed, stored)) => {
            (how.report)(Damage::new(Path::new("manifest.json"), DamageKind::Manifest, stored, computed));
        }
    }
    find_extra(store, folder, Some(&list), &expected.roots, how)?;
    Ok(Some(list))
}

/// Lines of a list that are named where they cannot be believed; a list may hold nothing else, and memory has a bound.
const BAD_LINES_NAMED_MAX: u64 = 1000;

/// One of the threads that take lines and hash files.
fn work(
    store: &dyn Store,
    folder: &Path,
    list: &Mutex<ListReader>,
    bad_lines: &AtomicU64,
    how: &Verification,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        how.stop.check()?;
        let next = list.lock().unwrap_or_else(PoisonError::into_inner).next_line()?;
        let line = match next {
            None => return Ok(()),
            Some(Line::Bad(what)) => {
                if bad_lines.fetch_add(1, Ordering::Relaxed) < BAD_LINES_NAMED_MAX {
                    (how.report)(Damage::new(Path::new("files.jsonl"), DamageKind::FileList, "", what));
                }
                continue;
            }
            Some(Line::Sound(line)) => line,
        };
        let Some(path) = line.stored_path() else { continue };
        match line.role {
            Role::Directory => {
                if let Err(error) = store.list(&folder.join(&path)) {
                    (how.report)(not_as_listed(&path, &error));
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
                    Err(error) => (how.report)(not_as_listed(&path, &error)),
                }
            }
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                if let Some(first) = line.hard_link()
                    && let Some(first) = line.stored(&first)
                    && store.is_same_file(&folder.join(first), &folder.join(&path)).unwrap_or(false)
                {
                    how.tally.files.fetch_add(1, Ordering::Relaxed);
                    continue; // read and proven, or reported, under its first name
                }
                check_file(store, folder, &path, &line, &mut buffer, how)?;
            }
        }
    }
}

fn not_as_listed(path: &Path, error: &Error) -> Damage {
    let kind = match error.jet_code() {
        Some(Jet::FileNotFound) => DamageKind::Missing,
        Some(Jet::FileInvalidType) => DamageKind::FileType,
        _ => DamageKind::Unreadable,
    };
    Damage::new(path, kind, "", if error.is_not_found() { "" } else { error.message() })
}

/// Reads one file of a folder and reports where it is not what was stored.
pub fn check_file(
    store: &dyn Store,
    folder: &Path,
    path: &Path,
    line: &FileLine,
    buffer: &mut [u8],
    how: &Verification,
) -> Result<()> {
    let (size, stored) = (line.size, line.sha256.as_deref().unwrap_or_default());
    let mut prover = prover_of(line);
    let mut flaws = Flaws { count: 0, path, line, how };
    let mut input = match store.open(&folder.join(path), 0, how.fresh) {
        Ok(input) => input,
        Err(error) => {
            (how.report)(not_as_listed(path, &error));
            return Ok(());
        }
    };
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    loop {
        how.stop.check()?;
        match input.next(buffer) {
            Ok(Got::End) => break,
            Ok(Got::Data(got)) => {
                hasher.update(&buffer[..got]);
                if let Some(prover) = &mut prover {
                    prover.feed(&buffer[..got], &mut |flaw| flaws.take(flaw));
                }
                bytes += got as u64;
                how.tally.bytes.fetch_add(got as u64, Ordering::Relaxed);
            }
            Ok(Got::Hole(mut left)) => {
                bytes += left;
                if let Some(prover) = &mut prover {
                    prover.skip(left, &mut |flaw| flaws.take(flaw));
                }
                while left > 0 {
                    how.stop.check()?;
                    let now = left.min(HOLE_BYTES);
                    hash_zeros(&mut hasher, now);
                    how.tally.bytes.fetch_add(now, Ordering::Relaxed);
                    left -= now;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let error = Error::io("read", &store.describe(&folder.join(path)), &error);
                (how.report)(Damage::new(path, DamageKind::Unreadable, "", error.message()));
                return Ok(());
            }
        }
    }
    let computed = hex(&hasher.finalize());
    let is_as_stored = bytes == size && computed == stored;
    if let Some(prover) = prover {
        prover.finish(&mut |flaw| {
            // One copy of a header is enough: where the hash holds, the other was so when it was backed up.
            let is_known = is_as_stored && matches!(flaw.kind, FlawKind::Header | FlawKind::Checkpoint);
            flaws.take_as(flaw, is_known);
        });
    }
    how.tally.files.fetch_add(1, Ordering::Relaxed);
    if bytes != size {
        (how.report)(Damage::new(path, DamageKind::Size, size.to_string(), bytes.to_string()));
    } else if computed != stored {
        (how.report)(Damage::new(path, DamageKind::Hash, stored, computed));
    } else {
        check_database(store, &folder.join(path), path, line, how)?;
    }
    Ok(())
}

/// Asks SQLite about a database whose bytes are those that were stored: what it finds was so in the source.
fn check_database(store: &dyn Store, place: &Path, path: &Path, line: &FileLine, how: &Verification) -> Result<()> {
    let (Some(depth), Some(_), 1..) = (how.databases, &line.sqlite, line.size) else { return Ok(()) };
    let Some(place) = store.local_path(place) else { return Ok(()) };
    let damage = |what: String| Damage::new(path, DamageKind::Integrity, "", what);
    match check::stored(&place, depth, how.stop)? {
        Verdict::Sound => {}
        Verdict::Damaged(found) => {
            for what in found {
                (how.report)(damage(format!("{what} ({}; its bytes are those of the source)", depth.name())));
            }
        }
        Verdict::Unknown(why) => {
            (how.report)(Damage { is_known: true, ..damage(format!("{} cannot tell here: {why}", depth.name())) });
        }
    }
    Ok(())
}

/// Proves the pages or segments of a file, where its engine has proven them before.
fn prover_of(line: &FileLine) -> Option<Prover> {
    let what = match (&line.pages, &line.segments) {
        (Some(pages), _) => What::Database(PageSize::from_field(pages.size)?),
        (None, Some(_)) => What::Log,
        (None, None) if line.role == Role::Checkpoint => What::Checkpoint,
        (None, None) => return None,
    };
    Some(Prover::new(what, line.size, line.pages.as_ref().is_some_and(|pages| pages.trailer)))
}

/// Flaws of one file that are named; memory has a bound.
const FLAWS_NAMED_MAX: u64 = 1000;

/// Hears of the flaws of one file.
struct Flaws<'a> {
    count: u64,
    path: &'a Path,
    line: &'a FileLine,
    how: &'a Verification<'a>,
}

impl Flaws<'_> {
    fn take(&mut self, flaw: Flaw) {
        self.take_as(flaw, false);
    }

    /// The same, for one that is known by itself.
    fn take_as(&mut self, flaw: Flaw, is_known: bool) {
        self.count += 1;
        if self.count <= FLAWS_NAMED_MAX {
            let damage = Damage::of_flaw(self.path, self.line, flaw);
            (self.how.report)(Damage { is_known: is_known || damage.is_known, ..damage });
        }
    }
}

/// `SHA256SUMS` must say what `files.jsonl` and the manifest say, line for line.
pub fn check_sums(store: &dyn Store, folder: &Path, list: Option<&ListReader>, how: &Verification) -> Result<()> {
    let Some(list) = list.filter(|list| !list.is_damaged()) else {
        return Ok(()); // there is nothing to compare with, and that was reported
    };
    let sums_path = Path::new("SHA256SUMS");
    let manifest = read_small(store, &folder.join("manifest.json"), super::manifest::BYTES_MAX)?;
    let mut expected = list.sums();
    expected.update(sums_line(&list.sha256(), Path::new("files.jsonl")));
    expected.update(sums_line(&super::sha256_hex(&manifest), Path::new("manifest.json")));
    let mut input = match store.open(&folder.join(sums_path), 0, how.fresh) {
        Ok(input) => input,
        Err(error) => {
            (how.report)(not_as_listed(sums_path, &error));
            return Ok(());
        }
    };
    let mut computed = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let got =
            input.read(&mut buffer).map_err(|e| Error::io("read", &store.describe(&folder.join(sums_path)), &e))?;
        if got == 0 {
            break;
        }
        computed.update(&buffer[..got]);
    }
    let (expected, computed) = (hex(&expected.finalize()), hex(&computed.finalize()));
    if expected != computed {
        (how.report)(Damage::new(sums_path, DamageKind::Sums, expected, computed));
    }
    Ok(())
}

/// Walks the folder for what no list names.
fn find_extra(
    store: &dyn Store,
    folder: &Path,
    list: Option<&ListReader>,
    roots: &Roots,
    how: &Verification,
) -> Result<()> {
    let further = roots.iter().map(|root| root.name.as_str());
    let mut frame: Vec<_> = further.chain([DATA]).filter_map(folder_of).collect();
    frame.extend(["files.jsonl", "manifest.json", "SHA256SUMS"].map(PathBuf::from));
    let mut folders = vec![PathBuf::new()];
    while let Some(current) = folders.pop() {
        how.stop.check()?;
        let items = match store.list(&folder.join(&current)) {
            Ok(items) => items,
            Err(error) if current.as_os_str().is_empty() => return Err(error),
            Err(error) => {
                (how.report)(not_as_listed(&current, &error)); // a second time, where it was unreadable above as well
                continue;
            }
        };
        for Item { name, kind, size } in items {
            let path = current.join(&name);
            let is_frame = frame.contains(&path);
            if !is_frame && !list.is_some_and(|list| list.contains(&path)) {
                let what = match kind {
                    ItemKind::File => format!("{size} bytes"),
                    ItemKind::Directory => "a directory".to_owned(),
                    ItemKind::Link => "a link".to_owned(),
                    ItemKind::Other => "a special file".to_owned(),
                };
                (how.report)(Damage::new(&path, DamageKind::Extra, "", what));
            } else if kind == ItemKind::Directory {
                folders.push(path);
            }
        }
    }
    Ok(())
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
            work(&Verification { stop, fresh, databases, tally, report: &report })
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
