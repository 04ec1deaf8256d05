//! Whether an instance can be backed up as it lies there, and which of its logs belong to the backup: pure functions over
//! what its headers say (decisions 4, 5, 8 to 13, 15, 20 to 22).

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::facts::Terms;
use super::fields::{Generation, Signature};
use super::files::Found;
use super::finding::{Finding, Kind, Weight};
use super::header::{DatabaseHeader, State};
use super::instance::{Instance, LogFile};
use super::judge::{Inside, judge_file};
use super::log::{LogHeader, LogName, LogRole};
use super::ranges::{Need, Required};
use super::recognise::Content;
use crate::error::{Error, ExitCode, Jet, printable};

/// Advice for a source that only the engine could copy.
const DIRTY_HINT: &str = "Only the engine can copy a database that is in use. Shut the application down, or mount a snapshot of \
                          the volume and back that up with --snapshot.";

/// What else there is to say of one whose logs are old.
const WITHOUT_IMAGES: &str = "hold no images of pages: not even they could mend what changes while it is copied.";

/// The generations that a backup takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first one.
    pub low: Generation,
    /// The last one, which is the current log where there is one.
    pub high: Generation,
}

/// Which logs a full backup takes: from the lowest one that the checkpoint or a dirty database names up to the current
/// one; with neither, the current one alone. None where the stream has no readable log.
pub fn range(instance: &Instance, signature: Option<&Signature>, needs: &[Need]) -> Option<Range> {
    let present: BTreeSet<Generation> = chain(instance, signature).map(|(generation, _)| generation).collect();
    let (lowest, high) = (*present.first()?, *present.last()?);
    let checkpoint = match instance.checkpoint.as_ref().map(|found| &found.content) {
        Some(Content::Checkpoint(checkpoint, _)) if Some(&checkpoint.log_signature) == signature => {
            Some(checkpoint.position.generation)
        }
        _ => None,
    };
    let required = needs.iter().filter_map(|need| match need {
        Need::Logs(required) => Some(required.low),
        _ => None,
    });
    let named = required.chain(checkpoint).filter(|generation| generation.0 != 0).min();
    Some(Range { low: named.unwrap_or(high).clamp(lowest, high), high })
}

/// The logs of a stream by what their headers say, those of other streams not among them.
pub fn chain<'a>(
    instance: &'a Instance,
    signature: Option<&'a Signature>,
) -> impl Iterator<Item = (Generation, &'a LogFile)> {
    let logs = instance.stream.iter().flat_map(|stream| &stream.logs);
    logs.filter_map(move |log| {
        let header = log.header().filter(|header| Some(&header.signature) == signature)?;
        Some((header.generation, log))
    })
}

/// What becomes of a finding in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It stands in the way; the lower the number, the sooner it is told.
    Refused(u8),
    /// It is told, and goes along.
    Noticed,
}

/// Whether a file is a log that the backup can do without, by its name alone: one below the range, or one that no chain
/// needs (decisions 4 and 13).
pub fn is_needless(instance: &Instance, path: &Path, range: Option<Range>) -> bool {
    let Some(stream) = &instance.stream else { return false };
    let name = path.file_name().and_then(LogName::parse).filter(|_| path.parent() == Some(&stream.directory));
    let Some(name) = name.filter(|name| name.base.as_ref().is_none_or(|base| *base == stream.base)) else {
        return false;
    };
    match name.role {
        LogRole::Archived(generation) => range.is_some_and(|range| generation < range.low),
        LogRole::Temporary => stream.current().is_some(),
        LogRole::Reserve => true,
        LogRole::Current => false,
    }
}

/// Whether a file is a log by its name, of the stream that is taken.
fn is_of_the_stream(instance: &Instance, path: &Path) -> bool {
    let Some(stream) = &instance.stream else { return false };
    let name = path.file_name().and_then(LogName::parse);
    name.is_some_and(|name| name.base.as_ref() == Some(&stream.base)) && path.parent() == Some(&stream.directory)
}

/// Databases that need logs of another stream than the one that is taken.
fn of_another_stream(instance: &Instance, signature: Option<&Signature>, needs: &[Need]) -> Vec<Finding> {
    let others = instance.headers().zip(needs).filter_map(|((found, header), need)| match need {
        Need::Logs(required) if Some(&header.log_signature) != signature => Some((found, required)),
        _ => None,
    });
    let finding = |(found, required): (&Found, &Required)| {
        let message = format!("needs logs {required} of another log stream than the one that the backup takes");
        Finding::damage(&found.path, Kind::Missing, Jet::RequiredLogFilesMissing, message)
    };
    others.map(finding).collect()
}

/// Why a database cannot be read now, though the instance was fit: what was only noticed because the database could be
/// left out, or what is new.
pub fn judge_open(found: &Found, inside: &Inside, terms: &Terms) -> Option<Error> {
    let Content::Database(header, _) = &found.content else { return None };
    let mut refused: Option<(u8, Error)> = None;
    // Whether a copy of the engine's has its trailer beside it, only the whole instance can tell.
    for finding in judge_file(found, inside).into_iter().filter(|finding| finding.kind != Kind::Trailer) {
        let fate = match finding.weight {
            Weight::Warning | Weight::Garbage => Fate::Noticed,
            Weight::Failed | Weight::Unfit => Fate::Refused(0),
            Weight::Damage => fate_in_database(header, &finding, terms, false),
        };
        if let Fate::Refused(rank) = fate
            && refused.as_ref().is_none_or(|(known, _)| rank < *known)
        {
            refused = Some((rank, refusal(&finding)));
        }
    }
    refused.map(|(_, error)| error)
}

/// The first reason why an instance cannot be backed up, and what is odd about it but stands in nobody's way.
pub fn judge(
    instance: &Instance,
    findings: Vec<Finding>,
    signature: Option<&Signature>,
    needs: &[Need],
    range: Option<Range>,
    terms: &Terms,
    keep_going: bool,
) -> (Option<Error>, Vec<Finding>) {
    let mut refused: Option<(u8, Error)> = dirty(instance, needs, terms).map(|error| (1, error));
    let mut noticed = Vec::new();
    let known = Known::of(instance);
    for finding in findings.into_iter().chain(of_another_stream(instance, signature, needs)) {
        match fate(instance, &known, &finding, range, terms, keep_going) {
            Fate::Noticed => noticed.push(finding),
            Fate::Refused(rank) if refused.as_ref().is_none_or(|(known, _)| rank < *known) => {
                refused = Some((rank, refusal(&finding)));
            }
            Fate::Refused(_) => {}
        }
    }
    (refused.map(|(_, error)| error), noticed)
}

/// A dirty database may be in use, unless somebody says that it is not (decision 10), or the engine itself has made it.
fn dirty(instance: &Instance, needs: &[Need], terms: &Terms) -> Option<Error> {
    if terms.snapshot {
        return None;
    }
    let (found, header) = instance.headers().zip(needs).find_map(|((found, header), need)| {
        (matches!(need, Need::Logs(_)) && !header.is_untouched_copy()).then_some((found, header))
    })?;
    let message =
        format!("{} was not shut down: it is in use, or its application has crashed", printable(&*found.path));
    let signature = Some(&header.log_signature);
    let mut logs = chain(instance, signature).filter_map(|(_, log)| log.header());
    let hint = match logs.find(|log| log.lacks_page_images()).map(LogHeader::version) {
        Some(version) => format!("{DIRTY_HINT} Its logs (version {version}) {WITHOUT_IMAGES}"),
        None => DIRTY_HINT.to_owned(),
    };
    Some(Error::jet(Jet::DatabaseDirtyShutdown, message).file(&*found.path).hint(hint))
}

fn refusal(finding: &Finding) -> Error {
    let message = format!("{} {}", printable(&*finding.file), finding.message);
    let error = match finding.jet {
        Some(jet) if finding.weight == Weight::Failed => Error::jet(jet, finding.message.clone()),
        Some(jet) => Error::jet(jet, message),
        None if finding.weight == Weight::Failed => Error::new(ExitCode::Failed, finding.message.clone()),
        None => Error::new(ExitCode::Verification, message),
    };
    let error = error.exit(finding.weight.exit_code()).file(&*finding.file);
    let error = match finding.page {
        Some(page) => error.page(page.into()),
        None => error,
    };
    error.hint(match finding.jet {
        Some(Jet::CommittedLogFilesMissing) => {
            "Find the logs; or give --accept-loss, and a restore loses what was committed last."
        }
        Some(Jet::DatabaseDirtyShutdown) => "Recover or repair the database with its engine first.",
        _ => "Nothing was read. `jetbak check` tells all that is wrong.",
    })
}

fn fate(
    instance: &Instance,
    known: &Known<'_>,
    finding: &Finding,
    range: Option<Range>,
    terms: &Terms,
    keep_going: bool,
) -> Fate {
    match finding.weight {
        Weight::Warning | Weight::Garbage => return Fate::Noticed,
        Weight::Failed if is_needless(instance, &finding.file, range) => return Fate::Noticed,
        // Without one of its logs a backup is none; any other file is left out when it is its turn.
        Weight::Failed if is_of_the_stream(instance, &finding.file) => return Fate::Refused(3),
        Weight::Failed if keep_going => return Fate::Noticed,
        Weight::Failed => return Fate::Refused(5),
        Weight::Unfit => return Fate::Refused(0),
        Weight::Damage => {}
    }
    let refused_unless = |fine, rank| if fine { Fate::Noticed } else { Fate::Refused(rank) };
    let content = known.contents.get(&*finding.file).copied();
    if let Some(Content::Database(header, _)) = content
        && matches!(finding.kind, Kind::Header | Kind::Size | Kind::PageChecksum)
    {
        return fate_in_database(header, finding, terms, keep_going);
    }
    match (finding.kind, finding.jet) {
        // No copy is good; or one of two.
        (Kind::Header, _) => refused_unless(keep_going || matches!(content, Some(Content::PatchFile(..))), 2),
        (Kind::Size, _) => match content {
            Some(Content::Log(..)) => refused_unless(!is_taken(known, finding, range), 4),
            _ => Fate::Noticed,
        },
        (Kind::Checkpoint, Some(Jet::CheckpointCorrupt)) | (Kind::FlushMap, _) => Fate::Noticed,
        (Kind::Missing, Some(Jet::CommittedLogFilesMissing)) => refused_unless(terms.accept_loss, 4),
        (Kind::Missing, _) => Fate::Refused(3),
        (Kind::LogHeader | Kind::LogChain, _) => refused_unless(!is_taken(known, finding, range), 4),
        _ => Fate::Refused(4),
    }
}

/// What becomes of damage in a database whose header is good; with `keep_going` the database can be left out.
fn fate_in_database(header: &DatabaseHeader, finding: &Finding, terms: &Terms, keep_going: bool) -> Fate {
    let is_fine = match finding.kind {
        Kind::Header => true, // one copy of two
        // Bytes behind the last page, or pages that are gone.
        Kind::Size => finding.page.is_none() && header.state == State::Clean,
        Kind::PageChecksum => terms.accept_damage,
        _ => false,
    };
    if is_fine || keep_going { Fate::Noticed } else { Fate::Refused(2) }
}

/// What is known of each file that findings may be about; there may be many of both.
struct Known<'a> {
    contents: HashMap<&'a Path, &'a Content>,
    logs: HashMap<&'a Path, &'a LogFile>,
}

impl<'a> Known<'a> {
    fn of(instance: &'a Instance) -> Self {
        let logs = || instance.stream.iter().flat_map(|stream| &stream.logs);
        let rest = instance.databases.iter().chain(&instance.checkpoint).chain(&instance.others);
        let damaged = instance.damaged.iter().map(|(found, _)| found);
        let all = logs().map(|log| &log.found).chain(rest).chain(&instance.other_checkpoints).chain(damaged);
        Self {
            contents: all.map(|found| (&*found.path, &found.content)).collect(),
            logs: logs().map(|log| (&*log.found.path, log)).collect(),
        }
    }
}

/// Whether a finding about a log is about one that the backup takes, by its name or its header.
fn is_taken(known: &Known<'_>, finding: &Finding, range: Option<Range>) -> bool {
    let Some(log) = known.logs.get(&*finding.file) else { return false };
    let Some(Range { low, high }) = range else { return true };
    let named = LogName::parse(log.found.name()).and_then(|name| match name.role {
        LogRole::Archived(generation) => Some(generation),
        _ => None,
    });
    let is_inside = |generation: Generation| (low..=high).contains(&generation);
    // What stands before the first one that is taken is in nobody's way.
    let is_after = |generation: Generation| is_inside(generation) && generation > low;
    match (log.header(), finding.jet) {
        (Some(header), _) if finding.is_link => is_after(header.generation),
        (_, Some(Jet::BadLogSignature)) => named.is_none_or(is_inside),
        (Some(header), _) if is_inside(header.generation) => true,
        _ => named.is_none_or(is_inside),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::sync::Arc;

    use super::*;
    use crate::engine::ese::checkpoint::{COPY_BYTES, Checkpoint};
    use crate::engine::ese::fields::LogTime;
    use crate::engine::ese::header::Copies;
    use crate::engine::ese::header::Copy;
    use crate::engine::ese::instance::Stream;
    use crate::engine::ese::judge::{Judgement, judge_instance};
    use crate::engine::ese::log::LogHeader;
    use crate::engine::ese::page::PageSize;

    const LAST: u32 = 4;

    fn signature(of: u8) -> Signature {
        Signature::at(&[of; 28], 0)
    }

    fn found(name: &str, content: Content) -> Found {
        Found { path: Arc::from(Path::new("/db").join(name)), size: 0, content }
    }

    /// A log of stream 1 or 2; the newest one is the current one.
    fn log(generation: u32, stream: u8, is_current: bool) -> LogFile {
        let mut header = LogHeader::parse(&[0; 4096]);
        (header.generation, header.signature) = (Generation(generation), signature(stream));
        let time = |generation: u32| LogTime([u8::try_from(generation).unwrap_or(0); 8]);
        (header.created, header.previous_created) = (time(generation), time(generation - 1));
        let name = if is_current { "edb.log".to_owned() } else { format!("edb{generation:05X}.log") };
        let parsed = LogName::parse(OsStr::new(&name)).expect("a log's name");
        LogFile { found: found(&name, Content::Log(Box::new(header), Copy::look(&[], 0, 4096))), name: parsed }
    }

    fn database(stream: u8, low: u32, high: u32) -> Found {
        let mut header = DatabaseHeader::parse(&[0; 4096], PageSize::KIB_4);
        (header.state, header.log_signature, header.signature) = (State::Dirty, signature(stream), signature(stream));
        (header.required_low, header.required_high) = (Generation(low), Generation(high));
        header.committed_high = Generation(high);
        found("a.edb", Content::Database(Box::new(header), Copies::look(&[], 4096, |_| true)))
    }

    fn checkpoint(generation: u32) -> Found {
        let mut copy = [0; COPY_BYTES];
        copy[16..20].copy_from_slice(&generation.to_le_bytes());
        let mut checkpoint = Checkpoint::parse(&copy);
        checkpoint.log_signature = signature(1);
        found("edb.chk", Content::Checkpoint(Box::new(checkpoint), Copies::look(&[], COPY_BYTES, |_| true)))
    }

    /// What two databases may need.
    fn pairs() -> impl Iterator<Item = ((u32, u32), (u32, u32))> {
        let needs = || (1..=LAST).flat_map(|low| (low..=LAST).map(move |high| (low, high)));
        needs().flat_map(move |one| needs().map(move |other| (one, other)))
    }

    /// Whatever logs are there, of whichever stream: what is accepted has all that its databases need, without a gap.
    #[test]
    fn what_is_accepted_can_be_recovered() {
        let terms = Terms { snapshot: true, accept_loss: true, accept_damage: true, ..Terms::default() };
        let (mut accepted, mut refused) = (0, 0);
        for pattern in 0..3_u32.pow(LAST) {
            let streams: Vec<u8> =
                (0..LAST).map(|at| u8::try_from(pattern / 3_u32.pow(at) % 3).expect("small")).collect();
            let newest = streams.iter().rposition(|stream| *stream != 0);
            for ((low, high), (other_low, other_high)) in pairs() {
                for (stream, checkpoint_at, has_current) in
                    [(1, 0, true), (1, low, true), (1, 1, false), (2, 0, true), (2, LAST, true)]
                {
                    let logs = (1..=LAST).zip(&streams).filter(|(_, stream)| **stream != 0);
                    let is_current =
                        |generation: u32| has_current && newest.is_some_and(|at| at + 1 == generation as usize);
                    let logs = logs.map(|(generation, stream)| log(generation, *stream, is_current(generation)));
                    let instance = Instance {
                        databases: vec![database(1, low, high), database(stream, other_low, other_high)],
                        stream: Some(Stream {
                            base: "edb".to_owned(),
                            directory: "/db".into(),
                            logs: logs.collect(),
                            unused: Vec::new(),
                        }),
                        checkpoint: Some(checkpoint(checkpoint_at)).filter(|_| checkpoint_at > 0),
                        ..Instance::default()
                    };
                    let insides = vec![Inside::default(); 2];
                    let Judgement { findings, needs, signature: taken, .. } = judge_instance(&instance, &insides);
                    let range = range(&instance, taken.as_ref(), &needs);
                    let (error, _) = judge(&instance, findings, taken.as_ref(), &needs, range, &terms, true);
                    if error.is_some() {
                        refused += 1;
                        continue;
                    }
                    accepted += 1;
                    let Range { low: first, high: last } = range.expect("there are logs");
                    let case =
                        format!("logs {streams:?}, {low}-{high}, and of stream {stream} {other_low}-{other_high}");
                    assert!(stream == 1 && taken == Some(signature(1)), "{case}");
                    assert!(first.0 <= low.min(other_low) && last.0 >= high.max(other_high), "{case}");
                    let all = chain(&instance, taken.as_ref()).map(|(generation, _)| generation);
                    let of_range: Vec<_> = all.filter(|generation| (first..=last).contains(generation)).collect();
                    assert_eq!(of_range.len(), (last.0 - first.0 + 1) as usize, "{case}");
                }
            }
        }
        assert!(accepted > 100 && refused > 1000, "{accepted} accepted, {refused} refused");
    }
}
