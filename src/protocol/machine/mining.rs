//! What the miner works on.

use super::io::Effect;
use super::timers::Timer;
use super::{Machine, Turn};
use crate::protocol::chain::template::Template;
use crate::protocol::chain::view::{Fault, View};

/// How full blocks may be without becoming slow.
///
/// A block that arrives does not know those that were found or arrived here while it was on its way. k was chosen so that these are
/// about k/2 in the longest delay that the network was made for. If most blocks do not know more than that, nodes check blocks more
/// slowly than miners fill them: so templates carry less, until blocks arrive in time again. Down by a fourth, up by an eighth: as
/// congestion is answered elsewhere (Chiu and Jain, 1989). Whoever has less than half of the blocks cannot feign it.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// How much of what the rules allow, in 1,024ths.
    share: usize,
    /// Blocks since the share was last set, and how many of them were late.
    blocks: usize,
    late: usize,
}

/// Everything that the rules allow.
const FULL: usize = 1_024;

/// The share changes every so many blocks.
const PACE_BLOCKS: usize = 32;

impl Default for Pace {
    fn default() -> Self {
        Self {
            share: FULL,
            blocks: 0,
            late: 0,
        }
    }
}

impl Pace {
    /// Takes notice of a block that has just arrived, and does not know so many.
    pub(super) fn see(&mut self, unknown: u64, k: u16) {
        self.blocks += 1;
        self.late += usize::from(2 * unknown > u64::from(k));
        if self.blocks < PACE_BLOCKS {
            return;
        }
        self.share = match 2 * self.late > self.blocks {
            true => (self.share * 3 / 4).max(FULL / 64),
            false => (self.share * 9 / 8).min(FULL),
        };
        (self.blocks, self.late) = (0, 0);
    }

    /// How many transactions a template carries of a stream that allows `most`.
    fn transactions(&self, most: u32) -> usize {
        (most as usize * self.share).div_ceil(FULL)
    }
}

impl Machine {
    /// Whether the operator wants this node to mine.
    pub fn is_mining(&self) -> bool {
        self.mining
    }

    pub(super) fn set_mining(&mut self, turn: &mut Turn<'_>, mining: bool) {
        self.mining = mining;
        self.refresh_templates(turn, 0);
    }

    /// Makes new templates within `delay_ms`; at once, but after what this turn sends, for 0.
    pub(super) fn refresh_templates(&mut self, turn: &Turn<'_>, delay_ms: u64) {
        if self.mining || self.has_templates {
            self.timers
                .hasten(Timer::Template, turn.now.monotonic_ms + delay_ms);
        }
    }

    pub(super) fn template_due(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let mut templates = Vec::new();
        if self.mining && !self.is_stale() {
            let streams = self.network.streams();
            let limits = streams.map(|(_, stream)| stream.params.max_transactions);
            let limit = self.pace.transactions(limits.max().unwrap_or(0));
            let account = |id: &_| turn.overlay.account(id);
            let selected = self.mempool.select(limit, self.nonce, account)?;
            let min_timestamp_ms = self.chain.next_timestamp_ms();
            for (stream, rules) in self.network.streams() {
                // A prefix of the most profitable is the most profitable of its size.
                let limit = self.pace.transactions(rules.params.max_transactions);
                let count = selected.len().min(limit);
                templates.push(Template {
                    stream,
                    parents: self.chain.tip().parents.clone(),
                    accumulator: self.chain.tip().accumulator.clone(),
                    bits: self
                        .chain
                        .next_bits(stream)
                        .unwrap_or(rules.params.initial_bits),
                    min_timestamp_ms,
                    miner: self.config.miner,
                    transactions: selected[..count].to_vec(),
                });
            }
        }
        self.has_templates = !templates.is_empty();
        turn.out.push(Effect::Mine(templates));
        Ok(())
    }
}
