//! Whether a storage lies on a file system that nobody can write to: a local disk whose superblock is read-only.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whether nobody writes to this storage, nor to any file system that is mounted below it. A bind mount that is read-only
/// says nothing: others may write to the rest.
pub fn is_at_rest(storage: &Path) -> bool {
    let Ok(metadata) = storage.metadata() else { return false };
    let device = metadata.dev();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    is_read_only(&mounts, &format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)), storage)
}

/// Whether the file system of this device, and those mounted below this path, are on block devices, and their superblocks
/// read-only (proc(5), mountinfo).
fn is_read_only(mounts: &str, device: &str, storage: &Path) -> bool {
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    let is_below = |mount: &&Mount| mount.point != storage && mount.point.starts_with(storage);
    mounts.iter().any(|mount| mount.device == device && mount.is_read_only)
        && mounts.iter().filter(is_below).all(|mount| mount.is_read_only)
}

/// A line of mountinfo.
struct Mount<'a> {
    device: &'a str,
    point: PathBuf,
    /// It is on a block device, and its superblock is read-only.
    is_read_only: bool,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(2);
        let (device, point) = (fields.next()?, fields.nth(1)?);
        let mut file_system = file_system.split(' ').skip(1);
        let (source, options) = (file_system.next()?, file_system.next()?);
        let is_read_only = source.starts_with("/dev/") && options.split(',').any(|option| option == "ro");
        Some(Self { device, point: unescaped(point), is_read_only })
    }
}

/// A path in which a backslash and three octal digits stand for a byte.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_read_only_superblock_of_a_disk_counts() {
        let mounts = "36 35 98:0 / /mnt ro,noatime master:1 - ext4 /dev/loop0 ro,errors=continue\n\
                      37 35 98:1 / /srv ro - ext4 /dev/sda1 rw\n\
                      38 35 0:40 / /net ro - nfs server:/x ro\nnonsense\n";
        let storage = Path::new("/mnt/db");
        assert!(is_read_only(mounts, "98:0", storage));
        for other in ["98:1", "0:40", "98:2", ""] {
            assert!(!is_read_only(mounts, other, storage), "{other}");
        }
    }

    #[test]
    fn what_is_mounted_below_counts_as_well() {
        let with = |point: &str, options: &str| {
            let line = "36 35 98:0 / / ro shared:1 - ext4 /dev/loop0 ro\n";
            format!("{line}37 36 98:1 / {point} rw shared:2 - ext4 /dev/loop1 {options}\n")
        };
        for (point, options, is) in [
            ("/srv/db/logs", "rw", false),
            ("/srv/db/logs", "ro", true),
            ("/srv/db\\040two/logs", "rw", true),
            ("/srv/other", "rw", true),
        ] {
            assert_eq!(is_read_only(&with(point, options), "98:0", Path::new("/srv/db")), is, "{point} {options}");
        }
        assert!(!is_read_only(&with("/srv/db\\040two/logs", "rw"), "98:0", Path::new("/srv/db two")));
    }
}
