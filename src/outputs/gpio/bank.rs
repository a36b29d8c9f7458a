//! A bank of lines, whoever drives it.

use std::path::Path;

use serde::Deserialize;

use super::record::Record;
#[cfg(target_os = "linux")]
use super::{chip::Chip, rpi::Rpi};

/// Where the lines are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// [`Rpi`](Self::Rpi) on a Raspberry Pi that it knows, [`Chip`](Self::Chip) elsewhere.
    #[default]
    Auto,
    /// A Raspberry Pi's registers; lines are BCM numbers.
    Rpi,
    /// A GPIO character device of Linux; lines are its offsets.
    Chip,
    /// No pins: levels are written down.
    Record,
}

impl Backend {
    /// The same, with [`Auto`](Self::Auto) decided for this machine.
    #[must_use]
    pub fn chosen(self) -> Self {
        #[cfg(target_os = "linux")]
        if self == Self::Auto {
            return if Rpi::is_here() { Self::Rpi } else { Self::Chip };
        }
        self
    }

    /// Whether this machine has what the backend drives: any does, except for [`Rpi`](Self::Rpi).
    #[must_use]
    pub fn is_here(self) -> bool {
        #[cfg(target_os = "linux")]
        let is_rpi = Rpi::is_here();
        #[cfg(not(target_os = "linux"))]
        let is_rpi = false;
        self != Self::Rpi || is_rpi
    }
}

/// Resistor of an input line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// To the supply: for a contact to ground.
    #[default]
    Up,
    /// To ground: for a contact to the supply.
    Down,
    /// None: there is one on the board.
    None,
}

/// An output line as it is opened.
#[derive(Clone, Debug)]
pub(super) struct OutputLine {
    pub(super) name: String,
    pub(super) line: u32,
    /// Its level from the first moment on.
    pub(super) high: bool,
}

/// An input line as it is opened.
#[derive(Clone, Debug)]
pub(super) struct InputLine {
    pub(super) line: u32,
    pub(super) pull: Pull,
}

/// Lines that were opened. Levels are of the wire: high or low.
pub(super) trait Bank: Send {
    fn write(&mut self, line: u32, high: bool) -> anyhow::Result<()>;
    fn read(&mut self, line: u32) -> anyhow::Result<bool>;
}

/// What [`open`] needs to know beside the lines.
pub(super) struct Place<'a> {
    pub(super) backend: Backend,
    pub(super) chip: &'a Path,
    pub(super) record_file: Option<&'a Path>,
}

/// Opens all lines at once; outputs have their levels from the first moment.
pub(super) fn open(
    place: &Place,
    outputs: &[OutputLine],
    inputs: &[InputLine],
) -> anyhow::Result<Box<dyn Bank>> {
    if place.backend == Backend::Record {
        return Ok(Box::new(Record::open(place.record_file, outputs, inputs)?));
    }
    #[cfg(target_os = "linux")]
    {
        if place.backend.chosen() == Backend::Rpi {
            Ok(Box::new(Rpi::open(outputs, inputs)?))
        } else {
            Ok(Box::new(Chip::open(place.chip, outputs, inputs)?))
        }
    }
    #[cfg(not(target_os = "linux"))]
    anyhow::bail!("there are no lines on this system: use gpio.backend = \"record\"")
}
