//! Where the backups of one storage are kept: `repository.json`, `lock`, `backups/`, `partial/`.

pub mod blocks;
pub mod catalogue;
pub mod chain;
pub mod content;
pub mod damage;
pub mod file_list;
mod held_lines;
pub mod holder;
pub mod in_use;
mod list_level;
mod list_names;
pub mod list_reader;
pub mod list_script;
pub mod local;
pub mod log_history;
pub mod log_parent;
pub mod manifest;
pub mod partial;
pub mod prune;
pub mod read_records;
pub mod restore;
pub mod restored;
pub mod seal;
pub mod set;
pub mod store;
pub mod stored;
pub mod tags;
pub mod verified;
pub mod verify;
mod verify_database;
mod verify_file;
mod verify_frame;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::blocks::{BlockKey, Shelf};
use self::local::LocalStore;
use self::store::{Held, Store};
use crate::durable::{self, Put};
use crate::engine::{EngineName, Mark};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::heir::{self, Heir};
use crate::hex::hex;
use crate::stream::stop::StopToken;
use crate::times;
use crate::{file_systems, paths};

/// The version of `repository.json` that this program writes, and the newest it reads.
const FORMAT: u32 = 1;
/// How often a command looks whether another one is done publishing.
const LOCK_POLL: Duration = Duration::from_millis(5);
/// Largest small file that is read whole.
const SMALL_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Which storage a repository belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "by")]
pub enum Identity {
    /// The name given with `--name`.
    Name {
        /// The name.
        name: String,
    },
    /// The storage's canonical path.
    Path {
        /// The path, lossy where it is not UTF-8.
        path: String,
        /// The exact bytes where it is not, base64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path_base64: Option<String>,
    },
    /// The signature of its log stream, so that it may lie elsewhere every time.
    Logs {
        /// The signature, hexadecimal.
        signature: String,
    },
    /// Without a log stream: the signature of its first database.
    Database {
        /// The signature, hexadecimal.
        signature: String,
    },
}

impl Identity {
    /// The identity of a storage: its name if one is given, else what its content says of it, else its path.
    pub fn of(storage: &Path, name: Option<&str>, mark: Option<Mark>) -> Self {
        match (name, mark) {
            (Some(name), _) => Self::Name { name: name.to_owned() },
            (None, Some(Mark::Logs(signature))) => Self::Logs { signature },
            (None, Some(Mark::Database(signature))) => Self::Database { signature },
            (None, None) => {
                let (path, path_base64) = paths::to_fields(storage);
                Self::Path { path, path_base64 }
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Name { name } => format!("the storage named {}", printable(name)),
            Self::Path { path, .. } => format!("the storage {}", printable(path)),
            Self::Logs { signature } => format!("the instance with the log signature {}", printable(signature)),
            Self::Database { signature } => format!("the database with the signature {}", printable(signature)),
        }
    }
}

/// `repository.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Header {
    #[serde(rename = "type")]
    type_name: String,
    format: u32,
    id: String,
    identity: Identity,
    engine: EngineName,
    created: jiff::Timestamp,
    /// Under which blocks are hashed; none in repositories that were made before there were files of blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<BlockKey>,
}

/// The one field that every version of `repository.json` has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// An opened repository.
#[derive(Clone, Debug)]
pub struct Repository {
    store: Arc<dyn Store>,
    root: PathBuf,
    header: Header,
}

impl Repository {
    /// Opens a repository that exists.
    pub fn open(path: &Path) -> Result<Self> {
        let root = path.canonicalize().map_err(|e| {
            let error = Error::io("open the repository", path, &e);
            if error.is_not_found() {
                return Error::jet(Jet::InvalidPath, format!("there is no repository {}", printable(path))).file(path);
            }
            error
        })?;
        if !root.is_dir() {
            let message = format!("{} is a file, not a repository directory", printable(path));
            return Err(Error::jet(Jet::InvalidPath, message).file(path));
        }
        let store: Arc<dyn Store> =
            Arc::new(LocalStore::open(&root).map_err(|error| heir::blame(error, &root, &root))?.for_its_owner());
        Self::with_store(store, root)
    }

    /// Opens the repository of a store.
    pub fn with_store(store: Arc<dyn Store>, root: PathBuf) -> Result<Self> {
        let path = Path::new("repository.json");
        let text = read_small(&*store, path, SMALL_FILE_BYTES_MAX).map_err(|error| {
            if !error.is_not_found() {
                return error;
            }
            Error::jet(Jet::InvalidPath, format!("{} is not a jetbak repository", printable(&root))).file(&root).hint(
                "A repository holds a file repository.json. `jetbak backup STORAGE --to DIR` makes one where DIR does \
                 not exist or is empty.",
            )
        })?;
        let damaged = |reason: &str| {
            Error::new(ExitCode::Verification, format!("{} is damaged: {reason}", store.describe(path).display()))
                .file(store.describe(path))
        };
        // The version first: a newer one may hold words that this one takes for damage.
        let version: Version = serde_json::from_slice(&text).map_err(|e| damaged(&e.to_string()))?;
        if version.format > FORMAT {
            return Err(Error::new(
                ExitCode::Failed,
                format!(
                    "{} was written by a newer jetbak (format {}, this one knows {FORMAT})",
                    printable(&root),
                    version.format
                ),
            )
            .file(&root)
            .hint("Use the newer version."));
        }
        let header: Header = serde_json::from_slice(&text).map_err(|e| damaged(&e.to_string()))?;
        Ok(Self { store, root, header })
    }

    /// Opens the repository for backups of this storage; makes it where the directory is missing or empty.
    pub fn open_or_create(path: &Path, identity: &Identity, engine: EngineName) -> Result<Self> {
        let repository = match Self::open(path) {
            Ok(repository) => repository,
            Err(error) if error.jet_code() == Some(Jet::InvalidPath) => {
                // Not empty any more: another first backup may just have made it.
                if is_missing_or_empty(path) { Self::create(path, identity, engine)? } else { Self::open(path)? }
            }
            Err(error) => return Err(error),
        };
        repository.require(identity, engine)?;
        Ok(repository)
    }

    /// The engine of its backups.
    pub fn engine(&self) -> EngineName {
        self.header.engine
    }

    /// Refuses a repository that holds backups of another engine; one that does not exist yet holds none.
    pub fn check_engine(path: &Path, engine: EngineName) -> Result<()> {
        match Self::open(path) {
            Ok(repository) => repository.require_engine(engine),
            Err(_) => Ok(()), // told by whoever opens it to use it
        }
    }

    /// Says whether a backup of this storage could go there, without making anything.
    pub fn check(path: &Path, identity: &Identity, engine: EngineName) -> Result<()> {
        match Self::open(path) {
            Ok(repository) => repository.require(identity, engine),
            Err(error) if error.jet_code() == Some(Jet::InvalidPath) && is_missing_or_empty(path) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a first backup would make a repository here.
    pub fn may_be_made(path: &Path) -> bool {
        is_missing_or_empty(path)
    }

    fn create(path: &Path, identity: &Identity, engine: EngineName) -> Result<Self> {
        make_unless_there(path).map_err(|error| {
            if error.is_not_found() {
                return error.hint("Only the last directory of the path is made; is a mount missing?");
            }
            error
        })?;
        let folder = fs::File::open(path).map_err(|e| Error::io("open", path, &e))?;
        let heir = Heir::of(&folder);
        for name in ["backups", "partial"] {
            make_unless_there(&path.join(name))?;
            if let Some(heir) = heir {
                heir.take_directory(&folder, name);
            }
        }
        let header = Header {
            type_name: "repository".to_owned(),
            format: FORMAT,
            id: format!("{:016x}", durable::random()),
            identity: identity.clone(),
            engine,
            created: times::now(),
            secret: Some(BlockKey::draw()?),
        };
        let text = serde_json::to_vec_pretty(&header).expect("a header has only fields that JSON can hold");
        match durable::write_for(heir, &path.join("repository.json"), &text, Put::New) {
            Err(error) if error.is_already_there() => {} // another first backup was quicker; what it said counts
            written => written?,
        }
        Self::open(path)
    }

    /// Refuses a storage that this repository does not belong to.
    fn require(&self, identity: &Identity, engine: EngineName) -> Result<()> {
        self.require_engine(engine)?;
        if self.header.identity != *identity {
            let message = format!(
                "the repository {} belongs to {}, not to {}",
                printable(&self.root),
                self.header.identity.describe(),
                identity.describe()
            );
            let hint = match &self.header.identity {
                Identity::Name { name } => format!("Give --name {} if this is that storage.", printable(name)),
                Identity::Logs { .. } | Identity::Database { .. } => {
                    "Another instance lies there, or its logs were begun anew. Use a new repository for it.".to_owned()
                }
                Identity::Path { .. } => {
                    "Use a repository of its own for each storage; --name at the first backup ties \
                                          a repository to a name instead of a path."
                        .to_owned()
                }
            };
            return Err(Error::jet(Jet::InvalidParameter, message).file(&self.root).hint(hint));
        }
        Ok(())
    }

    fn require_engine(&self, engine: EngineName) -> Result<()> {
        if self.header.engine != engine {
            let message = format!(
                "the repository {} holds backups of the engine {}, not {engine}",
                printable(&self.root),
                self.header.engine
            );
            let hint =
                format!("Give --engine {} if that is what is meant, or use another repository.", self.header.engine);
            return Err(Error::jet(Jet::InvalidParameter, message).file(&self.root).hint(hint));
        }
        Ok(())
    }

    /// The canonical path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The repository's own id.
    pub fn id(&self) -> &str {
        &self.header.id
    }

    /// The secret under which its blocks are hashed; none in older repositories, which have no files of blocks.
    pub fn block_key(&self) -> Option<&BlockKey> {
        self.header.secret.as_ref()
    }

    /// Where its files of blocks are, if it can have some; `fresh` as for [`Store::open`].
    pub fn shelf(&self, fresh: bool) -> Option<Shelf> {
        Some(Shelf { store: Arc::clone(&self.store), key: self.block_key()?.clone(), fresh })
    }

    /// Where its bytes are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The lock for publishing and pruning. Waits for the one who has it: a lock dies with its process, and hours of
    /// reading are worth more than a short wait; a stop ends it.
    pub fn lock(&self, stop: &StopToken) -> Result<Box<dyn Held>> {
        require_locks(&self.root)?;
        loop {
            if let Some(held) = self.store.try_lock(Path::new("lock"))? {
                return Ok(held);
            }
            stop.sleep(LOCK_POLL).map_err(|error| {
                let holder = holder::describe(self.store.local_path(Path::new("lock")).as_deref());
                error.hint(format!(
                    "It was waiting for {holder}, which publishes or prunes in {}.",
                    printable(&self.root)
                ))
            })?;
        }
    }
}

/// Refuses a place on a file system whose locks cannot be trusted, whether a repository is there or is to be made there.
pub fn require_locks(path: &Path) -> Result<()> {
    let hint = "Keep the repository on a local disk, and copy it elsewhere from there. What is there already can be read: \
                list, show, cat, verify and restore need no locks.";
    file_systems::require_locks("the repository", path, hint)
}

/// Makes a directory; another first backup may be quicker.
fn make_unless_there(folder: &Path) -> Result<()> {
    match durable::make_folder(folder) {
        Err(error) if error.is_already_there() && folder.is_dir() => Ok(()),
        made => made,
    }
}

/// Whether a first backup may make a repository here.
fn is_missing_or_empty(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|entry| is_own(&entry))),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// What a first backup that crashed may have left.
fn is_own(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let is_empty = || fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_none());
    name.as_encoded_bytes().starts_with(durable::TEMPORARY_PREFIX.as_bytes())
        || ((name == "backups" || name == "partial") && is_empty())
        || name == "lost+found"
}

/// Reads a file that must be small.
fn read_small(store: &dyn Store, path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let input = store.open(path, 0, false)?;
    let read = input.take(bytes_max + 1).read_to_end(&mut text);
    read.map_err(|e| Error::io("read", &store.describe(path), &e))?;
    if text.len() as u64 > bytes_max {
        let message = format!("{} is larger than it can be", printable(store.describe(path)));
        return Err(Error::new(ExitCode::Verification, message).file(store.describe(path)));
    }
    Ok(text)
}

/// SHA-256 of a small piece of text, hexadecimal.
fn sha256_hex(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_or_missing_directory_becomes_a_repository() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let identity = Identity::of(Path::new("/srv/app"), None, None);
        let path = folder.path().join("new");
        Repository::open_or_create(&path, &identity, EngineName::Files).expect("made");
        Repository::open_or_create(&path, &identity, EngineName::Files).expect("opened");

        let occupied = folder.path().join("occupied");
        fs::create_dir(&occupied).expect("created");
        fs::write(occupied.join("letter.txt"), "dear").expect("written");
        let error = Repository::open_or_create(&occupied, &identity, EngineName::Files).expect_err("not ours");
        assert!(error.message().ends_with("is not a jetbak repository"), "{error}");
        assert_eq!(fs::read_dir(&occupied).expect("listed").count(), 1, "nothing was added");
    }

    #[test]
    fn what_a_crashed_first_backup_left_does_not_stand_in_the_way() {
        let folder = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(folder.path().join("backups")).expect("created");
        fs::write(folder.path().join(".jetbak-tmp-0"), "{").expect("written");
        let identity = Identity::of(Path::new("/srv/app"), None, None);
        Repository::open_or_create(folder.path(), &identity, EngineName::Files).expect("made");
    }
}
