//! The checksum of today's pages, log segments and flush-map pages: XOR and ECC of a block (`spec/ese-format.md` §4.2),
//! and what one wrong bit looks like in it (§4.4).
//!
//! The ECC half is the XOR of the indices of all set bits. Bit k of it is the parity of the bits whose index has bit k
//! set. A block is a column of rows of 64 bytes; while rows are added up two by two, four by four and so on, the
//! upper one of each two is added to the accumulator of its level, whose parity is then one bit of the row's index. That
//! is two XORs a row, without looking at a single bit, and compilers make vectors of it.

/// Bytes of a row: what one step of the sum works on.
const ROW_BYTES: usize = 64;
/// Words of a row.
const LANES: usize = ROW_BYTES / 8;
/// Rows of a group, which are added up in registers: 16 are twice as fast as 8, which come back to memory too often.
const GROUP_ROWS: usize = 16;
/// Bytes of a group.
const GROUP_BYTES: usize = GROUP_ROWS * ROW_BYTES;
/// Levels inside a group: log2 of its rows.
const GROUP_LEVELS: usize = GROUP_ROWS.ilog2() as usize;
/// Groups of the largest block.
const GROUPS_MAX: usize = BLOCK_BYTES_MAX / GROUP_BYTES;

/// The largest block, in bytes.
pub const BLOCK_BYTES_MAX: usize = 8192;
/// The smallest block, in bytes.
pub const BLOCK_BYTES_MIN: usize = 1024;

const _: () = assert!(GROUP_BYTES <= BLOCK_BYTES_MIN);
/// The first bit of an index that tells rows apart.
const ROW_SHIFT: usize = (ROW_BYTES * 8).ilog2() as usize;
/// Bits of an index that tell the bits of a word apart: those set in an odd place of each two, four, eight and so on.
const WORD_LEVELS: usize = 6;
const ODD_BITS: [u64; WORD_LEVELS] = [
    0xAAAA_AAAA_AAAA_AAAA,
    0xCCCC_CCCC_CCCC_CCCC,
    0xF0F0_F0F0_F0F0_F0F0,
    0xFF00_FF00_FF00_FF00,
    0xFFFF_0000_FFFF_0000,
    0xFFFF_FFFF_0000_0000,
];
const _: () = assert!(ROW_SHIFT + GROUP_LEVELS + GROUPS_MAX.ilog2() as usize == 16);

type Row = [u64; LANES];

/// The checksum of a block that does not begin its page. `number` is the page's or the segment's.
///
/// The block's length is a power of two from [`BLOCK_BYTES_MIN`] to [`BLOCK_BYTES_MAX`].
pub fn block_checksum(block: &[u8], number: u32) -> u64 {
    sum(block, number, false)
}

/// The checksum of the block that begins a page: its first eight bytes, which hold the stored checksum, count as zero.
pub fn first_block_checksum(block: &[u8], number: u32) -> u64 {
    sum(block, number, true)
}

fn sum(block: &[u8], number: u32, skip_first_word: bool) -> u64 {
    debug_assert!(block.len().is_power_of_two());
    debug_assert!((BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&block.len()));
    let mut inner = [[0; LANES]; GROUP_LEVELS];
    let mut sums = [[0; LANES]; GROUPS_MAX];
    let (groups, _) = block.as_chunks::<GROUP_BYTES>();
    for (group, sum) in groups.iter().zip(&mut sums) {
        *sum = add_group(group, &mut inner);
    }
    // What tells the bits of an index apart, one word for each bit of it; their parities are the ECC.
    let mut words = [0; 16];
    for (word, accumulator) in words[ROW_SHIFT..].iter_mut().zip(&inner) {
        *word = fold(accumulator);
    }
    let mut count = groups.len().min(GROUPS_MAX);
    for word in &mut words[ROW_SHIFT + GROUP_LEVELS..] {
        let mut upper = [0; LANES];
        for index in 0..count / 2 {
            let odd = sums[2 * index + 1];
            add(&mut upper, &odd);
            add(&mut sums[2 * index], &odd);
            sums[index] = sums[2 * index];
        }
        *word = fold(&upper);
        count /= 2;
    }
    let mut total = sums[0];
    if skip_first_word {
        // They lie in row 0, which no accumulator holds.
        total[0] ^= block.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    }
    for (level, word) in words[WORD_LEVELS..ROW_SHIFT].iter_mut().enumerate() {
        *word = (0..LANES).filter(|lane| lane >> level & 1 == 1).fold(0, |sum, lane| sum ^ total[lane]);
    }
    let folded = fold(&total);
    for (word, odd) in words.iter_mut().zip(ODD_BITS) {
        *word = folded & odd;
    }
    let low = u32::from(parities(words));
    let high = if folded.count_ones().is_multiple_of(2) { low } else { low ^ index_mask(block.len()) };
    let xor = lower_half(folded ^ folded >> 32) ^ number;
    u64::from(high) << 48 | u64::from(low) << 32 | u64::from(xor)
}

/// Adds up the rows of a group, and the upper one of each two to the accumulator of its level.
#[inline]
fn add_group(group: &[u8; GROUP_BYTES], levels: &mut [Row; GROUP_LEVELS]) -> Row {
    let (words, _) = group.as_chunks::<8>();
    let mut sum = [0; LANES];
    for lane in 0..LANES {
        let ones: [u64; 16] = std::array::from_fn(|row| u64::from_le_bytes(words[row * LANES + lane]));
        let twos: [u64; 8] = std::array::from_fn(|i| ones[2 * i] ^ ones[2 * i + 1]);
        let fours: [u64; 4] = std::array::from_fn(|i| twos[2 * i] ^ twos[2 * i + 1]);
        let eights: [u64; 2] = std::array::from_fn(|i| fours[2 * i] ^ fours[2 * i + 1]);
        levels[0][lane] ^= ones[1] ^ ones[3] ^ ones[5] ^ ones[7] ^ ones[9] ^ ones[11] ^ ones[13] ^ ones[15];
        levels[1][lane] ^= twos[1] ^ twos[3] ^ twos[5] ^ twos[7];
        levels[2][lane] ^= fours[1] ^ fours[3];
        levels[3][lane] ^= eights[1];
        sum[lane] = eights[0] ^ eights[1];
    }
    sum
}

#[inline]
fn add(to: &mut Row, row: &Row) {
    for (to, word) in to.iter_mut().zip(row) {
        *to ^= word;
    }
}

#[inline]
fn fold(row: &Row) -> u64 {
    row.iter().fold(0, |sum, word| sum ^ word)
}

/// The parities of sixteen words, bit i that of word i: words are folded in halves, and each two share one.
fn parities(words: [u64; 16]) -> u16 {
    #[inline]
    fn merge<const N: usize>(words: &[u64], shift: u32, lower: u64) -> [u64; N] {
        std::array::from_fn(|i| {
            let (one, other) = (words[i], words[i + N]);
            (one ^ one >> shift) & lower | (other ^ other << shift) & !lower
        })
    }
    let eight: [u64; 8] = merge(&words, 32, 0x0000_0000_FFFF_FFFF);
    let four: [u64; 4] = merge(&eight, 16, 0x0000_FFFF_0000_FFFF);
    let two: [u64; 2] = merge(&four, 8, 0x00FF_00FF_00FF_00FF);
    let [mut one]: [u64; 1] = merge(&two, 4, 0x0F0F_0F0F_0F0F_0F0F);
    one ^= one >> 2;
    one = (one ^ one >> 1) & 0x1111_1111_1111_1111;
    // The lowest bits of sixteen nibbles, brought together.
    one = (one | one >> 3) & 0x0303_0303_0303_0303;
    one = (one | one >> 6) & 0x000F_000F_000F_000F;
    one = (one | one >> 12) & 0x0000_00FF_0000_00FF;
    u16::try_from((one | one >> 24) & 0xFFFF).unwrap_or(0)
}

/// The mask of a bit index of a block of so many bytes (M of the format).
fn index_mask(block_bytes: usize) -> u32 {
    u32::try_from(block_bytes * 8 - 1).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn lower_half(word: u64) -> u32 {
    word as u32
}

/// Which single bit of a block, if wrong, explains the difference between the checksum stored and the one computed.
///
/// None where it takes more than one bit, or where the wrong bit is in the stored checksum itself.
pub fn wrong_bit(stored: u64, computed: u64, block_bytes: usize) -> Option<usize> {
    let difference = stored ^ computed;
    let (ecc, xor) = (lower_half(difference >> 32), lower_half(difference));
    let mask = index_mask(block_bytes);
    let explains = (ecc >> 16 ^ ecc) & mask == mask && xor.is_power_of_two();
    let bit = usize::try_from(ecc & 0xFFFF).ok()?;
    (explains && bit < block_bytes * 8).then_some(bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, bit by bit.
    fn by_definition(block: &[u8], number: u32, skip_first_word: bool) -> u64 {
        let mask = u32::try_from(block.len() * 8 - 1).expect("small");
        let (mut low, mut high, mut xor) = (0_u32, 0_u32, number);
        for (at, byte) in block.iter().enumerate().skip(if skip_first_word { 8 } else { 0 }) {
            xor ^= u32::from(*byte) << (at % 4 * 8);
            for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                let index = u32::try_from(at * 8 + bit).expect("small");
                low ^= index;
                high ^= index ^ mask;
            }
        }
        u64::from(high) << 48 | u64::from(low) << 32 | u64::from(xor)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_sum_is_that_of_the_definition(
            bytes in proptest::collection::vec(any::<u8>(), 8192),
            number: u32,
            size in 0..4_usize,
        ) {
            let block = &bytes[..1024 << size];
            prop_assert_eq!(block_checksum(block, number), by_definition(block, number, false));
            prop_assert_eq!(first_block_checksum(block, number), by_definition(block, number, true));
        }

        #[test]
        fn every_wrong_bit_is_named(bytes in proptest::collection::vec(any::<u8>(), 8192), size in 0..4_usize, bit: u16) {
            let mut block = bytes[..1024 << size].to_vec();
            let bit = usize::from(bit) % (block.len() * 8);
            let stored = block_checksum(&block, 7);
            block[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(wrong_bit(stored, block_checksum(&block, 7), block.len()), Some(bit));
        }
    }

    #[test]
    fn a_bit_that_the_block_does_not_have_is_not_the_wrong_one() {
        let block = vec![0x5A; 4096];
        let mut damaged = block.clone();
        damaged[100] ^= 1;
        let (stored, computed) = (block_checksum(&block, 3), block_checksum(&damaged, 3));
        assert_eq!(wrong_bit(stored, computed, 4096), Some(800));
        assert_eq!(
            wrong_bit(stored ^ 1 << 47, computed, 4096),
            None,
            "an index of 16 bits, where 15 are all there are"
        );
    }

    #[test]
    fn two_wrong_bits_are_not_taken_for_one() {
        let block = vec![0x5A; 4096];
        let stored = block_checksum(&block, 3);
        for (one, other) in [(0, 1), (5, 4096), (100, 32767), (8, 40)] {
            let mut damaged = block.clone();
            damaged[one / 8] ^= 1 << (one % 8);
            damaged[other / 8] ^= 1 << (other % 8);
            assert_eq!(wrong_bit(stored, block_checksum(&damaged, 3), 4096), None, "{one} and {other}");
        }
    }
}
