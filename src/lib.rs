//! edgeclip: an offline, zero-shot image classifier. Labels are words; a picture is compared with
//! them by a CLIP model (Radford et al. 2021, <https://arxiv.org/abs/2103.00020>).
//!
//! ```text
//!  image side, every frame                       text side, when the labels change
//!  capture      camera, files  -> Shot, Frame    prompts::LabelSet     labels file      -> labels
//!     |  newest wins, drops are counted          prompts::Template     label x template -> prompt
//!  preprocess   resize, crop   -> PixelValues    tokenizer             prompt           -> TokenIds
//!     |                                             |
//!  encoder      ImageEncoder   -> Embedding      encoder               TextEncoder      -> Embedding
//!     |                                             |  mean over templates, prompts::PromptCache, L2 norm
//!     +-----------------> classify <----------- ZeroShotHead (immutable, swapped whole)
//!                            |  scores with background -> smooth -> decide -> Event
//!                         outputs: JSON lines, pins, MQTT, page, pictures, watchdog
//! ```
//!
//! The towers are tract graphs that `encoder` lowers to int8 products, attention and layer norms of `gemm`.
//! The modules below stand in the order the data flows. `bundle` reads a model and its manifest;
//! `pipeline` puts the stages together, and `config` reads what a user wants of them.
//! [`pipeline::Appliance`] is the loop that a board runs, [`pipeline::Model`] the way in for one picture;
//! `eval` counts how often a head is right. One picture:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[cfg(feature = "mini")] {
//! use edgeclip::{capture, pipeline::Model, prompts::LabelSet};
//!
//! let model = Model::open(None)?; // the built-in one
//! let labels = LabelSet::from_names(["a cat", "a cup of coffee"])?;
//! let head = model.text_side()?.head(&labels)?;
//! let picture = capture::read("examples/images/cat.jpg".as_ref())?;
//! let embedding = model.image_side()?.encode_image(&picture)?;
//! println!("{}", head.ranked(&embedding)[0].label);
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//! - A stage owns its output type and its `Options`; the next stage imports that type and nothing
//!   more of it. `bundle` knows the stages' options, no stage knows `bundle`.
//! - Only `pipeline`, and `doctor` that looks at all of it, name all stages. The image side never imports
//!   the text side: they meet in `classify`. `tests/tidy.rs` holds the table of who may import whom.
//! - tract has one home, `encoder`; the picture decoders and v4l have one, `capture`; the vocabulary's library
//!   has one, `tokenizer`. `gemm` imports nothing from this crate.
//! - `unsafe` lives in `gemm/kernels/`, `gemm/workers.rs` and `memory`, which maps files, each block with its
//!   reason. Loops over pixels borrow from `gemm` the macro that compiles them for wide vectors.
//! - [`pipeline::Appliance`]'s loop waits for nobody: the camera, each output and the text side have threads
//!   of their own, with bounded queues. Decisions count in frame time, so a replay decides as the camera did.
//! - What is written to disk is there whole or not at all (`disk`).
//! - Limits are named constants. Input over a limit is refused with a message that says so.
//! - A [`prompts::LabelSet`] and a [`classify::ZeroShotHead`] don't change once they are made.

pub mod capture;
pub mod preprocess;
pub mod tokenizer;

pub mod embedding;
pub mod encoder;
pub mod gemm;

pub mod classify;
pub mod prompts;

pub mod probe;

pub mod outputs;

pub mod bundle;
pub mod config;
pub mod hub;
pub mod import;
pub mod pipeline;

pub mod doctor;
pub mod eval;

pub mod disk;

mod digest;
mod lines;
mod memory;
