//! Where networks are kept, and which is meant.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LifeError;
use super::state::{self, State};
use crate::backend::process::ports_kept;
use crate::scenario::check_name;

/// Names the directory where no flag does.
const VARIABLE: &str = "TRISKEL_STATE";

/// Between two looks at a lock that another command has: files tell nobody that they are free.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The directory of a user's networks: one below `networks` for each, and one below `snapshots` for each snapshot.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The given one, or that of the environment, or the usual place for what programs keep.
    ///
    /// # Errors
    ///
    /// Nothing says where.
    pub fn find(given: Option<&Path>) -> Result<Self, LifeError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let usual = || {
            let below = |directory: std::ffi::OsString| PathBuf::from(directory).join("triskel");
            let state = set("XDG_STATE_HOME").map(below);
            let home = || set("HOME").map(|home| PathBuf::from(home).join(".local/state/triskel"));
            state
                .or_else(home)
                .or_else(|| set("LOCALAPPDATA").map(below))
        };
        let given = given.map(Path::to_owned);
        let directory = given.or_else(|| set(VARIABLE).map(PathBuf::from));
        let directory = directory.or_else(usual).ok_or_else(|| {
            LifeError::Environment(format!(
                "testnet: nothing says where networks are kept: name a directory with --state or {VARIABLE}"
            ))
        })?;
        Ok(Self(std::path::absolute(directory)?))
    }

    /// The directory, or the nearest one above it that is there.
    pub fn nearest(&self) -> &Path {
        let there = self.0.ancestors().find(|directory| directory.is_dir());
        there.unwrap_or(&self.0)
    }

    /// The directory of a network, which need not be there.
    pub fn network(&self, name: &str) -> PathBuf {
        self.0.join("networks").join(name)
    }

    /// The directory of a snapshot, which need not be there.
    pub fn snapshot(&self, name: &str) -> PathBuf {
        self.0.join("snapshots").join(name)
    }

    /// The names of all networks, sorted.
    pub fn networks(&self) -> Vec<String> {
        names(&self.0.join("networks"))
    }

    /// The names of all snapshots, sorted.
    pub fn snapshots(&self) -> Vec<String> {
        names(&self.0.join("snapshots"))
    }

    /// The network that a command means: the named one, or the only one.
    ///
    /// # Errors
    ///
    /// It is not there, or there are several.
    pub fn which(&self, named: Option<&str>) -> Result<String, LifeError> {
        let networks = self.networks();
        let known = || match networks.is_empty() {
            true => "there is none: `testnet up` starts one".to_owned(),
            false => format!("there are {}", networks.join(", ")),
        };
        match (named, &networks[..]) {
            (Some(name), _) if networks.iter().any(|known| known == name) => Ok(name.to_owned()),
            (Some(name), _) => Err(LifeError::Usage(format!(
                "testnet: no network is called {name}; {}",
                known()
            ))),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(LifeError::Usage(format!(
                "testnet: no network: {}",
                known()
            ))),
            (None, _) => Err(LifeError::Usage(format!(
                "testnet: which network? {}: say --network NAME",
                known()
            ))),
        }
    }

    /// Removes the directories of networks and snapshots where there is none.
    pub fn remove_if_empty(&self) {
        for name in ["networks", "snapshots", ""] {
            // One that is not empty stays.
            let _ = std::fs::remove_dir(self.0.join(name));
        }
    }

    /// The ports to which nodes of any network come back.
    pub fn ports(&self) -> BTreeSet<u16> {
        let networks = self.networks().into_iter();
        networks
            .flat_map(|name| ports_kept(&self.network(&name)))
            .collect()
    }

    /// Takes the lock of a network, making its directory if need be: one command at a time acts on it.
    ///
    /// # Errors
    ///
    /// The name cannot be one, or the disk refuses.
    pub async fn lock(&self, name: &str) -> Result<Lock, LifeError> {
        let mut is_told = false;
        loop {
            if let Some(lock) = self.try_lock(name)? {
                return Ok(lock);
            }
            if !is_told {
                eprintln!("waiting for another command on network {name}");
                is_told = true;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Takes the lock of a network unless a run is attached to it, for as long as that goes on.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock), and if the network is not there.
    pub async fn lock_unless_attached(&self, name: &str) -> Result<Option<Lock>, LifeError> {
        loop {
            match self.try_lock(name)? {
                Some(lock) => return Ok(Some(lock)),
                None if self.read(name)?.attached => return Ok(None),
                None => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }

    fn try_lock(&self, name: &str) -> Result<Option<Lock>, LifeError> {
        check_name(name).map_err(|why| LifeError::Usage(format!("testnet: network {why}")))?;
        let directory = self.network(name);
        loop {
            std::fs::create_dir_all(&directory)?;
            let path = directory.join("lock");
            let file = File::options().create(true).append(true).open(&path)?;
            match file.try_lock() {
                // Whoever had it before may have removed the network.
                Ok(()) if path.exists() => return Ok(Some(Lock { _file: file })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

/// The lock of a network, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let kept = entries.filter(|entry| entry.path().join(state::FILE).is_file());
    let mut names: Vec<_> = kept
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

impl Home {
    /// What is known of a network.
    ///
    /// # Errors
    ///
    /// It is not there, or its state is damaged.
    pub fn read(&self, name: &str) -> Result<State, LifeError> {
        Ok(State::read(&self.network(name))?)
    }
}
