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
    usual_nanoseconds(text).or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond))
}

/// The same of the one form that lists of files have, `2026-11-22T09:30:15[.123456789]Z` since 1970, in a fraction of the
/// time; none of every other form.
fn usual_nanoseconds(text: &str) -> Option<i128> {
    let (date, rest) = text.as_bytes().split_at_checked(19)?;
    let [y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2, b':', s1, s2] = *date else {
        return None;
    };
    let fraction = match rest {
        b"Z" => &[],
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let year = number([y1, y2, y3, y4])?;
    let (month, day) = (number([o1, o2])?, number([d1, d2])?);
    let (hour, minute, second) = (number([h1, h2])?, number([m1, m2])?, number([s1, s2])?);
    // A day that some month or year does not have, and a leap second, are left to whoever knows the calendar.
    let days_sure = if month == 2 { 28 } else { 30 };
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=days_sure).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let mut nanoseconds = 0;
    for at in 0..9 {
        nanoseconds = nanoseconds * 10 + number([*fraction.get(at).unwrap_or(&b'0')])?;
    }
    // Years that begin in March, so that a leap day ends one; 719,468 days lie between the first of them and 1970.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
}

/// A number of decimal digits and nothing else.
fn number<const DIGITS: usize>(text: [u8; DIGITS]) -> Option<i64> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    text.into_iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
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
    use proptest::prelude::*;
    use std::time::Duration;

    fn by_calendar(text: &str) -> Option<i128> {
        text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond)
    }

    proptest! {
        #[test]
        fn the_usual_form_of_a_time_means_what_the_calendar_says(
            nanoseconds in -1_000_000_000_000_000_000..250_000_000_000_000_000_000_i128,
            digits in 0_u32..10,
        ) {
            let unit = 10_i128.pow(digits);
            let time = nanoseconds / unit * unit;
            if let Some(text) = from_nanoseconds(time) {
                prop_assert_eq!(to_nanoseconds(&text), Some(time), "{}", text);
                let is_sure = !matches!(&text.as_bytes()[5..10], [b'0', b'2', b'-', b'2', b'9'] | [.., b'3', b'1']);
                let is_usual = time >= 0 && is_sure;
                prop_assert_eq!(usual_nanoseconds(&text), is_usual.then_some(time), "{}", text);
            }
        }

        #[test]
        fn what_is_odd_is_left_to_the_calendar(
            text in "(19[67]|20[02])[0-9]-[012][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|z|)"
        ) {
            if let Some(found) = usual_nanoseconds(&text) {
                prop_assert_eq!(by_calendar(&text), Some(found), "{}", text);
            }
            prop_assert_eq!(to_nanoseconds(&text), by_calendar(&text), "{}", text);
        }
    }

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
