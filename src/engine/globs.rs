//! Patterns for names, as `--log` and `--exclude` take them; they match bytes, so that no name is out of reach.
//!
//! `*` and `?` match within one name, `**` across directories, `[…]` one of several characters, `{a,b}` either; a
//! backslash takes the next character as it is. A pattern without a slash is matched with a name anywhere, one with a
//! slash with the path from the storage. `?` is one byte.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Jet, Result};

/// Patterns of the names of files.
pub fn compile(globs: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if glob.ends_with('/') {
            let message = format!("the pattern {glob:?} names no file");
            return Err(Error::jet(Jet::InvalidParameter, message));
        }
        add(&mut set, glob, glob)?;
    }
    build(&set)
}

fn add(set: &mut GlobSetBuilder, glob: &str, given: &str) -> Result<()> {
    if glob.trim().is_empty() {
        let message = format!("the pattern {given:?} names no file");
        return Err(Error::jet(Jet::InvalidParameter, message).hint("An empty one would take every file."));
    }
    let pattern = match glob.strip_prefix('/') {
        Some(anchored) => anchored.to_owned(),
        None if glob.contains('/') => glob.to_owned(),
        None => format!("**/{glob}"),
    };
    let compiled = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build().map_err(|e| {
        Error::jet(Jet::InvalidParameter, format!("the pattern {given:?} cannot be understood: {}", e.kind()))
    })?;
    set.add(compiled);
    Ok(())
}

fn build(set: &GlobSetBuilder) -> Result<GlobSet> {
    set.build().map_err(|e| Error::jet(Jet::InvalidParameter, format!("the patterns are too large: {e}")))
}

/// What `--exclude` names. A slash at the end of a pattern means directories only; a directory that is excluded takes
/// all below it along.
#[derive(Debug, Default)]
pub struct Excludes {
    given: Vec<String>,
    anything: Patterns,
    directories: Patterns,
}

#[derive(Debug, Default)]
struct Patterns {
    set: GlobSet,
    /// Which of those that were given each one is.
    given: Vec<usize>,
}

impl Excludes {
    /// Compiles what was given.
    pub fn new(given: &[String]) -> Result<Self> {
        let mut sets = [GlobSetBuilder::new(), GlobSetBuilder::new()];
        let mut indices = [Vec::new(), Vec::new()];
        for (index, glob) in given.iter().enumerate() {
            let only_directories = glob.strip_suffix('/');
            let place = usize::from(only_directories.is_some());
            add(&mut sets[place], only_directories.unwrap_or(glob), glob)?;
            indices[place].push(index);
        }
        let [anything, directories] = indices;
        Ok(Self {
            given: given.to_vec(),
            anything: Patterns { set: build(&sets[0])?, given: anything },
            directories: Patterns { set: build(&sets[1])?, given: directories },
        })
    }

    /// Whether nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The pattern that excludes a path, if one does.
    pub fn find(&self, path: &Path, is_directory: bool) -> Option<&str> {
        let find = |patterns: &Patterns| {
            if patterns.set.is_match(path) { patterns.set.matches(path).into_iter().next() } else { None }
                .map(|index| self.given[patterns.given[index]].as_str())
        };
        find(&self.anything).or_else(|| if is_directory { find(&self.directories) } else { None })
    }
}

/// The patterns of a file for `--exclude-from`: one a line; empty lines and those that begin with `#` say nothing.
pub fn parse_list(text: &[u8]) -> Result<Vec<String>, String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut globs = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line =
            std::str::from_utf8(line).map_err(|_| format!("line {number} is not UTF-8; match such bytes with `?`"))?;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('!') {
            let message =
                "begins with `!`, which does not take anything back in here; write `\\!` for a name that does";
            return Err(format!("line {number} {message}"));
        }
        globs.push(line.to_owned());
    }
    Ok(globs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitCode;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_pattern_without_a_slash_matches_names_and_bytes() {
        let matches = |glob: &str, path: &[u8]| {
            compile(&[glob.to_owned()]).expect("a pattern").is_match(Path::new(OsStr::from_bytes(path)))
        };
        assert!(matches("wal.*", b"wal.1") && matches("wal.*", b"deep/er/wal.1"));
        assert!(matches("logs/*.log", b"logs/1.log") && !matches("logs/*.log", b"logs/old/1.log"));
        assert!(matches("/wal.*", b"wal.1") && !matches("/wal.*", b"deep/wal.1"));
        assert!(matches("*.log", b"\xff\xfe.log"));
        for bad in ["", " ", "/", "./"] {
            assert!(compile(&[bad.to_owned()]).expect_err("no pattern").exit_code() == ExitCode::Usage, "{bad:?}");
        }
        assert!(compile(&["[".to_owned()]).expect_err("not a pattern").exit_code() == ExitCode::Usage);
    }

    #[test]
    fn an_exclude_can_mean_directories_only_and_says_which_pattern_it_was() {
        let given = ["*.tmp", "cache/", "/top", "a/*/c", "odd?", "\\*star", "{x,y}.[ch]"].map(str::to_owned);
        let excludes = Excludes::new(&given).expect("patterns");
        let find = |path: &[u8], directory| excludes.find(Path::new(OsStr::from_bytes(path)), directory);
        assert_eq!(find(b"deep/er/x.tmp", false), Some("*.tmp"));
        assert_eq!((find(b"a/cache", true), find(b"a/cache", false)), (Some("cache/"), None));
        assert_eq!((find(b"top", false), find(b"a/top", false)), (Some("/top"), None));
        assert_eq!((find(b"a/b/c", true), find(b"a/b/b/c", true), find(b"x/a/b/c", true)), (Some("a/*/c"), None, None));
        assert_eq!((find(b"odd\xff", false), find(b"odd", false)), (Some("odd?"), None));
        assert_eq!((find(b"*star", false), find(b"a-star", false)), (Some("\\*star"), None));
        assert_eq!((find(b"y.h", false), find(b"z.h", false)), (Some("{x,y}.[ch]"), None));
        assert!(Excludes::new(&["/".to_owned()]).is_err());
    }

    #[test]
    fn a_list_of_patterns_has_comments_and_no_surprises() {
        let list = parse_list(b"\xef\xbb\xbf# temporary\r\n*.tmp\r\n\n  \ncache/\n\\#name\n").expect("a list");
        assert_eq!(list, ["*.tmp", "cache/", "\\#name"]);
        assert!(parse_list(b"*.tmp\n!keep.tmp\n").expect_err("no negation").starts_with("line 2 "));
        assert!(parse_list(b"a\n\xff\n").expect_err("not UTF-8").starts_with("line 2 "));
    }
}
