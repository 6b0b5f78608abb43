//! A miner who keeps back what it finds: two machines with a link between them that is cut and healed.
//!
//! The **front** stands in the network like any other and does not mine: what it knows is public. The **back** mines and has no
//! other peer; what it has stored is in memory. So nothing that is kept back leaks through a claim or an answer.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::lead::Lead;
use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::{AccountId, BlockId, NodeKey, TransactionId};
use crate::protocol::chain::ledger::{Account, Undo};
use crate::protocol::chain::ordering::Ordered;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::SharedTransaction;
use crate::protocol::chain::view::{
    Batch, Fault, KnownAddress, Location, Overlay, Record, Tip, View,
};
use crate::protocol::machine::behaviour::Behaviour;
use crate::protocol::machine::io::{Command, ConnId, Effect, Event, Input, Origin, Outbox};
use crate::protocol::machine::serve::serve;
use crate::protocol::machine::{Machine, MachineConfig};
use crate::protocol::time::Time;
use crate::protocol::wire::message::{Message, Received};

/// A miner who keeps back what it finds.
pub(super) struct Vault {
    front: Machine,
    back: Machine,
    back_key: NodeKey,
    network: Arc<Network>,
    /// What the back has stored.
    stored: Batch,
    /// When it lets go what it has; if absent, when it stops mining.
    lead: Option<Lead>,
    /// The link between both, while there is one.
    link: Option<ConnId>,
    /// Links so far: drivers number theirs from 0, these are numbered from the other end.
    links: u64,
    to_front: VecDeque<Message>,
    to_back: VecDeque<Message>,
    /// Whether both have had the same order since the link stands: until then a release is under way.
    has_agreed: bool,
    kept: Vec<Arc<Block>>,
    /// What was public when it was last decided whether to let go: that is an answer to blocks of others.
    public: Vec<BlockId>,
}

/// What a call has led to so far: one write, as a driver expects it, however many the front makes.
#[derive(Default)]
struct Turn {
    before: Vec<Effect>,
    batch: Batch,
    persists: bool,
    after: Vec<Effect>,
}

impl Turn {
    fn push(&mut self, effect: Effect) {
        match self.persists {
            true => self.after.push(effect),
            false => self.before.push(effect),
        }
    }

    fn finish(self, out: &mut Outbox) {
        out.0.extend(self.before);
        if self.persists {
            out.push(Effect::Persist(Box::new(self.batch)));
        }
        out.0.extend(self.after);
    }
}

impl Vault {
    pub(super) fn new(
        lead: Option<Lead>,
        config: MachineConfig,
        network: Arc<Network>,
        seed: u64,
        now: Time,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<Self, Fault> {
        let back_key = NodeKey(config.key.0.map(|byte| !byte));
        let behind = MachineConfig {
            key: back_key,
            port: 0,
            peers: Vec::new(),
            seeds: Vec::new(),
            target_outbound: 0,
            ..config.clone()
        };
        let before = MachineConfig {
            mining: false,
            max_inbound: config.max_inbound + 1,
            ..config
        };
        let (mut outer, mut inner) = (Outbox::default(), Outbox::default());
        let other = seed.rotate_left(32) ^ 1;
        let front = Machine::new(before, Arc::clone(&network), seed, now, disk, &mut outer)?;
        let back = Machine::new(
            behind,
            Arc::clone(&network),
            other,
            now,
            &Nothing,
            &mut inner,
        )?;
        let mut vault = Self {
            front,
            back,
            back_key,
            network,
            stored: Batch::default(),
            lead,
            link: None,
            links: 0,
            to_front: VecDeque::new(),
            to_back: VecDeque::new(),
            has_agreed: false,
            kept: Vec::new(),
            public: Vec::new(),
        };
        let mut turn = Turn::default();
        vault.perform_front(outer, disk, &mut turn)?;
        vault.perform_back(inner, &mut turn)?;
        vault.open(now, disk, &mut turn)?;
        vault.settle(now, disk, &mut turn)?;
        turn.finish(out);
        Ok(vault)
    }

    /// Links both, and publishes what was kept.
    fn open(&mut self, now: Time, disk: &dyn View, turn: &mut Turn) -> Result<(), Fault> {
        self.links += 1;
        let conn = ConnId(u64::MAX - self.links);
        self.link = Some(conn);
        self.has_agreed = false;
        let connected = || Input::Connected {
            conn,
            dialled: None,
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        self.turn_front(now, connected(), disk, turn)?;
        self.turn_back(now, connected(), turn)?;
        // Behind the greeting, in the order in which they were found: the front passes each on at once.
        for block in std::mem::take(&mut self.kept) {
            let bytes = Arc::clone(block.bytes());
            self.to_front.push_back(Message::NewBlock(bytes));
        }
        Ok(())
    }

    /// Parts both. What is on its way is lost.
    fn shut(&mut self, now: Time, disk: &dyn View, turn: &mut Turn) -> Result<(), Fault> {
        let Some(conn) = self.link.take() else {
            return Ok(());
        };
        self.to_front.clear();
        self.to_back.clear();
        self.public.clone_from(&self.front.chain().tip().parents);
        self.turn_front(now, Input::Disconnected { conn }, disk, turn)?;
        self.turn_back(now, Input::Disconnected { conn }, turn)
    }

    /// The back has found a block.
    fn found(
        &mut self,
        now: Time,
        block: Arc<Block>,
        disk: &dyn View,
        turn: &mut Turn,
    ) -> Result<(), Fault> {
        let stream = block.header().stream;
        let lead = self.lead.as_ref();
        let begins = lead.is_none_or(|lead| lead.begins.contains(&stream));
        let input = Input::Solved {
            block: Arc::clone(&block),
        };
        if self.link.is_some() && self.has_agreed && begins {
            self.shut(now, disk, turn)?;
        }
        if self.link.is_none() {
            self.kept.push(block);
        }
        self.turn_back(now, input, turn)
    }

    /// Carries messages between both until there are none, and lets go what is kept when its time has come.
    fn settle(&mut self, now: Time, disk: &dyn View, turn: &mut Turn) -> Result<(), Fault> {
        loop {
            if let Some(message) = self.to_back.pop_front() {
                if let Some(input) = self.carried(message) {
                    self.turn_back(now, input, turn)?;
                }
            } else if let Some(message) = self.to_front.pop_front() {
                if let Some(input) = self.carried(message) {
                    self.turn_front(now, input, disk, turn)?;
                }
            } else if self.link.is_none() && self.gives_up() {
                self.open(now, disk, turn)?;
            } else {
                let (front, back) = (self.front.chain().tip(), self.back.chain().tip());
                self.has_agreed |= front.parents == back.parents;
                return Ok(());
            }
        }
    }

    fn gives_up(&mut self) -> bool {
        let public = &self.front.chain().tip().parents;
        if self.public == *public {
            return false;
        }
        self.public.clone_from(public);
        let (public, private) = (self.front.chain().record(), self.back.chain().record());
        let kept = self.kept.len() as u64;
        let lead = self.lead.as_ref();
        lead.is_some_and(|lead| lead.gives_up(kept, public, private, &self.network))
    }

    /// Both are this program: what one sends needs no check of signatures.
    fn carried(&self, message: Message) -> Option<Input> {
        let conn = self.link?;
        let message: Received = message.check_knowing(&self.network, &|_| true).ok()?;
        Some(Input::Message { conn, message })
    }

    fn turn_front(
        &mut self,
        now: Time,
        input: Input,
        disk: &dyn View,
        turn: &mut Turn,
    ) -> Result<(), Fault> {
        let mut view = Overlay::new(disk);
        view.batch = std::mem::take(&mut turn.batch);
        let mut out = Outbox::default();
        let handled = self.front.handle(now, input, &view, &mut out);
        turn.batch = view.batch;
        handled?;
        self.perform_front(out, disk, turn)
    }

    fn perform_front(
        &mut self,
        out: Outbox,
        disk: &dyn View,
        turn: &mut Turn,
    ) -> Result<(), Fault> {
        for effect in out.0 {
            match effect {
                Effect::Persist(batch) => {
                    turn.batch.merge(*batch);
                    turn.persists = true;
                }
                Effect::Send { mut to, message } => {
                    let all = to.len();
                    to.retain(|conn| Some(*conn) != self.link);
                    if to.len() < all {
                        self.to_back.push_back(message.clone());
                    }
                    if !to.is_empty() {
                        turn.push(Effect::Send { to, message });
                    }
                }
                Effect::Serve { to, request } if Some(to) == self.link => {
                    let mut view = Overlay::new(disk);
                    view.batch = std::mem::take(&mut turn.batch);
                    let answer = serve(&view, &request);
                    turn.batch = view.batch;
                    self.to_back.push_back(answer?);
                }
                Effect::Disconnect { conn, .. } if Some(conn) == self.link => self.lose(),
                // The miner works for the back.
                Effect::Mine(_) => {}
                Effect::Notify(event) if self.is_private(&event) => {}
                effect => turn.push(effect),
            }
        }
        Ok(())
    }

    fn turn_back(&mut self, now: Time, input: Input, turn: &mut Turn) -> Result<(), Fault> {
        let mut view = Overlay::new(&Nothing);
        view.batch = std::mem::take(&mut self.stored);
        let mut out = Outbox::default();
        let handled = self.back.handle(now, input, &view, &mut out);
        self.stored = view.batch;
        handled?;
        self.perform_back(out, turn)
    }

    fn perform_back(&mut self, out: Outbox, turn: &mut Turn) -> Result<(), Fault> {
        for effect in out.0 {
            match effect {
                Effect::Persist(batch) => self.stored.merge(*batch),
                Effect::Send { to, message } if to.iter().any(|conn| Some(*conn) == self.link) => {
                    self.to_front.push_back(message);
                }
                Effect::Serve { to, request } if Some(to) == self.link => {
                    let mut view = Overlay::new(&Nothing);
                    view.batch = std::mem::take(&mut self.stored);
                    let answer = serve(&view, &request);
                    self.stored = view.batch;
                    self.to_front.push_back(answer?);
                }
                Effect::Disconnect { conn, .. } if Some(conn) == self.link => self.lose(),
                Effect::Mine(templates) => turn.push(Effect::Mine(templates)),
                Effect::Notify(event) if is_own_block(&event) => turn.push(Effect::Notify(event)),
                _ => {}
            }
        }
        Ok(())
    }

    /// One of both has ended the link: the next look opens another.
    fn lose(&mut self) {
        self.link = None;
        self.to_front.clear();
        self.to_back.clear();
    }

    /// Whether an event is of the link between both, or of a block that was told when it was found.
    fn is_private(&self, event: &Event) -> bool {
        match event {
            Event::PeerJoined { key, .. } | Event::PeerLeft { key, .. } => *key == self.back_key,
            Event::RoundTrip { conn, .. } | Event::HandshakeFailed { conn, .. } => {
                conn.0 >= u64::MAX - self.links
            }
            Event::BlockAccepted { origin, .. } => match origin {
                Origin::Relayed(key) | Origin::Synced(key) => *key == self.back_key,
                Origin::Mined => false,
            },
            _ => false,
        }
    }
}

fn is_own_block(event: &Event) -> bool {
    let Event::BlockAccepted { origin, .. } = event else {
        return false;
    };
    *origin == Origin::Mined
}

impl Behaviour for Vault {
    fn handle(
        &mut self,
        now: Time,
        input: Input,
        disk: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let mut turn = Turn::default();
        match input {
            Input::Solved { block } => self.found(now, block, disk, &mut turn)?,
            Input::Command(Command::Mine(mining)) => {
                self.turn_back(now, Input::Command(Command::Mine(mining)), &mut turn)?;
                if !mining && self.link.is_none() {
                    self.open(now, disk, &mut turn)?;
                }
            }
            Input::Wake => {
                self.turn_front(now, Input::Wake, disk, &mut turn)?;
                self.turn_back(now, Input::Wake, &mut turn)?;
            }
            input => self.turn_front(now, input, disk, &mut turn)?,
        }
        if self.link.is_none() && self.kept.is_empty() {
            self.open(now, disk, &mut turn)?;
        }
        self.settle(now, disk, &mut turn)?;
        turn.finish(out);
        Ok(())
    }

    fn next_deadline(&self) -> Option<u64> {
        let deadlines = [self.front.next_deadline(), self.back.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn machine(&self) -> &Machine {
        &self.front
    }

    fn is_mining(&self) -> bool {
        self.back.is_mining()
    }
}

/// A store in which nothing was written: what the back has written is laid over it.
struct Nothing;

impl View for Nothing {
    fn record(&self, _: &BlockId) -> Result<Option<Arc<Record>>, Fault> {
        Ok(None)
    }

    fn block(&self, _: &BlockId) -> Result<Option<Arc<Block>>, Fault> {
        Ok(None)
    }

    fn ordered(&self, _: u64) -> Result<Option<Ordered>, Fault> {
        Ok(None)
    }

    fn position(&self, _: &BlockId) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    fn account(&self, _: &AccountId) -> Result<Account, Fault> {
        Ok(Account::default())
    }

    fn accounts(
        &self,
        _: Option<&AccountId>,
        _: usize,
    ) -> Result<Vec<(AccountId, Account)>, Fault> {
        Ok(Vec::new())
    }

    fn undo(&self, _: &BlockId) -> Result<Option<Arc<Undo>>, Fault> {
        Ok(None)
    }

    fn transaction(&self, _: &TransactionId) -> Result<Option<Location>, Fault> {
        Ok(None)
    }

    fn pending(&self) -> Result<Vec<SharedTransaction>, Fault> {
        Ok(Vec::new())
    }

    fn addresses(&self) -> Result<Vec<(SocketAddr, KnownAddress)>, Fault> {
        Ok(Vec::new())
    }

    fn tip(&self) -> Result<Option<Arc<Tip>>, Fault> {
        Ok(None)
    }
}
