//! What a backup is: the facts of its manifest for people and for programs, and the list of its files.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{Host, as_ordinary_user, finish, odd_name, open_to_all};
use serde_json::Value;
use snapbox::{assert_data_eq, str};

/// A machine with one backup in `repo` that holds one of everything.
fn backed_up() -> Host {
    let host = Host::with_app();
    symlink("../main.db", host.path("app/conf/link")).expect("linked");
    fs::hard_link(host.path("app/main.db"), host.path("app/other.db")).expect("linked");
    for (name, mode) in [("", 0o755), ("conf", 0o1750), ("conf/settings.ini", 0o640), ("main.db", 0o6711)] {
        fs::set_permissions(host.path("app").join(name), fs::Permissions::from_mode(mode)).expect("set");
    }
    for number in 1..=4 {
        fs::set_permissions(host.path(format!("app/wal.{number}")), fs::Permissions::from_mode(0o644)).expect("set");
    }
    host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*"]);
    host
}

fn manifest(host: &Host) -> PathBuf {
    host.stored("").with_file_name("manifest.json")
}

/// Changes the newest manifest.
fn edit(host: &Host, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(manifest(host)).expect("read")).expect("JSON");
    change(&mut value);
    fs::write(manifest(host), serde_json::to_vec_pretty(&value).expect("JSON")).expect("written");
}

/// Changes the newest list of files, and the hash of it in the manifest.
fn edit_list(host: &Host, change: impl FnOnce(String) -> String) {
    let path = host.stored("").with_file_name("files.jsonl");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, change(text)).expect("written");
    let name = path.strip_prefix(host.path("")).expect("below").to_str().expect("UTF-8").to_owned();
    edit(host, |manifest| manifest["files_sha256"] = host.sha256(&name).into());
}

// The facts

#[test]
fn a_person_sees_what_when_how_long_how_much_and_how_to_get_it_back() {
    let host = backed_up();
    assert_data_eq!(
        host.ok(&["show", "repo"]).stdout,
        str![[r#"
backup 000001-[..]Z-full
  kind      full, completed
  storage   [..]/app on [..], engine files
  began     [..] +0000, took [..] s, by jetbak [..]
  holds     7 files (1 hard link), 1 directory, 1 link, 50 B
  logs      4, wal.1 to wal.4
  proven    not before it was published
  verified  never
  path      [..]/repo/backups/000001-[..]Z-full
  restore   jetbak restore [..]/repo 1 --into DIR

"#]]
    );
    host.write("app/later.db", "later");
    host.ok(&["backup", "app", "--to", "repo", "--kind", "copy"]);
    host.ok(&["verify", "repo", "latest"]);
    assert_data_eq!(
        host.ok(&["show", "repo"]).stdout,
        str![[r#"
backup 000002-[..]Z-copy
  kind      copy, completed
  storage   [..]/app on [..], engine files
  began     [..] +0000, took [..] s, by jetbak [..]
  holds     8 files (1 hard link), 1 directory, 1 link, 55 B
  logs      none
  previous  000001-[..]Z-full, there and unchanged
  proven    not before it was published
  verified  [..] +0000 on [..]: all good (8 files, 55 B)
  path      [..]/repo/backups/000002-[..]Z-copy
  restore   jetbak restore [..]/repo 2 --into DIR

"#]]
    );
    let first = host.ok(&["show", "repo", "1"]).stdout;
    assert!(first.starts_with("backup 000001-"), "{first}");
    assert_eq!(host.ok(&["show", "repo", &host.backups("repo")[0], "--quiet"]).stdout, first);
}

#[test]
fn a_backup_that_was_made_to_truncate_and_proven_says_so() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*", "--truncate"]);
    host.ok(&["show", "repo"])
        .prints("\n  logs      4, wal.1 to wal.4; made to truncate\n")
        .prints("\n  proven    read back from the medium before it was published\n");
}

#[test]
fn the_backup_before_is_there_or_changed_or_gone() {
    let host = backed_up();
    host.ok(&["backup", "app", "--to", "repo"]);
    let ids = host.backups("repo");
    let chain = || host.ok(&["show", "repo", "2", "--json"]).summary()["chain"]["previous"].take();
    assert_eq!(chain(), "unchanged");
    let first = host.path("repo/backups").join(&ids[0]);
    let text = fs::read_to_string(first.join("manifest.json")).expect("read");
    for bad in [text.clone() + "\n", String::new()] {
        fs::write(first.join("manifest.json"), bad).expect("written");
        host.ok(&["show", "repo", "2"]).prints(&format!("\n  previous  {}, changed since: its manifest", ids[0]));
        assert_eq!(chain(), "changed");
    }
    fs::remove_dir_all(first).expect("removed");
    host.ok(&["show", "repo"]).prints(&format!("\n  previous  {}, not there any more\n", ids[0]));
    assert_eq!(chain(), "missing");
}

#[test]
fn an_incomplete_backup_says_so_and_names_what_failed() {
    let host = Host::with_app();
    open_to_all(&host, "");
    fs::set_permissions(host.path("app/main.db"), fs::Permissions::from_mode(0o000)).expect("closed");
    finish(as_ordinary_user(&host, host.command(&["backup", "app", "--to", "repo", "--keep-going"]))).exits(1);
    let shown = host.ok(&["show", "repo", "1"]).stdout;
    assert!(shown.starts_with("incomplete backup 000001-"), "{shown}");
    assert!(shown.contains("full, incomplete: files are missing in it"), "{shown}");
    assert!(shown.contains("\n  failed    1 file could not be read:\n              main.db: cannot "), "{shown}");
    let object = host.ok(&["show", "repo", "1", "--json"]).summary();
    assert_eq!((&object["outcome"], &object["excluded"][0]["path"]), (&"incomplete".into(), &"main.db".into()));
    assert_eq!(
        (&object["excluded"][0]["jet"], &object["excluded"][0]["code"]),
        (&"JET_errFileAccessDenied".into(), &(-1032).into())
    );
    host.run(&["show", "repo"]).exits(2).says("repo holds no complete backup");
}

#[test]
fn what_was_left_out_is_named_and_a_long_list_is_cut() {
    let host = Host::with_app();
    for number in 0..23 {
        assert!(
            Command::new("mkfifo").arg(host.path(format!("app/fifo{number:02}"))).status().expect("runs").success()
        );
    }
    host.write("app/a.tmp", "");
    host.write("app/b.tmp", "");
    host.ok(&[
        "backup",
        "app",
        "--to",
        "repo",
        "--exclude",
        "*.tmp",
        "--exclude",
        "cache/",
        "--exclude-caches",
        "--one-file-system",
    ]);
    let shown = host.ok(&["show", "repo"]).stdout;
    assert!(
        shown.contains(
            "\n  left out  23 entries, each for its reason:\n              fifo00: a socket, fifo or device\n"
        ),
        "{shown}"
    );
    assert!(shown.contains("              fifo19: a socket, fifo or device\n              and 3 more\n"), "{shown}");
    let asked = "\n  as asked  2 entries left out as asked:\n              *.tmp\n              cache/\n              what lies in caches\n              other file systems\n";
    assert!(shown.contains(asked), "{shown}");
}

#[test]
fn what_appeared_too_late_and_what_was_not_kept_is_told() {
    let host = backed_up();
    edit(&host, |manifest| manifest["appeared"] = 1.into());
    let mut changed = 0;
    edit_list(&host, |list| {
        let line = |line: &str| {
            changed += u32::from(line.contains("\"type\":\"file\""));
            line.replace("\"inode\"", "\"not_kept\":[\"an ACL\",\"a \\u001b[31mcolour\"],\"inode\"") + "\n"
        };
        list.lines().map(line).collect()
    });
    assert_eq!(changed, 7);
    let shown = host.ok(&["show", "repo"]).stdout;
    assert!(shown.contains("\n  appeared  1 file after it began, and is not in it\n"), "{shown}");
    let not_kept = "\n  not kept  10 files have something that could not be kept:\n              .: an ACL; a \\u{1b}[31mcolour\n              conf: an ACL;";
    assert!(shown.contains(not_kept), "{shown}");
    assert!(shown.contains("\n              and 5 more\n"), "{shown}");
    let object = host.ok(&["show", "repo", "--json"]).summary();
    assert_eq!((&object["not_kept"], object["not_kept_first"].as_array().map(Vec::len)), (&10.into(), Some(5)));
    assert_eq!(object["not_kept_first"][0]["path"], ".");
    assert_eq!(object["not_kept_first"][0]["what"][0], "an ACL");
}

#[test]
fn a_program_gets_everything_that_the_manifest_says() {
    let host = backed_up();
    host.ok(&["verify", "repo"]);
    let ran = host.ok(&["show", "repo", "--json"]);
    assert_eq!((ran.json().len(), ran.stderr.as_str()), (1, ""));
    let object = ran.summary();
    let manifest: Value = serde_json::from_slice(&fs::read(manifest(&host)).expect("read")).expect("JSON");
    for (field, value) in manifest.as_object().expect("an object") {
        let expected = if field == "type" { &Value::from("show") } else { value };
        assert_eq!(&object[field], expected, "{field}");
    }
    assert_eq!(object["path"], host.path("repo/backups").join(&host.backups("repo")[0]).to_str().expect("UTF-8"));
    assert_eq!(object["chain"], serde_json::json!({"previous": null, "parent": null}));
    assert_eq!(object["verified"], host.ok(&["list", "repo", "--json"]).summary()["backups"][0]["verified"]);
    assert_eq!((&object["verified"]["damages"], &object["not_kept"]), (&0.into(), &0.into()));
}

#[test]
fn damage_that_was_found_is_shown_as_long_as_it_is_the_last_word() {
    let host = backed_up();
    host.ok(&["show", "repo"]).prints("\n  verified  never\n");
    fs::write(host.stored("wal.1"), "mog 1\n").expect("written");
    host.run(&["verify", "repo"]).exits(3);
    host.ok(&["show", "repo"]).prints(": 1 damage found (7 files, ");
}

#[test]
fn the_line_for_getting_it_back_can_be_pasted_into_a_shell() {
    let host = Host::with_app();
    host.ok(&["backup", "app", "--to", "it's a $HOME"]);
    let shown = host.ok(&["show", "it's a $HOME"]).stdout;
    let line = shown.lines().last().and_then(|line| line.strip_prefix("  restore   jetbak ")).expect("the last line");
    let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output().expect("sh runs");
    let repository = host.path("it's a $HOME");
    let expected = format!("restore\n{}\n1\n--into\nDIR\n", repository.display());
    assert_eq!(String::from_utf8_lossy(&words.stdout), expected);
}

#[test]
fn nothing_in_a_manifest_can_steer_the_terminal() {
    let host = backed_up();
    let evil = "a\u{1b}[31m\nb";
    edit(&host, |manifest| {
        for field in ["storage", "host", "tool"] {
            manifest[field] = evil.into();
        }
        manifest["logs"]["first"] = evil.into();
        manifest["previous"] = serde_json::json!({"id": evil, "manifest_sha256": evil});
        manifest["parent"] = serde_json::json!({"id": "../../..", "manifest_sha256": evil});
        manifest["exclusion"] = serde_json::json!({"globs": [evil]});
        manifest["left_out"] = serde_json::json!([{"path": evil, "reason": evil}]);
        manifest["excluded"] = serde_json::json!([{"path": evil, "message": evil, "exit_code": 1}]);
    });
    let ran = host.run(&["show", "repo"]).exits(3);
    assert!(ran.stderr.contains("builds on ../../.., which is no id of a backup"), "{}", ran.stderr);
    let shown = ran.stdout;
    assert!(!shown.contains('\u{1b}') && !shown.lines().any(|line| line.starts_with('b') && line.len() < 5), "{shown}");
    assert_eq!(shown.matches("a\\u{1b}[31m\\nb").count(), 10, "{shown}");
    assert!(shown.contains("\n  parent    ../../.., not there any more\n"), "{shown}");
}

#[test]
fn a_manifest_that_cannot_be_believed_is_an_error_with_the_next_step() {
    let host = backed_up();
    let id = host.backups("repo").remove(0);
    fs::write(manifest(&host), "{\"format\":1").expect("written");
    for arguments in [["show", "repo", "1"].as_slice(), &["show", "repo", "1", "--files"]] {
        let ran = host.run(arguments).exits(3).says(&format!("jetbak: {id}: its manifest is damaged: "));
        assert_eq!(ran.stdout, "");
        ran.says(&format!("`jetbak verify {} 1` tells more.", host.path("repo").display()));
    }
    let ran = host.run(&["show", "repo", "1", "--json"]).exits(3);
    assert_eq!((&ran.summary()["type"], &ran.summary()["exit_code"]), (&"error".into(), &3.into()));
    fs::remove_file(manifest(&host)).expect("removed");
    host.run(&["show", "repo", "1"]).exits(3).says("its manifest is missing");
    fs::write(manifest(&host), "{\"format\":9}").expect("written");
    host.run(&["show", "repo", "1"]).exits(1).says("it was written by a newer jetbak");
}

#[test]
fn a_list_that_cannot_be_believed_is_told_after_the_facts() {
    let host = backed_up();
    let list = host.stored("").with_file_name("files.jsonl");
    let text = fs::read_to_string(&list).expect("read");
    fs::write(&list, text.replacen("\"size\":12", "\"size\":13", 1)).expect("written");
    let ran = host.run(&["show", "repo"]).exits(3).prints("  restore   jetbak restore ");
    ran.says(": files.jsonl cannot be believed: its hash is not the one in the manifest").says("repo 1` tells more.");
    let lines = host.run(&["show", "repo", "--json"]).exits(3).json();
    assert_eq!(
        (&lines[0]["type"], &lines[0]["not_kept"], &lines[1]["type"]),
        (&"show".into(), &Value::Null, &"error".into())
    );
    edit_list(&host, |list| list);
    host.run(&["show", "repo"]).exits(3).says("it lists 7 files, 51 bytes, and the manifest says 7 files, 50 bytes");
    fs::remove_file(&list).expect("removed");
    host.run(&["show", "repo"]).exits(3).says("files.jsonl cannot be believed: it is missing");
}

#[test]
fn a_backup_is_named_by_number_by_id_or_not_at_all_and_the_repository_by_the_environment() {
    let host = backed_up();
    host.run(&["show", "repo", "7"]).exits(2).says("repo holds no backup 7").says("`jetbak list` shows the backups");
    host.run(&["show", "app"]).exits(1).says("app is not a jetbak repository");
    host.run(&["show", "nowhere"]).exits(1).says("there is no repository nowhere");
    host.run(&["show"]).exits(2);
    let mut command = host.command(&["show"]);
    command.env("JETBAK_REPOSITORY", "repo");
    assert_eq!(finish(command).exits(0).stdout, host.ok(&["show", "repo", "00000"]).stdout);
    fs::remove_dir_all(host.stored("").parent().expect("a folder")).expect("removed");
    host.run(&["show", "repo"]).exits(2).says("repo holds no complete backup");
}

#[test]
fn whoever_asks_for_the_latest_hears_of_newer_ones_that_do_not_count() {
    let host = backed_up();
    host.ok(&["backup", "app", "--to", "repo"]);
    fs::write(manifest(&host), "{").expect("written");
    let ran = host.ok(&["show", "repo"]).says("1 newer backup is incomplete or cannot be read: see `jetbak list /");
    assert!(ran.stdout.starts_with("backup 000001-"), "{}", ran.stdout);
    assert_eq!(host.ok(&["show", "repo", "1"]).stderr, "");
    assert_eq!(host.ok(&["show", "repo", "--json"]).stderr, "");
}

// The list

#[test]
fn files_are_listed_as_ls_would() {
    let host = backed_up();
    let stdout = host.ok(&["show", "repo", "--files"]).stdout;
    assert_data_eq!(
        stdout,
        str![[r#"
drwxr-xr-x [..]                - [..] +0000 .
drwxr-x--T [..]                - [..] +0000 conf
lrwxrwxrwx [..]                - [..] +0000 conf/link -> ../main.db
-rw-r----- [..]               14 [..] +0000 conf/settings.ini
-rws--s--x [..]               12 [..] +0000 main.db
-rws--s--x [..]               12 [..] +0000 other.db = main.db
-rw-r--r-- [..]                6 [..] +0000 wal.1
-rw-r--r-- [..]                6 [..] +0000 wal.2
-rw-r--r-- [..]                6 [..] +0000 wal.3
-rw-r--r-- [..]                6 [..] +0000 wal.4

"#]]
    );
    // The names of owners are those of coreutils.
    let stat = Command::new("stat").args(["-c", "%U %G"]).arg(host.path("app/main.db")).output().expect("stat runs");
    let names = String::from_utf8_lossy(&stat.stdout).trim().replace(' ', "|");
    let listed = host.ok(&["show", "repo", "--files", "main.db"]).stdout;
    let words: Vec<_> = listed.split_whitespace().collect();
    if !names.contains("UNKNOWN") {
        assert_eq!(words[1..3].join("|"), names);
    }
    assert_eq!((words[0], words[3], words[7]), ("-rws--s--x", "12", "main.db"));
}

#[test]
fn an_owner_without_a_name_is_a_number_and_a_time_without_a_year_a_question_mark() {
    let host = backed_up();
    edit_list(&host, |list| {
        let line = |line: &str| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let fields = line.as_object_mut().expect("an object");
            for field in ["user", "group", "modified"] {
                fields.remove(field);
            }
            (fields["uid"], fields["gid"]) = (4_000_000_001_u32.into(), 7.into());
            line.to_string() + "\n"
        };
        list.lines().map(line).collect()
    });
    let listed = host.ok(&["show", "repo", "--files", "wal.1"]).stdout;
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>()[1..], ["4000000001", "7", "6", "?", "wal.1"]);
}

#[test]
fn only_what_is_named_and_what_lies_below_is_listed_and_what_is_unknown_told_at_the_end() {
    let host = backed_up();
    let names = |ran: &common::Ran| -> Vec<String> {
        ran.stdout.lines().map(|line| line.split_whitespace().nth(7).expect("a name").to_owned()).collect()
    };
    let ran = host.ok(&["show", "repo", "latest", "--files", "./conf/", "wal.2"]);
    assert_eq!(names(&ran), ["conf", "conf/link", "conf/settings.ini", "wal.2"]);
    assert_eq!(host.ok(&["show", "repo", "1", "--files", "."]).stdout, host.ok(&["show", "repo", "--files"]).stdout);
    let ran = host.run(&["show", "repo", "1", "--files", "con", "main.db", "wal.9", "/main.db", "conf/.."]).exits(2);
    assert_eq!(names(&ran), ["main.db"]);
    for unknown in ["con", "wal.9", "/main.db", "conf/.."] {
        assert!(ran.stderr.contains(&format!("jetbak: {unknown} is not in 000001-")), "{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("jetbak: main.db"), "{}", ran.stderr);
}

#[test]
fn a_program_gets_the_lines_as_they_are_and_a_summary() {
    let host = backed_up();
    let mut lines = host.ok(&["show", "repo", "--files", "--json"]).json();
    let summary = lines.pop().expect("a summary");
    let list = fs::read_to_string(host.stored("").with_file_name("files.jsonl")).expect("read");
    let list: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in lines.iter_mut().filter(|line| line["type"] == "file") {
        let fields = line.as_object_mut().expect("an object");
        let added = ["within", "held_by", "bytes_stored"].map(|field| fields.remove(field).expect("added"));
        let stored = if fields.contains_key("hard_link") { 0.into() } else { fields["size"].clone() };
        assert_eq!(added, ["data".into(), Value::Null, stored], "each is whole and here");
    }
    assert_eq!(lines, list);
    let counts = |summary: &Value| {
        ["files", "directories", "links", "bytes", "exit_code"].map(|field| summary[field].as_u64().expect("a number"))
    };
    assert_eq!(
        (&summary["type"], &summary["command"], &summary["outcome"]),
        (&"summary".into(), &"show".into(), &"completed".into())
    );
    assert_eq!(counts(&summary), [7, 1, 1, 50, 0]);
    let object = host.ok(&["show", "repo", "--json"]).summary();
    for field in ["files", "directories", "links", "bytes", "id", "sequence"] {
        assert_eq!(summary[field], object[field], "{field}");
    }
    let ran = host.run(&["show", "repo", "--json", "--files", "conf", "nothing"]).exits(2);
    assert_eq!(counts(&ran.summary()), [1, 1, 1, 14, 2]);
    assert_eq!((&ran.json()[3]["type"], &ran.json()[3]["file"]), (&"error".into(), &"nothing".into()));
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_list_that_was_changed_is_listed_and_is_not_believed() {
    let host = backed_up();
    let path = host.stored("").with_file_name("files.jsonl");
    let good = fs::read_to_string(&path).expect("read");
    for (bad, why, lines) in [
        (good.replacen("\"size\":12", "\"size\":13", 1), "its hash is not the one in the manifest", 10),
        (good.replacen("{\"type\"", "[\"type\"", 1), "line 1", 9),
        (good.replacen("\"main.db\"", "\"../main.db\"", 1), "line ", 9),
        (good.lines().take(4).collect::<Vec<_>>().join("\n"), "its hash is not", 4),
        (String::new(), "its hash is not", 0),
    ] {
        fs::write(&path, bad).expect("written");
        let ran = host.run(&["show", "repo", "--files"]).exits(3).says(": files.jsonl cannot be believed: ").says(why);
        assert_eq!(ran.stdout.lines().count(), lines, "{why}");
        let ran = host.run(&["show", "repo", "--json", "--files", "nothing"]).exits(3);
        let summary = ran.summary();
        assert_eq!((&summary["outcome"], &summary["exit_code"]), (&"failed".into(), &3.into()));
    }
}

#[test]
fn names_cannot_steer_a_terminal_and_are_exact_for_a_program() {
    let host = Host::with_app();
    fs::write(host.path("app").join(odd_name()), "odd").expect("written");
    host.write("app/\u{1b}]0;title\u{7}", "");
    symlink("\u{1b}[31m", host.path("app/zlink")).expect("linked");
    host.ok(&["backup", "app", "--to", "repo"]);
    let stdout = host.ok(&["show", "repo", "--files"]).stdout;
    assert!(!stdout.contains(|c: char| c.is_control() && c != '\n'), "{stdout:?}");
    assert!(stdout.contains(" \\u{1b}]0;title\\u{7}\n") && stdout.contains(" zlink -> \\u{1b}[31m\n"), "{stdout}");
    assert!(stdout.contains("odd\u{fffd}\\n'\"\\name\n"), "{stdout}");
    let lines = host.ok(&["show", "repo", "--files", "--json"]).json();
    let exact = |line: &Value| jetbak::paths::from_fields(line["path"].as_str()?, line["path_base64"].as_str());
    assert!(lines.iter().any(|line| exact(line) == Some(odd_name())));
    let named = host.command(&["show".as_ref(), "repo".as_ref(), "--files".as_ref(), odd_name().as_os_str()]);
    assert_eq!(finish(named).exits(0).stdout.lines().count(), 1);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is_one() {
    let host = Host::quick();
    host.write_many(5000);
    host.ok(&["backup", "app", "--to", "repo"]);
    for (arguments, lines) in [
        (["show", "repo", "--files"].as_slice(), 1),
        (&["show", "repo", "--files", "--json"], 1),
        (&["show", "repo"], 1),
    ] {
        let script = format!("{{ \"$@\" 2>messages; echo $? >code; }} | head -n {lines} >/dev/null; cat messages code");
        assert_eq!(finish(host.shell(&script, arguments)).exits(0).stdout, "0\n", "{arguments:?}");
        let mut command = host.command(arguments);
        command
            .stdout(Stdio::from(File::options().write(true).open("/dev/full").expect("opened")))
            .stderr(Stdio::piped());
        let output = command.spawn().expect("started").wait_with_output().expect("waited");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to stdout: no space left on device"));
    }
    assert_eq!(host.ok(&["show", "repo", "--files"]).stdout.lines().count(), 5007);
}

#[test]
fn a_long_list_is_not_read_on_when_nobody_listens() {
    let host = backed_up();
    let path = host.stored("").with_file_name("files.jsonl");
    let list = fs::read_to_string(&path).expect("read");
    fs::write(&path, list.repeat(10_000)).expect("written");
    let arguments = ["show", "repo", "--files", ".", "nothing"];
    host.run(&arguments).exits(3).says("nothing is not in ");
    let script = "{ \"$@\" 2>messages; echo $? >code; } | head -n 1 >/dev/null; cat messages code";
    assert_eq!(finish(host.shell(script, &arguments)).exits(0).stdout, "0\n", "its end was not met");
}

#[test]
fn looking_changes_nothing_and_works_where_nothing_can_be_written() {
    let host = backed_up();
    open_to_all(&host, "repo");
    fs::set_permissions(host.path("repo"), fs::Permissions::from_mode(0o555)).expect("closed");
    fs::remove_dir_all(host.path("state")).expect("removed");
    let tree = || {
        let found =
            Command::new("find").args([".", "-printf", "%p %s %T@ %C@\n"]).current_dir(host.path("repo")).output();
        found.expect("find runs").stdout
    };
    let before = tree();
    for arguments in [["show", "repo"].as_slice(), &["show", "repo", "--files"], &["cat", "repo", "1", "main.db"]] {
        finish(as_ordinary_user(&host, host.command(arguments))).exits(0);
    }
    assert!(tree() == before && !host.path("state").exists());
    fs::set_permissions(host.path("repo"), fs::Permissions::from_mode(0o755)).expect("opened");
}
