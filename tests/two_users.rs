//! Two users with state directories of their own on one repository, all at once: each command works, or is told who is at it.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::{Host, finish};

/// jetbak as somebody who owns nothing, where we may become that.
fn as_nobody(host: &Host, arguments: &[&str]) -> Option<Command> {
    let jetbak = host.command(arguments);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(jetbak.get_program()).args(jetbak.get_args()).current_dir(host.path(""));
    command.env("JETBAK_STATE_DIR", host.path("state-of-nobody")).stdin(Stdio::null());
    let can = Command::new("setpriv").args(["--reuid", "65534", "true"]).stderr(Stdio::null()).status();
    can.is_ok_and(|status| status.success()).then_some(command)
}

#[test]
fn whoever_may_only_read_a_repository_reads_it() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.write("app/conf/settings.ini", "colour = green\n");
    host.ok(&["backup", "app", "--to", "repo", "--kind", "incremental"]);
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).expect("set");
    let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(host.path("repo")).status().expect("chmod runs");
    assert!(opened.success());
    fs::create_dir(host.path("home")).expect("made");
    fs::set_permissions(host.path("home"), fs::Permissions::from_mode(0o777)).expect("set");
    for arguments in [
        &["list", "repo"][..],
        &["show", "repo", "latest", "--files"],
        &["cat", "repo", "2", "conf/settings.ini"],
        &["verify", "repo"],
        &["restore", "repo", "--owner", "current", "--into", "home/out"],
    ] {
        let Some(command) = as_nobody(&host, arguments) else {
            eprintln!("skipped: we cannot become another user");
            return;
        };
        finish(command).exits(0);
    }
    let restored = fs::read_to_string(host.path("home/out/conf/settings.ini")).expect("read");
    assert_eq!(restored, "colour = green\n");
    // To write is another matter: nothing is left behind.
    let refused = as_nobody(&host, &["consolidate", "repo", "--state-dir", "home/state"]).expect("as before");
    finish(refused).exits(1).says("permission denied").says("/repo belongs to ").says(": run jetbak as ");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 2);
}

/// A directory that belongs to somebody else; false where we cannot give anything away.
fn home_of_nobody(host: &Host) -> bool {
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).expect("set");
    fs::create_dir(host.path("home")).expect("made");
    let done = std::os::unix::fs::chown(host.path("home"), Some(65534), Some(65534));
    let is_someone_else = done.is_ok() && as_nobody(host, &[]).is_some();
    if !is_someone_else {
        eprintln!("skipped: we cannot become another user");
    }
    is_someone_else
}

/// Whatever below a directory does not belong to nobody.
fn of_others(host: &Host, name: &str) -> String {
    let found = Command::new("find").arg(host.path(name)).args(["!", "-uid", "65534"]).output().expect("find runs");
    String::from_utf8_lossy(&found.stdout).into_owned()
}

#[test]
fn root_and_the_owner_of_a_repository_take_turns() {
    let host = Host::quick_with_app();
    if !home_of_nobody(&host) {
        return;
    }
    let state = ["--state-dir", "home/state"];
    let theirs =
        |arguments: &[&str]| finish(as_nobody(&host, &[arguments, &state].concat()).expect("as before")).exits(0);
    host.write_many(20);
    for first_is_root in [true, false] {
        let repo = if first_is_root { "home/made-by-root" } else { "home/own" };
        fs::create_dir(host.path(repo)).expect("made");
        std::os::unix::fs::chown(host.path(repo), Some(65534), Some(65534)).expect("given");
        let mut is_root = first_is_root;
        for round in 0..4 {
            host.write("app/conf/settings.ini", format!("colour = {round}\n"));
            std::os::unix::fs::symlink("main.db", host.path(format!("app/link-{first_is_root}-{round}")))
                .expect("made");
            let out = format!("home/out-{first_is_root}-{round}");
            let commands: [&[&str]; 7] = [
                &["backup", "app", "--to", repo, "--kind", if round == 0 { "full" } else { "incremental" }],
                &["verify", repo],
                &["restore", repo, "--into", &out, "--owner", "current"],
                &["list", repo],
                &["show", repo, "latest", "--files"],
                &["consolidate", repo],
                &["backup", "app", "--to", repo, "--kind", "differential"],
            ];
            for command in commands {
                if is_root {
                    host.ok(command)
                } else {
                    theirs(command)
                };
            }
            let settings = fs::read_to_string(host.path(&out).join("conf/settings.ini")).expect("read");
            assert_eq!(settings, format!("colour = {round}\n"));
            let others = of_others(&host, repo);
            assert!(others.lines().all(|path| host.path(path).is_symlink()), "{others}");
            is_root = !is_root;
        }
        theirs(&["verify", repo]);
        host.verifies(repo);
        host.is_tidy(repo);
    }
    assert!(host.session_folders_in("home/state").is_empty());
}

#[test]
fn a_living_session_of_another_user_is_left_alone_and_named() {
    let host = Host::quick_with_app();
    if !home_of_nobody(&host) {
        return;
    }
    let theirs = |arguments: &[&str]| {
        let all = [arguments, &["--state-dir", "home/state"]].concat();
        finish(as_nobody(&host, &all).expect("as before")).exits(0)
    };
    theirs(&["begin", "app", "--to", "home/repo"]);
    host.ok(&["begin", "app", "--to", "home/repo"]);
    let session = |state: &str| {
        let folder = host.session_folders_in(state).pop().expect("a session");
        folder.file_name().expect("a name").to_string_lossy().into_owned()
    };
    let (of_root, own) = (session("state"), session("home/state"));
    fs::set_permissions(host.path("state"), fs::Permissions::from_mode(0o700)).expect("set");
    theirs(&["read", "app"]);
    host.ok(&["read", "app"]);
    theirs(&["end", "app", "-v"]).says(&format!("{of_root}/backup alone: its session, of another user"));
    assert_eq!(host.partials("home/repo"), [&*of_root]);
    theirs(&["begin", "app", "--to", "home/repo"]);
    let second = session("home/state");
    assert_ne!(second, own);
    host.ok(&["end", "app", "-v"]).says(&format!("left the living session {second} alone, whose state is in "));
    theirs(&["read", "app"]);
    theirs(&["end", "app"]);
    assert_eq!(host.backups("home/repo").len(), 3);
    host.is_tidy("home/repo");
    theirs(&["verify", "home/repo"]);
}

#[test]
fn what_belongs_to_somebody_else_is_named_with_what_to_do() {
    let host = Host::quick_with_app();
    if !home_of_nobody(&host) {
        return;
    }
    let theirs = |arguments: &[&str]| {
        let all = [arguments, &["--state-dir", "home/state"]].concat();
        finish(as_nobody(&host, &all).expect("as before"))
    };
    for _ in 0..2 {
        theirs(&["backup", "app", "--to", "home/repo"]).exits(0);
    }
    // As `sudo cp -a` and the like leave it.
    let first = format!("home/repo/backups/{}", host.backups("home/repo")[0]);
    for (name, command, verified) in [
        ("home/repo/lock", &["backup", "app", "--to", "home/repo"][..], ""),
        (&*first, &["verify", "home/repo"], "-full: good"),
        ("home/repo", &["list", "home/repo"], ""),
    ] {
        let mode = fs::metadata(host.path(name)).expect("there").permissions();
        std::os::unix::fs::chown(host.path(name), Some(0), Some(0)).expect("taken");
        let ran = theirs(command).exits(1).says(&format!("{name} belongs to ")).says("permission denied");
        let advice = if name == "home/repo" { ": run jetbak as root" } else { "As root, `chown -R --no-dereference " };
        assert!(ran.stderr.contains(advice), "{}", ran.stderr);
        assert!(ran.stderr.contains(verified), "the others are looked at: {}", ran.stderr);
        std::os::unix::fs::chown(host.path(name), Some(65534), Some(65534)).expect("given back");
        fs::set_permissions(host.path(name), mode).expect("set");
    }
    theirs(&["verify", "home/repo"]).exits(0);
}

#[test]
fn all_commands_at_once_from_two_state_directories() {
    let host = Host::quick_with_app();
    host.write_many(300);
    copy_of_app(&host);
    let named = ["--name", "app"];
    host.ok(&[&["backup", "app", "--to", "repo"][..], &named].concat());
    host.write("app/conf/settings.ini", "colour = green\n");
    host.ok(&[&["backup", "app", "--to", "repo", "--kind", "incremental"][..], &named].concat());
    let mut stood = 2;
    for round in 0..3 {
        let (one, two) = (format!("out-{round}-1"), format!("out-{round}-2"));
        let second = ["--state-dir", "second"];
        let commands: Vec<Vec<&str>> = vec![
            [&["backup", "app", "--to", "repo", "--kind", "incremental"][..], &named].concat(),
            [&["backup", "other", "--to", "repo"][..], &named, &second].concat(),
            vec!["verify", "repo"],
            vec!["restore", "repo", "2", "--into", &one],
            [&["restore", "repo", "--into", &two][..], &second].concat(),
            vec!["list", "repo", "--json"],
            vec!["consolidate", "repo", "2"],
            [&["consolidate", "repo", "2"][..], &second].concat(),
        ];
        let running: Vec<_> = commands.iter().map(|command| host.start(command)).collect();
        for (running, command) in running.into_iter().zip(&commands) {
            let ran = running.wait();
            let is_refused = ran.code == Some(5) && (ran.stderr.contains(" by ") || ran.stderr.contains("meanwhile"));
            assert!(ran.code == Some(0) || is_refused, "{command:?} {:?}: {}", ran.code, ran.stderr);
            stood += usize::from(ran.code == Some(0) && command[0] == "backup");
        }
        let settings = fs::read_to_string(host.path(&one).join("conf/settings.ini")).expect("read");
        assert_eq!(settings, "colour = green\n");
        assert!(host.path(&two).join("main.db").exists());
    }
    let consolidated = host.backups("repo").len() - stood;
    assert!((1..=2).contains(&consolidated), "once, or twice at the same time: {consolidated}");
    host.verifies("repo");
    host.is_tidy("repo");
    assert!(host.session_folders_in("second").is_empty());
}

/// The same storage at another place, for the second user.
fn copy_of_app(host: &Host) {
    let copied = Command::new("cp").arg("-a").arg(host.path("app")).arg(host.path("other")).status().expect("cp runs");
    assert!(copied.success());
}
