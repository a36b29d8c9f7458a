//! Sources through the public interface: what arrives, in which order, when, and what becomes of damage and loss.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use edgeclip::capture::{
    Camera, Encoding, Moment, NEUTRAL, Next, Options, Pace, PictureError, Region, Shot,
    SourceState, Views,
};
use image::{ImageFormat, RgbImage};

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_mins(1);

/// A picture in one grey, encoded.
fn encoded(grey: u8, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(16, 8, [grey; 3].into()).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(grey: u8) -> Vec<u8> {
    encoded(grey, ImageFormat::Jpeg)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn options(url: impl AsRef<Path>) -> Options {
    Options { url: url.as_ref().to_str().unwrap().to_owned(), fps: 30, ..Options::default() }
}

/// Every shot's grey and moment, to the end; none for a shot that can't be developed.
fn play(options: &Options) -> Vec<(Option<u8>, Moment)> {
    let mut camera = Camera::start(options).unwrap();
    let mut views = Views::new(options);
    let mut seen = Vec::new();
    loop {
        match camera.next(LONG) {
            Next::Shot(shot) => {
                let grey = views.develop(shot).ok().map(|()| views.whole().rgb()[0]);
                seen.push((grey, shot.moment));
            }
            Next::Nothing => panic!("{:?}: {:?}", camera.state(), camera.last_error()),
            Next::End => break,
        }
    }
    assert_eq!(camera.state(), SourceState::Ended);
    assert_eq!(camera.counts().captured - camera.counts().dropped, seen.len() as u64);
    seen
}

#[test]
fn every_frame_of_a_file_comes_once_in_order_and_in_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let greys: Vec<u8> = (0..100).map(|i| i * 2).collect();
    let stream: Vec<u8> = greys.iter().flat_map(|grey| jpeg(*grey)).collect();
    let path = write(folder.path(), "film.mjpg", &stream);
    let seen = play(&options(path));
    assert_eq!(seen.iter().map(|(grey, _)| grey.unwrap()).collect::<Vec<_>>(), greys);
    for (index, (_, moment)) in (0..).zip(&seen) {
        let elapsed_ms = index * 1000 / 30;
        assert_eq!(*moment, Moment { elapsed_ms, unix_ms: elapsed_ms });
    }
}

#[test]
fn damaged_frames_fail_and_cost_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut corrupt = jpeg(20);
    let scan = corrupt.windows(2).position(|two| two == [0xff, 0xda]).unwrap() + 14;
    let end = corrupt.len() - 2;
    corrupt.splice(scan..end, [0xff, 0].repeat(40));
    let cut_off = jpeg(40);
    let (half, tail) = (&cut_off[..cut_off.len() - 8], &cut_off[..30]);
    let stream = [&jpeg(10)[..], &corrupt, &jpeg(30), half, &jpeg(50), b"garbage", &jpeg(60), tail];
    let path = write(folder.path(), "film.mjpeg", &stream.concat());
    let seen: Vec<_> = play(&options(path)).into_iter().map(|(grey, _)| grey).collect();
    assert_eq!(seen, [Some(10), None, Some(30), None, Some(50), Some(60), None]);
}

#[test]
fn a_folder_s_pictures_come_by_name_and_bad_ones_fail() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("b")).unwrap();
    write(folder.path(), "c.bmp", &encoded(3, ImageFormat::Bmp));
    write(folder.path(), "b/1.png", &encoded(2, ImageFormat::Png));
    write(folder.path(), "a.png", &encoded(1, ImageFormat::Png));
    write(folder.path(), "bad.jpg", b"no picture");
    write(folder.path(), "notes.txt", b"no picture");
    let seen = play(&Options { url: format!("dir:{}", folder.path().display()), ..options(".") });
    let greys: Vec<_> = seen.iter().map(|(grey, _)| *grey).collect();
    assert_eq!(greys, [Some(1), Some(2), None, Some(3)]);
    let single = play(&options(folder.path().join("a.png")));
    assert_eq!(single, [(Some(1), Moment::default())]);
}

#[test]
fn what_can_never_work_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    let missing = folder.path().join("none.mjpg");
    for (url, expected) in [
        ("gopher://x", "use v4l:"),
        (&format!("dir:{empty}"), "no pictures"),
        (missing.to_str().unwrap(), "No such file"),
        (&format!("file:{empty}/none.mp4"), "No such file"),
        (&format!("file:{empty}/none.png"), "No such file"),
        (&format!("dir:{empty}/none"), "No such file"),
    ] {
        let error = Camera::start(&options(url)).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let wrong = Options { rotate: 45, ..options(empty) };
    assert!(Camera::start(&wrong).err().unwrap().to_string().contains("rotate is 45"));
}

#[test]
fn a_file_without_frames_ends_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "film.mjpg", b"nothing");
    for repeat in [false, true] {
        let mut camera = Camera::start(&Options { repeat, ..options(&path) }).unwrap();
        assert!(matches!(camera.next(LONG), Next::End));
        assert!(camera.last_error().unwrap().contains("no frames"));
    }
}

#[test]
fn a_repeated_file_starts_over_and_its_time_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "film.mjpg", &[jpeg(10), jpeg(20)].concat());
    let options = Options { repeat: true, fps: 10, ..options(path) };
    let (mut camera, mut views) = (Camera::start(&options).unwrap(), Views::new(&options));
    for index in 0..7 {
        let Next::Shot(shot) = camera.next(LONG) else { panic!("it goes on") };
        assert_eq!(shot.moment.unix_ms, index * 100);
        views.develop(shot).unwrap();
        assert_eq!(views.whole().rgb()[0], if index % 2 == 0 { 10 } else { 20 });
    }
    assert_eq!(camera.counts().reopened, 0, "it was never lost");
}

#[test]
fn in_real_time_the_newest_wins_and_the_others_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let stream: Vec<u8> = (0..50).flat_map(jpeg).collect();
    let path = write(folder.path(), "film.mjpg", &stream);
    let options = Options { fps: 200, pace: Pace::Realtime, ..options(path) };
    let mut camera = Camera::start(&options).unwrap();
    let until = Instant::now() + LONG;
    while camera.state() != SourceState::Ended && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut views = Views::new(&options);
    let Next::Shot(shot) = camera.next(LONG) else { panic!("the last one is there") };
    views.develop(shot).unwrap();
    assert_eq!((views.whole().rgb()[0], shot.moment.unix_ms), (49, 245));
    assert!(matches!(camera.next(LONG), Next::End));
    assert_eq!((camera.counts().captured, camera.counts().dropped), (50, 49));
}

#[test]
fn a_cap_of_the_rate_picks_the_same_frames_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let stream: Vec<u8> = (0..20).flat_map(jpeg).collect();
    let path = write(folder.path(), "film.mjpg", &stream);
    let seen = play(&Options { fps: 10, fps_max: 2.5, ..options(path) });
    let greys: Vec<u8> = seen.iter().map(|(grey, _)| grey.unwrap()).collect();
    assert_eq!(greys, [0, 4, 8, 12, 16]);
}

/// A shot of 4 x 2 grey pixels with rows of 5 bytes.
fn grey_shot() -> Shot {
    let bytes = vec![10, 20, 30, 40, 99, 50, 60, 70, 80, 99];
    let (width, height, stride) = (4, 2, 5);
    Shot { bytes, encoding: Encoding::Grey, width, height, stride, moment: Moment::default() }
}

fn greys(frame: &edgeclip::capture::Frame) -> (u32, Vec<u8>) {
    (frame.width(), frame.rgb().iter().step_by(3).copied().collect())
}

#[test]
fn pictures_are_turned_mirrored_cropped_and_then_cut_into_regions() {
    let left_top = vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
    let bottom = vec![[0.0, 0.5], [1.0, 0.5], [1.0, 1.0], [0.0, 1.0]];
    let region = |name: &str, polygon| Region { name: name.to_owned(), polygon };
    let options = Options {
        rotate: 90,
        mirror: true,
        crop: Some([0.0, 0.0, 1.0, 0.5]),
        region: vec![region("corner", left_top), region("bottom", bottom)],
        ..Options::default()
    };
    let mut views = Views::new(&options);
    views.develop(&grey_shot()).unwrap();
    // Clockwise: 50 10, 60 20, ..; mirrored: 10 50, 20 60, ..; the upper half stays.
    assert_eq!(greys(views.whole()), (2, vec![10, 50, 20, 60]));
    assert_eq!((views.len(), views.name(0), views.name(1)), (2, Some("corner"), Some("bottom")));
    assert_eq!(greys(views.frame(0)), (2, vec![10, NEUTRAL[0], NEUTRAL[0], NEUTRAL[0]]));
    assert_eq!(greys(views.frame(1)), (2, vec![20, 60]));
}

#[test]
fn without_regions_the_whole_picture_is_the_one_view() {
    let mut views = Views::new(&Options::default());
    views.develop(&grey_shot()).unwrap();
    assert_eq!((views.len(), views.name(0)), (1, None));
    assert_eq!(greys(views.frame(0)), (4, vec![10, 20, 30, 40, 50, 60, 70, 80]));
    let short = Shot { bytes: vec![0; 3], ..grey_shot() };
    assert!(matches!(views.develop(&short), Err(PictureError::ShortFrame { .. })));
}

#[test]
fn the_still_gate_is_off_unless_it_is_asked_for() {
    let mut views = Views::new(&Options::default());
    views.develop(&grey_shot()).unwrap();
    assert!(!views.is_still(Moment::default()) && !views.is_still(Moment::default()));
    let mut views = Views::new(&Options { still: 8.0, ..Options::default() });
    views.develop(&grey_shot()).unwrap();
    assert!(!views.is_still(Moment::default()) && views.is_still(Moment::default()));
}

/// Runs a test of this file again, with a folder of made-up programs before all others on the path.
#[cfg(unix)]
fn with_program(test: &str, name: &str, script: &str, act: impl FnOnce()) {
    use std::os::unix::fs::PermissionsExt;

    if std::env::var_os("CAPTURE_TEST_INSIDE").is_some() {
        return act();
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "frame.jpg", &jpeg(77));
    let path = write(folder.path(), name, format!("#!/bin/sh\n{script}\n").as_bytes());
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = std::env::var("PATH").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("CAPTURE_TEST_INSIDE", folder.path())
        .env("PATH", format!("{}:{paths}", folder.path().display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A camera program that delivers frames until it is killed, and leaves its number in a file.
#[cfg(unix)]
const ENDLESS: &str = "echo $$ > $CAPTURE_TEST_INSIDE/pid.tmp; mv $CAPTURE_TEST_INSIDE/pid.tmp $CAPTURE_TEST_INSIDE/pid\n\
                       while cat $CAPTURE_TEST_INSIDE/frame.jpg; do sleep 0.02; done";

#[cfg(unix)]
fn pid() -> String {
    let folder = PathBuf::from(std::env::var_os("CAPTURE_TEST_INSIDE").unwrap());
    fs::read_to_string(folder.join("pid")).unwrap().trim().to_owned()
}

#[cfg(unix)]
fn signal(pid: &str, signal: &str) -> bool {
    Command::new("kill").args([signal, pid]).output().unwrap().status.success()
}

#[cfg(unix)]
fn wait_for_shot(camera: &mut Camera) -> Shot {
    match camera.next(LONG) {
        Next::Shot(shot) => shot.clone(),
        _ => panic!("{:?}: {:?}", camera.state(), camera.last_error()),
    }
}

#[cfg(unix)]
#[test]
fn a_camera_whose_program_is_killed_comes_back_anew() {
    with_program("a_camera_whose_program_is_killed_comes_back_anew", "rpicam-vid", ENDLESS, || {
        let options = Options { url: "rpicam".into(), ..Options::default() };
        let (mut camera, mut views) = (Camera::start(&options).unwrap(), Views::new(&options));
        let mut pids = BTreeSet::new();
        let mut elapsed_ms = 0;
        for round in 0..3 {
            let shot = wait_for_shot(&mut camera);
            views.develop(&shot).unwrap();
            assert_eq!(views.whole().rgb()[0], 77);
            assert!(
                shot.moment.elapsed_ms >= elapsed_ms && shot.moment.unix_ms > 1_600_000_000_000
            );
            elapsed_ms = shot.moment.elapsed_ms;
            assert_eq!(camera.counts().reopened, round);
            assert!(pids.insert(pid()), "another program than before");
            assert!(signal(&pid(), "-KILL"));
            let until = Instant::now() + LONG;
            while camera.state() != SourceState::Lost && Instant::now() < until {
                camera.next(Duration::from_millis(5));
            }
            assert!(camera.last_error().unwrap().contains("rpicam-vid ended (signal: 9"));
        }
    });
}

#[cfg(unix)]
#[test]
fn a_camera_that_hangs_is_silent_then_lost_and_its_program_is_killed() {
    let test = "a_camera_that_hangs_is_silent_then_lost_and_its_program_is_killed";
    with_program(test, "rpicam-vid", ENDLESS, || {
        let options = Options { url: "rpicam".into(), silent_after_ms: 300, ..Options::default() };
        let mut camera = Camera::start(&options).unwrap();
        wait_for_shot(&mut camera);
        let stopped = pid();
        assert!(signal(&stopped, "-STOP"));
        let mut states = Vec::new();
        let until = Instant::now() + LONG;
        while camera.counts().reopened == 0 && Instant::now() < until {
            if states.last() != Some(&camera.state()) {
                states.push(camera.state());
            }
            camera.next(Duration::from_millis(1));
        }
        assert_eq!(states, [SourceState::Live, SourceState::Silent, SourceState::Lost]);
        wait_for_shot(&mut camera);
        assert!(!signal(&stopped, "-0"), "the program that hung is gone");
        let running = pid();
        drop(camera);
        assert!(!signal(&running, "-0"), "no program outlives its camera");
    });
}

#[cfg(unix)]
#[test]
fn a_slow_consumer_gets_the_newest_frame() {
    with_program("a_slow_consumer_gets_the_newest_frame", "rpicam-vid", ENDLESS, || {
        let options = Options { url: "rpicam".into(), ..Options::default() };
        let mut camera = Camera::start(&options).unwrap();
        wait_for_shot(&mut camera);
        let until = Instant::now() + LONG;
        while camera.counts().dropped < 5 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let counts = camera.counts();
        assert!(counts.dropped >= 5 && counts.captured > counts.dropped, "{counts:?}");
    });
}

#[cfg(unix)]
#[test]
fn a_program_that_is_missing_is_named_with_the_way_to_install_it() {
    let test = "a_program_that_is_missing_is_named_with_the_way_to_install_it";
    if std::env::var_os("CAPTURE_TEST_INSIDE").is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env("CAPTURE_TEST_INSIDE", "yes")
            .env("PATH", "/nowhere")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let video = write(folder.path(), "film.mp4", b"");
    let error = Camera::start(&options(video)).err().unwrap().to_string();
    assert!(error.contains("ffmpeg is not installed: apt install ffmpeg"), "{error}");
    let camera = Camera::start(&options("rpicam")).unwrap();
    let until = Instant::now() + LONG;
    while camera.state() != SourceState::Lost && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(camera.last_error().unwrap().contains("rpicam-vid is not installed: apt install"));
}

#[test]
fn in_quiet_hours_a_live_source_is_closed() {
    let all_day = vec!["00:00-12:00".to_owned(), "12:00-00:00".to_owned()];
    let options =
        Options { url: "v4l:/dev/video-none".into(), quiet: all_day, ..Options::default() };
    let mut camera = Camera::start(&options).unwrap();
    let until = Instant::now() + LONG;
    while camera.state() != SourceState::Quiet && Instant::now() < until {
        assert!(matches!(camera.next(Duration::from_millis(5)), Next::Nothing));
    }
    assert_eq!((camera.state(), camera.last_error()), (SourceState::Quiet, None));
}
