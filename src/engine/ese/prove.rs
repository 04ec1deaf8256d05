//! Proves a stored file again while its bytes pass, in pieces of any length: pages of a database, segments of a log.

use super::body::{BodyVerifier, LogFault};
use super::checksum::is_zero;
use super::header::Copy;
use super::log::{LogHeader, SEGMENT_BYTES};
use super::page::{Fault, PageNumber, PageSize, Verdict, verify_page};
use super::recognise::HEAD_BYTES;

/// What a stored file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A database with pages of this size.
    Database(PageSize),
    /// A log.
    Log,
}

/// A page or segment that does not prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The page; or the segment.
    pub number: u32,
    /// In which respect.
    pub kind: FlawKind,
    /// What it says of itself.
    pub stored: String,
    /// What its content amounts to.
    pub computed: String,
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
}

/// Proves one file.
#[derive(Debug)]
pub struct Prover {
    what: What,
    size: u64,
    at: u64,
    /// The last page is a trailer: proven by its hash alone.
    trailer: bool,
    pending: Vec<u8>,
    body: Option<BodyVerifier>,
}

impl Prover {
    /// For a file of so many bytes; `trailer` says that its last page is one.
    pub fn new(what: What, size: u64, trailer: bool) -> Self {
        Self { what, size, at: 0, trailer, pending: Vec::new(), body: None }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8], report: &mut dyn FnMut(Flaw)) {
        match self.what {
            What::Log => self.feed_log(bytes, report),
            What::Database(page) => {
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
        while bytes > 0 {
            if let What::Database(page) = self.what
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
        if let Some(body) = self.body {
            body.finish(&mut |damage| report(flaw_of(damage)));
        }
    }

    fn page(&mut self, size: PageSize, page: &[u8], report: &mut dyn FnMut(Flaw)) {
        let begin = self.at;
        self.at += size.bytes_u64();
        let number = (begin / size.bytes_u64()).checked_sub(2).and_then(|index| u32::try_from(index + 1).ok());
        let Some(number) = number else { return }; // a copy of the header: the hash proves it
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
        self.at += bytes.len() as u64;
        if let Some(body) = &mut self.body {
            return body.feed(bytes, &mut |damage| report(flaw_of(damage)));
        }
        if self.at - (bytes.len() as u64) < SEGMENT_BYTES as u64 {
            self.pending.extend_from_slice(bytes);
        }
        if self.pending.len() < SEGMENT_BYTES {
            return;
        }
        let head = std::mem::take(&mut self.pending);
        let copy = Copy::look(&head, 0, SEGMENT_BYTES);
        if !copy.is_valid() || is_zero(&head[..SEGMENT_BYTES]) {
            let (stored, computed) = (format!("{:08x}", copy.stored), format!("{:08x}", copy.computed));
            return report(Flaw { number: 0, kind: FlawKind::LogHeader, stored, computed });
        }
        let header = LogHeader::parse(copy.bytes(&head));
        let mut body = BodyVerifier::new(&header, self.size);
        body.feed(&head, &mut |damage| report(flaw_of(damage)));
        self.body = Some(body);
    }
}

fn flaw_of(damage: super::body::LogDamage) -> Flaw {
    let kind = if damage.fault == LogFault::OneBit { FlawKind::Correctable } else { FlawKind::LogSegment };
    Flaw { number: damage.segment, kind, stored: damage.stored, computed: damage.computed }
}
