//! `edgeclip config boards`: the boards that have a profile, and what is known of each.

use std::fmt::Write as _;
use std::io::{self, Write};

use clap::Args;
use edgeclip::config::{AUTO, About, Board, Model};
use serde::Serialize;

use super::{Failure, Outcome, print_json};

#[derive(Args)]
pub(super) struct Arguments {
    /// Show this one with what is known of it: a name, a profile's file, or auto for this machine
    #[arg(value_name = "NAME|FILE")]
    board: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    /// Whether it is this machine.
    here: bool,
    #[serde(flatten)]
    about: &'a About,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let here = Board::load(AUTO)?.name;
    let load = |name: &str| Board::load(name).map_err(|error| Failure::Usage(error.into()));
    let boards: Vec<Board> = match &arguments.board {
        Some(name) => vec![load(name)?],
        None => Board::names().map(load).collect::<Result<_, _>>()?,
    };
    for board in boards.iter().filter(|_| arguments.json) {
        let Board { name, about, .. } = board;
        print_json(&Line { name, here: *name == here, about })?;
    }
    if arguments.json {
        return Ok(Outcome::Done);
    }
    let text = match &boards[..] {
        [board] if arguments.board.is_some() => page(board, board.name == here),
        boards => table(boards, &here),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Outcome::Done)
}

/// A line for each; this machine's has a star.
fn table(boards: &[Board], here: &str) -> String {
    let mut text = String::new();
    for Board { name, about, .. } in boards {
        let mark = if name == here { '*' } else { ' ' };
        let kernel = about.kernel.as_deref().unwrap_or("any");
        let About { board, cpu, .. } = about;
        let _ = writeln!(text, "{mark} {name:<20}  {board:<35}  {kernel:<7}  {cpu}");
    }
    text + "* this machine\n"
}

/// All that is known of one.
fn page(board: &Board, here: bool) -> String {
    let About { features, kernel, memory_mb, bandwidth_gb_s, budget_mb, .. } = &board.about;
    let about = &board.about;
    let place = if here { ", this machine" } else { "" };
    let of = if about.board.is_empty() { "no words about it" } else { &about.board };
    let mut text = format!("{}: {of}{place}\n", board.name);
    let mut line = |name: &str, words: &str| {
        if !words.is_empty() {
            let _ = writeln!(text, "{name:<11}{words}");
        }
    };
    let cores = format!(" ({} cores; {})", about.cores, features.join(", "));
    line("cpu", &unless_empty(&about.cpu, &cores));
    line("kernel", kernel.as_deref().unwrap_or("any"));
    let sizes: Vec<String> = memory_mb.iter().map(u64::to_string).collect();
    line("memory", &unless_empty(&sizes.join(", "), " MB"));
    let rate = bandwidth_gb_s.map(|rate| format!("{rate} GB/s at most"));
    line("bandwidth", rate.as_deref().unwrap_or("not stated by the vendor"));
    let budget = budget_mb.map(|mb| format!("{mb} MB for edgeclip"));
    line("budget", budget.as_deref().unwrap_or_default());
    for name in &about.models {
        let words = Model::named(name).map(|Model { mb, labels_mb, .. }| {
            format!("{name}: {mb} MB, {labels_mb} MB while labels change")
        });
        line("model", words.as_deref().unwrap_or(name));
    }
    line("pins", &about.pins);
    about.notes.iter().for_each(|note| line("note", note));
    about.sources.iter().for_each(|(url, what)| line("source", &format!("{url} ({what})")));
    line("settings", &format!("edgeclip config show --board {}", board.name));
    text
}

fn unless_empty(text: &str, unit: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{text}{unit}") }
}
