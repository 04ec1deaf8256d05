//! What root makes in a repository of another user belongs to that user, who would otherwise find files in his own
//! repository that he can neither read nor remove; and what stands in the way of a user who finds such files all the same.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, fchown, fstat, openat};

use crate::attributes::user_name;
use crate::beneath;
use crate::error::{Error, Jet, printable};

/// The user to whom belongs what root makes.
#[derive(Clone, Copy, Debug)]
pub struct Heir {
    user: Uid,
    group: Gid,
}

impl Heir {
    /// The owner of a directory, where this process is root and the owner is not.
    pub fn of(folder: impl AsFd) -> Option<Self> {
        let stat = fstat(folder).ok()?;
        let is_another = rustix::process::geteuid().is_root() && stat.st_uid != 0;
        is_another.then(|| Self { user: Uid::from_raw(stat.st_uid), group: Gid::from_raw(stat.st_gid) })
    }

    /// Gives a file away that was just made. One that holds something, or has another name, was not: somebody has put it
    /// there. Where a file system knows no owners, or a sandbox forbids it, the file stays as it is.
    pub fn take_file(self, file: impl AsFd) {
        let is_new = fstat(&file).is_ok_and(|stat| {
            let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
            is_file && (stat.st_uid, stat.st_size) == (0, 0) && stat.st_nlink <= 1
        });
        if is_new {
            let _ = fchown(&file, Some(self.user), Some(self.group)); // as told above
        }
    }

    /// The same for a directory of this name.
    pub fn take_directory(self, folder: impl AsFd, name: impl AsRef<OsStr>) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(made) = openat(folder, name.as_ref(), flags, Mode::empty()) else { return };
        let is_empty = || beneath::names(&made).is_ok_and(|names| names.is_empty());
        if fstat(&made).is_ok_and(|stat| stat.st_uid == 0) && is_empty() {
            let _ = fchown(&made, Some(self.user), Some(self.group)); // as above
        }
    }
}

/// An error about a path below a repository, with whose it is and what to do where a right is missing.
pub fn blame(error: Error, root: &Path, path: &Path) -> Error {
    if error.jet_code() != Some(Jet::FileAccessDenied) {
        return error;
    }
    let owner = |path: &Path| fs::symlink_metadata(path).ok().map(|metadata| metadata.uid());
    let me = rustix::process::geteuid().as_raw();
    let below = path.ancestors().take_while(|above| above.starts_with(root));
    let hint = match (owner(root), below.filter_map(|above| Some((above, owner(above)?))).find(|(_, uid)| *uid != me)) {
        (Some(of_root), _) if of_root != me => {
            let (root, user) = (printable(root), name_of(of_root));
            let who = if of_root == 0 { user.clone() } else { format!("{user} or root") };
            format!(
                "The repository {root} belongs to {user}: run jetbak as {who}. Others read what they may, and write nothing."
            )
        }
        (Some(_), Some((foreign, uid))) => {
            let (foreign, user, root) = (printable(foreign), name_of(uid), printable(root));
            format!(
                "{foreign} belongs to {user}. As root, `chown -R --no-dereference {} {root}` gives it to you.",
                name_of(me)
            )
        }
        _ => return error,
    };
    error.hint(hint)
}

fn name_of(uid: u32) -> String {
    user_name(uid).map_or_else(|| format!("uid {uid}"), |name| printable(&name))
}
