//! What a plan rests on, gathered from a repository.

use std::collections::{HashMap, HashSet};

use super::plan::{Fact, Told};
use crate::error::Result;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::chain::chain_among;
use crate::repository::manifest::Manifest;
use crate::repository::verified::Verified;

impl Repository {
    /// All backups and what is known of them, oldest first.
    pub fn prune_facts(&self) -> Result<(Vec<Backup>, Vec<Fact>)> {
        let backups = self.backups()?;
        let verified: HashMap<&str, Verified> =
            backups.iter().filter_map(|backup| Some((backup.id.text.as_str(), self.verified(backup)?))).collect();
        let damaged: HashSet<&str> =
            verified.iter().filter(|(_, verified)| verified.damages > 0).map(|(id, _)| *id).collect();
        let times: HashMap<&str, jiff::Timestamp> = backups
            .iter()
            .filter_map(|backup| Some((backup.id.text.as_str(), backup.manifest.as_ref().ok()?.ended)))
            .collect();
        let fact = |backup: &Backup| {
            let labels = self.labels(backup);
            let told = backup.manifest.as_ref().ok().map(|manifest| {
                let chain = chain_among(backup, &backups);
                let whole =
                    chain.is_ok_and(|chain| !chain.parts().iter().any(|part| damaged.contains(part.id.as_str())));
                let was_read = verified.contains_key(backup.id.text.as_str()) || manifest.proven;
                told(manifest, whole, whole && was_read, &times)
            });
            Fact {
                id: backup.id.clone(),
                state: backup.state(),
                told,
                pinned: labels.pinned.then(|| labels.reason.clone().unwrap_or_default()),
                tags: labels.tags,
                in_use: None,
            }
        };
        let facts = backups.iter().map(fact).collect();
        Ok((backups, facts))
    }
}

fn told(manifest: &Manifest, whole: bool, verified: bool, times: &HashMap<&str, jiff::Timestamp>) -> Told {
    // One that was put together from an older one is as old as that one.
    let time = match &manifest.consolidates {
        Some(link) => times.get(link.id.as_str()).copied().unwrap_or(manifest.began),
        None => manifest.ended,
    };
    Told {
        kind: manifest.kind,
        completed: manifest.outcome == crate::session::event::Outcome::Completed,
        time,
        parent: manifest.parent.as_ref().map(|link| link.id.clone()),
        consolidates: manifest.consolidates.as_ref().map(|link| link.id.clone()),
        bytes_stored: manifest.bytes_stored,
        whole,
        verified,
    }
}
