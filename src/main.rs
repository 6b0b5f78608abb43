//! The `node` program: arguments, configuration, run.
#![allow(
    clippy::disallowed_methods,
    reason = "the arguments and the environment are read here and nowhere else"
)]

use std::io::{self, Write as _};
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use triskel::node::cli::{self, Action, AskError, CliError};
use triskel::node::config::{self, Loaded};
use triskel::node::control::Order;
use triskel::node::error::exit;
use triskel::node::{Node, NodeError, stop, telemetry};

/// A node and a simulation allocate much and little: jemalloc takes a tenth less time for it than the C library.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    #[cfg(feature = "seeded-bugs")]
    lack_a_defence();
    let code = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(action) => perform(action),
        Err(CliError::Arguments(error)) => {
            // Help goes to standard output and is no failure. Who does not read it misses nothing.
            let _ = error.print();
            error.exit_code().try_into().unwrap_or(exit::USAGE)
        }
        Err(error) => complain(&error, exit::USAGE),
    };
    ExitCode::from(code)
}

/// For the proof that a defence is one: the variable names what this node goes without.
#[cfg(feature = "seeded-bugs")]
fn lack_a_defence() {
    use triskel::protocol::bugs::{Defence, take_away};
    if let Ok(name) = std::env::var("TRISKEL_LACKS") {
        take_away(Some(
            Defence::named(&name).expect("the variable names a defence"),
        ));
    }
}

fn perform(action: Action) -> u8 {
    match action {
        Action::Run {
            loaded,
            stop_with_stdin,
        } => match run(*loaded, stop_with_stdin) {
            Ok(()) => exit::SUCCESS,
            Err(error) => complain(&error, error.exit_code()),
        },
        Action::Config { loaded, json: true } => show(Ok(config::effective_json(&loaded))),
        Action::Config { loaded, .. } => show(Ok(config::effective_text(&loaded))),
        Action::Example => show(Ok(config::example())),
        Action::Params {
            loaded,
            delay,
            json,
        } => show(cli::params(&loaded.config, delay, json)),
        Action::Snapshot { loaded, command } => show(cli::snapshot(&loaded.config, &command)),
        Action::Key(loaded) => show(cli::key(&loaded.config)),
        Action::Status { loaded, rpc, json } => ask(cli::status(&loaded.config, rpc, json)),
        Action::Dag { loaded, arguments } => ask(cli::dag(&loaded.config, &arguments)),
        Action::Health { loaded, metrics } => ask(cli::health(&loaded.config, metrics)),
        Action::Transfer {
            loaded,
            rpc,
            payment,
        } => ask(cli::transfer(&loaded.config, rpc, &payment)),
    }
}

fn run(loaded: Loaded, stop_with_stdin: bool) -> Result<(), NodeError> {
    if let Err(error) = telemetry::install(&loaded.config.log) {
        complain(&error, exit::USAGE);
    }
    let runtime = runtime(&mut Builder::new_current_thread())?;
    runtime.block_on(async {
        let node = Node::start(loaded.config).await?;
        let orders = node.control().orders.clone();
        tokio::spawn(async move {
            stop::asked(stop_with_stdin).await;
            // If the node has ended by itself, there is nothing left to stop.
            orders.send(Order::Stop).await.ok();
        });
        node.ended().await
    })
}

fn ask(answer: impl Future<Output = Result<String, AskError>>) -> u8 {
    match runtime(&mut Builder::new_current_thread()) {
        Ok(runtime) => show(runtime.block_on(answer)),
        Err(error) => complain(&error, error.exit_code()),
    }
}

fn runtime(builder: &mut Builder) -> Result<Runtime, NodeError> {
    let runtime = builder.enable_all().build();
    runtime.map_err(|source| NodeError::Io {
        action: "start the program's threads".to_owned(),
        source,
    })
}

fn show(answer: Result<String, AskError>) -> u8 {
    match answer {
        Ok(text) => match cli::print(&text) {
            Ok(()) => exit::SUCCESS,
            Err(error) => complain(&error, exit::FAILURE),
        },
        Err(error) => complain(&error, error.exit_code()),
    }
}

fn complain(error: &dyn std::error::Error, code: u8) -> u8 {
    // `eprintln!` would panic if nobody reads.
    let _ = writeln!(io::stderr(), "error: {error}");
    code
}
