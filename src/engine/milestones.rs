//! How far a storage has come, by numbers that only grow: where one is lower than an earlier backup has seen it, the storage
//! is an older state of itself.

use std::path::PathBuf;

use crate::error::printable;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The newest generation of the logs.
    Generation,
    /// The generation at which recovery would begin.
    Checkpoint,
    /// The time of a database of the Extensible Storage Engine, which its every change moves on.
    Dbtime(PathBuf),
    /// The change counter of a database of SQLite, which begins anew after 4,294,967,295.
    ChangeCounter(PathBuf),
}

/// A number, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// What is counted.
    pub measure: Measure,
    /// The signature of what it is counted of, where there is one: what has another one has other numbers.
    pub signature: String,
    /// How far it is.
    pub value: u64,
}

/// A database of SQLite as an earlier backup knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDatabase {
    /// Its path, relative to the storage.
    pub path: PathBuf,
    /// Its inode; 0 where that was not noted.
    pub inode: u64,
    /// Its change counter, as in [`CopyFacts`](super::sqlite::facts::CopyFacts).
    pub change_counter: u32,
}

/// A number that is lower than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// What is counted.
    pub measure: Measure,
    /// How far it was.
    pub then: u64,
    /// How far it is.
    pub now: u64,
}

impl Sign {
    /// In words.
    pub fn words(&self) -> String {
        let Self { measure, then, now } = self;
        let what = match measure {
            Measure::Generation => "its newest log generation".to_owned(),
            Measure::Checkpoint => "the generation of its checkpoint".to_owned(),
            Measure::Dbtime(path) => format!("the dbtime of {}", printable(path)),
            Measure::ChangeCounter(path) => format!("the change counter of {}", printable(path)),
        };
        format!("{what} is {now} and was {then}")
    }
}

/// What went back: whatever is counted now of the same thing, and is lower.
pub fn signs(then: &[Milestone], now: &[Milestone]) -> Vec<Sign> {
    let sign_of = |then: &Milestone| {
        let now = now.iter().find(|now| now.measure == then.measure && now.signature == then.signature)?;
        let is_lower = match then.measure {
            Measure::ChangeCounter(_) => is_before(wrapping(now.value), wrapping(then.value)),
            _ => now.value < then.value,
        };
        is_lower.then(|| Sign { measure: then.measure.clone(), then: then.value, now: now.value })
    };
    then.iter().filter_map(sign_of).collect()
}

/// Whether a counter of 32 bits that begins anew at its end comes before another one: on the shorter way from one to the other.
pub fn is_before(counter: u32, other: u32) -> bool {
    let ahead = other.wrapping_sub(counter);
    ahead != 0 && ahead < 1 << 31
}

fn wrapping(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milestone(measure: Measure, signature: &str, value: u64) -> Milestone {
        Milestone { measure, signature: signature.to_owned(), value }
    }

    #[test]
    fn only_what_is_lower_and_of_the_same_thing_went_back() {
        let dbtime = || Measure::Dbtime("Web.edb".into());
        let then = [
            milestone(Measure::Generation, "stream", 9),
            milestone(Measure::Checkpoint, "stream", 7),
            milestone(dbtime(), "web", 500),
        ];
        let now = |generation, checkpoint, time| {
            [
                milestone(Measure::Generation, "stream", generation),
                milestone(Measure::Checkpoint, "stream", checkpoint),
                milestone(dbtime(), "web", time),
            ]
        };
        assert_eq!(signs(&then, &now(9, 7, 500)), []);
        assert_eq!(signs(&then, &now(10, 8, 501)), []);
        let words = |now: &[Milestone]| signs(&then, now).iter().map(Sign::words).collect::<Vec<_>>();
        assert_eq!(words(&now(8, 8, 501)), ["its newest log generation is 8 and was 9"]);
        assert_eq!(words(&now(10, 6, 501)), ["the generation of its checkpoint is 6 and was 7"]);
        assert_eq!(words(&now(10, 8, 499)), ["the dbtime of Web.edb is 499 and was 500"]);
        assert_eq!(signs(&then, &now(1, 1, 1)).len(), 3);
        assert_eq!(signs(&then, &[]), [], "what is not there any more says nothing");
        assert_eq!(signs(&then, &[milestone(Measure::Generation, "another stream", 1)]), []);
        assert_eq!(signs(&then, &[milestone(dbtime(), "another database", 1)]), []);
        assert_eq!(signs(&then, &[milestone(Measure::Dbtime("Other.edb".into()), "web", 1)]), []);
    }

    #[test]
    fn a_counter_goes_round_and_on() {
        let counter = |value| [milestone(Measure::ChangeCounter("bank.db".into()), "", value)];
        for (then, now, went_back) in [
            (5, 5, false),
            (5, 6, false),
            (6, 5, true),
            (0xffff_ffff, 0, false),
            (0xffff_ffff, 3, false),
            (0, 0xffff_ffff, true),
            (0x9000_0000, 0x8fff_ffff, true),
            (0x7fff_ffff, 0x8000_0000, false),
        ] {
            let found = signs(&counter(then), &counter(now));
            assert_eq!(!found.is_empty(), went_back, "{then} {now}");
        }
    }
}
