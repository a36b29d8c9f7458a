//! What a user may say about the source: the section `[source]` of the configuration.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::address::Address;
use super::quiet::QuietHours;

/// Most regions of one source: each is a pass through the model.
pub const REGIONS_MAX: usize = 16;

/// Most corners of one region.
pub const CORNERS_MAX: usize = 64;

/// Longest side that is asked of a camera, in pixels.
pub const CAMERA_SIDE_MAX: u32 = 8192;

/// Highest rate that is asked of a camera or played, in frames a second.
pub const FPS_MAX: u32 = 240;

/// Where pictures come from, and what is done with them before they are classified.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `v4l:/dev/video0`, `rpicam` (or `rpicam:1` for the second camera), `rtsp://..`, `rtsps://..`, `http://..`,
    /// `https://..`, `dir:PATH` for a folder of pictures, `file:PATH` for a picture, a motion-JPEG file
    /// (`.mjpg`, `.mjpeg`) or, through ffmpeg, any video. A plain path is one of the last two. Default `v4l:/dev/video0`.
    pub url: String,
    /// Name in events; empty (the default) for one that is made from `url`.
    pub name: String,
    /// Pixels in a row, asked of cameras, which may answer with the nearest size that they have; streams
    /// and videos are made smaller to fit. Folders and motion-JPEG files stay as they are. Default 640.
    pub width: u32,
    /// Number of rows, like `width`. Default 480.
    pub height: u32,
    /// Frames a second, asked of cameras: the lowest rate on offer that is not below it. Files and folders
    /// are played at it, and their time is counted in it; a video is resampled to it. Default 15.
    pub fps: u32,
    /// Pixel format of a V4L2 camera. Default `auto`, which takes the first of YUYV, NV12, MJPEG, grey that has
    /// the size at `fps`; if none has, the first that has the size; if none has, the first on offer.
    pub format: Format,
    /// How fast files and folders go. Default `every`.
    pub pace: Pace,
    /// Whether files and folders start over at their end. Default `false`.
    pub repeat: bool,
    /// Degrees that the picture is turned clockwise: 0 (the default), 90, 180 or 270.
    pub rotate: u32,
    /// Whether left and right are swapped, after the rotation. Default `false`.
    pub mirror: bool,
    /// The part that is used, of the upright picture: left, top, width, height as fractions 0..1. Default: all.
    pub crop: Option<[f32; 4]>,
    /// Parts that are classified each by itself. Default: none, the whole picture is one.
    pub region: Vec<Region>,
    /// Frames are not classified while the scene stands still: while no cell of a 32 x 24 grid over the picture
    /// differs in its mean luma (0..255) by this much or more from the last frame that was classified. 8 is
    /// a good start; 0 (the default) classifies every frame.
    pub still: f32,
    /// Longest time between two classified frames of a still scene, in milliseconds. Default 10000.
    pub still_max_ms: u64,
    /// Most frames a second that are used; 0 (the default) for all. The others are counted as dropped.
    pub fps_max: f32,
    /// Daily times at which a live source is closed, such as `22:00-06:00`, in local time: the beginning is
    /// quiet, the end no more. Default: none.
    pub quiet: Vec<String>,
    /// A live source without a frame for this long is silent, in milliseconds; after the same time again it
    /// is lost, and opened anew. Default 5000.
    pub silent_after_ms: u64,
}

/// A part of the picture that is classified by itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name in events.
    pub name: String,
    /// Corners of a polygon, x and y as fractions 0..1 of the upright, cropped picture. Its bounding box is
    /// classified; what lies in the box and outside the polygon is painted in [`NEUTRAL`](super::NEUTRAL).
    pub polygon: Vec<[f32; 2]>,
}

/// Pixel formats of cameras.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// By what the camera offers.
    #[default]
    Auto,
    /// Motion JPEG.
    Mjpeg,
    /// Two bytes a pixel.
    Yuyv,
    /// Twelve bits a pixel.
    Nv12,
    /// One byte a pixel.
    Grey,
}

/// How fast a file or folder goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// As fast as its frames are taken, and none is left out.
    #[default]
    Every,
    /// `fps` frames a second; the newest wins.
    Realtime,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: "v4l:/dev/video0".to_owned(),
            name: String::new(),
            width: 640,
            height: 480,
            fps: 15,
            format: Format::Auto,
            pace: Pace::Every,
            repeat: false,
            rotate: 0,
            mirror: false,
            crop: None,
            region: Vec::new(),
            still: 0.0,
            still_max_ms: 10_000,
            fps_max: 0.0,
            quiet: Vec::new(),
            silent_after_ms: 5_000,
        }
    }
}

impl Options {
    /// Whether all of it makes sense; the source itself is not looked at.
    ///
    /// # Errors
    /// The first field that is wrong, and the way out.
    pub fn check(&self) -> Result<(), String> {
        Address::parse(&self.url)?;
        if self.name.contains(|c: char| c.is_control() || "/+#".contains(c)) {
            return Err("name: must not have control characters, '/', '+' or '#' in it".into());
        }
        for (field, side) in [("width", self.width), ("height", self.height)] {
            if !(16..=CAMERA_SIDE_MAX).contains(&side) {
                return Err(format!("{field} is {side}: use 16 to {CAMERA_SIDE_MAX} pixels"));
            }
        }
        if !(1..=FPS_MAX).contains(&self.fps) {
            return Err(format!("fps is {}: use 1 to {FPS_MAX}", self.fps));
        }
        if ![0, 90, 180, 270].contains(&self.rotate) {
            return Err(format!("rotate is {}: use 0, 90, 180 or 270", self.rotate));
        }
        if let Some(crop) = self.crop {
            check_crop(crop)?;
        }
        check_regions(&self.region)?;
        if !(0.0..=255.0).contains(&self.still) {
            return Err(format!("still is {}: use 0 (off) to 255, such as 8", self.still));
        }
        if !(0.0..=FPS_MAX as f32).contains(&self.fps_max) {
            return Err(format!("fps_max is {}: use 0 (no cap) to {FPS_MAX}", self.fps_max));
        }
        if self.silent_after_ms < 100 {
            return Err(format!(
                "silent_after_ms is {}: use 100 or more, such as 5000",
                self.silent_after_ms
            ));
        }
        QuietHours::parse(&self.quiet).map(drop)
    }

    /// The source's name in events: as given, or made from `url`, without user and password.
    #[must_use]
    pub fn name(&self) -> String {
        if self.name.is_empty() { super::address::name(&self.url) } else { self.name.clone() }
    }

    /// Whether the source ends by itself: a file or folder that is not repeated.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        !self.repeat && Address::parse(&self.url).is_ok_and(|address| address.is_replayed())
    }
}

fn check_crop([left, top, width, height]: [f32; 4]) -> Result<(), String> {
    let inside = [left, top].iter().all(|at| (0.0..1.0).contains(at))
        && [width, height].iter().all(|side| *side > 0.0)
        && left + width <= 1.0 + f32::EPSILON
        && top + height <= 1.0 + f32::EPSILON;
    let way_out = "use [left, top, width, height] as fractions that stay inside 0..1, such as [0.25, 0.25, 0.5, 0.5]";
    if inside { Ok(()) } else { Err(format!("crop: {way_out}")) }
}

fn check_regions(regions: &[Region]) -> Result<(), String> {
    if regions.len() > REGIONS_MAX {
        return Err(format!("region: there are {}, the limit is {REGIONS_MAX}", regions.len()));
    }
    let mut names = BTreeSet::new();
    for region in regions {
        let name = &region.name;
        if name.trim().is_empty() || name.contains(|c: char| c.is_control() || "/+#".contains(c)) {
            return Err(format!(
                "region {name:?}: needs a name without control characters, '/', '+' or '#'"
            ));
        }
        if !names.insert(name) {
            return Err(format!("region {name:?}: the name is given twice"));
        }
        let corners = region.polygon.len();
        if !(3..=CORNERS_MAX).contains(&corners) {
            return Err(format!(
                "region {name:?}: polygon has {corners} corners, use 3 to {CORNERS_MAX}"
            ));
        }
        if region.polygon.iter().flatten().any(|at| !(0.0..=1.0).contains(at)) {
            return Err(format!("region {name:?}: polygon has a number outside 0..1"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_fine() {
        Options::default().check().unwrap();
    }

    #[test]
    fn errors_name_the_field_and_the_way_out() {
        let triangle = vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let region = |name: &str, polygon: &[[f32; 2]]| Region {
            name: name.to_owned(),
            polygon: polygon.to_vec(),
        };
        let base = Options::default;
        let cases = [
            (Options { url: "gopher://x".into(), ..base() }, "url"),
            (Options { name: "a/b".into(), ..base() }, "name"),
            (Options { width: 0, ..base() }, "width is 0: use 16"),
            (Options { height: 9000, ..base() }, "height is 9000: use 16 to 8192"),
            (Options { fps: 0, ..base() }, "fps is 0: use 1"),
            (Options { rotate: 45, ..base() }, "rotate is 45: use 0, 90"),
            (Options { crop: Some([0.5, 0.0, 0.6, 1.0]), ..base() }, "crop: use"),
            (Options { crop: Some([0.0, 0.0, 0.0, 1.0]), ..base() }, "crop: use"),
            (Options { crop: Some([f32::NAN, 0.0, 1.0, 1.0]), ..base() }, "crop: use"),
            (Options { region: vec![region("", &triangle)], ..base() }, "needs a name"),
            (Options { region: vec![region("a", &triangle[..2])], ..base() }, "has 2 corners"),
            (Options { region: vec![region("a", &[[2.0; 2]; 3])], ..base() }, "outside 0..1"),
            (Options { region: vec![region("a", &triangle); 2], ..base() }, "twice"),
            (Options { region: vec![region("a", &triangle); 17], ..base() }, "the limit is 16"),
            (Options { still: -1.0, ..base() }, "still is -1: use"),
            (Options { fps_max: f32::NAN, ..base() }, "fps_max is NaN: use"),
            (Options { silent_after_ms: 0, ..base() }, "silent_after_ms is 0: use"),
            (Options { quiet: vec!["22-6".into()], ..base() }, "quiet"),
        ];
        for (options, expected) in cases {
            let error = options.check().unwrap_err();
            assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        }
    }

    #[test]
    fn only_files_and_folders_that_are_not_repeated_are_finite() {
        let of = |url: &str, repeat| Options { url: url.into(), repeat, ..Options::default() };
        assert!(of("a.mjpg", false).is_finite());
        assert!(of("dir:a", false).is_finite());
        assert!(!of("dir:a", true).is_finite());
        assert!(!of("rtsp://a", false).is_finite());
    }

    #[test]
    fn a_section_of_the_configuration_is_read() {
        let text = "url = 'rpicam'\nformat = 'mjpeg'\npace = 'realtime'\ncrop = [0, 0, 0.5, 1]\n\
                    [[region]]\nname = 'door'\npolygon = [[0, 0], [1, 0], [0, 1]]\n";
        let options: Options = toml::from_str(text).unwrap();
        assert_eq!((options.format, options.pace), (Format::Mjpeg, Pace::Realtime));
        assert_eq!(options.region[0].name, "door");
        assert!(toml::from_str::<Options>("colour = true").is_err());
    }
}
