//! `edgeclip eval`: how often labels are right, on pictures and clips whose class is known.
//!
//! [`data`] collects them, [`labels`] finds what to call them, [`seen`] embeds them once for each model, and each head
//! that judges the embeddings gives one [`Row`] of the answer.

mod data;
mod labels;
mod probe;
mod report;
mod row;
mod seen;
mod table;
mod zero_shot;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use edgeclip::capture::CLIP_FRAMES_MAX;
use edgeclip::pipeline::Model;
use serde::Serialize;

use super::{ComputeArguments, Failure, ModelArguments, Outcome, print_json, say};
use data::Data;
use probe::Probe;
use report::Report;
use row::{Judged, Row};
use seen::{Failed, Seen};

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Arguments {
    /// Folder with a folder for each class, or a CSV file with the columns path and label
    #[arg(required = true, value_name = "DIR|CSV")]
    data: Vec<PathBuf>,
    /// File of labels: one a line, or a labels.toml; may be repeated to compare [default: the classes' names]
    #[arg(long = "labels-file", value_name = "FILE")]
    labels_files: Vec<PathBuf>,
    /// Labels of a published evaluation, such as cifar10; may be repeated to compare
    #[arg(long = "label-set", value_name = "NAME")]
    label_sets: Vec<String>,
    /// Template that each label is put into, such as "a photo of a {}"; several are averaged
    /// [default: the label set's, else the model's]
    #[arg(long = "template", value_name = "TEMPLATE")]
    templates: Vec<String>,
    /// Compare the templates: measure with each of them alone as well
    #[arg(long)]
    each_template: bool,
    /// Leave out pictures whose class has no label, instead of refusing
    #[arg(long)]
    allow_missing: bool,
    /// Train a linear classifier on the pictures' embeddings too, and measure it beside the labels
    #[arg(long)]
    linear_probe: bool,
    /// Pictures to train it with, in the same forms [default: the same pictures, each judged by one of
    /// five classifiers that did not see it]
    #[arg(long, value_name = "DIR|CSV", requires = "linear_probe")]
    train: Vec<PathBuf>,
    /// Keep the classifier, for classify --head and run --head
    #[arg(long, value_name = "FILE", requires = "linear_probe")]
    save: Option<PathBuf>,
    /// Frames of a video clip, evenly spaced; their embeddings are averaged
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(CLIP_FRAMES_MAX)))]
    frames: u16,
    /// Folder of a model bundle, or a packed model; may be repeated to compare [default: the built-in model]
    #[arg(long = "model", value_name = "DIR|FILE")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    compute: ComputeArguments,
    /// Write predictions, confusion matrix, thresholds and embeddings into this new folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// All that was measured: `--json`, and `summary.json` of the report.
#[derive(Serialize)]
struct Answer<'a> {
    version: &'static str,
    /// The data, as named on the command line.
    data: Vec<String>,
    /// Pictures and clips, those that failed among them.
    pictures: usize,
    classes: usize,
    failed: &'a [Failed],
    rows: &'a [Row],
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    if arguments.save.is_some() && arguments.models.len() > 1 {
        let why = anyhow!("--save keeps the classifier of one model: give --model once");
        return Err(Failure::Usage(why));
    }
    let data = Data::collect(&arguments.data).map_err(Failure::Usage)?;
    let train = (!arguments.train.is_empty()).then(|| Data::collect(&arguments.train));
    let train = train.transpose().map_err(Failure::Usage)?;
    let probe = arguments.linear_probe.then_some(Probe {
        train: train.as_ref(),
        save: arguments.save.as_deref(),
        frames: arguments.frames,
        allow_missing: arguments.allow_missing,
    });
    let candidates = labels::candidates(arguments, &data).map_err(Failure::Usage)?;
    let paths = arguments.models.iter().cloned().map(Some);
    let paths: Vec<Option<PathBuf>> =
        if arguments.models.is_empty() { vec![None] } else { paths.collect() };
    let mut report = arguments.report.as_deref().map(Report::create).transpose()?;
    let (mut rows, mut failed): (Vec<Row>, Vec<Failed>) = (Vec::new(), Vec::new());
    for path in paths {
        let model = ModelArguments { model: path, compute: arguments.compute.clone() }.open()?;
        // A model that knows no words can still be probed.
        let has_words = model.bundle().manifest().text.is_some() || probe.is_none();
        // Before the pictures: what is wrong with a label shows at once.
        let heads = if has_words {
            zero_shot::heads(&model, &candidates, arguments.each_template)?
        } else {
            Vec::new()
        };
        let seen = look(&model, &data, arguments.frames)?;
        let mut answers: Vec<Judged> = heads.iter().map(|head| head.judge(&seen, &data)).collect();
        let mut new = seen.failed.clone();
        if let Some(probe) = &probe {
            let probed = probe.judge(&model, &seen, &data)?;
            answers.push(probed.judged);
            new.extend(probed.failed);
        }
        for judged in &answers {
            let row = Row::new(&model, &seen, judged);
            if let Some(report) = &mut report {
                report.add(&row, judged, &seen, &data)?;
            }
            rows.push(row);
        }
        new.retain(|new| !failed.contains(new));
        failed.append(&mut new);
    }
    let answer = Answer {
        version: env!("CARGO_PKG_VERSION"),
        data: arguments.data.iter().map(|path| path.display().to_string()).collect(),
        pictures: data.samples.len(),
        classes: data.classes.len(),
        failed: &failed,
        rows: &rows,
    };
    if let Some(report) = &report {
        report.finish(&answer)?;
        say(format_args!("the report is in {}", report.folder().display()));
    }
    if arguments.json {
        print_json(&answer)?;
    } else {
        table::print(&answer)?;
    }
    Ok(if failed.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

/// The embeddings of all pictures by one model.
fn look(model: &Model, data: &Data, frames: u16) -> Result<Seen, Failure> {
    let seen = Seen::look(model, &data.samples, frames)?;
    if seen.embeddings.is_empty() {
        let count = seen.failed.len();
        return Err(anyhow!("none of the {count} pictures can be used: see above").into());
    }
    Ok(seen)
}
