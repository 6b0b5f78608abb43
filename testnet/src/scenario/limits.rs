//! What a scenario can grow, and how far. One list, each with its reason.

/// Nodes: what the simulator has been seen to carry. Real nodes end far earlier, at what the machine can hold.
pub const MAX_NODES: u64 = 5_000;

/// Machines: each is an engine that commands are sent to, one by one.
pub const MAX_MACHINES: u64 = 1_000;

/// Edges: sixteen a node, twice what a node dials by itself. A denser graph is nearly complete for the eye and costs square time.
pub const MAX_EDGES: usize = 80_000;

/// Groups: more kinds of nodes than this are no kinds any more.
pub const MAX_GROUPS: usize = 1_000;

/// Profiles of links: more would not be told apart by name.
pub const MAX_PROFILES: usize = 1_000;

/// Rules for links: an expanded scenario has two for each edge.
pub const MAX_LINK_RULES: usize = 2 * MAX_EDGES;

/// Sources of load: each has senders of its own.
pub const MAX_LOADS: usize = 100;

/// Faults as they are written.
pub const MAX_FAULTS: usize = 10_000;

/// Faults as they happen, repetitions counted: `every 10ms` for an hour would have 360,000.
pub const MAX_OCCURRENCES: usize = 10_000;

/// Checks: each is evaluated against every node all the time.
pub const MAX_CHECKS: usize = 1_000;

/// Names in one selection, for which a list of all nodes must do.
pub const MAX_NAMES: usize = MAX_NODES as usize;

/// Bytes of one file, an expanded network of the most nodes with conditions on each link included.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Files that extend each other: a chain of more is a riddle.
pub const MAX_EXTENDS: usize = 8;

/// Bytes of an expression or selection: what a person writes on one line.
pub const MAX_TEXT_BYTES: usize = 1_000;

/// Brackets within brackets in an expression, so that no text exhausts the stack.
pub const MAX_NESTING: usize = 20;

/// Bytes of a name of a node, group or profile: node names are host names, whose labels have at most 63.
pub const MAX_NAME_BYTES: usize = 48;

/// The longest that anything may take, in milliseconds: a day.
pub const MAX_SPAN_MS: u64 = 86_400_000;
