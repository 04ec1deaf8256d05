//! The summary at the end of backup, read and end: one object in JSON, a few lines for people.

use std::time::Duration;

use indicatif::BinaryBytes;
use serde_json::{Map, Value, json};

use crate::error::{Error, ExitCode, Jet, printable};
use crate::paths;
use crate::protocol::begin::Options;
use crate::protocol::end::Ended;
use crate::protocol::publish::Published;
use crate::repository::manifest::DamagedPage;
use crate::session::event::{Failure, Outcome};
use crate::session::record::Record;
use crate::stream::source::OddKind;
use crate::times;
use crate::ui::{Ui, json as objects};

/// What a command came to.
pub struct Summary<'a> {
    /// The command's name.
    pub command: &'static str,
    /// The session, where there is one.
    pub record: Option<&'a Record>,
    /// What was asked for, where no session came of it.
    pub options: Option<&'a Options>,
    /// The outcome.
    pub outcome: Outcome,
    /// How the command ends.
    pub exit_code: ExitCode,
    /// How the session ended, where it did.
    pub ended: Option<&'a Ended>,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// Files that could not be read.
    pub excluded: &'a [Failure],
    /// Logs that were deleted.
    pub truncated: u64,
    /// What went wrong.
    pub error: Option<&'a Error>,
}

impl Summary<'_> {
    /// The object of type `summary`.
    pub fn to_json(&self, warnings: u64) -> Map<String, Value> {
        let published = self.ended.and_then(|ended| ended.published.as_ref());
        let mut fields = objects::object(json!({
            "type": "summary",
            "command": self.command,
            "outcome": self.outcome.name(),
            "exit_code": self.exit_code.number(),
            "id": published.map(|published| published.id.clone()),
            "sequence": published.map(|published| published.sequence),
            "session": self.record.map(|record| record.session.clone()),
            "resumed": self.record.and_then(|record| record.resumed.as_ref()),
            "files": self.files,
            "bytes": self.bytes,
            "bytes_stored": match published {
                Some(published) => published.bytes_stored,
                None if self.command == "read" => self.bytes,
                None => 0,
            },
            "parent": published.and_then(|published| published.parent.clone()),
            "unchanged": published.and_then(unchanged),
            "seconds": seconds(self.took),
            "warnings": warnings,
            "excluded": self.excluded.iter().map(objects::failure).collect::<Vec<_>>(),
            "truncated": self.truncated,
            "damaged_pages": self.ended.map_or(0, |ended| ended.damaged.len()),
            "appeared": published.and_then(|published| published.appeared),
            "left_out_as_asked": self.record.map(|record| record.excluded),
        }));
        if let Some(record) = self.record {
            paths::insert(&mut fields, "storage", &record.storage());
            fields.insert("kind".into(), record.kind.name().into());
            fields.insert("engine".into(), record.engine.name().into());
        } else if let Some(options) = self.options {
            paths::insert(&mut fields, "storage", &options.storage);
            fields.insert("kind".into(), options.kind.name().into());
            fields.insert("engine".into(), options.engine.map(crate::engine::EngineName::name).into());
        }
        let repository = match (self.record, self.options) {
            (Some(record), _) => record.repository(),
            (None, Some(options)) => options.repository.clone(),
            (None, None) => None,
        };
        match repository {
            Some(path) => paths::insert(&mut fields, "repository", &path),
            None => {
                fields.insert("repository".into(), Value::Null);
            }
        }
        if self.outcome != Outcome::Completed {
            // Where ending was asked for and worked, no error names the reason; the outcome still has a number.
            let of_outcome = match (self.error, self.outcome) {
                (None, Outcome::Stopped) => Some(Jet::BackupAbortByServer),
                (None, Outcome::Aborted) => Some(Jet::BackupAbortByCaller),
                _ => None,
            };
            let of_failure = || self.excluded.first().and_then(|failure| Jet::from_number(failure.jet?));
            let jet = self
                .error
                .and_then(Error::jet_code)
                .or(of_outcome)
                .or_else(of_failure)
                .map(|jet| (jet.symbol(), jet.number()));
            fields.insert("jet".into(), jet.map(|(symbol, _)| symbol).into());
            fields.insert("code".into(), jet.map(|(_, code)| code).into());
        }
        fields
    }

    /// Prints it, as JSON or for people.
    pub fn print(&self, ui: &mut Ui) {
        ui.finish_progress();
        if ui.is_json() {
            let object = self.to_json(ui.warnings());
            ui.json_last(object);
            return;
        }
        for line in self.lines(ui.warnings()) {
            ui.say(&line);
        }
    }

    fn lines(&self, warnings: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let amount = format!("{}, {}", count(self.files, "file"), BinaryBytes(self.bytes));
        let published = self.ended.and_then(|ended| ended.published.as_ref());
        let odd = if warnings > 0 { format!(", {}", count(warnings, "warning")) } else { String::new() };
        match (published, self.record) {
            (Some(published), Some(record)) => {
                let what = if published.outcome == Outcome::Incomplete { "incomplete backup" } else { "backup" };
                lines.push(format!("{what} {} of {}", published.id, printable(record.storage())));
                let took = times::duration(self.took);
                if let Some(parent) = &published.parent {
                    let stored = BinaryBytes(published.bytes_stored);
                    let changed =
                        published.changed.map(|changed| format!(", {} changed", indicatif::HumanCount(changed)));
                    lines.push(format!("  {amount}{}, {stored} stored in {took}{odd}", changed.unwrap_or_default()));
                    lines.push(format!("  builds on {}", printable(parent)));
                } else {
                    lines.push(format!("  {amount} in {took}{}{odd}", rate(self.bytes, self.took)));
                }
                if let Some(repository) = record.repository() {
                    let place = repository.join("backups").join(&published.id);
                    lines.push(format!("  in {}", printable(place)));
                }
            }
            (None, Some(record)) if matches!(self.outcome, Outcome::Stopped | Outcome::Aborted) => lines.push(format!(
                "{} {}: the session of {} is over, and nothing was published",
                self.command,
                self.outcome.name(),
                printable(record.storage())
            )),
            _ => lines.push(format!(
                "{} {}: {amount} in {}{odd}",
                self.command,
                self.outcome.name(),
                times::duration(self.took)
            )),
        }
        if let Some(appeared) = published.and_then(|published| published.appeared).filter(|appeared| *appeared > 0) {
            let verb = if appeared == 1 { "is" } else { "are" };
            lines.push(format!("  {} appeared after it began and {verb} not in it", count(appeared, "file")));
        }
        lines
    }
}

/// How many files of a backup that builds on another one are as they were there; none where that is not known any more.
fn unchanged(published: &Published) -> Option<u64> {
    let changed = published.changed.filter(|_| published.parent.is_some())?;
    Some(published.files.saturating_sub(changed))
}

/// What an incomplete backup is worth.
pub const INCOMPLETE_HINT: &str = "An incomplete backup can be restored when it is named, but is never the latest.";

/// What is to be said of files that were left out, also with `--quiet`: a failure is never silent.
pub fn incomplete(excluded: &[Failure], exit_code: ExitCode, hint: &str) -> Option<Error> {
    let first = excluded.first()?;
    let what = count(excluded.len() as u64, "file");
    let message = format!(
        "{what} could not be read and {} left out: {}",
        if excluded.len() == 1 { "was" } else { "were" },
        first.message
    );
    let error = match first.jet.and_then(Jet::from_number) {
        Some(jet) => Error::jet(jet, message).exit(exit_code),
        None => Error::new(exit_code, message),
    };
    Some(error.hint(hint))
}

/// What is to be said of damaged pages that were copied as they are.
pub fn damaged(pages: &[DamagedPage]) -> Option<Error> {
    let first = pages.first()?;
    let message = format!(
        "{} damaged in the storage and copied as asked, the first is page {} of {}",
        if pages.len() == 1 { "1 page is".to_owned() } else { format!("{} are", count(pages.len() as u64, "page")) },
        first.page.number,
        printable(first.file.path())
    );
    let jet = match first.page.kind {
        OddKind::PageNumber => Jet::ReadPgnoVerifyFailure,
        _ => Jet::ReadVerifyFailure,
    };
    let error = Error::jet(jet, message).file(first.file.path()).page(first.page.number.into());
    Some(error.hint("The manifest lists every one. An incomplete backup can be restored when it is named."))
}

/// Seconds with three decimals, as JSON holds them.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// `1 file`, `2 files`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", indicatif::HumanCount(number))
}

/// `, 1.2 GiB/s`; nothing where it took no time worth speaking of.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people"
)]
pub fn rate(bytes: u64, time: Duration) -> String {
    if time < Duration::from_millis(100) || bytes == 0 {
        return String::new();
    }
    format!(", {}/s", BinaryBytes((bytes as f64 / time.as_secs_f64()) as u64))
}
