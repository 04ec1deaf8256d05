//! Several commands at once on one repository, from two state directories: each works, or says who is in its way.

use super::prune::Policy;
use super::{History, with};
use crate::common::Ran;

/// A command that ran beside others.
struct Beside {
    arguments: Vec<String>,
    /// The backup that it names.
    named: Option<String>,
    /// Of a restore: what it restored, and whereto.
    restored: Option<(String, String)>,
}

impl History {
    pub fn together(&mut self) {
        self.heal();
        let mut commands = Vec::new();
        let mut prune: Option<Policy> = None;
        let mut places = vec!["state", "second"]; // a storage has one session in each
        let count = 2 + self.dice.number(2);
        for number in 0..count {
            let command = self.beside(number, &mut prune, &mut places);
            commands.extend(command);
        }
        let told: Vec<String> = commands.iter().map(|command| command.arguments.join(" ")).collect();
        self.tell(format!("at once: {}", told.join(" | ")));
        let running: Vec<_> = commands.iter().map(|command| self.host.start(&command.arguments)).collect();
        let ran: Vec<Ran> = running.into_iter().map(crate::common::Running::wait).collect();
        self.met.at_once += 1;
        for id in self.appeared() {
            self.learn_one(&id, false);
        }
        self.pending.clear();
        let standing = self.host.backups("repo");
        for (command, ran) in commands.iter().zip(&ran) {
            self.is_answered(command, ran, prune.is_some(), &standing);
        }
        if let Some(policy) = &prune {
            let must_stay = self.must_stay(policy, false);
            let gone = self.forget(&must_stay);
            self.tell(format!("gone are {gone:?}"));
        }
        assert!(self.host.session_folders_in("second").is_empty());
        // The partial of one was none of the other's business; whoever comes next finds nothing to do.
        assert!(self.host.session_folders().is_empty());
        if self.kept.is_none() && !self.is_untidy {
            self.host.is_tidy("repo");
        }
    }

    fn beside(&mut self, number: u32, prune: &mut Option<Policy>, places: &mut Vec<&str>) -> Option<Beside> {
        let plain = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            Some(Beside { arguments, named: None, restored: None })
        };
        let id = self.dice_of_made(|made| made.was.is_some()).map(|made| made.id.clone())?;
        match self.dice.number(12) {
            0..3 => {
                let place = places.pop()?;
                let (kind, options) = self.terms();
                if self.lacks_parent(kind) {
                    return None;
                }
                let options = self.begins(kind, &options, true);
                let arguments = with(&["--state-dir", place, "backup", "app", "--to", "repo", "--json"], &options);
                Some(Beside { arguments, named: None, restored: None })
            }
            3..6 if prune.is_none() => {
                let policy = self.policy();
                let arguments = with(&["--state-dir", "second", "prune", "repo", "--yes"], &policy.options);
                *prune = Some(policy);
                Some(Beside { arguments, named: None, restored: None })
            }
            6 => plain(&["verify", "repo"]),
            7 => plain(&["list", "repo"]),
            8 => Some(Beside { named: Some(id.clone()), ..plain(&["show", "repo", &id, "--files"])? }),
            9 => Some(Beside { named: Some(id.clone()), ..plain(&["consolidate", "repo", &id])? }),
            _ => {
                let out = format!("out-{number}");
                let arguments = ["restore", "repo", &id, "--into", &out].map(str::to_owned).to_vec();
                Some(Beside { arguments, named: Some(id.clone()), restored: Some((id, out)) })
            }
        }
    }

    /// Demands that a command worked, or named who is in its way.
    fn is_answered(&mut self, command: &Beside, ran: &Ran, is_pruned: bool, standing: &[String]) {
        let told = format!("{} exits {:?}:\n{}\n{}", command.arguments.join(" "), ran.code, ran.stdout, ran.stderr);
        // Who comes after the prune is told what anybody is told who names what is not there.
        let is_gone = command.named.as_ref().is_some_and(|id| !standing.contains(id));
        if ran.code == Some(2) && is_gone && ran.stderr.contains("holds no backup") {
            return;
        }
        if ran.code == Some(5) {
            self.met.refused += 1;
            let said = format!("{}{}", ran.stdout, ran.stderr);
            let names = [" by ", "prune", "meanwhile"].iter().any(|word| said.contains(word));
            // A full that a newer copy makes needless may go, and then nothing is left to build on.
            let is_orphaned = is_pruned && said.contains("full");
            assert!(names || is_orphaned, "{told}");
            self.tell(format!("refused: {}", said.lines().last().unwrap_or_default()));
            return;
        }
        assert_eq!(ran.code, Some(0), "{told}");
        if let Some((id, out)) = &command.restored {
            self.is_restored(id, out);
        }
        if command.arguments.contains(&"backup".to_owned()) {
            let id = ran.summary()["id"].as_str().expect("an id").to_owned();
            assert!(self.find(&id).is_some() || is_pruned, "{id} does not stand");
        }
    }
}
