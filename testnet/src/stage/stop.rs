//! Ends the nodes and removes what nobody needs any more.

use super::Run;

/// Ends all nodes and removes everything that the backend made. The evidence stays; the nodes' data stays if `keep`
/// says so.
pub async fn stop(run: &mut Run, keep: bool) {
    run.progress.show("stopping the nodes");
    run.backend.save_logs(&run.plan).await;
    run.backend.cleanup().await;
    run.progress.clear();
    if keep {
        return;
    }
    for node in 0..run.plan.nodes.len() {
        let data = run.plan.node_directory(node).join("data");
        // Simulated nodes have none.
        let _ = std::fs::remove_dir_all(data);
    }
}
