//! `jetbak end`

use std::time::Instant;

use serde_json::json;

use super::args::{EndArgs, Global};
use super::open_session;
use super::summary::{INCOMPLETE_HINT, Summary, damaged, incomplete};
use crate::error::{Error, ExitCode, Jet, printable};
use crate::paths;
use crate::protocol::end;
use crate::session::event::Outcome;
use crate::session::signals;
use crate::stream::stop::{Cause, StopToken};
use crate::ui::{Ui, json as objects};

pub fn run(global: &Global, args: &EndArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    args.selection.refuse_both()?;
    let context = open_session(global, &args.selection)?;
    signals::install()?;
    // Only signals: whether the session was stopped is decided by its journal, at the commit.
    let stop = StopToken::new(|| signals::pending().map(Cause::Signal));
    let started = Instant::now();
    let ended = if args.abort {
        end::abort(&context, ui, &stop)?
    } else {
        end::end(&context, ui, &stop).map_err(|error| match error.exit_code() {
            ExitCode::Signal(_) => error.hint("Nothing was published; repeat `jetbak end`."),
            _ => error,
        })?
    };
    let strict = args.require_success && ended.outcome == Outcome::Stopped;
    let exit_code = if strict { ExitCode::Stopped } else { ended.exit_code };
    let strictly = strict
        .then(|| Error::jet(Jet::BackupAbortByServer, "the session had been stopped").hint("Nothing was published."));
    let is_incomplete = ended.outcome == Outcome::Incomplete;
    let left_out = incomplete(&ended.excluded, exit_code, INCOMPLETE_HINT).filter(|_| is_incomplete);
    let pages = damaged(&ended.damaged);
    if let Some(error) = ended.error.as_ref().or(strictly.as_ref()).or(left_out.as_ref()).or(pages.as_ref()) {
        ui.error(&anyhow::Error::new(error.clone()));
    }
    let record = context.session.record();
    if record.repository().is_none() {
        for (path, size, sha256) in &ended.hashes {
            if ui.is_json() {
                let mut fields = objects::object(json!({"type": "file", "size": size, "sha256": sha256}));
                paths::insert(&mut fields, "path", path);
                ui.json(fields);
            } else {
                ui.line(&format!("{sha256}  {}", printable(path)));
            }
        }
    }
    let summary = Summary {
        command: "end",
        record: Some(record),
        options: None,
        outcome: ended.outcome,
        exit_code,
        ended: Some(&ended),
        files: ended.files,
        bytes: ended.bytes,
        took: started.elapsed(),
        excluded: &ended.excluded,
        truncated: ended.truncated,
        error: ended.error.as_ref(),
    };
    if ui.is_json() {
        let mut fields = summary.to_json(ui.warnings());
        paths::insert_list(&mut fields, "missing", &ended.missing);
        fields.insert("missing_count".into(), ended.missing_count.into());
        ui.json(fields);
    } else if ended.error.is_none() {
        summary.print(ui);
    }
    Ok(exit_code)
}
