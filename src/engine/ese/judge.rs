//! What the headers of files say about a file, and about an instance as a whole: pure functions that yield findings
//! (decisions 5, 8 to 13, 15, 20 to 22).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::chain::{Link, Misfit, misfits};
use super::checkpoint::COPY_BYTES;
use super::fields::{Generation, LogTime, Signature};
use super::files::Found;
use super::finding::{Finding, Kind, Weight};
use super::flush_map;
use super::header::{Copies, DatabaseHeader};
use super::instance::{Instance, LogFile, Stream};
use super::log::{LogHeader, LogName, LogRole, SEGMENT_BYTES};
use super::page::PageNumber;
use super::patch::PatchPage;
use super::ranges::{Need, Required, missing, need, span};
use super::recognise::{Claim, Content};
use crate::error::{Jet, printable};

/// What a look at a database's own pages told, beyond its header.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    /// The last page that it owns; none where that cannot be known.
    pub owned: Option<PageNumber>,
    /// A page that says what it owns, and lies beyond the end of the file.
    pub beyond: Option<PageNumber>,
    /// Its root was never written, so that there is no database.
    pub root_is_blank: bool,
    /// What its last page says, where that is a trailer; in sets of old engines, what the patch file beside it says.
    pub trailer: Option<PatchPage>,
    /// The last page, where it is that trailer.
    pub trailer_page: Option<PageNumber>,
    /// The number of the last whole page of the file; none where there is no page.
    pub last_page: Option<PageNumber>,
}

/// What is wrong with a file as a whole, by its headers and its length.
pub fn judge_file(found: &Found, inside: &Inside) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &found.content {
        Content::Database(header, copies) => judge_database(found, header, copies, inside, &mut findings),
        Content::Log(header, _) => judge_log(found, header, &mut findings),
        Content::Checkpoint(_, copies) => {
            judge_copies(found, copies, Kind::Checkpoint, Jet::CheckpointCorrupt, &mut findings);
            expect_size(found, 2 * COPY_BYTES as u64, Jet::CheckpointCorrupt, &mut findings);
        }
        Content::FlushMap(..) if !found.size.is_multiple_of(flush_map::UNIT.bytes_u64()) => {
            let message = format!("is no whole number of pages of {}", flush_map::UNIT);
            let finding = Finding::damage(&found.path, Kind::Size, Jet::FileIOBeyondEOF, message);
            findings.push(finding.sums("", found.size.to_string()));
        }
        Content::DamagedHeader(claim, copies, _) => judge_damaged(found, *claim, copies, &mut findings),
        _ => {}
    }
    findings
}

/// What is wrong with a file that was named, so that it ought to be one of the engine's.
pub fn judge_named(found: &Found) -> Option<Finding> {
    let name = LogName::parse(found.name());
    let is_unused = name.is_some_and(|name| matches!(name.role, LogRole::Reserve | LogRole::Temporary));
    let is_patch = found.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pat"));
    let sentence = sentence(&found.content)?;
    match found.content {
        Content::Empty if is_patch => None,
        Content::Zero | Content::Fill if is_unused => None,
        _ => Some(Finding::damage(&found.path, Kind::FileType, Jet::FileInvalidType, sentence)),
    }
}

/// What to say of a file that holds nothing of the engine; none where it does.
pub fn sentence(content: &Content) -> Option<&'static str> {
    Some(match content {
        Content::Empty => "is empty",
        Content::Zero => "holds nothing but zeros, as an unused reserve or temporary log does",
        Content::Fill => "holds nothing but the fill pattern of an unused log",
        Content::LfsPointer => "is a Git LFS pointer, not the file itself; `git lfs pull` fetches that",
        Content::Foreign => "is not a file of the Extensible Storage Engine",
        _ => return None,
    })
}

fn judge_copies(found: &Found, copies: &Copies, kind: Kind, jet: Jet, findings: &mut Vec<Finding>) {
    for (index, (copy, valid)) in copies.both.iter().zip(copies.valid).enumerate() {
        if valid {
            continue;
        }
        let which = if index == 0 { "first" } else { "second" };
        let other = if copies.valid[1 - index] { "; the other one is good" } else { "" };
        let (message, computed) = if !copy.complete {
            (format!("ends inside the {which} copy of its header{other}"), String::new())
        } else if copy.is_valid() {
            (format!("has a {which} copy of its header that is of something else{other}"), String::new())
        } else {
            (format!("has a damaged {which} copy of its header{other}"), format!("{:08x}", copy.computed))
        };
        let stored = if computed.is_empty() { String::new() } else { format!("{:08x}", copy.stored) };
        findings.push(Finding::damage(&found.path, kind, jet, message).sums(stored, computed));
    }
    if copies.differ() {
        let message = "was caught between the writes of its two headers, which are good but differ; the first counts";
        let [first, second] = copies.both.map(|copy| format!("{:08x}", copy.stored));
        findings.push(Finding::warning(&found.path, kind, None, message).sums(first, second));
    }
}

fn expect_size(found: &Found, expected: u64, jet: Jet, findings: &mut Vec<Finding>) {
    if found.size != expected {
        let message = format!("has {} bytes instead of {expected}", found.size);
        let finding = Finding::damage(&found.path, Kind::Size, jet, message);
        findings.push(finding.sums(expected.to_string(), found.size.to_string()));
    }
}

fn judge_damaged(found: &Found, claim: Claim, copies: &Copies, findings: &mut Vec<Finding>) {
    let (kind, jet) = match claim {
        Claim::Database => (Kind::Header, Jet::DatabaseCorrupted),
        Claim::Log => (Kind::LogHeader, Jet::LogReadVerifyFailure),
        Claim::Checkpoint => (Kind::Checkpoint, Jet::CheckpointCorrupt),
        Claim::FlushMap => (Kind::FlushMap, Jet::ReadVerifyFailure),
    };
    let copy = copies.both[0];
    let how_many =
        if matches!(claim, Claim::Database | Claim::Checkpoint) { "no valid header" } else { "a damaged header" };
    let message = if copy.complete {
        format!("is a {} with {how_many}", claim.name())
    } else {
        format!("is a {} that ends inside its header", claim.name())
    };
    let finding = Finding::damage(&found.path, kind, jet, message);
    findings.push(finding.sums(format!("{:08x}", copy.stored), format!("{:08x}", copy.computed)));
}

fn judge_database(
    found: &Found,
    header: &DatabaseHeader,
    copies: &Copies,
    inside: &Inside,
    findings: &mut Vec<Finding>,
) {
    let mut copies = *copies;
    if header.has_no_shadow() && copies.valid[0] {
        copies.valid[1] = true; // not kept: what lies there means nothing
        copies.identical = true;
    }
    judge_copies(found, &copies, Kind::Header, Jet::DatabaseCorrupted, findings);
    let size = header.page_size;
    if !found.size.is_multiple_of(size.bytes_u64()) {
        let over = found.size % size.bytes_u64();
        let message = format!("is no whole number of pages: {over} bytes follow the last one");
        let finding = Finding::damage(&found.path, Kind::Size, Jet::DatabaseCorrupted, message);
        findings.push(finding.sums("", found.size.to_string()));
    }
    if inside.root_is_blank {
        let message = "page 1, the root of the database, holds nothing but zeros";
        let finding = Finding::damage(&found.path, Kind::PageChecksum, Jet::PageNotInitialized, message);
        findings.push(finding.page(1));
    }
    let ends = match inside.last_page {
        Some(last) => format!("the file ends with page {last}"),
        None => "the file ends with the header".to_owned(),
    };
    let owned = inside.owned.filter(|owned| inside.last_page.is_none_or(|last| *owned > last));
    let lost = match (owned, inside.beyond) {
        (Some(owned), _) => Some((owned, format!("the database owns pages up to {owned}"))),
        (None, Some(beyond)) => Some((beyond, format!("page {beyond}, which tells what the database owns, is gone"))),
        (None, None) => None,
    };
    if let Some((page, what)) = lost {
        let message = format!("is cut short: {what}, {ends}");
        let finding = Finding::damage(&found.path, Kind::Size, Jet::DatabaseCorrupted, message);
        findings.push(
            finding.page(page.0).sums((size.offset_of(page) + size.bytes_u64()).to_string(), found.size.to_string()),
        );
    }
    if found.size / size.bytes_u64() > u64::from(u32::MAX) + 2 {
        let message = format!("is longer than a database can be: nothing behind page {} was looked at", u32::MAX);
        let finding = Finding::damage(&found.path, Kind::Size, Jet::DatabaseCorrupted, message);
        findings.push(finding.sums("", found.size.to_string()));
    }
    judge_trailer(found, header, inside, findings);
    match need(header, inside.trailer.as_ref()) {
        Need::Nothing | Need::Logs(_) => {}
        Need::NoStream => {
            let message = "is dirty, and never had logs: it cannot be recovered";
            findings.push(Finding::new(
                &found.path,
                Kind::State,
                Weight::Unfit,
                Some(Jet::DatabaseDirtyShutdown),
                message,
            ));
        }
        Need::Unusable(jet) => {
            let state = header.state;
            let message = format!("is in state {} ({}), in which nobody can use it", state.number(), state.name());
            let finding = Finding::new(&found.path, Kind::State, Weight::Unfit, Some(jet), message);
            findings.push(finding.sums(state.number().to_string(), ""));
        }
    }
    if header.repair_count > 0 {
        let message = format!("was repaired {} times: what could not be saved is lost", header.repair_count);
        findings.push(Finding::warning(&found.path, Kind::State, None, message));
    }
    if header.format_major != 0x620 {
        let message =
            format!("has a format that is not known (0x{:x}); it was proven as if it were", header.format_major);
        findings.push(Finding::warning(&found.path, Kind::Header, Some(Jet::InvalidDatabaseVersion), message));
    }
}

/// A copy that the engine made ends with a page which says up to where its logs go (decision 15).
fn judge_trailer(found: &Found, header: &DatabaseHeader, inside: &Inside, findings: &mut Vec<Finding>) {
    let is_unfinished = header.is_untouched_copy();
    match &inside.trailer {
        None if is_unfinished => {
            let message = "is a copy made by the engine's backup, and its last page is no trailer: it was not finished";
            findings.push(Finding::damage(&found.path, Kind::Trailer, Jet::BadPatchPage, message));
        }
        Some(trailer) if is_unfinished => {
            let same = trailer.backup.position == header.full_current.position
                && trailer.backup.time == header.full_current.time
                && trailer.backup.low == header.full_current.low
                && trailer.log_signature == header.log_signature;
            if !same {
                let message = "is a copy made by the engine's backup, and its trailer is that of another backup";
                let finding = Finding::damage(&found.path, Kind::Trailer, Jet::DatabasePatchFileMismatch, message);
                findings.push(finding.sums(trailer.backup.to_string(), header.full_current.to_string()));
            }
        }
        _ => {}
    }
}

fn judge_log(found: &Found, header: &LogHeader, findings: &mut Vec<Finding>) {
    if !(5..=8).contains(&header.major) {
        let message = format!("has a format that is not known ({})", header.version());
        findings.push(Finding::damage(&found.path, Kind::LogHeader, Jet::BadLogVersion, message));
    }
    let sector = header.sector_bytes;
    let is_sector = sector.is_power_of_two() && (512..=4096).contains(&sector);
    let header_bytes = u64::from(header.header_sectors) * u64::from(sector);
    if !is_sector || (header.has_segments() && sector != 4096) || header_bytes != SEGMENT_BYTES as u64 {
        let sectors = header.header_sectors;
        let message = format!("says that its header has {sectors} sectors of {sector} bytes, which cannot be");
        findings.push(Finding::damage(&found.path, Kind::LogHeader, Jet::LogFileCorrupt, message));
    }
    expect_size(found, header.file_bytes(), Jet::LogFileSizeMismatch, findings);
}

/// What an instance amounts to.
#[derive(Debug, Default)]
pub struct Judgement {
    /// What is wrong between its files.
    pub findings: Vec<Finding>,
    /// What each database needs, in the order of the instance.
    pub needs: Vec<Need>,
    /// The runs of logs that are there, by generation.
    pub generations: Vec<(Generation, Generation)>,
    /// Who the log stream is, as far as logs or databases say so.
    pub signature: Option<Signature>,
}

/// Judges an instance by its headers; `inside` holds what is known of each database, in the order of the instance.
pub fn judge_instance(instance: &Instance, inside: &[Inside]) -> Judgement {
    let mut judgement = Judgement::default();
    let findings = &mut judgement.findings;
    let reference = reference_signature(instance);
    let unread = Unread::of(instance);
    judgement.signature = reference;
    if let Some(stream) = &instance.stream {
        judge_stream(stream, reference.unwrap_or_default(), &unread, findings);
        judgement.generations = runs(&generations_of(stream, reference.as_ref()));
    }
    let mut dirty: Vec<Required> = Vec::new();
    let mut is_engine_set = false;
    for ((found, header), inside) in instance.headers().zip(inside) {
        let need = need(header, inside.trailer.as_ref());
        judgement.needs.push(need);
        is_engine_set |= header.is_backup_copy();
        if let Need::Logs(required) = need {
            dirty.push(required);
            judge_required(found, header, required, instance.stream.as_ref(), &unread, findings);
        }
        if header.has_log_stream() && is_of_another(instance.stream.as_ref(), header) {
            let message = "is of another log stream than the logs that are there: they are of no use to it";
            findings.push(Finding::warning(&found.path, Kind::LogChain, Some(Jet::BadLogSignature), message));
        }
    }
    let is_dirty = !dirty.is_empty();
    if let Some(stream) =
        instance.stream.as_ref().filter(|stream| stream.current().is_none() && !is_engine_set && !unread.current)
    {
        let path = Arc::from(stream.place("log", "jtx"));
        let message = "is not there: the log that was written last is missing";
        findings.push(if is_dirty {
            Finding::damage(&path, Kind::Missing, Jet::MissingLogFile, message)
        } else {
            Finding::warning(&path, Kind::Missing, Some(Jet::MissingLogFile), message)
        });
    }
    judge_checkpoint(instance, reference.as_ref(), is_dirty, is_engine_set, &unread, findings);
    judge_attachments(instance, findings);
    judgement
}

/// Who the instance's stream is: its dirty databases say so, where a log agrees; else its newest log, else its databases.
fn reference_signature(instance: &Instance) -> Option<Signature> {
    let has_log = |signature: &Signature| {
        let mut logs = instance.stream.iter().flat_map(|stream| &stream.logs).filter_map(LogFile::header);
        logs.any(|header| header.signature == *signature)
    };
    let of_databases = |dirty_only: bool| {
        let headers = instance.headers().map(|(_, header)| header);
        headers.filter(move |header| header.has_log_stream() && (header.state.is_dirty() || !dirty_only))
    };
    let of_dirty = of_databases(true).map(|header| header.log_signature).find(|signature| has_log(signature));
    of_dirty
        .or_else(|| instance.stream.as_ref().and_then(Stream::signature))
        .or_else(|| of_databases(false).map(|header| header.log_signature).next())
}

/// Whether there are logs, and none of them is of this database's stream.
fn is_of_another(stream: Option<&Stream>, database: &DatabaseHeader) -> bool {
    let mut logs = stream.iter().flat_map(|stream| &stream.logs).filter_map(LogFile::header).peekable();
    logs.peek().is_some() && logs.all(|log| log.signature != database.log_signature)
}

fn generations_of(stream: &Stream, signature: Option<&Signature>) -> BTreeSet<Generation> {
    let headers = stream.logs.iter().filter_map(LogFile::header);
    headers.filter(|header| Some(&header.signature) == signature).map(|header| header.generation).collect()
}

fn runs(generations: &BTreeSet<Generation>) -> Vec<(Generation, Generation)> {
    let mut runs: Vec<(Generation, Generation)> = Vec::new();
    for generation in generations {
        match runs.last_mut() {
            Some((_, high)) if high.next() == *generation => *high = *generation,
            _ => runs.push((*generation, *generation)),
        }
    }
    runs
}

/// Files of a stream that are there and could not be looked at: what they are is unknown, but not that they are missing.
#[derive(Debug, Default)]
pub(super) struct Unread {
    archived: BTreeSet<Generation>,
    current: bool,
    checkpoint: bool,
}

impl Unread {
    pub(super) fn of(instance: &Instance) -> Self {
        let mut unread = Self::default();
        let Some(stream) = &instance.stream else { return unread };
        let checkpoint = stream.place("chk", "jcp");
        for (path, _) in &instance.failed {
            let file_name = path.file_name().unwrap_or_default();
            unread.checkpoint |= checkpoint.file_name().is_some_and(|name| file_name.eq_ignore_ascii_case(name));
            match LogName::parse(file_name).filter(|name| name.base.as_ref() == Some(&stream.base)) {
                Some(LogName { role: LogRole::Archived(generation), .. }) => {
                    unread.archived.insert(generation);
                }
                Some(LogName { role: LogRole::Current, .. }) => unread.current = true,
                _ => {}
            }
        }
        unread
    }

    /// Adds the generations that may be there: the current log follows the newest.
    pub(super) fn add_to(&self, present: &mut BTreeSet<Generation>) {
        present.extend(&self.archived);
        let newest = present.last().copied().filter(|_| self.current);
        present.extend(newest.map(Generation::next));
    }
}

fn judge_stream(stream: &Stream, signature: Signature, unread: &Unread, findings: &mut Vec<Finding>) {
    for log in &stream.logs {
        if log.header().is_some() || matches!(log.found.content, Content::DamagedHeader(..)) {
            continue; // the latter is reported with the file itself
        }
        let what = sentence(&log.found.content).unwrap_or("is no log");
        let message = format!("has the name of a log of the stream, but {what}");
        findings.push(Finding::damage(&log.found.path, Kind::LogHeader, Jet::LogReadVerifyFailure, message));
    }
    let (files, links): (Vec<_>, Vec<_>) = stream
        .logs
        .iter()
        .filter_map(|log| Some((&log.found.path, Link { name: &log.name, header: log.header()? })))
        .unzip();
    let created: HashMap<Generation, LogTime> =
        links.iter().map(|link| (link.header.generation.next(), link.header.created)).collect();
    for (index, misfit) in misfits(&links, &signature) {
        if let Misfit::Gap(low, high) = misfit
            && missing(low, high, &unread.archived).is_empty()
        {
            continue; // there, but nobody could look: that is said with each of them
        }
        let header = links[index].header;
        let generation = header.generation;
        let (message, stored, computed) = match misfit {
            Misfit::Misnamed => {
                let named = match links[index].name.role {
                    LogRole::Archived(named) => named.to_string(),
                    _ => String::new(),
                };
                (
                    format!("is generation {generation} by its header, and another by its name"),
                    named,
                    generation.to_string(),
                )
            }
            Misfit::Foreign => {
                let stored = header.signature.to_string();
                ("is of another log stream".to_owned(), stored, signature.to_string())
            }
            Misfit::Gap(low, high) => {
                (format!("does not follow: {} before it", are_missing(low, high)), String::new(), span(low, high))
            }
            Misfit::Duplicate(other) => {
                let message = format!("is generation {generation}, and so is {}", printable(files[other].as_ref()));
                (message, String::new(), String::new())
            }
            Misfit::PreviousTime => {
                let stored = header.previous_created.to_string();
                let computed = created.get(&generation).map(ToString::to_string).unwrap_or_default();
                ("was made after another log than the one before it".to_owned(), stored, computed)
            }
            Misfit::CurrentIsOld => (
                format!("is the current log, but generation {generation} is not the newest"),
                String::new(),
                String::new(),
            ),
            Misfit::Impossible => {
                (format!("says that it is generation {generation}, which cannot be"), String::new(), String::new())
            }
        };
        let finding = Finding::damage(files[index], Kind::LogChain, misfit.jet(), message);
        let is_link = matches!(misfit, Misfit::Gap(..) | Misfit::PreviousTime);
        findings.push(Finding { is_link, ..finding.sums(stored, computed) });
    }
}

/// `logs 5-7 (0x5-0x7) are missing`, or `log 5 (0x5) is missing`.
fn are_missing(low: Generation, high: Generation) -> String {
    let span = span(low, high);
    if low == high { format!("log {span} is missing") } else { format!("logs {span} are missing") }
}

fn judge_required(
    found: &Found,
    header: &DatabaseHeader,
    required: Required,
    stream: Option<&Stream>,
    unread: &Unread,
    findings: &mut Vec<Finding>,
) {
    let mut present = stream.map(|stream| generations_of(stream, Some(&header.log_signature))).unwrap_or_default();
    unread.add_to(&mut present);
    let list = |gaps: &[(Generation, Generation)]| {
        gaps.iter().map(|(low, high)| span(*low, *high)).collect::<Vec<_>>().join(", ")
    };
    let gone = missing(required.low, required.high, &present);
    if !gone.is_empty() {
        let message = format!("needs logs {}; missing: {}", span(required.low, required.high), list(&gone));
        let finding = Finding::damage(&found.path, Kind::Missing, Jet::RequiredLogFilesMissing, message);
        findings.push(finding.sums(span(required.low, required.high), list(&gone)));
    }
    let uncommitted = missing(required.high.next(), required.committed, &present);
    if required.committed > required.high && !uncommitted.is_empty() {
        let message =
            format!("can be recovered, but loses what was committed: logs {} are missing", list(&uncommitted));
        let finding = Finding::damage(&found.path, Kind::Missing, Jet::CommittedLogFilesMissing, message);
        findings.push(finding.sums(span(required.high.next(), required.committed), list(&uncommitted)));
    }
}

fn judge_checkpoint(
    instance: &Instance,
    reference: Option<&Signature>,
    is_dirty: bool,
    is_engine_set: bool,
    unread: &Unread,
    findings: &mut Vec<Finding>,
) {
    let Some(found) = &instance.checkpoint else {
        if let Some(stream) = instance.stream.as_ref().filter(|_| !is_engine_set && !unread.checkpoint) {
            let path = Arc::from(stream.place("chk", "jcp"));
            let message = "is not there; recovery would begin with the oldest log";
            findings.push(Finding::warning(&path, Kind::Missing, Some(Jet::CheckpointFileNotFound), message));
        }
        return;
    };
    let Content::Checkpoint(checkpoint, _) = &found.content else {
        let is_reported = matches!(found.content, Content::DamagedHeader(..));
        let what = sentence(&found.content).map_or_else(|| format!("is a {}", found.content.name()), str::to_owned);
        if !is_reported {
            let message = format!("should be the checkpoint, but {what}");
            findings.push(Finding::damage(&found.path, Kind::Checkpoint, Jet::CheckpointCorrupt, message));
        }
        return;
    };
    if let Some(reference) = reference.filter(|reference| checkpoint.log_signature != **reference) {
        let message = "is of another log stream";
        let finding = Finding::damage(&found.path, Kind::Checkpoint, Jet::BadCheckpointSignature, message);
        findings.push(finding.sums(checkpoint.log_signature.to_string(), reference.to_string()));
        return;
    }
    let Some(stream) = &instance.stream else { return };
    let generation = checkpoint.position.generation;
    let present = generations_of(stream, reference);
    if !present.is_empty() && generation.0 != 0 && !present.contains(&generation) {
        let message = format!("names log {generation}, which is not there");
        findings.push(if is_dirty {
            Finding::damage(&found.path, Kind::Checkpoint, Jet::RequiredLogFilesMissing, message)
        } else {
            Finding::warning(&found.path, Kind::Checkpoint, Some(Jet::RequiredLogFilesMissing), message)
        });
    }
}

/// Databases that the newest log says were attached: each should be there, and under its name nothing else.
fn judge_attachments(instance: &Instance, findings: &mut Vec<Finding>) {
    let newest = instance.stream.iter().flat_map(|stream| &stream.logs).filter_map(LogFile::header);
    let attachments = newest.max_by_key(|header| header.generation).map(|header| &header.attachments[..]);
    let attachments = attachments.unwrap_or_default();
    for attachment in attachments {
        let is_there = instance.headers().any(|(_, header)| header.signature == attachment.signature);
        let Some(name) = attachment.file_name().filter(|_| !is_there) else { continue };
        let is_named = |path: &Path| path.file_name().is_some_and(|own| own.eq_ignore_ascii_case(name));
        let mut reported = instance.damaged.iter().map(|(found, _)| &*found.path);
        if reported.any(is_named) || instance.failed.iter().any(|(path, _)| is_named(path)) {
            continue; // it is there, and what is wrong with it was said
        }
        let impostor = instance.suspects.iter().find(|suspect| suspect.name().eq_ignore_ascii_case(name));
        if let Some(impostor) = impostor {
            let what = sentence(&impostor.content).unwrap_or("is none");
            let message = format!("has the name of an attached database, but {what}");
            findings.push(Finding::damage(&impostor.path, Kind::FileType, Jet::DatabaseCorrupted, message));
        } else if let Some(stream) = &instance.stream {
            let full = attachment.names.first().map(printable).unwrap_or_default();
            let path = stream.current().or(stream.logs.last()).map(|log| Arc::clone(&log.found.path));
            let path = path.unwrap_or_else(|| Arc::from(stream.directory.as_path()));
            let message = format!("lists the database {full}, which is not in the storage");
            findings.push(Finding::warning(&path, Kind::Missing, None, message));
        }
    }
    let reported: HashSet<Arc<Path>> = findings.iter().map(|finding| Arc::clone(&finding.file)).collect();
    for suspect in &instance.suspects {
        let Some(what) = sentence(&suspect.content).filter(|_| !reported.contains(&suspect.path)) else { continue };
        let extension = suspect.path.extension().unwrap_or_default();
        // Nothing but ESE's databases is called so; others use the other names as well.
        if ["edb", "dit"].iter().any(|own| extension.eq_ignore_ascii_case(own)) {
            let message = format!("has the name of a database, but {what}");
            findings.push(Finding::damage(&suspect.path, Kind::FileType, Jet::DatabaseCorrupted, message));
        } else {
            findings.push(Finding::warning(&suspect.path, Kind::FileType, None, format!("was not checked: it {what}")));
        }
    }
    for log in instance.others.iter().filter(|found| matches!(found.content, Content::Log(..))) {
        let message = "is a log under a name that no log has; it is no part of the chain";
        findings.push(Finding::warning(&log.path, Kind::LogChain, None, message));
    }
}
