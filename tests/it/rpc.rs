//! The control interface of a whole node: what it answers, and what it says of requests that it does not understand.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use triskel::node::NodeConfig;
use triskel::protocol::chain::id::{BlockId, NodeKey, TransactionId};
use triskel::protocol::chain::key::KeyPair;
use triskel::protocol::chain::transaction::{SharedTransaction, Transfer};
use triskel::rpc::client::{Client, ClientError};
use triskel::rpc::{self, code};

use super::node::{Member, PATIENCE};

fn quiet(config: &mut NodeConfig) {
    config.mining.enabled = false;
}

fn client(member: &Member) -> Client {
    Client::new(member.node.rpc().unwrap())
}

/// Sends bytes as one HTTP request and returns the status and the body.
async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request =
        format!("{head}host: node\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    // The node may answer before it has read a body that is too long.
    socket.write_all(body).await.ok();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.ok();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

const POST: &str = "POST / HTTP/1.1\r\ncontent-type: application/json\r\n";

async fn post(member: &Member, body: &[u8]) -> (u16, Value) {
    let (status, body) = exchange(member.node.rpc().unwrap(), POST, body).await;
    let value = serde_json::from_str(&body).unwrap_or(Value::Null);
    (status, value)
}

async fn ask(member: &Member, request: Value) -> Value {
    let (status, answer) = post(member, request.to_string().as_bytes()).await;
    assert_eq!(status, 200, "{request}");
    answer
}

/// The code and the message with which a method refuses parameters.
async fn refused(member: &Member, method: &str, params: Value) -> (i64, String) {
    let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let answer = ask(member, request).await;
    assert_eq!(answer["id"], 7);
    let error = &answer["error"];
    let message = error["message"].as_str().unwrap_or_default().to_owned();
    (error["code"].as_i64().unwrap_or_default(), message)
}

fn code_of<T: std::fmt::Debug>(result: Result<T, ClientError>) -> i32 {
    match result.unwrap_err() {
        ClientError::Refused { code, .. } => code,
        error => panic!("{error}"),
    }
}

fn hex(transaction: &SharedTransaction) -> String {
    let bytes = transaction.to_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until the node says so.
async fn until(client: &Client, what: &str, reached: impl Fn(&rpc::Status) -> bool) -> rpc::Status {
    let waiting = async {
        loop {
            let status = client.call(rpc::GetStatus {}).await.unwrap();
            if reached(&status) {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{what} is not reached"))
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_and_mining_are_told_as_they_are() {
    let member = Member::start(quiet).await;
    let client = client(&member);
    let none = rpc::SetHashrate {
        stream: Some("A".into()),
        hashrate: 2_500,
    };
    client.call(none).await.unwrap();
    client.call(rpc::StartMining {}).await.unwrap();
    until(&client, "five blocks", |status| status.tip.number >= 5).await;
    client.call(rpc::StopMining {}).await.unwrap();
    // The last block counts as mined a moment before it is on disk.
    let status = until(&client, "rest", |status| {
        !status.mining && status.mined["A"] == status.tip.number
    })
    .await;
    assert_eq!(status.hashrate["A"], 2_500);
    assert_eq!(status.mined["A"], status.tip.number);
    assert!(status.balance > 0 && status.issued >= status.balance);
    assert_eq!(status.port, member.node.listening().port());

    let count = status.tip.number as u32 + 10;
    let headers = client
        .call(rpc::GetHeaders { from: 0, count })
        .await
        .unwrap();
    assert_eq!(headers.len() as u64, status.tip.number + 1);
    assert_eq!(headers[0].id, status.network_id);
    assert_eq!(*headers.last().unwrap(), status.tip);
    for pair in headers.windows(2) {
        assert_eq!(pair[1].parents, [pair[0].id]);
    }
    let dag = client.call(rpc::GetDag { last: None }).await.unwrap();
    let ids = |headers: &[rpc::Header]| headers.iter().map(|header| header.id).collect::<Vec<_>>();
    let drawn: Vec<_> = dag.blocks.iter().map(|block| block.id).collect();
    assert_eq!(drawn, ids(&headers));
    let miner = Some(&status.miner);
    let is_own = |block: &rpc::DagBlock| block.chain && block.miner.as_ref() == miner;
    assert!(dag.blocks[1..].iter().all(is_own) && dag.beside.is_empty());
    assert_eq!(dag.parents, status.parents);
    let two = client.call(rpc::GetDag { last: Some(2) }).await.unwrap();
    assert_eq!(two.blocks, dag.blocks[dag.blocks.len() - 2..]);
    let by_id = rpc::GetBlock {
        id: Some(headers[3].id),
        number: None,
    };
    let by_number = rpc::GetBlock {
        id: None,
        number: Some(3),
    };
    let block = client.call(by_id).await.unwrap();
    assert_eq!(block, client.call(by_number).await.unwrap());
    assert!(block.selected && block.header == headers[3] && block.miner == status.miner);

    let account = rpc::GetAccount {
        address: status.miner.clone(),
    };
    let account = client.call(account).await.unwrap();
    assert_eq!((account.balance, account.next_nonce), (status.balance, 0));
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submitted_transfer_waits_and_is_applied() {
    let folder = TempDir::new().unwrap();
    let keys = KeyPair::from_seed(b"payer");
    let member = Member::resume(folder, |config| {
        quiet(config);
        let network = config.network().unwrap();
        config.mining.address = Some(network.address(&keys.public()));
    })
    .await;
    let client = client(&member);
    client.call(rpc::StartMining {}).await.unwrap();
    until(&client, "a reward", |status| status.balance > 0).await;
    client.call(rpc::StopMining {}).await.unwrap();
    let status = until(&client, "rest", |status| !status.mining).await;
    let transfer = |amount: u64| Transfer {
        sender: keys.public(),
        recipient: KeyPair::from_seed(b"payee").public(),
        amount,
        fee: 1_000,
        nonce: 0,
    };
    let transaction = Arc::new(transfer(5).sign(&status.network_id, &keys));
    let submit = |transaction: &SharedTransaction| rpc::SubmitTransaction {
        transaction: hex(transaction),
    };
    let submitted = client.call(submit(&transaction)).await.unwrap();
    assert_eq!(submitted.id, transaction.id());
    let question = rpc::GetTransaction { id: submitted.id };
    let waiting = client.call(question.clone()).await.unwrap();
    assert_eq!(
        (waiting.amount, waiting.fee, waiting.applied),
        (5, 1_000, None)
    );
    let mempool = client.call(rpc::GetMempool { limit: None }).await.unwrap();
    assert_eq!(mempool.ids, [submitted.id]);
    let account = client
        .call(rpc::GetAccount {
            address: status.miner,
        })
        .await
        .unwrap();
    assert_eq!((account.nonce, account.next_nonce), (0, 1));
    // Of another network, and of more than there is.
    let foreign = Arc::new(transfer(5).sign(&BlockId([3; 32]), &keys));
    assert_eq!(
        code_of(client.call(submit(&foreign)).await),
        code::INVALID_PARAMS
    );
    let rich = Arc::new(transfer(u64::MAX - 1_000).sign(&status.network_id, &keys));
    assert_eq!(code_of(client.call(submit(&rich)).await), code::REFUSED);

    client.call(rpc::StartMining {}).await.unwrap();
    until(&client, "its application", |status| status.transactions > 0).await;
    client.call(rpc::StopMining {}).await.unwrap();
    let applied = client.call(question).await.unwrap().applied.unwrap();
    let block = client
        .call(rpc::GetBlock {
            id: Some(applied.block),
            number: None,
        })
        .await
        .unwrap();
    assert_eq!(block.transactions[applied.index as usize], submitted.id);
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_made_and_ended_and_the_node_stops() {
    let left = Member::start(quiet).await;
    let right = Member::start(quiet).await;
    let client = client(&left);
    client
        .call(rpc::Connect {
            endpoint: right.endpoint(),
        })
        .await
        .unwrap();
    until(&client, "a session", |status| status.peers_outbound == 1).await;
    let peers = client.call(rpc::GetPeers {}).await.unwrap();
    let key = right.node.control().key;
    assert!(
        peers[0].key == key && !peers[0].inbound && peers[0].port == right.node.listening().port()
    );
    client.call(rpc::Disconnect { key }).await.unwrap();
    let nobody = rpc::Disconnect {
        key: NodeKey([9; 32]),
    };
    assert_eq!(code_of(client.call(nobody).await), code::NOT_FOUND);
    client.call(rpc::Stop {}).await.unwrap();
    left.node.ended().await.unwrap();
    // A connection that still stands may yet be answered, but only with a refusal: the store is closed.
    assert!(client.call(rpc::GetStatus {}).await.is_err());
    right.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let member = Member::start(quiet).await;
    let client = client(&member);
    let question = rpc::GetTransaction {
        id: TransactionId([1; 32]),
    };
    assert_eq!(code_of(client.call(question).await), code::NOT_FOUND);
    let question = rpc::GetBlock {
        id: Some(BlockId([1; 32])),
        number: None,
    };
    assert_eq!(code_of(client.call(question).await), code::NOT_FOUND);
    let question = rpc::GetBlock {
        id: None,
        number: Some(u64::MAX),
    };
    assert_eq!(code_of(client.call(question).await), code::NOT_FOUND);
    let beyond = rpc::GetHeaders {
        from: u64::MAX,
        count: 2_000,
    };
    assert_eq!(client.call(beyond).await.unwrap(), []);
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named() {
    let member = Member::start(quiet).await;
    let invalid = i64::from(code::INVALID_PARAMS);
    for (method, params, named) in [
        ("headers", json!({ "from": 0 }), "count"),
        ("headers", json!({ "from": -1, "count": 1 }), "from"),
        ("headers", json!({ "from": 0, "count": "ten" }), "count"),
        ("headers", json!({ "from": 0, "count": 2_001 }), "count"),
        (
            "headers",
            json!({ "from": 0, "count": 1, "extra": 1 }),
            "extra",
        ),
        ("dag", json!({ "last": 0 }), "last is 0"),
        ("dag", json!({ "last": 2_001 }), "1 to 2000"),
        ("dag", json!({ "last": "all" }), "last"),
        ("block", json!({}), "id or a number"),
        ("block", json!({ "id": "zz" }), "id"),
        ("block", json!({ "number": 1e300 }), "number"),
        ("transaction", json!({ "id": "\u{e9}\u{fc}" }), "id"),
        (
            "account",
            json!({ "address": "\u{4f60}\u{597d}" }),
            "account",
        ),
        (
            "submit_transaction",
            json!({ "transaction": "\u{e9}".repeat(300) }),
            "transaction",
        ),
        (
            "set_hashrate",
            json!({ "stream": "D", "hashrate": 1 }),
            "set_hashrate",
        ),
        (
            "set_hashrate",
            json!({ "stream": "B", "hashrate": 1 }),
            "stream B",
        ),
        ("set_hashrate", json!({ "hashrate": 1.5 }), "hashrate"),
        ("connect", json!({ "endpoint": "nowhere" }), "endpoint"),
        ("disconnect", json!({ "key": 5 }), "key"),
        ("status", json!({ "verbose": true }), "verbose"),
    ] {
        let (code, message) = refused(&member, method, params.clone()).await;
        assert_eq!(code, invalid, "{method} {params}: {message}");
        assert!(message.contains(named), "{method} {params}: {message}");
    }
    // A number that no counter can hold.
    let huge = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"block","params":{{"number":{}}}}}"#,
        "9".repeat(60)
    );
    let (_, answer) = post(&member, huge.as_bytes()).await;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("number"),
        "{answer}"
    );
    let (code, message) = refused(&member, "fly", json!({})).await;
    assert_eq!(code, i64::from(code::METHOD_NOT_FOUND));
    assert!(message.contains("`fly`") && message.contains("submit_transaction"));
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_notifications_follow_the_standard() {
    let member = Member::start(quiet).await;
    let status = |id: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "status" });
    let silent = json!({ "jsonrpc": "2.0", "method": "status" });
    let answers = ask(
        &member,
        json!([status(json!("\u{fc}")), silent, 5, status(json!(2))]),
    )
    .await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(
        (&answers[0]["id"], &answers[2]["id"]),
        (&json!("\u{fc}"), &json!(2))
    );
    assert_eq!(answers[1]["error"]["code"], code::INVALID_REQUEST);
    for nothing in [silent.clone(), json!([silent])] {
        let (code, body) = post(&member, nothing.to_string().as_bytes()).await;
        assert_eq!((code, body), (204, Value::Null));
    }
    for invalid in [
        json!([]),
        Value::Array(vec![status(json!(1)); 101]),
        json!("status"),
        json!({ "id": 1, "method": "status" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": 5 }),
        json!({ "jsonrpc": "2.0", "id": {}, "method": "status" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "block", "params": [3] }),
    ] {
        assert_eq!(
            ask(&member, invalid).await["error"]["code"],
            code::INVALID_REQUEST
        );
    }
    member.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_are_refused() {
    let member = Member::start(quiet).await;
    let address = member.node.rpc().unwrap();
    let nested = "[".repeat(100_000);
    for malformed in [
        &b"{"[..],
        b"",
        b"\xff\xfe",
        b"{\"id\": \xc3\x28}",
        nested.as_bytes(),
    ] {
        let (status, answer) = post(&member, malformed).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (200, &json!(code::PARSE))
        );
        assert_eq!(answer["id"], Value::Null);
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "stop" }).to_string();
    for head in [
        "POST / HTTP/1.1\r\ncontent-type: text/plain\r\n",
        "POST / HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n",
        "POST / HTTP/1.1\r\n",
    ] {
        let (status, advice) = exchange(address, head, body.as_bytes()).await;
        assert_eq!(status, 415);
        assert!(advice.contains("application/json"));
    }
    let long = vec![b' '; (1 << 20) + 1];
    assert_eq!(exchange(address, POST, &long).await.0, 413);
    // It is still there, and lists its methods to whoever looks.
    let (status, page) = client(&member).get("/").await.unwrap();
    assert!(status == 200 && rpc::METHODS.iter().all(|method| page.contains(method)));
    member.node.stop().await.unwrap();
}
