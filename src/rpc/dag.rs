//! The end of the order, read from a store as the DAG that it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::ordering::{Colour, Ordered};
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::{Fault, Record, Tip, View};
use crate::rpc::{Dag, DagBlock, DagColour};

/// Blocks of one answer at most, as many as headers.
pub const MAX_DAG_BLOCKS: u32 = 2_000;

/// How often the order is read anew because it moved meanwhile: it takes a few milliseconds, and moves 11 times a second.
const ATTEMPTS: u32 = 100;

/// The last blocks of the order, and those beside them.
///
/// The driver may write meanwhile. The order is read between two looks at the tip that see the same, which is to say at one
/// moment; everything else that is read of a block never changes.
///
/// # Errors
///
/// The store failed, or the order never held still.
pub fn last(view: &dyn View, network: &Network, last: u32) -> Result<Dag, Fault> {
    let order = (0..ATTEMPTS).find_map(|_| order(view, last).transpose());
    let order = order.unwrap_or_else(|| {
        let reason = format!("the order moves faster than {last} blocks of it can be read");
        Err(Fault(reason))
    })?;
    let blocks = order.ordered.iter().map(|(number, ordered)| {
        let record = view.record(&ordered.id)?;
        let record = record.ok_or_else(|| Fault::missing("record of block", ordered.id))?;
        block(view, network, &record, Some((*number, ordered.colour)))
    });
    let blocks = blocks.collect::<Result<_, _>>()?;
    let beside = order.beside.values();
    let beside = beside.map(|record| block(view, network, record, None));
    Ok(Dag {
        network: network.params().name.clone(),
        k: network.params().k,
        blocks,
        beside: beside.collect::<Result<_, _>>()?,
        parents: order.tip.parents.clone(),
    })
}

/// What must be read at one moment.
struct Order {
    tip: Arc<Tip>,
    ordered: Vec<(u64, Ordered)>,
    /// By the number of blocks in the past, so that parents come first.
    beside: BTreeMap<(u64, BlockId), Arc<Record>>,
}

/// `None` if the order moved meanwhile.
fn order(view: &dyn View, last: u32) -> Result<Option<Order>, Fault> {
    let tip = view
        .tip()?
        .ok_or_else(|| Fault("the store has no tip".to_owned()))?;
    let wanted = (tip.number + 1).saturating_sub(last.into())..=tip.number;
    let mut ordered = Vec::new();
    for number in wanted.rev() {
        // A store that began with a snapshot does not have everything.
        let Some(found) = view.ordered(number)? else {
            break;
        };
        ordered.push((number, found));
    }
    ordered.reverse();
    let first = ordered.first().map_or(0, |(number, _)| *number);
    let mut beside = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut ahead = tip.tips.clone();
    while let Some(id) = ahead.pop() {
        let is_new = beside.len() < last as usize && seen.insert(id);
        if !is_new || view.position(&id)?.is_some() {
            continue;
        }
        // What is older than all that is shown would hang in the air.
        let record = view.record(&id)?;
        if let Some(record) = record.filter(|record| record.number >= first) {
            ahead.extend(record.heading.parents());
            beside.insert((record.number, id), record);
        }
    }
    let held_still = view.tip()?.as_ref() == Some(&tip);
    let order = Order {
        tip,
        ordered,
        beside,
    };
    Ok(held_still.then_some(order))
}

fn block(
    view: &dyn View,
    network: &Network,
    record: &Record,
    place: Option<(u64, Colour)>,
) -> Result<DagBlock, Fault> {
    let body = view.block(&record.id())?;
    let body = body.as_ref().map(|block| block.body());
    Ok(DagBlock {
        id: record.id(),
        number: place.map(|(number, _)| number),
        stream: record.stream().to_string(),
        parents: record.heading.parents().to_vec(),
        selected_parent: record.selected_parent,
        colour: place.map(|(_, colour)| match colour {
            Colour::Chain | Colour::Blue => DagColour::Blue,
            Colour::Red => DagColour::Red,
        }),
        chain: place.is_some_and(|(_, colour)| colour == Colour::Chain),
        timestamp_ms: record.timestamp_ms(),
        miner: body.map(|body| network.address(&body.miner)),
        transactions: body.map(|body| body.transactions.len() as u32),
    })
}
