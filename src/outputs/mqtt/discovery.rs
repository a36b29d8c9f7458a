//! What Home Assistant is told of a device: one retained configuration for each entity, as its MQTT
//! integration asks for them (<https://www.home-assistant.io/integrations/mqtt>). Names of labels stand
//! in JSON strings only, never in a topic or template.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::state::TEXT_MAX;
use super::topics::Topics;
use crate::outputs::slug;

/// Labels that get a sensor of their own at most.
pub(super) const SENSORS_MAX: usize = 200;

/// Topics and payloads of all entities of a device with these labels.
pub(super) fn configs(
    topics: &Topics,
    device: &str,
    labels: &[String],
    pictures: bool,
) -> BTreeMap<String, Vec<u8>> {
    let mut configs = BTreeMap::new();
    let mut add = |component: &str, object: &str, config: Value| {
        let config = complete(config, topics, device, object);
        configs.insert(topics.config(component, object), config.to_string().into_bytes());
    };
    add(
        "sensor",
        "label",
        json!({
            "name": "Label",
            "icon": "mdi:eye",
            "state_topic": topics.state,
            "value_template": format!("{{{{ value_json.label[:{TEXT_MAX}] }}}}"),
        }),
    );
    add(
        "sensor",
        "score",
        json!({
            "name": "Score",
            "icon": "mdi:percent",
            "state_topic": topics.state,
            "value_template": "{{ (value_json.score * 100) | round(0) }}",
            "unit_of_measurement": "%",
            "state_class": "measurement",
        }),
    );
    add(
        "text",
        "labels",
        json!({
            "name": "Labels",
            "icon": "mdi:tag-multiple",
            "state_topic": topics.state,
            "value_template": "{{ value_json.label_list }}",
            "command_topic": topics.labels_set[0],
            "min": 0,
            "max": TEXT_MAX,
        }),
    );
    if pictures {
        let image = json!({
            "name": "Snapshot",
            "image_topic": topics.snapshot,
            "content_type": "image/jpeg",
        });
        add("image", "snapshot", image);
    }
    for label in labels.iter().take(SENSORS_MAX) {
        let id = slug::unique(label);
        let template = format!("{{{{ 'ON' if '{id}' in value_json.on else 'OFF' }}}}");
        let sensor = json!({
            "name": label,
            "state_topic": topics.state,
            "value_template": template,
            "payload_on": "ON",
            "payload_off": "OFF",
        });
        add("binary_sensor", &format!("label_{id}"), sensor);
    }
    configs
}

/// Adds what every entity has.
fn complete(mut config: Value, topics: &Topics, device: &str, object: &str) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let shared = json!({
        "unique_id": format!("{}_{object}", topics.node),
        "availability_topic": topics.availability,
        "device": {
            "identifiers": [topics.node],
            "name": device,
            "manufacturer": "edgeclip",
            "model": "edgeclip",
            "sw_version": version,
        },
        "origin": { "name": "edgeclip", "sw_version": version },
    });
    if let (Value::Object(config), Value::Object(shared)) = (&mut config, shared) {
        config.extend(shared);
    }
    config
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{SENSORS_MAX, Topics, configs};
    use crate::outputs::mqtt::Options;

    #[test]
    fn names_of_labels_reach_no_topic_and_no_template() {
        let topics = Topics::new(&Options::default(), "hall");
        let evil = ["'}}{{ evil", "+/#", "a/b/config", "\0", "猫"].map(str::to_owned);
        let configs = configs(&topics, "hall", &evil, true);
        assert_eq!(configs.len(), 4 + evil.len());
        let mut ids = BTreeSet::new();
        for (topic, payload) in &configs {
            assert_eq!(topic.split('/').count(), 5, "{topic}");
            assert!(
                topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_".contains(&byte))
            );
            let config: serde_json::Value = serde_json::from_slice(payload).unwrap();
            assert!(ids.insert(config["unique_id"].as_str().unwrap().to_owned()));
            if topic.contains("/label_") {
                assert!(evil.iter().any(|label| config["name"] == **label));
                let template = config["value_template"].as_str().unwrap();
                assert_eq!(template.matches("{{").count(), 1, "{template}");
                assert!(!template.contains("evil }}"), "{template}");
            }
        }
    }

    #[test]
    fn sensors_are_limited_and_the_picture_is_there_only_where_pictures_are() {
        let topics = Topics::new(&Options::default(), "hall");
        let labels: Vec<_> = (0..1000).map(|number| format!("label{number}")).collect();
        assert_eq!(configs(&topics, "hall", &labels, false).len(), 3 + SENSORS_MAX);
    }
}
