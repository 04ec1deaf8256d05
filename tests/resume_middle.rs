//! Going on in the middle of a large file: what of it was copied and synced is not read again from the source, and is
//! proven again from the copy.

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use common::interrupted::{began_later, end_session, read_until_full};
use common::{HeldJournal, Host, names};
use serde_json::{Value, json};

/// Mostly data, then a hole, and data again.
const LARGE_BYTES: u64 = 24 << 20;
const DATA_BYTES: usize = 12 << 20;
const BEGIN: &[&str] = &["begin", "app", "--to", "repo", "--keep-partial"];
const BACKUP: &[&str] = &["backup", "app", "--to", "repo", "--json"];

fn with_large_file(bytes: u64) -> Host {
    let host = Host::quick();
    let data: Vec<u8> =
        (0..DATA_BYTES).map(|at| u8::try_from((at / 4096 + at % 251) % 256).expect("a byte") | 1).collect();
    host.write("app/large.db", data);
    let file = fs::File::options().write(true).open(host.path("app/large.db")).expect("opened");
    file.write_all_at(b"the end", bytes - 7).expect("written");
    host.write("app/small.db", "small");
    host
}

/// A session whose reader found no space at the eleventh chunk of a large file, of which a part is proven.
fn killed_in_the_middle() -> Host {
    let host = with_large_file(LARGE_BYTES);
    host.ok(BEGIN);
    read_until_full(&host, "backup/data/large.db", 12);
    host
}

/// The same, killed: so large that a sync comes while it is read. Nearly all of it is a hole, which is hashed only.
fn really_killed_in_the_middle() -> Host {
    let host = with_large_file(2 << 30);
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

/// How far the file was proven, with the hash of that.
fn half(host: &Host) -> (u64, String) {
    let records = partial(host).join("records");
    let newest = names(&records).into_iter().rfind(|name| name.parse::<u32>().is_ok()).expect("a record file");
    let text = fs::read_to_string(records.join(newest)).expect("records");
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
        fs::File::options().write(true).open(&copy).expect("opened").write_all_at(b"#", 2 << 20).expect("written");
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
        fs::File::open(host.stored("large.db")).expect("a copy").read_exact_at(&mut byte, 2 << 20).expect("read");
        assert_eq!(byte, *b"#");
    }
}

#[test]
fn a_backup_that_went_on_is_the_one_that_was_never_interrupted() {
    went_on(&killed_in_the_middle());
}

#[test]
#[ignore = "hashes some gigabytes"]
fn a_backup_whose_reader_was_killed_beside_a_sync_is_the_one_that_was_never_interrupted() {
    went_on(&really_killed_in_the_middle());
}

fn went_on(host: &Host) {
    began_later(host);
    let (bytes, _) = half(host);
    assert!(bytes >= 4 << 20, "{bytes}");
    end_session(host);
    let resumed = host.ok(BACKUP).summary()["resumed"].take();
    assert_eq!((&resumed["files"], &resumed["bytes"]), (&json!(0), &json!(bytes)));
    is_good(host);
    let lines = |host: &Host| {
        let text = fs::read_to_string(host.backup_folder().join("files.jsonl")).expect("a list");
        let blocks = fs::read(host.backup_folder().join("blocks/data/large.db")).expect("a file of blocks");
        (text, blocks)
    };
    let resumed = lines(host);
    host.ok(&["backup", "app", "--to", "repo"]);
    assert!(resumed == lines(host), "{} is not {}", resumed.0, lines(host).0);
    let kept_holes = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(host.stored("large.db")).expect("looked at"));
    assert!(kept_holes < 30_000, "holes stay holes");
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

#[test]
fn a_copy_that_another_partial_has_too_is_not_written_into() {
    // As where the partial that it came from could not be removed.
    let host = killed_in_the_middle();
    began_later(&host);
    let copy = partial(&host).join("backup/data/large.db");
    fs::hard_link(&copy, host.path("other")).expect("linked");
    let before = fs::read(&copy).expect("read");
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    is_good(&host);
    assert!(fs::read(host.path("other")).expect("read") == before, "what another one has is as it was");
}

#[test]
fn what_was_begun_is_compared_with_the_file_as_it_is_now_also_where_an_attempt_came_to_nothing() {
    // The first attempt came further than the second one, of a file that had changed.
    let host = killed_in_the_middle();
    let file = fs::File::options().write(true).open(host.path("app/large.db")).expect("opened");
    file.write_all_at(b"b", 1 << 20).expect("written");
    let text = fs::read_to_string(partial(&host).join("records/1")).expect("records");
    read_until_full(&host, "backup/data/large.db", 12);
    let now = half(&host);
    let first = text.lines().find(|line| line.contains("half")).expect("a half");
    let further = first.replace(&format!("\"bytes\":{}", now.0), &format!("\"bytes\":{}", now.0 + (1 << 20)));
    assert_ne!(first, further);
    let records = partial(&host).join("records/1");
    fs::write(records, text.replacen(first, &further, 1)).expect("written");
    began_later(&host);
    end_session(&host);
    let resumed = host.ok(BACKUP).summary()["resumed"].take();
    assert_eq!(resumed["bytes"], json!(now.0));
    is_good(&host);
}

#[test]
fn what_follows_the_part_that_is_proven_is_cut_off() {
    // Of an attempt that came further, of which nothing says what it is; and where the source has a hole.
    let host = killed_in_the_middle();
    began_later(&host);
    let copy = fs::File::options().write(true).open(partial(&host).join("backup/data/large.db")).expect("opened");
    copy.write_all_at(&[b'x'; 4096], 16 << 20).expect("written");
    copy.set_len(LARGE_BYTES + 4096).expect("made longer");
    end_session(&host);
    let resumed = host.ok(BACKUP).summary()["resumed"].take();
    assert!(resumed["bytes"].as_u64() >= Some(4 << 20));
    is_good(&host);
}

#[test]
fn a_copy_that_lost_what_was_proven_is_made_again() {
    let host = killed_in_the_middle();
    began_later(&host);
    end_session(&host);
    let copy = fs::File::options().write(true).open(partial(&host).join("backup/data/large.db")).expect("opened");
    copy.set_len(half(&host).0 - 1).expect("cut");
    assert_eq!(host.ok(BACKUP).summary()["resumed"], Value::Null);
    is_good(&host);
}

#[test]
fn a_file_that_changed_shortly_before_it_was_begun_is_not_gone_on_with() {
    let host = killed_in_the_middle(); // it began within three seconds
    end_session(&host);
    assert_eq!(host.ok(BACKUP).summary()["resumed"], Value::Null);
    is_good(&host);
    // Nor in the same session.
    let host = killed_in_the_middle();
    let copy = partial(&host).join("backup/data/large.db");
    let before = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&copy).expect("looked at"));
    host.ok(&["read", "app"]);
    assert_ne!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(&copy).expect("looked at")), before, "a new copy");
}
