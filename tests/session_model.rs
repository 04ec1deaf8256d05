//! Sessions at random, with crashes, against a model that knows nothing but one word an entry.
//!
//! The model is a list of entries and four flags; it shares no code with the state machine. Several processes (each
//! with its own handle of the journal) and several readers work on one session; lines are torn, tails are lost, readers
//! die. After each step all handles and the model must agree on everything that can be asked.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::Path;

use jetbak::error::Error;
use jetbak::session::event::{Batch, Event, Failure, Kind, Outcome, Phase};
use jetbak::session::journal::{Durability, Journal};
use jetbak::session::state::{Call, EntryState, Live, State, Takeable, Terms};
use proptest::prelude::*;
use tempfile::TempDir;

const TERMS: Terms = Terms { kind: Kind::Full, repository: true };
const PROCESSES: usize = 3;
const READERS_MAX: usize = 3;
/// Every line of the imagined plan files is this long.
const LINE_BYTES: u64 = 10;

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell {
    Free,
    Held(Hold),
    Done,
    Out,
}

/// A batch in work, as each of its entries knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hold {
    reader: u32,
    first: usize,
    count: usize,
    out: bool,
}

/// What the journal should say.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a model that is a state machine would prove nothing")]
struct Model {
    begun: bool,
    databases: Vec<Cell>,
    logs: Option<Vec<Cell>>,
    stopped: bool,
    publishing: bool,
    published: bool,
    ended: bool,
}

impl Model {
    fn phase(&self) -> Phase {
        if self.logs.is_some() { Phase::Logs } else { Phase::Databases }
    }

    fn list(&self, phase: Phase) -> &[Cell] {
        match phase {
            Phase::Databases => &self.databases,
            Phase::Logs => self.logs.as_deref().unwrap_or_default(),
        }
    }

    fn cells(&mut self) -> &mut Vec<Cell> {
        self.logs.as_mut().unwrap_or(&mut self.databases)
    }

    fn is_complete(&self, phase: Phase) -> bool {
        (phase == Phase::Databases || self.logs.is_some())
            && self.list(phase).iter().all(|cell| matches!(cell, Cell::Done | Cell::Out))
    }

    /// The first entry that is free or whose reader is dead, with its run.
    fn takeable(&self, phase: Phase, live: &Live) -> Option<Takeable> {
        let cells = self.list(phase);
        let first = cells.iter().position(|cell| match cell {
            Cell::Free => true,
            Cell::Held(hold) => !live.contains(&hold.reader),
            Cell::Done | Cell::Out => false,
        })?;
        if let Cell::Held(hold) = cells[first] {
            return Some(Takeable::Abandoned(batch(hold.first, hold.count)));
        }
        let limit = cells[first..].iter().take_while(|cell| **cell == Cell::Free).count() as u64;
        Some(Takeable::Fresh { first: first as u64, offset: first as u64 * LINE_BYTES, limit })
    }

    /// Whether some entry is left out: in a closed batch, or in one that is still being read.
    fn leaves_out(&self) -> bool {
        let out = |cell: &Cell| matches!(cell, Cell::Out) || matches!(cell, Cell::Held(hold) if hold.out);
        self.databases.iter().any(out) || self.logs.iter().flatten().any(out)
    }

    /// What a call answers, as a number.
    fn answer(&self, call: Call, live: &Live) -> i32 {
        let databases_done = self.is_complete(Phase::Databases);
        let logs_done = self.is_complete(Phase::Logs);
        match call {
            Call::Stop => 0,
            _ if !self.begun || self.ended => -520,
            Call::Abort => 0,
            Call::End if self.stopped || live.is_empty() => 0,
            Call::End => -521,
            _ if self.stopped => -801,
            Call::Files => 0,
            Call::ReadFile(Phase::Logs) if self.logs.is_none() => -1203,
            Call::ReadFile(Phase::Databases) if self.logs.is_some() => -521,
            Call::DryRunTruncate | Call::Truncate if self.leaves_out() => -521,
            Call::DryRunTruncate => {
                if databases_done {
                    0
                } else {
                    -521
                }
            }
            Call::Truncate | Call::Publish if !live.is_empty() || self.logs.is_none() => -521,
            Call::Truncate | Call::Publish => {
                if logs_done {
                    0
                } else {
                    -616
                }
            }
            _ if self.publishing => -521,
            Call::ListLogs => {
                if databases_done {
                    0
                } else {
                    -521
                }
            }
            Call::Read | Call::ReadFile(_) => 0,
        }
    }
}

fn batch(first: usize, count: usize) -> Batch {
    let (first, count) = (first as u64, count as u64);
    Batch { first, count, offset: first * LINE_BYTES, end: (first + count) * LINE_BYTES }
}

/// One step. The numbers choose among what there is, modulo its count.
#[derive(Clone, Debug)]
enum Step {
    /// A reader starts.
    Start,
    /// A reader takes a batch of at most so many entries.
    Claim(u8, u8),
    /// A reader closes a batch of its own.
    Close(u8, u8),
    /// An entry in work fails, and is left out for good or not.
    Fail(u8, bool),
    /// A reader reads an entry by name.
    ByName(u8, u8),
    /// A reader closes a batch that another one holds.
    CloseForeign(u8),
    /// A reader's process is gone, or ends.
    Die(u8),
    /// Whatever is left of the phase is read by one reader.
    ReadAll,
    /// The logs are listed.
    List(u8),
    /// Everything is read, so that publishing comes next.
    ReadToTheEnd(u8),
    Publish,
    Published,
    Stop,
    End,
}

#[derive(Clone, Debug)]
struct Move {
    step: Step,
    /// The process that does it.
    process: u8,
    crash: Crash,
}

/// What happens after a step.
#[derive(Clone, Debug)]
enum Crash {
    None,
    /// The process died within its write: this share of the last line is there.
    Torn(u8),
    /// The power went: so many lines that were not synced are gone, and this share of the next one is there, or NULs.
    Power {
        lines: u8,
        share: u8,
        nuls: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Start),
        12 => any::<(u8, u8)>().prop_map(|(reader, count)| Step::Claim(reader, count)),
        8 => any::<(u8, u8)>().prop_map(|(reader, which)| Step::Close(reader, which)),
        6 => (any::<u8>(), prop::bool::weighted(0.8)).prop_map(|(which, excluded)| Step::Fail(which, excluded)),
        6 => any::<(u8, u8)>().prop_map(|(reader, which)| Step::ByName(reader, which)),
        1 => any::<u8>().prop_map(Step::CloseForeign),
        3 => any::<u8>().prop_map(Step::Die),
        3 => Just(Step::ReadAll),
        4 => any::<u8>().prop_map(Step::List),
        2 => any::<u8>().prop_map(Step::ReadToTheEnd),
        4 => Just(Step::Publish),
        1 => Just(Step::Published),
        1 => Just(Step::Stop),
        1 => Just(Step::End),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let crash = prop_oneof![
        16 => Just(Crash::None),
        1 => any::<u8>().prop_map(Crash::Torn),
        1 => (0_u8..6, any::<u8>(), any::<bool>()).prop_map(|(lines, share, nuls)| Crash::Power { lines, share, nuls }),
    ];
    let one = (step(), any::<u8>(), crash).prop_map(|(step, process, crash)| Move { step, process, crash });
    prop::collection::vec(one, 5..48)
}

/// The session under test, beside its model.
struct Bench {
    folder: TempDir,
    processes: Vec<Journal>,
    /// The process that acts.
    acting: usize,
    live: Live,
    readers: u32,
    /// The model after each line of the journal.
    history: Vec<Model>,
    /// Lines that reached the disk before an append returned: no crash takes them.
    synced: usize,
    /// A stop that returned before anything was published, and a publishing that returned.
    stop_promised: bool,
    publishing_promised: bool,
}

impl Bench {
    fn begin(databases: usize) -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let mut processes = vec![Journal::create(folder.path()).expect("a new journal")];
        processes.extend((1..PROCESSES).map(|_| open(folder.path())));
        let mut bench = Self {
            folder,
            processes,
            acting: 0,
            live: Live::new(),
            readers: 0,
            history: vec![Model::default()],
            synced: 0,
            stop_promised: false,
            publishing_promised: false,
        };
        let begun = Event::Begun { databases: databases as u64 };
        bench.append(begun, |model| (model.begun, model.databases) = (true, vec![Cell::Free; databases]));
        bench.sync();
        bench
    }

    fn model(&self) -> &Model {
        self.history.last().expect("the history begins with nothing")
    }

    /// Appends what the model allows. The sync itself cannot be seen from here, so it is left out: `sync` says what
    /// a crash may not take.
    fn append(&mut self, event: Event, change: impl FnOnce(&mut Model)) {
        self.processes[self.acting]
            .append::<Error>(Durability::Lazy, |_, _| Ok(vec![event]))
            .expect("the model allows this");
        let mut model = self.model().clone();
        change(&mut model);
        self.history.push(model);
    }

    fn sync(&mut self) {
        self.synced = self.history.len() - 1;
    }

    /// Appends what the model forbids.
    fn refuse(&mut self, event: Event) {
        let length = self.length();
        let text = format!("{event:?}");
        let refused = self.processes[self.acting].append::<Error>(Durability::Lazy, |_, _| Ok(vec![event]));
        assert!(refused.is_err(), "{text} was taken in {:?}", self.model());
        assert!(self.length() <= length, "a refused event was written");
    }

    fn allows(&mut self, call: Call) -> bool {
        let state = self.processes[self.acting].refresh().expect("the journal is sound");
        state.decide(call, TERMS, &self.live).is_ok()
    }

    /// One of the readers that live; the first one starts when it is asked for.
    fn reader(&mut self, choice: u8) -> Option<u32> {
        if self.live.is_empty() && self.allows(Call::Read) {
            self.start();
        }
        self.live.iter().nth(usize::from(choice) % self.live.len().max(1)).copied()
    }

    /// The batches in work, by whom.
    fn holds(&self) -> Vec<Hold> {
        let model = self.model();
        let mut holds = Vec::new();
        for (index, cell) in model.list(model.phase()).iter().enumerate() {
            if let Cell::Held(hold) = cell
                && hold.first == index
            {
                holds.push(*hold);
            }
        }
        holds
    }

    fn step(&mut self, step: &Step) {
        let over = !self.model().begun || self.model().ended;
        match *step {
            Step::Start => {
                if self.live.len() < READERS_MAX && self.allows(Call::Read) {
                    self.start();
                }
            }
            Step::Claim(choice, count) => {
                if let Some(reader) = self.reader(choice) {
                    self.claim(reader, 1 + usize::from(count % 4));
                }
            }
            Step::Close(choice, which) => {
                let Some(reader) = self.reader(choice) else { return };
                let own: Vec<_> = self.holds().into_iter().filter(|hold| hold.reader == reader).collect();
                if !own.is_empty() && !over {
                    self.close(own[usize::from(which) % own.len()]);
                }
            }
            Step::Fail(which, excluded) => self.fail(usize::from(which), excluded),
            Step::ByName(choice, which) => self.by_name(choice, usize::from(which)),
            Step::CloseForeign(which) => {
                let holds = self.holds();
                if !holds.is_empty() {
                    let hold = holds[usize::from(which) % holds.len()];
                    let (phase, first) = (self.model().phase(), hold.first as u64);
                    self.refuse(Event::Closed { reader: hold.reader + 1, phase, first });
                }
            }
            Step::Die(choice) => {
                if let Some(reader) = self.reader(choice) {
                    self.live.remove(&reader);
                }
            }
            Step::ReadAll => self.read_all(),
            Step::List(count) => {
                let listed = Event::LogsListed { plan: "logs-1.jsonl".into(), logs: u64::from(count % 5) };
                if self.allows(Call::ListLogs) && self.model().logs.is_none() {
                    self.append(listed, |model| model.logs = Some(vec![Cell::Free; usize::from(count % 5)]));
                } else {
                    self.refuse(listed);
                }
            }
            Step::ReadToTheEnd(count) => {
                self.read_all();
                self.step(&Step::List(count));
                self.read_all();
            }
            Step::Publish => {
                if self.model().is_complete(Phase::Logs) {
                    self.live.clear(); // readers leave when nothing is left
                }
                let publishing = Event::Publishing { id: "000001".into(), proven: false };
                let possible = self.allows(Call::Publish) && !self.model().published;
                if possible {
                    self.append(publishing, |model| model.publishing = true);
                    self.sync();
                    self.publishing_promised = true;
                } else if self.live.is_empty() {
                    self.refuse(publishing);
                }
            }
            Step::Published => {
                if self.model().publishing && !over {
                    self.append(Event::Published, |model| model.published = true);
                } else {
                    self.refuse(Event::Published);
                }
            }
            Step::Stop => {
                let stopped = Event::Stopped { who: "a test".into(), reason: None };
                if over || self.model().publishing {
                    self.refuse(stopped);
                } else {
                    self.append(stopped, |model| model.stopped = true);
                    self.sync();
                    self.stop_promised = true;
                }
            }
            Step::End => {
                if self.allows(Call::End) {
                    self.append(Event::Ended { outcome: Outcome::Aborted }, |model| model.ended = true);
                    self.sync();
                }
            }
        }
    }

    fn start(&mut self) -> u32 {
        self.readers += 1;
        self.live.insert(self.readers);
        self.readers
    }

    /// Takes a batch as readers do; false where there is nothing to take.
    fn claim(&mut self, reader: u32, count: usize) -> bool {
        if !self.allows(Call::Read) {
            return false;
        }
        let phase = self.model().phase();
        let takeable = self.processes[self.acting].state().takeable(phase, &self.live);
        let (first, count) = match takeable {
            None => return false,
            Some(Takeable::Abandoned(batch)) => (as_index(batch.first), as_index(batch.count)),
            Some(Takeable::Fresh { first, limit, .. }) => (as_index(first), as_index(limit).min(count)),
        };
        for cell in &self.model().list(phase)[first..first + count] {
            match cell {
                Cell::Free => {}
                Cell::Held(hold) => assert!(!self.live.contains(&hold.reader), "two readers for {hold:?}"),
                Cell::Done | Cell::Out => panic!("entries {first}+{count} are handed out, but one is settled"),
            }
        }
        self.open(reader, first, count);
        true
    }

    fn open(&mut self, reader: u32, first: usize, count: usize) {
        let opened = Event::Opened { reader, phase: self.model().phase(), batch: batch(first, count) };
        let hold = Hold { reader, first, count, out: false };
        self.append(opened, |model| model.cells()[first..first + count].fill(Cell::Held(hold)));
    }

    fn close(&mut self, hold: Hold) {
        let Hold { reader, first, count, .. } = hold;
        let phase = self.model().phase();
        self.append(Event::Closed { reader, phase, first: first as u64 }, |model| {
            for cell in &mut model.cells()[first..first + count] {
                *cell = if matches!(cell, Cell::Held(Hold { out: true, .. })) { Cell::Out } else { Cell::Done };
            }
        });
    }

    fn fail(&mut self, which: usize, excluded: bool) {
        let model = self.model();
        let (phase, over) = (model.phase(), model.ended);
        let cells = model.list(phase);
        if cells.is_empty() {
            return;
        }
        let index = which % cells.len();
        let in_work = matches!(cells[index], Cell::Held(_));
        let failure = Failure { path: "f".into(), message: "unreadable".into(), jet: Some(-1018), exit_code: 3 };
        let failed = Event::Failed { phase, index: index as u64, excluded, failure };
        if !in_work || over {
            return self.refuse(failed);
        }
        self.append(failed, |model| {
            if let Cell::Held(hold) = &mut model.cells()[index] {
                hold.out |= excluded;
            }
        });
    }

    /// Reads one entry by name: one that is free or was left out; what is done or in work is refused.
    fn by_name(&mut self, choice: u8, which: usize) {
        let Some(reader) = self.reader(choice) else { return };
        let phase = self.model().phase();
        let cells = self.model().list(phase);
        if cells.is_empty() {
            return;
        }
        // What was left out comes first, else it would hardly ever be chosen.
        let out: Vec<usize> = (0..cells.len()).filter(|index| cells[*index] == Cell::Out).collect();
        let index = if out.is_empty() { which % cells.len() } else { out[which % out.len()] };
        let cell = cells[index];
        let may_read = self.allows(Call::ReadFile(phase));
        let opened = Event::Opened { reader, phase, batch: batch(index, 1) };
        match cell {
            Cell::Free | Cell::Out if may_read => self.open(reader, index, 1),
            Cell::Held(Hold { count: 1, .. }) if may_read => {} // as a take-over, which is not asked for here
            _ => self.refuse(opened),
        }
    }

    /// A new reader finishes the phase after all others died: it gets every entry that is left exactly once.
    fn read_all(&mut self) {
        self.live.clear();
        if !self.allows(Call::Read) {
            return;
        }
        let phase = self.model().phase();
        let unsettled = |cell: &Cell| matches!(cell, Cell::Free | Cell::Held(_));
        let mut left: BTreeSet<usize> = BTreeSet::new();
        left.extend((0..).zip(self.model().list(phase)).filter(|(_, cell)| unsettled(cell)).map(|(index, _)| index));
        let reader = self.start();
        while self.claim(reader, 3) {
            let hold = *self.holds().iter().find(|hold| hold.reader == reader).expect("it was just taken");
            for index in hold.first..hold.first + hold.count {
                assert!(left.remove(&index), "entry {index} was handed out twice, or was settled");
            }
            self.close(hold);
        }
        assert!(left.is_empty(), "never handed out: {left:?}");
        assert!(self.processes[self.acting].state().is_complete(phase));
        self.live.remove(&reader);
    }

    fn crash(&mut self, crash: &Crash, lines_before: usize) {
        let lines = self.history.len() - 1;
        match *crash {
            // A torn line is one whose append did not return: nothing was promised by it yet.
            Crash::Torn(share) if lines == lines_before + 1 => {
                let whole = self.lengths();
                let (from, to) = (whole[lines - 1], whole[lines]);
                self.set_length(from + (to - from - 1) * usize::from(share) / 255);
                self.history.pop();
                self.synced = self.synced.min(lines - 1);
                (self.stop_promised, self.publishing_promised) = (self.model().stopped, self.model().publishing);
                // The reader that this process was, if it was one, is gone; the others live on.
                self.processes[self.acting] = open(self.folder.path());
                let victim = self.live.last().copied();
                victim.map(|reader| self.live.remove(&reader));
            }
            Crash::Power { lines: lost, share, nuls } => {
                let kept = lines.saturating_sub(usize::from(lost)).max(self.synced);
                let whole = self.lengths();
                let next = whole.get(kept + 1).copied().unwrap_or(whole[kept] + 1);
                let length = self.length();
                self.set_length(whole[kept] + (next - whole[kept] - 1) * usize::from(share) / 255);
                if nuls {
                    self.set_length(length + 100); // lengthening fills with NULs
                }
                self.history.truncate(kept + 1);
                self.live.clear();
                for process in &mut self.processes {
                    *process = open(self.folder.path());
                }
            }
            Crash::Torn(_) | Crash::None => {}
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    fn length(&self) -> usize {
        usize::try_from(fs::metadata(self.path()).expect("it is there").len()).expect("it is small")
    }

    fn set_length(&self, length: usize) {
        let file = OpenOptions::new().write(true).open(self.path()).expect("it is there");
        file.set_len(length as u64).expect("it is ours");
    }

    /// Where the file ends after each number of lines.
    fn lengths(&self) -> Vec<usize> {
        let text = fs::read(self.path()).expect("it is there");
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        std::iter::once(0).chain(ends).collect()
    }

    /// Everything that can be asked is answered alike by every process, by a new one, and by the model.
    fn check(&mut self) {
        let fresh = open(self.folder.path());
        let model = self.model();
        assert_eq!(as_index(fresh.events()), self.history.len() - 1, "lines");
        compare(fresh.state(), model, &self.live);
        let (stop, publication) = (fresh.state().stop().is_some(), fresh.state().publication().is_some());
        assert!(!(stop && publication), "stopped and published");
        assert!(!self.stop_promised || stop, "a stop that returned was lost");
        assert!(!self.publishing_promised || publication, "a commit that returned was lost");
        for process in &mut self.processes {
            assert_eq!(process.refresh().expect("the journal is sound"), fresh.state());
        }
    }
}

fn compare(state: &State, model: &Model, live: &Live) {
    for call in [
        Call::Files,
        Call::Read,
        Call::ReadFile(Phase::Databases),
        Call::ReadFile(Phase::Logs),
        Call::ListLogs,
        Call::DryRunTruncate,
        Call::Truncate,
        Call::End,
        Call::Abort,
        Call::Publish,
        Call::Stop,
    ] {
        let answer = match state.decide(call, TERMS, live) {
            Ok(()) => 0,
            Err(refusal) => Error::from(refusal).jet_code().expect("every refusal has a number").number(),
        };
        assert_eq!(answer, model.answer(call, live), "{call:?} in {model:?}");
    }
    assert_eq!(state.stop().is_some(), model.stopped);
    assert_eq!(state.publication().map(|known| known.done), model.publishing.then_some(model.published));
    assert_eq!(state.outcome().is_some(), model.ended);
    let mut left_out = 0;
    for phase in [Phase::Databases, Phase::Logs] {
        assert_eq!(state.is_complete(phase), model.is_complete(phase), "{phase:?} in {model:?}");
        assert_eq!(state.takeable(phase, live), model.takeable(phase, live), "{phase:?} in {model:?}");
        for (index, cell) in model.list(phase).iter().enumerate() {
            let expected = match cell {
                Cell::Free => EntryState::Free,
                Cell::Held(hold) => EntryState::Taken(hold.reader, batch(hold.first, hold.count)),
                Cell::Done => EntryState::Done,
                Cell::Out => EntryState::Excluded,
            };
            assert_eq!(state.entry(phase, index as u64), expected, "entry {index} in {model:?}");
            left_out += usize::from(matches!(cell, Cell::Out | Cell::Held(Hold { out: true, .. })));
        }
    }
    assert_eq!(state.excluded().len(), left_out, "left out in {model:?}");
}

fn open(folder: &Path) -> Journal {
    Journal::open(folder).expect("a crash is no damage")
}

fn as_index(number: u64) -> usize {
    usize::try_from(number).expect("these lists are small")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_does_what_the_model_does_through_every_crash(databases in 0_usize..12, moves in moves()) {
        let mut bench = Bench::begin(databases);
        bench.check();
        for Move { step, process, crash } in &moves {
            bench.acting = usize::from(*process) % PROCESSES;
            let lines = bench.history.len() - 1;
            bench.step(step);
            bench.crash(crash, lines);
            bench.check();
        }
        // However it came here: if it may still be read, it can be read to its end.
        bench.read_all();
        bench.check();
    }
}

#[test]
fn a_list_of_many_entries_is_read_once_whatever_the_order_of_claims_and_names() {
    let mut bench = Bench::begin(40);
    let readers = [bench.start(), bench.start(), bench.start()];
    for index in [7, 0, 39, 20, 12] {
        bench.open(readers[0], index, 1);
        bench.check();
    }
    for hold in bench.holds().into_iter().skip(1).take(3) {
        bench.close(hold); // with nothing but free entries around it
        bench.check();
    }
    while bench.claim(readers[1], 5) {
        bench.check();
    }
    for hold in bench.holds().into_iter().rev() {
        bench.close(hold);
        bench.check();
    }
    assert!(bench.processes[0].refresh().expect("sound").is_complete(Phase::Databases));
    assert!(!bench.claim(readers[2], 5), "nothing is left");
}
