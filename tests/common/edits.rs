//! Edits of a storage at random, one at a time, of every sort that a backup must notice: by the blocks, by the names, by the
//! inodes, and by the facts alone.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FallocateFlags, Gid, RenameFlags, Uid, XattrFlags};

use super::Dice;
use super::tree::set_time;

/// Few names, so that edits meet again; some sort around the slash, some are not UTF-8.
const NAMES: &[&[u8]] = &[
    b"a",
    b"a-",
    b"a.b",
    b"a0",
    b"b",
    b"c",
    b"d",
    b"d-1",
    b"e",
    b"log",
    b"log.1",
    b"log.2",
    b"wal.1",
    b"wal.2",
    b"wal.3",
    b"two words",
    b"\xff\xfe",
    b"latin \xe4",
    b"line\nbreak",
    b"data",
    b"blocks",
    b"files.jsonl",
];

/// Sizes around the edges of blocks, and of what has a file of blocks.
const SIZES: &[usize] =
    &[0, 1, 100, 4095, 4096, 4097, 20_000, 65_535, 65_536, 65_537, 69_632, 100_000, 131_073, 300_000];
const LARGE: &[usize] = &[1 << 20, (3 << 20) + 5];

/// From this size on a file has a file of blocks.
const LARGE_MIN: u64 = 64 * 1024;

/// A block of a file of blocks, and the room for random holes and pieces.
const BLOCK: u64 = 4096;
const SPARSE_MAX: u32 = 6 << 20;

/// Somebody who edits a directory, and never touches the names that begin with `keeps`.
pub struct Editor<'a> {
    pub root: &'a Path,
    pub dice: &'a mut Dice,
    pub keeps: &'static str,
}

/// What lies in a storage.
#[derive(Default)]
struct Found {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    /// Files, links, and directories but the root.
    all: Vec<PathBuf>,
}

impl Editor<'_> {
    /// One edit; what it was.
    pub fn edit(&mut self) -> String {
        let found = self.find();
        let kind = self.dice.number(100);
        if found.files.is_empty() || kind < 12 {
            return self.create(&found);
        }
        // A few large ones more often than others: what matters is a file that changes again and again.
        let is_large = |path: &&PathBuf| fs::symlink_metadata(path).is_ok_and(|file| file.len() >= LARGE_MIN);
        let large: Vec<PathBuf> = found.files.iter().filter(is_large).take(3).cloned().collect();
        let of_large = !large.is_empty() && self.dice.chance(55);
        let file = self.dice.pick(if of_large { &large } else { &found.files }).clone();
        let what = match kind {
            12..23 => self.overwrite(&file),
            23..27 => self.append(&file),
            27..33 => self.resize(&file),
            33..37 => self.punch(&file),
            37..45 => self.rename(&found),
            45..48 => self.exchange(&found),
            48..51 => self.rotate(&file),
            51..56 => self.replace(&file),
            56..61 => self.delete(&found),
            61..65 => self.make_folder(&found),
            65..68 => self.link(&found),
            68..73 => self.name_again(&file, &found),
            73..76 => self.part(&file),
            76..85 => self.facts(&found),
            85..90 => self.overwrite_unseen(&file),
            90..94 => self.turn(&found),
            94..97 => self.shift(&file),
            _ => self.copy(&file, &found),
        };
        what.unwrap_or_else(|error| format!("nothing ({error})"))
    }

    fn find(&self) -> Found {
        let mut found = Found { folders: vec![self.root.to_owned()], ..Found::default() };
        let mut at = 0;
        while let Some(folder) = found.folders.get(at).cloned() {
            at += 1;
            let mut paths: Vec<_> =
                fs::read_dir(folder).expect("listed").map(|entry| entry.expect("listed").path()).collect();
            paths.sort();
            for path in paths {
                if path.file_name().expect("a name").as_bytes().starts_with(self.keeps.as_bytes()) {
                    continue;
                }
                let kind = fs::symlink_metadata(&path).expect("looked at").file_type();
                if kind.is_dir() {
                    found.folders.push(path.clone());
                } else if kind.is_file() {
                    found.files.push(path.clone());
                }
                found.all.push(path);
            }
        }
        found
    }

    /// A place in some directory, which may be taken.
    fn place(&mut self, found: &Found) -> PathBuf {
        let folder = self.dice.pick(&found.folders).clone();
        folder.join(OsStr::from_bytes(self.dice.pick::<&[u8]>(NAMES)))
    }

    fn free_place(&mut self, found: &Found) -> PathBuf {
        loop {
            let mut place = self.place(found);
            if fs::symlink_metadata(&place).is_ok() {
                let more = self.dice.number(1000).to_string();
                place.as_mut_os_string().push(more);
            }
            if fs::symlink_metadata(&place).is_err() {
                return place;
            }
        }
    }

    /// Bytes of which no block is as another, or all are, or some are zero.
    fn content(&mut self, bytes: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(bytes + 8);
        let kind = self.dice.number(10);
        let mut state = (u64::from(self.dice.number(u32::MAX)) << 20) | 1;
        while content.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let block = content.len() / 4096;
            let is_zero = kind == 0 || (kind == 1 && block % 3 == 1);
            content.extend(if is_zero { [0; 8] } else { state.to_le_bytes() });
            if kind == 2 {
                state = 77; // all the same
            }
        }
        content.truncate(bytes);
        content
    }

    fn any_content(&mut self) -> Vec<u8> {
        let sizes = if self.dice.chance(6) { LARGE } else { SIZES };
        let size = *self.dice.pick(sizes);
        self.content(size)
    }

    fn create(&mut self, found: &Found) -> String {
        let place = self.free_place(found);
        if self.dice.chance(12) {
            return self.create_sparse(&place);
        }
        let content = self.any_content();
        fs::write(&place, &content).expect("written");
        format!("create {} {}", self.shown(&place), content.len())
    }

    fn create_sparse(&mut self, place: &Path) -> String {
        let file = File::create(place).expect("created");
        let size = u64::from(self.dice.number(SPARSE_MAX));
        file.set_len(size).expect("sized");
        for _ in 0..self.dice.number(4) {
            let at = u64::from(self.dice.number(SPARSE_MAX)) & !(BLOCK - 1);
            let bytes = 1 + self.dice.number(20_000) as usize;
            let content = self.content(bytes);
            file.write_all_at(&content, at).expect("written");
        }
        format!("create sparse {} {size}", self.shown(place))
    }

    fn overwrite(&mut self, path: &Path) -> std::io::Result<String> {
        let file = File::options().write(true).open(path)?;
        let size = file.metadata()?.len();
        let mut what = format!("overwrite {} of {size}", self.shown(path));
        if size == 0 {
            return Ok(what);
        }
        for _ in 0..=self.dice.number(3) {
            let mut at = u64::from(self.dice.number(u32::MAX)) % size;
            if self.dice.chance(50) {
                at &= !(BLOCK - 1);
            }
            let wanted = *self.dice.pick(&[1, 8, 4096, 5000, 8192, 40_000]);
            let bytes = usize::try_from((size - at).min(wanted)).expect("small");
            let content = self.content(bytes);
            file.write_all_at(&content, at)?;
            write!(what, " {at}+{bytes}").expect("a string takes every write");
        }
        Ok(what)
    }

    /// The same size, and the time put back: only the time of change tells.
    fn overwrite_unseen(&mut self, path: &Path) -> std::io::Result<String> {
        let before = fs::metadata(path)?;
        let what = self.overwrite(path)?;
        let times = FileTimes::new().set_modified(before.modified()?).set_accessed(before.accessed()?);
        File::options().write(true).open(path)?.set_times(times)?;
        Ok(format!("{what}, time put back"))
    }

    fn append(&mut self, path: &Path) -> std::io::Result<String> {
        let content = self.any_content();
        let file = File::options().write(true).open(path)?;
        let size = file.metadata()?.len();
        if size > 8 << 20 {
            return Ok("nothing (large)".to_owned());
        }
        file.write_all_at(&content, size)?;
        Ok(format!("append {} {size}+{}", self.shown(path), content.len()))
    }

    fn resize(&mut self, path: &Path) -> std::io::Result<String> {
        let file = File::options().write(true).open(path)?;
        let size = file.metadata()?.len();
        let most = if self.dice.chance(50) { size } else { size + 2_000_000 };
        let mut to = u64::from(self.dice.number(u32::MAX)) % (most + 1);
        if self.dice.chance(40) {
            to &= !(BLOCK - 1);
        }
        if to > 8 << 20 {
            return Ok("nothing (large)".to_owned());
        }
        file.set_len(to)?;
        Ok(format!("resize {} {size} to {to}", self.shown(path)))
    }

    fn punch(&mut self, path: &Path) -> std::io::Result<String> {
        let file = File::options().write(true).open(path)?;
        let size = file.metadata()?.len();
        if size == 0 {
            return Ok("nothing (empty)".to_owned());
        }
        let at = (u64::from(self.dice.number(u32::MAX)) % size) & !(BLOCK - 1);
        let bytes = (1 + u64::from(self.dice.number(40))) * BLOCK;
        if self.dice.chance(50) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, flags, at, bytes)?;
            return Ok(format!("punch {} {at}+{bytes}", self.shown(path)));
        }
        let bytes = bytes.min(size - at);
        file.write_all_at(&vec![0; usize::try_from(bytes).expect("small")], at)?;
        Ok(format!("zeros {} {at}+{bytes}", self.shown(path)))
    }

    fn rename(&mut self, found: &Found) -> std::io::Result<String> {
        let is_folder = self.dice.chance(40) && found.folders.len() > 1;
        let from = self.dice.pick(if is_folder { &found.folders[1..] } else { &found.all }).clone();
        let to = if self.dice.chance(40) { self.place(found) } else { self.free_place(found) };
        if to.file_name().is_some_and(|name| name.as_bytes().starts_with(b"wal.")) && from.is_dir() {
            return Ok("nothing (a log's name)".to_owned());
        }
        fs::rename(&from, &to)?;
        Ok(format!("rename {} to {}", self.shown(&from), self.shown(&to)))
    }

    fn exchange(&mut self, found: &Found) -> std::io::Result<String> {
        let (one, other) = (self.dice.pick(&found.all).clone(), self.dice.pick(&found.all).clone());
        rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE)?;
        Ok(format!("exchange {} and {}", self.shown(&one), self.shown(&other)))
    }

    /// `x.1` becomes `x.2`, `x` becomes `x.1`, and `x` begins anew.
    fn rotate(&mut self, path: &Path) -> std::io::Result<String> {
        let with = |more: &str| {
            let mut path = path.to_owned();
            path.as_mut_os_string().push(more);
            path
        };
        let _ = fs::rename(with(".1"), with(".2")); // the first time there is none
        fs::rename(path, with(".1"))?;
        let content = self.any_content();
        fs::write(path, &content)?;
        Ok(format!("rotate {} {}", self.shown(path), content.len()))
    }

    fn replace(&mut self, path: &Path) -> std::io::Result<String> {
        let content = if self.dice.chance(40) { fs::read(path)? } else { self.any_content() };
        self.put(path, &content)?;
        Ok(format!("replace {} {}", self.shown(path), content.len()))
    }

    /// A new file of this name, by a rename.
    fn put(&self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        let temporary = self.root.join("temporary");
        fs::write(&temporary, content)?;
        fs::rename(&temporary, path).inspect_err(|_| fs::remove_file(&temporary).expect("removed"))
    }

    fn delete(&mut self, found: &Found) -> std::io::Result<String> {
        let path = self.dice.pick(&found.all).clone();
        remove(&path)?;
        Ok(format!("delete {}", self.shown(&path)))
    }

    fn make_folder(&mut self, found: &Found) -> std::io::Result<String> {
        let place = self.free_place(found);
        fs::create_dir(&place)?;
        for _ in 0..self.dice.number(3) {
            let name = OsStr::from_bytes(self.dice.pick::<&[u8]>(NAMES)).to_owned();
            let content = self.any_content();
            fs::write(place.join(name), content)?;
        }
        Ok(format!("make folder {}", self.shown(&place)))
    }

    fn link(&mut self, found: &Found) -> std::io::Result<String> {
        let place = self.free_place(found);
        let target = *self.dice.pick::<&[u8]>(NAMES);
        symlink(OsStr::from_bytes(target), &place)?;
        Ok(format!("link {}", self.shown(&place)))
    }

    fn name_again(&mut self, path: &Path, found: &Found) -> std::io::Result<String> {
        let place = self.free_place(found);
        fs::hard_link(path, &place)?;
        Ok(format!("name {} also {}", self.shown(path), self.shown(&place)))
    }

    /// One of several names becomes a file of its own, with the same content.
    fn part(&mut self, path: &Path) -> std::io::Result<String> {
        let is_several = fs::metadata(path)?.nlink() > 1;
        self.put(path, &fs::read(path)?)?;
        Ok(format!("part {} ({is_several})", self.shown(path)))
    }

    /// Anything but the content.
    fn facts(&mut self, found: &Found) -> std::io::Result<String> {
        let path = self.dice.pick(&found.all).clone();
        let is_link = fs::symlink_metadata(&path)?.is_symlink();
        let what = match self.dice.number(4) {
            0 if !is_link => {
                let mode = 0o600 | self.dice.number(0o1000) | if path.is_dir() { 0o100 } else { 0 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
                "mode"
            }
            1 if rustix::process::geteuid().is_root() => {
                let ids = (Uid::from_raw(self.dice.number(3)), Gid::from_raw(self.dice.number(3)));
                rustix::fs::chownat(CWD, &path, Some(ids.0), Some(ids.1), AtFlags::SYMLINK_NOFOLLOW)?;
                "owner"
            }
            2 if !is_link => {
                let value = self.dice.number(1000).to_string();
                rustix::fs::lsetxattr(&path, "user.colour", value.as_bytes(), XattrFlags::empty())?;
                "attribute"
            }
            _ => {
                set_time(&path, i64::from(self.dice.number(2_000_000_000)), 5);
                "time"
            }
        };
        Ok(format!("{what} of {}", self.shown(&path)))
    }

    /// A file becomes a directory or a link, or the other way round, under the same name.
    fn turn(&mut self, found: &Found) -> std::io::Result<String> {
        let path = self.dice.pick(&found.all).clone();
        remove(&path)?;
        let into = match self.dice.number(3) {
            0 => {
                fs::create_dir(&path)?;
                let content = self.any_content();
                fs::write(path.join("inside"), content)?;
                "a directory"
            }
            1 => {
                symlink("inside", &path)?;
                "a link"
            }
            _ => {
                let content = self.any_content();
                fs::write(&path, content)?;
                "a file"
            }
        };
        Ok(format!("turn {} into {into}", self.shown(&path)))
    }

    /// All content moves on by some bytes or some blocks.
    fn shift(&mut self, path: &Path) -> std::io::Result<String> {
        let by = *self.dice.pick(&[1, 4096, 8192]);
        let content = [self.content(by), fs::read(path)?].concat();
        File::options().write(true).open(path)?.write_all_at(&content, 0)?;
        Ok(format!("shift {} by {by}", self.shown(path)))
    }

    fn copy(&mut self, path: &Path, found: &Found) -> std::io::Result<String> {
        let place = self.free_place(found);
        fs::copy(path, &place)?;
        if self.dice.chance(50) {
            let before = fs::metadata(path)?;
            set_time(&place, before.mtime(), before.mtime_nsec());
        }
        Ok(format!("copy {} to {}", self.shown(path), self.shown(&place)))
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).as_os_str().as_bytes().escape_ascii().to_string()
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
