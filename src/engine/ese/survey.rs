//! A first look at a storage or a file: what it is, what its headers say, and what there is to prove.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::check::{Job, Report, look_inside};
use super::fields::Generation;
use super::files::{Found, look};
use super::finding::{Finding, Kind};
use super::header::State;
use super::instance::{Instance, LogFile, Options};
use super::judge::{Inside, Judgement, judge_file, judge_instance, judge_named};
use super::log::LogHeader;
use super::patch::PatchPage;
use super::ranges::{Need, need};
use super::recognise::Content;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::stream::stop::StopToken;

/// A database, as a survey found it.
#[derive(Clone, Debug)]
pub struct Database {
    /// The file.
    pub found: Found,
    /// What was seen inside.
    pub inside: Inside,
    /// What it takes to use it.
    pub need: Need,
}

/// What was found, and what there is to prove.
#[derive(Debug, Default)]
pub struct Survey {
    /// The instance, where a storage was looked at.
    pub instance: Option<Instance>,
    /// What is wrong by the headers alone.
    pub findings: Vec<Finding>,
    /// The databases.
    pub databases: Vec<Database>,
    /// The runs of logs that are there.
    pub generations: Vec<(Generation, Generation)>,
    /// What there is to prove.
    pub jobs: Vec<Job>,
    /// How many files of the engine were looked at.
    pub files: u64,
}

impl Survey {
    /// Looks at a directory with the files of one instance.
    pub fn of_storage(root: &Path, options: &Options, stop: &StopToken) -> Result<Self> {
        let instance = Instance::discover(root, options, stop)?;
        if instance.is_empty() && instance.failed.is_empty() {
            let others = instance.foreign + instance.suspects.len() as u64;
            let message =
                format!("no file of the Extensible Storage Engine in {} ({others} other files)", printable(root));
            return Err(Error::new(ExitCode::Failed, message).hint("`jetbak inspect FILE` says what a file is."));
        }
        let mut survey = Self::default();
        for (path, error) in &instance.failed {
            survey.findings.push(unreadable(&Arc::from(path.as_path()), error));
        }
        let mut insides = Vec::new();
        for found in &instance.databases {
            let mut inside = survey.look(found);
            if inside.trailer.is_none() {
                inside.trailer = patch_beside(found, &instance);
            }
            insides.push(inside.clone());
            let map = flush_map_of(found, &instance);
            survey.judge(found, &inside, map);
        }
        let Judgement { findings, needs, generations, .. } = judge_instance(&instance, &insides);
        let logs = instance.stream.iter().flat_map(|stream| &stream.logs).map(|log| &log.found);
        let damaged = instance.damaged.iter().map(|(found, _)| found);
        let rest = logs.chain(&instance.checkpoint).chain(&instance.other_checkpoints);
        for found in rest.chain(&instance.flush_maps).chain(&instance.others).chain(damaged) {
            survey.judge(found, &Inside::default(), None);
        }
        survey.findings.extend(findings);
        let inside_and_need = insides.into_iter().zip(needs);
        survey.databases = instance
            .databases
            .iter()
            .zip(inside_and_need)
            .map(|(found, (inside, need))| Database { found: found.clone(), inside, need })
            .collect();
        survey.generations = generations;
        survey.instance = Some(instance);
        Ok(survey)
    }

    /// Looks at one file, on its own.
    pub fn of_file(path: &Path, stop: &StopToken) -> Result<Self> {
        let found = look(path, stop)?;
        let mut survey = Self::default();
        let inside = survey.look(&found);
        survey.judge(&found, &inside, None);
        survey.findings.extend(judge_named(&found));
        if let Content::Database(header, _) = &found.content {
            let need = need(header, inside.trailer.as_ref());
            survey.databases.push(Database { found, inside, need });
        }
        Ok(survey)
    }

    fn look(&mut self, found: &Found) -> Inside {
        let Content::Database(header, _) = &found.content else { return Inside::default() };
        look_inside(found, header).unwrap_or_else(|error| {
            self.findings.push(unreadable(&found.path, &error));
            Inside::default()
        })
    }

    fn judge(&mut self, found: &Found, inside: &Inside, flush_map: Option<Arc<Path>>) {
        self.files += 1;
        self.findings.extend(judge_file(found, inside));
        self.jobs.extend(Job::of(found, inside, flush_map));
    }

    /// How many bytes there are to prove.
    pub fn bytes(&self) -> u64 {
        self.jobs.iter().map(Job::bytes).sum()
    }

    /// The logs that a restore replays: from the lowest one that a database needs to the last one there is to need.
    pub fn logs_to_restore(&self) -> Option<(Generation, Generation)> {
        let needed = self.databases.iter().filter_map(|database| match database.need {
            Need::Logs(required) => Some((required.low, required.committed)),
            _ => None,
        });
        needed.reduce(|(low, high), (other_low, other_high)| (low.min(other_low), high.max(other_high)))
    }

    /// Compares what each log amounts to with what the next one recorded of it (§8.3); `reports` are those of all jobs.
    pub fn judge_links(&self, reports: &[Report]) -> Vec<Finding> {
        let Some(stream) = self.instance.as_ref().and_then(|instance| instance.stream.as_ref()) else {
            return Vec::new();
        };
        let mut logs: Vec<(&LogFile, &LogHeader)> =
            stream.logs.iter().filter_map(|log| Some((log, log.header()?))).collect();
        logs.sort_by_key(|(_, header)| header.generation);
        let accumulated: HashMap<&Path, Option<u64>> = reports
            .iter()
            .filter_map(|report| Some((&*self.jobs.get(report.job)?.path, report.log?.accumulated)))
            .collect();
        let accumulated_of = |log: &LogFile| accumulated.get(&*log.found.path).copied().flatten();
        let mut findings = Vec::new();
        for pair in logs.windows(2) {
            let ((before, earlier), (after, later)) = (pair[0], pair[1]);
            let follows = earlier.generation.next() == later.generation && earlier.signature == later.signature;
            let recorded = later.expected_of_previous().filter(|_| follows && earlier.has_segments());
            if let Some((recorded, accumulated)) = recorded.zip(accumulated_of(before))
                && recorded != accumulated
            {
                let message = "recorded another content of the log before it than that has";
                let jet = Jet::LogSequenceChecksumMismatch;
                let finding = Finding::damage(&after.found.path, Kind::LogChain, jet, message);
                findings.push(finding.sums(format!("{recorded:016x}"), format!("{accumulated:016x}")));
            }
        }
        findings
    }
}

fn unreadable(path: &Arc<Path>, error: &Error) -> Finding {
    Finding::new(path, Kind::Unreadable, super::finding::Weight::Failed, error.jet_code(), error.message())
}

/// What the patch file of a database says, which old engines keep beside the copy that their backup makes (§11).
pub(super) fn patch_beside(database: &Found, instance: &Instance) -> Option<PatchPage> {
    let Content::Database(header, _) = &database.content else { return None };
    let stem = database.path.file_stem()?;
    instance.others.iter().filter(|_| header.is_backup_copy()).find_map(|found| match &found.content {
        Content::PatchFile(page, size, _) => {
            let is_its = *size == header.page_size && page.signature == header.signature;
            let is_named = found.path.file_stem().is_some_and(|own| own.eq_ignore_ascii_case(stem));
            (is_its && is_named && found.path.parent() == database.path.parent()).then(|| (**page).clone())
        }
        _ => None,
    })
}

/// The flush map of a database, where both were closed in order: only then a difference means a lost write.
fn flush_map_of(database: &Found, instance: &Instance) -> Option<Arc<Path>> {
    let Content::Database(header, _) = &database.content else { return None };
    let map = instance.flush_maps.iter().find(|found| match &found.content {
        Content::FlushMap(map, _) => map.is_clean() && map.belongs_to(header),
        _ => false,
    });
    map.filter(|_| header.state == State::Clean).map(|found| Arc::clone(&found.path))
}
