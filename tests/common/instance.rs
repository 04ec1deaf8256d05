//! Instances of the Extensible Storage Engine as storages, and what becomes of them in a repository.

use std::fs;
use std::os::unix::fs::FileExt;

use serde_json::Value;

use super::ese::{self, DatabaseFile, LogFile, STREAM};
use super::{Host, Ran, names};

/// Writes logs that follow each other under their names; the last one is the current one.
pub fn write_logs(host: &Host, folder: &str, logs: &[LogFile]) {
    for (index, log) in logs.iter().enumerate() {
        let name =
            if index + 1 == logs.len() { "edb.log".to_owned() } else { format!("edb{:05X}.log", log.generation) };
        host.write(&format!("{folder}/{name}"), log.build());
    }
}

/// The cases' *clean* instance: state 3, logs 5 to 9 and the current one, 10; the checkpoint in 8.
pub fn clean() -> Host {
    let host = Host::new();
    host.write("app/Web.edb", DatabaseFile::new().build());
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    write_logs(&host, "app", &LogFile::chain(5..=10));
    host
}

/// The cases' *dirty* instance: needs logs 8 to 10.
pub fn dirty() -> Host {
    let host = clean();
    host.write("app/Web.edb", DatabaseFile::dirty(8, 10).build());
    host
}

/// Backs a snapshot up.
pub fn backup(host: &Host, more: &[&str]) -> Ran {
    host.run_soon(&[&["backup", "app", "--to", "repo", "--snapshot"], more].concat())
}

/// The manifest of the newest backup.
pub fn manifest(host: &Host) -> Value {
    serde_json::from_slice(&fs::read(host.backup_folder().join("manifest.json")).expect("read")).expect("JSON")
}

/// What the newest backup says of a file.
pub fn line(host: &Host, path: &str) -> Value {
    let text = fs::read_to_string(host.backup_folder().join("files.jsonl")).expect("read");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.find(|line| line["path"] == path).unwrap_or_else(|| panic!("no line for {path}"))
}

/// What of the storage is in the newest backup.
pub fn stored(host: &Host) -> Vec<String> {
    names(&host.stored(""))
}

/// Demands that there is no session, no backup and no partial.
pub fn nothing_is_left(host: &Host) {
    assert!(host.session_folders().is_empty(), "a session is left");
    if host.path("repo/backups").is_dir() {
        assert_eq!(host.backups("repo"), Vec::<String>::new());
        assert_eq!(host.partials("repo"), Vec::<String>::new());
    }
}

/// Flips bits of a byte in a file.
pub fn flip(host: &Host, file: &str, offset: u64, bits: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(host.path(file)).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ bits], offset).expect("written");
}

/// Where a page of 4 KiB begins.
pub fn page(number: u64) -> u64 {
    (number + 1) * 4096
}
