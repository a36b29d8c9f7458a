//! Lines of a Raspberry Pi, by its registers. The only home of rppal.
//!
//! The registers keep their levels when the program is killed: until it is started anew, and goes to
//! the fail-safe levels, a pin stays as it was. Let systemd do that at once.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use rppal::gpio::{Gpio, InputPin, Level, OutputPin};
use rppal::system::DeviceInfo;

use super::bank::{Bank, InputLine, OutputLine, Pull};

/// The lines, by BCM number.
pub(super) struct Rpi {
    outputs: BTreeMap<u32, OutputPin>,
    inputs: BTreeMap<u32, InputPin>,
}

impl Rpi {
    /// Whether this is a board that the library knows.
    pub(super) fn is_here() -> bool {
        DeviceInfo::new().is_ok()
    }

    pub(super) fn open(outputs: &[OutputLine], inputs: &[InputLine]) -> anyhow::Result<Self> {
        let gpio = Gpio::new().context(
            "a Raspberry Pi's pins can't be opened: is this one, and is the user in the group gpio?",
        )?;
        let pin = |line: u32| {
            let number = u8::try_from(line).with_context(|| format!("there is no line {line}"))?;
            gpio.get(number).with_context(|| format!("line {line}"))
        };
        let output = |output: &OutputLine| -> anyhow::Result<_> {
            let pin = pin(output.line)?;
            let mut pin = if output.high { pin.into_output_high() } else { pin.into_output_low() };
            // The fail-safe level must outlive the program.
            pin.set_reset_on_drop(false);
            Ok((output.line, pin))
        };
        let input = |input: &InputLine| -> anyhow::Result<_> {
            let pin = pin(input.line)?;
            let pin = match input.pull {
                Pull::Up => pin.into_input_pullup(),
                Pull::Down => pin.into_input_pulldown(),
                Pull::None => pin.into_input(),
            };
            Ok((input.line, pin))
        };
        Ok(Self {
            outputs: outputs.iter().map(output).collect::<anyhow::Result<_>>()?,
            inputs: inputs.iter().map(input).collect::<anyhow::Result<_>>()?,
        })
    }
}

impl Bank for Rpi {
    fn write(&mut self, line: u32, high: bool) -> anyhow::Result<()> {
        let pin = self.outputs.get_mut(&line).ok_or_else(|| anyhow!("line {line} is no output"))?;
        pin.write(if high { Level::High } else { Level::Low });
        Ok(())
    }

    fn read(&mut self, line: u32) -> anyhow::Result<bool> {
        let pin = self.inputs.get(&line).ok_or_else(|| anyhow!("line {line} is no input"))?;
        Ok(pin.is_high())
    }
}
