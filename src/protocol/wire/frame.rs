//! Frames: `[4 bytes: length, big-endian][message, bincode]`.

use super::limits::{
    MAX_DECODED, MAX_DECODED_BEFORE_HANDSHAKE, MAX_FRAME, MAX_FRAME_BEFORE_HANDSHAKE,
    MAX_MESSAGE_BYTES,
};
use super::message::{Message, MessageError, OtherTransport};
use crate::protocol::bugs::{Defence, lacks};

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// What the frames of a Noise handshake begin with where the network is open to anybody. No kind of message has this number, so
/// that each transport knows the other by its first frame.
pub const NOISE_OPEN: [u8; 4] = *b"TSKo";

/// The same where the network is closed with a pre-shared key.
pub const NOISE_CLOSED: [u8; 4] = *b"TSKc";

const NOISE_OPENINGS: [[u8; 4]; 2] = [NOISE_OPEN, NOISE_CLOSED];

/// bincode's legacy form: little-endian integers of fixed width, lengths of 8 bytes, variants of 4.
const fn encoding<const LIMIT: usize>() -> impl bincode::config::Config {
    bincode::config::legacy().with_limit::<LIMIT>()
}

/// The frame of a message, prefix included.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut frame = vec![0; PREFIX_BYTES];
    let body = bincode::encode_to_vec(message, encoding::<MAX_DECODED>())
        .expect("messages hold numbers, bytes and lists of them, all of which can be encoded");
    frame.extend_from_slice(&body);
    let length = u32::try_from(body.len()).expect("messages are built below the cap of a frame");
    frame[..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    frame
}

/// The message of a frame's body, which must be all of it.
pub fn decode(body: &[u8]) -> Result<Message, MessageError> {
    // A short frame may announce long lists, for which bincode makes room before it reads them.
    let (message, read) = if body.len() <= MAX_FRAME_BEFORE_HANDSHAKE {
        bincode::decode_from_slice(body, encoding::<MAX_DECODED_BEFORE_HANDSHAKE>())
    } else {
        bincode::decode_from_slice(body, encoding::<MAX_DECODED>())
    }
    .map_err(|error| MessageError::Encoding(error.to_string()))?;
    if read != body.len() {
        return Err(MessageError::Trailing(body.len() - read));
    }
    Ok(message)
}

/// Bytes that have arrived and wait for more. Holds no more than that.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// What waits.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Bytes of memory that it holds.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for bytes behind what waits, to be written there.
    pub fn grow(&mut self, count: usize) -> &mut [u8] {
        if self.start > 0 && self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
            // Whoever always leaves the beginning of a next frame does not hold the memory of the largest one.
            if self.bytes.len() < self.bytes.capacity() / 8 {
                self.bytes.shrink_to(IDLE_BUFFER_BYTES);
            }
        }
        let end = self.bytes.len();
        self.bytes.resize(end + count, 0);
        &mut self.bytes[end..]
    }

    /// Takes in bytes as they arrive.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.grow(bytes.len()).copy_from_slice(bytes);
    }

    /// Drops what has been read.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            // An idle connection should not hold the memory of the largest message that it ever carried.
            self.bytes.clear();
            self.bytes.shrink_to(IDLE_BUFFER_BYTES);
            self.start = 0;
        }
    }
}

/// Cuts a stream of bytes into bodies of frames. Holds what has arrived and no more, whatever a prefix announces.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Buffer,
    greeted: bool,
}

impl Decoder {
    /// Allows frames of full length from now on: the handshake has ended.
    pub fn greeted(&mut self) {
        self.greeted = true;
    }

    /// Takes in bytes as they arrive.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// Bytes of memory that it holds.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Makes room for bytes that follow, to be written there.
    pub fn grow(&mut self, count: usize) -> &mut [u8] {
        self.buffer.grow(count)
    }

    /// The next message and the size of its frame, if all of it has arrived. An error is final: the stream cannot be read further.
    pub fn next_message(&mut self) -> Result<Option<(Message, usize)>, MessageError> {
        let Some((prefix, rest)) = self.buffer.pending().split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        let limit = if self.greeted {
            MAX_FRAME
        } else {
            MAX_FRAME_BEFORE_HANDSHAKE
        };
        let limit = match rest.first_chunk() {
            Some(kind) if !self.greeted && NOISE_OPENINGS.contains(kind) => {
                return Err(OtherTransport::Noise.into());
            }
            Some(kind) => limit.min(most_bytes(u32::from_le_bytes(*kind))?),
            None => limit,
        };
        if length > limit && !lacks(Defence::FrameLimits) {
            return Err(MessageError::TooLong { length, limit });
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = decode(body)?;
        self.buffer.consume(PREFIX_BYTES + length);
        Ok(Some((message, PREFIX_BYTES + length)))
    }
}

/// The cap of a message's kind, which stands first in its frame.
fn most_bytes(kind: u32) -> Result<usize, MessageError> {
    let limit = MAX_MESSAGE_BYTES.get(kind as usize).copied();
    limit.ok_or_else(|| MessageError::Encoding(format!("there is no message of kind {kind}")))
}

/// What an idle connection keeps for the next frame.
const IDLE_BUFFER_BYTES: usize = 4_096;
