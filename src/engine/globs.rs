//! Patterns for names, as `--log` and `--exclude` take them; they match bytes, so that no name is out of reach.
//!
//! `*` and `?` match within one name, `**` across directories, `[…]` one of several characters, `{a,b}` either; a
//! backslash takes the next character as it is. A pattern without a slash is matched with a name anywhere, one with a
//! slash with the path from the storage. `?` is one byte.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Jet, Result, printable};

/// Compiled patterns: those for a name anywhere, and those for the path from the storage.
#[derive(Debug, Default)]
pub struct Patterns {
    names: Set,
    paths: Set,
}

#[derive(Debug, Default)]
struct Set {
    globs: GlobSet,
    /// The number of each, in the order in which all were given.
    numbers: Vec<usize>,
}

impl Set {
    fn matching(&self, path: &Path) -> Vec<usize> {
        if self.globs.is_empty() || !self.globs.is_match(path) {
            return Vec::new();
        }
        self.globs.matches(path).into_iter().map(|index| self.numbers[index]).collect()
    }
}

impl Patterns {
    /// Patterns of the names of files.
    pub fn of_files(globs: &[String]) -> Result<Self> {
        if let Some(glob) = globs.iter().find(|glob| glob.ends_with('/')) {
            let message = format!("the pattern {glob:?} names no file");
            return Err(Error::jet(Jet::InvalidParameter, message));
        }
        Self::new(globs.iter().map(String::as_str).enumerate())
    }

    fn new<'a>(globs: impl Iterator<Item = (usize, &'a str)>) -> Result<Self> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let mut patterns = Self::default();
        for (number, glob) in globs {
            // `./a`, as a shell completes it, is `a` in the storage itself.
            let tidy = glob.strip_prefix('.').filter(|rest| rest.starts_with('/')).unwrap_or(glob);
            if tidy.trim_matches('/').trim().is_empty() || glob == "." {
                let message = format!("the pattern {glob:?} names no file");
                return Err(Error::jet(Jet::InvalidParameter, message).hint("An empty one would take every file."));
            }
            if tidy.contains('/') {
                let anchored = tidy.strip_prefix('/').unwrap_or(tidy);
                paths.add(glob_of(&without_slash_in_classes(anchored)?, glob)?);
                patterns.paths.numbers.push(number);
            } else {
                names.add(glob_of(glob, glob)?);
                patterns.names.numbers.push(number);
            }
        }
        patterns.names.globs = build(&names)?;
        patterns.paths.globs = build(&paths)?;
        Ok(patterns)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.globs.is_empty() && self.paths.globs.is_empty()
    }

    /// Whether one of them matches a path (relative to the storage).
    pub fn is_match(&self, path: &Path) -> bool {
        !self.matching(path).is_empty()
    }

    /// The numbers of all that match.
    fn matching(&self, path: &Path) -> Vec<usize> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut numbers = path.file_name().map(|name| self.names.matching(Path::new(name))).unwrap_or_default();
        numbers.extend(self.paths.matching(path));
        numbers
    }
}

fn glob_of(pattern: &str, given: &str) -> Result<Glob> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build().map_err(|e| {
        Error::jet(Jet::InvalidParameter, format!("the pattern {given:?} cannot be understood: {}", e.kind()))
    })
}

fn build(set: &GlobSetBuilder) -> Result<GlobSet> {
    set.build().map_err(|e| Error::jet(Jet::InvalidParameter, format!("the patterns are too large: {e}")))
}

/// A pattern whose classes match no slash, as `*` and `?` do not; globset lets them.
fn without_slash_in_classes(pattern: &str) -> Result<String> {
    let refuse = || {
        let message = format!("the pattern {pattern:?} has a slash in what is between [ and ]");
        Err(Error::jet(Jet::InvalidParameter, message).hint("Name the characters one by one, without the slash."))
    };
    let mut out = String::with_capacity(pattern.len() + 1);
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        out.push(c);
        match c {
            '\\' => out.extend(rest.next()),
            '[' => {
                let mut class = Vec::new();
                let negated = rest.as_str().starts_with(['!', '^']);
                if negated {
                    out.extend(rest.next());
                }
                // A bracket that comes first is one of the characters.
                for c in rest.by_ref() {
                    if c == ']' && !class.is_empty() {
                        break;
                    }
                    class.push(c);
                }
                let is_in_range = class.windows(3).any(|range| range[1] == '-' && (range[0]..=range[2]).contains(&'/'));
                if !negated && (class.contains(&'/') || is_in_range) {
                    return refuse();
                }
                if negated {
                    // Last, because a bracket may come first; but a hyphen that comes last stays there.
                    class.insert(class.len() - usize::from(class.ends_with(&['-'])), '/');
                }
                out.extend(class);
                out.push(']');
            }
            _ => {}
        }
    }
    Ok(out)
}

/// What `--exclude` names. A slash at the end of a pattern means directories only; a directory that is excluded takes
/// all below it along.
#[derive(Debug, Default)]
pub struct Excludes {
    given: Vec<String>,
    anything: Patterns,
    directories: Patterns,
}

impl Excludes {
    /// Compiles what was given for a directory. A path that begins with that one's is refused: it would match nothing.
    pub fn new(given: &[String], directory: &Path) -> Result<Self> {
        let is_absolute = |glob: &&String| directory.parent().is_some() && Path::new(glob).starts_with(directory);
        if let Some(glob) = given.iter().find(is_absolute) {
            let message = format!("the pattern {glob:?} begins with the path of {} itself", printable(directory));
            let hint = "Patterns are matched with the path from there: leave that part out.";
            return Err(Error::jet(Jet::InvalidParameter, message).hint(hint));
        }
        let of_directories = |glob: &str| glob.ends_with('/') && glob != "/";
        let numbered = || given.iter().map(String::as_str).enumerate();
        let directories = numbered().filter(|(_, glob)| of_directories(glob));
        Ok(Self {
            given: given.to_vec(),
            anything: Patterns::new(numbered().filter(|(_, glob)| !of_directories(glob)))?,
            directories: Patterns::new(directories.map(|(number, glob)| (number, glob.trim_end_matches('/'))))?,
        })
    }

    /// Whether nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The patterns, as they were given.
    pub fn given(&self) -> &[String] {
        &self.given
    }

    /// The patterns that exclude a path, by their numbers as they were given; none where it is not excluded.
    pub fn matching(&self, path: &Path, is_directory: bool) -> Vec<usize> {
        let mut numbers = self.anything.matching(path);
        if is_directory {
            numbers.extend(self.directories.matching(path));
        }
        numbers
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
            Patterns::of_files(&[glob.to_owned()]).expect("a pattern").is_match(Path::new(OsStr::from_bytes(path)))
        };
        assert!(matches("wal.*", b"wal.1") && matches("wal.*", b"deep/er/wal.1"));
        assert!(matches("logs/*.log", b"logs/1.log") && !matches("logs/*.log", b"logs/old/1.log"));
        assert!(matches("/wal.*", b"wal.1") && !matches("/wal.*", b"deep/wal.1"));
        assert!(matches("*.log", b"\xff\xfe.log"));
        for bad in ["", " ", "/", "./"] {
            assert!(
                Patterns::of_files(&[bad.to_owned()]).expect_err("no pattern").exit_code() == ExitCode::Usage,
                "{bad:?}"
            );
        }
        assert!(Patterns::of_files(&["[".to_owned()]).expect_err("not a pattern").exit_code() == ExitCode::Usage);
    }

    #[test]
    fn an_exclude_can_mean_directories_only_and_says_which_pattern_it_was() {
        let given = ["*.tmp", "cache/", "/top", "a/*/c", "odd?", "\\*star", "{x,y}.[ch]"].map(str::to_owned);
        let excludes = Excludes::new(&given, Path::new("/srv/app")).expect("patterns");
        let find = |path: &[u8], directory| {
            let numbers = excludes.matching(Path::new(OsStr::from_bytes(path)), directory);
            numbers.first().map(|number| excludes.given()[*number].as_str())
        };
        assert_eq!(find(b"deep/er/x.tmp", false), Some("*.tmp"));
        assert_eq!((find(b"a/cache", true), find(b"a/cache", false)), (Some("cache/"), None));
        assert_eq!((find(b"top", false), find(b"a/top", false)), (Some("/top"), None));
        assert_eq!((find(b"a/b/c", true), find(b"a/b/b/c", true), find(b"x/a/b/c", true)), (Some("a/*/c"), None, None));
        assert_eq!((find(b"odd\xff", false), find(b"odd", false)), (Some("odd?"), None));
        assert_eq!((find(b"*star", false), find(b"a-star", false)), (Some("\\*star"), None));
        assert_eq!((find(b"y.h", false), find(b"z.h", false)), (Some("{x,y}.[ch]"), None));
        assert_eq!(excludes.matching(Path::new("a/*star.tmp/c"), true), [3]);
        let several = ["cache", "c*", "/cache/", "x", "/c?che"].map(str::to_owned);
        let several = Excludes::new(&several, Path::new("/srv/app")).expect("patterns");
        assert_eq!(several.matching(Path::new("cache"), true), [0, 1, 4, 2], "all of them");
        assert!(Excludes::new(&["/".to_owned()], Path::new("/srv/app")).is_err());
    }

    #[test]
    fn nothing_but_a_slash_matches_a_slash() {
        let find = |glob: &str, path: &str| {
            let excludes = Excludes::new(&[glob.to_owned()], Path::new("/srv/app")).expect("a pattern");
            !excludes.matching(Path::new(path), false).is_empty()
        };
        assert!(find("a[!x]b", "azb") && find("a[!x]b", "deep/azb") && !find("a[!x]b", "a/b"));
        assert!(find("d/a[!x]b", "d/azb") && !find("d/a[!x]b", "d/a/b") && !find("d/a[^x]b", "d/a/b"));
        assert!(find("d/[]x]y", "d/]y") && find("d/[!]x]y", "d/ay") && !find("d/[!]x]y", "d/]y"));
        assert!(find("d/\\[x]", "d/[x]") && !find("d/\\[x]", "d/x"));
        assert!(find("./a", "a") && !find("./a", "deep/a") && find(".a", "deep/.a"));
        assert!(find("d/[!x-]y", "d/ay") && !find("d/[!x-]y", "d/-y") && !find("d/[!x-]y", "d//y"));
        for bad in ["d/[+-9]y", "d/[a/b]", "/srv/app/cache", "/srv/app", ".", "./"] {
            assert!(Excludes::new(&[bad.to_owned()], Path::new("/srv/app")).is_err(), "{bad}");
        }
        assert!(Excludes::new(&["/srv/application".to_owned()], Path::new("/srv/app")).is_ok());
        assert!(Excludes::new(&["/cache".to_owned()], Path::new("/")).is_ok());
    }

    #[test]
    fn a_list_of_patterns_has_comments_and_no_surprises() {
        let list = parse_list(b"\xef\xbb\xbf# temporary\r\n*.tmp\r\n\n  \ncache/\n\\#name\n").expect("a list");
        assert_eq!(list, ["*.tmp", "cache/", "\\#name"]);
        assert!(parse_list(b"*.tmp\n!keep.tmp\n").expect_err("no negation").starts_with("line 2 "));
        assert!(parse_list(b"a\n\xff\n").expect_err("not UTF-8").starts_with("line 2 "));
    }
}
