//! Faults as annotations in Grafana, through its HTTP API: what went wrong is shaded on every dashboard that shows annotations
//! with the
//! tag `triskel`.
//!
//! One POST to `/api/annotations` for each fault, and one for the run as a whole. A run of virtual time has no place on a clock,
//! and is
//! refused.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::recording::Recording;

/// How long Grafana may take for all of them.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why faults are not marked.
#[derive(Debug, thiserror::Error)]
pub enum GrafanaError {
    /// This program speaks no TLS, nor anything else.
    #[error("grafana: {0} is not of the form http://[NAME:PASSWORD@]HOST[:PORT][/PATH]")]
    Url(String),
    /// Times of a simulation are nobody else's.
    #[error("grafana: a simulated run has no time of day")]
    Virtual,
    /// Nobody answers.
    #[error("grafana: {address}: {source}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It does not want them.
    #[error("grafana: {address} answers {status}")]
    Refused {
        /// Where.
        address: String,
        /// The status line.
        status: String,
    },
}

struct Target {
    address: String,
    host: String,
    path: String,
    authorization: Option<String>,
}

/// Marks a run and its faults. How many annotations that were.
///
/// # Errors
///
/// Grafana does not take them.
pub async fn annotate(recording: &Recording, url: &str) -> Result<usize, GrafanaError> {
    let target = target(url).ok_or_else(|| GrafanaError::Url(url.to_owned()))?;
    if recording.manifest.backend == "sim" {
        return Err(GrafanaError::Virtual);
    }
    let all = annotations(recording);
    let sent = async {
        for annotation in &all {
            post(&target, &annotation.to_string()).await?;
        }
        Ok(all.len())
    };
    let late = |_| {
        Err(GrafanaError::Unreachable {
            address: target.address.clone(),
            source: std::io::ErrorKind::TimedOut.into(),
        })
    };
    tokio::time::timeout(TIMEOUT, sent)
        .await
        .unwrap_or_else(late)
}

/// The run and its faults, as Grafana wants them: times are milliseconds since 1970.
pub fn annotations(recording: &Recording) -> Vec<Value> {
    let manifest = &recording.manifest;
    let unix_ms = |at_ms: u64| manifest.started_unix_us / 1_000 + at_ms;
    let end_ms = recording.end_ms();
    let annotation = |begin_ms: u64, end_ms: u64, kind: &str, text: String| {
        json!({
            "time": unix_ms(begin_ms),
            "timeEnd": unix_ms(end_ms),
            "tags": ["triskel", kind, manifest.run],
            "text": text,
        })
    };
    let name = format!(
        "{} {}, seed {}",
        manifest.scenario, manifest.run, manifest.seed
    );
    let mut all = vec![annotation(0, end_ms, "run", name)];
    for fault in recording.faults() {
        let names: Vec<_> = fault
            .nodes
            .iter()
            .map(|node| recording.name(*node))
            .collect();
        let text = format!("{}: {}", fault.what, names.join(", "));
        let end_ms = fault.end_ms.unwrap_or(end_ms);
        all.push(annotation(fault.begin_ms, end_ms, "fault", text));
    }
    all
}

async fn post(target: &Target, body: &str) -> Result<(), GrafanaError> {
    let unreachable = |source| GrafanaError::Unreachable {
        address: target.address.clone(),
        source,
    };
    let mut stream = TcpStream::connect(&target.address)
        .await
        .map_err(unreachable)?;
    let authorization = target.authorization.as_ref();
    let authorization = authorization.map_or_else(String::new, |basic| {
        format!("authorization: Basic {basic}\r\n")
    });
    let request = format!(
        "POST {}/api/annotations HTTP/1.1\r\nhost: {}\r\n{authorization}content-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        target.path,
        target.host,
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(unreachable)?;
    let mut answer = Vec::new();
    stream
        .take(4_096)
        .read_to_end(&mut answer)
        .await
        .map_err(unreachable)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    match status.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(GrafanaError::Refused {
            address: target.address.clone(),
            status: status.to_owned(),
        }),
    }
}

fn target(url: &str) -> Option<Target> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    // What would end a line of the request is no part of a URL.
    let is_plain = |text: &str| {
        !text
            .chars()
            .any(|letter| letter.is_control() || letter == ' ')
    };
    if host.is_empty() || !is_plain(url) {
        return None;
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(Target {
        address: if has_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        },
        host: host.to_owned(),
        path: path.trim_end_matches('/').to_owned(),
        authorization: login.map(|login| base64(login.as_bytes())),
    })
}

/// RFC 4648, section 4.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::{EventLine, Manifest, Member};
    use tokio::net::TcpListener;

    fn recording() -> Recording {
        let event = |at_ms, event: &str, details: Value| EventLine {
            at_ms,
            event: event.to_owned(),
            details: details.as_object().cloned().unwrap_or_default(),
        };
        Recording {
            manifest: Manifest {
                run: "r".to_owned(),
                backend: "process".to_owned(),
                started_unix_us: 5_000_000,
                nodes: vec![Member {
                    name: "node-1".to_owned(),
                    ..Member::default()
                }],
                ..Manifest::default()
            },
            events: vec![
                event(
                    100,
                    "fault_began",
                    json!({ "fault": 0, "what": "kill", "nodes": [0] }),
                ),
                event(300, "fault_ended", json!({ "fault": 0 })),
                event(900, "converged", json!({})),
            ],
            ..Recording::default()
        }
    }

    #[test]
    fn faults_are_regions_of_the_time_of_day() {
        let annotations = annotations(&recording());
        assert_eq!(annotations.len(), 2);
        assert_eq!(annotations[1]["time"], 5_100);
        assert_eq!(annotations[1]["timeEnd"], 5_300);
        assert_eq!(annotations[1]["text"], "kill: node-1");
        assert_eq!(annotations[0]["timeEnd"], 5_900);
    }

    /// A stand-in: Grafana itself is not run here.
    async fn grafana(listener: TcpListener, status: &str, requests: usize) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            let mut bytes = [0; 4_096];
            while !request.ends_with('}') {
                let count = stream.read(&mut bytes).await.unwrap();
                request.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            seen.push(request);
        }
        seen
    }

    #[tokio::test]
    async fn annotations_arrive_where_grafana_takes_them() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://admin:secret@{}/sub/",
            listener.local_addr().unwrap()
        );
        let recording = recording();
        let (seen, sent) = tokio::join!(grafana(listener, "200 OK", 2), annotate(&recording, &url));
        assert_eq!(sent.unwrap(), 2);
        assert!(seen[0].starts_with("POST /sub/api/annotations HTTP/1.1\r\n"));
        assert!(seen[0].contains("authorization: Basic YWRtaW46c2VjcmV0\r\n"));
        assert!(seen[1].contains("\"tags\":[\"triskel\",\"fault\",\"r\"]"));
    }

    #[tokio::test]
    async fn a_refusal_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let recording = recording();
        let (_, sent) = tokio::join!(
            grafana(listener, "401 Unauthorized", 1),
            annotate(&recording, &url)
        );
        assert!(sent.unwrap_err().to_string().contains("401 Unauthorized"));
        let url = annotate(&recording, "https://grafana.example").await;
        assert!(matches!(url, Err(GrafanaError::Url(_))));
        let mut simulated = recording;
        simulated.manifest.backend = "sim".to_owned();
        let refused = annotate(&simulated, "http://localhost").await;
        assert!(matches!(refused, Err(GrafanaError::Virtual)));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let all = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
