//! Answers to requests for old parts of the chain. A pure function of what is stored, so that any driver can run it anywhere.

use std::sync::Arc;

use super::io::Request;
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::wire::limits::{MAX_BLOCKS, MAX_BLOCKS_BYTES, MAX_HEADERS};
use crate::protocol::wire::message::Message;

/// The answer to a request, from the selected order as it is now.
pub fn serve(view: &dyn View, request: &Request) -> Result<Message, Fault> {
    match request {
        Request::Blocks { from_block, count } => blocks(view, *from_block, *count as usize),
        Request::Headers { locator } => headers(view, locator),
    }
}

/// As many blocks as were asked for, exist and fit; at least one, if it exists. Genesis is never sent.
fn blocks(view: &dyn View, from_block: u64, count: usize) -> Result<Message, Fault> {
    let mut blocks: Vec<Arc<[u8]>> = Vec::new();
    let mut bytes = 0;
    for number in (from_block.max(1)..).take(count.min(MAX_BLOCKS)) {
        let Some(id) = view.selected(number)? else {
            break;
        };
        let block = view
            .block(&id)?
            .ok_or_else(|| Fault::missing("block", id))?;
        bytes += block.bytes().len();
        if bytes > MAX_BLOCKS_BYTES && !blocks.is_empty() {
            break;
        }
        blocks.push(Arc::clone(block.bytes()));
    }
    Ok(Message::Blocks { from_block, blocks })
}

/// The headers after the youngest block of the locator that is selected here; after genesis if none is.
fn headers(view: &dyn View, locator: &[BlockId]) -> Result<Message, Fault> {
    let mut common = 0;
    for id in locator {
        let Some(record) = view.record(id)? else {
            continue;
        };
        if view.selected(record.number)? == Some(*id) {
            common = record.number;
            break;
        }
    }
    let from_block = common + 1;
    let mut headers = Vec::new();
    for number in (from_block..).take(MAX_HEADERS) {
        let Some(id) = view.selected(number)? else {
            break;
        };
        let record = view
            .record(&id)?
            .ok_or_else(|| Fault::missing("record of block", id))?;
        headers.push(record.heading.to_bytes());
    }
    Ok(Message::Headers {
        from_block,
        headers,
    })
}

/// Ids of the selected order from the tip down, first one by one, then in steps that double, genesis left out.
pub(super) fn locator(view: &dyn View, tip: u64) -> Result<Vec<BlockId>, Fault> {
    let mut ids = Vec::new();
    let (mut number, mut step) = (tip, 1);
    while number > 0 {
        ids.push(
            view.selected(number)?
                .ok_or_else(|| Fault::missing("selected block", number))?,
        );
        if ids.len() >= 8 {
            step *= 2;
        }
        number = number.saturating_sub(step);
    }
    Ok(ids)
}
