//! What scenarios come to.

use super::*;

/// Expanding what was expanded changes nothing, and its file says the same.
#[track_caller]
pub(super) fn assert_explicit(expanded: &Expanded) {
    let text = expanded.toml(&["some.toml".to_owned()]);
    let again = Scenario::parse(&text, "expanded", &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        again.expand().unwrap_or_else(|error| panic!("{error}")),
        *expanded,
        "{text}"
    );
}

#[test]
fn an_expanded_scenario_reads_back_as_itself() {
    for text in [
        "",
        "topology = 'ring'\n[links]\ndefault = '3g'",
        "topology = { scale-free = { dials = 2 } }\n[[groups]]\nname = 'far'\ncount = 9\nregions = ['tokyo', 'dublin']\n\
         share = 0.25\n[links]\nregions = true\n[[links.rules]]\nfrom = 'far'\nlink = { loss = 0.1 }",
        "duration = '1m'\n[[faults]]\nwhen = 'poisson 0.2/s'\nwhat = 'kill'\nwho = 'random 1'\nfor = '5s'\n\
         [[faults]]\nwhen = 'every 7s'\nwhat = { partition = 3 }\nfor = '2s'\n\
         [[faults]]\nwhen = 'tips differ'\nwhat = { bridge = 2 }\nwho = 'node-2'\n\
         [[faults]]\nwhen = 'block 9'\nwhat = { degrade = { to = 'half', link = 'dsl' } }\nwho = 'share 0.4'",
    ] {
        assert_explicit(&expand(text));
    }
}

#[test]
fn every_scenario_of_the_catalogue_makes_sense() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        let loaded = Scenario::read(&file, &[]).unwrap_or_else(|error| panic!("{error}"));
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(loaded.scenario.name, name);
        assert!(
            !loaded.scenario.about.is_empty(),
            "{name} says what it shows"
        );
        assert!(loaded.scenario.seed.is_some(), "{name} can be replayed");
        assert_explicit(&loaded.expand().unwrap_or_else(|error| panic!("{error}")));
        names.push(name);
    }
    assert!(names.len() >= 16, "{names:?}");
}

#[test]
fn machines_are_filled_in_turn_and_lost_with_all_that_is_on_them() {
    let expanded = expand(
        "machines = 3\n[[groups]]\nname = 'far'\ncount = 3\nmachines = [3, 2]\n[[faults]]\nwhen = '1s'\nwhat = 'machine-loss'\n\
         who = 'far-2'\nfor = '1s'",
    );
    assert_explicit(&expanded);
    let machines: Vec<_> = expanded.nodes.iter().map(|node| node.machine).collect();
    let expected = [1, 2, 3, 1, 3, 2, 3].map(Some);
    assert_eq!(machines, expected);
    assert_eq!(expanded.faults[0].nodes, [1, 5]);
    assert!(expand("").nodes.iter().all(|node| node.machine.is_none()));
}

#[test]
fn shares_of_the_hash_rate_are_what_they_say() {
    let text = "hashrate = 1000\n[[groups]]\nname = 'big'\ncount = 2\nshare = 0.5\n[[groups]]\nname = 'small'\nshare = 0.1";
    let expanded = expand(text);
    let rates: Vec<_> = expanded
        .nodes
        .iter()
        .map(|node| node.hashrate() / 3)
        .collect();
    assert_eq!(rates, [1_000, 1_000, 1_000, 1_000, 2_500, 2_500, 1_000]);
    assert_eq!(expanded.scenario.network.initial_hashrate, Some(10_000));
    let text =
        "name = 'x'\n[[groups]]\nname = 'a'\nshare = 0.75\n[[groups]]\nname = 'b'\nshare = 0.25";
    let rates: Vec<_> = expand(text).nodes.iter().map(Node::hashrate).collect();
    assert_eq!(rates, [3 * 7_500, 3 * 2_500]);
}

#[test]
fn streams_that_a_group_does_not_mine_begin_as_easy_as_those_who_mine_them_need() {
    let expanded =
        expand("hashrate = 1000\n[[groups]]\nname = 'only-c'\ncount = 4\nstreams = ['C']");
    assert_eq!(expanded.scenario.network.initial_hashrate, Some(4_000));
    assert_eq!(expanded.nodes[4].hashrate_in(StreamName::A), 0);
    assert_eq!(expanded.nodes[4].hashrate_in(StreamName::C), 1_000);
}

#[test]
fn the_ordinary_nodes_come_first_wherever_they_are_described() {
    let expanded = expand("[[groups]]\nname = 'far'\n[[groups]]\nname = 'node'\nhashrate = 7");
    let names: Vec<_> = expanded
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(names, ["node-1", "node-2", "node-3", "node-4", "far"]);
    assert_eq!(expanded.nodes[0].hashrate_in(StreamName::A), 7);
}

#[test]
fn links_have_their_conditions_by_direction() {
    let text = "topology = 'line'\n[[groups]]\nname = 'node'\nregions = ['virginia', 'tokyo']\n\
                [links]\nregions = true\ndefault = { jitter = '1ms' }\n\
                [[links.rules]]\nfrom = 'node-4'\nto = 'node-3'\nlink = 'lossy'\n\
                [[links.rules]]\nfrom = 'node-1'\nto = 'node-2'\nboth = true\nlink = { delay = '2ms' }";
    let expanded = expand(text);
    let [first, second, third] = expanded.edges[..] else {
        panic!("a line of four has three edges");
    };
    assert_eq!((first.outward, first.inward), (first.inward, first.outward));
    assert_eq!(first.outward.delay, 2.milliseconds());
    let far = Region::all()
        .next()
        .unwrap()
        .delay("tokyo".parse().unwrap());
    assert_eq!(
        (second.outward.delay, second.outward.jitter),
        (far, 1.milliseconds())
    );
    assert_eq!((third.outward.loss, third.inward.loss), (0.1, 0.0));
    assert_eq!(third.inward.delay, far);
}

#[test]
fn partitions_cut_what_they_should() {
    let fault = |what: &str| {
        let expanded = expand(&format!(
            "[[faults]]\nwhen = '1s'\nwho = 'node-2'\nwhat = {what}"
        ));
        let occurrence = expanded.faults[0].clone();
        let cuts = (0..4).flat_map(|from| (0..4).map(move |to| (from, to)));
        cuts.filter(|(from, to)| from != to && occurrence.cuts(*from, *to))
            .collect::<Vec<_>>()
    };
    let both = |pairs: &[(usize, usize)]| {
        let mut all: Vec<_> = pairs
            .iter()
            .flat_map(|&(left, right)| [(left, right), (right, left)])
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(fault("'isolate'"), both(&[(1, 0), (1, 2), (1, 3)]));
    assert_eq!(
        fault("{ partition = ['node-1', 'node-3'] }"),
        both(&[(0, 1), (0, 2), (0, 3), (2, 1), (2, 3)])
    );
    assert_eq!(
        fault("{ partition = [['node-1', 'node-2']] }"),
        both(&[(0, 2), (0, 3), (1, 2), (1, 3)])
    );
    assert_eq!(fault("{ bridge = ['node-1'] }"), both(&[(0, 2), (0, 3)]));
    assert_eq!(fault("{ cut = 'node-3' }"), [(1, 2)]);
    assert_eq!(fault("'kill'"), []);
}

#[test]
fn faults_that_repeat_are_drawn_anew_each_time_and_alike_from_one_seed() {
    let text = "duration = '100s'\n[[faults]]\nwhen = 'every 10s'\nwhat = 'kill'\nwho = 'random 1'\nfor = '3s'\n\
                [[faults]]\nwhen = 'poisson 0.5/s'\nwhat = 'pause'\nwho = 'half'\nfor = '1s'";
    let expanded = expand(text);
    let kills: Vec<_> = expanded
        .faults
        .iter()
        .filter(|fault| fault.act == Act::Kill)
        .collect();
    assert_eq!(kills.len(), 9);
    assert_eq!(kills[8].when, When::At(90.seconds()));
    assert!(kills.iter().any(|kill| kill.nodes != kills[0].nodes));
    let pauses = expanded.faults.len() - kills.len();
    assert!((30..=70).contains(&pauses), "{pauses}");
    assert_eq!(expand(text), expanded);
    assert!(expanded.faults_end().unwrap() <= 101.seconds());
    let often = "duration = '1h'\n[[faults]]\nwhen = 'every 10ms'\nwhat = 'kill'";
    assert_refused(often, &["faults[0].when", "at most 10000 faults"]);
}

#[test]
fn who_joins_is_not_there_from_the_start() {
    let expanded = expand("[[faults]]\nwhen = '5s'\nwhat = 'join'\nwho = ['node-3', 'node-4']");
    let late: Vec<_> = expanded.nodes.iter().map(|node| node.joins_later).collect();
    assert_eq!(late, [false, false, true, true]);
}

#[test]
fn what_a_backend_cannot_do_is_named_with_where_it_is_asked_for() {
    let loaded = load(
        "[links]\ndefault = { delay = '1ms' }\n[[groups]]\nname = 'bad'\nrole = 'flooder'\n\
         [[faults]]\nwhen = 'block 3'\nwhat = 'disk-full'\n[verdict.invariants]\nmemory_mib = 100",
    )
    .unwrap();
    let missing = loaded.missing(
        "sim",
        &std::collections::BTreeSet::from([Capability::AtBlock]),
    );
    let texts: Vec<_> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "scenario some.toml:8: key `groups[0].role`: backend sim cannot do this: role flooder",
            "scenario some.toml:5: key `links.default`: backend sim cannot do this: delay of links",
            "scenario some.toml:11: key `faults[0].what`: backend sim cannot do this: fault disk-full",
            "scenario some.toml:13: key `verdict.invariants.memory_mib`: backend sim cannot do this: invariant memory_mib",
        ]
    );
}

#[test]
fn a_graph_is_drawn_and_measured() {
    let expanded = expand(
        "topology = 'star'\n[[groups]]\nname = 'far'\nregions = ['sydney']\nrole = 'flooder'\n[links]\ndefault = 'lan'",
    );
    let dot = expanded.dot();
    assert!(
        dot.contains("\"far\" [label=\"far\\nflooder\\nsydney\"]"),
        "{dot}"
    );
    assert!(
        dot.contains("\"node-2\" -> \"node-1\" [label=\"200us + 100us, 125000000 bytes/s\"]"),
        "{dot}"
    );
    assert!(
        expanded.mermaid().contains("  far -->|\"200us"),
        "{}",
        expanded.mermaid()
    );
    let json = expanded.json();
    assert_eq!(json["graph"]["diameter"], 2);
    assert_eq!(json["graph"]["cut_vertices"], serde_json::json!([0]));
    assert_eq!(json["edges"][0]["outward"]["delay"], "200us");
    let text = expanded.toml(&["a.toml".to_owned()]);
    assert!(text.starts_with("# from a.toml\n# x: 5 nodes"), "{text}");
    assert!(
        text.contains("nodes that would part it: node-1\n"),
        "{text}"
    );
}

#[test]
fn every_example_of_the_manual_makes_sense() {
    let manual = include_str!("../../../README.md");
    let examples = manual.split("```toml\n").skip(1);
    let examples: Vec<_> = examples
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 8);
    for example in examples {
        assert_explicit(&expand(example));
    }
}
