//! Backups that are read while somebody removes them: a reader holds what it reads, and notices what it came too late for.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::process::Stdio;

use common::{Host, Running, eventually};

/// A full backup in `repo`, and an incremental one on it.
fn with_two() -> Host {
    let host = Host::quick_with_app();
    host.write_many(2000); // a list that fills a pipe
    host.write("app/large.bin", vec![7; 1 << 20]);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.write("app/conf/settings.ini", "colour = green\n");
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    host
}

/// The lock that a prune takes on a backup before it removes it; none where a reader holds it.
fn alone(host: &Host, id: &str) -> Option<File> {
    let folder = File::open(host.path("repo/backups").join(id)).expect("opened");
    folder.try_lock().ok().map(|()| folder)
}

/// What a prune does with a backup that it holds.
fn remove(host: &Host, id: &str) {
    fs::rename(host.path("repo/backups").join(id), host.path("repo/partial").join(format!("trash-{id}-0123abcd")))
        .expect("renamed");
}

#[test]
fn whoever_comes_while_a_backup_is_removed_is_told_so() {
    let host = with_two();
    let newest = host.backups("repo").pop().expect("a backup");
    let held = alone(&host, &newest).expect("nobody reads it");
    let commands: [&[&str]; 9] = [
        &["restore", "repo", "2", "--into", "out"],
        &["restore", "repo", "--dry-run", "--into", "out"],
        &["restore", "repo", "2", "--delta", "--into", "app"],
        &["verify", "repo", "2"],
        &["cat", "repo", "2", "conf/settings.ini"],
        &["show", "repo", "2"],
        &["show", "repo", &newest, "--files"],
        &["consolidate", "repo"],
        &["backup", "app", "--to", "repo", "--kind", "incremental"],
    ];
    let running: Vec<_> = commands.iter().map(|command| host.start(command)).collect();
    for (running, command) in running.into_iter().zip(commands) {
        let ran = running.wait();
        assert_eq!(ran.code, Some(5), "{command:?}:\n{}{}", ran.stdout, ran.stderr);
        ran.says(&format!("{newest} is being removed by a prune")).says("jetbak list");
    }
    assert!(!host.path("out").exists());
    // What it builds on is nobody's business yet.
    host.ok(&["verify", "repo", "1"]);
    host.ok(&["list", "repo"]).prints(&newest);
    drop(held);
    host.verifies("repo");
    host.is_tidy("repo");
}

#[test]
fn the_latest_is_another_one_where_the_newest_was_just_removed() {
    let host = with_two();
    let [first, newest] = <[String; 2]>::try_from(host.backups("repo")).expect("two");
    let held = alone(&host, &newest).expect("nobody reads it");
    let restore = host.start(&["restore", "repo", "--into", "out", "--json"]);
    let named = host.start(&["restore", "repo", &newest, "--into", "other"]);
    eventually("both have begun", || has_open(&restore, "backups") && has_open(&named, "backups"));
    remove(&host, &newest);
    drop(held);
    let ran = restore.wait().exits(0);
    assert_eq!(ran.summary()["id"], first.as_str());
    assert_eq!(fs::read_to_string(host.path("out/conf/settings.ini")).expect("read"), "colour = blue\n");
    named.wait().exits(5).says(&format!("{newest} was removed by a prune"));
    assert!(!host.path("other").exists());
}

/// Whether a process has a directory of the repository open.
fn has_open(running: &Running, name: &str) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{}/fd", running.pid())) else { return true };
    open.filter_map(Result::ok).any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.ends_with(name)))
}

#[test]
fn who_reads_a_backup_holds_it_to_the_end() {
    let host = with_two();
    let newest = host.backups("repo").pop().expect("a backup");
    for command in [&["cat", "repo", "2", "large.bin"][..], &["show", "repo", "2", "--files"]] {
        let mut reader = host.command(command);
        reader.stdout(Stdio::piped());
        let mut reader = Running::spawn(reader);
        let mut out = reader.child().stdout.take().expect("a pipe");
        out.read_exact(&mut [0; 1]).expect("it writes"); // and cannot go on: the pipe is full
        assert!(alone(&host, &newest).is_none(), "{command:?} holds it");
        let together = File::open(host.path("repo/backups").join(&newest)).expect("opened");
        together.try_lock_shared().expect("together with others");
        out.read_to_end(&mut Vec::new()).expect("the rest");
        reader.wait().exits(0);
        drop(together);
        assert!(alone(&host, &newest).is_some());
    }
}

#[test]
fn a_verification_of_all_passes_over_what_is_not_there_any_more() {
    let host = with_two();
    let newest = host.backups("repo").pop().expect("a backup");
    let held = alone(&host, &newest).expect("nobody reads it");
    let verify = host.start(&["verify", "repo"]);
    let named = host.start(&["verify", "repo", "1", "2"]);
    let verified = host.path("repo/verified");
    // Both have the first one behind them, and with it the list of what there is.
    eventually("the first is verified", || verified.exists() && has_open(&verify, "backups") && has_open(&named, "backups"));
    remove(&host, &newest);
    drop(held);
    verify.wait().exits(0).says(&format!("{newest} was removed by a prune: not verified")).says("verified 1 backup");
    named.wait().exits(5).says(&format!("{newest} was removed by a prune"));
}
