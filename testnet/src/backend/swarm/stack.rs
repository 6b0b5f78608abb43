//! The stack that a plan comes to: a file that `docker stack deploy` takes, in the run's directory.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::machine::Machine;
use super::{BackendError, Service, volume};
use crate::backend::docker::{
    ADVERSARY, CONFIG, NODE_LABEL, PEER_PORT, RPC_PORT, RUN_LABEL, SEED, STOP_TIMEOUT_S,
};
use crate::plan::{Place, Plan};

const FILE: &str = "stack.json";

/// What the stack is called, and what the names of all that belongs to it begin with.
pub(super) fn name(plan: &Plan) -> String {
    format!("triskel-{}", plan.id)
}

/// Where a node finds its data.
pub(super) fn data_dir(service: &Service) -> String {
    format!("{}/{}", volume::MOUNT, service.directory)
}

/// Writes stack and configurations. Gives the file's path. JSON is YAML.
pub(super) fn write(
    plan: &Plan,
    services: &[Service],
    machines: &[Machine],
    image: &str,
) -> Result<String, BackendError> {
    let failed = |error| BackendError(format!("backend swarm: {FILE}: {error}"));
    for (node, service) in services.iter().enumerate() {
        let directory = plan.node_directory(node);
        let text = plan.node_toml(node, &place(plan, node, service));
        std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(directory.join("node.toml"), text))
            .map_err(failed)?;
    }
    let stack = stack(plan, services, machines, image);
    let file = plan.home.join(FILE);
    std::fs::write(&file, format!("{stack:#}\n")).map_err(failed)?;
    Ok(file.display().to_string())
}

fn stack(plan: &Plan, services: &[Service], machines: &[Machine], image: &str) -> Value {
    let labels = json!({ RUN_LABEL: plan.id });
    let mut all = BTreeMap::new();
    let mut configs = BTreeMap::new();
    let mut volumes = BTreeMap::new();
    for (node, service) in services.iter().enumerate() {
        let name = &plan.nodes[node].name;
        let machine = &machines[service.machine];
        all.insert(name, self::service(plan, node, service, machine, image));
        let file = plan.node_directory(node).join("node.toml");
        configs.insert(name, json!({ "file": file, "labels": labels }));
        let volume = volume::Volume::of(plan, node, image).name;
        volumes.insert(name, json!({ "external": true, "name": volume }));
    }
    json!({
        "version": "3.8",
        "services": all,
        "configs": configs,
        "volumes": volumes,
        // The swarm chooses the subnet: a fixed one collides with other runs.
        "networks": { "peers": { "driver": "overlay", "labels": labels } },
    })
}

fn service(plan: &Plan, node: usize, service: &Service, machine: &Machine, image: &str) -> Value {
    let planned = &plan.nodes[node];
    let name = &planned.name;
    let mut value = json!({
        "image": planned.image.as_deref().unwrap_or(image),
        "hostname": name,
        "command": ["daemon", "--config", CONFIG],
        // The image may set it, and the environment goes before the file.
        "environment": { "TRISKEL__DATA_DIR": data_dir(service) },
        "networks": { "peers": { "aliases": [name, SEED] } },
        // On the node's machine alone: a port of the whole swarm needs IPVS, and would not know one node from another.
        "ports": [{ "target": RPC_PORT, "published": service.port, "protocol": "tcp", "mode": "host" }],
        "configs": [{ "source": name, "target": CONFIG }],
        "volumes": [{ "type": "volume", "source": name, "target": volume::MOUNT }],
        "user": volume::OWNER_TEXT,
        "read_only": true,
        "cap_drop": ["ALL"],
        // A node that stands still would be ended for it.
        "healthcheck": { "disable": true },
        "stop_grace_period": format!("{STOP_TIMEOUT_S}s"),
        "labels": { RUN_LABEL: plan.id, NODE_LABEL: name },
        "deploy": {
            "replicas": u64::from(!planned.joins_later),
            "endpoint_mode": "dnsrr",
            "labels": { RUN_LABEL: plan.id },
            "placement": { "constraints": [format!("node.id == {}", machine.id)] },
            // What a fault ends stays ended, and one that ends by itself is seen.
            "restart_policy": { "condition": "none" },
            "update_config": { "failure_action": "continue" },
        },
    });
    if !planned.role.is_honest() {
        value["entrypoint"] = json!([ADVERSARY, planned.role.name()]);
    }
    value
}

fn place(plan: &Plan, node: usize, service: &Service) -> Place {
    let anywhere = std::net::Ipv4Addr::UNSPECIFIED.to_string();
    // The address of the task itself, where a service's own name may stand for a virtual one.
    let tasks = |name: &str| format!("tasks.{name}:{PEER_PORT}");
    let dials = plan.nodes[node].dials.iter();
    Place {
        listen: anywhere.clone(),
        port: PEER_PORT,
        peers: dials.map(|&other| tasks(&plan.nodes[other].name)).collect(),
        seeds: vec![tasks(SEED)],
        data_dir: data_dir(service),
        rpc_listen: anywhere,
        rpc_port: RPC_PORT,
    }
}
