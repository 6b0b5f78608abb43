//! The data directory, and the lock that keeps a second node out of it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::StoreError;

/// Directories that a `{slot}` can name: more nodes than share one volume anywhere.
const MAX_SLOTS: u32 = 1_024;

/// A data directory that no other process uses. Given back when dropped.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    lock: File,
}

impl Claim {
    /// Takes a directory, making it if it is not there.
    ///
    /// `{slot}` in the path stands for the lowest number whose directory is free, so that the replicas of one container service can
    /// share a volume and find their own data again.
    ///
    /// # Errors
    ///
    /// The directory, or each of its slots, is taken; or it cannot be made or written.
    pub fn take(template: &Path) -> Result<Self, StoreError> {
        let text = template.to_string_lossy();
        if !text.contains("{slot}") {
            return Self::take_one(template.to_owned());
        }
        for slot in 0..MAX_SLOTS {
            match Self::take_one(PathBuf::from(text.replace("{slot}", &slot.to_string()))) {
                Err(StoreError::Locked { .. }) => {}
                other => return other,
            }
        }
        Err(StoreError::Locked {
            path: template.to_owned(),
        })
    }

    fn take_one(path: PathBuf) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&path).map_err(failed)?;
        let open = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"));
        let lock = open.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing the file would do, if no other thread were starting a program: until that runs, it holds a copy of the file. What
        // cannot be unlocked is so when the process ends.
        self.lock.unlock().ok();
    }
}
