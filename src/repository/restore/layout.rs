//! Where each root of a backup is restored to. Roots whose directories lie in each other are restored as one tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::destination::resolve;
use super::target::NotGiven;
use crate::error::{Error, Jet, Result, printable};
use crate::paths;
use crate::roots::{self, DATA, Roots};

/// A root and the directory that it goes to, as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The root.
    pub root: String,
    /// The directory.
    pub into: PathBuf,
}

/// Where the roots of a backup go.
#[derive(Clone, Debug)]
pub struct Layout {
    roots: Roots,
    storage: PathBuf,
    places: Vec<Place>,
    trees: Vec<PathBuf>,
}

/// Where one root was, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Mapped<'a> {
    /// The root.
    pub root: &'a str,
    /// Where it was when it was backed up.
    pub from: &'a Path,
    /// Where it goes, as given.
    pub given: &'a Path,
    /// The same, absolute and through links.
    pub into: &'a Path,
    /// The number of its tree.
    pub tree: usize,
}

/// Where one root goes.
#[derive(Clone, Debug)]
struct Place {
    root: String,
    given: PathBuf,
    into: PathBuf,
    tree: usize,
    /// Its path from the tree's own.
    prefix: PathBuf,
}

impl Layout {
    /// Resolves what was given. Unknown roots and those that are mapped twice are exit 2; what is not mapped shows when
    /// something of it is meant.
    pub fn new(roots: &Roots, storage: &Path, mappings: &[Mapping]) -> Result<Self> {
        let mut layout =
            Self { roots: roots.clone(), storage: storage.to_owned(), places: Vec::new(), trees: Vec::new() };
        let mut targets: Vec<(Mapping, PathBuf)> = Vec::new();
        for mapping in mappings {
            if !roots.knows(&mapping.root) {
                let message = format!("the backup has no root {}", printable(&mapping.root));
                return Err(Error::jet(Jet::InvalidParameter, message).hint(layout.describe_all()));
            }
            if let Some((other, _)) = targets.iter().find(|(other, _)| other.root == mapping.root) {
                let (root, one, other) = (&mapping.root, printable(&other.into), printable(&mapping.into));
                let message = format!("{root} cannot go to two directories, {one} and {other}");
                return Err(Error::jet(Jet::InvalidParameter, message).hint("--into DIR means --map data=DIR."));
            }
            let absolute = std::path::absolute(&mapping.into).map_err(|e| Error::io("find", &mapping.into, &e))?;
            targets.push((mapping.clone(), absolute));
        }
        // Those above first: what lies in one that is still to be made has no other path.
        targets.sort_by_key(|(_, absolute)| absolute.as_os_str().len());
        let mut resolved: Vec<(PathBuf, PathBuf)> = Vec::new();
        for (mapping, absolute) in targets {
            let within = resolved.iter().find_map(|(above, place)| {
                let rest = absolute.strip_prefix(above).ok()?;
                paths::stays_below(rest).then(|| place.join(rest))
            });
            let into = match (resolve(&mapping.into), within) {
                (Err(_), Some(within)) => within,
                (found, _) => found?,
            };
            resolved.push((absolute, into.clone()));
            layout.places.push(Place {
                root: mapping.root,
                given: mapping.into,
                into,
                tree: 0,
                prefix: PathBuf::new(),
            });
        }
        layout.gather_trees();
        Ok(layout)
    }

    /// Finds out which directories lie in which. The tree with the databases comes last: no engine finds databases whose
    /// logs are still to come.
    fn gather_trees(&mut self) {
        let all: Vec<PathBuf> = self.places.iter().map(|place| place.into.clone()).collect();
        let top_of = |path: &Path| {
            let above = all.iter().filter(|other| path.starts_with(other));
            above.min_by_key(|other| other.as_os_str().len()).cloned().unwrap_or_default()
        };
        let tops: BTreeSet<PathBuf> = all.iter().map(|path| top_of(path)).collect();
        self.trees = tops.into_iter().collect();
        let last = self.places.iter().find(|place| place.root == DATA).map(|place| top_of(&place.into));
        self.trees.sort_by_key(|tree| Some(tree) == last.as_ref());
        for place in &mut self.places {
            let top = top_of(&place.into);
            place.tree = self.trees.iter().position(|tree| *tree == top).unwrap_or_default();
            place.prefix = place.into.strip_prefix(&top).map(Path::to_owned).unwrap_or_default();
        }
    }

    /// The directories that are made, in the order in which they get their names.
    pub fn trees(&self) -> &[PathBuf] {
        &self.trees
    }

    /// Whether several roots go into one tree.
    pub fn is_shared(&self, tree: usize) -> bool {
        self.places.iter().filter(|place| place.tree == tree).count() > 1
    }

    /// Which tree something goes to, and its path there; none where its root is not mapped.
    pub fn place(&self, root: &str, path: &Path) -> Option<(usize, PathBuf)> {
        let place = self.places.iter().find(|place| place.root == root)?;
        Some((place.tree, roots::below(&place.prefix, path)))
    }

    /// What something is called in the backup.
    pub fn name(&self, root: &str, path: &Path) -> PathBuf {
        self.roots.name(root, path).unwrap_or_default()
    }

    /// The same with a path that says which tree is meant, where there are several.
    pub fn shown(&self, tree: usize, what: NotGiven) -> NotGiven {
        match self.trees.get(tree).filter(|_| self.trees.len() > 1) {
            Some(tree) => NotGiven { path: roots::below(tree, &what.path), ..what },
            None => what,
        }
    }

    /// Where each root goes that is mapped.
    pub fn mapped(&self) -> impl Iterator<Item = Mapped<'_>> {
        self.places.iter().map(|place| {
            let Place { root, given, into, tree, .. } = place;
            Mapped { root, from: self.origin(root), given, into, tree: *tree }
        })
    }

    fn origin(&self, root: &str) -> &Path {
        self.roots.get(root).map_or(&self.storage, |root| &root.path)
    }

    fn describe(&self, root: &str) -> String {
        format!("{root} (from {})", printable(self.origin(root)))
    }

    fn describe_all(&self) -> String {
        let names = [DATA].into_iter().chain(self.roots.iter().map(|root| root.name.as_str()));
        format!("It has: {}.", names.map(|name| self.describe(name)).collect::<Vec<_>>().join(", "))
    }

    /// The error of roots of which something is meant, and that go nowhere.
    pub fn unmapped(&self, id: &str, roots: &BTreeSet<String>) -> Error {
        let names: Vec<_> = roots.iter().map(|root| self.describe(root)).collect();
        let options = roots.iter().map(|root| match root.as_str() {
            DATA => "--into DIR".to_owned(),
            further => format!("--map {further}=DIR"),
        });
        let options: Vec<_> = options.collect();
        let message = format!("{id} holds {}, and nothing says where that goes", names.join(" and "));
        let hint = format!(
            "Add {}. Each is a directory that is empty or not there yet; several may be the same one, or lie in each other.",
            options.join(" ")
        );
        Error::jet(Jet::InvalidParameter, message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(folder: &Path, mappings: &[(&str, &str)]) -> Result<Layout> {
        let mut roots = Roots::default();
        roots.add("logs", "/mnt/logs".into()).expect("a root");
        roots.add("checkpoint", "/mnt".into()).expect("a root");
        let mappings: Vec<_> =
            mappings.iter().map(|(root, into)| Mapping { root: (*root).to_owned(), into: folder.join(into) }).collect();
        Layout::new(&roots, Path::new("/srv/db"), &mappings)
    }

    #[test]
    fn directories_in_each_other_are_one_tree_and_databases_come_last() {
        let home = tempfile::tempdir().expect("temporary directory");
        let folder = home.path().canonicalize().expect("found");
        let place = |mappings: &[(&str, &str)], root: &str| {
            let layout = layout(&folder, mappings).expect("a layout");
            let (tree, path) = layout.place(root, Path::new("x")).expect("mapped");
            let place = layout.trees()[tree].join(path);
            (layout.trees().len(), tree, place.strip_prefix(&folder).expect("below").to_str().expect("text").to_owned())
        };
        let apart = [("data", "a"), ("logs", "b"), ("checkpoint", "c")];
        assert_eq!(place(&apart, "data"), (3, 2, "a/x".to_owned()));
        assert_eq!(place(&apart, "logs"), (3, 0, "b/x".to_owned()));
        let within = [("logs", "a/logs"), ("data", "a"), ("checkpoint", "a")];
        assert_eq!(place(&within, "logs"), (1, 0, "a/logs/x".to_owned()));
        assert_eq!(place(&within, "checkpoint"), (1, 0, "a/x".to_owned()));
        let above = [("data", "a/db"), ("logs", "a"), ("checkpoint", "b")];
        assert_eq!(place(&above, "data"), (2, 1, "a/db/x".to_owned()));
        assert_eq!(place(&above, "checkpoint"), (2, 0, "b/x".to_owned()));
        assert!(layout(&folder, &[("data", "no/such")]).is_err());
        assert!(layout(&folder, &[("data", "a"), ("logs", "a/../../b/c")]).is_err());
        for bad in [&[("other", "a")][..], &[("logs", "a"), ("logs", "b")]] {
            assert_eq!(layout(&folder, bad).expect_err("refused").exit_code().number(), 2);
        }
        let only = layout(&folder, &[("data", "a")]).expect("a layout");
        assert_eq!(only.place("logs", Path::new("x")), None);
    }
}
