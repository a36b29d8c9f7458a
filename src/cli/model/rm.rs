//! `edgeclip model rm`: models of the folder of models, taken away.

use anyhow::{Context, anyhow};
use clap::Args;
use edgeclip::bundle::StoredModel;
use indicatif::HumanBytes;

use super::confirm::confirm;
use super::list::store;
use crate::cli::{Failure, Outcome, say};

#[derive(Args)]
pub(super) struct Arguments {
    /// Names, as `edgeclip model list` shows them
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let store = store()?;
    let models = store.list().with_context(|| store.folder().display().to_string())?;
    let mut meant: Vec<&StoredModel> = Vec::new();
    for name in &arguments.names {
        // By name both the file and the folder of that name, by file name one of them.
        let is_this = |model: &&StoredModel| {
            model.name == *name || model.path.file_name().is_some_and(|file| file == name.as_str())
        };
        let before = meant.len();
        meant.extend(models.iter().filter(is_this));
        if meant.len() == before {
            let folder = store.folder().display();
            return Err(
                anyhow!("there is no model {name} in {folder}: see edgeclip model list").into()
            );
        }
    }
    if let Some(stranger) = meant.iter().find(|model| !model.is_marked()) {
        return Err(anyhow!(
            "{} is no model of edgeclip, neither a folder with a model.toml nor a packed model: it stays; remove it by hand",
            stranger.path.display()
        )
        .into());
    }
    meant.sort_by_key(|model| &model.path);
    meant.dedup_by_key(|model| &model.path);
    let all =
        meant.iter().map(|model| format!("{} ({})", model.path.display(), HumanBytes(model.bytes)));
    let question = format!("This removes {}.", all.collect::<Vec<_>>().join(", "));
    confirm(&question, arguments.yes)?;
    for model in meant {
        store.remove(model).with_context(|| model.path.display().to_string())?;
        say(format_args!("removed {}", model.path.display()));
    }
    Ok(Outcome::Done)
}
