//! The parameters that make a network, and the genesis that follows from them.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::address;
use super::block::{Block, Body, Header, MAX_PARENTS, MAX_TRANSACTIONS, Stream, parents_root};
use super::difficulty::Schedule;
use super::digest::Accumulator;
use super::id::{AccountId, BlockId};
use super::ledger::Account;
use super::ordering::dag::Limits;
use super::ordering::{MAX_K, k_for};
use super::transaction::UNITS_PER_COIN;
use super::work::{BitsError, Target};

/// The hash by which a stream measures work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// No proof of work: every header solves. For the simulator alone, which draws the times of solutions itself.
    None,
    /// SHA-256 of SHA-256.
    Sha256d,
    /// BLAKE3.
    Blake3,
    /// SHA3-256.
    Sha3,
}

/// One stream of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamParams {
    /// The hash by which work is measured.
    pub algorithm: Algorithm,
    /// The wanted time between two blocks of the stream, in milliseconds. At least 1.
    pub interval_ms: u64,
    /// The delay that doubles the target (ASERT), in milliseconds. At least the interval.
    pub half_life_ms: u64,
    /// The first target, in compact form.
    pub initial_bits: u32,
    /// The easiest target, in compact form.
    pub limit_bits: u32,
    /// Units that the miner of a block receives beside the fees.
    pub reward: u64,
    /// The most transactions in one block.
    pub max_transactions: u32,
}

/// An account that genesis endows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The account.
    pub account: AccountId,
    /// Its balance in units.
    pub balance: u64,
}

/// Everything that nodes of one network agree on. Two networks that differ in any of it have different ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// A name for people, at most 64 bytes.
    pub name: String,
    /// What addresses start with: 1 to 16 lower-case letters and digits.
    pub address_prefix: String,
    /// The most parents of a block; 1 makes the DAG a chain.
    pub max_parents: u8,
    /// GHOSTDAG's k: how many blue blocks a blue block may have in its anticone. 0 for a chain.
    pub k: u16,
    /// The most blocks that one block merges. 0 for a chain.
    pub merge_limit: u16,
    /// How far back, in blue blocks, a merged block may go.
    pub merge_depth: u32,
    /// How far back, in blue blocks, the selected chain may change.
    pub finality_depth: u32,
    /// How far a timestamp may lie ahead of a node's clock, in milliseconds.
    pub max_future_ms: u64,
    /// One to three streams: A, B, C.
    pub streams: Vec<StreamParams>,
    /// The accounts that genesis endows, ascending.
    pub allocations: Vec<Allocation>,
}

/// Hashes per second and stream that a node spends unless told otherwise, and that presets are tuned to.
pub const DEFAULT_HASHRATE: u64 = 2_000;

/// The easiest target of all presets: every second hash solves.
pub const EASIEST_BITS: u32 = 0x207f_ffff;

impl Params {
    /// One stream of one-parent blocks, a second apart.
    pub fn chain() -> Self {
        let stream = StreamParams::new(Algorithm::Sha256d, 1_000, 60, 50, 10_000);
        Self::preset("chain", 10_000, vec![stream])
    }

    /// TriStream: A every 10 s, B every second, C every 100 ms.
    pub fn tri() -> Self {
        let streams = vec![
            StreamParams::new(Algorithm::Sha256d, 10_000, 20, 50, 10_000),
            StreamParams::new(Algorithm::Blake3, 1_000, 40, 25, 5_000),
            StreamParams::new(Algorithm::Sha3, 100, 60, 0, 1_000),
        ];
        let mut params = Self::preset("tri", 2_000, streams);
        params.merge_blocks(DEFAULT_DELAY_MS);
        params
    }

    fn preset(name: &str, max_future_ms: u64, streams: Vec<StreamParams>) -> Self {
        Self {
            name: name.to_owned(),
            address_prefix: "tsk".to_owned(),
            max_parents: 1,
            k: 0,
            merge_limit: 0,
            merge_depth: 3_600,
            finality_depth: 10_800,
            max_future_ms,
            streams,
            allocations: Vec::new(),
        }
    }

    /// Blocks of all streams per second.
    pub fn blocks_per_second(&self) -> f64 {
        let rates = self
            .streams
            .iter()
            .map(|stream| 1_000.0 / stream.interval_ms as f64);
        rates.sum()
    }

    /// Makes this a network that merges parallel blocks, of which a block reaches every node within `delay_ms`.
    ///
    /// The limits are those of Kaspa: half of k parents, at least 10; twice k merged blocks, at least 180.
    pub fn merge_blocks(&mut self, delay_ms: u64) {
        self.k = k_for(self.blocks_per_second(), delay_ms);
        self.max_parents = (self.k / 2).clamp(10, MAX_PARENTS as u16) as u8;
        self.merge_limit = (2 * self.k).clamp(180, 512);
    }

    /// The canonical bytes, which genesis commits to.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = 2u16.to_le_bytes().to_vec();
        for text in [&self.name, &self.address_prefix] {
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.push(self.max_parents);
        bytes.extend(self.k.to_le_bytes());
        bytes.extend(self.merge_limit.to_le_bytes());
        bytes.extend(self.merge_depth.to_le_bytes());
        bytes.extend(self.finality_depth.to_le_bytes());
        bytes.extend(self.max_future_ms.to_le_bytes());
        bytes.push(self.streams.len() as u8);
        for stream in &self.streams {
            bytes.push(stream.algorithm as u8);
            bytes.extend(stream.interval_ms.to_le_bytes());
            bytes.extend(stream.half_life_ms.to_le_bytes());
            bytes.extend(stream.initial_bits.to_le_bytes());
            bytes.extend(stream.limit_bits.to_le_bytes());
            bytes.extend(stream.reward.to_le_bytes());
            bytes.extend(stream.max_transactions.to_le_bytes());
        }
        bytes.extend((self.allocations.len() as u32).to_le_bytes());
        for allocation in &self.allocations {
            bytes.extend(allocation.account.0);
            bytes.extend(allocation.balance.to_le_bytes());
        }
        bytes
    }
}

/// The delay within which a block is taken to reach every node, unless a network says otherwise: three hops around the world.
pub const DEFAULT_DELAY_MS: u64 = 500;

impl StreamParams {
    /// A stream tuned to one node of [`DEFAULT_HASHRATE`]; the half-life is `half_life_blocks` intervals.
    fn new(
        algorithm: Algorithm,
        interval_ms: u64,
        half_life_blocks: u64,
        reward_coins: u64,
        max_transactions: u32,
    ) -> Self {
        let mut stream = Self {
            algorithm,
            interval_ms,
            half_life_ms: interval_ms * half_life_blocks,
            initial_bits: EASIEST_BITS,
            limit_bits: EASIEST_BITS,
            reward: reward_coins * UNITS_PER_COIN,
            max_transactions,
        };
        stream.tune(DEFAULT_HASHRATE);
        stream
    }

    /// Sets the first target so that `hashrate` hashes per second find a block every interval.
    pub fn tune(&mut self, hashrate: u64) {
        let hashes = u128::from(hashrate) * u128::from(self.interval_ms) / 1_000;
        let target = Target::for_expected_hashes(u64::try_from(hashes).unwrap_or(u64::MAX));
        let limit = Target::from_bits(self.limit_bits).unwrap_or(Target::MAX);
        self.initial_bits = target.min(limit).to_bits();
    }
}

/// Parameters that make no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// A value outside its range.
    #[error("network parameter `{key}` is {value}, allowed is {allowed}")]
    Range {
        /// The parameter.
        key: &'static str,
        /// Its value.
        value: String,
        /// The range.
        allowed: &'static str,
    },
    /// Bits that are no target.
    #[error("stream {0}: {1}")]
    Bits(Stream, BitsError),
}

/// One stream of a network, with what follows from its parameters.
#[derive(Clone, Debug)]
pub struct NetworkStream {
    /// The parameters.
    pub params: StreamParams,
    /// What ASERT holds it to.
    pub schedule: Schedule,
}

/// Checked parameters, with the genesis that follows from them.
#[derive(Clone, Debug)]
pub struct Network {
    params: Params,
    streams: Vec<NetworkStream>,
    genesis: Arc<Block>,
    accumulator: Accumulator,
}

impl Network {
    /// Checks the parameters and derives genesis.
    pub fn new(params: Params) -> Result<Self, ParamsError> {
        check(&params)?;
        let mut streams = Vec::new();
        for (stream, params) in Stream::ALL.into_iter().zip(&params.streams) {
            let target =
                |bits| Target::from_bits(bits).map_err(|error| ParamsError::Bits(stream, error));
            let schedule = Schedule {
                anchor: target(params.initial_bits)?,
                limit: target(params.limit_bits)?,
                interval_ms: params.interval_ms,
                half_life_ms: params.half_life_ms,
            };
            let allowed = "at most limit_bits as a target";
            let value = params.initial_bits;
            ensure(
                schedule.anchor <= schedule.limit,
                "initial_bits",
                value,
                allowed,
            )?;
            streams.push(NetworkStream {
                params: params.clone(),
                schedule,
            });
        }
        let mut accumulator = Accumulator::default();
        for allocation in &params.allocations {
            let account = Account {
                balance: allocation.balance,
                nonce: 0,
            };
            accumulator.add(&allocation.account, &account);
        }
        let genesis = Arc::new(genesis(&params, &accumulator));
        Ok(Self {
            params,
            streams,
            genesis,
            accumulator,
        })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The stream, if this network has it.
    pub fn stream(&self, stream: Stream) -> Option<&NetworkStream> {
        self.streams.get(stream.index())
    }

    /// The streams of this network.
    pub fn streams(&self) -> impl Iterator<Item = (Stream, &NetworkStream)> {
        Stream::ALL.into_iter().zip(&self.streams)
    }

    /// The first block. It carries no work and is never sent.
    pub fn genesis(&self) -> &Arc<Block> {
        &self.genesis
    }

    /// What the ordering of blocks keeps to.
    pub fn limits(&self) -> Limits {
        Limits {
            k: self.params.k,
            max_parents: self.params.max_parents.into(),
            merge_limit: self.params.merge_limit.into(),
            merge_depth: self.params.merge_depth.into(),
            finality_depth: self.params.finality_depth.into(),
        }
    }

    /// The id of genesis, which names the network.
    pub fn id(&self) -> BlockId {
        self.genesis.id()
    }

    /// The accounts that genesis endows, hashed.
    pub fn genesis_accumulator(&self) -> &Accumulator {
        &self.accumulator
    }

    /// Units that genesis issues.
    pub fn genesis_supply(&self) -> u64 {
        self.params
            .allocations
            .iter()
            .map(|allocation| allocation.balance)
            .sum()
    }

    /// Whether any stream goes without proof of work.
    pub fn is_simulated(&self) -> bool {
        self.streams
            .iter()
            .any(|stream| stream.params.algorithm == Algorithm::None)
    }

    /// The address of an account.
    pub fn address(&self, account: &AccountId) -> String {
        address::encode(&self.params.address_prefix, account)
    }

    /// The account of an address of this network.
    pub fn account(&self, text: &str) -> Result<AccountId, address::AddressError> {
        address::decode(&self.params.address_prefix, text)
    }
}

fn ensure(
    holds: bool,
    key: &'static str,
    value: impl ToString,
    allowed: &'static str,
) -> Result<(), ParamsError> {
    if holds {
        Ok(())
    } else {
        Err(ParamsError::Range {
            key,
            value: value.to_string(),
            allowed,
        })
    }
}

fn check(params: &Params) -> Result<(), ParamsError> {
    ensure(
        (1..=64).contains(&params.name.len()),
        "name",
        &params.name,
        "1 to 64 bytes",
    )?;
    let prefix = &params.address_prefix;
    let allowed = "1 to 16 lower-case letters and digits";
    ensure(
        address::is_prefix(prefix),
        "address_prefix",
        prefix,
        allowed,
    )?;
    let parents = usize::from(params.max_parents);
    ensure(
        (1..=MAX_PARENTS).contains(&parents),
        "max_parents",
        parents,
        "1 to 16",
    )?;
    let k = params.k;
    let allowed = "0 where max_parents is 1, else 0 to 1000";
    ensure(k <= MAX_K && (parents > 1 || k == 0), "k", k, allowed)?;
    let limit = params.merge_limit;
    let allowed = "0 where max_parents is 1, else max_parents to 512";
    let range = if parents == 1 {
        0..=0
    } else {
        parents as u16..=512
    };
    ensure(range.contains(&limit), "merge_limit", limit, allowed)?;
    // Blue blocks need no check of their depth as long as an anticone of k cannot reach so far.
    let depth = params.merge_depth;
    ensure(
        depth > 2 * u32::from(k),
        "merge_depth",
        depth,
        "more than twice k",
    )?;
    let finality = params.finality_depth;
    let allowed = "merge_depth to a million";
    ensure(
        (depth..=1_000_000).contains(&finality),
        "finality_depth",
        finality,
        allowed,
    )?;
    let streams = params.streams.len();
    ensure(
        (1..=3).contains(&streams),
        "streams",
        streams,
        "1 to 3 streams",
    )?;
    for stream in &params.streams {
        const YEAR_MS: u64 = 365 * 86_400_000;
        let range = 1..=YEAR_MS;
        ensure(
            range.contains(&stream.interval_ms),
            "interval_ms",
            stream.interval_ms,
            "1 ms to a year",
        )?;
        // ASERT counts a gap for four half-lives at most. Were those less than an interval, most gaps would be cut, and targets
        // would fall for ever.
        let half_life = stream.half_life_ms;
        ensure(
            (stream.interval_ms..=YEAR_MS).contains(&half_life),
            "half_life_ms",
            half_life,
            "interval_ms to a year",
        )?;
        let transactions = stream.max_transactions;
        let fits = transactions as usize <= MAX_TRANSACTIONS;
        ensure(fits, "max_transactions", transactions, "0 to 10000")?;
    }
    let ascending = params
        .allocations
        .is_sorted_by(|left, right| left.account < right.account);
    ensure(
        ascending,
        "allocations",
        "a list",
        "distinct accounts, ascending",
    )?;
    // Half of the range, so that no reward of a network's lifetime overflows a sum of balances.
    let sum: u128 = params
        .allocations
        .iter()
        .map(|allocation| u128::from(allocation.balance))
        .sum();
    ensure(
        sum <= u128::from(u64::MAX / 2),
        "allocations",
        sum,
        "at most 2^63 units in all",
    )
}

fn genesis(params: &Params, accumulator: &Accumulator) -> Block {
    let body = Body {
        miner: AccountId::default(),
        extra_nonce: 0,
        transactions: Vec::new(),
    };
    let commitment = BlockId(Sha256::digest(Sha256::digest(params.to_bytes())).into());
    let header = Header {
        stream: Stream::A,
        // In place of parents, genesis commits to the parameters.
        parents_root: parents_root(&[commitment]),
        body_root: body.root(),
        state_digest: accumulator.digest(),
        timestamp_ms: 0,
        bits: params.streams[0].initial_bits,
        nonce: 0,
    };
    Block::assemble(header, Vec::new(), body)
}
