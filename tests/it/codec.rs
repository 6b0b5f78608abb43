//! Canonical bytes: what is written is read back, and nothing else is.

use std::sync::Arc;

use proptest::prelude::*;
use triskel::protocol::chain::block::{Block, BlockError, HEADER_BYTES, Header, Heading, Stream};
use triskel::protocol::chain::codec::CodecError;
use triskel::protocol::chain::digest::Accumulator;
use triskel::protocol::chain::id::{BlockId, StateDigest};
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::transaction::{TRANSACTION_BYTES, Transaction, TransactionError};

use super::memory::{account, params, transfer};

fn wide() -> Network {
    let mut params = params(0);
    params.merge_blocks(500);
    params.max_parents = 4;
    Network::new(params).unwrap()
}

fn headers() -> impl Strategy<Value = Header> {
    let roots = any::<([u8; 32], [u8; 32], [u8; 32])>();
    (0usize..3, roots, any::<(u64, u32, u64)>()).prop_map(|(stream, roots, numbers)| Header {
        stream: Stream::ALL[stream],
        parents_root: roots.0,
        body_root: roots.1,
        state_digest: StateDigest(roots.2),
        timestamp_ms: numbers.0,
        bits: numbers.1,
        nonce: numbers.2,
    })
}

fn block(network: &Network, parents: u8, transactions: u64, extra_nonce: u64) -> Block {
    let template = Template {
        stream: Stream::B,
        parents: (0..parents).map(|number| BlockId([number; 32])).collect(),
        accumulator: Accumulator::default(),
        bits: network.params().streams[1].initial_bits,
        min_timestamp_ms: 1,
        miner: account(3),
        transactions: (0..transactions)
            .map(|nonce| transfer(network, (0, 1), (nonce, extra_nonce, nonce)))
            .collect(),
    };
    Search::new(template, extra_nonce, network)
        .attempt(extra_nonce, 1)
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_header_comes_back(header in headers()) {
        let bytes = header.to_bytes();
        prop_assert_eq!(Header::from_bytes(&bytes), Ok(header));
        let mut other = bytes;
        other[2] = 3;
        let unknown = CodecError::Unknown { what: "stream", value: 3 };
        prop_assert_eq!(Header::from_bytes(&other), Err(unknown));
        other[0] = 2;
        let unknown = CodecError::Unknown { what: "header version", value: 2 };
        prop_assert_eq!(Header::from_bytes(&other), Err(unknown));
    }

    #[test]
    fn a_block_comes_back_and_no_other_length_is_taken(
        parents in 1u8..5, transactions in 0u64..3, extra_nonce in 0u64..(u64::MAX >> 1),
    ) {
        let network = wide();
        let block = block(&network, parents, transactions, extra_nonce);
        let bytes = block.bytes();
        let wanted = HEADER_BYTES + 1 + 32 * usize::from(parents) + 44
            + TRANSACTION_BYTES * transactions as usize;
        prop_assert_eq!(bytes.len(), wanted);
        prop_assert_eq!(&Block::decode(bytes.clone(), &network).unwrap(), &block);
        prop_assert_eq!(&Block::decode_checked_before(bytes.clone()).unwrap(), &block);
        for end in 0..bytes.len() {
            prop_assert!(Block::decode(bytes[..end].into(), &network).is_err());
        }
        let longer: Arc<[u8]> = [bytes, &[0][..]].concat().into();
        let trailing = BlockError::Codec(CodecError::Trailing(1));
        prop_assert_eq!(Block::decode(longer, &network), Err(trailing));
        let heading = block.heading().to_bytes();
        prop_assert_eq!(&Heading::decode(&heading, &network).unwrap(), block.heading());
        for end in 0..heading.len() {
            prop_assert!(Heading::decode(&heading[..end], &network).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_makes_another_block_or_none(at: prop::sample::Index, bit in 0u8..8) {
        let network = wide();
        let block = block(&network, 2, 2, 77);
        let mut bytes = block.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Only what the header says for itself can change and still be a block: digest, time, bits and nonce.
        if let Ok(other) = Block::decode(bytes.clone().into(), &network) {
            prop_assert!((67..HEADER_BYTES).contains(&at) || at == 2);
            prop_assert_ne!(other.id(), block.id());
            prop_assert_eq!(&other.bytes()[..], &bytes[..]);
        }
    }

    #[test]
    fn no_bit_of_a_transaction_can_change(at in 0..TRANSACTION_BYTES, bit in 0u8..8, fee: u32, nonce: u64) {
        let network = wide();
        let transaction = transfer(&network, (0, 1), (5, fee.into(), nonce));
        let mut bytes = transaction.to_bytes();
        prop_assert_eq!(&Transaction::decode(&bytes, &network.id()).unwrap(), &*transaction);
        bytes[at] ^= 1 << bit;
        prop_assert!(Transaction::decode(&bytes, &network.id()).is_err());
    }
}

#[test]
fn a_transaction_has_one_length_and_one_network() {
    let network = wide();
    let transaction = transfer(&network, (0, 1), (5, 6, 7));
    let bytes = transaction.to_bytes();
    for end in 0..bytes.len() {
        let cut = Transaction::decode(&bytes[..end], &network.id());
        assert!(matches!(
            cut,
            Err(TransactionError::Codec(CodecError::Short { .. }))
        ));
    }
    let longer = [&bytes[..], &[0]].concat();
    let trailing = TransactionError::Codec(CodecError::Trailing(1));
    assert_eq!(Transaction::decode(&longer, &network.id()), Err(trailing));
    let elsewhere = TransactionError::Signature(transaction.id());
    assert_eq!(
        Transaction::decode(&bytes, &BlockId([1; 32])),
        Err(elsewhere)
    );
    let overflow = transfer(&network, (0, 1), (u64::MAX, 1, 0));
    let refused = Transaction::decode(&overflow.to_bytes(), &network.id());
    assert_eq!(refused, Err(TransactionError::Overflow(overflow.id())));
}

#[test]
fn a_block_that_breaks_its_own_commitments_is_refused() {
    let network = wide();
    let good = block(&network, 2, 2, 77);
    let id = good.id();
    let changed = |at: usize, value: u8| {
        let mut bytes = good.bytes().to_vec();
        bytes[at] = value;
        Block::decode(bytes.into(), &network).unwrap_err()
    };
    let body = HEADER_BYTES + 1 + 64;
    assert!(matches!(
        changed(HEADER_BYTES, 17),
        BlockError::Codec(CodecError::Count { .. })
    ));
    assert!(
        matches!(changed(HEADER_BYTES + 1, 1), BlockError::Parents(..)),
        "not ascending"
    );
    assert!(
        matches!(changed(HEADER_BYTES + 64, 9), BlockError::Parents(..)),
        "not committed to"
    );
    assert_eq!(changed(body, 9), BlockError::BodyRoot(id));
    assert_eq!(changed(body + 32, 9), BlockError::BodyRoot(id));
    assert!(matches!(
        changed(body + 43, 9),
        BlockError::Codec(CodecError::Count { .. })
    ));
    // A transaction listed twice is another list.
    let last = &good.bytes()[good.bytes().len() - TRANSACTION_BYTES..];
    let mut bytes = [good.bytes(), last].concat();
    bytes[body + 40] = 3;
    assert_eq!(
        Block::decode(bytes.into(), &network),
        Err(BlockError::BodyRoot(id))
    );
    let mut params = params(0);
    params.merge_blocks(500);
    params.streams[1].max_transactions = 1;
    params.max_parents = 2;
    let narrow = Network::new(params.clone()).unwrap();
    let refused = Block::decode(good.bytes().clone(), &narrow).unwrap_err();
    assert!(matches!(
        refused,
        BlockError::TooManyTransactions {
            count: 2,
            limit: 1,
            ..
        }
    ));
    (params.max_parents, params.k, params.merge_limit) = (1, 0, 0);
    let narrow = Network::new(params.clone()).unwrap();
    let refused = Block::decode(good.bytes().clone(), &narrow).unwrap_err();
    assert!(matches!(refused, BlockError::Parents(..)));
    params.streams.truncate(1);
    let narrow = Network::new(params).unwrap();
    let refused = Block::decode(good.bytes().clone(), &narrow).unwrap_err();
    assert_eq!(refused, BlockError::NoSuchStream(id, Stream::B));
}
