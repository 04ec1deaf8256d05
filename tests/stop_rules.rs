//! Which session a stop means, what it changes, and when it comes too late.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use common::Host;
use serde_json::{Value, json};

/// The storages under a heading of what `stop --json` answers, by their last names.
fn storages(answer: &Value, heading: &str) -> Vec<String> {
    let list = answer[heading].as_array().expect("a list").iter();
    list.map(|one| one["storage"].as_str().expect("a path").rsplit('/').next().expect("a name").to_owned()).collect()
}

/// A machine with a session on each of two storages, `app` and `web`.
fn two_sessions() -> Host {
    let host = Host::with_app();
    host.write("web/index.db", "the index");
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["begin", "web", "--to", "web-repo"]);
    host
}

fn stopped(host: &Host, storage: &str) -> bool {
    let sessions = host.status();
    let end = format!("/{storage}");
    let one = sessions.iter().find(|one| one["storage"].as_str().is_some_and(|path| path.ends_with(&end)));
    one.expect("a session")["stopped"] == true
}

#[test]
fn without_a_session_there_is_nothing_to_stop_and_nothing_is_remembered() {
    let host = Host::with_app();
    let calls: [&[&str]; 3] = [&["stop"], &["stop", "app"], &["stop", "--all", "--reason", "why", "--wait", "1"]];
    for call in calls {
        host.ok(call).says("nothing to stop");
    }
    let answer = host.ok(&["stop", "--json"]).summary();
    assert_eq!(answer, json!({"type": "stop", "stopped": [], "already": [], "too_late": []}));
    assert!(!host.path("state").exists(), "nothing is created");

    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]).says("backup 000001-");
    host.run(&["end", "app"]).exits(5).says("-520]");
}

#[test]
fn case_76_a_storage_that_does_not_exist_is_a_slip() {
    let host = two_sessions();
    host.run(&["stop", "aap"]).exits(2).says("there is no storage aap").says("[JET_errInvalidParameter, -1003]");
    let error = host.run(&["stop", "aap", "--json"]).exits(2).summary();
    assert_eq!((&error["type"], &error["code"]), (&"error".into(), &(-1003).into()));
    host.run(&["stop", "--session", "20260101T000000Z-000000"]).exits(2).says("-1003]");
    assert!(!stopped(&host, "app") && !stopped(&host, "web"));
}

#[test]
fn without_a_name_the_only_session_is_stopped() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    let answer = host.ok(&["stop", "--json"]).summary();
    assert_eq!(storages(&answer, "stopped"), ["app"]);
    assert_eq!(answer["stopped"][0]["session"], host.status()[0]["session"]);
    assert!(stopped(&host, "app"));
}

#[test]
fn without_a_name_none_of_several_is_stopped() {
    let host = two_sessions();
    let ran = host.run(&["stop", "--reason", "why"]).exits(5);
    ran.says("2 backups are in progress").says("/app, ").says("/web [JET_errRunningInMultiInstanceMode, -1081]");
    assert!(!stopped(&host, "app") && !stopped(&host, "web"));

    // Stopped ones count: which one is meant is as unclear as before.
    host.ok(&["stop", "app"]);
    host.run(&["stop"]).exits(5).says("-1081]");
    assert!(!stopped(&host, "web"));
}

#[test]
fn a_stop_of_one_storage_leaves_the_other_alone() {
    let host = two_sessions();
    host.ok(&["stop", "app"]);
    host.run(&["read", "app"]).exits(4);

    host.ok(&["read", "web"]);
    host.ok(&["end", "web"]).says("backup 000001-");
    host.verifies("web-repo");
    host.ok(&["end", "app"]).says("end stopped");
}

#[test]
fn all_stops_every_session_once() {
    let host = two_sessions();
    host.ok(&["stop", "app"]);
    let answer = host.ok(&["stop", "--all", "--json"]).summary();
    assert_eq!((storages(&answer, "stopped"), storages(&answer, "already")), (vec!["web".into()], vec!["app".into()]));
    assert!(stopped(&host, "app") && stopped(&host, "web"));
}

#[test]
fn a_session_is_stopped_by_its_id() {
    let host = two_sessions();
    let sessions = host.status();
    let web = sessions.iter().find(|one| one["storage"].as_str().is_some_and(|path| path.ends_with("/web")));
    let id = web.expect("a session")["session"].as_str().expect("an id");
    host.ok(&["stop", "--session", id]);
    assert!(stopped(&host, "web") && !stopped(&host, "app"));
}

#[test]
fn stopping_twice_is_stopping_once() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["stop", "app", "--reason", "the first reason"]);
    let before = host.journal().len();

    host.ok(&["stop", "app", "--reason", "the second reason"]).says("was stopped before");
    let answer = host.ok(&["stop", "app", "--json"]).summary();
    assert_eq!((storages(&answer, "stopped"), storages(&answer, "already")), (vec![], vec!["app".to_owned()]));
    assert_eq!(host.journal().len(), before);
    host.run(&["read", "app"]).exits(4).says(": the first reason");
}

#[test]
fn a_stop_after_the_last_byte_still_prevents_the_backup() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.ok(&["read", "app"]);
    host.ok(&["stop", "app"]).says("stopped the backup of ");

    host.run(&["truncate", "app"]).exits(4).says("[JET_errBackupAbortByServer, -801]");
    let summary = host.ok(&["end", "app", "--json"]).summary();
    assert_eq!((&summary["outcome"], &summary["truncated"]), (&"stopped".into(), &0.into()));
    assert_eq!(host.backups("repo"), Vec::<String>::new());
    host.is_tidy("repo");
    for number in 1..=4 {
        assert!(host.path(format!("app/wal.{number}")).exists(), "no log is deleted");
    }
}

#[test]
fn a_stop_after_truncate_is_too_late_and_says_so() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.ok(&["read", "app"]);
    host.ok(&["truncate", "app"]).says("deleted 3 logs");
    host.ok(&["stop", "app"]).says("too late: the backup of ");
    let answer = host.ok(&["stop", "app", "--json"]).summary();
    assert_eq!((storages(&answer, "stopped"), storages(&answer, "too_late")), (vec![], vec!["app".to_owned()]));
    assert!(!stopped(&host, "app"));

    let summary = host.ok(&["end", "app", "--require-success", "--json"]).summary();
    assert_eq!((&summary["outcome"], &summary["truncated"]), (&"completed".into(), &3.into()));
    let list = host.ok(&["list", "repo", "--json"]).summary();
    assert_eq!((&list["backups"][0]["id"], &list["backups"][0]["sequence"]), (&summary["id"], &1.into()));
    host.verifies("repo");
    host.is_tidy("repo");
    assert!(!host.path("app/wal.3").exists() && host.path("app/wal.4").exists());
}

#[test]
fn a_stop_after_truncate_does_not_hinder_an_abort_from_keeping_the_backup() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.ok(&["read", "app"]);
    host.ok(&["truncate", "app"]);
    host.ok(&["stop", "app"]);
    host.ok(&["end", "app", "--abort"]).says("the backup was published before; it stays");
    assert_eq!(host.backups("repo").len(), 1);
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn a_stop_that_waits_returns_when_the_reader_is_gone() {
    let host = Host::with_app();
    host.write_huge("app/huge.db", 4 << 30);
    host.ok(&["begin", "app", "--to", "repo"]);
    let reader = host.start_reading(&["read", "app"], "huge.db");
    let stop = host.ok(&["stop", "app", "--wait", "9"]);
    assert!(stop.took < Duration::from_secs(2), "{:?}", stop.took);
    assert_eq!(host.status()[0]["readers"], 0);
    reader.leaves().exits(4);
}

#[test]
fn a_stop_that_waits_in_vain_says_so() {
    let host = Host::with_app();
    host.write_huge("app/huge.db", 4 << 30);
    host.ok(&["begin", "app", "--to", "repo"]);
    let reader = host.start_reading(&["read", "app"], "huge.db");
    reader.signal("STOP");

    let stop = host.run(&["stop", "app", "--wait", "0.2"]).exits(5);
    assert!(stop.took >= Duration::from_millis(200), "{:?}", stop.took);
    stop.says("is stopped, but its reader has not left yet");
    assert!(stopped(&host, "app"), "the stop stands");
    reader.signal("CONT");
    reader.leaves().exits(4);
    host.ok(&["stop", "app", "--wait", "0.2"]).says("was stopped before");
}

#[test]
fn a_storage_whose_mount_has_vanished_is_stopped_and_ended_by_its_name() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    fs::rename(host.path("app"), host.path("gone")).expect("renamed");

    host.ok(&["stop", "app"]).says("stopped the backup of ");
    host.ok(&["end", "app", "--abort"]);
    host.is_tidy("repo");
    host.run(&["stop", "app"]).exits(2).says("-1003]");
}

#[test]
fn a_storage_that_vanished_behind_a_link_is_still_found_by_the_link() {
    let host = Host::with_app();
    symlink(host.path("app"), host.path("link")).expect("linked");
    host.ok(&["begin", "link", "--to", "repo"]);
    fs::rename(host.path("app"), host.path("gone")).expect("renamed");
    fs::remove_file(host.path("link")).expect("removed");

    host.ok(&["stop", "link"]).says("stopped the backup of ");
    host.ok(&["stop", host.path("app").to_str().expect("UTF-8")]).says("was stopped before");
    host.ok(&["end", "link"]).says("end stopped");
    host.is_tidy("repo");
}

#[test]
fn a_link_and_the_real_path_mean_the_same_session() {
    for (begun, stopped) in [("link", "app"), ("app", "link"), ("link", "./link/"), ("app", "web/../app")] {
        let host = Host::with_app();
        host.write("web/index.db", "the index");
        symlink("app", host.path("link")).expect("linked");
        host.ok(&["begin", begun, "--to", "repo"]);
        host.run(&["begin", stopped, "--to", "repo"]).exits(5).says("-505]");
        host.ok(&["stop", stopped]).says("stopped the backup of ");
        host.run(&["read", begun]).exits(4);
        host.ok(&["end", stopped]);
        host.is_tidy("repo");
    }
}

#[test]
fn a_stop_of_everything_tells_of_a_session_that_it_cannot_read() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    let record = host.session_folders()[0].join("session.json");
    fs::write(&record, "{").expect("written");
    for arguments in [&["stop"][..], &["stop", "--all"]] {
        host.run(arguments).exits(1).says("session.json is damaged").says("Remove the session's folder");
    }
}
