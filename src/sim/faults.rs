//! The hands that hurt and heal a network.

use super::check::{Checked, Violation};
use super::disk::Disk;
use super::map::REGIONS;
use super::world::{Held, World};
use crate::protocol::chain::view::View;
use crate::protocol::link::{Conditions, Cut};
use crate::protocol::machine::io::{Command, Input};

impl World {
    /// Parts the nodes: those of different groups no longer reach each other. Links across are reset or stall, as the seed has it.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn partition(&mut self, groups: &[usize]) -> Result<(), Violation> {
        self.groups = groups.to_vec();
        self.apply_conditions();
        let parted = |nodes: [usize; 2]| groups[nodes[0]] != groups[nodes[1]];
        let links = self.links.iter();
        let cut: Vec<u64> = links
            .filter(|(_, link)| parted(link.nodes))
            .map(|(id, _)| id)
            .collect();
        for link in cut {
            if self.rng.below(2) == 0 {
                self.reset(link);
            }
        }
        self.release();
        Ok(())
    }

    /// Ends partitions and cuts: all nodes reach each other again, and dial at once whom they lost. Other conditions stay.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn heal(&mut self) -> Result<(), Violation> {
        for conditions in self.config.conditions.values_mut() {
            conditions.cut = None;
        }
        let groups = vec![0; self.nodes()];
        self.partition(&groups)?;
        (0..self.nodes()).try_for_each(|node| self.redial(node))
    }

    /// Sets what is done to all that one node sends another from now on, beside what the map does; what is on its way is held back
    /// by a cut too. When a cut ends, both dial at once whom they lost.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn set_conditions(
        &mut self,
        from: usize,
        to: usize,
        conditions: Conditions,
    ) -> Result<(), Violation> {
        let before = self.config.conditions.insert((from, to), conditions);
        let links: Vec<u64> = self.members[from].conns.values().copied().collect();
        for id in links {
            let Some(nodes) = self.links.get(id).map(|link| link.nodes) else {
                continue;
            };
            if nodes != [from, to] && nodes != [to, from] {
                continue;
            }
            self.apply_to(id, nodes);
            if conditions.cut == Some(Cut::Reset) {
                self.reset(id);
            }
            self.release_one(id);
        }
        if conditions.cut.is_none() && before.is_some_and(|before| before.cut.is_some()) {
            self.redial(from)?;
            self.redial(to)?;
        }
        Ok(())
    }

    /// Sets by how much a node's wall clock is ahead of the others', in milliseconds. Its timers do not notice.
    pub fn set_clock_offset(&mut self, node: usize, offset_ms: i64) {
        self.members[node].clock_offset_ms = offset_ms;
    }

    /// Makes a node's disk full, or gives it room again. One that must write then ends, as by [`World::crash`].
    pub fn set_disk_full(&mut self, node: usize, full: bool) {
        self.members[node].disk_full = full;
    }

    /// Keeps a node from resolving seeds, or no longer.
    pub fn set_seed_outage(&mut self, node: usize, outage: bool) {
        self.members[node].seed_outage = outage;
    }

    /// Has a node that runs stand still: it takes nothing in and sends nothing, and its connections stand. What arrives waits.
    pub fn pause(&mut self, node: usize) {
        let member = &mut self.members[node];
        if member.machine.is_none() {
            return;
        }
        member.held.get_or_insert_default();
        // Luck has no memory: it is drawn anew when the node goes on.
        member.luck = None;
        self.trace.add(self.now_us, node, "pause", &[]);
    }

    /// Lets a node go on that stands still.
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn resume(&mut self, node: usize) -> Result<(), Violation> {
        let Some(held) = self.members[node].held.take() else {
            return Ok(());
        };
        self.trace.add(self.now_us, node, "resume", &[]);
        self.draw_luck(node);
        let life = self.members[node].life;
        held.into_iter().try_for_each(|held| match held {
            Held::Durable(number) => self.durable(node, life, number),
            // It may end of what came before.
            Held::Fact(_) if self.members[node].life != life => Ok(()),
            Held::Fact(input) => self.feed(node, *input),
        })
    }

    /// Makes a node measure its round trips now: see [`World::sessions`].
    ///
    /// # Errors
    ///
    /// An invariant was violated.
    pub fn ping(&mut self, node: usize) -> Result<(), Violation> {
        self.feed(node, Input::Command(Command::Ping))
    }

    fn redial(&mut self, node: usize) -> Result<(), Violation> {
        self.feed(node, Input::Command(Command::Redial))
    }

    /// Tells all links what is done to what is sent over them.
    fn apply_conditions(&mut self) {
        let links: Vec<_> = self
            .links
            .iter()
            .map(|(id, link)| (id, link.nodes))
            .collect();
        for (id, nodes) in links {
            self.apply_to(id, nodes);
        }
    }

    pub(super) fn apply_to(&mut self, link: u64, nodes: [usize; 2]) {
        let conditions = self.lines_between(nodes);
        if let Some(link) = self.links.get_mut(link) {
            let lines = link.lines.iter_mut().zip(conditions);
            lines.for_each(|(line, conditions)| line.set_conditions(conditions));
        }
    }

    /// What is done to all that is sent over a link, by the index of the receiver.
    pub(super) fn lines_between(&self, [dialler, dialled]: [usize; 2]) -> [Conditions; 2] {
        [
            self.conditions(dialled, dialler),
            self.conditions(dialler, dialled),
        ]
    }

    /// What is done to all that one node sends another: by the site, the map, whoever set it, and partitions.
    pub(super) fn conditions(&self, from: usize, to: usize) -> Conditions {
        let (least_us, most_us) = self.config.latency_us;
        let region = |node: usize| self.config.regions.get(node).copied();
        let distance_us = match (region(from), region(to)) {
            (Some(from), Some(to)) => self.delays_us[from % REGIONS.len()][to % REGIONS.len()],
            _ => 0,
        };
        let set = self.config.conditions.get(&(from, to));
        let set = set.copied().unwrap_or_default();
        // A sender feels how slowly the other reads.
        let reads = self.reads_bytes_per_s(to);
        Conditions {
            delay_us: distance_us + least_us + set.delay_us,
            jitter_us: most_us.saturating_sub(least_us) + set.jitter_us,
            cut: self
                .cut(from, to)
                .or_else(|| self.is_held(from, to).then_some(Cut::Stall)),
            rate_bytes_per_s: set.rate_bytes_per_s.into_iter().chain(reads).min(),
            ..set
        }
    }

    fn cut(&self, from: usize, to: usize) -> Option<Cut> {
        if self.groups[from] != self.groups[to] {
            return Some(Cut::Stall);
        }
        self.config.conditions.get(&(from, to))?.cut
    }

    /// Whether a connection between two nodes can come to stand: that takes both directions.
    pub(super) fn reaches(&self, left: usize, right: usize) -> bool {
        self.cut(left, right).is_none() && self.cut(right, left).is_none()
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
        member.held = None;
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

    /// Removes all that a node has stored, as a new disk does; for a node that is down.
    pub fn wipe(&mut self, node: usize) {
        let member = &mut self.members[node];
        if member.machine.is_some() {
            return;
        }
        member.disk = Disk::new(&self.numbers);
        member.durable = None;
        self.trace.add(self.now_us, node, "wipe", &[]);
    }

    /// Gives a node that is down what another has stored, as a backup of that would.
    pub fn copy_store(&mut self, from: usize, to: usize) {
        if self.members[to].machine.is_some() {
            return;
        }
        let mut disk = self.members[from].disk.clone();
        disk.sync(u64::MAX);
        let member = &mut self.members[to];
        member.durable = disk.tip().unwrap_or_default();
        member.disk = disk;
        self.trace.add(self.now_us, to, "copy", &[]);
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
