//! Files of the Extensible Storage Engine: recognised by content, read, and proven (`spec/ese-format.md`).
//!
//! Pure (bytes or values in, values out) is everything here but what opens files: [`at_rest`], [`beside`], [`check`],
//! [`contents`], [`deletion`], [`engine`], [`files`], [`opening`], [`source`] and [`survey`]. Parsers are total: whatever a
//! file holds, they end, do not panic, and allocate nothing that a field asks for.

pub mod advice;
pub mod at_rest;
pub mod beside;
pub mod body;
pub mod chain;
pub mod check;
pub mod checkpoint;
pub mod checksum;
pub mod contents;
pub mod deletion;
pub mod ecc;
pub mod engine;
pub mod facts;
pub mod fields;
pub mod files;
pub mod finding;
pub mod fitness;
pub mod flush_map;
pub mod header;
pub mod increment;
pub mod instance;
pub mod judge;
pub mod log;
pub mod log_story;
mod milestones;
pub mod opening;
pub mod page;
pub mod patch;
pub mod prove;
pub mod ranges;
pub mod recognise;
pub mod records;
pub mod segments;
pub mod set;
pub mod source;
pub mod space;
pub mod survey;
pub mod truncation;
