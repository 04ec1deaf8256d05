//! What check says of an instance as a whole: which files belong to it, whether its logs follow each other, whether those
//! are there that a database needs.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::ese::{self, DatabaseFile, LogFile, STREAM, Sample};
use common::{Host, Ran};
use serde_json::Value;

/// Writes a chain of logs into a directory; the last one is the current log.
fn write_chain(host: &Host, folder: &str, generations: std::ops::RangeInclusive<u32>) {
    write_logs(host, folder, &LogFile::chain(generations));
}

fn write_logs(host: &Host, folder: &str, logs: &[LogFile]) {
    for (index, log) in logs.iter().enumerate() {
        let name =
            if index + 1 == logs.len() { "edb.log".to_owned() } else { format!("edb{:05X}.log", log.generation) };
        host.write(&format!("{folder}/{name}"), log.build());
    }
}

/// A dirty database that needs logs 5 to 7 of 4 to 8, its checkpoint at 5.
fn dirty_instance() -> Host {
    let host = Host::new();
    host.write("app/Web.edb", DatabaseFile::dirty(5, 7).build());
    host.write("app/edb.chk", ese::checkpoint(5, STREAM));
    write_chain(&host, "app", 4..=8);
    host
}

#[track_caller]
fn finds(host: &Host, code: i32, expected: &[(&str, &str, i64)]) -> Ran {
    let ran = host.run_soon(&["check", "app", "--json"]).exits(code);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let damages = ran.json().into_iter().filter(|line| line["type"] == "damage");
    let found: Vec<_> =
        damages.map(|one| (text(&one["file"]), text(&one["kind"]), one["code"].as_i64().unwrap_or(0))).collect();
    let found: Vec<_> = found
        .iter()
        .map(|(file, kind, code)| (file.strip_prefix("app/").unwrap_or(file), kind.as_str(), *code))
        .collect();
    assert_eq!(found, expected, "{}", ran.stdout);
    ran
}

fn remove(host: &Host, file: &str) {
    fs::remove_file(host.path(file)).expect("removed");
}

fn instance(ran: &Ran) -> Value {
    ran.json().into_iter().find(|line| line["type"] == "instance").expect("an instance")
}

#[test]
fn a_dirty_instance_with_its_logs_is_fine() {
    let host = dirty_instance();
    let ran = finds(&host, 0, &[]);
    let instance = instance(&ran);
    assert_eq!((&instance["base"], &instance["checkpoint"]["generation"]), (&"edb".into(), &5.into()));
    assert_eq!(instance["generations"], serde_json::json!([{"low": 4, "high": 8}]));
    assert_eq!(instance["restore_logs"], serde_json::json!({"low": 5, "high": 7}));
    assert_eq!(ran.summary()["warnings"], 0);
    host.ok(&["check", "app"])
        .says("app: 1 database, 5 logs of the stream edb, generations 4-8 (0x4-0x8); checkpoint at 5:1:0")
        .says("app/Web.edb: dirty shutdown, pages of 4 KiB, owns 30 pages; needs logs 5-7 (0x5-0x7)")
        .says("a restore needs the databases and logs 5-7 (0x5-0x7)")
        .says("all good");
    assert_eq!(host.ok(&["check", "app", "--quiet"]).stderr, "");
}

#[test]
fn missing_logs_are_named() {
    let host = dirty_instance();
    remove(&host, "app/edb00006.log");
    finds(&host, 3, &[("edb00007.log", "log-chain", -569), ("Web.edb", "missing", -543)]);
    host.run(&["check", "app"]).exits(3).prints("needs logs 5-7 (0x5-0x7); missing: 6 (0x6)");
    // Not needed, but a gap.
    write_chain(&host, "app", 4..=8);
    write_chain(&host, "app", 2..=8);
    remove(&host, "app/edb00003.log");
    finds(&host, 3, &[("edb00004.log", "log-chain", -569)]);
    // Committed, but not required.
    let host = Host::new();
    host.write("app/Web.edb", DatabaseFile { committed: 9, ..DatabaseFile::dirty(5, 7) }.build());
    host.write("app/edb.chk", ese::checkpoint(5, STREAM));
    write_chain(&host, "app", 5..=8);
    finds(&host, 3, &[("Web.edb", "missing", -582)]);
    // The whole stream.
    let host = Host::new();
    host.write("app/Web.edb", DatabaseFile::dirty(5, 7).build());
    finds(&host, 3, &[("Web.edb", "missing", -543)]);
    // Of a required range that no disk could hold nothing is counted one by one.
    host.write("app/Web.edb", DatabaseFile::dirty(1, u32::MAX).build());
    finds(&host, 3, &[("Web.edb", "missing", -543)]);
}

#[test]
fn a_current_log_that_is_missing_counts_when_dirty() {
    let host = dirty_instance();
    remove(&host, "app/edb.log");
    finds(&host, 3, &[("edb.log", "missing", -528)]);
    host.write("app/Web.edb", DatabaseFile::new().build());
    let ran = finds(&host, 0, &[]);
    assert!(ran.json().iter().any(|line| line["type"] == "warning" && line["code"] == -528));
    // Between the two renames of a roll the next log is the current one.
    host.write("app/Web.edb", DatabaseFile::dirty(5, 7).build());
    let chain = LogFile::chain(4..=8);
    host.write("app/edbtmp.log", LogFile { data: 0, shadow: false, ..chain[4].clone() }.build());
    finds(&host, 0, &[]);
    // One that follows by its number alone is not, nor is one that was to be used again.
    host.write(
        "app/edbtmp.log",
        LogFile { data: 0, shadow: false, previous_created: Some(44), ..chain[4].clone() }.build(),
    );
    finds(&host, 3, &[("edb.log", "missing", -528)]);
    host.write("app/edbtmp.log", LogFile::new(3).build());
    finds(&host, 3, &[("edb.log", "missing", -528)]);
}

#[test]
fn logs_that_do_not_belong_are_told_apart() {
    let host = dirty_instance();
    // Misnamed: also missing under the name that it should have is nothing, for its header counts.
    fs::rename(host.path("app/edb00006.log"), host.path("app/edb00026.log")).expect("renamed");
    finds(&host, 3, &[("edb00026.log", "log-chain", -513)]);
    // Of another stream.
    let host = dirty_instance();
    host.write("app/edb00002.log", LogFile { stream: 77, ..LogFile::new(2) }.build());
    finds(&host, 3, &[("edb00002.log", "log-chain", -530)]);
    // Made after another log than the one before it.
    let host = dirty_instance();
    let chain = LogFile::chain(4..=8);
    host.write("app/edb00006.log", LogFile { previous_created: Some(44), ..chain[2].clone() }.build());
    finds(&host, 3, &[("edb00006.log", "log-chain", -515)]);
    // The content of the log before is another.
    let host = dirty_instance();
    host.write("app/edb00006.log", LogFile { data: 8, ..chain[2].clone() }.build());
    finds(&host, 3, &[("edb00007.log", "log-chain", -590)]);
    // The same generation twice; an old log under the name of the current one.
    let host = dirty_instance();
    host.write("app/edb00000006.log", chain[2].build());
    finds(&host, 3, &[("edb00006.log", "log-chain", -515)]);
    let host = dirty_instance();
    host.write("app/edb00008.log", chain[4].build());
    host.write("app/edb.log", LogFile { previous_created: None, ..LogFile::new(1) }.build());
    let found = host.run(&["check", "app", "--json"]).exits(3);
    assert!(found.stdout.contains("is the current log, but generation 1 (0x1) is not the newest"), "{}", found.stdout);
    // A header that does not hold, and one that was overwritten.
    let host = dirty_instance();
    let mut damaged = chain[0].build();
    damaged[100] ^= 1;
    host.write("app/edb00004.log", damaged);
    host.write("app/edb00005.log", vec![7; 65536]);
    finds(
        &host,
        3,
        &[
            ("edb00004.log", "log-header", -612),
            ("edb00005.log", "log-header", -612),
            ("Web.edb", "missing", -543),
            ("edb.chk", "checkpoint", -543),
        ],
    );
}

#[test]
fn a_damaged_segment_of_any_log_is_found_but_the_link_is_not_blamed() {
    let host = dirty_instance();
    let mut log = LogFile::chain(4..=8)[2].build();
    log[3 * 4096 + 77] ^= 0x81;
    host.write("app/edb00006.log", log);
    finds(&host, 3, &[("edb00006.log", "log-segment", -612)]);
}

#[test]
fn the_checkpoint_is_judged_against_the_stream() {
    let host = dirty_instance();
    remove(&host, "app/edb.chk");
    let ran = finds(&host, 0, &[]);
    assert!(ran.json().iter().any(|line| line["type"] == "warning" && line["code"] == -542));
    host.write("app/edb.chk", ese::checkpoint(5, 77));
    finds(&host, 3, &[("edb.chk", "checkpoint", -532)]);
    host.write("app/edb.chk", ese::checkpoint(2, STREAM));
    finds(&host, 3, &[("edb.chk", "checkpoint", -543)]);
    host.write("app/Web.edb", DatabaseFile::new().build());
    let ran = finds(&host, 0, &[]);
    assert!(ran.json().iter().any(|line| line["type"] == "warning" && line["code"] == -543));
    host.write("app/edb.chk", vec![0; 8192]);
    finds(&host, 3, &[("edb.chk", "checkpoint", -533)]);
    let mut damaged = ese::checkpoint(5, STREAM);
    (damaged[9], damaged[5000]) = (1, 1);
    host.write("app/edb.chk", damaged);
    finds(&host, 3, &[("edb.chk", "checkpoint", -533)]);
}

#[test]
fn an_instance_may_lie_in_subdirectories_or_be_spread() {
    let host = Host::new();
    host.write("app/db/one/Web.edb", DatabaseFile::dirty(5, 7).build());
    host.write("app/db/no-extension", DatabaseFile { signature: 8, page_size: 8192, ..DatabaseFile::new() }.build());
    host.write("app/system/edb.chk", ese::checkpoint(5, STREAM));
    write_chain(&host, "app/logs", 5..=8);
    host.write("app/logs/edbres00001.jrs", vec![0; 65536]);
    host.write("app/logs/edbtmp.log", vec![0; 65536]);
    host.write("app/logs/readme.txt", "hello");
    let ran = finds(&host, 0, &[]);
    let found = instance(&ran);
    assert_eq!(found["databases"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["checkpoint"]["path"], "app/system/edb.chk");
    assert_eq!(found["left_out"].as_array().map(Vec::len), Some(2));

    fs::rename(host.path("app/logs"), host.path("logs")).expect("moved");
    fs::rename(host.path("app/system"), host.path("system")).expect("moved");
    finds(&host, 3, &[("db/one/Web.edb", "missing", -543)]);
    let ran = host.ok(&["check", "app", "--log-dir", "logs", "--checkpoint", "system/edb.chk", "--json"]);
    assert_eq!(instance(&ran)["checkpoint"]["generation"], 5);
    assert_eq!(ran.summary()["warnings"], 0);
}

#[test]
fn two_streams_in_one_directory_must_be_told_apart() {
    let host = dirty_instance();
    for log in LogFile::chain(1..=2) {
        let log = LogFile { stream: 99, ..log };
        let name = if log.generation == 2 { "app/E00.log".to_owned() } else { "app/E0000001.log".to_owned() };
        host.write(&name, log.build());
    }
    host.run(&["check", "app"])
        .exits(5)
        .says("2 log streams in app: e00 in . (generations 1-2 (0x1-0x2)), edb in . (generations 4-8 (0x4-0x8))")
        .says("[JET_errRunningInMultiInstanceMode, -1081]")
        .says("--base");
    host.ok(&["check", "app", "--base", "EDB"]);
    host.ok(&["check", "app", "--base", "edb", "-v"]).says("of the log stream e00, which was not asked for");
    host.run(&["check", "app", "--base", "xyz"]).exits(2);
}

#[test]
fn names_of_eight_digits_and_jtx_make_a_stream_as_well() {
    let host = Host::new();
    let low = 0xF_FFFE;
    host.write("app/Web.edb", DatabaseFile::dirty(low, low + 3).build());
    host.write("app/USS.jcp", ese::checkpoint(low, STREAM));
    for log in LogFile::chain(low..=low + 4) {
        let name = match log.generation {
            generation if generation == low + 4 => "uss.jtx".to_owned(),
            generation if generation > 0xF_FFFF => format!("USS{generation:08X}.jtx"),
            generation => format!("USS{generation:05x}.jtx"),
        };
        host.write(&format!("app/{name}"), log.build());
    }
    let found = instance(&finds(&host, 0, &[]));
    assert_eq!(found["generations"], serde_json::json!([{"low": low, "high": low + 4}]));
}

#[test]
fn a_set_that_the_engine_made_needs_the_logs_of_its_trailer() {
    let host = Host::new();
    let copy = DatabaseFile { full_current: (4, 0), trailer_high: 7, ahead: 0, ..DatabaseFile::dirty(5, 6) };
    host.write("app/dhcp.mdb", copy.build());
    host.write("app/dhcp.pat", "");
    for log in LogFile::chain(4..=7) {
        host.write(&format!("app/j50{:05X}.log", log.generation), log.build());
    }
    let ran = finds(&host, 0, &[]);
    assert_eq!(ran.summary()["warnings"], 0, "neither a current log nor a checkpoint is part of such a set");
    assert_eq!(instance(&ran)["restore_logs"], serde_json::json!({"low": 4, "high": 7}));
    remove(&host, "app/j5000007.log");
    finds(&host, 3, &[("dhcp.mdb", "missing", -543)]);
}

#[test]
fn databases_that_are_attached_are_expected() {
    let host = Host::new();
    let attached = vec![(7, "D:\\data\\Other.edb".to_owned())];
    let chain = LogFile::chain(5..=6);
    write_logs(&host, "app", &[chain[0].clone(), LogFile { attached, ..chain[1].clone() }]);
    host.write("app/edb.chk", ese::checkpoint(5, STREAM));
    host.ok(&["check", "app"]).says("lists the database D:\\data\\Other.edb, which is not in the storage");
    host.write("app/other.EDB", vec![0; 300_000]);
    finds(&host, 3, &[("other.EDB", "file-type", -1206)]);
    host.write("app/other.EDB", DatabaseFile { signature: 7, ..DatabaseFile::new() }.build());
    assert_eq!(finds(&host, 0, &[]).summary()["warnings"], 0);
    // A name that databases have, and nothing of one inside.
    host.write("app/third.edb", "version https://git-lfs.github.com/spec/v1\noid sha256:37f4\n");
    finds(&host, 3, &[("third.edb", "file-type", -1206)]);
    fs::rename(host.path("app/third.edb"), host.path("app/third.mdb")).expect("renamed");
    host.ok(&["check", "app"]).says("app/third.mdb was not checked: it is a Git LFS pointer");
}

#[test]
fn several_targets_are_checked_in_one_go() {
    let host = dirty_instance();
    host.write("one.edb", DatabaseFile::new().build());
    let mut damaged = DatabaseFile::new().build();
    damaged[30_000] ^= 1;
    host.write("two.edb", damaged);
    let ran = host.run(&["check", "app", "one.edb", "two.edb", "--json"]).exits(3);
    assert_eq!(ran.json().iter().filter(|line| line["type"] == "instance").count(), 3);
    assert_eq!((&ran.summary()["damages"], &ran.summary()["files"]), (&1.into(), &9.into()));
}

#[test]
fn links_and_odd_names_do_no_harm() {
    let host = dirty_instance();
    std::os::unix::fs::symlink(host.path("app"), host.path("app/loop")).expect("linked");
    let odd = std::path::Path::new("app").join(common::odd_name());
    fs::write(host.path(&odd), DatabaseFile { signature: 3, ..DatabaseFile::new() }.build()).expect("written");
    let ran = finds(&host, 0, &[]);
    let databases = &instance(&ran)["databases"];
    assert!(databases.as_array().is_some_and(|all| all.iter().any(|one| one["path_base64"].is_string())));
    host.ok(&["check", "app", "-v"]).says("left out: app/loop, a symbolic link");
}

#[test]
fn real_directories_are_judged_as_they_are() {
    let Some(samples) = Sample::all() else { return };
    let host = Host::new();
    Sample::unpack(&samples, &host.path(""));
    let check = |target: &str, code: i32| host.run_soon(&["check", target, "--json"]).exits(code);
    let found = instance(&check("datastore-1", 0));
    assert_eq!(found["generations"], serde_json::json!([{"low": 0x46, "high": 0x49}]));
    assert_eq!(found["left_out"].as_array().map(Vec::len), Some(3), "the recycled log and the reserves");
    for folder in
        ["datastore-2", "datastore-3", "security-db-a", "security-db-c", "secedit/icode42", "ravendb/fubublog-438565d"]
    {
        check(folder, 0);
    }
    for folder in ["ravendb/ssdug", "ravendb/kudos-1", "ravendb/trayburn-1"] {
        let ran = check(folder, 3);
        assert!(ran.stdout.contains("\"code\":-543"), "{folder}: its log was never kept");
        assert_eq!(instance(&ran)["restore_logs"], serde_json::json!({"low": 1, "high": 1}));
    }
    // The set of a DHCP server, of which only the headers are here: filled up with zeros to its real sizes.
    let sizes = [("dhcp.mdb.hdr8k", 2_109_440), ("j501E2E4.log.hdr4k", 1 << 20)];
    for sample in samples.iter().filter(|sample| sample.name.starts_with("dhcp-backup-headers/")) {
        let name = sample.name.trim_start_matches("dhcp-backup-headers/");
        let size = if name == sizes[0].0 { sizes[0].1 } else { sizes[1].1 };
        let mut bytes = sample.read();
        bytes.resize(size, 0);
        host.write(&format!("dhcp/{}", name.trim_end_matches(".hdr8k").trim_end_matches(".hdr4k")), bytes);
    }
    let ran = check("dhcp", 3);
    let found = instance(&ran);
    assert_eq!((&found["base"], &found["generations"][0]["low"]), (&"j50".into(), &0x1E2E4.into()));
    assert_eq!(found["databases"][0]["required"]["high"], 0x1E2EC);
    let damages: Vec<_> = ran.json().into_iter().filter(|line| line["type"] == "damage").collect();
    let codes: Vec<_> = damages.iter().map(|damage| damage["code"].as_i64()).collect();
    assert_eq!(codes, [Some(-1019), Some(-535)], "nothing but what was cut away");
}

#[test]
fn a_set_of_an_old_engine_keeps_its_patch_page_beside_the_database() {
    let host = Host::new();
    let copy = DatabaseFile { full_current: (4, 0), trailer_high: 7, ahead: 0, ..DatabaseFile::dirty(5, 6) };
    let (patch, file) = (copy.patch_file(), copy.build());
    host.write("app/Mail.edb", &file[..file.len() - copy.page_size]);
    host.write("app/Mail.PAT", patch);
    for log in LogFile::chain(4..=7) {
        host.write(&format!("app/edb{:05X}.log", log.generation), log.build());
    }
    assert_eq!(instance(&finds(&host, 0, &[]))["restore_logs"], serde_json::json!({"low": 4, "high": 7}));
    // The last page of the database is a page like any other.
    let mut damaged = file[..file.len() - copy.page_size].to_vec();
    let last = damaged.len() - 9;
    damaged[last] ^= 0x81;
    host.write("app/Mail.edb", damaged);
    finds(&host, 3, &[("Mail.edb", "page-checksum", -1018)]);
    host.write("app/Mail.edb", &file[..file.len() - copy.page_size]);
    remove(&host, "app/Mail.PAT");
    finds(&host, 3, &[("Mail.edb", "trailer", -535)]);
}

#[test]
fn a_temporary_database_is_left_out() {
    let host = dirty_instance();
    let scratch = DatabaseFile { stream: 0, signature: 9, state: 2, ..DatabaseFile::new() };
    host.write("app/TMP.EDB", scratch.build());
    host.write("app/temp.edb", DatabaseFile { state: 1, ..scratch.clone() }.build());
    let ran = finds(&host, 0, &[]);
    assert_eq!(instance(&ran)["left_out"].as_array().map(Vec::len), Some(2));
    host.ok(&["check", "app", "-v"]).says("left out: app/TMP.EDB, a temporary database, which no restore needs");
    // The name alone does not make it one.
    host.write("app/TMP.EDB", DatabaseFile { signature: 9, ..DatabaseFile::dirty(2, 7) }.build());
    finds(&host, 3, &[("TMP.EDB", "missing", -543)]);
}

#[test]
fn four_bytes_by_chance_make_no_file_of_the_engine() {
    let host = dirty_instance();
    for kind in [1, 3, 4, 7] {
        let mut bytes = vec![0x41; 9000];
        ese::put_u32(&mut bytes, 667, kind);
        host.write(&format!("app/module{kind}.pyc"), bytes);
    }
    assert_eq!(finds(&host, 0, &[]).summary()["warnings"], 0);
    // Under a name that says the same, they count.
    let mut damaged = DatabaseFile::new().build();
    for copy in [0, 4096] {
        damaged[copy + 5] ^= 0xFF;
    }
    host.write("app/Old.edb", damaged);
    finds(&host, 3, &[("Old.edb", "header", -1206)]);
}

#[test]
fn logs_of_another_stream_than_the_database_are_told() {
    let host = dirty_instance();
    host.write("app/Web.edb", DatabaseFile { stream: 77, ..DatabaseFile::new() }.build());
    host.ok(&["check", "app"])
        .says("app/Web.edb is of another log stream than the logs that are there")
        .says("[JET_errBadLogSignature, -530]");
}

#[test]
fn names_are_those_of_the_stream() {
    let host = Host::new();
    host.write("app/Web.edb", DatabaseFile::dirty(5, 7).build());
    for log in LogFile::chain(5..=7) {
        host.write(&format!("app/USS{:05X}.jtx", log.generation), log.build());
    }
    finds(&host, 3, &[("uss.jtx", "missing", -528)]);
    host.run(&["check", "app"]).exits(3).says("app/uss.jcp is not there");
}

#[test]
fn a_checkpoint_that_is_named_must_be_one() {
    let host = dirty_instance();
    let ran = host.run(&["check", "app", "--checkpoint", "app/edb.log"]).exits(3);
    ran.prints("app/edb.log: checkpoint: should be the checkpoint, but is a log");
}

#[test]
fn an_attached_database_with_a_damaged_header_is_not_called_missing() {
    let host = Host::new();
    let attached = vec![(7, "D:\\data\\Other.edb".to_owned())];
    write_logs(&host, "app", &[LogFile { attached, ..LogFile::chain(5..=5)[0].clone() }]);
    host.write("app/edb.chk", ese::checkpoint(5, STREAM));
    let mut damaged = DatabaseFile { signature: 7, ..DatabaseFile::new() }.build();
    (damaged[100], damaged[4196]) = (1, 1);
    host.write("app/other.EDB", damaged);
    assert_eq!(finds(&host, 3, &[("other.EDB", "header", -1206)]).summary()["warnings"], 0);
}

#[test]
fn a_log_that_cannot_be_read_is_not_called_missing() {
    let host = dirty_instance();
    common::open_to_all(&host, "app");
    for name in ["edb00006.log", "edb.chk"] {
        fs::set_permissions(host.path("app").join(name), fs::Permissions::from_mode(0o000)).expect("closed");
    }
    let ran = common::finish(common::as_ordinary_user(&host, host.command(&["check", "app"]))).exits(1);
    assert!(
        ran.stdout.contains("edb00006.log: unreadable") && ran.stdout.contains("edb.chk: unreadable"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains("missing") && !ran.stderr.contains("missing"), "{}{}", ran.stdout, ran.stderr);
    ran.says("2 places could not be read");
}

#[test]
fn a_target_that_is_not_there_hides_nothing_of_the_others() {
    let host = dirty_instance();
    let ran = host.run(&["check", "nowhere", "app"]).exits(1).says("nowhere").says("all good");
    ran.says("checked");
    host.run(&["check", "app", "--log-dir", "app", "--base", "xyz"]).exits(2).says("no log stream xyz in app");
    fs::create_dir(host.path("empty")).expect("created");
    host.run(&["check", "app", "--log-dir", "empty"]).exits(2).says("there are no logs in empty");
}
