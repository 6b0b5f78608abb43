//! The proof of the tests: bugs are sown into the node, one after the other, and a scenario catches each. Without a bug all
//! scenarios hold. `make bugs` prints the table.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the bans are for the protocol, and a test may panic anywhere"
)]

use std::path::Path;

use testnet::scenario::Scenario;
use testnet::search::attempt::{Symptom, attempt};
use triskel::protocol::bugs::{Bug, sow};

/// Each scenario, with the bugs that it has to catch.
const SCENARIOS: [(&str, &[Bug]); 9] = [
    (
        "reorganisations",
        &[
            Bug::UndoForgetsAnAccount,
            Bug::UndoForgetsIssued,
            Bug::MempoolKeepsApplied,
            Bug::TemplateNotRenewed,
        ],
    ),
    (
        "parallel",
        &[
            Bug::RewardForRed,
            Bug::FeeOfSkipped,
            Bug::TieByArrival,
            Bug::KnownBlockTakenAgain,
        ],
    ),
    ("parted", &[Bug::ReorganisationDropsTransactions]),
    (
        "late",
        &[
            Bug::OrphanIsFault,
            Bug::HeadersSkipOne,
            Bug::AnswerLacksFirstBlock,
        ],
    ),
    ("kill", &[Bug::AnswerBeforeDisk, Bug::RestartForgetsPending]),
    ("clocks", &[Bug::DateOfOldestParent, Bug::EarlyIsFault]),
    ("hub", &[Bug::DialNotRepeated, Bug::LostPeerNotDialled]),
    ("relay", &[Bug::RelaySkipsPeer]),
    ("pace", &[Bug::DifficultyOfFirstStream]),
];

fn scenario(name: &str) -> Scenario {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeded_bugs");
    let file = directory.join(name).with_extension("toml");
    Scenario::read(&file, &[]).unwrap().scenario
}

/// How a scenario fails with a bug in the node, if it does.
fn try_with(bug: Option<Bug>, scenario: &Scenario) -> Option<Symptom> {
    sow(bug);
    let attempt = attempt(scenario).unwrap();
    sow(None);
    attempt.symptom
}

#[test]
fn every_bug_is_caught_and_nothing_else() {
    let mut escaped = Vec::new();
    let mut caught = 0;
    for (name, bugs) in SCENARIOS {
        let scenario = scenario(name);
        if let Some(symptom) = try_with(None, &scenario) {
            escaped.push(format!("{name} fails without a bug: {symptom}"));
        }
        for &bug in bugs {
            let text = format!("{bug:?}");
            match try_with(Some(bug), &scenario) {
                Some(symptom) => {
                    caught += 1;
                    println!("{text:<32} {name:<16} {symptom:.120}");
                }
                None => escaped.push(format!("{text} is not caught by {name}")),
            }
        }
    }
    println!("{caught} of {} bugs caught", Bug::ALL.len());
    assert!(escaped.is_empty(), "\n{}", escaped.join("\n"));
    assert_eq!(caught, Bug::ALL.len(), "a bug has no scenario");
}
