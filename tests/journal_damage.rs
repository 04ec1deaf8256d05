//! A journal that was damaged, torn or written by several at once: what is believed is always a beginning of what was
//! written, and damage is named, never guessed over.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use jetbak::error::{Error, ExitCode};
use jetbak::session::event::{Batch, Event, Failure, Outcome, Phase};
use jetbak::session::journal::{Durability, Journal};
use jetbak::session::state::State;
use proptest::prelude::*;
use tempfile::TempDir;

/// Texts as file names and reasons may be: any characters, line ends and control characters too.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::collection::vec(prop_oneof![Just('\n'), Just('"'), Just('\\'), Just('\0'), any::<char>()], 0..20)
            .prop_map(|characters| characters.into_iter().collect()),
    ]
}

fn failure() -> impl Strategy<Value = Failure> {
    (text(), text(), any::<Option<i32>>(), any::<u8>()).prop_map(|(path, message, jet, exit_code)| Failure {
        path,
        message,
        jet,
        exit_code,
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Completed,
        Outcome::Incomplete,
        Outcome::Stopped,
        Outcome::Aborted,
        Outcome::Failed,
    ])
}

/// A list of so many entries, read in two batches, with one failure.
fn read(phase: Phase, total: u64, reader: u32, offsets: [u64; 2], failure: Failure, excluded: bool) -> Vec<Event> {
    let [middle, end] = offsets;
    let first = Batch { first: 0, count: 1, offset: 0, end: middle };
    let rest = Batch { first: 1, count: total - 1, offset: middle, end: middle.saturating_add(end) };
    vec![
        Event::Opened { reader, phase, batch: rest },
        Event::Opened { reader: reader.wrapping_add(1), phase, batch: first },
        Event::Failed { phase, index: total - 1, excluded, failure },
        Event::Synced { reader, records: middle, files: total, bytes: end },
        Event::Closed { reader, phase, first: 1 },
        Event::Closed { reader: reader.wrapping_add(1), phase, first: 0 },
    ]
}

/// A whole session with every event there is; the stopped kind ends early.
fn session() -> impl Strategy<Value = Vec<Event>> {
    let numbers = (2..u64::MAX, 2..u64::MAX, any::<[u64; 2]>(), any::<u32>(), any::<bool>());
    let texts = (text(), text(), text(), text(), any::<Option<String>>(), failure());
    (numbers, texts, outcome(), any::<bool>(), any::<u64>()).prop_map(
        |((databases, logs, offsets, reader, excluded), texts, outcome, is_stopped, going)| {
            let (plan, id, path, who, reason, failure) = texts;
            // Different readers in both phases, so that what each has proven cannot become less.
            let (one, two) = (reader, reader ^ 0x1000);
            let mut events = vec![Event::Begun { databases }];
            events.extend(read(Phase::Databases, databases, one, offsets, failure.clone(), excluded));
            events.push(Event::LogsListed { plan, logs });
            if is_stopped {
                events.push(Event::Stopped { who, reason });
            } else {
                events.extend(read(Phase::Logs, logs, two, offsets, failure, excluded));
                events.push(Event::Publishing { id, proven: true });
                events.push(Event::Published);
                events.push(Event::Truncating { logs: going });
                events.push(Event::Truncated { path });
            }
            events.push(Event::Ended { outcome });
            events
        },
    )
}

/// A name for each variant; a new one does not compile until it is part of `session`.
fn name(event: &Event) -> &'static str {
    match event {
        Event::Begun { .. } => "begun",
        Event::Opened { .. } => "opened",
        Event::Closed { .. } => "closed",
        Event::Failed { .. } => "failed",
        Event::Synced { .. } => "synced",
        Event::LogsListed { .. } => "logs_listed",
        Event::Publishing { .. } => "publishing",
        Event::Published => "published",
        Event::Truncating { .. } => "truncating",
        Event::Truncated { .. } => "truncated",
        Event::Stopped { .. } => "stopped",
        Event::Ended { .. } => "ended",
    }
}

/// Every state on the way, from nothing to the end.
fn states(events: &[Event]) -> Vec<State> {
    let mut states = vec![State::default()];
    for event in events {
        let mut state = states.last().expect("it begins with nothing").clone();
        state.apply(event).unwrap_or_else(|why| panic!("{event:?}: {why}"));
        states.push(state);
    }
    states
}

/// A journal of these events on disk, and its bytes.
fn written(events: &[Event]) -> (TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().expect("temporary directory");
    let mut journal = Journal::create(folder.path()).expect("a new journal");
    journal.append::<Error>(Durability::Lazy, |_, _| Ok(events.to_vec())).expect("a session as it may be");
    let bytes = fs::read(path(folder.path())).expect("it was written");
    (folder, bytes)
}

fn path(folder: &Path) -> PathBuf {
    folder.join("journal.jsonl")
}

fn whole_lines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// A short session with fixed contents.
fn story() -> Vec<Event> {
    let failure = Failure { path: "a.edb".into(), message: "page 7".into(), jet: Some(-1018), exit_code: 3 };
    let mut events = vec![Event::Begun { databases: 3 }];
    events.extend(read(Phase::Databases, 3, 1, [10, 30], failure, true));
    events.push(Event::LogsListed { plan: "logs-1.jsonl".into(), logs: 0 });
    events
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Overwrite(prop::sample::Index, Vec<u8>),
    RemoveLine(prop::sample::Index),
    RepeatLine(prop::sample::Index),
    SwapLines(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let garbage = || prop::collection::vec(prop_oneof![Just(0), Just(b'\n'), any::<u8>()], 1..40);
    prop_oneof![
        (at(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        at().prop_map(Damage::Cut),
        (at(), at()).prop_map(|(from, to)| Damage::Remove(from, to)),
        (at(), garbage()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), garbage()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        at().prop_map(Damage::RemoveLine),
        at().prop_map(Damage::RepeatLine),
        at().prop_map(Damage::SwapLines),
    ]
}

fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bad = bytes.to_vec();
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    match damage {
        Damage::Flip(at, bits) => bad[at.index(bytes.len())] ^= bits,
        Damage::Cut(at) => bad.truncate(at.index(bytes.len())),
        Damage::Remove(one, two) => {
            let (one, two) = (one.index(bytes.len()), two.index(bytes.len()));
            bad.drain(one.min(two)..one.max(two));
        }
        Damage::Insert(at, garbage) => {
            let at = at.index(bytes.len() + 1);
            bad.splice(at..at, garbage.iter().copied());
        }
        Damage::Overwrite(at, garbage) => {
            let at = at.index(bytes.len());
            bad.splice(at..(at + garbage.len()).min(bytes.len()), garbage.iter().copied());
        }
        Damage::RemoveLine(at) => {
            lines.remove(at.index(lines.len()));
            bad = lines.concat();
        }
        Damage::RepeatLine(at) => {
            let at = at.index(lines.len());
            lines.insert(at, lines[at]);
            bad = lines.concat();
        }
        Damage::SwapLines(at) => {
            let at = at.index(lines.len() - 1);
            lines.swap(at, at + 1);
            bad = lines.concat();
        }
    }
    bad
}

/// Opens what is there; whatever is believed must be a beginning of `states`, and must bear one more line.
fn believes_only_a_beginning(folder: &Path, states: &[State]) -> Option<usize> {
    let mut journal = Journal::open(folder).ok()?;
    let count = usize::try_from(journal.events()).expect("few");
    assert_eq!(journal.state(), &states[count], "after {count} lines");
    let next = if count == 0 { Event::Begun { databases: 1 } } else { Event::Ended { outcome: Outcome::Failed } };
    if count == 0 || states[count].in_progress() {
        journal.append::<Error>(Durability::Lazy, |_, _| Ok(vec![next.clone()])).expect("a sound journal grows");
        let mut expected = states[count].clone();
        expected.apply(&next).expect("it fits");
        let again = Journal::open(folder).expect("it was sound");
        assert_eq!(again.state(), &expected);
        assert_eq!(again.events(), count as u64 + 1);
    }
    Some(count)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_comes_back_from_disk_as_it_was_written(events in session()) {
        let (folder, bytes) = written(&events);
        let journal = Journal::open(folder.path()).expect("sound");
        let states = states(&events);
        prop_assert_eq!(journal.state(), states.last().expect("there are some"));
        prop_assert_eq!(journal.events(), events.len() as u64);
        // The state forgets some fields; the lines themselves are read by another way than the journal's own.
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        prop_assert_eq!(lines.len(), events.len());
        for (line, event) in lines.iter().zip(&events) {
            let read: Event = serde_json::from_slice(line).expect("a line is JSON as a whole");
            prop_assert_eq!(&read, event);
            let value: serde_json::Value = serde_json::from_slice(line).expect("JSON");
            prop_assert_eq!(&value["event"], name(event));
        }
    }

    #[test]
    fn whatever_happens_to_its_bytes_a_journal_believes_only_a_beginning_of_what_was_written(
        events in session(),
        damages in prop::collection::vec(damage(), 1..3),
    ) {
        let (folder, bytes) = written(&events);
        let mut bad = bytes;
        for damage in &damages {
            if whole_lines(&bad) > 1 {
                bad = damaged(&bad, damage);
            }
        }
        fs::write(path(folder.path()), bad).expect("written");
        believes_only_a_beginning(folder.path(), &states(&events));
    }

    #[test]
    fn bytes_at_random_are_refused_or_taken_for_a_torn_first_line(
        bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(b'{')], 0..400),
    ) {
        let folder = tempfile::tempdir().expect("temporary directory");
        drop(Journal::create(folder.path()).expect("a new journal"));
        fs::write(path(folder.path()), bytes).expect("written");
        if let Some(count) = believes_only_a_beginning(folder.path(), &[State::default()]) {
            prop_assert_eq!(count, 0);
        }
    }

    #[test]
    fn zeros_behind_a_power_cut_are_a_torn_line(kept in any::<prop::sample::Index>(), zeros in 1_usize..60_000) {
        let events = story();
        let (folder, bytes) = written(&events);
        let kept = kept.index(bytes.len() + 1);
        let mut torn = bytes[..kept].to_vec();
        torn.resize(kept + zeros, 0);
        fs::write(path(folder.path()), torn).expect("written");
        let whole = whole_lines(&bytes[..kept]);
        prop_assert_eq!(believes_only_a_beginning(folder.path(), &states(&events)), Some(whole));
        let healed = fs::read(path(folder.path())).expect("read");
        prop_assert!(!healed.contains(&0), "the zeros are cut off");
    }

    #[test]
    fn damage_in_front_of_the_last_line_names_its_line(at in any::<prop::sample::Index>(), bits in 1..=u8::MAX) {
        let (folder, mut bytes) = written(&story());
        let lines: Vec<usize> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).collect();
        // Without its end, the last line but one would be part of the last one, which may be torn.
        let front: usize = lines[..lines.len() - 1].iter().sum::<usize>() - 1;
        let at = at.index(front);
        let line = 1 + whole_lines(&bytes[..at]);
        bytes[at] ^= bits;
        fs::write(path(folder.path()), &bytes).expect("written");
        let error = Journal::open(folder.path()).expect_err("damage is no torn line");
        let expected = format!("line {line} of {} is damaged", path(folder.path()).display());
        prop_assert!(error.message().starts_with(&expected), "{}", error.message());
        prop_assert_eq!(error.exit_code(), ExitCode::Failed);
        prop_assert!(error.advice().is_some());
        prop_assert_eq!(fs::read(path(folder.path())).expect("read"), bytes, "damage is left as it is");
    }
}

#[test]
fn a_missing_a_repeated_and_a_foreign_line_are_named() {
    let (folder, bytes) = written(&story());
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let (_other, other) = written(&[Event::Begun { databases: 3 }, Event::Ended { outcome: Outcome::Aborted }]);
    let foreign = other.split_inclusive(|byte| *byte == b'\n').nth(1).expect("two lines");
    for (what, text, line) in [
        ("missing", [lines[0], lines[2], lines[3], lines[4]].concat(), 2),
        ("repeated", [lines[0], lines[0], lines[1], lines[2]].concat(), 2),
        // Its checksum and number hold; but the next event cannot follow the end of a session.
        ("foreign", [lines[0], foreign, lines[2], lines[3]].concat(), 3),
        ("empty", [lines[0], b"\n", lines[1], lines[2]].concat(), 2),
    ] {
        fs::write(path(folder.path()), text).expect("written");
        let error = Journal::open(folder.path()).expect_err(what);
        assert!(error.message().starts_with(&format!("line {line} of ")), "{what}: {}", error.message());
    }
}

/// A reader believes lines of up to 64 KiB; longer ones used to be written, and the journal could not be read again.
#[test]
fn a_line_that_nobody_would_believe_is_never_written() {
    let (folder, bytes) = written(&story());
    let stopped = |length: usize| Event::Stopped { who: "a".repeat(length), reason: None };
    for length in [65_537, 200_000] {
        let mut journal = Journal::open(folder.path()).expect("sound");
        journal.append::<Error>(Durability::Lazy, |_, _| Ok(vec![stopped(length)])).expect_err("too long");
        assert_eq!(fs::read(path(folder.path())).expect("read"), bytes, "{length}");
    }
    let mut journal = Journal::open(folder.path()).expect("sound");
    for length in [60_000, 65_000, 1, 65_300, 65_400] {
        journal.append::<Error>(Durability::Lazy, |_, _| Ok(vec![stopped(length)])).expect("long, but not too long");
    }
    let again = Journal::open(folder.path()).expect("all of it is believed");
    assert_eq!(again.events(), story().len() as u64 + 5);
}

#[test]
fn an_endless_line_is_refused_without_being_held() {
    let (folder, bytes) = written(&story());
    let mut file = OpenOptions::new().append(true).open(path(folder.path())).expect("opened");
    file.write_all(&vec![b'x'; 300_000]).expect("written");
    let error = Journal::open(folder.path()).expect_err("no line is so long");
    assert!(error.message().contains("a line without an end"), "{}", error.message());
    assert_eq!(fs::read(path(folder.path())).expect("read").len(), bytes.len() + 300_000, "left as it is");
}

#[test]
fn two_who_append_at_once_lose_nothing_and_a_third_who_looks_never_sees_damage() {
    const EACH: u64 = 300;
    let (folder, _) = written(&[Event::Begun { databases: 1 }]);
    let (folder, together) = (folder.path(), Barrier::new(3));
    thread::scope(|scope| {
        for reader in [1, 2] {
            let together = &together;
            scope.spawn(move || {
                let mut journal = Journal::open(folder).expect("sound");
                together.wait();
                for round in 1..=EACH {
                    // Two lines an append, of different lengths: they must stay together.
                    let synced = Event::Synced { reader, records: round, files: 2 * round - 1, bytes: round };
                    let again = Event::Synced { reader, records: round, files: 2 * round, bytes: u64::MAX };
                    journal
                        .append::<Error>(Durability::Lazy, |state, _| {
                            let before = state.proven().get(&reader).map_or(0, |proven| proven.records);
                            assert_eq!(before, round - 1, "the decision sees the newest state");
                            thread::yield_now(); // without the lock, the other one would come in between here
                            Ok(vec![synced, again])
                        })
                        .expect("appended");
                }
            });
        }
        scope.spawn(|| {
            let mut journal = Journal::open(folder).expect("sound");
            together.wait();
            let (mut seen, begun) = (0, Instant::now());
            while seen < 4 * EACH + 1 {
                assert!(begun.elapsed() < Duration::from_secs(20), "the others do not get on: {seen} events");
                journal.refresh().expect("what is being written is no damage");
                assert!(journal.events() >= seen, "events went away");
                seen = journal.events();
            }
        });
    });
    let text = fs::read_to_string(path(folder)).expect("whole lines of text");
    let mut files = [0; 3];
    let mut previous = None;
    for (number, line) in text.lines().enumerate().skip(1) {
        let event: Event = serde_json::from_str(line).expect("a whole line");
        let Event::Synced { reader, files: now, .. } = event else { panic!("only these were appended") };
        files[reader as usize] += 1;
        assert_eq!(now, files[reader as usize], "line {number}: nothing is lost or out of order");
        if now % 2 == 0 {
            assert_eq!(previous, Some(reader), "line {number}: the lines of one append stand together");
        }
        previous = Some(reader);
    }
    assert_eq!(files, [0, 2 * EACH, 2 * EACH]);
    assert_eq!(Journal::open(folder).expect("sound").events(), 4 * EACH + 1);
}
