//! What the methods of the control interface do.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use super::Refusal;
use super::supply::supply;
use crate::node::control::{Control, Order, Session};
use crate::protocol::chain::block::Stream;
use crate::protocol::chain::ordering::Ordered;
use crate::protocol::chain::transaction::{SharedTransaction, TRANSACTION_BYTES, Transaction};
use crate::protocol::chain::view::{Fault, Location, Record, View};
use crate::protocol::machine::Ban;
use crate::protocol::machine::io::{Command, Direction};
use crate::rpc::dag::{self, MAX_DAG_BLOCKS};
use crate::rpc::{self, Method, code};

/// Headers of one answer.
const MAX_HEADERS: u32 = 2_000;

/// Blocks of a DAG unless told otherwise.
const DEFAULT_DAG_BLOCKS: u32 = 200;

/// Ids of waiting transactions that are listed unless told otherwise.
const DEFAULT_IDS: u32 = 1_000;

/// Ids of waiting transactions that are listed at most.
const MAX_IDS: u32 = 100_000;

type Answer<T> = Result<T, Refusal>;

/// Calls a method by its name.
pub(super) async fn call(control: &Control, method: &str, params: Value) -> Answer<Value> {
    match method {
        rpc::GetStatus::NAME => run(params, |_: rpc::GetStatus| status(control)).await,
        rpc::GetPeers::NAME => run(params, |_: rpc::GetPeers| peers(control)).await,
        rpc::GetBlock::NAME => run(params, |method| block(control, method)).await,
        rpc::GetHeaders::NAME => run(params, |method| headers(control, method)).await,
        rpc::GetDag::NAME => run(params, |method| last_blocks(control, method)).await,
        rpc::GetTransaction::NAME => run(params, |method| transaction(control, method)).await,
        rpc::GetAccount::NAME => run(params, |method| account(control, method)).await,
        rpc::GetMempool::NAME => run(params, |method| mempool(control, method)).await,
        rpc::SubmitTransaction::NAME => run(params, |method| submit(control, method)).await,
        rpc::StartMining::NAME => {
            let command = Command::Mine(true);
            run(params, |_: rpc::StartMining| command_to(control, command)).await
        }
        rpc::StopMining::NAME => {
            let command = Command::Mine(false);
            run(params, |_: rpc::StopMining| command_to(control, command)).await
        }
        rpc::SetHashrate::NAME => run(params, |method| set_hashrate(control, method)).await,
        rpc::Connect::NAME => {
            let command = |method: rpc::Connect| Command::Connect(method.endpoint);
            run(params, |method| command_to(control, command(method))).await
        }
        rpc::Disconnect::NAME => run(params, |method| disconnect(control, method)).await,
        rpc::Ping::NAME => run(params, |_: rpc::Ping| command_to(control, Command::Ping)).await,
        rpc::GetSupply::NAME => run(params, |_: rpc::GetSupply| supply(control)).await,
        rpc::GetConditions::NAME => {
            let current = async { Ok(rpc::NodeConditions::clone(&control.links.current())) };
            run(params, |_: rpc::GetConditions| current).await
        }
        rpc::SetConditions::NAME => run(params, |method| set_conditions(control, method)).await,
        rpc::Stop::NAME => run(params, |_: rpc::Stop| order_to(control, Order::Stop)).await,
        _ => {
            let known = rpc::METHODS.join(", ");
            let message = format!("there is no method `{method:.64}`; there are {known}");
            Err(Refusal::new(code::METHOD_NOT_FOUND, message))
        }
    }
}

async fn run<M: Method, F: Future<Output = Answer<M::Answer>>>(
    params: Value,
    act: impl FnOnce(M) -> F,
) -> Answer<Value> {
    let method = M::deserialize(&params).map_err(|error| misfit::<M>(&params, &error))?;
    let answer = act(method).await?;
    serde_json::to_value(answer).map_err(|error| Refusal::new(code::INTERNAL, error))
}

/// Says which parameter does not fit. serde names a field that is missing or unknown, but not one whose value is wrong: that is the
/// one which by itself is wrong in the same way.
fn misfit<M: Method>(params: &Value, error: &serde_json::Error) -> Refusal {
    let error = error.to_string();
    let named = error.starts_with("missing field") || error.starts_with("unknown field");
    let alone = |name: &str, value: &Value| {
        let params = Value::Object([(name.to_owned(), value.clone())].into_iter().collect());
        M::deserialize(&params).is_err_and(|other| other.to_string() == error)
    };
    let mut fields = params.as_object().into_iter().flatten();
    let wrong = fields.find(|(name, value)| !named && alone(name, value));
    let place = wrong.map_or_else(String::new, |(name, _)| format!("{name}: "));
    Refusal::new(code::INVALID_PARAMS, format!("{}: {place}{error}", M::NAME))
}

/// Reads the store, and waits until what was read is on disk: what a user is told must survive.
async fn read<T>(control: &Control, read: impl FnOnce(&dyn View) -> Result<T, Fault>) -> Answer<T> {
    let result = read(&*control.store).map_err(internal)?;
    control.store.settled().await.map_err(internal)?;
    Ok(result)
}

fn internal(fault: Fault) -> Refusal {
    Refusal::new(code::INTERNAL, fault)
}

fn not_found(what: &str, name: impl std::fmt::Display) -> Refusal {
    Refusal::new(code::NOT_FOUND, format!("there is no {what} {name}"))
}

/// The same, where what is looked for may be in a body that the node has dropped.
fn not_here(control: &Control, what: &str, name: impl std::fmt::Display) -> Refusal {
    match control.snapshot.borrow().tip.pruned {
        0 => not_found(what, name),
        pruned => {
            let text = format!(
                "there is no {what} {name}; this node has dropped the blocks up to number {pruned}"
            );
            Refusal::new(code::NOT_FOUND, text)
        }
    }
}

async fn order_to(control: &Control, order: Order) -> Answer<()> {
    control.orders.send(order).await.map_err(|_| stopping())
}

fn stopping() -> Refusal {
    Refusal::new(code::INTERNAL, "the node is stopping")
}

/// Has the machine do something and waits until it has.
async fn command_to(control: &Control, command: Command) -> Answer<()> {
    ask(control, |reply| Order::Command { command, reply }).await
}

/// Asks the driver something and waits for the answer.
async fn ask<T>(control: &Control, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Answer<T> {
    let (reply, answer) = oneshot::channel();
    order_to(control, order(reply)).await?;
    answer.await.map_err(|_| stopping())
}

fn ban(ban: &Ban) -> rpc::Ban {
    let Ban {
        key,
        faults,
        remaining_ms,
    } = *ban;
    rpc::Ban {
        key,
        faults,
        remaining_ms,
    }
}

async fn status(control: &Control) -> Answer<rpc::Status> {
    let snapshot = Arc::clone(&control.snapshot.borrow());
    let balance = read(control, |view| view.account(&control.miner))
        .await?
        .balance;
    let count = |direction| {
        let sessions = snapshot.sessions.iter();
        sessions
            .filter(|session| session.direction == direction)
            .count() as u32
    };
    let by_name = |(stream, count): (&Stream, &u64)| (stream.to_string(), *count);
    Ok(rpc::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: control.network.params().name.clone(),
        network_id: control.network.id(),
        key: control.key,
        miner: control.network.address(&control.miner),
        balance,
        port: control.listening.port(),
        uptime_ms: control.started.elapsed().as_millis() as u64,
        blocks: snapshot.tip.number,
        red: snapshot.tip.red(),
        tip: header(&snapshot.record, snapshot.record.number),
        parents: snapshot.tip.parents.clone(),
        state_digest: snapshot.tip.accumulator.digest(),
        issued: snapshot.tip.issued,
        transactions: snapshot.tip.transactions,
        peers_inbound: count(Direction::Inbound),
        peers_outbound: count(Direction::Outbound),
        bans: snapshot.bans.iter().map(ban).collect(),
        mempool_transactions: snapshot.mempool_transactions as u64,
        mempool_bytes: snapshot.mempool_bytes as u64,
        mining: snapshot.mining,
        hashrate: snapshot.hashrate.iter().map(by_name).collect(),
        mined: snapshot.mined.iter().map(by_name).collect(),
        sync_remaining: snapshot.sync_remaining,
        pruned: snapshot.tip.pruned,
    })
}

fn header(record: &Record, number: u64) -> rpc::Header {
    let header = record.heading.header();
    rpc::Header {
        id: record.id(),
        number,
        stream: header.stream.to_string(),
        parents: record.heading.parents().to_vec(),
        timestamp_ms: header.timestamp_ms,
        bits: header.bits,
        nonce: header.nonce,
        work: record.work.to_string(),
        state_digest: header.state_digest,
    }
}

async fn peers(control: &Control) -> Answer<Vec<rpc::Peer>> {
    let sessions = ask(control, |reply| Order::Sessions { reply }).await?;
    let peer = |session: Session| rpc::Peer {
        key: session.key,
        remote: session.remote.to_string(),
        inbound: session.direction == Direction::Inbound,
        agent: session.agent,
        port: session.port,
        connected_ms: session.connected_ms,
        round_trip: session.round_trip,
        sent_bytes: session.sent_bytes,
        received_bytes: session.received_bytes,
        segments: session.segments,
        losses: session.losses,
        queued_bytes: session.queued_bytes,
        claimed_number: session.claimed_number,
    };
    Ok(sessions.into_iter().map(peer).collect())
}

async fn block(control: &Control, method: rpc::GetBlock) -> Answer<rpc::Block> {
    let rpc::GetBlock { id, number } = method;
    let find = |view: &dyn View| -> Result<Option<rpc::Block>, Fault> {
        let id = match (id, number) {
            (Some(id), None) => Some(id),
            (None, Some(number)) => view.ordered(number)?.map(|ordered| ordered.id),
            _ => return Ok(None),
        };
        let Some(id) = id else { return Ok(None) };
        let Some(record) = view.record(&id)? else {
            return Ok(None);
        };
        let Some(block) = view.block(&id)? else {
            return Ok(None);
        };
        let stream = control.network.stream(record.stream());
        let transactions = block.body().transactions.iter();
        let position = view.position(&id)?;
        Ok(Some(rpc::Block {
            header: header(&record, position.unwrap_or(record.number)),
            selected: position.is_some(),
            miner: control.network.address(&block.body().miner),
            reward: stream.map_or(0, |stream| stream.params.reward),
            size: block.bytes().len() as u64,
            transactions: transactions.map(|transaction| transaction.id()).collect(),
        }))
    };
    match (id, number) {
        (Some(id), None) => read(control, find)
            .await?
            .ok_or_else(|| not_here(control, "block", id)),
        (None, Some(number)) => read(control, find)
            .await?
            .ok_or_else(|| not_here(control, "block number", number)),
        _ => Err(Refusal::new(
            code::INVALID_PARAMS,
            "block: give an id or a number, one of both",
        )),
    }
}

async fn headers(control: &Control, method: rpc::GetHeaders) -> Answer<Vec<rpc::Header>> {
    if method.count > MAX_HEADERS {
        let message = format!("headers: count is {}, at most {MAX_HEADERS}", method.count);
        return Err(Refusal::new(code::INVALID_PARAMS, message));
    }
    let store = Arc::clone(&control.store);
    let collect = move || -> Result<Vec<rpc::Header>, Fault> {
        let mut headers = Vec::new();
        for number in (method.from..=u64::MAX).take(method.count as usize) {
            let Some(Ordered { id, .. }) = store.ordered(number)? else {
                break;
            };
            let record = store
                .record(&id)?
                .ok_or_else(|| Fault::missing("record of block", id))?;
            headers.push(header(&record, number));
        }
        Ok(headers)
    };
    let headers = tokio::task::spawn_blocking(collect).await;
    let headers = headers
        .expect("reading headers does not panic")
        .map_err(internal)?;
    control.store.settled().await.map_err(internal)?;
    Ok(headers)
}

async fn last_blocks(control: &Control, method: rpc::GetDag) -> Answer<rpc::Dag> {
    let last = method.last.unwrap_or(DEFAULT_DAG_BLOCKS);
    if !(1..=MAX_DAG_BLOCKS).contains(&last) {
        let message = format!("dag: last is {last}, allowed is 1 to {MAX_DAG_BLOCKS}");
        return Err(Refusal::new(code::INVALID_PARAMS, message));
    }
    let (store, network) = (Arc::clone(&control.store), Arc::clone(&control.network));
    let reading = tokio::task::spawn_blocking(move || dag::last(&*store, &network, last)).await;
    let dag = reading
        .expect("reading a DAG does not panic")
        .map_err(internal)?;
    control.store.settled().await.map_err(internal)?;
    Ok(dag)
}

async fn transaction(control: &Control, method: rpc::GetTransaction) -> Answer<rpc::Transaction> {
    let id = method.id;
    let find = |view: &dyn View| -> Result<Option<(SharedTransaction, rpc::Applied)>, Fault> {
        let Some(Location { block, index }) = view.transaction(&id)? else {
            return Ok(None);
        };
        // A reorganisation may come between two looks; then the transaction waits again.
        let (Some(body), Some(number)) = (view.block(&block)?, view.position(&block)?) else {
            return Ok(None);
        };
        let transaction = body.body().transactions.get(index as usize);
        let transaction = transaction.ok_or_else(|| Fault::missing("transaction", id))?;
        let applied = rpc::Applied {
            block,
            number,
            index,
        };
        Ok(Some((Arc::clone(transaction), applied)))
    };
    // In this order, since what waits no more has been stored.
    if let Some(waiting) = ask(control, |reply| Order::Waiting { id, reply }).await? {
        return Ok(describe(control, &waiting, None));
    }
    match read(control, find).await? {
        Some((transaction, applied)) => Ok(describe(control, &transaction, Some(applied))),
        None => Err(not_here(control, "transaction", id)),
    }
}

fn describe(
    control: &Control,
    transaction: &Transaction,
    applied: Option<rpc::Applied>,
) -> rpc::Transaction {
    let transfer = transaction.transfer();
    rpc::Transaction {
        id: transaction.id(),
        sender: control.network.address(&transfer.sender),
        recipient: control.network.address(&transfer.recipient),
        amount: transfer.amount,
        fee: transfer.fee,
        nonce: transfer.nonce,
        applied,
    }
}

async fn account(control: &Control, method: rpc::GetAccount) -> Answer<rpc::Account> {
    let parsed = control.network.account(&method.address);
    let id =
        parsed.map_err(|error| Refusal::new(code::INVALID_PARAMS, format!("account: {error}")))?;
    let answer = ask(control, |reply| Order::Account { id, reply }).await?;
    let (state, next_nonce) = answer.map_err(internal)?;
    control.store.settled().await.map_err(internal)?;
    let address = method.address;
    Ok(rpc::Account {
        address,
        balance: state.balance,
        nonce: state.nonce,
        next_nonce,
    })
}

async fn mempool(control: &Control, method: rpc::GetMempool) -> Answer<rpc::Mempool> {
    let limit = method.limit.unwrap_or(DEFAULT_IDS).min(MAX_IDS) as usize;
    let ids = ask(control, |reply| Order::Mempool { limit, reply }).await?;
    let snapshot = Arc::clone(&control.snapshot.borrow());
    Ok(rpc::Mempool {
        transactions: snapshot.mempool_transactions as u64,
        bytes: snapshot.mempool_bytes as u64,
        ids,
    })
}

async fn submit(control: &Control, method: rpc::SubmitTransaction) -> Answer<rpc::Submitted> {
    let refuse =
        |error: String| Refusal::new(code::INVALID_PARAMS, format!("submit_transaction: {error}"));
    let bytes = from_hex(&method.transaction).ok_or_else(|| {
        refuse(format!(
            "transaction must be {TRANSACTION_BYTES} bytes in hexadecimal"
        ))
    })?;
    let checked = control.checker.check(bytes).await.ok_or_else(stopping)?;
    let transaction = checked.map_err(|error| refuse(error.to_string()))?;
    let answer = ask(control, |reply| Order::Submit { transaction, reply }).await?;
    match answer {
        Ok(id) => Ok(rpc::Submitted { id }),
        Err(error) => Err(Refusal::new(code::REFUSED, error)),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * TRANSACTION_BYTES || !text.is_ascii() {
        return None;
    }
    let digit = |digit: u8| (digit as char).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8))
        .collect()
}

async fn set_hashrate(control: &Control, method: rpc::SetHashrate) -> Answer<()> {
    let refuse = |message: String| Refusal::new(code::INVALID_PARAMS, message);
    let stream = method
        .stream
        .as_deref()
        .map(str::parse::<Stream>)
        .transpose();
    let stream = stream.map_err(|error| refuse(format!("set_hashrate: {error}")))?;
    if let Some(stream) = stream.filter(|stream| control.network.stream(*stream).is_none()) {
        return Err(refuse(format!(
            "set_hashrate: this network has no stream {stream}"
        )));
    }
    order_to(
        control,
        Order::Hashrate {
            stream,
            hashrate: method.hashrate,
        },
    )
    .await
}

async fn disconnect(control: &Control, method: rpc::Disconnect) -> Answer<()> {
    let snapshot = Arc::clone(&control.snapshot.borrow());
    if !snapshot
        .sessions
        .iter()
        .any(|session| session.key == method.key)
    {
        return Err(not_found("session with", method.key));
    }
    command_to(control, Command::Disconnect(method.key)).await
}

async fn set_conditions(control: &Control, method: rpc::SetConditions) -> Answer<()> {
    let wanted = rpc::NodeConditions::from(method);
    let checked = wanted.check();
    checked
        .map_err(|error| Refusal::new(code::INVALID_PARAMS, format!("set_conditions: {error}")))?;
    let lifted = Arc::clone(&control.links).set(wanted).await;
    if lifted.map_err(|error| Refusal::new(code::INTERNAL, error))? {
        command_to(control, Command::Redial).await?;
    }
    Ok(())
}
