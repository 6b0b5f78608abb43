//! Starts all nodes, and waits until each answers and has a peer.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Failure, Run, Step};
use crate::network::Network;
use crate::report::ranges;
use crate::verdict::NodeState;

/// Between the choice of a port and its use another program may take it. Three times in a row is no accident.
const ATTEMPTS: usize = 3;

/// Starts all nodes, and waits until each answers and has a peer.
pub async fn start(run: &mut Run) -> Result<(), Failure> {
    let count = run.plan.nodes.len();
    for attempt in 1.. {
        run.progress.show(&format!("starting {count} nodes"));
        run.network = Network::new(run.backend.start(&run.plan).await?);
        let absent = run.engine.absent();
        run.network.set_absent(absent.clone());
        run.journal.follow(&run.network);
        let within = run.plan.scenario.verdict.start_within;
        let left_out = run.left_out();
        match run
            .until(within, |states| judge(states, &absent, &left_out))
            .await
        {
            Ok(()) => break,
            Err(failure) => match port_in_use(run).await {
                Some(node) if attempt < ATTEMPTS => {
                    let details = json!({ "node": run.plan.nodes[node].name });
                    run.journal.event("port_in_use", details);
                    run.backend.cleanup().await;
                }
                Some(_) => return Err(Failure::Environment(failure.to_string())),
                None => return Err(failure),
            },
        }
    }
    run.journal.event("all_answer", json!({ "nodes": count }));
    Ok(())
}

async fn port_in_use(run: &mut Run) -> Option<usize> {
    for node in 0..run.plan.nodes.len() {
        let access = run.network.access(node).clone();
        if run
            .backend
            .ended(&access, node)
            .await
            .is_some_and(|ended| ended.port_in_use())
        {
            return Some(node);
        }
    }
    None
}

/// Those that are to start later are not waited for. Whoever breaks the rules need not have a peer.
fn judge(
    states: &[Option<NodeState>],
    absent: &BTreeSet<usize>,
    left_out: &BTreeSet<usize>,
) -> Step {
    let nodes = states.len();
    let wanted_peers = u32::from(nodes > 1);
    let is_silent = |&node: &usize| states[node].is_none() && !absent.contains(&node);
    let silent: Vec<_> = (0..nodes).filter(is_silent).collect();
    let lonely = |&node: &usize| {
        !left_out.contains(&node)
            && states[node]
                .as_ref()
                .is_some_and(|state| state.peers < wanted_peers)
    };
    let lonely: Vec<_> = (0..nodes).filter(lonely).collect();
    let (phrase, missing) = match (silent.is_empty(), lonely.is_empty()) {
        (true, true) => return Step::Done,
        (false, _) => ("answer", silent),
        (true, false) => ("have a peer", lonely),
    };
    let there = nodes - missing.len();
    let missing = ranges(&missing);
    Step::Waiting(format!(
        "waiting for every node to {phrase}: {there}/{nodes} do, missing {missing}"
    ))
}
