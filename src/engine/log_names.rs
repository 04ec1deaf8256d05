//! What the names of logs say in a plain directory: which is older, and which a truncate may delete.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::HeldLog;

/// The order of logs: by the last number in the name, then by modification time, then by name.
pub fn compare(a: (&Path, i128), b: (&Path, i128)) -> Ordering {
    compare_numbers(a.0, b.0).then_with(|| a.1.cmp(&b.1)).then_with(|| a.0.cmp(b.0))
}

fn compare_numbers(a: &Path, b: &Path) -> Ordering {
    let number = |path: &Path| last_number(path.file_name().unwrap_or_default().as_bytes());
    let (left, right) = (number(a), number(b));
    match (&left, &right) {
        (Some(left), Some(right)) => left.len().cmp(&right.len()).then_with(|| left.cmp(right)),
        _ => left.is_some().cmp(&right.is_some()),
    }
}

/// The logs that may go. One glob may name several streams, and what an application still writes must stay: the newest
/// by number of each stream (the files of one directory whose names differ in the last number only), the one that was
/// written last in each directory, and every log without a number, because nothing says that another one followed it.
/// Within a stream nothing goes that is newer than one that stays, be it one of `excluded`, which no backup holds: no gap
/// is left.
pub fn needless(held: &[HeldLog], excluded: &[PathBuf]) -> Vec<HeldLog> {
    let mut newest_of_stream = BTreeMap::new();
    let mut newest_of_folder: BTreeMap<&Path, usize> = BTreeMap::new();
    for (index, log) in held.iter().enumerate() {
        let folder = log.path.parent().unwrap_or(Path::new(""));
        if let Some(stream) = stream_of(&log.path) {
            newest_of_stream.insert((folder, stream), index); // they come oldest first
        }
        let newest = newest_of_folder.entry(folder).or_insert(index);
        if log.stamp.modified_ns >= held[*newest].stamp.modified_ns {
            *newest = index;
        }
    }
    let stays: BTreeSet<usize> = newest_of_stream.into_values().chain(newest_of_folder.into_values()).collect();
    let mut kept_streams = BTreeSet::new();
    let mut going = Vec::new();
    let is_newer_than_excluded = |log: &HeldLog| {
        let same_stream =
            |other: &&PathBuf| other.parent() == log.path.parent() && stream_of(other) == stream_of(&log.path);
        excluded.iter().filter(same_stream).any(|other| compare_numbers(other, &log.path) != Ordering::Greater)
    };
    for (index, log) in held.iter().enumerate() {
        let Some(stream) = stream_of(&log.path) else { continue };
        let stream = (log.path.parent(), stream);
        if stays.contains(&index) || kept_streams.contains(&stream) || is_newer_than_excluded(log) {
            kept_streams.insert(stream);
        } else {
            going.push(log.clone());
        }
    }
    going
}

/// A log's name around its last number; none without a number.
fn stream_of(path: &Path) -> Option<(&[u8], &[u8])> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let digits = last_digits(name)?;
    Some((&name[..digits.start], &name[digits.end..]))
}

/// The digits of the last number in a name, upper case and without leading zeros: numbers of any length compare by
/// length, then bytes.
fn last_number(name: &[u8]) -> Option<Vec<u8>> {
    let digits = &name[last_digits(name)?];
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    Some(digits[zeros..].to_ascii_uppercase())
}

/// Hexadecimal digits in a row from here on are one number, as in the names of write-ahead logs.
const HEX_DIGITS_MIN: usize = 8;

/// Where the last number of a name stands: its last digits, or the whole hexadecimal number that they belong to.
fn last_digits(name: &[u8]) -> Option<Range<usize>> {
    let last = name.iter().rposition(u8::is_ascii_digit)?;
    let run = |is_digit: fn(&u8) -> bool| {
        let begin = name[..last].iter().rposition(|byte| !is_digit(byte)).map_or(0, |before| before + 1);
        let length = name[last..].iter().take_while(|byte| is_digit(byte)).count();
        begin..last + length
    };
    let hexadecimal = run(u8::is_ascii_hexdigit);
    Some(if hexadecimal.len() >= HEX_DIGITS_MIN { hexadecimal } else { run(u8::is_ascii_digit) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::source::Stamp;

    fn sorted(names: &[(&str, i64)]) -> Vec<String> {
        let mut names = names.to_vec();
        names.sort_by(|a, b| compare((Path::new(a.0), a.1.into()), (Path::new(b.0), b.1.into())));
        names.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn logs_go_by_number_then_time_then_name() {
        assert_eq!(sorted(&[("wal.10", 0), ("wal.9", 9), ("wal.0008", 5)]), ["wal.0008", "wal.9", "wal.10"]);
        assert_eq!(sorted(&[("b.log", 2), ("a.log", 3), ("c.log", 2)]), ["b.log", "c.log", "a.log"]);
        assert_eq!(sorted(&[("x1.log", 0), ("current.log", 9)]), ["current.log", "x1.log"]);
        let huge = "w99999999999999999999999999";
        assert_eq!(sorted(&[(huge, 0), ("w100000000000000000000000000", 0)]), [huge, "w100000000000000000000000000"]);
    }

    /// Which of these logs (name, modification time) go, when they are held in the order in which they are listed.
    fn going(logs: &[(&str, i64)]) -> Vec<String> {
        going_beside(logs, &[])
    }

    /// The same beside logs that were left out of the backup.
    fn going_beside(logs: &[(&str, i64)], excluded: &[PathBuf]) -> Vec<String> {
        let times: BTreeMap<&str, i64> = logs.iter().copied().collect();
        let held: Vec<_> = sorted(logs)
            .into_iter()
            .map(|name| HeldLog {
                stamp: Stamp { device: 0, inode: 0, size: 1, modified_ns: times[&*name].into(), changed_ns: 0 },
                path: name.into(),
            })
            .collect();
        needless(&held, excluded).into_iter().map(|log| log.path.display().to_string()).collect()
    }

    #[test]
    fn what_was_left_out_holds_up_what_is_newer() {
        let excluded = ["wal.2", "other/wal.1", "x.1"].map(PathBuf::from);
        let logs = [("wal.1", 1), ("wal.3", 3), ("wal.4", 4), ("wal.5", 5), ("y.1", 1), ("y.2", 2)];
        assert_eq!(going_beside(&logs, &excluded), ["wal.1", "y.1"]);
        assert_eq!(going_beside(&logs, &[]), ["wal.1", "y.1", "wal.3", "wal.4"]);
    }

    #[test]
    fn what_an_application_may_still_write_never_goes() {
        assert_eq!(going(&[("wal.1", 1), ("wal.2", 2), ("wal.10", 3)]), ["wal.1", "wal.2"]);
        let two_streams = [("a/wal.98", 1), ("a/wal.99", 2), ("b/wal.6", 3), ("b/wal.7", 4)];
        assert_eq!(going(&two_streams), ["b/wal.6", "a/wal.98"]);
        let beside = [("x-1.log", 1), ("x-2.log", 2), ("y-1.log", 1), ("y-2.log", 3)];
        assert_eq!(going(&beside), ["x-1.log", "y-1.log"]);
        // logrotate: the current one has no number, and the lowest number is the newest
        assert_eq!(going(&[("app.log", 9), ("app.log.1", 8), ("app.log.2", 7)]), ["app.log.1"]);
        assert_eq!(going(&[("app.log.1", 9), ("app.log.2", 8), ("app.log.3", 7)]), Vec::<String>::new());
        // one that is written again holds up the newer ones of its stream: no gap
        let again = [("wal.1", 1), ("wal.2", 9), ("wal.3", 3), ("wal.4", 4), ("x.1", 1), ("x.2", 2)];
        assert_eq!(going(&again), ["wal.1", "x.1"]);
        let hexadecimal = ["00000009", "0000000A", "0000000F", "00000010", "00000011"];
        let hexadecimal: Vec<_> = hexadecimal.into_iter().zip(1..).collect();
        assert_eq!(going(&hexadecimal), ["00000009", "0000000A", "0000000F", "00000010"]);
        assert_eq!(going(&[("current.log", 9), ("old.log", 1)]), Vec::<String>::new());
        assert_eq!(going(&[("only.1", 1)]), Vec::<String>::new());
    }

    proptest::proptest! {
        #[test]
        fn of_any_logs_the_newest_of_each_directory_stays(
            logs in proptest::collection::btree_map("[ab]/[wx][.-][0-9]{0,3}(log)?", 0_i64..5, 0..12)
        ) {
            let logs: Vec<_> = logs.iter().map(|(name, time)| (name.as_str(), *time)).collect();
            let gone = going(&logs);
            for folder in ["a/", "b/"] {
                let newest = logs.iter().filter(|(name, _)| name.starts_with(folder)).map(|(_, time)| *time).max();
                let stays = |(name, time): &(&str, i64)| {
                    name.starts_with(folder) && Some(*time) == newest && !gone.iter().any(|gone| gone == name)
                };
                proptest::prop_assert!(newest.is_none() || logs.iter().any(stays));
            }
            proptest::prop_assert!(gone.iter().all(|name| name.bytes().any(|byte| byte.is_ascii_digit())));
        }
    }

    #[test]
    fn the_last_number_of_a_name_counts() {
        let number = |name: &str| last_number(name.as_bytes()).map(|digits| String::from_utf8(digits).expect("digits"));
        assert_eq!(number("db2.0017.log").as_deref(), Some("17"));
        assert_eq!(number("007").as_deref(), Some("7"));
        assert_eq!(number("0").as_deref(), Some(""));
        assert_eq!(number("none"), None);
        assert_eq!(number("00000001000000000000000a").as_deref(), Some("1000000000000000A"));
        assert_eq!(number("app-2a.log").as_deref(), Some("2"), "too short for a hexadecimal number");
    }
}
