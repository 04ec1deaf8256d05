//! A backup of an instance of the Extensible Storage Engine: how it is recognised, what of it is read, and what lies beside
//! it. Which storages are fit and what is proven is told case by case in `acceptance_sources.rs` and `acceptance_reading.rs`.

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

use common::acceptance::{
    backup, clean, dirty, flip, line, manifest, nothing_is_left, page, sha256, stored, write_logs,
};
use common::ese::{self, DatabaseFile, LogFile, Sample};
use common::{Host, names};
use serde_json::{Value, json};

#[test]
fn a_log_that_is_not_what_the_next_one_recorded_of_it_is_refused() {
    let host = clean();
    host.write("app/edb00009.log", LogFile { data: 8, ..LogFile::chain(5..=10)[4].clone() }.build());
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
    assert!(host.path("app/edb00005.log").exists());
    host.ok(&["truncate", "app"]).says("deleted 3 logs");
    assert!(!host.path("app/edb00005.log").exists());
    host.ok(&["end", "app"]).says("backup 000001-");
    host.verifies("repo");
    // A look without a repository proves as well.
    flip(&host, "app/Web.edb", page(5) + 100, 0x33);
    host.ok(&["begin", "app", "--no-repository", "--snapshot"]);
    host.run(&["read", "app", "Web.edb", "--out", "copy.edb"]).exits(3).says("-1018");
    assert!(!host.path("copy.edb").exists());
    host.ok(&["end", "app", "--abort"]);
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
