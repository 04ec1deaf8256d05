//! Plans by example, and at random against a model that counts the slow way.

use jiff::Span;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A full backup of this time; the number is its place.
fn fact(sequence: u64, time: &str) -> Fact {
    let time: Timestamp = time.parse().expect("a time");
    let told = Told {
        kind: Kind::Full,
        completed: true,
        time,
        parent: None,
        consolidates: None,
        bytes_stored: 10,
        whole: true,
        verified: false,
    };
    let id = BackupId::new(sequence, time, Kind::Full);
    Fact { id, state: (sequence, sequence), told: Some(told), tags: Vec::new(), pinned: None, in_use: None }
}

/// One backup each of these times, oldest first.
fn facts(times: &[&str]) -> Vec<Fact> {
    (1..).zip(times).map(|(sequence, time)| fact(sequence, time)).collect()
}

fn told(fact: &mut Fact) -> &mut Told {
    fact.told.as_mut().expect("readable")
}

/// Makes one build on an earlier one; both are given by their places, from 0.
fn builds_on(facts: &mut [Fact], child: usize, parent: usize, kind: Kind) {
    let id = facts[parent].id.text.clone();
    let told = told(&mut facts[child]);
    (told.parent, told.kind) = (Some(id), kind);
}

fn keep(rule: Rule, limit: usize) -> Policy {
    Policy { counts: vec![(rule, limit)], ..Policy::default() }
}

/// Central Europe as it is since 1996: +1, in summer +2.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
}

const LATE: &str = "2030-01-01T00:00:00Z";

/// The numbers of those that stay.
fn kept_at(facts: &[Fact], policy: &Policy, now: &str, zone: &TimeZone) -> Vec<u64> {
    let verdicts = plan(facts, &[], policy, now.parse().expect("a time"), zone);
    assert!(verdicts.iter().all(|verdict| !verdict.reasons.is_empty()), "{verdicts:?}");
    let kept = facts.iter().zip(&verdicts).filter(|(_, verdict)| verdict.keep);
    kept.map(|(fact, _)| fact.id.sequence).collect()
}

fn kept(facts: &[Fact], policy: &Policy) -> Vec<u64> {
    kept_at(facts, policy, LATE, &TimeZone::UTC)
}

#[test]
fn each_rule_keeps_the_newest_of_each_span() {
    let days = facts(&[
        "2023-12-31T10:00:00Z",
        "2024-12-29T10:00:00Z",
        "2024-12-30T10:00:00Z",
        "2024-12-31T10:00:00Z",
        "2025-01-01T08:00:00Z",
        "2025-01-01T08:30:00Z",
        "2025-01-01T10:00:00Z",
    ]);
    assert_eq!(kept(&days, &keep(Rule::Last, 3)), [5, 6, 7]);
    assert_eq!(kept(&days, &keep(Rule::Hourly, 2)), [6, 7]);
    assert_eq!(kept(&days, &keep(Rule::Daily, 3)), [3, 4, 7]);
    // Monday, 30 December 2024 begins the first week of 2025.
    assert_eq!(kept(&days, &keep(Rule::Weekly, 2)), [2, 7]);
    assert_eq!(kept(&days, &keep(Rule::Monthly, 2)), [4, 7]);
    assert_eq!(kept(&days, &keep(Rule::Yearly, 9)), [1, 4, 7]);
}

#[test]
fn a_leap_day_is_a_day_and_a_year_may_have_53_weeks() {
    let leap = facts(&["2028-02-28T12:00:00Z", "2028-02-29T12:00:00Z", "2028-03-01T12:00:00Z"]);
    assert_eq!(kept(&leap, &keep(Rule::Daily, 2)), [2, 3]);
    assert_eq!(kept(&leap, &keep(Rule::Daily, 3)), [1, 2, 3]);
    let verdicts = plan(&leap, &[], &keep(Rule::Daily, 3), LATE.parse().expect("a time"), &TimeZone::UTC);
    assert!(verdicts[1].reasons.contains(&Reason::Counted(Rule::Daily, "2028-02-29".to_owned())));
    let weeks = facts(&["2026-12-28T12:00:00Z", "2027-01-03T12:00:00Z", "2027-01-04T12:00:00Z"]);
    let verdicts = plan(&weeks, &[], &keep(Rule::Weekly, 2), LATE.parse().expect("a time"), &TimeZone::UTC);
    assert!(!verdicts[0].keep, "Sunday is of the same week");
    assert!(verdicts[1].reasons.contains(&Reason::Counted(Rule::Weekly, "2026-W53".to_owned())));
}

#[test]
fn days_are_those_of_the_clock_on_the_wall_also_where_it_is_set() {
    // 23:30 and 00:30 in Berlin, on one day in UTC; in summer and in winter.
    for times in [["2026-07-01T21:30:00Z", "2026-07-01T22:30:00Z"], ["2026-12-01T22:30:00Z", "2026-12-01T23:30:00Z"]] {
        let midnight = facts(&times);
        assert_eq!(kept_at(&midnight, &keep(Rule::Daily, 2), LATE, &berlin()), [1, 2], "{times:?}");
        assert_eq!(kept(&midnight, &keep(Rule::Daily, 2)), [2], "{times:?}");
    }
    // The night in which two o'clock comes twice has one hour of that name; the day has 25 hours and is one.
    let autumn = facts(&["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]);
    assert_eq!(kept_at(&autumn, &keep(Rule::Hourly, 9), LATE, &berlin()), [2, 3]);
    assert_eq!(kept_at(&autumn, &keep(Rule::Daily, 9), LATE, &berlin()), [3]);
    // In spring two o'clock is missing.
    let spring = facts(&["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"]);
    assert_eq!(kept_at(&spring, &keep(Rule::Hourly, 9), LATE, &berlin()), [1, 2]);
}

#[test]
fn what_is_incomplete_counts_nowhere_and_goes_when_something_newer_is_complete() {
    let mut some = facts(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", LATE]);
    for at in [1, 3] {
        told(&mut some[at]).completed = false;
    }
    some.push(fact(5, LATE));
    told(&mut some[4]).completed = false;
    assert_eq!(kept(&some, &keep(Rule::Last, 2)), [1, 3, 4, 5], "nothing newer than 4 and 5 is complete");
    some.push(fact(6, LATE));
    assert_eq!(kept(&some, &keep(Rule::Last, 2)), [3, 6]);
    some[1].pinned = Some(String::new());
    some[3].tags = vec!["x".to_owned()];
    let policy = Policy { tags: vec!["x".to_owned()], ..keep(Rule::Last, 2) };
    assert_eq!(kept(&some, &policy), [2, 3, 4, 6]);
}

#[test]
fn what_is_kept_keeps_all_that_it_builds_on_and_says_so() {
    let mut chain = facts(&["2026-01-01T00:00:00Z"; 5]);
    builds_on(&mut chain, 1, 0, Kind::Incremental);
    builds_on(&mut chain, 2, 1, Kind::Incremental);
    builds_on(&mut chain, 3, 0, Kind::Differential);
    builds_on(&mut chain, 4, 2, Kind::Incremental);
    let verdicts = plan(&chain, &[], &keep(Rule::Last, 1), LATE.parse().expect("a time"), &TimeZone::UTC);
    assert_eq!(kept(&chain, &keep(Rule::Last, 1)), [1, 2, 3, 5]);
    assert_eq!(verdicts[0].reasons, [Reason::NeededBy(vec![chain[1].id.text.clone()])]);
    assert_eq!(verdicts[3].reasons, [Reason::NoRule]);
    let going = kept(&chain[..4], &keep(Rule::Last, 1));
    assert_eq!(going, [1, 4], "a differential needs its full only");
}

#[test]
fn the_highest_number_stays_also_if_it_is_an_old_state() {
    let mut some = facts(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
    some[2].state = (1, 3);
    told(&mut some[2]).consolidates = Some(some[0].id.text.clone());
    let some = some;
    assert_eq!(kept(&some, &keep(Rule::Last, 1)), [2, 3]);
    let verdicts = plan(&some, &[], &keep(Rule::Last, 1), LATE.parse().expect("a time"), &TimeZone::UTC);
    assert_eq!(verdicts[2].reasons, [Reason::HighestNumber]);
    assert_eq!(kept(&some, &keep(Rule::Last, 2)), [2, 3], "one content counts once");
}

#[test]
fn damage_takes_no_place_away_from_what_is_whole() {
    let mut some = facts(&["2026-01-01T00:00:00Z"; 5]);
    told(&mut some[4]).whole = false;
    told(&mut some[3]).whole = false;
    told(&mut some[0]).verified = true;
    assert_eq!(kept(&some, &keep(Rule::Last, 2)), [1, 2, 3, 4, 5]);
    assert_eq!(kept(&some, &keep(Rule::Last, 1)), [1, 3, 5], "verified, newest whole, newest");
}

#[test]
fn the_newest_verified_stays_with_its_chain_and_so_does_what_a_partial_builds_on() {
    let mut some = facts(&["2026-01-01T00:00:00Z"; 6]);
    builds_on(&mut some, 1, 0, Kind::Incremental);
    told(&mut some[1]).verified = true;
    assert_eq!(kept(&some, &keep(Rule::Last, 1)), [1, 2, 6]);
    let partials = [("session".to_owned(), some[3].id.text.clone()), ("other".to_owned(), "gone".to_owned())];
    let verdicts = plan(&some, &partials, &keep(Rule::Last, 1), LATE.parse().expect("a time"), &TimeZone::UTC);
    assert_eq!(verdicts[3].reasons, [Reason::NeededByPartial("session".to_owned())]);
    assert!(!verdicts[2].keep && !verdicts[4].keep);
}

#[test]
fn what_cannot_be_read_stays_with_all_that_it_may_build_on() {
    let mut some = facts(&["2026-01-01T00:00:00Z"; 7]);
    builds_on(&mut some, 2, 1, Kind::Incremental);
    some[3].told = None;
    some[3].id = BackupId::new(4, LATE.parse().expect("a time"), Kind::Incremental);
    assert_eq!(kept(&some, &keep(Rule::Last, 1)), [2, 3, 4, 7]);
    some[3].id = BackupId::new(4, LATE.parse().expect("a time"), Kind::Full);
    assert_eq!(kept(&some, &keep(Rule::Last, 1)), [4, 7]);
}

#[test]
fn what_is_being_read_stays_with_what_it_builds_on_unless_it_stays_anyway() {
    let mut some = facts(&["2026-01-01T00:00:00Z"; 4]);
    builds_on(&mut some, 1, 0, Kind::Incremental);
    some[1].in_use = Some("cat".to_owned());
    some[3].in_use = Some("cat".to_owned());
    let verdicts = plan(&some, &[], &keep(Rule::Last, 1), LATE.parse().expect("a time"), &TimeZone::UTC);
    assert_eq!(kept(&some, &keep(Rule::Last, 1)), [1, 2, 4]);
    assert_eq!(verdicts[1].reasons, [Reason::InUse("cat".to_owned())]);
    assert!(!verdicts[3].reasons.contains(&Reason::InUse("cat".to_owned())));
    assert_eq!(in_turn(&some, &verdicts), [2]);
}

fn within(days: i64) -> Policy {
    Policy { within: Some(SignedDuration::from_hours(24 * days)), ..Policy::default() }
}

#[test]
fn within_counts_back_from_the_newest_backup_or_from_now() {
    let some = facts(&["2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z", "2026-01-10T00:00:00Z"]);
    assert_eq!(kept(&some, &within(3)), [2, 3], "nobody made backups since: the old ones do not go for that");
    assert_eq!(kept_at(&some, &within(2), "2026-01-10T00:00:00Z", &TimeZone::UTC), [2, 3]);
    assert_eq!(kept_at(&some, &within(1), "2026-01-10T00:00:00Z", &TimeZone::UTC), [3]);
    let forever = Policy { within: Some(SignedDuration::MAX), ..Policy::default() };
    assert_eq!(kept(&some, &forever), [1, 2, 3]);
}

#[test]
fn a_clock_that_jumped_makes_nothing_older_than_its_number() {
    // A clock of a dead battery at number 3, one of the future at number 5.
    let mut some = facts(&[
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "2026-01-04T00:00:00Z",
        "2099-01-05T00:00:00Z",
        "2026-01-06T00:00:00Z",
    ]);
    let now = "2026-01-06T00:00:00Z";
    assert_eq!(kept_at(&some, &within(3), now, &TimeZone::UTC), [3, 4, 5, 6]);
    let verdicts = plan(&some, &[], &within(3), now.parse().expect("a time"), &TimeZone::UTC);
    assert_eq!(verdicts[2].reasons, [Reason::WithinByNumber]);
    some.push(fact(7, "2026-02-06T00:00:00Z"));
    assert_eq!(
        kept_at(&some, &within(3), "2026-02-06T00:00:00Z", &TimeZone::UTC),
        [7],
        "they go with their neighbours"
    );
    // The clock is a year behind now: nothing is too old.
    some.remove(2);
    assert_eq!(kept_at(&some, &within(3), "2025-01-01T00:00:00Z", &TimeZone::UTC).len(), 6);
}

// At random

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
struct Seed {
    /// Hours since the one before; clocks jump.
    hours: i32,
    parent: Option<prop::sample::Index>,
    differential: bool,
    completed: bool,
    readable: bool,
    whole: bool,
    verified: bool,
    pinned: bool,
    tagged: bool,
    in_use: bool,
}

fn seed() -> impl Strategy<Value = Seed> {
    let hours = prop_oneof![8 => 0..40i32, 1 => -3000..3000i32];
    let flag = |percent: u32| prop::bool::weighted(f64::from(percent) / 100.0);
    let first = (hours, proptest::option::of(any::<prop::sample::Index>()), flag(30), flag(85), flag(95));
    let second = (flag(90), flag(20), flag(5), flag(10), flag(5));
    (first, second).prop_map(|((hours, parent, differential, completed, readable), second)| {
        let (whole, verified, pinned, tagged, in_use) = second;
        Seed { hours, parent, differential, completed, readable, whole, verified, pinned, tagged, in_use }
    })
}

fn history() -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(seed(), 0..30).prop_map(|seeds| {
        let mut time: Timestamp = "2026-01-15T00:00:00Z".parse().expect("a time");
        let mut facts: Vec<Fact> = Vec::new();
        for (sequence, seed) in (1..).zip(seeds) {
            time = time.checked_add(SignedDuration::from_hours(i64::from(seed.hours))).expect("near");
            let mut fact = fact(sequence, &time.to_string());
            let parents: Vec<usize> = (0..facts.len()).collect();
            let parent = seed.parent.filter(|_| !parents.is_empty()).map(|index| *index.get(&parents));
            let kind = if seed.differential { Kind::Differential } else { Kind::Incremental };
            let told = told(&mut fact);
            (told.completed, told.whole) = (seed.completed, seed.whole);
            told.verified = seed.whole && seed.verified;
            if let Some(parent) = parent {
                (told.kind, told.parent) = (kind, Some(facts[parent].id.text.clone()));
                fact.id = BackupId::new(sequence, time, kind);
            }
            if !seed.readable {
                fact.told = None;
            }
            fact.pinned = seed.pinned.then(String::new);
            fact.tags = seed.tagged.then(|| "release".to_owned()).into_iter().collect();
            fact.in_use = seed.in_use.then(|| "somebody".to_owned());
            facts.push(fact);
        }
        facts
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    select(vec![Rule::Last, Rule::Hourly, Rule::Daily, Rule::Weekly, Rule::Monthly, Rule::Yearly])
}

/// Those that a rule counts, the slow way: one counts if none is newer in its span, and fewer spans than asked for are.
fn counted_slowly(facts: &[Fact], rule: Rule, limit: usize, zone: &TimeZone) -> Vec<usize> {
    let span = |at: usize| {
        let local = facts[at].told.as_ref().expect("readable").time.to_zoned(zone.clone());
        let (year, month, day, hour) = (local.year(), local.month(), local.day(), local.hour());
        match rule {
            Rule::Last => (0, 0, 0, at),
            Rule::Hourly => (year, month, day, usize::try_from(hour).expect("small")),
            Rule::Daily => (year, month, day, 0),
            // The Monday that it begins with names a week as well.
            Rule::Weekly => {
                let back = i64::from(local.weekday().to_monday_zero_offset());
                let monday = local.date().checked_sub(Span::new().days(back)).expect("near");
                (monday.year(), monday.month(), monday.day(), 0)
            }
            Rule::Monthly => (year, month, 0, 0),
            Rule::Yearly => (year, 0, 0, 0),
        }
    };
    let counts = |at: &usize| facts[*at].told.as_ref().is_some_and(|told| told.completed && told.whole);
    let all: Vec<usize> = (0..facts.len()).filter(counts).collect();
    let is_counted = |at: &&usize| {
        let newer: HashSet<_> = all.iter().filter(|other| *other > *at).map(|other| span(*other)).collect();
        !newer.contains(&span(**at)) && newer.len() < limit
    };
    all.iter().filter(is_counted).copied().collect()
}

proptest! {
    #[test]
    fn whatever_is_asked_for_nothing_that_is_needed_goes(
        facts in history(), rule in any_rule(), limit in 1..6usize, days in proptest::option::of(0..30i64),
        by_tag in any::<bool>(), building in proptest::option::of(any::<prop::sample::Index>()),
        later in -2000..2000i64, in_berlin in any::<bool>(),
    ) {
        let zone = if in_berlin { berlin() } else { TimeZone::UTC };
        let policy = Policy {
            counts: vec![(rule, limit)],
            within: days.map(|days| SignedDuration::from_hours(24 * days)),
            tags: by_tag.then(|| "release".to_owned()).into_iter().collect(),
        };
        let last = facts.iter().rev().find_map(|fact| fact.told.as_ref()).map_or(Timestamp::UNIX_EPOCH, |told| told.time);
        let now = last.checked_add(SignedDuration::from_hours(later)).expect("near");
        let building: Vec<(String, String)> = building
            .filter(|_| !facts.is_empty())
            .map(|index| ("session".to_owned(), index.get(&facts).id.text.clone()))
            .into_iter()
            .collect();
        let verdicts = plan(&facts, &building, &policy, now, &zone);
        prop_assert_eq!(verdicts.len(), facts.len());
        let at = |id: &str| facts.iter().position(|fact| fact.id.text == id);
        for (fact, verdict) in facts.iter().zip(&verdicts) {
            prop_assert!(!verdict.reasons.is_empty());
            let goes = matches!(verdict.reasons.as_slice(), [Reason::NoRule | Reason::Incomplete(_)]);
            prop_assert_eq!(goes, !verdict.keep);
            if verdict.keep && let Some(parent) = fact.told.as_ref().and_then(|told| at(told.parent.as_deref()?)) {
                prop_assert!(verdicts[parent].keep, "a parent stays");
            }
            let is_kept = fact.pinned.is_some() || fact.told.is_none() || fact.in_use.is_some()
                || (by_tag && !fact.tags.is_empty());
            prop_assert!(verdict.keep || !is_kept);
        }
        let told = |at: &usize| facts[*at].told.as_ref();
        let newest = |is: &dyn Fn(&Told) -> bool| (0..facts.len()).rev().find(|at| told(at).is_some_and(is));
        for newest in [newest(&|told| told.completed), newest(&|told| told.completed && told.verified)] {
            prop_assert!(newest.is_none_or(|at| verdicts[at].keep));
        }
        prop_assert!(verdicts.last().is_none_or(|verdict| verdict.keep), "the highest number");
        for (_, parent) in &building {
            prop_assert!(verdicts[at(parent).expect("there")].keep);
        }
        for counted in counted_slowly(&facts, rule, limit, &zone) {
            prop_assert!(verdicts[counted].keep, "{} counts", facts[counted].id.text);
        }
        // Each goes before what it builds on.
        let turns = in_turn(&facts, &verdicts);
        for (turn, going) in turns.iter().enumerate() {
            let parent = told(going).and_then(|told| at(told.parent.as_deref()?));
            prop_assert!(parent.is_none_or(|parent| !turns[..turn].contains(&parent)));
        }
    }

    #[test]
    fn of_full_backups_exactly_those_stay_that_are_counted(facts in history(), rule in any_rule(), limit in 1..6usize) {
        let mut facts = facts;
        for drawn in &mut facts {
            let time = drawn.told.as_ref().map_or(Timestamp::UNIX_EPOCH, |told| told.time).to_string();
            *drawn = fact(drawn.id.sequence, &time);
        }
        let mut expected = counted_slowly(&facts, rule, limit, &TimeZone::UTC);
        expected.dedup();
        let verdicts = plan(&facts, &[], &keep(rule, limit), LATE.parse().expect("a time"), &TimeZone::UTC);
        let kept: Vec<usize> = (0..facts.len()).filter(|at| verdicts[*at].keep).collect();
        prop_assert_eq!(&kept, &expected);
        // However clocks jump: as many spans stay as were promised, or as there are.
        let all = counted_slowly(&facts, rule, usize::MAX, &TimeZone::UTC);
        prop_assert_eq!(kept.len(), all.len().min(limit));
    }
}
