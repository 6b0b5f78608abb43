//! Targets and work: how rare a hash must be, and what finding one counts.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::str::FromStr;

use ruint::aliases::U256;

/// The largest hash, read as a big-endian number, that solves a block. Exact to 256 bits, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(U256);

/// Compact bits that name no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bits {0:#010x} are no target: zero, negative, above 256 bits, or not in normal form")]
pub struct BitsError(pub u32);

impl Target {
    /// The easiest target: every hash solves.
    pub const MAX: Self = Self(U256::MAX);

    /// A target of exactly this value; zero becomes one, for a target that nothing reaches is no target.
    pub fn new(value: U256) -> Self {
        Self(value.max(U256::ONE))
    }

    /// The target at which `hashes` attempts are expected to find one solution. `hashes` of 0 counts as 1.
    pub fn for_expected_hashes(hashes: u64) -> Self {
        Self::new(U256::MAX / U256::from(hashes.max(1)))
    }

    /// Reads Bitcoin's compact form (`nBits`), in which each target has one spelling only.
    ///
    /// Zero, negative, overflowing and denormal spellings are refused: two headers must not differ in spelling alone.
    pub fn from_bits(bits: u32) -> Result<Self, BitsError> {
        let exponent = (bits >> 24) as usize;
        let mantissa = bits & 0x007f_ffff;
        let overflow = exponent > 34
            || (mantissa > 0xff && exponent > 33)
            || (mantissa > 0xffff && exponent > 32);
        if mantissa == 0 || bits & 0x0080_0000 != 0 || overflow {
            return Err(BitsError(bits));
        }
        let value = match exponent {
            0..=3 => U256::from(mantissa >> (8 * (3 - exponent))),
            _ => U256::from(mantissa) << (8 * (exponent - 3)),
        };
        let target = Self(value);
        if value.is_zero() || target.to_bits() != bits {
            return Err(BitsError(bits));
        }
        Ok(target)
    }

    /// The compact form, rounded down to the 23 bits that it holds.
    pub fn to_bits(self) -> u32 {
        let mut size = self.0.bit_len().div_ceil(8);
        let mut mantissa: u32 = match size {
            0..=3 => self.0.to::<u32>() << (8 * (3 - size)),
            _ => (self.0 >> (8 * (size - 3))).to::<u32>(),
        };
        if mantissa & 0x0080_0000 != 0 {
            mantissa >>= 8;
            size += 1;
        }
        (size as u32) << 24 | mantissa
    }

    /// The exact value.
    pub fn value(self) -> U256 {
        self.0
    }

    /// Whether `hash` solves a block of this target.
    pub fn is_reached_by(self, hash: [u8; 32]) -> bool {
        U256::from_be_bytes(hash) <= self.0
    }

    /// The expected number of hashes for one solution: `2^256 / (target + 1)`, as Bitcoin counts it.
    pub fn work(self) -> Work {
        if self.0 == U256::MAX {
            return Work(U256::ONE);
        }
        Work(!self.0 / (self.0 + U256::ONE) + U256::ONE)
    }

    /// The expected number of hashes for one solution, for people and metrics.
    pub fn expected_hashes(self) -> f64 {
        self.work().to_f64()
    }
}

/// Proof of work done, in expected hashes; sums saturate (2^256 hashes are out of reach).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(U256);

impl Work {
    /// No work.
    pub const ZERO: Self = Self(U256::ZERO);

    /// The geometric mean, times `factor`: the root is taken with 16 binary digits behind the point, the result rounded down.
    pub fn geometric_mean(works: impl ExactSizeIterator<Item = Self> + Clone, factor: u64) -> Self {
        let bits: usize = works.clone().map(|work| work.0.bit_len()).sum();
        let factor_bits = (u64::BITS - factor.leading_zeros()) as usize;
        // The result is the same, and in practice an eighth of the digits are enough.
        match bits + 16 * works.len() + factor_bits {
            0..=128 => Self::mean_of::<128, 2>(works, factor),
            129..=256 => Self::mean_of::<256, 4>(works, factor),
            _ => Self::mean_of::<1024, 16>(works, factor),
        }
    }

    fn mean_of<const BITS: usize, const LIMBS: usize>(
        works: impl ExactSizeIterator<Item = Self>,
        factor: u64,
    ) -> Self {
        type Wide<const BITS: usize, const LIMBS: usize> = ruint::Uint<BITS, LIMBS>;
        let degree = works.len();
        let product = works.fold(Wide::<BITS, LIMBS>::ONE, |product, work| {
            product * Wide::from(work.0)
        });
        let root = if degree > 1 {
            (product << (16 * degree)).root(degree)
        } else {
            product << 16
        };
        let mean: Wide<BITS, LIMBS> = (root * Wide::from(factor)) >> 16;
        Self(mean.saturating_to())
    }

    /// So many times as much as something has grown, rounded down.
    pub fn times(self, growth: Growth) -> Self {
        if let (Some(now), Some(before)) = (self.product(growth.now), growth.before.small()) {
            return Self(U256::from(now / u128::from(before.max(1))));
        }
        let grown = Square::from(self.0) * Square::from(growth.now.0);
        Self((grown / Square::from(growth.before.0.max(U256::ONE))).saturating_to())
    }

    /// The number, if it has at most 64 bits, as in every network but the largest.
    fn small(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }

    /// The product, if both numbers are small.
    fn product(self, other: Self) -> Option<u128> {
        Some(u128::from(self.small()?) * u128::from(other.small()?))
    }

    /// The number as 32 bytes, big-endian.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// The number that 32 big-endian bytes spell.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// The nearest floating-point number, for people and metrics.
    pub fn to_f64(self) -> f64 {
        self.0
            .as_limbs()
            .iter()
            .rev()
            .fold(0.0, |sum, limb| sum * 2f64.powi(64) + *limb as f64)
    }
}

/// Holds the product of two works.
type Square = ruint::Uint<512, 8>;

/// How the work of a target has grown since a block long ago.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// The work now.
    pub now: Work,
    /// The work then; at least 1.
    pub before: Work,
}

impl Ord for Growth {
    fn cmp(&self, other: &Self) -> Ordering {
        let small = (
            self.now.product(other.before),
            other.now.product(self.before),
        );
        if let (Some(one), Some(other)) = small {
            return one.cmp(&other);
        }
        let product = |one: Work, other: Work| Square::from(one.0) * Square::from(other.0);
        product(self.now, other.before).cmp(&product(other.now, self.before))
    }
}

impl PartialOrd for Growth {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Growth {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Growth {}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Work {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

/// A text that is no work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no work: hexadecimal digits, at most 64")]
pub struct ParseWorkError(String);

impl FromStr for Work {
    type Err = ParseWorkError;

    fn from_str(text: &str) -> Result<Self, ParseWorkError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = is_number.then(|| U256::from_str_radix(digits, 16).ok());
        value
            .flatten()
            .map(Self)
            .ok_or_else(|| ParseWorkError(text.to_owned()))
    }
}

impl bincode::Encode for Work {
    fn encode<E: bincode::enc::Encoder>(
        &self,
        encoder: &mut E,
    ) -> Result<(), bincode::error::EncodeError> {
        self.to_be_bytes().encode(encoder)
    }
}

impl<Context> bincode::Decode<Context> for Work {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        <[u8; 32]>::decode(decoder).map(Self::from_be_bytes)
    }
}

bincode::impl_borrow_decode!(Work);
