//! Which faults happen when, and to whom.

use std::collections::BTreeSet;

use triskel::protocol::rng::Rng;

use crate::scenario::explicit::{Act, Node, Occurrence};
use crate::scenario::fault::{Action, Fault, Parts};
use crate::scenario::limits::{MAX_FAULTS, MAX_OCCURRENCES};
use crate::scenario::link::LinkChoice;
use crate::scenario::span::Span;
use crate::scenario::when::When;
use crate::scenario::who::Who;
use crate::scenario::{Problem, Scenario};

impl Scenario {
    /// The faults, each as often as it happens, in the order in which they are written.
    pub(super) fn occurrences(
        &self,
        nodes: &[Node],
        rng: &mut Rng,
    ) -> Result<Vec<Occurrence>, Problem> {
        if self.faults.len() > MAX_FAULTS {
            return Err(Problem::new(
                "faults",
                format!("at most {MAX_FAULTS} faults are allowed"),
            ));
        }
        let mut occurrences = Vec::new();
        for (index, fault) in self.faults.iter().enumerate() {
            let key = format!("faults[{index}]");
            self.check_fault(fault, nodes, &key)?;
            for when in self.moments(&fault.when, &key, rng)? {
                if occurrences.len() == MAX_OCCURRENCES {
                    let message = format!("at most {MAX_OCCURRENCES} faults may happen in a run");
                    return Err(Problem::new(format!("{key}.when"), message));
                }
                occurrences.push(self.happen(fault, when, nodes, &key, rng)?);
            }
        }
        Ok(occurrences)
    }

    /// One fault that happens at once, to nodes that need not be those of the scenario any more.
    ///
    /// # Errors
    ///
    /// It makes no sense for these nodes.
    pub fn occurrence(
        &self,
        fault: &Fault,
        nodes: &[Node],
        rng: &mut Rng,
    ) -> Result<Occurrence, Problem> {
        self.check_fault(fault, nodes, "fault")?;
        self.happen(fault, fault.when.clone(), nodes, "fault", rng)
    }

    fn happen(
        &self,
        fault: &Fault,
        when: When,
        nodes: &[Node],
        key: &str,
        rng: &mut Rng,
    ) -> Result<Occurrence, Problem> {
        let wrong =
            |(name, message): (&str, String)| Problem::new(format!("{key}.{name}"), message);
        let concerned = self.concerned(fault, nodes, rng).map_err(wrong)?;
        let act = self
            .act(&fault.what, &concerned, nodes, rng)
            .map_err(wrong)?;
        Ok(Occurrence {
            when,
            act,
            nodes: concerned,
            lasts: fault.lasts,
        })
    }

    fn check_fault(&self, fault: &Fault, nodes: &[Node], key: &str) -> Result<(), Problem> {
        let wrong =
            |name: &str, message: String| Err(Problem::new(format!("{key}.{name}"), message));
        let kind = fault.what.kind();
        if fault.lasts.is_some() && !kind.lasts() {
            return wrong(
                "for",
                format!("{kind} happens once and for all, `for` is not allowed"),
            );
        }
        if fault.lasts.is_some_and(|lasts| lasts.is_zero()) {
            return wrong("for", "0s is not allowed here, more is".to_owned());
        }
        match &fault.when {
            When::FaultsOver => wrong("when", "`faults over` is for checks alone".to_owned()),
            When::Event(condition) => {
                for name in condition.names() {
                    Who::named(name)
                        .resolve(nodes, &mut Rng::new(0))
                        .map_err(|message| Problem::new(format!("{key}.when"), message))?;
                }
                Ok(())
            }
            when if when.repeats() && self.duration.is_none() => wrong(
                "when",
                "it repeats while `duration` lasts, which is not set".to_owned(),
            ),
            when if when.repeats() && matches!(fault.what, Action::Join | Action::Leave) => wrong(
                "when",
                format!("{kind} happens once and for all, it cannot repeat"),
            ),
            _ => match &fault.what {
                Action::Flap(every) if every.is_zero() => {
                    wrong("what.flap", "0s is not allowed here, more is".to_owned())
                }
                _ => Ok(()),
            },
        }
    }

    /// The moments at which a fault begins: more than one where it repeats, none of which repeats.
    fn moments(&self, when: &When, key: &str, rng: &mut Rng) -> Result<Vec<When>, Problem> {
        let end_us = self.duration.unwrap_or_default().as_us();
        let mut draw_gap_us: Box<dyn FnMut() -> f64> = match when {
            When::Every(every) => Box::new(|| every.as_us() as f64),
            When::Poisson(rate) => Box::new(move || -(1.0 - rng.fraction()).ln() / rate * 1e6),
            once => return Ok(vec![once.clone()]),
        };
        let mut moments = Vec::new();
        let mut at_us = draw_gap_us();
        while at_us < end_us as f64 {
            if moments.len() == MAX_OCCURRENCES {
                let message = format!("at most {MAX_OCCURRENCES} faults may happen in a run");
                return Err(Problem::new(format!("{key}.when"), message));
            }
            // Whole milliseconds: nothing here is punctual to a microsecond, and people read them.
            moments.push(When::At(Span::from_ms((at_us / 1_000.0) as u64)));
            at_us += draw_gap_us();
        }
        Ok(moments)
    }

    /// Whom a fault concerns. Who joins or leaves does so once, so those who never were there are not drawn.
    fn concerned(
        &self,
        fault: &Fault,
        nodes: &[Node],
        rng: &mut Rng,
    ) -> Result<Vec<usize>, (&'static str, String)> {
        let concerned = fault
            .who
            .resolve(nodes, rng)
            .map_err(|message| ("who", message))?;
        let joins = matches!(fault.what, Action::Join);
        match concerned.is_empty() || (joins && concerned.len() == nodes.len()) {
            true if joins => Err((
                "who",
                "somebody must be there before others join".to_owned(),
            )),
            true => Err(("who", "this is nobody".to_owned())),
            // A machine goes with all that is on it.
            false if matches!(fault.what, Action::MachineLoss) => {
                let machines: BTreeSet<_> =
                    concerned.iter().map(|&node| nodes[node].machine).collect();
                match machines.contains(&None) {
                    true => Err((
                        "what",
                        "nothing says on which machines they are: the key `machines` does"
                            .to_owned(),
                    )),
                    false => Ok((0..nodes.len())
                        .filter(|&node| machines.contains(&nodes[node].machine))
                        .collect()),
                }
            }
            false if matches!(fault.what, Action::SeedOutage) => {
                let uses_seeds =
                    |node: &usize| nodes[*node].seeded || nodes[*node].setting("seeds").is_some();
                match concerned.iter().any(uses_seeds) {
                    true => Ok(concerned),
                    false => Err((
                        "who",
                        "none of them looks for a seed: a group does with `seeded = true`"
                            .to_owned(),
                    )),
                }
            }
            false => Ok(concerned),
        }
    }

    fn act(
        &self,
        action: &Action,
        concerned: &[usize],
        nodes: &[Node],
        rng: &mut Rng,
    ) -> Result<Act, (&'static str, String)> {
        Ok(match action {
            Action::Stop => Act::Stop,
            Action::Kill => Act::Kill,
            Action::Pause => Act::Pause,
            Action::Restart => Act::Restart,
            Action::Wipe => Act::Wipe,
            Action::Isolate => Act::Isolate,
            Action::Partition(parts) => {
                let divided = divide(parts, concerned, &[], nodes, rng);
                Act::Partition(divided.map_err(|message| ("what.partition", message))?)
            }
            Action::Bridge(parts) => {
                let others: Vec<_> = (0..nodes.len())
                    .filter(|node| !concerned.contains(node))
                    .collect();
                let divided = divide(parts, &others, concerned, nodes, rng);
                Act::Bridge(divided.map_err(|message| ("what.bridge", message))?)
            }
            Action::Cut(toward) => Act::Cut(
                toward
                    .resolve(nodes, rng)
                    .map_err(|message| ("what.cut", message))?,
            ),
            Action::Flap(every) => Act::Flap(*every),
            Action::Degrade { to, both, link } => Act::Degrade {
                to: to
                    .resolve(nodes, rng)
                    .map_err(|message| ("what.degrade.to", message))?,
                both: *both,
                conditions: self
                    .links
                    .conditions(link)
                    .map_err(|message| ("what.degrade.link", message))?,
            },
            Action::ClockSkew(offset) => Act::ClockSkew(*offset),
            Action::ClockJump(offset) => Act::ClockJump(*offset),
            Action::DiskFull => Act::DiskFull,
            Action::SeedOutage => Act::SeedOutage,
            Action::MachineLoss => Act::MachineLoss,
            Action::Join => Act::Join,
            Action::Leave => Act::Leave,
            Action::Upgrade(upgrade) => Act::Upgrade(upgrade.clone()),
            Action::Hashrate(times) => Act::Hashrate(*times),
        })
    }
}

/// Parts that do not overlap, into which all nodes but `apart` fall.
fn divide(
    parts: &Parts,
    concerned: &[usize],
    apart: &[usize],
    nodes: &[Node],
    rng: &mut Rng,
) -> Result<Vec<Vec<usize>>, String> {
    let mut divided = match parts {
        Parts::Count(count) => {
            let count = *count as usize;
            if count > concerned.len() {
                return Err(format!(
                    "{} nodes do not make {count} parts",
                    concerned.len()
                ));
            }
            let mut shuffled = concerned.to_vec();
            rng.shuffle(&mut shuffled);
            let mut divided = vec![Vec::new(); count];
            for (position, node) in shuffled.into_iter().enumerate() {
                divided[position % count].push(node);
            }
            divided
        }
        Parts::Named(parts) => {
            let mut divided = Vec::new();
            for part in parts {
                let mut part = part.resolve(nodes, rng)?;
                part.retain(|node| !apart.contains(node));
                divided.push(part);
            }
            divided
        }
    };
    let mut place = vec![None; nodes.len()];
    for (index, part) in divided.iter_mut().enumerate() {
        part.sort_unstable();
        for &node in &*part {
            if let Some(other) = place[node].replace(index) {
                let name = &nodes[node].name;
                return Err(format!(
                    "{name} is in two parts, the {other}. and the {index}., counted from 0"
                ));
            }
        }
    }
    let rest = (0..nodes.len()).filter(|&node| place[node].is_none() && !apart.contains(&node));
    divided.push(rest.collect());
    divided.retain(|part| !part.is_empty());
    match divided.len() {
        0 | 1 => Err("there is one part only, two or more are wanted".to_owned()),
        _ => Ok(divided),
    }
}

/// Who joins is not there from the start.
pub(super) fn note_late_joins(occurrence: &Occurrence, nodes: &mut [Node]) {
    if occurrence.act == Act::Join {
        for &node in &occurrence.nodes {
            nodes[node].joins_later = true;
        }
    }
}

/// An occurrence as a file would have it.
pub(in crate::scenario) fn written(occurrence: &Occurrence, nodes: &[Node]) -> Fault {
    let listed = |indices: &[usize]| Who::listed(indices, nodes);
    let parts =
        |parts: &[Vec<usize>]| Parts::Named(parts.iter().map(|part| listed(part)).collect());
    let what = match &occurrence.act {
        Act::Stop => Action::Stop,
        Act::Kill => Action::Kill,
        Act::Pause => Action::Pause,
        Act::Restart => Action::Restart,
        Act::Wipe => Action::Wipe,
        Act::Isolate => Action::Isolate,
        Act::Partition(divided) => Action::Partition(parts(divided)),
        Act::Bridge(divided) => Action::Bridge(parts(divided)),
        Act::Cut(toward) => Action::Cut(listed(toward)),
        Act::Flap(every) => Action::Flap(*every),
        Act::Degrade {
            to,
            both,
            conditions,
        } => Action::Degrade {
            to: listed(to),
            both: *both,
            link: LinkChoice::Conditions(*conditions),
        },
        Act::ClockSkew(offset) => Action::ClockSkew(*offset),
        Act::ClockJump(offset) => Action::ClockJump(*offset),
        Act::DiskFull => Action::DiskFull,
        Act::SeedOutage => Action::SeedOutage,
        Act::MachineLoss => Action::MachineLoss,
        Act::Join => Action::Join,
        Act::Leave => Action::Leave,
        Act::Upgrade(upgrade) => Action::Upgrade(upgrade.clone()),
        Act::Hashrate(times) => Action::Hashrate(*times),
    };
    Fault {
        when: occurrence.when.clone(),
        what,
        who: listed(&occurrence.nodes),
        lasts: occurrence.lasts,
    }
}
