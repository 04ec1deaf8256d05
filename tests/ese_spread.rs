//! An instance of the Extensible Storage Engine whose logs and checkpoint lie on volumes of their own: backed up, proven
//! and restored with every file under its own root.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::ese::{self, DatabaseFile, LogFile, STREAM};
use common::mounts::{Disk, in_own_mounts};
use common::{Dice, Host, Ran, names};
use serde_json::{Value, json};

/// Logs 5 to 10 of a stream, 10 the current one.
fn write_logs(host: &Host, folder: &str) {
    for log in LogFile::chain(5..=10) {
        let name = if log.generation == 10 { "edb.log".to_owned() } else { format!("edb{:05X}.log", log.generation) };
        host.write(&format!("{folder}/{name}"), log.build());
    }
}

/// Databases in `db`, logs in `logs`, the checkpoint in `chk`; the database needs logs 8 to 10.
fn spread() -> Host {
    let host = Host::new();
    host.write("db/Web.edb", DatabaseFile::dirty(8, 10).build());
    host.write("db/notes.txt", "hello");
    write_logs(&host, "logs");
    host.write("chk/edb.chk", ese::checkpoint(8, STREAM));
    host
}

/// What says where the files of such an instance lie.
const SPREAD: [&str; 5] = ["--snapshot", "--log-dir", "logs", "--checkpoint", "chk/edb.chk"];

/// Backs it up.
fn backup(host: &Host, more: &[&str]) -> Ran {
    host.run_soon(&[&["backup", "db", "--to", "repo"], &SPREAD[..], more].concat())
}

fn manifest(host: &Host) -> Value {
    serde_json::from_slice(&fs::read(host.backup_folder().join("manifest.json")).expect("read")).expect("JSON")
}

fn lines(host: &Host) -> Vec<Value> {
    let text = fs::read_to_string(host.backup_folder().join("files.jsonl")).expect("read");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What lies in a folder of the newest backup.
fn stored(host: &Host, folder: &str) -> Vec<String> {
    names(&host.backup_folder().join(folder))
}

/// The absolute path of something, as text.
fn full(host: &Host, name: &str) -> String {
    host.path(name).canonicalize().expect("found").to_str().expect("text").to_owned()
}

const LOGS: [&str; 3] = ["edb.log", "edb00008.log", "edb00009.log"];

fn nothing_is_made(host: &Host) {
    assert!(!host.path("repo").exists(), "no repository is made");
    assert_eq!(host.session_folders(), Vec::<PathBuf>::new());
}

#[test]
fn logs_and_checkpoint_are_taken_from_their_own_directories() {
    let host = spread();
    host.write("logs/notes.txt", "not a log");
    host.write("logs/old/edb00001.log", LogFile::new(1).build());
    host.write("chk/letter.txt", "nobody's business");
    symlink("notes.txt", host.path("logs/link")).expect("linked");
    let ran = backup(&host, &[]).exits(0);
    assert!(!ran.stderr.contains("left out"), "what is always left out is no warning: {}", ran.stderr);
    assert_eq!(
        stored(&host, ""),
        ["SHA256SUMS", "blocks", "data", "data.checkpoint", "data.logs", "files.jsonl", "manifest.json"]
    );
    assert_eq!(stored(&host, "data"), ["Web.edb", "notes.txt"]);
    assert_eq!(stored(&host, "data.logs"), LOGS);
    assert_eq!(stored(&host, "data.checkpoint"), ["edb.chk"]);
    host.verifies("repo");
    host.is_tidy("repo");
    let manifest = manifest(&host);
    let (logs, chk) = (full(&host, "logs"), full(&host, "chk"));
    assert_eq!(manifest["roots"], json!([{"name": "logs", "path": logs}, {"name": "checkpoint", "path": chk}]));
    assert_eq!(manifest["logs"]["first"], format!("{logs}/edb00008.log"));
    assert_eq!((&manifest["files"], &manifest["directories"]), (&json!(6), &json!(0)));
    let left_out: Vec<_> =
        manifest["left_out"].as_array().expect("a list").iter().map(|one| one["path"].clone()).collect();
    let expected = ["edb00005.log", "edb00006.log", "edb00007.log", "link", "notes.txt", "old"];
    assert_eq!(left_out, expected.map(|name| format!("{logs}/{name}")));
    let sums = fs::read_to_string(host.backup_folder().join("SHA256SUMS")).expect("read");
    assert!(sums.contains("  data.logs/edb.log\n") && sums.contains("  data.checkpoint/edb.chk\n"), "{sums}");
    let lines = lines(&host);
    let line = |root: &str, path: &str| {
        lines
            .iter()
            .find(|line| line["root"] == root && line["path"] == path)
            .unwrap_or_else(|| panic!("{root} {path}"))
    };
    assert_eq!(line("logs", "edb00008.log")["generation"], 8);
    assert_eq!(line("logs", "edb00008.log")["segments"]["good"], 9);
    assert_eq!(line("checkpoint", "edb.chk")["role"], "checkpoint");
    assert_eq!(line("logs", ".")["role"], "directory");
    assert_eq!(line("data", "Web.edb")["pages"]["good"], 27);

    // A file is called the same wherever it is met.
    let log = format!("{logs}/edb00009.log");
    host.ok(&["show", "repo"]).prints(&format!("with its logs in {logs}")).prints(&format!("{logs}/edb00008.log to"));
    host.ok(&["show", "repo"]).prints("--into DIR --map logs=DIR --map checkpoint=DIR");
    host.ok(&["show", "repo", "--files"]).prints(&log).prints(&format!("{chk}/edb.chk"));
    let shown = host.ok(&["show", "repo", "--files", &logs]).stdout;
    assert_eq!(shown.lines().count(), 4, "{shown}");
    let output = host.command(&["cat", "repo", "1", &log]).output().expect("run");
    assert_eq!(output.stdout, fs::read(host.path("logs/edb00009.log")).expect("read"));
    host.run(&["cat", "repo", "1", "edb00009.log"]).exits(2).says("edb00009.log is not in");
    host.run(&["cat", "repo", "1", "/etc/passwd"]).exits(2).says("Paths are those below the storage");
    host.ok(&["verify", "repo"]).says("all good").says("6 files");
    host.ok(&["list", "repo"]);
}

#[test]
fn single_verbs_name_files_of_other_directories_by_their_absolute_paths() {
    let host = spread();
    let logs = full(&host, "logs");
    host.ok(&[&["begin", "db", "--to", "repo"], &SPREAD[..]].concat());
    let log = format!("{logs}/edb00008.log");
    host.ok(&["files", "db"]).prints(&log).prints(&full(&host, "chk/edb.chk"));
    host.run(&["read", "db", &log]).exits(2).says("logs are read after the databases");
    host.run(&["read", "db", "/etc/passwd"]).exits(2).says("does not read /etc/passwd");
    host.run(&["read", "db", &log, "--out", "logs/x"]).exits(2).says("lies beside the logs");
    host.run(&["read", "db", "Web.edb", "--out", "chk/edb.chk"]).exits(2);
    host.ok(&["read", "db", "Web.edb", "notes.txt"]);
    host.ok(&["read", "db", &log]);
    host.ok(&["read", "db", &log]).says("already");
    host.ok(&["read", "db", &log, "--out", "copy"]);
    assert_eq!(host.sha256("copy"), host.sha256("logs/edb00008.log"));
    host.run(&["end", "db"]).exits(5).says("edb00009.log").says("-800");

    host.ok(&[&["begin", "db", "--to", "repo"], &SPREAD[..]].concat());
    host.ok(&["read", "db", "Web.edb", "notes.txt"]);
    host.ok(&["read", "db", &logs]);
    host.ok(&["read", "db", &full(&host, "chk")]);
    host.ok(&["end", "db"]);
    assert_eq!(stored(&host, "data.logs"), LOGS);
    host.verifies("repo");

    // Without a repository: hashes under the same names.
    host.ok(&[&["begin", "db", "--no-repository"], &SPREAD[..]].concat());
    for name in ["Web.edb", "notes.txt"] {
        host.ok(&["read", "db", name, "--out", "copy"]);
    }
    for name in LOGS.map(|name| format!("{logs}/{name}")).into_iter().chain([full(&host, "chk/edb.chk")]) {
        host.ok(&["read", "db", &name, "--out", "copy"]);
    }
    let ended = host.ok(&["end", "db", "--json"]);
    assert!(ended.stdout.contains(&format!("\"{log}\"")), "{}", ended.stdout);
}

#[test]
fn every_way_in_which_directories_lie_in_each_other() {
    // Below the storage: no root of its own, as ever.
    let host = Host::new();
    host.write("db/Web.edb", DatabaseFile::dirty(8, 10).build());
    write_logs(&host, "db/logs");
    host.write("db/edb.chk", ese::checkpoint(8, STREAM));
    for directory in ["db/logs", "./db/../db/logs"] {
        host.run_soon(&["backup", "db", "--to", "repo", "--snapshot", "--log-dir", directory]).exits(0);
        assert!(manifest(&host).get("roots").is_none());
        assert_eq!(stored(&host, "data/logs"), LOGS);
    }
    // The storage itself.
    let host = Host::new();
    host.write("db/Web.edb", DatabaseFile::dirty(8, 10).build());
    write_logs(&host, "db");
    host.run_soon(&["backup", "db", "--to", "repo", "--snapshot", "--log-dir", "db"]).exits(0);
    assert!(manifest(&host).get("roots").is_none());
    // The directory of the logs holds the storage, and the checkpoint lies beside the logs.
    let host = Host::new();
    host.write("volume/db/Web.edb", DatabaseFile::dirty(8, 10).build());
    write_logs(&host, "volume");
    host.write("volume/edb.chk", ese::checkpoint(8, STREAM));
    let begun = ["backup", "volume/db", "--to", "repo", "--snapshot", "--log-dir", "volume"];
    host.run_soon(&[&begun[..], &["--checkpoint", "volume/edb.chk"]].concat()).exits(0);
    assert_eq!(manifest(&host)["roots"], json!([{"name": "logs", "path": full(&host, "volume")}]));
    assert_eq!(stored(&host, "data.logs"), ["edb.chk", "edb.log", "edb00008.log", "edb00009.log"]);
    assert_eq!(stored(&host, "data"), ["Web.edb"]);
    assert!(!manifest(&host)["left_out"].to_string().contains("volume/db\""), "the storage is not left out");
    // The checkpoint above both.
    let host = Host::new();
    host.write("volume/db/Web.edb", DatabaseFile::dirty(8, 10).build());
    write_logs(&host, "volume/logs");
    host.write("volume/edb.chk", ese::checkpoint(8, STREAM));
    let begun = ["backup", "volume/db", "--to", "volume/repo", "--snapshot", "--log-dir", "volume/logs"];
    host.run_soon(&[&begun[..], &["--checkpoint", "volume/edb.chk"]].concat()).exits(0);
    let folder = host.path("volume/repo/backups").join(&host.backups("volume/repo")[0]);
    assert_eq!(names(&folder.join("data.checkpoint")), ["edb.chk"]);
    host.verifies("volume/repo");
    // Through links, and relative; the names are those of what they mean.
    let host = spread();
    symlink("../logs", host.path("db/logs")).expect("linked");
    symlink("chk/edb.chk", host.path("here.chk")).expect("linked");
    let begun = ["backup", "db", "--to", "repo", "--snapshot", "--log-dir", "db/logs"];
    host.run_soon(&[&begun[..], &["--checkpoint", "here.chk"]].concat()).exits(0);
    assert_eq!(manifest(&host)["roots"][0]["path"], full(&host, "logs"));
    assert_eq!(stored(&host, "data.logs"), LOGS);
    assert_eq!(stored(&host, "data"), ["Web.edb", "logs", "notes.txt"], "the link itself is one of the storage's");
}

#[test]
fn only_logs_may_be_elsewhere_and_a_clean_instance_is_looked_at_again_at_the_end() {
    let host = Host::new();
    host.write("db/Web.edb", DatabaseFile::new().build());
    host.write("db/edb.chk", ese::checkpoint(8, STREAM));
    write_logs(&host, "logs");
    host.run_soon(&["backup", "db", "--to", "repo", "--log-dir", "logs"]).exits(0);
    assert_eq!(stored(&host, "data"), ["Web.edb", "edb.chk"]);
    assert_eq!(stored(&host, "data.logs"), LOGS);
    // A log that changed since it was read.
    host.ok(&["begin", "db", "--to", "repo", "--log-dir", "logs"]);
    host.ok(&["read", "db"]);
    host.write("logs/edb00009.log", LogFile::chain(5..=10)[4].build());
    host.run(&["end", "db"]).exits(6).says("logs/edb00009.log changed before the backup was complete");
    host.ok(&["end", "db", "--abort"]);
    // Unknown options keep their meaning elsewhere.
    host.write("plain/a", "1");
    host.run(&["backup", "plain", "--to", "other", "--log-dir", "logs"]).exits(2).says("are for ESE storages");
}

#[test]
fn a_directory_of_logs_that_is_none_is_refused_in_clear_words() {
    let host = spread();
    fs::create_dir(host.path("empty")).expect("created");
    let run = |log_dir: &str, chk: &str| {
        host.run(&["backup", "db", "--to", "repo", "--snapshot", "--log-dir", log_dir, "--checkpoint", chk])
    };
    run("empty", "chk/edb.chk").exits(2).says("there are no logs in").says("/empty");
    run("missing", "chk/edb.chk").exits(2).says("missing").says("is a mount missing?");
    run("logs", "missing").exits(2).says("missing");
    run("logs/edb.log", "chk/edb.chk").exits(2).says("--log-dir takes a directory");
    run("logs", "chk").exits(2).says("--checkpoint takes a file");
    nothing_is_made(&host);
    // Neither the repository nor the state directory, and none around the repository.
    host.run_soon(&["backup", "db", "--to", "repo", "--snapshot", "--log-dir", "logs"]).exits(0);
    run("repo", "chk/edb.chk").exits(2).says("the log directory");
    run("repo/backups", "chk/edb.chk").exits(2).says("holds the log directory");
    run(".", "chk/edb.chk").exits(2).says("lies inside of the log directory");
    run("state", "chk/edb.chk").exits(2).says("is the state directory itself");
    fs::copy(host.path("chk/edb.chk"), host.path("repo/edb.chk")).expect("copied");
    run("logs", "repo/edb.chk").exits(2).says("the checkpoint's directory");
    fs::remove_file(host.path("repo/edb.chk")).expect("removed");
    assert_eq!(host.backups("repo").len(), 1);
    host.is_tidy("repo");
}

#[test]
fn a_database_beside_the_logs_is_not_taken_and_that_is_said() {
    let host = spread();
    host.write("logs/Other.edb", DatabaseFile { signature: 9, ..DatabaseFile::new() }.build());
    let ran = backup(&host, &[]).exits(0);
    ran.says("Other.edb: a database that does not lie below the storage");
    assert_eq!(manifest(&host)["instance"]["databases"].as_array().map(Vec::len), Some(1));
    assert_eq!(stored(&host, "data.logs"), LOGS);
}

#[test]
fn patterns_are_matched_with_names_from_either_directory() {
    let host = spread();
    backup(&host, &["--exclude", "/notes.txt", "--exclude", "edb00005.log", "-v"]).exits(0).says("left out as asked");
    let manifest = manifest(&host);
    assert_eq!(stored(&host, "data"), ["Web.edb"]);
    assert_eq!(manifest["left_out_as_asked"], 2);
    assert!(!manifest["left_out"].to_string().contains("edb00005.log"));
    // A log that is needed is missed.
    backup(&host, &["--exclude", "/edb00009.log"]).exits(3).says("-543");
    let pattern = format!("{}/edb00005.log", full(&host, "logs"));
    backup(&host, &["--exclude", &pattern]).exits(2).says("leave that part out");
}

#[test]
fn what_vanishes_or_changes_in_the_log_directory_fails_the_backup() {
    let begin = |host: &Host| {
        host.ok(&[&["begin", "db", "--to", "repo"], &SPREAD[..]].concat());
        host.ok(&["read", "db", "Web.edb", "notes.txt"]);
        host.ok(&["read", "db", &format!("{}/edb00008.log", full(host, "logs"))]);
    };
    let host = spread();
    begin(&host);
    fs::rename(host.path("logs"), host.path("elsewhere")).expect("renamed");
    let ran = host.run(&["read", "db"]);
    assert!([Some(1), Some(6)].contains(&ran.code), "{}", ran.stderr);
    ran.says("logs");
    fs::rename(host.path("elsewhere"), host.path("logs")).expect("renamed");
    // One log vanishes after the list was made.
    let host = spread();
    begin(&host);
    fs::remove_file(host.path("logs/edb00009.log")).expect("removed");
    let ran = host.run(&["read", "db"]).exits(6).says("logs/edb00009.log vanished");
    assert!(!ran.stderr.contains("/db/logs"), "{}", ran.stderr); // the name of a temporary directory may end with db
    assert_eq!(host.session_folders(), Vec::<PathBuf>::new(), "a lost log drops the session");
    // One becomes a link: it is never followed.
    let host = spread();
    begin(&host);
    fs::rename(host.path("logs/edb00009.log"), host.path("moved.log")).expect("renamed");
    symlink("../moved.log", host.path("logs/edb00009.log")).expect("linked");
    host.run(&["read", "db"]).exits(6).says("was replaced by something else");
}

#[test]
fn a_plan_that_was_tampered_with_reaches_nothing_outside() {
    for path in ["/etc/passwd", "/etc", "../chk/edb.chk", "/../etc/passwd"] {
        let host = spread();
        host.ok(&[&["begin", "db", "--to", "repo"], &SPREAD[..]].concat());
        let plan = host.session_folders()[0].join("databases.jsonl");
        let text = fs::read_to_string(&plan).expect("read");
        assert!(text.contains("\"notes.txt\""));
        fs::write(&plan, text.replace("\"notes.txt\"", &format!("\"{path}\""))).expect("written");
        let ran = host.run(&["read", "db"]);
        assert_eq!(ran.code, Some(1), "{path}: {}", ran.stderr);
        host.ok(&["end", "db", "--abort"]);
        assert_eq!(host.backups("repo"), Vec::<String>::new());
    }
}

#[test]
fn names_that_are_not_utf8_lead_to_their_files() {
    let host = spread();
    let odd = std::ffi::OsStr::from_bytes(b"l\xffgs");
    fs::rename(host.path("logs"), host.path(odd)).expect("renamed");
    let mut command = host.command(&["backup", "db", "--to", "repo", "--snapshot", "--log-dir"]);
    command.arg(odd);
    common::finish(command).exits(0);
    assert!(manifest(&host)["roots"][0]["path_base64"].is_string());
    assert_eq!(stored(&host, "data.logs"), LOGS);
    host.verifies("repo");
    let mut command = host.command(&["cat", "repo", "1"]);
    let name = host.path(odd).canonicalize().expect("found").join("edb00008.log");
    let output = command.arg(&name).output().expect("run");
    assert_eq!(output.stdout, fs::read(&name).expect("read"));
}

#[test]
fn damage_in_a_further_root_is_found_and_named() {
    let host = spread();
    backup(&host, &[]).exits(0);
    let folder = host.backup_folder();
    let flip = || {
        for offset in [5000, 5400] {
            common::forge::flip(&folder.join("data.logs/edb00008.log"), offset);
        }
    };
    flip();
    host.run(&["verify", "repo"]).exits(3).prints("data.logs/edb00008.log: log-segment").prints("hash");
    flip();
    host.ok(&["verify", "repo"]);
    fs::write(folder.join("data.logs/extra"), "1").expect("written");
    fs::create_dir(folder.join("data.other")).expect("created");
    fs::rename(folder.join("data.checkpoint/edb.chk"), host.path("away")).expect("renamed");
    let ran = host.run(&["verify", "repo"]).exits(3);
    ran.prints("data.logs/extra: extra").prints("data.other: extra").prints("data.checkpoint/edb.chk: missing");
    // A source page that is damaged is named as ever, and so is a log.
    let host = spread();
    common::forge::flip(&host.path("logs/edb00008.log"), 5000);
    common::forge::flip(&host.path("logs/edb00008.log"), 5400);
    let ran = backup(&host, &["--json"]).exits(3);
    let error = ran.json().into_iter().find(|one| one["type"] == "error").expect("an error");
    assert_eq!(error["file"], format!("{}/edb00008.log", full(&host, "logs")));
}

#[test]
fn a_manifest_with_roots_that_cannot_be_is_not_believed() {
    let host = spread();
    backup(&host, &[]).exits(0);
    let folder = host.backup_folder();
    let good = fs::read(folder.join("manifest.json")).expect("read");
    for roots in [
        json!([{"name": "../x", "path": "/a"}]),
        json!([{"name": "data", "path": "/a"}]),
        json!([{"name": "/abs", "path": "/a"}]),
        json!([{"name": "logs", "path": "/a"}, {"name": "logs", "path": "/b"}]),
        json!([{"name": "logs", "path": "a/../../b"}]),
        json!([{"name": "logs", "path": "/a"}, {"name": "checkpoint", "path": "/a"}]),
    ] {
        fs::write(folder.join("manifest.json"), &good).expect("written");
        common::forge::reseal(&folder, |manifest| manifest["roots"] = roots.clone());
        host.run(&["verify", "repo"]).exits(3).prints("manifest.json: manifest");
        host.run(&["restore", "repo", "1", "--into", "back"]).exits(3);
        assert!(!host.path("back").exists() && !Path::new("/a").exists());
    }
    // Lines of roots that the manifest does not name.
    for roots in [json!([]), json!([{"name": "checkpoint", "path": "/a"}])] {
        fs::write(folder.join("manifest.json"), &good).expect("written");
        common::forge::reseal(&folder, |manifest| manifest["roots"] = roots.clone());
        host.run(&["verify", "repo"]).exits(3).prints("file-list");
        host.run(&["show", "repo", "1", "--files"]).exits(3);
    }
}

/// A machine with a backup of a spread instance in `repo`.
fn backed_up() -> Host {
    let host = spread();
    fs::set_permissions(host.path("logs"), fs::Permissions::from_mode(0o750)).expect("set");
    common::tree::set_time(&host.path("logs"), 1_000_000_000, 7);
    backup(&host, &[]).exits(0);
    host
}

/// What a restore of it takes, when everything gets a directory of its own.
const APART: [&str; 8] =
    ["restore", "repo", "--into", "new/db", "--map", "logs=new/logs", "--map", "checkpoint=new/chk"];

/// Demands that these files are restored, byte for byte, and no others.
fn is_restored(host: &Host, source: &str, target: &str, files: &[&str]) {
    assert_eq!(names(&host.path(target)), files, "{target}");
    for name in files {
        assert_eq!(host.sha256(&format!("{source}/{name}")), host.sha256(&format!("{target}/{name}")), "{name}");
    }
}

fn all_is_restored(host: &Host) {
    is_restored(host, "db", "new/db", &["Web.edb", "notes.txt"]);
    is_restored(host, "logs", "new/logs", &LOGS);
    is_restored(host, "chk", "new/chk", &["edb.chk"]);
    // An empty scratch directory may be left by a kill in the very last step; the next restore sweeps it.
    let mut left = names(&host.path("new"));
    left.retain(|name| !name.starts_with(".jetbak-tmp-") || !names(&host.path("new").join(name)).is_empty());
    assert_eq!(left, ["chk", "db", "logs"], "nothing else is left");
}

#[test]
fn every_root_is_restored_into_the_directory_that_it_is_mapped_to() {
    let host = backed_up();
    fs::create_dir_all(host.path("new")).expect("created");
    let dry = host.ok(&[&APART[..], &["--dry-run"]].concat());
    dry.prints("would be restored into").prints(&format!("logs (from {}) into", full(&host, "logs")));
    assert_eq!(names(&host.path("new")), Vec::<String>::new());
    let ran = host.ok(&APART).says("new/db").says("new/logs, its logs").says("new/chk, its checkpoint");
    ran.says("6 files");
    all_is_restored(&host);
    let there = fs::metadata(host.path("new/logs")).expect("looked at");
    assert_eq!((there.mode() & 0o7777, there.mtime(), there.mtime_nsec()), (0o750, 1_000_000_000, 7));
    host.ok(&["check", "new/db", "--log-dir", "new/logs", "--checkpoint", "new/chk/edb.chk"]);
    // Again: every target is looked at before the first byte.
    host.run(&APART).exits(5).says("-504").says("is not empty");
    fs::remove_dir_all(host.path("new/db")).expect("removed");
    host.run(&APART).exits(5).says("is not empty").says("-504");
    assert_eq!(names(&host.path("new")), ["chk", "logs"]);
    let json =
        host.ok(&["restore", "repo", "--map", "data=one", "--map", "logs=two", "--map", "checkpoint=two", "--json"]);
    let summary = json.summary();
    assert_eq!(summary["into"], full(&host, "one"));
    assert_eq!(summary["roots"][0]["name"], "logs");
    assert_eq!(summary["roots"][0]["into"], full(&host, "two"));
    is_restored(&host, "db", "one", &["Web.edb", "notes.txt"]);
    assert_eq!(names(&host.path("two")), ["edb.chk", "edb.log", "edb00008.log", "edb00009.log"]);
}

#[test]
fn a_root_that_goes_nowhere_is_asked_for() {
    let host = backed_up();
    let before = names(&host.path(""));
    let run = |more: &[&str]| host.run(&[&["restore", "repo"], more].concat());
    let logs = format!("logs (from {})", full(&host, "logs"));
    for dry in [&[][..], &["--dry-run"]] {
        let ran = run(&[&["--into", "back"], dry].concat()).exits(2).says(&logs).says("checkpoint (from ");
        ran.says("Add --map checkpoint=DIR --map logs=DIR");
    }
    run(&["--into", "back", "--map", "logs=l"]).exits(2).says("Add --map checkpoint=DIR.");
    run(&["--map", "logs=l", "--map", "checkpoint=l"]).exits(2).says("data (from").says("Add --into DIR");
    run(&["--into", "back", "--map", "nothing=l"]).exits(2).says("has no root nothing").says(&logs);
    run(&["--into", "back", "--map", "data=l"]).exits(2).says("cannot go to two directories");
    run(&["--into", "back", "--map", "logs"]).exits(2).says("--map takes ROOT=DIR");
    run(&["--into", "back", "--map", "logs="]).exits(2).says("--map takes ROOT=DIR");
    run(&["--into", "back", "--map", "logs=repo/x"]).exits(2).says("lies inside of the repository");
    run(&[]).exits(2);
    host.write("full/x", "mine");
    run(&["--into", "back", "--map", "logs=full", "--map", "checkpoint=l"]).exits(5).says("full is not empty");
    fs::remove_dir_all(host.path("full")).expect("removed");
    run(&["--into", "back", "--map", "logs=no/such", "--map", "checkpoint=l"]).exits(1).says("is a mount missing?");
    assert_eq!(names(&host.path("")), before, "nothing is made");
    // What is not meant needs no place; names are those of `show --files`.
    let log = format!("{}/edb00009.log", full(&host, "logs"));
    run(&["--only", &log, "--map", "logs=some"]).exits(0);
    is_restored(&host, "logs", "some", &["edb00009.log"]);
    run(&["--into", "db2", "--only", "Web.edb"]).exits(0);
    is_restored(&host, "db", "db2", &["Web.edb"]);
    run(&["--into", "unused", "--only", &full(&host, "chk"), "--map", "checkpoint=chk2"]).exits(0);
    is_restored(&host, "chk", "chk2", &["edb.chk"]);
    assert!(!host.path("unused").exists());
    run(&["--into", "x", "--only", ".", "--dry-run"]).exits(2).says("logs (from");
    run(&["--into", "x", "--only", "edb00009.log"]).exits(2).says("does not hold edb00009.log");
}

#[test]
fn roots_may_go_into_one_directory_or_into_each_other() {
    let host = backed_up();
    let map = |into: &str, logs: &str, chk: &str| {
        let (logs, chk) = (format!("logs={logs}"), format!("checkpoint={chk}"));
        host.run(&["restore", "repo", "--into", into, "--map", &logs, "--map", &chk])
    };
    map("one", "one", "one").exits(0);
    assert_eq!(
        names(&host.path("one")),
        ["Web.edb", "edb.chk", "edb.log", "edb00008.log", "edb00009.log", "notes.txt"]
    );
    host.ok(&["check", "one"]);
    map("two", "two/logs", "two/logs").exits(0);
    assert_eq!(names(&host.path("two")), ["Web.edb", "logs", "notes.txt"]);
    assert_eq!(names(&host.path("two/logs")), ["edb.chk", "edb.log", "edb00008.log", "edb00009.log"]);
    assert_eq!(fs::metadata(host.path("two/logs")).expect("looked at").mode() & 0o7777, 0o750);
    map("three/db", "three", "chk3").exits(0);
    is_restored(&host, "db", "three/db", &["Web.edb", "notes.txt"]);
    assert_eq!(names(&host.path("three")), ["db", "edb.log", "edb00008.log", "edb00009.log"]);
    // Two files of one name.
    let host = spread();
    host.write("db/edb.chk", ese::checkpoint(8, STREAM));
    host.write("db/logs", "a file");
    backup(&host, &[]).exits(0);
    let map = |chk: &str, logs: &str| {
        let (logs, chk) = (format!("logs={logs}"), format!("checkpoint={chk}"));
        host.run(&["restore", "repo", "--into", "back", "--map", &logs, "--map", &chk])
    };
    map("back", "elsewhere").exits(2).says("edb.chk would not be the only one that is restored to");
    map("chk2", "back/logs").exits(2).says("would not be the only one");
    assert!(!host.path("back").exists() && !host.path("elsewhere").exists() && !host.path("chk2").exists());
}

#[test]
fn a_restore_of_several_trees_killed_at_any_moment_is_healed_by_its_repetition() {
    let host = backed_up();
    fs::create_dir(host.path("new")).expect("created");
    let mut dice = Dice::new();
    let took = host.ok(&APART).took;
    let (mut killed, mut healed) = (0, 0);
    for _ in 0..40 {
        fs::remove_dir_all(host.path("new")).expect("removed");
        fs::create_dir(host.path("new")).expect("created");
        let running = host.start(&APART);
        std::thread::sleep(dice.below(took));
        killed += usize::from(running.kill().code.is_none());
        // Databases never stand there without their logs and checkpoint, and no tree is there in part.
        if host.path("new/db").exists() {
            is_restored(&host, "logs", "new/logs", &LOGS);
            is_restored(&host, "chk", "new/chk", &["edb.chk"]);
        }
        for (source, target, files) in [("logs", "new/logs", &LOGS[..]), ("db", "new/db", &["Web.edb", "notes.txt"])] {
            if host.path(target).exists() {
                is_restored(&host, source, target, files);
            }
        }
        let again = host.run(&APART);
        assert!(matches!(again.code, Some(0 | 5)), "{}", again.stderr);
        healed += usize::from(again.code == Some(0));
        all_is_restored(&host);
    }
    assert!(killed > 0 && healed > 0);
}

#[test]
fn a_restore_that_was_cut_between_two_renames_goes_on_where_it_was() {
    let host = backed_up();
    fs::create_dir(host.path("new")).expect("created");
    host.ok(&APART);
    // The steps are too quick to be caught: what each of them leaves is made by hand from a whole restore. How many trees
    // have a note, how many have their names, and how many were cleaned up.
    let steps = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (3, 1, 0), (3, 2, 0), (3, 3, 0), (3, 3, 1), (3, 3, 2)];
    let stages: Vec<_> = steps.iter().map(|step| (*step, stage(&host, *step))).collect();
    for ((noted, moved, _), stage) in stages {
        fs::remove_dir_all(host.path("new")).expect("removed");
        copy(&stage, &host.path("new"));
        let before = names(&host.path("new"));
        if noted == 3 {
            let swapped =
                ["restore", "repo", "--into", "new/db", "--map", "logs=new/chk", "--map", "checkpoint=new/logs"];
            for other in [&swapped[..], &[&APART[..], &["--owner", "current"]].concat()] {
                let other = host.run(other).exits(5);
                assert!(other.stderr.contains("holds an interrupted restore of 000001-"), "{}", other.stderr);
                assert_eq!(names(&host.path("new")), before);
            }
        }
        if moved > 0 {
            host.ok(&[&APART[..], &["--dry-run"]].concat());
        }
        let again = host.ok(&APART);
        let was_whole = again.stderr.contains("an earlier restore had written and proven it all");
        assert_eq!(was_whole, noted == 3, "{before:?}: {}", again.stderr);
        all_is_restored(&host);
        assert_eq!(names(&host.path("new")).len(), 3);
    }
}

#[test]
fn what_was_taken_away_behind_an_interrupted_restore_is_missed() {
    let host = backed_up();
    fs::create_dir(host.path("new")).expect("created");
    host.ok(&APART);
    for (step, gone) in [((3, 2, 0), "logs"), ((3, 3, 1), "chk")] {
        let stage = stage(&host, step);
        let whole = host.path("whole");
        fs::rename(host.path("new"), &whole).expect("renamed");
        copy(&stage, &host.path("new"));
        fs::remove_dir_all(host.path("new").join(gone)).expect("removed");
        let ran = host.run(&APART).exits(1).says(&format!("new/{gone} into its place, and it is not there any more"));
        ran.says("Remove the directories .jetbak-tmp-restore-");
        fs::remove_dir_all(host.path("new")).expect("removed");
        fs::rename(&whole, host.path("new")).expect("renamed");
    }
}

#[test]
fn mount_points_are_filled_from_inside_and_a_kill_in_between_is_healed() {
    if !in_own_mounts("mount_points_are_filled_from_inside_and_a_kill_in_between_is_healed") {
        return;
    }
    let host = backed_up();
    let (db, logs) = (Disk::mount(&host, "db2", 8192), Disk::mount(&host, "logs2", 8192));
    let command = ["restore", "repo", "--into", "db2", "--map", "logs=logs2", "--map", "checkpoint=logs2"];
    let took = host.ok(&command).took;
    let mut dice = Dice::new();
    let empty = |disk: &Disk| {
        for name in names(disk.path()) {
            let path = disk.path().join(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
    };
    for _ in 0..15 {
        empty(&db);
        empty(&logs);
        let running = host.start(&command);
        std::thread::sleep(dice.below(took));
        running.kill();
        let again = host.run(&command);
        assert!(matches!(again.code, Some(0 | 5)), "{}", again.stderr);
        is_restored(&host, "db", "db2", &["Web.edb", "notes.txt"]);
        assert_eq!(names(&host.path("logs2")), ["edb.chk", "edb.log", "edb00008.log", "edb00009.log"]);
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

/// What `new` looks like in the middle of a restore.
fn stage(host: &Host, (noted, moved, cleaned): (usize, usize, usize)) -> PathBuf {
    let folder = host.path(format!("stage-{noted}-{moved}-{cleaned}"));
    fs::create_dir(&folder).expect("created");
    for (index, tree) in ["chk", "logs", "db"].iter().enumerate() {
        let scratch = folder.join(format!(".jetbak-tmp-restore-{index:016x}"));
        if index >= cleaned {
            fs::create_dir(&scratch).expect("created");
            fs::set_permissions(&scratch, fs::Permissions::from_mode(0o700)).expect("set");
        }
        let place = if index < moved { folder.join(tree) } else { scratch.join("tree") };
        copy(&host.path("new").join(tree), &place);
        if index < noted && index >= cleaned {
            fs::write(scratch.join("whole.json"), note(host, tree).to_string()).expect("written");
        }
    }
    folder
}

/// The note of one tree, as a restore writes it.
fn note(host: &Host, tree: &str) -> Value {
    use base64::Engine as _;
    let encode = |name: &str| {
        let path = host.path("new").canonicalize().expect("found").join(name);
        base64::engine::general_purpose::STANDARD.encode(path.as_os_str().as_bytes())
    };
    let id = host.backups("repo")[0].clone();
    let manifest = fs::read(host.backup_folder().join("manifest.json")).expect("read");
    json!({
        "purpose": {
            "id": id,
            "manifest_sha256": common::forge::sha256(&manifest),
            "only": [],
            "owner": "keep",
            "keep_going": false,
            "places": [
                format!("checkpoint={}", encode("chk")),
                format!("data={}", encode("db")),
                format!("logs={}", encode("logs")),
            ],
            "is_joint": true,
        },
        "written": {"files": 6, "bytes": 1, "damaged": 0, "first_damage": null, "not_given": 0},
        "beside": encode(tree),
    })
}

#[test]
fn logs_that_a_backup_makes_needless_are_deleted_where_they_lie() {
    let host = Host::new();
    host.write("db/Web.edb", DatabaseFile::new().build());
    host.write("db/edb00005.log.txt", "none of them");
    host.write("db/edb.chk", ese::checkpoint(8, STREAM));
    write_logs(&host, "logs");
    let spread = ["db", "--to", "repo", "--log-dir", "logs"];
    let gone = full(&host, "logs/edb00005.log");
    let dry = [&["begin"][..], &spread].concat();
    host.ok(&dry);
    host.ok(&["read", "db"]);
    let ran = host.ok(&["truncate", "db", "--dry-run", "--json"]);
    assert_eq!(ran.summary()["deleted"][0], gone);
    assert_eq!(names(&host.path("logs")).len(), 6);
    host.ok(&["truncate", "db"]).says("deleted 3 logs");
    host.ok(&["end", "db"]);
    assert_eq!(names(&host.path("logs")), LOGS);
    assert_eq!(names(&host.path("db")), ["Web.edb", "edb.chk", "edb00005.log.txt"]);
    host.ok(&[&["backup"][..], &spread, &["--truncate"]].concat());
    host.verifies("repo");
    host.is_tidy("repo");
}
