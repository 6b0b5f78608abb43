//! A chain full of transfers, written into a node's data directory without a network, and how fast the processors check it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use triskel::node::config::load;
use triskel::node::store::{Claim, Store};
use triskel::protocol::chain::Chain;
use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::template::{Search, Template};
use triskel::protocol::chain::transaction::{SharedTransaction, Transaction};
use triskel::protocol::chain::view::Overlay;

use crate::submission::{keys, transfer};

/// Fills the store of the node that `file` configures with blocks that carry as many transfers each, of so many senders. Returns
/// the network.
pub(crate) fn write(file: &Path, blocks: u64, transfers: usize, senders: usize) -> Arc<Network> {
    let loaded = load(Some(file), [], &[]).expect("the configuration is valid");
    let network = Arc::new(loaded.config.network().expect("the network is valid"));
    let claim = Claim::take(&loaded.config.data_directory()).expect("nobody else has it");
    let store = Store::open(claim, &network, 64 << 20).expect("the folder is empty");
    let mut overlay = Overlay::new(&*store);
    let mut chain =
        Chain::restore(Arc::clone(&network), false, &mut overlay).expect("the store works");
    store.apply(&overlay.batch).expect("the store works");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.expect("it is after 1970").as_millis() as u64;
    for number in 0..blocks {
        let template = Template {
            stream: Stream::A,
            parents: chain.tip().parents.clone(),
            accumulator: chain.tip().accumulator.clone(),
            bits: chain.next_bits(Stream::A).expect("it has this stream"),
            min_timestamp_ms: chain.next_timestamp_ms(),
            miner: keys(0).public(),
            transactions: round(&network.id(), number, transfers / senders, senders),
        };
        // A second apart, as the network wants them, and the last of them now.
        let date_ms = now_ms - 1_000 * (blocks - number);
        let found = Search::new(template, number, &network).attempt(date_ms, u64::MAX);
        let block = Arc::new(found.expect("there are enough nonces"));
        let mut overlay = Overlay::new(&*store);
        chain
            .accept(&block, now_ms, &mut overlay)
            .expect("it keeps the rules");
        store.apply(&overlay.batch).expect("the store works");
    }
    store.close().expect("the store works");
    network
}

/// So many transfers of each sender, signed on all processors.
fn round(network: &BlockId, number: u64, each: usize, senders: usize) -> Vec<SharedTransaction> {
    let sign = |sender: usize| -> Vec<SharedTransaction> {
        let (keys, recipient) = (keys(sender), keys((sender + 1) % senders).public());
        let nonces = number * each as u64..(number + 1) * each as u64;
        nonces
            .map(|nonce| Arc::new(transfer(network, &keys, recipient, nonce)))
            .collect()
    };
    let all: Vec<usize> = (0..senders).collect();
    let share = senders.div_ceil(processors());
    std::thread::scope(|scope| {
        let sign_all = |some: &[usize]| some.iter().flat_map(|sender| sign(*sender)).collect();
        let threads: Vec<_> = all
            .chunks(share)
            .map(|some| scope.spawn(move || -> Vec<_> { sign_all(some) }))
            .collect();
        let signed = threads.into_iter().map(|thread| thread.join());
        signed
            .flat_map(|some| some.expect("signing does not panic"))
            .collect()
    })
}

/// How many signatures all processors together check in a second.
pub(crate) fn checks_per_second(network: BlockId) -> f64 {
    const ROUNDS: usize = 10;
    let signed: Vec<_> = round(&network, 0, 100, 20)
        .iter()
        .map(|transaction| transaction.to_bytes())
        .collect();
    let check = || {
        for bytes in signed.iter().cycle().take(ROUNDS * signed.len()) {
            Transaction::decode(bytes, &network).expect("it was signed here");
        }
    };
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..processors() {
            scope.spawn(check);
        }
    });
    (processors() * ROUNDS * signed.len()) as f64 / begin.elapsed().as_secs_f64()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
