//! The orchestrator: it launches a network from a scenario, lets it work, and says with evidence whether it converged.
//!
//! A run is a list of stages, one file a verb: [`stage`]. They see nodes through [`network`] alone, which looks the
//! same whatever the nodes are: [`backend`] knows of processes, containers and simulated machines, and nobody else
//! does. Nodes are black boxes: the orchestrator configures, starts and ends them, and asks them through their
//! control interface.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the bans keep the protocol pure; an orchestrator is all clock, files and processes"
)]

pub mod backend;
pub mod cli;
pub mod doctor;
pub mod engine;
pub mod evidence;
pub mod inspect;
pub mod journal;
pub mod life;
pub mod matrix;
pub mod network;
pub mod plan;
pub mod pod;
pub mod progress;
pub mod report;
pub mod reproduce;
pub mod run;
pub mod scenario;
pub mod search;
pub mod stage;
pub mod verdict;
