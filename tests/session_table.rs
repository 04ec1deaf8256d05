//! The transition table of the protocol (§1.4, cases 1–21 and 65–72), cell by cell: what may be asked of a session in
//! which state, and what may happen to it.

use jetbak::error::Error;
use jetbak::session::event::{Batch, Event, Failure, Kind, Outcome, Phase};
use jetbak::session::state::{Call, EntryState, Live, Refusal, State, Takeable, Terms};

const FULL: Terms = Terms { kind: Kind::Full, repository: true };

/// Three databases and two logs; a database line has 10 bytes, so has a log line.
const DATABASES: u64 = 3;
const LOGS: u64 = 2;

/// What each call answers: `ok`, or the number of its refusal, with a letter where several refusals share a number:
/// r: a reader lives, d: databases are left, a: a database after its phase, p: published already.
///
/// `†` marks a dead reader that left a batch open. Where the engine answers -521 for a list in L2, we answer ok: it has
/// one file handle, we have several readers that list together, and a dry run that changes nothing.
const ANSWERS: &str = "
                  files read  db     log    list   dry    trunc  end    abort publish stop
    N             -520  -520  -520   -520   -520   -520   -520   -520   -520  -520    ok
    D0            ok    ok    ok     -1203  -521d  -521d  -521d  ok     ok    -521d   ok
    D1            ok    ok    ok     -1203  -521r  -521r  -521r  -521r  ok    -521r   ok
    D1†           ok    ok    ok     -1203  -521d  -521d  -521d  ok     ok    -521d   ok
    D-read        ok    ok    ok     -1203  ok     ok     -521d  ok     ok    -521d   ok
    D-read+r      ok    ok    ok     -1203  ok     ok     -521r  -521r  ok    -521r   ok
    L1            ok    ok    -521a  ok     ok     ok     -616   ok     ok    -616    ok
    L1-part       ok    ok    -521a  ok     ok     ok     -616   ok     ok    -616    ok
    L2            ok    ok    -521a  ok     ok     ok     -521r  -521r  ok    -521r   ok
    L2†           ok    ok    -521a  ok     ok     ok     -616   ok     ok    -616    ok
    L1-read       ok    ok    -521a  ok     ok     ok     ok     ok     ok    ok      ok
    L1-read+r     ok    ok    -521a  ok     ok     ok     -521r  -521r  ok    -521r   ok
    L1-none       ok    ok    -521a  ok     ok     ok     ok     ok     ok    ok      ok
    L1-out        ok    ok    -521a  ok     ok     -521i  -521i  ok     ok    ok      ok
    X-D0          -801  -801  -801   -801   -801   -801   -801   ok     ok    -801    ok
    X-D1          -801  -801  -801   -801   -801   -801   -801   ok     ok    -801    ok
    X-D-read      -801  -801  -801   -801   -801   -801   -801   ok     ok    -801    ok
    X-L1          -801  -801  -801   -801   -801   -801   -801   ok     ok    -801    ok
    X-L2          -801  -801  -801   -801   -801   -801   -801   ok     ok    -801    ok
    X-L1-read     -801  -801  -801   -801   -801   -801   -801   ok     ok    -801    ok
    P             ok    -521p -521a  -521p  -521p  ok     ok     ok     ok    ok      ok
    P2            ok    -521p -521a  -521p  -521p  ok     ok     ok     ok    ok      ok
    P2+r          ok    -521p -521a  -521p  -521p  ok     -521r  -521r  ok    -521r   ok
    P2-trunc      ok    -521p -521a  -521p  -521p  ok     ok     ok     ok    ok      ok
    E             -520  -520  -520   -520   -520   -520   -520   -520   -520  -520    ok
    E-stopped     -520  -520  -520   -520   -520   -520   -520   -520   -520  -520    ok
";

/// Which events may follow in which state: `+` it may, `-` it cannot.
///
/// open: the last entry of the list, by reader 2; take: the batch from entry 0 on that reader 1 has or had; close and
/// fail: that batch, by reader 1. The letters d and l say which list.
const EVENTS: &str = "
                  begun open-d take-d close-d fail-d open-l take-l close-l fail-l synced listed publishing published truncating truncated stopped ended
    N             +     -      -      -       -      -      -      -       -      -      -      -          -         -          -         -       -
    D0            -     +      +      -       -      -      -      -       -      +      -      -          -         -          -         +       +
    D1            -     +      +      +       +      -      -      -       -      +      -      -          -         -          -         +       +
    D-read        -     -      -      -       -      -      -      -       -      +      +      -          -         -          -         +       +
    L1            -     -      -      -       -      +      +      -       -      +      -      -          -         -          -         +       +
    L1-part       -     -      -      -       -      +      -      -       -      +      -      -          -         -          -         +       +
    L2            -     -      -      -       -      +      +      +       +      +      -      -          -         -          -         +       +
    L1-read       -     -      -      -       -      -      -      -       -      +      -      +          -         -          -         +       +
    L1-none       -     -      -      -       -      -      -      -       -      +      -      +          -         -          -         +       +
    X-D0          -     -      -      -       -      -      -      -       -      +      -      -          -         -          -         +       +
    X-D1          -     -      -      +       +      -      -      -       -      +      -      -          -         -          -         +       +
    X-D-read      -     -      -      -       -      -      -      -       -      +      -      -          -         -          -         +       +
    X-L1          -     -      -      -       -      -      -      -       -      +      -      -          -         -          -         +       +
    X-L2          -     -      -      -       -      -      -      +       +      +      -      -          -         -          -         +       +
    X-L1-read     -     -      -      -       -      -      -      -       -      +      -      -          -         -          -         +       +
    P             -     -      -      -       -      -      -      -       -      +      -      +          +         -          -         -       +
    P2            -     -      -      -       -      -      -      -       -      +      -      -          +         +          -         -       +
    P2-trunc      -     -      -      -       -      -      -      -       -      +      -      -          +         +          +         -       +
    E             -     -      -      -       -      -      -      -       -      -      -      -          -         -          -         -       -
    E-stopped     -     -      -      -       -      -      -      -       -      -      -      -          -         -          -         -       -
";

#[test]
fn every_call_answers_in_every_state_as_the_table_says() {
    let (columns, rows) = parse(ANSWERS);
    assert_eq!(columns.len(), 11, "a column for each call");
    for (name, cells) in rows {
        let (state, live) = stage(name);
        for (column, expected) in columns.iter().zip(cells) {
            let answer = answer(state.decide(call(column), FULL, &live));
            assert_eq!(answer, expected, "{column} in {name}");
        }
    }
}

#[test]
fn every_event_follows_in_every_state_as_the_table_says() {
    let (columns, rows) = parse(EVENTS);
    for (name, cells) in rows {
        let (before, _) = stage(name);
        for (column, expected) in columns.iter().zip(cells) {
            let mut state = before.clone();
            let applied = state.apply(&event(column));
            assert_eq!(if applied.is_ok() { "+" } else { "-" }, expected, "{column} in {name}: {applied:?}");
            assert!(applied.is_ok() || state == before, "a refused {column} changed {name}");
        }
    }
}

#[test]
fn only_a_full_backup_into_a_repository_truncates_and_nothing_else_depends_on_the_terms() {
    let others = [(Kind::Full, false, "-521n"), (Kind::Copy, true, "-1003"), (Kind::Copy, false, "-1003")];
    let (columns, rows) = parse(ANSWERS);
    for (name, cells) in rows {
        let (state, live) = stage(name);
        for (kind, repository, refused) in others {
            for (column, full) in columns.iter().zip(&cells) {
                let truncates = matches!(*column, "dry" | "trunc");
                let first = matches!(*full, "-520" | "-801"); // no backup and a stop come before everything else
                let expected = if truncates && !first { refused } else { full };
                let answer = answer(state.decide(call(column), Terms { kind, repository }, &live));
                assert_eq!(answer, expected, "{column} in {name}, {kind:?}, repository {repository}");
            }
        }
    }
}

#[test]
fn a_stopped_call_says_who_stopped_it_and_why() {
    let (state, live) = stage("X-L2");
    let refusal = state.decide(Call::Read, FULL, &live).expect_err("it was stopped");
    assert_eq!(refusal, Refusal::Stopped { who: "ann".into(), reason: Some("disk swap".into()) });
    let error = Error::from(refusal);
    assert_eq!(error.to_string(), "the backup was stopped by ann: disk swap [JET_errBackupAbortByServer, -801]");
    assert_eq!(error.exit_code().number(), 4);
}

#[test]
fn the_first_stop_counts_and_a_second_changes_nothing() {
    let (mut state, _) = stage("X-D0");
    let before = state.clone();
    state.apply(&Event::Stopped { who: "bob".into(), reason: None }).expect("stopping twice is stopping once");
    assert_eq!(state, before);
}

#[test]
fn refusals_end_with_the_exit_code_of_their_class() {
    for (refusal, number, exit) in [
        (Refusal::NoBackup, -520, 5),
        (Refusal::Stopped { who: "ann".into(), reason: None }, -801, 4),
        (Refusal::ReaderAlive(1), -521, 5),
        (Refusal::DatabasesLeft, -521, 5),
        (Refusal::LogBeforeItsPhase, -1203, 2),
        (Refusal::DatabaseAfterItsPhase, -521, 5),
        (Refusal::LogsLeft, -616, 5),
        (Refusal::KindKeepsLogs("copy"), -1003, 2),
        (Refusal::NoRepository, -521, 5),
        (Refusal::Published("000001".into()), -521, 5),
    ] {
        let error = Error::from(refusal.clone());
        let jet = error.jet_code().expect("every refusal has a number").number();
        assert_eq!((jet, error.exit_code().number()), (number, exit), "{refusal:?}");
        assert!(error.advice().is_some(), "{refusal:?} says what to do next");
    }
}

#[test]
fn a_batch_that_does_not_fit_its_list_is_refused() {
    let (d1, _) = stage("D1");
    for (why, first, count, offset, end) in [
        ("empty", 2, 0, 20, 20),
        ("behind the end", 3, 1, 30, 40),
        ("over the end", 2, 2, 20, 40),
        ("wraps around", 2, u64::MAX, 20, 40),
        ("backwards", 2, 1, 30, 20),
        ("the held batch, but shorter", 0, 1, 0, 10),
        ("the held batch, but longer", 0, 3, 0, 30),
        ("the held batch, with other bytes", 0, 2, 0, 19),
        ("within the held batch", 1, 1, 10, 20),
        ("overlaps the held batch", 1, 2, 10, 30),
    ] {
        let batch = Batch { first, count, offset, end };
        let opened = Event::Opened { reader: 2, phase: Phase::Databases, batch };
        let mut state = d1.clone();
        assert!(state.apply(&opened).is_err(), "{why}");
        assert_eq!(state, d1, "{why}");
    }
}

#[test]
fn a_batch_ends_before_the_next_one_that_is_taken() {
    let (mut state, _) = stage("D0");
    apply(&mut state, &opened(1, Phase::Databases, 1, 1));
    state.clone().apply(&opened(2, Phase::Databases, 0, 2)).expect_err("its second entry is taken");
    apply(&mut state, &Event::Closed { reader: 1, phase: Phase::Databases, first: 1 });
    state.clone().apply(&opened(2, Phase::Databases, 0, 3)).expect_err("its second entry is done");
    apply(&mut state, &opened(2, Phase::Databases, 0, 1));
}

#[test]
fn a_file_that_was_left_out_is_not_read_again_after_its_phase_a_stop_or_the_commit() {
    let (mut state, _) = stage("D0");
    let left_out =
        |phase, count| [opened(1, phase, 0, count), failed(phase, 0), Event::Closed { reader: 1, phase, first: 0 }];
    for event in &left_out(Phase::Databases, DATABASES) {
        apply(&mut state, event);
    }
    let again = |phase| opened(2, phase, 0, 1);
    apply(&mut state.clone(), &again(Phase::Databases));

    apply(&mut state, &listed(LOGS));
    state.clone().apply(&again(Phase::Databases)).expect_err("its phase is over");
    for event in &left_out(Phase::Logs, LOGS) {
        apply(&mut state, event);
    }
    apply(&mut state.clone(), &again(Phase::Logs));

    let mut halted = state.clone();
    apply(&mut halted, &stopped());
    halted.apply(&again(Phase::Logs)).expect_err("the session is stopped");
    apply(&mut state, &publishing());
    state.apply(&again(Phase::Logs)).expect_err("the backup is published");
}

#[test]
fn only_the_holder_closes_a_batch_and_only_by_its_first_entry() {
    let (d1, _) = stage("D1");
    for (reader, phase, first) in [(2, Phase::Databases, 0), (1, Phase::Databases, 1), (1, Phase::Logs, 0)] {
        assert!(d1.clone().apply(&Event::Closed { reader, phase, first }).is_err(), "{reader} {phase:?} {first}");
    }
}

#[test]
fn what_is_proven_never_becomes_less() {
    let mut state = State::default();
    apply(&mut state, &Event::Begun { databases: DATABASES });
    apply(&mut state, &Event::Synced { reader: 1, records: 100, files: 2, bytes: 50 });
    apply(&mut state, &Event::Synced { reader: 1, records: 100, files: 2, bytes: 50 });
    apply(&mut state, &Event::Synced { reader: 2, records: 1, files: 1, bytes: 1 });
    for (records, files) in [(99, 2), (100, 1)] {
        let less = Event::Synced { reader: 1, records, files, bytes: 50 };
        assert!(state.clone().apply(&less).is_err(), "{records} {files}");
    }
    let total = state.proven_total();
    assert_eq!((total.records, total.files, total.bytes), (101, 3, 51));
}

/// Opening the left-out file alone used to split the batch and call its other entries done, though nobody had read
/// them: the backup then lacked them without a word.
#[test]
fn a_file_left_out_of_a_batch_that_is_still_open_is_not_read_again_alone() {
    let mut state = State::default();
    apply(&mut state, &Event::Begun { databases: DATABASES });
    apply(&mut state, &opened(1, Phase::Databases, 0, 3));
    apply(&mut state, &failed(Phase::Databases, 1));
    assert!(matches!(state.entry(Phase::Databases, 1), EntryState::Taken(1, _)), "its batch is not closed");
    let before = state.clone();
    state.apply(&opened(2, Phase::Databases, 1, 1)).expect_err("the batch is still open");
    assert_eq!(state, before);
    for index in 0..DATABASES {
        assert!(matches!(state.entry(Phase::Databases, index), EntryState::Taken(1, _)), "entry {index}");
    }
}

/// The second failure used to be refused as "failed without being read", so that no reader could ever finish.
#[test]
fn who_takes_over_from_a_dead_reader_tries_again_what_that_one_left_out() {
    let mut state = State::default();
    apply(&mut state, &Event::Begun { databases: DATABASES });
    apply(&mut state, &opened(1, Phase::Databases, 0, 3));
    apply(&mut state, &failed(Phase::Databases, 1));
    apply(&mut state, &failed(Phase::Databases, 2));
    apply(&mut state, &opened(2, Phase::Databases, 0, 3));
    assert!(state.excluded().is_empty());
    apply(&mut state, &failed(Phase::Databases, 1));
    apply(&mut state, &Event::Closed { reader: 2, phase: Phase::Databases, first: 0 });
    let entries = [0, 1, 2].map(|index| state.entry(Phase::Databases, index));
    assert_eq!(entries, [EntryState::Done, EntryState::Excluded, EntryState::Done]);
}

#[test]
fn a_file_that_was_left_out_can_be_read_once_more_and_its_neighbours_stay_done() {
    for index in 0..DATABASES {
        let mut state = State::default();
        apply(&mut state, &Event::Begun { databases: DATABASES });
        apply(&mut state, &opened(1, Phase::Databases, 0, 3));
        apply(&mut state, &failed(Phase::Databases, index));
        apply(&mut state, &Event::Closed { reader: 1, phase: Phase::Databases, first: 0 });
        assert!(state.is_complete(Phase::Databases), "left out counts as settled");
        apply(&mut state, &opened(2, Phase::Databases, index, 1));
        assert!(!state.is_complete(Phase::Databases) && state.excluded().is_empty());
        for other in (0..DATABASES).filter(|other| *other != index) {
            assert_eq!(state.entry(Phase::Databases, other), EntryState::Done);
        }
        let batch = Batch { first: index, count: 1, offset: index * 10, end: index * 10 + 10 };
        assert_eq!(state.takeable(Phase::Databases, &Live::from([2])), None);
        assert_eq!(state.takeable(Phase::Databases, &Live::new()), Some(Takeable::Abandoned(batch)));
        apply(&mut state, &Event::Closed { reader: 2, phase: Phase::Databases, first: index });
        assert!(state.is_complete(Phase::Databases));
        assert_eq!(state.entry(Phase::Databases, index), EntryState::Done);
    }
}

/// Columns, and rows of a name with its cells.
fn parse(table: &'static str) -> (Vec<&'static str>, Vec<(&'static str, Vec<&'static str>)>) {
    let mut lines = table.lines().map(str::split_whitespace).map(Iterator::collect::<Vec<_>>).filter(|l| !l.is_empty());
    let columns = lines.next().expect("a table has a head");
    let rows: Vec<_> = lines.map(|line| (line[0], line[1..].to_vec())).collect();
    assert!(rows.iter().all(|(_, cells)| cells.len() == columns.len()), "every row has every column");
    (columns, rows)
}

fn call(column: &str) -> Call {
    match column {
        "files" => Call::Files,
        "read" => Call::Read,
        "db" => Call::ReadFile(Phase::Databases),
        "log" => Call::ReadFile(Phase::Logs),
        "list" => Call::ListLogs,
        "dry" => Call::DryRunTruncate,
        "trunc" => Call::Truncate,
        "end" => Call::End,
        "abort" => Call::Abort,
        "publish" => Call::Publish,
        "stop" => Call::Stop,
        _ => panic!("no call {column}"),
    }
}

fn answer(decided: Result<(), Refusal>) -> String {
    let Err(refusal) = decided else { return "ok".into() };
    let letter = match &refusal {
        Refusal::ReaderAlive(_) => "r",
        Refusal::DatabasesLeft => "d",
        Refusal::DatabaseAfterItsPhase => "a",
        Refusal::NoRepository => "n",
        Refusal::Incomplete => "i",
        Refusal::Published(_) => "p",
        Refusal::NoBackup
        | Refusal::Stopped { .. }
        | Refusal::LogBeforeItsPhase
        | Refusal::LogsLeft
        | Refusal::KindKeepsLogs(_) => "",
    };
    let jet = Error::from(refusal).jet_code().expect("every refusal has a number");
    format!("{}{letter}", jet.number())
}

fn event(column: &str) -> Event {
    use Phase::{Databases, Logs};
    match column {
        "begun" => Event::Begun { databases: DATABASES },
        "open-d" => opened(2, Databases, 2, 1),
        "take-d" => opened(2, Databases, 0, 2),
        "close-d" => Event::Closed { reader: 1, phase: Databases, first: 0 },
        "fail-d" => failed(Databases, 0),
        "open-l" => opened(2, Logs, 1, 1),
        "take-l" => opened(2, Logs, 0, 1),
        "close-l" => Event::Closed { reader: 1, phase: Logs, first: 0 },
        "fail-l" => failed(Logs, 0),
        "synced" => Event::Synced { reader: 9, records: 10, files: 1, bytes: 7 },
        "listed" => listed(LOGS),
        "publishing" => publishing(),
        "published" => Event::Published,
        "truncating" => Event::Truncating { logs: 1 },
        "truncated" => Event::Truncated { path: "edb00005.log".into() },
        "stopped" => stopped(),
        "ended" => Event::Ended { outcome: Outcome::Aborted },
        _ => panic!("no event {column}"),
    }
}

/// A session in this state, and its live readers.
fn stage(name: &str) -> (State, Live) {
    use Phase::{Databases, Logs};
    if let Some(before) = name.strip_prefix("X-") {
        let (mut state, live) = stage(before);
        apply(&mut state, &stopped());
        return (state, live);
    }
    if let Some(dead) = name.strip_suffix('†') {
        return (stage(dead).0, Live::new());
    }
    if let Some(idle) = name.strip_suffix("+r") {
        return (stage(idle).0, Live::from([7]));
    }
    let (before, events): (&str, Vec<Event>) = match name {
        "N" => return (State::default(), Live::new()),
        "D0" => ("N", vec![Event::Begun { databases: DATABASES }]),
        "D1" => ("D0", vec![opened(1, Databases, 0, 2)]),
        "D-read" => ("D0", [read(Databases, 0, 2), read(Databases, 2, 1)].concat()),
        "L1" => ("D-read", vec![listed(LOGS)]),
        "L1-part" => ("L1", read(Logs, 0, 1).to_vec()),
        "L2" => ("L1", vec![opened(1, Logs, 0, 1)]),
        "L1-read" => ("L1", read(Logs, 0, 2).to_vec()),
        "L1-none" => ("D-read", vec![listed(0)]),
        "L1-out" => (
            "D1",
            vec![failed(Databases, 0), Event::Closed { reader: 1, phase: Databases, first: 0 }]
                .into_iter()
                .chain(read(Databases, 2, 1))
                .chain([listed(0)])
                .collect(),
        ),
        "P" => ("L1-read", vec![publishing()]),
        "P2" => ("P", vec![Event::Published]),
        "P2-trunc" => ("P2", vec![Event::Truncating { logs: 1 }]),
        "E" => ("P2", vec![Event::Ended { outcome: Outcome::Completed }]),
        "E-stopped" => ("L1", vec![stopped(), Event::Ended { outcome: Outcome::Stopped }]),
        _ => panic!("no state {name}"),
    };
    let (mut state, _) = stage(before);
    for event in &events {
        apply(&mut state, event);
    }
    let live = if matches!(name, "D1" | "L2") { Live::from([1]) } else { Live::new() };
    (state, live)
}

fn apply(state: &mut State, event: &Event) {
    state.apply(event).unwrap_or_else(|why| panic!("{event:?} fits here: {why}"));
}

fn opened(reader: u32, phase: Phase, first: u64, count: u64) -> Event {
    let batch = Batch { first, count, offset: first * 10, end: (first + count) * 10 };
    Event::Opened { reader, phase, batch }
}

fn read(phase: Phase, first: u64, count: u64) -> [Event; 2] {
    [opened(1, phase, first, count), Event::Closed { reader: 1, phase, first }]
}

fn failed(phase: Phase, index: u64) -> Event {
    let failure = Failure { path: "a.edb".into(), message: "page 7".into(), jet: Some(-1018), exit_code: 3 };
    Event::Failed { phase, index, excluded: true, failure }
}

fn listed(logs: u64) -> Event {
    Event::LogsListed { plan: "logs-1.jsonl".into(), logs }
}

fn publishing() -> Event {
    Event::Publishing { id: "000001-20261122T093015Z-full".into(), proven: false }
}

fn stopped() -> Event {
    Event::Stopped { who: "ann".into(), reason: Some("disk swap".into()) }
}
