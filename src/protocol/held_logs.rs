//! Logs that a backup lists and an earlier one holds: before any of them goes, what that one holds is read back.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::engine::Role;
use crate::error::{Error, ExitCode, Result, printable};
use crate::hex::hex;
use crate::repository::Repository;
use crate::repository::content::Contents;
use crate::repository::file_list::FileLine;
use crate::repository::list_reader::{Expected, Line, ListReader};
use crate::stream::pipeline::{CHUNK_BYTES, hash_zeros};
use crate::stream::source::Got;
use crate::stream::stop::StopToken;

/// Proves every log that the list in `folder` names and another backup holds.
pub fn prove(repository: &Repository, folder: &Path, expected: Expected, stop: &StopToken) -> Result<()> {
    let contents = Contents::new(repository, folder).fresh(true);
    let mut list = ListReader::stream(repository.store(), expected)?;
    while let Some(line) = list.next_line()? {
        stop.check()?;
        let Line::Sound(resolved) = line else { continue }; // whoever proves the list tells
        if resolved.is_own() && resolved.line.role == Role::Log && resolved.line.held.is_some() {
            prove_one(&contents, &resolved.line, stop)?;
        }
    }
    Ok(())
}

fn prove_one(contents: &Contents, line: &FileLine, stop: &StopToken) -> Result<()> {
    let mut source = contents.open(line)?;
    let (mut hasher, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        stop.check()?;
        match source.next(&mut buffer)? {
            Got::Data(bytes) => {
                hasher.update(&buffer[..bytes]);
                size += bytes as u64;
            }
            Got::Hole(bytes) => {
                hash_zeros(&mut hasher, bytes);
                size += bytes;
            }
            Got::End => break,
        }
    }
    // What is put together from blocks is proven by a hash of each.
    let is_good = line.sha256.as_ref().is_none_or(|stored| *stored == hex(&hasher.finalize()));
    if is_good && size == line.size {
        return Ok(());
    }
    let path = line.path().unwrap_or_default();
    let by = line.held.as_ref().map_or_else(String::new, |held| printable(&held.by));
    Err(Error::new(ExitCode::Verification, format!("{} is not what was read any more in {by}", printable(&path)))
        .file(&path)
        .hint("No log was deleted. `jetbak verify` tells more. Make a full backup, and distrust the disk under it."))
}
