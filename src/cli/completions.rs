//! `edgeclip completions`: what a shell needs to complete commands and options.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, Outcome};

#[derive(Args)]
pub(super) struct Arguments {
    /// Shell that reads it
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "edgeclip", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Outcome::Done)
}
