//! What the page is told as it happens: server-sent events.
//!
//! Notices go through a ring that all listeners share; one who lags behind it gets `lost` and asks
//! `/api/state`. Of the state only the newest is kept: a slow listener skips what it was too slow for.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::sse;
use futures_util::Stream;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use super::limits::lock;
use crate::classify::{Event, Transition};
use crate::outputs::{Notice, Snapshot, Status};

/// Events that a page which opens now is shown.
const RECENT_MAX: usize = 50;
/// Notices that a listener may lag behind.
const MESSAGES_MAX: usize = 64;
/// Something is sent at least so often: a page that hears nothing for longer knows that the line is dead.
const ALIVE: Duration = Duration::from_secs(5);

/// One server-sent event.
#[derive(Clone, Debug)]
struct Message {
    name: &'static str,
    json: Arc<str>,
}

/// All news, for all listeners.
pub(super) struct News {
    messages: broadcast::Sender<Message>,
    state: watch::Sender<Arc<str>>,
    past: Mutex<Past>,
}

#[derive(Default)]
struct Past {
    recent: VecDeque<Arc<Event>>,
    entered: u64,
    left: u64,
}

struct Listener {
    messages: broadcast::Receiver<Message>,
    state: watch::Receiver<Arc<str>>,
}

impl Default for News {
    fn default() -> Self {
        Self {
            messages: broadcast::Sender::new(MESSAGES_MAX),
            state: watch::Sender::default(),
            past: Mutex::default(),
        }
    }
}

impl News {
    /// Tells the listeners of a notice.
    pub(super) fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Event(event, _) => {
                self.remember(event);
                self.tell("event", &**event);
            }
            Notice::Source(state) => self.tell("source", state),
            Notice::Labels(report) => self.tell("labels", &**report),
            Notice::Muted(muted) => self.tell("muted", muted),
            Notice::Picture(_) => {}
        }
    }

    /// Notices were lost on the way here.
    pub(super) fn lost(&self) {
        self.tell("lost", &());
    }

    /// Tells the listeners how things stand, unless they know.
    pub(super) fn state(&self, snapshot: &Snapshot) {
        let Ok(json) = serde_json::to_string(snapshot) else { return };
        self.state.send_if_modified(|old| {
            let is_new = **old != *json;
            if is_new {
                *old = json.into();
            }
            is_new
        });
    }

    pub(super) fn has_listeners(&self) -> bool {
        self.state.receiver_count() > 0
    }

    /// The last events, newest first.
    pub(super) fn recent(&self) -> Vec<Event> {
        lock(&self.past).recent.iter().map(|event| Event::clone(event)).collect()
    }

    /// How many labels came, and how many went, since the start.
    pub(super) fn counts(&self) -> (u64, u64) {
        let past = lock(&self.past);
        (past.entered, past.left)
    }

    /// All that happens from now on, and first how things stand.
    pub(super) fn listen(
        &self,
        status: &Status,
    ) -> sse::Sse<impl Stream<Item = SseResult> + use<>> {
        let (messages, mut state) = (self.messages.subscribe(), self.state.subscribe());
        self.state(&status.snapshot());
        state.mark_changed();
        let listener = Listener { messages, state };
        let events = stream::unfold(listener, async |mut listener| {
            let Message { name, json } = listener.next().await?;
            Some((Ok(sse::Event::default().event(name).data(json)), listener))
        });
        let alive = sse::Event::default().event("alive").data("{}");
        sse::Sse::new(events).keep_alive(sse::KeepAlive::new().interval(ALIVE).event(alive))
    }

    fn remember(&self, event: &Arc<Event>) {
        let mut past = lock(&self.past);
        past.recent.truncate(RECENT_MAX - 1);
        past.recent.push_front(Arc::clone(event));
        match event.state {
            Transition::Enter => past.entered += 1,
            Transition::Leave => past.left += 1,
        }
    }

    fn tell(&self, name: &'static str, what: &impl Serialize) {
        if let Ok(json) = serde_json::to_string(what) {
            // Fails where nobody listens.
            let _ = self.messages.send(Message { name, json: json.into() });
        }
    }
}

type SseResult = Result<sse::Event, Infallible>;

impl Listener {
    /// The next message; none when the page is closed down.
    async fn next(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            message = self.messages.recv() => match message {
                Ok(message) => Some(message),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    Some(Message { name: "lost", json: "null".into() })
                }
                Err(broadcast::error::RecvError::Closed) => None,
            },
            changed = self.state.changed() => {
                changed.ok()?;
                let json = Arc::clone(&self.state.borrow_and_update());
                Some(Message { name: "state", json })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(score: f32) -> Notice {
        let event = Event {
            v: 1,
            unix_ms: 0,
            device: "hall".into(),
            source: "cam0".into(),
            region: None,
            label: "two\nlines\r\n\ndata: <b>".into(),
            state: Transition::Enter,
            score,
            label_set: "sha256:0".into(),
            model: "sha256:1".into(),
        };
        Notice::Event(Arc::new(event), None)
    }

    fn listener(news: &News) -> Listener {
        Listener { messages: news.messages.subscribe(), state: news.state.subscribe() }
    }

    /// What a listener can have without waiting.
    fn heard(listener: &mut Listener) -> Vec<Message> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut heard = Vec::new();
            while let Ok(Some(message)) =
                tokio::time::timeout(Duration::from_millis(20), listener.next()).await
            {
                heard.push(message);
            }
            heard
        })
    }

    #[test]
    fn only_the_newest_events_are_kept() {
        let news = News::default();
        for index in 0..RECENT_MAX + 7 {
            news.notice(&event(index as f32));
        }
        let recent = news.recent();
        assert_eq!(recent.len(), RECENT_MAX);
        assert_eq!((recent[0].score, recent[1].score), (56.0, 55.0));
        assert_eq!(news.counts(), (57, 0));
    }

    #[test]
    fn a_slow_listener_hears_the_newest_state_once_and_that_it_lost_something() {
        let news = News::default();
        let mut slow = listener(&news);
        for index in 0..3 * MESSAGES_MAX as u64 {
            news.notice(&event(0.5));
            news.state(&Snapshot { inferred: index, ..Snapshot::default() });
        }
        let heard = heard(&mut slow);
        assert_eq!(heard[0].name, "lost");
        assert_eq!(heard.len(), 1 + MESSAGES_MAX + 1);
        let state = heard.last().unwrap();
        assert_eq!(state.name, "state");
        assert!(state.json.contains(&format!("\"inferred\":{}", 3 * MESSAGES_MAX - 1)));
    }

    #[test]
    fn the_same_state_is_not_told_twice() {
        let news = News::default();
        let mut listener = listener(&news);
        news.state(&Snapshot::default());
        assert_eq!(heard(&mut listener).len(), 1);
        news.state(&Snapshot::default());
        assert_eq!(heard(&mut listener).len(), 0);
    }

    #[test]
    fn a_label_cannot_break_out_of_its_line() {
        let news = News::default();
        let mut listener = listener(&news);
        news.notice(&event(0.5));
        let heard = heard(&mut listener);
        assert!(!heard[0].json.contains(['\n', '\r']), "{}", heard[0].json);
    }
}
