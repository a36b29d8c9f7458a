//! Linear probes: linear classifiers trained on image embeddings, without words, as in Radford et al. 2021,
//! appendix A.3. Examples come in, a [`LinearHead`] goes out, and a file that keeps it.
//! Knows no pictures and no models.

mod file;
mod fit;
mod lbfgs;

use crate::classify::{LinearClass, LinearHead, LinearHeadError, is_background};
use crate::embedding::Embedding;
use crate::prompts::{LabelSet, LabelsError};
use fit::{Table, Weights};

pub use file::{HEAD_BYTES_MAX, HEAD_VERSION, HeadFile, HeadFileError, HeadTextError, ModelName};

/// Most examples: their table takes 8 bytes for each value of an embedding.
pub const EXAMPLES_MAX: usize = 1_000_000;

/// Least examples of a class: one to learn from and one to hold out.
pub const EXAMPLES_MIN: usize = 2;

/// Parts of the examples of which each in turn is held out.
pub const FOLDS: usize = 5;

/// How often [`Examples::train`] fits weights; each fit is one tick of its progress.
pub const FITS: usize = COARSE.len() + 2 * HALVINGS.len() + 1;

/// Strengths of regularisation are powers of ten, counted in eighths of a decade: 10^-6 to 10^6. The search begins with
/// every second decade, and halves the interval around the best down to an eighth, as in appendix A.3.
const COARSE: [i32; 7] = [48, 32, 16, 0, -16, -32, -48];
const HALVINGS: [i32; 4] = [8, 4, 2, 1];

/// Where nothing can be held out to choose by: scikit-learn's default.
const L2_DEFAULT: f64 = 1.0;

/// Embeddings of pictures, and the class of each.
#[derive(Clone, Debug)]
pub struct Examples {
    names: Vec<String>,
    rows: Vec<(Embedding, usize)>,
}

/// Why there is nothing to train.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Less than two classes.
    #[error("a probe tells classes apart: give at least 2, there are {0}")]
    Classes(usize),
    /// A class with too few examples.
    #[error("the class \"{name}\" has {found} examples, a probe needs at least {EXAMPLES_MIN}")]
    TooFew {
        /// Its name.
        name: String,
        /// Its examples.
        found: usize,
    },
    /// Too many examples.
    #[error("{0} examples are more than the limit of {EXAMPLES_MAX}")]
    TooMany(usize),
    /// Embeddings of several models, or an example of a class that is not there.
    #[error("example {example} is of another model, or of no class")]
    Strange {
        /// Its place, from 1.
        example: usize,
    },
    /// A class that can't be a label.
    #[error("a class: {0}")]
    Name(LabelsError),
    /// The weights make no head.
    #[error(transparent)]
    Head(#[from] LinearHeadError),
}

/// How a head was trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Examples that it was trained with, in the end all of them.
    pub examples: usize,
    /// Strength of the L2 regularisation; scikit-learn's `1 / C`.
    pub l2: f64,
    /// Whether the weights are at the minimum, and not just as far as 1000 steps went.
    pub converged: bool,
    /// What chose `l2`; none where no class had two examples.
    pub held_out: Option<HeldOut>,
}

/// Examples that were held out while `l2` was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOut {
    /// Their number.
    pub examples: usize,
    /// The share that was right, 0..1, with the best `l2`: a little flattering, since it chose.
    pub accuracy: f64,
}

/// A head and how it came to be.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The head.
    pub head: LinearHead,
    /// How it came to be.
    pub training: Training,
}

impl Examples {
    /// Examples of classes by their names: pairs of an embedding and a class's place in `names`. Neighbours
    /// should be alike, such as pictures sorted by name: they are held out together.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub fn new(names: Vec<String>, rows: Vec<(Embedding, usize)>) -> Result<Self, ProbeError> {
        if names.len() < 2 {
            return Err(ProbeError::Classes(names.len()));
        }
        if rows.len() > EXAMPLES_MAX {
            return Err(ProbeError::TooMany(rows.len()));
        }
        check_names(&names).map_err(ProbeError::Name)?;
        let dim = rows.first().map_or(0, |(embedding, _)| embedding.dim());
        let strange = |(embedding, class): &(Embedding, usize)| {
            embedding.dim() != dim || *class >= names.len()
        };
        if let Some(at) = rows.iter().position(strange) {
            return Err(ProbeError::Strange { example: at + 1 });
        }
        let of_class = |class| rows.iter().filter(|(_, of)| *of == class).count();
        for (class, name) in names.iter().enumerate() {
            let found = of_class(class);
            if found < EXAMPLES_MIN {
                return Err(ProbeError::TooFew { name: name.clone(), found });
            }
        }
        Ok(Self { names, rows })
    }

    /// The classes' names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The examples: embeddings and classes.
    #[must_use]
    pub fn rows(&self) -> &[(Embedding, usize)] {
        &self.rows
    }

    /// Trains a head. The last fifth of each class is held out while the strength of regularisation is chosen,
    /// by accuracy and, among equals, by cross-entropy; the head is then trained with all examples. `tick` is
    /// called after each of the [`FITS`].
    ///
    /// # Errors
    /// [`ProbeError::Head`].
    pub fn train(&self, tick: &mut dyn FnMut()) -> Result<Trained, ProbeError> {
        self.train_with(&(0..self.rows.len()).collect::<Vec<_>>(), tick)
    }

    /// Each example's probabilities of the classes by a head that was trained without it, and without the other
    /// examples of its fold: [`FOLDS`] heads, each with an `l2` of its own. Ticks [`FOLDS`] x [`FITS`] times.
    ///
    /// # Errors
    /// As [`Examples::train`].
    pub fn cross_validate(&self, tick: &mut dyn FnMut()) -> Result<Vec<Vec<f32>>, ProbeError> {
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let folds = self.folds(&all);
        let mut probabilities = vec![Vec::new(); self.rows.len()];
        for fold in 0..FOLDS {
            let (held, rest): (Vec<usize>, Vec<usize>) =
                all.iter().partition(|example| folds[**example].fold == fold);
            if held.is_empty() {
                (0..FITS).for_each(|_| tick());
                continue;
            }
            let trained = self.train_with(&rest, tick)?;
            for example in held {
                probabilities[example] = trained.head.probabilities(&self.rows[example].0);
            }
        }
        Ok(probabilities)
    }

    /// Trains with some of the examples.
    fn train_with(
        &self,
        examples: &[usize],
        tick: &mut dyn FnMut(),
    ) -> Result<Trained, ProbeError> {
        let folds = self.folds(examples);
        let (mut rest, mut held) = (Vec::new(), Vec::new());
        for (example, Fold { fold, of }) in examples.iter().zip(folds) {
            let to = if of > 1 && fold + 1 == of { &mut held } else { &mut rest };
            to.push(*example);
        }
        let table = self.table(examples);
        let (l2, start, held_out) = if held.is_empty() {
            (1..FITS).for_each(|_| tick());
            (L2_DEFAULT, table.zeros(), None)
        } else {
            let best = choose(&self.table(&rest), &self.table(&held), tick);
            let held_out = HeldOut { examples: held.len(), accuracy: best.accuracy };
            (l2(best.eighths), best.weights, Some(held_out))
        };
        let weights = table.fit(l2, &start);
        tick();
        let (examples, converged) = (examples.len(), weights.converged);
        let training = Training { examples, l2, converged, held_out };
        Ok(Trained { head: self.head(&weights)?, training })
    }

    /// The fold of each of some examples: every class is cut into [`FOLDS`] runs of neighbours, or as many as it
    /// has examples.
    fn folds(&self, examples: &[usize]) -> Vec<Fold> {
        let classes: Vec<usize> = examples.iter().map(|example| self.rows[*example].1).collect();
        let mut sizes = vec![0; self.names.len()];
        for class in &classes {
            sizes[*class] += 1;
        }
        let mut seen = vec![0; self.names.len()];
        let fold = |class: &usize| {
            let (at, size) = (seen[*class], sizes[*class]);
            seen[*class] += 1;
            let of = FOLDS.min(size);
            Fold { fold: at * of / size, of }
        };
        classes.iter().map(fold).collect()
    }

    fn table(&self, examples: &[usize]) -> Table {
        let dim = self.rows.first().map_or(0, |(embedding, _)| embedding.dim());
        let rows = examples.iter().map(|example| &self.rows[*example]);
        Table::new(
            self.names.len(),
            dim,
            rows.map(|(embedding, class)| (embedding.values(), *class)),
        )
    }

    fn head(&self, weights: &Weights) -> Result<LinearHead, LinearHeadError> {
        let rows = weights.values.chunks(weights.values.len() / self.names.len());
        let class = |(name, row): (&String, &[f64])| {
            let row: Vec<f32> = row.iter().map(|value| *value as f32).collect();
            let (bias, weights) =
                row.split_last().map_or((0.0, &[][..]), |(bias, row)| (*bias, row));
            LinearClass { name: name.clone(), weights: weights.into(), bias }
        };
        LinearHead::new(self.names.iter().zip(rows).map(class).collect())
    }
}

/// Where an example falls.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fold {
    fold: usize,
    /// Folds of its class.
    of: usize,
}

/// Classes are labels, and none is there twice; those that stand for background may be called so.
pub(crate) fn check_names(names: &[String]) -> Result<(), LabelsError> {
    let labels = names.iter().map(String::as_str).filter(|name| !is_background(name));
    LabelSet::from_names(labels).map(drop)
}

/// A strength that was tried.
struct Tried {
    /// The strength's exponent, in eighths of a decade.
    eighths: i32,
    weights: Weights,
    /// Of the examples that were held out.
    loss: f64,
    accuracy: f64,
}

impl Tried {
    /// Whether it does better than another: by accuracy, then by cross-entropy, then as the stronger one.
    fn beats(&self, other: &Self) -> bool {
        let order = self.accuracy.total_cmp(&other.accuracy);
        let order = order.then_with(|| other.loss.total_cmp(&self.loss));
        order.then_with(|| self.eighths.cmp(&other.eighths)).is_gt()
    }
}

/// `10 ^ (eighths / 8)`
fn l2(eighths: i32) -> f64 {
    10_f64.powf(f64::from(eighths) / 8.0)
}

/// The strength with which weights fitted to `rest` do best on `held`. Each fit starts where the one of the nearest
/// strength ended.
fn choose(rest: &Table, held: &Table, tick: &mut dyn FnMut()) -> Tried {
    let mut fit = |eighths, start: &Weights| {
        let weights = rest.fit(l2(eighths), start);
        let (loss, accuracy) = held.judge(&weights);
        tick();
        Tried { eighths, weights, loss, accuracy }
    };
    let [strongest, weaker @ ..] = COARSE;
    let mut best = fit(strongest, &rest.zeros());
    let mut last = best.weights.clone();
    for eighths in weaker {
        let next = fit(eighths, &last);
        last = next.weights.clone();
        best = better(best, next);
    }
    for step in HALVINGS {
        for eighths in [best.eighths + step, best.eighths - step] {
            // Beyond an end of the range there is nothing: its end is tried again.
            let next = fit(eighths.clamp(-strongest, strongest), &best.weights);
            best = better(best, next);
        }
    }
    best
}

fn better(best: Tried, next: Tried) -> Tried {
    if next.beats(&best) { next } else { best }
}
