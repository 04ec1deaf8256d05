//! Which signal came: the first one asks, the second one leaves at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, ExitCode, Result};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// The number of the newest signal, 0 for none.
static NUMBER: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// The signal that asked this process to stop, if one did.
pub fn pending() -> Option<i32> {
    let number = NUMBER.get()?.load(Ordering::SeqCst);
    i32::try_from(number).ok().filter(|number| *number > 0)
}

/// From here SIGINT, SIGTERM and SIGHUP ask instead of killing; a second one ends the process at once.
///
/// A signal that our parent had set to ignored (`nohup`, a shell's background job) stays ignored.
pub fn install() -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::new(ExitCode::Failed, format!("cannot handle signals: {e}"));
    let ignored = ignored_signals();
    let number = NUMBER.get_or_init(Arc::default);
    // ctrlc hears all three and calls this on a thread of its own, perhaps before the number is stored; nothing is left
    // to do here, because everything that runs long asks `pending` many times a second.
    ctrlc::set_handler(|| {}).map_err(|e| failed(&e))?;
    // ctrlc overwrites handlers, so these come after it. A signal that was ignored stores no number: it asks for nothing.
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0) {
        let status = i32::from(ExitCode::Signal(signal).number());
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&asked)).map_err(|e| failed(&e))?;
        signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(|e| failed(&e))?;
        let signal_number = usize::try_from(signal).unwrap_or(0);
        signal_hook::flag::register_usize(signal, Arc::clone(number), signal_number).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// The mask of ignored signals, bit n-1 for signal n; none where the system does not tell.
fn ignored_signals() -> u64 {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|status| parse_ignored(&status)).unwrap_or(0)
}

fn parse_ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_a_nohup_child_is_understood() {
        let mask = parse_ignored("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n").expect("a mask");
        assert_eq!(mask & (1 << (SIGHUP - 1)), 1);
        assert_eq!(mask & (1 << (SIGINT - 1)), 0);
        assert_eq!(parse_ignored("SigIgn:\tzz"), None);
    }
}
