//! Small disks: memory file systems in a mount name space of the test's own. Where the kernel does not grant one to an
//! ordinary user, those stories are skipped, and say so.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Host, finish, skip};

const INSIDE: &str = "JETBAK_TEST_HAS_OWN_MOUNTS";
const PAGE: usize = 4096;

/// Runs a story again in a name space in which it may mount; true there, false outside.
pub fn in_own_mounts(story: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let probe = "mount -t tmpfs -o size=64k jetbak-test /tmp";
    let granted = Command::new("unshare").args(["-rm", "sh", "-c", probe]).output();
    if !granted.is_ok_and(|output| output.status.success()) {
        skip(&format!("{story}: this machine lets nobody make a mount name space"));
        return false;
    }
    let this = std::env::current_exe().expect("a test binary");
    let mut again = Command::new("unshare");
    again.arg("-rm").arg(this).args(["--exact", story, "--nocapture"]).env(INSIDE, "1");
    let ran = finish(again);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 passed"), "{story} is not the name of this test: {}", ran.stdout);
    false
}

/// A small disk on the machine, gone with the story.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts a new one of so many KiB on the machine.
    pub fn mount(host: &Host, name: &str, kib: u64) -> Self {
        let path = host.path(name);
        fs::create_dir(&path).expect("created");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "jetbak-test"]).arg(&path);
        assert!(mount.status().expect("mount runs").success());
        Self(path)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Bytes that are left.
    pub fn free(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.0).expect("looked at");
        space.f_bavail * space.f_frsize
    }

    /// Eats space until so many bytes are left, as exactly as pages allow.
    pub fn leave(&self, bytes: u64) {
        let mut file = File::create(self.0.join("eaten")).expect("created");
        while self.free() > bytes {
            match file.write_all(&[7; PAGE]) {
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                written => written.expect("written"),
            }
        }
        assert!(self.free() <= bytes);
    }

    /// Gives back what was eaten.
    pub fn give_back(&self) {
        fs::remove_file(self.0.join("eaten")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status(); // else it goes with the name space
    }
}
