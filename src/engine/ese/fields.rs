//! The small structures that all headers are made of (`spec/ese-format.md` §3): times, positions, signatures, marks of
//! backups, attached databases. Everything is little-endian; what lies beyond the end of a block reads as zero, so that
//! no parser of this folder can fail on a short one.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::hex::hex;

/// The bytes at an offset; zeros where the block ends before.
pub fn array_at<const N: usize>(block: &[u8], offset: usize) -> [u8; N] {
    block.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// A `u16` at a byte offset.
pub fn u16_at(block: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(array_at(block, offset))
}

/// A `u32` at a byte offset.
pub fn u32_at(block: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array_at(block, offset))
}

/// A `u64` at a byte offset.
pub fn u64_at(block: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array_at(block, offset))
}

/// The number of a log generation; 0 means none. Real ones stay below [`Generation::LIMIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// Generations stay below this (§1).
    pub const LIMIT: u32 = 0x7FFF_F800;

    /// Reads one at a byte offset.
    pub fn at(block: &[u8], offset: usize) -> Self {
        Self(u32_at(block, offset))
    }

    /// Whether a log may carry it.
    pub fn is_valid(self) -> bool {
        (1..Self::LIMIT).contains(&self.0)
    }

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Decimal, then as file names have it: `73 (0x49)`.
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:X})", self.0, self.0)
    }
}

/// A point in time as the engine writes it; eight bytes, compared as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogTime(pub [u8; 8]);

impl LogTime {
    /// Reads one at a byte offset.
    pub fn at(block: &[u8], offset: usize) -> Self {
        Self(array_at(block, offset))
    }

    /// Never set.
    pub fn is_unset(self) -> bool {
        self.0 == [0; 8]
    }

    /// Whether it is in UTC; otherwise it is the local time of a machine nobody knows.
    pub fn is_utc(self) -> bool {
        self.0[6] & 1 == 1
    }

    /// The date and time; none where it is unset, or no date at all.
    pub fn civil(self) -> Option<DateTime> {
        let [second, minute, hour, day, month, year, low, high] = self.0;
        let millisecond = u16::from(low >> 1) | u16::from(high >> 1 & 7) << 7;
        let signed = |byte: u8| i8::try_from(byte).ok();
        DateTime::new(
            1900 + i16::from(year),
            signed(month)?,
            signed(day)?,
            signed(hour)?,
            signed(minute)?,
            signed(second)?,
            i32::from(millisecond) * 1_000_000,
        )
        .ok()
    }

    /// RFC 3339, with `Z` only where the time is known to be UTC; none where it is unset.
    pub fn to_rfc3339(self) -> Option<String> {
        if self.is_unset() {
            return None;
        }
        Some(match self.civil() {
            Some(civil) if self.is_utc() => format!("{civil}Z"),
            Some(civil) => civil.to_string(),
            None => format!("invalid {}", hex(&self.0)),
        })
    }

    /// The instant, where it is known to be UTC.
    pub fn timestamp(self) -> Option<Timestamp> {
        let utc = self.civil()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        self.is_utc().then(|| utc.timestamp())
    }
}

/// For people: `2023-07-06 10:18:26 UTC`, or without a zone where none is recorded; `-` where it is unset.
impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.civil(), self.is_unset()) {
            (_, true) => f.write_str("-"),
            (Some(civil), _) => {
                let zone = if self.is_utc() { " UTC" } else { " (local time)" };
                write!(f, "{}{zone}", civil.strftime("%Y-%m-%d %H:%M:%S%.f"))
            }
            (None, _) => write!(f, "invalid {}", hex(&self.0)),
        }
    }
}

/// A place in a log stream; ordered as the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Which log.
    pub generation: Generation,
    /// Which segment of it, the header being the first.
    pub segment: u16,
    /// Bytes from the start of the segment.
    pub offset: u16,
}

impl LogPosition {
    /// Reads one at a byte offset.
    pub fn at(block: &[u8], offset: usize) -> Self {
        Self {
            generation: Generation::at(block, offset + 4),
            segment: u16_at(block, offset + 2),
            offset: u16_at(block, offset),
        }
    }

    /// Never set.
    pub fn is_unset(self) -> bool {
        self == Self::default()
    }
}

/// `49:13A:268`, in hexadecimal as the engine prints it.
impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}:{:X}:{:X}", self.generation.0, self.segment, self.offset)
    }
}

/// Who a database or a log stream is; 28 bytes, all of them compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 28]);

impl Signature {
    /// Reads one at a byte offset.
    pub fn at(block: &[u8], offset: usize) -> Self {
        Self(array_at(block, offset))
    }

    /// Never set: no log stream, or no flush map.
    pub fn is_unset(&self) -> bool {
        self.0 == [0; 28]
    }

    /// The random part.
    pub fn random(&self) -> u32 {
        u32_at(&self.0, 0)
    }

    /// When it was made.
    pub fn time(&self) -> LogTime {
        LogTime::at(&self.0, 4)
    }

    /// The machine that made it; empty in current engines.
    pub fn computer(&self) -> String {
        ansi(&self.0[12..])
    }

    /// All 28 bytes, for scripts.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }
}

/// `6abca3d1 of 2023-06-13 11:40:11 UTC`; `-` where it is unset.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unset() {
            return f.write_str("-");
        }
        write!(f, "{:08x} of {}", self.random(), self.time())?;
        let computer = self.computer();
        if computer.is_empty() { Ok(()) } else { write!(f, " on {}", crate::error::printable(computer)) }
    }
}

/// What a database header remembers of a backup that the engine made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupMark {
    /// Where in the stream it began.
    pub position: LogPosition,
    /// When.
    pub time: LogTime,
    /// The lowest generation of its set.
    pub low: Generation,
    /// The highest generation of its set; 0 in a copy that is not finished.
    pub high: Generation,
}

impl BackupMark {
    /// Reads one at a byte offset.
    pub fn at(block: &[u8], offset: usize) -> Self {
        Self {
            position: LogPosition::at(block, offset),
            time: LogTime::at(block, offset + 8),
            low: Generation::at(block, offset + 16),
            high: Generation::at(block, offset + 20),
        }
    }

    /// No such backup.
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// `generations 5-9, 5:1:0 at …`; `-` where it is unset.
impl fmt::Display for BackupMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unset() {
            return f.write_str("-");
        }
        write!(f, "generations {}-{}, mark {}, {}", self.low.0, self.high.0, self.position, self.time)
    }
}

/// A database that was attached when a log or a checkpoint was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its number in the instance.
    pub dbid: u8,
    /// 0x20: names are UTF-16; 0x40: the file may be sparse.
    pub flags: u8,
    /// Its counter of changes.
    pub dbtime: u64,
    /// The last object made in it.
    pub last_object: u32,
    /// The most pages it may have, 0 for any number.
    pub page_limit: u32,
    /// Where it was attached.
    pub attached: LogPosition,
    /// Where it was last consistent.
    pub consistent: LogPosition,
    /// Who it is.
    pub signature: Signature,
    /// Its full path on its machine first, then perhaps others.
    pub names: Vec<String>,
}

impl Attachment {
    /// The file's name: what follows the last separator of its path.
    pub fn file_name(&self) -> Option<&str> {
        self.names.first()?.rsplit(['\\', '/']).next().filter(|name| !name.is_empty())
    }
}

/// Bytes of an entry before its names.
const ATTACHMENT_BYTES: usize = 64;

/// Reads the entries of an area; a number of 0 ends the list, and so does an entry that does not fit.
pub fn attachments(area: &[u8]) -> Vec<Attachment> {
    let mut found = Vec::new();
    let mut rest = area;
    while let Some((entry, after)) = rest.split_at_checked(ATTACHMENT_BYTES) {
        let (dbid, flags) = (entry[0], entry[1]);
        let Some((names, after)) = after.split_at_checked(usize::from(u16_at(entry, 2))) else { break };
        if dbid == 0 {
            break;
        }
        found.push(Attachment {
            dbid,
            flags,
            dbtime: u64_at(entry, 4),
            last_object: u32_at(entry, 12),
            page_limit: u32_at(entry, 16),
            attached: LogPosition::at(entry, 20),
            consistent: LogPosition::at(entry, 28),
            signature: Signature::at(entry, 36),
            names: names_of(names, flags & 0x20 != 0),
        });
        rest = after;
    }
    found
}

fn names_of(bytes: &[u8], utf16: bool) -> Vec<String> {
    let text = if utf16 {
        let (units, _) = bytes.as_chunks::<2>();
        String::from_utf16_lossy(&units.iter().map(|unit| u16::from_le_bytes(*unit)).collect::<Vec<_>>())
    } else {
        bytes.iter().copied().map(char::from).collect()
    };
    text.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A text of one byte a character, up to its first zero.
pub fn ansi(bytes: &[u8]) -> String {
    bytes.iter().take_while(|byte| **byte != 0).copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_the_format_says() {
        // The 31st with month 10: months count from 1. 587 ms: low seven bits 75, high three bits 4.
        let utc = LogTime([26, 18, 10, 31, 10, 123, 75 << 1 | 1, 4 << 1]);
        assert_eq!(utc.to_string(), "2023-10-31 10:18:26.587 UTC");
        assert_eq!(utc.to_rfc3339().as_deref(), Some("2023-10-31T10:18:26.587Z"));
        assert!(utc.timestamp().is_some());
        let local = LogTime([26, 18, 10, 31, 10, 123, 0, 0]);
        assert_eq!(local.to_string(), "2023-10-31 10:18:26 (local time)");
        assert_eq!(local.to_rfc3339().as_deref(), Some("2023-10-31T10:18:26"));
        assert_eq!((local.timestamp(), LogTime::default().to_rfc3339()), (None, None));
        assert_eq!(LogTime([0, 0, 0, 32, 13, 0, 0, 0]).to_string(), "invalid 000000200d000000");
        assert_eq!(LogTime([0xFF; 8]).civil(), None);
    }

    #[test]
    fn positions_are_printed_and_ordered_as_the_stream_is() {
        let position = LogPosition::at(&[0x68, 2, 0x3E, 1, 5, 0, 0, 0], 0);
        assert_eq!(position.to_string(), "5:13E:268");
        let later = LogPosition::at(&[0, 0, 0, 0, 6, 0, 0, 0], 0);
        assert!(position < later);
        assert!(LogPosition::at(&[], 0).is_unset());
    }

    #[test]
    fn attached_databases_are_listed_with_their_names() {
        let mut area = vec![0; 200];
        area[0] = 1;
        area[1] = 0x20;
        let name: Vec<u8> = "C:\\db\\wéb.edb\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        area[2] = u8::try_from(name.len()).expect("short");
        area[36] = 9;
        area[64..64 + name.len()].copy_from_slice(&name);
        let found = attachments(&area);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].file_name(), Some("wéb.edb"));
        assert_eq!(found[0].signature.random(), 9);
        area[3] = 0xFF; // longer than the area: nothing is believed
        assert_eq!(attachments(&area), []);
    }
}
