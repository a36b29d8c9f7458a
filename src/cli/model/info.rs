//! `edgeclip model info`: what a model is, and what of it becomes int8.

use anyhow::Context;
use clap::Args;
use edgeclip::encoder::Report;
use edgeclip::pipeline::Model;
use serde::Serialize;

use crate::cli::{Failure, ModelArguments, Outcome, print_json};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Info<'a> {
    name: &'a str,
    licence: &'a str,
    source: &'a str,
    model: &'a str,
    image_size: u32,
    embedding_dim: usize,
    context_length: usize,
    kernel: &'a str,
    vision: &'a Report,
    text: &'a Report,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let model = arguments.model.open()?;
    let (image_side, text_side) = (model.image_side()?, model.text_side()?);
    let manifest = model.bundle().manifest();
    let info = Info {
        name: &manifest.name,
        licence: &manifest.licence,
        source: &manifest.source,
        model: model.bundle().digest(),
        image_size: manifest.preprocess.image_size,
        embedding_dim: manifest.embedding_dim,
        context_length: manifest.tokenizer.context_length,
        kernel: model.compute().kernel().name(),
        vision: image_side.encoder.report(),
        text: text_side.report(),
    };
    if arguments.json {
        print_json(&info)?;
    } else {
        print(&model, &info).context("standard output")?;
    }
    Ok(Outcome::Done)
}

fn print(model: &Model, info: &Info) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", info.name)?;
    writeln!(out, "  {}", info.model)?;
    writeln!(out, "  source   {}", info.source)?;
    writeln!(out, "  licence  {}", info.licence)?;
    writeln!(
        out,
        "  pictures {} x {} pixels, texts of {} tokens, embeddings of {} values",
        info.image_size, info.image_size, info.context_length, info.embedding_dim
    )?;
    for (name, report) in [("image tower", info.vision), ("text tower", info.text)] {
        write!(out, "{name}: ")?;
        if report.products == 0 {
            writeln!(out, "float ({:?})", model.compute().precision())?;
        } else {
            writeln!(
                out,
                "{} int8 products ({} of them convolutions) on kernel {}, {:.1} MB of weights",
                report.products,
                report.convolutions,
                info.kernel,
                report.weight_bytes as f64 / 1e6
            )?;
            writeln!(
                out,
                "  taken in: {} layer norms, {} activations, {} residuals; in float: {} attentions, {} depthwise",
                report.norms,
                report.activations,
                report.residuals,
                report.attentions,
                report.depthwise
            )?;
        }
        for left in &report.left {
            writeln!(out, "  in float: {} {}: {}", left.operator, left.name, left.reason)?;
        }
    }
    out.flush()
}
