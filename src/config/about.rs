//! What a board's profile tells of the board, beside what it sets, and what models take of its memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What edgeclip takes beside a model's weights, in MB: the program, frames, one frame's activations.
const BESIDE_MB: u64 = 40;

/// Published models that lose little in int8 (`models/SUPPORT.md`): their name, and the millions of parameters of the
/// image side and of the text side, which are as many MB in int8.
const MODELS: &[(&str, u64, u64)] = &[
    ("tinyclip-8m-16", 8, 15),
    ("mobileclip-s0", 11, 42),
    ("mobileclip2-s0", 11, 63),
    ("mobileclip-s1", 22, 63),
    ("dinov2-small", 22, 0),
    ("mobileclip-s2", 36, 63),
    ("mobileclip2-s2", 36, 63),
    ("clip-rn50", 38, 64),
    ("tinyclip-39m-16", 39, 45),
    ("tinyclip-61m-32", 61, 54),
    ("clip-vit-b-16", 86, 63),
    ("mobileclip-b", 86, 63),
    ("mobileclip2-b", 86, 63),
    ("chinese-clip-base-16", 86, 102),
    ("clip-vit-b-32", 88, 63),
    ("openclip-vit-b-32", 88, 63),
    ("siglip-base-16-224", 93, 110),
    ("siglip2-base-16-224", 93, 282),
    ("clip-vit-l-14", 304, 124),
    ("clip-vit-l-14-336", 304, 124),
];

/// What a profile tells of its board: `[about]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct About {
    /// The board's full name.
    pub board: String,
    /// Strings of the device tree's root node that it answers to, the most specific first.
    pub compatible: Vec<String>,
    /// Kind of its cores.
    pub cpu: String,
    /// How many of them, in words.
    pub cores: String,
    /// What of the instruction set kernels depend on, by the names in `/proc/cpuinfo`.
    pub features: Vec<String>,
    /// The int8 kernel that it should have.
    pub kernel: Option<String>,
    /// Memory of its variants, in MB.
    pub memory_mb: Vec<u64>,
    /// Memory's peak rate in GB/s, of the slowest variant; none where the vendor does not state it.
    pub bandwidth_gb_s: Option<f64>,
    /// Memory that edgeclip may take beside the system on the smallest variant, in MB.
    pub budget_mb: Option<u64>,
    /// Models that fit into it.
    pub models: Vec<String>,
    /// What a line's number means on its pins.
    pub pins: String,
    /// What to know.
    pub notes: Vec<String>,
    /// Documents, and what is taken from each.
    pub sources: BTreeMap<String, String>,
}

/// What a model takes of a board's memory, in MB: weights packed in int8, mapped or loaded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// All the time.
    pub mb: u64,
    /// While labels are encoded, the text side as well.
    pub labels_mb: u64,
}

impl Model {
    /// What is known of a model.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (name, image, text) = *MODELS.iter().find(|(known, ..)| *known == name)?;
        let mb = image + BESIDE_MB;
        Some(Self { name, mb, labels_mb: mb + text })
    }
}
