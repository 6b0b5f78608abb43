//! JSON-RPC 2.0 over HTTP: requests in, answers out. What the methods do stands in `methods.rs`.

mod methods;
mod supply;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::control::Control;
use crate::rpc::{METHODS, code};

/// Bytes of one HTTP request: a batch of hundreds of transactions.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// Requests of one batch: each may wait for the disk.
const MAX_BATCH: usize = 100;

/// Why a request is not answered with a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: i32,
    message: String,
}

impl Refusal {
    pub(super) fn new(code: i32, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

/// Serves the control interface at `/`.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/", get(index).post(serve))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(control)
}

async fn index(State(control): State<Control>) -> String {
    let mut page = format!(
        "Triskel node {} of network {} ({})\n\nJSON-RPC 2.0: POST to / as application/json.\n\n  \
         curl -s HOST:PORT -H 'content-type: application/json' \\\n    \
         -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}}'\n\nMethods:\n",
        env!("CARGO_PKG_VERSION"),
        control.network.params().name,
        control.network.id(),
    );
    for method in METHODS {
        page.push_str(&format!("  {method}\n"));
    }
    page
}

async fn serve(State(control): State<Control>, headers: HeaderMap, body: Bytes) -> Response {
    // A page of a browser can send forms and plain text to any port, but not this type without being asked for leave.
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    if !essence.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        let advice = "send the request as content-type: application/json\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, advice).into_response();
    }
    match respond(&control, &body).await {
        Some(answer) => (
            [(header::CONTENT_TYPE, "application/json")],
            answer.to_string(),
        )
            .into_response(),
        // Nobody waits for the answer to a notification.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// The answer to the body of a request; `None` if nobody waits for one.
pub async fn respond(control: &Control, body: &[u8]) -> Option<Value> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(requests)) => batch(control, requests).await,
        Ok(request) => answer(control, request).await,
        Err(error) => Some(failure(Value::Null, Refusal::new(code::PARSE, error))),
    }
}

async fn batch(control: &Control, requests: Vec<Value>) -> Option<Value> {
    if requests.is_empty() || requests.len() > MAX_BATCH {
        let message = format!(
            "a batch holds 1 to {MAX_BATCH} requests, not {}",
            requests.len()
        );
        return Some(failure(
            Value::Null,
            Refusal::new(code::INVALID_REQUEST, message),
        ));
    }
    // Together, so that they wait for the disk once; each begins before the next one does.
    let answers = join_all(requests.into_iter().map(|request| answer(control, request))).await;
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    (!answers.is_empty()).then_some(Value::Array(answers))
}

/// The answer to one request; `None` to a notification.
async fn answer(control: &Control, request: Value) -> Option<Value> {
    let invalid =
        |id: Value, message: &str| Some(failure(id, Refusal::new(code::INVALID_REQUEST, message)));
    let Value::Object(mut request) = request else {
        return invalid(Value::Null, "a request is an object");
    };
    let id = request.remove("id");
    if !matches!(
        id,
        None | Some(Value::Null | Value::String(_) | Value::Number(_))
    ) {
        return invalid(Value::Null, "an id is a string, a number or null");
    }
    let name = id.clone().unwrap_or(Value::Null);
    if request.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return invalid(name, "jsonrpc must be \"2.0\"");
    }
    let Some(Value::String(method)) = request.remove("method") else {
        return invalid(name, "method must be a string");
    };
    let params = match request.remove("params") {
        None | Some(Value::Null) => json!({}),
        Some(Value::Array(list)) if list.is_empty() => json!({}),
        Some(Value::Object(map)) => Value::Object(map),
        Some(_) => return invalid(name, "params are named: an object"),
    };
    let result = methods::call(control, &method, params).await;
    id?;
    Some(match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": name, "result": result }),
        Err(refusal) => failure(name, refusal),
    })
}

fn failure(id: Value, refusal: Refusal) -> Value {
    let Refusal { code, message } = refusal;
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}
