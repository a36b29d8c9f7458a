//! Tests against real programs from outside. Where one is missing, its test prints SKIPPED and the
//! program's name; with `EDGECLIP_FIELD=required` it fails instead.
#![cfg(feature = "mini")]

mod broker;
mod browser;
mod estimate;
mod eval;
mod ffmpeg;
mod hub;
mod mqtt;
mod numpy;
mod page;
mod probe;
mod systemd;
mod v4l;

use std::io::Write;
use std::process::Command;

/// Whether `command` runs here. Its failure is an error where the field is required.
fn available(program: &str, command: &mut Command) -> bool {
    let runs = command.output().is_ok_and(|output| output.status.success());
    if !runs {
        let required = std::env::var_os("EDGECLIP_FIELD").is_some_and(|value| value == "required");
        assert!(!required, "{program} is missing, and EDGECLIP_FIELD=required asks for it");
        // Written past the test harness, which keeps what a passing test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is missing");
    }
    runs
}
