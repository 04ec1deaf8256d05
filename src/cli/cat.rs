//! `jetbak cat`

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::args::CatArgs;
use super::show::{manifest, named, with_hint};
use super::show_files::{files_hint, unknown};
use super::summary::seconds;
use super::{signal_token, verify};
use crate::engine::Role;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::hex::hex;
use crate::paths;
use crate::protocol::sinks::{OutSink, Output};
use crate::protocol::{Activity, Observer, Progress};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::content::Contents;
use crate::repository::file_list::FileLine;
use crate::repository::list_reader::read_proven;
use crate::repository::verify::{Tally, check_content, with_progress};
use crate::stream::pipeline::{self, CHUNK_BYTES, Feed, Gauge, Job, Policy, Report};
use crate::stream::source::Opened;
use crate::stream::stop::StopToken;
use crate::ui::{Ui, json as objects};

pub fn run(args: &CatArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let repository = Repository::open(&args.repository)?;
    let stop = signal_token()?;
    let (backup, _in_use) = repository.resolve_held(&args.id, &stop)?;
    let wanted = Wanted { repository: &repository, backup: &backup, path: paths::tidy(&args.path) };
    let gauge = Arc::new(Gauge::default());
    let done = wanted.write(&gauge, &stop, ui);
    let exit_code = done.as_ref().map_or_else(Error::exit_code, |_| ExitCode::Done);
    if let Err(error) = &done {
        ui.error(&error.clone().into());
    }
    if ui.is_json() {
        let mut fields = objects::object(json!({
            "type": "summary",
            "command": "cat",
            "outcome": match exit_code {
                ExitCode::Done => "completed",
                ExitCode::Signal(_) => "stopped",
                _ => "failed",
            },
            "exit_code": exit_code.number(),
            "id": backup.id.text,
            "sequence": backup.id.sequence,
            "sha256": done.as_ref().ok(),
            "bytes": gauge.bytes(),
            "seconds": seconds(started.elapsed()),
            "warnings": ui.warnings(),
        }));
        paths::insert(&mut fields, "repository", repository.root());
        paths::insert(&mut fields, "path", &wanted.path);
        ui.json_last(fields);
    }
    Ok(exit_code)
}

/// One file of one backup.
struct Wanted<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    path: PathBuf,
}

impl Wanted<'_> {
    /// Proves the list, then the file, and only then writes it; its hash goes back.
    fn write(&self, gauge: &Arc<Gauge>, stop: &StopToken, ui: &mut Ui) -> Result<Option<String>> {
        let line = self.find(stop)?;
        self.refuse_other_than_files(&line)?;
        self.prove(&line, stop, ui)?;
        ui.finish_progress();
        self.stream(&line, gauge, stop)
    }

    /// The file's line, once the whole list is proven.
    fn find(&self, stop: &StopToken) -> Result<FileLine> {
        let mut found = None;
        let manifest = manifest(self.repository, self.backup)?;
        let chain = self.repository.chain(self.backup).map_err(|error| self.told(error))?;
        let read = read_proven(self.repository.store(), &chain, &mut |resolved| {
            stop.check()?;
            if resolved.line.name(&manifest.roots).as_ref() == Some(&self.path) {
                found.get_or_insert(resolved.line);
            }
            Ok(ControlFlow::Continue(()))
        });
        read.map_err(|error| if stop.cause().is_some() { error } else { self.told(error) })?;
        found.ok_or_else(|| {
            let is_below_none = self.path.is_absolute() && manifest.roots.place(&self.path).is_none();
            let hint = if is_below_none { "Paths are those below the storage. " } else { "" };
            let hint = format!("{hint}{}", files_hint(self.repository, self.backup));
            unknown(self.backup, &self.path).hint(hint)
        })
    }

    fn refuse_other_than_files(&self, line: &FileLine) -> Result<()> {
        let what = match line.role {
            Role::Directory => "a directory".to_owned(),
            Role::Link => format!("a link to {}", printable(line.target().unwrap_or_default())),
            _ => return Ok(()),
        };
        let name = named(&self.path);
        let message = format!("{} is {what}, and has no content", printable(name));
        Err(Error::jet(Jet::InvalidParameter, message).file(name).hint(files_hint(self.repository, self.backup)))
    }

    /// Reads the file to its end, and demands the size and the hash of the list.
    fn prove(&self, line: &FileLine, stop: &StopToken, ui: &mut Ui) -> Result<()> {
        let (contents, tally) = (self.contents(), Tally::default());
        let mut damages = Vec::new();
        with_progress(
            stop,
            false,
            None,
            &tally,
            |how| check_content(&contents, line, &mut vec![0; CHUNK_BYTES], how),
            &mut |damage| damages.extend(Some(damage).filter(|damage| !damage.is_known)),
            &mut |tally| {
                let (bytes_done, bytes_total) = (tally.bytes(), line.size);
                ui.progress(&Progress { activity: Activity::Verifying, file: None, bytes_done, bytes_total });
            },
        )?;
        match damages.first() {
            None => Ok(()),
            Some(damage) => Err(self.damaged(&verify::describe(self.backup, damage))),
        }
    }

    /// Writes the file and hashes it again on the way. A reader that leaves early has what it wanted.
    fn stream(&self, line: &FileLine, gauge: &Arc<Gauge>, stop: &StopToken) -> Result<Option<String>> {
        let feed =
            OneFile { contents: self.contents(), line: line.clone(), path: Some(Arc::from(self.path.as_path())) };
        // A handle of its own: bytes go out unbuffered, and a stuck write holds no lock of the standard library.
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.map_err(|e| Error::io("open", Path::new("stdout"), &e))?;
        let sink = OutSink::new(Output::Stdout(stdout.into()));
        let policy = Policy { keep_going: false, retries: 0 };
        let (mut written, mut failed) = (None, None);
        let mut hear = |report| {
            match report {
                Report::Done(done) => written = done.sha256.map(|sha256| (hex(&sha256), done.bytes)),
                Report::Failed { error, .. } => failed = Some(error),
                Report::Repeating { .. } | Report::Reached { .. } => {}
            }
            Ok(())
        };
        match pipeline::run(feed, sink, stop, gauge, policy, &mut hear, &mut || Ok(())) {
            Err(error) if error.is_closed_pipe() => return Ok(line.sha256.clone()),
            ran => ran?,
        }
        match failed {
            Some(error) if error.exit_code() != ExitCode::Verification => return Err(self.told(error)),
            _ => {}
        }
        // What is put together without a hash of the whole is proven block by block.
        let is_good = |(sha256, bytes): &(String, u64)| {
            *bytes == line.size && line.sha256.as_ref().is_none_or(|stored| stored == sha256)
        };
        let Some((sha256, _)) = written.filter(is_good) else {
            let what = format!("{}: it was good, and was not any more when it was written", printable(&self.path));
            return Err(self.damaged(&what));
        };
        Ok(Some(sha256))
    }

    fn contents(&self) -> Contents {
        Contents::new(self.repository, &self.backup.folder())
    }

    fn damaged(&self, message: &str) -> Error {
        self.told(Error::new(ExitCode::Verification, message).file(&self.path))
    }

    fn told(&self, error: Error) -> Error {
        with_hint(error, self.repository, self.backup)
    }
}

/// Feeds one stored file.
struct OneFile {
    contents: Contents,
    line: FileLine,
    path: Option<Arc<Path>>,
}

impl Feed for OneFile {
    fn next(&mut self) -> Result<Option<Job>> {
        Ok(self.path.take().map(|path| Job::new(0, path, true)))
    }

    fn open(&mut self, _: &Job) -> Result<Opened> {
        Ok(Opened::Data(self.contents.open(&self.line)?))
    }
}
