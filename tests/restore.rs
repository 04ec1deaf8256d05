//! Where a backup is restored to, what of it, and what is there afterwards: the whole tree or nothing, whatever happens.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use common::forge::{flip, forge};
use common::mounts::{Disk, in_own_mounts};
use common::tree::{Alike, Listing, acl, make_deep, set_time};
use common::{Dice, Host, Ran, Running, as_ordinary_user, eventually, finish, names, open_to_all, skip};
use rustix::fs::XattrFlags;

/// A machine with one backup in `repo`.
fn backed_up() -> Host {
    let host = Host::quick_with_app();
    symlink("main.db", host.path("app/link")).expect("linked");
    fs::hard_link(host.path("app/main.db"), host.path("app/conf/again")).expect("linked");
    set_time(&host.path("app/conf"), 1_000_000_000, 5);
    set_time(&host.path("app"), 1_100_000_000, 7);
    host.ok(&["backup", "app", "--to", "repo"]);
    host
}

/// The target is the storage once more, to the last attribute.
#[track_caller]
fn is_whole(host: &Host, target: &str) {
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path(target)), Alike::Fully);
}

/// Nothing of a restore is left in a directory.
#[track_caller]
fn is_swept(folder: &Path) {
    let left: Vec<_> = names(folder).into_iter().filter(|name| name.starts_with(".jetbak-tmp-")).collect();
    assert_eq!(left, Vec::<String>::new());
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

// Targets

#[test]
fn a_target_is_made_or_filled_if_it_is_empty() {
    let host = backed_up();
    host.ok(&["restore", "repo", "--into", "missing"]).says("restored 000001-").says("every byte proven");
    is_whole(&host, "missing");
    fs::create_dir(host.path("empty")).expect("created");
    host.ok(&["restore", "repo", "--into", "empty"]);
    is_whole(&host, "empty");
    fs::create_dir(host.path("linked")).expect("created");
    symlink("linked", host.path("way")).expect("linked");
    host.ok(&["restore", "repo", "--into", "way/"]);
    is_whole(&host, "linked");
    assert!(fs::symlink_metadata(host.path("way")).expect("looked at").is_symlink(), "the link itself stays");
    fs::create_dir(host.path("folder")).expect("created");
    host.ok(&["restore", "repo", "--into", "folder/../folder/./new"]);
    is_whole(&host, "folder/new");
    is_swept(&host.path(""));
}

#[test]
fn the_directory_that_a_shell_stands_in_is_filled_and_stays_the_same() {
    let host = backed_up();
    fs::create_dir(host.path("here")).expect("created");
    let before = fs::metadata(host.path("here")).expect("looked at").ino();
    let ran = finish(host.shell(r#"cd here && "$@" && ls main.db"#, &["restore", "../repo", "--into", "."]));
    ran.exits(0).prints("main.db");
    is_whole(&host, "here");
    assert_eq!(fs::metadata(host.path("here")).expect("looked at").ino(), before);
    is_swept(&host.path("here"));
}

#[test]
fn a_target_that_holds_anything_is_refused_and_left_alone() {
    let host = backed_up();
    host.write("full/.hidden", "mine");
    host.write("file", "mine");
    symlink("nowhere", host.path("dangling")).expect("linked");
    symlink("file", host.path("to-file")).expect("linked");
    fs::create_dir_all(host.path("other/lost+found")).expect("created");
    let before = names(&host.path(""));
    for dry in [&[][..], &["--dry-run"]] {
        let run = |into: &str| host.run_soon(&[&["restore", "repo", "--into", into][..], dry].concat());
        for into in ["full", "app", "other"] {
            let ran = run(into).exits(5).says("is not empty: it holds ").says("[JET_errBackupDirectoryNotEmpty, -504]");
            ran.says("Restore into a directory that is empty or does not exist yet");
        }
        for into in ["file", "to-file"] {
            run(into).exits(5).says("is not a directory").says("-504]");
        }
        run("dangling").exits(1);
        run("no/such/parent").exits(1).says("Only the last directory of the path is made; is a mount missing?");
        run("file/below").exits(1);
        run("/").exits(5);
    }
    assert_eq!(names(&host.path("")), before);
    assert_eq!(fs::read(host.path("full/.hidden")).expect("read"), b"mine");
    let error = host.run(&["restore", "repo", "--into", "full", "--json"]).exits(5).json();
    assert_eq!((&error[0]["type"], &error[0]["code"]), (&"error".into(), &(-504).into()));
    assert_eq!((&error[1]["outcome"], &error[1]["exit_code"]), (&"failed".into(), &5.into()));
}

#[test]
fn nothing_is_restored_into_the_repository() {
    let host = backed_up();
    symlink("repo/backups", host.path("way")).expect("linked");
    let before = names(&host.path("repo"));
    for into in ["repo", "repo/new", "repo/backups/new", "repo/partial/new", "way/new", "repo/../repo/new"] {
        let ran = host.run(&["restore", "repo", "--into", into]);
        assert!(matches!(ran.code, Some(2 | 5)), "{into}: {}", ran.stderr);
    }
    assert_eq!(names(&host.path("repo")), before);
    host.ok(&["verify", "repo"]);
    assert_eq!(host.backups("repo").len(), 1);
}

#[test]
fn a_mount_point_is_filled_from_inside() {
    if !in_own_mounts("a_mount_point_is_filled_from_inside") {
        return;
    }
    let host = backed_up();
    fs::set_permissions(host.path("app"), fs::Permissions::from_mode(0o1750)).expect("set");
    set_time(&host.path("app"), 1_100_000_000, 7);
    host.ok(&["backup", "app", "--to", "repo"]);
    let _disk = Disk::mount(&host, "disk", 4096);
    fs::create_dir(host.path("disk/lost+found")).expect("created");
    host.ok(&["restore", "repo", "--into", "disk"]);
    assert_eq!(names(&host.path("disk/lost+found")), Vec::<String>::new());
    fs::remove_dir(host.path("disk/lost+found")).expect("removed");
    set_time(&host.path("disk"), 1_100_000_000, 7); // we have just changed it
    is_whole(&host, "disk");
    let _full = Disk::mount(&host, "full", 4096);
    host.write("full/lost+found/something", "found");
    host.run(&["restore", "repo", "--into", "full"]).exits(5).says("it holds lost+found");
    let _plain = Disk::mount(&host, "plain", 4096);
    host.ok(&["restore", "repo", "--into", "plain"]);
    is_whole(&host, "plain");
    is_swept(&host.path("plain"));
    is_swept(&host.path(""));
}

#[test]
fn a_read_only_file_system_is_a_clear_error() {
    if !in_own_mounts("a_read_only_file_system_is_a_clear_error") {
        return;
    }
    let host = backed_up();
    let disk = Disk::mount(&host, "disk", 1024);
    fs::create_dir(host.path("disk/empty")).expect("created");
    let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(host.path("disk")).status();
    assert!(mounted.expect("mount runs").success());
    for into in ["disk/new", "disk/empty"] {
        host.run_soon(&["restore", "repo", "--into", into]).exits(1).says("read-only file system");
    }
    host.run_soon(&["restore", "repo", "--into", "disk"]).exits(5);
    drop(disk);
}

#[test]
fn an_ordinary_user_fills_its_directory_where_the_one_above_is_not_its_own() {
    if !is_root() {
        return skip("only root gives directories away");
    }
    let host = backed_up();
    open_to_all(&host, "repo");
    fs::create_dir_all(host.path("home/user")).expect("created");
    chown(host.path("home/user"), Some(65534), Some(65534)).expect("given away");
    let restore = |into: &str| {
        let arguments = ["restore", "repo", "--into", into, "--owner", "current"];
        finish(as_ordinary_user(&host, host.command(&arguments)))
    };
    restore("home/user").exits(0);
    Listing::of(&host.path("app")).is_like(&Listing::of(&host.path("home/user")), Alike::ButOwners);
    is_swept(&host.path("home/user"));
    restore("home/new").exits(1).says("permission denied");
    restore("home/user").exits(5);
    assert_eq!(names(&host.path("home")), ["user"]);
}

#[test]
fn an_ordinary_user_restores_what_it_may_not_write_itself() {
    // Only root can back up what may not be listed.
    for mode in if is_root() { &[0o555, 0o300, 0o000][..] } else { &[0o555] } {
        let host = Host::quick_with_app();
        host.write("app/conf/deep/file", "below what may not be entered");
        for name in ["conf", ""] {
            fs::set_permissions(host.path("app").join(name), fs::Permissions::from_mode(*mode)).expect("set");
            set_time(&host.path("app").join(name), 1_000_000_000, 5);
        }
        host.ok(&["backup", "app", "--to", "repo"]);
        open_to_all(&host, "repo");
        let restore = |into: &str| {
            let arguments = ["restore", "repo", "--into", into, "--owner", "current"];
            finish(as_ordinary_user(&host, host.command(&arguments)))
        };
        let source = Listing::of(&host.path("app"));
        restore("new").exits(0);
        source.is_like(&Listing::of(&host.path("new")), Alike::ButOwners);
        // The same from inside, where the last of it is taken away from a directory that is read-only by then.
        fs::create_dir_all(host.path("home/user")).expect("created");
        if is_root() {
            chown(host.path("home/user"), Some(65534), Some(65534)).expect("given away");
        } else {
            fs::set_permissions(host.path("home"), fs::Permissions::from_mode(0o555)).expect("set");
        }
        restore("home/user").exits(0);
        source.is_like(&Listing::of(&host.path("home/user")), Alike::ButOwners);
        is_swept(&host.path("home/user"));
        is_swept(&host.path(""));
        fs::set_permissions(host.path("home"), fs::Permissions::from_mode(0o755)).expect("set");
    }
}

#[test]
fn what_the_directory_above_hands_down_does_not_reach_the_tree() {
    let host = backed_up();
    fs::create_dir(host.path("above")).expect("created");
    let default = acl(&[(1, 7, !0), (2, 7, 4711), (4, 7, !0), (16, 7, !0), (32, 7, !0)]);
    let name = "system.posix_acl_default";
    if let Err(errno) = rustix::fs::lsetxattr(host.path("above"), name, &default, XattrFlags::empty()) {
        return skip(&format!("no ACLs here: {errno}"));
    }
    if is_root() {
        chown(host.path("above"), None, Some(99)).expect("given away");
    }
    fs::set_permissions(host.path("above"), fs::Permissions::from_mode(0o2777)).expect("set");
    host.ok(&["restore", "repo", "--into", "above/out"]);
    is_whole(&host, "above/out");
    is_swept(&host.path("above"));
}

#[test]
fn a_bit_that_the_kernel_takes_away_without_a_word_is_named() {
    if !is_root() {
        return skip("only root gives directories away");
    }
    let host = Host::with_app();
    fs::set_permissions(host.path("app/conf"), fs::Permissions::from_mode(0o2755)).expect("set");
    host.ok(&["backup", "app", "--to", "repo"]);
    open_to_all(&host, "repo");
    // Everything that is made in here belongs to a group that the user is not in.
    fs::create_dir(host.path("above")).expect("created");
    chown(host.path("above"), None, Some(99)).expect("given away");
    fs::set_permissions(host.path("above"), fs::Permissions::from_mode(0o2777)).expect("set");
    let arguments = ["restore", "repo", "--into", "above/out", "--owner", "current"];
    let ran = finish(as_ordinary_user(&host, host.command(&arguments))).exits(0);
    let is_kept = fs::metadata(host.path("above/out/conf")).expect("looked at").mode() & 0o2000 != 0;
    let is_named = ran.stderr.contains("conf could not be given setgid, because its group is not one of yours");
    assert_eq!(is_kept, !is_named, "{}", ran.stderr);
    assert!(is_named || fs::metadata(host.path("above/out")).expect("looked at").gid() != 99, "{}", ran.stderr);
}

// Parts

#[test]
fn what_is_named_is_restored_with_the_directories_above_it() {
    let host = backed_up();
    host.ok(&["restore", "repo", "--into", "one", "--only", "conf/settings.ini"]).says(" in part into ");
    assert_eq!(names(&host.path("one")), ["conf"]);
    assert_eq!(names(&host.path("one/conf")), ["settings.ini"]);
    for name in ["", "conf", "conf/settings.ini"] {
        let (was, is) = (fs::metadata(host.path("app").join(name)), fs::metadata(host.path("one").join(name)));
        let (was, is) = (was.expect("looked at"), is.expect("looked at"));
        assert_eq!((was.mtime(), was.mtime_nsec(), was.mode()), (is.mtime(), is.mtime_nsec(), is.mode()), "{name}");
    }
    let arguments = ["restore", "repo", "--into", "more", "--only", "./conf//", "--only", "wal.2", "--json"];
    let summary = host.ok(&arguments).summary();
    assert_eq!(names(&host.path("more")), ["conf", "wal.2"]);
    assert_eq!(names(&host.path("more/conf")), ["again", "settings.ini"]);
    assert_eq!((&summary["files"], &summary["directories"]), (&3.into(), &1.into()));
    assert_eq!((&summary["bytes"], &summary["links"]), (&(12 + 14 + 6).into(), &0.into()));
    host.ok(&["restore", "repo", "--into", "link", "--only", "link"]);
    assert_eq!(names(&host.path("link")), ["link"]);
    host.ok(&["restore", "repo", "--into", "all", "--only", "."]);
    is_whole(&host, "all");
}

#[test]
fn a_name_that_the_backup_does_not_hold_makes_nothing() {
    let host = backed_up();
    for unknown in ["nothing", "main", "main.db/below", "conf/settings", "../app/main.db", "/etc/passwd", "link/x"] {
        let arguments = ["restore", "repo", "--into", "out", "--only", "conf", "--only", unknown];
        let ran = host.run(&arguments).exits(2).says("does not hold ").says(unknown);
        assert!(ran.stdout.is_empty());
        assert!(!host.path("out").exists());
    }
    host.run(&["restore", "repo", "--into", "out", "--only", "nothing", "--dry-run"]).exits(2);
    is_swept(&host.path(""));
}

#[test]
fn a_dry_run_proves_the_list_and_makes_nothing() {
    let host = backed_up();
    let before = names(&host.path(""));
    host.ok(&["restore", "repo", "--into", "out", "--dry-run"]).prints("7 files").prints(" would be restored into out");
    let summary = host.ok(&["restore", "repo", "--into", "out", "--dry-run", "--only", "conf", "--json"]).summary();
    assert_eq!((&summary["type"], &summary["files"]), (&"dry_run".into(), &2.into()));
    assert_eq!((&summary["bytes"], &summary["directories"]), (&26.into(), &1.into()));
    flip(&host.backup_folder().join("files.jsonl"), 30);
    host.run(&["restore", "repo", "--into", "out", "--dry-run"]).exits(3);
    assert_eq!(names(&host.path("")), before);
}

#[test]
fn a_summary_says_what_was_restored() {
    let host = backed_up();
    let ran = host.ok(&["restore", "repo", "--into", "out", "--json"]);
    let summary = ran.summary();
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["command"], "restore");
    assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"completed".into(), &0.into()));
    assert_eq!((&summary["id"], &summary["sequence"]), (&host.backups("repo")[0].as_str().into(), &1.into()));
    assert_eq!((&summary["files"], &summary["directories"], &summary["links"]), (&7.into(), &1.into(), &1.into()));
    assert_eq!(summary["bytes"], 12 + 14 + 4 * 6);
    assert_eq!((&summary["damages"], &summary["not_given"], &summary["warnings"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!(summary["into"], host.path("out").canonicalize().expect("found").to_str().expect("UTF-8"));
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
}

// Which backup

#[test]
fn the_latest_whole_backup_is_restored_unless_another_is_named() {
    let host = backed_up();
    host.write("app/main.db", "the second");
    host.ok(&["backup", "app", "--to", "repo"]);
    host.ok(&["restore", "repo", "--into", "newest"]);
    assert_eq!(fs::read(host.path("newest/main.db")).expect("read"), b"the second");
    host.ok(&["restore", "repo", "1", "--into", "first"]);
    assert_eq!(fs::read(host.path("first/main.db")).expect("read"), b"the database");
    host.run(&["restore", "repo", "9", "--into", "none"]).says("9");
    host.run(&["restore", "nowhere", "--into", "none"]).exits(1);
    assert!(!host.path("none").exists());
}

#[test]
fn an_incomplete_backup_is_restored_only_when_it_is_named() {
    let host = Host::new();
    host.write("app/good", "good");
    host.write("app/bad", "closed");
    open_to_all(&host, "app");
    fs::set_permissions(host.path("app/bad"), fs::Permissions::from_mode(0o000)).expect("closed");
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    run(&["backup", "app", "--to", "repo", "--keep-going"]).exits(1);
    let ran = run(&["restore", "repo", "--into", "out"]);
    assert!(ran.code != Some(0) && !host.path("out").exists(), "{}", ran.stderr);
    let ran = run(&["restore", "repo", "1", "--into", "out", "--json"]).exits(0);
    assert_eq!(ran.summary()["outcome"], "incomplete");
    assert_eq!(names(&host.path("out")), ["good"]);
}

// Damage

#[test]
fn a_damaged_file_makes_nothing_unless_the_rest_is_wanted() {
    for damage in ["flipped", "shorter", "longer", "missing", "link", "fifo", "folder"] {
        let host = backed_up();
        let stored = host.stored("wal.2");
        match damage {
            "flipped" => flip(&stored, 3),
            "shorter" => fs::write(&stored, "log").expect("written"),
            "longer" => fs::write(&stored, "log 2\nand more").expect("written"),
            _ => fs::remove_file(&stored).expect("removed"),
        }
        match damage {
            "link" => symlink("wal.1", &stored).expect("linked"),
            "fifo" => assert!(Command::new("mkfifo").arg(&stored).status().expect("runs").success()),
            "folder" => fs::create_dir(&stored).expect("created"),
            _ => {}
        }
        let before = names(&host.path(""));
        let ran = host.run_soon(&["restore", "repo", "--into", "out"]).exits(3).says("wal.2 is damaged: ");
        ran.says("Nothing was restored.");
        assert_eq!(names(&host.path("")), before, "{damage}");
        let ran = host.run_soon(&["restore", "repo", "--into", "out", "--keep-going", "--json"]).exits(3);
        assert_eq!((&ran.summary()["damages"], &ran.summary()["files"]), (&1.into(), &6.into()), "{damage}");
        let differences = Listing::of(&host.path("app")).differences(&Listing::of(&host.path("out")), Alike::Fully);
        assert_eq!(differences, "wal.2: the file is missing\n", "{damage}");
        // What is not damaged can be had for itself.
        host.ok(&["restore", "repo", "--into", "part", "--only", "conf"]);
    }
}

#[test]
fn a_link_that_was_bent_and_a_damaged_list_make_nothing() {
    let host = backed_up();
    fs::remove_file(host.stored("link")).expect("removed");
    symlink("/etc/passwd", host.stored("link")).expect("linked");
    host.run(&["restore", "repo", "--into", "out"]).exits(3).says("link is damaged: it points to /etc/passwd");
    host.run(&["restore", "repo", "--into", "out", "--keep-going"]).exits(3);
    assert!(fs::symlink_metadata(host.path("out/link")).is_err());
    fs::remove_dir_all(host.path("out")).expect("removed");

    let list = host.backup_folder().join("files.jsonl");
    let good = fs::read(&list).expect("read");
    for offset in (0..good.len()).step_by(41) {
        flip(&list, offset);
        for more in [&[][..], &["--keep-going"]] {
            host.run_soon(&[&["restore", "repo", "--into", "out"][..], more].concat()).exits(3);
        }
        fs::write(&list, &good).expect("written");
    }
    fs::write(&list, &good[..good.len() - 1]).expect("written");
    host.run(&["restore", "repo", "--into", "out"]).exits(3).says("the list of files of ");
    fs::remove_file(&list).expect("removed");
    host.run(&["restore", "repo", "--into", "out"]).exits(3).says("it is missing");
    fs::remove_file(host.backup_folder().join("manifest.json")).expect("removed");
    let ran = host.run(&["restore", "repo", "1", "--into", "out"]);
    assert!(matches!(ran.code, Some(1 | 3)), "{}", ran.stderr);
    assert!(!host.path("out").exists());
    is_swept(&host.path(""));
}

#[test]
fn a_missing_directory_of_the_copy_is_no_loss_and_a_missing_data_folder_is() {
    let host = backed_up();
    fs::remove_dir_all(host.backup_folder().join("data")).expect("removed");
    host.run(&["restore", "repo", "--into", "out"]).exits(3).says("it is missing from the backup");
    assert!(!host.path("out").exists());
}

#[test]
fn a_restore_that_fails_takes_back_trees_deeper_than_it_may_open_files() {
    let host = Host::quick();
    host.write("app/z", "comes last");
    make_deep(&host.path("app"), (0..400).map(|_| "d".to_owned()));
    host.ok(&["backup", "app", "--to", "repo"]);
    flip(&host.stored("z"), 0);
    finish(host.shell(r#"ulimit -n 100; exec "$@""#, &["restore", "repo", "--into", "out"])).exits(3);
    is_swept(&host.path(""));
}

// Space

#[test]
fn too_little_space_is_said_before_the_first_byte_and_survived_in_the_middle() {
    if !in_own_mounts("too_little_space_is_said_before_the_first_byte_and_survived_in_the_middle") {
        return;
    }
    let host = backed_up();
    host.write("app/large", vec![7; 6 << 20]);
    fs::create_dir(host.path("app/names")).expect("created");
    for number in 0..20 {
        fs::hard_link(host.path("app/large"), host.path(format!("app/names/{number}"))).expect("linked");
    }
    host.ok(&["backup", "app", "--to", "repo"]);
    let _disk = Disk::mount(&host, "disk", 4096);
    for into in ["disk", "disk/new"] {
        let ran = host.run_soon(&["restore", "repo", "--into", into]).exits(1).says(" free, and 6.00 MiB are needed (");
        ran.says("[JET_errDiskFull, -1808]").says("Free space there, or restore elsewhere or less, with --only.");
        assert_eq!(names(&host.path("disk")), Vec::<String>::new());
    }
    host.ok(&["restore", "repo", "--into", "disk", "--only", "conf"]);
    fs::remove_dir_all(host.path("disk/conf")).expect("removed");

    // A list that says that all of it is a hole: the disk runs full on the way.
    forge(&host.backup_folder(), |lines| {
        for line in lines.iter_mut().filter(|line| line["size"] == 6 << 20) {
            line["holes"] = serde_json::json!([[0, 6 << 20]]);
        }
    });
    for into in ["disk", "disk/new"] {
        host.run_soon(&["restore", "repo", "--into", into]).exits(1).says("[JET_errDiskFull, -1808]");
        assert_eq!(names(&host.path("disk")), Vec::<String>::new());
    }

    // Twenty names of one file take the space of one, also where its first name stays away.
    let _larger = Disk::mount(&host, "larger", 16 * 1024);
    let summary = host.ok(&["restore", "repo", "--into", "larger", "--only", "names", "--json"]).summary();
    assert_eq!((&summary["files"], &summary["bytes"]), (&20.into(), &(6 << 20).into()));
    let dry = host.ok(&["restore", "repo", "--into", "new", "--only", "names", "--dry-run", "--json"]).summary();
    assert_eq!((&dry["files"], &dry["bytes"]), (&20.into(), &(6 << 20).into()));
}

// Interruptions

#[test]
fn a_signal_in_the_middle_leaves_nothing() {
    let host = backed_up();
    host.write_huge("app/huge", 1 << 30);
    host.ok(&["backup", "app", "--to", "repo"]);
    fs::create_dir(host.path("here")).expect("created");
    let before = names(&host.path(""));
    for (signal, code, inside) in [("INT", 130, false), ("TERM", 143, true), ("HUP", 129, false)] {
        let (folder, place) = if inside { ("here", ".") } else { ("", "out") };
        let mut command = host.command(&["restore", host.path("repo").to_str().expect("UTF-8"), "--into", place]);
        command.current_dir(host.path(folder)).stdout(Stdio::piped());
        let running = Running::spawn(command);
        let is_writing = || {
            let scratch = names(&host.path(folder)).into_iter().find(|name| name.starts_with(".jetbak-tmp-"));
            scratch.is_some_and(|name| host.path(folder).join(name).join("tree/huge").exists())
        };
        eventually("the writing of huge", is_writing);
        running.signal(signal);
        let ran = running.wait().exits(code).says(&format!("the restore was interrupted by SIG{signal}"));
        ran.says("Nothing was restored, and nothing of it is left behind.");
        assert_eq!(names(&host.path("")), before);
        assert_eq!(names(&host.path("here")), Vec::<String>::new());
    }
}

/// Many small files directly in the storage, so that moving them takes its time.
fn broad() -> Host {
    let host = Host::quick();
    for number in 0..1500 {
        fs::write(host.path(format!("app/{number}")), number.to_string()).expect("written");
    }
    fs::create_dir(host.path("app/folder")).expect("created");
    fs::set_permissions(host.path("app/folder"), fs::Permissions::from_mode(0o500)).expect("set");
    fs::set_permissions(host.path("app"), fs::Permissions::from_mode(0o711)).expect("set");
    set_time(&host.path("app"), 1_100_000_000, 7);
    host.ok(&["backup", "app", "--to", "repo"]);
    host
}

#[test]
fn a_restore_killed_at_any_moment_leaves_nothing_that_looks_restored() {
    let mut dice = Dice::new();
    let host = broad();
    let source = Listing::of(&host.path("app"));
    let took = host.ok(&["restore", "repo", "--into", "measure"]).took;
    let mut killed = 0;
    for round in 0..25 {
        let running = host.start(&["restore", "repo", "--into", "out"]);
        thread::sleep(dice.below(took));
        killed += usize::from(running.kill().code.is_none());
        if host.path("out").exists() {
            source.is_like(&Listing::of(&host.path("out")), Alike::Fully);
            fs::remove_dir_all(host.path("out")).expect("removed");
        }
        if round % 5 == 0 {
            host.ok(&["restore", "repo", "--into", "out"]);
            source.is_like(&Listing::of(&host.path("out")), Alike::Fully);
            fs::remove_dir_all(host.path("out")).expect("removed");
            is_swept(&host.path(""));
        }
    }
    assert!(killed > 0, "not one of the runs was killed");
}

/// Restores into the directory it stands in.
fn restore_here(host: &Host, more: &[&str]) -> Command {
    let repository = host.path("repo");
    let arguments = [&["restore", repository.to_str().expect("UTF-8"), "--into", "."][..], more].concat();
    let mut command = host.command(&arguments);
    command.current_dir(host.path("here")).stdout(Stdio::piped());
    command
}

#[test]
fn a_restore_killed_while_it_moves_the_tree_into_place_is_finished_by_its_repetition() {
    let host = broad();
    let source = Listing::of(&host.path("app"));
    fs::create_dir(host.path("here")).expect("created");
    let mut interrupted = 0;
    for _ in 0..10 {
        let running = Running::spawn(restore_here(&host, &[]));
        let scratch = || -> Option<PathBuf> {
            let name = names(&host.path("here")).into_iter().find(|name| name.starts_with(".jetbak-tmp-restore-"))?;
            Some(host.path("here").join(name)).filter(|scratch| scratch.join("whole.json").exists())
        };
        eventually("the note that all is there", || scratch().is_some() || host.path("here/0").exists());
        running.kill();
        let moved = names(&host.path("here")).len();
        if scratch().is_some() && moved > 1 && moved < 1500 {
            interrupted += 1;
            let other = finish(restore_here(&host, &["--only", "7"])).exits(5);
            other.says("holds an interrupted restore of 000001-").says("Repeat that restore with the same options");
            let again = finish(restore_here(&host, &[])).exits(0);
            again.says(
                "an earlier restore had written and proven it all; it was interrupted while it moved it into place",
            );
        } else {
            let again = finish(restore_here(&host, &[]));
            assert!(matches!(again.code, Some(0 | 5)), "{}", again.stderr); // whole already, or not begun to be moved
        }
        source.is_like(&Listing::of(&host.path("here")), Alike::Fully);
        is_swept(&host.path("here"));
        fs::remove_dir_all(host.path("here")).expect("removed");
        fs::create_dir(host.path("here")).expect("created");
        if interrupted == 2 {
            return;
        }
    }
    assert!(interrupted > 0, "it was never caught while it moved");
}

#[test]
fn a_restore_from_inside_killed_at_any_moment_is_healed_by_the_next_one() {
    let mut dice = Dice::new();
    let host = broad();
    let source = Listing::of(&host.path("app"));
    fs::create_dir(host.path("here")).expect("created");
    let took = finish(restore_here(&host, &[])).exits(0).took;
    for _ in 0..8 {
        fs::remove_dir_all(host.path("here")).expect("removed");
        fs::create_dir(host.path("here")).expect("created");
        let running = Running::spawn(restore_here(&host, &[]));
        thread::sleep(dice.below(took));
        running.kill();
        let again = finish(restore_here(&host, &[]));
        assert!(matches!(again.code, Some(0 | 5)), "{}", again.stderr);
        is_swept(&host.path("here"));
        let differences = source.differences(&Listing::of(&host.path("here")), Alike::Fully);
        // The one moment that cannot be closed: the scratch directory was just taken out, which changes the target's time.
        let is_last_moment = differences.starts_with(": the time is ") && differences.lines().count() == 1;
        assert!(differences.is_empty() || (again.code == Some(5) && is_last_moment), "{differences}");
    }
}

// Two at once

fn both(one: Running, other: Running) -> [Ran; 2] {
    let (one, other) = (one.wait(), other.wait());
    let mut both = [one, other];
    both.sort_by_key(|ran| ran.code);
    both
}

#[test]
fn of_two_restores_into_one_target_one_wins_and_the_result_is_whole() {
    let host = broad();
    let source = Listing::of(&host.path("app"));
    for round in 0..6 {
        for folder in ["here", "out"] {
            let _ = fs::remove_dir_all(host.path(folder)); // not there at first
            if folder == "here" || round % 2 == 0 {
                fs::create_dir(host.path(folder)).expect("created");
            }
        }
        let start = || host.start(&["restore", "repo", "--into", "out"]);
        let [first, second] = both(start(), start());
        assert_eq!(first.code, Some(0), "{}", first.stderr);
        second.exits(5);
        source.is_like(&Listing::of(&host.path("out")), Alike::Fully);

        let start = || Running::spawn(restore_here(&host, &[]));
        let [first, second] = both(start(), start());
        assert_eq!(first.code, Some(0), "{}\n{}", first.stderr, second.stderr);
        second.exits(5);
        source.is_like(&Listing::of(&host.path("here")), Alike::Fully);
        is_swept(&host.path("here"));
        is_swept(&host.path(""));
    }
}

#[test]
fn the_loser_of_two_restores_takes_back_also_what_is_read_only() {
    let host = Host::quick_with_app();
    host.write("app/closed/inner/file", "content");
    for name in ["closed/inner", "closed"] {
        fs::set_permissions(host.path("app").join(name), fs::Permissions::from_mode(0o500)).expect("set");
    }
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o777)).expect("opened");
    if is_root() {
        let given = Command::new("chown").args(["-R", "65534:65534"]).arg(host.path("app")).status();
        assert!(given.expect("chown runs").success());
    }
    let run = |arguments: &[&str]| as_ordinary_user(&host, host.command(arguments));
    finish(run(&["backup", "app", "--to", "repo"])).exits(0);
    for round in 0..4 {
        let into = format!("out{round}");
        let start = || {
            let mut command = run(&["restore", "repo", "--into", &into]);
            command.stdout(Stdio::piped());
            Running::spawn(command)
        };
        let [first, second] = both(start(), start());
        assert_eq!((first.code, second.code), (Some(0), Some(5)), "{}\n{}", first.stderr, second.stderr);
        is_swept(&host.path(""));
    }
    // One that was killed with the tree in such a state is swept by the next one.
    let scratch = host.path(".jetbak-tmp-restore-0123456789abcdef");
    let copied = Command::new("cp").arg("-a").arg(host.path("app")).arg(&scratch).status();
    assert!(copied.expect("cp runs").success());
    finish(run(&["restore", "repo", "--into", "last"])).exits(0);
    is_swept(&host.path(""));
}
