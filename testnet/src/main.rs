//! The `testnet` program.

use std::process::ExitCode;

use clap::Parser;
use testnet::cli::{Arguments, Command};
use testnet::inspect;
use testnet::run::{self, Exit};

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
        Command::Validate(options) => inspect::validate(&options),
        Command::Explain(options) => inspect::explain(&options),
        Command::Schema => inspect::schema(),
    };
    ExitCode::from(exit as u8)
}
