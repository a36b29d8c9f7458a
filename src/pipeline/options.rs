//! Everything that a run can be told: each stage's options, and which model.

use std::path::PathBuf;

use serde::Deserialize;

use super::relabel::LabelsOptions;
use super::{Model, ModelError};
use crate::capture;
use crate::classify;
use crate::encoder;
use crate::outputs;

/// Everything that a run can be told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Name of this device, in events and topics.
    pub device: String,
    /// Writable folder for label sets and the prompt cache; none: nothing is kept.
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

/// Which model, and how it computes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// A bundle's folder, or a packed model; none: the built-in model.
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
        ];
        sections
            .into_iter()
            .try_for_each(|(section, result)| result.map_err(|reason| (section, reason)))
    }
}

impl ModelOptions {
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
