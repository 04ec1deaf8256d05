//! Reading a file with holes: what was never written is passed over, not read as zeros.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::kept::{KeptCopy, read_exact_at};
use super::shared::SharedFile;
use super::source::Got;

/// Bytes of a block as `stat` counts them.
pub const STAT_BLOCK_BYTES: u64 = 512;

/// A file read from its begin to the length that it had at first.
#[derive(Debug)]
pub struct SparseFile {
    file: File,
    position: u64,
    end: u64,
    /// Where the data around `position` ends; none where the file has no holes.
    data_end: Option<u64>,
    /// A copy that the data comes from up to some byte; holes are those of the file.
    head: Option<(Box<dyn KeptCopy>, u64)>,
}

impl SparseFile {
    /// Reads an open file from a byte on; `allocated` is the space it takes, in bytes.
    pub fn new(file: File, offset: u64, size: u64, allocated: u64) -> io::Result<Self> {
        if offset > 0 {
            // Not beyond the end, where there is nothing either: an offset may be larger than a file can be.
            rustix::fs::seek(&file, SeekFrom::Start(offset.min(size)))?;
        }
        // Less space than bytes: a hole, or a file system that compresses; asking costs little.
        let has_holes = allocated < size;
        Ok(Self { file, position: offset, end: size.max(offset), data_end: has_holes.then_some(offset), head: None })
    }

    /// Takes the data of its first bytes from a copy; before anything is read of it.
    pub fn begin_with(&mut self, copy: Box<dyn KeptCopy>, bytes: u64) -> bool {
        let can_be = self.position == 0 && bytes <= self.end;
        if can_be {
            self.head = Some((copy, bytes));
        }
        can_be
    }

    /// Fills a buffer from the copy, as far as that goes; none behind it.
    fn next_of_head(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some((copy, bytes)) = &mut self.head else { return Ok(None) };
        let left = bytes.saturating_sub(self.position);
        if left == 0 {
            self.head = None;
            rustix::fs::seek(&self.file, SeekFrom::Start(self.position))?;
            return Ok(None);
        }
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        read_exact_at(&mut **copy, &mut buffer[..want], self.position)?;
        self.position += want as u64;
        Ok(Some(want))
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes between here and the length that the file had at first.
    pub fn left(&self) -> u64 {
        self.end - self.position
    }

    /// A handle of the same file for several threads; `absolute` and `path` are what messages call it.
    pub fn share(&self, absolute: PathBuf, path: &Path) -> io::Result<SharedFile> {
        Ok(SharedFile::new(self.file.try_clone()?, absolute, path, self.end, self.data_end.is_some()))
    }

    /// Takes note that somebody else has read up to a byte.
    pub fn was_read(&mut self, until: u64) {
        self.position = until.min(self.end);
    }

    /// The next data, the next hole, or the end. A file that became shorter ends early.
    pub fn next(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        if self.left() == 0 {
            return Ok(Got::End);
        }
        if self.data_end == Some(self.position)
            && let Some(hole) = self.skip_hole()?
        {
            return Ok(Got::Hole(hole));
        }
        let until = self.data_end.unwrap_or(self.end).min(self.end);
        let want = buffer.len().min(usize::try_from(until - self.position).unwrap_or(usize::MAX));
        if let Some(read) = self.next_of_head(&mut buffer[..want])? {
            return Ok(Got::Data(read));
        }
        loop {
            match self.file.read(&mut buffer[..want]) {
                Ok(0) => return Ok(Got::End),
                Ok(got) => {
                    self.position += got as u64;
                    return Ok(Got::Data(got));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next bytes, holes as zeros.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(buffer)?;
        self.position += got as u64;
        self.end = self.end.max(self.position);
        // Wherever this is, the next look for a hole begins here.
        self.data_end = self.data_end.map(|end| end.max(self.position));
        Ok(got)
    }

    /// Finds the next data and the next hole after it; the length of the hole that was passed over, if there was one.
    fn skip_hole(&mut self) -> io::Result<Option<u64>> {
        let Some((data, data_end)) = next_data(&self.file, self.position, self.end) else {
            self.data_end = None;
            return Ok(None);
        };
        let hole = data - self.position;
        self.data_end = data_end;
        rustix::fs::seek(&self.file, SeekFrom::Start(data))?;
        self.position = data;
        Ok((hole > 0).then_some(hole))
    }
}

/// Where the next data from a byte on begins and ends, at `end` where there is no more; none where the file system does not
/// tell, which has to be read as a whole. The data has no end where a hole would begin with it, which would never end.
pub(super) fn next_data(file: &File, position: u64, end: u64) -> Option<(u64, Option<u64>)> {
    let data = match rustix::fs::seek(file, SeekFrom::Data(position)) {
        Ok(data) => data.clamp(position, end),
        Err(Errno::NXIO) => end, // no more data up to the end
        Err(_) => return None,
    };
    if data == end {
        return Some((data, Some(end)));
    }
    let data_end = rustix::fs::seek(file, SeekFrom::Hole(data)).map_or(end, |hole| hole.clamp(data, end));
    Some((data, (data_end > data).then_some(data_end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn pieces(file: File, offset: u64) -> Vec<(char, u64)> {
        let metadata = file.metadata().expect("metadata");
        let allocated = metadata.blocks() * STAT_BLOCK_BYTES;
        let mut reader = SparseFile::new(file, offset, metadata.len(), allocated).expect("opened");
        let mut buffer = vec![1; 1 << 20];
        let mut pieces: Vec<(char, u64)> = Vec::new();
        loop {
            let piece = match reader.next(&mut buffer).expect("read") {
                Got::Data(bytes) => ('d', bytes as u64),
                Got::Hole(bytes) => ('h', bytes),
                Got::End => return pieces,
            };
            match pieces.last_mut() {
                Some(last) if last.0 == piece.0 => last.1 += piece.1,
                _ => pieces.push(piece),
            }
        }
    }

    #[test]
    fn holes_are_passed_over_and_data_is_read() {
        let file = tempfile::tempfile().expect("temporary file");
        file.write_all_at(&[7; 10_000], 1 << 20).expect("written");
        file.write_all_at(b"end", 5 << 20).expect("written");
        file.set_len(8 << 20).expect("made longer");
        let found = pieces(file.try_clone().expect("cloned"), 0);
        assert_eq!(found.iter().map(|piece| piece.1).sum::<u64>(), 8 << 20);
        assert_eq!(found.iter().map(|piece| piece.0).collect::<String>(), "hdhdh");
        assert_eq!(found[0].1, 1 << 20);
        assert_eq!(pieces(file, 2 << 20).iter().map(|piece| piece.0).collect::<String>(), "hdh");
    }

    /// A copy of so many bytes, all the same.
    #[derive(Debug)]
    struct Beginning(u8, u64);

    impl KeptCopy for Beginning {
        fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let read = buffer.len().min(usize::try_from(self.1.saturating_sub(offset)).expect("small")).min(777);
            buffer[..read].fill(self.0);
            Ok(read)
        }
    }

    #[test]
    fn the_beginning_comes_from_a_copy_and_the_holes_from_the_file() {
        let file = tempfile::tempfile().expect("temporary file");
        file.write_all_at(&vec![7; 3 << 20], 0).expect("written");
        file.write_all_at(&vec![7; 1 << 20], 5 << 20).expect("written");
        let allocated = file.metadata().expect("metadata").blocks() * STAT_BLOCK_BYTES;
        let end = 6 << 20;
        for bytes in [1, 1 << 20, 3 << 20, (5 << 20) + 9, end] {
            let again = file.try_clone().expect("cloned");
            rustix::fs::seek(&again, SeekFrom::Start(0)).expect("at its begin");
            let mut reader = SparseFile::new(again, 0, end, allocated).expect("opened");
            assert!(!reader.begin_with(Box::new(Beginning(8, bytes)), end + 1));
            assert!(reader.begin_with(Box::new(Beginning(8, bytes)), bytes));
            let (mut at, mut buffer) = (0, vec![0; 100_000]);
            loop {
                match reader.next(&mut buffer).expect("read") {
                    Got::Data(read) => {
                        for byte in &buffer[..read] {
                            assert_eq!(*byte, if at < bytes { 8 } else { 7 }, "byte {at} of {bytes}");
                            at += 1;
                        }
                    }
                    Got::Hole(hole) => {
                        assert_eq!((at, hole), (3 << 20, 2 << 20));
                        at += hole;
                    }
                    Got::End => break,
                }
            }
            assert_eq!(at, end);
        }
        let mut reader = SparseFile::new(file, 0, end, allocated).expect("opened");
        assert!(reader.begin_with(Box::new(Beginning(8, 1)), 1000));
        reader.next(&mut [0; 2000]).expect_err("the copy lost its end");
    }

    #[test]
    fn a_file_of_nothing_but_a_hole_and_one_without_any() {
        let file = tempfile::tempfile().expect("temporary file");
        file.set_len(3 << 40).expect("made longer");
        assert_eq!(pieces(file, 0), [('h', 3 << 40)]);
        let file = tempfile::tempfile().expect("temporary file");
        assert_eq!(pieces(file.try_clone().expect("cloned"), 0), []);
        file.write_all_at(&[7; 5000], 0).expect("written");
        assert_eq!(pieces(file, 0), [('d', 5000)]);
    }
}
