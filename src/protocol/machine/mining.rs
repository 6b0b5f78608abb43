//! What the miner works on.

use super::io::Effect;
use super::timers::Timer;
use super::{Machine, Turn};
use crate::protocol::chain::template::Template;
use crate::protocol::chain::view::{Fault, View};

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
        if self.mining && !self.is_behind() {
            let streams = self.network.streams();
            let limit = streams
                .map(|(_, stream)| stream.params.max_transactions)
                .max();
            let account = |id: &_| turn.overlay.account(id);
            let limit = limit.unwrap_or(0) as usize;
            let selected = self.mempool.select(limit, self.nonce, account)?;
            let min_timestamp_ms = self.chain.next_timestamp_ms();
            for (stream, rules) in self.network.streams() {
                // A prefix of the most profitable is the most profitable of its size.
                let count = selected.len().min(rules.params.max_transactions as usize);
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
