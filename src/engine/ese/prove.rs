//! Proves a stored file again while its bytes pass, in pieces of any length: pages of a database, segments of a log, copies
//! of a header.

use super::body::{BodyVerifier, LogFault};
use super::checkpoint::{COPY_BYTES, Checkpoint};
use super::checksum::is_zero;
use super::flush_map;
use super::header::{Copies, Copy, DatabaseHeader};
use super::log::{LOG_BYTES_MAX, LogHeader, SEGMENT_BYTES};
use super::page::{Fault, PageNumber, PageSize, Verdict, verify_page};
use super::recognise::HEAD_BYTES;

/// What a stored file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A database with pages of this size.
    Database(PageSize),
    /// A log.
    Log,
    /// A checkpoint.
    Checkpoint,
    /// A flush map, whose pages follow one header.
    FlushMap,
}

/// A page or segment that does not prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The page; or the segment; or which copy of a header, 0 for both.
    pub number: u32,
    /// In which respect.
    pub kind: FlawKind,
    /// What it says of itself.
    pub stored: String,
    /// What its content amounts to.
    pub computed: String,
}

impl Flaw {
    /// Whether it is about a copy of a header.
    pub fn is_of_a_copy(&self) -> bool {
        matches!(self.kind, FlawKind::Header | FlawKind::NoHeader | FlawKind::Checkpoint)
    }
}

/// In which respect a page or segment does not prove itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// A page's checksum.
    PageChecksum,
    /// A page's number.
    PageNumber,
    /// One bit of a page or segment.
    Correctable,
    /// A segment.
    LogSegment,
    /// The header of a log.
    LogHeader,
    /// A copy of the header of a database or flush map, of which another one may be good.
    Header,
    /// No copy of a header is good.
    NoHeader,
    /// A copy of a checkpoint.
    Checkpoint,
}

impl FlawKind {
    /// What to say of it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::PageNumber => "is sound, but is another page",
            Self::Correctable => "has one wrong bit, which the engine corrects",
            _ => "does not hold what was written",
        }
    }
}

/// Proves one file.
#[derive(Debug)]
pub struct Prover {
    what: What,
    size: u64,
    at: u64,
    /// The last page is a trailer: proven by its hash alone.
    trailer: bool,
    /// The copies of the header, as far as they came.
    head: Vec<u8>,
    pending: Vec<u8>,
    /// How many bytes of a log are still to come, whatever its file holds beyond.
    log_left: u64,
    body: Option<BodyVerifier>,
}

impl Prover {
    /// For a file of so many bytes; `trailer` says that its last page is one.
    pub fn new(what: What, size: u64, trailer: bool) -> Self {
        let (head, pending) = (Vec::new(), Vec::new());
        Self { what, size, at: 0, trailer, head, pending, log_left: LOG_BYTES_MAX, body: None }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8], report: &mut dyn FnMut(Flaw)) {
        match self.what {
            What::Log => self.feed_log(bytes, report),
            What::Checkpoint => {
                let wanted = (2 * COPY_BYTES - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..wanted]);
            }
            What::Database(_) | What::FlushMap => {
                let page = self.page_size();
                while !bytes.is_empty() {
                    if self.pending.is_empty() && bytes.len() >= page.bytes() {
                        let (whole, rest) = bytes.split_at(page.bytes());
                        self.page(page, whole, report);
                        bytes = rest;
                        continue;
                    }
                    let (now, rest) = bytes.split_at(bytes.len().min(page.bytes() - self.pending.len()));
                    self.pending.extend_from_slice(now);
                    bytes = rest;
                    if self.pending.len() == page.bytes() {
                        let whole = std::mem::take(&mut self.pending);
                        self.page(page, &whole, report);
                        self.pending = whole;
                        self.pending.clear();
                    }
                }
            }
        }
    }

    /// Takes so many zeros.
    pub fn skip(&mut self, mut bytes: u64, report: &mut dyn FnMut(Flaw)) {
        static ZEROS: [u8; HEAD_BYTES] = [0; HEAD_BYTES];
        bytes = match self.what {
            What::Database(_) | What::FlushMap => bytes,
            What::Checkpoint => bytes.min((2 * COPY_BYTES - self.head.len()) as u64),
            What::Log => bytes.min(self.log_left),
        };
        while bytes > 0 {
            if matches!(self.what, What::Database(_) | What::FlushMap)
                && let page = self.page_size()
                && self.pending.is_empty()
                && self.at >= 2 * page.bytes_u64()
            {
                let whole = bytes - bytes % page.bytes_u64(); // never written: nothing to prove
                self.at += whole;
                bytes -= whole;
            }
            let now = usize::try_from(bytes).unwrap_or(usize::MAX).min(ZEROS.len());
            self.feed(&ZEROS[..now], report);
            bytes -= now as u64;
        }
    }

    /// The end of the file.
    pub fn finish(self, report: &mut dyn FnMut(Flaw)) {
        match self.what {
            What::Log => {
                if let Some(body) = self.body {
                    body.finish(&mut |damage| report(flaw_of(damage)));
                }
            }
            What::Database(size) => {
                let mut copies = Copies::look(&self.head, size.bytes(), |copy| DatabaseHeader::looks_like(copy, size));
                let used = copies.used().map(|copy| DatabaseHeader::parse(copy.bytes(&self.head), size));
                if used.is_some_and(|header| header.has_no_shadow()) && copies.valid[0] {
                    (copies.valid[1], copies.identical) = (true, true); // not kept: what lies there means nothing
                }
                let kind = if copies.used().is_some() { FlawKind::Header } else { FlawKind::NoHeader };
                flaws_of(&copies, kind, report);
            }
            What::Checkpoint => flaws_of(&Checkpoint::copies(&self.head), FlawKind::Checkpoint, report),
            What::FlushMap => {
                let copy = Copy::look(&self.head, 0, flush_map::UNIT.bytes());
                if !copy.is_valid() {
                    report(flaw_of_copy(1, &copy, FlawKind::Header));
                }
            }
        }
    }

    fn page_size(&self) -> PageSize {
        match self.what {
            What::Database(size) => size,
            _ => flush_map::UNIT,
        }
    }

    /// How many pages precede those that have a number, and the number of the first of those.
    fn numbering(&self) -> (u64, u64) {
        if self.what == What::FlushMap { (1, 0) } else { (2, 1) }
    }

    fn page(&mut self, size: PageSize, page: &[u8], report: &mut dyn FnMut(Flaw)) {
        let begin = self.at;
        self.at += size.bytes_u64();
        let (headers, first) = self.numbering();
        let Some(index) = (begin / size.bytes_u64()).checked_sub(headers) else {
            return self.head.extend_from_slice(page);
        };
        let Ok(number) = u32::try_from(index + first) else { return };
        let is_last = self.at + size.bytes_u64() > self.size;
        if is_last && self.trailer {
            return;
        }
        if let Verdict::Damaged(damage) = verify_page(page, size, PageNumber(number)) {
            let (kind, stored, computed) = match damage.fault {
                Fault::Checksum => (FlawKind::PageChecksum, damage.stored.to_string(), damage.computed.to_string()),
                Fault::OneBit(_) => (FlawKind::Correctable, damage.stored.to_string(), damage.computed.to_string()),
                Fault::Number(own) => (FlawKind::PageNumber, own.to_string(), number.to_string()),
            };
            report(Flaw { number, kind, stored, computed });
        }
    }

    fn feed_log(&mut self, bytes: &[u8], report: &mut dyn FnMut(Flaw)) {
        let bytes = &bytes[..usize::try_from(self.log_left).unwrap_or(usize::MAX).min(bytes.len())];
        self.log_left -= bytes.len() as u64;
        if let Some(body) = &mut self.body {
            return body.feed(bytes, &mut |damage| report(flaw_of(damage)));
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < SEGMENT_BYTES {
            return;
        }
        let head = std::mem::take(&mut self.pending);
        let copy = Copy::look(&head, 0, SEGMENT_BYTES);
        if !copy.is_valid() || is_zero(&head[..SEGMENT_BYTES]) {
            self.log_left = 0; // where it ends, nobody knows
            return report(flaw_of_copy(0, &copy, FlawKind::LogHeader));
        }
        let header = LogHeader::parse(copy.bytes(&head));
        let length = header.bytes_to_prove(self.size);
        let head = &head[..usize::try_from(length).unwrap_or(usize::MAX).min(head.len())];
        self.log_left = length - head.len() as u64;
        let mut body = BodyVerifier::new(&header, length);
        body.feed(head, &mut |damage| report(flaw_of(damage)));
        self.body = Some(body);
    }
}

fn flaws_of(copies: &Copies, kind: FlawKind, report: &mut dyn FnMut(Flaw)) {
    for (number, (copy, valid)) in (1..).zip(copies.both.iter().zip(copies.valid)) {
        if !valid {
            report(flaw_of_copy(number, copy, kind));
        }
    }
    if copies.differ() {
        let [stored, computed] = copies.both.map(|copy| format!("{:08x}", copy.stored));
        report(Flaw { number: 0, kind, stored, computed }); // caught between the writes of the two
    }
}

fn flaw_of_copy(number: u32, copy: &Copy, kind: FlawKind) -> Flaw {
    Flaw { number, kind, stored: format!("{:08x}", copy.stored), computed: format!("{:08x}", copy.computed) }
}

fn flaw_of(damage: super::body::LogDamage) -> Flaw {
    let kind = if damage.fault == LogFault::OneBit { FlawKind::Correctable } else { FlawKind::LogSegment };
    Flaw { number: damage.segment, kind, stored: damage.stored, computed: damage.computed }
}
