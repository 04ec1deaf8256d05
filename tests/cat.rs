//! One file of a backup, to stdout: every byte of it, or none at all.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Host, Ran, Running, eventually, finish, odd_name};
use rexpect::process::{PtyProcess, WaitStatus};
use serde_json::Value;

/// More than a pipe and everything on the way to it holds.
const LARGE_BYTES: usize = 24 << 20;

fn backed_up() -> Host {
    let host = Host::with_app();
    fs::create_dir(host.path("app/hollow")).expect("created");
    symlink("../main.db", host.path("app/conf/link")).expect("linked");
    host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*"]);
    host
}

/// A file of the newest backup, byte for byte.
fn cat(host: &Host, path: impl AsRef<Path>) -> Vec<u8> {
    let output =
        host.command(&["cat".as_ref(), "repo".as_ref(), "latest".as_ref(), path.as_ref().as_os_str()]).output();
    let output = output.expect("started");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    output.stdout
}

/// Demands that a damaged file is refused, and that not one byte of it comes out.
#[track_caller]
fn refuses(host: &Host, path: &str, why: &str) {
    let ran = host.run_soon(&["cat", "repo", "1", path]).exits(3);
    assert_eq!(ran.stdout, "");
    ran.says(why).says("repo 1` tells more.");
}

fn first_line_of(ran: &Ran) -> Value {
    // A machine that is busy may have reported progress before.
    let objects = ran.stderr.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    objects.into_iter().find(|object: &Value| object["type"] != "progress").expect("an object")
}

// What comes out

#[test]
fn every_sort_of_file_comes_out_byte_for_byte() {
    let host = Host::with_app();
    let binary: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    host.write("app/binary.db", &binary);
    host.write("app/empty", "");
    fs::write(host.path("app").join(odd_name()), "odd").expect("written");
    fs::hard_link(host.path("app/binary.db"), host.path("app/second name")).expect("linked");
    let sparse = File::create(host.path("app/sparse")).expect("created");
    sparse.write_all_at(b"in the middle", 5 << 20).expect("written");
    sparse.set_len(90 << 20).expect("sized");
    host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*"]);

    assert!(cat(&host, "binary.db") == binary, "the same bytes");
    assert!(cat(&host, "second name") == binary, "the same bytes under the other name");
    assert_eq!(cat(&host, "empty"), b"");
    assert_eq!(cat(&host, odd_name()), b"odd");
    assert_eq!(cat(&host, "wal.3"), b"log 3\n");
    assert_eq!(cat(&host, "conf/settings.ini"), b"colour = blue\n");
    let zeros = cat(&host, "sparse");
    assert!(zeros == fs::read(host.path("app/sparse")).expect("read"), "holes are zeros");
}

#[test]
fn a_path_is_taken_as_a_shell_completes_it_and_a_backup_as_a_person_names_it() {
    let host = backed_up();
    host.write("app/main.db", "the database, later");
    host.ok(&["backup", "app", "--to", "repo"]);
    for path in ["./conf//settings.ini", "conf/settings.ini/", "././conf/./settings.ini"] {
        assert_eq!(cat(&host, path), b"colour = blue\n", "{path}");
    }
    let id = host.backups("repo").remove(0);
    for (name, content) in [
        ("1", "the database"),
        (&id, "the database"),
        ("000001", "the database"),
        ("2", "the database, later"),
        ("latest", "the database, later"),
    ] {
        assert_eq!(host.ok(&["cat", "repo", name, "main.db"]).stdout, content, "{name}");
    }
}

#[test]
fn json_goes_to_stderr_and_the_file_to_stdout() {
    let host = backed_up();
    let ran = host.ok(&["cat", "repo", "1", "main.db", "--json"]);
    assert_eq!(ran.stdout, "the database");
    let summary: Value = serde_json::from_str(ran.stderr.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&summary["type"], &summary["command"], &summary["outcome"]),
        (&"summary".into(), &"cat".into(), &"completed".into())
    );
    assert_eq!(
        (&summary["exit_code"], &summary["path"], &summary["bytes"]),
        (&0.into(), &"main.db".into(), &12.into())
    );
    assert_eq!((&summary["id"], &summary["sequence"]), (&host.backups("repo")[0].clone().into(), &1.into()));
    assert_eq!(summary["sha256"], host.sha256("app/main.db"));

    for (arguments, code) in [
        (["cat", "repo", "1", "nothing", "--json"].as_slice(), -1003),
        (["cat", "repo", "7", "main.db", "--json"].as_slice(), -1003),
        (["cat", "nowhere", "1", "main.db", "--json"].as_slice(), -1023),
    ] {
        let ran = host.run(arguments);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert_eq!((&first_line_of(&ran)["type"], &first_line_of(&ran)["code"]), (&"error".into(), &code.into()));
    }
    for arguments in [["cat", "repo", "--json"].as_slice(), &["--json", "--color", "never", "cat", "repo"]] {
        let ran = host.run(arguments).exits(2);
        assert_eq!((ran.stdout.as_str(), &first_line_of(&ran)["exit_code"]), ("", &2.into()));
    }
    let ran = host.run(&["list", "repo", "cat", "--json"]).exits(2);
    assert_eq!((ran.summary()["type"].as_str(), ran.stderr.as_str()), (Some("error"), ""));
    fs::write(host.stored("main.db"), "the databasd").expect("written");
    let ran = host.run(&["cat", "repo", "1", "main.db", "--json"]).exits(3);
    assert_eq!((ran.stdout.as_str(), &first_line_of(&ran)["file"]), ("", &"main.db".into()));
}

// What does not

#[test]
fn a_damaged_file_is_named_and_not_one_byte_of_it_comes_out() {
    let host = backed_up();
    let (file, good) = (host.stored("main.db"), b"the database");
    fs::write(&file, "the databasd").expect("written");
    refuses(&host, "main.db", ": data/main.db: hash: ");
    for other in ["the data", "", "the database and more"] {
        fs::write(&file, other).expect("written");
        refuses(&host, "main.db", &format!(": data/main.db: size: 12 stored, {} found", other.len()));
    }
    fs::remove_file(&file).expect("removed");
    refuses(&host, "main.db", ": data/main.db: missing");
    fs::write(host.path("twin"), good).expect("written");
    symlink(host.path("twin"), &file).expect("linked");
    refuses(&host, "main.db", ": data/main.db: file-type");
    fs::remove_file(&file).expect("removed");
    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo runs").success());
    refuses(&host, "main.db", ": data/main.db: file-type");
    fs::remove_file(&file).expect("removed");
    fs::create_dir(&file).expect("created");
    refuses(&host, "main.db", ": data/main.db: file-type");
    assert_eq!(cat(&host, "wal.1"), b"log 1\n", "the others are as good as before");
    fs::remove_dir(&file).expect("removed");
    fs::write(&file, good).expect("written");
    assert_eq!(cat(&host, "main.db"), good);
}

#[test]
fn a_list_that_is_not_that_of_the_manifest_is_not_believed() {
    let host = backed_up();
    let folder = host.stored("");
    let (data, list) = (host.stored("main.db"), folder.with_file_name("files.jsonl"));
    let good = fs::read_to_string(&list).expect("read");
    // Whoever changes file and line alike is found out as well.
    fs::write(&data, "the forgery!").expect("written");
    host.write("forged", "the forgery!");
    let forged = good.replace(&host.sha256("app/main.db"), &host.sha256("forged"));
    assert_ne!(forged, good);
    fs::write(&list, &forged).expect("written");
    refuses(&host, "main.db", ": files.jsonl cannot be believed: its hash is not the one in the manifest");
    fs::write(&data, "the database").expect("written");
    for (bad, why) in [
        (format!("{good}{{}}\n"), "line 11"),
        (good.replacen("{\"type\"", "[\"type\"", 1), "line 1"),
        (good[..good.len() - 40].to_owned(), "line 10"),
        (good.clone() + "\n", "line 11"),
    ] {
        fs::write(&list, bad).expect("written");
        refuses(&host, "main.db", &format!(": files.jsonl cannot be believed: {why}"));
    }
    fs::remove_file(&list).expect("removed");
    refuses(&host, "main.db", ": files.jsonl cannot be believed: it is missing");
    fs::write(&list, &good).expect("written");
    assert_eq!(cat(&host, "main.db"), b"the database");
    fs::write(folder.with_file_name("manifest.json"), "{}").expect("written");
    refuses(&host, "main.db", ": its manifest is damaged");
}

#[test]
fn whatever_is_no_file_is_said_to_be_what_it_is_with_the_way_to_find_one() {
    let host = backed_up();
    for (path, what) in [
        ("conf", "conf is a directory, and has no content"),
        ("conf/", "conf is a directory, and has no content"),
        (".", ". is a directory, and has no content"),
        ("hollow", "hollow is a directory, and has no content"),
        ("conf/link", "conf/link is a link to ../main.db, and has no content"),
        ("nothing", "nothing is not in 000001-"),
        ("conf/link/x", "conf/link/x is not in 000001-"),
        ("conf/../main.db", "conf/../main.db is not in 000001-"),
        ("../manifest.json", "../manifest.json is not in 000001-"),
        ("data/main.db", "data/main.db is not in 000001-"),
        ("Main.db", "Main.db is not in 000001-"),
        ("\u{1b}[31m", "\\u{1b}[31m is not in 000001-"),
    ] {
        let ran = host.run(&["cat", "repo", "1", path]).exits(2);
        assert_eq!(ran.stdout, "");
        ran.says(what).says("repo 1 --files` lists what it holds.");
    }
    let absolute = host.path("app/main.db");
    let absolute = absolute.to_str().expect("UTF-8");
    host.run(&["cat", "repo", "1", absolute]).exits(2).says("Paths are those below the storage.");
    host.run(&["cat", "repo", "7", "main.db"]).exits(2).says("holds no backup 7");
}

#[test]
fn a_look_at_a_terminal_shows_the_file() {
    use std::io::Read;
    let host = backed_up();
    let shell = host.shell("exec \"$@\" 2>messages", &["cat", "repo", "1", "main.db"]);
    let terminal = PtyProcess::new(shell).expect("a terminal");
    let mut shown = terminal.get_file_handle().expect("a handle");
    let mut status = None;
    eventually("leaving", || {
        status = terminal.status();
        status != Some(WaitStatus::StillAlive)
    });
    assert!(matches!(status, Some(WaitStatus::Exited(_, 0))), "{status:?}");
    let mut begin = [0; 12];
    shown.read_exact(&mut begin).expect("the terminal's side");
    assert_eq!(&begin, b"the database");
    assert_eq!(fs::read_to_string(host.path("messages")).expect("read"), "");
}

// On the way

fn with_large() -> Host {
    let host = Host::new();
    let line = b"a line whose length is no power of two\n";
    let content: Vec<u8> = line.iter().copied().cycle().take(LARGE_BYTES).collect();
    host.write("app/large.db", content);
    host.ok(&["backup", "app", "--to", "repo"]);
    host
}

/// A cat that has filled its pipe and waits for somebody to read on.
fn stuck(host: &Host) -> Running {
    let mut running = host.start(&["cat", "repo", "1", "large.db"]);
    let pipe = running.child().stdout.as_mut().expect("a pipe");
    let mut first = [0];
    pipe.read_exact(&mut first).expect("the first byte");
    running.stays();
    running
}

#[test]
fn a_signal_ends_it_at_once_also_while_nobody_reads_the_pipe() {
    let host = with_large();
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let running = stuck(&host);
        running.signal(signal);
        let ran = running.leaves().exits(code);
        ran.says("interrupted by SIG");
    }
}

#[test]
fn a_signal_while_the_file_is_proven_lets_nothing_out() {
    let host = Host::new();
    host.write_huge("app/huge.db", 3 << 30);
    host.ok(&["backup", "app", "--to", "repo"]);
    let running = host.start(&["cat", "repo", "1", "huge.db"]);
    std::thread::sleep(Duration::from_millis(300));
    running.signal("TERM");
    let ran = running.leaves().exits(143);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_signal_while_a_long_list_is_proven_ends_it_too() {
    let host = backed_up();
    let path = host.stored("").with_file_name("files.jsonl");
    let list = fs::read_to_string(&path).expect("read");
    fs::write(&path, list.repeat(40_000)).expect("written");
    let running = host.start(&["cat", "repo", "1", "main.db"]);
    std::thread::sleep(Duration::from_millis(300));
    running.signal("TERM");
    assert_eq!(running.leaves().exits(143).stdout, "");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let host = with_large();
    let script = "{ \"$@\" 2>messages; echo $? >code; } | head -c 3; cat messages code";
    let ran = finish(host.shell(script, &["cat", "repo", "1", "large.db"])).exits(0);
    assert_eq!(ran.stdout, "a l0\n");
}

#[test]
fn a_stdout_that_takes_no_more_is_a_failure() {
    let host = with_large();
    let mut command = host.command(&["cat", "repo", "1", "large.db"]);
    command.stdout(Stdio::from(File::options().write(true).open("/dev/full").expect("opened")));
    let output = command.stderr(Stdio::piped()).spawn().expect("started").wait_with_output().expect("waited");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to stdout: no space left on device"));
}

#[test]
fn a_file_that_changes_after_it_was_proven_is_told() {
    let host = with_large();
    let running = stuck(&host);
    let file = File::options().write(true).open(host.stored("large.db")).expect("opened");
    file.write_all_at(b"!", LARGE_BYTES as u64 - 1).expect("written");
    let ran = running.wait().exits(3);
    assert_eq!(ran.stdout.len(), LARGE_BYTES - 1, "the first byte was read above");
    ran.says("large.db: it was good, and was not any more when it was written");

    host.ok(&["backup", "app", "--to", "again"]);
    fs::rename(host.path("repo"), host.path("old")).expect("moved");
    fs::rename(host.path("again"), host.path("repo")).expect("moved");
    let running = stuck(&host);
    let file = File::options().write(true).open(host.stored("large.db")).expect("opened");
    file.set_len(LARGE_BYTES as u64 - 1).expect("made shorter");
    running.wait().exits(3).says("large.db: it was good, and was not any more when it was written");
}

#[test]
fn a_pipe_that_is_read_late_gets_every_byte() {
    let host = with_large();
    let mut running = stuck(&host);
    let mut rest = Vec::new();
    running.child().stdout.take().expect("a pipe").read_to_end(&mut rest).expect("read");
    assert!(rest == fs::read(host.path("app/large.db")).expect("read")[1..], "the same bytes");
    running.leaves().exits(0);
}

#[test]
fn a_backup_is_only_looked_at() {
    let host = backed_up();
    let list = |host: &Host| {
        let found =
            Command::new("find").args([".", "-printf", "%p %s %T@ %C@\n"]).current_dir(host.path("repo")).output();
        found.expect("find runs").stdout
    };
    let (listed, session) = (list(&host), host.path("state"));
    fs::remove_dir_all(&session).expect("removed");
    cat(&host, "main.db");
    host.run(&["cat", "repo", "1", "conf"]).exits(2);
    assert!(list(&host) == listed);
    assert!(!session.exists(), "no state directory is made");
}
