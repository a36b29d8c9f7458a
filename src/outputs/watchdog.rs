//! Tells systemd, or a hardware watchdog, that frames flow.
//!
//! Without a frame for a while nothing is fed, and systemd starts the service anew (or the board
//! resets): that mends a camera or driver that hangs. But a camera that is unplugged must not make a
//! board start over and over. So frames are asked for only once there were some: a loss costs one
//! restart, and if no frame comes after it either, it is enough that the loop turns and goes on trying
//! to open its source. Quiet hours and the end of a finite source are no loss. A loop that hangs is
//! not fed in any case, nor is one that crashed: its device stays armed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use sd_notify::NotifyState;

use super::flow::Flow;
use super::{Notice, Output, Snapshot, Status};
use crate::capture::SourceState;

/// How often a device is fed, in milliseconds: the shortest time-outs of boards are some seconds.
const DEVICE_EVERY_MS: u64 = 1000;

/// How often systemd is told how things stand at least, in milliseconds.
const NOTIFY_EVERY_MS: u64 = 5000;

/// What asks a device not to reset the board when it is closed (Linux, watchdog-api).
const MAGIC_CLOSE: &[u8] = b"V";

/// What is fed, and when.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether systemd is told that the loop runs and frames flow, where it asks for it. Default: yes.
    pub systemd: bool,
    /// A hardware watchdog to feed, such as `/dev/watchdog`; for boards without systemd, and only there:
    /// the device has one user. Default: none.
    pub device: Option<PathBuf>,
    /// Time without a frame, or a turn of the loop, after which nothing is fed, in seconds. Must be
    /// longer than the time from one frame to the next. Default: 20.
    pub frames_within_s: u64,
    /// Whether frames that stop count, and not only a loop that hangs. Default: yes; see the module.
    pub needs_frames: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { systemd: true, device: None, frames_within_s: 20, needs_frames: true }
    }
}

impl Options {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Which one doesn't, and what does.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=86_400).contains(&self.frames_within_s) {
            return Err("watchdog.frames_within_s must be 1 to 86400".to_owned());
        }
        if self.device.as_ref().is_some_and(|device| device.as_os_str().is_empty()) {
            return Err("watchdog.device must be a path: leave it out for no device".to_owned());
        }
        Ok(())
    }

    /// Whether a board of this flow is to be fed.
    fn feeds(&self, flow: &Flow, source: SourceState, now_ms: u64) -> bool {
        let patience_ms = self.frames_within_s * 1000;
        let needless = matches!(source, SourceState::Quiet | SourceState::Ended);
        let waits = needless || !self.needs_frames || !flow.frames_ever();
        flow.frames_within(patience_ms, now_ms) || waits && flow.turns_within(patience_ms, now_ms)
    }
}

/// The output.
pub struct Watchdog {
    options: Options,
    status: Status,
    clock: Instant,
    flow: Flow,
    systemd: Option<Systemd>,
    device: Option<Device>,
}

impl Watchdog {
    /// A watchdog that looks at `status`. A device is opened, and so armed, at the loop's first turn.
    ///
    /// # Errors
    /// The device isn't there.
    pub fn start(options: &Options, status: &Status) -> anyhow::Result<Self> {
        if let Some(device) = &options.device {
            let found = std::fs::metadata(device);
            found.with_context(|| format!("watchdog.device {}", device.display()))?;
        }
        let asks = options.systemd && std::env::var_os("NOTIFY_SOCKET").is_some();
        // Half the time that systemd allows, as its manual advises.
        let every = sd_notify::watchdog_enabled().map_or(NOTIFY_EVERY_MS, |time| {
            (time.as_millis() as u64 / 2).clamp(1, NOTIFY_EVERY_MS)
        });
        Ok(Self {
            options: options.clone(),
            status: status.clone(),
            clock: Instant::now(),
            flow: Flow::default(),
            systemd: asks.then_some(Systemd { every_ms: every, ready: false, told_ms: None }),
            device: options.device.clone().map(Device::new),
        })
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let now_ms = self.clock.elapsed().as_millis() as u64;
        let (source, words) = self.status.with(|snapshot| {
            self.flow.look(snapshot, now_ms);
            let words = self.systemd.as_ref().filter(|systemd| systemd.is_due(now_ms));
            (snapshot.source_state, words.map(|_| in_words(snapshot)))
        });
        if !self.flow.turns_ever() {
            return Ok(());
        }
        let feeds = self.options.feeds(&self.flow, source, now_ms);
        // Both, whatever becomes of the other.
        let fed = match &mut self.device {
            Some(device) if feeds => device.feed(now_ms),
            _ => Ok(()),
        };
        if let (Some(systemd), Some(words)) = (&mut self.systemd, words) {
            systemd.tell(feeds, &words, now_ms).context("systemd")?;
        }
        fed
    }
}

impl Output for Watchdog {
    fn notice(&mut self, _: &Notice) -> anyhow::Result<()> {
        self.step()
    }

    fn tick(&mut self, _: bool) -> anyhow::Result<()> {
        self.step()
    }

    fn patience(&self) -> Duration {
        let every_ms = self.systemd.as_ref().map_or(DEVICE_EVERY_MS, |systemd| systemd.every_ms);
        Duration::from_millis(every_ms.min(DEVICE_EVERY_MS))
    }

    fn stop(&mut self) {
        if self.systemd.is_some()
            && let Err(error) = sd_notify::notify(&[NotifyState::Stopping])
        {
            log::warn!("watchdog: systemd can't be told of the stop: {error}");
        }
        if let Some(device) = self.device.take() {
            device.release();
        }
    }

    fn abandoned(&mut self) {}
}

/// `cam0 is live, 4.8 frames/s: cat`
fn in_words(snapshot: &Snapshot) -> String {
    let labels = snapshot.regions.iter().flat_map(|region| &region.labels);
    let active: Vec<_> = labels.filter(|label| label.active).map(|label| &*label.label).collect();
    let active = if active.is_empty() { "none".to_owned() } else { active.join(", ") };
    let state = format!("{:?}", snapshot.source_state).to_lowercase();
    let rate = snapshot.frames_per_second;
    let words = format!("{} is {state}, {rate:.1} frames/s: {active}", snapshot.source);
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The service manager at the other end of `NOTIFY_SOCKET`.
struct Systemd {
    every_ms: u64,
    ready: bool,
    told_ms: Option<u64>,
}

impl Systemd {
    fn is_due(&self, now_ms: u64) -> bool {
        self.told_ms.is_none_or(|told_ms| now_ms >= told_ms + self.every_ms)
    }

    /// Ready once the loop turns; after that only while it is fed.
    fn tell(&mut self, feeds: bool, words: &str, now_ms: u64) -> io::Result<()> {
        let mut states = Vec::new();
        if !self.ready {
            states.push(NotifyState::Ready);
        }
        if feeds {
            states.extend([NotifyState::Watchdog, NotifyState::Status(words)]);
        }
        if states.is_empty() {
            return Ok(());
        }
        self.told_ms = Some(now_ms);
        sd_notify::notify(&states)?;
        self.ready = true;
        Ok(())
    }
}

/// A watchdog of the kernel: it resets the board when nobody writes for its time-out.
struct Device {
    path: PathBuf,
    file: Option<File>,
    fed_ms: Option<u64>,
}

impl Device {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, fed_ms: None }
    }

    fn feed(&mut self, now_ms: u64) -> anyhow::Result<()> {
        if self.fed_ms.is_some_and(|fed_ms| now_ms < fed_ms + DEVICE_EVERY_MS / 2) {
            return Ok(());
        }
        self.fed_ms = Some(now_ms);
        let result = self.write();
        if result.is_err() {
            self.file = None;
        }
        result.with_context(|| format!("{} can't be fed", self.path.display()))
    }

    fn write(&mut self) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().write(true).open(&self.path)?,
        };
        file.write_all(b"\0")?;
        self.file = Some(file);
        Ok(())
    }

    /// Closes it so that the board is not reset, unless the kernel forbids that.
    fn release(mut self) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(MAGIC_CLOSE)
        {
            log::warn!("watchdog: {} can't be released: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Options, Watchdog};
    use crate::capture::SourceState::{self, Ended, Live, Lost, Quiet, Silent};
    use crate::outputs::flow::Flow;
    use crate::outputs::{Output, Snapshot, Status};

    /// Seconds, frames and turns so far, how the source does; whether it is fed by default, and where
    /// frames are not needed.
    type Step = (u64, u64, u64, SourceState, [bool; 2]);

    fn check(steps: &[Step]) {
        for (choice, needs_frames) in [true, false].into_iter().enumerate() {
            let options = Options { frames_within_s: 10, needs_frames, ..Options::default() };
            let mut flow = Flow::default();
            for (seconds, frames, turns, source, wanted) in steps {
                let snapshot = Snapshot { inferred: *frames, turns: *turns, ..Snapshot::default() };
                flow.look(&snapshot, seconds * 1000);
                let feeds = options.feeds(&flow, *source, seconds * 1000);
                assert_eq!(feeds, wanted[choice], "at {seconds} s, needs_frames = {needs_frames}");
            }
        }
    }

    #[test]
    fn a_camera_that_is_lost_costs_one_restart() {
        check(&[
            (0, 1, 1, Live, [true, true]),
            (9, 2, 2, Live, [true, true]),
            (15, 2, 3, Silent, [true, true]),
            (20, 2, 4, Lost, [false, true]),
            (30, 2, 5, Lost, [false, true]),
            (31, 3, 6, Live, [true, true]),
        ]);
        // Started anew, and still no camera: the loop turns, and that is enough.
        check(&[(0, 0, 1, Lost, [true, true]), (100, 0, 50, Lost, [true, true])]);
    }

    #[test]
    fn a_loop_that_hangs_is_never_fed() {
        check(&[(0, 0, 1, Lost, [true, true]), (11, 0, 1, Lost, [false, false])]);
        check(&[(0, 5, 1, Live, [true, true]), (11, 5, 1, Live, [false, false])]);
        check(&[(0, 5, 1, Quiet, [true, true]), (11, 5, 1, Quiet, [false, false])]);
    }

    #[test]
    fn quiet_hours_and_the_end_of_a_source_are_no_loss() {
        for source in [Quiet, Ended] {
            check(&[(0, 5, 1, Live, [true, true]), (100, 5, 90, source, [true, true])]);
        }
    }

    #[test]
    fn a_device_is_armed_at_the_first_turn_and_released_at_a_clean_stop_only() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("watchdog");
        for (clean, wanted) in [(true, "\0V"), (false, "\0")] {
            fs::write(&device, "").unwrap();
            let options =
                Options { device: Some(device.clone()), systemd: false, ..Options::default() };
            let status = Status::default();
            let mut watchdog = Watchdog::start(&options, &status).unwrap();
            watchdog.tick(false).unwrap();
            assert_eq!(fs::read_to_string(&device).unwrap(), "", "the loop doesn't turn yet");
            status.with(|snapshot| snapshot.turns += 1);
            watchdog.tick(false).unwrap();
            if clean {
                watchdog.stop();
            } else {
                watchdog.abandoned();
            }
            drop(watchdog);
            assert_eq!(fs::read_to_string(&device).unwrap(), wanted);
        }
        let nowhere = Options { device: Some(folder.path().join("none")), ..Options::default() };
        assert!(Watchdog::start(&nowhere, &Status::default()).is_err());
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        assert_eq!(Options::default().check(), Ok(()));
        let never = Options { frames_within_s: 0, ..Options::default() };
        assert!(never.check().unwrap_err().contains("frames_within_s"));
    }
}
