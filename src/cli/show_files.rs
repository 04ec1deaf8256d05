//! `jetbak show --files`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::shell::quoted;
use super::show::{named, with_hint};
use super::summary::seconds;
use crate::engine::Role;
use crate::error::{Error, ExitCode, Jet, printable};
use crate::named_paths::NamedPaths;
use crate::paths;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::file_list::FileLine;
use crate::repository::list_reader::read_proven;
use crate::repository::manifest::Manifest;
use crate::roots::Roots;
use crate::times;
use crate::ui::{Ui, json as objects};

pub fn run(repository: &Repository, backup: &Backup, manifest: &Manifest, asked: &[PathBuf], ui: &mut Ui) -> ExitCode {
    let started = Instant::now();
    let mut selection = NamedPaths::new(asked);
    let mut counts = Counts::default();
    let mut widths = Widths { user: 8, group: 8, size: 12 };
    let read = repository.chain(backup);
    let read = read.and_then(|chain| {
        read_proven(repository.store(), &chain, &mut |resolved| {
            let line = resolved.line;
            if !line.name(&manifest.roots).is_some_and(|name| selection.meet(&name)) {
                return Ok(ControlFlow::Continue(()));
            }
            counts.add(&line);
            if ui.is_json() {
                ui.line(&as_json(&line));
            } else {
                ui.line(&widths.set(&line, &manifest.roots));
            }
            Ok(if ui.is_heard() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
    });
    if !ui.is_heard() {
        return ExitCode::Done; // a closed pipe; a full disk makes a failure of it when the voice is closed
    }
    let mut exit_code = ExitCode::Done;
    for path in selection.unknown() {
        exit_code = ExitCode::Usage;
        ui.error(&unknown(backup, path).hint(files_hint(repository, backup)).into());
    }
    if let Err(error) = read {
        exit_code = error.exit_code();
        ui.error(&with_hint(error, repository, backup).into());
    }
    if ui.is_json() {
        let mut fields = objects::object(json!({
            "type": "summary",
            "command": "show",
            "outcome": if exit_code == ExitCode::Done { "completed" } else { "failed" },
            "exit_code": exit_code.number(),
            "id": backup.id.text,
            "sequence": backup.id.sequence,
            "files": counts.files,
            "directories": counts.directories,
            "links": counts.links,
            "bytes": counts.bytes,
            "seconds": seconds(started.elapsed()),
            "warnings": ui.warnings(),
        }));
        paths::insert(&mut fields, "repository", repository.root());
        ui.json_last(fields);
    }
    exit_code
}

/// Where a person finds the names.
pub fn files_hint(repository: &Repository, backup: &Backup) -> String {
    format!("`jetbak show {} {} --files` lists what it holds.", quoted(repository.root()), backup.id.sequence)
}

/// The line as the list has it, and of a file also where its content is.
fn as_json(line: &FileLine) -> String {
    let mut fields = objects::object(serde_json::to_value(line).expect("a line has only fields that JSON can hold"));
    if line.role.is_file() {
        fields.extend(objects::object(json!({
            "within": line.within,
            "held_by": line.held.as_ref().map(|held| &held.by),
            "bytes_stored": line.bytes_stored(),
        })));
    }
    Value::Object(fields).to_string()
}

/// How much was listed.
#[derive(Default)]
struct Counts {
    files: u64,
    directories: u64,
    links: u64,
    bytes: u64,
}

impl Counts {
    fn add(&mut self, line: &FileLine) {
        match line.role {
            // The storage itself is listed, and not counted, as in the manifest.
            Role::Directory => self.directories += u64::from(line.path().is_some_and(|path| path != Path::new(""))),
            Role::Link => self.links += 1,
            _ => {
                self.files += 1;
                let again = line.hard_link().is_some();
                self.bytes = self.bytes.saturating_add(if again { 0 } else { line.size });
            }
        }
    }
}

/// Columns that grow with what they meet, because nobody waits for the end of a list.
struct Widths {
    user: usize,
    group: usize,
    size: usize,
}

impl Widths {
    /// A line as `ls -l` has it.
    fn set(&mut self, line: &FileLine, roots: &Roots) -> String {
        let name = |name: Option<&str>, number: u32| name.map_or_else(|| number.to_string(), printable);
        let user = name(line.user.as_deref(), line.uid);
        let group = name(line.group.as_deref(), line.gid);
        let size = if line.role.is_file() { line.size.to_string() } else { "-".to_owned() };
        self.user = self.user.max(user.chars().count());
        self.group = self.group.max(group.chars().count());
        self.size = self.size.max(size.len());
        let time = line.modified.as_deref().and_then(|text| text.parse().ok()).map(times::for_people);
        let time = time.unwrap_or_else(|| "?".to_owned());
        let path = line.name(roots).unwrap_or_default();
        let further = match (line.target(), line.hard_link()) {
            (Some(target), _) => format!(" -> {}", printable(target)),
            (None, Some(first)) => format!(" = {}", printable(roots.name(&line.root, &first).unwrap_or_default())),
            (None, None) => String::new(),
        };
        format!(
            "{} {user:user_width$} {group:group_width$} {size:>size_width$} {time:25} {}{further}",
            mode_text(line.role, &line.mode),
            printable(named(&path)),
            user_width = self.user,
            group_width = self.group,
            size_width = self.size,
        )
    }
}

/// `drwxr-xr-x` and the like, of octal digits.
fn mode_text(role: Role, mode: &str) -> String {
    let mode = u32::from_str_radix(mode, 8).unwrap_or(0);
    let mut text = String::from(match role {
        Role::Directory => 'd',
        Role::Link => 'l',
        _ => '-',
    });
    for (shift, special, with_x, without) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let has = |bit: u32| mode >> shift & bit != 0;
        text.push(if has(4) { 'r' } else { '-' });
        text.push(if has(2) { 'w' } else { '-' });
        text.push(match (mode & special != 0, has(1)) {
            (true, true) => with_x,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// What is said of a path that a backup does not hold.
pub fn unknown(backup: &Backup, path: &Path) -> Error {
    Error::jet(Jet::InvalidParameter, format!("{} is not in {}", printable(named(path)), backup.id.text)).file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ls_writes_them() {
        for (role, mode, text) in [
            (Role::Directory, "0755", "drwxr-xr-x"),
            (Role::Directory, "1777", "drwxrwxrwt"),
            (Role::Directory, "1776", "drwxrwxrwT"),
            (Role::Database, "4755", "-rwsr-xr-x"),
            (Role::Database, "6644", "-rwSr-Sr--"),
            (Role::Log, "0000", "----------"),
            (Role::Link, "0777", "lrwxrwxrwx"),
        ] {
            assert_eq!(mode_text(role, mode), text);
        }
    }
}
