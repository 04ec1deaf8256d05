//! Backups that build on earlier ones: what is taken over, what is read again, and that each of them is restored as a whole.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use common::tree::{Alike, Listing, set_time};
use common::{Host, Running, names};
use serde_json::Value;

/// The lines of a backup's own list.
fn list(host: &Host, id: &str) -> Vec<Value> {
    let text = fs::read_to_string(host.path("repo/backups").join(id).join("files.jsonl")).expect("read");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The manifest of a backup.
fn manifest(host: &Host, id: &str) -> Value {
    let text = fs::read(host.path("repo/backups").join(id).join("manifest.json")).expect("read");
    serde_json::from_slice(&text).expect("JSON")
}

/// The paths of a backup's own lines.
fn own_lines(host: &Host, id: &str) -> Vec<String> {
    list(host, id).iter().filter_map(|line| line["path"].as_str().map(str::to_owned)).collect()
}

/// The line of a path in a backup's own list.
#[track_caller]
fn line(host: &Host, id: &str, path: &str) -> Value {
    let found = list(host, id).into_iter().find(|line| line["path"] == path);
    found.unwrap_or_else(|| panic!("{path} has no line in {id}"))
}

/// Backs up, and says which backup came of it, with its summary.
#[track_caller]
fn back_up(host: &Host, kind: &str) -> (String, Value) {
    let summary = host.ok(&["backup", "app", "--to", "repo", "--kind", kind, "--json"]).summary();
    (summary["id"].as_str().expect("an id").to_owned(), summary)
}

/// Demands that a backup is restored to what the storage was.
#[track_caller]
fn restores(host: &Host, id: &str, expected: &Listing) {
    let target = format!("out-{id}");
    host.ok(&["restore", "repo", id, "--into", &target]);
    expected.is_like(&Listing::of(&host.path(&target)), Alike::ButOwners);
    fs::remove_dir_all(host.path(&target)).expect("removed");
}

/// Bytes that look like nothing: no block is as another one.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend(state.to_le_bytes());
    }
    content.truncate(bytes);
    content
}

fn flip(path: &Path, offset: u64) {
    let file = File::options().write(true).read(true).open(path).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("written");
}

/// A storage with a file of every sort.
fn varied(host: &Host) {
    for name in ["kept", "grown", "shrunk", "vanished", "renamed", "replaced", "touched", "private"] {
        host.write(
            &format!("app/large/{name}"),
            noise(300_000, name.len() as u64 * 77 + u64::from(name.as_bytes()[0])),
        );
        host.write(&format!("app/small/{name}"), format!("small {name}"));
    }
    host.write("app/log/app.log", noise(200_000, 5));
    host.write("app/log/app.log.1", noise(150_000, 6));
    host.write("app/empty", "");
    host.write("app/was-a-file", "a file");
    host.write("app/was-a-folder/inside", "below");
    host.write("app/gone/deep/er/file", "gone");
    symlink("kept", host.path("app/large/link")).expect("linked");
    symlink("nowhere", host.path("app/other-link")).expect("linked");
    host.write("app/names/first", noise(100_000, 9));
    fs::hard_link(host.path("app/names/first"), host.path("app/names/second")).expect("linked");
    host.write("app/names/single", "one name");
    let holes = File::create(host.path("app/holes")).expect("created");
    holes.set_len(4 << 20).expect("sized");
    holes.write_all_at(&noise(100_000, 11), 1 << 20).expect("written");
}

/// Changes it in every way.
fn change(host: &Host) {
    let path = |name: &str| host.path("app").join(name);
    let append = |name: &str, more: &[u8]| {
        let text = [fs::read(path(name)).expect("read"), more.to_vec()].concat();
        fs::write(path(name), text).expect("written");
    };
    append("large/grown", &noise(70_000, 21));
    append("small/grown", b", and more");
    for name in ["large/shrunk", "small/shrunk"] {
        let file = File::options().write(true).open(path(name)).expect("opened");
        file.set_len(file.metadata().expect("looked at").len() / 2).expect("cut");
    }
    for folder in ["large", "small"] {
        fs::remove_file(path(&format!("{folder}/vanished"))).expect("removed");
        fs::rename(path(&format!("{folder}/renamed")), path(&format!("{folder}/another-name"))).expect("renamed");
        fs::write(path(&format!("{folder}/new")), noise(90_000, 22)).expect("written");
        fs::rename(path(&format!("{folder}/new")), path(&format!("{folder}/replaced"))).expect("renamed");
        set_time(&path(&format!("{folder}/touched")), 1_700_000_000, 5);
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(path(&format!("{folder}/private")), private).expect("changed");
    }
    fs::rename(path("log/app.log"), path("log/app.log.1")).expect("rotated");
    fs::write(path("log/app.log"), noise(50_000, 23)).expect("written");
    fs::remove_file(path("was-a-file")).expect("removed");
    fs::create_dir(path("was-a-file")).expect("created");
    fs::write(path("was-a-file/inside"), "now a folder").expect("written");
    fs::remove_dir_all(path("was-a-folder")).expect("removed");
    fs::write(path("was-a-folder"), "now a file").expect("written");
    fs::remove_dir_all(path("gone")).expect("removed");
    fs::remove_file(path("other-link")).expect("removed");
    symlink("elsewhere", path("other-link")).expect("linked");
    fs::remove_file(path("names/second")).expect("removed");
    fs::hard_link(path("names/single"), path("names/third")).expect("linked");
    fs::create_dir(path("new-folder")).expect("created");
    fs::write(path("new-folder/empty"), "").expect("written");
    File::options().write(true).open(path("holes")).expect("opened").write_all_at(b"!", 3 << 20).expect("written");
}

#[test]
fn an_incremental_holds_what_changed_and_is_restored_as_a_whole() {
    let host = Host::new();
    varied(&host);
    let (full, summary) = back_up(&host, "full");
    let was = Listing::of(&host.path("app"));
    assert!(summary["parent"].is_null());
    change(&host);
    let now = Listing::of(&host.path("app"));
    let (incremental, summary) = back_up(&host, "incremental");
    assert_eq!(summary["parent"], Value::from(full.clone()));
    assert_eq!(manifest(&host, &incremental)["parent"]["id"], Value::from(full.clone()));
    assert_eq!(manifest(&host, &incremental)["changes"], "blocks");
    // 70,000 and 50,000 new, two replaced ones of 90,000; whatever else changed is a block here and there.
    let stored = summary["bytes_stored"].as_u64().expect("a number");
    assert!(stored < 70_000 + 50_000 + 2 * 90_000 + 60_000, "{stored} bytes are stored");
    restores(&host, &full, &was);
    restores(&host, &incremental, &now);
    host.verifies("repo");

    // What was only renamed, rotated, touched or given other modes is held by the full.
    for (path, place) in [
        ("large/another-name", "data/large/renamed"),
        ("small/another-name", "data/small/renamed"),
        ("log/app.log.1", "data/log/app.log"),
    ] {
        assert_eq!(line(&host, &incremental, path)["held"]["path"], place, "{path}");
    }
    for path in ["large/touched", "large/private", "small/touched", "small/private", "names/single"] {
        let held = &line(&host, &incremental, path)["held"];
        assert_eq!((&held["by"], &held["path"]), (&Value::from(full.clone()), &Value::Null), "{path}");
    }

    // And once more, on top of both.
    flip(&host.path("app/large/grown"), 5000);
    fs::remove_file(host.path("app/names/third")).expect("removed");
    let last = Listing::of(&host.path("app"));
    let (third, summary) = back_up(&host, "incremental");
    assert_eq!(summary["parent"], Value::from(incremental.clone()));
    assert!(summary["bytes_stored"].as_u64().expect("a number") < 20_000, "{summary}");
    restores(&host, &third, &last);
    restores(&host, &incremental, &now);
    restores(&host, &full, &was);
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn a_differential_builds_on_the_full_whatever_came_between() {
    let host = Host::new();
    varied(&host);
    let (full, _) = back_up(&host, "full");
    change(&host);
    let (incremental, _) = back_up(&host, "incremental");
    flip(&host.path("app/large/kept"), 7);
    let now = Listing::of(&host.path("app"));
    let (differential, summary) = back_up(&host, "differential");
    assert_eq!(summary["parent"], Value::from(full));
    restores(&host, &differential, &now);
    let (_, summary) = back_up(&host, "incremental");
    assert_eq!(summary["parent"], Value::from(incremental), "a differential is nobody's parent");
    host.verifies("repo");
}

#[test]
fn where_nothing_changed_nothing_is_read_and_one_line_says_so() {
    let host = Host::new();
    varied(&host);
    host.settles("app");
    let (full, _) = back_up(&host, "full");
    let ran = host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    ran.says(&format!("builds on {full}")).says("0 changed");
    let incremental = host.backups("repo").pop().expect("a backup");
    let lines = list(&host, &full).len();
    assert_eq!(list(&host, &incremental), [serde_json::json!({"type": "same", "lines": lines})]);
    assert_eq!(names(&host.backup_folder()), ["SHA256SUMS", "data", "files.jsonl", "manifest.json"]);
    for field in ["files", "bytes", "directories", "links", "hard_links"] {
        assert_eq!(manifest(&host, &incremental)[field], manifest(&host, &full)[field], "{field}");
    }
    assert_eq!(manifest(&host, &incremental)["bytes_stored"], 0);
    let now = Listing::of(&host.path("app"));
    restores(&host, &incremental, &now);

    // One file: only that is read, also where size and time of it are put back.
    let modified = fs::metadata(host.path("app/small/kept")).expect("looked at").modified().expect("a time");
    fs::write(host.path("app/small/kept"), "SMALL KEPT").expect("written");
    File::options().write(true).open(host.path("app/small/kept")).expect("opened").set_modified(modified).expect("set");
    let dry = host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental", "--dry-run", "--json"]).summary();
    assert_eq!((&dry["files"], &dry["parent"]), (&Value::from(1), &Value::from(incremental)));
    let (third, summary) = back_up(&host, "incremental");
    assert_eq!(own_lines(&host, &third), ["small/kept"]);
    assert_eq!((&summary["bytes_stored"], &summary["appeared"]), (&Value::from(10), &Value::from(0)));
    assert_eq!(summary["unchanged"].as_u64(), summary["files"].as_u64().map(|files| files - 1));

    // What the metadata cannot tell is found where somebody asks for it.
    let asked = ["backup", "app", "--to", "repo", "--kind", "incremental", "--ignore-metadata", "--json"];
    let summary = host.ok(&asked).summary();
    assert_eq!((&summary["bytes_stored"], &summary["unchanged"]), (&Value::from(0), &summary["files"]));
    assert_eq!(own_lines(&host, summary["id"].as_str().expect("an id")).len(), lines);
    restores(&host, "latest", &Listing::of(&host.path("app")));
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn a_file_that_changed_just_before_or_after_it_was_read_is_read_again() {
    // On a file system with coarse times the change below leaves every time as it was; here it is the doubt that counts.
    let host = Host::quick();
    host.write("app/racy", "one");
    let (_, _) = back_up(&host, "full");
    let (second, _) = back_up(&host, "incremental");
    assert_eq!(own_lines(&host, &second), [".", "racy"], "too young to be believed");
    assert!(line(&host, &second, "racy")["held"].is_object(), "and as it was");
    fs::write(host.path("app/racy"), "two").expect("written");
    let (third, _) = back_up(&host, "incremental");
    restores(&host, &third, &Listing::of(&host.path("app")));
    assert_eq!(fs::read(host.stored("racy")).expect("read"), b"two");
}

#[test]
fn names_of_one_file_go_together() {
    let host = Host::new();
    host.write("app/a", noise(100_000, 1));
    host.write("app/b", "small");
    host.settles("app");
    back_up(&host, "full");
    // One that is taken over, one that is read for its new name, one whose first name vanished.
    fs::hard_link(host.path("app/b"), host.path("app/c")).expect("linked");
    let (second, _) = back_up(&host, "incremental");
    restores(&host, &second, &Listing::of(&host.path("app")));
    assert_eq!(own_lines(&host, &second), [".", "b", "c"]);
    fs::remove_file(host.path("app/b")).expect("removed");
    fs::hard_link(host.path("app/a"), host.path("app/0")).expect("linked");
    let (third, summary) = back_up(&host, "incremental");
    assert_eq!(summary["bytes_stored"], 0, "all of it is held");
    restores(&host, &third, &Listing::of(&host.path("app")));
    flip(&host.path("app/0"), 50_000);
    let (fourth, _) = back_up(&host, "incremental");
    restores(&host, &fourth, &Listing::of(&host.path("app")));
    host.verifies("repo");
}

#[test]
fn names_of_one_file_stay_together_where_a_directory_with_one_of_them_was_renamed() {
    let host = Host::new();
    for folder in ["app/a", "app/b"] {
        fs::create_dir(host.path(folder)).expect("created");
    }
    host.write("app/a/file", "two names");
    fs::hard_link(host.path("app/a/file"), host.path("app/b/file")).expect("linked");
    host.write("app/a/other", noise(100_000, 4));
    host.settles("app");
    back_up(&host, "full");
    fs::rename(host.path("app/b"), host.path("app/c")).expect("renamed");
    let (second, summary) = back_up(&host, "incremental");
    assert_eq!((&summary["bytes_stored"], &summary["unchanged"]), (&Value::from(0), &Value::from(3)));
    restores(&host, &second, &Listing::of(&host.path("app")));
    // The same where a name was left out before.
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "c"]);
    let (fourth, _) = back_up(&host, "incremental");
    restores(&host, &fourth, &Listing::of(&host.path("app")));
    host.verifies("repo");
}

#[test]
fn without_a_complete_full_there_is_nothing_to_build_on() {
    let host = Host::with_app();
    let asked = |kind| ["backup", "app", "--to", "repo", "--kind", kind];
    for kind in ["incremental", "differential"] {
        host.run(&asked(kind)).exits(5).says("JET_errMissingFullBackup").says("--kind full");
        assert!(!host.path("repo").exists(), "nothing was made");
    }
    host.ok(&asked("copy"));
    host.run(&asked("incremental")).exits(5).says("JET_errMissingFullBackup");
    let ran = host.run(&["begin", "app", "--no-repository", "--kind", "incremental"]);
    ran.exits(2).says("--to");
    host.ok(&asked("full"));
    host.ok(&asked("incremental"));
    host.ok(&asked("differential"));
    assert_eq!(host.backups("repo").len(), 4);
    for kind in ["copy", "differential"] {
        let ran = host.run(&["backup", "app", "--to", "repo", "--kind", kind, "--truncate"]);
        ran.exits(2).says("never truncates");
    }
    host.is_tidy("repo");
    // A parent that is broken is named.
    let full = host.backups("repo").remove(1);
    fs::remove_file(host.path("repo/backups").join(&full).join("files.jsonl")).expect("removed");
    host.run(&asked("incremental")).exits(3).says(&full);
    host.is_tidy("repo");
    fs::remove_dir_all(host.path("repo/backups").join(&full)).expect("removed");
    host.run(&asked("incremental")).exits(3).says(&full).says("--kind full");
    host.run(&asked("differential")).exits(5).says("JET_errMissingFullBackup");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 3);
}

#[test]
fn an_incomplete_backup_is_nobodys_parent() {
    let host = Host::with_app();
    let (full, _) = back_up(&host, "full");
    host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental", "--keep-going"]);
    fs::remove_file(host.path("app/conf/settings.ini")).expect("removed");
    host.run(&["read", "app"]).exits(6).says("vanished");
    host.run(&["end", "app"]).exits(6).says("incomplete");
    assert_eq!(host.backups("repo").len(), 2);
    host.write("app/conf/settings.ini", "colour = red\n");
    let (last, summary) = back_up(&host, "incremental");
    assert_eq!(summary["parent"], Value::from(full));
    restores(&host, &last, &Listing::of(&host.path("app")));
}

#[test]
fn a_stop_or_a_crash_leaves_the_parent_as_it_was_and_nothing_else() {
    let host = Host::with_app();
    host.write("app/large", noise(500_000, 3));
    let (full, _) = back_up(&host, "full");
    let parent = Listing::of(&host.path("repo/backups"));
    host.write_huge("app/zz-huge", 64 << 30);
    let asked = ["backup", "app", "--to", "repo", "--kind", "incremental"];
    let running: Running = host.start_reading(&asked, "zz-huge");
    host.ok(&["stop", "app"]);
    running.wait().exits(4);
    host.is_tidy("repo");
    host.start_reading(&asked, "zz-huge").kill();
    parent.is_like(&Listing::of(&host.path("repo/backups")), Alike::Fully);
    fs::remove_file(host.path("app/zz-huge")).expect("removed");
    let (next, summary) = back_up(&host, "incremental");
    assert_eq!(summary["parent"], Value::from(full));
    restores(&host, &next, &Listing::of(&host.path("app")));
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn a_parent_that_goes_while_a_session_lives_takes_the_session_with_it() {
    let host = Host::with_app();
    let (full, _) = back_up(&host, "full");
    host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental"]);
    // Somebody else builds on the same one: that is no harm.
    let other = ["--state-dir", "other", "backup", "app", "--to", "repo", "--kind", "incremental"];
    host.ok(&other);
    host.ok(&["read", "app"]);
    let folder = host.path("repo/backups").join(&full);
    fs::rename(&folder, host.path("aside")).expect("moved");
    host.run(&["end", "app"]).exits(3).says(&full).says("Nothing was published");
    assert_eq!(host.backups("repo").len(), 1);
    fs::rename(host.path("aside"), &folder).expect("moved");
    host.ok(&["end", "app"]);
    assert_eq!(host.backups("repo").len(), 3);
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn logs_are_read_again_and_may_go_after_an_incremental() {
    let host = Host::with_app();
    let asked = |kind| ["backup", "app", "--to", "repo", "--kind", kind, "--log", "wal.*"];
    host.ok(&asked("full"));
    host.write("app/wal.4", "log 4, and more\n");
    host.write("app/wal.5", "log 5\n");
    let now = Listing::of(&host.path("app"));
    let ran = host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental", "--log", "wal.*", "--truncate"]);
    ran.says("published and proven");
    assert_eq!(host.logs(), ["wal.5"]);
    let incremental = host.backups("repo").pop().expect("a backup");
    assert_eq!(manifest(&host, &incremental)["truncated"], true);
    assert_eq!(manifest(&host, &incremental)["logs"]["count"], 5);
    restores(&host, &incremental, &now);
    host.ok(&asked("incremental"));
    restores(&host, "latest", &Listing::of(&host.path("app")));
    host.verifies("repo");
}

#[test]
fn no_log_goes_for_a_backup_that_builds_on_damage() {
    let host = Host::new();
    host.write("app/main.db", noise(200_000, 3));
    host.write_logs();
    let (full, _) = back_up_logs(&host, "full", &[]).expect("a backup");
    host.settles("app");
    let path = host.path("repo/backups").join(&full).join("data/main.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("allowed");
    flip(&path, 1000);
    let logs = host.logs();
    let refused = back_up_logs(&host, "incremental", &["--truncate"]).expect_err("it builds on damage");
    assert!(refused.contains("which this backup builds on, is damaged: hash of data/main.db"), "{refused}");
    assert_eq!((host.logs(), host.backups("repo").len()), (logs, 1));

    // Once it is known, nothing builds on it.
    host.run(&["verify", "repo"]).exits(3);
    let refused = back_up_logs(&host, "incremental", &[]).expect_err("it is known to be damaged");
    assert!(refused.contains("was found damaged when it was verified"), "{refused}");
    back_up_logs(&host, "full", &["--truncate"]).expect("a backup");
}

/// Backs up with logs; what it said where it came to nothing, with exit code 3.
fn back_up_logs(host: &Host, kind: &str, more: &[&str]) -> Result<(String, Value), String> {
    let arguments = [&["backup", "app", "--to", "repo", "--log", "wal.*", "--kind", kind], more].concat();
    let ran = host.run(&arguments);
    if ran.code == Some(0) {
        let id = host.backups("repo").pop().expect("a backup");
        return Ok((id.clone(), manifest(host, &id)));
    }
    Err(ran.exits(3).stderr)
}
