//! A connection over which next to nothing comes is given up, as one over which nothing comes is.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Fewest bytes that must come in a second, over the time of a stall.
const BYTES_A_SECOND_MIN: f64 = 1000.0;

/// What is read, as long as it comes fast enough.
pub(super) struct Paced<R> {
    from: R,
    stall: Duration,
    /// The time that was waited since it was last looked at, and what came in it.
    time: Duration,
    bytes: u64,
}

/// Fewest bytes that must come in a time.
pub(super) fn least_bytes(time: Duration) -> u64 {
    (time.as_secs_f64() * BYTES_A_SECOND_MIN) as u64
}

impl<R> Paced<R> {
    pub(super) fn new(from: R, stall: Duration) -> Self {
        Self { from, stall, time: Duration::ZERO, bytes: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.time >= self.stall {
            if self.bytes < least_bytes(self.stall) {
                let words = format!("{} bytes came in {:.0?}", self.bytes, self.time);
                return Err(io::Error::new(io::ErrorKind::TimedOut, words));
            }
            (self.time, self.bytes) = (Duration::ZERO, 0);
        }
        let begun = Instant::now();
        let count = self.from.read(into)?;
        self.time += begun.elapsed();
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One byte at a time, without end.
    struct Drip;

    impl Read for Drip {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_millis(4));
            Ok(into.len().min(1))
        }
    }

    #[test]
    fn what_drips_ends_and_what_flows_does_not() {
        let stall = Duration::from_millis(20);
        let error = io::copy(&mut Paced::new(Drip, stall), &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let flow = io::repeat(0).take(1 << 24);
        assert_eq!(io::copy(&mut Paced::new(flow, stall), &mut io::sink()).unwrap(), 1 << 24);
    }
}
