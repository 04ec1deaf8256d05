//! `jetbak show`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::BinaryBytes;
use serde_json::{Map, Value, json};

use super::args::ShowArgs;
use super::shell::quoted;
use super::summary::count;
use super::{show_files, show_tree};
use crate::engine::ese::facts::Span;
use crate::engine::ese::fields::Generation;
use crate::engine::ese::ranges::span;
use crate::error::{Error, ExitCode, Result, printable};
use crate::paths;
use crate::repository::Repository;
use crate::repository::catalogue::{Backup, Standing};
use crate::repository::list_reader::read_proven;
use crate::repository::manifest::{Link, Manifest};
use crate::repository::set::advice;
use crate::repository::tags::Labels;
use crate::repository::verified::Verified;
use crate::session::event::Outcome;
use crate::stream::stop::StopToken;
use crate::times;
use crate::ui::{Ui, json as objects};

/// How many names of one sort are shown; the rest is counted.
const NAMES_MAX: usize = 20;
/// How many files of which something is not kept are shown.
const NOT_KEPT_MAX: usize = 5;

pub fn run(args: &ShowArgs, ui: &mut Ui) -> anyhow::Result<ExitCode> {
    let repository = Repository::open(&args.repository)?;
    if args.tree {
        return show_tree::run(&repository, ui);
    }
    let (backup, _in_use) = repository.resolve_held(&args.id, &StopToken::never())?;
    let manifest = manifest(&repository, &backup)?;
    if args.id == "latest" {
        tell_of_newer(&repository, &backup, ui)?;
    }
    if let Some(asked) = &args.files {
        return Ok(show_files::run(&repository, &backup, manifest, asked, ui));
    }
    let standing = |link: &Option<Link>| link.as_ref().map(|link| repository.standing(link)).transpose();
    let not_kept = NotKept::gather(&repository, &backup, manifest);
    let shown = Shown {
        place: repository.root().join(backup.folder()),
        previous: standing(&manifest.previous)?,
        parent: standing(&manifest.parent)?,
        verified: repository.verified(&backup),
        labels: repository.labels(&backup),
        not_kept: not_kept.as_ref().ok(),
        repository: &repository,
        manifest,
        base: repository.chain(&backup).and_then(|chain| repository.base_of(manifest, &chain)).ok().flatten(),
    };
    if ui.is_json() {
        ui.json(shown.to_json());
    } else {
        for line in shown.lines() {
            ui.line(&line);
        }
    }
    match not_kept {
        Ok(_) => Ok(ExitCode::Done),
        Err(error) => Err(with_hint(error, &repository, &backup).into()),
    }
}

/// The latest is the latest complete one; whoever asks for it should know where something newer went wrong.
fn tell_of_newer(repository: &Repository, backup: &Backup, ui: &mut Ui) -> Result<()> {
    let newer = repository.ids()?.into_iter().filter(|id| id.sequence > backup.id.sequence).count();
    if newer > 0 {
        let what = if newer == 1 { "1 newer backup is" } else { &format!("{newer} newer backups are") };
        ui.say(&format!("{what} incomplete or cannot be read: see `jetbak list {}`", quoted(repository.root())));
    }
    Ok(())
}

/// The manifest of a backup that was named; where it cannot be read, what to do about that.
pub fn manifest<'a>(repository: &Repository, backup: &'a Backup) -> Result<&'a Manifest> {
    backup.manifest.as_ref().map_err(|error| {
        let told = Error::new(error.exit_code(), format!("{}: {}", backup.id.text, error.message()));
        with_hint(told, repository, backup)
    })
}

/// The same error with the way to know more.
pub fn with_hint(error: Error, repository: &Repository, backup: &Backup) -> Error {
    error.hint(format!("`jetbak verify {} {}` tells more.", quoted(repository.root()), backup.id.sequence))
}

/// The files of which something could not be kept.
#[derive(Default)]
struct NotKept {
    files: u64,
    first: Vec<(PathBuf, Vec<String>)>,
}

impl NotKept {
    /// Reads the whole list for them.
    fn gather(repository: &Repository, backup: &Backup, manifest: &Manifest) -> Result<Self> {
        let mut found = Self::default();
        read_proven(repository.store(), &repository.chain(backup)?, &mut |resolved| {
            let line = resolved.line;
            if !line.not_kept.is_empty() {
                found.files += 1;
                if found.first.len() < NOT_KEPT_MAX {
                    found.first.push((line.name(&manifest.roots).unwrap_or_default(), line.not_kept));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

/// Everything that is shown of a backup.
struct Shown<'a> {
    repository: &'a Repository,
    manifest: &'a Manifest,
    /// That of the backup with its databases, where it takes the logs after that one.
    base: Option<Manifest>,
    place: PathBuf,
    previous: Option<Standing>,
    parent: Option<Standing>,
    verified: Option<Verified>,
    labels: Labels,
    /// None where the list of files cannot be believed.
    not_kept: Option<&'a NotKept>,
}

impl Shown<'_> {
    fn to_json(&self) -> Map<String, Value> {
        let manifest = self.manifest;
        let value = serde_json::to_value(manifest).expect("a manifest has only fields that JSON can hold");
        let mut fields = objects::object(value);
        let excluded = manifest.excluded.iter().map(objects::failure).collect();
        let first = |not_kept: &NotKept| {
            let file = |(path, what): &(PathBuf, Vec<String>)| {
                let mut fields = objects::object(json!({ "what": what }));
                paths::insert(&mut fields, "path", named(path));
                Value::Object(fields)
            };
            not_kept.first.iter().map(file).collect::<Vec<_>>()
        };
        let added = json!({
            "type": "show",
            "advice": objects::sentences(&self.advice()),
            "chain": {
                "previous": self.previous.map(Standing::name),
                "parent": self.parent.map(Standing::name),
            },
            "verified": self.verified.as_ref().map(objects::verified),
            "not_kept": self.not_kept.map(|not_kept| not_kept.files),
            "not_kept_first": self.not_kept.map(first),
        });
        fields.extend(objects::object(added));
        fields.extend(objects::labels(&self.labels));
        fields.insert("excluded".to_owned(), Value::Array(excluded));
        paths::insert(&mut fields, "path", &self.place);
        fields
    }

    /// A few lines for people: headings to the left, what belongs to one heading below each other.
    fn lines(&self) -> Vec<String> {
        let manifest = self.manifest;
        let incomplete = manifest.outcome == Outcome::Incomplete;
        let title = if incomplete { "incomplete backup" } else { "backup" };
        let mut facts = Facts(vec![format!("{title} {}", printable(&manifest.id))]);
        let stands_for = match (incomplete, manifest.excluded.is_empty()) {
            (false, _) => "",
            (true, false) => ": files are missing in it; it is never the latest and never a parent",
            (true, true) => ": pages in it are damaged; it is never the latest and never a parent",
        };
        facts.add("kind", format!("{}, {}{stands_for}", manifest.kind.name(), manifest.outcome.name()));
        let (storage, host) = (printable(&manifest.storage), printable(&manifest.host));
        facts.add("storage", format!("{storage} on {host}, engine {}", manifest.engine));
        for root in manifest.roots.iter() {
            facts.add("", format!("with its {} in {}", root.name, printable(&root.path)));
        }
        let took = Duration::try_from(manifest.ended.duration_since(manifest.began)).unwrap_or_default();
        let took = times::duration(took);
        facts.add(
            "began",
            format!("{}, took {took}, by {}", times::for_people(manifest.began), printable(&manifest.tool)),
        );
        facts.add("holds", self.holds());
        facts.add("logs", self.logs());
        for line in self.instance() {
            facts.add("instance", line);
        }
        for (heading, link, standing) in
            [("previous", &manifest.previous, self.previous), ("parent", &manifest.parent, self.parent)]
        {
            if let (Some(link), Some(standing)) = (link, standing) {
                facts.add(heading, format!("{}, {}", printable(&link.id), told(standing)));
            }
        }
        facts.add(
            "proven",
            if manifest.proven {
                "read back from the medium before it was published"
            } else {
                "not before it was published"
            },
        );
        facts.add("verified", self.verification());
        if !self.labels.tags.is_empty() {
            facts.add("tags", self.labels.tags.iter().map(printable).collect::<Vec<_>>().join(", "));
        }
        if self.labels.pinned {
            let why = self.labels.reason.as_ref().map(|reason| format!(": {}", printable(reason)));
            facts.add("pinned", format!("no prune removes it{}", why.unwrap_or_default()));
        }
        self.add_odd_things(&mut facts);
        facts.add("path", printable(&self.place));
        let repository = quoted(self.repository.root());
        let maps = manifest.roots.iter().fold(String::new(), |maps, root| maps + " --map " + &root.name + "=DIR");
        facts.add("restore", format!("jetbak restore {repository} {} --into DIR{maps}", manifest.sequence));
        facts.0
    }

    /// What an instance of the Extensible Storage Engine was, and what a restore of it takes.
    fn instance(&self) -> Vec<String> {
        let Some(instance) = &self.manifest.instance else { return Vec::new() };
        let mut lines: Vec<String> = instance
            .databases
            .iter()
            .take(NAMES_MAX)
            .map(|database| {
                let needs = match database.required {
                    Some(Span { low, high }) => format!(", needs logs {}", span(Generation(low), Generation(high))),
                    None => String::new(),
                };
                let (path, state) = (printable(database.file.path()), printable(&database.state));
                format!("{path}, {state}, pages of {} bytes{needs}", database.page_size)
            })
            .collect();
        lines.extend(self.advice());
        let damaged = self.manifest.damaged.len() as u64;
        if damaged > 0 {
            lines.push(format!("{} damaged in the storage; --json names them", count(damaged, "page")));
        }
        lines
    }

    /// What the engine's host will do with all of it.
    fn advice(&self) -> Vec<String> {
        advice(self.manifest, self.base.as_ref(), &[], &|_| true)
    }

    fn holds(&self) -> String {
        let Manifest { files, hard_links, directories, links, bytes, .. } = self.manifest;
        let mut parts = vec![match hard_links {
            0 => count(*files, "file"),
            further => format!("{} ({})", count(*files, "file"), count(*further, "hard link")),
        }];
        for (number, singular, plural) in [(*directories, "directory", "directories"), (*links, "link", "links")] {
            if number > 0 {
                parts.push(format!(
                    "{} {}",
                    indicatif::HumanCount(number),
                    if number == 1 { singular } else { plural }
                ));
            }
        }
        parts.push(BinaryBytes(*bytes).to_string());
        parts.join(", ")
    }

    fn logs(&self) -> String {
        let logs = &self.manifest.logs;
        let range = match (&logs.first, &logs.last) {
            (Some(first), Some(last)) if first == last => format!(", {}", printable(first)),
            (Some(first), Some(last)) => format!(", {} to {}", printable(first), printable(last)),
            _ => String::new(),
        };
        let truncated = if self.manifest.truncated { "; made to truncate" } else { "" };
        match logs.count {
            0 => format!("none{truncated}"),
            number => format!("{}{range}{truncated}", indicatif::HumanCount(number)),
        }
    }

    fn verification(&self) -> String {
        let Some(verified) = &self.verified else { return "never".to_owned() };
        let result = match verified.damages {
            0 => "all good".to_owned(),
            damages => format!("{} found", count(damages, "damage")),
        };
        let (host, amount) = (printable(&verified.host), count(verified.files, "file"));
        let amount = format!("{amount}, {}", BinaryBytes(verified.bytes));
        format!("{} on {host}: {result} ({amount})", times::for_people(verified.at))
    }

    fn add_odd_things(&self, facts: &mut Facts) {
        let manifest = self.manifest;
        let number = manifest.excluded.len();
        if number > 0 {
            let failures =
                manifest.excluded.iter().map(|one| format!("{}: {}", printable(&one.path), printable(&one.message)));
            facts.add_list(
                "failed",
                &format!("{} could not be read", count(number as u64, "file")),
                failures,
                NAMES_MAX,
                number as u64,
            );
        }
        let number = manifest.left_out.len();
        if number > 0 {
            let names =
                manifest.left_out.iter().map(|one| format!("{}: {}", printable(&one.path), printable(&one.reason)));
            facts.add_list(
                "left out",
                &format!("{}, each for its reason", count_entries(number as u64)),
                names,
                NAMES_MAX,
                number as u64,
            );
        }
        let exclusion = &manifest.exclusion;
        if !exclusion.is_empty() || manifest.left_out_as_asked > 0 {
            let also =
                [(exclusion.caches, "what lies in caches"), (exclusion.other_file_systems, "other file systems")];
            let also = also.into_iter().filter(|(asked, _)| *asked).map(|(_, name)| name.to_owned());
            let names = exclusion.globs.iter().map(printable).chain(also);
            let total =
                exclusion.globs.len() + usize::from(exclusion.caches) + usize::from(exclusion.other_file_systems);
            let what = format!("{} left out as asked", count_entries(manifest.left_out_as_asked));
            facts.add_list("as asked", &what, names, NAMES_MAX, total as u64);
        }
        if let Some(appeared) = manifest.appeared.filter(|appeared| *appeared > 0) {
            let verb = if appeared == 1 { "is" } else { "are" };
            facts.add("appeared", format!("{} after it began, and {verb} not in it", count(appeared, "file")));
        }
        if let Some(not_kept) = self.not_kept.filter(|not_kept| not_kept.files > 0) {
            let names = not_kept.first.iter().map(|(path, what)| {
                let what: Vec<_> = what.iter().map(printable).collect();
                format!("{}: {}", printable(named(path)), what.join("; "))
            });
            let verb = if not_kept.files == 1 { "has" } else { "have" };
            let what = format!("{} {verb} something that could not be kept", count(not_kept.files, "file"));
            facts.add_list("not kept", &what, names, NOT_KEPT_MAX, not_kept.files);
        }
    }
}

fn told(standing: Standing) -> &'static str {
    match standing {
        Standing::Unchanged => "there and unchanged",
        Standing::Changed => "changed since: its manifest is not the one that was meant",
        Standing::Missing => "not there any more",
    }
}

fn count_entries(number: u64) -> String {
    let noun = if number == 1 { "entry" } else { "entries" };
    format!("{} {noun}", indicatif::HumanCount(number))
}

/// A path as a list of files names it.
pub fn named(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Lines with a heading each.
struct Facts(Vec<String>);

impl Facts {
    fn add(&mut self, heading: &str, text: impl AsRef<str>) {
        self.0.push(format!("  {heading:8}  {}", text.as_ref()));
    }

    /// A line, and below it the first few names of so many.
    fn add_list(
        &mut self,
        heading: &str,
        what: &str,
        names: impl Iterator<Item = String>,
        names_max: usize,
        total: u64,
    ) {
        self.add(heading, if total > 0 { format!("{what}:") } else { what.to_owned() });
        let mut shown = 0;
        for name in names.take(names_max) {
            self.add("", format!("  {name}"));
            shown += 1;
        }
        if total > shown {
            self.add("", format!("  and {} more", indicatif::HumanCount(total - shown)));
        }
    }
}
