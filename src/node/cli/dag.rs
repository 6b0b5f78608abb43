//! `node dag`: the end of the order as a picture.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use crate::node::config::NodeConfig;
use crate::rpc::client::Client;
use crate::rpc::dag::MAX_DAG_BLOCKS;
use crate::rpc::{Dag, GetDag, drawing};

use super::ask::{AskError, call, rpc_address, within};

const EXAMPLES: &str = "\
Examples:
  node dag                                  a table of the last 40 blocks
  node dag --last 200 --svg > dag.svg       a picture for a browser
  node dag --last 200 --dot | dot -Tpng -o dag.png
                                            the same, laid out by Graphviz
  node dag --output dag.svg                 the ending says which form
  node dag --json --rpc 127.0.0.1:9081      for programs, from the node at that address

In the picture time goes from left to right. Each stream has a lane, blocks that do not know
each other stand above one another, and a block's number is its place in the order. Bold is the
selected chain; in one colour stand a block and those that it merges; crossed out are red
blocks, which are merged but not rewarded. A mouse over a block shows what is known of it.";

/// Which blocks to draw, and how.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("form"))]
pub struct DagArguments {
    /// How many blocks at the end of the order [default: 200, or 40 as a table]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAG_BLOCKS)))]
    last: Option<u32>,
    /// Draws a picture for a browser
    #[arg(long, group = "form")]
    svg: bool,
    /// Writes the input of Graphviz
    #[arg(long, group = "form")]
    dot: bool,
    /// For programs
    #[arg(long, group = "form")]
    json: bool,
    /// Writes to a file; .svg, .dot, .gv and .json say in which form
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where the control interface is, if not where the configuration says
    #[arg(long, value_name = "ADDRESS")]
    rpc: Option<SocketAddr>,
}

/// In which form a DAG is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Svg,
    Dot,
    Json,
    Table,
}

/// What a screen holds.
const TABLE_BLOCKS: u32 = 40;
const PICTURE_BLOCKS: u32 = 200;

impl DagArguments {
    fn form(&self) -> Form {
        let ending = self.output.as_deref().and_then(Path::extension);
        let ending = ending.map(|ending| ending.to_string_lossy().to_lowercase());
        match (self.svg, self.dot, self.json, ending.as_deref()) {
            (true, ..) => Form::Svg,
            (_, true, ..) => Form::Dot,
            (_, _, true, _) => Form::Json,
            (.., Some("svg")) => Form::Svg,
            (.., Some("dot" | "gv")) => Form::Dot,
            (.., Some("json")) => Form::Json,
            _ => Form::Table,
        }
    }
}

/// Asks a running node for its last blocks and shows them.
pub async fn dag(config: &NodeConfig, arguments: &DagArguments) -> Result<String, AskError> {
    let form = arguments.form();
    let last = arguments.last.unwrap_or(match form {
        Form::Table => TABLE_BLOCKS,
        Form::Svg | Form::Dot | Form::Json => PICTURE_BLOCKS,
    });
    let address = rpc_address(config, arguments.rpc)?;
    let client = Client::new(address);
    let dag = within(address, call(&client, GetDag { last: Some(last) })).await?;
    let text = draw(&dag, form);
    let Some(path) = &arguments.output else {
        return Ok(text);
    };
    std::fs::write(path, text).map_err(|source| AskError::Write {
        path: path.clone(),
        source,
    })?;
    Ok(format!(
        "{} blocks in {}\n",
        dag.blocks.len(),
        path.display()
    ))
}

fn draw(dag: &Dag, form: Form) -> String {
    match form {
        Form::Svg => drawing::svg(dag),
        Form::Dot => drawing::dot(dag),
        Form::Table => drawing::table(dag),
        Form::Json => {
            let json = serde_json::to_value(dag).expect("a DAG has only texts as keys");
            format!("{json:#}\n")
        }
    }
}
