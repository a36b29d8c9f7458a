//! `edgeclip model pack`: a model as one file.

use std::path::PathBuf;

use clap::Args;
use edgeclip::pipeline::{Model, ModelError};

use crate::cli::{Failure, Outcome};

#[derive(Args)]
pub(super) struct Arguments {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder of a model bundle (with a model.toml), or its name in the folder of models [default: the built-in model]
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<PathBuf>,
    /// The int8 kernel of the board that it is for: i8mm, dotprod (Cortex-A55, A76), neon (A53, A72),
    /// avx512vnni, avx2 [default: this machine's]
    #[arg(long = "for", value_name = "KERNEL")]
    kernel: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let model = Model::open(arguments.model.as_deref())?;
    let kernel = arguments.kernel.as_deref().unwrap_or(model.compute().kernel().name());
    match model.pack(&arguments.file, kernel) {
        Err(error @ (ModelError::UnknownKernel { .. } | ModelError::IsPacked)) => {
            Err(Failure::Usage(error.into()))
        }
        result => Ok(result.map(|()| Outcome::Done)?),
    }
}
