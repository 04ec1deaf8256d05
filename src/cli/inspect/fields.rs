//! What each kind of header says, for people and for scripts: one list for both.

use std::fmt::Display;

use serde_json::{Value, json};

use crate::engine::ese::checkpoint::Checkpoint;
use crate::engine::ese::fields::{Attachment, BackupMark, Generation, LogPosition, LogTime, Signature};
use crate::engine::ese::flush_map::FlushMapHeader;
use crate::engine::ese::header::{Counter, DatabaseHeader};
use crate::engine::ese::judge::Inside;
use crate::engine::ese::log::LogHeader;
use crate::engine::ese::page::PageSize;
use crate::engine::ese::patch::PatchPage;
use crate::engine::ese::ranges::{Need, need, span};
use crate::engine::ese::recognise::Content;

/// A field of a header.
pub struct Field {
    /// Its name in JSON.
    pub key: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// Its value for people.
    pub text: String,
    /// Its value for scripts.
    pub value: Value,
}

/// Something that has a form for people and one for scripts.
trait Show: Display {
    fn value(&self) -> Value;
}

impl Show for LogTime {
    fn value(&self) -> Value {
        self.to_rfc3339().into()
    }
}

impl Show for LogPosition {
    fn value(&self) -> Value {
        let fields = json!({
            "position": self.to_string(),
            "generation": self.generation.0,
            "segment": self.segment,
            "offset": self.offset,
        });
        if self.is_unset() { Value::Null } else { fields }
    }
}

impl Show for Signature {
    fn value(&self) -> Value {
        let computer = Some(self.computer()).filter(|computer| !computer.is_empty());
        let (random, time) = (format!("{:08x}", self.random()), self.time().value());
        let fields = json!({"random": random, "time": time, "computer": computer, "hex": self.to_hex()});
        if self.is_unset() { Value::Null } else { fields }
    }
}

impl Show for BackupMark {
    fn value(&self) -> Value {
        let fields = json!({
            "low": self.low.0,
            "high": self.high.0,
            "mark": self.position.value(),
            "time": self.time.value(),
        });
        if self.is_unset() { Value::Null } else { fields }
    }
}

impl Show for Generation {
    fn value(&self) -> Value {
        self.0.into()
    }
}

/// Fields in the order in which they are shown.
#[derive(Default)]
pub struct Fields(pub Vec<Field>);

impl Fields {
    /// Adds one with a text for people and a value for scripts.
    pub fn add(&mut self, key: &'static str, label: &'static str, text: impl Display, value: impl Into<Value>) {
        self.0.push(Field { key, label, text: text.to_string(), value: value.into() });
    }

    fn show(&mut self, key: &'static str, label: &'static str, field: &impl Show) {
        self.add(key, label, field, field.value());
    }

    /// Adds a number.
    pub fn number(&mut self, key: &'static str, label: &'static str, number: impl Into<u64>) {
        let number = number.into();
        self.add(key, label, number, number);
    }

    /// A position in the log and the time beside it.
    fn place(&mut self, key: &'static str, label: &'static str, position: LogPosition, time: LogTime) {
        let mut value = position.value();
        match value.as_object_mut() {
            Some(fields) => _ = fields.insert("time".to_owned(), time.value()),
            None if !time.is_unset() => value = json!({"time": time.value()}),
            None => {}
        }
        let text = if position.is_unset() && time.is_unset() { "-".to_owned() } else { format!("{position}, {time}") };
        self.add(key, label, text, value);
    }

    fn counter(&mut self, key: &'static str, label: &'static str, counter: Counter) {
        let Counter { count, last, before } = counter;
        let mut text = count.to_string();
        if !last.is_unset() {
            text = format!("{text}, last {last}");
        }
        if before > 0 {
            text = format!("{text}, {before} before");
        }
        self.add(key, label, text, json!({"count": count, "last": last.value(), "before": before}));
    }

    fn text(&mut self, key: &'static str, label: &'static str, text: &str) {
        self.add(key, label, if text.is_empty() { "-" } else { text }, text);
    }

    fn attachments(&mut self, attachments: &[Attachment]) {
        let value: Vec<_> = attachments
            .iter()
            .map(|one| {
                json!({
                    "dbid": one.dbid,
                    "flags": one.flags,
                    "names": one.names,
                    "dbtime": one.dbtime,
                    "last_object": one.last_object,
                    "page_limit": one.page_limit,
                    "attached": one.attached.value(),
                    "consistent": one.consistent.value(),
                    "signature": one.signature.value(),
                })
            })
            .collect();
        let text: Vec<_> = attachments
            .iter()
            .map(|one| {
                let name = one.names.first().map_or("-", String::as_str);
                format!("{}: {name}, signature {}, attached {}", one.dbid, one.signature, one.attached)
            })
            .collect();
        self.add("attachments", "attached", if text.is_empty() { "-".to_owned() } else { text.join("; ") }, value);
    }
}

/// The fields of whatever a file holds.
pub fn of(content: &Content, inside: &Inside) -> Vec<Field> {
    let mut fields = Fields::default();
    match content {
        Content::Database(header, _) => database(header, inside, &mut fields),
        Content::Log(header, _) => log(header, &mut fields),
        Content::Checkpoint(checkpoint, _) => of_checkpoint(checkpoint, &mut fields),
        Content::FlushMap(header, _) => flush_map(header, &mut fields),
        Content::PatchFile(page, size, _) => patch(page, *size, &mut fields),
        _ => {}
    }
    fields.0
}

fn database(header: &DatabaseHeader, inside: &Inside, fields: &mut Fields) {
    let state = header.state;
    fields.add("state", "state", format!("{} ({})", state.name(), state.number()), state.name());
    fields.0.push(Field {
        key: "state_number",
        label: "state number",
        text: state.number().to_string(),
        value: state.number().into(),
    });
    let needed = match need(header, inside.trailer.as_ref()) {
        Need::Nothing => "none".to_owned(),
        Need::Logs(required) => required.to_string(),
        Need::NoStream => "none there ever were: it cannot be recovered".to_owned(),
        Need::Unusable(_) => "none would help in this state".to_owned(),
    };
    fields.add("logs_needed", "logs needed", &needed, needed.as_str());
    fields.show("required_low", "lowest log required", &header.required_low);
    fields.show("required_high", "highest log required", &header.required_high);
    fields.show("required_high_created", "  created", &header.required_high_created);
    fields.show("committed_high", "highest log committed", &header.committed_high);
    fields.show("committed_high_created", "  created", &header.committed_high_created);
    fields.show("consistent_low", "lowest log to be clean", &header.consistent_low);
    fields.show("recovering", "log being replayed", &header.recovering);
    fields.number("page_size", "page size", header.page_size.bytes() as u64);
    let page = |page: Option<crate::engine::ese::page::PageNumber>| page.map(|page| page.0);
    let shown = |number: Option<u32>| number.map_or("unknown".to_owned(), |number| number.to_string());
    let (owned, last) = (page(inside.owned), page(inside.last_page));
    fields.add("last_owned_page", "last page owned", shown(owned), owned);
    fields.add("last_page", "last page of the file", shown(last), last);
    let format = format!("0x{:x}, {}, {}", header.format_major, header.format_update, header.format_update_minor);
    let numbers = json!([header.format_major, header.format_update, header.format_update_minor]);
    fields.add("format", "format", format, numbers);
    let (major, update) = (header.created_format_major, header.created_format_update);
    fields.add("created_format", "created with format", format!("0x{major:x}, {update}"), json!([major, update]));
    fields.number("engine_version", "engine version", header.engine_version);
    fields.show("signature", "signature", &header.signature);
    fields.show("log_signature", "log signature", &header.log_signature);
    fields.number("dbtime", "dbtime", header.dbtime);
    fields.number("dbid", "database id", header.dbid);
    fields.place("consistent", "last consistent", header.consistent, header.consistent_time);
    fields.place("attached", "last attached", header.attached, header.attached_time);
    fields.place("detached", "last detached", header.detached, header.detached_time);
    fields.place("reattached", "last attached again", header.reattached, header.reattached_time);
    fields.show("full_previous", "last full backup", &header.full_previous);
    fields.number("full_type", "  its type", header.full_type);
    fields.show("incremental_previous", "last incremental backup", &header.incremental_previous);
    fields.number("incremental_type", "  its type", header.incremental_type);
    fields.show("copy_previous", "last copy backup", &header.copy_previous);
    fields.number("copy_type", "  its type", header.copy_type);
    fields.show("differential_previous", "last differential backup", &header.differential_previous);
    fields.number("differential_type", "  its type", header.differential_type);
    fields.show("full_current", "copied by the full backup", &header.full_current);
    fields.show("snapshot_current", "taken by the snapshot", &header.snapshot_current);
    let trailer = inside.trailer.as_ref();
    let shown = trailer.map_or("-".to_owned(), |trailer| trailer.backup.to_string());
    fields.add(
        "trailer",
        "trailer of the backup",
        shown,
        trailer.map_or(Value::Null, |trailer| trailer.backup.value()),
    );
    fields.number("last_object", "last object", header.last_object);
    let [major, minor, build, pack] = header.os_version;
    let system = format!("{major}.{minor}.{build} sp{}", pack.cast_signed());
    fields.add("os_version", "written on system", &system, system.as_str());
    fields.add("flags", "flags", format!("0x{:x}", header.flags), header.flags);
    fields.number("attributes", "attributes", header.attributes);
    fields.number("file_type", "file type", header.file_type);
    fields.number("repair_count", "repairs", header.repair_count);
    fields.show("repair_time", "  last", &header.repair_time);
    fields.number("repair_count_before", "  before", header.repair_count_before);
    fields.counter("ecc_fixed", "bits corrected", header.ecc_fixed);
    fields.counter("ecc_failed", "bits not corrected", header.ecc_failed);
    fields.counter("bad_checksums", "bad checksums seen", header.bad_checksums);
    fields.counter("reseeds", "incremental reseeds", header.reseeds);
    fields.counter("patches", "pages patched", header.patches);
    fields.number("scrub_dbtime", "scrubbed to dbtime", header.scrub_dbtime);
    fields.show("scrub_time", "scrubbed", &header.scrub_time);
    fields.show("scan_started", "scan started", &header.scan_started);
    fields.show("scan_finished", "scan finished", &header.scan_finished);
    fields.number("scan_page", "  at page", header.scan_page);
    fields.number("scan_page_highest", "  highest page", header.scan_page_highest);
    fields.number("extends", "times extended", header.extends);
    fields.show("extended", "  last", &header.extended);
    fields.number("shrinks", "times shrunk", header.shrinks);
    fields.show("shrunk", "  last", &header.shrunk);
    fields.number("trims", "times trimmed", header.trims);
    fields.show("resized", "last resized", &header.resized);
    fields.show("header_flush", "header flush signature", &header.header_flush);
    fields.show("flush_map_flush", "flush map flush signature", &header.flush_map_flush);
    fields.show("revert_flush", "revert snapshot signature", &header.revert_flush);
    fields.number("revert_count", "times reverted", header.revert_count);
}

fn log(header: &LogHeader, fields: &mut Fields) {
    fields.show("generation", "generation", &header.generation);
    fields.show("created", "created", &header.created);
    fields.show("previous_created", "previous log created", &header.previous_created);
    fields.show("signature", "log signature", &header.signature);
    fields.add("version", "format", header.version(), header.version());
    fields.number("engine_version", "engine version", header.engine_version);
    fields.number("sector_bytes", "sector size", header.sector_bytes);
    fields.number("header_sectors", "sectors of the header", header.header_sectors);
    fields.number("sectors", "sectors in all", header.sectors);
    fields.number("file_bytes", "length, by the header", header.file_bytes());
    let page_size = header.page_size.map(PageSize::bytes);
    let shown = page_size.map_or("unknown".to_owned(), |bytes| bytes.to_string());
    fields.add("page_size", "database page size", shown, page_size);
    fields.show("checkpoint_at_creation", "checkpoint at creation", &header.checkpoint_at_creation);
    let circular = if header.is_circular() { "on" } else { "off" };
    fields.add("circular", "circular logging", circular, header.is_circular());
    fields.add("flags", "flags", format!("0x{:x}", header.flags), header.flags);
    let accumulated = header.expected_of_previous().map(|sum| format!("{sum:016x}"));
    let shown = accumulated.clone().unwrap_or("not recorded".to_owned());
    fields.add("previous_accumulated", "checksums of previous log", shown, accumulated);
    fields.text("system_directory", "system directory", &header.system_directory);
    fields.text("log_directory", "log directory", &header.log_directory);
    fields.number("file_type", "file type", header.file_type);
    fields.attachments(&header.attachments);
}

fn of_checkpoint(checkpoint: &Checkpoint, fields: &mut Fields) {
    fields.show("position", "checkpoint", &checkpoint.position);
    fields.show("consistency", "databases consistent", &checkpoint.consistency);
    fields.show("log_signature", "log signature", &checkpoint.log_signature);
    fields.place("last_full", "last full backup", checkpoint.last_full, checkpoint.last_full_time);
    let (position, time) = (checkpoint.last_incremental, checkpoint.last_incremental_time);
    fields.place("last_incremental", "last incremental backup", position, time);
    fields.show("at_last_full", "checkpoint at last full", &checkpoint.at_last_full);
    fields.text("system_directory", "system directory", &checkpoint.system_directory);
    fields.text("log_directory", "log directory", &checkpoint.log_directory);
    let listed = if checkpoint.has_attachments { "yes" } else { "no" };
    fields.add("has_attachments", "lists what is attached", listed, checkpoint.has_attachments);
    fields.number("file_type", "file type", checkpoint.file_type);
    fields.attachments(&checkpoint.attachments);
}

fn flush_map(header: &FlushMapHeader, fields: &mut Fields) {
    let clean = if header.is_clean() { "clean" } else { "dirty" };
    fields.add("state", "state", clean, clean);
    let version = header.version.map(|number| number.to_string()).join(".");
    fields.add("version", "format", &version, version.as_str());
    fields.show("created", "created", &header.created);
    fields.show("attached", "attached", &header.attached);
    fields.show("detached", "detached", &header.detached);
    fields.show("required_low", "lowest log required", &header.required_low);
    fields.show("required_low_target", "  after this flush", &header.required_low_target);
    fields.show("flush_started", "last flush started", &header.flush_started);
    fields.show("flush_finished", "last flush finished", &header.flush_finished);
    fields.show("database_header_flush", "database header signature", &header.database_header_flush);
    fields.show("flush_map_flush", "flush map signature", &header.flush_map_flush);
    fields.add("flags", "flags", format!("0x{:x}", header.flags), header.flags);
    fields.number("file_type", "file type", header.file_type);
}

fn patch(page: &PatchPage, size: PageSize, fields: &mut Fields) {
    fields.number("page_size", "page size", size.bytes() as u64);
    fields.show("backup", "backup", &page.backup);
    let set = span(page.backup.low, page.backup.high);
    fields.add("set", "logs of the set", &set, set.as_str());
    fields.show("signature", "signature", &page.signature);
    fields.show("log_signature", "log signature", &page.log_signature);
    fields.show("required_low", "lowest log required", &page.required_low);
    fields.show("required_high", "highest log required", &page.required_high);
    fields.show("required_high_created", "  created", &page.required_high_created);
    fields.show("committed_high", "highest log committed", &page.committed_high);
    fields.show("committed_high_created", "  created", &page.committed_high_created);
}
