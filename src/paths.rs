//! Paths as JSON holds them: text, lossy where it must be, with the exact bytes beside it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of the longest path that is taken or believed: deeper than anybody's, and short enough for a line of a list.
pub const BYTES_MAX: usize = 128 * 1024;

/// The text of a path, and its bytes in base64 where the text does not say it all.
pub fn to_fields(path: &Path) -> (String, Option<String>) {
    match path.to_str() {
        Some(text) => (text.to_owned(), None),
        None => (path.to_string_lossy().into_owned(), Some(STANDARD.encode(path.as_os_str().as_bytes()))),
    }
}

/// The same of a path that may not be there.
pub fn to_optional_fields(path: Option<&Path>) -> (Option<String>, Option<String>) {
    match path.map(to_fields) {
        Some((text, base64)) => (Some(text), base64),
        None => (None, None),
    }
}

/// The path of two such fields; none where the base64 is not base64.
pub fn from_fields(text: &str, base64: Option<&str>) -> Option<PathBuf> {
    match base64 {
        None => Some(PathBuf::from(text)),
        Some(encoded) => STANDARD.decode(encoded).ok().map(|bytes| PathBuf::from(OsString::from_vec(bytes))),
    }
}

/// Adds `key` and, where needed, `key_base64` to a JSON object.
pub fn insert(object: &mut serde_json::Map<String, serde_json::Value>, key: &str, path: &Path) {
    let (text, base64) = to_fields(path);
    object.insert(key.to_owned(), text.into());
    if let Some(base64) = base64 {
        object.insert(format!("{key}_base64"), base64.into());
    }
}

/// Adds `key`, a list of paths as text, and `key_base64` beside it where one of them is not UTF-8 (null for the others).
pub fn insert_list(object: &mut serde_json::Map<String, serde_json::Value>, key: &str, paths: &[PathBuf]) {
    let (text, base64): (Vec<_>, Vec<_>) = paths.iter().map(|path| to_fields(path)).unzip();
    object.insert(key.to_owned(), text.into());
    if base64.iter().any(Option::is_some) {
        object.insert(format!("{key}_base64"), base64.into());
    }
}

/// `./a//b/` means `a/b`, as a shell's completion may write it; `.` is the empty path.
pub fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

/// Whether the path only goes down: relative, not empty, no `..`, no `.`.
pub fn stays_below(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Paths in files that only jetbak reads: their bytes, in base64.
pub mod as_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a path.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(path.as_os_str().as_bytes()))
    }

    /// Reads a path.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(PathBuf::from(OsString::from_vec(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_name_is_lost(bytes in proptest::collection::vec(1u8.., 0..40)) {
            let path = PathBuf::from(OsString::from_vec(bytes));
            let (text, base64) = to_fields(&path);
            prop_assert_eq!(from_fields(&text, base64.as_deref()), Some(path));
        }
    }

    #[test]
    fn a_path_as_a_shell_completes_it_is_tidied() {
        for (given, tidied) in [("./a//b/", "a/b"), (".", ""), ("a/./b", "a/b"), ("/a/../b", "/a/../b"), ("./-x", "-x")]
        {
            assert_eq!(tidy(Path::new(given)).as_os_str(), tidied, "{given}");
        }
    }

    #[test]
    fn only_paths_that_go_down_stay_below() {
        for good in ["a", "a/b", "…", "a..b"] {
            assert!(stays_below(Path::new(good)), "{good}");
        }
        for bad in ["", "/", "/a", "..", "a/../b", "./..", "./a"] {
            assert!(!stays_below(Path::new(bad)), "{bad}");
        }
    }
}
