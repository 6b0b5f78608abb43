//! What users order, and what they see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{Driver, SESSIONS_AGE};
use crate::node::announce;
use crate::node::connection::Outlet;
use crate::node::control::{Order, Session, Snapshot};
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::view::{Fault, View};
use crate::protocol::machine::io::{Command, Input, Ticket};

impl Driver {
    pub(super) fn order(&mut self, order: Order) -> Result<(), Fault> {
        match order {
            Order::Submit { transaction, reply } => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.replies.insert(ticket, reply);
                self.feed(Input::Submitted {
                    ticket,
                    transaction,
                })?;
            }
            Order::Command { command, reply } => {
                if let Command::Mine(mining) = command {
                    self.announce_mining(mining);
                }
                self.feed(Input::Command(command))?;
                self.unstored.done.push(reply);
            }
            Order::Hashrate { stream, hashrate } => {
                for stream in Stream::ALL
                    .into_iter()
                    .filter(|one| stream.is_none_or(|stream| stream == *one))
                {
                    if let Some(known) = self.published.hashrate.get_mut(&stream) {
                        *known = hashrate;
                        self.miner.set_hashrate(stream, hashrate);
                    }
                }
            }
            Order::Mempool { limit, reply } => {
                let ids = self.machine.machine().mempool().iter().take(limit);
                reply
                    .send(ids.map(|transaction| transaction.id()).collect())
                    .ok();
            }
            Order::Waiting { id, reply } => {
                // What waits no more can be read where it was applied.
                self.store_now()?;
                let mempool = self.machine.machine().mempool();
                reply.send(mempool.get(&id).cloned()).ok();
            }
            Order::Account { id, reply } => {
                self.store_now()?;
                let mempool = self.machine.machine().mempool();
                let state = self.store.account(&id);
                reply
                    .send(state.map(|state| (state, mempool.next_nonce(&id, &state))))
                    .ok();
            }
            Order::Sessions { reply } => {
                reply.send(self.sessions()).ok();
            }
            Order::Stop => unreachable!("`run` takes it"),
        }
        Ok(())
    }

    fn announce_mining(&self, mining: bool) {
        if mining {
            announce::mining_started(&self.miner_address);
        } else {
            announce::mining_stopped();
        }
    }

    /// Shows others the state as it is on disk.
    pub(super) fn publish(&mut self) {
        let fresh = |at: Instant| at.elapsed() < SESSIONS_AGE;
        if !self.published.sessions_at.is_some_and(fresh) {
            self.published.sessions_at = Some(Instant::now());
            self.published.sessions = Arc::new(self.sessions());
            let taken = self.outlets.values().map(Outlet::taken_bytes);
            self.published.greatest_connection_bytes = taken.max().unwrap_or(0);
        }
        let (tip, record) = self.published.durable.clone();
        let machine = self.machine.machine();
        let snapshot = Snapshot {
            tip,
            record,
            sessions: Arc::clone(&self.published.sessions),
            mempool_transactions: machine.mempool().len(),
            mempool_bytes: machine.mempool().bytes(),
            mining: self.machine.is_mining(),
            hashrate: self.published.hashrate.clone(),
            mined: self.published.mined.clone(),
            sync_remaining: machine.sync_remaining(),
            bans: machine.bans(self.clock.now().monotonic_ms).collect(),
            known_addresses: machine.known_addresses(),
            greatest_connection_bytes: self.published.greatest_connection_bytes,
        };
        self.published.sender.send_replace(Arc::new(snapshot));
        for reply in self.done.drain(..) {
            reply.send(()).ok();
        }
    }

    fn sessions(&self) -> Vec<Session> {
        let now_ms = self.clock.now().monotonic_ms;
        let sessions = self.machine.machine().sessions();
        let traffic = |conn| self.outlets.get(&conn).map(|outlet| &outlet.traffic);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        sessions
            .map(|(conn, direction, remote, session)| Session {
                key: session.key,
                remote,
                direction,
                agent: session.agent.clone(),
                port: session.port,
                since_ms: session.since_ms,
                connected_ms: now_ms.saturating_sub(session.since_ms),
                round_trip: session.meter.round_trip(),
                sent_bytes: traffic(conn).map_or(0, |all| read(&all.sent)),
                received_bytes: traffic(conn).map_or(0, |all| read(&all.received)),
                queued_bytes: self.outlets.get(&conn).map_or(0, Outlet::queued_bytes),
                segments: traffic(conn).map_or(0, |all| read(&all.segments)),
                losses: traffic(conn).map_or(0, |all| read(&all.losses)),
                claimed_number: session.claim.number,
            })
            .collect()
    }
}
