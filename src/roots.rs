//! The directories that a session takes files from: the storage, and further ones, such as that of logs on a volume of
//! their own.
//!
//! A file has one name wherever a person meets it: below the storage the path from there, below a further root its
//! absolute path. In a backup it lies below the folder of its root: `data/`, `data.logs/`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::paths;

/// What the storage itself is called as a root.
pub const DATA: &str = "data";
/// The root of logs that do not lie below the storage.
pub const LOGS: &str = "logs";
/// The root of a checkpoint that lies neither below the storage nor beside the logs.
pub const CHECKPOINT: &str = "checkpoint";

/// The longest name of a root that is believed.
const NAME_BYTES_MAX: usize = 32;

/// A further root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its name: small letters, and not `data`.
    pub name: String,
    /// The directory, absolute.
    pub path: PathBuf,
}

/// The further roots of a session or backup, by which a name is found below one of them and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Roots(Vec<Root>);

/// A root as JSON holds it.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    name: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl TryFrom<Vec<Line>> for Roots {
    type Error = String;

    fn try_from(lines: Vec<Line>) -> Result<Self, String> {
        let mut roots = Self::default();
        for Line { name, path, path_base64 } in lines {
            let path = paths::from_fields(&path, path_base64.as_deref());
            let path = path.ok_or_else(|| format!("the path of the root {name:?} cannot be read"))?;
            roots.add(&name, path)?;
        }
        Ok(roots)
    }
}

impl From<Roots> for Vec<Line> {
    fn from(roots: Roots) -> Self {
        let line = |Root { name, path }: Root| {
            let (path, path_base64) = paths::to_fields(&path);
            Line { name, path, path_base64 }
        };
        roots.0.into_iter().map(line).collect()
    }
}

impl Roots {
    /// Adds a root; whatever could lead elsewhere, or stand for two, is refused with the reason.
    pub fn add(&mut self, name: &str, path: PathBuf) -> Result<(), String> {
        if !is_root_name(name) || name == DATA {
            return Err(format!("no further root can be called {name:?}"));
        }
        if !is_absolute_name(&path) {
            return Err(format!("the root {name:?} has a path that none can have"));
        }
        if self.0.iter().any(|root| root.name == name || root.path == path) {
            return Err(format!("the root {name:?} is named twice"));
        }
        self.0.push(Root { name: name.to_owned(), path });
        Ok(())
    }

    /// Whether there is only the storage.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The further roots.
    pub fn iter(&self) -> impl Iterator<Item = &Root> {
        self.0.iter()
    }

    /// The further root of this name.
    pub fn get(&self, name: &str) -> Option<&Root> {
        self.0.iter().find(|root| root.name == name)
    }

    /// Whether files of this root may be there.
    pub fn knows(&self, root: &str) -> bool {
        root == DATA || self.get(root).is_some()
    }

    /// The root that a name lies below, and the path from there; none for an absolute path below no root.
    pub fn place<'a>(&self, name: &'a Path) -> Option<(&str, &'a Path)> {
        if !name.has_root() {
            return Some((DATA, name));
        }
        let below = self.0.iter().filter_map(|root| Some((root, name.strip_prefix(&root.path).ok()?)));
        let (root, path) = below.max_by_key(|(root, _)| root.path.as_os_str().len())?;
        Some((&root.name, path))
    }

    /// What a file is called that lies below a root; none where there is no such root.
    pub fn name(&self, root: &str, path: &Path) -> Option<PathBuf> {
        if root == DATA {
            return Some(path.to_owned());
        }
        let root = &self.get(root)?.path;
        Some(if path.as_os_str().is_empty() { root.clone() } else { root.join(path) })
    }
}

/// The folder of a root's files in a backup; none for a name that no root has.
pub fn folder_of(root: &str) -> Option<PathBuf> {
    match root {
        DATA => Some(PathBuf::from(DATA)),
        further => is_root_name(further).then(|| PathBuf::from(format!("{DATA}.{further}"))),
    }
}

/// The root whose files a folder of a backup holds; none for another folder.
pub fn root_of(folder: &str) -> Option<&str> {
    let root = if folder == DATA { DATA } else { folder.strip_prefix(DATA)?.strip_prefix('.')? };
    (root != DATA || folder == DATA).then_some(root).filter(|root| is_root_name(root))
}

/// A path below a folder, the folder itself where the path is empty.
pub fn below(folder: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { folder.to_owned() } else { folder.join(path) }
}

/// Whether a session may call a file so: a path that goes down, or an absolute one, written as the kernel has it.
pub fn is_name(path: &Path) -> bool {
    paths::stays_below(path) || is_absolute_name(path)
}

fn is_absolute_name(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let is_down = |part: Component| matches!(part, Component::RootDir | Component::Normal(_));
    path.has_root()
        && path.components().all(is_down)
        && path.components().collect::<PathBuf>().as_os_str().as_bytes() == bytes
        && bytes.len() <= paths::BYTES_MAX
        && !bytes.contains(&0)
}

fn is_root_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn roots(of: &[(&str, &str)]) -> Result<Roots, String> {
        let mut roots = Roots::default();
        of.iter().try_for_each(|(name, path)| roots.add(name, PathBuf::from(path)))?;
        Ok(roots)
    }

    #[test]
    fn a_name_leads_to_one_place_and_back() {
        let roots = roots(&[("logs", "/mnt/logs"), ("checkpoint", "/mnt")]).expect("roots");
        for (name, root, path) in [
            ("", "data", ""),
            ("sub/a.edb", "data", "sub/a.edb"),
            ("/mnt/logs", "logs", ""),
            ("/mnt/logs/edb.log", "logs", "edb.log"),
            ("/mnt/edb.chk", "checkpoint", "edb.chk"),
            ("/mnt/logsuffix", "checkpoint", "logsuffix"),
        ] {
            assert_eq!(roots.place(Path::new(name)), Some((root, Path::new(path))), "{name}");
            assert_eq!(roots.name(root, Path::new(path)), Some(PathBuf::from(name)), "{name}");
        }
        assert_eq!(roots.place(Path::new("/etc/passwd")), None);
        assert_eq!(roots.name("other", Path::new("a")), None);
    }

    #[test]
    fn no_root_leads_elsewhere_or_stands_for_two() {
        for bad in ["", "data", "../x", "a/b", "A", "a.b", "lögs", "a1", "abcdefghijklmnopqrstuvwxyzabcdefg"] {
            assert!(roots(&[(bad, "/mnt")]).is_err(), "{bad}");
        }
        for bad in ["", "mnt", "./mnt", "../mnt", "/mnt/../etc", "/mnt/", "//mnt", "/mnt/./a", "/a\0b"] {
            assert!(roots(&[("logs", bad)]).is_err(), "{bad}");
        }
        assert!(roots(&[("logs", "/a"), ("logs", "/b")]).is_err());
        assert!(roots(&[("logs", "/a"), ("checkpoint", "/a")]).is_err());
        assert!(roots(&[("logs", "/"), ("checkpoint", "/a")]).is_ok());
        assert_eq!((folder_of("data"), folder_of("../x")), (Some("data".into()), None));
        assert_eq!(folder_of("logs"), Some("data.logs".into()));
        for (folder, root) in
            [("data", Some("data")), ("data.logs", Some("logs")), ("data.data", None), ("blocks", None)]
        {
            assert_eq!(root_of(folder), root, "{folder}");
        }
    }

    #[test]
    fn roots_are_the_same_after_json() {
        let mut roots = roots(&[("checkpoint", "/")]).expect("roots");
        roots.add("logs", PathBuf::from(OsString::from_vec(b"/mnt/l\xffgs".to_vec()))).expect("added");
        let text = serde_json::to_string(&roots).expect("written");
        assert_eq!(serde_json::from_str::<Roots>(&text).expect("read"), roots);
        for bad in [
            r#"[{"name":"data","path":"/a"}]"#,
            r#"[{"name":"logs","path":"../a"}]"#,
            r#"[{"name":"logs","path":"/a","path_base64":"?"}]"#,
            r#"[{"name":"logs","path":"/a"},{"name":"logs","path":"/b"}]"#,
        ] {
            assert!(serde_json::from_str::<Roots>(bad).is_err(), "{bad}");
        }
    }
}
