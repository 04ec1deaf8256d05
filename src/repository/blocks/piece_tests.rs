//! Pieces of what is put together from blocks: what they hold, and what they cost.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::BLOCK_BYTES;
use super::tests::{Chain, noise, whole};
use crate::durable::Put;
use crate::error::Result;
use crate::repository::local::LocalStore;
use crate::repository::store::{Held, Item, Node, Reading, Store, Writing};
use crate::stream::source::{Attributes, Hole};

/// A store that counts what is read of it.
#[derive(Debug)]
struct Counting(LocalStore, Arc<AtomicU64>);

struct CountedReading(Box<dyn Reading>, Arc<AtomicU64>);

impl Read for CountedReading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.0.read(buffer)?;
        self.1.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

impl Reading for CountedReading {}

#[rustfmt::skip] // a line each: nobody calls them
impl Store for Counting {
    fn describe(&self, path: &Path) -> PathBuf { self.0.describe(path) }
    fn open(&self, path: &Path, offset: u64, fresh: bool) -> Result<Box<dyn Reading>> {
        Ok(Box::new(CountedReading(self.0.open(path, offset, fresh)?, Arc::clone(&self.1))))
    }
    fn create(&self, _: &Path) -> Result<Box<dyn Writing>> { unreachable!() }
    fn go_on(&self, _: &Path, _: u64) -> Result<Box<dyn Writing>> { unreachable!() }
    fn size(&self, _: &Path) -> Result<Option<u64>> { unreachable!() }
    fn node(&self, _: &Path) -> Result<Option<Node>> { unreachable!() }
    fn put(&self, _: &Path, _: &[u8], _: Put) -> Result<()> { unreachable!() }
    fn make_directory(&self, _: &Path) -> Result<()> { unreachable!() }
    fn make_link(&self, _: &Path, _: &Path) -> Result<()> { unreachable!() }
    fn make_hard_link(&self, _: &Path, _: &Path) -> Result<bool> { unreachable!() }
    fn is_same_file(&self, _: &Path, _: &Path) -> Result<bool> { unreachable!() }
    fn dress(&self, _: &Path, _: &Attributes) -> Result<()> { unreachable!() }
    fn list(&self, _: &Path) -> Result<Vec<Item>> { unreachable!() }
    fn link_target(&self, _: &Path) -> Result<PathBuf> { unreachable!() }
    fn promote(&self, _: &Path, _: &Path) -> Result<()> { unreachable!() }
    fn remove(&self, _: &Path) -> Result<()> { unreachable!() }
    fn sweep(&self, _: &Path) -> Result<u64> { unreachable!() }
    fn sync(&self) -> Result<()> { unreachable!() }
    fn try_lock(&self, _: &Path) -> Result<Option<Box<dyn Held>>> { unreachable!() }
    fn try_hold(&self, _: &Path, _: bool) -> Result<Option<Box<dyn Held>>> { unreachable!() }
    fn free_bytes(&self) -> Result<Option<u64>> { unreachable!() }
}

/// A chain whose store counts from now on.
fn counted(mut chain: Chain) -> (Chain, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let store = LocalStore::open(chain.folder.path()).expect("opened");
    chain.shelf.store = Arc::new(Counting(store, Arc::clone(&count)));
    (chain, count)
}

/// A version of 32 MiB, half of which changed block by block: as much is here as elsewhere.
fn large_chain() -> (Chain, Vec<u8>) {
    let mut chain = Chain::new();
    let mut content = noise(1, 32 << 20);
    chain.add(&whole(&content)).expect("stored");
    for block in (0..content.len()).step_by(2 * BLOCK_BYTES) {
        content[block] ^= 1;
    }
    assert!(chain.add(&whole(&content)).expect("stored"));
    (chain, content)
}

#[test]
fn a_piece_far_inside_costs_the_tables_before_it_and_no_content() {
    let (chain, content) = large_chain();
    let (chain, count) = counted(chain);
    let offset = content.len() - 3 * BLOCK_BYTES - 7;
    let piece = chain.assembled().expect("opened").read_from(offset as u64, 5000).expect("read");
    assert!(piece == content[offset..][..5000]);
    let read = count.load(Ordering::Relaxed);
    assert!(read < 1 << 20, "{read} bytes were read for 5000");
}

#[test]
fn pieces_one_after_the_other_cost_reading_the_file_once() {
    let (chain, content) = large_chain();
    let (chain, count) = counted(chain);
    let mut all = Vec::new();
    assert!(chain.content(&[1 << 20]).expect("put together") == content);
    let once = count.swap(0, Ordering::Relaxed);
    let mut assembled = chain.assembled().expect("opened");
    while all.len() < content.len() {
        let piece = assembled.read_from(all.len() as u64, 1 << 20).expect("read");
        assert!(!piece.is_empty());
        all.extend(piece);
    }
    assert!(all == content);
    let read = count.load(Ordering::Relaxed);
    assert!(read <= once + (1 << 20), "{read} bytes were read, and {once} at once");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_piece_is_cut_out_wherever_it_lies(
        (first, edits) in (1..20_usize, proptest::collection::vec((0..20_usize, 0..3_u8), 0..6)),
        tail in 0..BLOCK_BYTES,
        wanted in proptest::collection::vec((0..90_000_u64, 0..20_000_usize), 1..6),
        with_holes in any::<bool>(),
    ) {
        let mut chain = Chain::new();
        let mut content = noise(3, first * BLOCK_BYTES + tail);
        chain.add(&whole(&content)).expect("stored");
        for (block, sort) in edits {
            let begin = (block * BLOCK_BYTES).min(content.len());
            let end = (begin + (usize::from(sort) + 1) * BLOCK_BYTES).min(content.len());
            if sort == 1 { content[begin..end].fill(0) } else if begin < end { content[begin] ^= 0x55 }
        }
        content.push(1); // so that something changed
        prop_assert!(chain.add(&whole(&content)).expect("stored"));
        let open = || {
            let assembled = chain.assembled().expect("opened");
            if with_holes { assembled.with_holes(vec![Hole(BLOCK_BYTES as u64, 9000)]) } else { assembled }
        };
        let mut assembled = open();
        for (offset, length) in wanted {
            if assembled.at() > offset {
                assembled = open();
            }
            let begin = usize::try_from(offset).expect("small").min(content.len());
            let end = (begin + length).min(content.len());
            prop_assert!(assembled.read_from(offset, length).expect("read") == content[begin..end]);
        }
    }
}
