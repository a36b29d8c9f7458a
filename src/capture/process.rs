//! Programs that deliver motion JPEG on a pipe: rpicam-vid and ffmpeg. They are run as they are, never
//! through a shell, and killed when the source is dropped.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::address::shown;
use super::mjpeg::Splitter;
use super::{Captured, Encoding, Options, Shot, Source, SourceError};

/// Bytes read from a pipe at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How long a program that closed its pipe may take to end by itself.
const END_MS: u64 = 500;

/// Longest line of a program's complaints that is kept, in bytes.
const LINE_BYTES_MAX: usize = 300;

/// A program, and the stream that it delivers.
pub(super) struct Program {
    child: Child,
    name: String,
    url: String,
    /// Whether the end of the stream is the end of a recording, and not a loss.
    is_finite: bool,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    complaint: LastLine,
    splitter: Splitter,
    chunk: Vec<u8>,
    has_ended: bool,
}

/// A camera module of a Raspberry Pi, through `rpicam-vid` or, where only that is there, `libcamera-vid`.
pub(super) fn rpicam(options: &Options, number: u32) -> Result<Program, SourceError> {
    let arguments = rpicam_arguments(options, number);
    match Program::start("rpicam-vid", &arguments, options, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Program::start("libcamera-vid", &arguments, options, false)
        }
        started => started,
    }
    .map_err(|error| {
        let reason = not_started("rpicam-vid", "apt install rpicam-apps-lite", &error);
        SourceError::new(&options.url, reason)
    })
}

/// A live stream, through ffmpeg.
pub(super) fn stream(options: &Options, url: &str) -> Result<Program, SourceError> {
    ffmpeg(options, &stream_arguments(options, url), false)
}

/// A video file, through ffmpeg.
pub(super) fn video(options: &Options, path: &Path) -> Result<Program, SourceError> {
    // ffmpeg would say so as well, but later and less clearly.
    std::fs::File::open(path).map_err(|error| SourceError::new(&options.url, error))?;
    ffmpeg(options, &video_arguments(options, path), true)
}

fn ffmpeg(
    options: &Options,
    arguments: &[OsString],
    is_finite: bool,
) -> Result<Program, SourceError> {
    Program::start("ffmpeg", arguments, options, is_finite).map_err(|error| {
        let reason = not_started("ffmpeg", "apt install ffmpeg", &error);
        SourceError::new(&options.url, reason)
    })
}

fn not_started(program: &str, install: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        format!("{program} is not installed: {install}")
    } else {
        format!("{program} can't be started: {error}")
    }
}

fn rpicam_arguments(options: &Options, number: u32) -> Vec<OsString> {
    let Options { width, height, fps, .. } = options;
    format!(
        "--camera {number} --codec mjpeg --width {width} --height {height} --framerate {fps} \
         --timeout 0 --nopreview --flush --output -"
    )
    .split(' ')
    .map(OsString::from)
    .collect()
}

fn stream_arguments(options: &Options, url: &str) -> Vec<OsString> {
    // Over TCP frames come whole; over UDP many cameras lose parts of them.
    let is_rtsp = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("rtsp"));
    let transport: &[&str] = if is_rtsp { &["-rtsp_transport", "tcp"] } else { &[] };
    let before = [&["-fflags", "nobuffer"], transport].concat();
    ffmpeg_arguments(&before, url.into(), &fit(options), &["-fps_mode", "passthrough"])
}

fn video_arguments(options: &Options, path: &Path) -> Vec<OsString> {
    // With the protocol before it a name can't be taken for an option or for another protocol.
    let mut input = OsString::from("file:");
    input.push(path);
    let filter = format!("fps={},{}", options.fps, fit(options));
    ffmpeg_arguments(&[], input, &filter, &[])
}

/// The filter that makes large pictures small enough, and leaves their shape as it is.
fn fit(options: &Options) -> String {
    let Options { width, height, .. } = options;
    format!("scale=w='min({width},iw)':h='min({height},ih)':force_original_aspect_ratio=decrease")
}

fn ffmpeg_arguments(
    before: &[&str],
    input: OsString,
    filter: &str,
    after: &[&str],
) -> Vec<OsString> {
    let start = ["-nostdin", "-hide_banner", "-loglevel", "error"].iter().chain(before);
    let middle = ["-an", "-sn", "-dn", "-vf", filter].into_iter().chain(after.iter().copied());
    let end = ["-f", "mjpeg", "-q:v", "2", "pipe:1"];
    let mut arguments: Vec<OsString> = start.chain(&["-i"]).map(OsString::from).collect();
    arguments.push(input);
    arguments.extend(middle.chain(end).map(OsString::from));
    arguments
}

impl Program {
    fn start(
        program: &str,
        arguments: &[impl AsRef<OsStr>],
        options: &Options,
        is_finite: bool,
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at a terminal is for edgeclip, which ends it then.
            .process_group(0)
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = stdout.ok_or_else(|| io::Error::other("there is no pipe"))?;
        Ok(Self {
            child,
            name: program.to_owned(),
            url: options.url.clone(),
            is_finite,
            stdout,
            stderr,
            complaint: LastLine::default(),
            splitter: Splitter::default(),
            chunk: vec![0; CHUNK_BYTES],
            has_ended: false,
        })
    }

    /// Waits for bytes, and reads them. `false` where none came in time.
    fn read(&mut self, patience: Duration) -> io::Result<bool> {
        let mut fds = pipes(&self.stdout, self.stderr.as_ref());
        let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (has_bytes, has_complaint) = (is_ready(0), is_ready(1));
        drop(fds);
        if has_complaint {
            self.read_complaint();
        }
        if has_bytes {
            let count = self.stdout.read(&mut self.chunk)?;
            self.has_ended = count == 0;
            self.splitter.extend(&self.chunk[..count]);
        }
        Ok(true)
    }

    fn read_complaint(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        match stderr.read(&mut self.chunk) {
            Ok(count) if count > 0 => self.complaint.push(&self.chunk[..count]),
            _ => self.stderr = None,
        }
    }

    /// Kills it and what it started: a script's program must not keep the camera.
    fn kill(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.kill();
    }

    /// The stream is over: how, and why.
    fn end(&mut self) -> Result<Captured, SourceError> {
        let until = Instant::now() + Duration::from_millis(END_MS);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        let status = self.child.wait().map_err(|error| SourceError::new(&self.url, error))?;
        // What it said last; a child of it may hold the pipe open, so what is there has to do.
        for _ in 0..16 {
            let Some(stderr) = &self.stderr else { break };
            let mut fds = [PollFd::new(stderr, PollFlags::IN)];
            if !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1)) {
                break;
            }
            self.read_complaint();
        }
        if self.is_finite && status.success() {
            return Ok(Captured::End);
        }
        let said = self.complaint.text().replace(&self.url, &shown(&self.url));
        let separator = if said.is_empty() { "" } else { ": " };
        let reason = format!("{} ended ({status}){separator}{said}", self.name);
        Err(SourceError::new(&self.url, reason))
    }
}

/// What to wait for, without an allocation.
fn pipes<'a>(
    stdout: &'a ChildStdout,
    stderr: Option<&'a ChildStderr>,
) -> heapless::Vec<PollFd<'a>, 2> {
    let first = PollFd::new(stdout, PollFlags::IN);
    let second = stderr.map(|stderr| PollFd::new(stderr, PollFlags::IN));
    std::iter::once(first).chain(second).collect()
}

impl Source for Program {
    fn capture(&mut self, shot: &mut Shot, patience: Duration) -> Result<Captured, SourceError> {
        (shot.encoding, shot.width, shot.height, shot.stride) = (Encoding::Jpeg, 0, 0, 0);
        let until = Instant::now() + patience;
        while !self.splitter.next(&mut shot.bytes) {
            if self.has_ended {
                let is_cut_off = self.is_finite && self.splitter.finish(&mut shot.bytes);
                return if is_cut_off { Ok(Captured::Shot) } else { self.end() };
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.read(left) {
                Ok(true) if !left.is_zero() => {}
                Ok(_) => return Ok(Captured::Nothing),
                Err(error) => return Err(SourceError::new(&self.url, error)),
            }
        }
        Ok(Captured::Shot)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// The last line of a program's complaints.
#[derive(Default)]
struct LastLine {
    line: Vec<u8>,
    last: Vec<u8>,
}

impl LastLine {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                // rpicam-vid counts its frames in lines that begin with '#'.
                if !matches!(self.line.first(), None | Some(b'#')) {
                    std::mem::swap(&mut self.line, &mut self.last);
                }
                self.line.clear();
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            }
        }
    }

    fn text(&self) -> String {
        let line = if self.line.is_empty() { &self.last } else { &self.line };
        String::from_utf8_lossy(line).replace(char::is_control, " ").trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(arguments: &[OsString]) -> Vec<&str> {
        arguments.iter().map(|argument| argument.to_str().unwrap()).collect()
    }

    #[test]
    fn names_are_no_options() {
        let options = Options::default();
        let arguments = video_arguments(&options, "-f".as_ref());
        let at = arguments.iter().position(|argument| argument == "-i").unwrap();
        assert_eq!(arguments[at + 1], "file:-f");
        let arguments = stream_arguments(&options, "rtsp://cam/-x y");
        assert!(texts(&arguments).windows(2).any(|two| two == ["-i", "rtsp://cam/-x y"]));
        assert!(texts(&arguments).windows(2).any(|two| two == ["-rtsp_transport", "tcp"]));
        let arguments = stream_arguments(&options, "http://cam/");
        assert!(!texts(&arguments).contains(&"-rtsp_transport"));
    }

    #[test]
    fn the_camera_is_asked_for_what_the_user_wants() {
        let options = Options { width: 320, height: 240, fps: 7, ..Options::default() };
        let arguments = rpicam_arguments(&options, 1);
        for two in
            [["--camera", "1"], ["--width", "320"], ["--height", "240"], ["--framerate", "7"]]
        {
            assert!(texts(&arguments).windows(2).any(|found| found == two), "{two:?}");
        }
    }

    #[test]
    fn the_last_line_is_kept() {
        let mut last = LastLine::default();
        assert_eq!(last.text(), "");
        last.push(b"first\nsec");
        last.push(b"ond\x1b\n\n#1 (30.00 fps)\n");
        assert_eq!(last.text(), "second");
        last.push(&[b'x'; 1000]);
        assert_eq!(last.text().len(), LINE_BYTES_MAX);
    }

    #[test]
    fn a_program_that_fails_says_why_and_no_password() {
        let options = Options { url: "rtsp://me:secret@cam/x".into(), ..Options::default() };
        let script = "echo 'rtsp://me:secret@cam/x: refused' >&2; exit 3";
        let mut program = Program::start("sh", &["-c", script], &options, false).unwrap();
        let mut shot = Shot::default();
        let error = loop {
            match program.capture(&mut shot, Duration::from_mins(1)) {
                Ok(captured) => assert_eq!(captured, Captured::Nothing),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(error, "rtsp://***@cam/x: sh ended (exit status: 3): rtsp://***@cam/x: refused");
    }

    #[test]
    fn a_silent_program_is_not_waited_for_and_is_killed() {
        let mut program = Program::start("sleep", &["600"], &Options::default(), false).unwrap();
        let captured = program.capture(&mut Shot::default(), Duration::from_millis(1)).unwrap();
        assert_eq!(captured, Captured::Nothing);
        let pid = program.child.id();
        drop(program);
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_err(), "it is gone, and reaped");
    }
}
