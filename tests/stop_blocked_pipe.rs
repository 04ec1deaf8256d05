//! A stop reaches a reader that is stuck in a write to something that nobody reads.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Host, Running, eventually};
use rexpect::process::{PtyProcess, WaitStatus};
use serde_json::Value;

/// More than a pipe, a socket or a terminal holds.
const MORE_THAN_A_PIPE: usize = 8 << 20;
/// What the file repeats.
const LINE: &str = "a line whose length is no power of two\n";

/// A machine with a session without repository, whose file does not fit into any pipe.
fn begun() -> Host {
    let host = Host::with_app();
    host.write("app/large.db", LINE.repeat(MORE_THAN_A_PIPE / LINE.len()));
    host.ok(&["begin", "app", "--no-repository"]);
    host
}

#[test]
fn a_reader_that_writes_to_a_full_pipe_leaves() {
    let host = begun();
    let mut reader = host.start_reading(&["read", "app", "large.db", "--out", "-"], "large.db");
    reader.stays();
    host.ok(&["stop", "app", "--reason", "nobody listens"]);

    let ran = reader.leaves().exits(4).says(": nobody listens [JET_errBackupAbortByServer, -801]");
    assert!(ran.stdout.len() < MORE_THAN_A_PIPE, "it was stuck");
    host.run(&["read", "app", "large.db", "--out", "-"]).exits(4);
    host.ok(&["end", "app"]).says("end stopped");
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn a_stop_that_waits_returns_when_the_stuck_reader_is_gone() {
    let host = begun();
    let reader = host.start_reading(&["read", "app", "large.db", "--out", "-"], "large.db");
    let stop = host.ok(&["stop", "app", "--wait", "5"]);
    assert!(stop.took < Duration::from_secs(2), "{:?}", stop.took);
    assert_eq!(host.status()[0]["readers"], 0);
    reader.leaves().exits(4);
}

#[test]
fn a_look_at_a_file_of_a_repository_session_leaves_as_well() {
    let host = begun();
    host.ok(&["end", "app", "--abort"]);
    host.ok(&["begin", "app", "--to", "repo"]);
    let mut look = host.start(&["read", "app", "large.db", "--out", "-"]);
    look.stays();
    host.ok(&["stop", "app"]);
    look.leaves().exits(4).says("-801]");
    host.ok(&["end", "app"]);
    host.is_tidy("repo");
}

#[test]
fn a_look_holds_up_nobody_and_a_signal_ends_it_alone() {
    let host = begun();
    host.ok(&["end", "app", "--abort"]);
    host.ok(&["begin", "app", "--to", "repo"]);
    let mut look = host.start(&["read", "app", "large.db", "--out", "-"]);
    look.stays();
    look.signal("TERM");
    look.leaves().exits(143);
    let mut look = host.start(&["read", "app", "large.db", "--out", "-"]);
    look.stays();
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]).says("backup 000001-");
    look.leaves().exits(5).says("the session was ended by another process");
    host.verifies("repo");
}

#[test]
fn a_reader_that_writes_to_a_socket_leaves() {
    let host = begun();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut command = host.command(&["read", "app", "large.db", "--out", "-"]);
    command.stdout(Stdio::from(OwnedFd::from(theirs)));
    let mut reader = Running::spawn(command);
    host.is_reading("large.db");
    reader.stays();
    host.ok(&["stop", "app"]);

    reader.leaves().exits(4).says("[JET_errBackupAbortByServer, -801]");
    drop(ours);
}

#[test]
fn a_reader_that_writes_to_a_terminal_leaves() {
    let host = begun();
    // Messages go elsewhere: a terminal that takes no data takes no message either.
    let shell = host.shell("exec \"$@\" 2>messages", &["read", "app", "large.db", "--out", "-"]);
    let terminal = PtyProcess::new(shell).expect("a terminal");
    host.is_reading("large.db");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(terminal.status(), Some(WaitStatus::StillAlive));
    host.ok(&["stop", "app"]);

    let began = Instant::now();
    let mut status = None;
    eventually("leaving", || {
        status = terminal.status();
        status != Some(WaitStatus::StillAlive)
    });
    assert!(matches!(status, Some(WaitStatus::Exited(_, 4))), "{status:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let messages = std::fs::read_to_string(host.path("messages")).expect("read");
    assert!(messages.contains("[JET_errBackupAbortByServer, -801]"), "{messages}");
}

#[test]
fn json_goes_to_stderr_while_stdout_carries_data() {
    let host = begun();
    let reader = host.start_reading(&["read", "app", "large.db", "--out", "-", "--json"], "large.db");
    host.ok(&["stop", "app"]);

    let ran = reader.leaves().exits(4);
    let data = LINE.repeat(MORE_THAN_A_PIPE / LINE.len());
    assert!(!ran.stdout.is_empty() && data.starts_with(&ran.stdout), "nothing but data");
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.iter().any(|line| line["type"] == "error" && line["code"] == -801), "{lines:?}");
    let summary = lines.last().expect("a summary");
    assert_eq!((&summary["type"], &summary["outcome"]), (&"summary".into(), &"stopped".into()));
}

#[test]
fn an_error_before_the_first_byte_goes_to_stderr_as_json_too() {
    let host = begun();
    let ran = host.run(&["read", "app", "no such file", "--out", "-", "--json"]).exits(2);
    assert_eq!(ran.stdout, "");
    let first: Value = serde_json::from_str(ran.stderr.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["type"], &first["code"]), (&"error".into(), &(-1003).into()));
    let ran = host.run(&["read", "elsewhere", "large.db", "--out", "-", "--json"]).exits(5);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("\"code\":-520"), "{}", ran.stderr);
}

#[test]
fn a_pipe_that_is_read_late_gets_every_byte() {
    let host = begun();
    let mut reader = host.start_reading(&["read", "app", "large.db", "--out", "-"], "large.db");
    reader.stays();
    let mut data = Vec::new();
    let pipe = reader.child().stdout.take().expect("a pipe");
    File::from(OwnedFd::from(pipe)).read_to_end(&mut data).expect("read");
    assert!(data == std::fs::read(host.path("app/large.db")).expect("read"), "the same bytes");
    reader.leaves().exits(0);
}

#[test]
fn a_backup_whose_terminal_is_paused_leaves() {
    let host = Host::new();
    host.write_huge("app/huge.db", 4 << 30);
    let mut command = host.command(&["backup", "app", "--to", "repo"]);
    command.env("TERM", "xterm");
    let terminal = PtyProcess::new(command).expect("a terminal");
    host.is_reading("huge.db");
    let mut keyboard = terminal.get_file_handle().expect("the other end");
    keyboard.write_all(b"\x13").expect("Ctrl-S");
    std::thread::sleep(Duration::from_millis(500)); // the bar is drawn ten times a second
    host.ok(&["stop", "app", "--wait", "3"]);
    eventually("leaving", || terminal.status() != Some(WaitStatus::StillAlive));
    host.is_tidy("repo");
}

#[test]
fn an_output_that_is_a_fifo_is_written_and_stays_one() {
    use std::os::unix::fs::FileTypeExt;
    let host = begun();
    assert!(std::process::Command::new("mkfifo").arg(host.path("fifo")).status().expect("mkfifo runs").success());
    let fifo = host.path("fifo");
    let other_end = std::thread::spawn(move || std::fs::read(fifo).expect("read"));
    host.ok(&["read", "app", "large.db", "--out", "fifo"]);
    let source = std::fs::read(host.path("app/large.db")).expect("read");
    assert!(other_end.join().expect("no panic") == source, "the same bytes");
    assert!(host.path("fifo").symlink_metadata().expect("there").file_type().is_fifo());
}
