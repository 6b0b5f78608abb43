//! Hostile peers: one for each way in which nodes of other networks were attacked. [`table`] lists them, and where each is tried.
//!
//! A row is an attack, written once against a [`Victim`]: the machine behind its decoders under virtual time ([`bare`]), or the
//! real program over TCP ([`program`]). It answers with the bound that was broken, if one was. Three tests stand under it: that the
//! machine holds the bound, that the program does, and, in a module `proofs`, that neither would without its defence. Where the
//! defence is a setting, the proof sets it otherwise; where it is the form of the code, the proof does beside it what others did;
//! and else `triskel::protocol::bugs::Defence` names it, and the proof takes it away. Proofs of that sort are compiled with the
//! feature `seeded-bugs` alone; `make bugs` runs them, and all others once more. Against the program a proof runs where it costs
//! seconds; the defences are the same lines in both.
//!
//! The machine's bound is memory by a counting allocator, counts, and virtual time. The program's is resident memory, sockets and
//! progress that must come while the attack lasts, whenever a busy machine lets it come.

mod addresses;
mod announcements;
mod bare;
mod blame;
mod blocks;
mod extremes;
mod frames;
mod honest;
mod labels;
mod lines;
mod places;
mod program;
mod pushes;
mod rules;
mod sync;
mod table;

use std::sync::Arc;

use triskel::node::NodeConfig;
use triskel::node::config::{AllocationConfig, Preset};
use triskel::protocol::chain::id::{BlockId, NodeKey};
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::work::Work;
use triskel::protocol::wire::frame::encode;
use triskel::protocol::wire::message::{Claim, Hello, Message, PROTOCOL_VERSION};

use super::memory::person;

/// A connection to the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Peer(u64);

/// Whether a bound held; if not, how it was broken.
type Bound = Result<(), String>;

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Bound {
    if holds { Ok(()) } else { Err(broken()) }
}

/// Who is attacked.
trait Victim {
    fn network(&self) -> &Arc<Network>;

    /// The clock on the wall, in milliseconds.
    fn wall_ms(&self) -> u64;

    /// How long something may take that has to come, in milliseconds.
    fn patience_ms(&self) -> u64;

    /// Opens a connection and says nothing.
    fn connect(&mut self) -> Peer;

    /// Opens a connection on which frames can be sent: where the transport is Noise, its handshake is done, as a test person.
    fn shake(&mut self, person: usize) -> Peer;

    /// Sends bytes: frames, or pieces of them. What was left to its peer is of no use any more and goes nowhere.
    fn write(&mut self, peer: Peer, bytes: &[u8]);

    /// Sends bytes one by one, with a pause behind each.
    fn crumble(&mut self, peer: Peer, bytes: &[u8]);

    /// What the victim has said to a peer since the last time.
    fn hear(&mut self, peer: Peer) -> Vec<Message>;

    /// Whether the victim has left a connection alone.
    fn is_open(&mut self, peer: Peer) -> bool;

    /// Lets time pass.
    fn pass(&mut self, ms: u64);

    /// How many connections the victim holds.
    fn connections(&mut self) -> usize;

    /// With how many peers it has a session.
    fn sessions(&mut self) -> usize;

    /// How many keys are banned.
    fn bans(&mut self) -> usize;

    /// The youngest block of its selected chain.
    fn tip(&mut self) -> BlockId;

    /// Blocks of which it keeps headings, and which it lacks.
    fn planned(&mut self) -> usize;

    /// Transactions that wait.
    fn mempool(&mut self) -> usize;

    /// Addresses at which it has met nobody.
    fn addresses(&mut self) -> usize;

    fn say(&mut self, peer: Peer, message: &Message) {
        self.write(peer, &encode(message));
    }

    /// Opens a connection and greets, as a test person who claims something.
    fn greet_claiming(&mut self, number: usize, claim: Claim) -> Peer {
        let peer = self.shake(number);
        let hello = hello(self.network(), NodeKey(person(number).public().0), claim);
        self.say(peer, &hello);
        peer
    }

    /// The same of somebody who has nothing.
    fn greet(&mut self, number: usize) -> Peer {
        let claim = nothing(self.network());
        self.greet_claiming(number, claim)
    }

    /// Waits until everything that a peer has said is taken in.
    fn settle(&mut self, peer: Peer) -> Bound {
        let claim = nothing(self.network());
        self.say(peer, &Message::Ping { nonce: 7, claim });
        self.until("an answer", |victim| {
            let is_answer = |message: &Message| matches!(message, Message::Pong { nonce: 7, .. });
            victim.hear(peer).iter().any(is_answer)
        })
    }

    /// Waits for something that has to come.
    fn until(&mut self, what: &str, mut reached: impl FnMut(&mut Self) -> bool) -> Bound {
        let end_ms = self.wall_ms() + self.patience_ms();
        while !reached(self) {
            ensure(self.wall_ms() < end_ms, || format!("{what} is not reached"))?;
            self.pass(10);
        }
        Ok(())
    }
}

/// How every victim is set up: it listens on loopback, does not mine and dials nobody.
fn settings() -> NodeConfig {
    let mut config = NodeConfig {
        port: 0,
        listen: "127.0.0.1".parse().unwrap(),
        ..NodeConfig::default()
    };
    config.network.preset = Preset::Chain;
    // Two hundred hashes a block: a hostile peer can afford as many as it wants.
    config.network.initial_hashrate = Some(200);
    config.mining.enabled = false;
    config.peer.target_outbound = 0;
    config.rpc.port = Some(0);
    config.metrics.port = Some(0);
    config.log.statistics_interval_ms = Some(0);
    config
}

/// Test persons who own something where [`rich`] says so.
const RICH: usize = 8;

/// Endows the first test persons.
fn rich(config: &mut NodeConfig) {
    let endow = |number| AllocationConfig {
        account: person(number).public(),
        balance: 1_000_000,
    };
    config.network.allocations = (0..RICH).map(endow).collect();
    config.network.allocations.sort_by_key(|one| one.account);
}

/// The easiest target that the networks allow: two hashes.
const EASIEST: u32 = 0x207f_ffff;

/// How the machine fares in an attack without a defence.
#[cfg(feature = "seeded-bugs")]
fn lacking(
    defence: triskel::protocol::bugs::Defence,
    change: impl FnOnce(&mut NodeConfig),
    attack: impl FnOnce(&mut bare::Bare) -> Bound,
) -> String {
    triskel::protocol::bugs::take_away(Some(defence));
    let bound = attack(&mut bare::Bare::start(change));
    triskel::protocol::bugs::take_away(None);
    bound.expect_err("the defence defends nothing")
}

/// The claim of somebody who has nothing.
fn nothing(network: &Network) -> Claim {
    Claim {
        work: Work::ZERO,
        tip: network.id(),
        number: 0,
        beside: Vec::new(),
        pruned: 0,
    }
}

fn hello(network: &Network, key: NodeKey, claim: Claim) -> Message {
    Message::Hello(Hello {
        version: PROTOCOL_VERSION,
        network: network.id(),
        key,
        nonce: 1,
        port: 0,
        claim,
        features: 0,
        agent: "hostile".to_owned(),
    })
}
