//! Stories of instances that are worse than they look: what must not be published as whole, and what must not be
//! refused.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::acceptance::{backup, clean, dirty, flip, manifest, nothing_is_left, stored};
use common::ese::{self, DatabaseFile, LogFile, STREAM};
use common::{Host, as_ordinary_user, finish, open_to_all};
use serde_json::json;

/// Runs jetbak as somebody who may not read everything.
fn as_user(host: &Host, locked: &str, arguments: &[&str]) -> common::Ran {
    open_to_all(host, "");
    fs::set_permissions(host.path(locked), fs::Permissions::from_mode(0o000)).expect("set");
    finish(as_ordinary_user(host, host.command(arguments)))
}

/// Another database of the same instance.
fn second() -> DatabaseFile {
    DatabaseFile { signature: 7, ..DatabaseFile::new() }
}

#[test]
fn a_required_log_that_cannot_be_read_is_never_left_out() {
    // `--keep-going` is for databases: without one of its logs a dirty database is worth nothing.
    for log in ["edb00009.log", "edb.log"] {
        let host = dirty();
        let ran =
            as_user(&host, &format!("app/{log}"), &["backup", "app", "--to", "repo", "--snapshot", "--keep-going"]);
        ran.exits(1).says(log).says("-1032");
        nothing_is_left(&host);
    }
    // One that nobody needs is in nobody's way (decision 4).
    let host = dirty();
    let ran = as_user(&host, "app/edb00006.log", &["backup", "app", "--to", "repo", "--snapshot"]);
    ran.exits(0).says("cannot open").says("edb00006.log");
    assert!(!stored(&host).contains(&"edb00006.log".to_owned()));
}

#[test]
fn a_database_that_cannot_be_read_is_no_file_that_nobody_asked_for() {
    let host = clean();
    host.write("app/Zweite.edb", second().build());
    let ran =
        as_user(&host, "app/Web.edb", &["backup", "app", "--to", "repo", "--keep-going", "--engine-files", "--json"]);
    let ran = ran.exits(1);
    assert_eq!(
        (&ran.summary()["outcome"], &ran.summary()["excluded"][0]["path"]),
        (&json!("incomplete"), &json!("Web.edb"))
    );
}

#[test]
fn a_database_that_is_cut_short_can_be_left_out() {
    let host = clean(); // cases 32 and 33: that database is excluded
    host.write("app/Zweite.edb", second().build());
    host.write("app/Web.edb", &DatabaseFile::new().build()[..20 * 4096]);
    backup(&host, &[]).exits(3).says("-1206");
    backup(&host, &["--keep-going"]).exits(3).says("left out: ").says("is cut short");
    assert!(!stored(&host).contains(&"Web.edb".to_owned()));
    assert!(stored(&host).contains(&"Zweite.edb".to_owned()));
    // Its root was never written: the pages prove themselves, and yet there is no database.
    let host = clean();
    host.write("app/Zweite.edb", second().build());
    let mut file = DatabaseFile::new().build();
    file[8192..12288].fill(0);
    host.write("app/Web.edb", file);
    backup(&host, &["--keep-going"]).exits(3).says("page 1, the root of the database");
    assert!(!stored(&host).contains(&"Web.edb".to_owned()));
}

#[test]
fn a_database_of_another_stream_needs_its_own_logs() {
    // Logs 5 to 7 of one stream, 8 to 10 of another one, under one base; each database needs its own.
    let host = Host::new();
    host.write("app/a.edb", DatabaseFile::dirty(5, 7).build());
    host.write("app/b.edb", DatabaseFile { signature: 7, stream: 77, ..DatabaseFile::dirty(8, 9) }.build());
    for log in LogFile::chain(5..=6) {
        host.write(&format!("app/edb{:05X}.log", log.generation), log.build());
    }
    host.write("app/edb.log", LogFile::new(7).build());
    for generation in 8..=9 {
        let log = LogFile { stream: 77, ..LogFile::new(generation) };
        host.write(&format!("app/edb{generation:05X}.log"), log.build());
    }
    backup(&host, &[]).exits(3).says("b.edb").says("-543");
    nothing_is_left(&host);
}

#[test]
fn a_copy_that_is_being_restored_is_in_use() {
    // The engine has merged the trailer into the header: from now on it replays logs into it.
    let host = dirty();
    let database = DatabaseFile { full_current: (8, 10), ..DatabaseFile::dirty(8, 10) };
    host.write("app/Web.edb", database.build());
    host.run(&["backup", "app", "--to", "repo"]).exits(6).says("Web.edb was not shut down").says("-550");
    backup(&host, &[]).exits(0);
}

#[test]
fn a_set_of_an_old_engine_has_its_trailer_beside_it() {
    let host = Host::new(); // decision 15, §11
    let copy = DatabaseFile { full_current: (4, 0), trailer_high: 7, ahead: 0, ..DatabaseFile::dirty(5, 6) };
    let file = copy.build();
    host.write("app/dhcp.mdb", &file[..file.len() - 4096]);
    host.write("app/dhcp.pat", copy.patch_file());
    for log in LogFile::chain(4..=7) {
        host.write(&format!("app/j50{:05X}.log", log.generation), log.build());
    }
    host.ok(&["check", "app"]);
    host.ok(&["backup", "app", "--to", "repo"]);
    assert_eq!(manifest(&host)["instance"]["required"], json!({"low": 4, "high": 7}));
    fs::remove_file(host.path("app/j5000004.log")).expect("removed");
    host.run(&["backup", "app", "--to", "repo"]).exits(3).says("-543");
}

#[test]
fn the_link_of_the_oldest_log_leads_to_none_that_is_copied() {
    let chain = LogFile::chain(5..=10);
    let host = clean(); // decision 4
    host.write("app/edb00008.log", LogFile { previous_created: Some(44), ..chain[3].clone() }.build());
    backup(&host, &[]).exits(0).says("edb00008.log was made after another log than the one before it");
    host.ok(&["verify", "repo"]);
    // Two logs of the oldest generation are another thing: nobody knows which one is meant.
    let host = clean();
    host.write("app/edb00000008.log", chain[3].build());
    backup(&host, &[]).exits(3).says("-515");
}

#[test]
fn a_snapshot_may_be_gone_when_its_backup_ends() {
    for gone in ["app/x", "app"] {
        let host = dirty();
        host.ok(&["begin", "app", "--to", "repo", "--snapshot"]);
        host.ok(&["read", "app"]);
        fs::rename(host.path("app"), host.path("unmounted")).expect("moved");
        fs::create_dir_all(host.path(gone).parent().expect("a parent")).expect("created");
        host.ok(&["end", "app"]).says("backup 000001-");
        host.verifies("repo");
    }
}

#[test]
fn what_is_called_a_snapshot_and_changes_is_none() {
    let touch = |host: &Host, name: &str| {
        let file = fs::read(host.path(name)).expect("read");
        fs::write(host.path(name), file).expect("written");
    };
    for name in ["app/Web.edb", "app/edb.log", "app/edb.chk"] {
        let host = dirty();
        host.ok(&["begin", "app", "--to", "repo", "--snapshot"]);
        host.ok(&["read", "app"]);
        touch(&host, name);
        host.run(&["end", "app"]).exits(6).says("changed before the backup was complete").says("no snapshot");
        assert_eq!(host.backups("repo"), Vec::<String>::new());
        host.ok(&["end", "app", "--abort"]);
        nothing_is_left(&host);
    }
}

#[test]
fn logs_and_checkpoint_are_those_that_were_listed() {
    // The range was computed from them: an application that goes on needs another one.
    let chain = LogFile::chain(5..=10);
    let changes: [(&str, Vec<u8>, &str); 3] = [
        ("app/edb.chk", ese::checkpoint(8, STREAM), "edb.chk changed after the logs were listed"),
        ("app/edb.chk", ese::checkpoint(7, STREAM), "edb.chk changed after the logs were listed"),
        ("app/edb00009.log", chain[4].build(), "edb00009.log changed after the logs were listed"),
    ];
    for (name, content, what) in changes {
        let host = clean();
        host.ok(&["begin", "app", "--to", "repo"]);
        host.ok(&["read", "app", "."]);
        host.write(name, content);
        host.run(&["read", "app"]).exits(6).says(what);
        host.run(&["end", "app"]).exits(5).says("-520");
        nothing_is_left(&host);
    }
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.write("app/edb.chk", ese::checkpoint(9, STREAM));
    host.run(&["read", "app"]).exits(6).says("is not what it was when the backup began: its checkpoint went on");
    nothing_is_left(&host);
}

#[test]
fn another_instance_in_the_place_of_the_one_that_was_judged_is_refused() {
    let host = clean();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.write("app/Web.edb", DatabaseFile { signature: 99, ..DatabaseFile::new() }.build());
    host.run(&["read", "app"]).exits(6).says("Web.edb").says("not the database any more");
    host.ok(&["end", "app", "--abort"]);
    // What was no database when the backup began, and is one now, was never judged.
    host.write("app/Web.edb", DatabaseFile::new().build());
    host.write("app/notes.bin", vec![7; 8192]);
    host.ok(&["begin", "app", "--to", "repo"]);
    host.write("app/notes.bin", second().build());
    host.run(&["read", "app"]).exits(6).says("notes.bin");
    host.ok(&["end", "app", "--abort"]);
    nothing_is_left(&host);
}

#[test]
fn a_log_longer_than_its_header_says_is_not_read_to_its_end() {
    let host = clean();
    let grow = |host: &Host| {
        let file = fs::OpenOptions::new().write(true).open(host.path("app/edb00009.log")).expect("opened");
        file.set_len(1 << 50).or_else(|_| file.set_len(8 << 40)).expect("made longer");
    };
    host.ok(&["begin", "app", "--to", "repo", "--snapshot"]);
    host.ok(&["read", "app", "."]);
    grow(&host);
    host.run_soon(&["read", "app"]).exits(3).says("edb00009.log has ").says("-541");
    backup(&host, &[]).exits(3).says("edb00009.log has ").says("-541");
    host.run_soon(&["check", "app"]).exits(3);
}

#[test]
fn a_checkpoint_is_found_by_whatever_path_it_is_named() {
    let host = clean();
    fs::rename(host.path("app/edb.chk"), host.path("app/mine.chk")).expect("renamed");
    std::os::unix::fs::symlink("app", host.path("link")).expect("linked");
    host.ok(&["backup", "link", "--to", "repo", "--checkpoint", "link/mine.chk"]);
    assert!(stored(&host).contains(&"edb00008.log".to_owned()), "the checkpoint counts");
    assert!(stored(&host).contains(&"mine.chk".to_owned()));
    host.run(&["backup", "app", "--to", "repo", "--checkpoint", "app/missing.chk"]).exits(2);
}

#[test]
fn verify_tells_again_what_was_taken_with_a_warning() {
    let host = clean(); // decision 19
    flip(&host, "app/Web.edb", 300, 1);
    flip(&host, "app/edb.chk", 4096 + 900, 1);
    host.write("app/Zweite.edb", {
        let mut file = second().build();
        ese::put_u32(&mut file[4096..], 16, 5); // caught between the writes of its two headers
        ese::seal_header(&mut file[4096..8192]);
        file
    });
    host.ok(&["backup", "app", "--to", "repo"]);
    let ran = host.ok(&["verify", "repo"]);
    ran.says("data/Web.edb: header: ")
        .says("data/edb.chk: checkpoint: ")
        .says("data/Zweite.edb: header: ")
        .says("all good");
    // Both copies of a header are no warning, whatever the list of files says.
    let verified = host.ok(&["verify", "repo", "--json"]);
    assert_eq!(verified.summary()["damages"], 0);
}

#[test]
fn flush_maps_are_proven_while_they_are_copied() {
    let host = clean();
    let database = DatabaseFile { flushes: (3, 4), ..DatabaseFile::new() };
    host.write("app/Web.edb", database.build());
    host.write("app/Web.jfm", database.flush_map(true));
    let ran = host.ok(&["backup", "app", "--to", "repo"]);
    assert!(!ran.stderr.contains("Web.jfm"), "{}", ran.stderr);
    for byte in 0..9 {
        flip(&host, "app/Web.jfm", 8192 + 100 + byte, 0x33);
    }
    host.ok(&["backup", "app", "--to", "repo"]).says("page 0 of Web.jfm does not hold what was written");
    host.ok(&["verify", "repo"]);
}

#[test]
fn a_log_of_a_hostile_repository_is_not_read_for_ever() {
    let host = clean();
    backup(&host, &[]).exits(0);
    let log = fs::OpenOptions::new().write(true).open(host.stored("edb00009.log")).expect("opened");
    log.set_len(8 << 40).expect("made longer");
    let running = host.start(&["verify", "repo"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal("INT");
    running.leaves().exits(130);
}

#[test]
fn a_thousand_oddities_fill_no_mail() {
    let host = clean();
    for generation in 0x100..0x146 {
        let log = LogFile { stream: 77, ..LogFile::new(generation) };
        host.write(&format!("app/edb{generation:05X}.log"), log.build());
    }
    let ran = backup(&host, &[]).exits(0).says("20 more things are odd").says("`jetbak check` tells them all");
    assert_eq!(ran.stderr.matches("is of another log stream").count(), 50);
}
