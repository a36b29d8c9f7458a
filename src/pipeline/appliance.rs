//! The loop that a board runs for months: capture, look, decide, tell. It reads like the picture in `lib.rs`.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;

use super::Options;
use super::lookout::Lookout;
use super::relabel::{Outcome, Relabeller};
use crate::capture::{Camera, Next, SourceState};
use crate::outputs::gpio::Gpio;
use crate::outputs::http::Http;
use crate::outputs::jsonl::JsonLines;
use crate::outputs::mqtt::Mqtt;
use crate::outputs::snapshots::Snapshots;
use crate::outputs::watchdog::Watchdog;
use crate::outputs::{self, Outputs, REQUESTS_MAX, Request, Requests, Status};

/// Longest wait for a frame before the loop looks at everything else.
const PATIENCE: Duration = Duration::from_millis(100);

/// Longest wait for the outputs at the end.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// The way to an appliance, from any thread, and from before it starts.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    running: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    reloading: Arc<AtomicBool>,
}

impl Handle {
    /// Ends the loop after the frame that it is at; one that is still starting, when it has started.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the loop has begun: until then `stop` takes as long as the start does.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// The labels file is read again.
    pub fn reload(&self) {
        self.reloading.store(true, Ordering::Release);
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Frames that went through the model.
    pub inferred: u64,
    /// Frames that could not be decoded.
    pub failed: u64,
    /// Events that were told.
    pub events: u64,
}

/// Camera, model and outputs, put together.
pub struct Appliance {
    // Dropped first: where something panics, pins are safe before a camera that hangs is waited for.
    lookout: Lookout,
    camera: Camera,
    labels: LabelsThread,
    handle: Handle,
    /// From the outputs.
    requests: Receiver<Request>,
    is_finite: bool,
    /// Held while it runs: two of them would take each other's label sets.
    _state: Option<File>,
}

/// The thread that makes label sets usable.
struct LabelsThread {
    requests: SyncSender<Request>,
    outcomes: Receiver<Outcome>,
}

impl Appliance {
    /// Opens the outputs, loads the model, makes the first label set usable and starts the source. `labels` go
    /// before those of the options, and are not kept.
    ///
    /// # Errors
    /// What can't work names itself and the way out. A camera or a broker that is not there is no error: it may come.
    pub fn start(options: &Options, labels: Option<String>) -> anyhow::Result<Self> {
        Self::start_with(options, labels, Handle::default())
    }

    /// As [`start`](Self::start), with a handle from before.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(
        options: &Options,
        labels: Option<String>,
        handle: Handle,
    ) -> anyhow::Result<Self> {
        let state = options.state_dir.as_deref().map(hold).transpose()?.flatten();
        let (status, (way_in, requests)) = (Status::default(), Requests::channel());
        // Before all that takes time: pins go to their safe levels first.
        let outputs = open_outputs(options, &status, &way_in)?;
        let (lookout, relabeller) = Lookout::start(options, labels, outputs, status)?;
        let labels = LabelsThread::start(relabeller)?;
        let camera = Camera::start(&options.source)?;
        let is_finite = options.source.is_finite();
        Ok(Self { lookout, camera, labels, handle, requests, is_finite, _state: state })
    }

    /// The way to stop it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// How it stands, while it runs.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lookout.status.clone()
    }

    /// Runs until it is stopped, or a finite source was read to its end.
    ///
    /// # Errors
    /// The model fails on frame after frame, or a finite source could not be read to its end.
    pub fn run(mut self) -> anyhow::Result<Summary> {
        let outcome = self.watch();
        self.lookout.outputs.stop(STOP_PATIENCE);
        drop(self.camera);
        outcome.map(|()| self.lookout.summary)
    }

    /// The loop.
    fn watch(&mut self) -> anyhow::Result<()> {
        self.handle.running.store(true, Ordering::Release);
        while !self.handle.stopping.load(Ordering::Acquire) {
            self.lookout.status.with(|status| status.turns += 1);
            if self.handle.reloading.swap(false, Ordering::AcqRel) {
                self.serve(Request::Reload);
            }
            while let Ok(request) = self.requests.try_recv() {
                self.serve(request);
            }
            while let Ok(outcome) = self.labels.outcomes.try_recv() {
                self.lookout.swap(outcome);
            }
            let is_gone = matches!(self.camera.state(), SourceState::Lost | SourceState::Quiet);
            match self.camera.next(PATIENCE) {
                // It was taken before the loss, which everyone knows of already.
                Next::Shot(_) if is_gone => {}
                Next::Shot(shot) => self.lookout.look(shot)?,
                Next::Nothing => {}
                Next::End => {
                    self.lookout.follow(&self.camera);
                    return self.end();
                }
            }
            self.lookout.follow(&self.camera);
        }
        Ok(())
    }

    /// The source has no more shots.
    fn end(&self) -> anyhow::Result<()> {
        match self.camera.last_error() {
            Some(error) => Err(anyhow!(error)),
            None if self.is_finite => Ok(()),
            None => Err(anyhow!("the source's thread has ended")),
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Picture => self.lookout.show_picture(),
            Request::Mute(muted) => self.lookout.mute(muted),
            Request::Labels { .. } | Request::Rollback | Request::Reload | Request::NextLabels => {
                match self.labels.requests.try_send(request) {
                    Ok(()) => {}
                    Err(TrySendError::Full(request)) => {
                        self.lookout.refuse(request, "too many label sets wait already: try later");
                    }
                    Err(TrySendError::Disconnected(request)) => {
                        self.lookout
                            .refuse(request, "labels can't be changed any more: restart edgeclip");
                    }
                }
            }
        }
    }
}

/// Makes the state folder, and keeps other runs out of it until the file is dropped. That it can't be written is
/// said by who writes to it, when pins are safe.
fn hold(state: &Path) -> anyhow::Result<Option<File>> {
    let name = state.display();
    let lock = || {
        fs::create_dir_all(state)?;
        File::options().create(true).truncate(false).write(true).open(state.join("run.lock"))
    };
    let Ok(file) = lock() else { return Ok(None) };
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(anyhow!(
            "another edgeclip runs with the state folder {name}: give it a --state-dir of its own"
        )),
        // A file system without locks is no reason not to run.
        Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(Some(file)),
    }
}

impl LabelsThread {
    fn start(relabeller: Relabeller) -> anyhow::Result<Self> {
        let (requests, incoming) = sync_channel(REQUESTS_MAX);
        let (finished, outcomes) = channel();
        let thread = thread::Builder::new().name("labels".to_owned());
        // Nobody waits for its end: whatever it writes is there whole or not at all.
        thread.spawn(move || relabeller.work(&incoming, &finished))?;
        Ok(Self { requests, outcomes })
    }
}

/// Starts the outputs that the options ask for.
pub(super) fn open_outputs(
    options: &Options,
    status: &Status,
    requests: &Requests,
) -> anyhow::Result<Outputs> {
    let mut outputs = Outputs::default();
    // First, so that pins are safe whatever fails after them.
    if options.gpio.is_used() {
        outputs.start("gpio", Box::new(Gpio::start(&options.gpio, status, requests)?))?;
    }
    if options.jsonl.is_used() {
        outputs.start("jsonl", Box::new(JsonLines::start(&options.jsonl)?))?;
    }
    if options.snapshots.allowed() {
        let folder = options.state_dir.as_ref().map(|state| state.join("snapshots"));
        let folder = folder.or_else(|| options.snapshots.folder.clone()).ok_or_else(|| {
            anyhow!("there is no state folder for snapshots: give snapshots.folder")
        })?;
        outputs.start("snapshots", Box::new(Snapshots::start(&options.snapshots, &folder)?))?;
    }
    if options.mqtt.is_used() {
        let (device, state) = (&options.device, options.state_dir.as_deref());
        let mqtt = Mqtt::start(&options.mqtt, device, &options.snapshots, status, requests, state)?;
        outputs.start("mqtt", Box::new(mqtt))?;
    }
    if options.http.enabled {
        let pictures = options.http.pictures && !options.snapshots.privacy;
        let http = outputs::http::Options { pictures, ..options.http.clone() };
        let http = Http::start(http, status.clone(), requests.clone())?;
        outputs.start("http", Box::new(http))?;
    }
    outputs.start("watchdog", Box::new(Watchdog::start(&options.watchdog, status)?))?;
    Ok(outputs)
}
