//! Killing the real binary as it is about to do a system call.

use std::process::{Command, Stdio};

use super::{Host, skip};

/// Runs jetbak and kills it as it is about to do a system call for the n-th time; false where it needs fewer of them.
pub fn is_killed_at(host: &Host, arguments: &[&str], call: &str, at: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={at}"), "--"]);
    let jetbak = host.command(arguments);
    strace.arg(jetbak.get_program()).args(jetbak.get_args()).current_dir(host.path(""));
    strace.env("JETBAK_STATE_DIR", host.path("state")).env("TZ", "UTC");
    let status = strace.stdin(Stdio::null()).output().expect("strace runs").status;
    !status.success()
}

/// Whether that works here; says so where it does not.
pub fn can_kill() -> bool {
    let tried = Command::new("strace").args(["-qq", "-o", "/dev/null", "-e", "trace=none", "--", "true"]).output();
    let works = tried.is_ok_and(|output| output.status.success());
    if !works {
        skip("no strace that may trace");
    }
    works
}
