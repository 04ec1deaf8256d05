//! What there is to prove in a file, and what decides how its parts count.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::UNIT_BYTES;
use crate::engine::ese::checksum::is_zero;
use crate::engine::ese::files::{self, Found};
use crate::engine::ese::flush_map;
use crate::engine::ese::header::{DatabaseHeader, State};
use crate::engine::ese::judge::Inside;
use crate::engine::ese::log::{LogHeader, LogName, LogRole};
use crate::engine::ese::page::{PageNumber, PageSize, Verdict, verify_page};
use crate::engine::ese::patch::PatchPage;
use crate::engine::ese::recognise::Content;
use crate::engine::ese::space::last_owned_page;
use crate::error::Result;

/// A file to be proven.
#[derive(Clone, Debug)]
pub struct Job {
    /// The file.
    pub path: Arc<Path>,
    /// What it holds that proves itself.
    pub work: Work,
}

/// What a file holds that proves itself.
#[derive(Clone, Debug)]
pub enum Work {
    /// Pages, of a database or a flush map.
    Pages(Pages),
    /// The body of a log.
    Log {
        /// Its header.
        header: Box<LogHeader>,
        /// Bytes of it: those of its file, as far as its header goes.
        size: u64,
        /// It may still be written: its last segment may be torn.
        is_tip: bool,
    },
}

/// Consecutive pages of a file.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Their size.
    pub size: PageSize,
    /// Where the first one begins, in bytes.
    pub offset: u64,
    /// Its number.
    pub first: PageNumber,
    /// How many.
    pub count: u64,
    /// What a failing one is, and what it weighs.
    pub owner: Owner,
}

/// Whose pages they are.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A flush map's.
    FlushMap,
    /// A database's.
    Database {
        /// The last page it owns, where that is known.
        owned: Option<PageNumber>,
        /// It was shut down, so that what lies beyond is nobody's.
        is_clean: bool,
        /// Its last page is a trailer, which is proven like a header.
        trailer: Option<PageNumber>,
        /// Space in it was given back to the file system, so that zeros may stand where pages were.
        is_trimmed: bool,
        /// Its flush map, where both were closed in order and belong together.
        flush_map: Option<Arc<Path>>,
    },
}

impl Job {
    /// What there is to prove in a file; none where its header alone counts.
    pub fn of(found: &Found, inside: &Inside, flush_map: Option<Arc<Path>>) -> Option<Self> {
        let work = match &found.content {
            Content::Database(header, _) => {
                let count = u64::from(inside.last_page?.0);
                let trailer = inside.trailer_page;
                let is_clean = header.state == State::Clean;
                let is_trimmed = header.trims > 0;
                let owner = Owner::Database { owned: inside.owned, is_clean, trailer, is_trimmed, flush_map };
                let size = header.page_size;
                Work::Pages(Pages { size, offset: size.offset_of(PageNumber(1)), first: PageNumber(1), count, owner })
            }
            Content::FlushMap(..) => {
                let size = flush_map::UNIT;
                let count = (found.size / size.bytes_u64()).saturating_sub(1);
                let first = PageNumber(0);
                Work::Pages(Pages { size, offset: size.bytes_u64(), first, count, owner: Owner::FlushMap })
            }
            Content::Log(header, _) => {
                let is_archived =
                    LogName::parse(found.name()).is_some_and(|name| matches!(name.role, LogRole::Archived(_)));
                let size = header.bytes_to_prove(found.size); // that there is more is reported
                Work::Log { header: header.clone(), size, is_tip: !is_archived }
            }
            _ => return None,
        };
        Some(Self { path: Arc::clone(&found.path), work })
    }

    /// How many bytes there are to read.
    pub fn bytes(&self) -> u64 {
        match &self.work {
            Work::Pages(pages) => pages.count * pages.size.bytes_u64(),
            Work::Log { size, .. } => *size,
        }
    }

    /// How many units the threads share it out in.
    pub(super) fn units(&self) -> u64 {
        match &self.work {
            Work::Pages(_) => self.bytes().div_ceil(UNIT_BYTES),
            Work::Log { .. } => 1, // what a segment means depends on those before it
        }
    }
}

/// Looks into a database for what decides how its pages count: the space it owns, and its trailer.
pub fn look_inside(found: &Found, header: &DatabaseHeader) -> Result<Inside> {
    let (file, size) = files::open(&found.path)?;
    Ok(look_into(&file, size, header))
}

/// The same, for a file of so many bytes that is open.
pub fn look_into(file: &File, size: u64, header: &DatabaseHeader) -> Inside {
    look_inside_with(header, size, &mut |offset, length| {
        let mut bytes = vec![0; length];
        let read = files::read_full(file, &mut bytes, offset).ok()?;
        bytes.truncate(read);
        Some(bytes)
    })
}

/// The same, whatever gives so many bytes from an offset on (fewer where the file ends, none where it cannot).
pub fn look_inside_with(
    header: &DatabaseHeader,
    size: u64,
    read_some: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Inside {
    let page_size = header.page_size;
    let pages = (size / page_size.bytes_u64()).saturating_sub(2);
    let last_page = Some(u32::try_from(pages).unwrap_or(u32::MAX)).filter(|pages| *pages > 0).map(PageNumber);
    let mut read = |number: PageNumber| {
        let bytes = read_some(page_size.offset_of(number), page_size.bytes())?;
        (bytes.len() == page_size.bytes()).then_some(bytes)
    };
    let mut beyond = None;
    let owned = last_owned_page(page_size, &mut |number| {
        if last_page.is_none_or(|last| number > last) {
            beyond = Some(number);
        }
        read(number).filter(|page| matches!(verify_page(page, page_size, number), Verdict::Good(_)))
    });
    let trailer = last_page.and_then(|number| {
        let page = read(number)?;
        let is_page = !matches!(verify_page(&page, page_size, number), Verdict::Damaged(_));
        PatchPage::trailer(&page, &header.signature).filter(|_| !is_page)
    });
    let root = last_page.and_then(|_| read(PageNumber(1)));
    let root_is_blank = root.is_some_and(|root| is_zero(&root));
    let trailer_page = trailer.as_ref().and(last_page);
    Inside { owned, beyond, root_is_blank, trailer, trailer_page, last_page }
}
