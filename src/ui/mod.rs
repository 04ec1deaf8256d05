//! Who may print what: data on stdout, everything for people on stderr, JSON where it is asked for.

pub mod json;
pub mod progress;
pub mod table;

use std::io::{self, IsTerminal, Write};

use crossterm::style::Stylize;
use serde_json::{Map, Value};

use self::progress::Shown;
use crate::error::{Error, ExitCode, printable};
use crate::protocol::{Observer, Progress, Warning};

/// How much to say, and how.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Manner {
    /// JSON instead of text.
    pub json: bool,
    /// Errors only.
    pub quiet: bool,
    /// Also what was decided.
    pub verbose: bool,
    /// Colour on stderr.
    pub color: bool,
    /// Stdout carries file content: JSON goes to stderr.
    pub data_on_stdout: bool,
}

/// Prints for one command.
#[derive(Debug)]
pub struct Ui {
    manner: Manner,
    shown: Shown,
    warnings: u64,
    /// Whoever read stdout has gone.
    deaf: bool,
}

impl Ui {
    /// A voice for one command.
    pub fn new(manner: Manner) -> Self {
        let bar = io::stderr().is_terminal() && !is_dumb() && !manner.quiet && !manner.json;
        let lines = !bar && !manner.quiet && !manner.json;
        Self { manner, shown: Shown::new(bar, lines), warnings: 0, deaf: false }
    }

    /// Whether answers are JSON.
    pub fn is_json(&self) -> bool {
        self.manner.json
    }

    /// How many warnings there were.
    pub fn warnings(&self) -> u64 {
        self.warnings
    }

    /// One line for people.
    pub fn say(&mut self, text: &str) {
        if !self.manner.quiet && !self.manner.json {
            self.shown.print(text);
        }
    }

    /// A line of data. Once whoever read stdout has gone, lines are dropped: the command still ends as it should.
    pub fn line(&mut self, text: &str) -> anyhow::Result<()> {
        if self.deaf {
            return Ok(());
        }
        match write_stdout(text) {
            Err(error) if is_closed_pipe(&error) => self.deaf = true,
            written => written.map_err(|e| Error::io("write to", std::path::Path::new("stdout"), &e))?,
        }
        Ok(())
    }

    /// A JSON object: to stdout, or to stderr where stdout carries data.
    pub fn json(&mut self, object: Map<String, Value>) -> anyhow::Result<()> {
        let text = Value::Object(object).to_string();
        if !self.manner.data_on_stdout {
            return self.line(&text);
        }
        let _ = writeln!(io::stderr(), "{text}"); // nobody listens to stderr: nobody can be told
        Ok(())
    }

    /// Takes the bar away; what follows is printed plainly.
    pub fn finish_progress(&mut self) {
        self.shown.finish();
    }

    /// An error, for people or as JSON. The error's own advice follows on a line of its own.
    pub fn error(&mut self, error: &anyhow::Error) {
        self.shown.finish();
        if self.manner.json {
            let _ = self.json(json::error(error)); // the exit code tells all the same
            return;
        }
        let prefix = if self.manner.color { "jetbak:".red().bold().to_string() } else { "jetbak:".to_owned() };
        let _ = writeln!(io::stderr(), "{prefix} {error:#}"); // nobody listens to stderr: nobody can be told
        if let Some(hint) = error.downcast_ref::<Error>().and_then(Error::advice) {
            let _ = writeln!(io::stderr(), "{hint}"); // likewise
        }
    }
}

impl Observer for Ui {
    fn progress(&mut self, progress: &Progress) {
        if self.manner.json {
            if let Some(object) = self.shown.json(progress) {
                let _ = self.json(object); // the backup goes on, heard or not
            }
        } else {
            self.shown.show(progress);
        }
    }

    fn warning(&mut self, warning: &Warning) {
        self.warnings += 1;
        if self.manner.json {
            let _ = self.json(json::warning(warning)); // likewise
        } else if !self.manner.quiet {
            let number = warning.jet.map(|jet| format!(" [{}, {}]", jet.symbol(), jet.number())).unwrap_or_default();
            self.shown.print(&format!("warning: {}{number}", printable(&warning.message)));
        }
    }

    fn decided(&mut self, what: &str) {
        if self.manner.verbose {
            self.say(what);
        }
    }

    fn said(&mut self, what: &str) {
        self.say(what);
    }
}

/// Whether colour is wanted on stderr.
pub fn wants_color(choice: Option<bool>) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    choice.unwrap_or_else(|| io::stderr().is_terminal() && !set("NO_COLOR") && !is_dumb())
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Writes one line to stdout.
pub fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}

fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// The exit code of an error, through whatever context it got.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    error.downcast_ref::<Error>().map_or(ExitCode::Failed, Error::exit_code)
}
