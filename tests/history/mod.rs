//! One history of a storage and its repository, and the model that knows what must be there.

mod backups;
mod kills;
mod prune;
mod source;
mod together;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::common::tree::{Alike, Listing};
use crate::common::{Dice, Host};
use source::{BANK, dump, without_bank};

/// A backup that should stand.
pub struct Made {
    id: String,
    kind: String,
    parent: Option<String>,
    /// The id of the one whose content it is, put together.
    consolidates: Option<String>,
    /// The sequence number that counts for what is newest, then its own.
    state: (u64, u64),
    is_complete: bool,
    /// What it is restored to; none where that is not known, because it is incomplete.
    was: Option<Was>,
    tags: BTreeSet<String>,
    is_pinned: bool,
}

/// What a storage was.
#[derive(Clone)]
pub struct Was {
    tree: Listing,
    /// All that a SQLite database says whose log was not empty: its file alone says less.
    bank: Option<String>,
}

/// What a backup would be that is under way or was killed.
struct Pending {
    /// A tag that no other backup has.
    tag: String,
    kind: &'static str,
    options: Vec<String>,
    was: Option<Was>,
}

/// What histories came across: none of it may be missing where there are many.
#[derive(Debug, Default)]
pub struct Met {
    resumed: usize,
    pruned: usize,
    killed_prunes: usize,
    at_once: usize,
    refused: usize,
}

impl Met {
    pub fn add(&mut self, other: &Self) {
        self.resumed += other.resumed;
        self.pruned += other.pruned;
        self.killed_prunes += other.killed_prunes;
        self.at_once += other.at_once;
        self.refused += other.refused;
    }

    /// Whether whatever does not need luck was met.
    pub fn is_everything(&self) -> bool {
        self.resumed > 0 && self.pruned > 0 && self.at_once > 0
    }
}

/// One history.
pub struct History {
    host: Host,
    dice: Dice,
    made: Vec<Made>,
    /// What may appear when the next command heals what was killed.
    pending: Vec<Pending>,
    /// The kind and options of a session whose partial was kept.
    kept: Option<(&'static str, Vec<String>)>,
    /// Whether something was killed, stopped or kept since a backup was published.
    is_untidy: bool,
    /// The highest number that was ever given, and how many backups were begun.
    highest: u64,
    begun: u32,
    took: Duration,
    settled: u32,
    bank: Option<rusqlite::Connection>,
    has_logs: bool,
    met: Met,
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

impl History {
    pub fn begin(seed: u64) -> Self {
        let mut dice = Dice::from_seed(seed);
        let host = if dice.chance(75) { Host::quick() } else { Host::new() };
        let sort = dice.number(10);
        let mut history = Self {
            host,
            dice,
            made: Vec::new(),
            pending: Vec::new(),
            kept: None,
            is_untidy: false,
            highest: 0,
            begun: 0,
            took: Duration::from_millis(30),
            settled: 0,
            bank: None,
            has_logs: sort < 3,
            met: Met::default(),
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

    fn find(&self, id: &str) -> Option<&Made> {
        self.made.iter().find(|made| made.id == id)
    }

    /// The id of the backup that one of this kind should build on; none where there is none.
    fn parent(&self, kind: &str) -> Option<String> {
        let may_be = |made: &&Made| {
            let is_of_kind = made.kind == "full" || (kind == "incremental" && made.kind == "incremental");
            made.is_complete && is_of_kind
        };
        let builds = matches!(kind, "incremental" | "differential");
        let all = self.made.iter().filter(|_| builds).filter(may_be);
        all.max_by_key(|made| made.state).map(|made| made.id.clone())
    }

    fn lacks_parent(&self, kind: &str) -> bool {
        matches!(kind, "incremental" | "differential") && self.parent(kind).is_none()
    }

    /// The backups that appeared since the last look, in order.
    fn appeared(&self) -> Vec<String> {
        let mut new = self.host.backups("repo");
        new.retain(|id| self.find(id).is_none());
        new
    }

    /// Takes what appeared into the model; their ids.
    fn learn(&mut self) -> Vec<String> {
        let new = self.appeared();
        for id in &new {
            self.learn_one(id, true);
        }
        new
    }

    /// With `by_rule` it has the parent that it should have; else somebody else may have published meanwhile.
    fn learn_one(&mut self, id: &str, by_rule: bool) {
        let manifest = self.manifest(id);
        let texts = |value: &Value| -> BTreeSet<String> {
            value.as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
        };
        let sequence: u64 = id.split('-').next().expect("a number").parse().expect("a number");
        assert!(sequence > self.highest, "{id} has a number that was given before: {}", self.highest);
        self.highest = sequence;
        let mut made = Made {
            id: id.to_owned(),
            kind: manifest["kind"].as_str().expect("a kind").to_owned(),
            parent: manifest["parent"]["id"].as_str().map(str::to_owned),
            consolidates: manifest["consolidates"]["id"].as_str().map(str::to_owned),
            state: (sequence, sequence),
            is_complete: manifest["outcome"] == "completed",
            was: None,
            tags: texts(&manifest["tags"]),
            is_pinned: false,
        };
        if let Some(of) = &made.consolidates {
            let of = self.find(of).unwrap_or_else(|| panic!("{id} is put together of {of}, which is not known"));
            made.state.0 = of.state.0;
            made.was.clone_from(&of.was);
            assert_eq!((made.kind.as_str(), &made.parent), ("full", &None), "{id}");
            assert_eq!(made.tags, of.tags, "{id} has the tags of {}", of.id);
        } else {
            let begun = self.pending.iter().position(|begun| made.tags.contains(&begun.tag));
            let begun = begun.unwrap_or_else(|| panic!("nobody began {id}"));
            let begun = self.pending.remove(begun);
            assert_eq!(made.kind, begun.kind, "{id}");
            if by_rule {
                assert_eq!(made.parent, self.parent(begun.kind), "{id}");
            }
            assert_eq!(made.is_complete, begun.was.is_some(), "{id}");
            made.was = begun.was;
        }
        self.made.push(made);
    }

    fn manifest(&self, id: &str) -> Value {
        let path = self.host.path("repo/backups").join(id).join("manifest.json");
        serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON")
    }

    /// A backup was published: nothing else is left, and nobody waits for anything.
    fn published(&mut self) {
        self.host.is_tidy("repo");
        self.pending.clear();
        self.kept = None;
        self.is_untidy = false;
    }

    /// Demands that a backup is restored as the storage was.
    fn restores(&mut self, id: &str) {
        self.host.ok(&["restore", "repo", id, "--into", "out"]);
        self.is_restored(id, "out");
    }

    /// Demands that a directory holds what a backup should, and removes it.
    fn is_restored(&self, id: &str, out: &str) {
        let out = self.host.path(out);
        let was = self.find(id).and_then(|made| made.was.as_ref()).expect("known");
        let alike = if rustix::process::geteuid().is_root() { Alike::Fully } else { Alike::ButOwners };
        let differences = was.tree.differences(&without_bank(Listing::of(&out)), alike);
        assert!(differences.is_empty(), "{id} is restored with differences:\n{differences}");
        assert!(was.bank == was.bank.as_ref().map(|_| dump(&out.join(BANK))), "the bank of {id}");
        fs::remove_dir_all(out).expect("removed");
    }

    /// All that must hold at every moment.
    fn holds(&mut self, all: bool) {
        if self.pending.is_empty() {
            let known: Vec<&String> = self.made.iter().map(|made| &made.id).collect();
            assert_eq!(self.host.backups("repo").iter().collect::<Vec<_>>(), known, "what stands is what was made");
        }
        if self.made.is_empty() {
            return;
        }
        self.host.ok(&["verify", "repo"]);
        let ids = self.made.iter().filter(|made| made.was.is_some()).map(|made| made.id.clone());
        let ids: Vec<String> = ids.collect();
        let first = if all { 0 } else { ids.len().saturating_sub(1) };
        for id in &ids[first..] {
            self.restores(id);
        }
        if all {
            self.lists();
        }
    }

    /// Demands that the list tells of each backup what it should.
    fn lists(&self) {
        let list = self.host.ok(&["list", "repo", "--json"]).summary();
        let listed = list["backups"].as_array().expect("a list");
        for made in &self.made {
            let one = listed.iter().find(|one| one["id"] == made.id.as_str());
            let one = one.unwrap_or_else(|| panic!("{} is not listed", made.id));
            assert_eq!(one["outcome"], if made.is_complete { "completed" } else { "incomplete" }, "{}", made.id);
            assert_eq!(one["pinned"], made.is_pinned, "{}", made.id);
            let tags: Vec<&str> = made.tags.iter().map(String::as_str).collect();
            assert_eq!(one["tags"], serde_json::json!(tags), "{}", made.id);
        }
    }

    /// One history from its begin to its end; what it came across.
    pub fn live(mut self) -> Met {
        let rounds = 3 + self.dice.number(5);
        for round in 0..rounds {
            // Only what is some seconds old is believed unchanged; those are rare, because they take so long.
            if self.settled == 0 && round < 2 && self.dice.chance(60) {
                self.settled += 1;
                self.tell("three seconds");
                self.host.settles("app");
            }
            let most = if round + 2 < rounds { 80 } else { 100 };
            match self.dice.number(most) {
                _ if round == 0 => self.back_up(),
                0..26 => self.back_up(),
                26..36 => self.verbs(),
                36..47 => self.interrupted(),
                47..56 => self.goes_on(),
                56..60 => self.fails(),
                60..65 => self.consolidate(),
                65..74 => self.together(),
                _ => self.prune(), // more often where there is something to prune
            }
            if self.dice.chance(25) {
                self.label();
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
        std::mem::take(&mut self.met)
    }
}

/// Says in every partial that its backup began so late that nothing had changed shortly before: a file counts as what it
/// was only if it had been that for three seconds. It waits until the clock of the file system has gone on, so that an
/// edit after this has another time than one before.
fn began_later(host: &Host) {
    std::thread::sleep(Duration::from_millis(12));
    for name in host.partials("repo") {
        let path = host.path("repo/partial").join(name).join("owner.json");
        began_later_in(&path);
    }
}

fn began_later_in(path: &Path) {
    let owner = fs::read(path).ok().and_then(|owner| serde_json::from_slice::<Value>(&owner).ok());
    let Some(mut owner) = owner else { return }; // killed before it was written
    if !owner["began"].is_null() {
        owner["began"] = serde_json::json!("2200-01-01T00:00:00Z");
        fs::write(path, owner.to_string()).expect("written");
    }
}

fn with(arguments: &[&str], options: &[String]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).chain(options.iter().cloned()).collect()
}
