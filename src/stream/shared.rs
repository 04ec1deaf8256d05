//! A file that several threads read at once, each at a place of its own.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::sparse::next_data;
use crate::error::{Error, Result};

/// A file with the length that it had when it was opened; nothing here moves the position of its handle but a look for
/// holes, which nobody else relies on.
#[derive(Debug)]
pub struct SharedFile {
    file: File,
    absolute: PathBuf,
    path: PathBuf,
    size: u64,
    has_holes: bool,
}

/// What a file holds from some byte on, and for how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Bytes to read.
    Data(u64),
    /// Zeros that take no space.
    Hole(u64),
}

impl SharedFile {
    /// A file of `size` bytes; `absolute` and `path` are what messages call it. Without holes nobody looks for any.
    pub fn new(file: File, absolute: PathBuf, path: &Path, size: u64, has_holes: bool) -> Self {
        Self { file, absolute, path: path.to_owned(), size, has_holes }
    }

    /// Bytes that it had at first.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills a buffer from a byte on, never past the length that the file had at first; what is missing where it became
    /// shorter is not filled.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let mut filled = 0;
        while filled < wanted {
            match self.file.read_at(&mut buffer[filled..wanted], offset + filled as u64) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.absolute, &error).file(&self.path)),
            }
        }
        Ok(filled)
    }

    /// What there is from `offset` on, which lies before the end at a border of blocks of `block_bytes`. An extent ends
    /// at such a border or with the file: a block that is a hole in part is data.
    pub fn extent(&self, offset: u64, block_bytes: u64) -> Extent {
        let rest = self.size.saturating_sub(offset);
        if !self.has_holes {
            return Extent::Data(rest);
        }
        // A file system that does not tell is read to the end.
        let Some((data, data_end)) = next_data(&self.file, offset, self.size) else { return Extent::Data(rest) };
        if data == self.size {
            return Extent::Hole(rest);
        }
        match (data - offset) / block_bytes * block_bytes {
            0 => {
                let data_end = data_end.map_or(self.size, |end| end.next_multiple_of(block_bytes).min(self.size));
                Extent::Data(data_end - offset)
            }
            hole => Extent::Hole(hole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4096;

    fn shared(file: File, size: u64, has_holes: bool) -> SharedFile {
        SharedFile::new(file, "/storage/a.db".into(), Path::new("a.db"), size, has_holes)
    }

    #[test]
    fn extents_end_at_blocks_or_with_the_file_and_cover_it() {
        let file = tempfile::tempfile().expect("temporary file");
        file.write_all_at(&[7; 10_000], 1 << 20).expect("written");
        file.write_all_at(b"end", (5 << 20) + 100).expect("written");
        file.set_len((8 << 20) + 5).expect("made longer");
        let file = shared(file, (8 << 20) + 5, true);
        let (mut at, mut found) = (0, String::new());
        while at < file.size() {
            assert_eq!(at % BLOCK, 0);
            let (letter, bytes) = match file.extent(at, BLOCK) {
                Extent::Data(bytes) => ('d', bytes),
                Extent::Hole(bytes) => ('h', bytes),
            };
            assert!(bytes > 0, "{at}");
            found.push(letter);
            at += bytes;
        }
        assert_eq!((found.as_str(), at), ("hdhdh", file.size()));
    }

    #[test]
    fn a_file_is_read_as_far_as_it_went_at_first_and_as_far_as_it_goes_now() {
        let file = tempfile::tempfile().expect("temporary file");
        file.write_all_at(&[7; 100], 0).expect("written");
        let mut buffer = [0; 64];
        let read = |size, offset, buffer: &mut [u8]| {
            shared(file.try_clone().expect("cloned"), size, false).read_at(buffer, offset).expect("read")
        };
        assert_eq!(read(100, 0, &mut buffer), 64);
        assert_eq!(read(100, 64, &mut buffer), 36);
        assert_eq!(read(70, 64, &mut buffer), 6); // it grew
        assert_eq!(read(1000, 64, &mut buffer), 36); // it shrank
        assert_eq!(read(1000, 500, &mut buffer), 0);
        assert_eq!(read(70, 500, &mut buffer), 0);
        assert_eq!(shared(file, 1000, false).extent(0, BLOCK), Extent::Data(1000));
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_path() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let directory = shared(File::open(folder.path()).expect("opened"), 4096, false);
        let error = directory.read_at(&mut [0; 16], 0).expect_err("a directory has no bytes");
        assert!(error.message().contains("/storage/a.db"), "{}", error.message());
    }
}
