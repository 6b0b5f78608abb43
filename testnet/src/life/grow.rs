//! The verbs `add` and `remove`.

use triskel::protocol::rng::Rng;
use triskel::rpc;

use super::LifeError;
use super::home::Home;
use super::open::Living;
use super::show::{phrase, say};
use super::state::State;
use crate::backend::Backend;
use crate::cli::life::{AddOptions, NodesOptions};
use crate::network::Access;
use crate::report::counted;
use crate::scenario::{Conditions, Edge, Node, ORDINARY};

/// Whom a new node dials: that many, if there are so many.
const DIALS: usize = 2;

/// Adds ordinary nodes, which mine as the others do.
///
/// # Errors
///
/// They do not start.
pub async fn add(home: &Home, options: &AddOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let mut living = Living::open(home, &name).await?;
    living.demand_up()?;
    let first = living.state.nodes.len();
    let mut accesses = living.run.network.nodes().to_vec();
    for _ in 0..options.count {
        living.state.join();
        living.run.plan = living.state.plan(&living.directory)?;
        accesses.push(living.run.backend.add(&living.run.plan).await?);
        living.save()?;
    }
    // The engine counts nodes: it is made anew.
    drop((living, accesses));
    let mut living = Living::open(home, &name).await?;
    let added: Vec<_> = (first..living.state.nodes.len()).collect();
    living.run.doubt_links();
    living.launch(&added).await?;
    say(&format!("{} added", phrase(&living.state, &added)));
    Ok(())
}

impl State {
    /// Adds an ordinary node, which dials the last one and one drawn of those before it.
    fn join(&mut self) {
        let number = |node: &Node| {
            let number = node.name.strip_prefix(ORDINARY)?.strip_prefix('-')?;
            number.parse::<u64>().ok()
        };
        let number = self.nodes.iter().filter_map(number).max().unwrap_or(0) + 1;
        let is_ordinary = |node: &&Node| node.group == ORDINARY;
        let like = self
            .nodes
            .iter()
            .find(is_ordinary)
            .or_else(|| self.nodes.first());
        let mut rng = Rng::new(self.seed ^ number);
        let mut dials: Vec<_> = (0..self.nodes.len().saturating_sub(1)).collect();
        rng.shuffle(&mut dials);
        dials.truncate(DIALS - 1);
        dials.extend(self.nodes.len().checked_sub(1));
        let joined = self.nodes.len();
        self.edges
            .extend(dials.iter().map(|&to| clear_edge(joined, to)));
        self.nodes.push(Node {
            name: format!("{ORDINARY}-{number}"),
            group: ORDINARY.to_owned(),
            role: crate::scenario::Role::default(),
            region: None,
            machine: None,
            dials,
            joins_later: false,
            ..like.cloned().unwrap_or_default()
        });
    }

    /// Takes a node out. Who was its neighbour becomes one of another of its neighbours, so that the graph stays whole: the edges
    /// that this adds are returned, by the nodes' indices before.
    fn leave(&mut self, gone: usize) -> Vec<(usize, usize)> {
        let neighbours = self
            .edges
            .iter()
            .filter_map(|edge| match (edge.from, edge.to) {
                (from, to) if from == gone => Some(to),
                (from, to) if to == gone => Some(from),
                _ => None,
            });
        let neighbours: Vec<_> = neighbours.collect();
        let mut added = Vec::new();
        for pair in neighbours.windows(2) {
            let (from, to) = (pair[1], pair[0]);
            let joins = |edge: &Edge| {
                (edge.from, edge.to) == (from, to) || (edge.from, edge.to) == (to, from)
            };
            if !self.edges.iter().any(joins) {
                self.edges.push(clear_edge(from, to));
                self.nodes[from].dials.push(to);
                added.push((from, to));
            }
        }
        let shifted = |index: usize| index - usize::from(index > gone);
        self.edges
            .retain(|edge| edge.from != gone && edge.to != gone);
        for edge in &mut self.edges {
            (edge.from, edge.to) = (shifted(edge.from), shifted(edge.to));
        }
        self.nodes.remove(gone);
        for node in &mut self.nodes {
            node.dials.retain(|dialled| *dialled != gone);
            node.dials
                .iter_mut()
                .for_each(|dialled| *dialled = shifted(*dialled));
        }
        let faults = std::mem::take(&mut self.faults).into_iter();
        self.faults = faults
            .filter_map(|mut begun| {
                begun.fault = begun.fault.without(gone)?;
                Some(begun)
            })
            .collect();
        added
    }
}

fn clear_edge(from: usize, to: usize) -> Edge {
    Edge {
        from,
        to,
        outward: Conditions::default(),
        inward: Conditions::default(),
    }
}

/// Removes nodes for good.
///
/// # Errors
///
/// There are no such nodes, they are all, or they do not end.
pub async fn remove(home: &Home, options: &NodesOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let mut living = Living::open(home, &name).await?;
    let nodes = living.resolve(&options.nodes)?;
    if nodes.len() == living.state.nodes.len() {
        return Err(LifeError::Usage(format!(
            "testnet: these are all nodes of network {name}: `testnet clean --network {name}` removes it"
        )));
    }
    let names: Vec<_> = nodes
        .iter()
        .map(|&node| living.state.nodes[node].name.clone())
        .collect();
    drop(living);
    for node in &names {
        living = Living::open(home, &name).await?;
        take_out(&mut living, node).await?;
    }
    say(&format!(
        "{} removed: {}",
        counted(names.len(), "node"),
        names.join(", ")
    ));
    Ok(())
}

async fn take_out(living: &mut Living, name: &str) -> Result<(), LifeError> {
    let place = living.state.nodes.iter().position(|node| node.name == name);
    // Another command was faster.
    let Some(gone) = place else { return Ok(()) };
    let plan = living.run.plan.clone();
    let directory = plan.node_directory(gone);
    let added = living.state.leave(gone);
    // While the backend still counts as this does.
    let mut dials = Vec::new();
    for (from, to) in added {
        dials.push((from, living.run.backend.endpoint(&plan, to)?));
    }
    living.run.backend.discard(&plan, gone).await?;
    living.save()?;
    std::fs::remove_dir_all(directory)?;
    for (from, endpoint) in dials {
        connect(living.run.network.access(from), &endpoint).await;
    }
    Ok(())
}

/// Has a node dial another from now on. One that does not run does so when it starts.
async fn connect(access: &Access, endpoint: &str) {
    if let (Access::Rpc(client), Ok(endpoint)) = (access, endpoint.parse()) {
        let _ = client.call(rpc::Connect { endpoint }).await;
    }
}

impl Backend {
    /// Ends a node for good, and removes what the backend made for it, files in its directory left out.
    ///
    /// # Errors
    ///
    /// The backend refuses.
    async fn discard(&mut self, plan: &crate::plan::Plan, node: usize) -> Result<(), LifeError> {
        match self {
            Self::Process(process) => process.discard(plan, node).await?,
            Self::Docker(docker) => docker.discard(node).await?,
            Self::Swarm(_) | Self::Kubernetes(_) | Self::Sim => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lasting::Begun;
    use crate::scenario::graph::Graph;
    use crate::scenario::{Act, Occurrence, Scenario, Span, When};

    fn state(nodes: u64, topology: &str) -> State {
        let text = format!("name = 'x'\nnodes = {nodes}\nseed = 4\ntopology = '{topology}'");
        let expanded = Scenario::parse(&text, "x", &[]).unwrap().expand().unwrap();
        State::new("x".to_owned(), expanded, "process", "node".to_owned())
    }

    fn assert_whole(state: &State) {
        let edges: Vec<_> = state
            .edges
            .iter()
            .map(|edge| (edge.from, edge.to))
            .collect();
        for (index, node) in state.nodes.iter().enumerate() {
            let mut dialled: Vec<_> = edges
                .iter()
                .filter(|(from, _)| *from == index)
                .map(|(_, to)| *to)
                .collect();
            let mut dials = node.dials.clone();
            dials.sort_unstable();
            dialled.sort_unstable();
            assert_eq!(dials, dialled, "{}", node.name);
        }
        assert_eq!(Graph::new(state.nodes.len(), edges).unreachable(), None);
    }

    #[test]
    fn the_graph_stays_whole_whoever_leaves() {
        for topology in ["line", "star", "ring", "line-with-chords"] {
            for gone in 0..5 {
                let mut state = state(5, topology);
                let name = state.nodes[gone].name.clone();
                state.leave(gone);
                assert_eq!(state.nodes.len(), 4);
                assert!(state.nodes.iter().all(|node| node.name != name));
                assert_whole(&state);
            }
        }
    }

    #[test]
    fn who_joins_dials_two_and_has_a_name_of_its_own() {
        let mut state = state(1, "line");
        state.join();
        assert_eq!(state.nodes[1].dials, [0]);
        state.join();
        state.leave(1);
        state.join();
        let names: Vec<_> = state.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["node-1", "node-3", "node-4"]);
        assert_eq!(state.nodes[2].dials.len(), 2);
        assert_eq!(state.nodes[2].hashrates, state.nodes[0].hashrates);
        assert_whole(&state);
    }

    #[test]
    fn faults_forget_who_left() {
        let mut state = state(4, "ring");
        let begun = |act, nodes: &[usize]| Begun {
            number: 1,
            fault: Occurrence {
                when: When::At(Span::ZERO),
                act,
                nodes: nodes.to_vec(),
                lasts: None,
            },
            since_ms: 0,
            until_ms: None,
            over: false,
        };
        state.faults = vec![
            begun(Act::Kill, &[1]),
            begun(Act::Partition(vec![vec![0, 1], vec![2, 3]]), &[0, 1, 2, 3]),
            begun(Act::Cut(vec![1, 3]), &[2]),
        ];
        state.leave(1);
        let acts: Vec<_> = state
            .faults
            .iter()
            .map(|begun| (&begun.fault.act, &begun.fault.nodes[..]))
            .collect();
        assert_eq!(
            acts,
            [
                (&Act::Partition(vec![vec![0], vec![1, 2]]), &[0, 1, 2][..]),
                (&Act::Cut(vec![2]), &[1][..]),
            ]
        );
    }
}
