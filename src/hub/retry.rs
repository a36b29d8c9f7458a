//! Trying again: what is worth it, how often, and how long to wait.

use std::time::Duration;

use super::{Event, HubError, Watch};

/// Longest pause that we choose ourselves.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest pause that a server may ask for.
const ASKED_WAIT_MAX: Duration = Duration::from_mins(2);

/// How long a client puts up with a bad line.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attempts in a row that get nothing new.
    pub tries: u32,
    /// The first pause; each further one is twice as long, up to 30 s.
    pub first_wait: Duration,
    /// A connection over which nothing comes for so long is given up.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 5, first_wait: Duration::from_secs(1), stall: Duration::from_secs(30) }
    }
}

/// Why an attempt ended.
pub(super) enum Stop {
    /// Another one would end the same.
    Final(HubError),
    /// Another one may go better, after what the server asks for.
    Again(HubError, Option<Duration>),
}

impl From<HubError> for Stop {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Counts attempts.
pub(super) struct Tries {
    patience: Patience,
    made: u32,
}

impl Tries {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, made: 0 }
    }

    /// Something new came: the count begins anew.
    pub(super) fn forget(&mut self) {
        self.made = 0;
    }

    /// Waits for the next attempt.
    ///
    /// # Errors
    /// The attempt's error, where there is to be no other.
    pub(super) fn pause(
        &mut self,
        stop: Stop,
        what: &str,
        watch: &mut Watch<'_>,
    ) -> Result<(), HubError> {
        let (error, asked) = match stop {
            Stop::Final(error) => return Err(error),
            Stop::Again(error, asked) => (error, asked),
        };
        self.made += 1;
        if self.made >= self.patience.tries.max(1) {
            return Err(error);
        }
        let wait = match asked {
            Some(asked) if asked > ASKED_WAIT_MAX => return Err(busy(error, asked)),
            Some(asked) => asked,
            None => jittered(
                (self.patience.first_wait * 2_u32.pow((self.made - 1).min(16))).min(WAIT_MAX),
            ),
        };
        watch(Event::Retry { what, reason: &error.to_string(), wait });
        std::thread::sleep(wait);
        Ok(())
    }

    /// The work's result, after as many attempts as it takes.
    pub(super) fn run<T>(
        patience: Patience,
        what: &str,
        watch: &mut Watch<'_>,
        mut work: impl FnMut() -> Result<T, Stop>,
    ) -> Result<T, HubError> {
        let mut tries = Self::new(patience);
        loop {
            match work() {
                Ok(done) => return Ok(done),
                Err(stop) => tries.pause(stop, what, watch)?,
            }
        }
    }
}

fn busy(error: HubError, asked: Duration) -> HubError {
    match error {
        HubError::Status { url, status, .. } => {
            HubError::Busy { url, status, wait_s: asked.as_secs() }
        }
        error => error,
    }
}

/// A quarter more or less, so that many clients that were cut off together don't come back together.
fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
    wait.mul_f64(0.75 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(asked: Option<Duration>) -> Stop {
        let error = HubError::Status {
            url: "u".into(),
            status: 503,
            code: String::new(),
            message: String::new(),
        };
        Stop::Again(error, asked)
    }

    #[test]
    fn gives_up_after_so_many_attempts_and_waits_longer_each_time() {
        let patience =
            Patience { tries: 4, first_wait: Duration::from_millis(8), ..Patience::default() };
        let (mut waits, mut made) = (Vec::new(), 0);
        let mut watch = |event: Event<'_>| {
            if let Event::Retry { wait, .. } = event {
                waits.push(wait);
            }
        };
        let result: Result<(), HubError> = Tries::run(patience, "x", &mut watch, || {
            made += 1;
            Err(again(None))
        });
        assert!(matches!(result, Err(HubError::Status { status: 503, .. })));
        assert_eq!((made, waits.len()), (4, 3));
        for (wait, middle_ms) in waits.iter().zip([8, 16, 32]) {
            let middle = Duration::from_millis(middle_ms);
            assert!(*wait >= middle.mul_f64(0.7) && *wait <= middle.mul_f64(1.3), "{waits:?}");
        }
    }

    #[test]
    fn what_can_not_go_better_is_not_tried_again_nor_a_wait_without_end() {
        let mut made = 0;
        let result: Result<(), HubError> =
            Tries::run(Patience::default(), "x", &mut |_| {}, || {
                made += 1;
                Err(HubError::NoDigest { path: "p".into() }.into())
            });
        assert!(matches!(result, Err(HubError::NoDigest { .. })) && made == 1);
        let hour = Some(Duration::from_hours(1));
        let result: Result<(), HubError> =
            Tries::run(Patience::default(), "x", &mut |_| {}, || Err(again(hour)));
        assert!(matches!(result, Err(HubError::Busy { wait_s: 3600, .. })));
    }
}
