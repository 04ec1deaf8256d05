//! File systems whose locks cannot be trusted: those that another machine, or a program in user space, may contradict.
//! Nobody writes into a state directory or a repository there; reading needs no lock.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ExitCode, Result, printable};

/// Such file systems by the kernel's magic number.
const BY_NUMBER: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "kAFS"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x786f_4256, "VirtualBox shared folder"),
    (0xbacb_acbc, "VMware shared folder"),
];

/// The kernel's number of everything that speaks the protocol of file systems in user space.
pub const FUSE: u64 = 0x6573_5546;

/// File systems in user space that keep their files on this machine, so that the kernel alone decides about locks, by their
/// types in `/proc/self/mountinfo`. Any other may be a network: many do not say so.
const LOCAL_IN_USER_SPACE: &[&str] = &[
    "fuseblk",
    "fuse.bindfs",
    "fuse.cryfs",
    "fuse.encfs",
    "fuse.ext2",
    "fuse.ext4",
    "fuse.fuse-overlayfs",
    "fuse.gocryptfs",
    "fuse.mergerfs",
    "fuse.ntfs-3g",
    "fuse.securefs",
    "fuse.unionfs",
    "fuse.zfs",
];

/// Refuses a directory to write in, or the nearest one above it that exists, by the name of its file system. `what` says
/// what it is to hold, such as `the repository`.
pub fn require_locks(what: &str, path: &Path, hint: &str) -> Result<()> {
    let Some(there) = path.ancestors().find_map(|above| above.canonicalize().ok()) else { return Ok(()) };
    let number = rustix::fs::statfs(&there).map_err(|e| Error::io("look at", &there, &e.into()))?.f_type;
    #[expect(clippy::cast_sign_loss, reason = "the kernel's numbers are bit patterns of 32 bits")]
    let number = number as u64 & 0xffff_ffff;
    let mounts = if number == FUSE { fs::read("/proc/self/mountinfo").unwrap_or_default() } else { Vec::new() };
    match untrusted(number, type_at(&mounts, &there).as_deref()) {
        None => Ok(()),
        Some(name) => {
            let message = format!("{what} {} is on {name}, whose locks cannot be trusted", printable(path));
            Err(Error::new(ExitCode::Failed, message).file(path).hint(hint))
        }
    }
}

/// What a file system is called whose locks cannot be trusted, by its number and, in user space, its type.
fn untrusted(number: u64, type_name: Option<&str>) -> Option<String> {
    if number == FUSE {
        return match type_name {
            Some(local) if LOCAL_IN_USER_SPACE.contains(&local) => None,
            Some("fuse") | None => Some("a file system in user space (FUSE)".to_owned()),
            Some(name) => Some(printable(name)),
        };
    }
    BY_NUMBER.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned())
}

/// The type of the file system on which a path without links lies, out of the text of `/proc/self/mountinfo`: of those that
/// are mounted at the longest beginning of the path, the last one hides the others.
fn type_at(mounts: &[u8], path: &Path) -> Option<String> {
    let mounted = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let point = unescaped(fields.nth(4)?);
        let name = fields.skip_while(|field| *field != b"-").nth(1)?;
        path.starts_with(&point).then(|| (point.components().count(), String::from_utf8_lossy(name).into_owned()))
    };
    // Of several that are the longest, `max_by_key` gives the last.
    mounts.split(|byte| *byte == b'\n').filter_map(mounted).max_by_key(|(depth, _)| *depth).map(|(_, name)| name)
}

/// A path as `/proc` writes it: blanks and the like as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..3).filter(|_| *first == b'\\').and_then(|code| std::str::from_utf8(code).ok());
        let byte = code.and_then(|code| u8::from_str_radix(code, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[3..] } else { more };
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        30 21 0:40 / /mnt rw - fuse.sshfs host:/srv rw\n\
        31 30 8:2 / /mnt/disk rw shared:9 master:2 - fuseblk /dev/sdb1 rw\n\
        32 21 0:41 / /srv/two\\040words rw - fuse.rclone remote: rw\n\
        33 21 0:42 / /over rw - tmpfs tmpfs rw\n\
        34 33 0:43 / /over rw - fuse.s3fs bucket rw\n\
        35 21 0:44 / /srv rw - xfs /dev/sdc1 rw\n\
        torn li";

    #[test]
    fn what_a_path_lies_on_is_mounted_last_at_the_longest_beginning_of_it() {
        let found = |path: &str| type_at(MOUNTS, Path::new(path));
        for (path, name) in [
            ("/etc/passwd", "ext4"),
            ("/mnt", "fuse.sshfs"),
            ("/mnt/repo", "fuse.sshfs"),
            ("/mntx", "ext4"),
            ("/mnt/disk/repo", "fuseblk"),
            ("/srv/two words/repo", "fuse.rclone"),
            ("/over/repo", "fuse.s3fs"),
            ("/srv/repo", "xfs"),
        ] {
            assert_eq!(found(path).as_deref(), Some(name), "{path}");
        }
        assert_eq!(type_at(b"", Path::new("/")), None);
        assert_eq!(type_at(b"a b c d / -\n1 2 3 4\n - x", Path::new("/")), None);
    }

    #[test]
    fn whose_locks_another_machine_may_contradict_is_refused_by_name() {
        for (number, type_name, refused) in [
            (0xef53, None, None),      // ext4
            (0x9123_683e, None, None), // btrfs
            (0x5846_5342, None, None), // XFS
            (0x0102_1994, None, None), // tmpfs
            (0x794c_7630, None, None), // overlay
            (0x2fc1_2fc1, None, None), // ZFS
            (0x6969, None, Some("NFS")),
            (0xff53_4d42, None, Some("CIFS")),
            (0x0102_1997, None, Some("9P")),
            (FUSE, Some("fuseblk"), None),
            (FUSE, Some("fuse.gocryptfs"), None),
            (FUSE, Some("fuse.sshfs"), Some("fuse.sshfs")),
            (FUSE, Some("fuse.rclone"), Some("fuse.rclone")),
            (FUSE, Some("fuse.s3fs"), Some("fuse.s3fs")),
            (FUSE, Some("fuse.davfs"), Some("fuse.davfs")),
            (FUSE, Some("virtiofs"), Some("virtiofs")),
            (FUSE, Some("fuse.unheard-of"), Some("fuse.unheard-of")),
            (FUSE, Some("fuse"), Some("a file system in user space (FUSE)")),
            (FUSE, None, Some("a file system in user space (FUSE)")),
        ] {
            assert_eq!(untrusted(number, type_name).as_deref(), refused, "{number:x} {type_name:?}");
        }
    }

    #[test]
    fn a_directory_that_is_still_to_be_made_is_where_the_one_above_it_is() {
        let folder = tempfile::tempdir().expect("temporary directory");
        require_locks("the repository", &folder.path().join("a/b"), "").expect("a local disk");
        require_locks("the repository", Path::new("nowhere"), "").expect("no path at all");
    }
}
