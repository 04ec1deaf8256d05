//! Tags, pins and prunes, with a judge of its own of what must stay.

use std::collections::BTreeSet;
use std::fs;

use super::backups::TAGS;
use super::{History, Made, with};

/// What a prune is told to keep.
#[derive(Default)]
pub struct Policy {
    pub options: Vec<String>,
    last: usize,
    /// By a clock: the newest of each hour, day or year. All of a history is of one or two of them.
    by_clock: bool,
    within_a_day: bool,
    tags: Vec<&'static str>,
}

impl History {
    /// One of the backups.
    pub fn dice_of_made(&mut self, is_meant: impl Fn(&Made) -> bool) -> Option<&Made> {
        let meant: Vec<usize> = (0..self.made.len()).filter(|at| is_meant(&self.made[*at])).collect();
        if meant.is_empty() { None } else { Some(&self.made[*self.dice.pick(&meant)]) }
    }

    /// A tag more or less, a pin more or less.
    pub fn label(&mut self) {
        if self.pending.is_empty() {
            let Some(id) = self.dice_of_made(|_| true).map(|made| made.id.clone()) else { return };
            let tag = *self.dice.pick(TAGS);
            let (command, more): (&str, &[&str]) = match self.dice.number(6) {
                0 | 1 => ("tag", &[tag]),
                2 => ("tag", &[tag, "--remove"]),
                3 => ("pin", &[]),
                _ => ("unpin", &[]),
            };
            self.tell(format!("{command} {id} {}", more.join(" ")));
            self.host.ok(&[&[command, "repo", &id], more].concat());
            let made = self.made.iter_mut().find(|made| made.id == id).expect("it stands");
            match (command, more.len()) {
                ("tag", 1) => drop(made.tags.insert(tag.to_owned())),
                ("tag", _) => drop(made.tags.remove(tag)),
                _ => made.is_pinned = command == "pin",
            }
        }
    }

    pub fn policy(&mut self) -> Policy {
        let mut policy = Policy::default();
        let rules = if self.dice.chance(60) { 1 } else { 2 };
        for _ in 0..rules {
            let (option, value) = match self.dice.number(10) {
                0..6 if policy.last == 0 => {
                    policy.last = *self.dice.pick(&[1, 1, 1, 2, 3]);
                    ("--keep-last", policy.last.to_string())
                }
                6..8 if !policy.by_clock => {
                    policy.by_clock = true;
                    let option = *self.dice.pick(&["--keep-hourly", "--keep-daily", "--keep-weekly", "--keep-yearly"]);
                    (option, (1 + self.dice.number(3)).to_string())
                }
                8 if self.dice.chance(50) && !policy.within_a_day => {
                    policy.within_a_day = true;
                    ("--keep-within", "1d".to_owned())
                }
                _ => {
                    let tag = *self.dice.pick(TAGS);
                    policy.tags.push(tag);
                    ("--keep-tag", tag.to_owned())
                }
            };
            policy.options.extend([option.to_owned(), value]);
        }
        policy
    }

    /// The ids of those that must stay; with `verified` also the newest one that was found good, which nobody is to
    /// know who runs at the same time.
    pub fn must_stay(&self, policy: &Policy, verified: bool) -> BTreeSet<String> {
        let mut newest_first: Vec<&Made> = self.made.iter().filter(|made| made.is_complete).collect();
        newest_first.sort_by_key(|made| std::cmp::Reverse(made.state));
        let mut stay: Vec<&Made> = Vec::new();
        let mut counted: Vec<&Made> = newest_first.clone();
        // What was put together stands for what it was put together of.
        counted.dedup_by_key(|made| made.state.0);
        let last = policy.last.max(1);
        stay.extend(counted.into_iter().take(last));
        if policy.within_a_day {
            stay.extend(&newest_first);
        }
        if verified {
            let is_good = |made: &&&Made| {
                let record = self.host.path("repo/verified").join(format!("{}.json", made.id));
                record.exists() || self.manifest(&made.id)["proven"] == true
            };
            stay.extend(newest_first.iter().find(is_good));
        }
        let is_kept = |made: &&Made| {
            let is_tagged = policy.tags.iter().any(|tag| made.tags.contains(*tag));
            let is_newest = newest_first.first().is_none_or(|newest| newest.state < made.state);
            made.is_pinned || is_tagged || made.state.1 == self.highest || is_newest
        };
        stay.extend(self.made.iter().filter(is_kept));
        let mut all = BTreeSet::new();
        while let Some(made) = stay.pop() {
            if all.insert(made.id.clone()) {
                stay.extend(made.parent.iter().map(|id| self.find(id).expect("its parent stands")));
            }
        }
        all
    }

    /// Forgets what a prune removed, of which nothing may have been needed; their ids.
    pub fn forget(&mut self, must_stay: &BTreeSet<String>) -> BTreeSet<String> {
        let standing = self.host.backups("repo");
        let gone: BTreeSet<String> =
            self.made.iter().map(|made| made.id.clone()).filter(|id| !standing.contains(id)).collect();
        assert!(gone.is_disjoint(must_stay), "gone: {gone:?}\nmust stay: {must_stay:?}");
        self.made.retain(|made| !gone.contains(&made.id));
        gone
    }

    /// A prune: looked at first, done, or killed while it is done.
    pub fn prune(&mut self) {
        self.learn(); // what was killed after it was published
        if !self.host.path("repo/repository.json").exists() {
            return; // nothing was ever begun, or the first begin was killed
        }
        let policy = self.policy();
        let mut options = policy.options.clone();
        if self.dice.chance(30) {
            options.push("--discard-partials".to_owned());
        }
        self.tell(format!("prune {}", options.join(" ")));
        let must_stay = self.must_stay(&policy, true);
        let arguments = with(&["prune", "repo", "--json"], &options);
        let plan = self.host.ok(&arguments);
        assert_eq!(self.forget(&must_stay), BTreeSet::new(), "nothing goes without a yes");
        let planned = plan.summary()["backups"].as_array().expect("a list").clone();
        let planned = planned.iter().filter(|one| one["keep"] == false);
        let planned: BTreeSet<String> = planned.map(|one| one["id"].as_str().expect("an id").to_owned()).collect();
        if self.dice.chance(20) {
            return;
        }
        let arguments = with(&["prune", "repo", "--json", "--yes"], &options);
        if self.dice.chance(40) {
            let mut running = self.host.start(&arguments);
            let is_trash = |name: &String| name.starts_with("trash-");
            let moment = self.dice.below(plan.took * 2);
            if !planned.is_empty() && self.dice.chance(60) {
                // As soon as the first is out of the list.
                while !running.is_over() && !self.host.partials("repo").iter().any(is_trash) {}
            } else {
                std::thread::sleep(moment);
            }
            let is_killed = running.kill().code.is_none();
            self.met.killed_prunes += usize::from(is_killed && !planned.is_empty());
            self.is_untidy = true; // what it was about to delete
            let gone = self.forget(&must_stay);
            self.tell(format!("killed after {moment:?}: {is_killed}; gone are {gone:?}"));
            assert!(gone.is_subset(&planned), "planned: {planned:?}");
            return;
        }
        self.host.ok(&arguments);
        let gone = self.forget(&must_stay);
        self.tell(format!("gone are {gone:?}"));
        assert_eq!(gone, planned, "what goes is what was planned");
        self.met.pruned += gone.len();
        let trash = self.host.partials("repo").into_iter().filter(|name| name.starts_with("trash-"));
        assert_eq!(trash.collect::<Vec<_>>(), Vec::<String>::new());
        if policy.by_clock || !self.host.partials("repo").is_empty() {
            return; // an hour may have begun, or somebody may go on from what builds on another one
        }
        let stand: BTreeSet<String> = self.made.iter().map(|made| made.id.clone()).collect();
        assert_eq!(stand, must_stay, "what nothing keeps goes");
        for folder in ["verified", "tags"] {
            for record in fs::read_dir(self.host.path("repo").join(folder)).into_iter().flatten() {
                let name = record.expect("listed").file_name().to_string_lossy().into_owned();
                let id = name.strip_suffix(".json").expect("a record");
                assert!(stand.contains(id), "{folder}/{name} is of a backup that is gone");
            }
        }
    }
}
