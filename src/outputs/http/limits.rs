//! How often one peer may do something: a bucket of tokens for each, and seats for connections.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Peers that are remembered at most; the fullest bucket is forgotten first.
const PEERS_MAX: usize = 1024;

/// Who is at the other end. All of an IPv6 /64 is one: a single host has as many addresses as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                let network = u128::from(v6) >> 64 << 64;
                Self(IpAddr::V6(Ipv6Addr::from(network)))
            }
            other => Self(other),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Buckets that fill at a steady rate, one for each peer.
#[derive(Debug)]
pub(super) struct Buckets {
    per_second: f64,
    burst: f64,
    peers: Mutex<HashMap<Peer, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    seen: Instant,
}

impl Buckets {
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, peers: Mutex::default() }
    }

    /// Takes a token; `Err` says how long to wait for the next one.
    pub(super) fn take(&self, peer: Peer, now: Instant) -> Result<(), Duration> {
        let mut peers = lock(&self.peers);
        let tokens = self.tokens(peers.get(&peer), now);
        if tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second));
        }
        if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
            self.forget_one(&mut peers, now);
        }
        peers.insert(peer, Bucket { tokens: tokens - 1.0, seen: now });
        Ok(())
    }

    /// Whether a token could be taken; `Err` as for [`take`](Self::take).
    pub(super) fn look(&self, peer: Peer, now: Instant) -> Result<(), Duration> {
        let tokens = self.tokens(lock(&self.peers).get(&peer), now);
        if tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second));
        }
        Ok(())
    }

    fn tokens(&self, bucket: Option<&Bucket>, now: Instant) -> f64 {
        bucket.map_or(self.burst, |bucket| {
            let idle = now.saturating_duration_since(bucket.seen).as_secs_f64();
            (bucket.tokens + idle * self.per_second).min(self.burst)
        })
    }

    fn forget_one(&self, peers: &mut HashMap<Peer, Bucket>, now: Instant) {
        let fullest = peers
            .iter()
            .max_by(|a, b| self.tokens(Some(a.1), now).total_cmp(&self.tokens(Some(b.1), now)));
        if let Some(peer) = fullest.map(|(peer, _)| *peer) {
            peers.remove(&peer);
        }
    }
}

/// Connections at once: in all, and of one peer.
#[derive(Debug)]
pub(super) struct Seats {
    all_max: u32,
    peer_max: u32,
    taken: Mutex<HashMap<Peer, u32>>,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    peer: Peer,
}

impl Seats {
    pub(super) fn new(all_max: u32) -> Arc<Self> {
        Arc::new(Self { all_max, peer_max: all_max * 3 / 4, taken: Mutex::default() })
    }

    /// `None` where there are too many.
    pub(super) fn take(self: &Arc<Self>, peer: Peer) -> Option<Seat> {
        let mut taken = lock(&self.taken);
        let all: u32 = taken.values().sum();
        let peers = taken.get(&peer).copied().unwrap_or(0);
        if all >= self.all_max || peers >= self.peer_max {
            return None;
        }
        taken.insert(peer, peers + 1);
        Some(Seat { seats: Arc::clone(self), peer })
    }

    /// Seats that are taken.
    pub(super) fn count(&self) -> u32 {
        lock(&self.taken).values().sum()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.seats.taken);
        let left = taken.get(&self.peer).copied().unwrap_or(1) - 1;
        if left == 0 {
            taken.remove(&self.peer);
        } else {
            taken.insert(self.peer, left);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::from(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let (buckets, start) = (Buckets::new(2.0, 3.0), Instant::now());
        let (one, other) = (peer("10.0.0.1"), peer("10.0.0.2"));
        for _ in 0..3 {
            assert_eq!(buckets.take(one, start), Ok(()));
        }
        assert_eq!(buckets.look(one, start), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take(one, start), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take(other, start), Ok(()), "another peer has its own");
        let later = start + Duration::from_millis(500);
        assert_eq!(buckets.take(one, later), Ok(()));
        assert!(buckets.take(one, later).is_err());
    }

    #[test]
    fn peers_beyond_the_limit_push_out_the_least_guilty() {
        let (buckets, now) = (Buckets::new(0.001, 2.0), Instant::now());
        let guilty = peer("10.9.9.9");
        assert_eq!(buckets.take(guilty, now), Ok(()));
        assert_eq!(buckets.take(guilty, now), Ok(()));
        for index in 0..2 * PEERS_MAX as u32 {
            let _ = buckets.take(Peer::from(IpAddr::from(index.to_be_bytes())), now);
        }
        assert_eq!(lock(&buckets.peers).len(), PEERS_MAX);
        assert!(buckets.take(guilty, now).is_err(), "still remembered");
    }

    #[test]
    fn neighbours_of_a_network_are_one_peer() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
    }

    #[test]
    fn seats_come_free_again() {
        let seats = Seats::new(4);
        let (one, other) = (peer("10.0.0.1"), peer("10.0.0.2"));
        let mut held: Vec<_> = (0..3).map(|_| seats.take(one).unwrap()).collect();
        assert!(seats.take(one).is_none(), "three quarters are this peer's");
        let last = seats.take(other).unwrap();
        assert!(seats.take(other).is_none(), "all are taken");
        held.pop();
        assert!(seats.take(other).is_some());
        drop((held, last));
        assert_eq!(seats.count(), 0);
        assert!(lock(&seats.taken).is_empty());
    }
}
