//! Hours of the day at which a source is closed.

use jiff::civil::Time;

/// Daily times, local.
#[derive(Clone, Debug, Default)]
pub(super) struct QuietHours(Vec<(Time, Time)>);

impl QuietHours {
    /// Reads `22:00-06:00` and the like.
    pub(super) fn parse(spans: &[String]) -> Result<Self, String> {
        let parse = |span: &String| {
            let (from, to) = span.split_once('-')?;
            let time = |text: &str| Time::strptime("%H:%M", text.trim()).ok();
            let (from, to) = (time(from)?, time(to)?);
            (from != to).then_some((from, to))
        };
        let one = |span| parse(span).ok_or_else(|| wrong(span));
        spans.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a time of the day is quiet: from the beginning on, up to the end and without it; where the end
    /// is the earlier one, over midnight.
    pub(super) fn contain(&self, time: Time) -> bool {
        self.0.iter().any(|&(from, to)| {
            if from < to { from <= time && time < to } else { from <= time || time < to }
        })
    }

    /// Whether it is quiet now.
    pub(super) fn now(&self) -> bool {
        !self.0.is_empty() && self.contain(jiff::ZonedDateTime::now().time())
    }
}

fn wrong(span: &str) -> String {
    format!("quiet: {span:?} is no span of a day: use two different times, such as 22:00-06:00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    fn hours(spans: &[&str]) -> Result<QuietHours, String> {
        QuietHours::parse(&spans.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_beginning_is_quiet_and_the_end_is_not() {
        let hours = hours(&["22:00-06:00", "12:30-13:00"]).unwrap();
        for (hour, minute, quiet) in [
            (21, 59, false),
            (22, 0, true),
            (23, 59, true),
            (0, 0, true),
            (5, 59, true),
            (6, 0, false),
            (12, 29, false),
            (12, 30, true),
            (12, 59, true),
            (13, 0, false),
        ] {
            assert_eq!(hours.contain(time(hour, minute, 0, 0)), quiet, "{hour}:{minute}");
        }
    }

    #[test]
    fn nothing_is_quiet_without_spans() {
        assert!(!QuietHours::default().now());
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for span in ["", "22:00", "22:00-", "25:00-06:00", "22:00-22:00", "22-6"] {
            assert!(hours(&[span]).unwrap_err().contains("such as 22:00-06:00"), "{span}");
        }
    }
}
