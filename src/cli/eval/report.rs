//! `--report DIR`: what was measured, for other programs to go on with and to check.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use edgeclip::disk;
use edgeclip::embedding::Embedding;
use edgeclip::eval::{Evaluation, confusion_svg, reliability_svg};
use ndarray::Array2;
use ndarray_npy::WriteNpyExt;

use super::data::Data;
use super::row::{Judged, Row};
use super::seen::Seen;
use super::{Answer, table};
use crate::cli::Failure;

/// Labels of a picture in `predictions.csv`, best first.
const PREDICTIONS: usize = 5;

/// A folder that takes one folder for each row, and a summary of all, which is written last.
pub(super) struct Report {
    folder: PathBuf,
    /// Whether it was made for this report.
    is_new: bool,
    rows: usize,
}

impl Report {
    /// Makes the folder, so that a place that can't be written to shows before the work. What another run left in
    /// one would be taken for this run's.
    pub(super) fn create(folder: &Path) -> Result<Self, Failure> {
        let wrong = |error: anyhow::Error| {
            Failure::Usage(error.context(format!("--report {}", folder.display())))
        };
        let is_new = !folder.exists();
        if !is_new && !folder.is_dir() {
            return Err(wrong(anyhow!("is not a folder: name a new one")));
        }
        let listed = fs::create_dir_all(folder).and_then(|()| fs::read_dir(folder));
        if listed.map_err(|error| wrong(error.into()))?.next().is_some() {
            return Err(wrong(anyhow!("is not empty: name a new folder")));
        }
        let report = Self { folder: folder.to_owned(), is_new, rows: 0 };
        check_place(folder).map_err(wrong)?;
        Ok(report)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes what belongs to one row into a folder that is named by the row's number, from 1.
    pub(super) fn add(
        &mut self,
        row: &Row,
        judged: &Judged,
        seen: &Seen,
        data: &Data,
    ) -> anyhow::Result<()> {
        self.rows += 1;
        let folder = self.folder.join(self.rows.to_string());
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let write = |name: &str, bytes: &[u8]| write(&folder.join(name), bytes);
        let evaluation = &judged.evaluation;
        let confusion = evaluation.confusion();
        write("predictions.csv", &predictions(judged, seen, data)?)?;
        write("labels.csv", &labels(row)?)?;
        write("confusion.csv", &confusion_csv(evaluation)?)?;
        write("confusion.svg", confusion_svg(evaluation.labels(), &confusion).as_bytes())?;
        write("reliability.svg", reliability_svg(&evaluation.calibration()).as_bytes())?;
        let pictures = judged.pictures.iter().map(|at| &seen.embeddings[*at]);
        write("embeddings.npy", &npy(&pictures.collect::<Vec<_>>())?)?;
        for (name, rows) in
            [("labels.npy", &judged.directions), ("background.npy", &judged.background)]
        {
            if !rows.is_empty() {
                write(name, &npy(&rows.iter().collect::<Vec<_>>())?)?;
            }
        }
        Ok(())
    }

    /// Writes what is said of all rows.
    pub(super) fn finish(&self, answer: &Answer<'_>) -> anyhow::Result<()> {
        let mut json = serde_json::to_vec(answer)?;
        json.push(b'\n');
        write(&self.folder.join("summary.json"), &json)?;
        write(&self.folder.join("summary.md"), table::markdown(answer).as_bytes())
    }
}

impl Drop for Report {
    /// Leaves no empty folder behind.
    fn drop(&mut self) {
        if self.is_new {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Whether files can be made in a folder.
///
/// # Errors
/// Why not.
pub(super) fn check_place(folder: &Path) -> anyhow::Result<()> {
    tempfile::tempfile_in(folder)
        .map(drop)
        .map_err(|error| anyhow!("nothing can be written into {}: {error}", folder.display()))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    disk::publish(path, bytes).with_context(|| format!("{}: can't be written", path.display()))
}

/// A line for each picture, in the order of `embeddings.npy`.
fn predictions(judged: &Judged, seen: &Seen, data: &Data) -> anyhow::Result<Vec<u8>> {
    let evaluation = &judged.evaluation;
    let places = evaluation.labels().len().min(PREDICTIONS);
    let mut csv = csv::Writer::from_writer(Vec::new());
    let best = (1..=places).flat_map(|place| [format!("label_{place}"), format!("score_{place}")]);
    let titles = ["path", "truth", "place_of_truth"].map(String::from);
    csv.write_record(titles.into_iter().chain(best))?;
    for (picture, (at, truth)) in judged.pictures.iter().zip(evaluation.truth()).enumerate() {
        let path = data.samples[seen.samples[*at]].to_string();
        let place = (evaluation.rank_of_truth(picture) + 1).to_string();
        let scores = evaluation.scores(picture);
        let best = evaluation.ranked(picture).into_iter().take(places);
        let best =
            best.flat_map(|label| [evaluation.labels()[label].clone(), scores[label].to_string()]);
        csv.write_record(
            [path, evaluation.labels()[*truth].clone(), place].into_iter().chain(best),
        )?;
    }
    Ok(csv.into_inner()?)
}

/// A line for each label, in the order of `labels.npy`.
fn labels(row: &Row) -> anyhow::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for label in &row.per_label {
        csv.serialize(label)?;
    }
    Ok(csv.into_inner()?)
}

/// Counts: a line for each true label, a column for each label given.
fn confusion_csv(evaluation: &Evaluation) -> anyhow::Result<Vec<u8>> {
    let confusion = evaluation.confusion();
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(
        ["true label"].into_iter().chain(evaluation.labels().iter().map(String::as_str)),
    )?;
    for (truth, label) in evaluation.labels().iter().enumerate() {
        let counts = confusion.row(truth).iter().map(ToString::to_string);
        csv.write_record([label.clone()].into_iter().chain(counts))?;
    }
    Ok(csv.into_inner()?)
}

/// `[rows, embedding_dim]` f32, as numpy reads it.
fn npy(rows: &[&Embedding]) -> anyhow::Result<Vec<u8>> {
    let dim = rows.first().map_or(0, |row| row.dim());
    let values = rows.iter().flat_map(|row| row.values()).copied().collect();
    let mut bytes = Vec::new();
    Array2::from_shape_vec((rows.len(), dim), values)?.write_npy(&mut bytes)?;
    Ok(bytes)
}
