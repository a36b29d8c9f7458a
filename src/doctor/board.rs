//! The board itself: processor, heat, clock rate.

use super::{Finding, Machine, state};

/// From here on a board is near the point where it slows down: a Raspberry Pi does so from 80 degrees on.
const HOT_C: f64 = 75.0;

const MIB: u64 = 1 << 20;

/// Where a device tree says which board it is, in words.
const MODEL: &str = "/proc/device-tree/model";

/// What a 64-bit core is for: a 32-bit program has the oldest of its kernels alone.
const WIDER_PROGRAM: &str =
    "use the aarch64 build of edgeclip, on a 64-bit system (uname -m says aarch64)";

/// What brings a board's kernel back.
const WAY_TO_KERNEL: &str = if cfg!(target_pointer_width = "32") {
    WIDER_PROGRAM
} else {
    "edgeclip config boards shows which board this is; grep -m1 -E 'Features|flags' /proc/cpuinfo what the system offers"
};

/// Arm's numbers of the cores that boards have (`CPU part` in `/proc/cpuinfo`).
const CORES: &[(&str, &str)] = &[
    ("0xd03", "Cortex-A53"),
    ("0xd04", "Cortex-A35"),
    ("0xd05", "Cortex-A55"),
    ("0xd07", "Cortex-A57"),
    ("0xd08", "Cortex-A72"),
    ("0xd09", "Cortex-A73"),
    ("0xd0a", "Cortex-A75"),
    ("0xd0b", "Cortex-A76"),
    ("0xd0c", "Neoverse N1"),
    ("0xd0d", "Cortex-A77"),
    ("0xd41", "Cortex-A78"),
    ("0xd42", "Cortex-A78AE"),
    ("0xd46", "Cortex-A510"),
    ("0xd47", "Cortex-A710"),
];

/// What the profile of a board counts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The board's name, and the profile's.
    pub board: String,
    /// An int8 kernel that the board has.
    pub kernel: Option<String>,
    /// Memory that edgeclip may take beside the system, in MB.
    pub budget_mb: Option<u64>,
}

impl Expected {
    /// Whether the machine has it; `kernels` are those that it has.
    pub(super) fn compare(&self, machine: &Machine, kernels: &[&str]) -> Finding {
        let Self { board, kernel, budget_mb } = self;
        if let Some(kernel) = kernel.as_deref().filter(|kernel| !kernels.contains(kernel)) {
            let seen = format!("{board} has the int8 kernel {kernel}, which is not there");
            return Finding::warning("board", seen, WAY_TO_KERNEL);
        }
        let total = memory(machine).map(|[_, total]| total / MIB);
        if let (Some(budget), Some(total)) = (*budget_mb, total)
            && total < budget + budget / 2
        {
            let seen =
                format!("{board} leaves {budget} MB to edgeclip, too much for {total} MB in all");
            let mend = "choose a model of the next smaller board: edgeclip config boards";
            return Finding::warning("board", seen, mend);
        }
        Finding::ok("board", format!("{board}: what it counts on is there"))
    }
}

/// What the processor is, and which int8 kernels it can execute.
pub(super) fn cpu(machine: &Machine, kernels: &[&str]) -> Finding {
    cpu_of_program(machine, kernels, usize::BITS)
}

/// The same, for a program of so many bits.
fn cpu_of_program(machine: &Machine, kernels: &[&str], bits: u32) -> Finding {
    let board = machine.read(MODEL).map_or_else(String::new, |model| model + ", ");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = cpu_name(&machine.read("/proc/cpuinfo").unwrap_or_default());
    let kernels = kernels.join(", ");
    let words =
        format!("{board}{cores} cores ({name}); int8 kernels, the fastest first: {kernels}");
    // Those that have a name here are of 64 bits.
    if bits < 64 && CORES.iter().any(|(_, known)| name.contains(known)) {
        return Finding::warning("cpu", format!("{bits}-bit program on {words}"), WIDER_PROGRAM);
    }
    Finding::ok("cpu", words)
}

/// The kinds of cores, as `/proc/cpuinfo` tells them.
fn cpu_name(cpuinfo: &str) -> String {
    let mut names = core_names(cpuinfo);
    names.dedup();
    if names.is_empty() {
        "of a kind that the system does not tell".to_owned()
    } else {
        names.join(", ")
    }
}

/// The name of each core, as `/proc/cpuinfo` tells them.
pub(super) fn core_names(cpuinfo: &str) -> Vec<String> {
    let known = |part| CORES.iter().find(|(number, _)| *number == part).map(|(_, name)| *name);
    let of_arm: Vec<String> =
        values(cpuinfo, "CPU part").map(|part| known(part).unwrap_or(part).to_owned()).collect();
    if of_arm.is_empty() {
        values(cpuinfo, "model name").map(str::to_owned).collect()
    } else {
        of_arm
    }
}

/// What `/proc/cpuinfo` says under a key, in the order of its lines.
pub(super) fn values<'a>(cpuinfo: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    lines.filter(move |(found, _)| found.trim() == key).map(|(_, value)| value.trim())
}

/// The device tree's model, or what the firmware calls the machine.
pub(super) fn name(machine: &Machine) -> Option<String> {
    machine.read(MODEL).or_else(|| firmware_name(machine))
}

/// What the firmware of a PC calls it: vendor and product.
pub(super) fn firmware_name(machine: &Machine) -> Option<String> {
    let words = ["sys_vendor", "product_name"].map(|name| format!("/sys/class/dmi/id/{name}"));
    let words = words.into_iter().filter_map(|file| machine.read(file));
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The hottest place; none where there is no thermometer.
pub(super) fn temperature(machine: &Machine) -> Option<Finding> {
    let celsius = state::temperatures(machine).into_iter().map(|temperature| temperature.celsius);
    let hottest = celsius.max_by(f64::total_cmp)?;
    let words = format!("{hottest:.0} degrees Celsius");
    Some(if hottest < HOT_C {
        Finding::ok("heat", words)
    } else {
        let mend = "give the board a heat sink or a fan, or lower source.fps_max";
        Finding::warning("heat", format!("{words}: boards slow down from about 80 on"), mend)
    })
}

/// What the cores' clocks say under a name, in the order of their numbers.
pub(super) fn of_cores(machine: &Machine, name: &str) -> Vec<String> {
    let mut cores = machine.list("/sys/devices/system/cpu", "cpu");
    // cpu10 comes after cpu9.
    cores.sort_by_key(|core| core.as_os_str().len());
    let files = cores.iter().map(|core| core.join("cpufreq").join(name));
    files.filter_map(|file| super::machine::read(&file)).collect()
}

/// A clock rate, which the system tells in kHz.
pub(super) fn megahertz(text: &str) -> Option<u64> {
    Some(text.parse::<u64>().ok()? / 1000)
}

/// Who decides on the clock rate; none where nobody does.
pub(super) fn governor(machine: &Machine) -> Option<Finding> {
    let read = |name: &str| -> Vec<String> {
        let mut values = of_cores(machine, name);
        values.sort();
        values.dedup();
        values
    };
    let (governors, drivers) = (read("scaling_governor"), read("scaling_driver"));
    if governors.is_empty() {
        return None;
    }
    let words = format!("governor {}", governors.join(", "));
    // With these drivers the name means something else: the rate follows the load.
    let follows =
        |driver: &String| ["intel_pstate", "amd-pstate"].iter().any(|own| driver.starts_with(own));
    let is_slow =
        governors.iter().any(|governor| governor == "powersave") && !drivers.iter().all(follows);
    Some(if is_slow {
        let mend = "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
        Finding::warning("clock rate", format!("{words} keeps it at the lowest"), mend)
    } else {
        Finding::ok("clock rate", words)
    })
}

/// Memory that is to be had, and all of it, in bytes.
pub(super) fn memory(machine: &Machine) -> Option<[u64; 2]> {
    let text = machine.read("/proc/meminfo")?;
    let bytes = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some([bytes("MemAvailable")?, bytes("MemTotal")?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use crate::doctor::machine::tests::made_up;

    #[test]
    fn cores_have_names() {
        for (cpuinfo, name) in [
            (
                "processor\t: 0\nCPU part\t: 0xd0b\n\nprocessor\t: 1\nCPU part\t: 0xd0b\n",
                "Cortex-A76",
            ),
            ("CPU part\t: 0xd05\nCPU part\t: 0xd0b\n", "Cortex-A55, Cortex-A76"),
            ("CPU part\t: 0xfff\n", "0xfff"),
            (
                "model name\t: Some CPU @ 2 GHz\nmodel name\t: Some CPU @ 2 GHz\n",
                "Some CPU @ 2 GHz",
            ),
            ("", "of a kind that the system does not tell"),
        ] {
            assert_eq!(cpu_name(cpuinfo), name);
        }
        let (_folder, machine) =
            made_up(&[("/proc/device-tree/model", "Raspberry Pi 5 Model B\0")], &[]);
        let seen = cpu_of_program(&machine, &["neon", "scalar"], 64).seen;
        assert!(seen.starts_with("Raspberry Pi 5 Model B, ") && seen.ends_with("scalar"), "{seen}");
    }

    #[test]
    fn a_32_bit_program_wastes_a_64_bit_core() {
        let a53 = made_up(&[("/proc/cpuinfo", "CPU part\t: 0xd03\n")], &[]);
        let a7 = made_up(&[("/proc/cpuinfo", "CPU part\t: 0xc07\n")], &[]);
        for ((_, machine), bits, level) in
            [(&a53, 32, Level::Warning), (&a53, 64, Level::Ok), (&a7, 32, Level::Ok)]
        {
            let finding = cpu_of_program(machine, &["neon", "scalar"], bits);
            assert_eq!(finding.level, level, "{finding}");
            assert_eq!(finding.mend.is_some(), level == Level::Warning, "{finding}");
        }
    }

    #[test]
    fn the_hottest_place_counts() {
        let zone = |at: usize| format!("/sys/class/thermal/thermal_zone{at}/temp");
        let (first, second) = (zone(0), zone(1));
        for (temps, level, words) in [
            (["41200\n", "39000\n"], Level::Ok, "41 degrees"),
            (["50000\n", "80500\n"], Level::Warning, "80 degrees"),
            (["75000\n", "damaged"], Level::Warning, "75 degrees"),
        ] {
            let (_folder, machine) = made_up(&[(&first, temps[0]), (&second, temps[1])], &[]);
            let finding = temperature(&machine).unwrap();
            assert_eq!(finding.level, level, "{finding}");
            assert!(finding.seen.contains(words), "{finding}");
        }
        assert_eq!(temperature(&made_up(&[], &[]).1), None);
    }

    #[test]
    fn a_rate_that_stays_low_is_told() {
        for (driver, governors, level) in [
            ("cpufreq-dt", ["ondemand", "ondemand"], Level::Ok),
            ("cpufreq-dt", ["performance", "powersave"], Level::Warning),
            ("intel_pstate", ["powersave", "powersave"], Level::Ok),
            ("amd-pstate-epp", ["powersave", "powersave"], Level::Ok),
        ] {
            let file = |core: usize, name: &str| {
                format!("/sys/devices/system/cpu/cpu{core}/cpufreq/{name}")
            };
            let names = [
                file(0, "scaling_governor"),
                file(1, "scaling_governor"),
                file(0, "scaling_driver"),
            ];
            let texts = [governors[0], governors[1], driver];
            let files: Vec<_> = names.iter().map(String::as_str).zip(texts).collect();
            let (_folder, machine) = made_up(&files, &[]);
            assert_eq!(governor(&machine).unwrap().level, level, "{driver} {governors:?}");
        }
        assert_eq!(governor(&made_up(&[], &[]).1), None);
    }

    #[test]
    fn a_board_is_compared_with_its_profile() {
        let expected = |kernel: &str, budget_mb| Expected {
            board: "b".to_owned(),
            kernel: Some(kernel.to_owned()),
            budget_mb,
        };
        let meminfo = "MemTotal: 1048576 kB\nMemAvailable: 1 kB\n";
        let (_folder, machine) = made_up(&[("/proc/meminfo", meminfo)], &[]);
        for (expected, level, words) in [
            (expected("dotprod", Some(682)), Level::Ok, "counts on"),
            (expected("neon", None), Level::Ok, "counts on"),
            (Expected::default(), Level::Ok, "counts on"),
            (expected("i8mm", None), Level::Warning, "kernel i8mm, which is not there"),
            (expected("neon", Some(684)), Level::Warning, "too much for 1024 MB"),
        ] {
            let finding = expected.compare(&machine, &["dotprod", "neon", "scalar"]);
            assert_eq!(finding.level, level, "{finding}");
            assert!(finding.seen.contains(words), "{finding}");
        }
        let unknown = made_up(&[], &[]).1;
        assert_eq!(expected("neon", Some(1)).compare(&unknown, &["neon"]).level, Level::Ok);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let text = "MemTotal:        8000 kB\nMemFree: 1 kB\nMemAvailable:    4000 kB\n";
        let (_folder, machine) = made_up(&[("/proc/meminfo", text)], &[]);
        assert_eq!(memory(&machine), Some([4000 * 1024, 8000 * 1024]));
        assert_eq!(memory(&made_up(&[("/proc/meminfo", "MemTotal: 1 kB")], &[]).1), None);
    }
}
