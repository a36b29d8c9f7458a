//! The command line: words to calls of the library. Results go to stdout, words for people to
//! stderr; exit code 0 is done, 1 failed, 2 wrong usage.

mod classify;
mod embed;
mod pictures;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

#[derive(Parser)]
#[command(name = "edgeclip", version, about, long_about = None, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Rank labels for pictures
    Classify(classify::Arguments),
    /// Print the embeddings of pictures or texts
    Embed(embed::Arguments),
}

/// The option that every command with a model has.
#[derive(Args)]
struct ModelArgument {
    /// Folder of a model bundle (with a model.toml) [default: the built-in model]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// Why a command ends early.
enum Failure {
    /// The user asked for something that makes no sense: exit code 2.
    Usage(anyhow::Error),
    /// Something went wrong: exit code 1.
    Failed(anyhow::Error),
}

/// What a command that ran to its end reports.
enum Outcome {
    Done,
    /// Some pictures failed; each has been reported.
    SomeFailed,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

pub(crate) fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    let log = env_logger::Env::new().filter_or("EDGECLIP_LOG", "warn,tract=error");
    env_logger::Builder::from_env(log).init();
    let outcome = match &cli.command {
        Command::Classify(arguments) => classify::run(arguments, started),
        Command::Embed(arguments) => embed::run(arguments),
    };
    let (code, error) = match outcome {
        Ok(Outcome::Done) => return ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => return ExitCode::from(1),
        Err(Failure::Failed(error)) if is_closed_pipe(&error) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => (1, error),
        Err(Failure::Usage(error)) => (2, error),
    };
    say(format_args!("{error:#}"));
    ExitCode::from(code)
}

/// The reader of stdout has seen enough, as in `edgeclip ... | head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Tells people something on stderr, where someone still listens.
fn say(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "edgeclip: {words}");
}

/// Prints one JSON line to stdout.
fn print_json(line: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")
}

/// Prints the JSON line of a picture that failed.
fn print_failed(path: &str, error: &anyhow::Error) -> io::Result<()> {
    print_json(&serde_json::json!({ "path": path, "error": format!("{error:#}") }))
}
