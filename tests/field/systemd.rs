//! systemd's own opinion of the unit file.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::available;

/// Keys that systemd before 254 does not know, says so, and goes on.
const NEWER: [&str; 2] = ["RestartSteps", "RestartMaxDelaySec"];

/// How exposed the service may be, in tenths of a point of 10.
const EXPOSURE_MAX: u32 = 20;

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze").args(arguments).arg(unit).output().unwrap()
}

#[test]
fn the_unit_is_right_and_hardened() {
    if !available("systemd-analyze", Command::new("systemd-analyze").arg("--version")) {
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/systemd/edgeclip.service");
    let text = fs::read_to_string(unit).unwrap();
    let installed = "ExecStart=/usr/local/bin/edgeclip ";
    assert!(text.contains(installed));
    // The program must be there, and here it is somewhere else.
    let text = text.replace(installed, &format!("ExecStart={} ", env!("CARGO_BIN_EXE_edgeclip")));
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("edgeclip.service");
    fs::write(&unit, text).unwrap();

    let verified = analyze(&["verify", "--man=no"], &unit);
    let said = String::from_utf8(verified.stderr).unwrap();
    let of_ours = said.lines().filter(|line| line.contains("edgeclip.service"));
    let complaints: Vec<&str> =
        of_ours.filter(|line| !NEWER.iter().any(|key| line.contains(key))).collect();
    assert_eq!(complaints, [""; 0]);
    assert!(verified.status.success(), "{said}");

    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let judged = analyze(&["security", "--offline=true", "--no-pager", &threshold], &unit);
    let table = String::from_utf8(judged.stdout).unwrap();
    let last = table.lines().last().unwrap_or_default();
    assert!(judged.status.success(), "{last}");
}
