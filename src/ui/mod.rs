//! Who may print what: data on stdout, everything for people on stderr, JSON where it is asked for.

pub mod json;
pub mod progress;
pub mod table;
mod voice;

use std::io::{self, IsTerminal, Write};

use crossterm::style::Stylize;
use serde_json::{Map, Value};

use self::progress::Shown;
use self::voice::{Voice, Words};
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
    /// Lines may be dropped rather than hold up the work.
    pub may_drop: bool,
}

/// Prints for one command.
#[derive(Debug)]
pub struct Ui {
    manner: Manner,
    voice: Voice,
    warnings: u64,
}

impl Ui {
    /// A voice for one command.
    pub fn new(manner: Manner) -> Self {
        let bar = io::stderr().is_terminal() && !is_dumb() && !manner.quiet && !manner.json;
        let lines = !bar && !manner.quiet && !manner.json;
        Self { manner, voice: Voice::start(manner, Shown::new(bar, lines)), warnings: 0 }
    }

    /// Whether answers are JSON.
    pub fn is_json(&self) -> bool {
        self.manner.json
    }

    /// Whether only errors are wanted.
    pub fn is_quiet(&self) -> bool {
        self.manner.quiet
    }

    /// Whether everything is to be named that is odd, and not only the first of it.
    pub fn names_all(&self) -> bool {
        self.manner.json || self.manner.verbose
    }

    /// How many warnings there were.
    pub fn warnings(&self) -> u64 {
        self.warnings
    }

    /// Whether anybody still takes what is printed to stdout; a long listing ends early where nobody does.
    pub fn is_heard(&self) -> bool {
        !self.voice.is_deaf()
    }

    /// One line for people.
    pub fn say(&mut self, text: &str) {
        if !self.manner.quiet && !self.manner.json {
            self.voice.say(Words::People(text.to_owned()));
        }
    }

    /// A line of data.
    pub fn line(&mut self, text: &str) {
        self.voice.say(Words::Data(text.to_owned()));
    }

    /// A JSON object: to stdout, or to stderr where stdout carries data.
    pub fn json(&mut self, object: Map<String, Value>) {
        self.voice.say(Words::Data(Value::Object(object).to_string()));
    }

    /// The JSON object that ends a command's output.
    pub fn json_last(&mut self, object: Map<String, Value>) {
        self.voice.say(Words::Last(Value::Object(object).to_string()));
    }

    /// Takes the bar away; what follows is printed plainly.
    pub fn finish_progress(&mut self) {
        self.voice.say(Words::NoMoreProgress);
    }

    /// An error, for people or as JSON. The error's own advice follows on a line of its own.
    pub fn error(&mut self, error: &anyhow::Error) {
        self.finish_progress();
        if self.manner.json {
            self.json(json::error(error));
            return;
        }
        let prefix = if self.manner.color { "jetbak:".red().bold().to_string() } else { "jetbak:".to_owned() };
        let hint = error.downcast_ref::<Error>().and_then(Error::advice);
        let hint = hint.map(|text| format!("\n{text}")).unwrap_or_default();
        self.voice.say(Words::People(format!("{prefix} {error:#}{hint}")));
    }

    /// Waits until everything is printed, and says how the command ends: a stdout that takes no data makes a failure of
    /// a success. After a stop nobody waits for a terminal that is paused.
    pub fn close(&mut self, exit_code: ExitCode) -> ExitCode {
        let brief = matches!(exit_code, ExitCode::Stopped | ExitCode::Signal(_));
        match self.voice.close(brief) {
            Some(error) => {
                let error = Error::io("write to", std::path::Path::new("stdout"), &error);
                let _ = writeln!(io::stderr(), "jetbak: {error}"); // nobody listens to stderr: nobody can be told
                if exit_code == ExitCode::Done { ExitCode::Failed } else { exit_code }
            }
            None => exit_code,
        }
    }
}

impl Observer for Ui {
    fn progress(&mut self, progress: &Progress) {
        if !self.manner.quiet {
            self.voice.say(Words::Progress(progress.clone()));
        }
    }

    fn warning(&mut self, warning: &Warning) {
        self.warnings += 1;
        if self.manner.json {
            self.json(json::warning(warning));
        } else {
            let number = warning.jet.map(|jet| format!(" [{}, {}]", jet.symbol(), jet.number())).unwrap_or_default();
            self.say(&format!("warning: {}{number}", printable(&warning.message)));
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

/// The exit code of an error, through whatever context it got.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    error.downcast_ref::<Error>().map_or(ExitCode::Failed, Error::exit_code)
}
