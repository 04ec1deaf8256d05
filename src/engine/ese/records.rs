//! The body of old logs: ranges that checksum records chain together (`spec/ese-format.md` §8.5).

use super::body::{LogDamage, LogFacts, LogFault};
use super::checksum::xor_words;
use super::fields::{Generation, u32_at};
use super::log::LogHeader;

const RECORD_BYTES: usize = 22;
const RECORD_TYPE: u8 = 42;
/// What the checksum of a range starts from.
const SEED: u32 = 0xFEED_BEAF;
/// What the checksum of its first sector starts from.
const SHORT_SEED: u32 = 0xDEAD_C0DE;
/// What the checksum of a shadow differs by.
const SHADOW: u32 = 0x5AD0_5EC7;
/// The short checksum is used.
const SHORT_USED: u8 = 0x9A;
/// It is not.
const SHORT_UNUSED: u8 = 0xD1;

/// The XOR of a range that comes in pieces, as words counted from its first byte.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    sum: u32,
    length: u64,
}

impl Range {
    fn add(&mut self, bytes: &[u8]) {
        // Words go on where the last piece broke off.
        let shift = u32::try_from(self.length % 4).unwrap_or(0) * 8;
        self.sum ^= xor_words(bytes).rotate_left(shift);
        self.length += bytes.len() as u64;
    }
}

/// A checksum record, at an offset of the file.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: u64,
    back: u32,
    forward: u32,
    next: u32,
    checksum: u32,
    short: u32,
    short_use: u8,
}

impl Record {
    fn parse(bytes: &[u8], at: u64) -> Option<Self> {
        let short_use = *bytes.get(21)?;
        let is_record = bytes[0] == RECORD_TYPE && matches!(short_use, SHORT_USED | SHORT_UNUSED);
        is_record.then(|| Self {
            at,
            back: u32_at(bytes, 1),
            forward: u32_at(bytes, 5),
            next: u32_at(bytes, 9),
            checksum: u32_at(bytes, 13),
            short: u32_at(bytes, 17),
            short_use,
        })
    }

    fn body(&self) -> u64 {
        self.at + RECORD_BYTES as u64
    }

    fn end(&self) -> u64 {
        self.body() + u64::from(self.forward)
    }

    fn computed(&self, seed: u32, back: u32, forward: u32, generation: Generation) -> u32 {
        seed ^ back ^ forward ^ self.back ^ self.forward ^ self.next ^ u32::from(self.short_use) ^ generation.0
    }
}

#[derive(Debug)]
enum State {
    /// Reading what the record at this offset covers before itself.
    Back { record_at: u64 },
    /// Reading the record.
    Record { record_at: u64, bytes: Vec<u8> },
    /// Reading what it covers after itself.
    Forward { record: Record, short: Option<u32> },
    /// Reading the sector that may hold the shadow of the last record.
    Shadow { record_at: u64, sector: Vec<u8>, failed: Option<LogDamage> },
    /// Behind the end of the log, or of what can be read of it.
    Over,
}

/// Proves ranges one after the other.
#[derive(Debug)]
pub struct RecordVerifier {
    generation: Generation,
    sector_bytes: u64,
    file_bytes: u64,
    at: u64,
    range_start: u64,
    back: Range,
    forward: Range,
    state: State,
    facts: LogFacts,
}

impl RecordVerifier {
    /// For the log with this header, whose file has so many bytes.
    pub fn new(header: &LogHeader, file_bytes: u64) -> Self {
        // A sector size that cannot be is damage of the header, which is reported with it.
        let sector_bytes = u64::from(header.sector_bytes).clamp(512, 65535);
        let first = sector_bytes * u64::from(header.header_sectors);
        Self {
            generation: header.generation,
            sector_bytes,
            file_bytes,
            at: 0,
            range_start: first,
            back: Range::default(),
            forward: Range::default(),
            state: State::Back { record_at: first },
            facts: LogFacts { valid_bytes: first, ..LogFacts::default() },
        }
    }

    /// Takes the next bytes of the file, the header first.
    pub fn feed(&mut self, mut bytes: &[u8], report: &mut dyn FnMut(LogDamage)) {
        while !bytes.is_empty() {
            let taken = self.step(bytes, report);
            bytes = &bytes[taken..];
            self.at += taken as u64;
        }
    }

    /// Takes what the state can use of these bytes; says how many that were (0 means only that the state has changed).
    fn step(&mut self, bytes: &[u8], report: &mut dyn FnMut(LogDamage)) -> usize {
        let upto = |target: u64, at: u64| usize::try_from(target - at).unwrap_or(usize::MAX).min(bytes.len());
        match std::mem::replace(&mut self.state, State::Over) {
            // The header, which has its own checksum.
            State::Back { record_at } if self.at < self.range_start => {
                self.state = State::Back { record_at };
                upto(self.range_start, self.at)
            }
            State::Back { record_at } if self.at < record_at => {
                let taken = upto(record_at, self.at);
                self.back.add(&bytes[..taken]);
                self.state = State::Back { record_at };
                taken
            }
            State::Back { record_at } => {
                self.state = State::Record { record_at, bytes: Vec::with_capacity(RECORD_BYTES) };
                0
            }
            State::Record { record_at, bytes: mut record } => {
                let taken = bytes.len().min(RECORD_BYTES - record.len());
                record.extend_from_slice(&bytes[..taken]);
                if record.len() < RECORD_BYTES {
                    self.state = State::Record { record_at, bytes: record };
                } else {
                    self.state = self.begin(record_at, &record, report);
                }
                taken
            }
            State::Forward { record, mut short } => {
                let sector_end = self.sector_end(record.at);
                if short.is_none() && self.at >= sector_end {
                    short = Some(self.forward.sum);
                }
                if self.at == record.end() {
                    self.state = self.end(&record, short, report);
                    return 0;
                }
                let target = if short.is_none() { record.end().min(sector_end) } else { record.end() };
                let taken = upto(target, self.at);
                self.forward.add(&bytes[..taken]);
                self.state = State::Forward { record, short };
                taken
            }
            State::Shadow { record_at, mut sector, failed } => {
                let start = self.sector_end(record_at);
                let target = if self.at < start { start } else { start + self.sector_bytes };
                let taken = upto(target, self.at);
                if self.at >= start {
                    sector.extend_from_slice(&bytes[..taken]);
                }
                self.state = if sector.len() as u64 == self.sector_bytes {
                    self.shadow(record_at, &sector, failed, report)
                } else {
                    State::Shadow { record_at, sector, failed }
                };
                taken
            }
            State::Over => bytes.len(),
        }
    }

    fn sector_end(&self, at: u64) -> u64 {
        at - at % self.sector_bytes + self.sector_bytes
    }

    /// A record is complete: does it fit into the chain?
    fn begin(&mut self, record_at: u64, bytes: &[u8], report: &mut dyn FnMut(LogDamage)) -> State {
        self.forward = Range::default();
        let fits = |record: &Record| {
            u64::from(record.back) == record.at - self.range_start
                && record.end() <= self.file_bytes
                && (record.next == 0 || record.next >= record.forward)
        };
        match Record::parse(bytes, record_at).filter(fits) {
            Some(record) => State::Forward { record, short: None },
            None => self.fail(record_at, "", "no checksum record of the chain", report),
        }
    }

    /// A range is complete: does it hold?
    fn end(&mut self, record: &Record, short: Option<u32>, report: &mut dyn FnMut(LogDamage)) -> State {
        let computed = record.computed(SEED, self.back.sum, self.forward.sum, self.generation);
        let mut wrong = (computed != record.checksum).then_some((record.checksum, computed));
        if wrong.is_none() && record.short_use == SHORT_USED {
            let forward = short.unwrap_or(self.forward.sum);
            let computed = record.computed(SHORT_SEED, self.back.sum, forward, self.generation);
            wrong = (computed != record.short).then_some((record.short, computed));
        }
        let is_last = record.next == 0;
        let is_confined = record.end() <= self.sector_end(record.at);
        if let Some((stored, computed)) = wrong {
            let (stored, computed) = (format!("{stored:08x}"), format!("{computed:08x}"));
            if is_last {
                return self.fail(record.at, &stored, &computed, report);
            }
            // The links still hold, so that what follows can be judged.
            self.report(record.at, stored, computed, report);
        } else {
            self.facts.data += 1;
        }
        self.facts.valid_bytes = record.end();
        if is_last {
            let sector = Vec::new();
            return if is_confined {
                State::Shadow { record_at: record.at, sector, failed: None }
            } else {
                State::Over
            };
        }
        self.range_start = record.end();
        self.back = Range::default();
        State::Back { record_at: record.body() + u64::from(record.next) }
    }

    /// The chain breaks at this record, unless it was only torn and the next sector holds its shadow.
    fn fail(&mut self, record_at: u64, stored: &str, computed: &str, report: &mut dyn FnMut(LogDamage)) -> State {
        let segment = self.segment(record_at);
        let damage =
            LogDamage { segment, fault: LogFault::Corrupt, stored: stored.to_owned(), computed: computed.to_owned() };
        let in_one_sector = record_at + RECORD_BYTES as u64 <= self.sector_end(record_at);
        if in_one_sector && self.at <= self.sector_end(record_at) {
            return State::Shadow { record_at, sector: Vec::new(), failed: Some(damage) };
        }
        self.facts.damaged += 1;
        report(damage);
        State::Over
    }

    /// The sector after the last record is complete: is it the shadow of the record's sector?
    fn shadow(
        &mut self,
        record_at: u64,
        sector: &[u8],
        failed: Option<LogDamage>,
        report: &mut dyn FnMut(LogDamage),
    ) -> State {
        let offset = usize::try_from(record_at % self.sector_bytes).unwrap_or(usize::MAX);
        let is_shadow = || {
            let record = Record::parse(sector.get(offset..offset + RECORD_BYTES)?, record_at)?;
            let back = sector.get(offset.checked_sub(record.back as usize)?..offset)?;
            let body = offset + RECORD_BYTES;
            let forward = sector.get(body..body.checked_add(record.forward as usize)?)?;
            let computed = record.computed(SEED, xor_words(back), xor_words(forward), self.generation);
            let abuts = record.at - u64::from(record.back) == self.range_start;
            (record.next == 0 && abuts && computed ^ SHADOW == record.checksum).then_some(())
        };
        let is_shadow = is_shadow().is_some();
        if is_shadow {
            self.facts.shadows += 1;
            self.facts.valid_bytes = self.sector_end(record_at) + self.sector_bytes;
        }
        if let Some(damage) = failed {
            self.facts.damaged += 1;
            report(LogDamage { fault: if is_shadow { LogFault::Torn } else { LogFault::Corrupt }, ..damage });
        }
        State::Over
    }

    fn segment(&self, at: u64) -> u32 {
        u32::try_from(at / self.sector_bytes).unwrap_or(u32::MAX)
    }

    fn report(&mut self, at: u64, stored: String, computed: String, report: &mut dyn FnMut(LogDamage)) {
        self.facts.damaged += 1;
        report(LogDamage { segment: self.segment(at), fault: LogFault::Corrupt, stored, computed });
    }

    /// The end of the file.
    pub fn finish(mut self, report: &mut dyn FnMut(LogDamage)) -> LogFacts {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Forward { record, short } if self.at == record.end() => {
                // The range ends with the file.
                if let State::Shadow { failed: Some(damage), .. } = self.end(&record, short, report) {
                    self.facts.damaged += 1;
                    report(damage);
                }
            }
            State::Shadow { failed: Some(damage), .. } => {
                self.facts.damaged += 1;
                report(damage);
            }
            State::Back { .. } | State::Record { .. } | State::Forward { .. } => {
                let at = self.at;
                self.report(at, String::new(), "the file ends inside a range".to_owned(), report);
            }
            State::Shadow { .. } | State::Over => {}
        }
        self.facts
    }
}
