//! The verb `top`: a network as it is, several times a second, with keys to hurt and heal it.

mod frame;
mod screen;

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::LifeError;
use super::commands::{start_named, stopped_by};
use super::home::Home;
use super::open::Living;
use super::status::{Condition, View};
use crate::cli::life::TopOptions;
use crate::run::Signals;
use crate::scenario::{Act, Action, Fault, Parts, Span, Who};
use frame::Frame;
use screen::Screen;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Shows a network until somebody has seen enough.
///
/// # Errors
///
/// There is none, standard output is no terminal, or the network goes away.
pub async fn top(home: &Home, options: &TopOptions) -> Result<(), LifeError> {
    let name = home.which(options.network.network.as_deref())?;
    let mut living = Living::show(home, &name).await?;
    let mut view = living.view().await;
    drop(living);
    // Heard from before the screen is taken, so that no signal leaves it taken.
    let mut signals = Signals::listen();
    let mut screen = Screen::take().map_err(|error| {
        LifeError::Usage(format!(
            "testnet: top needs a terminal: {error}; `testnet status` does not"
        ))
    })?;
    let mut events = listen();
    let mut shown = Frame::default();
    let mut next = Instant::now();
    loop {
        screen.draw(&shown.lines(&view, screen.size()))?;
        tokio::select! {
            () = signals.next() => return Ok(()),
            event = events.recv() => match event {
                None => return Ok(()),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    match meaning(key) {
                        Some(Order::Quit) => return Ok(()),
                        Some(Order::Up) => shown.up(),
                        Some(Order::Down) => shown.down(&view),
                        Some(order) => {
                            let who = shown.selected(&view);
                            shown.message = format!("{} ...", order.doing(&who));
                            screen.draw(&shown.lines(&view, screen.size()))?;
                            shown.message = match perform(home, &name, order, &who, &view).await {
                                Ok(text) => text,
                                Err(error) => error.to_string(),
                            };
                            next = Instant::now();
                        }
                        None => {}
                    }
                }
                Some(_) => {}
            },
            () = sleep_until(next) => {
                view = Living::show(home, &name).await?.view().await;
                next = Instant::now() + INTERVAL;
            }
        }
    }
}

/// Keys and changes of size, as they come.
fn listen() -> mpsc::UnboundedReceiver<Event> {
    let (sender, events) = mpsc::unbounded_channel();
    // It waits for a key when the program ends, and ends with it.
    std::thread::spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    events
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Quit,
    Up,
    Down,
    Kill,
    Stop,
    Start,
    Pause,
    Restart,
    Isolate,
    Partition,
    Heal,
}

fn meaning(key: KeyEvent) -> Option<Order> {
    Some(match (key.code, key.modifiers) {
        (KeyCode::Char('c'), KeyModifiers::CONTROL) => Order::Quit,
        (KeyCode::Char('q') | KeyCode::Esc, _) => Order::Quit,
        (KeyCode::Up, _) => Order::Up,
        (KeyCode::Down, _) => Order::Down,
        (KeyCode::Char('k'), _) => Order::Kill,
        (KeyCode::Char('s'), _) => Order::Stop,
        (KeyCode::Char('a'), _) => Order::Start,
        (KeyCode::Char('p'), _) => Order::Pause,
        (KeyCode::Char('r'), _) => Order::Restart,
        (KeyCode::Char('i'), _) => Order::Isolate,
        (KeyCode::Char('2'), _) => Order::Partition,
        (KeyCode::Char('h'), _) => Order::Heal,
        _ => return None,
    })
}

impl Order {
    fn doing(self, who: &str) -> String {
        match self {
            Self::Kill => format!("killing {who}"),
            Self::Stop => format!("stopping {who}"),
            Self::Start => format!("starting {who}"),
            Self::Pause => format!("pausing {who}, or having it go on"),
            Self::Restart => format!("restarting {who}"),
            Self::Isolate => format!("isolating {who}"),
            Self::Partition => "parting the network".to_owned(),
            Self::Heal => "healing".to_owned(),
            Self::Quit | Self::Up | Self::Down => String::new(),
        }
    }

    /// The fault that it is, if it is one.
    fn fault(self) -> Option<Action> {
        match self {
            Self::Kill => Some(Action::Kill),
            Self::Pause => Some(Action::Pause),
            Self::Restart => Some(Action::Restart),
            Self::Isolate => Some(Action::Isolate),
            Self::Partition => Some(Action::Partition(Parts::Count(2))),
            _ => None,
        }
    }
}

/// Does what a key asks for, to the selected node where it is about one. Gives what was done.
async fn perform(
    home: &Home,
    name: &str,
    order: Order,
    who: &str,
    view: &View,
) -> Result<String, LifeError> {
    let mut living = Living::open(home, name).await?;
    living.demand_up()?;
    let node = living.resolve(&[who.to_owned()])?;
    let faults = living.state.faults.iter().enumerate();
    let active = faults.filter(|(_, begun)| !begun.over);
    let paused = |act: &Act| matches!(act, Act::Pause);
    match order {
        Order::Heal => {
            let places: Vec<_> = active.map(|(place, _)| place).collect();
            let count = places.len();
            living.heal(&places).await?;
            Ok(format!("{} ended", crate::report::counted(count, "fault")))
        }
        Order::Stop => {
            living.hurt(stopped_by(node)).await?;
            Ok(format!("{who} is stopped"))
        }
        Order::Start => {
            start_named(&mut living, &node).await?;
            Ok(format!("{who} runs"))
        }
        Order::Pause if is(view, who, Condition::Paused) => {
            let places =
                active.filter(|(_, begun)| paused(&begun.fault.act) && begun.fault.nodes == node);
            let places: Vec<_> = places.map(|(place, _)| place).collect();
            living.heal(&places).await?;
            Ok(format!("{who} goes on"))
        }
        order => {
            let Some(what) = order.fault() else {
                return Ok(String::new());
            };
            let concerned = match order {
                Order::Partition => Who::All,
                _ => Who::named(who),
            };
            let fault = Fault::at(Span::ZERO, what).of(concerned);
            let occurrence = living.imagine(&fault)?;
            let number = living.hurt(occurrence).await?;
            if order == Order::Restart {
                super::fault::end(&mut living, number).await?;
                return Ok(format!("{who} has started again"));
            }
            Ok(format!("fault {number} has begun: h heals"))
        }
    }
}

fn is(view: &View, who: &str, condition: Condition) -> bool {
    let mut nodes = view.nodes.iter();
    nodes.any(|node| node.name == who && node.condition == condition)
}
