//! What the nodes' logs say, read as they grow: for conditions on texts, and for what no node may do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use triskel::protocol::chain::id::BlockId;

/// What Rust says when a thread gives up.
const PANIC: &str = "panicked at";

/// The words under which a node refuses a block for breaking a rule. It may also come too early, too late or before its parents,
/// which is nobody's fault; and one that commits to wrong accounts, which nothing continues, may be merged all the same.
const RULES: [&str; 1] = ["header"];

/// What the logs have said so far.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// The texts that conditions look for.
    wanted: Vec<String>,
    nodes: Vec<Log>,
    /// Nodes by the keys by which they know each other.
    keys: BTreeMap<String, usize>,
}

/// One node's log.
#[derive(Clone, Debug, Default)]
struct Log {
    /// Where what is not read yet begins, in bytes.
    end: u64,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
    /// Which of the wanted texts it contains.
    found: BTreeSet<usize>,
    /// The first panic.
    panic: Option<String>,
    /// Whom it has left for breaking a rule, by key, and why.
    penalised: BTreeMap<String, String>,
    /// Blocks that it refused for breaking a rule, and why.
    refused: BTreeMap<BlockId, String>,
    /// Blocks that the deepest reorganisation took back.
    undone_most: u64,
}

impl Logs {
    /// The logs of so many nodes, in which these texts are looked for.
    pub fn new(nodes: usize, wanted: Vec<String>) -> Self {
        Self {
            wanted,
            nodes: vec![Log::default(); nodes],
            keys: BTreeMap::new(),
        }
    }

    /// How much of a node's log is read, in bytes.
    pub fn end(&self, node: usize) -> u64 {
        self.nodes[node].end
    }

    /// Leaves out what a node's log has until there, in bytes.
    pub fn skip_to(&mut self, node: usize, end: u64) {
        self.nodes[node].end = end;
    }

    /// Reads what has come to a node's log. What is not a whole line waits for the rest.
    pub fn read(&mut self, node: usize, bytes: &[u8]) {
        let log = &mut self.nodes[node];
        log.end += bytes.len() as u64;
        log.begun.extend_from_slice(bytes);
        let Some(last) = log.begun.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let rest = log.begun.split_off(last + 1);
        let whole = std::mem::replace(&mut log.begun, rest);
        for line in String::from_utf8_lossy(&whole).lines() {
            self.line(node, line);
        }
    }

    fn line(&mut self, node: usize, line: &str) {
        let log = &mut self.nodes[node];
        for (index, text) in self.wanted.iter().enumerate() {
            if line.contains(text.as_str()) {
                log.found.insert(index);
            }
        }
        if line.contains(PANIC) {
            log.panic.get_or_insert_with(|| line.to_owned());
        }
        // Looking for words is cheaper than reading every line.
        let is_fact = ["triskel::tip", "\"reason\"", "\"key\""];
        if !is_fact.iter().any(|word| line.contains(word)) || line.contains("\"undone\":0") {
            return;
        }
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let word = |key: &str| line.get(key).and_then(Value::as_str);
        let message = || word("message").unwrap_or_default().to_owned();
        match (word("target"), word("reason")) {
            (Some("triskel::tip"), _) => {
                let undone = line.get("undone").and_then(Value::as_u64);
                log.undone_most = log.undone_most.max(undone.unwrap_or_default());
            }
            (Some("triskel::hop"), _) => {
                if let Some(key) = word("key") {
                    self.keys.insert(key.to_owned(), node);
                }
            }
            (Some("triskel::peer"), Some("fault")) => {
                // Who it was is not known before a handshake ends.
                let peer = word("peer").unwrap_or_default().to_owned();
                log.penalised.entry(peer).or_insert_with(message);
            }
            (Some("triskel::block"), Some(reason)) if RULES.contains(&reason) => {
                if let Some(block) = word("block").and_then(|block| block.parse().ok()) {
                    log.refused.entry(block).or_insert_with(message);
                }
            }
            _ => {}
        }
    }

    /// Whether a node's log contains a text; `None` if nobody looks for it, or nothing was read.
    pub fn contains(&self, node: usize, text: &str) -> Option<bool> {
        let index = self.wanted.iter().position(|wanted| wanted == text)?;
        let log = self.nodes.get(node).filter(|log| log.end > 0)?;
        Some(log.found.contains(&index))
    }

    /// The first panic in a node's log.
    pub fn panic(&self, node: usize) -> Option<&str> {
        self.nodes[node].panic.as_deref()
    }

    /// Whom a node has left for breaking a rule, where that is known, and what it said.
    pub fn penalised(&self, node: usize) -> impl Iterator<Item = (Option<usize>, &str)> {
        let penalised = self.nodes[node].penalised.iter();
        penalised.map(|(key, said)| (self.keys.get(key).copied(), said.as_str()))
    }

    /// Blocks that a node has refused for breaking a rule, and what it said.
    pub fn refused(&self, node: usize) -> impl Iterator<Item = (BlockId, &str)> {
        let refused = self.nodes[node].refused.iter();
        refused.map(|(block, said)| (*block, said.as_str()))
    }

    /// Blocks that a node's deepest reorganisation took back.
    pub fn undone_most(&self, node: usize) -> u64 {
        self.nodes[node].undone_most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs() -> Logs {
        Logs::new(2, vec!["no space".to_owned()])
    }

    #[test]
    fn a_line_counts_once_it_is_whole() {
        let mut logs = logs();
        assert_eq!(logs.contains(0, "no space"), None);
        logs.read(0, b"thread 'main' panick");
        assert_eq!(logs.panic(0), None);
        logs.read(0, b"ed at src/main.rs:1:1:\nno sp");
        assert_eq!(
            logs.panic(0),
            Some("thread 'main' panicked at src/main.rs:1:1:")
        );
        assert_eq!(logs.contains(0, "no space"), Some(false));
        logs.read(0, b"ace left\n");
        assert_eq!(logs.contains(0, "no space"), Some(true));
        assert_eq!((logs.end(0), logs.end(1)), (57, 0));
        assert_eq!(logs.contains(1, "no space"), None, "nothing was read");
        assert_eq!(logs.contains(0, "else"), None, "nobody looks for it");
    }

    #[test]
    fn penalties_refusals_and_reorganisations_are_read() {
        let mut logs = logs();
        let block = BlockId([7; 32]);
        let lines = [
            r#"{"target":"triskel::peer","peer":"k1","reason":"fault","message":"peer k1 left: it lied"}"#,
            r#"{"target":"triskel::peer","peer":"k2","reason":"silent","message":"peer k2 left"}"#,
            r#"{"target":"triskel::tip","undone":3}"#,
            r#"{"target":"triskel::tip","undone":0}"#,
            &format!(
                r#"{{"target":"triskel::block","block":"{block}","reason":"header","message":"no"}}"#
            ),
            r#"{"target":"triskel::block","block":"00","reason":"orphan"}"#,
        ];
        for line in lines {
            logs.read(0, format!("{line}\n").as_bytes());
        }
        logs.read(1, b"{\"target\":\"triskel::hop\",\"key\":\"k1\"}\n");
        let penalised: Vec<_> = logs.penalised(0).collect();
        assert_eq!(penalised, [(Some(1), "peer k1 left: it lied")]);
        assert_eq!(logs.refused(0).collect::<Vec<_>>(), [(block, "no")]);
        assert_eq!((logs.undone_most(0), logs.undone_most(1)), (3, 0));
    }
}
