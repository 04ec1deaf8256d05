//! Trees at random, with everything that a file system takes; and an oracle that looks at a tree with system calls of its
//! own and says how two of them differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CString, OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::{Dice, skip};

/// A tree that was grown, and what no backup of it holds.
pub struct Grown {
    /// Fifos and sockets, relative to the root.
    pub special: Vec<PathBuf>,
}

/// Grows a tree in a directory that exists: so many entries, some with further names.
pub fn grow(dice: &mut Dice, root: &Path, entries: usize) -> Grown {
    let is_root = rustix::process::geteuid().is_root();
    let mut gardener = Gardener {
        dice,
        is_root,
        folders: vec![root.to_owned()],
        files: Vec::new(),
        links: Vec::new(),
        special: Vec::new(),
        refused: BTreeSet::new(),
        number: 0,
    };
    for _ in 0..entries {
        gardener.plant();
    }
    gardener.dress(root);
    for what in &gardener.refused {
        skip(&format!("this file system does not take {what}"));
    }
    let special = gardener.special.iter().map(|path| path.strip_prefix(root).expect("below").to_owned()).collect();
    Grown { special }
}

struct Gardener<'a> {
    dice: &'a mut Dice,
    is_root: bool,
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    links: Vec<PathBuf>,
    special: Vec<PathBuf>,
    refused: BTreeSet<String>,
    number: usize,
}

const ODD_NAMES: &[&[u8]] = &[
    b"two words",
    b" before and after ",
    b"line\nbreak",
    b"carriage\rreturn",
    b"\"quotes\" and 'quotes'",
    b"back\\slash\\n",
    b"-rf",
    b"--",
    b"*",
    b"[a-z]?",
    b"{a,b}",
    b"$(reboot)`id`",
    b"~",
    b"#comment",
    b"!not",
    b".hidden",
    b"...",
    b"\x1b[31mred",
    b"\x01\x7f",
    b"tab\tbed",
    b"%s%n",
    b"\xff\xfe",
    b"latin-1 \xe4\xf6",
    b"cut \xe2\x82",
    "\u{202e}gpj.exe".as_bytes(),
    "\u{200f}mark".as_bytes(),
    "decomposed a\u{301}".as_bytes(),
    "composed \u{e1}".as_bytes(),
    "\u{1f980}".as_bytes(),
    b"data",
    b"manifest.json",
    b"files.jsonl",
    b"SHA256SUMS",
    b"lost+found",
    b".jetbak-tmp-mine",
];

const KIB: usize = 1024;
const SIZES: &[usize] = &[
    0,
    0,
    1,
    13,
    511,
    4 * KIB - 1,
    4 * KIB,
    4 * KIB + 1,
    60_000,
    512 * KIB - 1,
    512 * KIB,
    512 * KIB + 1,
    1024 * KIB,
    2500 * KIB + 7,
];

/// 1901, 1969, 1970, now, the last second of 31 bits, the first after it, 2106 and 2446.
const SECONDS: &[i64] =
    &[-2_147_483_648, -1, 0, 1, 1_795_339_815, 2_147_483_647, 2_147_483_648, 4_294_967_296, 15_032_385_535];

impl Gardener<'_> {
    fn plant(&mut self) {
        match self.dice.number(100) {
            0..35 => self.plant_file(),
            35..47 => self.plant_sparse_file(),
            47..62 => self.plant_folders(),
            62..78 => self.plant_link(),
            78..94 => self.plant_names(),
            _ => self.plant_special(),
        }
    }

    /// A name that is not taken, in a directory whose path leaves room for it.
    fn place(&mut self) -> PathBuf {
        loop {
            let folder = self.dice.pick(&self.folders).clone();
            let name = self.name();
            let path = folder.join(&name);
            if path.as_os_str().len() < 4000 && fs::symlink_metadata(&path).is_err() {
                return path;
            }
        }
    }

    fn name(&mut self) -> OsString {
        self.number += 1;
        let number = self.number;
        match self.dice.number(100) {
            0..45 => OsString::from(format!("file{number}")),
            45..90 => {
                let mut name = self.dice.pick(ODD_NAMES).to_vec();
                if self.dice.chance(60) {
                    name.extend(number.to_string().bytes());
                }
                OsString::from_vec(name)
            }
            _ => OsString::from(format!("{number:x>255}")),
        }
    }

    fn content(&mut self, bytes: usize) -> Vec<u8> {
        let block: Vec<u8> = (0..509).map(|_| u8::try_from(self.dice.number(255) + 1).expect("a byte")).collect();
        let mut content = block.repeat(bytes / block.len() + 1);
        content.truncate(bytes);
        content
    }

    fn plant_file(&mut self) {
        let path = self.place();
        let size = *self.dice.pick(SIZES);
        fs::write(&path, self.content(size)).expect("written");
        self.files.push(path);
    }

    /// Holes at the begin, in the middle, at the end, everywhere, or many of them.
    fn plant_sparse_file(&mut self) {
        const MIB: u64 = 1 << 20;
        let path = self.place();
        let file = File::create(&path).expect("created");
        let pieces: &[(u64, usize)] = match self.dice.number(6) {
            0 => &[],
            1 => &[(MIB, 5000)],
            2 => &[(0, 5000), (MIB, 600 * KIB)],
            3 => &[(0, 1)],
            4 => &[(MIB / 2 + 1, 1), (2 * MIB - 1, 3)],
            _ => &[
                (64 * 1024, 4096),
                (192 * 1024, 4097),
                (320 * 1024, 1),
                (448 * 1024, 8192),
                (768 * 1024, 700_000),
                (2048 * 1024, 1),
            ],
        };
        for (offset, bytes) in pieces {
            file.write_all_at(&self.content(*bytes), *offset).expect("written");
        }
        let end = pieces.last().map_or(0, |(offset, bytes)| offset + *bytes as u64);
        let length = *self.dice.pick(&[end, end + 1, end + 4096, end + MIB, 4 * MIB]);
        file.set_len(length).expect("sized");
        self.files.push(path);
    }

    fn plant_folders(&mut self) {
        let depth = if self.dice.chance(15) { 40 } else { 1 + self.dice.number(3) };
        let mut path = self.place();
        for level in 0..depth {
            if level > 0 {
                let name = if self.dice.chance(80) { OsString::from("d") } else { self.name() };
                path.push(name);
            }
            if path.as_os_str().len() > 3600 || fs::create_dir(&path).is_err() {
                return;
            }
            self.folders.push(path.clone());
        }
    }

    fn plant_link(&mut self) {
        let path = self.place();
        let long = "long/".repeat(700);
        let own = path.file_name().expect("a name").to_owned();
        let folder = self.dice.pick(&self.folders).clone();
        let targets: [&[u8]; 12] = [
            b"nowhere",
            b"/etc/passwd",
            b"/",
            b".",
            b"..",
            b"../../../../outside",
            b"line\nbreak",
            b"not \xff UTF-8",
            b"trailing/",
            long.as_bytes(),
            own.as_bytes(),
            folder.as_os_str().as_bytes(),
        ];
        symlink(OsStr::from_bytes(self.dice.pick::<&[u8]>(&targets)), &path).expect("linked");
        self.links.push(path);
    }

    /// Further names of a file, in any directory.
    fn plant_names(&mut self) {
        if self.files.is_empty() {
            return self.plant_file();
        }
        let first = self.dice.pick(&self.files).clone();
        for _ in 0..=self.dice.number(4) {
            fs::hard_link(&first, self.place()).expect("linked");
        }
    }

    fn plant_special(&mut self) {
        let path = self.place();
        let kind = *self.dice.pick(&[FileType::Fifo, FileType::Socket]);
        rustix::fs::mknodat(CWD, &path, kind, Mode::RUSR | Mode::WUSR, 0).expect("made");
        self.special.push(path);
    }

    /// Owners, modes, attributes and times; the directories last, from the deepest up.
    fn dress(&mut self, root: &Path) {
        for path in self.files.clone() {
            self.dress_one(&path, false);
        }
        for path in self.links.clone() {
            if self.is_root && self.dice.chance(50) {
                self.chown(&path);
            }
            self.set_time(&path);
        }
        let mut folders = std::mem::take(&mut self.folders);
        folders.sort();
        let is_root = self.is_root;
        for path in folders.iter().rev().filter(|path| *path != root || is_root) {
            self.dress_one(path, true);
        }
    }

    fn dress_one(&mut self, path: &Path, is_folder: bool) {
        if self.is_root && self.dice.chance(50) {
            self.chown(path);
        }
        if self.dice.chance(40) {
            self.set_xattrs(path, is_folder);
        }
        if self.dice.chance(70) {
            let least = match (self.is_root, is_folder) {
                (true, _) => 0,
                (false, true) => 0o700,
                (false, false) => 0o400,
            };
            let mode = self.dice.number(0o10000) | least;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode set");
        }
        if self.dice.chance(20) {
            let acl = acl(&[(1, 7, !0), (2, self.dice.number(8), 4711), (4, 5, !0), (16, 7, !0), (32, 1, !0)]);
            self.set_xattr(path, "system.posix_acl_access", &acl);
        }
        if is_folder && self.dice.chance(20) {
            let acl = acl(&[(1, 7, !0), (2, 6, 1), (4, 5, !0), (8, 3, 99), (16, 7, !0), (32, 0, !0)]);
            self.set_xattr(path, "system.posix_acl_default", &acl);
        }
        if !is_folder && self.is_root && self.dice.chance(15) {
            self.set_xattr(path, "security.capability", CAPABILITY);
        }
        self.set_time(path);
    }

    fn chown(&mut self, path: &Path) {
        let numbers = [0, 1, 12_345, 65_534, 4_000_000_000];
        let (user, group) = (*self.dice.pick(&numbers), *self.dice.pick(&numbers));
        let ids = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        rustix::fs::chownat(CWD, path, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW).expect("given away");
    }

    fn set_xattrs(&mut self, path: &Path, is_folder: bool) {
        let large = self.content(60_000);
        let medium = self.content(700);
        self.set_xattr(path, "user.comment", "für später".as_bytes());
        self.set_xattr(path, "user.empty", b"");
        self.set_xattr(path, "user.binary", b"\0\xff\n\"");
        self.set_xattr(path, "user.medium", &medium);
        if !is_folder && self.dice.chance(30) {
            self.set_xattr(path, "user.large", &large);
        }
        for number in 0..self.dice.number(4) {
            self.set_xattr(path, &format!("user.{number:n>200}"), b"long name");
        }
        let odd = OsStr::from_bytes(b"user.odd\xff\n");
        let _ = rustix::fs::lsetxattr(path, odd, b"name", XattrFlags::empty()); // where there is room
        if self.is_root {
            self.set_xattr(path, "trusted.secret", b"for root only");
        }
    }

    fn set_xattr(&mut self, path: &Path, name: &str, value: &[u8]) {
        match rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOSPC | Errno::TOOBIG) => {
                self.refused.insert(format!("extended attributes of {} bytes", value.len()));
            }
            Err(errno) => {
                let kind = name.split('.').next().expect("a name");
                self.refused.insert(format!("extended attributes of the kind {kind}: {errno}"));
            }
        }
    }

    fn set_time(&mut self, path: &Path) {
        if self.dice.chance(25) {
            return; // now is a time as well
        }
        let seconds = *self.dice.pick(SECONDS);
        let nanoseconds = *self.dice.pick(&[0, 1, 999_999_999, 123_456_789, 120_000_000]);
        set_time(path, seconds, nanoseconds);
    }
}

/// Makes directories in each other below one, step by step, so that no path is too long; the last one, opened.
pub fn make_deep(root: &Path, names: impl IntoIterator<Item = String>) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open(root, flags, Mode::empty()).expect("opened");
    for name in names {
        rustix::fs::mkdirat(&folder, &*name, Mode::RWXU).expect("created");
        folder = rustix::fs::openat(&folder, &*name, flags, Mode::empty()).expect("opened");
    }
    folder
}

/// Sets the modification time of a path, a link's own where it is one.
pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("time set");
}

/// `cap_net_raw+ep` as the kernel keeps it: version 2 with the effective bit, then permitted and inheritable.
pub const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A POSIX ACL as the kernel keeps it: tag, permissions, number.
pub fn acl(entries: &[(u16, u32, u32)]) -> Vec<u8> {
    let mut text = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, number) in entries {
        text.extend(tag.to_le_bytes());
        text.extend(u16::try_from(*permissions).expect("three bits").to_le_bytes());
        text.extend(number.to_le_bytes());
    }
    text
}

/// What a tree is: every path, the root as an empty one, with everything about it.
#[derive(Clone, Debug)]
pub struct Listing(BTreeMap<Vec<u8>, Facts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    size: u64,
    sha256: Option<String>,
    target: Option<OsString>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first of its names, where it has several in this tree.
    first_name: Option<Vec<u8>>,
    allocated: u64,
}

/// How much two trees must have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Alike {
    /// Everything.
    Fully,
    /// What a plain copy of a backup's folder promises: no owners, no attributes, modes with `u+rwX` and without setuid,
    /// setgid and sticky.
    AsStored,
    /// Everything but owners.
    ButOwners,
}

/// Differences that are told; more would help nobody.
const DIFFERENCES_MAX: usize = 20;

/// Space that a copy may take beyond what the original does: blocks of attributes, rounding.
const SLACK_BYTES: u64 = 64 * 1024;

impl Listing {
    /// Looks at a tree of any depth.
    pub fn of(root: &Path) -> Self {
        let mut listing = Self(BTreeMap::new());
        let mut names = HashMap::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(root, flags, Mode::empty()).expect("opened");
        listing.add(&folder, OsStr::new("."), Vec::new(), &mut names);
        listing.descend(&folder, &[], &mut names);
        for places in names.into_values().filter(|places: &Vec<Vec<u8>>| places.len() > 1) {
            let first = places.iter().min().expect("several").clone();
            for place in places {
                listing.0.get_mut(&place).expect("listed").first_name = Some(first.clone());
            }
        }
        listing
    }

    fn descend(&mut self, folder: &OwnedFd, prefix: &[u8], names: &mut HashMap<(u64, u64), Vec<Vec<u8>>>) {
        for entry in fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd())).expect("listed") {
            let name = entry.expect("listed").file_name();
            let path = if prefix.is_empty() { Vec::new() } else { [prefix, b"/"].concat() };
            let path = [path.as_slice(), name.as_bytes()].concat();
            if self.add(folder, &name, path.clone(), names) {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(folder, &name, flags, Mode::empty()).expect("opened");
                self.descend(&below, &path, names);
            }
        }
    }

    /// Adds one entry; true for a directory.
    fn add(
        &mut self,
        folder: &OwnedFd,
        name: &OsStr,
        path: Vec<u8>,
        names: &mut HashMap<(u64, u64), Vec<Vec<u8>>>,
    ) -> bool {
        let here = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        let stat = fs::symlink_metadata(&here).expect("looked at");
        let file_type = stat.file_type();
        let kind = match () {
            () if file_type.is_file() => "file",
            () if file_type.is_dir() => "directory",
            () if file_type.is_symlink() => "link",
            () => "special file",
        };
        if kind == "file" {
            names.entry((stat.dev(), stat.ino())).or_default().push(path.clone());
        }
        let facts = Facts {
            kind,
            mode: stat.mode() & 0o7777,
            owner: (stat.uid(), stat.gid()),
            modified: (stat.mtime(), stat.mtime_nsec()),
            size: if kind == "file" { stat.len() } else { 0 },
            sha256: (kind == "file").then(|| hash(&here, stat.len())),
            target: (kind == "link").then(|| fs::read_link(&here).expect("read").into_os_string()),
            xattrs: xattrs(&here),
            first_name: None,
            allocated: stat.blocks() * 512,
        };
        self.0.insert(path, facts);
        kind == "directory"
    }

    /// Without what no backup holds: fifos, sockets, devices.
    pub fn storable(mut self) -> Self {
        self.0.retain(|_, facts| facts.kind != "special file");
        self
    }

    /// Without some paths.
    pub fn without(mut self, is_left_out: impl Fn(&[u8]) -> bool) -> Self {
        self.0.retain(|path, _| !is_left_out(path));
        self
    }

    /// Without the time of the root, in which something comes and goes.
    pub fn at_any_time(mut self) -> Self {
        self.0.get_mut(&[][..]).expect("a root").modified = (0, 0);
        self
    }

    /// With some names as files of their own, which go with no other name.
    pub fn parted(mut self, is_alone: impl Fn(&[u8]) -> bool) -> Self {
        let mut groups: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for (path, facts) in &mut self.0 {
            if let Some(first) = facts.first_name.take().filter(|_| !is_alone(path)) {
                groups.entry(first).or_default().push(path.clone());
            }
        }
        for names in groups.into_values().filter(|names| names.len() > 1) {
            for name in &names {
                self.0.get_mut(name).expect("listed").first_name = Some(names[0].clone());
            }
        }
        self
    }

    /// How many paths there are, the root counted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How another tree differs from this one; empty where it does not.
    pub fn differences(&self, other: &Self, alike: Alike) -> String {
        let mut text = String::new();
        let mut left = DIFFERENCES_MAX;
        let mut say = |path: &[u8], what: String| {
            if left == 0 {
                return;
            }
            left -= 1;
            writeln!(text, "{}: {what}", path.escape_ascii()).expect("a string takes every write");
        };
        for (path, theirs) in &other.0 {
            if !self.0.contains_key(path) {
                say(path, format!("a {} that should not be there", theirs.kind));
            }
        }
        for (path, ours) in &self.0 {
            match other.0.get(path) {
                None => say(path, format!("the {} is missing", ours.kind)),
                Some(theirs) => ours.compare(theirs, alike, &mut |what| say(path, what)),
            }
        }
        text
    }

    /// Demands that another tree is like this one.
    #[track_caller]
    pub fn is_like(&self, other: &Self, alike: Alike) {
        let differences = self.differences(other, alike);
        assert!(differences.is_empty(), "{differences}");
    }
}

impl Facts {
    fn compare(&self, other: &Self, alike: Alike, say: &mut dyn FnMut(String)) {
        let mut demand = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                say(format!("{what} is {theirs} and should be {ours}"));
            }
        };
        demand("it", self.kind.to_owned(), other.kind.to_owned());
        let mode = match (alike, self.kind) {
            (_, "link") => other.mode,
            (Alike::AsStored, "directory") => self.mode & 0o777 | 0o700,
            (Alike::AsStored, _) => self.mode & 0o777 | 0o600,
            _ => self.mode,
        };
        demand("the mode", format!("{mode:04o}"), format!("{:04o}", other.mode));
        if alike == Alike::Fully {
            demand("the owner", format!("{:?}", self.owner), format!("{:?}", other.owner));
        }
        demand("the time", format!("{:?}", self.modified), format!("{:?}", other.modified));
        demand("the size", self.size.to_string(), other.size.to_string());
        demand("the content", format!("{:?}", self.sha256), format!("{:?}", other.sha256));
        demand("the target", format!("{:?}", self.target), format!("{:?}", other.target));
        demand("its first name", shown(self.first_name.as_ref()), shown(other.first_name.as_ref()));
        if alike != Alike::AsStored {
            let names: BTreeSet<_> = self.xattrs.keys().chain(other.xattrs.keys()).collect();
            for name in names {
                let what = format!("the attribute {}", name.escape_ascii());
                demand(&what, shown(self.xattrs.get(name)), shown(other.xattrs.get(name)));
            }
        }
        if other.kind == "file" && other.allocated > self.allocated + SLACK_BYTES {
            say(format!("its holes are filled: {} bytes instead of {}", other.allocated, self.allocated));
        }
    }
}

fn shown(bytes: Option<&Vec<u8>>) -> String {
    let Some(bytes) = bytes else { return "missing".to_owned() };
    let begin = &bytes[..bytes.len().min(80)];
    format!("\"{}\" ({} bytes)", begin.escape_ascii(), bytes.len())
}

fn hash(path: &Path, size: u64) -> String {
    let mut file = File::open(path).expect("opened");
    let mut buffer = vec![0; 256 * 1024];
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    loop {
        match file.read(&mut buffer).expect("read") {
            0 => break,
            got => {
                hasher.update(&buffer[..got]);
                bytes += got as u64;
            }
        }
    }
    assert_eq!(bytes, size);
    hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes every write");
        hex
    })
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Err(Errno::NOTSUP) => 0,
        length => length.expect("listed"),
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let pairs = names.map(|name| {
        let mut value = vec![0; 64 * 1024];
        let c_name = CString::new(name).expect("no NUL");
        let length = rustix::fs::lgetxattr(path, &c_name, &mut value).expect("read");
        value.truncate(length);
        (name.to_vec(), value)
    });
    pairs.collect()
}
