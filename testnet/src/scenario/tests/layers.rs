//! Files that extend others, and flags that set keys.

use super::*;

fn set(settings: &[&str]) -> Result<Loaded, ScenarioError> {
    let settings: Vec<_> = settings
        .iter()
        .map(|text| Setting::parse(text).unwrap())
        .collect();
    Scenario::parse(BASELINE, "baseline", &settings)
}

#[test]
fn flags_set_any_key_and_later_ones_win() {
    let loaded = set(&[
        "nodes=50",
        "seed=9",
        "seed=10",
        "topology.regular.degree=6",
        "network.streams.C.interval_ms=50",
        "verdict.start_within=5s",
        "name=two words",
    ])
    .unwrap();
    let scenario = &loaded.scenario;
    assert_eq!(
        (scenario.nodes, scenario.seed, scenario.blocks),
        (50, Some(10), 20)
    );
    assert_eq!(scenario.topology, Topology::Regular { degree: 6 });
    assert_eq!(
        scenario.network.streams[&StreamName::C].interval_ms,
        Some(50)
    );
    assert_eq!(scenario.network.preset, Preset::Tri);
    assert_eq!(scenario.name, "two words");
    assert_eq!(
        loaded.layers[..2],
        ["baseline".to_owned(), "--set nodes=50".to_owned()]
    );
    assert_eq!(loaded.expand().unwrap().scenario.hashrate, Some(200));
}

#[test]
fn a_flag_that_is_not_allowed_is_named() {
    let error = set(&["nodess=3"]).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "scenario --set nodess=3: key `nodess`: there is no such key; allowed are `name`"
        ),
        "{error}"
    );
    assert!(error.ends_with("did you mean `nodes`?"), "{error}");
    let error = set(&["nodes=0"]).unwrap().expand().unwrap_err().to_string();
    assert_eq!(
        error,
        "scenario --set nodes=0: key `nodes`: 0 nodes are not allowed, 1 to 5000 are"
    );
    let error = set(&["nodes=9999"]).unwrap_err().to_string();
    assert!(error.contains("0 to 5000"), "{error}");
    let error = set(&["extends=other.toml"]).unwrap_err().to_string();
    assert!(error.contains("only a file can extend another"), "{error}");
    assert!(Setting::parse("nodes").unwrap_err().contains("KEY=VALUE"));
    let error = Scenario::parse(BASELINE, "baseline", &[Setting::flag("blocks", 0)]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("scenario --blocks 0: key `blocks`"),
        "{error}"
    );
}

#[test]
fn a_flag_reaches_into_a_list() {
    let text = "name = 'x'\nnodes = 3\n[[faults]]\nwhen = '1s'\nwhat = 'kill'\n[[faults]]\nwhen = '2s'\nwhat = 'stop'";
    let setting = [Setting::parse("faults.1.for=30s").unwrap()];
    let loaded = Scenario::parse(text, "some.toml", &setting).unwrap();
    assert_eq!(loaded.scenario.faults[1].lasts, Some(30.seconds()));
    assert_eq!(loaded.scenario.faults[0].lasts, None);
    assert_eq!(loaded.locate("faults[1].for"), "--set faults.1.for=30s");
    assert_eq!(loaded.locate("faults[1].what"), "some.toml:8");
    let none = [Setting::parse("faults=[]").unwrap()];
    assert!(
        Scenario::parse(text, "some.toml", &none)
            .unwrap()
            .scenario
            .faults
            .is_empty()
    );
}

#[test]
fn who_asks_for_many_blocks_waits_for_them() {
    let within = |settings: &[&str]| {
        let expanded = set(settings).unwrap().expand().unwrap();
        expanded.scenario.verdict.blocks_within.unwrap().as_ms()
    };
    assert_eq!([within(&[]), within(&["blocks=660"])], [120_000; 2]);
    // 11.1 blocks a second.
    assert_eq!(within(&["blocks=6660"]), 1_200_000);
    assert_eq!(within(&["blocks=1000000"]), 86_400_000);
    assert_eq!(within(&["blocks=6660", "verdict.blocks_within=1m"]), 60_000);
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let file = directory.path().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_file_changes_what_it_extends() {
    let directory = tempfile::tempdir().unwrap();
    write(
        &directory,
        "base.toml",
        "name = 'base'\nnodes = 3\ntopology = { regular = { degree = 2 } }\n[network]\npreset = 'chain'\nname = 'net'\n\
         [[faults]]\nwhen = '1s'\nwhat = 'kill'\n",
    );
    let file = write(
        &directory,
        "other.toml",
        "extends = 'base.toml'\nname = 'other'\nfaults = []\n[topology.small-world]\ndegree = 2\nrewired = 0.5\n\
         [network]\nname = 'x'\n",
    );
    let loaded = Scenario::read(&file, &[]).unwrap();
    let scenario = &loaded.scenario;
    assert_eq!(
        (
            scenario.name.as_str(),
            scenario.nodes,
            scenario.faults.len()
        ),
        ("other", 3, 0)
    );
    assert_eq!(scenario.network.preset, Preset::Chain);
    assert_eq!(scenario.network.name.as_deref(), Some("x"));
    assert_eq!(
        scenario.topology,
        Topology::SmallWorld {
            degree: 2,
            rewired: 0.5
        }
    );
    assert_eq!(loaded.layers.len(), 2);
    assert!(
        loaded.locate("nodes").ends_with("base.toml:2"),
        "{}",
        loaded.locate("nodes")
    );
    assert!(loaded.locate("name").ends_with("other.toml:2"));
}

#[test]
fn the_file_in_which_a_wrong_value_stands_is_named() {
    let directory = tempfile::tempdir().unwrap();
    write(
        &directory,
        "base.toml",
        "name = 'base'\nnodes = 3\nblocks = 0\n",
    );
    let file = write(
        &directory,
        "other.toml",
        "extends = 'base.toml'\nname = 'other'\n",
    );
    let error = Scenario::read(&file, &[]).unwrap_err().to_string();
    assert!(error.contains("base.toml:3: key `blocks`"), "{error}");
}

#[test]
fn files_that_extend_each_other_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, "a.toml", "extends = 'b.toml'\n");
    write(&directory, "b.toml", "name = 'b'\nextends = 'a.toml'\n");
    let error = Scenario::read(&file, &[]).unwrap_err().to_string();
    assert!(
        error.contains("b.toml:2: key `extends`") && error.contains("extends this file"),
        "{error}"
    );
    let file = write(&directory, "c.toml", "\nextends = 'missing.toml'\n");
    let error = Scenario::read(&file, &[]).unwrap_err().to_string();
    assert!(
        error.contains("c.toml:2: key `extends`") && error.contains("missing.toml"),
        "{error}"
    );
    for depth in 0..10 {
        let text = format!("name = 'x'\nextends = 'deep-{}.toml'\n", depth + 1);
        write(&directory, &format!("deep-{depth}.toml"), &text);
    }
    let error = Scenario::read(&directory.path().join("deep-0.toml"), &[]).unwrap_err();
    assert!(error.to_string().contains("8 deep"), "{error}");
    assert!(matches!(
        Scenario::read(&directory.path().join("no"), &[]),
        Err(ScenarioError::Unreadable { .. })
    ));
}

#[test]
fn a_graph_is_imported_relative_to_its_file() {
    let directory = tempfile::tempdir().unwrap();
    write(
        &directory,
        "graph.csv",
        "from,to\nnode-2,node-1\nnode-3,node-1\n",
    );
    let file = write(
        &directory,
        "a.toml",
        "name = 'a'\nnodes = 3\ntopology = { file = 'graph.csv' }\n",
    );
    let expanded = Scenario::read(&file, &[]).unwrap().expand().unwrap();
    assert_eq!(expanded.nodes[2].dials, [0]);
}
