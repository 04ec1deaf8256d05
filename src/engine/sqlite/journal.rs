//! What stands at the end of a rollback journal whose transaction spans several databases: the name of a file that they
//! share. As long as that file stands, nothing of the transaction counts.
//!
//! SQLite looks for it where the name says, which is nowhere in a storage that was moved or is a snapshot, and deletes it once
//! it has rolled back; and anybody may have written the name. So it must never see it in a copy of ours.
//!
//! | offset from the end | bytes | what |
//! |---|---|---|
//! | -16 - n | n | the name |
//! | -16 | 4 | n, big-endian |
//! | -12 | 4 | sum of the bytes of the name |
//! | -8 | 8 | as a journal begins |

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::header::u32_at;
use super::recognise::JOURNAL_MAGIC;

/// Bytes after the name.
const TRAILER_BYTES: usize = 16;
/// Bytes of the longest name that SQLite takes.
const NAME_BYTES_MAX: usize = 512;
/// Bytes at the end of a journal that are enough.
const TAIL_BYTES: usize = NAME_BYTES_MAX + TRAILER_BYTES;

/// The name of the shared file, from the last bytes of a journal.
fn shared_name(tail: &[u8]) -> Option<PathBuf> {
    let (rest, trailer) = tail.split_at_checked(tail.len().checked_sub(TRAILER_BYTES)?)?;
    let bytes = usize::try_from(u32_at(trailer, 0)).ok()?;
    let name = rest.get(rest.len().checked_sub(bytes)?..)?;
    let until_zero = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if trailer[8..] != JOURNAL_MAGIC || !is_shared_journal(until_zero) {
        return None;
    }
    // A byte is signed on some machines, and not on others.
    let unsigned = name.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    let signed = name.iter().fold(0_u32, |sum, byte| sum.wrapping_add_signed(i32::from(byte.cast_signed())));
    [unsigned, signed].contains(&u32_at(trailer, 4)).then(|| PathBuf::from(OsStr::from_bytes(until_zero)))
}

/// Whether SQLite gives such names: `-mj`, six digits, a 9, and two digits more, all of them hexadecimal.
fn is_shared_journal(name: &[u8]) -> bool {
    let Some((_, [b'-', b'm', b'j', digits @ ..])) = name.split_last_chunk::<12>() else { return false };
    digits[6] == b'9' && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Takes the name of the shared file out of a copy of a journal, and says whether the journal counts: not where the shared
/// file is gone from where it was and from beside the database, which committed the transaction.
pub fn stand_alone(copy: &File, database: &Path) -> std::io::Result<bool> {
    let size = copy.metadata()?.len();
    let mut tail = vec![0; usize::try_from(size).map_or(TAIL_BYTES, |size| size.min(TAIL_BYTES))];
    let begin = size - tail.len() as u64;
    copy.read_exact_at(&mut tail, begin)?;
    if !tail.ends_with(&JOURNAL_MAGIC) {
        return Ok(true);
    }
    copy.write_all_at(&[0; JOURNAL_MAGIC.len()], size - JOURNAL_MAGIC.len() as u64)?;
    let Some(name) = shared_name(&tail) else { return Ok(true) };
    let beside = name.file_name().map(|name| database.with_file_name(name));
    Ok([Some(name), beside].iter().flatten().any(|path| path.symlink_metadata().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tail(name: &[u8], sum: u32) -> Vec<u8> {
        let length = u32::try_from(name.len()).expect("short");
        [b"page", name, &length.to_be_bytes(), &sum.to_be_bytes(), &JOURNAL_MAGIC].concat()
    }

    #[test]
    fn a_name_counts_with_its_sum() {
        let sum = |name: &[u8]| name.iter().map(|byte| u32::from(*byte)).sum();
        let good = b"/x.db-mj1234569ab";
        assert_eq!(shared_name(&tail(good, sum(good))), Some(PathBuf::from("/x.db-mj1234569ab")));
        assert_eq!(shared_name(&tail(good, 7)), None);
        for other in [&b"/etc/passwd"[..], b"/x.db-mj1234568ab", b"/x.db-mj12345_9ab", b""] {
            assert_eq!(shared_name(&tail(other, sum(other))), None);
        }
    }

    proptest! {
        #[test]
        fn any_tail_is_read_to_an_end(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), lie in any::<bool>()) {
            if lie {
                bytes.extend(JOURNAL_MAGIC);
            }
            let _ = shared_name(&bytes);
        }
    }
}
