//! `jetbak files`

use serde_json::{Value, json};

use super::args::{FilesArgs, Global};
use super::{open_session, signal_token};
use crate::engine::Role;
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::protocol::files::{self, Listed};
use crate::session::event::Phase;
use crate::ui::{Ui, json as objects};

pub fn run(global: &Global, args: &FilesArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    args.selection.refuse_both()?;
    let context = open_session(global, &args.selection)?;
    let signals = signal_token()?;
    if ui.is_json() {
        let (mut databases, mut logs) = (Vec::new(), Vec::new());
        let phase = files::files(&context, &signals, &mut |phase, listed| {
            match phase {
                Phase::Databases => databases.push(object(&listed)),
                Phase::Logs => logs.push(object(&listed)),
            }
            Ok(())
        })?;
        ui.json(objects::object(json!({
            "type": "files",
            "session": context.session.record().session,
            "phase": phase.name(),
            "databases": databases,
            "logs": logs,
        })));
        return Ok(ExitCode::Done);
    }
    files::files(&context, &signals, &mut |phase, listed| {
        let mark = match &listed {
            Listed { excluded: true, .. } => "left out",
            Listed { done: true, .. } => "done",
            Listed { .. } => "-",
        };
        let what = if phase == Phase::Logs { "log" } else { "database" };
        let what = if listed.entry.role == Role::Other { "other" } else { what };
        let line = format!("{mark:8}  {what:8}  {:>15}  {}", listed.entry.size, printable(&listed.entry.path));
        ui.line(&line);
        Ok(())
    })?;
    Ok(ExitCode::Done)
}

fn object(listed: &Listed) -> Value {
    let mut fields = objects::object(json!({
        "size": listed.entry.size,
        "done": listed.done,
        "excluded": listed.excluded,
        "role": listed.entry.role.name(),
        "generation": listed.entry.generation,
    }));
    paths::insert(&mut fields, "path", &listed.entry.path);
    Value::Object(fields)
}
