//! The command line: words to calls of the library. Results go to stdout, words for people to
//! stderr; exit code 0 is done, 1 failed, 2 wrong usage.

mod bench;
mod boards;
mod classify;
mod completions;
mod config;
mod doctor;
mod embed;
mod eval;
mod label_choice;
mod labels;
mod logs;
mod man;
mod model;
mod pictures;
mod run;

use std::alloc::System;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand, ValueEnum};
use edgeclip::encoder::{self, Cores};
use edgeclip::pipeline::{Model, ModelOptions};
use serde::Serialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts calls, so that `bench` can tell what a frame allocates.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

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
    /// Watch a camera: print events, drive pins, publish, serve a page
    Run(run::Arguments),
    /// Check, encode, list and roll back label sets
    Labels(labels::Arguments),
    /// Check and show the configuration
    Config(config::Arguments),
    /// Say what is missing on this board, and the command that mends it
    Doctor(doctor::Arguments),
    /// Measure how fast a model is on this machine
    Bench(bench::Arguments),
    /// Measure accuracy on pictures or video clips whose class is known
    Eval(eval::Arguments),
    /// Fetch, take in, check and pack models
    Model(model::Arguments),
    /// Print the completions of a shell
    Completions(completions::Arguments),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::Arguments),
}

/// The options that every command with a model has.
#[derive(Args)]
struct ModelArguments {
    /// Name of a model in the folder of models, a packed model, or a bundle's folder [default: the built-in model]
    #[arg(long, value_name = "NAME|FILE|DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    compute: ComputeArguments,
}

/// How a model computes.
#[derive(Args, Clone)]
struct ComputeArguments {
    /// Arithmetic of the model's large products
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Threads to compute on [default: one on each of the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Cores to compute on, such as 4-7 [default: the big ones, where a chip has two kinds]
    #[arg(long, value_name = "LIST")]
    cores: Option<Cores>,
    /// Int8 kernel, by name [default: the fastest that this CPU has]
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Precision {
    /// Int8 for what can be int8
    #[default]
    Auto,
    /// Float, on one thread
    Float,
    /// As auto, and fail where nothing can be int8
    Int8,
}

impl ModelArguments {
    fn open(&self) -> Result<Model, Failure> {
        let ModelOptions { path, precision, threads, cores, kernel } = self.options();
        let options = encoder::Options { precision, threads, cores, kernel };
        Ok(Model::open_with(path.as_deref(), &options)?)
    }

    fn options(&self) -> ModelOptions {
        let ComputeArguments { precision, threads, cores, kernel } = self.compute.clone();
        let precision = match precision {
            Precision::Auto => encoder::Precision::Auto,
            Precision::Float => encoder::Precision::Float,
            Precision::Int8 => encoder::Precision::Int8,
        };
        let (path, threads) = (self.model.clone(), threads.map(usize::from));
        ModelOptions { path, precision, threads, cores, kernel }
    }
}

/// Why a command ends early.
enum Failure {
    /// The user asked for something that makes no sense: exit code 2.
    Usage(anyhow::Error),
    /// Something went wrong: exit code 1.
    Failed(anyhow::Error),
}

impl Failure {
    /// The same, as what went wrong: for commands that were asked to find out.
    fn failed(self) -> Self {
        match self {
            Self::Usage(error) | Self::Failed(error) => Self::Failed(error),
        }
    }
}

/// What a command that ran to its end reports.
enum Outcome {
    Done,
    /// Some pictures failed, or there are problems; each has been reported.
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
    logs::start();
    let outcome = match &cli.command {
        Command::Classify(arguments) => classify::run(arguments, started),
        Command::Embed(arguments) => embed::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Labels(arguments) => labels::run(arguments),
        Command::Config(arguments) => config::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Eval(arguments) => eval::run(arguments),
        Command::Model(arguments) => model::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Man(arguments) => man::run(arguments),
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
