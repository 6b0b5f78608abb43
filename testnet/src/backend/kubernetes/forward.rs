//! The way to a node's control interface: a port of this machine that `kubectl port-forward` carries to the pod.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::command::Cluster;
use super::pods;
use crate::backend::docker::RPC_PORT;

/// Between the end of one way and the attempt at the next.
const INTERVAL: Duration = Duration::from_millis(200);

/// A way to one pod, which leads nowhere when that pod is gone.
#[derive(Debug)]
pub(super) struct Forward {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Which pod.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// A label that it alone bears.
    pub(super) label: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Forward {
    /// Opens a way from a port of the loopback address. The program ends whenever a connection is refused in the pod, as it is
    /// before a node listens (kubernetes issue 111825): it is started again for as long as the pod is the same.
    pub(super) fn open(cluster: Cluster, target: Target, port: u16) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = carry(&cluster, &target, port) => {}
                _ = stopped => {}
            }
        });
        Self { stop, task }
    }

    /// Closes it, and waits until the port is free.
    pub(super) async fn close(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn carry(cluster: &Cluster, target: &Target, port: u16) {
    let pod = format!("pod/{}", target.name);
    let ports = format!("{port}:{RPC_PORT}");
    let address = Ipv4Addr::LOCALHOST.to_string();
    loop {
        let forward = ["port-forward", "--address", &address, &pod, &ports];
        let mut forward = cluster.command(&forward);
        forward.stdout(Stdio::null()).stderr(Stdio::null());
        let forward = forward.kill_on_drop(true).spawn();
        let Ok(mut forward) = forward else { return };
        let _ = forward.wait().await;
        tokio::time::sleep(INTERVAL).await;
        // Its name may be another pod's by now, which nobody has asked for.
        if let Ok(pods) = pods::list(cluster, &target.label).await
            && pods.values().all(|pod| pod.uid() != target.uid)
        {
            return;
        }
    }
}
