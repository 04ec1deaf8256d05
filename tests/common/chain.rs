//! A backup that builds on the newest one, put together line by line: stories can have chains that no session makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jetbak::repository::Repository;
use jetbak::repository::blocks::{BlocksWriter, Shelf};
use jetbak::stream::earlier::{BlockFacts, Earlier, Within};
use serde_json::{Value, json};

use super::Host;
use super::forge::sha256;

/// A backup that is being put together.
pub struct Increment {
    repository: PathBuf,
    /// Its id.
    pub id: String,
    parent: String,
    manifest: Value,
    list: String,
    sums: String,
    /// The resolved list of the parent, and how many of its lines were used.
    below: Vec<Value>,
    used: usize,
    resolved: Vec<Value>,
    stored: u64,
}

impl Increment {
    /// Begins one on the newest backup of `repo`.
    pub fn begin(host: &Host) -> Self {
        let repository = host.path("repo");
        let parent = host.backups("repo").pop().expect("a backup");
        let mut below = host.ok(&["show", "repo", &parent, "--files", "--json"]).json();
        below.pop(); // the summary
        for line in &mut below {
            let fields = line.as_object_mut().expect("an object");
            fields.remove("bytes_stored");
            let by = fields.remove("held_by").filter(|by| !by.is_null());
            if let Some(by) = by.or_else(|| Some(parent.clone().into()).filter(|_| fields.contains_key("within"))) {
                fields.entry("held").or_insert_with(|| json!({ "by": by }));
            }
        }
        let text = fs::read(repository.join("backups").join(&parent).join("manifest.json")).expect("read");
        let mut manifest: Value = serde_json::from_slice(&text).expect("JSON");
        let link = json!({ "id": parent, "manifest_sha256": sha256(&text) });
        let sequence = manifest["sequence"].as_u64().expect("a number") + 1;
        let id = format!("{sequence:06}-20261122T093015Z-incremental");
        manifest["sequence"] = sequence.into();
        manifest["id"] = id.clone().into();
        manifest["kind"] = "incremental".into();
        manifest["changes"] = "blocks".into();
        manifest["parent"] = link.clone();
        manifest["previous"] = link;
        fs::create_dir_all(repository.join("backups").join(&id).join("data")).expect("made");
        let (list, sums, resolved) = (String::new(), String::new(), Vec::new());
        Self { repository, id, parent, manifest, list, sums, below, used: 0, resolved, stored: 0 }
    }

    /// Where the backup's files are.
    pub fn folder(&self) -> PathBuf {
        self.repository.join("backups").join(&self.id)
    }

    /// The parent's line of a path.
    pub fn line(&self, path: &str) -> Value {
        self.below.iter().find(|line| line["path"] == path).expect("a line").clone()
    }

    /// Carries all lines over up to that of a path, which is passed over.
    pub fn same_but(mut self, path: &str) -> Self {
        let at = self.below.iter().position(|line| line["path"] == path).expect("a line");
        self.carry(at - self.used);
        self.list += "{\"type\":\"gone\",\"lines\":1}\n";
        self.used += 1;
        self
    }

    fn carry(&mut self, lines: usize) {
        if lines > 0 {
            let text = format!("{{\"type\":\"same\",\"lines\":{lines}}}\n");
            self.list.push_str(&text);
            self.resolved.extend_from_slice(&self.below[self.used..self.used + lines]);
            self.used += lines;
        }
    }

    /// Adds a line as it is.
    pub fn add(mut self, line: Value) -> Self {
        self.list += &(line.to_string() + "\n");
        self.resolved.push(line);
        self
    }

    /// Adds a file that is stored whole, with the attributes of a line.
    pub fn whole(mut self, like: &Value, path: &str, content: &[u8]) -> Self {
        let place = self.folder().join("data").join(path);
        fs::create_dir_all(place.parent().expect("a parent")).expect("made");
        fs::write(place, content).expect("written");
        self.sum(&sha256(content), &format!("data/{path}"));
        self.stored += content.len() as u64;
        let mut own = without_place(like);
        own["path"] = path.into();
        own["size"] = content.len().into();
        own["sha256"] = sha256(content).into();
        self.add(own)
    }

    /// Adds a file of which only those blocks are stored that the parent has not.
    pub fn changed(mut self, path: &str, content: &[u8]) -> Self {
        let below = self.line(path);
        let repository = Repository::open(&self.repository).expect("opened");
        let key = repository.block_key().expect("a secret").clone();
        let blocks = Shelf { store: Arc::clone(repository.store()), key, fresh: false };
        let place = Path::new("data").join(path);
        let earlier = Earlier {
            backup: below["held"]["by"].as_str().expect("a backup").to_owned(),
            place: place.clone(),
            within: if below["within"] == "blocks" { Within::Blocks } else { Within::Data },
            blocks: Some(serde_json::from_value::<BlockFacts>(below["blocks"].clone()).expect("a file of blocks")),
            size: below["size"].as_u64().expect("a size"),
            sha256: below["sha256"].as_str().map(str::to_owned),
        };
        let folder = Path::new("backups").join(&self.id);
        let mut writer = BlocksWriter::compare(&blocks, &folder, &place, &earlier, Path::new(path)).expect("begun");
        writer.write(content).expect("written");
        let facts = writer.finish().expect("finished").expect("something differs").facts;
        self.sum(&facts.sha256, &format!("blocks/data/{path}"));
        self.stored += facts.bytes;
        let mut line = without_place(&below);
        line["size"] = content.len().into();
        line["within"] = "blocks".into();
        line["blocks"] = serde_json::to_value(&facts).expect("JSON");
        line.as_object_mut().expect("an object").remove("sha256");
        self.add(line)
    }

    fn sum(&mut self, sha256: &str, path: &str) {
        for part in [sha256, "  ", path, "\n"] {
            self.sums.push_str(part);
        }
    }

    /// Carries over what is left, and publishes it.
    pub fn publish(mut self) -> String {
        self.carry(self.below.len() - self.used);
        let is_file = |line: &&Value| line["type"] == "file";
        let bytes = self.resolved.iter().filter(is_file).filter(|line| line["hard_link"].is_null());
        let bytes: u64 = bytes.map(|line| line["size"].as_u64().expect("a size")).sum();
        let folder = self.folder();
        self.manifest["files"] = self.resolved.iter().filter(is_file).count().into();
        self.manifest["bytes"] = bytes.into();
        self.manifest["bytes_stored"] = self.stored.into();
        self.manifest["files_sha256"] = sha256(self.list.as_bytes()).into();
        let manifest = serde_json::to_vec_pretty(&self.manifest).expect("JSON");
        self.sum(&sha256(self.list.as_bytes()), "files.jsonl");
        self.sum(&sha256(&manifest), "manifest.json");
        fs::write(folder.join("files.jsonl"), self.list).expect("written");
        fs::write(folder.join("SHA256SUMS"), self.sums).expect("written");
        fs::write(folder.join("manifest.json"), manifest).expect("written");
        assert!(!self.parent.is_empty());
        self.id
    }
}

fn without_place(line: &Value) -> Value {
    let mut line = line.clone();
    let fields = line.as_object_mut().expect("an object");
    for field in ["held", "within", "blocks", "holes"] {
        fields.remove(field);
    }
    line
}
