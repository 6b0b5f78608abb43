//! Scenarios made by a program: `Scenario::new("ring").nodes(5).topology(Topology::Ring)`.
//!
//! The fields are public, and `Scenario { name, nodes: 5, ..Scenario::default() }` is as good; this reads better where a test says
//! a few things.

use super::{Check, Claim, Expression, Fault, Group, Links, Load, Scenario, Span, Terms, Topology};

impl Scenario {
    /// A scenario of no nodes yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// With so many ordinary nodes.
    pub fn nodes(self, nodes: u64) -> Self {
        Self { nodes, ..self }
    }

    /// With everything drawn from this.
    pub fn seed(self, seed: u64) -> Self {
        let seed = Some(seed);
        Self { seed, ..self }
    }

    /// Until every honest node has so many blocks.
    pub fn blocks(self, blocks: u64) -> Self {
        Self { blocks, ..self }
    }

    /// For so long at least.
    pub fn lasting(self, span: Span) -> Self {
        let duration = Some(span);
        Self { duration, ..self }
    }

    /// With so many transfers.
    pub fn transfers(self, transfers: u64) -> Self {
        Self { transfers, ..self }
    }

    /// With this graph.
    pub fn topology(self, topology: Topology) -> Self {
        Self { topology, ..self }
    }

    /// With a group beside those that it has.
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// With these links.
    pub fn links(self, links: Links) -> Self {
        Self { links, ..self }
    }

    /// With a source of load beside those that it has.
    pub fn load(mut self, load: Load) -> Self {
        self.load.push(load);
        self
    }

    /// With a fault beside those that it has.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// With these terms.
    pub fn verdict(self, verdict: Terms) -> Self {
        Self { verdict, ..self }
    }

    /// With a claim from the start of mining on.
    ///
    /// # Errors
    ///
    /// The text is no condition; the error says what is wanted.
    pub fn check(mut self, claim: Claim, condition: &str) -> Result<Self, String> {
        let condition: Expression = condition.parse()?;
        self.checks.push(Check::new(claim, condition));
        Ok(self)
    }
}
