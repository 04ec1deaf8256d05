//! Real files of the Extensible Storage Engine, set by set: backed up, verified, restored byte by byte, or refused for the
//! reason that holds; and another reader of such databases finds in each restored one what was in the original.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::ese::{self, LogFile, Sample};
use common::{Host, names, skip};

/// Sets whose databases are dirty, and whose logs are not among the samples.
const WITHOUT_LOGS: [&str; 7] = [
    "db/goese-qmgr-dirty.db",
    "db/ual-HyperV-Current-dirty.mdb",
    "ravendb/fubublog-2b429b5",
    "ravendb/fubublog-ac7e93b",
    "ravendb/kudos-1",
    "ravendb/ssdug",
    "ravendb/trayburn-1",
];
/// Of this one there are only the headers.
const HEADERS: &str = "dhcp-backup-headers";

/// All samples by set: databases one by one, directories as they are.
fn sets(samples: &[Sample]) -> BTreeMap<String, Vec<&Sample>> {
    let mut sets: BTreeMap<String, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let parts: Vec<_> = sample.name.split('/').collect();
        let is_nested = ["db", "odd", "secedit", "ravendb"].contains(&parts[0]);
        sets.entry(parts[..if is_nested { 2 } else { 1 }].join("/")).or_default().push(sample);
    }
    sets
}

/// Writes a set below `app` of a machine of its own.
fn unpacked(set: &str, samples: &[&Sample]) -> Host {
    let host = Host::quick();
    for sample in samples {
        let below = sample.name.strip_prefix(set).expect("below its set").trim_start_matches('/');
        // A database on its own keeps its name.
        let name = if below.is_empty() { sample.name.rsplit('/').next().expect("a name") } else { below };
        host.write(&format!("app/{name}"), sample.read());
    }
    host
}

/// The files below a directory, relative to it.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for name in names(&root.join(&folder)) {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if root.join(&path).is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn ends_in(name: &str, extensions: &[&str]) -> bool {
    Path::new(name).extension().is_some_and(|own| extensions.iter().any(|extension| own == *extension))
}

/// Backs `app` up, verifies, restores into `out`, and compares with coreutils; how many files that were.
#[track_caller]
fn makes_the_round(host: &Host, more: &[&str]) -> usize {
    host.ok(&[&["backup", "app", "--to", "repo"], more].concat());
    host.verifies("repo");
    host.ok(&["restore", "repo", "--into", "out"]);
    let restored = files(&host.path("out"));
    for name in &restored {
        assert_eq!(host.sha256(&format!("app/{name}")), host.sha256(&format!("out/{name}")), "{name}");
    }
    // All that stays out are logs that no database needs.
    for left in files(&host.path("app")).iter().filter(|name| !restored.contains(name)) {
        assert!(ends_in(left, &["log", "jrs"]), "{left} is not in the backup");
    }
    restored.len()
}

#[test]
fn every_real_set_makes_the_round_or_is_refused_for_what_it_lacks() {
    let Some(samples) = Sample::all() else { return };
    let sets = sets(&samples);
    assert!(WITHOUT_LOGS.iter().chain(&[HEADERS]).all(|set| sets.contains_key(*set)));
    for (set, samples) in &sets {
        let host = unpacked(set, samples);
        if WITHOUT_LOGS.contains(&set.as_str()) {
            host.run(&["backup", "app", "--to", "repo"]).exits(6).says("-550");
            host.run(&["backup", "app", "--to", "repo", "--snapshot", "--accept-loss"]).exits(3).says("-543");
            assert!(!host.path("repo").exists(), "{set}");
        } else if set == HEADERS {
            host.run(&["backup", "app", "--to", "repo", "--snapshot"]).exits(3).says("is cut short").says("-1206");
            assert!(!host.path("repo").exists(), "{set}");
        } else {
            println!("{set}: {} files", makes_the_round(&host, &[]));
        }
    }
}

#[test]
fn a_real_dirty_database_makes_the_round_with_its_logs() {
    let Some(samples) = Sample::all() else { return };
    let (sets, mut count) = (sets(&samples), 0);
    for set in WITHOUT_LOGS {
        let host = unpacked(set, &sets[set]);
        // Logs of its stream, with nothing in them: what it takes is in their headers.
        let storage = files(&host.path("app"));
        if storage.iter().filter(|name| !ends_in(name, &["chk"])).count() > 1 {
            continue; // several instances in one tree
        }
        let (base, folder) = match storage.iter().find(|name| ends_in(name, &["chk"])) {
            Some(checkpoint) => (checkpoint.rsplit('/').next().expect("a name")[..3].to_owned(), "logs/"),
            None => ("edb".to_owned(), ""),
        };
        let database = storage.iter().find(|name| !ends_in(name, &["chk"])).expect("a database");
        let header = fs::read(host.path("app").join(database)).expect("read");
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        assert_eq!((field(52), field(300)), (2, field(416)), "{set} is dirty");
        let all: Vec<u32> = (field(296)..=field(300)).collect();
        for generation in &all {
            let mut log = LogFile::new(*generation).build();
            log[44..72].copy_from_slice(&header[108..136]);
            ese::seal_header(&mut log[..4096]);
            let is_current = Some(generation) == all.last();
            let name = if is_current { format!("{base}.log") } else { format!("{base}{generation:05X}.log") };
            host.write(&format!("app/{folder}{name}"), log);
        }
        makes_the_round(&host, &["--snapshot"]);
        let advice = host.ok(&["show", "repo", "1"]);
        advice.prints("The database needs recovery: the engine replays log");
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn a_copy_that_lost_its_trailer_is_refused() {
    let Some(samples) = Sample::all() else { return };
    let sets = sets(&samples);
    let host = unpacked(HEADERS, &sets[HEADERS]);
    // The real headers, in files as long as they were.
    for name in names(&host.path("app")) {
        let path = host.path("app").join(&name);
        let (short, length) = match name.strip_suffix(".hdr8k") {
            Some(database) => (database, 2_109_440),
            None => (name.strip_suffix(".hdr4k").expect("a log"), 1_048_576),
        };
        fs::File::options().write(true).open(&path).expect("opened").set_len(length).expect("sized");
        fs::rename(&path, host.path("app").join(short)).expect("renamed");
    }
    host.write("app/dhcp.pat", "");
    let ran = host.run(&["check", "app"]);
    let ran = ran.exits(3).says("needs logs 123620-123628 (0x1E2E4-0x1E2EC)").prints("its last page is no trailer");
    let findings: Vec<_> = ran.stdout.lines().filter_map(|line| line.rsplit(", -").next()).collect();
    assert_eq!(findings, ["1019]", "535]"], "all its logs are there, and nothing else is wrong: {}", ran.stdout);
    host.run(&["backup", "app", "--to", "repo"]).exits(3);
    assert!(!host.path("repo").exists());
}

/// Prints each table of databases with the number of its records, and a hash of all values.
const READER: &str = r#"
import hashlib, sys
from dissect.database.ese import ESE
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        for table in sorted(ESE(file).tables(), key=lambda table: table.name):
            count, seen = 0, hashlib.sha256()
            for record in table.records():
                count += 1
                for column in table.columns:
                    try:
                        value = repr(record.get(column.name))
                    except Exception as error:
                        value = repr(error)
                    seen.update(value.encode())
            print(table.name, count, seen.hexdigest())
"#;

/// What the reader finds in a database; none, said aloud, where it is not installed.
fn tables(python: &str, path: &Path) -> Option<String> {
    let output = Command::new(python).args(["-c", READER]).arg(path).output();
    match output {
        Ok(output) if output.status.success() => Some(String::from_utf8(output.stdout).expect("text")),
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("No module named") => {
            skip("another reader is not there (pip install dissect.database; JETBAK_TEST_PYTHON names its python)");
            None
        }
        Ok(output) => panic!("{}: {}", path.display(), String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            skip(&format!("{python} does not run: {error}"));
            None
        }
    }
}

#[test]
#[ignore = "reads every record of every database, in Python: minutes"]
fn another_reader_finds_the_same_records_in_what_was_restored() {
    let Some(samples) = Sample::all() else { return };
    let python = std::env::var("JETBAK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut records = 0;
    for (set, samples) in &sets(&samples) {
        if WITHOUT_LOGS.contains(&set.as_str()) || set == HEADERS {
            continue;
        }
        let host = unpacked(set, samples);
        makes_the_round(&host, &[]);
        let is_database = |name: &String| {
            let head = fs::read(host.path("out").join(name)).expect("read");
            head.get(4..8) == Some(&ese::SEED.to_le_bytes())
        };
        for name in files(&host.path("out")).into_iter().filter(is_database) {
            let Some(before) = tables(&python, &host.path("app").join(&name)) else { return };
            let after = tables(&python, &host.path("out").join(&name)).expect("read before");
            assert_eq!(before, after, "{set}: {name}");
            let count: u64 = after.lines().filter_map(|line| line.rsplit(' ').nth(1)?.parse::<u64>().ok()).sum();
            assert!(count > 0, "{set}: {name}: {after}");
            println!("{set}: {name}: {} tables, {count} records", after.lines().count());
            records += count;
        }
    }
    assert!(records > 1000, "{records}");
}
