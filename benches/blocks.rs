//! How fast the content of a file becomes a file of blocks: one core, with nothing read from a disk.
//!
//! `cargo bench --bench blocks`: prints medians of nine rounds in GB/s: of the hash of each block alone, of a file that is
//! stored whole, of one that did not change, and of one in which one block of a hundred did.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jetbak::repository::blocks::{BLOCK_BYTES, BlockKey, BlocksWriter, Shelf};
use jetbak::repository::local::LocalStore;
use jetbak::stream::earlier::{Earlier, Within};
use jetbak::stream::pipeline::CHUNK_BYTES;

const ROUNDS: usize = 9;
const FILE_BYTES: usize = 512 << 20;
const FULL: &str = "000001-20261122T093015Z-full";
const PLACE: &str = "data/main.db";

fn main() {
    let memory = tempfile::tempdir_in("/dev/shm");
    let folder = memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory");
    let store = Arc::new(LocalStore::open(folder.path()).expect("opened"));
    let shelf = Shelf { store, key: BlockKey::draw().expect("drawn"), fresh: false };
    let content = content();
    let mut changed = content.clone();
    for block in changed.chunks_mut(BLOCK_BYTES).step_by(100) {
        block[1000] ^= 0xff;
    }
    let full = Path::new("backups").join(FULL);
    let next = Path::new("backups/000002-20261122T103015Z-incremental");
    let place = Path::new(PLACE);

    report("hash of each block", || {
        for block in content.chunks(BLOCK_BYTES) {
            black_box(shelf.key.hash(black_box(block)));
        }
    });
    report("stored whole", || {
        write(BlocksWriter::index(&shelf, &full, place), &content);
    });
    let facts = write(BlocksWriter::index(&shelf, &full, place), &content);
    let (backup, blocks, size) = (FULL.to_owned(), facts, content.len() as u64);
    let earlier = Earlier { backup, place: place.to_owned(), within: Within::Data, blocks, size, sha256: None };
    let compare = || BlocksWriter::compare(&shelf, next, place, &earlier, place).expect("opened");
    report("nothing changed", || {
        assert!(write(compare(), &content).is_none());
    });
    report("one block in a hundred", || {
        write(compare(), &changed);
    });
    let facts = write(compare(), &changed).expect("something changed");
    println!("one block in a hundred: {} bytes for {}", facts.bytes, content.len());
}

/// Hands a file to a writer in chunks, as a pipeline does; its file of blocks, if it has one.
fn write(mut writer: BlocksWriter, content: &[u8]) -> Option<jetbak::stream::earlier::BlockFacts> {
    for chunk in content.chunks(CHUNK_BYTES) {
        writer.write(black_box(chunk)).expect("taken");
    }
    writer.finish().expect("written").map(|written| written.facts)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn report(what: &str, work: impl Fn()) {
    let mut rates = [0.0; ROUNDS];
    for rate in &mut rates {
        let begun = Instant::now();
        work();
        *rate = FILE_BYTES as f64 / begun.elapsed().as_secs_f64() / 1e9;
    }
    rates.sort_by(f64::total_cmp);
    println!("{what:24}  {:6.1} GB/s", rates[ROUNDS / 2]);
}

/// Bytes of which no block is zero or like another.
fn content() -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    while bytes.len() < FILE_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((state | 1).to_le_bytes());
    }
    bytes
}
