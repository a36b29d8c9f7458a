//! `edgeclip model`: fetch, take in, pack, check and look at models.

mod confirm;
mod import;
mod info;
mod list;
mod pack;
mod progress;
mod pull;
mod rm;
mod verify;

use clap::{Args, Subcommand};

use super::{Failure, Outcome};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch a published model from a hub, as one file to copy to a board
    Pull(pull::Arguments),
    /// Take in a published model: a folder with its settings and ONNX graphs
    Import(import::Arguments),
    /// Check that a model is whole, and that this machine computes what it means
    Verify(verify::Arguments),
    /// Show the models in the folder of models
    List(list::Arguments),
    /// Remove models from the folder of models
    Rm(rm::Arguments),
    /// Show what a model is, and what of it is computed in int8
    Info(info::Arguments),
    /// Write a model as one file that starts at once
    Pack(pack::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Pull(arguments) => pull::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Rm(arguments) => rm::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Info(arguments) => info::run(arguments),
        Command::Pack(arguments) => pack::run(arguments),
    }
}
