//! Judging pages: each proves itself, and a flush map tells of writes that were lost.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::{Owner, Pages, UnitResult, cut_short, unreadable};
use crate::engine::ese::checksum::is_zero;
use crate::engine::ese::files;
use crate::engine::ese::finding::{Finding, Kind, Weight};
use crate::engine::ese::flush_map;
use crate::engine::ese::page::{Damage, Fault, PageNumber, Verdict, flush_type, verify_page, verify_pages};
use crate::error::{Error, Jet};

/// Judges chunks of pages.
pub(super) struct PageJudge<'a> {
    path: &'a Arc<Path>,
    file: &'a File,
    pages: &'a Pages,
    pub(super) result: &'a mut UnitResult,
    /// The map page that was read last, with its number.
    map: Option<(PageNumber, Vec<u8>)>,
}

impl<'a> PageJudge<'a> {
    pub(super) fn new(path: &'a Arc<Path>, file: &'a File, pages: &'a Pages, result: &'a mut UnitResult) -> Self {
        Self { path, file, pages, result, map: None }
    }

    /// Reads and judges pages from index `at` on; the buffer is as long as they are.
    pub(super) fn chunk(&mut self, at: u64, buffer: &mut [u8]) {
        let page_bytes = self.pages.size.bytes();
        let offset = self.pages.offset + at * self.pages.size.bytes_u64();
        match files::read_full(self.file, buffer, offset) {
            Ok(read) if read == buffer.len() => self.judge(at, buffer),
            Ok(read) => {
                let whole = read - read % page_bytes;
                self.judge(at, &buffer[..whole]);
                let number = self.number(at + (whole / page_bytes) as u64);
                self.result.lost = Some(cut_short(self.path, &format!("page {number} is gone")).page(number.0));
            }
            Err(_) if buffer.len() > page_bytes => {
                // One bad block on the disk must not hide the pages around it.
                for (index, page) in (0..).zip(buffer.chunks_exact_mut(page_bytes)) {
                    self.chunk(at + index, page);
                    if self.result.lost.is_some() {
                        break;
                    }
                }
            }
            Err(error) => {
                let number = self.number(at);
                let error = Error::io("read", self.path, &error);
                let finding = unreadable(self.path, &error).page(number.0);
                self.push(Finding { message: format!("page {number}: {}", finding.message), ..finding });
            }
        }
    }

    fn push(&mut self, finding: Finding) {
        self.result.findings.push(finding);
    }

    fn number(&self, at: u64) -> PageNumber {
        PageNumber(u32::try_from(u64::from(self.pages.first.0) + at).unwrap_or(u32::MAX))
    }

    fn judge(&mut self, at: u64, pages: &[u8]) {
        let size = self.pages.size;
        let mut damaged = Vec::new();
        let first = self.number(at);
        let counts = verify_pages(pages, size, first, &mut |number, _, damage| damaged.push((number, damage)));
        self.result.tallied.good += counts.good_ecc + counts.good_xor;
        self.result.tallied.good_xor += counts.good_xor;
        self.result.tallied.blank += counts.blank;
        let lost_writes = matches!(&self.pages.owner, Owner::Database { flush_map: Some(_), .. });
        if lost_writes {
            for (number, page) in (first.0..).zip(pages.chunks_exact(size.bytes())) {
                let is_damaged = damaged.iter().any(|(damaged, _)| damaged.0 == number);
                if !is_damaged {
                    self.compare_flush(PageNumber(number), page);
                }
            }
        }
        for (number, damage) in damaged {
            self.damaged(number, damage);
        }
    }

    /// A page failed: once more, from the disk, and then it counts.
    fn damaged(&mut self, number: PageNumber, mut damage: Damage) {
        if let Owner::Database { trailer: Some(trailer), .. } = self.pages.owner
            && trailer == number
        {
            self.result.tallied.good += 1;
            return;
        }
        let index = u64::from(number.0) - u64::from(self.pages.first.0);
        let (offset, length) = (self.pages.offset + index * self.pages.size.bytes_u64(), self.pages.size.bytes());
        files::forget_cached(self.file, offset, length as u64);
        let mut page = vec![0; length];
        if files::read_full(self.file, &mut page, offset).is_ok_and(|read| read == length) {
            match verify_page(&page, self.pages.size, number) {
                Verdict::Damaged(again) => damage = again,
                verdict => {
                    let (good, blank) = if verdict == Verdict::Blank { (0, 1) } else { (1, 0) };
                    self.result.tallied.good += good;
                    self.result.tallied.blank += blank;
                    let message = format!("page {number} was wrong when it was first read, and right the second time");
                    let finding = Finding::warning(self.path, Kind::PageChecksum, None, message);
                    return self.push(finding.page(number.0));
                }
            }
        }
        let finding = self.describe(number, &damage);
        match finding.weight {
            Weight::Garbage => self.result.tallied.garbage += 1,
            _ => self.result.tallied.damaged += 1,
        }
        self.result.tallied.correctable += u64::from(finding.kind == Kind::Correctable);
        self.push(finding);
    }

    fn describe(&self, number: PageNumber, damage: &Damage) -> Finding {
        let (kind, jet, what) = match damage.fault {
            Fault::Checksum => {
                (Kind::PageChecksum, Jet::ReadVerifyFailure, "does not hold what was written".to_owned())
            }
            Fault::OneBit(bit) => {
                let what = format!("has one wrong bit (bit {bit}), which the engine would correct");
                (Kind::Correctable, Jet::ReadVerifyFailure, what)
            }
            Fault::Number(own) => {
                (Kind::PageNumber, Jet::ReadPgnoVerifyFailure, format!("is sound, but says that it is page {own}"))
            }
        };
        let (stored, computed) = match damage.fault {
            Fault::Number(own) => (own.to_string(), number.to_string()),
            _ => (damage.stored.to_string(), damage.computed.to_string()),
        };
        let finding = match &self.pages.owner {
            Owner::FlushMap => {
                let kind = if kind == Kind::Correctable { kind } else { Kind::FlushMap };
                Finding::damage(self.path, kind, jet, format!("map page {number} {what}"))
            }
            Owner::Database { owned: Some(owned), is_clean, .. } if number > *owned && kind != Kind::Correctable => {
                let weight = if *is_clean { Weight::Garbage } else { Weight::Damage };
                let message = format!("page {number} is beyond the {owned} pages that the database owns, and {what}");
                Finding::new(self.path, kind, weight, Some(jet), message)
            }
            Owner::Database { .. } => Finding::damage(self.path, kind, jet, format!("page {number} {what}")),
        };
        finding.page(number.0).sums(stored, computed)
    }

    /// Compares a sound page with what the flush map remembers of its last write (§10).
    fn compare_flush(&mut self, number: PageNumber, page: &[u8]) {
        let Owner::Database { flush_map: Some(map), owned, is_trimmed, .. } = &self.pages.owner else { return };
        let is_blank = is_zero(page);
        if owned.is_some_and(|owned| number > owned) || (is_blank && *is_trimmed) {
            return;
        }
        let wanted = flush_map::map_page_of(number);
        if self.map.as_ref().is_none_or(|(loaded, _)| *loaded != wanted) {
            let unit = flush_map::UNIT;
            let offset = (u64::from(wanted.0) + 1) * unit.bytes_u64();
            let read = files::open(map).and_then(|(file, _)| files::read_some(&file, map, offset, unit.bytes()));
            // A map page that does not prove itself says nothing, and is reported with its own file.
            let good = read.ok().filter(|page| {
                page.len() == unit.bytes() && matches!(verify_page(page, unit, wanted), Verdict::Good(_))
            });
            self.map = Some((wanted, good.unwrap_or_default()));
        }
        let Some((_, map_page)) = &self.map else { return };
        let (recorded, own) = (flush_map::entry(map_page, number), flush_type(page));
        if recorded != 0 && recorded != own {
            self.result.tallied.damaged += 1;
            let tallied = if is_blank { &mut self.result.tallied.blank } else { &mut self.result.tallied.good };
            *tallied -= 1;
            let what =
                if is_blank { "holds nothing but zeros, but was written" } else { "is older than its last write" };
            let message = format!("page {number} {what}: that write was lost");
            let jet = Jet::ReadLostFlushVerifyFailure;
            let finding = Finding::damage(self.path, Kind::LostWrite, jet, message);
            self.push(finding.page(number.0).sums(recorded.to_string(), own.to_string()));
        }
    }
}

/// Whether a range of a file is one hole, so that it needs no reading to be zero.
pub(super) fn is_hole(file: &File, begin: u64, end: u64) -> bool {
    match rustix::fs::seek(file, SeekFrom::Data(begin)) {
        Ok(data) => data >= end,
        // No data up to the end of the file, wherever that is by now.
        Err(error) => error == Errno::NXIO && file.metadata().is_ok_and(|metadata| metadata.len() >= end),
    }
}
