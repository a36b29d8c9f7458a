//! Whether the clock can be trusted: many boards have none that goes on without power.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Finding, Machine};

/// No edgeclip was built before this, in seconds since 1970: 2026-01-01T00:00:00Z.
const BUILT_AFTER_S: u64 = 1_767_225_600;

/// The file that systemd-timesyncd touches when it has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

const MEND: &str = "sudo timedatectl set-ntp true";

pub(super) fn look(machine: &Machine) -> Finding {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let answer = machine.ask("timedatectl", &["show", "-p", "NTPSynchronized", "--value"]);
    let synchronised = match answer.as_deref() {
        Some("yes") => Some(true),
        Some("no") => Some(false),
        _ => machine.path(SYNCHRONISED).exists().then_some(true),
    };
    judge(since_1970.as_secs(), synchronised)
}

/// `synchronised` is none where nobody can tell.
fn judge(now_s: u64, synchronised: Option<bool>) -> Finding {
    if now_s < BUILT_AFTER_S {
        let seen = "it is earlier than edgeclip was written: events would have wrong times";
        return Finding::problem("clock", seen, MEND);
    }
    match synchronised {
        Some(true) => Finding::ok("clock", "set by the network"),
        Some(false) => Finding::warning(
            "clock",
            "not synchronised: times in events may be wrong, decisions are not touched",
            MEND,
        ),
        None => Finding::ok("clock", "set; nothing here tells whether by the network"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use crate::doctor::machine::tests::made_up;

    #[test]
    fn a_clock_is_set_or_not() {
        for (now_s, synchronised, level) in [
            (0, Some(true), Level::Problem),
            (BUILT_AFTER_S - 1, None, Level::Problem),
            (BUILT_AFTER_S, Some(true), Level::Ok),
            (BUILT_AFTER_S, Some(false), Level::Warning),
            (BUILT_AFTER_S, None, Level::Ok),
        ] {
            assert_eq!(judge(now_s, synchronised).level, level, "{now_s} {synchronised:?}");
        }
    }

    #[test]
    fn who_knows_is_asked() {
        for (programs, files, level) in [
            (&[("timedatectl", "echo no")][..], &[][..], Level::Warning),
            (&[("timedatectl", "echo yes")], &[], Level::Ok),
            // No bus, as in a container.
            (&[("timedatectl", "exit 1")], &[(SYNCHRONISED, "")], Level::Ok),
            (&[], &[], Level::Ok),
        ] {
            let (_folder, machine) = made_up(files, programs);
            assert_eq!(look(&machine).level, level, "{programs:?}");
        }
    }
}
