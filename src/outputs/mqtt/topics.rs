//! The topics of one device.

use super::options::Options;
use crate::outputs::slug;

/// All topics, as [`Options`] and the device's name make them.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    /// JSON of the state, retained.
    pub(super) state: String,
    /// JSON of each event.
    pub(super) event: String,
    /// `online` or `offline`, retained; the last will.
    pub(super) availability: String,
    /// JSON of what became of a label set.
    pub(super) labels_result: String,
    /// The newest picture of an event, JPEG.
    pub(super) snapshot: String,
    /// Label sets for this device, then for each of its groups.
    pub(super) labels_set: Vec<String>,
    /// Home Assistant's own state, where it is told of us.
    pub(super) home_status: Option<String>,
    /// The device in topics and identifiers of Home Assistant.
    pub(super) node: String,
    discovery_prefix: String,
}

impl Topics {
    pub(super) fn new(options: &Options, device: &str) -> Self {
        let prefix = &options.prefix;
        let of_device = |what: &str| format!("{prefix}/{device}/{what}");
        let groups =
            options.groups.iter().map(|group| format!("{prefix}/group/{group}/labels/set"));
        let status = format!("{}/status", options.discovery_prefix);
        Self {
            state: of_device("state"),
            event: of_device("event"),
            availability: of_device("availability"),
            labels_result: of_device("labels/result"),
            snapshot: of_device("snapshot"),
            labels_set: [of_device("labels/set")].into_iter().chain(groups).collect(),
            home_status: options.discovery.then_some(status),
            node: format!("edgeclip_{}", slug::unique(device)),
            discovery_prefix: options.discovery_prefix.clone(),
        }
    }

    /// Where Home Assistant looks for the configuration of an entity.
    pub(super) fn config(&self, component: &str, object: &str) -> String {
        format!("{}/{component}/{}/{object}/config", self.discovery_prefix, self.node)
    }

    /// Filter of all our configurations: those of labels that are no more must go.
    pub(super) fn configs(&self) -> String {
        self.config("+", "+")
    }

    /// Whether [`configs`](Self::configs) stands for this topic.
    pub(super) fn is_config(&self, topic: &str) -> bool {
        let rest = topic.strip_prefix(&self.discovery_prefix);
        let mut levels = rest.and_then(|rest| rest.strip_prefix('/')).unwrap_or("").split('/');
        let ours = levels.nth(1) == Some(&self.node);
        ours && levels.nth(1) == Some("config") && levels.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, Topics};

    #[test]
    fn topics_of_a_device_and_its_groups() {
        let groups = vec!["floor 1".to_owned()];
        let topics = Topics::new(&Options { groups, ..Options::default() }, "Hall");
        assert_eq!(topics.state, "edgeclip/Hall/state");
        let sets = ["edgeclip/Hall/labels/set", "edgeclip/group/floor 1/labels/set"];
        assert_eq!(topics.labels_set, sets);
        assert!(topics.node.starts_with("edgeclip_hall_"), "{}", topics.node);
        assert!(topics.is_config(&topics.config("binary_sensor", "label_cat")));
        assert!(topics.is_config(&topics.config("image", "snapshot")));
        assert!(!topics.is_config(&topics.config("binary_sensor", "a/b")));
        assert!(!topics.is_config("homeassistant/binary_sensor/edgeclip_other/a/config"));
        assert!(!topics.is_config("homeassistant/status"));
    }
}
