//! Key pairs and BIP340 signatures over secp256k1.

use secp256k1::{Keypair, XOnlyPublicKey, schnorr};
use sha2::{Digest as _, Sha256};

use super::id::AccountId;

/// A secret key with its public key. Never shown by `Debug`.
#[derive(Clone)]
pub struct KeyPair(Keypair);

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "KeyPair({:?})", self.public())
    }
}

impl KeyPair {
    /// The pair of a secret; `None` for the few values that are no secret (zero, or at least the order of the curve).
    pub fn from_secret(secret: [u8; 32]) -> Option<Self> {
        Keypair::from_secret_bytes(secret).ok().map(Self)
    }

    /// The pair that `seed` leads to: the first valid secret in a chain of hashes. For tests and throw-away networks.
    pub fn from_seed(seed: &[u8]) -> Self {
        let mut secret: [u8; 32] = Sha256::digest(seed).into();
        loop {
            if let Some(pair) = Self::from_secret(secret) {
                return pair;
            }
            secret = Sha256::digest(secret).into();
        }
    }

    /// The secret, to be stored.
    pub fn secret(&self) -> [u8; 32] {
        self.0.secret_key().to_secret_bytes()
    }

    /// The x-only public key.
    pub fn public(&self) -> AccountId {
        AccountId(self.0.x_only_public_key().0.to_byte_array())
    }

    /// Signs without auxiliary randomness: the same message always has the same signature.
    pub fn sign(&self, message: &[u8; 32]) -> [u8; 64] {
        schnorr::sign_no_aux_rand(message, &self.0).to_byte_array()
    }
}

/// Whether `signature` of `message` was made by the owner of `account` (BIP340).
pub fn verify(account: &AccountId, message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(public) = XOnlyPublicKey::from_byte_array(account.0) else {
        return false;
    };
    schnorr::verify(
        &schnorr::Signature::from_byte_array(*signature),
        message,
        &public,
    )
    .is_ok()
}

/// BIP340's tagged hash: `SHA-256(SHA-256(tag) || SHA-256(tag) || message)`.
pub fn tagged_hash(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let tag = Sha256::digest(tag.as_bytes());
    let mut hasher = Sha256::new().chain_update(tag).chain_update(tag);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
