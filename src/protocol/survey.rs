//! The survey of a storage: what a session reads of it, and what of that is compared with the backup it builds on.

use std::collections::HashSet;

use super::begin::Options;
use super::compare::{Compared, Comparison};
use super::parent::Parent;
use super::spool::Spool;
use super::unchanged;
use super::{Observer, Silent, Warning};
use crate::engine::ese::facts::Facts;
use crate::engine::{Engine, Entry, LeftOut, Notice, Role, Surveyed};
use crate::error::{Result, printable};
use crate::repository::manifest::Changes;
use crate::roots::Roots;
use crate::session::directory::StateDirectory;
use crate::session::event::Kind;
use crate::session::record::Counts;
use crate::stream::stop::StopToken;

/// Names of one file that come apart, as far as each is told; memory has a bound.
const PARTED_NAMED_MAX: usize = 100;

/// What a storage holds.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Entries of the database list, directories and links included; what is unchanged since the parent is in no list.
    pub entries: u64,
    /// Files with content in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Logs of this moment.
    pub logs: u64,
    /// Their bytes.
    pub logs_bytes: u64,
    /// Space that all of it takes, holes not counted, in bytes.
    pub allocated: u64,
    /// What is left out though nobody asked for that, and why.
    pub left_out: Vec<LeftOut>,
    /// Names of one file that are stored as files of their own, and why.
    pub parted: Vec<LeftOut>,
    /// How many more there are.
    pub more_parted: u64,
    /// How many entries, or directories with all below them, are left out as asked.
    pub excluded: u64,
    /// The patterns that leave nothing out, by their numbers, where that is known.
    pub unused_patterns: Option<Vec<usize>>,
    /// What is known of an instance of the Extensible Storage Engine.
    pub instance: Option<Facts>,
    /// The backup that this one would build on, by its id, and what of it is taken as unchanged.
    pub parent: Option<(String, Counts)>,
    /// The kind that the backup is, or would be: another one than was asked for where the storage was rolled back.
    pub kind: Option<Kind>,
}

/// Which entries of a storage a session reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them.
    Everything,
    /// Only what can be streamed: without a repository there is no place for directories and links.
    Content,
}

/// What is looked for in a storage, and what it is compared with.
pub(super) struct Look<'a> {
    pub(super) state: Option<&'a StateDirectory>,
    pub(super) options: &'a Options,
    pub(super) roots: Roots,
    pub(super) parent: Option<&'a Parent>,
    pub(super) wanted: Wanted,
}

impl Look<'_> {
    /// Surveys a storage, and writes what is to be read into the plan.
    pub(super) fn survey(
        &self,
        engine: &dyn Engine,
        observer: &mut dyn Observer,
        stop: &StopToken,
        mut plan: Option<&mut Spool>,
    ) -> Result<(Survey, Option<Compared>)> {
        let mut wanted = HashSet::new();
        let found = self.survey_reading(engine, observer, stop, plan.as_deref_mut(), &mut wanted)?;
        if wanted.is_empty() {
            return Ok(found);
        }
        // Names of one file would come apart, which is known only behind the first of them: once more, with that one read.
        drop(found);
        if let Some(plan) = &mut plan {
            **plan = plan.another()?;
        }
        self.survey_reading(engine, &mut Silent, stop, plan, &mut wanted)
    }

    /// Surveys a storage; files in `wanted` are read whatever they seem to be, and those that should be are left in it.
    fn survey_reading(
        &self,
        engine: &dyn Engine,
        observer: &mut dyn Observer,
        stop: &StopToken,
        mut plan: Option<&mut Spool>,
        wanted: &mut HashSet<u64>,
    ) -> Result<(Survey, Option<Compared>)> {
        let mut survey = Survey { kind: Some(self.options.kind), ..Survey::default() };
        let terms = unchanged::Terms {
            ignore_metadata: self.options.ignore_metadata,
            carries_databases: self.parent.is_some_and(|parent| parent.changes == Changes::Logs),
        };
        let read = std::mem::take(wanted);
        let begin = |parent: &Parent| Comparison::begin(parent, self.roots.clone(), terms, self.state, read);
        let mut comparison = self.parent.map(begin).transpose()?;
        engine.survey(stop, &mut |found| {
            let Some(entry) = self.note(found, &mut survey, observer) else { return Ok(()) };
            let entry = match &mut comparison {
                Some(comparison) => comparison.meet(entry)?,
                None => Some(entry),
            };
            let Some(entry) = entry else { return Ok(()) };
            survey.entries += 1;
            if entry.role.is_file() {
                survey.files += 1;
                survey.bytes = survey.bytes.saturating_add(entry.bytes_to_read());
                survey.allocated = survey.allocated.saturating_add(entry.allocated.min(entry.bytes_to_read()));
            }
            plan.as_mut().map_or(Ok(()), |plan| plan.write_entry(&entry))
        })?;
        if survey.more_parted > 0 {
            let message = format!("{} more names of files are stored as files of their own", survey.more_parted);
            observer.warning(&Warning { jet: None, message, file: None });
        }
        *wanted = comparison.as_mut().map(Comparison::torn).unwrap_or_default();
        let compared = match (comparison, self.parent) {
            (Some(comparison), Some(parent)) => Some(comparison.finish(parent, plan)?),
            _ => None,
        };
        if let Some((compared, parent)) = compared.as_ref().zip(self.parent) {
            survey.parent = Some((parent.backup.id.text.clone(), compared.unchanged));
            if compared.is_out_of_order {
                let message =
                    format!("the files of {} are listed in another order: all are read", parent.backup.id.text);
                observer.warning(&Warning { jet: None, message, file: None });
            }
        }
        let logs = engine.list_logs(stop)?;
        survey.logs = logs.iter().filter(|entry| entry.role == Role::Log).count() as u64;
        survey.logs_bytes = logs.iter().fold(0, |sum, log| log.size.saturating_add(sum));
        survey.allocated = logs.iter().fold(survey.allocated, |sum, log| log.allocated.saturating_add(sum));
        Ok((survey, compared))
    }

    /// Takes note of what a survey found; an entry that is wanted is handed back.
    fn note(&self, found: Surveyed, survey: &mut Survey, observer: &mut dyn Observer) -> Option<Entry> {
        match found {
            Surveyed::Entry(entry) if self.wanted == Wanted::Everything => return Some(entry),
            // Every name is streamed.
            Surveyed::Entry(entry) => return entry.role.is_file().then_some(Entry { hard_link: None, ..entry }),
            Surveyed::LeftOut(one) => survey.left_out.push(one),
            Surveyed::Notice(Notice { jet, message, file }) => {
                observer.warning(&Warning { jet, message, file: Some(file) });
            }
            Surveyed::Parted(..) if self.wanted == Wanted::Content => {}
            Surveyed::Parted(name, first) if survey.parted.len() < PARTED_NAMED_MAX => {
                let (name_text, first_text) = (printable(&name), printable(&first));
                survey.parted.push(LeftOut::new(&name, format!("another name of {first_text}")));
                let message = format!(
                    "{name_text} and {first_text} are names of one file, and one of them is a log: each is stored, and \
                     will be restored, as a file of its own"
                );
                observer.warning(&Warning { jet: None, message, file: Some(name) });
            }
            Surveyed::Parted(..) => survey.more_parted += 1,
            Surveyed::Instance(facts) => survey.instance = Some(*facts),
            Surveyed::UnusedPatterns(numbers) => survey.unused_patterns = Some(numbers),
            Surveyed::Excluded(name, why) => {
                survey.excluded += 1;
                observer.decided(&format!("left out as asked: {} ({why})", printable(&name)));
            }
        }
        None
    }
}
