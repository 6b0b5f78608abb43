//! Blocks and their places: what consensus says of them, without accounts.

use std::sync::Arc;

use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::id::AccountId;
use triskel::protocol::chain::ordering::dag::{Dag, Index};
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::rules;
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::work::{Target, Work};
use triskel::protocol::rng::Rng;

use super::{EPOCH_MS, race, rate, streams};

/// A DAG that holds what is published and what is not. Nobody forgets anything.
pub(super) struct Field {
    pub(super) network: Arc<Network>,
    pub(super) dag: Dag,
    pub(super) genesis: Index,
    nonce: u64,
}

impl Field {
    pub(super) fn new(network: &Arc<Network>) -> Self {
        let mut dag = Dag::new(network.limits());
        let genesis = rules::stored_place(&dag, &rules::genesis_record(network));
        let genesis = dag.insert(genesis);
        let network = Arc::clone(network);
        Self {
            network,
            dag,
            genesis,
            nonce: 0,
        }
    }

    pub(super) fn work(&self, block: Index) -> Work {
        self.dag.rank(block).0
    }

    /// The target of the next block of a stream upon these parents.
    pub(super) fn target(&self, parents: &[Index], stream: Stream) -> Target {
        let colouring = self.dag.colour(parents).unwrap();
        rules::next_target(&self.network, &colouring.streams, stream).unwrap()
    }

    /// A block with this date, or with the earliest that is allowed, placed by the rules.
    pub(super) fn mine(&mut self, parents: &[Index], stream: Stream, date_ms: u64) -> Index {
        let youngest = parents
            .iter()
            .map(|parent| self.dag.timestamp_ms(*parent))
            .max();
        let mut ids: Vec<_> = parents.iter().map(|parent| self.dag.id(*parent)).collect();
        ids.sort_unstable();
        let template = Template {
            stream,
            parents: ids,
            accumulator: self.network.genesis_accumulator().clone(),
            bits: self.target(parents, stream).to_bits(),
            min_timestamp_ms: youngest.unwrap() + 1,
            miner: AccountId([0; 32]),
            transactions: Vec::new(),
        };
        self.nonce += 1;
        let found = Search::new(template, self.nonce, &self.network).attempt(date_ms, 1);
        let block = found.expect("every header solves");
        let placed = rules::place(&self.network, &self.dag, block.heading(), parents.to_vec());
        self.dag.insert(placed.unwrap())
    }
}

/// A block of the honest branch.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) at_ms: f64,
    pub(super) index: Index,
}

/// What honest miners build, block upon block.
#[derive(Clone)]
pub(super) struct Line(pub(super) Vec<Found>);

impl Line {
    pub(super) fn new(field: &Field) -> Self {
        Self(vec![Found {
            at_ms: 0.0,
            index: field.genesis,
        }])
    }

    pub(super) fn tip(&self) -> Found {
        self.0[self.0.len() - 1]
    }

    /// Mines until a time with so much of the usual hash rate in each stream.
    pub(super) fn grow(
        &mut self,
        field: &mut Field,
        strengths: [f64; 3],
        until_ms: f64,
        rng: &mut Rng,
    ) {
        let mut at_ms = self.tip().at_ms;
        loop {
            let tip = self.tip().index;
            let streams = streams(&field.network).into_iter();
            let rates: Vec<_> = streams
                .map(|stream| {
                    let target = field.target(&[tip], stream);
                    (stream, rate(target, strengths[stream.index()]))
                })
                .collect();
            let (after_ms, stream) = race(rng, &rates);
            at_ms += after_ms;
            if at_ms > until_ms {
                break;
            }
            let index = field.mine(&[tip], stream, EPOCH_MS + at_ms as u64);
            self.0.push(Found { at_ms, index });
        }
    }
}
