//! A backup goes on from what an earlier one had read that came to nothing; and what is not what it was is read again.
//!
//! A file counts as unchanged only if it had not changed in the last three seconds before the backup began that read it.
//! Most stories do not wait for that: they say in the partial that the backup began later.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::interrupted::{began_later, read_and_stop};
use common::{HeldJournal, Host, Ran, names};
use serde_json::{Value, json};

const BACKUP: &[&str] = &["backup", "app", "--to", "repo", "--log", "wal.*"];
/// Lines of the journal of such a backup when everything is proven.
const ALL_PROVEN: usize = 8;

/// A machine on which `BACKUP` was killed when everything was read and nothing published.
fn killed(prepare: impl Fn(&Host)) -> Host {
    for _ in 0..200 {
        let host = Host::quick_with_app();
        prepare(&host);
        let mut running = host.start(BACKUP);
        let Some(held) = HeldJournal::of_a_new_session(&host, "state", &mut running) else { continue };
        if held.step_to(ALL_PROVEN, &mut running) {
            assert_eq!(running.kill().code, None, "killed");
            return host;
        }
    }
    panic!("the backup was 200 times too quick to be killed");
}

/// A machine on which a session has read everything and was stopped.
fn stopped() -> Host {
    let host = Host::quick_with_app();
    read_and_stop(&host, &[], &[]);
    host
}

/// The only partial of a repository.
fn partial(host: &Host) -> PathBuf {
    let partials = host.partials("repo");
    assert_eq!(partials.len(), 1, "{partials:?}");
    host.path("repo/partial").join(&partials[0])
}

/// Marks the copy of a file in the only partial, so that one can tell whether it was taken over: a byte of it is another
/// one. Nobody reads the copy of a file that was read as a whole.
fn mark(host: &Host, name: &str) {
    let path = partial(host).join("backup/data").join(name);
    let mut content = fs::read(&path).expect("a copy");
    content[0] = b'#';
    let modified = fs::metadata(&path).expect("looked at").modified().expect("a time");
    let file = fs::File::options().write(true).open(&path).expect("opened");
    std::os::unix::fs::FileExt::write_all_at(&file, &content, 0).expect("written");
    file.set_modified(modified).expect("set");
}

/// Whether the newest backup has the marked copy of a file.
fn is_marked(host: &Host, name: &str) -> bool {
    fs::read(host.stored(name)).expect("a copy")[0] == b'#'
}

fn resumed(ran: &Ran) -> (u64, u64) {
    let resumed = &ran.summary()["resumed"];
    let number = |name: &str| resumed[name].as_u64().unwrap_or(0);
    assert_eq!(resumed.is_null(), number("files") + number("bytes") == 0);
    (number("files"), number("bytes"))
}

fn with<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [BACKUP, options].concat()
}

/// What everybody may rely on after a backup, wherever it began.
fn is_good(host: &Host) {
    host.is_tidy("repo");
    host.verifies("repo");
    assert_eq!(fs::read(host.stored("main.db")).expect("a copy"), fs::read(host.path("app/main.db")).expect("read"));
}

#[test]
fn what_a_killed_backup_had_read_is_not_read_again() {
    let host = killed(|host| host.settles("app"));
    let session = host.partials("repo").remove(0);

    let ran = host.ok(&with(&["--json"]));

    let bytes = "the database".len() + "colour = blue\n".len() + 4 * "log 1\n".len();
    assert_eq!(ran.summary()["resumed"], json!({"session": session, "files": 6, "bytes": bytes}));
    is_good(&host);
    let ran = host.ok(&with(&["--json"]));
    assert_eq!(ran.summary()["resumed"], Value::Null, "nothing is left to go on from");
}

#[test]
fn a_person_is_told_from_where_it_goes_on() {
    let host = stopped();
    let session = host.partials("repo").remove(0);
    let ran =
        host.ok(BACKUP).says(&format!("goes on from the session {session}: 6 files, 50 B need not be read again"));
    assert!(!ran.stderr.contains("changed since"), "{}", ran.stderr);
    is_good(&host);
}

#[test]
fn copies_that_are_taken_over_are_not_made_again() {
    let host = stopped();
    for name in ["main.db", "wal.2"] {
        mark(&host, name);
    }
    assert_eq!(resumed(&host.ok(&with(&["--json"]))).0, 6);
    assert!(is_marked(&host, "main.db") && is_marked(&host, "wal.2"));
    // A copy that decayed meanwhile is found as any other that decays after it was written.
    host.run(&["verify", "repo"]).exits(3);
}

#[test]
fn a_copy_that_decayed_is_found_before_a_log_is_deleted() {
    let host = stopped();
    mark(&host, "main.db");
    host.run(&with(&["--truncate"])).exits(3).says("what was written is not what was read");
    assert_eq!(host.logs().len(), 4);
    assert_eq!(host.backups("repo"), [""; 0]);
    // It was kept on purpose, and is; but nobody goes on from it any more.
    let ran = host.ok(&with(&["--truncate", "--json"]));
    assert_eq!(ran.summary()["resumed"], Value::Null);
    is_good(&host);
}

#[test]
fn a_copy_that_lost_its_end_is_made_again() {
    let host = Host::quick_with_app();
    read_and_stop(&host, &[], &["main.db", "conf"]);
    let copy = partial(&host).join("backup/data/main.db");
    fs::File::options().write(true).open(copy).expect("opened").set_len(5).expect("cut");
    assert_eq!(resumed(&host.ok(&with(&["--json"]))).0, 1);
    is_good(&host);
}

#[test]
fn a_file_that_changed_since_then_is_read_again() {
    type Change = fn(&Path);
    let changes: &[(&str, Change)] = &[
        ("edited", |path| fs::write(path, "the DATABASE").expect("written")),
        ("edited, with its time put back", |path| {
            let modified = fs::metadata(path).expect("looked at").modified().expect("a time");
            fs::write(path, "the DATABASE").expect("written");
            fs::File::options().write(true).open(path).expect("opened").set_modified(modified).expect("set");
        }),
        ("replaced", |path| {
            let new = path.with_extension("new");
            fs::write(&new, "the DATABASE").expect("written");
            let modified = fs::metadata(path).expect("looked at").modified().expect("a time");
            fs::File::options().write(true).open(&new).expect("opened").set_modified(modified).expect("set");
            fs::rename(new, path).expect("renamed");
        }),
        ("longer", |path| fs::write(path, "the database, and more").expect("written")),
    ];
    for (how, change) in changes {
        let host = stopped();
        change(&host.path("app/main.db"));
        host.ok(BACKUP).says("5 files, ").says("need not be read again; 1 changed since then");
        is_good(&host);
        assert_eq!(names(&host.backup_folder().join("data")).len(), 6, "{how}");
    }
}

#[test]
fn a_file_that_changed_shortly_before_the_backup_began_is_read_again() {
    let host = killed(|_| {}); // it began within three seconds
    host.ok(BACKUP).says("removed what the dead session");
    is_good(&host);
}

#[test]
fn files_that_are_gone_or_new_are_as_in_any_backup() {
    let host = stopped();
    fs::remove_file(host.path("app/conf/settings.ini")).expect("removed");
    fs::remove_file(host.path("app/wal.1")).expect("removed");
    host.write("app/a.new", "new");
    host.write("app/wal.5", "log 5\n");
    assert_eq!(resumed(&host.ok(&with(&["--json"]))).0, 4);
    is_good(&host);
    let copies = names(&host.backup_folder().join("data"));
    assert_eq!(copies, ["a.new", "conf", "main.db", "wal.2", "wal.3", "wal.4", "wal.5"]);
}

#[test]
fn logs_that_go_between_begin_and_their_list_leave_nothing_in_the_backup() {
    let host = stopped();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]).says("goes on from the session");
    fs::remove_file(host.path("app/wal.1")).expect("removed");
    host.write("app/wal.4", "another log 4\n");
    let read = host.ok(&["read", "app", "--json"]).summary();
    assert_eq!(read["files"], 1, "wal.4");
    host.ok(&["end", "app"]);
    is_good(&host);
    assert_eq!(fs::read_to_string(host.stored("wal.4")).expect("read"), "another log 4\n");
    assert!(!host.stored("wal.1").exists());
}

#[test]
fn a_session_of_a_person_goes_on_too_and_its_end_says_so() {
    let host = Host::quick_with_app();
    read_and_stop(&host, &[], &["main.db", "conf"]);
    let begun = host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*", "--json"]).summary();
    assert_eq!(begun["resumed"]["files"], 2);
    host.ok(&["files", "app"]);
    let read = host.ok(&["read", "app", "--json"]).summary();
    assert_eq!(read["files"], 4, "the logs");
    let end = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!((&end["files"], &end["resumed"]), (&json!(6), &begun["resumed"]));
    is_good(&host);
}

#[test]
fn nothing_is_taken_over_by_whom_it_does_not_fit() {
    for options in [&["--no-resume"][..], &["--kind", "copy"], &["--engine", "files", "--kind", "copy"]] {
        let host = stopped();
        let ran = host.ok(&with(&[options, &["--json"]].concat()));
        assert_eq!(ran.summary()["resumed"], Value::Null, "{options:?}");
        is_good(&host);
    }
}

#[test]
fn what_was_kept_on_purpose_is_gone_on_from_and_stays_kept() {
    let host = Host::quick_with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*", "--keep-partial"]);
    host.ok(&["read", "app", "main.db"]);
    host.ok(&["stop", "app"]);
    host.ok(&["end", "app"]).says("what was read so far stays in ");
    began_later(&host);
    // Not by one who reads all again: it stays for the next.
    host.ok(&["begin", "app", "--to", "repo", "--no-resume"]);
    host.ok(&["end", "app", "--abort"]);
    assert_eq!(host.partials("repo").len(), 1);
    // A session that goes on from it and is stopped leaves as much.
    for _ in 0..2 {
        host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]).says("1 file, 12 B need not be read again");
        host.ok(&["stop", "app"]);
        host.ok(&["end", "app"]).says("what was read so far stays in ");
        assert_eq!(host.partials("repo").len(), 1);
    }
    assert_eq!(resumed(&host.ok(&with(&["--json"]))), (1, 12));
    is_good(&host);
}

#[test]
fn a_second_crash_leaves_what_the_first_had_proven() {
    let host = stopped();
    for _ in 0..3 {
        // Nobody needs to know any more of a session that is dead.
        host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]).says("6 files, 50 B need not be read again");
        fs::remove_dir_all(&host.session_folders()[0]).expect("removed");
        assert_eq!(host.partials("repo").len(), 1, "what it went on from is its own now");
    }
    let ran = host.ok(&with(&["--json"]));
    assert_eq!(resumed(&ran).0, 6, "{}", ran.stderr);
    is_good(&host);
}

#[test]
fn a_session_goes_on_from_several_at_once() {
    // As a crash in the middle of going on leaves them.
    let host = Host::quick_with_app();
    read_and_stop(&host, &[], &["conf"]);
    let first = partial(&host);
    fs::rename(&first, host.path("aside")).expect("moved");
    read_and_stop(&host, &[], &["main.db"]);
    fs::rename(host.path("aside"), first).expect("moved");
    assert_eq!(host.partials("repo").len(), 2);
    assert_eq!(resumed(&host.ok(&with(&["--json"]))).0, 2);
    is_good(&host);
}

#[test]
fn the_partial_of_another_host_is_left_alone() {
    let host = stopped();
    let path = partial(&host).join("owner.json");
    let mut owner: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    owner["host"] = json!("elsewhere");
    fs::write(&path, owner.to_string()).expect("written");
    let ran = host.ok(&with(&["--json"]));
    assert_eq!(ran.summary()["resumed"], Value::Null);
    assert!(path.exists());
    host.verifies("repo");
}

#[test]
fn the_partial_of_a_session_that_lives_is_left_alone() {
    let host = Host::quick_with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    began_later(&host);
    let ran = host.ok(&["--state-dir", "other", "backup", "app", "--to", "repo", "--json"]);
    assert_eq!(ran.summary()["resumed"], Value::Null);
    host.ok(&["end", "app"]).says("backup 000002-");
    is_good(&host);
}

#[test]
fn a_partial_whose_records_are_damaged_is_read_anew() {
    for at in [0, 40, 200] {
        let host = stopped();
        let path = partial(&host).join("records/1");
        let mut text = fs::read(&path).expect("read");
        text[at] = b'\xff';
        fs::write(path, text).expect("written");
        let ran = host.ok(&with(&["--json"]));
        assert_eq!(ran.summary()["resumed"], Value::Null, "{at}");
        is_good(&host);
    }
}

#[test]
fn an_increment_goes_on_where_it_has_the_same_parent_only() {
    for has_parent in [true, false] {
        let host = Host::quick_with_app();
        host.ok(BACKUP);
        host.ok(BACKUP);
        host.write("app/main.db", "the next database");
        let next = with(&["--kind", "incremental"]);
        read_and_stop(&host, &["--kind", "incremental"], &[]);
        if !has_parent {
            fs::remove_dir_all(host.backup_folder()).expect("removed");
        }
        let ran = host.ok(&[&next[..], &["--json"]].concat());
        assert_eq!(resumed(&ran).0 > 0, has_parent, "{}", ran.stderr);
        is_good(&host);
    }
}

#[test]
fn what_no_sync_has_proven_is_read_again() {
    let host = stopped();
    let path = partial(&host).join("records/1");
    let text = fs::read_to_string(&path).expect("read");
    let lines = text.lines().filter(|line| !line.contains("\"proven\"")).map(|line| format!("{line}\n"));
    let unproven = lines.collect::<String>();
    assert_ne!(text, unproven);
    fs::write(&path, unproven).expect("written");
    assert_eq!(resumed(&host.ok(&with(&["--json"]))), (0, 0));
    is_good(&host);
}
