//! Which backups can go, and how they go: the plan, what it rests on, and the trash that they become.

pub mod facts;
pub mod plan;
pub mod trash;
