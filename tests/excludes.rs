//! What is left out because somebody asked for it: by pattern, by a tag, by file system; and that it is said, kept with
//! the backup, and never mistaken for what could not be read.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::mounts::{Disk, in_own_mounts};
use common::{Host, Ran, names, skip};
use serde_json::{Value, json};

const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n";

/// A storage with files, directories and links of many names.
fn storage() -> Host {
    let host = Host::quick();
    for name in [
        "main.db",
        "main.tmp",
        "conf/settings.ini",
        "conf/old.tmp",
        "cache/one",
        "cache/deep/two",
        "src/cache",
        "src/a/build/out.o",
        "src/b/build/out.o",
        "src/build/kept/out.c",
        "odd [name]",
        "*star",
        "!bang",
        "#hash",
        "Upper.TMP",
    ] {
        host.write(&format!("app/{name}"), name);
    }
    for bytes in [&b"odd\xff.dat"[..], b"odd\xfe.dat", b"line\nbreak.dat"] {
        fs::write(host.path("app").join(OsStr::from_bytes(bytes)), "odd").expect("written");
    }
    symlink("conf", host.path("app/cache-link")).expect("linked");
    host
}

fn manifest(host: &Host) -> Value {
    let text = fs::read(host.backup_folder().join("manifest.json")).expect("read");
    serde_json::from_slice(&text).expect("JSON")
}

/// Every path of the newest backup, the root left out, odd bytes escaped.
fn listed(host: &Host) -> Vec<String> {
    let text = fs::read_to_string(host.backup_folder().join("files.jsonl")).expect("read");
    let paths = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let path = jetbak::paths::from_fields(line["path"].as_str().expect("text"), line["path_base64"].as_str());
        path.expect("base64").as_os_str().as_bytes().escape_ascii().to_string()
    });
    paths.filter(|path| path != ".").collect()
}

/// Backs up with these options into a new repository, and returns what is missing from the backup.
fn missing(host: &Host, options: &[&str]) -> Vec<String> {
    let _ = fs::remove_dir_all(host.path("repo")); // not there at first
    host.ok(&["backup", "app", "--to", "repo"]);
    let all = listed(host);
    host.ok(&[&["backup", "app", "--to", "repo"][..], options].concat());
    host.ok(&["verify", "repo"]);
    let taken = listed(host);
    assert!(taken.iter().all(|path| all.contains(path)));
    all.into_iter().filter(|path| !taken.contains(path)).collect()
}

// Patterns

#[test]
fn patterns_leave_out_what_their_help_says() {
    let host = storage();
    let cases: [(&str, &[&str]); 18] = [
        ("*.tmp", &["conf/old.tmp", "main.tmp"]),
        ("main.?mp", &["main.tmp"]),
        ("cache", &["cache", "cache/deep", "cache/deep/two", "cache/one", "src/cache"]),
        ("cache/", &["cache", "cache/deep", "cache/deep/two", "cache/one"]),
        ("/cache", &["cache", "cache/deep", "cache/deep/two", "cache/one"]),
        ("cache/*", &["cache/deep", "cache/deep/two", "cache/one"]),
        ("src/*/build", &["src/a/build", "src/a/build/out.o", "src/b/build", "src/b/build/out.o"]),
        ("**/out.o", &["src/a/build/out.o", "src/b/build/out.o"]),
        ("src/**/*.o", &["src/a/build/out.o", "src/b/build/out.o"]),
        ("src/**/out.c", &["src/build/kept/out.c"]),
        ("{main,*}.db", &["main.db"]),
        ("[!a-z]pper.TMP", &["Upper.TMP"]),
        ("odd?.dat", &["odd\\xfe.dat", "odd\\xff.dat"]),
        ("*.dat", &["line\\nbreak.dat", "odd\\xfe.dat", "odd\\xff.dat"]),
        ("odd \\[name\\]", &["odd [name]"]),
        ("\\*star", &["*star"]),
        ("*-link", &["cache-link"]),
        ("cache-link/", &[]), // a link to a directory is no directory
    ];
    for (pattern, expected) in cases {
        assert_eq!(missing(&host, &["--exclude", pattern]), *expected, "{pattern}");
        let exclusion = &manifest(&host)["exclusion"];
        assert_eq!(exclusion["globs"], json!([pattern]));
    }
    assert_eq!(missing(&host, &["--exclude", "*.db", "--exclude", "src/"]).len(), 12);
}

#[test]
fn what_is_left_out_as_asked_is_said_and_kept_with_the_backup() {
    let host = storage();
    let options = ["--exclude", "*.tmp", "--exclude", "cache/", "--exclude", "odd\\?.dat", "--exclude", "*.dat"];
    let backup = [&["backup", "app", "--to", "repo"][..], &options].concat();
    let quiet = host.ok(&backup);
    assert!(!quiet.stderr.contains("old.tmp"), "only -v names them: {}", quiet.stderr);
    let manifest = manifest(&host);
    assert_eq!(manifest["exclusion"]["globs"], json!(["*.tmp", "cache/", "odd\\?.dat", "*.dat"]));
    assert_eq!(manifest["left_out_as_asked"], 6, "a directory counts once");
    assert_eq!((&manifest["outcome"], &manifest["excluded"]), (&"completed".into(), &json!([])));
    assert_eq!((&manifest["left_out"], &manifest["appeared"]), (&json!([]), &0.into()));

    let loud = host.ok(&[&backup[..], &["-v"]].concat());
    for line in [
        "left out as asked: main.tmp (--exclude *.tmp)",
        "left out as asked: conf/old.tmp (--exclude *.tmp)",
        "left out as asked: cache (--exclude cache/)",
    ] {
        assert!(loud.stderr.contains(line), "{line}: {}", loud.stderr);
    }
    assert!(!loud.stderr.contains("deep/two") && !loud.stderr.contains("line\nbreak"), "{}", loud.stderr);
    let dry = [&backup[..], &["--dry-run"]].concat();
    host.ok(&dry).prints("left out as asked: 6 (-v names them)");
    let dry = host.ok(&[&dry[..], &["--json"]].concat()).summary();
    assert_eq!((&dry["left_out_as_asked"], &dry["files"]), (&6.into(), &11.into()));
    let summary = host.ok(&[&backup[..], &["--json"]].concat()).summary();
    assert_eq!(
        (&summary["outcome"], &summary["excluded"], &summary["files"]),
        (&"completed".into(), &json!([]), &11.into())
    );
    assert_eq!(summary["warnings"], 1, "one of the patterns leaves nothing out");
}

#[test]
fn a_pattern_that_leaves_nothing_out_is_named_once_and_harms_nothing() {
    let host = storage();
    // Two of them match one file: both leave it out.
    let used = ["--exclude", "*.tmp", "--exclude", "cache/", "--exclude", "Upper*", "--exclude", "*.TMP"];
    let backup = [&["backup", "app", "--to", "repo"][..], &used].concat();
    let ran = host.ok(&backup);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);

    // A mistyped one, one of directories only, and one of what another one takes along.
    let typed = [&backup[..], &["--exclude", "*.tpm", "--exclude", "main.db/", "--exclude", "cache/*"]].concat();
    let warning = "warning: nothing is left out by --exclude *.tpm --exclude main.db/ --exclude cache/*\n";
    let ran = host.ok(&typed);
    assert_eq!(ran.stderr.matches("nothing is left out").count(), 1, "{}", ran.stderr);
    ran.says(warning).says("1 warning");
    assert_eq!(host.ok(&[&typed[..], &["--quiet"]].concat()).stderr, "");
    host.ok(&[&typed[..], &["--dry-run"]].concat()).says(warning);
    let dry = host.ok(&[&typed[..], &["--dry-run", "--json"]].concat()).summary();
    assert_eq!(dry["unused_patterns"], json!(["*.tpm", "main.db/", "cache/*"]));

    // The same where the session is begun and ended by commands of its own: begin tells.
    let session = [&["begin", "app", "--to", "repo"][..], &typed[4..]].concat();
    host.ok(&session).says(warning);
    host.ok(&["read", "app"]);
    assert!(!host.ok(&["end", "app"]).stderr.contains("left out by"), "it is told once");
    let ran = host.ok(&[&session[..], &["--json"]].concat());
    let objects: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(objects[0]["type"], "warning");
    assert_eq!(objects[0]["message"], warning.trim_start_matches("warning: ").trim_end());
    assert_eq!(objects[1]["unused_patterns"], json!(["*.tpm", "main.db/", "cache/*"]));
    host.ok(&["end", "app", "--abort"]);
}

#[test]
fn of_a_file_of_patterns_for_many_storages_only_verbose_and_json_name_what_leaves_nothing_out() {
    let host = storage();
    let many: Vec<_> = (1..=25).map(|number| format!("*.{number}")).collect();
    host.write("common", "*.tmp\nnode_modules/\n# editors\n*.swp\n*~\ncache/\n");
    host.write("many", many.join("\n"));
    let backup = ["backup", "app", "--to", "repo", "--exclude", "*.db", "--exclude-from", "common"];
    let ran = host.ok(&backup);
    assert!(!ran.stderr.contains("warning") && !ran.stderr.contains("swp"), "{}", ran.stderr);
    let ran = host.ok(&[&backup[..], &["--exclude-from", "many", "-v"]].concat());
    ran.says("nothing is left out by 3 of 5 patterns in common: node_modules/, *.swp, *~\n")
        .says("nothing is left out by 25 of 25 patterns in many: *.1, ")
        .says(", *.20 and 5 more\n");
    let ran = host.ok(&[&backup[..], &["--json"]].concat());
    let begun: Value = serde_json::from_str(ran.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!(begun["unused_patterns"], json!(["node_modules/", "*.swp", "*~"]));
    assert_eq!(ran.summary()["warnings"], 0);
}

#[test]
fn a_pattern_is_not_called_useless_where_a_directory_could_not_be_listed() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::with_app();
    host.write("app/closed/file.tpm", "secret");
    common::open_to_all(&host, "app");
    fs::set_permissions(host.path("app/closed"), fs::Permissions::from_mode(0o000)).expect("closed");
    let run = |more: &[&str]| {
        let arguments = [&["backup", "app", "--to", "repo", "--keep-going", "--exclude", "*.tpm"][..], more].concat();
        common::finish(common::as_ordinary_user(&host, host.command(&arguments)))
    };
    let ran = run(&[]).exits(1);
    assert!(!ran.stderr.contains("nothing is left out"), "{}", ran.stderr);
    assert_eq!(run(&["--dry-run", "--json"]).exits(0).summary()["unused_patterns"], Value::Null);
    fs::set_permissions(host.path("app/closed"), fs::Permissions::from_mode(0o755)).expect("opened");
}

#[test]
fn a_pattern_that_names_nothing_or_cannot_be_understood_is_refused() {
    let host = storage();
    for bad in ["", " ", "/", "[", "{a,b", "a\\"] {
        host.run(&["backup", "app", "--to", "repo", "--exclude", bad]).exits(2).says("pattern");
        host.run(&["begin", "app", "--to", "repo", "--exclude", bad]).exits(2);
    }
    assert!(!host.path("repo").exists());
    host.is_tidy("repo");
}

#[test]
fn excluding_everything_leaves_an_empty_storage() {
    let host = storage();
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "*"]);
    assert_eq!(listed(&host), Vec::<String>::new());
    host.ok(&["restore", "repo", "--into", "out"]);
    assert_eq!(names(&host.path("out")), Vec::<String>::new());
}

// Lists of patterns

#[test]
fn a_list_of_patterns_may_have_comments_and_come_from_windows() {
    let host = storage();
    host.write("list", "\u{feff}# temporary\r\n*.tmp\r\n\r\n   \r\ncache/\r\n\\#hash\r\n\\!bang\r\n");
    host.write("more", "odd\\ \\[name\\]");
    let options = ["--exclude-from", "list", "--exclude-from", "more", "--exclude", "Upper*"];
    let expected = [
        "!bang",
        "#hash",
        "Upper.TMP",
        "cache",
        "cache/deep",
        "cache/deep/two",
        "cache/one",
        "conf/old.tmp",
        "main.tmp",
        "odd [name]",
    ];
    let mut found = missing(&host, &options);
    found.sort();
    assert_eq!(found, expected);
    let globs = &manifest(&host)["exclusion"]["globs"];
    let mut globs: Vec<_> = globs.as_array().expect("a list").iter().map(|glob| glob.as_str().expect("text")).collect();
    globs.sort_unstable();
    assert_eq!(globs, ["*.tmp", "Upper*", "\\!bang", "\\#hash", "cache/", "odd\\ \\[name\\]"]);
}

#[test]
fn a_list_that_cannot_be_read_or_means_something_else_is_refused_by_line() {
    let host = storage();
    host.write("again", "*.tmp\n!main.tmp\n");
    host.write("latin", b"*.tmp\n\n\xe4*\n");
    host.write("broken", "*.tmp\n[\n");
    let refused = |list: &str| -> Ran {
        let ran = host.run_soon(&["backup", "app", "--to", "repo", "--exclude-from", list]).exits(2);
        assert!(!host.path("repo").exists() && host.session_folders().is_empty());
        ran
    };
    refused("again").says("line 2 begins with `!`").says("again");
    refused("latin").says("line 3 is not UTF-8; match such bytes with `?`").says("latin");
    refused("broken").says("[");
    refused("nothing").says("nothing");
    refused("app").says("app");
}

// Caches

#[test]
fn a_tag_marks_a_directory_as_a_cache_only_where_that_is_asked_for() {
    let host = storage();
    host.write("app/cache/CACHEDIR.TAG", SIGNATURE);
    host.write("app/conf/CACHEDIR.TAG", "Signature: something else, of the same length...");
    host.write("app/src/CACHEDIR.TAG", "Signature: 8a47");
    host.write("app/CACHEDIR.TAG", SIGNATURE);
    host.write("real-tag", SIGNATURE);
    for (name, make) in [("linked", "link"), ("empty", "empty"), ("alone", "alone"), ("folder", "folder")] {
        fs::create_dir(host.path("app").join(name)).expect("created");
        let tag = host.path("app").join(name).join("CACHEDIR.TAG");
        match make {
            "link" => symlink(host.path("real-tag"), &tag).expect("linked"),
            "folder" => fs::create_dir(&tag).expect("created"),
            "empty" => fs::write(&tag, "").expect("written"),
            _ => fs::write(&tag, SIGNATURE).expect("written"),
        }
        if make != "alone" {
            host.write(&format!("app/{name}/file"), "kept");
        }
    }
    let made = Command::new("mkfifo").arg(host.path("app/src/a/CACHEDIR.TAG")).status();
    assert!(made.expect("mkfifo runs").success());
    assert_eq!(missing(&host, &[]), Vec::<String>::new());
    assert_eq!(missing(&host, &["--exclude-caches"]), ["cache/deep", "cache/deep/two", "cache/one"]);
    let manifest = manifest(&host);
    assert_eq!((&manifest["exclusion"]["caches"], &manifest["left_out_as_asked"]), (&true.into(), &1.into()));
    let loud = host.ok(&["backup", "app", "--to", "repo", "--exclude-caches", "-v"]);
    loud.says("left out as asked: cache (what a CACHEDIR.TAG marks: 2 names)");
    host.ok(&["restore", "repo", "--into", "out"]);
    assert_eq!(names(&host.path("out/cache")), ["CACHEDIR.TAG"]);
}

// File systems

#[test]
fn other_file_systems_are_left_out_only_where_that_is_asked_for() {
    if !in_own_mounts("other_file_systems_are_left_out_only_where_that_is_asked_for") {
        return;
    }
    let host = storage();
    let _disk = Disk::mount(&host, "app/mounted", 1024);
    host.write("app/mounted/below/file", "elsewhere");
    let _side = Disk::mount(&host, "side", 1024);
    host.write("side/file", "of another file system");
    host.write("app/bound", "covered");
    let bound = Command::new("mount").arg("--bind").args([host.path("side/file"), host.path("app/bound")]).status();
    let is_bound = bound.is_ok_and(|bound| bound.success());
    if !is_bound {
        skip("no file can be mounted here");
    }
    assert_eq!(missing(&host, &[]), Vec::<String>::new());
    let mut expected = vec!["mounted/below", "mounted/below/file"];
    if is_bound {
        expected.insert(0, "bound");
    }
    assert_eq!(missing(&host, &["--one-file-system"]), expected);
    let manifest = manifest(&host);
    assert_eq!(manifest["exclusion"]["other_file_systems"], true);
    assert_eq!(manifest["left_out_as_asked"], expected.len() - usize::from(!expected.is_empty()));
    let loud = host.ok(&["backup", "app", "--to", "repo", "--one-file-system", "-v"]);
    let loud = loud.says("left out as asked: mounted (another file system is mounted there)");
    if is_bound {
        loud.says("left out as asked: bound (another file system)");
    }
    host.ok(&["restore", "repo", "--into", "out"]);
    assert_eq!(names(&host.path("out/mounted")), Vec::<String>::new());
    // The storage itself may be one: it is the one that was named.
    host.ok(&["backup", "side", "--to", "other", "--one-file-system"]).says("1 file");
    let _ = Command::new("umount").arg(host.path("app/bound")).status(); // else it goes with the name space
}

// Sessions and logs

#[test]
fn begin_keeps_what_is_left_out_for_the_whole_session() {
    let host = storage();
    host.ok(&[
        "begin",
        "app",
        "--to",
        "repo",
        "--exclude",
        "*.tmp",
        "--exclude",
        "cache/",
        "--log",
        "wal.*",
        "--exclude",
        "wal.9",
    ]);
    // What comes later and is left out as asked did not appear; what is not, did.
    host.write("app/late.tmp", "late");
    host.write("app/cache/late", "late");
    host.write("app/src/cache.d/late", "late");
    host.write("app/wal.8", "a log");
    host.write("app/wal.9", "a log that is left out");
    let files = host.ok(&["files", "app"]).stdout;
    assert!(!files.contains(".tmp") && !files.contains("cache/one") && files.contains("wal.8"), "{files}");
    assert!(!files.contains("wal.9"), "{files}");
    host.run(&["read", "app", "main.tmp"]).exits(2);
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    let taken = listed(&host);
    assert!(taken.iter().all(|path| Path::new(path).extension().is_none_or(|last| last != "tmp")), "{taken:?}");
    assert!(taken.contains(&"wal.8".to_owned()) && !taken.contains(&"wal.9".to_owned()), "{taken:?}");
    assert!(!taken.iter().any(|path| path == "cache" || path.starts_with("cache/")), "{taken:?}");
    let manifest = manifest(&host);
    assert_eq!(manifest["appeared"], 1, "{}", manifest["appeared"]);
    assert_eq!(manifest["outcome"], "completed");
}

#[test]
fn a_log_that_is_left_out_is_never_truncated() {
    let host = Host::quick_with_app();
    host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*", "--exclude", "wal.2", "--truncate"]);
    assert!(host.logs().contains(&"wal.2".to_owned()), "{:?}", host.logs());
    assert!(host.logs().contains(&"wal.4".to_owned()));
    host.verifies("repo");
}

#[test]
fn a_further_name_of_a_file_that_is_left_out_carries_its_content() {
    let host = Host::quick();
    host.write("app/a.tmp", "shared");
    fs::hard_link(host.path("app/a.tmp"), host.path("app/b")).expect("linked");
    fs::hard_link(host.path("app/a.tmp"), host.path("app/c")).expect("linked");
    host.ok(&["backup", "app", "--to", "repo", "--exclude", "*.tmp"]);
    host.verifies("repo");
    host.ok(&["restore", "repo", "--into", "out"]);
    assert_eq!(names(&host.path("out")), ["b", "c"]);
    assert_eq!(fs::read(host.path("out/c")).expect("read"), b"shared");
}

#[test]
fn what_may_not_be_read_can_be_left_out() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::with_app();
    host.write("app/closed/file", "secret");
    common::open_to_all(&host, "app");
    fs::set_permissions(host.path("app/closed"), fs::Permissions::from_mode(0o000)).expect("closed");
    let run = |arguments: &[&str]| common::finish(common::as_ordinary_user(&host, host.command(arguments)));
    run(&["backup", "app", "--to", "repo"]).exits(1).says("closed");
    run(&["backup", "app", "--to", "repo", "--exclude", "closed/"]).exits(0);
    assert!(!listed(&host).contains(&"closed".to_owned()));
    fs::set_permissions(host.path("app/closed"), fs::Permissions::from_mode(0o755)).expect("opened");
}

#[test]
fn a_log_that_was_left_out_leaves_no_gap_when_others_are_truncated() {
    let host = Host::with_app();
    host.write("app/wal.5", "the newest");
    host.ok(&["backup", "app", "--to", "repo", "--log", "wal.*", "--exclude", "wal.2", "--truncate"]);
    for (number, stays) in [(1, false), (2, true), (3, true), (4, true), (5, true)] {
        assert_eq!(host.path(format!("app/wal.{number}")).exists(), stays, "wal.{number}");
    }
}
