//! What belongs to an instance: its databases, its one log stream, its checkpoint (`spec/ese-format.md` §1). Finding the
//! files is [`super::files`]; deciding is done here, over values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fields::{Generation, Signature};
use super::files::{Below, Found, look, look_below};
use super::header::{DatabaseHeader, State};
use super::log::{LogHeader, LogName, LogRole, checkpoint_base};
use super::recognise::{Claim, Content, Evidence};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::stream::stop::StopToken;

/// Where an instance keeps its files, as far as somebody had to say it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The base name of its logs, where a directory holds several streams.
    pub base: Option<String>,
    /// The directory of its logs, where that is not below the storage.
    pub log_directory: Option<PathBuf>,
    /// Its checkpoint, where that is elsewhere or has another name.
    pub checkpoint: Option<PathBuf>,
}

/// A log of the stream, by its name; its content may be damaged.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// The file.
    pub found: Found,
    /// What its name says.
    pub name: LogName,
}

impl LogFile {
    /// What its header says, where that can be believed.
    pub fn header(&self) -> Option<&LogHeader> {
        match &self.found.content {
            Content::Log(header, _) => Some(header),
            _ => None,
        }
    }
}

/// The logs of an instance.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The three characters their names begin with, in lower case.
    pub base: String,
    /// Where they are.
    pub directory: PathBuf,
    /// The closed ones and the current one, by generation.
    pub logs: Vec<LogFile>,
    /// Temporary and reserve logs, which are no part of the chain.
    pub unused: Vec<LogFile>,
}

impl Stream {
    /// The stream of logs that are known to be its chain; none where there is none.
    pub fn of(mut logs: Vec<LogFile>) -> Option<Self> {
        let first = logs.first()?;
        let base = first.name.base.clone().unwrap_or_default();
        let directory = first.found.path.parent().unwrap_or(Path::new("")).to_owned();
        sort(&mut logs);
        Some(Self { base, directory, logs, unused: Vec::new() })
    }

    /// The current log: by its name, or the next one where a roll was interrupted (decision 13).
    pub fn current(&self) -> Option<&LogFile> {
        self.logs.iter().find(|log| !matches!(log.name.role, LogRole::Archived(_)))
    }

    /// Where a file of this stream would lie that is called so with legacy names (`log`, `chk`), or without (`jtx`, `jcp`).
    pub fn place(&self, legacy: &str, modern: &str) -> PathBuf {
        let is_modern = |log: &LogFile| log.found.path.extension().is_some_and(|it| it.eq_ignore_ascii_case("jtx"));
        let extension = if self.logs.iter().any(is_modern) { modern } else { legacy };
        self.directory.join(format!("{}.{extension}", self.base))
    }

    /// Who the stream is: its newest log says so.
    pub fn signature(&self) -> Option<Signature> {
        let current = self.current().and_then(LogFile::header);
        let newest = || self.logs.iter().filter_map(LogFile::header).max_by_key(|header| header.generation);
        current.or_else(newest).map(|header| header.signature)
    }
}

/// All files of an instance.
#[derive(Debug, Default)]
pub struct Instance {
    /// Its databases.
    pub databases: Vec<Found>,
    /// Its logs; none where there are none.
    pub stream: Option<Stream>,
    /// Its checkpoint.
    pub checkpoint: Option<Found>,
    /// Checkpoints that are not its own, or not for certain.
    pub other_checkpoints: Vec<Found>,
    /// Flush maps.
    pub flush_maps: Vec<Found>,
    /// Everything else of the engine: patch files, temporary databases, logs under names that no log has.
    pub others: Vec<Found>,
    /// Files that say they are the engine's, and are damaged; with what they say.
    pub damaged: Vec<(Found, Claim)>,
    /// Files of no engine that stand under names which databases have.
    pub suspects: Vec<Found>,
    /// What is left out, and why.
    pub left_out: Vec<(PathBuf, String)>,
    /// What could not be looked at.
    pub failed: Vec<(PathBuf, Error)>,
    /// How many files are none of the engine's.
    pub foreign: u64,
}

impl Instance {
    /// Looks at a storage and says what belongs to the instance; -1081 where there are several streams.
    pub fn discover(root: &Path, options: &Options, stop: &StopToken) -> Result<Self> {
        Self::gather(root, options, stop, &mut |take| {
            look_below(root, true, stop, take)?;
            let Some(directory) = &options.log_directory else { return Ok(()) };
            let beside = directory.canonicalize().ok().zip(root.canonicalize().ok());
            if beside.is_some_and(|(logs, root)| logs.starts_with(root)) {
                return Ok(());
            }
            look_below(directory, false, stop, take)
        })
    }

    /// The same, over the files that somebody else finds below the storage and in the directory of the logs.
    pub fn gather(
        root: &Path,
        options: &Options,
        stop: &StopToken,
        find: &mut dyn FnMut(Take<'_>) -> Result<()>,
    ) -> Result<Self> {
        let mut gathered = Gathered::default();
        find(&mut |below| gathered.take(below))?;
        let named = options.checkpoint.as_deref().map(|path| look(path, stop)).transpose()?;
        assemble(gathered, root, options, named)
    }

    /// Whether there is anything of the engine.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
            && self.stream.is_none()
            && self.checkpoint.is_none()
            && self.other_checkpoints.is_empty()
            && self.flush_maps.is_empty()
            && self.others.is_empty()
            && self.damaged.is_empty()
    }

    /// The databases, with their headers.
    pub fn headers(&self) -> impl Iterator<Item = (&Found, &DatabaseHeader)> {
        self.databases.iter().filter_map(|found| match &found.content {
            Content::Database(header, _) => Some((found, header.as_ref())),
            _ => None,
        })
    }
}

/// Who takes what is found below a storage.
pub type Take<'a> = &'a mut dyn FnMut(Below);

#[derive(Debug, Default)]
struct Gathered {
    found: Vec<Found>,
    left_out: Vec<(PathBuf, String)>,
    failed: Vec<(PathBuf, Error)>,
    foreign: u64,
}

impl Gathered {
    /// Keeps what may be the engine's; of a million other files only their number.
    fn take(&mut self, below: Below) {
        match below {
            Below::File(found) if may_be_foreign(&found.content) && !has_a_telling_name(&found) => self.foreign += 1,
            Below::File(found) if is_temporary(&found) => {
                self.left_out
                    .push((found.path.to_path_buf(), "a temporary database, which no restore needs".to_owned()));
            }
            Below::File(found) => self.found.push(found),
            Below::LeftOut(path, what) => self.left_out.push((path, what.to_owned())),
            Below::Failed(path, error) => self.failed.push((path, error)),
        }
    }
}

/// Whether nothing but its name can tell that a file is the engine's.
fn may_be_foreign(content: &Content) -> bool {
    matches!(content, Content::Foreign | Content::DamagedHeader(_, _, Evidence::FileType))
}

/// Whether a file is the engine's scratch space, which it deletes when it shuts down and when it starts: by its name, and
/// because no log has ever told of it (§2).
pub(super) fn is_temporary(found: &Found) -> bool {
    let is_named = ["tmp.edb", "temp.edb"].iter().any(|name| found.name().eq_ignore_ascii_case(name));
    let is_scratch = match &found.content {
        Content::Database(header, _) => !header.has_log_stream() && header.state != State::Clean,
        // Some other program's file under that name is that program's.
        Content::Foreign => false,
        _ => true,
    };
    is_named && is_scratch
}

/// Whether a file's name is one that files of the engine have.
fn has_a_telling_name(found: &Found) -> bool {
    let extension = found.path.extension().map(std::ffi::OsStr::to_ascii_lowercase).unwrap_or_default();
    let is_database = ["edb", "dit", "mdb", "sdb", "jfm"].iter().any(|known| extension == *known);
    is_database || LogName::parse(found.name()).is_some() || checkpoint_base(found.name()).is_some()
}

/// Streams by directory and base; in each the logs by name.
type Streams = BTreeMap<(PathBuf, String), Vec<LogFile>>;

fn assemble(gathered: Gathered, root: &Path, options: &Options, named: Option<Found>) -> Result<Instance> {
    let Gathered { found, left_out, failed, foreign } = gathered;
    let mut instance = Instance { left_out, failed, foreign, ..Instance::default() };
    let mut streams = Streams::new();
    let mut checkpoints = Vec::new();
    for file in found {
        let name = LogName::parse(file.name());
        match (&file.content, name) {
            (Content::Database(..), _) => instance.databases.push(file),
            (Content::FlushMap(..), _) => instance.flush_maps.push(file),
            (Content::Checkpoint(..), _) => checkpoints.push(file),
            (_, Some(name)) => {
                let directory = file.path.parent().unwrap_or(Path::new("")).to_owned();
                let base = name.base.clone().unwrap_or_default();
                streams.entry((directory, base)).or_default().push(LogFile { found: file, name });
            }
            (
                Content::DamagedHeader(Claim::Checkpoint, ..) | Content::Foreign | Content::Zero | Content::Empty,
                None,
            ) if checkpoint_base(file.name()).is_some() => {
                checkpoints.push(file);
            }
            (Content::DamagedHeader(claim, ..), None) => {
                let claim = *claim;
                instance.damaged.push((file, claim));
            }
            (Content::PatchFile(..) | Content::Other(_) | Content::Log(..), None) => instance.others.push(file),
            (_, None) if has_a_telling_name(&file) => instance.suspects.push(file),
            (_, None) => instance.foreign += 1,
        }
    }
    instance.stream = choose_stream(streams, root, options, &mut instance)?;
    choose_checkpoint(&mut instance, checkpoints, named);
    Ok(instance)
}

/// Takes the one stream there is, of which at least one log must be one by its content.
fn choose_stream(streams: Streams, root: &Path, options: &Options, instance: &mut Instance) -> Result<Option<Stream>> {
    let wanted = options.base.as_deref().map(str::to_ascii_lowercase);
    let log_directory = options.log_directory.as_deref().map(|path| path.canonicalize().unwrap_or(path.to_owned()));
    let is_wanted = |(directory, base): &(PathBuf, String)| {
        wanted.as_ref().is_none_or(|wanted| wanted == base)
            && log_directory.as_ref().is_none_or(|logs| {
                logs == directory || directory.canonicalize().is_ok_and(|directory| directory == *logs)
            })
    };
    let mut candidates = Vec::new();
    for (key, logs) in streams {
        let is_stream = logs.iter().any(|log| {
            let is_log = matches!(log.found.content, Content::Log(..) | Content::DamagedHeader(Claim::Log, ..));
            is_log && log.name.role != LogRole::Reserve
        });
        if is_stream && is_wanted(&key) {
            candidates.push((key, logs));
        } else if is_stream {
            let what = format!("of the log stream {}, which was not asked for", printable(&key.1));
            instance.left_out.extend(logs.into_iter().map(|log| (log.found.path.to_path_buf(), what.clone())));
        } else {
            // Names alone make no stream: an application's own log is as likely.
            instance.foreign += logs.len() as u64;
        }
    }
    if candidates.len() > 1 {
        return Err(several_streams(&candidates, root));
    }
    let Some(((directory, base), logs)) = candidates.pop() else {
        let message = match (&options.base, &options.log_directory) {
            (Some(base), None) => format!("no log stream {} in {}", printable(base), printable(root)),
            (Some(base), Some(logs)) => format!("no log stream {} in {}", printable(base), printable(logs)),
            (None, Some(logs)) => format!("there are no logs in {}", printable(logs)),
            (None, None) => return Ok(None),
        };
        let hint = "Without --base and --log-dir the logs are taken that are found below the storage.";
        return Err(Error::new(ExitCode::Usage, message).hint(hint));
    };
    Ok(Some(order(base, directory, logs)))
}

fn several_streams(candidates: &[((PathBuf, String), Vec<LogFile>)], root: &Path) -> Error {
    let describe = |((directory, base), logs): &((PathBuf, String), Vec<LogFile>)| {
        let generations = logs.iter().filter_map(LogFile::header).map(|header| header.generation);
        let (low, high) = (generations.clone().min().unwrap_or_default(), generations.max().unwrap_or_default());
        let place = printable(directory.strip_prefix(root).unwrap_or(directory));
        let place = if place.is_empty() { ".".to_owned() } else { place };
        format!("{} in {place} (generations {})", printable(base), super::ranges::span(low, high))
    };
    let list: Vec<_> = candidates.iter().map(describe).collect();
    let message = format!("{} log streams in {}: {}", list.len(), printable(root), list.join(", "));
    let mut directories: Vec<_> = candidates.iter().map(|((directory, _), _)| directory).collect();
    directories.dedup();
    let hint = if directories.len() == 1 {
        "Name the one that is meant with --base."
    } else {
        "Name the one that is meant with --base or --log-dir, or take each directory on its own."
    };
    Error::jet(Jet::RunningInMultiInstanceMode, message).hint(hint)
}

/// Puts the logs of a stream in order, and the next one in the place of the current where a roll was interrupted.
fn order(base: String, directory: PathBuf, logs: Vec<LogFile>) -> Stream {
    let (mut chain, mut unused): (Vec<_>, Vec<_>) =
        logs.into_iter().partition(|log| matches!(log.name.role, LogRole::Archived(_) | LogRole::Current));
    let has_current = chain.iter().any(|log| log.name.role == LogRole::Current);
    let newest = chain.iter().filter_map(LogFile::header).max_by_key(|header| header.generation);
    let is_next = |log: &LogFile| {
        let follows = |header: &LogHeader| match newest {
            Some(newest) => {
                newest.generation.next() == header.generation
                    && newest.signature == header.signature
                    && newest.created == header.previous_created
            }
            None => false,
        };
        log.name.role == LogRole::Temporary && log.header().is_some_and(follows)
    };
    if !has_current && let Some(index) = unused.iter().position(is_next) {
        chain.push(unused.swap_remove(index));
    }
    sort(&mut chain);
    Stream { base, directory, logs: chain, unused }
}

/// Sorts the logs of a chain by generation.
fn sort(chain: &mut [LogFile]) {
    let named = |log: &LogFile| match log.name.role {
        LogRole::Archived(generation) => generation,
        _ => log.header().map_or(Generation(u32::MAX), |header| header.generation),
    };
    chain.sort_by_key(|log| (log.name.role == LogRole::Current, named(log)));
}

/// The checkpoint that was named; else the one that stands beside the logs, or anywhere, under the base of the stream;
/// without logs the only one there is.
fn choose_checkpoint(instance: &mut Instance, mut checkpoints: Vec<Found>, named: Option<Found>) {
    let chosen = match (&named, &instance.stream) {
        (Some(named), _) => {
            let real = named.path.canonicalize().ok();
            checkpoints.retain(|other| real.is_none() || other.path.canonicalize().ok() != real);
            None
        }
        (None, Some(stream)) => {
            let is_ours = |file: &&Found| checkpoint_base(file.name()).as_ref() == Some(&stream.base);
            let beside = |file: &&Found| file.path.parent() == Some(&stream.directory);
            let matches = |file: &&Found| match &file.content {
                Content::Checkpoint(checkpoint, _) => Some(checkpoint.log_signature) == stream.signature(),
                _ => false,
            };
            let ours: Vec<_> = checkpoints.iter().filter(is_ours).collect();
            let best = ours.iter().find(|file| beside(file)).or_else(|| ours.iter().find(|file| matches(file)));
            best.or_else(|| ours.first()).map(|file| Arc::clone(&file.path))
        }
        (None, None) if checkpoints.len() == 1 => checkpoints.first().map(|file| Arc::clone(&file.path)),
        (None, None) => None,
    };
    let position = checkpoints.iter().position(|file| Some(&file.path) == chosen.as_ref());
    instance.checkpoint = named.or_else(|| position.map(|index| checkpoints.remove(index)));
    instance.other_checkpoints = checkpoints;
}
