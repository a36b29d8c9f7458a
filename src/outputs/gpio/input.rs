//! One input pin as a state machine: levels in, presses out. Holds no line and no clock.

/// A contact that bounces: a level counts once it has lasted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debounce {
    /// How long a level must last, in milliseconds.
    lasts_ms: u64,
    /// The level that counts; none before the first look, so that a contact which is closed at the start is no press.
    settled: Option<bool>,
    /// A level other than that, and since when.
    other: Option<(bool, u64)>,
}

impl Debounce {
    pub(super) fn new(lasts_ms: u64) -> Self {
        Self { lasts_ms, settled: None, other: None }
    }

    /// Whether the contact was pressed just now, given that it is closed or open at the moment.
    pub(super) fn look(&mut self, closed: bool, now_ms: u64) -> bool {
        let Some(settled) = self.settled else {
            self.settled = Some(closed);
            return false;
        };
        if closed == settled {
            self.other = None;
            return false;
        }
        let since_ms = match self.other {
            Some((other, since_ms)) if other == closed => since_ms,
            _ => now_ms,
        };
        if now_ms.saturating_sub(since_ms) < self.lasts_ms {
            self.other = Some((closed, since_ms));
            return false;
        }
        self.settled = Some(closed);
        self.other = None;
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::Debounce;

    /// Times in milliseconds at which the contact is pressed, of looks at (time, closed).
    fn presses(looks: &[(u64, bool)]) -> Vec<u64> {
        let mut debounce = Debounce::new(30);
        looks.iter().filter(|(ms, closed)| debounce.look(*closed, *ms)).map(|(ms, _)| *ms).collect()
    }

    #[test]
    fn a_press_counts_once_and_when_it_has_lasted() {
        let looks = [(0, false), (10, true), (20, true), (40, true), (60, true), (900, true)];
        assert_eq!(presses(&looks), [40]);
    }

    #[test]
    fn bounces_and_spikes_are_no_presses() {
        let spike = [(0, false), (10, true), (30, false), (50, true), (70, false), (500, false)];
        assert!(presses(&spike).is_empty());
        let bouncing_open =
            [(0, false), (10, true), (40, true), (50, false), (60, true), (200, true)];
        assert_eq!(presses(&bouncing_open), [40]);
    }

    #[test]
    fn a_second_press_needs_a_release() {
        let looks =
            [(0, false), (10, true), (40, true), (50, false), (80, false), (90, true), (120, true)];
        assert_eq!(presses(&looks), [40, 120]);
    }

    #[test]
    fn a_contact_that_is_closed_at_the_start_is_no_press() {
        assert!(presses(&[(0, true), (100, true), (200, true)]).is_empty());
    }
}
