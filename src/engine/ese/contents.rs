//! Whether a file is the engine's, by content and name.

use std::path::Path;

use super::checksum::HEADER_SEED;
use super::fields::u32_at;
use super::files::{self, Found, read_head};
use super::log::{LogName, checkpoint_base};
use super::page::PageSize;
use super::recognise::{Claim, Content};
use crate::error::Result;

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
pub(in crate::engine) fn is_named_as_database(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["edb", "dit", "mdb", "sdb"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Whether one of the two headers has the mark of a database.
pub(in crate::engine) fn has_the_mark(head: &[u8]) -> bool {
    let shadows = PageSize::ALL.into_iter().map(PageSize::bytes);
    std::iter::once(0).chain(shadows).any(|begin| u32_at(head, begin + 4) == HEADER_SEED)
}

/// Whether a file has the length of whole sectors, as all databases and logs have, or a name that databases have.
pub(in crate::engine) fn may_be_database(path: &Path, size: u64) -> bool {
    size >= 4096 && (size.is_multiple_of(512) || is_named_as_database(path))
}
