//! `jetbak truncate`

use std::path::PathBuf;

use indicatif::BinaryBytes;
use serde_json::json;

use super::args::{Global, TruncateArgs};
use super::open_session;
use super::summary::count;
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::protocol::truncate::{self, Truncated};
use crate::session::signals;
use crate::ui::table::{Align, table};
use crate::ui::{Ui, json as objects};

pub fn run(global: &Global, args: &TruncateArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    args.selection.refuse_both()?;
    let context = open_session(global, &args.selection)?;
    if args.dry_run {
        let would = truncate::dry_run(&context, ui)?;
        show(&would, ExitCode::Done, ui);
        return Ok(ExitCode::Done);
    }
    signals::install()?;
    let stop = context.session.stop_token()?;
    let (done, failure) = truncate::truncate(&context, ui, &stop)?;
    let exit_code = failure.as_ref().map_or(ExitCode::Done, crate::error::Error::exit_code);
    if let Some(failure) = failure {
        ui.error(&failure.into());
    }
    show(&done, exit_code, ui);
    Ok(exit_code)
}

fn show(done: &Truncated, exit_code: ExitCode, ui: &mut Ui) {
    ui.finish_progress();
    if !ui.is_json() {
        if done.dry_run {
            show_going(done, ui);
        }
        say(done, ui);
        return;
    }
    let mut fields = objects::object(json!({
        "type": "truncate",
        "dry_run": done.dry_run,
        "bytes": done.bytes,
        "why": done.why,
        "exit_code": exit_code.number(),
        "id": done.published.as_ref().map(|published| published.id.clone()),
    }));
    for (key, logs) in [("deleted", &done.deleted), ("missing", &done.missing), ("remaining", &done.remaining)] {
        paths::insert_list(&mut fields, key, logs);
    }
    ui.json(fields);
}

/// A line for each log that would go, with the reason behind it.
fn show_going(would: &Truncated, ui: &mut Ui) {
    let row = |(log, why): (&PathBuf, &String)| vec![printable(log), why.clone()];
    let rows: Vec<_> = would.deleted.iter().zip(&would.why).map(row).collect();
    for line in table(&[("", Align::Left), ("", Align::Left)], &rows).iter().skip(1) {
        ui.line(line);
    }
}

/// The few words for people.
pub fn say(done: &Truncated, ui: &mut Ui) {
    ui.finish_progress();
    let bytes = BinaryBytes(done.bytes);
    let stay = done.remaining.len();
    if done.are_emptied {
        let logs = count(done.deleted.len() as u64, "write-ahead log");
        let (published, would) = (&done.published, if done.dry_run { "would be emptied" } else { "emptied" });
        if let Some(published) = published.as_ref().filter(|_| !done.dry_run) {
            ui.say(&format!("published and proven: {}", published.id));
        }
        ui.say(&format!("{logs} {would}, {bytes} written into their databases"));
        return;
    }
    let logs = count(done.deleted.len() as u64, "log");
    if done.dry_run {
        ui.say(&format!("{logs} ({bytes}) would be deleted, {stay} would stay"));
        return;
    }
    if let Some(published) = &done.published {
        ui.say(&format!("published and proven: {}", published.id));
    }
    let missing = match done.missing.len() {
        0 => String::new(),
        gone => format!(", {gone} had gone before"),
    };
    let verb = if stay == 1 { "stays" } else { "stay" };
    // Elsewhere than in the storage: with the live instance, or on a volume of their own.
    let elsewhere = done.deleted.first().filter(|path| path.is_absolute()).and_then(|path| path.parent());
    let place = elsewhere.map_or_else(String::new, |folder| format!(" in {}", printable(folder)));
    ui.say(&format!("deleted {logs} ({bytes}){place}, {stay} {verb}{missing}"));
}
