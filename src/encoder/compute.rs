//! How towers compute: precision, kernel and threads.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::EncoderError;
use super::cores::Cores;
use super::engine::{Engine, SharedWorkers};
use crate::gemm::{Kernel, Workers, choose_kernel};

/// Arithmetic of the large products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Int8 for what can be int8, float for the rest.
    #[default]
    Auto,
    /// Float for all, by tract, on one thread.
    Float,
    /// As `Auto`, and refuse a graph in which nothing can be int8.
    Int8,
}

/// What can be chosen about computing.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Arithmetic of the large products.
    pub precision: Precision,
    /// Threads, the caller's included; none for one on each of the cores.
    pub threads: Option<usize>,
    /// Cores for the threads, the one that calls [`Compute::start`] included; none for the big ones of a chip
    /// with two kinds, and any where all are alike.
    pub cores: Option<Cores>,
    /// An int8 kernel by name; none for the fastest that the CPU has.
    pub kernel: Option<String>,
}

/// A kernel and running threads, shared by all towers that are loaded with it.
#[derive(Clone)]
pub struct Compute {
    precision: Precision,
    kernel: &'static Kernel,
    threads: usize,
    cores: Option<Cores>,
    workers: SharedWorkers,
}

impl Compute {
    /// Chooses a kernel and starts threads.
    ///
    /// # Errors
    /// [`EncoderError::Kernel`], [`EncoderError::Threads`], and [`EncoderError::Cores`] where none of them is there.
    pub fn start(options: &Options) -> Result<Self, EncoderError> {
        let kernel = choose_kernel(options.kernel.as_deref())?;
        let cores = options.cores.as_ref().map(Cores::allowed).or_else(Cores::big);
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let of_cores = || cores.as_ref().map_or_else(available, Cores::count);
        let threads = options.threads.unwrap_or_else(of_cores);
        if let Some(cores) = &cores {
            cores.pin().map_err(EncoderError::Cores)?;
        }
        // What the calling thread could do, the others can.
        let of_workers = cores.clone();
        let pin = move || drop(of_workers.as_ref().map(Cores::pin));
        let workers = Workers::start_with(threads, pin).map_err(EncoderError::Threads)?;
        log::info!("int8 kernel {}, {threads} threads", kernel.name());
        let threads = workers.threads();
        let workers = Arc::new(Mutex::new(workers));
        Ok(Self { precision: options.precision, kernel, threads, cores, workers })
    }

    /// Arithmetic of the large products.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The int8 kernel.
    #[must_use]
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Threads, the caller's included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The cores that the threads stay on; none where they may move.
    #[must_use]
    pub fn cores(&self) -> Option<&Cores> {
        self.cores.as_ref()
    }

    /// For one tower.
    pub(super) fn engine(&self) -> Arc<Engine> {
        Engine::new(self.kernel, Arc::clone(&self.workers))
    }
}

impl std::fmt::Debug for Compute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {}, {} threads", self.precision, self.kernel.name(), self.threads)
    }
}
