//! `edgeclip eval`: how often labels are right, on pictures and clips whose class is known.
//!
//! [`data`] collects them, [`labels`] finds what to call them, [`seen`] embeds them once for each model, and each head
//! that judges the embeddings gives one [`Row`] of the answer.

mod data;
mod labels;
mod list;
mod probe;
mod report;
mod row;
mod seen;
mod table;
mod zero_shot;

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use edgeclip::capture::CLIP_FRAMES_MAX;
use edgeclip::pipeline::Model;
use serde::Serialize;

use super::{ComputeArguments, Failure, ModelArguments, Outcome, print_json, say};
use data::{Data, Merged};
use labels::Candidate;
use probe::Probe;
use report::Report;
use row::{Judged, Row};
use seen::{Failed, Seen};
use zero_shot::ZeroShot;

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
    /// Names of folders or lists that are taken for one class.
    merged: &'a [Merged],
    failed: &'a [Failed],
    /// Those of `--train`.
    failed_train: &'a [Failed],
    rows: &'a [Row],
    /// Why rows are missing, where some are.
    error: Option<String>,
}

/// A model, and what says something of its embeddings.
struct Opened<'a> {
    model: Model,
    heads: Vec<ZeroShot<'a>>,
}

/// What was measured so far.
struct Measured<'a> {
    data: &'a Data,
    frames: u16,
    probe: Option<Probe<'a>>,
    report: Option<Report>,
    rows: Vec<Row>,
    failed: Vec<Failed>,
    failed_train: Vec<Failed>,
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
    if let Some(probe) = &probe {
        probe.check(&data).map_err(Failure::Usage)?;
    }
    let candidates = labels::candidates(arguments, &data).map_err(Failure::Usage)?;
    let report = arguments.report.as_deref().map(Report::create).transpose()?;
    let opened = open(arguments, &candidates)?;
    let mut measured = Measured {
        data: &data,
        frames: arguments.frames,
        probe,
        report,
        rows: Vec::new(),
        failed: Vec::new(),
        failed_train: Vec::new(),
    };
    let ended = opened.iter().try_for_each(|opened| measured.add(opened)).and_then(|()| {
        let none = "no picture of a class with a label can be used: see above";
        let is_any = measured.rows.iter().any(|row| row.pictures > 0);
        is_any.then_some(()).ok_or_else(|| anyhow!(none).into())
    });
    if measured.rows.is_empty() {
        return ended.map(|()| Outcome::Done);
    }
    let mut merged = data.merged();
    for other in train.as_ref().map_or_else(Vec::new, Data::merged) {
        if !merged.contains(&other) {
            merged.push(other);
        }
    }
    let why = |failure: &Failure| match failure {
        Failure::Usage(error) | Failure::Failed(error) => format!("{error:#}"),
    };
    let Measured { rows, failed, failed_train, report, .. } = &measured;
    let answer = Answer {
        version: env!("CARGO_PKG_VERSION"),
        data: arguments.data.iter().map(|path| path.display().to_string()).collect(),
        pictures: data.samples.len(),
        classes: data.classes.len(),
        merged: &merged,
        failed,
        failed_train,
        rows,
        error: ended.as_ref().err().map(why),
    };
    let written = report.as_ref().map_or(Ok(()), |report| report.finish(&answer));
    if arguments.json {
        print_json(&answer)?;
    } else {
        table::print(&answer)?;
    }
    ended?;
    written?;
    if let Some(report) = report {
        say(format_args!("the report is in {}", report.folder().display()));
    }
    let is_whole = failed.is_empty() && failed_train.is_empty();
    Ok(if is_whole { Outcome::Done } else { Outcome::SomeFailed })
}

/// All models, with the heads of all labels: what is wrong with one shows before the pictures are looked at.
fn open<'a>(
    arguments: &Arguments,
    candidates: &'a [Candidate],
) -> Result<Vec<Opened<'a>>, Failure> {
    let paths = arguments.models.iter().cloned().map(Some);
    let paths: Vec<Option<PathBuf>> =
        if arguments.models.is_empty() { vec![None] } else { paths.collect() };
    let is_one = paths.len() == 1;
    let open = |path| {
        let model = ModelArguments { model: path, compute: arguments.compute.clone() }.open()?;
        // A model that knows no words can still be probed.
        let has_words = model.bundle().manifest().text.is_some() || !arguments.linear_probe;
        let heads = if has_words {
            zero_shot::heads(&model, candidates, arguments.each_template)?
        } else {
            Vec::new()
        };
        // The only one is loaded next anyway.
        if !is_one {
            model.image_side()?;
        }
        Ok(Opened { model, heads })
    };
    paths.into_iter().map(open).collect()
}

impl Measured<'_> {
    /// The rows of one model.
    fn add(&mut self, opened: &Opened<'_>) -> Result<(), Failure> {
        let Opened { model, heads } = opened;
        let seen = Seen::look(model, &self.data.samples, self.frames)?;
        note(&mut self.failed, &seen.failed);
        if seen.embeddings.is_empty() {
            let (name, count) = (&model.bundle().manifest().name, seen.failed.len());
            let none = anyhow!("{name}: none of the {count} pictures can be used: see above");
            return Err(none.into());
        }
        if self.rows.is_empty() {
            warn_of_copies(&seen, self.data);
        }
        for head in heads {
            self.push(model, &seen, &head.judge(&seen, self.data))?;
        }
        if let Some(probe) = &self.probe {
            let probed = probe.judge(model, &seen, self.data)?;
            note(&mut self.failed_train, &probed.failed);
            self.push(model, &seen, &probed.judged)?;
        }
        Ok(())
    }

    fn push(&mut self, model: &Model, seen: &Seen, judged: &Judged) -> Result<(), Failure> {
        let row = Row::new(model, seen, judged);
        let add = |report: &mut Report| report.add(&row, judged, seen, self.data);
        let written = self.report.as_mut().map_or(Ok(()), add);
        self.rows.push(row);
        Ok(written?)
    }
}

/// Pictures that can't be used, each once however many models say so.
fn note(known: &mut Vec<Failed>, failed: &[Failed]) {
    let before: HashSet<Failed> = known.iter().cloned().collect();
    known.extend(failed.iter().filter(|failed| !before.contains(*failed)).cloned());
}

/// Says how many pictures count more than once.
fn warn_of_copies(seen: &Seen, data: &Data) {
    let (copies, torn) = seen.copies(&data.samples);
    if copies > 0 {
        let torn = if torn > 0 { format!(", {torn} of another class") } else { String::new() };
        say(format_args!("{copies} pictures are the same as others to the model{torn}"));
    }
}
