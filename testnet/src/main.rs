//! The `testnet` program.

use std::process::ExitCode;

use clap::Parser;
use testnet::cli::{Arguments, Command};
use testnet::evidence::commands;
use testnet::inspect;
use testnet::run::{self, Exit};

fn main() -> ExitCode {
    let exit = match Arguments::parse().command {
        Command::Run(options) => perform(run::run(options)),
        Command::Annotate(options) => perform(commands::annotate(&options)),
        Command::Report(options) => commands::report(&options),
        Command::Trace(options) => commands::trace(&options),
        Command::Compare(options) => commands::compare(&options),
        Command::Validate(options) => inspect::validate(&options),
        Command::Explain(options) => inspect::explain(&options),
        Command::Schema(options) => inspect::schema(options),
    };
    ExitCode::from(exit as u8)
}

fn perform(work: impl Future<Output = Exit>) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("testnet: {error}");
            Exit::Environment
        }
    }
}
