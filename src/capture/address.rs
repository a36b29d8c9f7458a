//! What a source's `url` means, and how it is shown: never with the password in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Extensions of picture files, in lower case.
pub(super) const PICTURES: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "gif"];

/// Extensions of motion-JPEG files, in lower case.
const MOTION_JPEGS: [&str; 2] = ["mjpg", "mjpeg"];

/// A source, by the program or library that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A V4L2 device.
    V4l(PathBuf),
    /// A camera module of a Raspberry Pi, by its number.
    Rpicam(u32),
    /// A live stream that ffmpeg reads.
    Stream(String),
    /// A video file that ffmpeg reads.
    Video(PathBuf),
    /// One JPEG after the other.
    MotionJpeg(PathBuf),
    /// A folder of pictures.
    Folder(PathBuf),
    /// A single picture.
    Picture(PathBuf),
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        const KNOWN: &str =
            "use v4l:/dev/video0, rpicam, rtsp://.., http://.., file:PATH or dir:PATH";
        if url.is_empty() || url.contains('\0') {
            return Err(format!("url is empty or has a zero in it: {KNOWN}"));
        }
        let Some((scheme, rest)) = split(url) else {
            return Ok(if url == "rpicam" { Self::Rpicam(0) } else { Self::plain(url.into()) });
        };
        let nothing = rest.trim_start_matches('/').is_empty();
        match scheme.to_ascii_lowercase().as_str() {
            "v4l" | "v4l2" if !nothing => Ok(Self::V4l(rest.into())),
            "dir" if !rest.is_empty() => Ok(Self::Folder(rest.into())),
            "file" if !nothing => Ok(Self::file(rest.strip_prefix("//").unwrap_or(rest).into())),
            "rtsp" | "rtsps" | "http" | "https" if rest.starts_with("//") && !nothing => {
                Ok(Self::Stream(url.to_owned()))
            }
            "rpicam" => rest.parse().map(Self::Rpicam).map_err(|_| {
                format!("url: {rest:?} is no number of a camera: use rpicam:0 or rpicam:1")
            }),
            _ => Err(format!("url: {} is no source: {KNOWN}", shown(url))),
        }
    }

    fn plain(path: PathBuf) -> Self {
        if path.is_dir() { Self::Folder(path) } else { Self::file(path) }
    }

    fn file(path: PathBuf) -> Self {
        if has_extension(&path, &MOTION_JPEGS) {
            Self::MotionJpeg(path)
        } else if has_extension(&path, &PICTURES) {
            Self::Picture(path)
        } else {
            Self::Video(path)
        }
    }

    /// Whether it is a recording, with a beginning and an end, and not live.
    pub(super) fn is_replayed(&self) -> bool {
        !matches!(self, Self::V4l(_) | Self::Rpicam(_) | Self::Stream(_))
    }
}

/// Whether a path ends in one of the extensions, in whatever case.
pub(super) fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or("");
    known.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// `scheme:rest`; none where the text is a plain path.
fn split(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some((scheme, rest))
}

/// A short name: the device, the host or the file's name.
pub(super) fn name(url: &str) -> String {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = match Address::parse(url) {
        Ok(Address::V4l(path)) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
        Ok(Address::Rpicam(0)) => Some("rpicam".to_owned()),
        Ok(Address::Rpicam(number)) => Some(format!("rpicam{number}")),
        Ok(Address::Stream(url)) => host(&url).map(str::to_owned),
        Ok(Address::Folder(path)) => {
            let path = path.canonicalize().unwrap_or(path);
            path.file_name().map(|name| name.to_string_lossy().into_owned())
        }
        Ok(Address::Video(path) | Address::MotionJpeg(path) | Address::Picture(path)) => {
            stem(&path)
        }
        Err(_) => None,
    };
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "source".to_owned());
    name.replace(|c: char| c.is_control() || "/+#".contains(c), "_")
}

/// What stands between `//` and the path: `user:password@host:port`.
fn authority(url: &str) -> Option<&str> {
    let behind = url.split_once("//")?.1;
    behind.split(['/', '?', '#']).next()
}

fn host(url: &str) -> Option<&str> {
    let authority = authority(url)?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // Without the port, and [::1] without its brackets.
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => Some(inside),
        None => host.split(':').next(),
    }
}

/// The address for logs and messages: user, password and the query, where cameras take passwords too, are left out.
pub(super) fn shown(url: &str) -> String {
    let Some((before, behind)) = url.split_once("//").filter(|_| split(url).is_some()) else {
        return url.to_owned();
    };
    // A password may have a '/' or '?' in it as it is, against the rules: all up to the last '@' goes.
    let behind = behind
        .rsplit_once('@')
        .map_or_else(|| behind.to_owned(), |(_, host)| format!("***@{host}"));
    let (path, query) =
        behind.split_once('?').map_or((behind.as_str(), ""), |(path, _)| (path, "?***"));
    format!("{before}//{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_who_opens_them() {
        let cases = [
            ("v4l:/dev/video2", Address::V4l("/dev/video2".into()), "video2"),
            ("rpicam", Address::Rpicam(0), "rpicam"),
            ("rpicam:1", Address::Rpicam(1), "rpicam1"),
            (
                "rtsp://a:b@cam.lan:554/x",
                Address::Stream("rtsp://a:b@cam.lan:554/x".into()),
                "cam.lan",
            ),
            ("http://[::1]:80/x", Address::Stream("http://[::1]:80/x".into()), "::1"),
            ("file:a/b.MJPG", Address::MotionJpeg("a/b.MJPG".into()), "b"),
            ("file:///a/b.mjpeg", Address::MotionJpeg("/a/b.mjpeg".into()), "b"),
            ("film.mp4", Address::Video("film.mp4".into()), "film"),
            ("-i.mp4", Address::Video("-i.mp4".into()), "-i"),
            ("./a:b.mp4", Address::Video("./a:b.mp4".into()), "a:b"),
            ("cat.jpg", Address::Picture("cat.jpg".into()), "cat"),
            ("dir:a/shots", Address::Folder("a/shots".into()), "shots"),
        ];
        for (url, address, expected) in cases {
            assert_eq!(Address::parse(url).unwrap(), address, "{url}");
            assert_eq!(name(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused() {
        for url in
            ["", "gopher://x", "v4l:", "rpicam:x", "rtsp://", "http:x", "dir:", "file:", "a\0"]
        {
            let error = Address::parse(url).unwrap_err();
            assert!(error.starts_with("url") && error.contains("use "), "{error}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let cases = [
            ("rtsp://me:secret@cam/x", "rtsp://***@cam/x"),
            ("rtsp://me:se/cr@et@cam/x", "rtsp://***@cam/x"),
            ("http://cam/shot?user=me&pwd=secret", "http://cam/shot?***"),
            ("gopher://me:secret@cam", "gopher://***@cam"),
            ("v4l:/dev/video0", "v4l:/dev/video0"),
            ("a//b@c", "a//b@c"),
        ];
        for (url, expected) in cases {
            assert_eq!(shown(url), expected);
        }
        assert!(!Address::parse("gopher://me:secret@cam").unwrap_err().contains("secret"));
    }
}
