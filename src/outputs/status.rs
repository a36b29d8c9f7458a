//! How things stand: written by the loop in place for every frame, read by outputs whenever they like.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::capture::{Counts, Frame, SourceState};
use crate::prompts::Action;

/// How things stand, for everyone who looks.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    snapshot: Snapshot,
    /// Watchers of the live picture; the loop copies frames only while there are any.
    watchers: usize,
    live: Option<Arc<Frame>>,
    labels_text: Arc<str>,
}

/// All of it at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Name of this device.
    pub device: String,
    /// Name of the source.
    pub source: String,
    /// How the source does.
    pub source_state: SourceState,
    /// What the source's frames came to.
    pub counts: Counts,
    /// Turns of the loop since the start, also those that brought no frame: it lives while they grow.
    pub turns: u64,
    /// Frames that were decoded.
    pub decoded: u64,
    /// Frames that went through the model.
    pub inferred: u64,
    /// Frames that could not be decoded.
    pub failed: u64,
    /// Frames that were skipped since the scene stood still.
    pub still: u64,
    /// Time of the newest inferred frame, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Frames through the model in a second, over the last ones.
    pub frames_per_second: f32,
    /// Wall time of the newest frame from shot to scores, in milliseconds.
    pub frame_ms: f32,
    /// Of which the image tower took.
    pub encode_ms: f32,
    /// [`frame_ms`](Self::frame_ms) of all inferred frames together.
    pub frame_ms_sum: f64,
    /// [`encode_ms`](Self::encode_ms) of all inferred frames together.
    pub encode_ms_sum: f64,
    /// Digest of the label set.
    pub label_set: String,
    /// Pins of the label set's labels.
    #[serde(skip)]
    pub routes: Arc<[Route]>,
    /// Digest of the model.
    pub model: String,
    /// Whether outputs that act are silenced.
    pub muted: bool,
    /// Each region's labels; one region without a name where the source has no regions.
    pub regions: Vec<RegionStatus>,
}

/// A label that acts on a pin: `[[label.output]]` of a labels file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the label.
    pub label: String,
    /// Name of the pin, as the configuration has it.
    pub gpio: String,
    /// What the label does to it; the pin's own action where none is given.
    pub action: Option<Action>,
}

/// One region's answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RegionStatus {
    /// Its name; none where the source has no regions.
    pub region: Option<String>,
    /// The labels, in the set's order.
    pub labels: Vec<LabelStatus>,
    /// Probability of the background, 0..1, smoothed.
    pub background: f32,
}

/// One label's state.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LabelStatus {
    /// Its name.
    pub label: String,
    /// Smoothed probability, 0..1.
    pub score: f32,
    /// Whether it is there: it has entered, and not left.
    pub active: bool,
}

impl Status {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of all of it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    /// Looks at it, or changes it, in place.
    pub fn with<T>(&self, act: impl FnOnce(&mut Snapshot) -> T) -> T {
        act(&mut self.lock().snapshot)
    }

    /// The label set in use, as it was written: a `labels.toml`, a plain list, or JSON.
    #[must_use]
    pub fn labels_text(&self) -> Arc<str> {
        Arc::clone(&self.lock().labels_text)
    }

    /// Tells which label set is in use, before the outputs are told of it. Not part of the snapshot, which is copied often.
    pub fn set_labels_text(&self, text: impl Into<Arc<str>>) {
        self.lock().labels_text = text.into();
    }

    /// Asks for the live picture, until the watch is dropped.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.lock().watchers += 1;
        Watch(self.clone())
    }

    /// Whether someone watches the live picture.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.lock().watchers > 0
    }

    /// Shows a frame to those who watch.
    pub fn show(&self, frame: Arc<Frame>) {
        self.lock().live = Some(frame);
    }
}

/// Someone watches the live picture.
#[derive(Debug)]
pub struct Watch(Status);

impl Watch {
    /// The newest picture; none before the first one after the watch began.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Frame>> {
        self.0.lock().live.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.watchers -= 1;
        if inner.watchers == 0 {
            inner.live = None;
        }
    }
}
