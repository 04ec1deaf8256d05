//! The test vectors of `spec/ese-format.md` §13, and every wrong bit of a page and a segment.

mod common;

use common::ese::{self, DatabaseFile, Sample, write_page_number};
use jetbak::engine::ese::checksum::{header_checksum, xor_words};
use jetbak::engine::ese::ecc::{block_checksum, first_block_checksum, wrong_bit};
use jetbak::engine::ese::page::{
    Fault, Format, PageNumber, PageSize, Verdict, corrected, format_of, sums, verify_page, verify_pages,
};

/// A block of which only these bits are set.
fn bits(bytes: usize, set: &[usize]) -> Vec<u8> {
    let mut block = vec![0; bytes];
    for bit in set {
        block[bit / 8] |= 1 << (bit % 8);
    }
    block
}

/// The pseudo-random bytes of §13.1.
fn noise(length: usize) -> Vec<u8> {
    let mut x = 1_u32;
    let step = || {
        x = x.wrapping_mul(1_103_515_245).wrapping_add(12345);
        x.to_le_bytes()[2]
    };
    std::iter::repeat_with(step).take(length).collect()
}

#[test]
fn the_synthetic_vectors_of_the_ecc_checksum_hold() {
    for (bytes, skip, number, set, expected) in [
        (4096, true, 1, &[][..], 0x0000_0000_0000_0001),
        (4096, true, 1, &[64], 0x7fbf_0040_0000_0000),
        (4096, true, 5, &[0, 1, 63], 0x0000_0000_0000_0005),
        (4096, false, 5, &[0], 0x7fff_0000_0000_0004),
        (4096, false, 0, &[1], 0x7ffe_0001_0000_0002),
        (4096, true, 7, &[32767], 0x0000_7fff_8000_0007),
        (8192, true, 7, &[65535], 0x0000_ffff_8000_0007),
        (8192, true, 1, &[100, 200], 0x00ac_00ac_0000_0111),
        (2048, true, 3, &[1000], 0x3c17_03e8_0000_0103),
    ] {
        let block = bits(bytes, set);
        let computed = if skip { first_block_checksum(&block, number) } else { block_checksum(&block, number) };
        assert_eq!(computed, expected, "{bytes} bytes, bits {set:?}: {computed:016x}");
    }
}

#[test]
fn the_pseudo_random_vectors_of_all_checksums_hold() {
    assert_eq!(noise(8), [0xc6, 0x7e, 0x81, 0x6b, 0x4b, 0xfb, 0xe2, 0xfb]);
    for (length, first, later, header) in [
        (2048, 0x11d8_11d8_2294_3e8e, None, 0x50dd_0823),
        (4096, 0x0670_798f_de21_b69a, Some(0x7985_7985_4e42_3317), 0xac68_8037),
        (8192, 0xb031_b031_0b84_4595, Some(0x4fc4_b03b_9be7_c018), 0x79cd_7338),
    ] {
        let block = noise(length);
        assert_eq!(first_block_checksum(&block, 9), first);
        assert_eq!(later.map_or(later, |_| Some(block_checksum(&block, 9))), later);
        assert_eq!(header_checksum(&block), header);
    }
    // §4.5: the seed is the caller's
    assert_eq!(xor_words(&[]) ^ 0xFEED_BEAF, 0xfeed_beaf);
    assert_eq!(xor_words(&[1, 2, 3, 4, 5]) ^ 0xFEED_BEAF, 0xfaee_bcab);
    assert_eq!(xor_words(&noise(7)) ^ 0xFEED_BEAF, 0x958e_3b22);
}

#[test]
fn headers_of_real_files_hold_as_the_tables_say() {
    let Some(samples) = Sample::all() else { return };
    for (file, length, copies, expected) in [
        ("ravendb/ssdug/Data", 4096, 2, 0x010a_acbf),
        ("db/dissect-basic.edb", 4096, 2, 0x98a8_10d4),
        ("db/goese-qmgr-dirty.db", 16384, 2, 0x75cd_211a),
        ("db/dissect-large.edb", 32768, 2, 0x9334_9835),
        ("security-db-a/edb.log", 4096, 1, 0x3f03_a3d8),
        ("dhcp-backup-headers/j501E2E4.log.hdr4k", 4096, 1, 0xb208_7319),
        ("ravendb/ssdug/system/RVN.chk", 4096, 2, 0xa48b_903e),
        ("security-db-a/secedit.jfm", 8192, 1, 0xebc4_dd77),
    ] {
        let bytes = Sample::named(&samples, file).read();
        for copy in 0..copies {
            let header = &bytes[copy * length..(copy + 1) * length];
            let stored = u32::from_le_bytes(header[..4].try_into().expect("four bytes"));
            assert_eq!((stored, header_checksum(header)), (expected, expected), "{file}, copy {copy}");
        }
    }
}

#[test]
fn pages_of_real_databases_hold_as_the_tables_say() {
    let Some(samples) = Sample::all() else { return };
    let one = |sum: u64| vec![sum];
    for (file, size, number, expected) in [
        ("db/dissect-basic.edb", PageSize::KIB_4, 1, one(0x7fdf_7fdf_0001_a77c)),
        ("db/dissect-basic.edb", PageSize::KIB_4, 4, one(0x13c0_13c0_7986_4f4b)),
        ("ravendb/ssdug/Data", PageSize::KIB_4, 1, one(0x7ebe_7ebe_0001_26c2)),
        ("db/goese-SRUDB.dat", PageSize::KIB_4, 1, one(0x0165_7e9a_0001_a7a3)),
        ("db/goese-qmgr-dirty.db", PageSize::KIB_16, 1, vec![0x7d4a_02b5_001a_e81f, 1, 1, 0x001b_7fe4_0000_0011]),
        (
            "db/goese-qmgr-dirty.db",
            PageSize::KIB_16,
            4,
            vec![0x60ba_60ba_77ba_9da1, 0x7045_0fba_07bb_9375, 4, 0x041e_041e_02ca_0027],
        ),
        ("db/dissect-large.edb", PageSize::KIB_32, 1, vec![0x0131_0131_001a_28c0, 1, 1, 0x001b_ffe4_0000_0011]),
        (
            "db/dissect-large.edb",
            PageSize::KIB_32,
            100,
            vec![0xa899_a899_3673_ae1a, 0x813b_7ec4_0a1e_0666, 0xa546_5ab9_fcef_733a, 0x1751_e8ae_3849_005a],
        ),
    ] {
        let bytes = Sample::named(&samples, file).read();
        let offset = (usize::try_from(number).expect("small") + 1) * size.bytes();
        let page = &bytes[offset..offset + size.bytes()];
        let (stored, computed) = sums(page, size, PageNumber(number), Format::Ecc);
        assert_eq!(stored.as_slice(), expected, "{file}, page {number}");
        assert_eq!(computed.as_slice(), expected, "{file}, page {number}");
        assert_eq!(verify_page(page, size, PageNumber(number)), Verdict::Good(Format::Ecc));
    }
}

#[test]
fn a_wrong_bit_is_found_and_put_right_as_the_tables_say() {
    let Some(samples) = Sample::all() else { return };
    let basic = Sample::named(&samples, "db/dissect-basic.edb").read();
    let page = &basic[2 * 4096..3 * 4096];
    let mut damaged = page.to_vec();
    damaged[777 / 8] ^= 1 << (777 % 8);
    let (stored, computed) = sums(&damaged, PageSize::KIB_4, PageNumber(1), Format::Ecc);
    assert_eq!((stored.as_slice()[0], computed.as_slice()[0]), (0x7fdf_7fdf_0001_a77c, 0x0329_7cd6_0001_a57c));
    assert_eq!(corrected(&damaged, PageSize::KIB_4, PageNumber(1)), Some((page.to_vec(), 777)));

    let large = Sample::named(&samples, "db/dissect-large.edb").read();
    let page = &large[2 * 32768..3 * 32768];
    let mut damaged = page.to_vec();
    damaged[65636 / 8] ^= 1 << (65636 % 8);
    let (stored, computed) = sums(&damaged, PageSize::KIB_32, PageNumber(1), Format::Ecc);
    assert_eq!((stored.as_slice()[1], computed.as_slice()[1]), (1, 0xff9b_0064_0000_0011));
    assert_eq!(wrong_bit(stored.as_slice()[1], computed.as_slice()[1], 8192), Some(100));
    assert_eq!(corrected(&damaged, PageSize::KIB_32, PageNumber(1)), Some((page.to_vec(), 65636)));
}

/// Sound pages of one size in both formats, as another implementation makes them.
fn page(size: PageSize, format: Format, number: u32) -> Vec<u8> {
    let mut page = noise(size.bytes());
    ese::put_u32(&mut page, 36, if format == Format::Ecc { 0x2000 } else { 0 });
    if size.is_large() {
        page[40..64].fill(0);
        write_page_number(&mut page, number);
    }
    if format == Format::Ecc {
        ese::seal_page(&mut page, number);
    } else {
        ese::seal_old_page(&mut page, number);
    }
    page
}

/// Flips bits of a page, one at a time, and demands that each is found; says how many would be corrected.
fn flip(page: &[u8], size: PageSize, number: u32, flips: impl Iterator<Item = usize>) -> usize {
    let mut damaged = page.to_vec();
    let mut correctable = 0;
    for bit in flips {
        damaged[bit / 8] ^= 1 << (bit % 8);
        match verify_page(&damaged, size, PageNumber(number)) {
            Verdict::Damaged(damage) => match damage.fault {
                Fault::OneBit(found) => {
                    assert_eq!(found, bit, "of {size}");
                    correctable += 1;
                }
                Fault::Checksum => {}
                Fault::Number(_) => panic!("bit {bit} of {size} makes another page of it"),
            },
            other => panic!("bit {bit} of {size} is not found: {other:?}"),
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(verify_page(&damaged, size, PageNumber(number)), Verdict::Good(format_of(page)));
    correctable
}

/// Every bit of pages of up to 8 KiB, and of segments, which are pages of 4 KiB.
#[test]
fn every_wrong_bit_of_a_small_page_is_found() {
    for size in [PageSize::KIB_2, PageSize::KIB_4, PageSize::KIB_8] {
        let bits = size.bytes() * 8;
        let page = page(size, Format::Ecc, 7);
        // All but the stored checksum and the flag that says which checksum it is.
        assert_eq!(flip(&page, size, 7, 0..bits), bits - 64 - 1, "{size}");
    }
}

#[test]
fn every_wrong_bit_of_an_old_page_is_found() {
    for size in [PageSize::KIB_2, PageSize::KIB_4, PageSize::KIB_8] {
        let page = page(size, Format::Xor, 7);
        assert_eq!(flip(&page, size, 7, 0..size.bytes() * 8), 0, "{size}");
    }
}

/// The blocks of a large page are summed apart. So each bit of one block is tried where it counts, in its block, and on
/// whole pages every bit of the header and one of each 64 others; all on whole pages in the long test below.
#[test]
fn every_wrong_bit_of_a_large_page_is_found() {
    for size in [PageSize::KIB_16, PageSize::KIB_32] {
        let page = page(size, Format::Ecc, 7);
        let (stored, _) = sums(&page, size, PageNumber(7), Format::Ecc);
        for (index, (block, stored)) in page.chunks(size.block_bytes()).zip(stored.as_slice()).enumerate() {
            let mut block = block.to_vec();
            for bit in 0..block.len() * 8 {
                block[bit / 8] ^= 1 << (bit % 8);
                let is_checksum = index == 0 && bit < 64;
                let computed = if index == 0 { first_block_checksum(&block, 7) } else { block_checksum(&block, 7) };
                if is_checksum {
                    assert_eq!(computed, *stored); // the stored half differs: seen on the whole page
                } else {
                    assert_eq!(wrong_bit(*stored, computed, block.len()), Some(bit), "block {index} of {size}");
                }
                block[bit / 8] ^= 1 << (bit % 8);
            }
        }
        let header = 80 * 8;
        let others = (header..size.bytes() * 8).step_by(67);
        let count = others.clone().count();
        assert_eq!(flip(&page, size, 7, (0..header).chain(others)), header + count - 64 - 1, "{size}");
    }
}

#[test]
#[ignore = "a minute: every bit of whole pages of 16 and 32 KiB"]
fn every_wrong_bit_of_a_whole_large_page_is_found() {
    for size in [PageSize::KIB_16, PageSize::KIB_32] {
        let bits = size.bytes() * 8;
        assert_eq!(flip(&page(size, Format::Ecc, 7), size, 7, 0..bits), bits - 64 - 1, "{size}");
    }
}

/// §4.4: a flag that says how the page is proven cannot be put right by that proof.
#[test]
fn the_flag_of_the_checksum_is_never_put_right() {
    for size in PageSize::ALL {
        let mut page = page(size, Format::Ecc, 7);
        page[37] &= !0x20;
        ese::seal_page(&mut page, 7);
        page[37] |= 0x20;
        assert_eq!(corrected(&page, size, PageNumber(7)), None, "{size}");
        let Verdict::Damaged(damage) = verify_page(&page, size, PageNumber(7)) else { panic!("not found in {size}") };
        assert_eq!(damage.fault, Fault::Checksum);
    }
}

#[test]
fn torn_swapped_misplaced_and_half_zeroed_pages_are_found() {
    for size in PageSize::ALL {
        for format in [Format::Ecc, Format::Xor] {
            if size.is_large() && format == Format::Xor {
                continue; // never written
            }
            let file =
                DatabaseFile { page_size: size.bytes(), old_format: format == Format::Xor, ..DatabaseFile::new() };
            let (bytes, page_bytes) = (file.build(), size.bytes());
            let pages = &bytes[2 * page_bytes..];
            let damaged_in = |pages: &[u8]| {
                let mut damaged = Vec::new();
                verify_pages(pages, size, PageNumber(1), &mut |number, _, _| damaged.push(number.0));
                damaged
            };
            assert_eq!(damaged_in(pages), Vec::<u32>::new(), "{size} {format:?}");
            let at = |number: usize| (number - 1) * page_bytes..number * page_bytes;
            let mut torn = pages.to_vec();
            torn.copy_within(at(5).start + page_bytes / 2..at(5).end, at(6).start + page_bytes / 2);
            assert_eq!(damaged_in(&torn), [6], "torn, {size} {format:?}");
            let mut swapped = pages.to_vec();
            swapped[at(5)].copy_from_slice(&pages[at(6)]);
            swapped[at(6)].copy_from_slice(&pages[at(5)]);
            assert_eq!(damaged_in(&swapped), [5, 6], "swapped, {size} {format:?}");
            let mut misplaced = pages.to_vec();
            misplaced.copy_within(at(7), at(5).start);
            assert_eq!(damaged_in(&misplaced), [5], "misplaced, {size} {format:?}");
            let mut zeroed = pages.to_vec();
            zeroed[at(5)][page_bytes / 2..].fill(0);
            assert_eq!(damaged_in(&zeroed), [5], "half zero, {size} {format:?}");
            let mut sector = pages.to_vec();
            sector[at(6).start..at(6).start + 512].fill(0);
            assert_eq!(damaged_in(&sector), [6], "first sector zero, {size} {format:?}");
        }
    }
}
