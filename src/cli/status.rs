//! `jetbak status`

use indicatif::BinaryBytes;
use serde_json::{Value, json};

use super::args::{Global, StatusArgs};
use super::state_directory;
use super::summary::count;
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::protocol::status::{self, SessionStatus};
use crate::protocol::stop;
use crate::session::record::Record;
use crate::times;
use crate::ui::{Ui, json as objects};

pub fn run(global: &Global, args: &StatusArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let (mut sessions, mut damaged) = status::status(&state_directory(global)?)?;
    if let Some(storage) = &args.storage {
        sessions.retain(|session| session.record.is_for(storage));
        // One that does not even say whose it is may be this one.
        damaged.retain(|one| Record::read(&one.folder).map_or(true, |record| record.is_for(storage)));
        if sessions.is_empty() && damaged.is_empty() && !storage.exists() {
            return Err(stop::unknown(storage).into());
        }
    }
    let exit_code = if damaged.is_empty() { ExitCode::Done } else { ExitCode::Failed };
    if ui.is_json() {
        let damaged: Vec<Value> = damaged
            .iter()
            .map(|one| json!({"folder": one.folder.to_string_lossy(), "message": one.error.message()}))
            .collect();
        ui.json(objects::object(json!({
            "type": "status",
            "sessions": sessions.iter().map(object).collect::<Vec<_>>(),
            "damaged": damaged,
        })));
        return Ok(exit_code);
    }
    for one in damaged {
        ui.error(&one.error.into());
    }
    if sessions.is_empty() && exit_code == ExitCode::Done {
        ui.say("no backup is in progress");
    }
    for session in &sessions {
        for line in lines(session) {
            ui.line(&line);
        }
    }
    Ok(exit_code)
}

fn object(session: &SessionStatus) -> Value {
    let readers: Vec<Value> = session
        .readers
        .iter()
        .map(|reader| {
            json!({
                "pid": reader.pid,
                "phase": reader.phase.name(),
                "file": reader.file,
                "bytes_done": reader.bytes_done,
                "files_done": reader.files_done,
                "bytes_per_second": reader.bytes_per_second,
            })
        })
        .collect();
    let mut fields = objects::object(json!({
        "session": session.record.session,
        "engine": session.record.engine.name(),
        "kind": session.record.kind.name(),
        "phase": session.activity.name(),
        "stopped": session.stopped.is_some(),
        "stopped_by": session.stopped,
        "stopped_reason": session.reason,
        "one_shot": session.record.one_shot,
        "owner_alive": session.owner_lives,
        "readers": session.readers_alive,
        "reading": readers,
        "bytes_done": session.bytes_done,
        "bytes_total": session.bytes_total,
        "bytes_per_second": session.bytes_per_second,
        "files_done": session.files_done,
        "began": session.record.began.to_string(),
        "last_event": session.last_event.map(|time| time.to_string()),
        "by": session.record.by,
    }));
    paths::insert(&mut fields, "storage", &session.storage);
    if let Some(repository) = session.record.repository() {
        paths::insert(&mut fields, "repository", &repository);
    }
    Value::Object(fields)
}

fn lines(session: &SessionStatus) -> Vec<String> {
    let record = &session.record;
    let what = if record.one_shot { "backup" } else { "session" };
    let state = match (&session.stopped, session.readers_alive, session.owner_lives) {
        (Some(who), ..) => {
            let reason = session.reason.as_ref().map(|text| format!(": {}", printable(text))).unwrap_or_default();
            format!("stopped by {}{reason}", printable(who))
        }
        (None, 0, false) if record.one_shot => "its process is gone; the next backup clears it away".to_owned(),
        (None, 0, _) => "nobody is reading".to_owned(),
        (None, readers, _) => format!("{} reading", count(readers as u64, "reader")),
    };
    let percent = session.bytes_done.saturating_mul(100) / session.bytes_total.max(1);
    let rate = session.bytes_per_second;
    let left = session.bytes_total.saturating_sub(session.bytes_done).checked_div(rate);
    let left = left.map_or(String::new(), |seconds| {
        format!(", {}/s, {} left", BinaryBytes(rate), times::duration(std::time::Duration::from_secs(seconds)))
    });
    let mut lines = vec![
        printable(&session.storage),
        format!(
            "  {what} {} ({}, {}), begun {} by {}",
            record.session,
            record.engine,
            record.kind.name(),
            times::for_people(record.began),
            record.by
        ),
        format!(
            "  {}: {percent} % ({} of {}{left}); {state}",
            session.activity.name(),
            BinaryBytes(session.bytes_done),
            BinaryBytes(session.bytes_total)
        ),
    ];
    for reader in session.readers.iter().filter(|reader| !reader.file.is_empty()) {
        lines.push(format!("  pid {} reads {}", reader.pid, printable(&reader.file)));
    }
    lines
}
