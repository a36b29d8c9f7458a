//! One output pin as a state machine: what is asked of it in, on or off out. Time comes in as
//! milliseconds of any clock that never jumps; nothing here touches a line.

use serde::Deserialize;

/// Where a pin goes when nobody can say where it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailSafe {
    /// Off.
    #[default]
    Off,
    /// On.
    On,
    /// Where it is; off at the start.
    Keep,
}

/// What goes for all pins at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Labels decide.
    Live,
    /// Everything is off: muted, or quiet hours.
    Silenced,
    /// Nobody knows what is there: no frames, an error, start or end.
    Safe,
}

/// Rules of one pin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    pub(super) pulse_ms: u64,
    pub(super) on_min_ms: u64,
    pub(super) off_min_ms: u64,
    pub(super) fail_safe: FailSafe,
}

/// One pin.
#[derive(Clone, Debug, Default)]
pub(super) struct Pin {
    rules: Rules,
    on: bool,
    /// When it last went on or off.
    since_ms: Option<u64>,
    /// Whether a label that it follows is there.
    followed: bool,
    latched: bool,
    pulse: Pulse,
}

/// What became of a pulse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pulse {
    #[default]
    None,
    /// It has not begun.
    Asked,
    /// It runs until then.
    UntilMs(u64),
}

impl Pin {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Says whether a label that it follows is there.
    pub(super) fn follow(&mut self, there: bool) {
        self.followed = there;
    }

    /// Asks for a pulse. One that runs is made to begin anew.
    pub(super) fn pulse(&mut self) {
        self.pulse = Pulse::Asked;
    }

    pub(super) fn latch(&mut self) {
        self.latched = true;
    }

    pub(super) fn release(&mut self) {
        self.latched = false;
    }

    /// Whether it is to be on now. Only [`Mode::Live`] heeds the minimum times: what must be safe or
    /// silent must be so at once.
    pub(super) fn step(&mut self, mode: Mode, now_ms: u64) -> bool {
        let wanted = match (mode, self.rules.fail_safe) {
            (Mode::Live, _) => self.live(now_ms),
            (Mode::Safe, FailSafe::On) => true,
            (Mode::Safe, FailSafe::Keep) => self.on,
            (Mode::Silenced, _) | (Mode::Safe, FailSafe::Off) => false,
        };
        if mode != Mode::Live {
            self.pulse = Pulse::None;
        }
        if wanted != self.on {
            self.on = wanted;
            self.since_ms = Some(now_ms);
        }
        self.on
    }

    fn live(&mut self, now_ms: u64) -> bool {
        let held = self.held_until_ms().is_some_and(|until_ms| now_ms < until_ms);
        // While it must stay off, a pulse waits: it has its whole time later.
        if self.pulse == Pulse::Asked && (self.on || !held) {
            self.pulse = Pulse::UntilMs(now_ms + self.rules.pulse_ms);
        }
        if held {
            return self.on;
        }
        if matches!(self.pulse, Pulse::UntilMs(until_ms) if until_ms <= now_ms) {
            self.pulse = Pulse::None;
        }
        self.followed || self.latched || self.pulse != Pulse::None
    }

    /// Until when it must stay as it is.
    fn held_until_ms(&self) -> Option<u64> {
        let min_ms = if self.on { self.rules.on_min_ms } else { self.rules.off_min_ms };
        self.since_ms.map(|since_ms| since_ms + min_ms)
    }

    /// The next moment after `now_ms` at which [`step`](Self::step) may say otherwise with nothing new asked.
    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        let pulse_ms = match self.pulse {
            Pulse::UntilMs(until_ms) => Some(until_ms),
            Pulse::None | Pulse::Asked => None,
        };
        let moments = [self.held_until_ms(), pulse_ms];
        moments.into_iter().flatten().filter(|moment_ms| *moment_ms > now_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::{FailSafe, Mode, Pin, Rules};

    const LIVE: Mode = Mode::Live;
    const SAFE: Mode = Mode::Safe;
    const MUTE: Mode = Mode::Silenced;

    /// What is asked, then the mode, the time, and what the pin must be.
    type Row = (fn(&mut Pin), Mode, u64, bool);

    fn check(what: &str, rules: Rules, rows: &[Row]) {
        let mut pin = Pin::new(rules);
        for (ask, mode, now_ms, wanted) in rows {
            ask(&mut pin);
            assert_eq!(pin.step(*mode, *now_ms), *wanted, "{what}: at {now_ms} ms");
        }
    }

    const NOTHING: fn(&mut Pin) = |_| {};
    const COMES: fn(&mut Pin) = |pin| pin.follow(true);
    const GOES: fn(&mut Pin) = |pin| pin.follow(false);
    const PULSE: fn(&mut Pin) = Pin::pulse;
    const LATCH: fn(&mut Pin) = Pin::latch;
    const RELEASE: fn(&mut Pin) = Pin::release;

    #[test]
    fn follow() {
        let rows = [(NOTHING, LIVE, 0, false), (COMES, LIVE, 5, true), (GOES, LIVE, 6, false)];
        check("follow", Rules::default(), &rows);
    }

    #[test]
    fn pulse() {
        let rules = Rules { pulse_ms: 100, ..Rules::default() };
        check(
            "one pulse",
            rules,
            &[(PULSE, LIVE, 0, true), (NOTHING, LIVE, 99, true), (NOTHING, LIVE, 100, false)],
        );
        check(
            "a second one begins anew",
            rules,
            &[
                (PULSE, LIVE, 0, true),
                (PULSE, LIVE, 60, true),
                (NOTHING, LIVE, 159, true),
                (NOTHING, LIVE, 160, false),
            ],
        );
        check(
            "on top of a label that is followed",
            rules,
            &[
                (COMES, LIVE, 0, true),
                (PULSE, LIVE, 10, true),
                (GOES, LIVE, 20, true),
                (NOTHING, LIVE, 110, false),
            ],
        );
    }

    #[test]
    fn latch() {
        check(
            "latch",
            Rules::default(),
            &[(LATCH, LIVE, 0, true), (GOES, LIVE, 900_000, true), (RELEASE, LIVE, 900_001, false)],
        );
    }

    #[test]
    fn minimum_times() {
        let rules = Rules { on_min_ms: 50, off_min_ms: 30, pulse_ms: 10, ..Rules::default() };
        check(
            "on and off last",
            rules,
            &[
                (COMES, LIVE, 0, true),
                (GOES, LIVE, 10, true),
                (NOTHING, LIVE, 49, true),
                (NOTHING, LIVE, 50, false),
                (COMES, LIVE, 60, false),
                (NOTHING, LIVE, 79, false),
                (NOTHING, LIVE, 80, true),
            ],
        );
        check(
            "what is over before it may begin is not made up for",
            rules,
            &[
                (COMES, LIVE, 0, true),
                (GOES, LIVE, 50, false),
                (COMES, LIVE, 60, false),
                (GOES, LIVE, 70, false),
                (NOTHING, LIVE, 80, false),
            ],
        );
        check(
            "a pulse is made up for, and is never shorter than on_min_ms",
            rules,
            &[
                (PULSE, LIVE, 0, true),
                (NOTHING, LIVE, 49, true),
                (NOTHING, LIVE, 50, false),
                (PULSE, LIVE, 60, false),
                (NOTHING, LIVE, 80, true),
                (NOTHING, LIVE, 129, true),
                (NOTHING, LIVE, 130, false),
            ],
        );
    }

    #[test]
    fn fail_safe_is_at_once_and_ends_pulses() {
        let rules = Rules { on_min_ms: 500, off_min_ms: 500, pulse_ms: 900, ..Rules::default() };
        check(
            "off",
            rules,
            &[(PULSE, LIVE, 0, true), (NOTHING, SAFE, 1, false), (NOTHING, LIVE, 600, false)],
        );
        let on = Rules { fail_safe: FailSafe::On, ..rules };
        check(
            "on",
            on,
            &[(NOTHING, SAFE, 0, true), (NOTHING, LIVE, 400, true), (NOTHING, LIVE, 500, false)],
        );
        let keep = Rules { fail_safe: FailSafe::Keep, ..rules };
        check(
            "keep",
            keep,
            &[
                (NOTHING, SAFE, 0, false),
                (COMES, LIVE, 1, true),
                (GOES, SAFE, 2, true),
                (NOTHING, LIVE, 501, false),
            ],
        );
    }

    #[test]
    fn mute_is_off_whatever_the_fail_safe_level() {
        let on = Rules { fail_safe: FailSafe::On, on_min_ms: 500, ..Rules::default() };
        check(
            "muted",
            on,
            &[
                (COMES, LIVE, 0, true),
                (NOTHING, MUTE, 1, false),
                (NOTHING, MUTE, 900, false),
                (NOTHING, LIVE, 901, true),
            ],
        );
        let pulse = Rules { pulse_ms: 1000, ..Rules::default() };
        check(
            "a pulse does not outlive a mute",
            pulse,
            &[(PULSE, LIVE, 0, true), (NOTHING, MUTE, 1, false), (NOTHING, LIVE, 2, false)],
        );
    }

    #[test]
    fn due_is_when_something_ends() {
        let mut pin = Pin::new(Rules { pulse_ms: 100, on_min_ms: 30, ..Rules::default() });
        assert_eq!(pin.due_ms(0), None);
        pin.pulse();
        pin.step(LIVE, 0);
        assert_eq!(pin.due_ms(0), Some(30));
        assert_eq!(pin.due_ms(30), Some(100));
        pin.step(LIVE, 100);
        assert_eq!(pin.due_ms(100), None);
    }
}
