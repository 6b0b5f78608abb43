//! Waking up at a moment, to a tenth of a millisecond: tokio's timers count whole ones and are late by up to two, which is more
//! than a delay of 10 ms may be off.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A thread that wakes tasks. It runs once it was started.
#[derive(Default)]
pub(super) struct Alarm(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Who is to be woken, by when; the number tells those of one moment apart.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    started: bool,
    ended: bool,
}

impl Alarm {
    /// Starts the thread, if it does not run.
    pub(super) fn start(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.started {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("alarm".to_owned());
            thread.spawn(move || shared.run())?;
            state.started = true;
        }
        Ok(())
    }

    /// Waits for a moment.
    pub(super) fn at(&self, moment: Instant) -> Sleep {
        Sleep {
            shared: Arc::clone(&self.0),
            moment,
            number: None,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            while let Some(sleeper) = state.sleepers.first_entry() {
                if sleeper.key().0 > now {
                    break;
                }
                sleeper.remove().wake();
            }
            let next = state.sleepers.first_key_value();
            state = match next.map(|((moment, _), _)| *moment - now) {
                Some(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

/// Ends at a moment.
pub(super) struct Sleep {
    shared: Arc<Shared>,
    moment: Instant,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.moment {
            return Poll::Ready(());
        }
        let (shared, moment) = (Arc::clone(&self.shared), self.moment);
        let mut state = shared.lock();
        let number = *self.number.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let key = (moment, number);
        state.sleepers.insert(key, context.waker().clone());
        if state
            .sleepers
            .first_key_value()
            .is_some_and(|(first, _)| *first == key)
        {
            shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.lock().sleepers.remove(&(self.moment, number));
        }
    }
}
