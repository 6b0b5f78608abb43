//! Who answers: a running node over TCP, a store, or the file that recorded one of them.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Origin, PATIENCE, TransferError, addresses, name, nothing};
use crate::node::config::PeerConfig;
use crate::node::identity;
use crate::node::noise::{self, Credentials, Opener, Sealer, Secured};
use crate::node::store::{Claim, Store};
use crate::protocol::chain::Chain;
use crate::protocol::chain::id::{BlockId, NodeKey};
use crate::protocol::chain::key::KeyPair;
use crate::protocol::chain::params::Network;
use crate::protocol::chain::view::{Fault, Overlay, View as _};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::machine::io::Request;
use crate::protocol::machine::serve::serve;
use crate::protocol::wire::frame::{self, Decoder};
use crate::protocol::wire::message::{Claim as Tip, Hello, Message, PROTOCOL_VERSION};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// The cache of a store that is read once.
const CACHE_BYTES: u64 = 8 << 20;

/// Somebody who answers the questions of a snapshot, in their order.
pub(super) trait Source {
    /// How it is called in messages.
    fn name(&self) -> String;
    /// Who it is: the first answer.
    fn hello(&mut self) -> Result<Message, TransferError>;
    /// The answer to a question. Its content is not checked.
    fn ask(&mut self, question: Message) -> Result<Message, TransferError>;
}

/// Opens what a snapshot comes from.
pub(super) fn open(
    origin: &Origin,
    network: &Arc<Network>,
) -> Result<Box<dyn Source>, TransferError> {
    Ok(match origin {
        Origin::File(path) => Box::new(Recorded::open(path)?),
        Origin::Peer(endpoint, config) => Box::new(Peer::connect(endpoint, config, network)?),
        Origin::Directory(path) => Box::new(Stored::open(path, network)?),
    })
}

/// What the owner of the keys says, who never speaks again.
fn hello(network: &Network, keys: &KeyPair, claim: Tip) -> Result<Message, TransferError> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce)
        .map_err(|error| Fault(format!("the system gives no random numbers: {error}")))?;
    Ok(Message::Hello(Hello {
        version: PROTOCOL_VERSION,
        network: network.id(),
        key: NodeKey(keys.public().0),
        nonce: u64::from_le_bytes(nonce),
        port: 0,
        claim,
        features: 0,
        agent: concat!("triskel-snapshot/", env!("CARGO_PKG_VERSION")).to_owned(),
    }))
}

/// The next message of a stream of frames; none if that has ended. Or why the stream cannot be read.
fn read_message(
    stream: &mut impl Read,
    (decoder, opener): (&mut Decoder, &mut Option<Opener>),
    name: &impl Display,
) -> Result<io::Result<Option<Message>>, TransferError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let next = noise::next_message(decoder, opener);
        let next =
            next.map_err(|error| TransferError::Damaged(name.to_string(), error.to_string()))?;
        if let Some((message, _)) = next {
            return Ok(Ok(Some(message)));
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Ok(None)),
            Ok(count) => noise::take(decoder, opener, &buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// A running node.
struct Peer {
    endpoint: Endpoint,
    stream: TcpStream,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    decoder: Decoder,
    claim: Tip,
}

impl Peer {
    fn connect(
        endpoint: &Endpoint,
        config: &PeerConfig,
        network: &Network,
    ) -> Result<Self, TransferError> {
        // Nobody's: the connection is not meant to last.
        let keys = identity::generate()?;
        let credentials = Credentials::configured(config, &keys)?;
        let failed = |source| TransferError::Peer {
            endpoint: endpoint.clone(),
            source,
        };
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in addresses(endpoint).map_err(failed)? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(mut stream) => {
                    let prepared = stream
                        .set_read_timeout(Some(PATIENCE))
                        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
                        .and_then(|()| stream.set_nodelay(true));
                    prepared.map_err(failed)?;
                    let (sealer, opener) = match &credentials {
                        None => (None, None),
                        Some(credentials) => {
                            let shaken = noise::shake_blocking(credentials, &mut stream, true);
                            let Secured { sealer, opener, .. } =
                                shaken.map_err(failed)?.map_err(|source| {
                                    TransferError::OtherTransport {
                                        endpoint: endpoint.clone(),
                                        source,
                                    }
                                })?;
                            (Some(sealer), Some(opener))
                        }
                    };
                    let claim = nothing(network);
                    let mut peer = Self {
                        endpoint: endpoint.clone(),
                        stream,
                        sealer,
                        opener,
                        decoder: Decoder::default(),
                        claim: claim.clone(),
                    };
                    peer.send(&hello(network, &keys, claim)?)?;
                    return Ok(peer);
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    fn failed(&self, source: io::Error) -> TransferError {
        let endpoint = self.endpoint.clone();
        match source.kind() {
            // What an elapsed read timeout is called differs between systems.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => TransferError::Peer {
                endpoint,
                source: io::Error::new(
                    ErrorKind::TimedOut,
                    format!("no answer within {PATIENCE:?}"),
                ),
            },
            _ => TransferError::Peer { endpoint, source },
        }
    }

    fn send(&mut self, message: &Message) -> Result<(), TransferError> {
        let frame = frame::encode(message);
        let sent = match &mut self.sealer {
            Some(sealer) => sealer.seal(&frame),
            None => &frame,
        };
        let sent = self.stream.write_all(sent);
        sent.map_err(|error| self.failed(error))
    }

    fn receive(&mut self) -> Result<Message, TransferError> {
        let wire = (&mut self.decoder, &mut self.opener);
        match read_message(&mut self.stream, wire, &self.endpoint)? {
            Ok(Some(message)) => Ok(message),
            Ok(None) => {
                let text = "it ended the connection";
                Err(self.failed(io::Error::new(ErrorKind::UnexpectedEof, text)))
            }
            Err(error) => Err(self.failed(error)),
        }
    }
}

impl Source for Peer {
    fn name(&self) -> String {
        self.endpoint.to_string()
    }

    fn hello(&mut self) -> Result<Message, TransferError> {
        let message = self.receive()?;
        self.decoder.greeted();
        if let Some(opener) = &mut self.opener {
            opener.greeted();
        }
        Ok(message)
    }

    fn ask(&mut self, question: Message) -> Result<Message, TransferError> {
        self.send(&question)?;
        loop {
            let message = self.receive()?;
            match (&question, &message) {
                (Message::RequestAccounts { .. }, Message::Accounts { .. })
                | (Message::RequestBlocksById { .. }, Message::Blocks { .. })
                | (Message::RequestHeaders { .. }, Message::Headers { .. }) => return Ok(message),
                (_, Message::Ping { nonce, .. }) => {
                    let (nonce, claim) = (*nonce, self.claim.clone());
                    self.send(&Message::Pong { nonce, claim })?;
                }
                // News of a network that this program does not take part in.
                _ => {}
            }
        }
    }
}

/// The store of a node that does not run.
struct Stored {
    name: String,
    store: Arc<Store>,
    settled: BlockId,
    hello: Message,
}

impl Stored {
    fn open(path: &Path, network: &Arc<Network>) -> Result<Self, TransferError> {
        let empty = || TransferError::Empty(path.to_owned());
        if !path.join("blocks").exists() {
            return Err(empty());
        }
        let store = Store::open(Claim::take(path)?, network, CACHE_BYTES)?;
        let tip = store.tip()?.ok_or_else(empty)?;
        let mut overlay = Overlay::new(&*store);
        let chain = Chain::restore(Arc::clone(network), false, &mut overlay)?;
        let claim = Tip {
            number: tip.number,
            pruned: tip.pruned,
            ..nothing(network)
        };
        Ok(Self {
            name: name(&Origin::Directory(path.to_owned())),
            settled: chain.settled().unwrap_or_default(),
            hello: hello(network, &identity::generate()?, claim)?,
            store,
        })
    }
}

impl Source for Stored {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn hello(&mut self) -> Result<Message, TransferError> {
        Ok(self.hello.clone())
    }

    fn ask(&mut self, question: Message) -> Result<Message, TransferError> {
        let request = match question {
            Message::RequestAccounts { block, after } => Request::Accounts {
                block: block.unwrap_or(self.settled),
                after,
            },
            Message::RequestBlocksById { ids } => Request::BlocksById { ids },
            Message::RequestHeaders { locator } => Request::Headers { locator },
            _ => unreachable!("a snapshot asks nothing else"),
        };
        Ok(serve(&*self.store, &request)?)
    }
}

/// A file of answers.
struct Recorded {
    name: String,
    path: PathBuf,
    file: File,
    decoder: Decoder,
}

impl Recorded {
    fn open(path: &Path) -> Result<Self, TransferError> {
        let file = File::open(path).map_err(|source| TransferError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            name: name(&Origin::File(path.to_owned())),
            path: path.to_owned(),
            file,
            decoder: Decoder::default(),
        })
    }

    fn next(&mut self) -> Result<Message, TransferError> {
        let wire = (&mut self.decoder, &mut None);
        match read_message(&mut self.file, wire, &self.name)? {
            Ok(Some(message)) => Ok(message),
            Ok(None) => {
                let reason = "it ends early".to_owned();
                Err(TransferError::Damaged(self.name.clone(), reason))
            }
            Err(source) => Err(TransferError::File {
                action: "read",
                path: self.path.clone(),
                source,
            }),
        }
    }
}

impl Source for Recorded {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn hello(&mut self) -> Result<Message, TransferError> {
        let message = self.next()?;
        self.decoder.greeted();
        Ok(message)
    }

    fn ask(&mut self, _question: Message) -> Result<Message, TransferError> {
        self.next()
    }
}
