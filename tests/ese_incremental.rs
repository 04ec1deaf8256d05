//! An instance through its weeks: a full backup, then the logs after it, night after night; and what a restore of each of
//! those nights gives, against copies that were kept aside.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::acceptance::{at_work, clean, go_on, logs_left, manifest, quick_clean, range, taken, write_logs};
use common::ese::{self, DATABASE, DatabaseFile, LogFile, STREAM};
use common::{HeldJournal, Host, Ran, Running, names};
use serde_json::{Value, json};

fn backup(host: &Host, kind: &str, more: &[&str]) -> Ran {
    host.run(&[&["backup", "app", "--to", "repo", "--kind", kind], more].concat())
}

fn copy(host: &Host, from: &str, to: &str) {
    let copied = Command::new("cp").arg("-a").arg(host.path(from)).arg(host.path(to)).status().expect("cp runs");
    assert!(copied.success());
}

/// Keeps what a restore of the newest backup must give: the databases and the checkpoint of `base`, a directory that was
/// kept before, all logs from those of the base to the newest, and everything else as it is now.
fn keep(host: &Host, name: &str, base: Option<&str>) {
    let low = base.map_or(0, |base| first_log(host, base));
    let is_old = |log: &str| {
        let number = log.strip_prefix("edb").and_then(|rest| u32::from_str_radix(rest.strip_suffix(".log")?, 16).ok());
        number.is_some_and(|number| number < low)
    };
    copy(host, "app", name);
    let folder = host.path(name);
    if let Some(base) = base {
        for own in ["Web.edb", "edb.chk"] {
            fs::copy(host.path(base).join(own), folder.join(own)).expect("copied");
        }
        for log in names(&folder).into_iter().filter(|log| is_old(log)) {
            fs::remove_file(folder.join(log)).expect("removed");
        }
        // Logs that are truncated by now stand in the backups alone.
        let newest = u32::try_from(range(host).1).expect("small");
        for log in LogFile::chain(5..=newest).iter().filter(|log| (low..newest).contains(&log.generation)) {
            fs::write(folder.join(format!("edb{:05X}.log", log.generation)), log.build()).expect("written");
        }
    } else {
        let first = range(host).0;
        for log in names(&folder) {
            let number =
                log.strip_prefix("edb").and_then(|rest| u64::from_str_radix(rest.strip_suffix(".log")?, 16).ok());
            if number.is_some_and(|number| number < first) {
                fs::remove_file(folder.join(log)).expect("removed");
            }
        }
    }
}

/// The oldest closed log in a directory.
fn first_log(host: &Host, folder: &str) -> u32 {
    let number = |log: String| u32::from_str_radix(log.strip_prefix("edb")?.strip_suffix(".log")?, 16).ok();
    names(&host.path(folder)).into_iter().filter_map(number).min().expect("a closed log")
}

/// Restores a backup and compares it, byte by byte and name by name, with what was kept.
#[track_caller]
fn restores_as(host: &Host, backup: &str, kept: &str) -> Ran {
    let into = format!("out-{kept}");
    let ran = host.ok(&["restore", "repo", backup, "--into", &into]);
    let compared =
        Command::new("diff").arg("-r").arg(host.path(kept)).arg(host.path(&into)).output().expect("diff runs");
    assert!(compared.status.success(), "{backup}: {}", String::from_utf8_lossy(&compared.stdout));
    ran
}

fn id(host: &Host) -> String {
    manifest(host)["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_week_of_an_instance_and_every_night_of_it_restored() {
    let host = clean();
    host.write("app/notes.txt", "sunday");
    backup(&host, "full", &["--truncate"]).exits(0);
    assert_eq!(logs_left(&host), ["edb.log", "edb00008.log", "edb00009.log"]);
    keep(&host, "sunday", None);
    let mut nights = vec![(id(&host), "sunday".to_owned())];
    for (night, newest, kind, more) in [
        ("monday", 12, "incremental", &["--truncate"][..]),
        ("tuesday", 12, "incremental", &["--truncate"]), // nothing was written
        ("wednesday", 15, "differential", &[]),
        ("thursday", 16, "incremental", &[]),
        ("friday", 18, "incremental", &["--truncate"]),
    ] {
        go_on(&host, newest, newest - 1);
        host.write("app/notes.txt", night);
        if kind == "differential" {
            backup(&host, kind, more).exits(3).says("-569"); // Monday's truncate took its logs
            continue;
        }
        backup(&host, kind, more).exits(0);
        keep(&host, night, Some("sunday"));
        nights.push((id(&host), night.to_owned()));
        assert!(!host.stored("Web.edb").exists(), "no database is stored");
    }
    assert_eq!(logs_left(&host)[1], "edb0000C.log", "thursday's backup was not proven yet");
    assert_eq!(range(&host), (16, 18));
    host.verifies("repo");
    for (id, night) in &nights {
        restores_as(&host, id, night);
    }
    // A second Sunday; the differentials count from it.
    backup(&host, "full", &["--truncate"]).exits(0);
    assert_eq!(logs_left(&host), ["edb.log", "edb00011.log"], "all below checkpoint 17 went");
    keep(&host, "next", None);
    let next = id(&host);
    for newest in [19, 21] {
        go_on(&host, newest, newest - 1);
        backup(&host, "differential", &[]).exits(0);
        assert_eq!((range(&host).0, manifest(&host)["parent"]["id"].as_str()), (18, Some(&*next)));
        let name = format!("differential-{newest}");
        keep(&host, &name, Some("next"));
        restores_as(&host, &id(&host), &name);
    }
    host.verifies("repo");
}

#[test]
fn a_restore_says_that_the_logs_bring_the_databases_up_to_date() {
    let host = quick_clean();
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 12, 11);
    backup(&host, "incremental", &[]).exits(0);
    let ran = host.ok(&["restore", "repo", "--into", "out"]);
    assert!(
        ran.stderr.contains("older than the logs: a recovery replays logs 8-12 (0x8-0xC) and brings it up to date"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("can open it as it is"), "{}", ran.stderr);
    let ran = host.ok(&["restore", "repo", "1", "--into", "out-1"]);
    assert!(ran.stderr.contains("was shut down cleanly"), "{}", ran.stderr);
}

#[test]
fn separate_commands_agree_on_what_they_build_on() {
    let host = clean();
    backup(&host, "full", &["--truncate"]).exits(0);
    go_on(&host, 12, 11);
    host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental"]);
    let listed = host.ok(&["files", "app"]).stdout;
    assert!(!listed.contains("Web.edb") && listed.contains("edb0000A.log"), "{listed}");
    host.ok(&["read", "app"]);
    let would = host.ok(&["truncate", "app", "--dry-run", "--json"]).json().pop().expect("an answer");
    assert_eq!(would["deleted"], json!(["edb00008.log", "edb00009.log", "edb0000A.log"]));
    assert_eq!(logs_left(&host).len(), 5);
    let done = host.ok(&["truncate", "app", "--json"]).json().pop().expect("an answer");
    assert_eq!(done["deleted"], would["deleted"]);
    host.ok(&["end", "app"]);
    assert_eq!(logs_left(&host), ["edb.log", "edb0000B.log"]);
    assert_eq!(taken(&host), ["edb.log", "edb0000A.log", "edb0000B.log"]);
    host.verifies("repo");
}

#[test]
fn the_log_that_is_written_is_taken_again_and_only_what_was_added_since() {
    let host = clean();
    backup(&host, "full", &[]).exits(0);
    backup(&host, "incremental", &[]).exits(0);
    assert_eq!(range(&host), (10, 10), "nothing was written since");
    let mut chain = LogFile::chain(5..=10);
    chain[5].data = 12; // the same log, further on
    write_logs(&host, "app", &chain);
    backup(&host, "incremental", &[]).exits(0);
    assert_eq!(range(&host), (10, 10));
    host.ok(&["restore", "repo", "--into", "out"]);
    assert_eq!(host.sha256("out/edb.log"), host.sha256("app/edb.log"));
    host.verifies("repo");
}

#[test]
fn an_instance_that_was_put_back_within_its_newest_log_is_noticed() {
    let host = clean();
    let chain = |data: u32, other: bool| {
        let mut chain = LogFile::chain(5..=10);
        chain[5].data = data;
        write_logs(&host, "app", &chain);
        if other {
            // Written on from an earlier state: the third segment is another one.
            let path = host.path("app/edb.log");
            let mut log = fs::read(&path).expect("read");
            let segment = &mut log[3 * 4096..4 * 4096];
            segment[100] ^= 1;
            ese::seal_page(segment, 3);
            fs::write(path, log).expect("written");
        }
    };
    chain(9, false);
    backup(&host, "full", &[]).exits(0);
    for (data, other) in [(8, false), (5, false), (12, true)] {
        chain(data, other);
        let ran = backup(&host, "incremental", &[]).exits(3);
        assert!(ran.stderr.contains("-515") && ran.stderr.contains("put back to an earlier state"), "{}", ran.stderr);
        assert_eq!(host.backups("repo").len(), 1, "{data}");
        host.is_tidy("repo");
    }
    chain(12, false);
    backup(&host, "incremental", &[]).exits(0);
}

/// A dirty snapshot of this moment in `app`, of the live instance in `live`.
fn snapshot(host: &Host, newest: u32, required: u32) {
    go_on(host, newest, required);
    host.write("app/Web.edb", DatabaseFile { flushes: (newest, 1), ..DatabaseFile::dirty(required, newest) }.build());
    let chain = LogFile::chain(5..=newest + 1);
    let lowest = if host.path("live").exists() { first_log(host, "live") } else { 5 };
    for log in chain.iter().filter(|log| (lowest..=newest).contains(&log.generation)) {
        host.write(&format!("live/edb{:05X}.log", log.generation), log.build());
    }
    host.write("live/edb.log", chain[chain.len() - 1].build());
    host.write("live/edb.chk", ese::checkpoint(required + 1, STREAM));
}

#[test]
fn a_snapshot_every_night_and_the_live_logs_go() {
    let host = Host::new();
    host.write("app/edb.log", LogFile::new(5).build());
    snapshot(&host, 10, 8);
    let live = ["--snapshot", "--truncate", "--live-log-dir", "live"];
    backup(&host, "full", &live).exits(0);
    assert_eq!(names(&host.path("live"))[..3], ["edb.chk", "edb.log", "edb00008.log"]);
    keep(&host, "one", None);
    for (newest, required, name) in [(12, 11, "two"), (15, 14, "three")] {
        fs::remove_dir_all(host.path("app")).expect("another snapshot stands in its place");
        copy(&host, "live", "app");
        snapshot(&host, newest, required);
        backup(&host, "incremental", &live).exits(0);
        assert_eq!(first_log(&host, "live"), required, "what is below the snapshot's needs went");
        keep(&host, name, Some("one"));
        let ran = restores_as(&host, &id(&host), name);
        assert!(ran.stderr.contains(&format!("replays logs 8-{newest}")), "{}", ran.stderr);
    }
    host.verifies("repo");
}

#[test]
fn killed_while_an_incremental_deletes_logs_the_next_one_goes_on() {
    for deletions in [0, 1, 2] {
        let killed = || {
            let host = clean();
            backup(&host, "full", &["--truncate"]).exits(0);
            go_on(&host, 14, 13);
            host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental"]);
            host.ok(&["read", "app"]);
            let held = HeldJournal::of(&host, "state").expect("a session");
            let mut running = Running::spawn(host.command(&["truncate", "app"]));
            // publishing, published, truncating, and then one event for each log
            let is_there = held.step_to(held.events().len() + 3 + deletions, &mut running);
            running.kill();
            drop(held);
            is_there.then_some(host)
        };
        let host = (0..100).find_map(|_| killed()).expect("it can be caught in a hundred tries");
        let left = logs_left(&host);
        let oldest = 14 - u32::try_from(left.len()).expect("few") + 1;
        assert_eq!(left[1], format!("edb{oldest:05X}.log"), "no gap is left: {left:?}");
        host.verifies("repo");
        host.ok(&["truncate", "app"]);
        assert_eq!(logs_left(&host), ["edb.log", "edb0000D.log"]);
        host.ok(&["end", "app"]);
        go_on(&host, 15, 14);
        backup(&host, "incremental", &["--truncate"]).exits(0);
        assert_eq!((range(&host), logs_left(&host).len(), host.backups("repo").len()), ((14, 15), 2, 3));
        host.verifies("repo");
    }
}

#[test]
fn a_missing_night_between_is_named_and_keeps_every_log() {
    let host = clean();
    backup(&host, "full", &["--truncate"]).exits(0);
    for newest in [12, 14] {
        go_on(&host, newest, 10);
        backup(&host, "incremental", &["--truncate"]).exits(0);
    }
    go_on(&host, 16, 15);
    let middle = host.backups("repo")[1].clone();
    fs::rename(host.path("repo/backups").join(&middle), host.path("away")).expect("renamed");
    host.run(&["restore", "repo", "--into", "out"]).exits(3).says(&middle);
    let ran = host.run(&["verify", "repo"]).exits(3);
    assert!(ran.stdout.contains(&middle), "{}", ran.stdout);
    let before = logs_left(&host);
    let story = host.ok(&["logs", "app", "--repository", "repo", "--json"]).json().pop().expect("an answer");
    assert_eq!(story["deletable"], 0, "{story}");
    // The next incremental can only build on the full: the logs since then are there but for what was truncated.
    backup(&host, "incremental", &["--truncate"]).exits(0);
    assert_eq!((range(&host), manifest(&host)["parent"]["id"].as_str()), ((10, 16), Some(&*host.backups("repo")[0])));
    assert!(logs_left(&host).len() < before.len(), "the new one stands on the full");
    host.ok(&["restore", "repo", "--into", "out"]);
}

#[test]
fn a_night_whose_full_has_rotted_makes_no_log_needless() {
    let host = clean();
    backup(&host, "full", &["--truncate"]).exits(0);
    let full = host.backup_folder();
    go_on(&host, 12, 11);
    fs::remove_file(full.join("data/Web.edb")).expect("removed");
    let before = logs_left(&host);
    let ran = backup(&host, "incremental", &["--truncate"]).exits(3).says("which this backup builds on, is damaged");
    ran.says("missing of data/Web.edb").says("Nothing was published and no log deleted. Make a full backup");
    assert_eq!((logs_left(&host), host.backups("repo").len()), (before, 1));
    host.is_tidy("repo");
    backup(&host, "full", &["--truncate"]).exits(0);
}

#[test]
fn a_full_that_was_never_proven_keeps_the_logs_until_it_is() {
    let host = clean();
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 12, 11);
    let before = logs_left(&host);
    let ran = backup(&host, "incremental", &["--truncate"]).exits(0);
    assert!(ran.stderr.contains("Web.edb keeps the logs from 5 (0x5) on"), "{}", ran.stderr);
    assert_eq!(logs_left(&host), before);
    host.verifies("repo");
    backup(&host, "incremental", &["--truncate"]).exits(0);
    assert_eq!(logs_left(&host), ["edb.log", "edb0000B.log"]);
}

#[test]
fn changed_blocks_hold_the_databases_and_logs_go_on_from_there() {
    let host = clean();
    backup(&host, "full", &["--truncate"]).exits(0);
    go_on(&host, 12, 11);
    host.write("app/Zweite.edb", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    backup(&host, "incremental", &["--blocks", "--truncate"]).exits(0);
    assert_eq!((range(&host), &manifest(&host)["changes"]), ((11, 12), &json!("blocks")));
    assert_eq!(logs_left(&host), ["edb.log", "edb0000B.log"]);
    keep(&host, "blocks", None);
    restores_as(&host, &id(&host), "blocks");
    go_on(&host, 14, 13);
    // The new database is in the blocks: the logs bring it on.
    backup(&host, "incremental", &["--truncate"]).exits(0);
    assert_eq!((range(&host), &manifest(&host)["changes"]), ((12, 14), &json!("logs")));
    assert_eq!(logs_left(&host), ["edb.log", "edb0000D.log"]);
    keep(&host, "logs", Some("blocks"));
    restores_as(&host, &id(&host), "logs");
    host.verifies("repo");
}

#[test]
fn a_night_of_blocks_on_top_of_a_rotten_full_makes_no_log_needless() {
    let host = clean();
    backup(&host, "full", &["--truncate"]).exits(0);
    let full = host.backup_folder();
    go_on(&host, 12, 11);
    fs::remove_file(full.join("data/edb00008.log")).expect("removed"); // what it builds on is not what it was
    fs::remove_file(full.join("data/Web.edb")).expect("removed");
    let before = logs_left(&host);
    let ran = backup(&host, "incremental", &["--blocks", "--truncate"]);
    assert_eq!(logs_left(&host), before, "{}", ran.stderr);
}

#[test]
fn a_database_of_another_stream_is_read_as_it_is() {
    let host = quick_clean();
    let apart = |flush| DatabaseFile { signature: 7, stream: 0, flushes: (flush, 1), ..DatabaseFile::new() };
    host.write("app/Apart.edb", apart(1).build());
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 12, 11);
    host.write("app/Apart.edb", apart(2).build());
    host.write("app/New.edb", DatabaseFile { signature: 8, stream: 0, ..DatabaseFile::new() }.build());
    backup(&host, "incremental", &[]).exits(0);
    host.ok(&["restore", "repo", "--into", "out"]);
    for own in ["Apart.edb", "New.edb"] {
        assert_eq!(host.sha256(&format!("out/{own}")), host.sha256(&format!("app/{own}")), "{own}");
    }
    host.verifies("repo");
}

#[test]
fn a_database_that_was_removed_stays_in_the_chain() {
    let host = quick_clean();
    host.write("app/Zweite.edb", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    backup(&host, "full", &[]).exits(0);
    let kept = host.sha256("app/Zweite.edb");
    go_on(&host, 12, 11);
    fs::remove_file(host.path("app/Zweite.edb")).expect("removed");
    backup(&host, "incremental", &[]).exits(0);
    host.ok(&["restore", "repo", "--into", "out"]);
    assert_eq!(host.sha256("out/Zweite.edb"), kept, "the logs before its end need it");
}

#[test]
fn the_story_of_the_logs_tells_what_the_next_incremental_takes() {
    let host = clean();
    let story = |more: &[&str]| -> Value {
        host.ok(&[&["logs", "app", "--repository", "repo", "--json"], more].concat()).json().pop().expect("an answer")
    };
    backup(&host, "full", &["--truncate"]).exits(0);
    go_on(&host, 12, 11);
    assert_eq!(story(&[])["incremental"], json!({"parent": id(&host), "first": 10, "last": 12}));
    let ran = host.ok(&["logs", "app", "--repository", "repo"]);
    assert!(ran.stdout.contains("The next incremental backup takes logs 10-12 (0xA-0xC)."), "{}", ran.stdout);
    backup(&host, "incremental", &[]).exits(0);
    host.verifies("repo");
    let told = story(&[]);
    assert_eq!(told["incremental"]["first"], 12);
    let held: Vec<_> = told["logs"].as_array().expect("logs").iter().map(|log| log["held_by"].clone()).collect();
    assert_eq!(held, [json!(1), json!(1), json!(2), json!(2), Value::Null], "{told}");
    fs::remove_file(host.path("app/edb.log")).expect("removed");
    fs::rename(host.path("app/edb0000B.log"), host.path("app/edb.log")).expect("renamed");
    let told = story(&[]);
    assert!(told["incremental"]["error"].as_str().is_some_and(|why| why.contains("put back")), "{told}");
    let ran = host.ok(&["logs", "app", "--repository", "repo"]);
    assert!(ran.stdout.contains("No incremental backup can follow: "), "{}", ran.stdout);
}

#[test]
fn where_the_logs_know_the_database_the_advice_says_so_for_a_chain() {
    let host = quick_clean();
    backup(&host, "full", &[]).exits(0);
    go_on(&host, 11, 10);
    let mut log = LogFile::chain(5..=11).pop().expect("logs");
    log.attached = vec![(DATABASE, r"C:\data\Web.edb".to_owned())];
    host.write("app/edb.log", log.build());
    backup(&host, "incremental", &[]).exits(0);
    let ran = host.ok(&["restore", "repo", "--into", "out"]);
    assert!(ran.stderr.contains(r"The logs know it as C:\data\Web.edb"), "{}", ran.stderr);
    assert_eq!(fs::read(host.path("out/Web.edb")).expect("read"), DatabaseFile::new().build());
    assert_ne!(at_work(11).build(), DatabaseFile::new().build());
    assert!(Path::new(&host.path("out/edb.chk")).exists());
}

#[test]
fn logs_on_a_volume_of_their_own_follow_a_backup_as_well() {
    let host = quick_clean();
    fs::create_dir(host.path("logs")).expect("created");
    let move_logs = |host: &Host| {
        for log in logs_left(host).iter().map(String::as_str).chain(["edb.chk"]) {
            fs::rename(host.path("app").join(log), host.path("logs").join(log)).expect("renamed");
        }
    };
    move_logs(&host);
    backup(&host, "full", &["--log-dir", "logs", "--truncate"]).exits(0);
    fs::copy(host.path("logs/edb.log"), host.path("app/edb.log")).expect("copied"); // only for what goes on
    go_on(&host, 12, 11);
    move_logs(&host);
    backup(&host, "incremental", &["--log-dir", "logs", "--truncate"]).exits(0);
    assert_eq!(
        (range(&host), names(&host.path("logs"))),
        ((10, 12), names_of(&["edb.chk", "edb.log", "edb0000B.log"]))
    );
    host.ok(&["restore", "repo", "--into", "out", "--map", "logs=out-logs"]);
    let restored = ["edb.chk", "edb.log", "edb00008.log", "edb00009.log", "edb0000A.log", "edb0000B.log"];
    assert_eq!(names(&host.path("out-logs")), names_of(&restored));
    assert_eq!(fs::read(host.path("out-logs/edb.chk")).expect("read"), ese::checkpoint(8, STREAM));
    host.verifies("repo");
}

fn names_of(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
