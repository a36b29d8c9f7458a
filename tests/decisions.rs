//! The README's table of decisions, row by row: what it promises is what happens.

use std::collections::HashMap;

use edgeclip::classify::{Decider, Mode, Options, PolicyOptions, Scores, Smoothing, Transition};

const README: &str = include_str!("../README.md");

/// The rule that the README states above its table.
fn decider() -> Decider {
    let options = Options {
        smoothing: Smoothing::Off,
        enter: 0.6,
        leave: 0.4,
        dwell_ms: 500,
        hold_ms: 1000,
        cooldown_ms: 0,
    };
    let policy = options.policy(&PolicyOptions::default()).unwrap();
    let labels = ["cat", "dog"].map(|name| (name.to_owned(), policy));
    Decider::new(Mode::OneOf, options.smoothing, labels)
}

/// The cells of the rows of the table whose head begins with `| ms |`.
fn rows() -> Vec<Vec<&'static str>> {
    let table = README.lines().skip_while(|line| !line.starts_with("| ms |"));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_row_of_the_readme_is_what_happens() {
    let mut decider = decider();
    let rows = rows();
    assert!(rows.len() >= 10, "the README has a table of decisions");
    for row in rows {
        let [at, cat, dog, background, wanted, _why] = row[..] else { panic!("{row:?}") };
        let number = |cell: &str| cell.parse::<f32>().unwrap();
        let sum = number(cat) + number(dog) + number(background);
        assert!((sum - 1.0).abs() < 1e-6, "{row:?}: probabilities");
        let scores =
            Scores { labels: vec![number(cat), number(dog)], rivals: vec![number(background); 2] };
        let changes = decider.decide(&scores, at.parse().unwrap());
        let words = HashMap::from([(Transition::Enter, "enters"), (Transition::Leave, "leaves")]);
        let found: Vec<String> = (changes.iter())
            .map(|change| {
                let name = change.label.map_or("none", |label| ["cat", "dog"][label]);
                format!("{name} {}", words[&change.state])
            })
            .collect();
        assert_eq!(found.join(", "), wanted, "at {at} ms");
    }
}
