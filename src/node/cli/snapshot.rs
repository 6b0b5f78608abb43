//! `node snapshot`: what it takes, and what it shows.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Subcommand};

use super::Settings;
use super::ask::{AskError, table};
use crate::node::config::NodeConfig;
use crate::node::snapshot::{self, Origin, Summary};
use crate::protocol::endpoint::Endpoint;

/// `node snapshot export`, `node snapshot import`.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Writes a snapshot to a file: of this data directory, whose node must not run, or of a running node
    Export {
        /// The file to write; it must not exist
        file: PathBuf,
        /// A running node, as host:port
        #[arg(long, value_name = "ENDPOINT")]
        from: Option<Endpoint>,
        /// What configures the node.
        #[command(flatten)]
        settings: Settings,
    },
    /// Makes the store of a new node from a snapshot: a file, or what a running node sends
    #[command(group(ArgGroup::new("origin").required(true)))]
    Import {
        /// A file that `node snapshot export` wrote
        #[arg(group = "origin")]
        file: Option<PathBuf>,
        /// A running node, as host:port
        #[arg(long, value_name = "ENDPOINT", group = "origin")]
        from: Option<Endpoint>,
        /// What configures the node.
        #[command(flatten)]
        settings: Settings,
    },
}

impl SnapshotCommand {
    pub(super) fn settings(&self) -> &Settings {
        match self {
            Self::Export { settings, .. } | Self::Import { settings, .. } => settings,
        }
    }
}

/// How often progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Writes or reads a snapshot, and tells what is in it.
pub fn snapshot(config: &NodeConfig, command: &SnapshotCommand) -> Result<String, AskError> {
    let network = Arc::new(config.network()?);
    let directory = config.data_directory();
    let mut shown = Shown::default();
    let mut progress = |what: &str, count: u64, of: Option<u64>| shown.show(what, count, of);
    match command {
        SnapshotCommand::Export { file, from, .. } => {
            let origin = match from {
                Some(endpoint) => Origin::Peer(endpoint.clone(), config.peer.clone()),
                None if config.data_dir.contains("{slot}") => {
                    return Err(AskError::Slot(config.data_dir.clone()));
                }
                None => Origin::Directory(directory),
            };
            let summary = snapshot::export(&origin, &network, file, &mut progress);
            shown.clear();
            Ok(text(&format!("written to {}", file.display()), &summary?))
        }
        SnapshotCommand::Import { file, from, .. } => {
            let origin = match (file, from) {
                (Some(file), _) => Origin::File(file.clone()),
                (None, Some(endpoint)) => Origin::Peer(endpoint.clone(), config.peer.clone()),
                (None, None) => unreachable!("clap asks for one of both"),
            };
            let cache_bytes = config.store.cache_mib << 20;
            let summary =
                snapshot::import(&origin, &network, &directory, cache_bytes, &mut progress);
            shown.clear();
            let done = format!("read into {}; start the node", directory.display());
            Ok(text(&done, &summary?))
        }
    }
}

fn text(done: &str, summary: &Summary) -> String {
    let mut text = table(&[
        ("block", summary.block.to_string()),
        ("number", summary.number.to_string()),
        ("headers", summary.headers.to_string()),
        ("accounts", summary.accounts.to_string()),
    ]);
    writeln!(text, "{done}").expect("a text takes what is written");
    text
}

/// A line on the terminal that is replaced while work goes on.
#[derive(Default)]
struct Shown {
    last: Option<Instant>,
}

impl Shown {
    fn show(&mut self, what: &str, count: u64, of: Option<u64>) {
        let is_early = |last: Instant| last.elapsed() < PROGRESS_INTERVAL;
        if !io::stderr().is_terminal() || self.last.is_some_and(is_early) {
            return;
        }
        self.last = Some(Instant::now());
        let of = of.map_or_else(String::new, |of| format!(" of {of}"));
        // Who does not see it misses nothing.
        let _ = write!(io::stderr(), "\r\x1b[K{what}: {count}{of}");
    }

    fn clear(&self) {
        if self.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
