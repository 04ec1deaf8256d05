//! prune: plans which backups go, and takes them away one by one, so that at every moment each listed backup is whole.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::Observer;
use super::heal::{self, Fate};
use crate::error::{Result, printable};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::holder;
use crate::repository::manifest::BackupId;
use crate::repository::partial::{Found, Owner, Partial};
use crate::repository::prune::plan::{self, Fact, Policy, Reason, Verdict};
use crate::repository::prune::trash::{Amount, amount};
use crate::session::Session;
use crate::session::directory::StateDirectory;
use crate::stream::stop::StopToken;
use crate::times;

/// What to do after an error in the middle.
const REPEAT_HINT: &str = "Every backup that is listed is whole. Repeat `jetbak prune`: it ends what was begun.";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is to stay.
    pub policy: Policy,
    /// Discard also partials from which the next backup would go on.
    pub discard_partials: bool,
    /// The time zone of hours, days, weeks, months and years.
    pub zone: TimeZone,
}

/// What there is, what is to become of it, and what became of it.
#[derive(Debug)]
pub struct Outlook {
    /// The backups, oldest first.
    pub backups: Vec<Backup>,
    /// What is known of each.
    pub facts: Vec<Fact>,
    /// What is to become of each.
    pub verdicts: Vec<Verdict>,
    /// The ids of those that were taken away, in that order.
    pub removed: Vec<String>,
    /// What sessions are writing or have left.
    pub partials: Vec<Left>,
    /// What interrupted prunes and discards left: what it was, and how much of it there is.
    pub trash: Vec<(String, Amount)>,
    /// The sessions whose partials stay and build on a backup, with its id.
    builders: Vec<(String, String)>,
    now: jiff::Timestamp,
}

/// What a session is writing, or has left.
#[derive(Debug)]
pub struct Left {
    /// The session's id.
    pub session: String,
    /// The storage that it read, where that can be told.
    pub storage: Option<PathBuf>,
    /// What lies in it.
    pub amount: Amount,
    /// Why it stays; none where it goes.
    pub stays: Option<&'static str>,
    partial: Partial,
}

impl Outlook {
    /// Plans, and changes nothing. What is being read just now is found out as well.
    pub fn new(
        repository: &Repository,
        state: &StateDirectory,
        asked: &Asked,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let mut outlook = Self::gather(repository, state, asked, observer)?;
        for at in plan::in_turn(&outlook.facts, &outlook.verdicts) {
            let held = repository.store().try_hold(&outlook.backups[at].folder(), true);
            // One that goes at this moment, or that cannot be opened, is told when it comes to that.
            if matches!(held, Ok(None)) {
                outlook.is_busy(repository, at);
            }
        }
        outlook.decide(asked);
        Ok(outlook)
    }

    /// Plans under the lock of the repository, and does it: one rename a backup, each before what it builds on. What is
    /// being read stays, with what it builds on. Then the lock goes, and what was taken away is deleted.
    ///
    /// An error leaves what was taken away as trash, which the next run deletes.
    pub fn act(
        repository: &Repository,
        state: &StateDirectory,
        asked: &Asked,
        observer: &mut dyn Observer,
        stop: &StopToken,
    ) -> Result<Self> {
        let lock = repository.lock(stop).map_err(|error| repository.explain(error))?;
        let mut outlook = Self::gather(repository, state, asked, observer)?;
        let done = outlook.take_away(repository, asked, observer, stop);
        drop(lock);
        done.map_err(|error| repository.explain(error.hint(REPEAT_HINT)))?;
        for (swept, what) in [(repository.sweep_verified(), "verifications"), (repository.sweep_labels(), "tags")] {
            if let Err(error) = swept {
                observer
                    .decided(&format!("left what interrupted changes of {what} may have left: {}", error.message()));
            }
        }
        repository.empty_trash().map_err(|error| repository.explain(error.hint(REPEAT_HINT)))?;
        Ok(outlook)
    }

    /// The bytes that those take which go.
    pub fn bytes_going(&self) -> u64 {
        let going = self.facts.iter().zip(&self.verdicts).filter(|(_, verdict)| !verdict.keep);
        going.filter_map(|(fact, _)| fact.told.as_ref()).fold(0, |sum, told| sum.saturating_add(told.bytes_stored))
    }

    /// How many go.
    pub fn going(&self) -> usize {
        self.verdicts.iter().filter(|verdict| !verdict.keep).count()
    }

    /// Those that stay only because somebody reads them: the id, and who does.
    pub fn in_use(&self) -> Vec<(&str, &str)> {
        let holder = |reason: &'_ Reason| matches!(reason, Reason::InUse(_));
        let busy = self.facts.iter().zip(&self.verdicts).filter(|(_, verdict)| verdict.reasons.iter().any(holder));
        busy.map(|(fact, _)| (fact.id.text.as_str(), fact.in_use.as_deref().unwrap_or_default())).collect()
    }

    fn gather(
        repository: &Repository,
        state: &StateDirectory,
        asked: &Asked,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        tell_of_foreign(repository, observer)?;
        let (backups, facts) = repository.prune_facts()?;
        let mut outlook = Self {
            backups,
            facts,
            verdicts: Vec::new(),
            removed: Vec::new(),
            partials: Vec::new(),
            trash: Vec::new(),
            builders: Vec::new(),
            now: times::now(),
        };
        outlook.look_at_partials(repository, state, asked)?;
        for trash in repository.trash()? {
            outlook.trash.push((trash.was, amount(&**repository.store(), &trash.folder)));
        }
        outlook.decide(asked);
        Ok(outlook)
    }

    fn decide(&mut self, asked: &Asked) {
        self.verdicts = plan::plan(&self.facts, &self.builders, &asked.policy, self.now, &asked.zone);
    }

    fn is_busy(&mut self, repository: &Repository, at: usize) {
        let folder = repository.store().local_path(&self.backups[at].folder());
        self.facts[at].in_use = Some(holder::describe(folder.as_deref()));
    }

    /// What sessions left, and which backups those need that stay.
    fn look_at_partials(&mut self, repository: &Repository, state: &StateDirectory, asked: &Asked) -> Result<()> {
        let mut going_on: Option<usize> = None;
        for found in repository.partials()? {
            // Where this cannot be told, somebody may live there.
            let fate = heal::fate(&found, state, false, &|| found.partial.has_no_owner());
            let stays = match fate {
                Ok(Fate::Dead | Fate::Kept) => None,
                Ok(Fate::Unclear(why)) => Some(why),
                Ok(Fate::Lives) => Some("somebody works in it"),
                Err(_) => Some("it cannot be told whether somebody works in it"),
            };
            let may_go_on = found.owner.as_ref().is_some_and(|owner| owner.terms.is_some()) && stays.is_none();
            let left = Left {
                session: found.name.clone(),
                storage: self.storage_of(&found),
                amount: amount(&**repository.store(), &found.partial.backup()),
                stays,
                partial: found.partial,
            };
            if let Some(parent) = found.owner.and_then(|owner: Owner| owner.parent).filter(|_| stays.is_some()) {
                self.builders.push((found.name.clone(), parent.id));
            }
            // The names begin with the time when the session began: the last of those is the newest.
            let is_newest = going_on.is_none_or(|at| self.partials[at].session < found.name);
            if may_go_on && left.amount.files > 0 && is_newest {
                going_on = Some(self.partials.len());
            }
            self.partials.push(left);
        }
        if let Some(left) = going_on.filter(|_| !asked.discard_partials).map(|at| &mut self.partials[at]) {
            left.stays = Some("the next backup goes on from it; --discard-partials removes it");
            let parent = left.partial.owner().and_then(|owner| owner.parent);
            self.builders.extend(parent.map(|parent| (left.session.clone(), parent.id)));
        }
        Ok(())
    }

    /// The storage that a session read: as it says itself, else that of the backups here.
    fn storage_of(&self, found: &Found) -> Option<PathBuf> {
        let session = found.owner.as_ref().and_then(Owner::state).and_then(|folder| Session::open(&folder).ok());
        let of_backups = || Some(self.backups.iter().rev().find_map(|backup| backup.manifest.as_ref().ok())?.storage());
        session.map(|session| session.record().storage()).or_else(of_backups)
    }

    fn take_away(
        &mut self,
        repository: &Repository,
        asked: &Asked,
        observer: &mut dyn Observer,
        stop: &StopToken,
    ) -> Result<()> {
        loop {
            let is_left = |at: &usize| !self.removed.contains(&self.backups[*at].id.text);
            let Some(at) = plan::in_turn(&self.facts, &self.verdicts).into_iter().find(is_left) else { break };
            stop.check()?;
            let backup = &self.backups[at];
            // Held alone until it is out of the way: whoever opens it later finds that its name is gone.
            let Some(_alone) = repository.store().try_hold(&backup.folder(), true)? else {
                self.is_busy(repository, at);
                self.decide(asked);
                continue;
            };
            repository.take_away(backup)?;
            observer.decided(&format!("took {} out of the list", backup.id.text));
            self.removed.push(backup.id.text.clone());
        }
        for left in self.partials.iter_mut().filter(|left| left.stays.is_none()) {
            stop.check()?;
            // A session that begins may be about to go on from it.
            match left.partial.try_hold()? {
                Some(_held) => drop(left.partial.take_away()?),
                None => left.stays = Some("somebody works in it"),
            }
        }
        Ok(())
    }
}

/// Says what stands among the backups and is none.
fn tell_of_foreign(repository: &Repository, observer: &mut dyn Observer) -> Result<()> {
    let folder = Path::new("backups");
    let items = repository.store().list(folder)?;
    for item in items.iter().filter(|item| item.name.to_str().and_then(BackupId::parse).is_none()) {
        let place = repository.store().describe(&folder.join(&item.name));
        observer.decided(&format!("left {} alone: it is no backup", printable(place)));
    }
    Ok(())
}
