//! The XOR checksums: of headers and old pages (`spec/ese-format.md` §4.1, §4.3), and of ranges of old logs (§4.5).

/// What the header checksum starts from; also the signature of a database.
pub const HEADER_SEED: u32 = 0x89AB_CDEF;

/// The checksum of a header, a checkpoint copy, a patch page or an old page: the XOR of all words but the first, which
/// holds it (§4.1). A tail of less than a word does not count.
pub fn header_checksum(block: &[u8]) -> u32 {
    let first = block.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    let whole = block.len() - block.len() % 4;
    xor_words(&block[..whole]) ^ first ^ HEADER_SEED
}

/// The XOR of a range's words, counted from its first byte and padded with zeros (§4.5; without the seed, which the
/// caller XORs in).
pub fn xor_words(bytes: &[u8]) -> u32 {
    let (chunks, rest) = bytes.as_chunks::<64>();
    let mut lanes = [0_u64; 8];
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane ^= u64::from_le_bytes(*word);
        }
    }
    let folded = lanes.iter().fold(0, |sum, lane| sum ^ lane);
    let mut sum = fold(folded);
    for word in rest.chunks(4) {
        let mut padded = [0; 4];
        padded[..word.len()].copy_from_slice(word);
        sum ^= u32::from_le_bytes(padded);
    }
    sum
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are wanted, as one")]
fn fold(word: u64) -> u32 {
    (word ^ word >> 32) as u32
}

/// Whether every byte is zero; stops at the first that is not.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    let zero = |chunk: &[u8; 64]| chunk.iter().fold(0, |sum, byte| sum | byte) == 0;
    chunks.iter().all(zero) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_are_summed_as_the_format_says(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let plain = bytes.chunks(4).fold(0, |sum, word| {
                word.iter().rev().fold(0, |value: u32, byte| value << 8 | u32::from(*byte)) ^ sum
            });
            prop_assert_eq!(xor_words(&bytes), plain);
            prop_assert_eq!(is_zero(&bytes), bytes.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn one_byte_that_is_not_zero_is_seen_wherever_it_lies() {
        for length in [1, 63, 64, 65, 4096] {
            for at in 0..length {
                let mut bytes = vec![0; length];
                assert!(is_zero(&bytes));
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{at} of {length}");
            }
        }
    }
}
