//! The `testnet` program.

use std::process::ExitCode;

use clap::Parser;
use testnet::cli::{Arguments, Command};
use testnet::evidence::commands;
use testnet::inspect;
use testnet::life;
use testnet::matrix;
use testnet::pod;
use testnet::reproduce;
use testnet::run::{self, Exit};
use testnet::search::{fuzz, shrink};

/// A node and a simulation allocate much and little: jemalloc takes a tenth less time for it than the C library.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let Arguments { command, state } = Arguments::parse();
    let exit = match command {
        Command::Run(options) if options.attach.is_none() => perform(run::run(options)),
        Command::Matrix(options) => perform(matrix::run(options)),
        Command::Reproduce(options) => perform(reproduce::reproduce(options)),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Shrink(options) => shrink::run(&options),
        Command::Annotate(options) => perform(commands::annotate(&options)),
        Command::Report(options) => commands::report(&options),
        Command::Trace(options) => commands::trace(&options),
        Command::Compare(options) => commands::compare(&options),
        Command::Validate(options) => inspect::validate(&options),
        Command::Explain(options) => inspect::explain(&options),
        Command::Schema(options) => inspect::schema(options),
        Command::Pod(options) => {
            return perform(async { ExitCode::from(pod::perform(options).await) });
        }
        command => return perform(life::perform(command, state.as_deref())),
    };
    exit.into()
}

fn perform<T: From<Exit>>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("testnet: {error}");
            Exit::Environment.into()
        }
    }
}
