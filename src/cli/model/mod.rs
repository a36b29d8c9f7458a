//! `edgeclip model`: fetch, take in, pack, check and look at models.

mod info;
mod pack;

use clap::{Args, Subcommand};

use super::{Failure, Outcome};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what a model is, and what of it is computed in int8
    Info(info::Arguments),
    /// Write a model as one file that starts at once
    Pack(pack::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Info(arguments) => info::run(arguments),
        Command::Pack(arguments) => pack::run(arguments),
    }
}
