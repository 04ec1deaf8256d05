//! When a backup was last verified, and with what result: `verified/<id>.json`, beside the backups and never in them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalogue::Backup;
use super::{Repository, SMALL_FILE_BYTES_MAX, read_small};
use crate::durable::Put;
use crate::error::Result;
use crate::session::record::Who;
use crate::times;

/// The version of a record that this program writes, and the newest it reads.
const FORMAT: u32 = 1;
/// Where the records lie.
const FOLDER: &str = "verified";

/// What a verification of a whole backup came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Always `verified`.
    #[serde(rename = "type")]
    type_name: String,
    /// The version of the record.
    format: u32,
    /// The backup.
    id: String,
    /// SHA-256 of the manifest that was verified, hexadecimal.
    manifest_sha256: String,
    /// When it was done (UTC).
    pub at: jiff::Timestamp,
    /// How many findings there were.
    pub damages: u64,
    /// Files whose content was read.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// The host that verified.
    pub host: String,
    /// The program that verified.
    pub tool: String,
}

impl Verified {
    /// The result for a backup as of now.
    pub fn new(backup: &Backup, damages: u64, files: u64, bytes: u64, seconds: f64) -> Self {
        Self {
            type_name: "verified".to_owned(),
            format: FORMAT,
            id: backup.id.text.clone(),
            manifest_sha256: backup.manifest_sha256.clone(),
            at: times::now(),
            damages,
            files,
            bytes,
            seconds,
            host: Who::current().host,
            tool: concat!("jetbak ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Whether it is about this backup as it stands there now.
    fn is_of(&self, backup: &Backup) -> bool {
        self.type_name == "verified"
            && self.format <= FORMAT
            && self.id == backup.id.text
            && self.manifest_sha256 == backup.manifest_sha256
            && !backup.manifest_sha256.is_empty()
    }
}

impl Repository {
    /// The last verification of a backup; none where it never was, or was another one when it was.
    pub fn verified(&self, backup: &Backup) -> Option<Verified> {
        let text = read_small(&**self.store(), &place(backup), SMALL_FILE_BYTES_MAX).ok()?;
        serde_json::from_slice(&text).ok().filter(|verified: &Verified| verified.is_of(backup))
    }

    /// Keeps the result of a verification in place of the one before; durable when this returns.
    pub fn record_verified(&self, backup: &Backup, verified: &Verified) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(verified).expect("a record has only fields that JSON can hold");
        text.push(b'\n');
        self.store().make_directory(Path::new(FOLDER))?;
        self.store().put(&place(backup), &text, Put::Replace)
    }

    /// Removes what verifications left that died while they recorded; returns how many files.
    pub fn sweep_verified(&self) -> Result<u64> {
        self.store().sweep(Path::new(FOLDER))
    }
}

fn place(backup: &Backup) -> PathBuf {
    Path::new(FOLDER).join(format!("{}.json", backup.id.text))
}
