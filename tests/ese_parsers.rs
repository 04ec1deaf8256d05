//! Whatever a file holds, the parsers end, do not panic, and allocate nothing that a field asks for.

mod common;

use std::sync::Arc;

use common::Host;
use common::ese::{self, DatabaseFile, LogFile, STREAM};
use jetbak::engine::ese::body::BodyVerifier;
use jetbak::engine::ese::chain::{Link, misfits};
use jetbak::engine::ese::fields::{Signature, attachments};
use jetbak::engine::ese::files::Found;
use jetbak::engine::ese::flush_map::entry;
use jetbak::engine::ese::judge::{Inside, judge_file, judge_named};
use jetbak::engine::ese::log::{LogHeader, LogName};
use jetbak::engine::ese::page::{PageNumber, PageSize, corrected, verify_page, verify_pages};
use jetbak::engine::ese::prove::{Flaw, Prover, What};
use jetbak::engine::ese::ranges::need;
use jetbak::engine::ese::recognise::{Content, HEAD_BYTES, recognise};
use jetbak::engine::ese::space::last_owned_page;
use proptest::prelude::*;

/// Does with a file all that a check does; what comes of it does not matter.
fn swallow(bytes: &[u8]) {
    let length = bytes.len() as u64;
    let content = recognise(&bytes[..bytes.len().min(HEAD_BYTES)], length);
    let _ = format!("{content:?}");
    let found = Found { path: Arc::from(std::path::Path::new("edb00001.log")), size: length, content };
    let mut inside = Inside::default();
    match &found.content {
        Content::Database(header, _) => {
            let size = header.page_size;
            let pages = bytes.get(2 * size.bytes()..).unwrap_or_default();
            verify_pages(pages, size, PageNumber(1), &mut |number, page, _| {
                let _ = corrected(page, size, number);
            });
            inside.owned = last_owned_page(size, &mut |number| {
                let begin = usize::try_from(size.offset_of(number)).ok()?;
                bytes.get(begin..begin.checked_add(size.bytes())?).map(<[u8]>::to_vec)
            });
            let _ = need(header, None);
        }
        Content::Log(header, _) => {
            verify_log(header, bytes, 4096);
            verify_log(header, bytes, 777);
        }
        _ => {}
    }
    for finding in judge_file(&found, &inside).into_iter().chain(judge_named(&found)) {
        let _ = format!("{finding:?}");
    }
}

/// Proves a log in pieces of some length; what is found does not depend on it.
fn verify_log(header: &LogHeader, bytes: &[u8], piece: usize) -> String {
    let mut damages = Vec::new();
    let mut verifier = BodyVerifier::new(header, bytes.len() as u64);
    for piece in bytes.chunks(piece) {
        verifier.feed(piece, &mut |damage| damages.push(damage));
    }
    let facts = verifier.finish(&mut |damage| damages.push(damage));
    format!("{facts:?} {damages:?}")
}

/// One file of each kind, small.
fn kinds() -> Vec<Vec<u8>> {
    let small = DatabaseFile { owned: 9, ahead: 1, ..DatabaseFile::dirty(5, 7) };
    let attached = vec![(7, "D:\\data\\Web.edb".to_owned())];
    let mut kinds: Vec<_> = [2048, 4096, 8192, 16384, 32768]
        .into_iter()
        .map(|page_size| DatabaseFile { page_size, deep_tree: page_size > 4096, ..small.clone() }.build())
        .collect();
    kinds.extend([
        LogFile { shadow: true, attached, ..LogFile::new(5) }.build(),
        LogFile { shadow: true, ..LogFile::new(5) }.build_v7(),
        ese::checkpoint(5, STREAM),
        small.flush_map(true),
        DatabaseFile { full_current: (5, 0), ..small }.patch_file(),
    ]);
    kinds
}

/// Makes the header at the beginning hold again, whatever it says now: so that what is behind the checksum is tried.
fn reseal(bytes: &mut [u8], kind: usize) {
    let length = [2048, 4096, 8192, 16384, 32768, 4096, 4096, 4096, 8192, 4096][kind];
    if let Some(header) = bytes.get_mut(..length) {
        ese::seal_header(header);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_at_random_are_swallowed(bytes in prop::collection::vec(any::<u8>(), 0..70_000), file_type in 0_u8..12) {
        swallow(&bytes);
        let mut bytes = bytes;
        if bytes.len() > 8192 {
            bytes[667..671].copy_from_slice(&[file_type, 0, 0, 0]);
            bytes[4..8].copy_from_slice(&ese::SEED.to_le_bytes());
            swallow(&bytes);
            ese::seal_header(&mut bytes[..4096]);
            swallow(&bytes);
            ese::seal_header(&mut bytes[..8192]);
            swallow(&bytes);
        }
        let _ = attachments(&bytes);
        let _ = entry(&bytes, PageNumber(u32::from(file_type) * 0x1234_5678 % 0xFFFF_FFF1));
    }

    #[test]
    fn mutants_are_swallowed(
        kind in 0..10_usize,
        changes in prop::collection::vec((0..1_000_000_usize, any::<u8>()), 1..40),
        in_header: bool,
    ) {
        let mut bytes = kinds().swap_remove(kind);
        for (at, byte) in changes {
            let at = at % if in_header { bytes.len().min(2800) } else { bytes.len() };
            bytes[at] = byte;
        }
        swallow(&bytes);
        reseal(&mut bytes, kind);
        swallow(&bytes);
    }

    #[test]
    fn the_records_of_an_old_log_may_say_anything(fields in prop::collection::vec(any::<u32>(), 5), small: bool, sector: u16) {
        let mut bytes = LogFile { shadow: true, ..LogFile::new(5) }.build_v7();
        for (index, field) in fields.iter().enumerate() {
            ese::put_u32(&mut bytes, 4097 + 4 * index, if small { field % 700 } else { *field });
        }
        swallow(&bytes);
        ese::put_u16(&mut bytes, 8, sector);
        reseal(&mut bytes, 6);
        swallow(&bytes);
    }

    #[test]
    fn a_log_amounts_to_the_same_in_pieces_of_any_length(piece in 1..9000_usize, v7: bool, flips in prop::collection::vec(4096..40_000_usize, 0..3)) {
        let log = LogFile { shadow: true, ..LogFile::new(5) };
        let mut bytes = if v7 { log.build_v7() } else { log.build() };
        for at in flips {
            let at = at % bytes.len();
            if at >= 4096 { bytes[at] ^= 0x18 }
        }
        let header = LogHeader::parse(&bytes);
        prop_assert_eq!(verify_log(&header, &bytes, piece), verify_log(&header, &bytes, bytes.len()));
    }

    #[test]
    fn pages_and_trees_of_noise_are_swallowed(seed: u64, size in 0..5_usize, tags in 0_u16..4096) {
        let size = PageSize::ALL[size];
        let mut page = vec![0; size.bytes()];
        ese::noise(&mut page, seed);
        let _ = verify_page(&page, size, PageNumber(7));
        ese::put_u16(&mut page, 34, tags);
        let mut reads = 0;
        let _ = last_owned_page(size, &mut |_| { reads += 1; Some(page.clone()) });
        prop_assert!(reads <= 20, "a tree that goes in a circle ends");
    }

    #[test]
    fn names_of_logs_may_be_anything(name in prop::collection::vec(any::<u8>(), 0..20)) {
        use std::os::unix::ffi::OsStrExt;
        let _ = LogName::parse(std::ffi::OsStr::from_bytes(&name));
    }

    #[test]
    fn chains_of_any_generations_are_judged(generations in prop::collection::vec(prop_oneof![any::<u32>(), 1_u32..6], 0..12)) {
        let headers: Vec<_> = generations
            .iter()
            .map(|generation| LogHeader::parse(&LogFile { generation: *generation, created: 1, ..LogFile::new(1) }.build()))
            .collect();
        let name = LogName::parse(std::ffi::OsStr::new("edb00003.log")).expect("a log");
        let links: Vec<_> = headers.iter().map(|header| Link { name: &name, header }).collect();
        let signature = headers.first().map_or(Signature([0; 28]), |header| header.signature);
        let _ = misfits(&links, &signature);
    }
}

#[test]
fn files_cut_anywhere_are_swallowed() {
    for bytes in kinds() {
        let lengths = (0..=bytes.len().min(16 * 1024)).step_by(if bytes.len() > 100_000 { 7 } else { 1 });
        let boundaries = (4..=bytes.len() / 4096).flat_map(|page| [page * 4096 - 1, page * 4096, page * 4096 + 1]);
        for length in lengths.chain(boundaries).filter(|length| *length <= bytes.len()) {
            swallow(&bytes[..length]);
        }
    }
}

#[test]
#[ignore = "a minute: every length, of every kind"]
fn files_of_every_length_are_swallowed() {
    for bytes in kinds() {
        for length in 0..=bytes.len() {
            swallow(&bytes[..length]);
        }
    }
}

#[test]
fn the_commands_survive_what_they_are_given() {
    let host = Host::quick();
    let mut files = Vec::new();
    for (kind, sound) in kinds().into_iter().enumerate() {
        for round in 0..30_u64 {
            let mut bytes = sound.clone();
            let mut draws = vec![0; 60];
            ese::noise(&mut draws, round * 100 + kind as u64 + 1);
            for draw in draws.chunks(3) {
                let at = usize::from(u16::from_le_bytes([draw[0], draw[1]])) % 2800.min(bytes.len());
                bytes[at] = draw[2];
            }
            if round % 3 > 0 {
                reseal(&mut bytes, kind);
            }
            if round % 3 == 2 {
                // The kind and size as they were, so that the rest is read.
                for at in [4..8, 236..240, 667..671] {
                    bytes[at.clone()].copy_from_slice(&sound[at]);
                }
                reseal(&mut bytes, kind);
            }
            let name = format!("app/{kind}-{round}");
            host.write(&name, bytes);
            files.push(name);
        }
    }
    for command in ["inspect", "check"] {
        for json in [false, true] {
            let mut arguments = vec![command.to_owned()];
            arguments.extend(json.then(|| "--json".to_owned()));
            arguments.extend(files.iter().cloned());
            let ran = host.run_soon(&arguments).exits(3);
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        }
    }
    let ran = host.run_soon(&["check", "app"]);
    assert!(matches!(ran.code, Some(3 | 5)), "{}", ran.stderr);
}

/// What a prover finds in a file that comes in pieces; zeros as holes where there are enough of them.
fn prove_in_pieces(what: What, file: &[u8], pieces: &[usize]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut prover = Prover::new(what, file.len() as u64, false);
    let (mut rest, mut pieces) = (file, pieces.iter().cycle());
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(pieces.next().map_or(rest.len(), |piece| rest.len().min(*piece)));
        if piece.iter().all(|byte| *byte == 0) {
            prover.skip(piece.len() as u64, &mut |flaw| flaws.push(flaw));
        } else {
            prover.feed(piece, &mut |flaw| flaws.push(flaw));
        }
        rest = left;
    }
    prover.finish(&mut |flaw| flaws.push(flaw));
    flaws
}

proptest! {
    #[test]
    fn a_prover_finds_the_same_in_whatever_pieces_a_file_comes(
        pieces in proptest::collection::vec(1_usize..70_000, 1..8),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..4),
        kind in 0..3,
    ) {
        let (what, mut file) = match kind {
            0 => (What::Database(PageSize::KIB_4), DatabaseFile::new().build()),
            1 => {
                let file = DatabaseFile { page_size: 32768, owned: 12, ahead: 3, ..DatabaseFile::new() }.build();
                (What::Database(PageSize::KIB_32), file)
            }
            _ => (What::Log, LogFile::new(7).build()),
        };
        prop_assert_eq!(prove_in_pieces(what, &file, &pieces), Vec::new());
        for (index, bits) in flips {
            let at = index.index(file.len());
            file[at] ^= bits;
        }
        prop_assert_eq!(prove_in_pieces(what, &file, &pieces), prove_in_pieces(what, &file, &[file.len()]));
    }
}
