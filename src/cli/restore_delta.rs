//! `jetbak restore --delta`

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::BinaryBytes;
use rustix::fs::FileType;
use serde_json::{Map, Value, json};

use super::args::{Global, RestoreArgs};
use super::restore::{Voice, in_words, in_words_of_a_restore, owner, placed_json, why_incomplete};
use super::summary::{count, seconds};
use super::{signal_token, state_directory};
use crate::error::{Error, ExitCode, Result, printable};
use crate::named_paths::NamedPaths;
use crate::paths;
use crate::protocol::{Activity, Observer, Warning};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::restore::delta::plan::{Action, Plan, Step};
use crate::repository::restore::delta::{Delta, Done, Options};
use crate::session::event::Outcome;
use crate::session::record::Record;
use crate::stream::stop::StopToken;
use crate::times;
use crate::ui::{Ui, json as objects};

/// Entries that are printed one by one, to people who did not ask for more.
const STEPS_NAMED_MAX: usize = 50;

pub fn run(global: &Global, args: &RestoreArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    let stop = signal_token()?;
    let (backup, _in_use) = repository.resolve_held(args.id.as_deref().unwrap_or("latest"), &stop)?;
    let manifest = super::show::manifest(&repository, &backup)?;
    if manifest.outcome == Outcome::Incomplete {
        let message = format!("{} is incomplete: {}", backup.id.text, why_incomplete(manifest));
        ui.warning(&Warning { jet: None, message, file: None });
    }
    let Sessions { state, all: sessions } = sessions(global)?;
    let options = Options {
        into: args.into.clone().unwrap_or_default(),
        only: NamedPaths::new(&args.only).names(),
        owner: owner(args),
        any_directory: args.any_directory,
        sessions,
        state,
    };
    let end = End { repository: &repository, backup: &backup, options: &options, started: Instant::now() };
    let mut voice = Voice::at(ui, Activity::Comparing, manifest.bytes);
    let planned = Delta::plan(&repository, &backup, &options, &mut voice, &stop);
    voice.close();
    ui.finish_progress();
    let delta = match planned {
        Ok(delta) => delta,
        Err(error) => return Ok(end.failure(&of_a_plan(error, &stop), None, ui)),
    };
    tell_of_an_interruption(&delta, &options, ui);
    show(delta.steps(), args.dry_run, ui);
    if args.dry_run {
        if let Err(error) = delta.require_possible() {
            let message = format!("it could not be done now: {}", error.message());
            ui.warning(&Warning { jet: error.jet_code(), message, file: error.path().map(Path::to_owned) });
        }
        end.dry_run(&delta, ui);
        return Ok(ExitCode::Done);
    }
    Ok(match apply(&delta, ui) {
        Ok(done) => end.success(&delta, &done, ui),
        Err(error) => end.failure(&in_words_of_a_restore(error, &stop), Some(&delta), ui),
    })
}

/// Says that an earlier restore did not end here, and what it left that this one does not touch.
fn tell_of_an_interruption(delta: &Delta, options: &Options, ui: &mut Ui) {
    let Some(earlier) = delta.interrupted() else { return };
    let (id, into, at) = (printable(&earlier.id), printable(delta.path()), times::for_people(earlier.at));
    if options.only.is_empty() {
        ui.said(&format!("goes on after a restore of {id} into {into} that was interrupted ({at})"));
    } else {
        let message = format!(
            "a restore of {id} into {into} was interrupted ({at}), and with --only it is not finished: \
             repeat the command without --only"
        );
        ui.warning(&Warning { jet: None, message, file: None });
    }
    let leftovers = &delta.steps().leftovers;
    for path in leftovers.iter().take(STEPS_NAMED_MAX) {
        let message = format!("{} was left by it, and can be removed", printable(path));
        ui.warning(&Warning { jet: None, message, file: Some(path.clone()) });
    }
    if let Some(more) = leftovers.len().checked_sub(STEPS_NAMED_MAX).filter(|more| *more > 0) {
        let message = format!("{more} more such files were left by it");
        ui.warning(&Warning { jet: None, message, file: None });
    }
}

/// The sessions that are in progress.
#[derive(Default)]
struct Sessions {
    /// The state directory, where there is one.
    state: Option<PathBuf>,
    /// The storages that are being backed up, and who began that.
    all: Vec<(PathBuf, String)>,
}

/// What the state directory knows.
fn sessions(global: &Global) -> Result<Sessions> {
    let Ok(state) = state_directory(global) else { return Ok(Sessions::default()) };
    let (sessions, damaged) = state.sessions()?;
    let mut all: Vec<_> = sessions.iter().map(|session| with_holder(session.record())).collect();
    all.extend(
        damaged.iter().filter_map(|damaged| Record::read(&damaged.folder).ok()).map(|record| with_holder(&record)),
    );
    Ok(Sessions { state: Some(state.path().to_owned()), all })
}

fn with_holder(record: &Record) -> (PathBuf, String) {
    (record.storage(), record.holder())
}

/// What ends a comparison has changed nothing.
fn of_a_plan(error: Error, stop: &StopToken) -> Error {
    let error = if stop.cause().is_some() { error.hint("Nothing was changed.") } else { error };
    in_words_of_a_restore(error, stop)
}

fn apply(delta: &Delta, ui: &mut Ui) -> Result<Done> {
    let deletes_first = delta.require_possible()?;
    if deletes_first {
        ui.decided("what the backup does not hold is deleted first: the rest would not fit beside it");
    }
    if !delta.steps().is_empty()
        && let Err(error) = delta.note_begun()
    {
        warn_of_no_note(&error, ui);
    }
    let mut voice = Voice::at(ui, Activity::Restoring, delta.steps().bytes);
    let done = delta.apply(deletes_first, &mut voice);
    voice.close();
    ui.finish_progress();
    done
}

fn warn_of_no_note(error: &Error, ui: &mut Ui) {
    let message = format!("not noted in the repository, which would know an interruption: {}", error.message());
    ui.warning(&Warning { jet: error.jet_code(), message, file: error.path().map(Path::to_owned) });
}

/// Prints what is to be done: a line or an object for each entry.
fn show(plan: &Plan, is_data: bool, ui: &mut Ui) {
    if ui.is_json() {
        for step in plan.all() {
            if !ui.is_heard() {
                return;
            }
            ui.json(step_json(step));
        }
        return;
    }
    let all = plan.steps.len() + plan.deletions.len();
    let named_max = if ui.names_all() { all } else { STEPS_NAMED_MAX };
    // What is deleted is gone: none of that is left out for what is only changed.
    let deletions = plan.deletions.len().min(named_max);
    let steps = named_max - deletions;
    let mut print = |line: String| if is_data { ui.line(&line) } else { ui.say(&line) };
    for step in plan.steps.iter().take(steps).chain(plan.deletions.iter().take(deletions)) {
        print(in_a_line(step));
    }
    let more = all.saturating_sub(named_max);
    if more > 0 {
        print(format!("… and {more} more; -v names them all"));
    }
}

fn in_a_line(step: &Step) -> String {
    let name = if step.path.as_os_str().is_empty() { ".".to_owned() } else { printable(&step.path) };
    let slash = if step.kind.is_dir() && name != "." { "/" } else { "" };
    let bytes = step.content.as_ref().map_or(0, |content| content.bytes);
    let mut notes: Vec<String> = step.what.iter().map(|what| (*what).to_owned()).collect();
    if step.action == Action::Change && bytes > 0 {
        notes.push(format!("{} differ", BinaryBytes(bytes)));
    }
    if let Some(instead) = step.instead {
        notes.push(format!("a {} stands there", kind_name(instead)));
    }
    if step.below > 0 {
        notes.push(format!("with {} in it", entries(step.below)));
    }
    let notes = if notes.is_empty() { String::new() } else { format!("  ({})", notes.join(", ")) };
    format!("{:<8}{name}{slash}{notes}", step.action.name())
}

fn entries(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{number} entries") }
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        _ => "special file",
    }
}

fn step_json(step: &Step) -> Map<String, Value> {
    let mut fields = objects::object(json!({
        "type": "difference",
        "action": step.action.name(),
        "kind": kind_name(step.kind),
        "instead": step.instead.map(kind_name),
        "what": step.what,
        "bytes": step.content.as_ref().map_or(0, |content| content.bytes),
        "below": step.below,
    }));
    let path = if step.path.as_os_str().is_empty() { Path::new(".") } else { &step.path };
    paths::insert(&mut fields, "path", path);
    fields
}

/// What there is to say at the end.
struct End<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    options: &'a Options,
    started: Instant,
}

impl End<'_> {
    fn dry_run(&self, delta: &Delta, ui: &mut Ui) {
        if ui.is_json() {
            let mut fields = self.fields("dry_run", Some(delta), None);
            paths::insert(&mut fields, "into", delta.path());
            ui.json_last(fields);
            return;
        }
        let plan = delta.steps();
        let verb = if plan.is_empty() { "is" } else { "would become" };
        ui.line(&format!("{} {verb} what {} holds", printable(delta.path()), self.backup.id.text));
        ui.line(&format!("  {}", counts(plan)));
        Self::say_kept(plan, ui);
    }

    fn say_kept(plan: &Plan, ui: &mut Ui) {
        if plan.kept > 0 {
            let verb = if plan.kept == 1 { "stays" } else { "stay" };
            ui.say(&format!("  {} {verb}: left out when the backup was made", entries(plan.kept)));
        }
        if plan.special > 0 {
            let verb = if plan.special == 1 { "stays" } else { "stay" };
            ui.say(&format!("  {} {verb}: sockets, fifos and devices are in no backup", entries(plan.special)));
        }
    }

    fn success(&self, delta: &Delta, done: &Done, ui: &mut Ui) -> ExitCode {
        if let Some(error) = &done.unrecorded {
            warn_of_no_note(error, ui);
        }
        let excluded = self.backup.manifest.as_ref().map_or(0, |manifest| manifest.excluded.len());
        let outcome = if excluded > 0 { Outcome::Incomplete } else { Outcome::Completed };
        if ui.is_json() {
            self.print_json(outcome, ExitCode::Done, Some(delta), Some(done), ui);
            return ExitCode::Done;
        }
        let plan = delta.steps();
        let (path, id) = (printable(delta.path()), &self.backup.id.text);
        let part = if self.options.only.is_empty() { "" } else { " in part" };
        if plan.is_empty() {
            ui.say(&format!("{path} is what {id} holds{part}: nothing to do"));
        } else {
            ui.say(&format!("restored {id}{part} into {path}"));
        }
        let odd = if ui.warnings() > 0 { format!(", {}", count(ui.warnings(), "warning")) } else { String::new() };
        ui.say(&format!(
            "  {}; {} written, {} compared in {}{odd}",
            counts(plan),
            BinaryBytes(done.applied.written),
            BinaryBytes(plan.compared),
            times::duration(self.started.elapsed()),
        ));
        Self::say_kept(plan, ui);
        done.placed.iter().flat_map(in_words).for_each(|line| ui.say(&format!("  {line}")));
        ExitCode::Done
    }

    fn failure(&self, error: &Error, delta: Option<&Delta>, ui: &mut Ui) -> ExitCode {
        ui.error(&error.clone().into());
        if ui.is_json() {
            let stopped = matches!(error.exit_code(), ExitCode::Signal(_));
            let outcome = if stopped { Outcome::Stopped } else { Outcome::Failed };
            self.print_json(outcome, error.exit_code(), delta, None, ui);
        }
        error.exit_code()
    }

    fn fields(&self, type_name: &str, delta: Option<&Delta>, done: Option<&Done>) -> Map<String, Value> {
        let plan = delta.map(Delta::steps);
        let counted = |action| plan.map_or(0, |plan| plan.count(action));
        let mut fields = objects::object(json!({
            "type": type_name,
            "delta": true,
            "id": self.backup.id.text,
            "sequence": self.backup.id.sequence,
            "created": counted(Action::Create),
            "changed": counted(Action::Change),
            "replaced": counted(Action::Replace),
            "deleted": counted(Action::Delete),
            "equal": plan.map_or(0, |plan| plan.equal),
            "kept": plan.map_or(0, |plan| plan.kept + plan.special),
            "special": plan.map_or(0, |plan| plan.special),
            "bytes_compared": plan.map_or(0, |plan| plan.compared),
            "interrupted": delta.and_then(Delta::interrupted).map(|earlier| earlier.id.clone()),
        }));
        let bytes = match (done, plan) {
            (Some(done), _) => done.applied.written,
            (None, Some(plan)) if type_name == "dry_run" => plan.bytes,
            _ => 0,
        };
        fields.insert("bytes".to_owned(), bytes.into());
        paths::insert_list(&mut fields, "only", &self.options.only);
        paths::insert(&mut fields, "repository", self.repository.root());
        fields
    }

    fn print_json(
        &self,
        outcome: Outcome,
        exit_code: ExitCode,
        delta: Option<&Delta>,
        done: Option<&Done>,
        ui: &mut Ui,
    ) {
        let took: Duration = self.started.elapsed();
        let mut fields = self.fields("summary", delta, done);
        let placed = done.and_then(|done| done.placed.as_ref());
        let more = objects::object(json!({
            "command": "restore",
            "outcome": outcome.name(),
            "exit_code": exit_code.number(),
            "not_given": done.map_or(0, |done| done.applied.not_given),
            "placed": placed.map_or(Value::Null, placed_json),
            "advice": objects::sentences(placed.map_or(&[], |placed| &placed.advice)),
            "seconds": seconds(took),
            "warnings": ui.warnings(),
        }));
        fields.extend(more);
        paths::insert(&mut fields, "into", delta.map_or(&self.options.into, |delta| delta.path()));
        ui.json_last(fields);
    }
}

/// A plan in numbers.
fn counts(plan: &Plan) -> String {
    let parts = [
        (plan.count(Action::Create), "created"),
        (plan.count(Action::Change), "changed"),
        (plan.count(Action::Replace), "replaced"),
        (plan.count(Action::Delete), "deleted"),
        (plan.equal, "equal"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}"));
    parts.collect::<Vec<_>>().join(", ")
}
