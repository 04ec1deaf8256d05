//! A repository made by somebody who wishes us ill: every hash agrees, and the list lies. It is refused or restored as
//! far as it is harmless; nothing is read or written outside, nothing hangs, and memory has a bound.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::forge::{forge, reseal, sha256};
use common::tree::{Alike, Listing};
use common::{Host, Ran, finish, names, skip};
use serde_json::{Value, json};

const SECRET: &str = "a letter that is nobody's business";

/// A machine with one backup in `repo`, a secret beside it, and a copy of the backup as it was.
struct Trap {
    host: Host,
    folder: PathBuf,
    outside: Listing,
    names: Vec<String>,
}

impl Trap {
    fn new() -> Self {
        let host = Host::quick_with_app();
        symlink("main.db", host.path("app/link")).expect("linked");
        host.write("app/conf/deep/file", "far down");
        host.write("outside/secret", SECRET);
        host.ok(&["backup", "app", "--to", "repo"]);
        let folder = host.backup_folder();
        let copied = Command::new("cp").arg("-a").arg(&folder).arg(host.path("good")).status();
        assert!(copied.expect("cp runs").success());
        let (outside, names) = (Listing::of(&host.path("outside")), names(&host.path("")));
        Self { host, folder, outside, names }
    }

    /// Puts the backup back as it was.
    fn mend(&self) {
        let _ = fs::remove_dir_all(&self.folder); // or a link by now
        let _ = fs::remove_file(&self.folder);
        let copied = Command::new("cp").arg("-a").arg(self.host.path("good")).arg(&self.folder).status();
        assert!(copied.expect("cp runs").success());
    }

    /// Runs jetbak with little memory and little time.
    fn run(&self, arguments: &[&str]) -> Ran {
        let script = r#"ulimit -v 200000; export MALLOC_ARENA_MAX=1; exec timeout -s KILL 20 "$@""#;
        let ran = finish(self.host.shell(script, arguments));
        let what = format!("{arguments:?}: {:?}\n{}", ran.code, &ran.stderr[..ran.stderr.len().min(2000)]);
        assert!(matches!(ran.code, Some(0..=6)), "{what}");
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("RUST_BACKTRACE"), "{what}");
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains(SECRET) && !text.contains(&sha256(SECRET.as_bytes())), "{what}");
        }
        self.outside.is_like(&Listing::of(&self.host.path("outside")), Alike::Fully);
        ran
    }

    /// Nobody but the target was made.
    #[track_caller]
    fn nothing_is_made(&self, what: &str) {
        assert_eq!(names(&self.host.path("")), self.names, "{what}");
    }

    /// Restores with `--keep-going`, looks for the secret in what came out, and takes it away.
    fn restores_nothing_bad(&self, what: &str, more: &[&str]) -> Ran {
        let ran = self.run(&[&["restore", "repo", "1", "--into", "out"][..], more].concat());
        assert!(!self.host.path("evil").exists(), "{what}");
        let found = Command::new("grep").args(["-rqs", SECRET]).arg(self.host.path("out")).status();
        assert_ne!(found.expect("grep runs").code(), Some(0), "{what}: the secret was restored");
        assert_eq!(ran.code == Some(0) || ran.code == Some(3), self.host.path("out").exists() || ran.code == Some(3));
        let _ = fs::remove_dir_all(self.host.path("out")); // if it was made
        self.nothing_is_made(what);
        ran
    }

    /// The list is refused by everybody who reads it.
    #[track_caller]
    fn is_refused(&self, what: &str) {
        for look in [&["show", "repo", "1", "--files"][..], &["cat", "repo", "1", "wal.1"]] {
            let ran = self.run(look);
            assert_eq!(ran.code, Some(3), "{what}: {}", ran.stderr);
            assert!(look[0] == "show" || ran.stdout.is_empty(), "{what}: {}", ran.stdout);
        }
        self.is_refused_as_a_whole(what);
    }

    /// The list is refused by those who need all of it at once. Those who look for one line of it see that line, if what
    /// is wrong is how it goes with others.
    #[track_caller]
    fn is_refused_as_a_whole(&self, what: &str) {
        for more in [&[][..], &["--only", "conf"], &["--keep-going"], &["--dry-run"]] {
            let ran = self.run(&[&["restore", "repo", "1", "--into", "out"][..], more].concat());
            assert_eq!(ran.code, Some(3), "{what}: {}", ran.stderr);
            assert!(ran.stderr.contains("the list of files of 000001-"), "{what}: {}", ran.stderr);
            self.nothing_is_made(what);
        }
        let ran = self.run(&["verify", "repo", "--json"]);
        assert_eq!(ran.code, Some(3), "{what}: {}", ran.stdout);
        assert!(ran.stdout.contains(r#""kind":"file-list""#), "{what}: {}", ran.stdout);
        self.mend();
    }

    /// Not the list, but what is stored under this name is not what it says.
    #[track_caller]
    fn is_damage(&self, file: &str, what: &str) {
        let ran = self.run(&["restore", "repo", "--into", "out"]);
        assert!(matches!(ran.code, Some(1 | 3)), "{what}: {:?} {}", ran.code, ran.stderr);
        self.nothing_is_made(what);
        self.restores_nothing_bad(what, &["--keep-going"]);
        self.restores_nothing_bad(what, &["--only", "main.db"]);
        let ran = self.run(&["cat", "repo", "1", file]);
        assert!(ran.code != Some(0) && ran.stdout.is_empty(), "{what}: {:?} {}", ran.code, ran.stdout);
        self.run(&["show", "repo", "1", "--files"]);
        let ran = self.run(&["verify", "repo"]);
        assert_eq!(ran.code, Some(3), "{what}: {}", ran.stdout);
        self.mend();
    }

    /// Changes the line of `main.db`.
    fn forge(&self, change: impl Fn(&mut Value)) {
        forge(&self.folder, |lines| change(main_line(lines)));
    }

    /// Writes a list as it is, and makes every hash fit.
    fn write_list(&self, text: &[u8]) {
        fs::write(self.folder.join("files.jsonl"), text).expect("written");
        reseal(&self.folder, |_| {});
    }
}

fn main_line(lines: &mut [Value]) -> &mut Value {
    lines.iter_mut().find(|line| line["path"] == "main.db").expect("a line")
}

// Paths

#[test]
fn a_path_that_does_not_go_straight_down_is_refused() {
    let trap = Trap::new();
    let absolute = trap.host.path("evil").to_str().expect("UTF-8").to_owned();
    let deep = format!("{}evil", "../".repeat(40));
    let long = "x/".repeat(80_000) + "x";
    let paths = [
        "../evil",
        "../../../evil",
        &deep,
        &absolute,
        "/",
        "a/../../evil",
        "a/../evil",
        "conf/..",
        "..",
        ".",
        "./evil",
        "a//evil",
        "conf/./settings.new",
        "evil/",
        "evil/.",
        "",
        "nul\0evil",
        &long,
    ];
    for path in paths {
        let what = &path[..path.len().min(60)];
        trap.forge(|line| line["path"] = path.into());
        trap.is_refused(what);
        trap.forge(|line| line["path_base64"] = STANDARD.encode(path).into());
        trap.is_refused(what);
    }
    trap.forge(|line| line["path_base64"] = "not base64!".into());
    trap.is_refused("no base64");
    trap.forge(|line| line["root"] = "../../..".into());
    trap.is_refused("another root");
}

#[test]
fn a_name_that_comes_twice_is_refused_in_every_spelling() {
    let trap = Trap::new();
    for path in ["main.db", "conf/settings.ini", "conf", "link", ".", "conf/", "conf//settings.ini"] {
        forge(&trap.folder, |lines| {
            let mut twin = lines.iter().find(|line| line["path"] == path).unwrap_or(&lines[1]).clone();
            twin["path"] = path.into();
            lines.push(twin);
        });
        trap.is_refused_as_a_whole(path);
    }
    // A file and a directory, a link and a file of one name.
    for (path, like) in [("conf", "main.db"), ("main.db", "conf"), ("link", "main.db"), ("main.db", "link")] {
        forge(&trap.folder, |lines| {
            let mut twin = lines.iter().find(|line| line["path"] == like).expect("a line").clone();
            twin["path"] = path.into();
            lines.push(twin);
        });
        trap.is_refused_as_a_whole(path);
    }
}

// Links

#[test]
fn nothing_is_written_through_a_link_that_the_list_makes() {
    let trap = Trap::new();
    let outside = trap.host.path("outside").to_str().expect("UTF-8").to_owned();
    let add = |first_link: bool| {
        forge(&trap.folder, |lines| {
            let mut link = lines.iter().find(|line| line["path"] == "link").expect("a line").clone();
            (link["path"], link["target"]) = ("x".into(), outside.clone().into());
            let mut file = main_line(lines).clone();
            file["path"] = "x/evil".into();
            lines.extend(if first_link { [link, file] } else { [file, link] });
        });
    };
    for first_link in [true, false] {
        // As it would have to be stored, and with a directory where the link should be.
        add(first_link);
        symlink(&outside, trap.folder.join("data/x")).expect("linked");
        trap.is_damage("x/evil", "a link");
        add(first_link);
        fs::create_dir(trap.folder.join("data/x")).expect("created");
        fs::write(trap.folder.join("data/x/evil"), "the database").expect("written");
        trap.is_damage("x", "a directory");
    }
    assert_eq!(names(&trap.host.path("outside")), ["secret"]);
}

#[test]
fn another_name_of_what_is_no_file_of_the_backup_is_refused() {
    let trap = Trap::new();
    let secret = trap.host.path("outside/secret").to_str().expect("UTF-8").to_owned();
    for first in
        ["../../../../outside/secret", &secret, "link", "wal.4", "main.db", "conf", ".", "nothing", "", "a/../wal.1"]
    {
        forge(&trap.folder, |lines| {
            let line = main_line(lines);
            line["hard_link"] = first.into();
        });
        trap.is_refused_as_a_whole(first);
        trap.forge(|line| {
            line["hard_link"] = "conf/settings.ini".into();
            line["hard_link_base64"] = STANDARD.encode(first).into();
        });
        trap.is_refused_as_a_whole(first);
    }
    // An earlier file, but with another content.
    trap.forge(|line| line["hard_link"] = "conf/settings.ini".into());
    trap.is_refused_as_a_whole("another content");
    forge(&trap.folder, |lines| {
        let line = lines.iter_mut().find(|line| line["path"] == "link").expect("a line");
        line["hard_link"] = "main.db".into();
    });
    trap.is_refused("a link with another name");
}

#[test]
fn what_stands_in_the_place_of_a_stored_file_is_not_followed_and_not_waited_for() {
    let trap = Trap::new();
    let stored = trap.folder.join("data/main.db");
    let secret = trap.host.path("outside/secret");
    let places: [(&str, &dyn Fn() -> bool); 6] = [
        ("a link", &|| symlink(&secret, &stored).is_ok()),
        ("a link to itself", &|| symlink("main.db", &stored).is_ok()),
        ("a further name", &|| fs::hard_link(&secret, &stored).is_ok()),
        ("a fifo", &|| Command::new("mkfifo").arg(&stored).status().is_ok_and(|made| made.success())),
        ("a directory", &|| fs::create_dir(&stored).is_ok()),
        ("a device", &|| {
            let made = Command::new("mknod").arg(&stored).args(["c", "1", "5"]).output();
            made.is_ok_and(|made| made.status.success())
        }),
    ];
    for (what, put) in places {
        fs::remove_file(&stored).expect("removed");
        if !put() {
            skip(&format!("{what} cannot be made here"));
        }
        trap.is_damage("main.db", what);
    }
    // Above it: the directory, the data, the whole backup. What they lead to even has the right content.
    for (what, leads_elsewhere) in [("data/conf", false), ("data", false), ("", true)] {
        let place = trap.folder.join(what);
        let elsewhere = trap.host.path("good").join(what);
        fs::remove_dir_all(&place).expect("removed");
        let place: PathBuf = place.components().collect();
        symlink(elsewhere.components().collect::<PathBuf>(), place).expect("linked");
        if leads_elsewhere {
            let ran = trap.run(&["restore", "repo", "--into", "out"]);
            assert!(ran.code != Some(0) || trap.host.path("out").exists());
            let _ = fs::remove_dir_all(trap.host.path("out")); // a whole backup by another way
            trap.run(&["verify", "repo"]);
            fs::remove_file(&trap.folder).expect("removed");
            trap.mend();
        } else {
            for more in [&[][..], &["--only", "conf/deep"]] {
                let ran = trap.run(&[&["restore", "repo", "--into", "out"][..], more].concat());
                assert_eq!(ran.code, Some(3), "{what}: {}", ran.stderr);
            }
            assert_eq!(trap.run(&["cat", "repo", "1", "conf/deep/file"]).code, Some(3));
            let place: PathBuf = trap.folder.join(what).components().collect();
            assert_eq!(trap.run(&["verify", "repo"]).code, Some(3), "{what}");
            fs::remove_file(place).expect("removed");
            trap.mend();
        }
        trap.nothing_is_made(what);
    }
}

// Numbers

#[test]
fn sizes_and_holes_that_lie_are_found() {
    let trap = Trap::new();
    for size in [0_u64, 4, 11, 13, 1 << 20, 1 << 60, u64::MAX] {
        trap.forge(|line| line["size"] = size.into());
        trap.is_damage("main.db", &format!("size {size}"));
        trap.forge(|line| {
            line["size"] = size.into();
            line["holes"] = if size == 0 { json!([]) } else { json!([[0, size]]) };
        });
        trap.is_damage("main.db", &format!("all {size} bytes a hole"));
    }
    let many: Vec<_> = (0..1_000_000).map(|n| [n * 4, 1]).collect();
    for (size, holes) in [
        (12_u64, json!([[0, 4], [3, 2]])),
        (12, json!([[6, 2], [0, 2]])),
        (12, json!([[0, 0]])),
        (12, json!([[0, 13]])),
        (12, json!([[12, 1]])),
        (12, json!([[u64::MAX, u64::MAX]])),
        (12, json!([[1, u64::MAX]])),
        (12, json!([[0]])),
        (12, json!([[-1, 2]])),
        (12, json!([[0, 1.5]])),
        (4_000_000, json!(many)),
    ] {
        trap.forge(|line| (line["size"], line["holes"]) = (size.into(), holes.clone()));
        trap.is_refused(&holes.to_string()[..20.min(holes.to_string().len())]);
    }
    // Holes where there is data change nothing of it.
    trap.forge(|line| line["holes"] = json!([[0, 2], [5, 1], [6, 6]]));
    trap.host.ok(&["restore", "repo", "--into", "out"]);
    assert_eq!(fs::read(trap.host.path("out/main.db")).expect("read"), b"the database");
}

#[test]
fn attributes_that_cannot_be_are_refused() {
    let trap = Trap::new();
    let xattr = |name: &str, value: &str| json!([{"name": name, "value": value}]);
    let far = ["9999999-01-01T00:00:00Z", "+999999-01-01T00:00:00Z", "now", "", "2026-13-01T00:00:00Z"];
    let times = far.map(|time| ("modified", json!(time)));
    let others = [
        ("mode", json!("99999")),
        ("mode", json!("77777")),
        ("mode", json!("-644")),
        ("mode", json!("")),
        ("mode", json!(420)),
        ("uid", json!(4_294_967_295_u32)),
        ("gid", json!(4_294_967_295_u32)),
        ("uid", json!(1_u64 << 40)),
        ("uid", json!(-1)),
        ("size", json!(-1)),
        ("xattrs", xattr("user.a\0b", "")),
        ("xattrs", xattr("", "")),
        ("xattrs", xattr("user.a", "not base64!")),
        ("type", json!("link")),
        ("type", json!("device")),
        ("role", json!("directory")),
        ("role", json!("device")),
        ("target", json!("/etc")),
        ("sha256", json!("")),
        ("sha256", json!("../../../etc")),
        ("sha256", json!("A".repeat(64))),
        ("sha256", Value::Null),
    ];
    for (field, value) in times.into_iter().chain(others) {
        trap.forge(|line| line[field] = value.clone());
        trap.is_refused(&format!("{field} {value}"));
    }
}

#[test]
fn attributes_that_this_machine_does_not_take_are_warnings() {
    let trap = Trap::new();
    let large = STANDARD.encode(vec![7; 100_000]);
    let garbage = STANDARD.encode("garbage");
    let long = format!("user.{}", "n".repeat(300));
    for (name, value) in [
        ("security.capability", &garbage),
        ("system.posix_acl_access", &garbage),
        ("system.posix_acl_default", &garbage),
        ("nonsense", &garbage),
        ("user.large", &large),
        (&long, &garbage),
    ] {
        trap.forge(|line| line["xattrs"] = json!([{"name": name, "value": value}]));
        let ran = trap.host.ok(&["restore", "repo", "--into", "out"]);
        let shown = &name[..name.len().min(30)];
        ran.says(&format!("main.db could not be given the extended attribute {shown}"));
        assert_eq!(fs::read(trap.host.path("out/main.db")).expect("read"), b"the database");
        fs::remove_dir_all(trap.host.path("out")).expect("removed");
        trap.mend();
    }
    // Names are for people as well: nothing in them reaches the terminal as it is.
    trap.forge(|line| line["xattrs"] = json!([{"name": "odd\u{1b}[2J\n", "value": ""}]));
    let ran = trap.host.ok(&["restore", "repo", "--into", "out"]);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
}

// Masses

#[test]
fn masses_of_bad_lines_take_neither_long_nor_much_memory() {
    let trap = Trap::new();
    for line in ["x\n", "{}\n"] {
        trap.write_list(line.repeat(1_000_000).as_bytes());
        trap.is_refused(line);
    }
}

#[test]
fn a_line_without_an_end_takes_neither_long_nor_much_memory() {
    let trap = Trap::new();
    trap.write_list(&vec![b'x'; 100_000_000]);
    trap.is_refused("no end");
    let text = format!("{{\"path\":\"{}\"}}\n", "x".repeat(40_000_000));
    trap.write_list(text.as_bytes());
    trap.is_refused("a long path");
    trap.write_list("[".repeat(5_000_000).as_bytes());
    trap.is_refused("deep JSON");
}

// What describes the backup

#[test]
fn describing_files_that_are_something_else_are_a_clear_error() {
    let trap = Trap::new();
    for name in ["files.jsonl", "manifest.json"] {
        for make in ["link", "mkdir", "mkfifo", "huge", "empty"] {
            let place = trap.folder.join(name);
            fs::remove_file(&place).expect("removed");
            match make {
                "link" => symlink(trap.host.path("good").join(name), &place).expect("linked"),
                "huge" => File::create(&place).expect("created").set_len(1 << 40).expect("sized"),
                "empty" => fs::write(&place, "").expect("written"),
                make => assert!(Command::new(make).arg(&place).status().expect("runs").success()),
            }
            let what = format!("{make} {name}");
            if make != "huge" || name != "files.jsonl" {
                let ran = trap.run(&["verify", "repo"]);
                assert_eq!(ran.code, Some(3), "{what}: {}", ran.stderr);
            }
            let ran = trap.run(&["restore", "repo", "1", "--into", "out"]);
            assert!(matches!(ran.code, Some(1 | 3)), "{what}: {}", ran.stderr);
            trap.nothing_is_made(&what);
            trap.mend();
        }
    }
}

#[test]
fn totals_that_lie_are_refused() {
    let trap = Trap::new();
    for (field, value) in [("files", 1_u64 << 63), ("bytes", 0), ("bytes", u64::MAX), ("files", 0)] {
        reseal(&trap.folder, |manifest| manifest[field] = value.into());
        let ran = trap.run(&["restore", "repo", "--into", "out"]);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert_eq!(trap.run(&["verify", "repo"]).code, Some(3));
        trap.nothing_is_made(field);
        trap.mend();
    }
    let mut list = File::options().append(true).open(trap.folder.join("files.jsonl")).expect("opened");
    list.write_all(b"{\"type\":").expect("written");
    drop(list);
    reseal(&trap.folder, |_| {});
    trap.is_refused("a torn line");
}

/// An unused path, so that a story can say what it means.
#[test]
fn the_trap_itself_is_sound() {
    let trap = Trap::new();
    trap.forge(|_| {});
    trap.host.ok(&["verify", "repo"]);
    trap.host.ok(&["restore", "repo", "--into", "out"]);
    Listing::of(&trap.host.path("app")).is_like(&Listing::of(&trap.host.path("out")), Alike::Fully);
    assert!(Path::new(&trap.folder).is_dir());
}
