//! Data directories that cannot be used are refused, with the reason and what to do; none of them ends the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use triskel::node::store::{Claim, Store, StoreError};
use triskel::protocol::chain::ordering::{Colour, Ordered};
use triskel::protocol::chain::params::Network;
use triskel::protocol::chain::view::{Batch, View};

use super::memory::{Model, Wish, network, params};

fn open_at(path: &Path, network: &Network) -> Result<Arc<Store>, StoreError> {
    Store::open(Claim::take(path)?, network, 8 << 20)
}

fn refusal(path: &Path, network: &Network) -> StoreError {
    open_at(path, network)
        .err()
        .expect("this directory cannot be used")
}

/// A directory that a node has used, with some blocks.
fn used(network: &Arc<Network>) -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = open_at(folder.path(), network).unwrap();
    let mut model = Model::new(network);
    let mut parent = network.id();
    for _ in 0..20 {
        parent = model.grow(&parent, Wish::default()).id();
        let (block, record, _) = &model.blocks[&parent];
        let mut batch = Batch::default();
        batch.blocks.insert(parent, Arc::clone(block));
        batch.records.insert(parent, Arc::clone(record));
        let colour = Colour::Chain;
        let ordered = Ordered { id: parent, colour };
        batch.order.insert(record.number, Some(ordered));
        store.apply(&batch).unwrap();
    }
    store.close().unwrap();
    folder
}

fn change_rows(folder: &TempDir, change: impl FnOnce(&sled::Db)) {
    let db = sled::open(folder.path().join("blocks")).unwrap();
    change(&db);
    db.flush().unwrap();
}

#[test]
fn a_directory_in_use_is_locked_until_it_is_given_back() {
    let network = network(0);
    let folder = TempDir::new().unwrap();
    let store = open_at(folder.path(), &network).unwrap();
    let refused = refusal(folder.path(), &network);
    assert!(matches!(&refused, StoreError::Locked { path } if path == folder.path()));
    assert!(refused.to_string().contains("--data-dir"));
    // A reader that still holds the store does not hold the directory.
    store.close().unwrap();
    open_at(folder.path(), &network).unwrap().close().unwrap();
}

#[test]
fn a_slot_is_the_lowest_number_whose_directory_is_free() {
    let folder = TempDir::new().unwrap();
    let template = folder.path().join("node-{slot}");
    let slot = |number: u32| folder.path().join(format!("node-{number}"));
    let take = || Claim::take(&template).unwrap();
    let (first, second, third) = (take(), take(), take());
    let paths = [&first, &second, &third].map(Claim::path);
    assert_eq!(paths, [&slot(0), &slot(1), &slot(2)].map(PathBuf::as_path));
    drop(second);
    assert_eq!(take().path(), slot(1));
}

#[test]
fn data_of_another_network_is_refused() {
    let network = network(0);
    let folder = used(&network);
    let mut other = params(0);
    other.name = "another".to_owned();
    let other = Network::new(other).unwrap();
    match refusal(folder.path(), &other) {
        StoreError::OtherNetwork { found, wanted, .. } => {
            assert_eq!((found, wanted), (network.id(), other.id()));
        }
        error => panic!("{error}"),
    }
    open_at(folder.path(), &network).unwrap();
}

#[test]
fn data_of_an_unknown_format_is_refused() {
    let network = network(0);
    let folder = used(&network);
    change_rows(&folder, |db| {
        db.insert(b"mformat", &7_u32.to_le_bytes()).unwrap();
    });
    let refused = refusal(folder.path(), &network);
    assert!(matches!(refused, StoreError::Version { found: 7, .. }));
    change_rows(&folder, |db| {
        db.remove(b"mformat").unwrap();
    });
    let refused = refusal(folder.path(), &network);
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
}

#[test]
fn what_a_kill_left_half_written_is_removed() {
    let network = network(0);
    let folder = used(&network);
    let stale = folder
        .path()
        .join("blocks")
        .join("snap.0000000000004000.generating");
    fs::write(&stale, b"half").unwrap();
    let store = open_at(folder.path(), &network).unwrap();
    assert!(!stale.exists());
    assert!(store.ordered(20).unwrap().is_some());
}

#[test]
fn a_database_of_garbage_is_damaged() {
    let network = network(0);
    let garbage: Vec<u8> = (0..1_u32 << 20)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for name in ["db", "conf"] {
        let folder = used(&network);
        fs::write(folder.path().join("blocks").join(name), &garbage).unwrap();
        let refused = refusal(folder.path(), &network);
        assert!(
            matches!(refused, StoreError::Damaged { .. }),
            "{name}: {refused}"
        );
    }
}

#[test]
fn a_database_overwritten_in_the_middle_never_ends_the_program() {
    let network = network(0);
    for part in 0..8 {
        let folder = used(&network);
        let path = folder.path().join("blocks").join("db");
        let mut bytes = fs::read(&path).unwrap();
        let begin = bytes.len() / 8 * part;
        let end = (begin + 4_096).min(bytes.len());
        bytes[begin..end].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        // The last writes may be lost, everything may be refused; what is read is whole or a fault.
        if let Ok(store) = open_at(folder.path(), &network) {
            for number in 0..=20 {
                if let Ok(Some(Ordered { id, .. })) = store.ordered(number) {
                    store.block(&id).ok();
                    store.record(&id).ok();
                }
            }
        }
    }
}

#[test]
fn a_damaged_row_is_a_fault() {
    let network = network(0);
    let folder = used(&network);
    change_rows(&folder, |db| {
        for kind in [b"b", b"h"] {
            for row in db.scan_prefix(kind) {
                let (key, value) = row.unwrap();
                let mut value = value.to_vec();
                let middle = value.len() / 2;
                value[middle] ^= 1;
                db.insert(key, value).unwrap();
            }
        }
        db.insert([&b"n"[..], &3_u64.to_be_bytes()].concat(), b"short")
            .unwrap();
    });
    let store = open_at(folder.path(), &network).unwrap();
    for number in (1..=20).filter(|number| *number != 3) {
        let Ordered { id, .. } = store.ordered(number).unwrap().unwrap();
        assert!(store.block(&id).is_err(), "block {number}");
    }
    assert!(store.ordered(3).is_err());
}
