//! A source on a thread of its own: the newest frame wins, and a lost source is opened anew.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::address::Address;
use super::mailbox::{Mailbox, Report, Taken};
use super::quiet::QuietHours;
use super::replay::{MotionJpeg, Pictures};
use super::shot::wall_clock_ms;
use super::{Captured, Counts, Moment, Options, Pace, Shot, Source, SourceError, SourceState};

/// Longest wait for a frame before other things are looked at.
const PATIENCE: Duration = Duration::from_millis(100);

/// Waits before a lost source is opened anew: the first, doubled each time, up to the last.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A source that delivered for this long was well; when it is lost, the waits begin with the first.
const HEALTHY: Duration = Duration::from_secs(10);

/// How often the clock is looked at in quiet hours.
const QUIET_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for the thread's end: a driver may hang.
const STOP_MAX: Duration = Duration::from_millis(700);

/// A source that is kept open on a thread of its own. Dropped, it is closed; a program that it runs is killed.
pub struct Camera {
    mailbox: Arc<Mailbox>,
    shot: Shot,
    thread: Option<JoinHandle<()>>,
}

/// What a wait for a shot ended with.
#[derive(Debug)]
pub enum Next<'a> {
    /// The newest shot, or the next one of a source of which every shot is taken.
    Shot(&'a Shot),
    /// There was none in time.
    Nothing,
    /// The source is finite, and there will be no more. See [`Camera::last_error`] for whether all of it was read.
    End,
}

impl Camera {
    /// Starts to capture.
    ///
    /// # Errors
    /// [`SourceError`] for what can never work: options that make no sense, and files and folders that can't
    /// be opened. A camera or stream that isn't there is tried again and again instead.
    pub fn start(options: &Options) -> Result<Self, SourceError> {
        let refused = |reason: String| SourceError::new(&options.url, reason);
        options.check().map_err(refused)?;
        let address = Address::parse(&options.url).map_err(refused)?;
        let quiet = QuietHours::parse(&options.quiet).map_err(refused)?;
        let opened = if address.is_replayed() { Some(open(options, &address)?) } else { None };
        let mailbox = Arc::new(Mailbox::default());
        let keeper = Keeper {
            clock: Clock::new(options, address.is_replayed()),
            options: options.clone(),
            name: options.name(),
            address,
            quiet,
            mailbox: Arc::clone(&mailbox),
            shot: Shot::default(),
        };
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                let _end = EndGuard(Arc::clone(&keeper.mailbox));
                keeper.run(opened);
            })
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self { mailbox, shot: Shot::default(), thread: Some(thread) })
    }

    /// The next shot, waited for no longer than `patience`.
    pub fn next(&mut self, patience: Duration) -> Next<'_> {
        match self.mailbox.take(&mut self.shot, patience) {
            Taken::Shot => Next::Shot(&self.shot),
            Taken::Nothing => Next::Nothing,
            Taken::End => Next::End,
        }
    }

    /// How the source does.
    #[must_use]
    pub fn state(&self) -> SourceState {
        self.mailbox.report(|report| report.state)
    }

    /// What its frames came to.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.mailbox.report(|report| report.counts)
    }

    /// Why the source was lost the last time, or could not be read to its end; none while it delivers.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.mailbox.report(|report| report.last_error.clone())
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.mailbox.stop();
        let Some(thread) = self.thread.take() else { return };
        let until = Instant::now() + STOP_MAX;
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        if thread.is_finished() {
            let _ = thread.join();
        } else {
            log::warn!("the source does not close; it is left as it is");
        }
    }
}

/// Tells that there will be no more shots, however the thread ends.
struct EndGuard(Arc<Mailbox>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.report(|report| report.state = SourceState::Ended);
    }
}

/// Opens the source, from scratch.
fn open(options: &Options, address: &Address) -> Result<Box<dyn Source>, SourceError> {
    let unread = |error: io::Error| SourceError::new(&options.url, error);
    match address {
        Address::Folder(path) => Ok(Box::new(Pictures::of_folder(path).map_err(unread)?)),
        Address::Picture(path) => Ok(Box::new(Pictures::of_file(path).map_err(unread)?)),
        Address::MotionJpeg(path) => Ok(Box::new(MotionJpeg::open(path).map_err(unread)?)),
        #[cfg(target_os = "linux")]
        Address::V4l(path) => Ok(Box::new(super::v4l::V4lCamera::open(options, path)?)),
        #[cfg(unix)]
        Address::Rpicam(number) => Ok(Box::new(super::process::rpicam(options, *number)?)),
        #[cfg(unix)]
        Address::Stream(url) => Ok(Box::new(super::process::stream(options, url)?)),
        #[cfg(unix)]
        Address::Video(path) => Ok(Box::new(super::process::video(options, path)?)),
        #[cfg(not(target_os = "linux"))]
        _ => Err(SourceError::new(&options.url, "is not to be had on this system")),
    }
}

/// The thread's side.
struct Keeper {
    options: Options,
    name: String,
    address: Address,
    quiet: QuietHours,
    mailbox: Arc<Mailbox>,
    clock: Clock,
    shot: Shot,
}

/// Why a source is no longer watched.
enum Outcome {
    Stopped,
    Quiet,
    End,
    Lost(String),
}

impl Keeper {
    /// Opens the source and watches it, again and again.
    fn run(mut self, mut opened: Option<Box<dyn Source>>) {
        let mut backoff = BACKOFF_MIN;
        let mut was_lost = false;
        while !self.mailbox.is_stopped() {
            if self.is_quiet() {
                self.tell_quiet();
                self.mailbox.pause(QUIET_PAUSE);
                continue;
            }
            let before = self.mailbox.report(|report| report.counts.captured);
            let begun = Instant::now();
            let opening = opened.take().map_or_else(|| open(&self.options, &self.address), Ok);
            let outcome = match opening {
                Ok(mut source) => {
                    self.mailbox.report(|report| report.counts.reopened += u64::from(was_lost));
                    was_lost = false;
                    self.watch(&mut *source)
                }
                Err(error) => Outcome::Lost(error.reason),
            };
            match outcome {
                Outcome::Stopped => return,
                Outcome::Quiet => {}
                Outcome::End => {
                    let is_empty = self.mailbox.report(|report| report.counts.captured) == before;
                    if is_empty {
                        self.mailbox.report(|report| {
                            report.last_error = Some("has no frames in it".to_owned());
                        });
                    }
                    if is_empty || !self.options.repeat {
                        return;
                    }
                }
                Outcome::Lost(reason) if self.address.is_replayed() => {
                    log::warn!("{}: can't be read to its end: {reason}", self.name);
                    self.mailbox.report(|report| report.last_error = Some(reason));
                    return;
                }
                Outcome::Lost(reason) => {
                    self.tell_lost(reason);
                    was_lost = true;
                    if begun.elapsed() >= HEALTHY + backoff {
                        backoff = BACKOFF_MIN;
                    }
                    self.mailbox.pause(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Hands on a source's frames until something happens.
    fn watch(&mut self, source: &mut dyn Source) -> Outcome {
        let silent_after = Duration::from_millis(self.options.silent_after_ms);
        let is_live = !self.address.is_replayed();
        let mut last = Instant::now();
        loop {
            if self.mailbox.is_stopped() {
                return Outcome::Stopped;
            }
            if self.is_quiet() {
                return Outcome::Quiet;
            }
            match source.capture(&mut self.shot, PATIENCE) {
                Ok(Captured::Shot) => {
                    last = Instant::now();
                    if !self.deliver() {
                        return Outcome::Stopped;
                    }
                }
                Ok(Captured::Nothing) if is_live && last.elapsed() >= silent_after * 2 => {
                    let seconds = last.elapsed().as_secs_f32();
                    return Outcome::Lost(format!("no frame for {seconds:.1} s"));
                }
                Ok(Captured::Nothing) if is_live && last.elapsed() >= silent_after => {
                    self.tell_silent();
                }
                Ok(Captured::Nothing) => {}
                Ok(Captured::End) => return Outcome::End,
                Err(error) => return Outcome::Lost(error.reason),
            }
        }
    }

    /// Dates the shot and leaves it in the mailbox. `false` where the mailbox was stopped.
    fn deliver(&mut self) -> bool {
        self.tell_live();
        self.shot.moment = self.clock.next();
        let is_due = self.clock.is_due(self.shot.moment);
        self.mailbox.report(|report| {
            report.counts.captured += 1;
            report.counts.dropped += u64::from(!is_due);
        });
        let is_replayed = self.address.is_replayed();
        if is_replayed && self.options.pace == Pace::Realtime {
            let early = self.clock.until(self.shot.moment);
            if !self.mailbox.pause(early) {
                return false;
            }
        }
        let waits = is_replayed && self.options.pace == Pace::Every;
        !is_due || self.mailbox.put(&mut self.shot, waits)
    }

    fn is_quiet(&self) -> bool {
        !self.address.is_replayed() && self.quiet.now()
    }

    /// Changes the state; the log has one line per change.
    fn tell(&self, state: SourceState, change: impl FnOnce(&mut Report, SourceState)) {
        self.mailbox.report(|report| {
            let before = std::mem::replace(&mut report.state, state);
            change(report, before);
        });
    }

    fn tell_live(&self) {
        let name = &self.name;
        self.tell(SourceState::Live, |report, before| match before {
            SourceState::Live => {}
            SourceState::Lost | SourceState::Silent => {
                report.last_error = None;
                log::info!("{name}: frames come again");
            }
            _ => {
                report.last_error = None;
                log::info!("{name}: frames come");
            }
        });
    }

    fn tell_lost(&self, reason: String) {
        let name = &self.name;
        self.tell(SourceState::Lost, |report, before| {
            if before == SourceState::Lost {
                log::debug!("{name}: {reason}");
            } else {
                log::warn!("{name}: lost: {reason}; it is opened anew until it is back");
            }
            report.last_error = Some(reason);
        });
    }

    fn tell_silent(&self) {
        let name = &self.name;
        let is_news =
            |state| matches!(state, SourceState::Live | SourceState::Opening | SourceState::Quiet);
        if is_news(self.mailbox.report(|report| report.state)) {
            self.tell(SourceState::Silent, |report, _| {
                log::warn!("{name}: silent: no frame for a while");
                report.last_error = Some("no frame for a while".to_owned());
            });
        }
    }

    fn tell_quiet(&self) {
        let name = &self.name;
        self.tell(SourceState::Quiet, |_, before| {
            if before != SourceState::Quiet {
                log::info!("{name}: closed for its quiet hours");
            }
        });
    }
}

/// Dates shots, and picks those that a cap of the rate lets through.
struct Clock {
    started: Instant,
    /// Frames a second of a recording; none for what is live.
    replayed_fps: Option<u64>,
    /// Shots dated.
    index: u64,
    /// Microseconds between two shots that are let through, and when the next one is due.
    interval_us: u64,
    due_us: u64,
}

impl Clock {
    fn new(options: &Options, is_replayed: bool) -> Self {
        let interval_us =
            if options.fps_max > 0.0 { 1e6 / f64::from(options.fps_max) } else { 0.0 };
        Self {
            started: Instant::now(),
            replayed_fps: is_replayed.then_some(u64::from(options.fps)),
            index: 0,
            interval_us: interval_us as u64,
            due_us: 0,
        }
    }

    /// The next shot's moment: of a recording, by its number; of what is live, now.
    fn next(&mut self) -> Moment {
        let index = self.index;
        self.index += 1;
        if let Some(fps) = self.replayed_fps {
            let elapsed_ms = index * 1000 / fps;
            return Moment { elapsed_ms, unix_ms: elapsed_ms };
        }
        Moment { elapsed_ms: self.started.elapsed().as_millis() as u64, unix_ms: wall_clock_ms() }
    }

    /// Whether the cap of the rate lets a shot through. One that comes a little late doesn't move the next.
    fn is_due(&mut self, moment: Moment) -> bool {
        let now_us = moment.elapsed_ms * 1000;
        if now_us < self.due_us {
            return false;
        }
        let on_time = self.due_us.saturating_add(self.interval_us);
        let late = now_us.saturating_add(self.interval_us);
        self.due_us = if on_time > now_us { on_time } else { late };
        true
    }

    /// How long it is until a recording's moment comes.
    fn until(&self, moment: Moment) -> Duration {
        Duration::from_millis(moment.elapsed_ms).saturating_sub(self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_s_time_is_counted_in_frames() {
        let mut clock = Clock::new(&Options { fps: 30, ..Options::default() }, true);
        let times: Vec<u64> = (0..5).map(|_| clock.next().unix_ms).collect();
        assert_eq!(times, [0, 33, 66, 100, 133]);
        clock.index = 30 * 60 * 60 * 24 * 365;
        assert_eq!(clock.next().elapsed_ms, 365 * 24 * 3600 * 1000);
    }

    #[test]
    fn the_cap_holds_on_average_though_frames_come_unevenly() {
        let mut clock = Clock::new(&Options { fps_max: 10.0, ..Options::default() }, true);
        let mut due = |elapsed_ms| clock.is_due(Moment { elapsed_ms, unix_ms: 0 });
        let let_through: Vec<u64> = [0, 33, 66, 99, 101, 133, 199, 203, 299, 301, 2000, 2099, 2100]
            .into_iter()
            .filter(|at| due(*at))
            .collect();
        assert_eq!(let_through, [0, 101, 203, 301, 2000, 2100]);
    }

    #[test]
    fn without_a_cap_every_frame_is_due() {
        let mut clock = Clock::new(&Options::default(), true);
        assert!((0..5).all(|_| clock.is_due(Moment::default())));
    }
}
