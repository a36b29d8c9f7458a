//! `/metrics`: the Prometheus text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Written out by hand: all values live in the [`Status`](crate::outputs::Status) already, so a client
//! library's registry would be a second home for them, and the format is two lines and an escape.

use std::fmt::{Display, Write};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::site::Site;
use crate::capture::SourceState;
use crate::outputs::Snapshot;

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// The names that a source's states have in JSON, and in `edgeclip_source_state`.
const STATES: [(SourceState, &str); 6] = [
    (SourceState::Opening, "opening"),
    (SourceState::Live, "live"),
    (SourceState::Silent, "silent"),
    (SourceState::Lost, "lost"),
    (SourceState::Quiet, "quiet"),
    (SourceState::Ended, "ended"),
];

/// All metrics.
pub(super) fn write(site: &Site) -> String {
    let (snapshot, mut page) = (site.status.snapshot(), Page::default());
    frames(&mut page, &snapshot);
    durations(&mut page, &snapshot);
    source(&mut page, &snapshot);
    labels(&mut page, &snapshot);
    events(&mut page, site);
    about(&mut page, site, &snapshot);
    page.0
}

fn frames(page: &mut Page, snapshot: &Snapshot) {
    let counts = &snapshot.counts;
    for (name, help, count) in [
        ("captured", "Frames that the source delivered.", counts.captured),
        ("dropped", "Frames that were never looked at: a newer one came first.", counts.dropped),
        ("decoded", "Frames that were decoded.", snapshot.decoded),
        ("inferred", "Frames that went through the model.", snapshot.inferred),
        ("failed", "Frames that could not be decoded.", snapshot.failed),
        ("still", "Frames that were skipped since the scene stood still.", snapshot.still),
    ] {
        page.single(&format!("edgeclip_frames_{name}_total"), COUNTER, help, count);
    }
    let (name, help) = ("edgeclip_frames_per_second", "Frames through the model in a second.");
    page.single(name, GAUGE, help, snapshot.frames_per_second);
}

/// Summaries without quantiles: sum by count is the mean, over whatever time one asks for.
fn durations(page: &mut Page, snapshot: &Snapshot) {
    for (name, help, sum_ms) in [
        ("frame", "Wall time of a frame from shot to scores.", snapshot.frame_ms_sum),
        ("encode", "Wall time of a frame in the image tower.", snapshot.encode_ms_sum),
    ] {
        let name = format!("edgeclip_{name}_duration_seconds");
        page.family(&name, "summary", help);
        page.sample(&format!("{name}_sum"), &[], sum_ms / 1000.0);
        page.sample(&format!("{name}_count"), &[], snapshot.inferred);
    }
}

fn source(page: &mut Page, snapshot: &Snapshot) {
    let (state, source) = (snapshot.source_state, &*snapshot.source);
    page.family("edgeclip_source_up", GAUGE, "Whether frames come from the source.");
    let up = u8::from(state == SourceState::Live);
    page.sample("edgeclip_source_up", &[("source", source)], up);
    page.family("edgeclip_source_state", GAUGE, "1 for the state that the source is in.");
    for (other, name) in STATES {
        let labels = [("source", source), ("state", name)];
        page.sample("edgeclip_source_state", &labels, u8::from(other == state));
    }
    let help = "Times that a lost source was opened anew.";
    page.single("edgeclip_source_reopened_total", COUNTER, help, snapshot.counts.reopened);
}

fn labels(page: &mut Page, snapshot: &Snapshot) {
    page.family("edgeclip_label_active", GAUGE, "Whether the label is there.");
    for (region, label) in each_label(snapshot) {
        let labels = [("region", region), ("label", &label.label)];
        page.sample("edgeclip_label_active", &labels, u8::from(label.active));
    }
    page.family("edgeclip_label_score", GAUGE, "Smoothed probability of the label, 0 to 1.");
    for (region, label) in each_label(snapshot) {
        let labels = [("region", region), ("label", &label.label)];
        page.sample("edgeclip_label_score", &labels, label.score);
    }
    page.family("edgeclip_background_score", GAUGE, "Probability that no label fits, 0 to 1.");
    for region in &snapshot.regions {
        let name = region.region.as_deref().unwrap_or_default();
        page.sample("edgeclip_background_score", &[("region", name)], region.background);
    }
}

fn each_label(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &crate::outputs::LabelStatus)> {
    snapshot.regions.iter().flat_map(|region| {
        let name = region.region.as_deref().unwrap_or_default();
        region.labels.iter().map(move |label| (name, label))
    })
}

fn events(page: &mut Page, site: &Site) {
    let (entered, left) = site.news.counts();
    page.family("edgeclip_events_total", COUNTER, "Labels that came or went.");
    page.sample("edgeclip_events_total", &[("state", "enter")], entered);
    page.sample("edgeclip_events_total", &[("state", "leave")], left);
}

fn about(page: &mut Page, site: &Site, snapshot: &Snapshot) {
    let muted = u8::from(snapshot.muted);
    page.single("edgeclip_muted", GAUGE, "Whether outputs that act are silenced.", muted);
    let connections = site.seats.count();
    page.single("edgeclip_http_connections", GAUGE, "Connections to the page.", connections);
    let away = site.turned_away.load(std::sync::atomic::Ordering::Relaxed);
    let help = "Connections that were turned away: there were too many.";
    page.single("edgeclip_http_turned_away_total", COUNTER, help, away);
    page.family("edgeclip_build_info", GAUGE, "Which edgeclip this is.");
    page.sample("edgeclip_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("edgeclip_model_info", GAUGE, "Which model and which labels are in use.");
    let labels = [("model", &*snapshot.model), ("label_set", &*snapshot.label_set)];
    page.sample("edgeclip_model_info", &labels, 1);
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory size in bytes.";
        page.single("process_resident_memory_bytes", GAUGE, help, bytes);
    }
    let help = "Start time of the process since the Unix epoch in seconds.";
    page.single("process_start_time_seconds", GAUGE, help, start_time_s(site.started));
}

/// By the clock of now: a board without one of its own starts in 1970, and is set right later.
fn start_time_s(started: Instant) -> u64 {
    let start = SystemTime::now().checked_sub(started.elapsed());
    start.and_then(|start| start.duration_since(UNIX_EPOCH).ok()).unwrap_or_default().as_secs()
}

/// Memory of this process that is in RAM; none where the system doesn't say.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// The text as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escape(text));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_out_of_their_quotes() {
        let mut page = Page::default();
        page.sample("m", &[("label", "a\"} 1\nevil 2\\"), ("region", "")], 0.5_f32);
        assert_eq!(page.0, "m{label=\"a\\\"} 1\\nevil 2\\\\\",region=\"\"} 0.5\n");
        assert_eq!(page.0.lines().count(), 1);
    }

    #[test]
    fn states_have_the_names_that_json_has() {
        for (state, name) in STATES {
            assert_eq!(serde_json::to_value(state).unwrap(), name);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory() {
        assert!(resident_bytes().unwrap() > 1 << 20);
    }
}
