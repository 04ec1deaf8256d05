//! How far an instance has come, by what its headers say, and how far it had come by what a backup has kept of them.

use super::engine::EseEngine;
use super::facts::{DatabaseFacts, Facts};
use super::fitness::chain;
use super::judge::{Inside, judge_instance};
use super::recognise::Content;
use crate::engine::milestones::{Measure, Milestone};
use crate::error::Result;
use crate::stream::stop::StopToken;

impl Facts {
    /// How far it had come when the session began; `last_log` is the last generation that its backup holds.
    pub fn milestones(&self, last_log: Option<u32>) -> Vec<Milestone> {
        let of_stream = |measure, value: Option<u32>| {
            let (signature, value) = (self.log_signature.clone()?, u64::from(value?));
            Some(Milestone { measure, signature, value })
        };
        let of_database = |database: &DatabaseFacts| {
            let measure = Measure::Dbtime(database.file.path());
            let value = database.dbtime.filter(|_| !database.engine_copy)?;
            Some(Milestone { measure, signature: database.signature.clone(), value })
        };
        let logs = [of_stream(Measure::Generation, last_log), of_stream(Measure::Checkpoint, self.checkpoint)];
        logs.into_iter().flatten().chain(self.databases.iter().filter_map(of_database)).collect()
    }
}

impl EseEngine {
    /// How far the instance is now, whether it is fit or not.
    pub(super) fn milestones_now(&self, stop: &StopToken) -> Result<Vec<Milestone>> {
        let instance = self.instance(stop)?;
        let signature = judge_instance(&instance, &vec![Inside::default(); instance.databases.len()]).signature;
        let known = signature.filter(|known| !known.is_unset());
        let of_stream = |measure, value: u32| {
            let signature = known.as_ref()?.to_hex();
            Some(Milestone { measure, signature, value: value.into() })
        };
        let newest = chain(&instance, signature.as_ref()).map(|(generation, _)| generation.0).max();
        let checkpoint = match instance.checkpoint.as_ref().map(|found| &found.content) {
            Some(Content::Checkpoint(checkpoint, _)) if Some(&checkpoint.log_signature) == known.as_ref() => {
                Some(checkpoint.position.generation.0)
            }
            _ => None,
        };
        let mut all: Vec<_> = newest.and_then(|newest| of_stream(Measure::Generation, newest)).into_iter().collect();
        all.extend(checkpoint.and_then(|generation| of_stream(Measure::Checkpoint, generation)));
        all.extend(instance.headers().filter(|(_, header)| !header.is_backup_copy()).map(|(found, header)| {
            Milestone {
                measure: Measure::Dbtime(self.relative(&found.path)),
                signature: header.signature.to_hex(),
                value: header.dbtime,
            }
        }));
        Ok(all)
    }
}
