//! Noise: connections that nobody between both ends can read or change, and whose ends have proven their keys.
//!
//! `Noise_XX_25519_ChaChaPoly_SHA256`, and `XXpsk0` where a network is closed with a pre-shared key: with that at the very
//! beginning, a stranger's first message is refused, and nothing is ever sent to him that says who is here. Each node draws a
//! static key at its start and signs it with the key by which peers know it; key and signature travel inside the handshake. What
//! follows is the stream of frames that a plain connection carries, cut into messages of Noise. PROTOCOL.md has the bytes.
//!
//! [`Handshake`] neither reads nor writes, but says what has to be sent; [`shake`] does that.

mod cipher;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use snow::{Builder, HandshakeState};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::config::{PeerConfig, Transport};
use crate::protocol::chain::id::{AccountId, NodeKey};
use crate::protocol::chain::key::{self, KeyPair};
use crate::protocol::wire::frame::{Buffer, NOISE_CLOSED, NOISE_OPEN, PREFIX_BYTES};
use crate::protocol::wire::limits::MAX_FRAME_BEFORE_HANDSHAKE;
use crate::protocol::wire::message::{MessageError, OtherTransport};

pub use cipher::{Opener, Sealer, next_message, take};

/// Where a network is open to anybody.
const OPEN_PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";

/// Where it is closed with a pre-shared key.
const CLOSED_PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_SHA256";

/// What the node's key signs: this tag, and the static key of Noise.
const TAG: &str = "triskel/noise";

/// Bytes of a node's key and a signature.
const PROOF_BYTES: usize = 32 + 64;

/// Why a node cannot speak Noise.
#[derive(Debug, thiserror::Error)]
pub enum NoiseError {
    /// The file of the pre-shared key cannot be read.
    #[error(
        "cannot read peer.preshared_key_file {}: {source}; check its path and permissions",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "peer.preshared_key_file {} must hold one key as 64 hexadecimal digits, \
         as `openssl rand -hex 32` writes it",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The system has no randomness.
    #[error("the system gives no randomness for a key of Noise: {0}")]
    Entropy(snow::Error),
}

/// What a node brings to each handshake.
pub struct Credentials {
    private: Vec<u8>,
    proof: [u8; PROOF_BYTES],
    preshared_key: Option<[u8; 32]>,
}

impl Credentials {
    /// Draws a static key and signs it with the node's key.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn new(keys: &KeyPair, preshared_key: Option<[u8; 32]>) -> Result<Self, NoiseError> {
        let drawn = builder(OPEN_PATTERN)
            .generate_keypair()
            .map_err(NoiseError::Entropy)?;
        Ok(Self {
            proof: proof(keys, &drawn.public),
            private: drawn.private,
            preshared_key,
        })
    }

    /// What the configuration asks for: nothing where connections are plain.
    ///
    /// # Errors
    ///
    /// The pre-shared key cannot be read, or the system has no randomness.
    pub fn configured(config: &PeerConfig, keys: &KeyPair) -> Result<Option<Self>, NoiseError> {
        if config.transport == Transport::Plain {
            return Ok(None);
        }
        let path = config.preshared_key_file.as_deref();
        let preshared_key = path.map(read_key).transpose()?;
        Self::new(keys, preshared_key).map(Some)
    }

    fn opening(&self) -> [u8; 4] {
        match self.preshared_key {
            Some(_) => NOISE_CLOSED,
            None => NOISE_OPEN,
        }
    }
}

/// The node's key, and its signature of the static key.
pub fn proof(keys: &KeyPair, public: &[u8]) -> [u8; PROOF_BYTES] {
    let mut proof = [0; PROOF_BYTES];
    let (key, signature) = proof.split_at_mut(32);
    key.copy_from_slice(&keys.public().0);
    signature.copy_from_slice(&keys.sign(&key::tagged_hash(TAG, &[public])));
    proof
}

fn builder(pattern: &str) -> Builder<'_> {
    let parameters = pattern
        .parse()
        .expect("the patterns of this file are names that the specification knows");
    Builder::new(parameters)
}

fn read_key(path: &Path) -> Result<[u8; 32], NoiseError> {
    let text = fs::read_to_string(path).map_err(|source| NoiseError::Read {
        path: path.to_owned(),
        source,
    })?;
    // An AccountId is 32 bytes shown in hexadecimal, which is all that is wanted of it here.
    let key = text.trim().parse::<AccountId>();
    key.map(|key| key.0)
        .map_err(|_| NoiseError::Damaged(path.to_owned()))
}

/// What has to be done next for a handshake.
#[derive(Debug)]
pub enum Next {
    /// This has to be sent.
    Send(Vec<u8>),
    /// More has to arrive.
    Receive,
    /// Both ends have proven their keys.
    Done,
    /// There will be no connection.
    Refused(MessageError),
}

/// One end of a handshake: three frames, each of them an opening that names the transport, and a message of Noise.
pub struct Handshake<'a> {
    credentials: &'a Credentials,
    state: HandshakeState,
    is_initiator: bool,
    /// How many of the frames were sent or received.
    frames: usize,
    arrived: Buffer,
    peer: NodeKey,
    refused: Option<MessageError>,
}

impl<'a> Handshake<'a> {
    /// Begins a handshake, as the one that dialled if it `is_initiator`.
    pub fn new(credentials: &'a Credentials, is_initiator: bool) -> Self {
        let opening = credentials.opening();
        let pattern = match &credentials.preshared_key {
            Some(_) => CLOSED_PATTERN,
            None => OPEN_PATTERN,
        };
        let builder = builder(pattern)
            .prologue(&opening)
            .and_then(|builder| builder.local_private_key(&credentials.private))
            .and_then(|builder| match &credentials.preshared_key {
                Some(key) => builder.psk(0, key),
                None => Ok(builder),
            });
        let built = builder.and_then(|builder| match is_initiator {
            true => builder.build_initiator(),
            false => builder.build_responder(),
        });
        Self {
            credentials,
            state: built.expect("everything that the pattern needs is set, once"),
            is_initiator,
            frames: 0,
            arrived: Buffer::default(),
            peer: NodeKey::default(),
            refused: None,
        }
    }

    /// Takes in bytes as they arrive.
    pub fn arrived(&mut self, bytes: &[u8]) {
        self.arrived.extend(bytes);
    }

    /// What has to be done next.
    pub fn step(&mut self) -> Next {
        loop {
            if let Some(error) = self.refused.take() {
                return Next::Refused(error);
            }
            if self.state.is_handshake_finished() {
                return Next::Done;
            }
            if self.state.is_my_turn() {
                return match self.write() {
                    Ok(frame) => Next::Send(frame),
                    Err(error) => Next::Refused(error),
                };
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Next::Receive,
                Err(error) => {
                    // Who was dialled says why: an opening alone, in place of an answer.
                    let tells = !self.is_initiator && matches!(error, MessageError::Transport(_));
                    self.refused = Some(error);
                    if tells {
                        return Next::Send(frame(&self.credentials.opening()));
                    }
                }
            }
        }
    }

    /// What the first frame of all lacks, for nobody could be kept from reading it, and the others bring.
    fn proof(&self) -> &'a [u8] {
        match self.frames {
            0 => &[],
            _ => &self.credentials.proof,
        }
    }

    fn write(&mut self) -> Result<Vec<u8>, MessageError> {
        let mut body = vec![0; MAX_FRAME_BEFORE_HANDSHAKE];
        let (opening, message) = body.split_at_mut(4);
        opening.copy_from_slice(&self.credentials.opening());
        let proof = self.proof();
        // The peer's key of this handshake may be a point with which no secret can be agreed on.
        let written = self.state.write_message(proof, message);
        let written = written.map_err(|_| OtherTransport::Undecipherable)?;
        body.truncate(4 + written);
        self.frames += 1;
        Ok(frame(&body))
    }

    /// Reads a frame. False if it has not all arrived.
    fn read(&mut self) -> Result<bool, MessageError> {
        let pending = self.arrived.pending();
        let Some((prefix, rest)) = pending.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(false);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > MAX_FRAME_BEFORE_HANDSHAKE {
            return Err(OtherTransport::Plain.into());
        }
        let Some(body) = rest.get(..length) else {
            return Ok(false);
        };
        let is_closed = self.credentials.preshared_key.is_some();
        let message = match body.split_first_chunk::<4>() {
            Some((opening, message)) if *opening == self.credentials.opening() => message,
            Some((&NOISE_CLOSED, _)) => return Err(OtherTransport::Closed.into()),
            Some((&NOISE_OPEN, _)) => return Err(OtherTransport::Open.into()),
            _ => return Err(OtherTransport::Plain.into()),
        };
        let mut payload = [0; MAX_FRAME_BEFORE_HANDSHAKE];
        // Refused by the one that was dialled, or by this node: with the first message, for the key that it was made with.
        let read = match message {
            [] => None,
            message => self.state.read_message(message, &mut payload).ok(),
        };
        let is_first = self.frames == 0 || message.is_empty();
        let Some(read) = read else {
            return Err(match is_closed && is_first {
                true => OtherTransport::OtherKey,
                false => OtherTransport::Undecipherable,
            }
            .into());
        };
        self.check(&payload[..read])?;
        self.frames += 1;
        self.arrived.consume(PREFIX_BYTES + length);
        Ok(true)
    }

    fn check(&mut self, proof: &[u8]) -> Result<(), MessageError> {
        if self.frames == 0 {
            return match proof.len() {
                0 => Ok(()),
                bytes => Err(MessageError::Trailing(bytes)),
            };
        }
        let (key, signature): (&[u8; 32], &[u8; 64]) = proof
            .split_first_chunk()
            .and_then(|(key, rest)| Some((key, rest.try_into().ok()?)))
            .ok_or_else(|| MessageError::Encoding(format!("a proof of {} bytes", proof.len())))?;
        let public = self.state.get_remote_static();
        let public = public.expect("the second and the third message carry it");
        if !key::verify(
            &AccountId(*key),
            &key::tagged_hash(TAG, &[public]),
            signature,
        ) {
            let claimed = NodeKey(*key);
            return Err(MessageError::Unproven { claimed });
        }
        self.peer = NodeKey(*key);
        Ok(())
    }

    /// What both ends have agreed on. Only after [`Next::Done`].
    pub fn finish(self) -> Secured {
        let state = self.state.into_stateless_transport_mode();
        let state = state.expect("it is done");
        let (sealer, opener) = cipher::new(state, self.arrived);
        Secured {
            peer: self.peer,
            sealer,
            opener,
        }
    }
}

/// A connection whose ends have proven their keys.
#[derive(Debug)]
pub struct Secured {
    /// The key that the peer has proven.
    pub peer: NodeKey,
    /// For what is sent.
    pub sealer: Sealer,
    /// For what arrives.
    pub opener: Opener,
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32;
    [&length.to_be_bytes(), body].concat()
}

/// Performs a handshake. Why there is no connection, or that it has ended.
pub async fn shake(
    credentials: &Credentials,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    is_initiator: bool,
) -> io::Result<Result<Secured, MessageError>> {
    let mut handshake = Handshake::new(credentials, is_initiator);
    let mut buffer = [0; MAX_FRAME_BEFORE_HANDSHAKE];
    loop {
        match handshake.step() {
            Next::Send(frame) => stream.write_all(&frame).await?,
            Next::Receive => match stream.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => handshake.arrived(&buffer[..count]),
            },
            Next::Done => return Ok(Ok(handshake.finish())),
            Next::Refused(error) => return Ok(Err(error)),
        }
    }
}

/// The same for a program that waits for its one connection.
pub(super) fn shake_blocking(
    credentials: &Credentials,
    stream: &mut (impl Read + Write),
    is_initiator: bool,
) -> io::Result<Result<Secured, MessageError>> {
    let mut handshake = Handshake::new(credentials, is_initiator);
    let mut buffer = [0; MAX_FRAME_BEFORE_HANDSHAKE];
    loop {
        match handshake.step() {
            Next::Send(frame) => stream.write_all(&frame)?,
            Next::Receive => match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => handshake.arrived(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            },
            Next::Done => return Ok(Ok(handshake.finish())),
            Next::Refused(error) => return Ok(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str) -> Credentials {
        let keys = KeyPair::from_seed(name.as_bytes());
        Credentials::new(&keys, None).expect("the system has randomness")
    }

    /// What the one that was dialled says of the other's proof.
    fn judge(dials: &Credentials) -> Next {
        let listens = credentials("listens");
        let mut ends = [Handshake::new(dials, true), Handshake::new(&listens, false)];
        for end in [0, 1, 0] {
            let Next::Send(frame) = ends[end].step() else {
                panic!("three frames are a handshake");
            };
            ends[1 - end].arrived(&frame);
        }
        ends[1].step()
    }

    #[test]
    fn a_proof_is_of_one_static_key() {
        let (honest, stolen) = (credentials("honest"), credentials("stolen"));
        assert!(matches!(judge(&honest), Next::Done));
        // Whoever was dialled by somebody has seen his proof.
        let thief = Credentials {
            proof: stolen.proof,
            ..honest
        };
        let claimed = NodeKey(KeyPair::from_seed(b"stolen").public().0);
        let Next::Refused(error) = judge(&thief) else {
            panic!("a proof of another's key is taken");
        };
        assert_eq!(error, MessageError::Unproven { claimed });
    }
}
