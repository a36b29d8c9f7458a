//! New labels while the camera runs: no frame is lost, and none is compared with half of a set.
//! Run with `cargo run --release --example relabel`, or with a source of your own.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use edgeclip::outputs::{Snapshot, Status};
use edgeclip::pipeline::{Appliance, Options, Summary};

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> Result<(), Box<dyn Error>> {
    let source = env::args().nth(1).unwrap_or_else(|| "dir:examples/images".to_owned());
    let file = env::temp_dir().join(format!("labels-{}.txt", std::process::id()));
    let outcome = relabel(&source, &file);
    fs::remove_file(&file)?;
    let (before, after, Summary { inferred, .. }) = outcome?;
    for snapshot in [before, after] {
        println!("after {} frames: {}", snapshot.inferred, words(&snapshot));
    }
    println!("{inferred} frames in all");
    Ok(())
}

/// How things stood with the labels before, and with those after.
pub(crate) fn relabel(
    source: &str,
    file: &Path,
) -> Result<(Snapshot, Snapshot, Summary), Box<dyn Error>> {
    // One label a line; a labels.toml can say more.
    fs::write(file, "an animal\na drink\na vehicle\n")?;
    let mut options = Options::default();
    options.source.url = source.into();
    options.source.repeat = true;
    options.labels.file = Some(file.to_owned());
    options.jsonl.stdout = false;
    options.http.enabled = false;
    let appliance = Appliance::start(&options, None)?;

    // The loop has a thread of its own from here on; handle and status are the ways to it.
    let (handle, status) = (appliance.handle(), appliance.status());
    let running = thread::spawn(move || appliance.run());

    let before = wait(&status, |now| now.inferred >= 10);

    // A running edgeclip looks at the file each second; `reload` is for those who can't wait.
    fs::write(file, "a cat\na cup of coffee\na rocket\na mountain\n")?;
    handle.reload();
    let old = before.label_set.clone();
    wait(&status, |now| now.label_set != old);

    // From the swap on every frame is compared with the new labels.
    let swapped = status.snapshot().inferred;
    let after = wait(&status, |now| now.inferred > swapped);

    handle.stop();
    let summary = running.join().map_err(|_| "the loop panicked")??;
    Ok((before, after, summary))
}

/// The first moment at which something holds, or the last one that was waited for.
fn wait(status: &Status, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = status.snapshot();
        if holds(&now) || Instant::now() > until {
            return now;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn words(snapshot: &Snapshot) -> String {
    let labels = snapshot.regions.iter().flat_map(|region| &region.labels);
    let scores = labels.map(|label| format!("{} {:.0} %", label.label, label.score * 100.0));
    scores.collect::<Vec<_>>().join(", ")
}
