//! Which cores to compute on: a chip with two kinds of them is as fast as its slowest thread.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

/// Where Linux tells about cores.
const SYSTEM: &str = "/sys/devices/system/cpu";
/// A core counts as big from this part of the biggest one's speed on.
const BIG: f64 = 0.75;

/// Some of a machine's cores, by the numbers that Linux gives them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cores(BTreeSet<usize>);

/// Why a list of cores is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a list of cores is like 4-7 or 0,2,3")]
pub struct NoCores;

/// As a list: `0,4,5`.
impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl TryFrom<String> for Cores {
    type Error = NoCores;

    fn try_from(text: String) -> Result<Self, NoCores> {
        text.parse()
    }
}

impl FromStr for Cores {
    type Err = NoCores;

    /// Numbers and ranges, as Linux and `taskset` write them: `0,4-7`.
    fn from_str(text: &str) -> Result<Self, NoCores> {
        /// More than any machine has.
        const CORES_MAX: usize = 1024;
        let number = |text: &str| -> Result<usize, NoCores> {
            text.trim().parse().ok().filter(|number| *number < CORES_MAX).ok_or(NoCores)
        };
        let mut cores = BTreeSet::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(NoCores);
            }
            cores.extend(from..=to);
        }
        Ok(Self(cores))
    }
}

impl Cores {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that this process may use; all of them where none is, so that to pin to them fails.
    pub(super) fn allowed(&self) -> Self {
        let may_use = allowed().unwrap_or_else(|| self.0.clone());
        let both: BTreeSet<usize> = self.0.intersection(&may_use).copied().collect();
        if both.is_empty() { self.clone() } else { Self(both) }
    }

    /// The big ones among those that this process may use, where there are smaller ones as well.
    pub(super) fn big() -> Option<Self> {
        let may_use = allowed();
        let cores = speeds(Path::new(SYSTEM));
        let cores = cores
            .into_iter()
            .filter(|(core, _)| may_use.as_ref().is_none_or(|may| may.contains(core)));
        big_of(&cores.collect::<Vec<_>>())
    }

    /// Keeps the calling thread on these cores.
    pub(super) fn pin(&self) -> std::io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            let mut set = rustix::thread::CpuSet::new();
            for core in self.0.iter().filter(|core| **core < rustix::thread::CpuSet::MAX_CPU) {
                set.set(*core);
            }
            rustix::thread::sched_setaffinity(None, &set)?;
        }
        Ok(())
    }
}

/// The cores that this process may use, where the system tells.
fn allowed() -> Option<BTreeSet<usize>> {
    #[cfg(target_os = "linux")]
    {
        let set = rustix::thread::sched_getaffinity(None).ok()?;
        Some((0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Each core's speed: its capacity, which the kernel knows on chips with several kinds of them.
fn speeds(system: &Path) -> Vec<(usize, f64)> {
    let speed = |core: usize| {
        let file = system.join(format!("cpu{core}/cpu_capacity"));
        Some((core, fs::read_to_string(file).ok()?.trim().parse().ok()?))
    };
    (0..).map_while(speed).collect()
}

fn big_of(speeds: &[(usize, f64)]) -> Option<Cores> {
    let biggest = speeds.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
    let big = speeds.iter().filter(|(_, speed)| *speed >= BIG * biggest);
    let big: BTreeSet<usize> = big.map(|(core, _)| *core).collect();
    (!big.is_empty() && big.len() < speeds.len()).then_some(Cores(big))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_linux_writes_them() {
        let cores = |numbers: &[usize]| Ok(Cores(numbers.iter().copied().collect()));
        assert_eq!("4-7".parse(), cores(&[4, 5, 6, 7]));
        assert_eq!("0,2, 3".parse(), cores(&[0, 2, 3]));
        assert_eq!("1,1-2".parse(), cores(&[1, 2]));
        for list in ["", "a", "3-1", "1-", "-1", "0-99999999999", "1;2"] {
            assert_eq!(list.parse::<Cores>(), Err(NoCores), "{list}");
        }
    }

    #[test]
    fn big_cores_are_those_of_a_chip_with_two_kinds() {
        let folder = tempfile::tempdir().unwrap();
        // An RK3588's: four Cortex-A55, then four A76.
        for core in 0..8 {
            let core_folder = folder.path().join(format!("cpu{core}"));
            fs::create_dir(&core_folder).unwrap();
            let capacity = if core < 4 { "414\n" } else { "1024\n" };
            fs::write(core_folder.join("cpu_capacity"), capacity).unwrap();
        }
        let speeds = speeds(folder.path());
        assert_eq!(big_of(&speeds), Some("4-7".parse().unwrap()));
        assert_eq!(big_of(&speeds[4..]), None, "all are alike");
        assert_eq!(big_of(&[]), None, "nothing is known");
    }
}
