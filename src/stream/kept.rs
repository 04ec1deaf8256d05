//! Going on in the middle of a file: its first bytes come from the copy that an earlier reading has left.

use std::fmt;
use std::io;

use sha2::{Digest, Sha256};

use super::pipeline::hash_zeros;
use super::source::Stamp;

/// The first bytes of a file as an earlier reading has copied them.
pub trait KeptCopy: Send + fmt::Debug {
    /// Reads bytes of the copy from an offset on; 0 where it ends.
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Fills a buffer from a copy; what is not there is an error.
pub fn read_exact_at(copy: &mut dyn KeptCopy, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match copy.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How far a file was read, of which the first bytes are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// What the file was when it was opened.
    pub stamp: Stamp,
    /// How many bytes.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

/// Compares what comes again with what was read: the first bytes of a file, and nothing behind them.
pub struct Comparing {
    reached: Reached,
    left: u64,
    hasher: Sha256,
}

impl Comparing {
    /// From the first byte on.
    pub fn new(reached: &Reached) -> Self {
        Self { reached: *reached, left: reached.bytes, hasher: Sha256::new() }
    }

    /// Whether bytes are still to come that are compared.
    pub fn is_underway(&self) -> bool {
        self.left > 0
    }

    /// Takes the next bytes, and the zeros behind them; false where all that was to be compared is something else.
    pub fn is_same(&mut self, bytes: &[u8], hole: u64) -> bool {
        if !self.is_underway() {
            return true;
        }
        let now = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.hasher.update(&bytes[..now]);
        self.left -= now as u64;
        let zeros = self.left.min(hole);
        hash_zeros(&mut self.hasher, zeros);
        self.left -= zeros;
        self.left > 0 || <[u8; 32]>::from(self.hasher.finalize_reset()) == self.reached.sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_compared_however_they_are_cut_and_nothing_behind_them() {
        let content: Vec<u8> = (0..100).chain([0; 50]).collect();
        let stamp = Stamp { device: 1, inode: 1, size: 150, modified_ns: 0, changed_ns: 0 };
        for bytes in [1, 99, 100, 101, 149, 150] {
            let sha256 = Sha256::digest(&content[..usize::try_from(bytes).expect("small")]).into();
            let reached = Reached { stamp, bytes, sha256 };
            for cut in [1, 7, 64, 100] {
                let feed = |change: Option<usize>| {
                    let mut data = content[..100].to_vec();
                    if let Some(at) = change {
                        data[at] ^= 1;
                    }
                    let mut comparing = Comparing::new(&reached);
                    let is_same =
                        data.chunks(cut).all(|chunk| comparing.is_same(chunk, 0)) && comparing.is_same(&[], 50);
                    is_same && !comparing.is_underway()
                };
                assert!(feed(None), "{bytes} {cut}");
                for at in [0, 50, 99] {
                    assert_eq!(feed(Some(at)), at as u64 >= bytes, "{bytes} {cut} {at}");
                }
            }
        }
    }
}
