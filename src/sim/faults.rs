//! The hands that hurt and heal a network.

use super::check::{Checked, Violation};
use super::world::World;
use crate::protocol::chain::view::View;

impl World {
    /// Parts the nodes: those of different groups no longer reach each other. Links across are reset or stall, as the seed has it.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn partition(&mut self, groups: &[usize]) -> Result<(), Violation> {
        self.groups = groups.to_vec();
        let cut: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| !self.reaches(link.nodes[0], link.nodes[1]))
            .map(|(id, _)| *id)
            .collect();
        for link in cut {
            if self.rng.below(2) == 0 {
                self.reset(link);
            }
        }
        self.release();
        Ok(())
    }

    /// Lets all nodes reach each other again.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn heal(&mut self) -> Result<(), Violation> {
        let groups = vec![0; self.nodes()];
        self.partition(&groups)
    }

    pub(super) fn reaches(&self, left: usize, right: usize) -> bool {
        self.groups[left] == self.groups[right]
    }

    /// Ends a random connection of a node, as a lossy network does.
    pub fn reset_one(&mut self, node: usize) {
        let links: Vec<u64> = self.members[node].conns.values().copied().collect();
        if let Some(link) = links.get(self.rng.below(links.len() as u64) as usize) {
            self.reset(*link);
        }
    }

    /// Ends a node without warning: what was not durable is lost.
    ///
    /// # Errors
    ///
    /// Something durable was lost with it.
    pub fn crash(&mut self, node: usize) -> Result<(), Violation> {
        let links: Vec<u64> = self.members[node].conns.values().copied().collect();
        for link in links {
            self.reset(link);
        }
        self.void(node);
        let member = &mut self.members[node];
        member.machine = None;
        member.life += 1;
        member.disk.crash();
        member.conns.clear();
        member.waiting.clear();
        member.seen = None;
        member.checked = Checked::default();
        member.tips.clear();
        let (durable, kept) = (
            member.durable.clone(),
            member.disk.tip().unwrap_or_default(),
        );
        self.trace.add(self.now_us, node, "crash", &[]);
        if kept != durable {
            return Err(self.violation(node, format!("{durable:?} was durable, {kept:?} is left")));
        }
        Ok(())
    }

    /// Starts a node that is down.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn restart(&mut self, node: usize) -> Result<(), Violation> {
        if self.members[node].machine.is_none() {
            self.start(node)
        } else {
            Ok(())
        }
    }
}
