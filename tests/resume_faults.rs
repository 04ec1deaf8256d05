//! A takeover that ends at any call to the store, or that is killed: the next backup is right, and has what was proven.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::faulty::{Faults, FaultyStore, Manner};
use common::interrupted::{Silent, read_until_full};
use common::strace::{can_kill, is_killed_at};
use common::{Host, names};
use jetbak::engine::EngineName;
use jetbak::engine::files::{FilesEngine, FilesOptions};
use jetbak::error::Result;
use jetbak::protocol::resume::{self, Heir};
use jetbak::repository::Repository;
use jetbak::repository::local::LocalStore;
use jetbak::repository::partial::{Owner, Terms};
use jetbak::roots::Roots;
use jetbak::session::directory::StateDirectory;
use jetbak::session::event::Kind;
use jetbak::stream::stop::StopToken;
use serde_json::{Value, json};

const EIO: i32 = 5;
const BACKUP: &[&str] = &["backup", "app", "--to", "repo", "--log", "wal.*", "--json"];
/// Files that both partials have as a whole together, and bytes of the one that is read in part: at least so much need not be
/// read again.
const PROVEN: (u64, u64) = (6, 4 << 20);

fn begin(host: &Host, more: &[&str]) {
    host.ok(&[&["begin", "app", "--to", "repo", "--log", "wal.*", "--keep-partial"], more].concat());
}

fn end(host: &Host) {
    host.ok(&["stop", "app"]);
    host.ok(&["end", "app"]);
}

/// A machine whose repository has a backup and two partials: of one nearly everything was read, in the other one the first
/// four megabytes of a large file. `fresh` is a copy of that repository, and `plan` what the next backup is to read.
fn machine() -> Host {
    let host = Host::quick_with_app();
    host.ok(BACKUP);
    begin(&host, &[]);
    host.ok(&["read", "app"]);
    end(&host);
    let first = host.path("repo/partial").join(&host.partials("repo")[0]);
    fs::rename(&first, host.path("aside")).expect("moved");
    let content: Vec<u8> = (0_u32..1_600_000).flat_map(u32::to_le_bytes).collect();
    host.write("app/large.db", content);
    begin(&host, &[]);
    read_until_full(&host, "backup/data/large.db", 11);
    fs::copy(host.session_folders()[0].join("databases.jsonl"), host.path("plan")).expect("copied");
    end(&host);
    fs::rename(host.path("aside"), first).expect("moved");
    assert_eq!(host.partials("repo").len(), 2);
    fs::rename(host.path("repo"), host.path("fresh")).expect("renamed");
    host
}

/// The repository is as it was when the machine was made; both partials began so late that nothing had changed before.
fn again(host: &Host) {
    let _ = fs::remove_dir_all(host.path("repo")); // there is none the first time
    let _ = fs::remove_dir_all(host.path("state"));
    let copied = Command::new("cp").arg("-a").arg(host.path("fresh")).arg(host.path("repo")).status();
    assert!(copied.expect("cp runs").success());
    for name in host.partials("repo") {
        let folder = host.path("repo/partial").join(name);
        let path = folder.join("owner.json");
        let mut owner: Value = serde_json::from_slice(&fs::read(&path).expect("an owner")).expect("JSON");
        owner["began"] = json!("2200-01-01T00:00:00Z");
        owner["folder"] = fs::metadata(&folder).expect("looked at").ino().into();
        fs::write(path, owner.to_string()).expect("written");
    }
}

/// Takes over as a begin does that dies before its session is there.
fn take_over(host: &Host, repository: &Repository, session: &str) -> Result<()> {
    let never = StopToken::never();
    let state = StateDirectory::choose(Some(host.path("state"))).expect("a directory");
    let terms = Terms::new(repository, EngineName::Files, Kind::Full, false);
    let options = FilesOptions { logs: vec!["wal.*".to_owned()], ..FilesOptions::default() };
    let files = FilesEngine::open(&host.path("app"), &options).expect("a storage");
    let candidates = resume::candidates(repository, &state, &terms, None, &never)?;
    let mut owner = Owner::new(session, &state.path().join(session), true);
    (owner.terms, owner.began) = (Some(terms), Some(jiff::Timestamp::now()));
    let (partial, _held) = repository.create_partial(&owner, &never)?;
    let (plan, roots) = (host.path("plan"), Roots::default());
    let heir = Heir { partial: &partial, plan: &plan, files: &files, roots: &roots, accepts_damage: false };
    resume::take_over(&candidates, &heir, &never)?.settle(candidates, &mut Silent);
    Ok(())
}

#[test]
fn nobody_else_goes_on_from_what_somebody_goes_on_from() {
    let host = machine();
    again(&host);
    let repository = Repository::open(&host.path("repo")).expect("opened");
    let state = StateDirectory::choose(Some(host.path("state"))).expect("a directory");
    let terms = Terms::new(&repository, EngineName::Files, Kind::Full, false);
    let look = || resume::candidates(&repository, &state, &terms, None, &StopToken::never()).expect("looked").len();
    let first = resume::candidates(&repository, &state, &terms, None, &StopToken::never()).expect("looked");
    assert_eq!((first.len(), look()), (2, 0));
    drop(first);
    assert_eq!(look(), 2);
}

/// All that lies below a folder, with sizes and numbers of names.
fn tree(folder: &Path) -> Vec<(String, u64, u64)> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = folder.join(&name);
        let metadata = fs::symlink_metadata(&path).expect("looked at");
        let name = if name.starts_with("trash-") { name[..name.len() - 8].to_owned() } else { name };
        if metadata.is_dir() {
            found.extend(tree(&path).into_iter().map(|(below, size, links)| (format!("{name}/{below}"), size, links)));
            found.push((name, 0, 0));
        } else {
            found.push((name, metadata.len(), metadata.nlink()));
        }
    }
    found
}

/// Demands that the next backup is right; what it had not to read again.
fn ends(host: &Host, when: &str) -> (u64, u64) {
    let ran = host.run(BACKUP);
    assert_eq!(ran.code, Some(0), "{when}: {}", ran.stderr);
    for name in ["main.db", "large.db", "conf/settings.ini", "wal.1", "wal.4"] {
        let same = fs::read(host.stored(name)).expect("a copy") == fs::read(host.path("app").join(name)).expect("read");
        assert!(same, "{when}: {name}");
    }
    host.is_tidy("repo");
    host.ok(&["verify", "repo", "--quiet"]);
    let resumed = &ran.summary()["resumed"];
    (resumed["files"].as_u64().unwrap_or(0), resumed["bytes"].as_u64().unwrap_or(0))
}

fn has_all(resumed: (u64, u64), when: &str) {
    assert!(resumed.0 >= PROVEN.0 && resumed.1 > PROVEN.1, "{when}: only {resumed:?} was taken over");
}

#[test]
fn a_takeover_that_dies_at_any_call_to_the_store_loses_nothing() {
    let host = machine();
    let (mut calls, mut states, mut before) = (0, 0, Vec::new());
    loop {
        calls += 1;
        again(&host);
        let root = host.path("repo");
        let faults = Faults::new(calls, EIO, Manner::ForEver);
        let store = FaultyStore { inner: LocalStore::open(&root).expect("opened"), faults: Arc::clone(&faults) };
        let repository = Repository::with_store(Arc::new(store), root).expect("opened");
        faults.arm();
        let done = take_over(&host, &repository, "20300101T000000Z-abcdef");
        drop(repository);
        if !faults.struck() {
            done.expect("nothing stood in its way");
            break;
        }
        // After a look everything is as it was after the call before.
        let left = tree(&host.path("repo"));
        if left != before {
            states += 1;
            let when = format!("call {calls}");
            has_all(ends(&host, &when), &when);
        }
        before = left;
    }
    has_all(ends(&host, "at the end"), "at the end");
    assert!((40..400).contains(&calls), "{calls} calls");
    assert!(states > 8, "the calls met the takeover in {states} states only");
}

#[test]
#[ignore = "takes a minute"]
fn a_takeover_of_which_any_call_to_the_store_fails_makes_no_wrong_backup() {
    let host = machine();
    for manner in [Manner::Once, Manner::AfterItWorked] {
        for at in 1.. {
            again(&host);
            let root = host.path("repo");
            let faults = Faults::new(at, EIO, manner);
            let store = FaultyStore { inner: LocalStore::open(&root).expect("opened"), faults: Arc::clone(&faults) };
            let repository = Repository::with_store(Arc::new(store), root).expect("opened");
            faults.arm();
            let _ = take_over(&host, &repository, "20300101T000000Z-abcdef"); // it may well have gone on without
            if !faults.struck() {
                break;
            }
            ends(&host, &format!("{manner:?} {at}"));
        }
    }
}

fn at_each(calls: &[&str]) {
    if !can_kill() {
        return;
    }
    let host = machine();
    let mut kills = 0;
    for call in calls {
        for at in 1.. {
            again(&host);
            if !is_killed_at(&host, BACKUP, call, at) {
                break;
            }
            let when = format!("{call} {at}");
            assert!(at < 3000, "{call} fails for another reason than being killed");
            let resumed = ends(&host, &when);
            // Where only the last rename was missing, that was made up for, and the next backup begins anew.
            if host.backups("repo").len() == 2 {
                has_all(resumed, &when);
            }
            kills += 1;
        }
    }
    assert!(kills > 2, "only {kills} kills");
}

#[test]
fn a_backup_that_is_killed_at_any_rename_while_it_goes_on_loses_nothing() {
    at_each(&["renameat2"]);
}

#[test]
#[ignore = "takes minutes"]
fn a_backup_that_is_killed_at_any_call_to_the_file_system_while_it_goes_on_loses_nothing() {
    at_each(&[
        "linkat",
        "renameat2",
        "unlinkat",
        "rmdir",
        "unlink",
        "fsync",
        "syncfs",
        "flock",
        "mkdirat",
        "mkdir",
        "ftruncate",
        "fchmod",
        "utimensat",
        "openat2",
        "write",
        "openat",
        "read",
    ]);
}
