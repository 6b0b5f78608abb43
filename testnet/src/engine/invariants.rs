//! What must hold all the time on honest nodes, whatever is done to them.

use std::collections::BTreeMap;

use super::snapshot::Snapshot;
use crate::scenario::{Invariants, Quantities as _};

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// Looks at all invariants that the scenario does not give up. What cannot be known here is not looked at: a backend that can know
/// less refuses scenarios that demand more.
///
/// # Errors
///
/// One does not hold: its key, and why.
pub fn look(terms: &Invariants, snapshot: &Snapshot<'_>) -> Result<(), (&'static str, String)> {
    type Find = fn(&Snapshot<'_>) -> Option<String>;
    let looks: [(&'static str, Option<bool>, Find); 4] = [
        ("no_panic", terms.no_panic, panic),
        ("supply", terms.supply, supply),
        ("no_invalid_block", terms.no_invalid_block, invalid_block),
        ("no_honest_penalty", terms.no_honest_penalty, penalty),
    ];
    for (name, wanted, find) in looks {
        if wanted != Some(false)
            && let Some(why) = find(snapshot)
        {
            return Err((name, why));
        }
    }
    let bounds = [
        ("memory_mib", terms.memory_mib, "MiB"),
        ("descriptors", terms.descriptors, "open files"),
    ];
    for (name, bound, unit) in bounds {
        if let Some(bound) = bound
            && let Some(why) = above(snapshot, name, bound, unit)
        {
            return Err((name, why));
        }
    }
    Ok(())
}

fn honest(snapshot: &Snapshot<'_>) -> impl Iterator<Item = usize> {
    let nodes = snapshot.plan.nodes.iter().enumerate();
    let honest = nodes.filter(|(_, node)| node.role.is_honest());
    honest.map(|(index, _)| index)
}

fn panic(snapshot: &Snapshot<'_>) -> Option<String> {
    honest(snapshot).find_map(|node| {
        let line = snapshot.readings.logs.panic(node)?;
        Some(format!("{}: {line}", snapshot.plan.nodes[node].name))
    })
}

/// A node's accounts hold what it has issued, which is what genesis endowed and no more than its blocks may have paid.
fn supply(snapshot: &Snapshot<'_>) -> Option<String> {
    let params = snapshot.plan.scenario.params().ok()?;
    let rewards = params.streams.iter().map(|stream| stream.reward);
    let most = rewards.max().unwrap_or_default();
    let genesis = snapshot.plan.genesis_supply();
    snapshot.honest().into_iter().find_map(|node| {
        let supply = snapshot.readings.supply_of(node)?;
        let name = &snapshot.plan.nodes[node].name;
        let (balances, issued) = (supply.balances, supply.issued);
        if balances != issued {
            return Some(format!("{name}: balances sum to {balances}, issued are {issued}"));
        }
        let allowed = genesis..=genesis.saturating_add(supply.blocks.saturating_mul(most));
        (!allowed.contains(&issued)).then(|| {
            let blocks = supply.blocks;
            format!("{name}: {issued} units are issued, genesis has {genesis} and {blocks} blocks pay {most} at most")
        })
    })
}

/// No node orders what another refused for breaking a rule, and nodes that have one order have one state.
fn invalid_block(snapshot: &Snapshot<'_>) -> Option<String> {
    if let Some(why) = snapshot.readings.invalid() {
        return Some(why.to_owned());
    }
    let mut known = BTreeMap::new();
    snapshot.honest().into_iter().find_map(|node| {
        let state = snapshot.states[node].as_ref()?;
        let (first, digest) = *known
            .entry(&state.parents)
            .or_insert((node, state.state_digest));
        (digest != state.state_digest).then(|| {
            let name = |node: usize| &snapshot.plan.nodes[node].name;
            let (one, other, tip) = (name(first), name(node), state.tip);
            format!("{one} and {other} have one order, up to {tip:.12}, and not one state")
        })
    })
}

/// Who is left for a fault before the handshake ends is not known: that counts where nobody is dishonest.
fn penalty(snapshot: &Snapshot<'_>) -> Option<String> {
    let nodes = &snapshot.plan.nodes;
    let all_honest = nodes.iter().all(|node| node.role.is_honest());
    honest(snapshot).find_map(|node| {
        let mut penalised = snapshot.readings.logs.penalised(node);
        let (_, said) = penalised
            .find(|(whom, _)| whom.map_or(all_honest, |whom| nodes[whom].role.is_honest()))?;
        Some(format!("{}: {said}", nodes[node].name))
    })
}

fn above(snapshot: &Snapshot<'_>, name: &str, bound: u64, unit: &str) -> Option<String> {
    snapshot.honest().into_iter().find_map(|node| {
        let found = match name {
            "memory_mib" => snapshot.readings.memory_bytes(node)?.div_ceil(MIB),
            _ => snapshot.readings.descriptors(node)?,
        };
        (found > bound).then(|| {
            let name = &snapshot.plan.nodes[node].name;
            format!("{name} has {found} {unit}, at most {bound} are allowed")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::readings::Readings;
    use crate::plan::{Plan, new_run_id};
    use crate::scenario::Scenario;
    use crate::verdict::tests::state;
    use triskel::rpc::Supply;

    fn plan(invariants: &str) -> Plan {
        let text =
            format!("name = 'test'\nnodes = 2\nverdict = {{ invariants = {{ {invariants} }} }}");
        let expanded = Scenario::parse(&text, "test", &[])
            .unwrap()
            .expand()
            .unwrap();
        Plan::new(expanded, new_run_id(), std::path::Path::new("runs")).unwrap()
    }

    fn violated(
        plan: &Plan,
        readings: &Readings,
        digests: [u8; 2],
    ) -> Option<(&'static str, String)> {
        let states = digests.map(|digest| state(9, 1, digest));
        let snapshot = Snapshot {
            plan,
            states: &states,
            readings,
        };
        look(&plan.scenario.verdict.invariants, &snapshot).err()
    }

    #[test]
    fn what_is_not_given_up_is_looked_at() {
        let (plan, lenient) = (plan(""), plan("no_panic = false"));
        let mut readings = Readings::new(&plan);
        assert_eq!(violated(&plan, &readings, [1, 1]), None);
        readings.logs.read(1, b"thread 'miner' panicked at x\n");
        let (name, why) = violated(&plan, &readings, [1, 1]).unwrap();
        assert_eq!(
            (name, why.as_str()),
            ("no_panic", "node-2: thread 'miner' panicked at x")
        );
        assert_eq!(violated(&lenient, &readings, [1, 1]), None);
    }

    #[test]
    fn units_come_from_genesis_and_blocks_alone() {
        let plan = plan("supply = true");
        let mut readings = Readings::new(&plan);
        let supply = |balances, issued| {
            let (blocks, accounts) = (1, 1);
            Some(Supply {
                blocks,
                accounts,
                balances,
                issued,
            })
        };
        readings.supply(0, supply(0, 0));
        assert_eq!(violated(&plan, &readings, [1, 1]), None);
        readings.supply(0, supply(1, 0));
        assert_eq!(violated(&plan, &readings, [1, 1]).unwrap().0, "supply");
        readings.supply(0, supply(u64::MAX, u64::MAX));
        assert_eq!(violated(&plan, &readings, [1, 1]).unwrap().0, "supply");
    }

    #[test]
    fn one_order_has_one_state_and_bounds_hold() {
        let plan = plan("descriptors = 10");
        let mut readings = Readings::new(&plan);
        assert_eq!(
            violated(&plan, &readings, [1, 2]).unwrap().0,
            "no_invalid_block"
        );
        readings.page(0, Some("process_open_fds 11\nprocess_resident_memory_bytes 1\ntriskel_processor_seconds_total 0\n"));
        let (name, why) = violated(&plan, &readings, [1, 1]).unwrap();
        assert_eq!(
            (name, why.as_str()),
            (
                "descriptors",
                "node-1 has 11 open files, at most 10 are allowed"
            )
        );
    }
}
