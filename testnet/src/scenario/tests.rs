//! What scenarios say, and what of them is refused.

use super::*;

fn refusal(text: &str) -> String {
    Scenario::parse(text, "some.toml").unwrap_err().to_string()
}

#[test]
fn the_baseline_is_a_scenario() {
    let scenario = Scenario::parse(BASELINE, "baseline").unwrap();
    assert_eq!(scenario.nodes, 5);
    let expanded = scenario.expand().unwrap();
    assert_eq!(expanded.hashrate, Some(2_000));
    assert_eq!(expanded.network.initial_hashrate, Some(10_000));
}

#[test]
fn an_expanded_scenario_reads_back_as_itself() {
    let text = "name = 'x'\nnodes = 3\n[network.streams.C]\ninterval_ms = 50\n";
    let expanded = Scenario::parse(text, "x").unwrap().expand().unwrap();
    let written = toml::to_string(&expanded).unwrap();
    assert_eq!(Scenario::parse(&written, "y").unwrap(), expanded);
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_what_is_allowed() {
    let error = refusal("name = 'x'\nnodes = 3\nblokcs = 4\n");
    for part in ["some.toml", "line 3", "blokcs", "`blocks`"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let error = refusal("name = 'x'\nnodes = 3\n[network.streams.D]\ninterval_ms = 4\n");
    for part in ["line 3", "`D`", "`A`, `B`, `C`"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_value_outside_its_range_is_refused_with_the_range() {
    let error = refusal("name = 'x'\nnodes = 0\n");
    for part in ["some.toml", "line 2", "nodes = 0", "1 to 1000"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let error = refusal("name = 'x'\nnodes = 1\n[verdict]\nblocks_within_ms = -1\n");
    assert!(
        error.contains("line 4") && error.contains("1 to 86400000"),
        "{error}"
    );
}

#[test]
fn parameters_that_make_no_network_are_refused() {
    let parse = |text: &str| Scenario::parse(text, "x").unwrap().expand();
    let error = parse("name = 'x'\nnodes = 1\n[network.streams.A]\ninterval_ms = 0\n");
    assert!(error.unwrap_err().to_string().contains("interval_ms"));
    let error = parse("name = 'x'\nnodes = 1\nnetwork.preset = 'chain'\n[network.streams.B]\n");
    assert!(error.unwrap_err().to_string().contains("network.streams.B"));
}

#[test]
fn the_command_line_wins_within_the_same_ranges() {
    let baseline = Scenario::parse(BASELINE, "baseline").unwrap();
    let overrides = Overrides {
        nodes: Some(50),
        seed: Some(9),
        ..Overrides::default()
    };
    let scenario = baseline.clone().with(overrides).unwrap();
    assert_eq!(
        (scenario.nodes, scenario.seed, scenario.blocks),
        (50, Some(9), 20)
    );
    assert_eq!(scenario.expand().unwrap().hashrate, Some(200));
    let overrides = Overrides {
        nodes: Some(0),
        ..Overrides::default()
    };
    let error = baseline.with(overrides).unwrap_err().to_string();
    assert_eq!(error, "--nodes is 0, allowed is 1 to 1000");
}

#[test]
fn who_asks_for_many_blocks_waits_for_them() {
    let within_ms = |blocks| {
        let baseline = Scenario::parse(BASELINE, "baseline").unwrap();
        let overrides = Overrides {
            blocks,
            ..Overrides::default()
        };
        baseline.with(overrides).unwrap().verdict.blocks_within_ms
    };
    assert_eq!([within_ms(None), within_ms(Some(660))], [120_000; 2]);
    // 11.1 blocks a second.
    assert_eq!(within_ms(Some(6_660)), 1_200_000);
    assert_eq!(within_ms(Some(1_000_000)), 86_400_000);
}
