//! Brings nodes to what the faults want of them.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::Applied;
use super::schedule::{Turn, Wanted};
use crate::network::CallError;
use crate::scenario::Act;
use crate::stage::{Failure, Run};

impl Run {
    /// Takes machines away and brings them back. Their nodes follow: with a machine goes all that is on it, at once.
    pub(super) async fn adapt_machines(&mut self) -> Result<(), Failure> {
        let wanted = self.engine.schedule.lost_machines(&self.plan.nodes);
        let lost = &self.engine.lost_machines;
        let gone: Vec<_> = wanted.difference(lost).copied().collect();
        let back: Vec<_> = lost.difference(&wanted).copied().collect();
        for machine in gone {
            self.engine.lost_machines.insert(machine);
            self.backend.lose(machine).await?;
        }
        for machine in back {
            self.backend.regain(machine).await?;
            self.engine.lost_machines.remove(&machine);
        }
        Ok(())
    }

    /// Brings a node to what is wanted of it. What an unanswering node does not take is tried again at the next look.
    pub(super) async fn adapt(&mut self, node: usize, turn: Option<Turn>) -> Result<(), Failure> {
        let wanted = self.engine.schedule.wanted(node, &self.plan.nodes[node]);
        let act = match turn {
            Some(Turn::Begins(index)) => {
                let fault = self.engine.schedule.fault(index);
                let concerned = fault.nodes.binary_search(&node).is_ok();
                concerned.then(|| fault.act.clone())
            }
            _ => None,
        };
        let access = self.network.access(node).clone();
        let before = self.engine.nodes[node].wanted;
        if before.up && !wanted.up {
            let kill = act == Some(Act::Kill);
            // It is gone already where its machine is.
            let machine = self.plan.nodes[node].machine.unwrap_or_default();
            if !self.engine.lost_machines.contains(&machine) {
                self.backend.end(&self.plan, &access, node, kill).await?;
            }
            self.engine.nodes[node].wanted.up = false;
            self.engine.nodes[node].wanted.paused = false;
            self.states[node] = None;
        }
        let is_down = !self.engine.nodes[node].wanted.up;
        let is_wiped = is_down && act == Some(Act::Wipe);
        if is_wiped {
            self.backend.wipe(&self.plan, &access, node)?;
        }
        if is_down {
            self.keep_conditions(node, wanted, is_wiped)?;
        }
        // One that found its disk full would find it full again.
        let waits_for_room = self.engine.nodes[node].fell && wanted.surroundings.disk_full;
        if is_down && wanted.up && !waits_for_room {
            let upgrade = match wanted
                .upgrade
                .map(|index| &self.engine.schedule.fault(index).act)
            {
                Some(Act::Upgrade(upgrade)) => Some(upgrade),
                _ => None,
            };
            let launched = self.backend.launch(&self.plan, &access, node, upgrade);
            launched.await?;
            self.engine.nodes[node].wanted.upgrade = wanted.upgrade;
            self.engine.nodes[node].wanted.up = true;
            self.engine.nodes[node].fell = false;
            // Hash rates do not survive the end of a process.
            self.engine.nodes[node].wanted.hashrate_factor = f64::NAN;
        }
        let is_up = self.engine.nodes[node].wanted.up;
        if is_up && self.engine.nodes[node].wanted.paused != wanted.paused {
            self.backend.pause(&access, node, wanted.paused).await?;
            self.engine.nodes[node].wanted.paused = wanted.paused;
            self.states[node] = None;
        }
        self.adapt_mining(node, wanted).await
    }

    /// Sets links and clocks of all nodes that go on running, at once: to cut off many takes no longer than to cut off one.
    pub(super) async fn adapt_running(&mut self) -> Result<(), Failure> {
        let mut orders = JoinSet::new();
        for node in 0..self.plan.nodes.len() {
            let wanted = self.engine.schedule.wanted(node, &self.plan.nodes[node]);
            let Applied { wanted: now, .. } = &self.engine.nodes[node];
            let runs = now.up && wanted.up && !now.paused && !self.engine.lost.contains(&node);
            let Some(changed) = self.engine.changed(node, wanted).filter(|_| runs) else {
                continue;
            };
            let (links, surroundings) = (&self.engine.links[node], wanted.surroundings);
            let access = self.network.access(node);
            let told = access.set_conditions(&self.plan, links, &changed, &surroundings);
            orders.spawn(async move { (node, surroundings, told.await) });
        }
        for (node, surroundings, told) in orders.join_all().await {
            match told {
                Ok(()) => self.engine.applied(node, surroundings),
                Err(error) => self.put_off(node, "take its links' conditions", error)?,
            }
        }
        Ok(())
    }

    /// Sets links and clock of a node that is down, on its disk, which may be a new one.
    fn keep_conditions(
        &mut self,
        node: usize,
        wanted: Wanted,
        is_wiped: bool,
    ) -> Result<(), Failure> {
        let changed = match self.engine.changed(node, wanted) {
            Some(changed) => changed,
            None if is_wiped => BTreeSet::new(),
            None => return Ok(()),
        };
        let (access, links) = (self.network.access(node), &self.engine.links[node]);
        let surroundings = wanted.surroundings;
        let kept = self.backend.keep_conditions(
            &self.plan,
            access,
            node,
            links,
            &changed,
            &surroundings,
        )?;
        match kept {
            Ok(()) => {
                self.engine.applied(node, surroundings);
                Ok(())
            }
            Err(error) => self.put_off(node, "take its links' conditions", error),
        }
    }

    /// Sets the hash rate, and sees that it mines: a process that starts does not by itself.
    async fn adapt_mining(&mut self, node: usize, wanted: Wanted) -> Result<(), Failure> {
        let Some(state) = &self.states[node] else {
            return Ok(());
        };
        let mining = state.mining;
        let access = self.network.access(node).clone();
        let factor = self.engine.nodes[node].wanted.hashrate_factor;
        if factor != wanted.hashrate_factor {
            let set = access.set_hashrate(&self.plan, node, wanted.hashrate_factor);
            match set.await {
                Ok(()) => {
                    self.engine.nodes[node].wanted.hashrate_factor = wanted.hashrate_factor;
                }
                Err(error) => return self.put_off(node, "take its hash rate", error),
            }
        }
        if !mining && let Err(error) = access.start_mining().await {
            return self.put_off(node, "start mining", error);
        }
        Ok(())
    }

    /// A node that starts or is busy may not answer now; one that refuses is wrong.
    fn put_off(&mut self, node: usize, what: &str, error: CallError) -> Result<(), Failure> {
        self.engine.settled = false;
        match error {
            CallError::Silent(_) => Ok(()),
            error => {
                let name = &self.plan.nodes[node].name;
                Err(Failure::Verdict(format!("{name} does not {what}: {error}")))
            }
        }
    }
}
