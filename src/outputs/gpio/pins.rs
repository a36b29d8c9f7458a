//! All output pins, and which label acts on which. Holds no line and no clock.

use std::collections::BTreeSet;

use super::pin::{Mode, Pin};
use super::{PinOptions, Route};
use crate::classify::NONE;
use crate::outputs::RegionStatus;
use crate::prompts::Action;

/// The pins, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Pins {
    all: Vec<Named>,
    /// What the configuration routes, then what the label set does.
    links: Vec<Link>,
    /// How many of the links are the configuration's.
    own: usize,
    /// Labels that are there, with the region that they are in.
    active: BTreeSet<(String, Option<String>)>,
}

#[derive(Debug)]
struct Named {
    name: String,
    action: Action,
    pin: Pin,
}

/// A label that acts on a pin.
#[derive(Debug)]
struct Link {
    label: String,
    pin: usize,
    action: Action,
}

impl Pins {
    pub(super) fn new(options: &[PinOptions]) -> Self {
        let named = |options: &PinOptions| Named {
            name: options.name.clone(),
            action: options.action,
            pin: Pin::new(options.rules()),
        };
        let labelled = options.iter().enumerate().filter(|(_, options)| !options.label.is_empty());
        let links: Vec<_> = labelled
            .map(|(pin, options)| Link {
                label: options.label.clone(),
                pin,
                action: options.action,
            })
            .collect();
        let own = links.len();
        Self { all: options.iter().map(named).collect(), links, own, active: BTreeSet::new() }
    }

    /// Takes the label set's links in place of the ones before; returns those to pins that there are not.
    pub(super) fn route<'a>(&mut self, routes: &'a [Route]) -> Vec<&'a Route> {
        self.links.truncate(self.own);
        let mut unknown = Vec::new();
        for route in routes {
            match self.all.iter().position(|named| named.name == route.gpio) {
                Some(pin) => {
                    let action = route.action.unwrap_or(self.all[pin].action);
                    self.links.push(Link { label: route.label.clone(), pin, action });
                }
                None => unknown.push(route),
            }
        }
        self.follow();
        unknown
    }

    /// A label came to a region, or went. It is there as long as any region has it; pulses and latches
    /// are for the first region that it enters, and for a time when labels decide.
    pub(super) fn event(&mut self, region: Option<&str>, label: &str, enters: bool, mode: Mode) {
        let there = self.is_active(label);
        let place = (label.to_owned(), region.map(str::to_owned));
        if enters {
            self.active.insert(place);
        } else {
            self.active.remove(&place);
        }
        if enters && !there && mode == Mode::Live {
            self.enter(label);
        }
        self.follow();
    }

    /// Takes what is there from the status: events may have been lost.
    pub(super) fn resync(&mut self, regions: &[RegionStatus], mode: Mode) {
        let mut now = BTreeSet::new();
        for region in regions {
            let mut active = region.labels.iter().filter(|label| label.active).peekable();
            if active.peek().is_none() {
                now.insert((NONE.to_owned(), region.region.clone()));
            }
            now.extend(active.map(|label| (label.label.clone(), region.region.clone())));
        }
        let before = std::mem::replace(&mut self.active, now);
        let fresh: BTreeSet<&String> = self.active.iter().map(|(label, _)| label).collect();
        let old: BTreeSet<&String> = before.iter().map(|(label, _)| label).collect();
        let entered: Vec<String> = fresh.difference(&old).map(|label| (*label).clone()).collect();
        for label in entered.iter().filter(|_| mode == Mode::Live) {
            self.enter(label);
        }
        self.follow();
    }

    /// Lets go of what is latched.
    pub(super) fn release(&mut self) {
        self.all.iter_mut().for_each(|named| named.pin.release());
    }

    /// Whether each pin is to be on now.
    pub(super) fn step(&mut self, mode: Mode, now_ms: u64) -> impl Iterator<Item = bool> {
        self.all.iter_mut().map(move |named| named.pin.step(mode, now_ms))
    }

    /// The next moment after `now_ms` at which [`step`](Self::step) may say otherwise by itself.
    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        self.all.iter().filter_map(|named| named.pin.due_ms(now_ms)).min()
    }

    fn is_active(&self, label: &str) -> bool {
        self.active.iter().any(|(active, _)| active == label)
    }

    fn enter(&mut self, label: &str) {
        for link in self.links.iter().filter(|link| link.label == label) {
            let pin = &mut self.all[link.pin].pin;
            match link.action {
                Action::Follow => {}
                Action::Pulse => pin.pulse(),
                Action::Latch => pin.latch(),
            }
        }
    }

    fn follow(&mut self) {
        for at in 0..self.all.len() {
            let mut followed = self.links.iter().filter(|link| link.action == Action::Follow);
            let there = followed.any(|link| link.pin == at && self.is_active(&link.label));
            self.all[at].pin.follow(there);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Mode, PinOptions, Pins, Route};
    use crate::outputs::{LabelStatus, RegionStatus};

    fn pins() -> Pins {
        let pin = |name: &str, label: &str, action| PinOptions {
            name: name.to_owned(),
            label: label.to_owned(),
            action,
            pulse_ms: 100,
            ..PinOptions::default()
        };
        Pins::new(&[
            pin("out0", "cat", Action::Follow),
            pin("out1", "", Action::Pulse),
            pin("out2", "none", Action::Follow),
        ])
    }

    fn on(pins: &mut Pins, now_ms: u64) -> Vec<bool> {
        pins.step(Mode::Live, now_ms).collect()
    }

    fn region(name: &str, active: &[&str]) -> RegionStatus {
        let label = |name: &&str| LabelStatus {
            label: (*name).to_owned(),
            active: active.contains(name),
            ..LabelStatus::default()
        };
        RegionStatus {
            region: Some(name.to_owned()),
            labels: ["cat", "dog"].iter().map(label).collect(),
            ..RegionStatus::default()
        }
    }

    fn route(label: &str, gpio: &str, action: Option<Action>) -> Route {
        Route { label: label.to_owned(), gpio: gpio.to_owned(), action }
    }

    #[test]
    fn a_label_is_there_while_any_region_has_it() {
        let mut pins = pins();
        pins.event(Some("left"), "cat", true, Mode::Live);
        pins.event(Some("right"), "cat", true, Mode::Live);
        assert_eq!(on(&mut pins, 0), [true, false, false]);
        pins.event(Some("left"), "cat", false, Mode::Live);
        assert_eq!(on(&mut pins, 1), [true, false, false]);
        pins.event(Some("right"), "cat", false, Mode::Live);
        assert_eq!(on(&mut pins, 2), [false, false, false]);
    }

    #[test]
    fn a_label_set_brings_links_of_its_own() {
        let mut pins = pins();
        let routes = [
            route("dog", "out1", None),
            route("dog", "out0", Some(Action::Follow)),
            route("dog", "out9", None),
        ];
        assert_eq!(pins.route(&routes), [&routes[2]]);
        pins.event(None, "dog", true, Mode::Live);
        assert_eq!(on(&mut pins, 0), [true, true, false]);
        assert_eq!(on(&mut pins, 100), [true, false, false], "the pin's own action is a pulse");
        assert!(pins.route(&[]).is_empty());
        assert_eq!(on(&mut pins, 101), [false, false, false]);
        pins.event(None, "cat", true, Mode::Live);
        assert_eq!(on(&mut pins, 102), [true, false, false], "the configuration's links stay");
    }

    #[test]
    fn a_second_region_does_not_pulse_again() {
        let mut pins = pins();
        pins.route(&[route("dog", "out1", None)]);
        pins.event(Some("left"), "dog", true, Mode::Live);
        assert!(on(&mut pins, 0)[1]);
        pins.event(Some("right"), "dog", true, Mode::Live);
        assert!(!on(&mut pins, 100)[1]);
    }

    #[test]
    fn lost_notices_are_made_up_for_from_the_status() {
        let mut pins = pins();
        pins.route(&[route("dog", "out1", None)]);
        pins.event(Some("left"), "cat", true, Mode::Live);
        // The cat's leaving and the dog's coming were lost.
        pins.resync(&[region("left", &[]), region("right", &["dog"])], Mode::Live);
        assert_eq!(on(&mut pins, 0), [false, true, true]);
        pins.resync(&[region("left", &["dog"]), region("right", &["dog"])], Mode::Live);
        assert_eq!(on(&mut pins, 100), [false, false, false], "it was there already");
    }

    #[test]
    fn labels_that_enter_while_silenced_neither_pulse_nor_latch() {
        for mode in [Mode::Silenced, Mode::Safe] {
            let mut pins = pins();
            pins.route(&[route("dog", "out1", None), route("cat", "out2", Some(Action::Latch))]);
            pins.event(None, "dog", true, mode);
            pins.event(None, "cat", true, mode);
            pins.event(None, "cat", false, mode);
            assert!(pins.step(mode, 0).all(|on| !on));
            assert_eq!(on(&mut pins, 1), [false, false, false]);
        }
    }
}
