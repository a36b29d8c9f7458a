//! What every source of pictures does.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Shot;
use super::address::shown;

/// Where pictures come from. Opened anew, with a new handle and new buffers, each time it was lost.
pub trait Source: Send {
    /// Waits for the next picture, no longer than `patience`, and writes it over `shot`.
    ///
    /// # Errors
    /// [`SourceError`]: the source is lost, and must be opened anew.
    fn capture(&mut self, shot: &mut Shot, patience: Duration) -> Result<Captured, SourceError>;
}

/// What a wait for a picture ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captured {
    /// The shot holds a new picture.
    Shot,
    /// Nothing came in time.
    Nothing,
    /// The source is finite, and was read to its end.
    End,
}

/// Why a source can't be opened, or was lost.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}: {reason}")]
pub struct SourceError {
    /// The source, as the user named it, without user and password.
    pub source_name: String,
    /// What is wrong, and the way out.
    pub reason: String,
}

impl SourceError {
    pub(super) fn new(url: &str, reason: impl fmt::Display) -> Self {
        Self { source_name: shown(url), reason: reason.to_string() }
    }
}

/// How a source does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// Not yet open.
    #[default]
    Opening,
    /// Frames come.
    Live,
    /// Open, but no frame came for a while.
    Silent,
    /// Gone; it is opened again and again, less and less often.
    Lost,
    /// Closed, since these are quiet hours.
    Quiet,
    /// A finite source was read to its end.
    Ended,
}

/// What happened to a source's frames since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Delivered by the source.
    pub captured: u64,
    /// Captured and never looked at: a newer one came first, or the rate is capped.
    pub dropped: u64,
    /// Times that a lost source was opened anew.
    pub reopened: u64,
}
