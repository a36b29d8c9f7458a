//! Cameras through V4L2, the kernel's interface for video devices.
//!
//! The crate v4l is right for drivers that behave. For those that don't: its calls that read what a driver says,
//! and its drops, may panic, which [`guarded`] makes an error of; and after a wait that timed out its stream
//! would queue a buffer twice, so the wait is done before it is asked.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use v4l::buffer::{Flags, Type};
use v4l::capability::Flags as Capabilities;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::prelude::MmapStream;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format as DeviceFormat, FourCC, Fraction};

use super::{Captured, Encoding, Format, Options, Shot, Source, SourceError};

/// Buffers that are shared with the driver.
const BUFFERS: u32 = 4;

/// The kernel's own limit for them (`VIDEO_MAX_FRAME`).
const BUFFERS_MAX: usize = 32;

/// The formats that can be read, the cheapest to decode first.
const FORMATS: [(Format, [u8; 4], Encoding); 4] = [
    (Format::Yuyv, *b"YUYV", Encoding::Yuyv),
    (Format::Nv12, *b"NV12", Encoding::Nv12),
    (Format::Mjpeg, *b"MJPG", Encoding::Jpeg),
    (Format::Grey, *b"GREY", Encoding::Grey),
];

/// An open camera that delivers frames.
pub(super) struct V4lCamera {
    /// None only while it is dropped.
    stream: Option<MmapStream<'static>>,
    url: String,
    encoding: Encoding,
    width: u32,
    height: u32,
    stride: u32,
}

impl V4lCamera {
    pub(super) fn open(options: &Options, path: &Path) -> Result<Self, SourceError> {
        guarded(|| Self::start(options, path))
            .map_err(|error| SourceError::new(&options.url, explained(&error)))
    }

    fn start(options: &Options, path: &Path) -> io::Result<Self> {
        let device = Device::with_path(path)?;
        check(&device)?;
        let wanted = choose(&device, options)?;
        let format = device.set_format(&DeviceFormat::new(
            options.width,
            options.height,
            FourCC::new(&wanted),
        ))?;
        let Some((_, _, encoding)) =
            FORMATS.iter().find(|(_, name, _)| *name == format.fourcc.repr)
        else {
            let answer = format.fourcc;
            return Err(io::Error::other(format!(
                "answers with the format {answer}, which can't be read"
            )));
        };
        set_rate(&device, &format, options.fps);
        let mut stream = MmapStream::with_buffers(&device, Type::VideoCapture, BUFFERS)?;
        // The first buffer is queued by the first `next`.
        let _ = (1..BUFFERS_MAX).take_while(|at| stream.queue(*at).is_ok()).count();
        stream.start()?;
        let rate = device.params().map_or(Fraction::new(0, 0), |parameters| parameters.interval);
        log::debug!(
            "{}: {} {} x {}, rows of {} bytes, a frame every {}/{} s",
            options.url,
            format.fourcc,
            format.width,
            format.height,
            format.stride,
            rate.numerator,
            rate.denominator
        );
        let is_raw = *encoding != Encoding::Jpeg;
        let raw = |value: u32| if is_raw { value } else { 0 };
        Ok(Self {
            stream: Some(stream),
            url: options.url.clone(),
            encoding: *encoding,
            width: raw(format.width),
            height: raw(format.height),
            stride: raw(format.stride),
        })
    }

    fn next(&mut self, shot: &mut Shot, patience: Duration) -> io::Result<Captured> {
        let Some(stream) = &mut self.stream else { return Ok(Captured::Nothing) };
        let patience_ms = patience.as_millis().min(60_000) as i32;
        if stream.handle().poll(PollFlags::IN.bits().cast_signed(), patience_ms)? == 0 {
            return Ok(Captured::Nothing);
        }
        // There is a frame, or an error; the time-out is for a driver that says so and then has none.
        stream.set_timeout(Duration::from_millis(100));
        let (bytes, metadata) = CaptureStream::next(stream)?;
        shot.bytes.clear();
        // A frame that the driver calls damaged stays empty, and can't be decoded.
        if !metadata.flags.contains(Flags::ERROR) {
            shot.bytes.extend_from_slice(&bytes[..bytes.len().min(metadata.bytesused as usize)]);
        }
        (shot.encoding, shot.stride) = (self.encoding, self.stride);
        (shot.width, shot.height) = (self.width, self.height);
        Ok(Captured::Shot)
    }
}

impl Source for V4lCamera {
    fn capture(&mut self, shot: &mut Shot, patience: Duration) -> Result<Captured, SourceError> {
        match guarded(|| self.next(shot, patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Captured::Nothing),
            Err(error) => Err(SourceError::new(&self.url, explained(&error))),
            captured => captured.map_err(|error| SourceError::new(&self.url, error)),
        }
    }
}

impl Drop for V4lCamera {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        match guarded(|| stream.stop()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NODEV.raw_os_error()) => {
                // Its drop would panic twice, which ends the program: its memory and handle are given up.
                log::warn!("{}: can't be stopped: {error}", self.url);
                std::mem::forget(stream);
            }
            _ => drop(guarded(|| {
                drop(stream);
                Ok(())
            })),
        }
    }
}

/// Makes an error of a panic of the crate v4l.
fn guarded<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(io::Error::other("the driver's answer makes no sense")))
}

/// Whether the device can capture at all.
fn check(device: &Device) -> io::Result<()> {
    let found = device.query_caps()?;
    let needed = Capabilities::VIDEO_CAPTURE | Capabilities::STREAMING;
    if found.capabilities.contains(needed) {
        return Ok(());
    }
    let card = found.card.trim_end_matches('\0');
    let way_out = "a camera often has several devices, and the first captures: see /dev/v4l/by-id; \
                   camera modules of a Raspberry Pi need url = \"rpicam\"";
    Err(io::Error::other(format!("{card} can't capture through this device: {way_out}")))
}

/// What a camera says of one format.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Offer {
    has_size: bool,
    /// Highest rate at the size; infinite where the camera doesn't say.
    fps: f64,
}

/// The format to ask for, by the rule of [`Options::format`].
fn choose(device: &Device, options: &Options) -> io::Result<[u8; 4]> {
    let names: Vec<[u8; 4]> =
        device.enum_formats()?.iter().map(|description| description.fourcc.repr).collect();
    let offered = names.iter().map(|name| spelled(*name)).collect::<Vec<_>>().join(", ");
    if options.format != Format::Auto {
        let wanted = FORMATS.iter().find(|(format, _, _)| *format == options.format);
        return wanted.map(|(_, name, _)| *name).filter(|name| names.contains(name)).ok_or_else(
            || {
                let format = options.format;
                io::Error::other(format!(
                    "has no format {format:?}, but {offered}: set format = \"auto\""
                ))
            },
        );
    }
    let readable = FORMATS.iter().map(|(_, name, _)| *name).filter(|name| names.contains(name));
    let offers: Vec<_> = readable.map(|name| (name, offer(device, name, options))).collect();
    best(&offers, f64::from(options.fps)).ok_or_else(|| {
        io::Error::other(format!(
            "has no format that can be read (YUYV, NV12, MJPG, GREY), but {offered}"
        ))
    })
}

fn best(offers: &[([u8; 4], Offer)], fps: f64) -> Option<[u8; 4]> {
    let first = |fits: &dyn Fn(&Offer) -> bool| offers.iter().find(|(_, offer)| fits(offer));
    first(&|offer| offer.has_size && offer.fps >= fps)
        .or_else(|| first(&|offer| offer.has_size))
        .or_else(|| first(&|_| true))
        .map(|(name, _)| *name)
}

fn offer(device: &Device, name: [u8; 4], options: &Options) -> Offer {
    let (width, height) = (options.width, options.height);
    let has = |size: &FrameSizeEnum| match size {
        FrameSizeEnum::Discrete(size) => (size.width, size.height) == (width, height),
        FrameSizeEnum::Stepwise(size) => {
            (size.min_width..=size.max_width).contains(&width)
                && (size.min_height..=size.max_height).contains(&height)
        }
    };
    let sizes = device.enum_framesizes(FourCC::new(&name));
    // Old drivers have no list: then asking shows it.
    let has_size = sizes.map_or(true, |sizes| sizes.iter().any(|size| has(&size.size)));
    let fps = rates(device, name, width, height).into_iter().map(|(fps, _)| fps);
    Offer { has_size, fps: fps.reduce(f64::max).unwrap_or(f64::INFINITY) }
}

/// Rates of a format and size, in frames a second, each with the interval that stands for it. Of a range: both ends.
fn rates(device: &Device, name: [u8; 4], width: u32, height: u32) -> Vec<(f64, Fraction)> {
    let listed = device.enum_frameintervals(FourCC::new(&name), width, height).unwrap_or_default();
    let intervals = listed.into_iter().flat_map(|listed| match listed.interval {
        FrameIntervalEnum::Discrete(interval) => vec![interval],
        FrameIntervalEnum::Stepwise(range) => vec![range.min, range.max],
    });
    let of_length = intervals.filter(|interval| interval.numerator > 0);
    of_length
        .map(|interval| (f64::from(interval.denominator) / f64::from(interval.numerator), interval))
        .collect()
}

/// Asks for the lowest rate that is not below `fps`, or the highest. A camera that can't be asked keeps its own.
fn set_rate(device: &Device, format: &DeviceFormat, fps: u32) {
    let wanted = f64::from(fps);
    let listed =
        device.enum_frameintervals(format.fourcc, format.width, format.height).unwrap_or_default();
    let is_range =
        listed.iter().any(|listed| matches!(listed.interval, FrameIntervalEnum::Stepwise(_)));
    let rates = rates(device, format.fourcc.repr, format.width, format.height);
    let exact = Fraction::new(1, fps);
    let interval = match (nearest(&rates, wanted), is_range) {
        // Inside a range every rate can be had.
        (Some((found, _)), true)
            if found > wanted && rates.iter().any(|(rate, _)| *rate <= wanted) =>
        {
            exact
        }
        (Some((_, interval)), _) => interval,
        (None, _) => exact,
    };
    if let Err(error) = device.set_params(&Parameters::new(interval)) {
        log::debug!("the camera keeps its rate: {error}");
    }
}

/// The lowest rate that is not below the wanted one, or the highest.
fn nearest(rates: &[(f64, Fraction)], wanted: f64) -> Option<(f64, Fraction)> {
    // 29.97 is meant by 30.
    let enough = rates.iter().filter(|(rate, _)| *rate * 1.01 >= wanted);
    let lowest = enough.min_by(|a, b| a.0.total_cmp(&b.0));
    lowest.or_else(|| rates.iter().max_by(|a, b| a.0.total_cmp(&b.0))).copied()
}

/// The formats that a device offers, by name.
pub(super) fn offered(path: &Path) -> Result<Vec<String>, String> {
    let ask = || {
        let device = Device::with_path(path)?;
        check(&device)?;
        let formats = device.enum_formats()?;
        Ok(formats.iter().map(|format| spelled(format.fourcc.repr)).collect())
    };
    guarded(ask).map_err(|error| explained(&error))
}

/// A format's name as the kernel prints it: the highest bit says that its numbers are big-endian.
fn spelled(mut name: [u8; 4]) -> String {
    let end = if name[3] & 0x80 > 0 { "-BE" } else { "" };
    name[3] &= 0x7f;
    format!("{}{end}", String::from_utf8_lossy(&name).trim())
}

/// An error, and the way out where there is a usual one.
fn explained(error: &io::Error) -> String {
    const BUSY: i32 = rustix::io::Errno::BUSY.raw_os_error();
    const GONE: i32 = rustix::io::Errno::NODEV.raw_os_error();
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => "is not there: plug the camera in, or see v4l2-ctl --list-devices".into(),
        (io::ErrorKind::PermissionDenied, _) => {
            "may not be opened: add the user to the group video (usermod -aG video NAME), and log in anew".into()
        }
        (_, Some(BUSY)) => "is used by another program: fuser -v shows which".into(),
        (_, Some(GONE)) => "is gone: it was unplugged, or its driver gave up".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Offer = Offer { has_size: false, fps: f64::INFINITY };

    fn sized(fps: f64) -> Offer {
        Offer { has_size: true, fps }
    }

    #[test]
    fn auto_takes_the_cheapest_format_that_is_fast_enough() {
        let cases = [
            (vec![(*b"YUYV", sized(30.0)), (*b"MJPG", sized(30.0))], Some(*b"YUYV")),
            (vec![(*b"YUYV", sized(5.0)), (*b"MJPG", sized(30.0))], Some(*b"MJPG")),
            (vec![(*b"YUYV", sized(5.0)), (*b"MJPG", sized(10.0))], Some(*b"YUYV")),
            (vec![(*b"YUYV", NONE), (*b"MJPG", sized(10.0))], Some(*b"MJPG")),
            (vec![(*b"NV12", NONE), (*b"GREY", NONE)], Some(*b"NV12")),
            (vec![], None),
        ];
        for (offers, expected) in cases {
            assert_eq!(best(&offers, 15.0), expected, "{offers:?}");
        }
    }

    #[test]
    fn the_lowest_rate_that_is_enough_is_asked_for() {
        let rates = |list: &[(f64, (u32, u32))]| -> Vec<_> {
            list.iter().map(|(rate, (n, d))| (*rate, Fraction::new(*n, *d))).collect()
        };
        let camera = rates(&[(30.0, (1, 30)), (5.0, (1, 5)), (14.985, (1001, 15000))]);
        assert_eq!(nearest(&camera, 15.0).unwrap().1.numerator, 1001);
        assert_eq!(nearest(&camera, 16.0).unwrap().1.denominator, 30);
        assert_eq!(nearest(&camera, 60.0).unwrap().1.denominator, 30);
        assert!(nearest(&[], 15.0).is_none());
    }

    #[test]
    fn names_of_formats_can_be_read() {
        for (name, expected) in [(*b"YUYV", "YUYV"), (*b"Y16 ", "Y16"), (*b"Y16\xa0", "Y16-BE")] {
            assert_eq!(spelled(name), expected);
        }
    }

    #[test]
    fn a_panic_of_the_crate_is_an_error() {
        let gave_up = guarded(|| -> io::Result<()> {
            std::panic::resume_unwind(Box::new("Invalid field order"))
        });
        assert!(gave_up.unwrap_err().to_string().contains("makes no sense"));
    }

    #[test]
    fn usual_errors_have_a_way_out() {
        let open = |url: &str| {
            let options = Options { url: format!("v4l:{url}"), ..Options::default() };
            V4lCamera::open(&options, url.as_ref()).err().unwrap().to_string()
        };
        assert!(open("/dev/video-none").starts_with("v4l:/dev/video-none: is not there: plug"));
        assert!(!open("/dev/null").is_empty());
        assert!(explained(&io::Error::from_raw_os_error(16)).contains("another program"));
        assert!(explained(&io::Error::from_raw_os_error(19)).contains("is gone"));
        assert!(explained(&io::Error::from_raw_os_error(13)).contains("group video"));
    }
}
