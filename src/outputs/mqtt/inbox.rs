//! Label sets that come in over MQTT.
//!
//! A broker hands out a retained message anew at every connection. It must not undo what was set since
//! then: the digest of the last text of each topic that the pipeline answered is kept, also over
//! restarts, and a retained message with the same text is passed over. The same text sent once more by
//! someone is no retained message to us, and is handed on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use crate::digest::sha256;
use crate::disk;
use crate::outputs::{LabelsReport, Request, Requests, Status};
use crate::prompts::SET_BYTES_MAX;

/// Who asks, for the history.
pub(super) const ORIGIN: &str = "mqtt";

/// The way from topics to the pipeline.
pub(super) struct Inbox {
    requests: Requests,
    status: Status,
    /// Digest of the last text that was answered, by topic.
    answered: BTreeMap<String, String>,
    /// Where that is kept.
    file: Option<PathBuf>,
    waiting: Vec<Waiting>,
}

/// A label set that the pipeline has, and has not answered.
struct Waiting {
    topic: String,
    digest: String,
    answer: Receiver<Arc<LabelsReport>>,
}

impl Inbox {
    /// A file that is missing or damaged is an empty one: the worst that comes of it is that a set is used again.
    pub(super) fn new(requests: Requests, status: Status, file: Option<PathBuf>) -> Self {
        let text = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let answered = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { requests, status, answered, file, waiting: Vec::new() }
    }

    /// Takes a message; a report is what is to be published at once.
    pub(super) fn take(
        &mut self,
        topic: &str,
        payload: &[u8],
        retained: bool,
    ) -> Option<LabelsReport> {
        // A retained message was taken away.
        if payload.is_empty() {
            return None;
        }
        let digest = sha256(payload);
        if retained && self.answered.get(topic) == Some(&digest) {
            log::debug!("mqtt: the label set of {topic} is the one that was used before");
            return None;
        }
        match self.hand_on(topic, payload, digest) {
            Ok(()) => None,
            Err(reason) => {
                log::warn!("mqtt: the label set of {topic} is refused: {reason}");
                Some(self.refusal(&reason))
            }
        }
    }

    fn hand_on(&mut self, topic: &str, payload: &[u8], digest: String) -> Result<(), String> {
        if payload.len() > SET_BYTES_MAX {
            let bytes = payload.len();
            return Err(format!("{bytes} bytes are more than the limit of {SET_BYTES_MAX}"));
        }
        let text =
            std::str::from_utf8(payload).map_err(|error| format!("is not UTF-8: {error}"))?;
        let (reply, answer) = sync_channel(1);
        let text = one_a_line(text).into_owned();
        let request = Request::Labels { text, origin: ORIGIN.to_owned(), reply: Some(reply) };
        self.requests.send(request).map_err(|error| error.to_string())?;
        self.waiting.push(Waiting { topic: topic.to_owned(), digest, answer });
        Ok(())
    }

    /// Sees which label sets were answered.
    pub(super) fn settle(&mut self) {
        let mut news = false;
        self.waiting.retain(|waiting| match waiting.answer.try_recv() {
            Ok(_) => {
                self.answered.insert(waiting.topic.clone(), waiting.digest.clone());
                news = true;
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Disconnected) => false,
        });
        if news {
            self.keep();
        }
    }

    fn keep(&self) {
        let Some(file) = &self.file else { return };
        let kept = serde_json::to_vec(&self.answered).map_err(std::io::Error::other);
        if let Err(error) = kept.and_then(|text| disk::replace(file, &text)) {
            log::warn!("{} can't be written: {error}", file.display());
        }
    }

    fn refusal(&self, reason: &str) -> LabelsReport {
        let (label_set, labels) = self.status.with(|snapshot| {
            let region = snapshot.regions.first();
            (snapshot.label_set.clone(), region.map_or(0, |region| region.labels.len()))
        });
        LabelsReport::refused(ORIGIN, &label_set, labels, reason)
    }
}

/// `cat, dog`, as people type it into one line, to one label a line. TOML and JSON stay as they are.
fn one_a_line(text: &str) -> Cow<'_, str> {
    let line = text.trim();
    let is_list = line.contains(',') && !line.contains(['\n', '=', '{', '[']);
    if !is_list {
        return Cow::Borrowed(text);
    }
    let names = line.split(',').map(str::trim).filter(|name| !name.is_empty());
    Cow::Owned(names.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::mpsc::Receiver;

    use super::{Inbox, ORIGIN, SET_BYTES_MAX, one_a_line};
    use crate::outputs::{LabelsReport, Request, Requests, Status};

    fn inbox(file: &Path) -> (Inbox, Receiver<Request>) {
        let (requests, asked) = Requests::channel();
        (Inbox::new(requests, Status::default(), Some(file.to_owned())), asked)
    }

    /// What the pipeline is asked, which it answers where told so.
    fn texts(asked: &Receiver<Request>, answers: bool) -> Vec<String> {
        let text = |request| match request {
            Request::Labels { text, origin, reply } => {
                assert_eq!(origin, ORIGIN);
                let report = LabelsReport {
                    accepted: true,
                    origin,
                    label_set: String::new(),
                    labels: 1,
                    encoded: 0,
                    error: None,
                    line: None,
                    warnings: Vec::new(),
                };
                if answers {
                    reply.unwrap().send(Arc::new(report)).unwrap();
                }
                text
            }
            other => panic!("{other:?}"),
        };
        asked.try_iter().map(text).collect()
    }

    #[test]
    fn a_retained_set_is_used_once_also_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answered.json");
        let (mut inbox, asked) = self::inbox(&file);
        assert!(inbox.take("a", b"cat", true).is_none());
        assert_eq!(texts(&asked, false), ["cat"]);
        inbox.settle();
        assert!(inbox.take("a", b"cat", true).is_none());
        assert_eq!(texts(&asked, true), ["cat"], "the first one was never answered");
        inbox.settle();
        let (mut inbox, asked) = self::inbox(&file);
        assert!(inbox.take("a", b"cat", true).is_none());
        assert!(inbox.take("a", b"", true).is_none());
        assert!(texts(&asked, true).is_empty());
        inbox.take("a", b"cat", false);
        inbox.take("b", b"cat", true);
        inbox.take("a", b"dog", true);
        assert_eq!(
            texts(&asked, true),
            ["cat", "cat", "dog"],
            "by hand, another topic, another text"
        );
    }

    #[test]
    fn what_cannot_be_handed_on_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let (mut inbox, asked) = self::inbox(&folder.path().join("answered.json"));
        let large = inbox.take("a", &vec![b'x'; SET_BYTES_MAX + 1], false).unwrap();
        assert!(!large.accepted && large.error.unwrap().contains("limit"));
        let binary = inbox.take("a", &[0xff, 0xfe], false).unwrap();
        assert!(binary.error.unwrap().contains("UTF-8"));
        while inbox.take("a", b"cat", false).is_none() {}
        drop(asked);
        let stopping = inbox.take("a", b"cat", false).unwrap();
        assert!(stopping.error.unwrap().contains("stopping"));
    }

    #[test]
    fn a_list_on_one_line_becomes_one_a_line() {
        assert_eq!(one_a_line(" cat,  big dog,\n"), "cat\nbig dog");
        for text in ["cat", "cat\ndog, big", "label = [\"a, b\"]", "{\"label\": [1, 2]}", "[1, 2]"]
        {
            assert_eq!(one_a_line(text), text);
        }
    }
}
