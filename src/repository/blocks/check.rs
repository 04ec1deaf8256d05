//! Proofs: of the bytes of one file of blocks by itself, and of tables against those that they point to.

use std::path::Path;

use super::format::{BlockPlace, Form, bytes_of};
use super::input::Input;
use super::reader::{Record, TableReader};
use super::sources::Sources;
use super::{BLOCK_BYTES, BlockHash, Shelf, path_of};
use crate::error::{Error, ExitCode, Result, printable};
use crate::hex::hex;
use crate::repository::stored::damaged;

/// A block that does not have its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBlock {
    /// Its number, counted from 0.
    pub number: u64,
    /// Where it begins in the file whose block it is, in bytes.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// What a file of blocks amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Bytes of the file whose blocks they are.
    pub size: u64,
    /// Bytes of content in the file of blocks.
    pub stored: u64,
    /// Bytes of the file of blocks itself.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// Reads the file of blocks of the file `path` (for messages), stored at `place` of the backup in `folder`, to its end:
/// every table and every block in it has its hash. Each block that does not is handed to `found`.
///
/// Fails with exit 3 where it is missing, or a table cannot be believed. What its blocks elsewhere are worth,
/// [`check_tables`] tells.
pub fn prove(
    shelf: &Shelf,
    folder: &Path,
    place: &Path,
    path: &Path,
    found: &mut dyn FnMut(BadBlock),
) -> Result<Proven> {
    let input = Input::new(shelf, path_of(folder, place)).hashed();
    let mut reader = TableReader::of(input, shelf.key.clone(), path)?;
    let is_here = reader.header().form == Form::Content;
    let mut blocks: Vec<(usize, BlockHash)> = Vec::new();
    let mut content = vec![0; BLOCK_BYTES];
    loop {
        let (first, covered) = match reader.next()? {
            Record::End { size, stored } => {
                let bytes = reader.input().at();
                let sha256 = reader.input().sha256().map(|digest| hex(&digest)).unwrap_or_default();
                return Ok(Proven { size, stored, bytes, sha256 });
            }
            Record::Zeros { .. } => continue,
            Record::Blocks { first, bytes, hashes, places } => {
                blocks.clear();
                let here = places.iter().enumerate().filter(|(_, place)| is_here && **place == BlockPlace::Here);
                blocks.extend(here.map(|(index, _)| (index, hashes[index])));
                (first, bytes)
            }
        };
        for (index, hash) in &blocks {
            let block = &mut content[..bytes_of(*index, covered)];
            reader.read_content(*index, 1, block)?;
            if shelf.key.hash(block) != *hash {
                let number = first + *index as u64;
                found(BadBlock { number, offset: number * BLOCK_BYTES as u64, bytes: block.len() as u64 });
            }
        }
    }
}

/// Compares the table of a file of blocks, named as for [`prove`], with those of the earlier backups that it points to:
/// each block that is said to be there is, with this hash and length. `size` is what the file's line says, in bytes.
///
/// Only tables are read. Each finding is handed to `found`, one for each source at most; fails where the table itself
/// cannot be believed (exit 3), or something cannot be read.
pub fn check_tables(
    shelf: &Shelf,
    folder: &Path,
    place: &Path,
    path: &Path,
    size: u64,
    found: &mut dyn FnMut(Error),
) -> Result<()> {
    let mut reader = TableReader::open(shelf, folder, place, path)?;
    let of_header = reader.take_sources();
    let mut has_told = vec![false; of_header.len()];
    let mut sources = Sources::new(shelf, path, of_header);
    loop {
        match reader.next()? {
            Record::Zeros { .. } => {}
            Record::End { size: is, .. } => {
                if is != size {
                    found(damaged(path, &format!("its file of blocks is of {is} bytes, its line of {size}")));
                }
                return Ok(());
            }
            Record::Blocks { first, bytes, hashes, places } => {
                for (index, (hash, place)) in hashes.iter().zip(places).enumerate() {
                    let BlockPlace::Source(source) = *place else { continue };
                    if has_told[usize::from(source)] {
                        continue;
                    }
                    let number = first + index as u64;
                    let finding = match sources.holds(source, number, *hash, bytes_of(index, bytes)) {
                        Ok(true) => continue,
                        Ok(false) => {
                            let (at, held) = (number * BLOCK_BYTES as u64, sources.describe(source));
                            damaged(path, &format!("{} does not hold its block at byte {at}", printable(held)))
                        }
                        Err(error) if error.exit_code() == ExitCode::Verification => error,
                        Err(error) => return Err(error),
                    };
                    has_told[usize::from(source)] = true;
                    found(finding);
                }
            }
        }
    }
}
