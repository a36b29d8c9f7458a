//! How a download goes: a bar on a terminal, lines elsewhere.

use std::io::{self, IsTerminal};

use edgeclip::hub::Event;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::cli::say;

/// What is shown of it. Speaks on stderr.
pub(super) struct Progress {
    is_terminal: bool,
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), bar: ProgressBar::hidden() }
    }

    /// Shows what happens.
    pub(super) fn show(&mut self, event: &Event<'_>) {
        match *event {
            Event::File { path, bytes, at } => self.begin(path, bytes, at),
            Event::Position(at) => self.bar.set_position(at),
            Event::Done { path, bytes, cached } => {
                self.bar.finish_and_clear();
                let how = if cached { "in the cache" } else { "fetched" };
                say(format_args!("  {path}: {}, {how}, checked", HumanBytes(bytes)));
            }
            Event::Retry { what, reason, wait } => self.bar.suspend(|| {
                let wait_s = wait.as_secs_f32();
                say(format_args!("  {what}: {reason}; again in {wait_s:.1} s"));
            }),
            Event::Locked { path } => {
                say(format_args!("  {path}: another edgeclip fetches it; waiting"));
            }
        }
    }

    fn begin(&mut self, path: &str, bytes: Option<u64>, at: u64) {
        if at > 0 {
            say(format_args!("  {path}: goes on after {}", HumanBytes(at)));
        }
        if !self.is_terminal {
            return;
        }
        let template = "  {wide_msg} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        self.bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_message(path.to_owned());
        self.bar.set_position(at);
        // The rate is of this run.
        self.bar.reset_eta();
    }
}
