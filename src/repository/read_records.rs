//! What the readers of a session have recorded, in the session's partial: one file a reader, one line a fact.
//!
//! A line is an entry that was read ([`ReadRecord`]), or how far one is read that is not done ([`HalfRecord`]), or that
//! a sync has made durable what stands before (`ProvenLine`). The journal of the session says the last as well; the
//! line says it to whoever takes over from a session whose journal is gone.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::file_list::{LINE_BYTES_MAX, ReadRecord, is_plain};
use super::store::{Reading, Store};
use crate::error::{Error, ExitCode, Result, printable};
use crate::hex::hex;
use crate::paths;
use crate::session::event::Phase;
use crate::stream::kept::Reached;
use crate::stream::source::Stamp;

/// Bytes that are gathered before they are written, or read at once.
pub const BUFFER_BYTES: usize = 256 * 1024;
/// How a line begins that is no [`ReadRecord`].
const HALF: &[u8] = b"{\"half\":";
const PROVEN: &[u8] = b"{\"proven\":";

/// Where the readers of a session keep their records: one file a reader, named by its number.
#[derive(Clone, Debug)]
pub struct RecordFolder {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The folder in it.
    pub folder: PathBuf,
}

/// How far an entry is read: its first bytes are in the partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfRecord {
    /// Which list.
    pub phase: Phase,
    /// The entry's index in it.
    pub index: u64,
    /// What the source was when it was opened.
    pub stamp: Stamp,
    /// When the session began that read it, in nanoseconds since 1970, where that was an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_ns: Option<i128>,
    /// Which root of the storage it lies below.
    pub root: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    /// How many bytes.
    pub bytes: u64,
    /// SHA-256 of them, hexadecimal.
    pub sha256: String,
}

impl HalfRecord {
    /// The record of an entry below a root.
    pub fn new((phase, index): (Phase, u64), (root, path): (&str, &Path), reached: &Reached) -> Self {
        let (path, path_base64) = paths::to_fields(path);
        let (root, sha256) = (root.to_owned(), hex(&reached.sha256));
        let Reached { stamp, bytes, .. } = *reached;
        Self { phase, index, stamp, began_ns: None, root, path, path_base64, bytes, sha256 }
    }

    /// Whether it counts instead of one that was recorded before, of a file with that stamp and so many bytes of it: of
    /// another stamp, that was an attempt that came to nothing.
    pub fn supersedes(&self, stamp: Stamp, bytes: u64) -> bool {
        self.stamp != stamp || self.bytes > bytes
    }

    /// How far that is; none where its hash is none.
    pub fn reached(&self) -> Option<Reached> {
        let mut sha256 = [0; 32];
        let digits = self.sha256.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in sha256.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Reached { stamp: self.stamp, bytes: self.bytes, sha256 })
    }

    /// The path below its root, if it can be believed.
    pub fn path(&self) -> Option<PathBuf> {
        paths::from_fields(&self.path, self.path_base64.as_deref()).filter(|path| is_plain(path))
    }
}

/// A line of a half-read entry.
#[derive(Serialize, Deserialize)]
struct HalfLine<T> {
    half: T,
}

/// A line that says how many bytes before it are durable, with the data that they tell of.
#[derive(Serialize, Deserialize)]
struct ProvenLine {
    proven: u64,
}

/// A line of a record file.
#[derive(Debug)]
pub enum RecordLine {
    /// An entry that was read.
    Read(Box<ReadRecord>),
    /// One that is not done.
    Half(Box<HalfRecord>),
    /// So many bytes of the file are proven.
    Proven(u64),
}

impl RecordLine {
    /// Appends the line of an entry that was read.
    pub fn write_read(out: &mut Vec<u8>, record: &ReadRecord) {
        write(out, record);
    }

    /// Appends the line of an entry that is not done.
    pub fn write_half(out: &mut Vec<u8>, half: &HalfRecord) {
        write(out, &HalfLine { half });
    }

    /// Appends the line that so many bytes of the file are proven.
    pub fn write_proven(out: &mut Vec<u8>, proven: u64) {
        write(out, &ProvenLine { proven });
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if text.starts_with(PROVEN) {
            return serde_json::from_slice::<ProvenLine>(text).ok().map(|line| Self::Proven(line.proven));
        }
        if text.starts_with(HALF) {
            return serde_json::from_slice::<HalfLine<HalfRecord>>(text)
                .ok()
                .map(|line| Self::Half(Box::new(line.half)));
        }
        serde_json::from_slice(text).ok().map(|record| Self::Read(Box::new(record)))
    }
}

fn write(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("memory takes every write");
    out.push(b'\n');
}

impl RecordFolder {
    /// The record file of a reader.
    pub fn file(&self, reader: u32) -> PathBuf {
        self.folder.join(reader.to_string())
    }

    /// Reads what a reader has proven: so many bytes of its file. `visit` also gets the byte at which a line begins.
    pub fn read(&self, reader: u32, proven: u64, visit: &mut dyn FnMut(u64, RecordLine) -> Result<()>) -> Result<()> {
        if proven == 0 {
            return Ok(());
        }
        let path = self.file(reader);
        let described = self.store.describe(&path);
        let input = self.store.open(&path, 0, false)?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input.take(proven));
        let mut offset = 0;
        while let Some((line, length)) = next_line(&mut input, &described, offset)? {
            visit(offset, line)?;
            offset += length;
        }
        if offset == proven { Ok(()) } else { Err(lost(&described, offset)) }
    }

    /// The readers who have a file here, with how many bytes of it are proven by what it says itself.
    pub fn proven(&self) -> Result<Vec<(u32, u64)>> {
        let mut found = Vec::new();
        for item in self.store.list(&self.folder)? {
            let Some(reader) = item.name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let proven = self.proven_by_itself(reader)?;
            if proven > 0 {
                found.push((reader, proven));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// How many bytes of a record file its own lines say are proven: up to the first line that cannot be read, which a
    /// crash may have torn.
    pub fn proven_by_itself(&self, reader: u32) -> Result<u64> {
        let path = self.file(reader);
        let described = self.store.describe(&path);
        let mut input = BufReader::with_capacity(BUFFER_BYTES, self.store.open(&path, 0, false)?);
        let (mut offset, mut proven) = (0, 0);
        while let Ok(Some((line, length))) = next_line(&mut input, &described, offset) {
            if let RecordLine::Proven(bytes) = line
                && bytes <= offset
            {
                proven = bytes.max(proven);
            }
            offset += length;
        }
        Ok(proven)
    }
}

/// Where the record of an entry is: which reader's file, at which byte. Sixteen bytes an entry.
pub type Place = (u32, u64);

/// Records by their places. Readers take runs of entries, so that mostly the next one follows the one before it.
pub struct Lookup {
    home: RecordFolder,
    open: Option<(Place, BufReader<Box<dyn Reading>>)>,
}

impl Lookup {
    /// Finds records in this folder.
    pub fn new(home: &RecordFolder) -> Self {
        Self { home: home.clone(), open: None }
    }

    /// The record at a place.
    pub fn at(&mut self, place: Place) -> Result<ReadRecord> {
        let path = self.home.file(place.0);
        let mut input = match self.open.take() {
            Some((next, input)) if next == place => input,
            _ => BufReader::with_capacity(BUFFER_BYTES, self.home.store.open(&path, place.1, false)?),
        };
        let described = self.home.store.describe(&path);
        let Some((RecordLine::Read(record), length)) = next_line(&mut input, &described, place.1)? else {
            return Err(lost(&described, place.1));
        };
        self.open = Some(((place.0, place.1 + length), input));
        Ok(*record)
    }
}

/// The next line of a record file, with its length; none at the end.
pub fn next_line(input: &mut impl BufRead, path: &Path, offset: u64) -> Result<Option<(RecordLine, u64)>> {
    let mut text = Vec::new();
    let read = input.take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
    let length = read.map_err(|e| Error::io("read", path, &e))?;
    if length == 0 {
        return Ok(None);
    }
    let line = RecordLine::parse(&text).ok_or_else(|| lost(path, offset))?;
    Ok(Some((line, length as u64)))
}

/// The error for a record file that cannot be believed.
pub fn lost(path: &Path, offset: u64) -> Error {
    Error::new(ExitCode::Failed, format!("{} is damaged at byte {offset}", printable(path)))
        .file(path)
        .hint("What was read cannot be proven. End the session with `jetbak end --abort`, then back up anew.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::local::LocalStore;

    fn half(index: u64) -> HalfRecord {
        let stamp = Stamp { device: 1, inode: 2, size: 3, modified_ns: -4, changed_ns: 5 };
        let place = ("data", Path::new("a\n\"b"));
        HalfRecord::new((Phase::Databases, index), place, &Reached { stamp, bytes: 7, sha256: [0xa5; 32] })
    }

    fn folder_with(text: &[u8]) -> (tempfile::TempDir, RecordFolder) {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(folder.path().join("1"), text).expect("written");
        std::fs::write(folder.path().join("1.bak"), text).expect("written");
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder.path()).expect("opened"));
        (folder, RecordFolder { store, folder: PathBuf::new() })
    }

    #[test]
    fn what_is_half_read_comes_back_as_it_was_written() {
        let mut text = Vec::new();
        RecordLine::write_half(&mut text, &half(9));
        let Some(RecordLine::Half(read)) = RecordLine::parse(&text) else { panic!("a half") };
        assert_eq!(read.reached().expect("a hash").sha256, [0xa5; 32]);
        assert_eq!((read.path().expect("a path"), *read), (PathBuf::from("a\n\"b"), half(9)));
    }

    #[test]
    fn a_file_is_proven_as_far_as_it_says_wherever_it_was_torn() {
        let mut text = Vec::new();
        let mut ends = vec![(0, 0)]; // from which length on how much is proven
        for index in 0..4 {
            RecordLine::write_half(&mut text, &half(index));
            let proven = text.len() as u64;
            RecordLine::write_half(&mut text, &half(index));
            RecordLine::write_proven(&mut text, proven);
            ends.push((text.len() - 1, proven)); // the line's end is no part of what it says
        }
        for length in 0..=text.len() {
            let (_folder, records) = folder_with(&text[..length]);
            let expected = ends.iter().rev().find(|(from, _)| *from <= length).expect("the first").1;
            let proven = records.proven().expect("read");
            let all: Vec<_> = Some((1, expected)).into_iter().filter(|(_, proven)| *proven > 0).collect();
            assert_eq!(proven, all, "of {length} bytes");
            let mut lines = 0;
            records
                .read(1, expected, &mut |_, _| {
                    lines += 1;
                    Ok(())
                })
                .expect("what is proven is whole");
        }
        for (end, _) in &ends[1..] {
            let mut nuls = text[..end - 30].to_vec();
            nuls.resize(text.len(), 0); // what a power cut leaves
            let (_folder, records) = folder_with(&nuls);
            records.proven().expect("read");
        }
    }

    #[test]
    fn nobody_is_believed_who_proves_what_comes_after_him() {
        let mut text = Vec::new();
        RecordLine::write_half(&mut text, &half(0));
        let later = text.len() as u64 + 1;
        RecordLine::write_proven(&mut text, later);
        RecordLine::write_half(&mut text, &half(1));
        let (_folder, records) = folder_with(&text);
        assert_eq!(records.proven().expect("read"), []);
    }
}
