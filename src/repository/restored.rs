//! Directories that backups of this repository were restored to: `restored/<hash of host and path>.json`, beside the backups.
//!
//! Only such a directory, or the storage of a backup, is changed in place by `restore --delta`; and what an interrupted one
//! left unfinished is known here.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalogue::Backup;
use super::{Repository, SMALL_FILE_BYTES_MAX, read_small, sha256_hex};
use crate::durable::Put;
use crate::error::{Error, Result};
use crate::paths;
use crate::session::record::Who;
use crate::times;

/// The version of a record that this program writes, and the newest it reads.
const FORMAT: u32 = 1;
/// Where the records lie.
const FOLDER: &str = "restored";
/// Hexadecimal digits of the hash that names a record.
const NAME_DIGITS: usize = 32;

/// A directory that a backup was restored to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredTo {
    /// Always `restored`.
    #[serde(rename = "type")]
    type_name: String,
    /// The version of the record.
    format: u32,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    /// The host that the directory is on.
    pub host: String,
    /// The device that it is on.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// When it was made, in nanoseconds since 1970 (UTC): inodes are used again. None where the file system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_ns: Option<i128>,
    /// The backup.
    pub id: String,
    /// When that was begun, or done where it is finished (UTC).
    pub at: jiff::Timestamp,
    /// Whether it was done; a restore in place that was interrupted is not.
    pub finished: bool,
    /// The program that restored.
    pub tool: String,
}

impl RestoredTo {
    /// A record as of now for a directory, by its canonical path, device and inode.
    pub fn new(backup: &Backup, directory: &Path, (device, inode): (u64, u64), finished: bool) -> Self {
        let (path, path_base64) = paths::to_fields(directory);
        Self {
            type_name: "restored".to_owned(),
            format: FORMAT,
            path,
            path_base64,
            host: Who::current().host,
            device,
            inode,
            made_ns: made_ns(directory),
            id: backup.id.text.clone(),
            at: times::now(),
            finished,
            tool: concat!("jetbak ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Whether it is about this directory: the same path on the same host, and still the same directory there.
    pub fn is_of(&self, directory: &Path, identity: (u64, u64)) -> bool {
        self.type_name == "restored"
            && self.format <= FORMAT
            && self.host == Who::current().host
            && (self.device, self.inode) == identity
            && self.made_ns == made_ns(directory)
            && paths::from_fields(&self.path, self.path_base64.as_deref()).as_deref() == Some(directory)
    }
}

impl RestoredTo {
    /// Whether it cannot be about an earlier directory with the same inode: inodes are used again.
    pub fn is_certain(&self) -> bool {
        self.made_ns.is_some()
    }
}

impl Repository {
    /// What is known of a directory, by its canonical path; it may be another directory by now.
    pub fn restored_to(&self, directory: &Path) -> Option<RestoredTo> {
        let text = read_small(&**self.store(), &place(directory), SMALL_FILE_BYTES_MAX).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps where a backup was restored to, in place of the record before; durable when this returns.
    pub fn record_restored(&self, directory: &Path, restored: &RestoredTo) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(restored).map_err(|e| {
            let error = std::io::Error::other(e);
            Error::io("write", &place(directory), &error)
        })?;
        text.push(b'\n');
        self.store().make_directory(Path::new(FOLDER))?;
        self.store().put(&place(directory), &text, Put::Replace)
    }

    /// Removes what restores left that died while they recorded; returns how many files.
    pub fn sweep_restored(&self) -> Result<u64> {
        self.store().sweep(Path::new(FOLDER))
    }
}

/// When a directory was made.
fn made_ns(directory: &Path) -> Option<i128> {
    let made = std::fs::metadata(directory).ok()?.created().ok()?;
    let since = made.duration_since(std::time::UNIX_EPOCH).ok()?;
    i128::try_from(since.as_nanos()).ok()
}

fn place(directory: &Path) -> PathBuf {
    let key = [Who::current().host.as_bytes(), b"\0", directory.as_os_str().as_bytes()].concat();
    let mut name = sha256_hex(&key);
    name.truncate(NAME_DIGITS);
    Path::new(FOLDER).join(format!("{name}.json"))
}
