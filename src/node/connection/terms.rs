//! What a connection knows of its link: what is set for it, and who is at the other end.

use std::sync::Arc;

use tokio::sync::watch;

use crate::protocol::chain::id::NodeKey;
use crate::protocol::link::{Conditions, Cut};
use crate::rpc::NodeConditions;

/// The terms on which a connection sends.
pub(super) struct Terms {
    set: watch::Receiver<Arc<NodeConditions>>,
    /// The peer, once it has greeted.
    peer: watch::Receiver<Option<NodeKey>>,
    inbound: bool,
    /// Whether something has changed since `now` was asked.
    dirty: bool,
}

impl Terms {
    pub(super) fn new(
        set: watch::Receiver<Arc<NodeConditions>>,
        peer: watch::Receiver<Option<NodeKey>>,
        inbound: bool,
    ) -> Self {
        Self {
            set,
            peer,
            inbound,
            dirty: false,
        }
    }

    /// What is to be done to what is sent; `None` to hold it back, as nobody knows yet.
    ///
    /// Who dialled greets first, on the terms that hold for anybody. Who was dialled greets second where anything is set, so that a
    /// peer that is cut off never hears from it.
    pub(super) fn now(&mut self) -> Option<Conditions> {
        self.dirty = false;
        self.set.mark_unchanged();
        self.peer.mark_unchanged();
        self.look()
    }

    fn look(&self) -> Option<Conditions> {
        let set = self.set.borrow();
        match *self.peer.borrow() {
            Some(peer) => Some(*set.of(&peer)),
            None if self.inbound && !set.links_are_clear() => None,
            None => Some(Conditions {
                cut: None,
                ..set.default
            }),
        }
    }

    /// Whether the answer of `now` may be another.
    pub(super) fn are_stale(&self) -> bool {
        // An error says that nobody is left who could change anything.
        let changed = |changed: Result<bool, _>| changed.unwrap_or(false);
        self.dirty || changed(self.set.has_changed()) || changed(self.peer.has_changed())
    }

    /// Waits until something changes that was not seen yet.
    pub(super) async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.set.changed() => changed,
            changed = self.peer.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending().await
        }
        self.dirty = true;
    }

    /// Waits until the connection has to end.
    pub(super) async fn reset(&mut self) {
        let is_reset = |terms: Conditions| terms.cut == Some(Cut::Reset);
        while !self.look().is_some_and(is_reset) {
            self.changed().await;
        }
    }
}
