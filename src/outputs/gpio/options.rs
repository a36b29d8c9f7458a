//! `[gpio]`: which pins there are, and what they do.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::bank::{Backend, Pull};
use super::pin::{FailSafe, Rules};
use crate::prompts::Action;

/// Most pins, inputs included.
const PINS_MAX: usize = 64;

/// Longest time of a pin's rules, in milliseconds: an hour.
const TIME_MS_MAX: u64 = 3_600_000;

/// Name of the pin of [`AliveOptions`] in messages and records; no other pin may have it.
pub(super) const ALIVE: &str = "alive";

/// Pins, inputs and who drives them.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `auto`, `rpi`, `chip` or `record`. Default: `auto`.
    pub backend: Backend,
    /// Device of the backend `chip`. Default: `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// File of the backend `record`: a JSON line for each change of a level. Default: none, the log.
    pub record_file: Option<PathBuf>,
    /// Time without a frame after which pins go to their fail-safe levels, in seconds, whatever the
    /// source says. Must be longer than the time from one frame to the next. Default: 10.
    pub frames_within_s: u64,
    /// `[[gpio.pin]]`: output pins. Default: none.
    pub pin: Vec<PinOptions>,
    /// `[[gpio.input]]`: input pins. Default: none.
    pub input: Vec<InputOptions>,
    /// `[gpio.alive]`: a pin that says that frames flow. Default: none.
    pub alive: Option<AliveOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            chip: PathBuf::from("/dev/gpiochip0"),
            record_file: None,
            frames_within_s: 10,
            pin: Vec::new(),
            input: Vec::new(),
            alive: None,
        }
    }
}

/// An output pin.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PinOptions {
    /// What label files call it. Needed.
    pub name: String,
    /// Its line: BCM number or offset in the chip. Needed.
    pub line: Option<u32>,
    /// A label that acts on it in every label set; `none` is the answer when no label fits. Default:
    /// empty, only what label files route to it.
    pub label: String,
    /// `follow`, `pulse` or `latch`. Default: `follow`.
    pub action: Action,
    /// How long a pulse lasts, in milliseconds. Default: 500.
    pub pulse_ms: u64,
    /// Whether on is low on the wire. Default: no.
    pub active_low: bool,
    /// How long it stays on at least, in milliseconds. Default: 0.
    pub on_min_ms: u64,
    /// How long it stays off at least, in milliseconds. Default: 0.
    pub off_min_ms: u64,
    /// Where it goes without frames, after an error, at the start and at the end: `off`, `on` or
    /// `keep`. It goes there at once, whatever the minimum times. Default: `off`.
    pub fail_safe: FailSafe,
}

impl Default for PinOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            line: None,
            label: String::new(),
            action: Action::default(),
            pulse_ms: 500,
            active_low: false,
            on_min_ms: 0,
            off_min_ms: 0,
            fail_safe: FailSafe::default(),
        }
    }
}

impl PinOptions {
    pub(super) fn rules(&self) -> Rules {
        Rules {
            pulse_ms: self.pulse_ms,
            on_min_ms: self.on_min_ms,
            off_min_ms: self.off_min_ms,
            fail_safe: self.fail_safe,
        }
    }
}

/// What pressing an input does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Press {
    /// Uses the next of the label files that the configuration lists.
    NextLabels,
    /// Takes a picture.
    Picture,
    /// Silences the outputs that act, or no more.
    Mute,
    /// Lets go of all that is latched.
    Release,
}

/// An input pin: a button, or another contact.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputOptions {
    /// Its line: BCM number or offset in the chip. Needed.
    pub line: Option<u32>,
    /// `next-labels`, `picture`, `mute` or `release`. Needed.
    pub action: Option<Press>,
    /// Whether pressed is low on the wire, as with a contact to ground. Default: yes.
    pub active_low: bool,
    /// Resistor of the board: `up`, `down` or `none`. Default: `up`.
    pub pull: Pull,
    /// How long a level must last to count, in milliseconds. Default: 30.
    pub debounce_ms: u64,
}

impl Default for InputOptions {
    fn default() -> Self {
        Self { line: None, action: None, active_low: true, pull: Pull::default(), debounce_ms: 30 }
    }
}

/// The pin that says that frames flow.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AliveOptions {
    /// Its line: BCM number or offset in the chip. Needed.
    pub line: Option<u32>,
    /// Time from one change to the next, in milliseconds; 0: on all the time. Default: 500.
    pub blink_ms: u64,
    /// Whether on is low on the wire. Default: no.
    pub active_low: bool,
}

impl Default for AliveOptions {
    fn default() -> Self {
        Self { line: None, blink_ms: 500, active_low: false }
    }
}

impl Options {
    /// Whether there is any pin.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.pin.is_empty() || !self.input.is_empty() || self.alive.is_some()
    }

    /// Whether the values make sense.
    ///
    /// # Errors
    /// Which one doesn't, and what does.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=86_400).contains(&self.frames_within_s) {
            return Err("gpio.frames_within_s must be 1 to 86400".to_owned());
        }
        if self.pin.len() + self.input.len() > PINS_MAX {
            return Err(format!("gpio has more than {PINS_MAX} pins"));
        }
        self.check_names()?;
        self.check_lines()?;
        self.check_times()?;
        match self.input.iter().position(|input| input.action.is_none()) {
            Some(at) => Err(format!(
                "gpio.input {}: give action = \"next-labels\", \"picture\", \"mute\" or \"release\"",
                at + 1
            )),
            None => Ok(()),
        }
    }

    fn check_names(&self) -> Result<(), String> {
        let mut names = BTreeSet::from([ALIVE]);
        for (at, pin) in self.pin.iter().enumerate() {
            if pin.name.is_empty() || pin.name.chars().any(char::is_control) {
                return Err(format!("gpio.pin {}: give it a name, such as \"out{at}\"", at + 1));
            }
            if !names.insert(&pin.name) {
                let way_out = "each pin needs a name of its own";
                return Err(format!("gpio.pin {}: \"{}\" is taken: {way_out}", at + 1, pin.name));
            }
        }
        Ok(())
    }

    fn check_lines(&self) -> Result<(), String> {
        let pins = self.pin.iter().map(|pin| (format!("gpio.pin \"{}\"", pin.name), pin.line));
        let inputs = self.input.iter().enumerate();
        let inputs = inputs.map(|(at, input)| (format!("gpio.input {}", at + 1), input.line));
        let alive = self.alive.iter().map(|alive| ("gpio.alive".to_owned(), alive.line));
        let mut lines = BTreeSet::new();
        for (name, line) in pins.chain(inputs).chain(alive) {
            let line = line.ok_or_else(|| format!("{name}: give its line, such as line = 17"))?;
            if !lines.insert(line) {
                return Err(format!("{name}: line {line} is used twice"));
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), String> {
        let pins = self.pin.iter().flat_map(|pin| {
            let times = [
                ("pulse_ms", pin.pulse_ms, 1),
                ("on_min_ms", pin.on_min_ms, 0),
                ("off_min_ms", pin.off_min_ms, 0),
            ];
            times.map(|(key, ms, min)| (format!("gpio.pin \"{}\": {key}", pin.name), ms, min))
        });
        let inputs = self.input.iter().map(|input| ("gpio.input: debounce_ms", input.debounce_ms));
        let alive = self.alive.iter().map(|alive| ("gpio.alive: blink_ms", alive.blink_ms));
        let others = inputs.chain(alive).map(|(key, ms)| (key.to_owned(), ms, 0));
        let wrong = pins.chain(others).find(|(_, ms, min)| !(*min..=TIME_MS_MAX).contains(ms));
        match wrong {
            Some((key, ms, min)) => Err(format!("{key} = {ms}: must be {min} to {TIME_MS_MAX}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn check(text: &str) -> Result<(), String> {
        let options: Options = toml::from_str(text).map_err(|error| error.to_string())?;
        options.check()
    }

    #[test]
    fn a_whole_section_is_read() {
        let text = r#"
            backend = "record"
            [[pin]]
            name = "out0"
            line = 17
            label = "cat"
            action = "pulse"
            fail_safe = "keep"
            [[input]]
            line = 27
            action = "next-labels"
            [alive]
            line = 22
        "#;
        assert_eq!(check(text), Ok(()));
        assert_eq!(check(""), Ok(()));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let pin = |rest: &str| format!("[[pin]]\nname = \"out0\"\nline = 17\n{rest}");
        for (text, word) in [
            ("[[pin]]\nline = 17".to_owned(), "name"),
            ("[[pin]]\nname = \"a\"".to_owned(), "line"),
            ("[[pin]]\nname = \"alive\"\nline = 3".to_owned(), "taken"),
            (pin("[[pin]]\nname = \"out0\"\nline = 18"), "taken"),
            (pin("[[pin]]\nname = \"out1\"\nline = 17"), "twice"),
            (pin("[alive]\nline = 17"), "twice"),
            (pin("pulse_ms = 0"), "pulse_ms"),
            (pin("on_min_ms = 99999999"), "on_min_ms"),
            (pin("fail_safe = \"maybe\""), "maybe"),
            ("[[input]]\nline = 1".to_owned(), "action"),
            ("frames_within_s = 0".to_owned(), "frames_within_s"),
        ] {
            let error = check(&text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
