//! Nodes that break the rules, to see that the others bear it.
//!
//! Each role is a wrapper around inputs and effects of honest [`Machine`]s: a [`Behaviour`] like the machine itself, driven by
//! tokio in the program `adversary` and by virtual time in `sim`. The program `node` has none of this, and the machine no switch
//! for it.

mod forgery;
mod impostor;
pub mod lead;
mod vault;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::machine::behaviour::{Behaviour, Birth};
use crate::protocol::machine::io::Outbox;
use crate::protocol::machine::{Machine, MachineConfig};
use crate::protocol::time::Time;

use impostor::{Act, Impostor};
use lead::Lead;
use vault::Vault;

/// What a [slow reader](Role::SlowReader) reads at most, in bytes a second and of each peer: less than a network of three streams
/// says. Drivers see to it.
pub const SLOW_READER_BYTES_PER_S: u64 = 500;

/// A way to break the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Mines in secret and publishes when others come close.
    SelfishMiner,
    /// Mines, and publishes nothing until it stops mining.
    Withholder,
    /// Sends blocks that break a rule, some of them with true proof of work.
    InvalidBlockRelayer,
    /// Sends transactions that break a rule.
    InvalidTransactionRelayer,
    /// Dates its blocks ahead of its clock, by more or less than is allowed.
    TimestampLiar,
    /// Reads what it is sent slowly: [`SLOW_READER_BYTES_PER_S`].
    SlowReader,
    /// Sends questions and worthless transactions all the time.
    Flooder,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SelfishMiner,
        Self::Withholder,
        Self::InvalidBlockRelayer,
        Self::InvalidTransactionRelayer,
        Self::TimestampLiar,
        Self::SlowReader,
        Self::Flooder,
    ];

    /// Its name, as in a scenario.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SelfishMiner => "selfish-miner",
            Self::Withholder => "withholder",
            Self::InvalidBlockRelayer => "invalid-block-relayer",
            Self::InvalidTransactionRelayer => "invalid-transaction-relayer",
            Self::TimestampLiar => "timestamp-liar",
            Self::SlowReader => "slow-reader",
            Self::Flooder => "flooder",
        }
    }

    /// What brings a node of this role about.
    pub fn birth(self) -> Birth {
        Box::new(move |config, network, seed, now, disk, out| {
            self.start(config, network, seed, now, disk, out)
        })
    }

    /// A node of this role, with the arguments of [`Machine::new`].
    ///
    /// # Errors
    ///
    /// The store failed, or contradicts itself.
    fn start(
        self,
        config: MachineConfig,
        network: Arc<Network>,
        seed: u64,
        now: Time,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<Box<dyn Behaviour>, Fault> {
        let act = match self {
            Self::SelfishMiner => {
                let lead = Some(Lead::by_a_block(&network));
                let vault = Vault::new(lead, config, network, seed, now, disk, out)?;
                return Ok(Box::new(vault));
            }
            Self::Withholder => {
                let vault = Vault::new(None, config, network, seed, now, disk, out)?;
                return Ok(Box::new(vault));
            }
            Self::SlowReader => {
                let machine = Machine::new(config, network, seed, now, disk, out)?;
                return Ok(Box::new(machine));
            }
            Self::InvalidBlockRelayer => Act::Blocks,
            Self::InvalidTransactionRelayer => Act::Transactions,
            Self::TimestampLiar => Act::Times,
            Self::Flooder => Act::Flood,
        };
        let impostor = Impostor::new(act, config, network, seed, now, disk, out)?;
        Ok(Box::new(impostor))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|role| role.name() == text);
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is no role, {names} are")
        })
    }
}
