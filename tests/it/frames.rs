//! Frames: every message comes back, nothing else is taken, and nobody makes a node hold what no honest peer sends.

use std::sync::Arc;

use proptest::prelude::*;
use triskel::protocol::chain::block::{Block, MAX_BLOCK_BYTES, MAX_PARENTS, MAX_TRANSACTIONS};
use triskel::protocol::chain::id::{AccountId, BlockId, NodeKey, TransactionId};
use triskel::protocol::chain::ledger::Account;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::work::Work;
use triskel::protocol::wire::compact::CompactBlock;
use triskel::protocol::wire::frame::{Decoder, decode, encode};
use triskel::protocol::wire::limits;
use triskel::protocol::wire::message::{
    Claim, Hello, MESSAGE_NAMES, Message, MessageError, PeerAddress, Received,
};

use super::memory::{account, params, transfer};

fn claims() -> impl Strategy<Value = Claim> {
    let beside = prop::collection::vec(any::<[u8; 32]>().prop_map(BlockId), 0..4);
    let numbers = any::<([u8; 32], [u8; 32], u64)>();
    (numbers, beside).prop_map(|((work, tip, number), beside)| Claim {
        work: Work::from_be_bytes(work),
        tip: BlockId(tip),
        number,
        beside,
        pruned: number / 2,
    })
}

fn greetings() -> impl Strategy<Value = Message> {
    let numbers = any::<(u32, u64, u16, u64)>();
    let ids = any::<([u8; 32], [u8; 32])>();
    (numbers, ids, claims(), "\\PC{0,16}").prop_map(|(numbers, ids, claim, agent)| {
        let ((version, nonce, port, features), (network, key)) = (numbers, ids);
        let (network, key) = (BlockId(network), NodeKey(key));
        Message::Hello(Hello {
            version,
            network,
            key,
            nonce,
            port,
            claim,
            features,
            agent,
        })
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..80)
}

fn compact_blocks() -> impl Strategy<Value = CompactBlock> {
    let short_ids = prop::collection::vec(any::<[u8; 6]>(), 0..5);
    let prefilled = prop::collection::vec(any::<(u32, u8)>(), 0..3);
    (bytes(), any::<([u8; 32], u64, u64)>(), short_ids, prefilled).prop_map(
        |(heading, (miner, extra_nonce, nonce), short_ids, prefilled)| CompactBlock {
            heading,
            miner: AccountId(miner),
            extra_nonce,
            nonce,
            short_ids,
            prefilled: prefilled
                .into_iter()
                .map(|(index, byte)| (index, [byte; 153]))
                .collect(),
        },
    )
}

fn messages() -> impl Strategy<Value = Message> {
    let address = any::<([u8; 16], u16)>().prop_map(|(ip, port)| PeerAddress { ip, port });
    let locator = prop::collection::vec(any::<[u8; 32]>().prop_map(BlockId), 0..5);
    let transaction_ids = prop::collection::vec(any::<[u8; 32]>().prop_map(TransactionId), 0..5);
    prop_oneof![
        greetings(),
        (any::<u64>(), claims()).prop_map(|(nonce, claim)| Message::Ping { nonce, claim }),
        (any::<u64>(), claims()).prop_map(|(nonce, claim)| Message::Pong { nonce, claim }),
        Just(Message::RequestPeers),
        prop::collection::vec(address, 0..5).prop_map(Message::Peers),
        bytes().prop_map(|bytes| Message::NewBlock(bytes.into())),
        bytes().prop_map(|bytes| Message::NewTransaction(bytes.into())),
        any::<(u64, u32)>()
            .prop_map(|(from_block, count)| Message::RequestBlocks { from_block, count }),
        (any::<u64>(), prop::collection::vec(bytes(), 0..4)).prop_map(|(from_block, blocks)| {
            let blocks = blocks.into_iter().map(Arc::from).collect();
            Message::Blocks { from_block, blocks }
        }),
        locator
            .clone()
            .prop_map(|locator| Message::RequestHeaders { locator }),
        locator.prop_map(|ids| Message::RequestBlocksById { ids }),
        any::<(Option<[u8; 32]>, Option<[u8; 32]>)>().prop_map(|(block, after)| {
            Message::RequestAccounts {
                block: block.map(BlockId),
                after: after.map(AccountId),
            }
        }),
        (
            any::<([u8; 32], bool)>(),
            prop::collection::vec(any::<([u8; 32], u64, u64)>(), 0..4)
        )
            .prop_map(|((block, more), accounts)| Message::Accounts {
                block: BlockId(block),
                accounts: accounts
                    .into_iter()
                    .map(|(id, balance, nonce)| (AccountId(id), Account { balance, nonce }))
                    .collect(),
                more,
            }),
        compact_blocks().prop_map(Message::CompactBlock),
        (any::<[u8; 32]>(), prop::collection::vec(any::<u32>(), 0..5)).prop_map(
            |(block, indexes)| Message::RequestBlockTransactions {
                block: BlockId(block),
                indexes,
            }
        ),
        (any::<[u8; 32]>(), prop::collection::vec(any::<u8>(), 0..3)).prop_map(|(block, bytes)| {
            Message::BlockTransactions {
                block: BlockId(block),
                transactions: bytes.into_iter().map(|byte| [byte; 153]).collect(),
            }
        }),
        any::<[u8; 32]>().prop_map(|id| Message::AnnounceBlock { id: BlockId(id) }),
        any::<[u8; 32]>().prop_map(|id| Message::RequestCompactBlock { id: BlockId(id) }),
        any::<bool>().prop_map(|push| Message::PushBlocks { push }),
        transaction_ids
            .clone()
            .prop_map(|ids| Message::AnnounceTransactions { ids }),
        transaction_ids.prop_map(|ids| Message::RequestTransactions { ids }),
        (any::<(u64, bool)>(), prop::collection::vec(bytes(), 0..4)).prop_map(
            |((from_block, more), headers)| Message::Headers {
                from_block,
                headers,
                more,
            }
        ),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back_and_no_other_bytes_are_taken(message in messages()) {
        let frame = encode(&message);
        let body = &frame[4..];
        prop_assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, body.len());
        prop_assert_eq!(u32::from_le_bytes(body[..4].try_into().unwrap()) as usize, message.kind());
        prop_assert_eq!(message.name(), MESSAGE_NAMES[message.kind()]);
        prop_assert_eq!(&decode(body).unwrap(), &message);
        for end in 0..body.len() {
            prop_assert!(matches!(decode(&body[..end]), Err(MessageError::Encoding(_))), "cut at {}", end);
        }
        let longer = [body, &[0]].concat();
        prop_assert_eq!(decode(&longer), Err(MessageError::Trailing(1)));
    }

    #[test]
    fn frames_may_arrive_in_any_pieces(messages in prop::collection::vec(messages(), 1..5), piece in 1usize..40) {
        let stream: Vec<u8> = messages.iter().flat_map(encode).collect();
        let mut decoder = Decoder::default();
        decoder.greeted();
        let (mut found, mut size) = (Vec::new(), 0);
        for piece in stream.chunks(piece) {
            decoder.extend(piece);
            while let Some((message, bytes)) = decoder.next_message().unwrap() {
                size += bytes;
                found.push(message);
            }
        }
        prop_assert_eq!(found, messages);
        prop_assert_eq!(size, stream.len());
    }

    #[test]
    fn flipped_bits_never_panic(message in messages(), at: prop::sample::Index, bit in 0u8..8) {
        let mut frame = encode(&message);
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        let mut decoder = Decoder::default();
        decoder.greeted();
        decoder.extend(&frame);
        if let Ok(Some((message, _))) = decoder.next_message() {
            prop_assert_eq!(encode(&message), frame, "one message, one spelling");
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}

/// What a decoder says to the first eight bytes of a frame.
fn beginning(length: usize, kind: u32, greeted: bool) -> Result<Option<Message>, MessageError> {
    let mut decoder = Decoder::default();
    if greeted {
        decoder.greeted();
    }
    decoder.extend(&(length as u32).to_be_bytes());
    decoder.next_message()?;
    decoder.extend(&kind.to_le_bytes());
    Ok(decoder.next_message()?.map(|(message, _)| message))
}

#[test]
fn a_frame_too_long_for_its_place_or_kind_is_refused_at_once() {
    for (kind, most) in limits::MAX_MESSAGE_BYTES.into_iter().enumerate() {
        let kind = kind as u32;
        // A length of 4 is already the whole frame of some kind.
        if most > 4 {
            assert_eq!(beginning(most, kind, true), Ok(None));
        }
        let limit = most;
        let length = most + 1;
        assert_eq!(
            beginning(length, kind, true),
            Err(MessageError::TooLong { length, limit })
        );
        let limit = most.min(limits::MAX_FRAME_BEFORE_HANDSHAKE);
        let length = limit + 1;
        assert_eq!(
            beginning(length, kind, false),
            Err(MessageError::TooLong { length, limit })
        );
    }
    let unknown = beginning(100, limits::MAX_MESSAGE_BYTES.len() as u32, true);
    assert!(matches!(unknown, Err(MessageError::Encoding(_))));
    for (greeted, limit) in [
        (false, limits::MAX_FRAME_BEFORE_HANDSHAKE),
        (true, limits::MAX_FRAME),
    ] {
        let mut decoder = Decoder::default();
        if greeted {
            decoder.greeted();
        }
        decoder.extend(&u32::MAX.to_be_bytes());
        let length = u32::MAX as usize;
        assert_eq!(
            decoder.next_message(),
            Err(MessageError::TooLong { length, limit })
        );
    }
}

#[test]
fn hostile_counts_are_refused_by_what_they_announce() {
    // Each kind with a list: what stands before its count, and the bytes that an entry takes at least.
    let lists = [
        (4, 0usize),
        (5, 0),
        (6, 0),
        (8, 8),
        (9, 0),
        (10, 8),
        (14, 0),
        (15, 32),
        (16, 32),
    ];
    for (kind, before) in lists {
        // The last fits the frame of any peer, but not what a frame of this length can hold.
        for count in [u64::MAX, u64::MAX / 24 + 1, 1 << 40, 4_000] {
            let mut body = (kind as u32).to_le_bytes().to_vec();
            body.extend(vec![0; before]);
            body.extend(count.to_le_bytes());
            let Err(MessageError::Encoding(text)) = decode(&body) else {
                panic!("kind {kind} with a count of {count} is taken");
            };
            assert!(
                text.contains("LimitExceeded"),
                "kind {kind}, count {count}: {text}"
            );
        }
    }
}

/// A block of the most bytes that any network allows.
pub(crate) fn largest_block() -> (Network, Arc<Block>) {
    let mut params = params(0);
    params.merge_blocks(500);
    params.max_parents = MAX_PARENTS as u8;
    params.streams[0].max_transactions = MAX_TRANSACTIONS as u32;
    let network = Network::new(params).unwrap();
    let transaction = transfer(&network, (0, 1), (1, 1, 0));
    let template = Template {
        stream: Default::default(),
        parents: (0..MAX_PARENTS as u8)
            .map(|number| BlockId([number; 32]))
            .collect(),
        accumulator: Default::default(),
        bits: network.params().streams[0].initial_bits,
        min_timestamp_ms: 1,
        miner: account(0),
        transactions: vec![transaction; MAX_TRANSACTIONS],
    };
    let block = Search::new(template, 0, &network).attempt(1, 1).unwrap();
    (network, Arc::new(block))
}

#[test]
fn what_consensus_allows_travels() {
    let (network, block) = largest_block();
    assert_eq!(block.bytes().len(), MAX_BLOCK_BYTES);
    let bytes = Arc::clone(block.bytes());
    let heading = block.heading().to_bytes();
    assert_eq!(heading.len(), limits::MAX_HEADING_BYTES);
    let filler: Arc<[u8]> = vec![0; limits::MAX_BLOCKS_BYTES / limits::MAX_BLOCKS].into();
    let claim = Claim {
        work: Work::ZERO,
        tip: BlockId::default(),
        number: 0,
        beside: vec![BlockId::default(); limits::MAX_BESIDE],
        pruned: 0,
    };
    let hello = Hello {
        version: 1,
        network: network.id(),
        key: NodeKey::default(),
        nonce: 0,
        port: 0,
        claim: claim.clone(),
        features: 0,
        agent: "a".repeat(limits::MAX_AGENT_BYTES),
    };
    let address = PeerAddress {
        ip: [1; 16],
        port: 1,
    };
    let largest = [
        Message::Hello(hello),
        Message::Ping {
            nonce: 0,
            claim: claim.clone(),
        },
        Message::Pong { nonce: 0, claim },
        Message::RequestPeers,
        Message::Peers(vec![address; limits::MAX_PEERS]),
        Message::NewBlock(Arc::clone(&bytes)),
        Message::NewTransaction(vec![0; 153].into()),
        Message::RequestBlocks {
            from_block: 0,
            count: 0,
        },
        Message::Blocks {
            from_block: 0,
            blocks: vec![filler; limits::MAX_BLOCKS],
        },
        Message::RequestHeaders {
            locator: vec![network.id(); limits::MAX_LOCATOR],
        },
        Message::Headers {
            from_block: 0,
            headers: vec![heading.clone(); limits::MAX_HEADERS],
            more: true,
        },
        Message::RequestBlocksById {
            ids: vec![network.id(); limits::MAX_BLOCKS],
        },
        Message::RequestAccounts {
            block: Some(network.id()),
            after: Some(AccountId::default()),
        },
        Message::Accounts {
            block: network.id(),
            accounts: vec![(AccountId::default(), Account::default()); limits::MAX_ACCOUNTS],
            more: true,
        },
        // As many prefilled ones as make it as long as the block.
        Message::CompactBlock(CompactBlock {
            short_ids: vec![[0; 6]; 81],
            prefilled: vec![(0, [0; 153]); 9_742],
            ..CompactBlock::new(&block, 0, &[])
        }),
        Message::RequestBlockTransactions {
            block: network.id(),
            indexes: vec![0; MAX_TRANSACTIONS],
        },
        Message::BlockTransactions {
            block: network.id(),
            transactions: vec![[0; 153]; MAX_TRANSACTIONS],
        },
        Message::AnnounceBlock { id: network.id() },
        Message::RequestCompactBlock { id: network.id() },
        Message::PushBlocks { push: true },
        Message::AnnounceTransactions {
            ids: vec![TransactionId::default(); limits::MAX_ANNOUNCED],
        },
        Message::RequestTransactions {
            ids: vec![TransactionId::default(); limits::MAX_ASKED_OF_PEER],
        },
    ];
    for message in largest {
        let frame = encode(&message);
        assert_eq!(
            frame.len() - 4,
            limits::MAX_MESSAGE_BYTES[message.kind()],
            "{}",
            message.name()
        );
        let mut decoder = Decoder::default();
        decoder.greeted();
        decoder.extend(&frame);
        assert_eq!(decoder.next_message(), Ok(Some((message, frame.len()))));
    }
    // Many of the smallest entries cost the most memory beside their bytes.
    let headers = vec![Vec::new(); limits::MAX_HEADERS];
    let message = Message::Headers {
        from_block: 0,
        headers,
        more: false,
    };
    assert_eq!(decode(&encode(&message)[4..]), Ok(message));
    let received = Message::Blocks {
        from_block: 7,
        blocks: vec![bytes],
    }
    .check(&network)
    .unwrap();
    assert_eq!(
        received,
        Received::Blocks {
            from_block: 7,
            blocks: vec![block]
        }
    );
}

#[test]
fn lists_longer_than_their_cap_are_refused() {
    let network = Network::new(params(0)).unwrap();
    let address = PeerAddress {
        ip: [1; 16],
        port: 1,
    };
    let refused = |message: Message, most: usize| match message.check(&network) {
        Err(MessageError::Count { count, limit, .. }) => {
            assert_eq!((count, limit), (most + 1, most))
        }
        other => panic!("{other:?}"),
    };
    refused(
        Message::Peers(vec![address; limits::MAX_PEERS + 1]),
        limits::MAX_PEERS,
    );
    let blocks = vec![Arc::from([]); limits::MAX_BLOCKS + 1];
    refused(
        Message::Blocks {
            from_block: 0,
            blocks,
        },
        limits::MAX_BLOCKS,
    );
    let locator = vec![network.id(); limits::MAX_LOCATOR + 1];
    refused(Message::RequestHeaders { locator }, limits::MAX_LOCATOR);
    let ids = vec![network.id(); limits::MAX_BLOCKS + 1];
    refused(Message::RequestBlocksById { ids }, limits::MAX_BLOCKS);
    let accounts = |count| {
        let accounts = vec![(AccountId::default(), Account::default()); count];
        let (block, more) = (network.id(), false);
        Message::Accounts {
            block,
            accounts,
            more,
        }
    };
    refused(accounts(limits::MAX_ACCOUNTS + 1), limits::MAX_ACCOUNTS);
    assert_eq!(accounts(2).check(&network), Err(MessageError::Order));
    let claim = Claim {
        work: Work::ZERO,
        tip: network.id(),
        number: 0,
        beside: vec![network.id(); limits::MAX_BESIDE + 1],
        pruned: 0,
    };
    refused(Message::Ping { nonce: 0, claim }, limits::MAX_BESIDE);
    let headers = vec![Vec::new(); limits::MAX_HEADERS + 1];
    refused(
        Message::Headers {
            from_block: 0,
            headers,
            more: false,
        },
        limits::MAX_HEADERS,
    );
}
