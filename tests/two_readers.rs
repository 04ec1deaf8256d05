//! Several readers of one session: they share the work, take over from the dead, and never read a file twice.

mod common;

use std::fs;
use std::io::Read;

use common::{HeldJournal, Host, Running, eventually};
use serde_json::Value;

/// More than eight batches of small files, so that several readers have something to share.
const MANY: usize = 1024 * 8 + 100;
/// Less than one batch.
const SOME: usize = 800;
const READ: &[&str] = &["read", "app", "--json"];

/// A session of many small files and four logs.
fn session_of_many() -> Host {
    let host = Host::quick();
    host.write_many(MANY);
    host.write_logs();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host
}

/// A session of one batch of files, which takes long enough to be met in the middle, and four logs.
fn session_of_some() -> Host {
    let host = Host::quick_with_app();
    host.write_many(SOME);
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host
}

fn files(summary: &Value) -> usize {
    usize::try_from(summary["files"].as_u64().expect("a number")).expect("small")
}

/// Everything is in the backup, once, and it proves itself.
fn all_is_there(host: &Host) {
    host.ok(&["end", "app"]);
    let list = host.ok(&["list", "repo", "--json"]).summary();
    assert_eq!(files(&list["backups"][0]), MANY + 4);
    host.is_tidy("repo");
    host.verifies("repo");
}

/// Starts readers and lets them go at the same moment, when each has its number.
fn start_together(host: &Host, readers: usize) -> Vec<Running> {
    let held = HeldJournal::of(host, "state").expect("a session");
    let running: Vec<_> = (0..readers).map(|_| host.start(READ)).collect();
    let slots = host.session_folders()[0].join("readers");
    eventually("every reader has its number", || fs::read_dir(&slots).expect("listed").count() >= readers);
    drop(held);
    running
}

#[test]
fn two_and_four_readers_share_the_work_and_each_file_is_read_once() {
    for readers in [2, 4] {
        let host = session_of_many();
        let summaries: Vec<_> =
            start_together(&host, readers).into_iter().map(|running| running.wait().exits(0).summary()).collect();
        let each: Vec<_> = summaries.iter().map(files).collect();
        assert_eq!(each.iter().sum::<usize>(), MANY + 4, "{each:?}");
        assert!(each.iter().all(|files| *files > 0), "everybody had a part: {each:?}");
        all_is_there(&host);
    }
}

#[test]
fn a_reader_that_finds_nothing_left_waits_until_everything_is_read() {
    let host = session_of_some();
    let held = HeldJournal::of(&host, "state").expect("a session");
    let before = held.events().len();
    let mut first = host.start(READ);
    assert!(held.step_to(before + 1, &mut first), "the first one has taken all databases");
    let mut second = host.start(READ);
    let slots = host.session_folders()[0].join("readers");
    eventually("the second has its number", || slots.join("2").exists());
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!second.is_over() && !first.is_over(), "exit 0 would not be true yet");
    drop(held);
    let read = [first, second].map(|running| files(&running.wait().exits(0).summary()));
    assert_eq!(read.iter().sum::<usize>(), SOME + 6);
    host.ok(&["end", "app"]);
    host.verifies("repo");
}

#[test]
fn what_a_killed_reader_had_taken_is_read_by_the_others() {
    let host = session_of_many();
    let held = HeldJournal::of(&host, "state").expect("a session");
    let before = held.events().len();
    let mut doomed = host.start(READ);
    assert!(held.step_to(before + 1, &mut doomed), "it has taken a batch");
    drop(held);
    let others = [host.start(READ), host.start(READ)];
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(doomed.kill().code, None, "killed while it read");
    let summaries = others.map(|running| running.wait().exits(0).summary());
    let read: usize = summaries.iter().map(files).sum();
    assert!((MANY + 4 - 1024 * 3..=MANY + 4).contains(&read), "{read}");
    all_is_there(&host);
}

#[test]
fn a_reader_that_waits_takes_over_from_one_that_dies_with_the_last_batch() {
    let host = session_of_some();
    let held = HeldJournal::of(&host, "state").expect("a session");
    let before = held.events().len();
    let mut doomed = host.start(READ);
    assert!(held.step_to(before + 1, &mut doomed));
    let waiting = host.start(READ);
    let slots = host.session_folders()[0].join("readers");
    eventually("the second has its number", || slots.join("2").exists());
    doomed.kill();
    drop(held);
    assert_eq!(files(&waiting.wait().exits(0).summary()), SOME + 6);
    host.ok(&["end", "app"]);
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn a_file_that_a_living_reader_holds_has_no_second_reader() {
    // Acceptance case 16.
    let host = Host::quick();
    let content: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    host.write("app/big.db", &content);
    host.write("app/small.db", "small");
    host.ok(&["begin", "app", "--no-repository"]);
    let mut first = host.start(&["read", "app", "big.db", "--out", "-"]);
    let mut stdout = first.child().stdout.take().expect("a pipe");
    let mut head = [0; 4];
    stdout.read_exact(&mut head).expect("it reads"); // and then the pipe is full

    let second = host.run(&["read", "app", "big.db", "--out", "copy", "--json"]).exits(5);
    let error = second.json().into_iter().find(|line| line["type"] == "error").expect("an error");
    assert_eq!(error["code"], -1011);
    assert!(error["message"].as_str().expect("text").contains("reader 1 is reading big.db already"));
    assert!(!host.path("copy").exists());
    host.ok(&["read", "app", "small.db", "--out", "small"]);
    host.run(&["end", "app"]).exits(5).says("-521");
    host.run(&["truncate", "app"]).exits(5).says("-521");

    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("read");
    first.wait().exits(0);
    assert_eq!([&head[..], &rest].concat(), content, "the first reader is unharmed");
    assert_eq!(fs::read(host.path("small")).expect("read"), b"small");
    host.ok(&["end", "app"]);
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn named_files_and_directories_are_read_and_a_plain_read_takes_the_rest() {
    let host = Host::quick_with_app();
    host.write("app/conf/deep/extra.ini", "x = 1\n");
    host.write("app/confusing", "not below conf");
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    let read = |names: &[&str]| files(&host.ok(&[&["read", "app", "--json"], names].concat()).summary());

    assert_eq!(read(&["main.db"]), 1);
    assert_eq!(read(&["./conf/"]), 2, "settings.ini and deep/extra.ini");
    host.ok(&["read", "app", "main.db"]).says("already read");
    host.ok(&["read", "app", "conf", "main.db"]).says("already read");
    assert_eq!(read(&["main.db", "confusing"]), 1, "what is done already is left out");
    let listed = host.ok(&["files", "app", "--json"]).summary();
    assert!(listed["databases"].as_array().expect("a list").iter().all(|file| file["done"] == true));
    assert_eq!(listed["phase"], "logs", "the database phase ended by itself");
    assert_eq!(read(&["wal.2"]), 1);

    assert_eq!(read(&[]), 3, "the other logs");
    assert_eq!(read(&[]), 0);
    host.ok(&["end", "app"]);
    host.verifies("repo");
}

#[test]
fn a_named_file_whose_reader_was_killed_is_read_when_it_is_named_again() {
    // A script that repeats its own command must not need another one first.
    let host = session_of_some();
    let held = HeldJournal::of(&host, "state").expect("a session");
    let before = held.events().len();
    let mut doomed = host.start(&["read", "app", "many", "main.db"]);
    assert!(held.step_to(before + 2, &mut doomed), "the storage itself, then what was named");
    doomed.kill();
    drop(held);
    let again = host.ok(&["read", "app", "many", "--json"]).summary();
    assert_eq!(files(&again), SOME + 1, "what the dead one had taken, whole");
    assert_eq!(files(&host.ok(READ).summary()), 5);
    host.ok(&["end", "app"]);
    host.verifies("repo");

    host.write_huge("app/huge.db", 4 << 20);
    host.ok(&["begin", "app", "--no-repository"]);
    let mut doomed = host.start(&["read", "app", "huge.db", "--out", "-"]);
    let mut first_bytes = [0; 4];
    doomed.child().stdout.as_mut().expect("a pipe").read_exact(&mut first_bytes).expect("it reads");
    doomed.kill();
    host.ok(&["read", "app", "huge.db", "--out", "copy"]);
    assert_eq!(fs::metadata(host.path("copy")).expect("there").len(), 4 << 20);
}

#[test]
fn of_two_that_read_the_same_named_file_at_once_one_is_refused_or_finds_it_done() {
    let host = Host::quick();
    host.write("app/main.db", "x".repeat(1 << 20));
    for _ in 0..20 {
        host.ok(&["begin", "app", "--to", "repo"]);
        let named = ["read", "app", "main.db"];
        let held = HeldJournal::of(&host, "state").expect("a session");
        let both = [host.start(&named), host.start(&named)];
        let slots = host.session_folders()[0].join("readers");
        eventually("both have looked for the file", || slots.join("2").exists());
        drop(held);
        let mut codes = both.map(|running| {
            let ran = running.wait();
            if ran.code != Some(0) {
                assert!(ran.stderr.contains("-1011"), "{}", ran.stderr);
            }
            ran.code
        });
        codes.sort_unstable();
        assert_eq!(codes, [Some(0), Some(5)]);
        host.ok(&["end", "app"]);
    }
    host.verifies("repo");
}

#[test]
fn a_reader_that_joins_a_one_shot_does_not_spoil_it() {
    let host = Host::with_app();
    host.write_huge("app/huge.db", 600 << 20);
    let backup = host.start(&["backup", "app", "--to", "repo"]);
    host.is_reading("huge.db");
    let reader = host.start(&["read", "app"]);
    backup.wait().exits(0).says("backup 000001-");
    let code = reader.wait().code;
    assert!([Some(0), Some(5)].contains(&code), "it read nothing, or the session ended before it looked: {code:?}");
    host.verifies("repo");
    host.is_tidy("repo");
}
