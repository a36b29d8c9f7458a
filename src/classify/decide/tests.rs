//! Decisions, row by row. `tests/decisions.rs` holds the README's table to the same code.

use super::*;

fn decider(mode: Mode, options: &Options, labels: &[(&str, PolicyOptions)]) -> Decider {
    let labels =
        labels.iter().map(|(name, own)| ((*name).to_owned(), options.policy(own).unwrap()));
    Decider::new(mode, options.smoothing, labels.collect::<Vec<_>>())
}

fn plain() -> Options {
    Options { smoothing: Smoothing::Off, dwell_ms: 0, hold_ms: 0, ..Options::default() }
}

/// Names of the labels of the tests, and what `changes` says of them: `+cat`, `-none`.
fn words(changes: &[Change]) -> String {
    let word = |change: &Change| {
        let sign = if change.state == Transition::Enter { '+' } else { '-' };
        format!("{sign}{}", change.label.map_or("none", |label| ["cat", "dog"][label]))
    };
    changes.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Rows: time, scores of cat and dog, of the strongest prompt against them, what changes.
fn check(decider: &mut Decider, rows: &[(u64, [f32; 2], f32, &str)]) {
    for (at, labels, rival, wanted) in rows {
        let scores = Scores { labels: labels.to_vec(), rivals: vec![*rival; 2] };
        let found = words(decider.decide(&scores, *at));
        assert_eq!(found, *wanted, "at {at} ms");
    }
}

const TWO: [(&str, PolicyOptions); 2] = {
    let none = PolicyOptions {
        enter: None,
        leave: None,
        dwell_ms: None,
        hold_ms: None,
        cooldown_ms: None,
    };
    [("cat", none), ("dog", none)]
};

#[test]
fn one_of_has_one_answer_and_none_when_nothing_fits() {
    check(
        &mut decider(Mode::OneOf, &plain(), &TWO),
        &[
            (0, [0.3, 0.3], 0.4, "+none"),
            (1, [0.7, 0.2], 0.1, "-none +cat"),
            (2, [0.5, 0.4], 0.1, ""),
            (3, [0.2, 0.7], 0.1, "-cat +dog"),
            (4, [0.1, 0.2], 0.7, "-dog +none"),
        ],
    );
}

#[test]
fn the_background_wins_over_a_label_that_passes_its_threshold() {
    let low = PolicyOptions { enter: Some(0.3), ..PolicyOptions::default() };
    check(
        &mut decider(Mode::OneOf, &plain(), &[("cat", low), ("dog", low)]),
        &[(0, [0.4, 0.1], 0.5, "+none"), (1, [0.4, 0.1], 0.4, "-none +cat")],
    );
}

#[test]
fn a_label_leaves_when_the_background_wins_however_low_its_threshold() {
    let low = PolicyOptions { enter: Some(0.3), leave: Some(0.1), ..PolicyOptions::default() };
    check(
        &mut decider(Mode::OneOf, &plain(), &[("cat", low), ("dog", low)]),
        &[
            (0, [0.5, 0.2], 0.3, "+cat"),
            (1, [0.4, 0.2], 0.4, ""),
            (2, [0.3, 0.2], 0.5, "-cat +none"),
            (3, [0.3, 0.35], 0.3, "-none +dog"),
            (4, [0.36, 0.34], 0.3, "-dog +cat"),
        ],
    );
}

#[test]
fn after_a_pause_old_frames_do_not_count() {
    let options = Options { smoothing: Smoothing::Median { frames: 3 }, ..plain() };
    let mut decider = decider(Mode::OneOf, &options, &TWO);
    check(&mut decider, &[(0, [0.9, 0.0], 0.0, "+cat"), (1, [0.9, 0.0], 0.0, "")]);
    assert_eq!(words(decider.interrupt(2)), "-cat");
    check(&mut decider, &[(9, [0.1, 0.0], 0.9, "+none")]);
}

#[test]
fn each_label_stands_by_itself() {
    check(
        &mut decider(Mode::Each, &plain(), &TWO),
        &[
            (0, [0.9, 0.8], 0.1, "+cat +dog"),
            (1, [0.9, 0.1], 0.1, "-dog"),
            (2, [0.1, 0.1], 0.9, "-cat +none"),
        ],
    );
}

#[test]
fn dwell_hold_and_cool_down_count_frame_time() {
    let options = Options { dwell_ms: 100, hold_ms: 200, cooldown_ms: 1000, ..plain() };
    check(
        &mut decider(Mode::OneOf, &options, &TWO),
        &[
            (0, [0.9, 0.0], 0.0, "+none"),
            (90, [0.9, 0.0], 0.0, ""),
            (95, [0.5, 0.0], 0.0, ""),
            (100, [0.9, 0.0], 0.0, ""),
            (200, [0.9, 0.0], 0.0, "-none +cat"),
            (300, [0.4, 0.0], 0.0, ""),
            (499, [0.1, 0.0], 0.0, ""),
            (500, [0.1, 0.0], 0.0, "-cat +none"),
            (600, [0.9, 0.0], 0.0, ""),
            (1499, [0.9, 0.0], 0.0, ""),
            (1500, [0.9, 0.0], 0.0, ""),
            (1600, [0.9, 0.0], 0.0, "-none +cat"),
        ],
    );
}

#[test]
fn a_new_set_keeps_what_is_known_of_labels_that_stay() {
    let mut old = decider(Mode::Each, &plain(), &TWO);
    check(&mut old, &[(0, [0.9, 0.9], 0.0, "+cat +dog")]);
    let mut new = decider(Mode::Each, &plain(), &TWO[..1]);
    assert_eq!(words(&new.succeed(&old)), "-dog");
    let scores = Scores { labels: vec![0.9], rivals: vec![0.0] };
    assert_eq!(new.decide(&scores, 1), [], "the cat is still there");
    let mut single = decider(Mode::OneOf, &plain(), &TWO);
    assert_eq!(words(&single.succeed(&old)), "-dog", "one of them stays");
}

#[test]
fn without_frames_nothing_is_known() {
    let mut decider = decider(Mode::OneOf, &plain(), &TWO);
    check(&mut decider, &[(0, [0.9, 0.0], 0.0, "+cat")]);
    assert_eq!(words(decider.interrupt(1)), "-cat");
    assert_eq!(words(decider.interrupt(2)), "");
    check(&mut decider, &[(3, [0.1, 0.0], 0.0, "+none")]);
    assert_eq!(words(decider.interrupt(4)), "-none");
}

#[test]
fn rules_that_make_no_sense_are_refused_by_name() {
    let own = |enter, leave| PolicyOptions { enter, leave, ..PolicyOptions::default() };
    let table = [
        (own(Some(1.5), None), "enter is 1.5"),
        (own(Some(0.5), Some(0.6)), "leave is 0.6, above enter"),
        (own(None, Some(f32::NAN)), "leave is NaN"),
        (PolicyOptions { hold_ms: Some(u64::MAX), ..own(None, None) }, "hold_ms is"),
    ];
    for (own, wanted) in table {
        let error = plain().policy(&own).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
    assert!(plain().policy(&own(Some(0.2), None)).is_ok(), "leave follows a lower enter");
    let options = Options { smoothing: Smoothing::Median { frames: 33 }, ..plain() };
    assert!(options.check().unwrap_err().contains("smoothing.frames"));
}
