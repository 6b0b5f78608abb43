//! Measures links: thoroughly before anything travels over them, and now and then while the network works.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;
use triskel::sim::watch::Session;

use super::{Failure, Run};
use crate::engine::measure::is_measurable;
use crate::engine::probe::Effect;

/// Between two looks while the network works; of a large one, so seldom that it is not busy with that.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_A_NODE: Duration = Duration::from_millis(20);

/// Measures all links of the graph on which something is done, before anything is sent over them.
///
/// # Errors
///
/// One is not as the scenario asks.
pub async fn links(run: &mut Run) -> Result<(), Failure> {
    let wanted = measurable(run);
    let within = run.plan.scenario.verdict.start_within.as_duration();
    let deadline = run.network.now() + within;
    loop {
        let now = run.network.now();
        let measured = run.engine.measurements.measured(now, &wanted);
        if measured == wanted.len() || now >= deadline {
            break;
        }
        let all = wanted.len();
        run.progress
            .show(&format!("measuring links: {measured}/{all}"));
        run.ask().await?;
        look(run).await;
        run.network.pause().await;
    }
    finish(run, true)
}

/// Writes down what was found of links until now. From now on they are busy, or not.
///
/// # Errors
///
/// One was not as the scenario asks.
pub fn finish(run: &mut Run, busy: bool) -> Result<(), Failure> {
    let now = run.network.now();
    for line in run.engine.measurements.finish_all(now, busy) {
        run.journal.link(&line);
    }
    match run.engine.measurements.wrong() {
        None => Ok(()),
        Some((from, to, why)) => {
            let name = |node: &usize| &run.plan.nodes[*node].name;
            let link = format!("{} to {}", name(from), name(to));
            Err(Failure::Environment(format!(
                "the run is invalid, for links were not as asked: {link}: {why}"
            )))
        }
    }
}

/// Looks at all links if it is time to, or something is waited for that they show.
pub async fn watch(run: &mut Run) {
    let now = run.network.now();
    let interval = INTERVAL.max(INTERVAL_A_NODE * run.plan.nodes.len() as u32);
    let is_due = now >= run.engine.looked + interval && run.engine.has_conditions();
    if is_due || !run.engine.probes.is_empty() {
        look(run).await;
    }
}

/// Has all nodes send pings, and asks for their sessions: what was answered since the last look, and what is held back.
async fn look(run: &mut Run) {
    let network = &run.network;
    let present: BTreeSet<_> = (0..run.plan.nodes.len())
        .filter(|&node| !network.is_absent(node))
        .collect();
    let keys = Arc::clone(run.plan.keys());
    // Else the pings of all nodes wait for processors, and for each other: of 39 containers on two cores the least of 70 round
    // trips was 16 ms where 11 were asked for.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let turns = Arc::new(Semaphore::new(processors.div_ceil(2)));
    let ask = |node, access: crate::network::Access| {
        let (keys, turns) = (Arc::clone(&keys), Arc::clone(&turns));
        let is_present = present.contains(&node);
        async move {
            if !is_present {
                return None;
            }
            let _turn = turns.acquire().await.ok();
            // One that does not answer is noticed elsewhere.
            let _ = access.ping().await;
            access.sessions(&keys).await.ok()
        }
    };
    let answers: Vec<Option<Vec<Session>>> = network.each(ask).await;
    let now = run.network.now();
    run.engine.looked = now;
    for (from, sessions) in answers.into_iter().enumerate() {
        let Some(sessions) = sessions else { continue };
        for line in run.engine.take_sessions(now, from, &sessions) {
            run.journal.link(&line);
        }
    }
    for (probe, sight) in run.engine.sights(now) {
        let details = json!({
            "fault": probe.fault,
            "links": sight.links,
            "unseen": sight.unseen,
            "took_ms": sight.took.map(|took| took.as_secs_f64() * 1e3),
        });
        let name = match probe.effect {
            Effect::Cut => "cut_seen",
            Effect::Healed => "heal_seen",
        };
        run.journal.event(name, details);
    }
}

/// The links of the graph on which something is done, in both directions, between nodes that run.
fn measurable(run: &Run) -> Vec<(usize, usize)> {
    let edges = run.plan.edges.iter();
    let links = edges.flat_map(|edge| [(edge.from, edge.to), (edge.to, edge.from)]);
    let is_measurable = |&(from, to): &(usize, usize)| {
        let runs = !run.network.is_absent(from) && !run.network.is_absent(to);
        runs && is_measurable(&run.engine.asked(from, to))
    };
    links.filter(is_measurable).collect()
}
