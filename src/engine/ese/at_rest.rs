//! Whether a storage lies on a file system that nobody can write to: a local disk whose superblock is read-only.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether nobody writes to this storage. A bind mount that is read-only says nothing: others may write to the rest.
pub fn is_at_rest(storage: &Path) -> bool {
    let Ok(metadata) = storage.metadata() else { return false };
    let device = metadata.dev();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    is_read_only(&mounts, &format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

/// Whether the file system of this device is on a block device, and its superblock read-only (proc(5), mountinfo).
fn is_read_only(mounts: &str, device: &str) -> bool {
    mounts.lines().any(|line| {
        let Some((mount, file_system)) = line.split_once(" - ") else { return false };
        let mut file_system = file_system.split(' ').skip(1);
        let source = file_system.next().unwrap_or_default();
        let options = file_system.next().unwrap_or_default();
        mount.split(' ').nth(2) == Some(device)
            && source.starts_with("/dev/")
            && options.split(',').any(|option| option == "ro")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_read_only_superblock_of_a_disk_counts() {
        let mounts = "36 35 98:0 / /mnt ro,noatime master:1 - ext4 /dev/loop0 ro,errors=continue\n\
                      37 35 98:1 / /srv ro - ext4 /dev/sda1 rw\n\
                      38 35 0:40 / /net ro - nfs server:/x ro\nnonsense\n";
        assert!(is_read_only(mounts, "98:0"));
        for other in ["98:1", "0:40", "98:2", ""] {
            assert!(!is_read_only(mounts, other), "{other}");
        }
    }
}
