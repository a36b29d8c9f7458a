//! `edgeclip model verify`: whether a model is whole, and this machine computes what it means.

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use clap::Args;
use edgeclip::pipeline::Verified;
use serde::Serialize;

use crate::cli::{Failure, ModelArguments, Outcome, print_json, say};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    kernel: &'a str,
    holds: bool,
    /// Least cosines to the golden embeddings; none where the model has none.
    cosine: Option<Verified>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let model = arguments.model.open()?;
    let (bundle, kernel) = (model.bundle(), model.compute().kernel().name());
    // Loading both towers checks every file of the model against its digest or checksum.
    let verified = model.verify()?;
    if verified.is_none() {
        model.image_side()?;
        if bundle.manifest().text.is_some() {
            model.text_side()?;
        }
        say(format_args!(
            "the model has no golden embeddings, so only its files were checked: edgeclip model import FOLDER gives it some"
        ));
    }
    let holds = verified.is_none_or(|verified| verified.holds);
    if arguments.json {
        print_json(&Line { model: bundle.digest(), kernel, holds, cosine: verified })?;
    } else {
        print(verified.as_ref(), kernel).context("standard output")?;
    }
    if holds {
        return Ok(Outcome::Done);
    }
    Err(anyhow!(
        "this machine computes something else than when the model was made: copy the model again; where \
         that doesn't help, try --kernel scalar, and if that holds, report the kernel {kernel}"
    )
    .into())
}

fn print(verified: Option<&Verified>, kernel: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Some(verified) = verified else { return writeln!(out, "files are whole") };
    writeln!(out, "files are whole; kernel {kernel}")?;
    let towers = [
        ("image tower", Some(verified.image), Some(verified.image_to_float)),
        ("text tower", verified.text, verified.text_to_float),
    ];
    for (name, same, to_float) in towers {
        if let (Some(same), Some(to_float)) = (same, to_float) {
            writeln!(
                out,
                "{name}: cosine {same:.5} to what it gave when the model was made, {to_float:.5} to float"
            )?;
        }
    }
    out.flush()
}
