//! How long each stage of the loop takes with a frame: the loop itself, fed with shots that are at hand.

use std::time::Instant;

use serde::Serialize;

use super::Options;
use super::appliance::{STOP_PATIENCE, open_outputs};
use super::eye::Times;
use super::lookout::Lookout;
use crate::capture::{Moment, Shot};
use crate::outputs::{Requests, Status};

/// Wall times of one frame, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FrameTimes {
    /// To copy the shot out of a driver's buffer.
    pub capture_ms: f32,
    /// To decode it, turn it and cut it.
    pub develop_ms: f32,
    /// To resize it and make pixel values of it.
    pub preprocess_ms: f32,
    /// The image tower.
    pub encode_ms: f32,
    /// To compare it with the labels.
    pub score_ms: f32,
    /// To decide, and to tell the outputs.
    pub decide_ms: f32,
    /// To write down how things stand.
    pub status_ms: f32,
}

impl FrameTimes {
    /// All of it.
    #[must_use]
    pub fn all_ms(&self) -> f32 {
        self.others_ms() + self.encode_ms
    }

    /// All but the image tower.
    #[must_use]
    pub fn others_ms(&self) -> f32 {
        let before = self.capture_ms + self.develop_ms + self.preprocess_ms;
        before + self.score_ms + self.decide_ms + self.status_ms
    }
}

/// The loop without a camera.
pub struct Profile {
    lookout: Lookout,
    shot: Shot,
    index: u64,
    /// Time from one frame to the next, as the decisions see it.
    frame_ms: u64,
}

impl Profile {
    /// Loads the model, makes the labels usable and opens the outputs, as a run with these options does.
    ///
    /// # Errors
    /// As [`Appliance::start`](super::Appliance::start).
    pub fn start(options: &Options, labels: String) -> anyhow::Result<Self> {
        let (status, (way_in, _)) = (Status::default(), Requests::channel());
        let outputs = open_outputs(options, &status, &way_in)?;
        let (lookout, _) = Lookout::start(options, Some(labels), outputs, status)?;
        let frame_ms = 1000 / u64::from(options.source.fps);
        Ok(Self { lookout, shot: Shot::default(), index: 0, frame_ms })
    }

    /// Takes a shot as the next frame.
    ///
    /// # Errors
    /// It can't be decoded, or the model fails.
    pub fn take(&mut self, shot: &Shot) -> anyhow::Result<FrameTimes> {
        let begun = Instant::now();
        self.shot.bytes.clear();
        self.shot.bytes.extend_from_slice(&shot.bytes);
        let milliseconds = |since: Instant| since.elapsed().as_secs_f32() * 1000.0;
        let capture_ms = milliseconds(begun);
        (self.shot.encoding, self.shot.stride) = (shot.encoding, shot.stride);
        (self.shot.width, self.shot.height) = (shot.width, shot.height);
        let elapsed_ms = self.index * self.frame_ms;
        self.shot.moment = Moment { elapsed_ms, unix_ms: elapsed_ms };
        self.index += 1;
        let (begun, failed) = (Instant::now(), self.lookout.summary.failed);
        self.lookout.look(&self.shot)?;
        let all_ms = milliseconds(begun);
        anyhow::ensure!(self.lookout.summary.failed == failed, "a frame can't be decoded");
        let Times { frame_ms, develop_ms, preprocess_ms, encode_ms, score_ms, decide_ms } =
            self.lookout.eye.times();
        let status_ms = all_ms - frame_ms;
        Ok(FrameTimes {
            capture_ms,
            develop_ms,
            preprocess_ms,
            encode_ms,
            score_ms,
            decide_ms,
            status_ms,
        })
    }

    /// Stops the outputs.
    pub fn stop(self) {
        self.lookout.outputs.stop(STOP_PATIENCE);
    }
}
