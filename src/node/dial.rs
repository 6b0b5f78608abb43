//! Opening connections and looking up names. Names are looked up at every dial: containers change their addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::links::Links;
use crate::protocol::endpoint::Endpoint;

/// What comes back from the world of sockets.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A peer has connected.
    Accepted(TcpStream, SocketAddr),
    /// A dial has succeeded.
    Dialled(Endpoint, TcpStream, SocketAddr),
    /// A dial has failed.
    Refused(Endpoint),
    /// A seed was looked up.
    Resolved(Endpoint, Vec<SocketAddr>),
}

/// Accepts connections for ever.
pub(super) async fn listen(listener: TcpListener, arrivals: mpsc::Sender<Arrival>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if arrivals
                    .send(Arrival::Accepted(stream, remote))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: those that end make room, and asking at once would only burn time.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Dials an endpoint, trying every address behind its name.
pub(super) async fn dial(
    endpoint: Endpoint,
    limit: Duration,
    links: Arc<Links>,
    arrivals: mpsc::Sender<Arrival>,
) {
    // Elsewhere, who is behind an endpoint is not known before it greets.
    let connection = async {
        match links.current().isolate() {
            true => None,
            false => connect(&endpoint).await,
        }
    };
    let arrival = match timeout(limit, connection).await {
        Ok(Some((stream, remote))) => Arrival::Dialled(endpoint, stream, remote),
        Ok(None) | Err(_) => Arrival::Refused(endpoint),
    };
    arrivals.send(arrival).await.ok();
}

async fn connect(endpoint: &Endpoint) -> Option<(TcpStream, SocketAddr)> {
    for address in lookup(endpoint).await {
        if let Ok(stream) = TcpStream::connect(address).await {
            let remote = stream.peer_addr().ok()?;
            return Some((stream, remote));
        }
    }
    None
}

/// Looks up everything behind a seed's name.
pub(super) async fn resolve(
    seed: Endpoint,
    limit: Duration,
    links: Arc<Links>,
    arrivals: mpsc::Sender<Arrival>,
) {
    let addresses = match links.current().seed_outage {
        true => Vec::new(),
        false => timeout(limit, lookup(&seed)).await.unwrap_or_default(),
    };
    arrivals.send(Arrival::Resolved(seed, addresses)).await.ok();
}

async fn lookup(endpoint: &Endpoint) -> Vec<SocketAddr> {
    match lookup_host((endpoint.host.as_str(), endpoint.port)).await {
        Ok(addresses) => addresses.collect(),
        Err(_) => Vec::new(),
    }
}
