//! Plan files: the list of a phase, one entry a line, so that a million of them need no memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Entry, Role};
use crate::error::{Error, ExitCode, Result};
use crate::stream::earlier::Earlier;
use crate::{paths, roots};

/// The longest line that is believed: two paths of [`paths::BYTES_MAX`], each escaped and in base64.
const LINE_BYTES_MAX: u64 = 2 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Line {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    role: Role,
    size: u64,
    /// Only where it is less than the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allocated: Option<u64>,
    modified_ns: i128,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hard_link: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hard_link_base64: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unlisted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earlier: Option<Arc<Earlier>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
}

/// Appends one entry to a plan.
pub fn write_entry(out: &mut impl Write, entry: &Entry) -> std::io::Result<()> {
    let (path, path_base64) = paths::to_fields(&entry.path);
    let (hard_link, hard_link_base64) = paths::to_optional_fields(entry.hard_link.as_deref());
    let line = Line {
        path,
        path_base64,
        role: entry.role,
        size: entry.size,
        allocated: Some(entry.allocated).filter(|allocated| *allocated != entry.size),
        modified_ns: entry.modified_ns,
        hard_link,
        hard_link_base64,
        unlisted: entry.unlisted,
        earlier: entry.earlier.clone(),
        generation: entry.generation,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Reads a plan from some line on.
#[derive(Debug)]
pub struct PlanReader {
    path: std::path::PathBuf,
    input: BufReader<File>,
    offset: u64,
}

impl PlanReader {
    /// Opens a plan file; `offset` is the byte at which a line begins.
    pub fn open(path: &Path, offset: u64) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
        file.seek(SeekFrom::Start(offset)).map_err(|e| Error::io("read", path, &e))?;
        Ok(Self { path: path.to_owned(), input: BufReader::with_capacity(64 * 1024, file), offset })
    }

    /// The byte at which the next line begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry, none at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        use std::io::Read;
        let mut text = Vec::new();
        let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        let length = read.map_err(|e| Error::io("read", &self.path, &e))?;
        if length == 0 {
            return Ok(None);
        }
        let damaged = || {
            let message = format!("{} is damaged at byte {}", self.path.display(), self.offset);
            Error::new(ExitCode::Failed, message).hint("End the session with `jetbak end --abort`, then begin anew.")
        };
        let line: Line = serde_json::from_slice(&text).map_err(|_| damaged())?;
        let path = paths::from_fields(&line.path, line.path_base64.as_deref());
        let is_root = |path: &Path| path.as_os_str().is_empty() && line.role == Role::Directory;
        // Whether an absolute one lies below a root of the session, the engine knows.
        let path = path.filter(|path| roots::is_name(path) || is_root(path)).ok_or_else(damaged)?;
        let hard_link = match line.hard_link.as_deref() {
            None => None,
            Some(text) => {
                let first = paths::from_fields(text, line.hard_link_base64.as_deref());
                Some(first.filter(|path| paths::stays_below(path)).ok_or_else(damaged)?)
            }
        };
        self.offset += length as u64;
        Ok(Some(Entry {
            path,
            role: line.role,
            size: line.size,
            allocated: line.allocated.unwrap_or(line.size),
            modified_ns: line.modified_ns,
            hard_link,
            unlisted: line.unlisted,
            // Only a listing needs these: what is read says itself what it is.
            changed_ns: 0,
            inode: 0,
            earlier: line.earlier,
            generation: line.generation,
        }))
    }
}

impl Iterator for PlanReader {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    #[test]
    fn what_was_written_is_read_from_any_line_on() {
        let odd = PathBuf::from(std::ffi::OsString::from_vec(b"a\xff\n\"b".to_vec()));
        let entries = [
            Entry::new("", Role::Directory, 0),
            Entry { unlisted: true, ..Entry::new("dir", Role::Directory, 0) },
            Entry { modified_ns: -1, allocated: 4, ..Entry::new(odd.clone(), Role::Database, 7) },
            Entry { hard_link: Some(odd), ..Entry::new("dir/again", Role::Database, 7) },
            Entry { modified_ns: i128::MAX, ..Entry::new("dir/wal.001", Role::Log, u64::MAX) },
            Entry { generation: Some(7), ..Entry::new("dir/edb00007.log", Role::Log, 1) },
        ];
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        for entry in &entries {
            write_entry(&mut file, entry).expect("written");
        }
        let mut reader = PlanReader::open(file.path(), 0).expect("opened");
        assert_eq!(reader.next_entry().expect("read"), Some(entries[0].clone()));
        let rest = PlanReader::open(file.path(), reader.offset()).expect("opened");
        assert_eq!(rest.collect::<Result<Vec<_>>>().expect("read"), entries[1..]);
    }

    #[test]
    fn a_path_that_leaves_the_storage_is_damage() {
        for bad in [
            r#"{"path":"../x","role":"database","size":1,"modified_ns":0}"#,
            r#"{"path":"/x/../y","role":"log","size":1,"modified_ns":0}"#,
            r#"{"path":"//x","role":"log","size":1,"modified_ns":0}"#,
            r#"{"path":"","role":"log","size":1,"modified_ns":0}"#,
            r#"{"path":"x","role":"database","size":1,"modified_ns":0,"hard_link":"../y"}"#,
            "{",
            "",
        ] {
            let mut file = tempfile::NamedTempFile::new().expect("temporary file");
            writeln!(file, "{bad}").expect("written");
            assert!(PlanReader::open(file.path(), 0).expect("opened").next_entry().is_err(), "{bad}");
        }
    }
}
