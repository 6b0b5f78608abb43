//! `junit.xml`: one suite, a case for each stage, check and invariant, and one for the verdict. Of the dialects of this format it
//! has
//! what all readers know (the schema of Jenkins' xunit plugin, `jenkins-junit.xsd`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::recording::Recording;

struct Case {
    name: String,
    seconds: f64,
    failure: Option<String>,
}

/// The result of a run for test reporters.
pub fn junit(recording: &Recording) -> String {
    let cases = cases(recording);
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let total: f64 = cases.iter().map(|case| case.seconds).sum();
    let manifest = &recording.manifest;
    let suite = escaped(&format!("testnet.{}", manifest.scenario));
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"0\" time=\"{total:.3}\"",
        cases.len()
    );
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  \
         <testsuite name=\"{suite}\" {counts} skipped=\"0\">\n    <properties>\n"
    );
    for (name, value) in [
        ("run", manifest.run.clone()),
        ("seed", manifest.seed.to_string()),
        ("backend", manifest.backend.clone()),
        ("nodes", manifest.nodes.len().to_string()),
    ] {
        let value = escaped(&value);
        let _ = writeln!(text, "      <property name=\"{name}\" value=\"{value}\"/>");
    }
    text.push_str("    </properties>\n");
    for case in &cases {
        let _ = write!(
            text,
            "    <testcase classname=\"{suite}\" name=\"{}\" time=\"{:.3}\"",
            escaped(&case.name),
            case.seconds
        );
        match &case.failure {
            None => text.push_str("/>\n"),
            Some(reason) => {
                let reason = escaped(reason);
                let _ = writeln!(
                    text,
                    ">\n      <failure message=\"{reason}\" type=\"verdict\">{reason}</failure>\n    \
                     </testcase>"
                );
            }
        }
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn cases(recording: &Recording) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for stage in recording.stages() {
        let time = times.entry(stage.name.clone()).or_default();
        *time += 1;
        cases.push(Case {
            name: match time {
                1 => format!("stage {}", stage.name),
                time => format!("stage {} ({time})", stage.name),
            },
            seconds: stage.took_ms as f64 / 1_000.0,
            failure: stage.error,
        });
    }
    for check in recording.checks() {
        cases.push(Case {
            name: check.name,
            seconds: 0.0,
            failure: (!check.holds).then_some(check.reason),
        });
    }
    let failure = match &recording.result {
        Some(result) if result.holds => None,
        Some(result) => Some(result.reason.clone().unwrap_or_default()),
        None => Some("the run came to no end".to_owned()),
    };
    cases.push(Case {
        name: "verdict".to_owned(),
        seconds: 0.0,
        failure,
    });
    cases
}

/// Text as XML takes it: what it has no words for is left out.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(letter),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::EventLine;
    use serde_json::json;

    #[test]
    fn each_stage_and_check_is_a_case() {
        let event = |event: &str, details: serde_json::Value| EventLine {
            at_ms: 1,
            event: event.to_owned(),
            details: details.as_object().cloned().unwrap_or_default(),
        };
        let recording = Recording {
            events: vec![
                event("stage_ended", json!({ "stage": "mine", "took_ms": 1_500 })),
                event(
                    "stage_ended",
                    json!({ "stage": "mine", "took_ms": 500, "error": "tips < 2 & \"more\"\u{1b}" }),
                ),
                event(
                    "check",
                    json!({ "name": "supply", "holds": true, "reason": "" }),
                ),
            ],
            ..Recording::default()
        };
        let text = junit(&recording);
        for part in [
            "<testsuites tests=\"4\" failures=\"2\" errors=\"0\" time=\"2.000\">",
            "name=\"stage mine\" time=\"1.500\"/>",
            "name=\"stage mine (2)\" time=\"0.500\">",
            "message=\"tips &lt; 2 &amp; &quot;more&quot;\u{fffd}\"",
            "name=\"supply\" time=\"0.000\"/>",
            "message=\"the run came to no end\"",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
