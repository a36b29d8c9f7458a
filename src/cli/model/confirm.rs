//! A question to whoever sits at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, anyhow};

use crate::cli::Failure;

/// Goes on where the user agrees: by `--yes`, or when asked on a terminal. Without one, `--yes` is needed.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Usage(anyhow!(
            "{question} There is no terminal to ask on: say --yes"
        )));
    }
    let mut answer = String::new();
    write!(io::stderr(), "{question} Continue? [y/N] ").context("stderr")?;
    io::stdin().lock().read_line(&mut answer).context("standard input")?;
    if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(Failure::Failed(anyhow!("nothing was done")))
}
