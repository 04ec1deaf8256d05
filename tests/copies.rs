//! A repository that was copied with `cp -a` and used in both places, and what becomes of it when backups of the one are
//! brought into the other by hand.

mod common;

use std::fs;
use std::process::Command;

use common::Host;
use common::acceptance::{go_on, logs_left, manifest, quick_clean};

fn copy(host: &Host, from: &str, to: &str) {
    let copied = Command::new("cp").arg("-a").arg(host.path(from)).arg(host.path(to)).status().expect("cp runs");
    assert!(copied.success());
}

fn restores(host: &Host, id: &str, into: &str, settings: &str) {
    host.ok(&["restore", "repo", id, "--into", into]);
    assert_eq!(fs::read_to_string(host.path(into).join("conf/settings.ini")).expect("read"), settings);
}

#[test]
fn two_backups_with_one_number_are_both_there_and_neither_is_taken_for_the_other() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    copy(&host, "repo", "copied");
    host.write("app/conf/settings.ini", "colour = green\n");
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    host.write("app/conf/settings.ini", "colour = red\n");
    host.ok(&["backup", "app", "--to", "copied", "--kind", "differential"]);
    let [_, of_copy] = <[String; 2]>::try_from(host.backups("copied")).expect("two");
    let [_, own] = <[String; 2]>::try_from(host.backups("repo")).expect("two");
    fs::rename(host.path("copied/backups").join(&of_copy), host.path("repo/backups").join(&of_copy)).expect("brought");

    host.ok(&["list", "repo"]).prints(&own).prints(&of_copy);
    for command in
        [&["show", "repo", "2"][..], &["restore", "repo", "2", "--into", "out"], &["cat", "repo", "2", "main.db"]]
    {
        let ran = host.run(command).exits(2).says("2 backups have the number 2: ").says("Name one of them by its id.");
        ran.says(&own).says(&of_copy);
    }
    assert!(!host.path("out").exists());
    restores(&host, &own, "out-own", "colour = green\n");
    restores(&host, &of_copy, "out-copy", "colour = red\n");
    // A verification tells of the number, and finds nothing else.
    let is_told = |host: &Host| {
        let ran = host.run(&["verify", "repo"]).exits(3);
        assert_eq!(ran.stdout.matches("2 backups with the number 2 found").count(), 2, "{}", ran.stdout);
        let bad = ran.stdout.lines().filter(|line| !line.ends_with(": good"));
        assert_eq!(bad.count(), 2, "{}", ran.stdout);
        assert!(!ran.stderr.contains("distrust"), "{}", ran.stderr);
        ran.says("Every file is as it was stored").says("by their ids");
    };
    is_told(&host);
    // It can be built on, and what does is as good.
    let own_or_copy = [own.clone(), of_copy.clone()];
    host.write("app/conf/settings.ini", "colour = pink\n");
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    let parent = manifest(&host)["parent"]["id"].as_str().expect("a parent").to_owned();
    assert!(own_or_copy.contains(&parent), "{parent}");
    restores(&host, "latest", "out-pink", "colour = pink\n");
    is_told(&host);
    host.ok(&["consolidate", "repo", &of_copy]);
    assert!(host.backups("repo").pop().expect("a backup").starts_with("000004-"));
    restores(&host, "4", "out-3", "colour = red\n");

    host.write("app/conf/settings.ini", "colour = grey\n");
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    assert!(host.backups("repo").pop().expect("a backup").starts_with("000005-"));
    restores(&host, "latest", "out-4", "colour = grey\n");
    is_told(&host);
}

#[test]
fn a_copy_that_was_made_in_the_middle_of_a_backup_is_a_good_repository() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app", "main.db"]);
    copy(&host, "repo", "copied");
    host.verifies("copied");
    let elsewhere = |kind: &str| {
        host.ok(&["backup", "app", "--to", "copied", "--kind", kind, "--state-dir", "other-state"]);
    };
    elsewhere("incremental");
    // Its session lives, in the repository that was copied: nothing of it is touched, here or there.
    assert_eq!(host.partials("copied").len(), 1);
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    host.is_tidy("repo");
    elsewhere("full");
    host.is_tidy("copied");
    assert_eq!((host.backups("repo").len(), host.backups("copied").len()), (2, 3));
    host.verifies("repo");
    host.verifies("copied");
}

#[test]
fn no_log_goes_because_of_a_backup_whose_number_two_have() {
    let host = quick_clean();
    host.ok(&["backup", "app", "--to", "repo"]);
    copy(&host, "repo", "copied");
    go_on(&host, 12, 10);
    for (repository, kind) in [("repo", "incremental"), ("copied", "differential")] {
        host.ok(&["backup", "app", "--to", repository, "--kind", kind]);
    }
    let of_copy = host.backups("copied").pop().expect("a backup");
    fs::rename(host.path("copied/backups").join(&of_copy), host.path("repo/backups").join(&of_copy)).expect("brought");
    host.run(&["verify", "repo"]).exits(3);
    // What it builds on is one of two, and nobody knows which one somebody will take away: the logs that begin with the last
    // one of the full backup stay.
    go_on(&host, 14, 13);
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental", "--truncate"]);
    let left = logs_left(&host);
    for log in ["edb.log", "edb0000A.log", "edb0000B.log", "edb0000C.log", "edb0000D.log"] {
        assert!(left.iter().any(|name| name == log), "{log}: {left:?}");
    }
    // A full backup needs neither.
    host.ok(&["backup", "app", "--to", "repo", "--kind", "full", "--truncate"]);
    assert!(logs_left(&host).len() < left.len(), "{:?}", logs_left(&host));
    host.run(&["verify", "repo"]).exits(3).says("Every file is as it was stored");
}
