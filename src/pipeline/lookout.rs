//! What the loop does with a shot, with a new label set and with a source that comes and goes.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use super::eye::{Eye, LookError, Seen};
use super::relabel::{Outcome, Relabeller};
use super::{Options, Summary};
use crate::capture::{Camera, Frame, Moment, Shot, SourceState, Views, wall_clock_ms};
use crate::classify::Event;
use crate::outputs::{LabelsReport, Notice, Outputs, Request, Status};

/// Frames in a row on which the model may fail before it is given up.
const ENCODER_FAILURES_MAX: u32 = 10;

/// Looks, decides and tells.
pub(super) struct Lookout {
    pub(super) eye: Eye,
    pub(super) outputs: Outputs,
    pub(super) status: Status,
    source_state: SourceState,
    /// Time of the newest shot, and when it was taken in.
    moment: Moment,
    taken: Instant,
    /// Time of the newest shot that could be decoded.
    good_ms: u64,
    rate: Rate,
    /// Events of the shot at hand: told when the status shows them.
    events: Vec<(Event, Option<Arc<Frame>>)>,
    /// Whether events go out with their pictures.
    wants_pictures: bool,
    /// Time without a good shot after which nothing is known, in milliseconds.
    silent_after_ms: u64,
    /// Whether what the deciders say is of now.
    knows: bool,
    /// Whether the newest shot could not be decoded.
    is_failing: bool,
    /// Shots in a row on which the model failed.
    encoder_failures: u32,
    /// What it came to so far.
    pub(super) summary: Summary,
}

impl Lookout {
    /// Loads the model and makes the first label set usable.
    pub(super) fn start(
        options: &Options,
        labels: Option<String>,
        outputs: Outputs,
        status: Status,
    ) -> anyhow::Result<(Self, Relabeller)> {
        let image_model = options.model.open(None)?;
        // One thread, so that the loop keeps the others.
        let text_model = options.model.open(Some(1))?;
        let (relabeller, report) = Relabeller::start(text_model, options, labels)?;
        let model = image_model.bundle().digest().to_owned();
        let names = [options.device.clone(), options.source.name(), model];
        let views = Views::new(&options.source);
        let in_use = Arc::clone(relabeller.in_use());
        let mut image_side = image_model.image_side()?;
        // Before pins move.
        image_model.check_image(&mut image_side)?;
        let eye = Eye::new(views, image_side, in_use, names);
        status.with(|status| eye.introduce(status));
        let mut lookout = Self {
            eye,
            outputs,
            status,
            source_state: SourceState::default(),
            moment: Moment::default(),
            taken: Instant::now(),
            good_ms: 0,
            rate: Rate::default(),
            events: Vec::new(),
            wants_pictures: options.snapshots.allowed(),
            silent_after_ms: options.source.silent_after_ms,
            knows: false,
            is_failing: false,
            encoder_failures: 0,
            summary: Summary::default(),
        };
        lookout.show_labels(&report);
        Ok((lookout, relabeller))
    }

    /// One frame, from shot to events.
    pub(super) fn look(&mut self, shot: &Shot) -> anyhow::Result<()> {
        (self.moment, self.taken) = (shot.moment, Instant::now());
        let Self { eye, events, wants_pictures, .. } = self;
        let mut picture = None;
        let seen = eye.look(shot, |event, frame| {
            let picture = || Arc::clone(picture.get_or_insert_with(|| Arc::new(frame.clone())));
            events.push((event, wants_pictures.then(picture)));
        });
        match seen {
            Err(LookError::Picture(error)) => self.fail(&error, shot.moment),
            Err(LookError::Encoder(error)) => {
                self.encoder_failures += 1;
                if self.encoder_failures >= ENCODER_FAILURES_MAX {
                    return Err(error.into());
                }
                self.fail(&error, shot.moment);
            }
            Ok(seen) => self.record(seen),
        }
        self.tell_events();
        Ok(())
    }

    /// Writes down what a good shot came to.
    fn record(&mut self, seen: Seen) {
        (self.knows, self.is_failing, self.encoder_failures) = (true, false, 0);
        self.good_ms = self.moment.elapsed_ms;
        // Before its events: outputs that act must know that what they are told is of now.
        if self.source_state != SourceState::Live {
            self.turn(SourceState::Live);
        }
        let Self { eye, status, summary, moment, rate, .. } = self;
        status.with(|status| {
            status.decoded += 1;
            eye.report(status);
            match seen {
                Seen::Still => status.still += 1,
                Seen::Inferred => {
                    summary.inferred += 1;
                    status.inferred += 1;
                    (status.unix_ms, status.frames_per_second) = (moment.unix_ms, rate.tick());
                    status.frame_ms_sum += f64::from(status.frame_ms);
                    status.encode_ms_sum += f64::from(status.encode_ms);
                }
            }
        });
        if status.is_watched() {
            status.show(Arc::new(eye.frame().clone()));
        }
    }

    /// Writes down that a shot came to nothing. Where that goes on, nothing is known any more.
    fn fail(&mut self, error: &dyn std::error::Error, moment: Moment) {
        self.summary.failed += 1;
        self.status.with(|status| status.failed += 1);
        if !std::mem::replace(&mut self.is_failing, true) {
            log::warn!("a frame {error}; those after it, while they fail too, are only counted");
        }
        if moment.elapsed_ms.saturating_sub(self.good_ms) >= self.silent_after_ms {
            self.forget(moment);
        }
    }

    /// Without good frames nothing is known: everything leaves.
    fn forget(&mut self, moment: Moment) {
        if !std::mem::take(&mut self.knows) {
            return;
        }
        self.rate = Rate::default();
        let Self { eye, events, status, .. } = self;
        eye.interrupt(moment, |event| events.push((event, None)));
        status.with(|status| {
            eye.report(status);
            status.frames_per_second = 0.0;
        });
        self.tell_events();
    }

    /// The status shows them already.
    fn tell_events(&mut self) {
        for (event, frame) in self.events.drain(..) {
            self.summary.events += 1;
            self.outputs.tell(&Notice::Event(Arc::new(event), frame));
        }
    }

    /// Swaps in a new label set, tells everyone, and answers who asked.
    pub(super) fn swap(&mut self, outcome: Outcome) {
        let Outcome { active, report, reply } = outcome;
        if let Some(active) = active.filter(|active| !self.eye.uses(active)) {
            let Self { eye, events, moment, .. } = self;
            eye.swap(active, *moment, |event| events.push((event, None)));
        }
        self.show_labels(&report);
        answer(report, reply);
    }

    /// Says that a request can't be taken.
    pub(super) fn refuse(&mut self, request: Request, reason: &str) {
        let Request::Labels { origin, reply, .. } = request else {
            log::warn!("{reason}");
            return;
        };
        let (label_set, labels) = self.eye.label_set();
        let report = LabelsReport::refused(&origin, label_set, labels, reason);
        let report = Arc::new(report);
        self.show_labels(&report);
        answer(report, reply);
    }

    fn show_labels(&mut self, report: &Arc<LabelsReport>) {
        match &report.error {
            Some(error) => log::warn!("labels from {} refused: {error}", report.origin),
            None => log::info!("{} labels from {}", report.labels, report.origin),
        }
        report.warnings.iter().for_each(|warning| log::warn!("labels: {warning}"));
        self.status.with(|status| {
            self.eye.report(status);
            status.routes = self.eye.routes();
        });
        self.status.set_labels_text(self.eye.labels_text());
        self.tell_events();
        self.outputs.tell(&Notice::Labels(Arc::clone(report)));
    }

    /// Follows the source's state: without frames nothing is known.
    pub(super) fn follow(&mut self, camera: &Camera) {
        let (state, counts) = (camera.state(), camera.counts());
        self.status.with(|status| (status.counts, status.source_state) = (counts, state));
        if matches!(state, SourceState::Silent | SourceState::Lost | SourceState::Quiet) {
            // Again and again: a shot that was taken before may be looked at after the loss.
            let elapsed_ms = self.moment.elapsed_ms + self.taken.elapsed().as_millis() as u64;
            self.forget(Moment { elapsed_ms, unix_ms: wall_clock_ms() });
        }
        if state != self.source_state {
            self.turn(state);
        }
    }

    /// The source does otherwise than before.
    fn turn(&mut self, state: SourceState) {
        self.source_state = state;
        self.status.with(|status| status.source_state = state);
        self.outputs.tell(&Notice::Source(state));
    }

    pub(super) fn show_picture(&self) {
        if self.knows {
            self.outputs.tell(&Notice::Picture(Arc::new(self.eye.frame().clone())));
        } else {
            log::warn!("there is no picture of now");
        }
    }

    pub(super) fn mute(&self, muted: bool) {
        self.status.with(|status| status.muted = muted);
        self.outputs.tell(&Notice::Muted(muted));
    }
}

fn answer(report: Arc<LabelsReport>, reply: Option<SyncSender<Arc<LabelsReport>>>) {
    if let Some(reply) = reply {
        // Who asked may have given up.
        let _ = reply.try_send(report);
    }
}

/// Frames in a second, as a mean that forgets.
#[derive(Default)]
struct Rate {
    last: Option<Instant>,
    seconds: f32,
}

impl Rate {
    /// A frame is done; gives the rate.
    fn tick(&mut self) -> f32 {
        /// Part of the newest frame in the mean.
        const NEWEST: f32 = 0.1;
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            let seconds = (now - last).as_secs_f32();
            let old = if self.seconds == 0.0 { seconds } else { self.seconds };
            self.seconds = old + NEWEST * (seconds - old);
        }
        if self.seconds > 0.0 { 1.0 / self.seconds } else { 0.0 }
    }
}
