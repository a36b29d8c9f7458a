//! The source: whether what it needs is there, and whether a frame comes.

use std::path::Path;
use std::time::{Duration, Instant};

use super::machine::{Rights, rights};
use super::{Finding, Level, Machine};
use crate::capture::{Camera, Needs, Next, Options, SourceState, Views};

/// Longest wait for the first frame: cameras in a network take some seconds.
const FRAME_MAX: Duration = Duration::from_secs(10);

const PATIENCE: Duration = Duration::from_millis(100);

/// What gives a user the right to open cameras.
const JOIN_VIDEO: &str = "sudo usermod -aG video $USER, and log in anew";

/// `busy`: an edgeclip that runs holds the camera, so that no frame can be taken.
pub(super) fn look(options: &Options, machine: &Machine, busy: bool) -> Vec<Finding> {
    let needs = match options.needs() {
        Ok(needs) => needs,
        Err(reason) => {
            return vec![Finding::problem("source", reason, "edgeclip config reference")];
        }
    };
    let missing: Vec<Finding> = needs.iter().filter_map(|needs| lacks(needs, machine)).collect();
    if !missing.is_empty() {
        return missing;
    }
    let mut findings: Vec<Finding> = needs.iter().filter_map(offers).collect();
    if findings.iter().any(|finding| finding.level == Level::Problem) {
        return findings;
    }
    findings.push(if busy {
        Finding::ok("source", "not tried: an edgeclip that runs has it")
    } else {
        match first_frame(options) {
            Ok(seen) => Finding::ok("source", seen),
            Err(reason) => {
                let seen = format!("{}: {reason}", options.name());
                Finding::problem("source", seen, "EDGECLIP_LOG=debug edgeclip run says more")
            }
        }
    });
    findings
}

/// What is missing of what a source needs.
fn lacks(needs: &Needs, machine: &Machine) -> Option<Finding> {
    match needs {
        Needs::Device(device) => {
            let shown = device.display();
            match rights(&machine.path(device)) {
                Rights::Missing => Some(Finding::problem(
                    "camera",
                    format!("{shown} is not there"),
                    no_device(machine),
                )),
                Rights::Denied => Some(Finding::problem(
                    "camera",
                    format!("{shown} may not be opened"),
                    JOIN_VIDEO,
                )),
                Rights::Fine => None,
            }
        }
        Needs::Program { names, package } => {
            let found = names.iter().any(|name| machine.program(name).is_some());
            let seen = format!("{} is not installed", names.join(" or "));
            let mend = format!("sudo apt install {package}");
            (!found).then(|| Finding::problem("camera", seen, mend))
        }
        Needs::Path(path) => missing_path(path),
    }
}

/// Without the device: other cameras that there are, or what to plug in.
fn no_device(machine: &Machine) -> String {
    let others = machine.list("/dev", "video");
    let is_camera = |path: &&std::path::PathBuf| {
        // A Raspberry Pi's codecs and image processors are devices from 10 on.
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("video")?.parse::<u32>().ok());
        number.is_some_and(|number| number < 10)
    };
    if let Some(other) = others.iter().find(is_camera) {
        let name = other.file_name().unwrap_or_default().to_string_lossy();
        return format!(
            "--source v4l:/dev/{name} is another camera; v4l2-ctl --list-devices shows all"
        );
    }
    if machine.program("rpicam-vid").is_some() {
        return "for a camera module: --source rpicam; else plug a camera in".to_owned();
    }
    "plug a camera in; v4l2-ctl --list-devices shows those that there are".to_owned()
}

fn missing_path(path: &Path) -> Option<Finding> {
    let error = std::fs::metadata(path).err()?;
    let seen = format!("{}: {error}", path.display());
    Some(Finding::problem("source", seen, "give the right path as source.url (--source)"))
}

/// What a camera offers, where it can be asked.
fn offers(needs: &Needs) -> Option<Finding> {
    #[cfg(target_os = "linux")]
    if let Needs::Device(device) = needs {
        let shown = device.display();
        return Some(match crate::capture::offered_formats(device) {
            Ok(formats) => Finding::ok("camera", format!("{shown} offers {}", formats.join(", "))),
            Err(reason) => {
                Finding::problem("camera", format!("{shown} {reason}"), "v4l2-ctl --list-devices")
            }
        });
    }
    let _ = needs;
    None
}

/// Waits for a frame that can be decoded, and describes it.
fn first_frame(options: &Options) -> Result<String, String> {
    let mut camera = Camera::start(options).map_err(|error| error.reason)?;
    let mut views = Views::new(options);
    let (begun, mut damaged) = (Instant::now(), None);
    while begun.elapsed() < FRAME_MAX {
        match camera.next(PATIENCE) {
            Next::Shot(shot) => match views.develop(shot) {
                Ok(()) => {
                    let (frame, waited) = (views.whole(), begun.elapsed().as_millis());
                    let size = format!("{} x {}", frame.width(), frame.height());
                    let name = options.name();
                    return Ok(format!("{name}: a frame of {size} pixels after {waited} ms"));
                }
                Err(error) => damaged = Some(format!("a frame {error}")),
            },
            Next::Nothing => {}
            Next::End => break,
        }
        match camera.state() {
            SourceState::Lost => break,
            SourceState::Quiet => return Ok("closed, since these are quiet hours".to_owned()),
            _ => {}
        }
    }
    let nothing = || format!("no frame within {} s", FRAME_MAX.as_secs());
    Err(camera.last_error().or(damaged).unwrap_or_else(nothing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::machine::tests::made_up;

    fn options(url: &str) -> Options {
        Options { url: url.to_owned(), ..Options::default() }
    }

    #[test]
    fn what_is_missing_has_its_command() {
        let vid = [("rpicam-vid", "exit 0")];
        for (url, files, programs, mend) in [
            ("v4l:/dev/video0", &[][..], &[][..], "plug a camera in"),
            (
                "v4l:/dev/video0",
                &[("/dev/video2", ""), ("/dev/video10", "")],
                &[],
                "--source v4l:/dev/video2",
            ),
            ("v4l:/dev/video0", &[("/dev/video10", "")], &vid, "--source rpicam"),
            ("rpicam", &[], &[], "sudo apt install rpicam-apps-lite"),
            ("rtsp://cam/1", &[], &[], "sudo apt install ffmpeg"),
            ("dir:/nowhere/at/all", &[], &[], "--source"),
        ] {
            let (_folder, machine) = made_up(files, programs);
            let findings = look(&options(url), &machine, false);
            assert_eq!(findings[0].level, Level::Problem, "{url}");
            assert!(findings[0].mend.as_ref().unwrap().contains(mend), "{url}: {}", findings[0]);
        }
    }

    #[test]
    fn a_frame_is_taken() {
        let (_folder, machine) = made_up(&[], &[]);
        let found = look(&options("dir:examples/images"), &machine, false);
        assert!(
            found[0].level == Level::Ok && found[0].seen.contains(" pixels after "),
            "{}",
            found[0]
        );
        let broken = look(&options("file:tests/data/broken/truncated.jpg"), &machine, false);
        assert!(
            broken[0].level == Level::Problem && broken[0].seen.contains("cut off"),
            "{}",
            broken[0]
        );
        let busy = look(&options("dir:examples/images"), &machine, true);
        assert!(busy[0].level == Level::Ok && busy[0].seen.contains("runs"), "{}", busy[0]);
    }
}
