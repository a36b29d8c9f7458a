//! Whether frames flow, and whether the loop lives: from counters that must grow.

use super::Snapshot;

/// A counter, and when it last grew.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    count: u64,
    grew_ms: Option<u64>,
}

impl Growth {
    fn look(&mut self, count: u64, now_ms: u64) {
        if count != self.count {
            *self = Self { count, grew_ms: Some(now_ms) };
        }
    }

    fn within(&self, patience_ms: u64, now_ms: u64) -> bool {
        self.grew_ms.is_some_and(|grew_ms| now_ms.saturating_sub(grew_ms) <= patience_ms)
    }
}

/// What the counters of the status say over time. Times are in milliseconds of any clock that never jumps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    frames: Growth,
    turns: Growth,
}

impl Flow {
    /// Looks at the counters of now.
    pub(super) fn look(&mut self, snapshot: &Snapshot, now_ms: u64) {
        self.frames.look(snapshot.inferred + snapshot.still, now_ms);
        self.turns.look(snapshot.turns, now_ms);
    }

    /// Whether a frame went through the model, or was seen to be the same as before, in the last `patience_ms`.
    pub(super) fn frames_within(&self, patience_ms: u64, now_ms: u64) -> bool {
        self.frames.within(patience_ms, now_ms)
    }

    /// Whether a frame ever did.
    pub(super) fn frames_ever(&self) -> bool {
        self.frames.grew_ms.is_some()
    }

    /// Whether the loop turned in the last `patience_ms`, with a frame or without.
    pub(super) fn turns_within(&self, patience_ms: u64, now_ms: u64) -> bool {
        self.turns.within(patience_ms, now_ms)
    }

    /// Whether the loop ever did.
    pub(super) fn turns_ever(&self) -> bool {
        self.turns.grew_ms.is_some()
    }
}
