//! The connection to the broker: kept up, on a thread of its own.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Error, Event, MqttOptions, Outgoing, Packet,
    Publish, QoS, StateError, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::topics::Topics;

/// Requests that the client takes: more than there are messages under way, and the subscriptions.
const CAPACITY: usize = 64;

/// First and longest time from a lost connection to the next try, in milliseconds.
const BACK_OFF_MS: [u64; 2] = [1000, 60_000];

/// A connection that stood for so long is no sign of trouble, in milliseconds.
const STEADY_MS: u128 = 30_000;

/// Time that the last messages get when the program ends, in milliseconds.
const STOP_MS: u64 = 1000;

/// What the output and the connection share.
pub(super) struct Shared {
    outbox: Mutex<Outbox>,
    state: Mutex<State>,
    /// There is something to send, or to look at.
    wake: Notify,
    /// The program ends.
    stop: Notify,
}

#[derive(Clone, Copy, Default)]
struct State {
    connected: bool,
    stopping: bool,
}

impl Shared {
    pub(super) fn new(queue_max: usize) -> Self {
        Self {
            outbox: Mutex::new(Outbox::new(queue_max)),
            state: Mutex::default(),
            wake: Notify::new(),
            stop: Notify::new(),
        }
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something new in the outbox.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Send what there is, and end.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.wake.notify_one();
        self.stop.notify_one();
    }

    fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    /// Returns when the program ends and there is no connection, or none that gets done in time.
    async fn overdue(&self) {
        while !self.is_stopping() {
            self.stop.notified().await;
        }
        if self.state().connected {
            sleep(Duration::from_millis(STOP_MS)).await;
        }
    }
}

/// The connection, and what it needs to come back.
pub(super) struct Session {
    pub(super) options: MqttOptions,
    pub(super) topics: Topics,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Inbox,
    /// Whether label sets are not subscribed to: one that is too large to be read is retained there, and
    /// would break off every connection.
    pub(super) deaf: bool,
}

impl Session {
    /// Keeps a connection until the program ends.
    ///
    /// # Errors
    /// The runtime can't be had.
    pub(super) fn run(self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&self.shared);
        runtime.block_on(async {
            tokio::select! {
                () = self.keep_up() => {}
                () = shared.overdue() => {}
            }
        });
        // A name that is being looked up must not hold up the end.
        runtime.shutdown_background();
        Ok(())
    }

    async fn keep_up(mut self) {
        let mut back_off = BackOff::default();
        let mut complaint = String::new();
        while !self.shared.is_stopping() {
            let since = Instant::now();
            let (error, stood) = self.connection(&mut complaint).await;
            self.shared.state().connected = false;
            self.shared.outbox().disconnected();
            let Some(error) = error.filter(|_| !self.shared.is_stopping()) else { break };
            let reason = in_words(&error);
            self.deaf = is_too_large(&error);
            if stood || reason != complaint {
                log::warn!("mqtt: {reason}; trying again");
                complaint = reason;
            }
            if stood && since.elapsed().as_millis() >= STEADY_MS {
                back_off = BackOff::default();
            }
            sleep(back_off.next()).await;
        }
    }

    /// One connection from its beginning to its end: returns why it ended, if not for the end of the
    /// program, and whether it ever stood.
    ///
    /// The client is a new one each time: what an old one still had in its hands is in the outbox.
    async fn connection(&mut self, complaint: &mut String) -> (Option<ConnectionError>, bool) {
        let (client, mut events) = AsyncClient::new(self.options.clone(), CAPACITY);
        let mut stands = false;
        loop {
            let poll = events.poll();
            tokio::pin!(poll);
            // The poll is never given up half-way: it would lose what it has read.
            let event = loop {
                self.inbox.settle();
                if stands && self.send(&client) {
                    return (None, stands);
                }
                tokio::select! {
                    event = &mut poll => break event,
                    () = self.shared.wake.notified() => {}
                }
            };
            match event {
                Err(error) => return (Some(error), stands),
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    stands = true;
                    complaint.clear();
                    self.connected(&client);
                }
                Ok(Event::Outgoing(Outgoing::Publish(number))) => {
                    self.shared.outbox().numbered(number);
                }
                Ok(Event::Outgoing(Outgoing::Disconnect)) => {
                    return (None, stands);
                }
                Ok(Event::Incoming(packet)) => self.incoming(&packet),
                Ok(Event::Outgoing(_)) => {}
            }
        }
    }

    fn connected(&self, client: &AsyncClient) {
        let (host, port) = self.options.broker_address();
        log::info!("mqtt: connected to {host}:{port}");
        self.shared.state().connected = true;
        let mut outbox = self.shared.outbox();
        outbox.connected();
        let dropped = outbox.take_dropped();
        drop(outbox);
        if dropped > 0 {
            log::warn!("mqtt: {dropped} events were dropped while the broker was away");
        }
        let mut filters = Vec::new();
        if self.deaf {
            log::warn!("mqtt: label sets are not read until the next connection");
        } else {
            filters.extend(self.topics.labels_set.iter().cloned());
        }
        if let Some(status) = &self.topics.home_status {
            filters.extend([status.clone(), self.topics.configs()]);
        }
        let filters = filters.into_iter().map(|path| SubscribeFilter::new(path, QoS::AtLeastOnce));
        let filters: Vec<_> = filters.collect();
        if !filters.is_empty() && client.try_subscribe_many(filters).is_err() {
            log::warn!("mqtt: label sets can't be subscribed to");
        }
    }

    /// Hands the client what may be sent. Returns whether all is said and the program ends.
    fn send(&self, client: &AsyncClient) -> bool {
        let mut outbox = self.shared.outbox();
        while let Some(message) = outbox.next() {
            let sent = client.try_publish(
                message.topic,
                QoS::AtLeastOnce,
                message.retain,
                message.payload,
            );
            // There is room for all that may be under way.
            if let Err(error) = sent {
                log::warn!("mqtt: a message can't be sent: {error}");
                break;
            }
        }
        let ends = outbox.is_done() && self.shared.is_stopping();
        ends && client.try_disconnect().is_err()
    }

    fn incoming(&mut self, packet: &Packet) {
        match packet {
            Packet::PubAck(confirmed) => self.shared.outbox().confirmed(confirmed.pkid),
            Packet::SubAck(answer)
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                log::warn!(
                    "mqtt: the broker lets us not read all of our topics: see its access rules"
                );
            }
            Packet::Publish(publish) => self.publish(publish),
            _ => {}
        }
    }

    fn publish(&mut self, publish: &Publish) {
        let topic = &publish.topic;
        if self.topics.labels_set.contains(topic) {
            let refusal = self.inbox.take(topic, &publish.payload, publish.retain);
            let refusal = refusal.and_then(|refusal| serde_json::to_vec(&refusal).ok());
            if let Some(refusal) = refusal {
                self.shared.outbox().queue(&self.topics.labels_result, refusal);
            }
        } else if self.topics.home_status.as_ref() == Some(topic) {
            if &publish.payload[..] == b"online" {
                self.shared.outbox().tell_again();
            }
        } else if self.topics.is_config(topic) && !publish.payload.is_empty() {
            self.shared.outbox().found_config(topic);
        }
    }
}

/// What went wrong, and the way out where there is one.
fn in_words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => "the broker refuses the user or the password (mqtt.user, mqtt.password)".to_owned(),
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadClientId) => {
            "the broker refuses the client identifier (mqtt.client_id)".to_owned()
        }
        error if is_too_large(error) => {
            "a message that is too large waits at labels/set: take it away (mosquitto_pub -r -n -t TOPIC)".to_owned()
        }
        ConnectionError::NetworkTimeout => "the broker does not answer (mqtt.broker)".to_owned(),
        error => format!("the broker can't be reached: {error}"),
    }
}

fn is_too_large(error: &ConnectionError) -> bool {
    let ConnectionError::MqttState(StateError::Deserialization(error)) = error else {
        return false;
    };
    matches!(error, Error::PayloadSizeLimitExceeded { .. })
}

/// Times between tries: twice as long each, and never the same for a fleet that lost its broker at once.
#[derive(Default)]
struct BackOff {
    tries: u32,
}

impl BackOff {
    fn next(&mut self) -> Duration {
        let [first_ms, longest_ms] = BACK_OFF_MS;
        let whole_ms = first_ms.saturating_mul(1 << self.tries.min(16)).min(longest_ms);
        self.tries += 1;
        // A hasher's keys are the standard library's random numbers.
        let random = RandomState::new().hash_one(self.tries);
        Duration::from_millis(whole_ms / 2 + random % (whole_ms / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::BackOff;

    #[test]
    fn tries_become_rarer_up_to_a_limit_and_are_spread() {
        let mut back_off = BackOff::default();
        let ms: Vec<u128> = (0..100).map(|_| back_off.next().as_millis()).collect();
        assert!((500..=1000).contains(&ms[0]) && (1000..=2000).contains(&ms[1]));
        assert!(ms.iter().all(|ms| *ms <= 60_000) && ms[90..].iter().all(|ms| *ms >= 30_000));
        let mut late = ms[10..].to_vec();
        late.dedup();
        assert!(late.len() > 10, "{ms:?}");
    }
}
