//! `jetbak list`

use indicatif::{BinaryBytes, HumanCount};
use serde_json::{Value, json};

use super::args::ListArgs;
use super::show_tree::of_link;
use crate::error::{Error, ExitCode, printable};
use crate::protocol::{Observer, Warning};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::manifest::Manifest;
use crate::repository::tags::Labels;
use crate::times;
use crate::ui::table::{Align, table};
use crate::ui::{Ui, json as objects};

/// A backup with its tags.
type Row<'a> = (&'a Backup, Labels);

pub fn run(args: &ListArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    let backups = repository.backups()?;
    let rows: Vec<Row> = backups.iter().map(|backup| (backup, repository.labels(backup))).collect();
    let is_meant = |(_, labels): &Row| args.tags.is_empty() || labels.tags.iter().any(|tag| args.tags.contains(tag));
    let rows: Vec<Row> = rows.into_iter().filter(is_meant).collect();
    if ui.is_json() {
        let backups: Vec<Value> = rows.iter().map(|row| object(&repository, row)).collect();
        ui.json(objects::object(json!({"type": "list", "backups": backups})));
    } else if backups.is_empty() {
        ui.say("no backups yet");
    } else if rows.is_empty() {
        ui.say(&format!("no backup has the tag {}", args.tags.join(" or ")));
    } else {
        show(&repository, &rows, ui);
    }
    for (backup, _) in rows.iter().filter(|(_, labels)| labels.damaged) {
        let message = format!("{}: its record in tags/ is damaged, so that it counts as pinned", backup.id.text);
        ui.warning(&Warning { jet: None, message, file: None });
    }
    Ok(tell_unreadable(&repository, &backups, ui))
}

/// Says what is wrong with backups that cannot be read, and how a command ends that shows them.
pub fn tell_unreadable(repository: &Repository, backups: &[Backup], ui: &mut Ui) -> ExitCode {
    let mut exit_code = ExitCode::Done;
    for backup in backups {
        if let Err(error) = &backup.manifest {
            // Damage weighs more than what is merely unknown, in whatever order the two are met.
            if exit_code != ExitCode::Verification {
                exit_code = error.exit_code();
            }
            if !ui.is_json() {
                let told = Error::new(error.exit_code(), format!("{}: {}", backup.id.text, error.message()));
                ui.error(
                    &told
                        .hint(format!(
                            "`jetbak verify {} {}` tells more.",
                            printable(repository.root()),
                            backup.id.sequence
                        ))
                        .into(),
                );
            }
        }
    }
    exit_code
}

/// The column that is left out where no backup has a parent.
const PARENT: usize = 2;
/// The column that is left out where no backup has a tag.
const TAGS: usize = 7;

fn show(repository: &Repository, backups: &[Row], ui: &mut Ui) {
    let has_parent = |backup: &Backup| backup.manifest.as_ref().is_ok_and(|manifest| manifest.parent.is_some());
    // Where each backup stands alone, there is nothing to say of that.
    let with_parents = backups.iter().any(|(backup, _)| has_parent(backup));
    let mut columns = vec![
        ("number", Align::Right),
        ("kind", Align::Left),
        ("parent", Align::Right),
        ("began", Align::Left),
        ("files", Align::Right),
        ("size", Align::Right),
        ("outcome", Align::Left),
        ("tags", Align::Left),
        ("id", Align::Left),
    ];
    let mut rows: Vec<_> = backups
        .iter()
        .map(|(backup, labels)| {
            let id = (backup.id.sequence.to_string(), backup.id.text.clone());
            let Ok(manifest) = &backup.manifest else {
                let unknown = || "?".to_owned();
                let outcome = "unreadable".to_owned();
                return vec![
                    id.0,
                    unknown(),
                    unknown(),
                    unknown(),
                    unknown(),
                    unknown(),
                    outcome,
                    labels.words(),
                    id.1,
                ];
            };
            vec![
                id.0,
                manifest.kind.name().to_owned(),
                manifest.parent.as_ref().map_or_else(|| "-".to_owned(), |link| of_link(&link.id)),
                times::for_people(manifest.began),
                HumanCount(manifest.files).to_string(),
                BinaryBytes(manifest.bytes).to_string(),
                outcome(manifest, repository.verified(backup).is_some_and(|verified| verified.damages > 0)),
                labels.words(),
                id.1,
            ]
        })
        .collect();
    if backups.iter().all(|(_, labels)| labels.words().is_empty()) {
        columns.remove(TAGS);
        for row in &mut rows {
            row.remove(TAGS);
        }
    }
    if !with_parents {
        columns.remove(PARENT);
        for row in &mut rows {
            row.remove(PARENT);
        }
    }
    for line in table(&columns, &rows) {
        ui.line(&line);
    }
}

fn outcome(manifest: &Manifest, was_damaged: bool) -> String {
    let mut words = vec![manifest.outcome.name()];
    words.extend(manifest.truncated.then_some("truncated"));
    words.extend(was_damaged.then_some("damaged when it was verified"));
    words.join(", ")
}

fn object(repository: &Repository, (backup, labels): &Row) -> Value {
    let mut fields = objects::object(match &backup.manifest {
        Ok(manifest) => json!({
            "id": manifest.id,
            "sequence": manifest.sequence,
            "kind": manifest.kind.name(),
            "parent": manifest.parent.as_ref().map(|parent| parent.id.clone()),
            "began": manifest.began.to_string(),
            "ended": manifest.ended.to_string(),
            "files": manifest.files,
            "bytes": manifest.bytes,
            "bytes_stored": manifest.bytes_stored,
            "outcome": manifest.outcome.name(),
            "engine": manifest.engine.name(),
            "truncated": manifest.truncated,
            "excluded": manifest.excluded.iter().map(objects::failure).collect::<Vec<_>>(),
            "verified": repository.verified(backup).as_ref().map(objects::verified),
        }),
        Err(error) => json!({
            "id": backup.id.text,
            "sequence": backup.id.sequence,
            "error": error.message(),
            "verified": null,
        }),
    });
    fields.extend(objects::labels(labels));
    Value::Object(fields)
}
