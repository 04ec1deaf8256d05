//! The body of today's logs: segments that prove themselves (`spec/ese-format.md` §8.1, §8.2).

use super::body::{LogDamage, LogFacts, LogFault};
use super::fields::{Generation, LogPosition, u64_at};
use super::log::{LogHeader, SEGMENT_BYTES};
use super::page::{Damage, Fault, PageNumber, PageSize, Verdict, verify_page};
use super::recognise::is_fill;

/// A segment that may be torn, until the next one tells.
#[derive(Debug)]
struct Pending {
    segment: u32,
    damage: Damage,
}

/// Proves segments one after the other.
#[derive(Debug)]
pub struct SegmentVerifier {
    generation: Generation,
    /// What was never written holds the fill pattern of old engines (§8.5).
    is_filled: bool,
    /// Segments of the file, the header included.
    total: u32,
    next: u32,
    /// A segment that is not complete yet.
    partial: Vec<u8>,
    /// The end of the log is behind us.
    ended: bool,
    /// The last data segment; 0 for none.
    last: u32,
    accumulated: u64,
    /// A data segment cannot be believed, so that the sum cannot.
    incomplete: bool,
    pending: Option<Pending>,
    facts: LogFacts,
}

impl SegmentVerifier {
    /// For the log with this header, whose file has so many bytes.
    pub fn new(header: &LogHeader, file_bytes: u64) -> Self {
        Self {
            generation: header.generation,
            is_filled: header.major == 8 && header.update < 2,
            total: u32::try_from(file_bytes / SEGMENT_BYTES as u64).unwrap_or(u32::MAX),
            next: 0,
            partial: Vec::new(),
            ended: false,
            last: 0,
            accumulated: 0,
            incomplete: false,
            pending: None,
            facts: LogFacts::default(),
        }
    }

    /// Takes the next bytes of the file, the header first.
    pub fn feed(&mut self, mut bytes: &[u8], report: &mut dyn FnMut(LogDamage)) {
        if !self.partial.is_empty() {
            let (begin, rest) = bytes.split_at(bytes.len().min(SEGMENT_BYTES - self.partial.len()));
            self.partial.extend_from_slice(begin);
            bytes = rest;
            if self.partial.len() < SEGMENT_BYTES {
                return;
            }
            let whole = std::mem::take(&mut self.partial);
            self.segment(&whole, report);
        }
        let segments = bytes.chunks_exact(SEGMENT_BYTES);
        self.partial.extend_from_slice(segments.remainder());
        for segment in segments {
            self.segment(segment, report);
        }
    }

    fn segment(&mut self, bytes: &[u8], report: &mut dyn FnMut(LogDamage)) {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        if number == 0 {
            return; // the header, which has its own checksum
        }
        let position = LogPosition::at(bytes, 8);
        let verdict = verify_page(bytes, PageSize::KIB_4, PageNumber(number));
        let is_filler = self.is_filled && is_fill(bytes);
        match verdict {
            Verdict::Blank => self.empty(report),
            Verdict::Damaged(_) if is_filler => self.empty(report),
            Verdict::Good(_) => {
                self.settle(report);
                self.good(number, position, u64_at(bytes, 0), report);
            }
            Verdict::Damaged(damage) => {
                if self.is_shadow(bytes, number, position, &damage, report) {
                    return;
                }
                self.settle(report);
                if let Fault::OneBit(_) = damage.fault {
                    if !self.ended && self.is_here(position, number) {
                        self.data(number, damage.stored.as_slice()[0]);
                    }
                    self.report(number, LogFault::OneBit, &damage, report);
                } else if self.ended {
                    self.report(number, LogFault::Corrupt, &damage, report);
                } else {
                    self.pending = Some(Pending { segment: number, damage });
                }
            }
        }
    }

    fn empty(&mut self, report: &mut dyn FnMut(LogDamage)) {
        self.settle(report);
        self.facts.empty += 1;
        self.ended = true;
    }

    /// Judges a segment that proves itself in this place.
    fn good(&mut self, number: u32, position: LogPosition, stored: u64, report: &mut dyn FnMut(LogDamage)) {
        let here = (self.generation, number);
        let claimed = (position.generation, u32::from(position.segment));
        // The last segment of a file never holds data: what lies there is of an older log.
        if claimed < here || number + 1 == self.total {
            self.facts.stale += 1;
            self.ended = true;
            return;
        }
        if claimed == here && !self.ended {
            self.data(number, stored);
            self.facts.data += 1;
            return;
        }
        let fault = if claimed == here { LogFault::AfterTheEnd } else { LogFault::Misplaced };
        self.incomplete = true;
        self.facts.damaged += 1;
        report(LogDamage {
            segment: number,
            fault,
            stored: position.to_string(),
            computed: format!("{:X}:{number:X}:0", self.generation.0),
        });
    }

    /// Judges a segment that is a copy of the one before it; false where it is none.
    ///
    /// Its position must say so as well: a wrong bit in a stored checksum can imitate another number.
    fn is_shadow(
        &mut self,
        bytes: &[u8],
        number: u32,
        position: LogPosition,
        damage: &Damage,
        report: &mut dyn FnMut(LogDamage),
    ) -> bool {
        let origin = number - 1;
        if origin == 0 || u32::from(position.segment) != origin {
            return false;
        }
        let as_copy = verify_page(bytes, PageSize::KIB_4, PageNumber(origin));
        let wrong = match as_copy {
            Verdict::Good(_) => None,
            Verdict::Damaged(wrong)
                if matches!(wrong.fault, Fault::OneBit(_)) && !matches!(damage.fault, Fault::OneBit(_)) =>
            {
                Some(wrong)
            }
            _ => return false,
        };
        let is_own = position.generation == self.generation;
        let torn = self.pending.take_if(|pending| is_own && wrong.is_none() && pending.segment == origin);
        if let Some(torn) = torn {
            self.data(origin, u64_at(bytes, 0));
            self.report(origin, LogFault::Torn, &torn.damage, report);
        }
        self.settle(report);
        self.ended = true;
        if is_own {
            self.facts.shadows += 1;
        } else {
            self.facts.stale += 1;
        }
        if let Some(wrong) = wrong {
            self.report(number, LogFault::OneBit, &wrong, report);
        } else if is_own && self.last != origin {
            self.facts.damaged += 1;
            let computed = format!("{:X}:{number:X}:0", self.generation.0);
            report(LogDamage { segment: number, fault: LogFault::LoneShadow, stored: position.to_string(), computed });
        }
        true
    }

    fn is_here(&self, position: LogPosition, number: u32) -> bool {
        position.generation == self.generation && u32::from(position.segment) == number
    }

    fn data(&mut self, number: u32, stored: u64) {
        self.last = number;
        self.accumulated ^= stored;
    }

    /// What waits for its shadow has none.
    fn settle(&mut self, report: &mut dyn FnMut(LogDamage)) {
        if let Some(pending) = self.pending.take() {
            self.incomplete = true;
            self.report(pending.segment, LogFault::Corrupt, &pending.damage, report);
        }
    }

    fn report(&mut self, segment: u32, fault: LogFault, damage: &Damage, report: &mut dyn FnMut(LogDamage)) {
        self.facts.damaged += 1;
        let (stored, computed) = (damage.stored.to_string(), damage.computed.to_string());
        report(LogDamage { segment, fault, stored, computed });
    }

    /// The end of the file.
    pub fn finish(mut self, report: &mut dyn FnMut(LogDamage)) -> LogFacts {
        self.settle(report);
        self.facts.valid_bytes = (u64::from(self.last) + 1) * SEGMENT_BYTES as u64;
        self.facts.accumulated = (!self.incomplete).then_some(self.accumulated);
        self.facts
    }
}
