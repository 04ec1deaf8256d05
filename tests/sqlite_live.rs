//! Backups of SQLite databases beside applications that write to them as fast as they can: each copy is one moment of its
//! database, the backup always comes to an end, and the applications go on.

mod common;

use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use common::sqlite::{self, Writer, found_bank, has_shell, is_one_moment};
use common::{Dice, Host, Running, eventually, names, skip};

/// Not a story: what the processes run that write.
#[test]
#[ignore = "a process of the other tests"]
fn writer() {
    sqlite::write_if_asked();
}

/// A host with a bank in each journal mode.
fn banks() -> Host {
    let host = Host::quick();
    drop(found_bank(&host.path("app/wal.db"), "wal"));
    drop(found_bank(&host.path("app/deep/rollback.db"), "delete"));
    host.write("app/notes.txt", "hello");
    host
}

fn back_up_beside_writers(rounds: usize) {
    let host = banks();
    let writers = ["app/wal.db", "app/deep/rollback.db"].map(|database| Writer::start(&host, database));
    let mut before = [0, 0];
    for _ in 0..rounds {
        let ran = host.ok(&["backup", "app", "--to", "repo"]);
        assert!(!ran.stderr.contains("warning"), "writing is nothing to warn of: {}", ran.stderr);
        let moves = ["wal.db", "deep/rollback.db"].map(|name| is_one_moment(&host.stored(name)));
        assert!(moves.iter().zip(&before).all(|(now, then)| now > then), "the writers go on: {before:?}, {moves:?}");
        before = moves;
        assert_eq!(names(&host.stored("")), ["deep", "notes.txt", "wal.db"]);
        assert_eq!(names(&host.stored("deep")), ["rollback.db"]);
    }
    drop(writers);
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn each_copy_is_one_moment_while_both_journal_modes_are_written_at_full_speed() {
    back_up_beside_writers(6);
}

#[test]
#[ignore = "one to three minutes"]
fn fifty_backups_in_a_row() {
    back_up_beside_writers(50);
}

#[test]
fn writers_and_backups_are_killed_at_any_moment_and_every_backup_is_whole() {
    let (host, mut dice) = (banks(), Dice::new());
    for round in 0..8 {
        let writers = ["app/wal.db", "app/deep/rollback.db"].map(|database| Writer::start(&host, database));
        let running = host.start(&["backup", "app", "--to", "repo", "--quiet"]);
        if round % 2 == 0 {
            std::thread::sleep(dice.below(Duration::from_millis(150)));
            running.kill();
            drop(writers);
        } else {
            drop(writers); // in the middle of a transaction, of one in two runs: then a journal is left
            running.wait().exits(0);
        }
    }
    host.ok(&["backup", "app", "--to", "repo"]);
    for id in host.backups("repo") {
        for name in ["wal.db", "deep/rollback.db"] {
            is_one_moment(&host.path("repo/backups").join(&id).join("data").join(name));
        }
    }
    host.verifies("repo");
    host.is_tidy("repo");
    // The applications recover what was interrupted, and find their money.
    for name in ["app/wal.db", "app/deep/rollback.db"] {
        let bank = sqlite::open(&host.path(name));
        assert_eq!(sqlite::ask::<u32>(&bank, "SELECT sum(money) FROM accounts"), 2_000_000);
    }
}

#[test]
fn a_writer_that_never_rests_is_kept_waiting_once_and_no_longer_than_allowed() {
    let host = Host::quick();
    drop(found_bank(&host.path("app/bank.db"), "delete"));
    let writer = Writer::start(&host, "app/bank.db");
    let ran = host.ok(&["backup", "app", "--to", "repo", "--retries", "1", "-v"]);
    let is_said = ["copied in ", "copied at once, under a shared lock for "].iter().any(|how| ran.stderr.contains(how));
    assert!(is_said, "which lock, and how long: {}", ran.stderr);
    let ran = host.run(&["backup", "app", "--to", "repo", "--retries", "0", "--max-lock", "0s"]);
    ran.exits(5).says("bank.db could not be copied within --max-lock 0.0 s").says("WAL mode");
    drop(writer);
    assert_eq!(host.backups("repo").len(), 1);
    host.is_tidy("repo");
    is_one_moment(&host.stored("bank.db"));
}

#[test]
fn a_pipe_gets_one_moment_of_a_database_that_is_written() {
    let host = banks();
    let writers = ["app/wal.db", "app/deep/rollback.db"].map(|database| Writer::start(&host, database));
    host.ok(&["begin", "app", "--no-repository"]);
    for (name, out) in [("wal.db", "wal.copy"), ("deep/rollback.db", "rollback.copy")] {
        let script = format!("\"$@\" > {out}");
        let ran = common::finish(host.shell(&script, &["read", "app", name, "--out", "-"]));
        ran.exits(0);
        is_one_moment(&host.path(out));
    }
    drop(writers);
}

#[test]
fn a_stop_in_the_middle_of_a_large_database_leaves_no_lock_and_no_file() {
    let host = Host::quick();
    let bank = found_bank(&host.path("app/bank.db"), "wal");
    bank.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("done");
    drop(bank);
    let large = large_database(&host, "app/large.db");
    let before = names(&host.path("app"));
    let running = host.start_reading(&["backup", "app", "--to", "repo"], "large.db");
    host.ok(&["stop", "app"]);
    running.leaves().exits(4);
    assert_eq!(names(&host.path("app")), before, "nothing of ours is left");
    let mine = sqlite::open(&large);
    mine.busy_timeout(Duration::ZERO).expect("set");
    mine.execute_batch("BEGIN EXCLUSIVE; ROLLBACK").expect("nobody holds a lock");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
    host.is_tidy("repo");
}

/// A database of 6 GiB, most of which was never written.
fn large_database(host: &Host, name: &str) -> std::path::PathBuf {
    use std::os::unix::fs::FileExt;
    const PAGES: u32 = 6 << 14;
    let path = host.path(name);
    let database = sqlite::open(&path);
    database
        .execute_batch("PRAGMA page_size = 65536; CREATE TABLE t(x); INSERT INTO t VALUES ('it is there')")
        .expect("made");
    drop(database);
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.write_all_at(&PAGES.to_be_bytes(), 28).expect("written");
    file.set_len(u64::from(PAGES) * 65536).expect("sized");
    path
}

#[test]
#[ignore = "hashes 6 GiB"]
fn a_database_over_4_gib_that_is_mostly_holes_is_copied_with_its_holes() {
    use std::os::unix::fs::MetadataExt;
    let host = Host::new();
    let large = large_database(&host, "app/large.db");
    host.ok(&["backup", "app", "--to", "repo"]);
    let stored = host.stored("large.db").metadata().expect("there");
    assert_eq!(stored.len(), large.metadata().expect("there").len());
    assert!(stored.blocks() * 512 < 16 << 20, "{} blocks", stored.blocks());
    let copy = sqlite::open_copy(&host.stored("large.db"));
    assert_eq!(sqlite::ask::<String>(&copy, "SELECT x FROM t"), "it is there");
}

#[test]
fn a_reader_that_is_stuck_in_a_pipe_leaves_nothing_beside_the_database_either() {
    let host = Host::quick();
    let bank = found_bank(&host.path("app/bank.db"), "wal");
    // More than the reader has on its way at once.
    let more = "CREATE TABLE more AS SELECT randomblob(20000000) AS x; PRAGMA wal_checkpoint(TRUNCATE)";
    bank.execute_batch(more).expect("done");
    drop(bank);
    assert_eq!(names(&host.path("app")), ["bank.db"]);
    host.ok(&["begin", "app", "--no-repository"]);
    let mut command = host.command(&["read", "app", "bank.db", "--out", "-"]);
    command.stdout(Stdio::piped());
    let running = Running::spawn(command);
    eventually("the database is open", || host.path("app/bank.db-shm").exists());
    host.ok(&["stop", "app"]);
    running.leaves().exits(4);
    assert_eq!(names(&host.path("app")), ["bank.db"]);
    host.ok(&["end", "app"]);
}

#[test]
fn a_restored_database_is_what_the_sqlite3_shell_says_of_the_source() {
    if !has_shell() {
        return skip("there is no sqlite3 shell");
    }
    let host = banks();
    let mut dice = Dice::new();
    let applications = ["app/wal.db", "app/deep/rollback.db"].map(|name| sqlite::open(&host.path(name)));
    for application in &applications {
        (0..100).for_each(|_| sqlite::move_money(application, &mut dice).expect("moved"));
    }
    assert!(host.path("app/wal.db-wal").metadata().expect("a log").len() > 0, "not everything is in the database");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "back"]);
    assert_eq!(names(&host.path("back")), ["deep", "notes.txt", "wal.db"]);
    for name in ["wal.db", "deep/rollback.db"] {
        let (source, restored) =
            (sqlite::dump(&host.path("app").join(name)), sqlite::dump(&host.path("back").join(name)));
        assert!(source == restored, "the dumps of {name} differ");
        assert!(source.contains("INSERT INTO moves VALUES(100,"));
    }
    assert_eq!(names(&host.path("back")), ["deep", "notes.txt", "wal.db"], "no log is left by whoever opens it");
    let mode: String = sqlite::ask(&sqlite::open(&host.path("back/wal.db")), "PRAGMA journal_mode");
    assert_eq!(mode, "wal", "the journal mode is that of the source");
}

#[test]
fn a_database_that_is_cut_while_it_is_read_is_not_filled_up_with_zeros() {
    let host = Host::quick();
    let bank = found_bank(&host.path("app/bank.db"), "wal");
    // More than the reader has on its way at once.
    bank.execute_batch("CREATE TABLE more AS SELECT randomblob(60000000) AS x; PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("done");
    drop(bank);
    host.ok(&["begin", "app", "--no-repository", "--retries", "0"]);
    let mut command = host.command(&["read", "app", "bank.db", "--out", "-"]);
    command.stdout(Stdio::piped());
    let mut running = Running::spawn(command);
    let mut first = [0; 4096];
    running.child().stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("it reads");
    let file = fs::OpenOptions::new().write(true).open(host.path("app/bank.db")).expect("opened");
    file.set_len(1 << 20).expect("cut");
    running.wait().exits(6).says("bank.db").says("it became shorter");
}
