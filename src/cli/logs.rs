//! What libraries and the program note down, on stderr, as far as `EDGECLIP_LOG` asks for it.

use env_logger::{Builder, Env, Logger};
use log::{LevelFilter, Log, Metadata, Record};

/// The HTTP client's crates, which write out all that goes over the wire: a hub's token, and signed addresses.
const WIRE: &[&str] = &["ureq", "ureq_proto"];

/// Keeps secrets back, whatever is asked for.
struct Discreet(Logger);

impl Log for Discreet {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        let library = about.target().split("::").next().unwrap_or_default();
        let may = about.level() <= LevelFilter::Warn || !WIRE.contains(&library);
        may && self.0.enabled(about)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Begins to take notes. The one call comes before all else.
pub(super) fn start() {
    let asked = Env::new().filter_or("EDGECLIP_LOG", "warn,tract=error");
    let logger = Builder::from_env(asked).build();
    let most = logger.filter();
    if log::set_boxed_logger(Box::new(Discreet(logger))).is_ok() {
        log::set_max_level(most);
    }
}
