//! JSON objects that several commands print.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Jet};
use crate::paths;
use crate::protocol::{Progress, Warning};
use crate::repository::damage::Damage;
use crate::repository::tags::Labels;
use crate::repository::verified::Verified;
use crate::session::event::Failure;

/// The fields of an object given as `json!({…})`.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

/// Sentences as one text; null where there is none.
pub fn sentences(sentences: &[String]) -> Value {
    if sentences.is_empty() { Value::Null } else { sentences.join(" ").into() }
}

/// `{"type":"error",…}`
pub fn error(error: &anyhow::Error) -> Map<String, Value> {
    let typed = error.downcast_ref::<Error>();
    let jet = typed.and_then(Error::jet_code);
    let message = match typed {
        Some(typed) => {
            let chain: Vec<_> = error.chain().map(ToString::to_string).collect();
            let context = chain.split_last().map_or(&[][..], |(_, before)| before);
            context.iter().map(String::as_str).chain([typed.message()]).collect::<Vec<_>>().join(": ")
        }
        None => format!("{error:#}"),
    };
    let mut fields = object(json!({
        "type": "error",
        "jet": jet.map(Jet::symbol),
        "code": jet.map(Jet::number),
        "exit_code": crate::ui::exit_code(error).number(),
        "message": message,
        "hint": typed.and_then(Error::advice),
        "page": typed.and_then(Error::page_number),
    }));
    insert_file(&mut fields, typed.and_then(Error::path));
    fields
}

/// `{"type":"warning",…}`
pub fn warning(warning: &Warning) -> Map<String, Value> {
    let mut fields = object(json!({
        "type": "warning",
        "jet": warning.jet.map(Jet::symbol),
        "code": warning.jet.map(Jet::number),
        "message": warning.message,
    }));
    insert_file(&mut fields, warning.file.as_deref());
    fields
}

/// `{"type":"progress",…}`
pub fn progress(progress: &Progress, bytes_per_second: u64) -> Map<String, Value> {
    let mut fields = object(json!({
        "type": "progress",
        "phase": progress.activity.name(),
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
        "bytes_per_second": bytes_per_second,
    }));
    insert_file(&mut fields, progress.file.as_deref());
    fields
}

/// `{"type":"damage",…}`; the file's path is relative to the backup's folder.
pub fn damage(backup: &str, damage: &Damage) -> Map<String, Value> {
    let mut fields = object(json!({
        "type": "damage",
        "backup": backup,
        "held_by": damage.held_by,
        "page": damage.page,
        "segment": damage.segment,
        "kind": damage.kind.name(),
        "stored": Some(&damage.stored).filter(|text| !text.is_empty()),
        "computed": Some(&damage.computed).filter(|text| !text.is_empty()),
        "message": damage.message,
        "jet": damage.jet.map(Jet::symbol),
        "code": damage.jet.map(Jet::number),
    }));
    insert_file(&mut fields, Some(&damage.file));
    fields
}

/// One file that was left out because it could not be read.
pub fn failure(failure: &Failure) -> Value {
    json!({
        "path": failure.path,
        "message": failure.message,
        "jet": failure.jet.and_then(Jet::from_number).map(Jet::symbol),
        "code": failure.jet,
        "exit_code": failure.exit_code,
    })
}

/// When a backup was last verified, and with what result.
pub fn verified(verified: &Verified) -> Value {
    json!({
        "at": verified.at.to_string(),
        "damages": verified.damages,
        "files": verified.files,
        "bytes": verified.bytes,
        "seconds": verified.seconds,
        "host": verified.host,
        "tool": verified.tool,
    })
}

/// The tags of a backup, and whether it is pinned.
pub fn labels(labels: &Labels) -> Map<String, Value> {
    object(json!({ "tags": labels.tags, "pinned": labels.pinned, "pin_reason": labels.reason }))
}

fn insert_file(fields: &mut Map<String, Value>, file: Option<&Path>) {
    match file {
        Some(path) => paths::insert(fields, "file", path),
        None => {
            fields.insert("file".to_owned(), Value::Null);
        }
    }
}
