//! Stage 5: what happens when a label comes or goes. Every output has a thread and a bounded queue of
//! its own; none can hold up the loop.

mod capped;
mod flow;
pub mod gpio;
pub mod http;
pub mod jsonl;
pub mod mqtt;
mod queue;
mod secret;
mod slug;
pub mod snapshots;
mod status;
pub mod watchdog;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use serde::Serialize;

use crate::capture::{Frame, SourceState};
use crate::classify::Event;

pub use queue::Outputs;
pub use secret::Secret;
pub use status::{LabelStatus, RegionStatus, Route, Snapshot, Status};

/// Requests that wait for the pipeline at most; what comes on top is refused.
pub const REQUESTS_MAX: usize = 8;

/// What the outputs are told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A label came or went; the frame is there where someone asked for snapshots.
    Event(Arc<Event>, Option<Arc<Frame>>),
    /// The source does otherwise than before.
    Source(SourceState),
    /// A label set was swapped in, or refused. The [`Status`] shows the new one already.
    Labels(Arc<LabelsReport>),
    /// Someone asked for a picture of now.
    Picture(Arc<Frame>),
    /// Outputs that act are silenced, or no more.
    Muted(bool),
}

impl Notice {
    /// Whether a whole frame hangs on it.
    fn has_picture(&self) -> bool {
        matches!(self, Self::Event(_, Some(_)) | Self::Picture(_))
    }

    /// The same without its frame; `None` where nothing is left.
    fn without_picture(&self) -> Option<Self> {
        match self {
            Self::Picture(_) => None,
            Self::Event(event, _) => Some(Self::Event(Arc::clone(event), None)),
            notice => Some(notice.clone()),
        }
    }
}

/// One way out. Lives on a thread of its own.
pub trait Output: Send {
    /// Takes one notice.
    ///
    /// # Errors
    /// What went wrong, for the log; the output goes on.
    fn notice(&mut self, notice: &Notice) -> anyhow::Result<()>;

    /// Called when nothing was to do for [`patience`](Self::patience), and after notices were lost because
    /// the queue was full: what the output shows must then be taken from the [`Status`].
    ///
    /// # Errors
    /// As [`notice`](Self::notice).
    fn tick(&mut self, lost: bool) -> anyhow::Result<()> {
        let _ = lost;
        Ok(())
    }

    /// How long to wait for a notice before [`tick`](Self::tick) is called.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Whether it wants the pictures of events, and those that someone asks for.
    fn wants_pictures(&self) -> bool {
        false
    }

    /// The program ends: leave everything safe.
    fn stop(&mut self) {}

    /// The loop is gone without [`Outputs::stop`]: it crashed.
    fn abandoned(&mut self) {
        self.stop();
    }
}

/// What comes in from outside.
#[derive(Debug)]
pub enum Request {
    /// Use this label set; the answer goes to `reply`, where someone waits.
    Labels {
        /// A `labels.toml`, a plain list of names, or JSON in the shape of `labels.toml`.
        text: String,
        /// Who asks: `http`, `mqtt`, `file`, ..; kept in the history.
        origin: String,
        /// Where the outcome goes.
        reply: Option<SyncSender<Arc<LabelsReport>>>,
    },
    /// Use the set before, of the history.
    Rollback,
    /// Read the labels file again.
    Reload,
    /// Use the next of the label files that the configuration lists.
    NextLabels,
    /// Tell the outputs a [`Notice::Picture`].
    Picture,
    /// Silence the outputs that act, or no more.
    Mute(bool),
}

/// What became of a label set that was to be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelsReport {
    /// Whether the set is in use now. If not, the one before still is.
    pub accepted: bool,
    /// Who asked.
    pub origin: String,
    /// Digest of the set that is in use now.
    pub label_set: String,
    /// Number of labels of that set.
    pub labels: usize,
    /// Prompts that had to be encoded; the others were in the cache.
    pub encoded: usize,
    /// Why it was refused, with the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Line of the error, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is doubtful in it.
    pub warnings: Vec<String>,
}

impl LabelsReport {
    /// A set that is not used, since `reason`; `label_set`, of so many labels, still is.
    #[must_use]
    pub fn refused(origin: &str, label_set: &str, labels: usize, reason: &str) -> Self {
        Self {
            accepted: false,
            origin: origin.to_owned(),
            label_set: label_set.to_owned(),
            labels,
            encoded: 0,
            error: Some(reason.to_owned()),
            line: None,
            warnings: Vec::new(),
        }
    }
}

/// The way in for outputs that take requests.
#[derive(Clone, Debug)]
pub struct Requests(SyncSender<Request>);

impl Requests {
    /// The way in, and its end at the pipeline.
    #[must_use]
    pub fn channel() -> (Self, Receiver<Request>) {
        let (sender, receiver) = sync_channel(REQUESTS_MAX);
        (Self(sender), receiver)
    }

    /// Hands a request on, without waiting.
    ///
    /// # Errors
    /// Why it can't be taken now.
    pub fn send(&self, request: Request) -> anyhow::Result<()> {
        self.0.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => anyhow::anyhow!("too many requests wait already: try later"),
            TrySendError::Disconnected(_) => anyhow::anyhow!("edgeclip is stopping"),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::classify::{Event, Transition};

    /// An event of `label`, to enter or to leave.
    pub(super) fn event(label: &str, enters: bool) -> Event {
        Event {
            v: 1,
            unix_ms: 1_767_225_600_040,
            device: "hall".to_owned(),
            source: "cam0".to_owned(),
            region: None,
            label: label.to_owned(),
            state: if enters { Transition::Enter } else { Transition::Leave },
            score: 0.91,
            label_set: "sha256:1".to_owned(),
            model: "sha256:2".to_owned(),
        }
    }
}
