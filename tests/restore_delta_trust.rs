//! `restore --delta` where something is in its way: what cannot be done is said before the first change, what ends half-way
//! shows nothing to strangers and is finished by the same command, and what no backup holds stays.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::mounts::{Disk, in_own_mounts};
use common::tree::{Alike, Listing, set_time};
use common::{Host, Ran, as_ordinary_user, finish, names, open_to_all, skip};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

const MIB: usize = 1 << 20;
const ORDINARY: u32 = 65534;
/// What a restore that was killed may leave.
const LEFT: &str = ".jetbak-tmp-delta-0123456789abcdef";

/// A machine with one backup in `repo`, restored to `out`.
fn restored() -> Host {
    let host = Host::quick_with_app();
    host.write("app/zbig", vec![7; 3 * MIB]);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    host
}

fn delta(host: &Host, more: &[&str]) -> Ran {
    host.run(&[&["restore", "repo", "--delta", "--into", "out"][..], more].concat())
}

#[track_caller]
fn is_whole(host: &Host) {
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path("out")), Alike::Fully);
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("looked at").mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

fn fill(path: &Path, byte: u8, bytes: usize) {
    fs::write(path, vec![byte; bytes]).expect("written");
}

/// The same command, in which no file can be written beyond so many bytes: a disk that fails half-way, at a known place.
fn limited(command: &Command, bytes: usize) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", bytes / 512);
    shell.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        shell.env(name, value);
    }
    shell.current_dir(command.get_current_dir().expect("a directory")).stdin(Stdio::null());
    shell
}

/// As a restore that was killed leaves the repository's record of the directory.
fn mark_interrupted(host: &Host) {
    let folder = host.path("repo/restored");
    let name = names(&folder).pop().expect("a record");
    let text = fs::read_to_string(folder.join(&name)).expect("read");
    assert!(text.contains("\"finished\": true"));
    fs::write(folder.join(name), text.replace("\"finished\": true", "\"finished\": false")).expect("written");
}

fn is_unfinished(host: &Host) -> bool {
    let folder = host.path("repo/restored");
    let text = |name: &String| fs::read_to_string(folder.join(name)).expect("read");
    names(&folder).iter().any(|name| text(name).contains("\"finished\": false"))
}

/// Gives the directory to an ordinary user, who then can restore into it.
fn give_to_ordinary_user(host: &Host) {
    open_to_all(host, "repo");
    let owner = format!("{ORDINARY}:{ORDINARY}");
    let given = Command::new("chown").args(["-R", &owner]).arg(host.path("out")).status();
    assert!(given.expect("chown runs").success());
}

fn ordinary(host: &Host, more: &[&str]) -> Command {
    let arguments = ["restore", "repo", "--delta", "--into", "out", "--owner", "current", "--state-dir", "no-state"];
    as_ordinary_user(host, host.command(&[&arguments[..], more].concat()))
}

// What ends half-way

#[test]
fn what_becomes_private_is_private_before_its_content_comes() {
    let host = Host::quick_with_app();
    host.write("app/private/new", "secret");
    host.write("app/secret", vec![7; 3 * MIB]);
    set_mode(&host.path("app/private"), 0o700);
    set_mode(&host.path("app/secret"), 0o600);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    fill(&host.path("out/secret"), 1, 3 * MIB);
    set_mode(&host.path("out/secret"), 0o644);
    set_mode(&host.path("out/private"), 0o755);
    fs::remove_file(host.path("out/private/new")).expect("removed");

    let command = host.command(&["restore", "repo", "--delta", "--into", "out"]);
    let ran = finish(limited(&command, 2 * MIB)).exits(1);
    ran.says("out/secret: file too large").says("out is changed in part: ").says("the same command, repeated");
    let file = File::open(host.path("out/secret")).expect("opened");
    let mut byte = [0];
    let mut at = |offset: usize| file.read_exact_at(&mut byte, offset as u64).map(|()| byte[0]).expect("read");
    assert_eq!((at(0), at(3 * MIB - 1)), (7, 1), "half of it is written");
    assert_eq!((mode(&host.path("out/secret")), mode(&host.path("out/private"))), (0o600, 0o700));
    // The repository knows that the directory is neither the one nor the other.
    assert!(is_unfinished(&host));
    delta(&host, &[]).exits(0).says("goes on after a restore of 000001-");
    is_whole(&host);
    assert!(!is_unfinished(&host));
}

#[test]
fn directories_that_an_ordinary_user_had_closed_are_closed_again_after_an_error() {
    if !is_root() {
        return skip("only root gives directories away");
    }
    let host = Host::quick_with_app();
    host.write("app/zbig", vec![7; 3 * MIB]);
    set_mode(&host.path("app/conf"), 0o500);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    give_to_ordinary_user(&host);
    fs::write(host.path("out/conf/settings.ini"), "wrong").expect("written");
    fill(&host.path("out/zbig"), 1, 3 * MIB);
    let mut command = limited(&ordinary(&host, &[]), 2 * MIB);
    command.uid(ORDINARY).gid(ORDINARY);
    finish(command).exits(1).says("zbig: file too large");
    assert_eq!(mode(&host.path("out/conf")), 0o500);
    assert_eq!(
        fs::read(host.path("out/conf/settings.ini")).expect("read"),
        fs::read(host.path("app/conf/settings.ini")).expect("read")
    );
    // What a kill leaves open is a difference like any other.
    set_mode(&host.path("out/conf"), 0o700);
    finish(ordinary(&host, &["--dry-run"])).exits(0).prints("change  conf/  (mode");
    finish(ordinary(&host, &[])).exits(0);
    assert_eq!(mode(&host.path("out/conf")), 0o500);
    finish(ordinary(&host, &[])).exits(0).says("nothing to do");
}

#[test]
fn a_disk_that_fills_up_half_way_is_named_and_the_same_command_goes_on() {
    if !in_own_mounts("a_disk_that_fills_up_half_way_is_named_and_the_same_command_goes_on") {
        return;
    }
    // Links take space that cannot be known beforehand.
    let host = Host::quick_with_app();
    for number in 0..200 {
        symlink("x".repeat(1000), host.path(format!("app/link{number:03}"))).expect("linked");
    }
    host.ok(&["backup", "app", "--to", "repo"]);
    let disk = Disk::mount(&host, "disk", 4096);
    host.ok(&["restore", "repo", "--delta", "--any-directory", "--into", "disk"]);
    for number in 0..200 {
        fs::remove_file(disk.path().join(format!("link{number:03}"))).expect("removed");
    }
    // What eats the space is an extra: the last thing to go, because nobody knew that the links would not fit.
    disk.leave(64 * 4096);
    let ran = host.run(&["restore", "repo", "--delta", "--into", "disk", "--only", "."]);
    let ran = ran.exits(1).says("cannot create the link ").says("[JET_errDiskFull, -1808]");
    ran.says("disk is changed in part: ").says("of 202 changes are made; the same command, repeated");
    assert!(is_unfinished(&host));
    let made = names(disk.path()).iter().filter(|name| name.starts_with("link")).count();
    assert!(made > 0 && made < 200, "{made} links");
    disk.give_back();
    host.ok(&["restore", "repo", "--delta", "--into", "disk"]).says("goes on after");
    Listing::of(&host.path("app")).is_like(&Listing::of(disk.path()), Alike::Fully);
    assert!(!is_unfinished(&host));
}

#[test]
fn what_an_interrupted_restore_left_goes_or_is_named() {
    let host = Host::quick_with_app();
    host.write("app/cache/one", "made anew");
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "/cache/", "--exclude", ".*"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    for folder in ["out", "out/conf", "out/cache"] {
        host.write(&format!("{folder}/{LEFT}"), "half a file");
    }
    host.write("out/.mine", "mine");
    // With --only, in the directories on the way to what is named.
    delta(&host, &["--only", "wal.1"]).exits(0).says(&format!("delete  {LEFT}"));
    assert!(!host.path("out").join(LEFT).exists() && host.path("out/conf").join(LEFT).exists());
    mark_interrupted(&host);
    let ran = delta(&host, &["--only", "wal.1"]).exits(0).says(&format!("conf/{LEFT} was left by it"));
    ran.says("with --only it is not finished: repeat the command without --only");
    assert!(is_unfinished(&host), "a part does not make the whole");
    // Whole, also where the backup left out what has such names; below what was left out it is named.
    let ran = delta(&host, &[]).exits(0).says(&format!("delete  conf/{LEFT}"));
    ran.says(&format!("cache/{LEFT} was left by it, and can be removed"));
    assert_eq!(names(&host.path("out/conf")), ["settings.ini"]);
    assert!(host.path("out/.mine").exists() && !is_unfinished(&host));
}

// What is in the way

#[test]
fn a_directory_that_gives_way_is_looked_through_also_with_only() {
    let host = restored();
    fs::remove_file(host.path("out/wal.1")).expect("removed");
    let bank = common::sqlite::found_bank(&host.path("out/wal.1/bank.db"), "wal");
    for more in [&["--only", "wal.1"][..], &[], &["--dry-run"]] {
        delta(&host, more).exits(5).says("out/wal.1/bank.db is open");
    }
    assert!(host.path("out/wal.1/bank.db").exists());
    drop(bank);
    delta(&host, &["--only", "wal.1"]).exits(0).says("replace wal.1  (a directory stands there)");
    is_whole_but_times(&host);
}

#[track_caller]
fn is_whole_but_times(host: &Host) {
    delta(host, &[]).exits(0);
    is_whole(host);
}

#[test]
fn a_mount_below_what_gives_way_is_refused_also_with_only() {
    if !in_own_mounts("a_mount_below_what_gives_way_is_refused_also_with_only") {
        return;
    }
    let host = restored();
    fs::remove_file(host.path("out/wal.1")).expect("removed");
    fs::create_dir_all(host.path("out/wal.1/deep")).expect("created");
    host.write("out/wal.1/a", "mine");
    let disk = Disk::mount(&host, "out/wal.1/deep/disk", 64);
    delta(&host, &["--only", "wal.1"]).exits(2).says("something is mounted on ").says("Nothing was changed.");
    assert!(host.path("out/wal.1/a").exists());
    drop(disk);
    fs::remove_dir(host.path("out/wal.1/deep/disk")).expect("removed");
    delta(&host, &["--only", "wal.1"]).exits(0);
    // A file system for reading only is said before anything is tried; what would be done can still be seen.
    let disk = Disk::mount(&host, "disk", 8192);
    host.ok(&["restore", "repo", "--delta", "--any-directory", "--into", "disk"]);
    host.write("disk/extra", "mine");
    let closed = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status();
    assert!(closed.expect("mount runs").success());
    let run = |more: &[&str]| host.run(&[&["restore", "repo", "--delta", "--into", "disk"], more].concat());
    run(&[]).exits(1).says("mounted for reading only").says("Nothing was changed.");
    run(&["--dry-run"]).exits(0).prints("delete  extra").says("it could not be done now: ");
    assert!(!is_unfinished(&host));
}

#[test]
fn what_belongs_to_others_is_said_before_the_first_change() {
    if !is_root() {
        return skip("only root gives directories away");
    }
    let host = restored();
    give_to_ordinary_user(&host);
    for name in ["wal.1", "wal.2", "zbig", "conf/settings.ini"] {
        fs::write(host.path("out").join(name), "wrong").expect("written");
    }
    fs::create_dir_all(host.path("out/extra/theirs")).expect("created");
    host.write("out/extra/theirs/file", "of root");
    let own = |name: &str| std::os::unix::fs::chown(host.path(name), Some(ORDINARY), Some(ORDINARY)).expect("given");
    own("out/extra");
    std::os::unix::fs::chown(host.path("out/conf"), Some(0), Some(0)).expect("taken");
    let ran = finish(ordinary(&host, &[])).exits(1).says("[JET_errFileAccessDenied, -1032]");
    let ran = ran.says("out/conf belongs to another user").says("out/extra/theirs belongs to another user");
    ran.says("Nothing was changed.");
    assert_eq!(fs::read(host.path("out/wal.1")).expect("read"), b"wrong");
    own("out/conf");
    own("out/extra/theirs");
    finish(ordinary(&host, &[])).exits(0);
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path("out")), Alike::ButOwners);
}

#[test]
fn what_nobody_may_change_is_said_before_the_first_change() {
    let host = restored();
    fs::write(host.path("out/wal.1"), "wrong").expect("written");
    fs::write(host.path("out/wal.2"), "wrong").expect("written");
    host.write("out/extra/deep/mine", "mine");
    let chattr = |how: &str, name: &str| {
        let ran = Command::new("chattr").arg(how).arg(host.path(name)).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    for (set, unset, name, says) in [
        ("+i", "-i", "out/wal.2", "out/wal.2 is immutable"),
        ("+a", "-a", "out/wal.2", "out/wal.2 is append-only"),
        ("+i", "-i", "out/extra/deep/mine", "out/extra/deep/mine is immutable"),
        ("+i", "-i", "out", "out is immutable"),
    ] {
        if !chattr(set, name) {
            return skip("nobody may make files immutable here");
        }
        let ran = delta(&host, &[]);
        assert!(chattr(unset, name));
        ran.exits(1).says(says).says("Nothing was changed.");
        assert_eq!(fs::read(host.path("out/wal.1")).expect("read"), b"wrong");
    }
    delta(&host, &[]).exits(0);
    is_whole(&host);
}

#[test]
fn a_program_that_runs_is_not_written_into() {
    let host = Host::quick_with_app();
    let copied = Command::new("cp").args(["/bin/sleep"]).arg(host.path("app/program")).status();
    assert!(copied.expect("cp runs").success());
    File::options().write(true).open(host.path("app/program")).expect("opened").set_len(2 * MIB as u64).expect("grown");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    // By another process: a handle that another test's child inherits would keep the program from being run.
    let program = host.path("out/program");
    let script = "printf x | dd of=\"$1\" bs=1 seek=2000000 conv=notrunc 2>&1";
    let spoilt = Command::new("sh").args(["-c", script, "sh"]).arg(&program).stdout(Stdio::null()).status();
    assert!(spoilt.expect("dd runs").success());
    fs::write(host.path("out/wal.1"), "wrong").expect("written");
    let Ok(mut running) = Command::new(&program).arg("1000").spawn() else { return skip("no program runs here") };
    let ran = delta(&host, &[]);
    running.kill().expect("killed");
    running.wait().expect("ended");
    ran.exits(5).says("out/program is a program that runs at the moment").says("Nothing was changed.");
    assert_eq!(fs::read(host.path("out/wal.1")).expect("read"), b"wrong");
    delta(&host, &[]).exits(0);
    is_whole(&host);
}

#[test]
fn the_space_that_is_needed_is_what_is_needed_at_a_time() {
    if !in_own_mounts("the_space_that_is_needed_is_what_is_needed_at_a_time") {
        return;
    }
    let host = Host::quick();
    for number in 0..100 {
        host.write(&format!("app/{number}"), vec![1; 16 * 1024]);
    }
    host.write("app/large", vec![1; MIB]);
    host.ok(&["backup", "app", "--to", "repo"]);
    let disk = Disk::mount(&host, "disk", 8192);
    let run = || host.run(&["restore", "repo", "--delta", "--any-directory", "--into", "disk"]);
    run().exits(0);
    // Each file replaces its predecessor before the next one comes.
    for number in 0..100 {
        fill(&disk.path().join(number.to_string()), 2, 16 * 1024);
    }
    disk.leave(256 * 1024);
    run().exits(0);
    // What goes makes room for what comes, where there is no other room.
    fs::remove_file(disk.path().join("large")).expect("removed");
    disk.leave(64 * 1024);
    run().exits(0).says("delete  eaten");
    Listing::of(&host.path("app")).is_like(&Listing::of(disk.path()), Alike::Fully);
    fs::remove_file(disk.path().join("large")).expect("removed");
    let _kept = Disk::mount(&host, "small", 512);
    host.run(&["restore", "repo", "--delta", "--any-directory", "--into", "small"]).exits(1).says("are needed");
}

// What stays

#[test]
fn what_no_backup_holds_stays() {
    let host = restored();
    let special = |name: &str, kind| rustix::fs::mknodat(CWD, host.path(name), kind, Mode::RUSR, 0).expect("made");
    fs::create_dir_all(host.path("out/run/deep")).expect("created");
    special("out/fifo", FileType::Fifo);
    special("out/run/deep/socket", FileType::Socket);
    host.write("out/run/pid", "1");
    host.write("out/run/deep/lock", "");
    let ran = delta(&host, &[]).exits(0).says("delete  run/pid").says("delete  run/deep/lock");
    ran.says("2 entries stay: sockets, fifos and devices are in no backup");
    assert_eq!(names(&host.path("out/run/deep")), ["socket"]);
    assert_eq!(names(&host.path("out/run")), ["deep"]);
    assert!(host.path("out/fifo").exists());
    let summary = delta(&host, &["--json"]).exits(0).summary();
    assert_eq!((&summary["kept"], &summary["special"], &summary["deleted"]), (&2.into(), &2.into(), &0.into()));
    // Where the backup holds something under that name, it comes back.
    fs::remove_file(host.path("out/wal.1")).expect("removed");
    special("out/wal.1", FileType::Fifo);
    delta(&host, &[]).exits(0).says("replace wal.1  (a special file stands there)");
    // A file in the place of a socket is a file.
    fs::remove_file(host.path("out/fifo")).expect("removed");
    host.write("out/fifo", "a file");
    delta(&host, &[]).exits(0).says("delete  fifo");
}

#[test]
fn what_was_left_out_stays_also_below_what_the_backup_does_not_hold() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "*.keep", "--exclude-caches"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    host.write("out/new/deep/a.keep", "precious");
    host.write("out/new/deep/other", "extra");
    host.write("out/new/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    host.write("out/new/cache/entry", "made anew");
    host.write("out/gone/file", "extra");
    let ran = delta(&host, &[]).exits(0).says("delete  new/deep/other").says("delete  gone/  (with 1 entry in it)");
    ran.says("2 entries stay: left out when the backup was made");
    assert_eq!(names(&host.path("out/new/deep")), ["a.keep"]);
    assert_eq!(names(&host.path("out/new/cache")), ["CACHEDIR.TAG", "entry"]);
    delta(&host, &[]).exits(0).says("nothing to do");
    // A directory that a file has to replace cannot stay for them.
    fs::remove_file(host.path("out/wal.1")).expect("removed");
    host.write("out/wal.1/deep/b.keep", "precious");
    fs::write(host.path("out/wal.2"), "wrong").expect("written");
    for more in [&[][..], &["--only", "wal.1"], &["--dry-run"]] {
        delta(&host, more).exits(2).says("wal.1/deep/b.keep").says("Nothing was changed.");
    }
    assert_eq!(fs::read(host.path("out/wal.1/deep/b.keep")).expect("read"), b"precious");
    assert_eq!(fs::read(host.path("out/wal.2")).expect("read"), b"wrong");
}

#[test]
fn labels_of_security_modules_stay_with_the_machine() {
    let host = restored();
    for name in ["out/wal.1", "out/conf"] {
        if rustix::fs::lsetxattr(host.path(name), "security.mine", b"label", XattrFlags::empty()).is_err() {
            return skip("nobody may set labels here");
        }
    }
    delta(&host, &[]).exits(0).says("nothing to do");
    set_mode(&host.path("out/wal.1"), 0o604);
    delta(&host, &[]).exits(0).says("change  wal.1  (mode)");
    let mut value = [0; 16];
    let found = rustix::fs::lgetxattr(host.path("out/wal.1"), "security.mine", &mut value).expect("there");
    assert_eq!(&value[..found], b"label");
}

// What is meant

#[test]
fn only_the_whole_is_the_whole() {
    let host = restored();
    host.write("out/extra", "mine");
    fs::write(host.path("out/wal.1"), "wrong").expect("written");
    mark_interrupted(&host);
    let ran = delta(&host, &["--only", "."]).exits(0).says("delete  extra").says("goes on after");
    assert!(!ran.stderr.contains("in part"));
    is_whole(&host);
    assert!(!is_unfinished(&host));
}

#[test]
fn directories_above_what_is_named_keep_their_times() {
    let host = restored();
    fs::write(host.path("out/conf/settings.ini"), "wrong").expect("written");
    host.write("out/extra", "mine");
    set_time(&host.path("out/conf"), 1_000_000_000, 5);
    set_time(&host.path("out"), 1_100_000_000, 7);
    let times = || ["out", "out/conf"].map(|name| fs::metadata(host.path(name)).expect("looked at").modified().ok());
    let before = times();
    fs::remove_file(host.path("out/wal.1")).expect("removed");
    set_time(&host.path("out"), 1_100_000_000, 7);
    delta(&host, &["--only", "wal.1", "conf/settings.ini"]).exits(0).says("create  wal.1");
    assert_eq!(times(), before);
    assert_eq!(host.sha256("out/conf/settings.ini"), host.sha256("app/conf/settings.ini"));
}

#[test]
fn a_link_that_leads_nowhere_is_no_target() {
    let host = restored();
    symlink("gone", host.path("way")).expect("linked");
    let ran = host.run(&["restore", "repo", "--delta", "--into", "way"]).exits(2);
    ran.says("way is a link to gone, where nothing is").says("Mend the link");
}

#[test]
fn what_the_repository_says_cannot_steer_the_terminal() {
    let host = restored();
    mark_interrupted(&host);
    let folder = host.path("repo/restored");
    let path = folder.join(names(&folder).pop().expect("a record"));
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("\"id\": \"", "\"id\": \"\\u001b[31m")).expect("written");
    let ran = delta(&host, &[]).exits(0).says("goes on after a restore of \\u{1b}[31m000001-");
    assert!(!ran.stderr.contains('\u{1b}'));
}
