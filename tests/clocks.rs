//! Clocks that jump, and zones: backups keep their order by number, nothing that changed is taken for unchanged, and what
//! stands in files is UTC. A backup of another time is one whose manifest was moved there: nobody sets the machine's clock.

mod common;

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use common::forge::move_in_time;
use common::{Host, Ran, finish};
use rusqlite::Connection;
use serde_json::Value;

/// A time so many hours from now, as manifests have it.
fn hours_from_now(hours: i64) -> String {
    let second = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs().cast_signed() + hours * 3600;
    jiff::Timestamp::from_second(second).expect("a time").to_string()
}

fn incremental(host: &Host) -> Ran {
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental", "--json"])
}

/// The numbers of the backups as `list` has them.
fn listed(host: &Host) -> Vec<u64> {
    let list = host.ok(&["list", "repo", "--json"]).summary();
    let backups = list["backups"].as_array().expect("a list");
    backups.iter().map(|backup| backup["sequence"].as_u64().expect("a number")).collect()
}

fn settings(host: &Host, id: &str) -> String {
    host.ok(&["cat", "repo", id, "conf/settings.ini"]).stdout
}

fn parent(host: &Host) -> Value {
    common::acceptance::manifest(host)["parent"]["id"].take()
}

/// The files of a run that were taken for unchanged because of their times.
#[track_caller]
fn unchanged(ran: &Ran) -> u64 {
    let begun = ran.json().into_iter().find(|line| line["type"] == "begun").expect("it has begun");
    begun["unchanged"].as_u64().expect("a number")
}

#[test]
fn a_clock_that_jumps_changes_nothing_of_the_order() {
    // A day back; forward and back again; far back to when machines without a clock begin.
    for jumps in [&[24][..], &[0, 24], &[48, 24], &[-24, 24], &[24, -24]] {
        let host = Host::quick_with_app();
        host.ok(&["backup", "app", "--to", "repo"]);
        let mut newest = move_in_time(&host, &hours_from_now(jumps[0]));
        for (at, hours) in jumps[1..].iter().enumerate() {
            host.write("app/conf/settings.ini", format!("colour = {at}\n"));
            incremental(&host);
            assert_eq!(parent(&host), *newest, "{jumps:?}");
            newest = move_in_time(&host, &hours_from_now(*hours));
        }
        // As long as it was, and at the same place: only its times tell that it changed.
        host.write("app/main.db", "THE DATABASE");
        let ran = incremental(&host);
        assert_eq!(parent(&host), *newest, "{jumps:?}");
        let is_future = jumps.iter().any(|hours| *hours > 0);
        assert_eq!(ran.stdout.contains("the clock was set back since "), is_future, "{jumps:?}: {}", ran.stdout);
        assert_eq!(unchanged(&ran), 0, "{jumps:?}");
        assert_eq!(host.ok(&["cat", "repo", "latest", "main.db"]).stdout, "THE DATABASE");
        let count = jumps.len() as u64 + 1;
        assert_eq!(listed(&host), (1..=count).collect::<Vec<_>>(), "{jumps:?}");
        assert_eq!(host.ok(&["show", "repo", "latest", "--json"]).summary()["sequence"], count, "{jumps:?}");
        assert_eq!(settings(&host, "1"), "colour = blue\n");
        host.verifies("repo");

        // What the next one builds on began after it by no clock: the last one is right again.
        incremental(&host);
        let before = host.backups("repo").into_iter().rev().nth(1).expect("two");
        assert_eq!(parent(&host), *before, "{jumps:?}");
        host.ok(&["consolidate", "repo", "latest"]);
        assert_eq!(listed(&host).len() as u64, count + 2);
        host.verifies("repo");
    }
}

#[test]
fn a_file_of_an_hour_that_came_again_is_read() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    // All its files had changed long before it began, as far as the times tell.
    let id = move_in_time(&host, &hours_from_now(1));
    let ran = incremental(&host);
    assert_eq!(unchanged(&ran), 0);
    assert!(ran.stdout.contains(&format!("the clock was set back since {id} began")), "{}", ran.stdout);
    assert_eq!(ran.summary()["bytes_stored"], 0, "nothing is stored twice: {}", ran.stdout);
}

#[test]
fn two_backups_of_one_second_are_two() {
    let host = Host::quick_with_app();
    let second = hours_from_now(-1);
    host.ok(&["backup", "app", "--to", "repo"]);
    let first = move_in_time(&host, &second);
    host.write("app/conf/settings.ini", "colour = green\n");
    host.ok(&["backup", "app", "--to", "repo"]);
    let newest = move_in_time(&host, &second);
    assert_eq!(first.replacen("000001", "000002", 1), newest);
    assert_eq!((settings(&host, "1"), settings(&host, &first)), ("colour = blue\n".into(), "colour = blue\n".into()));
    assert_eq!(
        (settings(&host, "2"), settings(&host, "latest")),
        ("colour = green\n".into(), "colour = green\n".into())
    );
    assert_eq!(listed(&host), [1, 2]);
    incremental(&host);
    assert_eq!(parent(&host), *newest);
    host.verifies("repo");
}

#[test]
fn people_see_their_own_time_and_files_hold_utc() {
    let host = Host::quick_with_app();
    for zone in ["NST3:30", "<+14>-14", "UTC", "no/such zone"] {
        let mut backup = host.command(&["backup", "app", "--to", "repo"]);
        backup.env("TZ", zone);
        finish(backup).exits(0);
        let manifest = common::acceptance::manifest(&host);
        for time in ["began", "ended"] {
            let time: jiff::Timestamp =
                manifest[time].as_str().filter(|time| time.ends_with('Z')).expect("UTC").parse().expect("a time");
            assert!(time.duration_until(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_hours(1), "{zone}");
        }
        let compact = manifest["began"].as_str().expect("a time")[..19].replace(['-', ':'], "");
        assert!(host.backups("repo").pop().expect("a backup").contains(&format!("-{compact}Z-")), "{zone}");
    }
    // The end of a leap day, which is the next day, or still the one before, for others.
    let id = move_in_time(&host, "2028-02-29T23:45:00Z");
    assert_eq!(id, "000004-20280229T234500Z-full");
    for (zone, time) in [
        ("UTC", "2028-02-29 23:45:00 +0000"),
        ("IST-5:30", "2028-03-01 05:15:00 +0530"),
        ("NST3:30", "2028-02-29 20:15:00 -0330"),
        ("<+14>-14", "2028-03-01 13:45:00 +1400"),
        ("<-12>12", "2028-02-29 11:45:00 -1200"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2028-03-01 00:45:00 +0100"),
    ] {
        for command in [&["list", "repo"][..], &["show", "repo", "4"]] {
            let mut told = host.command(command);
            told.env("TZ", zone);
            finish(told).exits(0).prints(time);
        }
        let mut list = host.command(&["list", "repo", "--json"]);
        list.env("TZ", zone);
        finish(list).exits(0).prints("\"2028-02-29T23:45:00Z\"");
    }
    host.write("app/conf/settings.ini", "colour = green\n");
    incremental(&host);
    assert_eq!((parent(&host), listed(&host)), (id.into(), vec![1, 2, 3, 4, 5]));
    host.verifies("repo");
}

#[test]
fn a_file_from_the_future_is_read_when_it_changes() {
    let host = Host::quick_with_app();
    let future = SystemTime::now() + Duration::from_hours(74 * 365 * 24);
    let dated = |content: &str| {
        host.write("app/main.db", content);
        let file = File::options().write(true).open(host.path("app/main.db")).expect("opened");
        file.set_modified(future).expect("set");
    };
    dated("the database");
    host.ok(&["backup", "app", "--to", "repo"]);
    dated("THE DATABASE");
    incremental(&host);
    assert_eq!(host.ok(&["cat", "repo", "latest", "main.db"]).stdout, "THE DATABASE");
    host.ok(&["restore", "repo", "--into", "out"]);
    let modified = fs::metadata(host.path("out/main.db")).and_then(|found| found.modified()).expect("a time");
    assert_eq!(modified, future);
    host.verifies("repo");
}

#[test]
fn a_database_that_is_made_anew_after_the_clock_was_set_back_is_told_of_and_taken_whole() {
    let host = Host::quick();
    let path = host.path("app/bank.db");
    let made = |rows: usize| {
        let database = Connection::open(&path).expect("opened");
        database.execute_batch("CREATE TABLE t(x)").expect("made");
        for _ in 0..rows {
            database.execute_batch("INSERT INTO t VALUES (1)").expect("inserted");
        }
    };
    for (hours, kind) in [(24, "full"), (-24, "incremental")] {
        let _ = fs::remove_file(&path); // of the round before
        let _ = fs::remove_dir_all(host.path("repo")); // as well
        made(9);
        host.ok(&["backup", "app", "--to", "repo"]);
        move_in_time(&host, &hours_from_now(hours));
        fs::remove_file(&path).expect("removed");
        made(1);
        let ran = incremental(&host);
        assert_eq!(ran.summary()["kind"], kind, "{}", ran.stdout);
        assert_eq!(ran.stdout.contains("rolled back"), kind == "full", "{}", ran.stdout);
        host.verifies("repo");
    }
}
