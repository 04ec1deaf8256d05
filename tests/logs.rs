//! `jetbak logs`: of each log whether it is needed, and why.

mod common;

use std::fs;

use common::Host;
use common::acceptance::{clean, dirty, flip, no_log_is_deleted, two_databases};
use common::ese::{self, LogFile, STREAM};
use serde_json::{Value, json};

fn story(host: &Host, more: &[&str]) -> Value {
    host.ok(&[&["logs", "app", "--json"], more].concat()).json().pop().expect("an answer")
}

fn log(story: &Value, generation: u32) -> &Value {
    let logs = story["logs"].as_array().expect("a list");
    logs.iter().find(|log| log["generation"] == generation).unwrap_or_else(|| panic!("no log {generation}"))
}

fn reasons(story: &Value, generation: u32) -> Vec<&str> {
    log(story, generation)["reasons"].as_array().expect("a list").iter().map(|it| it.as_str().expect("text")).collect()
}

#[test]
fn before_any_backup_nothing_can_go_and_it_is_said_what_would_help() {
    let host = clean();
    let ran = host.ok(&["logs", "app"]);
    let last = ran.stdout.lines().last().expect("a line");
    assert_eq!(
        last,
        "None of 6 logs (384.00 KiB) can go: no repository was named. A full backup with --truncate would delete \
         3 logs (192.00 KiB)."
    );
    assert_eq!(ran.stdout.lines().count(), 8, "a heading, a line for each log, and the last one:\n{}", ran.stdout);
    let story = story(&host, &[]);
    assert_eq!((&story["type"], &story["checkpoint"]), (&json!("logs"), &json!(8)));
    assert_eq!(
        (&story["deletable"], &story["deletable_bytes"], &story["deletable_after_full"]),
        (&json!(0), &json!(0), &json!(3))
    );
    assert_eq!(reasons(&story, 5), ["below checkpoint 8 (0x8)", "no backup of Web.edb is known"]);
    assert_eq!(log(&story, 5)["path"], "edb00005.log");
    assert_eq!(log(&story, 10)["current"], true);
    assert_eq!(reasons(&story, 10)[0], "the current log");
    no_log_is_deleted(&host);
}

#[test]
fn after_a_proven_backup_what_it_supersedes_can_go_and_goes_with_the_next() {
    let host = clean();
    host.ok(&["backup", "app", "--to", "repo"]);
    let unproven = story(&host, &["--repository", "repo"]);
    assert_eq!(reasons(&unproven, 5)[1], "Web.edb is in no full backup that was proven");
    host.verifies("repo");
    let proven = story(&host, &["--repository", "repo"]);
    assert_eq!((&proven["deletable"], &proven["deletable_bytes"]), (&json!(3), &json!(3 * 65536)));
    assert_eq!(reasons(&proven, 7), ["below checkpoint 8 (0x8)", "superseded by backup 1"]);
    assert_eq!((&log(&proven, 7)["superseded_by"], &log(&proven, 7)["held_by"]), (&json!(1), &Value::Null));
    assert_eq!(reasons(&proven, 8)[0], "not below checkpoint 8 (0x8)");
    assert!(log(&proven, 8)["deletable"] == false && log(&proven, 7)["deletable"] == true);
    let ran = host.ok(&["logs", "app", "--repository", "repo"]);
    let told = "the next `jetbak backup --truncate` deletes them.\nThe next incremental backup takes log 10 (0xA).\n";
    assert!(ran.stdout.ends_with(told), "{}", ran.stdout);

    // What it says is what happens.
    let gone = host.ok(&["backup", "app", "--to", "repo", "--truncate", "--json"]).summary();
    assert_eq!(gone["truncated"], proven["deletable"]);
    assert_eq!(story(&host, &["--repository", "repo"])["deletable"], 0);
}

#[test]
fn a_log_that_only_one_database_has_behind_it_is_held_by_its_backup() {
    let host = two_databases();
    host.write("app/edb.chk", ese::checkpoint(5, STREAM));
    host.ok(&["backup", "app", "--to", "repo"]);
    host.write("app/edb.chk", ese::checkpoint(9, STREAM));
    host.verifies("repo");
    let story = story(&host, &["--repository", "repo"]);
    assert_eq!(reasons(&story, 8), ["below checkpoint 9 (0x9)", "held by backup 1"]);
    assert_eq!((&log(&story, 8)["held_by"], &story["deletable"]), (&json!(1), &json!(4)));
}

#[test]
fn a_dirty_database_is_named_with_what_it_needs() {
    let host = dirty();
    let story = story(&host, &[]);
    assert!(reasons(&story, 8).contains(&"required by Web.edb (8-10 (0x8-0xA))"), "{:?}", reasons(&story, 8));
    assert!(!reasons(&story, 7).iter().any(|reason| reason.contains("required")));
}

#[test]
fn what_bars_everything_is_said_of_every_log() {
    let host = clean();
    host.ok(&["backup", "app", "--to", "repo", "--truncate", "--dry-run"]);
    flip(&host, "app/edb00005.log", 300, 0xFF);
    let barred = story(&host, &[]);
    assert_eq!(log(&barred, 5)["reasons"], json!(["its header cannot be read [JET_errLogReadVerifyFailure, -612]"]));
    assert!(reasons(&barred, 6).contains(&"there are logs that cannot be believed"));
    assert_eq!((&barred["deletable"], &barred["deletable_after_full"]), (&json!(0), &json!(0)));
    let ran = host.ok(&["logs", "app"]);
    assert!(ran.stdout.ends_with("nor would a backup change that: there are logs that cannot be believed.\n"));

    let host = clean();
    fs::remove_file(host.path("app/edb.chk")).expect("removed");
    fs::remove_file(host.path("app/edb00007.log")).expect("removed");
    let ran = host.ok(&["logs", "app"]);
    assert!(ran.stdout.contains("Log 7 (0x7) is not there."), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("not even the oldest (there is no checkpoint).\n"), "{}", ran.stdout);
    assert_eq!(story(&host, &[])["missing"], json!([[7, 7]]));
}

#[test]
fn logs_that_lie_elsewhere_are_found_where_they_are_named() {
    let host = clean();
    fs::create_dir(host.path("elsewhere")).expect("created");
    for generation in 5..=10 {
        let name = if generation == 10 { "edb.log".to_owned() } else { format!("edb{generation:05X}.log") };
        fs::rename(host.path("app").join(&name), host.path("elsewhere").join(&name)).expect("moved");
    }
    let story = story(&host, &["--log-dir", "elsewhere", "--checkpoint", "app/edb.chk"]);
    assert_eq!(story["logs"].as_array().expect("a list").len(), 6);
    assert_eq!(log(&story, 5)["path"], "elsewhere/edb00005.log");
}

#[test]
fn what_is_no_instance_is_refused() {
    let host = Host::with_app();
    host.run(&["logs", "app"]).exits(1).says("no file of the Extensible Storage Engine");
    host.run(&["logs", "nowhere"]).exits(1);
    let host = clean();
    let second: Vec<_> = LogFile::chain(1..=2).into_iter().map(|log| LogFile { stream: 9, ..log }).collect();
    host.write("app/e0100001.log", second[0].build());
    host.write("app/e01.log", second[1].build());
    host.run(&["logs", "app"]).exits(5).says("-1081");
    host.ok(&["logs", "app", "--base", "e01"]).prints("2 (0x2)");
    host.run(&["logs", "app", "--base", "edb", "--repository", "nowhere"]).exits(1);
}
