//! What nodes say of themselves, and whether they agree.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triskel::protocol::chain::id::{BlockId, StateDigest};
use triskel::rpc::Status;

/// What a node says of itself, as far as a verdict needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeState {
    /// The number of its tip: blocks in its order since genesis.
    pub blocks: u64,
    /// Of these, red.
    #[serde(default)]
    pub red: u64,
    /// The youngest block of its selected chain.
    #[schemars(with = "String")]
    pub tip: BlockId,
    /// What its next block names as parents: all that is ordered is in their past, so where they are equal the orders are.
    #[schemars(with = "Vec<String>")]
    pub parents: Vec<BlockId>,
    /// The digest of all accounts.
    #[schemars(with = "String")]
    pub state_digest: StateDigest,
    /// Transactions applied since genesis.
    pub transactions: u64,
    /// Transactions that wait.
    #[serde(default)]
    pub mempool: u64,
    /// Sessions that stand.
    pub peers: u32,
    /// Whether it mines.
    pub mining: bool,
    /// Blocks that it mined, by stream.
    pub mined: BTreeMap<String, u64>,
    /// What its miner holds, in units.
    pub balance: u64,
}

impl From<&Status> for NodeState {
    fn from(status: &Status) -> Self {
        Self {
            blocks: status.blocks,
            red: status.red,
            tip: status.tip.id,
            parents: status.parents.clone(),
            state_digest: status.state_digest,
            transactions: status.transactions,
            mempool: status.mempool_transactions,
            peers: status.peers_inbound + status.peers_outbound,
            mining: status.mining,
            mined: status.mined.clone(),
            balance: status.balance,
        }
    }
}

/// What all nodes say, in the order of their numbers; `None` for a node that does not answer.
pub type States = Vec<Option<NodeState>>;

/// The nodes that are at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Their tip's number.
    pub blocks: u64,
    /// Their tip.
    #[schemars(with = "String")]
    pub tip: BlockId,
    /// Their state.
    #[schemars(with = "String")]
    pub state_digest: StateDigest,
    /// The nodes, as indices, ascending.
    pub nodes: Vec<usize>,
}

/// Which nodes are where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// The places, the one with most nodes first.
    pub groups: Vec<Group>,
    /// The nodes that do not answer.
    pub silent: Vec<usize>,
}

impl Agreement {
    /// Sorts nodes by number, order and digest: equal numbers alone are no agreement.
    pub fn of(states: &[Option<NodeState>]) -> Self {
        let mut places: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        let mut silent = Vec::new();
        for (node, state) in states.iter().enumerate() {
            match state {
                Some(state) => places
                    .entry((state.blocks, state.tip, &state.parents, state.state_digest))
                    .or_default()
                    .push(node),
                None => silent.push(node),
            }
        }
        let group = |((blocks, tip, _, state_digest), nodes)| Group {
            blocks,
            tip,
            state_digest,
            nodes,
        };
        let mut groups: Vec<_> = places.into_iter().map(group).collect();
        // Of equally large groups the one with more blocks leads.
        groups.sort_by_key(|group| std::cmp::Reverse((group.nodes.len(), group.blocks)));
        Self { groups, silent }
    }

    /// As [`of`](Self::of), without these nodes, whatever they say.
    pub fn among(states: &[Option<NodeState>], left_out: &BTreeSet<usize>) -> Self {
        let judged = states.iter().enumerate().map(|(node, state)| {
            let state = state.as_ref().filter(|_| !left_out.contains(&node));
            state.cloned()
        });
        let mut agreement = Self::of(&judged.collect::<Vec<_>>());
        agreement.silent.retain(|node| !left_out.contains(node));
        agreement
    }

    /// Whether all nodes answer and are at one place.
    pub fn holds(&self) -> bool {
        self.groups.len() == 1 && self.silent.is_empty()
    }

    /// The nodes that are not where most are, ascending.
    pub fn differing(&self) -> Vec<usize> {
        let others = self.groups.iter().skip(1).flat_map(|group| &group.nodes);
        let mut nodes: Vec<_> = others.chain(&self.silent).copied().collect();
        nodes.sort_unstable();
        nodes
    }

    /// The state of agreement in half a line.
    pub fn summary(&self) -> String {
        let silent = match self.silent.len() {
            0 => String::new(),
            silent => format!(", {silent} silent"),
        };
        match self.groups.len() {
            1 => format!("all on one tip{silent}"),
            tips => format!("{tips} different tips or states{silent}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn state(blocks: u64, tip: u8, digest: u8) -> Option<NodeState> {
        Some(NodeState {
            blocks,
            red: 0,
            tip: BlockId([tip; 32]),
            parents: vec![BlockId([tip; 32])],
            state_digest: StateDigest([digest; 32]),
            transactions: 7,
            mempool: 0,
            peers: 2,
            mining: false,
            mined: BTreeMap::from([("A".to_owned(), 1), ("B".to_owned(), 20)]),
            balance: 123 * 100_000_000 + 45_000_000,
        })
    }

    #[test]
    fn nodes_agree_on_number_tip_and_digest_together() {
        assert!(Agreement::of(&[state(9, 1, 1), state(9, 1, 1)]).holds());
        assert!(!Agreement::of(&[state(9, 1, 1), state(9, 2, 1)]).holds());
        assert!(!Agreement::of(&[state(9, 1, 1), state(9, 1, 2)]).holds());
        assert!(!Agreement::of(&[state(9, 1, 1), state(8, 1, 1)]).holds());
    }

    #[test]
    fn a_silent_node_breaks_agreement() {
        let agreement = Agreement::of(&[state(9, 1, 1), None, state(9, 1, 1)]);
        assert!(!agreement.holds());
        assert_eq!(agreement.differing(), [1]);
        assert_eq!(agreement.summary(), "all on one tip, 1 silent");
        assert!(!Agreement::of(&[]).holds());
    }

    #[test]
    fn the_largest_group_leads_and_the_others_differ() {
        let states = [
            state(9, 1, 1),
            state(10, 2, 2),
            state(10, 2, 2),
            None,
            state(7, 3, 3),
        ];
        let agreement = Agreement::of(&states);
        let nodes: Vec<_> = agreement.groups.iter().map(|group| &group.nodes).collect();
        assert_eq!(nodes, [&vec![1, 2], &vec![0], &vec![4]]);
        assert_eq!(agreement.differing(), [0, 3, 4]);
        assert_eq!(agreement.summary(), "3 different tips or states, 1 silent");
    }
}
