//! How fast pages are proven: one core, each format and page size, beside the sum of the same buffer in the same run.
//!
//! `cargo bench --bench pages`: prints medians of nine rounds, in GB/s, for a buffer that stays in the core's cache and
//! one that comes from memory. `cargo bench --bench pages -- --write FILE MIB` writes a database of sound pages instead,
//! for `benches/check`.

use std::hint::black_box;
use std::time::Instant;

use jetbak::engine::ese::checksum::header_checksum;
use jetbak::engine::ese::page::{Format, PageNumber, PageSize, sums, verify_pages};

const ROUNDS: usize = 9;
/// Bytes that each round goes through at least.
const ROUND_BYTES: usize = 1 << 30;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--write") {
        let mebibytes: usize = arguments[at + 2].parse().expect("a number of MiB");
        return write_database(&arguments[at + 1], mebibytes << 20);
    }
    println!("{:>10}  {:8}  {:>6}  {:>6}  {:>6}", "buffer", "pages", "sum", "proof", "ratio");
    for buffer_bytes in [256 << 10, 256 << 20] {
        for (format, size) in formats() {
            let buffer = pages(buffer_bytes, format, size);
            // Turn and turn about, so that what else the machine does meets both.
            let mut rates = [[0.0; ROUNDS]; 2];
            let [sums, proofs] = &mut rates;
            for (summed, proven) in sums.iter_mut().zip(proofs) {
                *summed = rate(&buffer, sum);
                *proven = rate(&buffer, |buffer| {
                    let counts = verify_pages(buffer, size, PageNumber(1), &mut |number, _, _| panic!("page {number}"));
                    counts.good_ecc + counts.good_xor
                });
            }
            let [sum, proof] = rates.map(median);
            let name = format!("{} {size}", if format == Format::Ecc { "ECC" } else { "XOR" });
            println!("{buffer_bytes:>10}  {name:8}  {sum:6.1}  {proof:6.1}  {:6.2}", proof / sum);
        }
    }
}

/// Every format with the page sizes it is used with.
fn formats() -> Vec<(Format, PageSize)> {
    let old = PageSize::ALL.into_iter().filter(|size| !size.is_large()).map(|size| (Format::Xor, size));
    old.chain(PageSize::ALL.into_iter().map(|size| (Format::Ecc, size))).collect()
}

fn sum(buffer: &[u8]) -> u64 {
    let (words, _) = buffer.as_chunks::<8>();
    words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(buffer: &[u8], work: impl Fn(&[u8]) -> u64) -> f64 {
    let times = (ROUND_BYTES / buffer.len()).max(1);
    let begun = Instant::now();
    for _ in 0..times {
        black_box(work(black_box(buffer)));
    }
    (buffer.len() * times) as f64 / begun.elapsed().as_secs_f64() / 1e9
}

fn median(mut rates: [f64; ROUNDS]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}

/// Sound pages, numbered from 1, full of what looks like chance.
fn pages(bytes: usize, format: Format, size: PageSize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut buffer = vec![0; bytes];
    for word in buffer.as_chunks_mut::<8>().0 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *word = (state ^ state >> 29).to_le_bytes();
    }
    for (number, page) in (1..).zip(buffer.chunks_exact_mut(size.bytes())) {
        let flags = if format == Format::Ecc { 0x2000_u32 } else { 0 };
        page[36..40].copy_from_slice(&flags.to_le_bytes());
        if size.is_large() {
            page[64..68].copy_from_slice(&u32::to_le_bytes(number));
        }
        if format == Format::Xor {
            page[4..8].copy_from_slice(&u32::to_le_bytes(number));
            let checksum = header_checksum(page);
            page[..4].copy_from_slice(&checksum.to_le_bytes());
            continue;
        }
        for block in (0..4).rev() {
            // The first block covers the checksums of the others.
            let (_, computed) = sums(page, size, PageNumber(number), format);
            if let Some(sum) = computed.as_slice().get(block) {
                let at = if block == 0 { 0 } else { 32 + 8 * block };
                page[at..at + 8].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
    buffer
}

/// A clean database with pages of 4 KiB.
fn write_database(path: &str, bytes: usize) {
    let size = PageSize::KIB_4;
    let mut header = vec![0; size.bytes()];
    for (at, field) in [(4, 0x89AB_CDEF), (8, 0x620), (24, 1), (52, 3), (236, 4096), (667, 1)] {
        header[at..at + 4].copy_from_slice(&u32::to_le_bytes(field));
    }
    let checksum = header_checksum(&header);
    header[..4].copy_from_slice(&checksum.to_le_bytes());
    let mut file = header.repeat(2);
    file.extend(pages(bytes - file.len(), Format::Ecc, size));
    std::fs::write(path, file).expect("written");
}
