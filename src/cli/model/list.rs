//! `edgeclip model list`: the models in the folder of models.

use std::io::Write;

use anyhow::{Context, anyhow};
use clap::Args;
use edgeclip::bundle::{Store, StoredModel};
use indicatif::HumanBytes;
use serde::Serialize;

use crate::cli::{Failure, Outcome, print_json, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    path: String,
    bytes: u64,
    #[serde(flatten)]
    model: Model<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Model<'a> {
    Whole {
        source: &'a str,
        licence: &'a str,
        model: &'a str,
        /// None where it is a folder, whose towers are not packed.
        kernel: Option<&'a str>,
    },
    Damaged {
        error: String,
    },
}

/// The folder of models.
pub(super) fn store() -> Result<Store, Failure> {
    let missing = "there is no folder of models: set EDGECLIP_MODELS, as HOME is not set";
    Store::from_env().ok_or_else(|| Failure::Failed(anyhow!(missing)))
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let store = store()?;
    let models = store.list().with_context(|| store.folder().display().to_string())?;
    if models.is_empty() {
        say(format_args!(
            "no models in {}: edgeclip model pull fetches one",
            store.folder().display()
        ));
    }
    for stored in &models {
        let line = line(stored);
        if arguments.json { print_json(&line)? } else { print(&line).context("standard output")? }
    }
    Ok(Outcome::Done)
}

fn line(stored: &StoredModel) -> Line<'_> {
    let model = match &stored.bundle {
        Ok(bundle) => Model::Whole {
            source: &bundle.manifest().source,
            licence: &bundle.manifest().licence,
            model: bundle.digest(),
            kernel: bundle.kernel(),
        },
        Err(error) => Model::Damaged { error: whole(error) },
    };
    Line { name: &stored.name, path: stored.path.display().to_string(), bytes: stored.bytes, model }
}

/// An error with what it comes from.
fn whole(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

fn print(line: &Line<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let size = HumanBytes(line.bytes);
    match &line.model {
        Model::Damaged { error } => writeln!(out, "{}  {size}, damaged: {error}", line.name),
        Model::Whole { source, licence, model, kernel } => {
            let form = kernel
                .map_or("bundle's folder".to_owned(), |kernel| format!("packed for {kernel}"));
            writeln!(out, "{}  {size}, {form}", line.name)?;
            writeln!(out, "  {model}\n  source   {source}\n  licence  {licence}\n  {}", line.path)
        }
    }
}
