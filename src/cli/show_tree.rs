//! `jetbak show --tree`

use indicatif::BinaryBytes;
use serde_json::{Value, json};

use super::list::tell_unreadable;
use crate::error::{ExitCode, printable};
use crate::repository::Repository;
use crate::repository::catalogue::{Backup, Standing};
use crate::times;
use crate::ui::table::{Align, table};
use crate::ui::{Ui, json as objects};

pub fn run(repository: &Repository, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let backups = repository.backups()?;
    let branches = branches(&backups);
    if ui.is_json() {
        let branches: Vec<Value> = branches.iter().map(|branch| object(repository, &backups, branch)).collect();
        ui.json(objects::object(json!({"type": "tree", "backups": branches})));
    } else if branches.is_empty() {
        ui.say("no backups yet");
    } else {
        let columns = [
            ("number", Align::Left),
            ("kind", Align::Left),
            ("began", Align::Left),
            ("size", Align::Right),
            ("stored", Align::Right),
            ("parent", Align::Right),
            ("outcome", Align::Left),
            ("id", Align::Left),
        ];
        let rows: Vec<_> = branches.iter().map(|branch| row(repository, &backups, branch)).collect();
        for line in table(&columns, &rows) {
            ui.line(&line);
        }
    }
    Ok(tell_unreadable(repository, &backups, ui))
}

/// A backup in its place: after the one that it builds on, and before whatever does not build on that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Branch {
    /// The index of the backup.
    index: usize,
    /// How far it is set in. What goes on where nothing else does is set in no further: chains are long.
    depth: usize,
    /// How its parent stands, where it has one.
    parent: Option<Standing>,
}

/// The order of the tree, oldest first.
fn branches(backups: &[Backup]) -> Vec<Branch> {
    let mut children = vec![Vec::new(); backups.len()];
    let (mut standings, mut waiting) = (vec![None; backups.len()], Vec::new());
    for (index, backup) in backups.iter().enumerate() {
        let link = backup.manifest.as_ref().ok().and_then(|manifest| manifest.parent.as_ref());
        let older = &backups[..index]; // so that nothing stands below itself
        let parent = link.and_then(|link| older.iter().rposition(|other| other.id.text == link.id));
        standings[index] = link.map(|link| match parent {
            None => Standing::Missing,
            Some(parent) if backups[parent].manifest_sha256 == link.manifest_sha256 => Standing::Unchanged,
            Some(_) => Standing::Changed,
        });
        match parent {
            Some(parent) => children[parent].push(index),
            None => waiting.push((index, 0)),
        }
    }
    waiting.reverse();
    let mut branches = Vec::with_capacity(backups.len());
    while let Some((index, depth)) = waiting.pop() {
        branches.push(Branch { index, depth, parent: standings[index] });
        let goes_on = depth > 0 && children[index].len() == 1;
        let depth = if goes_on { depth } else { depth + 1 };
        waiting.extend(children[index].iter().rev().map(|child| (*child, depth)));
    }
    branches
}

fn row(repository: &Repository, backups: &[Backup], branch: &Branch) -> Vec<String> {
    let backup = &backups[branch.index];
    let number = format!("{}{}", "  ".repeat(branch.depth), backup.id.sequence);
    let Ok(manifest) = &backup.manifest else {
        let unknown = || "?".to_owned();
        let (outcome, id) = ("unreadable".to_owned(), backup.id.text.clone());
        return vec![number, unknown(), unknown(), unknown(), unknown(), unknown(), outcome, id];
    };
    let parent = manifest.parent.as_ref().map_or_else(|| "-".to_owned(), |link| of_link(&link.id));
    let mut words = vec![manifest.outcome.name()];
    words.extend(match branch.parent {
        Some(Standing::Missing) => Some("its parent is missing"),
        Some(Standing::Changed) => Some("its parent was changed"),
        Some(Standing::Unchanged) | None => None,
    });
    words.extend(is_damaged(repository, backup).then_some("damaged when it was verified"));
    vec![
        number,
        manifest.kind.name().to_owned(),
        times::for_people(manifest.began),
        BinaryBytes(manifest.bytes).to_string(),
        BinaryBytes(manifest.bytes_stored).to_string(),
        parent,
        words.join(", "),
        backup.id.text.clone(),
    ]
}

/// A backup that is referred to, as a person names it: by its number, if it has one.
pub fn of_link(id: &str) -> String {
    let number = id.split('-').next().and_then(|number| number.parse::<u64>().ok());
    number.map_or_else(|| printable(id), |number| number.to_string())
}

fn is_damaged(repository: &Repository, backup: &Backup) -> bool {
    repository.verified(backup).is_some_and(|verified| verified.damages > 0)
}

fn object(repository: &Repository, backups: &[Backup], branch: &Branch) -> Value {
    let backup = &backups[branch.index];
    let manifest = match &backup.manifest {
        Ok(manifest) => manifest,
        Err(error) => {
            return json!({
                "id": backup.id.text,
                "sequence": backup.id.sequence,
                "depth": branch.depth,
                "error": error.message(),
            });
        }
    };
    json!({
        "id": manifest.id,
        "sequence": manifest.sequence,
        "depth": branch.depth,
        "kind": manifest.kind.name(),
        "parent": manifest.parent.as_ref().map(|link| &link.id),
        "parent_is": branch.parent.map(Standing::name),
        "consolidates": manifest.consolidates.as_ref().map(|link| &link.id),
        "began": manifest.began.to_string(),
        "bytes": manifest.bytes,
        "bytes_stored": manifest.bytes_stored,
        "outcome": manifest.outcome.name(),
        "verified": repository.verified(backup).as_ref().map(objects::verified),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::manifest::tests::manifest;
    use crate::repository::manifest::{BackupId, Link, Manifest};
    use crate::session::event::Kind;

    /// Backups by number, each with the one that it builds on.
    fn backups(of: &[(u64, Option<u64>)]) -> Vec<Backup> {
        let id = |sequence| BackupId::new(sequence, manifest().began, Kind::Incremental);
        let link = |sequence| Link { id: id(sequence).text, manifest_sha256: format!("hash {sequence}") };
        of.iter()
            .map(|(sequence, parent)| {
                let manifest = Manifest { parent: parent.map(link), ..manifest() };
                Backup { id: id(*sequence), manifest: Ok(manifest), manifest_sha256: format!("hash {sequence}") }
            })
            .collect()
    }

    fn order(backups: &[Backup]) -> Vec<(u64, usize)> {
        branches(backups).iter().map(|branch| (backups[branch.index].id.sequence, branch.depth)).collect()
    }

    #[test]
    fn what_builds_on_a_backup_stands_below_it() {
        let tree =
            [(1, None), (2, Some(1)), (3, Some(2)), (4, None), (5, Some(1)), (6, Some(3)), (7, Some(4)), (8, Some(3))];
        let tree = backups(&tree);
        assert_eq!(order(&tree), [(1, 0), (2, 1), (3, 1), (6, 2), (8, 2), (5, 1), (4, 0), (7, 1)]);
    }

    #[test]
    fn a_link_that_leads_to_nothing_or_goes_round_loses_no_backup() {
        let mut odd = backups(&[(1, Some(3)), (2, Some(2)), (3, Some(1)), (4, Some(9))]);
        let standings = |odd: &[Backup]| branches(odd).iter().map(|branch| branch.parent).collect::<Vec<_>>();
        assert_eq!(order(&odd), [(1, 0), (3, 1), (2, 0), (4, 0)]);
        let (missing, unchanged) = (Some(Standing::Missing), Some(Standing::Unchanged));
        assert_eq!(standings(&odd), [missing, unchanged, missing, missing]);
        odd[0].manifest_sha256 = "another".to_owned();
        assert_eq!(standings(&odd)[1], Some(Standing::Changed));
    }

    #[test]
    fn a_link_is_named_by_its_number_or_cannot_lie() {
        assert_eq!(of_link("000012-20261122T093015Z-full"), "12");
        assert_eq!(of_link("\u{1b}[31m"), "\\u{1b}[31m");
    }
}
