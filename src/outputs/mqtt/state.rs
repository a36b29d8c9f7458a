//! The retained state: JSON for programs, with what Home Assistant's templates look at.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::capture::SourceState;
use crate::classify::NONE;
use crate::outputs::{LabelStatus, Snapshot, slug};

/// Longest text that Home Assistant takes as a state, in characters.
pub(super) const TEXT_MAX: usize = 255;

/// One region's label.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    label: &'a str,
    score: f32,
    active: bool,
}

#[derive(Serialize)]
struct Payload<'a> {
    v: u32,
    device: &'a str,
    source: &'a str,
    source_state: SourceState,
    /// The best label that is there, of any region; `none` where no label is.
    label: &'a str,
    /// Its score.
    score: f32,
    /// Labels that are there, in any region.
    active: Vec<&'a str>,
    labels: Vec<Entry<'a>>,
    /// Identifiers of the labels that are there: safe in templates, as names are not.
    on: BTreeMap<String, bool>,
    /// The labels of the set as people type them; empty where they are too many for one line.
    label_list: String,
    label_set: &'a str,
    model: &'a str,
    muted: bool,
}

/// The state as a JSON object, without the time. Scores have two digits, so that noise is no change.
pub(super) fn body(snapshot: &Snapshot) -> serde_json::Result<String> {
    let all = || {
        snapshot.regions.iter().flat_map(|region| {
            region.labels.iter().map(move |label| (region.region.as_deref(), label))
        })
    };
    let mut active: Vec<&LabelStatus> =
        all().map(|(_, label)| label).filter(|label| label.active).collect();
    active.sort_by(|a, b| b.score.total_cmp(&a.score));
    let on = active.iter().map(|label| (slug::unique(&label.label), true)).collect();
    let best = active.first();
    let mut names: Vec<&str> = Vec::new();
    for label in &active {
        if !names.contains(&&*label.label) {
            names.push(&label.label);
        }
    }
    let labels = all().map(|(region, label)| Entry {
        region,
        label: &label.label,
        score: two_digits(label.score),
        active: label.active,
    });
    serde_json::to_string(&Payload {
        v: 1,
        device: &snapshot.device,
        source: &snapshot.source,
        source_state: snapshot.source_state,
        label: best.map_or(NONE, |label| &label.label),
        score: two_digits(best.map_or(0.0, |label| label.score)),
        active: names,
        labels: labels.collect(),
        on,
        label_list: label_list(snapshot),
        label_set: &snapshot.label_set,
        model: &snapshot.model,
        muted: snapshot.muted,
    })
}

/// Puts the time of now in front of a [`body`].
pub(super) fn with_time(body: &str) -> String {
    format!("{{\"time\":\"{:.3}\",{}", jiff::Timestamp::now(), &body[1..])
}

/// Names of the set's labels, which every region has.
pub(super) fn names(snapshot: &Snapshot) -> Vec<String> {
    let region = snapshot.regions.first();
    region.map_or(Vec::new(), |region| {
        region.labels.iter().map(|label| label.label.clone()).collect()
    })
}

fn label_list(snapshot: &Snapshot) -> String {
    let list = names(snapshot).join(", ");
    if list.chars().count() > TEXT_MAX { String::new() } else { list }
}

fn two_digits(score: f32) -> f32 {
    (score * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::{body, with_time};
    use crate::outputs::{LabelStatus, RegionStatus, Snapshot};

    fn region(name: &str, labels: &[(&str, f32, bool)]) -> RegionStatus {
        let label = |&(label, score, active): &(&str, f32, bool)| LabelStatus {
            label: label.to_owned(),
            score,
            active,
        };
        RegionStatus {
            region: Some(name.to_owned()),
            labels: labels.iter().map(label).collect(),
            background: 0.1,
        }
    }

    #[test]
    fn the_best_label_of_all_regions_is_the_label() {
        let regions = vec![
            region("left", &[("cat", 0.7123, true), ("big dog", 0.1, false)]),
            region("right", &[("cat", 0.6, true), ("big dog", 0.9, true)]),
        ];
        let snapshot = Snapshot { regions, ..Snapshot::default() };
        let text = with_time(&body(&snapshot).unwrap());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["label"], "big dog");
        assert!(text.contains("\"score\":0.71,"), "{text}");
        assert_eq!(value["active"], serde_json::json!(["big dog", "cat"]));
        assert_eq!(value["on"]["cat"], true);
        assert_eq!(value["label_list"], "cat, big dog");
        assert_eq!(value["source_state"], "opening");
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn no_label_is_none() {
        let snapshot = Snapshot::default();
        let value: serde_json::Value = serde_json::from_str(&body(&snapshot).unwrap()).unwrap();
        assert_eq!(value["label"], "none");
        assert_eq!(value["score"], 0.0);
    }

    #[test]
    fn a_list_that_is_too_long_for_one_line_is_left_out() {
        let many: Vec<_> = (0..100).map(|_| ("a long label", 0.0, false)).collect();
        let snapshot = Snapshot { regions: vec![region("a", &many)], ..Snapshot::default() };
        let value: serde_json::Value = serde_json::from_str(&body(&snapshot).unwrap()).unwrap();
        assert_eq!(value["label_list"], "");
    }
}
