//! The key by which a node's peers know it, kept in the data directory.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::chain::id::AccountId;
use crate::protocol::chain::key::KeyPair;

/// The file's name in the data directory.
pub const KEY_FILE: &str = "node.key";

/// Why a node has no key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error(
        "cannot {action} the node's key {}: {source}; check the permissions of the data directory",
        path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} is damaged: it must hold one secret key as 64 hexadecimal digits; \
         restore it from a copy, or move it away to start with a new key \
         (coins mined to the old one are lost with it)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("the system gives no randomness for a new key: {0}")]
    Entropy(getrandom::Error),
}

/// Reads the key of a data directory; makes directory and key if there is none yet.
pub fn load_or_create(directory: &Path) -> Result<KeyPair, IdentityError> {
    let path = directory.join(KEY_FILE);
    if let Some(keys) = load(&path)? {
        return Ok(keys);
    }
    let keys = generate()?;
    let refuse = |source| IdentityError::Io {
        action: "write",
        path: path.clone(),
        source,
    };
    fs::create_dir_all(directory).map_err(refuse)?;
    match publish(directory, &path, &keys).map_err(refuse)? {
        Published::New => Ok(keys),
        // Another process was faster: both must go on with the same key.
        Published::Exists => load(&path)?.ok_or(IdentityError::Damaged { path }),
    }
}

fn load(path: &Path) -> Result<Option<KeyPair>, IdentityError> {
    let damaged = || IdentityError::Damaged {
        path: path.to_owned(),
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => return Err(damaged()),
        Err(source) => {
            return Err(IdentityError::Io {
                action: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    let secret = text.trim().parse::<AccountId>().map_err(|_| damaged())?;
    KeyPair::from_secret(secret.0).map(Some).ok_or_else(damaged)
}

/// A key that nothing has used before.
pub(super) fn generate() -> Result<KeyPair, IdentityError> {
    loop {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(IdentityError::Entropy)?;
        if let Some(keys) = KeyPair::from_secret(secret) {
            return Ok(keys);
        }
    }
}

enum Published {
    New,
    Exists,
}

/// Writes beside and then gives the name, so that a half-written key never bears it and an existing one is never
/// replaced.
fn publish(directory: &Path, path: &Path, keys: &KeyPair) -> io::Result<Published> {
    // Threads of one process must not share a temporary file either.
    static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let temporary = directory.join(format!("{KEY_FILE}.{process}-{attempt}.new"));
    // What a crashed process of the same number left.
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    write(&temporary, keys)?;
    let published = match fs::hard_link(&temporary, path) {
        Ok(()) => fs::remove_file(&temporary).map(|()| Published::New),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary).map(|()| Published::Exists)
        }
        // Some file systems have no hard links; there, the last of two racing processes wins.
        Err(_) => fs::rename(&temporary, path).map(|()| Published::New),
    }?;
    sync_directory(directory)?;
    Ok(published)
}

fn write(path: &Path, keys: &KeyPair) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    // An AccountId is 32 bytes shown in hexadecimal, which is all that is wanted of it here.
    writeln!(file, "{}", AccountId(keys.secret()))?;
    file.sync_all()
}

#[cfg(unix)]
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Other systems cannot open a directory, and write names through by themselves.
#[cfg(not(unix))]
pub(super) fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}
