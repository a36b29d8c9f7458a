//! The page, the stream, the interface for programs and the metrics, over HTTP.
//!
//! | route                       | what                                                             |
//! |-----------------------------|------------------------------------------------------------------|
//! | `GET /`                     | the page for a screen on the wall                                |
//! | `GET /labels`               | the page to edit the labels                                      |
//! | `GET /events`               | server-sent events: `event`, `state`, `labels`, `source`, `muted`, `lost`, `alive` |
//! | `GET /stream.mjpg`          | the live picture, as a JPEG after another                        |
//! | `GET /snapshot.jpg`         | the picture of now                                               |
//! | `GET /api/state`            | the state and the last events                                    |
//! | `GET /api/labels`           | the label set in use, as it was written                          |
//! | `PUT /api/labels`           | use this label set: 200, or 422 with the line that is wrong      |
//! | `POST /api/labels/rollback` | use the set before: 202, the outcome comes as an event           |
//! | `POST /api/mute`            | `{"muted": true}`: silence the outputs that act: 202             |
//! | `POST /api/picture`         | have the outputs told a picture of now: 202                      |
//! | `POST /api/login`, `/logout`| trade the token or the PIN for a session's cookie                |
//! | `GET /metrics`              | for Prometheus                                                   |
//! | `GET /healthz`              | 200 while frames flow, otherwise 503 with the reason             |
//!
//! Who may do what stands in `access`, what is refused to web pages of other sites in `guard`. The pages
//! themselves and `/healthz` are open, all else needs the token where one is set. `POST` asks for
//! `Content-Type: application/json` or the token. There is no TLS: beyond a trusted network put a proxy
//! before it.
//!
//! A port that can't be had does not end the appliance, which has other outputs, and whose network may
//! come up after it: the page says so in the log, naming the address, and tries again after 1 s, 2 s, 4 s,
//! .. up to a minute.

mod access;
mod api;
mod guard;
mod health;
mod limits;
mod live;
mod metrics;
mod news;
mod options;
mod pages;
mod refusal;
mod server;
mod site;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::{Notice, Output, Requests, Status};
use limits::lock;
use site::Site;

pub use options::{Options, PIN_DIGITS, TOKEN_CHARS_MAX, TOKEN_CHARS_MIN};

/// The page. Serves until it is stopped or dropped.
pub struct Http {
    site: Arc<Site>,
    stop: watch::Sender<bool>,
    bound: watch::Receiver<Option<SocketAddr>>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Starts the server on a thread of its own. A port that is taken is only logged, and tried again.
    ///
    /// # Errors
    /// Where the options are wrong, the token's file can't be read, or there is no thread to be had.
    pub fn start(options: Options, status: Status, requests: Requests) -> anyhow::Result<Self> {
        options.check().map_err(anyhow::Error::msg)?;
        let site = Arc::new(Site::new(options, status, requests)?);
        let listener = server::bind(site.options.listen);
        let listener = listener
            .map_err(|reason| {
                log::warn!("http: {reason}; it is tried again and again");
                *lock(&site.trouble) = Some(reason);
            })
            .ok();
        let (stop, stopped) = watch::channel(false);
        let (binds, bound) = watch::channel(None);
        let served = Arc::clone(&site);
        let thread = std::thread::Builder::new()
            .name("http-server".to_owned())
            .spawn(move || server::run(&served, listener, &binds, stopped))?;
        Ok(Self { site, stop, bound, thread: Some(thread) })
    }

    /// Where the page is, once it is: its port was chosen by the system where `listen` has port 0.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        *self.bound.borrow()
    }

    /// Why the page can't be reached, while it can't.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.site.trouble).clone()
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("http: the page's thread died");
        }
    }
}

impl Output for Http {
    fn notice(&mut self, notice: &Notice) -> anyhow::Result<()> {
        self.site.news.notice(notice);
        Ok(())
    }

    fn tick(&mut self, lost: bool) -> anyhow::Result<()> {
        if lost {
            self.site.news.lost();
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.end();
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.end();
    }
}
