//! Files of the Extensible Storage Engine, written from `spec/ese-format.md` by other code than the one that reads them:
//! databases, logs of both formats, checkpoints, flush maps, patch files; and the real samples, where they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::skip;

pub const SEED: u32 = 0x89AB_CDEF;

pub fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// §4.1
pub fn xor(block: &[u8]) -> u32 {
    block[4..].chunks(4).fold(SEED, |sum, bytes| sum ^ word(bytes))
}

/// §4.2, bit by bit: the words of the block are summed, and so are the places of the bits that are set.
pub fn ecc(block: &[u8], number: u32, skips_checksum: bool) -> u64 {
    let (mut low, mut count, mut xor) = (0_u32, 0_u32, number);
    for (index, bytes) in block.chunks(4).enumerate().skip(if skips_checksum { 2 } else { 0 }) {
        let mut left = word(bytes);
        xor ^= left;
        while left != 0 {
            low ^= u32::try_from(index).expect("small") * 32 + left.trailing_zeros();
            count += 1;
            left &= left - 1;
        }
    }
    let mask = u32::try_from(block.len() * 8 - 1).expect("small");
    let high = if count % 2 == 0 { low } else { low ^ mask };
    u64::from(high) << 48 | u64::from(low) << 32 | u64::from(xor)
}

/// Gives a page of today's format its checksums.
pub fn seal_page(page: &mut [u8], number: u32) {
    let block_bytes = if page.len() > 8192 { page.len() / 4 } else { page.len() };
    if page.len() > 8192 {
        for block in 1..4 {
            let sum = ecc(&page[block * block_bytes..(block + 1) * block_bytes], number, false);
            put_u64(page, 32 + 8 * block, sum);
        }
    }
    let sum = ecc(&page[..block_bytes], number, true);
    put_u64(page, 0, sum);
}

/// Gives a page of the old format its number and checksum.
pub fn seal_old_page(page: &mut [u8], number: u32) {
    put_u32(page, 4, number);
    let sum = xor(page);
    put_u32(page, 0, sum);
}

/// Gives a header its checksum.
pub fn seal_header(header: &mut [u8]) {
    let sum = xor(header);
    put_u32(header, 0, sum);
}

/// Where large pages keep their number.
pub fn write_page_number(page: &mut [u8], number: u32) {
    put_u32(page, 64, number);
}

/// Bytes that look random, and are the same every time.
pub fn noise(bytes: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for byte in bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
}

/// §3: a time, to the second, in UTC.
pub fn time(second: u8) -> [u8; 8] {
    [second, 30, 9, 22, 11, 126, 1, 0]
}

/// §3: who a stream or a database is.
pub fn signature(random: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    put_u32(&mut bytes, 0, random);
    bytes[4..12].copy_from_slice(&time(1));
    bytes
}

/// The stream that everything belongs to, unless told otherwise.
pub const STREAM: u32 = 0x0510_6106;
/// The database, unless told otherwise.
pub const DATABASE: u32 = 0x000D_A7A5;

/// A database: header twice, root, tree of owned extents, pages of noise, some never written.
#[derive(Clone)]
pub struct DatabaseFile {
    pub page_size: usize,
    pub state: u32,
    /// Pages that it owns.
    pub owned: u32,
    /// Zero pages that the file has beyond.
    pub ahead: u32,
    pub old_format: bool,
    pub signature: u32,
    /// 0 for a database without a log stream.
    pub stream: u32,
    pub required: (u32, u32),
    pub committed: u32,
    /// Low and high generation of the engine's own backup; an extra page of trailer follows where high is 0.
    pub full_current: (u32, u32),
    /// The highest generation in the trailer.
    pub trailer_high: u32,
    /// The tree of owned extents has a level above its leaf.
    pub deep_tree: bool,
    /// Instead of a tree, the number in the root.
    pub no_tree: bool,
    pub header_flags: u32,
    /// Signatures that pair it with its flush map.
    pub flushes: (u32, u32),
}

impl DatabaseFile {
    /// 4 KiB, clean, 30 pages of 40.
    pub fn new() -> Self {
        Self {
            page_size: 4096,
            state: 3,
            owned: 30,
            ahead: 10,
            old_format: false,
            signature: DATABASE,
            stream: STREAM,
            required: (0, 0),
            committed: 0,
            full_current: (0, 0),
            trailer_high: 0,
            deep_tree: false,
            no_tree: false,
            header_flags: 0,
            flushes: (0, 0),
        }
    }

    /// One that needs these logs.
    pub fn dirty(low: u32, high: u32) -> Self {
        Self { state: 2, required: (low, high), committed: high, ..Self::new() }
    }

    /// What a header of it is.
    pub fn header(&self) -> Vec<u8> {
        let mut header = vec![0; self.page_size];
        put_u32(&mut header, 4, SEED);
        put_u32(&mut header, 8, 0x620);
        put_u64(&mut header, 16, 0x1234_5678);
        header[24..52].copy_from_slice(&signature(self.signature));
        put_u32(&mut header, 52, self.state);
        if self.stream != 0 {
            header[108..136].copy_from_slice(&signature(self.stream));
        }
        header[64..72].copy_from_slice(&time(5));
        header[72..80].copy_from_slice(&time(3));
        put_u32(&mut header, 104, 1);
        if self.full_current.0 != 0 {
            self.mark(&mut header[184..208], self.full_current.1);
        }
        put_u32(&mut header, 208, self.header_flags);
        put_u32(&mut header, 216, 10);
        put_u32(&mut header, 232, if self.old_format { 2 } else { 20 });
        put_u32(&mut header, 236, u32::try_from(self.page_size).expect("small"));
        put_u32(&mut header, 296, self.required.0);
        put_u32(&mut header, 300, self.required.1);
        put_u32(&mut header, 416, self.committed);
        for (at, random) in [(584, self.flushes.0), (612, self.flushes.1)] {
            if random != 0 {
                header[at..at + 28].copy_from_slice(&signature(random));
            }
        }
        put_u32(&mut header, 667, 1);
        seal_header(&mut header);
        header
    }

    fn mark(&self, bytes: &mut [u8], high: u32) {
        put_u16(bytes, 2, 1);
        put_u32(bytes, 4, self.full_current.0);
        bytes[8..16].copy_from_slice(&time(9));
        put_u32(bytes, 16, self.full_current.0);
        put_u32(bytes, 20, high);
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut file = [self.header(), self.header()].concat();
        for number in 1..=self.owned {
            // Every ninth page was never written.
            let page = if number > 5 && number % 9 == 0 { vec![0; self.page_size] } else { self.page(number) };
            file.extend(page);
        }
        file.resize(file.len() + self.ahead as usize * self.page_size, 0);
        if self.full_current.0 != 0 && self.full_current.1 == 0 {
            file.extend(self.trailer());
        }
        file
    }

    fn trailer(&self) -> Vec<u8> {
        let mut page = vec![0; self.page_size];
        self.mark(&mut page[40..64], self.trailer_high);
        page[64..92].copy_from_slice(&signature(self.signature));
        page[92..120].copy_from_slice(&signature(self.stream));
        seal_header(&mut page);
        page
    }

    /// A `.pat` file of old engines for this database.
    pub fn patch_file(&self) -> Vec<u8> {
        [self.trailer(), self.trailer()].concat()
    }

    /// A page, sealed.
    pub fn page(&self, number: u32) -> Vec<u8> {
        let mut page = vec![0; self.page_size];
        put_u64(&mut page, 8, 1000 + u64::from(number));
        put_u32(&mut page, 24, 2);
        let extent = |last: u32| {
            let key = [&2_u16.to_le_bytes()[..], &[0x7F, 0x00]].concat(); // a node before: a key of two bytes
            let first = [&key[..], &[0; 4]].concat();
            let node = [&4_u16.to_le_bytes()[..], &last.to_be_bytes(), &last.to_le_bytes()].concat();
            vec![vec![0; 16], first, node]
        };
        let (flags, tags) = match number {
            1 => {
                let mut space = vec![0; 16];
                put_u32(&mut space, 0, if self.no_tree { self.owned } else { 20 });
                put_u32(&mut space, 8, u32::from(!self.no_tree));
                put_u32(&mut space, 12, 2);
                (0x1 | 0x2, vec![space])
            }
            2 if self.deep_tree => {
                // A branch whose last node, with an empty key, names page 4.
                let child = [&0_u16.to_le_bytes()[..], &4_u32.to_le_bytes()].concat();
                (0x1 | 0x4 | 0x20, vec![vec![0; 16], child])
            }
            2 => (0x1 | 0x2 | 0x20, extent(self.owned)),
            4 if self.deep_tree => {
                // A leaf whose last key takes its first two bytes from tag 0.
                let prefix = self.owned.to_be_bytes();
                let node =
                    [&2_u16.to_le_bytes()[..], &2_u16.to_le_bytes(), &prefix[2..], &self.owned.to_le_bytes()].concat();
                (0x2 | 0x20, vec![prefix[..2].to_vec(), node])
            }
            _ => (0x2, Vec::new()),
        };
        let compressed = number == 4 && self.deep_tree;
        let head = if self.page_size > 8192 { 80 } else { 40 };
        if tags.is_empty() {
            noise(&mut page[head..], u64::from(number));
        }
        let mut at = 0;
        for (index, tag) in tags.iter().enumerate() {
            let mut offset = u16::try_from(at).expect("small");
            page[head + at..head + at + tag.len()].copy_from_slice(tag);
            if compressed && index == 1 {
                // The flag: in the tag on small pages, in the node on large ones.
                if self.page_size > 8192 { page[head + at + 1] |= 4 << 5 } else { offset |= 4 << 13 }
            }
            let entry = self.page_size - 4 * (index + 1);
            put_u16(&mut page, entry, u16::try_from(tag.len()).expect("small"));
            put_u16(&mut page, entry + 2, offset);
            at += tag.len();
        }
        put_u16(&mut page, 34, u16::try_from(tags.len()).expect("small"));
        put_u32(&mut page, 36, flags | flush_type(number) << 15 | if self.old_format { 0 } else { 0x2000 });
        if self.page_size > 8192 {
            write_page_number(&mut page, number);
        }
        if self.old_format {
            seal_old_page(&mut page, number);
        } else {
            seal_page(&mut page, number);
        }
        page
    }

    /// The flush map of this database; `clean` says whether it was closed in order.
    pub fn flush_map(&self, clean: bool) -> Vec<u8> {
        let mut header = vec![0; 8192];
        put_u32(&mut header, 4, 3);
        put_u32(&mut header, 36, u32::from(clean));
        header[88..116].copy_from_slice(&signature(self.flushes.0));
        header[116..144].copy_from_slice(&signature(self.flushes.1));
        put_u32(&mut header, 667, 7);
        seal_header(&mut header);
        let mut map = vec![0; 8192];
        put_u32(&mut map, 36, 0x2000);
        for number in (1..=self.owned).filter(|number| !(number % 9 == 0 && *number > 5)) {
            let number = number as usize;
            map[64 + number / 4] |= u8::try_from(flush_type(u32::try_from(number).expect("small"))).expect("two bits")
                << (6 - 2 * (number % 4));
        }
        seal_page(&mut map, 0);
        [header, map].concat()
    }
}

/// What the flush map remembers of a page.
fn flush_type(number: u32) -> u32 {
    number % 3 + 1
}

/// A log, of either format.
#[derive(Clone)]
pub struct LogFile {
    pub generation: u32,
    pub stream: u32,
    pub created: u8,
    /// None for the first log of its stream.
    pub previous_created: Option<u8>,
    /// Segments in all, the header included (today's format).
    pub segments: u32,
    /// Segments with data.
    pub data: u32,
    /// The last one has its copy behind it.
    pub shadow: bool,
    /// The sum of the log before, where it is recorded.
    pub previous_accumulated: u64,
    /// Databases by signature and path.
    pub attached: Vec<(u32, String)>,
    pub circular: bool,
}

impl LogFile {
    /// 16 segments, 9 with data, created at its generation's second.
    pub fn new(generation: u32) -> Self {
        let second = |generation: u32| u8::try_from(generation % 60).expect("a second");
        Self {
            generation,
            stream: STREAM,
            created: second(generation),
            previous_created: (generation > 1).then(|| second(generation - 1)),
            segments: 16,
            data: 9,
            shadow: false,
            previous_accumulated: 0,
            attached: Vec::new(),
            circular: false,
        }
    }

    /// Logs that follow each other, each recording the sum of the one before; the last one has a shadow.
    pub fn chain(generations: std::ops::RangeInclusive<u32>) -> Vec<Self> {
        let last = *generations.end();
        let mut sum = 0;
        generations
            .map(|generation| {
                let log = Self { previous_accumulated: sum, shadow: generation == last, ..Self::new(generation) };
                sum = log.accumulated();
                log
            })
            .collect()
    }

    fn header(&self, sector: u16, sectors: u16, version: [u32; 4]) -> Vec<u8> {
        let mut header = vec![0; 4096];
        put_u32(&mut header, 4, self.generation);
        put_u16(&mut header, 8, sector);
        put_u16(&mut header, 10, 4096 / sector);
        put_u16(&mut header, 12, sectors);
        put_u16(&mut header, 14, 4096);
        header[16..24].copy_from_slice(&time(self.created));
        if let Some(second) = self.previous_created {
            header[24..32].copy_from_slice(&time(second));
        }
        for (at, part) in [32, 36, 40, 648].into_iter().zip(version) {
            put_u32(&mut header, at, part);
        }
        header[44..72].copy_from_slice(&signature(self.stream));
        header[72..81].copy_from_slice(b"C:\\data\\\0");
        header[639] = if self.circular { 2 } else { 0 };
        put_u64(&mut header, 653, self.previous_accumulated);
        put_u32(&mut header, 667, 3);
        let mut at = 671;
        for (index, (random, path)) in self.attached.iter().enumerate() {
            header[at] = u8::try_from(index + 1).expect("few");
            header[at + 1] = 0x20;
            let name: Vec<u8> = format!("{path}\0").encode_utf16().flat_map(u16::to_le_bytes).collect();
            put_u16(&mut header, at + 2, u16::try_from(name.len()).expect("short"));
            header[at + 36..at + 64].copy_from_slice(&signature(*random));
            header[at + 64..at + 64 + name.len()].copy_from_slice(&name);
            at += 64 + name.len();
        }
        seal_header(&mut header);
        header
    }

    /// A segment with data.
    pub fn segment(&self, number: u32) -> Vec<u8> {
        let mut segment = vec![0; 4096];
        noise(&mut segment[40..], u64::from(self.generation) << 32 | u64::from(number));
        put_u16(&mut segment, 10, u16::try_from(number).expect("small"));
        put_u32(&mut segment, 12, self.generation);
        segment[16..24].copy_from_slice(&time(self.created));
        put_u32(&mut segment, 36, 0x2000);
        seal_page(&mut segment, number);
        segment
    }

    /// What the next log records of this one.
    pub fn accumulated(&self) -> u64 {
        let stored = |number| u64::from_le_bytes(self.segment(number)[..8].try_into().expect("eight bytes"));
        (1..=self.data).fold(0, |sum, number| sum ^ stored(number))
    }

    /// The file, in today's format.
    pub fn build(&self) -> Vec<u8> {
        let segments = u16::try_from(self.segments).expect("small");
        let mut file = self.header(4096, segments, [8, 4000, 60, 140]);
        for number in 1..=self.data {
            file.extend(self.segment(number));
        }
        if self.shadow {
            file.extend(self.segment(self.data));
        }
        file.resize(self.segments as usize * 4096, 0);
        file
    }

    /// The file, in the format of old engines: ranges of sectors chained by checksum records, a shadow of the last one
    /// where that fits into its sector, and the fill pattern to the end.
    pub fn build_v7(&self) -> Vec<u8> {
        const RECORD: usize = 22;
        let sectors = 64_u16;
        let mut file = self.header(512, sectors, [7, 3704, 15, 0]);
        // Where records begin, how much they cover behind, and how many bytes follow to the next one.
        let forwards: &[(usize, usize)] =
            if self.shadow { &[(490, 86), (5765, 40), (27, 0)] } else { &[(490, 86), (5765, 0)] };
        let mut at = 4096;
        let mut back = 0;
        for (forward, gap) in forwards {
            let next = if *gap == 0 { 0 } else { forward + gap };
            file.resize(at + RECORD, 0);
            let body = at + RECORD;
            file.resize(body + forward + gap, 0);
            noise(&mut file[body..body + forward + gap], u64::from(self.generation) + at as u64);
            let sector_end = at - at % 512 + 512;
            let use_short = if body + forward > sector_end { 0x9A } else { 0xD1_u8 };
            file[at] = 42;
            file[at + 21] = use_short;
            let numbers = [back, *forward, next].map(|number| u32::try_from(number).expect("small"));
            for (index, number) in numbers.into_iter().enumerate() {
                put_u32(&mut file, at + 1 + 4 * index, number);
            }
            let words = |bytes: &[u8]| bytes.chunks(4).fold(0, |sum, bytes| sum ^ word(bytes));
            let fields = numbers[0] ^ numbers[1] ^ numbers[2] ^ u32::from(use_short) ^ self.generation;
            let before = words(&file[at - back..at]) ^ fields;
            let checksum = 0xFEED_BEAF ^ before ^ words(&file[body..body + forward]);
            put_u32(&mut file, at + 13, checksum);
            if use_short == 0x9A {
                let short = 0xDEAD_C0DE ^ before ^ words(&file[body..sector_end]);
                put_u32(&mut file, at + 17, short);
            }
            if *gap == 0 {
                fill(&mut file, sector_end.max(body + forward).next_multiple_of(512));
                if self.shadow {
                    let mut copy = file[sector_end - 512..sector_end].to_vec();
                    put_u32(&mut copy, at % 512 + 13, checksum ^ 0x5AD0_5EC7);
                    file.extend(copy);
                }
            }
            back = *gap;
            at = body + forward + gap;
        }
        fill(&mut file, usize::from(sectors) * 512);
        file
    }
}

/// Makes a file as long with the fill pattern of old engines.
pub fn fill(file: &mut Vec<u8>, length: usize) {
    while file.len() < length {
        let at = file.len() % 512;
        let byte = if at.is_multiple_of(16) { (0xDA + at) & 0xFF } else { 0xDA };
        file.push(u8::try_from(byte).expect("masked"));
    }
}

/// A checkpoint at the first segment of a generation.
pub fn checkpoint(generation: u32, stream: u32) -> Vec<u8> {
    let mut copy = vec![0; 4096];
    put_u16(&mut copy, 14, 1);
    put_u32(&mut copy, 16, generation);
    copy[20..48].copy_from_slice(&signature(stream));
    put_u32(&mut copy, 667, 4);
    seal_header(&mut copy);
    [copy.clone(), copy].concat()
}

/// A real file, perhaps compressed.
pub struct Sample {
    /// Its path below the samples, without `.gz`.
    pub name: String,
    path: PathBuf,
}

/// What lies beside the project: formats, samples.
pub fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")
}

impl Sample {
    /// All samples, in the order of their names; none, said aloud, where they are not there.
    pub fn all() -> Option<Vec<Self>> {
        let root = shared().join("data/ese");
        let mut samples = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).ok().into_iter().flatten() {
                let path = entry.expect("listed").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_none_or(|extension| extension != "md") {
                    let name = path.strip_prefix(&root).expect("below").to_str().expect("a plain name");
                    samples.push(Self { name: name.trim_end_matches(".gz").to_owned(), path });
                }
            }
        }
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        if samples.is_empty() {
            skip("the real samples are not there (../shared/data/ese)");
            return None;
        }
        Some(samples)
    }

    /// The one with this name.
    pub fn named<'a>(samples: &'a [Self], name: &str) -> &'a Self {
        samples.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("no sample {name}"))
    }

    /// Its bytes.
    pub fn read(&self) -> Vec<u8> {
        if self.path.extension().is_none_or(|extension| extension != "gz") {
            return std::fs::read(&self.path).expect("read");
        }
        let output = Command::new("gzip").arg("-dc").arg(&self.path).output().expect("gzip runs");
        assert!(output.status.success(), "{}", self.name);
        output.stdout
    }

    /// Writes all of them below a directory, under their names.
    pub fn unpack(samples: &[Self], folder: &Path) {
        for sample in samples {
            let path = folder.join(&sample.name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            std::fs::write(path, sample.read()).expect("written");
        }
    }
}
