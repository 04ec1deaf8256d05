//! Acceptance cases 41 to 60 of the protocol (`spec/backup-protocol.md` §9): which logs truncate deletes, in which order,
//! and what it leaves behind when something stands in the way. The numbers of decisions are those of the contract.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use common::acceptance::{
    LOGS, clean, dirty, flip, logs_left, manifest, no_log_is_deleted, nothing_happened, roll, second, still, stored,
    two_databases,
};
use common::ese::{self, DatabaseFile, LogFile, STREAM};
use common::{HeldJournal, Host, Running, as_ordinary_user, finish, open_to_all, skip};
use serde_json::{Value, json};

/// What is left of the fixture's logs where 5, 6 and 7 went.
const TRUNCATED: [&str; 3] = ["edb.log", "edb00008.log", "edb00009.log"];

fn deleted(answer: &Value) -> Vec<&str> {
    answer["deleted"].as_array().expect("a list").iter().map(|path| path.as_str().expect("a path")).collect()
}

/// The events of the journal that tell of a deleted log.
fn truncated_events(host: &Host) -> Vec<String> {
    let events = host.journal().into_iter().filter(|event| event["event"] == "truncated");
    events.map(|event| event["path"].as_str().expect("a path").to_owned()).collect()
}

#[test]
fn case_41_a_full_backup_over_checkpoint_8_deletes_5_6_and_7_in_this_order() {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    let answer = host.ok(&["truncate", "app", "--json"]).json().pop().expect("an answer");
    assert_eq!(deleted(&answer), ["edb00005.log", "edb00006.log", "edb00007.log"]);
    assert_eq!(truncated_events(&host), ["edb00005.log", "edb00006.log", "edb00007.log"], "one event each");
    assert_eq!(logs_left(&host), TRUNCATED);
    assert_eq!(answer["remaining"], json!(["edb00008.log", "edb00009.log", "edb.log"]));
    let size = LogFile::new(5).build().len();
    assert_eq!((&answer["bytes"], &answer["missing"]), (&json!(3 * size), &json!([])));
    assert!(answer["id"].as_str().is_some_and(|id| id.starts_with("000001-")), "published first: {answer}");
    host.ok(&["end", "app"]);
    host.verifies("repo");
    assert_eq!((&manifest(&host)["kind"], &manifest(&host)["truncated"]), (&json!("full"), &json!(true)), "case 55");
    assert_eq!((&manifest(&host)["logs"]["first_generation"], &manifest(&host)["proven"]), (&json!(8), &json!(true)));
}

#[test]
fn case_41_in_one_go() {
    let host = clean();
    let ran = host.ok(&["backup", "app", "--to", "repo", "--truncate"]);
    assert!(ran.stderr.contains("deleted 3 logs (192.00 KiB), 3 stay"), "{}", ran.stderr);
    assert_eq!(logs_left(&host), TRUNCATED);
    let host = clean();
    let summary = host.ok(&["backup", "app", "--to", "repo", "--truncate", "--json"]).summary();
    assert_eq!((&summary["truncated"], &summary["outcome"]), (&json!(3), &json!("completed")));
    host.verifies("repo");
    // What is left is a backup of its own, and needs no log of before. That nothing more can go is no news.
    let again = host.ok(&["backup", "app", "--to", "repo", "--truncate", "--json"]).summary();
    assert_eq!((&again["truncated"], &again["warnings"]), (&json!(0), &json!(0)));
    assert_eq!(logs_left(&host), TRUNCATED);
}

#[test]
fn case_42_one_log_that_is_not_copied_keeps_all() {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app", "Web.edb"]);
    host.ok(&["read", "app", "edb.chk", "edb00008.log", "edb.log"]);
    host.run(&["truncate", "app"]).exits(5).says("[JET_errLogFileNotCopied, -616]");
    no_log_is_deleted(&host);
    still(&host, "logs", false);
    host.ok(&["read", "app", "edb00009.log"]);
    host.ok(&["truncate", "app"]);
    assert_eq!(logs_left(&host), TRUNCATED);
}

#[test]
fn case_44_and_40_a_log_counts_once_however_often_it_is_looked_at() {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app", "Web.edb"]);
    for _ in 0..3 {
        host.ok(&["read", "app", "edb.log", "--out", "copy"]);
    }
    host.run(&["truncate", "app"]).exits(5).says("-616");
    no_log_is_deleted(&host);
}

#[test]
fn case_46_a_database_that_was_left_out_keeps_the_logs_from_the_end_of_its_last_full() {
    let host = two_databases();
    host.write("app/edb.chk", ese::checkpoint(5, STREAM));
    for generation in 6..=9 {
        fs::remove_file(host.path(format!("app/edb{generation:05X}.log"))).expect("removed");
    }
    let chain = LogFile::chain(5..=10);
    host.write("app/edb.log", chain[1].build()); // generation 6 is the current one
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo"); // a backup counts once it is proven
    assert_eq!(manifest(&host)["logs"]["last_generation"], 6);

    common::acceptance::write_logs(&host, "app", &chain);
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    let ran = host.ok(&["backup", "app", "--to", "repo", "--truncate", "--exclude", "Zweite.edb"]);
    assert!(ran.stderr.contains("Zweite.edb keeps the logs from 6 (0x6) on"), "{}", ran.stderr);
    assert_eq!(logs_left(&host), ["edb.log", "edb00006.log", "edb00007.log", "edb00008.log", "edb00009.log"]);
}

#[test]
fn case_46_a_log_that_only_an_older_backup_holds_goes_if_it_is_the_same() {
    let host = two_databases();
    let chain = LogFile::chain(5..=10);
    for generation in 6..=9 {
        fs::remove_file(host.path(format!("app/edb{generation:05X}.log"))).expect("removed");
    }
    host.write("app/edb.log", chain[1].build());
    host.write("app/edb.chk", ese::checkpoint(5, STREAM));
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    common::acceptance::write_logs(&host, "app", &chain);
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    // The content of log 5 is another one than the backup holds: its header proves itself, and so does all of it.
    let other = LogFile { data: 8, ..LogFile::new(5) };
    host.write("app/edb00005.log", other.build());
    let ran = host.run(&["backup", "app", "--to", "repo", "--truncate", "--exclude", "Zweite.edb"]);
    ran.exits(6).says("edb00005.log is not what was backed up").says("it was not deleted");
    no_log_is_deleted(&host);
    assert_eq!(host.backups("repo").len(), 2, "the backup stands all the same");
    host.verifies("repo");
}

#[test]
fn case_47_a_database_that_never_was_in_a_full_keeps_everything_and_that_is_said() {
    let host = two_databases();
    let ran = host.ok(&["backup", "app", "--to", "repo", "--truncate", "--exclude", "Zweite.edb"]);
    assert!(ran.stderr.contains("Zweite.edb keeps the logs from 5 (0x5) on"), "{}", ran.stderr);
    no_log_is_deleted(&host);
    // An older full that holds it, and that nobody has proven, does not count; a proven one does.
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["backup", "app", "--to", "repo", "--truncate", "--exclude", "Zweite.edb"]);
    no_log_is_deleted(&host);
    host.verifies("repo");
    host.ok(&["backup", "app", "--to", "repo", "--truncate", "--exclude", "Zweite.edb"]);
    assert_eq!(logs_left(&host), TRUNCATED);
}

#[test]
fn a_dirty_database_that_was_left_out_keeps_the_logs_that_it_needs() {
    let host = clean();
    host.write("app/old/Alt.edb", DatabaseFile { signature: 7, ..DatabaseFile::dirty(6, 10) }.build());
    host.ok(&["backup", "app", "--to", "repo", "--snapshot"]);
    host.verifies("repo");
    no_log_is_deleted(&host);
    let ran = host.ok(&["backup", "app", "--to", "repo", "--snapshot", "--truncate", "--exclude", "old/"]);
    assert!(ran.stderr.contains("deleted 1 log"), "{}", ran.stderr);
    assert_eq!(logs_left(&host).len(), LOGS.len() - 1);
    assert!(!host.path("app/edb00005.log").exists());
}

#[test]
fn a_damaged_database_that_was_left_out_keeps_everything() {
    let host = two_databases();
    for page in [0, 4096] {
        flip(&host, "app/Zweite.edb", page + 100, 0xFF);
    }
    let ran = host.ok(&["backup", "app", "--to", "repo", "--truncate", "--exclude", "Zweite.edb"]);
    assert!(ran.stderr.contains("Zweite.edb keeps the logs from 5 (0x5) on: its header is damaged"), "{}", ran.stderr);
    no_log_is_deleted(&host);
}

#[test]
fn case_48_a_log_that_is_gone_already_is_named_and_the_others_go() {
    let host = clean();
    fs::remove_file(host.path("app/edb00006.log")).expect("removed");
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    let would = host.ok(&["truncate", "app", "--dry-run", "--json"]).json().pop().expect("an answer");
    let ran = host.ok(&["truncate", "app", "--json"]);
    let answer = ran.json().pop().expect("an answer");
    assert_eq!(deleted(&answer), ["edb00005.log", "edb00007.log"]);
    assert_eq!(answer["missing"], json!(["edb00006.log"]));
    assert_eq!((&would["deleted"], &would["missing"]), (&answer["deleted"], &answer["missing"]));
    assert_eq!(logs_left(&host), TRUNCATED);
}

#[test]
fn case_49_a_deletion_that_is_denied_ends_it_and_the_next_truncate_goes_on() {
    if !rustix::process::getuid().is_root() {
        return skip("only root can make a log that another user may not delete");
    }
    let host = clean();
    open_to_all(&host, "app");
    for name in LOGS {
        chown(host.path("app").join(name), Some(65534), Some(65534)).expect("given away");
    }
    // In a directory with the sticky bit nobody deletes what belongs to another.
    fs::set_permissions(host.path("app"), fs::Permissions::from_mode(0o1777)).expect("set");
    chown(host.path("app/edb00006.log"), Some(0), Some(0)).expect("taken");
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    run(&["begin", "app", "--to", "repo"]).exits(0);
    run(&["read", "app"]).exits(0);
    let ran = run(&["truncate", "app"]).exits(1).says("edb00006.log").says("[JET_errFileAccessDenied, -1032]");
    assert!(ran.stderr.contains("The backup is published and safe"), "{}", ran.stderr);
    assert_eq!(logs_left(&host), ["edb.log", "edb00006.log", "edb00007.log", "edb00008.log", "edb00009.log"]);
    still(&host, "truncating", false);
    chown(host.path("app/edb00006.log"), Some(65534), Some(65534)).expect("given away");
    run(&["truncate", "app"]).exits(0);
    assert_eq!(logs_left(&host), TRUNCATED);
    run(&["end", "app"]).exits(0);
    host.verifies("repo");
    assert_eq!(host.backups("repo").len(), 1);
}

#[test]
fn case_50_the_checkpoint_is_read_again_and_the_smaller_one_wins() {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    // Published, and barred from deleting.
    host.write("app/edb00004.log", LogFile { stream: 9, ..LogFile::new(4) }.build());
    host.run(&["truncate", "app"]).exits(3);
    fs::remove_file(host.path("app/edb00004.log")).expect("removed");
    host.ok(&["truncate", "app", "--dry-run"]).prints("edb00007.log  below checkpoint 8");
    host.write("app/edb.chk", ese::checkpoint(6, STREAM));
    let ran = host.ok(&["truncate", "app", "--dry-run"]).prints("edb00005.log  below checkpoint 6");
    assert!(!ran.stdout.contains("edb00006.log"), "{}", ran.stdout);
    host.write("app/edb.chk", ese::checkpoint(5, STREAM));
    host.ok(&["truncate", "app", "--dry-run"]).says("0 logs (0 B) would be deleted");
    no_log_is_deleted(&host);
    host.write("app/edb.chk", ese::checkpoint(9, STREAM));
    host.ok(&["truncate", "app"]);
    assert_eq!(logs_left(&host), TRUNCATED, "what was needed when the backup began stays");
}

#[test]
fn case_50_what_a_dirty_database_needs_stays() {
    let host = dirty();
    host.write("app/Web.edb", DatabaseFile::dirty(7, 10).build());
    let ran = host.ok(&["backup", "app", "--to", "repo", "--snapshot", "--truncate"]);
    assert!(ran.stderr.contains("none of the live instance is freed"), "decision 7: {}", ran.stderr);
    assert_eq!(logs_left(&host), ["edb.log", "edb00007.log", "edb00008.log", "edb00009.log"]);
    assert_eq!(manifest(&host)["logs"]["first_generation"], 7);
}

#[test]
fn case_51_a_second_truncate_deletes_nothing_more() {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    host.ok(&["truncate", "app"]);
    host.ok(&["truncate", "app"]).says("deleted 0 logs (0 B), 3 stay");
    assert_eq!(logs_left(&host), TRUNCATED);
    // Not even when the application has gone on since.
    roll(&host, 10);
    host.write("app/edb.chk", ese::checkpoint(11, STREAM));
    host.ok(&["truncate", "app"]);
    assert_eq!(logs_left(&host), ["edb.log", "edb00008.log", "edb00009.log", "edb0000A.log"]);
}

#[test]
fn case_52_a_dry_run_names_the_same_files_and_changes_nothing() {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.run(&["truncate", "app", "--dry-run"]).exits(5).says("-521"); // decision 26
    host.ok(&["read", "app", "Web.edb"]);
    let ran = host.ok(&["truncate", "app", "--dry-run"]);
    let row = |log| format!("{log}  below checkpoint 8 (0x8); superseded by backup 1\n");
    let rows: String = ["edb00005.log", "edb00006.log", "edb00007.log"].into_iter().map(row).collect();
    assert_eq!(ran.stdout, rows);
    no_log_is_deleted(&host);
    assert!(host.backups("repo").is_empty(), "nothing is published");
    let answer = host.ok(&["truncate", "app", "--dry-run", "--json"]).json().pop().expect("an answer");
    assert_eq!((&answer["dry_run"], deleted(&answer).len()), (&json!(true), 3));
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    no_log_is_deleted(&host);
    assert_eq!(manifest(&host)["truncated"], false, "case 56: a full, and nothing truncated");
}

#[test]
fn case_53_files_that_are_no_logs_of_the_stream_are_never_touched() {
    let host = clean();
    let others = ["edbtmp.log", "edbres00001.jrs", "edbXYZ.log", "other00005.log", "edb00004.txt", "xyz00005.log"];
    for name in others {
        host.write(&format!("app/{name}"), vec![0; 65536]);
    }
    host.write("app/deeper/edb00005.log", "an application's own");
    host.ok(&["backup", "app", "--to", "repo", "--truncate"]);
    for name in others.into_iter().chain(["deeper/edb00005.log", "edb.log"]) {
        assert!(host.path("app").join(name).exists(), "{name}");
    }
    assert!(!host.path("app/edb00005.log").exists());
}

/// Kills a truncate when so many logs have gone; none where it was quicker than we.
fn killed_after(deletions: usize) -> Option<Host> {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    let held = HeldJournal::of(&host, "state").expect("a session");
    let mut running = Running::spawn(host.command(&["truncate", "app"]));
    // publishing, published, truncating, and then one event for each log
    let events = held.events().len() + 3 + deletions;
    let is_there = held.step_to(events, &mut running);
    running.kill();
    drop(held);
    is_there.then_some(host)
}

#[test]
fn case_54_killed_between_two_deletions_the_rest_is_gapless_and_the_next_truncate_goes_on() {
    for deletions in 0..=3_usize {
        let host = (0..100).find_map(|_| killed_after(deletions)).expect("it can be caught in a hundred tries");
        let left = logs_left(&host);
        let whole: Vec<_> = LOGS.iter().skip(1 + LOGS.len() - left.len()).copied().collect();
        assert_eq!(left[1..], whole, "the oldest went first, and no gap is left");
        assert!((3..=6).contains(&left.len()) && left.len() <= 6 - deletions, "{left:?}");
        host.verifies("repo");
        host.ok(&["truncate", "app"]);
        assert_eq!(logs_left(&host), TRUNCATED);
        host.ok(&["end", "app"]);
        assert_eq!(host.backups("repo").len(), 1);
    }
}

#[test]
fn a_one_shot_that_dies_between_two_deletions_is_healed_by_the_next_one() {
    let host = clean();
    common::acceptance::write_logs(&host, "app", &LogFile::chain(5..=200));
    host.write("app/edb.chk", ese::checkpoint(198, STREAM));
    let mut running = Running::spawn(host.command(&["backup", "app", "--to", "repo", "--truncate"]));
    let held = HeldJournal::of_a_new_session(&host, "state", &mut running).expect("a session");
    while !held.events().iter().any(|event| event == "truncated") {
        assert!(held.step(&mut running), "it gets as far as deleting");
    }
    running.kill();
    drop(held);
    let left = logs_left(&host);
    assert!((4..196).contains(&left.len()), "it died between two deletions: {}", left.len());
    let oldest = 200 - u32::try_from(left.len()).expect("a few") + 1;
    assert_eq!(left[1], format!("edb{oldest:05X}.log"), "no gap is left");
    host.verifies("repo");
    host.ok(&["backup", "app", "--to", "repo", "--truncate"]);
    assert_eq!(logs_left(&host), ["edb.log", "edb000C6.log", "edb000C7.log"]);
    assert_eq!((host.backups("repo").len(), host.session_folders().len()), (2, 0));
    host.verifies("repo");
}

#[test]
fn case_56_a_full_without_truncate_deletes_nothing_and_is_a_full() {
    let host = clean();
    host.ok(&["backup", "app", "--to", "repo"]);
    no_log_is_deleted(&host);
    assert_eq!((&manifest(&host)["kind"], &manifest(&host)["truncated"]), (&json!("full"), &json!(false)));
}

#[test]
fn decision_2_a_copy_never_truncates() {
    let host = clean();
    host.run(&["backup", "app", "--to", "repo", "--kind", "copy", "--truncate"]).exits(2).says("never truncates");
    nothing_happened(&host);
    host.ok(&["begin", "app", "--to", "repo", "--kind", "copy"]);
    host.ok(&["read", "app"]);
    host.run(&["truncate", "app"]).exits(2).says("a copy backup never truncates");
    host.ok(&["end", "app"]);
    no_log_is_deleted(&host);
}

#[test]
fn case_60_a_backup_without_one_of_its_databases_never_truncates() {
    let host = two_databases();
    common::acceptance::ruin_page(&host, "app/Zweite.edb", 9);
    let run =
        |more: &[&str]| host.run_soon(&[&["backup", "app", "--to", "repo", "--snapshot", "--truncate"], more].concat());
    run(&[]).exits(3);
    no_log_is_deleted(&host);
    run(&["--keep-going"]).exits(3).says("incomplete");
    no_log_is_deleted(&host);
    assert_eq!(stored(&host).iter().filter(|name| name.contains(".edb")).count(), 1);
    run(&["--accept-damage"]).exits(3);
    no_log_is_deleted(&host);
}

/// What is done to an instance, and the number that truncate answers with.
type Spoiled = (&'static str, fn(&Host), &'static str);

#[test]
fn decision_4_a_log_that_cannot_be_believed_bars_truncate() {
    let spoil: [Spoiled; 4] = [
        ("a damaged header", |host| flip(host, "app/edb00005.log", 300, 0xFF), "-612"),
        (
            "a log of another stream",
            |host| host.write("app/edb00006.log", LogFile { stream: 9, ..LogFile::new(6) }.build()),
            "-530",
        ),
        (
            "a wrong name",
            |host| fs::rename(host.path("app/edb00005.log"), host.path("app/edb00004.log")).expect("renamed"),
            "-513",
        ),
        ("two of one generation", |host| host.write("app/edb00000005.log", LogFile::new(5).build()), "-515"),
    ];
    for (what, spoil, number) in spoil {
        let host = clean();
        spoil(&host);
        let before = logs_left(&host);
        host.ok(&["backup", "app", "--to", "repo"]); // it lies below the range: the backup goes on
        let ran = host.run(&["backup", "app", "--to", "repo", "--truncate"]).exits(3);
        assert!(ran.stderr.contains(number) && ran.stderr.contains("No log was deleted"), "{what}: {}", ran.stderr);
        assert_eq!(logs_left(&host), before, "{what}");
        assert_eq!(host.backups("repo").len(), 2, "{what}: the backup stands");
        host.verifies("repo");
    }
}

#[test]
fn decision_5_without_a_checkpoint_that_can_be_believed_nothing_goes() {
    let host = clean();
    fs::remove_file(host.path("app/edb.chk")).expect("removed");
    let ran = host.ok(&["backup", "app", "--to", "repo", "--truncate"]);
    assert!(ran.stderr.contains("[JET_errCheckpointFileNotFound, -542]"), "{}", ran.stderr);
    no_log_is_deleted(&host);
    let host = clean();
    for copy in [0, 4096] {
        flip(&host, "app/edb.chk", copy + 60, 0xFF);
    }
    let ran = host.ok(&["backup", "app", "--to", "repo", "--truncate"]);
    assert!(ran.stderr.contains("[JET_errCheckpointCorrupt, -533]"), "{}", ran.stderr);
    no_log_is_deleted(&host);
    let host = clean();
    flip(&host, "app/edb.chk", 60, 0xFF); // the other copy counts
    host.ok(&["backup", "app", "--to", "repo", "--truncate"]);
    assert_eq!(logs_left(&host), TRUNCATED);
    let host = clean();
    host.write("app/edb.chk", ese::checkpoint(8, 9));
    host.run(&["backup", "app", "--to", "repo", "--truncate"]).exits(3).says("[JET_errBadCheckpointSignature, -532]");
    nothing_happened(&host);
}

/// A dirty snapshot in `app`, and the live instance in `live`, which has gone on to generation 12.
fn snapshot_and_live(checkpoint: u32) -> Host {
    let host = dirty();
    common::acceptance::write_logs(&host, "live", &LogFile::chain(5..=12));
    host.write("live/edb.chk", ese::checkpoint(checkpoint, STREAM));
    host
}

fn live_logs(host: &Host) -> Vec<String> {
    common::names(&host.path("live")).into_iter().filter(|name| name.contains(".log")).collect()
}

const LIVE: [&str; 8] = ["backup", "app", "--to", "repo", "--snapshot", "--truncate", "--live-log-dir", "live"];

#[test]
fn decision_7_logs_of_the_live_instance_go_for_a_backup_of_its_snapshot() {
    let host = snapshot_and_live(11);
    let answer = host.ok(&[&LIVE[..], &["--json"]].concat()).summary();
    assert_eq!(answer["truncated"], 3);
    assert_eq!(live_logs(&host), ["edb.log", "edb00008.log", "edb00009.log", "edb0000A.log", "edb0000B.log"]);
    no_log_is_deleted(&host); // the snapshot is as it was
    host.verifies("repo");
}

#[test]
fn decision_7_the_live_checkpoint_is_asked_as_well() {
    let host = snapshot_and_live(6);
    host.ok(&LIVE);
    assert_eq!(live_logs(&host).len(), 7, "only 5 went");
    let host = snapshot_and_live(11);
    fs::remove_file(host.path("live/edb.chk")).expect("removed");
    let ran = host.ok(&LIVE);
    assert!(ran.stderr.contains("-542"), "{}", ran.stderr);
    assert_eq!(live_logs(&host).len(), 8);
    // It may lie elsewhere.
    host.write("system/edb.chk", ese::checkpoint(7, STREAM));
    host.ok(&[&LIVE[..], &["--live-checkpoint", "system/edb.chk"]].concat());
    assert_eq!(live_logs(&host).len(), 6);
}

#[test]
fn decision_7_a_foreign_or_missing_live_directory_is_refused_before_anything_is_read() {
    let host = snapshot_and_live(11);
    let foreign: Vec<_> = LogFile::chain(5..=12).into_iter().map(|log| LogFile { stream: 9, ..log }).collect();
    common::acceptance::write_logs(&host, "live", &foreign);
    host.run(&LIVE).exits(3).says("[JET_errBadLogSignature, -530]");
    fs::remove_dir_all(host.path("live")).expect("removed");
    host.run(&LIVE).exits(1).says("live");
    nothing_happened(&host);
    let host = clean();
    host.run(&["backup", "app", "--to", "repo", "--truncate", "--live-log-dir", "app"]).exits(2).says("--snapshot");
    nothing_happened(&host);
}

#[test]
fn a_live_log_that_is_open_in_the_engine_stands_in_nobodys_way() {
    let host = snapshot_and_live(11);
    fs::remove_file(host.path("live/edb.log")).expect("removed");
    host.ok(&LIVE);
    assert_eq!(live_logs(&host), ["edb00008.log", "edb00009.log", "edb0000A.log", "edb0000B.log"]);
}

#[test]
fn a_second_database_that_appears_while_the_backup_runs_keeps_everything() {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    host.write("app/Neu.edb", second().build());
    let ran = host.ok(&["truncate", "app"]);
    assert!(ran.stderr.contains("Neu.edb keeps the logs from 5 (0x5) on"), "{}", ran.stderr);
    no_log_is_deleted(&host);
    host.ok(&["end", "app"]);
}
