//! What a machine is, for a record of a measurement. Nothing that leads to its owner (no names of hosts or users, no
//! serial numbers, no addresses), and no guess where it tells nothing.

use serde::{Deserialize, Serialize};

use super::{Machine, board};

/// Features that kernels depend on or could, as `/proc/cpuinfo` names them.
const FEATURES: &[&str] = if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
    &["sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8"]
} else {
    &["neon", "asimd", "fphp", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2"]
};

/// Firmware of virtual machines calls its vendor or its product so.
const VIRTUAL: &[&str] = &[
    "QEMU",
    "KVM",
    "VMware",
    "VirtualBox",
    "Xen",
    "Parallels",
    "Virtual Machine",
    "Google Compute Engine",
    "Apple Virtualization",
];

/// What a machine is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The board or computer, by its device tree or its firmware.
    pub board: Option<String>,
    /// Whether these are real cores.
    pub setting: Setting,
    /// Architecture that this program was built for.
    pub arch: String,
    /// Kinds of cores, in the order of the system's numbers.
    pub cores: Vec<CoreKind>,
    /// What of the instruction set kernels depend on or could.
    pub features: Vec<String>,
    /// The int8 kernels that the cores can execute, the fastest first.
    pub kernels: Vec<String>,
    /// Memory of the system, in bytes.
    pub memory_bytes: Option<u64>,
    /// The distribution.
    pub system: Option<String>,
    /// Release of the operating system's kernel.
    pub release: Option<String>,
}

/// Cores of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CoreKind {
    /// Its name.
    pub name: String,
    /// The numbers that the system gives these cores.
    pub numbers: Vec<usize>,
    /// Their highest clock rate.
    pub mhz_max: Option<u64>,
}

/// What executes the instructions, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "seen")]
pub enum Setting {
    /// Nothing tells of anything but the machine itself.
    Machine,
    /// A virtual machine; with what shows it.
    Virtual(String),
    /// An emulator, so that times say nothing about a board; with what shows it.
    Emulated(String),
}

impl Facts {
    /// Those of a machine.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let cpuinfo = machine.read("/proc/cpuinfo").unwrap_or_default();
        let kernels = crate::gemm::available_kernels();
        Self {
            board: board::name(machine),
            setting: Setting::of(machine, &cpuinfo),
            arch: std::env::consts::ARCH.to_owned(),
            cores: cores(machine, &cpuinfo),
            features: features(&cpuinfo),
            kernels: kernels.iter().map(|kernel| kernel.name().to_owned()).collect(),
            memory_bytes: board::memory(machine).map(|[_, total]| total),
            system: machine.read("/etc/os-release").and_then(|text| pretty_name(&text)),
            release: machine.read("/proc/sys/kernel/osrelease"),
        }
    }
}

fn cores(machine: &Machine, cpuinfo: &str) -> Vec<CoreKind> {
    let numbers = board::values(cpuinfo, "processor").filter_map(|number| number.parse().ok());
    let mut kinds: Vec<CoreKind> = Vec::new();
    for (number, name) in numbers.zip(board::core_names(cpuinfo)) {
        let file = format!("/sys/devices/system/cpu/cpu{number}/cpufreq/cpuinfo_max_freq");
        let mhz_max = machine.read(file).and_then(|text| board::megahertz(&text));
        match kinds.iter_mut().find(|kind| kind.name == name && kind.mhz_max == mhz_max) {
            Some(kind) => kind.numbers.push(number),
            None => kinds.push(CoreKind { name, numbers: vec![number], mhz_max }),
        }
    }
    kinds
}

/// Those that every core has: on a chip with two kinds each tells its own.
fn features(cpuinfo: &str) -> Vec<String> {
    let lists = || board::values(cpuinfo, "Features").chain(board::values(cpuinfo, "flags"));
    let all_have = |wanted: &&&str| {
        lists().next().is_some() && lists().all(|list| list.split(' ').any(|it| it == **wanted))
    };
    FEATURES.iter().filter(all_have).map(ToString::to_string).collect()
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').to_owned())
}

impl Setting {
    /// What imitates a board to the last byte is not seen.
    fn of(machine: &Machine, cpuinfo: &str) -> Self {
        if let Some(seen) = emulator(machine, cpuinfo) {
            Self::Emulated(seen.to_owned())
        } else if let Some(seen) = hypervisor(machine, cpuinfo) {
            Self::Virtual(seen)
        } else {
            Self::Machine
        }
    }
}

/// QEMU's user mode shows the files of the machine below it, but for those that it makes up, from 8.2 on
/// `/proc/cpuinfo` among them.
fn emulator(machine: &Machine, cpuinfo: &str) -> Option<&'static str> {
    let [foreign_key, foreign_arch] = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
        ["CPU implementer", "aarch64"]
    } else {
        ["vendor_id", "x86_64"]
    };
    if board::values(cpuinfo, foreign_key).next().is_some() {
        return Some("/proc/cpuinfo is of another architecture than the program");
    }
    if machine.read("/proc/sys/kernel/arch").is_some_and(|arch| arch == foreign_arch) {
        return Some("/proc/sys/kernel/arch names another architecture than the program's");
    }
    if machine.read("/proc/self/comm").is_some_and(|name| name.starts_with("qemu-")) {
        return Some("the process is QEMU's");
    }
    let is_tcg = board::values(cpuinfo, "model name").any(|name| name.starts_with("QEMU TCG"));
    is_tcg.then_some("the processor calls itself QEMU TCG")
}

fn hypervisor(machine: &Machine, cpuinfo: &str) -> Option<String> {
    let tree = machine.read("/proc/device-tree/compatible").unwrap_or_default();
    if tree.split('\0').any(|name| name == "linux,dummy-virt") {
        return Some("the device tree is that of QEMU's board virt".to_owned());
    }
    if let Some(name) = board::firmware_name(machine)
        && VIRTUAL.iter().any(|virtual_one| name.contains(virtual_one))
    {
        return Some(format!("the firmware calls the machine {name}"));
    }
    let mut flags = board::values(cpuinfo, "flags").flat_map(str::split_whitespace);
    let is_guest = flags.any(|flag| flag == "hypervisor");
    is_guest.then(|| "the processor tells of a hypervisor".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::machine::tests::{like, made_up};

    /// What the cores are: name, how many, highest clock rate in MHz.
    fn kinds(facts: &Facts) -> Vec<(&str, usize, Option<u64>)> {
        let kind = |kind: &'_ CoreKind| (kind.numbers.len(), kind.mhz_max);
        facts.cores.iter().map(|it| (it.name.as_str(), kind(it).0, kind(it).1)).collect()
    }

    #[test]
    fn boards_tell_what_they_are() {
        let pi_4 = Facts::of(&like("pi-4").1);
        assert_eq!(pi_4.board.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
        assert_eq!(kinds(&pi_4), [("Cortex-A72", 4, Some(1800))]);
        assert_eq!(pi_4.memory_bytes, Some(3_885_396 * 1024));
        assert_eq!(pi_4.system.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(pi_4.release.as_deref(), Some("6.6.31+rpt-rpi-v8"));
        let pi_5 = Facts::of(&like("pi-5").1);
        assert_eq!(kinds(&pi_5), [("Cortex-A76", 4, Some(2400))]);
        let rk3588 = Facts::of(&like("rk3588").1);
        assert_eq!(rk3588.board.as_deref(), Some("Radxa ROCK 5B"));
        let big = ("Cortex-A76", 4, Some(2400));
        assert_eq!(kinds(&rk3588), [("Cortex-A55", 4, Some(1800)), big]);
        assert_eq!(rk3588.cores[1].numbers, [4, 5, 6, 7]);
        let server = Facts::of(&like("server").1);
        assert_eq!(server.board.as_deref(), Some("Example Systems R-1000"));
        assert_eq!(kinds(&server), [("AMD EPYC 9124 16-Core Processor", 2, Some(3711))]);
    }

    #[test]
    fn features_are_those_that_every_core_has() {
        let [file, wanted]: [&str; 2] = if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
            ["server", "sse4_1 avx avx2 fma f16c avx512f avx512_vnni"]
        } else {
            ["rk3588", "asimd fphp asimdhp asimddp"]
        };
        assert_eq!(Facts::of(&like(file).1).features.join(" "), wanted);
        let two = "Features : asimd asimddp\nFeatures : asimd\nflags : avx2 fma\nflags : avx2\n";
        assert!(features(two).is_empty(), "no machine tells both");
        assert!(features("").is_empty());
    }

    #[test]
    fn whose_a_board_is_stays_with_its_owner() {
        for name in ["pi-4", "pi-5", "rk3588", "server"] {
            let (_folder, machine) = like(name);
            let facts = serde_json::to_string(&Facts::of(&machine)).unwrap();
            let state = serde_json::to_string(&crate::doctor::State::of(&machine)).unwrap();
            for secret in ["annas", "10000000abcdef01", "SN-4711", "dc:a6:32", "6f1c0e"] {
                let is_there = include_str!("../../tests/data/machines/pi-4.txt").contains(secret)
                    || include_str!("../../tests/data/machines/server.txt").contains(secret);
                assert!(is_there, "{secret} is nowhere to be hidden");
                assert!(!facts.contains(secret) && !state.contains(secret), "{name}: {secret}");
            }
        }
    }

    #[test]
    fn what_is_not_the_machine_itself_is_told() {
        let of = |files: &[(&str, &str)]| Facts::of(&made_up(files, &[]).1).setting;
        let [arm, pc] = ["CPU implementer\t: 0x41", "vendor_id\t: GenuineIntel\nflags\t: fpu"];
        let [own, other, arch] = if cfg!(target_arch = "x86_64") {
            [pc, arm, "aarch64\n"]
        } else {
            [arm, pc, "x86_64\n"]
        };
        let own = ("/proc/cpuinfo", own);
        let arch = ("/proc/sys/kernel/arch", arch);
        let tcg = ("/proc/cpuinfo", "model name\t: QEMU TCG CPU version 2.5+");
        let kernel_s = ("/proc/sys/kernel/arch", std::env::consts::ARCH);
        let comm = |name| ("/proc/self/comm", name);
        assert_eq!(of(&[own, kernel_s, comm("edgeclip\n")]), Setting::Machine);
        for files in [
            vec![("/proc/cpuinfo", other)],
            vec![own, arch],
            vec![own, comm("qemu-aarch64-st\n")],
            vec![tcg],
        ] {
            assert!(matches!(of(&files), Setting::Emulated(_)), "{files:?}");
        }
        for file in [
            ("/proc/device-tree/compatible", "linux,dummy-virt\0"),
            ("/sys/class/dmi/id/sys_vendor", "QEMU\n"),
            ("/sys/class/dmi/id/product_name", "VMware20,1\n"),
            ("/sys/class/dmi/id/product_name", "Virtual Machine\n"),
        ] {
            assert!(matches!(of(&[own, file]), Setting::Virtual(_)), "{file:?}");
        }
        let guest = Setting::of(&made_up(&[], &[]).1, "flags\t: fpu hypervisor avx2");
        assert!(matches!(guest, Setting::Virtual(_)));
    }

    #[test]
    fn a_machine_that_tells_nothing_is_told_of_as_such() {
        let facts = Facts::of(&made_up(&[], &[]).1);
        assert_eq!((facts.board, facts.memory_bytes), (None, None));
        assert_eq!((facts.system, facts.release), (None, None));
        assert!(facts.cores.is_empty() && facts.features.is_empty());
    }
}
