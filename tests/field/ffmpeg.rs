//! Videos and streams through a real ffmpeg.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use edgeclip::capture::{Camera, Clip, Frame, Moment, Next, Options, SourceState, Views};

use crate::available;

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_mins(1);

pub(crate) fn ffmpeg_is_there() -> bool {
    available("ffmpeg", Command::new("ffmpeg").arg("-version"))
}

/// Two seconds of a test picture, 25 frames a second.
fn make_video(path: &Path, more: &[&str]) {
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi"])
        .args(["-i", "testsrc=size=320x240:rate=25:duration=2", "-c:v", "mpeg4", "-q:v", "2"])
        .args(more)
        .arg(format!("file:{}", path.display()))
        .status();
    assert!(status.unwrap().success());
}

/// A clip that was cut out of a film without encoding it anew begins with packets whose frames are not shown.
#[test]
fn a_clip_that_was_cut_is_taken_from_its_own_first_frame_to_its_last() {
    if !ffmpeg_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (film, cut) = (folder.path().join("film.mp4"), folder.path().join("cut.mp4"));
    make_video(&film, &["-g", "50"]);
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-ss", "0.8", "-i"])
        .arg(&film)
        .args(["-t", "0.8", "-c", "copy"])
        .arg(&cut)
        .status();
    assert!(status.unwrap().success());
    let frames = |path, count| -> Vec<Frame> {
        Clip::open(path, count).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let all = frames(&cut, 256);
    assert_eq!(all.first(), frames(&film, 256).get(20));
    assert!((18..=22).contains(&all.len()), "{}", all.len());
    let middles = [1, 3, 5, 7].map(|eighth| all[eighth * all.len() / 8].clone());
    assert_eq!(frames(&cut, 4), middles);
}

fn options(url: String) -> Options {
    Options { url, ..Options::default() }
}

#[test]
fn a_video_is_read_to_its_end_at_the_rate_asked_for() {
    if !ffmpeg_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Nothing of a name is taken for an option or by a shell.
    let path = folder.path().join("-i 'a' $(b) %d.mp4");
    make_video(&path, &[]);
    let options =
        Options { fps: 10, width: 160, height: 160, ..options(format!("file:{}", path.display())) };
    let (mut camera, mut views) = (Camera::start(&options).unwrap(), Views::new(&options));
    let mut times = Vec::new();
    loop {
        match camera.next(LONG) {
            Next::Shot(shot) => {
                views.develop(shot).unwrap();
                assert_eq!((views.whole().width(), views.whole().height()), (160, 120));
                times.push(shot.moment);
            }
            Next::Nothing => panic!("{:?}", camera.last_error()),
            Next::End => break,
        }
    }
    let expected = (0..20).map(|i| Moment { elapsed_ms: i * 100, unix_ms: i * 100 });
    assert_eq!(times, expected.collect::<Vec<_>>());
    assert_eq!((camera.state(), camera.last_error()), (SourceState::Ended, None));
}

#[test]
fn what_is_no_video_ends_with_ffmpeg_s_own_words() {
    if !ffmpeg_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4");
    std::fs::write(&path, "no video").unwrap();
    let mut camera = Camera::start(&options(path.display().to_string())).unwrap();
    assert!(matches!(camera.next(LONG), Next::End));
    let error = camera.last_error().unwrap();
    assert!(
        error.starts_with("ffmpeg ended (exit status: ") && error.contains("nvalid"),
        "{error}"
    );
}

/// Serves a motion-JPEG stream to whoever connects next, as cameras do, until `frames` are sent.
fn serve(listener: &TcpListener, frames: usize) {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let grey = image::RgbImage::from_pixel(64, 48, [90; 3].into());
    grey.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 1024];
    let _ = stream.read(&mut request);
    let kind = "multipart/x-mixed-replace;boundary=frame";
    let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n");
    for _ in 0..frames {
        let length = jpeg.get_ref().len();
        let head =
            format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
        let sent =
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(jpeg.get_ref()));
        if sent.and_then(|()| stream.write_all(b"\r\n")).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_http_camera_that_goes_away_comes_back() {
    if !ffmpeg_is_there() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        serve(&listener, 100);
        serve(&listener, usize::MAX);
    });
    let options = options(format!("http://me:secret@127.0.0.1:{port}/live?pwd=secret"));
    assert_eq!(options.name(), "127.0.0.1");
    let (mut camera, mut views) = (Camera::start(&options).unwrap(), Views::new(&options));
    let (mut was_lost, until) = (false, Instant::now() + LONG * 2);
    while camera.counts().reopened == 0 || camera.state() != SourceState::Live {
        assert!(Instant::now() < until, "{:?}: {:?}", camera.state(), camera.last_error());
        if let Next::Shot(shot) = camera.next(Duration::from_millis(50)) {
            views.develop(shot).unwrap();
            assert_eq!((views.whole().width(), views.whole().height()), (64, 48));
            assert!(views.whole().rgb()[0].abs_diff(90) <= 2);
        }
        if let (SourceState::Lost, Some(error)) = (camera.state(), camera.last_error()) {
            was_lost = true;
            assert!(!error.contains("secret"), "{error}");
        }
    }
    assert!(was_lost && camera.counts().captured > 50);
}
