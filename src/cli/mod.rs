//! The command line: arguments in, core called, result shown. One file a command.

pub mod args;
mod backup;
mod begin;
mod cat;
mod check;
mod check_sqlite;
mod consolidate;
mod documents;
mod end;
mod files;
mod inspect;
mod list;
mod logs;
mod pin;
mod prune;
mod read;
mod restore;
mod restore_delta;
pub mod session_args;
mod shell;
mod show;
mod show_files;
mod show_tree;
mod status;
mod stop;
mod summary;
mod tag;
mod truncate;
mod verify;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use self::args::{Cli, Color, Command, Global, Selection};
use crate::error::{Error, ExitCode, Jet, Result};
use crate::protocol::Context;
use crate::session::directory::{StateDirectory, Which};
use crate::session::signals;
use crate::stream::stop::{Cause, StopToken};
use crate::ui::{Manner, Ui, wants_color};

/// Runs a command line and says how the process is to end.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    match parse(&arguments) {
        Ok(cli) => run(&cli),
        Err(error) => explain(&error, &arguments),
    }
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    // A flag wins over the environment; clap would take the two for a conflict.
    if let Some(("begin", begin)) = matches.subcommand()
        && begin.get_flag("no_repository")
        && begin.value_source("to") == Some(ValueSource::CommandLine)
    {
        let message = "--no-repository cannot be used with --to";
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, message));
    }
    Cli::from_arg_matches(&matches)
}

fn run(cli: &Cli) -> ExitCode {
    let mut ui = Ui::new(manner(cli));
    let global = &cli.global;
    let done = match &cli.command {
        Command::Backup(args) => backup::run(global, args, &mut ui),
        Command::Begin(args) => begin::run(global, args, &mut ui),
        Command::Files(args) => files::run(global, args, &mut ui),
        Command::Read(args) => read::run(global, args, &mut ui),
        Command::Truncate(args) => truncate::run(global, args, &mut ui),
        Command::End(args) => end::run(global, args, &mut ui),
        Command::Stop(args) => stop::run(global, args, &mut ui),
        Command::Status(args) => status::run(global, args, &mut ui),
        Command::List(args) => list::run(args, &mut ui),
        Command::Show(args) => show::run(args, &mut ui),
        Command::Cat(args) => cat::run(args, &mut ui),
        Command::Verify(args) => verify::run(args, &mut ui),
        Command::Consolidate(args) => consolidate::run(global, args, &mut ui),
        Command::Prune(args) => prune::run(global, args, &mut ui),
        Command::Tag(args) => tag::run(args, &mut ui),
        Command::Pin(args) => pin::pin(args, &mut ui),
        Command::Unpin(args) => pin::unpin(args, &mut ui),
        Command::Restore(args) => restore::run(global, args, &mut ui),
        Command::Check(args) => check::run(args, &mut ui),
        Command::Logs(args) => logs::run(args, &mut ui),
        Command::Inspect(args) => inspect::run(args, &mut ui),
        Command::Completions(args) => documents::completions(args),
        Command::Man(args) => documents::man(args),
    };
    let exit_code = done.unwrap_or_else(|error| {
        ui.error(&error);
        crate::ui::exit_code(&error)
    });
    ui.close(exit_code)
}

fn manner(cli: &Cli) -> Manner {
    let data_on_stdout = match &cli.command {
        Command::Read(args) => args.out.as_deref().is_some_and(|path| path.as_os_str() == "-"),
        Command::Cat(_) => true,
        _ => false,
    };
    let color = match cli.global.color {
        Color::Auto => None,
        Color::Always => Some(true),
        Color::Never => Some(false),
    };
    Manner {
        json: cli.global.json,
        quiet: cli.global.quiet,
        verbose: cli.global.verbose,
        color: wants_color(color),
        data_on_stdout,
        may_drop: matches!(&cli.command, Command::Backup(_) | Command::Read(_)),
    }
}

/// What clap has to say: help and version are answers, everything else is a wrong command line.
fn explain(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.exit_code() == 0 {
        let _ = error.print(); // a closed pipe: nobody listens
        return ExitCode::Done;
    }
    if !arguments.iter().any(|argument| argument == "--json") {
        let _ = error.print(); // likewise
        return ExitCode::Usage;
    }
    let text = error.render().to_string();
    let message = text.trim_start_matches("error: ").lines().next().unwrap_or("the command line is wrong");
    let typed = Error::new(ExitCode::Usage, message).hint("`jetbak --help` shows the command line.");
    let data_on_stdout = arguments.iter().any(|argument| argument == "--out=-")
        || is_cat(arguments)
        || arguments.windows(2).any(|pair| pair[0] == "--out" && pair[1] == "-");
    let manner = Manner { json: true, quiet: false, verbose: false, color: false, data_on_stdout, may_drop: false };
    let mut ui = Ui::new(manner);
    ui.error(&typed.into());
    ui.close(ExitCode::Usage)
}

/// Whether a command line that clap refuses was to be `cat`: its first word that belongs to no option.
fn is_cat(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        if word == "--state-dir" || word == "--color" {
            words.next();
        } else if !word.as_encoded_bytes().starts_with(b"-") {
            return word == "cat";
        }
    }
    false
}

fn state_directory(global: &Global) -> Result<StateDirectory> {
    StateDirectory::choose(global.state_dir.clone().filter(|path| !path.as_os_str().is_empty()))
}

impl Selection {
    fn which(&self) -> Result<Which> {
        match (&self.session, &self.storage) {
            (Some(id), _) => Ok(Which::Id(id.clone())),
            (None, Some(storage)) => Ok(Which::Storage(storage.clone())),
            (None, None) => Err(Error::jet(Jet::InvalidParameter, "name a storage, or a session with --session")),
        }
    }

    fn refuse_both(&self) -> Result<()> {
        if self.session.is_some() && self.storage.is_some() {
            let message = "name the storage or the session, not both";
            return Err(Error::jet(Jet::InvalidParameter, message));
        }
        Ok(())
    }
}

/// The session that is meant, with what its calls need; -520 where there is none.
fn open_session(global: &Global, selection: &Selection) -> Result<Context> {
    let state = state_directory(global)?;
    let session = state.require(&selection.which()?)?;
    Ok(Context::open(state, session))
}

/// From here a signal asks instead of killing; the token fires on it.
fn signal_token() -> Result<StopToken> {
    signals::install()?;
    Ok(StopToken::new(|| signals::pending().map(Cause::Signal)))
}
