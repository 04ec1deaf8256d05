//! The resolved list of a parent, read and taken apart on a thread of its own while the storage is surveyed on another one.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::vec;

use super::unchanged::Known;
use crate::error::{Error, ExitCode, Result};
use crate::repository::list_reader::{Line, ListReader, Resolved};
use crate::roots::Roots;
use crate::times;

/// Lines that go from thread to thread at once.
const BATCH_LINES: usize = 512;
/// Batches that wait: several MiB of lines.
const BATCHES: usize = 8;

/// A line of the parent's list.
pub type Earlier = Known<Box<Resolved>>;

/// What the lines of a list are called, and how what is wrong with it.
#[derive(Debug)]
pub struct Naming {
    /// The id of the parent.
    pub id: String,
    /// Where its list is.
    pub list: PathBuf,
    /// When the backups of the chain began, by their places in it, in nanoseconds since 1970 (UTC).
    pub began_ns: Vec<i128>,
    /// The further roots of the session.
    pub roots: Roots,
    /// Those of the parent.
    pub parent_roots: Roots,
}

impl Naming {
    /// What a line is about, in the words of the session.
    pub fn name(&self, line: &Resolved) -> PathBuf {
        let path = line.line.path().unwrap_or_default();
        // Where a root lies elsewhere now, it is still the same root.
        let name = self.roots.name(&line.line.root, &path);
        name.or_else(|| self.parent_roots.name(&line.line.root, &path)).unwrap_or_default()
    }

    /// The error of a list that cannot be believed; exit 3.
    pub fn damaged(&self, why: &str) -> Error {
        let message = format!("the list of {}, on which this backup would build, cannot be believed: {why}", self.id);
        Error::new(ExitCode::Verification, message)
            .file(&self.list)
            .hint("`jetbak verify` tells more. Make a full backup: it builds on nothing.")
    }

    fn known(&self, line: Box<Resolved>) -> Earlier {
        let of = &line.line;
        let nanoseconds = |text: &Option<String>| text.as_deref().and_then(times::to_nanoseconds);
        let first = of.hard_link().and_then(|first| self.roots.name(&of.root, &first));
        Known {
            path: self.name(&line),
            role: of.role,
            size: of.size,
            modified_ns: nanoseconds(&of.modified),
            changed_ns: nanoseconds(&of.changed),
            inode: of.inode,
            hard_link: first,
            began_ns: self.began_ns.get(line.link).copied().unwrap_or(i128::MIN),
            // A copy of a database in WAL mode may hold what stood in its log, of which its own file says nothing.
            is_more_than_its_file: of.sqlite.as_ref().is_some_and(|copy| copy.journal_mode == "wal")
                || !of.not_kept.is_empty(),
            line,
        }
    }
}

/// Lines that nobody needs any more; they go back as they are, and are not copied once more.
type Used = Vec<Earlier>;

/// A list that is read ahead.
pub struct ReadAhead {
    batches: Receiver<Vec<Earlier>>,
    ready: vec::IntoIter<Earlier>,
    thread: Option<JoinHandle<Result<ListReader>>>,
    /// The list at its end, to be compared with what it should amount to.
    read: Option<ListReader>,
    /// Lines that nobody needs any more go back to where they were made: memory is freed best by the thread that took it.
    used: Used,
    give_back: Sender<Used>,
}

impl ReadAhead {
    /// Begins to read; whoever drops the result ends that.
    pub fn begin(list: ListReader, naming: &Arc<Naming>) -> Result<Self> {
        let (send, batches) = mpsc::sync_channel(BATCHES);
        let (give_back, used) = mpsc::channel();
        let naming = Arc::clone(naming);
        let spawned = thread::Builder::new().name("list".to_owned()).spawn(move || read(list, &naming, &send, &used));
        let thread = spawned.map_err(|e| Error::new(ExitCode::Failed, format!("cannot start a thread: {e}")))?;
        let (ready, used) = (Vec::new().into_iter(), Vec::new());
        Ok(Self { batches, ready, thread: Some(thread), read: None, used, give_back })
    }

    /// The next line, none at the end.
    pub fn next(&mut self) -> Result<Option<Earlier>> {
        loop {
            if let Some(line) = self.ready.next() {
                return Ok(Some(line));
            }
            if let Ok(batch) = self.batches.recv() {
                self.ready = batch.into_iter();
                continue;
            }
            let Some(thread) = self.thread.take() else { return Ok(None) };
            let failed = |_| Error::new(ExitCode::Failed, "the thread that reads a list failed; this is a bug");
            self.read = Some(thread.join().map_err(failed)??);
        }
    }

    /// Takes back a line that nobody needs any more.
    pub fn give_back(&mut self, line: Earlier) {
        self.used.push(line);
        if self.used.len() >= BATCH_LINES {
            let _ = self.give_back.send(mem::take(&mut self.used)); // the thread may be done
        }
    }

    /// The list, once all of it was read.
    pub fn read(&self) -> Option<&ListReader> {
        self.read.as_ref()
    }
}

fn read(
    mut list: ListReader,
    naming: &Naming,
    send: &SyncSender<Vec<Earlier>>,
    used: &Receiver<Used>,
) -> Result<ListReader> {
    let mut batch = Vec::with_capacity(BATCH_LINES);
    loop {
        match list.next_line()? {
            Some(Line::Sound(line)) => batch.push(naming.known(line)),
            Some(Line::Bad(what)) => return Err(naming.damaged(&what)),
            None => break,
        }
        if batch.len() == BATCH_LINES {
            used.try_iter().for_each(drop);
            let full = mem::replace(&mut batch, Vec::with_capacity(BATCH_LINES));
            if send.send(full).is_err() {
                return Ok(list); // nobody wants more
            }
        }
    }
    let _ = send.send(batch); // likewise
    Ok(list)
}
