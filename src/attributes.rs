//! What a file is beside its content: read from an open file, and given to another.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{AtFlags, Stat, fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::stream::source::{Attributes, Stamp, Xattr};
use crate::times;

/// Bytes of all extended attributes of one file that are kept. Linux has 64 KiB a value, and few of them.
const XATTR_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a list of names, or of a value, as the kernel limits both.
const XATTR_PIECE_BYTES_MAX: usize = 64 * 1024;

/// Reads attributes, and remembers the names of owners and groups it has met.
#[derive(Debug, Default)]
pub struct Reading {
    users: Mutex<HashMap<u32, Option<Arc<str>>>>,
    groups: Mutex<HashMap<u32, Option<Arc<str>>>>,
}

impl Reading {
    /// Everything about an open file or directory.
    pub fn of_file(&self, file: &File) -> io::Result<Attributes> {
        let mut attributes = self.of_stat(&rustix::fs::fstat(file)?);
        read_xattrs(
            &mut attributes,
            |list| flistxattr(file, list),
            |name, value| fgetxattr(file, OsStr::from_bytes(name), value),
        );
        Ok(attributes)
    }

    /// Everything about a symbolic link: the directory it lies in, and its name there.
    pub fn of_link(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<Attributes> {
        let mut attributes = self.of_stat(&rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?);
        let path = by_handle(folder, name);
        read_xattrs(
            &mut attributes,
            |list| llistxattr(&path, list),
            |name, value| lgetxattr(&path, OsStr::from_bytes(name), value),
        );
        Ok(attributes)
    }

    fn of_stat(&self, stat: &Stat) -> Attributes {
        let stamp = stamp(stat);
        let mut attributes = Attributes::plain(stamp, stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        attributes.user = remembered(&self.users, stat.st_uid, user_name);
        attributes.group = remembered(&self.groups, stat.st_gid, group_name);
        if !times::can_be_written(stamp.modified_ns) {
            attributes.not_kept.push("its modification time lies outside of the years that can be written".to_owned());
        }
        attributes
    }
}

/// A path to a name in an open directory, for calls that take no handle.
pub fn by_handle(folder: impl AsFd, name: &OsStr) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd()));
    path.push(name);
    path
}

/// Who a file is and when it was changed.
pub fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: nanoseconds(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        changed_ns: nanoseconds(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn remembered(
    known: &Mutex<HashMap<u32, Option<Arc<str>>>>,
    number: u32,
    look_up: fn(u32) -> Option<String>,
) -> Option<Arc<str>> {
    if let Some(name) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&number) {
        return name.clone();
    }
    // Not under the lock: a directory service may take its time.
    let name: Option<Arc<str>> = look_up(number).map(Arc::from);
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(number, name.clone());
    name
}

fn user_name(number: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(number)).ok().flatten().map(|user| user.name)
}

fn group_name(number: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(number)).ok().flatten().map(|group| group.name)
}

/// The number that a user's name has on this machine.
pub fn user_number(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// The number that a group's name has on this machine.
pub fn group_number(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

type Answer = rustix::io::Result<usize>;

fn read_xattrs(
    attributes: &mut Attributes,
    list: impl Fn(&mut [u8]) -> Answer,
    get: impl Fn(&[u8], &mut [u8]) -> Answer,
) {
    // Most files have none or few; one call tells.
    let mut small = [0_u8; 512];
    let mut large = Vec::new();
    let names = match list(&mut small) {
        Ok(length) => &small[..length],
        Err(Errno::NOTSUP | Errno::NOSYS) => return,
        Err(Errno::RANGE) => {
            large.resize(XATTR_PIECE_BYTES_MAX, 0);
            match list(&mut large) {
                Ok(length) => &large[..length],
                Err(errno) => return attributes.not_kept.push(format!("its extended attributes: {}", reason(errno))),
            }
        }
        Err(errno) => return attributes.not_kept.push(format!("its extended attributes: {}", reason(errno))),
    };
    let mut total = 0;
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let printable = crate::error::printable(OsStr::from_bytes(name));
        match value_of(name, &get) {
            Ok(value) => {
                total += name.len() + value.len();
                if total > XATTR_BYTES_MAX {
                    attributes.not_kept.push(format!("the extended attribute {printable}: it has too many"));
                    return;
                }
                attributes.xattrs.push(Xattr { name: name.to_vec(), value });
            }
            Err(Errno::NODATA) => {} // removed meanwhile; the stamp tells
            Err(errno) => attributes.not_kept.push(format!("the extended attribute {printable}: {}", reason(errno))),
        }
    }
    attributes.xattrs.sort_by(|a, b| a.name.cmp(&b.name));
}

fn value_of(name: &[u8], get: &impl Fn(&[u8], &mut [u8]) -> Answer) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0_u8; 512];
    match get(name, &mut small) {
        Ok(length) => Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; XATTR_PIECE_BYTES_MAX];
            let length = get(name, &mut large)?;
            large.truncate(length);
            large.shrink_to_fit();
            Ok(large)
        }
        Err(errno) => Err(errno),
    }
}

fn reason(errno: Errno) -> String {
    crate::error::reason(&errno.into())
}
