//! An instance of the Extensible Storage Engine whose backup was interrupted: what is gone on with is the backup that was
//! never interrupted, page for page.

mod common;

use std::fs;

use common::acceptance::{TAKEN, page, ruin_page, write_logs};
use common::ese::{self, DatabaseFile, LogFile, STREAM};
use common::interrupted::{began_later, end_session, read_until_full};
use common::{Host, names};
use serde_json::Value;

const BEGIN: &[&str] = &["begin", "app", "--to", "repo", "--snapshot", "--keep-partial"];
const BACKUP: &[&str] = &["backup", "app", "--to", "repo", "--snapshot", "--json"];
/// Pages of the large database, and those that it has in reserve: eleven megabytes.
const PAGES: (u32, u32) = (1300, 1500);
/// At the twelfth chunk of half a megabyte: four megabytes are proven then.
const MIDDLE: u64 = 13;

fn large() -> DatabaseFile {
    DatabaseFile { owned: PAGES.0, ahead: PAGES.1, ..DatabaseFile::new() }
}

fn instance() -> Host {
    let host = Host::quick();
    host.write("app/Web.edb", large().build());
    host.write("app/Anderes.edb", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    write_logs(&host, "app", &LogFile::chain(5..=10));
    host
}

/// What of the newest backup is the same however often it was interrupted: its manifest without ids, times and what was
/// resumed; its list of files; its files of blocks.
fn told(host: &Host) -> (Value, String, Vec<Vec<u8>>) {
    let folder = host.backup_folder();
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).expect("read")).expect("JSON");
    for name in ["id", "session", "sequence", "previous", "resumed", "began", "ended"] {
        manifest.as_object_mut().expect("an object").remove(name);
    }
    let list = fs::read_to_string(folder.join("files.jsonl")).expect("a list");
    let blocks = folder.join("blocks/data");
    let blocks = names(&blocks).iter().map(|name| fs::read(blocks.join(name)).expect("read")).collect();
    (manifest, list, blocks)
}

fn is_as_in_the_source(host: &Host) {
    for name in names(&host.stored("")) {
        assert_eq!(
            fs::read(host.stored(&name)).expect("a copy"),
            fs::read(host.path("app").join(&name)).expect("read")
        );
    }
}

#[test]
fn what_was_interrupted_in_a_database_and_between_logs_is_the_backup_that_never_was() {
    let host = instance();
    host.ok(BEGIN);
    read_until_full(&host, "backup/data/Web.edb", MIDDLE);
    began_later(&host);
    end_session(&host);

    let begun = host.ok(&[BEGIN, &["--json"]].concat()).summary();
    assert!(begun["resumed"]["bytes"].as_u64() > Some(4 << 20), "the other database and half of this one: {begun}");
    read_until_full(&host, "backup/data/edb00009.log", 1);
    began_later(&host);
    end_session(&host);

    let ran = host.ok(BACKUP);
    let went_on = &ran.summary()["resumed"];
    assert!(went_on["files"].as_u64() >= Some(3), "both databases and the log before that one: {went_on}");
    is_as_in_the_source(&host);
    host.is_tidy("repo");
    host.verifies("repo");
    let resumed = told(&host);
    host.ok(BACKUP);
    let straight = told(&host);
    assert_eq!(resumed.0, straight.0);
    assert_eq!(resumed.1, straight.1);
    assert!(resumed.2 == straight.2, "every block has the same hash");
    assert!(resumed.1.contains("\"good\":1"), "pages are proven: {}", resumed.1);
}

#[test]
fn logs_go_after_a_backup_that_went_on_as_after_any_other() {
    let host = instance();
    host.ok(BEGIN);
    read_until_full(&host, "backup/data/Web.edb", MIDDLE);
    began_later(&host);
    end_session(&host);
    let ran = host.ok(&[&BACKUP[..4], &["--truncate", "--json"]].concat());
    assert!(ran.summary()["resumed"]["bytes"].as_u64() > Some(4 << 20), "{}", ran.stdout);
    let logs: Vec<_> = names(&host.path("app")).into_iter().filter(|name| name.contains(".log")).collect();
    assert_eq!(logs, TAKEN, "those that nobody needs any more are gone");
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn damage_that_was_accepted_is_accepted_again_or_the_database_is_read_again() {
    for accepts in [true, false] {
        let host = instance();
        ruin_page(&host, "app/Web.edb", 5);
        host.ok(&[BEGIN, &["--accept-damage"]].concat());
        read_until_full(&host, "backup/data/edb00008.log", 1);
        began_later(&host);
        end_session(&host);
        if accepts {
            let ran = host.run(&[BACKUP, &["--accept-damage"]].concat()).exits(3);
            assert!(ran.summary()["resumed"]["files"].as_u64() >= Some(2), "both databases: {}", ran.stdout);
            assert_eq!(ran.summary()["damaged_pages"], 1);
            host.ok(&["verify", "repo"]).says("page-checksum of page 5");
        } else {
            host.run(BACKUP).exits(3).prints("-1018");
            assert_eq!(host.backups("repo"), [""; 0]);
        }
    }
}

#[test]
fn a_page_that_was_damaged_behind_the_point_reached_is_told_as_in_any_backup() {
    // And one before it: its copy is proven again.
    for (number, accepts) in [(5, true), (1290, true), (1290, false)] {
        let host = instance();
        ruin_page(&host, "app/Web.edb", number);
        let accepted: &[&str] = if accepts || number == 5 { &["--accept-damage"] } else { &[] };
        host.ok(&[BEGIN, accepted].concat());
        read_until_full(&host, "backup/data/Web.edb", 10);
        assert!(page(1290) > 4 << 20, "behind what is proven");
        began_later(&host);
        end_session(&host);
        let ran = host.run(&[BACKUP, accepted].concat()).exits(3);
        if accepts {
            let summary = ran.summary();
            assert!(summary["resumed"]["bytes"].as_u64() >= Some(4 << 20), "{summary}");
            assert_eq!(summary["damaged_pages"], 1);
            is_as_in_the_source(&host);
            host.ok(&["verify", "repo"]).says(&format!("page-checksum of page {number}"));
        } else {
            assert_eq!(host.backups("repo"), [""; 0]);
            ran.prints("-1018");
        }
    }
}

#[test]
fn damage_before_the_point_reached_is_not_taken_over_where_nobody_accepts_it() {
    let host = instance();
    ruin_page(&host, "app/Web.edb", 5);
    host.ok(&[BEGIN, &["--accept-damage"]].concat());
    read_until_full(&host, "backup/data/Web.edb", MIDDLE);
    began_later(&host);
    end_session(&host);
    host.run(BACKUP).exits(3).prints("-1018");
    assert_eq!(host.backups("repo"), [""; 0]);
}

#[test]
fn an_instance_that_went_on_is_read_as_it_is_now() {
    let host = instance();
    host.ok(BEGIN);
    read_until_full(&host, "backup/data/edb00009.log", 1);
    began_later(&host);
    end_session(&host);
    common::acceptance::roll(&host, 10);
    host.write("app/Web.edb", DatabaseFile { flushes: (9, 1), ..large() }.build());
    let ran = host.ok(BACKUP);
    assert!(ran.summary()["resumed"]["files"].as_u64() >= Some(2), "{}", ran.stdout);
    is_as_in_the_source(&host);
    assert!(host.stored("edb0000A.log").exists());
    host.is_tidy("repo");
    host.verifies("repo");
}
