//! The acceptance cases of a stop (`spec/backup-protocol.md` §9, 65 to 79), on an instance of the Extensible Storage Engine.
//!
//! Cases that do not depend on what is read stand under their numbers elsewhere: 76 in `stop_rules.rs`, the races 73 and 74 in
//! `stop_races_end.rs`. How the waiting for a damaged page is stopped is case 28, in `acceptance_reading.rs`.

mod common;

use std::fs;

use common::acceptance::{
    TAKEN, clean, dropped, logs_left, no_log_is_deleted, nothing_happened, quick_clean, ruin_page, still, taken,
    waits_for_a_page,
};
use common::ese::DatabaseFile;
use common::{Host, Running};
use serde_json::{Value, json};

/// The advice that follows every call after a stop.
const ADVICE: &str = "`jetbak end`";

/// Makes the database so large that nobody reads all of it before the stop comes: a hole, which must be hashed as well.
fn grow(host: &Host) {
    let file = fs::OpenOptions::new().write(true).open(host.path("app/Web.edb")).expect("opened");
    file.set_len(4 << 30).expect("made longer");
}

/// Makes it what it was.
fn shrink(host: &Host) {
    host.write("app/Web.edb", DatabaseFile::new().build());
}

/// A session whose reader is in the middle of the database.
fn reading() -> (Host, Running) {
    let host = clean();
    grow(&host);
    host.ok(&["begin", "app", "--to", "repo"]);
    let reader = host.start_reading(&["read", "app"], "Web.edb");
    (host, reader)
}

/// A session that was stopped in the middle of the database, and whose reader has left.
fn stopped() -> Host {
    let (host, reader) = reading();
    host.ok(&["stop", "app", "--reason", "the window closes"]);
    reader.leaves().exits(4);
    host
}

/// Demands that the next backup of the instance is as good as if nothing had been.
fn the_next_one_works(host: &Host) {
    shrink(host);
    host.ok(&["backup", "app", "--to", "repo"]).says("backup 000001-");
    assert_eq!(taken(host), TAKEN);
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn case_65_a_stop_ends_the_read_and_the_session_stays() {
    let (host, reader) = reading();
    let answer = host.ok(&["stop", "app", "--reason", "the window closes", "--json"]).summary();
    assert_eq!(answer["stopped"].as_array().map(Vec::len), Some(1));
    let ran = reader.leaves().exits(4);
    assert_eq!(ran.stdout, "");
    ran.says(": the window closes [JET_errBackupAbortByServer, -801]").says(ADVICE);
    still(&host, "databases", true);
    host.ok(&["status"]).prints("; stopped by ");
    no_log_is_deleted(&host);
    assert_eq!(host.backups("repo"), Vec::<String>::new());
}

#[test]
fn case_66_after_a_stop_every_call_says_so_whatever_its_arguments_are_worth() {
    let host = stopped();
    let calls: &[&[&str]] = &[
        &["files", "app"],
        &["read", "app"],
        &["read", "app", "Web.edb"],
        &["read", "app", ""],
        &["read", "app", "edb00008.log"],
        &["read", "app", "no such file"],
        &["read", "app", "../escape", "--out", "copy"],
        &["read", "app", "Web.edb", "edb.chk", "--out", "copy"],
        &["read", "app", "--out", "copy"],
        &["truncate", "app"],
        &["truncate", "app", "--dry-run"],
    ];
    for call in calls {
        let ran = host.run(call);
        assert_eq!((ran.code, &*ran.stdout), (Some(4), ""), "{call:?}: {}", ran.stderr);
        ran.says(": the window closes [JET_errBackupAbortByServer, -801]").says(ADVICE);
    }
    assert!(!host.path("copy").exists());
    still(&host, "databases", true);
    no_log_is_deleted(&host);
}

#[test]
fn case_67_a_stopped_session_bars_a_begin() {
    let host = stopped();
    for call in [&["begin", "app", "--to", "other"][..], &["backup", "app", "--to", "repo"]] {
        host.run(call).exits(5).says("it was stopped [JET_errBackupInProgress, -505]").says(ADVICE);
    }
    still(&host, "databases", true);
    assert!(!host.path("other").exists());
}

#[test]
fn case_68_the_end_of_a_stopped_session_records_nothing_and_leaves_nothing() {
    let host = stopped();
    let summary = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&json!("stopped"), &json!(0)));
    assert_eq!((&summary["code"], &summary["id"], &summary["truncated"]), (&json!(-801), &Value::Null, &json!(0)));
    nothing_happened(&host);
    dropped(&host);
    the_next_one_works(&host);
    // Who wants a backup and nothing else hears that there is none.
    let host = stopped();
    host.run(&["end", "app", "--require-success"]).exits(4).says("-801]");
    nothing_happened(&host);
}

#[test]
fn case_69_an_abort_of_a_stopped_session_leaves_nothing_either() {
    let host = stopped();
    host.ok(&["end", "app", "--abort"]);
    nothing_happened(&host);
    dropped(&host);
    the_next_one_works(&host);
}

#[test]
fn case_70_two_stops_are_one() {
    let (host, reader) = reading();
    host.ok(&["stop", "app", "--reason", "the first reason"]);
    reader.leaves().exits(4).says(": the first reason [");
    let journal = host.journal();
    host.ok(&["stop", "app", "--reason", "the second reason"]).says("was stopped before");
    assert_eq!(host.journal(), journal, "nothing was recorded");
    host.run(&["read", "app"]).exits(4).says(": the first reason [");
    host.ok(&["end", "app"]).says("end stopped");
    nothing_happened(&host);
}

#[test]
fn case_71_a_stop_after_the_last_log_still_prevents_the_backup() {
    let host = quick_clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    still(&host, "logs", false);
    host.ok(&["stop", "app"]).says("stopped the backup of ");
    for call in [&["truncate", "app"][..], &["truncate", "app", "--dry-run"]] {
        host.run(call).exits(4).says("[JET_errBackupAbortByServer, -801]");
    }
    still(&host, "logs", true);
    let summary = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!((&summary["outcome"], &summary["truncated"]), (&json!("stopped"), &json!(0)));
    nothing_happened(&host);
}

#[test]
fn case_72_a_stop_after_truncate_comes_too_late_for_a_backup_that_stands() {
    for end in [&["end", "app", "--require-success"][..], &["end", "app", "--abort"]] {
        let host = quick_clean();
        host.ok(&["begin", "app", "--to", "repo"]);
        host.ok(&["read", "app"]);
        host.ok(&["truncate", "app"]).says("deleted 3 logs");
        // The logs are gone, so the backup that holds what they are needed for must not go as well.
        let answer = host.ok(&["stop", "app", "--json"]).summary();
        assert_eq!((&answer["stopped"], answer["too_late"].as_array().map(Vec::len)), (&json!([]), Some(1)));
        still(&host, "truncating", false);
        host.ok(end);
        assert_eq!(host.backups("repo").len(), 1, "{end:?}");
        assert_eq!((taken(&host), logs_left(&host)), (TAKEN.map(String::from).into(), TAKEN.map(String::from).into()));
        host.verifies("repo");
        host.is_tidy("repo");
    }
}

#[test]
fn case_75_a_stop_means_one_session_or_none() {
    let host = clean();
    host.ok(&["stop"]).says("nothing to stop");
    grow(&host);
    host.write("web/Web.edb", DatabaseFile { signature: 7, stream: 0, ..DatabaseFile::new() }.build());
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["begin", "web", "--to", "web-repo"]);
    let reader = host.start_reading(&["read", "app"], "Web.edb");
    // Which one is meant, nobody knows.
    host.run(&["stop"]).exits(5).says("2 backups are in progress").says("[JET_errRunningInMultiInstanceMode, -1081]");
    assert!(host.status().iter().all(|one| one["stopped"] == false), "none is stopped");
    // The other one goes on.
    host.ok(&["stop", "app"]);
    reader.leaves().exits(4).says("-801]");
    host.ok(&["read", "web"]);
    host.ok(&["end", "web"]).says("backup 000001-");
    host.verifies("web-repo");
    // The only one is meant.
    host.ok(&["stop"]).says("was stopped before");
    host.ok(&["end", "app"]).says("end stopped");
    nothing_happened(&host);
}

#[test]
fn case_77_a_stop_reaches_a_reader_that_is_stuck_in_a_full_pipe() {
    let host = clean();
    // More than a pipe holds: pages that the database has beyond those that it owns.
    host.write("app/Web.edb", DatabaseFile { ahead: 2000, ..DatabaseFile::new() }.build());
    host.ok(&["begin", "app", "--no-repository"]);
    let mut reader = host.start_reading(&["read", "app", "Web.edb", "--out", "-"], "Web.edb");
    reader.stays();
    host.ok(&["stop", "app", "--reason", "nobody listens"]);
    reader.leaves().exits(4).says(": nobody listens [JET_errBackupAbortByServer, -801]");
    still(&host, "databases", true);
    host.ok(&["end", "app"]).says("end stopped");
    nothing_happened(&host);
}

#[test]
fn case_78_a_signal_to_a_one_shot_is_a_stop_and_an_end() {
    // In the middle of a database, and while it waits for a page.
    let waiting = || {
        let host = quick_clean();
        ruin_page(&host, "app/Web.edb", 12);
        let mut backup = host.start(&["backup", "app", "--to", "repo", "--json"]);
        waits_for_a_page(&mut backup);
        (host, backup)
    };
    let in_the_middle = || {
        let host = clean();
        grow(&host);
        let backup = host.start_reading(&["backup", "app", "--to", "repo", "--json"], "Web.edb");
        (host, backup)
    };
    for (host, backup) in [waiting(), in_the_middle()] {
        backup.signal("TERM");
        let ran = backup.leaves().exits(143);
        assert_eq!(ran.stderr, "");
        let summary = ran.summary();
        assert_eq!((&summary["outcome"], &summary["exit_code"]), (&json!("stopped"), &json!(143)));
        assert_eq!((&summary["code"], &summary["id"]), (&json!(-801), &Value::Null));
        dropped(&host);
        the_next_one_works(&host);
    }
}

#[test]
fn case_79_a_reader_that_was_killed_leaves_a_session_that_can_be_stopped_and_ended() {
    let (host, reader) = reading();
    assert_eq!(reader.kill().code, None);
    still(&host, "databases", false);
    assert_eq!(host.status()[0]["readers"], 0);
    assert_eq!(host.partials("repo").len(), 1, "a crash leaves what was read");
    host.ok(&["stop", "app", "--wait", "5"]).says("stopped the backup of ");
    host.ok(&["end", "app"]).says("end stopped");
    nothing_happened(&host);
    the_next_one_works(&host);
    assert_eq!(logs_left(&host).len(), 6);
}
