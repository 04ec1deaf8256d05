//! Looking at files: opened without leaving a trace, recognised by their first bytes, found below a directory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::checksum::is_zero;
use super::recognise::{Content, HEAD_BYTES, is_fill, recognise};
use crate::error::{Error, ExitCode, Result, printable};
use crate::stream::stop::StopToken;

/// How much is read at once where a whole file must be looked at; a multiple of the fill pattern's length.
const LOOK_BYTES: usize = 256 * 1024;

/// A file that was looked at.
#[derive(Clone, Debug)]
pub struct Found {
    /// As it was reached.
    pub path: Arc<Path>,
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub content: Content,
}

impl Found {
    /// Its file name.
    pub fn name(&self) -> &std::ffi::OsStr {
        self.path.file_name().unwrap_or_default()
    }
}

/// Opens a regular file for reading: without waiting for a fifo's writer, and where we may without touching its access
/// time. Anything else than a regular file is refused.
pub fn open(path: &Path) -> Result<(File, u64)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = match rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()), // only the owner may leave it alone
        opened => opened,
    };
    let file = File::from(opened.map_err(|e| Error::io("open", path, &e.into()))?);
    let metadata = file.metadata().map_err(|e| Error::io("look at", path, &e))?;
    if !metadata.is_file() {
        let kind = metadata.file_type();
        let what = if kind.is_dir() { "a directory" } else { "not a regular file" };
        let message = format!("cannot look at {}: it is {what}", printable(path));
        return Err(Error::new(ExitCode::Failed, message).file(path));
    }
    Ok((file, metadata.size()))
}

/// The first bytes of a file, [`HEAD_BYTES`] at most.
pub fn read_head(file: &File, path: &Path) -> Result<Vec<u8>> {
    read_some(file, path, 0, HEAD_BYTES)
}

/// So many bytes from an offset on; fewer where the file ends.
pub fn read_some(file: &File, path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = read_full(file, &mut bytes, offset).map_err(|e| Error::io("read", path, &e).file(path))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Fills the buffer from an offset on, as far as the file goes.
pub fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Says what a file is.
pub fn look(path: &Path, stop: &StopToken) -> Result<Found> {
    let (file, size) = open(path)?;
    let head = read_head(&file, path)?;
    let mut content = recognise(&head, size);
    let is_uniform: Option<fn(&[u8]) -> bool> = match content {
        Content::Zero => Some(is_zero),
        Content::Fill => Some(is_fill),
        _ => None,
    };
    if let Some(is_uniform) = is_uniform
        && !holds_to_the_end(&file, path, head.len() as u64, is_uniform, stop)?
    {
        content = Content::Foreign;
    }
    Ok(Found { path: Arc::from(path), size, content })
}

/// Whether every piece of the file from an offset on is such. Holes are zeros, and are not read.
fn holds_to_the_end(
    file: &File,
    path: &Path,
    mut offset: u64,
    holds: fn(&[u8]) -> bool,
    stop: &StopToken,
) -> Result<bool> {
    let mut buffer = vec![0; LOOK_BYTES];
    let is_zero_asked = holds(&[0; 512]);
    loop {
        stop.check()?;
        if is_zero_asked {
            match rustix::fs::seek(file, SeekFrom::Data(offset)) {
                Ok(data) => offset = data,
                Err(Errno::NXIO) => return Ok(true), // nothing but holes
                Err(_) => {}                         // the file system does not tell
            }
        }
        let read = read_full(file, &mut buffer, offset).map_err(|e| Error::io("read", path, &e).file(path))?;
        if read == 0 {
            return Ok(true);
        }
        if !holds(&buffer[..read]) {
            return Ok(false);
        }
        offset += read as u64;
    }
}

/// Something below a directory.
#[derive(Debug)]
pub enum Below {
    /// A regular file, looked at.
    File(Found),
    /// A symbolic link or special file, which no storage is made of.
    LeftOut(PathBuf, &'static str),
    /// What could not be looked at.
    Failed(PathBuf, Error),
}

/// Looks at everything below a directory, in the order of names; `deep` says whether also in its subdirectories.
pub fn look_below(root: &Path, deep: bool, stop: &StopToken, take: &mut dyn FnMut(Below)) -> Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        stop.check()?;
        let children = match children(&folder) {
            Ok(children) => children,
            Err(error) if folder == root => return Err(error),
            Err(error) => {
                take(Below::Failed(folder, error));
                continue;
            }
        };
        let mut subfolders = Vec::new();
        for path in children {
            stop.check()?;
            let kind = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata.file_type(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // gone since it was listed
                Err(error) => {
                    let error = Error::io("look at", &path, &error);
                    take(Below::Failed(path, error));
                    continue;
                }
            };
            if kind.is_dir() {
                subfolders.push(path);
            } else if kind.is_file() {
                match look(&path, stop) {
                    Ok(found) => take(Below::File(found)),
                    Err(error) if stop.cause().is_some() => return Err(error),
                    Err(error) => take(Below::Failed(path, error)),
                }
            } else {
                let what = if kind.is_symlink() { "a symbolic link" } else { "a special file" };
                take(Below::LeftOut(path, what));
            }
        }
        if deep {
            folders.extend(subfolders.into_iter().rev());
        }
    }
    Ok(())
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("list", folder, &e))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|e| Error::io("list", folder, &e))?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Reads a file's next bytes past what the page cache holds of it, so that reading again means something.
pub fn forget_cached(file: &File, offset: u64, length: u64) {
    let length = std::num::NonZero::new(length);
    let _ = rustix::fs::fadvise(file, offset, length, rustix::fs::Advice::DontNeed); // only advice
}

/// Says that a file is read from its beginning to its end.
pub fn expect_sequential(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential); // only advice
}
