//! Answers to requests for old parts of the chain. A pure function of what is stored, so that any driver can run it anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::io::Request;
use crate::protocol::bugs::{Bug, bug};
use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::{AccountId, BlockId};
use crate::protocol::chain::ordering::{Colour, Ordered};
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::wire::limits::{MAX_ACCOUNTS, MAX_BLOCKS, MAX_BLOCKS_BYTES, MAX_HEADERS};
use crate::protocol::wire::message::Message;

/// The answer to a request, from the selected order as it is now.
pub fn serve(view: &dyn View, request: &Request) -> Result<Message, Fault> {
    match request {
        Request::Blocks { from_block, count } => blocks(view, *from_block, *count as usize),
        Request::BlocksById { ids } => blocks_by_id(view, ids),
        Request::Headers { locator } => headers(view, locator),
        Request::Accounts { block, after } => accounts(view, block, after.as_ref()),
    }
}

/// As many blocks of the order as were asked for, are here and fit; at least one, if it is here. Genesis is never sent.
fn blocks(view: &dyn View, from_block: u64, count: usize) -> Result<Message, Fault> {
    let mut answer = Answer::default();
    for number in (from_block.max(1)..).take(count.min(MAX_BLOCKS)) {
        let Some(ordered) = view.ordered(number)? else {
            break;
        };
        let Some(block) = view.block(&ordered.id)? else {
            break;
        };
        if !answer.add(&block) {
            break;
        }
    }
    let blocks = answer.blocks;
    Ok(Message::Blocks { from_block, blocks })
}

/// Those of the blocks that are here, in the order in which they were asked for, as many as fit.
fn blocks_by_id(view: &dyn View, ids: &[BlockId]) -> Result<Message, Fault> {
    let mut answer = Answer::default();
    for id in ids
        .iter()
        .skip(usize::from(bug(Bug::AnswerLacksFirstBlock)))
    {
        let block = view.block(id)?;
        let sendable = block.filter(|block| !block.heading().parents().is_empty());
        if let Some(block) = sendable
            && !answer.add(&block)
        {
            break;
        }
    }
    let blocks = answer.blocks;
    Ok(Message::Blocks {
        from_block: 0,
        blocks,
    })
}

#[derive(Default)]
struct Answer {
    blocks: Vec<Arc<[u8]>>,
    bytes: usize,
}

impl Answer {
    /// Adds a block, if it fits.
    fn add(&mut self, block: &Block) -> bool {
        self.bytes += block.bytes().len();
        let fits = self.bytes <= MAX_BLOCKS_BYTES || self.blocks.is_empty();
        if fits {
            self.blocks.push(Arc::clone(block.bytes()));
        }
        fits
    }
}

/// The headers after the first block of the locator that is in the selected chain here; after genesis if none is.
///
/// Everything before a block of the selected chain is in its past, so whoever has the block lacks nothing before it. A page that is
/// not the last therefore ends with one.
fn headers(view: &dyn View, locator: &[BlockId]) -> Result<Message, Fault> {
    let mut common = 0;
    for id in locator {
        let Some(number) = view.position(id)? else {
            continue;
        };
        if view
            .ordered(number)?
            .is_some_and(|ordered| ordered.colour == Colour::Chain)
        {
            common = number;
            break;
        }
    }
    let from_block = common + 1 + u64::from(bug(Bug::HeadersSkipOne));
    let mut page = Vec::new();
    for number in (from_block..).take(MAX_HEADERS) {
        let Some(ordered) = view.ordered(number)? else {
            break;
        };
        page.push(ordered);
    }
    let more = view.ordered(from_block + page.len() as u64)?.is_some();
    if more {
        let last = page
            .iter()
            .rposition(|ordered| ordered.colour == Colour::Chain);
        page.truncate(last.map_or(page.len(), |last| last + 1));
    }
    let mut headers = Vec::with_capacity(page.len());
    for Ordered { id, .. } in page {
        let record = view
            .record(&id)?
            .ok_or_else(|| Fault::missing("record of block", id))?;
        headers.push(record.heading.to_bytes());
    }
    Ok(Message::Headers {
        from_block,
        headers,
        more,
    })
}

/// A page of the accounts before a block of the selected chain: those of now, with what each block since then has changed taken
/// back.
///
/// A driver may write blocks meanwhile. What they change is taken back as well, because the blocks are read after the accounts; a
/// reorganisation in between can still mix two states, which the asking node sees in the digest.
fn accounts(view: &dyn View, block: &BlockId, after: Option<&AccountId>) -> Result<Message, Fault> {
    let now = view.accounts(after, MAX_ACCOUNTS - 1)?;
    let more = now.len() == MAX_ACCOUNTS - 1;
    let last = now.last().map(|(id, _)| *id);
    let in_page = |id: &AccountId| Some(id) > after && (!more || Some(*id) <= last);
    // Of accounts that were in use, only the pot is ever empty again: there is room for it.
    let mut page: BTreeMap<_, _> = now.into_iter().collect();
    let nothing = Message::Accounts {
        block: BlockId::default(),
        accounts: Vec::new(),
        more: false,
    };
    let (Some(first), Some(tip)) = (view.position(block)?, view.tip()?) else {
        return Ok(nothing);
    };
    for number in (first..=tip.number).rev() {
        let Some(Ordered { id, .. }) = view.ordered(number)? else {
            return Ok(nothing);
        };
        let Some(undo) = view.undo(&id)? else {
            return Ok(nothing);
        };
        let before = undo.accounts.iter().filter(|(id, _)| in_page(id));
        page.extend(before.copied());
    }
    page.retain(|id, account| in_page(id) && !account.is_empty());
    Ok(Message::Accounts {
        block: *block,
        accounts: page.into_iter().collect(),
        more,
    })
}

/// Ids of the selected chain from the tip down, first one by one, then in steps that double, genesis left out.
pub(super) fn locator(view: &dyn View, tip: u64) -> Result<Vec<BlockId>, Fault> {
    let mut ids = Vec::new();
    let (mut number, mut step) = (tip, 1);
    while number > 0 {
        let ordered = view
            .ordered(number)?
            .ok_or_else(|| Fault::missing("block at position", number))?;
        if ordered.colour != Colour::Chain {
            number -= 1;
            continue;
        }
        ids.push(ordered.id);
        if ids.len() >= 8 {
            step *= 2;
        }
        number = number.saturating_sub(step);
    }
    Ok(ids)
}
