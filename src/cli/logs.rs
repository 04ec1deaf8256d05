//! `jetbak logs`

use indicatif::BinaryBytes;
use serde_json::{Value, json};

use super::args::LogsArgs;
use super::signal_token;
use super::summary::count;
use crate::engine::ese::deletion::story_of;
use crate::engine::ese::fields::Generation;
use crate::engine::ese::instance::Options;
use crate::engine::ese::log_story::{LogStory, Told};
use crate::engine::ese::ranges::span;
use crate::engine::ese::truncation::{Anchor, Backup, Decided, Fate, Needs, Reason, Situation, decide};
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::repository::Repository;
use crate::ui::table::{Align, table};
use crate::ui::{Ui, json as objects};

/// How many reasons stand in a line for people; JSON has all.
const REASONS_SHOWN_MAX: usize = 4;

pub fn run(args: &LogsArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let options =
        Options { base: args.base.clone(), log_directory: args.log_dir.clone(), checkpoint: args.checkpoint.clone() };
    let stop = signal_token()?;
    let story = story_of(&args.storage, &options, &stop)?;
    let history = match (&args.repository, story.signature) {
        (Some(repository), Some(signature)) => Repository::open(repository)?.log_history(&signature.to_hex())?,
        (Some(repository), None) => Repository::open(repository).map(|_| Vec::new())?,
        (None, _) => Vec::new(),
    };
    let asked = Asked { args, decided: decide(&story.situation, &history, None), story, history };
    if ui.is_json() {
        ui.json(asked.to_json(args));
    } else {
        asked.show(ui);
    }
    Ok(ExitCode::Done)
}

/// The logs of a storage, and what was decided about each.
struct Asked<'a> {
    args: &'a LogsArgs,
    story: LogStory,
    history: Vec<Backup>,
    decided: Vec<Decided>,
}

impl Asked<'_> {
    fn show(&self, ui: &mut Ui) {
        let columns = [
            ("generation", Align::Left),
            ("size", Align::Right),
            ("created", Align::Left),
            ("", Align::Left),
            ("why", Align::Left),
        ];
        let row = |(log, decided): (&Told, Option<&Decided>)| {
            let fate = if is_deletable(decided) { "can go" } else { "stays" };
            vec![
                log.generation.map_or_else(|| "?".to_owned(), |generation| generation.to_string()),
                BinaryBytes(log.size).to_string(),
                log.created.map_or_else(|| "?".to_owned(), |created| created.to_string()),
                fate.to_owned(),
                in_short(&self.reasons(log, decided)),
            ]
        };
        let rows: Vec<_> = self.story.with(&self.decided).map(row).collect();
        if !rows.is_empty() {
            for line in table(&columns, &rows) {
                ui.line(&line);
            }
        }
        for line in self.summary() {
            ui.line(&line);
        }
    }

    fn to_json(&self, args: &LogsArgs) -> serde_json::Map<String, Value> {
        let log = |(log, decided): (&Told, Option<&Decided>)| {
            let mut fields = objects::object(json!({
                "generation": log.generation.map(|generation| generation.0),
                "size": log.size,
                "created": log.created.filter(|created| !created.is_unset()).map(|created| created.to_string()),
                "current": log.is_current,
                "deletable": is_deletable(decided),
                "held_by": holder(decided, false),
                "superseded_by": holder(decided, true),
                "reasons": self.reasons(log, decided),
            }));
            paths::insert(&mut fields, "path", log.path.strip_prefix(&args.storage).unwrap_or(&log.path));
            Value::Object(fields)
        };
        let (deletable, bytes) = self.sum(&self.decided);
        let (later, later_bytes) = self.sum(&self.after_a_full());
        let mut fields = objects::object(json!({
            "type": "logs",
            "signature": self.story.signature.map(|signature| signature.to_hex()),
            "checkpoint": match self.story.situation.checkpoint {
                Some(Anchor::At(generation)) => Some(generation.0),
                _ => None,
            },
            "logs": self.story.with(&self.decided).map(log).collect::<Vec<_>>(),
            "missing": self.story.gaps.iter().map(|(low, high)| [low.0, high.0]).collect::<Vec<_>>(),
            "deletable": deletable,
            "deletable_bytes": bytes,
            "deletable_after_full": later,
            "deletable_after_full_bytes": later_bytes,
            "summary": self.summary().join(" "),
        }));
        paths::insert(&mut fields, "storage", &args.storage);
        fields
    }

    /// How many logs may go, and their bytes.
    fn sum(&self, decided: &[Decided]) -> (u64, u64) {
        let going = self.story.with(decided).filter(|(_, decided)| is_deletable(*decided));
        going.fold((0, 0), |(logs, bytes), (log, _)| (logs + 1, log.size.saturating_add(bytes)))
    }

    /// What would be decided if a full backup were published and proven now.
    fn after_a_full(&self) -> Vec<Decided> {
        let mut history = self.history.clone();
        history.extend(full_of(&self.story.situation));
        decide(&self.story.situation, &history, None)
    }

    /// What it comes to, in plain words.
    fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (low, high) in &self.story.gaps {
            lines.push(format!("The logs {} are not there.", span(*low, *high)));
        }
        if self.story.logs.is_empty() {
            lines.push("There are no logs.".to_owned());
            return lines;
        }
        let size: u64 = self.story.logs.iter().fold(0, |sum, log| log.size.saturating_add(sum));
        let all = format!("{} ({})", count(self.story.logs.len() as u64, "log"), BinaryBytes(size));
        let (now, now_bytes) = self.sum(&self.decided);
        let (later, later_bytes) = self.sum(&self.after_a_full());
        let how = "`jetbak backup --truncate`";
        lines.push(if now > 0 {
            let all_of_it = "the next {how} deletes them".replace("{how}", how);
            let more = later.saturating_sub(now);
            let more_of_it = if more > 0 {
                format!(", and {more} more ({})", BinaryBytes(later_bytes.saturating_sub(now_bytes)))
            } else {
                String::new()
            };
            format!("{now} of {all} can go, {}: {all_of_it}{more_of_it}.", BinaryBytes(now_bytes))
        } else if later > 0 {
            let known = match &self.args.repository {
                Some(_) => "no backup makes them needless yet",
                None => "no repository was named",
            };
            format!(
                "None of {all} can go: {known}. A full backup with --truncate would delete {} ({}).",
                count(later, "log"),
                BinaryBytes(later_bytes)
            )
        } else {
            let why = self.decided.first().and_then(|oldest| oldest.reasons.iter().find(|reason| reason.keeps()));
            let why = match (why, self.story.situation.has_doubtful_logs) {
                (_, true) => "there are logs that cannot be believed".to_owned(),
                (Some(reason), _) => format!("not even the oldest ({})", self.reason(reason)),
                (None, _) => "none of them can be read".to_owned(),
            };
            format!("None of {all} can go, nor would a backup change that: {why}.")
        });
        lines
    }

    fn reasons(&self, log: &Told, decided: Option<&Decided>) -> Vec<String> {
        let doubt = log.doubt.iter().map(|(jet, why)| format!("{why} [{}, {}]", jet.symbol(), jet.number()));
        let reasons = || decided.into_iter().flat_map(|decided| &decided.reasons);
        // That an older log stays is worth a word only where nothing else speaks for this one.
        let is_above = |reason: &&Reason| matches!(reason, Reason::AboveKept(_));
        let is_kept_anyway = reasons().any(|reason| reason.keeps() && !is_above(&reason));
        let telling = reasons().filter(|reason| !(is_kept_anyway && is_above(reason)));
        doubt.chain(telling.map(|reason| self.reason(reason))).collect()
    }

    fn reason(&self, reason: &Reason) -> String {
        let database = |index: &usize| match self.story.situation.databases.get(*index) {
            Some(database) => (printable(&database.key.path), Some(&database.needs)),
            None => ("a database".to_owned(), None),
        };
        match reason {
            Reason::Current => "the current log".to_owned(),
            Reason::BelowCheckpoint(checkpoint) => format!("below checkpoint {checkpoint}"),
            Reason::NotBelowCheckpoint(checkpoint) => format!("not below checkpoint {checkpoint}"),
            Reason::NoCheckpoint(Anchor::Damaged) => "the checkpoint is damaged".to_owned(),
            Reason::NoCheckpoint(Anchor::Foreign) => "the checkpoint is of another stream".to_owned(),
            Reason::NoCheckpoint(_) => "there is no checkpoint".to_owned(),
            Reason::RequiredBy(index) => match database(index) {
                (name, Some(Needs::Logs(low, high))) => format!("required by {name} ({})", span(*low, *high)),
                (name, _) => format!("required by {name}"),
            },
            Reason::AfterRequired(index) => format!("follows what {} requires", database(index).0),
            Reason::UnknownNeeds(index) => match database(index) {
                (name, Some(Needs::Unknown(why))) => format!("{name} may need it: {why}"),
                (name, _) => format!("{name} may need it"),
            },
            Reason::NeededAtBegin(generation) => format!("needed from {generation} on when the backup began"),
            Reason::SupersededBy(sequence) => format!("superseded by backup {sequence}"),
            Reason::HeldBy(sequence) => format!("held by backup {sequence}"),
            Reason::NotCovered(index, end) => {
                format!("the backups that hold {} end with log {end}", database(index).0)
            }
            Reason::NeverBackedUp(index) if self.args.repository.is_some() => {
                format!("{} is in no full backup that was proven", database(index).0)
            }
            Reason::NeverBackedUp(index) => format!("no backup of {} is known", database(index).0),
            Reason::NoDatabase => "no database of its stream is in the storage".to_owned(),
            Reason::DoubtfulLogs => "there are logs that cannot be believed".to_owned(),
            Reason::AboveKept(generation) => format!("{generation} stays as well"),
        }
    }
}

/// The first few of many reasons.
fn in_short(reasons: &[String]) -> String {
    let (first, more) = reasons.split_at(reasons.len().min(REASONS_SHOWN_MAX));
    if more.is_empty() { first.join("; ") } else { format!("{}; and {} more", first.join("; "), more.len()) }
}

fn is_deletable(decided: Option<&Decided>) -> bool {
    decided.is_some_and(|decided| decided.fate != Fate::Kept)
}

/// The backup that makes a log needless, in one way or the other.
fn holder(decided: Option<&Decided>, is_superseding: bool) -> Option<u64> {
    decided.into_iter().flat_map(|decided| &decided.reasons).find_map(|reason| match reason {
        Reason::SupersededBy(sequence) if is_superseding => Some(*sequence),
        Reason::HeldBy(sequence) if !is_superseding => Some(*sequence),
        _ => None,
    })
}

/// The full backup that could be made now.
fn full_of(situation: &Situation) -> Option<Backup> {
    let current = situation.logs.iter().map(|log| log.generation).max()?;
    let Some(Anchor::At(checkpoint)) = situation.checkpoint else { return None };
    let required = situation.databases.iter().filter_map(|database| match database.needs {
        Needs::Logs(low, _) => Some(low),
        _ => None,
    });
    let first: Generation = required.chain([checkpoint, current]).min()?;
    Some(Backup {
        sequence: u64::MAX,
        is_full: true,
        is_proven: true,
        logs: Some((first, current)),
        databases: situation.databases.iter().map(|database| database.key.clone()).collect(),
    })
}
