//! Times as they are written: RFC 3339 in UTC for files and JSON, local with offset for people.

use jiff::{Timestamp, TimestampRound, Unit};

/// Now, cut to milliseconds: nobody needs more, and it reads better.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(TimestampRound::new().smallest(Unit::Millisecond).mode(jiff::RoundMode::Trunc)).unwrap_or(now)
}

/// `20261122T093015Z`, as ids hold it.
pub fn compact(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// `2026-11-22T09:30:15.123456789Z` of nanoseconds since 1970; none outside of the years that can be written.
pub fn from_nanoseconds(nanoseconds: i128) -> Option<String> {
    Timestamp::from_nanosecond(nanoseconds).ok().map(|time| time.to_string())
}

/// Whether [`from_nanoseconds`] can write a time.
pub fn can_be_written(nanoseconds: i128) -> bool {
    Timestamp::from_nanosecond(nanoseconds).is_ok()
}

/// Nanoseconds since 1970 of a time as [`from_nanoseconds`] writes it.
pub fn to_nanoseconds(text: &str) -> Option<i128> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond)
}

/// `2026-11-22 10:30:15 +0100`, in the zone of this machine.
pub fn for_people(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z").to_string()
}

/// `1.4 s`, `3 min 12 s`, `2 h 05 min`.
pub fn duration(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_read_as_documented() {
        let time: Timestamp = "2026-11-22T09:30:15.25Z".parse().expect("a time");
        assert_eq!(compact(time), "20261122T093015Z");
        assert_eq!(from_nanoseconds(time.as_nanosecond()).as_deref(), Some("2026-11-22T09:30:15.25Z"));
        assert_eq!(to_nanoseconds("2026-11-22T09:30:15.25Z"), Some(time.as_nanosecond()));
        assert_eq!((from_nanoseconds(i128::MAX), can_be_written(i128::MAX)), (None, false));
        assert_eq!(from_nanoseconds(-1).as_deref().and_then(to_nanoseconds), Some(-1));
        assert!(for_people(time).starts_with("2026-11-2"));
        assert_eq!(
            [1_400, 192_000, 7_500_000].map(|ms| duration(Duration::from_millis(ms))),
            ["1.4 s", "3 min 12 s", "2 h 05 min"]
        );
    }
}
