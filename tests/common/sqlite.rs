//! Applications that keep their data in SQLite: a bank whose money never changes, and processes that move it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::{Dice, Host, eventually};

/// Accounts of a bank, and what is on each at first.
const ACCOUNTS: u32 = 2000;
const MONEY: u32 = 1000;

/// What tells a test binary that it is a writer: the database, the file that says it is at work.
const DATABASE: &str = "JETBAK_TEST_WRITES_INTO";
const READY: &str = "JETBAK_TEST_WRITER_IS_READY";

/// Opens a database as an application does, patient with others.
pub fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("opened");
    connection.busy_timeout(Duration::from_mins(1)).expect("set");
    connection.execute_batch("PRAGMA synchronous = OFF").expect("set");
    connection
}

/// Makes a bank of some megabytes, so that a copy takes many pieces and an account may lie in any.
pub fn found_bank(path: &Path, journal_mode: &str) -> Connection {
    fs::create_dir_all(path.parent().expect("a parent")).expect("created");
    let connection = open(path);
    let sql = format!(
        "PRAGMA journal_mode = {journal_mode};
         BEGIN;
         CREATE TABLE accounts(id INTEGER PRIMARY KEY, money INTEGER, pad BLOB);
         CREATE TABLE moves(id INTEGER PRIMARY KEY, giver INTEGER, taker INTEGER, money INTEGER);
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS} - 1)
         INSERT INTO accounts SELECT i, {MONEY}, randomblob(1500) FROM n;
         COMMIT;"
    );
    connection.execute_batch(&sql).expect("founded");
    connection
}

/// Moves some money, and keeps a book of it, in one transaction.
pub fn move_money(connection: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    let (giver, taker, money) = (dice.number(ACCOUNTS), dice.number(ACCOUNTS), dice.number(10));
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         UPDATE accounts SET money = money - {money} WHERE id = {giver};
         UPDATE accounts SET money = money + {money} WHERE id = {taker};
         INSERT INTO moves(giver, taker, money) VALUES ({giver}, {taker}, {money});
         COMMIT;"
    ))
}

/// Opens a copy without leaving anything beside it.
pub fn open_copy(path: &Path) -> Connection {
    let uri = format!("file:{}?immutable=1", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags).expect("opened")
}

/// What one question answers.
pub fn ask<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
    connection.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// Demands that a copy is one moment of a bank: sound, no money lost or made, and every account as the book has it. How
/// often money was moved.
#[track_caller]
pub fn is_one_moment(path: &Path) -> i64 {
    let copy = open_copy(path);
    assert_eq!(ask::<String>(&copy, "PRAGMA integrity_check"), "ok", "{}", path.display());
    assert_eq!(ask::<u32>(&copy, "SELECT sum(money) FROM accounts"), ACCOUNTS * MONEY, "{}", path.display());
    let odd = "WITH flows(id, money) AS (SELECT giver, -money FROM moves UNION ALL SELECT taker, money FROM moves),
                    sums(id, money) AS (SELECT id, sum(money) FROM flows GROUP BY id)
               SELECT count(*) FROM accounts LEFT JOIN sums USING (id)
               WHERE accounts.money <> 1000 + coalesce(sums.money, 0)";
    assert_eq!(ask::<i64>(&copy, odd), 0, "accounts that are not as the book has them");
    assert!(ask::<bool>(&copy, "SELECT count(*) = coalesce(max(id), 0) FROM moves"), "moves are missing");
    ask(&copy, "SELECT count(*) FROM moves")
}

/// Whether the sqlite3 shell is there, the oracle that shares no code with us.
pub fn has_shell() -> bool {
    Command::new("sqlite3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// All of a database as SQL, by the sqlite3 shell.
pub fn dump(path: &Path) -> String {
    let output = Command::new("sqlite3").arg(path).arg(".dump").output().expect("sqlite3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A process that moves money as fast as it can, until it is killed as a power cut would.
pub struct Writer(Child);

impl Writer {
    /// Starts one, and waits until it is at work. The test binary must have a test `writer` that calls [`write_if_asked`].
    pub fn start(host: &Host, database: &str) -> Self {
        let ready = host.path(format!("{}-is-ready", database.replace('/', "-")));
        let _ = fs::remove_file(&ready); // of an earlier one
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["writer", "--exact", "--ignored", "--nocapture"])
            .env(DATABASE, host.path(database))
            .env(READY, &ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let writer = Self(child.expect("started"));
        eventually("the writer is at work", || ready.exists());
        writer
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Moves money for five minutes at most, if this process was started for that.
pub fn write_if_asked() {
    let Some(database) = std::env::var_os(DATABASE).map(PathBuf::from) else { return };
    let (connection, mut dice, began) = (open(&database), Dice::new(), Instant::now());
    while began.elapsed() < Duration::from_mins(5) {
        move_money(&connection, &mut dice).expect("moved");
        if let Some(ready) = std::env::var_os(READY).filter(|ready| !Path::new(ready).exists()) {
            fs::write(ready, "").expect("written");
        }
    }
}
