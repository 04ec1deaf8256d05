//! Whether an instance can be backed up as it lies there, and which of its logs belong to the backup: pure functions over
//! what its headers say (decisions 4, 5, 8 to 13, 15, 20 to 22).

use std::collections::BTreeSet;

use super::facts::Terms;
use super::fields::{Generation, Signature};
use super::finding::{Finding, Kind, Weight};
use super::header::{DatabaseHeader, State};
use super::instance::{Instance, LogFile};
use super::log::{LogHeader, LogName, LogRole};
use super::ranges::Need;
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

/// The first reason why an instance cannot be backed up, and what is odd about it but stands in nobody's way.
pub fn judge(
    instance: &Instance,
    findings: Vec<Finding>,
    needs: &[Need],
    range: Option<Range>,
    terms: &Terms,
    keep_going: bool,
) -> (Option<Error>, Vec<Finding>) {
    let mut refused: Option<(u8, Error)> = dirty(instance, needs, terms).map(|error| (1, error));
    let mut noticed = Vec::new();
    for finding in findings {
        match fate(instance, &finding, range, terms, keep_going) {
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
        (matches!(need, Need::Logs(_)) && !header.is_backup_copy()).then_some((found, header))
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

fn fate(instance: &Instance, finding: &Finding, range: Option<Range>, terms: &Terms, keep_going: bool) -> Fate {
    match finding.weight {
        Weight::Warning | Weight::Garbage => return Fate::Noticed,
        Weight::Failed if keep_going => return Fate::Noticed, // what cannot be read is left out when it is its turn
        Weight::Failed => return Fate::Refused(5),
        Weight::Unfit => return Fate::Refused(0),
        Weight::Damage => {}
    }
    let refused_unless = |fine, rank| if fine { Fate::Noticed } else { Fate::Refused(rank) };
    let content = content_of(instance, finding);
    match (finding.kind, finding.jet) {
        // One copy of two.
        (Kind::Header, _) => {
            refused_unless(keep_going || matches!(content, Some(Content::Database(..) | Content::PatchFile(..))), 2)
        }
        (Kind::Size, _) => match content {
            Some(Content::Database(header, _)) => refused_unless(keep_going || !is_cut_short(header, finding), 2),
            Some(Content::Log(..)) => refused_unless(!is_taken(instance, finding, range), 4),
            _ => Fate::Noticed,
        },
        (Kind::Checkpoint, Some(Jet::CheckpointCorrupt)) | (Kind::FlushMap, _) => Fate::Noticed,
        (Kind::PageChecksum, _) => refused_unless(keep_going || terms.accept_damage, 2),
        (Kind::Missing, Some(Jet::CommittedLogFilesMissing)) => refused_unless(terms.accept_loss, 4),
        (Kind::Missing, _) => Fate::Refused(3),
        (Kind::LogHeader | Kind::LogChain, _) => refused_unless(!is_taken(instance, finding, range), 4),
        _ => Fate::Refused(4),
    }
}

/// Whether a database lacks pages that it owns, or has a length that a dirty one cannot have (decisions 8 and 11).
fn is_cut_short(header: &DatabaseHeader, finding: &Finding) -> bool {
    finding.page.is_some() || header.state != State::Clean
}

/// Why a database cannot be read when it is its turn, by itself: it may be another one than when the backup began, and with
/// `--keep-going` it is left out only now.
pub fn refuse_database(header: &DatabaseHeader, findings: &[Finding], terms: &Terms) -> Option<Error> {
    let stands_in_the_way = |finding: &&Finding| match (finding.weight, finding.kind) {
        (Weight::Unfit, _) | (Weight::Damage, Kind::Trailer) => true,
        (Weight::Damage, Kind::Size) => is_cut_short(header, finding),
        (Weight::Damage, Kind::PageChecksum) => !terms.accept_damage,
        _ => false,
    };
    let error = refusal(findings.iter().find(stands_in_the_way)?);
    Some(error.hint("`jetbak check` tells all that is wrong. --keep-going leaves the database out."))
}

fn content_of<'a>(instance: &'a Instance, finding: &Finding) -> Option<&'a Content> {
    let logs = instance.stream.iter().flat_map(|stream| &stream.logs).map(|log| &log.found);
    let rest = instance.databases.iter().chain(&instance.checkpoint).chain(&instance.others);
    let damaged = instance.damaged.iter().map(|(found, _)| found);
    let mut all = logs.chain(rest).chain(&instance.other_checkpoints).chain(damaged);
    all.find(|found| found.path == finding.file).map(|found| &found.content)
}

/// Whether a finding about a log is about one that the backup takes, by its name or its header.
fn is_taken(instance: &Instance, finding: &Finding, range: Option<Range>) -> bool {
    let mut logs = instance.stream.iter().flat_map(|stream| &stream.logs);
    let Some(log) = logs.find(|log| log.found.path == finding.file) else { return false };
    let Some(Range { low, high }) = range else { return true };
    let named = LogName::parse(log.found.name()).and_then(|name| match name.role {
        LogRole::Archived(generation) => Some(generation),
        _ => None,
    });
    let is_inside = |generation: Generation| (low..=high).contains(&generation);
    // What stands before the first one that is taken is in nobody's way.
    let is_after = |generation: Generation| is_inside(generation) && generation > low;
    match (log.header(), finding.jet) {
        (Some(header), Some(Jet::MissingFileToBackup)) => is_after(header.generation),
        (_, Some(Jet::BadLogSignature)) => named.is_none_or(is_inside),
        (Some(header), _) if is_inside(header.generation) => true,
        _ => named.is_none_or(is_inside),
    }
}
