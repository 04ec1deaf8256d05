//! Comparing the content of a file with what a backup holds of it, and writing only the blocks that differ.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::content::{PIECE_BYTES, Piece, Pieces};
use super::plan::Content;
use super::sqlite;
use crate::error::{Error, Result};
use crate::stream::pipeline::hash_zeros;

/// Bytes of a block: only blocks that differ are written.
pub const BLOCK_BYTES: usize = 4096;

/// A file of the directory, and what to call it.
pub struct There<'a> {
    /// The file.
    pub file: &'a File,
    /// Its length in bytes.
    pub size: u64,
    /// Where it is, for messages.
    pub path: &'a Path,
}

impl There<'_> {
    /// Reads up to so many bytes; what lies beyond its end is missing.
    fn read<'b>(&self, at: u64, bytes: usize, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
        buffer.resize(PIECE_BYTES.max(bytes), 0);
        let mut filled = 0;
        while filled < bytes {
            match self.file.read_at(&mut buffer[filled..bytes], at + filled as u64) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", self.path, &error)),
            }
        }
        Ok(&buffer[..filled])
    }

    /// Calls `take` with each stretch of data between two bytes: where it begins and ends.
    fn data(&self, begin: u64, end: u64, take: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let end = end.min(self.size);
        let mut at = begin;
        while at < end {
            let data = match seek(self.file, SeekFrom::Data(at)) {
                Ok(data) => data.max(at),
                Err(Errno::NXIO) => return Ok(()), // no more data
                Err(_) => at,                      // a file system that does not tell
            };
            if data >= end {
                return Ok(());
            }
            let hole = seek(self.file, SeekFrom::Hole(data)).unwrap_or(end).clamp(data + 1, end);
            let mut from = data;
            while from < hole {
                let until = (from + PIECE_BYTES as u64).min(hole);
                take(from, until)?;
                from = until;
            }
            at = hole;
        }
        Ok(())
    }
}

/// Hashes content, and finds out where a file differs from it. `tell` hears of the bytes that were read.
pub fn compare(
    pieces: &mut Pieces,
    there: Option<&There>,
    tell: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<(Content, u64)> {
    let (mut found, mut hasher, mut size, mut buffer) = (Content::default(), Sha256::new(), 0, Vec::new());
    while let Some(piece) = pieces.next_piece()? {
        match piece {
            Piece::Data(at, bytes) => {
                let data = pieces.data(bytes);
                hasher.update(data);
                found.is_database |= at == 0 && sqlite::begins_so(data);
                size = at + bytes as u64;
                if let Some(there) = there {
                    let other = there.read(at, bytes, &mut buffer)?;
                    if other != data {
                        found.bytes += runs(data, other).map(|(begin, end)| (end - begin) as u64).sum::<u64>();
                        found.pieces.push((at, Sha256::digest(data).into()));
                    }
                }
                tell(bytes as u64)?;
            }
            Piece::Hole(at, bytes) => {
                size = at + bytes;
                if let Some(there) = there {
                    there.data(at, size, &mut |from, until| {
                        let other =
                            there.read(from, usize::try_from(until - from).unwrap_or(PIECE_BYTES), &mut buffer)?;
                        let is_zero = other.iter().all(|byte| *byte == 0);
                        if !is_zero || has_block(from.max(at), until.min(size)) {
                            found.holes = true;
                            found.bytes += if is_zero { 0 } else { until - from };
                        }
                        tell(0)
                    })?;
                }
                let mut left = bytes;
                while left > 0 {
                    let now = left.min(crate::stream::pipeline::HOLE_BYTES);
                    hash_zeros(&mut hasher, now);
                    left -= now;
                    tell(now)?;
                }
            }
        }
    }
    found.sha256 = hasher.finalize().into();
    found.size = there.is_none_or(|there| there.size != size);
    Ok((found, size))
}

/// Writes into a file what differs from the content that was compared before; returns how many bytes.
pub fn write(
    pieces: &mut Pieces,
    there: &There,
    content: &Content,
    size: u64,
    changed: &dyn Fn() -> Error,
    tell: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let error = |e: &io::Error| Error::io("write", there.path, e);
    let (mut written, mut buffer, mut known) = (0, Vec::new(), content.pieces.iter().peekable());
    if there.size != size {
        there.file.set_len(size).map_err(|e| error(&e))?;
    }
    let there = &There { size: there.size.min(size), ..*there };
    while let Some(piece) = pieces.next_piece()? {
        match piece {
            Piece::Data(at, bytes) => {
                if let Some((_, sha256)) = known.next_if(|(begin, _)| *begin == at) {
                    let data = pieces.data(bytes);
                    // It is the same that was proven as part of the whole.
                    if <[u8; 32]>::from(Sha256::digest(data)) != *sha256 {
                        return Err(changed());
                    }
                    let other = there.read(at, bytes, &mut buffer)?;
                    for (begin, end) in runs(data, other) {
                        there.file.write_all_at(&data[begin..end], at + begin as u64).map_err(|e| error(&e))?;
                        written += (end - begin) as u64;
                    }
                }
                tell(bytes as u64)?;
            }
            Piece::Hole(at, bytes) => {
                if content.holes {
                    there.data(at, at + bytes, &mut |from, until| {
                        written += punch(there.file, from, until).map_err(|e| error(&e))?;
                        tell(0)
                    })?;
                }
                tell(bytes)?;
            }
        }
    }
    if known.next().is_some() {
        return Err(changed());
    }
    Ok(written)
}

/// Makes a hole, or zeros where the file system has none; returns how many bytes were written.
fn punch(file: &File, from: u64, until: u64) -> io::Result<u64> {
    match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, until - from) {
        Ok(()) => Ok(0),
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => {
            let zeros = vec![0; usize::try_from(until - from).unwrap_or(PIECE_BYTES)];
            file.write_all_at(&zeros, from)?;
            Ok(until - from)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a whole block, by its place in the file, lies between two bytes.
fn has_block(begin: u64, end: u64) -> bool {
    let block = BLOCK_BYTES as u64;
    begin.next_multiple_of(block) + block <= end
}

/// Where two buffers differ, in whole blocks of the first; what the other one lacks differs.
fn runs<'a>(data: &'a [u8], other: &'a [u8]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut at = 0;
    let differs = move |begin: usize| {
        let end = (begin + BLOCK_BYTES).min(data.len());
        other.get(begin..end) != Some(&data[begin..end])
    };
    std::iter::from_fn(move || {
        while at < data.len() && !differs(at) {
            at += BLOCK_BYTES;
        }
        let begin = at;
        while at < data.len() && differs(at) {
            at += BLOCK_BYTES;
        }
        (begin < data.len()).then(|| (begin, at.min(data.len())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::source::{Attributes, Got, Settled, Source, Stamp};
    use proptest::prelude::*;

    #[test]
    fn runs_are_whole_blocks_that_differ() {
        let data = vec![1; 5 * BLOCK_BYTES + 10];
        let mut other = data.clone();
        assert_eq!(runs(&data, &other).count(), 0);
        (other[0], other[BLOCK_BYTES], other[5 * BLOCK_BYTES + 3]) = (2, 2, 2);
        assert_eq!(runs(&data, &other).collect::<Vec<_>>(), [(0, 2 * BLOCK_BYTES), (5 * BLOCK_BYTES, data.len())]);
        other.clone_from(&data);
        other.truncate(3 * BLOCK_BYTES + 1);
        assert_eq!(runs(&data, &other).collect::<Vec<_>>(), [(3 * BLOCK_BYTES, data.len())]);
    }

    /// Content in pieces of any length, as a store may give it.
    struct Bits(Vec<(bool, Vec<u8>)>, usize);

    impl Source for Bits {
        fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
            let Some((is_hole, bytes)) = self.0.first_mut() else { return Ok(Got::End) };
            if *is_hole {
                let length = bytes.len() as u64;
                self.0.remove(0);
                return Ok(Got::Hole(length));
            }
            let now = bytes.len().min(buffer.len()).min(self.1);
            buffer[..now].copy_from_slice(&bytes[..now]);
            bytes.drain(..now);
            if bytes.is_empty() {
                self.0.remove(0);
            }
            Ok(Got::Data(now))
        }

        fn finish(self: Box<Self>) -> Result<Settled> {
            let stamp = Stamp { device: 0, inode: 0, size: 0, modified_ns: 0, changed_ns: 0 };
            Ok(Settled::Still(Attributes::plain(stamp, 0, 0, 0)))
        }
    }

    fn bits() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        let one = (any::<bool>(), 1_usize..20_000, 0_u8..3)
            .prop_map(|(is_hole, length, byte)| (is_hole, vec![if is_hole { 0 } else { byte }; length]));
        proptest::collection::vec(one, 0..6)
    }

    proptest! {
        #[test]
        fn a_file_becomes_what_the_content_is(bits in bits(), mut other in bits(), flips in proptest::collection::vec(any::<usize>(), 0..4),
                                              (reads, again) in (1_usize..70_000, 1_usize..70_000)) {
            let content: Vec<u8> = bits.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            let mut before: Vec<u8> = if other.len() % 2 == 0 { content.clone() } else { Vec::new() };
            before.extend(other.drain(..).flat_map(|(_, bytes)| bytes));
            for flip in flips {
                let length = before.len();
                if let Some(byte) = before.get_mut(flip % length.max(1)) {
                    *byte ^= 1;
                }
            }
            let file = tempfile::tempfile().expect("temporary file");
            file.write_all_at(&before, 0).expect("written");
            let path = Path::new("file");
            let never = || Error::new(crate::error::ExitCode::Failed, "changed");
            let mut tell = |_: u64| Ok(());
            let pieces = |reads| Pieces::new(Box::new(Bits(bits.clone(), reads)), Vec::new());
            let there = There { file: &file, size: before.len() as u64, path };
            let (found, size) = compare(&mut pieces(reads), Some(&there), &mut tell).expect("compared");
            prop_assert_eq!(size, content.len() as u64);
            prop_assert_eq!(found.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
            prop_assert!(before == content || !found.is_same());
            let written = write(&mut pieces(again), &there, &found, size, &never, &mut tell).expect("written");
            prop_assert!(written <= found.bytes);
            let there = There { file: &file, size, path };
            let mut after = Vec::new();
            prop_assert_eq!(there.read(0, content.len() + 1, &mut after).expect("read"), &content[..]);
            let (found, _) = compare(&mut pieces(reads), Some(&there), &mut tell).expect("compared");
            prop_assert!(found.pieces.is_empty() && !found.size && found.bytes == 0, "{:?}", found);
        }
    }
}
