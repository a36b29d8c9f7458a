//! How a machine stands just now: load, clocks, heat, and what slows it down.

use serde::{Deserialize, Serialize};

use super::throttled::{self, Throttled};
use super::{Machine, board, machine};

/// How a machine stands.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Programs that computed or waited for it, on average of a minute.
    pub load: Option<f64>,
    /// Who decides on clock rates: all that are in use.
    pub governors: Vec<String>,
    /// Clock rates of the cores in MHz, in the order of their numbers.
    pub clocks_mhz: Vec<u64>,
    /// Every thermometer.
    pub temperatures: Vec<Temperature>,
    /// What a Raspberry Pi says of its supply and its heat.
    pub throttled: Option<Throttled>,
    /// Fans, and what slows cores down.
    pub cooling: Vec<Cooling>,
}

/// A thermometer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Temperature {
    /// Where it is, in the system's words.
    pub place: String,
    /// In degrees Celsius.
    pub celsius: f64,
}

/// Something that keeps the machine cool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cooling {
    /// What it is, in the system's words: `pwm-fan`, `cpufreq-cpu4`.
    pub kind: String,
    /// How hard it works: 0 is not at all.
    pub step: u64,
    /// The hardest.
    pub step_max: u64,
}

impl State {
    /// That of a machine, now.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let mut governors = board::of_cores(machine, "scaling_governor");
        governors.sort();
        governors.dedup();
        Self {
            load: machine
                .read("/proc/loadavg")
                .and_then(|text| text.split_whitespace().next()?.parse().ok()),
            governors,
            clocks_mhz: clocks_mhz(machine),
            temperatures: temperatures(machine),
            throttled: throttled::ask(machine).map(Throttled::from_bits),
            cooling: cooling(machine),
        }
    }
}

/// The cores' clock rates in MHz, in the order of their numbers; nothing where the system doesn't tell.
#[must_use]
pub fn clocks_mhz(machine: &Machine) -> Vec<u64> {
    let rates = board::of_cores(machine, "scaling_cur_freq");
    rates.iter().filter_map(|text| board::megahertz(text)).collect()
}

/// What every thermometer shows.
#[must_use]
pub fn temperatures(machine: &Machine) -> Vec<Temperature> {
    let zones = machine.list("/sys/class/thermal", "thermal_zone");
    let zones = zones.iter().filter_map(|zone| {
        let thousandths: f64 = machine::read(&zone.join("temp"))?.parse().ok()?;
        let place = machine::read(&zone.join("type")).unwrap_or_default();
        Some(Temperature { place, celsius: thousandths / 1000.0 })
    });
    zones.collect()
}

fn cooling(machine: &Machine) -> Vec<Cooling> {
    let devices = machine.list("/sys/class/thermal", "cooling_device");
    let devices = devices.iter().filter_map(|device| {
        let read = |name: &str| machine::read(&device.join(name));
        let [step, step_max] = [read("cur_state")?, read("max_state")?];
        Some(Cooling {
            kind: read("type")?,
            step: step.parse().ok()?,
            step_max: step_max.parse().ok()?,
        })
    });
    devices.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::machine::tests::{like, made_up};

    fn celsius(state: &State) -> Vec<(&str, f64)> {
        state.temperatures.iter().map(|it| (it.place.as_str(), it.celsius)).collect()
    }

    #[test]
    fn a_pi_tells_its_clocks_its_heat_and_its_supply() {
        let pi_4 = State::of(&like("pi-4").1);
        assert_eq!(pi_4.load, Some(0.35));
        assert_eq!(pi_4.governors, ["ondemand"]);
        assert_eq!(pi_4.clocks_mhz, [600, 600, 600, 600]);
        assert_eq!(celsius(&pi_4), [("cpu-thermal", 82.281)]);
        let throttled = pi_4.throttled.expect("its kernel's file tells");
        assert_eq!(throttled.bits, "0xe0008");
        assert_eq!(throttled.now, ["soft temperature limit"]);
        assert_eq!(throttled.ever.len(), 3, "{throttled:?}");
        let pi_5 = State::of(&like("pi-5").1);
        assert_eq!(pi_5.clocks_mhz, [1500, 1500, 2400, 1500]);
        assert_eq!(celsius(&pi_5), [("cpu-thermal", 61.35)]);
        let fan = Cooling { kind: "pwm-fan".to_owned(), step: 1, step_max: 4 };
        assert_eq!((pi_5.cooling, pi_5.throttled), (vec![fan], None));
    }

    #[test]
    fn other_boards_tell_what_slows_their_cores() {
        let rk3588 = State::of(&like("rk3588").1);
        let steps: Vec<_> =
            rk3588.cooling.iter().map(|it| (it.kind.as_str(), it.step, it.step_max)).collect();
        assert_eq!(steps, [("cpufreq-cpu0", 0, 6), ("cpufreq-cpu4", 3, 8), ("pwm-fan", 4, 4)]);
        let [package, center] = [("soc-thermal", 86.2), ("center-thermal", 80.0)];
        assert_eq!(celsius(&rk3588), [package, center]);
        assert_eq!(rk3588.throttled, None);
        assert_eq!(rk3588.clocks_mhz, [1800, 1800, 1800, 1800, 1608, 1608, 1608, 1608]);
    }

    #[test]
    fn the_tenth_core_comes_after_the_ninth() {
        let file =
            |core: usize| format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq");
        let files: Vec<_> = (0..11).map(|core| (file(core), format!("{core}000000\n"))).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(at, text)| (&**at, &**text)).collect();
        let wanted: Vec<u64> = (0..11).map(|core| core * 1000).collect();
        assert_eq!(clocks_mhz(&made_up(&files, &[]).1), wanted);
    }

    #[test]
    fn where_nothing_is_told_nothing_stands() {
        assert_eq!(State::of(&made_up(&[], &[]).1), State::default());
    }
}
