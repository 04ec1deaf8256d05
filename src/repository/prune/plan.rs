//! Which backups stay, and why: a function of what the backups are, of what was asked for, of now and of a time zone.
//!
//! What is newest is told by sequence numbers (`Backup::state`), never by a clock. A clock only says into which hour, day,
//! week, month or year a backup falls.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::repository::manifest::BackupId;
use crate::session::event::Kind;

/// What is known of one backup.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its folder's name.
    pub id: BackupId,
    /// By what it is newer or older than others.
    pub state: (u64, u64),
    /// What its manifest says; none where that cannot be read.
    pub told: Option<Told>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why it is pinned, where it is; empty where no reason was given.
    pub pinned: Option<String>,
    /// Who reads it just now, for people.
    pub in_use: Option<String>,
}

/// What a manifest says that can be read.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its kind.
    pub kind: Kind,
    /// Whether nothing is missing in it.
    pub completed: bool,
    /// Of when it is.
    pub time: Timestamp,
    /// The id of the backup that it builds on.
    pub parent: Option<String>,
    /// The id of the backup whose content it is, put together from its chain.
    pub consolidates: Option<String>,
    /// Bytes that it takes in the repository.
    pub bytes_stored: u64,
    /// Whether its whole chain stands, and no verification found damage in it.
    pub whole: bool,
    /// Whether it was read back, when it was published or since, and all was good.
    pub verified: bool,
}

/// By what backups are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Each one.
    Last,
    /// The newest of each hour.
    Hourly,
    /// The newest of each day.
    Daily,
    /// The newest of each week; weeks begin on Monday (ISO 8601).
    Weekly,
    /// The newest of each month.
    Monthly,
    /// The newest of each year.
    Yearly,
}

impl Rule {
    /// The word used in the table, in JSON and, after `--keep-`, on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// The span of time that a backup falls into, as the clocks on the wall there named it.
    fn span(self, fact: &Fact, time: Timestamp, zone: &TimeZone) -> String {
        let local = zone.to_datetime(time);
        match self {
            Self::Last => fact.id.text.clone(),
            Self::Hourly => local.strftime("%Y-%m-%d %H").to_string(),
            Self::Daily => local.strftime("%Y-%m-%d").to_string(),
            Self::Weekly => {
                let week = local.date().iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Self::Monthly => local.strftime("%Y-%m").to_string(),
            Self::Yearly => local.strftime("%Y").to_string(),
        }
    }
}

/// What is to stay.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// How many by which rule.
    pub counts: Vec<(Rule, usize)>,
    /// All of so long a time.
    pub within: Option<SignedDuration>,
    /// All with one of these tags.
    pub tags: Vec<String>,
}

/// Why a backup stays, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the newest complete one, or the newest whose chain is whole as well.
    Newest,
    /// It is the newest that was read back and found good.
    NewestVerified,
    /// It is pinned; with what was said about that, or nothing.
    Pinned(String),
    /// It has this tag.
    Tag(String),
    /// It is among those that a rule counts: the rule, and its span of time.
    Counted(Rule, String),
    /// It is not older than asked for.
    Within,
    /// Its time is not what its number says; those after it are not older than asked for.
    WithinByNumber,
    /// These build on it: their ids.
    NeededBy(Vec<String>),
    /// This partial builds on it: its session.
    NeededByPartial(String),
    /// This one may build on it, but cannot be read: its id.
    MayBeNeededBy(String),
    /// Its manifest cannot be read.
    Unreadable,
    /// Its number is the highest, and must not be given a second time.
    HighestNumber,
    /// It is incomplete, but nothing newer is complete.
    NothingNewer,
    /// Nothing else keeps it, but somebody reads it.
    InUse(String),
    /// It goes: it is incomplete, and this one is newer and complete.
    Incomplete(String),
    /// It goes: nothing keeps it.
    NoRule,
}

impl Reason {
    /// The word used in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::NewestVerified => "newest_verified",
            Self::Pinned(_) => "pinned",
            Self::Tag(_) => "tag",
            Self::Counted(rule, _) => rule.name(),
            Self::Within => "within",
            Self::WithinByNumber => "within_by_number",
            Self::NeededBy(_) => "needed_by",
            Self::NeededByPartial(_) => "needed_by_partial",
            Self::MayBeNeededBy(_) => "may_be_needed_by",
            Self::Unreadable => "unreadable",
            Self::HighestNumber => "highest_number",
            Self::NothingNewer => "nothing_newer",
            Self::InUse(_) => "in_use",
            Self::Incomplete(_) => "incomplete",
            Self::NoRule => "no_rule",
        }
    }
}

/// What becomes of one backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it stays.
    pub keep: bool,
    /// Why; never empty.
    pub reasons: Vec<Reason>,
}

/// What becomes of each backup, in the order of the facts. `partials` are the sessions whose partials stay, each with the
/// id of the backup that it builds on.
pub fn plan(
    facts: &[Fact],
    partials: &[(String, String)],
    policy: &Policy,
    now: Timestamp,
    zone: &TimeZone,
) -> Vec<Verdict> {
    let order = Order::new(facts, now);
    let mut keeping = Keeping::new(facts);
    keeping.always(&order);
    keeping.asked(&order, policy, now, zone);
    for (session, parent) in partials {
        if let Some(at) = keeping.find(parent) {
            keeping.keep(at, Reason::NeededByPartial(session.clone()));
        }
    }
    keeping.unreadable();
    // Last: who reads what stays anyway is nobody's business.
    for (at, fact) in facts.iter().enumerate() {
        if let Some(holder) = fact.in_use.as_ref().filter(|_| !keeping.verdicts[at].keep) {
            keeping.keep(at, Reason::InUse(holder.clone()));
        }
    }
    keeping.finish(&order)
}

/// The indices of those that go, each before all that it builds on.
pub fn in_turn(facts: &[Fact], verdicts: &[Verdict]) -> Vec<usize> {
    let mut going: Vec<usize> = (0..facts.len()).filter(|at| !verdicts[*at].keep).collect();
    going.sort_by(|a, b| (facts[*b].id.sequence, &facts[*b].id.text).cmp(&(facts[*a].id.sequence, &facts[*a].id.text)));
    going
}

/// The complete backups, newest first, and what their times are worth.
struct Order<'a> {
    facts: &'a [Fact],
    /// All complete ones.
    completed: Vec<usize>,
    /// Those whose time agrees with their numbers; as long as the complete ones.
    times: Vec<(Timestamp, bool)>,
}

impl<'a> Order<'a> {
    fn new(facts: &'a [Fact], now: Timestamp) -> Self {
        let is_completed = |at: &usize| facts[*at].told.as_ref().is_some_and(|told| told.completed);
        let mut completed: Vec<usize> = (0..facts.len()).filter(is_completed).collect();
        completed.sort_by(|a, b| (facts[*b].state, &facts[*b].id.text).cmp(&(facts[*a].state, &facts[*a].id.text)));
        let own = |at: &usize| facts[*at].told.as_ref().map_or(now, |told| told.time);
        let own: Vec<Timestamp> = completed.iter().map(own).collect();
        let agree = agreeing(&own, now);
        // What lies about its time is no newer than the next one that does not.
        let mut bound = now;
        let times = own.iter().zip(agree).map(|(time, agrees)| {
            if agrees {
                bound = *time;
            }
            (bound, agrees)
        });
        let times = times.collect();
        Self { facts, completed, times }
    }

    fn told(&self, at: usize) -> Option<&Told> {
        self.facts[at].told.as_ref()
    }

    fn newest(&self, is_meant: impl Fn(&Told) -> bool) -> Option<usize> {
        self.completed.iter().copied().find(|at| self.told(*at).is_some_and(&is_meant))
    }

    /// Those that a rule counts. One whose content another one has that was put together from it counts as that one.
    fn counted(&self, is_meant: impl Fn(&Told) -> bool) -> Vec<usize> {
        let is_meant = |at: &usize| self.told(*at).is_some_and(&is_meant);
        let meant: Vec<usize> = self.completed.iter().copied().filter(is_meant).collect();
        let replaced: HashSet<&str> = meant.iter().filter_map(|at| self.told(*at)?.consolidates.as_deref()).collect();
        meant.into_iter().filter(|at| !replaced.contains(self.facts[*at].id.text.as_str())).collect()
    }
}

/// Which of these times, newest backup first, agree with that order: as many as can be, and none that is yet to come.
fn agreeing(newest_first: &[Timestamp], now: Timestamp) -> Vec<bool> {
    // The longest run of times that never fall, by patience: the piles hold the last time of the best run of each length.
    let times: Vec<Timestamp> = newest_first.iter().rev().copied().collect();
    let mut piles: Vec<usize> = Vec::new();
    let mut before = vec![None; times.len()];
    for at in (0..times.len()).filter(|at| times[*at] <= now) {
        let length = piles.partition_point(|last| times[*last] <= times[at]);
        before[at] = length.checked_sub(1).map(|shorter| piles[shorter]);
        if length == piles.len() {
            piles.push(at);
        } else {
            piles[length] = at;
        }
    }
    let mut agree = vec![false; times.len()];
    let mut next = piles.last().copied();
    while let Some(at) = next {
        agree[at] = true;
        next = before[at];
    }
    agree.reverse();
    agree
}

/// What is kept so far, and why.
struct Keeping<'a> {
    facts: &'a [Fact],
    by_id: HashMap<&'a str, usize>,
    verdicts: Vec<Verdict>,
    /// Which backups build on which, as far as those that do are kept.
    needed_by: BTreeMap<usize, BTreeSet<usize>>,
}

impl<'a> Keeping<'a> {
    fn new(facts: &'a [Fact]) -> Self {
        let by_id = facts.iter().enumerate().map(|(at, fact)| (fact.id.text.as_str(), at)).collect();
        Self { facts, by_id, verdicts: vec![Verdict::default(); facts.len()], needed_by: BTreeMap::new() }
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Keeps a backup and all that it builds on.
    fn keep(&mut self, at: usize, reason: Reason) {
        if !self.verdicts[at].reasons.contains(&reason) {
            self.verdicts[at].reasons.push(reason);
        }
        let mut next = Some(at);
        while let Some(child) = next.filter(|at| !std::mem::replace(&mut self.verdicts[*at].keep, true)) {
            let parent = self.facts[child].told.as_ref().and_then(|told| told.parent.as_deref());
            next = parent.and_then(|id| self.find(id));
            if let Some(parent) = next {
                self.needed_by.entry(parent).or_default().insert(child);
            }
        }
    }

    /// What stays whatever was asked for.
    fn always(&mut self, order: &Order) {
        for newest in [order.newest(|_| true), order.newest(|told| told.whole)].into_iter().flatten() {
            self.keep(newest, Reason::Newest);
        }
        if let Some(verified) = order.newest(|told| told.verified) {
            self.keep(verified, Reason::NewestVerified);
        }
        let highest = self.facts.iter().map(|fact| fact.id.sequence).max();
        for (at, fact) in self.facts.iter().enumerate() {
            if let Some(why) = &fact.pinned {
                self.keep(at, Reason::Pinned(why.clone()));
            }
            match &fact.told {
                None => self.keep(at, Reason::Unreadable),
                // Damage and what is missing do not make room: only a newer backup does.
                Some(told) if !told.completed && newer(order, fact).is_none() => self.keep(at, Reason::NothingNewer),
                Some(_) => {}
            }
            if Some(fact.id.sequence) == highest {
                self.keep(at, Reason::HighestNumber);
            }
        }
    }

    /// What was asked for.
    fn asked(&mut self, order: &Order, policy: &Policy, now: Timestamp, zone: &TimeZone) {
        for (at, fact) in self.facts.iter().enumerate() {
            for tag in policy.tags.iter().filter(|tag| fact.tags.contains(tag)) {
                self.keep(at, Reason::Tag(tag.clone()));
            }
        }
        // What is damaged takes no place away from what is whole; it stays where it would if nobody knew of the damage.
        let countings = [order.counted(|told| told.whole), order.counted(|_| true)];
        for (rule, limit) in &policy.counts {
            for counted in &countings {
                let mut seen = HashSet::new();
                for at in counted {
                    if seen.len() == *limit {
                        break;
                    }
                    let time = order.told(*at).map_or(now, |told| told.time);
                    let span = rule.span(&self.facts[*at], time, zone);
                    if seen.insert(span.clone()) {
                        self.keep(*at, Reason::Counted(*rule, span));
                    }
                }
            }
        }
        let Some(within) = policy.within else { return };
        let from = order.times.first().map_or(now, |(time, _)| *time).min(now);
        let from = from.checked_sub(within).unwrap_or(Timestamp::MIN);
        for (at, (time, agrees)) in order.completed.iter().zip(&order.times) {
            if *time >= from {
                self.keep(*at, if *agrees { Reason::Within } else { Reason::WithinByNumber });
            }
        }
    }

    /// What cannot be read may build on anything that was there: what it could have built on stays, down to a full one.
    fn unreadable(&mut self) {
        let mut by_number: Vec<usize> = (0..self.facts.len()).collect();
        by_number.sort_by_key(|at| std::cmp::Reverse(self.facts[*at].id.sequence));
        for (at, fact) in self.facts.iter().enumerate() {
            let stands_alone = [Kind::Full, Kind::Copy].iter().any(|kind| fact.id.text.ends_with(kind.name()));
            if fact.told.is_some() || stands_alone {
                continue;
            }
            for below in by_number.iter().copied().filter(|below| *below != at) {
                let other = &self.facts[below];
                let Some(told) = other.told.as_ref().filter(|_| other.id.sequence < fact.id.sequence) else { continue };
                if told.completed && told.kind.is_parent() {
                    self.keep(below, Reason::MayBeNeededBy(fact.id.text.clone()));
                    if told.whole && told.kind == Kind::Full && told.consolidates.is_none() {
                        break;
                    }
                }
            }
        }
    }

    fn finish(mut self, order: &Order) -> Vec<Verdict> {
        for (at, children) in self.needed_by {
            let ids = children.into_iter().map(|child| self.facts[child].id.text.clone()).collect();
            self.verdicts[at].reasons.push(Reason::NeededBy(ids));
        }
        for (fact, verdict) in self.facts.iter().zip(&mut self.verdicts) {
            if verdict.keep {
                continue;
            }
            let completed = fact.told.as_ref().is_some_and(|told| told.completed);
            let newer = newer(order, fact).filter(|_| !completed);
            verdict.reasons.push(newer.map_or(Reason::NoRule, Reason::Incomplete));
        }
        self.verdicts
    }
}

/// The newest complete backup, if it is newer than this one.
fn newer(order: &Order, than: &Fact) -> Option<String> {
    let newest = order.newest(|_| true).map(|at| &order.facts[at])?;
    (newest.state > than.state).then(|| newest.id.text.clone())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
