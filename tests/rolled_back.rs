//! A source that somebody put back to an older state: said loudly, taken as a new full backup, and no log goes that no backup
//! holds. And living databases, of which none of that is ever said.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::acceptance::{go_on, logs_left, manifest, quick_clean};
use common::ese::LogFile;
use common::{Host, Ran};
use rusqlite::Connection;

fn copy(host: &Host, from: &str, to: &str) {
    let copied = Command::new("cp").arg("-a").arg(host.path(from)).arg(host.path(to)).status().expect("cp runs");
    assert!(copied.success());
}

/// Puts an older state of the storage back.
fn put_back(host: &Host, kept: &str) {
    fs::remove_dir_all(host.path("app")).expect("removed");
    copy(host, kept, "app");
}

fn incremental(host: &Host, more: &[&str]) -> Ran {
    host.run(&[&["backup", "app", "--to", "repo", "--kind", "incremental", "--json"], more].concat())
}

/// The kind of the newest backup, from its manifest and from what the command said.
#[track_caller]
fn kinds(host: &Host, ran: &Ran) -> (String, String) {
    let of = |value: &serde_json::Value| value["kind"].as_str().expect("a kind").to_owned();
    (of(&manifest(host)), of(&ran.summary()))
}

fn full_twice() -> (String, String) {
    ("full".to_owned(), "full".to_owned())
}

/// An instance with a full and an incremental backup, put back to its state between them.
fn went_back() -> Host {
    let host = quick_clean();
    host.ok(&["backup", "app", "--to", "repo"]);
    copy(&host, "app", "kept");
    go_on(&host, 12, 10);
    incremental(&host, &[]).exits(0);
    put_back(&host, "kept");
    host
}

/// The instance works again after it was put back: generations from 10 on are run a second time, with another content.
fn run_again(host: &Host, newest: u32, checkpoint: u32) {
    go_on(host, newest, checkpoint);
    let (mut sum, mut before) = (0, None);
    for generation in 5..=newest {
        let mut log = LogFile { shadow: generation == newest, ..LogFile::new(generation) };
        log.previous_accumulated = sum;
        if generation > 10 {
            log.created += 25;
        }
        log.previous_created = before.or(log.previous_created);
        (sum, before) = (log.accumulated(), Some(log.created));
        let name = if generation == newest { "edb.log".to_owned() } else { format!("edb{generation:05X}.log") };
        if host.path("app").join(&name).exists() {
            host.write(&format!("app/{name}"), log.build());
        }
    }
}

#[test]
fn an_instance_that_was_put_back_is_said_to_be_and_taken_whole() {
    let host = went_back();
    let newest = host.backups("repo").pop().expect("a backup");
    let words = format!(
        "the storage was rolled back since {newest}: its newest log generation is 10 and was 12; the generation of its \
         checkpoint is 8 and was 10. This backup is a full one: it builds on nothing"
    );
    let dry = incremental(&host, &["--dry-run"]).exits(0);
    assert!(dry.summary()["kind"] == "full" && dry.summary()["parent"].is_null(), "{}", dry.stdout);
    let ran = incremental(&host, &[]).exits(0);
    let warned = ran.json().iter().any(|line| line["type"] == "warning" && line["message"] == words.as_str());
    assert!(warned, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(kinds(&host, &ran), full_twice());
    assert!(ran.json().iter().any(|line| line["type"] == "begun" && line["kind"] == "full"), "{}", ran.stdout);
    assert!(manifest(&host)["parent"].is_null());
    host.verifies("repo");

    // It is said once: that backup has seen the storage as it is.
    go_on(&host, 11, 9);
    let ran = incremental(&host, &[]).exits(0);
    assert!(!ran.stdout.contains("rolled back"), "{}", ran.stdout);
    assert_eq!(manifest(&host)["kind"], "incremental");
    host.verifies("repo");
}

#[test]
fn a_full_backup_of_what_was_put_back_is_warned_of_as_well() {
    let host = went_back();
    host.ok(&["backup", "app", "--to", "repo", "--kind", "full"])
        .says("warning: the storage was rolled back since 000002-")
        .says("is 8 and was 10\n");
    assert_eq!(manifest(&host)["kind"], "full");
}

#[test]
fn a_backup_that_kept_no_numbers_is_compared_with_nothing() {
    let host = quick_clean();
    host.ok(&["backup", "app", "--to", "repo"]);
    common::forge::reseal(&host.backup_folder(), |manifest| {
        manifest["instance"]["databases"][0].as_object_mut().expect("a database").remove("dbtime");
        manifest["instance"]["checkpoint"] = serde_json::Value::Null;
    });
    go_on(&host, 12, 10);
    let ran = incremental(&host, &[]).exits(0);
    assert!(!ran.stdout.contains("rolled back"), "{}", ran.stdout);
}

/// The hashes of all files in all backups.
fn held(host: &Host) -> HashSet<String> {
    let sums = |id: String| fs::read_to_string(host.path("repo/backups").join(id).join("SHA256SUMS")).expect("read");
    let all: String = host.backups("repo").into_iter().map(sums).collect();
    all.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// The hashes of the logs in the storage.
fn logs(host: &Host) -> HashSet<String> {
    logs_left(host).into_iter().map(|name| host.sha256(&format!("app/{name}"))).collect()
}

#[test]
fn no_log_of_a_generation_that_ran_twice_goes_unless_a_backup_holds_it() {
    // Backed up right after it was put back; and only when it had run past all numbers that the backups know.
    for is_seen in [true, false] {
        let host = went_back();
        if is_seen {
            assert_eq!(kinds(&host, &incremental(&host, &["--truncate"]).exits(0)), full_twice());
        }
        run_again(&host, 14, 13);
        for kind in ["incremental", "full", "incremental"] {
            let before = logs(&host);
            let ran = host.run(&["backup", "app", "--to", "repo", "--kind", kind, "--truncate"]);
            let gone: Vec<_> = before.difference(&logs(&host)).cloned().collect();
            // What a full backup made needless is in its databases.
            let held = if kind == "full" { before.clone() } else { held(&host) };
            assert!(gone.iter().all(|hash| held.contains(hash)), "{is_seen} {kind}: {}", ran.stderr);
            // Where the numbers say nothing any more, the logs do not join, and none goes.
            let is_joined = is_seen || host.backups("repo").len() > 2;
            assert_eq!(ran.code == Some(0), is_joined, "{is_seen} {kind}: {}", ran.stderr);
            assert!(is_joined || gone.is_empty());
        }
        assert!(!logs_left(&host).is_empty());
        host.verifies("repo");
    }
}

fn connect(path: &Path) -> Connection {
    Connection::open(path).expect("opened")
}

fn insert(connection: &Connection) {
    connection.execute_batch("INSERT INTO t(pad) VALUES (randomblob(3000))").expect("inserted");
}

/// A storage with a database of SQLite in this journal mode, and a full backup of it.
fn with_database(mode: &str) -> (Host, Connection) {
    let host = Host::quick();
    let database = connect(&host.path("app/bank.db"));
    database
        .execute_batch(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)"))
        .expect("made");
    insert(&database);
    host.ok(&["backup", "app", "--to", "repo"]);
    (host, database)
}

#[test]
fn a_database_of_sqlite_that_was_put_back_is_said_to_be() {
    for mode in ["delete", "wal"] {
        for is_copied_over in [true, false] {
            let (host, database) = with_database(mode);
            drop(database);
            copy(&host, "app", "kept");
            let database = connect(&host.path("app/bank.db"));
            for _ in 0..3 {
                insert(&database);
                database
                    .execute_batch("PRAGMA user_version = 7; PRAGMA wal_checkpoint(TRUNCATE)")
                    .expect("checkpointed");
            }
            drop(database);
            incremental(&host, &[]).exits(0);
            if is_copied_over {
                fs::copy(host.path("kept/bank.db"), host.path("app/bank.db")).expect("copied");
            } else {
                put_back(&host, "kept");
            }
            let ran = incremental(&host, &[]).exits(0);
            assert!(ran.stdout.contains("rolled back since 000002-"), "{mode} {is_copied_over}: {}", ran.stdout);
            assert!(ran.stdout.contains("the change counter of bank.db is "), "{}", ran.stdout);
            assert_eq!(kinds(&host, &ran), full_twice());
            host.verifies("repo");
        }
    }
}

#[test]
fn a_backup_that_was_put_together_of_older_ones_has_seen_nothing_itself() {
    let (host, database) = with_database("delete");
    let go_on = |rows: usize| (0..rows).for_each(|_| insert(&database));
    go_on(2);
    incremental(&host, &[]).exits(0);
    go_on(2);
    copy(&host, "app", "kept");
    go_on(2);
    incremental(&host, &[]).exits(0);
    // Its number is the newest, and its state is older than the one that is put back.
    host.ok(&["consolidate", "repo", "2"]);
    assert!(host.backups("repo").pop().expect("a backup").starts_with("000004-"));
    drop(database);
    put_back(&host, "kept");
    let ran = incremental(&host, &[]).exits(0);
    assert!(ran.stdout.contains("rolled back since 000003-"), "{}", ran.stdout);
    assert_eq!(kinds(&host, &ran), full_twice());
}

#[test]
fn of_a_living_database_nothing_like_that_is_ever_said() {
    let (host, database) = with_database("wal");
    let quiet = |what: &str| {
        let ran = incremental(&host, &[]).exits(0);
        assert!(!ran.stdout.contains("rolled back"), "{what}: {}", ran.stdout);
        assert_eq!(manifest(&host)["kind"], "incremental", "{what}");
    };
    for step in [
        "PRAGMA user_version = 1; INSERT INTO t(pad) VALUES (zeroblob(9000))", // in the write-ahead log alone
        "PRAGMA user_version = 2",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "VACUUM",
        "PRAGMA wal_checkpoint(PASSIVE)",
        "PRAGMA journal_mode = delete",
        "DELETE FROM t; VACUUM",
        "INSERT INTO t(pad) VALUES (zeroblob(9000))",
        "PRAGMA journal_mode = wal; INSERT INTO t(pad) VALUES (zeroblob(9000))",
        "PRAGMA journal_mode = persist; INSERT INTO t(pad) VALUES (zeroblob(9000))",
    ] {
        database.execute_batch(step).unwrap_or_else(|e| panic!("{step}: {e}"));
        quiet(step);
    }
    // The counter goes round.
    drop(database);
    let path = host.path("app/bank.db");
    let mut file = fs::read(&path).expect("read");
    file[24..28].copy_from_slice(&u32::MAX.to_be_bytes());
    file[92..96].copy_from_slice(&u32::MAX.to_be_bytes());
    fs::write(&path, file).expect("written");
    host.ok(&["backup", "app", "--to", "repo"]);
    insert(&connect(&path));
    assert_eq!(fs::read(&path).expect("read")[24..28], [0; 4], "it went round");
    quiet("after the last number");
    // Made anew, as a cache is.
    fs::remove_file(&path).expect("removed");
    connect(&path).execute_batch("CREATE TABLE other(x)").expect("made");
    quiet("made anew");
    host.verifies("repo");
}
