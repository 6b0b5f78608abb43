//! The state machine: one input, at one moment, to effects in the order in which they must be performed.
//!
//! ```text
//!            facts                                  orders
//!  driver ----------> Machine::handle -----------> driver
//!           Input        |        ^      Outbox
//!                        v        |
//!                      sessions, discovery, sync, relay, mining   (this folder)
//!                        |        ^
//!                        v        |
//!                      chain, mempool  <---- View (what is stored, read-only)
//! ```
//!
//! All state has one owner. Sub-machines call each other directly; no events travel inside.

mod addresses;
mod announce;
pub mod behaviour;
mod config;
mod discovery;
mod fetch;
mod groups;
mod holders;
pub mod io;
mod mining;
mod orphans;
mod penalties;
mod push;
mod relay;
pub mod serve;
mod sessions;
mod slots;
mod sync;
mod timers;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use config::MachineConfig;
use holders::Holders;
use io::{Command, ConnId, Direction, Effect, Event, Input, Origin, Outbox, Reason, Request};
pub use penalties::Ban;
pub use sessions::Session;
pub use sync::SyncHeld;
use timers::{Timer, Timers};

use crate::protocol::bugs::{Defence, lacks};
use crate::protocol::chain::Chain;
use crate::protocol::chain::id::{BlockId, TransactionId};
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{Fault, Overlay, Record, View};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::mempool::Mempool;
use crate::protocol::rng::Rng;
use crate::protocol::time::Time;
use crate::protocol::wire::limits::{MAX_HELD_BLOCKS, MAX_HELD_TRANSACTIONS};
use crate::protocol::wire::message::{Message, Received};

/// A node without a world.
#[derive(Clone, Debug)]
pub struct Machine {
    config: MachineConfig,
    network: Arc<Network>,
    rng: Rng,
    /// Names this run of the node in handshakes.
    nonce: u64,
    timers: Timers,
    chain: Chain,
    /// Blocks that have their place and that the order has not followed yet, and where they came from.
    placed: Vec<(Arc<Record>, Origin)>,
    mempool: Mempool,
    /// Submissions of this node's users that wait, and are kept on disk until they do not.
    own: BTreeSet<TransactionId>,
    /// Transactions that a reorganisation took back and the mempool does not take for now: their sender's income went with them.
    taken_back: BTreeMap<TransactionId, SharedTransaction>,
    /// The last of them that was offered to the mempool again.
    retried: TransactionId,
    orphans: orphans::Orphans,
    block_holders: Holders<BlockId>,
    announcements: announce::Announcements,
    fetches: fetch::Fetches,
    pushed: push::Pushed,
    transaction_holders: Holders<TransactionId>,
    connections: sessions::Connections,
    addresses: addresses::AddressBook,
    penalties: penalties::Penalties,
    /// Learned endpoints that are being dialled.
    dialling: usize,
    sync: sync::Sync,
    mining: bool,
    pace: mining::Pace,
    has_templates: bool,
}

impl Machine {
    /// Resumes from what is stored; an empty store begins with genesis.
    ///
    /// # Errors
    ///
    /// The store failed, or contradicts itself.
    pub fn new(
        config: MachineConfig,
        network: Arc<Network>,
        seed: u64,
        now: Time,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<Self, Fault> {
        let mut turn = Turn::new(now, disk);
        let mut rng = Rng::new(seed);
        let mut secret = Rng::new(!seed);
        let addresses = addresses::AddressBook::new(&mut secret, config.group_private);
        let mut machine = Self {
            nonce: rng.next_u64(),
            rng,
            timers: Timers::default(),
            chain: Chain::restore(Arc::clone(&network), config.prune, &mut turn.overlay)?,
            network,
            placed: Vec::new(),
            mempool: Mempool::new(config.mempool),
            own: BTreeSet::new(),
            taken_back: BTreeMap::new(),
            retried: TransactionId::default(),
            orphans: orphans::Orphans::default(),
            block_holders: Holders::new(MAX_HELD_BLOCKS, &mut secret),
            announcements: announce::Announcements::default(),
            fetches: fetch::Fetches::default(),
            pushed: push::Pushed::default(),
            transaction_holders: Holders::new(MAX_HELD_TRANSACTIONS, &mut secret),
            connections: sessions::Connections::default(),
            addresses,
            penalties: penalties::Penalties::new(config.ban_ms),
            dialling: 0,
            sync: sync::Sync::default(),
            mining: config.mining,
            pace: mining::Pace::default(),
            has_templates: false,
            config,
        };
        machine.restore_pending(&mut turn)?;
        // What had its place when the node ended.
        machine.follow(&mut turn)?;
        machine.addresses.restore(disk.addresses()?);
        for endpoint in machine.config.peers.clone() {
            machine.keep(&mut turn, endpoint);
        }
        if !machine.config.seeds.is_empty() {
            machine.timers.set(Timer::Seeds, now.monotonic_ms);
        }
        if machine.config.target_outbound > 0 {
            machine.timers.set(Timer::Discover, now.monotonic_ms);
            machine.feeler_later(now.monotonic_ms);
        }
        machine.refresh_templates(&turn, 0);
        machine.run_timers(&mut turn)?;
        turn.finish(out);
        Ok(machine)
    }

    /// Takes in one fact. Orders are appended in the order in which they must be performed.
    ///
    /// # Errors
    ///
    /// The store failed, or contradicts itself: the node must end.
    pub fn handle(
        &mut self,
        now: Time,
        input: Input,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        if let Input::Message { conn, message } = &input
            && self.is_copy(now, *conn, message)
        {
            return Ok(());
        }
        let mut turn = Turn::new(now, disk);
        match input {
            Input::Wake => self.run_timers(&mut turn)?,
            other => self.take_in(&mut turn, other)?,
        }
        self.note_addresses(now.monotonic_ms);
        turn.finish(out);
        Ok(())
    }

    /// The moment on the monotonic clock at which the driver owes [`Input::Wake`], in milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The waiting transactions.
    pub fn mempool(&self) -> &Mempool {
        &self.mempool
    }

    /// The sessions that stand: connection, who opened it, the address at its other end.
    pub fn sessions(
        &self,
    ) -> impl Iterator<Item = (ConnId, Direction, std::net::SocketAddr, &Session)> {
        self.connections
            .sessions()
            .map(|(conn, connection, session)| {
                (conn, connection.direction, connection.remote, session)
            })
    }

    /// The nodes that are banned, and for how long from a moment on the monotonic clock.
    pub fn bans(&self, now_ms: u64) -> impl Iterator<Item = Ban> {
        self.penalties.bans(now_ms)
    }

    /// How many addresses are known at which nobody was met yet, and at which somebody was.
    pub fn known_addresses(&self) -> (usize, usize) {
        self.addresses.count()
    }

    fn take_in(&mut self, turn: &mut Turn<'_>, input: Input) -> Result<(), Fault> {
        match input {
            Input::Connected {
                conn,
                dialled,
                remote,
            } => {
                self.dialled(dialled.as_ref());
                self.connected(turn, conn, dialled, remote);
            }
            Input::Refused { endpoint } => {
                self.dialled(Some(&endpoint));
                self.refused(turn, endpoint);
            }
            Input::Disconnected { conn } => self.remove(turn, conn, None),
            Input::Message { conn, message } => {
                let before = turn.out.len();
                self.receive(turn, conn, message)?;
                self.credit(turn, conn, before);
            }
            Input::Malformed { conn, error } => {
                self.disconnect(turn, conn, error.into());
            }
            Input::Slow { conn } => self.disconnect(turn, conn, Reason::Slow),
            Input::Resolved { seed, addresses } => self.resolved(turn, &seed, addresses),
            Input::Solved { block } if self.mining => {
                self.take_block(turn, &block, Origin::Mined)?;
            }
            Input::Submitted {
                ticket,
                transaction,
            } => self.submitted(turn, ticket, transaction)?,
            Input::Command(command) => self.command(turn, command),
            // Found while mining ended: whoever ended it relies on what the tip was then.
            Input::Solved { .. } | Input::Wake => {}
        }
        Ok(())
    }

    /// A dial has ended, one way or the other.
    fn dialled(&mut self, endpoint: Option<&Endpoint>) {
        if endpoint.is_some_and(|endpoint| !self.addresses.is_kept(endpoint)) {
            self.dialling = self.dialling.saturating_sub(1);
        }
    }

    fn receive(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        message: Received,
    ) -> Result<(), Fault> {
        if let Received::Hello(hello) = message {
            return self.hello(turn, conn, hello);
        }
        // What was on its way when this node ended the connection is not answered.
        if !self.connections.0.contains_key(&conn) {
            return Ok(());
        }
        let Some(session) = self.connections.session(conn) else {
            let fault = Reason::Fault("a message before the hello".to_owned());
            self.disconnect(turn, conn, fault);
            return Ok(());
        };
        session.heard_ms = turn.now.monotonic_ms;
        match message {
            Received::Hello(_) => Ok(()),
            Received::Ping { nonce, claim } => self.pinged(turn, conn, nonce, claim),
            Received::Pong { nonce, claim } => self.ponged(turn, conn, nonce, claim),
            Received::RequestPeers => {
                self.peers_requested(turn, conn);
                Ok(())
            }
            Received::Peers(addresses) => {
                self.told(turn, conn, &addresses);
                Ok(())
            }
            Received::NewBlock(block) => self.new_block(turn, conn, block),
            Received::NewTransaction(transaction) => self.new_transaction(turn, conn, transaction),
            Received::RequestBlocks { from_block, count } => {
                let request = Request::Blocks { from_block, count };
                turn.out.push(Effect::Serve { to: conn, request });
                Ok(())
            }
            Received::RequestBlocksById { ids } => {
                let request = Request::BlocksById { ids };
                turn.out.push(Effect::Serve { to: conn, request });
                Ok(())
            }
            Received::RequestHeaders { .. }
                if lacks(Defence::ServedWhileBehind) && self.is_syncing() =>
            {
                Ok(())
            }
            Received::RequestHeaders { locator } => {
                let request = Request::Headers { locator };
                turn.out.push(Effect::Serve { to: conn, request });
                Ok(())
            }
            Received::RequestAccounts { block, after } => {
                let settled = self.chain.settled().unwrap_or_default();
                let block = block.unwrap_or(settled);
                let request = Request::Accounts { block, after };
                turn.out.push(Effect::Serve { to: conn, request });
                Ok(())
            }
            // Asked for where a node starts from a snapshot, before it is a node.
            Received::Accounts { .. } => Ok(()),
            Received::Headers {
                from_block,
                headers,
                more,
            } => self.headers(turn, conn, from_block, &headers, more),
            Received::Blocks { blocks, .. } => self.blocks(turn, conn, blocks),
            Received::CompactBlock(sketch) => self.sketched(turn, conn, sketch),
            Received::RequestBlockTransactions { block, indexes } => {
                self.block_transactions_requested(turn, conn, block, &indexes);
                Ok(())
            }
            Received::BlockTransactions {
                block,
                transactions,
            } => self.block_transactions(turn, conn, block, transactions),
            Received::AnnounceBlock { id } => self.announced(turn, conn, id),
            Received::RequestCompactBlock { id } => {
                self.compact_block_requested(turn, conn, id);
                Ok(())
            }
            Received::PushBlocks { push } => {
                self.push_wanted(conn, push);
                Ok(())
            }
            Received::AnnounceTransactions { ids } => {
                self.transactions_announced(turn, conn, ids);
                Ok(())
            }
            Received::RequestTransactions { ids } => {
                self.transactions_requested(turn, conn, ids);
                Ok(())
            }
        }
    }

    fn command(&mut self, turn: &mut Turn<'_>, command: Command) {
        match command {
            Command::Mine(mining) => self.set_mining(turn, mining),
            Command::Connect(endpoint) => self.keep(turn, endpoint),
            Command::Ping => self.ping_all(turn),
            Command::Redial => self.redial(turn),
            Command::Disconnect(key) => {
                let connections: Vec<_> = self
                    .connections
                    .sessions()
                    .filter(|(.., session)| session.key == key)
                    .map(|(conn, connection, _)| (conn, connection.dialled.clone()))
                    .collect();
                for (conn, dialled) in connections {
                    self.disconnect(turn, conn, Reason::Ordered);
                    if let Some(endpoint) = dialled {
                        self.addresses.forget(&endpoint);
                        self.timers.cancel(&Timer::Dial(endpoint));
                    }
                }
            }
        }
    }

    fn run_timers(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        while let Some(timer) = self.timers.due(turn.now.monotonic_ms) {
            match timer {
                Timer::Follow => self.follow(turn)?,
                Timer::Handshake(conn) => self.handshake_due(turn, conn),
                Timer::Keepalive(conn) => self.keepalive_due(turn, conn),
                Timer::Dial(endpoint) => self.dial_due(turn, endpoint),
                Timer::Seeds => self.seeds_due(turn),
                Timer::Discover => self.discover_due(turn),
                Timer::Feeler => self.feeler_due(turn),
                Timer::Addresses => self.addresses_due(turn),
                Timer::Sync => self.sync_due(turn)?,
                Timer::Fetch => self.fetch_due(turn),
                Timer::Announce => self.announce_due(turn),
                Timer::Transactions => self.transactions_due(turn),
                Timer::Template => self.template_due(turn)?,
            }
        }
        Ok(())
    }
}

/// One call of [`Machine::handle`]: the moment, the store with the changes so far, and the orders so far.
struct Turn<'a> {
    now: Time,
    overlay: Overlay<'a>,
    /// Orders that do not wait for the disk: somebody's block is passed on before it is stored.
    out: Vec<Effect>,
    /// Orders that do: what a user is told is on disk.
    after: Vec<Effect>,
}

impl<'a> Turn<'a> {
    fn new(now: Time, disk: &'a dyn View) -> Self {
        Self {
            now,
            overlay: Overlay::new(disk),
            out: Vec::new(),
            after: Vec::new(),
        }
    }

    fn send(&mut self, to: ConnId, message: Message) {
        self.out.push(Effect::Send {
            to: vec![to],
            message,
        });
    }

    fn send_all(&mut self, to: Vec<ConnId>, message: impl FnOnce() -> Message) {
        if !to.is_empty() {
            self.out.push(Effect::Send {
                to,
                message: message(),
            });
        }
    }

    fn notify(&mut self, event: Event) {
        self.out.push(Effect::Notify(event));
    }

    fn finish(self, out: &mut Outbox) {
        match out.0.is_empty() {
            true => out.0 = self.out,
            false => out.0.extend(self.out),
        }
        // Without changes as well: what an answer speaks of may have been written by an earlier turn and not be durable yet.
        if !self.overlay.batch.is_empty() || !self.after.is_empty() {
            out.push(Effect::Persist(Box::new(self.overlay.batch)));
        }
        out.0.extend(self.after);
    }
}
