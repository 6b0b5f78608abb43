//! One connection: bytes to checked messages in one direction, frames and answers from the store in the other.
//!
//! Both directions live in one task. Reading waits for the driver when that is busy, so a flooding peer feels it in its own TCP
//! window; writing never makes the driver wait: a full queue is reported, and the peer is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::checked::Checked;
use super::metrics::Metrics;
use super::store::Store;
use crate::protocol::chain::params::Network;
use crate::protocol::machine::io::{ConnId, Input, Request};
use crate::protocol::machine::serve::serve;
use crate::protocol::wire::frame::{self, Decoder};
use crate::protocol::wire::message::{Message, MessageError, Received};

/// Transactions that wait to be written: a greeting, and a second of 5,000 behind it.
const TRANSACTIONS: usize = 8_192;

/// Everything else that waits to be written, and goes first: a flood of transactions does not delay blocks.
const QUEUE: usize = 1_024;

/// Bytes of frames that wait to be written: some of the largest blocks. Frames are shared between peers.
const QUEUE_BYTES: usize = 16 << 20;

/// Frames taken from the queue at once.
const WRITE_FRAMES: usize = 256;

/// Bytes written at once, if so many wait.
const WRITE_BYTES: usize = 64 * 1_024;

/// Bytes read at once. Frames of relay are far smaller; those of sync take a few rounds.
const READ_BYTES: usize = 16 * 1_024;

/// Messages above this size are checked beside the loop that serves the connections: 64 signatures cost 2 ms.
const INLINE_BYTES: usize = 10_000;

/// What connections share.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) network: Arc<Network>,
    pub(super) store: Arc<Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) checked: Arc<Checked>,
    pub(super) inputs: mpsc::Sender<Input>,
}

/// A frame, shared between the connections that it goes to.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: usize,
    is_transaction: bool,
    pub(super) bytes: Arc<[u8]>,
}

impl Frame {
    pub(super) fn new(message: &Message) -> Self {
        Self {
            kind: message.kind(),
            is_transaction: matches!(message, Message::NewTransaction(_)),
            bytes: frame::encode(message).into(),
        }
    }
}

/// Something to be written.
#[derive(Debug)]
pub(super) enum Outgoing {
    Frame(Frame),
    Serve(Request),
}

impl Outgoing {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.bytes.len(),
            Self::Serve(_) => 0,
        }
    }

    fn is_transaction(&self) -> bool {
        matches!(self, Self::Frame(frame) if frame.is_transaction)
    }
}

/// The driver's end of a connection. Dropped, the connection ends once everything is written.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: mpsc::Sender<Outgoing>,
    transactions: mpsc::Sender<Outgoing>,
    /// Bytes of frames in the queues.
    queued: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Outlet {
    /// Puts something in its queue. False if that is full.
    pub(super) fn send(&self, outgoing: Outgoing) -> bool {
        let bytes = outgoing.bytes();
        let queued = self.queued.fetch_add(bytes, Ordering::Relaxed);
        // One frame of any size always has room.
        if queued > 0 && queued + bytes > QUEUE_BYTES {
            return false;
        }
        let queue = match outgoing.is_transaction() {
            true => &self.transactions,
            false => &self.queue,
        };
        !matches!(
            queue.try_send(outgoing),
            Err(mpsc::error::TrySendError::Full(_))
        )
    }

    /// Ends the connection at once, whatever is still to be written.
    pub(super) fn cut(&self) {
        self.task.abort();
    }
}

/// Starts the task of a connection.
pub(super) fn spawn(conn: ConnId, stream: TcpStream, context: Context) -> Outlet {
    // Relay is a matter of single small frames: none of them waits for the next (Nagle).
    stream.set_nodelay(true).ok();
    let (queue, outgoing) = mpsc::channel(QUEUE);
    let (transactions, behind) = mpsc::channel(TRANSACTIONS);
    let queued = Arc::new(AtomicUsize::new(0));
    let waiting = Arc::clone(&queued);
    let task = tokio::spawn(async move {
        let (reader, writer) = stream.into_split();
        let inputs = context.inputs.clone();
        tokio::select! {
            () = read(conn, reader, &context) => {}
            () = write(writer, outgoing, behind, &waiting, &context) => {}
        }
        // The driver may have ended: then nobody has to be told.
        inputs.send(Input::Disconnected { conn }).await.ok();
    });
    Outlet {
        queue,
        transactions,
        queued,
        task: task.abort_handle(),
    }
}

async fn read(conn: ConnId, mut reader: OwnedReadHalf, context: &Context) {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        decoder.extend(&buffer[..count]);
        loop {
            let input = match decoder.next_message() {
                Ok(None) => break,
                Ok(Some((message, bytes))) => {
                    context.metrics.received(message.kind(), bytes);
                    if matches!(message, Message::Hello(_)) {
                        decoder.greeted();
                    }
                    checked(message, bytes, context).await
                }
                Err(error) => Err(error),
            };
            let malformed = input.is_err();
            let input = match input {
                Ok(message) => Input::Message { conn, message },
                Err(error) => Input::Malformed { conn, error },
            };
            if context.inputs.send(input).await.is_err() {
                return;
            }
            if malformed {
                // Nothing more is read; the machine decides when the connection ends.
                return std::future::pending().await;
            }
        }
    }
}

async fn checked(
    message: Message,
    bytes: usize,
    context: &Context,
) -> Result<Received, MessageError> {
    let begin = Instant::now();
    let is_block = matches!(message, Message::NewBlock(_) | Message::Blocks { .. });
    let (network, known) = (Arc::clone(&context.network), Arc::clone(&context.checked));
    let check = move || message.check_knowing(&network, &|id| known.contains(id));
    let result = if bytes <= INLINE_BYTES {
        check()
    } else {
        let check = tokio::task::spawn_blocking(check);
        check.await.expect("checks of a message do not panic")
    };
    if let Ok(Received::NewTransaction(transaction)) = &result {
        context.checked.add(transaction.id());
    }
    if is_block {
        context.metrics.validated("check", begin.elapsed());
    }
    result
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    mut transactions: mpsc::Receiver<Outgoing>,
    queued: &AtomicUsize,
    context: &Context,
) {
    let (mut burst, mut behind, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_open = true;
    loop {
        // Both close together, and what waits then is still written.
        tokio::select! {
            biased;
            count = queue.recv_many(&mut burst, WRITE_FRAMES), if is_open => is_open = count > 0,
            count = transactions.recv_many(&mut behind, WRITE_FRAMES) => if count == 0 { break },
        }
        for outgoing in burst.drain(..).chain(behind.drain(..)) {
            queued.fetch_sub(outgoing.bytes(), Ordering::Relaxed);
            let frame = match outgoing {
                Outgoing::Frame(frame) => frame,
                Outgoing::Serve(request) => {
                    let store = Arc::clone(&context.store);
                    let answer = tokio::task::spawn_blocking(move || serve(&*store, &request));
                    match answer.await.expect("reading the store does not panic") {
                        Ok(message) => Frame::new(&message),
                        Err(fault) => {
                            tracing::error!(%fault, "a peer's request cannot be answered");
                            return;
                        }
                    }
                }
            };
            context.metrics.sent(frame.kind, frame.bytes.len());
            bytes.extend_from_slice(&frame.bytes);
            // Small frames travel together: each call of the system costs as much as a signature.
            if bytes.len() >= WRITE_BYTES && !flush(&mut writer, &mut bytes).await {
                return;
            }
        }
        if !flush(&mut writer, &mut bytes).await {
            return;
        }
    }
    writer.shutdown().await.ok();
}

/// Writes and empties the buffer. False if the connection has ended.
async fn flush(writer: &mut OwnedWriteHalf, bytes: &mut Vec<u8>) -> bool {
    let written = writer.write_all(bytes).await;
    bytes.clear();
    bytes.shrink_to(WRITE_BYTES);
    written.is_ok()
}
