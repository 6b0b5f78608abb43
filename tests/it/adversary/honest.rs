//! Who keeps the rules: chains with work in them, and peers that serve them. What has to go on under an attack goes on with these.

use std::sync::Arc;

use triskel::protocol::chain::block::Block;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::transaction::SharedTransaction;
use triskel::protocol::chain::work::Work;
use triskel::protocol::wire::limits::MAX_HEADERS;
use triskel::protocol::wire::message::{Claim, Message};

use super::{Bound, Peer, Victim};
use crate::memory::{Model, Wish};

/// A chain upon genesis, whose blocks are a second apart.
pub(super) struct Chain {
    model: Model,
    pub(super) blocks: Vec<Arc<Block>>,
    miner: usize,
}

impl Chain {
    /// So many blocks, the last of which is a minute old.
    pub(super) fn new(victim: &impl Victim, count: usize, miner: usize) -> Self {
        let mut chain = Self {
            model: Model::new(victim.network()),
            blocks: Vec::new(),
            miner,
        };
        let begin_ms = victim.wall_ms() - 60_000 - 1_000 * count as u64;
        for number in 0..count {
            // The first block dates the network.
            let gap_ms = if number == 0 { begin_ms } else { 1_000 };
            chain.add(gap_ms, Vec::new());
        }
        chain
    }

    fn add(&mut self, gap_ms: u64, transactions: Vec<SharedTransaction>) -> Arc<Block> {
        let wish = Wish {
            miner: self.miner,
            gap_ms,
            transactions,
            ..Wish::default()
        };
        let block = self.model.grow(&self.tip(), wish);
        self.blocks.push(Arc::clone(&block));
        block
    }

    /// One more block.
    pub(super) fn grow(&mut self, transactions: &[SharedTransaction]) -> Arc<Block> {
        self.add(1_000, transactions.to_vec())
    }

    pub(super) fn tip(&self) -> BlockId {
        let last = self.blocks.last().map(|block| block.id());
        last.unwrap_or_else(|| self.model.network.id())
    }

    pub(super) fn work(&self) -> Work {
        self.model.blocks[&self.tip()].1.work
    }

    pub(super) fn claim(&self) -> Claim {
        Claim {
            work: self.work(),
            tip: self.tip(),
            number: self.blocks.len() as u64,
            beside: Vec::new(),
            pruned: 0,
        }
    }

    /// What a peer with this chain answers; nothing to what is no question.
    pub(super) fn answer(&self, question: &Message) -> Option<Message> {
        match question {
            Message::RequestHeaders { locator } => {
                let blocks = &self.blocks;
                let known = |id: &BlockId| blocks.iter().position(|block| block.id() == *id);
                let from = locator.iter().find_map(known).map_or(0, |at| at + 1);
                let page = blocks[from..].iter().take(MAX_HEADERS);
                let headers: Vec<_> = page.map(|block| block.heading().to_bytes()).collect();
                Some(Message::Headers {
                    from_block: from as u64 + 1,
                    more: from + headers.len() < blocks.len(),
                    headers,
                })
            }
            Message::RequestBlocksById { ids } => {
                let wanted = self.blocks.iter().filter(|block| ids.contains(&block.id()));
                Some(Message::Blocks {
                    from_block: 0,
                    blocks: wanted.map(|block| Arc::clone(block.bytes())).collect(),
                })
            }
            Message::Ping { nonce, .. } => Some(Message::Pong {
                nonce: *nonce,
                claim: self.claim(),
            }),
            _ => None,
        }
    }

    /// Greets as somebody who has this chain.
    pub(super) fn join(&self, victim: &mut impl Victim, person: usize) -> Peer {
        victim.greet_claiming(person, self.claim())
    }

    /// Answers what a peer was asked since the last time, as far as it means to.
    pub(super) fn serve(
        &self,
        victim: &mut impl Victim,
        peer: Peer,
        mut means: impl FnMut(&Message) -> bool,
    ) {
        for question in victim.hear(peer) {
            if let Some(answer) = self.answer(&question).filter(|_| means(&question)) {
                victim.say(peer, &answer);
            }
        }
    }

    /// Serves until the victim has this chain.
    pub(super) fn bring(&self, victim: &mut impl Victim, peer: Peer) -> Bound {
        let tip = self.tip();
        victim.until("the tip of who keeps the rules", |victim| {
            self.serve(victim, peer, |_| true);
            victim.tip() == tip
        })
    }
}

pub(super) fn new_block(block: &Block) -> Message {
    Message::NewBlock(Arc::clone(block.bytes()))
}
