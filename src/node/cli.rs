//! The command line of `node`: what it takes, and what it means.

mod ask;
mod dag;
mod params;
mod snapshot;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use super::config::{self, ConfigError, Loaded, Override};

pub use ask::{AskError, health, key, status, transfer};
pub use dag::{DagArguments, dag};
pub use params::{Delay, params};
pub use snapshot::{SnapshotCommand, snapshot};

const ABOUT: &str =
    "A node of the Triskel network: mines, gossips, syncs, stores, and serves metrics and JSON-RPC";

/// Names the file where no flag does.
const FILE_VARIABLE: &str = "TRISKEL_CONFIG";

const EXAMPLES: &str = "\
Examples:
  node                                      a node of its own on port 9000
  node 8081 127.0.0.1:8080                  a node on port 8081 that keeps a connection to another
  node daemon --port 9001 --peer host:9000  the same, spelled out
  node --config node.toml --no-mining       everything from a file, but no mining
  node --set peer.max_inbound=8             any key of the configuration
  node config --example > node.toml         a file with all keys, each explained
  node status --port 9001                   how the node on port 9001 is
  node dag --last 200 --svg > dag.svg       a picture of the last 200 blocks
  node params --delay 500ms                 what the network's parameters mean
  node snapshot import --from host:9000     a store without the blocks since genesis

Configuration:
  defaults < file (--config) < environment < flags; `node config` shows what holds
  and where it comes from.
  A list in the environment or a flag replaces the list of the file.

Environment:
  TRISKEL_CONFIG           the file, as --config
  TRISKEL__PORT=9001       any key of the configuration, with __ for each dot:
  TRISKEL__MINING__ENABLED=false
  TRISKEL__PEERS=host1:9000,host2:9000
  NO_COLOR                 no colours

Exit codes:
  0  all went well
  1  the node, or what it was asked for, failed
  2  the command line or the configuration is wrong
  3  a port is in use or cannot be listened on
  4  another process uses the store
  5  the store is of another network or an unknown format
  6  the store is damaged";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "node",
    version,
    about = ABOUT,
    after_help = EXAMPLES,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The TCP port for peers, or a command
    #[arg(value_name = "PORT", conflicts_with = "port")]
    first: Option<String>,
    /// Nodes to keep a connection to, as host:port
    #[arg(value_name = "PEERS")]
    others: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What can be done beside running a node.
#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node, as does no command at all
    Daemon {
        /// Stops when standard input ends, so that no node outlives the program that started it
        #[arg(long)]
        stop_with_stdin: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Shows the configuration that holds, with the origin of each value
    Config {
        /// For programs
        #[arg(long)]
        json: bool,
        /// Shows a file with all keys and their meaning instead
        #[arg(long, conflicts_with = "json")]
        example: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Asks a running node how it is
    Status {
        /// Where its control interface is, if not where the configuration says
        #[arg(long, value_name = "ADDRESS")]
        rpc: Option<SocketAddr>,
        /// For programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Draws the last blocks of a running node: a table, or with --svg or --dot a picture
    Dag {
        #[command(flatten)]
        arguments: DagArguments,
        #[command(flatten)]
        settings: Settings,
    },
    /// Exits with 0 if a running node is well, else with 1; for container health checks
    Health {
        /// Where its metrics are, if not where the configuration says
        #[arg(long, value_name = "ADDRESS")]
        metrics: Option<SocketAddr>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Explains the network's parameters: streams, finality, and how k follows from the delay of blocks
    Params {
        /// How long a block takes to reach every node, as 500ms or 1.5s, if not what the network is made for
        #[arg(long, value_name = "DELAY")]
        delay: Option<Delay>,
        /// For programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Shows the node's key and address; makes the key if there is none
    Key {
        #[command(flatten)]
        settings: Settings,
    },
    /// Starts a node without all blocks since genesis: from the accounts before a final block, and all headers
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Pays from the node's own account, through a running node
    Transfer {
        /// Who receives
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// How much, in coins, as 1.5
        #[arg(long, value_name = "COINS")]
        amount: String,
        /// For the miner, in units (100000000 to a coin); the least fee of the configuration if absent
        #[arg(long, value_name = "UNITS")]
        fee: Option<u64>,
        /// Where the control interface is, if not where the configuration says
        #[arg(long, value_name = "ADDRESS")]
        rpc: Option<SocketAddr>,
        #[command(flatten)]
        settings: Settings,
    },
}

/// Flags that set the configuration. Their values stay text: the table of keys reads them, as it does the environment.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct Settings {
    /// A TOML file
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The TCP port for peers; 0 takes any free one
    #[arg(short, long, value_name = "PORT")]
    port: Option<String>,
    /// The IP address on which peers are accepted
    #[arg(long, value_name = "IP")]
    listen: Option<String>,
    /// A node to keep a connection to, as host:port; repeatable
    #[arg(long, value_name = "ENDPOINT")]
    peer: Vec<String>,
    /// A name behind which many nodes stand, as host:port; repeatable
    #[arg(long, value_name = "ENDPOINT")]
    seed: Vec<String>,
    /// Where key and blocks are kept; {port} and {slot} are replaced
    #[arg(short, long, value_name = "PATH")]
    data_dir: Option<String>,
    /// The preset of the network: tri or chain
    #[arg(long, value_name = "PRESET")]
    network: Option<String>,
    /// Does not mine
    #[arg(long)]
    no_mining: bool,
    /// Hashes per second and stream that mining spends
    #[arg(long, value_name = "H/S")]
    hashrate: Option<String>,
    /// The address that receives rewards and fees
    #[arg(long, value_name = "ADDRESS")]
    miner_address: Option<String>,
    /// The TCP port of the control interface
    #[arg(long, value_name = "PORT")]
    rpc_port: Option<String>,
    /// The TCP port of metrics and health
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<String>,
    /// How much is logged: error, warn, info, debug, trace, or by target
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Sets any key, as mining.enabled=false; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Run a node.
    Run {
        /// The configuration.
        loaded: Box<Loaded>,
        /// Whether it stops when standard input ends.
        stop_with_stdin: bool,
    },
    /// Show the effective configuration.
    Config {
        /// What to show.
        loaded: Box<Loaded>,
        /// For programs.
        json: bool,
    },
    /// Show an example file.
    Example,
    /// Ask a node how it is.
    Status {
        /// The configuration.
        loaded: Box<Loaded>,
        /// Where to ask, if not where the configuration says.
        rpc: Option<SocketAddr>,
        /// For programs.
        json: bool,
    },
    /// Draw the last blocks of a node.
    Dag {
        /// The configuration.
        loaded: Box<Loaded>,
        /// Which blocks, and how.
        arguments: DagArguments,
    },
    /// Ask whether a node is well.
    Health {
        /// The configuration.
        loaded: Box<Loaded>,
        /// Where to ask, if not where the configuration says.
        metrics: Option<SocketAddr>,
    },
    /// Explain the network's parameters.
    Params {
        /// The configuration.
        loaded: Box<Loaded>,
        /// The delay for which k is explained, if not the network's.
        delay: Option<Delay>,
        /// For programs.
        json: bool,
    },
    /// Show the node's key.
    Key(Box<Loaded>),
    /// Write or read a snapshot.
    Snapshot {
        /// The configuration.
        loaded: Box<Loaded>,
        /// Which of both.
        command: Box<SnapshotCommand>,
    },
    /// Pay.
    Transfer {
        /// The configuration.
        loaded: Box<Loaded>,
        /// Where to hand it in, if not where the configuration says.
        rpc: Option<SocketAddr>,
        /// What to pay.
        payment: Payment,
    },
}

/// What a user pays, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Who receives.
    pub to: String,
    /// How much, in coins.
    pub amount: String,
    /// Units for the miner; the least fee if absent.
    pub fee: Option<u64>,
}

/// Why a command line means nothing.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The parser says so, or was asked for help.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// Neither a port nor a command.
    #[error(
        "`{0}` is neither a port (0 to 65535) nor a command \
         (daemon, config, status, dag, health, params, key, snapshot, transfer); see node --help"
    )]
    First(String),
    /// `--set` without `=`.
    #[error("--set {0}: write key=value, as --set mining.enabled=false")]
    Set(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads the command line, and the configuration that it leads to.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Action, CliError> {
    let cli = Cli::try_parse_from(arguments)?;
    let text = |word: OsString| word.to_string_lossy().into_owned();
    let environment = environment.into_iter();
    let environment: Vec<_> = environment.map(|(k, v)| (text(k), text(v))).collect();
    // Flags may stand before the command as well as behind it: `node --port 9001 status`.
    let before = cli.settings.with_positions(cli.first, cli.others)?;
    let load = |after: &Settings| load(&[&before, after], &environment).map(Box::new);
    Ok(match cli.command {
        None => Action::Run {
            loaded: load(&Settings::default())?,
            stop_with_stdin: false,
        },
        Some(Command::Daemon {
            stop_with_stdin,
            settings,
        }) => Action::Run {
            loaded: load(&settings)?,
            stop_with_stdin,
        },
        Some(Command::Config { example: true, .. }) => Action::Example,
        Some(Command::Config { json, settings, .. }) => Action::Config {
            loaded: load(&settings)?,
            json,
        },
        Some(Command::Status {
            rpc,
            json,
            settings,
        }) => Action::Status {
            loaded: load(&settings)?,
            rpc,
            json,
        },
        Some(Command::Dag {
            arguments,
            settings,
        }) => Action::Dag {
            loaded: load(&settings)?,
            arguments,
        },
        Some(Command::Health { metrics, settings }) => Action::Health {
            loaded: load(&settings)?,
            metrics,
        },
        Some(Command::Params {
            delay,
            json,
            settings,
        }) => Action::Params {
            loaded: load(&settings)?,
            delay,
            json,
        },
        Some(Command::Snapshot(command)) => Action::Snapshot {
            loaded: load(command.settings())?,
            command: Box::new(command),
        },
        Some(Command::Key { settings }) => Action::Key(load(&settings)?),
        Some(Command::Transfer {
            to,
            amount,
            fee,
            rpc,
            settings,
        }) => Action::Transfer {
            loaded: load(&settings)?,
            rpc,
            payment: Payment { to, amount, fee },
        },
    })
}

/// What stands further right wins.
fn load(settings: &[&Settings], environment: &[(String, String)]) -> Result<Loaded, CliError> {
    let mut flags = Vec::new();
    let variable = environment
        .iter()
        .find(|(name, path)| name == FILE_VARIABLE && !path.is_empty());
    let mut file = variable.map(|(_, path)| Path::new(path));
    for settings in settings {
        flags.extend(settings.overrides()?);
        file = settings.config.as_deref().or(file);
    }
    Ok(config::load(file, environment.iter().cloned(), &flags)?)
}

impl Settings {
    /// `node 8081 127.0.0.1:8080` is `node --port 8081 --peer 127.0.0.1:8080`.
    fn with_positions(
        mut self,
        first: Option<String>,
        others: Vec<String>,
    ) -> Result<Self, CliError> {
        if let Some(first) = first {
            if first.parse::<u16>().is_err() {
                return Err(CliError::First(first));
            }
            self.port = Some(first);
        }
        self.peer.extend(others);
        Ok(self)
    }

    fn overrides(&self) -> Result<Vec<Override>, CliError> {
        let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
        let rows = [
            ("port", "--port", self.port.clone()),
            ("listen", "--listen", self.listen.clone()),
            ("peers", "--peer", list(&self.peer)),
            ("seeds", "--seed", list(&self.seed)),
            ("data_dir", "--data-dir", self.data_dir.clone()),
            ("network.preset", "--network", self.network.clone()),
            (
                "mining.enabled",
                "--no-mining",
                self.no_mining.then(|| "false".to_owned()),
            ),
            ("mining.hashrate", "--hashrate", self.hashrate.clone()),
            (
                "mining.address",
                "--miner-address",
                self.miner_address.clone(),
            ),
            ("rpc.port", "--rpc-port", self.rpc_port.clone()),
            ("metrics.port", "--metrics-port", self.metrics_port.clone()),
            ("log.level", "--log-level", self.log_level.clone()),
            ("log.format", "--log-format", self.log_format.clone()),
        ];
        let own = rows.into_iter().filter_map(|(key, flag, value)| {
            value.map(|value| Override {
                key: key.to_owned(),
                value,
                flag: flag.to_owned(),
            })
        });
        let mut overrides: Vec<_> = own.collect();
        for text in &self.set {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| CliError::Set(text.clone()))?;
            overrides.push(Override {
                key: key.trim().to_owned(),
                value: value.to_owned(),
                flag: "--set".to_owned(),
            });
        }
        Ok(overrides)
    }
}

/// Writes to standard output. A reader that has gone, as in `node config | head -1`, has what it wanted.
pub fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
