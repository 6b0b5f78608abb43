//! The configuration: layers, origins, the text of every error, and the example file.

use std::fs;
use std::path::PathBuf;

use triskel::node::NodeConfig;
use triskel::node::config::{
    self, ConfigError, Key, Kind, Loaded, LogFormat, Origin, Override, effective_json,
    effective_text, example,
};
use triskel::protocol::chain::block::Stream;
use triskel::protocol::chain::params::{Algorithm, Network, Params};

struct Layers {
    directory: tempfile::TempDir,
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Vec<Override>,
}

impl Layers {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            file: None,
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    fn file(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.directory.path().join("node.toml");
        fs::write(&path, bytes).unwrap();
        self.file = Some(path);
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push(Override {
            key: key.to_owned(),
            value: value.to_owned(),
            flag: "--set".to_owned(),
        });
        self
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        config::load(self.file.as_deref(), self.environment.clone(), &self.flags)
    }

    fn config(&self) -> NodeConfig {
        self.load().unwrap().config
    }

    /// The error's text, with the file's directory left out.
    fn refusal(&self) -> String {
        let text = self.load().unwrap_err().to_string();
        let directory = self.directory.path().display().to_string();
        text.replace(&format!("{directory}{}", std::path::MAIN_SEPARATOR), "")
    }
}

#[test]
fn nothing_at_all_is_the_default() {
    assert_eq!(Layers::new().config(), NodeConfig::default());
    assert_eq!(Layers::new().file("").config(), NodeConfig::default());
    let embedded = NodeConfig {
        port: 9_001,
        ..Default::default()
    };
    assert!(embedded.check().is_ok());
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let file =
        "port = 1001\n[peer]\nmax_inbound = 5\ntarget_outbound = 2\n[mining]\nhashrate = 7\n";
    let layers = Layers::new()
        .file(file)
        .variable("TRISKEL__PEER__MAX_INBOUND", "6")
        .variable("TRISKEL__MINING__HASHRATE", "8")
        .variable("PATH", "/bin")
        .flag("mining.hashrate", "9");
    let loaded = layers.load().unwrap();
    let config = &loaded.config;
    assert_eq!(config.port, 1_001);
    assert_eq!(config.peer.target_outbound, 2);
    assert_eq!(config.peer.max_inbound, 6);
    assert_eq!(config.mining.hashrate, 9);
    assert_eq!(config.peer.ping_interval_ms, 10_000);
    let origin = |key: &str| loaded.origins.get(key).cloned();
    assert_eq!(origin("port"), layers.file.clone().map(Origin::File));
    let variable = "TRISKEL__PEER__MAX_INBOUND".to_owned();
    assert_eq!(
        origin("peer.max_inbound"),
        Some(Origin::Environment(variable))
    );
    let flag = Origin::Flag("--set".to_owned());
    assert_eq!(origin("mining.hashrate"), Some(flag));
    assert_eq!(origin("peer.ping_interval_ms"), None);
}

#[test]
fn lists_and_streams_can_be_set_by_environment_and_flag() {
    let account = "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9";
    let config = Layers::new()
        .file("peers = [\"left:1\"]\n[network.streams.A]\nreward = 3\n")
        .variable("TRISKEL__PEERS", "a:1, [::1]:2")
        .variable("TRISKEL__SEEDS", "")
        .variable("TRISKEL__NETWORK__STREAMS__A__INTERVAL_MS", "500")
        .variable("TRISKEL__NETWORK__NAME", "007")
        .flag("network.streams.C.algorithm", "sha256d")
        .flag("network.streams.A.limit_bits", "0x1f00ffff")
        .flag("mining.hashrates.B", "5")
        .flag(
            "network.allocations",
            &format!("[{{ account = \"{account}\", balance = 4 }}]"),
        )
        .config();
    let peers: Vec<_> = config.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["a:1", "[::1]:2"]);
    assert_eq!(config.network.name.as_deref(), Some("007"));
    let network = config.network().unwrap();
    let streams = &network.params().streams;
    assert_eq!((streams[0].interval_ms, streams[0].reward), (500, 3));
    assert_eq!(
        streams[0].half_life_ms,
        20 * 500,
        "as many intervals as before"
    );
    assert_eq!(streams[0].limit_bits, 0x1f00_ffff);
    assert_eq!(streams[2].algorithm, Algorithm::Sha256d);
    assert_eq!(network.genesis_supply(), 4);
    assert_eq!(
        (config.hashrate(Stream::A), config.hashrate(Stream::B)),
        (2_000, 5)
    );
}

#[test]
fn the_presets_are_those_of_the_protocol() {
    let network = |preset| {
        Layers::new()
            .flag("network.preset", preset)
            .config()
            .network()
    };
    let id = |params| Network::new(params).unwrap().id();
    assert_eq!(network("tri").unwrap().id(), id(Params::tri()));
    assert_eq!(network("chain").unwrap().id(), id(Params::chain()));
}

#[test]
fn errors_in_a_file_name_the_place_and_what_is_allowed() {
    for (text, expected) in [
        (
            "port = 9000\n[mining]\nenabeld = true\n",
            "node.toml:3:1: unknown key `mining.enabeld`, allowed is enabled, address, hashrate, hashrates",
        ),
        (
            "[minign]\nenabled = true\n",
            "node.toml:1:2: unknown key `minign`, allowed is port, listen, peers, seeds, data_dir, network, mining, \
             peer, mempool, rpc, metrics, memory, store, log",
        ),
        (
            "port = 70000\n",
            "node.toml:1:8: `port` is 70000, allowed is a whole number from 0 to 65535",
        ),
        (
            "\n  port = \"9000\"\n",
            "node.toml:2:10: `port` is \"9000\", allowed is a whole number from 0 to 65535",
        ),
        (
            "listen = \"localhost\"\n",
            "node.toml:1:10: `listen` is \"localhost\", allowed is an IP address, as 127.0.0.1 or ::1",
        ),
        (
            "peers = [\"a:1\", \"b\"]\n",
            "node.toml:1:9: `peers` is [\"a:1\", \"b\"], allowed is a list of host:port, as node1:9000 or [::1]:9000",
        ),
        (
            "[network]\npreset = \"duo\"\n",
            "node.toml:2:10: `network.preset` is \"duo\", allowed is one of tri, chain",
        ),
        (
            "[mining]\nenabled = 1\n",
            "node.toml:2:11: `mining.enabled` is 1, allowed is true or false",
        ),
        (
            "mining = true\n",
            "node.toml:1:10: `mining` is true, allowed is a section with the keys enabled, address, hashrate, hashrates",
        ),
        (
            "[log]\nlevel = \"inof\"\n",
            "node.toml:2:9: `log.level` is \"inof\", allowed is error, warn, info, debug, trace or off, \
             and target=level pairs after commas",
        ),
        (
            "[[network.allocations]]\naccount = \"12\"\nbalance = 1\n",
            "node.toml:2:11: `12` is not 64 hexadecimal digits",
        ),
    ] {
        assert_eq!(Layers::new().file(text).refusal(), expected);
    }
    let syntax = Layers::new().file("port = \n").refusal();
    assert!(syntax.starts_with("node.toml:1:8: "), "{syntax}");
}

#[test]
fn a_missing_file_is_named() {
    let mut layers = Layers::new();
    layers.file = Some(layers.directory.path().join("none.toml"));
    let refusal = layers.refusal();
    assert!(
        refusal.starts_with("cannot read the configuration file none.toml: "),
        "{refusal}"
    );
    assert!(refusal.ends_with("check the path given with --config"));
}

#[test]
fn files_that_powershell_writes_are_read() {
    let text = "port = 4242\r\n[log]\r\nformat = \"json\"\r\n";
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    for bytes in [utf16, format!("\u{feff}{text}").into_bytes()] {
        let config = Layers::new().file(bytes).config();
        assert_eq!((config.port, config.log.format), (4_242, LogFormat::Json));
    }
}

#[test]
fn errors_in_the_environment_name_the_variable() {
    for (variable, value, expected) in [
        (
            "TRISKEL__MINNING__ENABLED",
            "true",
            "environment variable TRISKEL__MINNING__ENABLED: unknown key `minning.enabled`, allowed is port, listen, \
             peers, seeds, data_dir, network, mining, peer, mempool, rpc, metrics, memory, store, log",
        ),
        (
            "TRISKEL__STORE__CACHE",
            "8",
            "environment variable TRISKEL__STORE__CACHE: unknown key `store.cache`, allowed is cache_mib, prune",
        ),
        (
            "TRISKEL__PORT",
            "abc",
            "environment variable TRISKEL__PORT: `port` is \"abc\", allowed is a whole number from 0 to 65535",
        ),
        (
            "TRISKEL__PEERS",
            "a:1,b",
            "environment variable TRISKEL__PEERS: `peers` is \"a:1,b\", allowed is a list of host:port, \
             as node1:9000 or [::1]:9000",
        ),
    ] {
        assert_eq!(Layers::new().variable(variable, value).refusal(), expected);
    }
}

#[test]
fn errors_in_flags_name_the_flag() {
    assert_eq!(
        Layers::new().flag("rpc.prot", "1").refusal(),
        "--set: unknown key `rpc.prot`, allowed is enabled, listen, port"
    );
    assert_eq!(
        Layers::new().flag("mining", "1").refusal(),
        "--set: unknown key `mining`, allowed is enabled, address, hashrate, hashrates"
    );
    assert_eq!(
        Layers::new().flag("log.format", "xml").refusal(),
        "--set: `log.format` is \"xml\", allowed is one of text, json"
    );
}

#[test]
fn what_cannot_be_together_is_refused() {
    for (key, value, expected) in [
        (
            "port",
            "65000",
            "`rpc.port` is unset, which means port + 1000, allowed is set beside a port above 64535",
        ),
        (
            "rpc.port",
            "9000",
            "`rpc.port` is 9000, allowed is another number than port",
        ),
        (
            "metrics.port",
            "10000",
            "`metrics.port` is 10000, allowed is another number than rpc.port",
        ),
        (
            "peer.silent_timeout_ms",
            "10000",
            "`peer.silent_timeout_ms` is 10000, allowed is more than peer.ping_interval_ms (10000)",
        ),
        (
            "peer.retry_max_ms",
            "100",
            "`peer.retry_max_ms` is 100, allowed is at least peer.retry_min_ms (250)",
        ),
        (
            "network.streams.B.algorithm",
            "none",
            "network.streams: the algorithm `none` is for the simulator alone; use sha256d, blake3 or sha3",
        ),
        (
            "network.address_prefix",
            "T!",
            "[network]: network parameter `address_prefix` is T!, allowed is 1 to 16 lower-case letters and digits",
        ),
    ] {
        assert_eq!(Layers::new().flag(key, value).refusal(), expected);
    }
    let layers = Layers::new().flag("network.preset", "chain");
    assert_eq!(
        layers.flag("network.streams.C.reward", "1").refusal(),
        "`network.streams.C` is set, allowed is nothing, for the preset chain has no such stream"
    );
    let refusal = Layers::new().flag("mining.address", "tsk1x").refusal();
    assert!(
        refusal.starts_with("`mining.address`: `tsk1x` is not an address: "),
        "{refusal}"
    );
}

#[test]
fn ports_follow_from_the_port() {
    let config = Layers::new().flag("port", "9101").config();
    assert_eq!(config.rpc_address().unwrap().to_string(), "127.0.0.1:10101");
    assert_eq!(
        config.metrics_address().unwrap().to_string(),
        "127.0.0.1:11101"
    );
    let any = Layers::new().flag("port", "0").config();
    assert_eq!(any.rpc_address().unwrap().port(), 0);
    let high = Layers::new().flag("port", "65000").flag("rpc.port", "0");
    assert_eq!(
        high.flag("metrics.enabled", "false")
            .config()
            .metrics_address(),
        None
    );
}

#[test]
fn the_port_is_part_of_the_data_directory() {
    let directory = |value| {
        Layers::new()
            .flag("port", "77")
            .flag("data_dir", value)
            .config()
    };
    let expanded = |value| directory(value).data_directory();
    assert_eq!(expanded("a/{port}-{slot}"), PathBuf::from("a/77-{slot}"));
    assert_eq!(
        Layers::new().config().data_directory(),
        PathBuf::from("triskel-data/node-9000")
    );
}

#[test]
fn the_example_names_every_key_and_is_right_when_switched_on() {
    let text = example();
    let switched_on: Vec<_> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest,
            _ => line,
        })
        // It shows an address whose digits depend on the reader's key.
        .filter(|line| !line.starts_with("address = \"tsk1..."))
        .collect();
    let loaded = Layers::new().file(switched_on.join("\n")).load().unwrap();
    for path in paths("", NodeConfig::KEYS) {
        let is_left_out = path == "mining.address";
        assert_eq!(loaded.origins.contains_key(&path), !is_left_out, "{path}");
    }
    assert!(text.contains("#address = \"tsk1...\""));
    // As it is, it changes nothing.
    assert_eq!(Layers::new().file(text).config(), NodeConfig::default());
}

#[test]
fn the_table_holds_every_key_of_the_structure() {
    let serialised = serde_json::to_value(NodeConfig::default()).unwrap();
    let mut of_structure = Vec::new();
    collect("", &serialised, &mut of_structure);
    let mut of_table = paths("", NodeConfig::KEYS);
    of_structure.sort();
    of_table.sort();
    assert_eq!(of_structure, of_table);
}

fn collect(path: &str, value: &serde_json::Value, paths: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let separator = if path.is_empty() { "" } else { "." };
                collect(&format!("{path}{separator}{name}"), value, paths);
            }
        }
        _ => paths.push(path.to_owned()),
    }
}

fn paths(prefix: &str, keys: &'static [Key]) -> Vec<String> {
    let below = |key: &'static Key| match key.kind {
        Kind::Section(inner) => paths(&format!("{prefix}{}.", key.name), inner),
        _ => vec![format!("{prefix}{}", key.name)],
    };
    keys.iter().flat_map(below).collect()
}

#[test]
fn the_effective_configuration_says_where_values_come_from_and_can_be_loaded_again() {
    let layers = Layers::new()
        .variable("TRISKEL__PEERS", "a:1,b:2")
        .flag("port", "77")
        .flag("network.streams.B.reward", "5");
    let loaded = layers.load().unwrap();
    let text = effective_text(&loaded);
    let line = |start: &str| {
        let found = text.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{start} is not in {text}"))
    };
    assert!(line("port = 77 ").ends_with("  # flag --set"));
    assert!(line("peers = [\"a:1\", \"b:2\"]").ends_with("  # environment TRISKEL__PEERS"));
    assert!(line("data_dir = \"triskel-data/node-77\"").ends_with("  # default"));
    assert!(line("port = 1077 ").ends_with("  # default"));
    assert!(line("# address is unset").ends_with("  # default"));
    let again = Layers::new().file(&text).config();
    assert_eq!(again.resolved(), loaded.config.resolved());

    let json: serde_json::Value = serde_json::from_str(&effective_json(&loaded)).unwrap();
    let expected = serde_json::json!({"origin": "flag", "name": "--set", "value": 77});
    assert_eq!(json["port"], expected);
    let expected = serde_json::json!({"origin": "default", "value": null});
    assert_eq!(json["mining.address"], expected);
}
