//! `edgeclip labels`: label sets, looked at and kept, without a camera.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use edgeclip::pipeline::{CACHE_FILE, Options, SETS_FOLDER};
use edgeclip::prompts::{
    BUILT_IN_SETS, Built, History, LabelSet, Stored, built_in_set, lint, read_labels,
};
use serde::Serialize;

use super::run::ConfigArguments;
use super::{Failure, ModelArguments, Outcome, print_json, say};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is wrong or doubtful in a labels file
    Check(FileArguments),
    /// Embed a labels file's prompts into the cache, so that a start encodes nothing
    Encode(FileArguments),
    /// Show the label sets that are kept, the newest last
    List(ListArguments),
    /// Show the label sets inside the binary, those of CLIP's published evaluations; or one of them, as a labels.toml
    Sets(SetsArguments),
    /// Go back to a label set before; a running edgeclip follows within two seconds
    Rollback(RollbackArguments),
}

#[derive(Args)]
struct FileArguments {
    /// One label a line, or a labels.toml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArguments,
    #[command(flatten)]
    model: ModelArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ListArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct SetsArguments {
    /// Print this one
    #[arg(value_name = "NAME", conflicts_with = "json")]
    name: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RollbackArguments {
    /// Number of the set to go back to [default: the one before]
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    #[command(flatten)]
    config: ConfigArguments,
}

/// What is said of a labels file.
#[derive(Serialize)]
struct Checked<'a> {
    path: String,
    labels: usize,
    label_set: &'a str,
    encoded: usize,
    warnings: &'a [String],
}

/// A set of the history.
#[derive(Serialize)]
struct Listed {
    number: u64,
    origin: String,
    undone: bool,
    in_use: bool,
    labels: Vec<String>,
}

/// A set inside the binary.
#[derive(Serialize)]
struct BuiltIn<'a> {
    name: &'a str,
    about: &'a str,
    labels: usize,
    templates: usize,
    label_set: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Check(arguments) => check(arguments, false),
        Command::Encode(arguments) => check(arguments, true),
        Command::List(arguments) => list(arguments),
        Command::Sets(arguments) => sets(arguments),
        Command::Rollback(arguments) => roll_back(arguments),
    }
}

/// Both `check` and `encode`: the second keeps what it encodes.
fn check(arguments: &FileArguments, keep: bool) -> Result<Outcome, Failure> {
    let file = &arguments.file;
    let options = arguments.config.load(arguments.model.given().collect())?.options;
    let set = LabelSet::parse(&read_labels(file)?);
    let set = set.map_err(|error| anyhow!("{}: {error}", file.display()))?;
    let digest = set.digest();
    let set = set.with_bank();
    for label in set.labels() {
        let wrong = |reason| anyhow!("{}: the label \"{}\": {reason}", file.display(), label.name);
        options.decide.policy(&label.policy).map_err(wrong)?;
    }
    let model = options.model.open(None)?;
    let cache_path =
        if keep { Some(made(state(options.state_dir.clone())?)?.join(CACHE_FILE)) } else { None };
    let mut cache = model.prompt_cache(cache_path.as_deref());
    let Built { head, encoded } = model.head(&set, &mut cache)?;
    let mut warnings = lint(&set, &head);
    warnings.extend(unknown_pins(&set, &options));
    let labels = set.labels().len();
    if arguments.json {
        let path = file.display().to_string();
        let label_set = &digest;
        print_json(&Checked { path, labels, label_set, encoded, warnings: &warnings })?;
    } else {
        for warning in &warnings {
            say(format_args!("{}: {warning}", file.display()));
        }
        let words = if keep { "encoded anew" } else { "prompts" };
        say(format_args!("{}: {labels} labels, {encoded} {words}", file.display()));
    }
    Ok(Outcome::Done)
}

fn list(arguments: &ListArguments) -> Result<Outcome, Failure> {
    let history = history(&arguments.config)?;
    let in_use = history.newest()?;
    let mut out = io::stdout().lock();
    for set in history.list()? {
        let labels = names(&set);
        let is_in_use = in_use.as_ref() == Some(&set);
        if arguments.json {
            let (number, origin, undone) = (set.number, set.origin, set.undone);
            print_json(&Listed { number, origin, undone, in_use: is_in_use, labels })?;
            continue;
        }
        let mark = match (is_in_use, set.undone) {
            (true, _) => "in use",
            (_, true) => "rolled back",
            _ => "",
        };
        writeln!(out, "{:>6}  {:<8} {mark:<11}  {}", set.number, set.origin, labels.join(", "))?;
    }
    Ok(Outcome::Done)
}

fn sets(arguments: &SetsArguments) -> Result<Outcome, Failure> {
    let mut out = io::stdout().lock();
    if let Some(name) = &arguments.name {
        let set = built_in_set(name).map_err(|error| Failure::Usage(error.into()))?;
        out.write_all(set.text.as_bytes())?;
        return Ok(Outcome::Done);
    }
    for built_in in BUILT_IN_SETS {
        let (name, about, set) = (built_in.name, built_in.about(), built_in.parse()?);
        let (labels, templates) = (set.labels().len(), set.templates().map_or(0, <[_]>::len));
        if arguments.json {
            print_json(&BuiltIn { name, about, labels, templates, label_set: set.digest() })?;
        } else {
            writeln!(out, "{name:<14} {labels:>4} labels {templates:>3} templates  {about}")?;
        }
    }
    Ok(Outcome::Done)
}

/// The labels of a kept set; one that can't be read any more has none.
fn names(set: &Stored) -> Vec<String> {
    let text = set.read().unwrap_or_default();
    let parsed = LabelSet::parse(&text).ok();
    let labels = parsed.iter().flat_map(LabelSet::labels);
    labels.map(|label| label.name.clone()).collect()
}

fn roll_back(arguments: &RollbackArguments) -> Result<Outcome, Failure> {
    let back = history(&arguments.config)?.roll_back(arguments.to)?;
    let Some(set) = back else {
        let what = arguments.to.map_or("before this one".to_owned(), |to| format!("number {to}"));
        return Err(anyhow!("there is no label set {what}: see `edgeclip labels list`").into());
    };
    say(format_args!("label set {} is in use again", set.number));
    Ok(Outcome::Done)
}

/// Pins that labels want and the configuration doesn't have.
fn unknown_pins(set: &LabelSet, options: &Options) -> Vec<String> {
    let is_known = |name: &str| options.gpio.pin.iter().any(|pin| pin.name == name);
    let wanted = set.labels().iter().flat_map(|label| {
        label.outputs.iter().map(|output| (label.name.as_str(), output.gpio.as_str()))
    });
    let unknown = wanted.filter(|(_, pin)| !is_known(pin));
    let warn = |(label, pin)| {
        format!("\"{label}\" drives the pin \"{pin}\", which the configuration has not")
    };
    unknown.map(warn).collect()
}

fn history(config: &ConfigArguments) -> Result<History, Failure> {
    let options = config.load(Vec::new())?.options;
    let folder = state(options.state_dir)?.join(SETS_FOLDER);
    Ok(History::open(&folder, options.labels.keep)?)
}

/// The state folder, where there is to be one.
fn state(folder: Option<PathBuf>) -> Result<PathBuf, Failure> {
    Ok(folder.ok_or_else(|| anyhow!("there is no state folder: give --state-dir"))?)
}

fn made(folder: PathBuf) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
