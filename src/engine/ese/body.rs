//! The body of a log, proven while it streams past: one verifier, whatever the format of the log.

use super::log::LogHeader;
use super::records::RecordVerifier;
use super::segments::SegmentVerifier;

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
