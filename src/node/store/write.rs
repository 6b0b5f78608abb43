//! From a batch to rows.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::Store;
use super::row::{self, RecordRow, TIP_KEY, TipRow, chunk, named, numbered};
use crate::protocol::chain::id::BlockId;
use crate::protocol::chain::view::{Batch, Fault};

impl Store {
    /// Writes a batch as a whole. Readers see it when this returns; [`Store::durable`] tells when it is on disk. Where nothing
    /// changes, the sequence is that of the last change.
    ///
    /// # Errors
    ///
    /// The store failed, now or since the last call.
    pub fn apply(&self, batch: &Batch) -> Result<u64, Fault> {
        // A store that failed once takes nothing more: what comes next would stand on what is not there.
        if let Some(fault) = &self.flushing.lock().fault {
            return Err(fault.clone());
        }
        if batch.is_empty() {
            self.read(|_| Ok(()))?;
            return Ok(self.flushing.lock().applied);
        }
        if self.is_full.get().is_some_and(|is_full| is_full()) {
            let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
            let fault = Fault(format!("nothing can be written: {error} (by order)"));
            self.flushing.lock().fault = Some(fault.clone());
            return Err(fault);
        }
        let mut rows = sled::Batch::default();
        self.add_blocks(&mut rows, batch)?;
        self.prune(&mut rows, batch)?;
        for (number, ordered) in &batch.order {
            let row = ordered.as_ref().map(row::encode);
            put(&mut rows, &numbered(b'n', *number), row);
        }
        for (id, number) in &batch.positions {
            put(
                &mut rows,
                &named(b'o', &id.0),
                number.as_ref().map(row::encode),
            );
        }
        for (id, account) in &batch.accounts {
            let row = (!account.is_empty()).then(|| row::encode(account));
            put(&mut rows, &named(b'a', &id.0), row);
        }
        for (id, location) in &batch.transactions {
            put(
                &mut rows,
                &named(b't', &id.0),
                location.as_ref().map(row::encode),
            );
        }
        for (id, transaction) in &batch.pending {
            let bytes = transaction
                .as_ref()
                .map(|transaction| transaction.to_bytes().to_vec());
            put(&mut rows, &named(b'p', &id.0), bytes);
        }
        for (address, known) in &batch.addresses {
            put(
                &mut rows,
                &row::dialled(*address),
                known.as_ref().map(row::encode),
            );
        }
        if let Some(tip) = &batch.tip {
            put(&mut rows, TIP_KEY, Some(row::encode(&TipRow::new(tip))));
        }
        let mut accounts = self.accounts.lock();
        let written = self.read(|db| db.apply_batch(rows));
        let mut state = self.flushing.lock();
        if let Err(fault) = written {
            accounts.clear();
            state.fault = Some(fault.clone());
            return Err(fault);
        }
        for (id, account) in &batch.accounts {
            accounts.keep(*id, *account);
        }
        state.applied += 1;
        self.flushing.wake.notify_one();
        Ok(state.applied)
    }

    fn add_blocks(&self, rows: &mut sled::Batch, batch: &Batch) -> Result<(), Fault> {
        let mut bodies = BTreeMap::new();
        for (id, block) in &batch.blocks {
            let body = self.next_body.fetch_add(1, Ordering::Relaxed);
            bodies.insert(*id, body);
            for (index, bytes) in block.bytes().chunks(row::CHUNK_BYTES).enumerate() {
                put(rows, &chunk(b'b', body, index), Some(bytes.to_vec()));
            }
        }
        let body_of = |id: &BlockId| match bodies.get(id) {
            Some(body) => Ok(*body),
            // The body of a block whose header came with a snapshot: it has a number, and nothing under it.
            None => Ok(self.body(id)?.unwrap_or(0)),
        };
        for (id, record) in &batch.records {
            let row = RecordRow::new(record, body_of(id)?);
            put(rows, &named(b'h', &id.0), Some(row::encode(&row)));
        }
        for (id, undo) in &batch.undo {
            let body = body_of(id)?;
            let bytes = undo.as_ref().map(row::encode);
            let chunks = bytes
                .iter()
                .flat_map(|bytes| bytes.chunks(row::CHUNK_BYTES));
            let mut count = 0;
            for (index, bytes) in chunks.enumerate() {
                put(rows, &chunk(b'u', body, index), Some(bytes.to_vec()));
                count = index + 1;
            }
            let old = self.read(|db| {
                db.scan_prefix(numbered(b'u', body))
                    .keys()
                    .skip(count)
                    .collect::<Result<Vec<_>, _>>()
            })?;
            old.into_iter().for_each(|key| rows.remove(key));
        }
        Ok(())
    }

    /// Removes the bodies of blocks, and what undoing them needed. Their records stay.
    fn prune(&self, rows: &mut sled::Batch, batch: &Batch) -> Result<(), Fault> {
        for id in &batch.pruned {
            let Some(body) = self.body(id)? else {
                continue;
            };
            for kind in [b'b', b'u'] {
                let scan = |db: &sled::Db| {
                    let keys = db.scan_prefix(numbered(kind, body)).keys();
                    keys.collect::<Result<Vec<_>, _>>()
                };
                self.read(scan)?
                    .into_iter()
                    .for_each(|key| rows.remove(key));
            }
        }
        Ok(())
    }
}

fn put(rows: &mut sled::Batch, key: &[u8], value: Option<Vec<u8>>) {
    match value {
        Some(value) => rows.insert(key, value),
        None => rows.remove(key),
    }
}
