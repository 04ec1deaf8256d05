//! The calls of the protocol, one file a call: here sessions, engines and repositories meet.

pub mod adopt;
pub mod appeared;
pub mod backup;
pub mod begin;
pub mod claim;
pub mod compare;
pub mod consolidate;
pub mod end;
pub mod files;
pub mod heal;
mod held_logs;
mod kept_file;
pub mod named;
mod nesting;
pub mod parent;
pub mod prune;
pub mod publish;
pub mod read;
mod read_ahead;
pub mod records;
pub mod resume;
pub mod rolled_back;
#[cfg(test)]
mod shared_tests;
pub mod sinks;
pub mod spool;
pub mod status;
pub mod stop;
pub mod store_sink;
pub mod survey;
pub mod truncate;
pub mod unchanged;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::ese::engine::EseEngine;
use crate::engine::files::{FilesEngine, FilesOptions};
use crate::engine::plan::PlanReader;
use crate::engine::sqlite::engine::SqliteEngine;
use crate::engine::{Engine, EngineName};
use crate::error::{Error, ExitCode, Jet, Result};
use crate::repository::Repository;
use crate::repository::local::LocalStore;
use crate::repository::partial::{Owner, Partial};
use crate::repository::read_records::RecordFolder;
use crate::session::Session;
use crate::session::directory::StateDirectory;
use crate::session::event::{Failure, Phase};
use crate::session::record::Record;
use crate::session::state::Refusal;

/// What a command does right now, for people and for JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Reading the database list.
    Databases,
    /// Reading the log list.
    Logs,
    /// Writing lists and manifest.
    Sealing,
    /// Reading a backup back.
    Verifying,
    /// Deleting logs.
    Truncating,
    /// Comparing a backup with a directory.
    Comparing,
    /// Writing a backup back.
    Restoring,
    /// Putting a full backup together.
    Consolidating,
}

impl Activity {
    /// The word used in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Databases => "databases",
            Self::Logs => "logs",
            Self::Sealing => "sealing",
            Self::Verifying => "verifying",
            Self::Truncating => "truncating",
            Self::Comparing => "comparing",
            Self::Restoring => "restoring",
            Self::Consolidating => "consolidating",
        }
    }
}

impl From<Phase> for Activity {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Databases => Self::Databases,
            Phase::Logs => Self::Logs,
        }
    }
}

/// How far a command is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What it does.
    pub activity: Activity,
    /// The file it is at, relative to the storage.
    pub file: Option<Arc<Path>>,
    /// Bytes done.
    pub bytes_done: u64,
    /// Bytes in all; they may grow when logs are listed.
    pub bytes_total: u64,
}

/// Something odd that does not end the command.
#[derive(Clone, Debug)]
pub struct Warning {
    /// The ESE number, where there is one.
    pub jet: Option<Jet>,
    /// What is odd.
    pub message: String,
    /// The file it is about, relative to the storage.
    pub file: Option<PathBuf>,
}

/// Who hears what happens while a call works.
pub trait Observer {
    /// Called many times a second.
    fn progress(&mut self, progress: &Progress);
    /// Something odd.
    fn warning(&mut self, warning: &Warning);
    /// Something that was decided, for those who ask (`-v`).
    fn decided(&mut self, what: &str);
    /// Something that was done unasked, such as ending a dead session.
    fn said(&mut self, what: &str);
}

/// For what happens when a session is dropped, whose error says all there is to say, and for what was said before.
struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: &Progress) {}
    fn warning(&mut self, _: &Warning) {}
    fn decided(&mut self, _: &str) {}
    fn said(&mut self, _: &str) {}
}

/// A session with what its calls need.
pub struct Context {
    /// The state directory it lives in.
    pub state: StateDirectory,
    /// The session.
    pub session: Session,
    /// Its partial, where it has a repository; the error where the repository cannot be opened.
    pub partial: Result<Option<Partial>>,
    /// What it has written stays where it is when it ends without a backup: the next session goes on from there.
    pub leaves_partial: bool,
}

impl Context {
    /// Opens what a session refers to. A repository that is gone fails only what needs it: a session whose repository
    /// has vanished can still be looked at, stopped and ended.
    pub fn open(state: StateDirectory, session: Session) -> Self {
        let partial = match session.record().repository() {
            Some(path) => Repository::open(&path).map(|found| Some(found.partial(&session.record().session))),
            None => Ok(None),
        };
        Self { state, session, partial, leaves_partial: false }
    }

    /// The session's partial, where it has a repository.
    pub fn partial(&self) -> Result<Option<&Partial>> {
        self.partial.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// The session's partial; -521 where it has no repository.
    pub fn require_partial(&self) -> Result<&Partial> {
        self.partial()?.ok_or_else(|| Refusal::NoRepository.into())
    }

    /// The engine of the session's storage.
    pub fn engine(&self) -> Result<Arc<dyn Engine>> {
        open_engine(self.session.record(), &self.state)
    }

    /// Where the session's records are: beside the data, or in its own folder where there is no repository.
    pub fn records(&self) -> Result<RecordFolder> {
        match self.partial()? {
            Some(partial) => Ok(partial.records()),
            None => Ok(RecordFolder {
                store: Arc::new(LocalStore::open(self.session.folder())?),
                folder: PathBuf::from("records"),
            }),
        }
    }

    /// The plan file of a phase, once it is fixed.
    pub fn plan(&self, phase: Phase) -> Result<Option<PathBuf>> {
        Ok(match phase {
            Phase::Databases => Some(self.session.folder().join("databases.jsonl")),
            Phase::Logs => self.session.state()?.logs_plan().map(|plan| self.session.folder().join(plan)),
        })
    }

    /// Whether the list of databases holds nothing but the storage itself, in a session that can take it.
    pub fn plan_is_only_root(&self) -> Result<bool> {
        let Some(plan) = self.plan(Phase::Databases)?.filter(|_| self.session.record().repository().is_some()) else {
            return Ok(false);
        };
        let first = PlanReader::open(&plan, 0)?.next_entry()?;
        Ok(first.is_some_and(|entry| entry.path.as_os_str().is_empty()))
    }

    /// Gets rid of what an unpublished session wrote, unless it was asked to keep it.
    pub fn discard(&self, observer: &mut dyn Observer) -> Result<()> {
        let partial = match self.partial() {
            Ok(Some(partial)) => partial,
            Ok(None) => return Ok(()),
            Err(error) => {
                let message = format!("what was read so far stays where it is: {}", error.message());
                observer.warning(&Warning { jet: error.jet_code(), message, file: None });
                return Ok(()); // the next backup into that repository finds it ownerless and removes it
            }
        };
        if self.leaves_partial && !self.session.record().keep_partial {
            return Ok(());
        }
        if !self.session.record().keep_partial {
            return partial.discard().map(drop);
        }
        let place = partial.repository().store().describe(&partial.data());
        let place = crate::error::printable(&place);
        match partial.keep(&Owner::new(&self.session.record().session, self.session.folder(), false)) {
            // A prune that discards partials took the dead session's away.
            Err(error) if error.is_not_found() => observer.said(&format!("what was read so far is gone from {place}")),
            kept => {
                kept?;
                observer.said(&format!("what was read so far stays in {place}"));
            }
        }
        Ok(())
    }
}

/// Opens the engine that a record names, with the options it holds.
pub fn open_engine(record: &Record, state: &StateDirectory) -> Result<Arc<dyn Engine>> {
    let files = open_files(record, state)?;
    Ok(match record.engine {
        EngineName::Files => Arc::new(files),
        EngineName::Sqlite => {
            let terms = record.sqlite.clone().unwrap_or_default();
            let scratch = state.path().join(&record.session);
            Arc::new(SqliteEngine::new(files, &record.storage(), &terms, &scratch))
        }
        EngineName::Ese => {
            let terms = record.ese.clone().unwrap_or_default();
            let known = record.instance.clone();
            let engine = EseEngine::new(files, &record.storage(), &terms, record.keep_going, known);
            let builds_on = record.kind.has_parent();
            Arc::new(if builds_on { engine.after(record.log_parent.clone()) } else { engine })
        }
    })
}

/// Opens the storage of a record as a directory of files.
pub fn open_files(record: &Record, state: &StateDirectory) -> Result<FilesEngine> {
    let own = state.path().canonicalize().into_iter().collect::<Vec<_>>();
    let options = FilesOptions {
        logs: record.logs.clone(),
        excludes: record.exclusion.globs.clone(),
        exclude_caches: record.exclusion.caches,
        one_file_system: record.exclusion.other_file_systems,
        keep_going: record.keep_going,
        own,
        roots: record.roots(),
    };
    FilesEngine::open(&record.storage(), &options)
}

/// A failure as the journal and the manifest keep it.
pub fn failure(path: &Path, error: &Error) -> Failure {
    Failure {
        path: path.to_string_lossy().into_owned(),
        message: error.message().to_owned(),
        jet: error.jet_code().map(Jet::number),
        exit_code: error.exit_code().number(),
    }
}

/// The exit code of a session that left files out: verification before change before everything else (decision 17).
pub fn exit_of<'a>(failures: impl IntoIterator<Item = &'a Failure>) -> ExitCode {
    let rank = |failure: &Failure| match failure.exit_code {
        3 => 2,
        6 => 1,
        _ => 0,
    };
    match failures.into_iter().map(rank).max() {
        None => ExitCode::Done,
        Some(2) => ExitCode::Verification,
        Some(1) => ExitCode::Unfit,
        Some(_) => ExitCode::Failed,
    }
}
