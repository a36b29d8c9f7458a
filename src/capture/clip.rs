//! A video clip as a few frames, evenly spaced, decoded by ffmpeg: what a clip is classified by.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{Frame, PIXELS_MAX, SIDE_MAX};

/// Extensions of video clips, in lower case.
pub const CLIPS: [&str; 8] = ["mp4", "m4v", "mkv", "webm", "avi", "mov", "mpg", "mpeg"];

/// Most frames that are taken of a clip.
pub const CLIP_FRAMES_MAX: u16 = 256;

/// Longest line of a frame's head, and of a program's complaint, in bytes.
const LINE_BYTES_MAX: u64 = 400;

/// Why a clip has no frames.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// The file can't be read.
    #[error("can't be read")]
    Io(#[from] io::Error),
    /// ffmpeg, or its ffprobe, is not there.
    #[error("{0} is not installed: apt install ffmpeg")]
    NoProgram(&'static str),
    /// The file is no video, or a damaged one.
    #[error("is not a video that {program} can read: {complaint}")]
    NotAVideo {
        /// Who says so.
        program: &'static str,
        /// Its last words.
        complaint: String,
    },
    /// Its pictures are larger than those that are decoded.
    #[error("has {width} x {height} pixels, the limit is {} million, and {SIDE_MAX} a side", PIXELS_MAX / 1_000_000)]
    TooManyPixels {
        /// Pixels in a row.
        width: u32,
        /// Number of rows.
        height: u32,
    },
}

/// The frames of one clip, as they are decoded. Dropped, it ends the decoder.
pub struct Clip {
    decoder: Child,
    stdout: BufReader<ChildStdout>,
    complaints: File,
    /// Frames that came so far.
    frames: usize,
    has_ended: bool,
}

impl Clip {
    /// Opens a clip for `frames` of its frames: of as many equal parts of it, the one in the middle of each. A clip
    /// with fewer frames gives all that it has.
    ///
    /// # Errors
    /// [`ClipError`], which doesn't name the file: the caller knows it.
    pub fn open(path: &Path, frames: u16) -> Result<Self, ClipError> {
        fs::metadata(path)?;
        let wanted = middles(count_frames(path)?, frames);
        let complaints = tempfile::tempfile()?;
        let mut decoder = Command::new("ffmpeg")
            .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-i"])
            .arg(input(path))
            .args(["-map", "0:V:0", "-vf", &select(&wanted), "-fps_mode", "passthrough"])
            .args(["-frames:v", &wanted.len().to_string(), "-pix_fmt", "rgb24"])
            .args(["-c:v", "ppm", "-f", "image2pipe", "pipe:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints.try_clone()?)
            .spawn()
            .map_err(|error| not_started("ffmpeg", error))?;
        let stdout = decoder.stdout.take().ok_or_else(|| io::Error::other("there is no pipe"))?;
        let stdout = BufReader::new(stdout);
        Ok(Self { decoder, stdout, complaints, frames: 0, has_ended: false })
    }

    /// The next frame, of the PPM stream that comes; `None` at its end.
    fn read(&mut self) -> Result<Option<Frame>, ClipError> {
        let Some((width, height)) = self.head()? else { return Ok(None) };
        if u64::from(width) * u64::from(height) > PIXELS_MAX || width.max(height) > SIDE_MAX {
            return Err(ClipError::TooManyPixels { width, height });
        }
        let mut rgb = vec![0; width as usize * height as usize * 3];
        self.stdout.read_exact(&mut rgb)?;
        self.frames += 1;
        Ok(Frame::new(width, height, rgb))
    }

    /// Width and height of the next frame: `P6`, both, and the largest value, 255, as ffmpeg writes them.
    fn head(&mut self) -> Result<Option<(u32, u32)>, ClipError> {
        let mut lines = [const { String::new() }; 3];
        for line in &mut lines {
            self.stdout.by_ref().take(LINE_BYTES_MAX).read_line(line)?;
        }
        let [magic, size, largest] = lines.each_ref().map(|line| line.trim_end());
        if magic.is_empty() {
            return Ok(None);
        }
        let size = size.split_once(' ');
        let size = size.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        match size {
            Some(size) if (magic, largest) == ("P6", "255") => Ok(Some(size)),
            _ => Err(io::Error::other("ffmpeg sends no PPM pictures").into()),
        }
    }

    /// What the decoder leaves behind: an error where no frame came.
    fn end(&mut self) -> Result<(), ClipError> {
        let status = self.decoder.wait()?;
        let complaint = last_line(&mut self.complaints)?;
        if self.frames > 0 {
            if !complaint.is_empty() {
                log::warn!(
                    "a clip is damaged, its {} good frames are used: {complaint}",
                    self.frames
                );
            }
            return Ok(());
        }
        let complaint = if complaint.is_empty() { status.to_string() } else { complaint };
        Err(ClipError::NotAVideo { program: "ffmpeg", complaint })
    }
}

impl Iterator for Clip {
    type Item = Result<Frame, ClipError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let frame = self.read();
        self.has_ended = !matches!(frame, Ok(Some(_)));
        match frame {
            Ok(None) => self.end().err().map(Err),
            frame => frame.transpose(),
        }
    }
}

impl Drop for Clip {
    fn drop(&mut self) {
        let _ = self.decoder.kill();
        let _ = self.decoder.wait();
    }
}

/// The number of frames of a clip's first video stream, by its packets, which are not decoded.
fn count_frames(path: &Path) -> Result<u64, ClipError> {
    let mut complaints = tempfile::tempfile()?;
    let mut prober = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "V:0", "-show_entries", "packet=flags"])
        .args(["-of", "csv=p=0", "-i"])
        .arg(input(path))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(complaints.try_clone()?)
        .spawn()
        .map_err(|error| not_started("ffprobe", error))?;
    let stdout = prober.stdout.take().ok_or_else(|| io::Error::other("there is no pipe"))?;
    let packets = BufReader::new(stdout).split(b'\n').map_while(Result::ok);
    let count = packets.filter(|flags| is_shown(flags)).count() as u64;
    prober.wait()?;
    if count > 0 {
        return Ok(count);
    }
    let complaint = match last_line(&mut complaints)? {
        complaint if complaint.is_empty() => "it has no video in it".to_owned(),
        complaint => complaint.replace(&*path.to_string_lossy(), "it"),
    };
    Err(ClipError::NotAVideo { program: "ffprobe", complaint })
}

/// Whether a packet's frame is shown, by its flags as ffprobe writes them: `K` of a key frame, `D` of one to discard. A
/// clip that was cut out of a longer one without encoding it anew begins with such: the next frames need them.
fn is_shown(flags: &[u8]) -> bool {
    matches!(flags, [b'K' | b'_', ..]) && !flags.contains(&b'D')
}

fn not_started(program: &'static str, error: io::Error) -> ClipError {
    match error.kind() {
        io::ErrorKind::NotFound => ClipError::NoProgram(program),
        _ => error.into(),
    }
}

/// With the protocol before it a name can't be taken for an option or for another protocol.
fn input(path: &Path) -> OsString {
    let mut input = OsString::from("file:");
    input.push(path);
    input
}

/// The frame in the middle of each of `parts` equal parts of `count`; each frame once.
fn middles(count: u64, parts: u16) -> Vec<u64> {
    let parts = u64::from(parts.clamp(1, CLIP_FRAMES_MAX));
    let mut middles: Vec<u64> =
        (0..parts).map(|part| (2 * part + 1) * count / (2 * parts)).collect();
    middles.dedup();
    middles
}

/// The filter that lets only these frames through.
fn select(frames: &[u64]) -> String {
    let equal: Vec<String> = frames.iter().map(|frame| format!("eq(n,{frame})")).collect();
    format!("select='{}'", equal.join("+"))
}

/// The last line of a program's complaints.
fn last_line(complaints: &mut File) -> io::Result<String> {
    let end = complaints.stream_position()?;
    complaints.seek(io::SeekFrom::Start(end.saturating_sub(LINE_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    complaints.take(LINE_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end().lines().next_back().unwrap_or("").replace(char::is_control, " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_middles_of_equal_parts() {
        assert_eq!(middles(80, 8), [5, 15, 25, 35, 45, 55, 65, 75]);
        assert_eq!(middles(25, 1), [12]);
        assert_eq!(middles(3, 8), [0, 1, 2]);
        assert_eq!(middles(1, 8), [0]);
        assert_eq!(middles(u64::from(u32::MAX), 2)[1], 3_221_225_471);
    }

    #[test]
    fn packets_to_discard_show_nothing() {
        for (flags, shown) in
            [("K_", true), ("__", true), ("K__,", true), ("KD", false), ("_D_", false), ("", false)]
        {
            assert_eq!(is_shown(flags.as_bytes()), shown, "{flags}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_needs_no_ffmpeg() {
        let error = Clip::open("no/such.mp4".as_ref(), 8).err().unwrap();
        assert!(matches!(error, ClipError::Io(_)), "{error}");
    }
}
