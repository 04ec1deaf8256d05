//! Sessions that were interrupted: a reader meets a full disk at a call that can be chosen, so that no clock decides what is
//! left for whoever goes on; and backups that began so late that nothing had changed shortly before.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Host;
use super::faulty::{Faults, FaultyStore, Manner};
use jetbak::error::Jet;
use jetbak::protocol::{Context, Observer, Progress, Warning, read};
use jetbak::repository::Repository;
use jetbak::repository::local::LocalStore;
use jetbak::session::directory::{StateDirectory, Which};
use jetbak::stream::stop::StopToken;

const ENOSPC: i32 = 28;

/// Hears nothing.
pub struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: &Progress) {}
    fn warning(&mut self, _: &Warning) {}
    fn decided(&mut self, _: &str) {}
    fn said(&mut self, _: &str) {}
}

/// Reads for the session of `app`, into a `repo` that has no space at the n-th call about a file of the partial, such as
/// `backup/data/main.db`: the first one creates it, or goes on with it, and each other one writes a chunk.
#[track_caller]
pub fn read_until_full(host: &Host, file: &str, at: u64) {
    let state = StateDirectory::choose(Some(host.path("state"))).expect("a directory");
    let session = state.find(&Which::Storage(host.path("app"))).expect("looked for").expect("a session");
    let mut context = Context::open(state, session);
    let root = host.path("repo");
    let faults = Faults::of(file, at, ENOSPC, Manner::Once);
    let store = FaultyStore { inner: LocalStore::open(&root).expect("opened"), faults: Arc::clone(&faults) };
    let repository = Repository::with_store(Arc::new(store), root).expect("a repository");
    context.partial = Ok(Some(repository.partial(&context.session.record().session)));
    faults.arm();
    let done = read::read_all(&context, &mut Silent, &StopToken::never());
    assert_eq!(done.expect_err("the disk is full").jet_code(), Some(Jet::DiskFull));
    assert!(faults.struck() && host.path("repo").join("partial").is_dir(), "{file} is full");
}

/// Says in every session and partial that it began so late that nothing had changed shortly before.
pub fn began_later(host: &Host) {
    let sessions = host.session_folders().into_iter().map(|folder| folder.join("session.json"));
    let partials = host.partials("repo").into_iter();
    let partials = partials.map(|name| host.path("repo/partial").join(name).join("owner.json"));
    for path in sessions.chain(partials) {
        let mut text: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        text["began"] = json!("2200-01-01T00:00:00Z");
        fs::write(path, text.to_string()).expect("written");
    }
}

/// Ends the session of `app`, which keeps what it has read.
#[track_caller]
pub fn end_session(host: &Host) {
    host.ok(&["stop", "app"]);
    host.ok(&["end", "app"]).says("what was read so far stays in ");
}

/// Reads for a session that is stopped, and keeps what was read, of these names: none of them stands for everything.
#[track_caller]
pub fn read_and_stop(host: &Host, options: &[&str], names: &[&str]) {
    host.ok(&[&["begin", "app", "--to", "repo", "--log", "wal.*", "--keep-partial"], options].concat());
    host.ok(&[&["read", "app"], names].concat());
    end_session(host);
    began_later(host);
}
