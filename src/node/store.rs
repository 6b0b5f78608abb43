//! The store: sled, opened and written in the one way in which it was measured to keep its promises.
//!
//! A batch is one atomic write: what is on disk is always a state that the node was once in. [`Store::apply`] makes it visible at
//! once; one thread makes it durable, many batches at a time, and says how far it is. sled's own flush leaves the drive's cache and
//! the file's size alone (it calls `sync_file_range`), so each flush is followed by an fdatasync of the file.

mod accounts;
mod claim;
mod open;
mod row;
mod write;

use std::fs::File;
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Included};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use accounts::Accounts;
pub use claim::Claim;
use row::{FORMAT, RecordRow, TIP_KEY, TipRow, named, numbered};

use crate::protocol::chain::block::Block;
use crate::protocol::chain::id::{AccountId, BlockId, TransactionId};
use crate::protocol::chain::ledger::{Account, Undo};
use crate::protocol::chain::ordering::Ordered;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::transaction::{SharedTransaction, Transaction};
use crate::protocol::chain::view::{Fault, KnownAddress, Location, Record, Tip, View};
use crate::protocol::wire::message::PeerAddress;

/// After a flush the disk is left alone for so many times as long as that took: under load, more is gathered.
const REST: u32 = 3;

/// The sequence that [`Store::durable`] shows once nothing can be made durable any more.
pub const FAILED: u64 = u64::MAX;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "the data directory {path} is in use by another node: stop that one, or choose another with --data-dir"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It holds another network's chain.
    #[error(
        "the data directory {path} holds network {found:.12}, this configuration is network {wanted:.12}: \
         choose another with --data-dir, or the other network's configuration"
    )]
    OtherNetwork {
        /// The directory.
        path: PathBuf,
        /// The network in it.
        found: BlockId,
        /// The network of the configuration.
        wanted: BlockId,
    },
    /// It was written by another version of the program.
    #[error(
        "the data directory {path} has format {found}, this program reads format {FORMAT}: run the version that \
         wrote it, or move the directory away and let the node sync again"
    )]
    Version {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It cannot be read.
    #[error(
        "the store in {path} is damaged ({reason}): move the directory away and let the node sync again; \
         keep its node.key to keep the node's name"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What sled or a row says.
        reason: String,
    },
    /// The system refuses.
    #[error("the data directory {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

type Observer = Box<dyn Fn(Duration) + Send + Sync>;

type Full = Box<dyn Fn() -> bool + Send + Sync>;

/// What is between the writer and the thread that makes writes durable.
struct Flushing {
    state: Mutex<FlushState>,
    wake: Condvar,
    durable: watch::Sender<u64>,
    observer: OnceLock<Observer>,
}

#[derive(Default)]
struct FlushState {
    applied: u64,
    stop: bool,
    fault: Option<Fault>,
}

/// Blocks, their places, the selected order and the accounts after it, on disk.
pub struct Store {
    /// Empty once closed, so that the directory can be opened again while some reader still holds the store.
    tree: RwLock<Option<(sled::Db, Claim)>>,
    next_body: AtomicU64,
    accounts: Accounts,
    flushing: Arc<Flushing>,
    flusher: Mutex<Option<JoinHandle<()>>>,
    is_full: OnceLock<Full>,
}

impl Store {
    /// Opens the store of a network, making it if the directory is empty.
    ///
    /// # Errors
    ///
    /// The directory holds another network or format, is damaged, or the system refuses.
    pub fn open(
        claim: Claim,
        network: &Network,
        cache_bytes: u64,
    ) -> Result<Arc<Self>, StoreError> {
        let path = claim.path().to_owned();
        let failed = |source| StoreError::Io {
            path: path.clone(),
            source,
        };
        let folder = path.join("blocks");
        std::fs::create_dir_all(&folder).map_err(failed)?;
        open::remove_half_written_snapshots(&folder).map_err(failed)?;
        let db = open::open_sled(&path, &folder, cache_bytes)?;
        let damaged = |reason: String| StoreError::Damaged {
            path: path.clone(),
            reason,
        };
        open::check_marks(&path, &folder, &db, network)?;
        let last = db.scan_prefix(b"b").next_back().transpose();
        let last = last.map_err(|error| damaged(error.to_string()))?;
        let number = |key: sled::IVec| key.get(1..9).and_then(|bytes| bytes.try_into().ok());
        let next_body = last
            .and_then(|(key, _)| number(key))
            .map_or(0, u64::from_be_bytes)
            + 1;

        let file = File::options()
            .read(true)
            .write(true)
            .open(folder.join("db"))
            .map_err(failed)?;
        open::remember_marks(&folder, &file).map_err(failed)?;
        let flushing = Arc::new(Flushing {
            state: Mutex::default(),
            wake: Condvar::new(),
            durable: watch::Sender::new(0),
            observer: OnceLock::new(),
        });
        let (shared, tree) = (Arc::clone(&flushing), db.clone());
        let flusher = std::thread::Builder::new()
            .name("flusher".to_owned())
            .spawn(move || shared.run(&tree, &file))
            .map_err(failed)?;
        Ok(Arc::new(Self {
            tree: RwLock::new(Some((db, claim))),
            next_body: AtomicU64::new(next_body),
            accounts: Accounts::default(),
            flushing,
            flusher: Mutex::new(Some(flusher)),
            is_full: OnceLock::new(),
        }))
    }

    /// The highest sequence that is on disk, or [`FAILED`].
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.flushing.durable.subscribe()
    }

    /// Waits until everything that was applied so far is on disk.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn settled(&self) -> Result<(), Fault> {
        let applied = self.flushing.lock().applied;
        let mut durable = self.durable();
        durable.wait_for(|durable| *durable >= applied).await.ok();
        match &self.flushing.lock().fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    /// Calls `observer` with the time of every commit.
    pub fn on_commit(&self, observer: impl Fn(Duration) + Send + Sync + 'static) {
        // A second observer would be a second owner of one figure; the first stays.
        self.flushing.observer.set(Box::new(observer)).ok();
    }

    /// Takes the disk to be full while `is_full` says so: the next write fails, as it would there.
    pub fn refuse_while(&self, is_full: impl Fn() -> bool + Send + Sync + 'static) {
        self.is_full.set(Box::new(is_full)).ok();
    }

    /// Bytes on disk.
    pub fn size_bytes(&self) -> u64 {
        self.read(|db| db.size_on_disk()).unwrap_or(0)
    }

    /// Makes everything durable and gives the directory back. Later reads and writes fail.
    ///
    /// # Errors
    ///
    /// The store failed, now or earlier.
    pub fn close(&self) -> Result<(), Fault> {
        self.flushing.lock().stop = true;
        self.flushing.wake.notify_one();
        let flusher = self
            .flusher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = flusher {
            thread
                .join()
                .map_err(|_| Fault("the store's flusher has failed".to_owned()))?;
        }
        let taken = self
            .tree
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.accounts.lock().clear();
        if let Some((db, claim)) = taken {
            drop(db);
            open::wait_until_released(&claim.path().join("blocks"));
        }
        self.flushing.lock().fault.clone().map_or(Ok(()), Err)
    }

    fn read<T>(&self, read: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, Fault> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let Some((db, _)) = &*tree else {
            return Err(Fault("the store is closed".to_owned()));
        };
        read(db).map_err(|error| Fault(format!("the store failed: {error}")))
    }

    fn row<T: bincode::Decode<()>>(&self, what: &str, key: &[u8]) -> Result<Option<T>, Fault> {
        let value = self.read(|db| db.get(key))?;
        value.map(|bytes| row::decode(what, &bytes)).transpose()
    }

    fn body(&self, id: &BlockId) -> Result<Option<u64>, Fault> {
        let row: Option<RecordRow> = self.row("record", &named(b'h', &id.0))?;
        Ok(row.map(|row| row.body))
    }

    fn chunks(&self, kind: u8, body: u64) -> Result<Vec<u8>, Fault> {
        self.read(|db| {
            let mut bytes = Vec::new();
            for row in db.scan_prefix(numbered(kind, body)) {
                bytes.extend_from_slice(&row?.1);
            }
            Ok(bytes)
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(fault) = self.close() {
            tracing::error!(%fault, "the store was not closed cleanly");
        }
    }
}

impl View for Store {
    fn record(&self, id: &BlockId) -> Result<Option<Arc<Record>>, Fault> {
        let row: Option<RecordRow> = self.row("record", &named(b'h', &id.0))?;
        let Some(record) = row.map(RecordRow::record).transpose()? else {
            return Ok(None);
        };
        if record.id() != *id {
            return Err(Fault(format!(
                "the stored header of block {id} is that of {}",
                record.id()
            )));
        }
        Ok(Some(Arc::new(record)))
    }

    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault> {
        let Some(body) = self.body(id)? else {
            return Ok(None);
        };
        let bytes = self.chunks(b'b', body)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let block = Block::decode_checked_before(bytes.into())
            .map_err(|error| Fault(format!("the stored block {id} is damaged: {error}")))?;
        if block.id() != *id || block.body().root() != block.header().body_root {
            return Err(Fault(format!(
                "the stored block {id} is not what its id says"
            )));
        }
        Ok(Some(Arc::new(block)))
    }

    fn ordered(&self, number: u64) -> Result<Option<Ordered>, Fault> {
        self.row("place in the order", &numbered(b'n', number))
    }

    fn position(&self, id: &BlockId) -> Result<Option<u64>, Fault> {
        self.row("position", &named(b'o', &id.0))
    }

    fn account(&self, id: &AccountId) -> Result<Account, Fault> {
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get(id) {
            return Ok(account);
        }
        let row = self.row("account", &named(b'a', &id.0))?;
        let account = row.unwrap_or_default();
        accounts.keep(*id, account);
        Ok(account)
    }

    fn accounts(
        &self,
        after: Option<&AccountId>,
        count: usize,
    ) -> Result<Vec<(AccountId, Account)>, Fault> {
        let first = named(b'a', &[0; 32]);
        let start = after.map_or(Included(first), |id| Excluded(named(b'a', &id.0)));
        let end = Included(named(b'a', &[0xff; 32]));
        let rows = self.read(|db| {
            let rows = db.range((start, end)).take(count);
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        let decode = |(key, value): (sled::IVec, sled::IVec)| {
            let id = key.get(1..).and_then(|id| id.try_into().ok());
            let id = id.ok_or_else(|| Fault("a stored account has no id".to_owned()))?;
            Ok((AccountId(id), row::decode("account", &value)?))
        };
        rows.into_iter().map(decode).collect()
    }

    fn undo(&self, id: &BlockId) -> Result<Option<Arc<Undo>>, Fault> {
        let Some(body) = self.body(id)? else {
            return Ok(None);
        };
        let bytes = self.chunks(b'u', body)?;
        if bytes.is_empty() {
            Ok(None)
        } else {
            row::decode("undo row", &bytes).map(Arc::new).map(Some)
        }
    }

    fn transaction(&self, id: &TransactionId) -> Result<Option<Location>, Fault> {
        self.row("transaction", &named(b't', &id.0))
    }

    fn pending(&self) -> Result<Vec<SharedTransaction>, Fault> {
        let rows = self.read(|db| db.scan_prefix(b"p").values().collect::<Result<Vec<_>, _>>())?;
        let decode = |bytes: sled::IVec| {
            let transaction = Transaction::decode_checked_before(&bytes).map(Arc::new);
            transaction.map_err(|error| Fault(format!("a stored submission is damaged: {error}")))
        };
        rows.into_iter().map(decode).collect()
    }

    fn addresses(&self) -> Result<Vec<(SocketAddr, KnownAddress)>, Fault> {
        let rows = self.read(|db| db.scan_prefix(b"d").collect::<Result<Vec<_>, _>>())?;
        let decode = |(key, value): (sled::IVec, sled::IVec)| {
            let address: PeerAddress = row::decode("address", &key[1..])?;
            Ok((address.into(), row::decode("address", &value)?))
        };
        rows.into_iter().map(decode).collect()
    }

    fn tip(&self) -> Result<Option<Arc<Tip>>, Fault> {
        let row: Option<TipRow> = self.row("tip", TIP_KEY)?;
        row.map(|row| row.tip().map(Arc::new)).transpose()
    }
}

impl Flushing {
    fn lock(&self) -> std::sync::MutexGuard<'_, FlushState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, db: &sled::Db, file: &File) {
        let mut durable = 0;
        let mut rested = Instant::now();
        loop {
            let idle = |state: &mut FlushState| state.applied == durable && !state.stop;
            let waited = self.wake.wait_while(self.lock(), idle);
            let state = waited.unwrap_or_else(PoisonError::into_inner);
            let rest = rested.saturating_duration_since(Instant::now());
            let rested_or_stopped = self
                .wake
                .wait_timeout_while(state, rest, |state| !state.stop);
            let (applied, stop) = {
                let (state, _) = rested_or_stopped.unwrap_or_else(PoisonError::into_inner);
                (state.applied, state.stop)
            };
            let begin = Instant::now();
            let flushed = db.flush().map_err(|error| error.to_string());
            let synced = flushed.and_then(|_| file.sync_data().map_err(|error| error.to_string()));
            if let Err(error) = synced {
                self.lock().fault = Some(Fault(format!(
                    "what was written cannot be made durable: {error}"
                )));
                // Whoever waits must not wait for ever.
                self.durable.send_replace(FAILED);
                return;
            }
            durable = applied;
            rested = Instant::now() + REST * begin.elapsed();
            self.durable.send_replace(durable);
            if let Some(observer) = self.observer.get() {
                observer(begin.elapsed());
            }
            if stop && self.lock().applied == durable {
                return;
            }
        }
    }
}
