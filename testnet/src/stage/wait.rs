//! Mines on all nodes until each has the blocks and all transfers, and the scenario's time is over.

use serde_json::json;

use super::load::Load;
use super::open_load::OpenLoad;
use super::{Failure, Run, Step};
use crate::scenario::Span;
use crate::verdict::NodeState;

/// Mines on all nodes until each has the blocks and all transfers, which are handed in meanwhile, and for as long as the
/// scenario says at least.
pub async fn until_blocks(
    run: &mut Run,
    load: &mut Load,
    open_load: &mut OpenLoad,
) -> Result<(), Failure> {
    let answers = run
        .network
        .each(|_, access| async move { access.start_mining().await });
    let answers = answers.await;
    run.demand("start mining", &answers)?;
    run.journal.event("mining_started", json!({}));
    let begin = run.network.now();
    run.engine.begin(begin);
    // What is hurt from the beginning is so when the first transfer comes.
    run.ask().await?;
    run.advance_faults().await?;
    open_load.begin(run);
    let scenario = &run.plan.scenario;
    let (blocks, transfers) = (scenario.blocks, scenario.transfers);
    let within = scenario.verdict.blocks_within.unwrap_or(Span::MAX);
    let deadline = begin + within.as_duration();
    let end = begin + scenario.duration.unwrap_or_default().as_duration();
    loop {
        load.advance(run).await;
        run.ask().await?;
        run.advance_faults().await?;
        let mut text = match judge(&run.present(), blocks, transfers) {
            Step::Waiting(text) => text,
            Step::Done if run.network.now() < end => {
                let left = end.saturating_sub(run.network.now());
                format!("mining for another {} s", left.as_secs() + 1)
            }
            Step::Done if !open_load.has_arrived() => {
                format!("waiting for the last of the load: {}", run.load)
            }
            Step::Done => match run.finish_faults().await? {
                Some(text) => text,
                None => {
                    open_load.finish();
                    let states = run.present();
                    match open_load.is_over() && is_drained(&states, transfers + run.load.accepted)
                    {
                        true => return Ok(()),
                        false => format!("waiting for the load to be applied: {}", run.load),
                    }
                }
            },
        };
        if let Some(complaint) = load.complaint() {
            text = format!("{text}; last transfer {complaint}");
        }
        run.progress.show(&text);
        run.check_deadline(deadline, within, &text)?;
        open_load.pause(run).await;
    }
}

/// Whether all that was accepted is applied everywhere, or nothing waits any more: a mempool that is full drops what pays least.
pub(super) fn is_drained(states: &[Option<NodeState>], accepted: u64) -> bool {
    let mut states = states.iter().flatten();
    states.all(|state| state.transactions >= accepted || state.mempool == 0)
}

/// A transfer that waits in a mempool needs a block, so mining goes on until all are applied.
fn judge(states: &[Option<NodeState>], blocks: u64, transfers: u64) -> Step {
    let number = |state: &Option<NodeState>| state.as_ref().map_or(0, |state| state.blocks);
    let applied = |state: &Option<NodeState>| state.as_ref().map_or(0, |state| state.transactions);
    let there = states
        .iter()
        .filter(|state| number(state) >= blocks)
        .count();
    let slowest = states.iter().map(number).min().unwrap_or_default();
    // Nobody else sends transfers in a run's network, so their number says that they are these.
    let everywhere = states.iter().map(applied).min().unwrap_or_default();
    let nodes = states.len();
    if there == nodes && everywhere >= transfers {
        return Step::Done;
    }
    Step::Waiting(format!(
        "waiting for {blocks} blocks: {there}/{nodes} nodes there, \
         slowest {slowest}/{blocks}, \
         transfers {everywhere}/{transfers} applied"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::state;

    #[test]
    fn blocks_and_transfers_are_awaited_on_every_node() {
        let states = [state(20, 1, 1), state(17, 2, 2)];
        let text = "waiting for 20 blocks: 1/2 nodes there, slowest 17/20, transfers 7/9 applied";
        assert_eq!(judge(&states, 20, 9), Step::Waiting(text.to_owned()));
        assert_eq!(judge(&states, 17, 7), Step::Done);
        assert_ne!(judge(&states, 17, 8), Step::Done);
        assert_ne!(judge(&[state(20, 1, 1), None], 1, 0), Step::Done);
    }
}
