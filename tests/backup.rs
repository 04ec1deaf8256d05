//! A backup in one go: what stands in the repository afterwards, and what a second one adds.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use common::{Host, odd_name};
use snapbox::prelude::*;
use snapbox::{assert_data_eq, str};

#[test]
fn a_backup_is_an_ordinary_directory_that_proves_itself() {
    let host = Host::with_app();
    fs::write(host.path("app").join(odd_name()), "odd").expect("written");
    fs::write(host.path("app/empty"), "").expect("written");
    fs::create_dir(host.path("app/hollow")).expect("created");
    std::os::unix::fs::symlink("../main.db", host.path("app/conf/link")).expect("linked");
    fs::set_permissions(host.path("app/main.db"), fs::Permissions::from_mode(0o4755)).expect("set");

    host.ok(&["backup", "app", "--to", "repo"]).says("backup 000001-");

    host.verifies("repo");
    host.is_tidy("repo");
    assert_eq!(fs::read(host.stored("main.db")).expect("read"), b"the database");
    assert_eq!(fs::read(host.stored("").join(odd_name())).expect("read"), b"odd");
    assert_eq!(fs::read_link(host.stored("conf/link")).expect("a link"), std::path::Path::new("../main.db"));
    assert!(host.stored("hollow").is_dir());
    let (source, copy) = (host.path("app/main.db"), host.stored("main.db"));
    let (source, copy) = (source.metadata().expect("there"), copy.metadata().expect("there"));
    assert_eq!((source.mtime(), source.mtime_nsec()), (copy.mtime(), copy.mtime_nsec()));
    assert_eq!(copy.mode() & 0o7777, 0o755, "without setuid");
    let manifest = fs::read(host.stored("").with_file_name("manifest.json")).expect("read");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest["outcome"], "completed");
    assert_eq!(manifest["files"], 8);
}

#[test]
fn backups_are_numbered_and_listed_and_refer_to_the_one_before() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["backup", "app", "--to", "repo", "--kind", "copy"]);

    let list = host.ok(&["list", "repo"]).stdout;
    assert_data_eq!(
        list,
        str![[r#"
number  kind  began                      files  size  outcome    id
     1  full  [..]      6  50 B  completed  000001-[..]Z-full
     2  copy  [..]      6  50 B  completed  000002-[..]Z-copy

"#]]
    );
    let list = host.ok(&["list", "repo", "--json"]).summary();
    assert_eq!(list["backups"][1]["sequence"], 2);
    assert_eq!(list["backups"][1]["kind"], "copy");
    host.verifies("repo");
}

#[test]
fn a_ci_job_reads_the_result_as_json() {
    let host = Host::with_app();
    let ran = host.ok(&["backup", "app", "--to", "repo", "--json"]);
    assert_eq!(ran.stderr, "", "nothing for people");
    let lines = ran.json();
    assert_eq!(lines[0]["type"], "begun");
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["command"], "backup");
    assert_eq!(summary["outcome"], "completed");
    assert_eq!(summary["exit_code"], 0);
    assert_eq!(summary["sequence"], 1);
    assert_eq!(summary["files"], 6);
    assert_eq!(summary["bytes"], 50);
    assert_eq!(summary["id"], host.backups("repo")[0].as_str());
}

#[test]
fn cron_hears_nothing_of_a_quiet_success() {
    let host = Host::with_app();
    let ran = host.ok(&["backup", "app", "--to", "repo", "--quiet"]);
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
}

#[test]
fn a_dry_run_says_what_would_be_read_and_makes_nothing() {
    let host = Host::with_app();
    let ran = host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*", "--dry-run"]);
    assert_data_eq!(
        ran.stdout.into_data(),
        str![[r#"
app: 2 files (26 B) and 4 logs (24 B) would be read

"#]]
    );
    assert!(!host.path("repo").exists() && !host.path("state").exists());
}

#[test]
fn a_socket_or_fifo_is_named_and_left_out() {
    let host = Host::with_app();
    let _socket = std::os::unix::net::UnixListener::bind(host.path("app/socket")).expect("bound");
    host.ok(&["backup", "app", "--to", "repo"]).says("warning: left out socket: a socket, fifo or device");
    assert!(!host.stored("socket").exists());
    host.verifies("repo");
}

#[test]
fn the_state_directory_inside_of_the_storage_is_left_out() {
    let host = Host::with_app();
    let mut command = host.command(&["backup", "app", "--to", "repo"]);
    command.env("JETBAK_STATE_DIR", host.path("app/state"));
    common::finish(command).exits(0).says("left out state: jetbak's own state directory");
    assert!(host.stored("main.db").exists() && !host.stored("state").exists());
    host.verifies("repo");
}
