//! Everything that a run can be told: each stage's options, and which model.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Model, ModelError};
use crate::bundle;
use crate::capture;
use crate::classify;
use crate::encoder;
use crate::outputs;
use crate::prompts::built_in_set;

/// Most label sets that are kept.
const KEEP_MAX: usize = 1000;

/// Everything that a run can be told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Name of this device, in events and topics.
    pub device: String,
    /// Writable folder for label sets, the prompt cache and pictures; none: nothing is kept.
    pub state_dir: Option<PathBuf>,
    /// Which model, and how it computes.
    pub model: ModelOptions,
    /// Where pictures come from.
    pub source: capture::Options,
    /// Where label sets come from.
    pub labels: LabelsOptions,
    /// When a label comes and goes.
    pub decide: classify::Options,
    /// Who is told: lines of JSON.
    pub jsonl: outputs::jsonl::Options,
    /// Who is told: pictures on disk.
    pub snapshots: outputs::snapshots::Options,
    /// Who is told: pins.
    pub gpio: outputs::gpio::Options,
    /// Who is told: a broker.
    pub mqtt: outputs::mqtt::Options,
    /// Who is told: a page.
    pub http: outputs::http::Options,
    /// Who is told: a watchdog.
    pub watchdog: outputs::watchdog::Options,
}

/// Where label sets come from and are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelsOptions {
    /// The labels file: read at the start and whenever it changes.
    pub file: Option<PathBuf>,
    /// A label set inside the binary, in place of the file.
    pub set: Option<String>,
    /// A trained classifier, in place of words: its classes are the labels.
    pub head: Option<PathBuf>,
    /// Further label files, which an input pin goes through in turn.
    pub more: Vec<PathBuf>,
    /// Label sets that are kept to go back to.
    pub keep: usize,
}

impl LabelsOptions {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// The field, and the way out.
    pub fn check(&self) -> Result<(), String> {
        if let Some(set) = &self.set {
            built_in_set(set).map_err(|error| format!("set: {error}"))?;
        }
        match self.keep {
            1..=KEEP_MAX => Ok(()),
            keep => Err(format!("keep is {keep}: give 1 to {KEEP_MAX}")),
        }
    }
}

impl Default for LabelsOptions {
    fn default() -> Self {
        Self { file: None, set: None, head: None, more: Vec::new(), keep: 20 }
    }
}

/// Which model, and how it computes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// A bundle's folder, a packed model, or the name of one in the folder of models; none: the built-in model.
    pub path: Option<PathBuf>,
    /// See [`encoder::Options::precision`].
    pub precision: encoder::Precision,
    /// See [`encoder::Options::threads`].
    pub threads: Option<usize>,
    /// See [`encoder::Options::cores`].
    pub cores: Option<encoder::Cores>,
    /// See [`encoder::Options::kernel`].
    pub kernel: Option<String>,
}

impl Options {
    /// Whether every section makes sense by itself.
    ///
    /// # Errors
    /// The section, and what is wrong with which of its fields.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let sections = [
            ("source", self.source.check()),
            ("labels", self.labels.check()),
            ("decide", self.decide.check()),
            ("jsonl", self.jsonl.check()),
            ("snapshots", self.snapshots.check()),
            ("gpio", self.gpio.check()),
            ("mqtt", self.mqtt.check()),
            ("http", self.http.check()),
            ("watchdog", self.watchdog.check()),
            ("source", self.check_rate()),
            ("mqtt", self.check_device()),
        ];
        sections
            .into_iter()
            .try_for_each(|(section, result)| result.map_err(|reason| (section, reason)))
    }
}

impl Options {
    /// Whether frames come often enough for those that wait for them.
    fn check_rate(&self) -> Result<(), String> {
        let fps_max = self.source.fps_max;
        if fps_max <= 0.0 {
            return Ok(());
        }
        let limits = [
            ("gpio.frames_within_s", self.gpio.frames_within_s as f32),
            ("watchdog.frames_within_s", self.watchdog.frames_within_s as f32),
            ("http.healthy_ms_max", self.http.healthy_ms_max as f32 / 1000.0),
        ];
        let frame_s = 1.0 / fps_max;
        match limits.iter().find(|(_, wait_s)| frame_s >= *wait_s) {
            None => Ok(()),
            Some((field, wait_s)) => Err(format!(
                "fps_max is {fps_max}, a frame in {frame_s:.0} s, but {field} allows {wait_s} s: raise one of them"
            )),
        }
    }

    fn check_device(&self) -> Result<(), String> {
        if self.mqtt.is_used() && !self.device.is_empty() {
            return outputs::mqtt::check_name("device", &self.device);
        }
        Ok(())
    }
}

impl ModelOptions {
    /// The file or folder that the model is in, where one is named and there.
    #[must_use]
    pub fn located(&self) -> Option<PathBuf> {
        bundle::locate(self.path.as_deref()?).ok()
    }

    /// Opens the model to compute on `threads`, or as the options say.
    ///
    /// # Errors
    /// As [`Model::open_with`].
    pub fn open(&self, threads: Option<usize>) -> Result<Model, ModelError> {
        let (cores, kernel) = (self.cores.clone(), self.kernel.clone());
        let threads = threads.or(self.threads);
        let compute = encoder::Options { precision: self.precision, threads, cores, kernel };
        Model::open_with(self.path.as_deref(), &compute)
    }
}
