//! How far it is: a bar on a terminal, now and then a line elsewhere, an object a second in JSON.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};

use super::json;
use crate::error::printable;
use crate::protocol::{Activity, Progress};
use crate::times;

/// Elsewhere than on a terminal: a line at least so far apart, unless ten per cent more are done.
const LINE_EVERY: Duration = Duration::from_mins(1);
/// Ten per cent are no news before this much time has passed.
const LINE_NOT_BEFORE: Duration = Duration::from_secs(10);
/// How often JSON tells.
const OBJECT_EVERY: Duration = Duration::from_secs(1);

/// What is shown of the progress.
#[derive(Debug)]
pub struct Shown {
    bar: Option<ProgressBar>,
    lines: bool,
    activity: Option<Activity>,
    last: Instant,
    last_tenth: u64,
    rate: (Instant, u64),
}

impl Shown {
    /// With a bar, with lines, or with neither.
    pub fn new(bar: bool, lines: bool) -> Self {
        let now = Instant::now();
        let bar = bar.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            let template =
                "{prefix:9} [{bar:24}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} {wide_msg}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.with_style(style.progress_chars("=> "))
        });
        Self { bar, lines, activity: None, last: now, last_tenth: 0, rate: (now, 0) }
    }

    /// A line for people, above the bar where there is one.
    pub fn print(&self, text: &str) {
        let line = || {
            let _ = writeln!(std::io::stderr(), "{text}"); // nobody listens to stderr: nobody can be told
        };
        match &self.bar {
            Some(bar) => bar.suspend(line),
            None => line(),
        }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            if self.activity != Some(progress.activity) {
                bar.set_prefix(progress.activity.name());
                bar.reset_eta();
            }
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            if let Some(file) = &progress.file {
                bar.set_message(printable(file.as_os_str()));
            }
        } else if self.lines {
            self.show_line(progress);
        }
        self.activity = Some(progress.activity);
    }

    fn show_line(&mut self, progress: &Progress) {
        let percent = progress.bytes_done.saturating_mul(100) / progress.bytes_total.max(1);
        let since = self.last.elapsed();
        if since < LINE_EVERY && (percent / 10 <= self.last_tenth || since < LINE_NOT_BEFORE) {
            return;
        }
        let (done, total) = (BinaryBytes(progress.bytes_done), BinaryBytes(progress.bytes_total));
        let rate = self.rate(progress.bytes_done);
        let left = progress.bytes_total.saturating_sub(progress.bytes_done).checked_div(rate);
        let left =
            left.map(|seconds| format!(", {} left", times::duration(Duration::from_secs(seconds)))).unwrap_or_default();
        let name = progress.activity.name();
        self.print(&format!("{name}: {percent} % ({done} of {total}, {}/s{left})", BinaryBytes(rate)));
        (self.last, self.last_tenth) = (Instant::now(), percent / 10);
    }

    /// The object to print, if it is time for one.
    pub fn json(&mut self, progress: &Progress) -> Option<Map<String, Value>> {
        if self.activity == Some(progress.activity) && self.last.elapsed() < OBJECT_EVERY {
            return None;
        }
        (self.activity, self.last) = (Some(progress.activity), Instant::now());
        let rate = self.rate(progress.bytes_done);
        Some(json::progress(progress, rate))
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.lines = false;
    }

    /// Bytes a second since the last time this was asked.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    fn rate(&mut self, bytes: u64) -> u64 {
        let (at, before) = self.rate;
        self.rate = (Instant::now(), bytes);
        (bytes.saturating_sub(before) as f64 / at.elapsed().as_secs_f64().max(0.001)) as u64
    }
}
