//! A network in the hands of one command.

use std::path::PathBuf;

use super::LifeError;
use super::home::{Home, Lock};
use super::state::State;
use crate::backend::Backend;
use crate::engine::Engine;
use crate::engine::lasting::Begun;
use crate::journal::Journal;
use crate::network::Network;
use crate::progress::Progress;
use crate::scenario::Occurrence;
use crate::stage::Run;

/// A network whose nodes were found again, locked until this is dropped.
pub struct Living {
    /// What is known of it.
    pub state: State,
    /// Its nodes, and what is done to them.
    pub run: Run,
    /// Its directory.
    pub directory: PathBuf,
    /// Nodes that should run and do not: they have ended by themselves.
    pub lost: Vec<usize>,
    _lock: Option<Lock>,
}

impl Living {
    /// Opens a network, and ends what should be over by now.
    ///
    /// # Errors
    ///
    /// It is not there or damaged, its backend is gone, or a node refuses.
    pub async fn open(home: &Home, name: &str) -> Result<Self, LifeError> {
        Self::locked(home, name, home.lock(name).await?).await
    }

    async fn locked(home: &Home, name: &str, lock: Lock) -> Result<Self, LifeError> {
        let state = home.read(name)?;
        let backend = Backend::again(&state.backend, &state.means).await?;
        let mut living = Self::with(home, state, backend, Some(lock))?;
        living.find().await?;
        if living.state.attached {
            living.make_well().await?;
        }
        living.end_what_is_over().await?;
        Ok(living)
    }

    /// Opens a network to look at it alone, whatever other commands do meanwhile.
    ///
    /// # Errors
    ///
    /// It is not there or damaged, or its backend is gone.
    pub async fn look(home: &Home, name: &str) -> Result<Self, LifeError> {
        let state = home.read(name)?;
        let backend = Backend::again(&state.backend, &state.means).await?;
        let mut living = Self::with(home, state, backend, None)?;
        living.find().await?;
        Ok(living)
    }

    /// Opens a network to show it. Other commands are over soon, but for a run that is attached, which is looked at as it goes.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn show(home: &Home, name: &str) -> Result<Self, LifeError> {
        // Read first: a network that is not there gets no directory.
        home.read(name)?;
        match home.lock_unless_attached(name).await? {
            Some(lock) => Self::locked(home, name, lock).await,
            None => Self::look(home, name).await,
        }
    }

    /// A network of which nothing was found yet.
    pub(super) fn with(
        home: &Home,
        state: State,
        mut backend: Backend,
        lock: Option<Lock>,
    ) -> Result<Self, LifeError> {
        let mut taken = home.ports();
        // Where all of a network start anew, its own ports are the best.
        if state.down {
            taken.retain(|port| {
                !crate::backend::process::ports_kept(&home.network(&state.name)).contains(port)
            });
        }
        backend.outlive(taken);
        let directory = home.network(&state.name);
        let plan = state.plan(&directory)?;
        let journal = Journal::of_network(&directory, state.made())?;
        let engine = Engine::resume(&plan, &state.faults);
        let mut run = Run::new(plan, backend, Progress::new(), journal);
        run.engine = engine;
        Ok(Self {
            state,
            run,
            directory,
            lost: Vec::new(),
            _lock: lock,
        })
    }

    async fn find(&mut self) -> Result<(), LifeError> {
        let nodes = self.run.backend.attach(&self.run.plan).await?;
        self.run.network = Network::since(self.state.made(), nodes);
        self.run.resume();
        for node in 0..self.state.nodes.len() {
            let wanted = self.run.engine.wanted(&self.run.plan, node).up;
            match self.run.backend.runs(node).await {
                false if wanted && !self.state.down => {
                    self.lost.push(node);
                    self.run.note_lost(node);
                }
                // A command was killed before it had ended it.
                true if !wanted => self.run.note_running(node),
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses what only a network that is up can do.
    ///
    /// # Errors
    ///
    /// It is down.
    pub fn demand_up(&self) -> Result<(), LifeError> {
        match self.state.down {
            false => Ok(()),
            true => Err(LifeError::Usage(format!(
                "testnet: network {0} is down: `testnet up --network {0}` starts it again",
                self.state.name
            ))),
        }
    }

    /// Whether a node runs.
    pub async fn some_run(&mut self) -> bool {
        for node in 0..self.state.nodes.len() {
            if self.run.backend.runs(node).await {
                return true;
            }
        }
        false
    }

    /// Starts these nodes, which must not run, and waits until all that should run answer and mine.
    ///
    /// # Errors
    ///
    /// One does not.
    pub async fn launch(&mut self, nodes: &[usize]) -> Result<(), LifeError> {
        for &node in nodes {
            self.run.note_down(node);
        }
        self.lost.retain(|node| !nodes.contains(node));
        self.settle().await
    }

    /// Waits until all nodes are as wanted.
    ///
    /// # Errors
    ///
    /// One does not get there.
    pub async fn settle(&mut self) -> Result<(), LifeError> {
        let settled = self.run.settle().await;
        self.run.progress.clear();
        Ok(settled?)
    }

    /// Has a fault begin, and brings it about.
    ///
    /// # Errors
    ///
    /// A node does not take it.
    pub async fn hurt(&mut self, fault: Occurrence) -> Result<u64, LifeError> {
        let since = self.run.network.now();
        let until = fault.lasts.map(|lasts| since + lasts.as_duration());
        let number = self.state.next_fault;
        self.state.next_fault += 1;
        self.state.faults.push(Begun {
            number,
            fault: fault.clone(),
            since_ms: since.as_millis() as u64,
            until_ms: until.map(|until| until.as_millis() as u64),
            over: false,
        });
        // Written before it is done: what a crash leaves half done is then known to be wanted.
        self.save()?;
        self.run.hurt(fault, until).await?;
        self.settle().await?;
        Ok(number)
    }

    /// Has faults end, by their place in the state.
    ///
    /// # Errors
    ///
    /// A node does not heal.
    pub async fn heal(&mut self, places: &[usize]) -> Result<(), LifeError> {
        for &place in places {
            self.run.heal(place).await?;
            self.state.faults[place].over = true;
        }
        self.settle().await?;
        self.save()
    }

    /// Brings all nodes to what is wanted, whatever a run has left of them that was attached.
    async fn make_well(&mut self) -> Result<(), LifeError> {
        if !self.state.down {
            for node in 0..self.state.nodes.len() {
                let access = self.run.network.access(node).clone();
                // Whether it stands still is not known, and one that does not refuses to go on.
                let _ = self.run.backend.pause(&access, node, false).await;
            }
            self.run.doubt_links();
            let lost = self.lost.clone();
            self.launch(&lost).await?;
        }
        self.state.attached = false;
        self.save()
    }

    /// Heals what says when it ends, and should have by now: the command that was to do so was killed.
    async fn end_what_is_over(&mut self) -> Result<(), LifeError> {
        if self.state.down {
            return Ok(());
        }
        let now_ms = self.run.network.now().as_millis() as u64;
        let is_due =
            |begun: &Begun| !begun.over && begun.until_ms.is_some_and(|until| until <= now_ms);
        let faults = self.state.faults.iter().enumerate();
        let due: Vec<_> = faults
            .filter(|(_, begun)| is_due(begun))
            .map(|(place, _)| place)
            .collect();
        match due.is_empty() {
            true => Ok(()),
            false => self.heal(&due).await,
        }
    }

    /// Writes the state down, without what is over and leaves nothing.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn save(&self) -> Result<(), LifeError> {
        let mut state = self.state.clone();
        state.faults.retain(Begun::matters);
        Ok(state.write(&self.directory)?)
    }

    /// The nodes that run, or should.
    pub fn wanted(&self) -> Vec<usize> {
        let nodes = 0..self.state.nodes.len();
        let wanted = |node: &usize| self.run.engine.wanted(&self.run.plan, *node).up;
        nodes.filter(wanted).collect()
    }
}
