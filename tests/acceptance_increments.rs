//! Acceptance cases 57 and 61 to 64 of the protocol (`spec/backup-protocol.md` §9), and those parts of 8, 12, 21, 55, 56 and
//! 58 that need backups which build on earlier ones. An instance goes on between them: [`acceptance::go_on`].

mod common;

use std::fs;

use common::acceptance::{
    self, clean, dropped_to, go_on, logs_left, manifest, manifest_in, quick_clean, range, second, still, taken,
    write_logs,
};
use common::ese::{self, LogFile, STREAM};
use common::{Host, Ran};
use serde_json::json;

const INCREMENTAL: [&str; 6] = ["backup", "app", "--to", "repo", "--kind", "incremental"];

fn backup(host: &Host, kind: &str, more: &[&str]) -> Ran {
    host.run(&[&["backup", "app", "--to", "repo", "--kind", kind], more].concat())
}

/// Demands that a refused backup made nothing beside these backups, and deleted nothing.
#[track_caller]
fn nothing_is_made(host: &Host, backups: usize, logs: &[String]) {
    assert_eq!(
        (host.backups("repo").len(), host.session_folders().len(), host.partials("repo").len()),
        (backups, 0, 0)
    );
    assert_eq!(logs_left(host), logs, "no log is deleted");
}

#[test]
fn case_8_and_12_an_incremental_session_reads_no_database_and_truncates_nothing_before_its_logs() {
    let host = clean();
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 12, 10);
    let before = logs_left(&host);
    host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental"]);
    host.run(&["truncate", "app"]).exits(5).says("-521");
    host.run(&["truncate", "app", "--dry-run"]).exits(5).says("-521");
    still(&host, "databases", false);
    assert_eq!(logs_left(&host), before);
    host.run(&["read", "app", "Web.edb"]).exits(5).says("[JET_errInvalidBackupSequence, -521]").says("Web.edb");
    host.run(&["read", "app", "Web.edb", "--out", "copy"]).exits(5).says("-521");
    host.run(&["read", "app", "nobody.edb"]).exits(2).says("-1003");
    still(&host, "logs", false); // there is nothing else to read, and a name was asked for
    host.ok(&["read", "app"]);
    host.run(&["read", "app", "Web.edb"]).exits(5).says("-521");
    host.ok(&["end", "app"]);
    assert_eq!(
        (range(&host), taken(&host)),
        ((10, 12), vec!["edb.log".into(), "edb0000A.log".into(), "edb0000B.log".into()])
    );
    assert!(!host.stored("Web.edb").exists(), "no database is in it");
    host.verifies("repo");
}

#[test]
fn case_21_an_incremental_session_that_never_listed_records_nothing() {
    let host = clean();
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 11, 10);
    host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental"]);
    host.run(&["end", "app"]).exits(5).says("[JET_errInvalidBackupSequence, -521]");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 1);
}

#[test]
fn case_55_after_another_full_an_incremental_counts_from_that_one() {
    let host = clean();
    backup(&host, "full", &["--truncate"]).exits(0);
    go_on(&host, 12, 10);
    backup(&host, "incremental", &["--truncate"]).exits(0);
    assert_eq!((range(&host), &manifest(&host)["truncated"]), ((10, 12), &json!(true)));
    go_on(&host, 14, 13);
    backup(&host, "full", &["--truncate"]).exits(0);
    let full = manifest(&host)["id"].clone();
    assert_eq!((range(&host), &manifest(&host)["parent"]), ((13, 14), &json!(null)));
    go_on(&host, 15, 14);
    for kind in ["incremental", "differential"] {
        backup(&host, kind, &[]).exits(0);
        assert_eq!((range(&host), &manifest(&host)["parent"]["id"]), ((14, 15), &full), "{kind}");
    }
    host.verifies("repo");
}

#[test]
fn case_56_a_copy_is_nobodys_parent_and_a_full_without_truncate_is_one() {
    let host = clean();
    backup(&host, "full", &[]).exits(0);
    let full = manifest(&host)["id"].clone();
    go_on(&host, 12, 11);
    backup(&host, "copy", &[]).exits(0);
    go_on(&host, 13, 12);
    backup(&host, "incremental", &[]).exits(0);
    assert_eq!((range(&host), &manifest(&host)["parent"]["id"]), ((10, 13), &full));
    host.verifies("repo");
}

#[test]
fn case_57_two_differentials_hold_the_same_first_log_and_only_an_incremental_truncates() {
    let host = clean();
    backup(&host, "full", &[]).exits(0);
    let full = manifest(&host)["id"].clone();
    for newest in [11, 12] {
        go_on(&host, newest, newest - 1);
        backup(&host, "differential", &[]).exits(0);
        assert_eq!(range(&host), (10, newest.into()), "everything since the full");
        let manifest = manifest(&host);
        assert_eq!((&manifest["kind"], &manifest["truncated"]), (&json!("differential"), &json!(false)));
        assert_eq!((&manifest["parent"]["id"], &manifest["changes"]), (&full, &json!("logs")));
    }
    let before = logs_left(&host);
    backup(&host, "differential", &["--truncate"]).exits(2).says("never truncates"); // decision 2
    nothing_is_made(&host, 3, &before);
    backup(&host, "incremental", &[]).exits(0);
    assert_eq!(
        (&manifest(&host)["kind"], &manifest(&host)["truncated"]),
        (&json!("incremental"), &json!(false)),
        "decision 3"
    );
    assert_eq!(range(&host), (10, 12), "a differential is nobody's parent");
    assert_eq!(logs_left(&host), before);
    host.verifies("repo"); // they count once they are proven
    go_on(&host, 13, 12);
    backup(&host, "incremental", &["--truncate"]).exits(0);
    assert_eq!((range(&host), &manifest(&host)["truncated"]), ((12, 13), &json!(true)));
    assert_eq!(logs_left(&host), ["edb.log", "edb0000C.log"]);
    host.verifies("repo");
}

#[test]
fn case_58_logs_that_somebody_else_deleted_below_the_join_are_nobodys_matter() {
    let host = clean();
    backup(&host, "full", &[]).exits(0);
    for generation in 5..=9 {
        fs::remove_file(host.path(format!("app/edb{generation:05X}.log"))).expect("removed");
    }
    go_on(&host, 11, 10);
    backup(&host, "incremental", &[]).exits(0);
    assert_eq!(range(&host), (10, 11));
    host.verifies("repo");
}

#[test]
fn case_61_without_a_full_backup_there_is_nothing_to_build_on() {
    let host = quick_clean();
    let before = logs_left(&host);
    for kind in ["incremental", "differential"] {
        backup(&host, kind, &[]).exits(5).says("[JET_errMissingFullBackup, -560]").says("full");
        host.run(&["begin", "app", "--to", "repo", "--kind", kind]).exits(5).says("-560");
        assert_eq!(host.session_folders().len(), 0, "no session");
        assert!(!host.path("repo").exists(), "nothing is made");
    }
    backup(&host, "copy", &[]).exits(0);
    backup(&host, "incremental", &[]).exits(5).says("-560");
    nothing_is_made(&host, 1, &before);
}

#[test]
fn case_61_a_database_that_no_full_backup_holds_needs_one() {
    let host = quick_clean();
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 11, 10);
    host.write("app/Zweite.edb", second().build());
    let before = logs_left(&host);
    let ran = backup(&host, "incremental", &[]).exits(5).says("[JET_errMissingFullBackup, -560]");
    assert!(ran.stderr.contains("Zweite.edb") && ran.stderr.contains("Make a full backup"), "{}", ran.stderr);
    nothing_is_made(&host, 1, &before);
    // The same database under another name is one that a restore would not know.
    fs::remove_file(host.path("app/Zweite.edb")).expect("removed");
    fs::rename(host.path("app/Web.edb"), host.path("app/Moved.edb")).expect("renamed");
    backup(&host, "incremental", &[]).exits(5).says("-560").says("Moved.edb");
    nothing_is_made(&host, 1, &before);
    backup(&host, "full", &[]).exits(0);
    backup(&host, "incremental", &[]).exits(0);
}

#[test]
fn case_62_a_gap_after_the_last_backup_is_named_at_begin() {
    let host = quick_clean();
    backup(&host, "full", &[]).exits(0); // up to 9, and 10, which was still written
    go_on(&host, 13, 12);
    fs::remove_file(host.path("app/edb0000A.log")).expect("removed");
    let before = logs_left(&host);
    for kind in ["incremental", "differential"] {
        let ran = backup(&host, kind, &[]).exits(3).says("[JET_errMissingFileToBackup, -569]");
        assert!(ran.stderr.contains("log 10 (0xA) is not there"), "{}", ran.stderr);
        host.run(&["begin", "app", "--to", "repo", "--kind", kind]).exits(3).says("-569");
        nothing_is_made(&host, 1, &before);
    }
    backup(&host, "full", &[]).exits(0);
}

#[test]
fn case_62_a_gap_at_list_time_drops_the_session() {
    let host = quick_clean();
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 13, 12);
    for lost in ["edb0000A.log", "edb0000B.log"] {
        host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental"]);
        let kept = fs::read(host.path("app").join(lost)).expect("read");
        fs::remove_file(host.path("app").join(lost)).expect("removed");
        let before = logs_left(&host);
        let number = if lost.contains('A') { "log 10 (0xA) is not there" } else { "log 11 (0xB) is not there" };
        host.run(&["read", "app"]).exits(3).says("[JET_errMissingFileToBackup, -569]").says(number);
        dropped_to(&host, 1);
        assert_eq!(logs_left(&host), before);
        host.write(&format!("app/{lost}"), kept);
    }
    host.run(&INCREMENTAL).exits(0);
}

#[test]
fn case_63_circular_logging_takes_full_backups_alone() {
    let host = quick_clean();
    let circular =
        |to: u32| LogFile::chain(5..=to).into_iter().map(|log| LogFile { circular: log.generation >= 10, ..log });
    write_logs(&host, "app", &circular(10).collect::<Vec<_>>());
    backup(&host, "full", &[]).exits(0);
    let before = logs_left(&host);
    for kind in ["incremental", "differential"] {
        backup(&host, kind, &[]).exits(5).says("[JET_errInvalidBackup, -526]");
        nothing_is_made(&host, 1, &before);
    }
    backup(&host, "full", &["--truncate"]).exits(0);
    assert_eq!(host.backups("repo").len(), 2);
    backup(&host, "incremental", &["--blocks"]).exits(0);
    host.verifies("repo");
}

#[test]
fn case_64_logs_that_begin_after_the_newest_backup_are_not_taken() {
    let host = quick_clean();
    write_logs(&host, "app", &LogFile::chain(5..=10)[..3]); // 7 is the current one
    for generation in 8..=9 {
        fs::remove_file(host.path(format!("app/edb{generation:05X}.log"))).expect("removed");
    }
    host.write("app/edb.chk", ese::checkpoint(6, STREAM));
    let _ = fs::remove_file(host.path("app/edb00007.log"));
    backup(&host, "full", &[]).exits(0);
    assert_eq!(range(&host), (6, 7));
    go_on(&host, 12, 11);
    for generation in 5..=8 {
        fs::remove_file(host.path(format!("app/edb{generation:05X}.log"))).expect("removed");
    }
    let before = logs_left(&host);
    backup(&host, "incremental", &[])
        .exits(3)
        .says("[JET_errMissingFileToBackup, -569]")
        .says("log 7 (0x7) is not there");
    nothing_is_made(&host, 1, &before);
}

#[test]
fn an_instance_that_was_put_back_is_refused_loudly() {
    let host = quick_clean();
    go_on(&host, 12, 11);
    backup(&host, "full", &[]).exits(0);
    // Restored from an older backup, it has not got that far again.
    for generation in 10..=11 {
        fs::remove_file(host.path(format!("app/edb{generation:05X}.log"))).expect("removed");
    }
    write_logs(&host, "other", &LogFile::chain(5..=10));
    fs::copy(host.path("other/edb.log"), host.path("app/edb.log")).expect("copied");
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    let before = logs_left(&host);
    // The numbers tell: it would be a full one.
    backup(&host, "incremental", &["--dry-run"])
        .exits(0)
        .says("rolled back")
        .says("its newest log generation is 10 and was 12")
        .says("This backup is a full one");
    nothing_is_made(&host, 1, &before);
    // Now it has, with other logs of the same numbers.
    let second = |second: u8, log: LogFile| LogFile { created: second, ..log };
    let mut logs = LogFile::chain(10..=14);
    let mut before_it = None;
    for log in &mut logs {
        let created = 40 + u8::try_from(log.generation - 10).expect("few");
        log.previous_created = before_it.or(log.previous_created);
        *log = second(created, log.clone());
        log.previous_accumulated = 0;
        before_it = Some(created);
    }
    write_logs(&host, "app", &logs);
    host.write("app/edb.chk", ese::checkpoint(12, STREAM));
    let before = logs_left(&host);
    let ran = backup(&host, "incremental", &[]).exits(3).says("[JET_errInvalidLogSequence, -515]");
    assert!(ran.stderr.contains("log 12 (0xC) is another one"), "{}", ran.stderr);
    nothing_is_made(&host, 1, &before);
    backup(&host, "full", &[]).exits(0);
}

#[test]
fn decision_3_a_differential_after_an_incremental_that_truncated_asks_for_an_incremental() {
    let host = quick_clean();
    backup(&host, "full", &["--truncate"]).exits(0);
    go_on(&host, 12, 12);
    backup(&host, "incremental", &["--truncate"]).exits(0);
    assert_eq!(logs_left(&host), ["edb.log"]);
    go_on(&host, 13, 12);
    let before = logs_left(&host);
    let ran = backup(&host, "differential", &[]).exits(3).says("[JET_errMissingFileToBackup, -569]");
    assert!(ran.stderr.contains("log 10 (0xA)") && ran.stderr.contains("incremental one again"), "{}", ran.stderr);
    nothing_is_made(&host, 2, &before);
    backup(&host, "incremental", &["--truncate"]).exits(0);
    host.verifies("repo");
}

#[test]
fn decision_21_the_state_comes_before_the_logs() {
    let host = quick_clean();
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 12, 11);
    host.write("app/Web.edb", ese::DatabaseFile::dirty(11, 12).build());
    fs::remove_file(host.path("app/edb0000A.log")).expect("removed");
    let before = logs_left(&host);
    backup(&host, "incremental", &[]).exits(6).says("[JET_errDatabaseDirtyShutdown, -550]");
    backup(&host, "incremental", &["--snapshot"]).exits(3).says("-569");
    nothing_is_made(&host, 1, &before);
    assert_eq!(manifest_in(&host.backup_folder())["kind"], "full");
}

#[test]
fn an_incremental_needs_a_repository() {
    let host = quick_clean();
    host.run(&["begin", "app", "--no-repository", "--kind", "incremental"]).exits(2).says("-1003");
    acceptance::nothing_is_left(&host);
}
