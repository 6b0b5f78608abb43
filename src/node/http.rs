//! The HTTP server under the control interface and the metrics.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at once on one listener; others wait in the system's backlog. Clients are few: an operator, an orchestrator, a
/// Prometheus.
pub(super) const MAX_CONNECTIONS: usize = 256;

/// How long a client may take to send a request's head, waiting for it included: bounds idle connections as well.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long answers under way are waited for at the end: a node ends in under a second.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Lets other connections end when the process has run out of file descriptors: accepting again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const MAX_HEAD_BYTES: usize = 16 * 1_024;

/// Serves `router` until `shutdown` completes, then lets answers under way go out, for at most [`DRAIN_TIMEOUT`].
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: impl Future) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (end, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            _ = &mut shutdown => break,
            // Finished tasks are collected here, so that the set does not grow.
            Some(_) = connections.join_next() => {}
            (place, stream) = accepted => match stream {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), ended.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    drop(end);
    let drained = async { while connections.join_next().await.is_some() {} };
    // What has not gone out by now is cut off with the set.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
}

async fn connection(stream: TcpStream, router: Router, mut ended: watch::Receiver<()>) {
    // Answers are small and awaited. A socket that refuses the option is still served.
    let _ = stream.set_nodelay(true);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    // Errors are the client's: it went away, or did not speak HTTP.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = ended.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
