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

/// Columns that the bar and its numbers need; what a terminal has beyond shows the file. A few stay free, so that what a
/// person types (`^C`) does not wrap the line.
const WIDE_COLUMNS: usize = 92;

/// With a bar where there is room for one.
fn style(columns: usize) -> ProgressStyle {
    let template = if columns >= WIDE_COLUMNS {
        "{prefix:9} [{bar:24}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} {msg}"
    } else if columns >= 70 {
        "{prefix:9} {percent} % {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
    } else {
        "{prefix} {percent} % {binary_bytes}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// What is shown of the progress.
#[derive(Debug)]
pub struct Shown {
    bar: Option<ProgressBar>,
    lines: bool,
    columns: usize,
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
            // A line may come before the first progress, and draws what is there.
            bar.with_style(style(crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns))))
        });
        Self { bar, lines, columns: 0, activity: None, last: now, last_tenth: 0, rate: (now, 0) }
    }

    /// A line for people, above the bar where there is one.
    pub fn print(&self, text: &str) {
        let line = || {
            let _ = writeln!(std::io::stderr(), "{text}"); // nobody listens to stderr: nobody can be told
        };
        match &self.bar {
            // Before the first progress there is no bar to be kept out of the way.
            Some(bar) if self.activity.is_some() => bar.suspend(line),
            _ => line(),
        }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            let columns = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
            if self.columns != columns {
                self.columns = columns;
                bar.set_style(style(columns));
            }
            if self.activity != Some(progress.activity) {
                bar.set_prefix(progress.activity.name());
                bar.reset_eta();
            }
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            if let Some(file) = &progress.file {
                let name = printable(file.as_os_str());
                let room = columns.saturating_sub(WIDE_COLUMNS);
                bar.set_message(if name.chars().count() <= room { name } else { String::new() });
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
