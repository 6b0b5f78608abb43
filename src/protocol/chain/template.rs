//! What a miner works on, and the search itself. The driver decides how many hashes a second it spends.

use super::block::{Block, Body, Header, Stream, is_solved, parents_root};
use super::digest::Accumulator;
use super::id::{AccountId, BlockId};
use super::params::{Algorithm, Network};
use super::transaction::SharedTransaction;
use super::work::Target;

/// A block that lacks only its proof of work.
#[derive(Clone, Debug)]
pub struct Template {
    /// The stream to mine in.
    pub stream: Stream,
    /// The parents, ascending.
    pub parents: Vec<BlockId>,
    /// The hash of the accounts after the parents. Its digest is computed where a search begins: most templates are never mined.
    pub accumulator: Accumulator,
    /// The target, in compact form.
    pub bits: u32,
    /// The earliest timestamp that the rules allow.
    pub min_timestamp_ms: u64,
    /// Who receives reward and fees.
    pub miner: AccountId,
    /// The transactions, in order.
    pub transactions: Vec<SharedTransaction>,
}

/// A template with its roots computed, ready to be hashed.
#[derive(Clone, Debug)]
pub struct Search {
    algorithm: Algorithm,
    target: Target,
    header: Header,
    min_timestamp_ms: u64,
    parents: Vec<BlockId>,
    body: Body,
}

impl Search {
    /// Computes the roots. Searches of different `extra_nonce` never try the same header.
    pub fn new(template: Template, extra_nonce: u64, network: &Network) -> Self {
        let stream = network
            .stream(template.stream)
            .expect("templates are made for streams of the network");
        let target = Target::from_bits(template.bits)
            .expect("templates carry bits that a target was turned into");
        let body = Body {
            miner: template.miner,
            extra_nonce,
            transactions: template.transactions,
        };
        let header = Header {
            stream: template.stream,
            parents_root: parents_root(&template.parents),
            body_root: body.root(),
            state_digest: template.accumulator.digest(),
            timestamp_ms: template.min_timestamp_ms,
            bits: template.bits,
            nonce: 0,
        };
        let min_timestamp_ms = template.min_timestamp_ms;
        let algorithm = stream.params.algorithm;
        Self {
            algorithm,
            target,
            header,
            min_timestamp_ms,
            parents: template.parents,
            body,
        }
    }

    /// The stream that is mined.
    pub fn stream(&self) -> Stream {
        self.header.stream
    }

    /// The target that is searched for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Tries the next `hashes` nonces at the time `wall_ms` and returns the first block found.
    pub fn attempt(&mut self, wall_ms: u64, hashes: u64) -> Option<Block> {
        self.header.timestamp_ms = wall_ms.max(self.min_timestamp_ms);
        for _ in 0..hashes {
            self.header.nonce = self.header.nonce.wrapping_add(1);
            if is_solved(self.algorithm, &self.header, self.target) {
                return Some(Block::assemble(
                    self.header,
                    self.parents.clone(),
                    self.body.clone(),
                ));
            }
        }
        None
    }
}
