//! The verbs `status`, `logs` and `exec`.

use std::process::Stdio;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use super::LifeError;
use super::home::Home;
use super::open::Living;
use super::show::{ago, say, words};
use crate::cli::life::{ExecOptions, LogsOptions, StatusOptions};
use crate::report::{Align, Table, counted};
use crate::verdict::{Agreement, NodeState};

/// The version of what `status --json` prints. It rises when a key changes its meaning or goes.
const VIEW_VERSION: u32 = 1;

/// A network at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The version of this structure.
    pub version: u32,
    /// Its name.
    pub network: String,
    /// What its nodes are.
    pub backend: String,
    /// Whether it is up.
    pub up: bool,
    /// Since when it is there, in milliseconds.
    pub age_ms: u64,
    /// Where all that is kept of it is.
    pub directory: String,
    /// Its nodes.
    pub nodes: Vec<NodeView>,
    /// Which nodes are where: one group has one tip and one state.
    pub agreement: Agreement,
    /// What is done to it.
    pub faults: Vec<FaultView>,
}

/// A node at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub condition: Condition,
    /// What it says of itself, if it answers.
    pub state: Option<NodeState>,
    /// The middle one of its peers' last round trips, in milliseconds.
    pub round_trip_ms: Option<f64>,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It runs and answers.
    Runs,
    /// It runs and does not answer.
    Silent,
    /// It stands still.
    Paused,
    /// It was stopped, by a command or a fault.
    Stopped,
    /// It has ended by itself.
    Ended,
}

impl Condition {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Silent => "silent",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Ended => "ENDED",
        }
    }
}

/// A fault that is active.
#[derive(Clone, Debug, Serialize)]
pub struct FaultView {
    /// Its number.
    pub number: u64,
    /// What goes wrong.
    pub what: String,
    /// Whom it concerns.
    pub who: String,
    /// For how long it has lasted, in milliseconds.
    pub age_ms: u64,
    /// How long it still lasts, in milliseconds; absent if until it is healed.
    pub left_ms: Option<u64>,
}

impl Living {
    /// Asks all nodes how they are.
    pub async fn view(&mut self) -> View {
        let absent = self.run.engine.absent();
        let pinged = self.run.network.each(|node, access| {
            let is_absent = absent.contains(&node);
            async move {
                if !is_absent {
                    // One that does not answer will not be asked for round trips either.
                    let _ = access.ping().await;
                }
            }
        });
        pinged.await;
        let states = self.run.network.states().await;
        let asked = self.run.network.each(|node, access| {
            let is_absent = absent.contains(&node);
            async move {
                match is_absent {
                    true => None,
                    false => access.peers().await,
                }
            }
        });
        let peers = asked.await;
        let mut nodes = Vec::new();
        for (index, (state, peers)) in states.iter().zip(peers).enumerate() {
            let wanted = self.run.engine.wanted(&self.run.plan, index);
            let condition = match state {
                Some(_) => Condition::Runs,
                None if self.lost.contains(&index) => Condition::Ended,
                None if self.state.down || !wanted.up => Condition::Stopped,
                None if wanted.paused => Condition::Paused,
                None => Condition::Silent,
            };
            let trips = peers
                .into_iter()
                .flatten()
                .filter_map(|peer| peer.round_trip);
            let mut trips: Vec<_> = trips.map(|trip| trip.latest_us as f64 / 1_000.0).collect();
            trips.sort_by(f64::total_cmp);
            nodes.push(NodeView {
                name: self.state.nodes[index].name.clone(),
                condition,
                state: state.clone(),
                round_trip_ms: trips.get(trips.len() / 2).copied(),
            });
        }
        let now_ms = self.run.network.now().as_millis() as u64;
        let active = self.state.faults.iter().filter(|begun| !begun.over);
        let fault = |begun: &crate::engine::lasting::Begun| {
            let (what, who) = words(&self.state, &begun.fault);
            FaultView {
                number: begun.number,
                what,
                who,
                age_ms: now_ms.saturating_sub(begun.since_ms),
                left_ms: begun.until_ms.map(|until| until.saturating_sub(now_ms)),
            }
        };
        View {
            version: VIEW_VERSION,
            network: self.state.name.clone(),
            backend: self.state.backend.clone(),
            up: !self.state.down,
            age_ms: now_ms,
            directory: self.directory.display().to_string(),
            faults: active.map(fault).collect(),
            agreement: Agreement::among(&states, &absent),
            nodes,
        }
    }
}

impl View {
    /// The network in one line.
    pub fn headline(&self) -> String {
        let running = self
            .nodes
            .iter()
            .filter(|node| node.state.is_some())
            .count();
        let whole = self.nodes.len();
        let state = match self.up {
            true if running == 0 => format!("none of {} runs", counted(whole, "node")),
            true => format!(
                "{running} of {} run, {}",
                counted(whole, "node"),
                self.agreement.summary()
            ),
            false => format!("down, {}", counted(whole, "node")),
        };
        let age = ago(self.age_ms);
        format!("{} ({}, since {age}): {state}", self.network, self.backend)
    }

    /// The nodes, a line each.
    pub fn table(&self) -> Vec<String> {
        let mut table = Table::new(&[
            ("node", Align::Left),
            ("is", Align::Left),
            ("blocks", Align::Right),
            ("tip", Align::Left),
            ("red", Align::Right),
            ("peers", Align::Right),
            ("mempool", Align::Right),
            ("round trip", Align::Right),
            ("fork", Align::Right),
        ]);
        for (index, node) in self.nodes.iter().enumerate() {
            let mut cells = vec![node.name.clone(), node.condition.word().to_owned()];
            match &node.state {
                Some(state) => cells.extend([
                    state.blocks.to_string(),
                    format!("{:.10}", state.tip),
                    state.red.to_string(),
                    state.peers.to_string(),
                    state.mempool.to_string(),
                    node.round_trip_ms
                        .map_or_else(|| "-".to_owned(), |trip| format!("{trip:.1} ms")),
                    self.fork(index)
                        .map_or_else(String::new, |fork| fork.to_string()),
                ]),
                None => cells.extend(std::iter::repeat_n("-".to_owned(), 7)),
            }
            table.row(cells);
        }
        table.text().lines().map(str::to_owned).collect()
    }

    /// Which of several tips a node has, counted from 1, the one of most nodes first; `None` where there is but one.
    fn fork(&self, node: usize) -> Option<usize> {
        let groups = &self.agreement.groups;
        let group = groups
            .iter()
            .position(|group| group.nodes.contains(&node))?;
        (groups.len() > 1).then_some(group + 1)
    }

    /// The faults that are active, a line each.
    pub fn fault_lines(&self) -> Vec<String> {
        let line = |fault: &FaultView| {
            let left = match fault.left_ms {
                Some(left_ms) => format!(", {} left", ago(left_ms + 999)),
                None => String::new(),
            };
            let age = ago(fault.age_ms);
            format!(
                "fault {}: {}: {}; since {age}{left}",
                fault.number, fault.what, fault.who
            )
        };
        self.faults.iter().map(line).collect()
    }
}

/// Shows how a network is; without a name where there are several, one line of each.
///
/// # Errors
///
/// There is none, or its backend is gone.
pub async fn status(home: &Home, options: &StatusOptions) -> Result<(), LifeError> {
    let networks = home.networks();
    let names = match &options.network.network {
        None if networks.len() > 1 => networks,
        named => vec![home.which(named.as_deref())?],
    };
    let mut views = Vec::new();
    for name in &names {
        // Ends what should be over.
        views.push(Living::show(home, name).await?.view().await);
    }
    if options.json {
        let json = match views.as_slice() {
            [one] if names.len() == 1 => serde_json::to_string_pretty(one),
            all => serde_json::to_string_pretty(all),
        };
        say(&json.map_err(std::io::Error::other)?);
        return Ok(());
    }
    if let [view] = views.as_slice() {
        say(&view.headline());
        if view.up {
            say("");
            view.table().iter().for_each(|line| say(line));
        }
        if !view.faults.is_empty() {
            say("");
        }
        view.fault_lines().iter().for_each(|line| say(line));
        return Ok(());
    }
    for view in views {
        let faults = match view.faults.len() {
            0 => String::new(),
            count => format!("; {} active", counted(count, "fault")),
        };
        say(&format!("{}{faults}", view.headline()));
    }
    Ok(())
}

/// Prints what nodes log.
///
/// # Errors
///
/// There are no such nodes, or nothing shows logs here.
pub async fn logs(home: &Home, options: &LogsOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let living = Living::look(home, &name).await?;
    let nodes = living.resolve(&options.nodes)?;
    let width = nodes
        .iter()
        .map(|&node| living.state.nodes[node].name.len())
        .max();
    let width = width.unwrap_or_default();
    let mut readers = JoinSet::new();
    for &node in &nodes {
        let backend = &living.run.backend;
        let mut command =
            backend.log_command(&living.run.plan, node, options.lines, options.follow)?;
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let label = match nodes.len() {
            1 => String::new(),
            _ => format!("{:<width$} | ", living.state.nodes[node].name),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        readers.spawn(async move {
            let (left, right) = (label.clone(), label);
            tokio::join!(pass_on(stdout, &left), pass_on(stderr, &right));
            child.wait().await.map(drop)
        });
    }
    let mut signals = crate::run::Signals::listen();
    loop {
        tokio::select! {
            ended = readers.join_next() => match ended {
                None => return Ok(()),
                Some(ended) => ended.map_err(std::io::Error::other)??,
            },
            () = signals.next() => return Ok(()),
        }
    }
}

async fn pass_on(stream: Option<impl tokio::io::AsyncRead + Unpin>, label: &str) {
    let Some(stream) = stream else { return };
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        say(&format!("{label}{line}"));
    }
}

/// Runs a command of the `node` program against a node. Its code becomes this program's.
///
/// # Errors
///
/// There is no such node, or its program is gone.
pub async fn exec(home: &Home, options: &ExecOptions) -> Result<i32, LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let living = Living::look(home, &name).await?;
    let nodes = living.resolve(std::slice::from_ref(&options.node))?;
    let [node] = nodes[..] else {
        return Err(LifeError::Usage(format!(
            "testnet: {:?} are {} nodes, one is wanted",
            options.node,
            nodes.len()
        )));
    };
    let mut command = living.run.backend.tool(&living.run.plan, node)?;
    let status = command.args(&options.arguments).status().await?;
    Ok(status.code().unwrap_or(1))
}
