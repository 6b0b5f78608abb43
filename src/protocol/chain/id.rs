//! Names of things: 32 bytes each, ordered bytewise, written as 64 hexadecimal digits in the order of the bytes.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not 64 hexadecimal digits")]
pub struct ParseIdError(String);

/// The 32 bytes that 64 hexadecimal digits spell.
fn parse_hex32(text: &str) -> Result<[u8; 32], ParseIdError> {
    let refuse = || ParseIdError(text.chars().take(80).collect());
    if text.len() != 64 || !text.is_ascii() {
        return Err(refuse());
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let high = (digits[0] as char).to_digit(16).ok_or_else(refuse)?;
        let low = (digits[1] as char).to_digit(16).ok_or_else(refuse)?;
        *byte = (high * 16 + low) as u8;
    }
    Ok(bytes)
}

fn head(bytes: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *bytes;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, Hash, bincode::Encode, bincode::Decode,
        )]
        pub struct $name(pub [u8; 32]);

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                // Bytewise. Maps compare ids more than anything else, and the first eight bytes nearly always decide.
                head(&self.0).cmp(&head(&other.0)).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                // The precision asks for a short form: `{:.12}` writes the first 12 digits.
                let digits = formatter.precision().unwrap_or(64).min(64);
                for (index, byte) in self.0.iter().enumerate().take(digits.div_ceil(2)) {
                    match digits - 2 * index {
                        1 => write!(formatter, "{:x}", byte >> 4)?,
                        _ => write!(formatter, "{byte:02x}")?,
                    }
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self:.12})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex32(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id! {
    /// The name of a block: SHA-256d of its header.
    BlockId
}
id! {
    /// The name of a transaction: SHA-256d of its canonical bytes, signature included.
    TransactionId
}
id! {
    /// An account: the x-only public key (BIP340) that may spend from it. People see it as an [`address`](super::address).
    AccountId
}
id! {
    /// A node: the x-only public key (BIP340) by which its peers know it.
    NodeKey
}
id! {
    /// A commitment to the state of all accounts: SHA-256 of the multiset hash in [`digest`](super::digest).
    StateDigest
}
