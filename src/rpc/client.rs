//! A client for the control interface, and for the pages beside it.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Method as HttpMethod, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Method;

/// The longest answer that is read: 2,000 headers are below 2 MB.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// How long an answer is waited for, unless told otherwise. One that waits for the disk takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no node answers at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// The answer did not come in time.
    #[error("the node at {address} did not answer within {timeout_ms} ms")]
    Timeout {
        /// Where.
        address: SocketAddr,
        /// The time that it had.
        timeout_ms: u64,
    },
    /// The node refuses.
    #[error("{message}")]
    Refused {
        /// See [`super::code`].
        code: i32,
        /// Why.
        message: String,
    },
    /// What came back is not an answer.
    #[error("the answer of {address} is none: {reason}")]
    Malformed {
        /// Where.
        address: SocketAddr,
        /// What is wrong with it.
        reason: String,
    },
}

/// Asks one node. Cheap to clone; connections are kept and shared.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    timeout: Duration,
    http: legacy::Client<HttpConnector, Full<Bytes>>,
}

/// What JSON-RPC 2.0 answers.
#[derive(Deserialize)]
struct Response {
    /// Absent where there is an error; null where a method has nothing to say.
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<Refusal>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Refusal {
    code: i32,
    message: String,
}

impl Client {
    /// A client of the node whose control interface listens at `address`. Nothing is sent yet.
    pub fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self {
            address,
            timeout: TIMEOUT,
            http,
        }
    }

    /// The same client, waiting this long for an answer.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls a method.
    ///
    /// # Errors
    ///
    /// Nobody answers, not in time, not with sense, or with a refusal.
    pub async fn call<M: Method>(&self, method: M) -> Result<M::Answer, ClientError> {
        let request = self.request(1, &method)?;
        let response = self.exchange(&request).await?;
        self.answer::<M>(response)
    }

    /// Calls a method many times in one request, at most 100 times: the node answers together what it can do together. The answers
    /// are in the order of the calls.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call), for all calls or for one.
    pub async fn batch<M: Method>(
        &self,
        methods: Vec<M>,
    ) -> Result<Vec<Result<M::Answer, ClientError>>, ClientError> {
        let requests = methods.iter().zip(0..);
        let requests: Result<Vec<_>, _> = requests
            .map(|(method, id)| self.request(id, method))
            .collect();
        let responses: Vec<Response> = self.exchange(&Value::Array(requests?)).await?;
        if responses.len() != methods.len() {
            return Err(self.malformed(format!(
                "{} answers to {} calls",
                responses.len(),
                methods.len()
            )));
        }
        let answers = responses.into_iter();
        Ok(answers.map(|response| self.answer::<M>(response)).collect())
    }

    fn request<M: Method>(&self, id: u64, method: &M) -> Result<Value, ClientError> {
        let params = serde_json::to_value(method).map_err(|error| self.malformed(error))?;
        Ok(json!({ "jsonrpc": "2.0", "id": id, "method": M::NAME, "params": params }))
    }

    async fn exchange<T: DeserializeOwned>(&self, request: &Value) -> Result<T, ClientError> {
        let (status, body) = self
            .send(HttpMethod::POST, "/", request.to_string())
            .await?;
        if status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body);
            return Err(self.malformed(format!("HTTP status {status}: {}", text.trim())));
        }
        serde_json::from_slice(&body).map_err(|error| self.malformed(error))
    }

    fn answer<M: Method>(&self, response: Response) -> Result<M::Answer, ClientError> {
        if let Some(Refusal { code, message }) = response.error {
            return Err(ClientError::Refused { code, message });
        }
        let Some(result) = response.result else {
            return Err(self.malformed("it has neither a result nor an error"));
        };
        serde_json::from_value(result).map_err(|error| self.malformed(error))
    }

    /// Gets a page, as `/health` or `/metrics`: the status and the text.
    ///
    /// # Errors
    ///
    /// Nobody answers, not in time, or not with text.
    pub async fn get(&self, path: &str) -> Result<(u16, String), ClientError> {
        let (status, body) = self.send(HttpMethod::GET, path, String::new()).await?;
        let text = String::from_utf8(body.to_vec()).map_err(|error| self.malformed(error))?;
        Ok((status.as_u16(), text))
    }

    async fn send(
        &self,
        method: HttpMethod,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .map_err(|error| self.malformed(error))?;
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| self.unreachable(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
                .collect()
                .await;
            match body {
                Ok(body) => Ok((status, body.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(self.malformed("it is too long"))
                }
                Err(error) => Err(self.unreachable(error.as_ref())),
            }
        };
        let late = |_| ClientError::Timeout {
            address: self.address,
            timeout_ms: self.timeout.as_millis() as u64,
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(late)?
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        // The innermost reason is the one that says something: "Connection refused".
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        ClientError::Unreachable {
            address: self.address,
            reason: innermost.to_string(),
        }
    }

    fn malformed(&self, reason: impl ToString) -> ClientError {
        ClientError::Malformed {
            address: self.address,
            reason: reason.to_string(),
        }
    }
}
