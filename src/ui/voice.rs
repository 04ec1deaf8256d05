//! The voice: a thread that does all printing, so that a paused terminal or a pipe that nobody reads never holds up the
//! work, and never a stop.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Manner;
use super::progress::Shown;
use crate::protocol::Progress;
use crate::session::signals;

/// Lines that wait to be printed at most.
const BACKLOG: usize = 4096;
/// How long a line waits for a place in the backlog before it is dropped, where it may be dropped.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long what was said may take to be printed once the command was stopped.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Something to print.
#[derive(Debug)]
pub enum Words {
    /// A line of data, to stdout.
    Data(String),
    /// The summary at the end, to stdout: never dropped while somebody may still read it.
    Last(String),
    /// A line for people, to stderr.
    People(String),
    /// How far it is; may be dropped.
    Progress(Progress),
    /// What follows is printed without a bar.
    NoMoreProgress,
}

/// The handle of the printing thread.
#[derive(Debug)]
pub struct Voice {
    words: Option<SyncSender<Words>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<io::Error>>>,
    /// Whoever read stdout has gone: lines are dropped, and the command still ends as it should.
    deaf: Arc<AtomicBool>,
    /// Data too may be dropped when nobody reads it: there is a session that must be able to stop.
    may_drop: bool,
    /// Something was dropped: whoever should read has stopped reading, and nobody waits for him again.
    stuck: AtomicBool,
}

impl Voice {
    /// Starts the thread. Without one (no resources) nothing is printed, and the exit code has to tell.
    pub fn start(manner: Manner, shown: Shown) -> Self {
        let (words, listen) = mpsc::sync_channel(BACKLOG);
        let failure = Arc::new(Mutex::new(None));
        let deaf = Arc::new(AtomicBool::new(false));
        let speaker = Speaker { manner, shown, deaf: Arc::clone(&deaf), failure: Arc::clone(&failure) };
        let thread = thread::Builder::new().name("voice".to_owned()).spawn(move || speaker.run(&listen)).ok();
        Self { words: Some(words), thread, failure, deaf, may_drop: manner.may_drop, stuck: AtomicBool::new(false) }
    }

    /// Whether stdout takes no more data.
    pub fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    /// Says something. A listing's data waits for its turn as long as no signal comes, other lines a moment (once: what
    /// does not move then is stuck), progress not at all.
    pub fn say(&self, words: Words) {
        let Some(sender) = &self.words else { return };
        let begun = Instant::now();
        let mut words = words;
        loop {
            match sender.try_send(words) {
                Ok(()) => return self.stuck.store(false, Ordering::Relaxed),
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => {
                    let patient = match &back {
                        Words::Progress(_) => false,
                        Words::Data(_) if !self.may_drop => signals::pending().is_none(),
                        Words::Last(_) => signals::pending().is_none(),
                        _ if signals::pending().is_some() => false,
                        _ => begun.elapsed() < PATIENCE && !self.stuck.load(Ordering::Relaxed),
                    };
                    if !patient {
                        if !matches!(back, Words::Progress(_)) {
                            self.stuck.store(true, Ordering::Relaxed);
                        }
                        return;
                    }
                    words = back;
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Waits until everything is printed; after a stop (`brief`) or a signal only a moment. Returns what went wrong with
    /// stdout, a closed pipe excepted.
    pub fn close(&mut self, brief: bool) -> Option<io::Error> {
        drop(self.words.take());
        let begun = Instant::now();
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() {
                let hurry = brief || signals::pending().is_some();
                if hurry && begun.elapsed() >= LAST_WORDS {
                    return None; // whoever should read it does not; the exit code tells
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Speaker {
    manner: Manner,
    shown: Shown,
    deaf: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Speaker {
    fn run(mut self, listen: &Receiver<Words>) {
        for words in listen {
            match words {
                Words::Data(text) | Words::Last(text) => self.data(&text),
                Words::People(text) => self.shown.print(&text),
                Words::Progress(progress) if self.manner.json => {
                    if let Some(object) = self.shown.json(&progress) {
                        self.data(&serde_json::Value::Object(object).to_string());
                    }
                }
                Words::Progress(progress) => self.shown.show(&progress),
                Words::NoMoreProgress => self.shown.finish(),
            }
        }
        self.shown.finish();
    }

    fn data(&mut self, text: &str) {
        if self.manner.data_on_stdout {
            let _ = writeln!(io::stderr(), "{text}"); // nobody listens to stderr: nobody can be told
            return;
        }
        if self.deaf.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = super::write_stdout(text) {
            self.deaf.store(true, Ordering::Relaxed);
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    }
}
