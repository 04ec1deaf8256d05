//! A backup of an instance as a set: what `verify` and `restore` say where its files are each as they were and do not go
//! together, and what is said about the way on. Numbers are those of the acceptance cases of the protocol.

mod common;

use std::fs;
use std::path::Path;

use common::ese::{self, DATABASE, DatabaseFile, LogFile, STREAM};
use common::forge::{drop_file, forge, reseal, swap_file};
use common::{Host, Ran, names};
use serde_json::{Value, json};

/// Logs 8 and 9, the current one, 10, and a checkpoint in 8; the newest knows where the database was.
fn logs() -> Vec<LogFile> {
    let mut logs = LogFile::chain(8..=10);
    logs[2].attached = vec![(DATABASE, r"C:\data\Web.edb".to_owned())];
    logs
}

/// A host with one backup, in `repo`, of an instance with this database.
fn backed_up(database: &DatabaseFile, more: &[&str]) -> Host {
    let host = stored_as(database);
    host.ok(&[&["backup", "app", "--to", "repo", "--snapshot"], more].concat());
    host
}

/// The same, not backed up yet.
fn stored_as(database: &DatabaseFile) -> Host {
    let host = Host::quick();
    host.write("app/Web.edb", database.build());
    host.write("app/edb.chk", ese::checkpoint(8, STREAM));
    host.write("app/notes.txt", "hello");
    for (name, log) in ["edb00008.log", "edb00009.log", "edb.log"].iter().zip(logs()) {
        host.write(&format!("app/{name}"), log.build());
    }
    host
}

fn dirty() -> Host {
    backed_up(&DatabaseFile::dirty(8, 10), &[])
}

fn clean() -> Host {
    backed_up(&DatabaseFile::new(), &[])
}

/// What the engine's own backup makes: no current log, no checkpoint, a trailer.
fn engine_made(change: impl FnOnce(&mut DatabaseFile)) -> Host {
    let host = Host::quick();
    let mut copy = DatabaseFile { full_current: (4, 0), trailer_high: 7, ahead: 0, ..DatabaseFile::dirty(5, 6) };
    host.write("app/dhcp.mdb", copy.build());
    for log in LogFile::chain(4..=7) {
        host.write(&format!("app/j50{:05X}.log", log.generation), log.build());
    }
    host.ok(&["backup", "app", "--to", "repo"]);
    change(&mut copy);
    swap_file(&host.backup_folder(), "dhcp.mdb", &copy.build());
    host
}

/// What verify finds: file, kind and number, in order.
fn damages(host: &Host) -> Vec<(String, String, i64)> {
    let ran = host.run(&["verify", "repo", "--json"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |line: &Value| (text(&line["file"]), text(&line["kind"]), line["code"].as_i64().unwrap_or(0));
    let found: Vec<_> = ran.json().iter().filter(|line| line["type"] == "damage").map(one).collect();
    assert_eq!(ran.code, Some(if found.is_empty() { 0 } else { 3 }), "{}", ran.stdout);
    found
}

/// Nothing is restored, nothing is left, and people are told why: the set, and by which number.
#[track_caller]
fn is_refused(host: &Host, message: &str, code: i32) {
    for more in [&[][..], &["--dry-run"]] {
        let ran = host.run(&[&["restore", "repo", "--into", "out"][..], more].concat()).exits(3);
        ran.says(message).says(&format!(", {code}]"));
        assert!(!names(&host.path("")).iter().any(|name| name.contains("out")), "nothing is made");
    }
    let found = damages(host);
    assert!(found.iter().any(|(_, _, found)| *found == i64::from(code)), "{found:?}");
}

/// What of the storage came back is what was there.
#[track_caller]
fn is_back(host: &Host, files: &[&str]) {
    for name in files {
        assert_eq!(host.sha256(&format!("app/{name}")), host.sha256(&format!("out/{name}")), "{name}");
    }
}

fn restore(host: &Host, more: &[&str]) -> Ran {
    let _ = fs::remove_dir_all(host.path("out")); // of the restore before
    host.run(&[&["restore", "repo", "--into", "out"], more].concat())
}

#[test]
fn case_91_a_complete_set_is_good_and_comes_back_byte_for_byte() {
    for host in [clean(), dirty()] {
        host.verifies("repo");
        restore(&host, &[]).exits(0);
        is_back(&host, &["Web.edb", "edb.chk", "edb.log", "edb00008.log", "edb00009.log", "notes.txt"]);
        assert_eq!(names(&host.path("out")), names(&host.path("app")), "nothing else came back");
    }
}

#[test]
fn case_95_a_target_that_is_not_empty_is_left_as_it_is() {
    let host = dirty();
    host.write("out/edb00008.log", "somebody's own");
    host.run(&["restore", "repo", "--into", "out"]).exits(5).says("[JET_errBackupDirectoryNotEmpty, -504]");
    assert_eq!(names(&host.path("out")), ["edb00008.log"]);
    assert_eq!(fs::read(host.path("out/edb00008.log")).expect("read"), b"somebody's own");
}

#[test]
fn case_96_a_backup_that_was_interrupted_is_none() {
    let host = stored_as(&DatabaseFile::new());
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app", "Web.edb"]);
    let partial = host.partials("repo").pop().expect("a partial");
    assert!(host.path("repo/partial").join(&partial).join("backup/data/Web.edb").exists(), "it has begun");
    assert_eq!(host.ok(&["list", "repo", "--json"]).json()[0]["backups"], serde_json::json!([]));
    for id in ["latest", "1", partial.as_str()] {
        host.run(&["restore", "repo", id, "--into", "out"]).exits(2);
    }
    // Not even where somebody puts it among the backups by hand.
    let (from, to) =
        (host.path("repo/partial").join(&partial).join("backup"), "repo/backups/000001-20260101T000000Z-full");
    fs::create_dir_all(host.path("repo/backups")).expect("made");
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(host.path(to)).status();
    assert!(copied.expect("cp runs").success());
    host.run(&["restore", "repo", "1", "--into", "out"]).exits(3).says("its manifest is missing");
    assert!(!host.path("out").exists());
    host.ok(&["end", "app", "--abort"]);
}

#[test]
fn case_92_a_set_that_lacks_a_required_log_is_refused_before_the_first_byte() {
    let host = dirty(); // case 92
    drop_file(&host.backup_folder(), "edb00009.log");
    is_refused(&host, "Web.edb needs logs 8-10 (0x8-0xA); missing: 9 (0x9)", -543);
    let missing = |file: &str| (file.to_owned(), "missing".to_owned(), -543);
    assert_eq!(damages(&host), [missing("data/Web.edb"), missing("data/edb.log")]);
    host.run(&["verify", "repo"])
        .exits(3)
        .prints("data/Web.edb: missing: needs logs 8-10 (0x8-0xA); missing: 9 (0x9) [JET_errRequiredLogFilesMissing")
        .says("Every file is as it was stored, but they do not go together");

    // Somebody wants one file of it, or whatever there is.
    restore(&host, &["--only", "notes.txt"]).exits(0).says("warning").says("missing: 9 (0x9)");
    is_back(&host, &["notes.txt"]);
    let ran = restore(&host, &["--keep-going", "--json"]).exits(3);
    let summary = ran.summary();
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&json!("incomplete"), &json!(3)));
    assert_eq!((&summary["advice"], &summary["damages"]), (&Value::Null, &json!(0)), "{summary}");
    assert_eq!(
        summary["placed"],
        json!({"databases": 1, "logs": 2, "first_generation": 8, "last_generation": 10, "checkpoint": true})
    );
    is_back(&host, &["Web.edb", "edb00008.log", "edb.log", "edb.chk", "notes.txt"]);
    restore(&host, &["--keep-going"]).exits(3).says("the engine will refuse them as a set");
}

#[test]
fn logs_that_are_gone_at_either_end_are_missed_too() {
    for (gone, first, last) in [("edb00008.log", 9, 10), ("edb.log", 8, 9)] {
        for database in [DatabaseFile::dirty(9, 9), DatabaseFile::new()] {
            let host = backed_up(&DatabaseFile { committed: 0, ..database }, &[]);
            drop_file(&host.backup_folder(), gone);
            let number = if gone == "edb.log" { "10 (0xA)" } else { "8 (0x8)" };
            is_refused(&host, &format!("logs 8-10 (0x8-0xA); missing: {number}"), -543);
        }
        // A tool that counts what it left: what a database needs counts all the same.
        let host = dirty();
        drop_file(&host.backup_folder(), gone);
        reseal(&host.backup_folder(), |manifest| {
            (manifest["logs"]["first_generation"], manifest["logs"]["last_generation"]) = (first.into(), last.into());
        });
        is_refused(&host, "Web.edb needs logs 8-10", -543);
    }
    // No log at all.
    let host = clean();
    for name in ["edb00008.log", "edb00009.log", "edb.log"] {
        drop_file(&host.backup_folder(), name);
    }
    is_refused(&host, "manifest.json says that the backup holds logs 8-10", -543);
}

#[test]
fn case_93_logs_of_two_streams_or_of_two_times_make_no_set() {
    let host = dirty(); // case 93
    swap_file(&host.backup_folder(), "edb00009.log", &LogFile { stream: 77, ..logs()[1].clone() }.build());
    is_refused(&host, "edb00009.log is of another log stream", -555);
    assert!(damages(&host).contains(&("data/edb00009.log".to_owned(), "log-chain".to_owned(), -555)));
    let host = clean();
    swap_file(&host.backup_folder(), "edb00009.log", &LogFile { stream: 77, ..logs()[1].clone() }.build());
    is_refused(&host, "edb00009.log is of another log stream", -555);
    // All logs are of one stream, but not of that of the dirty database.
    let host = dirty();
    for (name, log) in ["edb00008.log", "edb00009.log", "edb.log"].iter().zip(logs()) {
        swap_file(&host.backup_folder(), name, &LogFile { stream: 77, ..log }.build());
    }
    is_refused(&host, "Web.edb is of another log stream than the logs that are there", -555);

    for host in [dirty(), clean()] {
        let made_after_another = LogFile { previous_created: Some(44), ..logs()[1].clone() };
        swap_file(&host.backup_folder(), "edb00009.log", &made_after_another.build());
        is_refused(&host, "edb00009.log was made after another log than the one before it", -556);
        assert_eq!(damages(&host), [("data/edb00009.log".to_owned(), "log-chain".to_owned(), -556)]);
    }
    let host = dirty();
    swap_file(&host.backup_folder(), "edb00009.log", &LogFile::new(6).build());
    is_refused(&host, "edb00009.log is generation 6 (0x6) by its header, and another by its name", -513);
    // A gap in what was never promised is one of the chain.
    let host = clean();
    drop_file(&host.backup_folder(), "edb00009.log");
    reseal(&host.backup_folder(), |manifest| manifest["logs"]["first_generation"] = Value::Null);
    is_refused(&host, "edb.log does not follow: log 9 (0x9) is missing before it", -556);
    let host = dirty();
    swap_file(&host.backup_folder(), "edb.chk", &ese::checkpoint(8, 77));
    is_refused(&host, "edb.chk is of another log stream", -532);
    assert_eq!(damages(&host), [("data/edb.chk".to_owned(), "checkpoint".to_owned(), -532)]);
}

#[test]
fn case_94_a_copy_of_the_engine_needs_the_logs_of_its_backup_and_a_trailer_that_fits() {
    let host = engine_made(|_| {});
    assert_eq!(damages(&host), []);
    restore(&host, &[])
        .exits(0)
        .says("1 database, 4 logs 4-7 (0x4-0x7)")
        .says("copied by the engine's own backup")
        .says("[JET_errSoftRecoveryOnBackupDatabase, -544]");
    for (gone, code) in [("j5000004.log", -554), ("j5000007.log", -553), ("j5000006.log", -543)] {
        let host = engine_made(|_| {}); // case 92
        drop_file(&host.backup_folder(), gone);
        is_refused(&host, "dhcp.mdb needs logs 4-7 (0x4-0x7); missing: ", code);
    }
    // A range in the header beyond the logs.
    is_refused(&engine_made(|copy| copy.trailer_high = 9), "dhcp.mdb needs logs 4-9", -553);
    // case 94
    let host = engine_made(|_| {});
    let mut copy = fs::read(host.stored("dhcp.mdb")).expect("read");
    let begin = copy.len() - 4096;
    let page = DatabaseFile::new().page(31);
    copy[begin..].copy_from_slice(&page);
    swap_file(&host.backup_folder(), "dhcp.mdb", &copy);
    is_refused(&host, "its last page is no trailer", -535);
    let host = engine_made(|_| {});
    let mut copy = fs::read(host.stored("dhcp.mdb")).expect("read");
    ese::put_u32(&mut copy[begin..], 56, 3); // another first log
    ese::seal_header(&mut copy[begin..]);
    swap_file(&host.backup_folder(), "dhcp.mdb", &copy);
    is_refused(&host, "its trailer is that of another backup", -552);
}

#[test]
fn a_database_without_a_header_or_cut_short_is_no_database() {
    let host = dirty();
    let mut database = DatabaseFile::dirty(8, 10).build();
    (database[300], database[4396]) = (9, 9);
    swap_file(&host.backup_folder(), "Web.edb", &database);
    is_refused(&host, "Web.edb is a database with no valid header", -1206);
    let host = dirty();
    swap_file(&host.backup_folder(), "Web.edb", &DatabaseFile::dirty(8, 10).build()[..20 * 4096]);
    is_refused(&host, "Web.edb is cut short", -1206);
    let host = dirty();
    swap_file(&host.backup_folder(), "Web.edb", b"a letter");
    is_refused(&host, "Web.edb should be a database, but is not a file of the Extensible Storage Engine", -1206);
    let host = dirty();
    swap_file(&host.backup_folder(), "Web.edb", &DatabaseFile { state: 1, ..DatabaseFile::dirty(8, 10) }.build());
    is_refused(&host, "Web.edb is in state 1", -550);
    // A log that is there and cannot be read is not missing.
    let host = dirty();
    let mut log = logs()[1].build();
    log[100] ^= 1;
    swap_file(&host.backup_folder(), "edb00009.log", &log);
    restore(&host, &[]).exits(3).says("edb00009.log is a log with a damaged header").says("-612");
    let kinds: Vec<_> = damages(&host).into_iter().map(|(file, kind, _)| (file, kind)).collect();
    assert_eq!(kinds, [("data/edb00009.log".to_owned(), "log-header".to_owned())]);
    // What a line says of its size asks for no memory, and for no time.
    for name in ["Web.edb", "edb00009.log", "edb.chk"] {
        let host = dirty();
        forge(&host.backup_folder(), |lines| {
            lines.iter_mut().filter(|line| line["path"] == name).for_each(|line| line["size"] = u64::MAX.into());
        });
        host.run_soon(&["restore", "repo", "--into", "out"]);
        host.run_soon(&["verify", "repo"]).exits(3);
        assert!(!host.path("out").exists());
    }
    // One that is not there is noticed before the rest is written.
    let host = dirty();
    fs::remove_file(host.stored("edb00009.log")).expect("removed");
    restore(&host, &[]).exits(3).says("edb00009.log is damaged: it is missing from the backup");
    assert!(!host.path("out").exists());
    restore(&host, &["--keep-going"]).exits(3).says("left out: edb00009.log");
    is_back(&host, &["Web.edb", "edb.log"]);
}

#[test]
fn what_was_accepted_when_it_was_backed_up_is_restored_with_a_word() {
    let database = DatabaseFile { committed: 11, ..DatabaseFile::dirty(8, 10) };
    let host = backed_up(&database, &["--accept-loss"]); // case 85
    host.ok(&["verify", "repo"]).says("logs 11 (0xB) are missing").says("-582").says("all good");
    let ran = restore(&host, &[]).exits(0);
    ran.says("Web.edb can be recovered, but loses what was committed: logs 11 (0xB) are missing")
        .says("[JET_errCommittedLogFilesMissing, -582]")
        .says("/dDBDIR /a`.\n")
        .says("  What was committed in 11 (0xB) is lost, which /a accepts.\n");
    is_back(&host, &["Web.edb", "edb00008.log", "edb00009.log", "edb.log", "edb.chk"]);

    // Damaged pages, copied as they were.
    let host = stored_as(&DatabaseFile::new());
    let mut database = DatabaseFile::new().build();
    (database[6 * 4096 + 200], database[6 * 4096 + 900]) = (1, 2);
    host.write("app/Web.edb", database);
    host.write("app/Zweite.edb", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    host.run(&["backup", "app", "--to", "repo", "--snapshot", "--accept-damage"]).exits(3);
    host.ok(&["verify", "repo"]).says("page-checksum of page 5");
    let told = "Web.edb has 1 damaged page, copied as it was: the engine will refuse that page.";
    restore(&host, &["1"]).exits(0).says("1 page of databases was damaged and copied like that").says(told);
    is_back(&host, &["Web.edb", "Zweite.edb"]);
    host.ok(&["show", "repo", "1"]).prints(told);

    // A database left out.
    host.run(&["backup", "app", "--to", "repo", "--snapshot", "--keep-going"]).exits(3);
    host.ok(&["verify", "repo", "2"]);
    restore(&host, &["2"])
        .exits(0)
        .says("1 file could not be read and is not in it")
        .says("The database was shut down cleanly: the application can open it as it is.\n")
        .says("  Web.edb could not be read and is not in the backup.\n");
    is_back(&host, &["Zweite.edb"]);
}

/// What is written into the storage; nothing stands for a file that goes.
type Changes = Vec<(&'static str, Vec<u8>)>;

#[test]
fn every_backup_that_jetbak_makes_is_a_set() {
    let chain = logs();
    let others: [(&str, Changes); 5] = [
        ("nothing but a current log that a roll left behind is required", {
            let tip = LogFile { data: 0, shadow: false, ..chain[2].clone() };
            let database = DatabaseFile::dirty(10, 10).build();
            vec![("Web.edb", database), ("edbtmp.log", tip.build()), ("edb.log", Vec::new()), ("edb.chk", Vec::new())]
        }),
        ("clean, and the current log is gone", vec![("edb.log", Vec::new())]),
        ("clean, without a checkpoint", vec![("edb.chk", Vec::new())]),
        ("no logs at all", {
            let alone = DatabaseFile { stream: 0, ..DatabaseFile::new() }.build();
            let gone = ["edb.log", "edb00008.log", "edb00009.log", "edb.chk"].map(|name| (name, Vec::new()));
            [vec![("Web.edb", alone)], gone.to_vec()].concat()
        }),
        ("no database at all", vec![("Web.edb", Vec::new())]),
    ];
    for (what, changes) in others {
        let host = stored_as(&DatabaseFile::new());
        for (name, content) in changes {
            if content.is_empty() {
                fs::remove_file(host.path("app").join(name)).expect("removed");
            } else {
                host.write(&format!("app/{name}"), content);
            }
        }
        host.ok(&["backup", "app", "--to", "repo", "--snapshot"]);
        assert_eq!(damages(&host), [], "{what}");
        let ran = restore(&host, &["--json"]).exits(0);
        assert_eq!(ran.summary()["warnings"], 0, "{what}: {}", ran.stdout);
        let stored = names(&host.stored(""));
        is_back(&host, &stored.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(names(Path::new(&host.path("out"))), stored, "{what}");
    }
}

#[test]
fn what_the_engines_host_will_do_is_said_in_a_sentence() {
    let told = "The database was shut down cleanly: the application can open it as it is.";
    let host = clean();
    restore(&host, &[]).exits(0).says("  1 database, 3 logs 8-10 (0x8-0xA), the checkpoint\n").says(told);
    host.ok(&["show", "repo", "1"]).prints(told);
    assert_eq!(host.ok(&["show", "repo", "1", "--json"]).summary()["advice"], told);

    let host = dirty();
    let told = "The database needs recovery: the engine replays logs 8-10 (0x8-0xA) when the application starts; by hand, on \
                its Windows host: `esentutl /r edb /lLOGDIR /sCHKDIR /dDBDIR`.";
    let home = r" The logs know it as C:\data\Web.edb: without /d it must stand there.";
    restore(&host, &[]).exits(0).says(&format!("  {told}\n  {}\n", home.trim_start()));
    assert_eq!(host.ok(&["show", "repo", "1", "--json"]).summary()["advice"], told);
    assert_eq!(restore(&host, &["--json"]).exits(0).summary()["advice"], format!("{told}{home}"));
    // One of its files is no instance.
    let summary = restore(&host, &["--only", "notes.txt", "--json"]).exits(0).summary();
    assert_eq!((&summary["advice"], &summary["placed"]["databases"]), (&Value::Null, &json!(0)));

    // The logs name a database that is not there.
    let host = stored_as(&DatabaseFile { signature: 7, ..DatabaseFile::dirty(8, 10) });
    host.ok(&["backup", "app", "--to", "repo", "--snapshot"]);
    restore(&host, &[]).exits(0).says("/dDBDIR /i`.\n  /i passes over databases that the logs name");

    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    let summary = restore(&host, &["--json"]).exits(0).summary();
    assert_eq!((&summary["advice"], &summary["placed"]), (&Value::Null, &Value::Null));
}
