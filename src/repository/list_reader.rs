//! Reading `files.jsonl` line by line: hashed and counted on the way, and nothing in it believed that cannot be.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::catalogue::Backup;
use super::file_list::{FileLine, LINE_BYTES_MAX, sums_line};
use super::manifest::Manifest;
use super::store::{Reading, Store};
use crate::engine::Role;
use crate::error::{Error, ExitCode, Jet, Result};
use crate::hex::hex;
use crate::roots::Roots;

/// What a list of files must amount to.
#[derive(Clone, Debug)]
pub struct Expected {
    /// SHA-256 of `files.jsonl`, hexadecimal.
    pub files_sha256: String,
    /// Files with content, every name counted.
    pub files: u64,
    /// Bytes of content, those of a file with several names once.
    pub bytes: u64,
    /// The roots that files may come from, beside the storage.
    pub roots: Roots,
}

impl Expected {
    /// What a manifest says.
    pub fn of(manifest: &Manifest) -> Self {
        let (files, bytes) = (manifest.files, manifest.bytes);
        Self { files_sha256: manifest.files_sha256.clone(), files, bytes, roots: manifest.roots.clone() }
    }
}

/// A list of files, read once from begin to end.
pub struct ListReader {
    input: BufReader<Box<dyn Reading>>,
    path: PathBuf,
    expected: Expected,
    hasher: Sha256,
    /// What `SHA256SUMS` should hold, as a running hash.
    sums: Sha256,
    lines: u64,
    offset: u64,
    files: u64,
    bytes: u64,
    damaged: bool,
    /// None where little memory counts for more than names that stand there twice.
    known: Option<Known>,
}

/// The next line of a list.
pub enum Line {
    /// One that can be believed.
    Sound(Box<FileLine>),
    /// One that cannot: which, and why.
    Bad(String),
}

/// What a list amounts to, where that is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Another hash.
    Hash(String),
    /// The right hash, but other totals than the manifest says: those here, and those there.
    Totals(String, String),
}

impl Difference {
    /// In which respect the list cannot be believed, to follow "because".
    pub fn reason(&self) -> String {
        match self {
            Self::Hash(_) => "its hash is not the one in the manifest".to_owned(),
            Self::Totals(computed, stored) => format!("it lists {computed}, and the manifest says {stored}"),
        }
    }
}

impl ListReader {
    /// Opens the list of a backup's folder.
    pub fn open(store: &dyn Store, folder: &Path, expected: Expected, fresh: bool) -> Result<Self> {
        let path = folder.join("files.jsonl");
        let input = BufReader::with_capacity(256 * 1024, store.open(&path, 0, fresh)?);
        Ok(Self {
            input,
            path: store.describe(&path),
            expected,
            hasher: Sha256::new(),
            sums: Sha256::new(),
            lines: 0,
            offset: 0,
            files: 0,
            bytes: 0,
            damaged: false,
            known: Some(Known::default()),
        })
    }

    /// Opens a list to be read in the same memory, however long it is: that a name stands there twice, or that a hard
    /// link leads to nothing, is not noticed.
    pub fn stream(store: &dyn Store, folder: &Path, expected: Expected) -> Result<Self> {
        Ok(Self { known: None, ..Self::open(store, folder, expected, false)? })
    }

    /// The next line, none at the end.
    pub fn next_line(&mut self) -> Result<Option<Line>> {
        let mut text = Vec::new();
        let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        let length = read.map_err(|e| Error::io("read", &self.path, &e))?;
        if length == 0 {
            return Ok(None);
        }
        self.hasher.update(&text);
        self.lines += 1;
        self.offset += length as u64;
        let bad = |reason: &str| Line::Bad(format!("line {}{reason}", self.lines));
        let line: Option<FileLine> = serde_json::from_slice(&text).ok();
        let Some((line, path)) =
            line.filter(|line| line.is_sound() && self.expected.roots.knows(&line.root)).and_then(|line| {
                let path = line.stored_path()?;
                Some((line, path))
            })
        else {
            self.damaged = true;
            return Ok(Some(bad("")));
        };
        if let Some(first) = line.hard_link()
            && let Some(known) = &self.known
            && !line.stored(&first).is_some_and(|first| known.has_content(&first, &line))
        {
            self.damaged = true;
            return Ok(Some(bad(": another name of a file that no line before it has")));
        }
        if let Some(known) = &mut self.known
            && !known.insert(&path, &line)
        {
            self.damaged = true;
            return Ok(Some(bad(&format!(": {} is named twice", path.display()))));
        }
        if line.role.is_file() {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(if line.hard_link().is_some() { 0 } else { line.size });
            self.sums.update(sums_line(line.sha256.as_deref().unwrap_or_default(), &path));
        }
        Ok(Some(Line::Sound(Box::new(line))))
    }

    /// The byte at which the next line begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether a line could not be believed.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Whether a path (relative to the backup's folder) was in a line.
    pub fn contains(&self, path: &Path) -> bool {
        self.known.as_ref().is_some_and(|known| known.contains(path))
    }

    /// Compares what was read, up to the end, with what was expected.
    pub fn difference(&self) -> Option<Difference> {
        let expected = &self.expected;
        let computed = self.sha256();
        if computed != expected.files_sha256 {
            return Some(Difference::Hash(computed));
        }
        if (self.files, self.bytes) == (expected.files, expected.bytes) {
            return None;
        }
        let count = |files: u64, bytes: u64| format!("{files} files, {bytes} bytes");
        Some(Difference::Totals(count(self.files, self.bytes), count(expected.files, expected.bytes)))
    }

    /// SHA-256 of what was read, hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    /// The running hash of what `SHA256SUMS` should hold for the lines read.
    pub fn sums(&self) -> Sha256 {
        self.sums.clone()
    }
}

/// Reads the list of a backup in little memory and hands every line that can be believed to `take`, until that has
/// enough. What was handed out counts only when this returns well: the list is compared with the manifest at its end.
pub fn read_proven(
    store: &dyn Store,
    backup: &Backup,
    manifest: &Manifest,
    take: &mut dyn FnMut(Box<FileLine>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let damaged = |why: &str| {
        let message = format!("{}: files.jsonl cannot be believed: {why}", backup.id.text);
        Error::new(ExitCode::Verification, message).file(store.describe(&backup.folder().join("files.jsonl")))
    };
    let mut list = ListReader::stream(store, &backup.folder(), Expected::of(manifest)).map_err(|error| match error
        .jet_code()
    {
        Some(Jet::FileNotFound) => damaged("it is missing"),
        Some(Jet::FileInvalidType) => damaged(error.message()),
        _ => error,
    })?;
    let mut bad = None;
    while let Some(line) = list.next_line()? {
        match line {
            Line::Bad(what) => {
                bad.get_or_insert(what);
            }
            Line::Sound(line) => {
                if take(line)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
    match (bad, list.difference()) {
        (Some(what), _) => Err(damaged(&what)),
        (None, Some(difference)) => Err(damaged(&difference.reason())),
        (None, None) => Ok(()),
    }
}

/// Paths that a list names and what stands there, as keyed hashes: sixteen bytes a line, and nobody can aim at a
/// collision.
#[derive(Default)]
struct Known {
    keys: RandomState,
    contents: HashMap<u64, u64>,
}

impl Known {
    fn key(&self, path: &Path) -> u64 {
        self.keys.hash_one(path.as_os_str().as_bytes())
    }

    fn content(&self, line: &FileLine) -> u64 {
        match line.role {
            Role::Directory | Role::Link => 0,
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                self.keys.hash_one((&line.sha256, line.size)) | 1
            }
        }
    }

    /// Remembers a line; false if its path was there already.
    fn insert(&mut self, path: &Path, line: &FileLine) -> bool {
        let (key, content) = (self.key(path), self.content(line));
        self.contents.insert(key, content).is_none()
    }

    fn contains(&self, path: &Path) -> bool {
        self.contents.contains_key(&self.key(path))
    }

    /// Whether a path was listed with the content of this line.
    fn has_content(&self, path: &Path, line: &FileLine) -> bool {
        self.contents.get(&self.key(path)) == Some(&self.content(line))
    }
}
