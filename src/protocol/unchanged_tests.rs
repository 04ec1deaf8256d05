//! Merging two lists, against a model that looks every path up.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

const BEGAN_NS: i128 = 100_000_000_000;

/// What a file system says of a file, in a few values each, so that most of them meet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    role: Role,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    inode: u64,
}

impl Seen {
    fn entry(&self, path: &Path) -> Entry {
        let Self { role, size, modified_ns, changed_ns, inode } = *self;
        Entry { modified_ns, changed_ns, inode, ..Entry::new(path, role, size) }
    }

    fn known(&self, path: &Path) -> Known<PathBuf> {
        Known {
            path: path.to_owned(),
            role: self.role,
            size: self.size,
            modified_ns: Some(self.modified_ns),
            changed_ns: Some(self.changed_ns),
            inode: self.inode,
            hard_link: None,
            began_ns: BEGAN_NS,
            is_more_than_its_file: false,
            line: path.to_owned(),
        }
    }
}

/// Lists in memory.
#[derive(Default)]
struct Lists {
    lines: VecDeque<Known<PathBuf>>,
    hunks: Vec<Hunk>,
    carried: Vec<PathBuf>,
}

impl Ends<PathBuf> for Lists {
    fn next_line(&mut self) -> Result<Option<Known<PathBuf>>> {
        Ok(self.lines.pop_front())
    }

    fn hunk(&mut self, hunk: Hunk) -> Result<()> {
        self.hunks.push(hunk);
        Ok(())
    }

    fn carried(&mut self, known: Known<PathBuf>) -> Result<()> {
        self.carried.push(known.line);
        Ok(())
    }
}

/// What came of a merge.
struct Merged {
    /// The list to be.
    list: Vec<PathBuf>,
    same: Vec<PathBuf>,
    /// What is read, and the line that it is compared with.
    read: Vec<(PathBuf, Option<PathBuf>)>,
    parted: Vec<PathBuf>,
    carried: Vec<PathBuf>,
    is_out_of_order: bool,
}

fn merge(terms: Terms, lines: &[Known<PathBuf>], entries: &[Entry]) -> Merged {
    let ends = Lists { lines: lines.iter().cloned().collect(), ..Lists::default() };
    let mut merge = Merge::new(terms, ends);
    let (mut same, mut read, mut parted) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match merge.meet(entry).expect("memory") {
            Verdict::Same(known) => same.push(known.line),
            Verdict::Read { base, is_parted, .. } => {
                read.push((entry.path.clone(), base));
                parted.extend(is_parted.then(|| entry.path.clone()));
            }
        }
    }
    merge.finish().expect("memory");
    let mut parents = lines.iter().map(|line| line.path.clone());
    let mut plan = read.iter().map(|(path, _)| path.clone());
    let mut list = Vec::new();
    for hunk in &merge.ends.hunks {
        for _ in 0..hunk.same {
            list.push(parents.next().expect("no more lines than the parent has"));
        }
        for _ in 0..hunk.gone {
            parents.next().expect("no more lines than the parent has");
        }
        for _ in 0..hunk.read {
            list.push(plan.next().expect("no more entries than are read"));
        }
    }
    assert_eq!((parents.next(), plan.next()), (None, None), "everything is said");
    let is_out_of_order = merge.is_out_of_order();
    Merged { list, same, read, parted, carried: merge.ends.carried, is_out_of_order }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![4 => Just(Role::Database), 1 => Just(Role::Directory), 1 => Just(Role::Link), 1 => Just(Role::Other)]
}

fn seen() -> impl Strategy<Value = Seen> {
    let changed_ns = prop_oneof![4 => Just(7), 1 => Just(8), 1 => Just(BEGAN_NS - UNSURE_NS), 1 => Just(BEGAN_NS)];
    (role(), 0..2_u64, 0..2_i128, changed_ns, prop_oneof![1 => Just(0_u64), 9 => 1..3_u64])
        .prop_map(|(role, size, modified_ns, changed_ns, inode)| Seen { role, size, modified_ns, changed_ns, inode })
}

/// Trees with names around the slash: `a`, `a/b`, `a-b` and the like.
fn tree() -> impl Strategy<Value = BTreeMap<PathBuf, Seen>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("a-b"), Just("a.b"), Just("a\u{1}"), Just("ab")];
    let path = prop::collection::vec(name, 0..4).prop_map(|names| names.into_iter().collect::<PathBuf>());
    prop::collection::btree_map(path, seen(), 0..12)
}

proptest! {
    #[test]
    fn a_merge_says_what_looking_every_path_up_says(
        parent in tree(),
        mut now in tree(),
        kept in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ignore_metadata in prop::bool::weighted(0.1),
        carries_databases in prop::bool::weighted(0.3),
    ) {
        for index in kept {
            // Most files of a storage are as they were.
            if let Some((path, seen)) = parent.iter().nth(index.index(parent.len().max(1))) {
                now.insert(path.clone(), seen.clone());
            }
        }
        let terms = Terms { ignore_metadata, carries_databases };
        let lines: Vec<_> = parent.iter().map(|(path, seen)| seen.known(path)).collect();
        let entries: Vec<_> = now.iter().map(|(path, seen)| seen.entry(path)).collect();
        let merged = merge(terms, &lines, &entries);

        let is_same = |path: &PathBuf, seen: &Seen| {
            !ignore_metadata && seen.inode != 0 && seen.changed_ns < BEGAN_NS - UNSURE_NS && parent.get(path) == Some(seen)
        };
        let same: Vec<_> = now.iter().filter(|(path, seen)| is_same(path, seen)).map(|(path, _)| path.clone()).collect();
        let read: Vec<_> = now
            .iter()
            .filter(|(path, seen)| !is_same(path, seen))
            .map(|(path, _)| (path.clone(), parent.contains_key(path).then(|| path.clone())))
            .collect();
        let is_carried = |(path, seen): &(&PathBuf, &Seen)| {
            carries_databases && seen.role == Role::Database && !now.contains_key(*path)
        };
        let carried: Vec<_> = parent.iter().filter(is_carried).map(|(path, _)| path.clone()).collect();
        let mut list: Vec<_> = now.keys().chain(&carried).cloned().collect();
        list.sort_by(|a, b| walk_order(a, b));
        prop_assert_eq!(merged.same, same);
        prop_assert_eq!(merged.read, read);
        prop_assert_eq!(merged.carried, carried);
        prop_assert_eq!(merged.list, list);
        prop_assert!(!merged.is_out_of_order && merged.parted.is_empty());
    }

    #[test]
    fn lists_in_another_order_lose_nothing_and_take_nothing_over_wrongly(
        parent in tree(),
        now in tree(),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..4),
        carries_databases in any::<bool>(),
    ) {
        let mut lines: Vec<_> = parent.iter().map(|(path, seen)| seen.known(path)).collect();
        let mut entries: Vec<_> = now.iter().map(|(path, seen)| seen.entry(path)).collect();
        for (a, b, of_parent) in swaps {
            match of_parent {
                true if !lines.is_empty() => lines.swap(a.index(parent.len()), b.index(parent.len())),
                false if !entries.is_empty() => entries.swap(a.index(now.len()), b.index(now.len())),
                _ => {}
            }
        }
        let merged = merge(Terms { carries_databases, ..Terms::default() }, &lines, &entries);
        for path in &merged.same {
            prop_assert_eq!(parent.get(path), now.get(path));
        }
        let mut list = merged.list;
        let mut expected: Vec<_> = now.keys().chain(&merged.carried).cloned().collect();
        list.sort();
        expected.sort();
        prop_assert_eq!(list, expected);
    }

    #[test]
    fn walk_order_is_that_of_names_on_the_way_down(a in tree(), b in tree()) {
        for (a, b) in a.keys().zip(b.keys()) {
            prop_assert_eq!(walk_order(a, b), a.components().cmp(b.components()));
        }
    }
}

fn file(inode: u64) -> Seen {
    Seen { role: Role::Database, size: 5, modified_ns: 1, changed_ns: 1, inode }
}

fn named(inode: u64, path: &str, first: Option<&str>) -> (Known<PathBuf>, Entry) {
    let hard_link = first.map(PathBuf::from);
    let (known, entry) = (file(inode).known(Path::new(path)), file(inode).entry(Path::new(path)));
    (Known { hard_link: hard_link.clone(), ..known }, Entry { hard_link, ..entry })
}

#[test]
fn another_name_goes_with_the_file_whose_name_it_is() {
    let (lines, entries): (Vec<_>, Vec<_>) = [named(1, "a", None), named(1, "b", Some("a"))].into_iter().unzip();
    let merged = merge(Terms::default(), &lines, &entries);
    assert_eq!(merged.same, [Path::new("a"), Path::new("b")]);

    // The file is read: so are its names.
    let read = [Entry { changed_ns: 2, ..entries[0].clone() }, entries[1].clone()];
    let merged = merge(Terms::default(), &lines, &read);
    assert_eq!((merged.read.len(), merged.parted.len()), (2, 0));

    // A name that came while the list was made: the file itself is taken over, and has no record that a name could use.
    let late = [entries[0].clone(), Entry { changed_ns: 2, ..entries[1].clone() }];
    let merged = merge(Terms::default(), &lines, &late);
    assert_eq!((merged.same, merged.parted), (vec![PathBuf::from("a")], vec![PathBuf::from("b")]));
}

#[test]
fn what_lies_beside_the_storage_comes_after_it() {
    let order = |a: &str, b: &str| walk_order(Path::new(a), Path::new(b));
    assert_eq!(order("zz", "/mnt/logs"), Ordering::Less);
    assert_eq!(order("", "a"), Ordering::Less);
    assert_eq!(order("/mnt", "/mnt/logs"), Ordering::Less);
}

#[test]
fn a_run_without_changes_is_one_piece() {
    let hunks = |lines: &[Known<PathBuf>], entries: &[Entry]| {
        let ends = Lists { lines: lines.iter().cloned().collect(), ..Lists::default() };
        let mut merge = Merge::new(Terms::default(), ends);
        for entry in entries {
            merge.meet(entry).expect("memory");
        }
        merge.finish().expect("memory");
        merge.ends.hunks
    };
    let (lines, entries): (Vec<_>, Vec<_>) = ["a", "b", "c"].map(|path| named(1, path, None)).into_iter().unzip();
    assert_eq!(hunks(&lines, &entries), [Hunk { same: 3, gone: 0, read: 0 }]);
    assert_eq!(hunks(&lines, &[]), [Hunk { same: 0, gone: 3, read: 0 }]);
    assert_eq!(hunks(&[], &entries), [Hunk { same: 0, gone: 0, read: 3 }]);
    assert_eq!(hunks(&[], &[]), []);
}

#[test]
fn whatever_the_clock_did_a_file_that_may_have_changed_is_read() {
    const S: i128 = 1_000_000_000;
    // When the parent began, when its file had changed, when the file has changed now, when it is compared; and whether it
    // is taken for unchanged.
    for (began, then, changed, now, is_same, why) in [
        (100, 50, 50, 200, true, "a clock that goes on"),
        (100, 50, 150, 200, false, "changed since"),
        (100, 97, 97, 200, false, "changed too shortly before"),
        (100, 96, 96, 200, true, "changed long enough before"),
        (100, 150, 150, 200, false, "changed while it was read"),
        (100, 300, 300, 200, false, "changed in the future, before the parent began"),
        (100, 300, 300, 400, false, "and the clock has come there"),
        (100, 50, 50, 100, true, "at once"),
        (300, 50, 50, 200, false, "the parent began in the future: 50 may have come again"),
        (300, 50, 150, 200, false, "and it changed since"),
        (300, 250, 250, 200, false, "the parent and its file are of the future"),
        (300, 350, 350, 200, false, "the file of a farther future than the parent"),
        (300, 50, 50, 400, true, "the clock has come by the parent"),
        (300, 200, 250, 400, false, "it had been set back, and the file changed"),
        (i128::MAX, 50, 50, 200, false, "no time at all"),
    ] {
        let known = Seen { changed_ns: then * S, ..file(1) }.known(Path::new("a"));
        let known =
            Known { began_ns: vouches_until(if began == i128::MAX { began } else { began * S }, now * S), ..known };
        let entry = Seen { changed_ns: changed * S, ..file(1) }.entry(Path::new("a"));
        let merged = merge(Terms::default(), &[known], &[entry]);
        assert_eq!(!merged.same.is_empty(), is_same, "{why}");
    }
}
