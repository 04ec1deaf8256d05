//! The copy of a file's first bytes in a partial, for whoever goes on with it.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::repository::store::{Reading, Store};
use crate::roots::{self, Roots};
use crate::stream::kept::KeptCopy;

/// Where copies are: the folder of a backup to be.
#[derive(Clone, Debug)]
pub struct Copies {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The folder in it.
    pub folder: PathBuf,
    /// The directories beside the storage.
    pub roots: Roots,
}

impl Copies {
    /// Opens the copy of a file; none where there is none that can be read, or that has another name: an earlier partial
    /// that could not be removed has it too, and nothing is written into what two partials hold.
    pub fn open(&self, name: &std::path::Path) -> Option<Box<dyn KeptCopy>> {
        let (root, path) = self.roots.place(name)?;
        let path = self.folder.join(roots::below(&roots::folder_of(root)?, path));
        self.store.node(&path).ok()?.filter(|node| node.names <= 1)?;
        let reading = self.store.open(&path, 0, false).ok()?;
        Some(Box::new(KeptFile { store: Arc::clone(&self.store), path, reading, position: 0 }))
    }
}

/// An open copy; what is read one after the other is read in one go.
struct KeptFile {
    store: Arc<dyn Store>,
    path: PathBuf,
    reading: Box<dyn Reading>,
    position: u64,
}

impl fmt::Debug for KeptFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl KeptCopy for KeptFile {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset != self.position {
            self.reading = self.store.open(&self.path, offset, false).map_err(io::Error::other)?;
            self.position = offset;
        }
        let read = self.reading.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}
