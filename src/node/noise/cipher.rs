//! What follows a handshake: a stream of frames, cut into messages of Noise on one end and joined on the other.

use std::fmt;
use std::sync::Arc;

use snow::StatelessTransportState;

use crate::protocol::wire::frame::{Buffer, Decoder, PREFIX_BYTES};
use crate::protocol::wire::limits::{MAX_FRAME_BEFORE_HANDSHAKE, MAX_NOISE_MESSAGE};
use crate::protocol::wire::message::{Message, MessageError, OtherTransport};

/// What each message is longer by than what is in it: the tag by which a change is noticed.
const TAG_BYTES: usize = 16;

/// Bytes of frames in one message.
const MAX_PAYLOAD: usize = MAX_NOISE_MESSAGE - TAG_BYTES;

/// Both directions of a connection. The bytes that arrived behind the handshake belong to what follows.
pub(super) fn new(state: StatelessTransportState, arrived: Buffer) -> (Sealer, Opener) {
    let state = Arc::new(state);
    let sealer = Sealer {
        state: Arc::clone(&state),
        nonce: 0,
        sealed: Vec::new(),
    };
    let opener = Opener {
        state,
        nonce: 0,
        arrived,
        greeted: false,
    };
    (sealer, opener)
}

/// Seals what is sent.
pub struct Sealer {
    state: Arc<StatelessTransportState>,
    nonce: u64,
    sealed: Vec<u8>,
}

impl Sealer {
    /// Seals whole frames. What has to be sent for them holds until the next call.
    pub fn seal(&mut self, mut frames: &[u8]) -> &[u8] {
        self.sealed.clear();
        // What one flush sends is what the next will most likely send.
        self.sealed.shrink_to(2 * MAX_NOISE_MESSAGE);
        let messages = 2 + frames.len() / MAX_PAYLOAD;
        self.sealed
            .reserve(frames.len() + messages * (PREFIX_BYTES + TAG_BYTES));
        if self.nonce == 0
            && let Some(prefix) = frames.first_chunk()
        {
            // The first message is the Hello and nothing else: so the other end has to take no more before it.
            let length = PREFIX_BYTES + u32::from_be_bytes(*prefix) as usize;
            let (hello, rest) = frames.split_at(length.min(frames.len()));
            self.add(hello);
            frames = rest;
        }
        for payload in frames.chunks(MAX_PAYLOAD) {
            self.add(payload);
        }
        &self.sealed
    }

    fn add(&mut self, payload: &[u8]) {
        let length = payload.len() + TAG_BYTES;
        self.sealed
            .extend_from_slice(&(length as u32).to_be_bytes());
        let begin = self.sealed.len();
        self.sealed.resize(begin + length, 0);
        self.state
            .write_message(self.nonce, payload, &mut self.sealed[begin..])
            .expect(
                "the message is within the limit of Noise, and no connection sends 2^64 of them",
            );
        self.nonce += 1;
    }
}

/// Opens what arrives.
pub struct Opener {
    state: Arc<StatelessTransportState>,
    nonce: u64,
    arrived: Buffer,
    greeted: bool,
}

impl Opener {
    /// Allows messages of full length from now on: the peer has greeted.
    pub fn greeted(&mut self) {
        self.greeted = true;
    }

    /// Takes in bytes as they arrive.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.arrived.extend(bytes);
    }

    /// Bytes of memory that it holds for what arrives.
    pub fn capacity(&self) -> usize {
        self.arrived.capacity()
    }

    /// Opens the next message into the stream of frames. False if it has not all arrived. An error is final.
    ///
    /// # Errors
    ///
    /// The message was not made by the peer for this place. Its length is not proven either, so it is nobody's fault.
    pub fn open(&mut self, decoder: &mut Decoder) -> Result<bool, OtherTransport> {
        let pending = self.arrived.pending();
        let Some((prefix, rest)) = pending.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(false);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        let limit = match self.greeted {
            true => MAX_NOISE_MESSAGE,
            false => MAX_FRAME_BEFORE_HANDSHAKE,
        };
        if !(TAG_BYTES..=limit).contains(&length) {
            return Err(OtherTransport::Undecipherable);
        }
        let Some(message) = rest.get(..length) else {
            return Ok(false);
        };
        let space = decoder.grow(length - TAG_BYTES);
        let opened = self.state.read_message(self.nonce, message, space);
        opened.map_err(|_| OtherTransport::Undecipherable)?;
        self.nonce += 1;
        self.arrived.consume(PREFIX_BYTES + length);
        Ok(true)
    }
}

/// Takes in what has arrived, sealed if there is somebody to open it.
pub fn take(decoder: &mut Decoder, opener: &mut Option<Opener>, bytes: &[u8]) {
    match opener {
        Some(opener) => opener.extend(bytes),
        None => decoder.extend(bytes),
    }
}

/// The next message of what has arrived, and the size of its frame.
///
/// # Errors
///
/// Nothing more can be read.
pub fn next_message(
    decoder: &mut Decoder,
    opener: &mut Option<Opener>,
) -> Result<Option<(Message, usize)>, MessageError> {
    loop {
        if let Some(next) = decoder.next_message()? {
            return Ok(Some(next));
        }
        let opened = opener.as_mut().map(|opener| opener.open(decoder));
        if !opened.transpose()?.unwrap_or(false) {
            return Ok(None);
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sealer({})", self.nonce)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Opener({})", self.nonce)
    }
}
