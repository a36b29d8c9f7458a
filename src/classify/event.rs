//! What the decisions tell the world: one schema on stdout, over MQTT and over HTTP.

use serde::{Serialize, Serializer};

/// The answer when no label fits; no label may have this name.
pub const NONE: &str = "none";

/// A label came or went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Version of this schema: 1.
    pub v: u32,
    /// When, in milliseconds since 1970; written as RFC 3339 in UTC.
    #[serde(rename = "time", serialize_with = "rfc3339")]
    pub unix_ms: u64,
    /// Name of this device.
    pub device: String,
    /// Name of the source.
    pub source: String,
    /// Name of the region, where the source has regions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Name of the label; [`NONE`] where no label fits.
    pub label: String,
    /// Whether it came or went.
    pub state: Transition,
    /// The smoothed probability that decided, 0..1; written with four decimals.
    #[serde(serialize_with = "rounded")]
    pub score: f32,
    /// Digest of the label set.
    pub label_set: String,
    /// Digest of the model.
    pub model: String,
}

/// The two things that a label can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transition {
    /// It is there now.
    Enter,
    /// It is there no more.
    Leave,
}

/// `1970-01-01T00:00:00.000Z`.
fn format_time(unix_ms: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms.cast_signed()).unwrap_or_default();
    format!("{time:.3}")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn rfc3339<S: Serializer>(unix_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_time(*unix_ms))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn rounded<S: Serializer>(score: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((f64::from(*score) * 1e4).round() / 1e4)
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_have_milliseconds() {
        assert_eq!(super::format_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::format_time(1_767_225_600_040), "2026-01-01T00:00:00.040Z");
    }
}
