//! Backups that are read while somebody removes them: a reader holds what it reads, and notices what it came too late for.

mod common;

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;

use common::{Host, Running, eventually};
use jetbak::repository::Repository;
use jetbak::repository::holder;
use jetbak::repository::manifest::BackupId;
use jetbak::stream::stop::StopToken;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

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
    fs::rename(host.path("repo/backups").join(id), trash(host, id)).expect("renamed");
}

fn trash(host: &Host, id: &str) -> PathBuf {
    host.path("repo/partial").join(format!("trash-{id}-0123abcd"))
}

#[test]
fn whoever_comes_while_a_backup_is_removed_is_told_so() {
    let host = with_two();
    let newest = host.backups("repo").pop().expect("a backup");
    let held = alone(&host, &newest).expect("nobody reads it");
    let holder = holder::describe(Some(&host.path("repo/backups").join(&newest)));
    let is_named = holder.contains(&format!("(pid {}, ", std::process::id()));
    assert!(is_named || has_locked(&host, &newest, 0).is_none(), "{holder}");
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
        ran.says(&format!("{newest} is being removed by {holder}")).says("once the prune is over");
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
    let repository = Repository::open(&host.path("repo")).expect("opened");
    let stop = StopToken::never();
    let mut chosen = Vec::new();
    let found = repository.choose_held(&stop, &mut || {
        let latest = repository.resolve("latest")?;
        if chosen.is_empty() {
            remove(&host, &newest); // between choosing and holding
        }
        chosen.push(latest.id.text.clone());
        Ok(Some(latest))
    });
    let (found, held) = found.expect("found").expect("one is left");
    assert_eq!((found.id.text.as_str(), chosen), (first.as_str(), vec![newest.clone(), first.clone()]));
    assert!(alone(&host, &first).is_none());
    drop(held);
    eventually("nobody holds it", || alone(&host, &first).is_some());

    let gone = BackupId::parse(&newest).expect("an id");
    assert!(repository.hold(&gone, &stop).expect("looked for").is_none());
    assert!(repository.choose_held(&stop, &mut || Ok(None)).expect("nothing").is_none());
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
        eventually("nobody holds it", || alone(&host, &newest).is_some());
    }
}

/// Whether a process has locked a backup, by what the kernel says: a lock that we try may be held for a moment by a child of
/// another test, which is about to start its program. None where the kernel does not say.
fn has_locked(host: &Host, id: &str, pid: i32) -> Option<bool> {
    let metadata = fs::metadata(host.path("repo/backups").join(id)).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let device = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let mut pids = holder::pids(&locks, device, metadata.ino()).into_iter();
    (!locks.is_empty()).then(|| pids.any(|holder| i64::from(holder) == i64::from(pid)))
}

/// Stops a command at many moments: from the first one on at which it has locked the newest backup of the two, it has it
/// until it is done. How often that was seen.
#[track_caller]
fn holds_until(host: &Host, command: &[&str], is_done: &dyn Fn() -> bool) -> u32 {
    let newest = host.backups("repo")[1].clone();
    let (mut running, mut seen) = (host.start(command), 0);
    while !running.is_over() {
        running.signal("STOP");
        let tasks = format!("/proc/{}/task", running.pid());
        eventually("it is stopped", || are_stopped(&tasks));
        let is_held = has_locked(host, &newest, running.pid()) == Some(true);
        assert!(is_held || seen == 0 || is_done(), "{command:?} lets go of it");
        seen += u32::from(is_held && !is_done());
        running.signal("CONT");
        std::thread::yield_now();
    }
    running.wait().exits(0);
    seen
}

/// Whether all threads of a process are stopped, or it is over.
fn are_stopped(tasks: &str) -> bool {
    let Ok(tasks) = fs::read_dir(tasks) else { return true };
    tasks.filter_map(Result::ok).all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
        matches!(state, None | Some('T' | 'Z' | 'X'))
    })
}

#[test]
fn what_a_command_is_at_is_held_until_it_is_done() {
    let host = with_two();
    if has_locked(&host, &host.backups("repo")[1], 0).is_none() {
        return common::skip("the kernel does not say who holds locks");
    }
    let last = "many/1/1999";
    let right = fs::read(host.path("app").join(last)).expect("read");
    let is_right = |folder: &str| fs::read(host.path(folder).join(last)).is_ok_and(|found| found == right);
    let seen = holds_until(&host, &["restore", "repo", "2", "--into", "out"], &|| is_right("out"));
    assert!(seen > 0, "restore");

    for number in 0..2000 {
        host.write(&format!("out/many/{}/{number}", number / 1000), format!("CONTENT {number}"));
    }
    let delta = ["restore", "repo", "2", "--delta", "--into", "out"];
    assert!(holds_until(&host, &delta, &|| is_right("out")) > 0, "delta");

    let made = || host.backups("repo").len() == 3;
    assert!(holds_until(&host, &["consolidate", "repo", "2"], &made) > 0, "consolidate");
    fs::remove_dir_all(host.backup_folder()).expect("removed");

    for number in 0..2000 {
        host.write(&format!("app/many/{}/{number}", number / 1000), format!("changed {number}"));
    }
    host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental"]);
    let journal = host.session_folders().pop().expect("a session").join("journal.jsonl");
    let is_read = || fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"closed\""));
    assert!(holds_until(&host, &["read", "app"], &is_read) > 0, "read");
    assert!(holds_until(&host, &["end", "app"], &made) > 0, "end");
    host.verifies("repo");
}

#[test]
fn a_verification_of_all_passes_over_what_is_not_there_any_more() {
    let host = with_two();
    let [first, newest] = <[String; 2]>::try_from(host.backups("repo")).expect("two");
    if has_locked(&host, &first, 0).is_none() {
        return common::skip("the kernel does not say who holds locks");
    }
    for (ids, code, says) in
        [(&[][..], 0, "verified 1 backup"), (&["1", "2"], 5, "`jetbak list` shows the backups that are left")]
    {
        let (mut reader, writer) = full_pipe();
        let mut command = host.command(&[&["verify", "repo"], ids].concat());
        let mut verify = command.stderr(writer).stdout(Stdio::null()).spawn().expect("started");
        drop(command); // and with it the pipe's end for writing
        // It knows of both when it reads the first, and cannot come to the second before it has told of that.
        let pid = i32::try_from(verify.id()).expect("a pid");
        eventually("it reads the first", || has_locked(&host, &first, pid) == Some(true));
        remove(&host, &newest);
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("its messages");
        assert_eq!(verify.wait().expect("ended").code(), Some(code), "{said}");
        assert!(said.contains(&format!("{newest} was removed by a prune")) && said.contains(says), "{said}");
        fs::rename(trash(&host, &newest), host.path("repo/backups").join(&newest)).expect("renamed back");
    }
}

/// A pipe into which nothing more goes until somebody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = fcntl_getfl(&writer).expect("flags");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("set");
    while writer.write(b"\n").is_ok() {}
    fcntl_setfl(&writer, flags).expect("set");
    (reader, writer)
}
