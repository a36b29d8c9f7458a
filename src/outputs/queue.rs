//! The outputs' threads and their queues.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Notice, Output};

/// Notices that wait for an output at most.
const NOTICES_MAX: usize = 256;

/// Pictures among them at most: each is a whole frame.
const PICTURES_MAX: usize = 4;

/// Longest wait for the outputs where the loop crashed.
const ABANDON_PATIENCE: Duration = Duration::from_secs(1);

/// All outputs, each on its thread.
#[derive(Default)]
pub struct Outputs(Vec<Worker>);

struct Worker {
    name: &'static str,
    wants_pictures: bool,
    queue: SyncSender<Notice>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What an output's thread shares with [`Outputs`].
#[derive(Default)]
struct Shared {
    /// Pictures that wait.
    pictures: AtomicUsize,
    /// Whether notices were lost that the output doesn't know of.
    lost: AtomicBool,
    /// Notices that found the queue full.
    lost_count: AtomicU64,
    /// Whether the end of the queue is a clean stop.
    told_to_stop: AtomicBool,
    /// Whether it was said that the output's thread has ended.
    mourned: AtomicBool,
}

impl Worker {
    fn takes_picture(&self) -> bool {
        self.wants_pictures && self.shared.pictures.load(Ordering::Acquire) < PICTURES_MAX
    }
}

impl Outputs {
    /// Starts an output on a thread of its own.
    ///
    /// # Errors
    /// Where the thread can't be started.
    pub fn start(&mut self, name: &'static str, output: Box<dyn Output>) -> std::io::Result<()> {
        let wants_pictures = output.wants_pictures();
        let (queue, notices) = sync_channel(NOTICES_MAX);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(name, output, &notices, &theirs))?;
        self.0.push(Worker { name, wants_pictures, queue, shared, thread });
        Ok(())
    }

    /// Tells every output, without waiting for any.
    pub fn tell(&self, notice: &Notice) {
        for worker in &self.0 {
            let takes_picture = notice.has_picture() && worker.takes_picture();
            let notice =
                if takes_picture { Some(notice.clone()) } else { notice.without_picture() };
            let Some(notice) = notice else { continue };
            match worker.queue.try_send(notice) {
                Ok(()) => {
                    worker.shared.pictures.fetch_add(takes_picture.into(), Ordering::AcqRel);
                }
                Err(TrySendError::Full(_)) => {
                    worker.shared.lost_count.fetch_add(1, Ordering::Relaxed);
                    worker.shared.lost.store(true, Ordering::Release);
                }
                Err(TrySendError::Disconnected(_)) => {
                    if !worker.shared.mourned.swap(true, Ordering::Relaxed) {
                        log::error!("{} has ended: restart edgeclip", worker.name);
                    }
                }
            }
        }
    }

    /// Each output's name, and how many notices it lost because its queue was full.
    pub fn lost(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|worker| (worker.name, worker.shared.lost_count.load(Ordering::Relaxed)))
    }

    /// Stops every output, and waits for them no longer than `patience`. What is still queued is worked off first.
    pub fn stop(mut self, patience: Duration) {
        for worker in &self.0 {
            worker.shared.told_to_stop.store(true, Ordering::Release);
        }
        self.end(patience);
    }

    /// Closes the queues, and waits for the threads no longer than `patience`.
    fn end(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        let workers = std::mem::take(&mut self.0);
        let threads: Vec<_> =
            workers.into_iter().map(|worker| (worker.name, worker.thread)).collect();
        for (name, thread) in threads {
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            if !thread.is_finished() {
                log::warn!("{name} did not stop in time");
            }
        }
    }
}

/// Where the loop is gone without a word, the outputs still get the time to be safe.
impl Drop for Outputs {
    fn drop(&mut self) {
        self.end(ABANDON_PATIENCE);
    }
}

/// An output's thread: works until the queue is closed. One that panics is left as safe as it can be.
fn run(name: &str, mut output: Box<dyn Output>, notices: &Receiver<Notice>, shared: &Shared) {
    let worked = catch_unwind(AssertUnwindSafe(|| work(name, &mut *output, notices, shared)));
    if worked.is_err() {
        log::error!("{name} failed, and is given up");
        let _ = catch_unwind(AssertUnwindSafe(|| output.abandoned()));
    }
}

/// Notices until the queue is closed.
fn work(name: &str, output: &mut dyn Output, notices: &Receiver<Notice>, shared: &Shared) {
    let complain = |result: anyhow::Result<()>| {
        if let Err(error) = result {
            log::warn!("{name}: {error:#}");
        }
    };
    // Notices that may be older than the newest loss. The status must be looked at after them: they
    // would be played on top of it otherwise.
    let mut older: Option<usize> = None;
    loop {
        if shared.lost.swap(false, Ordering::Acquire) {
            if older.is_none() {
                log::warn!("{name} is too slow: notices were lost");
            }
            older = Some(NOTICES_MAX);
        }
        if older == Some(0) {
            older = None;
            complain(output.tick(true));
        }
        let patience = if older.is_some() { Duration::ZERO } else { output.patience() };
        match notices.recv_timeout(patience) {
            Ok(notice) => {
                let had_picture = notice.has_picture();
                shared.pictures.fetch_sub(had_picture.into(), Ordering::AcqRel);
                complain(output.notice(&notice));
                older = older.map(|older| older.saturating_sub(1));
            }
            Err(RecvTimeoutError::Timeout) if older.is_some() => older = Some(0),
            Err(RecvTimeoutError::Timeout) => complain(output.tick(false)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if shared.told_to_stop.load(Ordering::Acquire) {
        output.stop();
    } else {
        output.abandoned();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::{NOTICES_MAX, Notice, Output, Outputs};

    /// Says what it is told; each notice waits until it is let through.
    struct Slow {
        told: Sender<String>,
        gate: Arc<Mutex<Receiver<()>>>,
    }

    impl Output for Slow {
        fn notice(&mut self, notice: &Notice) -> anyhow::Result<()> {
            let _ = self.gate.lock().unwrap().recv();
            self.told.send(format!("{notice:?}"))?;
            Ok(())
        }
        fn tick(&mut self, lost: bool) -> anyhow::Result<()> {
            if lost {
                self.told.send("lost".to_owned())?;
            }
            Ok(())
        }
        fn stop(&mut self) {
            let _ = self.told.send("stop".to_owned());
        }
        fn abandoned(&mut self) {
            let _ = self.told.send("abandoned".to_owned());
        }
    }

    fn slow() -> (Outputs, Sender<()>, Receiver<String>) {
        let (told, hears) = channel();
        let (open, gate) = channel();
        let mut outputs = Outputs::default();
        let output = Slow { told, gate: Arc::new(Mutex::new(gate)) };
        outputs.start("slow", Box::new(output)).unwrap();
        (outputs, open, hears)
    }

    #[test]
    fn a_loss_is_told_after_every_notice_that_is_older() {
        let (outputs, open, hears) = slow();
        // One is in the output's hands perhaps, the queue is full, and some are lost.
        for _ in 0..NOTICES_MAX + 10 {
            outputs.tell(&Notice::Muted(true));
        }
        drop(open);
        let told: Vec<String> = std::iter::from_fn(|| {
            let line = hears.recv_timeout(Duration::from_secs(20)).unwrap();
            (line != "lost").then_some(line)
        })
        .collect();
        let (_, lost) = outputs.lost().next().unwrap();
        assert_eq!(told.len() + lost as usize, NOTICES_MAX + 10);
        assert!(lost > 0, "the test fills the queue");
    }

    #[test]
    fn a_clean_stop_is_told_from_a_crash() {
        let (outputs, open, hears) = slow();
        drop(open);
        outputs.stop(Duration::from_secs(20));
        assert_eq!(hears.recv().unwrap(), "stop");
        let (outputs, _open, hears) = slow();
        drop(outputs);
        assert_eq!(hears.recv().unwrap(), "abandoned");
    }
}
