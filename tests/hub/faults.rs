//! Bad lines and bad files: what is tried again, from where, and what is thrown away.

use std::fs;
use std::path::Path;
use std::time::Duration;

use edgeclip::hub::{Event, FetchedFile, HubError};

use crate::server::{COMMIT, Fault, Hub, Repository, git_blob, sha256};
use crate::{Session, noise, refused};

const BYTES: usize = 300_000;

fn hub() -> Hub {
    Hub::start(&[Repository::new("o/n", &[("config.json", b"{}"), ("model.onnx", &noise(BYTES))])])
}

/// The file came whole, and nothing else is left behind.
fn assert_whole(session: &Session) {
    let snapshot = session.pull("o/n").unwrap();
    assert_eq!(fs::read(snapshot.folder.join("model.onnx")).unwrap(), noise(BYTES));
    let mut wanted = [git_blob(b"{}"), sha256(&noise(BYTES))];
    wanted.sort();
    assert_eq!(session.blobs("o/n"), wanted);
}

/// The ranges that requests ask for; 0 is a request for all of it.
fn from(ats: &[usize]) -> Vec<Option<String>> {
    let range = |at: &usize| (*at > 0).then(|| format!("bytes={at}-"));
    ats.iter().map(range).collect()
}

/// A part as an attempt before leaves it.
fn leave_part(session: &Session, bytes: &[u8]) -> std::path::PathBuf {
    let blobs = session.cache.path().join("models--o--n/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.incomplete", sha256(&noise(BYTES))));
    fs::write(&part, bytes).unwrap();
    part
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_was() {
    let hub = hub();
    let cuts = [100_000, 1, 65_536, 0, 99_999];
    for cut in cuts {
        hub.fail("/storage/", 1, &[Fault::Cut(cut)]);
    }
    assert_whole(&Session::new(&hub));
    let ranges = from(&[0, 100_000, 100_001, 165_537, 165_537, 265_536]);
    assert_eq!(hub.ranges("model.onnx"), ranges);
}

#[test]
fn a_line_that_breaks_often_but_gets_on_is_not_given_up() {
    let hub = hub();
    hub.fail("/storage/", usize::MAX, &[Fault::Cut(10_000)]);
    assert_whole(&Session::new(&hub));
    assert_eq!(hub.ranges("model.onnx").len(), BYTES / 10_000);
}

#[test]
fn a_line_that_gets_nowhere_is_given_up_and_what_came_stays() {
    let hub = hub();
    hub.fail("/storage/", 1, &[Fault::Cut(70_000)]);
    hub.fail("/storage/", usize::MAX, &[Fault::Cut(0)]);
    let session = Session::new(&hub);
    refused(session.pull("o/n"), &["/model.onnx: the connection broke"]);
    assert_eq!(hub.ranges("model.onnx").len(), 4);
    let part = session
        .cache
        .path()
        .join(format!("models--o--n/blobs/{}.incomplete", sha256(&noise(BYTES))));
    assert_eq!(fs::read(part).unwrap(), noise(70_000));
    hub.mend();
    assert_whole(&session);
    assert_eq!(hub.ranges("model.onnx").last().unwrap(), &from(&[70_000])[0]);
}

#[test]
fn a_silent_connection_is_given_up_and_taken_up() {
    let hub = hub();
    hub.fail("/storage/", 1, &[Fault::Hang(123_456)]);
    let session = Session::new(&hub);
    let listing = session.client.listing(
        &"o/n".parse().unwrap(),
        &"main".parse().unwrap(),
        &mut crate::quiet,
    );
    let (listing, mut reasons) = (listing.unwrap(), Vec::new());
    let mut watch = |event: Event<'_>| {
        if let Event::Retry { what, reason, .. } = event {
            reasons.push(format!("{what}: {reason}"));
        }
    };
    session.client.fetch(&listing, &["model.onnx".to_owned()], &mut watch).unwrap();
    assert!(
        reasons.len() == 1 && reasons[0].contains("model.onnx") && reasons[0].contains("time"),
        "{reasons:?}"
    );
    assert_whole(&session);
    assert_eq!(hub.ranges("model.onnx"), from(&[0, 123_456]));
}

#[test]
fn a_server_that_drips_is_given_up() {
    let impatient = |settings: &mut edgeclip::hub::Settings| {
        settings.patience.stall = Duration::from_millis(200);
        settings.patience.tries = 2;
    };
    for (needle, fault, words) in [
        ("/api/", Fault::Drip, "bytes came in"),
        ("/api/", Fault::DripHead, "nothing came for too long"),
        ("/storage/", Fault::Drip, "bytes came in"),
    ] {
        let hub = hub();
        hub.fail(needle, usize::MAX, &[fault]);
        refused(Session::with(&hub, impatient).pull("o/n"), &[words]);
    }
}

#[test]
fn a_file_without_a_size_has_an_end() {
    let hub = Hub::start(&[Repository {
        is_terse: true,
        ..Repository::new("o/n", &[("config.json", b"{}")])
    }]);
    hub.fail("config.json", usize::MAX, &[Fault::Endless]);
    let words = ["config.json", "more than 33554432 bytes come, without a size"];
    refused(Session::new(&hub).pull("o/n"), &words);
    // Nor has a listing none.
    hub.fail("/api/", usize::MAX, &[Fault::Endless]);
    refused(Session::new(&hub).pull("o/n"), &["/revision/main", "it is larger than 8 MB"]);
}

#[test]
fn a_server_without_ranges_sends_the_file_anew() {
    let hub = hub();
    hub.fail("/storage/", 2, &[Fault::IgnoreRange, Fault::Cut(80_000)]);
    hub.fail("/storage/", usize::MAX, &[Fault::IgnoreRange]);
    assert_whole(&Session::new(&hub));
    assert_eq!(hub.ranges("model.onnx"), from(&[0, 80_000, 80_000]));
    // And one that always breaks at the same place is not asked for ever.
    hub.mend();
    hub.fail("/storage/", usize::MAX, &[Fault::IgnoreRange, Fault::Cut(80_000)]);
    let before = hub.ranges("model.onnx").len();
    refused(Session::new(&hub).pull("o/n"), &["connection"]);
    assert_eq!(hub.ranges("model.onnx").len() - before, 4);
}

#[test]
fn a_part_that_nobody_asked_for_is_not_taken() {
    let hub = hub();
    hub.fail("/storage/", 1, &[Fault::Cut(80_000)]);
    hub.fail("/storage/", 1, &[Fault::WrongRange]);
    assert_whole(&Session::new(&hub));
    assert_eq!(hub.ranges("model.onnx"), from(&[0, 80_000, 0]));
}

#[test]
fn a_short_file_with_the_right_status_is_taken_up() {
    let hub = hub();
    hub.fail("/storage/", 1, &[Fault::Short(200_000)]);
    assert_whole(&Session::new(&hub));
    assert_eq!(hub.ranges("model.onnx"), from(&[0, 200_000]));
}

#[test]
fn a_file_with_a_wrong_digest_is_fetched_once_more_and_then_refused() {
    for (needle, file, wanted) in [
        ("/storage/", "model.onnx", sha256(&noise(BYTES))),
        ("config.json", "config.json", git_blob(b"{}")),
    ] {
        let hub = hub();
        hub.fail(needle, 1, &[Fault::Corrupt]);
        assert_whole(&Session::new(&hub));

        hub.fail(needle, usize::MAX, &[Fault::Corrupt]);
        let session = Session::new(&hub);
        let bytes = if file == "config.json" { b"{}".to_vec() } else { noise(BYTES) };
        let mut wrong = bytes;
        wrong[0] ^= 1;
        let found = if file == "config.json" { git_blob(&wrong) } else { sha256(&wrong) };
        refused(session.pull("o/n"), &[file, "twice", &wanted, &found]);
        let left =
            session.blobs("o/n").into_iter().find(|name| name.ends_with(".incomplete")).unwrap();
        let left = session.cache.path().join("models--o--n/blobs").join(left);
        assert_eq!(fs::metadata(left).unwrap().len(), 0, "what is wrong is not kept");
    }
}

#[test]
fn a_part_that_is_not_of_the_file_is_thrown_away() {
    for part in [vec![7; 100_000], vec![7; BYTES], vec![7; BYTES + 1], noise(BYTES)] {
        let hub = hub();
        let session = Session::new(&hub);
        leave_part(&session, &part);
        assert_whole(&session);
    }
}

#[test]
fn a_file_that_is_another_one_now_is_refused() {
    let hub = hub();
    hub.fail("/resolve/", usize::MAX, &[Fault::Changed]);
    refused(
        Session::new(&hub).pull("o/n"),
        &["config.json: the server has another file than the listing says"],
    );
    // Once, as where a mirror is behind: asked again, it is right.
    hub.mend();
    hub.fail("/resolve/", 1, &[Fault::Changed]);
    assert_whole(&Session::new(&hub));
}

#[test]
fn a_busy_server_is_asked_again() {
    let hub = hub();
    let limited = Fault::Status(429, vec![("retry-after", "0".to_owned())], String::new());
    let broken = Fault::Status(503, Vec::new(), "<html>".to_owned());
    hub.fail("/api/", 2, std::slice::from_ref(&limited));
    hub.fail("/api/", 1, std::slice::from_ref(&broken));
    hub.fail("/resolve/", 1, &[limited]);
    hub.fail("/storage/", 2, &[broken]);
    // An address of the storage that ran out: the hub gives a new one.
    hub.fail("/storage/", 1, &[Fault::Status(403, Vec::new(), "expired".to_owned())]);
    assert_whole(&Session::new(&hub));

    let hour = Fault::Status(429, vec![("retry-after", "3600".to_owned())], String::new());
    hub.fail("/api/", 1, &[hour]);
    refused(Session::new(&hub).pull("o/n"), &["429", "to come back in 3600 s"]);
    hub.fail(
        "/api/",
        usize::MAX,
        &[Fault::Status(500, Vec::new(), "{\"error\": \"out of order\"}".to_owned())],
    );
    let before = hub.requests().len();
    refused(Session::new(&hub).pull("o/n"), &["answers 500: out of order"]);
    assert_eq!(hub.requests().len() - before, 4);
}

/// A disk of its own, taken away when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None, with the reason on stderr, where this user may not mount.
    fn mount(bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "edgeclip-test"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: a small disk can't be mounted by this user");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn change(&self, option: &str) {
        let mut command = std::process::Command::new("mount");
        command.args(["-o", &format!("remount,{option}")]).arg(self.path());
        assert!(command.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_seen_before_or_said_and_what_came_stays() {
    let Some(disk) = SmallDisk::mount(128 << 10) else { return };
    let hub = hub();
    let session = Session::with(&hub, |settings| settings.cache = disk.path().join("hub"));
    refused(session.pull("o/n"), &["1 MB are to come", "0 MB are free", "HF_HOME"]);
    assert!(hub.ranges("model.onnx").is_empty());

    // Where nobody says how large the file is, it is found out on the way.
    hub.change(|repositories| repositories[0].is_terse = true);
    refused(session.pull("o/n"), &[".incomplete: the disk is full; what came is kept"]);
    let part =
        disk.path().join(format!("hub/models--o--n/blobs/{}.incomplete", sha256(&noise(BYTES))));
    let kept = fs::read(&part).unwrap();
    assert!(kept.len() > 10_000 && kept == noise(BYTES)[..kept.len()], "{}", kept.len());

    // More room: it goes on from there.
    disk.change("size=4194304");
    let snapshot = session.pull("o/n").unwrap();
    assert_eq!(fs::read(snapshot.folder.join("model.onnx")).unwrap(), noise(BYTES));
    assert_eq!(hub.ranges("model.onnx").last().unwrap(), &from(&[kept.len()])[0]);
}

#[test]
fn a_cache_that_can_only_be_read_is_read() {
    let Some(disk) = SmallDisk::mount(4 << 20) else { return };
    let hub = hub();
    let other = Repository::new("o/other", &[("config.json", b"{}")]);
    hub.change(|repositories| repositories.push(other));
    let session = Session::with(&hub, |settings| settings.cache = disk.path().join("hub"));
    let files = session.pull("o/n").unwrap().files;
    disk.change("ro");
    assert_eq!(session.pull("o/n").unwrap().files, files);
    assert_eq!(crate::pull(&session.offline(), "o/n", "main").unwrap().1.files, files);
    assert_eq!(hub.ranges("model.onnx").len(), 1);
    refused(session.pull("o/other"), &["the cache can't be used there: set HF_HOME", "ead-only"]);
}

#[test]
fn a_cache_that_can_not_be_written_is_named() {
    let hub = hub();
    let session = Session::new(&hub);
    fs::write(session.cache.path().join("models--o--n"), "no folder").unwrap();
    let error = session.pull("o/n").unwrap_err();
    assert!(
        matches!(&error, HubError::Io { path, .. } if path.starts_with(session.cache.path())),
        "{error}"
    );
}

#[test]
fn progress_says_where_a_file_stands() {
    let hub = hub();
    hub.fail("/storage/", 1, &[Fault::Cut(100_000)]);
    let session = Session::new(&hub);
    leave_part(&session, &noise(50_000));
    let listing = session.client.listing(
        &"o/n".parse().unwrap(),
        &COMMIT.parse().unwrap(),
        &mut crate::quiet,
    );
    let (listing, paths) = (listing.unwrap(), ["model.onnx".to_owned()]);
    assert_eq!(session.client.bytes_to_come(&listing, &paths), BYTES as u64 - 50_000);
    let mut seen = Vec::new();
    let mut watch = |event: Event<'_>| match event {
        Event::File { path, bytes, at } => seen.push(format!("{path} {bytes:?} {at}")),
        Event::Position(at) => assert!(at > 50_000 && at <= BYTES as u64),
        Event::Done { path, bytes, cached } => seen.push(format!("{path} {bytes} {cached}")),
        Event::Retry { what, .. } => seen.push(format!("{what} again")),
        Event::Locked { path } => seen.push(format!("{path} locked")),
    };
    let snapshot = session.client.fetch(&listing, &paths, &mut watch).unwrap();
    session.client.fetch(&listing, &paths, &mut watch).unwrap();
    let wanted = [
        "model.onnx Some(300000) 50000",
        "model.onnx again",
        "model.onnx 300000 false",
        "model.onnx 300000 true",
    ];
    assert_eq!(seen, wanted);
    let (path, sha256) = ("model.onnx".to_owned(), sha256(&noise(BYTES)));
    assert_eq!(snapshot.files, [FetchedFile { path, bytes: BYTES as u64, sha256 }]);
}
