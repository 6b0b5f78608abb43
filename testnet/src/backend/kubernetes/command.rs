//! Commands of the `kubectl` program, to a cluster.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::backend::BackendError;
use crate::cli::KubernetesOptions;

/// A cluster that is there answers within a second or two; one behind a dead address never does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What a user must be allowed to do: a verb, and to what.
const RIGHTS: [[&str; 2]; 9] = [
    ["patch", "statefulsets.apps"],
    ["patch", "services"],
    ["patch", "secrets"],
    ["delete", "statefulsets.apps"],
    ["delete", "persistentvolumeclaims"],
    ["list", "pods"],
    ["get", "pods/log"],
    ["create", "pods/exec"],
    ["create", "pods/portforward"],
];

/// A namespace of a cluster, as the `kubectl` program is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    program: PathBuf,
    context: String,
    /// That of the context if absent.
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    server_version: Option<Version>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

impl Cluster {
    /// The cluster that options name. None is taken by itself: what is current may be anybody's.
    pub(crate) fn named(options: &KubernetesOptions) -> Result<Self, BackendError> {
        let context = options.context.clone().ok_or_else(|| {
            BackendError(
                "backend kubernetes: name the cluster with --context: the current one is not taken by itself, for faults \
                 would hurt it; `kubectl config get-contexts` lists all"
                    .to_owned(),
            )
        })?;
        Ok(Self {
            program: program(options),
            context,
            namespace: options.namespace.clone(),
        })
    }

    /// Context and namespace.
    pub(crate) fn description(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("context {}, namespace {namespace}", self.context),
            None => format!("context {}", self.context),
        }
    }

    /// The version of the cluster, which answers and lets the user do what is needed.
    pub(crate) async fn answering(&self) -> Result<String, BackendError> {
        let silent = || {
            let description = self.description();
            BackendError(format!("kubectl: {description}: no cluster answers"))
        };
        let ask = self.kubectl(&["version", "--output", "json"]);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, ask).await;
        let answer = answer.map_err(|_| silent())??;
        let versions: Option<Versions> = serde_json::from_str(&answer).ok();
        let version = versions.and_then(|versions| versions.server_version);
        let version = version.ok_or_else(silent)?.git_version;
        let mut asked = JoinSet::new();
        for [verb, what] in RIGHTS {
            let cluster = self.clone();
            asked.spawn(async move {
                // It answers "no" with code 1.
                let allowed = cluster.kubectl(&["auth", "can-i", verb, what]).await;
                (!allowed.is_ok_and(|answer| answer == "yes")).then(|| format!("{verb} {what}"))
            });
        }
        let mut missing: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
        missing.sort();
        match missing.is_empty() {
            true => Ok(version),
            false => Err(BackendError(format!(
                "kubectl: {}: you may not {}",
                self.description(),
                missing.join(", ")
            ))),
        }
    }

    /// Has the cluster be as objects say.
    pub(super) async fn apply(&self, objects: &Value) -> Result<(), BackendError> {
        // By the server: what the program itself compares it keeps in an annotation, which is too small for large configurations.
        let arguments = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager",
            "testnet",
            "--filename",
            "-",
        ];
        let mut apply = self.command(&arguments);
        apply
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let failed = |error| BackendError(format!("kubectl apply: {error}"));
        let mut apply = apply.kill_on_drop(true).spawn().map_err(failed)?;
        let mut input = apply.stdin.take().expect("it is piped");
        // Who has ended before it read all says why.
        let _ = input.write_all(objects.to_string().as_bytes()).await;
        drop(input);
        let output = apply.wait_with_output().await.map_err(failed)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.complaint("apply", &output.stderr)),
        }
    }

    /// What a command prints.
    pub(super) async fn kubectl(&self, arguments: &[&str]) -> Result<String, BackendError> {
        let output = self.command(arguments).output().await;
        let output = output.map_err(|error| self.absent(&error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let verb = arguments.first().copied().unwrap_or_default();
        Err(self.complaint(verb, &output.stderr))
    }

    fn complaint(&self, verb: &str, stderr: &[u8]) -> BackendError {
        let complaint = String::from_utf8_lossy(stderr);
        let complaint = complaint.trim();
        BackendError(format!(
            "kubectl {verb}: {}: {complaint}",
            self.description()
        ))
    }

    fn absent(&self, error: &std::io::Error) -> BackendError {
        BackendError(format!("{}: {error}", self.program.display()))
    }

    /// A command of the `kubectl` program, with nothing to read.
    pub(in crate::backend) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--context", &self.context]);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(arguments).stdin(Stdio::null());
        // The terminal's Ctrl-C is for this program: what it cut short could leave something behind.
        #[cfg(unix)]
        command.process_group(0);
        command
    }
}

/// The `kubectl` program.
fn program(options: &KubernetesOptions) -> PathBuf {
    let named = options.kubectl.clone();
    named.unwrap_or_else(|| PathBuf::from("kubectl"))
}

/// The version of the `kubectl` program, if it is there.
pub(crate) async fn client_version(options: &KubernetesOptions) -> Result<String, BackendError> {
    let program = program(options);
    let arguments = ["version", "--client", "--output", "json"];
    let output = Command::new(&program).args(arguments).output().await;
    let failed = |what: &str| BackendError(format!("{}: {what}", program.display()));
    let output = output.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed("not installed"),
        _ => failed(&error.to_string()),
    })?;
    let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let version = answer.and_then(|answer| {
        let version = answer.pointer("/clientVersion/gitVersion")?;
        Some(version.as_str()?.to_owned())
    });
    version.ok_or_else(|| failed("tells no version"))
}
