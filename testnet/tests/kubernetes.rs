//! Networks of pods, of a cluster in miniature (`examples/scripted_kubectl`): its objects are read as strictly as those of a real
//! one, and its pods are real nodes.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

#[path = "shared/programs.rs"]
mod programs;

#[path = "shared/report.rs"]
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use programs::{built, example};
use report::{assert_holds, events, log};
use serde_json::{Value, json};
use testnet::backend::kubernetes::Kubernetes;
use testnet::backend::{Backend, capabilities};
use testnet::cli::KubernetesOptions;
use testnet::report::Report;
use testnet::run;
use testnet::scenario::Scenario;

/// Everything that is done to pods. IMAGE is another image.
const FAULTS: &str = "
    name = 'hurt'
    nodes = 4
    seed = 5
    blocks = 20
    transfers = 8
    topology = 'ring'
    links = { default = { delay = '5ms' } }
    verdict = { fresh_blocks = 5, invariants = { no_panic = true, no_honest_penalty = true } }
    faults = [
        { when = '1s', what = 'isolate', who = 'node-1', for = '8s' },
        { when = '2s', what = 'kill', who = 'node-1', for = '2s' },
        { when = '2s', what = 'pause', who = 'node-2', for = '2s' },
        { when = '3s', what = 'stop', who = 'node-3', for = '1s' },
        { when = '4s', what = 'disk-full', who = 'node-4', for = '4s' },
        { when = '8s', what = 'wipe', who = 'node-2', for = '500ms' },
        { when = '9s', what = 'join', who = 'stranger' },
        { when = '9s', what = { upgrade = { image = 'IMAGE' } }, who = 'node-3' },
    ]
    groups = [{ name = 'stranger', seeded = true }]
    checks = [
        { sometimes = 'tips differ' },
        { sometimes = 'live < 4' },
        { sometimes = 'log(\"no storage space\") on node-4' },
        { eventually = 'tips == 1', within = '60s', after = 'faults over' },
    ]
";

/// A cluster, which goes with this.
struct Cluster(tempfile::TempDir);

impl Cluster {
    fn new() -> Self {
        let cluster = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(cluster.context()).unwrap();
        for image in ["one", "two"] {
            std::fs::create_dir(cluster.image(image)).unwrap();
            for program in ["node", "testnet"] {
                std::os::unix::fs::symlink(built(program), cluster.image(image).join(program))
                    .unwrap();
            }
        }
        cluster
    }

    fn context(&self) -> PathBuf {
        self.0.path().join("context")
    }

    fn image(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn options(&self) -> KubernetesOptions {
        KubernetesOptions {
            context: Some(self.context().display().to_string()),
            namespace: Some("tests".to_owned()),
            kubectl: Some(example("scripted_kubectl")),
        }
    }

    async fn find(&self) -> Result<Kubernetes, testnet::backend::BackendError> {
        let image = self.image("one").display().to_string();
        Kubernetes::find(Some(&image), &self.options()).await
    }

    async fn execute(&self, scenario: testnet::scenario::Loaded) -> Report {
        let backend = Backend::Kubernetes(self.find().await.unwrap());
        let runs = self.0.path().join("runs");
        let report = run::execute(scenario.expand().unwrap(), backend, &runs);
        let report = report.await.unwrap();
        assert_holds(&report);
        assert_eq!(self.left(), Vec::<PathBuf>::new());
        report
    }

    /// What the cluster still has.
    fn left(&self) -> Vec<PathBuf> {
        let kinds = std::fs::read_dir(self.context().join("objects")).unwrap();
        let kinds = kinds.map(|kind| kind.unwrap().path());
        let others = ["pods", "volumes"].map(|name| self.context().join(name));
        let all = kinds.chain(others).flat_map(std::fs::read_dir).flatten();
        all.map(|entry| entry.unwrap().path()).collect()
    }
}

fn catalogue(name: &str) -> testnet::scenario::Loaded {
    Scenario::read(&report::catalogue(name), &[]).unwrap()
}

#[tokio::test]
async fn scenarios_of_the_catalogue_hold_unchanged_and_nothing_is_left() {
    let cluster = Cluster::new();
    for name in ["baseline", "partition-and-heal"] {
        let report = cluster.execute(catalogue(name)).await;
        assert_eq!(report.backend, "kubernetes");
    }
}

#[tokio::test]
async fn pods_are_hurt_in_every_way_and_heal_and_nothing_is_left() {
    let cluster = Cluster::new();
    let other = cluster.image("two").display().to_string();
    let loaded = Scenario::parse(&FAULTS.replace("IMAGE", &other), "test", &[]).unwrap();
    let report = cluster.execute(loaded).await;
    assert_eq!(events(&report, "fault_ended").len(), 8);
    // The one whose disk was full ended by itself, as a cluster tells it.
    let ended = events(&report, "node_ended");
    let ended: Vec<_> = ended
        .iter()
        .map(|event| (&event["node"], &event["code"]))
        .collect();
    assert_eq!(ended, [(&Value::from("node-4"), &Value::from(1))]);
    // Its links were cut. When it is heard again after that is for those who dial it: the run may be over before.
    assert!(events(&report, "cut_seen")[0]["took_ms"].as_f64() > Some(0.0));
    // One pod after the other, each on the same disk. Who is killed says no farewell.
    let starts = |node: &str| log(&report, node).matches("listening on").count();
    assert_eq!((starts("node-1"), starts("node-3")), (2, 3));
    understood(&cluster);
}

/// Whether the real program, where it is installed, understands all that it was told: it complains of a server that is not there,
/// and of nothing else.
fn understood(cluster: &Cluster) {
    if Command::new("kubectl").arg("help").output().is_err() {
        eprintln!("skipped: there is no kubectl");
        return;
    }
    let calls = std::fs::read_to_string(cluster.context().join("calls")).unwrap();
    let mut verbs = BTreeMap::new();
    for call in calls.lines() {
        let call: Vec<String> = serde_json::from_str(call).unwrap();
        // Context, namespace, the verb and what comes first of all else.
        let kind = (
            call[4].clone(),
            call[5].clone().split('-').next().map(str::to_owned),
        );
        verbs.insert(kind, call);
    }
    let wanted = [
        "apply",
        "auth",
        "delete",
        "exec",
        "get",
        "logs",
        "port-forward",
        "scale",
        "version",
    ];
    let told: BTreeSet<_> = verbs.keys().map(|(verb, _)| verb.as_str()).collect();
    assert_eq!(told, BTreeSet::from(wanted));
    let configuration = json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{ "name": "none", "cluster": { "server": "http://127.0.0.1:1" } }],
        "contexts": [{ "name": cluster.context(), "context": { "cluster": "none", "user": "none" } }],
        "users": [{ "name": "none", "user": {} }],
    });
    let file = cluster.0.path().join("kubeconfig");
    std::fs::write(&file, configuration.to_string()).unwrap();
    for call in verbs.values() {
        let mut kubectl = Command::new("kubectl");
        let kubectl = kubectl
            .args(call)
            .env("KUBECONFIG", &file)
            .stdin(Stdio::null());
        let output = kubectl.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reached = stderr.contains("refused") || stderr.contains("no objects passed to apply");
        assert!(reached && !output.status.success(), "{call:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_cluster_is_named_or_nothing_happens() {
    let cluster = Cluster::new();
    let refused = async |change: &dyn Fn(&mut KubernetesOptions)| {
        let mut options = cluster.options();
        change(&mut options);
        let found = Kubernetes::find(Some("image"), &options).await;
        found.err().unwrap().0
    };
    let text = refused(&|options| options.context = None).await;
    assert!(text.contains("--context"), "{text}");
    let text = refused(&|options| options.context = Some("/nowhere".to_owned())).await;
    assert!(text.contains("does not exist"), "{text}");
    let text = refused(&|options| options.kubectl = Some("/nowhere/kubectl".into())).await;
    assert!(text.contains("/nowhere/kubectl"), "{text}");
    let unnamed = Kubernetes::find(None, &cluster.options()).await;
    assert!(unnamed.err().unwrap().0.contains("--image"));
    std::fs::write(cluster.context().join("forbidden"), "").unwrap();
    let text = cluster.find().await.err().unwrap().0;
    assert!(text.contains("you may not create pods/exec"), "{text}");
}

#[test]
fn a_run_is_refused_without_a_context_though_there_is_a_current_one() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
    command.args(["run", "--backend", "kubernetes", "--image", "image"]);
    for variable in ["TRISKEL_CONTEXT", "TRISKEL_KUBECTL"] {
        command.env_remove(variable);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("name the cluster with --context"),
        "{stderr}"
    );
}

#[test]
fn what_clusters_cannot_do_is_refused_by_name() {
    let missing = catalogue("machine-loss").missing("kubernetes", &capabilities("kubernetes"));
    assert!(!missing.is_empty());
    for name in ["crash-storm", "churn", "selfish-miner", "bad-environment"] {
        let missing = catalogue(name).missing("kubernetes", &capabilities("kubernetes"));
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}
