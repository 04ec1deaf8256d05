//! Opening a file of an instance for a backup: it must be what was judged when the session began, and proves itself on the
//! way.

use std::sync::PoisonError;

use super::beside::BesideSource;
use super::check::look_into;
use super::contents::is_named_as_database;
use super::engine::{EseEngine, unfit};
use super::facts::{DatabaseFacts, Named};
use super::files::{Found, read_head};
use super::fitness;
use super::log::{LogName, LogRole};
use super::ranges::{Need, need};
use super::recognise::{Content, recognise};
use super::source::{DatabaseSource, LogSource, LogTerms, Policy};
use crate::engine::files::Reached;
use crate::engine::watched::Watched;
use crate::engine::{Entry, Role};
use crate::error::{Error, Jet, Result, printable};
use crate::stream::source::Opened;
use crate::stream::stop::StopToken;

impl EseEngine {
    fn policy(&self, stop: &StopToken) -> Policy {
        Policy { is_at_rest: self.terms.snapshot, accept_damage: self.terms.accept_damage, stop: stop.clone() }
    }

    /// A database, whose pages are proven on the way.
    pub(super) fn open_database(&self, entry: &Entry, stop: &StopToken) -> Result<Opened> {
        let (file, watched, allocated) = match self.files.reach(entry)? {
            Reached::Opened(opened) => return Ok(opened),
            Reached::File { file, watched, allocated } => (file, watched, allocated),
        };
        let path = watched.absolute();
        let head = read_head(&file, &path)?;
        let size = watched.before.stamp.size;
        let found = Found { path: path.as_path().into(), size, content: recognise(&head, size) };
        let Content::Database(header, _) = &found.content else {
            let what = match found.content {
                Content::DamagedHeader(..) => "has no valid header: both copies are damaged",
                _ => "is not the database any more that it was when the backup began",
            };
            let error = Error::jet(Jet::DatabaseCorrupted, format!("{} {what}", printable(&path)));
            return Err(error.file(&entry.path).hint("`jetbak inspect` says what a file is."));
        };
        let inside = look_into(&file, size, header);
        if let Some(error) = fitness::judge_open(&found, &inside, &self.terms) {
            return Err(error.file(&entry.path));
        }
        let is_dirty = !matches!(need(header, inside.trailer.as_ref()), Need::Nothing) && !header.is_untouched_copy();
        if is_dirty && !self.terms.snapshot {
            let message = format!("{} was opened by its application after the backup began", printable(&path));
            return Err(Error::jet(Jet::DatabaseDirtyShutdown, message).file(&entry.path));
        }
        let now = DatabaseFacts::of_header(Named::new(&entry.path), header);
        let known = self.known.iter().flat_map(|known| &known.databases).find(|known| known.file == now.file);
        if known.is_some_and(|known| !known.is_same(&now)) {
            let what = "is not the database any more that it was when the backup began";
            return Err(unfit(&entry.path, &format!("{} {what}", printable(&path))));
        }
        let source = DatabaseSource::new((file, watched, allocated), &head, header, &inside, self.policy(stop));
        Ok(Opened::Data(Box::new(source)))
    }

    /// A log, proven before the first byte leaves.
    pub(super) fn open_log(&self, entry: &Entry, stop: &StopToken) -> Result<Opened> {
        let (file, watched, allocated) = match self.files.reach(entry)? {
            Reached::Opened(opened) => return Ok(opened),
            Reached::File { file, watched, allocated } => (file, watched, allocated),
        };
        require_as_listed(entry, &watched)?;
        let path = watched.absolute();
        let content = recognise(&read_head(&file, &path)?, watched.before.stamp.size);
        let header = match content {
            Content::Log(header, _) if Some(header.generation.0) == entry.generation => header,
            _ => {
                let message = format!("{} is not the log any more that was listed", printable(&path));
                return Err(Error::jet(Jet::LogReadVerifyFailure, message).file(&entry.path));
            }
        };
        let name = entry.path.file_name().and_then(LogName::parse);
        let is_tip = !name.is_some_and(|name| matches!(name.role, LogRole::Archived(_)));
        let terms = LogTerms { accumulated: self.recorded_of(header.generation.0, stop)?, is_tip };
        let source = LogSource::open((file, watched, allocated), &header, &terms, &self.policy(stop))?;
        Ok(Opened::Data(Box::new(source)))
    }

    /// A file of the engine that proves itself, but that no restore fails for.
    pub(super) fn open_beside(&self, entry: &Entry) -> Result<Opened> {
        // Of a million files of an application nearly none has the length of whole sectors.
        let may_be = entry.size >= 4096 && entry.size.is_multiple_of(512);
        if entry.role != Role::Checkpoint && !may_be && !is_named_as_database(&entry.path) {
            return self.files.open_file(entry);
        }
        let (file, watched, allocated) = match self.files.reach(entry)? {
            Reached::Opened(opened) => return Ok(opened),
            Reached::File { file, watched, allocated } => (file, watched, allocated),
        };
        let (path, size) = (watched.absolute(), watched.before.stamp.size);
        let head = read_head(&file, &path)?;
        let content = recognise(&head, size);
        if entry.role == Role::Checkpoint {
            require_as_listed(entry, &watched)?;
        } else if matches!(content, Content::Database(..)) {
            let message = format!("{} was no database when the backup began, and is one now", printable(&path));
            return Err(unfit(&entry.path, &message));
        }
        let source = BesideSource::new(self.files.plain(file, watched, allocated)?, &entry.path, head);
        let source = match content {
            Content::FlushMap(..) => source.proving_pages(size),
            Content::Checkpoint(..) => source,
            _ => source.saying(self.was_good(entry).then(|| {
                format!("{} was a checkpoint when the backup began, and is damaged now", printable(&entry.path))
            })),
        };
        Ok(Opened::Data(Box::new(source)))
    }

    /// Whether this is the checkpoint, and was one when the session began.
    fn was_good(&self, entry: &Entry) -> bool {
        entry.role == Role::Checkpoint && self.known.as_ref().is_some_and(|known| known.checkpoint.is_some())
    }

    /// What the log after this one has recorded of it.
    fn recorded_of(&self, generation: u32, stop: &StopToken) -> Result<Option<u64>> {
        let mut known = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Some(self.story(stop)?.recorded);
        }
        Ok(known.as_ref().and_then(|known| known.get(&generation)).copied())
    }
}

/// What the range was computed from must be what is copied.
fn require_as_listed(entry: &Entry, watched: &Watched) -> Result<()> {
    let now = &watched.before.stamp;
    if (entry.size, entry.modified_ns) == (now.size, now.modified_ns) {
        return Ok(());
    }
    Err(unfit(&entry.path, &format!("{} changed after the logs were listed", printable(watched.absolute()))))
}
