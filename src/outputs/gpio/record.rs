//! Lines that are not there: each change of a level is written down. For hosts without pins, and for tests.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::bank::{Bank, InputLine, OutputLine, Pull};
use super::options::ALIVE;
use crate::outputs::capped::CappedFile;

/// Size at which the file begins anew, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files that are kept.
const FILES_MAX: usize = 2;

/// The lines that are written down.
pub(super) struct Record {
    file: Option<CappedFile>,
    /// Name of each output line.
    names: BTreeMap<u32, String>,
    /// What an input with nothing connected reads.
    inputs: BTreeMap<u32, bool>,
}

/// One change, as JSON.
#[derive(Serialize)]
struct Change<'a> {
    time: String,
    gpio: &'a str,
    line: u32,
    level: &'static str,
}

impl Record {
    /// Without a file, changes go to the log.
    pub(super) fn open(
        file: Option<&Path>,
        outputs: &[OutputLine],
        inputs: &[InputLine],
    ) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            CappedFile::open(path, FILE_BYTES_MAX, FILES_MAX)
                .with_context(|| format!("gpio.record_file: {} can't be written", path.display()))
        };
        let mut record = Self {
            file: file.map(open).transpose()?,
            names: outputs.iter().map(|output| (output.line, output.name.clone())).collect(),
            inputs: inputs.iter().map(|input| (input.line, input.pull == Pull::Up)).collect(),
        };
        for output in outputs {
            record.write(output.line, output.high)?;
        }
        Ok(record)
    }
}

impl Bank for Record {
    fn write(&mut self, line: u32, high: bool) -> anyhow::Result<()> {
        let name = self.names.get(&line).ok_or_else(|| anyhow!("line {line} is no output"))?;
        let level = if high { "high" } else { "low" };
        let Some(file) = &mut self.file else {
            // A pin that blinks is no news.
            let importance = if name == ALIVE { log::Level::Debug } else { log::Level::Info };
            log::log!(importance, "gpio {name} (line {line}) is {level}");
            return Ok(());
        };
        let time = format!("{:.3}", jiff::Timestamp::now());
        let change = Change { time, gpio: name, line, level };
        file.write_line(&serde_json::to_vec(&change)?).context("gpio.record_file")
    }

    fn read(&mut self, line: u32) -> anyhow::Result<bool> {
        self.inputs.get(&line).copied().ok_or_else(|| anyhow!("line {line} is no input"))
    }
}
