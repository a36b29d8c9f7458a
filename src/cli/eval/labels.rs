//! Which label sets are measured, and which of their labels each class is.

use std::collections::HashMap;

use anyhow::{Context, bail};
use edgeclip::classify::is_background;
use edgeclip::prompts::{BuiltInSet, LabelSet, built_in_set};

use super::Arguments;
use super::data::{Data, key};
use crate::cli::label_choice::read;
use crate::cli::say;

/// Most names of a list in a message.
const SHOWN_MAX: usize = 10;

/// One label set that is measured.
pub(super) struct Candidate {
    /// Where it comes from: a file, the name of a built-in set, or the classes.
    pub(super) source: String,
    pub(super) set: LabelSet,
    /// The label of each class; none where its pictures are left out.
    pub(super) label_of: Vec<Option<usize>>,
}

/// The label sets that the arguments name; where they name none, the classes' own names.
///
/// # Errors
/// The option or the file with its line, or the classes without a label.
pub(super) fn candidates(arguments: &Arguments, data: &Data) -> anyhow::Result<Vec<Candidate>> {
    let mut sets = Vec::new();
    for file in &arguments.labels_files {
        sets.push((file.display().to_string(), read(file)?));
    }
    for name in &arguments.label_sets {
        let set = built_in_set(name).and_then(BuiltInSet::parse).context("--label-set")?;
        sets.push((name.clone(), set));
    }
    if sets.is_empty() {
        let names = data.classes.iter().map(String::as_str).filter(|name| !is_background(name));
        let set = LabelSet::from_names(names);
        let set = set.context("the classes' names as labels (give others with --labels-file)")?;
        sets.push(("the classes' names".to_owned(), set));
    }
    let of = |(source, set): (String, LabelSet)| {
        let set = if arguments.templates.is_empty() {
            set
        } else {
            let templates = arguments.templates.iter().map(String::as_str);
            set.with_templates(templates).context("--template")?
        };
        let label_of = label_of(&source, &set, data, arguments.allow_missing)?;
        Ok(Candidate { source, set, label_of })
    };
    sets.into_iter().map(of).collect()
}

/// The label of each class.
fn label_of(
    source: &str,
    set: &LabelSet,
    data: &Data,
    allow_missing: bool,
) -> anyhow::Result<Vec<Option<usize>>> {
    let mut labels = HashMap::new();
    for (index, label) in set.labels().iter().enumerate() {
        if let Some(other) = labels.insert(key(&label.name), index) {
            let other = &set.labels()[other].name;
            bail!("{source}: \"{other}\" and \"{}\" are one class: remove one", label.name);
        }
    }
    let label_of: Vec<Option<usize>> =
        data.classes.iter().map(|class| labels.get(&key(class)).copied()).collect();
    let classes = data.classes.iter().zip(&label_of);
    let missing = classes.filter(|(_, label)| label.is_none()).map(|(class, _)| class.as_str());
    // No words name what is none of the others.
    let (unnamed, missing): (Vec<&str>, Vec<&str>) =
        missing.partition(|class| is_background(class));
    if !unnamed.is_empty() {
        say(format_args!("{source}: {} is no label: its pictures are left out", shown(&unnamed)));
    }
    if missing.len() + unnamed.len() == data.classes.len() {
        bail!("{source}: no class has a label of its name: {}", shown(&missing));
    }
    if !missing.is_empty() {
        let words = format!("{source}: no label for {}", shown(&missing));
        if !allow_missing {
            bail!(
                "{words}: add labels of these names, or leave their pictures out with --allow-missing"
            );
        }
        say(format_args!("{words}: their pictures are left out"));
    }
    let idle = set.labels().iter().enumerate();
    let idle = idle.filter(|(index, _)| !label_of.contains(&Some(*index)));
    let idle: Vec<&str> = idle.map(|(_, label)| label.name.as_str()).collect();
    if !idle.is_empty() {
        say(format_args!("{source}: no pictures for {}: they can only be wrong", shown(&idle)));
    }
    Ok(label_of)
}

/// Names in quotes; the first ones where they are many.
fn shown(names: &[&str]) -> String {
    let first: Vec<String> =
        names.iter().take(SHOWN_MAX).map(|name| format!("\"{name}\"")).collect();
    let more = names.len().saturating_sub(SHOWN_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    first.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(shown(&["a", "b c"]), "\"a\", \"b c\"");
        assert!(shown(&["x"; 13]).ends_with("\"x\" and 3 more"));
    }
}
