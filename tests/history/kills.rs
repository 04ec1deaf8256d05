//! Backups that are ended by a signal, or killed, at some moment.

use super::{History, began_later, with};
use crate::common::HeldJournal;

impl History {
    /// A backup that is stopped or killed; what was killed before may be under it.
    pub fn interrupted(&mut self) {
        if self.dice.chance(50) {
            self.heal();
        }
        let (kind, mut options) = self.terms();
        if self.lacks_parent(kind) {
            return;
        }
        options = self.begins(kind, &options, true);
        let keeps = self.dice.chance(40);
        options.extend(keeps.then(|| "--keep-partial".to_owned()));
        let mut running = self.host.start(&with(&["backup", "app", "--to", "repo", "--json"], &options));
        let is_asked = self.dice.chance(35);
        if self.dice.chance(60) {
            let moment = self.dice.below(self.took);
            std::thread::sleep(moment);
            self.tell(format!("backup {} interrupted after {moment:?}, asked: {is_asked}", options.join(" ")));
        } else {
            let events = 2 + self.dice.number(9) as usize;
            if let Some(held) = HeldJournal::of_a_new_session(&self.host, "state", &mut running) {
                held.step_to(events, &mut running);
            }
            self.tell(format!("backup {} interrupted at event {events}, asked: {is_asked}", options.join(" ")));
        }
        if !is_asked {
            running.kill();
            return self.is_killed();
        }
        // It may be over by now.
        let _ = std::process::Command::new("kill").arg("-TERM").arg(running.pid().to_string()).output();
        let ran = running.wait();
        match ran.code {
            Some(0) => {
                let new = self.learn();
                assert!(self.pending.iter().all(|begun| !options.contains(&begun.tag)), "{new:?}: {}", ran.stderr);
                self.published();
            }
            Some(143 | 4) => {
                let begun = self.pending.pop().expect("the one that was stopped");
                let new = self.learn();

                if !keeps && !self.is_untidy {
                    assert_eq!(new, Vec::<String>::new(), "{}", ran.stderr);
                    return self.host.is_tidy("repo");
                }
                self.is_untidy = true;
                self.kept = keeps.then_some((begun.kind, begun.options)).or(self.kept.take());
                if self.dice.chance(60) {
                    began_later(&self.host);
                }
            }
            // Before it could say what it does with signals, or in a hurry once it published.
            None => self.is_killed(),
            other => panic!("{other:?}: {}", ran.stderr),
        }
    }

    /// A session that has read everything, or a reader was killed at it, and is ended so that the next one goes on.
    pub fn goes_on(&mut self) {
        self.heal();
        let (kind, mut options) = self.terms();
        if self.lacks_parent(kind) {
            return;
        }
        options = self.begins(kind, &options, true);
        self.tell(format!("begin {} --keep-partial", options.join(" ")));
        self.host.ok(&with(&["begin", "app", "--to", "repo", "--keep-partial"], &options));
        let is_read = self.dice.chance(60);
        let mut bytes = 0;
        if is_read {
            bytes = self.host.ok(&["read", "app", "--json"]).summary()["bytes"].as_u64().expect("bytes");
        } else {
            let reader = self.host.start(&["read", "app"]);
            std::thread::sleep(self.dice.below(self.took));
            reader.kill();
        }
        self.host.ok(if self.dice.chance(50) { &["stop", "app"] } else { &["end", "app", "--abort"] });
        if !self.host.session_folders().is_empty() {
            self.host.ok(&["end", "app"]);
        }
        self.tell(format!("ended, all was read: {is_read}, {bytes} bytes"));
        let begun = self.pending.pop().expect("a session");
        self.kept = Some((begun.kind, begun.options.clone()));
        self.is_untidy = true;
        began_later(&self.host);
        let edits = if self.dice.chance(40) { 0 } else { self.dice.number(4) };
        self.edit(edits);
        if self.dice.chance(75) {
            let is_resumed = self.back_up_as(kind, &begun.options);
            // A copy of a database of SQLite is never gone on with.
            if bytes > 0 && edits == 0 && self.bank.is_none() {
                assert_ne!(is_resumed, Some(false), "what was read is read again");
            }
        }
    }

    fn is_killed(&mut self) {
        self.is_untidy = true;
        if self.dice.chance(70) {
            began_later(&self.host);
            self.tell("it began later");
        }
    }
}
