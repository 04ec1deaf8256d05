//! What is in the storage: files and directories, and now and then a database of SQLite.

use std::path::Path;

use super::{History, Was};
use crate::common::edits::Editor;
use crate::common::sqlite;
use crate::common::tree::Listing;

pub const BANK: &str = "bank.db";

impl History {
    pub fn found_bank(&mut self, mode: &str) {
        let bank = sqlite::open(&self.host.path("app").join(BANK));
        let sql = format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
        bank.execute_batch(&sql).expect("founded");
        self.tell(format!("found a bank, {mode}"));
        self.bank = Some(bank);
        self.write_bank();
    }

    /// Some transactions; now and then the application closes its database, or packs it.
    fn write_bank(&mut self) {
        let Some(bank) = self.bank.take() else { return };
        let path = self.host.path("app").join(BANK);
        let rows = 1 + self.dice.number(60);
        let sql = match self.dice.number(6) {
            0 => "DELETE FROM t WHERE id % 3 = 1".to_owned(),
            1 => "VACUUM".to_owned(),
            2 => "UPDATE t SET pad = randomblob(1500) WHERE id % 7 = 1".to_owned(),
            3 => "PRAGMA wal_checkpoint(TRUNCATE)".to_owned(),
            _ => format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                 INSERT INTO t(pad) SELECT randomblob(1500) FROM n"
            ),
        };
        bank.execute_batch(&sql).expect("written");
        self.tell(format!("bank: {sql}"));
        let bank = if self.dice.chance(20) {
            drop(bank);
            sqlite::open(&path)
        } else {
            bank
        };
        self.bank = Some(bank);
    }

    pub fn edit(&mut self, edits: u32) {
        for _ in 0..edits {
            let root = self.host.path("app");
            let what = Editor { root: &root, dice: &mut self.dice, keeps: "bank" }.edit();
            self.tell(what);
            if self.dice.chance(40) {
                self.write_bank();
            }
        }
    }

    /// What is in the storage now.
    pub fn look(&self, options: &[String]) -> Was {
        let app = self.host.path("app");
        let bank = self.bank.as_ref().map(|_| dump(&app.join(BANK)));
        let mut tree = without_bank(Listing::of(&app));
        let has_logs = options.iter().any(|option| option == "--log");
        let excluded = options.iter().position(|option| option == "--exclude").map(|at| options[at + 1].as_bytes());
        let is_out = |path: &[u8]| path.split(|byte| *byte == b'/').any(|name| Some(name) == excluded);
        // Logs are read last, each as a file of its own.
        tree = tree.parted(|path| is_out(path) || (has_logs && is_log(path))).without(is_out);
        Was { tree, bank }
    }
}

/// A tree without the database and what belongs to it, whose bytes only SQLite can compare.
pub fn without_bank(tree: Listing) -> Listing {
    let before = tree.len();
    let tree = tree.without(|path| path.starts_with(BANK.as_bytes()));
    if tree.len() < before { tree.at_any_time() } else { tree }
}

/// Whether `wal.*` means a path.
fn is_log(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b"wal."))
}

/// All that a database says.
pub fn dump(path: &Path) -> String {
    let connection = rusqlite::Connection::open(path).expect("opened");
    let mut rows = connection.prepare("SELECT id, hex(pad) FROM t ORDER BY id").expect("prepared");
    let rows = rows.query_map([], |row| Ok(format!("{} {}\n", row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
    rows.expect("asked").map(|row| row.expect("a row")).collect()
}
