//! The list of a backup that builds on another one is a script: lines of its own, and runs of lines that its parent's list
//! has too, or has and this one has not.

use serde::{Deserialize, Serialize};

use super::file_list::FileLine;
use crate::error::Result;

/// The longest line that can be a run, in bytes.
const RUN_BYTES_MAX: usize = 128;

/// What becomes of the next lines of the parent's list; as a line of `files.jsonl`: `{"type":"same","lines":7}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Run {
    /// So many stand here as they stand there.
    Same {
        /// How many.
        lines: u64,
    },
    /// So many do not stand here.
    Gone {
        /// How many.
        lines: u64,
    },
}

impl Run {
    /// The run that a line is, if it is one: of at least one line.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > RUN_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(text).ok().filter(|run: &Self| run.lines() > 0)
    }

    /// The run as a line, with its line feed.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut text = serde_json::to_vec(&self).expect("a run has only fields that JSON can hold");
        text.push(b'\n');
        text
    }

    /// How many lines of the parent's list it is about.
    pub fn lines(self) -> u64 {
        match self {
            Self::Same { lines } | Self::Gone { lines } => lines,
        }
    }

    /// Both as one, where they say the same of lines that follow each other.
    fn join(self, next: Self) -> Option<Self> {
        let lines = self.lines().checked_add(next.lines())?;
        match (self, next) {
            (Self::Same { .. }, Self::Same { .. }) => Some(Self::Same { lines }),
            (Self::Gone { .. }, Self::Gone { .. }) => Some(Self::Gone { lines }),
            _ => None,
        }
    }
}

/// Where the text of a list goes.
pub type Out<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// Writes a list, with neighbouring runs of one sort as one.
#[derive(Debug, Default)]
pub struct ScriptWriter {
    pending: Option<Run>,
}

impl ScriptWriter {
    /// Says what becomes of the next lines of the parent's list; a run of none says nothing.
    pub fn run(&mut self, run: Run, out: &mut Out) -> Result<()> {
        if run.lines() == 0 {
            return Ok(());
        }
        let joined = self.pending.and_then(|pending| pending.join(run));
        if joined.is_none() {
            self.flush(out)?;
        }
        self.pending = Some(joined.unwrap_or(run));
        Ok(())
    }

    /// Adds a line of its own.
    pub fn line(&mut self, line: &FileLine, out: &mut Out) -> Result<()> {
        self.flush(out)?;
        let mut text = serde_json::to_vec(line).expect("a line has only fields that JSON can hold");
        text.push(b'\n');
        out(&text)
    }

    /// Writes what is left.
    pub fn finish(mut self, out: &mut Out) -> Result<()> {
        self.flush(out)
    }

    fn flush(&mut self, out: &mut Out) -> Result<()> {
        match self.pending.take() {
            Some(run) => out(&run.to_bytes()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_line_and_nothing_else_is_one() {
        let same = Run::Same { lines: 7 };
        assert_eq!(same.to_bytes(), b"{\"type\":\"same\",\"lines\":7}\n");
        for run in [same, Run::Gone { lines: u64::MAX }] {
            assert_eq!(Run::parse(&run.to_bytes()), Some(run));
        }
        let long = format!("{{\"type\":\"same\",\"lines\":7{}}}", " ".repeat(RUN_BYTES_MAX));
        for bad in [
            "",
            "{}",
            r#"{"type":"same"}"#,
            r#"{"type":"same","lines":0}"#,
            r#"{"type":"gone","lines":-1}"#,
            r#"{"type":"gone","lines":18446744073709551616}"#,
            r#"{"type":"same","lines":1,"more":1}"#,
            r#"{"type":"file","lines":1}"#,
            &long,
        ] {
            assert_eq!(Run::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn neighbouring_runs_become_one() {
        let mut text = Vec::new();
        let mut out = |bytes: &[u8]| {
            text.extend_from_slice(bytes);
            Ok(())
        };
        let mut writer = ScriptWriter::default();
        for run in [
            Run::Same { lines: 1 },
            Run::Gone { lines: 0 },
            Run::Same { lines: 2 },
            Run::Gone { lines: 1 },
            Run::Same { lines: u64::MAX },
            Run::Same { lines: 1 },
        ] {
            writer.run(run, &mut out).expect("written");
        }
        writer.finish(&mut out).expect("written");
        let lines: Vec<_> =
            text.split_inclusive(|byte| *byte == b'\n').map(|line| Run::parse(line).expect("a run")).collect();
        let same = |lines| Run::Same { lines };
        assert_eq!(lines, [same(3), Run::Gone { lines: 1 }, same(u64::MAX), same(1)], "nothing overflows");
    }
}
