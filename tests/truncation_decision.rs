//! The decision which logs may go (decisions 1 to 7), against what a person would ask: is anything gone that a recovery
//! or a restore still needs? And against the range of the protocol (§3.3, §8.1), for what must not stay without reason.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jetbak::engine::ese::fields::Generation;
use jetbak::engine::ese::truncation::{
    Anchor, Backup, DatabaseKey, DatabaseState, Decided, Fate, LogState, Needs, Reason, Situation, decide, relied_on,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const NAMES: [&str; 3] = ["a.edb", "b.edb", "c.edb"];

fn generation(number: u32) -> Generation {
    Generation(number)
}

fn key(name: &str) -> DatabaseKey {
    DatabaseKey { path: PathBuf::from(name), signature: format!("of {name}") }
}

fn database(name: &str, needs: Needs) -> DatabaseState {
    DatabaseState { key: key(name), is_of_stream: true, needs }
}

/// A proven full backup.
fn full(sequence: u64, logs: (u32, u32), databases: &[&str]) -> Backup {
    Backup {
        sequence,
        is_full: true,
        parent: None,
        is_proven: true,
        logs: Some((generation(logs.0), generation(logs.1))),
        databases: databases.iter().map(|name| key(name)).collect(),
    }
}

fn incremental(sequence: u64, parent: u64, logs: (u32, u32)) -> Backup {
    Backup { is_full: false, parent: Some(parent), databases: BTreeSet::new(), ..full(sequence, logs, &[]) }
}

/// Closed logs of a range, and the current one after them.
fn logs(low: u32, current: u32) -> Vec<LogState> {
    let log = |number| LogState { generation: generation(number), is_closed: number != current, is_left_out: false };
    (low..=current).map(log).collect()
}

/// Logs 5 to 9 and the current one, 10; checkpoint in 8; one clean database.
fn clean() -> Situation {
    Situation {
        logs: logs(5, 10),
        checkpoint: Some(Anchor::At(generation(8))),
        databases: vec![database("a.edb", Needs::Nothing)],
        has_doubtful_logs: false,
    }
}

fn gone(decided: &[Decided]) -> Vec<u32> {
    decided.iter().filter(|log| log.fate != Fate::Kept).map(|log| log.generation.0).collect()
}

fn reasons_of(decided: &[Decided], number: u32) -> Vec<Reason> {
    let log = decided.iter().find(|log| log.generation.0 == number).expect("a log of this number");
    log.reasons.clone()
}

#[test]
fn a_full_backup_over_checkpoint_8_supersedes_what_lies_below_it() {
    let decided = decide(&clean(), &[full(1, (8, 10), &["a.edb"])], Some(generation(8)));
    assert_eq!(gone(&decided), [5, 6, 7]);
    assert!(decided[..3].iter().all(|log| log.fate == Fate::Superseded(1)), "{decided:?}");
    assert_eq!(reasons_of(&decided, 7), [Reason::BelowCheckpoint(generation(8)), Reason::SupersededBy(1)]);
    assert!(reasons_of(&decided, 8).contains(&Reason::NotBelowCheckpoint(generation(8))));
    assert_eq!(reasons_of(&decided, 10)[0], Reason::Current);
}

#[test]
fn without_a_proven_full_backup_of_every_database_nothing_goes() {
    assert_eq!(gone(&decide(&clean(), &[], None)), [0; 0]);
    let unproven = Backup { is_proven: false, ..full(1, (8, 10), &["a.edb"]) };
    assert_eq!(gone(&decide(&clean(), &[unproven], None)), [0; 0]);
    assert_eq!(gone(&decide(&clean(), &[full(1, (8, 10), &["b.edb"])], None)), [0; 0]);
    assert_eq!(gone(&decide(&clean(), &[incremental(1, 0, (5, 10))], None)), [0; 0]);
    let another = DatabaseKey { signature: "of another".to_owned(), ..key("a.edb") };
    let of_another = Backup { databases: BTreeSet::from([another]), ..full(1, (8, 10), &[]) };
    assert_eq!(gone(&decide(&clean(), &[of_another], None)), [0; 0]);
    let bare = Situation { databases: Vec::new(), ..clean() };
    let decided = decide(&bare, &[full(1, (5, 10), &["a.edb"])], None);
    assert_eq!(gone(&decided), [0; 0]);
    assert!(reasons_of(&decided, 5).contains(&Reason::NoDatabase));
}

#[test]
fn case_46_a_database_that_this_backup_lacks_keeps_the_logs_from_the_end_of_its_own_last_full() {
    let two =
        Situation { databases: vec![database("a.edb", Needs::Nothing), database("b.edb", Needs::Nothing)], ..clean() };
    let history = [full(1, (3, 6), &["a.edb", "b.edb"]), full(2, (8, 10), &["a.edb"])];
    let decided = decide(&two, &history, Some(generation(8)));
    assert_eq!(gone(&decided), [5]);
    assert_eq!(decided[0].fate, Fate::Held(1), "superseded for one, held for the other");
    assert!(reasons_of(&decided, 6).contains(&Reason::NotCovered(1, generation(6))));
}

#[test]
fn case_47_a_database_that_never_was_in_a_full_keeps_everything() {
    let two =
        Situation { databases: vec![database("a.edb", Needs::Nothing), database("b.edb", Needs::Nothing)], ..clean() };
    let decided = decide(&two, &[full(2, (8, 10), &["a.edb"])], Some(generation(8)));
    assert_eq!(gone(&decided), [0; 0]);
    assert_eq!(reasons_of(&decided, 5), [Reason::BelowCheckpoint(generation(8)), Reason::NeverBackedUp(1)]);
}

#[test]
fn case_48_a_gap_below_the_range_keeps_nothing() {
    let mut gap = clean();
    gap.logs.retain(|log| log.generation.0 != 6);
    assert_eq!(gone(&decide(&gap, &[full(1, (8, 10), &["a.edb"])], Some(generation(8)))), [5, 7]);
}

#[test]
fn case_50_the_smaller_wins() {
    let history = [full(1, (8, 10), &["a.edb"])];
    let moved_back = Situation { checkpoint: Some(Anchor::At(generation(6))), ..clean() };
    assert_eq!(gone(&decide(&moved_back, &history, Some(generation(8)))), [5]);
    let moved_on = Situation { checkpoint: Some(Anchor::At(generation(10))), ..clean() };
    assert_eq!(gone(&decide(&moved_on, &history, Some(generation(7)))), [5, 6]);
    let dirty = Situation { databases: vec![database("a.edb", Needs::Logs(generation(7), generation(9)))], ..clean() };
    let decided = decide(&dirty, &history, Some(generation(8)));
    assert_eq!(gone(&decided), [5, 6]);
    assert!(reasons_of(&decided, 7).contains(&Reason::RequiredBy(0)));
    assert!(reasons_of(&decided, 10).contains(&Reason::AfterRequired(0)));
    assert_eq!(gone(&decide(&clean(), &history, Some(generation(5)))), [0; 0], "del min is del mac");
}

#[test]
fn what_cannot_be_known_keeps_everything() {
    let history = [full(1, (8, 10), &["a.edb"])];
    for checkpoint in [None, Some(Anchor::Missing), Some(Anchor::Damaged), Some(Anchor::Foreign)] {
        assert_eq!(gone(&decide(&Situation { checkpoint, ..clean() }, &history, None)), [0; 0], "{checkpoint:?}");
    }
    let doubtful = Situation { has_doubtful_logs: true, ..clean() };
    assert_eq!(gone(&decide(&doubtful, &history, None)), [0; 0]);
    let unknown = DatabaseState { is_of_stream: false, ..database("x.edb", Needs::Unknown("damaged".to_owned())) };
    let with_unknown = Situation { databases: [clean().databases, vec![unknown]].concat(), ..clean() };
    assert_eq!(gone(&decide(&with_unknown, &history, None)), [0; 0]);
    assert_eq!(gone(&decide(&clean(), &history, Some(generation(0)))), [0; 0], "unknown at begin");
}

#[test]
fn the_newest_log_stays_also_where_no_current_one_is_there() {
    let mut headless = clean();
    headless.logs.retain(|log| log.is_closed);
    headless.checkpoint = Some(Anchor::At(generation(10)));
    assert_eq!(gone(&decide(&headless, &[full(1, (8, 9), &["a.edb"])], None)), [5, 6, 7, 8]);
    assert_eq!(gone(&decide(&headless, &[full(1, (8, 10), &["a.edb"])], None)), [0; 0], "it knows of a later log");
}

#[test]
fn a_log_that_is_still_written_stays_wherever_it_stands_and_so_does_what_follows() {
    let mut odd = clean();
    odd.logs[1].is_closed = false;
    let decided = decide(&odd, &[full(1, (8, 10), &["a.edb"])], Some(generation(8)));
    assert_eq!(gone(&decided), [5]);
    assert_eq!(reasons_of(&decided, 6)[0], Reason::Current);
    assert!(reasons_of(&decided, 7).contains(&Reason::AboveKept(generation(6))));
}

#[test]
fn incremental_backups_that_join_on_hold_logs_and_the_last_one_of_each_was_not_closed() {
    let later = Situation { checkpoint: Some(Anchor::At(generation(10))), ..clean() };
    let joined = [full(1, (4, 6), &["a.edb"]), incremental(2, 1, (6, 8))];
    let decided = decide(&later, &joined, None);
    assert_eq!(gone(&decided), [5, 6, 7], "8 was still written when it was copied");
    assert_eq!(
        decided.iter().map(|log| log.fate).take(3).collect::<Vec<_>>(),
        [Fate::Held(1), Fate::Held(2), Fate::Held(2)]
    );
    let apart = [full(1, (4, 6), &["a.edb"]), incremental(2, 1, (7, 9))];
    assert_eq!(gone(&decide(&later, &apart, None)), [5], "log 6 is in no backup as it is now");
}

#[test]
fn an_increment_holds_logs_only_on_top_of_what_it_builds_on() {
    let later = Situation { checkpoint: Some(Anchor::At(generation(10))), ..clean() };
    let unproven = Backup { is_proven: false, ..full(2, (4, 7), &["a.edb"]) };
    let on_another = [full(1, (4, 7), &["a.edb"]), unproven.clone(), incremental(3, 2, (7, 9))];
    assert_eq!(gone(&decide(&later, &on_another, None)), [5, 6], "its own full was never proven");
    let on_a_gone_one = [full(1, (4, 7), &["a.edb"]), incremental(3, 2, (7, 9))];
    assert_eq!(gone(&decide(&later, &on_a_gone_one, None)), [5, 6], "the one between is not there any more");
    let chain = [full(1, (4, 6), &["a.edb"]), incremental(2, 1, (6, 8)), incremental(3, 2, (8, 10))];
    let decided = decide(&later, &chain, None);
    assert_eq!(gone(&decided), [5, 6, 7, 8, 9]);
    assert_eq!(decided[4].fate, Fate::Held(3));
    assert_eq!(relied_on(&later, &chain), BTreeSet::from([1, 2, 3]));
    let broken = [chain[0].clone(), Backup { is_proven: false, ..chain[1].clone() }, chain[2].clone()];
    assert_eq!(gone(&decide(&later, &broken, None)), [5], "what is on top of a broken one holds nothing");
    assert_eq!(relied_on(&later, &on_another), BTreeSet::from([1]));
}

/// How far a database can be restored: from a proven full backup on, through those increments that build on it one after the
/// other, and from the last of them on through the logs on the disk.
fn reach(name: &DatabaseKey, backups: &[Backup], disk: &BTreeSet<u32>) -> Option<u32> {
    fn along(end: u32, on: &Backup, backups: &[Backup], disk: &BTreeSet<u32>) -> u32 {
        let next = backups.iter().filter(|backup| backup.is_proven && !backup.is_full);
        let next = next.filter(|backup| backup.parent == Some(on.sequence));
        let joined = next.filter_map(|backup| {
            let (_, high) = backup.logs.filter(|(low, _)| low.0 <= end)?;
            Some(along(end.max(high.0), backup, backups, disk))
        });
        let on_the_spot = (end..end + 100).find(|number| !disk.contains(number)).expect("few are on the disk");
        joined.max().unwrap_or(end).max(on_the_spot)
    }
    let fulls = backups.iter().filter(|backup| backup.is_proven && backup.is_full);
    let fulls = fulls.filter(|backup| backup.databases.contains(name));
    fulls.filter_map(|full| Some(along(full.logs?.1.0, full, backups, disk))).max()
}

fn needs() -> impl Strategy<Value = Needs> {
    prop_oneof![
        4 => Just(Needs::Nothing),
        3 => (1_u32..14, 0_u32..4).prop_map(|(low, more)| Needs::Logs(generation(low), generation(low + more))),
        1 => Just(Needs::Unknown("damaged".to_owned())),
    ]
}

fn situations() -> impl Strategy<Value = Situation> {
    let checkpoint = prop_oneof![
        8 => (1_u32..15).prop_map(|number| Some(Anchor::At(generation(number)))),
        1 => select(vec![None, Some(Anchor::Missing), Some(Anchor::Damaged), Some(Anchor::Foreign)]),
    ];
    let closed = subsequence((1..12).collect::<Vec<u32>>(), 0..=11);
    let databases = subsequence(NAMES.to_vec(), 0..=3)
        .prop_flat_map(|names| {
            let count = names.len();
            (Just(names), prop::collection::vec((needs(), prop::bool::weighted(0.9)), count))
        })
        .prop_map(|(names, states)| {
            let state = |(name, (needs, is_of_stream))| DatabaseState { is_of_stream, ..database(name, needs) };
            names.into_iter().zip(states).map(state).collect()
        });
    (closed, prop::option::weighted(0.9, 12_u32..14), checkpoint, databases, prop::bool::weighted(0.05)).prop_map(
        |(closed, current, checkpoint, databases, has_doubtful_logs)| {
            let closed = closed.into_iter().map(|number| LogState {
                generation: generation(number),
                is_closed: true,
                is_left_out: false,
            });
            let current =
                current.map(|number| LogState { generation: generation(number), is_closed: false, is_left_out: false });
            Situation { logs: closed.chain(current).collect(), checkpoint, databases, has_doubtful_logs }
        },
    )
}

fn histories() -> impl Strategy<Value = Vec<Backup>> {
    let one = (
        prop::bool::weighted(0.6),
        prop::bool::weighted(0.9),
        prop::option::weighted(0.95, (1_u32..13, 0_u32..6)),
        subsequence(NAMES.to_vec(), 0..=3),
        prop_oneof![3 => Just(1_u64), 1 => 0_u64..4],
    );
    prop::collection::vec(one, 0..6).prop_map(|backups| {
        let numbered = backups.into_iter().zip(1..);
        numbered
            .map(|((is_full, is_proven, logs, names, back), sequence)| Backup {
                sequence,
                is_full,
                parent: (!is_full).then(|| u64::saturating_sub(sequence, back.max(1))),
                is_proven,
                logs: logs.map(|(low, more)| (generation(low), generation(low + more))),
                databases: names.iter().filter(|_| is_full).map(|name| key(name)).collect(),
            })
            .collect()
    })
}

/// The range of the protocol: what lies below all of these goes, oldest first.
fn limit(situation: &Situation, backups: &[Backup], ceiling: Option<Generation>) -> u32 {
    let current = situation.logs.iter().map(|log| log.generation.0).max().unwrap_or(0);
    let Some(Anchor::At(checkpoint)) = situation.checkpoint else { return 0 };
    let mut limit = current.min(checkpoint.0).min(ceiling.map_or(u32::MAX, |ceiling| ceiling.0));
    if situation.has_doubtful_logs || !situation.databases.iter().any(|database| database.is_of_stream) {
        return 0;
    }
    for database in &situation.databases {
        match database.needs {
            Needs::Logs(low, _) => limit = limit.min(low.0),
            Needs::Unknown(_) => return 0,
            Needs::Nothing => {}
        }
        if database.is_of_stream {
            limit = limit.min(reach(&database.key, backups, &BTreeSet::new()).unwrap_or(0));
        }
    }
    limit
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_goes_that_anybody_needs_and_nothing_stays_without_a_reason(
        situation in situations(),
        backups in histories(),
        ceiling in prop::option::weighted(0.5, (0_u32..15).prop_map(Generation)),
    ) {
        let decided = decide(&situation, &backups, ceiling);
        prop_assert_eq!(decided.len(), situation.logs.len());
        let before: BTreeSet<u32> = situation.logs.iter().map(|log| log.generation.0).collect();
        let gone = gone(&decided);
        // A backup that knows of later logs is of a time that was undone since.
        let current = before.iter().max().copied().unwrap_or(0);
        let is_of_these_times = |backup: &Backup| backup.logs.is_none_or(|(_, high)| high.0 <= current);
        let backups: Vec<_> = backups.into_iter().filter(is_of_these_times).collect();
        let after: BTreeSet<u32> = before.iter().copied().filter(|number| !gone.contains(number)).collect();

        // No gap: everything below a log that goes, goes.
        prop_assert!(gone.iter().max() < after.iter().min() || gone.is_empty(), "gone {:?} of {:?}", gone, before);
        // The current one, and what a recovery on the spot needs, stays.
        for number in &gone {
            prop_assert!(Some(number) != before.iter().max());
            let is_below_checkpoint =
                matches!(situation.checkpoint, Some(Anchor::At(checkpoint)) if *number < checkpoint.0);
            prop_assert!(is_below_checkpoint);
            prop_assert!(ceiling.is_none_or(|ceiling| *number < ceiling.0));
        }
        for database in &situation.databases {
            if let Needs::Logs(low, _) = database.needs {
                prop_assert!(gone.iter().all(|number| *number < low.0), "{:?} are needed by {:?}", gone, database);
            }
            // A restore reaches as far as it did.
            if database.is_of_stream && !gone.is_empty() {
                let reach = |disk| reach(&database.key, &backups, disk);
                let (was, is) = (reach(&before), reach(&after));
                prop_assert!(was.is_some());
                prop_assert_eq!(was, is, "{:?} after {:?} went", database.key, gone);
            }
        }
        // What goes is superseded or held by a backup that was proven, and every log says why.
        for log in &decided {
            let by_number = |wanted: u64| backups.iter().find(|backup| backup.sequence == wanted && backup.is_proven);
            match log.fate {
                Fate::Kept => prop_assert!(log.reasons.iter().any(Reason::keeps)),
                Fate::Superseded(number) => {
                    let first = by_number(number).filter(|backup| backup.is_full).and_then(|backup| backup.logs);
                    prop_assert!(first.is_some_and(|(first, _)| log.generation < first));
                }
                Fate::Held(number) => {
                    let range = by_number(number).and_then(|backup| backup.logs);
                    prop_assert!(range.is_some_and(|(low, high)| low <= log.generation && log.generation < high));
                }
            }
        }
        // Exactly the range of the protocol.
        let limit = limit(&situation, &backups, ceiling);
        let expected: Vec<u32> = before.iter().copied().filter(|number| *number < limit).collect();
        prop_assert_eq!(gone, expected);
    }
}
