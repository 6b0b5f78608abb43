//! File descriptors: each connection takes one, and systems begin with few.

/// Fewer descriptors than are needed.
#[derive(Debug, thiserror::Error)]
#[error(
    "{wanted} file descriptors are needed and the system gives {given}: peers will not get in while they are used up; \
     raise the limit (`ulimit -n`, LimitNOFILE=), or lower peer.max_inbound"
)]
pub struct TooFew {
    /// How many are needed.
    pub wanted: u64,
    /// How many there are.
    pub given: u64,
}

/// Raises the number of descriptors that the process may have, as far as the system lets it.
///
/// # Errors
///
/// It lets it have fewer than wanted.
#[cfg(unix)]
pub fn raise(wanted: u64) -> Result<(), TooFew> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let given = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if given(limit.current) >= wanted {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(wanted.min(given(limit.maximum))),
        maximum: limit.maximum,
    };
    // Refused, it is as it was, which is what is looked at.
    setrlimit(Resource::Nofile, raised).ok();
    let given = given(getrlimit(Resource::Nofile).current);
    if given >= wanted {
        return Ok(());
    }
    Err(TooFew { wanted, given })
}

/// Elsewhere connections do not count among files.
#[cfg(not(unix))]
pub fn raise(_wanted: u64) -> Result<(), TooFew> {
    Ok(())
}
