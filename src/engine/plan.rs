//! Plan files: the list of a phase, one entry a line, so that a million of them need no memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Entry, Role};
use crate::error::{Error, ExitCode, Result};
use crate::paths;

/// The longest line that is believed: a path of 4096 bytes, escaped, in base64, and then some.
const LINE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Line {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    role: Role,
    size: u64,
    modified_ns: i128,
}

/// Appends one entry to a plan.
pub fn write_entry(out: &mut impl Write, entry: &Entry) -> std::io::Result<()> {
    let (path, path_base64) = paths::to_fields(&entry.path);
    let line = Line { path, path_base64, role: entry.role, size: entry.size, modified_ns: entry.modified_ns };
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
        let path = path.filter(|path| paths::stays_below(path)).ok_or_else(damaged)?;
        self.offset += length as u64;
        Ok(Some(Entry { path, role: line.role, size: line.size, modified_ns: line.modified_ns }))
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
            Entry { path: "dir".into(), role: Role::Directory, size: 0, modified_ns: 0 },
            Entry { path: odd, role: Role::Database, size: 7, modified_ns: -1 },
            Entry { path: "dir/wal.001".into(), role: Role::Log, size: u64::MAX, modified_ns: i128::MAX },
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
        for bad in [r#"{"path":"../x","role":"database","size":1}"#, r#"{"path":"/x","role":"log","size":1}"#, "{", ""]
        {
            let mut file = tempfile::NamedTempFile::new().expect("temporary file");
            writeln!(file, "{bad}").expect("written");
            assert!(PlanReader::open(file.path(), 0).expect("opened").next_entry().is_err(), "{bad}");
        }
    }
}
