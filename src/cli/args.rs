//! The command line as clap sees it. What is written here is also the man page and the completions.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint, value_parser};
use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::session_args::{InstanceArgs, SessionArgs};
use crate::repository::tags::parse_tag;

const AFTER_HELP: &str = "\
Exit codes:
  0    done: every byte asked for is in the repository, hashed, durable, published
  1    failed: I/O, permissions, no space, anything not below
  2    the command line was wrong
  3    verification failed: a checksum, a hash, a missing or foreign log
  4    the backup was stopped by `jetbak stop`
  5    out of order: no backup in progress, one in progress already, busy
  6    the source changed while it was read, or cannot be backed up in its state
  130, 143, 129  ended by Ctrl-C, SIGTERM, SIGHUP

Example:
  jetbak backup /srv/app --to /backup/app
  jetbak list /backup/app
  jetbak verify /backup/app";

/// Drive streaming backups of storage directories
///
/// A backup is one session of one protocol: begin, read the databases and then the logs, truncate the logs nobody
/// needs, end. `jetbak backup` does all of it; the single verbs do it step by step, across processes. Any process can
/// stop a session at any moment.
#[derive(Debug, Parser)]
#[command(name = "jetbak", version, after_help = AFTER_HELP, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Keep the state of sessions in this directory, on a local file system
    ///
    /// Without it: /var/lib/jetbak for root, else jetbak below `$XDG_STATE_HOME` or ~/.local/state.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "JETBAK_STATE_DIR",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub state_dir: Option<PathBuf>,
    /// Print JSON: one document, or one object a line with the summary last
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Print errors only
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Say what was decided, and why
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub verbose: bool,
    /// Use colour; `auto` honours `NO_COLOR` and TERM=dumb
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Back up a storage: begin, read, truncate and end in one go
    Backup(BackupArgs),
    /// Begin a session: judge the storage and fix the list of what is read first
    Begin(BeginArgs),
    /// Show what a session reads, and what is done; change nothing
    Files(FilesArgs),
    /// Read all that is left of a session, or the named files
    Read(ReadArgs),
    /// Publish the backup, then delete the logs that it makes needless
    Truncate(TruncateArgs),
    /// End a session: publish what was read, or leave nothing behind
    End(EndArgs),
    /// Stop a session from any process; its remaining reads fail
    Stop(StopArgs),
    /// Show the sessions in progress, and how far they are
    Status(StatusArgs),
    /// List the backups of a repository
    List(ListArgs),
    /// Show what a backup is, or which files it holds
    Show(ShowArgs),
    /// Write one file of a backup to stdout, proven before the first byte
    Cat(CatArgs),
    /// Prove backups: every hash, every size, nothing missing, nothing extra
    Verify(VerifyArgs),
    /// Make a full backup out of one that builds on others, without the source
    Consolidate(ConsolidateArgs),
    /// Remove the backups that nothing is to keep, and what dead sessions left; without --yes only say which
    Prune(PruneArgs),
    /// Give a backup tags, or take them away
    Tag(TagArgs),
    /// Keep a backup whatever a prune is asked for
    Pin(PinArgs),
    /// Take the pin of a backup away
    Unpin(UnpinArgs),
    /// Restore a backup into a directory that is empty or does not exist yet, or put one right
    Restore(RestoreArgs),
    /// Prove databases of ESE and SQLite where they lie; no backup
    Check(CheckArgs),
    /// Tell of each log of an ESE storage whether it is needed, and why
    Logs(LogsArgs),
    /// Show what the header of a file of ESE or SQLite says
    Inspect(InspectArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the man page, or write all of them into a directory
    Man(ManArgs),
}

/// backup
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  jetbak backup /srv/app --to /backup/app --log 'wal.*' --truncate")]
pub struct BackupArgs {
    /// What holds for the session.
    #[command(flatten)]
    pub session: SessionArgs,
    /// The repository; made if it is missing
    #[arg(long, value_name = "REPO", env = "JETBAK_REPOSITORY", hide_env_values = true)]
    pub to: PathBuf,
    /// Delete the logs that this backup makes needless, after it is published and proven
    #[arg(long)]
    pub truncate: bool,
    /// Say what would be read and how much, and stop there
    #[arg(long)]
    pub dry_run: bool,
}

/// begin
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  jetbak begin /srv/app --to /backup/app\n  jetbak read /srv/app\n  jetbak end /srv/app"
)]
pub struct BeginArgs {
    /// What holds for the session.
    #[command(flatten)]
    pub session: SessionArgs,
    /// The repository; made if it is missing
    #[arg(
        long,
        value_name = "REPO",
        env = "JETBAK_REPOSITORY",
        hide_env_values = true,
        required_unless_present = "no_repository"
    )]
    pub to: Option<PathBuf>,
    /// Read into no repository: files go where `read --out` sends them
    #[arg(long)]
    pub no_repository: bool,
}

/// Which session a command means.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// The storage of the session, as it is or as it was named at begin
    #[arg(value_name = "STORAGE", required_unless_present = "session")]
    pub storage: Option<PathBuf>,
    /// The session's id, instead of its storage
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
}

/// files
#[derive(Args, Debug)]
#[command(after_help = "Until the databases are done, the logs shown are those of the moment.")]
pub struct FilesArgs {
    /// Which session.
    #[command(flatten)]
    pub selection: Selection,
}

/// read
#[derive(Args, Debug)]
#[command(
    after_help = "Several plain reads of one session share the work. One that died is repeated; what was complete is not read again.\n\nExamples:\n  jetbak read /srv/app\n  jetbak read /srv/app accounts.db --out - | zstd > accounts.db.zst"
)]
pub struct ReadArgs {
    /// Which session.
    #[command(flatten)]
    pub selection: Selection,
    /// Files as `jetbak files` prints them; a directory means everything below it
    #[arg(value_name = "FILE", value_parser = any_path(), value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Write the one named file to this path, or to stdout with `-`
    ///
    /// In a session with a repository this is only a look: the file still has to be read into the repository.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

/// truncate
#[derive(Args, Debug)]
#[command(
    after_help = "The backup is published first, read back from the disk and proven. Logs go oldest first; the newest stays, and so does a log that is not what was backed up."
)]
pub struct TruncateArgs {
    /// Which session.
    #[command(flatten)]
    pub selection: Selection,
    /// Say what would be deleted; change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// end
#[derive(Args, Debug)]
#[command(
    after_help = "After a stop nothing is published, and the exit code is 0: ending was asked for, and it worked. Scripts that want to hear of the stop use the outcome in JSON, or --require-success."
)]
pub struct EndArgs {
    /// Which session.
    #[command(flatten)]
    pub selection: Selection,
    /// End without a backup; stops readers that still work
    #[arg(long)]
    pub abort: bool,
    /// Exit 4 where the session had been stopped
    #[arg(long, conflicts_with = "abort")]
    pub require_success: bool,
}

/// stop
#[derive(Args, Debug)]
#[command(
    after_help = "Without STORAGE: no session is fine (exit 0), one is stopped, several are an error. A session that is being published cannot be stopped any more; stop says so and changes nothing.\n\nExample:\n  jetbak stop /srv/app --reason 'end of the maintenance window' --wait 10"
)]
pub struct StopArgs {
    /// The storage of the session, as it is or as it was named at begin
    #[arg(value_name = "STORAGE")]
    pub storage: Option<PathBuf>,
    /// The session's id, instead of its storage
    #[arg(long, value_name = "ID", conflicts_with = "storage")]
    pub session: Option<String>,
    /// Stop every session of this state directory
    #[arg(long, conflicts_with_all = ["storage", "session"])]
    pub all: bool,
    /// Why; kept with the session and shown to those who are stopped
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Wait so long until no process reads in it any more
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub wait: Option<Duration>,
}

/// status
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Only the session of this storage
    #[arg(value_name = "STORAGE")]
    pub storage: Option<PathBuf>,
}

/// list
#[derive(Args, Debug)]
pub struct ListArgs {
    /// The repository
    #[arg(value_name = "REPO", env = "JETBAK_REPOSITORY", hide_env_values = true)]
    pub repository: PathBuf,
    /// Only those with this tag; can be given several times
    #[arg(long = "tag", value_name = "TAG", value_parser = parse_tag)]
    pub tags: Vec<String>,
}

/// show
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  jetbak show /backup/app\n  jetbak show /backup/app 12 --files conf\n  jetbak show /backup/app --tree\n  jetbak show /backup/app 12 --files --json | jq -r 'select(.size > 1000000000).path'"
)]
pub struct ShowArgs {
    /// The repository
    #[arg(value_name = "REPO", env = "JETBAK_REPOSITORY", hide_env_values = true)]
    pub repository: PathBuf,
    /// The backup: a number, the beginning of an id, or `latest`
    #[arg(value_name = "ID", default_value = "latest")]
    pub id: String,
    /// List its files instead, all of them or these and what lies below them
    ///
    /// Paths are those below the storage. Everything after `--files` is a path: REPO and ID come before it.
    #[arg(long, value_name = "PATH", num_args = 0..)]
    pub files: Option<Vec<PathBuf>>,
    /// Show which backups build on which instead, all of them
    #[arg(long, conflicts_with_all = ["files", "id"])]
    pub tree: bool,
}

/// cat
#[derive(Args, Debug)]
#[command(
    after_help = "The file is read and hashed first: where it is damaged, nothing is written, and the exit code is 3.\n\nExample:\n  jetbak cat /backup/app latest conf/app.ini | diff - /srv/app/conf/app.ini"
)]
pub struct CatArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub repository: PathBuf,
    /// The backup: a number, the beginning of an id, or `latest`
    #[arg(value_name = "ID")]
    pub id: String,
    /// The file, by its path below the storage, as `jetbak show --files` lists it
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// verify
#[derive(Args, Debug)]
#[command(
    after_help = "Every damage is listed, and the exit code is 3 if there is any. The result is kept in the repository's verified/, where that can be written. Without jetbak, `sha256sum -c SHA256SUMS` in the backup's folder proves the content of every file."
)]
pub struct VerifyArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub repository: PathBuf,
    /// Backups: a number, the beginning of an id, or `latest` [default: all]
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Compare also every index of an SQLite database with its table (`integrity_check`, not `quick_check`)
    #[arg(long)]
    pub deep: bool,
}

/// consolidate
#[derive(Args, Debug)]
#[command(
    after_help = "Every byte is proven on its way out of the backups it lies in, and once more before the full backup is published; the others stay as they are. The next incremental builds on the new one, if it is made of the latest. A backup that stands alone is left as it is.\n\nExample:\n  jetbak consolidate /backup/app"
)]
pub struct ConsolidateArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub repository: PathBuf,
    /// The backup: a number, the beginning of an id, or `latest` [default: latest]
    #[arg(value_name = "ID")]
    pub id: Option<String>,
}

/// prune
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("policy").required(true).multiple(true),
    after_help = "What is newest is told by the numbers of the backups, not by a clock. Whatever is asked for, these stay: the newest complete backup, the newest that was read back and found good, pinned ones, what cannot be read, and all that one which stays, or a session in progress, builds on. Incomplete backups count nowhere, and go when a newer complete one stays. A backup that is being read stays for now, with all that it builds on; then the rest goes, and the exit code is 5.\n\nHours, days, weeks (ISO 8601, from Monday), months and years are those of the time zone of this process (TZ). The newest backup of each is kept.\n\nA backup goes in one step. A prune that was interrupted leaves a repository in which each listed backup is whole; the next one, or the next backup, ends what it began.\n\nExamples:\n  jetbak prune /backup/app --keep-daily 7 --keep-weekly 5 --keep-monthly 12\n  jetbak prune /backup/app --keep-within 30d --keep-tag release --yes"
)]
pub struct PruneArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub repository: PathBuf,
    /// Keep the newest N backups
    #[arg(long, value_name = "N", group = "policy", value_parser = value_parser!(u32).range(1..))]
    pub keep_last: Option<u32>,
    /// Keep the newest backup of each of the newest N hours that have one
    #[arg(long, value_name = "N", group = "policy", value_parser = value_parser!(u32).range(1..))]
    pub keep_hourly: Option<u32>,
    /// The same for days
    #[arg(long, value_name = "N", group = "policy", value_parser = value_parser!(u32).range(1..))]
    pub keep_daily: Option<u32>,
    /// The same for weeks
    #[arg(long, value_name = "N", group = "policy", value_parser = value_parser!(u32).range(1..))]
    pub keep_weekly: Option<u32>,
    /// The same for months
    #[arg(long, value_name = "N", group = "policy", value_parser = value_parser!(u32).range(1..))]
    pub keep_monthly: Option<u32>,
    /// The same for years
    #[arg(long, value_name = "N", group = "policy", value_parser = value_parser!(u32).range(1..))]
    pub keep_yearly: Option<u32>,
    /// Keep all backups of so long a time before the newest one, such as 12h, 30d or 1w 3d
    ///
    /// It counts back from the newest complete backup, or from now where that is earlier. A day has 24 hours. A backup whose
    /// time is not what its number says (a clock had jumped) is taken for no older than the next one with a time that is.
    #[arg(long, value_name = "DURATION", group = "policy", value_parser = parse_days)]
    pub keep_within: Option<SignedDuration>,
    /// Keep all backups with this tag; can be given several times
    #[arg(long = "keep-tag", value_name = "TAG", group = "policy", value_parser = parse_tag)]
    pub keep_tags: Vec<String>,
    /// Do it
    #[arg(long)]
    pub yes: bool,
    /// Say what would be removed, and stop there; so it is without --yes
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Also remove what an interrupted or stopped session left from which the next backup would go on
    #[arg(long)]
    pub discard_partials: bool,
}

/// tag
#[derive(Args, Debug)]
#[command(
    after_help = "A tag is 1 to 64 letters (a-z, A-Z), digits and . _ - : /, not beginning with -. Tags lie beside the backups, which never change.\n\nExamples:\n  jetbak tag /backup/app latest release v1.2.3\n  jetbak tag /backup/app 12 release --remove"
)]
pub struct TagArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub repository: PathBuf,
    /// The backup: a number, the beginning of an id, or `latest`
    #[arg(value_name = "ID")]
    pub id: String,
    /// The tags
    #[arg(value_name = "TAG", required = true, value_parser = parse_tag)]
    pub tags: Vec<String>,
    /// Take these tags away instead; one that it has not is fine
    #[arg(long)]
    pub remove: bool,
}

/// pin
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  jetbak pin /backup/app 12 --reason 'before the move to the new version'")]
pub struct PinArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub repository: PathBuf,
    /// The backup: a number, the beginning of an id, or `latest`
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why; kept with the backup and shown
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// unpin
#[derive(Args, Debug)]
pub struct UnpinArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub repository: PathBuf,
    /// The backup: a number, the beginning of an id, or `latest`
    #[arg(value_name = "ID")]
    pub id: String,
}

/// restore
#[derive(Args, Debug)]
#[command(
    after_help = "Every byte is proven on its way, and nothing stands under DIR before all of it is there and durable. Nothing is ever replaced, except with --delta. What could not be given to a file (an owner, an attribute) is a warning that names it.\n\nWith --delta, before the first change: everything on both sides is read, every file of the backup is proven, and refused is what could not be done to its end: too little space, a file system mounted for reading only, what is immutable or append-only or belongs to others, a program that runs (exit code 5), a mount point below DIR, a database of SQLite that is open (5). A file above 1 MiB is written in place, after everybody has been shut out of it who may not read it later; others are written beside and renamed. While that lasts, or where it ends half-way, DIR is neither the old nor the new state; the repository knows that, and the same command, repeated, finishes it. Sockets, fifos and devices stay, and so does what was left out of the backup, also below directories that the backup does not hold; where such a directory would have to give way to a file, nothing is done (2). Labels of security modules (security.*, except capabilities) are neither compared nor taken away: a file that is written anew has what the machine gives new files. With --only the directories above keep their times; what SQLite keeps beside a database that is named goes, and what an interrupted restore left in the directories that are gone through.\n\nExit codes:\n  0    done: everything that was asked for stands there, proven and durable\n  1    failed: I/O, permissions, no space\n  2    the command line was wrong, or DIR is none that this may be done to\n  3    the backup is damaged; with --keep-going: something is left out\n  5    busy: a backup or another restore at work there, an open database, a running program\n  6    with --delta: something changed there between the comparison and the change\n  130, 143, 129  ended by Ctrl-C, SIGTERM, SIGHUP\n\nExamples:\n  jetbak restore /backup/app --into /srv/app-restored\n  jetbak restore /backup/app 12 --into /tmp/one --only conf/app.ini accounts.db\n  jetbak restore /backup/exchange --into /new/db --map logs=/new/logs\n  jetbak restore /backup/app 12 --delta --into /srv/app --dry-run"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct RestoreArgs {
    /// The repository
    #[arg(value_name = "REPO")]
    pub repository: PathBuf,
    /// The backup: a number, the beginning of an id, or `latest` [default: latest]
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// The directory to restore into: empty, or not there yet; with --delta, one that is there
    ///
    /// The tree is made beside it and renamed when it is whole; inside of it where it is a mount point.
    #[arg(long, value_name = "DIR", required_unless_present = "map")]
    pub into: Option<PathBuf>,
    /// The directory to restore a root into whose files did not lie below the storage (`logs`, `checkpoint`)
    ///
    /// As --into; `--map data=DIR` means just that. Several roots may go into one directory, or into directories that lie
    /// in each other. `jetbak show` names the roots of a backup. Can be given several times.
    #[arg(long, value_name = "ROOT=DIR")]
    pub map: Vec<OsString>,
    /// Restore only these, with what lies below them and the directories above them
    ///
    /// Paths as `jetbak show --files` prints them: relative to the storage, absolute below another root. `.` is everything,
    /// as if --only were not given.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub only: Vec<PathBuf>,
    /// Whose the files are to be
    #[arg(long, value_name = "OWNER", default_value = "keep")]
    pub owner: OwnerArg,
    /// Leave out what is damaged, instead of restoring nothing
    ///
    /// Each damaged file is named, and the exit code is 3. So it is where databases and logs are restored that their
    /// engine would refuse, because they do not go together.
    #[arg(long)]
    pub keep_going: bool,
    /// Put a directory right that is there: rewrite what differs, delete what the backup does not hold
    ///
    /// Everything is read and compared first, and what will be changed is printed; then it is done. Of large files only the
    /// blocks that differ are written, and what is equal is not touched. DIR is the storage of a backup of this repository,
    /// or a directory that one was restored to. What is left out of backups as asked (--exclude) stays, and so do
    /// sockets, fifos and devices. With --only nothing else is changed or deleted. If it is interrupted, the same command finishes it.
    #[arg(long, requires = "into", conflicts_with_all = ["map", "keep_going"])]
    pub delta: bool,
    /// With --delta: take a directory that the repository knows nothing of
    #[arg(long, requires = "delta")]
    pub any_directory: bool,
    /// Say what would be restored, and stop there
    #[arg(long)]
    pub dry_run: bool,
}

/// Whose restored files are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OwnerArg {
    /// Those they had, by name where this machine knows the name, else by number
    Keep,
    /// Those they had, by number
    Numeric,
    /// Whoever restores them
    Current,
}

/// check
#[derive(Args, Debug)]
#[command(
    after_help = "Every page, every log segment, both copies of every header, and how the logs follow each other. Every damage is listed, and the exit code is 3 if there is any; 6 for a database in a state that nobody can use. A dirty database is fine, if the logs that it needs are there and sound. A FILE is judged on its own. Databases of SQLite are asked by SQLite itself, while applications write. Nothing is changed.\n\nExamples:\n  jetbak check /mnt/snapshot/ntds\n  jetbak check /mnt/db --log-dir /mnt/logs --checkpoint /mnt/logs/e00.chk\n  jetbak check Web.edb --json | jq -c 'select(.type == \"damage\")'"
)]
pub struct CheckArgs {
    /// Storages (directories with the files of one instance each), or files
    #[arg(value_name = "STORAGE|FILE", required = true)]
    pub targets: Vec<PathBuf>,
    /// Where its files are.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// Compare also every index of an SQLite database with its table (`integrity_check`, not `quick_check`)
    #[arg(long)]
    pub deep: bool,
}

/// logs
#[derive(Args, Debug)]
#[command(
    after_help = "Nothing is changed. What can go goes with the next `jetbak backup STORAGE --to REPO --truncate`; delete no log by hand.\n\nExample:\n  jetbak logs /mnt/snapshot/exchange --repository /backup/exchange"
)]
pub struct LogsArgs {
    /// The storage: a directory with the files of one instance
    #[arg(value_name = "STORAGE")]
    pub storage: PathBuf,
    /// Ask the backups in this repository which logs they make needless
    #[arg(long, value_name = "REPO", env = "JETBAK_REPOSITORY", hide_env_values = true)]
    pub repository: Option<PathBuf>,
    /// Where its files are.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

/// inspect
#[derive(Args, Debug)]
#[command(
    after_help = "Databases, logs, checkpoints, flush maps and patch files of ESE, databases and logs of SQLite, by their content, whatever their names. The checksum of every copy is computed; the exit code is 3 where one does not hold. Positions in logs of ESE read generation:segment:offset in hexadecimal. Of a write-ahead log of SQLite every frame is proven, and how far the committed ones go.\n\nExample:\n  jetbak inspect Web.edb edb.log edb.chk"
)]
pub struct InspectArgs {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// completions
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// man
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write all man pages into this directory, instead of jetbak(1) to stdout
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// A path that may be empty: whether it is worth anything is said after what the session has to say.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// `30m`, `12h`: a time span, as people write it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "write it as 90s, 30m or 12h".to_owned())?;
    duration.try_into().map_err(|_| "it must not be negative".to_owned())
}

/// `30d`, `1w 3d`, `12h`: the same for longer ones; a day has 24 hours.
fn parse_days(text: &str) -> Result<SignedDuration, String> {
    let as_documented = || "write it as 12h, 30d or 1w 3d; months and years have no fixed length".to_owned();
    let span: Span = text.parse().map_err(|_| as_documented())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| as_documented())?;
    if duration.is_negative() { Err("it must not be negative".to_owned()) } else { Ok(duration) }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write it as a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "it must be a number of seconds, not negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_read_as_documented() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("30m"), Ok(Duration::from_mins(30)));
        assert_eq!(parse_duration("12h"), Ok(Duration::from_hours(12)));
        assert!(parse_duration("-1s").is_err() && parse_duration("soon").is_err());
        assert_eq!(parse_days("30d"), Ok(SignedDuration::from_hours(30 * 24)));
        assert_eq!(parse_days("1w 3d"), Ok(SignedDuration::from_hours(10 * 24)));
        assert_eq!(parse_days("90m"), Ok(SignedDuration::from_mins(90)));
        assert!(parse_days("1mo").is_err() && parse_days("2y").is_err() && parse_days("-1d").is_err());
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(parse_seconds("-1").is_err() && parse_seconds("nan").is_err());
    }
}
