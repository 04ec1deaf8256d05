//! A backup that builds on others is made one that stands alone, without the source.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};

use common::tree::{Alike, Listing};
use common::{Host, names};
use serde_json::Value;

/// The manifest of a backup.
fn manifest(host: &Host, id: &str) -> Value {
    let text = fs::read(host.path("repo/backups").join(id).join("manifest.json")).expect("read");
    serde_json::from_slice(&text).expect("JSON")
}

/// Backs up, and says which backup came of it.
#[track_caller]
fn back_up(host: &Host, kind: &str) -> String {
    let summary = host.ok(&["backup", "app", "--to", "repo", "--kind", kind, "--json"]).summary();
    summary["id"].as_str().expect("an id").to_owned()
}

/// Makes a full backup of another one, and says which.
#[track_caller]
fn consolidate(host: &Host, id: &str) -> String {
    let summary = host.ok(&["consolidate", "repo", id, "--json"]).summary();
    assert_eq!((&summary["command"], &summary["made"]), (&"consolidate".into(), &true.into()));
    summary["id"].as_str().expect("an id").to_owned()
}

/// Demands that a backup is restored to what the storage was.
#[track_caller]
fn restores(host: &Host, id: &str, expected: &Listing) {
    let target = format!("out-{id}");
    host.ok(&["restore", "repo", id, "--into", &target]);
    expected.is_like(&Listing::of(&host.path(&target)), Alike::ButOwners);
    fs::remove_dir_all(host.path(&target)).expect("removed");
}

fn write_at(host: &Host, name: &str, offset: u64, content: &[u8]) {
    let file = File::options().write(true).open(host.path(name)).expect("opened");
    file.write_all_at(content, offset).expect("written");
}

/// A full backup, and two that build on it and on each other; with the state of each.
fn three() -> (Host, Vec<(String, Listing)>) {
    let host = Host::new();
    let content: Vec<u8> =
        (0..1_500_000_u32).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    host.write("app/main.db", &content);
    host.write("app/sub/quiet.db", &content[..400_000]);
    host.write("app/small", "one");
    host.write_huge("app/sparse", 3 << 20);
    fs::hard_link(host.path("app/sub/quiet.db"), host.path("app/second-name")).expect("linked");
    symlink("small", host.path("app/link")).expect("linked");
    let mut states = Vec::new();
    let mut keep = |host: &Host, kind: &str| {
        let state = Listing::of(&host.path("app"));
        states.push((back_up(host, kind), state));
    };
    keep(&host, "full");
    write_at(&host, "app/main.db", 1_000_000, &[1; 10_000]);
    host.write("app/small", "two");
    fs::rename(host.path("app/sub"), host.path("app/moved")).expect("renamed");
    keep(&host, "incremental");
    write_at(&host, "app/main.db", 5_999_990, &[2; 30]);
    write_at(&host, "app/sparse", 2 << 20, &[3; 5000]);
    host.write("app/new", "here");
    fs::remove_file(host.path("app/link")).expect("removed");
    keep(&host, "incremental");
    (host, states)
}

#[test]
fn the_newest_backup_needs_no_other_one_any_more() {
    let (host, states) = three();
    let (newest, state) = &states[2];
    let ran = host.ok(&["consolidate", "repo"]);
    ran.says(&format!("of {newest}, put together from 3 backups"));
    let full = host.backups("repo").pop().expect("a backup");
    assert!(full.starts_with("000004-") && full.ends_with("-full"), "{full}");
    let told = manifest(&host, &full);
    assert_eq!((&told["kind"], &told["parent"], &told["proven"]), (&"full".into(), &Value::Null, &true.into()));
    assert_eq!(told["consolidates"]["id"], newest.as_str());
    assert_eq!(told["began"], manifest(&host, newest)["began"], "it is of that time");
    host.is_tidy("repo");
    host.verifies("repo");

    fs::create_dir(host.path("aside")).expect("created");
    for (id, _) in &states {
        fs::rename(host.path("repo/backups").join(id), host.path("aside").join(id)).expect("moved");
    }
    restores(&host, &full, state);
    host.verifies("repo");
    let stored = host.path("repo/backups").join(&full).join("data");
    assert_eq!(fs::read(stored.join("main.db")).expect("read"), fs::read(host.path("app/main.db")).expect("read"));
}

#[test]
fn the_next_incremental_builds_on_it() {
    let (host, states) = three();
    let full = consolidate(&host, "latest");
    write_at(&host, "app/main.db", 17, b"later");
    let state = Listing::of(&host.path("app"));
    let next = back_up(&host, "incremental");
    assert_eq!(manifest(&host, &next)["parent"]["id"], full.as_str());
    assert!(manifest(&host, &next)["bytes_stored"].as_u64().expect("a number") < 100_000, "only what changed");
    restores(&host, &next, &state);
    for (id, state) in &states {
        restores(&host, id, state);
    }
    host.verifies("repo");
}

#[test]
fn one_that_is_made_of_an_older_backup_is_neither_the_latest_nor_a_parent() {
    let (host, states) = three();
    let older = consolidate(&host, "2");
    restores(&host, &older, &states[1].1);
    restores(&host, "latest", &states[2].1);
    host.write("app/small", "three");
    let next = back_up(&host, "incremental");
    assert_eq!(manifest(&host, &next)["parent"]["id"], states[2].0.as_str());
    host.verifies("repo");
}

#[test]
fn what_stands_alone_or_was_made_before_is_left_as_it_is() {
    let (host, states) = three();
    host.ok(&["consolidate", "repo", "1"]).says("stands alone as it is: nothing to do");
    let full = consolidate(&host, "3");
    host.ok(&["consolidate", "repo", "3"]).says(&format!("{full} was made of {} before", states[2].0));
    let summary = host.ok(&["consolidate", "repo", "3", "--json"]).summary();
    assert_eq!((&summary["made"], &summary["id"]), (&false.into(), &full.as_str().into()));
    assert_eq!(host.backups("repo").len(), 4);
}

#[test]
fn damage_in_an_ancestor_publishes_nothing_and_names_it() {
    let (host, states) = three();
    let path = host.path("repo/backups").join(&states[0].0).join("data/main.db");
    let mut permissions = fs::metadata(&path).expect("looked at").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(&path, permissions).expect("allowed");
    write_at(&host, path.strip_prefix(host.path("")).expect("below").to_str().expect("text"), 12_345, b"rot");
    let ran = host.run(&["consolidate", "repo"]).exits(3);
    ran.says("main.db").says("Nothing was published");
    assert_eq!(host.backups("repo").len(), 3);
    host.is_tidy("repo");

    fs::rename(host.path("repo/backups").join(&states[1].0), host.path("gone")).expect("moved");
    host.run(&["consolidate", "repo", "3"]).exits(3).says(&states[1].0).says("is missing");
    assert_eq!(names(&host.path("repo/backups")).len(), 2);
}

#[test]
fn one_that_is_interrupted_leaves_nothing_that_counts() {
    let (host, _) = three();
    host.write_huge("app/huge", 768 << 20);
    back_up(&host, "incremental");
    let mut running = host.start(&["consolidate", "repo"]);
    common::eventually("it writes", || !host.partials("repo").is_empty() || running.is_over());
    running.signal("TERM");
    running.leaves().exits(143);
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 4);

    let mut running = host.start(&["consolidate", "repo"]);
    common::eventually("it writes", || !host.partials("repo").is_empty() || running.is_over());
    running.kill();
    assert_eq!(host.backups("repo").len(), 4, "a partial is no backup");
    fs::remove_file(host.path("app/huge")).expect("removed");
    back_up(&host, "incremental");
    host.is_tidy("repo");
    host.verifies("repo");
}
