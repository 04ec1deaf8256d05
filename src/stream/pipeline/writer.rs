//! The last stage: hands every file to the sink, and tells the caller what became of it.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use super::message::{Bytes, End, Message, Piece, Shared};
use super::{Finished, Gauge, HOLES_MAX, Job, News, Report, Sink};
use crate::error::{Error, ExitCode, Result};
use crate::stream::buffer::Buffer;
use crate::stream::earlier::Stored;
use crate::stream::source::{Got, Hole};
use crate::stream::stop::StopToken;

/// Hands what comes to the sink; the last stage.
pub(super) struct Writer<S> {
    sink: S,
    stop: StopToken,
    gauge: Arc<Gauge>,
    reports: SyncSender<News>,
    give_back: Sender<Buffer>,
}

/// What the writer knows of the file that it is at.
#[derive(Default)]
struct Progress {
    bytes: u64,
    holes: Option<Vec<Hole>>,
}

impl Progress {
    /// Adds a hole; one that goes on where the last one ended makes that longer.
    fn add_hole(&mut self, bytes: u64) {
        let begin = self.bytes;
        self.bytes += bytes;
        let Some(holes) = &mut self.holes else { return };
        let known = holes.len();
        match holes.last_mut() {
            Some(Hole(at, length)) if *at + *length == begin => *length += bytes,
            _ if known < HOLES_MAX => holes.push(Hole(begin, bytes)),
            _ => self.holes = None,
        }
    }
}

impl<S: Sink> Writer<S> {
    /// Buffers that are written go back through `give_back`.
    pub(super) fn new(
        sink: S,
        stop: StopToken,
        gauge: Arc<Gauge>,
        reports: SyncSender<News>,
        give_back: Sender<Buffer>,
    ) -> Self {
        Self { sink, stop, gauge, reports, give_back }
    }

    /// Works until a stage or the caller goes, the sink fails or a stop comes.
    pub(super) fn run(mut self, input: &Receiver<Vec<Message>>) {
        let mut progress = Progress::default();
        for batch in input {
            let mut reports = Vec::new();
            let mut broken = None;
            for message in batch {
                match self.stop.check().and_then(|()| self.take(message, &mut progress)) {
                    Ok(report) => reports.extend(report),
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
            }
            if !reports.is_empty() && self.reports.send(News::Reports(reports)).is_err() {
                return;
            }
            if let Some(error) = broken {
                let _ = self.reports.send(News::Broken(error)); // without a caller nobody needs to know
                return;
            }
        }
    }

    fn take(&mut self, message: Message, progress: &mut Progress) -> Result<Option<Report>> {
        let without_content = |job: &Job, attributes| Finished {
            ticket: job.ticket,
            bytes: 0,
            stored: Stored::default(),
            earlier: None,
            sha256: None,
            target: None,
            hard_link: None,
            holes: Some(Vec::new()),
            attributes,
        };
        match message {
            Message::Directory(job, attributes) => {
                self.sink.directory(&job.path, &attributes)?;
                Ok(Some(Report::Done(Box::new(without_content(&job, attributes)))))
            }
            Message::Link(job, attributes, target) => {
                self.sink.link(&job.path, &target, &attributes)?;
                Ok(Some(Report::Done(Box::new(Finished { target: Some(target), ..without_content(&job, attributes) }))))
            }
            Message::HardLink(job, attributes, first) => {
                self.sink.hard_link(&job.path, &first, &attributes)?;
                Ok(Some(Report::Done(Box::new(Finished {
                    hard_link: Some(first),
                    ..without_content(&job, attributes)
                }))))
            }
            Message::Failed(job, error) => {
                if job.has_content {
                    self.sink.abandon(&job.path)?; // an earlier attempt may have left something
                }
                Ok(Some(Report::Failed { ticket: job.ticket, error }))
            }
            Message::Piece(piece) => self.take_piece(piece, progress),
            Message::Shared(shared) => self.take_shared(&shared, progress).map(|()| None),
        }
    }

    fn begin(&mut self, job: &Job, progress: &mut Progress) -> Result<()> {
        self.gauge.begin(&job.path);
        self.gauge.bytes.fetch_sub(progress.bytes, Ordering::Relaxed); // an attempt that came to nothing
        *progress = Progress { bytes: 0, holes: Some(Vec::new()) };
        self.sink.begin(job)
    }

    fn take_shared(&mut self, shared: &Shared, progress: &mut Progress) -> Result<()> {
        self.begin(&shared.job, progress)?;
        let gauge = Arc::clone(&self.gauge);
        let read = self.sink.compare(&shared.file, &self.stop, &mut |took| {
            let before = progress.bytes;
            match took {
                Got::Data(bytes) => progress.bytes += bytes as u64,
                Got::Hole(bytes) => progress.add_hole(bytes),
                Got::End => {}
            }
            gauge.bytes.fetch_add(progress.bytes - before, Ordering::Relaxed);
        })?;
        let _ = shared.answer.send(read); // the reader may have gone
        Ok(())
    }

    fn take_piece(&mut self, piece: Piece, progress: &mut Progress) -> Result<Option<Report>> {
        let job = &piece.job;
        if piece.begins {
            self.begin(job, progress)?;
        }
        let chunk = piece.bytes.as_slice();
        if !chunk.is_empty() {
            self.sink.write(chunk)?;
            progress.bytes += chunk.len() as u64;
        }
        if piece.hole > 0 {
            self.sink.skip(piece.hole)?;
            progress.add_hole(piece.hole);
        }
        self.gauge.bytes.fetch_add(chunk.len() as u64 + piece.hole, Ordering::Relaxed);
        if let Bytes::Pooled(buffer, _) = piece.bytes {
            let _ = self.give_back.send(buffer); // the reader may have finished
        }
        match piece.end {
            None => {
                let reached = piece.reached.filter(|_| self.sink.can_go_on());
                Ok(reached.map(|reached| Report::Reached { ticket: job.ticket, reached }))
            }
            Some(End::Still(attributes, sha256)) => {
                if job.wants_hash && sha256.is_none() {
                    return Err(Error::new(ExitCode::Failed, "a file was not hashed"));
                }
                let stored = self.sink.finish(job, &attributes, sha256.as_ref())?;
                let earlier = job.earlier.clone();
                let Progress { bytes, holes } = mem::take(progress);
                let ticket = job.ticket;
                let (target, hard_link) = (None, None);
                let done = Finished { ticket, bytes, stored, earlier, sha256, target, hard_link, holes, attributes };
                Ok(Some(Report::Done(Box::new(done))))
            }
            Some(End::Failed(error)) => {
                self.gauge.bytes.fetch_sub(mem::take(progress).bytes, Ordering::Relaxed);
                self.sink.abandon(&job.path)?;
                Ok(Some(Report::Failed { ticket: job.ticket, error }))
            }
        }
    }
}
