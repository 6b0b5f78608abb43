//! The least program that `testnet` can drive: it mines nothing and talks to nobody, but answers as its script says.
//!
//! `TRISKEL_SCRIPT` names the script: `converge`, `diverge` (a tip of its own on every node), `lose` (transfers
//! vanish), `silent` (never answers), `crash` (ends with code 1 once mining starts), `busy` (its port is in use).
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the protocol; this is a program"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use triskel::protocol::chain::id::{BlockId, NodeKey, StateDigest, TransactionId};
use triskel::rpc::{Header, Status, code};

/// The block at which all scripted nodes stop.
const LAST_BLOCK: u64 = 30;

struct Node {
    script: String,
    port: u16,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mining_since: Option<Instant>,
    blocks: u64,
    mining: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let file = std::env::args().next_back().expect("a program has a name");
    let config: toml::Table = toml::from_str(&std::fs::read_to_string(file)?)
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    let script = std::env::var("TRISKEL_SCRIPT").unwrap_or_else(|_| "converge".to_owned());
    println!("{{\"message\":\"scripted node: {script}\"}}");
    if script == "busy" {
        std::process::exit(3);
    }
    if std::env::args().any(|argument| argument == "--stop-with-stdin") {
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
    }
    if script == "silent" {
        return std::future::pending().await;
    }
    let port = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or_default() as u16;
    let config = json!(config);
    let node = Arc::new(Node {
        script,
        port: port(config.get("port")),
        started: Instant::now(),
        state: Mutex::default(),
    });
    let listen = config.pointer("/rpc/listen").and_then(Value::as_str);
    let listen = listen.unwrap_or("127.0.0.1");
    let listener = TcpListener::bind((listen, port(config.pointer("/rpc/port")))).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, Arc::clone(&node)));
    }
}

async fn serve(stream: TcpStream, node: Arc<Node>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
            line.clear();
        }
        if length == 0 {
            return Ok(());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let call: Value = serde_json::from_slice(&body)?;
        let mut answer = node.answer(&call);
        answer["jsonrpc"] = json!("2.0");
        answer["id"] = call["id"].clone();
        let text = answer.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
        let response = format!("{head} {}\r\n\r\n{text}", text.len());
        stream.write_all(response.as_bytes()).await?;
    }
}

impl Node {
    fn answer(&self, call: &Value) -> Value {
        let mut state = self.state.lock().expect("no answer panics");
        match call["method"].as_str().unwrap_or_default() {
            "status" => json!({ "result": self.status(&mut state) }),
            "start_mining" => {
                if self.script == "crash" {
                    println!("{{\"message\":\"crashing as told\"}}");
                    std::process::exit(1);
                }
                (state.mining, state.mining_since) = (true, Some(Instant::now()));
                json!({ "result": null })
            }
            "stop_mining" => {
                state.mining = false;
                json!({ "result": null })
            }
            "set_hashrate" => json!({ "result": null }),
            "submit_transaction" => json!({ "result": { "id": TransactionId([1; 32]) } }),
            "transaction" if self.script == "lose" => {
                json!({ "error": { "code": code::NOT_FOUND, "message": "no such transaction" } })
            }
            "transaction" => json!({ "result": {
                "id": call["params"]["id"], "sender": "", "recipient": "",
                "amount": 1, "fee": 1, "nonce": 0,
                "applied": { "block": BlockId([1; 32]), "number": 1, "index": 0 },
            } }),
            _ => {
                json!({ "error": { "code": code::METHOD_NOT_FOUND, "message": "unknown" } })
            }
        }
    }

    fn status(&self, state: &mut State) -> Status {
        let since = state
            .mining_since
            .map(|since| since.elapsed().as_millis() as u64);
        state.blocks = since.map_or(0, |since| since / 5).min(LAST_BLOCK);
        let own = match self.script.as_str() {
            "diverge" => self.port.to_be_bytes(),
            _ => [0; 2],
        };
        let mut tip = [state.blocks as u8; 32];
        tip[..2].copy_from_slice(&own);
        Status {
            version: "0.0.0".to_owned(),
            network: "scripted".to_owned(),
            network_id: BlockId::default(),
            key: NodeKey::default(),
            miner: String::new(),
            balance: 5_000_000_000,
            port: self.port,
            uptime_ms: self.started.elapsed().as_millis() as u64,
            blocks: state.blocks,
            red: 0,
            parents: vec![BlockId(tip)],
            tip: Header {
                id: BlockId(tip),
                number: state.blocks,
                stream: "A".to_owned(),
                parents: Vec::new(),
                timestamp_ms: 0,
                bits: 0,
                nonce: 0,
                work: "00".to_owned(),
                state_digest: StateDigest::default(),
            },
            state_digest: StateDigest(tip),
            issued: 0,
            transactions: u64::from(state.blocks == LAST_BLOCK) * 10,
            peers_inbound: 1,
            peers_outbound: 0,
            mempool_transactions: 0,
            mempool_bytes: 0,
            mining: state.mining,
            hashrate: BTreeMap::new(),
            mined: BTreeMap::from([("A".to_owned(), state.blocks)]),
            sync_remaining: 0,
            pruned: 0,
            bans: Vec::new(),
        }
    }
}
