//! Pages of a database and their proof (`spec/ese-format.md` §4.2 to §4.4 and §6). The same proof holds for the segments
//! of logs and the pages of flush maps.

use std::fmt;

use super::checksum::{header_checksum, is_zero};
use super::ecc::{block_checksum, first_block_checksum, wrong_bit};
use super::fields::{u16_at, u32_at, u64_at};

/// How many bytes a page of a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(u32);

impl PageSize {
    /// 2 KiB.
    pub const KIB_2: Self = Self(2048);
    /// 4 KiB; also what a header that says 0 means, and what segments of logs have.
    pub const KIB_4: Self = Self(4096);
    /// 8 KiB; also what pages of flush maps have.
    pub const KIB_8: Self = Self(8192);
    /// 16 KiB.
    pub const KIB_16: Self = Self(16384);
    /// 32 KiB.
    pub const KIB_32: Self = Self(32768);
    /// All there are, the smallest first.
    pub const ALL: [Self; 5] = [Self::KIB_2, Self::KIB_4, Self::KIB_8, Self::KIB_16, Self::KIB_32];

    /// What a header's field says; none for a size that does not exist.
    pub fn from_field(field: u32) -> Option<Self> {
        let bytes = if field == 0 { 4096 } else { field };
        Self::ALL.into_iter().find(|size| size.0 == bytes)
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        self.0 as usize
    }

    /// In bytes, for arithmetic with file offsets.
    pub fn bytes_u64(self) -> u64 {
        u64::from(self.0)
    }

    /// Whether pages have four blocks and carry their number.
    pub fn is_large(self) -> bool {
        self > Self::KIB_8
    }

    /// Bytes of each block that has a checksum of its own.
    pub fn block_bytes(self) -> usize {
        if self.is_large() { self.bytes() / 4 } else { self.bytes() }
    }

    /// Bytes before the records of a page.
    pub fn header_bytes(self) -> usize {
        if self.is_large() { 80 } else { 40 }
    }

    /// Where in its file a page lies, in bytes: behind the two copies of the header.
    pub fn offset_of(self, page: PageNumber) -> u64 {
        (u64::from(page.0) + 1) * self.bytes_u64()
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB", self.0 / 1024)
    }
}

/// The number of a page: of a database from 1, of a flush map from 0, of a log's segments from 0 (the header).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageNumber(pub u32);

impl fmt::Display for PageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the flags of a page are, in bytes.
const FLAGS: usize = 36;
/// The flag of the checksum with ECC.
const FLAG_ECC: u32 = 0x2000;
/// The bit of that flag, counted in bits of the page: it is never corrected (§4.4).
const FLAG_ECC_BIT: usize = FLAGS * 8 + 13;
/// Where large pages keep the checksums of their blocks 1 to 3, in bytes.
const LATER_CHECKSUMS: usize = 40;
/// Where large pages keep their number, in bytes.
const OWN_NUMBER: usize = 64;

/// How a page is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The old one: XOR and the page's number (§4.3).
    Xor,
    /// Today's: XOR and ECC (§4.2).
    Ecc,
}

/// The checksums of a page: one, or four for a large one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    sums: [u64; 4],
    count: usize,
}

impl Sums {
    /// The checksums, in the order of the blocks.
    pub fn as_slice(&self) -> &[u64] {
        &self.sums[..self.count]
    }
}

/// As sixteen hexadecimal digits each.
impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, sum) in self.as_slice().iter().enumerate() {
            write!(f, "{}{sum:016x}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// More than one bit.
    Checksum,
    /// One bit a block: the engine would correct it. Counted in bits of the page, the first one where there are several.
    OneBit(usize),
    /// The page is sound, but it is another one: a write went astray. Holds the number that it carries.
    Number(u32),
}

/// A page that is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In which way.
    pub fault: Fault,
    /// What the page says of itself.
    pub stored: Sums,
    /// What its content amounts to.
    pub computed: Sums,
}

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It proves itself.
    Good(Format),
    /// Every byte is zero: never written, which is fine.
    Blank,
    /// It does not.
    Damaged(Damage),
}

/// Proves one page. `page` is as long as one of [`PageSize::ALL`].
pub fn verify_page(page: &[u8], size: PageSize, number: PageNumber) -> Verdict {
    debug_assert_eq!(page.len(), size.bytes());
    let format = format_of(page);
    let (stored, computed) = sums(page, size, number, format);
    if stored == computed {
        let own = u32_at(page, OWN_NUMBER);
        if size.is_large() && own != number.0 {
            return Verdict::Damaged(Damage { fault: Fault::Number(own), stored, computed });
        }
        return Verdict::Good(format);
    }
    if is_zero(page) {
        return Verdict::Blank;
    }
    Verdict::Damaged(Damage { fault: fault_of(page, size, number, format, &stored, &computed), stored, computed })
}

/// How this page is proven, by its own flag.
pub fn format_of(page: &[u8]) -> Format {
    if u32_at(page, FLAGS) & FLAG_ECC == 0 { Format::Xor } else { Format::Ecc }
}

/// The checksums stored in a page, and those that its content amounts to.
pub fn sums(page: &[u8], size: PageSize, number: PageNumber, format: Format) -> (Sums, Sums) {
    let count = if size.is_large() { 4 } else { 1 };
    let mut stored = Sums { sums: [u64_at(page, 0), 0, 0, 0], count };
    if size.is_large() {
        for (index, sum) in stored.sums[1..].iter_mut().enumerate() {
            *sum = u64_at(page, LATER_CHECKSUMS + 8 * index);
        }
    }
    let mut computed = Sums { sums: [0; 4], count };
    match format {
        Format::Xor => computed.sums[0] = u64::from(number.0) << 32 | u64::from(header_checksum(page)),
        Format::Ecc => {
            for (index, (sum, block)) in computed.sums.iter_mut().zip(page.chunks_exact(size.block_bytes())).enumerate()
            {
                *sum = if index == 0 { first_block_checksum(block, number.0) } else { block_checksum(block, number.0) };
            }
        }
    }
    (stored, computed)
}

fn fault_of(page: &[u8], size: PageSize, number: PageNumber, format: Format, stored: &Sums, computed: &Sums) -> Fault {
    match format {
        Format::Ecc => corrected(page, size, number).map_or(Fault::Checksum, |(_, bit)| Fault::OneBit(bit)),
        // Sound, but of another page: only the half that holds the number differs.
        Format::Xor if stored.sums[1..] == computed.sums[1..] && (stored.sums[0] ^ computed.sums[0]) << 32 == 0 => {
            Fault::Number(u32_at(page, 4))
        }
        Format::Xor => Fault::Checksum,
    }
}

/// The page as it was, where one wrong bit a block is all that is wrong with it, and the first wrong bit (§4.4).
///
/// A diagnosis: what is copied is copied as it is.
pub fn corrected(page: &[u8], size: PageSize, number: PageNumber) -> Option<(Vec<u8>, usize)> {
    if format_of(page) != Format::Ecc {
        return None;
    }
    let block_bytes = size.block_bytes();
    let mut page = page.to_vec();
    let mut first = None;
    for block in 0..page.len() / block_bytes {
        // Again for each block: a bit of block 0 may have been one of the checksums of the others.
        let (stored, computed) = sums(&page, size, number, Format::Ecc);
        if stored.sums[block] == computed.sums[block] {
            continue;
        }
        let bit = wrong_bit(stored.sums[block], computed.sums[block], block_bytes)?;
        let bit_of_page = block * block_bytes * 8 + bit;
        if bit_of_page == FLAG_ECC_BIT {
            return None;
        }
        page[bit_of_page / 8] ^= 1 << (bit_of_page % 8);
        first.get_or_insert(bit_of_page);
    }
    let (stored, computed) = sums(&page, size, number, Format::Ecc);
    (stored == computed).then_some(page).zip(first)
}

/// How many pages of a buffer were what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Proven, by ECC.
    pub good_ecc: u64,
    /// Proven, by the old checksum.
    pub good_xor: u64,
    /// Never written.
    pub blank: u64,
    /// Handed to the caller.
    pub damaged: u64,
}

/// Proves a buffer of whole consecutive pages, the first of which is `first`, and hands each damaged one to `report`.
/// Bytes after the last whole page are not looked at.
pub fn verify_pages(
    buffer: &[u8],
    size: PageSize,
    first: PageNumber,
    report: &mut dyn FnMut(PageNumber, &[u8], Damage),
) -> Counts {
    let mut counts = Counts::default();
    for (number, page) in (first.0..=u32::MAX).zip(buffer.chunks_exact(size.bytes())) {
        let number = PageNumber(number);
        match verify_page(page, size, number) {
            Verdict::Good(Format::Ecc) => counts.good_ecc += 1,
            Verdict::Good(Format::Xor) => counts.good_xor += 1,
            Verdict::Blank => counts.blank += 1,
            Verdict::Damaged(damage) => {
                counts.damaged += 1;
                report(number, page, damage);
            }
        }
    }
    counts
}

/// One tag of a page: the bytes it names, and its three flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Its content; on large pages the top three bits of the first word are flags, not content.
    pub bytes: &'a [u8],
    /// The flags: 4 means that the key begins with bytes of tag 0.
    pub flags: u8,
}

/// Tag `index` of a page; none where the page has no such tag, or it leaves the page (§6).
pub fn tag(page: &[u8], size: PageSize, index: usize) -> Option<Tag<'_>> {
    let mask = if size.is_large() { 0x7FFF } else { 0x1FFF };
    if index >= tag_count(page) {
        return None;
    }
    let at = size.bytes().checked_sub(4 * (index + 1))?;
    let (length, offset) = (u16_at(page, at), u16_at(page, at + 2));
    let start = size.header_bytes() + usize::from(offset & mask);
    let bytes = page.get(start..start + usize::from(length & mask))?;
    let flags = match size.is_large() {
        true if index > 0 => bytes.get(1).map_or(0, |byte| byte >> 5),
        true => 0,
        false => u8::try_from(offset >> 13).unwrap_or(0),
    };
    Some(Tag { bytes, flags })
}

/// How many tags a page has.
pub fn tag_count(page: &[u8]) -> usize {
    usize::from(u16_at(page, 34) & 0xFFF)
}

/// Whether a page's flags say that it is a leaf.
pub fn is_leaf(page: &[u8]) -> bool {
    u32_at(page, FLAGS) & 2 != 0
}

/// The two bits that the flush map of a database keeps of a page (§10).
pub fn flush_type(page: &[u8]) -> u8 {
    u8::try_from(u32_at(page, FLAGS) >> 15 & 3).unwrap_or(0)
}
