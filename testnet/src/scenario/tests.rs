//! What scenarios say, and what of them is refused.

mod expansion;
mod layers;

use super::*;

/// A scenario of what a text says; of four nodes and one seed, if it has no name of its own.
fn load(text: &str) -> Result<Loaded, ScenarioError> {
    let own = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with('['));
    let text = match own.into_iter().any(|line| line.starts_with("name =")) {
        true => text.to_owned(),
        false => format!("name = 'x'\nnodes = 4\nseed = 1\n{text}"),
    };
    Scenario::parse(&text, "some.toml", &[])
}

#[track_caller]
fn expand(text: &str) -> Expanded {
    load(text)
        .unwrap()
        .expand()
        .unwrap_or_else(|problem| panic!("{problem}"))
}

/// What is said of a text that is no scenario, wherever that is found.
#[track_caller]
fn refusal(text: &str) -> String {
    match load(text) {
        Err(error) => error.to_string(),
        Ok(loaded) => loaded.expand().unwrap_err().to_string(),
    }
}

#[track_caller]
fn assert_refused(text: &str, parts: &[&str]) {
    let error = refusal(text);
    for part in parts {
        assert!(error.contains(part), "{part:?} in {error:?}");
    }
}

#[test]
fn the_baseline_is_a_scenario() {
    let loaded = Scenario::parse(BASELINE, "baseline", &[]).unwrap();
    assert_eq!(loaded.scenario.nodes, 5);
    let expanded = loaded.expand().unwrap();
    assert_eq!(expanded.scenario.hashrate, Some(2_000));
    assert_eq!(expanded.scenario.network.initial_hashrate, Some(10_000));
    assert_eq!(expanded.edges.len(), 7);
    assert!(expanded.scenario.needs().is_empty());
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_what_is_allowed() {
    assert_refused(
        "name = 'x'\nnodes = 3\nblokcs = 4\n",
        &[
            "scenario some.toml:3: key `blokcs`: ",
            "`blocks`",
            "did you mean `blocks`?",
        ],
    );
    assert_refused(
        "name = 'x'\nnodes = 3\n[network.streams.D]\ninterval_ms = 4\n",
        &[
            "some.toml:3: key `network.streams.D`",
            "one of `A`, `B`, `C`",
        ],
    );
    assert_refused(
        "name = 'x'\nnodes = 3\n[[faults]]\nwhen = '1s'\nwhat = 'kill'\nwhom = 'all'",
        &[
            "some.toml:6: key `faults[0].whom`: there is no such key; allowed are `when`, `what`, `who`, `for`",
        ],
    );
    assert_refused(
        "blocks = 3\nhashrate = 3\n[verdict]\nname = 3",
        &["some.toml:7: key `verdict.name`"],
    );
    assert_refused(
        "[[groups]]\nrole = 'honest'",
        &["some.toml:4: key `groups", "`name` is missing"],
    );
    assert_refused("name = 'x'\nnodes = ", &["some.toml", "line 2"]);
}

#[test]
fn a_value_that_is_not_allowed_is_refused_with_what_is() {
    for (text, parts) in [
        (
            "blocks = 0",
            &["some.toml:4: key `blocks`: 0 is not allowed here, a whole number, 1 to 1000000, is"]
                [..],
        ),
        (
            "blocks = 'many'",
            &["\"many\" is not allowed here, a whole number"],
        ),
        (
            "[verdict]\nblocks_within = -1",
            &["some.toml:5: key `verdict.blocks_within`: -1 is not allowed"],
        ),
        (
            "[verdict]\nblocks_within = '20'",
            &["`verdict.blocks_within`: \"20\" is not allowed here, a time with its unit"],
        ),
        (
            "[links.profiles.x]\nloss = 1.5",
            &["some.toml:5: key `links.profiles.x.loss`: 1.5 is not allowed here, 0 to 1 is"],
        ),
        (
            "[links]\ndefault = 'dls'",
            &[
                "some.toml:5: key `links.default`: there is no profile `dls`",
                "did you mean `dsl`?",
            ],
        ),
        (
            "topology = 'rign'",
            &[
                "some.toml:4: key `topology`: `rign` is not allowed here, one of `line`",
                "`ring`?",
            ],
        ),
        (
            "topology = 'regular'",
            &["key `topology`: `degree` is missing: { regular = { ... } }"],
        ),
        (
            "topology = { ring = 1 }",
            &["key `topology`: `ring` takes no value"],
        ),
        (
            "topology = { regular = { degree = 1 } }",
            &["key `topology.regular.degree`: 1 is not allowed here"],
        ),
        (
            "topology = { regular = { degree = 5 } }",
            &["key `topology`: 4 nodes cannot have 5 neighbours each"],
        ),
        (
            "topology = { edges = [['node-1', 'node-9']] }",
            &["some.toml:4: key `topology.edges[0]`: no node is called `node-9`"],
        ),
        (
            "topology = { edges = [['node-1', 'node-2']] }",
            &["no way leads from node-1 to node-3"],
        ),
        (
            "topology = { file = 'missing.csv' }",
            &["key `topology.file`", "missing.csv"],
        ),
        ("[network.streams.A]\ninterval_ms = 0", &["interval_ms"]),
        (
            "network.preset = 'chain'\n[network.streams.B]",
            &["some.toml:5: key `network.streams.B`", "it has A"],
        ),
        (
            "hashrate = 2026-01-01",
            &["some.toml:4: key `hashrate`: a datetime is not allowed here"],
        ),
        ("nodes = 0\nname = ''", &["a name is missing"]),
        (
            "name = 'x'\nnodes = 0",
            &["some.toml:2: key `nodes`: 0 nodes are not allowed, 1 to 5000 are"],
        ),
        (
            "[[load]]\narrivals = { poisson = 0 }",
            &["key `load[0].arrivals.poisson`: 0 is not allowed here, more is"],
        ),
        (
            "[[load]]\narrivals = { poisson = 1 }\nwho = 'nobody'",
            &["some.toml:6: key `load[0].who`: no node and no group"],
        ),
    ] {
        assert_refused(text, parts);
    }
}

#[test]
fn groups_are_checked() {
    let group = |rest: &str| format!("[[groups]]\nname = 'g'\n{rest}");
    for (text, parts) in [
        (
            group("share = 1.0"),
            &["groups[0].share", "less than 1 is allowed"][..],
        ),
        (
            group("share = 0.5\nhashrate = 5"),
            &["some.toml:7: key `groups[0].hashrate`"],
        ),
        (group("count = 0"), &["groups[0].count", "1 to 5000"]),
        (
            group("machines = [2]"),
            &["groups[0].machines", "the key `machines` must say"],
        ),
        (
            format!("machines = 2\n{}", group("machines = [1, 3]")),
            &["groups[0].machines", "there is no machine 3"],
        ),
        (
            group("count = 5_000"),
            &["groups", "5004 nodes are not allowed"],
        ),
        (
            group("regions = ['tokio']"),
            &[
                "some.toml:6: key `groups[0].regions[0]`",
                "did you mean `tokyo`?",
            ],
        ),
        (
            group("role = 'selfish'"),
            &["key `groups[0].role`", "`selfish-miner`"],
        ),
        (
            group("streams = ['D']"),
            &["key `groups[0].streams[0]`", "`A`, `B`, `C`"],
        ),
        (
            group("[groups.config.peer]\npign_interval_ms = 5"),
            &["groups[0].config.peer.pign_interval_ms", "did you mean"],
        ),
        (
            group("\n[[groups]]\nname = 'g'"),
            &["some.toml:8: key `groups[1].name`: there are two groups called g"],
        ),
        ("[[groups]]\nname = 'G'".to_owned(), &["lower-case letters"]),
        (
            "[[groups]]\nname = 'all'".to_owned(),
            &["a meaning of its own"],
        ),
        (
            "[[groups]]\nname = 'node'\ncount = 3".to_owned(),
            &["the key `nodes`"],
        ),
        (
            "[[groups]]\nname = 'node'\nhashrate = 0".to_owned(),
            &["no node mines any stream"],
        ),
        (
            "[[groups]]\nname = 'a-1'\n[[groups]]\nname = 'a'\ncount = 2".to_owned(),
            &["would be called a-1"],
        ),
        (
            "[[groups]]\nname = 'node-1'\ncount = 2".to_owned(),
            &["would be called node-1"],
        ),
    ] {
        assert_refused(&text, parts);
    }
}

#[test]
fn faults_are_checked() {
    let fault = |rest: &str| format!("[[faults]]\n{rest}");
    for (rest, parts) in [
        (
            "when = '1s'\nwhat = 'machine-loss'",
            &["key `faults[0].what`: nothing says on which machines"][..],
        ),
        (
            "when = '1s'\nwhat = 'kill'\nwho = 'machine 1'",
            &["key `faults[0].who`: no node is on machine 1"],
        ),
        (
            "when = 'soon'\nwhat = 'kill'",
            &[
                "some.toml:5: key `faults[0].when`: `soon` is not known",
                "30s",
            ],
        ),
        (
            "when = '1s'\nwhat = 'kil'",
            &["some.toml:6: key `faults[0].what`", "did you mean `kill`?"],
        ),
        (
            "when = '1s'\nwhat = 'kill'\nwho = 'node-7'",
            &["some.toml:7: key `faults[0].who`: no node and no group is called `node-7`"],
        ),
        (
            "when = '1s'\nwhat = 'kill'\nwho = 'random 7'",
            &["7 nodes are asked for, 4 are there"],
        ),
        (
            "when = '1s'\nwhat = 'kill'\nwho = 'the others'",
            &["allowed are all, honest, half"],
        ),
        (
            "when = '1s'\nwhat = 'leave'\nfor = '2s'",
            &["some.toml:7: key `faults[0].for`: leave happens once and for all"],
        ),
        (
            "when = 'every 2s'\nwhat = 'kill'",
            &["`duration`", "not set"],
        ),
        ("when = 'faults over'\nwhat = 'kill'", &["for checks alone"]),
        (
            "when = '1s'\nwhat = 'partition'",
            &["`partition` needs a value"],
        ),
        (
            "when = '1s'\nwhat = { partition = 9 }",
            &["key `faults[0].what.partition`: 4 nodes do not make 9 parts"],
        ),
        (
            "when = '1s'\nwhat = { partition = 1 }",
            &["key `faults[0].what.partition`: 1 is not allowed here, a number of parts"],
        ),
        (
            "when = '1s'\nwhat = { partition = ['node', 'node-1'] }",
            &["node-1 is in two parts"],
        ),
        (
            "when = '1s'\nwhat = { partition = ['node'] }",
            &["one part only"],
        ),
        (
            "when = '1s'\nwhat = { kill = 1, stop = 2 }",
            &["one key is wanted, there are 2"],
        ),
        (
            "when = '1s'\nwhat = { degrade = { link = 'x' } }",
            &["key `faults[0].what.degrade.link`: there is no profile `x`"],
        ),
        (
            "when = '1s'\nwhat = { degrade = { link = { los = 1 } } }",
            &["key `faults[0].what.degrade.link.los`", "`loss`?"],
        ),
        (
            "when = '1s'\nwhat = { clock-skew = '2' }",
            &["key `faults[0].what.clock-skew`", "a time with its unit"],
        ),
        (
            "when = 'peers < 2 on nobody'\nwhat = 'kill'",
            &["some.toml:5: key `faults[0].when`: no node and no group"],
        ),
        ("when = '1s'\nwhat = 'join'", &["somebody must be there"]),
    ] {
        assert_refused(&fault(rest), parts);
    }
}

#[test]
fn checks_are_checked() {
    let check = |rest: &str| format!("[[checks]]\n{rest}");
    for (rest, part) in [
        ("always = 'tips ='", "key `checks[0].always`"),
        ("eventually = 'tips == 1'", "`within` is missing"),
        (
            "always = 'tips == 1'\nwithin = '1s'",
            "beside `eventually` alone",
        ),
        (
            "always = 'tips == 1'\nnever = 'tips == 2'",
            "exactly one of",
        ),
        ("always = 'tips == 1'\nafter = 'every 2s'", "one moment"),
        ("always = 'peers > 1 on zebra'", "called `zebra`"),
    ] {
        assert_refused(&check(rest), &[part, "some.toml:"]);
    }
    let expanded = expand(&check(
        "eventually = 'tips == 1'\nwithin = '5s'\nafter = 'faults over'",
    ));
    let text = expanded.scenario.checks[0].to_string();
    assert_eq!(text, "eventually tips == 1 within 5s after faults over");
}

#[test]
fn a_program_makes_the_same_scenario_as_a_file() {
    let text = "
        name = 'storm'
        nodes = 5
        seed = 7
        blocks = 50
        duration = '1m'
        transfers = 10
        topology = { regular = { degree = 4 } }

        [[groups]]
        name = 'liar'
        count = 2
        role = 'timestamp-liar'
        share = 0.2
        streams = ['A']

        [links]
        default = 'dsl'

        [[load]]
        arrivals = { poisson = 20.0 }
        for = '30s'

        [[faults]]
        when = '10s'
        what = { partition = ['half', 'liar'] }
        for = '20s'

        [[faults]]
        when = 'block 20'
        what = { clock-jump = '-2s' }
        who = ['node-1', 'random 1 of node']

        [verdict]
        convergence_within = '30s'
        invariants = { no_panic = true }

        [[checks]]
        sometimes = 'tips differ'
    ";
    let program = Scenario::new("storm")
        .nodes(5)
        .seed(7)
        .blocks(50)
        .lasting(1.minutes())
        .transfers(10)
        .topology(Topology::Regular { degree: 4 })
        .group(
            Group::new("liar")
                .count(2)
                .role(Role::TimestampLiar)
                .share(0.2)
                .streams([StreamName::A]),
        )
        .links(Links {
            default: Some("dsl".into()),
            ..Links::default()
        })
        .load(Load::new(Arrivals::Poisson(20.0)).lasting(30.seconds()))
        .fault(Fault::at(10.seconds(), Action::partition(["half", "liar"])).lasting(20.seconds()))
        .fault(
            Fault::new(
                When::Block(20),
                Action::ClockJump(-Offset::from(2.seconds())),
            )
            .of(["node-1", "random 1 of node"]),
        )
        .verdict(Terms {
            convergence_within: 30.seconds(),
            invariants: Invariants {
                no_panic: Some(true),
                ..Invariants::default()
            },
            ..Terms::default()
        })
        .check(Claim::Sometimes, "tips differ")
        .unwrap();
    assert_eq!(load(text).unwrap().scenario, program);
    let again = Scenario::parse(&program.to_toml(), "again", &[]).unwrap();
    assert_eq!(again.scenario, program);
}

#[test]
fn a_schema_describes_every_key() {
    let schema = schema().to_string();
    for part in [
        "\"extends\"",
        "\"small-world\"",
        "\"clock-skew\"",
        "\"tokyo\"",
        "\"maximum\":5000",
        "What it shows",
    ] {
        assert!(schema.contains(part), "{part}");
    }
}
