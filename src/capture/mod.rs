//! Stage 1: light to [`Frame`]. Picture files and streams come in, upright RGB goes out.
//! Does not resize: that is `preprocess`.
//!
//! A [`Camera`] keeps a source open on a thread of its own and has the newest [`Shot`] ready; [`Views`]
//! makes of it the frames that are classified.

mod address;
mod camera;
mod clip;
mod encode;
mod jpeg;
mod mailbox;
mod mjpeg;
mod needs;
mod options;
mod picture;
mod pixels;
#[cfg(unix)]
mod process;
mod quiet;
mod region;
mod replay;
mod shot;
mod source;
mod still;
mod turn;
#[cfg(target_os = "linux")]
mod v4l;
mod views;

pub use camera::{Camera, Next};
pub use clip::{CLIP_FRAMES_MAX, CLIPS, Clip, ClipError};
pub use encode::encode_jpeg;
pub use needs::Needs;
#[cfg(target_os = "linux")]
pub use needs::offered_formats;
pub use options::{
    CAMERA_SIDE_MAX, CORNERS_MAX, FPS_MAX, Format, Options, Pace, REGIONS_MAX, Region,
};
pub use region::NEUTRAL;
pub(crate) use shot::wall_clock_ms;
pub use shot::{Encoding, Moment, Shot};
pub use source::{Captured, Counts, Source, SourceError, SourceState};
pub use views::Views;

pub use picture::{BYTES_MAX, PIXELS_MAX, PictureError, SIDE_MAX, decode, read, read_from};

/// One upright picture: 8-bit RGB, rows from the top without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Frame {
    /// A frame of `rgb`, `[height, width, 3]`; `None` where the lengths disagree or a side is zero.
    #[must_use]
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let bytes = u64::from(width) * u64::from(height) * 3;
        (bytes > 0 && rgb.len() as u64 == bytes).then_some(Self { width, height, rgb })
    }

    /// A frame whose size and pixels are still to come.
    fn blank() -> Self {
        Self { width: 1, height: 1, rgb: vec![0; 3] }
    }

    /// Gives the frame another size; what its pixels are then is left open. Keeps its memory.
    fn reshape(&mut self, width: u32, height: u32) -> &mut [u8] {
        (self.width, self.height) = (width, height);
        self.rgb.resize(width as usize * height as usize * 3, 0);
        &mut self.rgb
    }

    /// Pixels in a row.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Number of rows.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, `[height, width, 3]`.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}
