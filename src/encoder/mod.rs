//! Stage 3: the two towers. Pixels or tokens come in, an [`Embedding`](crate::embedding::Embedding)
//! goes out. The only folder that names tract.

mod compute;
mod cores;
mod engine;
mod four_bit;
mod graph;
mod half_floats;
mod lower;
mod onnx;
mod ops;
mod packed;
mod quantised;
mod text;
mod tower;
mod vision;

pub use compute::{Compute, Options, Precision};
pub use cores::{Cores, NoCores};
pub use lower::{LOWERING, LeftInFloat, Report};
pub use onnx::{Cut, OnnxError, OnnxGraph, Port, Uniform};
pub use packed::PackedTower;
pub use text::TextEncoder;
pub use tower::NodeTime;
pub use vision::ImageEncoder;

/// Why a tower can't be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The bytes are no ONNX graph, or use an operator that tract lacks.
    #[error("the {tower} graph can't be loaded: {reason}")]
    Load {
        /// `vision` or `text`.
        tower: &'static str,
        /// tract's account.
        reason: String,
    },
    /// The graph's inputs or outputs are not what the manifest says.
    #[error("the {tower} graph doesn't fit its model.toml: {reason}")]
    Shape {
        /// `vision` or `text`.
        tower: &'static str,
        /// What differs.
        reason: String,
    },
    /// The graph failed on an input.
    #[error("the {tower} graph failed: {reason}")]
    Run {
        /// `vision` or `text`.
        tower: &'static str,
        /// tract's account.
        reason: String,
    },
    /// Int8 was asked for, and nothing in the graph can be int8.
    #[error(
        "nothing in the {tower} graph can be int8 (edgeclip model info says why): use --precision float"
    )]
    NothingInt8 {
        /// `vision` or `text`.
        tower: &'static str,
    },
    /// Float was asked for, and the tower is stored in int8.
    #[error("the packed {tower} tower is int8: --precision float needs the model that was packed")]
    PackedIsInt8 {
        /// `vision` or `text`.
        tower: &'static str,
    },
    /// A kernel was asked for that the CPU lacks.
    #[error(transparent)]
    Kernel(#[from] crate::gemm::NoKernel),
    /// The cores that were asked for are not there, or not for this process.
    #[error(
        "can't compute on these cores: the machine lacks them, or keeps them from this process"
    )]
    Cores(#[source] std::io::Error),
    /// The system gave no threads.
    #[error("can't start worker threads")]
    Threads(#[source] std::io::Error),
    /// The graph gave a vector of zeros, or one that isn't finite.
    #[error("the {tower} graph gave no usable result")]
    NoDirection {
        /// `vision` or `text`.
        tower: &'static str,
        /// What is wrong with the vector.
        source: crate::embedding::NoDirection,
    },
}
