//! The verbs `up`, `down`, `stop`, `start` and `clean`.

use std::collections::BTreeSet;

use super::LifeError;
use super::home::{Home, Lock};
use super::open::Living;
use super::show::{phrase, say};
use super::state::State;
use crate::backend::lasting::check_outlives;
use crate::backend::{self, Backend};
use crate::cli::BackendChoice;
use crate::cli::life::{CleanOptions, NodesOptions, UpOptions, WhichOptions};
use crate::progress::Progress;
use crate::report::counted;
use crate::scenario::{Act, Expanded, Loaded, MAX_NAME_BYTES, Occurrence, Span, Terms, When};
use crate::stage;

/// Starts a network, or what of it does not run.
///
/// # Errors
///
/// The scenario makes no sense, the backend cannot do it, or nodes do not start.
pub async fn up(home: &Home, options: &UpOptions) -> Result<(), LifeError> {
    let mut what = options.what.clone();
    let asks = asks(options);
    let name = name_of(home, options)?;
    let lock = home.lock(&name).await?;
    if !home.network(&name).join(super::state::FILE).is_file() {
        let made = make(home, &name, options, lock).await;
        if made.is_err() && !home.network(&name).join(super::state::FILE).is_file() {
            std::fs::remove_dir_all(home.network(&name))?;
        }
        return made;
    }
    let state = home.read(&name)?;
    if asks {
        what.seed = what.seed.or(state.scenario.seed);
        let Expanded { mut scenario, .. } = what.load()?.expand()?;
        scenario.faults.clear();
        if scenario != state.scenario {
            return Err(LifeError::Usage(format!(
                "testnet: network {name} was made from another scenario: `testnet clean --network {name}` removes it, \
                 --network gives this one a name of its own"
            )));
        }
    }
    drop(lock);
    again(home, &name).await
}

/// Whether a command line says what the network is to be.
fn asks(options: &UpOptions) -> bool {
    let what = &options.what;
    what.scenario.is_some() || !what.set.is_empty() || what.counts().next().is_some()
}

fn name_of(home: &Home, options: &UpOptions) -> Result<String, LifeError> {
    match (&options.network.network, asks(options)) {
        (Some(name), _) => Ok(name.clone()),
        // As it was: whatever that is.
        (None, false) if !home.networks().is_empty() => home.which(None),
        (None, _) => Ok(network_name(&options.what.load()?.scenario.name)),
    }
}

/// Ends what was started of a network when somebody interrupts its start.
///
/// # Errors
///
/// Its backend is gone.
pub async fn give_up(home: &Home, options: &UpOptions) -> Result<(), LifeError> {
    let name = name_of(home, options)?;
    if home.networks().contains(&name) {
        end_all(&mut Living::open(home, &name).await?).await?;
    }
    Ok(())
}

async fn make(home: &Home, name: &str, options: &UpOptions, lock: Lock) -> Result<(), LifeError> {
    let loaded = options.what.load()?;
    let mut expanded = loaded.clone().expand()?;
    let left_out = left_out(&expanded);
    let needs = without_faults(&loaded);
    let mut wanted = options.backend.clone();
    // Nothing has to be built or pulled for a network that starts at once.
    if wanted.backend == BackendChoice::Auto {
        wanted.backend = BackendChoice::Process;
    }
    check_outlives(wanted.backend)?;
    refuse(&backend::missing(wanted.backend, &needs))?;
    // It goes on for as long as people want.
    expanded.faults.clear();
    let mut progress = Progress::new();
    let chosen = backend::choose(&wanted, &mut progress).await;
    progress.clear();
    let (backend, reason) = chosen?;
    refuse(&needs.missing(backend.name(), &backend::capabilities(backend.name())))?;
    let state = State::new(name.to_owned(), expanded, backend.name(), backend.means()?);
    let mut living = Living::with(home, state, backend, Some(lock))?;
    living.save()?;
    let count = living.state.nodes.len();
    say(&format!(
        "network {name}: {}, {} ({reason}), seed {}",
        counted(count, "node"),
        living.state.backend,
        living.state.scenario.seed.unwrap_or_default(),
    ));
    left_out.iter().for_each(|text| say(text));
    if let Err(failure) = first_start(&mut living).await {
        living.run.progress.clear();
        let text = with_log(&mut living, failure.to_string()).await;
        living.run.backend.save_logs(&living.run.plan).await;
        living.run.backend.cleanup().await;
        return Err(match failure {
            stage::Failure::Verdict(_) => LifeError::Failed(text),
            stage::Failure::Environment(_) => LifeError::Environment(text),
        });
    }
    living.run.progress.clear();
    living.state.down = false;
    living.save()?;
    living
        .run
        .journal
        .event("up", serde_json::json!({ "nodes": count }));
    say(&format!(
        "{} run and mine: `testnet status` shows how they are",
        counted(count, "node")
    ));
    Ok(())
}

async fn first_start(living: &mut Living) -> Result<(), stage::Failure> {
    stage::start::start(&mut living.run).await?;
    let nodes = living.run.network.nodes().to_vec();
    living.run.network = crate::network::Network::since(living.state.made(), nodes);
    living.run.resume();
    living.run.settle().await
}

/// Starts what does not run of a network that is known.
async fn again(home: &Home, name: &str) -> Result<(), LifeError> {
    let mut living = Living::open(home, name).await?;
    let wanted = living.wanted();
    let mut down = Vec::new();
    for &node in &wanted {
        if !living.run.backend.runs(node).await {
            down.push(node);
        }
    }
    let paused_or_stopped = living.state.nodes.len() - wanted.len();
    let rest = match paused_or_stopped {
        0 => String::new(),
        count => format!(", {count} stopped"),
    };
    if down.is_empty() {
        say(&format!(
            "network {name} is up: {}{rest}; nothing to do",
            counted(wanted.len(), "node")
        ));
        return Ok(());
    }
    if living.state.down && down.len() == wanted.len() {
        let nodes = living.run.backend.renew(&living.run.plan).await?;
        living.run.network = crate::network::Network::since(living.state.made(), nodes);
        living.run.resume();
    }
    living.state.down = false;
    living.save()?;
    start_nodes(&mut living, &down).await?;
    say(&format!(
        "network {name} is up: {} started{rest}",
        counted(down.len(), "node")
    ));
    Ok(())
}

async fn start_nodes(living: &mut Living, nodes: &[usize]) -> Result<(), LifeError> {
    match living.launch(nodes).await {
        Err(LifeError::Failed(text)) => Err(LifeError::Failed(with_log(living, text).await)),
        other => other,
    }
}

/// What a node that does not start said last.
async fn with_log(living: &mut Living, text: String) -> String {
    const LINES: usize = 3;
    let mut text = format!("testnet: network {}: {text}", living.state.name);
    for node in 0..living.state.nodes.len() {
        let runs = living.run.backend.runs(node).await;
        if !runs && !living.run.network.is_absent(node) {
            let log = living.run.backend.logs(&living.run.plan, node, LINES).await;
            text += &format!(
                "\nlast lines of {}:\n  {}",
                living.state.nodes[node].name,
                log.join("\n  ")
            );
            break;
        }
    }
    text
}

/// Ends all nodes of a network, and keeps what they have stored.
///
/// # Errors
///
/// The network is not known, or its backend is gone.
pub async fn down(home: &Home, options: &WhichOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.as_deref())?;
    let mut living = Living::open(home, &name).await?;
    if living.state.down && !living.some_run().await {
        say(&format!("network {name} is down; nothing to do"));
        return Ok(());
    }
    end_all(&mut living).await?;
    say(&format!(
        "network {name} is down, its data is kept in {}; `testnet up --network {name}` starts it again",
        living.directory.display()
    ));
    Ok(())
}

/// Ends all nodes, and remembers that they are to be down.
pub(super) async fn end_all(living: &mut Living) -> Result<(), LifeError> {
    living.run.progress.show("stopping the nodes");
    living.state.down = true;
    living.save()?;
    living.run.backend.halt(&living.run.plan).await?;
    living.run.progress.clear();
    living.run.journal.event("down", serde_json::json!({}));
    Ok(())
}

/// Ends nodes until somebody starts them.
///
/// # Errors
///
/// There are no such nodes, or they do not end.
pub async fn stop(home: &Home, options: &NodesOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let mut living = Living::open(home, &name).await?;
    living.demand_up()?;
    let nodes = living.resolve(&options.nodes)?;
    let wanted: BTreeSet<_> = living.wanted().into_iter().collect();
    let running: Vec<_> = nodes
        .iter()
        .copied()
        .filter(|node| wanted.contains(node))
        .collect();
    if running.is_empty() {
        say(&format!(
            "{} stopped already",
            phrase(&living.state, &nodes)
        ));
        return Ok(());
    }
    living.hurt(stopped_by(running.clone())).await?;
    say(&format!("{} stopped", phrase(&living.state, &running)));
    Ok(())
}

/// The fault that `stop` is.
pub(super) fn stopped_by(nodes: Vec<usize>) -> Occurrence {
    Occurrence {
        when: When::At(Span::ZERO),
        act: Act::Stop,
        nodes,
        lasts: None,
    }
}

/// Starts nodes that were stopped or killed, or have ended by themselves.
///
/// # Errors
///
/// There are no such nodes, or they do not start.
pub async fn start(home: &Home, options: &NodesOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let mut living = Living::open(home, &name).await?;
    living.demand_up()?;
    let nodes = living.resolve(&options.nodes)?;
    let started = start_named(&mut living, &nodes).await?;
    match started.is_empty() {
        true => say(&format!(
            "{} running already",
            phrase(&living.state, &nodes)
        )),
        false => say(&format!("{} started", phrase(&living.state, &started))),
    }
    Ok(())
}

/// Starts those of these nodes that are down. Gives them.
///
/// # Errors
///
/// They do not start, or a fault that says when it ends keeps them down.
pub(super) async fn start_named(
    living: &mut Living,
    nodes: &[usize],
) -> Result<Vec<usize>, LifeError> {
    let wanted: BTreeSet<_> = living.wanted().into_iter().collect();
    let lost: BTreeSet<_> = living.lost.iter().copied().collect();
    let is_down = |node: &usize| !wanted.contains(node) || lost.contains(node);
    let down: Vec<_> = nodes.iter().copied().filter(is_down).collect();
    if down.is_empty() {
        return Ok(down);
    }
    // What keeps others down still does.
    let mut ended = Vec::new();
    let mut others = BTreeSet::new();
    for (place, begun) in living.state.faults.iter().enumerate() {
        let concerns = begun.fault.nodes.iter().any(|node| down.contains(node));
        if !begun.over && begun.keeps_down() && concerns {
            ended.push(place);
            others.extend(
                begun
                    .fault
                    .nodes
                    .iter()
                    .copied()
                    .filter(|node| !down.contains(node)),
            );
        }
    }
    if !others.is_empty() {
        living
            .hurt(stopped_by(others.into_iter().collect()))
            .await?;
    }
    let lost: Vec<_> = down
        .iter()
        .copied()
        .filter(|node| lost.contains(node))
        .collect();
    start_nodes(living, &lost).await?;
    living.heal(&ended).await?;
    let wanted = living.wanted();
    let still: Vec<_> = down
        .iter()
        .copied()
        .filter(|node| !wanted.contains(node))
        .collect();
    match still.is_empty() {
        true => Ok(down),
        false => Err(LifeError::Usage(format!(
            "testnet: {} held down by another fault: `testnet status` shows it, `testnet heal` ends it",
            phrase(&living.state, &still)
        ))),
    }
}

/// Removes networks: their nodes, and all that is kept of them.
///
/// # Errors
///
/// They are not known, or something cannot be removed.
pub async fn clean(home: &Home, options: &CleanOptions) -> Result<(), LifeError> {
    let names = match options.all {
        true => home.networks(),
        false => match home.which(options.network.network.as_deref()) {
            Ok(name) => vec![name],
            Err(_) if home.networks().is_empty() && options.network.network.is_none() => Vec::new(),
            Err(error) => return Err(error),
        },
    };
    for name in &names {
        remove(home, name).await?;
        say(&format!("network {name} is removed"));
    }
    let snapshots = match options.all {
        true => home.snapshots(),
        false => Vec::new(),
    };
    for name in &snapshots {
        std::fs::remove_dir_all(home.snapshot(name))?;
        say(&format!("snapshot {name} is removed"));
    }
    if names.is_empty() && snapshots.is_empty() {
        say("there is nothing to remove");
    }
    home.remove_if_empty();
    Ok(())
}

async fn remove(home: &Home, name: &str) -> Result<(), LifeError> {
    let lock = home.lock(name).await?;
    let state = home.read(name)?;
    // No image and no program is needed to remove what was made of them.
    let mut backend = Backend::to_remove(&state.backend, &state.means)?;
    let plan = state.plan(&home.network(name))?;
    backend.erase(&plan).await;
    std::fs::remove_dir_all(home.network(name))?;
    drop(lock);
    Ok(())
}

/// A scenario's name as that of a network.
fn network_name(scenario: &str) -> String {
    let letter = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter.to_ascii_lowercase(),
        false => '-',
    };
    let name: String = scenario.chars().map(letter).take(MAX_NAME_BYTES).collect();
    let name = name.trim_matches(|letter: char| letter == '-' || letter.is_ascii_digit());
    match name.is_empty() {
        true => "network".to_owned(),
        false => name.to_owned(),
    }
}

/// What a scenario asks for beside a network, which `up` does not do.
fn left_out(expanded: &Expanded) -> Vec<String> {
    let scenario = &expanded.scenario;
    let parts = [
        (expanded.faults.len(), "fault"),
        (scenario.checks.len(), "check"),
        (scenario.load.len(), "source of load"),
    ];
    let named = parts.iter().filter(|(count, _)| *count > 0);
    let named: Vec<_> = named.map(|(count, noun)| counted(*count, noun)).collect();
    match named.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "left out: {}; `testnet fault` hurts a network that is up, `testnet run` performs the whole scenario",
            named.join(", ")
        )],
    }
}

/// What a scenario asks for as far as it is a network.
fn without_faults(loaded: &Loaded) -> Loaded {
    let mut loaded = loaded.clone();
    loaded.scenario.faults.clear();
    loaded.scenario.checks.clear();
    loaded.scenario.load.clear();
    loaded.scenario.verdict = Terms::default();
    loaded
}

fn refuse(missing: &[crate::scenario::Problem]) -> Result<(), LifeError> {
    let texts: Vec<_> = missing.iter().map(ToString::to_string).collect();
    match texts.is_empty() {
        true => Ok(()),
        false => Err(LifeError::Environment(texts.join("\n"))),
    }
}
