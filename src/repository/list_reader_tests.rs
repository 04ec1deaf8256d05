use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::repository::local::LocalStore;
use crate::repository::sha256_hex;

/// What the tests think of a list: the names in it, and in whose list each stands.
type Model = Vec<(String, usize)>;

fn line(name: &str, more: &str) -> String {
    let sha256 = sha256_hex(name.as_bytes());
    format!(
        r#"{{"type":"file","path":"{name}","root":"data","role":"other","size":3,"sha256":"{sha256}"{more},"mode":"0644","uid":0,"gid":0,"inode":7}}"#
    ) + "\n"
}

fn id(number: usize) -> String {
    format!("{:06}-20261122T093015Z-incremental", number + 1)
}

/// The lists of a chain, the oldest first, on disk.
struct Lists {
    folder: TempDir,
    texts: Vec<String>,
    files: u64,
}

impl Lists {
    fn new(texts: Vec<String>, files: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Self { folder, texts, files: files as u64 }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(LocalStore::open(self.folder.path()).expect("opened"))
    }

    /// What the manifests say, of the lists as they were meant.
    fn expected(&self) -> Expected {
        let part = |(number, text): (usize, &String)| Part {
            id: id(number),
            folder: id(number).into(),
            files_sha256: sha256_hex(text.as_bytes()),
            files: self.files,
            bytes: 3 * self.files,
            began: jiff::Timestamp::UNIX_EPOCH,
        };
        let parts = self.texts.iter().enumerate().map(part).rev().collect();
        Expected { parts, roots: Roots::default(), is_cut: false }
    }

    fn write(&self) -> Arc<dyn Store> {
        let store = self.store();
        for (number, text) in self.texts.iter().enumerate() {
            let folder = self.folder.path().join(id(number));
            fs::create_dir(&folder).expect("made");
            fs::write(folder.join("files.jsonl"), text).expect("written");
        }
        store
    }

    fn read(&self) -> Read {
        let store = self.write();
        read(&store, self.expected())
    }
}

#[derive(Debug)]
struct Read {
    lines: Vec<Resolved>,
    bad: Vec<String>,
    difference: Option<Difference>,
}

fn read(store: &Arc<dyn Store>, expected: Expected) -> Read {
    let mut list = ListReader::open(store, expected, false).expect("opened");
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    while let Some(line) = list.next_line().expect("read") {
        match line {
            Line::Sound(line) => lines.push(*line),
            Line::Bad(what) => bad.push(what),
        }
    }
    assert!(list.next_line().expect("read").is_none(), "the end stays the end");
    assert_eq!(list.is_damaged(), !bad.is_empty());
    Read { lines, bad, difference: list.difference() }
}

/// One step of a script.
#[derive(Clone, Debug)]
enum Step {
    Same(usize),
    Gone(usize),
    Own,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![(1..9_usize).prop_map(Step::Same), (1..9_usize).prop_map(Step::Gone), Just(Step::Own)]
}

/// Writes the script of a list on top of another one, and what it comes to.
fn script(number: usize, parent: &Model, steps: &[Step], rest_is_same: bool) -> (String, Model) {
    let (mut text, mut model, mut at) = (String::new(), Vec::new(), 0);
    let run = |run: Run| String::from_utf8(run.to_bytes()).expect("text");
    for (index, step) in steps.iter().enumerate() {
        let left = parent.len() - at;
        match *step {
            Step::Same(lines) if left > 0 => {
                let lines = lines.min(left);
                model.extend_from_slice(&parent[at..at + lines]);
                at += lines;
                text += &run(Run::Same { lines: lines as u64 });
            }
            Step::Gone(lines) if left > 0 => {
                let lines = lines.min(left);
                at += lines;
                text += &run(Run::Gone { lines: lines as u64 });
            }
            _ => {
                let name = format!("{number}-{index}");
                text += &line(&name, "");
                model.push((name, number));
            }
        }
    }
    let lines = (parent.len() - at) as u64;
    if lines > 0 && rest_is_same {
        model.extend_from_slice(&parent[at..]);
        text += &run(Run::Same { lines });
    } else if lines > 0 {
        text += &run(Run::Gone { lines });
    }
    (text, model)
}

fn chain() -> impl Strategy<Value = (Vec<String>, Model)> {
    vec((vec(step(), 0..12), any::<bool>()), 1..7).prop_map(|levels| {
        let (mut texts, mut model) = (Vec::new(), Vec::new());
        for (number, (steps, rest_is_same)) in levels.iter().enumerate() {
            let (text, next) = script(number, &model, steps, *rest_is_same);
            texts.push(text);
            model = next;
        }
        (texts, model)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_list_is_what_its_scripts_make_of_it((texts, model) in chain()) {
        let newest = texts.len() - 1;
        let lists = Lists::new(texts, model.len());
        let read = lists.read();
        prop_assert_eq!(&read.bad, &Vec::<String>::new());
        prop_assert_eq!(&read.difference, &None);
        let names: Model = read.lines.iter().map(|of| (of.line.path().expect("a path").display().to_string(), newest - of.link)).collect();
        prop_assert_eq!(&names, &model);
        for Resolved { line: of, link, offset } in &read.lines {
            let home = id(newest - link);
            prop_assert_eq!(of.held.as_ref().map(|held| &held.by), Some(&home).filter(|_| *link > 0));
            let name = of.path().expect("a path").display().to_string();
            let at = usize::try_from(*offset).expect("small");
            prop_assert!(lists.texts[newest - link][at..].starts_with(&line(&name, "")), "it stands where it says");
        }
    }

    #[test]
    fn no_damage_of_any_list_goes_unnoticed((texts, model) in chain(), level in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let lists = Lists::new(texts, model.len());
        let expected = lists.expected();
        let level = level.index(lists.texts.len());
        let mut damaged = lists.texts[level].clone().into_bytes();
        prop_assume!(!damaged.is_empty());
        let at = at.index(damaged.len());
        if cut { damaged.truncate(at) } else { damaged[at] ^= byte.max(1) }
        let store = lists.write();
        fs::write(lists.folder.path().join(id(level)).join("files.jsonl"), &damaged).expect("written");
        let difference = read(&store, expected.clone()).difference;
        let by = Some(id(level)).filter(|id| *id != expected.parts()[0].id);
        prop_assert!(matches!(&difference, Some(Difference::Hash { backup, .. }) if *backup == by), "{:?}", difference);
    }
}

fn run(run: Run) -> String {
    String::from_utf8(run.to_bytes()).expect("text")
}

fn three_lines() -> String {
    line("a", "") + &line("b", "") + &line("c", "")
}

#[test]
fn a_script_accounts_for_every_line_below_it_and_for_no_more() {
    let read = |script: String, files| Lists::new(vec![three_lines(), script], files).read();
    let same = |lines| run(Run::Same { lines });
    let good = read(same(3), 3);
    assert_eq!((good.lines.len(), good.bad.len(), good.difference), (3, 0, None));

    let rest = read(same(2), 2);
    assert_eq!(rest.bad, ["line 1 is the last one, and the list that it builds on has more"]);
    assert_eq!(rest.lines.len(), 2);
    assert_eq!(rest.difference, None, "every byte was read and is what it was");
    for past in [same(4), same(u64::MAX), same(3) + &same(1), same(3) + &run(Run::Gone { lines: 1 })] {
        let past = read(past, 3);
        assert!(past.bad[0].ends_with(": it goes on past the end of the list that it builds on"), "{:?}", past.bad);
        assert_eq!((past.lines.len(), past.bad.len()), (3, 1));
    }
    for nothing in [r#"{"type":"same","lines":0}"#, r#"{"type":"same"}"#, "{}", "[]", "\u{0}"] {
        let read = read(nothing.to_owned() + "\n" + &same(3), 3);
        assert_eq!(read.bad, ["line 1"], "{nothing}");
    }
}

#[test]
fn what_stands_alone_carries_nothing_over() {
    let read = Lists::new(vec![line("a", "") + &run(Run::Same { lines: 1 }) + &line("b", "")], 2).read();
    assert_eq!(read.bad, ["line 2: it builds on no other list"]);
    assert_eq!(read.lines.len(), 2);
    let read = Lists::new(vec![run(Run::Gone { lines: 1 }), run(Run::Same { lines: 1 })], 0).read();
    assert!(read.bad[0].contains(&format!("of the list of {}: it builds on no other list", id(0))), "{:?}", read.bad);
}

#[test]
fn content_is_held_by_what_is_older_and_by_nothing_else() {
    let held = |by: &str| line("d", &format!(r#","held":{{"by":"{by}"}}"#));
    let read = |own: String| Lists::new(vec![three_lines(), own + &run(Run::Same { lines: 3 })], 4).read();
    let good = read(held(&id(0)));
    assert!(good.bad.is_empty() && good.difference.is_none(), "{good:?}");
    assert_eq!(good.lines[0].line.held, Some(Held::new(&id(0), None)));
    for by in [id(1), id(2), "x".to_owned(), "../x".to_owned(), String::new()] {
        let read = read(held(&by));
        assert_eq!((read.bad.len(), read.lines.len()), (1, 3), "{by}");
    }
    for place in ["../data/d", "/data/d", "files.jsonl", "data", "blocks/data/d", "data.x1/d", "data/../d", "data//d"] {
        let more = format!(r#","held":{{"by":"{}","path":"{place}"}}"#, id(0));
        assert_eq!(read(line("d", &more)).bad, ["line 1"], "{place}");
    }
    let more = format!(r#","held":{{"by":"{}","path":"data.logs/x/d"}}"#, id(0));
    assert_eq!(read(line("d", &more)).lines[0].line.place(), Some("data.logs/x/d".into()));
}

#[test]
fn a_name_stands_in_a_list_once_whoever_brings_it() {
    let read = Lists::new(vec![three_lines(), line("b", "") + &run(Run::Same { lines: 3 })], 4).read();
    assert_eq!(read.bad, [format!("line 2 of the list of {}: data/b is named twice", id(0))]);
}

#[test]
fn another_name_may_be_of_a_file_that_was_carried_over() {
    let other = |more: &str| {
        let text = line("b", more).replace(&sha256_hex(b"b"), &sha256_hex(b"a"));
        Lists::new(vec![line("a", ""), run(Run::Same { lines: 1 }) + &text], 2).read()
    };
    let held = format!(r#","hard_link":"a","held":{{"by":"{}","path":"data/a"}}"#, id(0));
    let mut good = other(&held);
    assert!(good.bad.is_empty(), "{:?}", good.bad);
    assert_eq!(good.lines.remove(1).earlier("x").expect("has content").place, Path::new("data/a"));
    assert_eq!(other(r#","hard_link":"a""#).bad.len(), 1, "it would have to stand here");
    assert_eq!(other(&held.replace(r#"hard_link":"a"#, r#"hard_link":"z"#)).bad.len(), 1);
}

#[test]
fn only_what_a_backup_holds_itself_is_looked_for_in_its_folder() {
    let blocks = format!(r#","blocks":{{"bytes":9,"sha256":"{}","stored":0}}"#, sha256_hex(b"x"));
    let held = format!(r#","held":{{"by":"{}"}}"#, id(0));
    let own = line("sub/d", &blocks) + &line("e", &held) + &run(Run::Same { lines: 3 });
    let lists = Lists::new(vec![three_lines(), own], 5);
    let mut list = ListReader::open(&lists.write(), lists.expected(), false).expect("opened");
    while list.next_line().expect("read").is_some() {}
    let is_there = |path: &str| list.contains(Path::new(path));
    for path in ["data/sub/d", "data/sub", "data", "blocks/data/sub/d", "blocks/data/sub", "blocks"] {
        assert!(is_there(path), "{path}");
    }
    for path in ["data/a", "data/e", "blocks/data/e", "data/sub/e"] {
        assert!(!is_there(path), "{path}");
    }
    let mut sums = Sha256::new();
    sums.update(sums_line(&sha256_hex(b"sub/d"), Path::new("data/sub/d")));
    sums.update(sums_line(&sha256_hex(b"x"), Path::new("blocks/data/sub/d")));
    assert_eq!(list.sums().finalize(), sums.finalize());
}

#[test]
fn own_lines_can_be_read_without_what_they_build_on() {
    let own = run(Run::Gone { lines: 1 }) + &line("d", "") + &run(Run::Same { lines: 2 });
    let lists = Lists::new(vec![three_lines(), own], 3);
    let store = lists.write();
    store.remove(&Path::new(&id(0)).join("files.jsonl")).expect("removed");
    let error = ListReader::open(&store, lists.expected(), false).err().expect("missing");
    assert_eq!(error.exit_code(), ExitCode::Verification);
    assert!(error.message().contains(&id(0)), "{error}");
    let read = read(&store, lists.expected().cut());
    assert_eq!((read.lines.len(), read.bad.len(), read.difference), (1, 0, None));
}

#[test]
fn a_chain_of_thousands_needs_few_open_files() {
    let mut texts = vec![three_lines()];
    texts.extend(
        (1..3000).map(|number| {
            run(Run::Gone { lines: 1 }) + &run(Run::Same { lines: 2 }) + &line(&format!("n{number}"), "")
        }),
    );
    let read = Lists::new(texts, 3).read();
    assert!(read.bad.is_empty() && read.difference.is_none(), "{:?}", read.difference);
    let names: Vec<_> = read.lines.iter().map(|of| of.line.path().expect("a path").display().to_string()).collect();
    assert_eq!(names, ["n2997", "n2998", "n2999"]);
}

#[test]
fn what_a_line_says_of_its_content_goes_together() {
    let is_sound = |text: &str| {
        let line: FileLine = serde_json::from_str(text).expect("a line");
        line.is_sound()
    };
    let blocks = |stored: u64| format!(r#","blocks":{{"bytes":9,"sha256":"{}","stored":{stored}}}"#, sha256_hex(b"x"));
    let within = r#","within":"blocks""#;
    let without_hash = |text: String| {
        let (before, after) = text.split_once(r#","sha256":"#).expect("a hash");
        format!("{before}{}", &after[66..])
    };
    assert!(is_sound(&line("a", "")));
    assert!(is_sound(&line("a", &blocks(0))));
    assert!(!is_sound(&line("a", &blocks(1))), "what is beside the content holds none");
    assert!(is_sound(&line("a", &(blocks(3) + within))));
    assert!(!is_sound(&line("a", &(blocks(4) + within))), "more than there is");
    assert!(!is_sound(&line("a", within)));
    assert!(is_sound(&without_hash(line("a", &(blocks(0) + within)))));
    assert!(!is_sound(&without_hash(line("a", &blocks(0)))));
    assert!(!is_sound(&line("a", &blocks(0)).replace(&sha256_hex(b"x"), &"A".repeat(64))));
    let held = format!(r#","held":{{"by":"{}"}}"#, id(0));
    let directory = line("a", "").replace(r#""type":"file""#, r#""type":"directory""#).replace("other", "directory");
    assert!(is_sound(&directory));
    for more in [&held, &blocks(0), within] {
        assert!(!is_sound(&directory.replace(r#","mode""#, &format!(r#"{more},"mode""#))), "{more}");
    }
}
