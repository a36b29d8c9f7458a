//! Where the source's thread leaves the newest shot. Shots are swapped, not copied.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Counts, Shot, SourceState};

/// One shot for whoever comes, and how the source does.
#[derive(Default)]
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    shot: Shot,
    is_full: bool,
    is_stopped: bool,
    report: Report,
}

/// How the source does.
#[derive(Clone, Default)]
pub(super) struct Report {
    pub state: SourceState,
    pub counts: Counts,
    pub last_error: Option<String>,
}

/// What was in the mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Shot,
    Nothing,
    End,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a shot, and has an old one for it. One that nobody took is dropped for it, or, with
    /// `waits`, waited for. `false` where the mailbox was stopped.
    pub(super) fn put(&self, shot: &mut Shot, waits: bool) -> bool {
        let mut inner = self.lock();
        while waits && inner.is_full && !inner.is_stopped {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.is_stopped {
            return false;
        }
        if inner.is_full {
            inner.report.counts.dropped += 1;
        }
        std::mem::swap(&mut inner.shot, shot);
        inner.is_full = true;
        self.changed.notify_all();
        true
    }

    /// Takes the shot for an old one, and waits for it if there is none yet.
    pub(super) fn take(&self, shot: &mut Shot, patience: Duration) -> Taken {
        let is_waiting = |inner: &mut Inner| {
            !inner.is_full && inner.report.state != SourceState::Ended && !inner.is_stopped
        };
        let waited = self.changed.wait_timeout_while(self.lock(), patience, is_waiting);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if inner.is_full {
            std::mem::swap(&mut inner.shot, shot);
            inner.is_full = false;
            self.changed.notify_all();
            Taken::Shot
        } else if inner.report.state == SourceState::Ended || inner.is_stopped {
            Taken::End
        } else {
            Taken::Nothing
        }
    }

    /// Waits, but no longer than until the mailbox is stopped; `false` if it is.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut inner = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if inner.is_stopped || left.is_zero() {
                return !inner.is_stopped;
            }
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends everything.
    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// Looks at the report, or changes it, in place.
    pub(super) fn report<T>(&self, act: impl FnOnce(&mut Report) -> T) -> T {
        let mut inner = self.lock();
        let before = inner.report.state;
        let answer = act(&mut inner.report);
        if inner.report.state != before {
            self.changed.notify_all();
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn shot(byte: u8) -> Shot {
        Shot { bytes: vec![byte], ..Shot::default() }
    }

    #[test]
    fn the_newest_wins_and_the_others_are_counted() {
        let (mailbox, mut taken) = (Mailbox::default(), Shot::default());
        for byte in 1..=3 {
            assert!(mailbox.put(&mut shot(byte), false));
        }
        assert_eq!(mailbox.take(&mut taken, LONG), Taken::Shot);
        assert_eq!(taken.bytes, [3]);
        assert_eq!(mailbox.take(&mut taken, Duration::ZERO), Taken::Nothing);
        assert_eq!(mailbox.report(|report| report.counts.dropped), 2);
    }

    #[test]
    fn with_waits_nothing_is_dropped() {
        let mailbox = Mailbox::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                for byte in 0..200 {
                    mailbox.put(&mut shot(byte), true);
                }
                mailbox.report(|report| report.state = SourceState::Ended);
            });
            let mut taken = Shot::default();
            for byte in 0..200 {
                assert_eq!(mailbox.take(&mut taken, LONG), Taken::Shot);
                assert_eq!(taken.bytes, [byte]);
            }
            assert_eq!(mailbox.take(&mut taken, LONG), Taken::End);
        });
        assert_eq!(mailbox.report(|report| report.counts.dropped), 0);
    }

    #[test]
    fn stopping_ends_every_wait() {
        let mailbox = Mailbox::default();
        mailbox.put(&mut shot(1), true);
        thread::scope(|scope| {
            let put = scope.spawn(|| mailbox.put(&mut shot(2), true));
            let pause = scope.spawn(|| mailbox.pause(LONG));
            mailbox.stop();
            assert!(!put.join().unwrap() && !pause.join().unwrap());
        });
    }
}
