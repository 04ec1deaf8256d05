//! What goes into a backup comes out of it: trees of every kind of entry, backed up, proven, restored with jetbak and
//! without it, and compared by system calls and by `diff`.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::forge::{flip, forge};
use common::tree::{Alike, CAPABILITY, Listing, acl, grow, make_deep, set_time};
use common::{Dice, Host, Ran, as_ordinary_user, eventually, finish, odd_name, open_to_all, skip};
use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags};
use serde_json::Value;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    let set = rustix::fs::lsetxattr(path, name, value, XattrFlags::empty());
    if let Err(errno) = set {
        skip(&format!("{name} on {}: {errno}", path.display()));
    }
    set.is_ok()
}

/// `diff -r --no-dereference` finds nothing.
#[track_caller]
fn diff_finds_nothing(one: &Path, other: &Path) {
    let mut diff = Command::new("diff");
    diff.args(["-r", "--no-dereference"]).arg(one).arg(other);
    let ran = finish(diff).exits(0);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
}

/// `cp -a` of a path.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

/// The list of files of a backup, without what no restore can bring back: inodes and times of change.
fn list(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("files.jsonl")).expect("read");
    text.lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let fields = line.as_object_mut().expect("an object");
            fields.remove("inode").expect("an inode");
            fields.remove("changed").expect("a time");
            fields.remove("blocks"); // their hashes are those of one repository
            line
        })
        .collect()
}

/// Backs up, verifies, restores and compares; then the same once more, from what was restored.
fn goes_there_and_back(host: &Host, dice: &mut Dice, entries: usize) {
    let app = host.path("app");
    let grown = grow(dice, &app, entries);
    let source = Listing::of(&app).storable();
    host.ok(&["backup", "app", "--to", "repo", "--json"]);
    let manifest = fs::read(host.backup_folder().join("manifest.json")).expect("read");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let left_out = manifest["left_out"].as_array().expect("a list");
    assert_eq!(left_out.len(), grown.special.len(), "{left_out:?}");
    source.is_like(&Listing::of(&app).storable(), Alike::Fully); // the storage is as it was

    host.verifies("repo");
    host.ok(&["restore", "repo", "--into", "out"]);
    let restored = Listing::of(&host.path("out"));
    source.is_like(&restored, if is_root() { Alike::Fully } else { Alike::ButOwners });
    copy(&host.backup_folder().join("data"), &host.path("copy"));
    source.is_like(&Listing::of(&host.path("copy")), Alike::AsStored);
    if is_root() {
        host.ok(&["backup", "out", "--to", "again"]);
        let again = host.path("again/backups").join(&host.backups("again")[0]);
        assert_eq!(list(&host.backup_folder()), list(&again));
    }
    for special in &grown.special {
        fs::remove_file(app.join(special)).expect("removed");
    }
    diff_finds_nothing(&app, &host.path("out"));
    diff_finds_nothing(&app, &host.path("copy"));
}

#[test]
fn trees_of_every_kind_of_entry_go_there_and_back() {
    let mut dice = Dice::new();
    for _ in 0..20 {
        let entries = 5 + dice.number(50) as usize;
        goes_there_and_back(&Host::quick(), &mut dice, entries);
    }
}

#[test]
fn trees_of_every_kind_of_entry_go_there_and_back_on_the_disk() {
    let mut dice = Dice::new();
    for _ in 0..8 {
        let entries = 10 + dice.number(60) as usize;
        goes_there_and_back(&Host::new(), &mut dice, entries);
    }
}

#[test]
#[ignore = "takes minutes"]
fn many_and_large_trees_go_there_and_back() {
    let mut dice = Dice::new();
    for round in 0..300 {
        let entries = dice.number(if round % 10 == 0 { 2000 } else { 150 }) as usize;
        let host = if round % 3 == 0 { Host::new() } else { Host::quick() };
        goes_there_and_back(&host, &mut dice, entries);
    }
}

// Sizes and numbers

#[test]
fn paths_longer_than_the_kernel_takes_at_once_go_there_and_back() {
    let host = Host::quick();
    let folder = make_deep(&host.path("app"), (0..30).map(|number| format!("{number:0>250}")));
    let (file, other) = ("file", "other name");
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let opened = rustix::fs::openat(&folder, file, flags, Mode::RUSR | Mode::WUSR).expect("created");
    File::from(opened).write_all(b"deep").expect("written");
    rustix::fs::linkat(&folder, file, &folder, other, AtFlags::empty()).expect("linked");
    rustix::fs::symlinkat(file, &folder, "link").expect("linked");
    rustix::fs::mkdirat(&folder, "empty", Mode::RWXU).expect("created");
    let source = Listing::of(&host.path("app"));
    assert_eq!(source.len(), 35);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["verify", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    source.is_like(&Listing::of(&host.path("out")), Alike::Fully);
    let lines = list(&host.backup_folder());
    let path = lines.last().expect("a line")["path"].as_str().expect("text");
    assert!(path.len() > 7000, "{path}");
    host.ok(&["restore", "repo", "--into", "part", "--only", path]);
    assert_eq!(Listing::of(&host.path("part")).len(), 32);
}

/// A file of holes with a few bytes here and there goes there and back as such.
fn a_sparse_file_goes_there_and_back(host: &Host, bytes: u64) {
    let file = File::create(host.path("app/disk.img")).expect("created");
    file.set_len(bytes).expect("sized");
    for (text, place) in [("begin", 1 << 20), ("middle", bytes / 2), ("end", bytes - 3)] {
        file.write_all_at(text.as_bytes(), place).expect("written");
    }
    let written = file.metadata().expect("looked at");
    let summary = host.ok(&["backup", "app", "--to", "repo", "--json"]).summary();
    assert_eq!(summary["bytes"], written.len());
    host.ok(&["verify", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    for path in [host.stored("disk.img"), host.path("out/disk.img")] {
        let copy = File::open(path).expect("opened");
        let metadata = copy.metadata().expect("looked at");
        assert_eq!(metadata.len(), written.len());
        assert!(metadata.blocks() <= written.blocks() + 64, "{} blocks", metadata.blocks());
        for (text, place) in [("begin", 1 << 20), ("middle", bytes / 2), ("end", bytes - 3)] {
            let mut found = vec![0; text.len()];
            copy.read_exact_at(&mut found, place).expect("read");
            assert_eq!(found, text.as_bytes());
        }
    }
    let line = &list(&host.backup_folder())[1];
    let holes = line["holes"].as_array().expect("holes");
    assert_eq!(holes.len(), 3, "{holes:?}");
    assert_eq!(holes[0], serde_json::json!([0, 1 << 20]));
}

#[test]
fn a_large_file_of_holes_stays_one() {
    a_sparse_file_goes_there_and_back(&Host::quick(), 1 << 30);
}

#[test]
#[ignore = "backup, verify and restore hash a terabyte of zeros each"]
fn a_file_of_a_terabyte_of_holes_stays_one() {
    a_sparse_file_goes_there_and_back(&Host::new(), 1 << 40);
}

#[test]
fn more_holes_than_a_list_holds_are_still_holes() {
    let host = Host::quick();
    let file = File::create(host.path("app/comb")).expect("created");
    let teeth = 70_000_u64;
    for tooth in 0..teeth {
        file.write_all_at(b"x", tooth * 8192).expect("written");
    }
    let source = Listing::of(&host.path("app"));
    host.ok(&["backup", "app", "--to", "repo"]);
    assert_eq!(list(&host.backup_folder())[1]["holes"], Value::Null, "too many to list");
    host.ok(&["restore", "repo", "--into", "out"]);
    source.is_like(&Listing::of(&host.path("out")), Alike::Fully);
}

#[test]
fn thousands_of_names_of_one_file_and_thousands_of_files_go_there_and_back() {
    let host = Host::quick();
    host.write("app/one/name", "many names");
    for number in 0..2000 {
        let folder = host.path(format!("app/one/{}", number % 7));
        fs::create_dir_all(&folder).expect("created");
        fs::hard_link(host.path("app/one/name"), folder.join(number.to_string())).expect("linked");
    }
    fs::create_dir(host.path("app/many")).expect("created");
    for number in 0..20_000 {
        fs::write(host.path(format!("app/many/{number}")), number.to_string()).expect("written");
    }
    let source = Listing::of(&host.path("app"));
    let summary = host.ok(&["backup", "app", "--to", "repo", "--json"]).summary();
    assert_eq!(summary["files"], 22_001);
    assert_eq!(fs::metadata(host.stored("one/name")).expect("looked at").nlink(), 2001);
    host.ok(&["verify", "repo"]);
    let summary = host.ok(&["restore", "repo", "--into", "out", "--json"]).summary();
    assert_eq!((&summary["files"], &summary["directories"]), (&22_001.into(), &9.into()));
    assert_eq!(summary["bytes"], 10 + (0..20_000).map(|n: u32| n.to_string().len()).sum::<usize>());
    source.is_like(&Listing::of(&host.path("out")), Alike::Fully);
}

// Hard links

#[test]
fn a_name_outside_of_the_storage_changes_nothing() {
    let host = Host::quick();
    host.write("app/inside", "shared");
    fs::hard_link(host.path("app/inside"), host.path("outside")).expect("linked");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    assert_eq!(fs::metadata(host.stored("inside")).expect("looked at").nlink(), 1);
    host.ok(&["restore", "repo", "--into", "out"]);
    fs::write(host.path("out/inside"), "changed").expect("written");
    assert_eq!(fs::read(host.path("outside")).expect("read"), b"shared");
}

#[test]
fn names_of_one_file_come_apart_where_one_is_a_log_and_it_is_said() {
    let host = Host::quick();
    for (first, second) in
        [("app/a", "app/wal.1"), ("app/wal.2", "app/z"), ("app/wal.3", "app/wal.4"), ("app/m", "app/n")]
    {
        host.write(first, first);
        fs::hard_link(host.path(first), host.path(second)).expect("linked");
    }
    let ran = host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*"]);
    let what = "are names of one file, and one of them is a log";
    assert_eq!(ran.stderr.matches(what).count(), 3, "no others: {}", ran.stderr);
    let names = ["wal.1 and a", "z and wal.2", "wal.4 and wal.3"];
    names.iter().fold(ran, |ran, names| ran.says(&format!("{names} {what}")));
    let manifest: Value =
        serde_json::from_slice(&fs::read(host.backup_folder().join("manifest.json")).expect("read")).expect("JSON");
    assert_eq!(
        manifest["parted"],
        serde_json::json!([
            {"path": "wal.1", "reason": "another name of a"},
            {"path": "wal.4", "reason": "another name of wal.3"},
            {"path": "z", "reason": "another name of wal.2"},
        ])
    );
    host.ok(&["restore", "repo", "--into", "out"]);
    let links = |name: &str| fs::metadata(host.path("out").join(name)).expect("looked at").nlink();
    assert_eq!(["a", "wal.1", "wal.2", "z", "wal.3", "wal.4", "m", "n"].map(links), [1, 1, 1, 1, 1, 1, 2, 2]);
    assert_eq!(fs::read(host.path("out/z")).expect("read"), b"app/wal.2");

    // Without logs nothing comes apart, and nobody hears of it.
    let ran = host.ok(&["backup", "app", "--to", "other"]);
    assert!(!ran.stderr.contains("names of one file"), "{}", ran.stderr);
}

#[test]
fn a_name_that_became_a_file_of_its_own_after_begin_is_read_as_one() {
    let host = Host::quick();
    host.write("app/a", "first");
    fs::hard_link(host.path("app/a"), host.path("app/b")).expect("linked");
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::remove_file(host.path("app/b")).expect("removed");
    host.write("app/b", "of its own");
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    host.verifies("repo");
    let source = Listing::of(&host.path("app"));
    host.ok(&["restore", "repo", "--into", "out"]);
    source.is_like(&Listing::of(&host.path("out")), Alike::Fully);

    // The other way round: the first name is another file by now, and the second one has the old content.
    fs::remove_file(host.path("app/b")).expect("removed");
    fs::hard_link(host.path("app/a"), host.path("app/b")).expect("linked");
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::remove_file(host.path("app/a")).expect("removed");
    host.write("app/a", "new");
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    host.verifies("repo");
    host.ok(&["restore", "repo", "--into", "out2"]);
    assert_eq!(fs::read(host.path("out2/a")).expect("read"), b"new");
    assert_eq!(fs::read(host.path("out2/b")).expect("read"), b"first");

    // Both still have several names, but not the same ones any more.
    fs::remove_file(host.path("app/b")).expect("removed");
    for name in ["app/b", "app/c", "outside"] {
        fs::hard_link(host.path("app/a"), host.path(name)).expect("linked");
    }
    host.write("other", "of the other");
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::remove_file(host.path("app/b")).expect("removed");
    fs::hard_link(host.path("other"), host.path("app/b")).expect("linked");
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    host.verifies("repo");
    let source = Listing::of(&host.path("app"));
    host.ok(&["restore", "repo", "--into", "out3"]);
    source.is_like(&Listing::of(&host.path("out3")), Alike::Fully);
}

#[test]
fn some_of_several_names_are_restored_as_one_file() {
    let host = Host::quick();
    host.write("app/a", "shared");
    for name in ["b", "c", "folder/d"] {
        fs::create_dir_all(host.path("app/folder")).expect("created");
        fs::hard_link(host.path("app/a"), host.path("app").join(name)).expect("linked");
    }
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "out", "--only", "b"]);
    assert_eq!(common::names(&host.path("out")), ["b"]);
    let summary = host.ok(&["restore", "repo", "--into", "two", "--only", "folder", "--only", "b", "--json"]).summary();
    assert_eq!((&summary["files"], &summary["bytes"]), (&2.into(), &6.into()));
    let (b, d) = (host.path("two/b"), host.path("two/folder/d"));
    assert_eq!(fs::read(&b).expect("read"), b"shared");
    assert_eq!(fs::metadata(&b).expect("looked at").ino(), fs::metadata(&d).expect("looked at").ino());
}

#[test]
fn names_of_a_file_that_could_not_be_read_are_named_as_missing() {
    let host = Host::new();
    host.write("app/a", "closed");
    host.write("app/z", "open");
    fs::hard_link(host.path("app/a"), host.path("app/b")).expect("linked");
    open_to_all(&host, "app");
    fs::set_permissions(host.path("app/a"), fs::Permissions::from_mode(0o000)).expect("closed");
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    let ran = run(&["backup", "app", "--to", "repo", "--keep-going", "--json"]).exits(1);
    let text = fs::read_to_string(host.backup_folder().join("manifest.json")).expect("read");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    let missing: Vec<_> = manifest["excluded"].as_array().expect("a list").iter().map(|one| &one["path"]).collect();
    assert_eq!(missing, ["a", "b"], "{}", ran.stdout);
    host.verifies("repo");
    run(&["restore", "repo", "1", "--into", "out"]).exits(0).says("is incomplete: 2 files could not be read");
    assert_eq!(common::names(&host.path("out")), ["z"]);
}

#[test]
fn names_of_a_file_that_is_damaged_are_left_out_with_it() {
    let host = Host::quick();
    host.write("app/a", "shared");
    host.write("app/z", "sound");
    for name in ["b", "c"] {
        fs::hard_link(host.path("app/a"), host.path("app").join(name)).expect("linked");
    }
    host.ok(&["backup", "app", "--to", "repo"]);
    flip(&host.stored("a"), 0);
    host.run(&["restore", "repo", "--into", "out"]).exits(3).says("a is damaged").says("Nothing was restored.");
    assert!(!host.path("out").exists());
    for only in [&[][..], &["--only", "b", "--only", "c", "--only", "z"]] {
        let arguments = [&["restore", "repo", "--into", "out", "--keep-going", "--json"], only].concat();
        let ran = host.run(&arguments).exits(3);
        assert_eq!(common::names(&host.path("out")), ["z"]);
        let summary = ran.summary();
        let damages = if only.is_empty() { 3 } else { 2 };
        assert_eq!((&summary["damages"], &summary["files"]), (&damages.into(), &1.into()));
        assert_eq!(summary["outcome"], "incomplete");
        fs::remove_dir_all(host.path("out")).expect("removed");
    }
}

// What an ordinary user cannot keep

/// A storage with a file of somebody else, one with setuid, one with a capability, and a directory of root's.
fn mixed(host: &Host) {
    host.write("app/plain", "plain");
    host.write("app/theirs", "theirs");
    host.write("app/setuid", "setuid");
    host.write("app/capable", "capable");
    host.write("app/folder/file", "file");
    chown(host.path("app/theirs"), Some(1), Some(1)).expect("given away");
    chown(host.path("app/setuid"), Some(0), Some(0)).expect("given away");
    fs::set_permissions(host.path("app/setuid"), fs::Permissions::from_mode(0o6755)).expect("set");
    set_xattr(&host.path("app/capable"), "security.capability", CAPABILITY);
    set_time(&host.path("app/theirs"), 1_000_000_000, 123_456_789);
}

fn warnings(ran: &Ran) -> Vec<String> {
    let warnings = ran.json().into_iter().filter(|line| line["type"] == "warning");
    warnings.map(|line| line["message"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn what_an_ordinary_user_cannot_give_is_named() {
    if !is_root() {
        return skip("files of others can only be made by root");
    }
    let host = Host::new();
    mixed(&host);
    host.ok(&["backup", "app", "--to", "repo"]);
    open_to_all(&host, "repo");
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    let ran = run(&["restore", "repo", "--into", "out", "--json"]).exits(0);
    let messages = warnings(&ran);
    for expected in [
        "theirs could not be given its owner daemon (1)",
        "theirs could not be given its group daemon (1)",
        "setuid could not be given its owner root (0)",
        "setuid could not be given its group root (0)",
        "setuid could not be given setuid and setgid, because it has another owner now",
        "capable could not be given the extended attribute security.capability: ",
        ". could not be given its owner root (0)",
        "folder could not be given its owner root (0)",
    ] {
        assert!(messages.iter().any(|message| message.starts_with(expected)), "{expected:?}: {messages:#?}");
    }
    let summary = ran.summary();
    assert_eq!((&summary["outcome"], &summary["not_given"]), (&"completed".into(), &messages.len().into()));
    assert_eq!(summary["warnings"], messages.len());
    let source = Listing::of(&host.path("app"));
    let differences = source.differences(&Listing::of(&host.path("out")), Alike::ButOwners);
    let lines: Vec<_> = differences.lines().collect();
    assert_eq!(lines.len(), 2, "{differences}");
    assert!(lines[0].starts_with("capable: the attribute security.capability is missing"), "{differences}");
    assert_eq!(lines[1], "setuid: the mode is 0755 and should be 6755");

    // Asked to make them its own, it has nothing to complain about, but setuid would lend another one's rights.
    let ran = run(&["restore", "repo", "--into", "mine", "--owner", "current", "--json"]).exits(0);
    let messages = warnings(&ran);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[1].starts_with("setuid could not be given setuid and setgid"), "{messages:?}");
    assert_eq!(fs::metadata(host.path("mine/setuid")).expect("looked at").mode() & 0o7777, 0o755);
}

#[test]
fn the_first_twenty_are_named_and_the_rest_is_counted() {
    if !is_root() {
        return skip("files of others can only be made by root");
    }
    let host = Host::new();
    for number in 0..30 {
        host.write(&format!("app/{number:02}"), "theirs");
        chown(host.path(format!("app/{number:02}")), Some(1), Some(65534)).expect("given away");
    }
    chown(host.path("app"), Some(65534), Some(65534)).expect("given away");
    host.ok(&["backup", "app", "--to", "repo"]);
    open_to_all(&host, "repo");
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    let text = run(&["restore", "repo", "--into", "out"]).exits(0).stderr;
    assert_eq!(text.matches("could not be given its owner daemon (1)").count(), 20, "{text}");
    assert!(text.contains("10 more could not be given; -v names them all"), "{text}");
    let ran = run(&["restore", "repo", "--into", "json", "--json"]).exits(0);
    assert_eq!((warnings(&ran).len(), &ran.summary()["not_given"]), (30, &30.into()), "JSON names them all");
    let text = run(&["restore", "repo", "--into", "all", "-v"]).exits(0).stderr;
    assert_eq!(text.matches("could not be given its owner daemon (1)").count(), 30, "{text}");
    assert!(!text.contains("more could not be given"), "{text}");
    let text = run(&["restore", "repo", "--into", "quiet", "--quiet"]).exits(0).stderr;
    assert!(text.is_empty(), "{text}");
}

#[test]
fn an_ordinary_user_backs_up_what_it_may_read_of_others() {
    if !is_root() {
        return skip("files of others can only be made by root");
    }
    let host = Host::new();
    mixed(&host);
    for name in ["", "repo-place"] {
        fs::create_dir_all(host.path(name)).expect("created");
        fs::set_permissions(host.path(name), fs::Permissions::from_mode(0o777)).expect("opened");
    }
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    let ran = run(&["backup", "app", "--to", "repo", "--json"]).exits(0);
    assert_eq!(warnings(&ran), Vec::<String>::new());
    let source = Listing::of(&host.path("app"));
    host.ok(&["verify", "repo"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    source.is_like(&Listing::of(&host.path("out")), Alike::Fully);
    assert_eq!(fs::metadata(host.stored("setuid")).expect("looked at").mode() & 0o7777, 0o755, "nobody can run it");
}

#[test]
fn a_read_only_file_of_an_ordinary_user_keeps_its_attributes() {
    let host = Host::new();
    host.write("app/read-only", "as it is");
    host.write("app/folder/file", "as it is");
    let named = set_xattr(&host.path("app/read-only"), "user.comment", b"mine");
    let named = named && set_xattr(&host.path("app/folder"), "user.comment", b"mine");
    if !named {
        return skip("no attributes here");
    }
    let acl = acl(&[(1, 4, !0), (2, 4, 4711), (4, 4, !0), (16, 4, !0), (32, 0, !0)]);
    set_xattr(&host.path("app/read-only"), "system.posix_acl_access", &acl);
    fs::set_permissions(host.path("app/folder"), fs::Permissions::from_mode(0o555)).expect("set");
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o777)).expect("opened");
    if is_root() {
        for name in ["", "read-only", "folder", "folder/file"] {
            chown(host.path("app").join(name), Some(65534), Some(65534)).expect("given away");
        }
    }
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    run(&["backup", "app", "--to", "repo"]).exits(0);
    let ran = run(&["restore", "repo", "--into", "out", "--json"]).exits(0);
    assert_eq!(warnings(&ran), Vec::<String>::new());
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path("out")), Alike::Fully);
}

// Owners

#[test]
fn owners_come_back_by_name_or_by_number_or_not_at_all() {
    if !is_root() {
        return skip("only root gives files away");
    }
    let host = Host::quick();
    host.write("app/file", "content");
    symlink("file", host.path("app/link")).expect("linked");
    host.ok(&["backup", "app", "--to", "repo"]);
    // As if it came from a machine on which daemon has another number, and somebody is nobody here.
    forge(&host.backup_folder(), |lines| {
        for line in lines.iter_mut() {
            line["uid"] = 4711.into();
            line["gid"] = 4712.into();
            line["user"] = "daemon".into();
            line["group"] = "no-such-group".into();
        }
    });
    for (rule, owner) in [("keep", (1, 4712)), ("numeric", (4711, 4712)), ("current", (0, 0))] {
        host.ok(&["restore", "repo", "--into", rule, "--owner", rule]);
        for name in ["", "file", "link"] {
            let found = fs::symlink_metadata(host.path(rule).join(name)).expect("looked at");
            assert_eq!((found.uid(), found.gid()), owner, "{rule} {name:?}");
        }
    }
    host.ok(&["restore", "repo", "--into", "default"]);
    assert_eq!(fs::metadata(host.path("default/file")).expect("looked at").uid(), 1);
}

// The rest

#[test]
fn logs_come_back_like_everything_else() {
    let host = Host::with_app();
    fs::write(host.path("app").join(odd_name()), "odd").expect("written");
    set_time(&host.path("app/wal.2"), -1, 999_999_999);
    fs::set_permissions(host.path("app/wal.3"), fs::Permissions::from_mode(0o640)).expect("set");
    set_time(&host.path("app"), 1_000_000_000, 1);
    let source = Listing::of(&host.path("app"));
    host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    source.is_like(&Listing::of(&host.path("out")), Alike::Fully);
    copy(&host.backup_folder().join("data"), &host.path("copy"));
    source.is_like(&Listing::of(&host.path("copy")), Alike::AsStored);
}

#[test]
fn special_files_are_reported_and_left_out() {
    let host = Host::new();
    host.write("app/file", "content");
    for name in ["fifo", "folder"] {
        let made =
            Command::new(if name == "fifo" { "mkfifo" } else { "mkdir" }).arg(host.path("app").join(name)).status();
        assert!(made.expect("runs").success());
    }
    let _socket = std::os::unix::net::UnixListener::bind(host.path("app/folder/socket")).expect("bound");
    let ran = host.run_soon(&["backup", "app", "--to", "repo"]).exits(0);
    let ran =
        ran.says("left out fifo: a socket, fifo or device").says("left out folder/socket: a socket, fifo or device");
    assert!(ran.stdout.is_empty());
    let text = fs::read_to_string(host.backup_folder().join("manifest.json")).expect("read");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    let left_out: Vec<_> = manifest["left_out"].as_array().expect("a list").iter().map(|one| &one["path"]).collect();
    assert_eq!(left_out, ["fifo", "folder/socket"]);
    host.ok(&["restore", "repo", "--into", "out"]);
    assert_eq!(common::names(&host.path("out")), ["file", "folder"]);
    assert_eq!(common::names(&host.path("out/folder")), Vec::<String>::new());
}

#[test]
fn a_time_that_cannot_be_written_down_is_named_and_never_made_up() {
    let host = Host::quick();
    host.write("app/far", "from the year 14645");
    set_time(&host.path("app/far"), 400_000_000_000, 0);
    if fs::metadata(host.path("app/far")).expect("looked at").mtime() != 400_000_000_000 {
        return skip("this file system knows no such time");
    }
    host.ok(&["backup", "app", "--to", "repo"]).says("far: not kept: its modification time lies outside of the years");
    let ran = host.ok(&["restore", "repo", "--into", "out"]);
    ran.says("far could not be given its modification time, which the backup does not hold");
    assert!(fs::metadata(host.path("out/far")).expect("looked at").mtime() > 1_000_000_000, "the time of the restore");
}

#[test]
fn a_storage_with_nothing_in_it_goes_there_and_back() {
    let host = Host::quick();
    fs::set_permissions(host.path("app"), fs::Permissions::from_mode(0o1751)).expect("set");
    set_time(&host.path("app"), 5, 6);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    host.ok(&["restore", "repo", "--into", "out"]);
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path("out")), Alike::Fully);
}

#[test]
fn a_file_that_becomes_a_hole_while_it_is_stored_is_restored_with_its_content() {
    // A copy of a repository may lose holes or gain them; the content is what counts.
    let host = Host::new();
    let file = File::create(host.path("app/sparse")).expect("created");
    file.set_len(4 << 20).expect("sized");
    file.write_all_at(&vec![0; 1 << 20], 1 << 20).expect("written"); // zeros that take space
    file.write_all_at(b"end", (4 << 20) - 3).expect("written");
    drop(file);
    let source = Listing::of(&host.path("app"));
    host.ok(&["backup", "app", "--to", "repo"]);
    let folder = host.backup_folder();
    for way in ["never", "always"] {
        let copied = Command::new("cp")
            .args(["-a", &format!("--sparse={way}")])
            .arg(folder.join("data/sparse"))
            .arg(folder.join("data/sparse.new"))
            .status();
        assert!(copied.expect("cp runs").success());
        fs::rename(folder.join("data/sparse.new"), folder.join("data/sparse")).expect("renamed");
        host.ok(&["verify", "repo"]);
        let out: PathBuf = host.path(way);
        host.ok(&["restore", "repo", "--into", way]);
        source.is_like(&Listing::of(&out), Alike::Fully);
    }
    eventually("nothing is left beside", || {
        !common::names(&host.path("")).iter().any(|name| name.starts_with(".jetbak"))
    });
}

#[test]
fn a_name_that_was_passed_from_file_to_file_while_the_backup_ran_is_told() {
    let host = Host::quick();
    host.write("app/a", "precious");
    fs::hard_link(host.path("app/a"), host.path("app/b")).expect("linked");
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::remove_file(host.path("app/a")).expect("removed");
    host.write("app/a", "other");
    fs::hard_link(host.path("app/a"), host.path("kept")).expect("linked");
    host.ok(&["read", "app", "a"]);
    fs::remove_file(host.path("app/a")).expect("removed");
    fs::hard_link(host.path("app/b"), host.path("app/a")).expect("linked");
    host.ok(&["read", "app"]);
    let ran = host.run(&["end", "app"]).exits(6);
    ran.says("b was another name of a when the backup began, and then one of them was replaced");
    assert_eq!(host.backups("repo").len(), 0);
    host.ok(&["end", "app", "--abort"]);
    host.is_tidy("repo");
}
