//! A stop in the middle of a read, from another process: who is told what, and what is left.

mod common;

use common::{Host, Running};
use serde_json::Value;

/// More than anybody reads before the stop comes.
const HUGE: u64 = 4 << 30;

/// A machine with a session whose reader is in the middle of a huge file.
fn reading() -> (Host, Running) {
    let host = Host::with_app();
    host.write_huge("app/huge.db", HUGE);
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    let reader = host.start_reading(&["read", "app"], "huge.db");
    (host, reader)
}

/// A machine with a session that was stopped in the middle of a read.
fn stopped() -> Host {
    let (host, reader) = reading();
    host.ok(&["stop", "app", "--reason", "the window closes"]);
    reader.leaves().exits(4);
    host
}

#[test]
fn the_reader_leaves_and_says_who_stopped_it_and_why() {
    let (host, reader) = reading();
    let mut stop = host.command(&["stop", "app", "--reason", "the window closes"]);
    stop.env("USER", "olga");
    common::finish(stop).exits(0).says("stopped the backup of ");

    let ran = reader.leaves().exits(4);
    let ran = ran.says("jetbak: the backup was stopped by olga (pid ");
    ran.says(": the window closes [JET_errBackupAbortByServer, -801]");
}

#[test]
fn a_reader_in_a_job_tells_of_the_stop_in_json() {
    let host = Host::with_app();
    host.write_huge("app/huge.db", HUGE);
    host.ok(&["begin", "app", "--to", "repo"]);
    let reader = host.start_reading(&["read", "app", "--json"], "huge.db");
    host.ok(&["stop", "app", "--reason", "the window closes"]);

    let ran = reader.leaves().exits(4);
    assert_eq!(ran.stderr, "");
    let lines = ran.json();
    let error = lines.iter().find(|line| line["type"] == "error").expect("an error");
    assert_eq!(error["jet"], "JET_errBackupAbortByServer");
    assert_eq!(error["code"], -801);
    assert_eq!(error["exit_code"], 4);
    assert!(error["message"].as_str().expect("text").ends_with(": the window closes"), "{error}");
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["command"], "read");
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"stopped".into(), &4.into()));
    assert_eq!(summary["code"], -801);
}

#[test]
fn every_reader_of_a_session_leaves() {
    let host = Host::new();
    host.write_huge("app/a.db", HUGE);
    host.write_huge("app/b.db", HUGE);
    host.ok(&["begin", "app", "--to", "repo"]);
    let first = host.start_reading(&["read", "app", "a.db"], "a.db");
    let second = host.start_reading(&["read", "app", "b.db"], "b.db");

    host.ok(&["stop", "app", "--wait", "5"]);
    assert_eq!(host.status()[0]["readers"], 0);
    first.leaves().exits(4);
    second.leaves().exits(4);
    host.ok(&["end", "app"]);
    host.is_tidy("repo");
}

#[test]
fn after_a_stop_every_call_says_so_before_it_looks_at_its_arguments() {
    let host = stopped();
    let calls: &[&[&str]] = &[
        &["files", "app"],
        &["read", "app"],
        &["read", "app", "main.db"],
        &["read", "app", "no such file"],
        &["read", "app", "../escape", "--out", "copy"],
        &["read", "app", "main.db", "wal.1", "--out", "copy"],
        &["read", "app", "--out", "copy"],
        &["read", "app", "main.db", "--out", "no/such/folder/copy"],
        &["truncate", "app"],
        &["truncate", "app", "--dry-run"],
    ];
    for call in calls {
        let ran = host.run(call);
        assert_eq!(ran.code, Some(4), "{call:?}: {}", ran.stderr);
        ran.says(": the window closes [JET_errBackupAbortByServer, -801]").says("`jetbak end`");
    }
    assert!(!host.path("copy").exists());
    host.ok(&["end", "app"]).says("end stopped");
}

#[test]
fn a_stopped_session_still_bars_a_begin() {
    let host = stopped();
    for call in [&["begin", "app", "--to", "other"], &["backup", "app", "--to", "repo"]] {
        host.run(call).exits(5).says("it was stopped [JET_errBackupInProgress, -505]").says("End it with `jetbak end`");
    }
    assert_eq!(host.session_folders().len(), 1);
    assert!(!host.path("other").exists());
}

#[test]
fn status_says_stopped_until_the_end() {
    let host = stopped();
    let sessions = host.status();
    assert_eq!(sessions.len(), 1);
    assert_eq!((&sessions[0]["stopped"], &sessions[0]["readers"]), (&true.into(), &0.into()));
    host.ok(&["status"]).prints("; stopped by ");

    host.ok(&["end", "app"]);
    assert_eq!(host.status(), Vec::<Value>::new());
    host.ok(&["status"]).says("no backup is in progress");
}

#[test]
fn the_end_of_a_stopped_session_is_a_success_that_leaves_nothing() {
    let host = stopped();
    let summary = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!((&summary["type"], &summary["command"]), (&"summary".into(), &"end".into()));
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"stopped".into(), &0.into()));
    assert_eq!((&summary["jet"], &summary["code"]), (&"JET_errBackupAbortByServer".into(), &(-801).into()));
    assert_eq!((&summary["id"], &summary["truncated"]), (&Value::Null, &0.into()));

    host.is_tidy("repo");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
    for number in 1..=4 {
        assert!(host.path(format!("app/wal.{number}")).exists(), "no log is deleted");
    }
    host.run(&["end", "app"]).exits(5).says("[JET_errNoBackup, -520]");
}

#[test]
fn end_abort_after_a_stop_leaves_nothing_either() {
    let host = stopped();
    host.ok(&["end", "app", "--abort"]);
    host.is_tidy("repo");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
}

#[test]
fn a_script_that_wants_a_backup_hears_that_there_is_none() {
    let host = stopped();
    let summary = host.run(&["end", "app", "--require-success", "--json"]).exits(4).summary();
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"stopped".into(), &4.into()));
    host.is_tidy("repo");
}

#[test]
fn the_next_backup_works_as_if_nothing_had_been() {
    let host = stopped();
    host.ok(&["end", "app"]);
    std::fs::remove_file(host.path("app/huge.db")).expect("removed");

    host.ok(&["backup", "app", "--to", "repo"]).says("backup 000001-");
    host.verifies("repo");
    host.is_tidy("repo");
    assert_eq!(std::fs::read(host.stored("main.db")).expect("read"), b"the database");
}

#[test]
fn a_backup_in_one_go_that_is_stopped_leaves_nothing_to_end() {
    let host = Host::with_app();
    host.write_huge("app/huge.db", HUGE);
    let backup = host.start_reading(&["backup", "app", "--to", "repo", "--log", "wal.*", "--truncate"], "huge.db");
    host.ok(&["stop", "app", "--reason", "the window closes", "--wait", "5"]);
    host.is_tidy("repo");

    backup.leaves().exits(4).says(": the window closes [JET_errBackupAbortByServer, -801]");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
    assert!(host.path("app/wal.1").exists(), "no log is deleted");
    host.run(&["end", "app"]).exits(5).says("[JET_errNoBackup, -520]");

    std::fs::remove_file(host.path("app/huge.db")).expect("removed");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
}

#[test]
fn a_ci_job_reads_that_its_backup_was_stopped() {
    let host = Host::with_app();
    host.write_huge("app/huge.db", HUGE);
    let backup = host.start_reading(&["backup", "app", "--to", "repo", "--json"], "huge.db");
    host.ok(&["stop"]);

    let ran = backup.leaves().exits(4);
    assert_eq!(ran.stderr, "");
    let lines = ran.json();
    assert_eq!(lines[0]["type"], "begun");
    assert!(lines.iter().any(|line| line["type"] == "error" && line["code"] == -801));
    let summary = lines.last().expect("a summary");
    assert_eq!((&summary["type"], &summary["command"]), (&"summary".into(), &"backup".into()));
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"stopped".into(), &4.into()));
    assert_eq!((&summary["jet"], &summary["code"]), (&"JET_errBackupAbortByServer".into(), &(-801).into()));
    assert_eq!(summary["session"], lines[0]["session"]);
    assert_eq!(summary["id"], Value::Null);
    host.is_tidy("repo");
}
