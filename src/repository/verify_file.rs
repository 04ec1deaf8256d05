//! Proving the content of one file of a backup: what stands in its own folder, and what other backups hold of it.

use std::path::Path;
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};

use super::blocks::{self, BadBlock, Proven};
use super::content::Contents;
use super::damage::{Damage, DamageKind};
use super::file_list::FileLine;
use super::store::Store;
use super::verify::{Elsewhere, Verification, not_as_listed};
use super::verify_database::{AssembledCopy, ask_stored, is_asked};
use crate::engine::Role;
use crate::engine::ese::page::PageSize;
use crate::engine::ese::prove::{Flaw, FlawKind, Prover, What};
use crate::error::{Error, ExitCode, Jet, Result};
use crate::hex::hex;
use crate::stream::earlier::Within;
use crate::stream::pipeline::{HOLE_BYTES, hash_zeros};
use crate::stream::source::Got;

/// Reads the content of a line to its end, wherever it is, and reports where it is not what was backed up.
pub fn check_content(contents: &Contents, line: &FileLine, buffer: &mut [u8], how: &Verification) -> Result<()> {
    let report = |damage: Damage| (how.report)(of_home(damage, line));
    let how = &Verification { report: &report, ..*how };
    match (contents.place(line), line.within) {
        (None, _) => Ok(()), // such a line is not sound
        (Some(place), Within::Data) => {
            check_plain(&**contents.store(), &contents.home(line), &place, line, buffer, how)
        }
        (Some(place), Within::Blocks) => check_assembled(contents, &place, line, buffer, how),
    }
}

/// The damage of a line's content names the backup that holds it.
fn of_home(damage: Damage, line: &FileLine) -> Damage {
    let held_by = damage.held_by.or_else(|| line.held.as_ref().map(|held| held.by.clone()));
    Damage { held_by, ..damage }
}

/// What becomes of content that other backups hold: it is read, unless it is where its home is verified. That the home
/// holds what the line says, [`super::held_lines`] proves.
pub(super) fn check_elsewhere(
    contents: &Contents,
    line: &FileLine,
    buffer: &mut [u8],
    how: &Verification,
) -> Result<()> {
    match how.elsewhere {
        Elsewhere::Unread => Ok(()),
        Elsewhere::But(proven) if line.held.as_ref().is_some_and(|held| proven.contains(&held.by)) => Ok(()),
        Elsewhere::But(_) => check_content(contents, line, buffer, how),
    }
}

/// Proves the file of blocks of a line, which stands in the backup itself, and that what it needs of others is there.
pub(super) fn check_blocks(contents: &Contents, line: &FileLine, buffer: &mut [u8], how: &Verification) -> Result<()> {
    let (Some(place), Some(facts)) = (line.place(), &line.blocks) else { return Ok(()) };
    let (shelf, folder, path) = (contents.shelf()?, contents.folder(), line.path().unwrap_or_default());
    let stored = Path::new(blocks::FOLDER).join(&place);
    how.stop.check()?;
    let mut bad = |BadBlock { offset, bytes, .. }: BadBlock| {
        let what = format!("{bytes} bytes at byte {offset} of the file do not have their hash");
        (how.report)(Damage::told(&stored, DamageKind::Hash, what));
    };
    match blocks::prove(&shelf, folder, &place, &path, &mut bad) {
        Ok(Proven { size, stored: held, bytes, sha256 }) => {
            how.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
            if bytes != facts.bytes {
                (how.report)(Damage::new(&stored, DamageKind::Size, facts.bytes.to_string(), bytes.to_string()));
            } else if sha256 != facts.sha256 {
                (how.report)(Damage::new(&stored, DamageKind::Hash, &facts.sha256, sha256));
            } else if (size, held) != (line.size, facts.stored) {
                let what = format!(
                    "it is of {size} bytes and holds {held} of them, its line says {} and {}",
                    line.size, facts.stored
                );
                (how.report)(Damage::told(&stored, DamageKind::Hash, what));
            }
        }
        Err(error) => {
            return report_or(&error, &stored, how);
        }
    }
    if line.within != Within::Blocks {
        return Ok(());
    }
    how.tally.files.fetch_add(1, Ordering::Relaxed);
    match how.elsewhere {
        Elsewhere::Unread => Ok(()),
        // SQLite has to see a database as a whole, in each backup in which it changed, and so has whoever knows its hash.
        Elsewhere::But(proven)
            if !is_asked(line, how) && line.sha256.is_none() && sources_are(&shelf, folder, &place, &path, proven)? =>
        {
            let mut found = |error: Error| (how.report)(Damage::told(&stored, DamageKind::Chain, error.message()));
            let checked = blocks::check_tables(&shelf, folder, &place, &path, line.size, &mut found);
            checked.or_else(|error| report_or(&error, &stored, how))
        }
        Elsewhere::But(_) => check_content(contents, line, buffer, how),
    }
}

/// Whether all that a file of blocks needs of others is held by these backups.
fn sources_are(
    shelf: &blocks::Shelf,
    folder: &Path,
    place: &Path,
    path: &Path,
    proven: &std::collections::HashSet<String>,
) -> Result<bool> {
    let reader = blocks::TableReader::open(shelf, folder, place, path)?;
    Ok(reader.header().sources.iter().all(|source| proven.contains(&source.backup.text)))
}

/// Damage is reported, and so is what cannot be read.
fn report_or(error: &Error, path: &Path, how: &Verification) -> Result<()> {
    how.stop.check()?;
    if error.is_of_the_reader() {
        return Err(error.clone());
    }
    (how.report)(match (error.exit_code(), error.jet_code()) {
        (ExitCode::Verification, _) => Damage::told(path, DamageKind::Hash, error.message()),
        (_, Some(Jet::FileNotFound)) => Damage::new(path, DamageKind::Missing, "", ""),
        _ => Damage::told(path, DamageKind::Unreadable, error.message()),
    });
    Ok(())
}

/// Puts the content of a line together and reports where that fails, or is not what was backed up.
fn check_assembled(
    contents: &Contents,
    place: &Path,
    line: &FileLine,
    buffer: &mut [u8],
    how: &Verification,
) -> Result<()> {
    let path = Path::new(blocks::FOLDER).join(place);
    let mut source = match contents.open(line) {
        Ok(source) => source,
        Err(error) => return report_or(&error, &path, how),
    };
    let mut prover = prover_of(line);
    let mut flaws = Flaws { count: 0, path: &path, line, how };
    let mut copy = AssembledCopy::begin(line, how);
    let mut hasher = line.sha256.as_ref().map(|_| Sha256::new());
    let mut bytes = 0_u64;
    loop {
        how.stop.check()?;
        match source.next(buffer) {
            Ok(Got::End) => break,
            Ok(Got::Data(got)) => {
                if let Some(copy) = &mut copy {
                    copy.write(&buffer[..got]);
                }
                if let Some(hasher) = &mut hasher {
                    hasher.update(&buffer[..got]);
                }
                if let Some(prover) = &mut prover {
                    prover.feed(&buffer[..got], &mut |flaw| flaws.take(flaw));
                }
                bytes += got as u64;
                how.tally.bytes.fetch_add(got as u64, Ordering::Relaxed);
            }
            Ok(Got::Hole(got)) => {
                if let Some(copy) = &mut copy {
                    copy.skip(got);
                }
                if let Some(hasher) = &mut hasher {
                    hash_hole(hasher, got, how)?;
                }
                if let Some(prover) = &mut prover {
                    prover.skip(got, &mut |flaw| flaws.take(flaw));
                }
                bytes = bytes.saturating_add(got);
                how.tally.bytes.fetch_add(got, Ordering::Relaxed);
            }
            Err(error) => return report_or(&error, &path, how),
        }
    }
    let computed = hasher.map(|hasher| hex(&hasher.finalize()));
    let is_as_stored = bytes == line.size && computed == line.sha256;
    if let Some(prover) = prover {
        prover.finish(&mut |flaw| flaws.finish(flaw, is_as_stored));
    }
    if bytes != line.size {
        (how.report)(Damage::new(&path, DamageKind::Size, line.size.to_string(), bytes.to_string()));
    } else if let (Some(computed), Some(stored)) = (computed, &line.sha256)
        && computed != *stored
    {
        (how.report)(Damage::new(&path, DamageKind::Hash, stored, computed));
    } else if let Some(copy) = copy {
        copy.ask(&path, how)?;
    }
    Ok(())
}

/// Hashes a hole, which may be larger than anybody waits for.
fn hash_hole(hasher: &mut Sha256, mut left: u64, how: &Verification) -> Result<()> {
    while left > 0 {
        how.stop.check()?;
        let now = left.min(HOLE_BYTES);
        hash_zeros(hasher, now);
        left -= now;
    }
    Ok(())
}

/// Reads a file that is stored as it is, at `path` of a folder, and reports where it is not what was stored.
fn check_plain(
    store: &dyn Store,
    folder: &Path,
    path: &Path,
    line: &FileLine,
    buffer: &mut [u8],
    how: &Verification,
) -> Result<()> {
    let (size, stored) = (line.size, line.sha256.as_deref().unwrap_or_default());
    let mut prover = prover_of(line);
    let mut flaws = Flaws { count: 0, path, line, how };
    let mut input = match store.open(&folder.join(path), 0, how.fresh) {
        Ok(input) => input,
        Err(error) => {
            (how.report)(not_as_listed(path, &error)?);
            return Ok(());
        }
    };
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    loop {
        how.stop.check()?;
        match input.next(buffer) {
            Ok(Got::End) => break,
            Ok(Got::Data(got)) => {
                hasher.update(&buffer[..got]);
                if let Some(prover) = &mut prover {
                    prover.feed(&buffer[..got], &mut |flaw| flaws.take(flaw));
                }
                bytes += got as u64;
                how.tally.bytes.fetch_add(got as u64, Ordering::Relaxed);
            }
            Ok(Got::Hole(mut left)) => {
                bytes += left;
                if let Some(prover) = &mut prover {
                    prover.skip(left, &mut |flaw| flaws.take(flaw));
                }
                while left > 0 {
                    how.stop.check()?;
                    let now = left.min(HOLE_BYTES);
                    hash_zeros(&mut hasher, now);
                    how.tally.bytes.fetch_add(now, Ordering::Relaxed);
                    left -= now;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let error = Error::io("read", &store.describe(&folder.join(path)), &error);
                (how.report)(not_as_listed(path, &error)?);
                return Ok(());
            }
        }
    }
    let computed = hex(&hasher.finalize());
    let is_as_stored = bytes == size && computed == stored;
    if let Some(prover) = prover {
        prover.finish(&mut |flaw| flaws.finish(flaw, is_as_stored));
    }
    how.tally.files.fetch_add(1, Ordering::Relaxed);
    if bytes != size {
        (how.report)(Damage::new(path, DamageKind::Size, size.to_string(), bytes.to_string()));
    } else if computed != stored {
        (how.report)(Damage::new(path, DamageKind::Hash, stored, computed));
    } else {
        ask_stored(store, &folder.join(path), path, line, how)?;
    }
    Ok(())
}

/// Proves the pages or segments of a file, where its engine has proven them before.
fn prover_of(line: &FileLine) -> Option<Prover> {
    let what = match (&line.pages, &line.segments) {
        (Some(pages), _) => What::Database(PageSize::from_field(pages.size)?),
        (None, Some(_)) => What::Log,
        (None, None) if line.role == Role::Checkpoint => What::Checkpoint,
        (None, None) => return None,
    };
    Some(Prover::new(what, line.size, line.pages.as_ref().is_some_and(|pages| pages.trailer)))
}

/// Flaws of one file that are named; memory has a bound.
const FLAWS_NAMED_MAX: u64 = 1000;

/// Hears of the flaws of one file.
struct Flaws<'a> {
    count: u64,
    path: &'a Path,
    line: &'a FileLine,
    how: &'a Verification<'a>,
}

impl Flaws<'_> {
    fn take(&mut self, flaw: Flaw) {
        self.take_as(flaw, false);
    }

    /// One that shows at the end of a file, whose content is what was stored or not.
    fn finish(&mut self, flaw: Flaw, is_as_stored: bool) {
        // One copy of a header is enough: where the hash holds, the other was so when it was backed up.
        let is_known = is_as_stored && matches!(flaw.kind, FlawKind::Header | FlawKind::Checkpoint);
        self.take_as(flaw, is_known);
    }

    /// The same, for one that is known by itself.
    fn take_as(&mut self, flaw: Flaw, is_known: bool) {
        self.count += 1;
        if self.count <= FLAWS_NAMED_MAX {
            let damage = Damage::of_flaw(self.path, self.line, flaw);
            (self.how.report)(Damage { is_known: is_known || damage.is_known, ..damage });
        }
    }
}
