//! Events and states over MQTT 3.1.1, and label sets the other way.
//!
//! Topics, with `edgeclip` for the prefix:
//!
//! | topic | what |
//! | --- | --- |
//! | `edgeclip/DEVICE/state` | JSON of how things stand; retained |
//! | `edgeclip/DEVICE/event` | JSON of each event |
//! | `edgeclip/DEVICE/availability` | `online` or `offline`; retained, and the last will |
//! | `edgeclip/DEVICE/labels/set` | takes a label set: `labels.toml`, a list of names, or JSON |
//! | `edgeclip/group/GROUP/labels/set` | the same, for all devices of a group |
//! | `edgeclip/DEVICE/labels/result` | JSON of what became of a label set, whoever sent it |
//! | `edgeclip/DEVICE/snapshot` | JPEG of the newest event, where snapshots are on and privacy is off |
//!
//! All is sent with `QoS` 1: an event arrives at least once, and may come twice after a connection broke.
//! Pictures are not retained: the broker keeps none.

mod discovery;
mod inbox;
mod options;
mod outbox;
mod session;
mod state;
mod tls;
mod topics;

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};

pub use options::{Options, check_name};

use discovery::SENSORS_MAX;
use inbox::Inbox;
use session::{Session, Shared};
use topics::Topics;

use super::{Notice, Output, Requests, Status, slug, snapshots};
use crate::capture::Frame;

/// Largest message that is sent, in bytes.
const OUTGOING_BYTES_MAX: usize = 8 << 20;

/// Largest packet that is read, in bytes: a label set over its limit is refused with an answer, one
/// over this breaks off the connection, and label sets are not read in the next one.
const INCOMING_BYTES_MAX: usize = 4 << 20;

/// File in the state folder that tells which retained label sets were used.
const ANSWERED_FILE: &str = "mqtt-labels.json";

/// How long the output waits for its connection to end, in milliseconds.
const STOP_MS: u64 = 1500;

/// Longest time between two looks at the status, in milliseconds.
const LOOK_EVERY_MS: u64 = 1000;

/// The output.
pub struct Mqtt {
    options: Options,
    device: String,
    snapshots: snapshots::Options,
    status: Status,
    topics: Topics,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The state as it was last published, and when.
    published: Option<(String, Instant)>,
    /// Labels that Home Assistant was last told of.
    described: Option<Vec<String>>,
}

impl Mqtt {
    /// Begins to keep up a connection. That the broker is away is no error. `state_folder` keeps which
    /// retained label sets were used; without one, they are used again after a restart.
    ///
    /// # Errors
    /// An option makes no sense, or a file can't be read.
    pub fn start(
        options: &Options,
        device: &str,
        snapshots: &snapshots::Options,
        status: &Status,
        requests: &Requests,
        state_folder: Option<&Path>,
    ) -> anyhow::Result<Self> {
        options.check().map_err(|error| anyhow!(error))?;
        check_name("device", device).map_err(|error| anyhow!(error))?;
        let topics = Topics::new(options, device);
        let shared = Arc::new(Shared::new(options.queue_max));
        shared.outbox().retain(&topics.availability, "online");
        let answered = state_folder.map(|folder| folder.join(ANSWERED_FILE));
        let session = Session {
            options: client(options, device, &topics)?,
            topics: topics.clone(),
            shared: Arc::clone(&shared),
            inbox: Inbox::new(requests.clone(), status.clone(), answered),
            deaf: false,
        };
        let thread =
            thread::Builder::new().name("mqtt-connection".to_owned()).spawn(move || {
                if let Err(error) = session.run() {
                    log::error!("mqtt: {error}");
                }
            })?;
        Ok(Self {
            options: options.clone(),
            device: device.to_owned(),
            snapshots: snapshots.clone(),
            status: status.clone(),
            topics,
            shared,
            thread: Some(thread),
            published: None,
            described: None,
        })
    }

    fn event(&self, event: &impl serde::Serialize) -> anyhow::Result<()> {
        let dropped = self.shared.outbox().queue(&self.topics.event, serde_json::to_vec(event)?);
        if dropped {
            log::debug!("mqtt: the oldest event is dropped: the broker is away for too long");
        }
        Ok(())
    }

    fn picture(&self, frame: &Frame) -> anyhow::Result<()> {
        if let Some(jpeg) = self.snapshots.jpeg(frame) {
            ensure!(
                jpeg.len() <= OUTGOING_BYTES_MAX,
                "a picture of {} bytes is too large",
                jpeg.len()
            );
            self.shared.outbox().picture(&self.topics.snapshot, jpeg);
        }
        Ok(())
    }

    /// Publishes the state where it changed: at once, or not too often.
    fn state(&mut self, at_once: bool) -> anyhow::Result<()> {
        let every = Duration::from_millis(self.options.state_every_ms);
        let too_soon = self.published.as_ref().is_some_and(|(_, when)| when.elapsed() < every);
        if too_soon && !at_once {
            return Ok(());
        }
        let body = state::body(&self.status.snapshot())?;
        if self.published.as_ref().is_some_and(|(published, _)| *published == body) {
            return Ok(());
        }
        ensure!(body.len() < OUTGOING_BYTES_MAX, "a state of {} bytes is too large", body.len());
        self.shared.outbox().retain(&self.topics.state, state::with_time(&body));
        self.published = Some((body, Instant::now()));
        Ok(())
    }

    /// Tells Home Assistant of the labels, where they are other ones than before.
    fn describe(&mut self) {
        let labels = self.status.with(|snapshot| state::names(snapshot));
        let known = self.described.as_ref().is_some_and(|described| *described == labels);
        if !self.options.discovery || known || labels.is_empty() {
            return;
        }
        if labels.len() > SENSORS_MAX {
            log::warn!("mqtt: Home Assistant is told of the first {SENSORS_MAX} labels only");
        }
        let pictures = self.snapshots.allowed();
        let configs = discovery::configs(&self.topics, &self.device, &labels, pictures);
        self.shared.outbox().describe(|topic| self.topics.is_config(topic), configs);
        self.described = Some(labels);
    }

    fn refresh(&mut self, at_once: bool) -> anyhow::Result<()> {
        self.describe();
        let result = self.state(at_once);
        self.shared.wake();
        result
    }
}

impl Output for Mqtt {
    fn wants_pictures(&self) -> bool {
        self.snapshots.allowed()
    }

    fn notice(&mut self, notice: &Notice) -> anyhow::Result<()> {
        let taken = match notice {
            Notice::Event(event, frame) => {
                let picture = frame.as_ref().map_or(Ok(()), |frame| self.picture(frame));
                self.event(&**event).and(picture)
            }
            Notice::Picture(frame) => self.picture(frame),
            Notice::Labels(report) => {
                let report = serde_json::to_vec(&**report)?;
                self.shared.outbox().queue(&self.topics.labels_result, report);
                Ok(())
            }
            Notice::Source(_) | Notice::Muted(_) => Ok(()),
        };
        self.refresh(true).and(taken)
    }

    fn tick(&mut self, lost: bool) -> anyhow::Result<()> {
        self.refresh(lost)
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.options.state_every_ms.min(LOOK_EVERY_MS))
    }

    fn stop(&mut self) {
        self.shared.outbox().retain(&self.topics.availability, "offline");
        self.shared.stop();
        let until = Instant::now() + Duration::from_millis(STOP_MS);
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
            && Instant::now() < until
        {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The client's options, with the last will.
fn client(options: &Options, device: &str, topics: &Topics) -> anyhow::Result<MqttOptions> {
    let address = options.address().map_err(|error| anyhow!(error))?;
    let id = match &*options.client_id {
        "" => format!("edgeclip-{}", slug::unique(device)),
        id => id.to_owned(),
    };
    let mut client = MqttOptions::new(id, address.host, address.port);
    client
        .set_keep_alive(Duration::from_secs(options.keep_alive_s.into()))
        .set_clean_session(true)
        .set_max_packet_size(INCOMING_BYTES_MAX, OUTGOING_BYTES_MAX + topics.state.len() + 1024)
        .set_last_will(LastWill::new(&topics.availability, "offline", QoS::AtLeastOnce, true));
    if !options.user.is_empty() {
        client.set_credentials(&options.user, password(options)?);
    }
    if address.tls {
        let config = Arc::new(tls::config(options)?);
        client.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    }
    Ok(client)
}

fn password(options: &Options) -> anyhow::Result<String> {
    let Some(file) = &options.password_file else { return Ok(options.password.0.clone()) };
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("mqtt.password_file: {}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
