//! Picture files to frames: JPEG, PNG, WebP, BMP and the first frame of a GIF.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::Frame;

/// Largest picture that is decoded, in pixels.
pub const PIXELS_MAX: u64 = 64_000_000;

/// Longest side of a picture, in pixels: JPEG's own limit.
pub const SIDE_MAX: u32 = 65_535;

/// Largest picture file that is read, in bytes.
pub const BYTES_MAX: u64 = 128 << 20;

/// Bound on what a decoder may allocate: 16-bit RGBA at [`PIXELS_MAX`].
const DECODER_BYTES_MAX: u64 = PIXELS_MAX * 8;

/// Why a picture can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The file or stream can't be read.
    #[error("can't be read")]
    Io(#[from] io::Error),
    /// The file is larger than [`BYTES_MAX`].
    #[error("is larger than {} MiB, the limit for a picture file", BYTES_MAX >> 20)]
    TooManyBytes,
    /// The picture has more pixels than [`PIXELS_MAX`], or a side longer than [`SIDE_MAX`].
    #[error(
        "has {width} x {height} pixels, the limit is {} million, and {SIDE_MAX} a side: make it smaller first",
        PIXELS_MAX / 1_000_000
    )]
    TooManyPixels {
        /// Pixels in a row.
        width: u32,
        /// Number of rows.
        height: u32,
    },
    /// The bytes are none of the known formats.
    #[error("is not a picture in a known format (JPEG, PNG, WebP, BMP, GIF)")]
    UnknownFormat,
    /// A camera's frame of raw pixels is shorter than its size asks for.
    #[error("has {bytes} bytes of the {expected} that its size needs")]
    ShortFrame {
        /// Bytes that came.
        bytes: usize,
        /// Bytes that the size needs.
        expected: usize,
    },
    /// A JPEG of a stream is damaged.
    #[error("is a damaged JPEG: {0}")]
    Damaged(String),
    /// A JPEG stops in its middle.
    #[error("is cut off: the end of the JPEG is missing")]
    CutOff,
    /// The picture is damaged, or uses a variant that the decoder lacks.
    #[error("can't be decoded: {0}")]
    Decode(ImageError),
}

/// Reads and decodes a picture file; see [`decode`].
///
/// # Errors
/// [`PictureError`], which doesn't name the file: the caller knows it.
pub fn read(path: &Path) -> Result<Frame, PictureError> {
    read_from(File::open(path)?)
}

/// Reads a stream to its end and decodes it as one picture; see [`decode`].
///
/// # Errors
/// [`PictureError`].
pub fn read_from(stream: impl Read) -> Result<Frame, PictureError> {
    let mut bytes = Vec::new();
    stream.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(PictureError::TooManyBytes);
    }
    decode(&bytes)
}

/// Decodes a picture as CLIP's training did: turned upright by its EXIF orientation, alpha dropped,
/// grey copied to three channels, 16 bits scaled to 8, colour profile ignored.
///
/// # Errors
/// [`PictureError`]; a picture over the limits is refused before its pixels are decoded.
pub fn decode(bytes: &[u8]) -> Result<Frame, PictureError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    match reader.format() {
        None => return Err(PictureError::UnknownFormat),
        // The decoder fills what is missing with grey, without a word.
        Some(ImageFormat::Jpeg) if jpeg_end(bytes).is_none() => return Err(PictureError::CutOff),
        Some(_) => {}
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(PictureError::Decode)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS_MAX || width.max(height) > SIDE_MAX {
        return Err(PictureError::TooManyPixels { width, height });
    }
    let orientation = decoder.orientation().map_err(PictureError::Decode)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(PictureError::Decode)?;
    picture.apply_orientation(orientation);
    let rgb = picture.into_rgb8();
    let (width, height) = rgb.dimensions();
    Frame::new(width, height, rgb.into_raw()).ok_or(PictureError::UnknownFormat)
}

/// Where a JPEG's end marker stands, if it goes on to it (ITU-T T.81, B.1.1). What follows it doesn't matter:
/// some cameras put a film or a second picture there.
pub(super) fn jpeg_end(bytes: &[u8]) -> Option<usize> {
    const END_OF_IMAGE: u8 = 0xd9;
    let mut at = 2;
    loop {
        let rest = bytes.get(at..)?;
        // To the next marker: in a scan 0xff is data before 0, and part of it before a restart.
        let stands = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
        at += rest.windows(2).position(stands)?;
        if bytes[at + 1] == END_OF_IMAGE {
            return Some(at);
        }
        let length = bytes[at + 2..].first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
        at += 2 + usize::from(length);
    }
}
