//! What the int8 ops of a tower share: a kernel, worker threads, and memory that is used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tract_onnx::prelude::*;

use crate::gemm::{Kernel, PackedRows, Workers};

/// Results that are kept to be overwritten; a tower needs some ten, more come from texts of many lengths.
const KEPT_MAX: usize = 32;

/// Worker threads, shared by all towers of a process.
pub(super) type SharedWorkers = Arc<Mutex<Workers>>;

/// One tower's kernel, threads and memory.
pub(super) struct Engine {
    kernel: &'static Kernel,
    workers: SharedWorkers,
    rows: Mutex<PackedRows>,
    results: Mutex<Vec<Arc<Tensor>>>,
}

/// The parts of an engine that an op works with; held for the time of one op.
pub(super) struct AtWork<'a> {
    pub(super) workers: MutexGuard<'a, Workers>,
    pub(super) rows: MutexGuard<'a, PackedRows>,
}

impl Engine {
    pub(super) fn new(kernel: &'static Kernel, workers: SharedWorkers) -> Arc<Self> {
        let (rows, results) = (Mutex::new(PackedRows::new(kernel)), Mutex::default());
        Arc::new(Self { kernel, workers, rows, results })
    }

    pub(super) fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    pub(super) fn lock(&self) -> AtWork<'_> {
        AtWork { workers: locked(&self.workers), rows: locked(&self.rows) }
    }

    /// A float tensor of this shape, filled by `fill` from what it held before. Its memory is one
    /// that was handed out before and that nobody holds any more, where there is such a one.
    pub(super) fn result<E>(
        &self,
        shape: &[usize],
        fill: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<TValue, E>
    where
        E: From<TractError>,
    {
        let free = |kept: &mut Arc<Tensor>| kept.shape() == shape && Arc::get_mut(kept).is_some();
        let mut kept = locked(&self.results);
        let found = kept.iter_mut().position(free).map(|at| kept.swap_remove(at));
        drop(kept);
        let mut tensor = match found {
            Some(tensor) => tensor,
            None => Arc::new(Tensor::zero::<f32>(shape)?),
        };
        let unshared = Arc::get_mut(&mut tensor).expect("nobody else holds it");
        fill(unshared.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)?;
        let mut kept = locked(&self.results);
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Arc::clone(&tensor));
        Ok(TValue::from_const(tensor))
    }
}

/// A panic elsewhere leaves nothing behind that the next op relies on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kernel.name())
    }
}
