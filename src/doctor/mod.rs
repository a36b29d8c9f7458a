//! What is missing on this board, and the command that mends it. Looks, and changes nothing: no pin is
//! driven, no watchdog is armed, no file stays behind.
//!
//! Stands above `pipeline`, beside `config`: it looks at everything that a run would use.

mod board;
mod clock;
mod facts;
mod labels;
mod machine;
mod model;
mod outputs;
mod source;
mod state;
mod throttled;

use std::fmt;

use serde::Serialize;

use crate::gemm::available_kernels;
use crate::pipeline::Options;

pub use board::Expected;
pub use facts::{CoreKind, Facts, Setting};
pub use machine::Machine;
pub use state::{Cooling, State, Temperature, clocks_mhz, temperatures};
pub use throttled::Throttled;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A run works, but slower or less well than it could.
    Warning,
    /// A run, or a part of it, can't work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, in a word.
    pub about: &'static str,
    /// What was seen.
    pub seen: String,
    /// What mends it: a command where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(about: &'static str, seen: impl Into<String>) -> Self {
        Self { level: Level::Ok, about, seen: seen.into(), mend: None }
    }

    /// A run works all the same.
    #[must_use]
    pub fn warning(about: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Warning, about, seen: seen.into(), mend: Some(mend.into()) }
    }

    /// A run can't work.
    #[must_use]
    pub fn problem(about: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Problem, about, seen: seen.into(), mend: Some(mend.into()) }
    }
}

/// One line: `warning  clock: not synchronised -> sudo timedatectl set-ntp true`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        };
        // What a driver or a broker says may have several lines.
        let one_line = |text: &str| text.replace(char::is_control, " ");
        write!(f, "{level:<9}{}: {}", self.about, one_line(&self.seen))?;
        match &self.mend {
            Some(mend) => write!(f, " -> {}", one_line(mend)),
            None => Ok(()),
        }
    }
}

/// Looks at the machine alone, whatever is to run on it, and whether it is what the board's profile counts on.
#[must_use]
pub fn examine_machine(machine: &Machine, expected: &Expected) -> Vec<Finding> {
    let kernels: Vec<&str> = available_kernels().iter().map(|kernel| kernel.name()).collect();
    let mut findings = vec![board::cpu(machine, &kernels)];
    findings.push(expected.compare(machine, &kernels));
    findings.extend(examine_pace(machine));
    findings.push(clock::look(machine));
    findings
}

/// Looks at what may slow the machine down: its heat, its supply, its clock rate.
#[must_use]
pub fn examine_pace(machine: &Machine) -> Vec<Finding> {
    let heat = board::temperature(machine);
    heat.into_iter().chain(throttled::look(machine)).chain(board::governor(machine)).collect()
}

/// Looks at everything that a run with these options would use. Takes some seconds: the model is loaded, and
/// a frame is waited for. `labels` says that the command line brings labels.
#[must_use]
pub fn examine(options: &Options, machine: &Machine, labels: bool) -> Vec<Finding> {
    // What a running edgeclip holds can't be tried.
    let page = outputs::page(&options.http);
    let mut findings = model::look(&options.model, machine);
    findings.extend(labels::look(options, labels));
    findings.extend(source::look(&options.source, machine, page.is_ours));
    findings.extend(outputs::gpio(&options.gpio, machine));
    findings.extend(outputs::broker(&options.mqtt));
    findings.push(page.finding);
    findings.push(outputs::state(options.state_dir.as_deref()));
    findings.push(outputs::watchdog(&options.watchdog, machine));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_it_says() {
        let finding = Finding::problem("camera", "driver says\n\x1b[31mno", "a\nb");
        assert_eq!(finding.to_string(), "problem  camera: driver says  [31mno -> a b");
        assert_eq!(Finding::ok("clock", "set").to_string(), "ok       clock: set");
    }
}
