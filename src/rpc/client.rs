//! A client for the control interface.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

use super::Method;

/// Speaks to one node. Connections are kept and used again.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node answered with an error.
    #[error("{message} (code {code})")]
    Rpc {
        /// See [`super::code`].
        code: i32,
        /// For people.
        message: String,
    },
    /// The node cannot be reached.
    #[error("{0}")]
    Connect(#[from] legacy::Error),
    /// The connection broke.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// What came is no answer.
    #[error("not an answer: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Call<'a, M> {
    jsonrpc: &'a str,
    id: u32,
    method: &'a str,
    params: &'a M,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: serde_json::Value,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: i32,
    message: String,
}

impl Client {
    /// A client for the node whose control interface is at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let uri = format!("http://{address}/");
        Self {
            http: legacy::Client::builder(TokioExecutor::new()).build_http(),
            uri: uri.parse().expect("an address makes a URI"),
        }
    }

    /// Calls a method.
    pub async fn call<M: Method>(&self, method: M) -> Result<M::Answer, ClientError> {
        let call = Call {
            jsonrpc: "2.0",
            id: 1,
            method: M::NAME,
            params: &method,
        };
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(&call)?))
            .expect("a method, a URI and a header make a request");
        let response = self.http.request(request).await?;
        let bytes = response.into_body().collect().await?.to_bytes();
        let answer: Answer = serde_json::from_slice(&bytes)?;
        match answer.error {
            Some(Failure { code, message }) => Err(ClientError::Rpc { code, message }),
            None => Ok(serde_json::from_value(answer.result)?),
        }
    }
}
