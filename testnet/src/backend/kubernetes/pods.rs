//! What a cluster says of pods.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::BackendError;
use super::command::Cluster;
use super::objects::CONTAINER;

/// What keeps a container from starting that waiting does not mend.
const HOPELESS: [&str; 6] = [
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CrashLoopBackOff",
];

/// A pod.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    name: String,
    uid: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<Container>,
    container_statuses: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    status: String,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    #[serde(rename = "imageID")]
    image_id: String,
    restart_count: u64,
    state: State,
    last_state: State,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Waiting>,
    running: Option<serde::de::IgnoredAny>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    exit_code: i32,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Pod>,
}

/// The pods that bear a label, by name.
pub(super) async fn list(
    cluster: &Cluster,
    label: &str,
) -> Result<BTreeMap<String, Pod>, BackendError> {
    let get = ["get", "pods", "--selector", label, "--output", "json"];
    let text = cluster.kubectl(&get).await?;
    let List { items } = serde_json::from_str(&text)
        .map_err(|error| BackendError(format!("kubectl get pods: {error}")))?;
    let pods = items.into_iter();
    Ok(pods.map(|pod| (pod.metadata.name.clone(), pod)).collect())
}

impl Pod {
    /// Which of those that had its name it is.
    pub(super) fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// The image of its node, as the machine that it is on knows it.
    pub(super) fn image_id(&self) -> Option<&str> {
        let id = &self.node()?.image_id;
        (!id.is_empty()).then_some(id)
    }

    fn node(&self) -> Option<&Container> {
        let mut containers = self.status.container_statuses.iter();
        containers.find(|container| container.name == CONTAINER)
    }

    /// Whether its node was started, whatever came of it.
    pub(super) fn is_started(&self) -> bool {
        let started = |node: &Container| node.state.running.is_some() || has_ended(node);
        self.node().is_some_and(started)
    }

    /// The exit code of its node that has ended: of that which ended first, whatever the kubelet has made of it since. The inner
    /// one is absent where the cluster does not say it.
    pub(super) fn ended(&self) -> Option<Option<i32>> {
        let node = self.node().filter(|node| has_ended(node))?;
        let ended = match node.restart_count {
            0 => node.state.terminated.as_ref(),
            1 => node.last_state.terminated.as_ref(),
            _ => None,
        };
        Some(ended.map(|ended| ended.exit_code))
    }

    /// What it waits for, for people, and whether waiting is in vain.
    pub(super) fn trouble(&self) -> (String, bool) {
        let status = &self.status;
        let containers = status.init_container_statuses.iter();
        let mut containers = containers.chain(&status.container_statuses);
        if let Some(Waiting { reason, message }) = containers.find_map(|container| {
            let waiting = container.state.waiting.as_ref();
            // What all wait for at first says nothing.
            waiting.filter(|waiting| waiting.reason != "PodInitializing")
        }) {
            let hopeless = HOPELESS.contains(&reason.as_str());
            return (format!("{reason}: {message}"), hopeless);
        }
        let unmet = status.conditions.iter();
        let mut unmet = unmet.filter(|condition| condition.status == "False");
        let message = unmet.find(|condition| !condition.message.is_empty());
        let message = message.map_or("", |condition| condition.message.as_str());
        (format!("{}: {message}", status.phase), false)
    }
}

fn has_ended(node: &Container) -> bool {
    node.restart_count > 0 || node.state.terminated.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(container: Value) -> Pod {
        let mut container = container;
        container["name"] = CONTAINER.into();
        serde_json::from_value(json!({
            "metadata": { "name": "node-1-0", "uid": "u" },
            "status": {
                "phase": "Pending",
                "conditions": [
                    { "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" },
                ],
                "containerStatuses": [container],
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_end_of_a_node_is_seen_whatever_the_kubelet_made_of_it() {
        let runs = pod(json!({ "restartCount": 0, "state": { "running": { "startedAt": "x" } } }));
        assert!(runs.is_started());
        assert_eq!(runs.ended(), None);
        let ended = pod(json!({ "state": { "terminated": { "exitCode": 3 } } }));
        assert_eq!(ended.ended(), Some(Some(3)));
        let again = pod(json!({
            "restartCount": 1,
            "state": { "running": {} },
            "lastState": { "terminated": { "exitCode": 137 } },
        }));
        assert!(again.is_started());
        assert_eq!(again.ended(), Some(Some(137)));
    }

    #[test]
    fn what_a_pod_waits_for_is_told_and_whether_that_is_in_vain() {
        let waiting = |reason: &str| {
            let waiting = json!({ "reason": reason, "message": "why" });
            pod(json!({ "state": { "waiting": waiting } }))
        };
        assert!(!waiting("ContainerCreating").is_started());
        let creating = ("ContainerCreating: why".to_owned(), false);
        assert_eq!(waiting("ContainerCreating").trouble(), creating);
        assert!(waiting("ImagePullBackOff").trouble().1);
        let unscheduled = ("Pending: 0/3 nodes are available".to_owned(), false);
        assert_eq!(pod(json!({})).trouble(), unscheduled);
    }
}
