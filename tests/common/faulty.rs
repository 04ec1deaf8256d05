//! A store that fails at a call that can be chosen.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jetbak::durable::Put;
use jetbak::error::{Error, Result};
use jetbak::repository::local::LocalStore;
use jetbak::repository::store::{Held, Item, Node, Reading, Store, Writing};
use jetbak::stream::source::{Attributes, Got};

/// In which way a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It does nothing, once.
    Once,
    /// It does nothing, and neither does any later one.
    ForEver,
    /// It does what it should, and says that it failed.
    AfterItWorked,
}

/// Which call fails, and how; counts the calls.
#[derive(Debug)]
pub struct Faults {
    armed: AtomicBool,
    calls: AtomicU64,
    at: u64,
    errno: i32,
    manner: Manner,
    /// Only calls about this path, or one that ends with it, are counted.
    about: PathBuf,
}

impl Faults {
    /// Calls are counted from now on.
    pub fn new(at: u64, errno: i32, manner: Manner) -> Arc<Self> {
        Self::of("", at, errno, manner)
    }

    /// The same, of calls about one file only; from its end on, as far as the file is named.
    pub fn of(file: &str, at: u64, errno: i32, manner: Manner) -> Arc<Self> {
        let (armed, calls, about) = (AtomicBool::new(false), AtomicU64::new(0), file.into());
        Arc::new(Self { armed, calls, at, errno, manner, about })
    }

    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Whether the call that was to fail came.
    pub fn struck(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.at
    }

    /// Runs a call, or lets it fail.
    fn call<T>(&self, path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if !self.armed.load(Ordering::SeqCst) || !path.ends_with(&self.about) {
            return work();
        }
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = number == self.at || (number > self.at && self.manner == Manner::ForEver);
        if !fails {
            return work();
        }
        if self.manner == Manner::AfterItWorked {
            work()?;
        }
        Err(io::Error::from_raw_os_error(self.errno))
    }
}

/// A local store whose calls fail as they are told.
#[derive(Debug)]
pub struct FaultyStore {
    pub inner: LocalStore,
    pub faults: Arc<Faults>,
}

impl FaultyStore {
    fn call<T>(&self, action: &str, path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut real = None;
        let done = self.faults.call(path, || {
            work().map_err(|error| {
                real = Some(error);
                io::Error::other("the store's own")
            })
        });
        done.map_err(|e| real.unwrap_or_else(|| Error::io(action, &self.describe(path), &e)))
    }
}

struct FaultyFile {
    inner: Option<Box<dyn Writing>>,
    path: PathBuf,
    faults: Arc<Faults>,
}

impl Writing for FaultyFile {
    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        let inner = self.inner.as_mut().expect("open");
        let done = self.faults.call(&self.path, || inner.write(chunk).map_err(io::Error::other));
        done.map_err(|e| Error::io("write", &self.path, &e))
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let inner = self.inner.as_mut().expect("open");
        let done = self.faults.call(&self.path, || inner.skip(bytes).map_err(io::Error::other));
        done.map_err(|e| Error::io("write", &self.path, &e))
    }

    fn flush(&mut self) -> Result<()> {
        let inner = self.inner.as_mut().expect("open");
        let done = self.faults.call(&self.path, || inner.flush().map_err(io::Error::other));
        done.map_err(|e| Error::io("sync", &self.path, &e))
    }

    fn is_covered(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_covered())
    }

    fn finish(mut self: Box<Self>, attributes: Option<&Attributes>) -> Result<()> {
        let inner = self.inner.take().expect("open");
        let done = self.faults.call(&self.path, || inner.finish(attributes).map_err(io::Error::other));
        done.map_err(|e| Error::io("finish", &self.path, &e))
    }
}

struct FaultyRead {
    inner: Box<dyn Reading>,
    path: PathBuf,
    faults: Arc<Faults>,
}

impl Read for FaultyRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.faults.call(&self.path, || self.inner.read(buffer))
    }
}

impl Reading for FaultyRead {
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        self.faults.call(&self.path, || self.inner.next(buffer))
    }
}

impl Store for FaultyStore {
    fn describe(&self, path: &Path) -> PathBuf {
        self.inner.describe(path)
    }
    fn create(&self, path: &Path) -> Result<Box<dyn Writing>> {
        let inner = Some(self.call("create", path, || self.inner.create(path))?);
        Ok(Box::new(FaultyFile { inner, path: self.describe(path), faults: Arc::clone(&self.faults) }))
    }
    fn go_on(&self, path: &Path, bytes: u64) -> Result<Box<dyn Writing>> {
        let inner = Some(self.call("open", path, || self.inner.go_on(path, bytes))?);
        Ok(Box::new(FaultyFile { inner, path: self.describe(path), faults: Arc::clone(&self.faults) }))
    }
    fn open(&self, path: &Path, offset: u64, fresh: bool) -> Result<Box<dyn Reading>> {
        let inner = self.call("open", path, || self.inner.open(path, offset, fresh))?;
        Ok(Box::new(FaultyRead { inner, path: self.describe(path), faults: Arc::clone(&self.faults) }))
    }
    fn put(&self, path: &Path, content: &[u8], put: Put) -> Result<()> {
        self.call("write", path, || self.inner.put(path, content, put))
    }
    fn make_directory(&self, path: &Path) -> Result<()> {
        self.call("create", path, || self.inner.make_directory(path))
    }
    fn make_link(&self, path: &Path, target: &Path) -> Result<()> {
        self.call("create the link", path, || self.inner.make_link(path, target))
    }
    fn make_hard_link(&self, first: &Path, path: &Path) -> Result<bool> {
        self.call("create the link", path, || self.inner.make_hard_link(first, path))
    }
    fn size(&self, path: &Path) -> Result<Option<u64>> {
        self.call("look at", path, || self.inner.size(path))
    }
    fn node(&self, path: &Path) -> Result<Option<Node>> {
        self.call("look at", path, || self.inner.node(path))
    }
    fn is_same_file(&self, first: &Path, path: &Path) -> Result<bool> {
        self.call("look at", path, || self.inner.is_same_file(first, path))
    }
    fn dress(&self, path: &Path, attributes: &Attributes) -> Result<()> {
        self.call("set the times of", path, || self.inner.dress(path, attributes))
    }
    fn list(&self, path: &Path) -> Result<Vec<Item>> {
        self.call("list", path, || self.inner.list(path))
    }
    fn link_target(&self, path: &Path) -> Result<PathBuf> {
        self.call("read the link", path, || self.inner.link_target(path))
    }
    fn promote(&self, from: &Path, to: &Path) -> Result<()> {
        self.call("publish as", to, || self.inner.promote(from, to))
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.call("remove", path, || self.inner.remove(path))
    }
    fn sweep(&self, path: &Path) -> Result<u64> {
        self.call("list", path, || self.inner.sweep(path))
    }
    fn sync(&self) -> Result<()> {
        self.call("sync", Path::new(""), || self.inner.sync())
    }
    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Held>>> {
        self.call("lock", path, || self.inner.try_lock(path))
    }
    fn try_hold(&self, folder: &Path, alone: bool) -> Result<Option<Box<dyn Held>>> {
        self.call("hold", folder, || self.inner.try_hold(folder, alone))
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        self.call("look at", Path::new(""), || self.inner.free_bytes())
    }
}
