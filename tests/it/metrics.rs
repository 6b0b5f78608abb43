//! The pages for those who watch: names and help of every metric, health, readiness, and that a scrape says whether nodes agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::timeout;
use triskel::protocol::machine::io::Command;
use triskel::rpc::client::Client;

use super::node::{Member, PATIENCE};

fn pages(member: &Member) -> Client {
    Client::new(member.node.metrics().unwrap())
}

async fn scrape(client: &Client) -> String {
    let (status, text) = client.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    text
}

/// The value of a series without labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|number| number.parse().unwrap())
}

/// Waits until a page has a status and text that says so.
async fn until(client: &Client, page: &str, reached: impl Fn(u16, &str) -> bool) {
    let waiting = async {
        loop {
            let (status, text) = client.get(page).await.unwrap();
            if reached(status, &text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{page} never says what is waited for"));
}

/// What a gauge or a histogram may end with: a unit, or what is counted.
const UNITS: [&str; 12] = [
    "_ratio",
    "_seconds",
    "_bytes",
    "_blocks",
    "_units",
    "_hashes",
    "_hashes_per_second",
    "_transactions",
    "_number",
    "_prefix",
    "_info",
    "_work",
];

/// Gauges whose name is what they count, or that are 0 or 1.
const BARE: [&str; 6] = [
    "peers",
    "banned_peers",
    "known_addresses",
    "mining",
    "dag_tips",
    "transactions_applied",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_named_and_explained() {
    let member = Member::start(|config| config.mining.enabled = false).await;
    let text = scrape(&pages(&member)).await;
    let mut helps = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    let mut complaints = Vec::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("# HELP ") {
            let (name, help) = line.split_once(' ').unwrap();
            helps.insert(name, help);
        } else if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').unwrap();
            kinds.insert(name, kind);
        } else if line.split(['{', ' ']).next().is_none_or(str::is_empty) {
            complaints.push(format!("not a series: {line}"));
        }
    }
    assert!(kinds.len() > 30, "{kinds:?}");
    for (name, kind) in kinds {
        let help = helps.get(name).copied().unwrap_or_default();
        // The names and helps of the process are those of the Prometheus project.
        let Some(short) = name.strip_prefix("triskel_") else {
            assert!(name.starts_with("process_"), "{name}");
            continue;
        };
        if !help.ends_with('.') {
            complaints.push(format!("{name}: its help is no sentence: {help}"));
        }
        if (kind == "counter") != name.ends_with("_total") {
            complaints.push(format!("{name}: a {kind}, and counters end in _total"));
        }
        let fits = UNITS.iter().any(|unit| name.ends_with(unit)) || BARE.contains(&short);
        if kind != "counter" && !fits {
            complaints.push(format!("{name}: does not end in a unit"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_ready_when_it_has_its_peers() {
    let lonely = Member::start(|config| config.mining.enabled = false).await;
    let social = Member::start(|config| {
        config.mining.enabled = false;
        config.metrics.ready_peers = 1;
    })
    .await;
    let (lonely_pages, social_pages) = (pages(&lonely), pages(&social));
    for client in [&lonely_pages, &social_pages] {
        assert_eq!(client.get("/health").await.unwrap(), (200, "ok\n".into()));
    }
    let ready = |text: &str| (200, text.to_owned());
    assert_eq!(lonely_pages.get("/ready").await.unwrap(), ready("ready\n"));
    let reason = (503, "0 of 1 peers\n".to_owned());
    assert_eq!(social_pages.get("/ready").await.unwrap(), reason);
    social.command(Command::Connect(lonely.endpoint())).await;
    until(&social_pages, "/ready", |status, _| status == 200).await;
    lonely.node.stop().await.unwrap();
    until(&social_pages, "/ready", |status, _| status == 503).await;
    assert_eq!(social_pages.get("/ready").await.unwrap(), reason);
    social.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_of_nodes_that_agree_are_equal() {
    let miner = Member::start(|_| ()).await;
    let follower = Member::start(|config| {
        config.mining.enabled = false;
        config.peers = vec![miner.endpoint()];
    })
    .await;
    let (ours, theirs) = (pages(&miner), pages(&follower));
    miner
        .until("five blocks", |snapshot| snapshot.tip.number >= 5)
        .await;
    miner.command(Command::Mine(false)).await;
    miner.until("rest", |snapshot| !snapshot.mining).await;
    follower.agrees_with(&miner).await;
    let (ours, theirs) = (scrape(&ours).await, scrape(&theirs).await);
    for name in [
        "tip_hash_prefix",
        "state_digest_prefix",
        "tip_number",
        "tip_work",
        "issued_units",
    ] {
        let name = format!("triskel_{name}");
        let value = |text| value(text, &name).unwrap_or_else(|| panic!("there is no {name}"));
        assert_eq!(value(&ours), value(&theirs), "{name}");
        assert!(value(&ours) > 0.0, "{name}");
    }
    assert_eq!(value(&ours, "triskel_mining"), Some(0.0));
    // What is known beforehand is there before it happens.
    assert!(ours.contains("triskel_blocks_rejected_total{reason=\"orphan\",stream=\"A\"} 0"));
    assert!(theirs.contains("triskel_peers{direction=\"outbound\"} 1"));
    follower.node.stop().await.unwrap();
    miner.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_ask_for_metrics_that_are_there() {
    let member = Member::start(|config| config.mining.enabled = false).await;
    let text = scrape(&pages(&member)).await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let kinds: BTreeMap<_, _> = types.filter_map(|line| line.split_once(' ')).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docker");
    for file in ["grafana/dashboards/triskel.json", "prometheus/rules.yml"] {
        let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = text.split(|c| !is_name(c));
        let names: BTreeSet<_> = names.filter(|name| name.starts_with("triskel_")).collect();
        assert!(!names.is_empty(), "{file}");
        for name in names {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().any(|end| {
                name.strip_suffix(end).map(|name| kinds.get(name)) == Some(Some(&"histogram"))
            });
            assert!(of_histogram || kinds.contains_key(name), "{file}: {name}");
        }
    }
    member.node.stop().await.unwrap();
}
