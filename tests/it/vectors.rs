//! Vectors that others published, read in place and run through the code that consensus uses.

use std::fs;
use std::path::PathBuf;

use triskel::protocol::chain::difficulty::Schedule;
use triskel::protocol::chain::id::AccountId;
use triskel::protocol::chain::key::{KeyPair, verify};
use triskel::protocol::chain::work::Target;

/// The folder of public vectors, if there is one on this machine.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("TRISKEL_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no vectors in {}", folder.display());
    None
}

fn number(text: &str) -> i128 {
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "an odd number of digits");
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
        .collect()
}

/// Runs one file of the Bitcoin Cash node project; returns how many targets it held.
fn asert_file(text: &str) -> usize {
    let header = |key: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with('#') && line.contains(key));
        number(line.unwrap().rsplit(' ').next().unwrap())
    };
    let (height, time) = (header("anchor height"), header("anchor ancestor time"));
    let schedule = Schedule {
        anchor: Target::from_bits(header("anchor nBits") as u32).unwrap(),
        limit: Target::from_bits(0x1d00_ffff).unwrap(),
        interval_ms: 600_000,
        half_life_ms: 172_800_000,
    };
    let rows = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut count = 0;
    for row in rows {
        let fields: Vec<_> = row.split_whitespace().map(number).collect();
        // The time is that of the last block, the height that of the block before which `time` was reached.
        let (elapsed, blocks) = (fields[2] - time, fields[1] - height + 1);
        let target = schedule.target(elapsed * 1_000, blocks);
        assert_eq!(target.to_bits(), fields[3] as u32, "row {row}");
        count += 1;
    }
    count
}

#[test]
fn asert_follows_the_published_runs() {
    let Some(folder) = folder() else { return };
    let mut runs = 0;
    for entry in fs::read_dir(folder.join("asert")).unwrap() {
        let path = entry.unwrap().path();
        let rows = asert_file(&fs::read_to_string(&path).unwrap());
        assert!(rows >= 10, "{} holds only {rows} rows", path.display());
        runs += 1;
    }
    assert!(runs >= 6, "only {runs} runs");
}

#[test]
fn bip340_signatures_verify_or_fail_as_published() {
    let Some(folder) = folder() else { return };
    let text = fs::read_to_string(folder.join("bip340-test-vectors.csv")).unwrap();
    let (mut good, mut bad, mut signed) = (0, 0, 0);
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        let [_, secret, public, aux, message, signature, result, ..] = fields[..] else {
            panic!("a row of too few columns: {line}");
        };
        let (message, signature) = (unhex(message), unhex(signature));
        let account = AccountId(unhex(public).try_into().unwrap());
        let wanted = result == "TRUE";
        let signature: [u8; 64] = signature.try_into().unwrap();
        assert_eq!(verify(&account, &message, &signature), wanted, "row {line}");
        good += usize::from(wanted);
        bad += usize::from(!wanted);
        if secret.is_empty() {
            continue;
        }
        let keys = KeyPair::from_secret(unhex(secret).try_into().unwrap()).unwrap();
        assert_eq!(keys.public(), account, "row {line}");
        // Signing without auxiliary randomness is signing with 32 zero bytes of it; transfers sign 32 bytes.
        if let (Ok(message), true) = (message.try_into(), unhex(aux) == [0; 32]) {
            assert_eq!(keys.sign(&message), signature, "row {line}");
            signed += 1;
        }
    }
    assert_eq!(bad, 10);
    assert!(good >= 9 && signed >= 1, "{good} good, {signed} signed");
}
