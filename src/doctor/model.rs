//! The model: whether it loads, what of it is int8, how fast it is here, and whether it fits.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::board::memory;
use super::{Finding, Machine};
use crate::capture::Frame;
use crate::encoder::{Precision, Report};
use crate::gemm::available_kernels;
use crate::pipeline::{ImageSide, Model, ModelOptions};

/// A model folder takes so many times its files' size while it is loaded: the files, and what is made of them.
const LOADING: u64 = 2;

/// Part of the memory at hand that a run may take without a warning.
const ROOMY: f64 = 0.7;

/// Where a process's memory stands.
const OWN_STATUS: &str = "/proc/self/status";

pub(super) fn look(options: &ModelOptions, machine: &Machine) -> Vec<Finding> {
    let before = memory(machine);
    if let (Some(path), Some([available, _])) = (&options.located(), before)
        && let needed = size(path) * LOADING
        && needed > available
    {
        let seen =
            format!("it needs about {} MB to load, {} MB are free", mb(needed), mb(available));
        let mend = "edgeclip model pack FILE --model DIR, on a bigger machine, or a smaller model";
        return vec![Finding::problem("model", seen, mend)];
    }
    match load(options) {
        Ok((model, image_side)) => judge(options, &model, image_side, machine, before),
        Err(error) => {
            let seen = format!("{error:#}");
            vec![Finding::problem(
                "model",
                seen,
                "edgeclip model info --model DIR|FILE shows what is wrong",
            )]
        }
    }
}

/// Both sides are loaded, as at a run's start.
fn load(options: &ModelOptions) -> anyhow::Result<(Model, ImageSide)> {
    let model = options.open(None)?;
    let mut image_side = model.image_side()?;
    model.check_image(&mut image_side)?;
    if model.bundle().manifest().text.is_some() {
        model.text_side()?;
    }
    Ok((model, image_side))
}

fn judge(
    options: &ModelOptions,
    model: &Model,
    mut image_side: ImageSide,
    machine: &Machine,
    before: Option<[u64; 2]>,
) -> Vec<Finding> {
    let manifest = model.bundle().manifest();
    let words =
        format!("{}, {}, licence: {}", manifest.name, model.bundle().digest(), manifest.licence);
    let mut findings = vec![Finding::ok("model", words)];
    findings.push(kernel(options, model));
    findings.push(int8(options.precision, image_side.encoder.report()));
    findings.push(match frame_time(&mut image_side) {
        Ok(time) => {
            let words = format!("a frame takes {:.1} ms here", time.as_secs_f64() * 1000.0);
            Finding::ok("speed", words)
        }
        Err(error) => Finding::problem("speed", format!("{error:#}"), "edgeclip model info"),
    });
    // What stands in it is of this process, which has just done what a run does at its start.
    let status = machine.read(OWN_STATUS).unwrap_or_default();
    if let (Some([available, total]), Some(peak)) = (before, peak(&status)) {
        findings.push(room(peak, available, total));
    }
    findings
}

fn kernel(options: &ModelOptions, model: &Model) -> Finding {
    let (kernel, threads) = (model.compute().kernel().name(), model.compute().threads());
    let fastest = available_kernels().first().map_or(kernel, |first| first.name());
    let cores =
        options.cores.as_ref().map_or_else(String::new, |cores| format!(" on cores {cores}"));
    let words = format!("{kernel} with {threads} threads{cores}");
    if kernel == fastest {
        Finding::ok("kernel", format!("{words}: the fastest that this CPU has"))
    } else {
        let seen = format!("{words}, but this CPU has {fastest}");
        Finding::warning("kernel", seen, "leave model.kernel (--kernel) out")
    }
}

fn int8(precision: Precision, report: &Report) -> Finding {
    let is_product = |operator: &str| ["EinSum", "Conv"].contains(&operator);
    let left = report.left.iter().filter(|left| is_product(&left.operator)).count();
    let all = report.products + left;
    let words = format!("{} of {all} products of the image side are int8", report.products);
    if precision == Precision::Float {
        Finding::warning(
            "int8",
            "everything is computed in float, on one thread",
            "leave model.precision out",
        )
    } else if report.products == 0 {
        Finding::warning(
            "int8",
            words,
            "edgeclip model info says why; choose a model of usual form",
        )
    } else {
        Finding::ok("int8", words)
    }
}

/// Time of one frame, the one before having filled caches.
fn frame_time(image_side: &mut ImageSide) -> anyhow::Result<Duration> {
    const SIZE: [u32; 2] = [640, 480];
    let grey = vec![128; SIZE[0] as usize * SIZE[1] as usize * 3];
    let frame =
        Frame::new(SIZE[0], SIZE[1], grey).ok_or_else(|| anyhow!("a frame without pixels"))?;
    image_side.encode_image(&frame)?;
    let begun = Instant::now();
    image_side.encode_image(&frame)?;
    Ok(begun.elapsed())
}

fn room(peak: u64, available: u64, total: u64) -> Finding {
    let words =
        format!("a start takes {} MB, {} of {} MB are free", mb(peak), mb(available), mb(total));
    let mend = "edgeclip model pack: a packed model takes less; or stop other programs";
    if peak > available {
        Finding::problem("memory", words, mend)
    } else if peak as f64 > available as f64 * ROOMY {
        Finding::warning("memory", words, mend)
    } else {
        Finding::ok("memory", words)
    }
}

/// The most that a process had in memory, in bytes.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Bytes of a model's graphs. A packed model is mapped, not read: it needs no more than it has.
fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

fn mb(bytes: u64) -> u64 {
    bytes / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use crate::doctor::machine::tests::made_up;
    use crate::encoder::LeftInFloat;

    #[test]
    fn a_start_must_fit() {
        for (peak, available, level) in [
            (100, 1000, Level::Ok),
            (700, 1000, Level::Ok),
            (701, 1000, Level::Warning),
            (1001, 1000, Level::Problem),
        ] {
            assert_eq!(room(peak, available, 2000).level, level, "{peak}");
        }
        assert_eq!(super::peak("Name: x\nVmHWM:\t  12 kB\n"), Some(12 * 1024));
        assert_eq!(super::peak(""), None);
    }

    #[test]
    fn a_model_that_cannot_fit_is_not_even_loaded() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("vision.onnx"), [0; 6000]).unwrap();
        let options =
            ModelOptions { path: Some(folder.path().to_owned()), ..ModelOptions::default() };
        let meminfo = "MemTotal: 20 kB\nMemAvailable: 10 kB\n";
        let (_root, machine) = made_up(&[("/proc/meminfo", meminfo)], &[]);
        let findings = look(&options, &machine);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].seen.contains("to load"), "{}", findings[0]);
    }

    #[test]
    fn only_products_count_as_float() {
        let left = |operator: &str| LeftInFloat {
            name: String::new(),
            operator: operator.to_owned(),
            reason: String::new(),
        };
        let report = Report {
            products: 3,
            left: vec![left("EinSum"), left("Softmax")],
            ..Report::default()
        };
        assert_eq!(
            int8(Precision::Auto, &report).seen,
            "3 of 4 products of the image side are int8"
        );
        assert_eq!(int8(Precision::Float, &report).level, Level::Warning);
        assert_eq!(int8(Precision::Auto, &Report::default()).level, Level::Warning);
    }
}
