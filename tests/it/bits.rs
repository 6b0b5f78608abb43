//! Compact bits, work, ASERT at its edges, and the Merkle tree.

use proptest::prelude::*;
use ruint::aliases::U256;
use triskel::protocol::chain::difficulty::Schedule;
use triskel::protocol::chain::merkle;
use triskel::protocol::chain::work::{Growth, Target, Work};

use super::vectors::unhex;

/// From `bignum_SetCompact` of Bitcoin Core's arith_uint256_tests: bits, and the hexadecimal value where they are in normal form.
const COMPACT: [(u32, Option<&str>); 29] = [
    (0x0000_0000, None),
    (0x0012_3456, None),
    (0x0100_3456, None),
    (0x0200_0056, None),
    (0x0300_0000, None),
    (0x0400_0000, None),
    (0x0092_3456, None),
    (0x0180_3456, None),
    (0x0280_0056, None),
    (0x0380_0000, None),
    (0x0480_0000, None),
    (0x0112_3456, None), // 0x12, whose normal form is the next
    (0x0112_0000, Some("12")),
    (0x0200_8000, Some("80")),
    (0x01fe_dcba, None), // negative
    (0x0212_3456, None),
    (0x0212_3400, Some("1234")),
    (0x0312_3456, Some("123456")),
    (0x0412_3456, Some("12345600")),
    (0x0492_3456, None), // negative
    (0x0500_9234, Some("92340000")),
    (
        0x2012_3456,
        Some("1234560000000000000000000000000000000000000000000000000000000000"),
    ),
    (
        0x2100_ffff,
        Some("ffff000000000000000000000000000000000000000000000000000000000000"),
    ),
    (0x2101_0000, None), // above 256 bits
    (0x2200_00ff, None), // another spelling of 0x2100ff00
    (
        0x2100_ff00,
        Some("ff00000000000000000000000000000000000000000000000000000000000000"),
    ),
    (0x2300_0001, None), // above 256 bits
    (0xff12_3456, None), // far above
    (
        0x1d00_ffff,
        Some("ffff0000000000000000000000000000000000000000000000000000"),
    ),
];

#[test]
fn bits_name_a_target_in_normal_form_alone() {
    for (bits, value) in COMPACT {
        let wanted = value.map(|digits| U256::from_str_radix(digits, 16).unwrap());
        let found = Target::from_bits(bits).ok();
        assert_eq!(found.map(Target::value), wanted, "{bits:#010x}");
        if let Some(target) = found {
            assert_eq!(target.to_bits(), bits);
        }
    }
    assert_eq!(Target::MAX.to_bits(), 0x2100_ffff);
    assert_eq!(Target::new(U256::ZERO).to_bits(), 0x0101_0000);
}

#[test]
fn work_counts_expected_hashes() {
    let one = |target: Target| U256::from_be_bytes(target.work().to_be_bytes());
    assert_eq!(one(Target::MAX), U256::ONE);
    assert_eq!(one(Target::new(U256::MAX >> 1)), U256::from(2));
    assert_eq!(
        one(Target::from_bits(0x1d00_ffff).unwrap()),
        U256::from(0x1_0001_0001u64)
    );
    assert_eq!(one(Target::new(U256::ONE)), U256::ONE << 255);
}

#[test]
fn asert_ends_at_its_limits() {
    let limit = Target::from_bits(0x2100_ffff).unwrap();
    let schedule = |anchor| Schedule {
        anchor,
        limit,
        interval_ms: 1_000,
        half_life_ms: 10_000,
    };
    let one = Target::new(U256::ONE);
    for anchor in [one, Target::from_bits(0x1d00_ffff).unwrap(), limit] {
        let schedule = schedule(anchor);
        let (late, ahead) = (i128::from(u64::MAX), i128::from(u64::MAX));
        assert_eq!(schedule.target(late, 0), limit);
        assert_eq!(schedule.target(0, ahead), one);
        assert_eq!(schedule.target(-late, ahead), one);
        assert_eq!(schedule.target(7_000, 7), anchor);
        let doubled = U256::saturating_mul(anchor.value(), U256::from(2));
        assert_eq!(schedule.target(10_000, 0), Target::new(doubled).min(limit));
        assert_eq!(schedule.target(0, 10), Target::new(anchor.value() >> 1));
    }
    // Doubling and halving over the whole range of a target.
    for power in 0..256usize {
        let target = schedule(one).target(10_000 * power as i128, 0);
        assert_eq!(
            target,
            Target::new(U256::ONE << power).min(limit),
            "2^{power}"
        );
    }
}

proptest! {
    #[test]
    fn a_geometric_mean_is_a_cube_root(works: [[u8; 32]; 3], shift in 17usize..=255) {
        type Wide = ruint::Uint<1024, 16>;
        let works = works.map(|bytes| U256::from_be_bytes(bytes) >> shift);
        let terms = works.map(|work| Work::from_be_bytes(work.to_be_bytes()));
        // Times 2^16, nothing of the root is rounded away.
        let mean = Work::geometric_mean(terms.into_iter(), 1 << 16);
        let root = Wide::from(U256::from_be_bytes(mean.to_be_bytes()));
        let product = works.iter().fold(Wide::ONE, |product, work| product * Wide::from(*work)) << 48;
        let cube = |number: Wide| number * number * number;
        prop_assert!(cube(root) <= product && product < cube(root + Wide::ONE));
    }

    #[test]
    fn growth_is_a_fraction_whatever_its_terms(numbers: [u64; 4], unit: u64, scale in 0usize..=128) {
        let work = |number: u64, scale: usize| Work::from_be_bytes((U256::from(number) << scale).to_be_bytes::<32>());
        let growth = |now, before, scale| Growth {
            now: work(now, scale),
            before: work(before, scale),
        };
        let [now, before, other_now, other_before] = numbers.map(|number| number.max(1));
        let one = growth(now, before, scale);
        let other = growth(other_now, other_before, 0);
        let products = (u128::from(now) * u128::from(other_before), u128::from(other_now) * u128::from(before));
        prop_assert_eq!(one.cmp(&other), products.0.cmp(&products.1));
        let wanted = u128::from(unit) * u128::from(now) / u128::from(before);
        prop_assert_eq!(work(unit, 0).times(one).to_be_bytes(), U256::from(wanted).to_be_bytes::<32>());
    }

    #[test]
    fn bits_round_down_by_less_than_one_in_2_15(bytes: [u8; 32], shift in 0usize..256) {
        let target = Target::new(U256::from_be_bytes(bytes) >> shift);
        let rounded = Target::from_bits(target.to_bits()).unwrap();
        prop_assert!(rounded <= target);
        prop_assert!((target.value() - rounded.value()) <= target.value() >> 15);
    }

    #[test]
    fn any_bits_are_refused_or_come_back(bits: u32) {
        if let Ok(target) = Target::from_bits(bits) {
            prop_assert_eq!(target.to_bits(), bits);
        }
    }

    #[test]
    fn asert_never_falls_as_time_passes(
        anchor: u64, elapsed in 0u64..10_000_000, more in 0u64..1_000_000, blocks in 0u64..10_000,
    ) {
        let schedule = Schedule {
            anchor: Target::new(U256::from(anchor) << 128),
            limit: Target::from_bits(0x207f_ffff).unwrap(),
            interval_ms: 1_000,
            half_life_ms: 60_000,
        };
        let at = |elapsed: u64| schedule.target(elapsed.into(), blocks.into());
        // The cubic that stands for 2^x is exact to 0.013 %: where a fraction wraps, that is the most that it can fall.
        let slack = at(elapsed).value() / U256::from(7_000);
        prop_assert!(at(elapsed + more).value() + slack >= at(elapsed).value());
    }
}

/// Inputs and roots of the reference tests of Certificate Transparency (RFC 6962).
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn merkle_roots_are_those_of_certificate_transparency() {
    let leaves: Vec<_> = LEAVES
        .iter()
        .map(|leaf| merkle::leaf(&unhex(leaf)))
        .collect();
    for (count, root) in ROOTS.iter().enumerate() {
        assert_eq!(
            merkle::root(leaves[..count].to_vec()).to_vec(),
            unhex(root),
            "{count} leaves"
        );
    }
}

#[test]
fn no_duplication_keeps_a_merkle_root() {
    for count in 1..40u8 {
        let leaves: Vec<_> = (0..count).map(|number| merkle::leaf(&[number])).collect();
        let root = merkle::root(leaves.clone());
        for start in 0..leaves.len() {
            let longer = [&leaves[..], &leaves[start..]].concat();
            assert_ne!(
                merkle::root(longer),
                root,
                "{count} leaves, doubled from {start}"
            );
        }
    }
}
