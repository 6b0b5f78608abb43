//! Snapshots: what a new node starts from instead of all blocks since genesis.
//!
//! A snapshot is the answers to a fixed series of questions: who the source is, the accounts before a block that is settled, that
//! block, and all headers. Whoever answers, a peer, a store or a file, is asked in the same way; and a file is the frames in which
//! a peer would have answered.

mod source;

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::config::PeerConfig;
use super::error::exit;
use super::identity::IdentityError;
use super::noise::NoiseError;
use super::store::{Claim, Store, StoreError};
use crate::protocol::chain::block::{Block, Heading};
use crate::protocol::chain::id::{AccountId, BlockId};
use crate::protocol::chain::ledger::Account;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::snapshot::{Loader, SnapshotError};
use crate::protocol::chain::view::{Fault, Overlay};
use crate::protocol::chain::{Accepted, Chain, Rejected};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::wire::frame;
use crate::protocol::wire::message::{
    Claim as Tip, Message, MessageError, PROTOCOL_VERSION, Received,
};

use source::Source;

/// Where a snapshot comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// A running node, and how it is spoken with.
    Peer(Endpoint, PeerConfig),
    /// A data directory whose node does not run.
    Directory(PathBuf),
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The node cannot be reached, or the connection ended.
    #[error(
        "no snapshot from {endpoint}: {source}; is it a running node, and does it take connections?"
    )]
    Peer {
        /// Who was asked.
        endpoint: Endpoint,
        /// What happened.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The snapshot ends early, or holds something else.
    #[error("{0} is not a whole snapshot: {1}")]
    Damaged(String, String),
    /// It breaks a rule.
    #[error("{0} gives no valid snapshot: {1}")]
    Invalid(String, SnapshotError),
    /// It is of another network.
    #[error(
        "{from} is of network {found:.12}, this configuration is of {wanted:.12}: correct --network or --config"
    )]
    OtherNetwork {
        /// Who or what was asked.
        from: String,
        /// Its network.
        found: BlockId,
        /// The network of the configuration.
        wanted: BlockId,
    },
    /// It speaks another version of the protocol.
    #[error(
        "{from} speaks version {found} of the protocol, this program version {PROTOCOL_VERSION}"
    )]
    OtherVersion {
        /// Who or what was asked.
        from: String,
        /// Its version.
        found: u32,
    },
    /// Nothing is final yet.
    #[error(
        "{from} has nothing to start from yet: a block is final once {depth} blue blocks stand upon it; let the node sync"
    )]
    Young {
        /// Who or what was asked.
        from: String,
        /// The finality depth.
        depth: u64,
    },
    /// The node to be started has blocks.
    #[error("{} holds a chain already: choose another directory with --data-dir, or move this one away", .0.display())]
    Occupied(PathBuf),
    /// There is no chain to export.
    #[error("{} holds no chain: name the directory of a node with --data-dir, or a running one with --from", .0.display())]
    Empty(PathBuf),
    /// It speaks in another way.
    #[error("no snapshot from {endpoint}: {source}")]
    OtherTransport {
        /// Who was asked.
        endpoint: Endpoint,
        /// What is different.
        source: MessageError,
    },
    /// There is no key to speak with it.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The node that is spoken for has no key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl TransferError {
    /// The code with which the program exits.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OtherNetwork { .. } => exit::OTHER_DATA,
            Self::Store(error) => error.exit_code(),
            Self::Noise(error) => error.exit_code(),
            _ => exit::FAILURE,
        }
    }
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The settled block: the state before it is in the snapshot, and the node goes on with it.
    pub block: BlockId,
    /// Its number.
    pub number: u64,
    /// Accounts.
    pub accounts: u64,
    /// Headers, genesis left out.
    pub headers: u64,
}

/// Tells how far it is: what is counted, how many there are, and how many there will be if that is known.
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, u64, Option<u64>);

/// Part of a snapshot, checked as far as it can be by itself.
enum Piece {
    Accounts(BlockId, Vec<(AccountId, Account)>),
    Block(Arc<Block>),
    Headers(Vec<Heading>),
}

/// Time for a connection, and for each answer: undoing the blocks since the settled one takes a second or more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends of pages that are offered as the place where both agree: a page's last block may leave the selected chain meanwhile.
const PAGE_ENDS: usize = 8;

/// Writes a snapshot to a new file.
///
/// # Errors
///
/// There is none to be had, or the file exists or cannot be written.
pub fn export(
    origin: &Origin,
    network: &Arc<Network>,
    path: &Path,
    progress: Progress<'_>,
) -> Result<Summary, TransferError> {
    let failed = |action| {
        move |source| TransferError::File {
            action,
            path: path.to_owned(),
            source,
        }
    };
    if path.exists() {
        return Err(failed("write")(ErrorKind::AlreadyExists.into()));
    }
    let mut source = source::open(origin, network)?;
    // Under another name until it is whole.
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = BufWriter::new(File::create(&partial).map_err(failed("write"))?);
    let mut record = |message: &Message| {
        let written = file.write_all(&frame::encode(message));
        written.map_err(failed("write"))
    };
    let result = read(&mut *source, network, &mut record, progress, |_| Ok(()));
    let result = result.and_then(|summary| {
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&partial, path))
            .map_err(failed("write"))?;
        Ok(summary)
    });
    if result.is_err() {
        // What is left of it is of no use; that there is no snapshot is what the user has to know.
        fs::remove_file(&partial).ok();
    }
    result
}

/// Makes the store of a data directory that has none from a snapshot.
///
/// # Errors
///
/// There is no valid snapshot, or the directory is not free.
pub fn import(
    origin: &Origin,
    network: &Arc<Network>,
    directory: &Path,
    cache_bytes: u64,
    progress: Progress<'_>,
) -> Result<Summary, TransferError> {
    let claim = Claim::take(directory)?;
    let (blocks, beside) = (claim.path().join("blocks"), claim.path().join("importing"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TransferError::File {
            action: "write",
            path,
            source,
        }
    };
    if blocks.exists() {
        return Err(TransferError::Occupied(claim.path().to_owned()));
    }
    let mut source = source::open(origin, network)?;
    // Until it is whole it is no node's store.
    remove(&beside).map_err(failed(&beside))?;
    let store = Store::open(Claim::take(&beside)?, network, cache_bytes)?;
    let loaded = load(&mut *source, network, &store, progress);
    let closed = store.close();
    match loaded.and_then(|summary| Ok(closed.map(|()| summary)?)) {
        Ok(summary) => {
            fs::rename(beside.join("blocks"), &blocks).map_err(failed(&blocks))?;
            remove(&beside).map_err(failed(&beside))?;
            Ok(summary)
        }
        Err(error) => {
            remove(&beside).map_err(failed(&beside))?;
            Err(error)
        }
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn load(
    source: &mut dyn Source,
    network: &Arc<Network>,
    store: &Arc<Store>,
    progress: Progress<'_>,
) -> Result<Summary, TransferError> {
    let from = source.name();
    let invalid = |error| match error {
        SnapshotError::Fault(fault) => TransferError::Fault(fault),
        error => TransferError::Invalid(from.clone(), error),
    };
    let mut loader = None;
    let mut first = None;
    let mut record = |_: &Message| Ok(());
    let summary = read(source, network, &mut record, progress, |piece| {
        let mut overlay = Overlay::new(&**store);
        match piece {
            Piece::Accounts(id, accounts) => {
                let loader = loader
                    .get_or_insert_with(|| Loader::new(Arc::clone(network), id, &mut overlay));
                let taken = loader.accounts(&accounts, &mut overlay.batch);
                taken.map_err(invalid)?;
            }
            Piece::Block(block) => first = Some(block),
            Piece::Headers(headers) => {
                let loader: &mut Loader = loader.as_mut().expect("accounts come before headers");
                for heading in &headers {
                    let taken = loader.header(heading, &mut overlay.batch);
                    taken.map_err(invalid)?;
                }
            }
        }
        store.apply(&overlay.batch)?;
        Ok(())
    })?;
    let (Some(loader), Some(block)) = (loader, first) else {
        return Err(TransferError::Damaged(
            from,
            "its block is missing".to_owned(),
        ));
    };
    let finished = loader.finish(&**store, |batch| store.apply(batch).map(drop));
    finished.map_err(invalid)?;
    go_on(network, store, &block)?;
    Ok(summary)
}

/// Lets the chain take the settled block in, so that the directory holds what a node would have written itself.
fn go_on(network: &Arc<Network>, store: &Store, block: &Arc<Block>) -> Result<(), TransferError> {
    let mut overlay = Overlay::new(store);
    let mut chain = Chain::restore(Arc::clone(network), false, &mut overlay)?;
    // Its date was checked by the blocks upon it.
    match chain.accept(block, u64::MAX, &mut overlay) {
        Ok(Accepted::Ordered { .. }) => {}
        Err(Rejected::Fault(fault)) => return Err(fault.into()),
        other => {
            return Err(Fault(format!("block {} was not taken in: {other:?}", block.id())).into());
        }
    }
    store.apply(&overlay.batch)?;
    Ok(())
}

/// Asks all that a snapshot answers, shows each answer to `record`, and gives what is in it to `take`.
fn read(
    source: &mut dyn Source,
    network: &Network,
    record: &mut dyn FnMut(&Message) -> Result<(), TransferError>,
    progress: Progress<'_>,
    mut take: impl FnMut(Piece) -> Result<(), TransferError>,
) -> Result<Summary, TransferError> {
    let from = source.name();
    let other = || TransferError::Damaged(from.clone(), "an answer to another question".to_owned());
    let damaged = |error: MessageError| TransferError::Damaged(from.clone(), error.to_string());
    let mut ask = |question: Option<Message>| {
        let answer = match question {
            Some(question) => source.ask(question)?,
            None => source.hello()?,
        };
        record(&answer)?;
        answer.check(network).map_err(damaged)
    };
    let mut summary = Summary::default();
    let Received::Hello(hello) = ask(None)? else {
        return Err(other());
    };
    if hello.network != network.id() {
        let (found, wanted) = (hello.network, network.id());
        return Err(TransferError::OtherNetwork {
            from,
            found,
            wanted,
        });
    }
    if hello.version != PROTOCOL_VERSION {
        let found = hello.version;
        return Err(TransferError::OtherVersion { from, found });
    }
    let (mut wanted, mut after) = (None, None);
    loop {
        let question = Message::RequestAccounts {
            block: wanted,
            after,
        };
        let Received::Accounts {
            block,
            accounts,
            more,
        } = ask(Some(question))?
        else {
            return Err(other());
        };
        if block == BlockId::default() || wanted.is_some_and(|wanted| wanted != block) {
            let depth = network.limits().finality_depth;
            return Err(TransferError::Young { from, depth });
        }
        wanted = Some(block);
        after = accounts.last().map(|(id, _)| *id);
        summary.accounts += accounts.len() as u64;
        progress("accounts", summary.accounts, None);
        take(Piece::Accounts(block, accounts))?;
        if !more || after.is_none() {
            break;
        }
    }
    summary.block = wanted.expect("the loop ends with a block");
    let ids = vec![summary.block];
    let Received::Blocks { mut blocks, .. } = ask(Some(Message::RequestBlocksById { ids }))? else {
        return Err(other());
    };
    let block = blocks.pop().filter(|block| block.id() == summary.block);
    let block = block.ok_or_else(|| {
        TransferError::Damaged(from.clone(), format!("block {} is missing", summary.block))
    })?;
    take(Piece::Block(block))?;
    let mut ends = Vec::new();
    loop {
        let locator = ends.iter().rev().take(PAGE_ENDS).copied().collect();
        let question = Message::RequestHeaders { locator };
        let Received::Headers {
            from_block,
            headers,
            more,
        } = ask(Some(question))?
        else {
            return Err(other());
        };
        let at = headers
            .iter()
            .position(|heading| heading.id() == summary.block);
        if let Some(at) = at {
            summary.number = from_block + at as u64;
        }
        summary.headers = from_block + headers.len() as u64 - 1;
        progress("headers", summary.headers, Some(hello.claim.number));
        let last = headers.last().map(Heading::id);
        take(Piece::Headers(headers))?;
        if !more || last.is_none() || last == ends.last().copied() {
            return Ok(summary);
        }
        ends.extend(last);
    }
}

/// What a node says that has nothing yet.
fn nothing(network: &Network) -> Tip {
    Tip {
        work: Default::default(),
        tip: network.id(),
        number: 0,
        beside: Vec::new(),
        pruned: 0,
    }
}

/// How an origin is called in messages.
fn name(origin: &Origin) -> String {
    match origin {
        Origin::File(path) | Origin::Directory(path) => path.display().to_string(),
        Origin::Peer(endpoint, _) => endpoint.to_string(),
    }
}

/// An address of an endpoint that accepts a connection.
fn addresses(endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs as _;
    Ok(endpoint.to_string().to_socket_addrs()?.collect())
}
