//! What the machine of a pod does: it prepares volumes, runs the init containers, starts the container again whenever that ends,
//! and ends it when the pod is to go.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Failure;
use super::store::{self, Store};

const INTERVAL: Duration = Duration::from_millis(20);
/// A container that ended is started again at once, and then ever more seldom.
const BACK_OFF: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(10),
    Duration::from_secs(20),
];

/// A pod of a cluster.
pub(crate) struct Pod {
    root: PathBuf,
    name: String,
    pub(crate) object: Value,
}

impl Pod {
    pub(crate) fn find(root: &Path, name: &str) -> Option<Self> {
        let object = store::read(&store::pod(root, name).join("pod"))?;
        Some(Self {
            root: root.to_owned(),
            name: name.to_owned(),
            object,
        })
    }

    pub(crate) fn directory(&self) -> PathBuf {
        store::pod(&self.root, &self.name)
    }

    pub(crate) fn uid(&self) -> &str {
        self.object["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// How often its container was started again, and whether it runs.
    pub(crate) fn container(&self) -> (u64, bool) {
        let status = &self.object["status"]["containerStatuses"][0];
        let restarts = status["restartCount"].as_u64().unwrap_or_default();
        (restarts, status["state"]["running"].is_object())
    }

    /// What its container says, each time anew.
    pub(crate) fn log(&self, restarts: u64) -> PathBuf {
        self.directory().join(format!("log.{restarts}"))
    }

    /// Where a container's path is on this machine.
    fn path(&self, container: &Value, path: &str) -> String {
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let at = mount["mountPath"].as_str().unwrap_or_default();
            if let Some(rest) = path.strip_prefix(at)
                && (rest.is_empty() || rest.starts_with('/'))
            {
                let volume = mount["name"].as_str().unwrap_or_default();
                let directory = self.volume(volume);
                return format!("{}{rest}", directory.display());
            }
        }
        // A program of the image.
        let image = container["image"].as_str().unwrap_or_default();
        match path.strip_prefix('/') {
            Some(program) => format!("{image}/{program}"),
            None => path.to_owned(),
        }
    }

    fn volume(&self, name: &str) -> PathBuf {
        let mut own = self.object["spec"]["volumes"]
            .as_array()
            .into_iter()
            .flatten();
        match own.any(|volume| volume["name"] == name) {
            true => self.directory().join(name),
            false => store::volume(&self.root, &format!("{name}-{}", self.name)),
        }
    }

    /// A command in one of its containers.
    pub(crate) fn command(&self, container: &Value, command: &[String]) -> Command {
        let mut words = command.iter().map(|word| self.path(container, word));
        let mut command = Command::new(words.next().unwrap_or_default());
        let address = store::address(&self.root, &self.name).to_string();
        command
            .args(words)
            .env("TRISKEL__LISTEN", &address)
            .env("TRISKEL__RPC__LISTEN", &address)
            .stdin(Stdio::null());
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default();
            let value = variable["value"].as_str().unwrap_or_default();
            command.env(name, self.path(container, value));
        }
        command
    }

    /// Makes the volumes that live as long as it does.
    fn prepare(&self, store: &Store) -> Result<(), Failure> {
        for volume in self.object["spec"]["volumes"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name = volume["name"].as_str().unwrap_or_default();
            let directory = self.volume(name);
            std::fs::create_dir_all(&directory)?;
            let Some(secret) = volume["secret"]["secretName"].as_str() else {
                continue;
            };
            let secret = store.get("Secret", secret).ok_or("no such secret")?;
            for (file, text) in secret["stringData"].as_object().into_iter().flatten() {
                let text = text.as_str().unwrap_or_default();
                std::fs::write(directory.join(file), self.resolved(store, text))?;
            }
        }
        Ok(())
    }

    /// A text in which addresses stand for names, which nothing here would resolve.
    fn resolved(&self, store: &Store, text: &str) -> String {
        let mut text = text.to_owned();
        for service in store.list("Service") {
            let service = service["metadata"]["name"].as_str().unwrap_or_default();
            let mut all = Vec::new();
            for set in store.list("StatefulSet") {
                let pod = store::pod_name(&set);
                let address = store::address(&self.root, &pod).to_string();
                text = text.replace(&format!("\"{pod}.{service}:"), &format!("\"{address}:"));
                all.push(format!("\"{address}:9000\""));
            }
            text = text.replace(&format!("\"{service}:9000\""), &all.join(", "));
        }
        text
    }

    fn is_to_go(&self) -> bool {
        self.directory().join("delete").exists()
    }

    fn say(&mut self, status: Value) -> io::Result<()> {
        let containers = json!([status]);
        self.object["status"] = json!({ "phase": "Running", "containerStatuses": containers });
        store::write(&self.directory().join("pod"), &self.object)
    }
}

/// Has a pod be for as long as it is to be.
pub(crate) fn run(root: &Path, name: &str) -> Result<(), Failure> {
    let mut pod = Pod::find(root, name).ok_or("no such pod")?;
    pod.prepare(&Store::open(root)?)?;
    let spec = pod.object["spec"].clone();
    for container in spec["initContainers"].as_array().into_iter().flatten() {
        let command = words(&container["command"]);
        let status = pod.command(container, &command).status()?;
        if !status.success() {
            return Err(format!("{command:?}: {status}").into());
        }
    }
    let container = &spec["containers"][0];
    let command = words(&container["command"]);
    let mut last = json!({});
    for restarts in 0.. {
        let log = File::create(pod.log(restarts))?;
        let mut process = pod
            .command(container, &command)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let status = |state: Value, last: &Value| {
            json!({
                "name": container["name"], "imageID": container["image"], "restartCount": restarts,
                "state": state, "lastState": last,
            })
        };
        pod.say(status(json!({ "running": {} }), &last))?;
        let Some(code) = watch(&pod, &mut process)? else {
            break;
        };
        let ended = json!({ "terminated": { "exitCode": code } });
        pod.say(status(ended.clone(), &last))?;
        last = ended;
        let index = (restarts as usize).min(BACK_OFF.len() - 1);
        let again = Instant::now() + BACK_OFF[index];
        while Instant::now() < again && !pod.is_to_go() {
            std::thread::sleep(INTERVAL);
        }
        if pod.is_to_go() {
            break;
        }
    }
    if !root.is_dir() {
        return Ok(());
    }
    let store = Store::open(root)?;
    std::fs::remove_dir_all(pod.directory())?;
    Ok(store.reconcile()?)
}

/// Waits until a container ends, and gives its code; or ends it, if the pod is to go.
fn watch(pod: &Pod, process: &mut Child) -> Result<Option<i32>, Failure> {
    let id = Pid::from_raw(process.id().cast_signed()).ok_or("no number")?;
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(Some(status.code().unwrap_or(137)));
        }
        let is_gone = !pod.directory().is_dir();
        if is_gone || pod.is_to_go() {
            let grace = pod.object["spec"]["terminationGracePeriodSeconds"].as_u64();
            let grace = Duration::from_secs(grace.unwrap_or(30));
            let deadline = Instant::now() + grace;
            kill_process(id, Signal::TERM)?;
            while process.try_wait()?.is_none() && Instant::now() < deadline {
                std::thread::sleep(INTERVAL);
            }
            process.kill()?;
            process.wait()?;
            return Ok(None);
        }
        std::thread::sleep(INTERVAL);
    }
}

pub(crate) fn words(value: &Value) -> Vec<String> {
    let words = value.as_array().into_iter().flatten();
    words
        .filter_map(|word| Some(word.as_str()?.to_owned()))
        .collect()
}
