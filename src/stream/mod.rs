//! Moving bytes: source → hash → sink, with bounded buffers and a look for a stop before every chunk.

pub mod buffer;
pub mod earlier;
pub mod kept;
pub mod pipeline;
pub mod shared;
pub mod source;
pub mod sparse;
pub mod stop;
