//! Backups that somebody reads, so that no prune removes them meanwhile.
//!
//! A reader holds one folder, together with all other readers: that of the backup it reads. Those that it builds on need
//! not be held, however many there are, because of what a prune does:
//!
//! - It takes a folder alone before it moves it away, and holds it until that is done.
//! - It removes what builds on a backup before that backup, and never a backup that one which stands builds on, whether
//!   that one is to stay or could not be taken.
//!
//! So while a backup stands, all of its chain stands; and from the moment on at which a reader has locked the folder that
//! stands under the backup's name ([`Store::try_hold`] looks at that behind the lock), the backup stands. Nothing needs to
//! be written for that: it works in a repository that may only be read.
//!
//! [`Store::try_hold`]: super::store::Store::try_hold

use super::catalogue::Backup;
use super::manifest::BackupId;
use super::store::Held;
use super::{LOCK_POLL, Repository, holder};
use crate::error::{Error, ExitCode, Jet, Result};
use crate::stream::stop::StopToken;

/// How often a backup is looked at that is just being removed: for about a second.
const TRIES_MAX: u32 = 200;
/// The backup that is chosen anew where it was removed.
const LATEST: &str = "latest";

/// A backup is read while this lives: nobody removes it, nor what it builds on.
#[derive(Debug)]
pub struct InUse(#[expect(dead_code, reason = "the lock lives as long as it is held")] Box<dyn Held>);

/// What became of a wish to hold a backup.
enum Tried {
    Held(InUse),
    /// Somebody holds it alone, who is about to remove it.
    Leaving,
    Gone,
}

impl Repository {
    /// The backup that a person names, as [`Repository::resolve`] finds it, held. Where `latest` is removed between choosing
    /// and holding, the next one is taken; any other one that is removed, or is being removed, is exit 5.
    pub fn resolve_held(&self, name: &str, stop: &StopToken) -> Result<(Backup, InUse)> {
        let mut leaving: Option<BackupId> = None;
        let found = self.choose_held(stop, &mut || {
            let backup = match (self.resolve(name), &leaving) {
                (Err(error), Some(id)) if error.jet_code() == Some(Jet::InvalidParameter) && name != LATEST => {
                    return Err(removed(id));
                }
                (found, _) => found?,
            };
            if name != LATEST && leaving.as_ref().is_some_and(|id| *id != backup.id) {
                return Err(removed(&backup.id)); // the beginning of another id now
            }
            leaving = Some(backup.id.clone());
            Ok(Some(backup))
        })?;
        found.ok_or_else(|| Error::new(ExitCode::Failed, "no backup was chosen; this is a bug"))
    }

    /// Chooses a backup and holds it; where it is removed in between, another one is chosen. None where none is.
    pub fn choose_held(
        &self,
        stop: &StopToken,
        choose: &mut dyn FnMut() -> Result<Option<Backup>>,
    ) -> Result<Option<(Backup, InUse)>> {
        let mut tries = 0;
        loop {
            let Some(backup) = choose()? else { return Ok(None) };
            tries += 1;
            match self.try_hold(&backup.id)? {
                Tried::Held(in_use) => return Ok(Some((backup, in_use))),
                Tried::Leaving if tries == TRIES_MAX => return Err(self.being_removed(&backup.id)),
                Tried::Gone if tries == TRIES_MAX => return Err(removed(&backup.id)),
                Tried::Leaving => stop.sleep(LOCK_POLL)?,
                Tried::Gone => {}
            }
        }
    }

    /// Holds a backup; none where it is not there any more.
    pub fn hold(&self, id: &BackupId, stop: &StopToken) -> Result<Option<InUse>> {
        for _ in 0..TRIES_MAX {
            match self.try_hold(id)? {
                Tried::Held(in_use) => return Ok(Some(in_use)),
                Tried::Gone => return Ok(None),
                Tried::Leaving => stop.sleep(LOCK_POLL)?,
            }
        }
        Err(self.being_removed(id))
    }

    fn being_removed(&self, id: &BackupId) -> Error {
        let holder = holder::describe(self.store().local_path(&id.folder()).as_deref());
        Error::new(ExitCode::OutOfOrder, format!("{} is being removed by {holder}", id.text))
            .file(id.folder())
            .hint("`jetbak list` shows the backups that are left once the prune is over.")
    }

    fn try_hold(&self, id: &BackupId) -> Result<Tried> {
        match self.store().try_hold(&id.folder(), false) {
            Ok(Some(held)) => Ok(Tried::Held(InUse(held))),
            Ok(None) => Ok(Tried::Leaving),
            Err(error) if error.is_not_found() => Ok(Tried::Gone),
            Err(error) => Err(error),
        }
    }
}

/// A backup that was there a moment ago.
pub fn removed(id: &BackupId) -> Error {
    Error::new(ExitCode::OutOfOrder, format!("{} was removed by a prune", id.text))
        .file(id.folder())
        .hint("`jetbak list` shows the backups that are left.")
}
