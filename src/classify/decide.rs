//! Scores of frames to decisions: which labels are there, without flicker.

use serde::{Deserialize, Serialize};

use super::smooth::{Smoothed, Smoothing, WINDOW_FRAMES_MAX};
use super::{Mode, Scores, Transition};

/// Longest dwell, hold or cool-down, and longest half-life, in milliseconds: a day.
pub const LIMIT_MS_MAX: u64 = 86_400_000;

/// How decisions are made where a label doesn't say otherwise.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How scores are smoothed before they are compared with thresholds.
    pub smoothing: Smoothing,
    /// Smoothed score from which a label may enter, 0..1.
    pub enter: f32,
    /// Smoothed score below which it may leave, 0..=enter.
    pub leave: f32,
    /// It enters after it could have entered for this long, in milliseconds of frame time.
    pub dwell_ms: u64,
    /// It leaves this long after the last frame that was below neither `leave` nor the strongest prompt against it.
    pub hold_ms: u64,
    /// After it left, it can't enter for this long.
    pub cooldown_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            smoothing: Smoothing::Exponential { half_life_ms: 300 },
            enter: 0.6,
            leave: 0.4,
            dwell_ms: 500,
            hold_ms: 2000,
            cooldown_ms: 0,
        }
    }
}

/// What one label says otherwise; see [`Options`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PolicyOptions {
    /// See [`Options::enter`].
    pub enter: Option<f32>,
    /// See [`Options::leave`]. Where only `enter` is given and lies below, it is `enter`.
    pub leave: Option<f32>,
    /// See [`Options::dwell_ms`].
    pub dwell_ms: Option<u64>,
    /// See [`Options::hold_ms`].
    pub hold_ms: Option<u64>,
    /// See [`Options::cooldown_ms`].
    pub cooldown_ms: Option<u64>,
}

/// One label's rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    enter: f32,
    leave: f32,
    dwell_ms: u64,
    hold_ms: u64,
    cooldown_ms: u64,
}

impl Options {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// The field, and the way out.
    pub fn check(&self) -> Result<(), String> {
        match self.smoothing {
            Smoothing::Median { frames } if !(1..=WINDOW_FRAMES_MAX).contains(&frames) => {
                return Err(format!("smoothing.frames is {frames}: give 1 to {WINDOW_FRAMES_MAX}"));
            }
            Smoothing::Exponential { half_life_ms: ms } if !(1..=LIMIT_MS_MAX).contains(&ms) => {
                return Err(format!("smoothing.half_life_ms is {ms}: give 1 to {LIMIT_MS_MAX}"));
            }
            _ => {}
        }
        self.policy(&PolicyOptions::default()).map(drop)
    }

    /// The rule of a label that says this of itself.
    ///
    /// # Errors
    /// The field, and the way out.
    pub fn policy(&self, own: &PolicyOptions) -> Result<Policy, String> {
        let enter = own.enter.unwrap_or(self.enter);
        let leave = own.leave.unwrap_or(if own.enter.is_some() {
            self.leave.min(enter)
        } else {
            self.leave
        });
        let policy = Policy {
            enter,
            leave,
            dwell_ms: own.dwell_ms.unwrap_or(self.dwell_ms),
            hold_ms: own.hold_ms.unwrap_or(self.hold_ms),
            cooldown_ms: own.cooldown_ms.unwrap_or(self.cooldown_ms),
        };
        for (field, value) in [("enter", enter), ("leave", leave)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{field} is {value}: give a probability, 0 to 1"));
            }
        }
        if leave > enter {
            return Err(format!("leave is {leave}, above enter, {enter}: it must not be larger"));
        }
        let times = [
            ("dwell_ms", policy.dwell_ms),
            ("hold_ms", policy.hold_ms),
            ("cooldown_ms", policy.cooldown_ms),
        ];
        for (field, ms) in times {
            if ms > LIMIT_MS_MAX {
                return Err(format!("{field} is {ms}: give at most {LIMIT_MS_MAX}, a day"));
            }
        }
        Ok(policy)
    }
}

/// Something came or went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Index of the label; `None`: no label is there, the answer is [`super::NONE`].
    pub label: Option<usize>,
    /// Whether it came or went.
    pub state: Transition,
    /// Its smoothed score; of "none", what is missing to 1 at the best label.
    pub score: f32,
}

/// Decides, frame by frame, which labels are there. A pure function of the frames' scores and times.
#[derive(Clone, Debug)]
pub struct Decider {
    mode: Mode,
    tracks: Vec<Track>,
    /// Whether "none" has entered and not left.
    none: bool,
    changes: Vec<Change>,
}

/// One label, from frame to frame.
#[derive(Clone, Debug)]
struct Track {
    name: String,
    policy: Policy,
    score: Smoothed,
    rival: Smoothed,
    /// Smoothed values of the newest frame.
    now: f32,
    against: f32,
    active: bool,
    /// Since when it could have entered.
    could_since: Option<u64>,
    /// Time of the last frame that was below neither `leave` nor what speaks against it.
    seen: u64,
    /// Time before which it can't enter again.
    cool_until: u64,
}

impl Decider {
    /// A decider of labels with their rules, in the head's order.
    #[must_use]
    pub fn new(
        mode: Mode,
        smoothing: Smoothing,
        labels: impl IntoIterator<Item = (String, Policy)>,
    ) -> Self {
        let tracks: Vec<_> = (labels.into_iter())
            .map(|(name, policy)| Track {
                name,
                policy,
                score: Smoothed::new(smoothing),
                rival: Smoothed::new(smoothing),
                now: 0.0,
                against: 0.0,
                active: false,
                could_since: None,
                seen: 0,
                cool_until: 0,
            })
            .collect();
        let changes = Vec::with_capacity(2 * tracks.len() + 2);
        Self { mode, tracks, none: false, changes }
    }

    /// Takes over what an older decider knows of the labels that both have. The labels that are not here any
    /// more, and were there, have left it: they are returned.
    pub fn succeed(&mut self, old: &Self) -> Vec<Change> {
        for track in &mut self.tracks {
            if let Some(old) = old.tracks.iter().find(|old| old.name == track.name) {
                (track.active, track.seen) = (old.active, old.seen);
                (track.cool_until, track.now) = (old.cool_until, old.now);
            }
        }
        self.none = old.none;
        if self.mode == Mode::OneOf {
            // A set in which each stood by itself may leave several: the first one stays.
            let active = self.tracks.iter_mut().filter(|track| track.active);
            active.skip(1).for_each(|track| track.active = false);
        }
        let gone = old.tracks.iter().enumerate().filter(|(_, track)| {
            track.active && !self.tracks.iter().any(|new| new.active && new.name == track.name)
        });
        gone.map(|(index, track)| track.change(index, Transition::Leave)).collect()
    }

    /// Takes one frame's scores, and says what came and went, leaves first.
    ///
    /// A label can enter while its smoothed score is at least `enter` and at least that of the strongest prompt
    /// against it, and in [`Mode::OneOf`] the highest of all labels. Where one enters there, the other leaves.
    ///
    /// # Panics
    /// Where there are not as many scores as labels.
    pub fn decide(&mut self, scores: &Scores, elapsed_ms: u64) -> &[Change] {
        assert_eq!(scores.labels.len(), self.tracks.len(), "one score for each label");
        self.changes.clear();
        let rows = scores.labels.iter().zip(&scores.rivals);
        for (track, (score, rival)) in self.tracks.iter_mut().zip(rows) {
            track.now = track.score.push(*score, elapsed_ms);
            track.against = track.rival.push(*rival, elapsed_ms);
        }
        let winner = match self.mode {
            Mode::OneOf => self.best(),
            Mode::Each => None,
        };
        let mut entered = None;
        for (index, track) in self.tracks.iter_mut().enumerate() {
            let competes = self.mode == Mode::Each || winner == Some(index);
            if track.active {
                if track.has_left(elapsed_ms) {
                    track.leave(elapsed_ms);
                    self.changes.push(track.change(index, Transition::Leave));
                }
            } else if track.may_enter(competes, elapsed_ms) {
                entered = Some(index);
                if self.mode == Mode::Each {
                    track.enter(elapsed_ms);
                    self.changes.push(track.change(index, Transition::Enter));
                }
            }
        }
        if let (Mode::OneOf, Some(index)) = (self.mode, entered) {
            self.take_over(index, elapsed_ms);
        }
        self.answer_none();
        self.order();
        &self.changes
    }

    /// No frames come any more: nothing is known, everything leaves, "none" too.
    pub fn interrupt(&mut self, elapsed_ms: u64) -> &[Change] {
        self.changes.clear();
        for (index, track) in self.tracks.iter_mut().enumerate() {
            if track.active {
                track.leave(elapsed_ms);
                self.changes.push(track.change(index, Transition::Leave));
            }
            track.forget();
        }
        if std::mem::take(&mut self.none) {
            self.changes.push(self.none_change(Transition::Leave));
        }
        &self.changes
    }

    /// The smoothed score of each label, and whether it is there, in the labels' order.
    #[must_use]
    pub fn states(&self) -> impl ExactSizeIterator<Item = (f32, bool)> {
        self.tracks.iter().map(|track| (track.now, track.active))
    }

    /// The smoothed score of the strongest prompt against any label, 0..1.
    #[must_use]
    pub fn background(&self) -> f32 {
        self.tracks.iter().map(|track| track.against).fold(0.0, f32::max)
    }

    /// The label with the highest smoothed score; the first of equal ones.
    fn best(&self) -> Option<usize> {
        let scores = self.tracks.iter().map(|track| track.now).enumerate();
        scores
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .map(|(index, _)| index)
    }

    /// One label enters, the one before leaves.
    fn take_over(&mut self, index: usize, elapsed_ms: u64) {
        for (other, track) in self.tracks.iter_mut().enumerate() {
            if track.active {
                track.leave(elapsed_ms);
                self.changes.push(track.change(other, Transition::Leave));
            }
        }
        let track = &mut self.tracks[index];
        track.enter(elapsed_ms);
        self.changes.push(track.change(index, Transition::Enter));
    }

    /// "none" is there while no label is.
    fn answer_none(&mut self) {
        let none = !self.tracks.iter().any(|track| track.active);
        if none != self.none {
            self.none = none;
            let state = if none { Transition::Enter } else { Transition::Leave };
            self.changes.push(self.none_change(state));
        }
    }

    fn none_change(&self, state: Transition) -> Change {
        let best = self.tracks.iter().map(|track| track.now).fold(0.0, f32::max);
        Change { label: None, state, score: 1.0 - best }
    }

    /// Leaves first, so that who follows along never sees two labels where there can be one.
    fn order(&mut self) {
        let key = |change: &Change| (change.state == Transition::Enter, change.label);
        self.changes.sort_unstable_by_key(key);
    }
}

impl Track {
    fn change(&self, index: usize, state: Transition) -> Change {
        Change { label: Some(index), state, score: self.now }
    }

    fn has_left(&mut self, elapsed_ms: u64) -> bool {
        if self.now >= self.policy.leave && self.now >= self.against {
            self.seen = elapsed_ms;
            return false;
        }
        elapsed_ms.saturating_sub(self.seen) >= self.policy.hold_ms
    }

    fn may_enter(&mut self, competes: bool, elapsed_ms: u64) -> bool {
        let could = competes
            && self.now >= self.policy.enter
            && self.now >= self.against
            && elapsed_ms >= self.cool_until;
        if !could {
            self.could_since = None;
            return false;
        }
        let since = *self.could_since.get_or_insert(elapsed_ms);
        elapsed_ms.saturating_sub(since) >= self.policy.dwell_ms
    }

    fn enter(&mut self, elapsed_ms: u64) {
        (self.active, self.seen, self.could_since) = (true, elapsed_ms, None);
    }

    /// What was seen so far is no part of what comes.
    fn forget(&mut self) {
        self.could_since = None;
        (self.now, self.against) = (0.0, 0.0);
        self.score.clear();
        self.rival.clear();
    }

    fn leave(&mut self, elapsed_ms: u64) {
        self.active = false;
        self.cool_until = elapsed_ms + self.policy.cooldown_ms;
    }
}

#[cfg(test)]
mod tests;
