//! `edgeclip classify`: labels, ranked for each picture.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::anyhow;
use clap::{ArgGroup, Args};
use edgeclip::classify::{Head, Score};
use edgeclip::embedding::Embedding;
use edgeclip::pipeline::ImageSide;
use edgeclip::probe::HeadFile;
use serde::Serialize;

use super::label_choice::LabelArguments;
use super::pictures::{Picture, collect, work_through};
use super::{Failure, ModelArguments, Outcome, print_failed, print_json};

#[derive(Args)]
#[command(group(ArgGroup::new("words").required(true)))]
pub(super) struct Arguments {
    /// Pictures, folders of pictures, or - for standard input
    #[arg(required = true, value_name = "IMAGE|DIR|-")]
    pictures: Vec<PathBuf>,
    #[command(flatten)]
    labels: LabelArguments,
    /// Classifier that `edgeclip eval --linear-probe --save` trained, in place of words
    #[arg(long, value_name = "FILE", group = "words")]
    head: Option<PathBuf>,
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
    let labels = arguments.labels.label_set().map_err(Failure::Usage)?;
    let pictures = collect(&arguments.pictures)?;
    let model = arguments.model.open()?;
    let (head, label_set) = match (&arguments.head, labels) {
        (Some(file), _) => {
            let dim = model.bundle().manifest().embedding_dim;
            let file = HeadFile::read(file, &model.name(), dim)?;
            let digest = file.digest().to_owned();
            (Head::Linear(file.head), digest)
        }
        (None, Some(labels)) => {
            (Head::ZeroShot(model.text_side()?.head(&labels)?), labels.digest())
        }
        (None, None) => return Err(Failure::Usage(anyhow!("there are no labels"))),
    };
    let mut image_side = model.image_side()?;
    let model = model.bundle().digest();
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
