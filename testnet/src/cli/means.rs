//! The command line of backends: what nodes are, and where.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What nodes are to be.
#[derive(Clone, Debug, Args)]
pub struct BackendOptions {
    /// What the nodes are
    #[arg(long, value_enum, default_value_t = BackendChoice::Auto)]
    pub backend: BackendChoice,
    /// The node program of the process backend; the one beside this program if absent
    #[arg(long, value_name = "PATH", env = "TRISKEL_NODE")]
    pub node: Option<PathBuf>,
    /// The image of the docker, swarm and kubernetes backends; built from this repository if absent, but for kubernetes
    #[arg(long, value_name = "NAME", env = "TRISKEL_IMAGE")]
    pub image: Option<String>,
    /// Which machines.
    #[command(flatten)]
    pub swarm: SwarmOptions,
    /// Which cluster.
    #[command(flatten)]
    pub kubernetes: KubernetesOptions,
}

/// Where the flags of the swarm backend stand.
const SWARM: &str = "Backend swarm";

/// The machines of the swarm backend.
#[derive(Clone, Debug, Default, Args)]
pub struct SwarmOptions {
    /// An engine of the swarm, as `docker` is told of it: a context (`docker context ls`) or an address as ssh://you@machine. Say
    /// it once for each machine, the first of which is machine 1; one of them must be a manager. If absent, the engine that
    /// `docker` talks to
    #[arg(
        long = "engine",
        help_heading = SWARM,
        value_name = "ENGINE",
        env = "TRISKEL_ENGINES",
        value_delimiter = ','
    )]
    pub engines: Vec<String>,
    /// What makes a machine go away for the fault machine-loss: sh runs it here with TRISKEL_MACHINE, its number, and
    /// TRISKEL_ENGINE, as in `ssh host-$TRISKEL_MACHINE 'echo b > /proc/sysrq-trigger'`. If absent, all nodes there are killed at
    /// one moment instead
    #[arg(
        long,
        help_heading = SWARM,
        value_name = "COMMAND",
        env = "TRISKEL_MACHINE_DOWN",
        requires = "machine_up"
    )]
    pub machine_down: Option<String>,
    /// What brings it back, if anything is needed for that; `true` if not
    #[arg(
        long,
        help_heading = SWARM,
        value_name = "COMMAND",
        env = "TRISKEL_MACHINE_UP",
        requires = "machine_down"
    )]
    pub machine_up: Option<String>,
}

/// Where the flags of the kubernetes backend stand.
const KUBERNETES: &str = "Backend kubernetes";

/// The cluster of the kubernetes backend.
#[derive(Clone, Debug, Default, Args)]
pub struct KubernetesOptions {
    /// The cluster, as `kubectl config get-contexts` names it. The current one is not taken by itself: faults would hurt it
    #[arg(long, help_heading = KUBERNETES, value_name = "NAME", env = "TRISKEL_CONTEXT")]
    pub context: Option<String>,
    /// The namespace in which a run makes what it needs, and nothing else is touched; that of the context if absent
    #[arg(long, help_heading = KUBERNETES, value_name = "NAME", env = "TRISKEL_NAMESPACE")]
    pub namespace: Option<String>,
    /// The program `kubectl`, if it is called or kept otherwise
    #[arg(long, help_heading = KUBERNETES, value_name = "PATH", env = "TRISKEL_KUBECTL")]
    pub kubectl: Option<PathBuf>,
}

/// Which backend to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// Docker where an engine answers and the image can be had, else processes
    Auto,
    /// Containers
    Docker,
    /// Services of a Docker Swarm, on several machines
    Swarm,
    /// Pods of Kubernetes
    Kubernetes,
    /// Child processes
    Process,
    /// Simulated machines in virtual time
    Sim,
}

impl BackendChoice {
    /// Its name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Docker => "docker",
            Self::Swarm => "swarm",
            Self::Kubernetes => "kubernetes",
            Self::Process => "process",
            Self::Sim => "sim",
        }
    }
}
