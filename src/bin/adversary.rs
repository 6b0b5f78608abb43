//! The `adversary` program: a node that breaks the rules, for testnets. What it is told is what `node` is told, after its role.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program does I/O, and the arguments and the environment are read here"
)]

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use triskel::adversary::{Role, SLOW_READER_BYTES_PER_S};
use triskel::node::cli::{self, Action, CliError};
use triskel::node::control::Order;
use triskel::node::error::exit;
use triskel::node::{Node, NodeConfig, NodeError, stop, telemetry};

const USAGE: &str = "\
A node of the Triskel network that breaks the rules, for testnets

Usage: adversary ROLE [ARGUMENTS]

ARGUMENTS are those of `node`, as: daemon --config node.toml

ROLE is one of:";

/// What the system may keep of what was not read: the less, the sooner the other end feels it.
const RECEIVE_BUFFER_BYTES: u32 = 4_096;

/// How often a slow reader reads.
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let role = arguments.next().unwrap_or_default();
    let code = match role.to_string_lossy().as_ref() {
        "-h" | "--help" | "help" => {
            let names = Role::ALL.map(|role| format!("  {role}\n")).concat();
            // Who does not read it misses nothing.
            let _ = write!(io::stdout(), "{USAGE}\n{names}");
            exit::SUCCESS
        }
        name => match name.parse() {
            Ok(role) => perform(role, std::iter::once(program).chain(arguments)),
            Err(error) => complain(&error, exit::USAGE),
        },
    };
    ExitCode::from(code)
}

fn perform(role: Role, arguments: impl Iterator<Item = OsString>) -> u8 {
    let (loaded, stop_with_stdin) = match cli::parse(arguments, std::env::vars_os()) {
        Ok(Action::Run {
            loaded,
            stop_with_stdin,
        }) => (loaded, stop_with_stdin),
        Ok(_) => {
            return complain(
                &"an adversary only runs: leave the command away, or say daemon",
                exit::USAGE,
            );
        }
        Err(CliError::Arguments(error)) => {
            let _ = error.print();
            return error.exit_code().try_into().unwrap_or(exit::USAGE);
        }
        Err(error) => return complain(&error, exit::USAGE),
    };
    if let Err(error) = telemetry::install(&loaded.config.log) {
        complain(&error, exit::USAGE);
    }
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, exit::FAILURE),
    };
    match runtime.block_on(run(role, loaded.config, stop_with_stdin)) {
        Ok(()) => exit::SUCCESS,
        Err(error) => complain(&error, error.exit_code()),
    }
}

async fn run(role: Role, mut config: NodeConfig, stop_with_stdin: bool) -> Result<(), NodeError> {
    let public = match role {
        Role::SlowReader => Some(stand_before(&mut config).await?),
        _ => None,
    };
    let node = Node::start_as(config, role.birth()).await?;
    if let Some(public) = public {
        tokio::spawn(let_in(public, node.listening()));
    }
    let orders = node.control().orders.clone();
    tokio::spawn(async move {
        stop::asked(stop_with_stdin).await;
        // If the node has ended by itself, there is nothing left to stop.
        orders.send(Order::Stop).await.ok();
    });
    node.ended().await
}

/// Has all connections of a node go through this program, which reads for it. Returns where its peers connect.
async fn stand_before(config: &mut NodeConfig) -> Result<TcpListener, NodeError> {
    let address = config.listen_address();
    let refuse = |source| NodeError::Listen {
        what: "peers",
        address,
        source,
    };
    let public = listen(address).map_err(refuse)?;
    let nearby = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen = nearby.ip();
    config.port = 0;
    for peer in &mut config.peers {
        let inner = TcpListener::bind(nearby).await.map_err(refuse)?;
        let near = inner.local_addr().map_err(refuse)?;
        let far = std::mem::replace(peer, near.into());
        tokio::spawn(let_out(inner, far.to_string()));
    }
    Ok(public)
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes peers in.
async fn let_in(public: TcpListener, node: SocketAddr) {
    while let Ok((far, _)) = public.accept().await {
        tokio::spawn(async move {
            if let Ok(near) = TcpStream::connect(node).await {
                carry(near, far).await;
            }
        });
    }
}

/// Lets the node dial a peer.
async fn let_out(inner: TcpListener, peer: String) {
    while let Ok((near, _)) = inner.accept().await {
        let peer = peer.clone();
        tokio::spawn(async move {
            // What cannot be reached is told by the end of the connection.
            if let Ok(far) = dial(&peer).await {
                carry(near, far).await;
            }
        });
    }
}

async fn dial(peer: &str) -> io::Result<TcpStream> {
    let mut addresses = tokio::net::lookup_host(peer).await?;
    let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
    socket(address)?.connect(address).await
}

/// Carries what the node says at once, and what the peer says slowly, until one of both ends.
async fn carry(near: TcpStream, far: TcpStream) {
    let (mut near_reader, near_writer) = near.into_split();
    let (far_reader, mut far_writer) = far.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut near_reader, &mut far_writer) => {}
        _ = read_slowly(far_reader, near_writer) => {}
    }
}

async fn read_slowly(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let share = SLOW_READER_BYTES_PER_S * READ_INTERVAL.as_millis() as u64 / 1_000;
    let mut buffer = vec![0; share as usize];
    let mut ticks = tokio::time::interval(READ_INTERVAL);
    loop {
        ticks.tick().await;
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count]).await?,
        }
    }
}

fn complain(error: &dyn std::fmt::Display, code: u8) -> u8 {
    // `eprintln!` would panic if nobody reads.
    let _ = writeln!(io::stderr(), "error: {error}");
    code
}
