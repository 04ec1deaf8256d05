//! A backup changed by somebody who knows how it is made: every hash fits again afterwards.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Changes one bit of a file.
pub fn flip(path: &Path, offset: usize) {
    let mut text = fs::read(path).expect("read");
    text[offset] ^= 1;
    fs::write(path, text).expect("written");
}

/// SHA-256, hexadecimal.
pub fn sha256(text: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes every write");
        hex
    })
}

/// Makes every hash of a backup fit again, as somebody would who wants to deceive.
pub fn reseal(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    let list = sha256(&fs::read(folder.join("files.jsonl")).expect("read"));
    manifest["files_sha256"] = list.clone().into();
    change(&mut manifest);
    let text = serde_json::to_vec_pretty(&manifest).expect("JSON");
    fs::write(&path, &text).expect("written");
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).expect("read");
    let kept = sums.lines().filter(|line| !line.ends_with("files.jsonl") && !line.ends_with("manifest.json"));
    let ends = [format!("{list}  files.jsonl"), format!("{}  manifest.json", sha256(&text)), String::new()];
    let sums = kept.chain(ends.iter().map(String::as_str)).collect::<Vec<_>>().join("\n");
    fs::write(folder.join("SHA256SUMS"), sums).expect("written");
}

/// Replaces the lines of the list of files that name `name`, and makes every hash fit again.
pub fn forge_line(folder: &Path, name: &str, change: impl Fn(&str) -> String) {
    let path = folder.join("files.jsonl");
    let list = fs::read_to_string(&path).expect("read");
    let name = format!("{name}\"");
    let forged = list.lines().map(|line| if line.contains(&name) { change(line) } else { line.to_owned() });
    fs::write(&path, forged.map(|line| line + "\n").collect::<String>()).expect("written");
    reseal(folder, |_| {});
}

/// Changes the list of files as a whole, line by line as JSON; hashes and totals fit again, `SHA256SUMS` too.
pub fn forge(folder: &Path, change: impl FnOnce(&mut Vec<Value>)) {
    let path = folder.join("files.jsonl");
    let list = fs::read_to_string(&path).expect("read");
    let mut lines: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    change(&mut lines);
    let list = lines.iter().fold(String::new(), |list, line| list + &line.to_string() + "\n");
    fs::write(&path, list).expect("written");
    let has_content =
        |line: &&Value| ["database", "log", "checkpoint", "other"].iter().any(|role| line["role"] == *role);
    let files: Vec<_> = lines.iter().filter(has_content).collect();
    let bytes = files.iter().filter(|line| line["hard_link"].is_null());
    let bytes = bytes.fold(0_u64, |sum, line| sum.saturating_add(line["size"].as_u64().unwrap_or(0)));
    let sums = files.iter().map(|line| {
        let (hash, path) = (line["sha256"].as_str().unwrap_or(""), line["path"].as_str().unwrap_or(""));
        let of_blocks = line["blocks"]["sha256"].as_str().filter(|_| line["hard_link"].is_null());
        let of_blocks = of_blocks.map_or(String::new(), |hash| format!("{hash}  blocks/data/{path}\n"));
        format!("{hash}  data/{path}\n") + &of_blocks
    });
    fs::write(folder.join("SHA256SUMS"), sums.collect::<String>()).expect("written");
    reseal(folder, |manifest| {
        manifest["files"] = files.len().into();
        manifest["bytes"] = bytes.into();
    });
}

/// Takes a file out of a backup as if it had never been in it.
pub fn drop_file(folder: &Path, name: &str) {
    fs::remove_file(folder.join("data").join(name)).expect("removed");
    let _ = fs::remove_file(folder.join("blocks/data").join(name)); // small files have none
    forge(folder, |lines| lines.retain(|line| line["path"] != name));
}

/// Puts another content in the place of a file of a backup, with the hash that fits.
pub fn swap_file(folder: &Path, name: &str, content: &[u8]) {
    fs::write(folder.join("data").join(name), content).expect("written");
    let _ = fs::remove_file(folder.join("blocks/data").join(name)); // small files have none
    forge(folder, |lines| {
        let line = lines.iter_mut().find(|line| line["path"] == name).expect("a line for it");
        line.as_object_mut().expect("an object").remove("blocks");
        line["sha256"] = sha256(content).into();
        line["size"] = content.len().into();
    });
}

/// Moves the newest backup in `repo` to another time, as one has it that was made while the clock went wrong; returns its id.
/// Nothing builds on it yet.
pub fn move_in_time(host: &super::Host, began: &str) -> String {
    let folder = host.backup_folder();
    let old = folder.file_name().expect("a name").to_string_lossy().into_owned();
    let mut parts = old.split('-');
    let (number, kind) = (parts.next().expect("a number"), parts.next_back().expect("a kind"));
    let id = format!("{number}-{}-{kind}", began.replace(['-', ':'], ""));
    reseal(&folder, |manifest| {
        manifest["id"] = id.clone().into();
        manifest["began"] = began.into();
        manifest["ended"] = began.into();
    });
    fs::rename(&folder, folder.with_file_name(&id)).expect("renamed");
    id
}
