//! An instance of the Extensible Storage Engine whose logs and checkpoint lie on volumes of their own: backed up, proven
//! and restored with every file under its own root.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::ese::{self, DatabaseFile, LogFile, STREAM};
use common::{Host, Ran, names};
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
        ["SHA256SUMS", "data", "data.checkpoint", "data.logs", "files.jsonl", "manifest.json"]
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
    assert!(!ran.stderr.contains("db/logs"), "{}", ran.stderr);
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
