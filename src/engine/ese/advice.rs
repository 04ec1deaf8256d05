//! What the engine's own host will do with a backup, in a sentence or two: pure, over what a backup keeps of its instance.

use std::path::PathBuf;

use super::facts::{DatabaseFacts, Facts};
use super::fields::Generation;
use super::ranges::span;
use super::set::Home;
use crate::error::{Jet, printable};

/// What there is to give advice on.
#[derive(Debug)]
pub struct Situation<'a> {
    /// What the instance was.
    pub facts: &'a Facts,
    /// Those of its databases that are meant, and are there.
    pub databases: Vec<&'a DatabaseFacts>,
    /// Databases that could not be read and are not there.
    pub lacking: Vec<PathBuf>,
    /// Databases with damaged pages, and how many those are.
    pub damaged: Vec<(PathBuf, u64)>,
    /// The last log of the backup.
    pub last_log: Option<u32>,
    /// Where its databases are those of an earlier backup: the first log that was taken with them.
    pub forward_from: Option<u32>,
    /// Where the databases were on their host, as far as it is known.
    pub homes: &'a [Home],
}

/// How a database that is there can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Recover,
    Restore,
}

fn way(database: &DatabaseFacts) -> Way {
    match (database.required, database.engine_copy) {
        (None, _) => Way::Open,
        (Some(_), false) => Way::Recover,
        (Some(_), true) => Way::Restore,
    }
}

/// Says what to do with what was restored, sentence by sentence; nothing where there is nothing to say.
pub fn advise(situation: &Situation) -> Vec<String> {
    let all = &situation.databases;
    let by = |wanted: Way| all.iter().copied().filter(|one| way(one) == wanted).collect::<Vec<_>>();
    let (clean, dirty, copies) = (by(Way::Open), by(Way::Recover), by(Way::Restore));
    let mut sentences = Vec::new();
    if situation.facts.databases.is_empty() {
        sentences.push(
            "There is no database in it: its logs are of use only beside the one that they belong to.".to_owned(),
        );
    }
    let behind: Vec<_> = all.iter().copied().filter(|one| way(one) != Way::Restore).collect();
    if let Some(from) = situation.forward_from.filter(|_| !behind.is_empty()) {
        sentences.extend(forward(situation, &behind, from));
    } else if !clean.is_empty() && clean.len() == all.len() {
        let (verb, them) = if all.len() == 1 { ("was", "it as it is") } else { ("were", "them as they are") };
        let subject = subject(all.len(), all.len());
        sentences.push(format!("{subject} {verb} shut down cleanly: the application can open {them}."));
    }
    if !dirty.is_empty() && situation.forward_from.is_none() {
        sentences.extend(recovery(situation, &dirty));
    }
    if !copies.is_empty() {
        let (verb, what) = if copies.len() == 1 { ("was", "it") } else { ("were", "they") };
        let subject = subject(copies.len(), all.len());
        let (number, symbol) = (Jet::SoftRecoveryOnBackupDatabase.number(), Jet::SoftRecoveryOnBackupDatabase.symbol());
        sentences.push(format!(
            "{subject} {verb} copied by the engine's own backup: {what} must be restored with {} (hard recovery: \
             JetExternalRestore, `eseutil /cc`), not just opened [{symbol}, {number}].",
            logs(&copies, None)
        ));
    }
    sentences.extend(flawed(&situation.damaged));
    if let Some(first) = situation.lacking.first() {
        sentences.push(match situation.lacking.len() {
            1 => format!("{} could not be read and is not in the backup.", printable(first)),
            count => {
                format!("{count} databases could not be read and are not in the backup, {} first.", printable(first))
            }
        });
    }
    sentences
}

/// `The database`, `The 3 databases`, `2 of the 3 databases`.
fn subject(number: usize, of: usize) -> String {
    match (number, of) {
        (1, 1) => "The database".to_owned(),
        (number, of) if number == of => format!("The {of} databases"),
        (number, of) => format!("{number} of the {of} databases"),
    }
}

/// Databases of an earlier backup than the logs are: which logs bring them up to date, and by which command.
fn forward(situation: &Situation, behind: &[&DatabaseFacts], from: u32) -> Vec<String> {
    let subject = subject(behind.len(), situation.databases.len());
    let (verb, them) = if behind.len() == 1 { ("is", "it") } else { ("are", "them") };
    let low = behind.iter().filter_map(|one| Some(one.required?.low)).min().unwrap_or(from).min(from);
    let high = situation.last_log.unwrap_or(low).max(low);
    let noun = if low == high { "log" } else { "logs" };
    let replayed = format!("{noun} {}", span(Generation(low), Generation(high)));
    let begin =
        format!("{subject} {verb} older than the logs: a recovery replays {replayed} and brings {them} up to date");
    by_hand(situation, behind, &begin)
}

/// `logs 8-10 (0x8-0xA)`: from the lowest one that is required to the last one that there is to replay.
fn logs(databases: &[&DatabaseFacts], last: Option<u32>) -> String {
    let low = databases.iter().filter_map(|one| Some(one.required?.low)).min().unwrap_or_default();
    let high = databases.iter().filter_map(|one| Some(one.required?.high)).max().unwrap_or_default();
    let high = last.unwrap_or(high).max(high);
    let noun = if low == high { "log" } else { "logs" };
    format!("{noun} {}", span(Generation(low), Generation(high)))
}

/// Dirty databases: which logs, by which command, and where the engine looks for them.
fn recovery(situation: &Situation, dirty: &[&DatabaseFacts]) -> Vec<String> {
    let subject = subject(dirty.len(), situation.databases.len());
    let verb = if dirty.len() == 1 { "needs" } else { "need" };
    let replayed = logs(dirty, situation.last_log);
    let begin = format!("{subject} {verb} recovery: the engine replays {replayed} when the application starts");
    by_hand(situation, dirty, &begin)
}

/// What a recovery does, with the command for it, and where the logs know the databases.
fn by_hand(situation: &Situation, dirty: &[&DatabaseFacts], begin: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let last = situation.last_log.unwrap_or(u32::MAX);
    let committed = dirty.iter().filter_map(|one| one.committed).max().filter(|committed| *committed > last);
    let is_there = |home: &Home| situation.databases.iter().any(|one| one.signature == home.signature);
    let lacks = situation.homes.iter().any(|home| !is_there(home));
    sentences.push(match &situation.facts.base {
        None => format!("{begin}."),
        Some(base) => {
            // What follows a letter must follow it without a space.
            let loss = if committed.is_some() { " /a" } else { "" };
            let ignore = if lacks { " /i" } else { "" };
            format!(
                "{begin}; by hand, on its Windows host: `esentutl /r {} /lLOGDIR /sCHKDIR /dDBDIR{ignore}{loss}`.",
                printable(base)
            )
        }
    });
    if let Some(committed) = committed {
        let missing = span(Generation(last).next(), Generation(committed));
        sentences.push(format!("What was committed in {missing} is lost, which /a accepts."));
    }
    if lacks && situation.facts.base.is_some() {
        sentences.push("/i passes over databases that the logs name and that are not there.".to_owned());
    }
    let homes: Vec<&Home> =
        situation.homes.iter().filter(|home| dirty.iter().any(|one| one.signature == home.signature)).collect();
    if let Some(first) = homes.first() {
        let path = printable(&first.path);
        sentences.push(match homes.len() {
            1 => format!("The logs know it as {path}: without /d it must stand there."),
            count => format!("The logs know them as {path} and {} more: without /d they must stand there.", count - 1),
        });
    }
    sentences
}

fn flawed(damaged: &[(PathBuf, u64)]) -> Option<String> {
    let (first, pages) = damaged.first()?;
    let first = printable(first);
    Some(match damaged.len() {
        1 if *pages == 1 => format!("{first} has 1 damaged page, copied as it was: the engine will refuse that page."),
        1 => format!("{first} has {pages} damaged pages, copied as they were: the engine will refuse those pages."),
        count => {
            let pages: u64 = damaged.iter().map(|(_, pages)| pages).sum();
            format!("{count} databases have {pages} damaged pages, {first} first: the engine will refuse those pages.")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Named, Span};
    use super::*;

    fn database(name: &str, required: Option<(u32, u32)>) -> DatabaseFacts {
        DatabaseFacts {
            file: Named::new(std::path::Path::new(name)),
            state: String::new(),
            state_number: 3,
            page_size: 4096,
            signature: name.to_owned(),
            engine_copy: false,
            required: required.map(|(low, high)| Span { low, high }),
            committed: required.map(|(_, high)| high),
            dbtime: None,
        }
    }

    fn advice(databases: &[DatabaseFacts], change: impl FnOnce(&mut Situation)) -> Option<String> {
        let facts = Facts { base: Some("edb".to_owned()), databases: databases.to_vec(), ..Facts::default() };
        let homes = [Home { signature: "b".to_owned(), path: r"C:\data\b.edb".to_owned() }];
        let mut situation = Situation {
            facts: &facts,
            databases: databases.iter().collect(),
            lacking: Vec::new(),
            damaged: Vec::new(),
            last_log: Some(10),
            forward_from: None,
            homes: &homes[..databases.len().min(1)],
        };
        change(&mut situation);
        Some(advise(&situation).join(" ")).filter(|told| !told.is_empty())
    }

    #[test]
    fn clean_databases_can_be_opened() {
        let none = "There is no database in it: its logs are of use only beside the one that they belong to.";
        assert_eq!(advice(&[], |_| {}).as_deref(), Some(none));
        assert_eq!(advice(&[database("b", None)], |situation| situation.databases.clear()), None);
        let clean = "The database was shut down cleanly: the application can open it as it is.";
        assert_eq!(advice(&[database("b", None)], |_| {}).as_deref(), Some(clean));
        let both = "The 2 databases were shut down cleanly: the application can open them as they are.";
        assert_eq!(advice(&[database("a", None), database("b", None)], |_| {}).as_deref(), Some(both));
    }

    #[test]
    fn dirty_ones_are_recovered_where_the_logs_know_them() {
        let dirty = "The database needs recovery: the engine replays logs 8-10 (0x8-0xA) when the application starts; by \
                     hand, on its Windows host: `esentutl /r edb /lLOGDIR /sCHKDIR /dDBDIR`. The logs know it as \
                     C:\\data\\b.edb: without /d it must stand there.";
        assert_eq!(advice(&[database("b", Some((8, 9)))], |_| {}).as_deref(), Some(dirty));
        let one = advice(&[database("a", None), database("b", Some((8, 10)))], |_| {}).expect("advice");
        assert!(one.starts_with("1 of the 2 databases needs recovery: "), "{one}");
        let lost = DatabaseFacts { committed: Some(12), ..database("b", Some((8, 10))) };
        let lost = advice(&[lost], |_| {}).expect("advice");
        assert!(lost.contains("/dDBDIR /a`. What was committed in 11-12 (0xB-0xC) is lost"), "{lost}");
        let other = advice(&[database("a", Some((8, 10)))], |_| {}).expect("advice");
        assert!(other.contains("/dDBDIR /i`. /i passes over databases"), "{other}");
        assert!(!other.contains("The logs know"), "{other}");
        let bare = advice(&[database("b", Some((10, 10)))], |situation| situation.homes = &[]).expect("advice");
        assert!(bare.contains("replays log 10 (0xA) when") && !bare.contains("The logs know"), "{bare}");
    }

    #[test]
    fn databases_of_an_earlier_backup_are_brought_up_to_date() {
        let forward = |situation: &mut Situation| situation.forward_from = Some(8);
        let told = "The database is older than the logs: a recovery replays logs 8-10 (0x8-0xA) and brings it up to date; by \
                    hand, on its Windows host: `esentutl /r edb /lLOGDIR /sCHKDIR /dDBDIR`. The logs know it as \
                    C:\\data\\b.edb: without /d it must stand there.";
        assert_eq!(advice(&[database("b", None)], forward).as_deref(), Some(told), "shut down cleanly then");
        assert_eq!(advice(&[database("b", Some((9, 10)))], forward).as_deref(), Some(told), "or not");
        let lower = advice(&[database("b", Some((7, 9)))], forward).expect("advice");
        assert!(lower.contains("replays logs 7-10 (0x7-0xA) and"), "{lower}");
        let two = advice(&[database("a", None), database("b", Some((9, 9)))], forward).expect("advice");
        assert!(two.starts_with("The 2 databases are older than the logs: a recovery replays logs 8-10"), "{two}");
        assert!(!two.contains("shut down") && !two.contains("needs recovery"), "{two}");
        let copy = DatabaseFacts { engine_copy: true, ..database("b", Some((4, 7))) };
        assert!(advice(&[copy], forward).expect("advice").starts_with("The database was copied by the engine's own"));
        assert_eq!(advice(&[database("b", None)], |it| (it.forward_from, it.databases) = (Some(8), Vec::new())), None);
    }

    #[test]
    fn what_the_engine_copied_must_be_restored() {
        let copy = DatabaseFacts { engine_copy: true, ..database("b", Some((4, 7))) };
        let told = "The database was copied by the engine's own backup: it must be restored with logs 4-7 (0x4-0x7) (hard \
                    recovery: JetExternalRestore, `eseutil /cc`), not just opened \
                    [JET_errSoftRecoveryOnBackupDatabase, -544].";
        assert_eq!(advice(&[copy], |_| {}).as_deref(), Some(told));
    }

    #[test]
    fn damage_and_what_is_not_there_are_told() {
        let told = advice(&[database("b", None)], |situation| {
            situation.damaged = vec![("b".into(), 1)];
            situation.lacking = vec!["a".into()];
        });
        assert!(told.expect("advice").ends_with(
            "b has 1 damaged page, copied as it was: the engine will refuse that page. a could not be read and is not in \
             the backup."
        ));
    }
}
