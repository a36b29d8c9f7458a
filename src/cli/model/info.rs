//! `edgeclip model info`: what a model is, and what of it becomes int8.

use anyhow::Context;
use clap::Args;
use edgeclip::bundle::Provenance;
use edgeclip::classify::ScoreKind;
use edgeclip::encoder::Report;
use edgeclip::pipeline::{Model, TextSide};
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
    /// Tokens of a text; none where the model has no text side.
    context_length: Option<usize>,
    score: ScoreKind,
    logit_scale: f32,
    logit_bias: f32,
    provenance: Option<&'a Provenance>,
    kernel: &'a str,
    vision: &'a Report,
    text: Option<&'a Report>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let model = arguments.model.open()?;
    let manifest = model.bundle().manifest();
    let image_side = model.image_side()?;
    let text_side = manifest.text.is_some().then(|| model.text_side()).transpose()?;
    let info = Info {
        name: &manifest.name,
        licence: &manifest.licence,
        source: &manifest.source,
        model: model.bundle().digest(),
        image_size: manifest.preprocess.image_size,
        embedding_dim: manifest.embedding_dim,
        context_length: manifest.text.as_ref().map(|text| text.tokenizer.context_length),
        score: manifest.scoring.kind,
        logit_scale: manifest.scoring.logit_scale,
        logit_bias: manifest.scoring.logit_bias,
        provenance: manifest.provenance.as_ref(),
        kernel: model.compute().kernel().name(),
        vision: image_side.encoder.report(),
        text: text_side.as_ref().map(TextSide::report),
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
    if let Some(provenance) = info.provenance {
        let Provenance { repository, revision, graphs, .. } = provenance;
        writeln!(out, "  made of  {repository} {revision}")?;
        writeln!(out, "  graphs   {graphs}")?;
    }
    writeln!(
        out,
        "  pictures {0} x {0} pixels, texts of {1} tokens, embeddings of {2} values",
        info.image_size,
        info.context_length.map_or("no".into(), |tokens| tokens.to_string()),
        info.embedding_dim
    )?;
    let kind = match info.score {
        ScoreKind::Softmax => "softmax",
        ScoreKind::Sigmoid => "sigmoid",
    };
    writeln!(out, "  scores   {kind} of {} x cosine + {}", info.logit_scale, info.logit_bias)?;
    let towers = [("image tower", Some(info.vision)), ("text tower", info.text)];
    for (name, report) in towers.into_iter().filter_map(|(name, report)| Some((name, report?))) {
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
                "  taken in: {} layer norms, {} activations, {} residuals; in float: {} attentions, {} depthwise, {} of one row",
                report.norms,
                report.activations,
                report.residuals,
                report.attentions,
                report.depthwise,
                report.one_row
            )?;
        }
        if report.four_bit > 0 {
            let count = report.four_bit;
            writeln!(
                out,
                "  {count} products came with weights of 4 bits, now int8 channel by channel"
            )?;
        }
        for left in &report.left {
            writeln!(out, "  in float: {} {}: {}", left.operator, left.name, left.reason)?;
        }
    }
    out.flush()
}
