//! Histories of a storage at random: edits of every sort, backups of every kind, stops and crashes, against a model that
//! knows what was in the storage at each backup and which one it should build on. Whatever happens, every backup that is
//! listed verifies and is restored as the storage was then.
//!
//! A failing history names its seed; `JETBAK_MODEL_SEED=… cargo test --test history_model` runs it alone. Where a process
//! was killed, the same seed may meet another moment. `JETBAK_MODEL_KEEP=1` keeps the machine of a failing history below
//! the directory for temporary files, and `JETBAK_MODEL_THREADS` says how many histories live at once.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::edits::Editor;
use common::tree::{Alike, Listing};
use common::{Dice, HeldJournal, Host, Running, sqlite};
use serde_json::Value;

/// A backup that should stand.
struct Made {
    id: String,
    kind: &'static str,
    /// The place of its parent among the backups.
    parent: Option<usize>,
    /// The sequence number that counts for what is newest, then its own.
    state: (u64, u64),
    is_complete: bool,
    was: Was,
}

/// What a storage was.
#[derive(Clone)]
struct Was {
    tree: Listing,
    /// All that a SQLite database says whose log was not empty: its file alone says less.
    bank: Option<String>,
}

/// What a backup that may have been killed would be.
struct Pending {
    kind: &'static str,
    parent: Option<usize>,
    was: Was,
}

/// One history.
struct History {
    host: Host,
    dice: Dice,
    made: Vec<Made>,
    /// What may appear when the next command heals what was killed.
    pending: Option<Pending>,
    took: Duration,
    settled: u32,
    bank: Option<rusqlite::Connection>,
    has_logs: bool,
    story: String,
    seed: u64,
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("JETBAK_MODEL_SEED={}\n{}", self.seed, self.story);
            if std::env::var_os("JETBAK_MODEL_KEEP").is_some() {
                let kept = std::env::temp_dir().join(format!("jetbak-history-{}", self.seed));
                let _ = std::process::Command::new("cp").arg("-a").arg(self.host.path("")).arg(kept).status();
            }
        }
    }
}

const BANK: &str = "bank.db";
/// Kinds and how likely they are.
const KINDS: &[&str] = &["full", "copy", "incremental", "incremental", "incremental", "incremental", "differential"];

impl History {
    fn begin(seed: u64) -> Self {
        let mut dice = Dice::from_seed(seed);
        let host = if dice.chance(75) { Host::quick() } else { Host::new() };
        let sort = dice.number(10);
        let mut history = Self {
            host,
            dice,
            made: Vec::new(),
            pending: None,
            took: Duration::from_millis(30),
            settled: 0,
            bank: None,
            has_logs: sort < 3,
            story: String::new(),
            seed,
        };
        if sort >= 8 {
            let mode = *history.dice.pick(&["wal", "wal", "delete"]);
            history.found_bank(mode);
        }
        let edits = 4 + history.dice.number(12);
        history.edit(edits);
        history
    }

    fn tell(&mut self, what: impl AsRef<str>) {
        writeln!(self.story, "  {}", what.as_ref()).expect("a string takes every write");
    }

    fn found_bank(&mut self, mode: &str) {
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

    fn edit(&mut self, edits: u32) {
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
    fn look(&self, options: &[String]) -> Was {
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

    /// The place of the backup that one of this kind should build on; none where there is none.
    fn parent(&self, kind: &str) -> Option<usize> {
        let may_be = |made: &&(usize, &Made)| {
            let is_of_kind = made.1.kind == "full" || (kind == "incremental" && made.1.kind == "incremental");
            made.1.is_complete && is_of_kind
        };
        let all: Vec<_> = self.made.iter().enumerate().collect();
        all.iter().filter(may_be).max_by_key(|(_, made)| made.state).map(|(place, _)| *place)
    }

    /// A kind, its parent, and the options of a backup.
    fn terms(&mut self) -> (&'static str, Option<usize>, Vec<String>) {
        let is_first = self.made.is_empty() && self.dice.chance(75);
        let kind = if is_first { "full" } else { *self.dice.pick(KINDS) };
        let parent = self.parent(kind).filter(|_| kind == "incremental" || kind == "differential");
        let mut options = vec!["--kind".to_owned(), kind.to_owned()];
        if self.has_logs && self.dice.chance(85) {
            options.extend(["--log".to_owned(), "wal.*".to_owned()]);
        }
        if self.dice.chance(12) {
            options.push("--ignore-metadata".to_owned());
        }
        if self.dice.chance(10) {
            options.extend(["--exclude".to_owned(), (*self.dice.pick(&["a", "b", "d", "log.1", "wal.1"])).to_owned()]);
        }
        (kind, parent, options)
    }

    /// The backups that appeared since the last look, in order.
    fn appeared(&self) -> Vec<String> {
        let mut new = self.host.backups("repo");
        new.retain(|id| self.made.iter().all(|made| made.id != *id));
        new
    }

    fn record(&mut self, id: String, pending: Pending) {
        let Pending { kind, parent, was } = pending;
        let sequence = id.split('-').next().expect("a number").parse().expect("a number");
        let manifest = self.manifest(&id);
        assert_eq!(manifest["kind"], kind, "{id}");
        assert_eq!(manifest["outcome"], "completed", "{id}");
        let parent_id = parent.map(|place| self.made[place].id.clone());
        assert_eq!(manifest["parent"]["id"].as_str(), parent_id.as_deref(), "{id}");
        self.made.push(Made { id, kind, parent, state: (sequence, sequence), is_complete: true, was });
    }

    fn manifest(&self, id: &str) -> Value {
        let path = self.host.path("repo/backups").join(id).join("manifest.json");
        serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON")
    }

    /// A backup in one go, with what a user could do to it.
    fn back_up(&mut self) {
        self.heal();
        let (kind, parent, mut options) = self.terms();
        let has_log_option = options.iter().any(|option| option == "--log");
        if has_log_option && matches!(kind, "full" | "incremental") && self.dice.chance(25) {
            options.push("--truncate".to_owned());
        }
        let was = self.look(&options);
        self.tell(format!("backup {}", options.join(" ")));
        let arguments = with(&["backup", "app", "--to", "repo", "--json"], &options);
        let ran = self.host.run(&arguments);
        self.took = ran.took;
        let needs_parent = matches!(kind, "incremental" | "differential");
        if needs_parent && parent.is_none() {
            ran.exits(5);
            assert_eq!(self.appeared(), Vec::<String>::new());
            return;
        }
        let id = ran.exits(0).summary()["id"].as_str().expect("an id").to_owned();
        assert_eq!(self.appeared(), [id.as_str()]);
        self.record(id, Pending { kind, parent, was });
        self.host.is_tidy("repo");
    }

    /// Verb by verb, with several readers, edits after the files were read, a reader that is killed.
    fn verbs(&mut self) {
        self.heal();
        let (kind, parent, options) = self.terms();
        let was = self.look(&options);
        self.tell(format!("begin {}", options.join(" ")));
        let ran = self.host.run(&with(&["begin", "app", "--to", "repo"], &options));
        if matches!(kind, "incremental" | "differential") && parent.is_none() {
            ran.exits(5);
            return;
        }
        ran.exits(0);
        if self.dice.chance(20) {
            let reader = self.host.start(&["read", "app"]);
            std::thread::sleep(self.dice.below(self.took));
            reader.kill();
            self.tell("read, killed");
        }
        match self.dice.number(8) {
            0 => {
                self.host.ok(&["stop", "app"]);
                self.host.run(&["read", "app"]).exits(4);
                return self.comes_to_nothing(&["end", "app"]);
            }
            1 => {
                self.host.ok(&["read", "app"]);
                return self.comes_to_nothing(&["end", "app", "--abort"]);
            }
            2 => {
                let readers: Vec<Running> = (0..2).map(|_| self.host.start(&["read", "app"])).collect();
                for reader in readers {
                    let ran = reader.wait();
                    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
                }
                self.tell("read, read");
            }
            _ => {
                self.host.ok(&["read", "app"]);
                self.tell("read");
            }
        }
        if self.dice.chance(40) {
            let edits = 1 + self.dice.number(3);
            self.edit(edits); // after they were read: that is for the next backup
        }
        self.host.ok(&["end", "app"]);
        self.tell("end");
        let mut new = self.appeared();
        assert_eq!(new.len(), 1, "{new:?}");
        self.record(new.remove(0), Pending { kind, parent, was });
        self.host.is_tidy("repo");
    }

    fn comes_to_nothing(&mut self, end: &[&str]) {
        self.tell(end.join(" "));
        self.host.ok(end);
        assert_eq!(self.appeared(), Vec::<String>::new());
        self.host.is_tidy("repo");
    }

    /// A backup that is ended by a signal, or killed, at some moment.
    fn interrupted(&mut self) {
        self.heal();
        let (kind, parent, options) = self.terms();
        if matches!(kind, "incremental" | "differential") && parent.is_none() {
            return;
        }
        let was = self.look(&options);
        let mut running = self.host.start(&with(&["backup", "app", "--to", "repo", "--json"], &options));
        let is_asked = self.dice.chance(35);
        if self.dice.chance(60) {
            let moment = self.dice.below(self.took);
            std::thread::sleep(moment);
            self.tell(format!("backup {} interrupted after {moment:?}, asked: {is_asked}", options.join(" ")));
        } else {
            let events = 1 + self.dice.number(10) as usize;
            if let Some(held) = HeldJournal::of_a_new_session(&self.host, "state", &mut running) {
                held.step_to(events, &mut running);
            }
            self.tell(format!("backup {} interrupted at event {events}, asked: {is_asked}", options.join(" ")));
        }
        if is_asked {
            // It may be over by now.
            let _ = std::process::Command::new("kill").arg("-TERM").arg(running.pid().to_string()).output();
            let ran = running.wait();
            let new = self.appeared();
            match ran.code {
                Some(0) => assert_eq!(new.len(), 1),
                Some(143 | 4) => assert_eq!(new, Vec::<String>::new(), "{}", ran.stderr),
                // Before it could say what it does with signals, or in a hurry once it published.
                None => {}
                other => panic!("{other:?}: {}", ran.stderr),
            }
            if ran.code.is_some() {
                self.host.is_tidy("repo");
            }
            for id in new {
                self.record(id, Pending { kind, parent, was: was.clone() });
            }
            if ran.code.is_some() {
                return;
            }
        } else {
            running.kill();
        }
        self.pending = Some(Pending { kind, parent, was });
    }

    /// What was killed is healed by the next backup; by it the model learns whether the killed one came to be.
    fn heal(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        let was = self.look(&[]);
        let ran = self.host.ok(&["backup", "app", "--to", "repo", "--kind", "copy", "--json"]);
        let id = ran.summary()["id"].as_str().expect("an id").to_owned();
        let mut new = self.appeared();
        assert_eq!(new.pop().as_ref(), Some(&id), "{}", ran.stderr);
        self.tell(format!("healed by {id}; the killed one: {new:?}"));
        assert!(new.len() <= 1, "{new:?}");
        if let Some(killed) = new.pop() {
            self.record(killed, pending);
        }
        self.record(id, Pending { kind: "copy", parent: None, was });
        self.host.is_tidy("repo");
    }

    /// A file that vanishes between begin and read fails the backup, which is not listed.
    fn fails(&mut self) {
        self.heal();
        self.host.write("app/vanishing", "soon gone");
        let (kind, parent, options) = self.terms();
        if matches!(kind, "incremental" | "differential") && parent.is_none() {
            return;
        }
        self.tell(format!("begin {}, then a file vanishes", options.join(" ")));
        self.host.run(&with(&["begin", "app", "--to", "repo"], &options)).exits(0);
        fs::remove_file(self.host.path("app/vanishing")).expect("removed");
        self.host.run(&["read", "app"]).exits(6);
        self.comes_to_nothing(&["end", "app", "--abort"]);
    }

    /// A full of what is there in pieces.
    fn consolidate(&mut self) {
        self.heal();
        let Some(last) = self.made.len().checked_sub(1) else { return };
        let place = if self.dice.chance(50) {
            last
        } else {
            self.dice.number(u32::try_from(last + 1).expect("a few")) as usize
        };
        let (id, state) = (self.made[place].id.clone(), self.made[place].state.0);
        self.tell(format!("consolidate {id}"));
        self.host.ok(&["consolidate", "repo", &id]);
        let mut new = self.appeared();
        let is_made = |made: &Made| made.state.0 == state && made.state.1 > state;
        if self.made[place].parent.is_none() || self.made.iter().any(is_made) {
            return assert_eq!(new, Vec::<String>::new(), "there is nothing to do");
        }
        assert_eq!(new.len(), 1, "{new:?}");
        let was = self.made[place].was.clone();
        self.record(new.remove(0), Pending { kind: "full", parent: None, was });
        self.made.last_mut().expect("recorded").state.0 = state;
    }

    /// Demands that a backup is restored as the storage was.
    fn restores(&mut self, place: usize) {
        let made = &self.made[place];
        let out = self.host.path("out");
        self.host.ok(&["restore", "repo", &made.id, "--into", "out"]);
        let alike = if rustix::process::geteuid().is_root() { Alike::Fully } else { Alike::ButOwners };
        let differences = made.was.tree.differences(&without_bank(Listing::of(&out)), alike);
        assert!(differences.is_empty(), "{} is restored with differences:\n{differences}", made.id);
        assert!(made.was.bank == made.was.bank.as_ref().map(|_| dump(&out.join(BANK))), "the bank of {}", made.id);
        fs::remove_dir_all(out).expect("removed");
    }

    /// All that must hold at every moment.
    fn holds(&mut self, all: bool) {
        let standing = self.host.backups("repo");
        let known: Vec<&String> = self.made.iter().map(|made| &made.id).collect();
        if self.pending.is_none() {
            assert_eq!(standing.iter().collect::<Vec<_>>(), known, "what stands is what was made");
        }
        if self.made.is_empty() {
            return;
        }
        self.host.ok(&["verify", "repo"]);
        let places = if all { 0..self.made.len() } else { self.made.len() - 1..self.made.len() };
        for place in places {
            self.restores(place);
        }
        if all {
            let list = self.host.ok(&["list", "repo", "--json"]).summary();
            let listed: Vec<_> =
                list["backups"].as_array().expect("a list").iter().map(|one| one["id"].clone()).collect();
            assert!(standing.iter().all(|id| listed.contains(&Value::from(id.as_str()))), "{listed:?}");
            for backup in list["backups"].as_array().expect("a list") {
                assert_eq!(backup["outcome"], "completed");
            }
        }
    }

    /// One history from its begin to its end.
    fn live(&mut self) {
        let rounds = 3 + self.dice.number(4);
        for round in 0..rounds {
            // Only what is some seconds old is believed unchanged; those are rare, because they take so long.
            if self.settled == 0 && round < 2 && self.dice.chance(60) {
                self.settled += 1;
                self.tell("three seconds");
                self.host.settles("app");
            }
            match self.dice.number(100) {
                _ if round == 0 => self.back_up(),
                0..50 => self.back_up(),
                50..72 => self.verbs(),
                72..86 => self.interrupted(),
                86..89 => self.fails(),
                _ => self.consolidate(),
            }
            let all = self.dice.chance(15);
            self.holds(all);
            let edits = self.dice.number(8);
            self.edit(edits);
        }
        self.heal();
        self.holds(true);
        if self.dice.chance(10) && !self.made.is_empty() {
            self.host.verifies("repo");
        }
    }
}

/// A tree without the database and what belongs to it, whose bytes only SQLite can compare.
fn without_bank(tree: Listing) -> Listing {
    let before = tree.len();
    let tree = tree.without(|path| path.starts_with(BANK.as_bytes()));
    if tree.len() < before { tree.at_any_time() } else { tree }
}

/// Whether `wal.*` means a path.
fn is_log(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b"wal."))
}

/// All that a database says.
fn dump(path: &std::path::Path) -> String {
    let connection = rusqlite::Connection::open(path).expect("opened");
    let mut rows = connection.prepare("SELECT id, hex(pad) FROM t ORDER BY id").expect("prepared");
    let rows = rows.query_map([], |row| Ok(format!("{} {}\n", row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
    rows.expect("asked").map(|row| row.expect("a row")).collect()
}

fn with(arguments: &[&str], options: &[String]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).chain(options.iter().cloned()).collect()
}

/// So many histories, several at a time: most of the time they wait until files are old enough to be believed.
fn histories(count: usize) {
    let given = std::env::var("JETBAK_MODEL_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    if let Some(seed) = given {
        return History::begin(seed).live();
    }
    let mut dice = Dice::new();
    let seeds: Vec<u64> =
        (0..count).map(|_| (u64::from(dice.number(u32::MAX)) << 32) | u64::from(dice.number(u32::MAX)) | 1).collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let lived = std::panic::catch_unwind(|| History::begin(*seed).live());
                    failed.fetch_add(usize::from(lived.is_err()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "histories that went wrong; each named its seed above");
}

fn threads() -> usize {
    std::env::var("JETBAK_MODEL_THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(20)
}

#[test]
fn random_histories_are_restored_at_every_backup() {
    histories(100);
}

#[test]
#[ignore = "takes many minutes"]
fn two_thousand_histories() {
    histories(2000);
}
