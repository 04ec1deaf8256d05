//! A prune that dies at any call to the file system: every backup that is listed verifies, nothing that was to stay is gone,
//! and the next prune ends what was begun.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::faulty::{Faults, FaultyStore, Manner};
use common::forge::reseal;
use common::strace::{can_kill, is_killed_at};
use common::{Host, names};
use jetbak::protocol::prune::{Asked, Outlook};
use jetbak::protocol::{Observer, Progress, Warning};
use jetbak::repository::Repository;
use jetbak::repository::local::LocalStore;
use jetbak::repository::prune::plan::{Policy, Rule};
use jetbak::repository::verify::{Tally, with_progress};
use jetbak::session::directory::StateDirectory;
use jetbak::stream::stop::StopToken;
use jiff::tz::TimeZone;

const EIO: i32 = 5;

struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: &Progress) {}
    fn warning(&mut self, _: &Warning) {}
    fn decided(&mut self, _: &str) {}
    fn said(&mut self, _: &str) {}
}

/// A small repository of every sort: chains, a differential, an incomplete backup, a pinned one, a dead session and trash.
fn machine() -> Host {
    let host = Host::quick();
    host.write("app/conf/settings.ini", "colour = blue\n");
    for (number, kind) in ["full", "incremental", "incremental", "differential", "full", "full", "incremental", "full"]
        .into_iter()
        .enumerate()
    {
        host.write("app/main.db", format!("the database of day {number}"));
        host.ok(&["backup", "app", "--to", "repo", "--kind", kind, "--quiet"]);
        if number == 4 {
            reseal(&host.backup_folder(), |manifest| manifest["outcome"] = "incomplete".into());
        }
    }
    host.ok(&["verify", "repo", "--quiet"]);
    host.ok(&["pin", "repo", "2"]);
    host.ok(&["tag", "repo", "3", "x"]);
    for session in ["20200101T000000Z-abcdef", "20200102T000000Z-abcdef"] {
        host.write(&format!("repo/partial/{session}/backup/data/main.db"), "half of it");
        let owner = format!(
            r#"{{"session":"{session}","host":"{}","state":"{}","one_shot":true}}"#,
            rustix::system::uname().nodename().to_string_lossy(),
            host.path("state").join(session).display()
        );
        host.write(&format!("repo/partial/{session}/owner.json"), owner);
    }
    let gone = "000001-20200101T000000Z-copy";
    host.write(&format!("repo/partial/trash-{gone}-00000001/data/main.db"), "what is left");
    host.write(&format!("repo/verified/{gone}.json"), "{}");
    host.write("repo/verified/.jetbak-tmp-0", "{");
    fs::rename(host.path("repo"), host.path("fresh")).expect("renamed");
    host
}

/// Those that a prune to the newest one leaves: the pinned one with its full, and the newest.
const KEPT: [&str; 3] = ["000001", "000002", "000008"];

/// All that lies in a repository, what gets a name at random by what that begins with, and how large each file is.
fn tree(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = folder.join(&name);
        let metadata = fs::symlink_metadata(&path).expect("looked at");
        let name = if name.starts_with("trash-") { name[..name.len() - 8].to_owned() } else { name };
        if metadata.is_dir() {
            let below = tree(&path).into_iter().map(|(below, size)| (format!("{name}/{below}"), size));
            found.extend(below);
            found.push((name, 0));
        } else {
            found.push((name, metadata.len()));
        }
    }
    found
}

fn again(host: &Host) {
    let _ = fs::remove_dir_all(host.path("repo")); // there is none the first time
    let copied = Command::new("cp").arg("-a").arg(host.path("fresh")).arg(host.path("repo")).status();
    assert!(copied.expect("cp runs").success());
}

fn asked() -> Asked {
    let policy = Policy { counts: vec![(Rule::Last, 1)], ..Policy::default() };
    Asked { policy, discard_partials: true, zone: TimeZone::UTC }
}

fn prune(host: &Host, repository: &Repository) -> jetbak::error::Result<Outlook> {
    let state = StateDirectory::choose(Some(host.path("state"))).expect("a directory");
    Outlook::act(repository, &state, &asked(), &mut Silent, &StopToken::never())
}

/// Demands that everything that is listed verifies, with all that should stay.
fn is_whole(host: &Host, when: &str) {
    let repository = Repository::open(&host.path("repo")).expect("opened");
    let backups = repository.backups().expect("listed");
    for backup in &backups {
        let mut found = Vec::new();
        let (tally, never) = (Tally::default(), StopToken::never());
        let verified = with_progress(
            &never,
            false,
            None,
            &tally,
            |how| repository.verify(backup, &backups, how),
            &mut |damage| found.push(damage),
            &mut |_| {},
        );
        verified.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(found, [], "{when}: {}", backup.id.text);
    }
    let listed = names(&host.path("repo/backups"));
    for kept in KEPT {
        assert!(listed.iter().any(|id| id.starts_with(kept)), "{when}: {kept} is gone");
    }
}

/// Demands that a prune that comes to its end leaves what should be left, and nothing else.
fn ends(host: &Host, when: &str) {
    let repository = Repository::open(&host.path("repo")).expect("opened");
    prune(host, &repository).unwrap_or_else(|error| panic!("{when}: then {error}"));
    is_whole(host, when);
    let stems = |folder: &str| names(&host.path(folder)).iter().map(|name| name[..6].to_owned()).collect::<Vec<_>>();
    assert_eq!(stems("repo/backups"), KEPT, "{when}");
    assert_eq!(stems("repo/verified"), KEPT, "{when}");
    assert_eq!(stems("repo/tags"), KEPT[1..2], "{when}");
    assert_eq!(host.partials("repo"), [""; 0], "{when}");
}

#[test]
fn a_prune_that_ends_at_any_call_to_the_store_loses_nothing() {
    let host = machine();
    let mut calls = 0;
    let (mut before, mut states) = (Vec::new(), 0);
    let fresh = tree(&host.path("fresh"));
    again(&host);
    loop {
        calls += 1;
        let root = host.path("repo");
        let faults = Faults::new(calls, EIO, Manner::ForEver);
        let inner = LocalStore::open(&root).expect("opened");
        let store = FaultyStore { inner, faults: Arc::clone(&faults) };
        let repository = Repository::with_store(Arc::new(store), root).expect("opened");
        faults.arm();
        let done = prune(&host, &repository);
        if !faults.struck() {
            done.expect("nothing stood in its way");
            break;
        }
        let when = format!("call {calls}");
        let left = tree(&host.path("repo"));
        // After a look everything is as it was after the call before.
        if left != before {
            states += 1;
            is_whole(&host, &when);
            ends(&host, &when);
        }
        if left != fresh || left != before {
            again(&host);
        }
        before = left;
    }
    is_whole(&host, "at the end");
    ends(&host, "at the end");
    assert!((50..500).contains(&calls), "{calls} calls");
    assert!(states > 12, "the calls met the prune in {states} states only");
}

const PRUNE: &[&str] = &["prune", "repo", "--keep-last", "1", "--discard-partials", "--yes", "--quiet"];

fn at_each(calls: &[&str]) {
    if !can_kill() {
        return;
    }
    let host = machine();
    let mut kills = 0;
    for call in calls {
        let mut at = 1;
        loop {
            again(&host);
            if !is_killed_at(&host, PRUNE, call, at) {
                break;
            }
            let when = format!("{call} {at}");
            is_whole(&host, &when);
            ends(&host, &when);
            at += 1;
            assert!(at < 2000, "{call} fails for another reason than being killed");
            kills += 1;
        }
        ends(&host, call);
    }
    assert!(kills > 5, "only {kills} kills");
}

#[test]
fn a_prune_that_is_killed_at_any_rename_loses_nothing() {
    at_each(&["renameat2"]);
}

#[test]
#[ignore = "takes half a minute"]
fn a_prune_that_is_killed_at_any_call_to_the_file_system_loses_nothing() {
    let calls =
        ["renameat2", "unlinkat", "rmdir", "unlink", "fsync", "flock", "openat", "openat2", "getdents64", "read"];
    at_each(&calls);
}
