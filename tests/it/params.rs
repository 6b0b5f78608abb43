//! Parameters that make a network, and those that do not.

use triskel::protocol::chain::params::{Network, Params, ParamsError};

use super::memory::params;

#[test]
fn parameters_out_of_range_make_no_network() {
    let refused = |change: fn(&mut Params), key: &str| {
        let mut params = params(2);
        change(&mut params);
        match Network::new(params) {
            Err(ParamsError::Range { key: found, .. }) => assert_eq!(found, key),
            Err(ParamsError::Bits(..)) => assert_eq!(key, "bits"),
            Ok(_) => panic!("{key} was not refused"),
        }
    };
    refused(|params| params.name.clear(), "name");
    refused(|params| params.name = "n".repeat(65), "name");
    refused(
        |params| params.address_prefix = "Tsk".to_owned(),
        "address_prefix",
    );
    refused(|params| params.max_parents = 0, "max_parents");
    refused(|params| params.max_parents = 17, "max_parents");
    refused(|params| params.k = 1, "k");
    refused(|params| params.streams.clear(), "streams");
    refused(
        |params| params.streams.extend(Params::chain().streams),
        "streams",
    );
    refused(|params| params.streams[1].interval_ms = 0, "interval_ms");
    refused(
        |params| params.streams[1].half_life_ms = u64::MAX,
        "half_life_ms",
    );
    refused(
        |params| params.streams[1].half_life_ms = params.streams[1].interval_ms - 1,
        "half_life_ms",
    );
    refused(
        |params| params.streams[0].max_transactions = 10_001,
        "max_transactions",
    );
    refused(|params| params.merge_limit = 1, "merge_limit");
    refused(|params| params.merge_depth = 0, "merge_depth");
    refused(|params| params.finality_depth = 3_599, "finality_depth");
    refused(
        |params| params.streams[0].initial_bits = 0x2100_ffff,
        "initial_bits",
    );
    refused(|params| params.streams[2].limit_bits = 0x0112_3456, "bits");
    refused(|params| params.allocations.reverse(), "allocations");
    refused(
        |params| params.allocations[1] = params.allocations[0].clone(),
        "allocations",
    );
    refused(
        |params| params.allocations[0].balance = u64::MAX / 2,
        "allocations",
    );
}
