//! kill -9 at every moment of a backup: what stands verifies, nothing half is listed, and the next run heals alone.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use common::{Dice, HeldJournal, Host, as_ordinary_user, finish, open_to_all};

const BACKUP: &[&str] = &["backup", "app", "--to", "repo", "--log", "wal.*", "--truncate"];

/// The journal of a good `BACKUP`, up to each place where it can be interrupted.
const MOMENTS: &[(usize, &str)] = &[
    (1, "begun"),
    (2, "opened"),
    (4, "closed"),
    (5, "logs_listed"),
    (6, "opened"),
    (8, "closed"),
    (9, "publishing"),
    (10, "published"),
    (11, "truncating"),
    (12, "truncated"),
    (13, "truncated"),
    (14, "truncated"),
];

/// What everybody sees of a repository after a crash: only whole backups, each of which holds what it says.
fn nothing_half_stands(host: &Host) {
    if !host.path("repo/repository.json").exists() {
        return; // it was killed before there was a repository
    }
    host.ok(&["verify", "repo"]);
    let list = host.ok(&["list", "repo", "--json"]).summary();
    let listed = list["backups"].as_array().expect("a list");
    assert_eq!(listed.len(), host.backups("repo").len());
    for (backup, number) in listed.iter().zip(1..) {
        assert_eq!(backup["sequence"], number, "no number is missing and none stands twice");
        assert_eq!(backup["outcome"], "completed");
    }
}

/// Every log that is not in the storage any more is in a backup.
fn no_log_is_lost(host: &Host) {
    let left = host.logs();
    assert!(left.contains(&"wal.4".to_owned()), "the newest stays: {left:?}");
    for number in 1..=4 {
        let name = format!("wal.{number}");
        let held = host.backups("repo").iter().any(|id| {
            let copy = host.path("repo/backups").join(id).join("data").join(&name);
            fs::read_to_string(copy).is_ok_and(|content| content == format!("log {number}\n"))
        });
        assert!(held || left.contains(&name), "{name} is neither in the storage nor in a backup");
    }
}

/// Runs `BACKUP` on a new machine and kills it when so many events are recorded.
fn killed_at(events: usize, prepare: impl Fn(&Host)) -> Host {
    for _ in 0..200 {
        let host = Host::quick_with_app();
        prepare(&host);
        let mut running = host.start(BACKUP);
        let Some(held) = HeldJournal::of_a_new_session(&host, "state", &mut running) else { continue };
        if held.step_to(events, &mut running) {
            assert_eq!(running.kill().code, None, "killed");
            return host;
        }
    }
    panic!("the backup was 200 times too quick to be killed after {events} events");
}

#[test]
fn a_backup_killed_at_any_line_of_its_journal_is_healed_by_the_next_one() {
    for (events, last) in MOMENTS.iter().copied() {
        let host = killed_at(events, |_| {});
        let journal = host.journal();
        assert_eq!(journal.last().expect("a line")["event"], last, "after {events} events");
        nothing_half_stands(&host);
        no_log_is_lost(&host);
        let committed = events >= 9;
        let stood = host.backups("repo").len();
        match last {
            "publishing" => {} // the rename may have been quicker than we
            _ => assert_eq!(stood, usize::from(events > 9), "only the rename puts a backup there"),
        }

        let healed = host.ok(BACKUP);

        let said = if committed { "finished the backup 000001-" } else { "as aborted: its process is gone" };
        healed.says(said).says("backup 00000");
        assert_eq!(host.backups("repo").len(), if committed { 2 } else { 1 });
        no_log_is_lost(&host);
        assert_eq!(host.logs(), ["wal.4"]);
        host.is_tidy("repo");
        host.verifies("repo");
    }
}

#[test]
fn a_backup_killed_at_any_moment_is_healed_by_the_next_one() {
    let mut dice = Dice::new();
    let host = Host::quick_with_app();
    let good = (0..3).map(|_| host.ok(BACKUP).took).max().expect("three runs");
    let mut healed = 0;
    for round in 0..40 {
        host.write_logs();
        let running = host.start(BACKUP);
        thread::sleep(dice.below(good));
        let killed = running.kill();
        nothing_half_stands(&host);
        no_log_is_lost(&host);
        let before = host.backups("repo").len();
        let left = sessions_in_progress(&host);
        assert!(left.len() <= 1);

        let next = host.ok(BACKUP);

        assert!(host.backups("repo").len() > before, "round {round}");
        match left.first().map(String::as_str) {
            None => {}
            Some("committed") => assert!(next.stderr.contains("finished the backup"), "{}", next.stderr),
            Some(_) => assert!(next.stderr.contains("its process is gone"), "{}", next.stderr),
        }
        healed += usize::from(killed.code.is_none());
        no_log_is_lost(&host);
        host.is_tidy("repo");
    }
    assert!(healed > 0, "not one of the runs was killed");
    host.verifies("repo");
}

/// The sessions that a kill left, each as "committed" or "open".
fn sessions_in_progress(host: &Host) -> Vec<String> {
    let status = host.ok(&["status", "--json"]).summary();
    let sessions = status["sessions"].as_array().expect("a list");
    let phase = |session: &serde_json::Value| match session["phase"].as_str() {
        Some("sealing" | "truncating") => "committed".to_owned(),
        _ => "open".to_owned(),
    };
    sessions.iter().map(phase).collect()
}

#[test]
fn the_first_backup_of_all_killed_at_any_moment_leaves_nothing_in_the_way_of_the_next() {
    let mut dice = Dice::new();
    for _ in 0..40 {
        let host = Host::quick_with_app();
        let running = host.start(BACKUP);
        thread::sleep(dice.below(Duration::from_millis(6)));
        running.kill();
        nothing_half_stands(&host);
        host.ok(BACKUP);
        no_log_is_lost(&host);
        host.is_tidy("repo");
        host.verifies("repo");
    }
}

#[test]
fn a_committed_backup_gets_the_next_number_where_another_took_its_own() {
    let name = ["--name", "app"];
    let other = [&["--state-dir", "other", "backup", "app", "--to", "repo"][..], &name].concat();
    let mut hits = 0;
    for _ in 0..200 {
        let host = Host::with_app(); // on a disk, whose sync comes between the commit and the rename
        let mut running = host.start(&[BACKUP, &name].concat());
        let Some(held) = HeldJournal::of_a_new_session(&host, "state", &mut running) else { continue };
        if !held.step_to(8, &mut running) {
            continue;
        }
        held.release_until_it_grows(&mut running);
        running.kill();
        if held.events().len() != 9 || !host.backups("repo").is_empty() {
            continue; // it was quicker than we
        }
        drop(held);
        hits += 1;
        host.ok(&other).says("backup 000001-");
        assert_eq!(host.partials("repo").len(), 1, "what is committed is left to its own session");

        host.ok(&[BACKUP, &name].concat()).says("finished the backup 000002-").says("backup 000003-");

        assert_eq!(host.backups("repo").len(), 3);
        no_log_is_lost(&host);
        host.is_tidy("repo");
        host.verifies("repo");
        break;
    }
    assert_eq!(hits, 1, "the backup was always too quick");
}

#[test]
fn what_a_begin_that_was_killed_left_in_the_repository_is_cleared_away() {
    // Killed between making its folder and saying whose it is.
    let host = Host::quick_with_app();
    host.ok(BACKUP);
    fs::create_dir_all(host.path("repo/partial/20260101T000000Z-abcdef/backup/data")).expect("created");
    host.ok(BACKUP).says("removed what the dead session 20260101T000000Z-abcdef left");
    host.is_tidy("repo");
}

#[test]
fn an_end_that_was_killed_while_it_wrote_the_manifest_can_be_repeated() {
    // A temporary file that was never renamed must not become a part of the backup.
    let host = Host::quick_with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    let partial = host.path("repo/partial").join(&host.partials("repo")[0]).join("backup");
    fs::write(partial.join(".jetbak-tmp-0123456789abcdef"), "{\"type\":\"ba").expect("written");
    host.ok(&["end", "app"]);
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn a_reader_that_was_killed_does_not_read_again_what_was_proven() {
    let host = Host::quick_with_app();
    host.write_many(500); // so that it can be met in the middle
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    host.ok(&["read", "app", "main.db"]);
    host.ok(&["read", "app", "conf"]);
    let held = HeldJournal::of(&host, "state").expect("a session");
    let before = held.events().len();
    let mut reader = host.start(&["read", "app"]);
    assert!(held.step_to(before + 1, &mut reader), "the first thing it records is what it takes");
    assert_eq!(reader.kill().code, None);
    assert_eq!(held.events().last().map(String::as_str), Some("opened"));
    drop(held);

    let again = host.ok(&["read", "app", "--json"]).summary();

    assert_eq!(again["files"], 504, "all but main.db and settings.ini");
    host.ok(&["end", "app"]);
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn a_killed_reader_is_in_the_way_of_neither_stop_nor_end() {
    // Acceptance case 79.
    for (verb, code) in [("stop", 0), ("end", 5)] {
        let host = Host::quick_with_app();
        host.write_many(500);
        host.ok(&["begin", "app", "--to", "repo"]);
        let held = HeldJournal::of(&host, "state").expect("a session");
        let before = held.events().len();
        let mut reader = host.start(&["read", "app"]);
        assert!(held.step_to(before + 1, &mut reader));
        reader.kill();
        drop(held);

        let status = host.ok(&["status", "--json"]).summary();
        assert_eq!(status["sessions"][0]["readers"], 0);
        let ran = host.run(&[verb, "app"]).exits(code);
        assert!(ran.took < Duration::from_secs(2));
        if verb == "stop" {
            host.ok(&["end", "app"]).says("stopped");
        }
        assert_eq!(host.backups("repo"), [""; 0]);
        host.is_tidy("repo");
    }
}

#[test]
fn truncate_killed_between_two_logs_is_gone_on_with_by_the_next_one() {
    // Acceptance case 54. What is recorded is behind what is deleted by one log at most.
    for deleted in 1..=2 {
        let (host, gone) = truncate_killed_after(deleted);
        assert!(host.journal().iter().filter(|line| line["event"] == "truncated").count() == deleted);
        nothing_half_stands(&host);
        no_log_is_lost(&host);
        assert!(gone == deleted || gone == deleted + 1, "{gone} are gone, {deleted} recorded");

        let next = host.ok(&["truncate", "app", "--json"]).summary();

        let names: Vec<_> = (1..=3).map(|number| format!("wal.{number}")).collect();
        assert_eq!(next["missing"], serde_json::json!(names[..gone]));
        assert_eq!(next["deleted"], serde_json::json!(names[gone..]));
        assert_eq!(next["remaining"], serde_json::json!(["wal.4"]));
        assert_eq!(host.logs(), ["wal.4"]);
        host.ok(&["end", "app"]).says("backup 000001-");
        host.is_tidy("repo");
        host.verifies("repo");
    }
}

/// A session whose `truncate` was killed when so many deletions were recorded, and how many logs are gone.
fn truncate_killed_after(deletions: usize) -> (Host, usize) {
    for _ in 0..200 {
        let host = Host::quick_with_app();
        host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
        host.ok(&["read", "app"]);
        let held = HeldJournal::of(&host, "state").expect("a session");
        let before = held.events().len(); // then: publishing, published, truncating
        let mut running = host.start(&["truncate", "app"]);
        if held.step_to(before + 3 + deletions, &mut running) {
            assert_eq!(running.kill().code, None);
            let left = host.logs();
            let gone = 4 - left.len();
            let newest: Vec<_> = (gone + 1..=4).map(|number| format!("wal.{number}")).collect();
            assert_eq!(left, newest, "the rest is one gapless run up to the newest");
            return (host, gone);
        }
    }
    panic!("truncate was 200 times too quick to be killed after {deletions} deletions");
}

#[test]
fn after_a_killed_backup_nobody_needs_to_help_a_person_who_begins_by_hand() {
    let host = killed_at(6, |_| {});
    host.ok(&["begin", "app", "--to", "repo"]).says("ended the session").says("its process is gone");
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]).says("backup 000001-");
    host.is_tidy("repo");
}

#[test]
fn a_killed_backup_can_be_stopped_and_ended_by_hand() {
    let host = killed_at(4, |_| {});
    let status = host.ok(&["status"]);
    status.prints("its process is gone; the next backup clears it away");
    let ran = host.ok(&["stop", "app", "--wait", "1"]);
    ran.says("stopped the backup");
    host.ok(&["end", "app"]);
    host.is_tidy("repo");
    assert_eq!(host.backups("repo"), [""; 0]);
}

#[test]
fn a_committed_backup_whose_rename_fails_is_finished_by_the_next_run() {
    let host = Host::with_app();
    open_to_all(&host, "app");
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    let backup = ["backup", "app", "--to", "repo"];
    run(&backup).exits(0);
    let mode = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(host.path("repo/backups"), permissions).expect("set");
    };
    mode(0o555);
    run(&backup).exits(1).says("cannot publish as");
    assert_eq!(host.backups("repo").len(), 1);
    mode(0o700);
    run(&backup).exits(0).says("finished the backup 000002-");
    assert_eq!(host.backups("repo").len(), 3);
    host.is_tidy("repo");
    host.verifies("repo");
}
