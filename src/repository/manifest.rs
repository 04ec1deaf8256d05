//! `manifest.json`: what a backup is, bound by hashes to its list of files and to the backup before it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::ese::facts::{Facts, Named};
use crate::engine::{EngineName, LeftOut};
use crate::error::{Error, ExitCode, Result, printable};
use crate::paths;
use crate::roots::Roots;
use crate::session::event::{Failure, Kind, Outcome};
use crate::session::record::Exclusion;
use crate::stream::source::{Odd, OddKind, Proof};

/// The version of a backup's folder that this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// The largest manifest that is believed, in bytes.
pub const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Everything that is known about a backup beside its files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `backup`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The version of the folder's layout.
    pub format: u32,
    /// The folder's name: sequence number, begin, kind.
    pub id: String,
    /// Age and order go by this number, never by a clock.
    pub sequence: u64,
    /// The session that made it.
    pub session: String,
    /// The repository it was made in.
    pub repository: String,
    /// The storage's path.
    pub storage: String,
    /// The exact bytes where the path is not UTF-8, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_base64: Option<String>,
    /// The directories beside the storage that files in it come from; those of each lie in `data.<name>/`.
    #[serde(default, skip_serializing_if = "Roots::is_empty")]
    pub roots: Roots,
    /// The host that made it.
    pub host: String,
    /// The engine.
    pub engine: EngineName,
    /// What was asked for.
    pub kind: Kind,
    /// `completed`, or `incomplete` where files were left out.
    pub outcome: Outcome,
    /// When the session began (UTC).
    pub began: jiff::Timestamp,
    /// When the backup was sealed (UTC).
    pub ended: jiff::Timestamp,
    /// Files with content.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Further names of files, counted in `files` too.
    #[serde(default)]
    pub hard_links: u64,
    /// Bytes of content; those of a file with several names once.
    pub bytes: u64,
    /// Bytes of content as stored.
    pub bytes_stored: u64,
    /// The hash of every file: `sha256`.
    pub hash: String,
    /// The hash of `files.jsonl`, which holds the hash of every file.
    pub files_sha256: String,
    /// The backup that this one builds on; none for one that stands alone.
    pub parent: Option<Link>,
    /// In which form it holds what changed since its parent; none for one that stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// The backup whose content this one is, put together from its chain without the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consolidates: Option<Link>,
    /// The newest backup with a readable manifest when this one was made.
    pub previous: Option<Link>,
    /// The logs in this backup.
    pub logs: LogRange,
    /// Whether truncate was asked for: logs that this backup makes needless were then deleted from the storage.
    pub truncated: bool,
    /// Files that could not be read and are not in this backup.
    pub excluded: Vec<Failure>,
    /// Pages that are damaged in the storage and were copied as they are, because that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedPage>,
    /// What an instance of the Extensible Storage Engine was when the session began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Facts>,
    /// What was proven of its databases and logs while they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofTotals>,
    /// What the engine left out, and why.
    pub left_out: Vec<LeftOut>,
    /// Names of one file that are stored as files of their own, because one of them is a log; a hundred at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parted: Vec<LeftOut>,
    /// What was left out as asked.
    #[serde(default, skip_serializing_if = "Exclusion::is_empty")]
    pub exclusion: Exclusion,
    /// How many entries, or directories with all below them, that was.
    #[serde(default)]
    pub left_out_as_asked: u64,
    /// Whether everything was read back from the medium and proven before it was published.
    #[serde(default)]
    pub proven: bool,
    /// Files that appeared in the storage after the lists were fixed and are not in the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appeared: Option<u64>,
    /// The tags that it was given when it was made; a record in `tags/` counts in their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The program that made it.
    pub tool: String,
}

/// A damaged page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    /// The database, relative to the storage.
    #[serde(flatten)]
    pub file: Named,
    /// Which page, and in which respect it is damaged.
    #[serde(flatten)]
    pub page: Odd,
}

/// What was proven of all databases and logs of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofTotals {
    /// Pages of databases.
    pub pages: ProofCounts,
    /// Segments of logs.
    pub segments: ProofCounts,
}

/// Pages or segments by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofCounts {
    /// Those that prove themselves.
    pub good: u64,
    /// Those that were never written.
    pub blank: u64,
    /// Those with one wrong bit.
    pub correctable: u64,
    /// Those that do not prove themselves and mean nothing: not owned, or torn at the end of the last log.
    pub odd: u64,
    /// Those that are damaged.
    pub damaged: u64,
}

impl ProofCounts {
    /// Adds those of another file.
    pub fn add(&mut self, proof: &Proof) {
        self.good += proof.good;
        self.blank += proof.blank;
        self.odd += proof.more;
        for odd in &proof.odd {
            match odd.kind {
                OddKind::Correctable => self.correctable += 1,
                OddKind::Garbage | OddKind::Torn => self.odd += 1,
                OddKind::PageChecksum | OddKind::PageNumber => self.damaged += 1,
            }
        }
    }
}

/// The logs of a backup: `files.jsonl` has them all, with the role `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRange {
    /// How many.
    pub count: u64,
    /// The path of the oldest, lossy where it is not UTF-8.
    pub first: Option<String>,
    /// The path of the newest, lossy where it is not UTF-8.
    pub last: Option<String>,
    /// The generation of the oldest, where the engine counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_generation: Option<u32>,
    /// The generation of the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_generation: Option<u32>,
}

/// In which form a backup holds what changed since its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Changes {
    /// The log generations since then, which the engine replays.
    Logs,
    /// The blocks of files that are different now.
    Blocks,
}

/// Another backup, and the hash of its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id.
    pub id: String,
    /// SHA-256 of its `manifest.json`, hexadecimal.
    pub manifest_sha256: String,
}

impl Manifest {
    /// The storage's path.
    pub fn storage(&self) -> PathBuf {
        paths::from_fields(&self.storage, self.storage_base64.as_deref()).unwrap_or_default()
    }

    /// The manifest as it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest has only fields that JSON can hold");
        text.push(b'\n');
        text
    }

    /// Reads a manifest; what is not one, or is newer than this program, is an error that says so.
    pub fn parse(text: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged =
            |e: serde_json::Error| Error::new(ExitCode::Verification, format!("its manifest is damaged: {e}"));
        let version: Version = serde_json::from_slice(text).map_err(damaged)?;
        if version.format > FORMAT {
            return Err(Error::new(
                ExitCode::Failed,
                format!("it was written by a newer jetbak (format {}, this one reads {FORMAT})", version.format),
            )
            .hint("Use the newer version."));
        }
        serde_json::from_slice(text).map_err(damaged)
    }

    /// What it says that cannot all be true, whatever other backups there are; none where nothing speaks against it.
    pub fn contradiction(&self) -> Option<String> {
        let kind = self.kind.name();
        if BackupId::parse(&self.id).is_none_or(|id| !id.text.ends_with(&format!("-{kind}"))) {
            return Some(format!("{} is said to be {kind}", printable(&self.id)));
        }
        let builds = matches!(self.kind, Kind::Incremental | Kind::Differential);
        match (&self.parent, self.changes) {
            (Some(parent), _) if !builds => Some(format!("{kind}, and it builds on {}", printable(&parent.id))),
            (None, _) if builds => Some(format!("{kind}, and it builds on nothing")),
            (Some(_), None) => {
                Some("it builds on another one, and does not say whether by blocks or by logs".to_owned())
            }
            (None, Some(_)) => Some("it says how it holds what changed, and builds on nothing".to_owned()),
            (Some(_), Some(Changes::Logs)) if self.engine != EngineName::Ese => {
                Some(format!("it holds logs instead of databases, which the engine {} does not have", self.engine))
            }
            _ => self.consolidates.as_ref().and_then(|link| self.no_consolidation_of(link)),
        }
    }

    /// Why it cannot have been put together from another one's chain.
    fn no_consolidation_of(&self, link: &Link) -> Option<String> {
        let of = printable(&link.id);
        if self.kind != Kind::Full {
            return Some(format!("{}, and put together from the chain of {of}", self.kind.name()));
        }
        let is_older = BackupId::parse(&link.id).is_some_and(|id| id.sequence < self.sequence);
        (!is_older).then(|| format!("it was put together from the chain of {of}, which is no older backup"))
    }
}

/// The name of a backup's folder, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupId {
    /// The sequence number.
    pub sequence: u64,
    /// The whole name.
    pub text: String,
}

impl BackupId {
    /// The id of a new backup.
    pub fn new(sequence: u64, began: jiff::Timestamp, kind: Kind) -> Self {
        Self { sequence, text: format!("{sequence:06}-{}-{}", crate::times::compact(began), kind.name()) }
    }

    /// The backup's folder, relative to the repository.
    pub fn folder(&self) -> PathBuf {
        Path::new("backups").join(&self.text)
    }

    /// Takes a folder's name apart; none where it is not a backup's.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let (number, time, kind) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = number.len() >= 6 && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_time = time.len() == 16 && time.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let plain = is_time && kind.bytes().all(|byte| byte.is_ascii_lowercase());
        let sequence = number.parse().ok().filter(|_| digits && plain && parts.next().is_none() && !kind.is_empty())?;
        Some(Self { sequence, text: name.to_owned() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_says_must_hold_together() {
        let says = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = Manifest { sequence: 7, ..manifest() };
            change(&mut manifest);
            manifest.id = BackupId::new(7, manifest.began, manifest.kind).text;
            manifest.contradiction().unwrap_or_default()
        };
        let link = |sequence| {
            let id = BackupId::new(sequence, manifest().began, Kind::Full).text;
            Some(Link { id, manifest_sha256: String::new() })
        };
        assert_eq!(manifest().contradiction(), None);
        assert_eq!(says(&|it| it.consolidates = link(6)), "");
        for kind in [Kind::Incremental, Kind::Differential] {
            let builds = |it: &mut Manifest| (it.kind, it.parent, it.changes) = (kind, link(1), Some(Changes::Blocks));
            assert_eq!(says(&builds), "");
            let by_logs = |it: &mut Manifest| (it.kind, it.parent, it.changes) = (kind, link(1), Some(Changes::Logs));
            assert!(says(&by_logs).contains("logs instead of databases"));
            assert_eq!(
                says(&|it| {
                    by_logs(it);
                    it.engine = EngineName::Ese;
                }),
                ""
            );
            assert!(
                says(&|it| {
                    builds(it);
                    it.changes = None;
                })
                .contains("by blocks or by logs")
            );
            assert!(says(&|it| it.kind = kind).contains("builds on nothing"));
            assert!(
                says(&|it| {
                    builds(it);
                    it.consolidates = link(6);
                })
                .contains("put together")
            );
        }
        for kind in [Kind::Full, Kind::Copy] {
            assert!(says(&|it| (it.kind, it.parent) = (kind, link(1))).contains("and it builds on"));
            assert!(says(&|it| (it.kind, it.changes) = (kind, Some(Changes::Blocks))).contains("builds on nothing"));
        }
        assert!(says(&|it| it.consolidates = link(7)).contains("no older backup"));
        let nonsense = Link { id: "../../etc".to_owned(), manifest_sha256: String::new() };
        assert!(says(&|it| it.consolidates = Some(nonsense.clone())).contains("no older backup"));
        assert!(says(&|it| (it.kind, it.consolidates) = (Kind::Copy, link(6))).contains("copy, and put together"));
        let renamed = Manifest { kind: Kind::Copy, ..manifest() };
        assert!(renamed.contradiction().expect("one").contains("said to be copy"));
    }

    /// A manifest of a full backup that holds nothing.
    pub fn manifest() -> Manifest {
        let began = "2026-11-22T09:30:15Z".parse().expect("a time");
        Manifest {
            type_name: "backup".to_owned(),
            format: FORMAT,
            id: BackupId::new(1, began, Kind::Full).text,
            sequence: 1,
            session: "session".to_owned(),
            repository: "repository".to_owned(),
            storage: "/srv/app".to_owned(),
            storage_base64: None,
            roots: Roots::default(),
            host: "host".to_owned(),
            engine: EngineName::Files,
            kind: Kind::Full,
            outcome: Outcome::Completed,
            began,
            ended: began,
            files: 0,
            directories: 0,
            links: 0,
            hard_links: 0,
            bytes: 0,
            bytes_stored: 0,
            hash: "sha256".to_owned(),
            files_sha256: String::new(),
            parent: None,
            changes: None,
            consolidates: None,
            previous: None,
            logs: LogRange::default(),
            truncated: false,
            excluded: Vec::new(),
            damaged: Vec::new(),
            instance: None,
            proof: None,
            left_out: Vec::new(),
            parted: Vec::new(),
            exclusion: Exclusion::default(),
            left_out_as_asked: 0,
            proven: false,
            appeared: None,
            tags: Vec::new(),
            tool: "jetbak".to_owned(),
        }
    }

    #[test]
    fn an_id_names_sequence_begin_and_kind() {
        let began = "2026-11-22T09:30:15.75Z".parse().expect("a time");
        let id = BackupId::new(12, began, Kind::Full);
        assert_eq!(id.text, "000012-20261122T093015Z-full");
        assert_eq!(BackupId::parse(&id.text), Some(id));
        let late = BackupId::new(12_345_678, began, Kind::Copy);
        assert_eq!(BackupId::parse(&late.text), Some(late));
        for bad in [
            "",
            "lost+found",
            "12-20261122T093015Z-full",
            "000012-x-full",
            "000012-20261122T093015Z-full-x",
            "000012-/../../../../../a-full",
        ] {
            assert_eq!(BackupId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let newer = Manifest::parse(br#"{"type":"backup","format":99}"#).expect_err("newer");
        assert_eq!(newer.exit_code().number(), 1);
        assert!(newer.message().contains("newer"));
        assert_eq!(Manifest::parse(b"{\"format\":1").expect_err("damaged").exit_code().number(), 3);
    }
}
