//! `edgeclip embed`: the embeddings themselves, for those who go on with them elsewhere.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use edgeclip::embedding::Embedding;
use edgeclip::pipeline::Model;
use ndarray::Array2;
use ndarray_npy::WriteNpyExt;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::pictures::{collect, work_through};
use super::{Failure, ModelArguments, Outcome, print_failed, print_json};

#[derive(Args)]
pub(super) struct Arguments {
    /// Pictures, folders of pictures, or - for standard input
    #[arg(value_name = "IMAGE|DIR|-", required_unless_present = "texts")]
    pictures: Vec<PathBuf>,
    /// Text to embed as it is, without a template; may be repeated
    #[arg(long = "text", value_name = "TEXT", conflicts_with = "pictures")]
    texts: Vec<String>,
    #[command(flatten)]
    model: ModelArguments,
    /// Write one float32 array for numpy instead of JSON lines, a row for each input; if a picture
    /// fails, no file is written
    #[arg(long, value_name = "FILE")]
    npy: Option<PathBuf>,
    /// Print one JSON object a line for each input, as is done anyway without --npy
    #[arg(long = "json", conflicts_with = "npy")]
    _json: bool,
}

/// One line of output.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    input: Input<'a>,
    embedding: &'a [f32],
    model: &'a str,
}

/// What was embedded: `"path": ".."` or `"text": ".."`.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Input<'a> {
    Path(&'a str),
    Text(&'a str),
}

/// Where embeddings go: to stdout as they come, or into one array.
struct Sink<'a> {
    model: &'a str,
    npy: Option<Npy<'a>>,
}

/// An array that becomes a file whole or not at all: a temporary file beside it, then a rename.
struct Npy<'a> {
    file: &'a Path,
    part: NamedTempFile,
    rows: Vec<Embedding>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    if arguments.texts.is_empty() { pictures(arguments) } else { texts(arguments) }
}

fn texts(arguments: &Arguments) -> Result<Outcome, Failure> {
    let model = arguments.model.open()?;
    let mut sink = Sink::new(&model, arguments)?;
    let embeddings = model.text_side()?.encode_texts(&arguments.texts)?;
    for (text, embedding) in arguments.texts.iter().zip(embeddings) {
        sink.take(Input::Text(text), embedding)?;
    }
    sink.finish(Outcome::Done)
}

fn pictures(arguments: &Arguments) -> Result<Outcome, Failure> {
    let pictures = collect(&arguments.pictures)?;
    let model = arguments.model.open()?;
    let mut image_side = model.image_side()?;
    let mut sink = Sink::new(&model, arguments)?;
    let outcome = work_through(
        &pictures,
        |picture| Ok(image_side.encode_image(&picture.read()?)?),
        |path, answer| match answer {
            Ok(embedding) => sink.take(Input::Path(path), embedding),
            Err(error) => sink.fail(path, &error),
        },
    )?;
    sink.finish(outcome)
}

impl<'a> Sink<'a> {
    fn new(model: &'a Model, arguments: &'a Arguments) -> Result<Self, Failure> {
        let npy = arguments.npy.as_deref().map(Npy::create).transpose()?;
        Ok(Self { model: model.bundle().digest(), npy })
    }

    fn take(&mut self, input: Input<'_>, embedding: Embedding) -> io::Result<()> {
        if let Some(npy) = &mut self.npy {
            npy.rows.push(embedding);
            return Ok(());
        }
        print_json(&Line { input, embedding: embedding.values(), model: self.model })
    }

    fn fail(&self, path: &str, error: &anyhow::Error) -> io::Result<()> {
        if self.npy.is_some() {
            return Ok(());
        }
        print_failed(path, error)
    }

    /// Writes the array. A failed picture would shift the rows behind it, so then there is none.
    fn finish(self, outcome: Outcome) -> Result<Outcome, Failure> {
        match (self.npy, &outcome) {
            (None, _) => {}
            (Some(npy), Outcome::Done) => {
                let name = npy.file.display();
                npy.write().with_context(|| format!("{name}: can't be written"))?;
            }
            (Some(npy), Outcome::SomeFailed) => {
                let name = npy.file.display();
                return Err(anyhow!("{name} is not written: some pictures failed").into());
            }
        }
        Ok(outcome)
    }
}

impl<'a> Npy<'a> {
    /// Makes the temporary file, so that a place that can't be written to shows before the work.
    fn create(file: &'a Path) -> Result<Self, Failure> {
        if file.is_dir() {
            return Err(Failure::Usage(anyhow!("--npy {}: is a folder", file.display())));
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let part = readable_by_all().tempfile_in(folder).map_err(|error| {
            anyhow!("--npy: can't write into {}: {}", folder.display(), error.kind())
        })?;
        Ok(Self { file, part, rows: Vec::new() })
    }

    /// Writes `[n, embedding_dim]` f32 under the file's own name.
    fn write(mut self) -> anyhow::Result<()> {
        let dim = self.rows.first().map_or(0, Embedding::dim);
        let values = self.rows.iter().flat_map(Embedding::values).copied().collect();
        let array = Array2::from_shape_vec((self.rows.len(), dim), values)?;
        let mut writer = io::BufWriter::new(self.part.as_file_mut());
        array.write_npy(&mut writer)?;
        writer.flush()?;
        drop(writer);
        self.part.as_file().sync_all()?;
        self.part.persist(self.file).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Temporary files with the rights that any new file gets, not only the user's own.
fn readable_by_all() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}
