//! A backup of an instance of the Extensible Storage Engine: which storages are fit, what of them is read, and that nothing
//! gets into the repository unproven. Numbers are those of the acceptance cases of the protocol.

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

use common::acceptance::{
    backup, clean, dirty, flip, line, manifest, nothing_is_left, page, sha256, stored, write_logs,
};
use common::ese::{self, DatabaseFile, LogFile, STREAM, Sample};
use common::{Host, names};
use serde_json::{Value, json};

#[test]
fn a_clean_instance_is_backed_up_with_the_logs_from_its_checkpoint_on() {
    let host = clean(); // case 22: the bytes are those of the source
    host.write("app/edbres00001.jrs", vec![0; 65536]);
    host.write("app/edbtmp.log", vec![0; 65536]);
    host.write("app/notes.txt", "hello");
    fs::create_dir(host.path("app/empty")).expect("created");
    fs::hard_link(host.path("app/notes.txt"), host.path("app/zweite.txt")).expect("linked");
    std::os::unix::fs::symlink("notes.txt", host.path("app/link")).expect("linked");
    let ran = host.ok(&["backup", "app", "--to", "repo"]).says("engine ese, full");
    assert!(!ran.stderr.contains("left out"), "what is always left out is no warning: {}", ran.stderr);
    assert_eq!(
        stored(&host),
        ["Web.edb", "edb.chk", "edb.log", "edb00008.log", "edb00009.log", "empty", "link", "notes.txt", "zweite.txt"]
    );
    assert_eq!(fs::read(host.stored("Web.edb")).expect("read"), DatabaseFile::new().build());
    host.verifies("repo");
    host.is_tidy("repo");
    let manifest = manifest(&host);
    assert_eq!((&manifest["engine"], &manifest["outcome"]), (&json!("ese"), &json!("completed")));
    assert_eq!((&manifest["logs"]["first_generation"], &manifest["logs"]["last_generation"]), (&json!(8), &json!(10)));
    let instance = &manifest["instance"];
    assert_eq!((&instance["base"], &instance["checkpoint"]), (&json!("edb"), &json!(8)));
    assert_eq!((&instance["needs_recovery"], &instance["required"]), (&json!(false), &Value::Null));
    assert_eq!(instance["databases"][0]["path"], "Web.edb");
    assert_eq!(instance["databases"][0]["state"], "clean shutdown");
    assert_eq!(instance["databases"][0]["page_size"], 4096);
    assert_eq!(manifest["proof"]["pages"]["good"], 27, "30 pages, three of them never written");
    assert_eq!(manifest["proof"]["pages"]["blank"], 13);
    assert_eq!(manifest["proof"]["segments"]["good"], 27);
    let left_out: Vec<_> = manifest["left_out"].as_array().expect("a list").iter().map(|one| &one["path"]).collect();
    assert_eq!(left_out, ["edb00005.log", "edb00006.log", "edb00007.log", "edbres00001.jrs", "edbtmp.log"]);
    assert_eq!(line(&host, "Web.edb")["pages"]["good"], 27);
    assert_eq!(
        (&line(&host, "Web.edb")["role"], &line(&host, "notes.txt")["role"]),
        (&json!("database"), &json!("other"))
    );
    let log = line(&host, "edb00008.log");
    assert_eq!((&log["role"], &log["generation"], &log["segments"]["good"]), (&json!("log"), &json!(8), &json!(9)));
    assert_eq!(line(&host, "edb.chk")["role"], "checkpoint");

    host.ok(&["restore", "repo", "--into", "back"]);
    for name in stored(&host) {
        if host.path("app").join(&name).is_file() {
            assert_eq!(host.sha256(&format!("app/{name}")), host.sha256(&format!("back/{name}")), "{name}");
        }
    }
    host.ok(&["verify", "repo"]).says("all good");
}

#[test]
fn a_dirty_instance_is_refused_unless_it_is_a_snapshot() {
    let host = dirty(); // case 82
    host.run(&["backup", "app", "--to", "repo"])
        .exits(6)
        .says("Web.edb was not shut down")
        .says("--snapshot")
        .says("[JET_errDatabaseDirtyShutdown, -550]");
    assert!(!host.path("repo").exists(), "nothing is made for a storage that is unfit");
    nothing_is_left(&host);
    // Also when a log is missing: the state comes first (decision 21).
    fs::remove_file(host.path("app/edb00009.log")).expect("removed");
    host.run(&["backup", "app", "--to", "repo"]).exits(6).says("-550");
    // case 84
    backup(&host, &[]).exits(3).says("needs logs 8-10 (0x8-0xA); missing: 9 (0x9)").says("-543");
    nothing_is_left(&host);
    // case 83
    let host = dirty();
    backup(&host, &[]).exits(0);
    assert_eq!(stored(&host), ["Web.edb", "edb.chk", "edb.log", "edb00008.log", "edb00009.log"]);
    let manifest = manifest(&host);
    assert_eq!(manifest["instance"]["needs_recovery"], true);
    assert_eq!(manifest["instance"]["required"], json!({"low": 8, "high": 10}));
    assert_eq!(manifest["instance"]["snapshot"], true);
    assert_eq!(manifest["instance"]["databases"][0]["required"], json!({"low": 8, "high": 10}));
    host.ok(&["verify", "repo"]);
}

#[test]
fn a_dirty_database_beside_a_clean_one_decides() {
    let host = dirty(); // case 89
    host.write("app/sub/Clean.edb", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    host.run(&["backup", "app", "--to", "repo"]).exits(6).says("Web.edb was not shut down");
    backup(&host, &[]).exits(0);
    assert_eq!(manifest(&host)["instance"]["databases"].as_array().map(Vec::len), Some(2));
}

#[test]
fn states_that_nobody_can_use_are_refused() {
    for (state, code) in [(1, -550), (4, -550), (5, -550), (6, -1226), (8, -1935)] {
        let host = clean(); // case 86
        host.write("app/Web.edb", DatabaseFile { state, ..DatabaseFile::dirty(8, 10) }.build());
        backup(&host, &[]).exits(6).says(&format!(", {code}]"));
        nothing_is_left(&host);
    }
    let host = clean();
    host.write("app/Web.edb", DatabaseFile { state: 7, ..DatabaseFile::dirty(8, 10) }.build());
    host.run(&["backup", "app", "--to", "repo"]).exits(6).says("-550");
    backup(&host, &[]).exits(0);
    // Dirty, and never had logs.
    let host = Host::new();
    host.write("app/Web.edb", DatabaseFile { stream: 0, ..DatabaseFile::dirty(8, 10) }.build());
    backup(&host, &[]).exits(6).says("never had logs").says("-550");
}

#[test]
fn committed_logs_may_be_missing_where_that_is_accepted() {
    let host = clean(); // case 85
    host.write("app/Web.edb", DatabaseFile { committed: 11, ..DatabaseFile::dirty(8, 10) }.build());
    backup(&host, &[]).exits(3).says("loses what was committed: logs 11 (0xB) are missing").says("-582");
    backup(&host, &["--accept-loss"]).exits(0).says("loses what was committed");
    assert_eq!(manifest(&host)["instance"]["databases"][0]["committed"], 11);
}

#[test]
fn logs_that_do_not_follow_each_other_are_refused_in_the_range_only() {
    let host = clean(); // case 37
    fs::remove_file(host.path("app/edb00009.log")).expect("removed");
    backup(&host, &[]).exits(3).says("-569");
    let host = clean();
    fs::remove_file(host.path("app/edb00006.log")).expect("removed");
    backup(&host, &[]).exits(0).says("edb00007.log does not follow"); // decision 4
    // case 36
    let host = clean();
    fs::rename(host.path("app/edb00009.log"), host.path("app/edb00029.log")).expect("renamed");
    backup(&host, &[]).exits(3).says("is generation 9 (0x9) by its header, and another by its name").says("-513");
    let host = clean();
    host.write("app/edb00009.log", LogFile { stream: 77, ..LogFile::new(9) }.build());
    backup(&host, &[]).exits(3);
    let host = clean();
    host.write("app/edb00002.log", LogFile { stream: 77, ..LogFile::new(2) }.build());
    backup(&host, &[]).exits(0).says("edb00002.log is of another log stream");
    assert!(!stored(&host).contains(&"edb00002.log".to_owned()));
    // Made after another log, and the content of the log before is another.
    let chain = LogFile::chain(5..=10);
    let host = clean();
    host.write("app/edb00009.log", LogFile { previous_created: Some(44), ..chain[4].clone() }.build());
    backup(&host, &[]).exits(3).says("-515");
    let host = clean();
    host.write("app/edb00009.log", LogFile { data: 8, ..chain[4].clone() }.build());
    backup(&host, &[]).exits(3).says("edb00009.log is not what the log after it recorded of it").says("-590");
    nothing_is_left(&host);
}

#[test]
fn without_a_current_log_the_next_one_stands_in_for_it() {
    let host = dirty();
    fs::remove_file(host.path("app/edb.log")).expect("removed");
    host.write("app/Web.edb", DatabaseFile::dirty(8, 9).build());
    backup(&host, &[]).exits(3).says("-528");
    let chain = LogFile::chain(5..=10);
    host.write("app/edbtmp.log", LogFile { data: 0, shadow: false, ..chain[5].clone() }.build());
    backup(&host, &[]).exits(0);
    assert!(stored(&host).contains(&"edbtmp.log".to_owned()));
    let host = clean();
    fs::remove_file(host.path("app/edb.log")).expect("removed");
    host.ok(&["backup", "app", "--to", "repo"]).says("edb.log is not there");
    assert_eq!(stored(&host), ["Web.edb", "edb.chk", "edb00008.log", "edb00009.log"]);
}

#[test]
fn the_checkpoint_may_be_missing_or_damaged_but_not_foreign() {
    let host = clean(); // case 88
    fs::remove_file(host.path("app/edb.chk")).expect("removed");
    host.ok(&["backup", "app", "--to", "repo"]).says("edb.chk is not there");
    assert_eq!(stored(&host), ["Web.edb", "edb.log"]);
    let host = dirty();
    fs::remove_file(host.path("app/edb.chk")).expect("removed");
    backup(&host, &[]).exits(0);
    assert!(stored(&host).contains(&"edb00008.log".to_owned()), "from what the database needs");
    let host = clean();
    flip(&host, "app/edb.chk", 9, 1);
    host.ok(&["backup", "app", "--to", "repo"]).says("edb.chk has a damaged first copy of its header");
    assert!(stored(&host).contains(&"edb00008.log".to_owned()), "the second copy counts");
    flip(&host, "app/edb.chk", 5000, 1);
    host.ok(&["backup", "app", "--to", "repo"]).says("-533");
    let host = clean();
    host.write("app/edb.chk", ese::checkpoint(8, 77));
    host.run(&["backup", "app", "--to", "repo"]).exits(3).says("-532");
    let host = dirty();
    host.write("app/edb.chk", ese::checkpoint(2, STREAM));
    backup(&host, &[]).exits(3).says("-543");
}

#[test]
fn a_damaged_page_fails_the_backup_and_is_named() {
    for offset in [page(1), page(2), page(5), page(30)] {
        let host = clean(); // case 26
        for bit in [0x81, 0x42] {
            flip(&host, "app/Web.edb", offset + 1000 + u64::from(bit), bit);
        }
        let number = offset / 4096 - 1;
        let ran =
            backup(&host, &[]).exits(3).says(&format!("page {number} of ")).says("does not hold what was written");
        ran.says("[JET_errReadVerifyFailure, -1018]");
        nothing_is_left(&host);
        let ran = backup(&host, &["--json"]).exits(3);
        let error: Value =
            serde_json::from_str(ran.stdout.lines().find(|line| line.contains("\"error\"")).expect("one"))
                .expect("JSON");
        assert_eq!(
            (&error["code"], &error["page"], &error["file"]),
            (&json!(-1018), &json!(number), &json!("Web.edb"))
        );
    }
    // case 29: a page that is sound, and is another one; large pages carry their number
    let host = clean();
    let large = DatabaseFile { page_size: 16384, ..DatabaseFile::new() };
    let mut file = large.build();
    let mut wrong = large.page(7);
    ese::write_page_number(&mut wrong, 8);
    ese::seal_page(&mut wrong, 7);
    file[8 * 16384..9 * 16384].copy_from_slice(&wrong);
    host.write("app/Web.edb", file);
    backup(&host, &[]).exits(3).says("page 7 of ").says("-1118");
    // case 30: zeros but one byte
    let host = clean();
    flip(&host, "app/Web.edb", page(35) + 77, 0x0F);
    host.write("app/Web.edb", {
        let mut file = DatabaseFile::dirty(8, 10).build();
        file[36 * 4096 + 77] = 0x0F;
        file
    });
    backup(&host, &[]).exits(3).says("page 35 of ");
}

#[test]
fn what_the_engine_corrects_or_never_looks_at_is_copied_with_a_warning() {
    let host = clean(); // case 31
    flip(&host, "app/Web.edb", page(12) + 777, 4);
    // Beyond the 30 pages that the database owns: garbage, which a clean one does not mind.
    for byte in 0..9 {
        flip(&host, "app/Web.edb", page(36) + 100 + byte, 0x33);
    }
    // case 32: one bad copy of the header
    flip(&host, "app/Web.edb", 300, 1);
    let ran = backup(&host, &[]).exits(0);
    ran.says("page 12 of Web.edb has one wrong bit")
        .says("page 36 of Web.edb is not owned")
        .says("first copy of its header");
    assert_eq!(host.sha256("app/Web.edb"), sha256(&host.stored("Web.edb")), "copied as it is");
    let proof = manifest(&host)["proof"]["pages"].clone();
    assert_eq!((&proof["correctable"], &proof["odd"], &proof["damaged"]), (&json!(1), &json!(1), &json!(0)));
    // decision 19
    host.ok(&["verify", "repo"])
        .says("correctable of page 12")
        .says("as it was when it was backed up")
        .says("all good");
    // case 32: both copies
    let host = clean();
    host.write("app/Zweite.edb", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    for copy in [0, 4096] {
        flip(&host, "app/Web.edb", copy + 300, 1);
    }
    backup(&host, &[]).exits(3).says("Web.edb is a database with no valid header").says("-1206");
    nothing_is_left(&host);
    backup(&host, &["--keep-going"]).exits(3).says("both copies are damaged");
    assert!(!stored(&host).contains(&"Web.edb".to_owned()));
    assert!(stored(&host).contains(&"Zweite.edb".to_owned()));
}

#[test]
fn damage_leaves_a_database_out_or_is_accepted_page_by_page() {
    let host = clean(); // decision 17
    host.write("app/Zweite.edb", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    for number in [5, 20] {
        flip(&host, "app/Web.edb", page(number) + 200, 0x11);
        flip(&host, "app/Web.edb", page(number) + 900, 0x23);
    }
    let ran = backup(&host, &["--keep-going", "--json"]).exits(3);
    assert_eq!(
        (&ran.summary()["outcome"], &ran.summary()["excluded"][0]["path"]),
        (&json!("incomplete"), &json!("Web.edb"))
    );
    assert!(!stored(&host).contains(&"Web.edb".to_owned()));
    let ran = backup(&host, &["--accept-damage", "--json"]).exits(3);
    assert_eq!((&ran.summary()["outcome"], &ran.summary()["damaged_pages"]), (&json!("incomplete"), &json!(2)));
    let host_backups = host.backups("repo");
    let folder = host.path("repo/backups").join(&host_backups[1]);
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).expect("read")).expect("JSON");
    let damaged = manifest["damaged"].as_array().expect("a list");
    assert_eq!(damaged.len(), 2);
    assert_eq!(
        (&damaged[1]["path"], &damaged[1]["number"], &damaged[1]["kind"]),
        (&json!("Web.edb"), &json!(20), &json!("page-checksum"))
    );
    assert_eq!(manifest["outcome"], "incomplete");
    assert_eq!(host.sha256("app/Web.edb"), sha256(&folder.join("data/Web.edb")));
    host.ok(&["verify", "repo", "2"]).says("page-checksum of page 5");
    host.run(&["restore", "repo", "--into", "back"]).exits(2); // never the latest
    host.ok(&["restore", "repo", "2", "--into", "back"]);
}

#[test]
fn a_page_that_heals_is_read_again_until_it_is_right() {
    let host = clean(); // case 27
    let good = DatabaseFile::new().build();
    for byte in 0..9 {
        flip(&host, "app/Web.edb", page(9) + 100 + byte, 0x33); // a page that was never written
    }
    let path = host.path("app/Web.edb");
    let writer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(700));
        let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
        file.write_all_at(&good[usize::try_from(page(9)).expect("small")..][..4096], page(9)).expect("written");
    });
    // The write shows as a change, so that the file is read once more, and is right from the first byte on.
    let ran = host.run_soon(&["backup", "app", "--to", "repo"]).exits(0);
    writer.join().expect("joined");
    ran.says("changed while it was read");
    assert_eq!(fs::read(host.stored("Web.edb")).expect("read"), DatabaseFile::new().build());
    host.ok(&["verify", "repo"]);
}

#[test]
fn a_stop_ends_the_waiting_for_a_page_at_once() {
    let host = clean(); // case 28
    flip(&host, "app/Web.edb", page(9) + 100, 0x33);
    let running = host.start(&["backup", "app", "--to", "repo"]);
    common::eventually("a session", || !host.status().is_empty());
    std::thread::sleep(std::time::Duration::from_millis(500));
    host.ok(&["stop", "app"]);
    let ran = running.leaves();
    ran.exits(4);
    nothing_is_left(&host);
}

#[test]
fn a_stop_or_a_signal_in_the_middle_leaves_nothing() {
    // cases 65, 68 and 78, for an instance
    for signal in [None, Some("TERM")] {
        let host = clean();
        let mut file = DatabaseFile::new().build();
        file.resize(256 << 20, 0); // written zeros: pages that are looked at, and never were anything
        host.write("app/Web.edb", file);
        let running = host.start_reading(&["backup", "app", "--to", "repo"], "Web.edb");
        match signal {
            Some(signal) => running.signal(signal),
            None => drop(host.ok(&["stop", "app"])),
        }
        running.leaves().exits(if signal.is_some() { 143 } else { 4 });
        nothing_is_left(&host);
        assert!(host.path("app/edb00005.log").exists());
        host.ok(&["backup", "app", "--to", "repo"]);
        host.verifies("repo");
    }
}

#[test]
fn flush_maps_patch_files_and_odd_names_go_along_and_a_temporary_database_does_not() {
    let host = clean();
    let database = DatabaseFile { flushes: (3, 4), ..DatabaseFile::new() };
    host.write("app/Web.edb", database.build());
    host.write("app/Web.jfm", database.flush_map(true));
    host.write("app/Web.pat", database.patch_file());
    let odd = std::path::Path::new("app").join(common::odd_name());
    fs::write(host.path(&odd), DatabaseFile { signature: 3, ..DatabaseFile::new() }.build()).expect("written");
    let mut temporary = DatabaseFile { signature: 9, stream: 0, ..DatabaseFile::new() }.build();
    for copy in [0, 4096] {
        ese::put_u32(&mut temporary[copy..], 667, 5);
        ese::seal_header(&mut temporary[copy..copy + 4096]);
    }
    host.write("app/tmp.edb", temporary);
    host.ok(&["backup", "app", "--to", "repo"]);
    assert_eq!(line(&host, "Web.jfm")["role"], "other");
    assert_eq!(line(&host, "Web.pat")["role"], "other");
    assert!(!stored(&host).contains(&"tmp.edb".to_owned()));
    let manifest = manifest(&host);
    let left_out = manifest["left_out"].as_array().expect("a list");
    assert!(
        left_out
            .iter()
            .any(|one| one["path"] == "tmp.edb" && one["reason"] == "a temporary database, which no restore needs")
    );
    let databases = manifest["instance"]["databases"].as_array().expect("a list");
    assert!(databases.iter().any(|one| one["path_base64"].is_string()));
    host.verifies("repo");
}

#[test]
fn a_damaged_log_ends_the_session_and_a_torn_tip_does_not() {
    let host = clean(); // case 34
    flip(&host, "app/edb00009.log", 3 * 4096 + 77, 0x81);
    host.ok(&["begin", "app", "--to", "repo", "--snapshot"]);
    host.run(&["read", "app"]).exits(3).says("segment 3 of ").says("edb00009.log").says("-612");
    host.run(&["read", "app"]).exits(5).says("-520");
    assert!(host.path("app/edb00005.log").exists());
    nothing_is_left(&host);
    // case 35: the header of a log
    let host = clean();
    flip(&host, "app/edb00009.log", 100, 1);
    backup(&host, &[]).exits(3).says("edb00009.log is a log with a damaged header").says("-612");
    // Of one that is not copied the body is nobody's business (decision 4).
    let host = clean();
    flip(&host, "app/edb00006.log", 3 * 4096 + 77, 0x81);
    backup(&host, &[]).exits(0);
    // One wrong bit of a segment; the last write torn, its shadow good (case 35).
    let host = clean();
    flip(&host, "app/edb00009.log", 3 * 4096 + 77, 1);
    for byte in 0..9 {
        flip(&host, "app/edb.log", 9 * 4096 + 50 + byte, 0x33);
    }
    backup(&host, &[])
        .exits(0)
        .says("segment 3 of edb00009.log has one wrong bit")
        .says("segment 9 of edb.log is torn");
    host.ok(&["verify", "repo"]).says("as it was when it was backed up");
}

#[test]
fn a_database_that_is_cut_short_is_refused() {
    let host = clean(); // case 33, decision 11
    let file = DatabaseFile::new().build();
    host.write("app/Web.edb", &file[..20 * 4096]);
    backup(&host, &[]).exits(3).says("is cut short: the database owns pages up to 30").says("-1206");
    // Bytes behind the last page are nobody's, where it is clean.
    host.write("app/Web.edb", [&file[..], b"more"].concat());
    backup(&host, &[]).exits(0).says("is no whole number of pages");
    host.ok(&["verify", "repo"]);
}

#[test]
fn verify_names_the_page_that_rotted_in_the_repository() {
    let host = clean();
    backup(&host, &[]).exits(0);
    let flip_stored = |name: &str, offset: u64, bits: u8| {
        let file = fs::OpenOptions::new().read(true).write(true).open(host.stored(name)).expect("opened");
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).expect("read");
        file.write_all_at(&[byte[0] ^ bits], offset).expect("written");
    };
    flip_stored("Web.edb", page(17) + 100, 1);
    flip_stored("edb00009.log", 2 * 4096 + 100, 0x21);
    let ran = host.run(&["verify", "repo", "--json"]).exits(3);
    let damages: Vec<_> = ran.json().into_iter().filter(|line| line["type"] == "damage").collect();
    let found: Vec<_> = damages
        .iter()
        .map(|one| {
            (
                one["file"].as_str().unwrap_or_default(),
                one["kind"].as_str().unwrap_or_default(),
                &one["page"],
                &one["segment"],
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("data/Web.edb", "correctable", &json!(17), &Value::Null),
            ("data/Web.edb", "hash", &Value::Null, &Value::Null),
            ("data/edb00009.log", "hash", &Value::Null, &Value::Null),
            ("data/edb00009.log", "log-segment", &Value::Null, &json!(2)),
        ]
    );
}

#[test]
fn the_engine_is_chosen_by_content_and_can_be_named() {
    let host = clean();
    host.ok(&["backup", "app", "--to", "plain", "--engine", "files"]).says("engine files");
    host.run(&["backup", "app", "--to", "plain"])
        .exits(2)
        .says("holds backups of the engine files, not ese")
        .says("--engine files");
    host.ok(&["backup", "app", "--to", "plain", "--engine", "files"]);
    host.run(&["backup", "app", "--to", "plain", "--engine", "files", "--snapshot"]).exits(2);
    // Logs alone are enough; names alone are not.
    let host = Host::new();
    host.write("app/edb.log", LogFile::new(1).build());
    host.ok(&["backup", "app", "--to", "repo"]).says("engine ese");
    let host = Host::new();
    host.write("app/edb.log", "an application's own log");
    host.ok(&["backup", "app", "--to", "repo"]).says("engine files");
    host.run(&["backup", "app", "--to", "other", "--engine", "ese"])
        .exits(1)
        .says("no file of the Extensible Storage Engine");
    // Of two engines somebody must say which one is meant.
    let host = clean();
    host.write("app/cache/web.sqlite", [&b"SQLite format 3\0"[..], &[0; 8176]].concat());
    host.run(&["backup", "app", "--to", "repo"]).exits(2).says("databases of two engines").says("--engine");
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "cache"]);
    host.ok(&["backup", "app", "--to", "repo", "--engine", "ese"]);
}

#[test]
fn a_number_in_an_applications_file_makes_it_no_damaged_database() {
    let host = Host::new();
    for (name, claim) in [("one", 1), ("three", 3), ("four", 4), ("seven", 7)] {
        let mut file = vec![9; 8192];
        file[667..671].copy_from_slice(&[claim, 0, 0, 0]);
        host.write(&format!("app/{name}"), file);
    }
    host.ok(&["backup", "app", "--to", "plain"]).says("engine files");
    host.write("app/Web.edb", DatabaseFile::new().build());
    host.ok(&["backup", "app", "--to", "repo"]).says("engine ese");
    assert_eq!(line(&host, "one")["role"], "other");
    // A log under another name, damaged or not, is nobody's business; a database under any name is.
    let mut log = LogFile::new(3).build();
    host.write("app/old log", &log);
    log[100] ^= 1;
    host.write("app/older log", &log);
    host.ok(&["backup", "app", "--to", "repo"]);
    let mut database = DatabaseFile { signature: 7, ..DatabaseFile::new() }.build();
    (database[300], database[4396]) = (1, 1);
    host.write("app/no extension", database);
    host.run(&["backup", "app", "--to", "repo"]).exits(3).says("no extension is a database with no valid header");
}

#[test]
fn a_repository_belongs_to_an_instance_wherever_that_is_mounted() {
    let host = clean();
    host.ok(&["backup", "app", "--to", "repo"]);
    fs::rename(host.path("app"), host.path("mnt")).expect("moved");
    host.ok(&["backup", "mnt", "--to", "repo"]);
    assert_eq!(host.backups("repo").len(), 2);
    host.write("app/Web.edb", DatabaseFile { stream: 77, signature: 7, ..DatabaseFile::new() }.build());
    host.run(&["backup", "app", "--to", "repo"]).exits(2).says("belongs to the instance with the log signature");
    // Without a log stream the first database is who it is; and a name is a name.
    let host = Host::new();
    host.write("app/a.edb", DatabaseFile { stream: 0, ..DatabaseFile::new() }.build());
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["backup", "app", "--to", "named", "--name", "web"]);
    host.write("app/a.edb", DatabaseFile { stream: 0, signature: 7, ..DatabaseFile::new() }.build());
    host.run(&["backup", "app", "--to", "repo"]).exits(2).says("the database with the signature");
    host.ok(&["backup", "app", "--to", "named", "--name", "web"]);
}

#[test]
fn only_the_engines_own_files_are_taken_where_that_is_asked() {
    let host = clean();
    host.write("app/sub/deep/Other.edb", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    host.write("app/conf/settings.ini", "colour = blue\n");
    host.ok(&["backup", "app", "--to", "repo", "--engine-files"]);
    assert_eq!(stored(&host), ["Web.edb", "edb.chk", "edb.log", "edb00008.log", "edb00009.log", "sub"]);
    assert!(host.stored("sub/deep/Other.edb").exists());
    assert_eq!(manifest(&host)["left_out_as_asked"], 2);
}

#[test]
fn the_single_verbs_work_step_by_step() {
    let host = clean();
    host.write("app/notes.txt", "hello");
    host.ok(&["begin", "app", "--to", "repo"]);
    let files = host.ok(&["files", "app", "--json"]).summary();
    let roles: Vec<_> =
        files["logs"].as_array().expect("logs").iter().map(|log| (&log["role"], &log["generation"])).collect();
    assert_eq!(
        roles,
        [
            (&json!("log"), &json!(8)),
            (&json!("log"), &json!(9)),
            (&json!("log"), &json!(10)),
            (&json!("checkpoint"), &Value::Null)
        ]
    );
    host.run(&["read", "app", "edb00008.log"]).exits(2).says("-1203"); // case 9
    host.ok(&["read", "app", "Web.edb"]);
    host.ok(&["files", "app"]).prints("done      database");
    host.ok(&["status", "app"]);
    host.run(&["truncate", "app"]).exits(5).says("-521"); // case 11
    host.ok(&["read", "app"]);
    host.ok(&["truncate", "app", "--dry-run"]);
    host.ok(&["end", "app"]).says("backup 000001-");
    host.verifies("repo");
    assert!(host.path("app/edb00005.log").exists());
    // A look without a repository proves as well.
    flip(&host, "app/Web.edb", page(5) + 100, 0x33);
    host.ok(&["begin", "app", "--no-repository", "--snapshot"]);
    host.run(&["read", "app", "Web.edb", "--out", "copy.edb"]).exits(3).says("-1018");
    assert!(!host.path("copy.edb").exists());
    host.ok(&["end", "app", "--abort"]);
}

#[test]
fn a_storage_that_does_not_hold_still_is_never_published() {
    let host = clean(); // cases 38 and 90
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    host.write("app/Web.edb", DatabaseFile::new().build());
    host.run(&["end", "app"]).exits(6).says("Web.edb changed before the backup was complete");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
    host.ok(&["end", "app", "--abort"]);
    // An application that starts after begin.
    host.ok(&["begin", "app", "--to", "repo"]);
    host.write("app/Web.edb", DatabaseFile::dirty(8, 10).build());
    host.run(&["read", "app"]).exits(6).says("was opened by its application after the backup began");
    host.ok(&["end", "app", "--abort"]);
    nothing_is_left(&host);
}

#[test]
fn of_several_log_directories_in_a_storage_one_must_be_named() {
    let host = clean();
    write_logs(&host, "app/other", &LogFile::chain(3..=4));
    host.run(&["backup", "app", "--to", "repo"]).exits(5).says("-1081");
    host.ok(&["backup", "app", "--to", "repo", "--log-dir", "app/other", "--checkpoint", "app/edb.chk"]);
    assert_eq!(names(&host.stored("other")), ["edb.log", "edb00003.log"][..1], "the checkpoint names none of them");
}

#[test]
fn a_set_that_the_engine_made_is_copied_as_it_is() {
    let host = Host::new(); // decision 15
    let copy = DatabaseFile { full_current: (4, 0), trailer_high: 7, ahead: 0, ..DatabaseFile::dirty(5, 6) };
    host.write("app/dhcp.mdb", copy.build());
    host.write("app/dhcp.pat", "");
    for log in LogFile::chain(4..=7) {
        host.write(&format!("app/j50{:05X}.log", log.generation), log.build());
    }
    host.ok(&["backup", "app", "--to", "repo"]);
    assert_eq!(line(&host, "dhcp.mdb")["pages"]["trailer"], true);
    assert_eq!(stored(&host).len(), 6);
    host.ok(&["verify", "repo"]).says("all good");
    fs::remove_file(host.path("app/j5000007.log")).expect("removed");
    host.run(&["backup", "app", "--to", "repo"]).exits(3).says("-543");
}

#[test]
fn holes_stay_holes_and_every_page_size_is_proven() {
    for page_size in [2048, 4096, 8192, 16384, 32768] {
        let host = Host::new();
        let database = DatabaseFile { page_size, stream: 0, ahead: 4, ..DatabaseFile::new() };
        host.write("app/Web.edb", database.build());
        let file = fs::OpenOptions::new().write(true).open(host.path("app/Web.edb")).expect("opened");
        file.set_len(64 << 20).expect("made longer");
        host.ok(&["backup", "app", "--to", "repo"]);
        let pages = (64 << 20) / page_size as u64 - 2;
        let line = line(&host, "Web.edb");
        assert_eq!(line["pages"]["size"], page_size);
        assert_eq!(line["pages"]["good"].as_u64().zip(line["pages"]["blank"].as_u64()), Some((27, pages - 27)));
        assert!(host.stored("Web.edb").metadata().expect("there").blocks() < 8192, "the hole is one");
        host.ok(&["verify", "repo"]).says("all good");
    }
}

#[test]
fn real_directories_can_be_backed_up_and_proven() {
    let Some(samples) = Sample::all() else { return };
    let host = Host::new();
    Sample::unpack(&samples, &host.path(""));
    for folder in ["datastore-1", "datastore-2", "datastore-3", "security-db-a", "security-db-c"] {
        let ran = host.run_soon(&["backup", folder, "--to", &format!("repo-{folder}"), "--snapshot"]);
        assert!(ran.code == Some(0), "{folder}: {}", ran.stderr);
        host.ok(&["verify", &format!("repo-{folder}")]).says("all good");
    }
}
