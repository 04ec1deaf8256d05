//! `jetbak begin`

use std::path::PathBuf;

use serde_json::json;

use super::args::{BeginArgs, Global};
use super::session_args::{EngineArg, KindArg, SessionArgs};
use super::summary::count;
use super::{signal_token, state_directory};
use crate::engine::ese::facts::{Named, Terms};
use crate::engine::sqlite::facts::Terms as SqliteTerms;
use crate::engine::{EngineName, globs};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::paths;
use crate::protocol::begin::{self, Options};
use crate::protocol::survey::Survey;
use crate::repository::tags::tidy;
use crate::session::Session;
use crate::session::event::Kind;
use crate::session::record::Exclusion;
use crate::ui::{Ui, json as objects};

impl SessionArgs {
    /// What was typed, as plain values.
    pub fn options(&self, repository: Option<&std::path::Path>, one_shot: bool) -> Result<Options> {
        let (exclusion, pattern_files) = self.exclusion()?;
        Ok(Options {
            storage: self.storage.clone(),
            repository: repository.map(std::path::Path::to_owned),
            engine: match self.engine {
                EngineArg::Auto => None,
                EngineArg::Ese => Some(EngineName::Ese),
                EngineArg::Sqlite => Some(EngineName::Sqlite),
                EngineArg::Files => Some(EngineName::Files),
            },
            kind: match self.kind {
                KindArg::Full => Kind::Full,
                KindArg::Copy => Kind::Copy,
                KindArg::Incremental => Kind::Incremental,
                KindArg::Differential => Kind::Differential,
            },
            ignore_metadata: self.ignore_metadata,
            blocks: self.blocks,
            name: self.name.clone(),
            logs: self.logs.clone(),
            ese: Terms {
                snapshot: self.snapshot,
                base: self.instance.base.clone(),
                log_directory: self.instance.log_dir.as_deref().map(absolute).transpose()?,
                checkpoint: self.instance.checkpoint.as_deref().map(absolute).transpose()?,
                live_log_directory: self.live_log_dir.as_deref().map(absolute).transpose()?,
                live_checkpoint: self.live_checkpoint.as_deref().map(absolute).transpose()?,
                engine_files: self.engine_files,
                accept_damage: self.accept_damage,
                accept_loss: self.accept_loss,
            },
            sqlite: self.sqlite_terms(),
            truncate: false,
            exclusion,
            pattern_files,
            keep_going: self.keep_going,
            keep_partial: self.keep_partial,
            tags: self.tags(),
            resume: !self.no_resume,
            retries: self.retries,
            replace_idle: self.replace_idle,
            one_shot,
        })
    }

    fn tags(&self) -> Vec<String> {
        let mut tags = self.tags.clone();
        tidy(&mut tags);
        tags
    }

    /// How databases of SQLite are to be read, where something was said about that.
    fn sqlite_terms(&self) -> Option<SqliteTerms> {
        if self.busy_timeout.is_none() && self.max_lock.is_none() {
            return None;
        }
        let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut terms = SqliteTerms { max_lock_ms: self.max_lock.map(milliseconds), ..SqliteTerms::default() };
        if let Some(timeout) = self.busy_timeout {
            terms.busy_timeout_ms = milliseconds(timeout);
        }
        Some(terms)
    }

    /// What is left out as asked, and the files of patterns, whose patterns come last, with how many each has.
    fn exclusion(&self) -> Result<(Exclusion, Vec<(PathBuf, usize)>)> {
        let mut globs = self.excludes.clone();
        let mut files = Vec::new();
        for path in &self.exclude_from {
            let text = std::fs::read(path).map_err(|e| Error::io("read", path, &e).exit(ExitCode::Usage))?;
            let patterns = globs::parse_list(&text).map_err(|reason| {
                Error::jet(Jet::InvalidParameter, format!("{}: {reason}", printable(path))).file(path)
            })?;
            files.push((path.clone(), patterns.len()));
            globs.extend(patterns);
        }
        let exclusion = Exclusion { globs, caches: self.exclude_caches, other_file_systems: self.one_file_system };
        Ok((exclusion, files))
    }
}

/// A path that means the same to every later command.
fn absolute(path: &std::path::Path) -> Result<Named> {
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(path));
    absolute.map(|path| Named::new(&path)).map_err(|e| Error::io("find", path, &e).exit(ExitCode::Usage))
}

pub fn run(global: &Global, args: &BeginArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = if args.no_repository { None } else { args.to.as_deref() };
    let options = args.session.options(repository, false)?;
    let signals = signal_token()?;
    let begun = begin::begin(&state_directory(global)?, &options, ui, &signals)?;
    show(&begun.context.session, &begun.survey, ui);
    Ok(ExitCode::Done)
}

/// The patterns that leave nothing out; none where that is not known.
pub fn unused_patterns<'a>(survey: &Survey, exclusion: &'a Exclusion) -> Option<Vec<&'a String>> {
    let unused = survey.unused_patterns.as_ref()?;
    Some(unused.iter().filter_map(|number| exclusion.globs.get(*number)).collect())
}

/// Tells of a session that was just begun.
pub fn show(session: &Session, survey: &Survey, ui: &mut Ui) {
    let record = session.record();
    if !ui.is_json() {
        let logs = if survey.logs > 0 { format!(" and {}", count(survey.logs, "log")) } else { String::new() };
        ui.say(&format!(
            "session {}: {} ({}){logs} of {}, engine {}, {}",
            record.session,
            count(survey.files, "file"),
            indicatif::BinaryBytes(survey.bytes),
            printable(record.storage()),
            record.engine,
            record.kind.name()
        ));
        if let Some((parent, unchanged)) = &survey.parent {
            ui.say(&format!("  builds on {}: {} unchanged", printable(parent), count(unchanged.files, "file")));
        }
        return;
    }
    let mut object = objects::object(json!({
        "type": "begun",
        "session": record.session,
        "engine": record.engine.name(),
        "kind": record.kind.name(),
        "files": survey.files,
        "bytes": survey.bytes,
        "logs": survey.logs,
        "parent": survey.parent.as_ref().map(|(id, _)| id),
        "unchanged": survey.parent.as_ref().map(|(_, unchanged)| unchanged.files),
        "unused_patterns": unused_patterns(survey, &record.exclusion),
        "resumed": record.resumed,
    }));
    paths::insert(&mut object, "storage", &record.storage());
    if let Some(repository) = record.repository() {
        paths::insert(&mut object, "repository", &repository);
    }
    ui.json(object);
}
