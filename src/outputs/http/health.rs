//! Whether frames flow.
//!
//! | source            | healthy                                                         |
//! |-------------------|-----------------------------------------------------------------|
//! | live              | while a frame went through the model, or was skipped since the scene stood still, within `healthy_ms_max` |
//! | quiet, ended      | yes: no frame is expected                                       |
//! | opening           | not yet                                                         |
//! | silent, lost      | no                                                              |

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::limits::lock;
use crate::capture::SourceState;
use crate::outputs::Status;

/// When frames last got through.
pub(super) struct Health {
    idle_max: Duration,
    progress: Mutex<Progress>,
}

struct Progress {
    frames: u64,
    since: Instant,
}

impl Health {
    pub(super) fn new(idle_max: Duration) -> Self {
        Self { idle_max, progress: Mutex::new(Progress { frames: 0, since: Instant::now() }) }
    }

    /// Looks how far the frames got.
    pub(super) fn look(&self, status: &Status) -> (SourceState, Duration) {
        let (state, frames) = status.with(|snapshot| {
            (snapshot.source_state, snapshot.inferred.wrapping_add(snapshot.still))
        });
        let mut progress = lock(&self.progress);
        if frames != progress.frames || state != SourceState::Live {
            *progress = Progress { frames, since: Instant::now() };
        }
        (state, progress.since.elapsed())
    }

    /// `Err` says why not.
    pub(super) fn judge(&self, status: &Status) -> Result<(), String> {
        let (state, idle) = self.look(status);
        judge(state, idle, self.idle_max)
    }
}

fn judge(state: SourceState, idle: Duration, idle_max: Duration) -> Result<(), String> {
    match state {
        SourceState::Live if idle > idle_max => {
            Err(format!("no frame went through the model for {} s", idle.as_secs()))
        }
        SourceState::Live | SourceState::Quiet | SourceState::Ended => Ok(()),
        SourceState::Opening => Err("the source is not open yet".to_owned()),
        SourceState::Silent => Err("the source is open, but sends no frames".to_owned()),
        SourceState::Lost => Err("the source is lost".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let (short, long, limit) =
            (Duration::from_secs(3), Duration::from_secs(11), Duration::from_secs(10));
        for (state, idle, fine) in [
            (SourceState::Live, short, true),
            (SourceState::Live, long, false),
            (SourceState::Quiet, long, true),
            (SourceState::Ended, long, true),
            (SourceState::Opening, short, false),
            (SourceState::Silent, short, false),
            (SourceState::Lost, short, false),
        ] {
            assert_eq!(judge(state, idle, limit).is_ok(), fine, "{state:?} after {idle:?}");
        }
    }

    #[test]
    fn frames_that_stand_still_or_go_through_are_progress_and_others_are_not() {
        let (status, health) = (Status::default(), Health::new(Duration::ZERO));
        let moves = |change: fn(&mut crate::outputs::Snapshot)| {
            let before = lock(&health.progress).since;
            std::thread::sleep(Duration::from_millis(2));
            status.with(change);
            health.look(&status);
            lock(&health.progress).since != before
        };
        assert!(
            moves(|snapshot| snapshot.source_state = SourceState::Quiet),
            "no frame is expected"
        );
        assert!(!moves(|snapshot| snapshot.source_state = SourceState::Live));
        assert!(moves(|snapshot| snapshot.inferred += 1));
        assert!(moves(|snapshot| snapshot.still += 1));
        assert!(!moves(|snapshot| snapshot.failed += 1));
        assert!(!moves(|snapshot| snapshot.counts.captured += 1));
    }
}
