//! Blocks, transactions and questions that no honest node sends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::{AccountId, BlockId};
use crate::protocol::chain::key::KeyPair;
use crate::protocol::chain::ledger::Account;
use crate::protocol::chain::template::Template;
use crate::protocol::chain::transaction::{Transaction, Transfer};
use crate::protocol::chain::view::Record;
use crate::protocol::chain::work::Target;
use crate::protocol::machine::Machine;
use crate::protocol::rng::Rng;
use crate::protocol::wire::limits::{MAX_BLOCKS, MAX_PEERS};
use crate::protocol::wire::message::{Claim, Message};

/// One unit of the compact form's exponent: the target is so many times as easy as a byte has values.
const EASIER_BITS: u32 = 1 << 24;

/// Transactions in a flood's wave.
const WORTHLESS: usize = 10;

/// Pings in a flood's wave.
const PINGS: usize = 5;

fn random_bytes(rng: &mut Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    bytes
}

/// Has a template break a rule: its state, its target or its parents are wrong.
pub(super) fn spoil(template: &mut Template, tip: &Record, rng: &mut Rng) {
    let easier = template.bits.saturating_add(EASIER_BITS);
    match rng.below(3) {
        0 if Target::from_bits(easier).is_ok() => template.bits = easier,
        1 if !template.parents.contains(&tip.selected_parent) => {
            // A parent that another parent leads to.
            template.parents.push(tip.selected_parent);
            template.parents.sort_unstable();
        }
        _ => {
            let nobody = AccountId(random_bytes(rng));
            let wealth = Account {
                balance: 1,
                ..Account::default()
            };
            template.accumulator.add(&nobody, &wealth);
        }
    }
}

/// Somebody's block with a body that is not what its header commits to.
pub(super) fn damaged(block: &Block) -> Message {
    let mut bytes = block.bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    Message::NewBlock(bytes.into())
}

/// A transaction that is signed, by an account that has nothing.
pub(super) fn unpayable(network: &BlockId, rng: &mut Rng) -> Transaction {
    let keys = KeyPair::from_seed(&random_bytes(rng));
    let transfer = Transfer {
        sender: keys.public(),
        recipient: AccountId(random_bytes(rng)),
        amount: 1 + rng.below(1_000_000),
        fee: 1 + rng.below(1_000),
        nonce: rng.below(3),
    };
    transfer.sign(network, &keys)
}

/// A transaction that breaks a rule: unpayable mostly, sometimes of another network or not signed by its sender, which is provable.
pub(super) fn broken_transaction(network: &BlockId, rng: &mut Rng) -> Message {
    let bytes = match rng.below(20) {
        0 => unpayable(&BlockId(random_bytes(rng)), rng).to_bytes(),
        1 => {
            let mut bytes = unpayable(network, rng).to_bytes();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            bytes
        }
        _ => unpayable(network, rng).to_bytes(),
    };
    Message::NewTransaction(bytes.as_slice().into())
}

/// What a flooder sends to each peer, again and again: what costs the other more than it, and breaks no rule.
pub(super) fn wave(machine: &Machine, network: &BlockId, rng: &mut Rng) -> Vec<Message> {
    let tip = machine.chain().tip();
    let claim = Claim {
        work: tip.work,
        tip: tip.id,
        number: tip.number,
        beside: Vec::new(),
        pruned: tip.pruned,
    };
    let mut wave = vec![
        Message::RequestPeers,
        Message::RequestHeaders {
            locator: vec![*network],
        },
        Message::RequestBlocks {
            from_block: 1,
            count: MAX_BLOCKS as u32,
        },
        Message::RequestBlocksById {
            ids: (0..MAX_BLOCKS)
                .map(|_| BlockId(random_bytes(rng)))
                .collect(),
        },
        // Nobody is there, and nobody is bothered.
        Message::Peers(
            (0..MAX_PEERS)
                .map(|_| {
                    let host = Ipv4Addr::from(0x7f00_0000 | (rng.next_u64() as u32 & 0x00ff_ffff));
                    SocketAddr::from((host, 1)).into()
                })
                .collect(),
        ),
    ];
    wave.extend((0..PINGS).map(|_| Message::Ping {
        nonce: rng.next_u64(),
        claim: claim.clone(),
    }));
    wave.extend((0..WORTHLESS).map(|_| {
        let bytes = unpayable(network, rng).to_bytes();
        Message::NewTransaction(Arc::from(bytes.as_slice()))
    }));
    wave
}
