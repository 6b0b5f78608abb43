//! The way from one order to another.

use super::colouring::Colouring;
use super::dag::{Dag, Index};
use super::{Colour, Ordered};

/// What is undone, from the end of the old order, and what is applied, to the end of the new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Places of the old order that the new one does not have, last first.
    pub undo: Vec<Ordered>,
    /// Places of the new order that the old one does not have, first first.
    pub apply: Vec<Ordered>,
}

impl Dag {
    /// Compares the orders that two colourings lead to.
    pub fn route(&self, from: &Colouring, to: &Colouring) -> Route {
        let common = self.common_chain_block(from.selected_parent, to.selected_parent);
        let (mut undo, mut apply) = (self.order_after(common, from), self.order_after(common, to));
        let same = undo
            .iter()
            .zip(&apply)
            .take_while(|(old, new)| old == new)
            .count();
        undo.drain(..same);
        apply.drain(..same);
        undo.reverse();
        Route { undo, apply }
    }

    /// The youngest block that two chains share.
    fn common_chain_block(&self, mut one: Index, mut other: Index) -> Index {
        while one != other {
            // A chain descends in the numbers under which blocks came.
            if one > other {
                one = self.node(one).selected_parent;
            } else {
                other = self.node(other).selected_parent;
            }
        }
        one
    }

    /// The order that a colouring leads to, after a block of its chain.
    fn order_after(&self, common: Index, colouring: &Colouring) -> Vec<Ordered> {
        let mut order = Vec::new();
        let mut merged = &colouring.merged;
        let mut chain = colouring.selected_parent;
        // Backwards, then turned around.
        loop {
            let merged_places = merged.iter().rev().map(|(block, blue)| Ordered {
                id: self.node(*block).id,
                colour: if *blue { Colour::Blue } else { Colour::Red },
            });
            order.extend(merged_places);
            if chain == common {
                break;
            }
            let node = self.node(chain);
            order.push(Ordered {
                id: node.id,
                colour: Colour::Chain,
            });
            merged = &node.merged;
            chain = node.selected_parent;
        }
        order.reverse();
        order
    }
}
