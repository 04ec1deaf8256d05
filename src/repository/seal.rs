//! Sealing and publishing: from a partial and its records to a folder under `backups/`.
//!
//! Sealing writes `files.jsonl`, `SHA256SUMS` and `manifest.json` into the partial. Publishing is one rename, done by
//! whoever holds `REPO/lock`; the session's journal says `publishing` before it, so that the next one who looks can
//! finish it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::blocks;
use super::file_list::{FileLine, ReadRecord, sums_line};
use super::list_script::{Run, ScriptWriter};
use super::manifest::{self, BackupId, DamagedPage, LogRange, Manifest, ProofTotals};
use super::partial::Partial;
use super::read_records::{BUFFER_BYTES, Lookup, Place, RecordFolder, RecordLine, lost};
use super::store::{Item, Store, Writing};
use super::{Repository, sha256_hex};
use crate::durable::{Put, TEMPORARY_PREFIX};
use crate::engine::Role;
use crate::engine::ese::facts::Named;
use crate::error::{Error, ExitCode, Jet, Result};
use crate::hex::hex;
use crate::roots::Roots;
use crate::session::event::Phase;
use crate::session::record::Counts;
use crate::stream::earlier::Within;
use crate::stream::source::Got;

/// The records of a session, in the order of its lists.
pub struct Records {
    home: RecordFolder,
    places: Vec<Place>,
    has_hard_links: bool,
}

impl Records {
    /// Gathers what every reader has proven; `total` says how many entries each list has.
    pub fn gather(home: &RecordFolder, proven: &[(u32, u64)], databases: u64, logs: u64) -> Result<Self> {
        const NOWHERE: Place = (0, u64::MAX);
        let too_many = || Error::new(ExitCode::Failed, "the session lists more files than fit into memory");
        let total = usize::try_from(databases.saturating_add(logs)).map_err(|_| too_many())?;
        let mut places = Vec::new();
        places.try_reserve_exact(total).map_err(|_| too_many())?;
        places.resize(total, NOWHERE);
        let mut has_hard_links = false;
        for (reader, bytes) in proven {
            home.read(*reader, *bytes, &mut |offset, line| {
                let RecordLine::Read(record) = line else { return Ok(()) };
                let index = match record.phase {
                    Phase::Databases => record.index,
                    Phase::Logs => databases.saturating_add(record.index),
                };
                has_hard_links |= record.line.hard_link().is_some();
                let place = usize::try_from(index).ok().and_then(|index| places.get_mut(index));
                *place.ok_or_else(|| lost(&home.store.describe(&home.file(*reader)), offset))? = (*reader, offset);
                Ok(())
            })?;
        }
        places.retain(|place| *place != NOWHERE);
        Ok(Self { home: home.clone(), places, has_hard_links })
    }

    /// Hands every record over, in the order of the lists.
    pub fn each(&self, visit: &mut dyn FnMut(ReadRecord) -> Result<()>) -> Result<()> {
        self.each_placed(&mut |_, record| visit(record))
    }

    fn each_placed(&self, visit: &mut dyn FnMut(Place, ReadRecord) -> Result<()>) -> Result<()> {
        let mut lookup = Lookup::new(&self.home);
        for place in &self.places {
            let record = lookup.at(*place)?;
            visit(*place, record)?;
        }
        Ok(())
    }

    /// One record again.
    fn read(&self, place: Place) -> Result<ReadRecord> {
        Lookup::new(&self.home).at(place)
    }
}

/// A file that is written, counted and hashed on the way.
struct Hashed {
    out: Box<dyn Writing>,
    hasher: Sha256,
    pending: Vec<u8>,
}

impl Hashed {
    fn create(store: &dyn Store, path: &Path) -> Result<Self> {
        Ok(Self { out: store.create(path)?, hasher: Sha256::new(), pending: Vec::with_capacity(BUFFER_BYTES) })
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        self.hasher.update(text);
        self.pending.extend_from_slice(text);
        if self.pending.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<String> {
        self.flush()?;
        self.out.finish(None)?;
        Ok(hex(&self.hasher.finalize()))
    }
}

/// A partial with its list of files written; only the manifest and the last lines of `SHA256SUMS` are missing.
pub struct Sealing {
    partial: Partial,
    sums: Hashed,
    /// What was counted on the way.
    pub totals: Totals,
}

/// Another name of a file that is not in the backup.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The name.
    pub path: PathBuf,
    /// The earlier name, under which the file was to be read.
    pub first: PathBuf,
    /// Another file was read under the earlier name: the two were parted after the backup began.
    pub is_parted: bool,
}

/// A file that others are further names of: where its record is, and who it was.
struct First {
    place: Place,
    device: u64,
    inode: u64,
}

/// Files with several names, and the directories whose time a new name changed; paths as keyed hashes, so that a million
/// of them fit.
#[derive(Default)]
struct Names {
    keys: RandomState,
    wanted: HashSet<u64>,
    known: HashMap<u64, First>,
    /// Copies that took over where a file can have no more names.
    copies: HashMap<u64, PathBuf>,
    changed: HashSet<u64>,
}

impl Names {
    /// Finds the first names that others refer to: only those are remembered.
    fn gather(records: &Records) -> Result<Self> {
        let mut names = Self::default();
        if records.has_hard_links {
            records.each(&mut |record| {
                let first = record.line.hard_link().and_then(|first| record.line.stored(&first));
                let key = first.map(|first| names.key(&first));
                names.wanted.extend(key);
                Ok(())
            })?;
        }
        Ok(names)
    }

    fn key(&self, path: &Path) -> u64 {
        self.keys.hash_one(path.as_os_str().as_bytes())
    }

    /// A file was met under its first name.
    fn note(&mut self, record: &ReadRecord, place: Place) {
        let key = self.key(&record.line.stored_path().unwrap_or_default());
        if self.wanted.remove(&key) {
            let (device, inode) = (record.stamp.device, record.stamp.inode);
            self.known.insert(key, First { place, device, inode });
        }
    }

    /// The line of a record that is another name of `first`.
    fn line(&self, records: &Records, record: &ReadRecord, first: &Path) -> Result<Result<FileLine, Orphan>> {
        let orphan = |is_parted| {
            let path = record.line.path().unwrap_or_default();
            Ok(Err(Orphan { path, first: first.to_owned(), is_parted }))
        };
        let stored = record.line.stored(first).unwrap_or_default();
        let Some(known) = self.known.get(&self.key(&stored)) else { return orphan(false) };
        if (known.device, known.inode) != (record.stamp.device, record.stamp.inode) {
            return orphan(true);
        }
        Ok(Ok(record.line.another_name(&records.read(known.place)?.line)))
    }

    /// Gives a file another name, or a copy where it can have no more.
    fn link(&mut self, store: &dyn Store, folder: &Path, first: &Path, path: &Path, record: &ReadRecord) -> Result<()> {
        self.changed.extend(path.parent().map(|parent| self.key(parent)));
        let original = record.line.stored(first).unwrap_or_default();
        let key = self.key(&original);
        let original = folder.join(self.copies.get(&key).unwrap_or(&original));
        if !store.make_hard_link(&original, &folder.join(path))? {
            copy(store, &original, &folder.join(path), record)?;
            self.copies.insert(key, path.to_owned());
        }
        Ok(())
    }

    /// Gives directories their times back.
    fn dress_changed(&self, records: &Records, store: &dyn Store, folder: &Path) -> Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        records.each(&mut |record| {
            let path = record.line.stored_path().filter(|_| record.line.role == Role::Directory);
            match path.filter(|path| self.changed.contains(&self.key(path))) {
                Some(path) => store.dress(&folder.join(path), &record.attributes()),
                None => Ok(()),
            }
        })
    }
}

/// Copies a file inside of a store, with the attributes of a record.
fn copy(store: &dyn Store, from: &Path, to: &Path, record: &ReadRecord) -> Result<()> {
    let mut input = store.open(from, 0, false)?;
    let mut out = store.create(to)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.next(&mut buffer).map_err(|e| Error::io("read", &store.describe(from), &e))? {
            Got::Data(bytes) => out.write(&buffer[..bytes])?,
            Got::Hole(bytes) => out.skip(bytes)?,
            Got::End => return out.finish(Some(&record.attributes())),
        }
    }
}

/// What the list of a backup takes over from that of its parent.
pub trait Script {
    /// What is taken over.
    fn unchanged(&self) -> Counts;
    /// What becomes of lines of the parent before the entry with this number in the list of databases.
    fn before_database(&mut self, index: u64, out: &mut dyn FnMut(Run) -> Result<()>) -> Result<()>;
    /// What becomes of those that are left, before the first log.
    fn before_logs(&mut self, out: &mut dyn FnMut(Run) -> Result<()>) -> Result<()>;
}

/// The script of a backup that stands alone.
pub struct Alone;

impl Script for Alone {
    fn unchanged(&self) -> Counts {
        Counts::default()
    }

    fn before_database(&mut self, _: u64, _: &mut dyn FnMut(Run) -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn before_logs(&mut self, _: &mut dyn FnMut(Run) -> Result<()>) -> Result<()> {
        Ok(())
    }
}

/// What a backup holds.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Everything it lists, what it takes over from its parent too.
    pub counts: Counts,
    /// Files whose content is in its own folder.
    pub changed: u64,
    /// Bytes in its own folder: content, and files of blocks.
    pub bytes_stored: u64,
    /// Further names of files that could not be read.
    pub orphans: Vec<Orphan>,
    /// The logs.
    pub logs: LogRange,
    /// Damaged pages that were copied as they are.
    pub damaged: Vec<DamagedPage>,
    /// What was proven of databases and logs; none where nothing was.
    pub proof: Option<ProofTotals>,
    /// SHA-256 of `files.jsonl`, hexadecimal.
    pub files_sha256: String,
}

impl Totals {
    /// Adds a line of the backup's own.
    fn add(&mut self, line: &FileLine, roots: &Roots) {
        let counts = &mut self.counts;
        match line.role {
            Role::Directory => {
                counts.directories += u64::from(line.path().is_some_and(|path| !path.as_os_str().is_empty()));
                return;
            }
            Role::Link => {
                counts.links += 1;
                return;
            }
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => counts.files += 1,
        }
        if line.role == Role::Log {
            let log = line.name(roots).unwrap_or_default().to_string_lossy().into_owned();
            self.logs.count += 1;
            self.logs.first.get_or_insert_with(|| log.clone());
            self.logs.last = Some(log);
            self.logs.first_generation = self.logs.first_generation.or(line.generation);
            self.logs.last_generation = line.generation.or(self.logs.last_generation);
        }
        self.changed += u64::from(line.held.is_none());
        if line.hard_link().is_some() {
            counts.hard_links += 1;
            return;
        }
        counts.bytes = counts.bytes.saturating_add(line.size);
        if line.held.is_none() {
            let content = if line.within == Within::Data { line.size } else { 0 };
            let of_blocks = line.own_blocks().map_or(0, |of_blocks| of_blocks.bytes);
            self.bytes_stored = self.bytes_stored.saturating_add(content).saturating_add(of_blocks);
        }
        self.prove(line, roots);
    }

    /// Adds what was proven of one file.
    fn prove(&mut self, line: &FileLine, roots: &Roots) {
        if let Some(pages) = &line.pages {
            self.proof.get_or_insert_default().pages.add(pages);
            let file = Named::new(&line.name(roots).unwrap_or_default());
            self.damaged.extend(pages.damaged().map(|page| DamagedPage { file: file.clone(), page: page.clone() }));
        }
        if let Some(segments) = &line.segments {
            self.proof.get_or_insert_default().segments.add(segments);
        }
    }
}

impl Sealing {
    /// Writes `files.jsonl` and begins `SHA256SUMS`; can be repeated, also after a crash in the middle.
    pub fn begin(partial: &Partial, records: &Records, script: &mut dyn Script, roots: &Roots) -> Result<Self> {
        let store = partial.repository().store();
        let folder = partial.backup();
        for Item { name, .. } in store.list(&folder)? {
            // A manifest that was never renamed to its place would be an extra file of the backup for ever.
            if name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
                store.remove(&folder.join(name))?;
            }
        }
        let mut list = Hashed::create(&**store, &folder.join("files.jsonl"))?;
        let mut sums = Hashed::create(&**store, &folder.join("SHA256SUMS"))?;
        let mut totals = Totals { counts: script.unchanged(), ..Totals::default() };
        let mut names = Names::gather(records)?;
        let mut lines = ScriptWriter::default();
        let mut before_logs = true;
        records.each_placed(&mut |place, record| {
            let mut out = |text: &[u8]| list.write(text);
            match record.phase {
                Phase::Databases => script.before_database(record.index, &mut |run| lines.run(run, &mut out))?,
                Phase::Logs if std::mem::take(&mut before_logs) => {
                    script.before_logs(&mut |run| lines.run(run, &mut out))?;
                }
                Phase::Logs => {}
            }
            let damaged = || lost(&store.describe(&folder), 0);
            let mut line = record.line.clone();
            if let Some(first) = line.hard_link() {
                line = match names.line(records, &record, &first)? {
                    Ok(line) => line,
                    Err(orphan) => {
                        totals.orphans.push(orphan);
                        return Ok(());
                    }
                };
            }
            let path = line.stored_path().filter(|_| roots.knows(&line.root)).ok_or_else(damaged)?;
            match line.role {
                Role::Directory => store.dress(&folder.join(&path), &record.attributes())?,
                Role::Link => {}
                Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                    let is_here = line.held.is_none() && line.within == Within::Data;
                    match line.hard_link() {
                        Some(first) if is_here => names.link(&**store, &folder, &first, &path, &record)?,
                        Some(_) => {}
                        None => names.note(&record, place),
                    }
                    if is_here {
                        sums.write(&sums_line(line.sha256.as_ref().ok_or_else(damaged)?, &path))?;
                    }
                    if let Some(of_blocks) = line.own_blocks() {
                        sums.write(&sums_line(&of_blocks.sha256, &Path::new(blocks::FOLDER).join(&path)))?;
                    }
                }
            }
            totals.add(&line, roots);
            lines.line(&line, &mut |text| list.write(text))
        })?;
        let mut out = |text: &[u8]| list.write(text);
        if before_logs {
            script.before_logs(&mut |run| lines.run(run, &mut out))?;
        }
        lines.finish(&mut out)?;
        names.dress_changed(records, &**store, &folder)?;
        totals.files_sha256 = list.finish()?;
        store.sync()?;
        Ok(Self { partial: partial.clone(), sums, totals })
    }

    /// Writes the manifest and the end of `SHA256SUMS`, durably.
    pub fn finish(mut self, manifest: &Manifest) -> Result<()> {
        let store = self.partial.repository().store();
        let text = manifest.to_bytes();
        if text.len() as u64 > manifest::BYTES_MAX {
            let message = "the manifest would be larger than anybody reads: too many files were left out";
            return Err(Error::new(ExitCode::Failed, message));
        }
        self.sums.write(&sums_line(&manifest.files_sha256, Path::new("files.jsonl")))?;
        self.sums.write(&sums_line(&sha256_hex(&text), Path::new("manifest.json")))?;
        self.sums.finish()?;
        store.put(&self.partial.backup().join("manifest.json"), &text, Put::Replace)?;
        store.sync()
    }
}

impl Repository {
    /// The number of the next backup; call it under the lock.
    pub fn next_sequence(&self) -> Result<u64> {
        Ok(self.ids()?.last().map_or(1, |newest| newest.sequence.saturating_add(1)))
    }

    /// The rename that makes a sealed partial a backup; finds it done after a crash. Call it under the lock.
    ///
    /// Fails with "file exists" where another backup has taken the sequence number meanwhile: seal again then.
    pub fn publish(&self, partial: &Partial, id: &BackupId, session: &str) -> Result<()> {
        let taken = self.ids()?.into_iter().find(|other| other.sequence == id.sequence);
        if let Some(other) = taken {
            if other.text == id.text && self.backup(other).manifest.is_ok_and(|manifest| manifest.session == session) {
                self.store().sync()?; // whoever renamed it may not have got as far as making that durable
                let _ = partial.discard(); // the backup stands; the next run sweeps
                return Ok(());
            }
            let message = format!("another backup has taken the number {}", id.sequence);
            return Err(Error::jet(Jet::FileAlreadyExists, message));
        }
        self.store().promote(&partial.backup(), &self.folder_of(id))?;
        let _ = partial.discard(); // the backup stands; the next run sweeps
        Ok(())
    }

    /// A backup's folder, relative to the repository.
    pub fn folder_of(&self, id: &BackupId) -> PathBuf {
        Path::new("backups").join(&id.text)
    }
}
