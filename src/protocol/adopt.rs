//! What a list owes to an earlier session: its entries in the batches of a reader who never lived, as any reader takes them
//! over from a dead one.

use std::collections::HashMap;
use std::path::PathBuf;

use super::claim::{BATCH_BYTES, BATCH_ENTRIES};
use super::records::{Point, RecordFile};
use super::resume::LOGS;
use super::unchanged::is_settled;
use super::{Context, open_files};
use crate::engine::Entry;
use crate::engine::files::FilesEngine;
use crate::error::Result;
use crate::repository::blocks;
use crate::repository::file_list::ReadRecord;
use crate::repository::read_records::RecordLine;
use crate::session::event::{Batch, Event, Phase};
use crate::session::readers::ReaderSlot;

/// Cuts a list into batches as readers do, and remembers those of which something is known.
pub struct Batches {
    phase: Phase,
    reader: u32,
    current: Option<Batch>,
    bytes: u64,
    /// Entries of the current batch that are known as a whole, and whether any is known at all.
    whole: u64,
    is_any: bool,
    next: u64,
    opened: Vec<Event>,
    closed: Vec<Event>,
}

impl Batches {
    /// Batches of a list, in the hands of this reader.
    pub fn new(phase: Phase, reader: u32) -> Self {
        let (opened, closed) = (Vec::new(), Vec::new());
        Self { phase, reader, current: None, bytes: 0, whole: 0, is_any: false, next: 0, opened, closed }
    }

    /// The number of the entry that is added next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds an entry: the bytes that reading it moves, where its line in the plan begins and ends, and whether all of it
    /// is known, or a part, or nothing.
    pub fn add(&mut self, bytes: u64, (offset, end): (u64, u64), known: Option<bool>) {
        let first = self.next;
        let batch = self.current.get_or_insert(Batch { first, count: 0, offset, end });
        batch.count += 1;
        batch.end = end;
        self.next += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.whole += u64::from(known == Some(true));
        self.is_any |= known.is_some();
        if batch.count >= BATCH_ENTRIES || self.bytes >= BATCH_BYTES {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let Some(batch) = self.current.take() else { return };
        let (phase, reader, first) = (self.phase, self.reader, batch.first);
        if std::mem::take(&mut self.is_any) {
            self.opened.push(Event::Opened { reader, phase, batch });
        }
        if std::mem::take(&mut self.whole) == batch.count {
            self.closed.push(Event::Closed { reader, phase, first });
        }
        self.bytes = 0;
    }

    /// What the journal is to say, where the reader's records are proven up to `point`; nothing where nothing is known.
    pub fn finish(mut self, point: &Point) -> Vec<Event> {
        self.cut();
        if self.opened.is_empty() {
            return Vec::new();
        }
        let Point { records, files, bytes, .. } = *point;
        let synced = Event::Synced { reader: self.reader, records, files, bytes };
        self.opened.into_iter().chain([synced]).chain(self.closed).collect()
    }
}

/// Logs of an earlier session, as they fit into the list of this one.
#[derive(Default)]
pub struct AdoptedLogs {
    /// What the journal is to say behind the list.
    pub events: Vec<Event>,
    /// Copies of logs that are not what they were, or gone, below the repository: nothing knows of them any more.
    stray: Vec<PathBuf>,
}

impl AdoptedLogs {
    /// Finds logs that an earlier session had read and that are what they were then; `offsets` says where the line of each
    /// entry begins in the plan, and where the last one ends.
    pub fn find(context: &Context, logs: &[Entry], offsets: &[u64]) -> Result<Self> {
        let Some(partial) = context.partial()? else { return Ok(Self::default()) };
        let (home, store) = (partial.records(), partial.repository().store());
        let Some(_) = store.size(&home.file(LOGS))? else { return Ok(Self::default()) };
        let roots = context.session.record().roots();
        let mut known: HashMap<PathBuf, ReadRecord> = HashMap::new();
        home.read(LOGS, home.proven_by_itself(LOGS)?, &mut |_, line| {
            if let RecordLine::Read(record) = line
                && let Some(name) = record.line.name(&roots)
            {
                known.insert(name, *record);
            }
            Ok(())
        })?;
        let files = open_files(context.session.record(), &context.state)?;
        // A reader who is dead as soon as he has a number: any other one takes over what he has.
        let heir = ReaderSlot::take(context.session.folder())?.number;
        let mut out = RecordFile::create(&home, heir, roots)?;
        let mut batches = Batches::new(Phase::Logs, heir);
        for (entry, line) in logs.iter().zip(offsets.windows(2)) {
            let record = known.get(&entry.path).filter(|record| is_still(&files, entry, record));
            let is_known = record.is_some().then_some(true);
            if let Some(record) = record.cloned() {
                let size = record.line.size;
                out.add_record(&ReadRecord { index: batches.next(), ..record }, size)?;
                known.remove(&entry.path);
            }
            batches.add(entry.bytes_to_read(), (line[0], line[1]), is_known);
        }
        out.flush()?;
        let point = out.point(Vec::new());
        store.sync()?;
        out.note_proven(&point)?;
        let mut stray = Vec::new();
        for place in known.values().filter_map(|record| record.line.stored_path()) {
            stray.extend([partial.backup().join(&place), blocks::path_of(&partial.backup(), &place)]);
        }
        Ok(Self { events: batches.finish(&point), stray })
    }

    /// Removes what fits into no list. Call it only before anybody can read a log.
    pub fn clear(&self, context: &Context) -> Result<()> {
        let Some(partial) = context.partial()? else { return Ok(()) };
        self.stray.iter().try_for_each(|path| partial.repository().store().remove(path))
    }
}

fn is_still(files: &FilesEngine, entry: &Entry, record: &ReadRecord) -> bool {
    let now = files.stamp_and_mode(&entry.path);
    entry.hard_link.is_none()
        && (record.line.role, record.line.generation) == (entry.role, entry.generation)
        && now == Some((record.stamp, record.mode))
        && record.began_ns.is_some_and(|began_ns| is_settled(record.stamp.changed_ns, began_ns))
}
