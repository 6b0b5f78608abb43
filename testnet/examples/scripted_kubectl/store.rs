//! What a cluster keeps: objects, and what its controllers make of them.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Failure;

/// What of a StatefulSet may be another when it is applied again.
const CHANGEABLE: [&str; 3] = ["replicas", "template", "updateStrategy"];

/// A cluster. One command at a time changes it.
pub(crate) struct Store {
    pub(crate) root: PathBuf,
    _lock: File,
}

impl Store {
    /// Waits until nobody else changes the cluster.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let lock = File::create(root.join("lock"))?;
        lock.lock()?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    fn kind(&self, kind: &str) -> PathBuf {
        self.root.join("objects").join(kind)
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        read(&self.kind(kind).join(name))
    }

    pub(crate) fn put(&self, kind: &str, object: &Value) -> io::Result<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        std::fs::create_dir_all(self.kind(kind))?;
        write(&self.kind(kind).join(name), object)
    }

    pub(crate) fn remove(&self, kind: &str, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.kind(kind).join(name))?;
        match kind {
            "PersistentVolumeClaim" => std::fs::remove_dir_all(volume(&self.root, name)),
            _ => Ok(()),
        }
    }

    pub(crate) fn list(&self, kind: &str) -> Vec<Value> {
        let entries = std::fs::read_dir(self.kind(kind)).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter_map(|path| read(&path)).collect()
    }

    /// Takes an object, new or changed.
    pub(crate) fn apply(&self, object: &Value) -> Result<(), Failure> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let failed = |why: &str| Failure::from(format!("{kind} {name:?} is invalid: {why}"));
        match kind {
            "StatefulSet" => check::<StatefulSet>(object),
            "Secret" => check::<Secret>(object),
            "Service" => check::<Service>(object),
            _ => Err("its kind is not known".into()),
        }
        .map_err(|why| failed(&why.to_string()))?;
        if !is_name(name, 63) {
            return Err(failed("metadata.name"));
        }
        let before = self.get(kind, name);
        match (kind, before) {
            ("StatefulSet", before) => {
                // Its pods bear it, with a digest behind.
                if name.len() > 52 {
                    return Err(failed("its pods' labels are too long"));
                }
                let fixed = |object: &Value| {
                    let mut spec = object["spec"].clone();
                    for key in CHANGEABLE {
                        spec[key] = Value::Null;
                    }
                    spec
                };
                if before.is_some_and(|before| fixed(&before) != fixed(object)) {
                    return Err(failed("updates to fields other than these are forbidden"));
                }
            }
            ("Secret", Some(before)) if before != *object => {
                return Err(failed("it is immutable"));
            }
            _ => {}
        }
        self.put(kind, object)?;
        self.reconcile()?;
        Ok(())
    }

    /// Does what controllers do: sets make pods and claims, and take pods away.
    pub(crate) fn reconcile(&self) -> io::Result<()> {
        let sets = self.list("StatefulSet");
        for set in &sets {
            let name = pod_name(set);
            let directory = pod(&self.root, &name);
            match set["spec"]["replicas"].as_u64() {
                Some(0) if directory.is_dir() => take_away(&directory)?,
                Some(1) if !directory.is_dir() => self.make_pod(set, &name)?,
                _ => {}
            }
        }
        // Those whose set is gone.
        let pods = std::fs::read_dir(self.root.join("pods"));
        for pod in pods.into_iter().flatten() {
            let pod = pod?;
            let owned = |set| pod.file_name().to_str() == Some(&pod_name(set));
            if !sets.iter().any(owned) {
                take_away(&pod.path())?;
            }
        }
        Ok(())
    }

    fn make_pod(&self, set: &Value, name: &str) -> io::Result<()> {
        for template in set["spec"]["volumeClaimTemplates"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let claim = template["metadata"]["name"].as_str().unwrap_or_default();
            let mut object = template.clone();
            object["apiVersion"] = "v1".into();
            object["kind"] = "PersistentVolumeClaim".into();
            object["metadata"]["name"] = format!("{claim}-{name}").into();
            check::<PersistentVolumeClaim>(&object).map_err(io::Error::other)?;
            self.put("PersistentVolumeClaim", &object)?;
            std::fs::create_dir_all(volume(&self.root, &format!("{claim}-{name}")))?;
        }
        let template = &set["spec"]["template"];
        let uid = format!("{:016x}", getrandom::u64().map_err(io::Error::other)?);
        let object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "uid": uid, "labels": template["metadata"]["labels"] },
            "spec": template["spec"],
            "status": { "phase": "Pending" },
        });
        let directory = pod(&self.root, name);
        std::fs::create_dir_all(&directory)?;
        write(&directory.join("pod"), &object)?;
        Command::new(std::env::current_exe()?)
            .args(["kubelet", &self.root.to_string_lossy(), name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("kubelet.log"))?)
            .process_group(0)
            .spawn()?;
        Ok(())
    }
}

/// The only pod of a set.
pub(crate) fn pod_name(set: &Value) -> String {
    format!("{}-0", set["metadata"]["name"].as_str().unwrap_or_default())
}

pub(crate) fn pod(root: &Path, name: &str) -> PathBuf {
    root.join("pods").join(name)
}

pub(crate) fn volume(root: &Path, claim: &str) -> PathBuf {
    root.join("volumes").join(claim)
}

/// A pod's address: the same for all whom a set makes.
pub(crate) fn address(root: &Path, name: &str) -> Ipv4Addr {
    let digest = blake3::hash(root.join(name).as_os_str().as_encoded_bytes());
    let [a, b, c, ..] = *digest.as_bytes();
    Ipv4Addr::new(127, 64 + a % 128, b, 1 + c % 254)
}

/// Asks a pod's kubelet to end it.
fn take_away(directory: &Path) -> io::Result<()> {
    File::create(directory.join("delete")).map(|_| ())
}

/// Refuses what the API's type does not know, and so would lose.
fn check<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), Failure> {
    let known = serde_json::to_value(serde_json::from_value::<T>(object.clone())?)?;
    match lost(object, &known) {
        Some(path) => Err(format!("unknown field{path}").into()),
        None => Ok(()),
    }
}

/// Where one value has something that another lacks. What is empty may be left out.
fn lost(value: &Value, known: &Value) -> Option<String> {
    match (value, known) {
        (Value::Object(fields), _) => fields.iter().find_map(|(key, value)| {
            let inner = lost(value, known.get(key).unwrap_or(&Value::Null))?;
            Some(format!(".{key}{inner}"))
        }),
        (Value::Array(items), _) => items.iter().enumerate().find_map(|(index, value)| {
            let inner = lost(value, known.get(index).unwrap_or(&Value::Null))?;
            Some(format!("[{index}]{inner}"))
        }),
        _ => (value != known).then(String::new),
    }
}

/// Whether a text is a label as domain names have them (RFC 1123).
fn is_name(text: &str, most: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= most
        && text.bytes().all(allowed)
        && !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub(crate) fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Whole or not at all, whoever reads meanwhile.
pub(crate) fn write(file: &Path, value: &Value) -> io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, value.to_string())?;
    std::fs::rename(new, file)
}
