//! The text side of the loop: label sets come in from everywhere, and go one way. Parsed, checked, encoded
//! aside, kept on disk, and handed to the loop whole. A bad one changes nothing and says why.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

use anyhow::anyhow;

use super::candidates::{Candidate, Given, OF_FILE, OF_HEAD, OF_SET, candidates};
use super::maker::{Active, Maker, Refusal};
use super::watched::Watched;
use super::{LabelsOptions, Model, Options, SETS_FOLDER};
use crate::outputs::{LabelsReport, Request};
use crate::probe::HEAD_BYTES_MAX;
use crate::prompts::{History, SET_BYTES_MAX, Stored, built_in_set, read_labels};

/// How often the labels file and the history are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a request came to, for the loop.
pub(super) struct Outcome {
    /// The new set, where there is one.
    pub(super) active: Option<Arc<Active>>,
    pub(super) report: Arc<LabelsReport>,
    /// Who waits for the report.
    pub(super) reply: Option<SyncSender<Arc<LabelsReport>>>,
}

/// Makes label sets usable, one after the other.
pub(super) struct Relabeller {
    maker: Maker,
    options: LabelsOptions,
    /// None for a run that leaves no traces.
    history: Option<History>,
    in_use: Arc<Active>,
    /// The set of the history that is in use.
    number: Option<u64>,
    /// The labels file as it was read last.
    file: Watched,
    /// Whether the set in use is in the history, or is not meant to be.
    is_kept: bool,
    /// Which of the label files was used last; none before the first press.
    turn: Option<usize>,
}

impl Relabeller {
    /// Picks the set to begin with, and makes it usable: `text`, where the command line gives one; else the
    /// built-in set or the labels file that the options name, if it is another than when it was last in use; else the
    /// newest set of the history.
    ///
    /// # Errors
    /// There are no labels, or those that there are can't be used.
    pub(super) fn start(
        model: Model,
        options: &Options,
        text: Option<String>,
    ) -> anyhow::Result<(Self, Arc<LabelsReport>)> {
        let (state, mut options, decide) =
            (options.state_dir.as_deref(), options.labels.clone(), options.decide.clone());
        let built_in = options.set.as_deref().map(built_in_set).transpose()?;
        let head = options.head.clone();
        if built_in.is_some() || head.is_some() {
            options.file = None;
        }
        // A head is no label set to go back to.
        let state_of_sets = state.filter(|_| head.is_none());
        let history =
            state_of_sets.map(|state| History::open(&state.join(SETS_FOLDER), options.keep));
        let history = history.transpose()?;
        let mut file = match &head {
            Some(path) => Watched::new(Some(path.clone()), HEAD_BYTES_MAX),
            None => Watched::new(options.file.clone(), SET_BYTES_MAX as u64),
        };
        let candidates = match text {
            None if head.is_some() => {
                let text = file.read().unwrap_or_else(|| Ok(String::new()))?;
                vec![Candidate::new(&file.name(), text, OF_HEAD)]
            }
            Some(text) => {
                // From now on only a file that changes takes their place.
                file.look();
                vec![Candidate::new("the labels of the command line", text, "command")]
            }
            None => candidates(Given::find(built_in, &mut file), history.as_ref())?,
        };
        let mut maker = Maker::new(model, decide, state, head);
        let (candidate, active, encoded) = maker.first_good(candidates)?;
        let mut warnings = Maker::warnings(&active);
        let (in_use, number) = (Arc::new(active), candidate.number);
        let (is_kept, turn) = (true, None);
        let mut this = Self { maker, options, history, in_use, number, file, is_kept, turn };
        if number.is_none() && [OF_FILE, OF_SET].contains(&&*candidate.origin) {
            let text = this.in_use.text.clone();
            warnings.extend(this.keep(&text, &candidate.origin));
        }
        let report = this.accepted(&candidate.origin, encoded, warnings);
        Ok((this, report))
    }

    /// The set in use.
    pub(super) fn in_use(&self) -> &Arc<Active> {
        &self.in_use
    }

    /// Works until the requests' other end is gone.
    pub(super) fn work(mut self, requests: &Receiver<Request>, outcomes: &Sender<Outcome>) {
        give_way();
        loop {
            let outcome = match requests.recv_timeout(LOOK_EVERY) {
                Ok(request) => self.serve(request),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Some(outcome) = outcome
                && outcomes.send(outcome).is_err()
            {
                return;
            }
        }
    }

    fn serve(&mut self, request: Request) -> Option<Outcome> {
        match (self.maker.fixed(), request) {
            (Some(why), Request::Labels { origin, reply, .. }) => {
                let report = self.refuse(&origin, &Refusal::Other(anyhow!(why)));
                Some(self.outcome(report, reply))
            }
            (Some(why), Request::Rollback) => Some(self.refused("rollback", anyhow!(why))),
            (Some(why), Request::NextLabels) => Some(self.refused("next", anyhow!(why))),
            (_, request) => self.serve_words(request),
        }
    }

    fn serve_words(&mut self, request: Request) -> Option<Outcome> {
        match request {
            Request::Labels { text, origin, reply } => {
                let report = self.apply(&text, &origin, true);
                Some(self.outcome(report, reply))
            }
            Request::Rollback => {
                let report = self.roll_back();
                Some(self.outcome(report, None))
            }
            Request::Reload => match self.file.read() {
                Some(text) => Some(self.of_file(text, OF_FILE)),
                None => Some(
                    self.refused("reload", anyhow!("there is no file of labels to read again")),
                ),
            },
            Request::NextLabels => Some(self.next_file()),
            // The loop keeps these for itself.
            Request::Picture | Request::Mute(_) => None,
        }
    }

    /// Looks whether the labels file changed, or another process rolled back, which leaves an older set the newest.
    fn look(&mut self) -> Option<Outcome> {
        if self.file.has_changed() {
            let text = self.file.read()?;
            return Some(self.of_file(text, OF_FILE));
        }
        let newest = self.history.as_ref()?.newest().ok()??;
        if self.number.is_none_or(|number| newest.number >= number) {
            return None;
        }
        let report = self.stored(&newest, "rollback");
        Some(self.outcome(report, None))
    }

    fn of_file(&mut self, text: anyhow::Result<String>, origin: &str) -> Outcome {
        let report = match text {
            Ok(text) => self.apply(&text, origin, true),
            Err(error) => self.refuse(origin, &Refusal::Other(error)),
        };
        self.outcome(report, None)
    }

    fn next_file(&mut self) -> Outcome {
        let files: Vec<&PathBuf> = self.options.file.iter().chain(&self.options.more).collect();
        if files.is_empty() {
            return self.refused("next", anyhow!("there are no label files: see labels.more"));
        }
        // The labels file, where there is one, is what it began with.
        let first = usize::from(self.options.file.is_some());
        let turn = self.turn.map_or(first, |turn| turn + 1) % files.len();
        let text = read_labels(files[turn]);
        self.turn = Some(turn);
        self.of_file(text, "next")
    }

    fn roll_back(&mut self) -> Arc<LabelsReport> {
        let refuse = |error| self.refuse("rollback", &Refusal::Other(error));
        let back = match &self.history {
            None => return refuse(anyhow!("no label sets are kept: there is no state folder")),
            // The one before a set that is not in the history is the newest there.
            Some(history) if !self.is_kept => history.newest(),
            Some(history) => history.roll_back(None),
        };
        match back {
            Ok(Some(stored)) => self.stored(&stored, "rollback"),
            Ok(None) => refuse(anyhow!("there is no label set before this one")),
            Err(error) => refuse(error.into()),
        }
    }

    fn stored(&mut self, stored: &Stored, origin: &str) -> Arc<LabelsReport> {
        self.number = Some(stored.number);
        match stored.read() {
            Ok(text) => {
                self.is_kept = true;
                self.apply(&text, origin, false)
            }
            Err(error) => self.refuse(origin, &Refusal::Other(error.into())),
        }
    }

    /// The one way that every label set goes.
    fn apply(&mut self, text: &str, origin: &str, keep: bool) -> Arc<LabelsReport> {
        let (active, encoded) = match self.maker.make(text) {
            Ok(made) => made,
            Err(refusal) => return self.refuse(origin, &refusal),
        };
        let mut warnings = Maker::warnings(&active);
        let in_use = &self.in_use;
        let is_another = active.text != in_use.text || active.digest != in_use.digest;
        if keep && (is_another || !self.is_kept) {
            warnings.extend(self.keep(text, origin));
        }
        // The same set again changes nothing, not even what is known so far.
        if is_another {
            self.in_use = Arc::new(active);
        }
        self.accepted(origin, encoded, warnings)
    }

    fn accepted(&self, origin: &str, encoded: usize, warnings: Vec<String>) -> Arc<LabelsReport> {
        Arc::new(LabelsReport {
            accepted: true,
            origin: origin.to_owned(),
            label_set: self.in_use.digest.clone(),
            labels: self.in_use.set.labels().len(),
            encoded,
            error: None,
            line: None,
            warnings,
        })
    }

    /// Puts a set into the history; a warning where that can't be done.
    fn keep(&mut self, text: &str, origin: &str) -> Option<String> {
        match self.history.as_ref()?.push(text, origin) {
            Ok(stored) => {
                (self.number, self.is_kept) = (Some(stored.number), true);
                None
            }
            Err(error) => {
                self.is_kept = false;
                let error = anyhow::Error::from(error);
                Some(format!(
                    "in use, but it can't be kept, so a restart brings back the set before: {error:#}"
                ))
            }
        }
    }

    fn refused(&self, origin: &str, error: anyhow::Error) -> Outcome {
        let report = self.refuse(origin, &Refusal::Other(error));
        self.outcome(report, None)
    }

    fn refuse(&self, origin: &str, refusal: &Refusal) -> Arc<LabelsReport> {
        let (error, line) = match refusal {
            Refusal::Set(error) => (error.to_string(), error.line),
            Refusal::Other(error) => (format!("{error:#}"), None),
        };
        let (label_set, labels) = (&self.in_use.digest, self.in_use.set.labels().len());
        let report = LabelsReport::refused(origin, label_set, labels, &error);
        Arc::new(LabelsReport { line, ..report })
    }

    fn outcome(
        &self,
        report: Arc<LabelsReport>,
        reply: Option<SyncSender<Arc<LabelsReport>>>,
    ) -> Outcome {
        let active = report.accepted.then(|| Arc::clone(&self.in_use));
        Outcome { active, report, reply }
    }
}

/// Lets the loop go first. Where every core is busy with frames, this thread gets a fifth of one: Linux gives
/// a thread this nice 272 parts of time for the 1024 of others (`sched_prio_to_weight`). The loop keeps
/// its rate, and labels don't take minutes.
#[cfg(target_os = "linux")]
fn give_way() {
    const NICE: i32 = 6;
    if let Err(error) = rustix::process::nice(NICE) {
        log::debug!("priority: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}
