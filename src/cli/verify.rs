//! `jetbak verify`

use std::collections::HashSet;
use std::time::{Duration, Instant};

use indicatif::BinaryBytes;
use serde_json::json;

use super::args::VerifyArgs;
use super::signal_token;
use super::summary::{count, rate, seconds};
use crate::engine::sqlite::check::Depth;
use crate::error::{Error, ExitCode, Result, printable};
use crate::protocol::{Activity, Observer, Progress, Warning};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::chain::{Chain, chain_among};
use crate::repository::damage::{Damage, DamageKind};
use crate::repository::in_use::removed;
use crate::repository::verified::Verified;
use crate::repository::verify::{Elsewhere, Tally, Verification, of_damaged, with_progress};
use crate::times;
use crate::ui::{Ui, json as objects};

pub fn run(args: &VerifyArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    let all = repository.backups()?;
    let mut chosen: Vec<&Backup> = if args.ids.is_empty() {
        all.iter().collect()
    } else {
        let mut chosen = Vec::new();
        for name in &args.ids {
            let id = repository.resolve(name)?.id;
            chosen.extend(all.iter().find(|backup| backup.id == id));
        }
        chosen
    };
    // What others build on first, and each once: their result counts for those.
    chosen.sort_by(|one, other| (one.id.sequence, &one.id.text).cmp(&(other.id.sequence, &other.id.text)));
    chosen.dedup_by(|one, other| one.id == other.id);
    // What other backups of this run hold is read there.
    let in_run: HashSet<String> = chosen.iter().map(|backup| backup.id.text.clone()).collect();
    if chosen.is_empty() {
        let message = format!("{} holds no backup: nothing was verified", printable(repository.root()));
        ui.warning(&Warning { jet: None, message, file: None });
    }
    let stop = signal_token()?;
    let started = Instant::now();
    let bytes_total = chosen.iter().filter_map(|backup| bytes_to_read(backup, &all, &in_run)).sum();
    let tally = Tally::default();
    let (mut damaged, mut unproven) = (HashSet::new(), HashSet::new());
    let mut totals = Totals::default();
    for backup in &chosen {
        let _in_use = match repository.hold(&backup.id, &stop) {
            Ok(Some(in_use)) => in_use,
            Ok(None) => {
                // Who asked for all of them gets all that there are.
                totals.gone |= !args.ids.is_empty();
                tell_of_gone(backup, !args.ids.is_empty(), ui);
                continue;
            }
            // One that nobody lets us look at says nothing about the others.
            Err(error) if error.is_of_the_reader() => {
                totals.backups += 1;
                ui.error(&error.into());
                unproven.insert(backup.id.text.clone());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        totals.backups += 1;
        let (mut found, mut known) = (Vec::new(), Vec::new());
        let (begun, files, bytes) = (Instant::now(), tally.files(), tally.bytes());
        let verified = with_progress(
            &stop,
            false,
            Some(if args.deep { Depth::Deep } else { Depth::Quick }),
            &tally,
            |how| repository.verify(backup, &all, &Verification { elsewhere: Elsewhere::But(&in_run), ..*how }),
            &mut |damage| if damage.is_known { known.push(damage) } else { found.push(damage) },
            &mut |tally| {
                let activity = Activity::Verifying;
                ui.progress(&Progress { activity, file: None, bytes_done: tally.bytes(), bytes_total });
            },
        );
        let chain = chain_among(backup, &all);
        let failed = verified.and_then(|()| match &chain {
            Ok(chain) => require_proven(chain, &unproven),
            Err(_) => Ok(()),
        });
        if let Err(error) = &failed
            && stop.cause().is_some()
        {
            return Err(error.clone().into());
        }
        if found.iter().any(|damage| damage.is_of_content() && damage.held_by.is_none()) {
            damaged.insert(backup.id.text.clone());
        }
        if let Ok(chain) = chain {
            found.extend(of_damaged(&chain, &|id| damaged.contains(id)));
        }
        let place = |damage: &Damage| {
            (damage.held_by.clone(), damage.file.clone(), damage.kind.name(), damage.page, damage.segment)
        };
        found.sort_by_key(place);
        found.dedup();
        known.sort_by_key(place);
        for one in &known {
            warn(backup, one, ui);
        }
        totals.add(&found);
        if let Err(error) = failed {
            // What was found so far holds; what was not looked at is neither good nor damaged.
            tell(backup, &found, ui);
            ui.error(&error.hint(UNPROVEN_HINT).into());
            unproven.insert(backup.id.text.clone());
            continue;
        }
        show(backup, &found, ui);
        let (files, bytes) = (tally.files() - files, tally.bytes() - bytes);
        // Two with one number are told of, and can be relied on.
        let findings = found.iter().filter(|damage| damage.kind != DamageKind::Number).count() as u64;
        let verified = Verified::new(backup, findings, files, bytes, seconds(begun.elapsed()));
        totals.recorded += u64::from(record(&repository, backup, &verified, ui));
    }
    totals.unproven = unproven.len() as u64;
    ui.finish_progress();
    Ok(totals.tell(&repository, &tally, started.elapsed(), ui))
}

/// What it means that a verification did not come to its end.
const UNPROVEN_HINT: &str = "This says nothing about the backup: it may be good, and nothing was recorded. Mend what stands \
                             in the way and verify again.";

/// Refuses to call good what builds on something that nobody could look at.
fn require_proven(chain: &Chain, unproven: &HashSet<String>) -> Result<()> {
    match chain.parts()[1..].iter().find(|part| unproven.contains(&part.id)) {
        None => Ok(()),
        Some(part) => {
            let message = format!("{} builds on {}, which could not be verified", chain.id(), part.id);
            Err(Error::new(ExitCode::Failed, message))
        }
    }
}

/// What all verifications of a run came to.
#[derive(Default)]
struct Totals {
    backups: u64,
    damages: u64,
    recorded: u64,
    unproven: u64,
    of_sets: u64,
    of_sources: u64,
    of_numbers: u64,
    /// One that was named was removed before it could be verified.
    gone: bool,
}

impl Totals {
    fn add(&mut self, found: &[Damage]) {
        self.damages += found.len() as u64;
        self.of_sources += found.iter().filter(|damage| damage.kind == DamageKind::Integrity).count() as u64;
        self.of_numbers += found.iter().filter(|damage| damage.kind == DamageKind::Number).count() as u64;
        self.of_sets += found.iter().filter(|damage| damage.is_of_set()).count() as u64;
    }

    fn tell(&self, repository: &Repository, tally: &Tally, took: Duration, ui: &mut Ui) -> ExitCode {
        let Self { backups, damages, recorded, unproven, of_sets, of_sources, of_numbers, gone } = *self;
        let exit_code = match (damages, unproven) {
            (0, 0) if gone => ExitCode::OutOfOrder,
            (0, 0) => ExitCode::Done,
            (0, _) => ExitCode::Failed,
            _ => ExitCode::Verification,
        };
        if ui.is_json() {
            ui.json(objects::object(json!({
                "type": "summary",
                "command": "verify",
                "outcome": if exit_code == ExitCode::Done { "completed" } else { "failed" },
                "exit_code": exit_code.number(),
                "repository": repository.root().to_string_lossy(),
                "backups": backups,
                "files": tally.files(),
                "bytes": tally.bytes(),
                "damages": damages,
                "recorded": recorded,
                "unproven": unproven,
                "seconds": seconds(took),
                "warnings": ui.warnings(),
            })));
        } else {
            let (files, bytes) = (count(tally.files(), "file"), BinaryBytes(tally.bytes()));
            let verdict = if backups == 0 {
                "nothing to verify".to_owned()
            } else if damages == 0 && unproven > 0 {
                format!("{} could not be looked at", count(unproven, "backup"))
            } else if damages == 0 {
                "all good".to_owned()
            } else {
                format!("{} found", count(damages, "damage"))
            };
            ui.say(&format!(
                "verified {}: {files}, {bytes} in {}{}: {verdict}",
                count(backups, "backup"),
                times::duration(took),
                rate(tally.bytes(), took)
            ));
        }
        if damages > 0 && !ui.is_json() {
            let message = format!("{} found in {}", count(damages, "damage"), printable(repository.root()));
            let error = Error::new(ExitCode::Verification, message);
            let others = damages - of_numbers;
            let hint = if others == 0 {
                "Every file is as it was stored: two copies of a repository were brought together. Name these backups by \
                 their ids; each can be restored and built on."
            } else if of_sources == others {
                "The source was damaged when it was backed up: mend it (`sqlite3 DB .recover`), or restore an older backup."
            } else if of_sets == others {
                "Make a new full backup now. Every file is as it was stored, but they do not go together."
            } else {
                "Make a new full backup now, and distrust the disk under the repository."
            };
            ui.error(&error.hint(hint).into());
        }
        exit_code
    }
}

/// Tells of a backup that a prune removed while others were verified.
fn tell_of_gone(backup: &Backup, is_named: bool, ui: &mut Ui) {
    let error = removed(&backup.id);
    if is_named {
        ui.error(&error.into());
    } else {
        ui.warning(&Warning { jet: None, message: format!("{}: not verified", error.message()), file: None });
    }
}

/// What a verification of a backup reads, about: all of its content, or what it holds itself where others of the run
/// hold the rest.
fn bytes_to_read(backup: &Backup, all: &[Backup], in_run: &HashSet<String>) -> Option<u64> {
    let manifest = backup.manifest.as_ref().ok()?;
    let is_rest_read =
        chain_among(backup, all).is_ok_and(|chain| chain.parts().iter().all(|part| in_run.contains(&part.id)));
    Some(if manifest.parent.is_some() && is_rest_read { manifest.bytes_stored } else { manifest.bytes })
}

/// Leaves the result beside the backups; a repository that cannot be written is verified all the same.
fn record(repository: &Repository, backup: &Backup, verified: &Verified, ui: &mut Ui) -> bool {
    if backup.manifest.is_err() {
        return false; // what cannot be believed was not looked at beyond its manifest
    }
    match repository.record_verified(backup, verified) {
        Ok(()) => true,
        Err(error) => {
            ui.decided(&format!("{}: the result is not recorded: {}", backup.id.text, error.message()));
            false
        }
    }
}

/// What was so when it was backed up is told again, and is no damage of the backup (decision 19); nor is what SQLite cannot
/// tell, or was not asked.
fn warn(backup: &Backup, known: &Damage, ui: &mut Ui) {
    let mut message = describe(backup, known);
    if known.kind != DamageKind::Integrity {
        message += ", as it was when it was backed up";
    }
    ui.warning(&Warning { jet: known.jet, message, file: Some(known.file.clone()) });
}

fn show(backup: &Backup, found: &[Damage], ui: &mut Ui) {
    if found.is_empty() && !ui.is_json() {
        ui.say(&format!("{}: good", backup.id.text));
    }
    tell(backup, found, ui);
}

fn tell(backup: &Backup, found: &[Damage], ui: &mut Ui) {
    for damage in found {
        if ui.is_json() {
            ui.json(objects::damage(&backup.id.text, damage));
        } else {
            ui.line(&describe(backup, damage));
        }
    }
}

/// A damage as a line for people.
pub fn describe(backup: &Backup, damage: &Damage) -> String {
    let Damage { file, kind, stored, computed, page, segment, message, jet, held_by, .. } = damage;
    let file = match held_by {
        Some(id) => format!("{} in {id}, which holds it", printable(file)),
        None => printable(file),
    };
    if let Some(message) = message {
        let number = jet.map(|jet| format!(" [{}, {}]", jet.symbol(), jet.number())).unwrap_or_default();
        return format!("{}: {file}: {}: {message}{number}", backup.id.text, kind.name());
    }
    let place = match (page, segment) {
        (Some(page), _) => format!(" of page {page}"),
        (None, Some(segment)) => format!(" of segment {segment}"),
        (None, None) => String::new(),
    };
    let facts = match (stored.is_empty(), computed.is_empty()) {
        (false, false) => format!(": {} stored, {} found", printable(stored), printable(computed)),
        (false, true) => format!(": {} stored", printable(stored)),
        (true, false) => format!(": {}", printable(computed)),
        (true, true) => String::new(),
    };
    format!("{}: {file}: {}{place}{facts}", backup.id.text, kind.name())
}
