//! What all requests share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::access::Access;
use super::health::Health;
use super::limits::{Buckets, Seats};
use super::live::Live;
use super::news::News;
use super::options::Options;
use crate::outputs::{Requests, Status};

/// Requests that wait for the outcome of a label set at most.
const WAITING_MAX: usize = 2;
/// How much more than the average rate a peer may ask for at once.
const BURST: f64 = 4.0;

/// What all requests share.
pub(super) struct Site {
    pub(super) options: Options,
    pub(super) status: Status,
    pub(super) requests: Requests,
    pub(super) access: Access,
    /// Names that this device has, besides its addresses.
    pub(super) names: Vec<String>,
    pub(super) requests_of: Buckets,
    pub(super) seats: Arc<Seats>,
    /// Connections that found no seat.
    pub(super) turned_away: AtomicU64,
    pub(super) waiting: Arc<Semaphore>,
    pub(super) news: News,
    pub(super) live: Live,
    pub(super) health: Health,
    /// Why the page can't be reached, while it can't.
    pub(super) trouble: Mutex<Option<String>>,
    pub(super) started: Instant,
}

impl Site {
    pub(super) fn new(
        options: Options,
        status: Status,
        requests: Requests,
    ) -> anyhow::Result<Self> {
        let token = options.read_token()?;
        let rate = f64::from(options.requests_per_second_max);
        Ok(Self {
            access: Access::new(token, options.pin.clone(), options.listen.port()),
            names: own_names(&options),
            requests_of: Buckets::new(rate, rate * BURST),
            seats: Seats::new(options.connections_max),
            turned_away: AtomicU64::new(0),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            news: News::default(),
            live: Live::default(),
            health: Health::new(Duration::from_millis(options.healthy_ms_max.into())),
            trouble: Mutex::default(),
            started: Instant::now(),
            options,
            status,
            requests,
        })
    }

    /// Writes down how things stand, as often as pages are told.
    pub(super) async fn keep_state(&self) {
        let period = Duration::from_secs_f32(1.0 / self.options.state_fps_max);
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if self.news.has_listeners() {
                self.news.state(&self.status.snapshot());
            }
        }
    }

    /// Watches whether frames flow.
    pub(super) async fn keep_health(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.health.look(&self.status);
        }
    }
}

fn own_names(options: &Options) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if !host.is_empty() {
        names.extend([host.to_owned(), format!("{host}.local")]);
    }
    names.extend(options.names.iter().cloned());
    names
}
