//! When a selfish miner keeps back what it finds, and when it lets it go.

use crate::protocol::chain::block::Stream;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::Record;

/// Builds a branch of its own as long as that is ahead (I. Eyal and E. G. Sirer, "Majority is not enough: Bitcoin mining is
/// vulnerable", FC 2014). With work in place of length: blocks of different streams count differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// It begins with a block of these streams, and publishes others at once.
    pub begins: Vec<Stream>,
    /// So many of its own blocks make it worth while to publish: with more than k of them, what others found is red.
    pub aim: u64,
    /// It publishes when others come as close as what all streams together count in so many milliseconds. At any rate when they
    /// have overtaken it.
    pub margin_ms: u64,
}

impl Lead {
    /// As the paper has it: any block begins a branch, which is published when the lead has shrunk to a block.
    pub fn by_a_block(network: &Network) -> Self {
        let blocks_per_s = network
            .streams()
            .map(|(_, stream)| 1_000.0 / stream.params.interval_ms as f64);
        let interval_ms = 1_000.0 / blocks_per_s.sum::<f64>();
        Self {
            begins: network.streams().map(|(stream, _)| stream).collect(),
            aim: 1,
            // Half a block more, so that a lead of one counts as that whatever its target was.
            margin_ms: (1.5 * interval_ms) as u64,
        }
    }

    /// Whether it lets go the blocks that it has kept, so many, when so much is public.
    pub fn gives_up(
        &self,
        kept: u64,
        public: &Record,
        private: &Record,
        network: &Network,
    ) -> bool {
        let lead = private.work.to_f64() - public.work.to_f64();
        let margin = self.margin_ms as f64 * work_of_a_millisecond(private, network);
        lead < 0.0 || (lead < margin && kept >= self.aim)
    }
}

/// What the blocks of all streams together count in a millisecond, as the youngest block has it: all streams count alike.
fn work_of_a_millisecond(youngest: &Record, network: &Network) -> f64 {
    let interval_ms = network
        .stream(youngest.stream())
        .map_or(1, |stream| stream.params.interval_ms);
    network.streams().count() as f64 * youngest.own_work.to_f64() / interval_ms as f64
}
