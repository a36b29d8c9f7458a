//! A camera, three labels and a lamp. Run on a Raspberry Pi with `cargo run --release --example pi_camera`;
//! elsewhere name a source: `cargo run --release --example pi_camera -- dir:examples/images`.

use std::env;
use std::error::Error;

use edgeclip::outputs::gpio::{Backend, PinOptions};
use edgeclip::pipeline::{Appliance, Options, Summary};

fn main() -> Result<(), Box<dyn Error>> {
    let source = env::args().nth(1).unwrap_or_else(|| "rpicam".to_owned());
    // Without the camera module there are no pins either: levels go to the log.
    let pins = if source.starts_with("rpicam") { Backend::Auto } else { Backend::Record };
    let Summary { inferred, events, .. } = watch(&source, pins)?;
    eprintln!("{inferred} frames, {events} events");
    Ok(())
}

/// Prints events and drives the lamp until the source ends; a camera never does.
pub(crate) fn watch(source: &str, pins: Backend) -> Result<Summary, Box<dyn Error>> {
    // All that is not said here has a default: see `edgeclip config reference`.
    let mut options = Options { device: "porch".to_owned(), ..Options::default() };
    options.source.url = source.into();
    // Five frames a second; of a folder, a picture a second.
    options.source.fps = if source.starts_with("rpicam") { 5 } else { 1 };

    // A label enters as soon as it is likely enough, and leaves a second after it was last seen.
    options.decide.dwell_ms = 0;
    options.decide.hold_ms = 1000;

    // The lamp is on while there is a cat, and off whenever nothing is known.
    options.gpio.backend = pins;
    let lamp = PinOptions {
        name: "lamp".to_owned(),
        line: Some(17), // BCM number: the sixth pin of the header's inner row
        label: "a cat".to_owned(),
        ..PinOptions::default()
    };
    options.gpio.pin = vec![lamp];

    // Events are lines of JSON on stdout. This program serves no page.
    options.http.enabled = false;

    let appliance = Appliance::start(&options, Some("a cat, a dog, a person".to_owned()))?;
    Ok(appliance.run()?)
}
