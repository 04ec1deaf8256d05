//! What a verification leaves behind: its result, beside the backups, and nothing else.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use common::{Host, as_ordinary_user, eventually, finish, names, open_to_all};
use serde_json::Value;

/// A machine with two backups in `repo`.
fn two_backups() -> Host {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["backup", "app", "--to", "repo"]);
    host
}

fn record(host: &Host, index: usize) -> PathBuf {
    host.path("repo/verified").join(format!("{}.json", host.backups("repo")[index]))
}

/// What `list` says of each backup's last verification.
fn listed(host: &Host) -> Vec<Value> {
    let mut list = host.ok(&["list", "repo", "--json"]).summary();
    let backups = list["backups"].as_array_mut().expect("a list");
    backups.iter_mut().map(|backup| backup["verified"].take()).collect()
}

/// Everything below a folder of the machine, with sizes and times.
fn tree(host: &Host, name: &str) -> String {
    let found =
        Command::new("find").args([".", "-printf", "%p %y %m %s %T@ %C@\n"]).current_dir(host.path(name)).output();
    let mut lines: Vec<_> =
        String::from_utf8(found.expect("find runs").stdout).expect("text").lines().map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_verification_is_remembered_beside_the_backups_and_changes_none_of_them() {
    let host = two_backups();
    assert_eq!(listed(&host), [Value::Null, Value::Null]);
    let (backups, partial) = (tree(&host, "repo/backups"), tree(&host, "repo/partial"));
    host.ok(&["verify", "repo", "2"]);
    assert_eq!((tree(&host, "repo/backups"), tree(&host, "repo/partial")), (backups, partial));
    let mut names: Vec<_> =
        fs::read_dir(host.path("repo")).expect("listed").map(|e| e.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["backups", "lock", "partial", "repository.json", "verified"]);
    assert_eq!(fs::read_dir(host.path("repo/verified")).expect("listed").count(), 1);

    let text = fs::read_to_string(record(&host, 1)).expect("read");
    let kept: Value = serde_json::from_str(&text).expect("JSON");
    let id = host.backups("repo").remove(1);
    assert_eq!((&kept["type"], &kept["format"], &kept["id"]), (&"verified".into(), &1.into(), &id.clone().into()));
    assert_eq!(kept["manifest_sha256"], host.sha256(&format!("repo/backups/{id}/manifest.json")));
    assert_eq!((&kept["damages"], &kept["files"], &kept["bytes"]), (&0.into(), &6.into(), &50.into()));
    assert!(kept["seconds"].is_number() && kept["host"].is_string());
    assert!(
        kept["at"].as_str().expect("text").ends_with('Z')
            && kept["tool"].as_str().expect("text").starts_with("jetbak ")
    );
    let verified = listed(&host);
    assert_eq!(verified[0], Value::Null);
    for field in ["at", "damages", "files", "bytes", "seconds", "host", "tool"] {
        assert_eq!(verified[1][field], kept[field], "{field}");
    }
    host.verifies("repo");
}

#[test]
fn each_backup_counts_what_is_its_own_and_json_says_how_many_results_were_kept() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.write("app/more.db", "seven b");
    host.ok(&["backup", "app", "--to", "repo"]);
    assert_eq!(host.ok(&["verify", "repo", "--json"]).summary()["recorded"], 2);
    let verified = listed(&host);
    assert_eq!((&verified[0]["files"], &verified[0]["bytes"]), (&6.into(), &50.into()));
    assert_eq!((&verified[1]["files"], &verified[1]["bytes"]), (&7.into(), &57.into()));
}

#[test]
fn damage_is_remembered_until_a_verification_finds_none() {
    let host = two_backups();
    let file = host.stored("main.db");
    fs::write(&file, "the databasd").expect("written");
    fs::remove_file(host.stored("wal.1")).expect("removed");
    host.run(&["verify", "repo"]).exits(3);
    let verified = listed(&host);
    assert_eq!((&verified[0]["damages"], &verified[1]["damages"]), (&0.into(), &2.into()));
    fs::write(&file, "the database").expect("written");
    fs::write(host.stored("wal.1"), "log 1\n").expect("written");
    host.ok(&["verify", "repo", "latest"]);
    assert_eq!(listed(&host)[1]["damages"], 0);
}

#[test]
fn a_record_that_is_not_of_this_very_backup_does_not_count() {
    let host = two_backups();
    host.ok(&["verify", "repo"]);
    let path = record(&host, 1);
    let good = fs::read_to_string(&path).expect("read");
    let other = fs::read_to_string(record(&host, 0)).expect("read");
    let sha256 = host.sha256(&format!("repo/backups/{}/manifest.json", host.backups("repo")[1]));
    let bad = [
        other,
        good.replace(&sha256, &"0".repeat(64)),
        good.replace("000002-", "000009-"),
        good.replace("\"verified\"", "\"backup\""),
        good.replace("\"format\": 1", "\"format\": 2"),
        good[..good.len() / 2].to_owned(),
        String::new(),
        format!("{good}{}", " ".repeat(2 << 20)),
    ];
    for text in bad {
        assert_ne!(text, good);
        fs::write(&path, &text).expect("written");
        assert_eq!(listed(&host)[1], Value::Null, "{text}");
    }
    fs::write(&path, &good).expect("written");
    assert_eq!(listed(&host)[1]["damages"], 0);
    fs::remove_file(&path).expect("removed");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    assert_eq!(host.run_soon(&["list", "repo", "--json"]).exits(0).summary()["backups"][1]["verified"], Value::Null);
}

#[test]
fn what_was_verified_does_not_count_once_the_manifest_is_another_one() {
    let host = two_backups();
    host.ok(&["verify", "repo"]);
    let manifest = host.stored("").with_file_name("manifest.json");
    let text = fs::read_to_string(&manifest).expect("read");
    fs::write(&manifest, text + "\n").expect("written");
    assert_eq!((listed(&host)[0]["damages"].clone(), listed(&host)[1].clone()), (0.into(), Value::Null));
}

#[test]
fn a_manifest_that_cannot_be_believed_leaves_no_record() {
    let host = two_backups();
    fs::write(host.stored("").with_file_name("manifest.json"), "{").expect("written");
    let ran = host.run(&["verify", "repo", "--json"]).exits(3);
    assert_eq!(ran.summary()["recorded"], 1);
    assert!(record(&host, 0).exists() && !record(&host, 1).exists());
    let list = host.run(&["list", "repo", "--json"]).exits(3).summary();
    assert_eq!(list["backups"][1]["verified"], Value::Null);
}

#[test]
fn a_repository_that_cannot_be_written_is_verified_all_the_same() {
    let host = two_backups();
    open_to_all(&host, "repo");
    fs::set_permissions(host.path("repo"), fs::Permissions::from_mode(0o555)).expect("closed");
    let ran = finish(as_ordinary_user(&host, host.command(&["verify", "repo", "-v"]))).exits(0);
    let id = host.backups("repo").remove(0);
    ran.says(&format!("{id}: the result is not recorded: cannot create ")).says("permission denied").says("all good");
    let ran = finish(as_ordinary_user(&host, host.command(&["verify", "repo"]))).exits(0);
    assert!(!ran.stderr.contains("recorded"), "{}", ran.stderr);
    let ran = finish(as_ordinary_user(&host, host.command(&["verify", "repo", "--json"]))).exits(0);
    assert_eq!((ran.summary()["recorded"].clone(), ran.stderr), (0.into(), String::new()));

    // The same where the folder is there, but is somebody else's.
    fs::create_dir(host.path("repo/verified")).expect("created");
    fs::set_permissions(host.path("repo/verified"), fs::Permissions::from_mode(0o555)).expect("closed");
    let ran = finish(as_ordinary_user(&host, host.command(&["verify", "repo", "-v"]))).exits(0);
    ran.says("the result is not recorded: cannot write ");
    assert_eq!(fs::read_dir(host.path("repo/verified")).expect("listed").count(), 0, "nothing is left behind");
    fs::set_permissions(host.path("repo"), fs::Permissions::from_mode(0o755)).expect("opened");
}

#[test]
fn a_link_in_the_place_of_the_records_is_not_followed() {
    let host = two_backups();
    fs::create_dir(host.path("elsewhere")).expect("created");
    symlink(host.path("elsewhere"), host.path("repo/verified")).expect("linked");
    host.ok(&["verify", "repo", "-v"]).says("the result is not recorded: ");
    fs::write(host.path("elsewhere/.jetbak-tmp-0"), "somebody else's").expect("written");
    host.ok(&["backup", "app", "--to", "repo", "-v"]).says("verified is no directory");
    fs::remove_file(host.path("elsewhere/.jetbak-tmp-0")).expect("still there");
    assert_eq!(fs::read_dir(host.path("elsewhere")).expect("listed").count(), 0);
}

#[test]
fn what_a_verification_left_that_died_while_it_recorded_is_removed_by_the_next_backup() {
    let host = two_backups();
    host.ok(&["verify", "repo"]);
    let good = fs::read_to_string(record(&host, 0)).expect("read");
    let folder = host.path("repo/verified");
    let [left, in_use] = ["0011223344556677", "8899aabbccddeeff"].map(|n| folder.join(format!(".jetbak-tmp-{n}")));
    fs::write(&left, &good[..good.len() / 2]).expect("written");
    let living = File::create(&in_use).expect("created");
    living.lock().expect("locked");
    fs::create_dir(folder.join(".jetbak-tmp-folder")).expect("created");
    assert!(Command::new("mkfifo").arg(folder.join(".jetbak-tmp-pipe")).status().expect("mkfifo runs").success());

    host.run_soon(&["backup", "app", "--to", "repo"]).exits(0);
    assert!(!left.exists(), "nobody is at it");
    assert!(in_use.exists(), "another verification is about to give it its name");
    drop(living);
    host.ok(&["backup", "app", "--to", "repo"]);
    let mut stay = [".jetbak-tmp-folder", ".jetbak-tmp-pipe"].map(str::to_owned).to_vec();
    stay.extend(host.backups("repo")[..2].iter().map(|id| format!("{id}.json")));
    assert_eq!(names(&folder), stay, "the records, and what no verification makes");
}

#[test]
fn records_of_another_user_hold_up_no_backup() {
    let host = two_backups();
    open_to_all(&host, "");
    fs::create_dir(host.path("repo/verified")).expect("created");
    fs::write(host.path("repo/verified/.jetbak-tmp-0"), "").expect("written");
    fs::set_permissions(host.path("repo/verified"), fs::Permissions::from_mode(0o300)).expect("closed");
    let backup = host.command(&["backup", "app", "--to", "repo", "-v"]);
    let ran = finish(as_ordinary_user(&host, backup)).exits(0);
    ran.says("left what interrupted verifications may have left alone: cannot list ").says("permission denied");
    fs::set_permissions(host.path("repo/verified"), fs::Permissions::from_mode(0o700)).expect("opened");
}

#[test]
fn a_verification_that_was_interrupted_leaves_no_record_of_what_it_did_not_finish() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.write_huge("app/huge.db", 3 << 30);
    host.ok(&["backup", "app", "--to", "repo"]);
    let running = host.start(&["verify", "repo"]);
    eventually("the first record", || record(&host, 0).exists());
    running.signal("TERM");
    running.wait().exits(143);
    assert!(record(&host, 0).exists() && !record(&host, 1).exists());
}
