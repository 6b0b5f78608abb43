//! ASERT (aserti3-2d): the target of the next block of a stream, from the anchor alone.
//!
//! Source: Bitcoin Cash specification 2020-11-15-asert. The target doubles for every `half_life_ms` that the stream is behind
//! its schedule and halves for every one that it is ahead; no window of blocks is looked up.

use ruint::aliases::U256;

use super::work::Target;

/// The schedule that ASERT holds a stream to.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The target at the anchor.
    pub anchor: Target,
    /// The easiest target allowed.
    pub limit: Target,
    /// The wanted time between two blocks, in milliseconds.
    pub interval_ms: u64,
    /// The delay that doubles the target, in milliseconds.
    pub half_life_ms: u64,
}

impl Schedule {
    /// The target of the next block, when `blocks` were due in no time and `elapsed_ms` have passed.
    ///
    /// In the words of the specification: `elapsed_ms` is the time from the anchor's parent to the last block and `blocks` is
    /// the height difference plus one. The division truncates toward zero: flooring fails most of the published vectors.
    pub fn target(&self, elapsed_ms: i128, blocks: i128) -> Target {
        let interval = i128::from(self.interval_ms);
        let half_life = i128::from(self.half_life_ms);
        let exponent = (elapsed_ms - interval * blocks) * 65_536 / half_life;
        // 2^256 is reached long before: a shift beyond this range ends at the limit or at one.
        let shift = (exponent >> 16).clamp(-512, 512);
        let fraction = (exponent & 0xffff) as u64;
        // 2^x for 0 <= x < 1 by a cubic with an error below 0.013 %; every term fits 64 bits for a fraction below 2^16.
        let cubic = 195_766_423_245_049u64 * fraction
            + 971_821_376u64 * fraction.pow(2)
            + 5_127u64 * fraction.pow(3)
            + (1u64 << 47);
        let factor = 65_536 + (cubic >> 48);
        self.scaled(factor, shift as i32 - 16)
    }

    /// `anchor * factor * 2^shift`, at most the limit and at least one.
    fn scaled(&self, factor: u64, shift: i32) -> Target {
        let anchor = self.anchor.value();
        let (low, high) = wide_product(anchor, factor);
        let value = if shift >= 0 {
            let shift = shift as usize;
            if !high.is_zero() || shift >= 256 || low.leading_zeros() < shift {
                return self.limit;
            }
            low << shift
        } else {
            let shift = shift.unsigned_abs() as usize;
            if shift >= 512 {
                U256::ZERO
            } else if shift >= 256 {
                high >> (shift - 256)
            } else {
                if !(high >> shift).is_zero() {
                    return self.limit;
                }
                low >> shift | high << (256 - shift)
            }
        };
        Target::new(value).min(self.limit)
    }
}

/// The 512-bit product of a 256-bit number and a 64-bit number, as its low and high halves.
fn wide_product(number: U256, factor: u64) -> (U256, U256) {
    let factor = U256::from(factor);
    let mask = U256::MAX >> 128;
    let low = (number & mask) * factor;
    let high = (number >> 128) * factor + (low >> 128);
    (low & mask | high << 128, high >> 128)
}
