//! The end of a session: what it says, and what it leaves.

mod common;

use std::fs;
use std::io::Read;

use common::{Host, Running};
use serde_json::json;

/// A session without repository whose reader waits until somebody reads its pipe.
fn waiting_reader() -> (Host, Running) {
    let host = Host::new();
    host.write("app/large.db", "x".repeat(8 << 20));
    host.ok(&["begin", "app", "--no-repository"]);
    let reader = host.start_reading(&["read", "app", "large.db", "--out", "-"], "large.db");
    (host, reader)
}

#[test]
fn an_end_right_after_begin_lists_what_was_not_read() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.run(&["end", "app"])
        .exits(5)
        .says("the session is over without a backup: not everything was read (conf/settings.ini, main.db) [")
        .says("[JET_errBackupAbortByCaller, -800]");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
}

#[test]
fn a_job_reads_what_an_early_end_has_missed() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app", "wal.1", "wal.2", "wal.3", "wal.4", "conf"]);
    let lines = host.run(&["end", "app", "--json"]).exits(5).json();
    assert_eq!((&lines[0]["type"], &lines[0]["code"]), (&"error".into(), &(-800).into()));
    let summary = &lines[1];
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"aborted".into(), &5.into()));
    assert_eq!((&summary["jet"], &summary["code"]), (&"JET_errBackupAbortByCaller".into(), &(-800).into()));
    assert_eq!((&summary["missing"], &summary["missing_count"]), (&json!(["main.db"]), &1.into()));
    host.is_tidy("repo");
}

#[test]
fn an_end_with_much_missing_names_the_first_and_counts_the_rest() {
    let host = Host::new();
    for number in 100..130 {
        host.write(&format!("app/{number}.db"), "x");
    }
    host.ok(&["begin", "app", "--to", "repo"]);
    host.run(&["end", "app"]).exits(5).says("(100.db, 101.db, ").says("119.db, and 10 more)");
}

#[test]
fn logs_that_were_not_read_are_missed_as_well() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.ok(&["read", "app", "main.db", "conf"]);
    host.ok(&["read", "app", "wal.2"]);
    host.run(&["end", "app"]).exits(5).says("(wal.1, wal.3, wal.4) [");
    host.is_tidy("repo");
}

#[test]
fn a_session_ends_once() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]).says("backup 000001-");
    for call in [&["end", "app"][..], &["end", "app", "--abort"], &["end", "app", "--require-success"]] {
        host.run(call).exits(5).says("no backup of app is in progress [JET_errNoBackup, -520]");
    }
    assert_eq!(host.backups("repo").len(), 1);
    host.verifies("repo");
}

#[test]
fn an_end_while_somebody_reads_is_refused_and_the_reader_goes_on() {
    let (host, mut reader) = waiting_reader();
    host.run(&["end", "app"]).exits(5).says("reader 1 is still reading [JET_errInvalidBackupSequence, -521]");
    reader.stays();

    let mut data = Vec::new();
    reader.child().stdout.take().expect("a pipe").read_to_end(&mut data).expect("read");
    assert_eq!(data.len(), 8 << 20);
    reader.leaves().exits(0);
    let summary = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!((&summary["outcome"], &summary["files"]), (&"completed".into(), &1.into()));
}

#[test]
fn an_abort_stops_whoever_reads() {
    let host = Host::with_app();
    host.write_huge("app/huge.db", 4 << 30);
    host.ok(&["begin", "app", "--to", "repo"]);
    let reader = host.start_reading(&["read", "app"], "huge.db");

    let summary = host.ok(&["end", "app", "--abort", "--json"]).summary();
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"aborted".into(), &0.into()));
    assert_eq!(summary["code"], -800);
    reader.leaves().exits(4).says("stopped by `jetbak end --abort` by ").says("-801]");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
}

#[test]
fn an_abort_frees_a_reader_that_is_stuck_in_a_pipe() {
    let (host, reader) = waiting_reader();
    host.ok(&["end", "app", "--abort"]);
    reader.leaves().exits(4);
    assert!(host.session_folders().is_empty());
}

#[test]
fn a_partial_that_was_to_be_kept_stays_until_the_next_backup() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--keep-partial"]);
    host.ok(&["read", "app", "main.db"]);
    host.ok(&["stop", "app"]);
    let ran = host.ok(&["end", "app"]);
    let kept = ran.stderr.lines().find_map(|line| line.strip_prefix("what was read so far stays in "));
    let kept = std::path::Path::new(kept.expect("it says where")).join("main.db");

    assert!(host.session_folders().is_empty());
    assert_eq!(host.backups("repo"), Vec::<String>::new(), "a partial is no backup");
    let partials = host.partials("repo");
    assert_eq!(partials.len(), 1);
    assert_eq!(fs::read(&kept).expect("read"), b"the database");

    // A session that publishes nothing does not cost it.
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["end", "app", "--abort"]);
    assert_eq!(host.partials("repo"), partials);

    host.ok(&["backup", "app", "--to", "repo"]);
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn without_a_repository_the_end_reports_hashes_that_coreutils_confirms() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--no-repository", "--log", "wal.*"]);
    let files = ["conf/settings.ini", "main.db", "wal.1", "wal.2", "wal.3", "wal.4"];
    for file in files {
        let out = host.ok(&["read", "app", file, "--out", "-"]).stdout;
        assert_eq!(out, fs::read_to_string(host.path("app").join(file)).expect("read"));
    }
    let ran = host.ok(&["end", "app"]);
    let mut lines: Vec<_> = ran.stdout.lines().map(str::to_owned).collect();
    lines.sort_by_key(|line| line.split_whitespace().next_back().map(str::to_owned));
    let expected: Vec<_> =
        files.iter().map(|file| format!("{}  {file}", host.sha256(&format!("app/{file}")))).collect();
    assert_eq!(lines, expected);
    assert!(host.session_folders().is_empty());
}

#[test]
fn without_a_repository_directories_and_links_do_not_hold_the_session_up() {
    // They are nothing that `--out` could write, and the logs could never be reached.
    let host = Host::new();
    host.write("app/conf/main.db", "the database");
    fs::create_dir(host.path("app/hollow")).expect("created");
    std::os::unix::fs::symlink("conf", host.path("app/link")).expect("linked");
    host.ok(&["begin", "app", "--no-repository"]);
    host.ok(&["read", "app", "conf/main.db", "--out", "copy"]);
    let summary = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!((&summary["outcome"], &summary["files"]), (&"completed".into(), &1.into()));
}

#[test]
fn where_there_is_no_database_a_log_can_be_read_by_name_at_once() {
    // The list of logs was fixed only after the last database was read, and here there is none to read.
    let host = Host::new();
    host.write("app/wal.1", "log 1");
    host.ok(&["begin", "app", "--no-repository", "--log", "wal.*"]);
    assert_eq!(host.ok(&["read", "app", "wal.1", "--out", "-"]).stdout, "log 1");
    host.ok(&["end", "app"]).prints("  wal.1\n");

    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    fs::create_dir(host.path("copies")).expect("created");
    host.ok(&["read", "app", "wal.1", "--out", "copies/wal.1"]);
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    host.verifies("repo");
}

#[test]
fn without_a_repository_a_job_gets_a_line_of_json_a_file() {
    let host = Host::new();
    host.write("app/main.db", "the database");
    host.ok(&["begin", "app", "--no-repository"]);
    host.ok(&["read", "app", "main.db", "--out", "copy"]);
    let lines = host.ok(&["end", "app", "--json"]).json();
    let expected = json!({"type": "file", "path": "main.db", "size": 12, "sha256": host.sha256("copy")});
    assert_eq!(lines[0], expected);
    let summary = &lines[1];
    assert_eq!(
        (&summary["outcome"], &summary["files"], &summary["bytes"]),
        (&"completed".into(), &1.into(), &12.into())
    );
    assert_eq!(summary["id"], serde_json::Value::Null);
}

#[test]
fn without_a_repository_nothing_is_truncated_and_nothing_read_without_out() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--no-repository", "--log", "wal.*"]);
    host.run(&["read", "app"]).exits(2).says("--out");
    for file in ["conf/settings.ini", "main.db", "wal.1", "wal.2", "wal.3", "wal.4"] {
        host.ok(&["read", "app", file, "--out", "copy"]);
    }
    for call in [&["truncate", "app"][..], &["truncate", "app", "--dry-run"]] {
        host.run(call).exits(5).says("[JET_errInvalidBackupSequence, -521]").says("--to REPO");
    }
    host.ok(&["end", "app"]);
    assert!(host.path("app/wal.1").exists());
}

#[test]
fn without_a_repository_a_stop_ends_without_hashes() {
    let host = Host::new();
    host.write("app/main.db", "the database");
    host.ok(&["begin", "app", "--no-repository"]);
    host.ok(&["read", "app", "main.db", "--out", "copy"]);
    host.ok(&["stop", "app"]);
    let ran = host.ok(&["end", "app"]).says("end stopped");
    assert_eq!(ran.stdout, "");
    assert!(host.session_folders().is_empty());
}

#[test]
fn what_appeared_after_begin_is_not_in_the_backup_and_the_summary_says_how_much() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.write("app/late.db", "too late");
    host.write("app/conf/late.ini", "too late");
    host.write("app/wal.5", "a log of the log phase");
    host.ok(&["read", "app"]);
    host.write("app/wal.6", "a log that came after it");
    let end = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!(end["appeared"], 3);
    assert!(host.stored("wal.5").exists() && !host.stored("wal.6").exists() && !host.stored("late.db").exists());
    host.verifies("repo");

    host.ok(&["begin", "app", "--to", "repo"]);
    host.write("app/later.db", "too late");
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]).says("1 file appeared after it began and is not in it");
}
