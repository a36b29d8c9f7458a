//! `edgeclip bench`: how fast a model is on this machine, stage by stage and operator by operator.

mod markdown;
mod pipeline;
mod record;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use edgeclip::capture::{self, Frame};
use edgeclip::encoder::NodeTime;
use edgeclip::pipeline::ImageSide;
use serde::{Deserialize, Serialize};
use stats_alloc::Region;

use super::{ALLOCATOR, Failure, ModelArguments, Outcome, print_json};

/// Frames before any is measured: caches fill, memory is allocated, the clock goes up.
const WARM_UP: usize = 3;
/// The picture that is measured with where none is named: a camera's size.
const PICTURE: [u32; 2] = [640, 480];

#[derive(Args)]
pub(super) struct Arguments {
    /// Picture to measure with, or a folder of them with --pipeline or --report [default: a made-up one of 640 x 480]
    #[arg(value_name = "IMAGE")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArguments,
    /// Frames that are measured
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    frames: u32,
    /// Measure the whole loop with frames as a camera sends them: what it takes beside the image tower
    #[arg(long, conflicts_with = "report")]
    pipeline: bool,
    /// Measure everything, the whole loop for half a minute among it, and write a record of this machine to send in, with a
    /// page of Markdown beside it: to FILE.json, or under a name of its own to FOLDER or, without a value, to this one
    #[arg(long, value_name = "FOLDER|FILE.json", num_args = 0..=1, require_equals = true, default_missing_value = ".", conflicts_with = "json")]
    report: Option<PathBuf>,
    /// How long the report's loop runs, in seconds
    #[arg(long, value_name = "N", default_value_t = 30, requires = "report", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// What the report can't see: a case, a fan, a power supply
    #[arg(long, value_name = "TEXT", requires = "report")]
    note: Option<String>,
    /// Say in the report that an emulator executes this, where it does not tell so itself
    #[arg(long, requires = "report")]
    emulated: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Times of many frames, in milliseconds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Times {
    median: f64,
    /// A tenth of the frames were faster, a tenth slower.
    p10: f64,
    p90: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Operator {
    name: String,
    /// Nodes of that operator.
    nodes: usize,
    /// Median over the frames of the time of all of them, in milliseconds.
    ms: f64,
    /// Of the time of all operators.
    share: f64,
    /// Multiply-adds of a frame, in millions, where they are counted.
    mmac: f64,
    /// Two operations to a multiply-add.
    gop_per_s: f64,
    /// Calls to the allocator within these nodes.
    allocations: usize,
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    name: &'a str,
    version: &'static str,
    arch: &'static str,
    precision: edgeclip::encoder::Precision,
    kernel: &'a str,
    threads: usize,
    frames: u32,
    /// From opening the model to the first embedding, in milliseconds.
    first_embedding_ms: f64,
    preprocess_ms: Times,
    encode_ms: Times,
    operators: Vec<Operator>,
    /// Of the last frame: calls to the allocator, and bytes.
    allocations: usize,
    allocated_bytes: usize,
    /// Memory in use, and at most since the start, in bytes; none where the system doesn't say.
    resident_bytes: Option<u64>,
    resident_max_bytes: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    if arguments.pipeline {
        return pipeline::run(arguments);
    }
    if let Some(place) = &arguments.report {
        return report::run(arguments, place);
    }
    let frame = arguments.picture.as_deref().map_or_else(|| Ok(made_up()), read)?;
    let begun = Instant::now();
    let model = arguments.model.open()?;
    let mut image_side = model.image_side()?;
    image_side.encode_image(&frame)?;
    let first_embedding_ms = ms(begun.elapsed());
    let measured = measure(&mut image_side, &frame, arguments.frames as usize)?;
    let compute = model.compute();
    let is_int8 = image_side.encoder.report().products > 0;
    let answer = Answer {
        model: model.bundle().digest(),
        name: &model.bundle().manifest().name,
        version: env!("CARGO_PKG_VERSION"),
        arch: std::env::consts::ARCH,
        precision: compute.precision(),
        kernel: if is_int8 { compute.kernel().name() } else { "float" },
        threads: if is_int8 { compute.threads() } else { 1 },
        frames: arguments.frames,
        first_embedding_ms,
        preprocess_ms: measured.preprocess,
        encode_ms: measured.encode,
        operators: measured.operators,
        allocations: measured.allocations,
        allocated_bytes: measured.allocated_bytes,
        resident_bytes: status("VmRSS"),
        resident_max_bytes: status("VmHWM"),
    };
    if arguments.json {
        print_json(&answer)?;
    } else {
        print(&answer).context("standard output")?;
    }
    Ok(Outcome::Done)
}

fn read(path: &Path) -> Result<Frame, Failure> {
    capture::read(path).with_context(|| path.display().to_string()).map_err(Failure::from)
}

/// Stripes and slopes: no picture of anything, but one that has to be resized and cropped.
fn made_up() -> Frame {
    let [width, height] = PICTURE;
    let pixel = |at: u32| [at % width, at / width, at.wrapping_mul(7)].map(|value| value as u8);
    let pixels = (0..width * height).flat_map(pixel).collect();
    Frame::new(width, height, pixels).expect("as many pixels as the size says")
}

struct Measured {
    preprocess: Times,
    encode: Times,
    operators: Vec<Operator>,
    allocations: usize,
    allocated_bytes: usize,
}

fn measure(side: &mut ImageSide, frame: &Frame, frames: usize) -> anyhow::Result<Measured> {
    let (mut preprocess, mut encode) = (Vec::new(), Vec::new());
    let (mut allocations, mut allocated_bytes) = (0, 0);
    for at in 0..frames + WARM_UP {
        let region = Region::new(ALLOCATOR);
        let begun = Instant::now();
        let pixels = side.preprocessor.run(frame);
        let prepared = Instant::now();
        side.encoder.encode(pixels)?;
        let encoded = Instant::now();
        let change = region.change();
        (allocations, allocated_bytes) = (change.allocations, change.bytes_allocated);
        if at >= WARM_UP {
            preprocess.push(ms(prepared - begun));
            encode.push(ms(encoded - prepared));
        }
    }
    // Apart from the above, since looking at the clock between operators takes time as well.
    let pixels = side.preprocessor.run(frame);
    let mut timed = Vec::new();
    for _ in 0..frames {
        timed.push(side.encoder.encode_timed(pixels, || ALLOCATOR.stats().allocations)?.1);
    }
    let operators = operators(&timed);
    let (preprocess, encode) = (times(preprocess), times(encode));
    Ok(Measured { preprocess, encode, operators, allocations, allocated_bytes })
}

/// The nodes of each frame, summed by operator; the slowest first.
fn operators(frames: &[Vec<NodeTime>]) -> Vec<Operator> {
    let mut by_name: BTreeMap<&str, (Operator, Vec<f64>)> = BTreeMap::new();
    for (number, frame) in frames.iter().enumerate() {
        for node in frame.iter().filter(|node| node.operator != "Source") {
            let (operator, sums) = by_name.entry(&node.operator).or_default();
            sums.resize(frames.len(), 0.0);
            sums[number] += ms(node.time);
            if number == 0 {
                operator.nodes += 1;
                operator.mmac += node.macs as f64 / 1e6;
            }
            if number + 1 == frames.len() {
                operator.allocations += node.counted;
            }
        }
    }
    let mut operators: Vec<Operator> = by_name
        .into_iter()
        .map(|(name, (operator, sums))| {
            let ms = times(sums).median;
            let gop_per_s = if ms > 0.0 { 2.0 * operator.mmac / ms } else { 0.0 };
            Operator { name: name.to_owned(), ms, gop_per_s, ..operator }
        })
        .collect();
    let total: f64 = operators.iter().map(|operator| operator.ms).sum();
    for operator in &mut operators {
        operator.share = operator.ms / total;
    }
    operators.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    operators
}

fn times(mut values: Vec<f64>) -> Times {
    values.sort_by(f64::total_cmp);
    // To the nanosecond: clocks say no more.
    let at = |part: usize| (values[(values.len() - 1) * part / 10] * 1e6).round() / 1e6;
    Times { median: at(5), p10: at(1), p90: at(9) }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A size that Linux tells of this process, in bytes.
fn status(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn print(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Answer { name, kernel, threads, frames, arch, .. } = answer;
    writeln!(
        out,
        "{name}, {kernel}, {threads} threads, {arch}; median of {frames} frames (10 % and 90 %)"
    )?;
    for (stage, Times { median, p10, p90 }) in
        [("preprocess", &answer.preprocess_ms), ("encode", &answer.encode_ms)]
    {
        writeln!(out, "  {stage:<11}{median:8.3} ms  ({p10:.3} to {p90:.3})")?;
    }
    writeln!(out, "  {:<11}{:8.3} ms  from opening the model", "first", answer.first_embedding_ms)?;
    for Operator { name, nodes, ms, share, gop_per_s, allocations, .. } in &answer.operators {
        write!(out, "    {name:<16}{nodes:4} x {ms:9.3} ms {:5.1} %", share * 100.0)?;
        if *gop_per_s > 0.0 {
            write!(out, " {gop_per_s:7.0} GOP/s")?;
        } else {
            write!(out, "              ")?;
        }
        writeln!(out, " {allocations:4} allocations")?;
    }
    let megabytes =
        |bytes: Option<u64>| bytes.map_or("?".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
    writeln!(
        out,
        "  memory: {} MB in use, {} MB at most; a frame allocates {} times, {} bytes in all",
        megabytes(answer.resident_bytes),
        megabytes(answer.resident_max_bytes),
        answer.allocations,
        answer.allocated_bytes
    )?;
    out.flush()
}
