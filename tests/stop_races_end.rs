//! Stop racing end and begin, with real processes: whichever wins, both tell the same story, and nothing is left.

mod common;

use std::thread;
use std::time::Duration;

use common::{Dice, Host, Ran, Running};

/// What stop said it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Nothing,
    TooLate,
    Stopped,
}

fn said(stop: &Ran) -> Stop {
    assert_eq!(stop.code, Some(0), "stop always works: {}", stop.stderr);
    let answer = stop.summary();
    let count = |list: &str| answer[list].as_array().expect("a list").len();
    match (count("stopped"), count("too_late"), count("already")) {
        (0, 0, 0) => Stop::Nothing,
        (0, 1, 0) => Stop::TooLate,
        (1, 0, 0) => Stop::Stopped,
        _ => panic!("one session, one answer: {answer}"),
    }
}

/// Starts two commands with up to so much between them, either one first.
fn race(host: &Host, dice: &mut Dice, apart: Duration, commands: [&[&str]; 2]) -> [Ran; 2] {
    let (first, second) = if dice.below(Duration::from_secs(2)).as_secs() == 0 { (0, 1) } else { (1, 0) };
    let begun = host.start(commands[first]);
    thread::sleep(dice.below(apart));
    let follows = host.start(commands[second]);
    let (ran, followed) = (begun.wait(), follows.wait());
    if first == 0 { [ran, followed] } else { [followed, ran] }
}

const STOP: &[&str] = &["stop", "app", "--json"];

/// Returns how often end and how often stop won.
fn stop_races_end(rounds: usize, apart: Duration) -> (usize, usize) {
    let mut dice = Dice::new();
    let host = Host::quick();
    host.write("app/main.db", "the database");
    let (mut completed, mut stopped) = (0, 0);
    for _ in 0..rounds {
        host.ok(&["begin", "app", "--to", "repo"]);
        host.ok(&["read", "app"]);
        let [end, stop] = race(&host, &mut dice, apart, [&["end", "app", "--json"], STOP]);
        let end = end.exits(0).summary();
        match (end["outcome"].as_str().expect("an outcome"), said(&stop)) {
            ("completed", Stop::Nothing | Stop::TooLate) => {
                completed += 1;
                assert_eq!(end["sequence"], completed);
            }
            ("stopped", Stop::Stopped) => {
                stopped += 1;
                assert!(end["id"].is_null());
            }
            both => panic!("{both:?} cannot both be true"),
        }
        assert_eq!(host.backups("repo").len(), completed, "listed if and only if it was completed");
        host.is_tidy("repo");
    }
    host.verifies("repo");
    (completed, stopped)
}

/// Returns how often the session ran and how often its first read was stopped.
fn stop_races_begin(rounds: usize, apart: Duration) -> (usize, usize) {
    let mut dice = Dice::new();
    let host = Host::quick();
    host.write("app/main.db", "the database");
    let (mut ran, mut stopped) = (0, 0);
    for _ in 0..rounds {
        let [begin, stop] = race(&host, &mut dice, apart, [&["begin", "app", "--to", "repo"], STOP]);
        begin.exits(0);
        let hit = said(&stop);
        let read = host.run(&["read", "app"]);
        match hit {
            Stop::Nothing => {
                read.exits(0);
                host.ok(&["end", "app"]);
                ran += 1;
            }
            Stop::Stopped => {
                read.exits(4).says("-801");
                host.ok(&["end", "app"]).says("stopped");
                stopped += 1;
            }
            Stop::TooLate => panic!("nothing is published yet"),
        }
        assert_eq!(host.backups("repo").len(), ran);
        host.is_tidy("repo");
        // Never a later session: this one begins after that stop has ended.
        host.ok(&["backup", "app", "--to", "repo"]);
        ran += 1;
    }
    (ran - rounds, stopped)
}

/// The same for a one-shot: exit 0 and a backup, or exit 4 and none.
fn stop_races_backup(rounds: usize, apart: Duration) -> (usize, usize) {
    let mut dice = Dice::new();
    let host = Host::quick();
    host.write("app/main.db", "the database");
    host.write("app/wal.1", "a log");
    host.write("app/wal.2", "a log");
    let backup = ["backup", "app", "--to", "repo", "--log", "wal.*", "--truncate", "--json"];
    let (mut completed, mut stopped) = (0, 0);
    for _ in 0..rounds {
        host.write("app/wal.1", "a log");
        host.write("app/wal.2", "a log");
        let [ran, stop] = race(&host, &mut dice, apart, [&backup, STOP]);
        match (ran.code, said(&stop)) {
            (Some(0), Stop::Nothing | Stop::TooLate) => {
                completed += 1;
                assert_eq!(host.logs(), ["wal.2"]);
            }
            (Some(4), Stop::Stopped) => {
                stopped += 1;
                assert_eq!(ran.summary()["outcome"], "stopped");
                assert_eq!(host.logs(), ["wal.1", "wal.2"], "a stopped backup deletes no log");
            }
            both => panic!("{both:?} cannot both be true: {}", ran.stdout),
        }
        assert_eq!(host.backups("repo").len(), completed);
        host.is_tidy("repo");
    }
    host.verifies("repo");
    (completed, stopped)
}

#[test]
fn case_74_stop_and_end_agree_on_who_was_first() {
    let (completed, stopped) = stop_races_end(150, Duration::from_millis(3));
    println!("completed {completed}, stopped {stopped}");
    assert!(completed > 0 && stopped > 0, "a race that one side always wins is none: {completed}, {stopped}");
}

#[test]
fn case_73_stop_hits_the_session_that_begins_or_nothing_and_never_a_later_one() {
    let (ran, stopped) = stop_races_begin(40, Duration::from_millis(4));
    assert!(ran > 0 && stopped > 0, "{ran}, {stopped}");
}

#[test]
fn a_one_shot_that_is_stopped_at_any_moment_is_complete_or_gone() {
    let (completed, stopped) = stop_races_backup(60, Duration::from_millis(6));
    assert!(completed > 0 && stopped > 0, "{completed}, {stopped}");
}

#[test]
#[ignore = "a minute: 1,000 races each"]
fn case_73_and_74_a_thousand_times_over() {
    for (one, other) in [
        stop_races_end(1000, Duration::from_millis(3)),
        stop_races_begin(1000, Duration::from_millis(4)),
        stop_races_backup(1000, Duration::from_millis(6)),
    ] {
        assert!(one > 0 && other > 0, "{one}, {other}");
    }
}

#[test]
fn two_ends_and_a_stop_at_once_leave_one_backup_or_none() {
    let host = Host::quick();
    host.write("app/main.db", "the database");
    let mut stood = 0;
    for _ in 0..30 {
        host.ok(&["begin", "app", "--to", "repo"]);
        host.ok(&["read", "app"]);
        let ends = [host.start(&["end", "app"]), host.start(&["end", "app"])];
        let stop = host.start(STOP).wait();
        let ends = ends.map(Running::wait);
        let messages = format!("{}\n{}", ends[0].stderr, ends[1].stderr);
        let codes = ends.map(|ran| ran.code);
        assert!(codes.contains(&Some(0)), "{codes:?}: {messages}");
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 5))), "{codes:?}: {messages}");
        stood += usize::from(said(&stop) != Stop::Stopped);
        assert_eq!(host.backups("repo").len(), stood);
        host.is_tidy("repo");
    }
}
