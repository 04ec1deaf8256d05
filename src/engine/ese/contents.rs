//! Whose a file is, and whose a storage is, by content: as little as possible is opened for it.

use std::path::{Path, PathBuf};

use super::checksum::HEADER_SEED;
use super::fields::u32_at;
use super::files::{self, Found, read_head};
use super::log::{LogName, checkpoint_base};
use super::page::PageSize;
use super::recognise::{Claim, Content, recognise};
use crate::engine::files::FilesEngine;
use crate::error::Result;
use crate::stream::stop::StopToken;

/// A file whose header is damaged is the engine's where its name or the engine's own mark says so as well: four bytes
/// alone, which hold a file type, are as likely an application's.
pub(super) fn without_vague_claim(found: Found) -> Result<Found> {
    let Content::DamagedHeader(claim, ..) = found.content else { return Ok(found) };
    if is_named_so(&found.path, claim) {
        return Ok(found);
    }
    let (file, _) = files::open(&found.path)?;
    let head = read_head(&file, &found.path)?;
    Ok(if claim == Claim::Database && has_the_mark(&head) {
        found
    } else {
        Found { content: Content::Foreign, ..found }
    })
}

fn is_named_so(path: &Path, claim: Claim) -> bool {
    let name = path.file_name().unwrap_or_default();
    match claim {
        Claim::Database => is_named_as_database(path),
        Claim::Log => LogName::parse(name).is_some(),
        Claim::Checkpoint => checkpoint_base(name).is_some(),
        Claim::FlushMap => path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jfm")),
    }
}

/// Whether a file has a name that databases have.
pub(super) fn is_named_as_database(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["edb", "dit", "mdb", "sdb"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Whether one of the two headers has the mark of a database.
pub(super) fn has_the_mark(head: &[u8]) -> bool {
    let shadows = PageSize::ALL.into_iter().map(PageSize::bytes);
    std::iter::once(0).chain(shadows).any(|begin| u32_at(head, begin + 4) == HEADER_SEED)
}

/// Whether a file has the length of whole sectors, as all databases and logs have, or a name that databases have.
pub(super) fn may_be_database(path: &Path, size: u64) -> bool {
    size >= 4096 && (size.is_multiple_of(512) || is_named_as_database(path))
}

/// Which engines a storage is of, by content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// A database or log of the Extensible Storage Engine.
    pub ese: Option<PathBuf>,
    /// A database of `SQLite`.
    pub sqlite: Option<PathBuf>,
}

/// Looks whose files lie in a storage. Only files are opened that have the length of whole sectors, as all databases and
/// logs have, or a name that databases have: in a directory with a million other files that is nearly none.
pub fn look_for_engines(files: &FilesEngine, storage: &Path, stop: &StopToken) -> Result<Contents> {
    let mut seen = Contents::default();
    files.each_file(stop, &mut |relative, size| {
        if (seen.ese.is_some() && seen.sqlite.is_some()) || !may_be_database(relative, size) {
            return Ok(());
        }
        let path = storage.join(relative);
        // What cannot be read now fails when it is read.
        let Ok((file, size)) = files::open(&path) else { return Ok(()) };
        let Ok(head) = read_head(&file, &path) else { return Ok(()) };
        if head.starts_with(b"SQLite format 3\0") {
            seen.sqlite.get_or_insert(path);
        } else if match recognise(&head, size) {
            Content::Database(..) | Content::Log(..) => true,
            Content::DamagedHeader(Claim::Database, ..) => is_named_as_database(relative) || has_the_mark(&head),
            _ => false,
        } {
            seen.ese.get_or_insert(path);
        }
        Ok(())
    })?;
    Ok(seen)
}
