//! What the broker is to be told, and what it has confirmed. Holds no connection.
//!
//! Retained topics have a value that the broker must hold: only the newest counts, and all are sent
//! again on every new connection. Events wait in a queue until the broker confirms them; those that were
//! under way when the connection broke are sent again, so that each arrives at least once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

/// Messages that are under way at a time.
const UNDER_WAY_MAX: usize = 16;

/// Configurations that are remembered until it is known which are wanted.
const UNSURE_MAX: usize = 4096;

/// One message to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
}

/// A message under way.
#[derive(Debug)]
struct Sent {
    message: Message,
    /// The number that the broker confirms; none until the client has given it one.
    number: Option<u16>,
}

/// All that is to be told.
#[derive(Debug)]
pub(super) struct Outbox {
    retained: BTreeMap<String, Bytes>,
    /// Retained topics that the broker doesn't hold as they are here.
    stale: BTreeSet<String>,
    queue: VecDeque<Message>,
    queue_max: usize,
    dropped: u64,
    /// The newest picture, if it was not sent.
    picture: Option<Message>,
    sent: VecDeque<Sent>,
    /// Whether it is known which configurations are wanted.
    described: bool,
    /// Configurations that the broker holds, until that is known.
    unsure: BTreeSet<String>,
}

impl Outbox {
    pub(super) fn new(queue_max: usize) -> Self {
        Self {
            retained: BTreeMap::new(),
            stale: BTreeSet::new(),
            queue: VecDeque::new(),
            queue_max,
            dropped: 0,
            picture: None,
            sent: VecDeque::new(),
            described: false,
            unsure: BTreeSet::new(),
        }
    }

    /// Gives a retained topic its value; an empty one takes it away from the broker.
    pub(super) fn retain(&mut self, topic: &str, payload: impl Into<Bytes>) {
        let payload = payload.into();
        if self.retained.get(topic) != Some(&payload) {
            self.retained.insert(topic.to_owned(), payload);
            self.stale.insert(topic.to_owned());
        }
    }

    /// Queues a message. Returns whether the oldest had to go for it.
    pub(super) fn queue(&mut self, topic: &str, payload: impl Into<Bytes>) -> bool {
        let full = self.queue.len() >= self.queue_max;
        if full {
            self.queue.pop_front();
            self.dropped += 1;
        }
        let payload = payload.into();
        self.queue.push_back(Message { topic: topic.to_owned(), payload, retain: false });
        full
    }

    /// Messages that were dropped since it was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Shows a picture, in place of one that was not sent.
    pub(super) fn picture(&mut self, topic: &str, payload: impl Into<Bytes>) {
        let payload = payload.into();
        self.picture = Some(Message { topic: topic.to_owned(), payload, retain: false });
    }

    /// Says which configurations are wanted; those before that are not among them are taken away.
    pub(super) fn describe(
        &mut self,
        is_config: impl Fn(&str) -> bool,
        configs: BTreeMap<String, Vec<u8>>,
    ) {
        let gone = self.retained.keys().filter(|topic| is_config(topic));
        let gone: Vec<_> = gone.chain(&self.unsure).cloned().collect();
        for topic in gone.iter().filter(|topic| !configs.contains_key(*topic)) {
            self.retain(topic, "");
        }
        self.unsure.clear();
        for (topic, payload) in configs {
            self.retain(&topic, payload);
        }
        self.described = true;
    }

    /// The broker holds a configuration of ours: of a label that is no more, perhaps.
    pub(super) fn found_config(&mut self, topic: &str) {
        if !self.described {
            if self.unsure.len() < UNSURE_MAX {
                self.unsure.insert(topic.to_owned());
            }
        } else if self.retained.get(topic).is_none_or(Bytes::is_empty) {
            self.retained.insert(topic.to_owned(), Bytes::new());
            self.stale.insert(topic.to_owned());
        }
    }

    /// The broker, or one who listens there, may have forgotten everything: tell all retained topics again.
    pub(super) fn tell_again(&mut self) {
        self.stale = self.retained.keys().cloned().collect();
    }

    /// A connection stands, to a broker that may know nothing.
    pub(super) fn connected(&mut self) {
        self.disconnected();
        self.tell_again();
    }

    /// The connection is gone: what was queued and not confirmed goes back into the queue.
    pub(super) fn disconnected(&mut self) {
        while let Some(Sent { message, .. }) = self.sent.pop_back() {
            if message.retain {
                self.stale.insert(message.topic);
            } else if self.queue.len() < self.queue_max {
                self.queue.push_front(message);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// The next message to send, if one more may be under way.
    pub(super) fn next(&mut self) -> Option<Message> {
        if self.sent.len() >= UNDER_WAY_MAX {
            return None;
        }
        let retained = self.stale.pop_first().map(|topic| Message {
            payload: self.retained.get(&topic).cloned().unwrap_or_default(),
            topic,
            retain: true,
        });
        let message =
            retained.or_else(|| self.queue.pop_front()).or_else(|| self.picture.take())?;
        self.sent.push_back(Sent { message: message.clone(), number: None });
        Some(message)
    }

    /// The client gave its number to the oldest message that had none.
    pub(super) fn numbered(&mut self, number: u16) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.number.is_none()) {
            sent.number = Some(number);
        }
    }

    /// The broker confirmed a message.
    pub(super) fn confirmed(&mut self, number: u16) {
        let Some(at) = self.sent.iter().position(|sent| sent.number == Some(number)) else {
            return;
        };
        let Some(Sent { message, .. }) = self.sent.remove(at) else { return };
        // Nothing needs to be told any more of a topic that was taken away.
        let is_gone = message.retain && message.payload.is_empty();
        if is_gone && self.retained.get(&message.topic).is_some_and(Bytes::is_empty) {
            self.retained.remove(&message.topic);
        }
    }

    /// Whether the broker has confirmed all there is.
    pub(super) fn is_done(&self) -> bool {
        self.stale.is_empty()
            && self.queue.is_empty()
            && self.picture.is_none()
            && self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Outbox, UNDER_WAY_MAX};

    /// Sends and confirms all there is: `topic=payload` of each.
    fn send_all(outbox: &mut Outbox) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(message) = outbox.next() {
            outbox.numbered(7);
            outbox.confirmed(7);
            sent.push(format!("{}={}", message.topic, String::from_utf8_lossy(&message.payload)));
        }
        assert!(outbox.is_done());
        sent
    }

    #[test]
    fn the_newest_retained_value_counts_and_comes_again_with_every_connection() {
        let mut outbox = Outbox::new(10);
        outbox.retain("a", "1");
        outbox.retain("a", "2");
        outbox.retain("b", "1");
        outbox.queue("e", "x");
        assert_eq!(send_all(&mut outbox), ["a=2", "b=1", "e=x"]);
        outbox.retain("b", "1");
        assert!(outbox.is_done(), "it is the same");
        outbox.connected();
        assert_eq!(send_all(&mut outbox), ["a=2", "b=1"]);
        outbox.retain("b", "");
        assert_eq!(send_all(&mut outbox), ["b="]);
        outbox.connected();
        assert_eq!(send_all(&mut outbox), ["a=2"], "taken away is forgotten");
    }

    #[test]
    fn the_oldest_events_are_dropped_and_counted() {
        let mut outbox = Outbox::new(3);
        for number in 0..5 {
            assert_eq!(outbox.queue("e", number.to_string()), number >= 3);
        }
        assert_eq!(outbox.take_dropped(), 2);
        assert_eq!(outbox.take_dropped(), 0);
        assert_eq!(send_all(&mut outbox), ["e=2", "e=3", "e=4"]);
    }

    #[test]
    fn what_was_not_confirmed_is_sent_again_in_its_order() {
        let mut outbox = Outbox::new(10);
        for number in 0..4 {
            outbox.queue("e", number.to_string());
        }
        for number in 1..=3 {
            outbox.next().unwrap();
            outbox.numbered(number);
        }
        outbox.confirmed(2);
        outbox.disconnected();
        outbox.connected();
        assert_eq!(send_all(&mut outbox), ["e=0", "e=2", "e=3"]);
    }

    #[test]
    fn a_queue_that_filled_up_meanwhile_stays_bounded() {
        let mut outbox = Outbox::new(3);
        outbox.queue("e", "0");
        outbox.next().unwrap();
        for number in 1..=3 {
            outbox.queue("e", number.to_string());
        }
        outbox.disconnected();
        assert_eq!(outbox.take_dropped(), 1);
        assert_eq!(send_all(&mut outbox), ["e=1", "e=2", "e=3"]);
    }

    #[test]
    fn only_some_messages_are_under_way() {
        let mut outbox = Outbox::new(100);
        for number in 0..50 {
            outbox.queue("e", number.to_string());
        }
        assert_eq!(std::iter::from_fn(|| outbox.next()).count(), UNDER_WAY_MAX);
    }

    #[test]
    fn configurations_of_labels_that_are_no_more_are_taken_away() {
        let configs = |labels: &[&str]| -> BTreeMap<String, Vec<u8>> {
            labels.iter().map(|label| (format!("c/{label}"), b"{}".to_vec())).collect()
        };
        let is_config = |topic: &str| topic.starts_with("c/");
        let mut outbox = Outbox::new(10);
        // The broker holds some of an earlier start, before it is known what is wanted now.
        outbox.found_config("c/old");
        outbox.found_config("c/cat");
        assert!(outbox.is_done());
        outbox.describe(is_config, configs(&["cat", "dog"]));
        assert_eq!(send_all(&mut outbox), ["c/cat={}", "c/dog={}", "c/old="]);
        outbox.describe(is_config, configs(&["cat"]));
        assert_eq!(send_all(&mut outbox), ["c/dog="]);
        outbox.found_config("c/cat");
        outbox.found_config("c/older");
        assert_eq!(send_all(&mut outbox), ["c/older="]);
    }

    #[test]
    fn only_the_newest_picture_waits() {
        let mut outbox = Outbox::new(10);
        outbox.picture("p", "1");
        outbox.picture("p", "2");
        assert_eq!(send_all(&mut outbox), ["p=2"]);
    }
}
