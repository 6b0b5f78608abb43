//! The writing half of a connection: frames from the queue to the socket, over a line that may delay them.
//!
//! Where nothing is set, frames go out as they come. Else they wait in the line until they would have arrived: the wire behind it
//! is as fast as it is. What the line cannot take yet waits in the queue, so a link that is too slow for what is sent over it fills
//! the queue, and the peer is dropped as any that reads too slowly. Bytes in the line count as queued.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinHandle;

use super::terms::Terms;
use super::{Context, Frame, Outgoing, Traffic, queue};
use crate::node::memory::{Part, Share};
use crate::node::noise::Sealer;
use crate::protocol::link::{Conditions, Cut, Line};
use crate::protocol::machine::io::Request;
use crate::protocol::machine::serve::serve;
use crate::protocol::rng::Rng;

/// Frames taken from the queue at once.
const WRITE_FRAMES: usize = 256;

/// Bytes written at once, if so many wait.
const WRITE_BYTES: usize = 64 * 1_024;

/// How much of what it will send a line takes beforehand, in microseconds: longer than a task is late, so that none of the rate is
/// lost.
const AHEAD_US: u64 = 5_000;

/// The writing half.
pub(super) struct Writer {
    pub(super) half: OwnedWriteHalf,
    /// Seals what is sent, unless it is plain.
    pub(super) sealer: Option<Sealer>,
    pub(super) queue: queue::Receiver,
    pub(super) share: Arc<Share>,
    pub(super) buffers: Part,
    pub(super) traffic: Arc<Traffic>,
    pub(super) context: Context,
    pub(super) terms: Terms,
    pub(super) seed: u64,
}

#[derive(PartialEq, Eq)]
enum Next {
    /// The connection has ended, or everything is written.
    End,
    /// The terms have changed.
    Again,
}

impl Writer {
    /// Writes until the connection ends.
    pub(super) async fn run(mut self) {
        let mut held = None;
        loop {
            let is_clear = self.terms.now().is_some_and(|terms| terms.are_clear());
            let next = if is_clear {
                self.write().await
            } else {
                let seed = self.seed;
                self.hold(held.get_or_insert_with(|| Held::new(seed))).await
            };
            if next == Next::End {
                return;
            }
        }
    }

    /// Writes what comes as it comes.
    async fn write(&mut self) -> Next {
        let (mut burst, mut bytes) = (Vec::new(), Vec::new());
        while !self.terms.are_stale() {
            let count = tokio::select! {
                biased;
                count = self.queue.recv_many(&mut burst, WRITE_FRAMES) => count,
                () = self.terms.changed() => return Next::Again,
            };
            if count == 0 {
                self.half.shutdown().await.ok();
                return Next::End;
            }
            for outgoing in burst.drain(..) {
                self.share.dequeue(outgoing.bytes());
                let frame = match outgoing {
                    Outgoing::Frame(frame) => frame,
                    Outgoing::Serve(request) => match self.answer(request).await {
                        Ok(Some(frame)) => frame,
                        _ => return Next::End,
                    },
                };
                self.add(&frame, &mut bytes);
                // Small frames travel together: each call of the system costs as much as a signature.
                if bytes.len() >= WRITE_BYTES && !self.flush(&mut bytes).await {
                    return Next::End;
                }
            }
            if !self.flush(&mut bytes).await {
                return Next::End;
            }
        }
        Next::Again
    }

    /// Writes what comes when its time has come.
    async fn hold(&mut self, held: &mut Held) -> Next {
        let mut bytes = Vec::new();
        let mut answer: Option<JoinHandle<Option<Frame>>> = None;
        let mut is_open = true;
        loop {
            let terms = self.terms.now();
            if terms.is_some_and(|terms| terms.cut == Some(Cut::Reset)) {
                return Next::End;
            }
            held.set(terms);
            while bytes.len() < WRITE_BYTES
                && let Some(frame) = held.due()
            {
                self.share.dequeue(frame.bytes.len());
                self.add(&frame, &mut bytes);
            }
            if !bytes.is_empty() {
                if !self.flush(&mut bytes).await {
                    return Next::End;
                }
                continue;
            }
            if held.frames.is_empty() && answer.is_none() {
                if !is_open {
                    self.half.shutdown().await.ok();
                    return Next::End;
                }
                if terms.is_some_and(|terms| terms.are_clear()) {
                    return Next::Again;
                }
            }
            let takes = is_open && answer.is_none() && held.has_room();
            let wake = held.next(takes);
            tokio::select! {
                biased;
                () = self.context.links.alarm.at(wake.unwrap_or(held.begin)), if wake.is_some() => {}
                () = self.terms.changed() => {}
                frame = async { answer.as_mut().expect("looked at before").await }, if answer.is_some() => {
                    answer = None;
                    let Ok(Some(frame)) = frame else { return Next::End };
                    self.share.wait(frame.bytes.len());
                    self.put(held, frame);
                }
                outgoing = self.queue.recv(), if takes => {
                    let bytes = outgoing.as_ref().map_or(0, Outgoing::bytes);
                    match outgoing {
                        // It still waits: behind the link's conditions.
                        Some(Outgoing::Frame(frame)) => self.put(held, frame),
                        Some(Outgoing::Serve(request)) => {
                            self.share.dequeue(bytes);
                            answer = Some(self.answer(request));
                        }
                        None => is_open = false,
                    }
                }
            }
        }
    }

    fn put(&self, held: &mut Held, frame: Frame) {
        held.put(frame);
        let (segments, losses) = held.line.losses();
        self.traffic.segments.store(segments, Ordering::Relaxed);
        self.traffic.losses.store(losses, Ordering::Relaxed);
    }

    /// Reads the answer to a request from the store; nothing if that fails.
    fn answer(&self, request: Request) -> JoinHandle<Option<Frame>> {
        let (store, answers) = (
            Arc::clone(&self.context.store),
            Arc::clone(&self.context.answers),
        );
        tokio::spawn(async move {
            let turn = answers.acquire_owned().await.ok()?;
            let read = tokio::task::spawn_blocking(move || match serve(&*store, &request) {
                Ok(message) => Some(Frame::new(&message)),
                Err(fault) => {
                    tracing::error!(%fault, "a peer's request cannot be answered");
                    None
                }
            });
            let frame = read.await.ok().flatten();
            drop(turn);
            frame
        })
    }

    fn add(&self, frame: &Frame, bytes: &mut Vec<u8>) {
        let size = frame.bytes.len();
        self.context.metrics.sent(frame.kind, size);
        self.traffic.sent.fetch_add(size as u64, Ordering::Relaxed);
        bytes.extend_from_slice(&frame.bytes);
    }

    /// Writes and empties the buffer. False if the connection has ended, or has to.
    async fn flush(&mut self, bytes: &mut Vec<u8>) -> bool {
        let mut held_bytes = bytes.capacity();
        let sent = match &mut self.sealer {
            Some(sealer) => {
                let sealed = sealer.seal(bytes);
                held_bytes += sealed.len();
                sealed
            }
            None => bytes.as_slice(),
        };
        self.buffers.set(held_bytes);
        let written = tokio::select! {
            biased;
            written = self.half.write_all(sent) => written.is_ok(),
            () = self.terms.reset() => false,
        };
        bytes.clear();
        bytes.shrink_to(WRITE_BYTES);
        written
    }
}

/// Frames that are on a line.
struct Held {
    line: Line,
    rng: Rng,
    begin: Instant,
    /// When each arrives.
    frames: VecDeque<(u64, Frame)>,
    /// Whether nothing arrives.
    stalled: bool,
    /// When the first arrives of those that were held back.
    released_us: u64,
}

impl Held {
    fn new(seed: u64) -> Self {
        Self {
            line: Line::default(),
            rng: Rng::new(seed),
            begin: Instant::now(),
            frames: VecDeque::new(),
            stalled: false,
            released_us: 0,
        }
    }

    fn now_us(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    fn moment(&self, at_us: u64) -> Instant {
        self.begin + Duration::from_micros(at_us)
    }

    fn set(&mut self, terms: Option<Conditions>) {
        let stalled = terms.is_none_or(|terms| terms.cut.is_some());
        if let Some(terms) = terms {
            self.line.set_conditions(terms);
        }
        if std::mem::replace(&mut self.stalled, stalled) && !stalled && !self.frames.is_empty() {
            self.released_us = self.line.release_us(self.now_us(), &mut self.rng);
        }
    }

    fn put(&mut self, frame: Frame) {
        let bytes = frame.bytes.len();
        let at_us = self.line.arrival_us(self.now_us(), bytes, &mut self.rng);
        self.frames.push_back((at_us, frame));
    }

    /// Takes the next frame that has arrived.
    fn due(&mut self) -> Option<Frame> {
        let (at_us, _) = self.frames.front()?;
        if self.stalled || (*at_us).max(self.released_us) > self.now_us() {
            return None;
        }
        self.frames.pop_front().map(|(_, frame)| frame)
    }

    /// Whether the line takes another frame: no more than the queue, and none that it could not send soon.
    fn has_room(&self) -> bool {
        !self.stalled
            && self.frames.len() < queue::MOST
            && self.line.free_us() <= self.now_us() + AHEAD_US
    }

    /// When there is something to do, unless something comes.
    fn next(&self, takes: bool) -> Option<Instant> {
        if self.stalled {
            return None;
        }
        let front = self.frames.front();
        let due_us = front.map(|(at_us, _)| (*at_us).max(self.released_us));
        let free_us = self.line.free_us().saturating_sub(AHEAD_US);
        let free_us = (!takes && free_us > self.now_us()).then_some(free_us);
        let next_us = due_us.into_iter().chain(free_us).min();
        next_us.map(|at_us| self.moment(at_us))
    }
}
