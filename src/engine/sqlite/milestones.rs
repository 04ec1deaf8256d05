//! How far databases of SQLite have come, by the change counter in the file. It grows with every transaction in rollback
//! mode, and from time to time in WAL mode; vacuum and a change of the mode let it grow as well. In the file it never gets
//! lower than [`CopyFacts::change_counter`](super::facts::CopyFacts::change_counter) has it, but for going round.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use super::header::{HEADER_BYTES, Header};
use crate::engine::ese::files;
use crate::engine::milestones::{KnownDatabase, Measure, Milestone};
use crate::error::Result;
use crate::stream::stop::StopToken;

/// How far the databases of a storage are that a backup knows, which began at `since`. One that was made anew since then is
/// another one, and begins to count anew.
pub(super) fn milestones_now(
    storage: &Path,
    known: &[KnownDatabase],
    since: jiff::Timestamp,
    stop: &StopToken,
) -> Result<Vec<Milestone>> {
    let mut all = Vec::new();
    for database in known {
        stop.check()?;
        let Ok((file, _)) = files::open(&storage.join(&database.path)) else { continue };
        let mut head = [0; HEADER_BYTES];
        let header = file.read_exact_at(&mut head, 0).ok().and_then(|()| Header::parse(&head).ok());
        let Some((header, metadata)) = header.zip(file.metadata().ok()) else { continue };
        let is_same_inode = metadata.ino() == database.inode;
        let (made, written) = (metadata.created().ok(), metadata.modified().ok());
        if !is_made_anew(made, written, is_same_inode, since.into()) {
            all.push(Milestone {
                measure: Measure::ChangeCounter(database.path.clone()),
                signature: String::new(),
                value: header.change_counter.into(),
            });
        }
    }
    Ok(all)
}

/// Whether a file was made and filled since then, and is no older state that was put back under its name: that one was either
/// written into the old file, or has its old times. After the clock was set back nothing is new: rather a full backup too many
/// than an older state unsaid. Where it is not known when a file was made, its inode has to tell.
fn is_made_anew(made: Option<SystemTime>, written: Option<SystemTime>, is_same_inode: bool, since: SystemTime) -> bool {
    let is_new = made.map_or(!is_same_inode, |made| made >= since);
    is_new && written.is_some_and(|written| written >= since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_database_that_was_made_anew_is_told_from_one_that_was_put_back() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let (older, old, since, new, later) = (at(5), at(10), at(20), at(30), at(99));
        for (made, written, is_same_inode, is_new) in [
            (Some(old), old, true, false),  // a snapshot of the whole disk
            (Some(old), new, true, false),  // copied over it
            (Some(new), old, false, false), // a copy with its old times, renamed to it
            (Some(new), new, true, true),   // deleted and made again
            (Some(new), new, false, true),
            (None, new, true, false),
            (None, new, false, true),
            (None, old, false, false),
            // The clock was set back, so that the backup began in the future: nothing is known to be new.
            (Some(older), older, true, false),
            (Some(older), older, false, false),
            // A time in the future was given to it: it is new if it was made since.
            (Some(old), new, false, false),
            (Some(new), later, false, true),
        ] {
            assert_eq!(is_made_anew(made, Some(written), is_same_inode, since), is_new, "{made:?} {written:?}");
        }
    }
}
