//! Places that must not lie in each other: a storage, its repository, the state directory.

use std::path::{Path, PathBuf};

use crate::error::{Error, Jet, Result, printable};
use crate::roots::{LOGS, Root};
use crate::session::directory::StateDirectory;

/// What jetbak itself writes is no storage, and holds none of its logs.
pub fn refuse_state(directory: &Path, state: &StateDirectory) -> Result<()> {
    if !state.path().canonicalize().is_ok_and(|path| path == directory) {
        return Ok(());
    }
    let message = format!("{} is the state directory itself", printable(directory));
    Err(Error::jet(Jet::InvalidParameter, message).hint("Name another state directory with --state-dir."))
}

/// A repository inside its storage would back itself up; a storage inside its repository would be overwritten by it.
pub fn refuse_nesting(storage: &Path, what: &str, repository: &Path) -> Result<()> {
    let resolved = resolve_repository(repository)?;
    let inside = if resolved.starts_with(storage) {
        "lies inside of"
    } else if storage.starts_with(&resolved) {
        "holds"
    } else {
        return Ok(());
    };
    let message = format!("the repository {} {inside} {what} {}", printable(repository), printable(storage));
    Err(Error::jet(Jet::InvalidParameter, message)
        .file(repository)
        .hint(format!("Choose a repository outside of {what}.")))
}

/// The same for a directory beside the storage. Of that of a checkpoint nothing else is looked at, so that a repository
/// may well lie in it.
pub fn refuse_nesting_of_root(root: &Root, repository: &Path) -> Result<()> {
    if root.name == LOGS || root.path.starts_with(resolve_repository(repository)?) {
        let what = if root.name == LOGS { "the log directory" } else { "the checkpoint's directory" };
        return refuse_nesting(&root.path, what, repository);
    }
    Ok(())
}

/// Where a repository is or will be, through links.
fn resolve_repository(repository: &Path) -> Result<PathBuf> {
    let resolved = if let Ok(resolved) = repository.canonicalize() {
        resolved
    } else {
        // The last part may be missing yet; what is above it decides.
        let absolute = std::path::absolute(repository).map_err(|e| Error::io("find", repository, &e))?;
        let parent = absolute.parent().and_then(|parent| parent.canonicalize().ok());
        match (parent, absolute.file_name()) {
            (Some(parent), Some(name)) => parent.join(name),
            _ => absolute,
        }
    };
    Ok(resolved)
}
