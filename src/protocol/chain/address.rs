//! Addresses: accounts as people write them, bech32m (BIP350) with the network's prefix.

use bech32::{Bech32m, Hrp};

use super::id::AccountId;

/// Why a text is not an address of this network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not bech32m at all, or mistyped.
    #[error("`{0}` is not an address: {1}")]
    Malformed(String, String),
    /// An address of some other network.
    #[error("`{text}` has the prefix `{found}`, addresses of this network start with `{wanted}1`")]
    OtherNetwork {
        /// The text given.
        text: String,
        /// Its prefix.
        found: String,
        /// The prefix of this network.
        wanted: String,
    },
}

/// The address of `account` in the network whose addresses start with `prefix`.
pub fn encode(prefix: &str, account: &AccountId) -> String {
    let prefix = Hrp::parse(prefix).expect("parameters are checked to have a valid prefix");
    bech32::encode::<Bech32m>(prefix, &account.0)
        .expect("32 bytes and a prefix of 16 fit the code length")
}

/// The account that `text` names in the network whose addresses start with `prefix`.
pub fn decode(prefix: &str, text: &str) -> Result<AccountId, AddressError> {
    let malformed =
        |reason: &str| AddressError::Malformed(text.chars().take(100).collect(), reason.to_owned());
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text)
        .map_err(|error| malformed(&error.to_string()))?;
    let found = checked.hrp().to_lowercase();
    if found != prefix {
        return Err(AddressError::OtherNetwork {
            text: text.to_owned(),
            found,
            wanted: prefix.to_owned(),
        });
    }
    let bytes: Vec<u8> = checked.byte_iter().collect();
    let account = bytes
        .try_into()
        .map(AccountId)
        .map_err(|_| malformed("not 32 bytes"))?;
    // 52 digits hold four bits more than 32 bytes; unless they must be zero, an account has sixteen addresses.
    if !text.eq_ignore_ascii_case(&encode(prefix, &account)) {
        return Err(malformed("its last digit holds bits that mean nothing"));
    }
    Ok(account)
}

/// Whether `prefix` can start an address: 1 to 16 lower-case letters and digits.
pub fn is_prefix(prefix: &str) -> bool {
    (1..=16).contains(&prefix.len())
        && prefix
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}
