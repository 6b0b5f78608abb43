//! Events to inputs, effects to events.

use std::sync::Arc;

use super::check::Violation;
use super::link::Frame;
use super::setup::{PORT, Withholding};
use super::world::{Event, Held, World};
use crate::protocol::chain::view::{Batch, Fault};
use crate::protocol::link::Conditions;
use crate::protocol::machine::behaviour::honest;
use crate::protocol::machine::io::{
    ConnId, Effect, Event as Happening, Input, Origin, Outbox, Reason, Request,
};
use crate::protocol::machine::serve::serve;
use crate::protocol::wire::limits::MAX_ORPHANS;

impl World {
    /// Starts a node from what is on its disk.
    pub(super) fn start(&mut self, node: usize) -> Result<(), Violation> {
        let (time, network) = (self.time(node), Arc::clone(&self.config.network));
        let member = &mut self.members[node];
        let seed = member.rng.next_u64();
        let mut out = Outbox::default();
        let config = member.config.clone();
        let birth = match self.config.roles.get(&node) {
            Some(role) => role.birth(),
            None => honest(),
        };
        let machine = birth(config, network, seed, time, &member.disk, &mut out);
        let machine = machine.map_err(|fault| self.fault(node, &fault))?;
        let deadline_ms = machine.next_deadline();
        self.members[node].machine = Some(machine);
        self.trace.add(self.now_us, node, "start", &[]);
        self.perform(node, out)?;
        self.examine(node)?;
        self.set_timer(node, deadline_ms);
        Ok(())
    }

    fn fault(&self, node: usize, fault: &Fault) -> Violation {
        self.violation(node, format!("its store failed: {fault}"))
    }

    /// Takes the next event.
    pub(super) fn step(&mut self) -> Result<(), Violation> {
        let Some((moment, event)) = self.queue.pop() else {
            return Ok(());
        };
        self.now_us = moment.0;
        match event {
            Event::Wake { node } => {
                let wake = &mut self.members[node].wake;
                match wake.take_if(|wake| *wake == moment) {
                    Some(_) => self.feed(node, Input::Wake),
                    // The timer was set anew since.
                    None => Ok(()),
                }
            }
            Event::Frame { link, receiver } => self.deliver(link, receiver),
            Event::Closing { link } => {
                self.reset(link);
                Ok(())
            }
            Event::Solved { node } => self.solve(node, moment),
            Event::Slow { node, life, conn } => self.feed_alive(node, life, Input::Slow { conn }),
            Event::Durable { node, life, number } => self.durable(node, life, number),
            Event::Release { index, release } => {
                self.release_due(index, release);
                Ok(())
            }
            Event::Dialled {
                from,
                life,
                endpoint,
            } => self.dialled(from, life, *endpoint),
            Event::Established {
                link,
                node,
                life,
                endpoint,
            } => self.established(link, node, life, *endpoint),
            Event::Refused {
                node,
                life,
                endpoint,
            } => {
                let endpoint = *endpoint;
                self.feed_alive(node, life, Input::Refused { endpoint })
            }
            Event::Closed { node, life, conn } => {
                self.feed_alive(node, life, Input::Disconnected { conn })
            }
            Event::Resolved { node, life, seed } => {
                let resolves = !self.members[node].seed_outage;
                let all = (0..self.nodes()).filter(|_| resolves);
                let reachable = all.filter(|other| self.reaches(node, *other));
                let addresses = reachable
                    .map(|other| self.config.address(other, PORT))
                    .collect();
                let seed = *seed;
                self.feed_alive(node, life, Input::Resolved { seed, addresses })
            }
        }
    }

    fn feed_alive(&mut self, node: usize, life: u64, input: Input) -> Result<(), Violation> {
        if self.members[node].life == life {
            self.feed(node, input)
        } else {
            Ok(())
        }
    }

    /// Hands a fact to a node, if it runs, and wakes it as long as it is due.
    pub(super) fn feed(&mut self, node: usize, input: Input) -> Result<(), Violation> {
        if let Some(held) = &mut self.members[node].held {
            held.push(Held::Fact(Box::new(input)));
            return Ok(());
        }
        let time = self.time(node);
        // A copy of a block that is known changes nothing, and most of what arrives are such.
        let mut is_quiet = true;
        let mut next = Some(input);
        let mut deadline_ms = None;
        while let Some(input) = next {
            self.record(node, &input);
            let member = &mut self.members[node];
            let Some(machine) = &mut member.machine else {
                return Ok(());
            };
            let mut out = Outbox::default();
            let handled = machine.handle(time, input, &member.disk, &mut out);
            deadline_ms = machine.next_deadline();
            let is_due = deadline_ms.is_some_and(|at_ms| at_ms <= time.monotonic_ms);
            next = is_due.then_some(Input::Wake);
            handled.map_err(|fault| self.fault(node, &fault))?;
            is_quiet &= out.0.is_empty();
            self.perform(node, out)?;
        }
        if !is_quiet {
            self.examine(node)?;
        }
        self.set_timer(node, deadline_ms);
        Ok(())
    }

    fn record(&mut self, node: usize, input: &Input) {
        let mut number = |kind, number: u64| {
            self.trace
                .add(self.now_us, node, kind, &number.to_le_bytes());
        };
        match input {
            Input::Connected { conn, .. } => number("connected", conn.0),
            Input::Disconnected { conn } => number("disconnected", conn.0),
            Input::Malformed { conn, .. } => number("malformed", conn.0),
            Input::Slow { conn } => number("slow", conn.0),
            // As the frame that it came in.
            Input::Message { .. } => {}
            Input::Submitted { ticket, .. } => number("submitted", ticket.0),
            Input::Solved { block } => self.trace.add(self.now_us, node, "solved", &block.id().0),
            Input::Refused { .. } => number("refused", 0),
            Input::Resolved { .. } => number("resolved", 0),
            Input::Command(_) => number("command", 0),
            Input::Wake => number("wake", 0),
        }
    }

    /// Compares a node with the oracle, if its tip has moved.
    fn examine(&mut self, node: usize) -> Result<(), Violation> {
        let member = &mut self.members[node];
        let Some(machine) = &member.machine else {
            return Ok(());
        };
        let machine = machine.machine();
        if machine.orphans() > MAX_ORPHANS {
            let what = format!("{} blocks wait for parents", machine.orphans());
            return Err(self.violation(node, what));
        }
        let tip = machine.chain().tip();
        let seen = member.seen.as_ref();
        if seen.is_none_or(|seen| seen.parents != tip.parents) {
            if seen.is_some_and(|seen| seen.work > tip.work) {
                let what = format!("its tip went back to {} with less work", tip.id);
                return Err(self.violation(node, what));
            }
            let compared = self.oracle.compare(tip, &member.disk, &mut member.checked);
            member.seen = Some(Arc::clone(tip));
            let id = tip.id;
            compared.map_err(|what| self.violation(node, what))?;
            self.trace.add(self.now_us, node, "tip", &id.0);
            self.moved(node);
        }
        Ok(())
    }

    /// Sets a node's timer to when it wants to be woken, as long as it runs.
    fn set_timer(&mut self, node: usize, deadline_ms: Option<u64>) {
        let member = &mut self.members[node];
        let deadline_ms = deadline_ms.filter(|_| member.machine.is_some());
        let at_us = deadline_ms.map(|at_ms| (at_ms * 1_000).max(self.now_us));
        if member.wake.map(|(at_us, _)| at_us) != at_us {
            let schedule = |at_us| self.queue.schedule(at_us, Event::Wake { node });
            member.wake = at_us.map(schedule);
        }
    }

    /// The time that a dial takes from one node to another.
    pub(super) fn latency(&mut self, from: usize, to: Option<usize>) -> u64 {
        let Some(to) = to.filter(|to| *to < self.nodes()) else {
            return self.draw(self.config.latency_us);
        };
        let Conditions {
            delay_us,
            jitter_us,
            ..
        } = self.conditions(from, to);
        self.draw((delay_us, delay_us + jitter_us))
    }

    pub(super) fn draw(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.rng.below(most - least + 1)
    }

    fn perform(&mut self, node: usize, out: Outbox) -> Result<(), Violation> {
        let mut effects = out.0.into_iter();
        while let Some(effect) = effects.next() {
            let Effect::Persist(batch) = effect else {
                self.act(node, effect)?;
                continue;
            };
            if self.members[node].disk_full && !batch.is_empty() {
                // As the program does: it says so and ends.
                return self.crash(node);
            }
            let number = self.write(node, *batch);
            self.members[node]
                .waiting
                .push_back((number, effects.by_ref().collect()));
            let at_us = self.now_us + self.draw(self.config.persist_us);
            let life = self.members[node].life;
            self.queue
                .schedule(at_us, Event::Durable { node, life, number });
        }
        Ok(())
    }

    fn write(&mut self, node: usize, mut batch: Batch) -> u64 {
        for (id, record) in &mut batch.records {
            self.records.share(*id, record);
        }
        for (id, undo) in &mut batch.undo {
            if let Some(undo) = undo {
                self.undo.share(*id, undo);
            }
        }
        let member = &mut self.members[node];
        let tip = batch.tip.clone();
        let number = member.disk.write(batch);
        if let Some(tip) = tip {
            member.tips.push_back((number, tip));
        }
        number
    }

    pub(super) fn durable(&mut self, node: usize, life: u64, number: u64) -> Result<(), Violation> {
        let member = &mut self.members[node];
        if member.life != life {
            return Ok(());
        }
        if let Some(held) = &mut member.held {
            held.push(Held::Durable(number));
            return Ok(());
        }
        member.disk.sync(number);
        while member
            .tips
            .front()
            .is_some_and(|(written, _)| *written <= number)
        {
            member.durable = member.tips.pop_front().map(|(_, tip)| tip);
        }
        let mut effects = Vec::new();
        while member
            .waiting
            .front()
            .is_some_and(|(written, _)| *written <= number)
        {
            effects.extend(
                member
                    .waiting
                    .pop_front()
                    .into_iter()
                    .flat_map(|(_, effects)| effects),
            );
        }
        effects
            .into_iter()
            .try_for_each(|effect| self.act(node, effect))
    }

    fn act(&mut self, node: usize, effect: Effect) -> Result<(), Violation> {
        let life = self.members[node].life;
        match effect {
            Effect::Persist(_) => {
                return Err(self.violation(node, "it persists twice in one turn"));
            }
            Effect::Send { to, message } => {
                let frame = self.frame(&message);
                to.into_iter()
                    .for_each(|conn| self.send(node, conn, Arc::clone(&frame)));
            }
            Effect::Serve { to, request } => self.serve(node, to, &request)?,
            Effect::Dial(endpoint) => {
                let at_us = self.now_us + self.latency(node, self.config.node_at(&endpoint));
                let endpoint = Box::new(endpoint);
                self.queue.schedule(
                    at_us,
                    Event::Dialled {
                        from: node,
                        life,
                        endpoint,
                    },
                );
            }
            Effect::Resolve(seed) => {
                let at_us = self.now_us + self.draw(self.config.latency_us);
                let seed = Box::new(seed);
                self.queue
                    .schedule(at_us, Event::Resolved { node, life, seed });
            }
            Effect::Disconnect {
                conn,
                reason: Reason::Fault(fault),
            } if !self.may_fault(node, conn) => {
                return Err(self.violation(node, format!("it faults an honest peer: {fault}")));
            }
            Effect::Disconnect { conn, reason } => {
                if matches!(reason, Reason::Fault(_)) {
                    self.members[node].faults += 1;
                }
                self.close(node, conn);
            }
            Effect::Mine(templates) => self.work(node, templates),
            Effect::Answer { ticket, result } => drop(self.answers.insert(ticket, result)),
            Effect::Notify(event) => self.notice(node, &event)?,
        }
        Ok(())
    }

    fn serve(&mut self, node: usize, to: ConnId, request: &Request) -> Result<(), Violation> {
        let asks_for_blocks = matches!(request, Request::BlocksById { .. });
        let withholding = self.config.withholding.get(&node);
        let another = Request::Blocks {
            from_block: 1,
            count: 1,
        };
        let nothing = Request::BlocksById { ids: Vec::new() };
        let request = match withholding.filter(|_| asks_for_blocks) {
            None => request,
            Some(Withholding::Silence) => return Ok(()),
            Some(Withholding::Emptiness) => &nothing,
            Some(Withholding::AnotherBlock) => &another,
        };
        let answer = serve(&self.members[node].disk, request);
        let answer = answer.map_err(|fault| self.fault(node, &fault))?;
        self.send(node, to, Arc::new(Frame::new(&answer)));
        Ok(())
    }

    fn notice(&mut self, node: usize, event: &Happening) -> Result<(), Violation> {
        if let Some(watch) = &mut self.watch {
            watch.notice(self.now_us, node, event);
        }
        if let Happening::BlockAccepted { block, origin, .. } = event
            && *origin == Origin::Mined
        {
            let stream = block.header().stream;
            *self.members[node].mined.entry(stream).or_default() += 1;
        }
        if let Happening::Banned { .. } = event {
            self.members[node].bans += 1;
        }
        if let Happening::BlockRejected { label, .. } = event {
            *self.members[node].refused.entry(label).or_default() += 1;
        }
        if let Happening::BlockRejected {
            label: "state_digest" | "header",
            reason,
            id,
            ..
        } = event
            && !self.may_refuse(node, id)
        {
            return Err(self.violation(node, format!("it refuses an honest block: {reason}")));
        }
        Ok(())
    }

    /// Makes a node's timers and luck void.
    pub(super) fn void(&mut self, node: usize) {
        let member = &mut self.members[node];
        member.wake = None;
        member.luck = None;
        member.attempts.clear();
    }
}
