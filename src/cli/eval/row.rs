//! One line of the answer: a model, a head, and what they got right.

use edgeclip::classify::ScoreKind;
use edgeclip::embedding::Embedding;
use edgeclip::eval::{Evaluation, Threshold};
use edgeclip::pipeline::Model;
use serde::Serialize;

use super::seen::{Milliseconds, Seen};

/// What one head says of the pictures that a model saw. Any head ends in one of these.
pub(super) struct Judged {
    /// What kind of head it is.
    pub(super) head: &'static str,
    /// Where its labels come from.
    pub(super) labels: String,
    /// Digest of the label set, where there is one.
    pub(super) label_set: String,
    /// Templates that its labels were put into.
    pub(super) templates: Vec<String>,
    /// Places in [`Seen::embeddings`] of the evaluation's pictures.
    pub(super) pictures: Vec<usize>,
    pub(super) evaluation: Evaluation,
    /// The best threshold of each label on the scores that `run` gives, which has background prompts beside the labels.
    pub(super) thresholds: Vec<Option<Threshold>>,
    /// The embeddings of the labels, of a head that compares with such.
    pub(super) directions: Vec<Embedding>,
    /// The background prompts of `run`.
    pub(super) background: Vec<Embedding>,
}

/// What is said of a head. Shares are none where no picture was judged.
#[derive(Serialize)]
pub(super) struct Row {
    /// The model's name.
    pub(super) name: String,
    /// Its digest.
    model: String,
    precision: edgeclip::encoder::Precision,
    pub(super) head: &'static str,
    pub(super) labels: String,
    label_set: String,
    pub(super) templates: Vec<String>,
    /// Pictures and clips that were judged.
    pub(super) pictures: usize,
    /// Pictures of classes without a label.
    pub(super) left_out: usize,
    /// Pictures that could not be read.
    pub(super) failed: usize,
    /// Share of the pictures whose best label is right, 0..1.
    pub(super) top1: Option<f64>,
    /// Share of the pictures with the right label among the best five, 0..1.
    pub(super) top5: Option<f64>,
    /// Mean of the labels' recalls, 0..1.
    pub(super) mean_per_class: Option<f64>,
    /// Expected calibration error, 0..1.
    pub(super) ece: Option<f64>,
    /// Mean times of a picture.
    pub(super) ms: Milliseconds,
    scoring: Scoring,
    pub(super) per_label: Vec<LabelRow>,
    /// Counts: a row for each true label, a column for each label given.
    confusion: Vec<Vec<u32>>,
    /// What was taken for what, most first: true label, given label, share of the true one's pictures.
    #[serde(skip)]
    pub(super) mistakes: Vec<(usize, usize, f64)>,
}

/// From cosines to scores: `logit_scale * cosine + logit_bias`, then softmax or sigmoid.
#[derive(Serialize)]
struct Scoring {
    score: &'static str,
    logit_scale: f32,
    logit_bias: f32,
}

/// What is said of one label. Shares are 0..1, and none where there is nothing to count.
#[derive(Serialize)]
pub(super) struct LabelRow {
    pub(super) label: String,
    pub(super) pictures: u32,
    pub(super) recall: Option<f64>,
    pub(super) precision: Option<f64>,
    /// Best threshold for a labels file, on the scores that `run` gives, and F1 there.
    pub(super) enter: Option<f32>,
    pub(super) f1: Option<f64>,
}

impl Row {
    pub(super) fn new(model: &Model, seen: &Seen, judged: &Judged) -> Self {
        let Judged { evaluation, thresholds, .. } = judged;
        let (manifest, confusion) = (model.bundle().manifest(), evaluation.confusion());
        let score = match manifest.scoring.kind {
            ScoreKind::Softmax => "softmax",
            ScoreKind::Sigmoid => "sigmoid",
        };
        let labels = evaluation.labels().iter().zip(thresholds).enumerate();
        let per_label = labels.map(|(index, (label, threshold))| LabelRow {
            label: label.clone(),
            pictures: confusion.pictures(index),
            recall: confusion.recall(index),
            precision: confusion.precision(index),
            enter: threshold.map(|threshold| threshold.enter),
            f1: threshold.map(|threshold| threshold.f1),
        });
        let count = evaluation.labels().len();
        Self {
            name: manifest.name.clone(),
            model: model.bundle().digest().to_owned(),
            precision: model.compute().precision(),
            head: judged.head,
            labels: judged.labels.clone(),
            label_set: judged.label_set.clone(),
            templates: judged.templates.clone(),
            pictures: judged.pictures.len(),
            left_out: seen.embeddings.len() - judged.pictures.len(),
            failed: seen.failed.len(),
            top1: evaluation.top(1),
            top5: evaluation.top(5),
            mean_per_class: confusion.mean_recall(),
            ece: evaluation.calibration().error(),
            ms: seen.ms,
            scoring: Scoring {
                score,
                logit_scale: manifest.scoring.logit_scale,
                logit_bias: manifest.scoring.logit_bias,
            },
            per_label: per_label.collect(),
            confusion: (0..count).map(|truth| confusion.row(truth).to_vec()).collect(),
            mistakes: confusion.mistakes(),
        }
    }
}
