//! What inspect says of a file's header: every kind, every fate, for people and for scripts.

mod common;

use common::Host;
use common::ese::{self, DatabaseFile, LogFile, Sample};
use serde_json::Value;

fn inspected(host: &Host, file: &str, code: i32) -> Value {
    let lines = host.run_soon(&["inspect", file, "--json"]).exits(code).json();
    assert_eq!(lines.len(), 2, "one object and the summary");
    assert_eq!((&lines[1]["command"], &lines[1]["exit_code"]), (&"inspect".into(), &code.into()));
    lines[0].clone()
}

#[test]
fn the_header_of_a_database_is_shown_for_people() {
    let host = Host::new();
    host.write("Web.edb", DatabaseFile { committed: 8, ..DatabaseFile::dirty(5, 7) }.build());
    let shown = host.ok(&["inspect", "Web.edb"]).stdout;
    for line in [
        "Web.edb: database, 168.00 KiB (172032 bytes)",
        "checksum of copy 2 (byte 4096)",
        "state                           dirty shutdown (2)",
        "logs needed                     5-7 (0x5-0x7), committed to 8 (0x8)",
        "last page owned                 30",
        "last page of the file           40",
        "log signature                   05106106 of 2026-11-22 09:30:01 UTC",
        "last consistent                 0:0:0, 2026-11-22 09:30:05 UTC",
    ] {
        assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
    }
}

#[test]
fn the_header_of_a_database_is_shown_for_scripts() {
    let host = Host::new();
    for page_size in [2048, 4096, 8192, 16384, 32768] {
        host.write("a", DatabaseFile { page_size, ..DatabaseFile::dirty(5, 7) }.build());
        let shown = inspected(&host, "a", 0);
        assert_eq!((&shown["kind"], &shown["identical"]), (&"database".into(), &true.into()));
        assert_eq!(shown["copies"].as_array().map(Vec::len), Some(2));
        assert_eq!(shown["copies"][1]["offset"], page_size);
        assert_eq!(shown["copies"][1]["stored"], shown["copies"][1]["computed"]);
        let header = &shown["header"];
        assert_eq!((&header["page_size"], &header["state"]), (&page_size.into(), &"dirty shutdown".into()));
        assert_eq!((&header["required_low"], &header["required_high"]), (&5.into(), &7.into()));
        assert_eq!(header["consistent"]["time"], "2026-11-22T09:30:05Z");
        assert_eq!(header["signature"]["random"], "000da7a5");
        assert_eq!((&header["last_owned_page"], &header["last_page"]), (&30.into(), &40.into()));
    }
}

#[test]
fn logs_checkpoints_flush_maps_and_patch_files_are_shown() {
    let host = Host::new();
    let log = LogFile { attached: vec![(7, "D:\\db\\Web.edb".to_owned())], circular: true, ..LogFile::new(0x1E2E4) };
    host.write("x", log.build());
    let header = inspected(&host, "x", 0)["header"].clone();
    assert_eq!((&header["generation"], &header["version"]), (&0x1E2E4.into(), &"8.4000.60.140".into()));
    assert_eq!((&header["attachments"][0]["names"][0], &header["circular"]), (&"D:\\db\\Web.edb".into(), &true.into()));
    host.ok(&["inspect", "x"]).prints("generation                   123620 (0x1E2E4)");

    host.write("x", LogFile::new(3).build_v7());
    assert_eq!(inspected(&host, "x", 0)["header"]["version"], "7.3704.15.0");

    host.write("x", ese::checkpoint(0x49, ese::STREAM));
    let header = inspected(&host, "x", 0)["header"].clone();
    assert_eq!((&header["position"]["position"], &header["position"]["generation"]), (&"49:1:0".into(), &0x49.into()));

    let database = DatabaseFile { flushes: (11, 12), ..DatabaseFile::new() };
    host.write("x", database.flush_map(true));
    assert_eq!(inspected(&host, "x", 0)["header"]["state"], "clean");

    let copy = DatabaseFile { full_current: (5, 0), trailer_high: 9, ..DatabaseFile::dirty(5, 7) };
    host.write("x", copy.patch_file());
    let shown = inspected(&host, "x", 0);
    assert_eq!((&shown["kind"], &shown["header"]["set"]), (&"patch file".into(), &"5-9 (0x5-0x9)".into()));
    host.write("x", copy.build());
    let header = inspected(&host, "x", 0)["header"].clone();
    assert_eq!((&header["trailer"]["low"], &header["trailer"]["high"]), (&5.into(), &9.into()));
    assert_eq!(header["logs_needed"], "5-9 (0x5-0x9)");
}

#[test]
fn a_checksum_that_does_not_hold_is_exit_3_and_says_which() {
    let host = Host::new();
    let flip = |mut bytes: Vec<u8>, at: &[usize]| {
        for at in at {
            bytes[*at] ^= 4;
        }
        bytes
    };
    let database = DatabaseFile::new().build();
    for (bytes, says) in [
        (flip(database.clone(), &[100]), "has a damaged first copy of its header; the other one is good"),
        (flip(database.clone(), &[4096 + 100]), "has a damaged second copy of its header; the other one is good"),
        (
            flip(database.clone(), &[100, 4096 + 100]),
            "is a database with no valid header [JET_errDatabaseCorrupted, -1206]",
        ),
        (database[..5000].to_vec(), "ends inside the second copy of its header"),
        (database[..3000].to_vec(), "is a database that ends inside its header"),
        (flip(LogFile::new(5).build(), &[100]), "is a log with a damaged header"),
        (flip(ese::checkpoint(5, 1), &[100]), "has a damaged first copy of its header; the other one is good"),
        (flip(ese::checkpoint(5, 1), &[100, 4096]), "is a checkpoint with no valid header"),
        (flip(DatabaseFile::new().flush_map(true), &[100]), "is a flush map with a damaged header"),
    ] {
        host.write("x", bytes);
        host.run_soon(&["inspect", "x"]).exits(3).prints(says);
        let shown = inspected(&host, "x", 3);
        assert!(shown["findings"].as_array().is_some_and(|findings| !findings.is_empty()));
    }
    host.write("x", flip(database, &[100]));
    host.run(&["inspect", "x"]).exits(3).prints("DAMAGED");
}

#[test]
fn files_of_others_get_a_sentence() {
    let host = Host::new();
    let mut fill = Vec::new();
    ese::fill(&mut fill, 70_000 / 512 * 512);
    for (name, bytes, code, says) in [
        ("a.edb", vec![], 3, "is empty"),
        ("a.pat", vec![], 0, "is empty"),
        ("a.edb", vec![0; 100_000], 3, "nothing but zeros"),
        ("edbres00001.jrs", vec![0; 100_000], 0, "nothing but zeros"),
        ("edbtmp.log", vec![0; 100_000], 0, "nothing but zeros"),
        ("res1.log", fill.clone(), 0, "the fill pattern of an unused log"),
        ("a.edb", [vec![0; 70_000], vec![1]].concat(), 3, "is not a file of the Extensible Storage Engine"),
        ("a.edb", b"SQLite format 3\0".to_vec(), 3, "has a damaged header: the length cannot be"),
        ("a.dit", b"version https://git-lfs.github.com/spec/v1\noid sha256:37f4\n".to_vec(), 3, "`git lfs pull`"),
    ] {
        host.write(name, bytes);
        host.run_soon(&["inspect", name]).exits(code).prints(says);
    }
}

#[test]
fn what_is_no_file_is_said_and_the_others_are_shown() {
    let host = Host::new();
    host.write("Web.edb", DatabaseFile::new().build());
    rustix::fs::mkfifoat(rustix::fs::CWD, host.path("pipe"), rustix::fs::Mode::RUSR).expect("made");
    host.run_soon(&["inspect", "app", "Web.edb"]).exits(1).says("app: it is a directory").prints("Web.edb: database");
    host.run_soon(&["inspect", "pipe"]).exits(1).says("not a regular file");
    host.run_soon(&["inspect", "/dev/zero"]).exits(1).says("not a regular file");
    host.run_soon(&["inspect", "nowhere"]).exits(1).says("[JET_errFileNotFound, -1811]");
    std::os::unix::fs::symlink("Web.edb", host.path("link")).expect("linked");
    host.ok(&["inspect", "link"]).prints("link: database");
    host.run(&["inspect"]).exits(2);
}

#[test]
fn a_huge_file_of_holes_takes_no_time() {
    let host = Host::new();
    host.write_huge("zero.edb", 1 << 43);
    host.run_soon(&["inspect", "zero.edb"]).exits(3).prints("nothing but zeros");
}

#[test]
fn every_real_sample_is_recognised_as_what_it_is() {
    let Some(samples) = Sample::all() else { return };
    let host = Host::new();
    Sample::unpack(&samples, &host.path(""));
    for sample in &samples {
        let name = sample.name.as_str();
        let expected = match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "jfm" => "flush map",
            "chk" => "checkpoint",
            "jrs" => "zero",
            "log" if name == "security-db-a/edbtmp.log" => "zero",
            "log" | "hdr4k" => "log",
            _ if name == "odd/git-lfs-pointer.dit" => "Git LFS pointer",
            _ => "database",
        };
        // The copy that the engine made is only its headers here: its trailer is missing.
        let code = i32::from(expected == "Git LFS pointer" || name.ends_with("hdr8k")) * 3;
        assert_eq!(inspected(&host, name, code)["kind"], expected, "{name}");
    }
    let header = inspected(&host, "dhcp-backup-headers/dhcp.mdb.hdr8k", 3)["header"].clone();
    assert_eq!((&header["required_low"], &header["required_high"]), (&123_620.into(), &123_628.into()));
}
