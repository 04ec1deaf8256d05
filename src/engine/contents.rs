//! Whose files lie in a storage, by their content.

use std::path::{Path, PathBuf};

use super::ese::contents::{has_the_mark, is_named_as_database, may_be_database};
use super::ese::files::{self, read_head};
use super::ese::recognise::{Claim, Content, recognise};
use super::files::{FilesEngine, FilesOptions};
use super::sqlite;
use crate::error::{Error, Result};
use crate::stream::stop::StopToken;

/// Which engines a storage is of, by content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// A database or log of the Extensible Storage Engine.
    pub ese: Option<PathBuf>,
    /// A database of SQLite.
    pub sqlite: Option<PathBuf>,
}

/// Looks whose files lie in a storage. Only files are opened that have the length of whole sectors, as all databases and
/// logs have, or a name that databases have: in a directory with a million other files that is nearly none.
pub fn look_for_engines(files: &FilesEngine, storage: &Path, stop: &StopToken) -> Result<Contents> {
    let mut seen = Contents::default();
    files.each_file(stop, &mut |relative, size| {
        if seen.ese.is_some() && seen.sqlite.is_some() {
            return Ok(());
        }
        let may_be_of_ese = may_be_database(relative, size);
        if !may_be_of_ese && !sqlite::recognise::may_be_database(relative, size) {
            return Ok(());
        }
        let path = storage.join(relative);
        // What cannot be read now fails when it is read.
        let Ok((file, size)) = files::open(&path) else { return Ok(()) };
        let Ok(head) = read_head(&file, &path) else { return Ok(()) };
        if sqlite::recognise::is_database(&head) {
            seen.sqlite.get_or_insert(path);
        } else if match recognise(&head, size) {
            Content::Database(..) | Content::Log(..) => may_be_of_ese,
            Content::DamagedHeader(Claim::Database, ..) => is_named_as_database(relative) || has_the_mark(&head),
            _ => false,
        } {
            seen.ese.get_or_insert(path);
        }
        Ok(())
    })?;
    Ok(seen)
}

/// The databases of SQLite in a directory, or the file itself, by absolute paths; and whether anything of the Extensible
/// Storage Engine lies there.
pub fn find_databases(target: &Path, stop: &StopToken) -> Result<(Vec<PathBuf>, bool)> {
    let target = target.canonicalize().map_err(|e| Error::io("open", target, &e))?;
    let is_one = |path: &Path| {
        let head = files::open(path).and_then(|(file, _)| read_head(&file, path));
        head.is_ok_and(|head| sqlite::recognise::is_database(&head))
    };
    if !target.is_dir() {
        return Ok((Some(target).filter(|path| is_one(path)).into_iter().collect(), false));
    }
    let files = FilesEngine::open(&target, &FilesOptions::default())?;
    let seen = look_for_engines(&files, &target, stop)?;
    let mut found = Vec::new();
    if seen.sqlite.is_some() {
        files.each_file(stop, &mut |relative, size| {
            let path = target.join(relative);
            if sqlite::recognise::may_be_database(relative, size) && is_one(&path) {
                found.push(path);
            }
            Ok(())
        })?;
    }
    Ok((found, seen.ese.is_some()))
}
