//! consolidate: a full backup out of a backup and its ancestors, without the source. It is proven before it is published.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::publish::read_back;
use super::records::RecordFile;
use super::store_sink::StoreSink;
use super::{Activity, Observer, Progress, Warning, heal};
use crate::engine::Role;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::hex::hex;
use crate::repository::catalogue::Backup;
use crate::repository::chain::{Chain, Part};
use crate::repository::content::Contents;
use crate::repository::damage::Damage;
use crate::repository::file_list::{FileLine, ReadRecord};
use crate::repository::list_reader::{Expected, Line, ListReader, Resolved};
use crate::repository::manifest::{BackupId, Manifest};
use crate::repository::partial::{Owner, Partial};
use crate::repository::seal::{Alone, Records, Sealing, Totals};
use crate::repository::stored::damaged;
use crate::repository::{Repository, require_locks};
use crate::session::directory::{StateDirectory, new_session_id};
use crate::session::event::{Kind, Phase};
use crate::session::record::Who;
use crate::stream::pipeline::{self, Feed, Finished, Gauge, Job, Policy, Report};
use crate::stream::source::Opened;
use crate::stream::stop::StopToken;
use crate::times;

/// The only reader of what is put together.
const READER: u32 = 1;
/// What to do about a backup that cannot be put together.
const DAMAGE_HINT: &str =
    "Nothing was published. `jetbak verify` lists all damage; a full backup of the source makes up for it.";

/// What became of a wish to have a full backup.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It stands alone as it is.
    StandsAlone,
    /// The full backup with this id was made of it before.
    Before(String),
    /// It was made.
    Made(Consolidated),
}

/// A full backup that was made of a chain.
#[derive(Clone, Debug)]
pub struct Consolidated {
    /// Its id.
    pub id: String,
    /// Its number.
    pub sequence: u64,
    /// How many backups it was put together from.
    pub links: usize,
    /// Files with content.
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes that it takes in the repository.
    pub bytes_stored: u64,
}

/// Makes a full backup that holds what this one holds, and needs no other.
///
/// Exit 3 where something of the chain is missing or damaged: then nothing is published.
pub fn consolidate(
    repository: &Repository,
    backup: &Backup,
    state: &StateDirectory,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<Answer> {
    require_locks(repository.root())?;
    let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
    if manifest.parent.is_none() {
        return Ok(Answer::StandsAlone);
    }
    if let Some(made) = made_before(repository, backup)? {
        return Ok(Answer::Before(made));
    }
    let chain = repository.chain(backup)?;
    heal::sweep(repository, state, heal::Mercy::All, observer, stop)?;
    require_space(repository, manifest)?;
    let session = new_session_id(times::now());
    // Whoever sweeps finds that nobody holds it once this process is gone, and no session of that name.
    let mut owner = Owner::new(&session, &state.path().join(&session), true);
    owner.parent = Some(backup.link());
    let (partial, held) = repository.create_partial(&owner, stop)?;
    let work = Work { repository, backup, manifest, chain: &chain, partial: &partial, session: &session, stop };
    let made = work.make(observer);
    if made.is_err() {
        let _ = partial.discard(); // the first error is the one to report; the next run sweeps
    }
    drop(held);
    made.map(Answer::Made)
}

/// The id of a full backup that was made of this one, if there is one.
fn made_before(repository: &Repository, backup: &Backup) -> Result<Option<String>> {
    let link = backup.link();
    let is_of_it =
        |other: &Backup| other.manifest.as_ref().is_ok_and(|manifest| manifest.consolidates.as_ref() == Some(&link));
    Ok(repository.backups()?.into_iter().find(is_of_it).map(|other| other.id.text))
}

fn require_space(repository: &Repository, manifest: &Manifest) -> Result<()> {
    let Some(free) = repository.store().free_bytes()?.filter(|free| *free < manifest.bytes) else { return Ok(()) };
    Err(Error::too_little_space(repository.root(), free, manifest.bytes)
        .hint("Free space there: a full backup holds all of its files."))
}

/// What is put together, and where.
struct Work<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    manifest: &'a Manifest,
    chain: &'a Chain,
    partial: &'a Partial,
    session: &'a str,
    stop: &'a StopToken,
}

impl Work<'_> {
    fn make(&self, observer: &mut dyn Observer) -> Result<Consolidated> {
        let Self { repository, manifest, partial, stop, .. } = *self;
        let (entries, recorded) = self.write(observer)?;
        let records = Records::gather(&partial.records(), &[(READER, recorded)], entries, 0)?;
        let sealing = Sealing::begin(partial, &records, &mut Alone, &manifest.roots)?;
        let totals = sealing.totals.clone();
        self.require_whole(&totals)?;
        let expected = Expected::partial(self.part(&totals), None, manifest.roots.clone());
        let (bad, list) = read_back(partial, &expected, totals.bytes_stored, observer, stop)?;
        refuse_bad(&bad)?;
        list.ok_or_else(|| Error::new(ExitCode::Failed, "the list of files was not read back"))?;
        stop.check()?;
        let _held = repository.lock(stop)?;
        if let Some(made) = made_before(repository, self.backup)? {
            let message = format!("{made} was made of {} meanwhile", self.backup.id.text);
            return Err(Error::jet(Jet::BackupInProgress, message).hint("There is nothing more to do."));
        }
        // What is put together must still be what was meant when it gets its name.
        repository.chain(&repository.backup(self.backup.id.clone()))?;
        let manifest = self.manifest_of(&totals)?;
        let id = BackupId::new(manifest.sequence, manifest.began, manifest.kind);
        sealing.finish(&manifest)?;
        repository.publish(partial, &id, self.session)?;
        Ok(Consolidated {
            id: id.text,
            sequence: id.sequence,
            links: self.chain.parts().len(),
            files: manifest.files,
            bytes: manifest.bytes,
            bytes_stored: manifest.bytes_stored,
        })
    }

    /// Writes all content into the partial, every byte proven on its way. Returns how many entries there are, and the bytes
    /// of the record of them.
    fn write(&self, observer: &mut dyn Observer) -> Result<(u64, u64)> {
        let Self { repository, manifest, chain, partial, stop, .. } = *self;
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let feed = ChainFeed {
            chain: chain.clone(),
            list: ListReader::open(repository.store(), Expected::of(chain), false)?,
            contents: Contents::new(repository, &self.backup.folder()),
            lines: Arc::clone(&lines),
            ticket: 0,
        };
        let store = repository.store();
        let sink = StoreSink::new(Arc::clone(store), partial.backup(), manifest.roots.clone(), repository.shelf(false));
        let mut out = RecordFile::create(&partial.records(), READER, manifest.roots.clone())?;
        let (gauge, mut entries) = (Arc::new(Gauge::default()), 0);
        let policy = Policy { keep_going: false, retries: 0 };
        pipeline::run(
            feed,
            sink,
            stop,
            &gauge,
            policy,
            &mut |report| {
                let finished = match report {
                    Report::Done(finished) => finished,
                    Report::Failed { error, .. } if error.exit_code() == ExitCode::Verification => {
                        return Err(error.hint(DAMAGE_HINT));
                    }
                    Report::Failed { error, .. } => return Err(error),
                    Report::Repeating { .. } | Report::Reached { .. } => return Ok(()),
                };
                let line = lines.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let line = line.ok_or_else(|| Error::new(ExitCode::Failed, "an entry was reported out of order"))?;
                let record = record_of(entries, line, &finished).map_err(|error| error.hint(DAMAGE_HINT))?;
                entries += 1;
                out.add_record(&record, finished.bytes)
            },
            &mut || {
                let (bytes_done, file) = (gauge.bytes(), gauge.file());
                let activity = Activity::Consolidating;
                observer.progress(&Progress { activity, file, bytes_done, bytes_total: manifest.bytes });
                Ok(())
            },
        )?;
        out.flush()?;
        store.sync()?;
        Ok((entries, out.point(Vec::new()).records))
    }

    /// What is put together must amount to what the backup says.
    fn require_whole(&self, totals: &Totals) -> Result<()> {
        let Manifest { files, bytes, directories, links, hard_links, .. } = *self.manifest;
        let counts = &totals.counts;
        let found = (counts.files, counts.bytes, counts.directories, counts.links, counts.hard_links);
        if totals.orphans.is_empty() && found == (files, bytes, directories, links, hard_links) {
            return Ok(());
        }
        let message = format!("{} does not amount to what its manifest says", self.backup.id.text);
        Err(Error::new(ExitCode::Verification, message).hint(DAMAGE_HINT))
    }

    fn part(&self, totals: &Totals) -> Part {
        Part {
            id: self.session.to_owned(),
            folder: self.partial.backup(),
            files_sha256: totals.files_sha256.clone(),
            files: totals.counts.files,
            bytes: totals.counts.bytes,
            began: self.manifest.began,
        }
    }

    fn manifest_of(&self, totals: &Totals) -> Result<Manifest> {
        let repository = self.repository;
        let sequence = repository.next_sequence()?;
        // When it began is when its content was read: whoever compares files with it by their times depends on that.
        let id = BackupId::new(sequence, self.manifest.began, Kind::Full);
        let mut instance = self.manifest.instance.clone();
        if let (Some(facts), Some(base)) = (&mut instance, repository.base_of(self.manifest, self.chain)?) {
            facts.forward_from = base.logs.first_generation;
            facts.databases = base.instance.map(|base| base.databases).unwrap_or_default();
        }
        Ok(Manifest {
            id: id.text,
            sequence,
            session: self.session.to_owned(),
            repository: repository.id().to_owned(),
            host: Who::current().host,
            kind: Kind::Full,
            ended: times::now(),
            bytes_stored: totals.bytes_stored,
            files_sha256: totals.files_sha256.clone(),
            parent: None,
            changes: None,
            consolidates: Some(self.backup.link()),
            previous: repository.newest_link()?,
            logs: totals.logs.clone(),
            truncated: false,
            damaged: totals.damaged.clone(),
            instance,
            proof: totals.proof,
            proven: true,
            tags: repository.labels(self.backup).tags,
            tool: concat!("jetbak ", env!("CARGO_PKG_VERSION")).to_owned(),
            ..self.manifest.clone()
        })
    }
}

/// What the list says of the entries that are on their way, in order.
type SharedLines = Arc<Mutex<VecDeque<FileLine>>>;

/// Hands the entries of a chain to the pipeline, by their names in the session that read them.
struct ChainFeed {
    chain: Chain,
    list: ListReader,
    contents: Contents,
    lines: SharedLines,
    ticket: u64,
}

impl Feed for ChainFeed {
    fn next(&mut self) -> Result<Option<Job>> {
        let resolved = match self.list.next_line()? {
            Some(Line::Sound(resolved)) => resolved,
            Some(Line::Bad(what)) => return Err(bad_list(&self.chain, &what)),
            None => {
                let difference = self.list.difference();
                return difference.map_or(Ok(None), |difference| Err(bad_list(&self.chain, &difference.reason())));
            }
        };
        let Resolved { line, .. } = *resolved;
        let name = line.name(self.chain.roots()).unwrap_or_default();
        let job = Job::new(self.ticket, Arc::from(name.as_path()), line.role.is_file());
        self.ticket += 1;
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push_back(line);
        Ok(Some(job))
    }

    fn open(&mut self, _: &Job) -> Result<Opened> {
        let line = self.lines.lock().unwrap_or_else(PoisonError::into_inner).back().cloned();
        let line = line.ok_or_else(|| Error::new(ExitCode::Failed, "an entry was asked for that is over"))?;
        let unsound = || damaged(&line.path().unwrap_or_default(), "its line cannot be believed");
        match line.role {
            Role::Directory => Ok(Opened::Directory(line.attributes().ok_or_else(unsound)?)),
            Role::Link => {
                // All that it is stands in the line.
                let sound = line.attributes().zip(line.target());
                sound.map(|(attributes, target)| Opened::Link(attributes, target)).ok_or_else(unsound)
            }
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => match line.hard_link() {
                Some(first) => Ok(Opened::HardLink(line.attributes().ok_or_else(unsound)?, first)),
                None => Ok(Opened::Data(self.contents.open(&line)?)),
            },
        }
    }
}

/// The record of an entry that was written, if it is what its line says.
fn record_of(index: u64, mut line: FileLine, finished: &Finished) -> Result<ReadRecord> {
    let path = line.path().unwrap_or_default();
    let attributes = line.attributes().ok_or_else(|| damaged(&path, "its line cannot be believed"))?;
    let is_content = line.role.is_file() && finished.hard_link.is_none();
    if is_content {
        let computed = finished.sha256.as_ref().map(|digest| hex(digest));
        if finished.bytes != line.size {
            return Err(damaged(&path, &format!("it has {} bytes and should have {}", finished.bytes, line.size)));
        }
        if line.sha256.is_some() && line.sha256 != computed {
            let (computed, stored) = (computed.unwrap_or_default(), line.sha256.unwrap_or_default());
            return Err(damaged(&path, &format!("its hash is {computed} and should be {stored}")));
        }
        line.sha256 = computed;
    }
    line.stands_here(&finished.stored);
    Ok(ReadRecord {
        phase: Phase::Databases,
        index,
        stamp: attributes.stamp,
        mode: attributes.mode,
        began_ns: None,
        line,
    })
}

fn bad_list(chain: &Chain, what: &str) -> Error {
    let message = format!("the list of files of {} is damaged: {}", chain.id(), printable(what));
    Error::new(ExitCode::Verification, message).file("files.jsonl").hint(DAMAGE_HINT)
}

/// What was read back must be what was written.
fn refuse_bad(bad: &[Damage]) -> Result<()> {
    let Some(first) = bad.first() else { return Ok(()) };
    let (kind, file, count) = (first.kind.name(), printable(&first.file), bad.len());
    let message = format!("what was written is not what was read: {kind} of {file} ({count} findings in all)");
    Err(Error::new(ExitCode::Verification, message)
        .file(&first.file)
        .hint("Nothing was published. Distrust the disk under the repository."))
}

/// Tells what is odd about a consolidation.
pub fn warn_of(backup: &Backup, observer: &mut dyn Observer) {
    if !backup.is_complete() {
        let message = format!("{} is incomplete, and so is what is made of it", backup.id.text);
        observer.warning(&Warning { jet: None, message, file: None });
    }
}
