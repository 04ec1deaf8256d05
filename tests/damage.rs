//! What verify finds: every kind of damage, all of it at once, named; and nothing in sound backups beside it.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::forge::{flip, forge_line, reseal, sha256};
use common::{Host, odd_name};
use serde_json::Value;

const SECRET: &str = "a letter that is nobody's business";

/// A machine with two backups in `repo`; the first one is there to be damaged.
fn two_backups() -> (Host, PathBuf) {
    let host = Host::with_app();
    fs::create_dir(host.path("app/hollow")).expect("created");
    symlink("main.db", host.path("app/link")).expect("linked");
    host.write("secret", SECRET);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    let folder = folder(&host, 0);
    (host, folder)
}

fn folder(host: &Host, index: usize) -> PathBuf {
    host.path("repo/backups").join(&host.backups("repo")[index])
}

/// Verifies the first backup and returns what was found: file and kind, in order.
fn found(host: &Host) -> Vec<(String, String)> {
    let lines = host.run_soon(&["verify", "repo", "1", "--json"]).exits(3).json();
    let damages: Vec<_> = lines.iter().filter(|line| line["type"] == "damage").collect();
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["damages"], damages.len());
    assert_eq!((&summary["exit_code"], &summary["outcome"]), (&3.into(), &"failed".into()));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    damages.iter().map(|damage| (text(&damage["file"]), text(&damage["kind"]))).collect()
}

#[track_caller]
fn finds(host: &Host, expected: &[(&str, &str)]) {
    let found = found(host);
    let found: Vec<_> = found.iter().map(|(file, kind)| (file.as_str(), kind.as_str())).collect();
    assert_eq!(found, expected);
}

/// The other backup is as good as before.
#[track_caller]
fn the_other_is_good(host: &Host) {
    let ids = host.backups("repo");
    host.run_soon(&["verify", "repo"]).exits(3).says(&format!("{}: good", ids[1]));
    host.ok(&["verify", "repo", "2"]);
    host.ok(&["verify", "repo", "latest"]);
}

// The data

#[test]
fn a_flipped_bit_anywhere_in_a_file_is_found_with_both_hashes() {
    let (host, folder) = two_backups();
    flip(&folder.join("data/main.db"), 11);
    let lines = host.run(&["verify", "repo", "1", "--json"]).exits(3).json();
    let damage = &lines[0];
    assert_eq!(damage["type"], "damage");
    assert_eq!(damage["backup"], host.backups("repo")[0].as_str());
    assert_eq!((&damage["file"], &damage["kind"]), (&"data/main.db".into(), &"hash".into()));
    assert_eq!(damage["stored"], sha256(b"the database"));
    assert_eq!(damage["computed"], sha256(b"the databasd"));
    assert_eq!((&damage["page"], &damage["segment"]), (&Value::Null, &Value::Null));
    the_other_is_good(&host);
}

#[test]
fn a_file_that_is_shorter_or_longer_or_missing_is_found() {
    let (host, folder) = two_backups();
    fs::write(folder.join("data/wal.1"), "log").expect("written");
    fs::write(folder.join("data/wal.2"), "log 2\nand more").expect("written");
    fs::remove_file(folder.join("data/wal.3")).expect("removed");
    fs::write(folder.join("data/wal.4"), "").expect("written");
    finds(&host, &[("data/wal.1", "size"), ("data/wal.2", "size"), ("data/wal.3", "missing"), ("data/wal.4", "size")]);
    let lines = host.run(&["verify", "repo", "1", "--json"]).exits(3).json();
    assert_eq!((&lines[0]["stored"], &lines[0]["computed"]), (&"6".into(), &"3".into()));
    the_other_is_good(&host);
}

#[test]
fn a_damaged_file_whose_name_is_not_utf_8_is_named_exactly() {
    let host = Host::with_app();
    fs::write(host.path("app").join(odd_name()), "odd").expect("written");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    let path = host.stored("").join(odd_name());
    flip(&path, 0);
    let damage = host.run(&["verify", "repo", "--json"]).exits(3).json().remove(0);
    let exact = jetbak::paths::from_fields("", damage["file_base64"].as_str()).expect("base64");
    assert_eq!((exact, &damage["kind"]), (Path::new("data").join(odd_name()), &"hash".into()));
}

#[test]
fn a_person_reads_every_damage_on_a_line_and_what_to_do() {
    let (host, folder) = two_backups();
    let id = host.backups("repo").remove(0);
    flip(&folder.join("data/wal.4"), 0);
    fs::remove_file(folder.join("data/conf/settings.ini")).expect("removed");
    let hashes = format!("{} stored, {} found", sha256(b"log 4\n"), sha256(b"mog 4\n"));
    host.run(&["verify", "repo"])
        .exits(3)
        .prints(&format!("{id}: data/conf/settings.ini: missing\n{id}: data/wal.4: hash: {hashes}\n"))
        .says("2 damages found in ")
        .says("Make a new full backup now, and distrust the disk under the repository.");
}

#[test]
fn what_nobody_put_there_is_found() {
    let (host, folder) = two_backups();
    fs::write(folder.join("data/extra"), "extra").expect("written");
    fs::create_dir(folder.join("data/conf/extra")).expect("created");
    fs::write(folder.join("data/conf/extra/deep"), "deep").expect("written");
    symlink("nowhere", folder.join("data/hollow/extra")).expect("linked");
    fs::write(folder.join("note"), "to self").expect("written");
    finds(
        &host,
        &[("data/conf/extra", "extra"), ("data/extra", "extra"), ("data/hollow/extra", "extra"), ("note", "extra")],
    );
    the_other_is_good(&host);
}

#[test]
fn a_link_that_points_elsewhere_or_is_none_any_more_is_found() {
    let (host, folder) = two_backups();
    fs::remove_file(folder.join("data/link")).expect("removed");
    symlink("conf", folder.join("data/link")).expect("linked");
    let lines = host.run(&["verify", "repo", "1", "--json"]).exits(3).json();
    assert_eq!((&lines[0]["file"], &lines[0]["kind"]), (&"data/link".into(), &"file-type".into()));
    assert_eq!((&lines[0]["stored"], &lines[0]["computed"]), (&"-> main.db".into(), &"-> conf".into()));
    the_other_is_good(&host);

    fs::remove_file(folder.join("data/link")).expect("removed");
    fs::write(folder.join("data/link"), "the database").expect("written");
    finds(&host, &[("data/link", "file-type")]);
    fs::remove_file(folder.join("data/link")).expect("removed");
    finds(&host, &[("data/link", "missing")]);
}

#[test]
fn a_directory_that_is_missing_or_none_any_more_is_found() {
    let (host, folder) = two_backups();
    fs::remove_dir(folder.join("data/hollow")).expect("removed");
    finds(&host, &[("data/hollow", "missing")]);
    fs::write(folder.join("data/hollow"), "").expect("written");
    finds(&host, &[("data/hollow", "file-type")]);
    the_other_is_good(&host);
}

#[test]
fn what_took_the_place_of_a_file_is_found_and_nothing_waits_for_it() {
    let (host, folder) = two_backups();
    let place = |name: &str| {
        let path = folder.join("data").join(name);
        fs::remove_file(&path).expect("removed");
        path
    };
    fs::create_dir(place("wal.1")).expect("created");
    let made = Command::new("mkfifo").arg(place("wal.2")).status();
    assert!(made.expect("mkfifo runs").success());
    let _socket = std::os::unix::net::UnixListener::bind(place("wal.3")).expect("bound");
    symlink(host.path("secret"), place("wal.4")).expect("linked");
    symlink("conf/settings.ini", place("main.db")).expect("linked");
    let ran = host.run_soon(&["verify", "repo", "1", "--json"]).exits(3);
    assert!(!ran.stdout.contains(&sha256(SECRET.as_bytes())), "no link is followed");
    finds(
        &host,
        &[
            ("data/main.db", "file-type"),
            ("data/wal.1", "file-type"),
            ("data/wal.2", "file-type"),
            ("data/wal.3", "file-type"),
            ("data/wal.4", "file-type"),
        ],
    );
    the_other_is_good(&host);
}

#[test]
fn a_directory_that_became_a_link_is_found_even_if_it_leads_to_the_same_content() {
    let (host, folder) = two_backups();
    fs::rename(folder.join("data/conf"), host.path("conf")).expect("moved");
    symlink(host.path("conf"), folder.join("data/conf")).expect("linked");
    let found = found(&host);
    assert!(found.contains(&("data/conf".to_owned(), "file-type".to_owned())), "{found:?}");
    the_other_is_good(&host);
}

// What describes the data

#[test]
fn a_flipped_bit_in_any_of_the_describing_files_is_found_wherever_it_is() {
    let (host, folder) = two_backups();
    for (name, step) in [("manifest.json", 37), ("files.jsonl", 97), ("SHA256SUMS", 61)] {
        let path = folder.join(name);
        let good = fs::read(&path).expect("read");
        for offset in (0..good.len()).step_by(step) {
            flip(&path, offset);
            let found = found(&host);
            assert!(!found.is_empty(), "byte {offset} of {name}");
            fs::write(&path, &good).expect("written");
        }
        host.ok(&["verify", "repo"]);
    }
}

#[test]
fn a_describing_file_that_is_missing_is_found_and_the_rest_is_still_looked_at() {
    let (host, folder) = two_backups();
    let sums = fs::read(folder.join("SHA256SUMS")).expect("read");
    fs::remove_file(folder.join("SHA256SUMS")).expect("removed");
    finds(&host, &[("SHA256SUMS", "missing")]);
    the_other_is_good(&host);
    fs::write(folder.join("SHA256SUMS"), sums).expect("written");

    let list = fs::read(folder.join("files.jsonl")).expect("read");
    fs::remove_file(folder.join("files.jsonl")).expect("removed");
    assert!(found(&host).contains(&("files.jsonl".to_owned(), "missing".to_owned())));
    the_other_is_good(&host);
    fs::write(folder.join("files.jsonl"), list).expect("written");
    host.ok(&["verify", "repo"]);

    fs::remove_file(folder.join("manifest.json")).expect("removed");
    finds(&host, &[("manifest.json", "manifest")]);
}

#[test]
fn a_describing_file_that_became_something_else_is_damage_and_no_failure() {
    for name in ["SHA256SUMS", "files.jsonl", "manifest.json"] {
        for make in ["mkdir", "mkfifo"] {
            let (host, folder) = two_backups();
            fs::remove_file(folder.join(name)).expect("removed");
            let made = Command::new(make).arg(folder.join(name)).status();
            assert!(made.expect("runs").success());
            let found = found(&host);
            assert!(found.iter().any(|(file, _)| file == name), "{make} {name}: {found:?}");
            host.run_soon(&["verify", "repo"]).exits(3).says("verified 2 backups");
        }
    }
}

#[test]
fn a_backup_whose_data_folder_is_gone_lists_every_file() {
    let (host, folder) = two_backups();
    fs::remove_dir_all(folder.join("data")).expect("removed");
    let found = found(&host);
    assert_eq!(found.len(), 10, "{found:?}");
    assert!(found.iter().all(|(_, kind)| kind == "missing"), "{found:?}");
    the_other_is_good(&host);
}

#[test]
fn all_damages_are_listed_not_only_the_first() {
    let host = Host::new();
    for number in 0..300 {
        host.write(&format!("app/{number:03}"), format!("file {number}"));
    }
    host.ok(&["backup", "app", "--to", "repo"]);
    for number in 0..300 {
        flip(&folder(&host, 0).join(format!("data/{number:03}")), 0);
    }
    let found = found(&host);
    assert_eq!(found.len(), 300);
    assert!(found.is_sorted());
}

// The chain

#[test]
fn a_backup_before_this_one_that_was_changed_is_found_although_its_own_hashes_fit() {
    let (host, folder) = two_backups();
    fs::write(folder.join("data/main.db"), "the forgery!").expect("written");
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).expect("read");
    let (old, new) = (sha256(b"the database"), sha256(b"the forgery!"));
    fs::write(folder.join("SHA256SUMS"), sums.replace(&old, &new)).expect("written");
    forge_line(&folder, "main.db", |line| line.replace(&old, &new));
    let ids = host.backups("repo");
    host.ok(&["verify", "repo", &ids[0]]);
    let damage = host.run(&["verify", "repo", &ids[1], "--json"]).exits(3).json().remove(0);
    assert_eq!((&damage["file"], &damage["kind"]), (&"manifest.json".into(), &"chain".into()));
    assert!(damage["stored"].as_str().expect("text").starts_with(&ids[0]));
    assert_eq!(damage["computed"], sha256(&fs::read(folder.join("manifest.json")).expect("read")));
}

#[test]
fn two_backups_with_one_number_are_found() {
    let (host, folder) = two_backups();
    let id = host.backups("repo").remove(0);
    let twin = id.replace("-full", "-copy");
    let copied = Command::new("cp").arg("-a").arg(&folder).arg(host.path("repo/backups").join(&twin)).status();
    assert!(copied.expect("cp runs").success());
    host.run(&["verify", "repo", &twin]).exits(3).prints(&format!("its manifest is that of {id}"));
    reseal(&host.path("repo/backups").join(&twin), |manifest| manifest["id"] = twin.clone().into());
    for id in [&id, &twin] {
        host.run(&["verify", "repo", id]).exits(3).prints(": chain: ").prints("2 backups with the number 1");
    }
    host.ok(&["verify", "repo", "2"]);
    host.ok(&["backup", "app", "--to", "repo"]);
    assert!(host.backups("repo")[3].starts_with("000003-"));
}

#[test]
fn a_backup_whose_folder_was_renamed_is_found() {
    let (host, folder) = two_backups();
    let id = host.backups("repo").remove(0);
    fs::rename(&folder, host.path("repo/backups").join(id.replace("000001-", "000009-"))).expect("renamed");
    host.run(&["verify", "repo", "9"]).exits(3).prints(&format!("its manifest is that of {id}"));
    host.ok(&["verify", "repo", "2"]);
}

#[test]
fn a_backup_that_was_taken_out_of_the_chain_is_no_damage() {
    let (host, folder) = two_backups();
    fs::remove_dir_all(folder).expect("removed");
    host.ok(&["verify", "repo"]);
}

// Lists that lie

#[test]
fn a_list_that_leads_out_of_the_backup_is_damage_and_nothing_outside_is_read() {
    let (host, folder) = two_backups();
    let secret = host.path("secret");
    // A reader of this fifo would wait for ever.
    let made = Command::new("mkfifo").arg(host.path("fifo")).status();
    assert!(made.expect("mkfifo runs").success());
    let list = fs::read(folder.join("files.jsonl")).expect("read");
    let bytes = host.ok(&["verify", "repo", "1", "--json"]).summary()["bytes"].as_u64().expect("a number");
    for path in [
        "../../../../secret".to_owned(),
        "conf/../../../../../secret".to_owned(),
        secret.to_str().expect("UTF-8").to_owned(),
        "../../../../fifo".to_owned(),
        "..".to_owned(),
        String::new(),
        "main.db/../main.db".to_owned(),
    ] {
        fs::write(folder.join("files.jsonl"), &list).expect("written");
        forge_line(&folder, "main.db", |line| line.replace("\"main.db\"", &format!("{path:?}")));
        let ran = host.run_soon(&["verify", "repo", "1", "--json"]).exits(3);
        assert!(!ran.stdout.contains(&sha256(SECRET.as_bytes())), "{path}");
        let summary = ran.summary();
        assert_eq!(summary["bytes"], bytes - 12, "{path}: only what is in the backup was read");
        let lines = ran.json();
        let bad = lines.iter().find(|line| line["kind"] == "file-list").expect("a damage");
        assert_eq!(bad["file"], "files.jsonl");
        assert!(bad["computed"].as_str().expect("text").starts_with("line "));
        assert!(lines.iter().any(|line| line["file"] == "data/main.db" && line["kind"] == "extra"), "{path}");
    }
}

#[test]
fn a_list_with_another_root_or_without_a_hash_is_damage() {
    let (host, folder) = two_backups();
    let list = fs::read(folder.join("files.jsonl")).expect("read");
    let hash = format!("\"sha256\":\"{}\",", sha256(b"the database"));
    for (old, new) in [("\"root\":\"data\"", "\"root\":\"/etc\""), (hash.as_str(), ""), ("{", "[")] {
        fs::write(folder.join("files.jsonl"), &list).expect("written");
        forge_line(&folder, "main.db", |line| line.replacen(old, new, 1));
        assert!(found(&host).contains(&("files.jsonl".to_owned(), "file-list".to_owned())), "{old} {new}");
    }
    the_other_is_still_listed(&host);
}

fn the_other_is_still_listed(host: &Host) {
    host.run_soon(&["verify", "repo"]).exits(3).says("verified 2 backups");
}

#[test]
fn a_file_that_is_listed_twice_is_damage() {
    let (host, folder) = two_backups();
    forge_line(&folder, "main.db", |line| format!("{line}\n{line}"));
    let ran = host.run_soon(&["verify", "repo"]).exits(3);
    assert!(ran.stdout.contains("data/main.db is named twice"), "{}", ran.stdout);
}

#[test]
fn a_list_that_counts_other_files_than_the_manifest_is_damage() {
    let (host, folder) = two_backups();
    reseal(&folder, |manifest| manifest["files"] = 8.into());
    finds(&host, &[("manifest.json", "manifest")]);
}

#[test]
fn a_line_longer_than_any_path_is_damage_and_takes_no_memory() {
    let (host, folder) = two_backups();
    for length in [200_000, 20_000_000] {
        forge_line(&folder, "main.db", |line| line.replace("main.db", &"x".repeat(length)));
        assert!(found(&host).contains(&("files.jsonl".to_owned(), "file-list".to_owned())));
    }
}
