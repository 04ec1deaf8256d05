//! Partials: what a session has written so far, under `partial/<session>/`, where nothing can take it for a backup.
//!
//! ```text
//! partial/<session>/owner.json   which session on which host this is, so that a sweep can ask whether it lives; and what
//!                                it was to read, so that a later one can tell whether it may go on from here
//! partial/<session>/lock         held while a session begins, and by the process of a one-shot
//! partial/<session>/records/<n>  what reader n has read, one line a file; 0: logs read by an earlier session
//! partial/<session>/backup/      what one rename will make a backup
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::Link;
use super::prune::trash::{TRASH_PREFIX, trash_name};
use super::read_records::RecordFolder;
use super::store::{Held, Item, ItemKind};
use super::{Repository, read_small};
use crate::durable::Put;
use crate::engine::EngineName;
use crate::error::{Error, ExitCode, Result, printable};
use crate::paths;
use crate::session::event::Kind;
use crate::stream::stop::StopToken;

/// What `owner.json` may hold at most, in bytes.
const OWNER_BYTES_MAX: u64 = 64 * 1024;

/// Which session a partial belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// The session's id.
    pub session: String,
    /// The host on which it runs.
    pub host: String,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_base64: Option<String>,
    /// Begun by a `backup` that holds the partial's lock as long as it lives.
    pub one_shot: bool,
    /// Kept on purpose (`--keep-partial`) until the next backup is published.
    #[serde(default)]
    pub kept: bool,
    /// The backup that it builds on: no prune takes that away, or what it builds on itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Link>,
    /// What its session was to read; none where an older version wrote it, or nothing can be gone on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// When its session began (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<jiff::Timestamp>,
    /// The number of its folder in the file system: a copy of it, made while somebody wrote there, has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<u64>,
}

/// What must be the same in a session that goes on from what another one has read, beside the parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What understands the storage.
    pub engine: EngineName,
    /// The kind.
    pub kind: Kind,
    /// Only logs are taken of databases, instead of their changed blocks.
    pub by_logs: bool,
    /// A hash under the secret of the repository's blocks; none where it has no files of blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<String>,
}

impl Terms {
    /// What a session into a repository is to read.
    pub fn new(repository: &Repository, engine: EngineName, kind: Kind, by_logs: bool) -> Self {
        let key = repository.block_key().filter(|_| kind != Kind::Copy);
        Self { engine, kind, by_logs, blocks: key.map(|key| format!("{:016x}", key.check(b"partial"))) }
    }
}

impl Owner {
    /// The owner of a session whose folder is `state` on this host.
    pub fn new(session: &str, state: &Path, one_shot: bool) -> Self {
        let (state, state_base64) = paths::to_fields(state);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            session: session.to_owned(),
            host,
            state,
            state_base64,
            one_shot,
            kept: false,
            parent: None,
            terms: None,
            began: None,
            folder: None,
        }
    }

    /// Whether a session with these terms and this parent may go on from here.
    pub fn fits(&self, terms: &Terms, parent: Option<&Link>) -> bool {
        self.terms.as_ref() == Some(terms) && self.parent.as_ref() == parent && self.began.is_some()
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an owner has only fields that JSON can hold")
    }

    /// The session's folder on its host.
    pub fn state(&self) -> Option<PathBuf> {
        paths::from_fields(&self.state, self.state_base64.as_deref())
    }
}

/// A session's own corner of a repository.
#[derive(Clone, Debug)]
pub struct Partial {
    repository: Repository,
    folder: PathBuf,
}

/// A partial that a sweep found.
#[derive(Debug)]
pub struct Found {
    /// The partial.
    pub partial: Partial,
    /// Its name under `partial/`.
    pub name: String,
    /// Whose it is, if it says so.
    pub owner: Option<Owner>,
    /// Whether everything was written that a backup needs: only the rename was missing.
    pub sealed: bool,
}

impl Repository {
    /// Makes the partial of a new session and takes its lock; no sweep touches it until that is dropped.
    ///
    /// It is made under the lock of the repository, so that what a crash in the middle leaves can be told from one
    /// that is being made.
    pub fn create_partial(&self, owner: &Owner, stop: &StopToken) -> Result<(Partial, Option<Box<dyn Held>>)> {
        let partial = self.partial(&owner.session);
        let made = self.fill_partial(&partial, owner, stop);
        if made.is_err() {
            // Without an owner no sweep dares to remove it. The first error is the one to report.
            let _ = partial.discard();
        }
        made.map(|held| (partial, held))
    }

    fn fill_partial(&self, partial: &Partial, owner: &Owner, stop: &StopToken) -> Result<Option<Box<dyn Held>>> {
        let store = self.store();
        // Under the lock, so that whoever holds it knows: a partial without an owner is nobody's. And locked before it
        // says whose it is: its session does not exist yet.
        let _making = self.lock(stop)?;
        store.make_directory(&partial.folder)?;
        let mut held = None;
        while held.is_none() {
            held = store.try_lock(&partial.folder.join("lock"))?; // a sweep may try it for a moment
        }
        if store.open(&partial.folder.join("LOCK"), 0, false).is_ok() {
            // Two files of the storage would become one.
            let message = format!("the file system of {} does not tell names apart by case", printable(self.root()));
            return Err(Error::new(ExitCode::Failed, message).hint("Keep the repository on another file system."));
        }
        let owner = Owner { folder: store.node(&partial.folder)?.map(|node| node.number), ..owner.clone() };
        store.put(&partial.folder.join("owner.json"), &owner.to_bytes(), Put::New)?;
        store.make_directory(&partial.data())?;
        store.make_directory(&partial.folder.join("records"))?;
        Ok(held)
    }

    /// The partial of a session, whether it exists or not.
    pub fn partial(&self, session: &str) -> Partial {
        Partial { repository: self.clone(), folder: Path::new("partial").join(session) }
    }

    /// Every partial there is; trash is not listed.
    pub fn partials(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for Item { name, kind, .. } in self.store().list(Path::new("partial"))? {
            let Some(name) =
                name.to_str().filter(|name| kind == ItemKind::Directory && !name.starts_with(TRASH_PREFIX))
            else {
                continue;
            };
            let partial = self.partial(name);
            found.push(Found { name: name.to_owned(), owner: partial.owner(), sealed: partial.is_sealed()?, partial });
        }
        Ok(found)
    }
}

impl Partial {
    /// The repository it lies in.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// What will become the backup's folder, relative to the repository.
    pub fn backup(&self) -> PathBuf {
        self.folder.join("backup")
    }

    /// Where the files go, relative to the repository.
    pub fn data(&self) -> PathBuf {
        self.folder.join("backup").join("data")
    }

    /// Where its readers keep their records.
    pub fn records(&self) -> RecordFolder {
        RecordFolder { store: Arc::clone(self.repository.store()), folder: self.folder.join("records") }
    }

    /// Whose it is, if it says so.
    pub fn owner(&self) -> Option<Owner> {
        let store = &**self.repository.store();
        let text = read_small(store, &self.folder.join("owner.json"), OWNER_BYTES_MAX).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether a process of a one-shot holds it.
    pub fn is_held(&self) -> Result<bool> {
        match self.repository.store().try_lock(&self.folder.join("lock")) {
            Ok(held) => Ok(held.is_none()),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it was never said whose it is: its begin crashed before `owner.json`. Waits for one that is at it.
    pub fn is_nobodys(&self, stop: &StopToken) -> Result<bool> {
        let _making = self.repository.lock(stop)?;
        self.has_no_owner()
    }

    /// The same for whoever has the lock of the repository.
    pub fn has_no_owner(&self) -> Result<bool> {
        match self.repository.store().list(&self.folder) {
            Ok(items) => Ok(items.iter().all(|item| item.name != OsStr::new("owner.json"))),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it is still there as something to publish or discard.
    pub fn exists(&self) -> Result<bool> {
        match self.repository.store().list(&self.folder) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether its backup folder has a manifest.
    pub fn is_sealed(&self) -> Result<bool> {
        match self.repository.store().list(&self.backup()) {
            Ok(items) => Ok(items.iter().any(|item| item.name == OsStr::new("manifest.json"))),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Holds it as the process of a one-shot does, so that nobody else goes on from it or sweeps it; none where somebody
    /// does, or where it is gone.
    pub fn try_hold(&self) -> Result<Option<Box<dyn Held>>> {
        match self.repository.store().try_lock(&self.folder.join("lock")) {
            Err(error) if error.is_not_found() => Ok(None),
            held => held,
        }
    }

    /// Whether it is what its session made, and no copy of that.
    pub fn is_where_it_was_made(&self, owner: &Owner) -> Result<bool> {
        let node = self.repository.store().node(&self.folder)?;
        Ok(owner.folder.is_some() && owner.folder == node.map(|node| node.number))
    }

    /// Says that nobody is to go on from it: something in it is not what was written.
    pub fn distrust(&self) -> Result<()> {
        let Some(owner) = self.owner() else { return Ok(()) };
        let owner = Owner { terms: None, ..owner };
        self.repository.store().put(&self.folder.join("owner.json"), &owner.to_bytes(), Put::Replace)
    }

    /// Keeps it, although its session is over, until the next backup is published. `owner` is whose it is, if it does not
    /// say so itself.
    pub fn keep(&self, owner: &Owner) -> Result<()> {
        let owner = Owner { kept: true, ..self.owner().unwrap_or_else(|| owner.clone()) };
        self.repository.store().put(&self.folder.join("owner.json"), &owner.to_bytes(), Put::Replace)
    }

    /// Gets it out of the way in one rename, then deletes it; a crash in between leaves trash that the next run empties.
    /// Says whether it was there.
    pub fn discard(&self) -> Result<bool> {
        let Some(trash) = self.take_away()? else { return Ok(false) };
        self.repository.store().remove(&trash)?;
        Ok(true)
    }

    /// Gets it out of the way in one rename, for whoever empties the trash; says where it lies then, if it was there.
    pub fn take_away(&self) -> Result<Option<PathBuf>> {
        let trash = trash_name(&self.folder.file_name().unwrap_or_default().to_string_lossy());
        match self.repository.store().promote(&self.folder, &trash) {
            Err(error) if error.is_not_found() => Ok(None),
            renamed => renamed.map(|()| Some(trash)),
        }
    }

    /// Its folder, relative to the repository.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
