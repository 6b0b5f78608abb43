//! What a chain starts from: genesis, or what is stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::id::BlockId;
use super::ledger;
use super::ordering::dag::Dag;
use super::ordering::{Colour, Ordered};
use super::params::Network;
use super::rules;
use super::view::{Fault, Overlay, Record, Tip, View};

pub(super) fn write_genesis(network: &Network, overlay: &mut Overlay<'_>) -> Arc<Tip> {
    let record = write_first_block(network, overlay);
    let genesis = record.id();
    let tip = Arc::new(Tip {
        id: genesis,
        parents: vec![genesis],
        tips: vec![genesis],
        number: 0,
        work: record.work,
        blue_score: 1,
        streams: record.streams,
        accumulator: network.genesis_accumulator().clone(),
        issued: network.genesis_supply(),
        transactions: 0,
        pruned: 0,
    });
    let batch = &mut overlay.batch;
    for allocation in &network.params().allocations {
        let account = ledger::Account {
            balance: allocation.balance,
            nonce: 0,
        };
        batch.accounts.insert(allocation.account, account);
    }
    batch.tip = Some(Arc::clone(&tip));
    tip
}

pub(super) fn write_first_block(network: &Network, overlay: &mut Overlay<'_>) -> Arc<Record> {
    let genesis = network.genesis();
    let record = Arc::new(rules::genesis_record(network));
    let batch = &mut overlay.batch;
    batch.blocks.insert(genesis.id(), Arc::clone(genesis));
    batch.records.insert(genesis.id(), Arc::clone(&record));
    let ordered = Ordered {
        id: genesis.id(),
        colour: Colour::Chain,
    };
    batch.order.insert(0, Some(ordered));
    batch.positions.insert(genesis.id(), Some(0));
    record
}

/// Reads the young part of the DAG: everything down to where no reorganisation reaches.
pub(super) fn load_window(
    dag: &mut Dag,
    tip: &Tip,
    record: &Arc<Record>,
    view: &dyn View,
) -> Result<(), Fault> {
    let bottom_score = record.blue_score.saturating_sub(dag.limits().window());
    let mut bottom = Arc::clone(record);
    while bottom.blue_score > bottom_score {
        bottom = stored_record(view, &bottom.selected_parent)?;
    }
    let mut seen = BTreeSet::from([bottom.id()]);
    let mut records = vec![(bottom.number, Arc::clone(&bottom))];
    let mut open: Vec<_> = tip.parents.iter().chain(&tip.tips).copied().collect();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let record = stored_record(view, &id)?;
        if record.number > bottom.number {
            open.extend(record.heading.parents());
            records.push((record.number, record));
        }
    }
    // A block has more in its past than any of its ancestors.
    records.sort_by_key(|(number, record)| (*number, record.id()));
    for (_, record) in records {
        dag.insert(rules::stored_place(dag, &record));
    }
    Ok(())
}

pub(super) fn stored_record(view: &dyn View, id: &BlockId) -> Result<Arc<Record>, Fault> {
    view.record(id)?
        .ok_or_else(|| Fault::missing("record of block", id))
}
