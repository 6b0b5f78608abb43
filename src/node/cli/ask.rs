//! What the program asks of a running node, or of its data directory, and how it shows the answers.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::node::coins::{self, ParseCoinsError};
use crate::node::config::{ConfigError, NodeConfig};
use crate::node::error::exit;
use crate::node::identity::{self, IdentityError};
use crate::node::snapshot::TransferError;
use crate::protocol::chain::address::AddressError;
use crate::protocol::chain::id::{BlockId, NodeKey};
use crate::protocol::chain::key::KeyPair;
use crate::protocol::chain::transaction::Transfer;
use crate::rpc::client::{Client, ClientError};
use crate::rpc::{GetAccount, GetStatus, Status, SubmitTransaction};

use super::Payment;

/// A node that is well answers in milliseconds; on a machine under load it may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The node did not answer, or refused.
    #[error("{0}; is the node running, and is this its {1}?")]
    Client(ClientError, &'static str),
    /// The node refuses the transfer.
    #[error("the node refuses: {0}")]
    Refused(String),
    /// It takes too long.
    #[error("no answer from {0} within {PATIENCE:?}")]
    Slow(SocketAddr),
    /// The node answers that it is not well.
    #[error("the node is not well: {0}")]
    Unwell(String),
    /// The interface is switched off.
    #[error("`{0}` is false in the configuration: name the address with {1}")]
    Off(&'static str, &'static str),
    /// The directory is not known before a node starts.
    #[error("data_dir `{0}` stands for many directories: name one with --data-dir")]
    Slot(String),
    /// The node is of another network.
    #[error(
        "the node is of network {found:.12}, this configuration is of {wanted:.12}; \
         correct --network or --config"
    )]
    OtherNetwork {
        /// The genesis id of the node.
        found: BlockId,
        /// The genesis id of the configuration.
        wanted: BlockId,
    },
    /// The amount is none.
    #[error("--amount: {0}")]
    Amount(#[from] ParseCoinsError),
    /// The address is none.
    #[error("--to: {0}")]
    Address(#[from] AddressError),
    /// Amount and fee do not fit.
    #[error("--amount and --fee together are more than 2^64 units")]
    Overflow,
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The answer cannot be written.
    #[error("--output: cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no snapshot.
    #[error(transparent)]
    Snapshot(#[from] TransferError),
}

impl AskError {
    /// The code with which the program exits.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Off(..) | Self::Slot(_) | Self::Amount(_) | Self::Address(_) => exit::USAGE,
            Self::Overflow | Self::Config(_) | Self::OtherNetwork { .. } => exit::USAGE,
            Self::Client(..) | Self::Refused(_) | Self::Slow(_) | Self::Unwell(_) => exit::FAILURE,
            Self::Identity(_) | Self::Write { .. } => exit::FAILURE,
            Self::Snapshot(error) => error.exit_code(),
        }
    }
}

/// How a running node is, as a table, or as JSON.
pub async fn status(
    config: &NodeConfig,
    rpc: Option<SocketAddr>,
    json: bool,
) -> Result<String, AskError> {
    let address = rpc_address(config, rpc)?;
    let status = within(address, call(&Client::new(address), GetStatus {})).await?;
    if json {
        let json = serde_json::to_value(&status).expect("a status has only texts as keys");
        return Ok(format!("{json:#}\n"));
    }
    Ok(status_table(&status))
}

/// Whether a running node is well.
pub async fn health(config: &NodeConfig, metrics: Option<SocketAddr>) -> Result<String, AskError> {
    let address = metrics.or_else(|| config.metrics_address());
    let address = reachable(address.ok_or(AskError::Off("metrics.enabled", "--metrics"))?);
    let client = Client::new(address);
    let request = async {
        let answer = client.get("/health").await;
        answer.map_err(|error| AskError::Client(error, "metrics address"))
    };
    match within(address, request).await? {
        (200, text) => Ok(format!("{}\n", text.trim())),
        (status, text) => Err(AskError::Unwell(format!("{status} {}", text.trim()))),
    }
}

/// The node's key and address. Makes the key if there is none.
pub fn key(config: &NodeConfig) -> Result<String, AskError> {
    let keys = own_keys(config)?;
    let rows = [
        ("key", NodeKey(keys.public().0).to_string()),
        ("address", config.network()?.address(&keys.public())),
    ];
    Ok(table(&rows))
}

/// Signs a transfer with the node's own key and hands it in.
pub async fn transfer(
    config: &NodeConfig,
    rpc: Option<SocketAddr>,
    payment: &Payment,
) -> Result<String, AskError> {
    let network = config.network()?;
    let amount = coins::parse(&payment.amount)?;
    let recipient = network.account(&payment.to)?;
    let address = rpc_address(config, rpc)?;
    let keys = own_keys(config)?;
    let client = Client::new(address);
    let mut transfer = Transfer {
        sender: keys.public(),
        recipient,
        amount,
        fee: payment.fee.unwrap_or(config.mempool.min_fee),
        nonce: 0,
    };
    transfer.cost().ok_or(AskError::Overflow)?;
    let exchange = async {
        let found = call(&client, GetStatus {}).await?.network_id;
        let wanted = network.id();
        if found != wanted {
            return Err(AskError::OtherNetwork { found, wanted });
        }
        let sender = network.address(&transfer.sender);
        let account = call(&client, GetAccount { address: sender }).await?;
        transfer.nonce = account.next_nonce;
        let bytes = transfer.sign(&wanted, &keys).to_bytes();
        let transaction = hexadecimal(&bytes);
        call(&client, SubmitTransaction { transaction }).await
    };
    let submitted = within(address, exchange).await?;
    let rows = [
        ("transaction", submitted.id.to_string()),
        ("amount", coins::format(transfer.amount)),
        ("fee", coins::format(transfer.fee)),
        ("to", payment.to.clone()),
        ("nonce", transfer.nonce.to_string()),
    ];
    Ok(table(&rows))
}

pub(super) async fn call<M: crate::rpc::Method>(
    client: &Client,
    method: M,
) -> Result<M::Answer, AskError> {
    client.call(method).await.map_err(|error| match error {
        ClientError::Refused { .. } => AskError::Refused(error.to_string()),
        error => AskError::Client(error, "RPC address"),
    })
}

pub(super) async fn within<T>(
    address: SocketAddr,
    answer: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or(Err(AskError::Slow(address)))
}

pub(super) fn rpc_address(
    config: &NodeConfig,
    rpc: Option<SocketAddr>,
) -> Result<SocketAddr, AskError> {
    let address = rpc.or_else(|| config.rpc_address());
    Ok(reachable(
        address.ok_or(AskError::Off("rpc.enabled", "--rpc"))?,
    ))
}

/// What listens on all addresses is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn own_keys(config: &NodeConfig) -> Result<KeyPair, AskError> {
    if config.data_dir.contains("{slot}") {
        return Err(AskError::Slot(config.data_dir.clone()));
    }
    Ok(identity::load_or_create(&config.data_directory())?)
}

fn status_table(status: &Status) -> String {
    let by_stream = |values: &std::collections::BTreeMap<String, u64>| {
        let parts = values
            .iter()
            .map(|(stream, value)| format!("{stream} {value}"));
        parts.collect::<Vec<_>>().join(", ")
    };
    let tip = &status.tip;
    let mining = match status.mining {
        true => format!("{} H/s", by_stream(&status.hashrate)),
        false => "off".to_owned(),
    };
    let sync = match status.sync_remaining {
        0 => "done".to_owned(),
        remaining => format!("{remaining} blocks to go"),
    };
    let (inbound, outbound) = (status.peers_inbound, status.peers_outbound);
    table(&[
        ("version", status.version.clone()),
        (
            "network",
            format!("{} ({:.12})", status.network, status.network_id),
        ),
        ("node", status.key.to_string()),
        ("port", status.port.to_string()),
        ("uptime", format!("{} s", status.uptime_ms / 1_000)),
        (
            "blocks",
            format!("{}, {} of them red", status.blocks, status.red),
        ),
        ("tip", format!("{} (stream {})", tip.id, tip.stream)),
        ("state digest", status.state_digest.to_string()),
        ("transactions", status.transactions.to_string()),
        (
            "peers",
            format!(
                "{} ({inbound} inbound, {outbound} outbound)",
                inbound + outbound
            ),
        ),
        (
            "mempool",
            format!(
                "{} transactions, {} bytes",
                status.mempool_transactions, status.mempool_bytes
            ),
        ),
        ("sync", sync),
        ("mining", mining),
        ("mined", by_stream(&status.mined)),
        ("miner", status.miner.clone()),
        ("balance", coins::format(status.balance)),
        ("issued", coins::format(status.issued)),
    ])
}

pub(super) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        writeln!(text, "{name:width$}  {value}").expect("a String takes all text");
    }
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes all text");
    }
    text
}
