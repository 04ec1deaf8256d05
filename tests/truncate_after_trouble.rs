//! Truncate after something went wrong before it: no log goes for a backup that is not proven, and nothing gets stuck.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{HeldJournal, Host, Ran, Running, as_ordinary_user, eventually, finish, open_to_all};

const TRUNCATE: [&str; 2] = ["truncate", "app"];
const LOGS: [&str; 4] = ["wal.1", "wal.2", "wal.3", "wal.4"];

/// Everything is read by a user whose permissions count; nothing is published.
fn all_read() -> Host {
    let host = Host::with_app();
    open_to_all(&host, "app");
    run(&host, &["begin", "app", "--to", "repo", "--log", "wal.*"]).exits(0);
    run(&host, &["read", "app"]).exits(0);
    host
}

fn run(host: &Host, arguments: &[&str]) -> Ran {
    finish(as_ordinary_user(host, host.command(arguments)))
}

/// Whether a rename into `backups/` succeeds.
fn let_publish(host: &Host, yes: bool) {
    let permissions = fs::Permissions::from_mode(if yes { 0o700 } else { 0o555 });
    fs::set_permissions(host.path("repo/backups"), permissions).expect("set");
}

/// A truncate that has noted which logs it holds and waits for the journal, to commit.
fn held_before_the_commit(host: &Host) -> (HeldJournal, Running) {
    let held = HeldJournal::of(host, "state").expect("a session");
    let running = Running::spawn(as_ordinary_user(host, host.command(&TRUNCATE)));
    let noted = host.session_folders()[0].join("held.jsonl");
    eventually("the note of the held logs", || noted.exists());
    (held, running)
}

#[test]
fn a_backup_that_an_interrupted_end_committed_is_proven_before_a_log_goes() {
    let host = all_read();
    let (held, running) = held_before_the_commit(&host);
    drop(running); // kill -9
    drop(held);
    let_publish(&host, false);
    run(&host, &["end", "app"]).exits(1).says("cannot publish as");
    let partial = host.path("repo/partial").join(&host.partials("repo")[0]);
    fs::write(partial.join("backup/data/main.db"), "the databasE").expect("damaged");
    let_publish(&host, true);

    run(&host, &TRUNCATE).exits(3).says("is damaged: data/main.db").says("No log was deleted");
    assert_eq!(host.logs(), LOGS);
}

#[test]
fn a_backup_that_end_committed_is_not_truncated_without_a_note_of_its_logs() {
    let host = all_read();
    let_publish(&host, false);
    run(&host, &["end", "app"]).exits(1);
    let_publish(&host, true);
    run(&host, &TRUNCATE).exits(5).says("not for truncating [JET_errInvalidBackupSequence, -521]");
    assert_eq!(host.logs(), LOGS);
    run(&host, &["end", "app"]).exits(0).says("backup 000001-");
    host.verifies("repo");
}

#[test]
fn a_committed_backup_that_is_gone_can_be_given_up() {
    let host = all_read();
    let_publish(&host, false);
    run(&host, &["end", "app"]).exits(1);
    run(&host, &["end", "app", "--abort"]).exits(1); // it is still there: nothing is thrown away
    assert_eq!((host.session_folders().len(), host.partials("repo").len()), (1, 1));
    let_publish(&host, true);
    fs::remove_dir_all(host.path("repo/partial").join(&host.partials("repo")[0])).expect("removed");

    run(&host, &["end", "app", "--abort"]).exits(1).says("its backup was not found published");
    assert_eq!(host.session_folders().len(), 0);
    run(&host, &["backup", "app", "--to", "repo"]).exits(0);
    host.verifies("repo");
}

#[test]
fn a_truncate_at_work_is_not_idle() {
    let host = all_read();
    let (held, running) = held_before_the_commit(&host);
    run(&host, &["backup", "app", "--to", "repo", "--replace-idle", "0s"]).exits(5).says("-505");
    drop(held);
    running.wait().exits(0).says("deleted 3 logs");
    run(&host, &["end", "app"]).exits(0);
    host.verifies("repo");
}

#[test]
fn a_log_from_the_far_future_is_a_log_like_any_other() {
    let host = Host::quick_with_app();
    for (log, year) in LOGS.iter().zip(2900..) {
        let touched =
            Command::new("touch").args(["-d", &format!("{year}-01-01")]).arg(host.path("app").join(log)).status();
        assert!(touched.expect("touch runs").success());
    }
    host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*", "--truncate"]).says("deleted 3 logs");
    assert_eq!(host.logs(), ["wal.4"]);
    host.verifies("repo");
}
