//! Where a reader's bytes go that are wanted elsewhere than in the repository: one output.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::{Error, ExitCode, Result};
use crate::stream::earlier::Stored;
use crate::stream::pipeline::{Job, Sink};
use crate::stream::source::Attributes;

/// Where `--out` sends a file.
pub enum Output {
    /// Standard output, or whatever else is open already.
    Stdout(File),
    /// A file that is there whole or not at all.
    File(PathBuf),
    /// A fifo or device: written as a stream, and opened by the thread that writes, because opening may wait.
    Special(PathBuf),
}

/// Writes one file to stdout or to a path.
pub struct OutSink {
    out: Output,
    temporary: Option<(PathBuf, File)>,
}

impl OutSink {
    /// A sink for one file.
    pub fn new(out: Output) -> Self {
        Self { out, temporary: None }
    }
}

impl Sink for OutSink {
    fn begin(&mut self, _: &Job) -> Result<()> {
        if let Output::Special(path) = &self.out {
            let opened = File::options().write(true).open(path).map_err(|e| Error::io("write to", path, &e))?;
            self.out = Output::Stdout(opened);
        }
        let Output::File(target) = &self.out else { return Ok(()) };
        drop(self.temporary.take());
        let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = folder.join(format!("{}{:016x}", durable::TEMPORARY_PREFIX, durable::random()));
        let file = File::create_new(&path).map_err(|e| Error::io("write", target, &e))?;
        self.temporary = Some((path, file));
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        match (&mut self.out, &mut self.temporary) {
            (Output::File(target), Some((_, file))) => {
                file.write_all(chunk).map_err(|e| Error::io("write", target, &e))
            }
            (Output::Stdout(file), _) => {
                file.write_all(chunk).map_err(|e| Error::io("write to", Path::new("stdout"), &e))
            }
            (Output::File(_) | Output::Special(_), _) => {
                Err(Error::new(ExitCode::Failed, "a chunk came before its file"))
            }
        }
    }

    fn skip(&mut self, mut bytes: u64) -> Result<()> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        if let (Output::File(target), Some((_, file))) = (&self.out, &mut self.temporary) {
            // A length of its own, so that a hole at the end is one.
            let place = file.stream_position().and_then(|at| {
                let at = at.saturating_add(bytes);
                file.set_len(at)?;
                file.seek(SeekFrom::Start(at))
            });
            return place.map(drop).map_err(|e| Error::io("write", target, &e));
        }
        while bytes > 0 {
            let now = usize::try_from(bytes).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.write(&ZEROS[..now])?;
            bytes -= now as u64;
        }
        Ok(())
    }

    fn finish(&mut self, _: &Job, _: &Attributes, _: Option<&[u8; 32]>) -> Result<Stored> {
        let (Output::File(target), Some((path, file))) = (&self.out, self.temporary.take()) else {
            return Ok(Stored::default());
        };
        let put = file.sync_all().and_then(|()| std::fs::rename(&path, target));
        if let Err(error) = put {
            let _ = std::fs::remove_file(&path); // the first error is the one to report
            return Err(Error::io("write", target, &error));
        }
        durable::sync_folder(target.parent().unwrap_or(Path::new(".")))?;
        Ok(Stored::default())
    }

    fn abandon(&mut self, _: &Path) -> Result<()> {
        self.take_away();
        Ok(())
    }

    fn directory(&mut self, _: &Path, _: &Attributes) -> Result<()> {
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Path, _: &Attributes) -> Result<()> {
        Ok(())
    }

    fn hard_link(&mut self, _: &Path, _: &Path, _: &Attributes) -> Result<()> {
        Ok(())
    }

    fn can_restart(&self) -> bool {
        matches!(self.out, Output::File(_))
    }
}

impl OutSink {
    fn take_away(&mut self) {
        if let Some((path, _)) = self.temporary.take() {
            let _ = std::fs::remove_file(path); // a temporary file of ours that may be gone
        }
    }
}

impl Drop for OutSink {
    fn drop(&mut self) {
        self.take_away(); // a stop in the middle leaves nothing behind
    }
}
