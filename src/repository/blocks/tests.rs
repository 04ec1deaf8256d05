//! Chains of versions, written and put together again, and what damage does to them.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::repository::local::LocalStore;
use crate::stream::earlier::{BlockFacts, Earlier, Within};
use crate::stream::source::{Attributes, Got, Hole, Source, Stamp};
use sha2::{Digest, Sha256};

/// A repository of which only the content of one file exists, in backups 1, 2, ….
pub(super) struct Chain {
    pub(super) folder: TempDir,
    pub(super) shelf: Shelf,
    /// The newest version that was stored, and how many backups there are.
    pub(super) earlier: Option<Earlier>,
    backups: u64,
}

/// A piece of a version as a sink gets it.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Data(Vec<u8>),
    Hole(u64),
}

pub(super) const PLACE: &str = "data/db/main.db";

impl Chain {
    pub(super) fn new() -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        let folder = memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let store = Arc::new(LocalStore::open(folder.path()).expect("opened"));
        let shelf = Shelf { store, key: BlockKey::new([7; SECRET_BYTES]), fresh: false };
        Self { folder, shelf, earlier: None, backups: 0 }
    }

    fn id(number: u64) -> String {
        format!("{number:06}-20261122T093015Z-{}", if number == 1 { "full" } else { "incremental" })
    }

    pub(super) fn folder_of(number: u64) -> PathBuf {
        Path::new("backups").join(Self::id(number))
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The newest file of blocks.
    pub(super) fn blocks(&self) -> PathBuf {
        self.path(path_of(&self.home(), Path::new(PLACE)))
    }

    fn home(&self) -> PathBuf {
        Path::new("backups").join(&self.earlier.as_ref().expect("a backup").backup)
    }

    /// Stores the next version, whole the first time; whether something was stored.
    pub(super) fn add(&mut self, pieces: &[Piece]) -> Result<bool> {
        self.backups += 1;
        let (folder, place) = (Self::folder_of(self.backups), Path::new(PLACE));
        let mut writer = match &self.earlier {
            None => BlocksWriter::index(&self.shelf, &folder, place),
            Some(earlier) => BlocksWriter::compare(&self.shelf, &folder, place, earlier, Path::new("db/main.db"))?,
        };
        for piece in pieces {
            match piece {
                Piece::Data(bytes) => writer.write(bytes)?,
                Piece::Hole(bytes) => writer.skip(*bytes)?,
            }
        }
        let within = if self.earlier.is_some() { Within::Blocks } else { Within::Data };
        if within == Within::Data {
            self.write_plain(&folder, pieces);
        }
        let Some(Written { size, facts }) = writer.finish()? else { return Ok(false) };
        let (backup, place, blocks) = (Self::id(self.backups), place.to_owned(), Some(facts));
        self.earlier = Some(Earlier { backup, place, within, blocks, size, sha256: None });
        Ok(true)
    }

    fn write_plain(&self, folder: &Path, pieces: &[Piece]) {
        let path = self.path(folder.join(PLACE));
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        let mut file = fs::File::create(path).expect("created");
        let mut size = 0;
        for piece in pieces {
            match piece {
                Piece::Data(bytes) => file.write_all(bytes).expect("written"),
                Piece::Hole(bytes) => drop(file.seek(SeekFrom::Current(i64::try_from(*bytes).expect("small")))),
            }
            size += piece.bytes();
        }
        file.set_len(size).expect("set");
    }

    fn facts(&self) -> &BlockFacts {
        self.earlier.as_ref().and_then(|earlier| earlier.blocks.as_ref()).expect("a file of blocks")
    }

    pub(super) fn assembled(&self) -> Result<Assembled> {
        let size = self.earlier.as_ref().expect("a backup").size;
        let stamp = Stamp { device: 0, inode: 0, size, modified_ns: 0, changed_ns: 0 };
        let attributes = Attributes::plain(stamp, 0o644, 0, 0);
        Assembled::open(&self.shelf, &self.home(), Path::new(PLACE), Path::new("db/main.db"), size, attributes)
    }

    /// The newest version, read through buffers of these sizes in turn, as bytes.
    pub(super) fn content(&self, buffers: &[usize]) -> Result<Vec<u8>> {
        let mut source = self.assembled()?;
        let mut content = Vec::new();
        for bytes in buffers.iter().cycle() {
            let mut buffer = vec![0xaa; *bytes];
            match source.next(&mut buffer)? {
                Got::Data(bytes) => content.extend(&buffer[..bytes]),
                Got::Hole(bytes) => content.resize(content.len() + usize::try_from(bytes).expect("small"), 0),
                Got::End => return Ok(content),
            }
        }
        unreachable!("a cycle of buffers does not end")
    }

    /// What a check of the tables and a proof of the newest file of blocks find.
    fn findings(&self) -> Result<(Vec<Error>, Vec<BadBlock>, Proven)> {
        let (mut errors, mut bad) = (Vec::new(), Vec::new());
        let (folder, place, name) = (self.home(), Path::new(PLACE), Path::new("db/main.db"));
        let size = self.earlier.as_ref().expect("a backup").size;
        check_tables(&self.shelf, &folder, place, name, size, &mut |error| errors.push(error))?;
        let proven = prove(&self.shelf, &folder, place, name, &mut |block| bad.push(block))?;
        Ok((errors, bad, proven))
    }
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Hole(bytes) => *bytes,
        }
    }
}

pub(super) fn whole(content: &[u8]) -> Vec<Piece> {
    vec![Piece::Data(content.to_vec())]
}

/// Bytes that no two blocks have in common.
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8 | 1
    };
    (0..bytes).map(|_| next()).collect()
}

/// Content cut into pieces of these sizes in turn, zeros as holes where the size is odd.
fn cut(content: &[u8], sizes: &[usize]) -> Vec<Piece> {
    let (mut pieces, mut rest) = (Vec::new(), content);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        let is_hole = size % 2 == 1 && piece.iter().all(|byte| *byte == 0);
        pieces.push(if is_hole { Piece::Hole(piece.len() as u64) } else { Piece::Data(piece.to_vec()) });
        rest = after;
    }
    pieces
}

/// What happens to a file from one version to the next.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Write { at: usize, bytes: usize, seed: u64 },
    Zero { at: usize, bytes: usize },
    Resize { bytes: usize },
    Nothing,
}

impl Edit {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes, seed } => {
                content.resize(content.len().max(at + bytes), 0);
                content[*at..at + bytes].copy_from_slice(&noise(*seed, *bytes));
            }
            Self::Zero { at, bytes } => {
                let begin = (*at).min(content.len());
                let end = (at + bytes).min(content.len());
                content[begin..end].fill(0);
            }
            Self::Resize { bytes } => content.resize(*bytes, 0),
            Self::Nothing => {}
        }
    }
}

pub(super) const BYTES: usize = 400_000;

pub(super) fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (0..BYTES, 0..9000usize, any::<u64>()).prop_map(|(at, bytes, seed)| Edit::Write { at, bytes, seed }),
        2 => (0..BYTES, 0..300_000usize).prop_map(|(at, bytes)| Edit::Zero { at, bytes }),
        2 => (0..BYTES).prop_map(|bytes| Edit::Resize { bytes }),
        1 => (0..BYTES / BLOCK_BYTES).prop_map(|blocks| Edit::Resize { bytes: blocks * BLOCK_BYTES }),
        1 => Just(Edit::Nothing),
    ]
}

fn sizes(max: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1..100usize, 4090..4100usize, 1..max], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_version_of_a_chain_is_put_together_as_it_was(
        first in proptest::collection::vec(edit(), 1..4),
        versions in proptest::collection::vec((proptest::collection::vec(edit(), 0..4), sizes(100_000)), 1..5),
        buffers in proptest::collection::vec(prop_oneof![1..5000usize, 4096..100_000usize], 1..4),
    ) {
        let mut chain = Chain::new();
        let mut content = noise(1, BYTES / 2);
        for edit in &first {
            edit.apply(&mut content);
        }
        prop_assert!(chain.add(&whole(&content)).expect("stored"));
        for (edits, sizes) in versions {
            let before = content.clone();
            for edit in &edits {
                edit.apply(&mut content);
            }
            let is_stored = chain.add(&cut(&content, &sizes)).expect("stored");
            prop_assert_eq!(is_stored, before != content, "what is the same is not stored, and nothing else is left out");
            let is_plain = chain.earlier.as_ref().expect("a backup").within == Within::Data;
            if !is_stored {
                prop_assert!(!chain.path(Chain::folder_of(chain.backups)).exists(), "nothing is left");
            }
            if is_plain {
                continue;
            }
            prop_assert!(chain.content(&buffers).expect("put together") == content);
            let (errors, bad, proven) = chain.findings().expect("proven");
            prop_assert!(errors.is_empty() && bad.is_empty(), "{:?} {:?}", errors, bad);
            let Proven { size, stored, bytes, sha256 } = proven;
            prop_assert_eq!(&BlockFacts { bytes, sha256, stored }, chain.facts());
            prop_assert_eq!(size, content.len() as u64);
            let written = fs::read(chain.blocks()).expect("read");
            prop_assert_eq!(&hex(&Sha256::digest(&written)), &chain.facts().sha256);
        }
    }
}

/// A full of two and a half blocks, and an incremental in which the last one changed.
fn small_chain() -> (Chain, Vec<u8>) {
    let mut chain = Chain::new();
    let mut content = noise(3, 2 * BLOCK_BYTES + 100);
    content[..BLOCK_BYTES].fill(0);
    chain.add(&whole(&content)).expect("stored");
    content[2 * BLOCK_BYTES + 50] ^= 0xff;
    content.extend(noise(4, 20));
    assert!(chain.add(&whole(&content)).expect("stored"));
    assert_eq!(chain.facts().stored, 120, "the last block, and nothing else");
    (chain, content)
}

/// Every file of a chain, relative to the store.
fn files_of(chain: &Chain) -> [PathBuf; 3] {
    let full = Chain::folder_of(1);
    [full.join(PLACE), path_of(&full, Path::new(PLACE)), path_of(&chain.home(), Path::new(PLACE))]
}

/// Whether anything is found in the files of blocks of a small chain, each proven by itself, and the tables compared.
fn finds(chain: &Chain) -> bool {
    let mut bad = Vec::new();
    let (folder, place) = (Chain::folder_of(1), Path::new(PLACE));
    let index = prove(&chain.shelf, &folder, place, Path::new("db/main.db"), &mut |block| bad.push(block));
    let found = chain.findings();
    let is_good = found.is_ok_and(|(errors, blocks, _)| errors.is_empty() && blocks.is_empty());
    index.is_err() || !bad.is_empty() || !is_good
}

#[test]
fn no_bit_of_any_file_can_turn_without_being_found() {
    let (chain, content) = small_chain();
    for file in files_of(&chain) {
        let path = chain.path(&file);
        let good = fs::read(&path).expect("read");
        let is_plain =
            file.ends_with(Path::new("data").join("db/main.db")) && !file.to_string_lossy().contains("blocks");
        for at in (0..good.len()).filter(|at| !is_plain || at % 97 == 0) {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                fs::write(&path, &bad).expect("written");
                let read = chain.content(&[5000]);
                let is_same = read.as_ref().is_ok_and(|read| *read == content);
                assert!(is_same || read.is_err(), "{file:?} {at} {bit}: other content");
                if let Err(error) = read {
                    assert_eq!(error.exit_code().number(), 3, "{file:?} {at} {bit}: {error}");
                }
                if is_plain {
                    continue; // its own SHA-256 tells
                }
                assert!(finds(&chain), "{file:?} {at} {bit}: not found");
            }
        }
        fs::write(&path, &good).expect("written");
    }
    assert!(chain.content(&[5000]).expect("put together") == content);
}

#[test]
fn no_file_can_end_early_or_go_on_without_being_found() {
    let (chain, content) = small_chain();
    for file in files_of(&chain) {
        let path = chain.path(&file);
        let good = fs::read(&path).expect("read");
        let is_table = file.to_string_lossy().contains("blocks");
        let lengths = (0..good.len()).filter(|length| is_table || length % 101 == 0);
        for length in lengths.chain([good.len() + 1]) {
            let mut bad = good.clone();
            bad.resize(length, 0);
            fs::write(&path, &bad).expect("written");
            let read = chain.content(&[5000]);
            assert!(read.is_err() || read.is_ok_and(|read| read == content), "{file:?} {length}: other content");
            assert!(finds(&chain) || !is_table, "{file:?} {length}: not found");
        }
        fs::remove_file(&path).expect("removed");
        let is_missed = chain
            .content(&[5000])
            .err()
            .or_else(|| chain.findings().map_or_else(Some, |found| found.0.into_iter().next()));
        let error = is_missed.expect("a missing file is missed");
        assert!(error.message().contains("is missing"), "{error}");
        assert_eq!(error.exit_code().number(), 3);
        fs::write(&path, &good).expect("written");
    }
}

#[test]
fn damage_is_named_with_its_file_its_backup_and_its_place() {
    let (chain, _) = small_chain();
    let [plain, index, changes] = files_of(&chain).map(|file| chain.path(file));
    let turn = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).expect("read");
        bytes[at] ^= 1;
        fs::write(path, bytes).expect("written");
    };
    turn(&plain, BLOCK_BYTES + 7);
    let error = chain.content(&[1 << 20]).expect_err("damaged");
    let message = error.message();
    assert!(message.starts_with("db/main.db is damaged: 4096 bytes at byte 4096 do not have their hash"), "{message}");
    assert!(message.ends_with("000001-20261122T093015Z-full/data/db/main.db holds them"), "{message}");
    turn(&plain, BLOCK_BYTES + 7);

    let content_at = fs::metadata(&changes).expect("metadata").len() - 40 - 1;
    turn(&changes, usize::try_from(content_at).expect("small"));
    let (errors, bad, _) = chain.findings().expect("looked at");
    assert_eq!((errors.len(), bad), (0, vec![BadBlock { number: 2, offset: 8192, bytes: 120 }]));
    turn(&changes, usize::try_from(content_at).expect("small"));

    // The earlier backup's file is another one now, and so are its blocks: all is sound by itself.
    let writer = BlocksWriter::index(&chain.shelf, &Chain::folder_of(1), Path::new(PLACE));
    let mut writer = writer;
    writer.write(&noise(9, 3 * BLOCK_BYTES)).expect("taken");
    writer.finish().expect("written");
    let (errors, bad, _) = chain.findings().expect("looked at");
    assert!(bad.is_empty());
    assert_eq!(errors.len(), 1);
    let message = errors[0].message();
    assert!(message.ends_with("does not hold its block at byte 4096"), "{message}");
    assert!(index.exists());
}

#[test]
fn a_hole_of_a_tebibyte_costs_nothing() {
    let mut chain = Chain::new();
    let with =
        |first: &[u8], last: &[u8]| vec![Piece::Data(first.to_vec()), Piece::Hole(1 << 40), Piece::Data(last.to_vec())];
    let (first, last) = (noise(1, 10_000), noise(2, 5));
    let mut writer = BlocksWriter::index(&chain.shelf, &Chain::folder_of(1), Path::new(PLACE));
    writer.write(&first).expect("taken");
    writer.skip(1 << 40).expect("skipped");
    writer.write(&last).expect("taken");
    let written = writer.finish().expect("written").expect("something");
    assert!(written.facts.bytes < 500, "{written:?}");
    chain.backups = 1;
    chain.earlier = Some(Earlier {
        backup: Chain::id(1),
        place: PLACE.into(),
        within: Within::Data,
        blocks: Some(written.facts),
        size: written.size,
        sha256: None,
    });
    assert!(!chain.add(&with(&first, &last)).expect("compared"), "nothing changed");
    assert!(chain.add(&with(&first, b"other")).expect("stored"));
    assert!(chain.facts().bytes < 500 + 4096);
    let mut source = chain.assembled().expect("opened");
    let mut buffer = vec![0; 1 << 20];
    // The plain file of the full backup was never made: of what is no hole, only the last block is here.
    assert!(source.next(&mut buffer).expect_err("missing").message().contains("is missing"));
}

#[test]
fn a_chain_of_more_versions_than_are_kept_open_is_put_together() {
    const VERSIONS: usize = 80;
    let mut chain = Chain::new();
    let mut content = noise(1, 2 * VERSIONS * BLOCK_BYTES);
    chain.add(&whole(&content)).expect("stored");
    for version in 0..VERSIONS {
        for block in [version, version + VERSIONS] {
            content[block * BLOCK_BYTES..][..10].copy_from_slice(&noise(block as u64 + 2, 10));
        }
        assert!(chain.add(&whole(&content)).expect("stored"));
        assert_eq!(chain.facts().stored, 2 * BLOCK_BYTES as u64);
    }
    assert!(chain.content(&[1 << 20]).expect("put together") == content);
    let (errors, bad, _) = chain.findings().expect("proven");
    assert!(errors.is_empty() && bad.is_empty());
}

#[test]
fn a_chain_longer_than_can_be_written_down_begins_anew() {
    let mut chain = Chain::new();
    let content = noise(1, 3 * BLOCK_BYTES);
    let source = |number| BlockSource {
        backup: crate::repository::manifest::BackupId::parse(&Chain::id(number)).expect("an id"),
        within: Within::Blocks,
        place: PLACE.into(),
    };
    let sources = (1..=SOURCES_MAX as u64).map(source).collect();
    let header = Header { form: Form::Content, sources };
    let mut bytes = format::encode_header(&header, &chain.shelf.key).expect("as many as can be");
    let hashes: Vec<BlockHash> = content.chunks(BLOCK_BYTES).map(|block| chain.shelf.key.hash(block)).collect();
    format::encode_blocks(&mut bytes, 0, content.len() as u64, &hashes, &[BlockPlace::Here; 3], &chain.shelf.key);
    bytes.extend(&content);
    format::encode_end(&mut bytes, 3, content.len() as u64, content.len() as u64, &chain.shelf.key);
    chain.backups = 5000;
    let facts = BlockFacts { bytes: 0, sha256: String::new(), stored: 0 };
    let (size, blocks) = (content.len() as u64, Some(facts));
    let (backup, place, within) = (Chain::id(5000), PLACE.into(), Within::Blocks);
    chain.earlier = Some(Earlier { backup, place, within, blocks, size, sha256: None });
    let path = chain.blocks();
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, bytes).expect("written");
    assert!(chain.content(&[100]).expect("put together") == content);
    assert!(!chain.add(&whole(&content)).expect("compared"), "nothing changed");
    let longer = [&content[..], b"more"].concat();
    assert!(chain.add(&whole(&longer)).expect("stored"));
    assert_eq!(chain.facts().stored, longer.len() as u64, "all of it");
    assert!(chain.content(&[100]).expect("put together") == longer);
    assert!(chain.add(&whole(&content)).expect("stored"));
    assert_eq!(chain.facts().stored, 0, "it only became shorter");
}

#[test]
fn a_block_that_became_zeros_has_changed() {
    for (first, zeros) in [(1, 1), (1, 200), (0, 3), (299, 1)] {
        let mut chain = Chain::new();
        let mut content = noise(1, 300 * BLOCK_BYTES);
        chain.add(&whole(&content)).expect("stored");
        content[first * BLOCK_BYTES..(first + zeros) * BLOCK_BYTES].fill(0);
        assert!(chain.add(&whole(&content)).expect("stored"), "{first} {zeros}");
        assert_eq!(chain.facts().stored, 0, "zeros take no space");
        assert!(chain.content(&[7000]).expect("put together") == content, "{first} {zeros}");
    }
}

#[test]
fn zeros_are_holes_only_where_the_file_had_some() {
    const HOLE: u64 = 1 << 20;
    let mut chain = Chain::new();
    let zeros = Piece::Data(vec![0; 3 << 20]);
    chain.add(&[Piece::Data(noise(1, 5000)), zeros.clone(), Piece::Data(noise(2, 5000))]).expect("stored");
    chain.add(&[Piece::Data(noise(3, 5000)), zeros, Piece::Data(noise(4, 5000))]).expect("stored");
    let mut source = chain.assembled().expect("opened").with_holes(vec![Hole(0, 10), Hole(HOLE, HOLE)]);
    let (mut at, mut holes, mut buffer) = (0, Vec::new(), vec![1; 100_000]);
    loop {
        match source.next(&mut buffer).expect("put together") {
            Got::Data(bytes) => {
                let is_zeros = buffer[..bytes].iter().all(|byte| *byte == 0);
                assert_eq!(is_zeros, (8192..5000 + (3 << 20) - 4096).contains(&at), "{at}");
                at += bytes as u64;
            }
            Got::Hole(bytes) => {
                holes.push(Hole(at, bytes));
                at += bytes;
            }
            Got::End => break,
        }
    }
    assert_eq!((holes, at), (vec![Hole(HOLE, HOLE)], 10_000 + (3 << 20)));
}

#[test]
fn a_block_is_never_taken_for_a_longer_or_shorter_one() {
    let mut chain = Chain::new();
    let mut content = noise(1, BLOCK_BYTES);
    content.extend([0; 100]);
    chain.add(&whole(&content)).expect("stored");
    // Zeros become more and fewer, whole blocks of them too.
    for bytes in [BLOCK_BYTES + 101, BLOCK_BYTES, 2 * BLOCK_BYTES, 300 * BLOCK_BYTES + 1, 1, 0, BLOCK_BYTES] {
        content.resize(bytes, 0);
        assert!(chain.add(&whole(&content)).expect("stored"), "{bytes}");
        assert!(chain.content(&[7000]).expect("put together") == content, "{bytes}");
        assert!(!chain.add(&whole(&content)).expect("compared"), "{bytes}");
    }
}

#[test]
fn a_source_lies_below_a_root_of_a_backup() {
    for good in ["data/a", "data/sub/a", "data.logs/edb.log", "data.checkpoint/edb.chk"] {
        assert!(format::is_place(Path::new(good)), "{good}");
    }
    let bad = [
        "",
        "a",
        "data",
        "data/",
        "data.logs",
        "logs/a",
        "data.data/a",
        "data.LOGS/a",
        "data.a.b/x",
        "/data/a",
        "data/../a",
        "../data/a",
        "./data/a",
        "data//a",
        "data/a\0",
        "blocks/data/a",
        "manifest.json",
    ];
    for bad in bad {
        assert!(!format::is_place(Path::new(bad)), "{bad}");
    }
}

/// A record with numbers as they come, under a check of its own.
#[derive(Clone, Debug)]
enum Odd {
    Blocks { first: u64, bytes: u64, count: usize, place: u16 },
    Zeros { first: u64, bytes: u64 },
    End { blocks: u64, size: u64, stored: u64 },
    Content(usize),
    Noise(Vec<u8>),
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, Just(4096), Just(8192), Just(4 << 20), Just(u64::MAX), Just(u64::MAX / 4096), any::<u64>()]
}

fn odd() -> impl Strategy<Value = Odd> {
    prop_oneof![
        (number(), number(), 0..3000usize, prop_oneof![Just(0u16), Just(1), 0..60_000u16])
            .prop_map(|(first, bytes, count, place)| Odd::Blocks { first, bytes, count, place }),
        (number(), number()).prop_map(|(first, bytes)| Odd::Zeros { first, bytes }),
        (number(), number(), number()).prop_map(|(blocks, size, stored)| Odd::End { blocks, size, stored }),
        (0..9000usize).prop_map(Odd::Content),
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(Odd::Noise),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn records_that_cannot_be_end_in_an_error_and_nothing_else(odds in proptest::collection::vec(odd(), 0..6), form in any::<bool>()) {
        let mut chain = Chain::new();
        let key = chain.shelf.key.clone();
        let form = if form { Form::Content } else { Form::Index };
        let mut bytes = format::encode_header(&Header { form, sources: Vec::new() }, &key).expect("a header");
        for odd in &odds {
            match odd {
                Odd::Blocks { first, bytes: covered, count, place } => {
                    let place = match place {
                        0 => BlockPlace::Zeros,
                        1 => BlockPlace::Here,
                        other => BlockPlace::Source(other - 2),
                    };
                    let (hashes, places) = (vec![BlockHash::default(); *count], vec![place; *count]);
                    format::encode_blocks(&mut bytes, *first, *covered, &hashes, &places, &key);
                }
                Odd::Zeros { first, bytes: covered } => format::encode_zeros(&mut bytes, *first, *covered, &key),
                Odd::End { blocks, size, stored } => format::encode_end(&mut bytes, *blocks, *size, *stored, &key),
                Odd::Content(count) => bytes.extend(noise(1, *count)),
                Odd::Noise(noise) => bytes.extend(noise),
            }
        }
        chain.backups = 1;
        let (within, blocks) = (Within::Blocks, None);
        let size = odds.iter().find_map(|odd| if let Odd::End { size, .. } = odd { Some(*size) } else { None }).unwrap_or(0);
        chain.earlier = Some(Earlier { backup: Chain::id(1), place: PLACE.into(), within, blocks, size, sha256: None });
        fs::create_dir_all(chain.blocks().parent().expect("a parent")).expect("made");
        fs::write(chain.blocks(), bytes).expect("written");
        if let Ok((errors, _, proven)) = chain.findings() {
            prop_assert!(proven.stored <= proven.size && errors.is_empty());
        }
        if let Ok(mut source) = chain.assembled() {
            let (mut buffer, mut left) = (vec![0; 10_000], 100);
            while let Ok(Got::Data(_) | Got::Hole(_)) = source.next(&mut buffer) {
                left -= 1;
                prop_assert!(left > 0, "it ends");
            }
        }
    }

    #[test]
    fn no_header_of_noise_is_believed(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0..5usize) {
        let _ = format::decode_sources(&bytes, count); // whatever it says, it returns
        if let Some(head) = bytes.first_chunk() {
            prop_assert!(format::decode_head(head).is_err());
        }
    }
}
