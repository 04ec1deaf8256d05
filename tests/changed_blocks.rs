//! Of a large file that changed, the blocks that are different are stored, and nothing else: databases, disk images, logs
//! that grow.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use common::sqlite::{Writer, found_bank, is_one_moment, move_money, open};
use common::tree::{Alike, Listing};
use common::{Dice, Host, sqlite};
use serde_json::Value;

/// Not a story: what the processes run that write.
#[test]
#[ignore = "a process of the other tests"]
fn writer() {
    sqlite::write_if_asked();
}

const MIB: usize = 1 << 20;

#[track_caller]
fn back_up(host: &Host, kind: &str) -> Value {
    host.ok(&["backup", "app", "--to", "repo", "--kind", kind, "--json"]).summary()
}

#[track_caller]
fn restores(host: &Host, expected: &Listing) {
    host.ok(&["restore", "repo", "--into", "out"]);
    expected.is_like(&Listing::of(&host.path("out")), Alike::ButOwners);
    fs::remove_dir_all(host.path("out")).expect("removed");
}

/// What a directory takes on its disk.
fn disk_bytes(path: &Path) -> u64 {
    let below = fs::read_dir(path).expect("listed").map(|entry| entry.expect("listed").path());
    below
        .map(|path| {
            let metadata = fs::symlink_metadata(&path).expect("looked at");
            metadata.blocks() * 512 + if metadata.is_dir() { disk_bytes(&path) } else { 0 }
        })
        .sum()
}

fn write_at(path: &Path, offset: usize, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("opened");
    file.write_all_at(bytes, offset as u64).expect("written");
}

#[test]
fn one_page_of_a_large_file_costs_one_page() {
    let host = Host::new();
    let mut dice = Dice::new();
    let mut image: Vec<u8> = (0..16 * MIB).map(|_| 0).collect();
    image.chunks_mut(4).for_each(|word| word.copy_from_slice(&dice.number(u32::MAX).to_le_bytes()));
    host.write("app/image", &image);
    let path = host.path("app/image");
    back_up(&host, "full");
    let mut chain = vec![Listing::of(&host.path("app"))];
    for round in 0..6 {
        // Somewhere, also across two blocks; then the end, cut or grown, and a part that becomes a hole.
        let at = usize::try_from(dice.number(15 * (1 << 20))).expect("small");
        write_at(&path, at, &[round; 100]);
        let length = fs::metadata(&path).expect("looked at").len();
        let file = File::options().write(true).open(&path).expect("opened");
        match round {
            2 => file.set_len(length - 5001).expect("cut"),
            3 => file.set_len(length + (1 << 20)).expect("grown"),
            4 => write_at(&path, 3 * MIB, &vec![0; MIB]),
            _ => {}
        }
        let summary = back_up(&host, "incremental");
        let stored = summary["bytes_stored"].as_u64().expect("a number");
        // The hashes of 4,096 blocks are 72 KiB.
        assert!(stored < 120_000, "round {round}: {stored} bytes");
        assert!(disk_bytes(&host.backup_folder()) < 200_000, "round {round}");
        chain.push(Listing::of(&host.path("app")));
        restores(&host, chain.last().expect("several"));
    }
    for (number, expected) in (1..).zip(&chain) {
        host.ok(&["restore", "repo", &number.to_string(), "--into", &format!("out{number}")]);
        expected.is_like(&Listing::of(&host.path(format!("out{number}"))), Alike::ButOwners);
    }
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn a_file_that_is_as_it_was_in_the_end_is_held_by_who_had_it_first() {
    let host = Host::new();
    host.write(
        "app/image",
        (0..MIB).map(|at| at / 1000 % 251).map(|number| u8::try_from(number).expect("small")).collect::<Vec<_>>(),
    );
    let full = back_up(&host, "full");
    let path = host.path("app/image");
    let before = fs::read(&path).expect("read");
    // Written anew with the same bytes, and in another file of this name.
    fs::write(&path, &before).expect("written");
    assert_eq!(back_up(&host, "incremental")["bytes_stored"], 0);
    fs::write(host.path("app/new"), &before).expect("written");
    fs::rename(host.path("app/new"), &path).expect("renamed");
    let summary = back_up(&host, "incremental");
    assert_eq!(summary["bytes_stored"], 0);
    let text = fs::read_to_string(host.backup_folder().join("files.jsonl")).expect("read");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let line = lines.iter().find(|line| line["path"] == "image").expect("a line");
    assert_eq!(line["held"]["by"], full["id"]);
    assert_eq!(line["sha256"], Value::from(host.sha256("app/image")), "its hash is known, though nobody computed it");
    restores(&host, &Listing::of(&host.path("app")));
}

#[test]
fn a_database_in_use_costs_the_pages_that_changed() {
    let host = Host::new();
    let mut dice = Dice::new();
    for (name, mode) in [("wal.db", "wal"), ("rollback.db", "delete")] {
        drop(found_bank(&host.path("app").join(name), mode));
    }
    host.settles("app");
    let whole = back_up(&host, "full")["bytes"].as_u64().expect("a number");
    let wal = open(&host.path("app/wal.db"));
    let rollback = open(&host.path("app/rollback.db"));
    for round in 1..=3 {
        // Into a log that stays: the file of the database itself is as it was.
        for connection in [&wal, &rollback] {
            move_money(connection, &mut dice).expect("moved");
        }
        let summary = back_up(&host, "incremental");
        let stored = summary["bytes_stored"].as_u64().expect("a number");
        assert!(stored < whole / 10, "{stored} of {whole}");
        host.ok(&["restore", "repo", "--into", "out"]);
        for name in ["wal.db", "rollback.db"] {
            assert_eq!(is_one_moment(&host.path("out").join(name)), round, "{name}");
        }
        fs::remove_dir_all(host.path("out")).expect("removed");
    }
    host.verifies("repo");
}

#[test]
fn each_incremental_beside_a_writer_is_one_moment() {
    let host = Host::quick();
    drop(found_bank(&host.path("app/bank.db"), "wal"));
    let writer = Writer::start(&host, "app/bank.db");
    back_up(&host, "full");
    let mut before = -1;
    for _ in 0..4 {
        back_up(&host, "incremental");
        host.ok(&["restore", "repo", "--into", "out"]);
        let moves = is_one_moment(&host.path("out/bank.db"));
        assert!(moves > before, "the writer goes on: {before}, {moves}");
        before = moves;
        fs::remove_dir_all(host.path("out")).expect("removed");
    }
    drop(writer);
    host.verifies("repo");
    host.is_tidy("repo");
}
