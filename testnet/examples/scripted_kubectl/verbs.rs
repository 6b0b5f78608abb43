//! What `kubectl` is told, and says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::kubelet::{self, Pod};
use super::store::{self, Store};

const INTERVAL: Duration = Duration::from_millis(20);
/// Flags that have no value.
const SWITCHES: [&str; 4] = ["--server-side", "--force-conflicts", "--follow", "--client"];

/// A command line: flags, the words between them, and what stands behind `--`.
struct Line {
    flags: BTreeMap<String, String>,
    words: Vec<String>,
    last: Vec<String>,
}

impl Line {
    fn parse(arguments: &[String]) -> Self {
        let mut arguments = arguments.iter().cloned();
        let (mut flags, mut words) = (BTreeMap::new(), Vec::new());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--" => break,
                flag if SWITCHES.contains(&flag) => drop(flags.insert(argument, String::new())),
                flag if flag.starts_with("--") && flag.contains('=') => {
                    let (flag, value) = flag.split_once('=').unwrap_or_default();
                    flags.insert(flag.to_owned(), value.to_owned());
                }
                flag if flag.starts_with("--") => {
                    let value = arguments.next().unwrap_or_default();
                    flags.insert(argument, value);
                }
                _ => words.push(argument),
            }
        }
        let last = arguments.collect();
        Self { flags, words, last }
    }

    fn flag(&self, name: &str) -> &str {
        self.flags.get(name).map_or("", String::as_str)
    }

    /// Whether an object bears the labels that are asked for.
    fn selects(&self, object: &Value) -> bool {
        let mut pairs = self.flag("--selector").split(',');
        let labels = &object["metadata"]["labels"];
        pairs.all(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or_default();
            labels[key] == value
        })
    }
}

pub(crate) fn perform(arguments: &[String]) -> Result<ExitCode, Failure> {
    if let [verb, root, pod] = arguments
        && verb == "kubelet"
    {
        kubelet::run(Path::new(root), pod)?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = Line::parse(arguments);
    let words: Vec<_> = line.words.iter().map(String::as_str).collect();
    let root = PathBuf::from(line.flag("--context"));
    if !line.flags.contains_key("--client") && !root.is_dir() {
        let root = root.display();
        return Err(format!("context {:?} does not exist", root.to_string()).into());
    }
    note(&root, arguments)?;
    let verb = words.first().copied().unwrap_or_default();
    let words = words.get(1..).unwrap_or_default();
    match (verb, words) {
        ("version", []) => {
            let version = json!({ "gitVersion": "v1.33.0-scripted" });
            println!(
                "{}",
                json!({ "clientVersion": version, "serverVersion": version })
            );
        }
        ("auth", ["can-i", _, _]) => {
            // A cluster that lets nobody do anything has this file.
            let allowed = !root.join("forbidden").exists();
            println!("{}", if allowed { "yes" } else { "no" });
            return Ok(ExitCode::from(u8::from(!allowed)));
        }
        ("apply", []) => {
            let list: Value = serde_json::from_reader(io::stdin())?;
            let store = Store::open(&root)?;
            for object in list["items"].as_array().into_iter().flatten() {
                store.apply(object)?;
            }
        }
        ("get", ["pods"]) => println!("{}", json!({ "items": pods(&root, &line)? })),
        ("scale", ["statefulset", name]) => {
            let store = Store::open(&root)?;
            let set = store.get("StatefulSet", name);
            let mut set = set.ok_or_else(|| format!("statefulset {name:?} not found"))?;
            set["spec"]["replicas"] = json!(line.flag("--replicas").parse::<u64>()?);
            store.put("StatefulSet", &set)?;
            store.reconcile()?;
        }
        ("delete", [kinds]) => delete(&root, &line, kinds)?,
        ("exec", [name]) => {
            let pod = running(&root, name)?;
            let container = &pod.object["spec"]["containers"][0];
            let status = pod.command(container, &line.last).status()?;
            return Ok(ExitCode::from(status.code().unwrap_or(1) as u8));
        }
        ("logs", [name]) => logs(&root, name, line.flags.contains_key("--follow"))?,
        ("port-forward", [target, ports]) => forward(&root, target, ports)?,
        _ => return Err(format!("unknown command {verb:?} {words:?}").into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps what was called, a line of JSON each, for who wants to see whether the real program understands it.
fn note(root: &Path, arguments: &[String]) -> io::Result<()> {
    let mut calls = File::options();
    let calls = calls.create(true).append(true).open(root.join("calls"));
    match calls {
        // Its version is asked for without a cluster.
        Err(_) if !root.is_dir() => Ok(()),
        // In one piece: others write to it at the same time.
        calls => calls?.write_all(format!("{}\n", json!(arguments)).as_bytes()),
    }
}

fn find(root: &Path, name: &str) -> Result<Pod, Failure> {
    Pod::find(root, name).ok_or_else(|| format!("pods {name:?} not found").into())
}

fn running(root: &Path, name: &str) -> Result<Pod, Failure> {
    let pod = find(root, name)?;
    match pod.container().1 {
        true => Ok(pod),
        false => Err(format!("container not found in pod {name:?}").into()),
    }
}

fn pods(root: &Path, line: &Line) -> io::Result<Vec<Value>> {
    let _store = Store::open(root)?;
    let entries = std::fs::read_dir(root.join("pods")).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pods = names.filter_map(|name| Some(Pod::find(root, &name)?.object));
    Ok(pods.filter(|pod| line.selects(pod)).collect())
}

fn delete(root: &Path, line: &Line, kinds: &str) -> Result<(), Failure> {
    for kind in kinds.split(',') {
        let kind = match kind {
            "statefulsets" => "StatefulSet",
            "services" => "Service",
            "secrets" => "Secret",
            "persistentvolumeclaims" => "PersistentVolumeClaim",
            "pods" => continue,
            other => return Err(format!("no resource type {other:?}").into()),
        };
        let store = Store::open(root)?;
        for object in store
            .list(kind)
            .iter()
            .filter(|object| line.selects(object))
        {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            store.remove(kind, name)?;
        }
        store.reconcile()?;
    }
    while !pods(root, line)?.is_empty() {
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}

fn logs(root: &Path, name: &str, follow: bool) -> Result<(), Failure> {
    let pod = find(root, name)?;
    let (restarts, _) = pod.container();
    let mut log = File::open(pod.log(restarts))?;
    loop {
        // First whether it ended, then what it has said: so nothing is missed.
        let now = Pod::find(root, name).filter(|now| now.uid() == pod.uid());
        let runs = now.is_some_and(|now| now.container() == (restarts, true));
        let mut said = Vec::new();
        log.read_to_end(&mut said)?;
        io::stdout().write_all(&said)?;
        io::stdout().flush()?;
        if !follow || !runs {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Carries connections until the pod is gone, or refuses one.
fn forward(root: &Path, target: &str, ports: &str) -> Result<(), Failure> {
    let name = target.strip_prefix("pod/").ok_or("only pods")?;
    let (local, remote) = ports.split_once(':').ok_or("two ports")?;
    let pod = running(root, name)?;
    let uid = pod.uid().to_owned();
    let to = SocketAddr::from((store::address(root, name), remote.parse()?));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local.parse::<u16>()?))?;
    let root = root.to_owned();
    let watched = name.to_owned();
    std::thread::spawn(move || {
        while Pod::find(&root, &watched).is_some_and(|pod| pod.uid() == uid) {
            std::thread::sleep(INTERVAL);
        }
        std::process::exit(1);
    });
    println!("Forwarding from {} -> {remote}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept()?;
        let Ok(server) = TcpStream::connect(to) else {
            return Err("lost connection to pod".into());
        };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            std::thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    }
}
