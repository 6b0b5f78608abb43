//! The `node` program as people start it.

use std::process::{Command, Output, Stdio};

fn node(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRISKEL") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> String {
    let output = node(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn refusal(arguments: &[&str]) -> (i32, String) {
    let output = node(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!errors.contains("panicked"), "{errors}");
    (output.status.code().unwrap(), errors)
}

#[test]
fn help_teaches() {
    let help = output(&["--help"]);
    for part in [
        "node 8081 127.0.0.1:8080",
        "Exit codes:",
        "TRISKEL__PORT=9001",
        "--no-mining",
        "transfer",
        "node dag --last 200 --svg",
    ] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
    assert!(output(&["dag", "--help"]).contains("node dag --last 200 --dot | dot -Tpng"));
    assert!(output(&["--version"]).starts_with("node "));
}

#[test]
fn flags_and_positions_reach_the_configuration() {
    let text = output(&[
        "config",
        "--port",
        "8081",
        "--peer",
        "a:1",
        "--peer",
        "b:2",
        "--no-mining",
        "--network",
        "chain",
        "--set",
        "peer.max_inbound=3",
        "--log-format",
        "json",
    ]);
    for line in [
        "port = 8081",
        "peers = [\"a:1\", \"b:2\"]",
        "enabled = false",
        "preset = \"chain\"",
        "max_inbound = 3",
        "format = \"json\"",
        "# flag --peer",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let json = output(&["config", "--json", "--hashrate", "5"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["mining.hashrate"]["name"], "--hashrate");
}

#[test]
fn flags_may_stand_before_the_command() {
    for arguments in [
        &["--port", "8081", "config"][..],
        &["8081", "config"],
        &["--port", "1", "config", "--port", "8081"],
    ] {
        assert!(
            output(arguments).starts_with("port = 8081 "),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_environment_and_a_file_reach_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    std::fs::write(&path, "port = 7000\n").unwrap();
    let output = command(&["config"])
        .env("TRISKEL_CONFIG", &path)
        .env("TRISKEL__MINING__ENABLED", "false")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!("# file {}", path.display())),
        "{text}"
    );
    assert!(
        text.contains("# environment TRISKEL__MINING__ENABLED"),
        "{text}"
    );
}

#[test]
fn the_example_is_a_file_that_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    std::fs::write(&path, output(&["config", "--example"])).unwrap();
    output(&["config", "--config", path.to_str().unwrap()]);
}

#[test]
fn bad_usage_ends_with_2_and_says_why() {
    for (arguments, expected) in [
        (
            &["config", "--port", "70000"][..],
            "error: --port: `port` is \"70000\", allowed is a whole number from 0",
        ),
        (
            &["deamon"],
            "error: `deamon` is neither a port (0 to 65535) nor a command",
        ),
        (
            &["8081", "nowhere"],
            "error: --peer: `peers` is \"nowhere\", allowed is a list of host:port",
        ),
        (&["--nonsense"], "unexpected argument '--nonsense'"),
        (
            &["config", "--set", "mining"],
            "error: --set mining: write key=value",
        ),
        (
            &["config", "--set", "a.b=1"],
            "error: --set: unknown key `a.b`, allowed is port, listen",
        ),
        (
            &["config", "--config", "no-such.toml"],
            "error: cannot read the configuration file no-such.toml",
        ),
        (
            &["key", "--data-dir", "x/{slot}"],
            "name one with --data-dir",
        ),
        (
            &["status", "--set", "rpc.enabled=false"],
            "name the address with --rpc",
        ),
        (
            &["dag", "--last", "0"],
            "invalid value '0' for '--last <BLOCKS>': 0 is not in 1..=2000",
        ),
        (&["dag", "--last", "2001"], "2001 is not in 1..=2000"),
        (
            &["dag", "--svg", "--dot"],
            "'--svg' cannot be used with '--dot'",
        ),
        (
            &["dag", "--set", "rpc.enabled=false"],
            "name the address with --rpc",
        ),
        (
            &["transfer", "--to", "tsk1x", "--amount", "1"],
            "error: --to: `tsk1x` is not an address",
        ),
        (
            &["transfer", "--to", "tsk1x", "--amount", "one"],
            "error: --amount: `one` is not an amount of coins",
        ),
    ] {
        let (code, text) = refusal(arguments);
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn a_node_that_does_not_run_is_unwell() {
    // Port 1 is not listened on by any node.
    for arguments in [
        ["health", "--metrics", "127.0.0.1:1"],
        ["status", "--rpc", "127.0.0.1:1"],
        ["dag", "--rpc", "127.0.0.1:1"],
    ] {
        let (code, text) = refusal(&arguments);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("no node answers at 127.0.0.1:1"), "{text}");
    }
}

#[test]
fn the_key_is_shown_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["key", "--data-dir", directory.path().to_str().unwrap()];
    let first = output(&arguments);
    assert!(first.contains("address  tsk1"), "{first}");
    assert_eq!(output(&arguments), first);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = command(&["config", "--example"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
}

#[test]
fn params_explain_k() {
    let text = output(&["params", "--delay", "1s"]);
    for part in [
        "2 * 1 s * 11.1 blocks/s = 22.2",
        "k = 34",
        "k         20 in this network",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&output(&["params", "--json"])).unwrap();
    assert_eq!(json["delay"]["k"], json["k"]);
    assert!(output(&["params", "--network", "chain"]).contains("a block has one parent"));
    for delay in ["500", "0ms", "-1s", "61s", "soon"] {
        let delay = format!("--delay={delay}");
        let (code, errors) = refusal(&["params", &delay]);
        assert_eq!(code, 2);
        assert!(errors.contains("as 500ms or 1.5s"), "{errors}");
    }
}

#[test]
fn snapshots_come_from_somewhere_and_go_somewhere() {
    let folder = tempfile::TempDir::new().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let (code, errors) = refusal(&["snapshot", "import", "--data-dir", data_dir]);
    assert_eq!(code, 2);
    assert!(errors.contains("<FILE|--from <ENDPOINT>>"), "{errors}");
    let (code, errors) = refusal(&["snapshot", "import", "--from", "nowhere"]);
    assert_eq!(code, 2);
    assert!(errors.contains("nowhere"), "{errors}");
    let file = folder.path().join("none");
    let file = file.to_str().unwrap();
    let (code, errors) = refusal(&["snapshot", "import", file, "--data-dir", data_dir]);
    assert_eq!(code, 1);
    assert!(errors.contains(file), "{errors}");
    let (code, errors) = refusal(&["snapshot", "export", file, "--data-dir", data_dir]);
    assert_eq!(code, 1);
    assert!(errors.contains("holds no chain"), "{errors}");
    let (code, errors) = refusal(&["snapshot", "export", file, "--data-dir", "{slot}"]);
    assert_eq!(code, 2);
    assert!(errors.contains("--data-dir"), "{errors}");
}
