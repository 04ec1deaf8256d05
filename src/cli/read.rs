//! `jetbak read`

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::args::{Global, ReadArgs};
use super::open_session;
use super::summary::{Summary, incomplete};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::paths;
use crate::protocol::read::{self, ReadReport};
use crate::protocol::sinks::Output;
use crate::protocol::{Context, exit_of};
use crate::session::event::Outcome;
use crate::session::signals;
use crate::session::state::Call;
use crate::ui::Ui;

pub fn run(global: &Global, args: &ReadArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let (selection, files) = split(args);
    let context = open_session(global, &selection)?;
    signals::install()?;
    let stop = context.session.stop_token()?;
    let started = Instant::now();
    // After a stop that is the answer, whatever the other arguments are worth.
    let judged = context.session.decide(Call::Read).and_then(|_| refuse_empty(&args.files));
    let done = judged.and_then(|()| match &args.out {
        Some(out) => output(out).and_then(|output| match files.as_slice() {
            [file] => read::read_out(&context, file, output, ui, &stop),
            _ => Err(Error::jet(Jet::InvalidParameter, "--out takes exactly one FILE")),
        }),
        None if files.is_empty() => read::read_all(&context, ui, &stop),
        None => read::read_named(&context, &files, ui, &stop),
    });
    Ok(show(&context, done, started, ui))
}

/// With `--session` every name is a file; without it the first one is the storage.
fn split(args: &ReadArgs) -> (super::args::Selection, Vec<PathBuf>) {
    let mut selection = args.selection.clone();
    let mut files = args.files.clone();
    if selection.session.is_some()
        && let Some(first) = selection.storage.take()
    {
        files.insert(0, first);
    }
    (selection, files.iter().map(|file| paths::tidy(file)).collect())
}

/// An empty name, as an unset variable of a script gives it, is not the storage: that is `.`.
fn refuse_empty(names: &[PathBuf]) -> Result<()> {
    if names.iter().all(|name| !name.as_os_str().is_empty()) {
        return Ok(());
    }
    Err(Error::jet(Jet::InvalidParameter, "the name of a file is empty")
        .hint("`jetbak files` prints what can be read; without a name everything is."))
}

fn output(out: &Path) -> Result<Output> {
    if out.as_os_str() != "-" {
        // Through a link to what it means; a device or fifo is written to, never replaced.
        return match out.metadata() {
            Ok(there) if there.is_dir() => {
                Err(Error::jet(Jet::InvalidParameter, format!("{} is a directory", printable(out))).file(out))
            }
            Ok(there) if !there.is_file() => Ok(Output::Special(out.to_owned())),
            _ => Ok(Output::File(out.canonicalize().unwrap_or_else(|_| out.to_owned()))),
        };
    }
    // A handle of its own: bytes go out unbuffered, and a stuck write holds no lock of the standard library.
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    Ok(Output::Stdout(stdout.map_err(|e| Error::io("open", Path::new("stdout"), &e))?.into()))
}

fn show(context: &Context, done: Result<ReadReport>, started: Instant, ui: &mut Ui) -> ExitCode {
    let (report, error) = match done {
        Ok(report) => (report, None),
        Err(error) => (ReadReport::default(), Some(error)),
    };
    let exit_code = error.as_ref().map_or_else(|| exit_of(&report.excluded), Error::exit_code);
    let outcome = match exit_code {
        ExitCode::Done => Outcome::Completed,
        ExitCode::Stopped | ExitCode::Signal(_) => Outcome::Stopped,
        _ if error.is_none() => Outcome::Incomplete,
        _ => Outcome::Failed,
    };
    let left_out = incomplete(&report.excluded, exit_code, "`jetbak end` will publish the others as incomplete.");
    if let Some(error) = error.as_ref().or(left_out.as_ref()) {
        ui.error(&anyhow::Error::new(error.clone()));
    }
    if report.already {
        ui.say("already read");
    } else if error.is_none() || ui.is_json() {
        let summary = Summary {
            command: "read",
            record: Some(context.session.record()),
            options: None,
            outcome,
            exit_code,
            ended: None,
            files: report.files,
            bytes: report.bytes,
            took: started.elapsed(),
            excluded: &report.excluded,
            truncated: 0,
            error: error.as_ref(),
        };
        summary.print(ui);
    }
    exit_code
}
