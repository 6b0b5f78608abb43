//! The table of attacks: which there are, what bound holds, and where it is tried.
//!
//! Three known ones have no row. Memory that is not given back when a check is given up: checks are not given up here, and what
//! waits for one counts against its peer (`ceilings`). Addresses of IPv4 that are written as IPv6: bans are by key. A cheap stream
//! that outweighs the others: `attacks::depth` tries it against the order, in which sockets have no part.

use std::collections::BTreeSet;
use std::path::Path;

/// An attack that nodes of other networks have met.
struct Row {
    number: u8,
    attack: &'static str,
    bound: &'static str,
    /// Tests of the machine, by their paths in this crate.
    machine: &'static [&'static str],
    /// Tests of the real program, or of its sockets where the machine has no part in it.
    program: &'static [&'static str],
    /// Tests that show what happens without the defence.
    proofs: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        number: 1,
        attack: "a length prefix that claims memory",
        bound: "64 KiB for a connection that claims 2 MiB; the end of one that claims more than its state and message allow",
        machine: &[
            "adversary::frames::the_machine_believes_no_length",
            "frames::a_frame_too_long_for_its_place_or_kind_is_refused_at_once",
        ],
        program: &["adversary::frames::the_program_believes_no_length"],
        proofs: &[
            "adversary::frames::proofs::a_reader_that_believes_lengths_holds_what_peers_claim",
            "adversary::frames::proofs::without_limits_of_frames_who_claims_too_much_stays",
        ],
    },
    Row {
        number: 2,
        attack: "counts inside a frame that claim memory",
        bound: "decoding takes four times the bytes of the frame, and 4 KiB",
        machine: &[
            "adversary::frames::the_machine_makes_no_room_for_counts",
            "frames::hostile_counts_are_refused_by_what_they_announce",
            "frames::lists_longer_than_their_cap_are_refused",
            "corpus::messages",
        ],
        program: &["adversary::frames::the_program_makes_no_room_for_counts"],
        proofs: &["adversary::frames::proofs::a_decoder_without_a_limit_holds_what_counts_claim"],
    },
    Row {
        number: 3,
        attack: "handshakes of a byte a second",
        bound: "64 of 500 stand, none beyond its deadline, and who means it has a session meanwhile",
        machine: &[
            "adversary::places::the_machine_waits_for_no_drops",
            "peers::places::silent_connections_keep_nobody_out",
        ],
        program: &[
            "adversary::places::the_program_waits_for_no_drops",
            "noise::who_never_answers_is_left_at_the_deadline",
        ],
        proofs: &[
            "adversary::places::proofs::without_a_deadline_drops_last_for_ever",
            "adversary::places::proofs::without_places_for_handshakes_they_pile_up",
        ],
    },
    Row {
        number: 4,
        attack: "a peer that reads nothing",
        bound: "its end when 1,024 answers wait; blocks go from one of the others to the other meanwhile",
        machine: &["adversaries::a_slow_reader_falls_behind_alone"],
        program: &["adversary::lines::the_program_waits_for_nobody_who_does_not_read"],
        proofs: &["adversary::lines::proofs::without_a_bound_who_does_not_read_is_waited_for"],
    },
    Row {
        number: 5,
        attack: "frames that come byte by byte, so that a reader loses its place",
        bound: "each frame is read as if it had come at once",
        machine: &[
            "adversary::lines::the_machine_joins_crumbs",
            "frames::frames_may_arrive_in_any_pieces",
            "corpus::frames",
        ],
        program: &[
            "adversary::lines::the_program_joins_crumbs",
            "noise::handshake::what_is_cut_is_joined_again",
        ],
        proofs: &[
            "adversary::lines::proofs::a_reader_with_a_timeout_around_each_read_loses_its_place",
        ],
    },
    Row {
        number: 6,
        attack: "what was overheard, said again",
        bound: "no session, and the one that was overheard stays",
        machine: &["adversary::lines::a_handshake_that_was_heard_is_refused"],
        program: &[
            "adversary::lines::the_program_takes_nothing_twice",
            "noise::a_key_that_is_claimed_must_be_proven",
        ],
        proofs: &[
            "adversary::lines::proofs::where_connections_are_plain_what_was_heard_is_a_session_again",
        ],
    },
    Row {
        number: 7,
        attack: "eclipse: an address book filled by one attacker",
        bound: "one address in ten seconds of each who tells, an eighth of the book of each group, 3 of 8 places of three groups",
        machine: &[
            "adversary::addresses::the_machine_learns_at_its_own_pace",
            "peers::many_addresses_of_few_groups_do_not_take_all_outbound_places",
            "peers::tables::a_flood_of_addresses_is_bounded",
            "peers::tables::one_group_that_tells_fills_its_share_of_the_book",
            "peers::tables::a_restart_dials_the_anchors_first",
            "peers::tables::outbound_peers_are_of_different_groups",
        ],
        program: &[
            "adversary::addresses::the_program_learns_at_its_own_pace",
            "peers::real::a_node_finds_its_peers_again_by_what_it_has_stored",
        ],
        proofs: &[
            "adversary::addresses::proofs::without_an_allowance_one_peer_fills_its_part_of_the_book",
            // It shows the other outcome too, where groups do not count.
            "peers::many_addresses_of_few_groups_do_not_take_all_outbound_places",
        ],
    },
    Row {
        number: 8,
        attack: "inbound places that are taken by sybils",
        bound: "three times as many as there are places: who comes then gets in with its block, and who was useful stays",
        machine: &[
            "adversary::places::the_machine_lends_places_and_takes_them_back",
            "peers::places::a_flood_of_connections_displaces_itself",
            "peers::places::inbound_takes_no_outbound_place",
        ],
        program: &["adversary::places::the_program_lends_places_and_takes_them_back"],
        proofs: &["adversary::places::proofs::where_places_are_kept_who_sits_keeps_others_out"],
    },
    Row {
        number: 9,
        attack: "headings of the least work, without end",
        bound: "none of them is kept, and a new block is taken in meanwhile",
        machine: &[
            "adversary::sync::the_machine_keeps_no_cheap_headings",
            "sync::spam::cheap_headings_cost_no_memory_and_others_get_their_turn",
            "sync::spam::less_work_than_is_known_to_be_there_is_not_kept",
        ],
        program: &["adversary::sync::the_program_keeps_no_cheap_headings"],
        proofs: &["adversary::sync::proofs::without_proven_work_cheap_headings_are_kept"],
    },
    Row {
        number: 10,
        attack: "claims of a height and of work that nobody has",
        bound: "the tip stays, new blocks are taken in, the miner goes on, nobody is banned",
        machine: &[
            "adversary::sync::the_machine_believes_no_claim",
            "sync::spam::nothing_is_remembered_of_claims_alone",
        ],
        program: &["adversary::sync::the_program_believes_no_claim"],
        proofs: &["adversary::sync::proofs::where_claims_prove_something_they_stop_the_miner"],
    },
    Row {
        number: 11,
        attack: "a peer that shows headings and delivers no block",
        bound: "all blocks within 15 s, and less than 1.3 times the time without it",
        machine: &[
            "adversary::sync::the_machine_asks_elsewhere",
            "sync::peers_who_keep_bodies_back_cost_little_and_nobody_is_blamed",
        ],
        program: &["adversary::sync::the_program_asks_elsewhere"],
        proofs: &["adversary::sync::proofs::where_no_answer_is_due_who_delivers_nothing_stops_all"],
    },
    Row {
        number: 12,
        attack: "empty answers about headings, at once and for ever",
        bound: "the next is asked within 15 s",
        machine: &["adversary::sync::the_machine_leaves_alone_who_has_nothing"],
        program: &["adversary::sync::the_program_leaves_alone_who_has_nothing"],
        proofs: &["adversary::sync::proofs::where_nobody_rests_who_has_nothing_keeps_the_turn"],
    },
    Row {
        number: 13,
        attack: "nodes that all think that they are behind, and wait for each other",
        bound: "who catches up answers, and a network that was off for two days goes on",
        machine: &[
            "adversary::sync::the_machine_serves_while_it_catches_up",
            "sync::nodes_that_catch_up_serve_each_other",
            "sync::a_network_that_was_off_for_two_days_goes_on",
        ],
        program: &["adversary::sync::the_program_serves_while_it_catches_up"],
        proofs: &[
            "adversary::sync::proofs::where_who_catches_up_serves_nobody_two_such_wait_for_each_other",
        ],
    },
    Row {
        number: 14,
        attack: "a true header with another body",
        bound: "the end of who sends it, and the block itself is taken in when it comes",
        machine: &[
            "adversary::blocks::the_machine_takes_a_block_in_after_its_mutations",
            "corpus::blocks",
        ],
        program: &["adversary::blocks::the_program_takes_a_block_in_after_its_mutations"],
        proofs: &[
            "adversary::blocks::proofs::a_tree_that_doubles_has_one_root_for_two_blocks",
            "adversary::blocks::proofs::without_a_commitment_others_choose_what_a_block_holds",
        ],
    },
    Row {
        number: 15,
        attack: "blocks with work whose parents do not exist",
        bound: "128 of 10,000 wait, the second half takes no further memory, and three blocks in the wrong order find their place",
        machine: &["adversary::blocks::the_machine_drowns_in_no_orphans"],
        program: &["adversary::blocks::the_program_drowns_in_no_orphans"],
        proofs: &["adversary::blocks::proofs::without_limits_orphans_pile_up"],
    },
    Row {
        number: 16,
        attack: "announcements of transactions that nobody has",
        bound: "2,048 of half a million are wanted, 8 MiB, no more time for ids that are alike, and what exists is asked for",
        machine: &[
            "adversary::announcements::the_machine_wants_no_more_than_a_share_of_inventions",
            "adversary::announcements::ids_that_are_alike_cost_no_more_than_others",
            "announce::a_flood_of_announcements_takes_its_own_share_and_no_other",
            "announce::who_comes_again_and_again_leaves_nothing_behind",
        ],
        program: &[
            "adversary::announcements::the_program_wants_no_more_than_a_share_of_inventions",
        ],
        proofs: &[
            "adversary::announcements::proofs::without_shares_all_inventions_are_wanted",
            "adversary::announcements::proofs::a_table_by_bytes_that_peers_choose_becomes_a_list",
        ],
    },
    Row {
        number: 17,
        attack: "transactions that are pushed rather than announced",
        bound: "those of the best fees wait, in as many places as there are",
        machine: &[
            "adversary::pushes::the_machine_holds_no_more_than_it_has_places",
            "mempool::any_sequence_keeps_the_limits_and_selects_the_best",
            "mempool::one_balance_is_offered_once",
        ],
        program: &["adversary::pushes::the_program_holds_no_more_than_it_has_places"],
        proofs: &["adversary::pushes::proofs::without_a_number_of_places_all_that_is_pushed_waits"],
    },
    Row {
        number: 19,
        attack: "short ids of compact blocks that meet, and answers to no question",
        bound: "the block is asked for as a whole, and elsewhere after two seconds; nobody is banned for it",
        machine: &[
            "adversary::pushes::the_machine_is_misled_by_no_short_ids",
            "relay::short_ids_that_mislead_lead_to_the_whole_block_and_are_no_fault",
            "relay::indexes_that_no_honest_node_sends_are_refused",
        ],
        program: &["adversary::pushes::the_program_is_misled_by_no_short_ids"],
        proofs: &[
            "adversary::pushes::proofs::where_no_block_is_asked_for_as_a_whole_short_ids_that_meet_keep_it_out",
        ],
    },
    Row {
        number: 20,
        attack: "honest peers made to look guilty",
        bound: "nobody is banned or left for what an honest node does as well: late state, orphans, clocks, news, claims",
        machine: &[
            "adversary::blame::the_machine_blames_nobody_for_what_can_be_denied",
            "relay::short_ids_that_mislead_lead_to_the_whole_block_and_are_no_fault",
        ],
        program: &["adversary::blame::the_program_blames_nobody_for_what_can_be_denied"],
        proofs: &[
            "adversary::blame::proofs::who_is_blamed_is_banned",
            "adversary::blame::proofs::scoring_what_can_be_denied_bans_honest_peers",
        ],
    },
    Row {
        number: 22,
        attack: "blocks that are kept back, to make others' work void",
        bound: "a pool earns no more than the model says, and no more than its share where blocks are merged",
        machine: &[
            "attacks::selfish::a_selfish_pool_in_three_streams_earns_no_more_than_the_model_says",
            "withholding::blocks_that_are_held_for_a_while_earn_no_more_than_the_model_says",
            "adversaries::a_selfish_miner_loses_nothing_for_others_where_blocks_are_merged",
        ],
        program: &["testnet::roles::adversaries_as_processes_stop_nobody"],
        proofs: &[
            "adversaries::a_selfish_miner_gains_in_a_chain",
            "withholding::the_same_pool_gains_in_a_chain",
        ],
    },
    Row {
        number: 23,
        attack: "dates that turn back or stand still, so that time is counted twice",
        bound: "hash rate brings less than 1.2 times what it brings without",
        machine: &[
            "attacks::dating::a_clock_that_stops_and_jumps_brings_nothing",
            "bits::asert_never_falls_as_time_passes",
        ],
        program: &["conditions::blocks_of_a_clock_that_is_ahead_are_refused_until_it_is_set_right"],
        proofs: &["adversary::rules::proofs::windows_that_do_not_join_let_time_be_counted_twice"],
    },
    Row {
        number: 24,
        attack: "dates ahead, and hash rate that goes where it is easy",
        bound: "hash rate brings less than 1.2 times what it brings without",
        machine: &[
            "attacks::dating::dates_as_late_as_allowed_bring_nothing",
            "attacks::dating::hopping_between_streams_brings_little",
            "adversaries::dates_ahead_are_nobody_s_fault_and_speed_nothing_up",
        ],
        program: &["conditions::blocks_of_a_clock_that_is_ahead_are_refused_until_it_is_set_right"],
        proofs: &[
            "adversary::rules::proofs::where_solving_times_are_averaged_dates_ahead_bring_blocks",
        ],
    },
    Row {
        number: 25,
        attack: "a storm of easy blocks after a pause",
        bound: "a pause counts for four half-lives at most",
        machine: &[
            "adversary::rules::the_machine_knows_no_storm_after_a_pause",
            "chain::a_long_pause_counts_for_four_half_lives",
        ],
        program: &["adversary::rules::the_program_knows_no_storm_after_a_pause"],
        proofs: &[
            "adversary::rules::proofs::where_a_pause_counts_in_full_the_next_target_is_the_easiest",
        ],
    },
    Row {
        number: 26,
        attack: "peers that all say something else of themselves, for the labels of metrics",
        bound: "ten series more after 60 of them, and none with their words",
        machine: &["adversary::labels::what_the_machine_tells_makes_no_series_for_each_peer"],
        program: &["adversary::labels::the_program_makes_no_series_for_each_peer"],
        proofs: &["adversary::labels::proofs::a_label_of_theirs_is_a_series_for_each_peer"],
    },
    Row {
        number: 27,
        attack: "a block as large as the rules allow, and larger than the wire does",
        bound: "a block of 10,000 transactions is taken, told of and handed out whole",
        machine: &[
            "adversary::extremes::the_machine_takes_what_the_rules_allow",
            "frames::what_consensus_allows_travels",
        ],
        program: &["adversary::extremes::the_program_takes_what_the_rules_allow"],
        proofs: &["adversary::extremes::proofs::a_cap_below_the_rules_refuses_what_they_allow"],
    },
    Row {
        number: 28,
        attack: "ids that are made to meet in one place of a table",
        bound: "they cost no more than others, and who asks meanwhile is answered",
        machine: &[
            "adversary::extremes::the_machine_bears_ids_that_end_alike",
            "adversary::announcements::ids_that_are_alike_cost_no_more_than_others",
        ],
        program: &["adversary::extremes::the_program_bears_ids_that_end_alike"],
        proofs: &[
            "adversary::announcements::proofs::a_table_by_bytes_that_peers_choose_becomes_a_list",
        ],
    },
    Row {
        number: 29,
        attack: "a kill while the store writes",
        bound: "what was answered is there after each of a hundred kills",
        machine: &[
            "chain::what_is_placed_counts_once_the_order_has_followed_and_a_crash_between_loses_nothing",
        ],
        program: &[
            "crash::nothing_acknowledged_is_lost_by_a_hundred_kills",
            "refusals::what_a_kill_left_half_written_is_removed",
        ],
        proofs: &["testnet::seeded_bugs::every_bug_is_caught_and_nothing_else"],
    },
    Row {
        number: 30,
        attack: "parents that are each other's ancestors, or more than are allowed",
        bound: "the end of who sends them, and no place for the block",
        machine: &[
            "adversary::rules::the_machine_takes_no_parents_that_are_related_or_too_many",
            "ghostdag::a_block_that_merges_as_much_as_it_may_is_merged",
        ],
        program: &["adversary::rules::the_program_takes_no_parents_that_are_related_or_too_many"],
        proofs: &["adversary::rules::proofs::where_parents_may_be_related_they_are_taken"],
    },
    Row {
        number: 32,
        attack: "requests to the control interface that are none",
        bound: "an error of the standard that names what is wrong, and the next request is answered",
        machine: &["corpus::requests_to_the_control_interface"],
        program: &[
            "rpc::bytes_that_are_no_request_are_refused",
            "rpc::wrong_parameters_are_named",
        ],
        proofs: &[
            "adversary::rules::proofs::a_number_below_zero_becomes_a_great_one_where_it_has_no_type",
        ],
    },
];

/// The text of the file in which a test of this crate stands, or one of the orchestrator, and the test's own name.
fn source(path: &str) -> Option<(String, &str)> {
    let (modules, name) = path.rsplit_once("::")?;
    let mut parts: Vec<_> = modules.split("::").collect();
    let is_orchestrator = parts.first() == Some(&"testnet");
    let folder = if is_orchestrator {
        "testnet/tests"
    } else {
        "tests/it"
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    parts.drain(..usize::from(is_orchestrator));
    // Modules such as `proofs` stand in the file of the one above.
    while !parts.is_empty() {
        let file = root.join(parts.join("/")).with_extension("rs");
        if let Ok(text) = std::fs::read_to_string(file) {
            return Some((text, name));
        }
        parts.pop();
    }
    None
}

/// A row without a test is a row that nobody has tried.
#[test]
fn every_row_is_tried_and_every_defence_is_needed() {
    let mut complaints = Vec::new();
    let mut numbers = BTreeSet::new();
    let mut proofs = String::new();
    for row in ROWS {
        let Row {
            number,
            attack,
            bound,
            ..
        } = row;
        println!("{number:>2} {attack}: {bound}");
        if !numbers.insert(number) {
            complaints.push(format!("row {number} is there twice"));
        }
        for (what, tests) in [
            ("machine", row.machine),
            ("program", row.program),
            ("proof", row.proofs),
        ] {
            if tests.is_empty() {
                complaints.push(format!("row {number}, {attack}: no test of the {what}"));
            }
            for test in tests {
                let found =
                    source(test).filter(|(text, name)| text.contains(&format!("fn {name}(")));
                match found {
                    None => {
                        complaints.push(format!("row {number}, {attack}: there is no test {test}"))
                    }
                    Some((text, _)) if what == "proof" => proofs.push_str(&text),
                    Some(_) => {}
                }
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol/bugs.rs");
    let bugs = std::fs::read_to_string(path).unwrap();
    let (_, defences) = bugs.split_once("pub enum Defence {").unwrap();
    let (defences, _) = defences.split_once('}').unwrap();
    let defences = defences
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','));
    for defence in defences.filter(|line| !line.starts_with("//")) {
        if !proofs.contains(&format!("Defence::{defence}")) {
            complaints.push(format!("nothing shows what {defence} is for"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
