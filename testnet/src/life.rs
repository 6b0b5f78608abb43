//! Networks that outlive the command which started them: no program watches them, each command looks, acts and ends.
//!
//! All that is known of a network is in a directory of its own ([`home`]): what it consists of and what was done to it
//! ([`state`]), the nodes' configuration, logs and data, and what happened. A command opens it ([`open`]), which finds the nodes
//! again, and brings about what is wanted with the same [`Run`](crate::stage::Run) and [`engine`](crate::engine) that runs use.

pub mod attach;
pub mod commands;
pub mod fault;
pub mod grow;
pub mod home;
pub mod open;
pub mod show;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod store;
pub mod top;

use std::path::Path;
use std::process::ExitCode;

use crate::backend::BackendError;
use crate::cli::Command;
use crate::run::{Exit, Signals};
use crate::scenario::{Problem, ScenarioError};
use crate::stage::Failure;

/// Why a command on a network does not do its part.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The nodes did not do what they should.
    #[error("{0}")]
    Failed(String),
    /// The environment is not as it must be.
    #[error("{0}")]
    Environment(String),
}

/// Performs a command on networks that stay up, which are kept in a directory, and gives the code with which the program ends.
pub async fn perform(command: Command, state: Option<&Path>) -> ExitCode {
    let ended = match home::Home::find(state) {
        Ok(home) => dispatch(&home, command).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            error.exit().into()
        }
    }
}

async fn dispatch(home: &home::Home, command: Command) -> Result<ExitCode, LifeError> {
    match command {
        Command::Up(options) => {
            let mut signals = Signals::listen();
            tokio::select! {
                up = commands::up(home, &options) => up?,
                () = signals.next() => {
                    eprintln!("interrupted: stopping what was started");
                    commands::give_up(home, &options).await?;
                    return Ok(Exit::Interrupted.into());
                }
            }
        }
        Command::Run(options) => return Ok(attach::run(home, &options).await?.into()),
        Command::Status(options) => status::status(home, &options).await?,
        Command::Top(options) => top::top(home, &options).await?,
        Command::Logs(options) => status::logs(home, &options).await?,
        Command::Exec(options) => {
            let code = status::exec(home, &options).await?;
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
        Command::Stop(options) => commands::stop(home, &options).await?,
        Command::Start(options) => commands::start(home, &options).await?,
        Command::Add(options) => grow::add(home, &options).await?,
        Command::Remove(options) => grow::remove(home, &options).await?,
        Command::Fault(options) => fault::fault(home, &options).await?,
        Command::Heal(options) => fault::heal(home, &options).await?,
        Command::Snapshot(options) => snapshot::snapshot(home, &options).await?,
        Command::Restore(options) => snapshot::restore(home, &options).await?,
        Command::Down(options) => commands::down(home, &options).await?,
        Command::Doctor(options) => return Ok(crate::doctor::doctor(home, &options).await.into()),
        Command::Clean(options) => commands::clean(home, &options).await?,
        // The program performs all others itself.
        _ => {}
    }
    Ok(Exit::Holds.into())
}

impl LifeError {
    /// The code with which the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Failed(_) => Exit::Fails,
            Self::Environment(_) => Exit::Environment,
        }
    }
}

impl From<Failure> for LifeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Verdict(text) => Self::Failed(text),
            Failure::Environment(text) => Self::Environment(text),
        }
    }
}

impl From<BackendError> for LifeError {
    fn from(error: BackendError) -> Self {
        Self::Environment(error.to_string())
    }
}

impl From<std::io::Error> for LifeError {
    fn from(error: std::io::Error) -> Self {
        Self::Environment(error.to_string())
    }
}

impl From<ScenarioError> for LifeError {
    fn from(error: ScenarioError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<Problem> for LifeError {
    fn from(problem: Problem) -> Self {
        Self::Usage(format!("testnet: {}", problem.message))
    }
}
