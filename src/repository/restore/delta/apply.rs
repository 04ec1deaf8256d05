//! Doing what a plan says: what must not stay first, then directories, files and links in the order of the list, what the
//! backup does not hold, and the directories' own attributes last.
//!
//! Whatever ends it, directories that were opened to their owner get their modes back, and those that only have something
//! put right in them their times.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timestamps, linkat, mkdirat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::Job;
use super::blocks::{self, There};
use super::content::{self, Piece, Pieces};
use super::ground::{Ground, changed_meanwhile};
use super::plan::{Content, Keys, Plan, Step, Way};
use crate::attributes::{modified, stamp};
use crate::engine::Role;
use crate::error::{Error, ExitCode, Result};
use crate::repository::file_list::FileLine;
use crate::repository::local::cannot_link;
use crate::repository::restore::Witness;
use crate::repository::restore::plan::{bad_list, needs};
use crate::repository::restore::target::NotGiven;
use crate::repository::stored::damaged;
use crate::roots::DATA;
use crate::stream::pipeline::hash_zeros;
use crate::stream::source::Attributes;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Applied {
    /// Bytes of content that were written.
    pub written: u64,
    /// Attributes that could not be given.
    pub not_given: u64,
    /// Steps of the plan that are done.
    pub steps: u64,
}

struct Work<'a> {
    job: &'a Job<'a>,
    ground: &'a Ground,
    witness: &'a mut dyn Witness,
    /// Directories that were opened to their owner, and the modes that they had.
    opened: HashMap<PathBuf, u32>,
    is_root: bool,
    buffer: Vec<u8>,
    done: u64,
    applied: &'a mut Applied,
}

/// Carries out a plan; durable when this returns. What was done is counted also where it ends with an error.
/// `deletes_first`: what the backup does not hold goes before anything is written, because the rest would not fit else.
pub fn apply(
    (job, ground, keys): (&Job, &Ground, &Keys),
    plan: &Plan,
    deletes_first: bool,
    applied: &mut Applied,
    witness: &mut dyn Witness,
) -> Result<()> {
    let mut work = Work {
        job,
        ground,
        witness,
        opened: HashMap::new(),
        is_root: rustix::process::geteuid().is_root(),
        buffer: Vec::new(),
        done: 0,
        applied,
    };
    let times = work.times_of_others(plan)?;
    let ended = work.all(keys, plan, deletes_first);
    let closed = work.close(times);
    ended.and(closed)?;
    ground.sync()
}

impl Work<'_> {
    fn error(&self, action: &str, path: &Path, errno: Errno) -> Error {
        self.ground.error(action, path, errno)
    }

    fn all(&mut self, keys: &Keys, plan: &Plan, deletes_first: bool) -> Result<()> {
        let job = self.job;
        let touched: HashSet<u64> = plan
            .all()
            .filter(|step| step.moves_names())
            .filter_map(|step| step.path.parent().map(|parent| keys.of(parent)))
            .collect();
        let early = if deletes_first { plan.deletions.len() } else { plan.first_deletions.min(plan.deletions.len()) };
        let (first, last) = plan.deletions.split_at(early);
        first.iter().try_for_each(|step| self.delete(step))?;
        if !first.is_empty() {
            self.ground.sync()?; // no log of the past comes back beside a database that is another one by then
        }
        let mut dressed: Vec<(PathBuf, Attributes)> = Vec::new();
        let mut steps = plan.steps.iter().peekable();
        content::lines(job, &mut |listed| {
            job.stop.check()?;
            let line = &listed.line;
            let step = steps.next_if(|step| step.line == Some(listed.number));
            if line.root != DATA || (step.is_none() && line.role != Role::Directory) {
                return Ok(());
            }
            let path = line.path().unwrap_or_default();
            let attributes = line.attributes().ok_or_else(|| damaged(&path, "its line cannot be believed"))?;
            if let Some(step) = step {
                if step.path != path {
                    return Err(bad_list(job.backup, "it changed while it was read"));
                }
                self.step(step, line, &attributes)?;
                self.applied.steps += 1;
            }
            if line.role == Role::Directory {
                let name = job.name(line);
                let is_touched = touched.contains(&keys.of(&path)) && job.selection.contains(&name);
                if step.is_some() || (is_touched && needs(&job.selection, line, &name)) {
                    dressed.push((path, attributes));
                }
            }
            Ok(())
        })?;
        if steps.next().is_some() {
            return Err(bad_list(job.backup, "it changed while it was read"));
        }
        last.iter().try_for_each(|step| self.delete(step))?;
        for (path, attributes) in dressed.iter().rev() {
            job.stop.check()?;
            self.dress_directory(path, attributes)?;
            self.opened.remove(path);
        }
        Ok(())
    }

    /// When the directories were changed that are not meant themselves, though something in them is.
    fn times_of_others(&self, plan: &Plan) -> Result<HashMap<PathBuf, Timestamps>> {
        let mut times = HashMap::new();
        if self.job.selection.names().is_empty() {
            return Ok(times);
        }
        for step in plan.all().filter(|step| step.moves_names()) {
            let Some(folder) = step.path.parent().filter(|folder| !self.job.selection.contains(folder)) else {
                continue;
            };
            if times.contains_key(folder) {
                continue;
            }
            // What is not there yet gets the time that the backup knows.
            if let Some(stat) = self.ground.look(folder)?.filter(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
            {
                times.insert(folder.to_owned(), modified(&Attributes::plain(stamp(&stat), 0, 0, 0)));
            }
        }
        Ok(times)
    }

    /// Gives directories back what they had before something was put right in them; the first error is returned.
    fn close(&mut self, times: HashMap<PathBuf, Timestamps>) -> Result<()> {
        let ground = self.ground;
        let give = |path: &Path, how: &dyn Fn(&std::os::fd::OwnedFd) -> rustix::io::Result<()>| {
            if ground.look(path)?.is_none() {
                return Ok(()); // it was replaced
            }
            how(&ground.open_directory(path)?).map_err(|e| ground.error("set the mode or time of", path, e))
        };
        let mut closed = Ok(());
        for (path, time) in times {
            closed = closed.and(give(&path, &|folder| match rustix::fs::futimens(folder, &time) {
                Err(Errno::PERM | Errno::ACCESS) => Ok(()), // only its owner may
                given => given,
            }));
        }
        for (path, mode) in std::mem::take(&mut self.opened) {
            closed = closed.and(give(&path, &|folder| rustix::fs::fchmod(folder, Mode::from_raw_mode(mode))));
        }
        closed
    }

    fn delete(&mut self, step: &Step) -> Result<()> {
        self.job.stop.check()?;
        self.open_up(&step.path)?;
        self.ground.remove(&step.path)?;
        self.applied.steps += 1;
        Ok(())
    }

    /// Lets an ordinary user put something into a directory of its own, or take something out.
    fn open_up(&mut self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        if self.is_root || self.opened.contains_key(folder) {
            return Ok(());
        }
        let handle = self.ground.open_directory(folder)?;
        let stat = rustix::fs::fstat(&handle).map_err(|e| self.error("look at", folder, e))?;
        if stat.st_mode & 0o700 != 0o700 {
            let mode = stat.st_mode & 0o7777;
            if rustix::fs::fchmod(&handle, Mode::from_raw_mode(mode | 0o700)).is_ok() {
                self.opened.insert(folder.to_owned(), mode);
            } // else what follows says why not
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, line: &FileLine, attributes: &Attributes) -> Result<()> {
        let path = &step.path;
        if step.moves_names() {
            self.open_up(path)?;
        }
        let is_directory_there = step.instead.is_some_and(FileType::is_dir);
        if is_directory_there {
            self.ground.remove(path)?;
        }
        match &step.way {
            Way::Directory => self.directory(step, attributes),
            Way::Link => {
                let target = line.target().unwrap_or_default();
                self.beside(path, |ground, folder, name| {
                    symlinkat(&target, folder, name).map_err(|e| ground.error("create the link", path, e))
                })?;
                self.dress_link(path, attributes)
            }
            Way::Attributes if step.kind.is_symlink() => self.dress_link(path, attributes),
            Way::Attributes => {
                let (file, stat) = self.ground.open_file(path, OFlags::RDONLY)?;
                self.require_same(step, &stat)?;
                self.dress(&file, path, attributes)
            }
            Way::HardLink(first) => self.hard_link(step, first, line, attributes),
            Way::Anew => self.anew(step, line, attributes),
            Way::InPlace => self.in_place(step, line, attributes),
            Way::Delete => Ok(()),
        }
    }

    fn directory(&mut self, step: &Step, attributes: &Attributes) -> Result<()> {
        let path = &step.path;
        if step.instead.is_some() {
            self.ground.remove(path)?;
        }
        if step.instead.is_none() && !step.what.is_empty() {
            return self.narrow_directory(path, attributes);
        }
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let (folder, name) = self.ground.parent(path).map_err(|e| self.error("create", path, e))?;
        match mkdirat(&*folder, name, Mode::RWXU) {
            Err(Errno::EXIST) if self.is_directory(path)? => Ok(()),
            made => made.map_err(|e| self.error("create", path, e)),
        }
    }

    /// Lets nobody into a directory who may not be there later, before something new is put into it.
    fn narrow_directory(&mut self, path: &Path, attributes: &Attributes) -> Result<()> {
        let folder = File::from(self.ground.open_directory(path)?);
        let is = self.ground.attributes(&folder, path)?;
        let own = if self.is_root { 0 } else { 0o700 };
        let narrowed = self.job.giving.narrow(&folder, &is, attributes, own);
        let mode = narrowed.map_err(|e| Error::io("set the mode of", &self.ground.describe(path), &e))?;
        if mode & !is.mode != 0 {
            self.opened.insert(path.to_owned(), mode & is.mode);
        }
        Ok(())
    }

    fn is_directory(&self, path: &Path) -> Result<bool> {
        Ok(self.ground.look(path)?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir()))
    }

    /// Makes something under a name beside a path and gives it that path in one step.
    fn beside(
        &mut self,
        path: &Path,
        make: impl FnOnce(&Ground, &std::os::fd::OwnedFd, &std::ffi::OsStr) -> Result<()>,
    ) -> Result<()> {
        let temporary = Ground::temporary(path);
        let (folder, name) = self.ground.parent(path).map_err(|e| self.error("create", path, e))?;
        let temporary = temporary.file_name().unwrap_or_default();
        let renamed = make(self.ground, &folder, temporary)
            .and_then(|()| renameat(&*folder, temporary, &*folder, name).map_err(|e| self.error("replace", path, e)));
        if renamed.is_err() {
            let _ = unlinkat(&*folder, temporary, AtFlags::empty()); // the first error is the one to report
        }
        renamed
    }

    fn hard_link(&mut self, step: &Step, first: &Path, line: &FileLine, attributes: &Attributes) -> Result<()> {
        let path = &step.path;
        let (from, old) =
            crate::beneath::parent(self.ground.root(), first).map_err(|e| self.error("look at", first, e))?;
        let of_first = statat(&from, old, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| self.error("look at", first, e))?;
        if let Some(stat) = self.ground.look(path)?
            && (stat.st_dev, stat.st_ino) == (of_first.st_dev, of_first.st_ino)
        {
            return Ok(()); // renaming one name of a file to another one would leave both
        }
        let mut is_refused = false;
        let linked = self.beside(path, |ground, folder, name| {
            linkat(&from, old, folder, name, AtFlags::empty()).map_err(|e| {
                is_refused = cannot_link(e);
                ground.error("create the link", path, e)
            })
        });
        if is_refused { self.anew(step, line, attributes) } else { linked }
    }

    /// Writes content beside, proves it, and gives it the name.
    fn anew(&mut self, step: &Step, line: &FileLine, attributes: &Attributes) -> Result<()> {
        let (path, described) = (&step.path, self.ground.describe(&step.path));
        let source = content::open(self.job, line)?;
        let mut pieces = Pieces::new(source, std::mem::take(&mut self.buffer));
        let temporary = Ground::temporary(path);
        let (folder, name) = self.ground.parent(path).map_err(|e| self.error("create", path, e))?;
        let temporary = temporary.file_name().unwrap_or_default();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*folder, temporary, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(|e| self.error("create", path, e))?);
        let filled = self.fill(&file, &mut pieces, step, line, &described).and_then(|()| {
            self.dress(&file, path, attributes)?;
            renameat(&*folder, temporary, &*folder, name).map_err(|e| self.error("replace", path, e))
        });
        if filled.is_err() {
            let _ = unlinkat(&*folder, temporary, AtFlags::empty()); // the first error is the one to report
        }
        self.buffer = pieces.into_buffer();
        filled
    }

    fn fill(&mut self, file: &File, pieces: &mut Pieces, step: &Step, line: &FileLine, described: &Path) -> Result<()> {
        let error = |e: &std::io::Error| Error::io("write", described, e);
        let name: Arc<Path> = Arc::from(step.path.as_path());
        let (mut hasher, mut size) = (Sha256::new(), 0);
        while let Some(piece) = pieces.next_piece()? {
            self.job.stop.check()?;
            let bytes = match piece {
                Piece::Data(at, bytes) => {
                    let data = pieces.data(bytes);
                    hasher.update(data);
                    file.write_all_at(data, at).map_err(|e| error(&e))?;
                    self.applied.written += bytes as u64;
                    size = at + bytes as u64;
                    bytes as u64
                }
                Piece::Hole(at, bytes) => {
                    hash_zeros(&mut hasher, bytes);
                    size = at + bytes;
                    bytes
                }
            };
            self.done += bytes;
            self.witness.progress(self.done, Some(Arc::clone(&name)));
        }
        let sha256: [u8; 32] = hasher.finalize().into();
        let is_same = step.content.as_ref().map_or_else(
            || line.sha256.as_deref() == Some(crate::hex::hex(&sha256).as_str()),
            |content| content.sha256 == sha256,
        );
        if !is_same || size != line.size {
            return Err(changed_in_repository(&step.path));
        }
        file.set_len(size).map_err(|e| error(&e))?;
        let length = file.metadata().map_err(|e| error(&e))?.len();
        if length == size {
            Ok(())
        } else {
            Err(Error::new(ExitCode::Failed, format!("{} has {length} bytes instead of {size}", described.display())))
        }
    }

    fn in_place(&mut self, step: &Step, line: &FileLine, attributes: &Attributes) -> Result<()> {
        let (path, described) = (&step.path, self.ground.describe(&step.path));
        let none = Content::default();
        let content = step.content.as_deref().unwrap_or(&none);
        if !self.is_root {
            let (file, stat) = self.ground.open_file(path, OFlags::RDONLY)?;
            self.require_same(step, &stat)?;
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o600);
            let _ = rustix::fs::fchmod(&file, mode); // else opening it says why not
        }
        let (file, stat) = self.ground.open_file(path, OFlags::RDWR)?;
        self.require_same(step, &stat)?;
        let is = self.ground.attributes(&file, path)?;
        let narrowed = self.job.giving.narrow(&file, &is, attributes, 0o600);
        narrowed.map_err(|e| Error::io("set the mode of", &described, &e))?;
        let source = content::open(self.job, line)?;
        let mut pieces = Pieces::new(source, std::mem::take(&mut self.buffer));
        let there = There { file: &file, size: u64::try_from(stat.st_size).unwrap_or(0), path: &described };
        let name: Arc<Path> = Arc::from(path.as_path());
        let (job, done, witness) = (self.job, &mut self.done, &mut *self.witness);
        let written =
            blocks::write(&mut pieces, &there, content, line.size, &|| changed_in_repository(path), &mut |bytes| {
                job.stop.check()?;
                *done += bytes;
                witness.progress(*done, Some(Arc::clone(&name)));
                Ok(())
            });
        self.applied.written += written?;
        self.buffer = pieces.into_buffer();
        self.dress(&file, path, attributes)
    }

    /// Nothing is written into a file that is another one now, or has got a name elsewhere.
    fn require_same(&self, step: &Step, stat: &Stat) -> Result<()> {
        let is_same = step.found == Some((stat.st_dev, stat.st_ino, stat.st_nlink));
        if is_same { Ok(()) } else { Err(changed_meanwhile(&self.ground.describe(&step.path))) }
    }

    fn dress(&mut self, file: &File, path: &Path, attributes: &Attributes) -> Result<()> {
        let is = self.ground.attributes(file, path)?;
        let given = self.job.giving.put_right(file, &is, attributes);
        self.note(path, given)
    }

    fn dress_link(&mut self, path: &Path, attributes: &Attributes) -> Result<()> {
        let is = self.ground.link_attributes(path)?;
        let (folder, name) = self.ground.parent(path).map_err(|e| self.error("look at", path, e))?;
        let given = self.job.giving.put_link_right(&folder, name, &is, attributes);
        self.note(path, given)
    }

    fn dress_directory(&mut self, path: &Path, attributes: &Attributes) -> Result<()> {
        let folder = File::from(self.ground.open_directory(path)?);
        self.dress(&folder, path, attributes)
    }

    fn note(&mut self, path: &Path, given: std::io::Result<Vec<String>>) -> Result<()> {
        let given = given.map_err(|e| Error::io("set the attributes of", &self.ground.describe(path), &e))?;
        for what in given {
            self.applied.not_given += 1;
            self.witness.not_given(NotGiven { path: path.to_owned(), what });
        }
        Ok(())
    }
}

fn changed_in_repository(path: &Path) -> Error {
    damaged(path, "it is not in the backup any more what it was when it was compared")
        .hint("`jetbak verify` lists all damage of the backup.")
}
