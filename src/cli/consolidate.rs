//! `jetbak consolidate`

use std::time::Instant;

use indicatif::BinaryBytes;
use serde_json::json;

use super::args::{ConsolidateArgs, Global};
use super::summary::{count, rate, seconds};
use super::{signal_token, state_directory};
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::protocol::consolidate::{self, Answer, Consolidated};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::times;
use crate::ui::{Ui, json as objects};

pub fn run(global: &Global, args: &ConsolidateArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    let (state, stop) = (state_directory(global)?, signal_token()?);
    let (backup, _in_use) = repository.resolve_held(args.id.as_deref().unwrap_or("latest"), &stop)?;
    let started = Instant::now();
    consolidate::warn_of(&backup, ui);
    let answer = consolidate::consolidate(&repository, &backup, &state, ui, &stop);
    ui.finish_progress();
    let answer = answer?;
    let took = started.elapsed();
    if ui.is_json() {
        let made = if let Answer::Made(made) = &answer { Some(made) } else { None };
        let id = match &answer {
            Answer::StandsAlone => &backup.id.text,
            Answer::Before(id) => id,
            Answer::Made(made) => &made.id,
        };
        let mut fields = objects::object(json!({
            "type": "summary",
            "command": "consolidate",
            "outcome": "completed",
            "exit_code": 0,
            "id": id,
            "sequence": made.map(|made| made.sequence),
            "made": made.is_some(),
            "of": backup.id.text,
            "links": made.map(|made| made.links),
            "files": made.map_or(0, |made| made.files),
            "bytes": made.map_or(0, |made| made.bytes),
            "bytes_stored": made.map_or(0, |made| made.bytes_stored),
            "seconds": seconds(took),
            "warnings": ui.warnings(),
        }));
        paths::insert(&mut fields, "repository", repository.root());
        ui.json(fields);
        return Ok(ExitCode::Done);
    }
    match &answer {
        Answer::StandsAlone => ui.say(&format!("{} stands alone as it is: nothing to do", backup.id.text)),
        Answer::Before(id) => ui.say(&format!("{id} was made of {} before: nothing to do", backup.id.text)),
        Answer::Made(made) => tell(made, &backup, &repository, took, ui),
    }
    Ok(ExitCode::Done)
}

fn tell(made: &Consolidated, backup: &Backup, repository: &Repository, took: std::time::Duration, ui: &mut Ui) {
    let Consolidated { id, links, files, bytes, .. } = made;
    let (size, of) = (BinaryBytes(*bytes), &backup.id.text);
    ui.say(&format!(
        "backup {id}: {} ({size}) of {of}, put together from {} in {}{}, and proven",
        count(*files, "file"),
        count(*links as u64, "backup"),
        times::duration(took),
        rate(*bytes, took),
    ));
    ui.say(&format!("it stands alone in {}", printable(repository.root())));
}
