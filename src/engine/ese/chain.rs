//! Whether logs follow each other (`spec/ese-format.md` §12): a pure function over their headers.

use super::fields::{Generation, Signature};
use super::log::{LogHeader, LogName, LogRole};
use crate::error::Jet;

/// A log of a stream, as its name and header have it.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// What its name says.
    pub name: &'a LogName,
    /// What its header says.
    pub header: &'a LogHeader,
}

/// Why a log does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Its name says another generation than its header.
    Misnamed,
    /// It is of another stream.
    Foreign,
    /// Logs before it are not there: the first and the last of them.
    Gap(Generation, Generation),
    /// Another log (its index) has the same generation.
    Duplicate(usize),
    /// It was made after another log than the one before it.
    PreviousTime,
    /// The log that is written is older than one that is closed.
    CurrentIsOld,
    /// Its generation cannot be.
    Impossible,
}

impl Misfit {
    /// The number that a restore or a listing of the engine would give (decision 12).
    pub fn jet(self) -> Jet {
        match self {
            Self::Misnamed | Self::Impossible => Jet::LogGenerationMismatch,
            Self::Foreign => Jet::BadLogSignature,
            Self::Gap(..) => Jet::MissingFileToBackup,
            Self::Duplicate(_) | Self::PreviousTime | Self::CurrentIsOld => Jet::InvalidLogSequence,
        }
    }
}

/// Finds what does not fit in a stream: the index of each log, with the reason. `signature` is that of the stream.
///
/// Foreign logs are no part of the chain; a log that is misnamed still is, by its header.
pub fn misfits(links: &[Link<'_>], signature: &Signature) -> Vec<(usize, Misfit)> {
    let mut found = Vec::new();
    let mut chain: Vec<usize> = Vec::new();
    for (index, link) in links.iter().enumerate() {
        let generation = link.header.generation;
        if link.header.signature != *signature {
            found.push((index, Misfit::Foreign));
            continue;
        }
        if !generation.is_valid() {
            found.push((index, Misfit::Impossible));
            continue;
        }
        if matches!(link.name.role, LogRole::Archived(named) if named != generation) {
            found.push((index, Misfit::Misnamed));
        }
        chain.push(index);
    }
    chain.sort_by_key(|index| links[*index].header.generation);
    for pair in chain.windows(2) {
        let (before, after) = (links[pair[0]], links[pair[1]]);
        let (low, high) = (before.header.generation, after.header.generation);
        if low == high {
            found.push((pair[1], Misfit::Duplicate(pair[0])));
        } else if low.next() != high {
            found.push((pair[1], Misfit::Gap(low.next(), Generation(high.0 - 1))));
        } else if before.header.created != after.header.previous_created {
            found.push((pair[1], Misfit::PreviousTime));
        }
        if before.name.role == LogRole::Current && low != high {
            found.push((pair[0], Misfit::CurrentIsOld));
        }
    }
    found
}
