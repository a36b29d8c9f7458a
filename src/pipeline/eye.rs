//! The image side of the loop: one shot to what changed.

use std::sync::Arc;
use std::time::Instant;

use super::ImageSide;
use super::maker::Active;
use crate::capture::{Frame, Moment, PictureError, Shot, Views};
use crate::classify::{Change, Decider, Event, NONE, Scores};
use crate::encoder::EncoderError;
use crate::outputs::{LabelStatus, RegionStatus, Route, Snapshot};
use crate::prompts::{Label, LabelOutput};

/// Looks at shots with the label set in use.
pub(super) struct Eye {
    views: Views,
    image_side: ImageSide,
    active: Arc<Active>,
    /// One for each view.
    regions: Vec<Region>,
    /// Whether the scores are of the label set in use.
    has_scores: bool,
    origin: Origin,
    times: Times,
}

/// What every event says of where it comes from.
struct Origin {
    device: String,
    source: String,
    model: String,
}

struct Region {
    name: Option<String>,
    scores: Scores,
    decider: Decider,
}

/// Wall times of the newest frame, in milliseconds; of all its regions together.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_field_names, reason = "units stand last in names")]
pub(super) struct Times {
    pub(super) frame_ms: f32,
    pub(super) develop_ms: f32,
    pub(super) preprocess_ms: f32,
    pub(super) encode_ms: f32,
    pub(super) score_ms: f32,
    /// Decisions, and the events that come of them.
    pub(super) decide_ms: f32,
}

/// Why a shot came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

/// What became of a shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It went through the model.
    Inferred,
    /// It looks as the one before, and was not inferred.
    Still,
}

impl Eye {
    pub(super) fn new(
        views: Views,
        image_side: ImageSide,
        active: Arc<Active>,
        [device, source, model]: [String; 3],
    ) -> Self {
        let region = |index| Region {
            name: views.name(index).map(str::to_owned),
            scores: Scores::default(),
            decider: active.decider(),
        };
        let regions = (0..views.len()).map(region).collect();
        let origin = Origin { device, source, model };
        let times = Times::default();
        Self { views, image_side, active, regions, has_scores: false, origin, times }
    }

    /// Looks at a shot, and calls `tell` with each event and the picture.
    ///
    /// # Errors
    /// The picture can't be decoded; or a tower fails, which is a fault of the model.
    pub(super) fn look(
        &mut self,
        shot: &Shot,
        mut tell: impl FnMut(Event, &Frame),
    ) -> Result<Seen, LookError> {
        let begun = Instant::now();
        let (mut lap, mut times) = (begun, Times::default());
        self.views.develop(shot)?;
        let is_still = self.views.is_still(shot.moment) && self.has_scores;
        times.develop_ms = since(&mut lap);
        for (index, region) in self.regions.iter_mut().enumerate() {
            if !is_still {
                let pixels = self.image_side.preprocessor.run(self.views.frame(index));
                times.preprocess_ms += since(&mut lap);
                let embedding = self.image_side.encoder.encode(pixels)?;
                times.encode_ms += since(&mut lap);
                self.active.head.score(&embedding, &mut region.scores);
                times.score_ms += since(&mut lap);
            }
            // A still scene has the scores of the frame before, and time goes on.
            for change in region.decider.decide(&region.scores, shot.moment.elapsed_ms) {
                let place = (region.name.as_deref(), shot.moment);
                tell(self.origin.event(*change, &self.active, place), self.views.whole());
            }
            times.decide_ms += since(&mut lap);
        }
        if is_still {
            return Ok(Seen::Still);
        }
        self.has_scores = true;
        self.times = Times { frame_ms: milliseconds(begun), ..times };
        Ok(Seen::Inferred)
    }

    /// How long the newest frame that was inferred took.
    pub(super) fn times(&self) -> Times {
        self.times
    }

    /// The newest picture, upright and cut.
    pub(super) fn frame(&self) -> &Frame {
        self.views.whole()
    }

    /// Whether this is the label set in use.
    pub(super) fn uses(&self, active: &Arc<Active>) -> bool {
        Arc::ptr_eq(&self.active, active)
    }

    /// Digest and number of labels of the set in use.
    pub(super) fn label_set(&self) -> (&str, usize) {
        (&self.active.digest, self.active.set.labels().len())
    }

    /// The label set in use, as it was written.
    pub(super) fn labels_text(&self) -> &str {
        &self.active.text
    }

    /// The pins that the labels in use drive.
    pub(super) fn routes(&self) -> Arc<[Route]> {
        let labels = self.active.set.labels().iter();
        labels.flat_map(|label| label.outputs.iter().map(|output| route(label, output))).collect()
    }

    /// Writes into the status what doesn't change.
    pub(super) fn introduce(&self, status: &mut Snapshot) {
        status.device.clone_from(&self.origin.device);
        status.source.clone_from(&self.origin.source);
        status.model.clone_from(&self.origin.model);
    }

    /// Swaps the whole label set; labels that stay keep their state, those that were there and are gone leave.
    pub(super) fn swap(&mut self, new: Arc<Active>, moment: Moment, mut tell: impl FnMut(Event)) {
        for region in &mut self.regions {
            let mut decider = new.decider();
            for change in decider.succeed(&region.decider) {
                let place = (region.name.as_deref(), moment);
                tell(self.origin.event(change, &self.active, place));
            }
            (region.decider, region.scores) = (decider, Scores::default());
        }
        self.has_scores = false;
        self.active = new;
    }

    /// No frames come: nothing is known.
    pub(super) fn interrupt(&mut self, moment: Moment, mut tell: impl FnMut(Event)) {
        for Region { name, decider, .. } in &mut self.regions {
            for change in decider.interrupt(moment.elapsed_ms) {
                let place = (name.as_deref(), moment);
                tell(self.origin.event(*change, &self.active, place));
            }
        }
    }

    /// Writes the labels' states into the status, in place.
    pub(super) fn report(&self, status: &mut Snapshot) {
        let Times { frame_ms, encode_ms, .. } = self.times;
        (status.frame_ms, status.encode_ms) = (frame_ms, encode_ms);
        let same =
            status.regions.len() == self.regions.len() && status.label_set == self.active.digest;
        if !same {
            status.label_set.clone_from(&self.active.digest);
            status.regions = self.regions.iter().map(|region| self.region_status(region)).collect();
        }
        for (region, shown) in self.regions.iter().zip(&mut status.regions) {
            shown.background = region.decider.background();
            for ((score, active), label) in region.decider.states().zip(&mut shown.labels) {
                (label.score, label.active) = (score, active);
            }
        }
    }

    fn region_status(&self, region: &Region) -> RegionStatus {
        let names = self.active.head.names();
        let labels =
            names.map(|name| LabelStatus { label: name.to_owned(), ..LabelStatus::default() });
        RegionStatus { region: region.name.clone(), labels: labels.collect(), background: 0.0 }
    }
}

impl Origin {
    fn event(&self, change: Change, active: &Active, place: (Option<&str>, Moment)) -> Event {
        let (region, moment) = place;
        let name = change.label.and_then(|label| active.head.name(label)).unwrap_or(NONE);
        Event {
            v: 1,
            unix_ms: moment.unix_ms,
            device: self.device.clone(),
            source: self.source.clone(),
            region: region.map(str::to_owned),
            label: name.to_owned(),
            state: change.state,
            score: change.score,
            label_set: active.digest.clone(),
            model: self.model.clone(),
        }
    }
}

fn route(label: &Label, output: &LabelOutput) -> Route {
    Route { label: label.name.clone(), gpio: output.gpio.clone(), action: output.action }
}

fn milliseconds(since: Instant) -> f32 {
    since.elapsed().as_secs_f32() * 1000.0
}

/// Milliseconds since the last lap, with which the next one begins.
fn since(lap: &mut Instant) -> f32 {
    let now = Instant::now();
    (now - std::mem::replace(lap, now)).as_secs_f32() * 1000.0
}
