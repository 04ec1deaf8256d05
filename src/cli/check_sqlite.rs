//! The part of `jetbak check` that is about databases of SQLite.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::engine::contents::find_databases;
use crate::engine::ese::finding::{Finding, Kind, Weight};
use crate::engine::sqlite::check::{Depth, Looked, Verdict, live};
use crate::engine::sqlite::facts::CopyFacts;
use crate::error::{Jet, Result, printable};
use crate::paths;
use crate::protocol::Observer;
use crate::stream::stop::StopToken;
use crate::ui::{Ui, json as objects};

/// What lies in a target.
#[derive(Debug, Default)]
pub struct Target {
    /// Databases of SQLite, absolute.
    pub databases: Vec<PathBuf>,
    /// Nothing of the Extensible Storage Engine was seen beside them.
    pub is_alone: bool,
}

impl Target {
    /// Looks into a directory, or at a file.
    pub fn look(target: &Path, stop: &StopToken) -> Result<Self> {
        let (databases, has_ese) = find_databases(target, stop)?;
        Ok(Self { is_alone: !has_ese && !databases.is_empty(), databases })
    }
}

/// Checks one database, tells what it is, and hands over what is found.
pub fn check(path: &Path, depth: Depth, stop: &StopToken, ui: &mut Ui) -> Result<Vec<Finding>> {
    let file: Arc<Path> = Arc::from(path);
    let Looked { facts, verdict, warning } = match live(path, depth, &std::env::temp_dir(), stop) {
        Ok(looked) => looked,
        Err(error) if stop.cause().is_some() => return Err(error),
        Err(error) => {
            let is_damage = error.jet_code() == Some(Jet::DatabaseCorrupted);
            let weight = if is_damage { Weight::Damage } else { Weight::Failed };
            let kind = if is_damage { Kind::Integrity } else { Kind::Unreadable };
            return Ok(vec![Finding::new(&file, kind, weight, error.jet_code(), error.message())]);
        }
    };
    tell(path, &facts, &verdict, depth, ui);
    let warn = |message: String| Finding::warning(&file, Kind::Integrity, None, message);
    let mut findings: Vec<_> =
        warning.map(|warning| warn(format!("was recovered in a copy: {warning}"))).into_iter().collect();
    match verdict {
        Verdict::Sound => {}
        Verdict::Damaged(found) => {
            let damage = |what| Finding::damage(&file, Kind::Integrity, Jet::DatabaseCorrupted, what);
            findings.extend(found.into_iter().map(damage));
        }
        Verdict::Unknown(why) => {
            findings.push(warn(format!("could not be checked with what SQLite has here: {why}")));
        }
    }
    Ok(findings)
}

fn tell(path: &Path, facts: &CopyFacts, verdict: &Verdict, depth: Depth, ui: &mut Ui) {
    let CopyFacts { page_size, pages, journal_mode, .. } = facts;
    let (word, said) = match verdict {
        Verdict::Sound => ("ok", format!("{} found nothing", depth.name())),
        Verdict::Damaged(_) => ("damaged", format!("{} found damage", depth.name())),
        Verdict::Unknown(_) => ("unknown", format!("{} cannot tell", depth.name())),
    };
    if !ui.is_json() {
        let size = indicatif::BinaryBytes(u64::from(*page_size));
        let name = printable(path);
        ui.said(&format!("{name}: SQLite, journal mode {journal_mode}, {pages} pages of {size}; {said}"));
        return;
    }
    let mut fields = objects::object(json!({
        "type": "checked",
        "unit": "database",
        "page_size": page_size,
        "pages": pages,
        "journal_mode": journal_mode,
        "check": depth.name(),
        "result": word,
    }));
    paths::insert(&mut fields, "file", path);
    ui.json(fields);
}
