//! `restore --delta`: a directory that is there becomes what a backup holds, only what differs is touched, and nothing else
//! in the world is.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::forge::flip;
use common::mounts::{Disk, in_own_mounts};
use common::tree::{Alike, Listing, grow, set_time};
use common::{Dice, Host, Ran, as_ordinary_user, finish, names, open_to_all, skip};
use rustix::fs::{FallocateFlags, XattrFlags, fallocate};

const MIB: usize = 1 << 20;

/// A machine with one backup in `repo`, restored to `out`; one file is larger than those that are written anew.
fn restored() -> Host {
    let host = Host::quick_with_app();
    symlink("main.db", host.path("app/link")).expect("linked");
    fs::hard_link(host.path("app/main.db"), host.path("app/conf/again")).expect("linked");
    host.write("app/big", (0..=250_u8).cycle().take(3 * MIB + 100).collect::<Vec<_>>());
    set_time(&host.path("app/conf"), 1_000_000_000, 5);
    set_time(&host.path("app"), 1_100_000_000, 7);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    host
}

fn delta(host: &Host, more: &[&str]) -> Ran {
    host.run(&[&["restore", "repo", "--delta", "--into", "out"][..], more].concat())
}

/// The directory is the storage once more, to the last attribute.
#[track_caller]
fn is_whole(host: &Host) {
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path("out")), Alike::Fully);
}

/// Who every entry is and when anything of it was changed last.
fn stamps(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut stamps = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let found = fs::symlink_metadata(&path).expect("looked at");
        if found.is_dir() {
            left.extend(fs::read_dir(&path).expect("listed").map(|entry| entry.expect("listed").path()));
        }
        stamps.insert(path, (found.ino(), found.ctime(), found.ctime_nsec()));
    }
    stamps
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

// What is put right

#[test]
fn every_kind_of_difference_is_put_right() {
    let host = restored();
    let out = |name: &str| host.path("out").join(name);
    fs::write(out("conf/settings.ini"), "colour = red, and more\n").expect("written");
    File::options().write(true).open(out("big")).expect("opened").write_all_at(b"other", 2_000_000).expect("written");
    fs::remove_file(out("wal.1")).expect("removed");
    fs::remove_file(out("wal.2")).expect("removed");
    fs::create_dir_all(out("wal.2/folder")).expect("created");
    fs::remove_file(out("wal.3")).expect("removed");
    symlink("/etc/passwd", out("wal.3")).expect("linked");
    fs::remove_file(out("link")).expect("removed");
    symlink("elsewhere", out("link")).expect("linked");
    fs::remove_file(out("conf/again")).expect("removed");
    fs::copy(out("main.db"), out("conf/again")).expect("copied");
    fs::set_permissions(out("wal.4"), fs::Permissions::from_mode(0o4711)).expect("set");
    fs::create_dir_all(out("extra/folder")).expect("created");
    fs::write(out("extra/folder/file"), "mine").expect("written");
    fs::write(out("conf/new"), "mine").expect("written");
    let _ = rustix::fs::lsetxattr(out("conf"), "user.mine", b"1", XattrFlags::empty()); // where there are any

    let ran = delta(&host, &[]).exits(0);
    for line in [
        "change  conf/settings.ini  (content, time",
        "change  big  (content, time, 4.00 KiB differ)",
        "create  wal.1\n",
        "replace wal.2  (a directory stands there)",
        "replace wal.3  (a link stands there)",
        "change  link  (target",
        "change  main.db  (names)",
        "change  wal.4  (mode)",
        "delete  conf/new\n",
        "delete  extra/  (with 2 entries in it)",
        "restored 000001-",
    ] {
        assert!(ran.stderr.contains(line), "{line:?} is not in:\n{}", ran.stderr);
    }
    is_whole(&host);
    delta(&host, &[]).exits(0).says("nothing to do");
}

#[test]
fn what_is_equal_is_not_touched() {
    let host = restored();
    let before = stamps(&host.path("out"));
    delta(&host, &[]).exits(0).says("nothing to do");
    assert_eq!(stamps(&host.path("out")), before);
    // The neighbours of what differs are not touched either.
    fs::write(host.path("out/wal.1"), "longer than it was").expect("written");
    delta(&host, &[]).exits(0).says("1 changed");
    let mut after = stamps(&host.path("out"));
    assert_ne!(after[&host.path("out/wal.1")], before[&host.path("out/wal.1")]);
    for name in ["out", "out/wal.1"] {
        after.insert(host.path(name), before[&host.path(name)]);
    }
    assert_eq!(after, before);
    is_whole(&host);
}

#[test]
fn of_a_large_file_only_the_blocks_that_differ_are_written() {
    let host = Host::new();
    // Zeros that take space in the backup; where they take none in the directory, a write would show.
    host.write("app/big", vec![0; 16 * MIB]);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    let file = File::options().write(true).open(host.path("out/big")).expect("opened");
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if let Err(errno) = fallocate(&file, punch, 0, 16 * MIB as u64) {
        return skip(&format!("no holes here: {errno}"));
    }
    file.write_all_at(b"x", 5_000_000).expect("written");
    file.write_all_at(b"x", 9_000_000).expect("written");
    file.sync_all().expect("synced");
    let inode = file.metadata().expect("looked at").ino();
    let ran = delta(&host, &["--json"]).exits(0);
    assert_eq!((&ran.summary()["bytes"], &ran.summary()["changed"]), (&8192.into(), &1.into()));
    let found = fs::metadata(host.path("out/big")).expect("looked at");
    assert_eq!(found.ino(), inode);
    assert!(found.blocks() * 512 <= 64 * 1024, "{} blocks", found.blocks());
    assert_eq!(host.sha256("app/big"), host.sha256("out/big"));
    is_whole(&host);
}

#[test]
fn a_large_file_is_cut_grows_and_gets_its_holes_back() {
    let host = Host::new();
    host.write("app/cut", vec![1; 2 * MIB]);
    host.write("app/grown", vec![2; 5 * MIB + 3]);
    let sparse = File::create(host.path("app/sparse")).expect("created");
    sparse.write_all_at(&[3; 5000], 3 << 20).expect("written");
    sparse.set_len(64 << 20).expect("sized");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    let open = |name: &str| File::options().write(true).open(host.path("out").join(name)).expect("opened");
    open("cut").write_all_at(&[1; 100], 3 * MIB as u64).expect("written");
    open("grown").set_len(7).expect("cut");
    open("sparse").write_all_at(&vec![0; 8 * MIB], 10 << 20).expect("written");
    open("sparse").write_all_at(b"other", 50 << 20).expect("written");
    open("sparse").set_len(60 << 20).expect("cut");
    let inodes = ["cut", "grown", "sparse"].map(|name| open(name).metadata().expect("looked at").ino());
    delta(&host, &[]).exits(0);
    is_whole(&host);
    assert_eq!(["cut", "grown", "sparse"].map(|name| open(name).metadata().expect("looked at").ino()), inodes);
    delta(&host, &[]).exits(0).says("nothing to do");
}

#[test]
fn names_outside_of_the_directory_keep_their_content() {
    let host = restored();
    for name in ["big", "wal.1", "main.db"] {
        fs::hard_link(host.path("out").join(name), host.path("outside-").with_file_name(format!("outside-{name}")))
            .expect("linked");
    }
    let file = File::options().write(true).open(host.path("out/big")).expect("opened");
    file.write_all_at(b"other", 2_000_000).expect("written");
    fs::set_permissions(host.path("out/wal.1"), fs::Permissions::from_mode(0o600)).expect("set");
    fs::set_permissions(host.path("out/main.db"), fs::Permissions::from_mode(0o600)).expect("set");
    let outside = || {
        ["big", "wal.1", "main.db"].map(|name| {
            let name = format!("outside-{name}");
            (host.sha256(&name), fs::metadata(host.path(&name)).expect("looked at").mode())
        })
    };
    let before = outside();
    delta(&host, &[]).exits(0);
    is_whole(&host);
    assert_eq!(outside(), before);
}

#[test]
fn only_what_is_named_is_put_right() {
    let host = restored();
    fs::write(host.path("out/wal.1"), "wrong").expect("written");
    fs::write(host.path("out/wal.2"), "wrong").expect("written");
    fs::write(host.path("out/extra"), "mine").expect("written");
    fs::remove_dir_all(host.path("out/conf")).expect("removed");
    let ran = delta(&host, &["--only", "wal.1", "conf/settings.ini"]).exits(0);
    ran.says("in part into");
    assert_eq!(fs::read(host.path("out/wal.1")).expect("read"), b"log 1\n");
    assert_eq!(fs::read(host.path("out/wal.2")).expect("read"), b"wrong");
    assert_eq!(fs::read(host.path("out/extra")).expect("read"), b"mine");
    assert_eq!(names(&host.path("out/conf")), ["settings.ini"]);
    delta(&host, &["--only", "nothing"]).exits(2).says("does not hold nothing");
    delta(&host, &[]).exits(0);
    is_whole(&host);
}

#[test]
fn what_was_left_out_as_asked_stays() {
    let host = Host::quick_with_app();
    host.write("app/cache/one", "made anew");
    host.write("app/conf/x.tmp", "made anew");
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "/cache/", "--exclude", "*.tmp"]);
    host.write("app/conf/mine", "new");
    let run = host.ok(&["restore", "repo", "--delta", "--into", "app"]);
    run.says("delete  conf/mine").says("2 entries stay: left out when the backup was made");
    assert_eq!(names(&host.path("app/conf")), ["settings.ini", "x.tmp"]);
    assert_eq!(names(&host.path("app/cache")), ["one"]);
}

#[test]
fn a_directory_goes_forth_and_back_between_backups_that_build_on_each_other() {
    let host = Host::quick_with_app();
    let mut dice = Dice::new();
    let content =
        |seed: u8| -> Vec<u8> { (0..=255_u8).map(|byte| byte.wrapping_mul(seed)).cycle().take(3 * MIB).collect() };
    host.write("app/large", content(3));
    grow(&mut dice, &host.path("app"), 30);
    let mut sources = Vec::new();
    for kind in ["full", "incremental", "incremental", "differential"] {
        if kind != "full" {
            spoil(&mut dice, &host.path("app"), 10);
            if host.path("app/large").is_file() {
                write_at(&host.path("app/large"), kind.as_bytes(), u64::from(dice.number(2_000_000))).expect("written");
            }
        }
        host.ok(&["backup", "app", "--to", "repo", "--kind", kind]);
        sources.push(Listing::of(&host.path("app")).storable());
    }
    host.ok(&["restore", "repo", "1", "--into", "out"]);
    let alike = if is_root() { Alike::Fully } else { Alike::ButOwners };
    for number in [2, 1, 4, 3, 1, 3, 4, 2] {
        host.ok(&["restore", "repo", &number.to_string(), "--delta", "--into", "out"]);
        sources[number - 1].is_like(&Listing::of(&host.path("out")), alike);
    }
}

// What is only said

#[test]
fn a_dry_run_says_it_all_and_changes_nothing() {
    let host = restored();
    fs::write(host.path("out/wal.1"), "wrong").expect("written");
    fs::remove_file(host.path("out/link")).expect("removed");
    fs::write(host.path("out/extra"), "mine").expect("written");
    let before = (stamps(&host.path("out")), names(&host.path("repo/restored")));
    let ran = delta(&host, &["--dry-run"]).exits(0);
    ran.prints("change  wal.1").prints("create  link").prints("delete  extra").prints("would become what 000001-");
    let ran = delta(&host, &["--dry-run", "--json"]).exits(0);
    let found = ran.json();
    let find = |path: &str| found.iter().find(|object| object["path"] == path).expect("named").clone();
    assert_eq!(find("wal.1")["what"], serde_json::json!(["content", "time"]));
    assert_eq!((&find("link")["action"], &find("link")["kind"]), (&"create".into(), &"link".into()));
    assert_eq!(find("extra")["action"], "delete");
    let last = ran.summary();
    assert_eq!((&last["type"], &last["deleted"], &last["created"]), (&"dry_run".into(), &1.into(), &1.into()));
    assert_eq!((stamps(&host.path("out")), names(&host.path("repo/restored"))), before);
}

// What is refused

#[test]
fn a_directory_that_the_repository_does_not_know_is_refused() {
    let host = restored();
    host.write("other/mine", "mine");
    let run = |into: &str, more: &[&str]| host.run(&[&["restore", "repo", "--delta", "--into", into], more].concat());
    run("other", &[]).exits(2).says("is not known to the repository").says("--any-directory --dry-run");
    assert_eq!(names(&host.path("other")), ["mine"]);
    // The same name does not make it the same directory.
    fs::rename(host.path("out"), host.path("old")).expect("renamed");
    fs::create_dir(host.path("out")).expect("created");
    run("out", &[]).exits(2).says("it is another directory than the one that was restored to");
    run("old", &[]).exits(2);
    run("other", &["--any-directory"]).exits(0).says("delete  mine");
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path("other")), Alike::Fully);
    run("other", &[]).exits(0).says("nothing to do");
    run("app", &[]).exits(0).says("nothing to do");
    symlink("other", host.path("way")).expect("linked");
    fs::write(host.path("other/extra"), "mine").expect("written");
    run("way", &[]).exits(0).says("delete  extra");
    assert!(fs::symlink_metadata(host.path("way")).expect("looked at").is_symlink());
}

#[test]
fn no_place_that_jetbak_needs_is_put_right() {
    let host = restored();
    for (into, code, says) in [
        ("/", 2, "root of the whole system"),
        ("repo", 2, "lies inside of the repository"),
        ("repo/backups", 2, "lies inside of the repository"),
        (".", 2, "the repository lies inside of"),
        ("missing", 2, "Leave --delta away"),
        ("out/big", 2, "is not a directory"),
    ] {
        let ran = host.run(&["restore", "repo", "--delta", "--any-directory", "--into", into]);
        assert!(ran.code == Some(code) && ran.stderr.contains(says), "{into}: {}", ran.stderr);
    }
    host.run(&["restore", "repo", "--delta", "--map", "data=out"]).exits(2);
    host.run(&["restore", "repo", "--delta", "--into", "out", "--map", "logs=x"]).exits(2);
    host.run(&["restore", "repo", "--into", "new", "--any-directory"]).exits(2);
    host.verifies("repo");
}

#[test]
fn a_storage_that_is_being_backed_up_is_left_alone() {
    let host = restored();
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::write(host.path("app/extra"), "mine").expect("written");
    host.run(&["restore", "repo", "1", "--delta", "--into", "app"])
        .exits(5)
        .says("a backup of ")
        .says("is in progress");
    assert!(host.path("app/extra").exists());
    host.ok(&["stop", "app"]);
    host.run(&["end", "app"]);
    host.ok(&["restore", "repo", "1", "--delta", "--into", "app"]);
    assert!(!host.path("app/extra").exists());
}

#[test]
fn damage_in_the_backup_is_noticed_before_anything_is_changed() {
    let host = restored();
    fs::write(host.path("out/wal.1"), "wrong").expect("written");
    fs::write(host.path("out/extra"), "mine").expect("written");
    fs::remove_file(host.path("out/big")).expect("removed");
    let before = stamps(&host.path("out"));
    for (name, offset) in [("big", 3 * MIB), ("wal.4", 2)] {
        flip(&host.stored(name), offset);
        delta(&host, &[]).exits(3).says(&format!("{name} is damaged")).says("Nothing was changed.");
        flip(&host.stored(name), offset);
    }
    fs::remove_file(host.stored("link")).expect("removed");
    fs::remove_file(host.path("out/link")).expect("removed");
    let before_link = stamps(&host.path("out"));
    assert_eq!(before_link.len() + 1, before.len());
    delta(&host, &[]).exits(3).says("link is damaged");
    assert_eq!(stamps(&host.path("out")), before_link);
}

#[test]
fn a_repository_that_cannot_be_written_is_enough() {
    if !is_root() {
        return skip("only root gives directories away");
    }
    let host = restored();
    open_to_all(&host, "repo");
    let closed = Command::new("chmod").args(["-R", "a-w"]).arg(host.path("repo")).status();
    assert!(closed.expect("chmod runs").success());
    let given = Command::new("chown").args(["-R", "65534:65534"]).arg(host.path("out")).status();
    assert!(given.expect("chown runs").success());
    fs::set_permissions(host.path("out/conf"), fs::Permissions::from_mode(0o500)).expect("set");
    fs::set_permissions(host.path("out/big"), fs::Permissions::from_mode(0o400)).expect("set");
    fs::remove_file(host.path("out/wal.2")).expect("removed");
    chown(host.path("out/wal.1"), Some(65534), Some(65534)).expect("given away");
    let arguments = ["restore", "repo", "--delta", "--into", "out", "--owner", "current", "--state-dir", "no-state"];
    let ran = finish(as_ordinary_user(&host, host.command(&arguments))).exits(0);
    ran.says("not noted in the repository");
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path("out")), Alike::ButOwners);
    finish(as_ordinary_user(&host, host.command(&arguments))).exits(0).says("nothing to do");
    let opened = Command::new("chmod").args(["-R", "u+w"]).arg(host.path("repo")).status();
    assert!(opened.expect("chmod runs").success());
}

#[test]
fn what_is_mounted_below_is_neither_emptied_nor_entered() {
    if !in_own_mounts("what_is_mounted_below_is_neither_emptied_nor_entered") {
        return;
    }
    let host = restored();
    for name in ["out/disk", "out/conf/disk"] {
        let disk = Disk::mount(&host, name, 64);
        host.write(&format!("{name}/mine"), "mine");
        fs::write(host.path("out/wal.1"), "wrong").expect("written");
        delta(&host, &[]).exits(2).says("something is mounted on ").says(name);
        assert_eq!(names(disk.path()), ["mine"]);
        assert_eq!(fs::read(host.path("out/wal.1")).expect("read"), b"wrong");
        drop(disk);
        fs::remove_dir(host.path(name)).expect("removed");
    }
    delta(&host, &[]).exits(0);
    // The directory itself may be one; what its file system keeps there stays.
    let _disk = Disk::mount(&host, "whole", 8192);
    host.write("whole/mine", "mine");
    fs::create_dir(host.path("whole/lost+found")).expect("created");
    host.ok(&["restore", "repo", "--delta", "--any-directory", "--into", "whole"]).says("delete  mine");
    assert!(host.path("whole/lost+found").exists() && host.path("whole/big").exists());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_changed() {
    if !in_own_mounts("what_does_not_fit_is_refused_before_anything_is_changed") {
        return;
    }
    let host = restored();
    let disk = Disk::mount(&host, "disk", 2048);
    host.write("disk/mine", "mine");
    host.run(&["restore", "repo", "--delta", "--any-directory", "--into", "disk"]).exits(1).says("are needed");
    assert_eq!(names(disk.path()), ["mine"]);
}

// Databases of SQLite

#[test]
fn a_log_of_sqlite_that_the_backup_does_not_hold_goes_before_its_database_changes() {
    let host = Host::quick();
    let bank = common::sqlite::found_bank(&host.path("app/bank.db"), "wal");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    drop(bank);
    let mut dice = Dice::new();
    let other = common::sqlite::open(&host.path("out/bank.db"));
    common::sqlite::move_money(&other, &mut dice).expect("moved");
    assert!(host.path("out/bank.db-wal").exists());
    let before = stamps(&host.path("out"));
    for more in [&["--dry-run"][..], &[], &["--only", "bank.db"]] {
        delta(&host, more).exits(5).says("the database ").says("out/bank.db is open");
    }
    assert_eq!(stamps(&host.path("out")), before);
    // As a crash leaves it: a log of the past beside the database, and nobody who has it open.
    let log = fs::read(host.path("out/bank.db-wal")).expect("read");
    drop(other);
    for more in [&[][..], &["--only", "bank.db"]] {
        fs::write(host.path("out/bank.db-wal"), &log).expect("written");
        delta(&host, more).exits(0).says("delete  bank.db-wal");
        assert_eq!(names(&host.path("out")), ["bank.db"]);
        is_whole_database(&host);
    }
}

#[track_caller]
fn is_whole_database(host: &Host) {
    let stored = fs::read(host.stored("bank.db")).expect("read");
    assert!(fs::read(host.path("out/bank.db")).expect("read") == stored, "the database is not the one in the backup");
}

// Trouble

#[test]
fn a_restore_that_is_killed_is_finished_by_the_same_command() {
    let host = Host::quick();
    let mut dice = Dice::new();
    grow(&mut dice, &host.path("app"), 60);
    host.write_many(300);
    host.write("app/big", vec![7; 4 * MIB]);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    let source = Listing::of(&host.path("app")).storable();
    let alike = if is_root() { Alike::Fully } else { Alike::ButOwners };
    let mut interrupted = 0;
    let mut took = None;
    for round in 0..20 {
        spoil(&mut dice, &host.path("out"), 40);
        let _ = fs::write(host.path("out/big"), vec![8; 5 * MIB]); // where there is no directory by now
        let Some(limit) = took else {
            took = Some(delta(&host, &[]).exits(0).took);
            continue;
        };
        let mut running = host.start(&["restore", "repo", "--delta", "--into", "out"]);
        if round % 2 == 0 {
            thread::sleep(dice.below(limit));
        } else {
            while !is_unfinished(&host) && !running.is_over() {}
        }
        running.kill();
        let is_known = is_unfinished(&host);
        let ran = delta(&host, &["--json"]).exits(0);
        assert_eq!(ran.summary()["interrupted"].is_string(), is_known);
        interrupted += u32::from(is_known);
        source.is_like(&Listing::of(&host.path("out")), alike);
        assert!(delta(&host, &["--json"]).exits(0).summary()["interrupted"].is_null());
    }
    assert!(interrupted > 0, "none was interrupted while it changed something");
}

/// Whether the repository knows of a restore that has begun to change something, and is not done.
fn is_unfinished(host: &Host) -> bool {
    let folder = host.path("repo/restored");
    let records = names(&folder).into_iter();
    records
        .filter_map(|name| fs::read_to_string(folder.join(name)).ok())
        .any(|text| text.contains("\"finished\": false"))
}

#[test]
fn a_link_that_somebody_puts_in_leads_nowhere() {
    let host = restored();
    host.write("outside/settings.ini", "mine");
    host.write("outside/again", "mine");
    host.write("outside/extra", "mine");
    let before = stamps(&host.path("outside"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // The directory and a link out of the tree take turns under one name.
                let _ = fs::rename(host.path("out/conf"), host.path("real"));
                let _ = symlink(host.path("outside"), host.path("out/conf"));
                let _ = fs::remove_file(host.path("out/conf"));
                let _ = fs::rename(host.path("real"), host.path("out/conf"));
            }
        });
        for _ in 0..30 {
            let _ = fs::write(host.path("real/settings.ini"), "wrong"); // whichever name it has
            let _ = fs::write(host.path("out/conf/mine"), "wrong");
            delta(&host, &[]); // it may fail
            fs::write(host.path("outside/settings.ini"), "mine").expect("written");
            for name in ["settings.ini", "again", "extra"] {
                assert_eq!(fs::read(host.path("outside").join(name)).expect("read"), b"mine", "{name}");
            }
            assert!(names(&host.path("outside")).iter().filter(|name| *name != "mine").count() == 3);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(stamps(&host.path("outside"))[&host.path("outside/again")], before[&host.path("outside/again")]);
    let _ = fs::remove_file(host.path("out/conf"));
    let _ = fs::rename(host.path("real"), host.path("out/conf"));
    delta(&host, &[]).exits(0);
    is_whole(&host);
}

#[test]
fn a_link_that_stands_for_a_directory_is_not_looked_through() {
    let host = restored();
    fs::rename(host.path("out/conf"), host.path("outside")).expect("renamed");
    symlink("../outside", host.path("out/conf")).expect("linked");
    host.write("outside/mine", "mine");
    let before = stamps(&host.path("outside"));
    delta(&host, &[]).exits(0).says("replace conf/  (a link stands there)").says("create  conf/settings.ini");
    is_whole(&host);
    assert_eq!(names(&host.path("outside")), ["again", "mine", "settings.ini"]);
    assert_eq!(stamps(&host.path("outside"))[&host.path("outside/mine")], before[&host.path("outside/mine")]);
}

// Everything at once

#[test]
fn whatever_was_changed_at_random_becomes_what_the_backup_holds() {
    let mut dice = Dice::new();
    for round in 0..25 {
        let host = if round % 5 == 0 { Host::new() } else { Host::quick() };
        let entries = 5 + dice.number(60) as usize;
        grow(&mut dice, &host.path("app"), entries);
        let source = Listing::of(&host.path("app")).storable();
        host.ok(&["backup", "app", "--to", "repo"]);
        host.ok(&["restore", "repo", "--into", "out"]);
        let changes = 1 + dice.number(40) as usize;
        spoil(&mut dice, &host.path("out"), changes);
        let alike = if is_root() { Alike::Fully } else { Alike::ButOwners };
        delta(&host, &[]).exits(0);
        source.is_like(&Listing::of(&host.path("out")), alike);
        let before = stamps(&host.path("out"));
        delta(&host, &[]).exits(0).says("nothing to do");
        assert_eq!(stamps(&host.path("out")), before);
    }
}

/// Changes a tree at random. What an ordinary user may not do is left undone.
fn spoil(dice: &mut Dice, root: &Path, changes: usize) {
    for number in 0..changes {
        let all: Vec<PathBuf> = stamps(root).into_keys().collect();
        let path = dice.pick(&all).clone();
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        let other = dice.pick(&all).clone();
        let new = if found.is_dir() {
            path.join(format!("new{number}"))
        } else {
            path.with_file_name(format!("new{number}"))
        };
        let size = u32::try_from(found.len().min(1 << 30)).expect("32 bits");
        let _ = match dice.number(17) {
            0..3 if found.is_file() => write_at(&path, b"other", u64::from(dice.number(size.max(1)))),
            3 if found.is_file() => resize(&path, u64::from(dice.number(size.saturating_mul(2).max(1)))),
            4 if found.is_file() => write_at(&path, &vec![0; 300_000], u64::from(dice.number(size.max(1)))),
            5 if path != root && found.is_dir() => fs::remove_dir_all(&path),
            5 if path != root => fs::remove_file(&path),
            6 if path != root && !found.is_dir() => fs::remove_file(&path).and_then(|()| fs::create_dir(&path)),
            7 if path != root && !found.is_dir() => fs::remove_file(&path).and_then(|()| symlink("/etc", &path)),
            7 if path != root => fs::remove_dir_all(&path).and_then(|()| symlink("/etc", &path)),
            8 if path != root && !found.is_symlink() => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700 | dice.number(0o10000)))
            }
            9 if is_root() => std::os::unix::fs::lchown(&path, Some(dice.number(3)), Some(dice.number(3))),
            10 => {
                set_time(&path, i64::from(dice.number(2_000_000_000)), 7);
                Ok(())
            }
            11 if !found.is_symlink() => {
                rustix::fs::lsetxattr(&path, "user.comment", b"mine", XattrFlags::empty()).map_err(Into::into)
            }
            12 if !found.is_symlink() => {
                let name = *dice.pick(&["user.comment", "user.medium", "system.posix_acl_access", "user.empty"]);
                rustix::fs::lremovexattr(&path, name).map_err(Into::into)
            }
            13 if other.is_file() && found.is_file() && path != other => {
                fs::remove_file(&path).and_then(|()| fs::hard_link(&other, &path))
            }
            14 if other.is_file() => fs::hard_link(&other, &new),
            15 if path != root => fs::rename(&path, &new),
            _ => fs::create_dir(&new).and_then(|()| fs::write(new.join("file"), "mine")),
        };
    }
}

fn write_at(path: &Path, bytes: &[u8], at: u64) -> std::io::Result<()> {
    File::options().write(true).open(path)?.write_all_at(bytes, at)
}

fn resize(path: &Path, size: u64) -> std::io::Result<()> {
    File::options().write(true).open(path)?.set_len(size)
}

#[test]
fn another_directory_under_the_same_path_is_not_the_one_that_was_backed_up() {
    let host = Host::new();
    host.write("app/a", "one");
    host.ok(&["backup", "app", "--to", "repo"]);
    fs::rename(host.path("app"), host.path("old")).expect("renamed");
    host.write("app/precious", "somebody's");
    host.run(&["restore", "repo", "--delta", "--into", "app"])
        .exits(2)
        .says("it is another directory than the one that was backed up");
    assert!(host.path("app/precious").exists());
}

#[test]
fn a_repository_inside_of_the_directory_is_never_in_danger() {
    let host = Host::new();
    host.write("app/x/file", "one");
    host.ok(&["backup", "app", "--to", "repo"]);
    fs::rename(host.path("repo"), host.path("app/x/repo")).expect("moved");
    for only in [&[][..], &["--only", "x"]] {
        let arguments = [&["restore", "app/x/repo", "--delta", "--into", "app"], only].concat();
        host.run(&arguments).exits(2).says("the repository lies inside of");
    }
    assert!(host.path("app/x/repo/repository.json").exists());
}

#[test]
fn a_manifest_that_was_changed_says_nothing_of_what_stays() {
    let host = Host::new();
    host.write("app/keep/precious", "left out");
    host.write("app/a", "one");
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "keep/"]);
    let path = host.backup_folder().join("manifest.json");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replacen("keep/", "keeq/", 1)).expect("written");
    host.run(&["restore", "repo", "--delta", "--into", "app"]).exits(3).says("its manifest cannot be believed");
    assert!(host.path("app/keep/precious").exists());
}

#[test]
fn what_was_put_right_in_part_is_not_known_for_the_rest() {
    let host = Host::new();
    host.write("app/a", "one");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.write("other/precious", "somebody's");
    host.ok(&["restore", "repo", "--delta", "--into", "other", "--only", "a", "--any-directory"]);
    host.run(&["restore", "repo", "--delta", "--into", "other"]).exits(2).says("is not known to the repository");
    assert!(host.path("other/precious").exists());
}
