//! The token that everything long-running looks at: has somebody asked us to stop?

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::error::{Error, ExitCode, Jet, Result, printable};

/// How often somebody who waits looks for a stop.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// Why work ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The session was stopped, by whom and why.
    Stopped {
        /// A user and process, or a signal.
        who: String,
        /// The reason given.
        reason: Option<String>,
    },
    /// This process got a signal.
    Signal(i32),
    /// The session was ended under our feet.
    Ended,
    /// The session's journal cannot be read any more.
    Lost(String),
}

impl Cause {
    /// The error that a command interrupted by this ends with.
    pub fn error(&self) -> Error {
        match self {
            Self::Stopped { who, reason } => {
                let reason = reason.as_ref().map(|text| format!(": {}", printable(text))).unwrap_or_default();
                let who = printable(who);
                Error::jet(Jet::BackupAbortByServer, format!("the backup was stopped by {who}{reason}"))
            }
            Self::Signal(number) => {
                Error::jet(Jet::BackupAbortByServer, format!("interrupted by {}", signal_name(*number)))
                    .exit(ExitCode::Signal(*number))
            }
            Self::Ended => Error::jet(Jet::NoBackup, "the session was ended by another process"),
            Self::Lost(reason) => Error::new(ExitCode::Failed, format!("the session's journal is lost: {reason}")),
        }
    }
}

/// The name of a signal that stops us.
pub fn signal_name(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP",
        2 => "SIGINT (Ctrl-C)",
        15 => "SIGTERM",
        _ => "a signal",
    }
}

type Probe = Box<dyn Fn() -> Option<Cause> + Send + Sync>;

/// Asks a probe whether to stop, and remembers the first yes. Clones share the answer.
#[derive(Clone)]
pub struct StopToken(Arc<Inner>);

struct Inner {
    cause: OnceLock<Cause>,
    probe: Probe,
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopToken").field(&self.0.cause.get()).finish()
    }
}

impl StopToken {
    /// A token that asks `probe`, which must be cheap: it is called before every chunk.
    pub fn new(probe: impl Fn() -> Option<Cause> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { cause: OnceLock::new(), probe: Box::new(probe) }))
    }

    /// A token that never stops.
    pub fn never() -> Self {
        Self::new(|| None)
    }

    /// Fails once somebody has asked to stop.
    pub fn check(&self) -> Result<()> {
        match self.cause() {
            Some(cause) => Err(cause.error()),
            None => Ok(()),
        }
    }

    /// Why to stop, once somebody has asked.
    pub fn cause(&self) -> Option<Cause> {
        if self.0.cause.get().is_none()
            && let Some(cause) = (self.0.probe)()
        {
            let _ = self.0.cause.set(cause); // somebody else may have been first with the same news
        }
        self.0.cause.get().cloned()
    }

    /// Sleeps, but not through a stop.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.check()?;
            let left = duration.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(WATCH_INTERVAL));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_stop_is_remembered_and_shared() {
        let asked = Arc::new(AtomicBool::new(false));
        let probe = Arc::clone(&asked);
        let token = StopToken::new(move || probe.swap(false, Ordering::SeqCst).then_some(Cause::Signal(15)));
        let other = token.clone();
        assert!(token.check().is_ok());
        asked.store(true, Ordering::SeqCst);
        assert_eq!(token.cause(), Some(Cause::Signal(15)));
        assert_eq!(other.check().expect_err("stopped").exit_code().number(), 143);
    }

    #[test]
    fn a_wait_ends_with_the_stop() {
        let begun = Instant::now();
        let token = StopToken::new(move || (begun.elapsed() > Duration::from_millis(20)).then_some(Cause::Ended));
        assert!(token.sleep(Duration::from_mins(10)).is_err());
    }
}
