//! Two at once: on one storage one of them waits its turn or is told who holds it; different storages never meet.

mod common;

use std::thread;
use std::time::Duration;

use common::{Dice, HeldJournal, Host, Ran};

const BACKUP: &[&str] = &["backup", "app", "--to", "repo"];

/// The refusal names the storage, who holds it, since when, and what to do.
fn is_refused(ran: Ran, what: &str, advice: &str) {
    let ran = ran.exits(5).says("-505").says(what).says(" since 20").says("(pid ").says(advice);
    assert_eq!(ran.stdout, "");
}

#[test]
fn of_two_backups_at_once_one_wins_or_both_have_their_turn() {
    let mut dice = Dice::new();
    let host = Host::quick_with_app();
    let (mut stood, mut refused) = (0, 0);
    for _ in 0..40 {
        let first = host.start(BACKUP);
        thread::sleep(dice.below(Duration::from_millis(10)));
        let second = host.start(BACKUP);
        let both = [first.wait(), second.wait()];
        let won = both.iter().filter(|ran| ran.code == Some(0)).count();
        assert!(won > 0, "one of them wins:\n{}\n{}", both[0].stderr, both[1].stderr);
        for ran in both {
            if ran.code != Some(0) {
                is_refused(ran, "is in progress: `jetbak backup` by ", "\n");
                refused += 1;
            }
        }
        stood += won;
        assert_eq!(host.backups("repo").len(), stood, "each winner has its own backup");
        host.is_tidy("repo");
    }
    assert!(refused > 0, "not once did they meet");
    host.verifies("repo");
}

#[test]
fn a_backup_that_runs_is_named_to_the_second_one_and_not_disturbed() {
    let host = Host::quick_with_app();
    host.write_many(1000); // so that it can be met in the middle
    let mut first = host.start(BACKUP);
    let held = HeldJournal::of_a_new_session(&host, "state", &mut first).expect("quick enough");
    eventually_begun(&held, &mut first);
    for more in [&[][..], &["--replace-idle", "0s"]] {
        let second = host.run(&[BACKUP, more].concat());
        is_refused(second, "in progress: `jetbak backup` by ", "Wait for it, or stop it with `jetbak stop`.");
    }
    assert_eq!(host.session_folders().len(), 1);
    drop(held);
    first.wait().exits(0);
    assert_eq!(host.backups("repo").len(), 1);
    host.is_tidy("repo");
}

/// Steps until the session has begun; a backup that was quicker than that is of no use here.
fn eventually_begun(held: &HeldJournal, running: &mut common::Running) {
    while held.events().is_empty() {
        assert!(held.step(running), "it is not over yet");
    }
}

#[test]
fn a_session_that_a_person_began_is_refused_and_left_as_it_is() {
    let host = Host::quick_with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app", "main.db"]);
    let journal = host.journal();

    is_refused(host.run(BACKUP), "in progress: `jetbak begin` by ", "end it with `jetbak end --abort`");
    is_refused(host.run(&["begin", "app", "--to", "repo"]), "`jetbak begin` by ", "--replace-idle");
    let kind = host.run(&["begin", "app", "--to", "other", "--kind", "copy"]);
    is_refused(kind, "`jetbak begin` by ", "--replace-idle");
    is_refused(host.run(&[BACKUP, &["--replace-idle", "1h"]].concat()), "`jetbak begin` by ", "--replace-idle");

    assert_eq!(host.journal(), journal);
    assert!(!host.path("other").exists(), "a refusal makes nothing");
    assert_eq!(host.ok(&["read", "app", "--json"]).summary()["files"], 5, "its reads go on");
    host.ok(&["end", "app"]);
    host.verifies("repo");
}

#[test]
fn an_idle_session_is_replaced_when_that_was_asked_for() {
    let host = Host::quick_with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    let ran = host.ok(&[BACKUP, &["--replace-idle", "0s"]].concat());
    ran.says("ended the session of ").says("as aborted: idle for").says("backup 000001-");
    assert_eq!(host.backups("repo").len(), 1);
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn a_session_whose_reader_lives_is_never_idle() {
    let host = Host::quick();
    host.write_huge("app/huge.db", 4 << 20);
    host.ok(&["begin", "app", "--no-repository"]);
    let mut reader = host.start(&["read", "app", "huge.db", "--out", "-"]);
    common::eventually("it reads", || host.ok(&["status", "--json"]).summary()["sessions"][0]["readers"] == 1);
    let ran = host.run(&[BACKUP, &["--replace-idle", "0s"]].concat());
    is_refused(ran, "`jetbak begin` by ", "--replace-idle");
    assert!(!reader.is_over());
    assert_eq!(host.session_folders().len(), 1);
    drop(reader);
    host.ok(&[BACKUP, &["--replace-idle", "0s"]].concat()).says("ended the session of ");
    host.is_tidy("repo");
}

#[test]
fn different_storages_share_a_state_directory_and_never_meet() {
    // Acceptance cases 5 and 75.
    let host = Host::quick_with_app();
    host.write("web/index.html", "hello");
    for _ in 0..10 {
        let both = [host.start(BACKUP), host.start(&["backup", "web", "--to", "webrepo"])];
        for running in both {
            running.wait().exits(0);
        }
        host.is_tidy("repo");
        host.is_tidy("webrepo");
    }
    assert_eq!((host.backups("repo").len(), host.backups("webrepo").len()), (10, 10));

    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["begin", "web", "--to", "webrepo"]);
    host.run(&["stop"]).exits(5).says("-1081").says("2 backups are in progress");
    host.ok(&["read", "app"]);
    host.ok(&["stop", "web"]);
    host.ok(&["end", "app"]).says("backup 000011-");
    host.run(&["read", "web"]).exits(4).says("-801");
    host.ok(&["end", "web"]);
    assert_eq!((host.backups("repo").len(), host.backups("webrepo").len()), (11, 10));
    host.is_tidy("webrepo");
    host.verifies("repo");
}

#[test]
fn two_first_backups_at_once_make_one_repository_with_both() {
    let name = ["--name", "app"];
    for _ in 0..20 {
        let host = Host::quick_with_app();
        let both =
            [host.start(&[BACKUP, &name].concat()), host.start(&[&["--state-dir", "other"], BACKUP, &name].concat())];
        for ran in both.map(common::Running::wait) {
            let ran = ran.exits(0);
            assert!(!ran.stderr.contains("dead session"), "{}", ran.stderr);
        }
        let numbers: Vec<_> = host.backups("repo").iter().map(|id| id[..6].to_owned()).collect();
        assert_eq!(numbers, ["000001", "000002"]);
        assert_eq!(host.session_folders_in("other").len(), 0);
        host.is_tidy("repo");
        host.verifies("repo");
    }
}

#[test]
fn two_hosts_with_one_repository_never_take_each_others_partial() {
    // Two state directories stand for two administrators who do not see each other's sessions.
    let name = ["--name", "app"];
    let other = [&["--state-dir", "other"], BACKUP, &name].concat();
    let host = Host::quick_with_app();
    host.ok(&[&["begin", "app", "--to", "repo", "--log", "wal.*"][..], &name].concat());
    host.ok(&["read", "app", "main.db"]);
    let partial = host.partials("repo");

    host.ok(&other).says("backup 000001-");
    assert_eq!(host.partials("repo"), partial, "the partial of a session that lives stays");
    host.ok(&["read", "app", "conf"]);
    host.ok(&other).says("backup 000002-");

    assert_eq!(host.ok(&["read", "app", "--json"]).summary()["files"], 4, "only the logs were left");
    host.ok(&other).says("backup 000003-");
    host.ok(&["end", "app"]).says("backup 000004-");
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn backups_of_many_hosts_into_one_repository_are_numbered_without_a_gap() {
    let mut dice = Dice::new();
    let host = Host::quick_with_app();
    let states = ["a", "b", "c"];
    host.ok(&[BACKUP, &["--name", "app"]].concat());
    for _ in 0..8 {
        let running = states.map(|state| {
            thread::sleep(dice.below(Duration::from_millis(3)));
            host.start(&[&["--state-dir", state], BACKUP, &["--name", "app"]].concat())
        });
        for ran in running.map(common::Running::wait) {
            let ran = ran.exits(0);
            assert!(!ran.stderr.contains("dead session"), "{}", ran.stderr);
        }
    }
    let list = host.ok(&["list", "repo", "--json"]).summary();
    let numbers = list["backups"].as_array().expect("a list").iter().map(|backup| backup["sequence"].as_u64());
    assert!(numbers.eq((1..=25).map(Some)));
    host.is_tidy("repo");
    host.verifies("repo");
}
