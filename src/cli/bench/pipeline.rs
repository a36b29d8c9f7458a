//! `edgeclip bench --pipeline`: what the loop takes of a frame's time beside the image tower.

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use edgeclip::capture::{Encoding, Frame, Shot, encode_jpeg};
use edgeclip::encoder::Precision;
use edgeclip::pipeline::{FrameTimes, ModelOptions, Options, Profile};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{Arguments, PICTURE, Times, WARM_UP, made_up, times};
use crate::cli::pictures::collect;
use crate::cli::{Failure, Outcome, print_json};

/// As many as a set that someone wrote by hand has.
const LABELS: &str =
    "a person\na dog\na cat\na bird\na car\na bicycle\na parcel\na cup\na chair\nan open door";

/// About what USB cameras use.
const JPEG_QUALITY: u8 = 85;

/// One of a frame's times.
type Part = fn(&FrameTimes) -> f32;

/// The stages, in the order of a frame.
const STAGES: [(&str, Part); 7] = [
    ("capture", |times| times.capture_ms),
    ("develop", |times| times.develop_ms),
    ("preprocess", |times| times.preprocess_ms),
    ("encode", |times| times.encode_ms),
    ("score", |times| times.score_ms),
    ("decide", |times| times.decide_ms),
    ("status", |times| times.status_ms),
];

#[derive(Serialize)]
struct Answer {
    version: &'static str,
    arch: &'static str,
    precision: Precision,
    threads: Option<usize>,
    width: u32,
    height: u32,
    /// Different pictures, and frames that were measured.
    pictures: usize,
    frames: u32,
    yuyv: Loop,
    mjpeg: Loop,
}

/// What frames of one encoding took, in milliseconds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Loop {
    pub(super) stages: Vec<Stage>,
    /// All but the image tower.
    pub(super) others_ms: Times,
    pub(super) all_ms: Times,
    /// Of a frame's time, all but the image tower: medians.
    pub(super) others_share: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) ms: Times,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let frames = frames(arguments)?;
    let [yuyv, mjpeg] = shots(&frames)?;
    let options = arguments.model.options();
    let (_folder, mut profile) = start(&options)?;
    let [of_yuyv, of_mjpeg] = in_turn(&mut profile, &yuyv, &mjpeg, arguments.frames as usize)?;
    profile.stop();
    let [width, height] = PICTURE;
    let answer = Answer {
        version: env!("CARGO_PKG_VERSION"),
        arch: std::env::consts::ARCH,
        precision: options.precision,
        threads: options.threads,
        width,
        height,
        pictures: frames.len(),
        frames: arguments.frames,
        yuyv: Loop::of(&of_yuyv),
        mjpeg: Loop::of(&of_mjpeg),
    };
    if arguments.json {
        print_json(&answer)?;
    } else {
        print(&answer).context("standard output")?;
    }
    Ok(Outcome::Done)
}

/// The loop with the outputs that most have: events go to a file of the folder, the page is there, and nobody looks
/// at it.
pub(super) fn start(model: &ModelOptions) -> anyhow::Result<(TempDir, Profile)> {
    let folder = tempfile::tempdir()?;
    let mut options = Options { model: model.clone(), ..Options::default() };
    (options.jsonl.stdout, options.jsonl.file) = (false, Some(folder.path().join("events.jsonl")));
    options.http.listen.set_port(0);
    let profile = Profile::start(&options, LABELS.to_owned())?;
    Ok((folder, profile))
}

/// The frames as a camera sends them: raw, and as JPEGs.
pub(super) fn shots(frames: &[Frame]) -> anyhow::Result<[Vec<Shot>; 2]> {
    let mjpeg = frames.iter().map(mjpeg).collect::<Option<_>>();
    let mjpeg = mjpeg.ok_or_else(|| anyhow!("the frames can't be made JPEGs"))?;
    Ok([frames.iter().map(yuyv).collect(), mjpeg])
}

/// In turn, so that what slows the machine for a while slows both.
pub(super) fn in_turn(
    profile: &mut Profile,
    yuyv: &[Shot],
    mjpeg: &[Shot],
    frames: usize,
) -> anyhow::Result<[Vec<FrameTimes>; 2]> {
    let [mut of_yuyv, mut of_mjpeg] = [Vec::new(), Vec::new()];
    for at in 0..frames + WARM_UP {
        let raw = profile.take(&yuyv[at % yuyv.len()])?;
        let packed = profile.take(&mjpeg[at % mjpeg.len()])?;
        if at >= WARM_UP {
            of_yuyv.push(raw);
            of_mjpeg.push(packed);
        }
    }
    Ok([of_yuyv, of_mjpeg])
}

impl Loop {
    pub(super) fn of(frames: &[FrameTimes]) -> Self {
        let of = |get: Part| times(frames.iter().map(get).map(f64::from).collect());
        let stages = STAGES.iter();
        let stages = stages.map(|(name, get)| Stage { name: (*name).to_owned(), ms: of(*get) });
        let stages = stages.collect();
        let (others_ms, all_ms) = (of(FrameTimes::others_ms), of(FrameTimes::all_ms));
        let others_share = others_ms.median / all_ms.median;
        Self { stages, others_ms, all_ms, others_share }
    }
}

/// The pictures that the user names, or a made-up one, at a camera's size.
pub(super) fn frames(arguments: &Arguments) -> Result<Vec<Frame>, Failure> {
    let Some(path) = &arguments.picture else { return Ok(vec![made_up()]) };
    let pictures = collect(std::slice::from_ref(path))?;
    let read = pictures.iter().map(|picture| {
        let frame = picture.read().with_context(|| path.display().to_string())?;
        fit(&frame).ok_or_else(|| anyhow!("{} has no pixels", path.display()))
    });
    let frames = read.collect::<anyhow::Result<Vec<_>>>()?;
    if frames.is_empty() {
        return Err(anyhow!("{} has no pictures in it", path.display()).into());
    }
    Ok(frames)
}

/// The middle of a picture at a camera's size: means of blocks, good enough for a JPEG of the usual length.
fn fit(frame: &Frame) -> Option<Frame> {
    let [width, height] = PICTURE;
    let (from_width, from_height) = (frame.width(), frame.height());
    let scale = f64::min(
        f64::from(from_width) / f64::from(width),
        f64::from(from_height) / f64::from(height),
    );
    let left = (f64::from(from_width) - scale * f64::from(width)) / 2.0;
    let top = (f64::from(from_height) - scale * f64::from(height)) / 2.0;
    let span = |start: f64, at: u32, limit: u32| {
        let from = (start + scale * f64::from(at)).max(0.0) as u32;
        let to = (start + scale * f64::from(at + 1)) as u32;
        from.min(limit - 1)..to.clamp(from.min(limit - 1) + 1, limit)
    };
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (mut sums, mut count) = ([0_u32; 3], 0);
            for from_y in span(top, y, from_height) {
                for from_x in span(left, x, from_width) {
                    let at = (from_y as usize * from_width as usize + from_x as usize) * 3;
                    let pixel = &frame.rgb()[at..at + 3];
                    sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
                    count += 1;
                }
            }
            rgb.extend(sums.map(|sum| (sum / count) as u8));
        }
    }
    Frame::new(width, height, rgb)
}

/// As a camera would send it: Y0 U Y1 V, ITU-R BT.601 in the narrow range.
fn yuyv(frame: &Frame) -> Shot {
    let mix = |weights: [f32; 3], rgb: [f32; 3], zero: f32| {
        let sum: f32 = weights.iter().zip(rgb).map(|(weight, value)| weight * value).sum();
        (zero + sum / 255.0).round() as u8
    };
    let luma = |rgb| mix([65.481, 128.553, 24.966], rgb, 16.0);
    let pair = |pair: &[u8; 6]| {
        let [left, right] =
            [&pair[..3], &pair[3..]].map(|rgb| [rgb[0], rgb[1], rgb[2]].map(f32::from));
        let mean = std::array::from_fn(|at| f32::midpoint(left[at], right[at]));
        let blue = mix([-37.797, -74.203, 112.0], mean, 128.0);
        let red = mix([112.0, -93.786, -18.214], mean, 128.0);
        [luma(left), blue, luma(right), red]
    };
    let bytes: Vec<u8> = frame.rgb().as_chunks().0.iter().flat_map(pair).collect();
    let (width, height, stride) = (frame.width(), frame.height(), frame.width() * 2);
    Shot { bytes, encoding: Encoding::Yuyv, width, height, stride, ..Shot::default() }
}

fn mjpeg(frame: &Frame) -> Option<Shot> {
    let bytes = encode_jpeg(frame, JPEG_QUALITY)?;
    Some(Shot { bytes, encoding: Encoding::Jpeg, ..Shot::default() })
}

fn print(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Answer { width, height, pictures, frames, arch, yuyv, mjpeg, .. } = answer;
    writeln!(
        out,
        "{width} x {height}, {pictures} pictures, {arch}; median of {frames} frames, in ms    YUYV     MJPEG"
    )?;
    let row = |name: &str, raw: f64, packed: f64| format!("  {name:<52}{raw:9.3} {packed:9.3}");
    for (raw, packed) in yuyv.stages.iter().zip(&mjpeg.stages) {
        writeln!(out, "{}", row(&raw.name, raw.ms.median, packed.ms.median))?;
    }
    let (raw, packed) = (&yuyv.others_ms, &mjpeg.others_ms);
    writeln!(out, "{}", row("all but encode", raw.median, packed.median))?;
    let (raw, packed) = (yuyv.others_share * 100.0, mjpeg.others_share * 100.0);
    writeln!(out, "{}", row("of a frame's time, in %", raw, packed))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgeclip::capture::Options as SourceOptions;
    use edgeclip::capture::Views;

    #[test]
    fn frames_survive_the_way_to_a_camera_s_format_and_back() {
        let [width, height] = PICTURE;
        let grey = Frame::new(
            2 * width,
            2 * height + 2,
            [90, 160, 30].repeat((4 * width * (height + 1)) as usize),
        );
        let frame = fit(&grey.unwrap()).unwrap();
        let mut views = Views::new(&SourceOptions::default());
        for shot in [yuyv(&frame), mjpeg(&frame).unwrap()] {
            views.develop(&shot).unwrap();
            let whole = views.whole();
            assert_eq!([whole.width(), whole.height()], PICTURE);
            let far = whole.rgb().iter().zip(frame.rgb()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far.unwrap() <= 3, "{far:?}");
        }
    }

    #[test]
    fn small_and_narrow_pictures_fit_as_well() {
        for [width, height] in [[1, 1], [3, 2000], [640, 480], [641, 479]] {
            let frame = Frame::new(width, height, vec![7; (width * height * 3) as usize]).unwrap();
            assert!(fit(&frame).unwrap().rgb().iter().all(|value| *value == 7));
        }
    }
}
