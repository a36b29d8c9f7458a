//! The live picture: each new frame becomes a JPEG once, for all who watch; while nobody does, no frame
//! is copied and nothing is encoded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use super::options::Options;
use crate::capture::{Frame, encode_jpeg};
use crate::outputs::Status;

/// Between the pictures of a stream. Stands after each one, so that browsers show it at once.
const BOUNDARY: &str = "--edgeclip-picture\r\n";
/// A picture that no other one follows is sent again after so long: Chromium shows a part when the next one
/// begins.
const REPEAT: Duration = Duration::from_millis(250);
const MULTIPART: &str = "multipart/x-mixed-replace; boundary=edgeclip-picture";

/// The newest picture, for all who watch.
#[derive(Default)]
pub(super) struct Live {
    picture: watch::Sender<Option<Bytes>>,
    wanted: Notify,
}

impl Live {
    /// Encodes what is new, as long as someone watches.
    pub(super) async fn keep_encoding(&self, status: &Status, options: &Options) {
        loop {
            while self.picture.receiver_count() == 0 {
                self.wanted.notified().await;
            }
            self.encode_while_watched(status, options).await;
            self.picture.send_replace(None);
        }
    }

    async fn encode_while_watched(&self, status: &Status, options: &Options) {
        let quality = options.jpeg_quality;
        let watch = status.watch();
        let mut tick = tokio::time::interval(Duration::from_secs_f32(1.0 / options.stream_fps_max));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<Arc<Frame>> = None;
        while self.picture.receiver_count() > 0 {
            tick.tick().await;
            let Some(frame) = watch.newest() else { continue };
            if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &frame)) {
                continue;
            }
            let shown = Arc::clone(&frame);
            // Aside: the page's only thread has others to serve.
            let jpeg = tokio::task::spawn_blocking(move || encode_jpeg(&shown, quality)).await;
            last = Some(frame);
            if let Ok(Some(jpeg)) = jpeg {
                self.picture.send_replace(Some(jpeg.into()));
            }
        }
    }

    fn watch(&self) -> watch::Receiver<Option<Bytes>> {
        let pictures = self.picture.subscribe();
        self.wanted.notify_one();
        pictures
    }

    /// The next picture, or the one that others see now.
    pub(super) async fn one(&self, patience: Duration) -> Option<Bytes> {
        let mut pictures = self.watch();
        let first = pictures.wait_for(Option::is_some);
        let picture = tokio::time::timeout(patience, first).await.ok()?.ok()?;
        picture.clone()
    }

    /// Pictures without end. Who reads slowly misses some.
    pub(super) fn stream(&self) -> Response {
        let mut pictures = self.watch();
        pictures.mark_changed();
        let viewer = Viewer { pictures, before: BOUNDARY, to_repeat: None };
        let parts = stream::unfold(viewer, async |mut viewer| {
            let part = viewer.next().await?;
            Some((Ok::<_, Infallible>(part), viewer))
        });
        ([(header::CONTENT_TYPE, MULTIPART)], Body::from_stream(parts)).into_response()
    }
}

/// One who watches the stream.
struct Viewer {
    pictures: watch::Receiver<Option<Bytes>>,
    /// What goes before the next part.
    before: &'static str,
    /// The last picture, where it was sent once.
    to_repeat: Option<Bytes>,
}

impl Viewer {
    async fn next(&mut self) -> Option<Bytes> {
        let picture = loop {
            let changed = self.pictures.changed();
            if self.to_repeat.is_none() {
                changed.await.ok()?;
            } else if let Ok(changed) = tokio::time::timeout(REPEAT, changed).await {
                changed.ok()?;
            } else if let Some(picture) = self.to_repeat.take() {
                break picture;
            }
            let newest = self.pictures.borrow_and_update().clone();
            self.to_repeat.clone_from(&newest);
            if let Some(picture) = newest {
                break picture;
            }
        };
        Some(part(std::mem::take(&mut self.before), &picture))
    }
}

fn part(before: &str, jpeg: &Bytes) -> Bytes {
    let head =
        format!("{before}Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
    let mut part = BytesMut::with_capacity(head.len() + jpeg.len() + 2 + BOUNDARY.len());
    part.put_slice(head.as_bytes());
    part.put_slice(jpeg);
    part.put_slice(b"\r\n");
    part.put_slice(BOUNDARY.as_bytes());
    part.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(grey: u8) -> Arc<Frame> {
        Arc::new(Frame::new(16, 16, vec![grey; 16 * 16 * 3]).unwrap())
    }

    fn run(test: impl AsyncFnOnce(&Live, &Status)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (live, status) = (Live::default(), Status::default());
        let options = Options { stream_fps_max: 60.0, ..Options::default() };
        runtime.block_on(async {
            tokio::select! {
                () = live.keep_encoding(&status, &options) => {}
                () = test(&live, &status) => {}
            }
        });
    }

    async fn until(what: impl Fn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !what() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.expect("this comes true in time");
    }

    #[test]
    fn nothing_is_watched_while_nobody_watches() {
        run(async |live, status| {
            assert!(!status.is_watched());
            let viewer = live.watch();
            until(|| status.is_watched()).await;
            status.show(frame(10));
            until(|| viewer.borrow().is_some()).await;
            drop(viewer);
            until(|| !status.is_watched()).await;
            until(|| live.picture.borrow().is_none()).await;
        });
    }

    #[test]
    fn viewers_share_one_encoding_of_each_frame() {
        run(async |live, status| {
            let (one, other) = (live.watch(), live.watch());
            until(|| status.is_watched()).await;
            status.show(frame(10));
            until(|| one.borrow().is_some()).await;
            let seen = [&one, &other].map(|viewer| viewer.borrow().clone().unwrap().as_ptr());
            assert_eq!(seen[0], seen[1]);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let still = one.borrow().clone().unwrap().as_ptr();
            assert_eq!(still, seen[0], "the same frame is not encoded again");
            status.show(frame(200));
            until(|| one.borrow().clone().unwrap().as_ptr() != seen[0]).await;
        });
    }

    #[test]
    fn parts_end_with_the_next_boundary() {
        let whole = part(BOUNDARY, &Bytes::from_static(b"JPEG"));
        let wanted = "--edgeclip-picture\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\n\r\n\
                      JPEG\r\n--edgeclip-picture\r\n";
        assert_eq!(whole, wanted);
        assert!(MULTIPART.ends_with(BOUNDARY[2..].trim_end()));
    }
}
