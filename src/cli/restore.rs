//! `jetbak restore`

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::BinaryBytes;
use serde_json::{Map, Value, json};

use super::args::{Global, OwnerArg, RestoreArgs};
use super::signal_token;
use super::summary::{count, rate, seconds};
use crate::attributes::OwnerRule;
use crate::engine::ese::fields::Generation;
use crate::engine::ese::ranges::span;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::named_paths::NamedPaths;
use crate::paths;
use crate::protocol::{Activity, Observer, Progress, Warning};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::manifest::Manifest;
use crate::repository::restore::layout::{Layout, Mapped, Mapping};
use crate::repository::restore::plan::Plan;
use crate::repository::restore::set::Placed;
use crate::repository::restore::target::NotGiven;
use crate::repository::restore::{self, Damaged, Options, Restored, Witness};
use crate::repository::restored::RestoredTo;
use crate::roots::DATA;
use crate::session::event::Outcome;
use crate::stream::stop::{Cause, StopToken, signal_name};
use crate::times;
use crate::ui::{Ui, json as objects};

/// What could not be given to so many entries is said one by one, to people who did not ask for more.
const NOT_GIVEN_NAMED_MAX: u64 = 20;

pub fn run(global: &Global, args: &RestoreArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    if args.delta {
        return super::restore_delta::run(global, args, ui);
    }
    let repository = Repository::open(&args.repository)?;
    let stop = signal_token()?;
    let (backup, _in_use) = repository.resolve_held(args.id.as_deref().unwrap_or("latest"), &stop)?;
    let manifest = super::show::manifest(&repository, &backup)?;
    let options = Options {
        mappings: mappings(args)?,
        only: NamedPaths::new(&args.only).names(),
        owner: owner(args),
        keep_going: args.keep_going,
    };
    if args.dry_run {
        let (layout, plan) = restore::dry_run(&repository, &backup, &options, &stop)?;
        show_plan(&repository, &backup, &layout, &plan, ui);
        return Ok(ExitCode::Done);
    }
    if manifest.outcome == Outcome::Incomplete {
        let message = format!("{} is incomplete: {}", backup.id.text, why_incomplete(manifest));
        ui.warning(&Warning { jet: None, message, file: None });
    }
    let started = Instant::now();
    let mut voice = Voice::new(ui);
    let done = restore::restore(&repository, &backup, &options, &mut voice, &stop);
    let (not_given, damaged) = voice.close();
    let end = End { backup: &backup, repository: &repository, options: &options, not_given, damaged };
    Ok(match done {
        Ok(restored) => {
            if options.only.is_empty() {
                record(&repository, &backup, &restored, ui);
            }
            end.success(&restored, started.elapsed(), ui)
        }
        Err(error) => end.failure(&in_words_of_a_restore(error, &stop), started.elapsed(), ui),
    })
}

/// Keeps where a backup was restored to: `--delta` may put that right later. Where that cannot be kept, nothing is lost.
fn record(repository: &Repository, backup: &Backup, restored: &Restored, ui: &mut Ui) {
    for mapped in destinations(&restored.layout, &restored.plan).iter().filter(|mapped| mapped.root == DATA) {
        let kept = fs::metadata(mapped.into).map_err(|e| Error::io("look at", mapped.into, &e)).and_then(|found| {
            let to = RestoredTo::new(backup, mapped.into, (found.dev(), found.ino()), true);
            repository.record_restored(mapped.into, &to)
        });
        if let Err(error) = kept {
            ui.finish_progress();
            ui.decided(&format!("not noted where the backup was restored to: {}", error.message()));
        }
    }
}

/// Whose the files are to be.
pub(super) fn owner(args: &RestoreArgs) -> OwnerRule {
    match args.owner {
        OwnerArg::Keep => OwnerRule::Keep,
        OwnerArg::Numeric => OwnerRule::Numeric,
        OwnerArg::Current => OwnerRule::Current,
    }
}

/// What an incomplete backup lacks.
pub(super) fn why_incomplete(manifest: &Manifest) -> String {
    let (excluded, damaged) = (manifest.excluded.len() as u64, manifest.damaged.len() as u64);
    let verb = if excluded == 1 { "is" } else { "are" };
    let missing = format!("{} could not be read and {verb} not in it", count(excluded, "file"));
    let verb = if damaged == 1 { "was" } else { "were" };
    let copied = format!("{} of databases {verb} damaged and copied like that", count(damaged, "page"));
    match (excluded, damaged) {
        (_, 0) => missing,
        (0, _) => copied,
        _ => format!("{missing}; {copied}"),
    }
}

/// What --into and --map say.
fn mappings(args: &RestoreArgs) -> Result<Vec<Mapping>> {
    let into = args.into.iter().map(|into| Mapping { root: DATA.to_owned(), into: into.clone() });
    let mut mappings: Vec<_> = into.collect();
    for given in &args.map {
        let bytes = given.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=').filter(|at| at + 1 < bytes.len());
        let parts =
            at.and_then(|at| Some((std::str::from_utf8(&bytes[..at]).ok()?, OsStr::from_bytes(&bytes[at + 1..]))));
        let Some((root, into)) = parts else {
            let message = format!("--map takes ROOT=DIR, such as logs=/srv/logs, and not {}", printable(given));
            return Err(Error::jet(Jet::InvalidParameter, message));
        };
        mappings.push(Mapping { root: root.to_owned(), into: PathBuf::from(into) });
    }
    Ok(mappings)
}

/// Where the roots go of which there is anything, the storage's own first.
fn destinations<'a>(layout: &'a Layout, plan: &Plan) -> Vec<Mapped<'a>> {
    let is_wanted = |mapped: &Mapped| plan.shares.get(mapped.tree).is_some_and(|share| share.entries > 0);
    let mut all: Vec<_> = layout.mapped().filter(is_wanted).collect();
    all.sort_by_key(|mapped| mapped.root != DATA);
    all
}

/// The fields that say where everything goes: `into` for the storage's own, and each of the others.
fn insert_destinations(fields: &mut Map<String, Value>, all: &[Mapped], place_of: for<'m> fn(&Mapped<'m>) -> &'m Path) {
    fields.insert("into".to_owned(), Value::Null); // where nothing of the storage's own is restored
    let mut further = Vec::new();
    for mapped in all {
        if mapped.root == DATA {
            paths::insert(fields, "into", place_of(mapped));
            continue;
        }
        let mut one = objects::object(json!({ "name": mapped.root }));
        paths::insert(&mut one, "path", mapped.from);
        paths::insert(&mut one, "into", place_of(mapped));
        further.push(Value::Object(one));
    }
    if !further.is_empty() {
        fields.insert("roots".to_owned(), Value::Array(further));
    }
}

/// A signal ends a restore, not a backup.
pub(super) fn in_words_of_a_restore(error: Error, stop: &StopToken) -> Error {
    match stop.cause() {
        Some(Cause::Signal(number)) if error.exit_code() == ExitCode::Signal(number) => {
            let message = format!("the restore was interrupted by {}", signal_name(number));
            let hint = error.advice().unwrap_or("Nothing was restored, and nothing of it is left behind.");
            Error::new(ExitCode::Signal(number), message).hint(hint)
        }
        _ => error,
    }
}

/// Tells of a restore while it works.
pub(super) struct Voice<'a> {
    ui: &'a mut Ui,
    activity: Activity,
    bytes_total: u64,
    names_all: bool,
    not_given: u64,
    damaged: u64,
}

impl<'a> Voice<'a> {
    pub(super) fn new(ui: &'a mut Ui) -> Self {
        Self::at(ui, Activity::Restoring, 0)
    }

    /// One that tells how far something is that takes so many bytes.
    pub(super) fn at(ui: &'a mut Ui, activity: Activity, bytes_total: u64) -> Self {
        let names_all = ui.names_all();
        Self { ui, activity, bytes_total, names_all, not_given: 0, damaged: 0 }
    }

    pub(super) fn close(self) -> (u64, u64) {
        if let Some(more) = self.not_given.checked_sub(NOT_GIVEN_NAMED_MAX).filter(|more| *more > 0 && !self.names_all)
        {
            let message = format!("{more} more could not be given; -v names them all");
            self.ui.warning(&Warning { jet: None, message, file: None });
        }
        (self.not_given, self.damaged)
    }
}

impl Witness for Voice<'_> {
    fn planned(&mut self, plan: &Plan) {
        self.bytes_total = plan.bytes;
    }

    fn progress(&mut self, bytes: u64, file: Option<Arc<Path>>) {
        let (bytes_done, bytes_total) = (bytes, self.bytes_total.max(bytes));
        self.ui.progress(&Progress { activity: self.activity, file, bytes_done, bytes_total });
    }

    fn not_given(&mut self, what: NotGiven) {
        self.not_given += 1;
        if self.names_all || self.not_given <= NOT_GIVEN_NAMED_MAX {
            let path = if what.path.as_os_str().is_empty() { PathBuf::from(".") } else { what.path };
            let message = format!("{} could not be given {}", printable(&path), what.what);
            self.ui.warning(&Warning { jet: None, message, file: Some(path) });
        }
    }

    fn damaged(&mut self, what: &Damaged) {
        let message = format!("left out: {}", what.error.message());
        self.ui.warning(&Warning { jet: what.error.jet_code(), message, file: Some(what.path.clone()) });
        self.damaged += 1;
    }

    fn odd_set(&mut self, what: &Error) {
        let (jet, message) = (what.jet_code(), what.message().to_owned());
        self.ui.warning(&Warning { jet, message, file: what.path().map(Path::to_owned) });
    }
}

/// What there is to say at the end.
struct End<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    options: &'a Options,
    not_given: u64,
    damaged: u64,
}

impl End<'_> {
    fn success(&self, restored: &Restored, took: Duration, ui: &mut Ui) -> ExitCode {
        let excluded = self.backup.manifest.as_ref().map_or(0, |manifest: &Manifest| manifest.excluded.len());
        let damages = restored.written.damaged;
        if restored.was_whole {
            ui.finish_progress();
            ui.said(
                "an earlier restore had written and proven it all; it was interrupted while it moved it into place",
            );
            let not_given = restored.written.not_given;
            if not_given > 0 {
                let message = format!("{not_given} attributes could not be given by that restore, which named them");
                ui.warning(&Warning { jet: None, message, file: None });
            }
        }
        let broken = restored.placed.as_ref().and_then(|placed| placed.broken.as_ref());
        let exit_code = if damages > 0 || broken.is_some() { ExitCode::Verification } else { ExitCode::Done };
        if let Some(first) = &restored.written.first_damage {
            let verb = if damages == 1 { "is" } else { "are" };
            let message = format!("{} {verb} damaged and left out: {first}", count(damages, "file"));
            let error = Error::new(exit_code, message);
            ui.error(&error.hint("The rest is restored and proven. An older backup may hold it whole.").into());
        }
        if let Some(broken) = broken.filter(|_| damages == 0) {
            let hint = "Every file that is there is restored and proven, but the engine will refuse them as a set. An older \
                        backup may hold it whole.";
            ui.error(&broken.clone().hint(hint).into());
        }
        let outcome =
            if damages > 0 || excluded > 0 || broken.is_some() { Outcome::Incomplete } else { Outcome::Completed };
        if ui.is_json() {
            self.print_json(outcome, exit_code, Some(restored), took, ui);
            return exit_code;
        }
        ui.finish_progress();
        let lacks = restored.written.damaged > 0;
        let part = if self.options.only.is_empty() && !lacks { "" } else { " in part" };
        let all = destinations(&restored.layout, &restored.plan);
        let mut names = all.iter().map(|mapped| match mapped.root {
            DATA => printable(mapped.into),
            further => format!("{}, its {further}", printable(mapped.into)),
        });
        let first = names.next().unwrap_or_default();
        ui.say(&format!("restored {}{part} into {first}", self.backup.id.text));
        names.for_each(|name| ui.say(&format!("  and into {name}")));
        let (files, bytes) = (restored.written.files, restored.written.bytes);
        let odd = if ui.warnings() > 0 { format!(", {}", count(ui.warnings(), "warning")) } else { String::new() };
        let speed = rate(bytes, took);
        let plan = &restored.plan;
        let proven = if restored.was_whole { "" } else { ", every byte proven" };
        ui.say(&format!(
            "  {}, {}, {}: {} in {}{speed}{proven}{odd}",
            count(files, "file"),
            if plan.directories == 1 { "1 directory".to_owned() } else { format!("{} directories", plan.directories) },
            count(plan.links, "link"),
            BinaryBytes(bytes),
            times::duration(took),
        ));
        restored.placed.iter().flat_map(in_words).for_each(|line| ui.say(&format!("  {line}")));
        exit_code
    }

    fn failure(&self, error: &Error, took: Duration, ui: &mut Ui) -> ExitCode {
        ui.error(&error.clone().into());
        if ui.is_json() {
            let stopped = matches!(error.exit_code(), ExitCode::Signal(_));
            let outcome = if stopped { Outcome::Stopped } else { Outcome::Failed };
            self.print_json(outcome, error.exit_code(), None, took, ui);
        }
        error.exit_code()
    }

    fn print_json(
        &self,
        outcome: Outcome,
        exit_code: ExitCode,
        restored: Option<&Restored>,
        took: Duration,
        ui: &mut Ui,
    ) {
        let mut fields = objects::object(json!({
            "type": "summary",
            "command": "restore",
            "outcome": outcome.name(),
            "exit_code": exit_code.number(),
            "id": self.backup.id.text,
            "sequence": self.backup.id.sequence,
            "files": restored.map_or(0, |restored| restored.written.files),
            "directories": restored.map_or(0, |restored| restored.plan.directories),
            "links": restored.map_or(0, |restored| restored.plan.links),
            "bytes": restored.map_or(0, |restored| restored.written.bytes),
            "damages": restored.map_or(self.damaged, |restored| restored.written.damaged),
            "not_given": restored.map_or(self.not_given, |restored| self.not_given.max(restored.written.not_given)),
            "seconds": seconds(took),
            "warnings": ui.warnings(),
        }));
        let placed = restored.and_then(|restored| restored.placed.as_ref());
        fields.insert("placed".to_owned(), placed.map_or(Value::Null, placed_json));
        fields.insert("advice".to_owned(), objects::sentences(placed.map_or(&[], |placed| &placed.advice)));
        paths::insert_list(&mut fields, "only", &self.options.only);
        paths::insert(&mut fields, "repository", self.repository.root());
        match restored {
            Some(restored) => {
                insert_destinations(&mut fields, &destinations(&restored.layout, &restored.plan), |mapped| mapped.into);
            }
            None => {
                if let Some(data) = self.options.mappings.iter().find(|mapping| mapping.root == DATA) {
                    paths::insert(&mut fields, "into", &data.into);
                }
            }
        }
        ui.json_last(fields);
    }
}

/// What of an instance was restored, and what its host will do with it.
pub(super) fn in_words(placed: &Placed) -> Vec<String> {
    let mut parts = Vec::new();
    if placed.databases > 0 {
        parts.push(count(placed.databases, "database"));
    }
    if placed.logs > 0 {
        let range = placed.generations.map(|(low, high)| span(Generation(low), Generation(high)));
        parts.push(format!("{} {}", count(placed.logs, "log"), range.unwrap_or_default()).trim_end().to_owned());
    }
    if placed.checkpoint {
        parts.push("the checkpoint".to_owned());
    }
    let parts = (!parts.is_empty()).then(|| parts.join(", "));
    parts.into_iter().chain(placed.advice.clone()).collect()
}

pub(super) fn placed_json(placed: &Placed) -> Value {
    json!({
        "databases": placed.databases,
        "logs": placed.logs,
        "first_generation": placed.generations.map(|(low, _)| low),
        "last_generation": placed.generations.map(|(_, high)| high),
        "checkpoint": placed.checkpoint,
    })
}

fn show_plan(repository: &Repository, backup: &Backup, layout: &Layout, plan: &Plan, ui: &mut Ui) {
    let all = destinations(layout, plan);
    if ui.is_json() {
        let mut fields = objects::object(json!({
            "type": "dry_run",
            "id": backup.id.text,
            "sequence": backup.id.sequence,
            "files": plan.files,
            "directories": plan.directories,
            "links": plan.links,
            "bytes": plan.bytes,
            "allocated": plan.allocated,
        }));
        paths::insert(&mut fields, "repository", repository.root());
        insert_destinations(&mut fields, &all, |mapped| mapped.given);
        ui.json(fields);
        return;
    }
    let (files, bytes) = (count(plan.files, "file"), BinaryBytes(plan.bytes));
    let mut all = all.into_iter();
    let first = all.next().map(|mapped| printable(mapped.given)).unwrap_or_default();
    ui.line(&format!("{}: {files} ({bytes}) would be restored into {first}", backup.id.text));
    for Mapped { root, from, given, .. } in all {
        ui.line(&format!("  {root} (from {}) into {}", printable(from), printable(given)));
    }
}
