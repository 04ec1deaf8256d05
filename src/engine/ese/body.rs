//! The body of a log, proven while it streams past: one verifier, whatever the format of the log.

use std::fs::File;
use std::io;

use super::files::read_full;
use super::log::LogHeader;
use super::records::RecordVerifier;
use super::segments::SegmentVerifier;
use crate::error::Result;
use crate::stream::stop::StopToken;

/// Findings of one log that are named one by one: records of old logs are short, and a hostile one has millions.
pub const DAMAGES_MAX: usize = 10_000;

/// What is wrong with a piece of a log's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFault {
    /// It does not prove itself.
    Corrupt,
    /// One bit is wrong: the engine would correct it.
    OneBit,
    /// Its write was cut short, and its shadow is good: recovery takes that. Fine in the log that is being written.
    Torn,
    /// It proves itself, but comes after the end of the log.
    AfterTheEnd,
    /// It proves itself, but as a later piece than it can be.
    Misplaced,
    /// A shadow whose own segment is not there.
    LoneShadow,
}

impl LogFault {
    /// What happened, as a few words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Corrupt => "does not hold what was written",
            Self::OneBit => "has one wrong bit, which the engine would correct",
            Self::Torn => "is torn, its shadow is good",
            Self::AfterTheEnd => "follows the end of the log",
            Self::Misplaced => "claims a later place",
            Self::LoneShadow => "is the shadow of a segment that is not good",
        }
    }
}

/// A finding in a log's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDamage {
    /// Which segment, counted from the start of the file in sectors of the log (the header is the first).
    pub segment: u32,
    /// What is wrong.
    pub fault: LogFault,
    /// The checksum or place that it claims, empty where there is none.
    pub stored: String,
    /// What its content amounts to, or the place it is in.
    pub computed: String,
}

/// What a whole body amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFacts {
    /// Segments or ranges that hold data and prove it.
    pub data: u64,
    /// Copies of the last segment.
    pub shadows: u64,
    /// Segments that were never written.
    pub empty: u64,
    /// Segments of an older log that this file was before.
    pub stale: u64,
    /// Findings.
    pub damaged: u64,
    /// How many bytes of the file mean something.
    pub valid_bytes: u64,
    /// The XOR of the checksums of all data segments, which the next log records (§8.3); none where one is missing.
    pub accumulated: Option<u64>,
}

/// Proves the body of a log, fed with its bytes in order.
#[derive(Debug)]
pub struct BodyVerifier(Format);

#[derive(Debug)]
enum Format {
    Segments(SegmentVerifier),
    Records(RecordVerifier),
}

impl BodyVerifier {
    /// For the log with this header, whose file has so many bytes.
    pub fn new(header: &LogHeader, file_bytes: u64) -> Self {
        Self(if header.has_segments() {
            Format::Segments(SegmentVerifier::new(header, file_bytes))
        } else {
            Format::Records(RecordVerifier::new(header, file_bytes))
        })
    }

    /// Takes the next bytes of the file (the first ones are the header's), in pieces of any length.
    pub fn feed(&mut self, bytes: &[u8], report: &mut dyn FnMut(LogDamage)) {
        match &mut self.0 {
            Format::Segments(verifier) => verifier.feed(bytes, report),
            Format::Records(verifier) => verifier.feed(bytes, report),
        }
    }

    /// The end of the file.
    pub fn finish(self, report: &mut dyn FnMut(LogDamage)) -> LogFacts {
        match self.0 {
            Format::Segments(verifier) => verifier.finish(report),
            Format::Records(verifier) => verifier.finish(report),
        }
    }
}

/// Reads and proves the first `size` bytes of a log once, its header included, through a buffer of any length.
///
/// The outer result is a stop, the inner one what the disk says. `report` hears of every finding, however many there are.
pub fn prove_body(
    file: &File,
    header: &LogHeader,
    size: u64,
    buffer: &mut [u8],
    stop: &StopToken,
    report: &mut dyn FnMut(LogDamage),
) -> Result<io::Result<LogFacts>> {
    let mut verifier = BodyVerifier::new(header, size);
    let mut offset = 0;
    while offset < size {
        stop.check()?;
        let wanted = buffer.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
        match read_full(file, &mut buffer[..wanted], offset) {
            Ok(0) => break,
            Ok(read) => {
                verifier.feed(&buffer[..read], report);
                offset += read as u64;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(verifier.finish(report)))
}

/// What a body was found to have, as far as memory goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damages {
    /// The first ones, [`DAMAGES_MAX`] at most.
    pub first: Vec<LogDamage>,
    /// How many more there are.
    pub more: u64,
}

impl Damages {
    /// Takes another one.
    pub fn take(&mut self, damage: LogDamage) {
        if self.first.len() < DAMAGES_MAX { self.first.push(damage) } else { self.more += 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_nothing_but_damage_takes_no_more_memory_than_its_first_ones() {
        const RECORDS: usize = 50_000;
        let mut header = LogHeader::parse(&[0; 4096]);
        (header.sector_bytes, header.header_sectors, header.sectors) = (512, 8, u16::MAX);
        let mut bytes = vec![0; 4096];
        for index in 0..RECORDS {
            let mut record = [0; 26]; // 22 bytes, and four that the next one covers
            (record[0], record[21]) = (42, 0xD1);
            record[1] = if index == 0 { 0 } else { 4 };
            record[9] = if index + 1 == RECORDS { 0 } else { 4 };
            record[13] = 77; // no checksum
            bytes.extend(record);
        }
        let file = tempfile::tempfile().expect("temporary file");
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).expect("written");
        let (mut damages, mut heard) = (Damages::default(), 0);
        let stop = StopToken::never();
        let facts = prove_body(&file, &header, bytes.len() as u64, &mut [0; 8192], &stop, &mut |damage| {
            heard += 1;
            damages.take(damage);
        });
        let facts = facts.expect("not stopped").expect("read");
        assert!(heard >= RECORDS - 1 && facts.damaged == heard as u64, "{heard}");
        assert_eq!((damages.first.len(), damages.more), (DAMAGES_MAX, (heard - DAMAGES_MAX) as u64));
    }
}
