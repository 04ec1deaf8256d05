//! The instances of the protocol's acceptance cases (`spec/backup-protocol.md` §9), and what the stories about them ask.
//!
//! *clean* and *dirty* are the cases' own words. Everything lies below `app` of a [`Host`]; what is read goes to `repo`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::ese::{self, DatabaseFile, LogFile, STREAM};
use super::{Host, Ran, Running, eventually, names};

/// The logs of every instance here: 5 to 9 and the current one, 10.
pub const LOGS: [&str; 6] = ["edb.log", "edb00005.log", "edb00006.log", "edb00007.log", "edb00008.log", "edb00009.log"];
/// Those that a full backup of them takes.
pub const TAKEN: [&str; 3] = ["edb.log", "edb00008.log", "edb00009.log"];

/// Writes logs into a folder under their names; the last one is the current one.
pub fn write_logs(host: &Host, folder: &str, logs: &[LogFile]) {
    for (index, log) in logs.iter().enumerate() {
        let name =
            if index + 1 == logs.len() { "edb.log".to_owned() } else { format!("edb{:05X}.log", log.generation) };
        host.write(&format!("{folder}/{name}"), log.build());
    }
}

/// The cases' *clean* instance: `Web.edb` in state 3, logs 5 to 9 and the current one, 10; the checkpoint in 8.
pub fn clean() -> Host {
    fill(Host::new())
}

/// The same in memory where there is a file system for that, for stories that run many commands.
pub fn quick_clean() -> Host {
    fill(Host::quick())
}

fn fill(host: Host) -> Host {
    host.write("app/Web.edb", DatabaseFile::new().build());
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    write_logs(&host, "app", &LogFile::chain(5..=10));
    host
}

/// The cases' *dirty* instance: as [`clean`], but state 2, and it needs logs 8 to 10.
pub fn dirty() -> Host {
    let host = clean();
    host.write("app/Web.edb", DatabaseFile::dirty(8, 10).build());
    host
}

/// As [`clean`], with the databases, the logs and the checkpoint in directories of their own, all below `app`.
pub fn spread() -> Host {
    let host = Host::new();
    host.write("app/data/Web.edb", DatabaseFile::new().build());
    host.write("app/system/edb.chk", ese::checkpoint(8, STREAM));
    write_logs(&host, "app/logs", &LogFile::chain(5..=10));
    host
}

/// A second database of the same stream, clean: another signature, the same pages.
pub fn second() -> DatabaseFile {
    DatabaseFile { signature: 7, ..DatabaseFile::new() }
}

/// As [`clean`], with the second database as `Zweite.edb`.
pub fn two_databases() -> Host {
    let host = clean();
    host.write("app/Zweite.edb", second().build());
    host
}

/// Makes the current log (generation `newest`) a numbered one and writes the next one, as an application that goes on.
pub fn roll(host: &Host, newest: u32) {
    let chain = LogFile::chain(5..=newest + 1);
    host.write(&format!("app/edb{newest:05X}.log"), chain[chain.len() - 2].build());
    host.write("app/edb.log", chain[chain.len() - 1].build());
}

/// The application goes on: the fixture's current log and all up to `newest` are written, that one as the current one; what
/// was deleted below stays gone. Its database changes, and the checkpoint moves.
pub fn go_on(host: &Host, newest: u32, checkpoint: u32) {
    let chain = LogFile::chain(5..=newest);
    let current = generation_of(&host.path("app/edb.log"));
    for log in chain.iter().filter(|log| (current..newest).contains(&log.generation)) {
        host.write(&format!("app/edb{:05X}.log", log.generation), log.build());
    }
    host.write("app/edb.log", chain[chain.len() - 1].build());
    host.write("app/edb.chk", ese::checkpoint(checkpoint, STREAM));
    host.write("app/Web.edb", at_work(newest).build());
}

/// The database of the fixture after the application has worked up to this log.
pub fn at_work(newest: u32) -> DatabaseFile {
    DatabaseFile { flushes: (newest, 1), ..DatabaseFile::new() }
}

/// The generation in the header of a log.
fn generation_of(log: &Path) -> u32 {
    let head = fs::read(log).expect("read");
    u32::from_le_bytes(head[4..8].try_into().expect("four bytes"))
}

/// Where a page of 4 KiB begins, in bytes.
pub fn page(number: u64) -> u64 {
    (number + 1) * 4096
}

/// Flips bits of one byte in a file of the machine: one bit can be corrected, several cannot.
pub fn flip(host: &Host, file: &str, offset: u64, bits: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(host.path(file)).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ bits], offset).expect("written");
}

/// Damages a page of 4 KiB so that nobody corrects it.
pub fn ruin_page(host: &Host, file: &str, number: u64) {
    for (offset, bits) in [(200, 0x11), (900, 0x23)] {
        flip(host, file, page(number) + offset, bits);
    }
}

/// Damages a segment of a log so that nobody corrects it.
pub fn ruin_segment(host: &Host, file: &str, number: u64) {
    flip(host, file, number * 4096 + 77, 0x81);
}

/// Backs the instance up as a snapshot (what does not prove itself is read again once), and comes to an end soon.
pub fn backup(host: &Host, more: &[&str]) -> Ran {
    host.run_soon(&[&["backup", "app", "--to", "repo", "--snapshot"], more].concat())
}

/// The manifest of the newest backup.
pub fn manifest(host: &Host) -> Value {
    manifest_in(&host.backup_folder())
}

/// The first and the last log of the newest backup's own.
pub fn range(host: &Host) -> (u64, u64) {
    let logs = &manifest(host)["logs"];
    let number = |field: &str| logs[field].as_u64().expect("a generation");
    (number("first_generation"), number("last_generation"))
}

/// The manifest in a backup's folder.
pub fn manifest_in(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("manifest.json")).expect("read")).expect("JSON")
}

/// The file list of the newest backup.
pub fn lines(host: &Host) -> Vec<Value> {
    let text = fs::read_to_string(host.backup_folder().join("files.jsonl")).expect("read");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What the file list of the newest backup says of one file.
pub fn line(host: &Host, path: &str) -> Value {
    lines(host).into_iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("no line for {path}"))
}

/// What of the storage is in the newest backup.
pub fn stored(host: &Host) -> Vec<String> {
    names(&host.stored(""))
}

/// The logs that the newest backup took, the current one first.
pub fn taken(host: &Host) -> Vec<String> {
    logs_in(&host.stored(""))
}

/// The logs that are left in the storage, the current one first.
pub fn logs_left(host: &Host) -> Vec<String> {
    logs_in(&host.path("app"))
}

fn logs_in(folder: &Path) -> Vec<String> {
    let is_log = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "log");
    names(folder).into_iter().filter(is_log).collect()
}

/// Demands that every log of the fixture is still there.
#[track_caller]
pub fn no_log_is_deleted(host: &Host) {
    assert_eq!(logs_left(host), LOGS, "no log is deleted");
}

/// Demands that no session is left, no backup, and nothing that was begun of one.
#[track_caller]
pub fn nothing_is_left(host: &Host) {
    assert_eq!(host.session_folders(), Vec::<PathBuf>::new(), "no session is left");
    assert_eq!(host.backups("repo"), Vec::<String>::new(), "nothing is published");
    assert_eq!(host.partials("repo"), Vec::<String>::new(), "no partial is left");
}

/// Demands that a refused or failed backup left nothing behind and took nothing away.
#[track_caller]
pub fn nothing_happened(host: &Host) {
    nothing_is_left(host);
    no_log_is_deleted(host);
}

/// Demands that the session of `app` is still in progress, in this phase, stopped or not.
#[track_caller]
pub fn still(host: &Host, phase: &str, stopped: bool) {
    let sessions = host.status();
    assert_eq!(sessions.len(), 1, "the session is still there");
    assert_eq!((&sessions[0]["phase"], &sessions[0]["stopped"]), (&phase.into(), &stopped.into()));
}

/// Demands that the session is gone: every call says so, with exit code 5.
#[track_caller]
pub fn dropped(host: &Host) {
    for call in ["files", "read", "truncate", "end"] {
        host.run(&[call, "app"]).exits(5).says("[JET_errNoBackup, -520]");
    }
    nothing_happened(host);
}

/// The same, where there are so many backups of before.
#[track_caller]
pub fn dropped_to(host: &Host, backups: usize) {
    for call in ["files", "read", "truncate", "end"] {
        host.run(&[call, "app"]).exits(5).says("[JET_errNoBackup, -520]");
    }
    let left = (host.session_folders().len(), host.backups("repo").len(), host.partials("repo").len());
    assert_eq!(left, (0, backups, 0), "no session, nothing published, no partial");
}

/// The SHA-256 of a file anywhere, from coreutils.
pub fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg("--").arg(path).output().expect("sha256sum runs");
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().expect("a hash").to_owned()
}

/// Waits until a reader pauses before it reads something again that did not prove itself.
pub fn waits_for_a_page(running: &mut Running) {
    let tasks = PathBuf::from(format!("/proc/{}/task", running.pid()));
    eventually("a pause before another attempt", || {
        assert!(!running.is_over(), "it does not wait");
        names(&tasks).into_iter().map(|task| tasks.join(task)).any(|task| {
            let read = |name| fs::read_to_string(task.join(name)).unwrap_or_default(); // a thread may end meanwhile
            // clock_nanosleep(2), by its numbers on x86-64 and on the others
            let sleeps = || ["230 ", "115 "].iter().any(|number| read("syscall").starts_with(number));
            read("comm").trim_end() == "source" && sleeps()
        })
    });
}
