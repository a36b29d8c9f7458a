//! `edgeclip model import`: a published model's folder becomes a bundle or a packed model.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use edgeclip::import::{Options, Variant};
use edgeclip::pipeline::{self, ModelError, TakenIn};
use serde::Serialize;

use crate::cli::{Failure, Outcome, print_json, say};

/// Below it the user should know that int8 differs.
const INT8_COSINE_LOW: f32 = 0.98;

#[derive(Args)]
pub(super) struct Arguments {
    /// Folder of a published model: its settings, its tokenizer.json, and ONNX graphs in onnx/; or a bundle, which gets
    /// new golden embeddings
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// A file that ends in .eclip, to copy to a board; or the folder of a bundle, which float needs
    #[arg(value_name = "FILE.eclip|DIR")]
    target: PathBuf,
    /// The int8 kernel of the board that a file is for [default: this machine's; any works on any board]
    #[arg(long = "for", value_name = "KERNEL")]
    kernel: Option<String>,
    #[command(flatten)]
    facts: FactArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What a user may know better than a model's files.
#[derive(Args)]
pub(super) struct FactArguments {
    /// Graphs to take: fp32, fp16, int8, quantized, uint8, q4f16, q4 [default: the first of these that is there]
    #[arg(long, value_name = "NAME")]
    variant: Option<Variant>,
    /// The model's name
    #[arg(long)]
    name: Option<String>,
    /// Terms of the weights
    #[arg(long)]
    licence: Option<String>,
    /// Scale of the logits, where no file holds it
    #[arg(long, value_name = "NUMBER")]
    logit_scale: Option<f32>,
    /// What is added to the logits, where no file holds it
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    logit_bias: Option<f32>,
    /// Template for label sets that bring none; may be given several times
    #[arg(long = "template", value_name = "TEXT")]
    templates: Vec<String>,
}

impl FactArguments {
    pub(super) fn options(&self) -> Options {
        Options {
            variant: self.variant,
            name: self.name.clone(),
            licence: self.licence.clone(),
            logit_scale: self.logit_scale,
            logit_bias: self.logit_bias,
            templates: self.templates.clone(),
            repository: None,
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    path: String,
    name: &'a str,
    licence: &'a str,
    model: &'a str,
    graphs: &'a str,
    image_int8_cosine: f32,
    text_int8_cosine: Option<f32>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { folder, target, kernel, facts, json } = arguments;
    let taken = pipeline::take_in(folder, target, &facts.options(), kernel.as_deref());
    let taken = taken.map_err(|error| match error {
        ModelError::UnknownKernel { .. }
        | ModelError::Exists { .. }
        | ModelError::NoFolder { .. }
        | ModelError::Occupied { .. }
        | ModelError::KernelOfFolder { .. } => Failure::Usage(error.into()),
        error => error.into(),
    })?;
    report(&taken, *json)?;
    Ok(Outcome::Done)
}

/// Says so where int8 is not as good as float.
pub(super) fn warn_of_int8(taken: &TakenIn) {
    let lowest = taken.text_int8.map_or(taken.image_int8, |text| text.min(taken.image_int8));
    if lowest < INT8_COSINE_LOW {
        say(format_args!(
            "int8 is only near {lowest:.3} (cosine) to float: consider --precision float, which needs the bundle's folder"
        ));
    }
}

/// Tells what was taken in: words on stderr, the path or a JSON object on stdout.
pub(super) fn report(taken: &TakenIn, json: bool) -> io::Result<()> {
    let TakenIn { path, manifest, digest, image_int8, text_int8 } = taken;
    let graphs = manifest.provenance.as_ref().map_or("", |of| of.graphs.as_str());
    if !graphs.is_empty() {
        say(format_args!("{graphs}"));
    }
    say(format_args!("licence of the weights: {}", manifest.licence));
    warn_of_int8(taken);
    if json {
        return print_json(&Line {
            path: path.display().to_string(),
            name: &manifest.name,
            licence: &manifest.licence,
            model: digest,
            graphs,
            image_int8_cosine: *image_int8,
            text_int8_cosine: *text_int8,
        });
    }
    writeln!(io::stdout(), "{}", path.display())
}
