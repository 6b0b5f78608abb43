//! What a person is told.

use super::state::State;
use crate::scenario::{Fault, Occurrence};

/// Prints a line. Who closed the other end of a pipe has seen enough.
pub fn say(text: &str) {
    crate::inspect::print(&format!("{text}\n"));
}

/// Nodes by name, with the verb: `node-1 is`, `node-1 and node-2 are`, `node-1 to node-9 are`.
pub fn phrase(state: &State, nodes: &[usize]) -> String {
    let name = |node: &usize| state.nodes[*node].name.as_str();
    match nodes {
        [] => "nobody is".to_owned(),
        [one] => format!("{} is", name(one)),
        _ if nodes.len() == state.nodes.len() => format!("all {} nodes are", nodes.len()),
        [first, second] => format!("{} and {} are", name(first), name(second)),
        _ => {
            let names: Vec<_> = nodes.iter().map(name).collect();
            format!("{} are", names.join(", "))
        }
    }
}

/// A fault in the words of a scenario: what, and who.
pub fn words(state: &State, fault: &Occurrence) -> (String, String) {
    let Fault { what, who, .. } = fault.written(&state.nodes);
    let what = serde_json::to_value(&what).unwrap_or_default();
    (brief(&what), who.to_string())
}

/// JSON without the signs that only programs need.
fn brief(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let nested = parts.iter().any(Value::is_array);
            let parts: Vec<_> = parts.iter().map(brief).collect();
            parts.join(if nested { " | " } else { ", " })
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{key} {}", brief(value)))
                .collect();
            fields.join(", ")
        }
        other => other.to_string(),
    }
}

/// A time that has passed, in its two largest units.
pub fn ago(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_their_two_largest_units() {
        assert_eq!(ago(900), "0 s");
        assert_eq!(ago(61_000), "1 min 1 s");
        assert_eq!(ago(7_260_000), "2 h 1 min");
        assert_eq!(ago(90_000_000), "1 d 1 h");
    }

    #[test]
    fn faults_are_shown_as_a_person_would_write_them() {
        let value = serde_json::json!({ "partition": [["node-1", "node-2"], "node-3"] });
        assert_eq!(brief(&value), "partition node-1, node-2 | node-3");
        assert_eq!(brief(&serde_json::json!("kill")), "kill");
    }
}
