//! What is said at `begin` and `backup` and holds for a whole session; and what is said about an instance of the Extensible
//! Storage Engine wherever one is meant.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::args::parse_duration;
use crate::engine::ese::instance::Options;
use crate::repository::tags::parse_tag;

/// What holds for a whole session.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct SessionArgs {
    /// The storage: a directory with all the files that one engine instance uses
    #[arg(value_name = "STORAGE")]
    pub storage: PathBuf,
    /// What is asked for
    ///
    /// An incremental builds on the newest completed full or incremental of the repository, a differential on the newest
    /// completed full; where there is none, the exit code is 5. What is unchanged since then is not read, and of a file
    /// that changed only the blocks that are different are stored. Any of them is restored as if it were a full.
    #[arg(long, value_name = "KIND", default_value = "full")]
    pub kind: KindArg,
    /// Read every file, also those that seem to be unchanged since the parent
    ///
    /// A file is taken as unchanged where size, modification time, change time and inode are those of the parent (an
    /// incremental or differential only). On a file system that gives files other inodes at every mount, all of it is
    /// read anyway.
    #[arg(long)]
    pub ignore_metadata: bool,
    /// Take the changed blocks of databases, not their logs (ESE; other engines do so anyway)
    #[arg(long)]
    pub blocks: bool,
    /// What understands the storage; `auto` looks at its content
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    pub engine: EngineArg,
    /// Tie the repository to this name instead of the storage's path
    ///
    /// For a storage that is mounted elsewhere every time. It is said at the first backup into a repository, and must be
    /// said again at every later one.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Take files that match as logs: read last, and deleted by truncate
    ///
    /// `*` matches within one name, `**` across directories; without a slash the pattern is matched with a file's name
    /// anywhere, with one with its path from the storage. Logs go by the last number in their names
    /// (hexadecimal from eight digits on), then by modification time, then by name. Truncate keeps the newest of each
    /// series of numbers, the one written last in each directory, and those without a number, and leaves no gap in a
    /// series. Can be given several times.
    #[arg(long = "log", value_name = "GLOB")]
    pub logs: Vec<String>,
    /// Take the storage for a snapshot, to which nobody writes (ESE)
    ///
    /// Only a snapshot of a database that was not shut down can be backed up. A local disk that is mounted from a
    /// read-only device is taken for one as well.
    #[arg(long)]
    pub snapshot: bool,
    /// Where its files are.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Let truncate delete in this log directory of the live instance of which the storage is a snapshot (ESE)
    ///
    /// A log goes only if neither the snapshot's nor the live checkpoint needs it, and if it is of the same stream.
    #[arg(long, value_name = "DIR")]
    pub live_log_dir: Option<PathBuf>,
    /// The checkpoint of the live instance, where it is not beside its logs (ESE)
    #[arg(long, value_name = "FILE", requires = "live_log_dir")]
    pub live_checkpoint: Option<PathBuf>,
    /// Leave out what is not the engine's own (ESE)
    #[arg(long)]
    pub engine_files: bool,
    /// Copy damaged pages as they are, and list each in the manifest (ESE)
    ///
    /// The backup is incomplete: it can be restored when it is named, but is never the latest. The exit code is 3.
    #[arg(long)]
    pub accept_damage: bool,
    /// Go on where logs are missing that hold what was committed last (ESE)
    ///
    /// The databases can be recovered without them, and lose those changes.
    #[arg(long)]
    pub accept_loss: bool,
    /// Try so long to read a database that another process has locked, such as 30s (SQLite) [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub busy_timeout: Option<Duration>,
    /// Keep writers of a database with a rollback journal waiting no longer than this, such as 2s (SQLite)
    ///
    /// Such a database is copied in small steps, and anew where somebody commits between two of them (as often as
    /// --retries says), and then at once: meanwhile no writer can commit. Where that takes longer, the exit code is 5. In
    /// WAL mode no writer ever waits.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub max_lock: Option<Duration>,
    /// Leave out what matches, and everything below a directory that matches
    ///
    /// Patterns match bytes: `*` and `?` within one name, `**` across directories, `[ab]` one of several characters,
    /// `{a,b}` either; a backslash takes the next character as it is. Without a slash a pattern is matched with names
    /// anywhere, with one with the path from the storage; a slash at its end means directories only. Can be given
    /// several times. The manifest keeps the patterns, and -v names what they leave out. A warning names those that leave
    /// nothing out.
    #[arg(long = "exclude", value_name = "GLOB")]
    pub excludes: Vec<String>,
    /// Leave out what the patterns in a file match: one a line, `#` begins a comment
    ///
    /// The file may be one for many storages: only -v and JSON name those of its patterns that leave nothing out.
    #[arg(long = "exclude-from", value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,
    /// Leave out what lies in directories that a CACHEDIR.TAG marks as caches
    ///
    /// The directory and the tag itself are taken. The storage itself is never taken for a cache.
    #[arg(long)]
    pub exclude_caches: bool,
    /// Leave out what lies on other file systems than the storage
    ///
    /// A directory on which another one is mounted is taken, and is empty.
    #[arg(long)]
    pub one_file_system: bool,
    /// Leave out files that cannot be read, instead of failing
    ///
    /// What could be read is published as incomplete: it can be restored when it is named, but is never the latest and
    /// never a reason to truncate. The exit code is still that of the failure.
    #[arg(long)]
    pub keep_going: bool,
    /// Keep what was read of a session that is stopped, aborted or fails, until the next backup is published
    ///
    /// The next session goes on from it.
    #[arg(long)]
    pub keep_partial: bool,
    /// Give the backup this tag, by which `prune --keep-tag` keeps it and `list --tag` finds it
    ///
    /// 1 to 64 letters, digits and . _ - : /, not beginning with -. Can be given several times; `jetbak tag` changes the tags
    /// of a backup later.
    #[arg(long = "tag", value_name = "TAG", value_parser = parse_tag)]
    pub tags: Vec<String>,
    /// Read everything, also what an earlier session has read that came to nothing
    ///
    /// Otherwise a session goes on from what the one before it has proven, where that was killed, was to keep it, or ran
    /// out of space: a file that is what it was then is not read again.
    #[arg(long)]
    pub no_resume: bool,
    /// Read a file that changes while it is read so many times again
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub retries: u32,
    /// End an earlier session of this storage in which nothing has happened for so long, such as 30m or 12h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub replace_idle: Option<Duration>,
}

/// The kinds of backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Complete; a parent for later kinds; may truncate
    Full,
    /// Complete; never a parent, never truncates
    Copy,
    /// What changed since the last full or incremental; a parent; may truncate
    Incremental,
    /// What changed since the last full; never a parent, never truncates
    Differential,
}

/// The engines that can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// By content: ESE where a database or log of it is found, else SQLite where a database of it is, else any directory
    Auto,
    /// Databases and logs of the Extensible Storage Engine, every page and segment proven
    Ese,
    /// Databases of SQLite, while applications write to them, and whatever lies beside them
    Sqlite,
    /// Any directory, as it is
    Files,
}

/// Where an instance of the Extensible Storage Engine keeps its files.
#[derive(Args, Clone, Debug)]
pub struct InstanceArgs {
    /// The three characters that the names of the logs begin with, where there are several streams (ESE)
    #[arg(long, value_name = "NAME")]
    pub base: Option<String>,
    /// The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)
    ///
    /// Of a directory that does not lie below the storage only the logs and the checkpoint of the instance count. In a
    /// session its files are named by their absolute paths.
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// The checkpoint, where it lies neither below the storage nor beside the logs (ESE)
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
}

impl InstanceArgs {
    /// What was typed, as plain values.
    pub fn options(&self) -> Options {
        let Self { base, log_dir, checkpoint } = self.clone();
        Options { base, log_directory: log_dir, checkpoint }
    }
}
