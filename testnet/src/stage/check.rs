//! Stops mining, and sees whether all nodes end on one tip with one state and every transfer in it.

use std::collections::BTreeSet;

use serde_json::json;

use super::load::Load;
use super::observe::located;
use super::open_load::OpenLoad;
use super::wait::is_drained;
use super::{Failure, Run, Step};
use crate::network::TransactionState;
use crate::verdict::{Agreement, NodeState};

/// Stops mining everywhere, waits until all nodes agree, and takes the time.
pub async fn converge(run: &mut Run) -> Result<(), Failure> {
    let answers = run
        .network
        .each(|_, access| async move { access.stop_mining().await });
    let answers = answers.await;
    run.demand("stop mining", &answers)?;
    let stopped = run.network.now();
    run.journal.event("mining_stopped", json!({}));
    let within = run.plan.scenario.verdict.convergence_within;
    let left_out = run.left_out();
    run.until(within, |states| judge(states, &left_out)).await?;
    let now = run.network.now();
    let settlement = now - stopped;
    let reunion = run.engine.healed_at().zip(run.reunited);
    let convergence = reunion.map_or(settlement, |(healed, reunited)| reunited - healed);
    run.convergence.get_or_insert(convergence);
    run.settlement.get_or_insert(settlement);
    let details = json!({
        "convergence_us": convergence.as_micros() as u64,
        "settlement_us": settlement.as_micros() as u64,
    });
    run.journal.event("converged", details);
    Ok(())
}

/// Whether every transfer is applied on every node, asked one by one, while all nodes still agree. The load is counted: nobody else
/// sends transfers in a run's network.
pub async fn verify(run: &mut Run, load: &Load, open_load: &OpenLoad) -> Result<bool, Failure> {
    let nodes = run.plan.nodes.len();
    run.progress.show(&format!(
        "asking {nodes} nodes for {} transfers each",
        load.ids.len()
    ));
    let answers = run
        .network
        .each(|_, access| {
            let ids = load.ids.clone();
            async move {
                let mut applied = Vec::with_capacity(ids.len());
                for id in ids {
                    applied.push(access.transaction(id).await == Ok(TransactionState::Applied));
                }
                applied
            }
        })
        .await;
    let left_out = run.left_out();
    let everywhere = (0..load.ids.len()).filter(|&index| {
        let mut nodes = answers.iter().enumerate();
        nodes.all(|(node, applied)| applied[index] || left_out.contains(&node))
    });
    run.transfers.applied = everywhere.count() as u64;
    located(run, &load.ids).await;
    located(run, &open_load.ids).await;
    run.ask().await?;
    let present = run.present();
    let applied = present
        .iter()
        .flatten()
        .map(|state| state.transactions)
        .min();
    let others = applied
        .unwrap_or_default()
        .saturating_sub(run.transfers.applied);
    run.load.applied = others.min(run.load.accepted);
    let is_drained = is_drained(&present, run.transfers.applied + run.load.accepted);
    match judge(&run.states, &left_out) {
        Step::Done => Ok(run.transfers.applied == run.transfers.wanted && is_drained),
        // What somebody has kept back may come at any time: they have to agree on that as well.
        Step::Waiting(_) if run.plan.nodes.iter().any(|node| !node.role.is_honest()) => {
            converge(run).await?;
            Box::pin(verify(run, load, open_load)).await
        }
        Step::Waiting(_) => Err(Failure::Verdict(format!(
            "the nodes agreed, and then not any more: {}",
            Agreement::among(&run.states, &left_out).summary()
        ))),
    }
}

fn judge(states: &[Option<NodeState>], left_out: &BTreeSet<usize>) -> Step {
    let agreement = Agreement::among(states, left_out);
    let judged = states.iter().enumerate();
    let judged = judged.filter(|(node, _)| !left_out.contains(node));
    let mining = judged.filter_map(|(_, state)| state.as_ref());
    let mining = mining.filter(|state| state.mining).count();
    if agreement.holds() && mining == 0 {
        return Step::Done;
    }
    let mining = match mining {
        0 => String::new(),
        mining => format!(", {mining} still mining"),
    };
    Step::Waiting(format!(
        "waiting for {} nodes to agree: {}{mining}",
        states.len() - left_out.len(),
        agreement.summary()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::state;

    #[test]
    fn a_node_that_still_mines_may_change_its_mind() {
        let mut states = [state(9, 1, 1), state(9, 1, 1)];
        assert_eq!(judge(&states, &BTreeSet::new()), Step::Done);
        states[1].as_mut().unwrap().mining = true;
        let text = "waiting for 2 nodes to agree: all on one tip, 1 still mining";
        assert_eq!(
            judge(&states, &BTreeSet::new()),
            Step::Waiting(text.to_owned())
        );
    }
}
