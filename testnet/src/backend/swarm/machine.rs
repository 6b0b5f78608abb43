//! The machines of a swarm: engines, and what is on them.

use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::{BackendError, INTERVAL};
use crate::backend::docker::command::Engine;
use crate::progress::Progress;

/// An engine that is there answers at once; one behind a dead host never does, and one behind ssh takes its time.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(20);

/// An engine of a swarm.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) engine: Engine,
    /// Its host name.
    pub(super) name: String,
    /// What the swarm calls it.
    pub(super) id: String,
    /// Where it is reached, by the swarm and from here.
    pub(super) address: IpAddr,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Swarm")]
    swarm: Membership,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Membership {
    #[serde(rename = "NodeID")]
    node_id: String,
    node_addr: String,
    local_node_state: String,
    control_available: bool,
}

/// Asks engines what they are in a swarm. Gives the index of the first manager too.
pub(super) async fn find(engines: Vec<Engine>) -> Result<(Vec<Machine>, usize), BackendError> {
    let mut machines = Vec::new();
    let mut manager = None;
    for engine in engines {
        let shown = match engine.name() {
            "" => "the engine that docker talks to".to_owned(),
            name => format!("engine {name}"),
        };
        let wrong = |why: &str| BackendError(format!("backend swarm: {shown} {why}"));
        let ask = engine.docker(&["info", "--format", "{{json .}}"]);
        let answer = tokio::time::timeout(ENGINE_TIMEOUT, ask).await;
        let answer = answer.map_err(|_| wrong("does not answer"))??;
        let info: Info =
            serde_json::from_str(&answer).map_err(|error| wrong(&format!("answers: {error}")))?;
        let Membership {
            node_id,
            node_addr,
            local_node_state,
            control_available,
        } = info.swarm;
        if local_node_state != "active" {
            return Err(wrong(
                "is of no swarm: `docker swarm init` makes one, `docker swarm join` takes it into one",
            ));
        }
        let address = node_addr.parse();
        let address = address.map_err(|_| wrong(&format!("is at no address: {node_addr:?}")))?;
        if control_available {
            manager.get_or_insert(machines.len());
        }
        machines.push(Machine {
            engine,
            name: info.name,
            id: node_id,
            address,
        });
    }
    let manager = manager.ok_or_else(|| {
        BackendError(
            "backend swarm: none of the engines is a manager: name one with --engine".to_owned(),
        )
    })?;
    let list = ["node", "ls", "--format", "{{.ID}}"];
    let known = machines[manager].engine.docker(&list).await?;
    for machine in &machines {
        let name = &machine.name;
        if !known.lines().any(|id| id == machine.id) {
            let other = &machines[manager].name;
            return Err(BackendError(format!(
                "backend swarm: {name} is not of the swarm of {other}"
            )));
        }
        if machines
            .iter()
            .filter(|other| other.id == machine.id)
            .count()
            > 1
        {
            return Err(BackendError(format!(
                "backend swarm: {name} is named twice by --engine"
            )));
        }
    }
    Ok((machines, manager))
}

impl Machine {
    /// Waits until the engine answers, and a manager takes it for ready.
    pub(super) async fn ready(
        &self,
        manager: &Engine,
        within: Duration,
    ) -> Result<(), BackendError> {
        let deadline = Instant::now() + within;
        let inspect = ["node", "inspect", "--format", "{{.Status.State}}", &self.id];
        while Instant::now() < deadline {
            let answers = self
                .engine
                .docker(&["version", "--format", "{{.Server.Version}}"]);
            let answers = tokio::time::timeout(ENGINE_TIMEOUT, answers).await;
            if let Ok(Ok(_)) = answers
                && manager
                    .docker(&inspect)
                    .await
                    .is_ok_and(|state| state == "ready")
            {
                return Ok(());
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Err(BackendError(format!(
            "backend swarm: {} does not come back within {} s",
            self.name,
            within.as_secs()
        )))
    }
}

/// Sees that an image is on all machines, the same on each: from one that has it, from the default engine, or from a registry.
pub(super) async fn distribute(
    machines: &[Machine],
    image: &str,
    progress: &mut Progress,
) -> Result<(), BackendError> {
    let id = async |engine: &Engine| {
        let inspect = ["image", "inspect", "--format", "{{.Id}}", image];
        engine.docker(&inspect).await.ok()
    };
    let engines = machines.iter().map(|machine| machine.engine.clone());
    let engines: Vec<_> = engines.collect();
    // What was just built is at the default engine.
    let mut source = id(&Engine::default())
        .await
        .map(|id| (Engine::default(), id));
    for engine in &engines {
        if source.is_none() {
            source = id(engine).await.map(|id| (engine.clone(), id));
        }
    }
    for machine in machines {
        let there = id(&machine.engine).await;
        match &source {
            Some((_, wanted)) if there.as_ref() == Some(wanted) => {}
            Some((from, _)) => {
                progress.show(&format!("copying image {image} to {}", machine.name));
                transfer(from, &machine.engine, image).await?;
            }
            None => {
                progress.show(&format!("pulling image {image} on {}", machine.name));
                machine.engine.docker(&["pull", "--quiet", image]).await?;
            }
        }
    }
    progress.clear();
    Ok(())
}

async fn transfer(from: &Engine, to: &Engine, image: &str) -> Result<(), BackendError> {
    let failed = |error| BackendError(format!("docker: image {image}: {error}"));
    let mut save = from.command(&["save", image]);
    let save = save.stdout(Stdio::piped()).kill_on_drop(true);
    let mut save = save.spawn().map_err(failed)?;
    let archive = save.stdout.take().expect("it is piped");
    let archive: Stdio = archive.try_into().map_err(failed)?;
    let mut load = to.command(&["load", "--quiet"]);
    let loaded = load.stdin(archive).output().await.map_err(failed)?;
    let saved = save.wait().await.map_err(failed)?;
    match saved.success() && loaded.status.success() {
        true => Ok(()),
        false => Err(BackendError(format!(
            "docker: image {image} cannot be copied: {}",
            String::from_utf8_lossy(&loaded.stderr).trim()
        ))),
    }
}

/// Whether nothing is wrong but that somebody else listens where a node was to.
pub(super) fn port_is_taken(error: &BackendError) -> bool {
    let said = [
        "port is already allocated",
        "address already in use",
        "port already in use",
    ];
    said.iter().any(|text| error.0.contains(text))
}
