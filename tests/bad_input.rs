//! What a person or a disk can get wrong before the first byte: which exit code, which words, and what is left behind.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::{Host, Ran, as_ordinary_user, finish, open_to_all};
use serde_json::{Value, json};

/// Runs jetbak as somebody whom permissions stop, also where the tests run as root.
fn run_as_ordinary_user(host: &Host, arguments: &[&str]) -> Ran {
    finish(as_ordinary_user(host, host.command(arguments)))
}

fn set_mode(host: &Host, name: &str, mode: u32) {
    fs::set_permissions(host.path(name), fs::Permissions::from_mode(mode)).expect("set");
}

/// Changes a JSON file in place.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON");
    change(&mut value);
    fs::write(path, serde_json::to_vec_pretty(&value).expect("JSON")).expect("written");
}

/// Damages a line of the only session's journal.
fn damage_journal_line(host: &Host, line: usize) {
    let path = host.session_folders()[0].join("journal.jsonl");
    let mut text = fs::read(&path).expect("read");
    let begin: usize = text.split_inclusive(|byte| *byte == b'\n').take(line - 1).map(<[u8]>::len).sum();
    text[begin + 30] ^= 1;
    fs::write(&path, text).expect("written");
}

fn entries(path: &Path) -> usize {
    fs::read_dir(path).map_or(0, Iterator::count)
}

// The storage

#[test]
fn a_storage_that_is_not_there_is_named_and_nothing_is_made() {
    let host = Host::new();
    for command in ["backup", "begin"] {
        host.run(&[command, "nowhere", "--to", "repo"])
            .exits(1)
            .says("there is no storage nowhere [JET_errInvalidPath, -1023]");
    }
    assert!(!host.path("repo").exists() && !host.path("state").exists());
}

#[test]
fn a_storage_that_is_a_file_is_refused_with_advice() {
    let host = Host::with_app();
    host.run(&["backup", "app/main.db", "--to", "repo"])
        .exits(1)
        .says("app/main.db is a file, not a storage directory [JET_errInvalidPath, -1023]")
        .says("Name the directory that holds it.");
    assert!(!host.path("repo").exists() && !host.path("state").exists());
}

#[test]
fn a_storage_that_may_not_be_entered_is_named_with_advice() {
    let host = Host::with_app();
    open_to_all(&host, "");
    set_mode(&host, "app", 0o000);
    let ran = run_as_ordinary_user(&host, &["backup", "app", "--to", "repo"]);
    set_mode(&host, "app", 0o755);
    let app = host.path("app");
    ran.exits(1)
        .says(&format!("{}: permission denied [JET_errFileAccessDenied, -1032]", app.display()))
        .says("Run jetbak as a user who may read everything in the storage.");
    assert!(!host.path("repo").exists(), "no repository is made for a storage that cannot be read");
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn a_storage_behind_a_closed_door_is_named_with_advice() {
    let host = Host::new();
    host.write("closed/app/main.db", "the database");
    open_to_all(&host, "");
    set_mode(&host, "closed", 0o000);
    let ran = run_as_ordinary_user(&host, &["backup", "closed/app", "--to", "repo"]);
    set_mode(&host, "closed", 0o755);
    ran.exits(1).says("closed/app: permission denied [JET_errFileAccessDenied, -1032]").says("Run jetbak as a user");
    assert!(!host.path("repo").exists());
}

#[test]
fn a_directory_in_the_storage_that_may_not_be_listed_is_named_with_advice() {
    let host = Host::with_app();
    open_to_all(&host, "");
    set_mode(&host, "app/conf", 0o000);
    let ran = run_as_ordinary_user(&host, &["backup", "app", "--to", "repo"]);
    set_mode(&host, "app/conf", 0o755);
    ran.exits(1).says("app/conf: permission denied [JET_errFileAccessDenied, -1032]").says("Run jetbak as a user");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 0);
}

#[test]
fn a_file_that_may_not_be_read_fails_the_backup_by_name() {
    let host = Host::with_app();
    open_to_all(&host, "");
    set_mode(&host, "app/main.db", 0o000);
    run_as_ordinary_user(&host, &["backup", "app", "--to", "repo"])
        .exits(1)
        .says("app/main.db: permission denied [JET_errFileAccessDenied, -1032]")
        .says("Run jetbak as a user who may read everything in the storage.");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 0);

    set_mode(&host, "app/main.db", 0o644);
    run_as_ordinary_user(&host, &["backup", "app", "--to", "repo"]).exits(0);
    host.verifies("repo");
}

// The repository

#[test]
fn a_repository_that_may_not_be_written_is_named() {
    let host = Host::with_app();
    fs::create_dir(host.path("repo")).expect("created");
    open_to_all(&host, "");
    set_mode(&host, "repo", 0o555);
    let ran = run_as_ordinary_user(&host, &["backup", "app", "--to", "repo"]);
    assert_eq!(entries(&host.path("repo")), 0);
    set_mode(&host, "repo", 0o755);
    ran.exits(1).says("permission denied [JET_errFileAccessDenied, -1032]").says("repo");
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn a_repository_that_has_become_read_only_keeps_its_backups_and_leaves_no_session() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    open_to_all(&host, "");
    for name in ["repo/backups", "repo/partial", "repo"] {
        set_mode(&host, name, 0o555);
    }
    let ran = run_as_ordinary_user(&host, &["backup", "app", "--to", "repo"]);
    for name in ["repo", "repo/partial", "repo/backups"] {
        set_mode(&host, name, 0o755);
    }
    ran.exits(1).says("repo/partial").says("permission denied [JET_errFileAccessDenied, -1032]");
    host.is_tidy("repo");
    assert_eq!(host.backups("repo").len(), 1);
    host.verifies("repo");
}

#[test]
fn a_directory_of_somebody_else_never_becomes_a_repository() {
    let host = Host::with_app();
    host.write("letters/to-anna.txt", "Dear Anna");
    host.run(&["backup", "app", "--to", "letters"])
        .exits(1)
        .says("letters is not a jetbak repository [JET_errInvalidPath, -1023]")
        .says("A repository holds a file repository.json.");
    assert_eq!(entries(&host.path("letters")), 1, "nothing was added");
    assert_eq!(host.session_folders().len(), 0);
    for command in ["list", "verify"] {
        host.run(&[command, "letters"]).exits(1).says("letters is not a jetbak repository");
        host.run(&[command, "nowhere"]).exits(1).says("there is no repository nowhere [JET_errInvalidPath, -1023]");
    }
}

#[test]
fn a_repository_that_is_a_file_is_refused_and_kept() {
    let host = Host::with_app();
    host.write("repo", "not a directory");
    host.run(&["backup", "app", "--to", "repo"]).exits(1).says("repo");
    assert_eq!(fs::read(host.path("repo")).expect("read"), b"not a directory");
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn a_repository_takes_the_backups_of_one_storage_only() {
    let host = Host::with_app();
    host.write("other/main.db", "another one");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.run(&["backup", "other", "--to", "repo"])
        .exits(2)
        .says("belongs to the storage")
        .says("[JET_errInvalidParameter, -1003]")
        .says("Use a repository of its own for each storage");
    host.run(&["backup", "app", "--to", "repo", "--name", "app"]).exits(2).says("not to the storage named app");
    assert_eq!(host.backups("repo").len(), 1);
    host.is_tidy("repo");
}

#[test]
fn a_repository_that_belongs_to_a_name_wants_that_name() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo", "--name", "accounts"]);
    for arguments in [&["--name", "letters"][..], &[]] {
        host.run(&[&["backup", "app", "--to", "repo"], arguments].concat())
            .exits(2)
            .says("belongs to the storage named accounts")
            .says("Give --name accounts if this is that storage.");
    }
    assert_eq!(host.backups("repo").len(), 1);
}

#[test]
fn a_repository_of_a_newer_format_is_told_from_a_damaged_one() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    let path = host.path("repo/repository.json");
    // A newer version has words in it that this one does not know.
    edit(&path, |header| {
        header["format"] = 2.into();
        header["engine"] = "crystal".into();
        header["identity"] = json!({"by": "fingerprint", "fingerprint": "loops"});
    });
    let before = fs::read(&path).expect("read");
    for arguments in [&["backup", "app", "--to", "repo"][..], &["list", "repo"], &["verify", "repo"]] {
        host.run(arguments).exits(1).says("was written by a newer jetbak (format 2, this one knows 1)").says("Use the");
    }
    assert_eq!(fs::read(&path).expect("read"), before);
    assert_eq!(host.backups("repo").len(), 1);
    host.is_tidy("repo");
}

#[test]
fn a_damaged_repository_file_is_exit_3_and_is_never_written_over() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    let path = host.path("repo/repository.json");
    for text in ["", "{", "[]", "{\"type\":\"repository\",\"format\":1}"] {
        fs::write(&path, text).expect("written");
        for arguments in [&["backup", "app", "--to", "repo"][..], &["list", "repo"], &["verify", "repo"]] {
            host.run(arguments).exits(3).says("repo/repository.json is damaged");
        }
        assert_eq!(fs::read_to_string(&path).expect("read"), text);
    }
    assert_eq!(host.backups("repo").len(), 1);
    host.is_tidy("repo");
}

#[test]
fn a_damaged_manifest_hides_no_other_backup_and_stops_no_new_one() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["backup", "app", "--to", "repo"]);
    let ids = host.backups("repo");
    fs::write(host.path("repo/backups").join(&ids[0]).join("manifest.json"), "{\"format\":1").expect("written");

    host.run(&["list", "repo"]).exits(3).prints("unreadable").prints(&ids[1]).says(&ids[0]).says("manifest is damaged");
    let list = host.run(&["list", "repo", "--json"]).exits(3).summary();
    assert_eq!(list["backups"][0]["id"], ids[0].as_str());
    assert!(list["backups"][0]["error"].as_str().expect("a reason").contains("damaged"));
    assert_eq!(list["backups"][1]["outcome"], "completed");
    host.run(&["verify", "repo"]).exits(3).prints(&format!("{}: manifest.json: manifest", ids[0]));
    host.run(&["verify", "repo", &ids[1]]).exits(3).prints("manifest.json: chain"); // it was the one before
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["verify", "repo", "latest"]);
    assert_eq!(host.backups("repo").len(), 3);
}

#[test]
fn a_manifest_of_a_newer_format_is_shown_as_such() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["backup", "app", "--to", "repo"]);
    let ids = host.backups("repo");
    let manifest = |id: &str| host.path("repo/backups").join(id).join("manifest.json");
    fs::write(manifest(&ids[1]), r#"{"format":99,"shape":"round"}"#).expect("written");
    host.run(&["list", "repo"]).exits(1).says("it was written by a newer jetbak (format 99, this one reads 1)");
    host.run(&["verify", "repo", &ids[1]]).exits(3).prints("it was written by a newer jetbak");
    host.ok(&["verify", "repo", &ids[0]]);
    host.ok(&["backup", "app", "--to", "repo"]);
    assert!(host.backups("repo")[2].starts_with("000003-"));

    // Damage weighs more than age, in whatever order the two are met.
    fs::write(manifest(&ids[0]), "{").expect("written");
    host.run(&["list", "repo"]).exits(3);
}

#[test]
fn backups_that_do_not_exist_or_are_not_named_clearly_are_a_wrong_command_line() {
    let host = Host::with_app();
    host.run(&["verify", "repo", "latest"]).exits(1);
    host.ok(&["begin", "app", "--to", "repo"]);
    host.run(&["verify", "repo", "latest"]).exits(2).says("holds no complete backup [JET_errInvalidParameter, -1003]");
    host.ok(&["end", "app", "--abort"]);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["backup", "app", "--to", "repo"]);
    host.run(&["verify", "repo", "7"]).exits(2).says("holds no backup 7 [JET_errInvalidParameter, -1003]");
    host.run(&["verify", "repo", "00000"]).exits(2).says("00000 is the beginning of 2 ids").says("Give more of it");
    host.ok(&["verify", "repo", "1"]);
}

// Where the repository lies

#[test]
fn a_repository_inside_of_the_storage_is_refused_whichever_way_it_is_named() {
    let host = Host::with_app();
    symlink(host.path("app"), host.path("shortcut")).expect("linked");
    host.write("app/deep/file", "deep");
    for repository in ["app/repo", "app", "shortcut/repo", "app/deep/repo", "app/../app/repo", "./app/deep/../repo"] {
        for command in ["backup", "begin"] {
            host.run(&[command, "app", "--to", repository])
                .exits(2)
                .says("lies inside of the storage")
                .says("[JET_errInvalidParameter, -1003]")
                .says("Choose a repository outside of the storage.");
        }
        host.run(&["backup", "app", "--to", repository, "--dry-run"]).exits(2).says("lies inside of the storage");
    }
    host.run(&["backup", "shortcut", "--to", "app/repo"]).exits(2).says("lies inside of the storage");
    assert!(!host.path("app/repo").exists() && !host.path("app/deep/repo").exists());
    assert_eq!(host.session_folders().len(), 0);
}

#[test]
fn a_repository_that_was_moved_into_the_storage_is_refused() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo"]);
    fs::rename(host.path("repo"), host.path("app/repo")).expect("moved");
    symlink("app/repo", host.path("repo")).expect("linked");
    host.run(&["backup", "app", "--to", "repo"]).exits(2).says("lies inside of the storage");
    host.verifies("repo");
}

#[test]
fn a_storage_inside_of_its_repository_is_refused() {
    let host = Host::new();
    host.write("repo/app/main.db", "the database");
    symlink(host.path("repo"), host.path("shortcut")).expect("linked");
    for repository in ["repo", "shortcut", "."] {
        host.run(&["backup", "repo/app", "--to", repository])
            .exits(2)
            .says("holds the storage")
            .says("[JET_errInvalidParameter, -1003]");
    }
    assert_eq!(entries(&host.path("repo")), 1, "nothing was added");
}

#[test]
fn only_the_last_directory_of_a_repository_is_made() {
    let host = Host::with_app();
    host.run(&["backup", "app", "--to", "mnt/disk/repo"])
        .exits(1)
        .says("mnt/disk/repo")
        .says("Only the last directory of the path is made; is a mount missing?");
    assert!(!host.path("mnt").exists());
    assert_eq!(host.session_folders().len(), 0);
}

// The command line

#[test]
fn a_wrong_command_line_is_exit_2_and_makes_nothing() {
    let host = Host::with_app();
    for (arguments, message) in [
        (&["backup", "app"][..], "--to <REPO>"),
        (&["begin", "app"], "--to <REPO>"),
        (&["begin", "app", "--to", "repo", "--no-repository"], "cannot be used with"),
        (&["backup", "app", "--to", "repo", "--kind", "weekly"], "invalid value 'weekly' for '--kind <KIND>'"),
        (&["backup", "app", "--to", "repo", "--log", "["], "the pattern \"[\" cannot be understood"),
        (&["begin", "app", "--to", "repo", "--log", "wal.*", "--log", "{a"], "the pattern \"{a\" cannot be understood"),
        (&["backup", "app", "--to", "repo", "--truncate", "--kind", "copy"], "a copy backup never truncates"),
        (&["backup", "app", "--to", "repo", "--retries", "few"], "invalid value 'few' for '--retries <N>'"),
        (&["backup", "app", "--to", "repo", "--replace-idle", "soon"], "write it as 90s, 30m or 12h"),
        (&["restart"], "unrecognized subcommand"),
        (&["files"], "<STORAGE"),
        (&["stop", "app", "--all"], "cannot be used with"),
    ] {
        host.run(arguments).exits(2).says(message);
        assert!(!host.path("repo").exists(), "{arguments:?} leaves no repository");
        assert_eq!(host.session_folders().len(), 0, "{arguments:?} leaves no session");
    }
}

#[test]
fn an_output_takes_exactly_one_file() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--no-repository"]);
    for files in [&["main.db", "conf/settings.ini"][..], &[]] {
        host.run(&[&["read", "app"], files, &["--out", "out"]].concat()).exits(2).says("--out takes exactly one FILE");
    }
    host.run(&["read", "app"]).exits(2).says("this session has no repository to read into").says("--out PATH");
    assert!(!host.path("out").exists());
    host.ok(&["read", "app", "main.db", "--out", "out"]);
    assert_eq!(fs::read(host.path("out")).expect("read"), b"the database");
}

#[test]
fn a_directory_has_no_content_to_put_out() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.run(&["read", "app", "conf", "--out", "out"]).exits(2).says("conf has no content: it is a directory");
    assert!(!host.path("out").exists());
}

#[test]
fn a_file_that_the_session_does_not_read_is_refused_by_name() {
    let host = Host::with_app();
    host.write("outside", "not ours");
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*"]);
    for name in ["nothing.db", "../outside", "/etc/passwd", "main.d"] {
        host.run(&["read", "app", name])
            .exits(2)
            .says(&format!("this session does not read {name} [JET_errInvalidParameter, -1003]"))
            .says("`jetbak files` prints what it reads");
        host.run(&["read", "app", name, "--out", "out"]).exits(2).says("this session does not read");
    }
    for arguments in [&["read", "app", "wal.2"][..], &["read", "app", "wal.2", "--out", "-"]] {
        host.run(arguments)
            .exits(2)
            .says("logs are read after the databases [JET_errDatabaseNotFound, -1203]")
            .says("Read what is left with `jetbak read`");
    }
    assert!(!host.path("out").exists());
    // The session goes on as if nothing had been said.
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    host.verifies("repo");
}

#[test]
fn a_session_id_that_does_not_exist_is_a_wrong_command_line() {
    let host = Host::with_app();
    for command in ["files", "read", "truncate", "end", "stop"] {
        host.run(&[command, "--session", "20200101T000000Z-000000"])
            .exits(2)
            .says("no session has the id 20200101T000000Z-000000 [JET_errInvalidParameter, -1003]")
            .says("`jetbak status` lists the sessions.");
    }
    assert!(!host.path("state").exists());
}

// Sessions that are not there, or not sound

#[test]
fn without_a_session_there_is_nothing_to_read_truncate_or_end() {
    let host = Host::with_app();
    for arguments in [
        &["files", "app"][..],
        &["read", "app"],
        &["read", "app", "main.db"],
        &["read", "app", "main.db", "--out", "out"],
        &["truncate", "app"],
        &["truncate", "app", "--dry-run"],
        &["end", "app"],
        &["end", "app", "--abort"],
    ] {
        host.run(arguments)
            .exits(5)
            .says("no backup of app is in progress [JET_errNoBackup, -520]")
            .says("Begin one with `jetbak begin`, or run `jetbak backup`.");
    }
    for name in ["state", "repo", "out"] {
        assert!(!host.path(name).exists(), "{name} was not made");
    }
}

#[test]
fn a_damaged_journal_is_named_with_its_line_by_everyone_who_needs_it() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    assert!(host.journal().len() > 3);
    damage_journal_line(&host, 2);
    for arguments in [
        &["begin", "app", "--to", "repo"][..],
        &["backup", "app", "--to", "repo"],
        &["files", "app"],
        &["read", "app"],
        &["truncate", "app"],
        &["end", "app"],
        &["end", "app", "--abort"],
        &["stop", "app"],
        &["status"],
        &["status", "app"],
        &["status", "--quiet"],
    ] {
        host.run(arguments)
            .exits(1)
            .says("line 2 of ")
            .says("journal.jsonl is damaged: its checksum does not hold")
            .says("Remove its folder in the state directory, then begin anew");
    }
    let status = host.run(&["status", "--json"]).exits(1).summary();
    assert!(status["damaged"][0]["message"].as_str().expect("a message").contains("line 2 of "));
    assert_eq!(host.backups("repo").len(), 0, "nothing was published");

    // Other storages are not concerned, and the advice works.
    host.write("other/main.db", "another one");
    host.ok(&["backup", "other", "--to", "others"]);
    host.ok(&["begin", "other", "--no-repository"]);
    host.ok(&["status", "other"]);
    host.ok(&["end", "other", "--abort"]);
    for folder in host.session_folders() {
        fs::remove_dir_all(folder).expect("removed");
    }
    host.ok(&["backup", "app", "--to", "repo"]).says("removed what the dead session");
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn a_damaged_session_file_is_shown_and_stops_no_new_backup() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    let folder = host.session_folders().remove(0);
    fs::write(folder.join("session.json"), "{\"type\":\"session\"").expect("written");
    host.run(&["status"]).exits(1).says("session.json is damaged").says("Remove the session's folder");
    host.run(&["read", "app"]).exits(5).says("[JET_errNoBackup, -520]");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.verifies("repo");
    assert!(folder.exists(), "what cannot be understood is not deleted");
}

#[test]
fn a_session_of_a_newer_format_is_told_from_a_damaged_one() {
    let host = Host::with_app();
    host.ok(&["begin", "app", "--to", "repo"]);
    let path = host.session_folders()[0].join("session.json");
    edit(&path, |record| {
        record["format"] = 2.into();
        record["kind"] = "continuous".into();
    });
    host.run(&["status"]).exits(1).says("session.json was written by a newer jetbak").says("Use the newer version");
}

// The state directory

#[test]
fn a_state_directory_that_may_not_be_written_is_named_with_advice() {
    let host = Host::with_app();
    fs::create_dir(host.path("state")).expect("created");
    open_to_all(&host, "");
    set_mode(&host, "state", 0o555);
    for command in ["backup", "begin"] {
        run_as_ordinary_user(&host, &[command, "app", "--to", "repo"])
            .exits(1)
            .says("cannot write in the state directory")
            .says("permission denied [JET_errFileAccessDenied, -1032]")
            .says("Name another one with --state-dir or JETBAK_STATE_DIR.");
    }
    assert!(!host.path("repo").exists(), "no repository is made");
    run_as_ordinary_user(&host, &["status"]).exits(0);
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named_with_advice() {
    let host = Host::with_app();
    host.write("state", "a file");
    for command in ["backup", "begin"] {
        host.run(&[command, "app", "--to", "repo"])
            .exits(1)
            .says("cannot create the state directory")
            .says("Name another one with --state-dir or JETBAK_STATE_DIR.");
    }
    host.run(&["status"]).exits(1).says("cannot list the state directory");
    assert!(!host.path("repo").exists());
    assert_eq!(fs::read(host.path("state")).expect("read"), b"a file");
}

// JSON

#[test]
fn a_ci_job_reads_every_failure_as_json() {
    let host = Host::with_app();
    host.write("letters/to-anna.txt", "Dear Anna");
    for (arguments, exit_code, jet, code) in [
        (&["backup", "nowhere", "--to", "repo"][..], 1, "JET_errInvalidPath".into(), (-1023).into()),
        (&["begin", "app/main.db", "--to", "repo"], 1, "JET_errInvalidPath".into(), (-1023).into()),
        (&["backup", "app", "--to", "letters"], 1, "JET_errInvalidPath".into(), (-1023).into()),
        (&["backup", "app", "--to", "app/repo"], 2, "JET_errInvalidParameter".into(), (-1003).into()),
        (&["backup", "app", "--to", "repo", "--log", "["], 2, "JET_errInvalidParameter".into(), (-1003).into()),
        (&["read", "app"], 5, "JET_errNoBackup".into(), (-520).into()),
        (&["end", "app", "--abort"], 5, "JET_errNoBackup".into(), (-520).into()),
        (&["stop", "--session", "x"], 2, "JET_errInvalidParameter".into(), (-1003).into()),
        (&["list", "letters"], 1, "JET_errInvalidPath".into(), (-1023).into()),
        (&["backup", "app"], 2, Value::Null, Value::Null),
        (&["backup", "app", "--to", "repo", "--kind", "weekly"], 2, Value::Null, Value::Null),
        (&["restart"], 2, Value::Null, Value::Null),
    ] {
        let ran = host.run(&[arguments, &["--json"]].concat()).exits(exit_code);
        assert_eq!(ran.stderr, "", "{arguments:?}: nothing for people");
        let lines = ran.json();
        let error =
            lines.iter().find(|line| line["type"] == "error").unwrap_or_else(|| panic!("{arguments:?}: {lines:?}"));
        assert_eq!(error["exit_code"], exit_code, "{arguments:?}");
        assert_eq!((&error["jet"], &error["code"]), (&jet, &code), "{arguments:?}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{arguments:?}");
    }
    assert!(!host.path("repo").exists());
}

#[test]
fn when_stdout_carries_a_file_the_error_comes_as_json_on_stderr() {
    let host = Host::with_app();
    let ran = host.run(&["read", "app", "main.db", "--out", "-", "--json"]).exits(5);
    assert_eq!(ran.stdout, "");
    let error: Value = serde_json::from_str(ran.stderr.trim()).expect("JSON");
    assert_eq!((&error["type"], &error["code"]), (&"error".into(), &(-520).into()));
}
