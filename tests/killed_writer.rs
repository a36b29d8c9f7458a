//! A process that writes label sets is killed, again and again, at any moment: afterwards a whole set is in use.
//! That the bytes reach the disk in time is the kernel's part, which syncs ask for and no kill can show.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use edgeclip::prompts::{History, LabelSet};

/// Set for the process that is killed: the folder that it writes to.
const WRITER: &str = "EDGECLIP_TEST_WRITER";
/// Times that it is killed.
const KILLS: u64 = 300;

/// Set number `number`: as many labels as make several blocks of a disk, and each says whose it is.
fn set(number: u64) -> String {
    (0..400).map(|label| format!("label {label} of set {number}\n")).collect()
}

/// Not a test by itself: writes and goes back until it is killed.
#[test]
fn write_until_killed() {
    let Some(folder) = std::env::var_os(WRITER) else { return };
    let history = History::open(folder.as_ref(), 5).unwrap();
    loop {
        let number = history.list().unwrap().last().map_or(1, |set| set.number + 1);
        history.push(&set(number), "http").unwrap();
        if number.is_multiple_of(3) {
            history.roll_back(None).unwrap();
        }
    }
}

#[test]
fn whenever_the_writer_is_killed_a_whole_set_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    History::open(folder.path(), 5).unwrap().push(&set(1), "http").unwrap();
    let mut seen = 0;
    for kill in 0..KILLS {
        let mut writer = Command::new(std::env::current_exe().unwrap());
        writer.args(["--exact", "write_until_killed"]).env(WRITER, folder.path());
        let mut writer = writer.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // The test harness says its first word before the first write: then any moment of 24 ms.
        let _ = writer.stdout.take().unwrap().read(&mut [0; 16]);
        std::thread::sleep(Duration::from_micros(kill * 7919 % 24_000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let history = History::open(folder.path(), 5).unwrap();
        let newest = history.newest().unwrap().expect("a set is in use");
        let text = newest.read().unwrap();
        assert_eq!(text, set(newest.number), "kill {kill}: set {} is whole", newest.number);
        assert!(LabelSet::parse(&text).is_ok());
        let parts = std::fs::read_dir(folder.path()).unwrap();
        let names = parts.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(
            !names.into_iter().any(|name| name.starts_with('.')),
            "kill {kill}: parts are swept"
        );
        seen = newest.number;
    }
    assert!(seen > KILLS / 4, "the writer got somewhere: {seen} sets");
}
