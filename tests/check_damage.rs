//! What check finds in files: every kind of damage, all of it, classified; and nothing in sound files.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::ese::{self, DatabaseFile, LogFile, Sample};
use common::{Host, Ran, Running};
use jetbak::engine::ese::check::{Listener, Report, prove};
use jetbak::engine::ese::files::Found;
use jetbak::engine::ese::finding::{Finding, Kind, Weight};
use jetbak::engine::ese::judge::{Inside, judge_file};
use jetbak::engine::ese::recognise::recognise;
use jetbak::engine::ese::survey::Survey;
use jetbak::stream::stop::StopToken;
use serde_json::Value;

/// What a check of this target finds: file, place and kind of each damage; its exit code is demanded.
#[track_caller]
fn found(host: &Host, target: &str, code: i32) -> Vec<(String, Option<u64>, String)> {
    let lines = host.run_soon(&["check", target, "--json"]).exits(code).json();
    let summary = lines.last().expect("a summary");
    assert_eq!((&summary["type"], &summary["exit_code"]), (&"summary".into(), &code.into()));
    let damages: Vec<&Value> = lines.iter().filter(|line| line["type"] == "damage").collect();
    assert_eq!(summary["damages"], damages.len());
    let place = |damage: &Value| damage["page"].as_u64().or(damage["segment"].as_u64());
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    damages.into_iter().map(|damage| (text(&damage["file"]), place(damage), text(&damage["kind"]))).collect()
}

#[track_caller]
fn finds(host: &Host, target: &str, expected: &[(Option<u64>, &str)]) {
    let found = found(host, target, if expected.is_empty() { 0 } else { 3 });
    let found: Vec<_> = found.iter().map(|(_, place, kind)| (*place, kind.as_str())).collect();
    assert_eq!(found, expected);
}

fn objects(ran: &Ran, kind: &str) -> Vec<Value> {
    ran.json().into_iter().filter(|line| line["type"] == kind).collect()
}

const PAGE: usize = 4096;

/// Where a page of 4 KiB begins.
fn at(page: usize) -> usize {
    (page + 1) * PAGE
}

#[test]
fn sound_databases_of_every_size_and_format_are_good() {
    let host = Host::new();
    for page_size in [2048, 4096, 8192, 16384, 32768] {
        for (old_format, deep_tree, no_tree) in
            [(false, false, false), (true, false, false), (false, true, false), (false, false, true)]
        {
            if old_format && page_size > 8192 {
                continue; // never written
            }
            let file = DatabaseFile { page_size, old_format, deep_tree, no_tree, ..DatabaseFile::new() };
            host.write("a", file.build());
            let ran = host.ok(&["check", "a", "--json"]);
            assert_eq!(objects(&ran, "instance")[0]["databases"][0]["last_owned_page"], 30, "{page_size}");
            let checked = &objects(&ran, "checked")[0];
            assert_eq!((&checked["good"], &checked["blank"], &checked["damaged"]), (&27.into(), &13.into(), &0.into()));
            assert_eq!(checked["old_format"], if old_format { 27 } else { 0 });
        }
    }
}

#[test]
fn damaged_pages_are_listed_and_classified() {
    let host = Host::new();
    let mut file = DatabaseFile::new().build();
    file[at(3) + 1000] ^= 0x10; // one bit
    file[at(6) + 1000] ^= 0x11; // two
    file[at(8)] ^= 1; // the stored checksum itself
    file.copy_within(at(12)..at(13), at(11)); // another page
    file[at(20) + 37] ^= 0x20; // the flag that says which checksum it is
    host.write("Web.edb", &file);
    finds(
        &host,
        "Web.edb",
        &[
            (Some(3), "correctable"),
            (Some(6), "page-checksum"),
            (Some(8), "page-checksum"),
            (Some(11), "page-checksum"),
            (Some(20), "page-checksum"),
        ],
    );
    let ran = host.run_soon(&["check", "Web.edb"]).exits(3);
    ran.prints("Web.edb: correctable: page 3 has one wrong bit (bit 8004), which the engine would correct")
        .prints("[JET_errReadVerifyFailure, -1018]")
        .says("5 damages found, 1 with one wrong bit that the engine would correct");
    assert_eq!(fs::read(host.path("Web.edb")).expect("read"), file, "nothing is changed");
    let quiet = host.run_soon(&["check", "Web.edb", "--quiet"]).exits(3);
    assert_eq!(quiet.stdout.lines().count(), 5);
}

#[test]
fn a_large_page_in_the_wrong_place_is_told_by_its_number() {
    let host = Host::new();
    let file = DatabaseFile { page_size: 16384, ..DatabaseFile::new() };
    let mut bytes = file.build();
    // Sound for its place, but it says that it is another page: sealed for 7, numbered 8.
    let mut page = file.page(7);
    ese::write_page_number(&mut page, 8);
    ese::seal_page(&mut page, 7);
    bytes[8 * 16384..9 * 16384].copy_from_slice(&page);
    host.write("a", &bytes);
    finds(&host, "a", &[(Some(7), "page-number")]);
    host.run(&["check", "a"]).exits(3).prints("[JET_errReadPgnoVerifyFailure, -1118]");
    let old = DatabaseFile { old_format: true, ..DatabaseFile::new() };
    let mut bytes = old.build();
    bytes.copy_within(at(12)..at(13), at(11));
    host.write("a", &bytes);
    finds(&host, "a", &[(Some(11), "page-number")]);
}

#[test]
fn one_wrong_bit_in_each_block_of_a_large_page_is_correctable() {
    let host = Host::new();
    for page_size in [16384, 32768] {
        let mut bytes = DatabaseFile { page_size, ..DatabaseFile::new() }.build();
        let page = 6 * page_size;
        for block in 0..4 {
            bytes[page + block * page_size / 4 + 500 + block] ^= 1 << block;
        }
        // In another page: the wrong bit is in the stored checksum of a later block.
        bytes[7 * page_size + 45] ^= 8;
        host.write("a", &bytes);
        finds(&host, "a", &[(Some(5), "correctable"), (Some(6), "correctable")]);
    }
}

#[test]
fn what_lies_beyond_the_owned_space_counts_only_when_dirty() {
    let host = Host::new();
    let garbage = |database: DatabaseFile| {
        let mut file = database.build();
        for page in [33, 35] {
            ese::noise(&mut file[at(page)..at(page + 1)], 3);
        }
        file
    };
    host.write("a", garbage(DatabaseFile::new()));
    finds(&host, "a", &[]);
    let ran = host.ok(&["check", "a", "--json"]);
    assert_eq!(ran.summary()["garbage"], 2);
    assert_eq!(objects(&ran, "garbage").iter().map(|one| one["page"].clone()).collect::<Vec<_>>(), [33, 35]);
    host.ok(&["check", "a"]).says("2 pages hold bytes of others beyond the space that the database owns");
    host.write("a", garbage(DatabaseFile::dirty(5, 7)));
    finds(&host, "a", &[(Some(33), "page-checksum"), (Some(35), "page-checksum")]);
    // With the tree of the space damaged nobody knows what is owned.
    let mut file = garbage(DatabaseFile::new());
    file[at(2) + 100] ^= 3;
    host.write("a", file);
    finds(&host, "a", &[(Some(2), "page-checksum"), (Some(33), "page-checksum"), (Some(35), "page-checksum")]);
}

#[test]
fn headers_and_lengths_are_judged() {
    let host = Host::new();
    let sound = DatabaseFile::new().build();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = sound.clone();
        change(&mut file);
        file
    };
    host.write("a", changed(&|file| file[100] ^= 1));
    finds(&host, "a", &[(None, "header")]);
    host.write("a", changed(&|file| file[PAGE + 100] ^= 1));
    finds(&host, "a", &[(None, "header")]);
    host.write("a", changed(&|file| (file[100], file[PAGE + 100]) = (1, 1)));
    finds(&host, "a", &[(None, "header")]);
    // Both good but different: the first counts, and that is only said.
    let other = DatabaseFile::dirty(5, 7).header();
    host.write("a", changed(&|file| file[PAGE..2 * PAGE].copy_from_slice(&other)));
    finds(&host, "a", &[]);
    host.ok(&["check", "a"]).says("warning: a was caught between the writes of its two headers").says("clean shutdown");
    // A second copy that is not kept means nothing.
    let mut file = DatabaseFile { header_flags: 1, ..DatabaseFile::new() }.build();
    file[PAGE..2 * PAGE].fill(7);
    host.write("a", file);
    finds(&host, "a", &[]);
    // Cut off: inside a page, between pages of the space ahead, below the owned space.
    host.write("a", &sound[..sound.len() - 100]);
    finds(&host, "a", &[(None, "size")]);
    host.write("a", &sound[..sound.len() - 3 * PAGE]);
    finds(&host, "a", &[]);
    host.write("a", &sound[..at(28)]);
    finds(&host, "a", &[(Some(30), "size")]);
    host.run(&["check", "a"]).exits(3).prints("owns pages up to 30, the file ends with page 27").prints("-1206]");
    // Zeros where the root should be.
    host.write("a", changed(&|file| file[at(1)..at(2)].fill(0)));
    finds(&host, "a", &[(Some(1), "page-checksum")]);
}

#[test]
fn states_that_nobody_can_use_are_exit_6() {
    let host = Host::new();
    for (state, number) in [(1, -550), (4, -550), (5, -550), (6, -1226), (8, -1935), (99, -550)] {
        host.write("a", DatabaseFile { state, ..DatabaseFile::new() }.build());
        host.run(&["check", "a"]).exits(6).prints(&format!("{number}]"));
        host.run(&["check", "a", "--json"]).exits(6);
    }
    host.write("a", DatabaseFile { stream: 0, ..DatabaseFile::dirty(0, 0) }.build());
    host.run(&["check", "a"])
        .exits(6)
        .prints("never had logs: it cannot be recovered [JET_errDatabaseDirtyShutdown, -550]");
    // Damage weighs more.
    let mut file = DatabaseFile { state: 1, ..DatabaseFile::new() }.build();
    file[at(6) + 9] ^= 1;
    host.write("a", file);
    host.run(&["check", "a"]).exits(3);
    for state in [2, 7] {
        host.write("a", DatabaseFile { state, ..DatabaseFile::dirty(5, 7) }.build());
        host.ok(&["check", "a"]).says("needs logs 5-7 (0x5-0x7)");
    }
}

const SEGMENT: usize = 4096;

#[test]
fn segments_of_logs_are_proven() {
    let host = Host::new();
    let log = LogFile { shadow: true, ..LogFile::new(5) };
    let sound = log.build();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = sound.clone();
        change(&mut file);
        host.write("edb.log", &file);
        host.write("edb00005.log", &file);
    };
    changed(&|_| {});
    finds(&host, "edb.log", &[]);
    changed(&|file| file[4 * SEGMENT + 100] ^= 3);
    finds(&host, "edb.log", &[(Some(4), "log-segment")]);
    changed(&|file| file[4 * SEGMENT + 100] ^= 1);
    finds(&host, "edb.log", &[(Some(4), "correctable")]);
    // A torn last segment with a good shadow: fine in the log that is written, damage in a closed one.
    changed(&|file| file[9 * SEGMENT + 512..10 * SEGMENT].fill(7));
    finds(&host, "edb.log", &[]);
    host.ok(&["check", "edb.log"]).says("segment 9 is torn, its shadow is good");
    finds(&host, "edb00005.log", &[(Some(9), "log-segment")]);
    // The shadow itself is torn.
    changed(&|file| file[10 * SEGMENT + 512..11 * SEGMENT].fill(7));
    finds(&host, "edb.log", &[(Some(10), "log-segment")]);
    // A hole in the middle: what follows comes after the end, and the shadow is that of nothing.
    changed(&|file| file[4 * SEGMENT..5 * SEGMENT].fill(0));
    finds(&host, "edb.log", &(5..=10).map(|segment| (Some(segment), "log-segment")).collect::<Vec<_>>()[..]);
    // Segments in each other's places.
    changed(&|file| file.copy_within(6 * SEGMENT..7 * SEGMENT, 5 * SEGMENT));
    finds(&host, "edb.log", &[(Some(5), "log-segment")]);
    // A later generation.
    changed(&|file| file[9 * SEGMENT..10 * SEGMENT].copy_from_slice(&LogFile::new(6).segment(9)));
    finds(&host, "edb.log", &[(Some(9), "log-segment"), (Some(10), "log-segment")]);
    changed(&|file| file.truncate(15 * SEGMENT));
    finds(&host, "edb.log", &[(None, "size")]);
    changed(&|file| file[300] ^= 1);
    finds(&host, "edb.log", &[(None, "log-header")]);
}

#[test]
fn stale_segments_of_a_recycled_log_are_fine() {
    let host = Host::new();
    let mut file = LogFile { shadow: true, data: 5, ..LogFile::new(9) }.build();
    let old = LogFile { data: 14, ..LogFile::new(4) };
    for segment in 7..15_u32 {
        let begin = segment as usize * SEGMENT;
        file[begin..begin + SEGMENT].copy_from_slice(&old.segment(segment));
    }
    host.write("edb.log", file);
    finds(&host, "edb.log", &[]);
    let checked = objects(&host.ok(&["check", "edb.log", "--json"]), "checked").remove(0);
    assert_eq!((&checked["good"], &checked["stale"], &checked["shadows"]), (&5.into(), &8.into(), &1.into()));
    assert_eq!(checked["valid_bytes"], 6 * SEGMENT);
    // The last segment of a file never holds data: what proves itself there is of a time when the file was longer.
    host.write("edb.log", LogFile { data: 15, ..LogFile::new(9) }.build());
    finds(&host, "edb.log", &[]);
    let checked = objects(&host.ok(&["check", "edb.log", "--json"]), "checked").remove(0);
    assert_eq!((&checked["good"], &checked["stale"]), (&14.into(), &1.into()));
}

#[test]
fn old_logs_are_proven_range_by_range() {
    let host = Host::new();
    for shadow in [false, true] {
        let log = LogFile { shadow, ..LogFile::new(5) };
        let sound = log.build_v7();
        host.write("edb.log", &sound);
        finds(&host, "edb.log", &[]);
        let checked = objects(&host.ok(&["check", "edb.log", "--json"]), "checked").remove(0);
        assert_eq!(
            (&checked["good"], &checked["shadows"]),
            (&(2 + u64::from(shadow)).into(), &u64::from(shadow).into())
        );
        let end = usize::try_from(checked["valid_bytes"].as_u64().expect("a number")).expect("small");
        for bit in (4096 * 8..end.min(sound.len()) * 8).step_by(1009) {
            let mut file = sound.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            host.write("edb.log", &file);
            let ran = host.run_soon(&["check", "edb.log", "--json"]);
            // Between the last range and its shadow's end lies what no checksum covers, and a torn end is recoverable.
            let is_last_sector = shadow && bit / 8 >= end - 1024;
            assert!(
                ran.code == Some(3) || (is_last_sector && ran.code == Some(0)),
                "bit {bit} of {end}: {}",
                ran.stdout
            );
        }
    }
    let mut file = LogFile { shadow: true, ..LogFile::new(5) }.build_v7();
    file.truncate(4096 + 700);
    host.write("edb.log", file);
    host.run_soon(&["check", "edb.log"]).exits(3).prints("log-segment: segment 9 does not hold what was written");
}

#[test]
fn both_copies_of_a_checkpoint_are_judged() {
    let host = Host::new();
    let sound = ese::checkpoint(5, ese::STREAM);
    for (flips, expected) in [
        (&[][..], &[][..]),
        (&[100], &[(None, "checkpoint")]),
        (&[5000], &[(None, "checkpoint")]),
        (&[100, 5000], &[(None, "checkpoint")]),
    ] {
        let mut file = sound.clone();
        for at in flips {
            file[*at] ^= 1;
        }
        host.write("edb.chk", file);
        finds(&host, "edb.chk", expected);
    }
    let other = ese::checkpoint(6, ese::STREAM);
    host.write("edb.chk", [&sound[..4096], &other[..4096]].concat());
    host.ok(&["check", "edb.chk"]).says("good but differ; the first counts");
    host.write("edb.chk", &sound[..6000]);
    finds(&host, "edb.chk", &[(None, "checkpoint"), (None, "size")]);
    host.write("edb.chk", [&sound[..], &[0; 10]].concat());
    finds(&host, "edb.chk", &[(None, "size")]);
}

#[test]
fn flush_maps_are_judged_and_tell_lost_writes() {
    let host = Host::new();
    let database = DatabaseFile { flushes: (11, 12), ..DatabaseFile::new() };
    let (file, map) = (database.build(), database.flush_map(true));
    let write = |file: &[u8], map: &[u8]| {
        host.write("app/Web.edb", file);
        host.write("app/Web.jfm", map);
    };
    write(&file, &map);
    finds(&host, "app", &[]);
    // The last write of page 7 never came to the disk: it is sound, and as it was before.
    let mut lost = file.clone();
    let page = &mut lost[at(7)..at(8)];
    ese::put_u32(page, 36, 0x2002 | 3 << 15);
    ese::seal_page(page, 7);
    lost[at(10)..at(11)].fill(0);
    write(&lost, &map);
    finds(&host, "app", &[(Some(7), "lost-write"), (Some(10), "lost-write")]);
    host.run(&["check", "app"]).exits(3).prints("[JET_errReadLostFlushVerifyFailure, -1119]");
    // A map that was not closed, or of another moment, tells nothing.
    write(&lost, &database.flush_map(false));
    finds(&host, "app", &[]);
    write(&lost, &DatabaseFile { flushes: (13, 14), ..DatabaseFile::new() }.flush_map(true));
    finds(&host, "app", &[]);
    let mut damaged = map.clone();
    damaged[9000] ^= 3;
    write(&lost, &damaged);
    finds(&host, "app", &[(Some(0), "flush-map")]);
    damaged[100] ^= 1;
    write(&file, &damaged);
    finds(&host, "app", &[(None, "flush-map")]);
}

#[test]
fn copies_that_the_engine_made_are_proven_with_their_trailer() {
    let host = Host::new();
    let copy = DatabaseFile { full_current: (5, 0), trailer_high: 7, ahead: 0, ..DatabaseFile::dirty(5, 6) };
    let sound = copy.build();
    host.write("a", &sound);
    finds(&host, "a", &[]);
    host.ok(&["check", "a"]).says("a copy made by the engine's backup; needs logs 5-7 (0x5-0x7)");
    host.write("a", &sound[..sound.len() - PAGE]);
    finds(&host, "a", &[(None, "trailer")]);
    host.run(&["check", "a"]).exits(3).prints("[JET_errBadPatchPage, -535]");
    let mut damaged = sound.clone();
    let last = damaged.len() - PAGE + 500;
    damaged[last] ^= 1;
    host.write("a", damaged);
    assert!(found(&host, "a", 3).iter().any(|(_, _, kind)| kind == "trailer"));
    let other = DatabaseFile { full_current: (4, 0), ..copy.clone() }.build();
    host.write("a", [&sound[..sound.len() - PAGE], &other[other.len() - PAGE..]].concat());
    finds(&host, "a", &[(None, "trailer")]);
    host.run(&["check", "a"]).exits(3).prints("[JET_errDatabasePatchFileMismatch, -552]");
}

#[test]
fn what_is_named_must_be_the_engines() {
    let host = Host::new();
    host.write("app/readme.txt", "hello");
    for (target, code) in [("app/readme.txt", 3), ("nowhere", 1), ("/dev/zero", 1), ("app", 1)] {
        host.run_soon(&["check", target]).exits(code);
        host.run_soon(&["check", target, "--json"]).exits(code);
    }
    host.run(&["check", "app"]).exits(1).says("no file of the Extensible Storage Engine in app (1 other files)");
    host.write("empty.edb", "");
    finds(&host, "empty.edb", &[(None, "file-type")]);
    host.write("empty.pat", "");
    finds(&host, "empty.pat", &[]);
    host.run(&["check"]).exits(2);
}

#[test]
fn a_file_that_may_not_be_read_is_said_and_the_rest_is_checked() {
    let host = Host::new();
    host.write("app/a.edb", DatabaseFile::new().build());
    host.write("app/b.edb", DatabaseFile::new().build());
    common::open_to_all(&host, "app");
    fs::set_permissions(host.path("app/a.edb"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("closed");
    let ran = common::finish(common::as_ordinary_user(&host, host.command(&["check", "app"])));
    ran.exits(1).prints("app/a.edb: unreadable: cannot open app/a.edb").says("app/b.edb: clean shutdown");
}

/// Nobody reads more than the first line, and there is more to say than a pipe takes: so it cannot be over.
#[test]
fn a_check_can_be_stopped() {
    let host = Host::new();
    let database = DatabaseFile::new();
    let mut bytes = [database.header(), database.header()].concat();
    bytes.resize(128 << 20, 0x5A);
    host.write("big.edb", bytes);
    let mut running: Running = host.start(&["check", "big.edb", "--json"]);
    let stdout = running.child().stdout.take().expect("a pipe");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    let first: Value = serde_json::from_str(&lines.next().expect("a line").expect("read")).expect("JSON");
    assert_eq!(first["type"], "instance");
    running.stays();
    running.signal("INT");
    let damaged = lines.map_while(Result::ok).filter(|line| line.contains("page-checksum")).count();
    let ran = running.wait();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(damaged > 0 && damaged < 32_000, "{damaged}: what was found before it was stopped");
}

#[test]
fn every_real_sample_is_checked_without_a_false_alarm() {
    let Some(samples) = Sample::all() else { return };
    let host = Host::new();
    Sample::unpack(&samples, &host.path(""));
    for sample in &samples {
        let expected: &[_] = match sample.name.as_str() {
            // Only headers, of a copy whose pages and trailer are therefore missing.
            name if name.ends_with("hdr8k") => &[(Some(1), "size"), (None, "trailer")],
            name if name.ends_with("hdr4k") => &[(None, "size")],
            "odd/git-lfs-pointer.dit" => &[(None, "file-type")],
            _ => &[],
        };
        finds(&host, &sample.name, expected);
    }
    let ran = host.ok(&["check", "odd/SRUDB-badtail.dat", "--json"]);
    assert_eq!(ran.summary()["garbage"], 16);
}

#[test]
fn a_database_cut_before_it_tells_what_it_owns_is_cut_short() {
    let host = Host::new();
    let deep = DatabaseFile { deep_tree: true, ahead: 0, ..DatabaseFile::new() }.build();
    // Up to the header; to the root; to the root of the space tree, whose leaf is gone.
    for (pages, gone) in [(0, 1), (1, 2), (2, 4), (3, 4)] {
        host.write("x.edb", &deep[..8192 + pages * 4096]);
        finds(&host, "x.edb", &[(Some(gone), "size")]);
    }
    host.run(&["check", "x.edb"])
        .exits(3)
        .prints("is cut short: page 4, which tells what the database owns, is gone, the file ends with page 3")
        .prints("[JET_errDatabaseCorrupted, -1206]");
}

#[test]
fn a_file_too_long_for_its_page_numbers_is_told() {
    let host = Host::new();
    let mut damaged = DatabaseFile::new().build();
    damaged[8192 + 200] ^= 0x81; // so that nothing else tells how long it should be
    let job = |size: u64| {
        let found = Found { path: Arc::from(host.path("x").as_path()), size, content: recognise(&damaged, size) };
        judge_file(&found, &Inside::default()).iter().any(|finding| finding.kind == Kind::Size)
    };
    assert!(job((u64::from(u32::MAX) + 3) * 4096));
    assert!(!job((u64::from(u32::MAX) + 2) * 4096));
}

#[test]
fn what_follows_the_length_of_a_log_is_not_proven_piece_by_piece() {
    let host = Host::new();
    let mut log = LogFile { shadow: true, ..LogFile::new(5) }.build();
    log.extend(vec![0x5A; 1 << 20]);
    host.write("edb.log", log);
    finds(&host, "edb.log", &[(None, "size")]);
}

#[test]
fn never_written_segments_of_early_logs_hold_the_fill_pattern() {
    let host = Host::new();
    let log = LogFile { shadow: true, ..LogFile::new(5) };
    let mut early = log.build();
    early.truncate(11 * 4096);
    ese::fill(&mut early, 16 * 4096);
    host.write("late.log", &early);
    assert_eq!(found(&host, "late.log", 3).len(), 5, "today they would be zeros");
    ese::put_u32(&mut early, 40, 1);
    let (header, _) = early.split_at_mut(4096);
    ese::seal_header(header);
    host.write("edb.log", early);
    finds(&host, "edb.log", &[]);
}

#[derive(Default)]
struct Heard(Vec<Finding>);

impl Listener for Heard {
    fn found(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    fn done(&mut self, _: &Report) {}

    fn tick(&mut self, _: u64, _: &Arc<Path>) {}
}

/// What is found when a file changes after it was looked at.
fn heard_after(host: &Host, file: &str, change: impl FnOnce(&Path)) -> Vec<(Kind, Weight)> {
    let never = StopToken::never();
    let path = host.path(file);
    let survey = Survey::of_file(&path, &never).expect("looked at");
    change(&path);
    let mut heard = Heard::default();
    prove(&survey.jobs, &never, &mut heard).expect("proven");
    heard.0.into_iter().map(|finding| (finding.kind, finding.weight)).collect()
}

#[test]
fn a_file_that_shrinks_or_goes_away_while_it_is_checked_is_not_all_good() {
    let host = Host::new();
    let cut = |length: u64| {
        move |path: &Path| fs::File::options().write(true).open(path).expect("opened").set_len(length).expect("cut")
    };
    let gone = |path: &Path| fs::remove_file(path).expect("removed");
    let mut grown = DatabaseFile::new().build();
    grown.resize(8192 + (12 << 20), 0);
    // To nothing; to the border of what one thread takes; to the middle of a page.
    for length in [0, 8192 + (4 << 20), 8192 + (8 << 20), 8192 + (5 << 20) + 100] {
        host.write("x.edb", &grown);
        assert_eq!(heard_after(&host, "x.edb", cut(length)), [(Kind::Size, Weight::Damage)], "{length}");
    }
    host.write("x.edb", &grown);
    assert_eq!(heard_after(&host, "x.edb", gone), [(Kind::Unreadable, Weight::Failed)]);
    let log = LogFile { shadow: true, ..LogFile::new(5) }.build();
    for length in [0, 4096 * 3, 65535] {
        host.write("edb.log", &log);
        assert_eq!(heard_after(&host, "edb.log", cut(length)), [(Kind::Size, Weight::Damage)], "{length}");
    }
    host.write("edb.log", &log);
    assert_eq!(heard_after(&host, "edb.log", gone), [(Kind::Unreadable, Weight::Failed)]);
}
