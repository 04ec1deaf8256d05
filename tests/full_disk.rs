//! Disks that are too small or fill up: said before the first byte where it can be known, survived where it cannot.
//!
//! The small disks are memory file systems in a mount name space of the test's own; where the kernel does not grant one to an
//! ordinary user, those stories are skipped, and say so.

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::mounts::{Disk, in_own_mounts};
use common::{Host, eventually};

const PAGE: usize = 4096;

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("listed").next().is_none()
}

// Before the first byte

#[test]
fn too_little_space_is_said_with_both_numbers_before_the_first_byte() {
    if !in_own_mounts("too_little_space_is_said_with_both_numbers_before_the_first_byte") {
        return;
    }
    let host = Host::with_app();
    let disk = Disk::mount(&host, "disk", 4096);
    host.write("app/large.db", vec![7; 6 << 20]);
    let needed = format!("and {} bytes)", (6 << 20) + 50);
    for arguments in [&["backup", "app", "--to", "disk/repo"][..], &["begin", "app", "--to", "disk/repo"]] {
        let ran = host.run_soon(arguments).exits(1).says("repo has ").says(" free, and 6.00 MiB are needed (");
        let ran = ran.says(&needed).says("[JET_errDiskFull, -1808]").says("Free space there, or choose another");
        assert!(ran.stdout.is_empty());
        host.is_tidy("disk/repo");
        assert_eq!(host.backups("disk/repo").len(), 0);
    }
    let error = host.run(&["begin", "app", "--to", "disk/repo", "--json"]).exits(1).summary();
    assert_eq!((&error["type"], &error["code"]), (&"error".into(), &(-1808).into()));
    // A session that stores nothing needs no space.
    host.ok(&["begin", "app", "--no-repository"]);
    host.ok(&["end", "app", "--abort"]);
    drop(disk);
}

#[test]
fn logs_count_in_what_is_needed_and_holes_do_not() {
    if !in_own_mounts("logs_count_in_what_is_needed_and_holes_do_not") {
        return;
    }
    let host = Host::with_app();
    let _disk = Disk::mount(&host, "disk", 4096);
    File::create(host.path("app/sparse.db")).expect("created").set_len(1 << 30).expect("sized");
    host.ok(&["backup", "app", "--to", "disk/repo", "--log", "wal.*"]);
    host.verifies("disk/repo");
    host.write("app/wal.5", vec![7; 6 << 20]);
    let ran = host.run_soon(&["backup", "app", "--to", "disk/repo", "--log", "wal.*"]).exits(1);
    ran.says("[JET_errDiskFull, -1808]");
}

#[test]
fn a_repository_disk_that_fills_up_between_begin_and_read_keeps_the_session() {
    if !in_own_mounts("a_repository_disk_that_fills_up_between_begin_and_read_keeps_the_session") {
        return;
    }
    let host = Host::with_app();
    host.write("app/large.db", vec![b'x'; 3 << 20]);
    let disk = Disk::mount(&host, "disk", 8 * 1024);
    host.ok(&["begin", "app", "--to", "disk/repo"]);
    disk.leave(1 << 20);
    for _ in 0..2 {
        host.run_soon(&["read", "app"]).exits(1).says("large.db").says("[JET_errDiskFull, -1808]");
        host.ok(&["status"]).prints("nobody is reading");
        assert_eq!(host.backups("disk/repo").len(), 0);
    }
    disk.leave(0);
    host.run_soon(&["read", "app"]).exits(1).says("[JET_errDiskFull, -1808]");

    disk.give_back();
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]).says("backup 000001-");
    host.is_tidy("disk/repo");
    host.verifies("disk/repo");
    let id = host.backups("disk/repo").remove(0);
    let copy = fs::read(host.path("disk/repo/backups").join(id).join("data/large.db")).expect("read");
    assert!(copy.len() == 3 << 20 && copy.iter().all(|byte| *byte == b'x'));
}

#[test]
fn a_repository_disk_that_fills_up_before_end_keeps_the_session() {
    if !in_own_mounts("a_repository_disk_that_fills_up_before_end_keeps_the_session") {
        return;
    }
    let host = Host::with_app();
    let disk = Disk::mount(&host, "disk", 4 * 1024);
    host.ok(&["begin", "app", "--to", "disk/repo", "--log", "wal.*"]);
    host.ok(&["read", "app"]);
    disk.leave(0);
    host.run_soon(&["end", "app"]).exits(1).says("[JET_errDiskFull, -1808]");
    host.run_soon(&["truncate", "app"]).exits(1).says("[JET_errDiskFull, -1808]");
    for number in 1..=4 {
        assert!(host.path(format!("app/wal.{number}")).exists(), "no log was deleted");
    }
    assert_eq!(host.backups("disk/repo").len(), 0);
    disk.give_back();
    host.ok(&["truncate", "app"]).says("deleted 3 logs");
    host.ok(&["end", "app"]);
    host.is_tidy("disk/repo");
    host.verifies("disk/repo");
}

#[test]
fn a_full_repository_disk_is_no_reason_not_to_end() {
    if !in_own_mounts("a_full_repository_disk_is_no_reason_not_to_end") {
        return;
    }
    let host = Host::with_app();
    let disk = Disk::mount(&host, "disk", 4 * 1024);
    for stop in [true, false] {
        host.ok(&["begin", "app", "--to", "disk/repo"]);
        host.ok(&["read", "app", "main.db"]);
        disk.leave(0);
        if stop {
            host.ok(&["stop", "app"]);
            host.ok(&["end", "app"]).says("stopped");
        } else {
            host.ok(&["end", "app", "--abort"]);
        }
        host.is_tidy("disk/repo");
        disk.give_back();
    }
}

#[test]
fn a_one_shot_on_a_disk_that_turns_out_too_small_publishes_nothing() {
    if !in_own_mounts("a_one_shot_on_a_disk_that_turns_out_too_small_publishes_nothing") {
        return;
    }
    // Two thousand files of one byte need two thousand bytes by their sizes and two thousand pages on this disk.
    let host = Host::new();
    for number in 0..2000 {
        host.write(&format!("app/{number}"), "x");
    }
    let _disk = Disk::mount(&host, "disk", 2 * 1024);
    let summary = host.run_soon(&["backup", "app", "--to", "disk/repo", "--json"]).exits(1).summary();
    assert_eq!((&summary["outcome"], &summary["code"]), (&"failed".into(), &(-1808).into()));
    assert_eq!(host.backups("disk/repo").len(), 0);
    assert_eq!(host.session_folders().len(), 0, "the session is over");

    // What stood there before is as good as ever, and a smaller storage still fits.
    fs::remove_dir_all(host.path("app")).expect("removed");
    host.write("app/only", "x");
    host.ok(&["backup", "app", "--to", "disk/repo", "--no-resume"]);
    host.is_tidy("disk/repo");
    for number in 0..2000 {
        host.write(&format!("app/{number}"), "x");
    }
    host.run_soon(&["backup", "app", "--to", "disk/repo"]).exits(1).says("[JET_errDiskFull, -1808]");
    assert_eq!(host.backups("disk/repo").len(), 1);
    host.verifies("disk/repo");
}

#[test]
fn a_backup_goes_on_where_a_disk_was_full_once_there_is_room() {
    if !in_own_mounts("a_backup_goes_on_where_a_disk_was_full_once_there_is_room") {
        return;
    }
    // Two thousand files of one byte take two thousand pages, which nobody can know before.
    let host = Host::new();
    host.write("app/a-large.db", vec![7; 6 << 20]);
    for number in 0..2000 {
        host.write(&format!("app/{number}"), "x");
    }
    host.settles("app");
    let disk = Disk::mount(&host, "disk", 8 * 1024);
    let ran = host.run_soon(&["backup", "app", "--to", "disk/repo"]).exits(1).says("[JET_errDiskFull, -1808]");
    ran.says("what was read so far (").says("the next backup goes on from it, or removes it with --no-resume");
    assert_eq!((host.backups("disk/repo").len(), host.partials("disk/repo").len()), (0, 1));
    assert_eq!(host.session_folders().len(), 0, "the session is over");

    let mut remount = std::process::Command::new("mount");
    remount.args(["-o", "remount,size=64m"]).arg(disk.path());
    assert!(remount.status().expect("mount runs").success());
    let summary = host.ok(&["backup", "app", "--to", "disk/repo", "--json"]).summary();
    assert!(summary["resumed"]["files"].as_u64().expect("files") >= 1000, "{summary}");
    assert_eq!(summary["files"], 2001);
    host.is_tidy("disk/repo");
    host.verifies("disk/repo");
}

#[test]
fn an_output_on_a_full_disk_is_there_whole_or_not_at_all() {
    if !in_own_mounts("an_output_on_a_full_disk_is_there_whole_or_not_at_all") {
        return;
    }
    let host = Host::with_app();
    host.write("app/large.db", vec![b'x'; 1 << 20]);
    let disk = Disk::mount(&host, "disk", 512);
    host.write("disk/out", "an earlier one");
    host.ok(&["begin", "app", "--no-repository"]);
    host.run_soon(&["read", "app", "large.db", "--out", "disk/out"])
        .exits(1)
        .says("disk/out")
        .says("[JET_errDiskFull, -1808]");
    assert_eq!(fs::read(host.path("disk/out")).expect("read"), b"an earlier one");
    assert_eq!(fs::read_dir(disk.path()).expect("listed").count(), 1, "no temporary file is left");
}

// The disk of the state directory

#[test]
fn with_every_amount_of_state_space_begin_works_or_fails_cleanly() {
    if !in_own_mounts("with_every_amount_of_state_space_begin_works_or_fails_cleanly") {
        return;
    }
    let host = Host::with_app();
    let disk = Disk::mount(&host, "state", 1024);
    let mut failures = 0;
    for pages in 0..100 {
        disk.leave(pages * PAGE as u64);
        let ran = host.run_soon(&["begin", "app", "--to", "repo"]);
        if ran.code == Some(0) {
            host.ok(&["end", "app", "--abort"]);
            break;
        }
        ran.exits(1).says("state").says("[JET_errDiskFull, -1808]");
        host.is_tidy("repo");
        disk.give_back();
        let left: Vec<_> =
            fs::read_dir(disk.path()).expect("listed").map(|entry| entry.expect("listed").file_name()).collect();
        assert!(left.iter().all(|name| name == "begin.lock"), "{pages} pages: {left:?} is left");
        failures += 1;
    }
    assert!(failures < 100, "400 KiB must be enough");
    assert!(failures > 10, "begin reserves space, so that it must have failed often: {failures}");
    host.is_tidy("repo");
}

#[test]
fn a_session_can_be_stopped_and_ended_when_the_state_disk_is_full_to_the_last_byte() {
    if !in_own_mounts("a_session_can_be_stopped_and_ended_when_the_state_disk_is_full_to_the_last_byte") {
        return;
    }
    let host = Host::with_app();
    let disk = Disk::mount(&host, "state", 1024);
    for arguments in [&["end", "app"][..], &["end", "app", "--abort"]] {
        host.ok(&["begin", "app", "--to", "repo"]);
        disk.leave(0);
        host.ok(&["stop", "app", "--reason", "the disk is full"]).says("stopped the backup of");
        host.ok(&["status"]).prints("stopped by");
        host.run(&["read", "app"]).exits(4).says("the disk is full [JET_errBackupAbortByServer, -801]");
        host.ok(arguments);
        host.is_tidy("repo");
        disk.give_back();
    }
    host.ok(&["begin", "app", "--to", "repo"]);
    disk.leave(0);
    host.ok(&["end", "app", "--abort"]);
    host.is_tidy("repo");
}

#[test]
fn a_reader_notices_a_stop_although_the_state_disk_is_full() {
    if !in_own_mounts("a_reader_notices_a_stop_although_the_state_disk_is_full") {
        return;
    }
    let host = Host::with_app();
    host.write_huge("app/large.db", 1 << 30);
    let disk = Disk::mount(&host, "state", 1024);
    host.ok(&["begin", "app", "--no-repository"]);
    let mut running = host.start(&["read", "app", "large.db", "--out", "-"]);
    eventually("a reader", || host.ok(&["status"]).stdout.contains("reads large.db"));
    disk.leave(0);
    // The last space belongs to the stop and the end: another reader does not get it.
    host.run_soon(&["read", "app", "main.db", "--out", "-"]).exits(1).says("[JET_errDiskFull, -1808]");
    assert!(!running.is_over(), "it waits for somebody to take what it reads");
    host.ok(&["stop", "app", "--wait", "5"]);
    running.wait().exits(4).says("[JET_errBackupAbortByServer, -801]");
    host.ok(&["end", "app"]);
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn a_backup_that_cannot_write_its_state_leaves_an_earlier_backup_alone() {
    if !in_own_mounts("a_backup_that_cannot_write_its_state_leaves_an_earlier_backup_alone") {
        return;
    }
    let host = Host::with_app();
    let disk = Disk::mount(&host, "state", 1024);
    host.ok(&["backup", "app", "--to", "repo"]);
    disk.leave(0);
    host.run_soon(&["backup", "app", "--to", "repo"]).exits(1).says("[JET_errDiskFull, -1808]");
    host.is_tidy("repo");
    host.verifies("repo");
    disk.give_back();
    assert!(!is_empty(&host.path("repo/backups")));
    host.ok(&["backup", "app", "--to", "repo"]);
}
