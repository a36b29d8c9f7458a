//! Lines of a GPIO character device, on any Linux board. The only home of gpiocdev.
//!
//! The kernel takes the lines back when the program ends or is killed. Most drivers leave the level as
//! it was, some make the line an input: a resistor on the wire decides then, so use one that pulls to
//! the safe side.

use std::path::Path;

use anyhow::Context;
use gpiocdev::Request;
use gpiocdev::line::{Bias, Value};

use super::bank::{Bank, InputLine, OutputLine, Pull};

/// Who holds the lines, as `gpioinfo` shows it.
const CONSUMER: &str = "edgeclip";

/// The lines, by offset.
pub(super) struct Chip(Request);

impl Chip {
    pub(super) fn open(
        chip: &Path,
        outputs: &[OutputLine],
        inputs: &[InputLine],
    ) -> anyhow::Result<Self> {
        let mut builder = Request::builder();
        builder.on_chip(chip).with_consumer(CONSUMER);
        for output in outputs {
            builder.with_line(output.line).as_output(value(output.high));
        }
        for input in inputs {
            let bias = match input.pull {
                Pull::Up => Some(Bias::PullUp),
                Pull::Down => Some(Bias::PullDown),
                Pull::None => None,
            };
            builder.with_line(input.line).as_input().with_bias(bias);
        }
        let request = builder.request().with_context(|| {
            format!(
                "the lines of {} can't be opened: is it the right chip, may the user open it, does nobody \
                 else hold the lines (gpioinfo), and does it have the resistors (gpio.input pull)? Without pins, use gpio.backend = \"record\"",
                chip.display()
            )
        })?;
        Ok(Self(request))
    }
}

impl Bank for Chip {
    fn write(&mut self, line: u32, high: bool) -> anyhow::Result<()> {
        self.0.set_value(line, value(high)).with_context(|| format!("line {line}"))
    }

    fn read(&mut self, line: u32) -> anyhow::Result<bool> {
        let level = self.0.value(line).with_context(|| format!("line {line}"))?;
        Ok(level == Value::Active)
    }
}

fn value(high: bool) -> Value {
    if high { Value::Active } else { Value::Inactive }
}
