//! Opening a store: what a kill or damage leaves behind, and whose data it is.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::StoreError;
use super::row::{FORMAT, FORMAT_KEY, NETWORK_KEY};
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::params::Network;

/// An empty file, there once the database says whose it is. sled takes a file whose segments it does not know for an empty one.
const MARKED: &str = "marked";

/// sled leaves `snap.*.generating` behind when it is killed while opening, and takes it for whole at every later open, which then
/// fails (spacejam/sled#1533). Removing the file loses nothing: 0 batches in 8 of 8 rounds.
pub(super) fn remove_half_written_snapshots(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn open_sled(
    path: &Path,
    folder: &Path,
    cache_bytes: u64,
) -> Result<sled::Db, StoreError> {
    let damaged = |reason: String| StoreError::Damaged {
        path: path.to_owned(),
        reason,
    };
    // Durability is the flusher's business; but sled rewrites sparse segments from its own timer alone, and without it the file
    // would only grow.
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(cache_bytes)
        .flush_every_ms(Some(1_000));
    // sled meets some damage with a panic.
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(source))) if source.kind() != std::io::ErrorKind::InvalidData => {
            Err(StoreError::Io {
                path: path.to_owned(),
                source,
            })
        }
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("it cannot be read".to_owned())),
    }
}

/// Waits until sled has let its file go: its threads may hold it for a moment after the last handle is dropped, as after a large
/// write, and whoever opens it then is refused.
pub(super) fn wait_until_released(folder: &Path) {
    // What cannot be opened is not held, and what cannot be locked is found out by whoever opens it.
    if let Ok(file) = File::open(folder.join("db")) {
        file.lock().ok();
    }
}

/// Checks whose data this is, or marks it.
pub(super) fn check_marks(
    path: &Path,
    folder: &Path,
    db: &sled::Db,
    network: &Network,
) -> Result<(), StoreError> {
    let path = path.to_owned();
    let read = |key: &[u8]| db.get(key).map_err(|error| error.to_string());
    let number = |bytes: sled::IVec| bytes.as_ref().try_into().map(u32::from_le_bytes);
    let id = |bytes: sled::IVec| bytes.as_ref().try_into().map(BlockId);
    match read(FORMAT_KEY).map(|bytes| bytes.map(number)) {
        Err(reason) => return Err(StoreError::Damaged { path, reason }),
        Ok(Some(Ok(FORMAT))) => {}
        Ok(Some(found)) => {
            return Err(StoreError::Version {
                path,
                found: found.unwrap_or(0),
            });
        }
        Ok(None) if folder.join(MARKED).exists() => {
            let reason = "what was in it is gone".to_owned();
            return Err(StoreError::Damaged { path, reason });
        }
        Ok(None) if db.is_empty() => {
            let mut rows = sled::Batch::default();
            rows.insert(FORMAT_KEY, &FORMAT.to_le_bytes());
            rows.insert(NETWORK_KEY, &network.id().0);
            let marked = db.apply_batch(rows).and_then(|()| db.flush());
            return match marked {
                Ok(_) => Ok(()),
                Err(error) => Err(StoreError::Damaged {
                    path,
                    reason: error.to_string(),
                }),
            };
        }
        Ok(None) => {
            let reason = "it does not say which format it has".to_owned();
            return Err(StoreError::Damaged { path, reason });
        }
    }
    match read(NETWORK_KEY).map(|bytes| bytes.map(id)) {
        Ok(Some(Ok(found))) if found == network.id() => Ok(()),
        Ok(Some(Ok(found))) => Err(StoreError::OtherNetwork {
            path,
            found,
            wanted: network.id(),
        }),
        Ok(_) => Err(StoreError::Damaged {
            path,
            reason: "it does not name its network".to_owned(),
        }),
        Err(reason) => Err(StoreError::Damaged { path, reason }),
    }
}

/// Remembers beside the database that its marks are on disk, so that a database that has lost everything is not taken for a new
/// one.
pub(super) fn remember_marks(folder: &Path, file: &File) -> std::io::Result<()> {
    let marked = folder.join(MARKED);
    if !marked.exists() {
        // The marks first: a kill between the two leaves a new database, not a damaged one.
        file.sync_data()?;
        File::create(marked)?;
    }
    sync_folder(folder)
}

/// Makes the names of new files durable, where directories can be synced.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
