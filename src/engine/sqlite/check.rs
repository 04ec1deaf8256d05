//! Asking SQLite whether a database is sound.

use std::path::Path;

use rusqlite::Connection;

use super::connection::{self, Access, Trouble, failure, interruptibly, trouble};
use super::facts::{CopyFacts, Terms};
use super::private::{Scratch, drain};
use super::source::{Opened, Policy};
use super::view::View;
use crate::engine::ese::at_rest::is_at_rest;
use crate::error::Result;
use crate::stream::stop::StopToken;

/// How many findings SQLite is asked for.
const FINDINGS_MAX: u32 = 100;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every page and record: `PRAGMA quick_check`.
    Quick,
    /// Also every index against its table: `PRAGMA integrity_check`.
    Deep,
}

impl Depth {
    /// What SQLite calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick_check",
            Self::Deep => "integrity_check",
        }
    }
}

/// What SQLite says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is good.
    Sound,
    /// What is not, a hundred findings at most.
    Damaged(Vec<String>),
    /// It cannot be told here, and why: such as a function that only the application has.
    Unknown(String),
}

/// A database that was looked at where it lies.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What it is.
    pub facts: CopyFacts,
    /// What SQLite says.
    pub verdict: Verdict,
    /// What everybody should hear of it.
    pub warning: Option<String>,
}

/// Looks at a stored copy, to which nobody writes; nothing is changed or left beside it.
pub fn stored(path: &Path, depth: Depth, stop: &StopToken) -> Result<Verdict> {
    match connection::open(path, Access::Immutable) {
        Ok(connection) => ask(&connection, depth, stop),
        Err(error) => Ok(verdict(&error)),
    }
}

/// Looks at a database where it lies, whoever writes to it: inside one read transaction in WAL mode, else on a copy below
/// `scratch`, so that nobody waits for more than that.
pub fn live(path: &Path, depth: Depth, scratch: &Path, stop: &StopToken) -> Result<Looked> {
    let policy = Policy {
        terms: Terms::default(),
        scratch: scratch.to_owned(),
        is_at_rest: is_at_rest(path),
        stop: stop.clone(),
    };
    let opened = Opened::open(path, path, None, &policy)?;
    let view = opened.view();
    let mut first_page = vec![0; view.page_size];
    if view.gives_pages {
        view.read(1, &mut first_page).map_err(|e| failure(path, path, &e))?;
    }
    let facts = CopyFacts {
        page_size: u32::try_from(view.page_size).unwrap_or(u32::MAX),
        pages: view.pages,
        journal_mode: View::journal_mode(&first_page).name().to_owned(),
        change_counter: None,
    };
    if !opened.keeps_writers_waiting() {
        view.believe_schema().map_err(|e| failure(path, path, &e))?;
        return Ok(Looked {
            facts,
            verdict: ask(view.connection(), depth, stop)?,
            warning: opened.warning().map(str::to_owned),
        });
    }
    let copy = Scratch::create(scratch, view.bytes())?;
    drain(view, path, &copy.database(), &|| stop.check())?;
    view.end();
    drop(opened);
    Ok(Looked { facts, verdict: stored(&copy.database(), depth, stop)?, warning: None })
}

/// How much of what SQLite finds in one database is told.
const FOUND_MAX: usize = 10;

/// Runs the check, and interrupts it when somebody asks to stop.
fn ask(connection: &Connection, depth: Depth, stop: &StopToken) -> Result<Verdict> {
    Ok(match interruptibly(connection, stop, || findings(connection, depth))? {
        Ok(said) if said == ["ok"] => Verdict::Sound,
        Ok(said) => Verdict::Damaged(in_short(&said)),
        Err(error) => verdict(&error),
    })
}

fn findings(connection: &Connection, depth: Depth) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA {}({FINDINGS_MAX})", depth.name()))?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

/// What SQLite found, a line each, without its headings; of many the first few.
fn in_short(said: &[String]) -> Vec<String> {
    let lines = said.iter().flat_map(|row| row.lines()).filter(|line| !line.starts_with("***"));
    let lines: Vec<_> = lines.map(str::to_owned).collect();
    let (first, more) = lines.split_at(lines.len().min(FOUND_MAX));
    let mut short = first.to_vec();
    short.extend((!more.is_empty()).then(|| format!("and {} more", more.len())));
    short
}

fn verdict(error: &rusqlite::Error) -> Verdict {
    match trouble(error) {
        Trouble::Damaged => Verdict::Damaged(vec![error.to_string()]),
        _ => Verdict::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_told_a_line_each_and_cut_short() {
        let row = |pages: u32| {
            (1..=pages)
                .fold("*** in database main ***".to_owned(), |row, page| format!("{row}\nPage {page}: never used"))
        };
        assert_eq!(in_short(&[row(2)]), ["Page 1: never used", "Page 2: never used"]);
        let short = in_short(&[row(60), row(52)]);
        assert_eq!((short.len(), short[10].as_str()), (11, "and 102 more"));
    }
}
