//! `edgeclip doctor`: what is missing on this board, and the command that mends it.

use std::io::{self, Write};

use clap::Args;
use edgeclip::config::{AUTO, Board};
use edgeclip::doctor::{self, Expected, Finding, Level, Machine};
use serde::Serialize;

use super::{Failure, Outcome, print_json, run};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    run: run::Arguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    version: &'static str,
    problems: usize,
    warnings: usize,
    findings: &'a [Finding],
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let findings = look(&arguments.run);
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    if arguments.json {
        let version = env!("CARGO_PKG_VERSION");
        print_json(&Answer { version, problems, warnings, findings: &findings })?;
    } else {
        let mut out = io::stdout().lock();
        for finding in &findings {
            writeln!(out, "{finding}")?;
        }
    }
    Ok(if problems == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

/// A wrong configuration is a finding as well; the machine can be looked at without it.
fn look(arguments: &run::Arguments) -> Vec<Finding> {
    let machine = Machine::here();
    let config = arguments.merged();
    let named = config.as_ref().ok().and_then(|config| config.board().cloned());
    let mut findings = match named.map_or_else(|| Board::load(AUTO), Ok) {
        Ok(board) => doctor::examine_machine(&machine, &expected(&board)),
        Err(error) => vec![Finding::problem("board", error.to_string(), "edgeclip config boards")],
    };
    match config.and_then(|config| Ok((config.options, arguments.labels()?))) {
        Ok((options, labels)) => {
            findings.push(Finding::ok("configuration", "right; edgeclip config show prints it"));
            findings.extend(doctor::examine(&options, &machine, labels.is_some()));
        }
        Err(Failure::Usage(error) | Failure::Failed(error)) => findings.push(Finding::problem(
            "configuration",
            format!("{error:#}"),
            "edgeclip config reference shows every key; what would run was not looked at",
        )),
    }
    findings
}

/// What the profile counts on.
fn expected(board: &Board) -> Expected {
    let Board { name, about, .. } = board;
    Expected {
        board: format!("{}, profile {name}", about.board),
        kernel: about.kernel.clone(),
        budget_mb: about.budget_mb,
    }
}
