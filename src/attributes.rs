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
use rustix::fs::{
    AtFlags, FileType, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, XattrFlags, fgetxattr, flistxattr, lgetxattr,
    llistxattr,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

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
        Ok(self.of_open_file(file, &rustix::fs::fstat(file)?))
    }

    /// The same, where the file system was asked already.
    pub fn of_open_file(&self, file: &File, stat: &Stat) -> Attributes {
        let mut attributes = self.of_stat(stat);
        read_xattrs(
            &mut attributes,
            |list| flistxattr(file, list),
            |name, value| fgetxattr(file, OsStr::from_bytes(name), value),
        );
        attributes
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

/// The name of a user, where the machine knows one.
pub fn user_name(number: u32) -> Option<String> {
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

/// Whose a restored file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerRule {
    /// The owner and group it had, by name where this machine knows the name, else by number.
    Keep,
    /// The owner and group it had, by number.
    Numeric,
    /// Whoever restores it.
    Current,
}

/// Gives attributes to restored files, and says what could not be given.
#[derive(Debug)]
pub struct Giving {
    rule: OwnerRule,
    users: Mutex<HashMap<Arc<str>, Option<u32>>>,
    groups: Mutex<HashMap<Arc<str>, Option<u32>>>,
}

/// Bits of a mode that lend the owner's or the group's rights to whoever runs the file.
const SET_ID_BITS: u32 = 0o6000;
/// On a directory: what lies in it belongs to its owners alone.
const STICKY: u32 = 0o1000;
/// The group's; on a directory it hands its group down.
const SET_GROUP_ID: u32 = 0o2000;

impl Giving {
    /// Gives by this rule.
    pub fn new(rule: OwnerRule) -> Self {
        Self { rule, users: Mutex::default(), groups: Mutex::default() }
    }

    /// Gives an open file or directory all its attributes, the time last; returns what could not be given.
    pub fn to_file(&self, file: impl AsFd, attributes: &Attributes) -> io::Result<Vec<String>> {
        let file = file.as_fd();
        let stat = rustix::fs::fstat(file)?;
        let mut not_given = Vec::new();
        let owned = self.chown(attributes, &stat, &mut not_given, |uid, gid| rustix::fs::fchown(file, uid, gid))?;
        let mut mode = attributes.mode;
        // Rights of the owner that it had are none of the owner that it has now. A directory lends nothing.
        if !owned && mode & SET_ID_BITS != 0 && FileType::from_raw_mode(stat.st_mode).is_file() {
            mode &= !SET_ID_BITS;
            not_given.push("setuid and setgid, because it has another owner now".to_owned());
        }
        // Before the mode: what is read-only takes none of `user.*`, not even from its owner. An ACL sets the mode, and the
        // mode sets it once more to the same.
        give_xattrs(attributes, &mut not_given, |name, value| {
            rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty())
        })?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        // The kernel takes this bit away without a word from who is not in the group.
        if mode & SET_GROUP_ID != 0 && rustix::fs::fstat(file)?.st_mode & SET_GROUP_ID == 0 {
            not_given.push("setgid, because its group is not one of yours".to_owned());
        }
        note_unknown_time(attributes, &mut not_given);
        rustix::fs::futimens(file, &modified(attributes))?;
        Ok(not_given)
    }

    /// The same for a symbolic link: the directory it lies in, and its name there. Links have no mode.
    pub fn to_link(&self, folder: &OwnedFd, name: &OsStr, attributes: &Attributes) -> io::Result<Vec<String>> {
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut not_given = Vec::new();
        self.chown(attributes, &stat, &mut not_given, |uid, gid| {
            rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        })?;
        if !attributes.xattrs.is_empty() {
            let path = by_handle(folder, name);
            give_xattrs(attributes, &mut not_given, |name, value| {
                rustix::fs::lsetxattr(&path, OsStr::from_bytes(name), value, XattrFlags::empty())
            })?;
        }
        note_unknown_time(attributes, &mut not_given);
        rustix::fs::utimensat(folder, name, &modified(attributes), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(not_given)
    }

    /// In which respects something that is there is not as it should be, in words for people; its content does not count.
    pub fn differences(&self, is: &Attributes, wanted: &Attributes, kind: FileType) -> Vec<&'static str> {
        let (uid, gid) = self.numbers(wanted);
        let is_owned = is.uid == uid && is.gid == gid;
        let mut mode = wanted.mode;
        if self.rule == OwnerRule::Current && !is_owned && kind.is_file() {
            mode &= !SET_ID_BITS; // as `to_file` does
        }
        let modified_ns = wanted.stamp.modified_ns;
        let found = [
            (self.rule != OwnerRule::Current && !is_owned, "owner"),
            (!kind.is_symlink() && is.mode != mode, "mode"),
            (!managed(is).eq(managed(wanted)), "attributes"),
            (modified_ns != UNKNOWN_NS && is.stamp.modified_ns != modified_ns, "time"),
        ];
        found.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what).collect()
    }

    /// The same as [`Giving::to_file`] for what was there before: what it should not have is taken away first.
    pub fn put_right(&self, file: impl AsFd, is: &Attributes, wanted: &Attributes) -> io::Result<Vec<String>> {
        let file = file.as_fd();
        let has_others = !managed(is).eq(managed(wanted));
        if has_others && is.mode & 0o200 == 0 && !rustix::process::geteuid().is_root() {
            let _ = rustix::fs::fchmod(file, Mode::from_raw_mode(is.mode | 0o200)); // else the attributes say why not
        }
        for name in superfluous(is, wanted) {
            let _ = rustix::fs::fremovexattr(file, name); // what this user may not take away stays
        }
        self.to_file(file, wanted)
    }

    /// Leaves something that is there only to those who may use it now and may use it when it is put right, before it gets
    /// what the others may not see; `own` are rights that its owner has in any case. Returns the mode that it has then.
    pub fn narrow(&self, file: impl AsFd, is: &Attributes, wanted: &Attributes, own: u32) -> io::Result<u32> {
        let file = file.as_fd();
        let (uid, gid) = self.numbers(wanted);
        let is_owned = self.rule == OwnerRule::Current || (is.uid == uid && is.gid == gid);
        let is_alike = is_owned && acl(is) == acl(wanted);
        if is_alike && is.mode == wanted.mode {
            return Ok(is.mode);
        }
        // Without the group's bits an ACL gives nothing to anybody but the owner.
        let mode = own | if is_alike { is.mode & (wanted.mode | STICKY) & 0o1777 } else { is.mode & 0o700 };
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        if !is_owned {
            let (user, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            let _ = rustix::fs::fchown(file, Some(user), Some(group)); // who may not is told later
        }
        Ok(mode)
    }

    /// The same for a symbolic link: the directory it lies in, and its name there.
    pub fn put_link_right(
        &self,
        folder: &OwnedFd,
        name: &OsStr,
        is: &Attributes,
        wanted: &Attributes,
    ) -> io::Result<Vec<String>> {
        let path = by_handle(folder, name);
        for other in superfluous(is, wanted) {
            let _ = rustix::fs::lremovexattr(&path, other); // likewise
        }
        self.to_link(folder, name, wanted)
    }

    /// Gives an open directory that has all its attributes its mode and time once more, after names in it have gone.
    pub fn to_directory_once_more(folder: impl AsFd, attributes: &Attributes) -> io::Result<()> {
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(attributes.mode))?;
        Ok(rustix::fs::futimens(&folder, &modified(attributes))?)
    }

    /// Whether the file belongs to whom it should.
    fn chown(
        &self,
        attributes: &Attributes,
        stat: &Stat,
        not_given: &mut Vec<String>,
        chown: impl Fn(Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) -> rustix::io::Result<()>,
    ) -> io::Result<bool> {
        let (uid, gid) = self.numbers(attributes);
        let (mut as_user, mut as_group) = (stat.st_uid == uid, stat.st_gid == gid);
        if self.rule == OwnerRule::Current || (as_user && as_group) {
            return Ok(as_user && as_group);
        }
        let (user, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        match chown(Some(user), Some(group)) {
            Ok(()) => return Ok(true),
            Err(errno) if is_refusal(errno) => {}
            Err(errno) => return Err(errno.into()),
        }
        // One of the two may still be possible: a group that we belong to.
        as_user = as_user || chown(Some(user), None).is_ok();
        as_group = as_group || chown(None, Some(group)).is_ok();
        if !as_user {
            not_given.push(format!("its owner {}", named(attributes.user.as_deref(), uid)));
        }
        if !as_group {
            not_given.push(format!("its group {}", named(attributes.group.as_deref(), gid)));
        }
        Ok(as_user && as_group)
    }

    fn numbers(&self, attributes: &Attributes) -> (u32, u32) {
        if self.rule == OwnerRule::Numeric {
            return (attributes.uid, attributes.gid);
        }
        let uid = attributes.user.as_ref().and_then(|name| known(&self.users, name, user_number));
        let gid = attributes.group.as_ref().and_then(|name| known(&self.groups, name, group_number));
        (uid.unwrap_or(attributes.uid), gid.unwrap_or(attributes.gid))
    }
}

/// Who beside owner, group and others may use something.
fn acl(attributes: &Attributes) -> Option<&[u8]> {
    let found = attributes.xattrs.iter().find(|xattr| xattr.name == b"system.posix_acl_access");
    found.map(|xattr| xattr.value.as_slice())
}

/// The extended attributes that a backup decides about: labels of security modules belong to the machine.
fn managed(attributes: &Attributes) -> impl Iterator<Item = &Xattr> {
    let kinds: [&[u8]; 4] = [b"user.", b"trusted.", b"security.capability", b"system.posix_acl_"];
    attributes.xattrs.iter().filter(move |xattr| kinds.iter().any(|kind| xattr.name.starts_with(kind)))
}

/// The names of those that something has and should not have.
fn superfluous<'a>(is: &'a Attributes, wanted: &'a Attributes) -> impl Iterator<Item = &'a OsStr> {
    let is_wanted = |xattr: &&Xattr| !wanted.xattrs.iter().any(|other| other.name == xattr.name);
    managed(is).filter(is_wanted).map(|xattr| OsStr::from_bytes(&xattr.name))
}

fn named(name: Option<&str>, number: u32) -> String {
    name.map_or_else(|| number.to_string(), |name| format!("{} ({number})", crate::error::printable(name)))
}

fn known(
    known: &Mutex<HashMap<Arc<str>, Option<u32>>>,
    name: &Arc<str>,
    look_up: fn(&str) -> Option<u32>,
) -> Option<u32> {
    if let Some(number) = known.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
        return *number;
    }
    let number = look_up(name);
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(name), number);
    number
}

fn give_xattrs(
    attributes: &Attributes,
    not_given: &mut Vec<String>,
    set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
) -> io::Result<()> {
    // ACLs last: one that makes the file read-only bars the others.
    let (acls, others): (Vec<_>, Vec<_>) =
        attributes.xattrs.iter().partition(|xattr| xattr.name.starts_with(b"system."));
    for Xattr { name, value } in others.into_iter().chain(acls) {
        match set(name, value) {
            Ok(()) => {}
            Err(errno) if is_refusal(errno) => {
                let name = crate::error::printable(OsStr::from_bytes(name));
                not_given.push(format!("the extended attribute {name}: {}", reason(errno)));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Whether an answer means that this user or this file system cannot have it, as opposed to a disk that fails.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::PERM
            | Errno::ACCESS
            | Errno::NOTSUP
            | Errno::NOSYS
            | Errno::INVAL
            | Errno::OVERFLOW
            | Errno::NOSPC
            | Errno::DQUOT
            | Errno::TOOBIG
            | Errno::RANGE
            | Errno::NAMETOOLONG
            | Errno::EXIST
            | Errno::NODATA
    )
}

/// Stands for a modification time that could not be written down.
pub const UNKNOWN_NS: i128 = i128::MAX;

fn note_unknown_time(attributes: &Attributes, not_given: &mut Vec<String>) {
    if attributes.stamp.modified_ns == UNKNOWN_NS {
        not_given.push("its modification time, which the backup does not hold".to_owned());
    }
}

/// The modification time as the kernel takes it, where it is known; the time of the last access stays.
pub fn modified(attributes: &Attributes) -> Timestamps {
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let nanoseconds = attributes.stamp.modified_ns;
    let last_modification = match i64::try_from(nanoseconds.div_euclid(1_000_000_000)) {
        Ok(tv_sec) => Timespec { tv_sec, tv_nsec: i64::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0) },
        Err(_) => omitted,
    };
    Timestamps { last_access: omitted, last_modification }
}
