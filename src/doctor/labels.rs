//! The labels that a run would begin with.

use std::path::Path;

use super::Finding;
use crate::pipeline::{Options, SETS_FOLDER};
use crate::probe::{HEAD_BYTES_MAX, HeadFile};
use crate::prompts::{History, LabelSet, read_labels, read_text};

/// `given` says that the command line brings labels.
pub(super) fn look(options: &Options, given: bool) -> Vec<Finding> {
    if let Some(head) = options.labels.head.as_ref().filter(|_| !given) {
        return vec![of_head(head)];
    }
    let set = options.labels.set.as_ref();
    let file = options.labels.file.iter().filter(|_| set.is_none());
    let files = file.chain(&options.labels.more);
    let mut findings: Vec<Finding> = files.map(|file| of_file(file)).collect();
    findings.extend(set.map(|set| Finding::ok("labels", format!("those of {set}"))));
    if options.labels.file.is_none() && set.is_none() && !given {
        findings.push(kept(options));
    }
    findings
}

fn of_file(file: &Path) -> Finding {
    let parsed = read_labels(file).and_then(|text| {
        LabelSet::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
    });
    match parsed {
        Ok(set) => Finding::ok("labels", format!("{} in {}", set.labels().len(), file.display())),
        Err(error) => {
            let mend = format!("edgeclip labels check {}", file.display());
            Finding::problem("labels", format!("{error:#}"), mend)
        }
    }
}

/// Which model it is for shows when it is loaded: looking at the model is another finding's part.
fn of_head(file: &Path) -> Finding {
    let parsed = read_text(file, HEAD_BYTES_MAX).and_then(|text| {
        HeadFile::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
    });
    match parsed {
        Ok(head) => {
            let (count, model) = (head.names().len(), &head.model.name);
            let seen = format!("{count} classes in {}, trained with {model}", file.display());
            Finding::ok("labels", seen)
        }
        Err(error) => Finding::problem(
            "labels",
            format!("{error:#}"),
            "edgeclip eval DIR --linear-probe --save FILE trains another head",
        ),
    }
}

/// The newest set of the history. It is not opened where there is none, since that makes a folder.
fn kept(options: &Options) -> Finding {
    let folder = options.state_dir.as_ref().map(|state| state.join(SETS_FOLDER));
    let newest = folder.filter(|folder| folder.is_dir()).map(|folder| {
        History::open(&folder, options.labels.keep).and_then(|history| history.newest())
    });
    match newest {
        Some(Ok(Some(set))) => Finding::ok("labels", format!("set {} of the history", set.number)),
        Some(Err(error)) => {
            Finding::problem("labels", error.to_string(), "give labels.file, or another state_dir")
        }
        _ => Finding::problem(
            "labels",
            "there are none",
            "edgeclip run --labels \"cat, dog\", or labels.file in the configuration",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn labels_are_those_of_the_file_the_command_line_or_the_history() {
        let folder = tempfile::tempdir().unwrap();
        let mut options =
            Options { state_dir: Some(folder.path().to_owned()), ..Options::default() };
        assert_eq!(look(&options, false)[0].level, Level::Problem);
        assert!(!folder.path().join(SETS_FOLDER).exists(), "looking leaves nothing behind");
        assert_eq!(look(&options, true), []);
        let history = History::open(&folder.path().join(SETS_FOLDER), 5).unwrap();
        history.push("a cat", "http").unwrap();
        assert!(look(&options, false)[0].seen.contains("of the history"));
        let file = folder.path().join("labels.txt");
        options.labels.file = Some(file.clone());
        assert_eq!(look(&options, false)[0].level, Level::Problem);
        std::fs::write(&file, "a cat\na dog\n").unwrap();
        assert!(look(&options, false)[0].seen.starts_with("2 in "));
        std::fs::write(&file, "[[label]]\nnam = 'x'\n").unwrap();
        let finding = &look(&options, false)[0];
        assert!(finding.mend.as_ref().unwrap().starts_with("edgeclip labels check"), "{finding}");
    }
}
