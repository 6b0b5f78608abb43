//! A client for the control interface.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method as Verb, Request};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Method;

/// The longest answer that is read, in bytes: a full block's ids fit many times.
const ANSWER_LIMIT: usize = 16 << 20;

/// Why a node did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("no answer from {address}: {reason}")]
    Unreachable {
        /// Who was asked.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// Somebody answers something else.
    #[error("{address} does not answer as a node does: {reason}")]
    Malformed {
        /// Who was asked.
        address: SocketAddr,
        /// What is wrong.
        reason: String,
    },
    /// The node refuses.
    #[error("{message} (code {code})")]
    Refused {
        /// See [`code`](super::code).
        code: i32,
        /// Why.
        message: String,
    },
}

/// Speaks to one node.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    result: Value,
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    code: i32,
    message: String,
}

impl Client {
    /// A client of the node at `address`. Connects at the first call.
    pub fn new(address: SocketAddr) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self { address, http }
    }

    /// Calls a method.
    pub async fn call<M: Method>(&self, method: M) -> Result<M::Answer, ClientError> {
        let mut params = serde_json::to_value(method).map_err(|error| self.malformed(error))?;
        // A method without parameters has none at all.
        if params.is_null() {
            params = json!({});
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": M::NAME, "params": params });
        let request = Request::builder()
            .method(Verb::POST)
            .uri(format!("http://{}/", self.address))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()));
        let request = request.map_err(|error| self.malformed(error))?;
        let (_, text) = self.send(request).await?;
        let reply: Reply = serde_json::from_str(&text).map_err(|error| self.malformed(error))?;
        if let Some(ReplyError { code, message }) = reply.error {
            return Err(ClientError::Refused { code, message });
        }
        serde_json::from_value(reply.result).map_err(|error| self.malformed(error))
    }

    /// Gets a page, as `/health`: status code and text.
    pub async fn get(&self, path: &str) -> Result<(u16, String), ClientError> {
        let request = Request::builder()
            .uri(format!("http://{}{path}", self.address))
            .body(Full::default());
        self.send(request.map_err(|error| self.malformed(error))?)
            .await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(u16, String), ClientError> {
        let answer = self.http.request(request).await;
        let answer = answer.map_err(|error| ClientError::Unreachable {
            address: self.address,
            reason: innermost(&error),
        })?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT);
        let body = body
            .collect()
            .await
            .map_err(|error| self.malformed(error))?;
        let text = String::from_utf8(body.to_bytes().to_vec());
        Ok((status, text.map_err(|error| self.malformed(error))?))
    }

    fn malformed(&self, error: impl ToString) -> ClientError {
        ClientError::Malformed {
            address: self.address,
            reason: error.to_string(),
        }
    }
}

/// Errors of the HTTP library say no more than that there was one; the cause says which.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
