//! The mathematics of it: quantiles, tests of distributions, intervals of confidence. Whatever is drawn is drawn from a seed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use triskel::protocol::rng::Rng;

/// Resamples of a bootstrap, and of a permutation test that is too large to be exact: the second digit of a p-value is stable.
const RESAMPLES: usize = 10_000;

/// Pairs up to which a test by signs looks at all of them: 4,096.
const EXACT_PAIRS: usize = 12;

/// Where most of many numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// How many there are.
    pub count: usize,
    /// Half of them are below.
    pub p50: f64,
    /// Nine tenths are below.
    pub p90: f64,
    /// Of a hundred, 99 are below.
    pub p99: f64,
    /// The greatest.
    pub most: f64,
}

impl Quantiles {
    /// Of numbers in any order; `None` of none.
    pub fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let most = *numbers.last()?;
        Some(Self {
            count: numbers.len(),
            p50: quantile(&numbers, 0.5),
            p90: quantile(&numbers, 0.9),
            p99: quantile(&numbers, 0.99),
            most,
        })
    }
}

/// A quantile of ascending numbers, between two of them in proportion (the seventh definition of Hyndman and Fan, 1996). 0 of none.
pub fn quantile(ascending: &[f64], part: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return 0.0;
    };
    let place = part.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let share = place - place.floor();
    ascending[below] * (1.0 - share) + ascending[above] * share
}

/// The greatest distance between the parts of two samples that are below any one value: 0 where they are distributed alike, 1 where
/// nothing of one is below anything of the other (Kolmogorov and Smirnov). `None` if one of them is empty.
pub fn distance(left: &[f64], right: &[f64]) -> Option<f64> {
    if left.is_empty() || right.is_empty() {
        return None;
    }
    let ascending = |numbers: &[f64]| {
        let mut numbers = numbers.to_vec();
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let (left, right) = (ascending(left), ascending(right));
    let part = |numbers: &[f64], value: f64| {
        let below = numbers.partition_point(|number| *number <= value);
        below as f64 / numbers.len() as f64
    };
    let values = left.iter().chain(&right);
    let distances = values.map(|&value| (part(&left, value) - part(&right, value)).abs());
    distances.reduce(f64::max)
}

/// The mean; 0 of none.
pub fn mean(numbers: &[f64]) -> f64 {
    match numbers.len() {
        0 => 0.0,
        count => numbers.iter().sum::<f64>() / count as f64,
    }
}

/// The standard deviation of what they are a sample of; 0 of fewer than two.
pub fn deviation(numbers: &[f64]) -> f64 {
    if numbers.len() < 2 {
        return 0.0;
    }
    let middle = mean(numbers);
    let squares: f64 = numbers.iter().map(|number| (number - middle).powi(2)).sum();
    (squares / (numbers.len() - 1) as f64).sqrt()
}

/// Each interval as a probability, given those before it: evenly distributed and independent if, and only if, intervals are
/// exponential.
///
/// The mean is not known and drifts, for difficulty follows the hash rate; so intervals are taken some at a time, as many as
/// `window`,
/// and of these each is compared with those before it. If all are exponential with one mean, and `s` is the sum of the `m` before,
/// `P(X > x) = (1 + x / s)^-m`, whatever the mean; and as such ratios are independent of each other (Renyi, 1953), so are these.
pub fn exponential_probabilities(intervals: &[f64], window: usize) -> Vec<f64> {
    let mut probabilities = Vec::new();
    for some in intervals.chunks(window.max(1)) {
        let mut sum = 0.0;
        for (before, interval) in some.iter().enumerate() {
            if sum > 0.0 {
                probabilities.push(1.0 - (1.0 + interval / sum).powf(-(before as f64)));
            }
            sum += interval;
        }
    }
    probabilities
}

/// Whether numbers from 0 to 1 pass for evenly distributed: the greatest distance, and its p-value (Kolmogorov and Smirnov, with
/// the
/// correction of Stephens, 1970, for samples that are not large).
pub fn kolmogorov(mut numbers: Vec<f64>) -> Option<(f64, f64)> {
    if numbers.is_empty() {
        return None;
    }
    numbers.sort_by(f64::total_cmp);
    let count = numbers.len() as f64;
    let mut distance: f64 = 0.0;
    for (index, number) in numbers.iter().enumerate() {
        let (below, above) = (index as f64 / count, (index + 1) as f64 / count);
        distance = distance.max(above - number).max(number - below);
    }
    let root = count.sqrt();
    let scaled = (root + 0.12 + 0.11 / root) * distance;
    // Below this the series is 1 to all digits, and converges slowly.
    if scaled < 0.2 {
        return Some((distance, 1.0));
    }
    let term = |index: i32| {
        let sign = if index % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(index * index) * scaled * scaled).exp()
    };
    let p_value = 2.0 * (1..=100).map(term).sum::<f64>();
    Some((distance, p_value.clamp(0.0, 1.0)))
}

/// Where a probability lies, with 95 % confidence, of which `hits` of `count` trials are known (Wilson, 1927).
pub fn proportion_interval(hits: u64, count: u64) -> (f64, f64) {
    /// 97.5 % of the normal distribution are below.
    const Z: f64 = 1.959_964;
    if count == 0 {
        return (0.0, 1.0);
    }
    let (count, found) = (count as f64, hits as f64 / count as f64);
    let scale = 1.0 + Z * Z / count;
    let middle = (found + Z * Z / (2.0 * count)) / scale;
    let reach = Z * (found * (1.0 - found) / count + Z * Z / (4.0 * count * count)).sqrt() / scale;
    ((middle - reach).max(0.0), (middle + reach).min(1.0))
}

/// Where the mean of differences lies with 95 % confidence (percentile bootstrap: Efron, 1979).
pub fn bootstrap_pairs(differences: &[f64], seed: u64) -> (f64, f64) {
    let mut rng = Rng::new(seed);
    let draw = |rng: &mut Rng| resampled_mean(differences, rng);
    interval((0..RESAMPLES).map(|_| draw(&mut rng)).collect())
}

/// Where the difference of two means lies with 95 % confidence.
pub fn bootstrap_groups(left: &[f64], right: &[f64], seed: u64) -> (f64, f64) {
    let mut rng = Rng::new(seed);
    let draw = |rng: &mut Rng| resampled_mean(right, rng) - resampled_mean(left, rng);
    interval((0..RESAMPLES).map(|_| draw(&mut rng)).collect())
}

fn resampled_mean(numbers: &[f64], rng: &mut Rng) -> f64 {
    let count = numbers.len();
    let sum: f64 = (0..count)
        .map(|_| numbers[rng.below(count as u64) as usize])
        .sum();
    sum / count.max(1) as f64
}

fn interval(mut means: Vec<f64>) -> (f64, f64) {
    means.sort_by(f64::total_cmp);
    (quantile(&means, 0.025), quantile(&means, 0.975))
}

/// How likely a mean difference so far from 0 is if neither side is better: then each pair could as well be the other way round
/// (Fisher's permutation test by signs; exact where pairs are few).
pub fn sign_test(differences: &[f64], seed: u64) -> f64 {
    let count = differences.len();
    let found = differences.iter().sum::<f64>().abs();
    if count == 0 || found == 0.0 {
        return 1.0;
    }
    // What is equal but for rounding is equal.
    let reaches = |sum: f64| sum.abs() >= found * (1.0 - 1e-12);
    if count <= EXACT_PAIRS {
        let all = 1_u64 << count;
        let signed = |signs: u64| {
            let pairs = differences.iter().enumerate();
            let side = |(index, difference): (usize, &f64)| match signs >> index & 1 {
                0 => *difference,
                _ => -difference,
            };
            pairs.map(side).sum::<f64>()
        };
        let extreme = (0..all).filter(|signs| reaches(signed(*signs))).count();
        return extreme as f64 / all as f64;
    }
    let mut rng = Rng::new(seed);
    let mut extreme = 1;
    for _ in 1..RESAMPLES {
        let sum: f64 = differences
            .iter()
            .map(|difference| match rng.below(2) {
                0 => *difference,
                _ => -difference,
            })
            .sum();
        extreme += usize::from(reaches(sum));
    }
    extreme as f64 / RESAMPLES as f64
}

/// How likely means so far apart are if both groups are of one kind: then any of their members could be in either.
pub fn group_test(left: &[f64], right: &[f64], seed: u64) -> f64 {
    let found = (mean(right) - mean(left)).abs();
    if left.is_empty() || right.is_empty() || found == 0.0 {
        return 1.0;
    }
    let mut all: Vec<f64> = left.iter().chain(right).copied().collect();
    let mut rng = Rng::new(seed);
    let mut extreme = 1;
    for _ in 1..RESAMPLES {
        for index in (1..all.len()).rev() {
            all.swap(index, rng.below(index as u64 + 1) as usize);
        }
        let (first, second) = all.split_at(left.len());
        let distance = (mean(second) - mean(first)).abs();
        extreme += usize::from(distance >= found * (1.0 - 1e-12));
    }
    extreme as f64 / RESAMPLES as f64
}

/// p-values of tests that are looked at together, each as large as it must be for the chance of one false alarm in all to be what
/// it
/// says (Holm, 1979). In the order of the tests.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|left, right| p_values[*left].total_cmp(&p_values[*right]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        let factor = (p_values.len() - rank) as f64;
        least = least.max((p_values[index] * factor).min(1.0));
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_two_samples_is_that_of_what_is_below() {
        assert_eq!(distance(&[1.0, 2.0], &[]), None);
        assert_eq!(distance(&[1.0, 2.0, 3.0], &[3.0, 1.0, 2.0]), Some(0.0));
        assert_eq!(distance(&[1.0, 2.0], &[3.0, 4.0, 5.0]), Some(1.0));
        assert_eq!(distance(&[1.0, 2.0, 3.0, 4.0], &[3.0, 4.0]), Some(0.5));
    }

    fn exponential(count: usize, seed: u64) -> Vec<f64> {
        let mut rng = Rng::new(seed);
        (0..count).map(|_| -(1.0 - rng.fraction()).ln()).collect()
    }

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        let quantiles = Quantiles::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((quantiles.p50, quantiles.most), (2.5, 4.0));
        assert!((quantiles.p90 - 3.7).abs() < 1e-9);
        assert_eq!(Quantiles::of(Vec::new()), None);
        assert_eq!((mean(&[]), deviation(&[1.0])), (0.0, 0.0));
        assert!((deviation(&[1.0, 3.0]) - 2.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn exponential_intervals_pass_and_regular_ones_do_not() {
        let judge = |intervals: &[f64]| {
            kolmogorov(exponential_probabilities(intervals, 32))
                .unwrap()
                .1
        };
        // Under a true null p-values are evenly distributed: of 100, about 5 are below 0.05.
        let low = (0..100)
            .filter(|seed| judge(&exponential(300, *seed)) < 0.05)
            .count();
        assert!((1..=11).contains(&low), "{low}");
        let mut rng = Rng::new(1);
        let regular: Vec<_> = (0..300).map(|_| 1.0 + 0.1 * rng.fraction()).collect();
        assert!(judge(&regular) < 1e-6);
        // A mean that drifts by a half over the run is no fault.
        let drifting: Vec<_> = exponential(600, 3)
            .iter()
            .enumerate()
            .map(|(index, interval)| interval * (1.0 + index as f64 / 1_200.0))
            .collect();
        assert!(judge(&drifting) > 0.01);
    }

    #[test]
    fn kolmogorovs_p_value_is_that_of_the_tables() {
        // For 100 numbers, a distance of 0.134 is exceeded once in twenty times.
        let shifted: Vec<_> = (0..100)
            .map(|index| ((f64::from(index) + 0.5) / 100.0 * 0.871).min(1.0))
            .collect();
        let (distance, p_value) = kolmogorov(shifted).unwrap();
        assert!((distance - 0.134).abs() < 2e-3, "{distance}");
        assert!((p_value - 0.05).abs() < 0.01, "{p_value}");
    }

    #[test]
    fn wilsons_interval_holds_what_was_found() {
        let (low, high) = proportion_interval(10, 100);
        assert!((low - 0.0552).abs() < 1e-3 && (high - 0.1744).abs() < 1e-3);
        assert_eq!(proportion_interval(0, 0), (0.0, 1.0));
    }

    #[test]
    fn tests_by_permutation_find_what_is_there_and_nothing_else() {
        let better: Vec<f64> = (0..10).map(|index| 1.0 + 0.1 * f64::from(index)).collect();
        assert!((sign_test(&better, 1) - 2.0 / 1_024.0).abs() < 1e-12);
        assert_eq!(sign_test(&[1.0, -1.0], 1), 1.0);
        assert_eq!(sign_test(&[], 1), 1.0);
        let (left, right) = (exponential(20, 1), exponential(20, 2));
        assert!(group_test(&left, &right, 1) > 0.05);
        let far: Vec<_> = right.iter().map(|number| number + 3.0).collect();
        assert!(group_test(&left, &far, 1) < 0.01);
        let (low, high) = bootstrap_pairs(&better, 1);
        assert!(low > 1.2 && high < 1.7 && low < high, "{low} {high}");
        assert_eq!(bootstrap_pairs(&better, 1), (low, high));
        let (low, _) = bootstrap_groups(&left, &far, 1);
        assert!(low > 1.0, "{low}");
    }

    #[test]
    fn holm_multiplies_the_least_most() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
    }
}
