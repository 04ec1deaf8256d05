//! What keeps logs: whoever may still need them, wherever it lies, and whatever became of the backup that was to make them
//! needless.

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

use common::acceptance::{
    LOGS, clean, dirty, flip, logs_left, manifest, no_log_is_deleted, ruin_page, second, two_databases, write_logs,
};
use common::ese::{self, DatabaseFile, LogFile, STREAM};
use common::{Host, Ran, as_ordinary_user, finish, names, open_to_all};
use serde_json::json;

const TRUNCATE: [&str; 5] = ["backup", "app", "--to", "repo", "--truncate"];

fn truncate(host: &Host, more: &[&str]) -> Ran {
    host.run(&[&TRUNCATE[..], more].concat())
}

/// Demands that a backup was made, with these words of explanation, and that no log went.
#[track_caller]
fn all_stay(host: &Host, more: &[&str], because: &str) {
    let ran = truncate(host, more).exits(0);
    assert!(ran.stderr.contains(because), "{}", ran.stderr);
    no_log_is_deleted(host);
}

fn session(host: &Host, more: &[&str]) {
    host.ok(&[&["begin", "app", "--to", "repo"], more].concat());
    host.ok(&["read", "app"]);
}

/// Ruins what a backup holds of a file.
fn ruin_stored(host: &Host, backup: &str, file: &str) {
    let path = host.path("repo/backups").join(backup).join("data").join(file);
    let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
    file.write_all_at(b"rotten", 5000).expect("written");
}

#[test]
fn a_backup_that_was_found_damaged_makes_nothing_needless() {
    let host = two_databases();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    ruin_stored(&host, &host.backups("repo")[0], "Zweite.edb");
    host.run(&["verify", "repo"]).exits(3);
    let story = host.ok(&["logs", "app", "--repository", "repo", "--json"]).json().pop().expect("an answer");
    assert_eq!(story["deletable"], 0);
    all_stay(&host, &["--exclude", "Zweite.edb"], "Zweite.edb keeps the logs");
}

#[test]
fn a_backup_whose_files_are_gone_makes_nothing_needless() {
    let host = two_databases();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    fs::remove_dir_all(host.path("repo/backups").join(&host.backups("repo")[0]).join("data")).expect("removed");
    let ran = host.ok(&["logs", "app", "--repository", "repo"]);
    assert!(ran.stdout.contains("Backup 1 makes no log needless: its Web.edb is not there."), "{}", ran.stdout);
    all_stay(&host, &["--exclude", "Zweite.edb"], "backup 1 makes no log needless");
}

#[test]
fn what_was_published_before_is_proven_again_before_a_second_truncate() {
    let host = clean();
    session(&host, &[]);
    host.ok(&["truncate", "app"]);
    write_logs(&host, "app", &LogFile::chain(5..=10)[..3]); // 5, 6, and 7 as the current one
    fs::rename(host.path("app/edb.log"), host.path("app/edb00007.log")).expect("renamed");
    write_logs(&host, "other", &LogFile::chain(5..=10));
    fs::copy(host.path("other/edb.log"), host.path("app/edb.log")).expect("copied");
    ruin_stored(&host, &host.backups("repo")[0], "Web.edb");
    host.run(&["truncate", "app"]).exits(3).says("is damaged").says("No log was deleted");
    no_log_is_deleted(&host);
}

#[test]
fn a_database_that_was_wiped_keeps_everything_though_it_was_left_out() {
    for content in [vec![], vec![0; 168 * 1024], vec![0x5A; 168 * 1024]] {
        let host = two_databases();
        host.write("app/Zweite.edb", content);
        all_stay(&host, &["--exclude", "Zweite.edb"], "it has the name of a database, and holds none");
    }
}

#[test]
fn a_database_behind_a_symbolic_link_is_asked() {
    let host = clean();
    host.write("other/Zweite.edb", DatabaseFile { signature: 7, ..DatabaseFile::dirty(6, 10) }.build());
    symlink("../other/Zweite.edb", host.path("app/Zweite.edb")).expect("linked");
    all_stay(&host, &[], "Zweite.edb keeps the logs from 5 (0x5) on");
    fs::remove_file(host.path("app/Zweite.edb")).expect("removed");
    symlink("../other", host.path("app/more")).expect("linked");
    all_stay(&host, &[], "it leads to a directory outside of the storage");
    fs::remove_file(host.path("app/more")).expect("removed");
    symlink("nowhere", host.path("app/more")).expect("linked");
    symlink("edb.chk", host.path("app/again")).expect("linked");
    truncate(&host, &[]).exits(0);
    assert_eq!(logs_left(&host).len(), 3, "links that lead to no database stand in nobody's way");
}

#[test]
fn a_database_that_the_stream_lists_and_that_lies_elsewhere_keeps_everything() {
    let host = clean();
    let mut chain = LogFile::chain(5..=10);
    let web = DatabaseFile::new().signature;
    chain[5].attached = vec![(web, r"D:\one\Web.edb".to_owned()), (7, r"E:\two\Zweite.edb".to_owned())];
    write_logs(&host, "app", &chain);
    all_stay(&host, &[], r"E:\two\Zweite.edb keeps the logs from 5 (0x5) on");
}

#[test]
fn a_log_that_is_left_out_stays_and_so_does_what_follows() {
    let host = clean();
    truncate(&host, &["--exclude", "edb00006.log"]).exits(0);
    assert_eq!(logs_left(&host), ["edb.log", "edb00006.log", "edb00007.log", "edb00008.log", "edb00009.log"]);

    let host = clean();
    host.write("app/edb00005.log", LogFile { stream: 9, ..LogFile::new(5) }.build());
    truncate(&host, &["--exclude", "edb00005.log"]).exits(3).says("-530");
    no_log_is_deleted(&host);
}

#[test]
fn a_backup_of_a_time_that_was_undone_makes_nothing_needless() {
    let host = two_databases();
    let later = LogFile::chain(15..=20);
    for name in &LOGS[1..] {
        fs::remove_file(host.path("app").join(name)).expect("removed");
    }
    write_logs(&host, "app", &later);
    host.write("app/edb.chk", ese::checkpoint(18, STREAM));
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    for log in &later[..5] {
        fs::remove_file(host.path(format!("app/edb{:05X}.log", log.generation))).expect("removed");
    }
    write_logs(&host, "app", &LogFile::chain(5..=10));
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    all_stay(&host, &["--exclude", "Zweite.edb"], "Zweite.edb keeps the logs from 5 (0x5) on");

    // The logs of the same numbers, begun at another time.
    let host = two_databases();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    let again: Vec<_> = LogFile::chain(5..=10)
        .into_iter()
        .map(|log| LogFile {
            created: log.created + 30,
            previous_created: log.previous_created.map(|second| second + 30),
            previous_accumulated: 0,
            ..log
        })
        .collect();
    write_logs(&host, "app", &again);
    all_stay(&host, &["--exclude", "Zweite.edb"], "was begun at another time");
}

#[test]
fn a_directory_that_cannot_be_listed_may_hide_a_database() {
    let host = clean();
    host.write("app/sub/Zweite.edb", second().build());
    open_to_all(&host, "app");
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    run(&["begin", "app", "--to", "repo", "--keep-going"]).exits(0);
    run(&["read", "app"]).exits(0);
    let shut = |mode| fs::set_permissions(host.path("app/sub"), fs::Permissions::from_mode(mode)).expect("set");
    shut(0);
    let ran = run(&["truncate", "app"]);
    shut(0o777);
    assert!(ran.stderr.contains("sub"), "{}", ran.stderr);
    no_log_is_deleted(&host);
}

#[test]
fn another_directory_in_the_place_of_the_storage_is_left_alone() {
    let host = clean();
    session(&host, &["--snapshot"]);
    fs::rename(host.path("app"), host.path("app.old")).expect("renamed");
    write_logs(&host, "app", &LogFile::chain(5..=8));
    host.write("app/Web.edb", DatabaseFile::new().build());
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    host.run(&["truncate", "app"]).exits(6);
    assert_eq!(names(&host.path("app")).len(), 6, "nothing went");

    let host = clean();
    session(&host, &["--snapshot"]);
    fs::rename(host.path("app"), host.path("app.old")).expect("renamed");
    fs::create_dir(host.path("app")).expect("created");
    for name in &LOGS[1..4] {
        fs::copy(host.path("app.old").join(name), host.path("app").join(name)).expect("copied");
    }
    host.run(&["truncate", "app"]).exits(6).says("none of the logs that were backed up is there");
    assert_eq!(names(&host.path("app")).len(), 3);
}

#[test]
fn a_checkpoint_that_cannot_be_right_counts_as_none() {
    let host = clean();
    host.write("app/edb.chk", ese::checkpoint(16, STREAM));
    all_stay(&host, &[], "names log 16");
    let host = clean();
    host.write("app/edb.chk", ese::checkpoint(10, STREAM));
    host.write("app/sys/edb.chk", ese::checkpoint(6, STREAM));
    all_stay(&host, &[], "the checkpoint says two different things");
    let host = clean();
    let copies = [ese::checkpoint(10, STREAM), ese::checkpoint(6, STREAM)];
    host.write("app/edb.chk", [&copies[0][..4096], &copies[1][4096..]].concat());
    all_stay(&host, &[], "the checkpoint says two different things");
}

#[test]
fn a_dirty_database_beside_the_live_logs_is_asked() {
    let host = dirty();
    write_logs(&host, "live", &LogFile::chain(5..=12));
    host.write("live/edb.chk", ese::checkpoint(8, STREAM));
    host.write("live/New.edb", DatabaseFile { signature: 7, ..DatabaseFile::dirty(6, 12) }.build());
    truncate(&host, &["--snapshot", "--live-log-dir", "live"]).exits(0);
    let live = names(&host.path("live"));
    assert!(!live.contains(&"edb00005.log".to_owned()) && live.contains(&"edb00006.log".to_owned()), "{live:?}");
}

#[test]
fn a_database_that_only_the_live_instance_has_keeps_its_logs() {
    let host = dirty();
    let mut chain = LogFile::chain(5..=12);
    chain[7].attached = vec![(7, r"E:\two\Zweite.edb".to_owned())];
    write_logs(&host, "live", &chain);
    host.write("live/edb.chk", ese::checkpoint(11, STREAM));
    let ran = truncate(&host, &["--snapshot", "--live-log-dir", "live"]).exits(0);
    assert!(ran.stderr.contains(r"E:\two\Zweite.edb keeps the logs from 5 (0x5) on"), "{}", ran.stderr);
    assert_eq!(names(&host.path("live")).len(), 9, "eight logs and the checkpoint");
}

#[test]
fn trouble_in_the_live_directory_bars_no_backup() {
    let host = dirty();
    write_logs(&host, "live", &LogFile::chain(5..=12));
    host.write("live/edb.chk", ese::checkpoint(11, STREAM));
    session(&host, &["--snapshot", "--live-log-dir", "live"]);
    host.write("live/edb00006.log", LogFile { stream: 9, ..LogFile::new(6) }.build());
    host.run(&["truncate", "app"]).exits(3).says("-530").says("No log was deleted");
    assert_eq!(host.backups("repo").len(), 1, "the backup stands");
    assert_eq!(manifest(&host)["truncated"], json!(false), "and does not say what did not happen");
    host.ok(&["end", "app"]);
    host.verifies("repo");
}

#[test]
fn a_backup_with_damaged_pages_never_truncates() {
    let host = clean();
    ruin_page(&host, "app/Web.edb", 9);
    host.ok(&["begin", "app", "--to", "repo", "--snapshot", "--accept-damage"]);
    host.run(&["read", "app"]);
    for more in [&["--dry-run"][..], &[]] {
        host.run(&[&["truncate", "app"], more].concat()).exits(5).says("-521");
    }
    host.run(&["end", "app"]).exits(3);
    assert_eq!((&manifest(&host)["outcome"], &manifest(&host)["truncated"]), (&json!("incomplete"), &json!(false)));
    truncate(&host, &["--snapshot", "--accept-damage"]).exits(3);
    assert_eq!(host.backups("repo").len(), 2, "a one-shot publishes what it was asked for");
    no_log_is_deleted(&host);
}

#[test]
fn a_dry_run_answers_as_truncate_would_before_and_after() {
    let host = clean();
    session(&host, &[]);
    flip(&host, "app/edb00006.log", 300, 0xFF);
    host.run(&["truncate", "app", "--dry-run"]).exits(3).says("-612");
    flip(&host, "app/edb00006.log", 300, 0xFF);
    host.ok(&["truncate", "app"]);
    host.ok(&["truncate", "app", "--dry-run"]).says("0 logs (0 B) would be deleted");
    host.ok(&["end", "app"]);

    let host = clean();
    session(&host, &[]);
    host.write("app/Web.edb", DatabaseFile::new().build());
    host.run(&["truncate", "app", "--dry-run"]).exits(6).says("Web.edb changed");
}

#[test]
fn a_truncate_that_deletes_nothing_says_why() {
    let host = clean();
    fs::remove_file(host.path("app/Web.edb")).expect("removed");
    all_stay(&host, &[], "no database of its stream is in the storage");
    let host = two_databases();
    let ran = truncate(&host, &["--exclude", "Zweite.edb", "--json"]).exits(0);
    assert_eq!(ran.summary()["truncated"], 0);
    session(&host, &["--exclude", "Zweite.edb"]);
    let answer = host.ok(&["truncate", "app", "--json"]).json().pop().expect("an answer");
    assert_eq!(answer["remaining"].as_array().map(Vec::len), Some(6), "all that is still there: {answer}");
}
