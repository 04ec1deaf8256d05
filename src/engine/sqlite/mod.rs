//! Databases of SQLite: recognised by content, copied hot and consistent through SQLite's own view of them.
//!
//! [`header`], [`wal`] and [`recognise`] are pure: bytes or names in, values out, total for whatever a file holds. All
//! else goes through SQLite itself, whose locks are POSIX locks: they are the process's own, and closing any handle on
//! a database gives up all that the process holds on it. So nobody here opens and closes a database file by another way
//! while a connection to it is open: a handle that is needed stays open until the connection has gone.

pub mod check;
pub mod connection;
pub mod engine;
pub mod facts;
pub mod header;
pub mod journal;
mod milestones;
pub mod private;
pub mod recognise;
pub mod source;
pub mod tidy;
pub mod view;
pub mod wal;
