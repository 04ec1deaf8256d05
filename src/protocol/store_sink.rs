//! The sink of a session with a repository: files whole, with a file of blocks beside large ones, or only what changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::records::below_no_root;
use crate::error::{Error, ExitCode, Result};
use crate::hex::hex;
use crate::repository::blocks::{self, BlocksWriter, Shelf};
use crate::repository::store::{Store, Writing};
use crate::roots::{self, Roots};
use crate::stream::earlier::{Earlier, Stored, Within};
use crate::stream::pipeline::{Job, Sink};
use crate::stream::shared::SharedFile;
use crate::stream::source::{Attributes, Got};
use crate::stream::stop::StopToken;

/// Writes into the folder of a backup to be.
pub struct StoreSink {
    store: Arc<dyn Store>,
    folder: PathBuf,
    roots: Roots,
    shelf: Option<Shelf>,
    /// Whether others wrote files of blocks before: one may be left of a file that is small by now.
    has_blocks: bool,
    taking: Option<Taking>,
}

/// The file that a sink is at.
struct Taking {
    /// Below the folder of the backup, and below `blocks/` there.
    place: PathBuf,
    size: u64,
    /// Bytes to come that are in its place already.
    passes: u64,
    to: To,
}

impl Taking {
    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        let there = usize::try_from(self.passes).map_or(chunk.len(), |passes| passes.min(chunk.len()));
        self.passes -= there as u64;
        if let (true, To::Plain(_, Some(index))) = (there > 0, &mut self.to) {
            index.write(&chunk[..there])?;
        }
        self.to.write(&chunk[there..])
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let there = self.passes.min(bytes);
        self.passes -= there;
        if let (true, To::Plain(_, Some(index))) = (there > 0, &mut self.to) {
            index.skip(there)?;
        }
        if bytes > there { self.to.skip(bytes - there) } else { Ok(()) }
    }
}

/// Where its content goes.
enum To {
    /// Nowhere yet: it is small, and may be what an earlier backup holds.
    Memory(Small),
    /// A file of its own, and its file of blocks.
    Plain(Box<dyn Writing>, Option<Box<BlocksWriter>>),
    /// A file of blocks, as far as it differs from the earlier one.
    Changes(Box<BlocksWriter>),
}

/// Less than [`blocks::BYTES_MIN`] bytes of content.
#[derive(Default)]
struct Small {
    bytes: Vec<u8>,
    /// Holes: before which byte, and how long.
    holes: Vec<(usize, u64)>,
}

impl StoreSink {
    /// A sink for the folder of a backup in a store; the files go below those of their roots.
    ///
    /// With a shelf, that of the same repository, large files get files of blocks, and those of which an earlier backup
    /// has one are compared with that. Later backups can then build on this one.
    pub fn new(store: Arc<dyn Store>, folder: PathBuf, roots: Roots, shelf: Option<Shelf>) -> Self {
        let has_blocks = shelf.is_some() && store.list(&folder.join(blocks::FOLDER)).is_ok();
        Self { store, folder, roots, shelf, has_blocks, taking: None }
    }

    /// Where a file goes, below the folder of the backup.
    fn place(&self, name: &Path) -> Result<PathBuf> {
        let place = self.roots.place(name).and_then(|(root, path)| Some((roots::folder_of(root)?, path)));
        let (root, path) = place.ok_or_else(|| below_no_root(name))?;
        Ok(roots::below(&root, path))
    }

    fn full_place(&self, name: &Path) -> Result<PathBuf> {
        Ok(self.folder.join(self.place(name)?))
    }

    /// The file that was begun.
    fn begun(&mut self) -> Result<&mut Taking> {
        self.taking.as_mut().ok_or_else(|| Error::new(ExitCode::Failed, "content came before its file"))
    }

    /// Gives a file that was held in memory a place, and takes what comes there from now on.
    fn place_small(&mut self) -> Result<()> {
        let (store, folder, of_blocks) = (Arc::clone(&self.store), self.folder.clone(), self.shelf.clone());
        let Taking { place, to, size, .. } = self.begun()?;
        let To::Memory(small) = to else { return Ok(()) };
        let small = std::mem::take(small);
        let index = of_blocks.filter(|_| *size >= blocks::BYTES_MIN);
        let index = index.map(|shelf| Box::new(BlocksWriter::index(&shelf, &folder, place)));
        *to = To::Plain(store.create(&folder.join(&place))?, index);
        small.hand_on(to)
    }

    /// Goes on with a file behind its first bytes; its file of blocks is made anew.
    fn go_on(&self, place: &Path, bytes: u64) -> Result<To> {
        let writing = self.store.go_on(&self.folder.join(place), bytes)?;
        let of_blocks = self.shelf.as_ref().filter(|_| bytes >= blocks::BYTES_MIN);
        let index = of_blocks.map(|shelf| Box::new(BlocksWriter::index(shelf, &self.folder, place)));
        Ok(To::Plain(writing, index))
    }

    /// Takes away what an attempt that is over has left.
    fn take_back(&mut self) -> Result<()> {
        let Some(Taking { place, to, .. }) = self.taking.take() else { return Ok(()) };
        match to {
            To::Memory(_) => {}
            To::Changes(changes) => changes.abandon()?,
            To::Plain(writing, index) => {
                drop(writing);
                index.map_or(Ok(()), |index| index.abandon())?;
                self.store.remove(&self.folder.join(&place))?;
            }
        }
        Ok(())
    }

    /// Leaves nothing under a name, not even what another reader left when it died.
    fn clear(&mut self, place: &Path) -> Result<()> {
        self.take_back()?;
        self.store.remove(&self.folder.join(place))?;
        self.clear_blocks(place)
    }

    fn clear_blocks(&self, place: &Path) -> Result<()> {
        if self.shelf.is_some() { self.store.remove(&blocks::path_of(&self.folder, place)) } else { Ok(()) }
    }

    /// The answer for a file whose content an earlier backup holds.
    fn is_held(&mut self, place: &Path, earlier: &Earlier) -> Result<Stored> {
        self.clear(place)?;
        Ok(Stored { within: earlier.within, blocks: earlier.blocks.clone(), is_earlier: true, bytes: 0 })
    }
}

impl Small {
    fn hand_on(self, to: &mut To) -> Result<()> {
        let mut given = 0;
        for (before, bytes) in self.holes {
            to.write(&self.bytes[given..before])?;
            to.skip(bytes)?;
            given = before;
        }
        to.write(&self.bytes[given..])
    }
}

impl To {
    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        match self {
            Self::Memory(small) => small.bytes.extend(chunk),
            Self::Changes(changes) => return changes.write(chunk).map_err(explain),
            Self::Plain(..) if chunk.is_empty() => {}
            Self::Plain(writing, index) => {
                writing.write(chunk)?;
                return index.as_mut().map_or(Ok(()), |index| index.write(chunk));
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        match self {
            Self::Memory(small) => small.holes.push((small.bytes.len(), bytes)),
            Self::Changes(changes) => return changes.skip(bytes),
            Self::Plain(writing, index) => {
                writing.skip(bytes)?;
                return index.as_mut().map_or(Ok(()), |index| index.skip(bytes));
            }
        }
        Ok(())
    }
}

impl Sink for StoreSink {
    fn begin(&mut self, job: &Job) -> Result<()> {
        self.take_back()?;
        let place = self.place(&job.path)?;
        if let Some(reached) = job.reached.as_ref().filter(|_| job.earlier.is_none()) {
            let to = self.go_on(&place, reached.bytes)?;
            self.taking = Some(Taking { place, size: 0, passes: reached.bytes, to });
            return Ok(());
        }
        let compared = job.earlier.as_ref().filter(|_| job.is_compared());
        let to = match (compared, &self.shelf) {
            (Some(earlier), Some(of_blocks)) => {
                let changes = BlocksWriter::compare(of_blocks, &self.folder, &place, earlier, &job.path);
                To::Changes(Box::new(changes.map_err(explain)?))
            }
            (Some(_), None) => {
                return Err(Error::new(ExitCode::Failed, "a repository without a secret has no files of blocks"));
            }
            (None, None) if job.earlier.is_none() => To::Plain(self.store.create(&self.folder.join(&place))?, None),
            (None, _) => To::Memory(Small::default()),
        };
        self.taking = Some(Taking { place, size: 0, passes: 0, to });
        Ok(())
    }

    fn can_go_on(&mut self) -> bool {
        // What is compared with an earlier backup is gone on with as a whole only.
        matches!(&self.taking, Some(Taking { to: To::Plain(writing, _), .. }) if writing.is_covered())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.grow(chunk.len() as u64)?;
        self.begun()?.write(chunk)
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        self.grow(bytes)?;
        self.begun()?.skip(bytes)
    }

    fn compare(&mut self, file: &SharedFile, stop: &StopToken, took: &mut dyn FnMut(Got)) -> Result<Result<u64>> {
        let Taking { size, to, .. } = self.begun()?;
        *size = file.size();
        match to {
            To::Changes(changes) => changes.compare_shared(file, stop, took).map_err(explain),
            To::Memory(_) | To::Plain(..) => Err(Error::new(ExitCode::Failed, "a file was compared with nothing")),
        }
    }

    fn can_share(&self) -> bool {
        true
    }

    fn finish(&mut self, job: &Job, attributes: &Attributes, sha256: Option<&[u8; 32]>) -> Result<Stored> {
        let Taking { place, size, .. } = self.begun()?;
        let (place, size) = (place.clone(), *size);
        if let Some((earlier, sha256)) = job.earlier.as_ref().zip(sha256)
            && earlier.size == size
            && earlier.sha256.as_ref().is_some_and(|of_earlier| *of_earlier == hex(sha256))
        {
            return self.is_held(&place, earlier);
        }
        self.place_small()?;
        match self.taking.take().map(|taking| taking.to) {
            Some(To::Plain(writing, index)) => {
                writing.finish(Some(attributes))?;
                let Some(index) = index else {
                    if self.has_blocks {
                        self.clear_blocks(&place)?;
                    }
                    return Ok(Stored { bytes: size, ..Stored::default() });
                };
                let facts = index.finish()?.map(|written| written.facts);
                let bytes = size + facts.as_ref().map_or(0, |facts| facts.bytes);
                Ok(Stored { within: Within::Data, blocks: facts, is_earlier: false, bytes })
            }
            Some(To::Changes(changes)) => match (changes.finish().map_err(explain)?, &job.earlier) {
                (Some(written), _) => {
                    let bytes = written.facts.bytes;
                    Ok(Stored { within: Within::Blocks, blocks: Some(written.facts), is_earlier: false, bytes })
                }
                (None, Some(earlier)) => self.is_held(&place, earlier),
                (None, None) => Err(Error::new(ExitCode::Failed, "a file was compared with nothing")),
            },
            Some(To::Memory(_)) | None => Err(Error::new(ExitCode::Failed, "a file ended before it began")),
        }
    }

    fn abandon(&mut self, path: &Path) -> Result<()> {
        let place = self.place(path)?;
        self.clear(&place)
    }

    fn directory(&mut self, path: &Path, _: &Attributes) -> Result<()> {
        // Its mode and time come when it is sealed: files are still to be put into it.
        self.store.make_directory(&self.full_place(path)?)
    }

    fn link(&mut self, path: &Path, target: &Path, attributes: &Attributes) -> Result<()> {
        let path = self.full_place(path)?;
        self.store.make_link(&path, target)?;
        self.store.dress(&path, attributes)
    }

    fn hard_link(&mut self, _: &Path, _: &Path, _: &Attributes) -> Result<()> {
        Ok(()) // made when it is sealed: another reader may have its first name
    }
}

impl StoreSink {
    /// Counts content that is about to come; what is too large to wait in memory gets its place.
    fn grow(&mut self, bytes: u64) -> Result<()> {
        let taking = self.begun()?;
        let waits = taking.size;
        taking.size = waits.saturating_add(bytes);
        if taking.size >= blocks::BYTES_MIN && waits < blocks::BYTES_MIN { self.place_small() } else { Ok(()) }
    }
}

/// Says what to do where the file that is compared with is damaged.
fn explain(error: Error) -> Error {
    if error.exit_code() != ExitCode::Verification || error.advice().is_some() {
        return error;
    }
    error.hint("An earlier backup is damaged: `jetbak verify` tells which. A full backup needs none of them.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use sha2::{Digest, Sha256};
    use tempfile::TempDir;

    use crate::repository::blocks::BlockKey;
    use crate::repository::local::LocalStore;
    use crate::stream::source::Stamp;

    const FULL: &str = "backups/000001-20261122T093015Z-full";
    const NEXT: &str = "backups/000002-20261122T103015Z-incremental";

    /// A repository with room for two backups.
    struct Room {
        folder: TempDir,
        shelf: Shelf,
    }

    impl Room {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary directory");
            let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder.path()).expect("opened"));
            let shelf = Shelf { store, key: BlockKey::draw().expect("drawn"), fresh: false };
            Self { folder, shelf }
        }

        fn sink(&self, backup: &str) -> StoreSink {
            StoreSink::new(Arc::clone(&self.shelf.store), backup.into(), Roots::default(), Some(self.shelf.clone()))
        }

        /// Everything that is a file below the folder of a backup.
        fn files(&self, backup: &str) -> Vec<String> {
            let mut found = Vec::new();
            let mut folders = vec![self.folder.path().join(backup)];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(&folder).into_iter().flatten() {
                    let path = entry.expect("an entry").path();
                    if path.is_dir() {
                        folders.push(path);
                    } else {
                        let name = path.strip_prefix(self.folder.path().join(backup)).expect("below");
                        found.push(name.to_str().expect("UTF-8").to_owned());
                    }
                }
            }
            found.sort();
            found
        }
    }

    fn job(earlier: Option<Earlier>) -> Job {
        let wants_hash = earlier.as_ref().is_none_or(|earlier| earlier.blocks.is_none());
        Job { earlier: earlier.map(Arc::new), wants_hash, ..Job::new(0, Arc::from(Path::new("sub/a.db")), true) }
    }

    fn attributes(size: usize) -> Attributes {
        let stamp = Stamp { device: 0, inode: 0, size: size as u64, modified_ns: 0, changed_ns: 0 };
        Attributes::plain(stamp, 0o644, 0, 0)
    }

    /// Hands a file to a sink as a pipeline does.
    fn store(sink: &mut StoreSink, job: &Job, content: &[u8]) -> Stored {
        sink.begin(job).expect("begun");
        content.chunks(50_000).for_each(|chunk| sink.write(chunk).expect("taken"));
        let sha256: [u8; 32] = Sha256::digest(content).into();
        let sha256 = job.wants_hash.then_some(&sha256);
        sink.finish(job, &attributes(content.len()), sha256).expect("finished")
    }

    fn earlier(stored: &Stored, content: &[u8]) -> Earlier {
        Earlier {
            backup: FULL.strip_prefix("backups/").expect("a backup").to_owned(),
            place: "data/sub/a.db".into(),
            within: stored.within,
            blocks: stored.blocks.clone(),
            size: content.len() as u64,
            sha256: Some(hex(&Sha256::digest(content))),
        }
    }

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from((at / 4096 + at % 251) % 256).expect("a byte") | 1).collect()
    }

    #[test]
    fn a_large_file_has_a_file_of_blocks_and_a_small_one_has_none() {
        let room = Room::new();
        let small = content(65_535);
        let stored = store(&mut room.sink(FULL), &job(None), &small);
        assert_eq!(stored, Stored { bytes: 65_535, ..Stored::default() });
        assert_eq!(room.files(FULL), ["data/sub/a.db"]);
        let large = content(65_536);
        let stored = store(&mut room.sink(FULL), &job(None), &large);
        let facts = stored.blocks.expect("a file of blocks");
        assert_eq!((stored.within, facts.stored, stored.bytes), (Within::Data, 0, 65_536 + facts.bytes));
        assert_eq!(room.files(FULL), ["blocks/data/sub/a.db", "data/sub/a.db"]);
        assert_eq!(fs::read(room.folder.path().join(FULL).join("data/sub/a.db")).expect("read"), large);
        let written = fs::read(room.folder.path().join(FULL).join("blocks/data/sub/a.db")).expect("read");
        assert_eq!((hex(&Sha256::digest(&written)), written.len() as u64), (facts.sha256, facts.bytes));
        // In another session, where it is small again, nothing is left of that.
        store(&mut room.sink(FULL), &job(None), &small);
        assert_eq!(room.files(FULL), ["data/sub/a.db"]);
    }

    #[test]
    fn only_changed_blocks_are_stored_and_nothing_where_nothing_changed() {
        let room = Room::new();
        let mut now = content(300_000);
        let first = store(&mut room.sink(FULL), &job(None), &now);
        let compared = job(Some(earlier(&first, &now)));
        let mut sink = room.sink(NEXT);
        let stored = store(&mut sink, &compared, &now);
        assert_eq!(stored, Stored { is_earlier: true, bytes: 0, ..first });
        assert!(room.files(NEXT).is_empty());
        now[123_456] ^= 0xff;
        let stored = store(&mut sink, &compared, &now);
        let facts = stored.blocks.as_ref().expect("a file of blocks");
        assert_eq!((stored.within, stored.is_earlier, facts.stored), (Within::Blocks, false, 4096));
        assert_eq!(room.files(NEXT), ["blocks/data/sub/a.db"]);
        // It is what it was when it is read again: nothing stays of the attempt before.
        now[123_456] ^= 0xff;
        assert!(store(&mut sink, &compared, &now).is_earlier);
        assert!(room.files(NEXT).is_empty());
    }

    #[test]
    fn a_file_without_blocks_is_compared_as_a_whole() {
        for bytes in [0, 1000, 200_000] {
            let room = Room::new();
            let mut now = content(bytes);
            let first = store(&mut room.sink(FULL), &job(None), &now);
            let compared = job(Some(Earlier { blocks: None, ..earlier(&first, &now) }));
            let mut sink = room.sink(NEXT);
            assert!(store(&mut sink, &compared, &now).is_earlier);
            assert!(room.files(NEXT).is_empty(), "{bytes}");
            now.push(1);
            assert!(!store(&mut sink, &compared, &now).is_earlier);
            assert!(room.files(NEXT).contains(&"data/sub/a.db".to_owned()), "{bytes}");
        }
    }

    #[test]
    fn an_attempt_that_came_to_nothing_leaves_nothing() {
        let room = Room::new();
        let large = content(8 << 20);
        let first = store(&mut room.sink(FULL), &job(None), &large);
        for compared in [job(None), job(Some(earlier(&first, &large)))] {
            let mut sink = room.sink(NEXT);
            sink.begin(&compared).expect("begun");
            sink.write(&vec![9; 6 << 20]).expect("taken");
            sink.abandon(&compared.path).expect("abandoned");
            assert!(room.files(NEXT).is_empty());
            sink.begin(&compared).expect("begun");
            sink.write(&vec![9; 6 << 20]).expect("taken");
            sink.begin(&compared).expect("begun anew");
            assert!(room.files(NEXT).is_empty());
        }
        // Of a file so large that its hashes alone do not wait in memory.
        let mut sink = room.sink(NEXT);
        sink.begin(&job(None)).expect("begun");
        while !room.files(NEXT).contains(&"blocks/data/sub/a.db".to_owned()) {
            for _ in 0..1000 {
                sink.write(&[9; 4096]).expect("taken");
                sink.skip(64 * 4096).expect("skipped");
            }
        }
        sink.begin(&job(None)).expect("begun anew");
        assert!(room.files(NEXT).is_empty());
    }

    #[test]
    fn holes_stay_holes_also_in_small_files() {
        let room = Room::new();
        let mut sink = room.sink(FULL);
        let job = job(None);
        for (begin, hole, end) in [(10, 20_000, 5), (10, 1 << 30, 5), (100_000, 1 << 30, 0), (0, 100, 0)] {
            sink.begin(&job).expect("begun");
            sink.write(&vec![1; begin]).expect("taken");
            sink.skip(hole).expect("skipped");
            sink.write(&vec![2; end]).expect("taken");
            let stored = sink.finish(&job, &attributes(0), Some(&[0; 32])).expect("finished");
            let size = begin as u64 + hole + end as u64;
            assert_eq!(stored.blocks.is_some(), size >= 65_536);
            assert_eq!(stored.bytes - stored.blocks.map_or(0, |facts| facts.bytes), size);
            let file = fs::File::open(room.folder.path().join(FULL).join("data/sub/a.db")).expect("opened");
            assert_eq!(file.metadata().expect("metadata").len(), size);
            let mut bytes = [0; 15];
            std::os::unix::fs::FileExt::read_at(&file, &mut bytes, size.saturating_sub(end as u64)).expect("read");
            assert_eq!(&bytes[..end], &vec![2; end]);
        }
    }
}
