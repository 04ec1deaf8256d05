//! Trash: what a prune or a discard has taken away in one rename, `partial/trash-NAME-XXXXXXXX`, and is deleting.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::manifest::BackupId;
use crate::repository::store::{Item, ItemKind, Store};

/// The beginning of the name of everything that is being deleted.
pub const TRASH_PREFIX: &str = "trash-";
/// The folders with records of backups, one file each.
const RECORDS: [&str; 2] = ["verified", "tags"];

/// Something that is being deleted.
#[derive(Clone, Debug)]
pub struct Trash {
    /// Where it lies, relative to the repository.
    pub folder: PathBuf,
    /// What it was: the id of a backup, or a session.
    pub was: String,
}

/// How much lies in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Regular files, each name counted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A new name for what is to be deleted.
pub fn trash_name(of: &str) -> PathBuf {
    Path::new("partial").join(format!("{TRASH_PREFIX}{of}-{:08x}", crate::durable::random() >> 32))
}

impl Repository {
    /// Takes a backup away in one rename: from then on it is listed no more, and what is left is deleted by whoever empties
    /// the trash. Call it under the lock, while nobody holds the backup. Durable when this returns.
    pub fn take_away(&self, backup: &Backup) -> Result<()> {
        self.store().promote(&backup.folder(), &trash_name(&backup.id.text))
    }

    /// All trash there is.
    pub fn trash(&self) -> Result<Vec<Trash>> {
        let items = self.store().list(Path::new("partial"))?;
        let trash = items.into_iter().filter_map(|item| {
            let name = item.name.to_string_lossy().into_owned();
            let was = name.strip_prefix(TRASH_PREFIX)?;
            let was = was.rsplit_once('-').map_or(was, |(was, _)| was).to_owned();
            Some(Trash { folder: Path::new("partial").join(item.name), was })
        });
        Ok(trash.collect())
    }

    /// Deletes all trash, and what is known of the backups in it; returns how much there was. A crash leaves the rest.
    pub fn empty_trash(&self) -> Result<usize> {
        let trash = self.trash()?;
        for Trash { folder, was } in &trash {
            // The records first: as long as the trash lies there, somebody knows that they are to go.
            if BackupId::parse(was).is_some() && !self.ids()?.iter().any(|id| id.text == *was) {
                for records in RECORDS {
                    self.store().remove(&Path::new(records).join(format!("{was}.json")))?;
                }
            }
            self.store().remove(folder)?;
        }
        Ok(trash.len())
    }
}

/// How much lies in a folder and below it; what cannot be looked at, or goes meanwhile, is not counted.
pub fn amount(store: &dyn Store, folder: &Path) -> Amount {
    let mut amount = Amount::default();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for Item { name, kind, size } in store.list(&folder).unwrap_or_default() {
            match kind {
                ItemKind::Directory => waiting.push(folder.join(name)),
                ItemKind::File => {
                    amount.files += 1;
                    amount.bytes = amount.bytes.saturating_add(size);
                }
                ItemKind::Link | ItemKind::Other => {}
            }
        }
    }
    amount
}
