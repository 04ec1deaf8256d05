//! What can go wrong, as one typed error that knows its ESE name and number and its exit code.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

mod jet;

pub use jet::Jet;

/// How a command ends, as a shell sees it. The numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: every byte asked for is where it should be.
    Done,
    /// 1: I/O, permissions, no space, anything that has no number of its own.
    Failed,
    /// 2: the command line was wrong.
    Usage,
    /// 3: a checksum, a hash, a missing or foreign log.
    Verification,
    /// 4: the backup was stopped by `stop`.
    Stopped,
    /// 5: a call that does not fit the state, or something busy.
    OutOfOrder,
    /// 6: the source changed while it was read, or cannot be backed up in its state.
    Unfit,
    /// 128 + n: ended by signal n.
    Signal(i32),
}

impl ExitCode {
    /// The number that the shell gets.
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Verification => 3,
            Self::Stopped => 4,
            Self::OutOfOrder => 5,
            Self::Unfit => 6,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened, to which file, what to do next, and how the command ends.
#[derive(Clone, Debug)]
pub struct Error(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    exit_code: ExitCode,
    jet: Option<Jet>,
    message: String,
    hint: Option<String>,
    file: Option<PathBuf>,
    page: Option<u64>,
    kind: Option<io::ErrorKind>,
    errno: Option<i32>,
}

impl Error {
    /// An error that has an ESE number; the exit code follows from it.
    pub fn jet(jet: Jet, message: impl Into<String>) -> Self {
        let mut error = Self::new(jet.exit_code(), message);
        error.0.jet = Some(jet);
        error
    }

    /// An error without an ESE number.
    pub fn new(exit_code: ExitCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Details {
            exit_code,
            jet: None,
            message,
            hint: None,
            file: None,
            page: None,
            kind: None,
            errno: None,
        }))
    }

    /// An I/O error with the path it happened to; `action` is a verb phrase such as `read`.
    pub fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        let jet = match error.kind() {
            io::ErrorKind::NotFound => Jet::FileNotFound,
            io::ErrorKind::PermissionDenied => Jet::FileAccessDenied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Jet::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem => Jet::PermissionDenied,
            io::ErrorKind::AlreadyExists => Jet::FileAlreadyExists,
            _ => Jet::DiskIO,
        };
        let mut typed = Self::jet(jet, format!("cannot {action} {}: {}", printable(path), reason(error)));
        typed.0.file = Some(path.to_owned());
        typed.0.kind = Some(error.kind());
        typed.0.errno = error.raw_os_error();
        typed
    }

    /// A place has less space than is needed, in bytes.
    pub fn too_little_space(path: &Path, free: u64, needed: u64) -> Self {
        let message = format!(
            "{} has {} free, and {} are needed ({free} and {needed} bytes)",
            printable(path),
            indicatif::BinaryBytes(free),
            indicatif::BinaryBytes(needed)
        );
        Self::jet(Jet::DiskFull, message).exit(ExitCode::Failed).file(path)
    }

    /// The same error with what to do next, as a sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error with another exit code than its number has.
    #[must_use]
    pub fn exit(mut self, exit_code: ExitCode) -> Self {
        self.0.exit_code = exit_code;
        self
    }

    /// The same error, naming the file it is about.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.0.file = Some(file.into());
        self
    }

    /// The same error, naming the page (counted in pages of the database, from 1).
    #[must_use]
    pub fn page(mut self, page: u64) -> Self {
        self.0.page = Some(page);
        self
    }

    /// How a command that fails with this ends.
    pub fn exit_code(&self) -> ExitCode {
        self.0.exit_code
    }

    /// The ESE number, where there is one.
    pub fn jet_code(&self) -> Option<Jet> {
        self.0.jet
    }

    /// What happened, without the number and without advice.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The file it happened to.
    pub fn path(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// The page it happened to.
    pub fn page_number(&self) -> Option<u64> {
        self.0.page
    }

    /// Whether the operating system said that nothing stands under this name.
    pub fn is_not_found(&self) -> bool {
        self.0.jet == Some(Jet::FileNotFound)
    }

    /// Whether whoever read what is written has gone.
    pub fn is_closed_pipe(&self) -> bool {
        self.0.kind == Some(io::ErrorKind::BrokenPipe)
    }

    /// Whether it tells of the machine, or of what whoever runs this may do, and nothing of what is stored: no right, too
    /// many open files, too little memory, a server that does not answer. What the medium or the file system says of the
    /// bytes themselves, such as EIO, is not of that sort, and neither is that something is missing.
    pub fn is_of_the_reader(&self) -> bool {
        let is_of_the_stored = match self.0.errno.map(Errno::from_raw_os_error) {
            Some(errno) => OF_THE_STORED.contains(&errno),
            None => self.0.kind != Some(io::ErrorKind::OutOfMemory),
        };
        self.0.kind.is_some() && !is_of_the_stored
    }

    /// Whether the operating system said that the name is taken.
    pub fn is_already_there(&self) -> bool {
        self.0.jet == Some(Jet::FileAlreadyExists)
    }
}

/// What a file system says of what is stored: it is not there, or cannot be had from the medium, or is not what it was.
const OF_THE_STORED: [Errno; 12] = [
    Errno::NOENT,
    Errno::NOTDIR,
    Errno::ISDIR,
    Errno::LOOP,
    Errno::NXIO,
    Errno::NAMETOOLONG,
    Errno::IO,
    Errno::BADMSG, // a checksum of the file system fails
    Errno::UCLEAN, // its structure is damaged
    Errno::REMOTEIO,
    Errno::ILSEQ,
    Errno::NODATA,
];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match self.0.jet {
            Some(jet) => write!(f, " [{}, {}]", jet.symbol(), jet.number()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// A path as text for people: lossy where it is not UTF-8, with control characters escaped.
pub fn printable(path: impl AsRef<OsStr>) -> String {
    let text = path.as_ref().to_string_lossy();
    if text.chars().all(is_safe) {
        return text.into_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_safe(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_default());
        }
    }
    escaped
}

/// Whether a terminal may see it: control characters, and the marks that turn the direction of text, let a name lie.
pub fn is_safe(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What the operating system says, in lower case and without its number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.find(" (os error").map_or(text.as_str(), |end| &text[..end]);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_the_name_and_number() {
        let error = Error::jet(Jet::NoBackup, "no backup of /srv/app is in progress").hint("Begin one.");
        assert_eq!(error.to_string(), "no backup of /srv/app is in progress [JET_errNoBackup, -520]");
        assert_eq!(error.exit_code().number(), 5);
    }

    #[test]
    fn an_io_error_names_its_path_and_loses_the_bare_errno() {
        let error = Error::io("read", Path::new("/srv/app/a.db"), &io::Error::from_raw_os_error(13));
        assert_eq!(error.to_string(), "cannot read /srv/app/a.db: permission denied [JET_errFileAccessDenied, -1032]");
        assert_eq!(error.path(), Some(Path::new("/srv/app/a.db")));
    }

    #[test]
    fn what_the_machine_lacks_says_nothing_of_what_is_stored() {
        let is_of_the_reader = |errno: Errno| Error::io("read", Path::new("a"), &errno.into()).is_of_the_reader();
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::PERM, Errno::STALE] {
            assert!(is_of_the_reader(errno), "{errno}");
        }
        for errno in OF_THE_STORED {
            assert!(!is_of_the_reader(errno), "{errno}");
        }
        let ended = Error::io("read", Path::new("a"), &io::ErrorKind::UnexpectedEof.into());
        assert!(!ended.is_of_the_reader());
        assert!(!Error::jet(Jet::FileInvalidType, "a is a directory").is_of_the_reader());
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\n\u{202e}c"), "a\\u{1b}[31mb\\n\\u{202e}c");
        assert_eq!(printable("Straße"), "Straße");
    }

    #[test]
    fn signals_end_as_a_shell_expects() {
        assert_eq!([1, 2, 15].map(|n| ExitCode::Signal(n).number()), [129, 130, 143]);
    }
}
