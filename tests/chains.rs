//! Backups that build on others: read through the whole chain, proven, and what is said where a part of it is missing.

mod common;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use common::Host;
use common::chain::Increment;
use common::forge::{flip, reseal, sha256};

/// Bytes that do not repeat.
fn noise(bytes: usize, mut seed: u64) -> Vec<u8> {
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&(seed >> 16).to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// Three backups in a chain, and what the storage was at the last of them.
struct Story {
    host: Host,
    ids: Vec<String>,
    database: Vec<u8>,
}

impl Story {
    fn new() -> Self {
        let host = Host::quick_with_app();
        let mut database = noise(300_000, 1);
        host.write("app/large.db", &database);
        host.write("app/old-name", "moved later");
        host.write("app/passing", "not for long");
        host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
        let full = host.backups("repo").remove(0);

        database[100_000..100_010].fill(0xee);
        let second = Increment::begin(&host).same_but("conf/settings.ini");
        let ini = second.line("conf/settings.ini");
        let second =
            second.whole(&ini, "conf/settings.ini", b"second\n").same_but("large.db").changed("large.db", &database);
        let second = second.same_but("passing").publish();

        database[200_000..200_010].fill(0xdd);
        database.extend_from_slice(b"and more");
        let third = Increment::begin(&host).same_but("large.db").changed("large.db", &database);
        let mut renamed = third.line("old-name");
        renamed["path"] = "new-name".into();
        renamed["held"] = json!({ "by": full, "path": "data/old-name" });
        let third = third.add(renamed).same_but("old-name").publish();
        Self { host, ids: vec![full, second, third], database }
    }

    fn stored(&self, backup: usize, path: &str) -> PathBuf {
        self.host.path("repo/backups").join(&self.ids[backup]).join(path)
    }

    fn restore(&self, id: &str, into: &str) -> common::Ran {
        self.host.run(&["restore", "repo", id, "--into", into])
    }
}

#[test]
fn every_backup_of_a_chain_comes_back_as_the_storage_was() {
    let story = Story::new();
    let Story { host, database, .. } = &story;
    host.verifies("repo");
    for id in ["2", "3"] {
        host.ok(&["verify", "repo", id]);
        story.restore(id, &format!("out{id}")).exits(0);
        let names = common::names(&host.path(format!("out{id}")));
        assert_eq!(names.contains(&"new-name".to_owned()), id == "3");
        assert_eq!(names.contains(&"old-name".to_owned()), id == "2");
        assert!(!names.contains(&"passing".to_owned()));
        assert_eq!(fs::read_to_string(host.path(format!("out{id}/conf/settings.ini"))).expect("read"), "second\n");
        assert_eq!(fs::read(host.path(format!("out{id}/main.db"))).expect("read"), b"the database");
    }
    assert_eq!(fs::read(host.path("out3/large.db")).expect("read"), *database);
    assert_eq!(fs::read_to_string(host.path("out3/new-name")).expect("read"), "moved later");
    assert_ne!(fs::read(host.path("out2/large.db")).expect("read"), *database);
    story.restore("1", "out1").exits(0);
    assert!(host.path("out1/passing").exists());
    let modified = |name: &str| host.path(name).metadata().expect("there").modified().expect("a time");
    assert_eq!(modified("out3/conf"), modified("app/conf"), "directories that were carried over are dressed");
}

#[test]
fn one_file_comes_out_wherever_its_content_is() {
    let Story { host, database, ids } = &Story::new();
    host.shell("\"$@\" > out", &["cat", "repo", "3", "large.db"]).status().expect("run");
    assert_eq!(fs::read(host.path("out")).expect("read"), *database);
    assert_eq!(host.ok(&["cat", "repo", "3", "new-name"]).stdout, "moved later");
    assert_eq!(host.ok(&["cat", "repo", "latest", "main.db"]).stdout, "the database");
    let shown = host.ok(&["show", "repo", "3", "--files", "--json"]).json();
    let of = |path: &str| shown.iter().find(|line| line["path"] == path).expect("listed");
    assert_eq!(of("main.db")["held_by"], *ids[0]);
    assert_eq!(of("conf/settings.ini")["held_by"], *ids[1]);
    assert_eq!((&of("large.db")["held_by"], &of("large.db")["within"]), (&json!(null), &json!("blocks")));
    assert_eq!(of("new-name")["bytes_stored"], 0);
    assert!(of("large.db")["bytes_stored"].as_u64().expect("a number") < 30_000, "{}", of("large.db"));
}

#[test]
fn damage_of_what_is_built_on_is_told_of_all_that_need_it() {
    let story = Story::new();
    let Story { host, ids, .. } = &story;
    flip(&story.stored(0, "data/main.db"), 3);
    let all = host.run(&["verify", "repo"]).exits(3);
    let about =
        |id: &str| all.stdout.lines().filter(|line| line.starts_with(id)).map(str::to_owned).collect::<Vec<_>>();
    assert!(about(&ids[0])[0].contains("data/main.db: hash"), "{}", all.stdout);
    for id in &ids[1..] {
        let why = format!(
            "{id}: manifest.json: chain: it cannot be restored as a whole: it builds on {}, which is damaged",
            ids[0]
        );
        assert_eq!(about(id), [why]);
    }
    let one = host.run(&["verify", "repo", "3"]).exits(3);
    assert!(one.stdout.contains(&format!("data/main.db in {}, which holds it: hash", ids[0])), "{}", one.stdout);
    let restored = story.restore("3", "out").exits(3);
    assert!(restored.stderr.contains("main.db is damaged"), "{}", restored.stderr);
    assert!(!host.path("out").exists());
    host.run(&["cat", "repo", "3", "main.db"]).exits(3);
    host.ok(&["cat", "repo", "3", "new-name"]);
}

#[test]
fn a_damaged_block_is_named_with_the_backup_that_holds_it() {
    let story = Story::new();
    let Story { host, ids, .. } = &story;
    flip(&story.stored(0, "data/large.db"), 299_000); // a block that only the full holds
    let one = host.run(&["verify", "repo", "3"]).exits(3);
    let line = one.stdout.lines().find(|line| line.contains("large.db")).expect("told");
    assert!(line.contains(&ids[0]) && line.contains("at byte 2"), "{line}");
    let restored = story.restore("3", "out").exits(3);
    assert!(restored.stderr.contains("large.db") && restored.stderr.contains(&ids[0]), "{}", restored.stderr);
    host.run(&["cat", "repo", "3", "large.db"]).exits(3);

    let story = Story::new();
    let Story { host, ids, .. } = &story;
    let blocks = story.stored(1, "blocks/data/large.db");
    let bytes = usize::try_from(blocks.metadata().expect("there").len()).expect("small");
    flip(&blocks, bytes - 100); // the changed block, or what ends the file
    let all = host.run(&["verify", "repo"]).exits(3);
    assert!(all.stdout.contains(&format!("{}: blocks/data/large.db: hash", ids[1])), "{}", all.stdout);
    story.restore("1", "out1").exits(0);
}

#[test]
fn what_lacks_a_part_of_its_chain_says_which_and_for_whom() {
    let story = Story::new();
    let Story { host, ids, .. } = &story;
    fs::rename(story.stored(1, ""), host.path("aside")).expect("moved");
    let why = format!("{} builds on {}, which is missing", ids[2], ids[1]);
    for command in [
        vec!["restore", "repo", "3", "--into", "out"],
        vec!["cat", "repo", "3", "main.db"],
        vec!["show", "repo", "3", "--files"],
    ] {
        let ran = host.run(&command).exits(3);
        assert!(ran.stderr.contains(&why), "{command:?}: {}", ran.stderr);
    }
    let verified = host.run(&["verify", "repo", "3"]).exits(3);
    assert!(
        verified.stdout.contains(&format!("chain: it cannot be restored as a whole: {why}")),
        "{}",
        verified.stdout
    );
    assert_eq!(verified.stdout.lines().count(), 1, "what it holds itself is good: {}", verified.stdout);
    flip(&story.stored(2, "blocks/data/large.db"), 60);
    assert_eq!(host.run(&["verify", "repo", "3"]).exits(3).stdout.lines().count(), 2, "and is proven all the same");
    let tree = host.ok(&["show", "repo", "--tree"]).stdout;
    assert!(tree.contains("its parent is missing"), "{tree}");
}

#[test]
fn a_list_that_is_built_on_is_proven_with_the_rest() {
    let story = Story::new();
    let Story { host, ids, .. } = &story;
    let list = story.stored(0, "files.jsonl");
    let text = fs::read_to_string(&list).expect("read");
    fs::write(&list, text.replace("\"mode\":\"0644\"", "\"mode\":\"0646\"")).expect("written");
    let restored = story.restore("3", "out").exits(3);
    assert!(restored.stderr.contains(&ids[0]), "{}", restored.stderr);
    let one = host.run(&["verify", "repo", "3"]).exits(3);
    assert!(one.stdout.contains(&format!("files.jsonl in {}, which holds it: hash", ids[0])), "{}", one.stdout);
    fs::remove_file(&list).expect("removed");
    let one = host.run(&["verify", "repo", "3"]).exits(3);
    assert!(one.stdout.contains(&format!("files.jsonl of {} is missing", ids[0])), "{}", one.stdout);
}

#[test]
fn nothing_is_missing_from_a_folder_and_nothing_else_is_in_it() {
    let story = Story::new();
    let Story { host, ids, .. } = &story;
    let found = |file: &str, kind: &str| {
        let all = host.run(&["verify", "repo"]).exits(3);
        assert!(all.stdout.contains(&format!("{}: {file}: {kind}", ids[2])), "{}", all.stdout);
    };
    fs::write(story.stored(2, "blocks/data/extra"), "x").expect("written");
    found("blocks/data/extra", "extra");
    fs::remove_file(story.stored(2, "blocks/data/extra")).expect("removed");
    fs::write(story.stored(2, "data/main.db"), "the database").expect("written");
    found("data/main.db", "extra");
    fs::remove_file(story.stored(2, "data/main.db")).expect("removed");
    host.verifies("repo");
    fs::remove_file(story.stored(2, "blocks/data/large.db")).expect("removed");
    found("blocks/data/large.db", "hash");
    let sums = story.stored(1, "SHA256SUMS");
    let text = fs::read_to_string(&sums).expect("read");
    let without = text.lines().filter(|line| !line.contains("blocks/")).collect::<Vec<_>>().join("\n") + "\n";
    fs::write(&sums, without).expect("written");
    let all = host.run(&["verify", "repo"]).exits(3);
    assert!(all.stdout.contains(&format!("{}: SHA256SUMS: sums", ids[1])), "{}", all.stdout);
}

#[test]
fn a_chain_is_shown_as_a_tree() {
    let Story { host, ids, .. } = &Story::new();
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files", "--kind", "copy"]);
    let tree = host.ok(&["show", "repo", "--tree"]).stdout;
    let firsts: Vec<_> = tree.lines().map(|line| line.split_whitespace().next().unwrap_or("")).collect();
    assert_eq!(firsts, ["number", "1", "2", "3", "4"]);
    assert!(tree.lines().nth(3).expect("a line").starts_with("  3"), "{tree}");
    let json = host.ok(&["show", "repo", "--tree", "--json"]).json().remove(0);
    let of = |number: usize| &json["backups"][number];
    assert_eq!(
        (&of(2)["parent"], &of(2)["parent_is"], &of(2)["depth"]),
        (&json!(ids[1]), &json!("unchanged"), &json!(1))
    );
    assert!(of(2)["bytes_stored"].as_u64() < of(2)["bytes"].as_u64());
    host.run(&["show", "repo", "3", "--tree"]).exits(2);
    assert!(host.ok(&["list", "repo"]).stdout.contains("parent"));
}

/// What makes a line say something else.
type Lie<'a> = &'a dyn Fn(&mut Value);

/// Changes the line of a path in the list of a backup; hashes fit again, and so do the totals.
fn forge_held(place: &Path, path: &str, change: impl Fn(&mut Value)) {
    let grown = Cell::new(0_u64);
    let name = format!("\"path\":\"{path}\"");
    let list = fs::read_to_string(place.join("files.jsonl")).expect("read");
    let forged = list.lines().map(|text| {
        if !text.contains(&name) {
            return text.to_owned() + "\n";
        }
        let mut line: Value = serde_json::from_str(text).expect("JSON");
        let before = line["size"].as_u64().expect("a size");
        change(&mut line);
        grown.set(line["size"].as_u64().expect("a size").wrapping_sub(before));
        line.to_string() + "\n"
    });
    fs::write(place.join("files.jsonl"), forged.collect::<String>()).expect("written");
    reseal(place, |manifest| {
        manifest["bytes"] = manifest["bytes"].as_u64().expect("a number").wrapping_add(grown.get()).into();
    });
}

#[test]
fn a_line_that_leads_to_something_else_does_not_pass() {
    let host = Host::quick_with_app();
    host.write("app/big", noise(100_000, 7));
    host.write("app/bug", noise(100_000, 8));
    host.write("app/old-name", "moved later");
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
    let full = host.backups("repo").remove(0);
    let second = Increment::begin(&host).same_but("main.db");
    let line = second.line("main.db");
    let second = second.whole(&line, "main.db", b"another one").publish();
    let third = Increment::begin(&host);
    let renamed = |from: &str, to: &str| {
        let mut line = third.line(from);
        line["path"] = to.into();
        line["held"] = json!({ "by": full, "path": format!("data/{from}") });
        line
    };
    let (big, small) = (renamed("big", "large"), renamed("old-name", "new-name"));
    let third = third.same_but("big").add(big).add(small).same_but("old-name").publish();
    host.verifies("repo");
    let folder = host.path("repo/backups").join(&third);
    let frame = ["files.jsonl", "manifest.json", "SHA256SUMS"];
    let good = frame.map(|name| fs::read(folder.join(name)).expect("read"));
    let lies: [(&str, &str, Lie); 9] = [
        ("another path", "new-name", &|line| line["held"]["path"] = "data/main.db".into()),
        ("no such path", "new-name", &|line| line["held"]["path"] = "data/nothing".into()),
        ("another backup", "new-name", &|line| line["held"]["by"] = second.clone().into()),
        ("a hash", "new-name", &|line| line["sha256"] = "0".repeat(64).into()),
        ("a size", "new-name", &|line| line["size"] = 12.into()),
        ("a size that nothing has", "new-name", &|line| line["size"] = (1_u64 << 62).into()),
        ("a file of blocks", "large", &|line| line["blocks"]["sha256"] = "0".repeat(64).into()),
        ("the size of one", "large", &|line| line["blocks"]["bytes"] = 1.into()),
        ("another large file", "large", &|line| line["held"]["path"] = "data/bug".into()),
    ];
    for (what, name, lie) in lies {
        forge_held(&folder, name, lie);
        for ids in [&[][..], &["3"]] {
            let ran = host.run(&[&["verify", "repo"], ids].concat()).exits(3);
            let told = format!("{third}: files.jsonl: file-list: data/{name}: the list of ");
            assert!(ran.stdout.contains(&told), "{what}: {}", ran.stdout);
        }
        if what != "a file of blocks" && what != "the size of one" {
            host.run(&["cat", "repo", "3", name]).exits(3);
        }
        for (name, text) in frame.iter().zip(&good) {
            fs::write(folder.join(name), text).expect("written");
        }
    }
    host.verifies("repo");
}

#[test]
fn two_lines_that_differ_about_one_content_are_found() {
    let host = Host::quick_with_app();
    host.write("app/old-name", "moved later");
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
    let full = host.backups("repo").remove(0);
    let second = Increment::begin(&host);
    let mut line = second.line("old-name");
    line["held"] = json!({ "by": full, "path": "data/old-name" });
    let (mut one, mut other) = (line.clone(), line);
    (one["path"], other["path"]) = ("new-name".into(), "newer-name".into());
    other["sha256"] = "0".repeat(64).into();
    let second = second.add(one).add(other).same_but("old-name").publish();
    // Nobody reads the content twice where its own backup is verified as well: only the lines can tell.
    for ids in [&[][..], &["2"]] {
        let ran = host.run(&[&["verify", "repo"], ids].concat()).exits(3);
        ran.prints(&format!("{second}: files.jsonl: file-list: "))
            .prints("another line says something else of the same content");
    }
}

#[test]
fn a_hash_that_the_home_of_content_does_not_know_is_computed() {
    let host = Host::quick_with_app();
    let mut content = noise(100_000, 7);
    host.write("app/big", &content);
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
    content[50_000] ^= 1;
    let second = Increment::begin(&host).same_but("big").changed("big", &content).publish();
    let third = Increment::begin(&host);
    let mut line = third.line("big");
    line["sha256"] = sha256(&content).into();
    let third = third.same_but("big").add(line).publish();
    host.ok(&["verify", "repo"]);
    let folder = |id: &str| host.path("repo/backups").join(id);
    forge_held(&folder(&third), "big", |line| line["sha256"] = "0".repeat(64).into());
    for ids in [&[][..], &["3"]] {
        let ran = host.run(&[&["verify", "repo"], ids].concat()).exits(3);
        ran.prints(&format!("{third}: blocks/data/big in {second}, which holds it: hash: 0000"));
    }
    forge_held(&folder(&second), "big", |line| line["sha256"] = "2".repeat(64).into());
    for ids in [&["1", "2"][..], &["2"]] {
        let ran = host.run(&[&["verify", "repo"], ids].concat()).exits(3);
        ran.prints(&format!("{second}: blocks/data/big: hash: 2222"));
    }
    forge_held(&folder(&second), "big", |line| line["blocks"]["sha256"] = "1".repeat(64).into());
    host.run(&["verify", "repo", "2"]).exits(3).prints(&format!("{second}: blocks/data/big: hash: 1111"));
}

#[test]
fn blocks_that_are_not_where_a_table_says_are_found_without_their_content() {
    let host = Host::quick_with_app();
    let mut files = [("big", noise(100_000, 7)), ("bug", noise(100_000, 8))];
    for (name, content) in &files {
        host.write(&format!("app/{name}"), content);
    }
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
    let mut publish = |at: usize| {
        files.iter_mut().fold(Increment::begin(&host), |increment, (name, content)| {
            content[at] ^= 1;
            increment.same_but(name).changed(name, content)
        })
    };
    let second = publish(20_000).publish();
    let third = publish(40_000).publish();
    host.ok(&["verify", "repo"]);
    // The two files of blocks of the second backup change places, and every hash of theirs fits.
    let folder = |id: &str| host.path("repo/backups").join(id);
    let list = fs::read_to_string(folder(&second).join("files.jsonl")).expect("read");
    let path = |name: &str| folder(&second).join("blocks/data").join(name);
    let facts = |name: &str| {
        let mut lines = list.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.find(|line| line["path"] == name).expect("a line")["blocks"].clone()
    };
    fs::rename(path("big"), host.path("aside")).expect("renamed");
    fs::rename(path("bug"), path("big")).expect("renamed");
    fs::rename(host.path("aside"), path("bug")).expect("renamed");
    for (name, other) in [("big", "bug"), ("bug", "big")] {
        forge_held(&folder(&second), name, |line| line["blocks"] = facts(other));
    }
    let changed = sha256(&fs::read(folder(&second).join("manifest.json")).expect("read"));
    reseal(&folder(&third), |manifest| {
        manifest["parent"]["manifest_sha256"] = changed.clone().into();
        manifest["previous"] = Value::Null;
    });
    let ran = host.run(&["verify", "repo"]).exits(3);
    for name in ["big", "bug"] {
        assert!(ran.stdout.contains(&format!("{third}: blocks/data/{name}: chain")), "{}", ran.stdout);
    }
}

#[test]
fn a_lie_in_the_middle_of_a_chain_is_found_by_those_who_need_it() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
    let full = host.backups("repo").remove(0);
    let second = Increment::begin(&host);
    let mut line = second.line("conf/settings.ini");
    line["path"] = "conf/other.ini".into();
    line["held"] = json!({ "by": full, "path": "data/main.db" });
    let second = second.same_but("conf/settings.ini").add(line).publish();
    let third = Increment::begin(&host).publish();
    let ran = host.run(&["verify", "repo", "3", "1"]).exits(3);
    let told = format!("{third}: files.jsonl: file-list: data/conf/other.ini: the list of {full}, ");
    assert!(ran.stdout.contains(&told), "{}", ran.stdout);
    let ran = host.run(&["verify", "repo"]).exits(3);
    assert!(ran.stdout.contains(&format!("{second}: files.jsonl: file-list")), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("{third}: manifest.json: chain")), "{}", ran.stdout);
}

#[test]
fn a_manifest_that_contradicts_itself_is_found() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
    host.write("app/new", "appeared");
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    let (last, ids) = (host.backup_folder(), host.backups("repo"));
    let kept = ["manifest.json", "SHA256SUMS"].map(|name| (name, fs::read(last.join(name)).expect("read")));
    let lies: [(Lie, &str); 8] = [
        (&|it| it["changes"] = "logs".into(), "it holds logs instead of databases"),
        (&|it| it["changes"] = Value::Null, "does not say whether by blocks or by logs"),
        (&|it| it["kind"] = "full".into(), "is said to be full"),
        (&|it| it["parent"] = Value::Null, "it builds on nothing"),
        (&|it| it["consolidates"] = it["parent"].clone(), "put together from the chain of"),
        (&|it| it["id"] = ids[1].replace("incremental", "full").into(), "its manifest is that of"),
        (&|it| it["previous"] = json!({"id": ids[0], "manifest_sha256": "0"}), ": chain: "),
        (&|it| it["consolidates"] = json!({"id": ids[0], "manifest_sha256": "0"}), ": chain: "),
    ];
    for (lie, told) in lies {
        reseal(&last, lie);
        host.run(&["verify", "repo", "2"]).exits(3).prints(told);
        for (name, text) in &kept {
            fs::write(last.join(name), text).expect("written");
        }
    }
    host.ok(&["verify", "repo"]);
}

#[test]
fn what_is_built_on_is_verified_first_and_once() {
    let Story { host, ids, .. } = &Story::new();
    flip(&host.path("repo/backups").join(&ids[0]).join("data/main.db"), 3);
    let ran = host.run(&["verify", "repo", "3", "1", "2", "1"]).exits(3);
    let told: Vec<_> = ran.stdout.lines().filter_map(|line| line.split_once(": ")).map(|(id, _)| id).collect();
    assert_eq!(told, [&*ids[0], &ids[1], &ids[2]], "{}", ran.stdout);
}

#[test]
fn nothing_stands_below_a_file() {
    let below = |host: &Host, second: Increment, is_first: bool| {
        let file = second.line("main.db");
        let mut child = second.line("wal.1");
        child["path"] = "main.db/child".into();
        child["held"] = json!({ "by": host.backups("repo")[0], "path": "data/wal.1" });
        let second = second.same_but("main.db");
        if is_first { second.add(child).add(file) } else { second.add(file).add(child) }.publish()
    };
    for is_first in [true, false] {
        let host = Host::quick_with_app();
        host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
        let second = below(&host, Increment::begin(&host), is_first);
        let ran = host.run(&["verify", "repo"]).exits(3);
        assert!(ran.stdout.contains(&format!("{second}: files.jsonl: file-list: line ")), "{}", ran.stdout);
        assert!(ran.stdout.contains("and what is below it cannot both be"), "{}", ran.stdout);
        let ran = host.run(&["restore", "repo", "--into", "out"]).exits(3);
        assert!(ran.stderr.contains("cannot both be") && !host.path("out").exists(), "{}", ran.stderr);
    }
}

#[test]
fn what_nobody_could_look_at_is_neither_good_nor_damaged() {
    let story = Story::new();
    let Story { host, ids, .. } = &story;
    common::open_to_all(host, ".");
    let record = |id: &str| host.path(format!("repo/verified/{id}.json"));
    let closed = story.stored(0, "data/main.db");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).expect("closed");
    let ran = common::finish(common::as_ordinary_user(host, host.command(&["verify", "repo"]))).exits(1);
    assert!(ran.stderr.contains("permission denied") && ran.stderr.contains("says nothing about"), "{}", ran.stderr);
    assert!(ran.stdout.is_empty() && !ran.stderr.contains(": good"), "{}{}", ran.stdout, ran.stderr);
    assert!(ids.iter().all(|id| !record(id).exists()), "nothing is recorded of what nobody has seen");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).expect("opened");
    host.verifies("repo");
    assert!(ids.iter().all(|id| record(id).exists()));
}

#[test]
fn too_few_open_files_are_no_damage() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo", "--engine", "files"]);
    for _ in 0..24 {
        Increment::begin(&host).publish();
    }
    let few = |limit: u32| {
        common::finish(host.shell(&format!("ulimit -n {limit}; exec \"$@\""), &["verify", "repo", "latest"]))
    };
    few(64).exits(0).says("good");
    let newest = host.backups("repo").pop().expect("a backup");
    fs::remove_file(host.path(format!("repo/verified/{newest}.json"))).expect("was recorded");
    let ran = few(22).exits(1).says("too many open files");
    assert!(!ran.stdout.contains("unreadable"), "{}", ran.stdout);
    assert!(!host.path(format!("repo/verified/{newest}.json")).exists());
}

#[test]
fn a_list_that_is_missing_is_named_with_its_backup() {
    let story = Story::new();
    let Story { host, ids, .. } = &story;
    fs::remove_file(story.stored(2, "files.jsonl")).expect("removed");
    for command in [
        &["backup", "app", "--to", "repo", "--engine", "files", "--kind", "incremental"][..],
        &["consolidate", "repo", "3"],
        &["restore", "repo", "3", "--into", "out"],
        &["show", "repo", "3", "--files"],
        &["cat", "repo", "3", "main.db"],
        &["verify", "repo", "3"],
    ] {
        let ran = host.run(command).exits(3);
        let all = ran.stdout + &ran.stderr;
        assert!(
            (all.contains("files.jsonl") || all.contains("list of files"))
                && all.contains(&ids[2])
                && all.contains("missing"),
            "{command:?}: {all}"
        );
    }
    assert!(!host.path("out").exists());
    assert_eq!(host.backups("repo").len(), 3);
}
