//! The acceptance cases of sources that are unfit, or fit with a word (`spec/backup-protocol.md` §9, 82 to 90).

mod common;

use std::fs;

use common::acceptance::{
    LOGS, TAKEN, backup, clean, dirty, dropped, flip, logs_left, manifest, nothing_happened, nothing_is_left, second,
    spread, still, stored, taken, two_databases, write_logs,
};
use common::ese::{self, DatabaseFile, LogFile, STREAM};
use common::{Host, Ran};
use serde_json::{Value, json};

/// Without any word about a snapshot.
const LIVE: &[&str] = &["backup", "app", "--to", "repo"];

/// What a refusal says in JSON: number, file, exit code; nothing was read before it.
#[track_caller]
fn refusal(ran: &Ran) -> (i64, String, i64) {
    let lines = ran.json();
    let error = lines.iter().find(|line| line["type"] == "error").expect("an error");
    assert!(error["hint"].is_string(), "it says what to do next: {error}");
    assert!(lines.iter().all(|line| line["bytes"].as_u64().unwrap_or(0) == 0), "nothing was read");
    let file = error["file"].as_str().unwrap_or_default().to_owned();
    (error["code"].as_i64().unwrap_or(0), file, error["exit_code"].as_i64().unwrap_or(0))
}

#[test]
fn case_82_a_dirty_database_without_a_word_about_a_snapshot_is_refused() {
    let host = dirty();
    for call in [LIVE, &["begin", "app", "--to", "repo"]] {
        host.run(call)
            .exits(6)
            .says("Web.edb was not shut down: it is in use, or its application has crashed")
            .says("[JET_errDatabaseDirtyShutdown, -550]")
            .says("mount a snapshot of the volume and back that up with --snapshot");
        let ran = host.run(&[call, &["--json"]].concat()).exits(6);
        assert_eq!(refusal(&ran), (-550, "Web.edb".to_owned(), 6));
        assert!(!host.path("repo").exists(), "nothing is made for a storage that is unfit");
        nothing_happened(&host);
    }
    // Also where a log is missing: the state comes first (decision 21).
    fs::remove_file(host.path("app/edb00009.log")).expect("removed");
    host.run(LIVE).exits(6).says("-550]");
    nothing_is_left(&host);
    // And wherever it lies.
    let host = spread();
    host.write("app/data/Web.edb", DatabaseFile::dirty(8, 10).build());
    host.run(LIVE).exits(6).says("data/Web.edb was not shut down").says("-550]");
    nothing_is_left(&host);
}

#[test]
fn case_83_a_dirty_snapshot_is_copied_with_the_logs_that_it_needs() {
    let host = dirty();
    let summary = backup(&host, &["--json"]).exits(0).summary();
    assert_eq!(summary["outcome"], "completed");
    assert_eq!(stored(&host), ["Web.edb", "edb.chk", "edb.log", "edb00008.log", "edb00009.log"]);
    for name in stored(&host) {
        assert_eq!(host.sha256(&format!("app/{name}")), common::acceptance::sha256(&host.stored(&name)), "{name}");
    }
    let instance = manifest(&host)["instance"].clone();
    assert_eq!((&instance["needs_recovery"], &instance["snapshot"]), (&json!(true), &json!(true)));
    assert_eq!(instance["required"], json!({"low": 8, "high": 10}));
    let database = &instance["databases"][0];
    assert_eq!((&database["state"], &database["required"]), (&json!("dirty shutdown"), &json!({"low": 8, "high": 10})));
    host.verifies("repo");
    host.is_tidy("repo");
    assert_eq!(logs_left(&host), LOGS);
    host.ok(&["show", "repo"]).prints("its engine must replay the logs before the databases can be used");
}

#[test]
fn case_84_a_required_log_that_is_missing_is_named_before_the_first_byte() {
    for (gone, named) in [("edb00009.log", "missing: 9 (0x9)"), ("edb00008.log", "missing: 8 (0x8)")] {
        let host = dirty();
        fs::remove_file(host.path("app").join(gone)).expect("removed");
        let ran = backup(&host, &[]).exits(3).says("needs logs 8-10 (0x8-0xA)").says(named);
        ran.says("[JET_errRequiredLogFilesMissing, -543]");
        let ran = backup(&host, &["--json"]).exits(3);
        assert_eq!(refusal(&ran), (-543, "Web.edb".to_owned(), 3));
        // Nobody can wave it through.
        backup(&host, &["--accept-loss", "--keep-going"]).exits(3).says("-543]");
        nothing_is_left(&host);
        assert!(!host.path("repo").exists(), "before the first byte");
    }
}

#[test]
fn case_85_committed_logs_may_be_missing_where_that_is_accepted() {
    let host = dirty();
    host.write("app/Web.edb", DatabaseFile { committed: 11, ..DatabaseFile::dirty(8, 10) }.build());
    let ran = backup(&host, &[]).exits(3).says("loses what was committed: logs 11 (0xB) are missing");
    ran.says("[JET_errCommittedLogFilesMissing, -582]").says("--accept-loss");
    nothing_happened(&host);
    let ran = backup(&host, &["--accept-loss", "--json"]).exits(0);
    let warning = ran.json().into_iter().find(|line| line["type"] == "warning").expect("a warning");
    assert_eq!(warning["code"], -582, "{warning}");
    assert_eq!(manifest(&host)["instance"]["databases"][0]["committed"], 11);
    assert_eq!(taken(&host), TAKEN);
    host.verifies("repo");
}

#[test]
fn case_86_states_that_nobody_can_use_are_refused_and_state_7_is_a_dirty_one() {
    for (state, code) in [(1, -550), (4, -550), (5, -550), (6, -1226), (8, -1935)] {
        let host = clean();
        host.write("app/Web.edb", DatabaseFile { state, ..DatabaseFile::dirty(8, 10) }.build());
        for more in [&["--snapshot"][..], &[], &["--snapshot", "--keep-going", "--accept-damage", "--accept-loss"]] {
            let ran = host.run(&[LIVE, more, &["--json"]].concat()).exits(6);
            assert_eq!(refusal(&ran), (code, "Web.edb".to_owned(), 6), "state {state} {more:?}");
        }
        nothing_happened(&host);
    }
    let host = clean();
    host.write("app/Web.edb", DatabaseFile { state: 7, ..DatabaseFile::dirty(8, 10) }.build());
    host.run(LIVE).exits(6).says("-550]");
    backup(&host, &[]).exits(0);
    let instance = manifest(&host)["instance"].clone();
    assert_eq!((&instance["needs_recovery"], &instance["databases"][0]["state_number"]), (&json!(true), &json!(7)));
    fs::remove_file(host.path("app/edb00009.log")).expect("removed");
    backup(&host, &[]).exits(3).says("-543]");
    // Dirty, and never had logs: nothing can make it consistent.
    let host = Host::new();
    host.write("app/Web.edb", DatabaseFile { stream: 0, ..DatabaseFile::dirty(8, 10) }.build());
    backup(&host, &[]).exits(6).says("never had logs").says("-550]");
    nothing_is_left(&host);
}

/// Logs of an old format, as the engine wrote them in such a version.
fn old_logs(host: &Host, update: u32) {
    let logs: Vec<_> = (5..=10).map(LogFile::new).collect();
    for (index, log) in logs.iter().enumerate() {
        let mut file = log.build_v7();
        ese::put_u32(&mut file, 40, update);
        ese::seal_header(&mut file[..4096]);
        let name = if index == 5 { "edb.log".to_owned() } else { format!("edb{:05X}.log", log.generation) };
        host.write(&format!("app/{name}"), file);
    }
}

#[test]
fn case_87_a_dirty_database_with_logs_that_hold_no_page_images_is_refused_by_that_reason() {
    let host = dirty();
    old_logs(&host, 10);
    let ran = host.run(LIVE).exits(6).says("Web.edb was not shut down").says("-550]");
    ran.says("7.3704.10").says("no images of pages");
    nothing_happened(&host);
    // A true snapshot holds still: nothing moves between its pages (decision 22).
    backup(&host, &[]).exits(0);
    assert_eq!(taken(&host), TAKEN);
    // Logs from 7.3704.11 on hold them: that is no reason any more, but dirty is dirty.
    old_logs(&host, 11);
    let ran = host.run(LIVE).exits(6).says("-550]");
    assert!(!ran.stderr.contains("images of pages"), "{}", ran.stderr);
}

#[test]
fn case_88_a_checkpoint_may_be_missing_or_damaged_but_not_foreign() {
    // Missing: a clean one needs no log at all, a dirty one those from its own range on.
    let host = clean();
    fs::remove_file(host.path("app/edb.chk")).expect("removed");
    host.ok(LIVE).says("edb.chk is not there");
    assert_eq!(taken(&host), ["edb.log"]);
    assert_eq!(manifest(&host)["instance"]["checkpoint"], Value::Null);
    assert_eq!(logs_left(&host), LOGS);
    let host = dirty();
    fs::remove_file(host.path("app/edb.chk")).expect("removed");
    backup(&host, &[]).exits(0).says("edb.chk is not there");
    assert_eq!(taken(&host), TAKEN);
    // One copy of two counts, whichever it is.
    for offset in [9, 4096 + 9] {
        let host = clean();
        flip(&host, "app/edb.chk", offset, 0x11);
        host.ok(LIVE).says("edb.chk has a damaged ");
        assert_eq!(
            (taken(&host), manifest(&host)["instance"]["checkpoint"].as_u64()),
            (TAKEN.map(String::from).into(), Some(8))
        );
        assert_eq!(host.sha256("app/edb.chk"), common::acceptance::sha256(&host.stored("edb.chk")), "as it is");
    }
    // Both are damaged: as if it were missing.
    let host = clean();
    for copy in [0, 4096] {
        flip(&host, "app/edb.chk", copy + 9, 0x11);
    }
    host.ok(LIVE).says("[JET_errCheckpointCorrupt, -533]");
    assert_eq!(taken(&host), ["edb.log"]);
    // Of another stream.
    let host = clean();
    host.write("app/edb.chk", ese::checkpoint(8, 77));
    host.run(LIVE).exits(3).says("[JET_errBadCheckpointSignature, -532]");
    nothing_happened(&host);
    // Below the lowest log: the engine would refuse to recover a dirty one (decision 5).
    let host = clean();
    host.write("app/edb.chk", ese::checkpoint(2, STREAM));
    host.ok(LIVE).says("edb.chk names log 2 (0x2), which is not there");
    let host = dirty();
    host.write("app/edb.chk", ese::checkpoint(2, STREAM));
    backup(&host, &[]).exits(3).says("[JET_errRequiredLogFilesMissing, -543]");
    nothing_happened(&host);
}

#[test]
fn case_89_a_clean_and_a_dirty_database_are_judged_each_by_its_own_rule() {
    let host = dirty();
    host.write("app/sub/Zweite.edb", second().build());
    host.run(LIVE).exits(6).says("Web.edb was not shut down").says("-550]");
    nothing_happened(&host);
    backup(&host, &[]).exits(0);
    let instance = manifest(&host)["instance"].clone();
    let databases: Vec<_> = instance["databases"].as_array().expect("a list").iter().collect();
    let of = |name: &str| *databases.iter().find(|one| one["path"] == name).expect("listed");
    assert_eq!((&of("Web.edb")["state"], &of("Web.edb")["required"]["low"]), (&json!("dirty shutdown"), &json!(8)));
    let other = of("sub/Zweite.edb");
    assert_eq!((&other["state"], &other["required"]), (&json!("clean shutdown"), &Value::Null));
    assert_eq!(instance["needs_recovery"], true);
    host.verifies("repo");
    // Garbage beyond what it owns a clean one does not mind, and a dirty one does (decision 8).
    for byte in 0..9 {
        flip(&host, "app/sub/Zweite.edb", common::acceptance::page(36) + 100 + byte, 0x33);
    }
    backup(&host, &[]).exits(0).says("page 36 of sub/Zweite.edb is not owned");
    let proof = manifest(&host)["proof"]["pages"].clone();
    assert_eq!((&proof["odd"], &proof["damaged"]), (&json!(1), &json!(0)));
    for byte in 0..9 {
        flip(&host, "app/Web.edb", common::acceptance::page(36) + 100 + byte, 0x33);
    }
    backup(&host, &[]).exits(3).says("page 36 of ").says("Web.edb").says("-1018]");
    assert_eq!(host.backups("repo").len(), 2);
    host.is_tidy("repo");
    // The dirty one alone decides which logs are missing.
    let host = dirty();
    host.write("app/Zweite.edb", DatabaseFile { required: (3, 4), ..second() }.build());
    backup(&host, &[]).exits(0);
    fs::remove_file(host.path("app/edb00008.log")).expect("removed");
    backup(&host, &[]).exits(3).says("Web.edb needs logs 8-10").says("-543]");
}

/// Puts another file in the place of one, as a program that saves does.
fn replace(host: &Host, file: &str) {
    let other = format!("{file}.new");
    fs::copy(host.path(file), host.path(&other)).expect("copied");
    fs::rename(host.path(&other), host.path(file)).expect("renamed");
}

#[test]
fn case_90_a_file_that_was_replaced_during_the_session_fails_it() {
    for file in ["Web.edb", "edb00008.log", "edb.log", "edb.chk"] {
        let host = two_databases();
        host.ok(&["begin", "app", "--to", "repo"]);
        host.ok(&["read", "app"]);
        replace(&host, &format!("app/{file}"));
        let ran = host.run(&["end", "app"]).exits(6);
        ran.says(&format!("{file} changed before the backup was complete")).says("another file took its name");
        assert_eq!(host.backups("repo"), Vec::<String>::new(), "{file}: nothing is published");
        still(&host, "logs", false);
        host.ok(&["end", "app", "--abort"]);
        dropped(&host);
    }
    // The other one too, before its own turn, once this one was read.
    let host = two_databases();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app", "Web.edb"]);
    replace(&host, "app/Web.edb");
    host.ok(&["read", "app"]);
    host.run(&["end", "app"]).exits(6).says("Web.edb changed before the backup was complete");
    host.ok(&["end", "app", "--abort"]);
    nothing_happened(&host);
    // An application that starts in between makes its database dirty.
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.write("app/new", DatabaseFile::dirty(8, 10).build());
    fs::rename(host.path("app/new"), host.path("app/Web.edb")).expect("renamed");
    host.run(&["read", "app"]).exits(6).says("was opened by its application after the backup began").says("-550]");
    still(&host, "databases", false);
    host.ok(&["end", "app", "--abort"]);
    nothing_happened(&host);
    write_logs(&host, "app", &LogFile::chain(5..=10));
    host.write("app/Web.edb", DatabaseFile::new().build());
    host.ok(LIVE);
    host.verifies("repo");
}
