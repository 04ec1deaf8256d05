//! `jetbak logs`

use indicatif::BinaryBytes;
use serde_json::{Value, json};

use super::args::LogsArgs;
use super::signal_token;
use super::summary::count;
use crate::engine::ese::deletion::story_of;
use crate::engine::ese::fields::Generation;
use crate::engine::ese::fitness::Range;
use crate::engine::ese::increment::join;
use crate::engine::ese::log_story::{LogStory, Told, subject};
use crate::engine::ese::ranges::span;
use crate::engine::ese::truncation::{Anchor, Backup, Decided, Fate, Needs, Reason, Situation, decide};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::paths;
use crate::repository::Repository;
use crate::session::event::Kind;
use crate::stream::stop::StopToken;
use crate::ui::table::{Align, table};
use crate::ui::{Ui, json as objects};

/// How many reasons stand in a line for people; JSON has all.
const REASONS_SHOWN_MAX: usize = 4;

pub fn run(args: &LogsArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let options = args.instance.options();
    let stop = signal_token()?;
    let (story, refused) = story_of(&args.storage, &options, &stop)?;
    let (mut history, mut doubts) = (Vec::new(), Vec::new());
    let mut next = None;
    if let Some(repository) = &args.repository {
        let repository = Repository::open(repository)?;
        next = Some(join_next(&repository, &story));
        if let Some(signature) = story.signature {
            history = repository.log_history(&signature.to_hex())?;
            doubts = story.trust(&mut history, None, &|sequence, present| repository.log_doubt(sequence, present))?;
        }
    }
    let decided = decide(&story.situation, &history, None);
    let asked = Asked { args, story, history, decided, doubts, next, refused };
    if ui.is_json() {
        ui.json(asked.to_json(args));
    } else {
        asked.show(ui);
    }
    Ok(ExitCode::Done)
}

/// The backup that an incremental one would follow now, by its id, and the logs that it would take.
fn join_next(repository: &Repository, story: &LogStory) -> Result<(String, Range)> {
    let kind = Kind::Incremental;
    let missing = || Error::jet(Jet::MissingFullBackup, "there is no complete full backup to follow");
    let newest = &mut || Ok(repository.newest_parent(kind)?.0);
    let (backup, _in_use) = repository.choose_held(&StopToken::never(), newest)?.ok_or_else(missing)?;
    let parent = repository.log_parent(&backup, &repository.chain(&backup)?, kind)?;
    let range = join(&parent, &story.now).map_err(|misjoin| misjoin.error(&parent))?;
    Ok((parent.backup, range))
}

/// The logs of a storage, and what was decided about each.
struct Asked<'a> {
    args: &'a LogsArgs,
    story: LogStory,
    history: Vec<Backup>,
    decided: Vec<Decided>,
    /// Backups that do not count, and why.
    doubts: Vec<(u64, String)>,
    /// What an incremental backup would take, where a repository was named.
    next: Option<Result<(String, Range)>>,
    /// Why a backup of the storage as it is would be refused.
    refused: Option<Error>,
}

impl Asked<'_> {
    fn show(&self, ui: &mut Ui) {
        let columns = [
            ("log", Align::Left),
            ("generation", Align::Left),
            ("size", Align::Right),
            ("created", Align::Left),
            ("fate", Align::Left),
            ("why", Align::Left),
        ];
        let row = |(log, decided): (&Told, Option<&Decided>)| {
            let fate = if is_deletable(decided) { "can go" } else { "stays" };
            let name = log.path.strip_prefix(&self.args.storage).unwrap_or(&log.path);
            vec![
                printable(name),
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
            "incremental": self.next.as_ref().map(|next| match next {
                Ok((parent, range)) => json!({ "parent": parent, "first": range.low.0, "last": range.high.0 }),
                Err(error) => json!({ "error": error.message(), "jet": error.jet_code().map(Jet::number) }),
            }),
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
            let there = subject(*low, *high);
            lines.push(format!("{}{} not there.", there[..1].to_uppercase(), &there[1..]));
        }
        for (sequence, why) in &self.doubts {
            lines.push(format!("Backup {sequence} makes no log needless: {why}."));
        }
        if self.story.logs.is_empty() {
            lines.push("There are no logs.".to_owned());
            return lines;
        }
        let size: u64 = self.story.logs.iter().fold(0, |sum, log| log.size.saturating_add(sum));
        let all = format!("{} ({})", count(self.story.logs.len() as u64, "log"), BinaryBytes(size));
        let (now, now_bytes) = self.sum(&self.decided);
        let (later, later_bytes) = self.sum(&self.after_a_full());
        // A database that was not shut down is backed up as a snapshot only.
        let is_dirty = self.story.situation.databases.iter().any(|it| matches!(it.needs, Needs::Logs(..)));
        let option = if is_dirty { "--snapshot --truncate" } else { "--truncate" };
        let how = format!("`jetbak backup {option}`");
        lines.push(if now > 0 {
            let all_of_it = format!("the next {how} deletes them");
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
                "None of {all} can go: {known}. A full backup with {option} would delete {} ({}){}.",
                count(later, "log"),
                BinaryBytes(later_bytes),
                self.refused
                    .as_ref()
                    .map_or_else(String::new, |error| format!(", but it would be refused now: {}", error.message()))
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
        lines.extend(self.next.as_ref().map(|next| match next {
            Ok((_, Range { low, high })) => {
                let noun = if low == high { "log" } else { "logs" };
                format!("The next incremental backup takes {noun} {}.", span(*low, *high))
            }
            Err(error) => format!("No incremental backup can follow: {}.", error.message()),
        }));
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
        self.story.words(reason, self.args.repository.is_some())
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
        parent: None,
        is_proven: true,
        logs: Some((first, current)),
        databases: situation.databases.iter().map(|database| database.key.clone()).collect(),
    })
}
