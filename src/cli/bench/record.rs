//! What a report says: the fields of its JSON, which `boards/records/README.md` explains.

use edgeclip::doctor::{Facts, State};
use edgeclip::encoder::Precision;
use serde::{Deserialize, Serialize};

use super::pipeline::Loop;
use super::{Operator, Times};

/// Of records; grows when a field changes its meaning.
pub(super) const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) edgeclip: String,
    pub(super) date: String,
    pub(super) note: Option<String>,
    pub(super) profile: String,
    pub(super) machine: Facts,
    pub(super) model: Model,
    pub(super) compute: Computed,
    pub(super) before: State,
    pub(super) after: State,
    pub(super) tower: Tower,
    pub(super) camera: Camera,
    pub(super) sustained: Sustained,
    pub(super) memory: Memory,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) image_size: usize,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Computed {
    pub(super) precision: Precision,
    pub(super) kernel: String,
    pub(super) threads: usize,
    pub(super) cores: Option<String>,
}

/// One frame after another through the image side alone.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tower {
    pub(super) picture: [u32; 2],
    pub(super) frames: u32,
    pub(super) first_embedding_ms: f64,
    pub(super) preprocess_ms: Times,
    pub(super) encode_ms: Times,
    pub(super) operators: Vec<Operator>,
}

/// The loop with some frames as a camera sends them, raw and as JPEGs in turn.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Camera {
    pub(super) frames: u32,
    pub(super) yuyv: Loop,
    pub(super) mjpeg: Loop,
}

/// The loop with raw frames, as fast as it goes, for as long as it takes a board to get hot.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sustained {
    pub(super) seconds: f64,
    pub(super) frames: usize,
    pub(super) frames_per_s: f64,
    pub(super) yuyv: Loop,
    pub(super) first_tenth_ms: f64,
    pub(super) last_tenth_ms: f64,
    pub(super) clocks_min_mhz: Vec<u64>,
    pub(super) celsius_max: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    pub(super) resident_bytes: Option<u64>,
    pub(super) mapped_bytes: Option<u64>,
    pub(super) resident_max_bytes: Option<u64>,
    pub(super) allocations: usize,
    pub(super) allocated_bytes: usize,
}

/// The load before anything was measured, where it leaves less than half of the cores.
pub(super) fn others_load(facts: &Facts, before: &State) -> Option<f64> {
    let cores: usize = facts.cores.iter().map(|kind| kind.numbers.len()).sum();
    before.load.filter(|load| cores > 0 && *load > cores as f64 / 2.0)
}
