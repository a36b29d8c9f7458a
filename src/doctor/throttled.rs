//! What a Raspberry Pi says of its supply and its heat.
//!
//! `vcgencmd get_throttled` answers with bits, which the Raspberry Pi documentation lists (Raspberry Pi OS,
//! Use Linux, `vcgencmd`: <https://www.raspberrypi.com/documentation/computers/os.html#get_throttled>):
//!
//! | bit | now                           | bit | since the start                      |
//! |-----|-------------------------------|-----|--------------------------------------|
//! | 0   | undervoltage                  | 16  | undervoltage has occurred            |
//! | 1   | Arm frequency capped          | 17  | Arm frequency capping has occurred   |
//! | 2   | throttled                     | 18  | throttling has occurred              |
//! | 3   | soft temperature limit active | 19  | soft temperature limit has occurred  |

use serde::{Deserialize, Serialize};

use super::{Finding, Machine};

/// Bit, whether it is about the supply, what it means now; sixteen bits further up, since the start.
const BITS: [(u32, bool, &str); 4] = [
    (0, true, "undervoltage"),
    (1, false, "Arm frequency capped"),
    (2, false, "throttled"),
    (3, false, "soft temperature limit"),
];

/// Where the kernel of a Raspberry Pi before the 5 tells the same, for who has no `vcgencmd` or may not use it.
const FILE: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";

/// From a bit of now to that of ever.
const EVER: u32 = 16;

const SUPPLY: &str =
    "use the board's own power supply and a short cable, and a powered hub for cameras";
const COOLING: &str = "give the board a heat sink or a fan, or lower source.fps_max";

/// What the bits say, in words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Throttled {
    /// As the firmware tells them: `0x50005`.
    pub bits: String,
    /// What slows or starves the board just now.
    pub now: Vec<String>,
    /// What did so at any time since the start; by the kernel's file, since somebody asked last.
    pub ever: Vec<String>,
}

impl Throttled {
    pub(super) fn from_bits(bits: u32) -> Self {
        let words = |shift: u32| {
            let set = BITS.iter().filter(|(bit, ..)| bits >> (bit + shift) & 1 == 1);
            set.map(|(.., words)| (*words).to_owned()).collect()
        };
        Self { bits: format!("{bits:#x}"), now: words(0), ever: words(EVER) }
    }
}

/// None where there is neither `vcgencmd` nor the kernel's file: it is no Raspberry Pi.
pub(super) fn look(machine: &Machine) -> Option<Finding> {
    if let Some(bits) = ask(machine) {
        return Some(judge(bits));
    }
    machine.program("vcgencmd")?;
    let mend = "sudo usermod -aG video $USER, and log in anew";
    Some(Finding::warning("supply", "vcgencmd get_throttled does not answer", mend))
}

/// The bits; none where nothing tells.
pub(super) fn ask(machine: &Machine) -> Option<u32> {
    let answer = machine.ask("vcgencmd", &["get_throttled"]);
    let of_program = answer.as_deref().and_then(parse);
    of_program.or_else(|| hexadecimal(&machine.read(FILE)?))
}

/// `throttled=0x50005`
fn parse(answer: &str) -> Option<u32> {
    hexadecimal(answer.trim().strip_prefix("throttled=")?)
}

/// With `0x`, as the program prints it, or without, as the kernel does.
fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

fn judge(bits: u32) -> Finding {
    let is_set = |bit: u32| bits >> bit & 1 == 1;
    let now = BITS.iter().filter(|(bit, ..)| is_set(*bit));
    let ever = BITS.iter().filter(|(bit, ..)| is_set(bit + EVER) && !is_set(*bit));
    let now_words: Vec<String> = now.map(|(.., words)| format!("{words} now")).collect();
    let ever_words: Vec<String> = ever.map(|(.., words)| format!("{words} earlier")).collect();
    let words = [now_words, ever_words].concat().join(", ");
    let is_supply =
        BITS.iter().any(|(bit, supply, _)| *supply && (is_set(*bit) || is_set(bit + EVER)));
    let mend = if is_supply { SUPPLY } else { COOLING };
    if words.is_empty() {
        return Finding::ok("supply", "enough voltage, and not throttled");
    }
    // Undervoltage damages cards and loses cameras; all else only costs time.
    if is_set(0) {
        Finding::problem("supply", words, mend)
    } else {
        Finding::warning("supply", words, mend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use crate::doctor::machine::tests::made_up;

    #[test]
    fn every_bit_has_its_words() {
        let supply = |finding: &Finding| finding.mend.as_deref() == Some(SUPPLY);
        for (bits, level, words, about_supply) in [
            ("0x0", Level::Ok, "not throttled", false),
            ("0x1", Level::Problem, "undervoltage now", true),
            ("0x2", Level::Warning, "Arm frequency capped now", false),
            ("0x4", Level::Warning, "throttled now", false),
            ("0x8", Level::Warning, "soft temperature limit now", false),
            ("0x10000", Level::Warning, "undervoltage earlier", true),
            ("0x20000", Level::Warning, "Arm frequency capped earlier", false),
            ("0x40000", Level::Warning, "throttled earlier", false),
            ("0x80000", Level::Warning, "soft temperature limit earlier", false),
            ("0x50005", Level::Problem, "undervoltage now, throttled now", true),
            ("0xe0008", Level::Warning, "now, Arm frequency capped earlier, throttled", false),
        ] {
            let finding = judge(parse(&format!("throttled={bits}\n")).unwrap());
            assert_eq!(finding.level, level, "{bits}");
            assert!(finding.seen.contains(words), "{bits}: {finding}");
            assert_eq!(supply(&finding), about_supply, "{bits}: {finding}");
        }
        for answer in ["", "0x0", "throttled=", "throttled=0x", "throttled=0xfffffffff", "error=1"]
        {
            assert_eq!(parse(answer), None, "{answer}");
        }
    }

    #[test]
    fn the_program_is_asked_where_there_is_one() {
        let (_folder, machine) = made_up(&[], &[("vcgencmd", "echo throttled=0x1")]);
        assert_eq!(look(&machine).unwrap().level, Level::Problem);
        let (_folder, machine) = made_up(&[], &[("vcgencmd", "echo no rights; exit 1")]);
        assert!(look(&machine).unwrap().mend.unwrap().contains("usermod -aG video"));
        let (_folder, machine) = made_up(&[], &[]);
        assert_eq!(look(&machine), None);
        let (_folder, machine) = made_up(&[(FILE, "50005\n")], &[]);
        assert!(look(&machine).unwrap().seen.contains("throttled now"));
    }

    #[test]
    fn bits_are_words_in_a_record() {
        let throttled = Throttled::from_bits(0x5_0001);
        assert_eq!(throttled.bits, "0x50001");
        assert_eq!(throttled.now, ["undervoltage"]);
        assert_eq!(throttled.ever, ["undervoltage", "throttled"]);
    }
}
