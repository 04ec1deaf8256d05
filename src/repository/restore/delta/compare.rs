//! Comparing a directory with what a backup holds: everything is read on both sides, and nothing is changed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, Stat};

use super::Job;
use super::blocks::{self, There};
use super::content::{self, Listed, Pieces};
use super::ground::Ground;
use super::plan::{Action, Content, Expected, Keys, Names, Plan, Step, Way};
use super::sqlite;
use crate::engine::Role;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::hex::hex;
use crate::repository::file_list::FileLine;
use crate::repository::restore::Witness;
use crate::repository::restore::plan::needs;
use crate::repository::stored::{damaged, not_as_listed};
use crate::roots::DATA;
use crate::stream::source::{Attributes, Hole};

/// Files up to this size are written anew; larger ones only where they differ.
const ANEW_BYTES_MAX: u64 = 1024 * 1024;
/// What to do about a backup that is damaged.
const DAMAGE_HINT: &str = "Nothing was changed. `jetbak verify` lists all damage; an older backup may be whole, and --only \
                           restores what is named.";

/// What a comparison came to.
pub struct Compared {
    /// What differs, without what the backup does not hold.
    pub plan: Plan,
    /// What the backup holds.
    pub expected: Expected,
    /// Databases of SQLite, as the backup has them or the directory.
    pub databases: Vec<PathBuf>,
    /// Directories that are there and that something below is meant of, where not everything is.
    pub entered: Vec<PathBuf>,
}

struct Comparison<'a> {
    job: &'a Job<'a>,
    ground: &'a Ground,
    keys: &'a Keys,
    witness: &'a mut dyn Witness,
    names: Names,
    /// Where the first name of a file is not meant: the name that stands in for it.
    carriers: HashMap<PathBuf, PathBuf>,
    /// Further names that are as they should be: number of the line, path, and the file's first name.
    joined: Vec<(u64, PathBuf, PathBuf)>,
    buffer: Vec<u8>,
    compared: Compared,
}

/// Compares what is meant of a backup with a directory.
pub fn compare(job: &Job, ground: &Ground, keys: &Keys, witness: &mut dyn Witness) -> Result<Compared> {
    let compared =
        Compared { plan: Plan::default(), expected: Expected::default(), databases: Vec::new(), entered: Vec::new() };
    let mut comparison = Comparison {
        job,
        ground,
        keys,
        witness,
        names: Names::default(),
        carriers: HashMap::new(),
        joined: Vec::new(),
        buffer: Vec::new(),
        compared,
    };
    let mut selection = job.selection.clone();
    content::lines(job, &mut |listed| {
        job.stop.check()?;
        let line = &listed.line;
        let path = line.path().ok_or_else(|| damaged(Path::new("files.jsonl"), "a line cannot be believed"))?;
        let name = job.name(line);
        selection.meet(&name);
        if line.root == DATA {
            let key = keys.of(&path);
            let expected = &mut comparison.compared.expected;
            let _ = if line.role == Role::Directory {
                expected.directories.insert(key)
            } else {
                expected.others.insert(key)
            };
        }
        if needs(&selection, line, &name) {
            if line.root != DATA {
                return Err(refuse_root(job, &line.root));
            }
            comparison.take(&listed, path, selection.contains(&name))?;
        }
        Ok(())
    })?;
    if let Some(name) = selection.unknown().next() {
        let message = format!("{} does not hold {}", job.backup.id.text, printable(name));
        return Err(Error::jet(Jet::InvalidParameter, message)
            .file(name)
            .hint("`jetbak show --files` prints what it holds; give a path as it stands there."));
    }
    Ok(comparison.finish())
}

/// An error with what to do about it, where the backup is damaged.
fn hinted(error: Error) -> Error {
    match error.exit_code() {
        ExitCode::Verification => error.hint(DAMAGE_HINT),
        _ => error,
    }
}

fn refuse_root(job: &Job, root: &str) -> Error {
    let message = format!("{} holds more than the storage itself: the root {}", job.backup.id.text, printable(root));
    Error::jet(Jet::InvalidParameter, message).hint(
        "--delta puts right what lay below the storage: name that with --only, or restore all of it without --delta.",
    )
}

/// The bytes of disk that a file's content takes: whole blocks, without its holes.
fn disk_of(of: &FileLine) -> u64 {
    let holes = of.holes.iter().fold(0, |sum: u64, Hole(_, length)| sum.saturating_add(*length));
    let data = of.size.saturating_sub(holes);
    data.checked_next_multiple_of(blocks::BLOCK_BYTES as u64).unwrap_or(data)
}

impl Comparison<'_> {
    fn take(&mut self, listed: &Listed, path: PathBuf, is_meant: bool) -> Result<()> {
        let (line, of) = (listed.number, &listed.line);
        let wanted = of.attributes().ok_or_else(|| damaged(&path, "its line cannot be believed"))?;
        let found = self.ground.look(&path)?;
        if let Some(stat) = &found {
            let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
            if is_directory || !self.job.selection.names().is_empty() {
                self.ground.refuse_mount(&path, stat)?;
            }
        }
        match of.role {
            Role::Directory => self.directory(line, path, &wanted, found, is_meant),
            Role::Link => self.link(listed, path, &wanted, found),
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                let Some(first) = self.first_name(of, &path) else { return self.file(line, path, of, &wanted, found) };
                self.another_name(line, path, first, found);
                Ok(())
            }
        }
    }

    /// The name that carries the content, where it is another one.
    fn first_name(&mut self, of: &FileLine, path: &Path) -> Option<PathBuf> {
        let first = of.hard_link()?;
        if self.job.selection.contains(&first) {
            return Some(first);
        }
        let carrier = self.carriers.get(&first).cloned();
        if carrier.is_none() {
            self.carriers.insert(first, path.to_owned());
        }
        carrier
    }

    fn directory(
        &mut self,
        line: u64,
        path: PathBuf,
        wanted: &Attributes,
        found: Option<Stat>,
        is_meant: bool,
    ) -> Result<()> {
        let mut what = Vec::new();
        if let Some(stat) = &found
            && FileType::from_raw_mode(stat.st_mode).is_dir()
        {
            if !self.job.selection.names().is_empty() {
                self.compared.entered.push(path.clone());
            }
            if is_meant {
                let handle = std::fs::File::from(self.ground.open_directory(&path)?);
                let is = self.ground.attributes(&handle, &path)?;
                what = self.job.giving.differences(&is, wanted, FileType::Directory);
            }
            if what.is_empty() {
                self.compared.plan.equal += 1;
                return Ok(());
            }
        }
        self.add(Step::new(line, path, FileType::Directory, Way::Directory, found.as_ref(), what));
        Ok(())
    }

    fn link(&mut self, listed: &Listed, path: PathBuf, wanted: &Attributes, found: Option<Stat>) -> Result<()> {
        let (line, of) = (listed.number, &listed.line);
        let target = of.target().unwrap_or_default();
        let mut what = Vec::new();
        let mut way = Way::Link;
        if let Some(stat) = &found
            && FileType::from_raw_mode(stat.st_mode).is_symlink()
        {
            let (folder, name) = self.ground.parent(&path).map_err(|e| self.ground.error("look at", &path, e))?;
            let there = rustix::fs::readlinkat(&*folder, name, Vec::new());
            let there = there.map_err(|e| self.ground.error("read the link", &path, e))?;
            let is = self.ground.link_attributes(&path)?;
            what = self.job.giving.differences(&is, wanted, FileType::Symlink);
            if there.as_bytes() == target.as_os_str().as_encoded_bytes() {
                if what.is_empty() {
                    self.compared.plan.equal += 1;
                    return Ok(());
                }
                if stat.st_nlink == 1 {
                    way = Way::Attributes;
                }
            } else {
                what.insert(0, "target");
            }
        }
        let stored = of.stored_path().map(|stored| listed.folder.join(stored)).unwrap_or_default();
        let known = self.job.repository.store().link_target(&stored);
        let known = known.map_err(|error| hinted(not_as_listed(&path, error)))?;
        if known != target {
            let what = format!("it points to {} and should to {}", printable(known), printable(&target));
            return Err(hinted(damaged(&path, &what)));
        }
        self.add(Step::new(line, path, FileType::Symlink, way, found.as_ref(), what));
        Ok(())
    }

    fn file(
        &mut self,
        line: u64,
        path: PathBuf,
        of: &FileLine,
        wanted: &Attributes,
        found: Option<Stat>,
    ) -> Result<()> {
        let key = self.keys.of(&path);
        let described = self.ground.describe(&path);
        let is_file = found.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        let opened = if is_file { Some(self.ground.open_file(&path, OFlags::RDONLY)?) } else { None };
        let size = opened.as_ref().map_or(0, |(_, stat)| u64::try_from(stat.st_size).unwrap_or(0));
        let there = opened.as_ref().map(|(file, _)| There { file, size, path: &described });
        let content = self.content(of, &path, there.as_ref())?;
        if content.is_database || opened.as_ref().is_some_and(|(file, _)| sqlite::is_database(file)) {
            self.compared.databases.push(path.clone());
        }
        self.compared.plan.compared = self.compared.plan.compared.saturating_add(of.size);
        let Some((file, stat)) = &opened else {
            let step = Step::new(line, path, FileType::RegularFile, Way::Anew, found.as_ref(), Vec::new());
            self.add(step.with(content, of.size, disk_of(of)));
            return Ok(());
        };
        let mut what = Vec::new();
        if !content.is_same() {
            what.push(if content.bytes == 0 && !content.size { "holes" } else { "content" });
        }
        let is = self.ground.attributes(file, &path)?;
        what.extend(self.job.giving.differences(&is, wanted, FileType::RegularFile));
        let inode = (stat.st_dev, stat.st_ino);
        let mut way = match () {
            () if content.is_same() => Way::Attributes,
            () if of.size > ANEW_BYTES_MAX => Way::InPlace,
            () => Way::Anew,
        };
        if stat.st_nlink > 1 && way != Way::Anew && !self.names.claim(key, inode) {
            what.insert(0, "names"); // another file of the backup stays this inode
            way = Way::Anew;
        }
        if what.is_empty() {
            self.compared.plan.equal += 1;
            return Ok(());
        }
        let step = Step::new(line, path, FileType::RegularFile, way, Some(stat), what);
        let mut step = step.with(content, of.size, disk_of(of));
        step.found = Some((stat.st_dev, stat.st_ino, stat.st_nlink));
        self.add(step);
        Ok(())
    }

    /// Reads content on both sides; what is damaged in the backup ends it all.
    fn content(&mut self, of: &FileLine, path: &Path, there: Option<&There>) -> Result<Content> {
        let source = content::open(self.job, of).map_err(hinted)?;
        let mut pieces = Pieces::new(source, std::mem::take(&mut self.buffer));
        let name: Arc<Path> = Arc::from(path);
        let (job, witness) = (self.job, &mut *self.witness);
        let mut done = self.compared.plan.compared;
        let compared = blocks::compare(&mut pieces, there, &mut |bytes| {
            job.stop.check()?;
            done += bytes;
            witness.progress(done, Some(Arc::clone(&name)));
            Ok(())
        });
        let (content, size) = compared.map_err(hinted)?;
        self.buffer = pieces.into_buffer();
        let computed = hex(&content.sha256);
        if of.sha256.as_ref().is_some_and(|stored| *stored != computed) || size != of.size {
            let stored = of.sha256.as_deref().unwrap_or_default();
            return Err(hinted(damaged(path, &format!("its hash is {computed} and should be {stored}"))));
        }
        Ok(content)
    }

    fn another_name(&mut self, line: u64, path: PathBuf, first: PathBuf, found: Option<Stat>) {
        let key = self.keys.of(&first);
        if let Some(stat) = &found
            && FileType::from_raw_mode(stat.st_mode).is_file()
            && self.names.join(key, (stat.st_dev, stat.st_ino))
        {
            self.compared.plan.equal += 1;
            self.joined.push((line, path, first));
            return;
        }
        let what = if found.is_some() { vec!["names"] } else { Vec::new() };
        self.add(Step::new(line, path, FileType::RegularFile, Way::HardLink(first), found.as_ref(), what));
    }

    fn add(&mut self, step: Step) {
        self.compared.plan.steps.push(step);
    }

    /// What has names that the backup does not know is not changed under them: it is written anew, with all its names.
    fn finish(mut self) -> Compared {
        let mut left = std::collections::HashSet::new();
        for step in &mut self.compared.plan.steps {
            let Some((device, inode, links)) = step.found else { continue };
            let stays = matches!(step.way, Way::InPlace | Way::Attributes);
            if stays && links > self.names.count((device, inode)) {
                step.way = Way::Anew;
                left.insert(self.keys.of(&step.path));
            }
        }
        for (line, path, first) in self.joined {
            if left.contains(&self.keys.of(&first)) {
                self.compared.plan.equal -= 1;
                let way = Way::HardLink(first);
                let mut step = Step::new(line, path, FileType::RegularFile, way, None, vec!["names"]);
                step.action = Action::Change;
                self.compared.plan.steps.push(step);
            }
        }
        self.compared.plan.steps.sort_by_key(|step| step.line);
        let bytes = |step: &Step| match (&step.way, &step.content) {
            (Way::Anew, _) => step.size,
            (Way::InPlace, Some(content)) => content.bytes,
            _ => 0,
        };
        self.compared.plan.bytes = self.compared.plan.steps.iter().map(bytes).sum();
        self.compared
    }
}
