//! `jetbak backup`

use serde_json::json;

use super::args::{BackupArgs, Global};
use super::summary::{INCOMPLETE_HINT, Summary, count, damaged, incomplete};
use super::{signal_token, state_directory};
use crate::error::{Error, ExitCode, Jet, printable};
use crate::protocol::backup::{self, BackupReport};
use crate::protocol::begin::{self, Options};
use crate::session::directory::StateDirectory;
use crate::session::event::Outcome;
use crate::session::record::Record;
use crate::ui::{Ui, json as objects};

pub fn run(global: &Global, args: &BackupArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let options = Options { truncate: args.truncate, ..args.session.options(Some(&args.to), true)? };
    if args.truncate && !options.kind.truncates() {
        return Err(Error::jet(Jet::InvalidParameter, format!("a {} backup never truncates", options.kind.name()))
            .hint("Only a full or an incremental backup truncates.")
            .into());
    }
    if options.ese.live_log_directory.is_some() && !args.truncate {
        return Err(Error::jet(
            Jet::InvalidParameter,
            "--live-log-dir says where --truncate deletes, and that was not given",
        )
        .hint("Add --truncate, or leave --live-log-dir out.")
        .into());
    }
    let state = state_directory(global)?;
    let signals = signal_token()?;
    if args.dry_run {
        return dry_run(&state, &options, ui, &signals);
    }
    let mut record: Option<Record> = None;
    let voice = std::cell::RefCell::new(&mut *ui);
    let report =
        backup::backup(&state, &options, args.truncate, &mut SharedVoice(&voice), &signals, &mut |session, survey| {
            record = Some(session.record().clone());
            super::begin::show(session, survey, &mut voice.borrow_mut());
        });
    Ok(finish(&report, record.as_ref(), &options, ui))
}

/// Two places speak while a backup runs, never at once.
struct SharedVoice<'a, 'b>(&'a std::cell::RefCell<&'b mut Ui>);

impl crate::protocol::Observer for SharedVoice<'_, '_> {
    fn progress(&mut self, progress: &crate::protocol::Progress) {
        self.0.borrow_mut().progress(progress);
    }
    fn warning(&mut self, warning: &crate::protocol::Warning) {
        self.0.borrow_mut().warning(warning);
    }
    fn decided(&mut self, what: &str) {
        self.0.borrow_mut().decided(what);
    }
    fn said(&mut self, what: &str) {
        self.0.borrow_mut().said(what);
    }
}

fn finish(report: &BackupReport, record: Option<&Record>, options: &Options, ui: &mut Ui) -> ExitCode {
    let ended = report.ended.as_ref();
    let error = report.error.as_ref().or_else(|| ended.and_then(|ended| ended.error.as_ref()));
    let exit_code = match (error, ended) {
        (Some(error), _) => error.exit_code(),
        (None, Some(ended)) => ended.exit_code,
        (None, None) => ExitCode::Failed,
    };
    let outcome = ended.map_or(Outcome::Failed, |ended| ended.outcome);
    let excluded = ended.map(|ended| ended.excluded.as_slice()).unwrap_or_default();
    if let Some(truncated) = &report.truncated {
        super::truncate::say(truncated, ui);
    }
    let is_incomplete = outcome == Outcome::Incomplete;
    let left_out = incomplete(excluded, exit_code, INCOMPLETE_HINT).filter(|_| is_incomplete);
    let pages = ended.and_then(|ended| damaged(&ended.damaged));
    if let Some(error) = error.or(left_out.as_ref()).or(pages.as_ref()) {
        ui.error(&anyhow::Error::new(error.clone()));
    }
    let summary = Summary {
        command: "backup",
        record,
        options: Some(options),
        outcome,
        exit_code,
        ended,
        files: ended.map_or(0, |ended| ended.files),
        bytes: ended.map_or(0, |ended| ended.bytes),
        took: report.took,
        excluded,
        truncated: report.truncated.as_ref().map_or(0, |truncated| truncated.deleted.len() as u64),
        error,
    };
    if error.is_none() || ui.is_json() || ended.is_some_and(|ended| ended.published.is_some()) {
        summary.print(ui);
    }
    exit_code
}

fn dry_run(
    state: &StateDirectory,
    options: &Options,
    ui: &mut Ui,
    signals: &crate::stream::stop::StopToken,
) -> anyhow::Result<ExitCode> {
    let survey = begin::dry_run(state, options, ui, signals)?;
    if ui.is_json() {
        ui.json(objects::object(json!({
            "type": "dry_run",
            "kind": survey.kind.unwrap_or(options.kind).name(),
            "files": survey.files,
            "bytes": survey.bytes,
            "logs": survey.logs,
            "logs_bytes": survey.logs_bytes,
            "parent": survey.parent.as_ref().map(|(id, _)| id),
            "unchanged": survey.parent.as_ref().map(|(_, unchanged)| unchanged.files),
            "left_out": survey.left_out,
            "left_out_as_asked": survey.excluded,
            "unused_patterns": super::begin::unused_patterns(&survey, &options.exclusion),
        })));
        return Ok(ExitCode::Done);
    }
    ui.line(&format!(
        "{}: {} ({}) and {} ({}) would be read",
        printable(&options.storage),
        count(survey.files, "file"),
        indicatif::BinaryBytes(survey.bytes),
        count(survey.logs, "log"),
        indicatif::BinaryBytes(survey.logs_bytes)
    ));
    if let Some((parent, unchanged)) = &survey.parent {
        ui.line(&format!("unchanged since {}: {}", printable(parent), count(unchanged.files, "file")));
    }
    for left_out in &survey.left_out {
        ui.line(&format!("left out: {} ({})", printable(&left_out.path), left_out.reason));
    }
    if survey.excluded > 0 {
        ui.line(&format!("left out as asked: {} (-v names them)", survey.excluded));
    }
    Ok(ExitCode::Done)
}
