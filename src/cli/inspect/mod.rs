//! `jetbak inspect`

mod fields;
mod sqlite;

use std::path::Path;

use indicatif::BinaryBytes;
use serde_json::{Map, Value, json};

use self::fields::Field;
use super::args::InspectArgs;
use super::signal_token;
use crate::engine::ese::check::look_inside;
use crate::engine::ese::files::{Found, look};
use crate::engine::ese::finding::{Finding, Kind, Weight};
use crate::engine::ese::header::{Copies, Copy};
use crate::engine::ese::judge::{Inside, judge_file, judge_named, sentence};
use crate::engine::ese::recognise::Content;
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::stream::stop::StopToken;
use crate::ui::{Ui, json as objects};

pub fn run(args: &InspectArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let stop = signal_token()?;
    let mut exit_code = ExitCode::Done;
    let mut damages = 0;
    for (index, path) in args.files.iter().enumerate() {
        if index > 0 && !ui.is_json() {
            ui.line("");
        }
        // What cannot be opened is told below.
        if let Ok(Some(inspected)) = sqlite::inspect(path, &stop) {
            damages += usize::from(inspected.damage.is_some());
            sqlite::show(path, inspected, ui);
            continue;
        }
        match inspect(path, &stop) {
            Ok(inspected) => {
                damages += inspected.damages();
                show(path, &inspected, ui);
            }
            Err(error) if stop.cause().is_some() => return Err(error.into()),
            Err(error) => {
                exit_code = ExitCode::Failed;
                ui.error(&error.into());
            }
        }
    }
    if damages > 0 {
        exit_code = ExitCode::Verification;
    }
    if ui.is_json() {
        ui.json_last(objects::object(json!({
            "type": "summary",
            "command": "inspect",
            "outcome": if exit_code == ExitCode::Done { "completed" } else { "failed" },
            "exit_code": exit_code.number(),
            "files": args.files.len(),
            "damages": damages,
        })));
    }
    Ok(exit_code)
}

/// What is to be said of one file.
struct Inspected {
    found: Found,
    inside: Inside,
    findings: Vec<Finding>,
}

impl Inspected {
    /// How many checksums do not hold; that a file is short, or in which state, is only said.
    fn damages(&self) -> usize {
        let counts = |finding: &&Finding| finding.weight == Weight::Damage && finding.kind != Kind::Size;
        self.findings.iter().filter(counts).count()
    }
}

fn inspect(path: &Path, stop: &StopToken) -> crate::error::Result<Inspected> {
    let found = look(path, stop)?;
    let inside = match &found.content {
        Content::Database(header, _) => look_inside(&found, header)?,
        _ => Inside::default(),
    };
    let mut findings = judge_file(&found, &inside);
    findings.extend(judge_named(&found));
    Ok(Inspected { found, inside, findings })
}

fn show(path: &Path, inspected: &Inspected, ui: &mut Ui) {
    let fields = fields::of(&inspected.found.content, &inspected.inside);
    let copies = copies_of(&inspected.found.content);
    if ui.is_json() {
        return ui.json(object(path, inspected, &copies, fields));
    }
    let Inspected { found, findings, .. } = inspected;
    let size =
        if found.size == 0 { String::new() } else { format!(", {} ({} bytes)", BinaryBytes(found.size), found.size) };
    let name = printable(path);
    match sentence(&found.content) {
        Some(sentence) => ui.line(&format!("{name}: {sentence}{size}")),
        None => ui.line(&format!("{name}: {}{size}", found.content.name())),
    }
    let mut rows: Vec<(String, String)> =
        copies.iter().enumerate().map(|(index, copy)| copy_row(index, copy)).collect();
    rows.extend(rows_of(fields));
    show_rows(rows, ui);
    for finding in findings.iter().filter(|finding| finding.kind != Kind::FileType) {
        let number = finding.jet.map(|jet| format!(" [{}, {}]", jet.symbol(), jet.number())).unwrap_or_default();
        ui.line(&format!("  {name} {}{number}", finding.message));
    }
}

fn rows_of(fields: Vec<Field>) -> impl Iterator<Item = (String, String)> {
    fields.into_iter().map(|field| (field.label.to_owned(), field.text))
}

fn show_rows(rows: Vec<(String, String)>, ui: &mut Ui) {
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, text) in rows {
        ui.line(format!("  {label:width$}  {}", printable(text)).trim_end());
    }
}

/// A copy of a header, and whether it counts as one.
struct Shown {
    copy: Copy,
    is_valid: bool,
}

fn copies_of(content: &Content) -> Vec<Shown> {
    let both = |copies: &Copies| {
        let pairs = copies.both.into_iter().zip(copies.valid);
        pairs.map(|(copy, is_valid)| Shown { copy, is_valid }).collect()
    };
    match content {
        Content::Database(_, copies) | Content::Checkpoint(_, copies) | Content::PatchFile(_, _, copies) => {
            both(copies)
        }
        Content::DamagedHeader(claim, copies, _) => {
            use crate::engine::ese::recognise::Claim;
            let mut shown: Vec<Shown> = both(copies);
            shown.truncate(if matches!(claim, Claim::Database | Claim::Checkpoint) { 2 } else { 1 });
            shown
        }
        Content::Log(_, copy) | Content::FlushMap(_, copy) => vec![Shown { copy: *copy, is_valid: copy.is_valid() }],
        _ => Vec::new(),
    }
}

fn copy_row(index: usize, shown: &Shown) -> (String, String) {
    let Copy { offset, complete, stored, computed, .. } = shown.copy;
    let verdict = match (complete, shown.is_valid) {
        (false, _) => "the file ends before its end",
        (true, true) => "good",
        (true, false) => "DAMAGED",
    };
    let label = format!("checksum of copy {} (byte {offset})", index + 1);
    (label, format!("{stored:08x} stored, {computed:08x} computed: {verdict}"))
}

fn object(path: &Path, inspected: &Inspected, copies: &[Shown], fields: Vec<Field>) -> Map<String, Value> {
    let Inspected { found, findings, .. } = inspected;
    let copies: Vec<_> = copies
        .iter()
        .map(|shown| {
            json!({
                "offset": shown.copy.offset,
                "length": shown.copy.length,
                "stored": format!("{:08x}", shown.copy.stored),
                "computed": format!("{:08x}", shown.copy.computed),
                "valid": shown.is_valid,
            })
        })
        .collect();
    let identical = match &found.content {
        Content::Database(_, copies) | Content::Checkpoint(_, copies) | Content::PatchFile(_, _, copies) => {
            Some(copies.identical)
        }
        _ => None,
    };
    let header: Map<String, Value> = fields.into_iter().map(|field| (field.key.to_owned(), field.value)).collect();
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "kind": finding.kind.name(),
                "message": finding.message,
                "jet": finding.jet.map(crate::error::Jet::symbol),
                "code": finding.jet.map(crate::error::Jet::number),
            })
        })
        .collect();
    let mut fields = objects::object(json!({
        "type": "inspect",
        "kind": found.content.name(),
        "size": found.size,
        "copies": copies,
        "identical": identical,
        "header": if header.is_empty() { Value::Null } else { Value::Object(header) },
        "message": sentence(&found.content),
        "findings": findings,
    }));
    paths::insert(&mut fields, "file", path);
    fields
}
