//! Chunks of memory, aligned so that a disk can be written from them past the page cache.

/// What the strictest disks and file systems ask for, in bytes.
pub const BUFFER_ALIGNMENT: usize = 4096;

/// Memory for one chunk; never moves or grows.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// A buffer of so many bytes, zero at first, that begins at an aligned address.
    pub fn new(length: usize) -> Self {
        let bytes = vec![0; length + BUFFER_ALIGNMENT];
        let start = bytes.as_ptr().align_offset(BUFFER_ALIGNMENT).min(BUFFER_ALIGNMENT);
        Self { bytes, start, length }
    }

    /// The memory to fill.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }

    /// The first so many bytes.
    pub fn filled(&self, length: usize) -> &[u8] {
        &self.bytes[self.start..self.start + length.min(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_an_aligned_address_also_after_it_was_moved() {
        let mut moved: Vec<Buffer> = (1..50).map(|n| Buffer::new(n * 100)).collect();
        for (n, buffer) in (1..50).zip(&mut moved) {
            assert_eq!(buffer.as_mut_slice().len(), n * 100);
            assert_eq!(buffer.filled(1).as_ptr().align_offset(BUFFER_ALIGNMENT), 0);
        }
    }
}
