//! Which labels a command is told to use: words, a file, or one of the sets inside the binary.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use edgeclip::prompts::{BuiltInSet, LabelSet, LabelsError, built_in_set, read_labels};

/// One way to give labels excludes the others: they are the group `words`, which a command may require, or
/// add a way of its own to.
#[derive(Args)]
pub(super) struct LabelArguments {
    /// Labels, separated by commas; may be repeated
    #[arg(long, value_name = "LABELS", group = "words")]
    labels: Vec<String>,
    /// File of labels: one a line, or a labels.toml
    #[arg(long, value_name = "FILE", group = "words")]
    labels_file: Option<PathBuf>,
    /// Labels of a published evaluation, such as cifar10; `edgeclip labels sets` shows them
    #[arg(long, value_name = "NAME", group = "words")]
    label_set: Option<String>,
    /// Template that each label is put into, such as "a photo of a {}"; may be repeated
    /// [default: the label set's, else the model's]
    #[arg(long = "template", value_name = "TEMPLATE")]
    templates: Vec<String>,
}

impl LabelArguments {
    /// The labels that the arguments name; none where they name none.
    ///
    /// # Errors
    /// The option or the file, with the line, and the way out.
    pub(super) fn label_set(&self) -> anyhow::Result<Option<LabelSet>> {
        let set = if let Some(file) = &self.labels_file {
            read(file)?
        } else if let Some(name) = &self.label_set {
            built_in_set(name).and_then(BuiltInSet::parse).context("--label-set")?
        } else if self.labels.is_empty() {
            return Ok(None);
        } else {
            let names = self.labels.iter().flat_map(|labels| labels.split(','));
            LabelSet::from_names(names).context("--labels")?
        };
        if self.templates.is_empty() {
            return Ok(Some(set));
        }
        let templates = self.templates.iter().map(String::as_str);
        set.with_templates(templates).context("--template").map(Some)
    }
}

/// A labels file: a `labels.toml` by its name, else one label a line.
pub(super) fn read(file: &Path) -> anyhow::Result<LabelSet> {
    let text = read_labels(file)?;
    let parse: fn(&str) -> Result<LabelSet, LabelsError> =
        if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
            LabelSet::from_toml
        } else {
            LabelSet::from_text
        };
    parse(&text).map_err(|error| anyhow!("{}: {error}", file.display()))
}
