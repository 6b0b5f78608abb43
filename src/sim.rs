//! Layer 2': the machine under virtual time. Whole networks in one process, from a seed: the same seed, the same trace.
//!
//! What is real: the machine, the rules, the codec (every message is encoded and decoded), the order of bytes on a link, what a
//! crash does to a disk. What is not: proof of work (the time of a solution is drawn from the exponential law), TCP, and time.

pub mod check;
pub mod disk;
mod faults;
mod link;
pub mod map;
mod mining;
mod perform;
pub mod plan;
mod queue;
mod rogues;
pub mod role;
pub mod setup;
mod submit;
mod trace;
mod transport;
pub mod watch;
pub mod world;

use crate::protocol::chain::params::{Algorithm, Params};

pub use check::Violation;
pub use setup::WorldConfig;
pub use world::World;

/// The parameters of a network, its proof of work replaced by the simulator's draw.
pub fn simulated(mut params: Params) -> Params {
    for stream in &mut params.streams {
        stream.algorithm = Algorithm::None;
    }
    params
}
