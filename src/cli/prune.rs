//! `jetbak prune`

use indicatif::BinaryBytes;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::args::{Global, PruneArgs};
use super::list::tell_unreadable;
use super::show_tree::of_link;
use super::summary::count;
use super::{signal_token, state_directory};
use crate::error::{Error, ExitCode, Jet, printable};
use crate::paths;
use crate::protocol::prune::{Asked, Left, Outlook};
use crate::repository::Repository;
use crate::repository::manifest::BackupId;
use crate::repository::prune::plan::{Fact, Policy, Reason, Rule, Verdict};
use crate::repository::prune::trash::Amount;
use crate::ui::table::{Align, table};
use crate::ui::{Ui, json as objects};

/// How wide the table is at most, in columns.
const WIDTH: usize = 80;
/// How narrow the last column may get before the table gets wider instead.
const WHY_WIDTH_MIN: usize = 16;

pub fn run(global: &Global, args: &PruneArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    let state = state_directory(global)?;
    let stop = signal_token()?;
    let zone = TimeZone::system();
    let asked = Asked { policy: policy(args), discard_partials: args.discard_partials, zone };
    let outlook = if args.yes {
        Outlook::act(&repository, &state, &asked, ui, &stop)?
    } else {
        Outlook::new(&repository, &state, &asked, ui)?
    };
    let unreadable = tell_unreadable(&repository, &outlook.backups, ui);
    let in_use = outlook.in_use();
    let exit_code = match unreadable {
        ExitCode::Done if args.yes && !in_use.is_empty() => ExitCode::OutOfOrder,
        other => other,
    };
    if ui.is_json() {
        ui.json(document(&repository, &outlook, &asked, args.yes, exit_code));
        return Ok(exit_code);
    }
    show(&outlook, &asked, args.yes, ui);
    if args.yes && !in_use.is_empty() {
        let ids: Vec<_> = in_use.iter().map(|(id, holder)| format!("{id} is being read by {holder}")).collect();
        let message = format!("{} and what it builds on stays", ids.join(", "));
        ui.error(&Error::jet(Jet::InvalidBackupSequence, message).hint("Repeat `jetbak prune` later.").into());
    }
    Ok(exit_code)
}

fn policy(args: &PruneArgs) -> Policy {
    let counts = [
        (Rule::Last, args.keep_last),
        (Rule::Hourly, args.keep_hourly),
        (Rule::Daily, args.keep_daily),
        (Rule::Weekly, args.keep_weekly),
        (Rule::Monthly, args.keep_monthly),
        (Rule::Yearly, args.keep_yearly),
    ];
    let counts = counts.into_iter().filter_map(|(rule, limit)| Some((rule, usize::try_from(limit?).ok()?)));
    Policy { counts: counts.collect(), within: args.keep_within, tags: args.keep_tags.clone() }
}

// For people

fn show(outlook: &Outlook, asked: &Asked, is_done: bool, ui: &mut Ui) {
    // From cron only errors count; who asks for the plan gets it.
    if !(is_done && ui.is_quiet()) {
        for line in lines(&outlook.facts, &outlook.verdicts, &asked.zone) {
            ui.line(&line);
        }
    }
    for left in &outlook.partials {
        ui.say(&of_partial(left, is_done));
    }
    for (was, amount) in &outlook.trash {
        let what = if BackupId::parse(was).is_some() { "the backup" } else { "the session" };
        let verb = if is_done { "deleted" } else { "would delete" };
        ui.say(&format!("{verb} what is left of {what} {}: {}", printable(was), of_amount(*amount)));
    }
    let (going, facts) = (outlook.going(), outlook.facts.len());
    let all = count(facts as u64, "backup");
    let freed = BinaryBytes(outlook.bytes_going());
    let is_idle = outlook.partials.iter().all(|left| left.stays.is_some()) && outlook.trash.is_empty();
    match (going, is_done) {
        (0, _) => ui.say(&format!("nothing to remove: {all} {}", if facts == 1 { "stays" } else { "stay" })),
        (_, true) => ui.say(&format!("removed {going} of {all}, {freed} stored in them")),
        (_, false) => ui.say(&format!("{going} of {all} would go, {freed} stored in them")),
    }
    let is_anything = going > 0 || !is_idle;
    if is_anything && !is_done {
        ui.say("nothing was removed; repeat with --yes");
    }
}

fn of_partial(left: &Left, is_done: bool) -> String {
    let storage = left.storage.as_ref().map(|path| format!(" of {}", printable(path))).unwrap_or_default();
    let what = format!("of the session {}{storage} ({})", printable(&left.session), of_amount(left.amount));
    match (left.stays, is_done) {
        (Some(why), _) => format!("left what is there {what}: {why}"),
        (None, true) => format!("removed what was left {what}"),
        (None, false) => format!("would remove what is left {what}"),
    }
}

fn of_amount(amount: Amount) -> String {
    format!("{}, {}", count(amount.files, "file"), BinaryBytes(amount.bytes))
}

/// The plan as a table, newest backup last. Reasons that need more room go on in lines of their own.
fn lines(facts: &[Fact], verdicts: &[Verdict], zone: &TimeZone) -> Vec<String> {
    if facts.is_empty() {
        return Vec::new();
    }
    let columns = [
        ("number", Align::Right),
        ("kind", Align::Left),
        ("when", Align::Left),
        ("stored", Align::Right),
        ("plan", Align::Left),
        ("why", Align::Left),
    ];
    let row = |(fact, verdict): (&Fact, &Verdict)| {
        let unknown = || "?".to_owned();
        let told = fact.told.as_ref();
        vec![
            fact.id.sequence.to_string(),
            told.map_or_else(unknown, |told| told.kind.name().to_owned()),
            told.map_or_else(unknown, |told| zone.to_datetime(told.time).strftime("%Y-%m-%d %H:%M").to_string()),
            told.map_or_else(unknown, |told| BinaryBytes(told.bytes_stored).to_string()),
            if verdict.keep { "keep" } else { "remove" }.to_owned(),
            verdict.reasons.iter().map(text).collect::<Vec<_>>().join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = facts.iter().zip(verdicts).map(row).collect();
    let last = columns.len() - 1;
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(columns[column].0.len()) + 2
    };
    let room = WIDTH.saturating_sub((0..last).map(width).sum()).max(WHY_WIDTH_MIN);
    let mut wrapped = Vec::new();
    for row in rows {
        for (number, part) in wrap(&row[last], room).into_iter().enumerate() {
            let mut cells = if number == 0 { row.clone() } else { vec![String::new(); columns.len()] };
            cells[last] = part;
            wrapped.push(cells);
        }
    }
    table(&columns, &wrapped)
}

/// Breaks a text at its blanks; a longer word is broken where it must be.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(width) {
            let line = lines.last_mut().expect("there is a first line");
            let used = line.chars().count();
            if used == 0 {
                line.extend(piece);
            } else if used + 1 + piece.len() <= width {
                line.push(' ');
                line.extend(piece);
            } else {
                lines.push(piece.iter().collect());
            }
        }
    }
    lines
}

fn text(reason: &Reason) -> String {
    match reason {
        Reason::Newest => "newest".to_owned(),
        Reason::NewestVerified => "newest verified".to_owned(),
        Reason::Pinned(why) if why.is_empty() => "pinned".to_owned(),
        Reason::Pinned(why) => format!("pinned ({})", printable(why)),
        Reason::Tag(tag) => format!("tag {}", printable(tag)),
        Reason::Counted(rule, _) => rule.name().to_owned(),
        Reason::Within => "within".to_owned(),
        Reason::WithinByNumber => "within by its number, not by its time".to_owned(),
        Reason::NeededBy(ids) => {
            let more = if ids.len() > 1 { format!(" and {} more", ids.len() - 1) } else { String::new() };
            format!("needed by {}{more}", ids.last().map(|id| of_link(id)).unwrap_or_default())
        }
        Reason::NeededByPartial(session) => format!("the session {} builds on it", printable(session)),
        Reason::MayBeNeededBy(id) => format!("{} may build on it and cannot be read", of_link(id)),
        Reason::Unreadable => "cannot be read".to_owned(),
        Reason::HighestNumber => "highest number".to_owned(),
        Reason::NothingNewer => "incomplete, but nothing newer is complete".to_owned(),
        Reason::InUse(holder) => format!("being read by {holder}"),
        Reason::Incomplete(newer) => format!("incomplete, {} is newer", of_link(newer)),
        Reason::NoRule => "nothing keeps it".to_owned(),
    }
}

// JSON

fn document(
    repository: &Repository,
    outlook: &Outlook,
    asked: &Asked,
    is_done: bool,
    exit_code: ExitCode,
) -> Map<String, Value> {
    let backup = |(fact, verdict): (&Fact, &Verdict)| {
        json!({
            "id": fact.id.text,
            "sequence": fact.id.sequence,
            "kind": fact.told.as_ref().map(|told| told.kind.name()),
            "time": fact.told.as_ref().map(|told| told.time.to_string()),
            "bytes_stored": fact.told.as_ref().map(|told| told.bytes_stored),
            "keep": verdict.keep,
            "removed": outlook.removed.contains(&fact.id.text),
            "reasons": verdict.reasons.iter().map(reason_object).collect::<Vec<_>>(),
        })
    };
    let partial = |left: &Left| {
        let mut fields = objects::object(json!({
            "session": left.session,
            "files": left.amount.files,
            "bytes": left.amount.bytes,
            "keep": left.stays.is_some(),
            "removed": is_done && left.stays.is_none(),
            "why": left.stays,
        }));
        match &left.storage {
            Some(path) => paths::insert(&mut fields, "storage", path),
            None => {
                fields.insert("storage".to_owned(), Value::Null);
            }
        }
        Value::Object(fields)
    };
    let trash = |(was, amount): &(String, Amount)| json!({"was": was, "files": amount.files, "bytes": amount.bytes});
    let mut fields = objects::object(json!({
        "type": "prune",
        "done": is_done,
        "exit_code": exit_code.number(),
        "zone": asked.zone.iana_name(),
        "backups": outlook.facts.iter().zip(&outlook.verdicts).map(backup).collect::<Vec<_>>(),
        "remove": outlook.going(),
        "bytes": outlook.bytes_going(),
        "partials": outlook.partials.iter().map(partial).collect::<Vec<_>>(),
        "trash": outlook.trash.iter().map(trash).collect::<Vec<_>>(),
    }));
    paths::insert(&mut fields, "repository", repository.root());
    fields
}

fn reason_object(reason: &Reason) -> Value {
    let of = match reason {
        Reason::Pinned(text)
        | Reason::Tag(text)
        | Reason::Counted(_, text)
        | Reason::NeededByPartial(text)
        | Reason::MayBeNeededBy(text)
        | Reason::InUse(text)
        | Reason::Incomplete(text) => Value::from(text.as_str()),
        Reason::NeededBy(ids) => ids.clone().into(),
        Reason::Newest
        | Reason::NewestVerified
        | Reason::Within
        | Reason::WithinByNumber
        | Reason::Unreadable
        | Reason::HighestNumber
        | Reason::NothingNewer
        | Reason::NoRule => Value::Null,
    };
    json!({ "reason": reason.name(), "of": of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_go_on_in_the_next_line() {
        assert_eq!(wrap("newest, last, daily", 12), ["newest,", "last, daily"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("a 1234567 b", 5), ["a", "12345", "67 b"]);
    }
}
