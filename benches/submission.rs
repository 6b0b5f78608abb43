//! Transfers, and how they are handed to a node many at a time.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use triskel::protocol::chain::id::{AccountId, BlockId};
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::transaction::{Transaction, Transfer};
use triskel::rpc::{Method, SubmitTransaction};

/// The keys of a sender.
pub(crate) fn keys(number: usize) -> KeyPair {
    KeyPair::from_seed(format!("sender {number}").as_bytes())
}

/// A transfer of one unit.
pub(crate) fn transfer(
    network: &BlockId,
    sender: &KeyPair,
    recipient: AccountId,
    nonce: u64,
) -> Transaction {
    let transfer = Transfer {
        sender: sender.public(),
        recipient,
        amount: 1,
        fee: 1,
        nonce,
    };
    transfer.sign(network, sender)
}

/// The call that hands it in.
pub(crate) fn call(network: &BlockId, sender: &KeyPair, recipient: AccountId, nonce: u64) -> Value {
    let bytes = transfer(network, sender, recipient, nonce).to_bytes();
    let transaction: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let params = SubmitTransaction { transaction };
    json!({ "jsonrpc": "2.0", "id": nonce, "method": SubmitTransaction::NAME, "params": params })
}

/// Transfers of one request, and the request. All that can be done before the clock starts is: the load shares the processors with
/// the nodes.
pub(crate) struct Submission {
    /// How many transfers it has.
    pub(crate) count: usize,
    request: Vec<u8>,
}

impl Submission {
    pub(crate) fn new(calls: &[Value]) -> Self {
        let body = Value::from(calls).to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            count: calls.len(),
            request: request.into_bytes(),
        }
    }

    /// Sends it, and tells how many transfers were accepted.
    pub(crate) async fn send(&self, stream: &mut TcpStream) -> std::io::Result<u64> {
        stream.write_all(&self.request).await?;
        let mut answer = Vec::new();
        loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
                return Ok(body.matches("\"result\"").count() as u64);
            }
        }
    }
}
