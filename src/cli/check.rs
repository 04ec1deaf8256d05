//! `jetbak check`

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::BinaryBytes;
use serde_json::{Map, Value, json};

use super::args::CheckArgs;
use super::check_sqlite::{self, Target};
use super::signal_token;
use super::summary::{count, rate, seconds};
use crate::engine::ese::check::{Listener, Report, Tallied, prove};
use crate::engine::ese::finding::{Finding, Kind, Weight, Worst};
use crate::engine::ese::instance::Instance;
use crate::engine::ese::ranges::{Need, span};
use crate::engine::ese::recognise::Content;
use crate::engine::ese::survey::{Database, Survey};
use crate::engine::sqlite::check::Depth;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::paths;
use crate::protocol::{Activity, Observer, Progress, Warning};
use crate::stream::stop::StopToken;
use crate::times;
use crate::ui::{Ui, json as objects};

pub fn run(args: &CheckArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let options = args.instance.options();
    let depth = if args.deep { Depth::Deep } else { Depth::Quick };
    let stop = signal_token()?;
    let started = Instant::now();
    let (mut surveys, mut failed) = (Vec::new(), None);
    for target in &args.targets {
        let looked = Target::look(target, &stop);
        let survey = if let Ok(Target { is_alone: true, .. }) = looked {
            Ok(Survey::default())
        } else if target.is_dir() {
            Survey::of_storage(target, &options, &stop)
        } else {
            Survey::of_file(target, &stop)
        };
        match survey {
            Ok(survey) => surveys.push((target, survey, looked.unwrap_or_default())),
            // One that cannot be looked at hides nothing of the others.
            Err(error) if stop.cause().is_none() => {
                ui.error(&error.clone().into());
                failed.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let bytes_total = surveys.iter().map(|(_, survey, _)| survey.bytes()).sum();
    let mut voice =
        Checking { ui, bytes_before: 0, bytes: 0, bytes_total, totals: Totals::default(), reports: Vec::new() };
    let mut outcome = Ok(());
    for (target, survey, sqlite) in &mut surveys {
        if !sqlite.is_alone {
            voice.describe(target, survey);
        }
        for finding in std::mem::take(&mut survey.findings) {
            voice.found(&finding);
        }
        voice.totals.files += survey.files;
        outcome = prove(&survey.jobs, &stop, &mut Proving { voice: &mut voice, survey });
        if outcome.is_err() {
            break;
        }
        for finding in survey.judge_links(&voice.reports) {
            voice.found(&finding);
        }
        voice.next();
        outcome = voice.check_databases(sqlite, depth, &stop);
        if outcome.is_err() {
            break;
        }
    }
    Ok(voice.conclude(&outcome, failed.as_ref(), started.elapsed()))
}

/// What all targets together amount to.
#[derive(Debug, Default)]
struct Totals {
    files: u64,
    pages: Tallied,
    segments: Tallied,
    damages: u64,
    /// Of those, what is not there.
    missing: u64,
    unfit: u64,
    failed: u64,
    garbage: u64,
    worst: Worst,
}

impl Totals {
    /// What was found, in words; none where all is good.
    fn verdict(&self) -> Option<String> {
        let correctable = self.pages.correctable + self.segments.correctable;
        let mut words = Vec::new();
        if self.damages > 0 {
            let some = format!(", {correctable} with one wrong bit that the engine would correct");
            let correctable = if correctable > 0 { some } else { String::new() };
            words.push(format!("{} found{correctable}", count(self.damages, "damage")));
        }
        if self.unfit > 0 {
            words.push(format!("{} cannot be used as it is", count(self.unfit, "database")));
        }
        if self.failed > 0 {
            words.push(format!("{} could not be read", count(self.failed, "place")));
        }
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// What to do about it.
    fn advice(&self) -> &'static str {
        if self.damages > self.missing {
            "Keep the last good backup, and look after the disk. `jetbak inspect FILE` shows a file's header."
        } else if self.missing > 0 {
            "Find what is missing, or restore a backup: without it the databases cannot be recovered."
        } else if self.unfit > 0 {
            "Let the engine finish what it began, or restore a backup."
        } else {
            "Make the files readable, and check again."
        }
    }
}

/// Tells what is found and how far it is.
struct Checking<'a> {
    ui: &'a mut Ui,
    /// Bytes of the targets that are done.
    bytes_before: u64,
    bytes: u64,
    bytes_total: u64,
    totals: Totals,
    reports: Vec<Report>,
}

/// The same, for the target at hand.
struct Proving<'a, 'b> {
    voice: &'a mut Checking<'b>,
    survey: &'a Survey,
}

impl Listener for Proving<'_, '_> {
    fn found(&mut self, finding: Finding) {
        self.voice.found(&finding);
    }

    fn done(&mut self, report: &Report) {
        self.voice.done(report, self.survey);
    }

    fn tick(&mut self, bytes: u64, file: &Arc<Path>) {
        self.voice.bytes = bytes;
        let (bytes_done, bytes_total) = (self.voice.bytes_before + bytes, self.voice.bytes_total);
        let file = Some(Arc::clone(file));
        self.voice.ui.progress(&Progress { activity: Activity::Verifying, file, bytes_done, bytes_total });
    }
}

impl Checking<'_> {
    fn next(&mut self) {
        self.bytes_before += self.bytes;
        self.bytes = 0;
        self.reports.clear();
    }

    fn check_databases(&mut self, target: &Target, depth: Depth, stop: &StopToken) -> Result<()> {
        for path in &target.databases {
            stop.check()?;
            for finding in check_sqlite::check(path, depth, stop, self.ui)? {
                self.found(&finding);
            }
            self.totals.files += 1;
            self.bytes_before += path.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(())
    }

    fn found(&mut self, finding: &Finding) {
        self.totals.worst.add(finding.weight);
        match finding.weight {
            Weight::Warning => {
                let message = format!("{} {}{}", finding.file.display(), finding.message, facts(finding));
                let file = Some(finding.file.to_path_buf());
                return self.ui.warning(&Warning { jet: finding.jet, message, file });
            }
            Weight::Garbage => self.totals.garbage += 1,
            Weight::Unfit => self.totals.unfit += 1,
            Weight::Failed => self.totals.failed += 1,
            Weight::Damage => {
                self.totals.damages += 1;
                self.totals.missing += u64::from(is_missing(finding));
            }
        }
        if self.ui.is_json() {
            self.ui.json(object(finding));
        } else if finding.weight == Weight::Garbage {
            self.ui.decided(&line(finding));
        } else {
            self.ui.line(&line(finding));
        }
    }

    fn done(&mut self, report: &Report, survey: &Survey) {
        let job = &survey.jobs[report.job];
        let is_log = report.log.is_some();
        let tallied = report.tallied;
        if is_log {
            self.totals.segments.add(&tallied);
        } else {
            self.totals.pages.add(&tallied);
        }
        if self.ui.is_json() {
            let mut fields = objects::object(json!({
                "type": "checked",
                "unit": if is_log { "segment" } else { "page" },
                "good": tallied.good,
                "blank": tallied.blank,
                "damaged": tallied.damaged,
                "correctable": tallied.correctable,
                "garbage": tallied.garbage,
                "shadows": tallied.shadows,
                "stale": tallied.stale,
                "old_format": tallied.good_xor,
                "valid_bytes": report.log.map(|log| log.valid_bytes),
            }));
            paths::insert(&mut fields, "file", &job.path);
            self.ui.json(fields);
        }
        let name = printable(job.path.as_ref());
        if tallied.garbage > 0 {
            let pages = count(tallied.garbage, "page");
            let what = "hold bytes of others beyond the space that the database owns; no harm to it";
            self.ui.said(&format!("{name}: {pages} {what}"));
        }
        let unit = if is_log { "segment" } else { "page" };
        let blank = tallied.blank;
        self.ui.decided(&format!("{name}: {} good, {blank} never written", count(tallied.good, unit)));
        if let Some(log) = &report.log {
            self.reports.push(Report { log: Some(*log), ..report.clone() });
        }
    }

    /// Says what a target is, before anything is proven.
    fn describe(&mut self, target: &Path, survey: &Survey) {
        if self.ui.is_json() {
            let mut fields = instance_object(survey);
            paths::insert(&mut fields, "target", target);
            self.ui.json(fields);
            return;
        }
        if let Some(instance) = &survey.instance {
            let stream = match &instance.stream {
                Some(stream) => {
                    let runs: Vec<_> = survey.generations.iter().map(|(low, high)| span(*low, *high)).collect();
                    let logs = count(stream.logs.len() as u64, "log");
                    format!("{logs} of the stream {}, generations {}", printable(&stream.base), runs.join(", "))
                }
                None => "no logs".to_owned(),
            };
            let checkpoint = match instance.checkpoint.as_ref().map(|found| &found.content) {
                Some(Content::Checkpoint(checkpoint, _)) => format!("checkpoint at {}", checkpoint.position),
                _ => "no checkpoint".to_owned(),
            };
            let databases = count(instance.databases.len() as u64, "database");
            self.ui.said(&format!("{}: {databases}, {stream}; {checkpoint}", printable(target)));
            self.left_out(instance);
        }
        for database in &survey.databases {
            self.ui.said(&describe_database(database, survey.instance.is_some()));
        }
        if survey.instance.is_some() && !survey.databases.is_empty() {
            let logs = match survey.logs_to_restore() {
                Some((low, high)) => format!("the databases and logs {}", span(low, high)),
                None => "the databases alone".to_owned(),
            };
            self.ui.said(&format!("  a restore needs {logs}"));
        }
    }

    fn left_out(&mut self, instance: &Instance) {
        for (path, why) in &instance.left_out {
            self.ui.decided(&format!("left out: {}, {why}", printable(path)));
        }
        for log in instance.stream.iter().flat_map(|stream| &stream.unused) {
            let path = printable(log.found.path.as_ref());
            self.ui.decided(&format!("left out: {path}, a reserve or temporary log ({})", log.found.content.name()));
        }
        if instance.foreign > 0 {
            self.ui.decided(&format!("left out: {} that are none of the engine's", count(instance.foreign, "file")));
        }
    }

    fn conclude(self, outcome: &Result<()>, failed: Option<&Error>, took: Duration) -> ExitCode {
        let Self { ui, bytes_before, bytes, totals, .. } = self;
        let bytes = bytes_before + bytes;
        ui.finish_progress();
        let exit_code = match (outcome, failed, totals.worst.exit_code()) {
            (Err(error), ..) | (Ok(()), Some(error), ExitCode::Done) => error.exit_code(),
            (Ok(()), _, worst) => worst,
        };
        if let Err(error) = outcome {
            ui.error(&error.clone().hint("What was found so far stands above; the rest was not looked at.").into());
        }
        if ui.is_json() {
            let word = match outcome {
                Err(_) => "stopped",
                Ok(()) if exit_code == ExitCode::Done => "completed",
                Ok(()) => "failed",
            };
            ui.json_last(objects::object(json!({
                "type": "summary",
                "command": "check",
                "outcome": word,
                "exit_code": exit_code.number(),
                "files": totals.files,
                "bytes": bytes,
                "pages": totals.pages.good,
                "pages_blank": totals.pages.blank,
                "segments": totals.segments.good,
                "damages": totals.damages,
                "unfit": totals.unfit,
                "unreadable": totals.failed,
                "correctable": totals.pages.correctable + totals.segments.correctable,
                "garbage": totals.garbage,
                "seconds": seconds(took),
                "warnings": ui.warnings(),
            })));
            return exit_code;
        }
        if outcome.is_err() || (failed.is_some() && totals.files == 0) {
            return exit_code; // said already
        }
        let verdict = totals.verdict();
        let (files, size, rate) = (count(totals.files, "file"), BinaryBytes(bytes), rate(bytes, took));
        let found = verdict.as_deref().unwrap_or("all good");
        ui.say(&format!("checked {files}, {size} in {}{rate}: {found}", times::duration(took)));
        if let Some(verdict) = verdict {
            ui.error(&Error::new(exit_code, verdict).hint(totals.advice()).into());
        }
        exit_code
    }
}

fn is_missing(finding: &Finding) -> bool {
    finding.kind == Kind::Missing || finding.jet == Some(Jet::MissingFileToBackup)
}

fn describe_database(database: &Database, in_storage: bool) -> String {
    let name = printable(database.found.path.as_ref());
    let Content::Database(header, _) = &database.found.content else { return name };
    let needs = match database.need {
        Need::Nothing => "needs no logs".to_owned(),
        Need::Logs(required) => format!("needs logs {required}"),
        Need::NoStream => "has no log stream".to_owned(),
        Need::Unusable(_) => "cannot be used".to_owned(),
    };
    let owned = match (database.inside.owned, database.inside.last_page) {
        (Some(owned), _) => format!(", owns {owned} pages"),
        (None, Some(last)) => format!(", {last} pages"),
        (None, None) => String::new(),
    };
    let trailer = if database.inside.trailer.is_some() { ", a copy made by the engine's backup" } else { "" };
    let indent = if in_storage { "  " } else { "" };
    let (state, size) = (header.state.name(), header.page_size);
    format!("{indent}{name}: {state}, pages of {size}{owned}{trailer}; {needs}")
}

fn facts(finding: &Finding) -> String {
    match (finding.stored.is_empty(), finding.computed.is_empty()) {
        (false, false) => format!(" ({} stored, {} found)", finding.stored, finding.computed),
        (false, true) => format!(" ({} stored)", finding.stored),
        (true, false) => format!(" ({} found)", finding.computed),
        (true, true) => String::new(),
    }
}

fn line(finding: &Finding) -> String {
    let number = finding.jet.map(|jet| format!(" [{}, {}]", jet.symbol(), jet.number())).unwrap_or_default();
    // What is missing stands in the sentence.
    let facts = if is_missing(finding) { String::new() } else { facts(finding) };
    let text = format!("{}{facts}", finding.message);
    format!("{}: {}: {}{number}", printable(finding.file.as_ref()), finding.kind.name(), printable(text))
}

/// `{"type":"damage",…}`, or `garbage` for what does not count.
fn object(finding: &Finding) -> Map<String, Value> {
    let mut fields = objects::object(json!({
        "type": if finding.weight == Weight::Garbage { "garbage" } else { "damage" },
        "page": finding.page,
        "segment": finding.segment,
        "kind": finding.kind.name(),
        "stored": Some(&finding.stored).filter(|text| !text.is_empty()),
        "computed": Some(&finding.computed).filter(|text| !text.is_empty()),
        "message": finding.message,
        "jet": finding.jet.map(Jet::symbol),
        "code": finding.jet.map(Jet::number),
        "exit_code": finding.weight.exit_code().number(),
    }));
    paths::insert(&mut fields, "file", &finding.file);
    fields
}

/// `{"type":"instance",…}`: what a target is.
fn instance_object(survey: &Survey) -> Map<String, Value> {
    let runs = |runs: &[_]| runs.iter().map(|(low, high)| generations(*low, *high)).collect::<Vec<_>>();
    let databases: Vec<_> = survey.databases.iter().map(database_object).collect();
    let mut fields = objects::object(json!({
        "type": "instance",
        "base": null,
        "logs": [],
        "generations": runs(&survey.generations),
        "checkpoint": null,
        "databases": databases,
        "restore_logs": survey.logs_to_restore().map(|(low, high)| generations(low, high)),
        "left_out": [],
    }));
    let Some(instance) = &survey.instance else { return fields };
    let mut add = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    if let Some(stream) = &instance.stream {
        add("base", stream.base.clone().into());
        let logs = stream.logs.iter().map(|log| {
            let mut fields = objects::object(json!({"generation": log.header().map(|header| header.generation.0)}));
            paths::insert(&mut fields, "path", &log.found.path);
            Value::Object(fields)
        });
        add("logs", logs.collect());
    }
    if let Some(found) = &instance.checkpoint {
        let position = match &found.content {
            Content::Checkpoint(checkpoint, _) => Some(checkpoint.position),
            _ => None,
        };
        let mut checkpoint = objects::object(json!({
            "position": position.map(|position| position.to_string()),
            "generation": position.map(|position| position.generation.0),
        }));
        paths::insert(&mut checkpoint, "path", &found.path);
        add("checkpoint", checkpoint.into());
    }
    let unused = instance.stream.iter().flat_map(|stream| &stream.unused);
    let unused = unused.map(|log| (log.found.path.to_path_buf(), "a reserve or temporary log".to_owned()));
    let left_out: BTreeMap<_, _> = instance.left_out.iter().cloned().chain(unused).collect();
    let left_out = left_out.into_iter().map(|(path, why)| {
        let mut fields = objects::object(json!({"reason": why}));
        paths::insert(&mut fields, "path", &path);
        Value::Object(fields)
    });
    add("left_out", left_out.collect());
    fields
}

fn generations(low: crate::engine::ese::fields::Generation, high: crate::engine::ese::fields::Generation) -> Value {
    json!({"low": low.0, "high": high.0})
}

fn database_object(database: &Database) -> Value {
    let Content::Database(header, _) = &database.found.content else { return Value::Null };
    let required = match database.need {
        Need::Logs(required) => {
            json!({"low": required.low.0, "high": required.high.0, "committed": required.committed.0})
        }
        _ => Value::Null,
    };
    let mut fields = objects::object(json!({
        "state": header.state.name(),
        "state_number": header.state.number(),
        "page_size": header.page_size.bytes(),
        "size": database.found.size,
        "last_page": database.inside.last_page.map(|page| page.0),
        "last_owned_page": database.inside.owned.map(|page| page.0),
        "required": required,
        "usable": !matches!(database.need, Need::NoStream | Need::Unusable(_)),
        "backup_copy": database.inside.trailer.is_some(),
        "signature": header.signature.to_hex(),
        "log_signature": header.log_signature.to_hex(),
    }));
    paths::insert(&mut fields, "path", &database.found.path);
    Value::Object(fields)
}
