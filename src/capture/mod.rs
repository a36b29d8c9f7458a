//! Stage 1: light to [`Frame`]. Picture files and streams come in, upright RGB goes out.
//! Does not resize: that is `preprocess`.

mod picture;

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
