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
use crate::stream::source::{Attributes, Got, Source, Stamp};
use sha2::{Digest, Sha256};

/// A repository of which only the content of one file exists, in backups 1, 2, ….
struct Chain {
    folder: TempDir,
    shelf: Shelf,
    /// The newest version that was stored, and how many backups there are.
    earlier: Option<Earlier>,
    backups: u64,
}

/// A piece of a version as a sink gets it.
#[derive(Clone, Debug)]
enum Piece {
    Data(Vec<u8>),
    Hole(u64),
}

const PLACE: &str = "data/db/main.db";

impl Chain {
    fn new() -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        let folder = memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let store = Arc::new(LocalStore::open(folder.path()).expect("opened"));
        let shelf = Shelf { store, key: BlockKey::new([7; SECRET_BYTES]), fresh: false };
        Self { folder, shelf, earlier: None, backups: 0 }
    }

    fn id(number: u64) -> String {
        format!("{number:06}-20261122T093015Z-{}", if number == 1 { "full" } else { "incremental" })
    }

    fn folder_of(number: u64) -> PathBuf {
        Path::new("backups").join(Self::id(number))
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The newest file of blocks.
    fn blocks(&self) -> PathBuf {
        self.path(path_of(&self.home(), Path::new(PLACE)))
    }

    fn home(&self) -> PathBuf {
        Path::new("backups").join(&self.earlier.as_ref().expect("a backup").backup)
    }

    /// Stores the next version, whole the first time; whether something was stored.
    fn add(&mut self, pieces: &[Piece]) -> Result<bool> {
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

    fn assembled(&self) -> Result<Assembled> {
        let size = self.earlier.as_ref().expect("a backup").size;
        let stamp = Stamp { device: 0, inode: 0, size, modified_ns: 0, changed_ns: 0 };
        let attributes = Attributes::plain(stamp, 0o644, 0, 0);
        Assembled::open(&self.shelf, &self.home(), Path::new(PLACE), Path::new("db/main.db"), size, attributes)
    }

    /// The newest version, read through buffers of these sizes in turn, as bytes.
    fn content(&self, buffers: &[usize]) -> Result<Vec<u8>> {
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

fn whole(content: &[u8]) -> Vec<Piece> {
    vec![Piece::Data(content.to_vec())]
}

/// Bytes that no two blocks have in common.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
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
enum Edit {
    Write { at: usize, bytes: usize, seed: u64 },
    Zero { at: usize, bytes: usize },
    Resize { bytes: usize },
    Nothing,
}

impl Edit {
    fn apply(&self, content: &mut Vec<u8>) {
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

const BYTES: usize = 400_000;

fn edit() -> impl Strategy<Value = Edit> {
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
        first.iter().for_each(|edit| edit.apply(&mut content));
        prop_assert!(chain.add(&whole(&content)).expect("stored"));
        for (edits, sizes) in versions {
            let before = content.clone();
            edits.iter().for_each(|edit| edit.apply(&mut content));
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
