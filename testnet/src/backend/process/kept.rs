//! What is kept on disk of a node whose process outlives the program that started it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::backend::ports::Ports;
use crate::life::store;

/// The file's name, in the node's directory.
const FILE: &str = "process.json";
const VERSION: u32 = 1;

/// A node's ports, which it has whether or not it runs, and its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) ports: Ports,
    pub(super) process: Option<Identity>,
}

impl Kept {
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        store::read(&directory.join(FILE), VERSION)
    }

    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        store::write(&directory.join(FILE), VERSION, self)
    }
}

/// The ports of the nodes whose directories are in this one.
pub fn ports_kept(home: &Path) -> BTreeSet<u16> {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let kept = entries.filter_map(|entry| Kept::read(&entry.path()).ok());
    kept.flat_map(|kept| [kept.ports.peers, kept.ports.rpc])
        .collect()
}
