//! What a run consists of, before anything of it exists: names, keys, edges, and the configuration of every node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use triskel::protocol::chain::id::{AccountId, NodeKey};
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::transaction::UNITS_PER_COIN;
use triskel::protocol::link::Conditions;
use triskel::rpc::NodeConditions;

use crate::engine::schedule::Surroundings;
use crate::evidence::record::{Files, Program};
use crate::scenario::{Edge, Expanded, NetworkSection, Node, Occurrence, Scenario, StreamName};

/// What genesis endows every sender of transfers with, in units.
pub const ENDOWMENT: u64 = 10_000 * UNITS_PER_COIN;

/// The ceiling of a node's memory that is the default. Each place for a peer takes a MiB of what is bounded, so large networks need
/// more; a node refuses a configuration that does not add up.
const NODE_MIB: usize = 1_024;

/// How many nodes that join a network which is up may dial the same one.
const LATER_NODES: usize = 32;

/// A run, planned.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names the run: no two runs share it.
    pub id: String,
    /// The scenario, expanded: nothing in it is left to be drawn or derived.
    pub scenario: Scenario,
    /// What the scenario was read from, for whoever wants to know later.
    pub layers: Vec<String>,
    /// What the nodes run, where that is known.
    pub program: Option<Program>,
    /// The nodes, in the order of their numbers.
    pub nodes: Vec<Node>,
    /// Who dials whom, and what frames meet on their way.
    pub edges: Vec<Edge>,
    /// What goes wrong.
    pub faults: Vec<Occurrence>,
    /// Who pays the transfers: sender i hands them to honest node i, so that each node sees the nonces in order.
    pub senders: Vec<KeyPair>,
    /// Who pays the transfers of each source of load.
    pub load_senders: Vec<Vec<KeyPair>>,
    /// Where the run leaves its evidence. Absolute.
    pub directory: PathBuf,
    /// Where the nodes have configuration, log and data: in the run's directory, or in that of the network it only looks at.
    pub home: PathBuf,
    /// What keys and the network's name follow from: the run's id, unless the nodes go on from what others stored.
    pub origin: String,
    keys: OnceLock<Arc<Keys>>,
}

/// Which key is whose.
#[derive(Clone, Debug)]
pub struct Keys {
    /// By node.
    pub of_nodes: Vec<NodeKey>,
    /// By key.
    pub nodes: BTreeMap<NodeKey, usize>,
}

/// Where a node listens and keeps its data. What it is depends on the backend.
#[derive(Clone, Debug)]
pub struct Place {
    /// The IP address for peers.
    pub listen: String,
    /// The TCP port for peers.
    pub port: u16,
    /// The nodes to dial, as host:port.
    pub peers: Vec<String>,
    /// Names behind which all other nodes stand, as host:port.
    pub seeds: Vec<String>,
    /// The data directory.
    pub data_dir: String,
    /// The IP address of the control interface.
    pub rpc_listen: String,
    /// The TCP port of the control interface.
    pub rpc_port: u16,
}

impl Plan {
    /// Plans a run of an expanded scenario that leaves its evidence below `runs`.
    pub fn new(expanded: Expanded, id: String, runs: &std::path::Path) -> std::io::Result<Self> {
        let Expanded {
            scenario,
            nodes,
            edges,
            faults,
        } = expanded;
        let seed = scenario.seed.expect("an expanded scenario has a seed");
        // As many as the scenario has honest nodes, whoever came and went since: genesis endows them.
        let others = scenario.groups.iter();
        let others = others.filter(|group| !group.role.is_honest());
        let others: u64 = others.map(|group| scenario.count_of(group)).sum();
        let honest = scenario.node_count().saturating_sub(others);
        let senders = scenario.transfers.min(honest);
        let directory = std::path::absolute(runs)?.join(&id);
        Ok(Self {
            senders: (0..senders)
                .map(|index| sender(seed, b"sender", index))
                .collect(),
            load_senders: load_senders(seed, &scenario),
            layers: Vec::new(),
            program: None,
            keys: OnceLock::new(),
            nodes,
            edges,
            faults,
            home: directory.clone(),
            directory,
            origin: id.clone(),
            id,
            scenario,
        })
    }

    /// The directory of a node's configuration and log.
    pub fn node_directory(&self, node: usize) -> PathBuf {
        self.home.join(&self.nodes[node].name)
    }

    /// The file in which a node's log is.
    pub fn node_log(&self, node: usize) -> PathBuf {
        self.node_directory(node).join(Files::LOG)
    }

    /// The keys by which a node's peers know it, where the backend gives them to it.
    pub fn node_keys(&self, node: usize) -> KeyPair {
        let name = &self.nodes[node].name;
        KeyPair::from_seed(format!("{} node {name}", self.origin).as_bytes())
    }

    /// The public halves of all those keys.
    pub fn keys(&self) -> &Arc<Keys> {
        self.keys.get_or_init(|| {
            let key = |node| NodeKey(self.node_keys(node).public().0);
            let of_nodes: Vec<_> = (0..self.nodes.len()).map(key).collect();
            let nodes = of_nodes.iter().enumerate();
            Arc::new(Keys {
                nodes: nodes.map(|(node, key)| (*key, node)).collect(),
                of_nodes,
            })
        })
    }

    /// What a node is told of its links, by receiver, and of its machine.
    pub fn node_conditions(
        &self,
        links: &BTreeMap<usize, Conditions>,
        surroundings: &Surroundings,
    ) -> NodeConditions {
        let Surroundings {
            clock_offset_ms,
            disk_full,
            seed_outage,
        } = *surroundings;
        let key = |node: usize| NodeKey(self.node_keys(node).public().0);
        let peers = links.iter().map(|(&node, link)| (key(node), *link));
        NodeConditions {
            default: Conditions::default(),
            peers: peers.collect(),
            clock_offset_ms,
            disk_full,
            seed_outage,
        }
    }

    /// The text of a node's configuration file.
    pub fn node_toml(&self, node: usize, place: &Place) -> String {
        let scenario = &self.scenario;
        let name = scenario.network.name.clone();
        let max_inbound = self.nodes.len() + LATER_NODES;
        let config = NodeToml {
            port: place.port,
            listen: &place.listen,
            peers: match self.nodes[node].seeded {
                true => &[],
                false => &place.peers,
            },
            seeds: match self.nodes[node].seeded {
                true => &place.seeds,
                false => &[],
            },
            data_dir: &place.data_dir,
            network: NetworkToml {
                section: NetworkSection {
                    name: name.or_else(|| Some(self.origin.clone())),
                    ..scenario.network.clone()
                },
                allocations: self.allocations(),
            },
            mining: self.mining(node),
            peer: PeerToml {
                // The graph is the scenario's: no connections beside it.
                target_outbound: self.nodes[node].dials.len(),
                max_inbound,
            },
            memory: MemoryToml {
                node_mib: NODE_MIB.max(NODE_MIB / 2 + 2 * max_inbound),
            },
            rpc: RpcToml {
                enabled: true,
                listen: &place.rpc_listen,
                port: place.rpc_port,
            },
            metrics: MetricsToml { enabled: false },
            log: LogToml {
                // Blocks are traced from node to node by these lines.
                level: "info,triskel::hop=debug",
                format: "json",
            },
        };
        let mut table =
            toml::Table::try_from(&config).expect("strings, numbers and tables are TOML");
        overlay(&mut table, &self.nodes[node].config);
        toml::to_string(&table).expect("strings, numbers and tables are TOML")
    }

    /// Units that genesis endows accounts with, all together.
    pub fn genesis_supply(&self) -> u64 {
        let allocations = self.allocations();
        allocations.iter().map(|account| account.balance).sum()
    }

    fn mining(&self, node: usize) -> MiningToml {
        let streams = self.scenario.network.preset.streams();
        let hashrate = |stream: &StreamName| self.nodes[node].hashrate_in(*stream);
        let first = hashrate(&streams[0]);
        let differs = |stream: &&StreamName| hashrate(stream) != first;
        MiningToml {
            // All start at once, when every node has a peer.
            enabled: false,
            hashrate: first,
            hashrates: streams
                .iter()
                .filter(differs)
                .map(|stream| (*stream, hashrate(stream)))
                .collect(),
        }
    }

    fn allocations(&self) -> Vec<AllocationToml> {
        let endow = |account: AccountId| AllocationToml {
            account: account.to_string(),
            balance: ENDOWMENT,
        };
        self.endowed().into_iter().map(endow).collect()
    }

    /// The accounts that genesis endows, ascending.
    pub fn endowed(&self) -> Vec<AccountId> {
        let senders = self
            .senders
            .iter()
            .chain(self.load_senders.iter().flatten());
        let mut accounts: Vec<_> = senders.map(KeyPair::public).collect();
        accounts.sort();
        accounts
    }
}

/// A name that no other run has: when, which process, and chance.
pub fn new_run_id() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    let chance = getrandom::u32().unwrap_or_default() & 0xffff;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let process = std::process::id();
    format!("{year}{month:02}{day:02}t{hour:02}{minute:02}{second:02}-{process}-{chance:04x}")
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Lays what a scenario sets for a node over what every node has.
fn overlay(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(over)) => overlay(inner, over),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

fn load_senders(seed: u64, scenario: &Scenario) -> Vec<Vec<KeyPair>> {
    let senders = |(load, count): (usize, u64)| {
        let name = format!("load {load}");
        (0..count)
            .map(|index| sender(seed, name.as_bytes(), index))
            .collect()
    };
    let counts = scenario.load.iter().map(|load| load.senders);
    counts.enumerate().map(senders).collect()
}

fn sender(seed: u64, name: &[u8], index: u64) -> KeyPair {
    let mut text = b"triskel/testnet/".to_vec();
    text.extend(name);
    text.extend(seed.to_le_bytes());
    text.extend(index.to_le_bytes());
    KeyPair::from_seed(&text)
}

#[derive(Serialize)]
struct NodeToml<'a> {
    port: u16,
    listen: &'a str,
    peers: &'a [String],
    seeds: &'a [String],
    data_dir: &'a str,
    network: NetworkToml,
    mining: MiningToml,
    peer: PeerToml,
    memory: MemoryToml,
    rpc: RpcToml<'a>,
    metrics: MetricsToml,
    log: LogToml<'a>,
}

#[derive(Serialize)]
struct NetworkToml {
    #[serde(flatten)]
    section: NetworkSection,
    allocations: Vec<AllocationToml>,
}

#[derive(Serialize)]
struct AllocationToml {
    account: String,
    balance: u64,
}

#[derive(Serialize)]
struct MiningToml {
    enabled: bool,
    hashrate: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hashrates: BTreeMap<StreamName, u64>,
}

#[derive(Serialize)]
struct PeerToml {
    target_outbound: usize,
    max_inbound: usize,
}

#[derive(Serialize)]
struct MemoryToml {
    node_mib: usize,
}

#[derive(Serialize)]
struct RpcToml<'a> {
    enabled: bool,
    listen: &'a str,
    port: u16,
}

#[derive(Serialize)]
struct MetricsToml {
    enabled: bool,
}

#[derive(Serialize)]
struct LogToml<'a> {
    level: &'a str,
    format: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{BASELINE, Setting};

    fn plan_with(settings: &[&str]) -> Plan {
        let settings: Vec<_> = settings
            .iter()
            .map(|text| Setting::parse(text).unwrap())
            .collect();
        let loaded = Scenario::parse(BASELINE, "baseline", &settings).unwrap();
        let expanded = loaded.expand().unwrap();
        Plan::new(expanded, new_run_id(), std::path::Path::new("runs")).unwrap()
    }

    fn plan(nodes: u64) -> Plan {
        plan_with(&[&format!("nodes={nodes}"), "transfers=3"])
    }

    #[test]
    fn every_node_dials_its_neighbour_and_one_earlier_node() {
        let plan = plan(50);
        assert!(plan.nodes[0].dials.is_empty());
        assert_eq!(plan.nodes[1].dials, [0]);
        for (index, node) in plan.nodes.iter().enumerate().skip(2) {
            assert_eq!(node.dials[0], index - 1);
            assert!(node.dials[1] < index - 1);
            assert_eq!(node.dials.len(), 2);
        }
    }

    #[test]
    fn the_same_seed_plans_the_same_network() {
        let (left, right) = (plan(20), plan(20));
        assert_eq!(left.nodes, right.nodes);
        assert_eq!(left.senders[2].public(), right.senders[2].public());
        assert_ne!(left.id, right.id);
    }

    #[test]
    fn a_node_is_told_its_place_and_who_is_endowed() {
        let plan = plan(2);
        let place = Place {
            listen: "127.0.0.1".to_owned(),
            port: 9_001,
            peers: vec!["127.0.0.1:9000".to_owned()],
            seeds: vec!["localhost:9000".to_owned()],
            data_dir: "C:\\data".to_owned(),
            rpc_listen: "127.0.0.1".to_owned(),
            rpc_port: 9_002,
        };
        let text = plan.node_toml(1, &place);
        let value: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(value["data_dir"].as_str(), Some("C:\\data"));
        assert_eq!(value["mining"]["enabled"].as_bool(), Some(false));
        assert_eq!(
            value["network"]["initial_hashrate"].as_integer(),
            Some(10_000)
        );
        assert_eq!(value["network"]["allocations"].as_array().unwrap().len(), 2);
        assert_eq!(value["rpc"]["port"].as_integer(), Some(9_002));
    }

    #[test]
    fn a_group_configures_and_mines_as_it_says() {
        let group = "groups=[{name='miner', share=0.5, streams=['A', 'C'], config={peer.ping_interval_ms=500}}]";
        let plan = plan_with(&["nodes=2", "hashrate=1000", group]);
        let place = Place {
            listen: "127.0.0.1".to_owned(),
            port: 9_001,
            peers: Vec::new(),
            seeds: Vec::new(),
            data_dir: "data".to_owned(),
            rpc_listen: "127.0.0.1".to_owned(),
            rpc_port: 9_002,
        };
        let value: toml::Table = toml::from_str(&plan.node_toml(2, &place)).unwrap();
        assert_eq!(plan.nodes[2].name, "miner");
        assert_eq!(value["mining"]["hashrate"].as_integer(), Some(2_000));
        assert_eq!(
            value["mining"]["hashrates"]["B"].as_integer(),
            Some(0),
            "{value}"
        );
        assert_eq!(value["peer"]["ping_interval_ms"].as_integer(), Some(500));
        assert_eq!(
            value["peer"]["max_inbound"].as_integer(),
            Some(3 + LATER_NODES as i64)
        );
        assert_eq!(value["memory"]["node_mib"].as_integer(), Some(1_024));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(19_782), (2024, 2, 29));
        assert_eq!(date(20_454), (2026, 1, 1));
    }
}
