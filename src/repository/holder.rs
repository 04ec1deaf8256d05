//! Who holds a lock on a folder: `/proc/locks` by device and inode, then `/proc/PID`. For messages only: it may be over by
//! the time it is told, and a process of another container or user may not be seen at all.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::printable;

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, where it can be read.
    pub command: Option<String>,
    /// Who runs it, by name or number.
    pub user: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.command.as_deref().map_or_else(|| "a process".to_owned(), printable);
        match &self.user {
            Some(user) => write!(f, "{command} (pid {}, {})", self.pid, printable(user)),
            None => write!(f, "{command} (pid {})", self.pid),
        }
    }
}

/// The first process that holds a lock on what stands at a path, if that can be told.
pub fn of(path: &Path) -> Option<Holder> {
    let metadata = fs::metadata(path).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let device = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let pid = *pids(&locks, device, metadata.ino()).first()?;
    let process = Path::new("/proc").join(pid.to_string());
    let command = fs::read(process.join("comm")).ok();
    let command = command.map(|name| String::from_utf8_lossy(&name).trim_end().to_owned());
    let user = fs::metadata(&process).ok().map(|metadata| name_of(metadata.uid()));
    Some(Holder { pid, command: command.filter(|name| !name.is_empty()), user })
}

/// The same for messages: `another process` where it cannot be told.
pub fn describe(path: Option<&Path>) -> String {
    path.and_then(of).map_or_else(|| "another process".to_owned(), |holder| holder.to_string())
}

fn name_of(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// The processes that hold a `flock` on a file, by its device (major, minor) and inode; whoever waits for one holds none.
///
/// ```text
/// 1: FLOCK  ADVISORY  WRITE 4711 fe:01:131090 0 EOF
/// 2: -> FLOCK  ADVISORY  READ 4712 fe:01:131090 0 EOF
/// ```
pub fn pids(locks: &str, device: (u32, u32), inode: u64) -> Vec<u32> {
    let pid = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let kind = words.next()?;
        let pid: u32 = words.nth(2)?.parse().ok()?;
        let mut file = words.next()?.split(':');
        let (major, minor) = (file.next()?, file.next()?);
        let device_there = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let is_meant = kind == "FLOCK" && device_there == device && file.next()?.parse() == Ok(inode);
        // Processes of other containers have the number 0 here.
        (is_meant && file.next().is_none() && pid > 0).then_some(pid)
    };
    locks.lines().filter_map(pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 100 fe:01:7 0 EOF
2: FLOCK  ADVISORY  READ  4711 fe:01:7 0 EOF
2: -> FLOCK  ADVISORY  WRITE 4712 fe:01:7 0 EOF
3: FLOCK  ADVISORY  READ  4713 fe:01:7 0 EOF
4: FLOCK  ADVISORY  WRITE 4714 fe:02:7 0 EOF
5: FLOCK  ADVISORY  WRITE 0 fe:01:7 0 EOF
6: FLOCK  ADVISORY  WRITE -1 fe:01:7 0 EOF
7: OFDLCK ADVISORY  WRITE -1 fe:01:7 0 EOF
";

    #[test]
    fn whoever_holds_is_told_from_whoever_waits_or_holds_something_else() {
        assert_eq!(pids(LOCKS, (0xfe, 1), 7), [4711, 4713]);
        assert_eq!(pids(LOCKS, (0xfe, 2), 7), [4714]);
        assert_eq!(pids(LOCKS, (0xfe, 1), 8), [0u32; 0]);
    }

    #[test]
    fn this_process_is_found_by_what_it_holds() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(of(folder.path()), None, "nobody holds it");
        let file = fs::File::open(folder.path()).expect("opened");
        file.lock_shared().expect("locked");
        // A container may hide all locks; then nobody is named, and nothing else is lost.
        if let Some(holder) = of(folder.path()) {
            assert_eq!(holder.pid, std::process::id());
            assert!(holder.command.is_some() && holder.user.is_some(), "{holder:?}");
            assert!(describe(Some(folder.path())).contains(&format!("(pid {}, ", holder.pid)));
        }
        assert_eq!(describe(None), "another process");
    }

    proptest! {
        #[test]
        fn nothing_in_the_file_stops_the_parser(text in "[ -~\n]{0,200}", cut in 0..LOCKS.len()) {
            pids(&text, (0xfe, 1), 7);
            pids(&LOCKS[..cut], (0xfe, 1), 7);
        }
    }
}
