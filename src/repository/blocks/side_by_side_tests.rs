//! Several threads beside one: the same file of blocks, the same answers where something is wrong.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::tests::{BYTES, Chain, Edit, PLACE, edit, noise, whole};
use super::{BLOCK_BYTES, BlocksWriter};
use crate::error::{Error, ExitCode, Result};
use crate::stream::earlier::BlockFacts;
use crate::stream::shared::SharedFile;
use crate::stream::source::Got;
use crate::stream::stop::{Cause, StopToken};

const NAME: &str = "db/main.db";

/// A file with this content, and with holes where it is zero for long.
fn file_of(content: &[u8]) -> SharedFile {
    let file = tempfile::tempfile().expect("a temporary file");
    file.set_len(content.len() as u64).expect("sized");
    for (at, block) in (0..).step_by(BLOCK_BYTES).zip(content.chunks(BLOCK_BYTES)) {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, at).expect("written");
        }
    }
    shared(file, content.len() as u64)
}

fn shared(file: File, size: u64) -> SharedFile {
    SharedFile::new(file, Path::new("/storage").join(NAME), Path::new(NAME), size, true)
}

/// The facts of a file of blocks, and its bytes.
type FileOfBlocks = (BlockFacts, Vec<u8>);

/// A writer for the second backup of a chain.
fn second(chain: &Chain) -> BlocksWriter {
    let earlier = chain.earlier.as_ref().expect("a backup");
    let compared =
        BlocksWriter::compare(&chain.shelf, &Chain::folder_of(2), Path::new(PLACE), earlier, Path::new(NAME));
    compared.expect("opened")
}

/// Compares a file with what a chain has: how far it could be read, and the bytes and facts of the file of blocks.
fn compare(
    chain: &Chain,
    file: &SharedFile,
    segment_blocks: usize,
    took: &mut dyn FnMut(Got),
) -> Result<(u64, Option<FileOfBlocks>)> {
    let mut writer = second(chain);
    let read = writer.compare_in_segments(file, segment_blocks * BLOCK_BYTES, &StopToken::never(), took)??;
    let path = chain.shelf.store.describe(&super::path_of(&Chain::folder_of(2), Path::new(PLACE)));
    let written = writer.finish()?;
    Ok((read, written.map(|written| (written.facts, fs::read(path).expect("read")))))
}

/// A chain with one backup of some content.
fn chain_of(content: &[u8]) -> Chain {
    let mut chain = Chain::new();
    chain.add(&whole(content)).expect("stored");
    chain
}

/// The same edits, and a length around the borders of blocks and segments.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        (0..80usize, 0..3usize).prop_map(|(blocks, off)| (blocks * BLOCK_BYTES + off).saturating_sub(1)),
        0..BYTES,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn several_threads_write_the_same_file_of_blocks_as_one(
        first in proptest::collection::vec(edit(), 0..4),
        second in proptest::collection::vec(edit(), 0..4),
        length in proptest::option::of(length()),
        segment_blocks in 1..20usize,
    ) {
        let mut content = noise(1, BYTES / 2);
        for edit in &first {
            edit.apply(&mut content);
        }
        let (mut one, several) = (chain_of(&content), chain_of(&content));
        for edit in second.iter().chain(&length.map(|bytes| Edit::Resize { bytes })) {
            edit.apply(&mut content);
        }

        let is_stored = one.add(&whole(&content)).expect("stored");
        let mut took = 0;
        let (read, written) = compare(&several, &file_of(&content), segment_blocks, &mut |got| match got {
            Got::Data(bytes) => took += bytes as u64,
            Got::Hole(bytes) => took += bytes,
            Got::End => {}
        }).expect("compared");
        prop_assert_eq!((read, took), (content.len() as u64, content.len() as u64));
        prop_assert_eq!(written.is_some(), is_stored);
        if let Some((facts, bytes)) = written {
            let of_one = one.earlier.as_ref().and_then(|earlier| earlier.blocks.clone());
            prop_assert_eq!(Some(facts), of_one);
            prop_assert!(bytes == fs::read(one.blocks()).expect("read"));
        }
    }
}

#[test]
fn a_hole_that_no_disk_could_hold_is_passed_over_at_once() {
    let chain = chain_of(&noise(1, 100_000));
    let file = tempfile::tempfile().expect("a temporary file");
    file.write_all_at(&noise(1, 100_000), 0).expect("written");
    file.set_len((3 << 40) + 5).expect("sized");
    let mut holes = 0;
    let (read, written) = compare(&chain, &shared(file, (3 << 40) + 5), 4, &mut |got| {
        if let Got::Hole(bytes) = got {
            holes += bytes;
        }
    })
    .expect("compared");
    let (facts, _) = written.expect("it is longer");
    assert_eq!((read, holes), ((3 << 40) + 5, (3 << 40) + 5 - 25 * 4096));
    assert_eq!(facts.stored, 4096, "the block that was short is whole now");
}

#[test]
fn a_file_that_became_shorter_is_read_as_far_as_it_goes() {
    let content = noise(1, 40 * BLOCK_BYTES);
    for left in [0, 1, BLOCK_BYTES, 13 * BLOCK_BYTES + 7, 39 * BLOCK_BYTES] {
        let chain = chain_of(&content);
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(&content[..left], 0).expect("written");
        // The hole at its end is not even there any more.
        let file = SharedFile::new(file, "/storage/db/main.db".into(), Path::new(NAME), content.len() as u64, false);
        let read = second(&chain).compare_in_segments(&file, 4 * BLOCK_BYTES, &StopToken::never(), &mut |_| {});
        assert_eq!(read.expect("compared").expect("read"), left as u64);
    }
}

#[test]
fn what_cannot_be_read_is_an_error_of_the_file_alone() {
    let chain = chain_of(&noise(1, 100_000));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let directory = File::open(folder.path()).expect("opened");
    let file = SharedFile::new(directory, "/storage/db/main.db".into(), Path::new(NAME), 100_000, false);
    let mut writer = second(&chain);
    let read = writer.compare_in_segments(&file, 4 * BLOCK_BYTES, &StopToken::never(), &mut |_| {});
    let error = read.expect("the repository is sound").expect_err("a directory has no bytes");
    assert!(error.message().contains("/storage/db/main.db"), "{error}");
    writer.abandon().expect("taken back");
}

#[test]
fn damage_of_the_earlier_file_of_blocks_is_told_as_by_one_thread() {
    let content = noise(1, 3 * 1024 * BLOCK_BYTES);
    let chain = chain_of(&content);
    let good = fs::read(chain.blocks()).expect("read");
    let told = |error: Error| (error.exit_code(), error.message().to_owned());
    for at in [good.len() / 2, good.len() - 10] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(chain.blocks(), &bad).expect("written");
        let mut one = second(&chain);
        let of_one = one.write(&content).and_then(|()| one.finish()).expect_err("it is damaged");
        let of_several = compare(&chain, &file_of(&content), 256, &mut |_| {}).expect_err("it is damaged");
        assert_eq!(of_one.exit_code(), ExitCode::Verification);
        assert_eq!(told(of_several), told(of_one));
    }
}

#[test]
fn a_stop_in_the_middle_ends_it() {
    let content = noise(1, 400 * BLOCK_BYTES);
    let chain = chain_of(&content);
    let pieces = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&pieces);
    let stop = StopToken::new(move || (heard.load(Ordering::SeqCst) == 3).then_some(Cause::Signal(15)));
    let stopped = second(&chain).compare_in_segments(&file_of(&content), 2 * BLOCK_BYTES, &stop, &mut |_| {
        pieces.fetch_add(1, Ordering::SeqCst);
    });
    let error = stopped.expect_err("it was stopped");
    assert_eq!(error.exit_code(), Cause::Signal(15).error().exit_code());
    assert_eq!(pieces.load(Ordering::SeqCst), 3, "nothing is taken after that");
}
