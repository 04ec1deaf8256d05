//! A storage that does not hold still: what changes, vanishes or is replaced while it is read is never in a backup that
//! calls itself complete, and nothing outside of the storage ever is.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use common::{Host, as_ordinary_user, eventually, finish, open_to_all};
use serde_json::Value;

const MIB: u64 = 1024 * 1024;
const SECRET: &str = "a letter that is nobody's business";

/// Does something every millisecond for as long as `work` runs.
fn meanwhile<T>(mut disturb: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                disturb();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}

fn touch(path: &Path) {
    let file = File::options().write(true).open(path).expect("opened");
    file.set_modified(SystemTime::now()).expect("touched");
}

fn is_in(path: &Path, text: &str) -> bool {
    let found = Command::new("grep").args(["-rqF", "--", text]).arg(path).status().expect("grep runs");
    found.success()
}

/// Demands that neither the content nor the link target that lie outside of the storage came into the repository.
#[track_caller]
fn nothing_of_the_outside_is_in(host: &Host, repository: &str) {
    let path = host.path(repository);
    assert!(is_in(&path, "\"type\""), "the repository can be searched");
    assert!(!is_in(&path, SECRET), "content from outside is in the repository");
    assert!(!is_in(&path, "target-outside"), "a link from outside is in the repository");
    let links = Command::new("find").arg(&path).args(["-lname", "*target-outside*"]).output().expect("find runs");
    assert!(links.stdout.is_empty(), "a link from outside is in the repository");
}

// While it is read

#[test]
fn a_file_that_never_holds_still_fails_the_backup_by_name() {
    let host = Host::with_app();
    host.write_huge("app/busy.db", 64 * MIB);
    let busy = host.path("app/busy.db");
    let ran = meanwhile(|| touch(&busy), || host.run(&["backup", "app", "--to", "repo", "--retries", "1"]));
    ran.exits(6)
        .says("warning: busy.db changed while it was read (its modification time changed); reading it again")
        .says("busy.db changed while it was read, also when it was read again: its modification time changed")
        .says("Back up while nothing writes to it, or from a snapshot.");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 0);

    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
}

#[test]
fn a_file_that_changes_once_is_read_again_and_the_backup_says_so() {
    let host = Host::with_app();
    host.write_huge("app/busy.db", 128 * MIB);
    // The change has to hit the moment in which the file is read; where the machine was too quick, it is tried again.
    for _ in 0..10 {
        let running = host.start(&["backup", "app", "--to", "repo", "--json"]);
        let is_begun = || {
            let partials = host.partials("repo");
            partials.iter().any(|name| host.path("repo/partial").join(name).join("backup/data/busy.db").exists())
        };
        eventually("the reading of busy.db", is_begun);
        touch(&host.path("app/busy.db"));
        let ran = running.wait().exits(0);
        let lines = ran.json();
        host.verifies("repo");
        if let Some(warning) = lines.iter().find(|line| line["type"] == "warning") {
            assert_eq!(warning["file"], "busy.db");
            let summary = ran.summary();
            assert_eq!((&summary["outcome"], &summary["warnings"]), (&"completed".into(), &1.into()));
            assert_eq!(summary["excluded"], Value::Array(Vec::new()));
            return;
        }
    }
    panic!("the file was never caught while it was read");
}

#[test]
fn a_file_that_grows_for_ever_ends_the_backup_instead_of_keeping_it() {
    let host = Host::with_app();
    host.write_huge("app/growing.log", 32 * MIB);
    let file = File::options().write(true).open(host.path("app/growing.log")).expect("opened");
    let mut size = 32 * MIB;
    let grow = || {
        size += MIB; // faster than it is read and written, and all holes
        file.set_len(size).expect("grown");
    };
    let ran = meanwhile(grow, || host.run_soon(&["backup", "app", "--to", "repo", "--retries", "0"]));
    ran.exits(6).says("growing.log changed while it was read: its size went from ");
    host.is_tidy("repo");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_a_changed_one() {
    let host = Host::with_app();
    host.write_huge("app/busy.db", 64 * MIB);
    host.ok(&["begin", "app", "--no-repository"]);
    let mut running = host.start(&["read", "app", "busy.db", "--out", "-"]);
    let mut stdout = running.child().stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 100]).expect("it is being read");
    // The pipe is full and so are the buffers: most of the file is still to be read.
    File::options().write(true).open(host.path("app/busy.db")).expect("opened").set_len(40 * MIB).expect("cut");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("read");
    running.wait().exits(6).says("busy.db changed while it was read: its size went from 67108864 to 41943040 bytes");
    assert!(rest.len() as u64 <= 64 * MIB);
    host.run(&["end", "app"]).exits(5).says("not everything was read (");
}

#[test]
fn a_file_that_was_renamed_over_another_while_it_was_read_is_a_changed_one() {
    let host = Host::with_app();
    host.write_huge("app/busy.db", 64 * MIB);
    host.write_huge("new", 64 * MIB);
    host.ok(&["begin", "app", "--no-repository"]);
    let mut running = host.start(&["read", "app", "busy.db", "--out", "-"]);
    let mut stdout = running.child().stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 100]).expect("it is being read");
    fs::rename(host.path("new"), host.path("app/busy.db")).expect("renamed");
    stdout.read_to_end(&mut Vec::new()).expect("read");
    running.wait().exits(6).says("busy.db changed while it was read");
}

// Between begin and read

/// Begins, lets something happen to `main.db`, and reads: exit 6 by name, and the session can still be ended.
fn something_happens_to_main_db(what: impl FnOnce(&Host, &Path), message: &str) {
    let host = Host::with_app();
    host.write("secret", SECRET);
    host.ok(&["begin", "app", "--to", "repo"]);
    let path = host.path("app/main.db");
    fs::remove_file(&path).expect("removed");
    what(&host, &path);
    host.run_soon(&["read", "app"])
        .exits(6)
        .says(&format!("{} {message}", path.display()))
        .says("Back up while nothing in the storage is added, moved or removed, or from a snapshot.");
    nothing_of_the_outside_is_in(&host, "repo");
    host.run(&["end", "app"]).exits(5).says("main.db").says("[JET_errBackupAbortByCaller, -800]");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 0);
}

#[test]
fn a_file_that_vanished_after_begin_is_named() {
    something_happens_to_main_db(|_, _| {}, "vanished after the backup began");
}

#[test]
fn a_file_that_became_a_directory_is_named() {
    something_happens_to_main_db(
        |_, path| fs::create_dir(path).expect("created"),
        "was replaced by something else after the backup began",
    );
}

#[test]
fn a_file_that_became_a_link_to_the_outside_is_not_followed() {
    something_happens_to_main_db(
        |host, path| symlink(host.path("secret"), path).expect("linked"),
        "was replaced by something else after the backup began",
    );
}

#[test]
fn a_file_that_became_a_fifo_is_not_waited_for() {
    something_happens_to_main_db(
        |_, path| assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success()),
        "was replaced by something else after the backup began",
    );
}

#[test]
fn a_file_that_became_a_socket_is_named() {
    something_happens_to_main_db(
        |_, path| drop(UnixListener::bind(path).expect("bound")),
        "was replaced by something else after the backup began",
    );
}

#[test]
fn a_link_that_became_a_file_is_named() {
    let host = Host::with_app();
    symlink("main.db", host.path("app/link")).expect("linked");
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::remove_file(host.path("app/link")).expect("removed");
    host.write("app/link", "no link any more");
    host.run(&["read", "app"]).exits(6).says("app/link was replaced by something else after the backup began");
}

#[test]
fn a_directory_that_became_a_link_to_the_outside_is_not_followed() {
    for keep_going in [&[][..], &["--keep-going"]] {
        let host = Host::with_app();
        symlink("settings.ini", host.path("app/conf/link")).expect("linked");
        host.write("outside/settings.ini", SECRET);
        symlink("target-outside", host.path("outside/link")).expect("linked");
        host.ok(&[&["begin", "app", "--to", "repo"], keep_going].concat());
        fs::rename(host.path("app/conf"), host.path("moved")).expect("moved");
        symlink(host.path("outside"), host.path("app/conf")).expect("linked");
        host.run(&["read", "app"]).exits(6).says("app/conf was replaced by something else after the backup began");
        nothing_of_the_outside_is_in(&host, "repo");
        if keep_going.is_empty() {
            host.run(&["end", "app"]).exits(5);
            continue;
        }
        let summary = host.run(&["end", "app", "--json"]).exits(6).summary();
        let mut excluded: Vec<_> =
            summary["excluded"].as_array().expect("a list").iter().map(|one| &one["path"]).collect();
        excluded.sort_by_key(ToString::to_string);
        assert_eq!(excluded, ["conf", "conf/link", "conf/settings.ini"]);
        nothing_of_the_outside_is_in(&host, "repo");
        host.verifies("repo");
    }
}

#[test]
fn a_directory_that_became_a_file_is_named() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::remove_dir_all(host.path("app/conf")).expect("removed");
    host.write("app/conf", "a file");
    host.run(&["read", "app"]).exits(6).says("app/conf");
}

#[test]
fn a_storage_that_vanished_after_begin_can_be_ended() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::rename(host.path("app"), host.path("unmounted")).expect("moved");
    host.run(&["read", "app"]).exits(1).says("app");
    host.ok(&["end", "app", "--abort"]);
    host.is_tidy("repo");
}

#[test]
fn what_appears_after_begin_is_not_in_the_backup() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.write("app/late.db", "too late");
    host.write("app/conf/late.ini", "too late");
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    host.verifies("repo");
    assert!(!host.stored("late.db").exists() && !host.stored("conf/late.ini").exists());
}

#[test]
fn a_log_that_vanished_after_it_was_listed_ends_the_session() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.ok(&["read", "app", "main.db", "conf"]);
    fs::remove_file(host.path("app/wal.2")).expect("removed");
    host.run(&["read", "app"])
        .exits(6)
        .says("app/wal.2 vanished after the backup began")
        .says("The session is over: a backup without one of its logs is none.");
    host.run(&["read", "app"]).exits(5).says("[JET_errNoBackup, -520]");
    host.is_tidy("repo");
    for number in [1, 3, 4] {
        assert!(host.path(format!("app/wal.{number}")).exists(), "no log was deleted");
    }
}

#[test]
fn logs_are_never_left_out_even_if_the_rest_may_be() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*", "--keep-going"]);
    host.ok(&["read", "app", "main.db", "conf"]);
    fs::remove_file(host.path("app/wal.2")).expect("removed");
    host.run(&["read", "app"]).exits(6).says("The session is over");
    assert_eq!(host.backups("repo").len(), 0);
    host.is_tidy("repo");
}

// Keep going

/// The newest backup's manifest.
fn manifest(host: &Host) -> Value {
    let path = host.stored("").with_file_name("manifest.json");
    serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON")
}

#[test]
fn what_could_not_be_read_is_left_out_of_an_incomplete_backup_that_names_it() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--keep-going"]);
    fs::remove_file(host.path("app/main.db")).expect("removed");
    host.run(&["read", "app"]).exits(6).says("warning: left out: ").says("app/main.db vanished after the backup began");
    let summary = host.run(&["end", "app", "--json"]).exits(6).summary();
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"incomplete".into(), &6.into()));
    assert_eq!(summary["excluded"][0]["path"], "main.db");
    assert_eq!(summary["excluded"][0]["exit_code"], 6);
    assert_eq!(summary["excluded"].as_array().expect("a list").len(), 1);

    let manifest = manifest(&host);
    assert_eq!((&manifest["outcome"], &manifest["files"]), (&"incomplete".into(), &5.into()));
    assert_eq!(
        manifest["excluded"],
        serde_json::json!([{
            "path": "main.db",
            "message": format!("{} vanished after the backup began", host.path("app/main.db").display()),
            "exit_code": 6,
        }])
    );
    assert!(!host.stored("main.db").exists() && host.stored("wal.4").exists());
    host.is_tidy("repo");
    host.verifies("repo");
    host.ok(&["list", "repo"]).prints("incomplete");
}

#[test]
fn an_incomplete_backup_is_never_the_latest() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--keep-going"]);
    fs::remove_file(host.path("app/main.db")).expect("removed");
    host.run(&["read", "app"]).exits(6);
    host.run(&["end", "app"]).exits(6).says("incomplete backup 000001-").says("left out: ");
    host.run(&["verify", "repo", "latest"]).exits(2).says("holds no complete backup");

    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["begin", "app", "--to", "repo", "--keep-going"]);
    fs::remove_file(host.path("app/wal.1")).expect("removed");
    host.run(&["read", "app"]).exits(6);
    host.run(&["end", "app"]).exits(6).says("incomplete backup 000003-");
    host.ok(&["verify", "repo", "latest"]).says("000002-");
    host.ok(&["verify", "repo", "3"]);
    host.verifies("repo");
}

#[test]
fn a_file_without_permission_is_left_out_with_exit_1() {
    let host = Host::with_app();
    open_to_all(&host, "");
    fs::set_permissions(host.path("app/main.db"), fs::Permissions::from_mode(0o000)).expect("set");
    let command = host.command(&["backup", "app", "--to", "repo", "--keep-going", "--json"]);
    let summary = finish(as_ordinary_user(&host, command)).exits(1).summary();
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"incomplete".into(), &1.into()));
    assert_eq!(
        (&summary["excluded"][0]["path"], &summary["excluded"][0]["code"]),
        (&"main.db".into(), &(-1032).into())
    );
    assert_eq!(manifest(&host)["outcome"], "incomplete");
    host.is_tidy("repo");
    host.verifies("repo");
    host.run(&["verify", "repo", "latest"]).exits(2);
}

#[test]
fn a_one_shot_leaves_a_restless_file_out_and_says_so() {
    let host = Host::with_app();
    host.write_huge("app/busy.db", 64 * MIB);
    let busy = host.path("app/busy.db");
    let arguments = ["backup", "app", "--to", "repo", "--keep-going", "--retries", "0"];
    meanwhile(|| touch(&busy), || host.run(&arguments))
        .exits(6)
        .says("warning: left out: busy.db changed while it was read")
        .says("incomplete backup 000001-");
    assert!(!host.stored("busy.db").exists() && host.stored("main.db").exists());
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn an_incomplete_backup_is_no_reason_to_truncate() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--keep-going", "--log", "wal.*"]);
    fs::remove_file(host.path("app/main.db")).expect("removed");
    host.run(&["read", "app"]).exits(6);
    for dry_run in [&["--dry-run"][..], &[]] {
        host.run(&[&["truncate", "app"], dry_run].concat()).exits(5).says(
            "files were left out of this backup, so it makes no log needless [JET_errInvalidBackupSequence, -521]",
        );
    }
    for number in 1..=4 {
        assert!(host.path(format!("app/wal.{number}")).exists(), "no log was deleted");
    }
    host.run(&["end", "app"]).exits(6);
    assert_eq!(manifest(&host)["truncated"], false);

    // The one-shot knows it as well.
    host.ok(&["backup", "app", "--to", "repo"]);
    let host = Host::with_app();
    host.write_huge("app/busy.db", 64 * MIB);
    let busy = host.path("app/busy.db");
    let arguments = ["backup", "app", "--to", "repo", "--keep-going", "--retries", "0", "--log", "wal.*", "--truncate"];
    meanwhile(|| touch(&busy), || host.run(&arguments)).exits(6);
    for number in 1..=4 {
        assert!(host.path(format!("app/wal.{number}")).exists(), "no log was deleted");
    }
    assert_eq!(manifest(&host)["truncated"], false);
}

#[test]
fn what_was_left_out_can_be_read_by_name_and_makes_the_backup_complete() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--keep-going"]);
    fs::rename(host.path("app/main.db"), host.path("away")).expect("moved");
    host.run(&["read", "app", "main.db"]).exits(6).says("left out");
    host.ok(&["files", "app"]).prints("left out  database               12  main.db");
    // Still away: still left out.
    host.run(&["read", "app", "main.db"]).exits(6);

    fs::rename(host.path("away"), host.path("app/main.db")).expect("moved back");
    host.ok(&["read", "app", "main.db"]);
    host.ok(&["read", "app"]);
    let summary = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!(summary["outcome"], "completed");
    assert_eq!(summary["excluded"], Value::Array(Vec::new()));
    assert_eq!(fs::read(host.stored("main.db")).expect("read"), b"the database");
    assert_eq!(manifest(&host)["files"], 6);
    host.verifies("repo");
    host.ok(&["verify", "repo", "latest"]);
}

#[test]
fn after_the_last_database_what_was_left_out_stays_left_out() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--keep-going"]);
    fs::rename(host.path("app/main.db"), host.path("away")).expect("moved");
    host.run(&["read", "app"]).exits(6);
    fs::rename(host.path("away"), host.path("app/main.db")).expect("moved back");
    host.run(&["read", "app", "main.db"])
        .exits(5)
        .says("the databases of this session are done; only logs can be read now [JET_errInvalidBackupSequence, -521]");
    host.run(&["end", "app"]).exits(6);
    host.verifies("repo");
}
