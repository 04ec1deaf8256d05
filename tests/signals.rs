//! Signals: the first one asks, the second one leaves at once, and the exit code says which one it was.

mod common;

use std::fs;
use std::io::Read;
use std::time::Duration;

use common::{Host, Running, eventually};
use rexpect::process::WaitStatus;

/// More than anybody reads before the signal comes.
const HUGE: u64 = 4 << 30;
/// The signals that ask, and how a command that one of them ended exits.
const ASKING: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

fn machine() -> Host {
    let host = Host::with_app();
    host.write_huge("app/huge.db", HUGE);
    host
}

/// A session without repository whose reader is stuck in a pipe until somebody reads it.
fn stuck_reader(trap: &str) -> (Host, Running) {
    let host = Host::with_app();
    host.write("app/large.db", "x".repeat(8 << 20));
    host.ok(&["begin", "app", "--no-repository"]);
    let script = format!("{trap} exec \"$@\"");
    let mut command = host.shell(&script, &["read", "app", "large.db", "--out", "-"]);
    command.stdout(std::process::Stdio::piped());
    let reader = Running::spawn(command);
    host.is_reading("large.db");
    (host, reader)
}

#[test]
fn a_signal_to_a_backup_ends_it_and_leaves_nothing() {
    for (signal, code) in ASKING {
        let host = machine();
        let backup = host.start_reading(&["backup", "app", "--to", "repo", "--log", "wal.*", "--truncate"], "huge.db");
        backup.signal(signal);

        backup.leaves().exits(code).says(&format!("interrupted by SIG{signal}")).says("-801]");
        host.is_tidy("repo");
        assert_eq!(host.backups("repo"), Vec::<String>::new());
        for number in 1..=4 {
            assert!(host.path(format!("app/wal.{number}")).exists(), "no log is deleted");
        }
    }
}

#[test]
fn a_job_reads_in_json_which_signal_ended_its_backup() {
    let host = machine();
    let backup = host.start_reading(&["backup", "app", "--to", "repo", "--json"], "huge.db");
    backup.signal("TERM");

    let summary = backup.leaves().exits(143).summary();
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"stopped".into(), &143.into()));
    assert_eq!((&summary["jet"], &summary["code"]), (&"JET_errBackupAbortByServer".into(), &(-801).into()));
}

#[test]
fn a_signal_to_a_read_stops_its_session_which_stays() {
    for (signal, code) in ASKING {
        let host = machine();
        host.ok(&["begin", "app", "--to", "repo"]);
        let reader = host.start_reading(&["read", "app"], "huge.db");
        reader.signal(signal);

        reader.leaves().exits(code).says(&format!("interrupted by SIG{signal}"));
        let sessions = host.status();
        assert_eq!((&sessions[0]["stopped"], &sessions[0]["readers"]), (&true.into(), &0.into()));
        let who = sessions[0]["stopped_by"].as_str().expect("who").to_owned();
        assert!(who.starts_with(&format!("SIG{signal}")), "{who}");
        host.run(&["read", "app"]).exits(4).says(&who);
        host.ok(&["end", "app"]).says("end stopped");
        host.is_tidy("repo");
    }
}

#[test]
fn a_signal_to_one_reader_makes_the_others_leave() {
    let host = machine();
    host.write_huge("app/other.db", HUGE);
    host.ok(&["begin", "app", "--to", "repo"]);
    let first = host.start_reading(&["read", "app", "huge.db"], "huge.db");
    let second = host.start_reading(&["read", "app", "other.db"], "other.db");
    first.signal("INT");
    first.leaves().exits(130);
    second.leaves().exits(4).says("stopped by SIGINT");
}

#[test]
fn a_signal_reaches_a_reader_that_is_stuck_in_a_pipe() {
    for (signal, code) in ASKING {
        let (host, reader) = stuck_reader("");
        reader.signal(signal);
        reader.leaves().exits(code);
        assert_eq!(host.status()[0]["stopped"], true);
    }
}

#[test]
fn a_reader_under_nohup_or_in_the_background_goes_on() {
    for signal in ["HUP", "INT"] {
        let (host, mut reader) = stuck_reader(&format!("trap '' {signal};"));
        reader.signal(signal);
        reader.signal(signal);
        reader.stays();

        let mut data = Vec::new();
        reader.child().stdout.take().expect("a pipe").read_to_end(&mut data).expect("read");
        assert_eq!(data.len(), 8 << 20);
        reader.leaves().exits(0);
        assert_eq!(host.status()[0]["stopped"], false);
    }
}

#[test]
fn a_backup_under_nohup_or_in_the_background_completes() {
    for signal in ["HUP", "INT"] {
        let host = Host::with_app();
        host.write_huge("app/some.db", 128 << 20);
        let shell = host.shell(&format!("trap '' {signal}; exec \"$@\""), &["backup", "app", "--to", "repo"]);
        let backup = Running::spawn(shell);
        host.is_reading("some.db");
        backup.signal(signal);
        backup.wait().exits(0).says("backup 000001-");
        assert_eq!(host.backups("repo").len(), 1);
        assert_eq!(host.stored("some.db").metadata().expect("there").len(), 128 << 20);
    }
}

#[test]
fn an_ignored_signal_does_not_count_as_the_first() {
    let host = machine();
    let shell = host.shell("trap '' HUP; exec \"$@\"", &["backup", "app", "--to", "repo"]);
    let backup = Running::spawn(shell);
    host.is_reading("huge.db");
    backup.signal("HUP");
    backup.signal("TERM");
    backup.leaves().exits(143);
    host.is_tidy("repo");
}

#[test]
fn a_second_signal_leaves_at_once() {
    let host = machine();
    host.ok(&["begin", "app", "--to", "repo"]);
    let reader = host.start_reading(&["read", "app"], "huge.db");
    reader.signal("STOP");
    // It waits for a reader that cannot leave.
    let end = host.start(&["end", "app", "--abort"]);
    eventually("a stop", || host.status()[0]["stopped"] == true);
    end.signal("INT");
    std::thread::sleep(Duration::from_millis(20)); // two signals of one number that are not yet delivered are one
    end.signal("INT");
    end.leaves().exits(130);

    reader.signal("CONT");
    reader.leaves().exits(4);
    host.ok(&["end", "app"]);
    host.is_tidy("repo");
}

#[test]
fn what_two_signals_in_a_row_leave_is_healed_by_the_next_backup() {
    for (first, second) in [("INT", "TERM"), ("TERM", "HUP"), ("HUP", "INT")] {
        let host = machine();
        let backup = host.start_reading(&["backup", "app", "--to", "repo"], "huge.db");
        backup.signal("STOP"); // both are pending before it can answer one
        backup.signal(first);
        backup.signal(second);
        backup.signal("CONT");
        // Which of two pending signals is delivered first is the kernel's choice.
        let code = backup.leaves().code.expect("it ended itself");
        let codes: Vec<i32> =
            ASKING.iter().filter(|(name, _)| [first, second].contains(name)).map(|one| one.1).collect();
        assert!(codes.contains(&code), "{code} after {first} and {second}");

        fs::remove_file(host.path("app/huge.db")).expect("removed");
        host.ok(&["backup", "app", "--to", "repo"]).says("backup 000001-");
        host.verifies("repo");
        host.is_tidy("repo");
    }
}

#[test]
fn ctrl_c_typed_at_a_terminal_ends_a_backup() {
    let host = machine();
    let command = host.command(&["backup", "app", "--to", "repo"]);
    let mut terminal = rexpect::session::spawn_command(command, Some(5000)).expect("a terminal");
    host.is_reading("huge.db");
    terminal.send_control('c').expect("typed");

    let shown = terminal.exp_eof().expect("the end");
    let status = terminal.process().wait().expect("waited");
    assert!(matches!(status, WaitStatus::Exited(_, 130)), "{status:?}\n{shown}");
    assert!(shown.contains("interrupted by SIGINT (Ctrl-C)"), "{shown}");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo"), Vec::<String>::new());
}
