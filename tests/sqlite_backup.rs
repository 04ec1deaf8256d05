//! Which files of a storage with SQLite databases are read, and how; databases in every shape and state; and what the
//! source looks like afterwards: as before.

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use common::sqlite::{self, ask, found_bank, is_one_moment, open};
use common::{Dice, Host, as_ordinary_user, finish, names, open_to_all};
use serde_json::{Value, json};

fn lines(host: &Host) -> Vec<Value> {
    let text = fs::read_to_string(host.backup_folder().join("files.jsonl")).expect("read");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn line(host: &Host, path: &str) -> Value {
    lines(host).into_iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("no line for {path}"))
}

fn manifest(host: &Host) -> Value {
    serde_json::from_slice(&fs::read(host.backup_folder().join("manifest.json")).expect("read")).expect("JSON")
}

/// A database with one table and one row.
fn make(path: &Path, more: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("created");
    let sql = format!("{more}; CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES ('it is there')");
    open(path).execute_batch(&sql).expect("made");
}

/// What can be seen of a directory: names, bytes, times of writing, owners. (Where root reads, SQLite gives a log the
/// owner of its database, also where that is the same.)
fn look(folder: &Path) -> Vec<(String, Vec<u8>, i64, u32)> {
    let one = |name: String| {
        let path = folder.join(&name);
        let metadata = path.metadata().expect("there");
        let content = if metadata.is_dir() { Vec::new() } else { fs::read(&path).expect("read") };
        (name, content, metadata.mtime_nsec(), metadata.uid())
    };
    names(folder).into_iter().map(one).collect()
}

fn nothing_is_left(host: &Host) {
    assert!(host.session_folders().is_empty(), "a session is left");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
    assert_eq!(host.partials("repo"), Vec::<String>::new());
}

/// A database in WAL mode whose application was killed: everything it wrote is in the log alone.
fn with_a_log_left_behind(host: &Host, name: &str) {
    let bank = found_bank(&host.path("elsewhere/left.db"), "wal");
    (0..50).for_each(|_| sqlite::move_money(&bank, &mut Dice::from_seed(1)).expect("moved"));
    for suffix in ["", "-wal"] {
        let to = host.path(format!("{name}{suffix}"));
        fs::copy(host.path(format!("elsewhere/left.db{suffix}")), to).expect("copied");
    }
}

/// A database whose writer was killed in the middle of a transaction that had begun to change the file.
fn with_a_hot_journal(host: &Host, name: &str) {
    let bank = found_bank(&host.path("elsewhere/bank.db"), "delete");
    bank.execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE accounts SET money = 1, pad = zeroblob(1500)")
        .expect("begun");
    for suffix in ["", "-journal"] {
        let to = host.path(format!("{name}{suffix}"));
        fs::copy(host.path(format!("elsewhere/bank.db{suffix}")), to).expect("copied");
    }
}

#[test]
fn databases_are_known_by_content_and_what_belongs_to_them_is_no_file_of_its_own() {
    let host = Host::new();
    let applications = [("app/data", "wal"), ("app/sub/users.db", "delete"), ("app/kept.db", "persist")];
    let open: Vec<_> = applications.map(|(name, mode)| found_bank(&host.path(name), mode)).into();
    host.write("app/readme.db", "named like one");
    host.write("app/empty.db", "");
    host.write("app/lonely-wal", "no database of this name");
    fs::create_dir(host.path("app/x.db")).expect("created");
    let ran = host.ok(&["backup", "app", "--to", "repo"]).says("engine sqlite, full");
    assert!(!ran.stderr.contains("warning") && !ran.stderr.contains("left out"), "{}", ran.stderr);
    assert_eq!(names(&host.stored("")), ["data", "empty.db", "kept.db", "lonely-wal", "readme.db", "sub", "x.db"]);
    assert_eq!(names(&host.stored("sub")), ["users.db"]);
    for (name, mode) in [("data", "wal"), ("sub/users.db", "rollback"), ("kept.db", "rollback")] {
        let found = line(&host, name);
        assert_eq!((&found["role"], &found["sqlite"]["journal_mode"]), (&json!("database"), &json!(mode)), "{name}");
        assert_eq!(found["sqlite"]["page_size"], 4096);
        is_one_moment(&host.stored(name));
    }
    for name in ["readme.db", "empty.db", "lonely-wal"] {
        assert_eq!(
            (&line(&host, name)["role"], &line(&host, name)["sqlite"]),
            (&json!("other"), &Value::Null),
            "{name}"
        );
    }
    let manifest = manifest(&host);
    assert_eq!(manifest["engine"], "sqlite");
    let left_out: Vec<_> = manifest["left_out"].as_array().expect("a list").iter().map(|one| &one["path"]).collect();
    assert_eq!(left_out, ["data-shm", "data-wal", "kept.db-journal"]);
    drop(open);
    host.verifies("repo");
}

#[test]
fn databases_of_every_page_size_and_kind_are_copied_byte_for_byte() {
    let host = Host::new();
    for shift in 9..=16 {
        let size = 1 << shift;
        make(&host.path(format!("app/{size}.db")), &format!("PRAGMA page_size = {size}"));
        make(
            &host.path(format!("app/{size}-log.db")),
            &format!("PRAGMA page_size = {size}; PRAGMA journal_mode = wal"),
        );
    }
    make(&host.path("app/vacuum.db"), "PRAGMA auto_vacuum = incremental");
    let words = "PRAGMA encoding = 'UTF-16be'; CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID";
    make(&host.path("app/words.db"), &format!("{words}; INSERT INTO w VALUES ('ä', zeroblob(2000000))"));
    host.ok(&["backup", "app", "--to", "repo"]);
    let databases = names(&host.path("app"));
    assert_eq!(databases.len(), 18, "nothing is left beside them: {databases:?}");
    for name in &databases {
        let (source, copy) = (fs::read(host.path("app").join(name)), fs::read(host.stored(name)));
        assert!(source.expect("read") == copy.expect("read"), "{name} differs");
        assert_eq!(ask::<String>(&sqlite::open_copy(&host.stored(name)), "SELECT x FROM t"), "it is there", "{name}");
    }
    host.ok(&["verify", "repo", "--deep"]);
    host.verifies("repo");
}

#[test]
fn the_source_is_after_a_backup_what_it_was_before() {
    let host = Host::new();
    make(&host.path("app/closed.db"), "PRAGMA journal_mode = wal");
    make(&host.path("app/plain.db"), "");
    with_a_log_left_behind(&host, "app/left.db");
    with_a_hot_journal(&host, "app/hot.db");
    let before = look(&host.path("app"));
    for _ in 0..2 {
        let ran = host.ok(&["backup", "app", "--to", "repo"]);
        ran.says("warning: hot.db: a writer was interrupted in the middle of a transaction");
        assert!(look(&host.path("app")) == before, "the source changed: {:?}", names(&host.path("app")));
    }
    host.ok(&["check", "app"]);
    assert!(look(&host.path("app")) == before, "check changed the source");
    assert_eq!(is_one_moment(&host.stored("left.db")), 50, "what was in the log alone is in the copy");
    assert_eq!(is_one_moment(&host.stored("hot.db")), 0, "what was never committed is not");
    assert_eq!(names(&host.stored("")), ["closed.db", "hot.db", "left.db", "plain.db"]);
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn a_directory_that_cannot_be_written_is_backed_up_from_copies_elsewhere() {
    let host = Host::new();
    make(&host.path("app/closed.db"), "PRAGMA journal_mode = wal");
    make(&host.path("app/plain.db"), "");
    with_a_log_left_behind(&host, "app/left.db");
    open_to_all(&host, "app");
    fs::set_permissions(host.path("app"), fs::Permissions::from_mode(0o555)).expect("closed");
    let before = look(&host.path("app"));
    let ran = finish(as_ordinary_user(&host, host.command(&["backup", "app", "--to", "repo", "-v"]))).exits(0);
    ran.says("left.db: read from a copy, because it cannot be locked where it lies");
    assert!(look(&host.path("app")) == before, "the source changed");
    assert_eq!(is_one_moment(&host.stored("left.db")), 50);
    assert_eq!(ask::<String>(&sqlite::open_copy(&host.stored("closed.db")), "SELECT x FROM t"), "it is there");
    fs::set_permissions(host.path("app"), fs::Permissions::from_mode(0o755)).expect("opened");
    host.is_tidy("repo");
}

#[test]
fn a_database_that_stays_locked_is_named_and_nothing_is_published() {
    let host = Host::new();
    let holder = found_bank(&host.path("app/bank.db"), "delete");
    holder.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let ran = host.run(&["backup", "app", "--to", "repo", "--busy-timeout", "0s"]);
    ran.exits(5).says("bank.db was locked by another process for 0.0 s").says("--busy-timeout");
    nothing_is_left(&host);
    let running = host.start(&["backup", "app", "--to", "repo", "--busy-timeout", "10m"]);
    common::eventually("a session", || !host.session_folders().is_empty());
    holder.execute_batch("COMMIT").expect("unlocked");
    running.wait().exits(0);
    is_one_moment(&host.stored("bank.db"));
}

#[test]
fn a_damaged_database_fails_the_backup_or_is_left_out_as_asked() {
    let host = Host::new();
    make(&host.path("app/good.db"), "");
    make(&host.path("app/bad.db"), "");
    let file = fs::OpenOptions::new().write(true).open(host.path("app/bad.db")).expect("opened");
    file.write_all_at(&[3, 3], 16).expect("written");
    let ran = host.run(&["backup", "app", "--to", "repo"]).exits(3);
    ran.says("bad.db is damaged: the page size in its header cannot be").says("--engine files takes it as it is");
    nothing_is_left(&host);
    host.run(&["backup", "app", "--to", "repo", "--keep-going"]).exits(3).says("warning: left out");
    assert_eq!(names(&host.stored("")), ["good.db"]);
    assert_eq!(manifest(&host)["outcome"], "incomplete");
    host.run(&["check", "app"]).exits(3).prints("bad.db: integrity: ");
    host.run(&["inspect", "app/bad.db"]).exits(3).prints("has a damaged header: the page size cannot be");
}

#[test]
fn damage_inside_a_database_is_found_by_verify_and_check() {
    let host = Host::new();
    drop(found_bank(&host.path("app/bank.db"), "delete"));
    let file = fs::OpenOptions::new().write(true).open(host.path("app/bank.db")).expect("opened");
    file.write_all_at(&[0xff; 64], 5 * 4096).expect("written");
    host.ok(&["backup", "app", "--to", "repo"]);
    let ran = host.run(&["verify", "repo"]).exits(3);
    ran.prints("data/bank.db: integrity: ").prints("its bytes are those of the source");
    host.run(&["check", "app"]).exits(3).prints("bank.db: integrity: ").says("quick_check found damage");
    let found = host.run(&["check", "app/bank.db", "--json"]).exits(3).json();
    let damage = found.iter().find(|one| one["type"] == "damage").expect("damage");
    assert_eq!((&damage["kind"], &damage["exit_code"]), (&json!("integrity"), &json!(3)));
}

/// A database of which a second backup holds changed blocks only, and which is damaged where its page 6 begins.
fn changed_bank(host: &Host, bytes: &[u8]) {
    drop(found_bank(&host.path("app/bank.db"), "delete"));
    host.ok(&["backup", "app", "--to", "repo"]);
    let file = fs::OpenOptions::new().write(true).open(host.path("app/bank.db")).expect("opened");
    file.write_all_at(bytes, 5 * 4096).expect("written");
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    assert!(host.backup_folder().join("blocks/data/bank.db").exists() && !host.stored("bank.db").exists());
}

#[test]
fn a_database_that_is_put_together_from_several_backups_is_shown_to_sqlite_too() {
    let host = Host::new();
    drop(found_bank(&host.path("app/quiet.db"), "delete"));
    changed_bank(&host, &[0xff; 64]);
    fs::create_dir(host.path("scratch")).expect("made");
    let verify = |arguments: &[&str], scratch: &str| {
        let mut command = host.command(&[&["verify", "repo"], arguments].concat());
        command.env("TMPDIR", host.path(scratch));
        finish(command)
    };
    // Alone, and where what it builds on is verified in the same run.
    for arguments in [&["2"][..], &[]] {
        let ran = verify(arguments, "scratch").exits(3);
        ran.prints("blocks/data/bank.db: integrity: ").prints("quick_check; its bytes are those of the source");
        assert_eq!(names(&host.path("scratch")), [""; 0], "the copy is gone");
    }
    verify(&["2", "--deep"], "scratch").exits(3).prints("integrity_check; its bytes");
    verify(&["1"], "scratch").exits(0);
    // A place that is none stops nothing else, and is told.
    let ran = verify(&[], "not-there").exits(0);
    let ran =
        ran.says("blocks/data/bank.db: integrity: quick_check was not asked, as no copy of it could be put together");
    assert_eq!(ran.stderr.matches("was not asked").count(), 1, "quiet.db stands as it is: {}", ran.stderr);
    assert!(!ran.stderr.contains("as it was when"), "{}", ran.stderr);
}

#[test]
fn an_index_that_lies_is_found_by_a_deep_look_alone() {
    let host = Host::new();
    let database = open(&host.path("app/x.db"));
    database
        .execute_batch("CREATE TABLE t(x); CREATE INDEX i ON t(x); INSERT INTO t VALUES ('aaaa'), ('bbbb')")
        .expect("made");
    drop(database);
    // The last page is that of the index.
    let mut bytes = fs::read(host.path("app/x.db")).expect("read");
    let at = bytes.windows(4).rposition(|piece| piece == b"bbbb").expect("the index has it");
    bytes[at..at + 4].copy_from_slice(b"cccc");
    fs::write(host.path("app/x.db"), bytes).expect("written");
    host.ok(&["check", "app"]);
    host.run(&["check", "app", "--deep"]).exits(3).prints("missing from index");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["verify", "repo"]);
    host.run(&["verify", "repo", "--deep"]).exits(3).prints("integrity_check");
}

#[test]
fn a_database_that_only_its_application_can_read_is_a_plain_file_unless_it_is_in_use() {
    let host = Host::new();
    make(&host.path("app/good.db"), "PRAGMA journal_mode = wal");
    let mut dice = Dice::from_seed(7);
    let noise: Vec<u8> = (0..8192).map(|_| u8::try_from(dice.number(256)).expect("a byte")).collect();
    host.write("app/secret.db", &noise);
    host.ok(&["backup", "app", "--to", "repo"]).says("secret.db is named like a database, and SQLite cannot read it");
    assert_eq!(fs::read(host.stored("secret.db")).expect("read"), noise);
    with_a_log_left_behind(&host, "app/other.db");
    fs::rename(host.path("app/other.db-wal"), host.path("app/secret.db-wal")).expect("renamed");
    fs::remove_file(host.path("app/other.db")).expect("removed");
    let ran = host.run(&["backup", "app", "--to", "repo"]).exits(6);
    ran.says("secret.db-wal says it is in use").says("Close its application first");
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "secret.db*"]);
    assert_eq!(host.backups("repo").len(), 2);
}

#[test]
fn truncate_empties_the_log_after_publishing_and_only_when_asked() {
    let host = Host::new();
    let application = found_bank(&host.path("app/bank.db"), "wal");
    let log = || host.path("app/bank.db-wal").metadata().expect("a log").len();
    let before = log();
    host.ok(&["backup", "app", "--to", "repo"]);
    assert_eq!(log(), before, "nobody asked");
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    let would = host.ok(&["truncate", "app", "--dry-run"]).says("1 write-ahead log would be emptied");
    assert_eq!(would.stdout, "bank.db-wal  a checkpoint writes what it holds into its database\n");
    assert_eq!(log(), before);
    host.ok(&["truncate", "app"]).says("1 write-ahead log emptied");
    host.ok(&["end", "app"]);
    assert_eq!(log(), 0);
    assert_eq!(manifest(&host)["truncated"], true);
    sqlite::move_money(&application, &mut Dice::new()).expect("the application goes on");
    let other = found_bank(&host.path("app/other.db"), "wal");
    let ran = host.ok(&["backup", "app", "--to", "repo", "--truncate", "--exclude", "other.db"]);
    ran.says("1 write-ahead log emptied");
    assert!(host.path("app/other.db-wal").metadata().expect("a log").len() > 0, "one that is left out is left alone");
    drop(other);
    fs::remove_file(host.path("app/other.db")).expect("removed");
    sqlite::move_money(&application, &mut Dice::new()).expect("moved");
    // A reader who stays needs the log: the backup stands, and nothing is lost.
    let reader = open(&host.path("app/bank.db"));
    reader.execute_batch("BEGIN; SELECT count(*) FROM moves").expect("read");
    sqlite::move_money(&application, &mut Dice::new()).expect("moved");
    let ran = host.run(&["backup", "app", "--to", "repo", "--truncate", "--busy-timeout", "0s"]).exits(5);
    ran.says("bank.db was locked").says("The backup is published and safe, and nothing is lost");
    assert_eq!(host.backups("repo").len(), 4);
    assert_eq!(is_one_moment(&host.stored("bank.db")), 3);
    assert!(log() > 0);
}

#[test]
fn options_that_do_not_fit_the_storage_are_refused() {
    let host = Host::with_app();
    let backup = |more: &[&str]| host.run(&[&["backup", "app", "--to", "repo"], more].concat()).exits(2);
    backup(&["--busy-timeout", "5s"]).says("--busy-timeout and --max-lock are for storages with SQLite databases");
    host.run(&["backup", "app", "--to", "repo", "--engine", "sqlite"]).exits(1).says("no database of SQLite in ");
    make(&host.path("app/x.db"), "");
    backup(&["--log", "wal.*"]).says("the logs of SQLite databases are part of them");
    backup(&["--snapshot"]).says("for ESE storages");
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]).says("engine files");
}

#[test]
fn inspect_says_what_a_database_and_its_log_hold() {
    let host = Host::new();
    let application = found_bank(&host.path("app/bank.db"), "wal");
    application.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA user_version = 42").expect("done");
    (0..3).for_each(|_| sqlite::move_money(&application, &mut Dice::new()).expect("moved"));
    let ran = host.ok(&["inspect", "app/bank.db", "app/bank.db-wal"]);
    ran.prints("app/bank.db: SQLite database, ").prints("encoding               UTF-8");
    let found = host.ok(&["inspect", "app/bank.db", "app/bank.db-wal", "--json"]).json();
    let header = &found[0]["header"];
    assert_eq!((&header["journal_mode"], &header["page_size"]), (&json!("wal"), &json!(4096)));
    assert_eq!((&header["wal"]["transactions"], &header["wal"]["end"]), (&json!(4), &json!("end-of-file")));
    let frames = &found[1]["header"]["frames"];
    assert_eq!((&found[1]["kind"], &frames["transactions"]), (&json!("SQLite write-ahead log"), &json!(4)));
    assert_eq!(frames["good"], frames["committed"]);
    let file = fs::OpenOptions::new().write(true).open(host.path("app/bank.db-wal")).expect("opened");
    file.write_all_at(&[0xff], 32 + 24 + 100).expect("written");
    let found = host.ok(&["inspect", "app/bank.db-wal", "--json"]).json();
    assert_eq!(
        (&found[0]["header"]["frames"]["good"], &found[0]["header"]["frames"]["end"]),
        (&json!(0), &json!("checksum"))
    );
    file.write_all_at(&[0xff], 13).expect("written");
    host.run(&["inspect", "app/bank.db-wal"]).exits(3).prints("has a header that does not hold what was written");
}

#[test]
fn a_path_that_is_too_long_for_sqlite_gives_no_half_of_a_transaction() {
    let host = Host::new();
    let application = found_bank(&host.path("app/near/bank.db"), "memory");
    // What a container sees under a short name may lie deep outside of it.
    let far = ["far"; 3].map(|name| name.repeat(60)).join("/");
    fs::create_dir_all(host.path("app").join(&far)).expect("created");
    let name = format!("{far}/near/bank.db");
    fs::rename(host.path("app/near"), host.path("app").join(&far).join("near")).expect("moved");
    let whole = || {
        host.ok(&["backup", "app", "--to", "repo"]);
        fs::copy(host.stored(&name), host.path("copy.db")).expect("copied");
        is_one_moment(&host.path("copy.db"))
    };
    assert_eq!(whole(), 0, "a quiet one is copied");
    // Its journal is in memory: in the file stands half of a transaction, and nothing beside it says so.
    application
        .execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE accounts SET money = 1, pad = zeroblob(1500)")
        .expect("begun");
    let ran = host.run(&["backup", "app", "--to", "repo", "--busy-timeout", "0s"]).exits(5);
    ran.says("bank.db was locked by another process");
    assert_eq!(host.backups("repo").len(), 1);
    application.execute_batch("ROLLBACK").expect("rolled back");
    assert_eq!(whole(), 0);
}

#[test]
fn truncate_of_a_log_that_a_crash_left_leaves_no_index_beside_it() {
    let host = Host::new();
    with_a_log_left_behind(&host, "app/left.db");
    host.ok(&["backup", "app", "--to", "repo", "--truncate"]).says("1 write-ahead log emptied");
    assert_eq!(names(&host.path("app")), ["left.db", "left.db-wal"]);
    assert_eq!(host.path("app/left.db-wal").metadata().expect("there").len(), 0);
    assert_eq!(is_one_moment(&host.path("app/left.db")), 50, "everything is in the database");
}

#[test]
fn a_truncate_that_waits_for_a_reader_ends_with_a_signal() {
    let host = Host::new();
    let application = found_bank(&host.path("app/bank.db"), "wal");
    let reader = open(&host.path("app/bank.db"));
    reader.execute_batch("BEGIN; SELECT count(*) FROM moves").expect("read");
    sqlite::move_money(&application, &mut Dice::from_seed(1)).expect("moved");
    host.ok(&["begin", "app", "--to", "repo", "--busy-timeout", "10m"]);
    host.ok(&["read", "app"]);
    let mut running = host.start(&["truncate", "app"]);
    common::eventually("the backup stands", || host.path("repo/backups").exists() && !host.backups("repo").is_empty());
    running.stays();
    running.signal("TERM");
    running.leaves().exits(143).says("The backup is published and safe. `jetbak truncate` goes on where this ended");
    reader.execute_batch("COMMIT").expect("the reader goes on");
    host.ok(&["truncate", "app"]).says("1 write-ahead log emptied");
    host.ok(&["end", "app"]);
    assert_eq!(is_one_moment(&host.stored("bank.db")), 1);
}

#[test]
fn a_transaction_over_several_databases_counts_when_their_shared_journal_is_gone() {
    let host = Host::new();
    let back_up = |shared: &Path, is_beside: bool| {
        let _ = fs::remove_dir_all(host.path("app")); // of an earlier one
        fs::create_dir(host.path("app")).expect("created");
        with_a_hot_journal(&host, "app/hot.db");
        fs::remove_dir_all(host.path("elsewhere")).expect("removed");
        // What SQLite writes at the end of a journal when a transaction spans several databases: their shared journal.
        let name = shared.to_str().expect("text").as_bytes();
        let sum: u32 = name.iter().map(|byte| u32::from(*byte)).sum();
        let length = u32::try_from(name.len()).expect("short");
        let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
        let mut journal = fs::read(host.path("app/hot.db-journal")).expect("read");
        journal.extend([&[0, 4, 0, 1], name, &length.to_be_bytes(), &sum.to_be_bytes(), &magic].concat());
        host.write("app/hot.db-journal", journal);
        if is_beside {
            host.write("app/bank.db-mj1234569AB", "");
        }
        host.ok(&["backup", "app", "--to", "repo"]);
    };
    let shared = host.path("moved/bank.db-mj1234569AB");
    back_up(&shared, false);
    let copy = sqlite::open_copy(&host.stored("hot.db"));
    assert!(ask::<i64>(&copy, "SELECT count(*) FROM accounts WHERE money = 1") > 0, "it was committed");
    drop(copy);
    // In a snapshot that is mounted elsewhere, it is not where its name says.
    back_up(&shared, true);
    assert_eq!(is_one_moment(&host.stored("hot.db")), 0, "as long as it stands, nothing counts");
    host.write("precious", "not of SQLite");
    back_up(&host.path("precious"), false);
    assert_eq!(is_one_moment(&host.stored("hot.db")), 0, "no name that SQLite gives");
    assert!(host.path("precious").exists(), "it was deleted");
}

#[test]
fn truncate_rolls_nothing_back_in_the_source() {
    let host = Host::new();
    with_a_log_left_behind(&host, "app/left.db");
    fs::remove_dir_all(host.path("elsewhere")).expect("removed");
    with_a_hot_journal(&host, "app/other.db");
    fs::remove_file(host.path("app/other.db")).expect("removed");
    fs::rename(host.path("app/other.db-journal"), host.path("app/left.db-journal")).expect("renamed");
    let before = look(&host.path("app"));
    let ran = host.run(&["backup", "app", "--to", "repo", "--truncate"]).exits(6);
    ran.says("left.db has a journal to be rolled back").says("The backup is published and safe");
    assert!(look(&host.path("app")) == before, "the source changed: {:?}", names(&host.path("app")));
    assert_eq!(host.backups("repo").len(), 1);
}

#[test]
fn a_database_whose_log_may_stand_under_another_name_is_warned_of() {
    let host = Host::new();
    let application = found_bank(&host.path("elsewhere/bank.db"), "wal");
    fs::hard_link(host.path("elsewhere/bank.db"), host.path("app/bank.db")).expect("linked");
    let warning = "warning: bank.db: it has other names (hard links)";
    host.ok(&["backup", "app", "--to", "repo"]).says(warning);
    drop(application);
    fs::remove_file(host.path("elsewhere/bank.db")).expect("removed");
    let ran = host.ok(&["backup", "app", "--to", "repo"]);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}
