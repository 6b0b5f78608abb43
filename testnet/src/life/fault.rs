//! The verbs `fault` and `heal`.

use std::time::Duration;

use triskel::protocol::rng::Rng;

use super::LifeError;
use super::home::Home;
use super::open::Living;
use super::show::{say, words};
use crate::cli::life::{FaultOptions, HealOptions};
use crate::report::counted;
use crate::scenario::{Act, Action, Fault, Occurrence, Scenario, ScenarioError, Setting, Who};

/// What sets the draws of commands apart from those of the scenario.
const SEED: u64 = 0x6c69_6665;

impl Living {
    /// The nodes that these texts choose, each as a scenario's `who` does.
    ///
    /// # Errors
    ///
    /// Nobody is called so, or there are too few.
    pub fn resolve(&self, who: &[String]) -> Result<Vec<usize>, LifeError> {
        let usage = |text: String| LifeError::Usage(format!("testnet: {text}"));
        let who = chosen(who).map_err(usage)?;
        who.resolve(&self.state.nodes, &mut self.rng())
            .map_err(usage)
    }

    /// What is drawn for a command, so that copies of a network have futures of their own.
    fn rng(&self) -> Rng {
        Rng::new(self.state.seed ^ SEED ^ (self.state.next_fault << 32))
    }

    /// A fault in the words of a scenario, for the nodes of this network.
    ///
    /// # Errors
    ///
    /// It makes no sense, or the backend cannot do it.
    pub fn imagine(&self, fault: &Fault) -> Result<Occurrence, LifeError> {
        let kind = fault.what.kind();
        let instead = match &fault.what {
            Action::Join => Some("`testnet add` adds nodes"),
            Action::Leave => Some("`testnet remove` removes nodes"),
            _ => None,
        };
        if let Some(instead) = instead {
            return Err(LifeError::Usage(format!(
                "testnet: {kind} is for scenarios: {instead}"
            )));
        }
        let able = crate::backend::capabilities(&self.state.backend);
        if !able.contains(&crate::scenario::Capability::Fault(kind)) {
            return Err(LifeError::Environment(format!(
                "testnet: backend {} cannot do this: {kind}",
                self.state.backend
            )));
        }
        let occurrence = self
            .state
            .scenario
            .occurrence(fault, &self.state.nodes, &mut self.rng());
        Ok(occurrence?)
    }
}

fn chosen(who: &[String]) -> Result<Who, String> {
    match who {
        [one] => one.parse(),
        many => {
            let choices: Result<_, _> = many.iter().map(|text| text.parse()).collect();
            choices.map(Who::Any)
        }
    }
}

/// Hurts a network, until it is healed or for a time for which this stays.
///
/// # Errors
///
/// What was asked for makes no sense, or a node does not take it.
pub async fn fault(home: &Home, options: &FaultOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let fault = read(options)?;
    let mut living = Living::open(home, &name).await?;
    living.demand_up()?;
    let occurrence = living.imagine(&fault)?;
    if matches!(occurrence.act, Act::Flap(_)) && options.lasts.is_none() {
        return Err(LifeError::Usage(
            "testnet: somebody must open and shut the links of a flapping node: say --for TIME, this command does so meanwhile"
                .to_owned(),
        ));
    }
    let (what, who) = words(&living.state, &occurrence);
    let at_once = matches!(occurrence.act, Act::Restart | Act::Wipe) && options.lasts.is_none();
    let number = living.hurt(occurrence).await?;
    if at_once {
        end(&mut living, number).await?;
        say(&format!("{what}: {who}: done"));
        return Ok(());
    }
    let Some(lasts) = options.lasts else {
        say(&format!(
            "fault {number}: {what}: {who}; `testnet heal {number}` ends it"
        ));
        return Ok(());
    };
    say(&format!("fault {number}: {what}: {who}; for {lasts}"));
    drop(living);
    wait(home, &name, number).await?;
    say(&format!("fault {number} is over"));
    Ok(())
}

/// Stays until a fault is over: by its time, by a signal, or because another command healed it.
async fn wait(home: &Home, name: &str, number: u64) -> Result<(), LifeError> {
    /// Between two looks whether links are to open or shut, or somebody else has healed.
    const LOOK_INTERVAL: Duration = Duration::from_millis(100);
    let mut signals = crate::run::Signals::listen();
    let mut half = 0;
    loop {
        let state = home.read(name)?;
        let begun = state
            .faults
            .iter()
            .find(|begun| begun.number == number && !begun.over);
        let Some(begun) = begun else { return Ok(()) };
        let now = state.made().elapsed().unwrap_or_default();
        let until = Duration::from_millis(begun.until_ms.unwrap_or_default());
        if now >= until || state.down {
            let mut living = Living::open(home, name).await?;
            return end(&mut living, number).await;
        }
        if let Act::Flap(every) = begun.fault.act {
            let age_us =
                now.as_micros() as u64 - (begun.since_ms * 1_000).min(now.as_micros() as u64);
            let turn = age_us / (every.as_us() / 2).max(1);
            if turn != half {
                half = turn;
                Living::open(home, name).await?.run.flap().await?;
            }
        }
        tokio::select! {
            () = tokio::time::sleep((until - now).min(LOOK_INTERVAL)) => {}
            () = signals.next() => {
                eprintln!("interrupted: healing");
                let mut living = Living::open(home, name).await?;
                return end(&mut living, number).await;
            }
        }
    }
}

/// Ends a fault, if it is active.
pub(super) async fn end(living: &mut Living, number: u64) -> Result<(), LifeError> {
    let faults = living.state.faults.iter();
    let place = faults
        .clone()
        .position(|begun| begun.number == number && !begun.over);
    match place {
        Some(place) => living.heal(&[place]).await,
        None => Ok(()),
    }
}

/// Ends faults.
///
/// # Errors
///
/// There is no such fault, or a node does not heal.
pub async fn heal(home: &Home, options: &HealOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let mut living = Living::open(home, &name).await?;
    living.demand_up()?;
    let faults = living.state.faults.iter().enumerate();
    let active: Vec<_> = faults
        .filter(|(_, begun)| !begun.over)
        .map(|(place, begun)| (place, begun.number))
        .collect();
    let known = |number: &&u64| !active.iter().any(|(_, active)| active == *number);
    if let Some(unknown) = options.faults.iter().find(known) {
        return Err(LifeError::Usage(format!(
            "testnet: no fault {unknown} is active: `testnet status` shows those that are"
        )));
    }
    let meant = |number: &u64| options.faults.is_empty() || options.faults.contains(number);
    let places: Vec<_> = active
        .iter()
        .filter(|(_, number)| meant(number))
        .map(|(place, _)| *place)
        .collect();
    if places.is_empty() {
        say(&format!("network {name} is well: nothing to heal"));
        return Ok(());
    }
    living.heal(&places).await?;
    say(&format!("{} ended", counted(places.len(), "fault")));
    Ok(())
}

/// The fault that a command line names, read as a scenario is.
fn read(options: &FaultOptions) -> Result<Fault, LifeError> {
    let setting = |key: String, value: String, flag: &str| Setting {
        key,
        value,
        flag: flag.to_owned(),
    };
    let what = &options.what;
    let mut settings = vec![match what.split_once('=') {
        Some((word, value)) if !what.trim_start().starts_with('{') => setting(
            format!("faults.0.what.{}", word.trim()),
            value.trim().to_owned(),
            what,
        ),
        _ => setting("faults.0.what".to_owned(), what.clone(), what),
    }];
    if let Some(lasts) = options.lasts {
        settings.push(setting(
            "faults.0.for".to_owned(),
            lasts.to_string(),
            &format!("--for {lasts}"),
        ));
    }
    let base = "name = 'fault'\nfaults = [{ when = '0s' }]";
    let loaded = match Scenario::parse(base, "fault", &settings) {
        Err(ScenarioError::Wrong(problem)) => {
            let text = format!(
                "testnet: what is wrong with {:?}: {}",
                problem.place, problem.message
            );
            return Err(LifeError::Usage(text));
        }
        other => other?,
    };
    let who = chosen(&options.who).map_err(|text| LifeError::Usage(format!("testnet: {text}")))?;
    let fault = loaded.scenario.faults.into_iter().next();
    let fault = fault.ok_or_else(|| LifeError::Usage("testnet: no fault was named".to_owned()))?;
    Ok(Fault { who, ..fault })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{LinkChoice, Offset, Parts, Span};

    fn options(what: &str, who: &[&str], lasts: Option<Span>) -> FaultOptions {
        FaultOptions {
            what: what.to_owned(),
            who: who.iter().map(|&text| text.to_owned()).collect(),
            lasts,
            network: crate::cli::life::WhichOptions::default(),
        }
    }

    #[test]
    fn faults_are_read_in_the_words_of_scenarios() {
        let what = |text| read(&options(text, &["all"], None)).unwrap().what;
        assert_eq!(what("kill"), Action::Kill);
        assert_eq!(what("partition=2"), Action::Partition(Parts::Count(2)));
        assert_eq!(
            what("{ partition = 2 }"),
            Action::Partition(Parts::Count(2))
        );
        assert_eq!(what("cut=node-2"), Action::Cut(Who::named("node-2")));
        assert_eq!(what("hashrate=0"), Action::Hashrate(0.0));
        assert_eq!(
            what("clock-skew=-2s"),
            Action::ClockSkew(Offset::try_from("-2s".to_owned()).unwrap())
        );
        assert_eq!(
            what("degrade.link=3g"),
            Action::degrade(LinkChoice::Profile("3g".to_owned()))
        );
        let fault = read(&options(
            "kill",
            &["node-1", "random 2"],
            Some(Span::from_ms(500)),
        ))
        .unwrap();
        assert_eq!(fault.who, Who::from(["node-1", "random 2"]));
        assert_eq!(fault.lasts, Some(Span::from_ms(500)));
    }

    #[test]
    fn what_is_no_fault_is_refused_with_what_is_allowed() {
        let refused = |text| {
            read(&options(text, &["all"], None))
                .unwrap_err()
                .to_string()
        };
        for text in ["explode", "partition=1", "kill=2", "cut", "=", ""] {
            let error = refused(text);
            assert!(error.contains("what"), "{text}: {error}");
        }
        assert!(
            refused("explode").contains("partition"),
            "{}",
            refused("explode")
        );
        let error = read(&options("kill", &["of of"], None)).unwrap_err();
        assert_eq!(error.exit(), crate::run::Exit::Usage);
    }
}
