//! A page that shows what the camera sees, with labels from a file that may be edited while it runs.
//! Run with `cargo run --release --example kiosk`, or with a source and an address of your own:
//! `cargo run --release --example kiosk -- dir:examples/images 127.0.0.1:8080`.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use edgeclip::capture::Pace;
use edgeclip::pipeline::{Appliance, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let source = arguments.next().unwrap_or_else(|| "v4l:/dev/video0".to_owned());
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:8780".to_owned()).parse()?;
    let appliance = kiosk(&source, Path::new("examples/cards/labels.toml"), listen)?;
    eprintln!("see http://{listen}");
    appliance.run()?;
    Ok(())
}

/// An appliance that is ready to run.
pub(crate) fn kiosk(
    source: &str,
    labels: &Path,
    listen: SocketAddr,
) -> Result<Appliance, Box<dyn Error>> {
    let mut options = Options { device: "kiosk".to_owned(), ..Options::default() };
    options.source.url = source.into();

    // A folder is shown like a slide show: two pictures a second, over and over.
    options.source.pace = Pace::Realtime;
    options.source.fps = if source.starts_with("dir:") { 2 } else { 15 };
    options.source.repeat = true;

    // The file is read again whenever it changes. What is wrong with it shows on the page, and changes nothing.
    options.labels.file = Some(labels.to_owned());

    // Any other than a loopback address would need `options.http.token`.
    options.http.listen = listen;
    options.jsonl.stdout = false;

    Ok(Appliance::start(&options, None)?)
}
