//! Paths that a person names out of many: what they stand for, and which of them stand for nothing.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::paths;

/// Names, each with all that lies below it; everything where nothing is named. A look costs what a path has parts,
/// however many names there are.
#[derive(Clone, Debug, Default)]
pub struct NamedPaths {
    /// Each name, and whether anything was met that it stands for.
    named: BTreeMap<PathBuf, bool>,
    /// The directories on the way to them.
    above: HashSet<PathBuf>,
}

impl NamedPaths {
    /// Of names as they were typed.
    pub fn new<'a>(named: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let mut known = Self::default();
        for name in named {
            let name = paths::tidy(name);
            known.above.extend(name.ancestors().skip(1).map(Path::to_owned));
            known.named.insert(name, false);
        }
        known
    }

    /// The names, in one spelling and order; none where that means everything.
    pub fn names(&self) -> Vec<PathBuf> {
        if self.named.contains_key(Path::new("")) { Vec::new() } else { self.named.keys().cloned().collect() }
    }

    /// Whether a path is meant.
    pub fn contains(&self, path: &Path) -> bool {
        self.named.is_empty() || lineage(path).any(|above| self.named.contains_key(above))
    }

    /// Whether a path is meant; every name that stands for it is known from now on.
    pub fn meet(&mut self, path: &Path) -> bool {
        let mut is_meant = self.named.is_empty();
        for above in lineage(path) {
            if let Some(met) = self.named.get_mut(above) {
                (*met, is_meant) = (true, true);
            }
        }
        is_meant
    }

    /// Whether a directory lies on the way to something that is meant.
    pub fn leads_through(&self, directory: &Path) -> bool {
        self.above.contains(directory)
    }

    /// The names that stood for nothing that was met.
    pub fn unknown(&self) -> impl Iterator<Item = &Path> {
        self.named.iter().filter(|(_, met)| !**met).map(|(name, _)| name.as_path())
    }
}

/// A path and all that it lies below; an absolute one, of a directory beside the storage, lies below the whole as well.
fn lineage(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().chain(path.has_root().then_some(Path::new("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_all_below_them_and_for_nothing_else() {
        let mut named = NamedPaths::new(&["a/b/".into(), "./c".into(), "d".into()]);
        assert!(named.contains(Path::new("a/b/x/y")) && named.contains(Path::new("c")));
        for other in ["", "a", "a/bc", "cc", "e/d"] {
            assert!(!named.contains(Path::new(other)), "{other}");
        }
        assert!(named.leads_through(Path::new("a")) && named.leads_through(Path::new("")));
        assert!(!named.leads_through(Path::new("a/b")) && !named.leads_through(Path::new("e")));
        assert!(named.meet(Path::new("a/b/x")) && named.meet(Path::new("c")) && !named.meet(Path::new("a")));
        assert_eq!(named.unknown().collect::<Vec<_>>(), [Path::new("d")]);
        assert_eq!(named.names(), ["a/b", "c", "d"].map(PathBuf::from));
    }

    #[test]
    fn nothing_named_and_the_whole_named_are_everything() {
        for given in [vec![], vec![PathBuf::from("."), "x".into()]] {
            let mut named = NamedPaths::new(&given);
            assert!(named.contains(Path::new("")) && named.meet(Path::new("x/y")) && named.names().is_empty());
            assert!(named.contains(Path::new("/mnt/logs/edb.log")));
            assert_eq!(named.unknown().count(), 0);
        }
    }
}
