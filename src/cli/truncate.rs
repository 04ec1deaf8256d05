//! `jetbak truncate`

use indicatif::BinaryBytes;
use serde_json::json;

use super::args::{Global, TruncateArgs};
use super::open_session;
use super::summary::count;
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::protocol::truncate::{self, Truncated};
use crate::session::signals;
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
            for log in &done.deleted {
                ui.line(&printable(log));
            }
        }
        say(done, ui);
        return;
    }
    let mut fields = objects::object(json!({
        "type": "truncate",
        "dry_run": done.dry_run,
        "bytes": done.bytes,
        "exit_code": exit_code.number(),
        "id": done.published.as_ref().map(|published| published.id.clone()),
    }));
    for (key, logs) in [("deleted", &done.deleted), ("missing", &done.missing), ("remaining", &done.remaining)] {
        paths::insert_list(&mut fields, key, logs);
    }
    ui.json(fields);
}

/// The few words for people.
pub fn say(done: &Truncated, ui: &mut Ui) {
    ui.finish_progress();
    let logs = count(done.deleted.len() as u64, "log");
    let bytes = BinaryBytes(done.bytes);
    let stay = done.remaining.len();
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
    ui.say(&format!("deleted {logs} ({bytes}), {stay} {verb}{missing}"));
}
