//! What a source needs of the system before it can be opened.

use std::path::PathBuf;

use super::Options;
use super::address::Address;

/// What must be there for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A device that may be read and written.
    Device(PathBuf),
    /// One of these programs; the package that has it, as Debian and Raspberry Pi OS name it.
    Program {
        /// The programs, the one that is taken first before the others.
        names: &'static [&'static str],
        /// The package.
        package: &'static str,
    },
    /// A file or folder that may be read.
    Path(PathBuf),
}

impl Options {
    /// What the source needs of the system.
    ///
    /// # Errors
    /// `url` makes no sense: see [`Options::check`].
    pub fn needs(&self) -> Result<Vec<Needs>, String> {
        const FFMPEG: Needs = Needs::Program { names: &["ffmpeg"], package: "ffmpeg" };
        Ok(match Address::parse(&self.url)? {
            Address::V4l(device) => vec![Needs::Device(device)],
            Address::Rpicam(_) => {
                let names = &["rpicam-vid", "libcamera-vid"];
                vec![Needs::Program { names, package: "rpicam-apps-lite" }]
            }
            Address::Stream(_) => vec![FFMPEG],
            Address::Video(path) => vec![Needs::Path(path), FFMPEG],
            Address::MotionJpeg(path) | Address::Folder(path) | Address::Picture(path) => {
                vec![Needs::Path(path)]
            }
        })
    }
}

/// The pixel formats that a V4L2 device offers, as it names them, such as `YUYV`; those that can't be read as well.
///
/// # Errors
/// Why it can't be asked, and the way out.
#[cfg(target_os = "linux")]
pub fn offered_formats(device: &std::path::Path) -> Result<Vec<String>, String> {
    super::v4l::offered(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_needs_what_opens_it() {
        let needs = |url: &str| Options { url: url.to_owned(), ..Options::default() }.needs();
        let program = |url: &str| match needs(url).unwrap().pop() {
            Some(Needs::Program { package, .. }) => package,
            other => panic!("{url}: {other:?}"),
        };
        assert_eq!(needs("v4l:/dev/video2").unwrap(), [Needs::Device("/dev/video2".into())]);
        assert_eq!(program("rpicam:1"), "rpicam-apps-lite");
        assert_eq!(program("rtsp://cam/1"), "ffmpeg");
        assert_eq!(program("film.mp4"), "ffmpeg");
        assert_eq!(needs("dir:a").unwrap(), [Needs::Path("a".into())]);
        assert!(needs("gopher://x").is_err());
    }
}
