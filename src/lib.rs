//! jetbak drives streaming backups of storage directories: begin, read, truncate, end, and stop.
//!
//! The command line is `jetbak(1)`; this library is what it calls. Arrows point one way: `cli` → `protocol` → `session`,
//! `engine`, `repository` → `stream`.

pub mod attributes;
pub mod beneath;
pub mod cli;
pub mod durable;
pub mod engine;
pub mod error;
pub mod file_systems;
pub mod heir;
pub mod hex;
pub mod named_paths;
pub mod paths;
pub mod protocol;
pub mod repository;
pub mod roots;
pub mod session;
pub mod stream;
pub mod times;
pub mod ui;
