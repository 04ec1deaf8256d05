//! Checkpoints, flush maps and patch files on their way into a backup: what goes through is what was judged, and the pages
//! of a flush map are proven. No restore fails for one of them, so that damage is told and refuses none (decisions 5, 8).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::prove::{Flaw, Prover, What};
use crate::error::{Result, printable};
use crate::stream::kept::KeptCopy;
use crate::stream::source::{Got, Proof, Settled, Source, Stamp};

/// Things to say of one file at most; the rest is counted.
const NOTICES_MAX: usize = 20;

/// A file whose beginning was judged, and that must still begin so when it is read.
pub struct BesideSource {
    inner: Box<dyn Source>,
    path: PathBuf,
    /// How it began when it was judged.
    head: Vec<u8>,
    at: u64,
    /// What went through is something else.
    is_other: bool,
    prover: Option<Prover>,
    notices: Vec<String>,
    more: u64,
}

impl BesideSource {
    /// Wraps a source; `head` is how its file begins.
    pub fn new(inner: Box<dyn Source>, path: &Path, head: Vec<u8>) -> Self {
        let path = path.to_owned();
        Self { inner, path, head, at: 0, is_other: false, prover: None, notices: Vec::new(), more: 0 }
    }

    /// The same for a flush map of so many bytes: its pages are proven as well.
    #[must_use]
    pub fn proving_pages(self, size: u64) -> Self {
        Self { prover: Some(Prover::new(What::FlushMap, size, false)), ..self }
    }

    /// The same, with something to say of it.
    #[must_use]
    pub fn saying(mut self, what: Option<String>) -> Self {
        self.notices.extend(what);
        self
    }

    /// Compares what went through with what was judged.
    fn compare(&mut self, bytes: &[u8]) {
        let judged = usize::try_from(self.at).ok().and_then(|at| self.head.get(at..)).unwrap_or_default();
        let length = judged.len().min(bytes.len());
        self.is_other |= judged[..length] != bytes[..length];
        self.at += bytes.len() as u64;
    }

    fn prove(&mut self, feed: impl FnOnce(&mut Prover, &mut dyn FnMut(Flaw))) {
        let Self { prover: Some(prover), notices, more, path, .. } = self else { return };
        feed(prover, &mut |flaw| {
            if notices.len() < NOTICES_MAX {
                notices.push(format!("page {} of {} {}", flaw.number, printable(&*path), flaw.kind.describe()));
            } else {
                *more += 1;
            }
        });
    }
}

impl Source for BesideSource {
    fn stamp(&self) -> Option<Stamp> {
        self.inner.stamp()
    }

    fn begin_with(&mut self, copy: Box<dyn KeptCopy>, bytes: u64) -> bool {
        self.inner.begin_with(copy, bytes)
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
        static ZEROS: [u8; 4096] = [0; 4096];
        let got = self.inner.next(buffer)?;
        match got {
            Got::Data(length) => {
                self.compare(&buffer[..length]);
                self.prove(|prover, report| prover.feed(&buffer[..length], report));
            }
            Got::Hole(length) => {
                let end = self.at.saturating_add(length);
                while self.at < end.min(self.head.len() as u64) {
                    let now = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(ZEROS.len());
                    self.compare(&ZEROS[..now]);
                }
                self.at = end;
                self.prove(|prover, report| prover.skip(length, report));
            }
            Got::End => {}
        }
        Ok(got)
    }

    fn finish(mut self: Box<Self>) -> Result<Settled> {
        if self.more > 0 {
            let message = format!("{} more pages of {} do not prove themselves", self.more, printable(&self.path));
            self.notices.push(message);
        }
        Ok(match self.inner.finish()? {
            Settled::Still(_) if self.is_other => {
                Settled::Changed("its content was another one a moment before".to_owned())
            }
            Settled::Still(mut attributes) => {
                attributes.proof = Some(Arc::new(Proof { notices: self.notices, ..Proof::default() }));
                Settled::Still(attributes)
            }
            changed @ (Settled::Changed(_) | Settled::Disturbed(_)) => changed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::source::Attributes;

    /// Gives these pieces: bytes, or a hole.
    struct Pieces(Vec<Result<Vec<u8>, u64>>);

    impl Source for Pieces {
        fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
            Ok(match self.0.pop() {
                Some(Ok(bytes)) => {
                    buffer[..bytes.len()].copy_from_slice(&bytes);
                    Got::Data(bytes.len())
                }
                Some(Err(hole)) => Got::Hole(hole),
                None => Got::End,
            })
        }

        fn finish(self: Box<Self>) -> Result<Settled> {
            let stamp = Stamp { device: 1, inode: 1, size: 0, modified_ns: 0, changed_ns: 0 };
            Ok(Settled::Still(Attributes::plain(stamp, 0, 0, 0)))
        }
    }

    fn is_still(mut pieces: Vec<Result<Vec<u8>, u64>>, head: &[u8]) -> bool {
        pieces.reverse();
        let mut source = BesideSource::new(Box::new(Pieces(pieces)), Path::new("edb.chk"), head.to_vec());
        while source.next(&mut [0; 8192]).expect("read") != Got::End {}
        matches!(Box::new(source).finish().expect("finished"), Settled::Still(_))
    }

    #[test]
    fn what_goes_through_is_what_was_judged() {
        assert!(is_still(vec![Ok(b"check".to_vec()), Ok(b"point".to_vec())], b"checkpoint"));
        assert!(is_still(vec![Ok(b"checkpoint, and more".to_vec())], b"checkpoint"));
        assert!(!is_still(vec![Ok(b"check".to_vec()), Ok(b"paint".to_vec())], b"checkpoint"));
        let mut head = vec![0; 8192];
        head[8191] = 7;
        let last = |byte| vec![Err(8191), Ok(vec![byte]), Err(1 << 60)];
        assert!(is_still(last(7), &head));
        assert!(!is_still(last(8), &head));
        assert!(!is_still(vec![Err(1 << 60)], &head));
    }
}
