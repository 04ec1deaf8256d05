//! `jetbak tag`

use serde_json::json;

use super::args::TagArgs;
use super::signal_token;
use crate::error::{ExitCode, printable};
use crate::paths;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::tags::Labels;
use crate::ui::{Ui, json as objects};

pub fn run(args: &TagArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    let (backup, labels) = repository.relabel(&args.id, &signal_token()?, |labels| {
        if args.remove {
            labels.tags.retain(|tag| !args.tags.contains(tag));
        } else {
            labels.add(&args.tags);
        }
    })?;
    let tags = labels.tags.iter().map(printable).collect::<Vec<_>>();
    let told = if tags.is_empty() { "no tags".to_owned() } else { tags.join(", ") };
    tell(&repository, &backup, &labels, &told, ui);
    Ok(ExitCode::Done)
}

/// Tells what a backup has now.
pub fn tell(repository: &Repository, backup: &Backup, labels: &Labels, told: &str, ui: &mut Ui) {
    if !ui.is_json() {
        ui.say(&format!("{}: {told}", backup.id.text));
        return;
    }
    let mut fields = objects::object(json!({
        "type": "labels",
        "id": backup.id.text,
        "sequence": backup.id.sequence,
    }));
    fields.extend(objects::labels(labels));
    paths::insert(&mut fields, "repository", repository.root());
    ui.json(fields);
}
