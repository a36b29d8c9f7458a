//! One picture as a source delivers it, not yet decoded.

use std::time::{SystemTime, UNIX_EPOCH};

/// When a picture was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the source was first opened, by a clock that never jumps. Decisions count in it.
    pub elapsed_ms: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z by the wall clock, for people. Replayed sources start at 0.
    pub unix_ms: u64,
}

/// The wall clock, in milliseconds since 1970-01-01T00:00:00Z.
pub(crate) fn wall_clock_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// How a shot's bytes hold its pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// A whole picture file in any known format.
    #[default]
    File,
    /// A JPEG of a motion-JPEG stream. Its Huffman tables may be left out, which then are the usual ones.
    Jpeg,
    /// 8-bit luma and shared chroma of two neighbours: Y0 U Y1 V.
    Yuyv,
    /// A plane of luma, then one of chroma at half the size, U and V in turn.
    Nv12,
    /// 8-bit luma.
    Grey,
}

/// One picture as the device gave it. Sources write over the same one again and again.
#[derive(Clone, Debug, Default)]
pub struct Shot {
    /// The bytes, rows from the top.
    pub bytes: Vec<u8>,
    /// What the bytes are.
    pub encoding: Encoding,
    /// Pixels in a row; 0 where the bytes say it themselves.
    pub width: u32,
    /// Number of rows; 0 where the bytes say it themselves.
    pub height: u32,
    /// Bytes from one row to the next; 0 where the bytes say it themselves.
    pub stride: u32,
    /// When it was taken.
    pub moment: Moment,
}
