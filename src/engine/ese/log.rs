//! The header of a log (`spec/ese-format.md` §7) and the names of logs (§1).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::fields::{
    Attachment, Generation, LogPosition, LogTime, Signature, ansi, attachments, u16_at, u32_at, u64_at,
};
use super::header::FILE_TYPE;
use super::page::PageSize;

/// Bytes of the header of every log, and of a segment of today's.
pub const SEGMENT_BYTES: usize = 4096;
/// No log is longer, in bytes: 65535 segments are all that its header can count.
pub const LOG_BYTES_MAX: u64 = 65535 * SEGMENT_BYTES as u64;

/// What the header of a log says; offsets in bytes stand in `spec/ese-format.md` §7.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the format's table")]
pub struct LogHeader {
    pub generation: Generation,
    pub sector_bytes: u16,
    pub header_sectors: u16,
    /// The log's length in sectors, the header included.
    pub sectors: u16,
    /// None where the field holds a size that does not exist.
    pub page_size: Option<PageSize>,
    pub created: LogTime,
    pub previous_created: LogTime,
    pub major: u32,
    pub minor: u32,
    pub update: u32,
    pub update_minor: u32,
    pub signature: Signature,
    pub system_directory: String,
    pub log_directory: String,
    pub flags: u8,
    pub checkpoint_at_creation: LogPosition,
    /// The XOR of all segment checksums of the generation before; 0 where it was not recorded (§8.3).
    pub previous_accumulated: u64,
    pub engine_version: u32,
    pub file_type: u32,
    pub attachments: Vec<Attachment>,
}

impl LogHeader {
    /// Reads the first [`SEGMENT_BYTES`] of a log, whose checksum has been looked at.
    pub fn parse(header: &[u8]) -> Self {
        Self {
            generation: Generation::at(header, 4),
            sector_bytes: u16_at(header, 8),
            header_sectors: u16_at(header, 10),
            sectors: u16_at(header, 12),
            page_size: PageSize::from_field(u32::from(u16_at(header, 14))),
            created: LogTime::at(header, 16),
            previous_created: LogTime::at(header, 24),
            major: u32_at(header, 32),
            minor: u32_at(header, 36),
            update: u32_at(header, 40),
            update_minor: u32_at(header, 648),
            signature: Signature::at(header, 44),
            system_directory: ansi(header.get(72..333).unwrap_or_default()),
            log_directory: ansi(header.get(333..594).unwrap_or_default()),
            flags: header.get(639).copied().unwrap_or(0),
            checkpoint_at_creation: LogPosition::at(header, 640),
            previous_accumulated: u64_at(header, 653),
            engine_version: u32_at(header, 661),
            file_type: u32_at(header, FILE_TYPE),
            attachments: attachments(header.get(671..671 + 2048).unwrap_or_default()),
        }
    }

    /// How long its file is, in bytes.
    pub fn file_bytes(&self) -> u64 {
        u64::from(self.sectors) * u64::from(self.sector_bytes)
    }

    /// How many bytes of a file with this header there are to prove: what follows the length of the header is no part of
    /// the log.
    pub fn bytes_to_prove(&self, file_bytes: u64) -> u64 {
        file_bytes.min(self.file_bytes()).min(LOG_BYTES_MAX)
    }

    /// Whether its body is made of segments (today's format), not of chained records.
    pub fn has_segments(&self) -> bool {
        self.major >= 8
    }

    /// `8.4000.60.140`
    pub fn version(&self) -> String {
        format!("{}.{}.{}.{}", self.major, self.minor, self.update, self.update_minor)
    }

    /// Whether a split or merge is logged without the images of its pages, as engines did until 2007 (protocol §8.1): pages
    /// that were copied while others changed cannot be recovered with such logs.
    pub fn lacks_page_images(&self) -> bool {
        (self.major, self.minor, self.update) < (7, 3704, 11)
    }

    /// Whether the engine reuses its logs, so that an archive of them has gaps.
    pub fn is_circular(&self) -> bool {
        self.flags & 2 != 0
    }

    /// What the log before it must amount to; none where that was not recorded.
    pub fn expected_of_previous(&self) -> Option<u64> {
        let recorded = self.major >= 8 && self.update_minor >= 13 && self.previous_accumulated != 0;
        recorded.then_some(self.previous_accumulated)
    }
}

/// What the name of a log says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogRole {
    /// `<base>` and a generation: closed, never written again.
    Archived(Generation),
    /// `<base>tmp`: the next one in preparation, or an old one to be used again.
    Temporary,
    /// `<base>.log`: the one that is written.
    Current,
    /// Disk space kept aside.
    Reserve,
}

/// The name of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogName {
    /// The three characters that all logs of a stream begin with, in lower case; none in reserves of old engines.
    pub base: Option<String>,
    /// What it is.
    pub role: LogRole,
}

impl LogName {
    /// Reads a file name, in any case: exactly 5 or 8 hexadecimal digits, `.log` or `.jtx`; `.jrs` for reserves.
    pub fn parse(name: &OsStr) -> Option<Self> {
        let name = std::str::from_utf8(name.as_bytes()).ok().filter(|name| name.is_ascii())?.to_ascii_lowercase();
        let (stem, extension) = name.rsplit_once('.')?;
        let is_log = matches!(extension, "log" | "jtx");
        if extension == "log" && matches!(stem, "res1" | "res2") {
            return Some(Self { base: None, role: LogRole::Reserve });
        }
        let (base, rest) = stem.split_at_checked(3)?;
        let all = |digits: &str, is: fn(&u8) -> bool| digits.as_bytes().iter().all(is);
        let role = match rest {
            "" if is_log => LogRole::Current,
            "tmp" if is_log => LogRole::Temporary,
            digits if is_log && matches!(digits.len(), 5 | 8) && all(digits, u8::is_ascii_hexdigit) => {
                LogRole::Archived(Generation(u32::from_str_radix(digits, 16).ok()?))
            }
            _ if extension == "jrs" => {
                let number = rest.strip_prefix("res").filter(|digits| digits.len() == 5)?;
                all(number, u8::is_ascii_digit).then_some(LogRole::Reserve)?
            }
            _ => return None,
        };
        Some(Self { base: Some(base.to_owned()), role })
    }
}

/// The base of a checkpoint's name (`.chk` or `.jcp`), in lower case; none where it is not the name of one.
pub fn checkpoint_base(name: &OsStr) -> Option<String> {
    let name = std::str::from_utf8(name.as_bytes()).ok()?.to_ascii_lowercase();
    let (stem, extension) = name.rsplit_once('.')?;
    (matches!(extension, "chk" | "jcp") && stem.len() == 3).then(|| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Option<(String, LogRole)> {
        LogName::parse(OsStr::new(name)).map(|name| (name.base.unwrap_or_default(), name.role))
    }

    #[test]
    fn names_of_logs_say_what_they_are() {
        let is = |base: &str, role| Some((base.to_owned(), role));
        let archived = |generation| LogRole::Archived(Generation(generation));
        assert_eq!(role("edb.log"), is("edb", LogRole::Current));
        assert_eq!(role("EDB.JTX"), is("edb", LogRole::Current));
        assert_eq!(role("edb0004A.log"), is("edb", archived(0x4A)));
        assert_eq!(role("e00fffff.jtx"), is("e00", archived(0xFFFFF)));
        assert_eq!(role("E0000100000.log"), is("e00", archived(0x0010_0000)));
        assert_eq!(role("j501E2E4.log"), is("j50", archived(0x1E2E4)));
        assert_eq!(role("edbtmp.jtx"), is("edb", LogRole::Temporary));
        assert_eq!(role("edbres00002.jrs"), is("edb", LogRole::Reserve));
        assert_eq!(role("res1.log"), is("", LogRole::Reserve));
    }

    #[test]
    fn other_names_are_no_logs() {
        for name in [
            "edb",
            "log",
            ".log",
            "eb.log",
            "edb0004.log",
            "edb000044.log",
            "edb000000004A.log",
            "edb0004G.log",
            "edbres00001.log",
            "edbres0001.jrs",
            "edb00001.jrs",
            "edb00001.txt",
            "edbtmp.jrs",
            "edbä.log",
        ] {
            assert_eq!(role(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_checkpoints_give_their_base() {
        assert_eq!(checkpoint_base(OsStr::new("RVN.chk")).as_deref(), Some("rvn"));
        assert_eq!(checkpoint_base(OsStr::new("edb.jcp")).as_deref(), Some("edb"));
        assert_eq!(checkpoint_base(OsStr::new("edbx.chk")), None);
    }
}
