//! What an operator does to this node's links and machine: kept in the data directory, and in force before the first dial.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{Mutex, watch};

use super::alarm::Alarm;
use super::announce;
use super::clock::Clock;
use super::identity::sync_directory;
use crate::rpc::NodeConditions;

/// The file's name in the data directory. There is none where nothing is done.
pub const CONDITIONS_FILE: &str = "conditions.json";

/// The version of the file's format.
const VERSION: u64 = 1;

/// Why conditions cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// The file cannot be read or written, or the thread that wakes lines not be started.
    #[error("cannot {action} {}: {source}; check the data directory", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} holds no link conditions of version {VERSION}: {reason}; \
         remove it to start with none, or write it as set_conditions takes them, with \"version\": {VERSION}",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is done to this node's links and machine.
pub struct Links {
    path: PathBuf,
    clock: Clock,
    current: watch::Sender<Arc<NodeConditions>>,
    /// Held while conditions are changed: what is on disk is what is in force.
    changing: Mutex<()>,
    pub(super) alarm: Alarm,
}

impl Links {
    /// Reads what was set before, and puts it in force.
    pub(super) fn open(directory: &Path, clock: Clock) -> Result<Self, LinksError> {
        let path = directory.join(CONDITIONS_FILE);
        let conditions = load(&path)?;
        let links = Self {
            path,
            clock,
            current: watch::Sender::new(Arc::default()),
            changing: Mutex::default(),
            alarm: Alarm::default(),
        };
        links.apply(conditions)?;
        Ok(links)
    }

    /// What is in force.
    pub fn current(&self) -> Arc<NodeConditions> {
        Arc::clone(&self.current.borrow())
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<NodeConditions>> {
        self.current.subscribe()
    }

    /// Replaces all that is done, on disk and then in force. Whether a cut has ended by that.
    ///
    /// # Errors
    ///
    /// The file cannot be written: then nothing has changed.
    pub async fn set(self: Arc<Self>, wanted: NodeConditions) -> Result<bool, LinksError> {
        // A task of its own: whoever asked may hang up in the middle, and the file would say what is not in force.
        let task = tokio::spawn(async move {
            let _changing = self.changing.lock().await;
            let (path, stored) = (self.path.clone(), wanted.clone());
            let storing = tokio::task::spawn_blocking(move || store(&path, &stored));
            storing.await.expect("writing a file does not panic")?;
            let before = self.current();
            let lifted = before.lose_a_cut_in(&wanted);
            self.apply(wanted)?;
            Ok(lifted)
        });
        task.await.expect("setting conditions does not panic")
    }

    fn apply(&self, conditions: NodeConditions) -> Result<(), LinksError> {
        if !conditions.links_are_clear() {
            let started = self.alarm.start();
            started.map_err(failed("start the thread for", &self.path))?;
        }
        self.clock.set_offset(conditions.clock_offset_ms);
        let conditions = Arc::new(conditions);
        if self.current.send_replace(Arc::clone(&conditions)) != conditions {
            announce::conditions(&conditions);
        }
        Ok(())
    }
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> LinksError {
    move |source| LinksError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn load(path: &Path) -> Result<NodeConditions, LinksError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(NodeConditions::default()),
        Err(source) => return Err(failed("read", path)(source)),
    };
    let damaged = |reason: String| LinksError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let mut value: Value =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let version = value
        .as_object_mut()
        .and_then(|fields| fields.remove("version"));
    if version.as_ref().and_then(Value::as_u64) != Some(VERSION) {
        let found = version.map_or_else(|| "missing".to_owned(), |version| version.to_string());
        return Err(damaged(format!("version is {found}")));
    }
    let conditions: NodeConditions =
        serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
    conditions
        .check()
        .map_err(|error| damaged(error.to_string()))?;
    Ok(conditions)
}

/// Writes beside and then gives the name: after a kill there is the old file or the new one.
fn store(path: &Path, conditions: &NodeConditions) -> Result<(), LinksError> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    if *conditions == NodeConditions::default() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
            _ => sync_directory(directory).map_err(failed("remove", path)),
        };
    }
    let mut value = serde_json::to_value(conditions).expect("conditions have only texts as keys");
    value["version"] = VERSION.into();
    let write = || {
        let temporary = path.with_extension("json.new");
        let mut file = fs::File::create(&temporary)?;
        writeln!(file, "{value:#}")?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_directory(directory)
    };
    write().map_err(failed("write", path))
}
