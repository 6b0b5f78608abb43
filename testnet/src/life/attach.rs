//! The flag `run --attach`: what a scenario does to a network, and what it demands, with a network that is up.
//!
//! Nodes, graph and links are the network's; faults, checks and the verdict's terms the scenario's. The evidence is a run's, in a
//! directory of its own. However the run ends, the network is well and mines afterwards.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use serde_json::json;

use super::LifeError;
use super::home::Home;
use super::open::Living;
use super::show::say;
use crate::backend;
use crate::cli::RunOptions;
use crate::evidence::record::Files;
use crate::journal::Journal;
use crate::network::Network;
use crate::plan::{Plan, new_run_id};
use crate::report::counted;
use crate::run::{self, Exit, Outcome, Signals};
use crate::scenario::{Capability, Loaded, Scenario};
use crate::stage::Run;

/// What is told of a network whose logs nobody copies while it stays up.
const OF_LOGS: [Capability; 4] = [
    Capability::Log,
    Capability::Invariant("no_panic"),
    Capability::Invariant("no_invalid_block"),
    Capability::Invariant("no_honest_penalty"),
];

/// Performs a scenario on a network that is up, and gives a verdict.
///
/// # Errors
///
/// The scenario makes no sense there, the network is not well to begin with, or cannot be made so again.
pub async fn run(home: &Home, options: &RunOptions) -> Result<Exit, LifeError> {
    let mut signals = Signals::listen();
    let asked = options.attach.as_ref().and_then(Option::as_deref);
    let name = home.which(asked)?;
    let loaded = options.what.load()?;
    let mut living = Living::open(home, &name).await?;
    living.demand_up()?;
    demand_well(&living)?;
    refuse(&living, &loaded)?;
    let plan = plan(&living, &loaded, &options.runs)?;
    // Whoever opens the network next makes it well, if this program does not come to it.
    living.state.attached = true;
    living.save()?;
    let logs = begin(&mut living, plan, options.json).await?;
    let run = &mut living.run;
    let outcome = tokio::select! {
        outcome = run::outcome(run, Run::work) => outcome,
        () = signals.next() => Outcome::Interrupted,
    };
    run.progress.clear();
    let exit = match outcome {
        Outcome::Interrupted => {
            eprintln!("interrupted: healing the network");
            run.journal.event("interrupted", json!({}));
            Exit::Interrupted
        }
        outcome => {
            take_logs(&run.plan, &logs)?;
            let reason = format!("attached to network {name}");
            run::finish(run, reason, &outcome, options).await.0
        }
    };
    run.heal_all().await;
    drop(living);
    // It is marked, and so it is made well.
    Living::open(home, &name).await?;
    eprintln!("network {name} is well, and mines");
    Ok(exit)
}

/// Refuses a network with faults, or without nodes that it should have: the verdict would be about them.
fn demand_well(living: &Living) -> Result<(), LifeError> {
    let name = &living.state.name;
    if !living.state.faults.is_empty() {
        let count = counted(living.state.faults.len(), "fault");
        return Err(LifeError::Usage(format!(
            "testnet: network {name} has {count} already: `testnet heal --network {name}` ends them, and a clock that has jumped \
             needs a network that is made anew"
        )));
    }
    match living.lost.is_empty() {
        true => Ok(()),
        false => Err(LifeError::Usage(format!(
            "testnet: nodes of network {name} have ended: `testnet up --network {name}` starts them again"
        ))),
    }
}

/// Refuses what the network's backend cannot do. Who is there, how they are connected and what they are handed is not the
/// scenario's.
fn refuse(living: &Living, loaded: &Loaded) -> Result<(), LifeError> {
    let mut asked = loaded.clone();
    let Scenario {
        transfers, load, ..
    } = &asked.scenario;
    let parts = [
        (*transfers as usize, "transfer"),
        (load.len(), "source of load"),
    ];
    for (count, noun) in parts.into_iter().filter(|(count, _)| *count > 0) {
        eprintln!(
            "left out: {}: genesis endows nobody for them",
            counted(count, noun)
        );
    }
    asked.scenario = Scenario {
        nodes: 1,
        groups: Vec::new(),
        links: Default::default(),
        load: Vec::new(),
        machines: None,
        ..asked.scenario
    };
    let mut able = backend::capabilities(&living.state.backend);
    if living.state.backend == "docker" {
        OF_LOGS.iter().for_each(|of_logs| {
            able.remove(of_logs);
        });
    }
    let missing = asked.missing(&living.state.backend, &able);
    let texts: Vec<_> = missing.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => Ok(()),
        false => Err(LifeError::Environment(texts.join("\n"))),
    }
}

/// The network's plan, with what the scenario does and demands.
fn plan(living: &Living, loaded: &Loaded, runs: &Path) -> Result<Plan, LifeError> {
    let state = &living.state;
    let mut plan = state.plan(&living.directory)?;
    let asked = loaded.scenario.clone();
    let expanded = asked.expand_upon(&state.scenario, &state.nodes, &state.edges)?;
    plan.scenario = expanded.scenario;
    plan.faults = expanded.faults;
    plan.layers.clone_from(&loaded.layers);
    plan.program = living.run.backend.program();
    plan.directory = std::path::absolute(runs)?.join(new_run_id());
    Ok(plan)
}

/// Makes a run of the network's nodes. What they have logged until now is not its own: gives where that ends.
async fn begin(living: &mut Living, plan: Plan, json: bool) -> Result<Vec<u64>, LifeError> {
    let (name, backend) = (&living.state.name, &living.state.backend);
    let reason = format!("attached to network {name}");
    let first = format!("backend: {backend} ({reason})");
    let second = format!(
        "{}, seed {}; evidence in {}",
        plan.scenario.summary(),
        plan.scenario.seed.unwrap_or_default(),
        plan.directory.display()
    );
    match json {
        true => eprintln!("{first}\n{second}\n"),
        false => say(&format!("{first}\n{second}\n")),
    }
    let mut journal = Journal::create(&plan, backend, &reason)?;
    let details = json!({ "run": plan.id, "network": name, "reason": reason });
    journal.event("run_started", details);
    let nodes = living.run.network.nodes().to_vec();
    let run = &mut living.run;
    run.attach(plan, journal, Network::new(nodes)).await;
    let size = |node| std::fs::metadata(run.plan.node_log(node)).map_or(0, |log| log.len());
    let logs: Vec<_> = (0..run.plan.nodes.len()).map(size).collect();
    for (node, end) in logs.iter().enumerate() {
        run.readings.logs.skip_to(node, *end);
    }
    Ok(logs)
}

/// Copies what nodes have logged since to the run's directory, where evidence is looked for.
fn take_logs(plan: &Plan, logs: &[u64]) -> std::io::Result<()> {
    for (node, begin) in logs.iter().enumerate() {
        let Ok(mut log) = File::open(plan.node_log(node)) else {
            continue;
        };
        log.seek(SeekFrom::Start(*begin))?;
        let directory = plan.directory.join(&plan.nodes[node].name);
        std::fs::create_dir_all(&directory)?;
        std::io::copy(&mut log, &mut File::create(directory.join(Files::LOG))?)?;
    }
    Ok(())
}
