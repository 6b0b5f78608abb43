//! The objects that a plan comes to, as data that `kubectl apply` takes.

use serde_json::{Value, json};

use super::{BackendError, Member};
use crate::backend::disk;
use crate::backend::docker::{
    ADVERSARY, NODE_LABEL, PEER_PORT, RPC_PORT, RUN_LABEL, STOP_TIMEOUT_S,
};
use crate::plan::{Place, Plan};
use crate::pod;

/// The node's container.
pub(super) const CONTAINER: &str = "node";
/// The node's program, in the image.
const NODE: &str = "/node";
/// The node's volume. Not where images keep theirs.
const VOLUME: &str = "/run/triskel";
/// What is brought to the node's container beside its image.
const TOOLS: &str = "/run/triskel-tools";
/// What the node is told, read-only.
const FILES: &str = "/etc/triskel";
const CONFIG_FILE: &str = "node.toml";
/// Whom all nodes run as, and to whom their volumes belong: the user of the image, whatever another image says.
const OWNER: u32 = 65_532;
const STORAGE: &str = "1Gi";

/// A StatefulSet's name and a digest of its template are a label's value of its pods, which has 63 characters at most.
const MAX_NAME_BYTES: usize = 52;

/// What all objects of a run are called, or begin with. A pod's name has few characters, and a run's id many.
pub(super) fn name(plan: &Plan) -> String {
    let digest = blake3::hash(plan.id.as_bytes()).to_hex();
    format!("triskel-{digest:.8}")
}

/// What the StatefulSet of a node is called.
pub(super) fn node_name(plan: &Plan, node: usize) -> Result<String, BackendError> {
    let name = format!("{}-{}", name(plan), plan.nodes[node].name);
    match name.len() <= MAX_NAME_BYTES {
        true => Ok(name),
        false => Err(BackendError(format!(
            "backend kubernetes: {:?} is too long a name: it may have {} characters",
            plan.nodes[node].name,
            MAX_NAME_BYTES - name.len() + plan.nodes[node].name.len()
        ))),
    }
}

/// The program that is brought to the node's container.
pub(super) fn tool() -> String {
    format!("{TOOLS}/{}", pod::PROGRAM)
}

/// Where a node finds its data.
fn data_dir(member: &Member) -> String {
    format!("{VOLUME}/{}", member.directory)
}

/// What the objects of several members are, together.
pub(super) fn list(items: Vec<Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// The service without an address of its own that gives each pod its name, and whose name stands for all of them: the DNS seed.
pub(super) fn service(plan: &Plan) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name(plan), "labels": { RUN_LABEL: plan.id } },
        "spec": {
            "clusterIP": "None",
            // Or the first would find nobody.
            "publishNotReadyAddresses": true,
            "selector": { RUN_LABEL: plan.id },
            "ports": [{ "name": "peers", "port": PEER_PORT }],
        },
    })
}

/// What a node is to find when it starts next, and the node itself.
pub(super) fn node(
    plan: &Plan,
    node: usize,
    member: &Member,
    image: &str,
    replicas: u64,
) -> [Value; 2] {
    let mut files = json!({
        CONFIG_FILE: plan.node_toml(node, &place(plan, node, member)),
        disk::KEY_FILE: disk::key(plan, node),
    });
    if let Some(conditions) = &member.conditions {
        files[disk::CONDITIONS_FILE] = json!(conditions);
    }
    let labels = json!({ RUN_LABEL: plan.id, NODE_LABEL: plan.nodes[node].name });
    // One for each start, for a kubelet may know yesterday's for a moment longer.
    let secret = format!("{}-{}", member.name, member.starts);
    let template = json!({
        "metadata": { "labels": labels },
        "spec": pod(plan, node, member, image, &secret),
    });
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": secret, "labels": labels },
        "immutable": true,
        "stringData": files,
    });
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": member.name, "labels": labels },
        "spec": {
            "serviceName": name(plan),
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            // A pod that runs is never replaced, and one that is made is of the newest template.
            "updateStrategy": { "type": "OnDelete" },
            "selector": { "matchLabels": labels },
            "template": template,
            "volumeClaimTemplates": [{
                "metadata": { "name": "data", "labels": labels },
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": { "requests": { "storage": STORAGE } },
                },
            }],
        },
    });
    [secret, set]
}

fn pod(plan: &Plan, node: usize, member: &Member, image: &str, secret: &str) -> Value {
    let role = plan.nodes[node].role;
    let tool = tool();
    let data = data_dir(member);
    let mut command = vec![tool, "pod".to_owned(), "start".to_owned()];
    command.extend(["--into".to_owned(), data.clone()]);
    let conditions = member.conditions.as_ref().map(|_| disk::CONDITIONS_FILE);
    for file in [disk::KEY_FILE].into_iter().chain(conditions) {
        command.extend(["--file".to_owned(), format!("{FILES}/{file}")]);
    }
    command.push("--".to_owned());
    match role.is_honest() {
        true => command.push(NODE.to_owned()),
        false => command.extend([ADVERSARY, role.name()].map(str::to_owned)),
    }
    let config = format!("{FILES}/{CONFIG_FILE}");
    command.extend(["daemon".to_owned(), "--config".to_owned(), config]);
    let confined = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    let tools = json!({ "name": "tools", "mountPath": TOOLS });
    json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": STOP_TIMEOUT_S.parse::<u64>().unwrap_or_default(),
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": OWNER,
            "runAsGroup": OWNER,
            // The volume is the node's to write.
            "fsGroup": OWNER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "initContainers": [{
            "name": "tools",
            "image": image,
            "command": [format!("/{}", pod::PROGRAM), "pod", "prepare", TOOLS],
            "securityContext": confined,
            "volumeMounts": [tools],
        }],
        // Without probes: a node that stands still would be ended for it.
        "containers": [{
            "name": CONTAINER,
            "image": member.image,
            "command": command,
            // The image may set it, and the environment goes before the file.
            "env": [{ "name": "TRISKEL__DATA_DIR", "value": data }],
            "ports": [
                { "name": "peers", "containerPort": PEER_PORT },
                { "name": "rpc", "containerPort": RPC_PORT },
            ],
            "securityContext": confined,
            "volumeMounts": [
                { "name": "data", "mountPath": VOLUME },
                { "name": "files", "mountPath": FILES, "readOnly": true },
                tools,
            ],
        }],
        "volumes": [
            { "name": "files", "secret": { "secretName": secret } },
            { "name": "tools", "emptyDir": {} },
        ],
    })
}

fn place(plan: &Plan, node: usize, member: &Member) -> Place {
    let anywhere = std::net::Ipv4Addr::UNSPECIFIED.to_string();
    let run = name(plan);
    // The only pod of a node's own set, in the run's service.
    let pod = |other: usize| {
        let name = &plan.nodes[other].name;
        format!("{run}-{name}-0.{run}:{PEER_PORT}")
    };
    let dials = plan.nodes[node].dials.iter();
    Place {
        listen: anywhere.clone(),
        port: PEER_PORT,
        peers: dials.map(|&other| pod(other)).collect(),
        seeds: vec![format!("{run}:{PEER_PORT}")],
        data_dir: data_dir(member),
        rpc_listen: anywhere,
        rpc_port: RPC_PORT,
    }
}
