//! The write-ahead log: a header, then frames of one page each, every one proven by a sum over all that stands before it
//! (<https://www.sqlite.org/fileformat2.html#walformat>). All numbers are big-endian.
//!
//! | offset in the header | what |
//! |---|---|
//! | 0 | 0x377f0682, or 0x377f0683 where sums are over big-endian words |
//! | 4 | version, 3,007,000 |
//! | 8 | page size |
//! | 12 | number of the checkpoint |
//! | 16 | two salts |
//! | 24 | sum of the bytes before it, in two words |
//!
//! | offset in a frame | what |
//! |---|---|
//! | 0 | page |
//! | 4 | size of the database in pages where a transaction ends here, else 0 |
//! | 8 | the two salts |
//! | 16 | sum of everything before it, salts and sums left out |
//! | 24 | the page |

use super::header::u32_at;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 32;
/// Bytes of a frame before its page.
pub const FRAME_HEADER_BYTES: usize = 24;
/// The first word, without its last bit.
const MAGIC: u32 = 0x377f_0682;
/// The only version there is.
const VERSION: u32 = 3_007_000;

/// Whether bytes begin as a write-ahead log does.
pub fn is_wal(head: &[u8]) -> bool {
    head.len() >= 8 && u32_at(head, 0) & !1 == MAGIC && u32_at(head, 4) == VERSION
}

/// What the header of a write-ahead log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalHeader {
    /// Sums are over big-endian words.
    pub big_endian: bool,
    /// Bytes of a page.
    pub page_size: u32,
    /// How often the log was begun anew.
    pub checkpoint: u32,
    /// Those that the frames of this round have as well.
    pub salts: [u32; 2],
    /// The sum that stands in it.
    pub stored: [u32; 2],
    /// The sum of its bytes.
    pub computed: [u32; 2],
}

impl WalHeader {
    /// Reads a header; none where the bytes do not begin like one, or the page size cannot be.
    pub fn parse(head: &[u8]) -> Option<Self> {
        let head = head.first_chunk::<HEADER_BYTES>()?;
        let page_size = u32_at(head, 8);
        if !is_wal(head) || !page_size.is_power_of_two() || !(512..=65_536).contains(&page_size) {
            return None;
        }
        let big_endian = head[3] & 1 == 1;
        Some(Self {
            big_endian,
            page_size,
            checkpoint: u32_at(head, 12),
            salts: [u32_at(head, 16), u32_at(head, 20)],
            stored: [u32_at(head, 24), u32_at(head, 28)],
            computed: sum(&head[..24], big_endian, [0, 0]),
        })
    }

    /// Whether it holds what was written.
    pub fn is_valid(&self) -> bool {
        self.stored == self.computed
    }

    /// Bytes of a frame.
    pub fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_size as usize
    }
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One of this round, which holds what was written.
    Good,
    /// Left from an earlier round, or never written: the log ends before it.
    Stale,
    /// One of this round that does not hold what was written: a torn write, or damage.
    Bad,
}

/// A walk along the frames of a log, from the first on.
#[derive(Clone, Debug)]
pub struct Walk {
    header: WalHeader,
    sum: [u32; 2],
    /// Frames that hold, in a row from the first on.
    pub good: u64,
    /// How many of them belong to transactions that ended.
    pub committed: u64,
    /// Transactions that ended.
    pub transactions: u64,
    /// Size of the database in pages after the last of them.
    pub pages: Option<u32>,
    /// What the first frame was that does not hold.
    pub end: Option<Frame>,
    /// Frames from there on.
    pub beyond: u64,
}

impl Walk {
    /// Begins at the first frame.
    pub fn new(header: &WalHeader) -> Self {
        let end = (!header.is_valid()).then_some(Frame::Bad);
        Self {
            sum: header.computed,
            header: header.clone(),
            good: 0,
            committed: 0,
            transactions: 0,
            pages: None,
            end,
            beyond: 0,
        }
    }

    /// Takes the next frame, whole; nothing counts after one that does not hold.
    pub fn feed(&mut self, frame: &[u8]) -> Frame {
        let verdict = self.end.unwrap_or_else(|| self.judge(frame));
        if verdict != Frame::Good {
            self.end = Some(verdict);
            self.beyond += 1;
            return verdict;
        }
        self.good += 1;
        let pages = u32_at(frame, 4);
        if pages > 0 {
            self.committed = self.good;
            self.transactions += 1;
            self.pages = Some(pages);
        }
        verdict
    }

    fn judge(&mut self, frame: &[u8]) -> Frame {
        let salts = [u32_at(frame, 8), u32_at(frame, 12)];
        if frame.len() != self.header.frame_bytes() || salts != self.header.salts || u32_at(frame, 0) == 0 {
            return Frame::Stale;
        }
        let sum = sum(&frame[..8], self.header.big_endian, self.sum);
        let sum = self::sum(&frame[FRAME_HEADER_BYTES..], self.header.big_endian, sum);
        if sum != [u32_at(frame, 16), u32_at(frame, 20)] {
            return Frame::Bad;
        }
        self.sum = sum;
        Frame::Good
    }
}

/// The sum over pairs of words; a rest of less than eight bytes does not count.
fn sum(bytes: &[u8], big_endian: bool, from: [u32; 2]) -> [u32; 2] {
    let word = |bytes: &[u8]| {
        let bytes = bytes.first_chunk().copied().unwrap_or_default();
        if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    bytes.chunks_exact(8).fold(from, |[first, second], pair| {
        let first = first.wrapping_add(word(pair)).wrapping_add(second);
        [first, second.wrapping_add(word(&pair[4..])).wrapping_add(first)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A log of pages of 512 bytes: (page, size after commit).
    fn log(big_endian: bool, frames: &[(u32, u32)]) -> Vec<u8> {
        let mut log = Vec::new();
        for word in [MAGIC | u32::from(big_endian), VERSION, 512, 0, 7, 9] {
            log.extend(word.to_be_bytes());
        }
        let mut running = sum(&log, big_endian, [0, 0]);
        log.extend(running.iter().flat_map(|word| word.to_be_bytes()));
        for (page, size) in frames {
            let begin: Vec<u8> = [*page, *size].iter().flat_map(|word| word.to_be_bytes()).collect();
            let content = vec![u8::try_from(*page).expect("small"); 512];
            running = sum(&content, big_endian, sum(&begin, big_endian, running));
            log.extend(begin);
            log.extend([7, 9, running[0], running[1]].iter().flat_map(|word: &u32| word.to_be_bytes()));
            log.extend(content);
        }
        log
    }

    fn walk(log: &[u8]) -> Option<Walk> {
        let header = WalHeader::parse(log)?;
        let mut walk = Walk::new(&header);
        log[HEADER_BYTES..].chunks(header.frame_bytes()).for_each(|frame| _ = walk.feed(frame));
        Some(walk)
    }

    #[test]
    fn what_was_committed_is_told_from_what_was_not() {
        for big_endian in [false, true] {
            let walk = walk(&log(big_endian, &[(1, 0), (2, 2), (3, 3), (4, 0)])).expect("a log");
            assert_eq!((walk.good, walk.committed, walk.transactions, walk.pages), (4, 3, 2, Some(3)));
            assert_eq!((walk.end, walk.beyond), (None, 0));
        }
    }

    #[test]
    fn a_frame_of_another_round_ends_the_log_and_a_wrong_bit_is_told() {
        let good = log(false, &[(1, 1), (2, 2), (3, 3)]);
        let second = HEADER_BYTES + FRAME_HEADER_BYTES + 512;
        for (at, verdict) in [(second + 8, Frame::Stale), (second + 24 + 511, Frame::Bad), (second + 4, Frame::Bad)] {
            let mut log = good.clone();
            log[at] ^= 1;
            let walk = walk(&log).expect("a log");
            assert_eq!((walk.good, walk.end, walk.beyond), (1, Some(verdict), 2), "byte {at}");
        }
        let mut log = good.clone();
        log[13] ^= 1;
        let walk = walk(&log).expect("a log");
        assert_eq!((walk.good, walk.end), (0, Some(Frame::Bad)), "a header that does not hold proves no frame");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0_usize..1600, byte in any::<u8>()) {
            let _ = walk(&bytes);
            let mut log = log(false, &[(1, 1), (2, 2), (3, 3)]);
            if let Some(place) = log.get_mut(at) {
                *place = byte;
            }
            if let Some(walk) = walk(&log) {
                prop_assert!(walk.committed <= walk.good && walk.good + walk.beyond == 3);
            }
        }

        #[test]
        fn a_log_that_ends_anywhere_holds_up_to_there(cut in 32_usize..1640) {
            let whole = log(true, &[(1, 1), (2, 2), (3, 3)]);
            let walk = walk(&whole[..cut.min(whole.len())]).expect("a log");
            prop_assert_eq!(walk.good, ((cut.min(whole.len()) - HEADER_BYTES) / 536) as u64);
        }
    }
}
