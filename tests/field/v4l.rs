//! A V4L2 camera, in a virtual machine: Debian's kernel has `vivid`, a driver that behaves like a camera.
//! This program is put into the machine's memory disk, and runs a test of itself there.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use edgeclip::capture::{Camera, Encoding, Format, Next, Options, Shot, SourceState, Views};

use crate::available;

/// Set inside of the machine.
const INSIDE: &str = "EDGECLIP_TEST_INSIDE";

/// Longer than anything takes on an emulated machine.
const LONG: Duration = Duration::from_mins(2);

#[test]
fn a_camera_delivers_every_format_and_comes_back_when_it_was_gone() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let mut qemu = Command::new("qemu-system-x86_64");
    if !available("qemu-system-x86_64", qemu.arg("--version")) {
        return;
    }
    let Some((kernel, modules)) = kernel_with_vivid() else { return };
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk.cpio");
    fs::write(&disk, memory_disk(&modules)).unwrap();
    let output = Command::new("timeout")
        .args(["300", "qemu-system-x86_64", "-accel", "tcg", "-m", "768", "-smp", "2"])
        .args([
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
            "-append",
            "console=ttyS0 panic=-1 quiet",
        ])
        .args([OsStr::new("-kernel"), kernel.as_os_str(), OsStr::new("-initrd"), disk.as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(said.contains("test result: ok. 1 passed"));
}

/// Debian's kernel and the modules that `vivid` needs, in order.
fn kernel_with_vivid() -> Option<(PathBuf, Vec<PathBuf>)> {
    let kernels = fs::read_dir("/boot").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut kernels: Vec<_> = kernels
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        })
        .collect();
    kernels.sort();
    let kernel = kernels.pop().unwrap_or_default();
    let version = kernel.to_string_lossy().replace("/boot/vmlinuz-", "");
    let mut modprobe = Command::new("/sbin/modprobe");
    modprobe.args(["-S", &version, "--show-depends", "vivid"]);
    if !available("a kernel with vivid (linux-image-amd64)", &mut modprobe) {
        return None;
    }
    let output = String::from_utf8(modprobe.output().unwrap().stdout).unwrap();
    let paths = output.lines().filter_map(|line| line.strip_prefix("insmod "));
    Some((kernel, paths.map(|path| path.trim().into()).collect()))
}

/// A memory disk with this program, what it is linked with, the modules, and a first program that starts it.
fn memory_disk(modules: &[PathBuf]) -> Vec<u8> {
    let program = std::env::current_exe().unwrap();
    let libraries = Command::new("ldd").arg(&program).output().unwrap().stdout;
    let libraries = String::from_utf8(libraries).unwrap();
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    let mut script = "#!/bin/busybox sh\nexport PATH=/bin\nB=/bin/busybox\n\
                      $B mount -t proc none /proc; $B mount -t sysfs none /sys; $B mount -t devtmpfs none /dev\n"
        .to_owned();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for path in modules {
        let name = path.file_name().unwrap().to_str().unwrap();
        let parameters = if name.starts_with("vivid") { "n_devs=1 node_types=0x1" } else { "" };
        script += &format!("$B insmod /{name} {parameters}\n");
        files.push((name.to_owned(), fs::read(path).unwrap()));
    }
    script += &format!(
        "{INSIDE}=1 RUST_BACKTRACE=0 /program --exact v4l::inside --include-ignored --nocapture\n\
                        $B poweroff -f\n"
    );
    files.push(("init".to_owned(), script.into_bytes()));
    files.push(("program".to_owned(), fs::read(&program).unwrap()));
    files.push(("bin/busybox".to_owned(), fs::read("/bin/busybox").unwrap()));
    for library in libraries {
        files.push((library.trim_start_matches('/').to_owned(), fs::read(library).unwrap()));
    }
    archive(&files)
}

/// A cpio archive as the kernel reads it ("newc"): files that may be run, and the folders above them.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |name: &str, mode: u32, content: &[u8]| {
        let (length, name_length) = (content.len(), name.len() + 1);
        let zero = 0;
        bytes.extend(format!("070701{zero:08x}{mode:08x}").bytes());
        for field in [0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0] {
            bytes.extend(format!("{field:08x}").bytes());
        }
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    for folder in ["proc", "sys", "dev", "tmp"] {
        put(folder, 0o040_755, &[]);
    }
    let mut folders = std::collections::BTreeSet::new();
    for (name, _) in files {
        folders.extend(
            Path::new(name)
                .ancestors()
                .skip(1)
                .filter_map(Path::to_str)
                .filter(|path| !path.is_empty()),
        );
    }
    for folder in folders {
        put(folder, 0o040_755, &[]);
    }
    for (name, content) in files {
        put(name, 0o100_755, content);
    }
    put("TRAILER!!!", 0, &[]);
    bytes
}

#[test]
#[ignore = "runs in the virtual machine only"]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    for (format, encoding, bits) in [
        (Format::Yuyv, Encoding::Yuyv, 16),
        (Format::Nv12, Encoding::Nv12, 12),
        (Format::Grey, Encoding::Grey, 8),
        (Format::Auto, Encoding::Yuyv, 16),
    ] {
        delivers(format, encoding, bits);
    }
    a_format_that_is_missing_is_named();
    a_clock_that_jumps_moves_the_time_of_day_alone();
    comes_back();
    a_driver_that_hangs_is_silent_then_lost();
    a_driver_s_fatal_error_is_a_loss();
}

fn options(format: Format) -> Options {
    Options { url: "v4l:/dev/video0".into(), format, fps: 15, ..Options::default() }
}

fn wait_for_shot(camera: &mut Camera) -> Shot {
    match camera.next(LONG) {
        Next::Shot(shot) => shot.clone(),
        _ => panic!("{:?}: {:?}", camera.state(), camera.last_error()),
    }
}

/// Frames have the size, the rate and the colours that are asked for.
fn delivers(format: Format, encoding: Encoding, bits: usize) {
    let options = options(format);
    let (mut camera, mut views) = (Camera::start(&options).unwrap(), Views::new(&options));
    let first = wait_for_shot(&mut camera);
    assert_eq!((first.encoding, first.width, first.height), (encoding, 640, 480));
    assert_eq!(first.bytes.len(), 640 * 480 * bits / 8);
    let before = camera.counts().captured;
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let fps = (camera.counts().captured - before) as f32 / begun.elapsed().as_secs_f32();
    let last = wait_for_shot(&mut camera);
    println!("{format:?}: rows of {} bytes, {fps:.1} frames a second", first.stride);
    assert!((1.0..20.0).contains(&fps), "asked for 15");
    assert!(last.moment.elapsed_ms > first.moment.elapsed_ms);
    views.develop(&last).unwrap();
    // The driver shows eight bars: white, yellow, cyan, green, magenta, red, blue, black.
    let row = &views.whole().rgb()[400 * 640 * 3..][..640 * 3];
    let bars: Vec<[bool; 3]> =
        (0..8).map(|bar| std::array::from_fn(|c| row[(bar * 80 + 40) * 3 + c] > 95)).collect();
    if encoding != Encoding::Grey {
        let expected = [0b111, 0b110, 0b011, 0b010, 0b101, 0b100, 0b001, 0b000_u8];
        assert_eq!(bars, expected.map(|bits| [bits & 4 > 0, bits & 2 > 0, bits & 1 > 0]));
    }
}

fn a_format_that_is_missing_is_named() {
    let camera = Camera::start(&options(Format::Mjpeg)).unwrap();
    wait_for(&camera, SourceState::Lost);
    let error = camera.last_error().unwrap();
    println!("{}", &error[..error.len().min(100)]);
    assert!(error.contains("has no format Mjpeg, but ") && error.contains("YUYV"), "{error}");
}

/// Decisions count in `elapsed_ms`: a board without a battery learns the date when the network comes.
fn a_clock_that_jumps_moves_the_time_of_day_alone() {
    let mut camera = Camera::start(&options(Format::Auto)).unwrap();
    for date in ["@946684800", "@1893456000", "@978307200"] {
        let before = wait_for_shot(&mut camera).moment;
        let set = Command::new("/bin/busybox").args(["date", "-s", date]).status().unwrap();
        assert!(set.success());
        // One shot may have waited since before.
        camera.next(Duration::ZERO);
        let after = wait_for_shot(&mut camera).moment;
        println!("the clock jumps by {} s", (after.unix_ms / 1000).abs_diff(before.unix_ms / 1000));
        let seconds: u64 = date[1..].parse().unwrap();
        assert!((seconds..seconds + 120).contains(&(after.unix_ms / 1000)), "{after:?}");
        let passed_ms = after.elapsed_ms - before.elapsed_ms;
        assert!((1..120_000).contains(&passed_ms), "{passed_ms} ms");
    }
}

fn wait_for(camera: &Camera, state: SourceState) {
    let until = Instant::now() + LONG;
    while camera.state() != state {
        assert!(Instant::now() < until, "{:?}: {:?}", camera.state(), camera.last_error());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The driver is taken from its device while frames flow, and given back.
fn comes_back() {
    let mut camera = Camera::start(&options(Format::Auto)).unwrap();
    for round in 1..=3 {
        wait_for_shot(&mut camera);
        fs::write("/sys/bus/platform/drivers/vivid/unbind", "vivid.0").unwrap();
        wait_for(&camera, SourceState::Lost);
        println!("{:?}", camera.last_error());
        fs::write("/sys/bus/platform/drivers/vivid/bind", "vivid.0").unwrap();
        wait_for(&camera, SourceState::Live);
        assert_eq!(camera.counts().reopened, round);
        camera.next(Duration::ZERO);
    }
    assert_eq!(camera.last_error(), None);
}

/// Sets one of the driver's own controls, through a handle of its own.
fn set_control(name: &str, value: v4l::control::Value) {
    let device = v4l::Device::with_path("/dev/video0").unwrap();
    let controls = device.query_controls().unwrap();
    let id = controls.iter().find(|control| control.name == name).unwrap().id;
    device.set_control(v4l::Control { id, value }).unwrap();
}

/// The driver takes all buffers and gives none back.
fn a_driver_that_hangs_is_silent_then_lost() {
    let options = Options { silent_after_ms: 1000, ..options(Format::Auto) };
    let mut camera = Camera::start(&options).unwrap();
    wait_for_shot(&mut camera);
    set_control("Percentage of Dropped Buffers", v4l::control::Value::Integer(100));
    wait_for(&camera, SourceState::Silent);
    wait_for(&camera, SourceState::Lost);
    println!("{:?}", camera.last_error());
    assert!(camera.last_error().unwrap().starts_with("no frame for "));
    set_control("Percentage of Dropped Buffers", v4l::control::Value::Integer(0));
    wait_for(&camera, SourceState::Live);
    assert!(camera.counts().reopened >= 1);
    set_control("Percentage of Dropped Buffers", v4l::control::Value::Integer(100));
    let begun = Instant::now();
    drop(camera);
    println!("closed in {} ms while it hangs", begun.elapsed().as_millis());
    set_control("Percentage of Dropped Buffers", v4l::control::Value::Integer(0));
}

fn a_driver_s_fatal_error_is_a_loss() {
    let mut camera = Camera::start(&options(Format::Auto)).unwrap();
    wait_for_shot(&mut camera);
    set_control("Inject Fatal Streaming Error", v4l::control::Value::Integer(1));
    wait_for(&camera, SourceState::Lost);
    println!("{:?}", camera.last_error());
    wait_for(&camera, SourceState::Live);
    assert_eq!(camera.counts().reopened, 1);
}
