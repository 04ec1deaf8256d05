//! What happens to a source, a repository or those who use it between an interrupted backup and the next one.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::interrupted::{began_later, end_session, read_and_stop, read_until_full};
use common::sqlite::{found_bank, is_one_moment, move_money};
use common::{Dice, HeldJournal, Host, Ran, as_ordinary_user, eventually, finish, names, open_to_all, skip};
use serde_json::{Value, json};

const BACKUP: &[&str] = &["backup", "app", "--to", "repo", "--log", "wal.*", "--json"];

fn resumed(ran: &Ran) -> u64 {
    ran.summary()["resumed"]["files"].as_u64().unwrap_or(0)
}

/// The files of the newest backup are those of the storage, and nothing else is in it.
fn is_as_in_the_source(host: &Host) {
    host.is_tidy("repo");
    host.verifies("repo");
    let same =
        Command::new("diff").args(["-r", "--no-dereference"]).arg(host.path("app")).arg(host.stored("")).output();
    let same = same.expect("diff runs");
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}

#[test]
fn whatever_becomes_of_a_file_the_backup_has_what_it_is_now() {
    type Change = fn(&Path);
    let changes: &[(&str, u64, Change)] = &[
        ("shorter", 5, |path| fs::write(path, "the data").expect("written")),
        ("cut, and as long again", 5, |path| {
            fs::write(path, "").expect("cut");
            fs::write(path, "the database").expect("written");
        }),
        ("another mode", 5, |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set")),
        ("another name more", 5, |path| fs::hard_link(path, path.with_file_name("zz")).expect("linked")),
        ("another name", 5, |path| fs::rename(path, path.with_file_name("moved.db")).expect("renamed")),
        ("a name that another one had", 4, |path| {
            fs::rename(path, path.with_file_name("wal.1")).expect("renamed");
        }),
        ("a directory", 5, |path| {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("made");
            fs::write(path.join("main.db"), "the database").expect("written");
        }),
        ("a link", 5, |path| {
            fs::rename(path, path.with_file_name("moved.db")).expect("renamed");
            symlink("moved.db", path).expect("linked");
        }),
        ("gone", 5, |path| fs::remove_file(path).expect("removed")),
    ];
    for (how, left, change) in changes {
        let host = Host::quick_with_app();
        read_and_stop(&host, &[], &[]);
        change(&host.path("app/main.db"));
        let ran = host.ok(BACKUP);
        assert_eq!(resumed(&ran), *left, "{how}: {}", ran.stderr);
        is_as_in_the_source(&host);
    }
}

#[test]
fn whatever_becomes_of_a_file_that_was_half_read_the_backup_has_what_it_is_now() {
    type Change = fn(&Path);
    let changes: &[(&str, Change)] = &[
        ("shorter than what was read", |path| {
            fs::File::options().write(true).open(path).expect("opened").set_len(1 << 20).expect("cut");
        }),
        ("shorter, but longer than what was read", |path| {
            fs::File::options().write(true).open(path).expect("opened").set_len(6_000_000).expect("cut");
        }),
        ("small", |path| fs::write(path, "small").expect("written")),
        ("a directory", |path| {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("made");
        }),
        ("a link", |path| {
            fs::remove_file(path).expect("removed");
            symlink("main.db", path).expect("linked");
        }),
        ("gone", |path| fs::remove_file(path).expect("removed")),
    ];
    for (how, change) in changes {
        // Before the next session begins, and after that.
        for is_begun in [false, true] {
            let host = Host::quick_with_app();
            host.write("app/large.db", (0_u32..1_600_000).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
            let begin = ["begin", "app", "--to", "repo", "--log", "wal.*", "--keep-partial"];
            host.ok(&begin);
            read_until_full(&host, "backup/data/large.db", 11);
            end_session(&host);
            began_later(&host);
            if is_begun {
                host.ok(&begin).says("need not be read again");
            }
            change(&host.path("app/large.db"));
            if !is_begun {
                host.ok(BACKUP);
            } else if host.run(&["read", "app"]).code == Some(0) {
                host.ok(&["end", "app"]);
            } else {
                // What is none any more cannot be read; the next session lists it as it is.
                host.ok(&["end", "app", "--abort"]);
                host.ok(BACKUP);
            }
            println!("{how}, {is_begun}");
            is_as_in_the_source(&host);
        }
    }
}

#[test]
fn what_is_left_out_now_is_not_in_the_backup_and_what_was_left_out_is() {
    let host = Host::quick_with_app();
    read_and_stop(&host, &["--exclude", "wal.2"], &[]);
    assert!(resumed(&host.ok(&[BACKUP, &["--exclude", "conf", "--exclude", "wal.3"]].concat())) >= 3);
    assert_eq!(names(&host.stored("")), ["main.db", "wal.1", "wal.2", "wal.4"]);
    host.is_tidy("repo");
    host.verifies("repo");
}

#[test]
fn logs_that_are_none_now_are_files_as_any_other() {
    let host = Host::quick_with_app();
    read_and_stop(&host, &[], &[]);
    let ran = host.ok(&["backup", "app", "--to", "repo", "--json"]);
    assert!(ran.summary()["resumed"]["files"].as_u64() >= Some(2), "{}", ran.stdout);
    is_as_in_the_source(&host);
    // And the other way round.
    let host = Host::quick_with_app();
    host.ok(&["begin", "app", "--to", "repo", "--keep-partial"]);
    host.ok(&["read", "app"]);
    end_session(&host);
    began_later(&host);
    host.ok(BACKUP);
    is_as_in_the_source(&host);
}

#[test]
fn a_copy_of_a_repository_does_not_go_on_from_what_was_copied_while_it_was_written() {
    let host = Host::quick_with_app();
    host.ok(&["begin", "app", "--to", "repo", "--log", "wal.*", "--keep-partial"]);
    host.ok(&["read", "app"]);
    let copied = Command::new("cp").arg("-a").arg(host.path("repo")).arg(host.path("copy")).status();
    assert!(copied.expect("cp runs").success());
    // While the session lives nobody touches either of them.
    host.run(&["backup", "app", "--to", "copy"]).exits(5);
    end_session(&host);
    began_later(&host);
    for name in host.partials("copy") {
        let folder = host.path("copy/partial").join(&name);
        fs::copy(host.path("repo/partial").join(&name).join("owner.json"), folder.join("owner.json")).expect("copied");
        fs::write(folder.join("backup/data/main.db"), "THE DATABASE").expect("written");
    }
    let ran = host.ok(&["backup", "app", "--to", "copy", "--log", "wal.*", "--json"]);
    assert_eq!(ran.summary()["resumed"], Value::Null);
    assert_eq!(host.partials("copy"), [""; 0], "nothing is left of it");
    host.verifies("copy");
    let id = host.backups("copy").remove(0);
    assert_eq!(fs::read(host.path("copy/backups").join(id).join("data/main.db")).expect("read"), b"the database");
    assert_eq!(resumed(&host.ok(BACKUP)), 6, "the partial where it was made is gone on from");
    is_as_in_the_source(&host);
}

#[test]
fn what_another_user_keeps_to_himself_is_left_alone() {
    if !rustix::process::getuid().is_root() {
        return skip("only root can be two users");
    }
    let host = Host::quick_with_app();
    read_and_stop(&host, &[], &["main.db"]);
    let name = host.partials("repo").remove(0);
    let owner = host.path("repo/partial").join(&name).join("owner.json");
    let mut text: Value = serde_json::from_slice(&fs::read(&owner).expect("read")).expect("JSON");
    text["kept"] = json!(false);
    text["state"] = json!(host.path("private/state").join(&name));
    fs::write(&owner, text.to_string()).expect("written");
    fs::create_dir_all(host.path("private/state").join(&name)).expect("made");
    fs::set_permissions(host.path("private"), fs::Permissions::from_mode(0o700)).expect("closed");
    for folder in ["repo", "app"] {
        open_to_all(&host, folder);
    }
    let other = as_ordinary_user(&host, host.command(&[&["--state-dir", "other"], BACKUP].concat()));
    let ran = finish(other).exits(0);
    assert_eq!(ran.summary()["resumed"], Value::Null);
    assert_eq!(host.partials("repo"), [name]);
    host.verifies("repo");
}

#[test]
fn nobody_goes_on_from_a_one_shot_for_which_somebody_still_reads() {
    for _ in 0..200 {
        let host = Host::quick_with_app();
        let mut running = host.start(BACKUP);
        let Some(held) = HeldJournal::of_a_new_session(&host, "state", &mut running) else { continue };
        running.kill();
        let slots = host.session_folders().pop().map(|folder| folder.join("readers"));
        let Some(slots) = slots else { continue };
        let before = names(&slots).len();
        let mut reader = host.start(&["read", "app"]);
        eventually("the reader has its number", || names(&slots).len() > before || reader.is_over());
        if reader.is_over() {
            continue; // the backup had come to its end
        }
        let ran = host.run_soon(&[&["--state-dir", "other"], BACKUP].concat()).exits(0);
        assert_eq!(ran.summary()["resumed"], Value::Null);
        assert_eq!(host.partials("repo").len(), 1, "what it writes into is left alone");
        drop(held);
        drop(reader);
        host.verifies("repo");
        return;
    }
    panic!("the backup was 200 times too quick to be killed");
}

#[test]
fn databases_of_sqlite_are_copied_anew_and_the_files_beside_them_are_not() {
    for mode in ["wal", "delete"] {
        let host = Host::quick();
        let bank = found_bank(&host.path("app/bank.db"), mode);
        host.write("app/notes.txt", "hello");
        move_money(&bank, &mut Dice::from_seed(1)).expect("moved");
        host.ok(&["begin", "app", "--to", "repo", "--keep-partial"]);
        host.ok(&["read", "app"]);
        end_session(&host);
        began_later(&host);
        // In the log alone, where there is one: the database itself is what it was.
        let moves: Vec<_> = (0..5).map(|seed| move_money(&bank, &mut Dice::from_seed(seed)).expect("moved")).collect();
        let ran = host.ok(&["backup", "app", "--to", "repo", "--json"]);
        assert_eq!(resumed(&ran), 1, "{mode}: {}", ran.stdout);
        assert_eq!(is_one_moment(&host.stored("bank.db")), 1 + i64::try_from(moves.len()).expect("a few"), "{mode}");
        assert_eq!(names(&host.stored("")), ["bank.db", "notes.txt"]);
        host.is_tidy("repo");
        host.verifies("repo");
    }
}
