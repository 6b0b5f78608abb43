//! The `testnet` program.

use std::process::ExitCode;

use clap::Parser;
use testnet::cli::{Arguments, Command};
use testnet::run::{self, Exit};
use testnet::scenario::Scenario;

fn main() -> ExitCode {
    let exit = match Arguments::parse().command {
        Command::Run(options) => match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime.block_on(run::run(options)),
            Err(error) => {
                eprintln!("testnet: {error}");
                Exit::Environment
            }
        },
        Command::Validate { file } => match Scenario::read(&file).and_then(|scenario| {
            scenario.clone().expand()?;
            Ok(scenario)
        }) {
            Ok(scenario) => {
                println!("{} is a scenario: {}", file.display(), scenario.summary());
                Exit::Holds
            }
            Err(error) => {
                eprintln!("{error}");
                Exit::Usage
            }
        },
    };
    ExitCode::from(exit as u8)
}
