//! The state directory: one folder a session, found by storage or by id.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::event::Event;
use super::journal::{Durability, Journal};
use super::readers::ReaderSlot;
use super::record::Record;
use super::{Session, no_session};
use crate::error::{Error, ExitCode, Jet, Result};
use crate::stream::stop::StopToken;
use crate::{durable, file_systems};

/// How often one that waits for another begin looks whether it is done.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// Where the sessions of this machine and user are kept.
#[derive(Clone, Debug)]
pub struct StateDirectory(PathBuf);

/// Which session is meant.
#[derive(Clone, Debug)]
pub enum Which {
    /// The one of this storage.
    Storage(PathBuf),
    /// The one with this id.
    Id(String),
}

/// A session's folder whose content cannot be believed.
#[derive(Debug)]
pub struct Damaged {
    /// The folder.
    pub folder: PathBuf,
    /// What is wrong.
    pub error: Error,
}

/// Holds off every other begin while it lives.
#[derive(Debug)]
pub struct BeginLock(#[expect(dead_code, reason = "the lock lives as long as its file")] File);

impl StateDirectory {
    /// The directory to use: as given, else by who we are (`/var/lib/jetbak` for root, else below the home).
    pub fn choose(given: Option<PathBuf>) -> Result<Self> {
        if let Some(path) = given {
            return Ok(Self(std::path::absolute(&path).map_err(|e| Error::io("find", &path, &e))?));
        }
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        default_path(rustix::process::getuid().is_root(), variable("XDG_STATE_HOME"), variable("HOME")).map(Self)
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory if it is missing, and refuses one whose locks cannot be trusted.
    pub fn prepare(&self) -> Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(|e| {
            Error::io("create the state directory", &self.0, &e)
                .hint("Name another one with --state-dir or JETBAK_STATE_DIR.")
        })?;
        let hint = "Name a directory on a local disk with --state-dir or JETBAK_STATE_DIR.";
        file_systems::require_locks("the state directory", &self.0, hint)
    }

    /// Holds off every other begin in this directory; waits for the one that runs, but not through a stop.
    pub fn lock_begin(&self, stop: &StopToken) -> Result<BeginLock> {
        let path = self.0.join("begin.lock");
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(|e| {
                Error::io("write in the state directory", &path, &e)
                    .hint("Name another one with --state-dir or JETBAK_STATE_DIR.")
            })?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(BeginLock(file)),
                Err(TryLockError::WouldBlock) => stop.sleep(LOCK_POLL)?,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path, &error)),
            }
        }
    }

    /// Every session in progress, and the folders that cannot be read.
    pub fn sessions(&self) -> Result<(Vec<Session>, Vec<Damaged>)> {
        let mut sessions = Vec::new();
        let mut damaged = Vec::new();
        for folder in self.folders()? {
            match Session::open(&folder) {
                Ok(session) => {
                    if session.state()?.in_progress() {
                        sessions.push(session);
                    }
                }
                Err(error) if error.is_not_found() => {} // ended meanwhile, or a begin that has not got far
                Err(error) => damaged.push(Damaged { folder, error }),
            }
        }
        sessions.sort_by(|a, b| a.record().session.cmp(&b.record().session));
        Ok((sessions, damaged))
    }

    /// The session in progress that is meant, if there is one; a damaged one that is meant is an error.
    pub fn find(&self, which: &Which) -> Result<Option<Session>> {
        let (sessions, damaged) = self.sessions()?;
        let meant = |record: &Record| match which {
            Which::Storage(path) => record.is_for(path),
            Which::Id(id) => record.session == *id,
        };
        if let Some(session) = sessions.into_iter().find(|session| meant(session.record())) {
            return Ok(Some(session));
        }
        for Damaged { folder, error } in damaged {
            if Record::read(&folder).is_ok_and(|record| meant(&record)) {
                return Err(error);
            }
        }
        match which {
            Which::Id(id) => {
                let message = format!("no session has the id {}", crate::error::printable(id));
                Err(Error::jet(Jet::InvalidParameter, message).hint("`jetbak status` lists the sessions."))
            }
            Which::Storage(_) => Ok(None),
        }
    }

    /// The session in progress that is meant; -520 where there is none.
    pub fn require(&self, which: &Which) -> Result<Session> {
        self.find(which)?.ok_or_else(|| match which {
            Which::Storage(path) => no_session(Some(path)),
            Which::Id(_) => no_session(None),
        })
    }

    /// Makes a session: its folder, its plan of databases, then the first event, which makes it exist.
    ///
    /// `files` are finished files on the same file system, with the names that they get in its folder; they are moved. One
    /// is the plan, of so many databases. With `owner` the session is one that this process also ends: the returned file
    /// holds the owner's lock. `inherited` is what reader 1, who never lived, has of an earlier session.
    pub fn create(
        &self,
        _held: &BeginLock,
        record: Record,
        files: &[(&Path, &str)],
        databases: u64,
        inherited: Vec<Event>,
    ) -> Result<(Session, Option<File>)> {
        let folder = self.0.join(&record.session);
        durable::make_folder(&folder)?;
        let made = fill(&folder, &record, files, databases, inherited);
        match made {
            Ok((journal, owner)) => Ok((Session::new(folder, record, journal), owner)),
            Err(error) => {
                let _ = fs::remove_dir_all(&folder); // without its first event it is no session; the next begin sweeps it
                Err(error)
            }
        }
    }

    /// Removes what crashed begins and interrupted ends left; call it while no other begin can run.
    pub fn sweep(&self, _held: &BeginLock) -> Result<()> {
        for folder in self.folders()? {
            let dead = match Journal::open(&folder) {
                Ok(journal) => !journal.state().in_progress(),
                Err(error) => error.is_not_found(),
            };
            if dead {
                remove(&folder)?;
            }
        }
        durable::sweep_temporaries(&self.0)?;
        Ok(())
    }

    /// Removes a session that has ended.
    pub fn forget(&self, session: &Session) -> Result<()> {
        remove(session.folder())
    }

    fn folders(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list the state directory", &self.0, &error)),
        };
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list the state directory", &self.0, &e))?;
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && entry.file_name().to_str().is_some_and(is_session_id) {
                folders.push(entry.path());
            }
        }
        Ok(folders)
    }
}

fn fill(
    folder: &Path,
    record: &Record,
    files: &[(&Path, &str)],
    databases: u64,
    inherited: Vec<Event>,
) -> Result<(Journal, Option<File>)> {
    let readers = folder.join("readers");
    DirBuilder::new().mode(0o700).create(&readers).map_err(|e| Error::io("create", &readers, &e))?;
    for (path, name) in files {
        let target = folder.join(name);
        fs::rename(path, &target).map_err(|e| Error::io("write", &target, &e))?;
    }
    let owner = if record.one_shot { Some(lock_owner(folder)?) } else { None };
    record.write(folder)?;
    let mut journal = Journal::create(folder)?;
    durable::sync_folder(folder)?;
    let mut events = vec![Event::Begun { databases }];
    if !inherited.is_empty() {
        drop(ReaderSlot::take(folder)?); // the number is taken, and its reader is dead
        events.extend(inherited);
    }
    journal.append::<Error>(Durability::Synced, |_, _| Ok(events))?;
    Ok((journal, owner))
}

/// A new session's id: when it began, and six digits that no other session is likely to draw.
pub fn new_session_id(began: jiff::Timestamp) -> String {
    format!("{}-{:06x}", crate::times::compact(began), durable::random() & 0x00ff_ffff)
}

/// Whether a name is one that [`new_session_id`] gives: nothing else in a state directory is ours to look into or remove.
fn is_session_id(name: &str) -> bool {
    let pattern = "ddddddddTddddddZ-hhhhhh";
    name.len() == pattern.len()
        && name.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            b'h' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            literal => byte == literal,
        })
}

/// Takes the lock that says that the process of a one-shot lives; nobody else knows of the new folder yet.
fn lock_owner(folder: &Path) -> Result<File> {
    let path = folder.join("owner.lock");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|e| Error::io("create", &path, &e))?;
    file.lock().map_err(|e| Error::io("lock", &path, &e))?;
    Ok(file)
}

/// Removes a folder. Another process may just be putting a lock into it, and finds out that the session is over: then
/// it is tried again.
fn remove(folder: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && tries < 100 => tries += 1,
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", folder, &error));
            }
            _ => return Ok(()),
        }
    }
}

fn default_path(root: bool, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    if root {
        return Ok(PathBuf::from("/var/lib/jetbak"));
    }
    let base = xdg.filter(|path| path.is_absolute()).or_else(|| home.map(|home| home.join(".local/state")));
    base.map(|base| base.join("jetbak")).ok_or_else(|| {
        Error::new(ExitCode::Failed, "there is no home directory to keep the state of sessions in")
            .hint("Name a directory with --state-dir or JETBAK_STATE_DIR.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_where_an_administrator_looks_for_it() {
        let path = |root, xdg: Option<&str>, home: Option<&str>| {
            default_path(root, xdg.map(PathBuf::from), home.map(PathBuf::from))
                .map(|path| path.display().to_string())
                .ok()
        };
        assert_eq!(path(true, Some("/x"), Some("/root")).as_deref(), Some("/var/lib/jetbak"));
        assert_eq!(path(false, Some("/x"), Some("/home/a")).as_deref(), Some("/x/jetbak"));
        assert_eq!(path(false, Some("relative"), Some("/home/a")).as_deref(), Some("/home/a/.local/state/jetbak"));
        assert_eq!(path(false, None, None), None);
    }

    #[test]
    fn only_sessions_of_ours_are_looked_into_and_swept() {
        assert!(is_session_id(&new_session_id(jiff::Timestamp::now())));
        for other in ["", "Documents", "20261122T093015Z", "20261122T093015Z-1AC1AB", "20261122T093015Z-1ac1abc"] {
            assert!(!is_session_id(other), "{other}");
        }
        let state = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(state.path().join("Documents")).expect("created");
        let crashed = state.path().join(new_session_id(jiff::Timestamp::now()));
        fs::create_dir(&crashed).expect("created");
        let state = StateDirectory(state.path().to_owned());
        state.sweep(&state.lock_begin(&StopToken::never()).expect("locked")).expect("swept");
        assert!(state.0.join("Documents").exists() && !crashed.exists());
    }
}
