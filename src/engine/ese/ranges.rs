//! Which logs a database needs, and which of those are not there (`spec/ese-format.md` §12): pure functions over what
//! headers say.

use std::collections::BTreeSet;
use std::fmt;

use super::fields::Generation;
use super::header::{DatabaseHeader, State};
use super::patch::PatchPage;
use crate::error::Jet;

/// The logs that a dirty database needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Required {
    /// The first one.
    pub low: Generation,
    /// The last one without which the database cannot be used.
    pub high: Generation,
    /// The last one without which committed changes are lost; not below `high`.
    pub committed: Generation,
}

/// `5-7 (0x5-0x7)`, with what is committed where that is more.
impl fmt::Display for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&span(self.low, self.high))?;
        if self.committed > self.high {
            write!(f, ", committed to {}", self.committed)?;
        }
        Ok(())
    }
}

/// A run of generations for people: `5-7 (0x5-0x7)`, or `5 (0x5)`.
pub fn span(low: Generation, high: Generation) -> String {
    if low == high { low.to_string() } else { format!("{}-{} (0x{:X}-0x{:X})", low.0, high.0, low.0, high.0) }
}

/// What it takes to use a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it was shut down.
    Nothing,
    /// Logs of its stream.
    Logs(Required),
    /// Logs, but it never had any: it cannot be recovered.
    NoStream,
    /// Nothing helps: the number says why (decision 10).
    Unusable(Jet),
}

/// What it takes to use a database, by its header and, in a copy that the engine made, by the trailer.
pub fn need(header: &DatabaseHeader, trailer: Option<&PatchPage>) -> Need {
    match header.state {
        State::Clean => Need::Nothing,
        // Without a first log there is nothing from which it could be recovered.
        State::Dirty | State::DirtyAndPatched
            if !header.has_log_stream() || (trailer.is_none() && header.required_low.0 == 0) =>
        {
            Need::NoStream
        }
        State::Dirty | State::DirtyAndPatched => Need::Logs(required(header, trailer)),
        State::IncrementalReseed => Need::Unusable(Jet::DatabaseIncompleteIncrementalReseed),
        State::RevertInProgress => Need::Unusable(Jet::DatabaseIncompleteRevert),
        State::JustCreated | State::BeingConverted | State::ForceDetached | State::Unknown(_) => {
            Need::Unusable(Jet::DatabaseDirtyShutdown)
        }
    }
}

fn required(header: &DatabaseHeader, trailer: Option<&PatchPage>) -> Required {
    let (low, high, committed) = match trailer {
        // The set of the backup is what a restore replays, whatever the header said when the copy began.
        Some(trailer) => {
            let high = trailer.backup.high.max(trailer.required_high);
            (trailer.backup.low, high, high.max(trailer.committed_high))
        }
        None => (header.required_low, header.required_high, header.committed_high),
    };
    Required { low, high: high.max(low), committed: committed.max(high).max(low) }
}

/// The runs of generations from `low` to `high` that are not present; empty where `low` is 0 (none needed).
///
/// The effort grows with the logs present, not with what the fields claim.
pub fn missing(low: Generation, high: Generation, present: &BTreeSet<Generation>) -> Vec<(Generation, Generation)> {
    let mut gaps = Vec::new();
    if low.0 == 0 || low > high {
        return gaps;
    }
    let mut next = low;
    for found in present.range(low..=high) {
        if *found > next {
            gaps.push((next, Generation(found.0 - 1)));
        }
        next = found.next();
    }
    if next <= high {
        gaps.push((next, high));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(low: u32, high: u32, present: &[u32]) -> Vec<(u32, u32)> {
        let present = present.iter().copied().map(Generation).collect();
        missing(Generation(low), Generation(high), &present).into_iter().map(|(low, high)| (low.0, high.0)).collect()
    }

    #[test]
    fn what_is_missing_is_named_in_runs() {
        assert_eq!(gaps(5, 7, &[5, 6, 7]), []);
        assert_eq!(gaps(5, 7, &[4, 6, 8]), [(5, 5), (7, 7)]);
        assert_eq!(gaps(5, 9, &[]), [(5, 9)]);
        assert_eq!(gaps(5, 9, &[5, 9]), [(6, 8)]);
        assert_eq!(gaps(0, 9, &[]), []);
        assert_eq!(gaps(9, 5, &[]), []);
        assert_eq!(gaps(1, u32::MAX, &[7]), [(1, 6), (8, u32::MAX)]);
    }
}
