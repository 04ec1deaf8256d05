//! What would end a restore in place half-way, looked for before the first change: what may not be changed by this user, or
//! not at all, or not now.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FileType, OFlags, Stat, accessat};
use rustix::io::Errno;

use super::ground::Ground;
use super::plan::{Plan, Step, Way};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::named_paths::NamedPaths;
use crate::stream::stop::StopToken;

/// Obstacles that are named.
const NAMED_MAX: usize = 5;
/// On a directory: what lies in it belongs to its owners alone.
const STICKY: u32 = 0o1000;

struct Look<'a> {
    ground: &'a Ground,
    /// An ordinary user's number; none for root.
    user: Option<u32>,
    stop: &'a StopToken,
    named: Vec<(PathBuf, &'static str)>,
    count: u64,
    is_busy: bool,
    /// The directory that was looked at last, because names in it move.
    last: Option<PathBuf>,
}

/// Refuses a plan that could not be carried out to its end, as far as can be seen.
pub fn check(ground: &Ground, plan: &Plan, selection: &NamedPaths, stop: &StopToken) -> Result<()> {
    if plan.is_empty() {
        return Ok(());
    }
    if ground.is_read_only() {
        let message = format!("{} lies on a file system that is mounted for reading only", printable(ground.path()));
        return Err(Error::jet(Jet::PermissionDenied, message)
            .exit(ExitCode::Failed)
            .file(ground.path())
            .hint("Mount it for writing. Nothing was changed."));
    }
    let user = rustix::process::geteuid();
    let user = (!user.is_root()).then(|| user.as_raw());
    let mut look = Look { ground, user, stop, named: Vec::new(), count: 0, is_busy: false, last: None };
    for step in plan.all() {
        stop.check()?;
        let folder = step.path.parent().unwrap_or(Path::new(""));
        look.step(step, selection.contains(folder))?;
    }
    look.refuse()
}

impl Look<'_> {
    /// `is_put_right`: the directory that it lies in gets its own attributes when names in it have moved.
    fn step(&mut self, step: &Step, is_put_right: bool) -> Result<()> {
        let path = &step.path;
        let found = self.ground.look(path)?;
        let is_free = found.as_ref().is_none_or(|stat| self.may_change(step, stat));
        if step.moves_names() && is_free && !path.as_os_str().is_empty() {
            self.names_of(path, found.as_ref(), is_put_right)?;
        }
        let is_directory = found.as_ref().is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
        let goes = step.way == Way::Delete || step.instead.is_some();
        if goes && is_directory { self.below(path) } else { Ok(()) }
    }

    /// Whether what stands there can be changed; else that is noted.
    fn may_change(&mut self, step: &Step, stat: &Stat) -> bool {
        if let Some(fixed) = self.ground.fixed(&step.path) {
            self.note(&step.path, fixed);
            return false;
        }
        let keeps = matches!(step.way, Way::InPlace | Way::Attributes | Way::Directory) && step.instead.is_none();
        if keeps && self.is_of_another(stat) {
            self.note(&step.path, "belongs to another user");
            return false;
        }
        if step.way == Way::InPlace
            && self.ground.parent(&step.path).is_ok_and(|(folder, name)| {
                let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
                rustix::fs::openat(&*folder, name, flags, rustix::fs::Mode::empty()).err() == Some(Errno::TXTBSY)
            })
        {
            self.is_busy = true;
            self.note(&step.path, "is a program that runs at the moment");
            return false;
        }
        true
    }

    fn is_of_another(&self, stat: &Stat) -> bool {
        self.user.is_some_and(|user| user != stat.st_uid)
    }

    /// Whether names can come and go in the directory that a path lies in; else that is noted, once.
    fn names_of(&mut self, path: &Path, found: Option<&Stat>, is_put_right: bool) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let Some(stat) = self.ground.look(folder)?.filter(|stat| FileType::from_raw_mode(stat.st_mode).is_dir()) else {
            return Ok(()); // it is still to be made
        };
        if self.last.as_deref() != Some(folder) {
            self.last = Some(folder.to_owned());
            match self.ground.fixed(folder) {
                Some(fixed) => self.note(folder, fixed),
                None if self.is_of_another(&stat) && (is_put_right || !self.may_write_into(folder)) => {
                    self.note(folder, "belongs to another user");
                }
                None => {}
            }
        }
        let is_stuck = stat.st_mode & STICKY != 0 && self.is_of_another(&stat);
        if is_stuck && found.is_some_and(|found| self.is_of_another(found)) {
            self.note(path, "belongs to another user");
        }
        Ok(())
    }

    fn may_write_into(&self, folder: &Path) -> bool {
        let ways = Access::WRITE_OK | Access::EXEC_OK;
        let Ok(handle) = self.ground.open_directory(folder) else { return false };
        accessat(&handle, ".", ways, AtFlags::EACCESS).is_ok()
    }

    /// Looks through a directory that goes.
    fn below(&mut self, top: &Path) -> Result<()> {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            for name in self.ground.names(&folder)? {
                self.stop.check()?;
                let path = folder.join(name);
                let Some(stat) = self.ground.look(&path)? else { continue };
                if let Some(fixed) = self.ground.fixed(&path) {
                    self.note(&path, fixed);
                    continue;
                }
                self.names_of(&path, Some(&stat), false)?;
                if FileType::from_raw_mode(stat.st_mode).is_dir() {
                    folders.push(path);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &Path, why: &'static str) {
        self.count += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push((path.to_owned(), why));
        }
    }

    fn refuse(self) -> Result<()> {
        let Some((first, _)) = self.named.first() else { return Ok(()) };
        let named: Vec<String> =
            self.named.iter().map(|(path, why)| format!("{} {why}", printable(self.ground.describe(path)))).collect();
        let more = self.count.saturating_sub(named.len() as u64);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let message = format!("not everything could be put right: {}{more}", named.join("; "));
        let error = if self.is_busy {
            Error::new(ExitCode::OutOfOrder, message)
        } else {
            Error::jet(Jet::FileAccessDenied, message).exit(ExitCode::Failed)
        };
        let root = if self.user.is_some() { ", or be root" } else { "" };
        let hint = format!("Mend that{root}, or name with --only what lies elsewhere. Nothing was changed.");
        Err(error.file(self.ground.describe(first)).hint(hint))
    }
}
