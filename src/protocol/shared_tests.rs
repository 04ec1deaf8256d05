//! A file that is read by several threads, and something happens to it, in each test at the same moment: after it was
//! opened and looked at, before its first byte is read.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::store_sink::StoreSink;
use crate::engine::files::{FilesEngine, FilesOptions};
use crate::engine::{Engine, Entry, Role};
use crate::error::Result;
use crate::repository::blocks::{BlockKey, Shelf};
use crate::repository::local::LocalStore;
use crate::repository::store::Store;
use crate::roots::Roots;
use crate::stream::earlier::{BlockFacts, Earlier, Stored, Within};
use crate::stream::pipeline::{self, Feed, Gauge, Job, Policy, Report};
use crate::stream::shared::SharedFile;
use crate::stream::source::{Got, Hole, Opened, Settled, Source};
use crate::stream::stop::{Cause, StopToken};

const SIZE: usize = 5 << 20;
const HOLE: Hole = Hole(1 << 20, 2 << 20);
const FULL: &str = "000001-20261122T093015Z-full";
const NEXT: &str = "000002-20261122T103015Z-incremental";

/// A storage with one large file, and a repository that holds it as it was.
struct Place {
    folder: TempDir,
    shelf: Shelf,
    stop: StopToken,
    asked: Arc<AtomicBool>,
}

/// What became of the file.
struct Ran {
    result: Result<()>,
    reports: Vec<Report>,
    bytes: u64,
}

/// What happens to the file at each attempt, counted from 0.
type Event = Arc<dyn Fn(usize, &Path) + Send + Sync>;

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(folder.path().join("app")).expect("made");
        fs::create_dir(folder.path().join("repo")).expect("made");
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(&folder.path().join("repo")).expect("opened"));
        let shelf = Shelf { store, key: BlockKey::draw().expect("drawn"), fresh: false };
        let asked = Arc::new(AtomicBool::new(false));
        let probe = Arc::clone(&asked);
        let stop = StopToken::new(move || probe.load(Ordering::SeqCst).then_some(Cause::Signal(15)));
        let place = Self { folder, shelf, stop, asked };
        let file = File::create(place.file()).expect("made");
        file.set_len(SIZE as u64).expect("sized");
        let Hole(begin, length) = HOLE;
        let after = usize::try_from(begin + length).expect("small");
        file.write_all_at(&vec![7; usize::try_from(begin).expect("small")], 0).expect("written");
        file.write_all_at(&vec![9; SIZE - after], after as u64).expect("written");
        place
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("app/a.db")
    }

    /// Backs the file up, compared with `earlier`, while something happens to it.
    fn back_up(&self, backup: &str, earlier: Option<Earlier>, event: &Event) -> Ran {
        let engine = FilesEngine::open(&self.folder.path().join("app"), &FilesOptions::default()).expect("opened");
        let job = Job {
            wants_hash: earlier.is_none(),
            earlier: earlier.map(Arc::new),
            ..Job::new(7, Arc::from(Path::new("a.db")), true)
        };
        let feed =
            OneFile { engine, job: Some(job), attempts: Arc::default(), event: Arc::clone(event), path: self.file() };
        let folder = Path::new("backups").join(backup);
        let sink = StoreSink::new(Arc::clone(&self.shelf.store), folder, Roots::default(), Some(self.shelf.clone()));
        let (gauge, policy) = (Arc::new(Gauge::default()), Policy { keep_going: true, retries: 1 });
        let mut reports = Vec::new();
        let mut hear = |report| {
            reports.push(report);
            Ok(())
        };
        let result = pipeline::run(feed, sink, &self.stop, &gauge, policy, &mut hear, &mut || Ok(()));
        Ran { result, reports, bytes: gauge.bytes() }
    }

    /// What the first backup of the file holds.
    fn earlier(&self) -> Earlier {
        let nothing: Event = Arc::new(|_, _| {});
        let ran = self.back_up(FULL, None, &nothing);
        let [Report::Done(done)] = &ran.reports[..] else { panic!("{:?}", ran.reports) };
        let (backup, blocks) = (FULL.to_owned(), done.stored.blocks.clone());
        Earlier { backup, place: "data/a.db".into(), within: Within::Data, blocks, size: SIZE as u64, sha256: None }
    }

    /// What the next backup comes to.
    fn next(&self, event: impl Fn(usize, &Path) + Send + Sync + 'static) -> Ran {
        let event: Event = Arc::new(event);
        self.back_up(NEXT, Some(self.earlier()), &event)
    }

    fn has_blocks(&self) -> bool {
        self.folder.path().join("repo/backups").join(NEXT).join("blocks/data/a.db").exists()
    }
}

/// A feed of one file to which something happens.
struct OneFile {
    engine: FilesEngine,
    job: Option<Job>,
    attempts: Arc<AtomicUsize>,
    event: Event,
    path: std::path::PathBuf,
}

impl Feed for OneFile {
    fn next(&mut self) -> Result<Option<Job>> {
        Ok(self.job.take())
    }

    fn open(&mut self, job: &Job) -> Result<Opened> {
        let opened = self.engine.open(&Entry::new(&*job.path, Role::Database, SIZE as u64), &StopToken::never())?;
        let Opened::Data(source) = opened else { panic!("a file was opened") };
        let attempt = self.attempts.fetch_add(1, Ordering::SeqCst);
        let (event, path) = (Arc::clone(&self.event), self.path.clone());
        Ok(Opened::Data(Box::new(Restless { source, attempt, event, path })))
    }
}

/// A file to which something happens when it is shared.
struct Restless {
    source: Box<dyn Source>,
    attempt: usize,
    event: Event,
    path: std::path::PathBuf,
}

impl Source for Restless {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
        self.source.next(buffer)
    }

    fn share(&self) -> Option<SharedFile> {
        (self.event)(self.attempt, &self.path);
        self.source.share()
    }

    fn was_read(&mut self, until: u64) {
        self.source.was_read(until);
    }

    fn finish(self: Box<Self>) -> Result<Settled> {
        self.source.finish()
    }
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("opened");
    file.write_all_at(bytes, at).expect("written");
    // However coarse the clock of the file system is.
    file.set_modified(SystemTime::now() + Duration::from_secs(10 + at)).expect("dated");
}

fn set_size(path: &Path, bytes: u64) {
    File::options().write(true).open(path).expect("opened").set_len(bytes).expect("sized");
}

/// Demands that the file was read again for this reason, and then stored.
#[track_caller]
fn read_again(ran: &Ran, why: &str) -> (u64, Stored) {
    assert!(ran.result.is_ok());
    let [Report::Repeating { what, is_usual: false, .. }, Report::Done(done)] = &ran.reports[..] else {
        panic!("{:?}", ran.reports)
    };
    assert_eq!((what.as_str(), ran.bytes), (why, done.bytes));
    (done.bytes, done.stored.clone())
}

fn stored(stored: &Stored) -> Option<u64> {
    stored.blocks.as_ref().map(|BlockFacts { stored, .. }| *stored).filter(|_| stored.within == Within::Blocks)
}

#[test]
fn a_file_that_holds_still_is_held_by_the_earlier_backup_with_its_holes() {
    let place = Place::new();
    let ran = place.next(|_, _| {});
    let [Report::Done(done)] = &ran.reports[..] else { panic!("{:?}", ran.reports) };
    assert!(done.stored.is_earlier && !place.has_blocks());
    assert_eq!((done.bytes, ran.bytes), (SIZE as u64, SIZE as u64));
    assert_eq!(done.holes, Some(vec![HOLE]));
}

#[test]
fn a_file_that_changes_once_is_read_again() {
    let place = Place::new();
    let ran = place.next(|attempt, path| {
        if attempt == 0 {
            write(path, 4 << 20, b"another");
        }
    });
    let (bytes, how) = read_again(&ran, "its modification time changed");
    assert_eq!((bytes, stored(&how), place.has_blocks()), (SIZE as u64, Some(4096), true));
}

#[test]
fn a_file_that_becomes_shorter_or_longer_is_read_again_as_it_is_then() {
    for size in [SIZE / 2, SIZE - 4096, SIZE + 5000] {
        let place = Place::new();
        let ran = place.next(move |attempt, path| {
            if attempt == 0 {
                set_size(path, size as u64);
            }
        });
        let (bytes, how) = read_again(&ran, &format!("its size went from {SIZE} to {size} bytes"));
        assert_eq!((bytes, stored(&how)), (size as u64, Some(0)), "zeros take no space");
    }
}

#[test]
fn a_file_that_never_holds_still_fails_and_leaves_nothing() {
    let place = Place::new();
    let ran = place.next(|attempt, path| write(path, attempt as u64, b"another"));
    let [Report::Repeating { .. }, Report::Failed { ticket: 7, error }] = &ran.reports[..] else {
        panic!("{:?}", ran.reports)
    };
    assert!(error.message().starts_with("a.db changed while it was read, also when it was read again"), "{error}");
    assert_eq!((place.has_blocks(), ran.bytes), (false, 0));
}

#[test]
fn a_stop_ends_the_run() {
    let place = Place::new();
    let asked = Arc::clone(&place.asked);
    let ran = place.next(move |_, _| asked.store(true, Ordering::SeqCst));
    let error = ran.result.expect_err("it was stopped");
    assert_eq!((error.exit_code().number(), ran.reports.len()), (143, 0));
}
