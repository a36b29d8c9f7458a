//! Pins that follow labels, on a Raspberry Pi and elsewhere, and pins that people press.
//!
//! At the start all outputs go to their fail-safe levels, and stay there until frames flow; they go back
//! there when frames stop, when the loop crashes and at the end. Muted, and in quiet hours, they are off.
//! When the program is killed nothing can be written any more: what the wires do then depends on the
//! backend, see `rpi` and `chip`. A resistor that pulls to the safe side is worth its price.

mod bank;
#[cfg(target_os = "linux")]
mod chip;
mod input;
mod options;
mod pin;
mod pins;
mod record;
#[cfg(target_os = "linux")]
mod rpi;

use std::time::{Duration, Instant};

pub use bank::{Backend, Pull};
pub use options::{AliveOptions, InputOptions, Options, PinOptions, Press};
pub use pin::FailSafe;

use bank::{Bank, InputLine, OutputLine, Place};
use input::Debounce;
use options::ALIVE;
use pin::Mode;
use pins::Pins;

use super::flow::Flow;
use super::{Notice, Output, Request, Requests, Route, Status};
use crate::capture::SourceState;
use crate::classify::{Event, Transition};

/// How often inputs are looked at, in milliseconds.
const INPUT_EVERY_MS: u64 = 10;

/// How often the status is looked at, in milliseconds: a lost camera is seen this late at most.
const LOOK_EVERY_MS: u64 = 200;

/// Time from a failure of the lines until they are opened anew, in milliseconds.
const REOPEN_MS: u64 = 2000;

/// The output.
pub struct Gpio {
    options: Options,
    status: Status,
    requests: Requests,
    clock: Instant,
    flow: Flow,
    mode: Mode,
    muted: bool,
    /// Whether frames flow, muted or not.
    flowing: bool,
    pins: Pins,
    inputs: Vec<Debounce>,
    lines: Lines,
}

impl Gpio {
    /// Opens the lines; outputs have their fail-safe levels from the first moment.
    ///
    /// # Errors
    /// The lines can't be opened.
    pub fn start(options: &Options, status: &Status, requests: &Requests) -> anyhow::Result<Self> {
        let mut pins = Pins::new(&options.pin);
        let safe = pins.step(Mode::Safe, 0).chain(options.alive.iter().map(|_| false)).collect();
        let mut gpio = Self {
            options: options.clone(),
            status: status.clone(),
            requests: requests.clone(),
            clock: Instant::now(),
            flow: Flow::default(),
            mode: Mode::Safe,
            muted: false,
            flowing: false,
            inputs: options.input.iter().map(|input| Debounce::new(input.debounce_ms)).collect(),
            lines: Lines::open(options, safe)?,
            pins,
        };
        gpio.take_labels();
        Ok(gpio)
    }

    fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// Takes pins of the label set, and what is there, from the status.
    fn take_labels(&mut self) {
        let (routes, regions) =
            self.status.with(|snapshot| (snapshot.routes.clone(), snapshot.regions.clone()));
        for Route { label, gpio, .. } in self.pins.route(&routes) {
            log::warn!(
                "the label \"{label}\" asks for the pin \"{gpio}\", which gpio.pin does not name"
            );
        }
        self.pins.resync(&regions, self.mode);
    }

    /// Sees how the source does, and so who decides.
    fn look(&mut self, now_ms: u64) {
        let source = self.status.with(|snapshot| {
            self.flow.look(snapshot, now_ms);
            self.muted = snapshot.muted;
            snapshot.source_state
        });
        let in_time = self.flow.frames_within(self.options.frames_within_s * 1000, now_ms);
        self.flowing = source == SourceState::Live && in_time;
        self.mode = match source {
            _ if self.muted => Mode::Silenced,
            SourceState::Quiet | SourceState::Ended => Mode::Silenced,
            SourceState::Live if in_time => Mode::Live,
            _ => Mode::Safe,
        };
    }

    fn event(&mut self, event: &Event) {
        let enters = event.state == Transition::Enter;
        self.pins.event(event.region.as_deref(), &event.label, enters, self.mode);
    }

    /// Reads the inputs and writes the outputs.
    fn step(&mut self, now_ms: u64) -> anyhow::Result<()> {
        let pressed = self.pressed(now_ms);
        let alive = self.options.alive.as_ref().map(|alive| self.flowing && alive.is_on(now_ms));
        let on = self.pins.step(self.mode, now_ms).chain(alive).collect();
        let written = self.lines.write(on, &self.options, now_ms);
        for press in pressed? {
            self.press(press)?;
        }
        written
    }

    fn pressed(&mut self, now_ms: u64) -> anyhow::Result<Vec<Press>> {
        let mut pressed = Vec::new();
        for (debounce, input) in self.inputs.iter_mut().zip(&self.options.input) {
            let Some(high) = self.lines.read(input.line.unwrap_or_default(), now_ms)? else {
                break;
            };
            if debounce.look(high != input.active_low, now_ms) {
                pressed.extend(input.action);
            }
        }
        Ok(pressed)
    }

    fn press(&mut self, press: Press) -> anyhow::Result<()> {
        match press {
            Press::NextLabels => self.requests.send(Request::NextLabels),
            Press::Picture => self.requests.send(Request::Picture),
            Press::Mute => self.requests.send(Request::Mute(!self.muted)),
            Press::Release => {
                self.pins.release();
                Ok(())
            }
        }
    }
}

impl Output for Gpio {
    fn notice(&mut self, notice: &Notice) -> anyhow::Result<()> {
        let now_ms = self.now_ms();
        self.look(now_ms);
        match notice {
            Notice::Event(event, _) => self.event(event),
            Notice::Labels(report) if report.accepted => self.take_labels(),
            _ => {}
        }
        self.step(now_ms)
    }

    fn tick(&mut self, lost: bool) -> anyhow::Result<()> {
        let now_ms = self.now_ms();
        self.look(now_ms);
        if lost {
            self.take_labels();
        }
        self.step(now_ms)
    }

    fn patience(&self) -> Duration {
        let now_ms = self.now_ms();
        let look_ms = if self.inputs.is_empty() { LOOK_EVERY_MS } else { INPUT_EVERY_MS };
        let due_ms = self.pins.due_ms(now_ms).map_or(LOOK_EVERY_MS, |due_ms| due_ms - now_ms);
        let blink_ms = self.options.alive.as_ref().map_or(0, |alive| alive.blink_ms);
        let blink_ms = if blink_ms == 0 { LOOK_EVERY_MS } else { blink_ms - now_ms % blink_ms };
        Duration::from_millis(look_ms.min(due_ms).min(blink_ms).max(1))
    }

    fn stop(&mut self) {
        self.mode = Mode::Safe;
        self.flowing = false;
        self.inputs.clear();
        // Lines that fail are tried once more.
        self.lines.reopen_at_ms = 0;
        if let Err(error) = self.step(self.now_ms()) {
            log::warn!("gpio: fail-safe levels can't be written: {error:#}");
        }
    }
}

impl AliveOptions {
    fn is_on(&self, now_ms: u64) -> bool {
        now_ms.checked_div(self.blink_ms).is_none_or(|changes| changes % 2 == 0)
    }
}

/// The opened lines, and what was last written to them.
struct Lines {
    /// None while they fail.
    bank: Option<Box<dyn Bank>>,
    reopen_at_ms: u64,
    /// Whether each output is on, the alive pin last.
    on: Vec<bool>,
}

impl Lines {
    fn open(options: &Options, on: Vec<bool>) -> anyhow::Result<Self> {
        let bank = Some(open_bank(options, &on)?);
        Ok(Self { bank, reopen_at_ms: 0, on })
    }

    /// Writes what changed. Lines that fail are opened anew after a while; that they still fail is no news.
    fn write(&mut self, on: Vec<bool>, options: &Options, now_ms: u64) -> anyhow::Result<()> {
        let Some(bank) = &mut self.bank else {
            if now_ms >= self.reopen_at_ms {
                self.reopen_at_ms = now_ms + REOPEN_MS;
                self.bank = open_bank(options, &on).ok();
                if self.bank.is_some() {
                    self.on = on;
                    log::warn!("gpio: the lines work again");
                }
            }
            return Ok(());
        };
        let changed = on.iter().zip(&self.on).enumerate().filter(|(_, (on, was))| on != was);
        let written = changed.into_iter().try_for_each(|(at, (on, _))| {
            let (line, active_low) = wire(options, at);
            bank.write(line, *on != active_low)
        });
        if written.is_err() {
            self.fail(now_ms);
        }
        self.on = on;
        written
    }

    /// The level of an input; none while the lines fail.
    fn read(&mut self, line: u32, now_ms: u64) -> anyhow::Result<Option<bool>> {
        let Some(bank) = &mut self.bank else { return Ok(None) };
        let high = bank.read(line);
        if high.is_err() {
            self.fail(now_ms);
        }
        high.map(Some)
    }

    fn fail(&mut self, now_ms: u64) {
        self.bank = None;
        self.reopen_at_ms = now_ms + REOPEN_MS;
    }
}

/// Line of an output, and whether on is low there; the alive pin follows the others.
fn wire(options: &Options, at: usize) -> (u32, bool) {
    let pin = options.pin.get(at).map(|pin| (pin.line, pin.active_low));
    let alive = options.alive.as_ref().map(|alive| (alive.line, alive.active_low));
    let (line, active_low) = pin.or(alive).unwrap_or_default();
    (line.unwrap_or_default(), active_low)
}

fn open_bank(options: &Options, on: &[bool]) -> anyhow::Result<Box<dyn Bank>> {
    let names = options.pin.iter().map(|pin| pin.name.as_str()).chain([ALIVE]);
    let outputs: Vec<_> = names
        .zip(on)
        .enumerate()
        .map(|(at, (name, on))| {
            let (line, active_low) = wire(options, at);
            OutputLine { name: name.to_owned(), line, high: *on != active_low }
        })
        .collect();
    let inputs = options.input.iter();
    let inputs: Vec<_> = inputs
        .map(|input| InputLine { line: input.line.unwrap_or_default(), pull: input.pull })
        .collect();
    let record_file = options.record_file.as_deref();
    let place = Place { backend: options.backend, chip: &options.chip, record_file };
    bank::open(&place, &outputs, &inputs)
}

#[cfg(test)]
mod tests;
