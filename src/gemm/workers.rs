//! Threads that are started once, share out numbered tasks, and sleep in between.
#![allow(unsafe_code)]

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// A thread looks for a new round this often before it sleeps, some ten to a hundred microseconds:
/// products follow each other closely within a frame, and waking a thread takes longer than most of them.
const SPINS: u32 = 4000;

type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// A pool of threads; whoever hands it work works along.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Copies of `Job::round` and `Job::inside`, for threads that spin.
    round: AtomicUsize,
    inside: AtomicUsize,
    /// The next task of the round that nobody has taken.
    next: AtomicUsize,
    job: Mutex<Job>,
    /// A round has begun, or all must end.
    begun: Condvar,
    /// The last thread has left the round.
    left: Condvar,
}

#[derive(Default)]
struct Job {
    /// Counts the rounds; the end of all is one more.
    round: usize,
    tasks: usize,
    /// Set while a round is open for threads to join.
    work: Option<&'static Work<'static>>,
    /// Threads that have joined and not left.
    inside: usize,
    /// What the first task to panic said.
    panic: Option<Box<dyn Any + Send>>,
    must_end: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on tasks until all are taken. A task that panics does not keep the others from being done.
    fn take_tasks(&self, tasks: usize, work: &Work) {
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                break;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(task))) {
                let mut job = self.lock();
                if job.panic.is_none() {
                    job.panic = Some(panic);
                } else {
                    // Not dropped: its drop might panic in here.
                    std::mem::forget(panic);
                }
            }
        }
    }

    fn spin_until(&self, done: impl Fn(&Self) -> bool) {
        for _ in 0..SPINS {
            if done(self) {
                break;
            }
            std::hint::spin_loop();
        }
    }

    /// Joins the first open round after `seen`, waiting for it; none when all must end.
    fn join(&self, mut seen: usize) -> Option<(usize, usize, &'static Work<'static>)> {
        loop {
            self.spin_until(|shared| shared.round.load(Ordering::Relaxed) != seen);
            let mut job = self.lock();
            while job.round == seen {
                job = self.begun.wait(job).unwrap_or_else(PoisonError::into_inner);
            }
            if job.must_end {
                return None;
            }
            // Who comes too late looks out for the next round, awake.
            seen = job.round;
            if let Some(work) = job.work {
                job.inside += 1;
                self.inside.store(job.inside, Ordering::Relaxed);
                return Some((seen, job.tasks, work));
            }
        }
    }

    fn leave(&self) {
        let mut job = self.lock();
        job.inside -= 1;
        self.inside.store(job.inside, Ordering::Relaxed);
        if job.inside == 0 {
            self.left.notify_one();
        }
    }

    fn serve(&self) {
        let mut seen = 0;
        while let Some((round, tasks, work)) = self.join(seen) {
            seen = round;
            self.take_tasks(tasks, work);
            self.leave();
        }
    }

    /// Begins a round, or the end.
    fn begin(&self, tasks: usize, work: Option<&'static Work<'static>>) {
        let mut job = self.lock();
        job.round += 1;
        (job.tasks, job.work, job.must_end) = (tasks, work, work.is_none());
        self.next.store(0, Ordering::Relaxed);
        self.round.store(job.round, Ordering::Relaxed);
        drop(job);
        self.begun.notify_all();
    }

    /// Closes the round, waits until every thread has left it, and returns what a task panicked with.
    fn close(&self) -> Option<Box<dyn Any + Send>> {
        // Whoever wakes only now finds the round closed; nobody waits for sleepers.
        self.lock().work = None;
        self.spin_until(|shared| shared.inside.load(Ordering::Relaxed) == 0);
        let mut job = self.lock();
        while job.inside > 0 {
            job = self.left.wait(job).unwrap_or_else(PoisonError::into_inner);
        }
        job.panic.take()
    }
}

impl Workers {
    /// Starts `threads - 1` threads: whoever hands the pool work is one more, and alone for 0 or 1.
    ///
    /// # Errors
    /// Where the system can't start a thread.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        Self::start_with(threads, || {})
    }

    /// As [`start`](Self::start); each thread calls `setup` first.
    ///
    /// # Errors
    /// Where the system can't start a thread.
    pub fn start_with(
        threads: usize,
        setup: impl Fn() + Clone + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            round: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            job: Mutex::default(),
            begun: Condvar::new(),
            left: Condvar::new(),
        });
        let mut workers = Self { shared, threads: vec![] };
        for number in 1..threads {
            let (shared, setup) = (Arc::clone(&workers.shared), setup.clone());
            let serve = move || {
                setup();
                shared.serve();
            };
            let thread = Builder::new().name(format!("worker {number}")).spawn(serve)?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// The threads that work on a task, the caller included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `work` once with each number below `tasks`, on all threads, and returns when all is
    /// done. Allocates nothing.
    ///
    /// # Panics
    /// Where a task does, with what the first one said, after the others are done.
    pub(super) fn run(&mut self, tasks: usize, work: &Work) {
        // SAFETY: nothing below unwinds before `close` has returned, so that every thread has left
        // the round, and let go of `work`, when this function ends.
        let work: &'static Work<'static> = unsafe { std::mem::transmute::<&Work, _>(work) };
        // For one task, nobody is woken.
        if self.threads.is_empty() || tasks < 2 {
            self.shared.next.store(0, Ordering::Relaxed);
        } else {
            self.shared.begin(tasks, Some(work));
        }
        self.shared.take_tasks(tasks, work);
        if let Some(panic) = self.shared.close() {
            resume_unwind(panic);
        }
    }

    /// Shares out the columns of a matrix of `stride` values a row: `work` gets each block of
    /// `width` columns (the last may be narrower) once, and writes to it.
    ///
    /// # Panics
    /// Where `out` are no whole rows, `stride` or `width` is zero, or a task panics.
    pub(super) fn run_on_columns<T: Send>(
        &mut self,
        out: &mut [T],
        stride: usize,
        width: usize,
        work: impl Fn(usize, ColumnBlock<T>) + Sync,
    ) {
        assert!(
            stride > 0 && width > 0 && out.len().is_multiple_of(stride),
            "whole rows and blocks"
        );
        let rows = out.len() / stride;
        let matrix = Matrix(out.as_mut_ptr());
        self.run(stride.div_ceil(width), &|task| {
            let first = task * width;
            let width = width.min(stride - first);
            // SAFETY: the first row is that long, or there is none and nothing is added.
            let start = unsafe { matrix.pointer().add(if rows == 0 { 0 } else { first }) };
            work(task, ColumnBlock { start, rows, stride, width, matrix: PhantomData });
        });
    }

    /// Shares out two slices in parts: `work` gets part `number` of both once, and writes to it. A part
    /// ends, in each slice, at its entry in `ends`, and begins where the one before ends.
    ///
    /// # Panics
    /// Where an end is before the last or beyond its slice, or a task panics.
    pub(super) fn run_on_parts<A: Send, B: Send>(
        &mut self,
        (a, b): (&mut [A], &mut [B]),
        ends: &[[usize; 2]],
        work: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let in_order = |pair: &[[usize; 2]]| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1];
        assert!(ends.windows(2).all(in_order), "parts in order");
        let last = ends.last().copied().unwrap_or_default();
        assert!(last[0] <= a.len() && last[1] <= b.len(), "parts of the slices");
        let (a, b) = (Matrix(a.as_mut_ptr()), Matrix(b.as_mut_ptr()));
        self.run(ends.len(), &|part| {
            let from = if part == 0 { [0, 0] } else { ends[part - 1] };
            let [a_len, b_len] = [0, 1].map(|slice| ends[part][slice] - from[slice]);
            // SAFETY: parts are in order and within the slices, and this one's number is given out once.
            let a = unsafe { std::slice::from_raw_parts_mut(a.pointer().add(from[0]), a_len) };
            // SAFETY: as above.
            let b = unsafe { std::slice::from_raw_parts_mut(b.pointer().add(from[1]), b_len) };
            work(part, a, b);
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.begin(0, None);
        for thread in self.threads.drain(..) {
            // It can't have panicked: its tasks' panics were caught.
            let _ = thread.join();
        }
    }
}

/// A matrix whose columns are shared out, or a slice in parts.
struct Matrix<T>(*mut T);

impl<T> Matrix<T> {
    /// By a function, so that a closure holds the matrix, which may be shared, and not its pointer.
    fn pointer(&self) -> *mut T {
        self.0
    }
}

// SAFETY: each task makes slices of its own columns or part only, and a task's number is given out once.
unsafe impl<T: Send> Sync for Matrix<T> {}

/// Some neighbouring columns of a matrix, lent to one task: its life is that of the task's call,
/// and its pointer keeps it on the task's thread.
pub(super) struct ColumnBlock<'a, T> {
    start: *mut T,
    rows: usize,
    stride: usize,
    width: usize,
    matrix: PhantomData<&'a mut [T]>,
}

impl<T> ColumnBlock<'_, T> {
    /// The block's part of a row.
    ///
    /// # Panics
    /// Where the matrix has no such row.
    pub(super) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row is within the matrix, no other block has these columns, and no other row
        // of this block is out while this one is.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.width) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;

    /// Two tasks that can only be done by two threads at once.
    fn assert_both_work(workers: &mut Workers) {
        let barrier = Barrier::new(2);
        workers.run(2, &|_| {
            barrier.wait();
        });
    }

    #[test]
    fn every_task_is_done_once_in_every_round() {
        for threads in [0, 1, 2, 5] {
            let mut workers = Workers::start(threads).unwrap();
            assert_eq!(workers.threads(), threads.max(1));
            for tasks in (0..50).chain([1000]) {
                let done: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                workers.run(tasks, &|task| {
                    done[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn threads_that_sleep_are_woken() {
        let mut workers = Workers::start(2).unwrap();
        assert_both_work(&mut workers);
        std::thread::sleep(Duration::from_millis(50));
        assert_both_work(&mut workers);
        std::thread::sleep(Duration::from_millis(50));
        drop(workers);
    }

    #[test]
    fn a_panic_is_passed_on_when_all_is_done_and_the_pool_works_on() {
        for threads in [1, 2, 3] {
            let mut workers = Workers::start(threads).unwrap();
            let done = AtomicU32::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                workers.run(8, &|task| {
                    assert!(task != 5, "task {task} is meant to fail");
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }));
            let said = *result.unwrap_err().downcast::<String>().unwrap();
            assert_eq!((said.as_str(), done.into_inner()), ("task 5 is meant to fail", 7));
            if threads > 1 {
                assert_both_work(&mut workers);
            }
        }
    }

    #[test]
    fn panics_on_either_thread_are_survived() {
        let mut workers = Workers::start(2).unwrap();
        for on_worker in [true, false] {
            let barrier = Barrier::new(2);
            let result = catch_unwind(AssertUnwindSafe(|| {
                workers.run(2, &|_| {
                    barrier.wait();
                    let name = std::thread::current().name().map(str::to_owned);
                    assert!(
                        name.is_some_and(|name| name.starts_with("worker")) != on_worker,
                        "meant to fail"
                    );
                });
            }));
            assert!(result.is_err());
            assert_both_work(&mut workers);
        }
    }

    #[test]
    fn parts_cover_two_slices() {
        let mut workers = Workers::start(3).unwrap();
        let (mut a, mut b) = (vec![0; 40], vec![0_u8; 21]);
        let ends = [[0, 3], [7, 3], [39, 20], [40, 20]];
        workers.run_on_parts((&mut a, &mut b), &ends, |part, a, b| {
            for value in a {
                *value += 1 + part;
            }
            for value in b {
                *value += 1 + part as u8;
            }
        });
        let wanted = |at: usize| 1 + ends.iter().filter(|end| end[0] <= at).count();
        assert!(a.iter().enumerate().all(|(at, value)| *value == wanted(at)));
        assert_eq!(b, [[1; 3].as_slice(), &[3; 17], &[0]].concat());
        let out_of_order = catch_unwind(AssertUnwindSafe(|| {
            workers.run_on_parts((&mut a, &mut b), &[[5, 0], [4, 0]], |_, _, _| {});
        }));
        assert!(out_of_order.is_err());
        let too_far = catch_unwind(AssertUnwindSafe(|| {
            workers.run_on_parts((&mut a, &mut b), &[[0, 22]], |_, _, _| {});
        }));
        assert!(too_far.is_err());
    }

    #[test]
    fn column_blocks_cover_a_matrix() {
        let mut workers = Workers::start(3).unwrap();
        for (rows, stride, width) in [(0, 5, 2), (1, 1, 4), (7, 10, 3), (50, 768, 32)] {
            let mut matrix = vec![0; rows * stride];
            workers.run_on_columns(&mut matrix, stride, width, |task, mut block| {
                for row in 0..rows {
                    block.row(row).iter_mut().for_each(|value| *value += 1 + task);
                }
            });
            for (at, value) in matrix.iter().enumerate() {
                assert_eq!(*value, 1 + at % stride / width);
            }
        }
    }
}
