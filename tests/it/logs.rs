//! Log lines: what people see, and what programs measure by.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::SubscriberExt as _;
use triskel::node::announce::{Statistics, announce, listening, statistics};
use triskel::node::config::{LogConfig, LogFormat};
use triskel::node::telemetry::{Looks, layer};
use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::id::{BlockId, NodeKey};
use triskel::protocol::machine::io::{Event, Origin};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines(format: LogFormat, say: impl FnOnce()) -> Vec<String> {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let config = LogConfig {
        format,
        ..Default::default()
    };
    let lines = layer(&config, Looks::default(), move || writer.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), say);
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn tip_changed(abandoned: usize) -> Event {
    Event::TipChanged {
        id: BlockId([0xab; 32]),
        number: 12,
        stream: Stream::B,
        origin: Origin::Relayed(NodeKey([1; 32])),
        abandoned,
        undone: abandoned,
        applied: 3,
        transactions: 50,
    }
}

#[test]
fn every_change_of_the_tip_is_one_flat_object() {
    let lines = lines(LogFormat::Json, || announce(&tip_changed(0)));
    assert_eq!(lines.len(), 1);
    let mut event: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let timestamp = event["timestamp"].take();
    // 2026-01-02T03:04:05.123456Z
    let timestamp = timestamp.as_str().unwrap();
    assert_eq!(
        (timestamp.len(), timestamp.ends_with('Z')),
        (27, true),
        "{timestamp}"
    );
    let expected = serde_json::json!({
        "timestamp": null, "level": "INFO", "target": "triskel::tip", "message": "tip #12 abababababab",
        "block": "ab".repeat(32), "number": 12, "stream": "B", "origin": "relayed", "undone": 0,
        "applied": 3,
        "transactions": 50,
    });
    assert_eq!(event, expected);
}

#[test]
fn people_see_tips_move_back_but_not_each_step() {
    let say = || {
        announce(&tip_changed(0));
        announce(&tip_changed(2));
        listening("0.0.0.0:9000".parse().unwrap());
    };
    let lines = lines(LogFormat::Text, say);
    let messages: Vec<_> = lines
        .iter()
        .map(|line| line.split_once("  ").unwrap().1)
        .collect();
    assert_eq!(
        messages,
        [
            "reorganisation: 2 blocks left the selected chain, the tip is #12 abababababab",
            "listening on 0.0.0.0:9000"
        ]
    );
}

#[test]
fn unreachable_peers_are_named_with_the_next_attempt() {
    let event = Event::DialFailed {
        endpoint: "node1:9000".parse().unwrap(),
        retry_ms: 1_500,
    };
    let lines = lines(LogFormat::Text, || announce(&event));
    assert!(lines[0].ends_with("  node1:9000 is unreachable, next attempt in 1.5 s"));
}

#[test]
fn statistics_are_one_line() {
    let facts = Statistics {
        blocks: 12,
        transactions: 100,
        balance: 5_050_000_000,
        peers: 4,
        mempool: 7,
    };
    assert_eq!(
        statistics(&facts),
        "blocks 12 | transactions 100 | miner balance 50.5 | connected peers 4 | mempool 7"
    );
}
