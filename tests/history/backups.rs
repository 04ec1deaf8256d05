//! Backups that come to be, in one go or verb by verb, and those that do not.

use std::fs;

use super::{History, Pending, began_later, with};
use crate::common::{Ran, Running};

/// Kinds and how likely they are.
const KINDS: &[&str] =
    &["full", "full", "copy", "incremental", "incremental", "incremental", "incremental", "differential"];
/// Tags that a prune may be told to keep.
pub const TAGS: &[&str] = &["monthly", "release"];

impl History {
    /// A kind and the options of a backup: those of what was killed or kept, or others.
    pub fn terms(&mut self) -> (&'static str, Vec<String>) {
        let earlier =
            self.pending.last().map(|begun| (begun.kind, begun.options.clone())).or_else(|| self.kept.clone());
        if let Some(earlier) = earlier.filter(|(kind, _)| !self.lacks_parent(kind)).filter(|_| self.dice.chance(70)) {
            return earlier;
        }
        let is_first = self.made.is_empty() && self.dice.chance(75);
        let kind = if is_first { "full" } else { *self.dice.pick(KINDS) };
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
        (kind, options)
    }

    /// Notes a backup that is to begin; its options, with a tag of its own.
    pub fn begins(&mut self, kind: &'static str, options: &[String], is_complete: bool) -> Vec<String> {
        self.begun += 1;
        let tag = format!("begun-{}", self.begun);
        let was = is_complete.then(|| self.look(options));
        let mut all = [options, &["--tag".to_owned(), tag.clone()]].concat();
        if self.dice.chance(15) {
            all.extend(["--tag".to_owned(), (*self.dice.pick(TAGS)).to_owned()]);
        }
        if self.is_untidy && self.dice.chance(15) {
            all.push("--no-resume".to_owned());
        }
        self.pending.push(Pending { tag, kind, options: options.to_vec(), was });
        all
    }

    /// A backup in one go, with what a user could do to it; it may go on from an earlier one.
    pub fn back_up(&mut self) {
        if self.dice.chance(25) {
            self.heal();
        }
        let (kind, options) = self.terms();
        self.back_up_as(kind, &options);
    }

    /// Whether it went on from an earlier one; none where it might not.
    pub fn back_up_as(&mut self, kind: &'static str, options: &[String]) -> Option<bool> {
        // What was killed may come to be, and be a parent.
        if self.lacks_parent(kind) {
            self.heal();
        }
        let has_log_option = options.iter().any(|option| option == "--log");
        let truncates = has_log_option && matches!(kind, "full" | "incremental") && self.dice.chance(25);
        let lacks_parent = self.lacks_parent(kind);
        let mut options = self.begins(kind, options, true);
        let may_resume = !options.iter().any(|option| option == "--no-resume");
        options.extend(truncates.then(|| "--truncate".to_owned()));
        self.tell(format!("backup {}", options.join(" ")));
        let ran = self.host.run(&with(&["backup", "app", "--to", "repo", "--json"], &options));
        self.took = ran.took;
        if lacks_parent {
            ran.exits(5);
            self.pending.pop();
            assert_eq!(self.learn(), Vec::<String>::new());
            return None;
        }
        let is_resumed = self.came_to_be(&ran.exits(0));
        assert!(may_resume || !is_resumed, "it was to read everything itself");
        may_resume.then_some(is_resumed)
    }

    /// Learns of a backup that succeeded, and of what it finished of others; whether it went on from one.
    fn came_to_be(&mut self, ran: &Ran) -> bool {
        let summary = ran.summary();
        let id = summary["id"].as_str().expect("an id").to_owned();
        let new = self.learn();
        assert_eq!(new.last(), Some(&id), "{}", ran.stderr);
        let is_resumed = !summary["resumed"].is_null();
        self.tell(format!("made {new:?}, resumed {}", summary["resumed"]));
        assert!(!is_resumed || self.is_untidy, "there is nothing to go on from");
        self.met.resumed += usize::from(is_resumed);
        self.published();
        is_resumed
    }

    /// What was killed is healed by the next backup; by it the model learns whether the killed one came to be.
    pub fn heal(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let options = self.begins("copy", &["--kind".to_owned(), "copy".to_owned()], true);
        self.tell("heal");
        let ran = self.host.ok(&with(&["backup", "app", "--to", "repo", "--json"], &options));
        self.came_to_be(&ran);
    }

    /// Verb by verb, with several readers, edits after the files were read, a reader that is killed.
    pub fn verbs(&mut self) {
        let (kind, mut options) = self.terms();
        if self.lacks_parent(kind) {
            self.heal();
        }
        let lacks_parent = self.lacks_parent(kind);
        options = self.begins(kind, &options, true);
        let keeps = self.dice.chance(40);
        options.extend(keeps.then(|| "--keep-partial".to_owned()));
        self.tell(format!("begin {}", options.join(" ")));
        let ran = self.host.run(&with(&["begin", "app", "--to", "repo", "--json"], &options));
        if lacks_parent {
            ran.exits(5);
            self.pending.pop();
            return;
        }
        let is_resumed = !ran.exits(0).summary()["resumed"].is_null();
        self.met.resumed += usize::from(is_resumed);
        // What was killed before is decided by now; only this one is left.
        self.learn();
        self.pending.drain(..self.pending.len() - 1);
        if self.dice.chance(20) {
            let reader = self.host.start(&["read", "app"]);
            std::thread::sleep(self.dice.below(self.took));
            reader.kill();
            self.tell("read, killed");
        }
        match self.dice.number(6) {
            0 => {
                if self.dice.chance(60) {
                    self.host.ok(&["read", "app"]);
                }
                self.host.ok(&["stop", "app"]);
                self.host.run(&["read", "app"]).exits(4);
                return self.comes_to_nothing(&["end", "app"], keeps);
            }
            1 => {
                self.host.ok(&["read", "app"]);
                return self.comes_to_nothing(&["end", "app", "--abort"], keeps);
            }
            2 => {
                let readers: Vec<Running> = (0..2).map(|_| self.host.start(&["read", "app"])).collect();
                for reader in readers {
                    reader.wait().exits(0);
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
        let new = self.learn();
        assert_eq!(new.len(), 1, "{new:?}");
        self.published();
    }

    /// The end of a session that publishes nothing; what it has read may be gone on from.
    fn comes_to_nothing(&mut self, end: &[&str], keeps: bool) {
        self.tell(end.join(" "));
        self.host.ok(end);
        let begun = self.pending.pop().expect("a session");
        assert_eq!(self.appeared(), Vec::<String>::new());
        if !keeps && !self.is_untidy {
            return self.host.is_tidy("repo");
        }
        assert!(self.host.session_folders().is_empty());
        self.is_untidy = true;
        if keeps {
            self.kept = Some((begun.kind, begun.options));
        }
        if self.dice.chance(60) {
            began_later(&self.host);
            self.tell("it began later");
        }
    }

    /// A file that vanishes between begin and read: the backup fails and is not listed, or is incomplete.
    pub fn fails(&mut self) {
        self.heal();
        self.host.write("app/vanishing", "soon gone");
        let (kind, mut options) = self.terms();
        if self.lacks_parent(kind) {
            return;
        }
        let is_incomplete = self.dice.chance(50);
        options = self.begins(kind, &options, !is_incomplete);
        options.extend(is_incomplete.then(|| "--keep-going".to_owned()));
        let keeps = !is_incomplete && self.dice.chance(40);
        options.extend(keeps.then(|| "--keep-partial".to_owned()));
        self.tell(format!("begin {}, then a file vanishes", options.join(" ")));
        self.host.ok(&with(&["begin", "app", "--to", "repo"], &options));
        fs::remove_file(self.host.path("app/vanishing")).expect("removed");
        self.host.run(&["read", "app"]).exits(6);
        if !is_incomplete {
            return self.comes_to_nothing(&["end", "app", "--abort"], keeps);
        }
        self.host.run(&["end", "app"]).exits(6);
        let new = self.learn();
        assert_eq!(new.len(), 1, "{new:?}");
        self.published();
    }

    /// A full of what is there in pieces.
    pub fn consolidate(&mut self) {
        self.heal();
        let Some(made) = self.dice_of_made(|made| made.is_complete) else { return };
        let (id, state, has_parent) = (made.id.clone(), made.state.0, made.parent.is_some());
        self.tell(format!("consolidate {id}"));
        let is_done = self.made.iter().any(|made| made.state.0 == state && made.consolidates.is_some());
        self.host.ok(&["consolidate", "repo", &id]);
        let new = self.learn();
        assert_eq!(new.len(), usize::from(has_parent && !is_done), "{new:?}");
    }
}
