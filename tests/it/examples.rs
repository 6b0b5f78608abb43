//! The worked examples of PROTOCOL.md, computed by the code.

use std::sync::Arc;

use triskel::node::noise;
use triskel::protocol::chain::block::{Block, Stream, work_hash};
use triskel::protocol::chain::difficulty::Schedule;
use triskel::protocol::chain::digest::Accumulator;
use triskel::protocol::chain::id::{BlockId, NodeKey};
use triskel::protocol::chain::key::{KeyPair, tagged_hash};
use triskel::protocol::chain::ledger::Account;
use triskel::protocol::chain::merkle;
use triskel::protocol::chain::params::{Algorithm, Network, Params};
use triskel::protocol::chain::rules;
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::transaction::{SharedTransaction, Transfer};
use triskel::protocol::chain::work::Target;
use triskel::protocol::wire::compact::CompactBlock;
use triskel::protocol::wire::frame;
use triskel::protocol::wire::message::{Claim, Hello, Message, PeerAddress};

/// A name, and values by their own names, all in the order in which they are shown.
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) lines: Vec<(String, String)>,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn example(name: &str, lines: &[(&str, String)]) -> Example {
    let lines = lines
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    Example {
        name: name.to_owned(),
        lines,
    }
}

fn keys(name: &str) -> KeyPair {
    KeyPair::from_seed(name.as_bytes())
}

/// Every example, in the order of the document.
pub(crate) fn all() -> Vec<Example> {
    let chain = Network::new(Params::chain()).unwrap();
    let tri = Network::new(Params::tri()).unwrap();
    let transaction = transaction(&chain);
    let block = block(&chain, &transaction);
    let mut examples = vec![
        merkle_tree(),
        bits(),
        key(&chain),
        signed(&chain, &transaction),
        network("params-chain", &chain),
        network("params-tri", &tri),
        digest(),
        whole(&chain, &block),
        work(&block),
        asert(),
        block_work(&tri),
    ];
    examples.extend(messages(&chain, &block, &transaction));
    examples.push(proof());
    examples
}

fn proof() -> Example {
    // Any 32 bytes are a static key.
    let public = keys("static").secret();
    let lines = [
        ("static key", hex(&public)),
        (
            "signing hash",
            hex(&tagged_hash("triskel/noise", &[&public])),
        ),
        ("proof", hex(&noise::proof(&keys("node"), &public))),
    ];
    example("noise-proof", &lines)
}

fn merkle_tree() -> Example {
    let leaves: Vec<_> = [&b""[..], &[0x00], &[0x10]].map(merkle::leaf).to_vec();
    let root = |count: usize| hex(&merkle::root(leaves[..count].to_vec()));
    let lines = [
        ("of no leaf", root(0)),
        ("of one", root(1)),
        ("of two", root(2)),
        ("of three", root(3)),
    ];
    example("merkle", &lines)
}

fn bits() -> Example {
    let mut lines = Vec::new();
    for bits in [
        0x2100_ffff,
        0x207f_ffff,
        0x1f20_c49b,
        0x1d00_ffff,
        0x0101_0000,
    ] {
        let target = Target::from_bits(bits).unwrap();
        let number = format!("{bits:08x}");
        lines.push((
            format!("target of {number}"),
            hex(&target.value().to_be_bytes::<32>()),
        ));
        lines.push((
            format!("work of {number}"),
            hex(&target.work().to_be_bytes()),
        ));
    }
    Example {
        name: "bits".to_owned(),
        lines,
    }
}

fn key(chain: &Network) -> Example {
    let sender = keys("sender");
    let lines = [
        ("secret", hex(&sender.secret())),
        ("account", hex(&sender.public().0)),
        ("address", chain.address(&sender.public())),
    ];
    example("key", &lines)
}

fn transaction(chain: &Network) -> SharedTransaction {
    let transfer = Transfer {
        sender: keys("sender").public(),
        recipient: keys("recipient").public(),
        amount: 150_000_000,
        fee: 1_000,
        nonce: 7,
    };
    Arc::new(transfer.sign(&chain.id(), &keys("sender")))
}

fn signed(chain: &Network, transaction: &SharedTransaction) -> Example {
    let bytes = transaction.to_bytes();
    let lines = [
        ("network", chain.id().to_string()),
        ("unsigned", hex(&bytes[..89])),
        (
            "signing hash",
            hex(&transaction.transfer().signing_hash(&chain.id())),
        ),
        ("signature", hex(&bytes[89..])),
        ("bytes", hex(&bytes)),
        ("id", transaction.id().to_string()),
        ("leaf", hex(&merkle::leaf(&bytes))),
    ];
    example("transaction", &lines)
}

fn network(name: &str, network: &Network) -> Example {
    let genesis = network.genesis();
    let lines = [
        ("bytes", hex(&network.params().to_bytes())),
        ("state digest", genesis.header().state_digest.to_string()),
        ("parents root", hex(&genesis.header().parents_root)),
        ("header", hex(&genesis.header().to_bytes())),
        ("id", network.id().to_string()),
    ];
    example(name, &lines)
}

fn digest() -> Example {
    let mut accumulator = Accumulator::default();
    let empty = accumulator.digest().to_string();
    let account = |balance, nonce| Account { balance, nonce };
    accumulator.add(&keys("sender").public(), &account(5_000_000_000, 8));
    let lanes = hex(&accumulator.to_bytes()[..16]);
    let one = accumulator.digest().to_string();
    accumulator.add(&keys("recipient").public(), &account(150_000_000, 0));
    let lines = [
        ("of no account", empty),
        ("first 8 lanes of one", lanes),
        ("of one", one),
        ("of two", accumulator.digest().to_string()),
    ];
    example("digest", &lines)
}

fn block(chain: &Network, transaction: &SharedTransaction) -> Arc<Block> {
    let parent = rules::genesis_record(chain);
    let template = Template {
        stream: Stream::A,
        parents: vec![chain.id()],
        accumulator: chain.genesis_accumulator().clone(),
        bits: rules::next_target(chain, &parent.streams, Stream::A)
            .unwrap()
            .to_bits(),
        min_timestamp_ms: 1,
        miner: keys("miner").public(),
        transactions: vec![Arc::clone(transaction)],
    };
    let mut search = Search::new(template, 1, chain);
    Arc::new(search.attempt(1_800_000_000_000, 1 << 20).unwrap())
}

fn whole(chain: &Network, block: &Arc<Block>) -> Example {
    assert_eq!(
        Block::decode(block.bytes().clone(), chain).as_ref(),
        Ok(&**block)
    );
    let lines = [
        ("parents root", hex(&block.header().parents_root)),
        ("body root", hex(&block.header().body_root)),
        ("header", hex(&block.header().to_bytes())),
        ("id", block.id().to_string()),
        ("bytes", hex(block.bytes())),
    ];
    example("block", &lines)
}

fn work(block: &Block) -> Example {
    let header = block.header().to_bytes();
    let hash = |algorithm| hex(&work_hash(algorithm, &header));
    let lines = [
        ("none", hash(Algorithm::None)),
        ("sha256d", hash(Algorithm::Sha256d)),
        ("blake3", hash(Algorithm::Blake3)),
        ("sha3", hash(Algorithm::Sha3)),
    ];
    example("work", &lines)
}

fn block_work(tri: &Network) -> Example {
    let line = |stream: Stream| {
        let past = rules::genesis_record(tri).streams;
        let work = rules::block_work(tri, &past, &past, stream);
        (stream.to_string(), hex(&work.to_be_bytes()))
    };
    Example {
        name: "block-work".to_owned(),
        lines: Stream::ALL.map(line).to_vec(),
    }
}

fn asert() -> Example {
    let schedule = Schedule {
        anchor: Target::from_bits(0x1f20_c49b).unwrap(),
        limit: Target::from_bits(0x207f_ffff).unwrap(),
        interval_ms: 1_000,
        half_life_ms: 60_000,
    };
    let cases = [
        (0, 0),
        (0, 1),
        (999, 1),
        (61_000, 1),
        (5_000, 65),
        (100_000, 42),
        (240_000_000, 9),
    ];
    let line = |(elapsed, blocks): (i128, i128)| {
        let bits = schedule.target(elapsed, blocks).to_bits();
        (
            format!("{elapsed} ms, {blocks} blocks"),
            format!("{bits:08x}"),
        )
    };
    Example {
        name: "asert".to_owned(),
        lines: cases.map(line).to_vec(),
    }
}

fn messages(chain: &Network, block: &Block, transaction: &SharedTransaction) -> Vec<Example> {
    let claim = Claim {
        work: {
            let past = rules::genesis_record(chain).streams;
            rules::block_work(chain, &past, &past, Stream::A)
        },
        tip: block.id(),
        number: 1,
        beside: Vec::new(),
        pruned: 0,
    };
    let hello = Hello {
        version: 2,
        network: chain.id(),
        key: NodeKey(keys("node").public().0),
        nonce: 0x0123_4567_89ab_cdef,
        port: 9_000,
        claim: claim.clone(),
        features: 0,
        agent: "example/1.0".to_owned(),
    };
    let addresses = ["192.0.2.1:9000", "[2001:db8::1]:9001"];
    let addresses =
        addresses.map(|text| PeerAddress::from(text.parse::<std::net::SocketAddr>().unwrap()));
    let bytes = Arc::clone(block.bytes());
    let headers = vec![block.heading().to_bytes()];
    let locator: Vec<BlockId> = vec![block.id(), chain.id()];
    let messages = [
        Message::Hello(hello),
        Message::Ping {
            nonce: 1,
            claim: claim.clone(),
        },
        Message::Pong { nonce: 1, claim },
        Message::RequestPeers,
        Message::Peers(addresses.to_vec()),
        Message::NewBlock(Arc::clone(&bytes)),
        Message::NewTransaction(transaction.to_bytes().to_vec().into()),
        Message::RequestBlocks {
            from_block: 1,
            count: 256,
        },
        Message::Blocks {
            from_block: 1,
            blocks: vec![bytes],
        },
        Message::RequestHeaders {
            locator: locator.clone(),
        },
        Message::Headers {
            from_block: 1,
            headers,
            more: false,
        },
        Message::RequestBlocksById { ids: locator },
        Message::RequestAccounts {
            block: Some(block.id()),
            after: None,
        },
        Message::Accounts {
            block: block.id(),
            accounts: vec![(
                keys("sender").public(),
                Account {
                    balance: 5_000_000_000,
                    nonce: 1,
                },
            )],
            more: false,
        },
        Message::CompactBlock(CompactBlock::new(block, 1, &[])),
        Message::RequestBlockTransactions {
            block: block.id(),
            indexes: vec![0],
        },
        Message::BlockTransactions {
            block: block.id(),
            transactions: vec![transaction.to_bytes()],
        },
        Message::AnnounceBlock { id: block.id() },
        Message::RequestCompactBlock { id: block.id() },
        Message::PushBlocks { push: false },
        Message::AnnounceTransactions {
            ids: vec![transaction.id()],
        },
        Message::RequestTransactions {
            ids: vec![transaction.id()],
        },
    ];
    let frame = |message: &Message| {
        let name = format!("message-{}", message.name().replace('_', "-"));
        example(&name, &[("frame", hex(&frame::encode(message)))])
    };
    messages.iter().map(frame).collect()
}
