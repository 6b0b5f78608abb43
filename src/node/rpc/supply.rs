//! How much all accounts hold together: for whoever audits a node.

use std::sync::Arc;

use super::Refusal;
use crate::node::control::Control;
use crate::node::store::Store;
use crate::protocol::chain::view::{Fault, View};
use crate::rpc::{self, code};

/// Accounts that are read at once.
const PAGE: usize = 1_000;

/// The order may change while accounts are read. Then they are read again: where blocks come every 90 ms, reading a few thousand
/// accounts succeeds at once, and reading millions never.
const ATTEMPTS: usize = 100;

/// Sums all balances, as they were after one block.
pub(super) async fn supply(control: &Control) -> Result<rpc::Supply, Refusal> {
    let store = Arc::clone(&control.store);
    let sum = move || (0..ATTEMPTS).find_map(|_| attempt(&store).transpose());
    let summed = tokio::task::spawn_blocking(sum).await;
    let summed = summed.expect("summing balances does not panic");
    let internal = |fault: Fault| Refusal::new(code::INTERNAL, fault);
    let supply = summed.transpose().map_err(internal)?.ok_or_else(|| {
        let message = "the order changes faster than all accounts are read: ask again";
        Refusal::new(code::INTERNAL, message)
    })?;
    control.store.settled().await.map_err(internal)?;
    Ok(supply)
}

/// `None` if the order changed meanwhile.
fn attempt(store: &Store) -> Result<Option<rpc::Supply>, Fault> {
    let Some(tip) = store.tip()? else {
        return Err(Fault::missing("tip of", "the store"));
    };
    let (mut accounts, mut balances, mut after) = (0, 0_u64, None);
    loop {
        let page = store.accounts(after.as_ref(), PAGE)?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = Some(*last);
        accounts += page.len() as u64;
        let together = page.iter().map(|(_, account)| account.balance);
        balances = together.fold(balances, u64::saturating_add);
    }
    if store.tip()?.as_ref() != Some(&tip) {
        return Ok(None);
    }
    Ok(Some(rpc::Supply {
        blocks: tip.number,
        accounts,
        balances,
        issued: tip.issued,
    }))
}
