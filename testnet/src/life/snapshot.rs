//! The verbs `snapshot` and `restore`.

use std::path::Path;

use super::LifeError;
use super::commands::end_all;
use super::home::Home;
use super::open::Living;
use super::show::say;
use super::state::{State, unix_ms};
use crate::backend::Backend;
use crate::cli::life::{RestoreOptions, SnapshotOptions};
use crate::plan::new_run_id;
use crate::report::counted;
use crate::scenario::check_name;

/// Keeps what all nodes of a network have stored, at one moment: they are stopped for it, and started again if they ran.
///
/// # Errors
///
/// The name is taken, or something cannot be copied.
pub async fn snapshot(home: &Home, options: &SnapshotOptions) -> Result<(), LifeError> {
    let Some(name) = &options.name else {
        list(home);
        return Ok(());
    };
    check_name(name).map_err(|why| LifeError::Usage(format!("testnet: snapshot {why}")))?;
    let directory = home.snapshot(name);
    if options.remove {
        if !home.snapshots().contains(name) {
            return Err(unknown(home, name));
        }
        std::fs::remove_dir_all(&directory)?;
        say(&format!("snapshot {name} is removed"));
        return Ok(());
    }
    if directory.exists() {
        return Err(LifeError::Usage(format!(
            "testnet: there is a snapshot {name}: `testnet snapshot {name} --remove` removes it"
        )));
    }
    let network = home.which(options.network.network.as_deref())?;
    let mut living = Living::open(home, &network).await?;
    let was_up = !living.state.down;
    if was_up {
        end_all(&mut living).await?;
    }
    // It has its name only when it is whole.
    let unfinished = home.snapshot(&format!("{name}.new"));
    let kept = keep(&living, &unfinished);
    let kept = kept.and_then(|bytes| std::fs::rename(&unfinished, &directory).map(|()| bytes));
    if kept.is_err() {
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    if was_up {
        let wanted = living.wanted();
        living.state.down = false;
        living.save()?;
        living.launch(&wanted).await?;
    }
    say(&format!(
        "snapshot {name}: {} of network {network}, {:.1} MB",
        counted(living.state.nodes.len(), "node"),
        kept? as f64 / 1e6
    ));
    Ok(())
}

fn list(home: &Home) {
    let snapshots = home.snapshots();
    if snapshots.is_empty() {
        say("there is no snapshot");
    }
    for name in snapshots {
        let nodes = State::read(&home.snapshot(&name)).map_or(0, |state| state.nodes.len());
        say(&format!("{name}: {}", counted(nodes, "node")));
    }
}

fn unknown(home: &Home, name: &str) -> LifeError {
    let known = match home.snapshots().as_slice() {
        [] => "there is none".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    LifeError::Usage(format!("testnet: no snapshot is called {name}; {known}"))
}

/// Copies all stores, keys and conditions, and then the state, which makes it a snapshot. Gives the bytes.
fn keep(living: &Living, directory: &Path) -> std::io::Result<u64> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    let mut bytes = 0;
    for node in 0..living.state.nodes.len() {
        let name = &living.state.nodes[node].name;
        let from = living.run.plan.node_directory(node).join("data");
        bytes += copy(&from, &directory.join(name).join("data"))?;
    }
    let mut state = living.state.clone();
    state.down = true;
    state.faults.retain(crate::engine::lasting::Begun::matters);
    state.write(directory)?;
    Ok(bytes)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<u64> {
    std::fs::create_dir_all(to)?;
    let mut bytes = 0;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        bytes += match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => std::fs::copy(entry.path(), to)?,
        };
    }
    Ok(bytes)
}

/// Makes networks of a snapshot, and starts them: each has the blocks, keys and faults of the snapshot, and a seed of its own.
///
/// # Errors
///
/// There is no such snapshot, a name is taken, or nodes do not start.
pub async fn restore(home: &Home, options: &RestoreOptions) -> Result<(), LifeError> {
    if !home.snapshots().contains(&options.name) {
        return Err(unknown(home, &options.name));
    }
    let snapshot = home.snapshot(&options.name);
    let base = options.network.as_ref().unwrap_or(&options.name);
    let names: Vec<_> = match options.copies {
        1 => vec![base.clone()],
        copies => (1..=copies).map(|copy| format!("{base}-{copy}")).collect(),
    };
    let networks = home.networks();
    if let Some(taken) = names.iter().find(|name| networks.contains(name)) {
        return Err(LifeError::Usage(format!(
            "testnet: there is a network {taken}: --network gives another name, `testnet clean --network {taken}` removes it"
        )));
    }
    let first = options
        .seed
        .unwrap_or_else(|| getrandom::u32().map_or(1, u64::from));
    for (name, seed) in names.iter().zip(first..) {
        let mut state = State::read(&snapshot)?;
        state.name.clone_from(name);
        state.id = new_run_id();
        state.seed = seed;
        // What ends by itself counts from when the network was made.
        let then = state.made_unix_ms;
        state.made_unix_ms = unix_ms();
        let taken_ms = std::fs::metadata(snapshot.join(super::state::FILE))?.modified()?;
        let taken_ms = taken_ms
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(then, |since| since.as_millis() as u64);
        shift(&mut state, taken_ms.saturating_sub(then));
        revive(home, &snapshot, state).await?;
        say(&format!(
            "network {name} is up, from snapshot {}, seed {seed}",
            options.name
        ));
    }
    Ok(())
}

/// Has all faults begin earlier by this, but not before the network.
fn shift(state: &mut State, by_ms: u64) {
    for begun in &mut state.faults {
        begun.since_ms = begun.since_ms.saturating_sub(by_ms);
        begun.until_ms = begun.until_ms.map(|until| until.saturating_sub(by_ms));
    }
}

async fn revive(home: &Home, snapshot: &Path, mut state: State) -> Result<(), LifeError> {
    let name = state.name.clone();
    let lock = home.lock(&name).await?;
    let directory = home.network(&name);
    let backend = Backend::again(&state.backend, &state.means).await?;
    let made = (|| {
        for node in &state.nodes {
            let from = snapshot.join(&node.name).join("data");
            copy(&from, &directory.join(&node.name).join("data"))?;
        }
        state.write(&directory)
    })();
    if let Err(error) = made {
        std::fs::remove_dir_all(&directory)?;
        return Err(error.into());
    }
    state.down = false;
    let mut living = Living::with(home, state, backend, Some(lock))?;
    let nodes = living.run.backend.place(&living.run.plan).await?;
    living.run.network = crate::network::Network::since(living.state.made(), nodes);
    living.run.resume();
    living.save()?;
    let wanted = living.wanted();
    living.launch(&wanted).await
}
