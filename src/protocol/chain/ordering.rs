//! Which block is selected, and the way from one selection to another.
//!
//! With one parent a block's past is a chain: the selected block is the one with the most work in its past, itself included, and
//! of two with equal work the one with the greater id, bytewise (as GHOSTDAG breaks ties), so that every node that has seen the
//! same blocks selects the same one, whatever came first.

use std::sync::Arc;

use super::id::BlockId;
use super::view::{Fault, Record, View};
use super::work::Work;

/// Whether a block of `work` and `id` is preferred to another.
pub fn is_better((work, id): (Work, BlockId), (other_work, other_id): (Work, BlockId)) -> bool {
    (work, id) > (other_work, other_id)
}

/// The way from one block to another: what is undone, newest first, then what is applied, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Blocks of the old selection that the new one does not have.
    pub undo: Vec<BlockId>,
    /// Blocks of the new selection that the old one does not have.
    pub apply: Vec<BlockId>,
}

/// Finds the way from the selected block `from` to `to` through their youngest common ancestor.
pub fn route(view: &dyn View, from: &BlockId, to: &BlockId) -> Result<Route, Fault> {
    let mut old = stored(view, from)?;
    let mut new = stored(view, to)?;
    let mut route = Route::default();
    while old.id() != new.id() {
        if new.number >= old.number {
            route.apply.push(new.id());
            new = stored(view, &new.selected_parent)?;
        } else {
            route.undo.push(old.id());
            old = stored(view, &old.selected_parent)?;
        }
    }
    route.apply.reverse();
    Ok(route)
}

fn stored(view: &dyn View, id: &BlockId) -> Result<Arc<Record>, Fault> {
    view.record(id)?
        .ok_or_else(|| Fault::missing("record of block", id))
}
