//! The end of the order as a DAG: what is read of a store, and how it is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use proptest::prelude::*;
use triskel::protocol::chain::id::BlockId;
use triskel::protocol::chain::params::{Network, Params};
use triskel::protocol::machine::io::Command;
use triskel::rpc::dag;
use triskel::rpc::{Dag, DagBlock, DagColour, drawing};
use triskel::sim::map::REGIONS;
use triskel::sim::{World, WorldConfig, simulated};

use super::node::Member;

fn id(number: u64) -> BlockId {
    BlockId(*blake3::hash(&number.to_be_bytes()).as_bytes())
}

/// A block that continues the first of its parents.
fn block(number: u64, stream: &str, parents: &[u64]) -> DagBlock {
    DagBlock {
        id: id(number),
        number: Some(number),
        stream: stream.to_owned(),
        parents: parents.iter().copied().map(id).collect(),
        selected_parent: id(parents.first().copied().unwrap_or(number)),
        colour: Some(DagColour::Blue),
        chain: false,
        timestamp_ms: 1_767_225_600_000 + 100 * number,
        miner: Some("tsk1x".to_owned()),
        transactions: Some(2),
    }
}

/// Six blocks in the order, three of them in the chain, one red, one that the next will merge; and one beside.
fn small() -> Dag {
    let mut blocks = vec![
        block(0, "A", &[]),
        block(1, "C", &[0]),
        block(2, "C", &[0]),
        block(3, "B", &[0]),
        block(4, "A", &[1, 2, 3]),
        block(5, "C", &[1, 2]),
    ];
    for chain in [0, 1, 4] {
        blocks[chain].chain = true;
    }
    blocks[3].colour = Some(DagColour::Red);
    let mut beside = block(9, "C", &[3]);
    (beside.number, beside.colour) = (None, None);
    Dag {
        network: "small".to_owned(),
        k: 1,
        blocks,
        beside: vec![beside],
        parents: vec![id(4), id(5)],
    }
}

/// Elements and texts of XML without declarations, comments and sections; panics where it is not well-formed.
fn well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut roots = 0;
    let text = |text: &str| {
        for rest in text.split('&').skip(1) {
            let (name, _) = rest.split_once(';').expect("an entity ends");
            assert!(["amp", "lt", "gt", "quot"].contains(&name), "&{name};");
        }
        let strange = |letter: char| letter.is_control() && letter != '\n';
        assert!(!text.contains(['>', '\u{fffe}', '\u{ffff}']) && !text.contains(strange));
    };
    let mut pieces = xml.split('<');
    assert_eq!(pieces.next(), Some(""));
    for piece in pieces {
        let (tag, after) = piece.split_once('>').expect("a tag ends");
        text(after);
        assert!(!open.is_empty() || roots == 0, "a second root");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            roots += usize::from(open.is_empty());
            continue;
        }
        let (tag, is_empty) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{name}");
        let mut names = BTreeSet::new();
        let mut rest = attributes;
        while let Some((name, value)) = rest.split_once("=\"") {
            assert!(names.insert(name.trim()), "{name} twice in {tag}");
            let (value, after) = value.split_once('"').expect("a value ends");
            text(value);
            rest = after;
        }
        assert_eq!(rest.trim(), "", "{tag}");
        if !is_empty {
            open.push(name);
        }
    }
    assert!(open.is_empty() && roots == 1, "{open:?} are open");
}

/// The blocks of a picture, those of the legend left out.
fn drawn(svg: &str) -> Vec<&str> {
    let lines = svg.lines().filter(|line| line.contains("class=\"block "));
    lines.filter(|line| line.contains("<title>")).collect()
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn a_picture_shows_every_block_and_what_it_is() {
    let svg = drawing::svg(&small());
    well_formed(&svg);
    assert_eq!(svg, drawing::svg(&small()));
    let blocks = drawn(&svg).join("\n");
    for (class, wanted) in [
        ("chain", 3),
        ("blue", 2),
        ("red", 1),
        ("beside", 1),
        ("next", 1),
    ] {
        assert_eq!(count(&blocks, &format!("class=\"block {class}")), wanted);
    }
    // The merge set of block 4, and what the next block will merge.
    assert_eq!(count(&svg, "<g class=\"merge "), 2);
    for part in [
        "small: blocks 0 to 5",
        "4 merges 2, 3",
        "next merges 5",
        "stream B, red, merged without reward",
        "found at 00:00:00.300 UTC",
    ] {
        assert!(svg.contains(part), "{part} is not in {svg}");
    }
    // From 1 to 0, from 4 to 1, and dashed from the next block to 4.
    assert_eq!(count(&svg, "class=\"edge bold\""), 2);
    assert_eq!(count(&svg, "class=\"edge bold to-come\""), 1);
}

#[test]
fn dot_has_the_same_blocks_lines_and_merge_sets() {
    let dot = drawing::dot(&small());
    assert!(dot.starts_with("digraph dag {") && dot.ends_with("}\n"));
    assert_eq!(count(&dot, "{"), count(&dot, "}"));
    assert_eq!(count(&dot, " [label="), 8);
    assert_eq!(count(&dot, " -> "), 11);
    assert_eq!(count(&dot, "subgraph cluster_"), 2);
    assert!(dot.contains("\"4\" -> \"1\" [color=\"#1f2328\", penwidth=3"));
    assert!(dot.contains("label=\"× 3\"") && dot.contains("dashed"));
}

#[test]
fn a_table_has_a_line_for_each_block() {
    let table = drawing::table(&small());
    let lines: Vec<_> = table.lines().skip(3).collect();
    let start = |index: usize| lines[index].chars().take(20).collect::<String>();
    assert_eq!(start(0), "number  A B C  merge");
    let marks = [
        "     0  ● · ·       ",
        "     1  · · ●       ",
        "     2  · · ○  ┐    ",
        "     3  · × ·  │    ",
        "     4  ● · ·  ┘    ",
        "     5  · · ○  ┐    ",
        "     –  · · –       ",
    ];
    for (index, marks) in marks.iter().enumerate() {
        assert_eq!(start(index + 1), *marks);
    }
    assert!(lines[5].contains("1* 2 3") && lines[7].contains("3*"));
}

#[test]
fn nothing_that_a_node_answers_leaves_its_place() {
    let mut dag = small();
    dag.network = "<script>&\"]]>\u{1b}[31m\u{0}\u{ffff}\\\n".to_owned();
    dag.blocks[2].stream = "</svg>\"\\\u{7}".to_owned();
    dag.blocks[3].miner = Some("\"; } -- <".to_owned());
    let svg = drawing::svg(&dag);
    well_formed(&svg);
    assert!(!svg.contains("<script"));
    let dot = drawing::dot(&dag);
    let quotes = count(&dot, "\"") - count(&dot, "\\\"");
    assert!(quotes.is_multiple_of(2) && !dot.contains('\u{1b}'));
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    assert!(!drawing::table(&dag).contains(is_control));
}

#[test]
fn a_dag_without_blocks_is_drawn() {
    let mut dag = small();
    for list in [&mut dag.blocks, &mut dag.beside] {
        list.clear();
    }
    well_formed(&drawing::svg(&dag));
    assert!(drawing::dot(&dag).ends_with("}\n"));
    assert!(drawing::table(&dag).contains("no blocks"));
}

fn number(shape: &str, name: &str) -> i64 {
    let (_, rest) = shape.split_once(&format!(" {name}=\"")).unwrap();
    rest.split_once('"').unwrap().0.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_block_hides_another(shape in prop::collection::vec((prop::collection::vec(1u64..9, 0..4), 0usize..3, 0u8..4), 1..120)) {
        let mut dag = small();
        (dag.blocks, dag.beside) = (Vec::new(), Vec::new());
        for (index, (steps, stream, kind)) in shape.iter().enumerate() {
            let index = index as u64;
            let parents: BTreeSet<u64> = steps.iter().filter_map(|step| index.checked_sub(*step)).collect();
            let parents: Vec<u64> = parents.into_iter().rev().collect();
            let mut block = block(index, ["A", "B", "C"][*stream], &parents);
            if *kind == 0 {
                block.colour = Some(DagColour::Red);
            }
            dag.blocks.push(block);
        }
        // The chain of the last block.
        let mut at = dag.blocks.len() - 1;
        while !dag.blocks[at].chain {
            (dag.blocks[at].chain, dag.blocks[at].colour) = (true, Some(DagColour::Blue));
            let parent = dag.blocks[at].selected_parent;
            at = dag.blocks.iter().position(|block| block.id == parent).unwrap();
        }
        let svg = drawing::svg(&dag);
        well_formed(&svg);
        let blocks = drawn(&svg);
        prop_assert_eq!(blocks.len(), dag.blocks.len() + 1);
        let mut columns: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for block in blocks {
            columns.entry(number(block, "x")).or_default().push(number(block, "y"));
            prop_assert!(number(block, "y") > 0);
        }
        for tops in columns.values_mut() {
            tops.sort_unstable();
            prop_assert!(tops.windows(2).all(|pair| pair[1] - pair[0] > 22), "{:?}", tops);
        }
    }
}

fn network(params: Params, nodes: u64) -> Arc<Network> {
    let mut params = simulated(params);
    for stream in &mut params.streams {
        stream.tune(2_000 * nodes);
    }
    Arc::new(Network::new(params).unwrap())
}

#[test]
fn what_is_read_of_a_store_is_the_order() {
    let nodes = REGIONS.len();
    let network = network(Params::tri(), nodes as u64);
    let mut config = WorldConfig::new(2, Arc::clone(&network), nodes);
    config.regions = (0..nodes).collect();
    let mut world = World::new(config).unwrap();
    world.run_for(20_000).unwrap();
    let tip = world.tip(0).unwrap().clone();
    let all = dag::last(world.store(0), &network, dag::MAX_DAG_BLOCKS).unwrap();
    assert_eq!(all.blocks.len() as u64, tip.number + 1);
    assert_eq!((all.network.as_str(), all.k), ("tri", network.params().k));
    assert_eq!(all.parents, tip.parents);
    let mut chain = network.id();
    let mut known = BTreeSet::new();
    for (number, block) in all.blocks.iter().enumerate() {
        assert_eq!(block.number, Some(number as u64));
        assert!(block.parents.iter().all(|parent| known.contains(parent)));
        known.insert(block.id);
        if block.chain {
            assert_eq!(block.selected_parent, chain);
            chain = block.id;
        }
    }
    assert_eq!(chain, tip.id);
    let merged = all.blocks.iter().filter(|block| !block.chain).count();
    assert!(merged > 10, "{merged} merged blocks: too few for a test");
    let few = dag::last(world.store(0), &network, 7).unwrap();
    assert_eq!(few.blocks, all.blocks[all.blocks.len() - 7..]);
    well_formed(&drawing::svg(&all));
}

#[test]
fn blocks_that_lost_stand_beside() {
    let network = network(Params::chain(), 4);
    let mut world = World::new(WorldConfig::new(1, Arc::clone(&network), 4)).unwrap();
    world.partition(&[0, 0, 1, 1]).unwrap();
    world.run_for(20_000).unwrap();
    world.heal().unwrap();
    for node in 0..4 {
        world.mine(node, false).unwrap();
    }
    assert!(world.run_until(60_000, World::agrees).unwrap());
    let all = dag::last(world.store(0), &network, 200).unwrap();
    let other = dag::last(world.store(3), &network, 200).unwrap();
    assert_eq!(all.blocks, other.blocks);
    // Whoever followed the losing side knows it.
    let beside = [&all.beside, &other.beside];
    assert!(beside.iter().any(|beside| beside.len() > 1), "{beside:?}");
    for block in beside.into_iter().flatten() {
        assert!(block.number.is_none() && block.colour.is_none() && !block.chain);
    }
}

async fn program(rpc: SocketAddr, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_node"))
        .args(["dag", "--rpc", &rpc.to_string()])
        .args(arguments)
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_is_drawn() {
    let member = Member::start(|_| ()).await;
    member
        .until("five blocks", |snapshot| snapshot.tip.number >= 5)
        .await;
    member.command(Command::Mine(false)).await;
    let tip = member.until("rest", |snapshot| !snapshot.mining).await.tip;
    let rpc = member.node.rpc().unwrap();
    let svg = program(rpc, &["--svg", "--last", "3"]).await;
    well_formed(&svg);
    assert_eq!(drawn(&svg).len(), 4);
    assert!(program(rpc, &["--dot"]).await.starts_with("digraph"));
    assert!(program(rpc, &[]).await.contains(&format!("{:.12}", tip.id)));
    let json: Dag = serde_json::from_str(&program(rpc, &["--json"]).await).unwrap();
    assert!(json.blocks.iter().any(|block| block.id == tip.id));
    let path = member.folder.path().join("picture.SVG");
    let said = program(rpc, &["--output", path.to_str().unwrap()]).await;
    assert!(said.contains("blocks in"), "{said}");
    well_formed(&std::fs::read_to_string(path).unwrap());
    member.node.stop().await.unwrap();
}
