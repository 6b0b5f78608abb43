//! The reading half of a connection: bytes to checked messages, which the driver gets in the order in which they came.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{mpsc, watch};

use super::{Context, Traffic, is_cut};
use crate::node::announce;
use crate::node::memory::{Fact, Part, Room, Share};
use crate::node::noise::{self, Opener};
use crate::protocol::chain::id::NodeKey;
use crate::protocol::machine::io::{ConnId, Input};
use crate::protocol::wire::frame::Decoder;
use crate::protocol::wire::message::{Message, MessageError, Received};

/// Bytes read at once. Frames of relay are far smaller; those of sync take a few rounds.
const READ_BYTES: usize = 16 * 1_024;

/// Messages above this size are checked beside the loop that serves the connections: 64 signatures cost 2 ms.
const INLINE_BYTES: usize = 10_000;

/// Messages of one connection that are read and not handed on, where the first of them is large: a peer that sends blocks full of
/// transactions keeps some processors busy with their signatures.
const CHECKED_AT_ONCE: usize = 8;

/// The reading half.
pub(super) struct Reader {
    pub(super) conn: ConnId,
    pub(super) half: OwnedReadHalf,
    /// Opens what arrives, unless it is plain.
    pub(super) opener: Option<Opener>,
    /// The key that the peer has proven, unless it is plain.
    pub(super) proven: Option<NodeKey>,
    pub(super) greeted: watch::Sender<Option<NodeKey>>,
    pub(super) share: Arc<Share>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) context: Context,
}

/// The connection, or the node, has ended.
struct Ended;

impl Reader {
    /// Reads until the connection ends.
    pub(super) async fn run(mut self) {
        let (Ok(_) | Err(Ended)) = self.read().await;
    }

    async fn read(&mut self) -> Result<Infallible, Ended> {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; READ_BYTES];
        let mut buffers = Part::new(&self.share);
        let mut line = InOrder {
            conn: self.conn,
            inputs: self.context.inputs.clone(),
            waiting: FuturesOrdered::new(),
        };
        loop {
            loop {
                match noise::next_message(&mut decoder, &mut self.opener) {
                    Ok(None) => break,
                    Ok(Some((message, bytes))) => {
                        self.take(message, bytes, &mut decoder, &mut line).await?;
                    }
                    Err(error) => line.refuse(error).await?,
                }
            }
            let count = match line.meanwhile(self.half.read(&mut buffer)).await? {
                Ok(0) | Err(_) => {
                    line.hand_on_rest().await?;
                    return Err(Ended);
                }
                Ok(count) => count,
            };
            noise::take(&mut decoder, &mut self.opener, &buffer[..count]);
            let sealed = self.opener.as_ref().map_or(0, Opener::capacity);
            buffers.set(READ_BYTES + decoder.capacity() + sealed);
        }
    }

    async fn take(
        &mut self,
        message: Message,
        bytes: usize,
        decoder: &mut Decoder,
        line: &mut InOrder,
    ) -> Result<(), Ended> {
        let (conn, context) = (self.conn, &self.context);
        context.metrics.received(message.kind(), bytes);
        self.traffic
            .received
            .fetch_add(bytes as u64, Ordering::Relaxed);
        match &message {
            Message::Hello(hello) if is_cut(&hello.key, context) => return Err(Ended),
            Message::Hello(hello) => {
                let claimed = hello.key;
                if self.proven.is_some_and(|proven| proven != claimed) {
                    return line.refuse(MessageError::Unproven { claimed }).await;
                }
                decoder.greeted();
                self.opener.as_mut().map(Opener::greeted);
                self.greeted.send_replace(Some(claimed));
            }
            _ => {}
        }
        if let Message::NewTransaction(bytes) = message {
            if !context.checker.offer(conn, bytes) {
                context.metrics.busy();
            }
            return Ok(());
        }
        let room = line.meanwhile(self.share.room(bytes)).await?;
        if bytes <= INLINE_BYTES {
            let result = check(message, context);
            return line.hand_on(fact(conn, result, Some(room))).await;
        }
        let context = context.clone();
        line.hand_on_later(async move {
            let turn = context.checks.clone().acquire_owned().await;
            let result = tokio::task::spawn_blocking(move || {
                let _turn = turn.expect("nobody closes it");
                check(message, &context)
            });
            let result = result.await.expect("checks of a message do not panic");
            fact(conn, result, Some(room))
        })
        .await
    }
}

/// Checks everything in a message that needs no state.
fn check(message: Message, context: &Context) -> Result<Received, MessageError> {
    let begin = Instant::now();
    let result = message.check_knowing(&context.network, &|id| context.checker.knows(id));
    if let Ok(received) = &result
        && received.has_blocks()
    {
        context.metrics.validated("check", begin.elapsed());
        if let Some(id) = received.new_block() {
            announce::checked(&id, begin.elapsed());
        }
    }
    result
}

fn fact(conn: ConnId, result: Result<Received, MessageError>, room: Option<Room>) -> Fact {
    let input = match result {
        Ok(message) => Input::Message { conn, message },
        Err(error) => Input::Malformed { conn, error },
    };
    Fact { input, room }
}

/// The way to the driver for what is checked side by side: each waits for those before it.
struct InOrder {
    conn: ConnId,
    inputs: mpsc::Sender<Fact>,
    waiting: FuturesOrdered<Pin<Box<dyn Future<Output = Fact> + Send>>>,
}

impl InOrder {
    /// Waits for something, and meanwhile hands on what is ready.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Ended> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                Some(fact) = self.waiting.next() => self.send(fact).await?,
                done = &mut future => return Ok(done),
            }
        }
    }

    /// Hands on what is ready, behind all that waits.
    async fn hand_on(&mut self, fact: Fact) -> Result<(), Ended> {
        match self.waiting.is_empty() {
            true => self.send(fact).await,
            false => self.hand_on_later(std::future::ready(fact)).await,
        }
    }

    /// Hands on what will be ready.
    async fn hand_on_later(
        &mut self,
        fact: impl Future<Output = Fact> + Send + 'static,
    ) -> Result<(), Ended> {
        self.waiting.push_back(Box::pin(fact));
        while self.waiting.len() >= CHECKED_AT_ONCE
            && let Some(fact) = self.waiting.next().await
        {
            self.send(fact).await?;
        }
        Ok(())
    }

    /// Hands on, behind all that waits, that something cannot be read.
    async fn refuse(&mut self, error: MessageError) -> Result<(), Ended> {
        self.hand_on_rest().await?;
        self.send(fact(self.conn, Err(error), None)).await
    }

    /// Hands on all that waits: whoever has sent it may be gone, but it was sent.
    async fn hand_on_rest(&mut self) -> Result<(), Ended> {
        while let Some(fact) = self.waiting.next().await {
            self.send(fact).await?;
        }
        Ok(())
    }

    async fn send(&mut self, fact: Fact) -> Result<(), Ended> {
        let is_malformed = matches!(fact.input, Input::Malformed { .. });
        self.inputs.send(fact).await.map_err(|_| Ended)?;
        if is_malformed {
            // Nothing more is read; the machine decides when the connection ends.
            std::future::pending().await
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn numbered(number: u64) -> Fact {
        let conn = ConnId(number);
        Input::Disconnected { conn }.into()
    }

    #[tokio::test]
    async fn nothing_overtakes_what_is_checked_and_nothing_follows_what_cannot_be_read() {
        let (inputs, mut taken) = mpsc::channel(CHECKED_AT_ONCE);
        let mut line = InOrder {
            conn: ConnId(9),
            inputs,
            waiting: FuturesOrdered::new(),
        };
        let (checked, check) = oneshot::channel();
        let fact = async { check.await.unwrap() };
        assert!(line.hand_on_later(fact).await.is_ok());
        assert!(line.hand_on(numbered(2)).await.is_ok());
        let read = line.meanwhile(std::future::ready(())).await;
        assert!(read.is_ok() && taken.try_recv().is_err());
        checked.send(numbered(1)).unwrap();
        let ending = async {
            let end = line.refuse(MessageError::Indexes).await;
            unreachable!("{:?} after what cannot be read", end.is_ok());
        };
        let reading = async {
            for number in 1..=2 {
                let fact = taken.recv().await.unwrap();
                assert!(
                    matches!(fact.input, Input::Disconnected { conn } if conn == ConnId(number))
                );
            }
            let fact = taken.recv().await.unwrap();
            assert!(matches!(fact.input, Input::Malformed { conn, .. } if conn == ConnId(9)));
        };
        tokio::select! {
            () = ending => {}
            () = reading => {}
        }
    }
}
