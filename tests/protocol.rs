//! The verbs by hand, one call a process: what each may do when, what it deletes, and that a slip costs nothing.
//!
//! The cases are those of the protocol's acceptance list, as far as they concern a directory of files.

mod common;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{Host, Ran, as_ordinary_user, eventually, finish, odd_name, open_to_all};
use serde_json::{Value, json};

const BEGIN: &[&str] = &["begin", "app", "--to", "repo", "--log", "wal.*"];

/// A session over two files and the logs `wal.1` to `wal.4`.
fn begun() -> Host {
    let host = Host::quick_with_app();
    host.ok(BEGIN);
    host
}

/// The same with everything read.
fn all_read() -> Host {
    let host = begun();
    host.ok(&["read", "app"]);
    host
}

/// Demands a refusal by number, with advice, after which the session stands as before.
#[track_caller]
fn is_refused(host: &Host, arguments: &[&str], code: i32, number: i32) {
    let journal = host.journal();
    let ran = host.run(&[arguments, &["--json"]].concat()).exits(code);
    let error = ran.json().into_iter().find(|line| line["type"] == "error").expect("an error");
    assert_eq!(error["code"], number, "{error}");
    assert!(error["hint"].is_string(), "it says what to do next: {error}");
    assert_eq!(host.journal(), journal, "nothing was recorded");
    assert_eq!(host.logs(), ["wal.1", "wal.2", "wal.3", "wal.4"], "no log is gone");
}

/// The logs that truncate recorded as deleted, in order.
fn recorded(host: &Host) -> Vec<String> {
    let journal = host.journal();
    let gone = journal.iter().filter(|line| line["event"] == "truncated");
    gone.map(|line| line["path"].as_str().expect("a path").to_owned()).collect()
}

fn truncated(ran: &Ran) -> Value {
    let answer = ran.json().into_iter().find(|line| line["type"] == "truncate");
    answer.unwrap_or_else(|| panic!("truncate answers: {}", ran.stdout))
}

/// Ends a session that has published, and demands that all is well.
fn ends_well(host: &Host) {
    host.ok(&["end", "app"]).says("backup 000001-");
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn without_a_session_every_call_says_so_and_makes_nothing() {
    // 1, 2, 3
    let host = Host::quick_with_app();
    for call in
        [&["read", "app"][..], &["files", "app"], &["truncate", "app"], &["end", "app"], &["end", "app", "--abort"]]
    {
        host.run(call).exits(5).says("no backup of app is in progress [JET_errNoBackup, -520]");
    }
    host.ok(&["stop"]).says("nothing to stop");
    host.ok(&["stop", "app"]).says("nothing to stop");
    host.run(&["end", "app"]).exits(5).says("-520");
    assert!(!host.path("state").exists() && !host.path("repo").exists());
    host.ok(BEGIN);
    host.ok(&["read", "app"]);
    ends_well(&host);
}

#[test]
fn a_wrong_command_line_begins_nothing() {
    // 6
    let host = Host::quick_with_app();
    host.run(&["begin", "app", "--to", "repo", "--kind", "atomic"]).exits(2);
    host.run(&["begin", "app"]).exits(2);
    host.run(&["begin", "app", "--to", "app/repo"]).exits(2).says("lies inside of the storage");
    host.run(&["begin", "nowhere", "--to", "repo"]).exits(1).says("-1023");
    host.run(&["backup", "app", "--to", "repo", "--kind", "copy", "--truncate"]).exits(2);
    assert!(!host.path("repo").exists());
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn files_shows_both_lists_and_begins_no_phase() {
    // 7
    let host = begun();
    host.write("app/wal.5", "of this moment");
    let journal = host.journal();
    let files = host.ok(&["files", "app", "--json"]).summary();
    assert_eq!(host.journal(), journal);
    assert_eq!(files["phase"], "databases");
    let paths = |list: &str| -> Vec<String> {
        let entries = files[list].as_array().expect("a list").iter();
        entries.map(|entry| entry["path"].as_str().expect("a path").to_owned()).collect()
    };
    assert_eq!(paths("databases"), ["conf/settings.ini", "main.db"]);
    assert_eq!(paths("logs"), ["wal.1", "wal.2", "wal.3", "wal.4", "wal.5"]);
}

#[test]
fn a_name_out_of_order_is_refused_and_the_session_goes_on() {
    // 9, 17
    let host = begun();
    is_refused(&host, &["read", "app", "wal.1"], 2, -1203);
    for name in ["nothing", "../app/main.db", "main.db/x"] {
        is_refused(&host, &["read", "app", name], 2, -1003);
    }
    host.run(&["read", "app", "conf", "--out", "copy"]).exits(2).says("conf has no content: it is a directory");
    is_refused(&host, &["read", "app", "main.db", "nothing"], 2, -1003);
    host.ok(&["read", "app"]);
    ends_well(&host);
}

#[test]
fn a_database_that_was_left_out_cannot_be_read_any_more_among_the_logs() {
    // 10, 46, 47
    let host = Host::quick_with_app();
    host.ok(&[BEGIN, &["--keep-going"]].concat());
    fs::remove_file(host.path("app/main.db")).expect("removed");
    host.run(&["read", "app"]).exits(6).says("left out");
    host.write("app/main.db", "back again");
    is_refused(&host, &["read", "app", "main.db"], 5, -521);
    host.ok(&["read", "app", "conf"]).says("already read");

    // An incomplete backup is never a reason to delete a log.
    is_refused(&host, &["truncate", "app", "--dry-run"], 5, -521);
    is_refused(&host, &["truncate", "app"], 5, -521);
    assert_eq!(host.logs(), ["wal.1", "wal.2", "wal.3", "wal.4"]);
    let end = host.run(&["end", "app", "--json"]).exits(6).summary();
    assert_eq!(end["outcome"], "incomplete");
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn truncate_waits_until_everything_is_read() {
    // 11, 42, decision 26
    let host = begun();
    is_refused(&host, &["truncate", "app"], 5, -521);
    is_refused(&host, &["truncate", "app", "--dry-run"], 5, -521);
    host.ok(&["read", "app", "main.db"]);
    is_refused(&host, &["truncate", "app"], 5, -521);
    host.ok(&["read", "app", "conf"]);
    host.ok(&["read", "app", "wal.1", "wal.2", "wal.4"]);
    is_refused(&host, &["truncate", "app"], 5, -616);
    assert_eq!(host.backups("repo"), [""; 0]);
    host.ok(&["read", "app", "wal.3"]);
    host.ok(&["truncate", "app"]).says("deleted 3 logs");
    ends_well(&host);
}

#[test]
fn while_a_reader_lives_nothing_is_truncated_or_ended_but_it_can_be_aborted() {
    // 13, 14, 15
    let host = Host::with_app();
    host.write_huge("app/huge.db", 4 << 30);
    host.ok(BEGIN);
    let mut reader = host.start_reading(&["read", "app"], "huge.db");
    reader.signal("STOP");
    is_refused(&host, &["truncate", "app"], 5, -521);
    is_refused(&host, &["end", "app"], 5, -521);
    reader.signal("CONT");
    assert!(!reader.is_over());

    host.ok(&["end", "app", "--abort"]);
    let ran = reader.wait();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert_eq!(host.backups("repo"), [""; 0]);
    host.is_tidy("repo");
    host.run(&["end", "app"]).exits(5).says("-520");
}

#[test]
fn an_end_before_everything_is_read_names_what_was_missing() {
    // 18, 19
    let host = begun();
    host.run(&["end", "app"]).exits(5).says("-800").says("conf/settings.ini, main.db");
    host.run(&["end", "app"]).exits(5).says("-520");
    host.ok(BEGIN);
    host.ok(&["read", "app", "main.db", "conf"]);
    host.ok(&["read", "app", "wal.2"]);
    let end = host.run(&["end", "app", "--json"]).exits(5).summary();
    assert_eq!(end["outcome"], "aborted");
    assert_eq!(end["missing"], json!(["wal.1", "wal.3", "wal.4"]));
    assert_eq!(host.backups("repo"), [""; 0]);
    assert_eq!(host.logs().len(), 4);
    host.is_tidy("repo");
}

#[test]
fn logs_go_oldest_first_and_the_newest_stays() {
    // 41, 51, 53
    let host = Host::quick_with_app();
    for number in 5..=12 {
        host.write(&format!("app/wal.{number}"), "a log");
    }
    host.write("app/old-wal.1", "not a log by its name");
    host.write("app/wal", "nor this one");
    host.ok(BEGIN);
    host.ok(&["read", "app"]);
    let names: Vec<_> = (1..=11).map(|number| format!("wal.{number}")).collect();

    let dry = host.ok(&["truncate", "app", "--dry-run"]);
    let first_words = dry.stdout.lines().map(|line| line.split_whitespace().next().expect("a log"));
    assert_eq!(first_words.collect::<Vec<_>>(), names);
    assert!(dry.stdout.starts_with("wal.1   in this backup, and not the newest of its series\n"), "{}", dry.stdout);
    assert_eq!(host.logs().len(), 12, "a dry run deletes nothing");
    assert_eq!(host.backups("repo"), [""; 0], "and publishes nothing");

    let done = truncated(&host.ok(&["truncate", "app", "--json"]));
    assert_eq!((&done["deleted"], &done["remaining"]), (&json!(names), &json!(["wal.12"])));
    assert_eq!(recorded(&host), names, "ten comes after nine");
    assert_eq!(host.backups("repo").len(), 1, "published before the first log went");

    let again = truncated(&host.ok(&["truncate", "app", "--json"]));
    assert_eq!(again["deleted"], json!([]));
    assert_eq!(host.logs(), ["wal.12"]);
    assert!(host.path("app/old-wal.1").exists() && host.path("app/wal").exists());
    ends_well(&host);
}

#[test]
fn a_dry_run_changes_nothing_ever() {
    // 52
    let host = all_read();
    let journal = host.journal();
    let dry = truncated(&host.ok(&["truncate", "app", "--dry-run", "--json"]));
    assert_eq!(dry["dry_run"], true);
    assert_eq!(dry["deleted"], json!(["wal.1", "wal.2", "wal.3"]));
    assert_eq!(dry["remaining"], json!(["wal.4"]));
    assert_eq!(host.journal(), journal);
    assert_eq!(host.logs().len(), 4);
    let done = truncated(&host.ok(&["truncate", "app", "--json"]));
    assert_eq!((&done["deleted"], &done["bytes"]), (&dry["deleted"], &dry["bytes"]));
    ends_well(&host);
}

#[test]
fn a_log_that_has_gone_already_is_counted_and_the_others_go() {
    // 48
    let host = all_read();
    fs::remove_file(host.path("app/wal.2")).expect("removed");
    let done = truncated(&host.ok(&["truncate", "app", "--json"]));
    assert_eq!(done["deleted"], json!(["wal.1", "wal.3"]));
    assert_eq!(done["missing"], json!(["wal.2"]));
    assert_eq!(host.logs(), ["wal.4"]);
    ends_well(&host);
}

#[test]
fn a_log_that_is_not_what_was_backed_up_stays_and_so_does_every_newer_one() {
    let host = all_read();
    host.write("app/wal.2", "written again\n");
    let ran = host.run(&["truncate", "app", "--json"]).exits(6);
    let error = ran.json().into_iter().find(|line| line["type"] == "error").expect("an error");
    assert_eq!(error["file"], "wal.2");
    let done = truncated(&ran);
    assert_eq!((&done["deleted"], &done["remaining"]), (&json!(["wal.1"]), &json!(["wal.2", "wal.3", "wal.4"])));
    assert_eq!(done["exit_code"], 6);
    assert_eq!(host.logs(), ["wal.2", "wal.3", "wal.4"]);
    ends_well(&host);
}

#[test]
fn a_log_that_may_not_be_deleted_ends_truncate_there_and_it_goes_on_after_repair() {
    // 49
    let host = Host::new();
    for (number, folder) in [(1, "a"), (2, "b"), (3, "a"), (4, "a"), (5, "b")] {
        host.write(&format!("app/{folder}/wal.{number}"), "a log");
    }
    open_to_all(&host, "app");
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    let mode = |mode| fs::set_permissions(host.path("app/b"), fs::Permissions::from_mode(mode)).expect("set");
    run(BEGIN).exits(0);
    run(&["read", "app"]).exits(0);
    mode(0o555);
    let ran = run(&["truncate", "app", "--json"]);
    mode(0o777);
    let ran = ran.exits(1);
    let error = ran.json().into_iter().find(|line| line["type"] == "error").expect("an error");
    assert_eq!(error["code"], -1032);
    assert_eq!(truncated(&ran)["deleted"], json!(["a/wal.1"]));
    assert!(host.path("app/b/wal.2").exists() && host.path("app/a/wal.3").exists());

    let done = truncated(&run(&["truncate", "app", "--json"]).exits(0));
    assert_eq!(done["missing"], json!(["a/wal.1"]));
    assert_eq!(done["deleted"], json!(["b/wal.2", "a/wal.3"]));
    assert!(host.path("app/a/wal.4").exists() && host.path("app/b/wal.5").exists(), "the newest of each stream");
    run(&["end", "app"]).exits(0).says("backup 000001-");
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn one_log_or_none_is_nothing_to_delete_and_fine() {
    // 50
    let host = Host::quick();
    host.write("app/wal.1", "the only one");
    host.ok(BEGIN);
    host.ok(&["read", "app"]);
    host.ok(&["truncate", "app"]).says("deleted 0 logs");
    ends_well(&host);
    assert_eq!(host.logs(), ["wal.1"]);

    let host = Host::quick_with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    host.ok(&["truncate", "app"]).says("deleted 0 logs");
    ends_well(&host);
    assert_eq!(host.logs().len(), 4, "without --log there are no logs");
}

#[test]
fn a_copy_and_a_session_without_repository_delete_no_log() {
    let host = Host::quick_with_app();
    host.ok(&[BEGIN, &["--kind", "copy"]].concat());
    host.ok(&["read", "app"]);
    is_refused(&host, &["truncate", "app"], 2, -1003);
    is_refused(&host, &["truncate", "app", "--dry-run"], 2, -1003);
    ends_well(&host);

    host.ok(&["begin", "app", "--no-repository", "--log", "wal.*"]);
    for name in ["main.db", "conf/settings.ini", "wal.1", "wal.2", "wal.3", "wal.4"] {
        host.ok(&["read", "app", name, "--out", "copy"]);
    }
    is_refused(&host, &["truncate", "app"], 5, -521);
    is_refused(&host, &["read", "app"], 2, -1003);
    let end = host.ok(&["end", "app"]);
    let digest = finish({
        let mut sums = std::process::Command::new("sha256sum");
        sums.arg(host.path("app/wal.3"));
        sums
    });
    let hash = digest.stdout.split_whitespace().next().expect("a hash").to_owned();
    end.prints(&format!("{hash}  wal.3"));
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn logs_that_are_written_while_databases_are_read_are_in_the_backup_and_later_ones_untouched() {
    // decision 25
    let host = begun();
    host.ok(&["read", "app", "main.db"]);
    host.write("app/wal.5", "written in the meantime");
    host.write("app/late.db", "a database that came late");
    host.ok(&["read", "app", "conf"]); // the last database: the list of logs is made here
    host.write("app/wal.6", "written too late");
    assert_eq!(host.ok(&["read", "app", "--json"]).summary()["files"], 5);
    let done = truncated(&host.ok(&["truncate", "app", "--json"]));
    assert_eq!(done["deleted"], json!(["wal.1", "wal.2", "wal.3", "wal.4"]));
    assert_eq!(host.logs(), ["wal.5", "wal.6"]);
    ends_well(&host);
    assert_eq!(fs::read_to_string(host.stored("wal.5")).expect("stored"), "written in the meantime");
    assert!(!host.stored("wal.6").exists() && !host.stored("late.db").exists());
}

#[test]
fn a_session_can_be_named_by_its_id_also_when_its_storage_is_gone() {
    let host = Host::quick_with_app();
    host.write("web/index.html", "hello");
    let id = |ran: Ran| ran.summary()["session"].as_str().expect("an id").to_owned();
    let app = id(host.ok(&[BEGIN, &["--json"]].concat()));
    let web = id(host.ok(&["begin", "web", "--to", "webrepo", "--json"]));
    host.run(&["files", "app", "--session", &web]).exits(2);
    host.run(&["files", "--session", "20260101T000000Z-000000"]).exits(2).says("no session has the id");
    host.ok(&["files", "--session", &web]).prints("index.html");
    host.ok(&["read", "--session", &app, "main.db"]);
    assert_eq!(host.ok(&["read", "--session", &app, "--json"]).summary()["files"], 5);
    host.ok(&["truncate", "--session", &app]).says("deleted 3 logs");
    host.ok(&["end", "--session", &app]).says("backup 000001-");
    assert_eq!(host.session_folders().len(), 1, "the other one goes on");

    fs::rename(host.path("web"), host.path("unmounted")).expect("renamed");
    host.ok(&["stop", "web"]).says("stopped the backup");
    host.ok(&["end", "--session", &web]).says("stopped");
    host.is_tidy("webrepo");
    host.verifies("repo");
}

#[test]
fn every_name_that_a_file_can_have_goes_through_all_verbs() {
    let host = Host::quick();
    let odd_log = PathBuf::from(OsString::from_vec(b"wal.\xfe\n 1".to_vec()));
    let names =
        [odd_name(), PathBuf::from("a b"), PathBuf::from("line\nbreak"), PathBuf::from("-n"), "\u{202e}x".into()];
    for name in names.iter().chain([&odd_log]) {
        fs::write(host.path("app").join(name), "content").expect("written");
    }
    let newest_log = PathBuf::from(OsString::from_vec(b"wal.\xfe\n 2".to_vec()));
    fs::write(host.path("app").join(&newest_log), "content").expect("written");
    host.ok(BEGIN);
    let shown = host.ok(&["files", "app"]).stdout;
    assert_eq!(shown.lines().count(), 7, "one line a file, whatever its name:\n{shown}");
    assert!(!shown.contains('\u{202e}'), "{shown}");

    let files = host.ok(&["files", "app", "--json"]).summary();
    let all = files["databases"].as_array().expect("a list").iter();
    let odd = all.filter(|file| file["path_base64"].is_string()).collect::<Vec<_>>();
    assert_eq!(odd.len(), 1, "only what is not UTF-8 needs its bytes beside it");
    assert_eq!(odd[0]["path_base64"], "b2Rk/wonIlxuYW1l");
    for name in &names {
        let arguments = [OsString::from("read"), "--json".into(), "app".into(), "--".into(), name.into()];
        assert_eq!(host.ok(&arguments).summary()["files"], 1, "{}", name.display());
        let out = ["read", "app", "--out", "copy", "--"].map(OsString::from);
        host.ok(&[&out[..], &[name.into()]].concat());
        assert_eq!(fs::read(host.path("copy")).expect("read"), b"content");
    }
    host.ok(&["read", "app"]);
    host.ok(&["truncate", "app"]).says("deleted 1 log");
    assert!(!host.path("app").join(&odd_log).exists());
    ends_well(&host);
    for name in names.iter().chain([&odd_log]) {
        assert_eq!(fs::read(host.stored("").join(name)).expect("stored"), b"content");
    }
}

#[test]
fn two_truncates_at_once_delete_each_log_once() {
    for _ in 0..10 {
        let host = all_read();
        let both = [host.start(&["truncate", "app", "--json"]), host.start(&["truncate", "app", "--json"])];
        let mut deleted = 0;
        for ran in both.map(common::Running::wait) {
            assert!(matches!(ran.code, Some(0 | 5)), "{}", ran.stdout);
            if ran.code == Some(0) {
                deleted += truncated(&ran)["deleted"].as_array().expect("a list").len();
            }
        }
        assert_eq!(deleted, 3);
        assert_eq!(host.logs(), ["wal.4"]);
        ends_well(&host);
    }
}

#[test]
fn status_tells_the_phase_that_each_call_has_reached() {
    let host = begun();
    let status = || host.ok(&["status", "app", "--json"]).summary()["sessions"][0].clone();
    assert_eq!((&status()["phase"], &status()["files_done"]), (&json!("databases"), &json!(0)));
    host.ok(&["read", "app", "main.db", "conf"]);
    assert_eq!(status()["phase"], "logs");
    assert_eq!(status()["readers"], 0);
    host.ok(&["read", "app"]);
    eventually("everything is counted", || status()["bytes_done"] == status()["bytes_total"]);
    host.ok(&["truncate", "app"]);
    assert_eq!(status()["phase"], "truncating");
    ends_well(&host);
    assert_eq!(host.ok(&["status", "--json"]).summary()["sessions"], json!([]));
}

#[test]
fn a_storage_of_nothing_but_logs_can_be_read_log_by_log() {
    let host = Host::quick();
    host.write_logs();
    host.ok(BEGIN);
    host.ok(&["read", "app", "wal.2"]);
    host.ok(&["read", "app"]);
    ends_well(&host);
    host.ok(&["begin", "app", "--no-repository", "--log", "wal.*"]);
    for name in ["wal.1", "wal.2", "wal.3", "wal.4"] {
        host.ok(&["read", "app", name, "--out", "copy"]);
    }
    host.ok(&["end", "app"]).prints("  wal.4");
}

#[test]
fn a_log_whose_name_is_not_utf8_is_named_exactly() {
    let host = Host::quick();
    let odd = OsString::from_vec(b"wal.\xff.1".to_vec());
    fs::write(host.path("app").join(&odd), "old").expect("written");
    let newest = OsString::from_vec(b"wal.\xff.2".to_vec());
    fs::write(host.path("app").join(&newest), "new").expect("written");
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.ok(&["read", "app"]);
    let truncated = host.ok(&["truncate", "app", "--json"]).summary();
    assert_eq!(truncated["deleted"], json!(["wal.\u{fffd}.1"]));
    assert_eq!(truncated["deleted_base64"], json!(["d2FsLv8uMQ=="]));
    assert_eq!(truncated.get("missing_base64"), None, "only where it is needed");
    assert!(!host.path("app").join(&odd).exists() && host.path("app").join(&newest).exists());
}
