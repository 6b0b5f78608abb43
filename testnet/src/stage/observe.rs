//! Looks at the nodes for the evidence: now and then while they run, and once at the end.

use serde_json::json;

use super::Run;
use super::load::Load;
use crate::evidence::record::{Files, Resources};

/// Blocks of the order that are kept: as many as a node hands out at once.
const DAG_BLOCKS: u32 = 2_000;

/// Transfers whose block is asked for: so many tell the latency, and more would take longer than they are worth.
const MAX_TRANSFERS: usize = 5_000;

/// Keeps what is due of what was just seen.
pub async fn observe(run: &mut Run) {
    if let Some(simulation) = run.network.simulation() {
        run.journal.seen(&simulation.seen());
    } else if run.journal.wants_resources() {
        let pages = run.network.pages().await;
        let read = pages.iter().map(|page| Resources::read(page.as_deref()?));
        run.journal.resources(read.collect());
    }
    run.journal.sample(&run.states);
}

/// Keeps what only the end can tell: metrics, the DAG, logs.
pub async fn conclude(run: &mut Run) {
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
    let agreement = crate::verdict::Agreement::of(&run.states);
    let leads = agreement.groups.first();
    let node = leads.and_then(|group| group.nodes.first()).copied();
    if let Some(node) = node
        && let Some(dag) = run.network.dag(node, DAG_BLOCKS).await
        && let Ok(text) = serde_json::to_string(&dag)
    {
        run.journal.file(Files::DAG, &text);
    }
    run.backend.save_logs(&run.plan).await;
}

/// Keeps which block applied each transfer, as the first node has it.
pub async fn located(run: &mut Run, load: &Load) {
    let ids = load.ids.iter().take(MAX_TRANSFERS);
    for id in ids {
        if let Some(block) = run.network.applied_in(0, *id).await {
            run.journal.applied(id, Some(block), None);
        }
    }
}
