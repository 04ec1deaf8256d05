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
    finish(refused).exits(1).says("ermission denied");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 2);
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
