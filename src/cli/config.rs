//! `edgeclip config`: what the configuration says, and where it says it.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use edgeclip::config::{Board, REFERENCE};

use super::run::ConfigArguments;
use super::{Failure, Outcome, boards, say};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say whether a configuration is right, or what is wrong in which line
    Check(ConfigArguments),
    /// Print the merged configuration, each value with where it comes from
    Show(ConfigArguments),
    /// Print every key with its meaning, unit and default
    Reference,
    /// Print the boards that have a profile, or what is known of one
    Boards(boards::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Check(arguments) => {
            arguments.load(Vec::new()).map_err(Failure::failed)?;
            say(format_args!("the configuration is right"));
        }
        Command::Show(arguments) => {
            let config = arguments.load(Vec::new()).map_err(Failure::failed)?;
            let mut out = io::stdout().lock();
            let state = config.options.state_dir.as_ref();
            let state =
                state.map_or_else(|| "none".to_owned(), |state| state.display().to_string());
            writeln!(out, "# device: {}; state folder: {state}", config.options.device)?;
            if let Some(Board { name, detected, about }) = config.board() {
                let how = if *detected { ", detected" } else { "" };
                writeln!(out, "# board: {name} ({}){how}", about.board)?;
            }
            out.write_all(config.show().as_bytes())?;
        }
        Command::Boards(arguments) => return boards::run(arguments),
        Command::Reference => io::stdout().lock().write_all(REFERENCE.as_bytes())?,
    }
    Ok(Outcome::Done)
}
