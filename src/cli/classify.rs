//! `edgeclip classify`: labels, ranked for each picture.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow};
use clap::{ArgGroup, Args};
use edgeclip::classify::Score;
use edgeclip::embedding::Embedding;
use edgeclip::pipeline::ImageSide;
use edgeclip::prompts::{LabelSet, LabelsError, read_labels};
use serde::Serialize;

use super::pictures::{Picture, collect, work_through};
use super::{Failure, ModelArguments, Outcome, print_failed, print_json};

#[derive(Args)]
#[command(group(ArgGroup::new("words").required(true).args(["labels", "labels_file"])))]
pub(super) struct Arguments {
    /// Pictures, folders of pictures, or - for standard input
    #[arg(required = true, value_name = "IMAGE|DIR|-")]
    pictures: Vec<PathBuf>,
    /// Labels, separated by commas; may be repeated
    #[arg(long, value_name = "LABELS")]
    labels: Vec<String>,
    /// File of labels: one a line, or a labels.toml
    #[arg(long, value_name = "FILE")]
    labels_file: Option<PathBuf>,
    /// Template that each label is put into, such as "a photo of a {}"; may be repeated
    /// [default: the label file's, else the model's]
    #[arg(long = "template", value_name = "TEMPLATE")]
    templates: Vec<String>,
    #[command(flatten)]
    model: ModelArguments,
    /// Show only the N best labels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    top: Option<u16>,
    /// Print one JSON object a line for each picture
    #[arg(long)]
    json: bool,
}

/// One picture's line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    labels: Vec<Score<'a>>,
    model: &'a str,
    label_set: &'a str,
    ms: Milliseconds,
}

/// Wall-clock times.
#[derive(Serialize)]
struct Milliseconds {
    decode: f64,
    preprocess: f64,
    encode: f64,
    /// From the program's start to this answer; on the first line, the time to first answer.
    since_start: f64,
}

pub(super) fn run(arguments: &Arguments, started: Instant) -> Result<Outcome, Failure> {
    let labels = label_set(arguments).map_err(Failure::Usage)?;
    let pictures = collect(&arguments.pictures)?;
    let model = arguments.model.open()?;
    let head = model.text_side()?.head(&labels)?;
    let mut image_side = model.image_side()?;
    let (model, label_set) = (model.bundle().digest(), labels.digest());
    work_through(
        &pictures,
        |picture| embed(&mut image_side, picture, started),
        |path, answer| {
            let (embedding, ms) = match answer {
                Ok(answer) => answer,
                Err(error) if arguments.json => return print_failed(path, &error),
                Err(_) => return Ok(()),
            };
            let mut labels = head.ranked(&embedding);
            labels.truncate(arguments.top.map_or(usize::MAX, usize::from));
            if arguments.json {
                print_json(&Line { path, labels, model, label_set: &label_set, ms })
            } else {
                print_table(path, &labels)
            }
        },
    )
}

/// One picture's embedding, and how long each step took.
fn embed(
    image_side: &mut ImageSide,
    picture: &Picture,
    started: Instant,
) -> anyhow::Result<(Embedding, Milliseconds)> {
    let begun = Instant::now();
    let frame = picture.read()?;
    let decoded = Instant::now();
    let pixels = image_side.preprocessor.run(&frame);
    let preprocessed = Instant::now();
    let embedding = image_side.encoder.encode(pixels)?;
    let encoded = Instant::now();
    let ms = Milliseconds {
        decode: ms(begun, decoded),
        preprocess: ms(decoded, preprocessed),
        encode: ms(preprocessed, encoded),
        since_start: ms(started, encoded),
    };
    Ok((embedding, ms))
}

/// The label set that the arguments ask for.
fn label_set(arguments: &Arguments) -> anyhow::Result<LabelSet> {
    let set = if let Some(file) = &arguments.labels_file {
        read(file)?
    } else {
        let names = arguments.labels.iter().flat_map(|labels| labels.split(','));
        LabelSet::from_names(names).context("--labels")?
    };
    if arguments.templates.is_empty() {
        return Ok(set);
    }
    let templates = arguments.templates.iter().map(String::as_str);
    set.with_templates(templates).context("--template")
}

fn read(file: &Path) -> anyhow::Result<LabelSet> {
    let text = read_labels(file)?;
    let parse: fn(&str) -> Result<LabelSet, LabelsError> =
        if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
            LabelSet::from_toml
        } else {
            LabelSet::from_text
        };
    parse(&text).map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// A block for people: the picture, then its labels with their scores.
fn print_table(path: &str, ranked: &[Score<'_>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{path}")?;
    for Score { label, score, .. } in ranked {
        writeln!(out, "  {:5.1} %  {label}", score * 100.0)?;
    }
    out.flush()
}

/// Milliseconds between two instants, to the microsecond.
fn ms(from: Instant, to: Instant) -> f64 {
    (to - from).as_micros() as f64 / 1000.0
}
