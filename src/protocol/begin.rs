//! begin: judge the storage, fix the list of databases, make the session.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::compare::{self, Compared};
use super::nesting::{refuse_nesting, refuse_nesting_of_root, refuse_state};
use super::parent::{self, Parent};
use super::resume::{self, Candidate, Heir, Inheritance};
use super::spool::Spool;
use super::survey::{Look, Survey, Wanted};
use super::{Context, Observer, Warning, heal, open_engine, open_files, rolled_back};
use crate::engine::contents::look_for_engines;
use crate::engine::ese::facts::{Named, Terms};
use crate::engine::ese::increment;
use crate::engine::files::PERMISSION_HINT;
use crate::engine::sqlite::facts::Terms as SqliteTerms;
use crate::engine::{Engine, EngineName, LeftOut};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::repository::manifest::Changes;
use crate::repository::partial::{self, Owner, Partial};
use crate::repository::store::Held;
use crate::repository::{Identity, Repository, require_locks};
use crate::roots::Roots;
use crate::session::Session;
use crate::session::directory::{StateDirectory, Which, new_session_id};
use crate::session::event::{Event, Kind};
use crate::session::record::{Exclusion, Given, Record};
use crate::stream::stop::{StopToken, WATCH_INTERVAL};
use crate::times;

/// How many entries that are left out are named one by one.
const LEFT_OUT_NAMED_MAX: usize = 20;

/// What holds for a whole session.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Options {
    /// The storage directory, as given.
    pub storage: PathBuf,
    /// The repository, as given; none for a session whose reads go elsewhere.
    pub repository: Option<PathBuf>,
    /// The engine; chosen by content where none is named.
    pub engine: Option<EngineName>,
    /// The kind.
    pub kind: Kind,
    /// Read every file, also those that the file system says are unchanged since the parent.
    pub ignore_metadata: bool,
    /// Take the changed blocks of databases, also where their logs would do.
    pub blocks: bool,
    /// What the repository calls the storage, instead of its path.
    pub name: Option<String>,
    /// Globs of the files that are logs.
    pub logs: Vec<String>,
    /// What holds for an instance of the Extensible Storage Engine.
    pub ese: Terms,
    /// How databases of SQLite are to be read, where something was said about that.
    pub sqlite: Option<SqliteTerms>,
    /// Logs are to be deleted when the backup stands.
    pub truncate: bool,
    /// What is left out as asked.
    pub exclusion: Exclusion,
    /// The files that the last of its patterns were read from, with how many came from each.
    pub pattern_files: Vec<(PathBuf, usize)>,
    /// Leave out what cannot be read.
    pub keep_going: bool,
    /// Keep the partial of a session that is stopped or aborted.
    pub keep_partial: bool,
    /// What the backup is tagged with.
    pub tags: Vec<String>,
    /// Go on from what an earlier session had read that came to nothing.
    pub resume: bool,
    /// How often a file that changes while it is read is read again.
    pub retries: u32,
    /// End a session of this storage in which nothing has happened for so long.
    pub replace_idle: Option<Duration>,
    /// This process also ends the session.
    pub one_shot: bool,
}

/// A session that was just begun.
pub struct Begun {
    /// The session.
    pub context: Context,
    /// What it will read, as of now.
    pub survey: Survey,
    /// Held for as long as a one-shot lives.
    pub owner: Option<OwnerLocks>,
}

/// The locks that say that the process of a one-shot lives.
pub struct OwnerLocks {
    _session: File,
    _partial: Option<Box<dyn Held>>,
}

/// The storage and repository of a session that is about to begin.
struct Places {
    storage: PathBuf,
    storage_given: PathBuf,
    engine: EngineName,
    /// What was said about an instance, its paths without links.
    ese: Terms,
}

impl Places {
    /// The directories beside the storage.
    fn roots(&self) -> Roots {
        self.ese.roots(&self.storage)
    }
}

/// Judges a storage and says what a backup would read; changes nothing.
pub fn dry_run(
    state: &StateDirectory,
    options: &Options,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<Survey> {
    let mut places = resolve(options)?;
    if let Some(repository) = &options.repository {
        require_locks(repository)?;
        refuse_nesting(&places.storage, "the storage", repository)?;
    }
    let engine = choose(state, options, &mut places, stop)?;
    let (full, engine) = heed_rollback(state, options, &places, engine, observer, stop)?;
    let options = full.as_ref().unwrap_or(options);
    if let Some(repository) = &options.repository {
        Repository::check_engine(repository, places.engine)?;
        let identity = Identity::of(&places.storage, options.name.as_deref(), engine.mark(stop)?);
        Repository::check(repository, &identity, places.engine)?;
    }
    let parent = parent::choose(options, places.engine, stop)?;
    if let Some(parent) = &parent {
        parent.warn(observer);
    }
    let log_parent = parent.as_ref().and_then(|parent| parent.logs.as_ref());
    let engine = with_parent(state, options, &places, log_parent, engine)?;
    let (survey, _) =
        Look { state: None, options, roots: places.roots(), parent: parent.as_ref(), wanted: Wanted::Everything }
            .survey(&*engine, observer, stop, None)?;
    tell_of_unused_patterns(options, &survey, observer);
    Ok(survey)
}

/// Begins a session.
pub fn begin(
    state: &StateDirectory,
    options: &Options,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<Begun> {
    let mut places = resolve(options)?;
    if let Some(repository) = &options.repository {
        require_locks(repository)?;
        refuse_nesting(&places.storage, "the storage", repository)?;
    }
    state.prepare()?;
    refuse_state(&places.storage, state)?;
    let engine = choose(state, options, &mut places, stop)?;
    let (full, engine) = heed_rollback(state, options, &places, engine, observer, stop)?;
    let options = full.as_ref().unwrap_or(options);
    let which = Which::Storage(options.storage.clone());
    if let Some(session) = state.find(&which)? {
        let goes_on = options.resume && reads_into(&session, options);
        heal::make_way(state, session, options.replace_idle, goes_on, observer, stop)?;
    }
    // Before anything is made: an unfit storage leaves no trace.
    let identity = match &options.repository {
        Some(repository) => {
            Repository::check_engine(repository, places.engine)?;
            Some(Identity::of(&places.storage, options.name.as_deref(), engine.mark(stop)?))
        }
        None => None,
    };
    if let Some((path, identity)) = options.repository.as_ref().zip(identity.as_ref())
        && options.kind.has_parent()
    {
        Repository::check(path, identity, places.engine)?;
    }
    let parent = parent::choose(options, places.engine, stop)?;
    if let Some(parent) = &parent {
        parent.warn(observer);
    }
    let parent_link = parent.as_ref().map(|parent| parent.backup.link());
    let log_parent = parent.as_ref().and_then(|parent| parent.logs.clone());
    let engine = with_parent(state, options, &places, log_parent.as_ref(), engine)?;
    // A repository is made only for a storage that opens, and beside a state directory that can be written.
    let mut plan = Spool::create(state.path())?;
    let repository = match options.repository.as_ref().zip(identity) {
        Some((path, identity)) => {
            let repository = Repository::open_or_create(path, &identity, places.engine)?;
            let terms = partial_terms(&repository, options, &places, parent.as_ref());
            let fitting = options.resume.then_some((&terms, parent_link.as_ref()));
            heal::sweep(&repository, state, heal::Mercy::Fitting(fitting), observer, stop)?;
            Some(repository)
        }
        None => None,
    };
    let began = times::now();
    let mut record = record_of(options, &places, repository.as_ref().map(Repository::root), new_session_id(began));
    record.began = began;
    let settled = if options.repository.is_some() { Some(settle(&places)?) } else { None };
    let wanted = if repository.is_some() { Wanted::Everything } else { Wanted::Content };
    let looking = Look { state: Some(state), options, roots: record.roots(), parent: parent.as_ref(), wanted };
    let (survey, compared) = looking.survey(&*engine, observer, stop, Some(&mut plan))?;
    plan.finish()?;
    record.parent = parent.as_ref().zip(compared.as_ref()).map(|(parent, found)| parent.to_record(found.unchanged));
    record.log_parent = log_parent;
    record.databases_bytes = survey.bytes;
    record.left_out.clone_from(&survey.left_out);
    record.parted.clone_from(&survey.parted);
    record.excluded = survey.excluded;
    record.instance.clone_from(&survey.instance);
    tell_of_survey(options, places.engine, &survey, observer);
    if let Some(settled) = settled {
        wait_until(&settled, stop)?;
    }
    // The partial first: its lock may have to be waited for, and nobody else's begin should wait with us.
    let made = match &repository {
        Some(repository) => {
            let mut owner = Owner::new(&record.session, &state.path().join(&record.session), options.one_shot);
            let terms = partial_terms(repository, options, &places, parent.as_ref());
            (owner.parent, owner.terms, owner.began) = (parent_link, Some(terms), Some(began));
            let made = make_partial(repository, state, options, &owner, &mut record, (&survey, plan.path()), stop);
            Some(made.map_err(advise_on_full_disk)?)
        }
        None => None,
    };
    let (partial, partial_lock, candidates, mut inheritance) = made.unwrap_or_default();
    let mut files = vec![(plan.path(), "databases.jsonl")];
    if let Some(Compared { hunks, names, logs, .. }) = &compared {
        files.extend([(hunks.path(), compare::HUNKS), (names.path(), compare::NAMES), (logs.path(), compare::LOGS)]);
    }
    let events = std::mem::take(&mut inheritance.events);
    let created = create(state, &which, record, &files, (survey.entries, events), stop);
    let (session, owner) = match created {
        Ok(created) => created,
        Err(error) => {
            if let Some(partial) = &partial {
                let _ = partial.discard(); // the first error is the one to report; the next run sweeps
            }
            return Err(error);
        }
    };
    inheritance.settle(candidates, observer);
    // Now that the session exists, a sweep can ask it; only a one-shot keeps the lock of its partial.
    let owner = owner.map(|file| OwnerLocks { _session: file, _partial: partial_lock });
    let context = Context { state: state.clone(), session, partial: Ok(partial), leaves_partial: false };
    Ok(Begun { context, survey, owner })
}

/// Whether a session reads into the repository that was named.
fn reads_into(session: &Session, options: &Options) -> bool {
    let named = options.repository.as_ref().and_then(|path| path.canonicalize().ok());
    named.is_some() && named == session.record().repository()
}

/// Opens the engine: the one that was named, or the one that the content asks for.
fn choose(state: &StateDirectory, options: &Options, places: &mut Places, stop: &StopToken) -> Result<Arc<dyn Engine>> {
    // What builds on an earlier backup is read by its engine: nobody has to look for another one.
    let builds_on = options.repository.as_ref().filter(|_| options.kind.has_parent());
    let known = builds_on.and_then(|path| Repository::open(path).ok()).map(|repository| repository.engine());
    if let (None, Some(engine)) = (options.engine, known) {
        places.engine = engine;
    } else if options.engine.is_none() {
        let files = open_files(&record_of(options, places, None, String::new()), state)?;
        let seen = look_for_engines(&files, &places.storage, stop)?;
        if let (Some(ese), Some(sqlite)) = (&seen.ese, &seen.sqlite) {
            let message = format!(
                "{} holds databases of two engines: {} is of ESE, {} of SQLite",
                printable(&options.storage),
                printable(ese),
                printable(sqlite)
            );
            return Err(Error::jet(Jet::InvalidParameter, message)
                .file(&options.storage)
                .hint("Say which engine is meant with --engine, or leave one of them out with --exclude."));
        }
        places.engine = match (seen.ese, seen.sqlite) {
            (Some(_), _) => EngineName::Ese,
            (None, Some(_)) => EngineName::Sqlite,
            (None, None) => EngineName::Files,
        };
    }
    if places.engine == EngineName::Ese {
        refuse_what_is_to_come(options)?;
        places.ese = without_links(&options.ese)?;
        for root in places.roots().iter() {
            refuse_state(&root.path, state)?;
            if let Some(repository) = &options.repository {
                refuse_nesting_of_root(root, repository)?;
            }
        }
    } else if options.ese != Terms::default() {
        let storage = printable(&options.storage);
        let message = match options.engine {
            None => {
                format!("no database or log of ESE was found in {storage}, so that the engine is {}", places.engine)
            }
            Some(engine) => format!("{storage} is read by the engine {engine}"),
        };
        return Err(Error::jet(Jet::InvalidParameter, message)
            .hint("--snapshot, --base, --log-dir, --checkpoint, --engine-files and --accept-… are for ESE storages."));
    }
    if places.engine == EngineName::Sqlite && !options.logs.is_empty() {
        return Err(Error::jet(Jet::InvalidParameter, "the logs of SQLite databases are part of them")
            .hint("Leave --log out, or take the directory as it is with --engine files."));
    }
    if places.engine != EngineName::Sqlite && options.sqlite.is_some() {
        let message = format!("{} is read by the engine {}", printable(&options.storage), places.engine);
        return Err(Error::jet(Jet::InvalidParameter, message)
            .hint("--busy-timeout and --max-lock are for storages with SQLite databases."));
    }
    let engine = open_engine(&record_of(options, places, None, String::new()), state)?;
    if options.truncate || options.ese.live_log_directory.is_some() {
        engine.require_deletable(stop)?;
    }
    Ok(engine)
}

/// Says so where the storage is older than its newest backup; what was to build on an earlier backup is a full one then, with
/// the engine for that.
fn heed_rollback(
    state: &StateDirectory,
    options: &Options,
    places: &Places,
    engine: Arc<dyn Engine>,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<(Option<Options>, Arc<dyn Engine>)> {
    let Some(rolled_back) = rolled_back::look(options, &*engine, stop)? else { return Ok((None, engine)) };
    let message = rolled_back.words(options.kind.has_parent());
    observer.warning(&Warning { jet: None, message, file: None });
    if !options.kind.has_parent() {
        return Ok((None, engine));
    }
    let full = Options { kind: Kind::Full, blocks: false, ..options.clone() };
    let engine = open_engine(&record_of(&full, places, None, String::new()), state)?;
    Ok((Some(full), engine))
}

/// What this version does not do yet with an instance is refused before anything is read.
fn refuse_what_is_to_come(options: &Options) -> Result<()> {
    if !options.logs.is_empty() {
        return Err(Error::jet(Jet::InvalidParameter, "the logs of an ESE storage are known by their content")
            .hint("Leave --log out, or take the directory as it is with --engine files."));
    }
    Ok(())
}

/// The same terms with paths that lead through no link, so that nothing moves while a session lives.
fn without_links(terms: &Terms) -> Result<Terms> {
    let resolve = |option: &str, named: &Option<Named>, wants_directory: bool| -> Result<Option<Named>> {
        let Some(path) = named.as_ref().map(Named::path) else { return Ok(None) };
        let canonical = path.canonicalize().map_err(|e| {
            let error = Error::io("open", &path, &e).exit(ExitCode::Usage);
            error.hint(format!("{option} names what is there; is a mount missing?"))
        })?;
        if canonical.is_dir() != wants_directory {
            let what = if wants_directory { "a directory" } else { "a file" };
            let message = format!("{option} takes {what}, and {} is none", printable(&path));
            return Err(Error::jet(Jet::InvalidParameter, message).file(&path));
        }
        Ok(Some(Named::new(&canonical)))
    };
    Ok(Terms {
        log_directory: resolve("--log-dir", &terms.log_directory, true)?,
        checkpoint: resolve("--checkpoint", &terms.checkpoint, false)?,
        ..terms.clone()
    })
}

/// Names what is left out, the first few one by one: the manifest has them all.
fn warn_of_left_out(left_out: &[LeftOut], observer: &mut dyn Observer) {
    let (usual, left_out): (Vec<_>, Vec<_>) = left_out.iter().partition(|one| one.is_usual);
    for one in usual {
        observer.decided(&format!("left out {}: {}", printable(&one.path), one.reason));
    }
    for one in left_out.iter().take(LEFT_OUT_NAMED_MAX) {
        let message = format!("left out {}: {}", printable(&one.path), one.reason);
        observer.warning(&Warning { jet: None, message, file: Some(PathBuf::from(&one.path)) });
    }
    if let Some(more) = left_out.len().checked_sub(LEFT_OUT_NAMED_MAX).filter(|more| *more > 0) {
        let message = format!("left out {more} more, which the manifest names");
        observer.warning(&Warning { jet: None, message, file: None });
    }
}

/// Names the patterns that leave nothing out. One that was typed may be mistyped, and is a warning; a file of patterns is
/// often kept for many storages, in none of which all of them match, so that those are told only to who asks for more.
fn tell_of_unused_patterns(options: &Options, survey: &Survey, observer: &mut dyn Observer) {
    let globs = &options.exclusion.globs;
    let Some(unused) = &survey.unused_patterns else { return };
    let unused_in = |range: &Range<usize>| -> Vec<String> {
        let numbers = unused.iter().filter(|number| range.contains(number));
        numbers.filter_map(|number| globs.get(*number)).map(printable).collect()
    };
    let of_files: usize = options.pattern_files.iter().map(|(_, patterns)| patterns).sum();
    let mut range = 0..globs.len().saturating_sub(of_files);
    let typed = unused_in(&range);
    if !typed.is_empty() {
        let message = format!("nothing is left out by --exclude {}", some_of(&typed, " --exclude "));
        observer.warning(&Warning { jet: None, message, file: None });
    }
    for (path, patterns) in &options.pattern_files {
        range = range.end..range.end + patterns;
        let read = unused_in(&range);
        if !read.is_empty() {
            let (count, path) = (read.len(), printable(path));
            let some = some_of(&read, ", ");
            observer.decided(&format!("nothing is left out by {count} of {patterns} patterns in {path}: {some}"));
        }
    }
}

/// The first few of many names.
fn some_of(names: &[String], between: &str) -> String {
    let some = names[..names.len().min(LEFT_OUT_NAMED_MAX)].join(between);
    match names.len().saturating_sub(LEFT_OUT_NAMED_MAX) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

/// Says what there is to say of what was found.
fn tell_of_survey(options: &Options, engine: EngineName, survey: &Survey, observer: &mut dyn Observer) {
    warn_of_left_out(&survey.left_out, observer);
    tell_of_unused_patterns(options, survey, observer);
    if survey.logs == 0 && !options.logs.is_empty() && engine == EngineName::Files {
        let message = format!("no file matches --log {}", printable(options.logs.join(" --log ")));
        observer.warning(&Warning { jet: None, message, file: None });
    }
    observer.decided(&format!(
        "engine {engine}; files to read before the logs: {} ({} bytes), logs as of now: {}",
        survey.files, survey.bytes, survey.logs
    ));
}

/// Makes the session, unless somebody else was quicker.
fn create(
    state: &StateDirectory,
    which: &Which,
    record: Record,
    files: &[(&Path, &str)],
    (databases, inherited): (u64, Vec<Event>),
    stop: &StopToken,
) -> Result<(Session, Option<File>)> {
    let held = state.lock_begin(stop)?;
    stop.check()?;
    if let Some(session) = state.find(which)? {
        return Err(heal::in_progress(&session)?);
    }
    state.sweep(&held)?;
    state.create(&held, record, files, databases, inherited)
}

/// What the partial of a session is to say of what it reads.
fn partial_terms(
    repository: &Repository,
    options: &Options,
    places: &Places,
    parent: Option<&Parent>,
) -> partial::Terms {
    let by_logs = parent.is_some_and(|parent| parent.changes == Changes::Logs);
    partial::Terms::new(repository, places.engine, options.kind, by_logs)
}

/// What begin has made in a repository: the partial and its lock, and what it takes over from whom.
type Made = (Option<Partial>, Option<Box<dyn Held>>, Vec<Candidate>, Inheritance);

/// Makes the partial of a session, with what earlier ones had read that came to nothing.
fn make_partial(
    repository: &Repository,
    state: &StateDirectory,
    options: &Options,
    owner: &Owner,
    record: &mut Record,
    (survey, plan): (&Survey, &Path),
    stop: &StopToken,
) -> Result<Made> {
    let (partial, lock) = repository.create_partial(owner, stop)?;
    let taken = inherit(state, options, owner, record, (&partial, plan), stop).and_then(|(candidates, inheritance)| {
        require_space(repository, survey.allocated.saturating_sub(inheritance.allocated))?;
        Ok((candidates, inheritance))
    });
    match taken {
        Ok((candidates, inheritance)) => Ok((Some(partial), lock, candidates, inheritance)),
        Err(error) => {
            let _ = partial.discard(); // the first error is the one to report; the next run sweeps
            Err(error)
        }
    }
}

/// What to do where a disk is so full that not even a session can begin.
fn advise_on_full_disk(error: Error) -> Error {
    if error.jet_code() != Some(Jet::DiskFull) || error.advice().is_some() {
        return error;
    }
    error.hint("Free space there. --no-resume removes what an earlier session has left, and reads everything.")
}

/// Takes over what earlier sessions had read that came to nothing.
fn inherit(
    state: &StateDirectory,
    options: &Options,
    owner: &Owner,
    record: &mut Record,
    (partial, plan): (&Partial, &Path),
    stop: &StopToken,
) -> Result<(Vec<Candidate>, Inheritance)> {
    let Some(terms) = owner.terms.as_ref().filter(|_| options.resume) else {
        return Ok((Vec::new(), Inheritance::default()));
    };
    let repository = partial.repository();
    let candidates = resume::candidates(repository, state, terms, owner.parent.as_ref(), stop)?;
    if candidates.is_empty() {
        return Ok((candidates, Inheritance::default()));
    }
    let files = open_files(record, state)?;
    let accepts_damage = record.ese.as_ref().is_some_and(|terms| terms.accept_damage);
    let heir = Heir { partial, plan, files: &files, roots: &record.roots(), accepts_damage };
    let inheritance = resume::take_over(&candidates, &heir, stop)?;
    if !inheritance.is_empty() {
        record.keep_partial |= inheritance.is_kept;
        record.resumed = Some(inheritance.resumed.clone());
    }
    Ok((candidates, inheritance))
}

/// Has the file systems of a storage write what waits, beside the survey: only then does the next store into a mapped file
/// change its times, by which a later backup, or one that goes on from this one, tells that it changed. It must begin after the time that the session is said
/// to have begun, and be over before a file is read: a store between those two makes the file one that a later backup reads.
///
/// The other end of the channel goes when that is done.
fn settle(places: &Places) -> Result<Receiver<()>> {
    let (over, settled) = mpsc::channel();
    let mut folders: Vec<PathBuf> = places.roots().iter().map(|root| root.path.clone()).collect();
    folders.push(places.storage.clone());
    let spawned = thread::Builder::new().name("settle".to_owned()).spawn(move || {
        for folder in folders.into_iter().filter_map(|folder| File::open(folder).ok()) {
            let _ = rustix::fs::syncfs(&folder); // what is read-only, or has no such call, has nothing that waits
        }
        drop(over);
    });
    spawned.map_err(|e| Error::new(ExitCode::Failed, format!("cannot start a thread: {e}")))?;
    Ok(settled)
}

/// Waits until the other end of a channel goes, but not through a stop: who is stuck in the kernel is left behind.
fn wait_until(over: &Receiver<()>, stop: &StopToken) -> Result<()> {
    while over.recv_timeout(WATCH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        stop.check()?;
    }
    Ok(())
}

fn resolve(options: &Options) -> Result<Places> {
    let given = &options.storage;
    let storage = given.canonicalize().map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound {
            return Error::jet(Jet::InvalidPath, format!("there is no storage {}", printable(given))).file(given);
        }
        Error::io("open the storage", given, &e).hint(PERMISSION_HINT)
    })?;
    if !storage.is_dir() {
        let message = format!("{} is a file, not a storage directory", printable(given));
        return Err(Error::jet(Jet::InvalidPath, message).file(given).hint("Name the directory that holds it."));
    }
    let storage_given = std::path::absolute(given).map_err(|e| Error::io("find", given, &e))?;
    let engine = options.engine.unwrap_or(EngineName::Files);
    Ok(Places { storage, storage_given, engine, ese: Terms::default() })
}

fn record_of(options: &Options, places: &Places, repository: Option<&Path>, session: String) -> Record {
    let mut record = Record::new(&Given {
        session,
        storage: places.storage.clone(),
        storage_given: places.storage_given.clone(),
        repository: repository.map(Path::to_owned),
        engine: places.engine,
        kind: options.kind,
        began: times::now(),
        one_shot: options.one_shot,
    });
    record.logs.clone_from(&options.logs);
    record.ese = (places.engine == EngineName::Ese).then(|| places.ese.clone());
    record.sqlite = (places.engine == EngineName::Sqlite).then(|| options.sqlite.clone().unwrap_or_default());
    record.exclusion = options.exclusion.clone();
    record.keep_going = options.keep_going;
    record.keep_partial = options.keep_partial;
    record.tags.clone_from(&options.tags);
    record.retries = options.retries;
    record
}

/// The engine that surveys a storage for a backup of the logs after another one.
fn with_parent(
    state: &StateDirectory,
    options: &Options,
    places: &Places,
    log_parent: Option<&increment::Parent>,
    engine: Arc<dyn Engine>,
) -> Result<Arc<dyn Engine>> {
    if log_parent.is_none() {
        return Ok(engine);
    }
    let mut record = record_of(options, places, None, String::new());
    record.log_parent = log_parent.cloned();
    open_engine(&record, state)
}

fn require_space(repository: &Repository, needed: u64) -> Result<()> {
    let Some(free) = repository.store().free_bytes()? else { return Ok(()) };
    if free >= needed {
        return Ok(());
    }
    Err(Error::too_little_space(repository.root(), free, needed)
        .hint("Free space there, or choose another repository."))
}
