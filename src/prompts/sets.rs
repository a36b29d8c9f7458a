//! The label sets inside the binary: the class names and templates that CLIP's authors published for their
//! evaluations (Radford et al. 2021, appendix A), as `models/labels/make.py` writes them.

use super::{LabelSet, LabelsError};

/// A label set inside the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltInSet {
    /// What it is asked for by, such as `cifar10`.
    pub name: &'static str,
    /// Its `labels.toml`.
    pub text: &'static str,
}

macro_rules! built_in {
    ($($name:literal)*) => {
        &[$(BuiltInSet {
            name: $name,
            text: include_str!(concat!("../../models/labels/", $name, ".toml")),
        }),*]
    };
}

/// All of them, by name.
pub const BUILT_IN_SETS: &[BuiltInSet] = built_in! {
    "birdsnap" "caltech101" "cifar10" "cifar100" "clevr-counts" "country211" "dtd" "eurosat" "fer2013"
    "fgvc-aircraft" "flowers102" "food101" "gtsrb" "hateful-memes" "kinetics700" "kitti" "mnist" "oxford-pets"
    "pcam" "resisc45" "sst2" "stanford-cars" "stl10" "sun397" "ucf101" "voc2007"
};

/// Names at least this like the one that was asked for are proposed, by Jaro and Winkler's measure.
const LIKENESS_MIN: f64 = 0.75;

/// Most names that are proposed.
const PROPOSALS_MAX: usize = 3;

impl BuiltInSet {
    /// What the data set is, in a line.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ").trim_end_matches('.')
    }

    /// The set.
    ///
    /// # Errors
    /// None of them has any, which a test shows.
    pub fn parse(&self) -> Result<LabelSet, LabelsError> {
        LabelSet::from_toml(self.text)
    }
}

/// The set of a name.
///
/// # Errors
/// [`LabelsError`], which proposes names that are like it.
pub fn built_in_set(name: &str) -> Result<&'static BuiltInSet, LabelsError> {
    BUILT_IN_SETS.iter().find(|set| set.name == name).ok_or_else(|| {
        let near = near(name);
        let near = match near.as_slice() {
            [] => String::new(),
            names => format!(" did you mean {}?", names.join(" or ")),
        };
        let known = BUILT_IN_SETS.len();
        let reason = format!(
            "there is no built-in label set \"{name}\":{near} `edgeclip labels sets` shows all {known}"
        );
        LabelsError { line: None, reason }
    })
}

/// The names that are most like one, best first.
fn near(name: &str) -> Vec<&'static str> {
    let name = name.to_lowercase();
    let likeness = |set: &BuiltInSet| strsim::jaro_winkler(set.name, &name);
    let mut near: Vec<_> = (BUILT_IN_SETS.iter())
        .map(|set| (likeness(set), set.name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(PROPOSALS_MAX).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_the_names_near_it() {
        let said = |name| built_in_set(name).unwrap_err().to_string();
        assert!(said("CIFAR-10").contains("did you mean cifar10"), "{}", said("CIFAR-10"));
        assert!(said("cars").contains("`edgeclip labels sets` shows all 26"), "{}", said("cars"));
        assert!(!said("zzz").contains("mean"), "{}", said("zzz"));
        assert_eq!(built_in_set("gtsrb").unwrap().name, "gtsrb");
    }

    #[test]
    fn they_stand_in_order_and_say_what_they_are() {
        assert!(BUILT_IN_SETS.is_sorted_by_key(|set| set.name));
        for set in BUILT_IN_SETS {
            assert!(set.about().contains(": ") && !set.about().contains('#'), "{}", set.name);
        }
    }
}
