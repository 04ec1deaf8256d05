//! Going on in the middle of a large file: what of it was copied and synced is not read again from the source, and is
//! proven again from the copy.

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use common::{HeldJournal, Host};
use serde_json::{Value, json};

/// So large that a sync comes while it is read; nearly all of it is a hole, which is hashed only.
const LARGE_BYTES: u64 = 360 << 20;
const BEGIN: &[&str] = &["begin", "app", "--to", "repo", "--keep-partial"];
const BACKUP: &[&str] = &["backup", "app", "--to", "repo", "--json"];

/// A session whose reader was killed in the middle of a large file, of which a part is proven.
fn killed_in_the_middle() -> Host {
    let host = Host::quick();
    host.write("app/large.db", vec![b'a'; 5 << 20]);
    let file = fs::File::options().write(true).open(host.path("app/large.db")).expect("opened");
    file.write_all_at(b"the end", LARGE_BYTES - 7).expect("written");
    host.write("app/small.db", "small");
    host.ok(BEGIN);
    let held = HeldJournal::of(&host, "state").expect("a session");
    let mut reader = host.start(&["read", "app"]);
    while !held.events().contains(&"synced".to_owned()) {
        assert!(held.step(&mut reader), "a sync comes before the end");
    }
    assert_eq!(reader.kill().code, None, "killed");
    assert!(!held.events().contains(&"closed".to_owned()), "{:?}", held.events());
    drop(held);
    host
}

fn partial(host: &Host) -> PathBuf {
    host.path("repo/partial").join(host.partials("repo").pop().expect("a partial"))
}

/// Says in the session and its partial that it began so late that nothing had changed shortly before.
fn began_later(host: &Host) {
    let session = host.session_folders().into_iter().map(|folder| folder.join("session.json"));
    for path in session.chain([partial(host).join("owner.json")]) {
        let mut text: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        text["began"] = json!("2200-01-01T00:00:00Z");
        fs::write(path, text.to_string()).expect("written");
    }
}

/// How far the file was proven, with the hash of that.
fn half(host: &Host) -> (u64, String) {
    let text = fs::read_to_string(partial(host).join("records/1")).expect("records");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let half = lines.map(|line| line["half"].clone()).rfind(|half| !half.is_null()).expect("a half");
    assert_eq!(half["path"], "large.db");
    (half["bytes"].as_u64().expect("bytes"), half["sha256"].as_str().expect("a hash").to_owned())
}

fn sha256_of_first(path: &PathBuf, bytes: u64) -> String {
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", "head -c \"$1\" \"$2\" | sha256sum", "sh", &bytes.to_string()]).arg(path).output();
    String::from_utf8_lossy(&output.expect("sha256sum runs").stdout)[..64].to_owned()
}

fn end_session(host: &Host) {
    host.ok(&["stop", "app"]);
    host.ok(&["end", "app"]).says("what was read so far stays in ");
}

/// The copy is what the source is, and nothing is left of any session.
fn is_good(host: &Host) {
    host.is_tidy("repo");
    host.verifies("repo");
    let same = Command::new("cmp").arg(host.path("app/large.db")).arg(host.stored("large.db")).status();
    assert!(same.expect("cmp runs").success());
}

#[test]
fn the_beginning_comes_from_the_copy_and_not_from_the_source() {
    // In the same session, and in the next one after it was stopped. The copy is forged together with its hash: what the
    // backup then holds says where it was read.
    for is_same_session in [true, false] {
        let host = killed_in_the_middle();
        began_later(&host);
        let (bytes, sha256) = half(&host);
        let copy = partial(&host).join("backup/data/large.db");
        assert_eq!(sha256_of_first(&copy, bytes), sha256);
        assert_eq!(sha256_of_first(&host.path("app/large.db"), bytes), sha256);
        fs::File::options().write(true).open(&copy).expect("opened").write_all_at(b"b", 4 << 20).expect("written");
        let records = partial(&host).join("records/1");
        let text = fs::read_to_string(&records).expect("records");
        fs::write(records, text.replace(&sha256, &sha256_of_first(&copy, bytes))).expect("written");
        if is_same_session {
            host.ok(&["read", "app"]);
            host.ok(&["end", "app"]);
        } else {
            end_session(&host);
            let resumed = host.ok(BACKUP).summary()["resumed"].take();
            assert_eq!((&resumed["files"], &resumed["bytes"]), (&json!(0), &json!(bytes)));
        }
        host.is_tidy("repo");
        host.verifies("repo");
        let mut byte = [0];
        fs::File::open(host.stored("large.db")).expect("a copy").read_exact_at(&mut byte, 4 << 20).expect("read");
        assert_eq!(byte, *b"b");
    }
}

#[test]
fn a_backup_that_went_on_is_the_one_that_was_never_interrupted() {
    let host = killed_in_the_middle();
    began_later(&host);
    end_session(&host);
    host.ok(BACKUP);
    is_good(&host);
    let lines = |host: &Host| {
        let text = fs::read_to_string(host.backup_folder().join("files.jsonl")).expect("a list");
        let blocks = fs::read(host.backup_folder().join("blocks/data/large.db")).expect("a file of blocks");
        (text, blocks)
    };
    let resumed = lines(&host);
    host.ok(&["backup", "app", "--to", "repo"]);
    assert!(resumed == lines(&host), "{} is not {}", resumed.0, lines(&host).0);
    let kept_holes = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(host.stored("large.db")).expect("looked at"));
    assert!(kept_holes < 100_000, "holes stay holes");
    // It is a parent as any other.
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    host.verifies("repo");
}

#[test]
fn a_copy_that_decayed_is_thrown_away() {
    let host = killed_in_the_middle();
    began_later(&host);
    let copy = partial(&host).join("backup/data/large.db");
    fs::File::options().write(true).open(copy).expect("opened").write_all_at(b"b", 1 << 20).expect("written");
    host.ok(&["read", "app", "-v"]).says("large.db: the beginning of its copy is not what was read; reading it again");
    host.ok(&["end", "app"]);
    is_good(&host);
}

#[test]
fn a_source_that_changed_is_read_from_its_begin() {
    type Change = fn(&fs::File);
    let changes: [(&str, Change); 2] = [
        ("edited", |file| file.write_all_at(b"b", 1 << 20).expect("written")),
        ("longer", |file| file.set_len(LARGE_BYTES + 1).expect("made longer")),
    ];
    for (how, change) in changes {
        let host = killed_in_the_middle();
        began_later(&host);
        let file = fs::File::options().write(true).open(host.path("app/large.db")).expect("opened");
        change(&file);
        host.ok(&["read", "app", "-v"]).says("large.db: it is not what it was when it was begun; reading it again");
        host.ok(&["end", "app"]);
        is_good(&host);
        assert_eq!(host.backups("repo").len(), 1, "{how}");
    }
}

#[test]
fn a_file_that_is_new_by_the_time_of_the_next_backup_is_said_to_have_changed() {
    let host = killed_in_the_middle();
    began_later(&host);
    end_session(&host);
    host.write("app/other", "the next one");
    fs::rename(host.path("app/other"), host.path("app/large.db")).expect("renamed");
    host.ok(&["backup", "app", "--to", "repo"]);
    is_good(&host);
    assert_eq!(fs::read_to_string(host.stored("large.db")).expect("read"), "the next one");
}
