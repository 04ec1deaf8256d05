//! What databases, write-ahead logs and rollback journals of SQLite say.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use indicatif::BinaryBytes;
use serde_json::{Value, json};

use super::fields::{Field, Fields};
use crate::engine::ese::files;
use crate::engine::sqlite::engine::head_of;
use crate::engine::sqlite::header::Header;
use crate::engine::sqlite::recognise::{Companion, Content, recognise};
use crate::engine::sqlite::wal::{Frame, HEADER_BYTES, WalHeader, Walk};
use crate::error::{Error, Result, printable};
use crate::paths;
use crate::stream::stop::StopToken;
use crate::ui::{Ui, json as objects};

/// What there is to say of one file.
pub struct Inspected {
    kind: &'static str,
    size: u64,
    fields: Vec<Field>,
    /// What does not hold, as a sentence without the file's name.
    pub damage: Option<String>,
}

/// Looks at a file; none where it is none of SQLite's.
pub fn inspect(path: &Path, stop: &StopToken) -> Result<Option<Inspected>> {
    let (file, size) = files::open(path)?;
    let (mut fields, mut damage) = (Fields::default(), None);
    let kind = match recognise(&head_of(&file)) {
        Content::Foreign => return Ok(None),
        Content::Database(header) => {
            database(&header, size, &mut fields);
            drop(file);
            beside(path, stop, &mut fields)?;
            "SQLite database"
        }
        Content::DamagedDatabase(what) => {
            damage = Some(format!("has a damaged header: {what} cannot be"));
            "SQLite database"
        }
        Content::Wal => {
            match walk(path, file, stop)? {
                Some((header, walk)) => {
                    damage =
                        (!header.is_valid()).then(|| "has a header that does not hold what was written".to_owned());
                    log(&header, &walk, &mut fields);
                }
                None => damage = Some("has a damaged header: the page size cannot be".to_owned()),
            }
            "SQLite write-ahead log"
        }
        Content::Journal => "SQLite rollback journal",
    };
    Ok(Some(Inspected { kind, size, fields: fields.0, damage }))
}

fn database(header: &Header, size: u64, fields: &mut Fields) {
    fields.add("journal_mode", "journal mode", header.journal_mode().name(), header.journal_mode().name());
    fields.number("page_size", "page size", header.page_size);
    let pages = if header.knows_its_size() { u64::from(header.pages) } else { size / u64::from(header.page_size) };
    fields.number("pages", "pages", pages);
    fields.add("encoding", "encoding", header.encoding_name(), header.encoding_name());
    fields.add("auto_vacuum", "automatic vacuum", header.vacuum_name(), header.vacuum_name());
    fields.number("freelist_pages", "free pages", header.freelist_pages);
    fields.number("reserved", "reserved bytes a page", header.reserved);
    fields.number("change_counter", "change counter", header.change_counter);
    fields.number("schema_cookie", "schema cookie", header.schema_cookie);
    fields.number("schema_format", "schema format", header.schema_format);
    fields.number("user_version", "user version", header.user_version);
    fields.number("application_id", "application id", header.application_id);
    fields.number("write_version", "version for writing", header.write_version);
    fields.number("read_version", "version for reading", header.read_version);
    let library = header.library_version();
    fields.add("library", "written by SQLite", &library, library.as_str());
}

/// What stands beside a database: without it, the database is not whole.
fn beside(path: &Path, stop: &StopToken, fields: &mut Fields) -> Result<()> {
    let wal = Companion::Wal.of(path);
    match File::open(&wal) {
        Ok(file) => {
            if let Some((log, walk)) = walk(&wal, file, stop)? {
                let name = printable(wal.file_name().unwrap_or_default());
                let text = format!("{name}: {}", describe(&log, &walk));
                fields.add("wal", "write-ahead log", text, value(&log, &walk));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("open", &wal, &error)),
    }
    let journal = Companion::Journal.of(path);
    let is_hot = File::open(&journal).is_ok_and(|file| recognise(&head_of(&file)) == Content::Journal);
    if is_hot {
        let name = printable(journal.file_name().unwrap_or_default());
        let text = format!("{name}: of a transaction that runs, or was interrupted");
        fields.add("journal", "rollback journal", text, true);
    }
    Ok(())
}

/// Walks along a log; none where it holds nothing or begins like none.
fn walk(path: &Path, file: File, stop: &StopToken) -> Result<Option<(WalHeader, Walk)>> {
    let mut input = BufReader::with_capacity(256 * 1024, file);
    let mut head = [0; HEADER_BYTES];
    let error = |e: &std::io::Error| Error::io("read", path, e);
    match input.read_exact(&mut head) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read.map_err(|e| error(&e))?,
    }
    let Some(header) = WalHeader::parse(&head) else { return Ok(None) };
    let mut walk = Walk::new(&header);
    let mut frame = vec![0; header.frame_bytes()];
    loop {
        stop.check()?;
        match input.read_exact(&mut frame) {
            Ok(()) => _ = walk.feed(&frame),
            // A piece of a frame at the end is a write that was cut short.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(Some((header, walk))),
            Err(e) => return Err(error(&e)),
        }
    }
}

fn log(header: &WalHeader, walk: &Walk, fields: &mut Fields) {
    let sums = |sums: [u32; 2]| format!("{:08x}{:08x}", sums[0], sums[1]);
    let verdict = if header.is_valid() { "good" } else { "DAMAGED" };
    let (stored, computed) = (sums(header.stored), sums(header.computed));
    let text = format!("{stored} stored, {computed} computed: {verdict}");
    fields.add("checksum", "checksum of the header", text, json!({"stored": stored, "computed": computed}));
    fields.number("page_size", "page size", header.page_size);
    fields.number("checkpoint", "checkpoint", header.checkpoint);
    fields.add("salts", "salts", sums(header.salts), sums(header.salts));
    fields.add("frames", "frames", describe(header, walk), value(header, walk));
}

fn describe(header: &WalHeader, walk: &Walk) -> String {
    if !header.is_valid() {
        return "none that counts: its header does not hold what was written".to_owned();
    }
    let pages = walk.pages.map_or(String::new(), |pages| format!(", after which the database has {pages} pages"));
    let end = match walk.end {
        Some(Frame::Bad) => format!("; then one whose checksum does not hold, and {} more", walk.beyond - 1),
        Some(_) => format!("; then {} of an earlier round", walk.beyond),
        None => String::new(),
    };
    let Walk { good, committed, transactions, .. } = walk;
    format!("{good} good frames, {committed} of them in {transactions} committed transactions{pages}{end}")
}

fn value(header: &WalHeader, walk: &Walk) -> Value {
    json!({
        "valid_header": header.is_valid(),
        "good": walk.good,
        "committed": walk.committed,
        "transactions": walk.transactions,
        "pages": walk.pages,
        "beyond": walk.beyond,
        "end": match walk.end {
            Some(Frame::Bad) => "checksum",
            Some(_) => "earlier-round",
            None => "end-of-file",
        },
    })
}

/// Shows it.
pub fn show(path: &Path, inspected: Inspected, ui: &mut Ui) {
    let Inspected { kind, size, fields, damage } = inspected;
    if ui.is_json() {
        let header: serde_json::Map<_, _> =
            fields.into_iter().map(|field| (field.key.to_owned(), field.value)).collect();
        let findings: Vec<_> = damage.iter().map(|message| json!({"kind": "header", "message": message})).collect();
        let mut object = objects::object(json!({
            "type": "inspect",
            "kind": kind,
            "size": size,
            "header": if header.is_empty() { Value::Null } else { Value::Object(header) },
            "findings": findings,
        }));
        paths::insert(&mut object, "file", path);
        return ui.json(object);
    }
    let name = printable(path);
    ui.line(&format!("{name}: {kind}, {} ({size} bytes)", BinaryBytes(size)));
    super::show_rows(super::rows_of(fields).collect(), ui);
    if let Some(damage) = damage {
        ui.line(&format!("  {name} {damage}"));
    }
}
