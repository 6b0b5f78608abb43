//! What a driver drives: the machine, or what stands in its place.

use std::sync::Arc;

use super::io::{Input, Outbox};
use super::{Machine, MachineConfig};
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::time::Time;

/// How a node behaves: as the [`Machine`] does, or otherwise. Drivers do not tell the difference.
pub trait Behaviour: Send {
    /// Takes in one fact, as [`Machine::handle`] does.
    ///
    /// # Errors
    ///
    /// The store failed, or contradicts itself: the node must end.
    fn handle(
        &mut self,
        now: Time,
        input: Input,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault>;

    /// The moment at which the driver owes [`Input::Wake`], as [`Machine::next_deadline`] has it.
    fn next_deadline(&self) -> Option<u64>;

    /// The machine whose state is what is on disk.
    fn machine(&self) -> &Machine;

    /// Whether the operator wants this node to mine.
    fn is_mining(&self) -> bool {
        self.machine().is_mining()
    }
}

/// What brings a behaviour about, with the arguments of [`Machine::new`].
pub type Birth = Box<
    dyn FnOnce(
        MachineConfig,
        Arc<Network>,
        u64,
        Time,
        &dyn View,
        &mut Outbox,
    ) -> Result<Box<dyn Behaviour>, Fault>,
>;

/// An honest node.
pub fn honest() -> Birth {
    Box::new(|config, network, seed, now, disk, out| {
        let machine = Machine::new(config, network, seed, now, disk, out)?;
        Ok(Box::new(machine))
    })
}

impl Behaviour for Machine {
    fn handle(
        &mut self,
        now: Time,
        input: Input,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        Self::handle(self, now, input, disk, out)
    }

    fn next_deadline(&self) -> Option<u64> {
        Self::next_deadline(self)
    }

    fn machine(&self) -> &Machine {
        self
    }
}
