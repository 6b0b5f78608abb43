//! Pictures of a DAG: for people in SVG, for Graphviz in DOT, for terminals as a table.
//!
//! All are functions of the blocks alone: the same blocks, the same picture. What a picture says of a block it says twice, by
//! colour and by shape or place, so that it can be read in black and white and by whoever tells few colours apart.

mod dot;
mod graph;
mod layout;
mod svg;
mod table;

pub use dot::dot;
pub use svg::svg;
pub use table::table;
