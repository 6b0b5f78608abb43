//! Luck: when a miner finds a block is drawn from the exponential law.
//!
//! With every block that arrives, what a node mines changes, and its chances with it, a little. Instead of being drawn anew each
//! time, a moment is drawn at a rate somewhat above the present one; when it has come, it counts with the probability that the rate
//! of then is of the one that was drawn with. The law is the same (thinning: Lewis and Shedler, 1979), and events are few.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::Violation;
use super::queue::Moment;
use super::world::{Event, World};
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::template::{Search, Template};
use crate::protocol::chain::work::Target;
use crate::protocol::machine::io::Input;

/// By how much the rate may grow before a moment has to be drawn anew.
const MARGIN: f64 = 1.25;

/// What a node mines.
pub(super) struct Attempt {
    template: Template,
    /// Hashes that a block takes on average.
    hashes: f64,
}

impl Attempt {
    /// Blocks per microsecond at these hashes per second.
    fn rate(&self, hashrates: &BTreeMap<Stream, u64>) -> f64 {
        let hashrate = hashrates.get(&self.template.stream).copied();
        hashrate.unwrap_or_default() as f64 / 1e6 / self.hashes
    }
}

/// The moment that is drawn.
pub(super) struct Luck {
    moment: Moment,
    /// Moments per microsecond.
    rate: f64,
}

impl World {
    /// Gives a node something else to mine.
    pub(super) fn work(&mut self, node: usize, templates: Vec<Template>) {
        let member = &mut self.members[node];
        let attempt = |template: Template| {
            let target = Target::from_bits(template.bits).ok()?;
            let hashes = target.expected_hashes();
            Some(Attempt { template, hashes })
        };
        member.attempts.clear();
        member
            .attempts
            .extend(templates.into_iter().filter_map(attempt));
        self.hasten_luck(node);
    }

    /// Sets the hashes per second and stream of a node, from now on.
    pub fn set_hashrate(&mut self, node: usize, hashrate: u64) {
        self.set_hashrates(node, &Stream::ALL.map(|stream| (stream, hashrate)).into());
    }

    /// Sets the hashes per second of a node, from now on. Streams that are absent it does not mine.
    pub fn set_hashrates(&mut self, node: usize, hashrates: &BTreeMap<Stream, u64>) {
        self.members[node].hashrate.clone_from(hashrates);
        self.hasten_luck(node);
    }

    /// Draws anew if the rate has grown beyond the one that was drawn with.
    fn hasten_luck(&mut self, node: usize) {
        let rate = self.rate(node);
        let drawn = self.members[node].luck.as_ref();
        if drawn.is_none_or(|luck| luck.rate < rate) {
            self.draw_luck(node);
        }
    }

    /// Blocks per microsecond.
    fn rate(&self, node: usize) -> f64 {
        let member = &self.members[node];
        let attempts = member.attempts.iter();
        attempts.map(|attempt| attempt.rate(&member.hashrate)).sum()
    }

    /// Draws the next moment at which a node may find a block.
    pub(super) fn draw_luck(&mut self, node: usize) {
        let rate = MARGIN * self.rate(node);
        let member = &mut self.members[node];
        member.luck = None;
        if rate > 0.0 {
            let wait_us = -(1.0 - member.rng.fraction()).ln() / rate;
            let at_us = self.now_us + (wait_us as u64).max(1);
            let moment = self.queue.schedule(at_us, Event::Solved { node });
            member.luck = Some(Luck { moment, rate });
        }
    }

    /// A moment has come: most times, a block is found.
    pub(super) fn solve(&mut self, node: usize, moment: Moment) -> Result<(), Violation> {
        let (wall_ms, network) = (self.time(node).wall_ms, Arc::clone(&self.config.network));
        let member = &mut self.members[node];
        let Some(luck) = member.luck.take_if(|luck| luck.moment == moment) else {
            return Ok(());
        };
        let mut share = member.rng.fraction() * luck.rate;
        let hashrates = &member.hashrate;
        let lucky = member.attempts.iter().position(|attempt| {
            share -= attempt.rate(hashrates);
            share < 0.0
        });
        let Some(attempt) = lucky.map(|index| member.attempts.swap_remove(index)) else {
            self.draw_luck(node);
            return Ok(());
        };
        member.extra_nonce += 1;
        let mut search = Search::new(attempt.template, member.extra_nonce, &network);
        let Some(block) = search.attempt(wall_ms, 1) else {
            return Err(self.violation(node, "a network of the simulator has no proof of work"));
        };
        let mut block = Arc::new(block);
        self.share(&mut block);
        let stream = block.header().stream;
        self.draw_luck(node);
        self.feed(node, Input::Solved { block })?;
        self.found(node, stream);
        Ok(())
    }
}
