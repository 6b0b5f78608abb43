//! Looks at the nodes for the evidence: now and then while they run, and once at the end.

use serde_json::json;
use triskel::protocol::chain::id::TransactionId;

use super::Run;
use crate::engine::readings::STALE_BLOCKS;
use crate::evidence::record::Files;
use crate::journal;

/// Blocks of the order that are kept: as many as a node hands out at once.
const DAG_BLOCKS: u32 = 2_000;

/// Blocks that a node refused and that are looked for at the others.
const MAX_REFUSED: usize = 20;

/// Transfers whose block is asked for: so many tell the latency, and more would take longer than they are worth.
const MAX_TRANSFERS: usize = 5_000;

/// Keeps what is due of what was just seen.
pub async fn observe(run: &mut Run) {
    let is_due = run.readings.is_due(run.network.now());
    if let Some(simulation) = run.network.simulation() {
        let seen = simulation.seen();
        run.journal.seen(&seen);
        for (_, node, undone) in seen.undone {
            run.readings.undone(node, undone as u64);
        }
        for node in 0..run.plan.nodes.len() {
            let connections = simulation.connections(node);
            run.readings.connections(node, connections);
        }
    } else {
        for node in 0..run.plan.nodes.len() {
            let log = run.plan.node_log(node);
            let logs = &mut run.readings.logs;
            logs.read(node, &journal::grown(&log, logs.end(node)));
        }
        if is_due {
            read(run).await;
        }
    }
    if is_due
        && run.readings.wants_stale()
        && let Some(node) = longest(run)
        && let Some(dag) = run.network.dag(node, STALE_BLOCKS).await
    {
        run.readings.dag(&dag);
    }
    run.journal.sample(&run.states);
}

/// Reads of real nodes what costs them more than a status.
async fn read(run: &mut Run) {
    let pages = run.network.pages().await;
    for (node, page) in pages.iter().enumerate() {
        run.readings.page(node, page.as_deref());
    }
    let resources = (0..pages.len()).map(|node| run.readings.resources(node));
    run.journal.resources(resources.collect());
    let supplies = run
        .network
        .each_present(|access| async move { access.supply().await });
    for (node, supply) in supplies.await.into_iter().enumerate() {
        run.readings.supply(node, supply);
    }
    look_for_refused(run).await;
}

/// Asks whether a node has ordered what another refused for breaking a rule.
async fn look_for_refused(run: &mut Run) {
    let honest = |node: &usize| run.plan.nodes[*node].role.is_honest();
    let honest: Vec<_> = (0..run.plan.nodes.len()).filter(honest).collect();
    let mut refused = Vec::new();
    for node in &honest {
        let blocks = run.readings.logs.refused(*node);
        refused.extend(blocks.map(|(block, said)| (*node, block, said.to_owned())));
    }
    // Where many are refused, some of them say what there is to say.
    for (by, block, said) in refused.into_iter().take(MAX_REFUSED) {
        for &node in &honest {
            if !run.network.is_absent(node) && run.network.access(node).orders(block).await {
                let name = |node: usize| &run.plan.nodes[node].name;
                let text = format!("{} orders what {} refused: {said}", name(node), name(by));
                run.readings.ordered_invalid(text);
            }
        }
    }
}

/// The node with the most blocks.
fn longest(run: &Run) -> Option<usize> {
    let states = run.states.iter().enumerate();
    let blocks = states.filter_map(|(node, state)| Some((state.as_ref()?.blocks, node)));
    blocks.max().map(|(_, node)| node)
}

/// Keeps what only the end can tell: metrics, the DAG, logs.
pub async fn conclude(run: &mut Run) {
    run.backend.save_logs(&run.plan).await;
    observe(run).await;
    run.journal.sample_now(&run.states);
    if let Some(simulation) = run.network.simulation() {
        let (frames, bytes) = simulation.traffic();
        let details = json!({ "frames": frames, "bytes": bytes });
        run.journal.event("traffic", details);
    }
    let pages = run.network.pages().await;
    for (node, page) in run.plan.nodes.iter().zip(pages) {
        if let Some(page) = page {
            let name = format!("{}/{}.prom", Files::METRICS, node.name);
            run.journal.file(&name, &page);
        }
    }
    // Of a node of the largest group: where nodes disagree, what most of them have.
    let agreement = crate::verdict::Agreement::among(&run.states, &run.left_out());
    let leads = agreement.groups.first();
    let node = leads.and_then(|group| group.nodes.first()).copied();
    if let Some(node) = node
        && let Some(dag) = run.network.dag(node, DAG_BLOCKS).await
        && let Ok(text) = serde_json::to_string(&dag)
    {
        run.journal.file(Files::DAG, &text);
    }
}

/// Keeps which block applied each of these transfers, or some of them where they are many, spread evenly. Honest nodes, which
/// agree, are asked for a part each.
pub async fn located(run: &mut Run, ids: &[TransactionId]) {
    let step = ids.len().div_ceil(MAX_TRANSFERS).max(1);
    let ids: Vec<_> = ids.iter().step_by(step).copied().collect();
    let nodes = run.plan.nodes.iter().enumerate();
    let answering =
        nodes.filter(|(node, planned)| planned.role.is_honest() && !run.network.is_absent(*node));
    let answering: Vec<_> = answering.map(|(node, _)| node).collect();
    let found = run.network.each(|node, access| {
        let own = answering.iter().position(|other| *other == node);
        let part = own.map(|own| ids.iter().skip(own).step_by(answering.len()).copied());
        let part: Vec<_> = part.into_iter().flatten().collect();
        async move {
            let mut found = Vec::new();
            for id in part {
                if let Some(block) = access.applied_in(id).await {
                    found.push((id, block));
                }
            }
            found
        }
    });
    for (id, block) in found.await.into_iter().flatten() {
        run.journal.applied(&id, Some(block), None);
    }
}
