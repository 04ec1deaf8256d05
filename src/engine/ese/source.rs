//! Databases and logs as sources: nothing is handed on before it has proven itself, and what does not is read again on
//! the engine's own schedule (decision 16).

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::body::{BodyVerifier, Damages, LogDamage, LogFacts, LogFault, prove_body};
use super::files::{forget_cached, read_full};
use super::header::{DatabaseHeader, State};
use super::judge::Inside;
use super::log::LogHeader;
use super::page::{Damage, Fault, PageNumber, PageSize, Verdict, verify_page, verify_pages};
use crate::engine::watched::Watched;
use crate::error::{Error, Jet, Result, printable};
use crate::stream::kept::{KeptCopy, read_exact_at};
use crate::stream::source::{Got, ODD_MAX, Odd, OddKind, Proof, Settled, Source, Stamp};
use crate::stream::sparse::SparseFile;
use crate::stream::stop::StopToken;

/// How often the engine reads a page before it gives up; it waits 100 ms longer before each time.
const ATTEMPTS: u32 = 17;
/// What it waits longer each time.
const PAUSE: Duration = Duration::from_millis(100);
/// Things to say of one file at most; the rest is counted.
const NOTICES_MAX: usize = 20;
/// What a log is proven in, in bytes.
const LOG_CHUNK_BYTES: usize = 256 * 1024;

/// What to do about what does not prove itself.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Nobody writes to the source, so that waiting heals nothing: it is read again once.
    pub is_at_rest: bool,
    /// Damaged pages are copied as they are.
    pub accept_damage: bool,
    /// Ends the waiting.
    pub stop: StopToken,
}

/// A database: its whole pages, each proven before it is handed on.
pub struct DatabaseSource {
    file: File,
    watched: Watched,
    policy: Policy,
    size: PageSize,
    position: u64,
    end: u64,
    /// Where the data around `position` ends; none where the file has no holes.
    data_end: Option<u64>,
    /// The last page that the database owns, where that is known and what lies beyond is nobody's.
    owned: Option<PageNumber>,
    trailer: Option<PageNumber>,
    /// A page was waited for in vain: this disk does not heal.
    is_given_up: bool,
    /// Both copies of the header, as they were when they were judged.
    head: Vec<u8>,
    /// What went on as header is something else.
    has_other_head: bool,
    proof: Proof,
    /// A copy that the pages come from up to some byte; holes are those of the file.
    kept: Option<(Box<dyn KeptCopy>, u64)>,
}

impl DatabaseSource {
    /// For a file whose header and inside were looked at; `head` is how the file begins.
    pub(super) fn new(
        (file, watched, allocated): (File, Watched, u64),
        head: &[u8],
        header: &DatabaseHeader,
        inside: &Inside,
        policy: Policy,
    ) -> Self {
        let end = watched.before.stamp.size;
        let size = header.page_size;
        super::files::expect_sequential(&file);
        let trailer = inside.trailer.as_ref().and(inside.last_page);
        let size_field = u32::try_from(size.bytes()).unwrap_or(u32::MAX);
        Self {
            data_end: (allocated < end).then_some(2 * size.bytes_u64()),
            owned: inside.owned.filter(|_| header.state == State::Clean),
            proof: Proof { size: size_field, trailer: trailer.is_some(), ..Proof::default() },
            is_given_up: false,
            head: head[..head.len().min(2 * size.bytes())].to_vec(),
            has_other_head: false,
            kept: None,
            position: 0,
            file,
            watched,
            policy,
            size,
            end,
            trailer,
        }
    }

    /// Passes over a hole, as far as it holds whole pages; how long it is.
    fn hole(&mut self) -> Option<u64> {
        let data_end = self.data_end?;
        let page = self.size.bytes_u64();
        if self.position < data_end || self.position < 2 * page {
            return None;
        }
        let data = match rustix::fs::seek(&self.file, SeekFrom::Data(self.position)) {
            Ok(data) => data.clamp(self.position, self.end),
            Err(Errno::NXIO) => self.end,
            Err(_) => {
                self.data_end = None; // a file system that does not tell: read it all
                return None;
            }
        };
        let hole = (data - self.position) / page * page;
        let after = rustix::fs::seek(&self.file, SeekFrom::Hole(data)).unwrap_or(self.end);
        self.data_end = Some(after.clamp(data, self.end).next_multiple_of(page).max(self.position + hole + page));
        self.position += hole;
        self.proof.blank += hole / page;
        (hole > 0).then_some(hole)
    }

    /// Where the pages of the copy end, as long as they are what comes next.
    fn kept_until(&self) -> Option<u64> {
        self.kept.as_ref().map(|(_, until)| *until).filter(|until| self.position < *until)
    }

    /// Fills the buffer from the file, again on the schedule where the disk fails.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let (Some(_), Some((copy, _))) = (self.kept_until(), &mut self.kept) {
            let read = read_exact_at(&mut **copy, buffer, self.position).map(|()| buffer.len());
            return read.map_err(|e| Error::io("read the copy of", &self.watched.absolute(), &e));
        }
        let mut attempt = 1;
        loop {
            let error = match read_full(&self.file, buffer, self.position) {
                Ok(read) => return Ok(read),
                Err(error) => error,
            };
            if self.is_last(attempt) {
                return Err(self.cannot_read(buffer, &error));
            }
            self.pause(attempt)?;
            attempt += 1;
        }
    }

    /// The error for what the disk does not give, with the first page of the buffer that it is about.
    fn cannot_read(&self, buffer: &mut [u8], error: &io::Error) -> Error {
        let page = self.size.bytes_u64();
        let mut pieces = buffer.chunks_mut(self.size.bytes()).zip(0..);
        let bad = pieces.find_map(|(piece, index)| {
            let read = read_full(&self.file, piece, self.position + index * page);
            read.is_err().then_some(index)
        });
        let index = self.position / page + bad.unwrap_or(0);
        let error = Error::io("read", &self.watched.absolute(), error).file(self.watched.path());
        if index < 2 { error } else { error.page(index - 1) }
    }

    fn is_last(&self, attempt: u32) -> bool {
        attempt >= if self.policy.is_at_rest || self.is_given_up { 2 } else { ATTEMPTS }
    }

    fn pause(&self, attempt: u32) -> Result<()> {
        if self.policy.is_at_rest || self.is_given_up {
            return self.policy.stop.check();
        }
        self.policy.stop.sleep(PAUSE * attempt)
    }

    /// Proves the whole pages of a buffer that was read at `position`.
    fn prove(&mut self, buffer: &mut [u8]) -> Result<()> {
        let page = self.size.bytes();
        let index = self.position / self.size.bytes_u64();
        let headers = usize::try_from(2_u64.saturating_sub(index)).unwrap_or(0) * page;
        if headers > 0 {
            let judged = self.head.get(2 * page - headers..).unwrap_or_default();
            let length = headers.min(buffer.len());
            self.has_other_head |= judged.get(..length) != buffer.get(..length);
        }
        let Some(pages) = buffer.get_mut(headers..) else { return Ok(()) };
        let first = PageNumber(u32::try_from(index.max(2) - 1).map_err(|_| self.too_large())?);
        let (trailer, mut trailers, mut bad) = (self.trailer, 0, Vec::new());
        let counts = verify_pages(pages, self.size, first, &mut |number, _, damage| {
            if Some(number) == trailer { trailers += 1 } else { bad.push((number, damage)) }
        });
        self.proof.good += counts.good_ecc + counts.good_xor + trailers;
        self.proof.blank += counts.blank;
        if bad.is_empty() {
            return Ok(());
        }
        // The copy holds what was read again until it was right, if it ever was.
        let bad = if self.kept_until().is_some() { bad } else { self.again(pages, first, bad)? };
        for (number, damage) in bad {
            self.take_odd(number, &damage)?;
        }
        Ok(())
    }

    fn too_large(&self) -> Error {
        let message = format!("{} has more pages than a database can have", printable(self.watched.absolute()));
        Error::jet(Jet::DatabaseCorrupted, message).file(self.watched.path())
    }

    /// Reads pages again that do not prove themselves, past the page cache; those that still do not come back.
    fn again(
        &mut self,
        pages: &mut [u8],
        first: PageNumber,
        mut bad: Vec<(PageNumber, Damage)>,
    ) -> Result<Vec<(PageNumber, Damage)>> {
        let length = self.size.bytes();
        let mut attempt = 1;
        while !bad.is_empty() && !self.is_last(attempt) {
            let is_grave = bad.iter().any(|(number, damage)| self.kind(*number, damage).is_damage());
            if !is_grave && attempt > 1 {
                break; // the engine takes it as it is
            }
            if is_grave {
                self.pause(attempt)?;
            }
            attempt += 1;
            let mut still = Vec::new();
            for (number, damage) in bad {
                let offset = self.size.offset_of(number);
                forget_cached(&self.file, offset, length as u64);
                let at = (number.0 - first.0) as usize * length;
                let Some(page) = pages.get_mut(at..at + length) else { continue };
                let mut fresh = vec![0; length];
                if !read_full(&self.file, &mut fresh, offset).is_ok_and(|read| read == length) {
                    still.push((number, damage));
                    continue;
                }
                page.copy_from_slice(&fresh);
                match verify_page(page, self.size, number) {
                    Verdict::Damaged(damage) => still.push((number, damage)),
                    verdict => {
                        self.proof.good += u64::from(verdict != Verdict::Blank);
                        self.proof.blank += u64::from(verdict == Verdict::Blank);
                        let path = printable(self.watched.absolute());
                        let count = attempt - 1;
                        let times = if count == 1 { "once" } else { &format!("{count} times") };
                        self.notice(format!("page {number} of {path} was wrong {times} and then right (transient)"));
                    }
                }
            }
            bad = still;
        }
        self.is_given_up |= bad.iter().any(|(number, damage)| self.kind(*number, damage).is_damage());
        Ok(bad)
    }

    fn kind(&self, number: PageNumber, damage: &Damage) -> OddKind {
        match damage.fault {
            Fault::OneBit(_) => OddKind::Correctable,
            _ if self.owned.is_some_and(|owned| number > owned) => OddKind::Garbage,
            Fault::Checksum => OddKind::PageChecksum,
            Fault::Number(_) => OddKind::PageNumber,
        }
    }

    fn notice(&mut self, what: String) {
        match self.proof.notices.len() {
            NOTICES_MAX => self.proof.notices.push("more pages were right only when they were read again".to_owned()),
            count if count < NOTICES_MAX => self.proof.notices.push(what),
            _ => {}
        }
    }

    /// A page that stays as it is: copied where that is fine or was asked for, else the end of this file.
    fn take_odd(&mut self, number: PageNumber, damage: &Damage) -> Result<()> {
        let kind = self.kind(number, damage);
        let (stored, computed) = match damage.fault {
            Fault::Number(own) => (own.to_string(), number.to_string()),
            _ => (damage.stored.to_string(), damage.computed.to_string()),
        };
        if !kind.is_damage() || self.policy.accept_damage {
            if self.proof.odd.len() < ODD_MAX {
                self.proof.odd.push(Odd { number: number.0, kind, stored, computed });
                return Ok(());
            }
            if !kind.is_damage() {
                self.proof.more += 1;
                return Ok(());
            }
        }
        let jet = if kind == OddKind::PageNumber { Jet::ReadPgnoVerifyFailure } else { Jet::ReadVerifyFailure };
        let path = printable(self.watched.absolute());
        let message = format!("page {number} of {path} {}", kind.describe());
        let hint = if self.policy.accept_damage {
            "So many pages are damaged that this is no database any more."
        } else {
            "`jetbak check` lists all damaged pages. --accept-damage copies them as they are, --keep-going leaves the \
             database out."
        };
        Err(Error::jet(jet, message).file(self.watched.path()).page(number.0.into()).hint(hint))
    }
}

impl Source for DatabaseSource {
    fn stamp(&self) -> Option<Stamp> {
        Some(self.watched.before.stamp)
    }

    fn begin_with(&mut self, copy: Box<dyn KeptCopy>, bytes: u64) -> bool {
        let can_be = self.position == 0 && bytes <= self.end && bytes.is_multiple_of(self.size.bytes_u64());
        if can_be {
            self.kept = Some((copy, bytes));
        }
        can_be
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
        if self.position >= self.end {
            return Ok(Got::End);
        }
        if let Some(hole) = self.hole() {
            return Ok(Got::Hole(hole));
        }
        let until = self.data_end.filter(|end| *end > self.position).unwrap_or(self.end).min(self.end);
        let until = self.kept_until().map_or(until, |kept| kept.min(until));
        let page = self.size.bytes_u64();
        let mut want = (buffer.len() as u64).min(until - self.position);
        if self.position + want < self.end {
            want -= want % page; // whole pages, until the last bytes of the file
        }
        let want = usize::try_from(want).unwrap_or(buffer.len());
        let buffer = &mut buffer[..want];
        let read = self.read(buffer)?;
        if read < want {
            self.end = self.end.max(self.position + 1); // it became shorter, which shows in `finish`
            return Ok(Got::End);
        }
        self.prove(buffer)?;
        self.position += want as u64;
        Ok(Got::Data(want))
    }

    fn finish(mut self: Box<Self>) -> Result<Settled> {
        self.watched.before.proof = Some(Arc::new(self.proof));
        let settled = self.watched.settle(&self.file, self.end - self.position)?;
        if self.has_other_head && matches!(settled, Settled::Still(_)) {
            return Ok(Settled::Changed("its header was another one a moment before".to_owned()));
        }
        Ok(settled)
    }
}

/// What a log must amount to beyond its own body.
#[derive(Clone, Debug, Default)]
pub struct LogTerms {
    /// What the next log recorded of it, where there is one.
    pub accumulated: Option<u64>,
    /// It may be the one that was written last, which may be torn.
    pub is_tip: bool,
}

/// A log: proven as a whole before its first byte is handed on, and once more while it passes.
pub struct LogSource {
    content: SparseFile,
    watched: Watched,
    verifier: Option<BodyVerifier>,
    expected: Damages,
    found: Damages,
    proof: Proof,
}

impl LogSource {
    /// For a file whose header was looked at; -541 where its length is not the one in the header, -612 where its body
    /// does not prove itself.
    pub(super) fn open(
        (file, watched, allocated): (File, Watched, u64),
        header: &LogHeader,
        terms: &LogTerms,
        policy: &Policy,
    ) -> Result<Self> {
        let size = watched.before.stamp.size;
        if size != header.bytes_to_prove(size) || size != header.file_bytes() {
            let path = printable(watched.absolute());
            let message = format!("{path} has {size} bytes instead of {}", header.file_bytes());
            return Err(Error::jet(Jet::LogFileSizeMismatch, message).file(watched.path()));
        }
        let (expected, facts) = prove_log(&file, &watched, header, terms, policy)?;
        let mut proof =
            Proof { size: u32::from(header.sector_bytes), good: facts.data, blank: facts.empty, ..Proof::default() };
        for damage in expected.first.iter().take(ODD_MAX) {
            let kind = if damage.fault == LogFault::Torn { OddKind::Torn } else { OddKind::Correctable };
            let (stored, computed) = (damage.stored.clone(), damage.computed.clone());
            proof.odd.push(Odd { number: damage.segment, kind, stored, computed });
        }
        proof.more = expected.first.len().saturating_sub(ODD_MAX) as u64 + expected.more;
        let content = SparseFile::new(file, 0, size, allocated);
        let content = content.map_err(|e| Error::io("read", &watched.absolute(), &e).file(watched.path()))?;
        let verifier = Some(BodyVerifier::new(header, size));
        Ok(Self { content, watched, verifier, expected, found: Damages::default(), proof })
    }

    fn feed(&mut self, bytes: &[u8]) {
        if let Some(verifier) = &mut self.verifier {
            verifier.feed(bytes, &mut |damage| self.found.take(damage));
        }
    }
}

impl Source for LogSource {
    fn stamp(&self) -> Option<Stamp> {
        Some(self.watched.before.stamp)
    }

    fn begin_with(&mut self, copy: Box<dyn KeptCopy>, bytes: u64) -> bool {
        self.content.begin_with(copy, bytes)
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        let got = self.content.next(buffer);
        let got = got.map_err(|e| Error::io("read", &self.watched.absolute(), &e).file(self.watched.path()))?;
        match got {
            Got::Data(length) => self.feed(&buffer[..length]),
            Got::Hole(mut left) => {
                while left > 0 {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
                    self.feed(&ZEROS[..now]);
                    left -= now as u64;
                }
            }
            Got::End => {}
        }
        Ok(got)
    }

    fn finish(mut self: Box<Self>) -> Result<Settled> {
        if let Some(verifier) = self.verifier.take() {
            verifier.finish(&mut |damage| self.found.take(damage));
        }
        self.watched.before.proof = Some(Arc::new(self.proof));
        let settled = self.watched.settle(self.content.file(), self.content.left())?;
        if self.found != self.expected && matches!(settled, Settled::Still(_)) {
            return Ok(Settled::Changed("its content was another one a moment before".to_owned()));
        }
        Ok(settled)
    }
}

/// Proves a log, again on the schedule where it does not hold; what is left is fine or the error.
fn prove_log(
    file: &File,
    watched: &Watched,
    header: &LogHeader,
    terms: &LogTerms,
    policy: &Policy,
) -> Result<(Damages, LogFacts)> {
    let is_fine = |damage: &LogDamage| match damage.fault {
        LogFault::OneBit => true,
        LogFault::Torn => terms.is_tip,
        _ => false,
    };
    let size = watched.before.stamp.size;
    let attempts = if policy.is_at_rest { 2 } else { ATTEMPTS };
    let path = printable(watched.absolute());
    let mut buffer = vec![0; LOG_CHUNK_BYTES];
    let mut attempt = 1;
    loop {
        let (mut damages, mut first_bad) = (Damages::default(), None);
        let facts = prove_body(file, header, size, &mut buffer, &policy.stop, &mut |damage| {
            if first_bad.is_none() && !is_fine(&damage) {
                first_bad = Some(damage.clone());
            }
            damages.take(damage);
        })?;
        let error = match facts {
            Ok(facts) => match first_bad {
                None => match terms.accumulated.zip(facts.accumulated).filter(|(recorded, own)| recorded != own) {
                    None => return Ok((damages, facts)),
                    Some((recorded, own)) => Error::jet(
                        Jet::LogSequenceChecksumMismatch,
                        format!("{path} is not what the log after it recorded of it ({recorded:016x}, not {own:016x})"),
                    ),
                },
                Some(damage) => {
                    let message = format!("segment {} of {path} {}", damage.segment, damage.fault.describe());
                    Error::jet(Jet::LogReadVerifyFailure, message).page(damage.segment.into())
                }
            },
            Err(error) => Error::io("read", &watched.absolute(), &error),
        };
        if attempt >= attempts {
            return Err(error.file(watched.path()));
        }
        if !policy.is_at_rest {
            policy.stop.sleep(PAUSE * attempt)?;
        }
        attempt += 1;
        forget_cached(file, 0, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::files::{FilesEngine, FilesOptions, Reached};
    use crate::engine::{Entry, Role};

    /// A database of two headers and six pages, all zeros, and its source.
    fn source(folder: &std::path::Path, is_at_rest: bool, accept_damage: bool) -> DatabaseSource {
        std::fs::write(folder.join("a.edb"), vec![0; 8 * 4096]).expect("written");
        let files = FilesEngine::open(folder, &FilesOptions::default()).expect("opened");
        let reached = files.reach(&Entry::new("a.edb", Role::Database, 8 * 4096)).expect("reached");
        let Reached::File { file, watched, allocated } = reached else { panic!("a file") };
        let header = DatabaseHeader::parse(&[0; 4096], PageSize::KIB_4);
        let policy = Policy { is_at_rest, accept_damage, stop: StopToken::never() };
        DatabaseSource::new((file, watched, allocated), &[0; 8192], &header, &Inside::default(), policy)
    }

    #[test]
    fn what_was_wrong_once_and_is_right_on_the_disk_heals_with_a_notice() {
        let folder = tempfile::tempdir().expect("temporary directory");
        for is_at_rest in [true, false] {
            let mut source = source(folder.path(), is_at_rest, false);
            let mut buffer = vec![0; 8 * 4096];
            buffer[3 * 4096 + 5] = 77; // page 2, as a disk may give it once
            source.prove(&mut buffer).expect("proven");
            assert_eq!(buffer, vec![0; 8 * 4096], "what goes on is what was proven");
            assert_eq!((source.proof.blank, source.proof.odd.len()), (6, 0));
            let told = &source.proof.notices[..];
            assert!(told.len() == 1 && told[0].ends_with("was wrong once and then right (transient)"), "{told:?}");
            assert!(!source.is_given_up);
        }
    }

    /// The copy of the beginning of a file.
    #[derive(Debug)]
    struct Beginning(Vec<u8>);

    impl KeptCopy for Beginning {
        fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let left = &self.0[usize::try_from(offset).expect("small").min(self.0.len())..];
            let read = left.len().min(buffer.len()).min(1000);
            buffer[..read].copy_from_slice(&left[..read]);
            Ok(read)
        }
    }

    #[test]
    fn pages_of_a_copy_prove_themselves_as_those_of_the_file_do_and_are_read_only_there() {
        let folder = tempfile::tempdir().expect("temporary directory");
        for bytes in [4096, 3 * 4096, 8 * 4096] {
            let mut source = source(folder.path(), true, false);
            // Nobody sees what the file holds where the copy speaks for it.
            let mut changed = vec![0; 8 * 4096];
            changed[..bytes].fill(7);
            std::fs::write(folder.path().join("a.edb"), &changed).expect("written");
            assert!(source.begin_with(Box::new(Beginning(vec![0; bytes])), bytes as u64));
            let (mut got, mut buffer) = (Vec::new(), vec![0; 5 * 4096]);
            while let Got::Data(read) = source.next(&mut buffer).expect("proven") {
                got.extend_from_slice(&buffer[..read]);
            }
            assert_eq!(got, vec![0; 8 * 4096]);
            assert_eq!((source.proof.blank, source.proof.good, source.proof.odd.len()), (6, 0, 0));
        }
    }

    #[test]
    fn a_copy_that_decayed_or_lost_its_end_is_an_error_and_not_read_again_from_the_file() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let mut decayed = vec![0; 4 * 4096];
        decayed[3 * 4096 + 5] = 77;
        for copy in [decayed, vec![0; 3 * 4096 + 1]] {
            let mut source = source(folder.path(), true, false);
            assert!(source.begin_with(Box::new(Beginning(copy)), 4 * 4096));
            source.next(&mut vec![0; 8 * 4096]).expect_err("no such page");
        }
        let mut source = source(folder.path(), true, false);
        for bytes in [4095, 9 * 4096] {
            assert!(!source.begin_with(Box::new(Beginning(Vec::new())), bytes), "{bytes} are no pages of it");
        }
    }

    #[test]
    fn a_header_that_is_not_the_one_that_was_judged_does_not_count() {
        let folder = tempfile::tempdir().expect("temporary directory");
        for at in [5, 4096 + 5] {
            let mut source = source(folder.path(), true, false);
            let mut buffer = vec![0; 8 * 4096];
            buffer[at] = 1;
            source.prove(&mut buffer).expect("no page of it is wrong");
            source.position = source.end;
            let settled = Box::new(source).finish().expect("looked at");
            assert!(matches!(&settled, Settled::Changed(what) if what.contains("header")), "{settled:?}");
        }
    }

    #[test]
    fn a_disk_that_does_not_heal_is_waited_for_only_once() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let mut source = source(folder.path(), false, true);
        source.is_given_up = true; // as after the first page
        let path = folder.path().join("a.edb");
        let mut bytes = vec![0; 8 * 4096];
        (bytes[3 * 4096 + 5], bytes[6 * 4096 + 9]) = (77, 7);
        std::fs::write(path, &bytes).expect("written");
        let begun = std::time::Instant::now();
        source.prove(&mut bytes).expect("accepted");
        assert!(begun.elapsed() < Duration::from_secs(5));
        let numbers: Vec<_> = source.proof.odd.iter().map(|odd| (odd.number, odd.kind)).collect();
        assert_eq!(numbers, [(2, OddKind::PageChecksum), (5, OddKind::PageChecksum)]);
    }
}
